// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what Documentation/driver-api/iommu/sva.rst promises about page
 * faults; the names of the cases are those in its brackets
 *
 * The IOMMU driver is that of iommu-sva-mock.c. A worker is kept waiting by mmap_lock,
 * as it would be by a file system that does not answer.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "iommu-priv.h"
#include "iommu-sva-kunit.h"

#define EXPECT_RESPONSES(n)						\
	KUNIT_EXPECT_EQ(test, n, atomic_read(&sva_mock.responses))

static int bind_error(struct device *dev, struct mm_struct *mm)
{
	return PTR_ERR_OR_ZERO(iommu_sva_bind_device(dev, mm));
}

static void enable_faults(struct kunit *test, struct device *dev)
{
	sva_mock.queue = iopf_queue_alloc();
	KUNIT_ASSERT_NOT_NULL(test, sva_mock.queue);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(sva_mock.queue, dev));
}

static struct iommu_fault_param *fault_param(struct device *dev)
{
	return rcu_dereference_protected(dev->iommu->fault_param, true);
}

static int fault_of_pasid(struct device *dev, ioasid_t pasid, bool last)
{
	struct iopf_fault evt = {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm = {
			.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
				 (last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0),
			.pasid = pasid,
			.perm = IOMMU_FAULT_PERM_READ,
			.grpid = 5,
			.addr = PAGE_SIZE,
		},
	};

	return iommu_report_device_fault(dev, &evt);
}

static int fault(struct device *dev, struct mm_struct *mm, bool last)
{
	return fault_of_pasid(dev, mm_get_enqcmd_pasid(mm), last);
}

/*
 * Start a thread, and return when it waits for something, and does so for a while,
 * as it should, or is done.
 */
static void run_until_asleep(struct kunit *test, int (*fn)(void *data),
			     void *data, struct completion *done)
{
	struct task_struct *thread = kthread_create(fn, data, "sva-test");
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;
	unsigned int asleep = 0;

	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	get_task_struct(thread);
	wake_up_process(thread);
	while (asleep < 5 && !completion_done(done) && time_before(jiffies, end)) {
		msleep(20);
		if (READ_ONCE(thread->__state) & TASK_UNINTERRUPTIBLE)
			asleep++;
		else
			asleep = 0;
	}
	put_task_struct(thread);
}

/* Whether a thread that runs @fn ends, while a worker cannot. */
static bool ends(struct kunit *test, int (*fn)(void *data), void *data,
		 struct completion *done)
{
	struct task_struct *thread = kthread_run(fn, data, "sva-test");

	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	return wait_for_completion_timeout(done, SVA_MOCK_TIMEOUT);
}

static bool responses_come(int n)
{
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;

	while (atomic_read(&sva_mock.responses) < n && time_before(jiffies, end))
		msleep(20);
	return atomic_read(&sva_mock.responses) == n;
}

/* Until @n references to @mm's mm_count are left; all of its users have one. */
static bool references_go(struct mm_struct *mm, int n)
{
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;

	while (atomic_read(&mm->mm_count) > n && time_before(jiffies, end))
		msleep(20);
	return atomic_read(&mm->mm_count) == n;
}

/* Until @n workers have a fault of @mm in hand */
static bool workers_come(struct mm_struct *mm, int n)
{
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;

	while (READ_ONCE(mm->iommu_mm->faulting) < n && time_before(jiffies, end))
		msleep(20);
	return READ_ONCE(mm->iommu_mm->faulting) == n;
}

/* --- the end of a bond --- */

struct unbinder {
	struct iommu_sva *handle;
	struct completion done;
};

static int unbind_thread(void *data)
{
	struct unbinder *unbinder = data;

	iommu_sva_unbind_device(unbinder->handle);
	complete_all(&unbinder->done);
	return 0;
}

static bool unbind_ends(struct kunit *test, struct unbinder *unbinder)
{
	init_completion(&unbinder->done);
	return ends(test, unbind_thread, unbinder, &unbinder->done);
}

static void unbind_answers_faults(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct unbinder unbinder;

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, unbind_ends(test, &unbinder));
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	mmap_write_unlock(mm);
	wait_for_completion(&unbinder.done);
	/* That of the worker is not sent. */
	KUNIT_EXPECT_TRUE(test, references_go(mm, 1));
	EXPECT_RESPONSES(1);
}

