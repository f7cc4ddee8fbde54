// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of groups: of page requests, and of devices
 *
 * What the core does with a page request until somebody handles it, and with each
 * member of an IOMMU group; binds that are refused before a driver is asked. The IOMMU
 * driver is that of iommu-sva-mock.c.
 */
#include <kunit/device.h>
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "iommu-kunit-nomem.h"
#include "iommu-priv.h"
#include "iommu-sva-kunit.h"

#define SUCCESS	IOMMU_PAGE_RESP_SUCCESS
#define INVALID	IOMMU_PAGE_RESP_INVALID

#define EXPECT_RESPONSES(n)						\
	KUNIT_EXPECT_EQ(test, n, atomic_read(&sva_mock.responses))
#define EXPECT_DRAINS(n)						\
	KUNIT_EXPECT_EQ(test, n, atomic_read(&sva_mock.drains))

/* A copy of what an instance has, until the next test initialises the instance */
static struct iommu_ops own_ops;

static int bind_error(struct device *dev, struct mm_struct *mm)
{
	return PTR_ERR_OR_ZERO(iommu_sva_bind_device(dev, mm));
}

/* --- page requests --- */

#define TAKEN	8

/* A handler that keeps what it gets */
static struct {
	struct iopf_group *group[TAKEN];
	unsigned int nr;
	int error;
} taken;

static int take(struct iopf_group *group)
{
	if (taken.error)
		return taken.error;
	if (taken.nr == TAKEN)
		return -ENOSPC;
	taken.group[taken.nr++] = group;
	return 0;
}

static const struct iommu_attach_handle *taken_handle(unsigned int n)
{
	return n < taken.nr ? taken.group[n]->attach_handle : NULL;
}

static void finish(unsigned int n, enum iommu_page_response_code code)
{
	if (n >= taken.nr)
		return;
	iopf_group_response(taken.group[n], code);
	iopf_free_group(taken.group[n]);
}

static void enable_faults(struct kunit *test, struct device *dev)
{
	if (!sva_mock.queue)
		sva_mock.queue = iopf_queue_alloc();
	KUNIT_ASSERT_NOT_NULL(test, sva_mock.queue);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(sva_mock.queue, dev));
}

static struct iommu_fault_param *fault_param(struct device *dev)
{
	return rcu_dereference_protected(dev->iommu->fault_param, true);
}

/* Of a device that has faults enabled, whose bonds' page requests the test takes */
static struct iommu_sva *bind_taking(struct kunit *test, struct device *dev,
				     struct mm_struct *mm)
{
	struct iommu_sva *handle = bind(test, dev, mm);

	memset(&taken, 0, sizeof(taken));
	handle->handle.domain->iopf_handler = take;
	if (!fault_param(dev))
		enable_faults(test, dev);
	return handle;
}

static struct iopf_fault request(ioasid_t pasid, u32 grpid, u64 page, bool last)
{
	return (struct iopf_fault) {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm = {
			.flags = (pasid == IOMMU_NO_PASID ? 0 :
				  IOMMU_FAULT_PAGE_REQUEST_PASID_VALID) |
				 (last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0),
			.pasid = pasid,
			.grpid = grpid,
			.addr = page * PAGE_SIZE,
			.perm = IOMMU_FAULT_PERM_READ,
		},
	};
}

static int report(struct device *dev, ioasid_t pasid, u32 grpid, u64 page,
		  bool last)
{
	struct iopf_fault evt = request(pasid, grpid, page, last);

	return iommu_report_device_fault(dev, &evt);
}

static void expect_group(struct kunit *test, unsigned int n, u32 grpid,
			 const u64 *pages, unsigned int nr)
{
	struct iopf_group *group;
	struct iopf_fault *iopf;
	unsigned int i = 0;

	KUNIT_ASSERT_LT(test, n, taken.nr);
	group = taken.group[n];
	KUNIT_EXPECT_EQ(test, nr, group->fault_count);
	KUNIT_EXPECT_EQ(test, nr, list_count_nodes(&group->faults));
	list_for_each_entry(iopf, &group->faults, list) {
		KUNIT_EXPECT_EQ(test, grpid, iopf->fault.prm.grpid);
		if (i < nr)
			KUNIT_EXPECT_EQ(test, pages[i] * PAGE_SIZE,
					iopf->fault.prm.addr);
		i++;
	}
}

/* The groups of two processes that come intermingled */
static void expect_response(struct kunit *test, ioasid_t pasid, u32 grpid,
			    enum iommu_page_response_code code)
{
	KUNIT_EXPECT_EQ(test, pasid, sva_mock.response.pasid);
	KUNIT_EXPECT_EQ(test, grpid, sva_mock.response.grpid);
	KUNIT_EXPECT_EQ(test, code, sva_mock.response.code);
}

static void expect_partial(struct kunit *test, struct device *dev,
			   unsigned int nr)
{
	KUNIT_EXPECT_EQ(test, nr, list_count_nodes(&fault_param(dev)->partial));
}

/* One reference is that of the queue, the others are those of groups. */
static void expect_users(struct kunit *test, struct device *dev, unsigned int nr)
{
	KUNIT_EXPECT_EQ(test, nr, refcount_read(&fault_param(dev)->users));
}

