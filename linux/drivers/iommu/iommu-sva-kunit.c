// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what Documentation/driver-api/iommu/sva.rst promises to device
 * drivers; the names of the cases are those in its brackets
 *
 * The IOMMU driver is that of iommu-sva-mock.c.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "iommu-kunit-nomem.h"
#include "iommu-priv.h"
#include "iommu-sva-kunit.h"

#define EXPECT_DOMAINS(n)						\
	KUNIT_EXPECT_EQ(test, n, atomic_read(&sva_mock.domains))

static int bind_error(struct device *dev, struct mm_struct *mm)
{
	return PTR_ERR_OR_ZERO(iommu_sva_bind_device(dev, mm));
}

/* --- binding --- */

static void bind_twice(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *one = bind(test, DEV, mm);
	struct iommu_sva *two = bind(test, DEV, mm);

	KUNIT_EXPECT_PTR_EQ(test, one, two);
	iommu_sva_unbind_device(one);
	KUNIT_EXPECT_NOT_NULL(test, bound(DEV, mm));
	iommu_sva_unbind_device(two);
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
}

static void bind_after_exit(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mmgrab(mm);
	mmput(mm);
	KUNIT_EXPECT_EQ(test, -ESRCH, bind_error(DEV, mm));
	mmdrop(mm);
}

static void group_shares_a_bond(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *first = bind(test, GROUP_FIRST, mm);
	struct iommu_sva *second;

	KUNIT_EXPECT_NOT_NULL(test, bound(GROUP_SECOND, mm));
	second = bind(test, GROUP_SECOND, mm);
	KUNIT_EXPECT_PTR_EQ(test, first, second);
	iommu_sva_unbind_device(first);
	KUNIT_EXPECT_NOT_NULL(test, bound(GROUP_FIRST, mm));
	iommu_sva_unbind_device(second);
	KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	KUNIT_EXPECT_NULL(test, bound(GROUP_SECOND, mm));
}

static void one_pasid(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *one = bind(test, DEV, mm);
	struct iommu_sva *two = bind(test, ODD, mm);

	KUNIT_EXPECT_EQ(test, iommu_sva_get_pasid(one), iommu_sva_get_pasid(two));
	KUNIT_EXPECT_EQ(test, mm_get_enqcmd_pasid(mm), iommu_sva_get_pasid(one));
	iommu_sva_unbind_device(two);
	iommu_sva_unbind_device(one);
}

static void one_domain(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle[] = {
		bind(test, DEV, mm),
		bind(test, SAME_INSTANCE, mm),
		bind(test, OTHER_INSTANCE, mm),
	};
	unsigned int n;

	EXPECT_DOMAINS(1);
	for (n = 0; n < ARRAY_SIZE(handle); n++) {
		EXPECT_DOMAINS(1);
		iommu_sva_unbind_device(handle[n]);
	}
	EXPECT_DOMAINS(0);
}

static void second_domain(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	struct iommu_sva *odd = bind(test, ODD, mm);

	EXPECT_DOMAINS(2);
	iommu_sva_unbind_device(handle);
	EXPECT_DOMAINS(1);
	iommu_sva_unbind_device(odd);
	EXPECT_DOMAINS(0);
}

static void next_domain_fits(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle[] = {
		bind(test, ODD, mm), bind(test, DEV, mm),
		bind(test, ODD_TOO, mm), bind(test, SAME_INSTANCE, mm),
	};
	unsigned int n;

	EXPECT_DOMAINS(2);
	for (n = 0; n < ARRAY_SIZE(handle); n++)
		iommu_sva_unbind_device(handle[n]);
}

static void error_is_no_misfit(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);

	sva_mock.set_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(SAME_INSTANCE, mm));
	EXPECT_DOMAINS(1);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.allocated));
	iommu_sva_unbind_device(handle);
}