/* Another process's fault is none of its business, also on the same device. */
static void unbind_leaves_faults_of_others(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct unbinder unbinder;
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	unbinder.handle = bind(test, DEV, test_mm(test));
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, unbind_ends(test, &unbinder));
	EXPECT_RESPONSES(0);
	mmap_write_unlock(mm);
	wait_for_completion(&unbinder.done);
	KUNIT_EXPECT_TRUE(test, responses_come(1));
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(1);
}

static int disable_thread(void *done)
{
	iopf_queue_remove_device(sva_mock.queue, DEV);
	complete_all(done);
	return 0;
}

/* Faults are disabled while a worker has one in its hands, and before the unbind. */
static void disable_answers_faults(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, ends(test, disable_thread, &done, &done));
	KUNIT_EXPECT_NULL(test, fault_param(DEV));
	EXPECT_RESPONSES(1);
	mmap_write_unlock(mm);
	wait_for_completion(&done);

	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	EXPECT_RESPONSES(2);
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_TRUE(test, references_go(mm, 1));
	EXPECT_RESPONSES(2);
}

/* A group of page requests whose last one never came */
static void unbind_forgets_incomplete_groups(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_fault_param *param;
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, false));
	param = fault_param(DEV);
	KUNIT_EXPECT_FALSE(test, list_empty(&param->partial));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_TRUE(test, list_empty(&param->partial));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.responses));
}

static void fault_after_unbind_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	enable_faults(test, DEV);
	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.responses));
}

/* A response for each request would be one for the next group with the number, too. */
static void refused_group_has_one_response(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;

	/* Without a fault queue, without a handler, and by one that goes meanwhile */
	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, false));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.responses));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.responses));

	enable_faults(test, DEV);
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, false));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.responses));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&sva_mock.responses));

	handle = bind(test, DEV, mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, false));
	handle->handle.domain->iopf_handler = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&sva_mock.responses));
	KUNIT_EXPECT_TRUE(test, list_empty(&fault_param(DEV)->partial));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&sva_mock.responses));
}

/* Who reports a fault may have found the handle, and has not queued the fault yet. */
static void unbind_waits_for_reports(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct unbinder unbinder = {
		.done = COMPLETION_INITIALIZER_ONSTACK(unbinder.done),
	};
	struct task_struct *thread;

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, mm);
	down_read(&fault_param(DEV)->reporting);
	thread = kthread_run(unbind_thread, &unbinder, "sva-unbind");
	while (!IS_ERR(thread) && !completion_done(&unbinder.done) &&
	       !rwsem_is_contended(&fault_param(DEV)->reporting))
		msleep(20);
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
	KUNIT_EXPECT_FALSE(test, completion_done(&unbinder.done));
	up_read(&fault_param(DEV)->reporting);
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&unbinder.done,
							     SVA_MOCK_TIMEOUT));
}

struct reporter {
	struct mm_struct *mm;
	int ret;
	struct completion done;
};

static int report_thread(void *data)
{
	struct reporter *reporter = data;

	reporter->ret = fault(DEV, reporter->mm, true);
	complete(&reporter->done);
	return 0;
}

/*
 * A report has begun, then faults are disabled and enabled again. Who waits for
 * reports from now on waits for those of the new parameter.
 */
static void fault_from_before_disable_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct reporter reporter = {
		.mm = mm,
		.done = COMPLETION_INITIALIZER_ONSTACK(reporter.done),
	};
	struct iommu_fault_param *old, *new;
	struct task_struct *thread;
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	old = fault_param(DEV);
	rcu_assign_pointer(DEV->iommu->fault_param, NULL);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_add_device(sva_mock.queue, DEV));
	new = fault_param(DEV);
	rcu_assign_pointer(DEV->iommu->fault_param, old);

	down_write(&old->reporting);
	thread = kthread_run(report_thread, &reporter, "sva-report");
	while (!IS_ERR(thread) && !rwsem_is_contended(&old->reporting))
		msleep(20);
	rcu_assign_pointer(DEV->iommu->fault_param, new);
	up_write(&old->reporting);
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	wait_for_completion(&reporter.done);
	KUNIT_EXPECT_EQ(test, -EINVAL, reporter.ret);
	iopf_queue_remove_device(sva_mock.queue, DEV);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.responses));
	/* The queue still has it. */
	rcu_assign_pointer(DEV->iommu->fault_param, old);
	iommu_sva_unbind_device(handle);
}

/* What a request got that came in the middle of an attach */
static int early_fault;