static void group_has_its_requests_in_order(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind_taking(test, DEV, mm);
	u32 pasid = iommu_sva_get_pasid(handle);

	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 11, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 21, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 12, false));
	KUNIT_EXPECT_EQ(test, 0, taken.nr);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 13, true));
	expect_group(test, 0, 1, (u64[]){ 11, 12, 13 }, 3);
	expect_partial(test, DEV, 1);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 22, true));
	expect_group(test, 1, 2, (u64[]){ 21, 22 }, 2);
	expect_partial(test, DEV, 0);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 3, 31, true));
	expect_group(test, 2, 3, (u64[]){ 31 }, 1);
	KUNIT_EXPECT_PTR_EQ(test, &handle->handle, taken.group[2]->attach_handle);
	expect_users(test, DEV, 4);

	EXPECT_RESPONSES(0);
	finish(1, SUCCESS);
	EXPECT_RESPONSES(1);
	expect_response(test, pasid, 2, SUCCESS);
	finish(0, IOMMU_PAGE_RESP_FAILURE);
	EXPECT_RESPONSES(2);
	expect_response(test, pasid, 1, IOMMU_PAGE_RESP_FAILURE);
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(3);
	expect_response(test, pasid, 3, INVALID);
	finish(2, SUCCESS);
	EXPECT_RESPONSES(3);
	expect_users(test, DEV, 1);
}

static void failed_handler_is_answered_for(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);

	taken.error = -EIO;
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 4, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 5, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 4, 2, true));
	EXPECT_RESPONSES(1);
	expect_response(test, pasid, 4, INVALID);
	expect_partial(test, DEV, 1);
	expect_users(test, DEV, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&fault_param(DEV)->faults));
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(1);
}

static void no_memory_for_a_request(struct kunit *test)
{
	struct iommu_sva *handle;
	int first, last;
	bool hit[2];
	u32 pasid;

	nomem_start(test, NOMEM_SLAB);
	handle = bind_taking(test, DEV, test_mm(test));
	pasid = iommu_sva_get_pasid(handle);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 7, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 8, 1, false));
	nomem_nth(1);
	first = report(DEV, pasid, 7, 2, false);
	hit[0] = nomem_nth(1);
	last = report(DEV, pasid, 7, 3, true);
	hit[1] = nomem_nth(0);

	KUNIT_EXPECT_TRUE(test, hit[0] && hit[1]);
	KUNIT_EXPECT_EQ(test, -ENOMEM, first);
	KUNIT_EXPECT_EQ(test, 0, last);
	KUNIT_EXPECT_EQ(test, 0, taken.nr);
	EXPECT_RESPONSES(1);
	expect_response(test, pasid, 7, INVALID);
	/* That of the other group stays. */
	expect_partial(test, DEV, 1);
	expect_users(test, DEV, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&fault_param(DEV)->faults));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 8, 2, true));
	expect_group(test, 0, 8, (u64[]){ 1, 2 }, 2);
	finish(0, SUCCESS);
	iommu_sva_unbind_device(handle);
}

static void unbind_forgets_its_own_requests(struct kunit *test)
{
	struct iommu_sva *one = bind_taking(test, DEV, test_mm(test));
	struct iommu_sva *two = bind_taking(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(two);

	KUNIT_EXPECT_EQ(test, 0, report(DEV, iommu_sva_get_pasid(one), 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 2, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 3, 3, true));
	iommu_sva_unbind_device(one);
	expect_partial(test, DEV, 1);
	EXPECT_RESPONSES(0);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 4, true));
	expect_group(test, 1, 2, (u64[]){ 2, 4 }, 2);
	iommu_sva_unbind_device(two);
	EXPECT_RESPONSES(2);
	finish(0, SUCCESS);
	finish(1, SUCCESS);
}

static void requests_of_one_handle_are_answered(struct kunit *test)
{
	struct iommu_sva *one = bind_taking(test, DEV, test_mm(test));
	struct iommu_sva *two = bind_taking(test, DEV, test_mm(test));
	u32 pasid[] = { iommu_sva_get_pasid(one), iommu_sva_get_pasid(two) };
	unsigned int n;

	for (n = 0; n < 4; n++)
		KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid[n % 2], n, n, true));
	iopf_answer_handle(DEV, &two->handle, SUCCESS);
	EXPECT_RESPONSES(2);
	KUNIT_EXPECT_EQ(test, pasid[1], sva_mock.response.pasid);
	KUNIT_EXPECT_EQ(test, SUCCESS, sva_mock.response.code);
	for (n = 0; n < 4; n++)
		KUNIT_EXPECT_EQ(test, n % 2, iopf_group_answered(taken.group[n]));
	iopf_answer_handle(DEV, &two->handle, SUCCESS);
	EXPECT_RESPONSES(2);
	iommu_sva_unbind_device(one);
	EXPECT_RESPONSES(4);
	iommu_sva_unbind_device(two);
	EXPECT_RESPONSES(4);
	while (n--)
		finish(n, INVALID);
	expect_users(test, DEV, 1);
}

/* As after an overflow of the hardware's queue */
static void incomplete_groups_are_discarded(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *one = bind_taking(test, DEV, mm);
	struct iommu_sva *two = bind_taking(test, OTHER_INSTANCE, mm);
	u32 pasid = iommu_sva_get_pasid(one);

	KUNIT_EXPECT_EQ(test, -EINVAL, iopf_queue_discard_partial(NULL));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 2, false));
	KUNIT_EXPECT_EQ(test, 0, report(OTHER_INSTANCE, pasid, 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 1, true));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_discard_partial(sva_mock.queue));
	expect_partial(test, DEV, 0);
	expect_partial(test, OTHER_INSTANCE, 0);
	EXPECT_RESPONSES(0);
	finish(0, SUCCESS);
	EXPECT_RESPONSES(1);
	iommu_sva_unbind_device(two);
	iommu_sva_unbind_device(one);
}