static void failed_bind(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 pasid;

	sva_mock.set_error = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(DEV, mm));
	EXPECT_DOMAINS(0);
	sva_mock.no_domain = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(DEV, mm));
	sva_mock.no_domain = false;
	KUNIT_EXPECT_NULL(test, mm->iommu_mm->kernel_user);
	pasid = mm_get_enqcmd_pasid(mm);

	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, pasid, mm_get_enqcmd_pasid(mm));
}

/* The second device of a group refuses: the first must not keep the domain. */
static void failed_bind_of_a_group(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	sva_mock.dev[1].instance = &sva_mock.instance[SVA_MOCK_ODD];
	KUNIT_EXPECT_EQ(test, -EINVAL, bind_error(GROUP_FIRST, mm));
	KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	EXPECT_DOMAINS(0);
	sva_mock.dev[1].instance = &sva_mock.instance[0];
}

static void failed_bind_leaves_the_others(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	struct iommu_domain *domain = bound(DEV, mm);

	sva_mock.no_domain = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(ODD, mm));
	KUNIT_EXPECT_PTR_EQ(test, domain, bound(DEV, mm));
	EXPECT_DOMAINS(1);
	iommu_sva_unbind_device(handle);
}

/* --- the PASID --- */

static void pasid_stays(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	u32 pasid = iommu_sva_get_pasid(handle);

	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_EQ(test, pasid, mm_get_enqcmd_pasid(mm));
	handle = bind(test, OTHER_INSTANCE, mm);
	KUNIT_EXPECT_EQ(test, pasid, iommu_sva_get_pasid(handle));
	iommu_sva_unbind_device(handle);
}

static void many_mms(struct kunit *test)
{
	DECLARE_BITMAP(seen, 1 << SVA_MOCK_PASID_BITS) = {};
	struct iommu_sva *handle[32];
	unsigned int n;
	u32 pasid;

	for (n = 0; n < ARRAY_SIZE(handle); n++) {
		handle[n] = bind(test, DEV, test_mm(test));
		pasid = iommu_sva_get_pasid(handle[n]);
		KUNIT_ASSERT_LT(test, pasid, 1 << SVA_MOCK_PASID_BITS);
		KUNIT_EXPECT_FALSE(test, __test_and_set_bit(pasid, seen));
	}
	EXPECT_DOMAINS(ARRAY_SIZE(handle));
	while (n--)
		iommu_sva_unbind_device(handle[n]);
}

/* A PASID that is too large for a device is no reason to give the mm another. */
static void pasid_too_large(struct kunit *test)
{
	struct mm_struct *mm[] = { test_mm(test), test_mm(test) };
	u32 max_pasids = ODD->iommu->max_pasids;
	struct iommu_sva *handle[2];
	unsigned int n;

	for (n = 0; n < 2; n++)
		handle[n] = bind(test, DEV, mm[n]);
	/* One of the two is larger than 1, below which a device has none. */
	n = iommu_sva_get_pasid(handle[0]) < iommu_sva_get_pasid(handle[1]);
	ODD->iommu->max_pasids = iommu_sva_get_pasid(handle[n]);
	KUNIT_EXPECT_EQ(test, -EOVERFLOW, bind_error(ODD, mm[n]));
	ODD->iommu->max_pasids = max_pasids;
	iommu_sva_unbind_device(handle[0]);
	iommu_sva_unbind_device(handle[1]);
}

static void no_pasids(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = DEV->iommu->max_pasids;
	struct iommu_sva *handle;
	u32 n;

	/* PASID 0 is none. */
	for (n = 0; n <= 1; n++) {
		DEV->iommu->max_pasids = n;
		KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(DEV, mm));
		KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	}

	/* No less so for an mm that has a PASID from another device */
	handle = bind(test, OTHER_INSTANCE, mm);
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(DEV, mm));
	iommu_sva_unbind_device(handle);
	DEV->iommu->max_pasids = max_pasids;
}