static int fault_and_fail(struct device *dev, ioasid_t pasid)
{
	early_fault = fault_of_pasid(dev, pasid, true);
	return -ENOMEM;
}

/* It must not find a handle that is about to be freed. */
static void fault_of_a_failing_bind_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	enable_faults(test, DEV);
	sva_mock.in_set = fault_and_fail;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(DEV, mm));
	sva_mock.in_set = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, early_fault);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.responses));

	/* The PASID has not been lost with it. */
	iommu_sva_unbind_device(bind(test, DEV, mm));
}

/* --- draining --- */

/*
 * The IOMMU takes its time. Another process is bound to the device, and unbound, as far
 * as it can be without draining; the device stays in its group.
 */
static void drain_holds_up_nobody(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(gate);
	struct mm_struct *mm = test_mm(test);
	struct mm_struct *other = test_mm(test);
	struct unbinder unbinder = {
		.done = COMPLETION_INITIALIZER_ONSTACK(unbinder.done),
	};
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, mm);
	sva_mock.drain_gate = &gate;
	run_until_asleep(test, unbind_thread, &unbinder, &unbinder.done);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.drains));
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
	handle = bind(test, DEV, other);
	/* The PASID is not to be had before it is drained. */
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_device_pasid(handle->handle.domain, DEV,
						  mm_get_enqcmd_pasid(mm), NULL));
	KUNIT_EXPECT_FALSE(test, completion_done(&unbinder.done));
	complete_all(&gate);
	wait_for_completion(&unbinder.done);
	iommu_sva_unbind_device(handle);
}

struct remover {
	struct device *dev;
	struct completion done;
};

static int remove_thread(void *data)
{
	struct remover *remover = data;

	sva_mock_dev_del(to_sva_mock_dev(remover->dev));
	complete(&remover->done);
	return 0;
}

static void device_stays_until_drained(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(gate);
	struct remover remover = {
		.dev = DEV,
		.done = COMPLETION_INITIALIZER_ONSTACK(remover.done),
	};
	struct unbinder unbinder = {
		.done = COMPLETION_INITIALIZER_ONSTACK(unbinder.done),
	};

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, test_mm(test));
	sva_mock.drain_gate = &gate;
	run_until_asleep(test, unbind_thread, &unbinder, &unbinder.done);
	run_until_asleep(test, remove_thread, &remover, &remover.done);
	KUNIT_EXPECT_FALSE(test, completion_done(&remover.done));
	KUNIT_EXPECT_NOT_NULL(test, DEV->iommu);
	complete_all(&gate);
	wait_for_completion(&unbinder.done);
	wait_for_completion(&remover.done);
	sva_mock.queue = NULL;
}

/* Of the group's devices the first has the PASID already, the second refuses it. */
static void failed_bind_drains(struct kunit *test)
{
	enable_faults(test, GROUP_FIRST);
	sva_mock.dev[1].instance = &sva_mock.instance[SVA_MOCK_ODD];
	KUNIT_EXPECT_EQ(test, -EINVAL, bind_error(GROUP_FIRST, test_mm(test)));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.drains));
	sva_mock.dev[1].instance = &sva_mock.instance[0];
}

static int late_fault;

static void fault_in_release(struct device *dev)
{
	late_fault = fault_of_pasid(dev, IOMMU_FIRST_GLOBAL_PASID, true);
}

/* The other member of its group has the handle, and a page request finds it. */
static void fault_of_a_leaving_device_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;
	int n;

	/* PASIDs are given out from the lowest; who has freed one may be late. */
	handle = bind(test, GROUP_SECOND, mm);
	for (n = 0; n < 1000 && iommu_sva_get_pasid(handle) != IOMMU_FIRST_GLOBAL_PASID; n++) {
		iommu_sva_unbind_device(handle);
		msleep(20);
		mm = test_mm(test);
		handle = bind(test, GROUP_SECOND, mm);
	}
	KUNIT_ASSERT_EQ(test, IOMMU_FIRST_GLOBAL_PASID, iommu_sva_get_pasid(handle));
	enable_faults(test, GROUP_FIRST);
	late_fault = 0;
	sva_mock.in_release = fault_in_release;
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(GROUP_FIRST, mm, true));
	sva_mock_dev_del(to_sva_mock_dev(GROUP_FIRST));
	sva_mock.in_release = NULL;
	sva_mock.queue = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, late_fault);
	EXPECT_RESPONSES(2);
	mmap_write_unlock(mm);
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_TRUE(test, references_go(mm, 1));
	EXPECT_RESPONSES(2);
}

