// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what SVA tells mm/ about mms that devices walk, and of what x86
 * keeps of a PASID
 *
 * The devices are made up: they have an IOMMU whose driver only allocates
 * domains, and a group without members, so that no PASID entry is ever written.
 * The earliest moment at which a driver could write one is when the core asks
 * it for a domain, and the latest at which one could exist is when the domain
 * is freed. At both the mm has to be registered.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/kernel_pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include <asm/fpu/api.h>

/* What the driver saw. The tests are single-threaded. */
static struct {
	unsigned int allocated;
	unsigned int freed;
	unsigned int unregistered;	/* calls without a registered mm */
	bool fail;			/* the next allocation */
} svk;

static int svk_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			     ioasid_t pasid, struct iommu_domain *old)
{
	svk.unregistered += !kernel_pgtable_in_use();
	return 0;
}

static void svk_domain_free(struct iommu_domain *domain)
{
	svk.freed++;
	svk.unregistered += !kernel_pgtable_in_use();
	kfree(domain);
}

static const struct iommu_domain_ops svk_domain_ops = {
	.set_dev_pasid = svk_set_dev_pasid,
	.free = svk_domain_free,
};

static struct iommu_domain *svk_domain_alloc(struct device *dev,
					     struct mm_struct *mm)
{
	struct iommu_domain *domain;

	if (svk.fail)
		return ERR_PTR(-ENOMEM);

	domain = kzalloc(sizeof(*domain), GFP_KERNEL);
	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->ops = &svk_domain_ops;
	svk.allocated++;
	return domain;
}

static const struct iommu_ops svk_ops = {
	.domain_alloc_sva = svk_domain_alloc,
};

struct svk_dev {
	struct iommu_device iommu;
	struct dev_iommu param;
	struct device *dev;
};

static void svk_dev_free(void *data)
{
	struct svk_dev *sdev = data;

	iommu_group_put(sdev->dev->iommu_group);
	sdev->dev->iommu_group = NULL;
	sdev->dev->iommu = NULL;
}

static struct device *svk_dev(struct kunit *test, const char *name)
{
	struct svk_dev *sdev = kunit_kzalloc(test, sizeof(*sdev), GFP_KERNEL);
	struct iommu_group *group;

	KUNIT_ASSERT_NOT_NULL(test, sdev);
	sdev->dev = kunit_device_register(test, name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sdev->dev);
	group = iommu_group_alloc();
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, group);

	sdev->iommu.ops = &svk_ops;
	sdev->param.iommu_dev = &sdev->iommu;
	sdev->param.max_pasids = 1 << 20;
	sdev->dev->iommu = &sdev->param;
	sdev->dev->iommu_group = group;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, svk_dev_free, sdev));
	return sdev->dev;
}

static struct mm_struct *svk_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	return mm;
}

static struct iommu_sva *svk_bind(struct kunit *test, struct device *dev,
				  struct mm_struct *mm)
{
	struct iommu_sva *handle = iommu_sva_bind_device(dev, mm);

	if (PTR_ERR(handle) == -EOPNOTSUPP) {
		mmput(mm);
		kunit_skip(test, "SVA is refused");
	}
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, handle);
	return handle;
}

static void mm_is_registered_with_its_domain(struct kunit *test)
{
	struct device *dev = svk_dev(test, "svk");
	struct mm_struct *mm = svk_mm(test);
	struct iommu_sva *handle = svk_bind(test, dev, mm);

	KUNIT_EXPECT_EQ(test, 1, svk.allocated);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_EQ(test, 1, svk.freed);
	KUNIT_EXPECT_EQ(test, 0, svk.unregistered);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	mmput(mm);
}

static void mm_stays_for_the_last_device(struct kunit *test)
{
	struct device *one = svk_dev(test, "svk1");
	struct device *two = svk_dev(test, "svk2");
	struct mm_struct *mm = svk_mm(test);
	struct iommu_sva *first = svk_bind(test, one, mm);
	struct iommu_sva *second = svk_bind(test, two, mm);

	iommu_sva_unbind_device(first);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
	iommu_sva_unbind_device(second);
	KUNIT_EXPECT_EQ(test, svk.allocated, svk.freed);
	KUNIT_EXPECT_EQ(test, 0, svk.unregistered);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	mmput(mm);
}