static void no_pasids_are_left(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = DEV->iommu->max_pasids;
	unsigned int n;
	u32 pasid;

	DEV->iommu->max_pasids = IOMMU_FIRST_GLOBAL_PASID + 1;
	/* An mm of the case before may be about to give its PASID back. */
	pasid = iommu_alloc_global_pasid(DEV);
	for (n = 0; n < 1000 && pasid == IOMMU_PASID_INVALID; n++) {
		msleep(20);
		pasid = iommu_alloc_global_pasid(DEV);
	}
	KUNIT_EXPECT_EQ(test, -ENOSPC, bind_error(DEV, mm));
	KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	if (pasid != IOMMU_PASID_INVALID)
		iommu_free_global_pasid(pasid);
	DEV->iommu->max_pasids = max_pasids;
}

/* As a driver does that attaches its DMA domain to a PASID. */
static void attach_without_pasids(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, OTHER_INSTANCE, mm);
	u32 max_pasids = DEV->iommu->max_pasids;
	u32 n;

	for (n = 0; n <= 1; n++) {
		DEV->iommu->max_pasids = n;
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
				iommu_attach_device_pasid(handle->handle.domain,
							  DEV, 2, NULL));
	}
	DEV->iommu->max_pasids = max_pasids;
	iommu_sva_unbind_device(handle);
}

/* They cannot issue a request with a PASID, and the others of the group can. */
static void members_without_pasids(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = GROUP_SECOND->iommu->max_pasids;
	struct iommu_sva *handle;
	u32 n;

	for (n = 0; n <= 1; n++) {
		GROUP_SECOND->iommu->max_pasids = n;
		handle = bind(test, GROUP_FIRST, mm);
		KUNIT_EXPECT_NOT_NULL(test, bound(GROUP_FIRST, mm));
		KUNIT_EXPECT_NULL(test, bound(GROUP_SECOND, mm));
		KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(GROUP_SECOND, mm));
		iommu_sva_unbind_device(handle);
		KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	}

	/* Nothing is taken from one that leaves: the mock would complain. */
	handle = bind(test, GROUP_FIRST, mm);
	sva_mock_dev_del(to_sva_mock_dev(GROUP_SECOND));
	KUNIT_EXPECT_NOT_NULL(test, bound(GROUP_FIRST, mm));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_EQ(test, 1 << SVA_MOCK_PASID_BITS, max_pasids);
}

/* --- what the log says --- */

static struct {
	unsigned int lines;
	int error;
	const char *why;
} printed;

static void count_line(struct device *dev, int error, const char *why)
{
	printed.lines++;
	printed.error = error;
	printed.why = why;
}

static void expect_refused(struct kunit *test, struct device *dev,
			   struct mm_struct *mm, int error, const char *why)
{
	printed.lines = 0;
	KUNIT_EXPECT_EQ(test, error, bind_error(dev, mm));
	KUNIT_EXPECT_EQ_MSG(test, 1, printed.lines, "%s", why);
	if (!printed.lines)
		return;
	KUNIT_EXPECT_EQ(test, error, printed.error);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(printed.why, why),
				  "\"%s\", not \"%s\"", printed.why, why);
}