/* A driver has attached a domain to a PASID without a handle, and does not detach it. */
static void device_gone_with_a_domain(struct kunit *test)
{
	struct iommu_sva *handle = bind(test, OTHER_INSTANCE, test_mm(test));

	KUNIT_EXPECT_EQ(test, 0,
			iommu_attach_device_pasid(handle->handle.domain, DEV, 2,
						  NULL));
	sva_mock_dev_del(to_sva_mock_dev(DEV));
	KUNIT_EXPECT_TRUE(test, xa_empty(&to_sva_mock_dev(DEV)->domains));
	iommu_sva_unbind_device(handle);
}

/* --- handles of whole devices, as iommufd has them --- */

static struct iopf_group *rid_group;

static int rid_handler(struct iopf_group *group)
{
	rid_group = group;
	return 0;
}

static int rid_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static const struct iommu_domain_ops rid_ops = { .attach_dev = rid_attach_dev };

static struct iommu_domain rid_domain(void)
{
	return (struct iommu_domain) {
		.type = IOMMU_DOMAIN_UNMANAGED,
		.ops = &rid_ops,
		.owner = dev_iommu_ops(DEV),
		.iopf_handler = rid_handler,
	};
}

static int fault_of_rid(struct device *dev)
{
	struct iopf_fault evt = {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
	};

	return iommu_report_device_fault(dev, &evt);
}

static void expect_rid_answered(struct kunit *test, int responses)
{
	EXPECT_RESPONSES(responses);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	/* Who has it answers it later, or not; nobody hears of it. */
	iopf_group_response(rid_group, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(rid_group);
	EXPECT_RESPONSES(responses);
}

static void detach_answers_faults_of_rid(struct kunit *test)
{
	struct iommu_domain domain = rid_domain();
	struct iommu_attach_handle handle = {};

	enable_faults(test, DEV);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(&domain, DEV->iommu_group,
							   &handle));
	KUNIT_EXPECT_EQ(test, 0, fault_of_rid(DEV));
	iommu_detach_group_handle(&domain, DEV->iommu_group);
	expect_rid_answered(test, 1);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.drains));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault_of_rid(DEV));
}

static void replace_answers_faults_of_rid(struct kunit *test)
{
	struct iommu_domain domain[] = { rid_domain(), rid_domain() };
	struct iommu_attach_handle handle[2] = {};

	enable_faults(test, DEV);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(&domain[0], DEV->iommu_group,
							   &handle[0]));
	KUNIT_EXPECT_EQ(test, 0, fault_of_rid(DEV));
	KUNIT_EXPECT_EQ(test, 0, iommu_replace_group_handle(DEV->iommu_group,
							    &domain[1], &handle[1]));
	expect_rid_answered(test, 1);
	/* Those of the new one are the new one's. */
	KUNIT_EXPECT_EQ(test, 0, fault_of_rid(DEV));
	EXPECT_RESPONSES(1);
	iommu_detach_group_handle(&domain[1], DEV->iommu_group);
	expect_rid_answered(test, 2);
}

struct detacher {
	struct iommu_domain *domain;
	struct completion done;
};

static int detach_thread(void *data)
{
	struct detacher *detacher = data;

	iommu_detach_group_handle(detacher->domain, DEV->iommu_group);
	complete(&detacher->done);
	return 0;
}

static void detach_waits_for_reports_of_rid(struct kunit *test)
{
	struct iommu_domain domain = rid_domain();
	struct iommu_attach_handle handle = {};
	struct detacher detacher = {
		.domain = &domain,
		.done = COMPLETION_INITIALIZER_ONSTACK(detacher.done),
	};

	enable_faults(test, DEV);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(&domain, DEV->iommu_group,
							   &handle));
	down_read(&fault_param(DEV)->reporting);
	run_until_asleep(test, detach_thread, &detacher, &detacher.done);
	KUNIT_EXPECT_FALSE(test, completion_done(&detacher.done));
	up_read(&fault_param(DEV)->reporting);
	wait_for_completion(&detacher.done);
}

/* --- stopping --- */

static int stop_thread(void *data)
{
	struct unbinder *unbinder = data;

	iommu_sva_stop_faults(unbinder->handle);
	complete_all(&unbinder->done);
	return 0;
}

static bool stop_ends(struct kunit *test, struct unbinder *unbinder)
{
	init_completion(&unbinder->done);
	return ends(test, stop_thread, unbinder, &unbinder->done);
}