static void device_is_in_one_queue(struct kunit *test)
{
	struct iommu_device *iommu = &to_sva_mock_dev(DEV)->instance->iommu;
	const struct iommu_ops *old = iommu->ops;
	struct iopf_queue *other = iopf_queue_alloc();

	KUNIT_ASSERT_NOT_NULL(test, other);
	enable_faults(test, DEV);
	KUNIT_EXPECT_EQ(test, -EBUSY, iopf_queue_add_device(sva_mock.queue, DEV));
	KUNIT_EXPECT_EQ(test, -EBUSY, iopf_queue_add_device(other, DEV));
	KUNIT_EXPECT_TRUE(test, list_is_singular(&sva_mock.queue->devices));
	KUNIT_EXPECT_PTR_EQ(test, sva_mock.queue, fault_param(DEV)->queue);
	iopf_queue_remove_device(sva_mock.queue, DEV);
	KUNIT_EXPECT_TRUE(test, list_empty(&sva_mock.queue->devices));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_add_device(other, DEV));
	KUNIT_EXPECT_PTR_EQ(test, DEV, fault_param(DEV)->dev);
	/* Takes what is in it out. */
	iopf_queue_free(other);
	KUNIT_EXPECT_NULL(test, fault_param(DEV));
	iopf_queue_free(NULL);

	own_ops = *old;
	own_ops.page_response = NULL;
	iommu->ops = &own_ops;
	KUNIT_EXPECT_EQ(test, -ENODEV, iopf_queue_add_device(sva_mock.queue, DEV));
	iommu->ops = old;
	KUNIT_EXPECT_NULL(test, fault_param(DEV));
	KUNIT_EXPECT_TRUE(test, list_empty(&sva_mock.queue->devices));
}

static void no_memory_for_a_device(struct kunit *test)
{
	int ret;

	nomem_start(test, NOMEM_SLAB);
	sva_mock.queue = iopf_queue_alloc();
	KUNIT_ASSERT_NOT_NULL(test, sva_mock.queue);
	nomem_nth(1);
	ret = iopf_queue_add_device(sva_mock.queue, DEV);
	KUNIT_EXPECT_TRUE(test, nomem_nth(0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
	KUNIT_EXPECT_NULL(test, fault_param(DEV));
	KUNIT_EXPECT_TRUE(test, list_empty(&sva_mock.queue->devices));
}

static void removal_from_the_queue_answers_all(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);
	struct iommu_fault_param *param = fault_param(DEV);

	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 1, true));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 3, 1, true));
	iopf_queue_remove_device(sva_mock.queue, DEV);
	EXPECT_RESPONSES(2);
	KUNIT_EXPECT_EQ(test, INVALID, sva_mock.response.code);
	/* The groups have the last references to it. */
	KUNIT_EXPECT_EQ(test, 2, refcount_read(&param->users));
	KUNIT_EXPECT_TRUE(test, list_empty(&param->partial));
	finish(0, SUCCESS);
	KUNIT_EXPECT_EQ(test, 1, refcount_read(&param->users));
	finish(1, SUCCESS);
	EXPECT_RESPONSES(2);
	iommu_sva_unbind_device(handle);
	EXPECT_DRAINS(0);
}

static void closed_device_is_refused(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);

	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 1, true));
	iopf_close(DEV);
	EXPECT_RESPONSES(1);
	expect_response(test, pasid, 2, INVALID);
	expect_partial(test, DEV, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, pasid, 3, 1, false));
	expect_partial(test, DEV, 0);
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, pasid, 3, 2, true));
	EXPECT_RESPONSES(2);
	expect_response(test, pasid, 3, INVALID);
	finish(0, SUCCESS);
	EXPECT_RESPONSES(2);
	expect_users(test, DEV, 1);
	iommu_sva_unbind_device(handle);
}

static void reset_leaves_no_references(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	KUNIT_EXPECT_EQ(test, -EBUSY, report(DEV, pasid, 1, 1, true));
	KUNIT_EXPECT_EQ(test, -EBUSY, report(DEV, pasid, 1, 1, false));
	expect_partial(test, DEV, 0);
	iommu_dev_reset_done(DEV);
	EXPECT_RESPONSES(0);
	EXPECT_DRAINS(1);
	expect_users(test, DEV, 1);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 1, true));
	finish(0, SUCCESS);
	iommu_sva_unbind_device(handle);
	EXPECT_DRAINS(2);
	expect_users(test, DEV, 1);
}

/* A device without faults has nothing to answer, to drain or to end. */
static void without_faults_nothing_is_done(struct kunit *test)
{
	struct iommu_sva *handle = bind(test, DEV, test_mm(test));

	iopf_answer_handle(DEV, &handle->handle, SUCCESS);
	iopf_close(DEV);
	iopf_reset_begin(DEV);
	iopf_reset_end(DEV);
	iommu_sva_stop_faults(handle);
	iommu_sva_start_faults(handle);
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(0);
	EXPECT_DRAINS(0);
}

/* Which nobody asked for, so that nobody is answered */
static void other_faults_have_no_response(struct kunit *test)
{
	struct iopf_fault evt = request(2, 1, 1, true);

	evt.fault.type = 0;
	enable_faults(test, DEV);
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_report_device_fault(DEV, &evt));
	EXPECT_RESPONSES(0);
	evt.fault.type = IOMMU_FAULT_PAGE_REQ;
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_report_device_fault(DEV, &evt));
	EXPECT_RESPONSES(1);
	expect_response(test, 2, 1, INVALID);
}

/* --- the handle that a request finds --- */

static int rid_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static const struct iommu_domain_ops rid_ops = { .attach_dev = rid_attach_dev };

/*
 * A domain, with the handle by which it is attached. After a failed assertion it still is
 * while sva_mock_exit() removes the device, so that it is not the stack's.
 */
struct rid {
	struct iommu_domain domain;
	struct iommu_attach_handle handle;
};

static struct rid *rid_alloc(struct kunit *test, struct device *dev, unsigned int type)
{
	struct rid *rid = kunit_kzalloc(test, sizeof(*rid), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rid);
	rid->domain = (struct iommu_domain) {
		.type = type,
		.ops = &rid_ops,
		.owner = dev_iommu_ops(dev),
		.iopf_handler = take,
	};
	return rid;
}

static int rid_attach(struct rid *rid, struct device *dev)
{
	return iommu_attach_group_handle(&rid->domain, dev->iommu_group, &rid->handle);
}

