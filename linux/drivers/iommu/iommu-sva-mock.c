// SPDX-License-Identifier: GPL-2.0-only
/*
 * An IOMMU driver without hardware, for tests of Shared Virtual Addressing
 *
 * It has several instances, one of which cannot share a domain with the others, and
 * remembers which domain is set on which PASID of which device, complains when it is
 * asked for something that no driver should see, and registers real MMU notifiers
 * on real mms. There is one machine: suites that use it do not run in parallel.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/mmu_notifier.h>
#include <linux/property.h>
#include <linux/slab.h>

#include "iommu-priv.h"
#include "iommu-sva-mock.h"

struct sva_mock sva_mock;

struct mock_domain {
	struct iommu_domain domain;
	struct mmu_notifier notifier;
	bool odd;
};

static struct mock_domain *to_mock_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct mock_domain, domain);
}

/* --- the driver --- */

static int mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			      ioasid_t pasid, struct iommu_domain *old)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);
	int error = sva_mock.set_error;

	if (mdev->in_reset)
		atomic_inc(&sva_mock.wrong);
	if (error) {
		sva_mock.set_error = 0;
		return error;
	}
	if (to_mock_domain(domain)->odd != mdev->instance->odd)
		return -EINVAL;
	if (mdev->gate) {
		atomic_inc(&sva_mock.at_gate);
		wait_for_completion_timeout(mdev->gate, 3 * SVA_MOCK_TIMEOUT);
	}
	udelay(mdev->latency_us);
	if (sva_mock.in_set) {
		error = sva_mock.in_set(dev, pasid);
		if (error)
			return error;
	}
	error = xa_insert(&mdev->domains, pasid, domain, GFP_KERNEL);
	if (error == -EBUSY)
		atomic_inc(&sva_mock.wrong);
	return error;
}

static void mock_remove_dev_pasid(struct device *dev, ioasid_t pasid,
				  struct iommu_domain *domain)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);

	udelay(mdev->latency_us);
	mdev->removed++;
	if (xa_erase(&mdev->domains, pasid) != domain)
		atomic_inc(&sva_mock.wrong);
}

static void mock_drain_dev_pasid(struct device *dev, ioasid_t pasid)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);

	/* It has been blocked, or the device is being reset. */
	if (pasid == IOMMU_PASID_INVALID ? !mdev->in_reset :
	    !!xa_load(&mdev->domains, pasid))
		atomic_inc(&sva_mock.wrong);
	atomic_inc(&mdev->draining);
	atomic_inc(&sva_mock.drains);
	if (sva_mock.in_drain)
		sva_mock.in_drain(dev);
	if (sva_mock.drain_gate)
		wait_for_completion_timeout(sva_mock.drain_gate,
					    3 * SVA_MOCK_TIMEOUT);
	atomic_dec(&mdev->draining);
}

static void mock_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	sva_mock.releaser = current;
	atomic_inc(&sva_mock.released);
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

	for (n = 0; n < SVA_MOCK_DEVS; n++)
		xa_for_each(&sva_mock.dev[n].domains, pasid, set)
			if (set == domain)
				atomic_inc(&sva_mock.wrong);
	atomic_dec(&sva_mock.domains);
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

	if (sva_mock.no_domain)
		return ERR_PTR(-ENOMEM);
	mdomain = kzalloc(sizeof(*mdomain), GFP_KERNEL);
	if (!mdomain)
		return ERR_PTR(-ENOMEM);
	mdomain->domain.ops = &mock_sva_ops;
	mdomain->odd = to_sva_mock_dev(dev)->instance->odd;
	mdomain->notifier.ops = &mock_notifier_ops;
	ret = iommu_sva_register_notifier(&mdomain->notifier, mm);
	if (ret) {
		kfree(mdomain);
		return ERR_PTR(ret);
	}
	atomic_inc(&sva_mock.domains);
	atomic_inc(&sva_mock.allocated);
	return &mdomain->domain;
}

static int mock_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	atomic_inc(&sva_mock.attached);
	return 0;
}

static int mock_reset_prepare(struct device *dev)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);

	if (sva_mock.reset_error)
		return sva_mock.reset_error;
	if (mdev->in_reset)
		atomic_inc(&sva_mock.wrong);
	mdev->in_reset = true;
	atomic_inc(&sva_mock.resets);
	return 0;
}

static void mock_reset_done(struct device *dev)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);

	if (!mdev->in_reset)
		atomic_inc(&sva_mock.wrong);
	mdev->in_reset = false;
	atomic_inc(&sva_mock.resets_done);
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
	return &to_sva_mock_dev(dev)->instance->iommu;
}

static void mock_release_device(struct device *dev)
{
	struct sva_mock_dev *mdev = to_sva_mock_dev(dev);

	if (sva_mock.in_release)
		sva_mock.in_release(dev);
	/* Nothing is attached, and nobody waits for what it has in the IOMMU. */
	if (!xa_empty(&mdev->domains) || atomic_read(&mdev->draining))
		atomic_inc(&sva_mock.wrong);
}