static void stop_answers_faults(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct unbinder unbinder;

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, stop_ends(test, &unbinder));
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	/* Later ones, too */
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	EXPECT_RESPONSES(2);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	/* And then they wait again. */
	iommu_sva_start_faults(unbinder.handle);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	EXPECT_RESPONSES(2);
	mmap_write_unlock(mm);
	wait_for_completion(&unbinder.done);
	KUNIT_EXPECT_TRUE(test, responses_come(3));
	iommu_sva_unbind_device(unbinder.handle);
}

/* Who reports a fault has looked, and has not listed the group yet. */
static void stop_waits_for_reports(struct kunit *test)
{
	struct unbinder unbinder = {
		.done = COMPLETION_INITIALIZER_ONSTACK(unbinder.done),
	};

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, test_mm(test));
	down_read(&fault_param(DEV)->reporting);
	run_until_asleep(test, stop_thread, &unbinder, &unbinder.done);
	KUNIT_EXPECT_FALSE(test, completion_done(&unbinder.done));
	up_read(&fault_param(DEV)->reporting);
	wait_for_completion(&unbinder.done);
	iommu_sva_start_faults(unbinder.handle);
	iommu_sva_unbind_device(unbinder.handle);
}

/* Another queue of the process goes on, for as long as one may hope. */
static void stop_lets_others_ask_again(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	iommu_sva_stop_faults(handle);
	handle->patience = jiffies + 3 * SVA_MOCK_TIMEOUT;
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	EXPECT_RESPONSES(2);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS, sva_mock.code);
	handle->patience = jiffies - 1;
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	/* When all of them are stopped there is nobody to be patient for. */
	handle->patience = jiffies + 3 * SVA_MOCK_TIMEOUT;
	iommu_sva_stop_faults(handle);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	EXPECT_RESPONSES(4);
	mmap_write_unlock(mm);
	iommu_sva_start_faults(handle);
	iommu_sva_start_faults(handle);
	iommu_sva_unbind_device(handle);
	iommu_sva_unbind_device(handle);
}

/* --- workers --- */

/* As many as a user has, and some that have to wait for them */
#define FAULTS		(IOMMU_SVA_USER_WORKERS + 6)

static void user_has_some_workers(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;
	int before, n;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	before = atomic_read(&mm->mm_count);
	mmap_write_lock(mm);
	for (n = 0; n < FAULTS; n++)
		KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	EXPECT_RESPONSES(0);
	KUNIT_EXPECT_EQ(test, before + FAULTS, atomic_read(&mm->mm_count));
	KUNIT_EXPECT_TRUE(test, workers_come(mm, IOMMU_SVA_USER_WORKERS));
	/* Nobody keeps what has no worker yet. */
	iommu_sva_unbind_device(handle);
	EXPECT_RESPONSES(FAULTS);
	KUNIT_EXPECT_TRUE(test, references_go(mm, 1 + IOMMU_SVA_USER_WORKERS));
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, references_go(mm, 1));
	EXPECT_RESPONSES(FAULTS);
}

static void faults_wait_for_a_worker(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;
	int n;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	for (n = 0; n < FAULTS; n++)
		KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, responses_come(FAULTS));
	/* And those of later faults do not. */
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, responses_come(FAULTS + 1));
	iommu_sva_unbind_device(handle);
}

/* A worker keeps the mm. Another one does not bother. */
static void fault_of_a_dead_process_is_refused(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct iommu_sva *handle;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, workers_come(mm, 1));
	mmput(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, responses_come(1));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, responses_come(2));
	iommu_sva_unbind_device(handle);
}

/* The OOM killer has chosen it. */
static void fault_of_a_victim_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	set_bit(MMF_OOM_REAP_QUEUED, &mm->flags);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, responses_come(1));
	mmap_write_unlock(mm);
	iommu_sva_unbind_device(handle);
}

/* --- locks --- */

/* What it is called under, a close() of the process may take. */
static struct mm_struct *put_mm;

static int last_put_but_one(struct device *dev, ioasid_t pasid)
{
	mmput(put_mm);
	return 0;
}

static void bind_exits_no_mm(struct kunit *test)
{
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;
	struct iommu_sva *handle;

	put_mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, put_mm);
	sva_mock.in_set = last_put_but_one;
	handle = bind(test, DEV, put_mm);
	sva_mock.in_set = NULL;
	while (!atomic_read(&sva_mock.released) && time_before(jiffies, end))
		msleep(20);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.released));
	KUNIT_EXPECT_PTR_NE(test, current, sva_mock.releaser);
	iommu_sva_unbind_device(handle);
}

