// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what Documentation/driver-api/iommu/sva.rst promises to device
 * drivers; the names of the cases are those in its brackets
 *
 * The IOMMU driver is a mock with several instances, some of which cannot share
 * a domain with the others. It has no hardware: it remembers which domain is set
 * on which PASID of which device, complains when it is asked for
 * something that no driver should see, and registers real MMU notifiers on real
 * mms.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mmu_notifier.h>
#include <linux/property.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "iommu-kunit-nomem.h"
#include "iommu-priv.h"

#define NR_INSTANCES	3
#define NR_DEVS		6
#define PASID_BITS	10

/* Instance 2 is of another kind: its domains do not fit the other two. */
#define ODD_INSTANCE	2

struct mock_instance {
	struct iommu_device iommu;
	struct notifier_block nb;
	struct fwnode_handle *fwnode;
	bool odd;
};

struct mock_dev {
	struct device dev;
	struct mock_instance *instance;
	struct xarray domains;		/* by PASID; changed under group->mutex */
	struct completion *gate;	/* set_dev_pasid() waits for it */
	unsigned int group;
	bool added;
};

struct mock_domain {
	struct iommu_domain domain;
	struct mmu_notifier notifier;
	bool odd;
};

/* Everything of the running test. What has no lock is written by one thread. */
static struct {
	struct mock_instance instance[NR_INSTANCES];
	struct mock_dev dev[NR_DEVS];
	struct iommu_group *group[NR_DEVS];
	struct iopf_queue *queue;
	int set_error;			/* the next set_dev_pasid() fails */
	bool no_domain;			/* the next allocation fails */
	atomic_t domains;		/* that exist for the core */
	atomic_t allocated;		/* that ever did */
	atomic_t released;		/* calls of release() */
	atomic_t responses;
	atomic_t at_gate;		/* threads that have come to one */
	atomic_t wrong;			/* calls that no driver should see */
} mock;

static struct mock_dev *to_mock_dev(struct device *dev)
{
	return container_of(dev, struct mock_dev, dev);
}

static struct mock_domain *to_mock_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct mock_domain, domain);
}

/* --- the driver --- */

static int mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			      ioasid_t pasid, struct iommu_domain *old)
{
	struct mock_dev *mdev = to_mock_dev(dev);
	int error = mock.set_error;

	if (error) {
		mock.set_error = 0;
		return error;
	}
	if (to_mock_domain(domain)->odd != mdev->instance->odd)
		return -EINVAL;
	if (mdev->gate) {
		atomic_inc(&mock.at_gate);
		wait_for_completion_timeout(mdev->gate, 5 * HZ);
	}
	error = xa_insert(&mdev->domains, pasid, domain, GFP_KERNEL);
	if (error == -EBUSY)
		atomic_inc(&mock.wrong);
	return error;
}

static void mock_remove_dev_pasid(struct device *dev, ioasid_t pasid,
				  struct iommu_domain *domain)
{
	struct mock_dev *mdev = to_mock_dev(dev);

	if (xa_erase(&mdev->domains, pasid) != domain)
		atomic_inc(&mock.wrong);
}

static void mock_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	atomic_inc(&mock.released);
}

static void mock_free_notifier(struct mmu_notifier *mn)
{
	kfree(container_of(mn, struct mock_domain, notifier));
}

static const struct mmu_notifier_ops mock_notifier_ops = {
	.release = mock_release,
	.free_notifier = mock_free_notifier,
};

static void mock_domain_free(struct iommu_domain *domain)
{
	struct iommu_domain *set;
	unsigned long pasid;
	unsigned int n;

	for (n = 0; n < NR_DEVS; n++)
		xa_for_each(&mock.dev[n].domains, pasid, set)
			if (set == domain)
				atomic_inc(&mock.wrong);
	atomic_dec(&mock.domains);
	mmu_notifier_put(&to_mock_domain(domain)->notifier);
}

static const struct iommu_domain_ops mock_sva_ops = {
	.set_dev_pasid = mock_set_dev_pasid,
	.free = mock_domain_free,
};

static struct iommu_domain *mock_domain_alloc_sva(struct device *dev,
						  struct mm_struct *mm)
{
	struct mock_domain *mdomain;
	int ret;

	if (mock.no_domain)
		return ERR_PTR(-ENOMEM);
	mdomain = kzalloc(sizeof(*mdomain), GFP_KERNEL);
	if (!mdomain)
		return ERR_PTR(-ENOMEM);
	mdomain->domain.ops = &mock_sva_ops;
	mdomain->odd = to_mock_dev(dev)->instance->odd;
	mdomain->notifier.ops = &mock_notifier_ops;
	ret = mmu_notifier_register(&mdomain->notifier, mm);
	if (ret) {
		kfree(mdomain);
		return ERR_PTR(ret);
	}
	atomic_inc(&mock.domains);
	atomic_inc(&mock.allocated);
	return &mdomain->domain;
}