static void refusal_has_one_line(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test), *other = test_mm(test);
	struct mm_struct *exited = mm_alloc();
	u32 max_pasids = DEV->iommu->max_pasids;
	struct iommu_domain *domain;
	struct iommu_sva *handle;

	KUNIT_ASSERT_NOT_NULL(test, exited);
	kunit_activate_static_stub(test, iommu_sva_print_refusal, count_line);
	mmgrab(exited);
	mmput(exited);
	expect_refused(test, DEV, exited, -ESRCH, "has exited");
	mmdrop(exited);

	DEV->iommu->max_pasids = 1;
	expect_refused(test, DEV, mm, -ENODEV, "has no PASIDs");
	DEV->iommu->max_pasids = max_pasids;

	sva_mock.no_domain = true;
	expect_refused(test, DEV, mm, -ENOMEM, "cannot make a domain");
	sva_mock.no_domain = false;
	sva_mock.set_error = -EIO;
	expect_refused(test, DEV, mm, -EIO, "refused by the IOMMU driver");

	/* No domain fits, neither the one that the mm has nor another. */
	handle = bind(test, DEV, mm);
	domain = bound(DEV, mm);
	to_sva_mock_dev(GROUP_SECOND)->instance =
		&sva_mock.instance[SVA_MOCK_ODD];
	expect_refused(test, GROUP_FIRST, mm, -EINVAL,
		       "refused by the IOMMU driver");
	to_sva_mock_dev(GROUP_SECOND)->instance = &sva_mock.instance[0];

	/* The device has the PASID of another mm, in use without SVA. */
	iommu_sva_unbind_device(bind(test, OTHER_INSTANCE, other));
	KUNIT_EXPECT_EQ(test, 0,
			iommu_attach_device_pasid(domain, DEV,
						  mm_get_enqcmd_pasid(other),
						  NULL));
	expect_refused(test, DEV, other, -EBUSY, "in use");
	iommu_detach_device_pasid(domain, DEV, mm_get_enqcmd_pasid(other));
	iommu_sva_unbind_device(handle);
}

static void misfit_is_no_refusal(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm), *odd;

	printed.lines = 0;
	kunit_activate_static_stub(test, iommu_sva_print_refusal, count_line);
	odd = bind(test, ODD, mm);
	EXPECT_DOMAINS(2);
	KUNIT_EXPECT_EQ(test, 0, printed.lines);
	iommu_sva_unbind_device(odd);
	iommu_sva_unbind_device(handle);
}

/* --- who dies first --- */

static void mm_exits_first(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct iommu_sva *one, *two;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	one = bind(test, DEV, mm);
	two = bind(test, ODD, mm);
	mmput(mm);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&sva_mock.released));
	KUNIT_EXPECT_NE(test, IOMMU_PASID_INVALID, iommu_sva_get_pasid(two));
	/* From here on the bonds have the only references to the mm. */
	iommu_sva_unbind_device(one);
	iommu_sva_unbind_device(two);
	EXPECT_DOMAINS(0);
}

static void device_gone_first(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);

	sva_mock_dev_del(to_sva_mock_dev(DEV));
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
	iommu_sva_unbind_device(handle);
	EXPECT_DOMAINS(0);
}

static void group_loses_the_device_that_was_bound(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *first = bind(test, GROUP_FIRST, mm);
	struct iommu_sva *second = bind(test, GROUP_SECOND, mm);

	iommu_sva_unbind_device(first);
	sva_mock_dev_del(to_sva_mock_dev(GROUP_FIRST));
	KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	KUNIT_EXPECT_NOT_NULL(test, bound(GROUP_SECOND, mm));
	iommu_sva_unbind_device(second);
	KUNIT_EXPECT_NULL(test, bound(GROUP_SECOND, mm));
}

static void last_unbind_frees(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	unsigned int n;

	for (n = 1; n <= 3; n++) {
		iommu_sva_unbind_device(bind(test, DEV, mm));
		EXPECT_DOMAINS(0);
		KUNIT_EXPECT_EQ(test, n, atomic_read(&sva_mock.allocated));
	}
}

/* --- resets --- */

static void expect_resets(struct kunit *test, int begun, int done)
{
	KUNIT_EXPECT_EQ(test, begun, atomic_read(&sva_mock.resets));
	KUNIT_EXPECT_EQ(test, done, atomic_read(&sva_mock.resets_done));
}

/* A domain that is not the default one; devices of one IOMMU can have it. */
static struct iommu_domain other_domain(struct device *dev)
{
	struct iommu_domain domain = *iommu_get_domain_for_dev(dev);

	domain.owner = dev_iommu_ops(dev);
	return domain;
}