struct binder {
	struct mm_struct *mm;
	struct iommu_sva *handle;
	struct completion done;
};

static int bind_thread(void *data)
{
	struct binder *binder = data;

	binder->handle = iommu_sva_bind_device(ODD, binder->mm);
	complete(&binder->done);
	return 0;
}

/* A bind that needs another domain waits for mmap_lock; others of the mm do not. */
static void unbind_does_not_wait_for_mmap_lock(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct binder binder = {
		.mm = mm,
		.done = COMPLETION_INITIALIZER_ONSTACK(binder.done),
	};
	struct unbinder unbinder;

	unbinder.handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	run_until_asleep(test, bind_thread, &binder, &binder.done);
	KUNIT_EXPECT_FALSE(test, completion_done(&binder.done));
	KUNIT_EXPECT_TRUE(test, unbind_ends(test, &unbinder));
	mmap_write_unlock(mm);
	wait_for_completion(&unbinder.done);
	wait_for_completion(&binder.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(binder.handle));
	iommu_sva_unbind_device(binder.handle);
}

/* --- resets --- */

static struct mm_struct *drained_mm;
static int drained_fault;

static void fault_in_drain(struct device *dev)
{
	drained_fault = fault(dev, drained_mm, true);
}

/* A number that it gave out before the reset may be another request's afterwards. */
static void reset_ends_faults(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;
	int before;

	enable_faults(test, DEV);
	handle = bind(test, DEV, mm);
	before = atomic_read(&mm->mm_count);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, false));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	/* As long as the device knows it, which may not be reset after all */
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID, sva_mock.code);
	KUNIT_EXPECT_TRUE(test, list_empty(&fault_param(DEV)->partial));
	KUNIT_EXPECT_EQ(test, -EBUSY, fault(DEV, mm, true));
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, references_go(mm, before));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.drains));
	/* What comes while the IOMMU is drained is from before, too. */
	sva_mock.in_drain = fault_in_drain;
	drained_mm = mm;
	iommu_dev_reset_done(DEV);
	sva_mock.in_drain = NULL;
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.drains));
	KUNIT_EXPECT_EQ(test, -EBUSY, drained_fault);
	EXPECT_RESPONSES(1);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	KUNIT_EXPECT_TRUE(test, responses_come(2));
	iommu_sva_unbind_device(handle);
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(unbind_answers_faults),
	KUNIT_CASE(unbind_leaves_faults_of_others),
	KUNIT_CASE(disable_answers_faults),
	KUNIT_CASE(unbind_forgets_incomplete_groups),
	KUNIT_CASE(fault_after_unbind_is_refused),
	KUNIT_CASE(refused_group_has_one_response),
	KUNIT_CASE(unbind_waits_for_reports),
	KUNIT_CASE(fault_from_before_disable_is_refused),
	KUNIT_CASE(fault_of_a_failing_bind_is_refused),
	KUNIT_CASE(drain_holds_up_nobody),
	KUNIT_CASE(device_stays_until_drained),
	KUNIT_CASE(failed_bind_drains),
	KUNIT_CASE(fault_of_a_leaving_device_is_refused),
	KUNIT_CASE(device_gone_with_a_domain),
	KUNIT_CASE(detach_answers_faults_of_rid),
	KUNIT_CASE(replace_answers_faults_of_rid),
	KUNIT_CASE(detach_waits_for_reports_of_rid),
	KUNIT_CASE(stop_answers_faults),
	KUNIT_CASE(stop_waits_for_reports),
	KUNIT_CASE(stop_lets_others_ask_again),
	KUNIT_CASE(user_has_some_workers),
	KUNIT_CASE(faults_wait_for_a_worker),
	KUNIT_CASE(fault_of_a_dead_process_is_refused),
	KUNIT_CASE(fault_of_a_victim_is_refused),
	KUNIT_CASE(bind_exits_no_mm),
	KUNIT_CASE(unbind_does_not_wait_for_mmap_lock),
	KUNIT_CASE(reset_ends_faults),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "iommu_sva_fault",
	.init = sva_mock_init,
	.exit = sva_mock_exit,
	.test_cases = fault_cases,
};

kunit_test_suite(fault_suite);

MODULE_DESCRIPTION("Tests of the page faults of SVA");
MODULE_LICENSE("GPL");
