// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks a distribution's own kernel, which has no driver for svadev, to bind the
 * process that inserts this to each svadev function, and logs what it answers.
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched.h>

#include "svadev.h"

static const char *bind(struct pci_dev *pdev)
{
	struct iommu_sva *handle = iommu_sva_bind_device(&pdev->dev, current->mm);

	if (!IS_ERR(handle))
		iommu_sva_unbind_device(handle);
	switch (PTR_ERR_OR_ZERO(handle)) {
	case 0:
		return "bound";
	case -EOPNOTSUPP:
		return "EOPNOTSUPP";
	default:
		return "another_error";
	}
}

/* With all that a driver prepares, so that nothing else is a reason to refuse */
static const char *answer(struct pci_dev *pdev)
{
	const char *said = "no_features";

	if (iommu_dev_enable_feature(&pdev->dev, IOMMU_DEV_FEAT_IOPF))
		return said;
	if (!iommu_dev_enable_feature(&pdev->dev, IOMMU_DEV_FEAT_SVA)) {
		said = bind(pdev);
		iommu_dev_disable_feature(&pdev->dev, IOMMU_DEV_FEAT_SVA);
	}
	iommu_dev_disable_feature(&pdev->dev, IOMMU_DEV_FEAT_IOPF);
	return said;
}

static int __init sva_ask_init(void)
{
	struct pci_dev *pdev = NULL;

	while ((pdev = pci_get_device(SVADEV_VENDOR_ID, SVADEV_DEVICE_ID, pdev))) {
		if (pci_enable_device(pdev))
			continue;
		pr_info("sva_ask: %s: %s\n", pci_name(pdev), answer(pdev));
		pci_disable_device(pdev);
	}
	return 0;
}
module_init(sva_ask_init);

MODULE_DESCRIPTION("Ask whether Shared Virtual Addressing is on");
MODULE_LICENSE("GPL");