static void rid_detach(struct rid *rid, struct device *dev)
{
	iommu_detach_group_handle(&rid->domain, dev->iommu_group);
}

/* A table of PASIDs that user space has made is known to nobody here. */
static void nested_domain_gets_all_pasids(struct kunit *test)
{
	struct iommu_device *iommu = &to_sva_mock_dev(DEV)->instance->iommu;
	struct rid *rid = rid_alloc(test, DEV, IOMMU_DOMAIN_NESTED);
	struct iommu_sva *bond = bind_taking(test, DEV, test_mm(test));
	const struct iommu_ops *old = iommu->ops;

	own_ops = *old;
	KUNIT_ASSERT_EQ(test, 0, rid_attach(rid, DEV));
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 77, 1, 1, true));
	own_ops.user_pasid_table = 1;
	iommu->ops = &own_ops;
	KUNIT_EXPECT_EQ(test, 0, report(DEV, 77, 1, 1, true));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, 77, 2, 1, false));
	KUNIT_EXPECT_EQ(test, 1, taken.nr);
	KUNIT_EXPECT_PTR_EQ(test, &rid->handle, taken_handle(0));
	/* One that the kernel has attached is its own. */
	KUNIT_EXPECT_EQ(test, 0, report(DEV, iommu_sva_get_pasid(bond), 1, 1, true));
	KUNIT_EXPECT_PTR_EQ(test, &bond->handle, taken_handle(1));

	rid->domain.type = IOMMU_DOMAIN_UNMANAGED;
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 77, 1, 1, true));
	rid->domain.type = IOMMU_DOMAIN_NESTED;
	rid->domain.iopf_handler = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 77, 1, 1, true));

	/* Those of all PASIDs may be the domain's. */
	EXPECT_RESPONSES(3);
	expect_partial(test, DEV, 1);
	rid_detach(rid, DEV);
	EXPECT_RESPONSES(4);
	expect_partial(test, DEV, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 77, 1, 1, true));
	iommu->ops = old;
	iommu_sva_unbind_device(bond);
	finish(0, SUCCESS);
	finish(1, SUCCESS);
	EXPECT_RESPONSES(6);
}

static void requests_without_a_pasid(struct kunit *test)
{
	struct rid *rid = rid_alloc(test, DEV, IOMMU_DOMAIN_UNMANAGED);

	memset(&taken, 0, sizeof(taken));
	enable_faults(test, DEV);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, IOMMU_NO_PASID, 1, 1, true));
	KUNIT_ASSERT_EQ(test, 0, rid_attach(rid, DEV));
	KUNIT_EXPECT_EQ(test, -EBUSY, rid_attach(rid, DEV));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, IOMMU_NO_PASID, 1, 1, true));
	KUNIT_EXPECT_EQ(test, 1, taken.nr);
	KUNIT_EXPECT_PTR_EQ(test, &rid->handle, taken_handle(0));
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 1, 1, 1, true));
	rid_detach(rid, DEV);
	EXPECT_RESPONSES(3);
	finish(0, SUCCESS);
	EXPECT_RESPONSES(3);
}

/* A PASID that a driver uses without SVA has a domain, and nobody to ask. */
static void domain_without_a_handle_has_no_faults(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, DEV, test_mm(test));
	struct iommu_domain *domain = handle->handle.domain;

	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device_pasid(domain, DEV, 77, NULL));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_device_pasid(domain, DEV, 77, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, 77, 1, 1, true));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    iommu_attach_handle_get(DEV->iommu_group, 77, 0));
	KUNIT_EXPECT_PTR_EQ(test, domain, xa_load(&to_sva_mock_dev(DEV)->domains, 77));
	iommu_detach_device_pasid(domain, DEV, 77);
	KUNIT_EXPECT_NULL(test, xa_load(&to_sva_mock_dev(DEV)->domains, 77));
	EXPECT_DRAINS(1);
	iommu_sva_unbind_device(handle);
}

static void handle_has_a_type(struct kunit *test)
{
	struct iommu_sva *handle = bind(test, DEV, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);
	struct iommu_group *group = DEV->iommu_group;

	KUNIT_EXPECT_PTR_EQ(test, &handle->handle,
			    iommu_attach_handle_get(group, pasid, 0));
	KUNIT_EXPECT_PTR_EQ(test, &handle->handle,
			    iommu_attach_handle_get(group, pasid, IOMMU_DOMAIN_SVA));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EBUSY),
			    iommu_attach_handle_get(group, pasid,
						    IOMMU_DOMAIN_NESTED));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    iommu_attach_handle_get(group, pasid, 0));
}

static void attach_is_refused(struct kunit *test)
{
	struct iommu_sva *handle = bind(test, DEV, test_mm(test));
	struct iommu_domain *domain = handle->handle.domain;
	u32 max_pasids = GROUP_SECOND->iommu->max_pasids;
	struct rid *rid = rid_alloc(test, DEV, IOMMU_DOMAIN_UNMANAGED);
	struct device *dev = kunit_device_register(test, "no-iommu");
	struct iommu_domain *foreign = kunit_kzalloc(test, sizeof(*foreign), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_NOT_NULL(test, foreign);
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iommu_attach_device_pasid(domain, dev, 77, NULL));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			iommu_attach_device_pasid(&rid->domain, DEV, 77, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(domain, DEV, IOMMU_NO_PASID,
						  NULL));
	own_ops = *dev_iommu_ops(DEV);
	*foreign = *domain;
	foreign->owner = &own_ops;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(foreign, DEV, 77, NULL));
	/* Each member of a group can have the PASID, or none. */
	GROUP_SECOND->iommu->max_pasids = 77;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(domain, GROUP_FIRST, 77, NULL));
	KUNIT_EXPECT_TRUE(test, xa_empty(&to_sva_mock_dev(GROUP_FIRST)->domains));
	GROUP_SECOND->iommu->max_pasids = 78;
	KUNIT_EXPECT_EQ(test, 0,
			iommu_attach_device_pasid(domain, GROUP_FIRST, 77, NULL));
	iommu_detach_device_pasid(domain, GROUP_FIRST, 77);
	GROUP_SECOND->iommu->max_pasids = max_pasids;
	iommu_sva_unbind_device(handle);
}