static int mock_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static struct iommu_domain mock_identity = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &(const struct iommu_domain_ops){ .attach_dev = mock_attach_dev },
};

static int mock_def_domain_type(struct device *dev)
{
	return IOMMU_DOMAIN_IDENTITY;
}

static struct iommu_device *mock_probe_device(struct device *dev)
{
	return &to_mock_dev(dev)->instance->iommu;
}

static void mock_release_device(struct device *dev)
{
	if (!xa_empty(&to_mock_dev(dev)->domains))
		atomic_inc(&mock.wrong);
}

static struct iommu_group *mock_device_group(struct device *dev)
{
	struct iommu_group **group = &mock.group[to_mock_dev(dev)->group];

	if (*group)
		return iommu_group_ref_get(*group);
	*group = iommu_group_alloc();
	/* One reference is the device's, one is the test's. */
	return IS_ERR(*group) ? *group : iommu_group_ref_get(*group);
}

static void mock_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *msg)
{
	atomic_inc(&mock.responses);
}

static const struct iommu_ops mock_ops = {
	.identity_domain = &mock_identity,
	.def_domain_type = mock_def_domain_type,
	.probe_device = mock_probe_device,
	.release_device = mock_release_device,
	.device_group = mock_device_group,
	.domain_alloc_sva = mock_domain_alloc_sva,
	.remove_dev_pasid = mock_remove_dev_pasid,
	.page_response = mock_page_response,
};

/* --- the machine: two devices behind each instance --- */

static const struct bus_type mock_bus = { .name = "iommu_sva_mock" };

static void mock_dev_release(struct device *dev)
{
}

static void mock_dev_del(struct mock_dev *mdev)
{
	if (mdev->added)
		device_unregister(&mdev->dev);
	mdev->added = false;
}

static const struct property_entry mock_properties[] = {
	PROPERTY_ENTRY_U32("pasid-num-bits", PASID_BITS),
	{}
};

static int mock_dev_add(struct mock_dev *mdev, unsigned int n,
			struct mock_instance *instance, unsigned int group)
{
	int ret;

	mdev->instance = instance;
	mdev->group = group;
	mdev->dev.bus = &mock_bus;
	mdev->dev.release = mock_dev_release;
	xa_init(&mdev->domains);
	device_initialize(&mdev->dev);
	mdev->added = true;
	ret = dev_set_name(&mdev->dev, "sva-mock%u", n);
	if (ret)
		return ret;
	ret = device_create_managed_software_node(&mdev->dev, mock_properties,
						  NULL);
	if (ret)
		return ret;
	mutex_lock(&iommu_probe_device_lock);
	ret = iommu_fwspec_init(&mdev->dev, instance->fwnode);
	mutex_unlock(&iommu_probe_device_lock);
	return ret ?: device_add(&mdev->dev);
}

static int mock_instance_add(struct mock_instance *instance, unsigned int n)
{
	int ret;

	instance->odd = n == ODD_INSTANCE;
	instance->fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(instance->fwnode))
		return PTR_ERR(instance->fwnode);
	ret = iommu_device_sysfs_add(&instance->iommu, NULL, NULL,
				     "sva-mock-iommu%u", n);
	if (ret)
		return ret;
	instance->iommu.fwnode = instance->fwnode;
	instance->iommu.max_pasids = 1 << PASID_BITS;
	return iommu_device_register_bus(&instance->iommu, &mock_ops, &mock_bus,
					 &instance->nb);
}

static void mock_instance_del(struct mock_instance *instance)
{
	if (instance->iommu.ops)
		iommu_device_unregister_bus(&instance->iommu, &mock_bus,
					    &instance->nb);
	if (instance->iommu.dev)
		iommu_device_sysfs_remove(&instance->iommu);
	if (!IS_ERR_OR_NULL(instance->fwnode))
		fwnode_remove_software_node(instance->fwnode);
}

static void mock_exit(struct kunit *test)
{
	unsigned int n;

	iopf_queue_free(mock.queue);
	for (n = 0; n < NR_DEVS; n++)
		mock_dev_del(&mock.dev[n]);
	for (n = 0; n < NR_DEVS; n++)
		if (!IS_ERR_OR_NULL(mock.group[n]))
			iommu_group_put(mock.group[n]);
	for (n = 0; n < NR_INSTANCES; n++)
		mock_instance_del(&mock.instance[n]);
	bus_unregister(&mock_bus);
	/* Every test gives back what it has taken, and no call was a wrong one. */
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mock.domains));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mock.wrong));
}