static void mm_returns(struct kunit *test)
{
	struct device *dev = svk_dev(test, "svk");
	struct mm_struct *mm = svk_mm(test);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct iommu_sva *handle = svk_bind(test, dev, mm);

		KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
		iommu_sva_unbind_device(handle);
		KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	}
	KUNIT_EXPECT_EQ(test, 0, svk.unregistered);
	mmput(mm);
}

static void failed_bind_leaves_nothing(struct kunit *test)
{
	struct device *dev = svk_dev(test, "svk");
	struct mm_struct *mm = svk_mm(test);

	iommu_sva_unbind_device(svk_bind(test, dev, mm));
	svk.fail = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			PTR_ERR_OR_ZERO(iommu_sva_bind_device(dev, mm)));
	KUNIT_EXPECT_EQ(test, 0, svk.unregistered);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	mmput(mm);
}

/* A second device that cannot be bound must not take the first one's away. */
static void failed_bind_leaves_the_others(struct kunit *test)
{
	struct device *one = svk_dev(test, "svk1");
	struct device *two = svk_dev(test, "svk2");
	struct mm_struct *mm = svk_mm(test);
	struct iommu_sva *handle = svk_bind(test, one, mm);
	static const struct iommu_ops other_ops = {
		.domain_alloc_sva = svk_domain_alloc,
	};

	container_of(two->iommu, struct svk_dev, param)->iommu.ops = &other_ops;
	svk.fail = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			PTR_ERR_OR_ZERO(iommu_sva_bind_device(two, mm)));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	mmput(mm);
}

/* The process has gone, the domain holds the last reference to its mm. */
static void unbind_after_exit(struct kunit *test)
{
	struct device *dev = svk_dev(test, "svk");
	struct mm_struct *mm = svk_mm(test);
	struct iommu_sva *handle = svk_bind(test, dev, mm);

	mmput(mm);
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_EQ(test, 1, svk.freed);
	KUNIT_EXPECT_EQ(test, 0, svk.unregistered);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
}

/* Where IA32_PASID is reset, the next ENQCMD has to be allowed to fault once. */
static void exec_resets_pasid_activated(struct kunit *test)
{
	current->pasid_activated = 1;
	flush_thread();
	KUNIT_EXPECT_FALSE(test, current->pasid_activated);
	current->pasid_activated = 0;
}

static void bad_fpu_state_resets_pasid_activated(struct kunit *test)
{
	current->pasid_activated = 1;
	kernel_fpu_begin();
	fpu_reset_from_exception_fixup();
	kernel_fpu_end();
	KUNIT_EXPECT_FALSE(test, current->pasid_activated);
	current->pasid_activated = 0;
}

static int svk_init(struct kunit *test)
{
	if (kernel_pgtable_in_use())
		kunit_skip(test, "a process has SVA in use");
	memset(&svk, 0, sizeof(svk));
	return 0;
}

static struct kunit_case svk_cases[] = {
	KUNIT_CASE(mm_is_registered_with_its_domain),
	KUNIT_CASE(mm_stays_for_the_last_device),
	KUNIT_CASE(mm_returns),
	KUNIT_CASE(failed_bind_leaves_nothing),
	KUNIT_CASE(failed_bind_leaves_the_others),
	KUNIT_CASE(unbind_after_exit),
	KUNIT_CASE(exec_resets_pasid_activated),
	KUNIT_CASE(bad_fpu_state_resets_pasid_activated),
	{}
};

static struct kunit_suite svk_suite = {
	.name = "iommu_sva_kernel",
	.init = svk_init,
	.test_cases = svk_cases,
};

kunit_test_suite(svk_suite);

MODULE_DESCRIPTION("Tests of what SVA tells mm about mms that devices walk");
MODULE_LICENSE("GPL");