/* --- members of groups --- */

static void each_member_is_drained(struct kunit *test)
{
	struct rid *rid = rid_alloc(test, GROUP_FIRST, IOMMU_DOMAIN_UNMANAGED);
	u32 max_pasids = GROUP_SECOND->iommu->max_pasids;
	struct mm_struct *mm = test_mm(test);

	enable_faults(test, GROUP_FIRST);
	enable_faults(test, GROUP_SECOND);
	iommu_sva_unbind_device(bind(test, GROUP_FIRST, mm));
	EXPECT_DRAINS(2);
	/* One without PASIDs has no requests with them, but may have others. */
	GROUP_SECOND->iommu->max_pasids = 1;
	iommu_sva_unbind_device(bind(test, GROUP_FIRST, mm));
	EXPECT_DRAINS(3);
	KUNIT_ASSERT_EQ(test, 0, rid_attach(rid, GROUP_FIRST));
	rid_detach(rid, GROUP_FIRST);
	EXPECT_DRAINS(5);
	GROUP_SECOND->iommu->max_pasids = max_pasids;
}

static void each_member_is_answered(struct kunit *test)
{
	struct iommu_sva *handle = bind_taking(test, GROUP_FIRST, test_mm(test));
	u32 pasid = iommu_sva_get_pasid(handle);

	enable_faults(test, GROUP_SECOND);
	KUNIT_EXPECT_EQ(test, 0, report(GROUP_FIRST, pasid, 1, 1, true));
	KUNIT_EXPECT_EQ(test, 0, report(GROUP_SECOND, pasid, 2, 1, true));
	iommu_sva_stop_faults(handle);
	EXPECT_RESPONSES(2);
	iommu_sva_start_faults(handle);
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(2);
	finish(0, SUCCESS);
	finish(1, SUCCESS);
}

/* Those behind it have not been asked, and have nothing to give back. */
static void first_member_refuses(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	enable_faults(test, GROUP_FIRST);
	enable_faults(test, GROUP_SECOND);
	sva_mock.dev[0].instance = &sva_mock.instance[SVA_MOCK_ODD];
	KUNIT_EXPECT_EQ(test, -EINVAL, bind_error(GROUP_SECOND, mm));
	sva_mock.dev[0].instance = &sva_mock.instance[0];
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[0].removed);
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[1].removed);
	EXPECT_DRAINS(0);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.domains));

	/* The second one: from the first it is taken, and drained. */
	sva_mock.dev[1].instance = &sva_mock.instance[SVA_MOCK_ODD];
	KUNIT_EXPECT_EQ(test, -EINVAL, bind_error(GROUP_FIRST, mm));
	sva_mock.dev[1].instance = &sva_mock.instance[0];
	KUNIT_EXPECT_EQ(test, 1, sva_mock.dev[0].removed);
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[1].removed);
	EXPECT_DRAINS(1);

	/* Nor is there anything of one without PASIDs. */
	iommu_sva_unbind_device(bind(test, GROUP_SECOND, mm));
	KUNIT_EXPECT_EQ(test, 2, sva_mock.dev[0].removed);
	KUNIT_EXPECT_EQ(test, 1, sva_mock.dev[1].removed);
}

static void member_without_pasids_is_not_reverted(struct kunit *test)
{
	u32 max_pasids = GROUP_FIRST->iommu->max_pasids;

	GROUP_FIRST->iommu->max_pasids = 1;
	sva_mock.dev[1].instance = &sva_mock.instance[SVA_MOCK_ODD];
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[0].removed);
	sva_mock.set_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, bind_error(GROUP_SECOND, test_mm(test)));
	sva_mock.dev[1].instance = &sva_mock.instance[0];
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[0].removed);
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[1].removed);
	GROUP_FIRST->iommu->max_pasids = max_pasids;
}

static void leaving_member_loses_each_pasid(struct kunit *test)
{
	struct rid *rid = rid_alloc(test, GROUP_FIRST, IOMMU_DOMAIN_UNMANAGED);
	struct iommu_sva *handle[3];
	unsigned int n;

	enable_faults(test, GROUP_FIRST);
	enable_faults(test, GROUP_SECOND);
	KUNIT_ASSERT_EQ(test, 0, rid_attach(rid, GROUP_FIRST));
	for (n = 0; n < 3; n++)
		handle[n] = bind(test, GROUP_FIRST, test_mm(test));
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device_pasid(handle[0]->handle.domain,
							   GROUP_FIRST, 77, NULL));
	iopf_queue_remove_device(sva_mock.queue, GROUP_FIRST);
	sva_mock_dev_del(to_sva_mock_dev(GROUP_SECOND));
	sva_mock.queue = NULL;
	KUNIT_EXPECT_EQ(test, 4, sva_mock.dev[1].removed);
	KUNIT_EXPECT_EQ(test, 0, sva_mock.dev[0].removed);
	EXPECT_DRAINS(4);
	iommu_detach_device_pasid(handle[0]->handle.domain, GROUP_FIRST, 77);
	while (n--)
		iommu_sva_unbind_device(handle[n]);
	KUNIT_EXPECT_EQ(test, 4, sva_mock.dev[0].removed);
	KUNIT_EXPECT_EQ(test, 4, sva_mock.dev[1].removed);
	rid_detach(rid, GROUP_FIRST);
}

/* --- who is waited for --- */

struct worker {
	struct completion done;
	struct iommu_sva *handle;
	struct device *dev;
	struct mm_struct *mm;
	struct cred *cred;
	bool killable;
	struct task_struct *thread;
};