static void resets_nest(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	expect_resets(test, 1, 0);
	iommu_dev_reset_done(DEV);
	expect_resets(test, 1, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(DEV, test_mm(test)));
	iommu_dev_reset_done(DEV);
	expect_resets(test, 1, 1);
}

/* As to the bus of both, each of which is a function of the device. */
static void resets_of_a_group(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_FIRST));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_SECOND));
	expect_resets(test, 2, 0);
	iommu_dev_reset_done(GROUP_FIRST);
	expect_resets(test, 2, 1);
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(GROUP_FIRST, mm));
	iommu_dev_reset_done(GROUP_SECOND);
	expect_resets(test, 2, 2);
	iommu_sva_unbind_device(bind(test, GROUP_FIRST, mm));
}

static void bind_in_reset(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_SECOND));
	KUNIT_EXPECT_EQ(test, -EBUSY, bind_error(GROUP_FIRST, mm));
	KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	KUNIT_EXPECT_NULL(test, mm->iommu_mm->kernel_user);
	EXPECT_DOMAINS(0);
	/* Others are none of its business. */
	iommu_sva_unbind_device(bind(test, DEV, mm));

	iommu_dev_reset_done(GROUP_SECOND);
	iommu_sva_unbind_device(bind(test, GROUP_FIRST, mm));
}

/* Nothing is attached for that. */
static void second_bind_in_reset(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	KUNIT_EXPECT_PTR_EQ(test, handle, iommu_sva_bind_device(DEV, mm));
	iommu_sva_unbind_device(handle);
	iommu_dev_reset_done(DEV);
	KUNIT_EXPECT_NOT_NULL(test, bound(DEV, mm));
	iommu_sva_unbind_device(handle);
}

static void attach_in_reset(struct kunit *test)
{
	struct iommu_domain *old = iommu_get_domain_for_dev(DEV);
	struct iommu_group *group = DEV->iommu_group;
	struct iommu_domain domain = other_domain(DEV);
	struct iommu_attach_handle handle = {};
	int attached = atomic_read(&sva_mock.attached);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_attach_device(&domain, DEV));
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_attach_group(&domain, group));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_group_handle(&domain, group, &handle));
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_group_replace_domain(group, &domain));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_replace_group_handle(group, old, &handle));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    iommu_attach_handle_get(group, IOMMU_NO_PASID, 0));
	KUNIT_EXPECT_PTR_EQ(test, old, iommu_get_domain_for_dev(DEV));
	KUNIT_EXPECT_EQ(test, attached, atomic_read(&sva_mock.attached));
	iommu_dev_reset_done(DEV);

	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(&domain, DEV));
	iommu_detach_device(&domain, DEV);
}

static void detach_in_reset(struct kunit *test)
{
	struct iommu_domain *old = iommu_get_domain_for_dev(DEV);
	struct iommu_domain domain = other_domain(DEV);
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);

	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(&domain, DEV));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_NULL(test, bound(DEV, mm));
	EXPECT_DOMAINS(0);
	iommu_detach_device(&domain, DEV);
	KUNIT_EXPECT_PTR_EQ(test, old, iommu_get_domain_for_dev(DEV));
	expect_resets(test, 1, 0);
	iommu_dev_reset_done(DEV);
	expect_resets(test, 1, 1);
}

static void mm_exits_in_reset(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct iommu_sva *handle;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	handle = bind(test, DEV, mm);
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	mmput(mm);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sva_mock.released));
	iommu_dev_reset_done(DEV);
	iommu_sva_unbind_device(handle);
	EXPECT_DOMAINS(0);
}

/* Its reset ends with it, and nobody is there to tell. */
static void device_gone_in_reset(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;

	/* The test keeps the memory of the device. */
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_FIRST));
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_FIRST));
	sva_mock_dev_del(to_sva_mock_dev(GROUP_FIRST));
	handle = bind(test, GROUP_SECOND, mm);
	iommu_dev_reset_done(GROUP_FIRST);
	iommu_dev_reset_done(GROUP_FIRST);
	expect_resets(test, 1, 0);
	iommu_sva_unbind_device(handle);

	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(GROUP_FIRST));
	expect_resets(test, 1, 0);
}