static void mock_group_release(void *iommu_data)
{
	atomic_dec(&sva_mock.groups);
}

static struct iommu_group *mock_device_group(struct device *dev)
{
	struct iommu_group **group = &sva_mock.group[to_sva_mock_dev(dev)->group];

	if (*group)
		return iommu_group_ref_get(*group);
	*group = iommu_group_alloc();
	if (IS_ERR(*group))
		return *group;
	atomic_inc(&sva_mock.groups);
	iommu_group_set_iommudata(*group, NULL, mock_group_release);
	/* One reference is the device's, one is the test's. */
	return iommu_group_ref_get(*group);
}

static void mock_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *msg)
{
	sva_mock.code = msg->code;
	sva_mock.response = *msg;
	atomic_inc(&sva_mock.responses);
}

static const struct iommu_ops mock_ops = {
	.identity_domain = &mock_identity,
	.def_domain_type = mock_def_domain_type,
	.probe_device = mock_probe_device,
	.release_device = mock_release_device,
	.device_group = mock_device_group,
	.domain_alloc_sva = mock_domain_alloc_sva,
	.remove_dev_pasid = mock_remove_dev_pasid,
	.drain_dev_pasid = mock_drain_dev_pasid,
	.reset_prepare = mock_reset_prepare,
	.reset_done = mock_reset_done,
	.page_response = mock_page_response,
};

/* --- the machine: two devices behind each instance --- */

static const struct bus_type mock_bus = { .name = "iommu_sva_mock" };

static void mock_dev_release(struct device *dev)
{
}

/**
 * sva_mock_dev_del() - remove a device from the machine
 * @mdev: the device
 */
void sva_mock_dev_del(struct sva_mock_dev *mdev)
{
	if (mdev->added)
		device_unregister(&mdev->dev);
	mdev->added = false;
}

static const struct property_entry mock_properties[] = {
	PROPERTY_ENTRY_U32("pasid-num-bits", SVA_MOCK_PASID_BITS),
	{}
};

static int mock_dev_add(struct sva_mock_dev *mdev, unsigned int n,
			struct sva_mock_instance *instance, unsigned int group)
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

static int mock_instance_add(struct sva_mock_instance *instance,
			     unsigned int n)
{
	int ret;

	instance->odd = n == SVA_MOCK_ODD;
	instance->fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(instance->fwnode))
		return PTR_ERR(instance->fwnode);
	ret = iommu_device_sysfs_add(&instance->iommu, NULL, NULL,
				     "sva-mock-iommu%u", n);
	if (ret)
		return ret;
	instance->iommu.fwnode = instance->fwnode;
	instance->iommu.max_pasids = 1 << SVA_MOCK_PASID_BITS;
	return iommu_device_register_bus(&instance->iommu, &mock_ops, &mock_bus,
					 &instance->nb);
}

static void mock_instance_del(struct sva_mock_instance *instance)
{
	if (instance->iommu.ops)
		iommu_device_unregister_bus(&instance->iommu, &mock_bus,
					    &instance->nb);
	if (instance->iommu.dev)
		iommu_device_sysfs_remove(&instance->iommu);
	if (!IS_ERR_OR_NULL(instance->fwnode))
		fwnode_remove_software_node(instance->fwnode);
}

/**
 * sva_mock_exit() - &kunit_suite.exit of a suite that has used the machine
 * @test: the test
 */
void sva_mock_exit(struct kunit *test)
{
	unsigned int n;

	iopf_queue_free(sva_mock.queue);
	for (n = 0; n < SVA_MOCK_DEVS; n++)
		sva_mock_dev_del(&sva_mock.dev[n]);
	for (n = 0; n < SVA_MOCK_DEVS; n++)
		if (!IS_ERR_OR_NULL(sva_mock.group[n]))
			iommu_group_put(sva_mock.group[n]);
	for (n = 0; n < SVA_MOCK_INSTANCES; n++)
		mock_instance_del(&sva_mock.instance[n]);
	bus_unregister(&mock_bus);
	/* Every test gives back what it has taken, and no call was a wrong one. */
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.domains));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.groups));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&sva_mock.wrong));
}

/**
 * sva_mock_init() - &kunit_suite.init: make the machine
 * @test: the test
 *
 * Return: 0, or an error; sva_mock_exit() undoes it in any case.
 */
int sva_mock_init(struct kunit *test)
{
	unsigned int n;
	int ret;

	memset(&sva_mock, 0, sizeof(sva_mock));
	ret = bus_register(&mock_bus);
	for (n = 0; !ret && n < SVA_MOCK_INSTANCES; n++)
		ret = mock_instance_add(&sva_mock.instance[n], n);
	/* The first two devices are one group. */
	for (n = 0; !ret && n < SVA_MOCK_DEVS; n++)
		ret = mock_dev_add(&sva_mock.dev[n], n, &sva_mock.instance[n / 2],
				   n == 1 ? 0 : n);
	return ret;
}