static int unbind_thread(void *data)
{
	struct worker *worker = data;

	iommu_sva_unbind_device(worker->handle);
	complete_all(&worker->done);
	return 0;
}

static int remove_thread(void *data)
{
	struct worker *worker = data;

	sva_mock_dev_del(to_sva_mock_dev(worker->dev));
	complete_all(&worker->done);
	return 0;
}

static int bind_thread(void *data)
{
	struct worker *worker = data;

	const struct cred *old = NULL;

	if (worker->killable)
		allow_signal(SIGKILL);
	if (worker->cred)
		old = override_creds(worker->cred);
	worker->handle = iommu_sva_bind_device(worker->dev, worker->mm);
	if (old)
		revert_creds(old);
	complete_all(&worker->done);
	return 0;
}

/* To be followed by join(), which the test may not leave out by an assertion. */
static void start(struct kunit *test, int (*fn)(void *data), struct worker *worker)
{
	init_completion(&worker->done);
	worker->thread = kthread_create(fn, worker, "sva-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(worker->thread));
	get_task_struct(worker->thread);
	wake_up_process(worker->thread);
}

/* It may use what is on the test's stack, so that nothing but its end will do. */
static void join(struct kunit *test, struct worker *worker)
{
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&worker->done,
							     SVA_MOCK_TIMEOUT));
	wait_for_completion(&worker->done);
	put_task_struct(worker->thread);
}

/* It waits, and goes on to do so. */
static bool waits(struct worker *worker)
{
	bool asleep = EVENTUALLY(READ_ONCE(worker->thread->__state) &
				 TASK_UNINTERRUPTIBLE);

	msleep(60);
	return asleep && !completion_done(&worker->done);
}

/* It waits for a mutex by now, which is seen where mutexes are debugged. */
static bool waits_for_mutex(struct worker *worker)
{
#ifdef CONFIG_DEBUG_MUTEXES
	return EVENTUALLY(READ_ONCE(worker->thread->blocked_on));
#else
	return waits(worker);
#endif
}

/*
 * A worker has one fault in hand, and cannot end it; the unbind waits for the IOMMU. What
 * is reported now finds nobody, and gets its only answer at once.
 */
static void fault_while_unbind_drains(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(gate);
	struct mm_struct *mm = test_mm(test);
	struct worker unbinder = { .handle = bind(test, DEV, mm) };
	u32 pasid = iommu_sva_get_pasid(unbinder.handle);

	enable_faults(test, DEV);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 1, 1, true));
	KUNIT_EXPECT_EQ(test, 0, report(DEV, pasid, 2, 1, false));
	sva_mock.drain_gate = &gate;
	start(test, unbind_thread, &unbinder);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&sva_mock.drains) == 1));
	EXPECT_RESPONSES(1);
	expect_response(test, pasid, 1, INVALID);
	expect_partial(test, DEV, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, pasid, 2, 2, false));
	expect_partial(test, DEV, 0);
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, -EINVAL, report(DEV, pasid, 2, 3, true));
	EXPECT_RESPONSES(2);
	expect_response(test, pasid, 2, INVALID);
	KUNIT_EXPECT_TRUE(test, list_empty(&fault_param(DEV)->faults));
	complete_all(&gate);
	join(test, &unbinder);
	mmap_write_unlock(mm);
	/* The worker's answer comes too late. */
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(refcount_read(&fault_param(DEV)->users) == 1));
	EXPECT_RESPONSES(2);
}

/* While one of two is drained still, the device stays. */
static void device_stays_until_the_last_drain(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(gate);
	struct worker remover = { .dev = DEV }, unbinder[2] = {};
	unsigned int n;

	enable_faults(test, DEV);
	for (n = 0; n < 2; n++)
		unbinder[n].handle = bind(test, DEV, test_mm(test));
	sva_mock.drain_gate = &gate;
	for (n = 0; n < 2; n++)
		start(test, unbind_thread, &unbinder[n]);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&sva_mock.drains) == 2));
	start(test, remove_thread, &remover);
	KUNIT_EXPECT_TRUE(test, waits(&remover));
	complete(&gate);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(completion_done(&unbinder[0].done) ||
					   completion_done(&unbinder[1].done)));
	KUNIT_EXPECT_TRUE(test, waits(&remover));
	KUNIT_EXPECT_NOT_NULL(test, DEV->iommu);
	complete_all(&gate);
	for (n = 0; n < 2; n++)
		join(test, &unbinder[n]);
	join(test, &remover);
	sva_mock.queue = NULL;
}

/*
 * Another drain begins when the first is over and before the remover, who was waiting
 * for that, gets the mutex: he has to look again.
 */
static void remover_looks_again(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(in_attach);
	DECLARE_COMPLETION_ONSTACK(first);
	DECLARE_COMPLETION_ONSTACK(second);
	struct worker remover = { .dev = DEV }, unbinder[2] = {};
	struct worker binder = { .dev = DEV, .mm = test_mm(test) };
	unsigned int n;

	enable_faults(test, DEV);
	for (n = 0; n < 2; n++)
		unbinder[n].handle = bind(test, DEV, test_mm(test));
	sva_mock.drain_gate = &first;
	start(test, unbind_thread, &unbinder[0]);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&sva_mock.drains) == 1));
	start(test, remove_thread, &remover);
	KUNIT_EXPECT_TRUE(test, waits(&remover));

	/* Has the group's mutex, for which the others come one after the other. */
	to_sva_mock_dev(DEV)->gate = &in_attach;
	start(test, bind_thread, &binder);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&sva_mock.at_gate) == 1));
	sva_mock.drain_gate = &second;
	complete_all(&first);
	KUNIT_EXPECT_TRUE(test, waits_for_mutex(&unbinder[0]));
	start(test, unbind_thread, &unbinder[1]);
	KUNIT_EXPECT_TRUE(test, waits_for_mutex(&unbinder[1]));
	complete_all(&in_attach);
	join(test, &unbinder[0]);
	join(test, &binder);
	msleep(60);
	/* The mock complains about who releases a device that is drained. */
	complete_all(&second);
	join(test, &unbinder[1]);
	join(test, &remover);
	if (!IS_ERR_OR_NULL(binder.handle))
		iommu_sva_unbind_device(binder.handle);
	sva_mock.queue = NULL;
}