static void failed_reset_prepare(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	sva_mock.reset_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, iommu_dev_reset_prepare(DEV));
	sva_mock.reset_error = 0;
	iommu_sva_unbind_device(bind(test, DEV, mm));

	/* Without a reset there is nothing to end, and the next one is as any. */
	iommu_dev_reset_done(DEV);
	expect_resets(test, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	iommu_dev_reset_done(DEV);
	expect_resets(test, 1, 1);
}

static void reset_without_the_driver(struct kunit *test)
{
	struct iommu_device *iommu = &to_sva_mock_dev(DEV)->instance->iommu;
	const struct iommu_ops *old = iommu->ops;
	struct mm_struct *mm = test_mm(test);
	struct iommu_domain *domain = kunit_kzalloc(test, sizeof(*domain), GFP_KERNEL);
	static struct iommu_ops ops;

	KUNIT_ASSERT_NOT_NULL(test, domain);
	ops = *old;
	ops.reset_prepare = NULL;
	ops.reset_done = NULL;
	iommu->ops = &ops;
	*domain = other_domain(DEV);
	KUNIT_EXPECT_EQ(test, 0, iommu_dev_reset_prepare(DEV));
	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(domain, DEV));
	iommu_detach_device(domain, DEV);
	iommu_dev_reset_done(DEV);
	iommu->ops = old;
	expect_resets(test, 0, 0);
}

/* --- threads --- */

struct binder {
	struct device *dev;
	struct mm_struct *mm;
	struct iommu_sva *handle;
	struct completion done;
};

static int bind_thread(void *data)
{
	struct binder *binder = data;

	binder->handle = iommu_sva_bind_device(binder->dev, binder->mm);
	complete_all(&binder->done);
	return 0;
}

/* One process is kept waiting by its driver; another one binds and unbinds. */
static void mms_do_not_wait(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(gate);
	struct binder binder[] = {
		{ DEV, test_mm(test) }, { OTHER_INSTANCE, test_mm(test) },
	};
	unsigned int n;

	to_sva_mock_dev(DEV)->gate = &gate;
	for (n = 0; n < 2; n++) {
		init_completion(&binder[n].done);
		kthread_run(bind_thread, &binder[n], "sva-bind");
		while (!n && !atomic_read(&sva_mock.at_gate))
			msleep(20);
	}
	KUNIT_EXPECT_NE(test, 0,
			wait_for_completion_timeout(&binder[1].done,
						    SVA_MOCK_TIMEOUT));
	KUNIT_EXPECT_FALSE(test, completion_done(&binder[0].done));
	complete_all(&gate);
	for (n = 0; n < 2; n++) {
		wait_for_completion(&binder[n].done);
		KUNIT_ASSERT_FALSE(test, IS_ERR(binder[n].handle));
		iommu_sva_unbind_device(binder[n].handle);
	}
}

struct churner {
	struct mm_struct *mm;
	unsigned int seed;
	unsigned int binds;
	struct completion done;
};

static struct iommu_sva *bind_some(unsigned int n, struct mm_struct *mm)
{
	return iommu_sva_bind_device(&sva_mock.dev[n % SVA_MOCK_DEVS].dev, mm);
}

static int churn_thread(void *data)
{
	struct churner *churner = data;
	unsigned long end = jiffies + HZ / 4;
	struct iommu_sva *one, *two;

	do {
		churner->seed = churner->seed * 1103515245 + 12345;
		one = bind_some(churner->seed, churner->mm);
		two = bind_some(churner->seed >> 8, churner->mm);
		if (IS_ERR(one) || IS_ERR(two))
			break;
		iommu_sva_unbind_device(one);
		iommu_sva_unbind_device(two);
		churner->binds += 2;
		cond_resched();
	} while (time_before(jiffies, end));
	complete(&churner->done);
	return 0;
}