static int mock_init(struct kunit *test)
{
	unsigned int n;
	int ret;

	memset(&mock, 0, sizeof(mock));
	ret = bus_register(&mock_bus);
	for (n = 0; !ret && n < NR_INSTANCES; n++)
		ret = mock_instance_add(&mock.instance[n], n);
	/* The first two devices are one group. */
	for (n = 0; !ret && n < NR_DEVS; n++)
		ret = mock_dev_add(&mock.dev[n], n, &mock.instance[n / 2],
				   n == 1 ? 0 : n);
	return ret;
}

/* Devices by what matters about them */
#define DEV		(&mock.dev[2].dev)
#define SAME_INSTANCE	(&mock.dev[3].dev)
#define OTHER_INSTANCE	(&mock.dev[0].dev)
#define ODD		(&mock.dev[4].dev)
#define ODD_TOO		(&mock.dev[5].dev)
#define GROUP_FIRST	(&mock.dev[0].dev)
#define GROUP_SECOND	(&mock.dev[1].dev)

static void mm_put(void *mm)
{
	mmput(mm);
}

/* An mm as of a process that lives until the end of the test. */
static struct mm_struct *test_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, mm_put, mm));
	return mm;
}

static struct iommu_sva *bind(struct kunit *test, struct device *dev,
			      struct mm_struct *mm)
{
	struct iommu_sva *handle = iommu_sva_bind_device(dev, mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, handle);
	return handle;
}

static struct iommu_domain *bound(struct device *dev, struct mm_struct *mm)
{
	return xa_load(&to_mock_dev(dev)->domains, mm_get_enqcmd_pasid(mm));
}

#define EXPECT_DOMAINS(n)						\
	KUNIT_EXPECT_EQ(test, n, atomic_read(&mock.domains))

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

	mock.set_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(SAME_INSTANCE, mm));
	EXPECT_DOMAINS(1);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mock.allocated));
	iommu_sva_unbind_device(handle);
}

static void failed_bind(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 pasid;

	mock.set_error = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, bind_error(DEV, mm));
	EXPECT_DOMAINS(0);
	mock.no_domain = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM, bind_error(DEV, mm));
	mock.no_domain = false;
	pasid = mm_get_enqcmd_pasid(mm);

	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, pasid, mm_get_enqcmd_pasid(mm));
}

/* The second device of a group refuses: the first must not keep the domain. */
static void failed_bind_of_a_group(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	mock.dev[1].instance = &mock.instance[ODD_INSTANCE];
	KUNIT_EXPECT_EQ(test, -EINVAL, bind_error(GROUP_FIRST, mm));
	KUNIT_EXPECT_NULL(test, bound(GROUP_FIRST, mm));
	EXPECT_DOMAINS(0);
	mock.dev[1].instance = &mock.instance[0];
}

static void failed_bind_leaves_the_others(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	struct iommu_domain *domain = bound(DEV, mm);

	mock.no_domain = true;
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
	DECLARE_BITMAP(seen, 1 << PASID_BITS) = {};
	struct iommu_sva *handle[32];
	unsigned int n;
	u32 pasid;

	for (n = 0; n < ARRAY_SIZE(handle); n++) {
		handle[n] = bind(test, DEV, test_mm(test));
		pasid = iommu_sva_get_pasid(handle[n]);
		KUNIT_ASSERT_LT(test, pasid, 1 << PASID_BITS);
		KUNIT_EXPECT_FALSE(test, __test_and_set_bit(pasid, seen));
	}
	EXPECT_DOMAINS(ARRAY_SIZE(handle));
	while (n--)
		iommu_sva_unbind_device(handle[n]);
}

/* A PASID that is too large for a device is no reason to give the mm another. */
static void pasid_too_large(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);
	u32 max_pasids = ODD->iommu->max_pasids;

	ODD->iommu->max_pasids = iommu_sva_get_pasid(handle);
	KUNIT_EXPECT_EQ(test, -EOVERFLOW, bind_error(ODD, mm));
	ODD->iommu->max_pasids = max_pasids;
	iommu_sva_unbind_device(handle);
}

static void no_pasids(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = DEV->iommu->max_pasids;

	DEV->iommu->max_pasids = 0;
	KUNIT_EXPECT_EQ(test, -ENOSPC, bind_error(DEV, mm));
	KUNIT_EXPECT_FALSE(test, mm_valid_pasid(mm));
	DEV->iommu->max_pasids = max_pasids;
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
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&mock.released));
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

	mock_dev_del(to_mock_dev(DEV));
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
	mock_dev_del(to_mock_dev(GROUP_FIRST));
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
		KUNIT_EXPECT_EQ(test, n, atomic_read(&mock.allocated));
	}
}