/* --- binds that are refused, or come together --- */

/* Nothing of them is left; @mm is of a process that has one reference to it. */
static void expect_nothing_left(struct kunit *test, struct mm_struct *mm)
{
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_users) == 1));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.domains));
	if (mm->iommu_mm) {
		KUNIT_EXPECT_TRUE(test, list_empty(&mm->iommu_mm->bonds));
		KUNIT_EXPECT_TRUE(test, list_empty(&mm->iommu_mm->sva_domains));
		KUNIT_EXPECT_NULL(test, mm->iommu_mm->kernel_user);
	}
}

static void device_without_iommu(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "no-iommu");
	struct mm_struct *mm = test_mm(test);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(dev, mm));
	/* In a group, as devices of VFIO without an IOMMU are */
	dev->iommu_group = DEV->iommu_group;
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(dev, mm));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(dev));
	iommu_dev_reset_done(dev);
	dev->iommu_group = NULL;
	/* On its way into a group, or out of it */
	dev->iommu = DEV->iommu;
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(dev, mm));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(dev));
	iommu_dev_reset_done(dev);
	dev->iommu = NULL;
	KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.resets));
	expect_nothing_left(test, mm);
}

/* One PASID less would be too few for it. */
static void pasid_just_fits(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = ODD->iommu->max_pasids;

	iommu_sva_unbind_device(bind(test, DEV, mm));
	ODD->iommu->max_pasids = mm_get_enqcmd_pasid(mm) + 1;
	iommu_sva_unbind_device(bind(test, ODD, mm));
	ODD->iommu->max_pasids = max_pasids;
}

static void pasid_in_use_otherwise(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test), *other = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	struct iommu_domain *domain = handle->handle.domain;
	struct iommu_attach_handle taker = {};
	u32 pasid;

	iommu_sva_unbind_device(bind(test, OTHER_INSTANCE, other));
	pasid = mm_get_enqcmd_pasid(other);
	/* With the domain of another mm, and with one that has no mm */
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device_pasid(domain, DEV, pasid, &taker));
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(DEV, other));
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(DEV, other));
	domain->type = IOMMU_DOMAIN_SVA;
	iommu_detach_device_pasid(domain, DEV, pasid);
	KUNIT_EXPECT_TRUE(test, list_empty(&other->iommu_mm->bonds));
	KUNIT_EXPECT_EQ(test, 1, handle->users);
	iommu_sva_unbind_device(bind(test, DEV, other));
	iommu_sva_unbind_device(handle);
	expect_nothing_left(test, other);
	expect_nothing_left(test, mm);
}

/* Both find that the mm has no PASID, and one of them is faster. */
static void two_first_binds(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct cred *cred = test_cred(test, 1003);
	struct worker binder[] = {
		{ .dev = DEV, .mm = mm, .cred = cred },
		{ .dev = DEV, .mm = mm, .cred = cred },
	};
	unsigned int n;

	mmap_write_lock(mm);
	for (n = 0; n < 2; n++) {
		start(test, bind_thread, &binder[n]);
		KUNIT_EXPECT_TRUE(test, waits(&binder[n]));
	}
	KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	KUNIT_EXPECT_EQ(test, 2, iommu_sva_count_mms(cred->uid));
	mmap_write_unlock(mm);
	for (n = 0; n < 2; n++)
		join(test, &binder[n]);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(binder[0].handle));
	KUNIT_EXPECT_PTR_EQ(test, binder[0].handle, binder[1].handle);
	KUNIT_EXPECT_EQ(test, 2, binder[0].handle->users);
	/* What the slower one had is gone. */
	KUNIT_EXPECT_EQ(test, 1, iommu_sva_count_mms(cred->uid));
	for (n = 0; n < 2; n++)
		iommu_sva_unbind_device(binder[n].handle);
	expect_nothing_left(test, mm);
}

static void killed_bind(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct cred *cred = test_cred(test, 1004);
	struct worker binder = {
		.dev = DEV, .mm = mm, .cred = cred, .killable = true,
	};
	const struct cred *old;
	unsigned int n;

	/* While it waits to publish a PASID, and then for a domain */
	for (n = 0; n < 2; n++) {
		mmap_write_lock(mm);
		start(test, bind_thread, &binder);
		KUNIT_EXPECT_TRUE(test, waits(&binder));
		send_sig(SIGKILL, binder.thread, 1);
		join(test, &binder);
		mmap_write_unlock(mm);
		KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINTR), binder.handle);
		KUNIT_EXPECT_EQ(test, n, mm_valid_pasid(mm));
		KUNIT_EXPECT_EQ(test, n, iommu_sva_count_mms(cred->uid));
		expect_nothing_left(test, mm);
		old = override_creds(cred);
		iommu_sva_unbind_device(bind(test, DEV, mm));
		revert_creds(old);
	}
}

static bool has_tags(struct mm_struct *mm)
{
	return false;
}

/* Devices do not know that some bits of a pointer are none of the address. */
static void bind_with_tags(struct kunit *test)
{
	struct cred *cred = test_cred(test, 1005);
	const struct cred *old = override_creds(cred);
	struct mm_struct *mm = test_mm(test);

	kunit_activate_static_stub(test, iommu_sva_mm_fits, has_tags);
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(DEV, mm));
	kunit_deactivate_static_stub(test, iommu_sva_mm_fits);
	KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	KUNIT_EXPECT_EQ(test, 0, iommu_sva_count_mms(cred->uid));
	expect_nothing_left(test, mm);
	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, 1, iommu_sva_count_mms(cred->uid));
	revert_creds(old);
}