static void two_threads(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct churner churner[] = { { mm, 1 }, { mm, 2 }, { test_mm(test), 3 } };
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(churner); n++) {
		init_completion(&churner[n].done);
		kthread_run(churn_thread, &churner[n], "sva-churn");
	}
	for (n = 0; n < ARRAY_SIZE(churner); n++) {
		wait_for_completion(&churner[n].done);
		KUNIT_EXPECT_GT(test, churner[n].binds, 0);
	}
	EXPECT_DOMAINS(0);
}

/* --- memory --- */

/* Every allocation of a bind fails in turn. */
static void no_memory(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle;
	unsigned int nth = 0;
	bool hit;

	nomem_start(test, NOMEM_SLAB);
	do {
		nomem_nth(++nth);
		handle = iommu_sva_bind_device(DEV, mm);
		hit = nomem_nth(0);
		if (!IS_ERR(handle)) {
			iommu_sva_unbind_device(handle);
		} else {
			KUNIT_EXPECT_EQ(test, -ENOMEM, PTR_ERR(handle));
			KUNIT_EXPECT_NULL(test, bound(DEV, mm));
		}
		EXPECT_DOMAINS(0);
	} while (hit && nth < 100);
	kunit_info(test, "%u allocations failed\n", nth - 1);
	KUNIT_EXPECT_FALSE(test, hit);
	/* The mm's data, the handle and the domain at least */
	KUNIT_EXPECT_GT(test, nth, 3);
}

static struct kunit_case sva_cases[] = {
	KUNIT_CASE(bind_twice),
	KUNIT_CASE(bind_after_exit),
	KUNIT_CASE(group_shares_a_bond),
	KUNIT_CASE(one_pasid),
	KUNIT_CASE(one_domain),
	KUNIT_CASE(second_domain),
	KUNIT_CASE(next_domain_fits),
	KUNIT_CASE(error_is_no_misfit),
	KUNIT_CASE(failed_bind),
	KUNIT_CASE(failed_bind_of_a_group),
	KUNIT_CASE(failed_bind_leaves_the_others),
	KUNIT_CASE(pasid_stays),
	KUNIT_CASE(many_mms),
	KUNIT_CASE(pasid_too_large),
	KUNIT_CASE(no_pasids),
	KUNIT_CASE(no_pasids_are_left),
	KUNIT_CASE(attach_without_pasids),
	KUNIT_CASE(members_without_pasids),
	KUNIT_CASE(refusal_has_one_line),
	KUNIT_CASE(misfit_is_no_refusal),
	KUNIT_CASE(mm_exits_first),
	KUNIT_CASE(device_gone_first),
	KUNIT_CASE(group_loses_the_device_that_was_bound),
	KUNIT_CASE(last_unbind_frees),
	KUNIT_CASE(resets_nest),
	KUNIT_CASE(resets_of_a_group),
	KUNIT_CASE(bind_in_reset),
	KUNIT_CASE(second_bind_in_reset),
	KUNIT_CASE(attach_in_reset),
	KUNIT_CASE(detach_in_reset),
	KUNIT_CASE(mm_exits_in_reset),
	KUNIT_CASE(device_gone_in_reset),
	KUNIT_CASE(failed_reset_prepare),
	KUNIT_CASE(reset_without_the_driver),
	KUNIT_CASE(mms_do_not_wait),
	KUNIT_CASE(two_threads),
	KUNIT_CASE(no_memory),
	{}
};

static struct kunit_suite sva_suite = {
	.name = "iommu_sva",
	.init = sva_mock_init,
	.exit = sva_mock_exit,
	.test_cases = sva_cases,
};

kunit_test_suite(sva_suite);

MODULE_DESCRIPTION("Tests of what SVA promises to device drivers");
MODULE_LICENSE("GPL");