/* --- page faults --- */

static void enable_faults(struct kunit *test, struct device *dev)
{
	mock.queue = iopf_queue_alloc("sva-mock");
	KUNIT_ASSERT_NOT_NULL(test, mock.queue);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(mock.queue, dev));
}

static int fault(struct device *dev, struct mm_struct *mm, bool last)
{
	struct iopf_fault evt = {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm = {
			.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
				 (last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0),
			.pasid = mm_get_enqcmd_pasid(mm),
			.perm = IOMMU_FAULT_PERM_READ,
			.grpid = 5,
			.addr = PAGE_SIZE,
		},
	};

	return iommu_report_device_fault(dev, &evt);
}

struct unbinder {
	struct iommu_sva *handle;
	struct completion done;
};

static int unbind_thread(void *data)
{
	struct unbinder *unbinder = data;

	iommu_sva_unbind_device(unbinder->handle);
	complete(&unbinder->done);
	return 0;
}

/* A worker has a fault of the PASID in its hands, and cannot go on. */
static void unbind_drains_faults(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	struct unbinder unbinder = {
		.done = COMPLETION_INITIALIZER_ONSTACK(unbinder.done),
	};
	struct task_struct *thread;

	enable_faults(test, DEV);
	unbinder.handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, fault(DEV, mm, true));
	thread = kthread_run(unbind_thread, &unbinder, "sva-unbind");
	msleep(50);
	KUNIT_EXPECT_FALSE(test, completion_done(&unbinder.done));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mock.responses));
	mmap_write_unlock(mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&unbinder.done,
							     5 * HZ));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mock.responses));
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
	param = rcu_dereference_protected(DEV->iommu->fault_param, true);
	KUNIT_EXPECT_FALSE(test, list_empty(&param->partial));
	iommu_sva_unbind_device(handle);
	KUNIT_EXPECT_TRUE(test, list_empty(&param->partial));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mock.responses));
}

static void fault_after_unbind_is_refused(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);

	enable_faults(test, DEV);
	iommu_sva_unbind_device(bind(test, DEV, mm));
	KUNIT_EXPECT_EQ(test, -EINVAL, fault(DEV, mm, true));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mock.responses));
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

	to_mock_dev(DEV)->gate = &gate;
	for (n = 0; n < 2; n++) {
		init_completion(&binder[n].done);
		kthread_run(bind_thread, &binder[n], "sva-bind");
		while (!n && !atomic_read(&mock.at_gate))
			msleep(20);
	}
	KUNIT_EXPECT_NE(test, 0,
			wait_for_completion_timeout(&binder[1].done, HZ));
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

static int churn_thread(void *data)
{
	struct churner *churner = data;
	unsigned long end = jiffies + HZ / 4;
	struct iommu_sva *one, *two;

	while (time_before(jiffies, end)) {
		churner->seed = churner->seed * 1103515245 + 12345;
		one = iommu_sva_bind_device(&mock.dev[churner->seed % NR_DEVS].dev,
					    churner->mm);
		two = iommu_sva_bind_device(&mock.dev[(churner->seed >> 8) %
						      NR_DEVS].dev, churner->mm);
		if (IS_ERR(one) || IS_ERR(two))
			break;
		iommu_sva_unbind_device(one);
		iommu_sva_unbind_device(two);
		churner->binds += 2;
		cond_resched();
	}
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

	if (nomem_start())
		kunit_skip(test, NOMEM_NEEDS);
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
	nomem_stop();
	kunit_info(test, "%u allocations failed\n", nth - 1);
	KUNIT_EXPECT_FALSE(test, hit);
	/* The mm's data, the handle, the domain, and its notifier's at least */
	KUNIT_EXPECT_GT(test, nth, 4);
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
	KUNIT_CASE(mm_exits_first),
	KUNIT_CASE(device_gone_first),
	KUNIT_CASE(group_loses_the_device_that_was_bound),
	KUNIT_CASE(last_unbind_frees),
	KUNIT_CASE(unbind_drains_faults),
	KUNIT_CASE(unbind_forgets_incomplete_groups),
	KUNIT_CASE(fault_after_unbind_is_refused),
	KUNIT_CASE(mms_do_not_wait),
	KUNIT_CASE(two_threads),
	KUNIT_CASE(no_memory),
	{}
};

static struct kunit_suite sva_suite = {
	.name = "iommu_sva",
	.init = mock_init,
	.exit = mock_exit,
	.test_cases = sva_cases,
};

kunit_test_suite(sva_suite);

MODULE_DESCRIPTION("Tests of what SVA promises to device drivers");
MODULE_LICENSE("GPL");