/* --- functions that are gone --- */

enum gone_step {
	GONE_EXIT,
	GONE_UNBIND_FIRST,
	GONE_UNBIND_SECOND,
	GONE_STEPS,
};

/* In each order, after the first device of two that share a domain has gone */
static const struct gone_order {
	const char *name;
	enum gone_step step[GONE_STEPS];
} gone_orders[] = {
	{ "exit, gone, left",
	  { GONE_EXIT, GONE_UNBIND_FIRST, GONE_UNBIND_SECOND } },
	{ "exit, left, gone",
	  { GONE_EXIT, GONE_UNBIND_SECOND, GONE_UNBIND_FIRST } },
	{ "gone, exit, left",
	  { GONE_UNBIND_FIRST, GONE_EXIT, GONE_UNBIND_SECOND } },
	{ "gone, left, exit",
	  { GONE_UNBIND_FIRST, GONE_UNBIND_SECOND, GONE_EXIT } },
	{ "left, exit, gone",
	  { GONE_UNBIND_SECOND, GONE_EXIT, GONE_UNBIND_FIRST } },
	{ "left, gone, exit",
	  { GONE_UNBIND_SECOND, GONE_UNBIND_FIRST, GONE_EXIT } },
};

KUNIT_ARRAY_PARAM_DESC(gone, gone_orders, name);

static void gone_do(struct kunit *test, enum gone_step step, struct mm_struct *mm,
		    struct iommu_sva *handle[2])
{
	switch (step) {
	case GONE_EXIT:
		mmput(mm);
		break;
	case GONE_UNBIND_FIRST:
		/* Nobody asks for a device that is not there. */
		iommu_sva_stop_faults(handle[0]);
		iommu_sva_start_faults(handle[0]);
		iommu_sva_unbind_device(handle[0]);
		KUNIT_EXPECT_EQ(test, 1, to_sva_mock_dev(DEV)->removed);
		break;
	default:
		iommu_sva_unbind_device(handle[1]);
		KUNIT_EXPECT_NULL(test, bound(OTHER_INSTANCE, mm));
		KUNIT_EXPECT_EQ(test, 1, to_sva_mock_dev(OTHER_INSTANCE)->removed);
	}
}

static void one_of_two_is_gone(struct kunit *test)
{
	const struct gone_order *order = test->param_value;
	struct mm_struct *mm = mm_alloc();
	struct iommu_sva *handle[2];
	unsigned int n;
	int drains;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	handle[0] = bind(test, DEV, mm);
	handle[1] = bind(test, OTHER_INSTANCE, mm);
	enable_faults(test, OTHER_INSTANCE);
	enable_faults(test, DEV);
	/* For a look at what is left when all is over */
	mmgrab(mm);
	sva_mock_dev_del(to_sva_mock_dev(DEV));
	KUNIT_EXPECT_EQ(test, 1, to_sva_mock_dev(DEV)->removed);
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
	KUNIT_EXPECT_NOT_NULL(test, bound(OTHER_INSTANCE, mm));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.domains));
	drains = atomic_read(&sva_mock.drains);

	for (n = 0; n < GONE_STEPS; n++)
		gone_do(test, order->step[n], mm, handle);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.domains));
	EXPECT_DRAINS(drains + 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&mm->iommu_mm->bonds));
	KUNIT_EXPECT_TRUE(test, list_empty(&mm->iommu_mm->sva_domains));
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_count) == 1));
	mmdrop(mm);
	sva_mock.queue = NULL;
}

static struct kunit_case iopf_cases[] = {
	KUNIT_CASE(group_has_its_requests_in_order),
	KUNIT_CASE(failed_handler_is_answered_for),
	KUNIT_CASE(no_memory_for_a_request),
	KUNIT_CASE(unbind_forgets_its_own_requests),
	KUNIT_CASE(requests_of_one_handle_are_answered),
	KUNIT_CASE(incomplete_groups_are_discarded),
	KUNIT_CASE(device_is_in_one_queue),
	KUNIT_CASE(no_memory_for_a_device),
	KUNIT_CASE(removal_from_the_queue_answers_all),
	KUNIT_CASE(closed_device_is_refused),
	KUNIT_CASE(reset_leaves_no_references),
	KUNIT_CASE(without_faults_nothing_is_done),
	KUNIT_CASE(other_faults_have_no_response),
	KUNIT_CASE(nested_domain_gets_all_pasids),
	KUNIT_CASE(requests_without_a_pasid),
	KUNIT_CASE(domain_without_a_handle_has_no_faults),
	KUNIT_CASE(handle_has_a_type),
	KUNIT_CASE(attach_is_refused),
	KUNIT_CASE(each_member_is_drained),
	KUNIT_CASE(each_member_is_answered),
	KUNIT_CASE(first_member_refuses),
	KUNIT_CASE(member_without_pasids_is_not_reverted),
	KUNIT_CASE(leaving_member_loses_each_pasid),
	KUNIT_CASE(fault_while_unbind_drains),
	KUNIT_CASE(device_stays_until_the_last_drain),
	KUNIT_CASE(remover_looks_again),
	KUNIT_CASE(device_without_iommu),
	KUNIT_CASE(pasid_just_fits),
	KUNIT_CASE(pasid_in_use_otherwise),
	KUNIT_CASE(two_first_binds),
	KUNIT_CASE(killed_bind),
	KUNIT_CASE(bind_with_tags),
	KUNIT_CASE_PARAM(one_of_two_is_gone, gone_gen_params),
	{}
};

static struct kunit_suite iopf_suite = {
	.name = "iommu_iopf",
	.init = sva_mock_init,
	.exit = sva_mock_exit,
	.test_cases = iopf_cases,
};

kunit_test_suite(iopf_suite);

MODULE_DESCRIPTION("Tests of groups of page requests and of devices");
MODULE_LICENSE("GPL");
