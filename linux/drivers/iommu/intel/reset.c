// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that are reset
 *
 * A function in reset answers no invalidation. So it is fenced as one that does not answer
 * is: see fence.c. Its entries stay, and domains go on to change: what they change is
 * flushed before the function may use ATS again, not when it changes. What keeps that in
 * order is at iommu_alist_resume().
 */
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "iommu.h"
#include "pasid.h"

/**
 * intel_reset_prepare() - &iommu_ops.reset_prepare of VT-d
 * @dev: the device
 *
 * Context: may sleep, for a grace period; group->mutex held. Not nested.
 * Return: 0.
 */
int intel_reset_prepare(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct pci_dev *pdev = to_pci_dev(dev);
	int ret = 0;

	if (!info->ats_supported)
		return 0;

	if (info->ats_enabled) {
		rcu_read_lock();
		ret = iommu_alist_fence(&intel_alist_ops, &info->fn);
		rcu_read_unlock();
	}
	/*
	 * Of those who read that it is live, some may be about to ask it, and some to
	 * fence it. It may have been fenced long ago by others.
	 */
	iommu_alist_synchronize();
	/* The reset empties its ATC, which is all that can be done about it. */
	if (ret < 0)
		dev_err(dev, "may use memory that was freed until it is reset: %d\n",
			ret);
	/* Nobody but intel_reset_done() is to switch it on again. */
	info->in_reset = true;
	if (pdev->ats_enabled)
		pci_disable_ats(pdev);
	return 0;
}

/* The reset has switched both off. PASID comes first, as PCIe wants it. */
static int reset_enable_ats(struct device_domain_info *info)
{
	struct pci_dev *pdev = to_pci_dev(info->dev);

	if (!info->ats_enabled)
		return 0;
	if (intel_is_absent(info))
		return -ENODEV;
	pci_restore_pasid_state(pdev);
	return pci_enable_ats(pdev, VTD_PAGE_SHIFT);
}

#define ATS_CAP_GLOBAL_INVALIDATE	BIT(6)

static bool takes_global_invalidations(struct pci_dev *pdev)
{
	u16 cap = 0;

	pci_read_config_word(pdev, pdev->ats_cap + PCI_ATS_CAP, &cap);
	return cap & ATS_CAP_GLOBAL_INVALIDATE;
}

/*
 * Of the IOTLB everything, as the function may have whichever tags: resets are rare. Of
 * the ATC, too, though ATS that goes on empties it: also what PASIDs had that were
 * detached while nobody asked the function.
 */
static int reset_flush(struct device_domain_info *info)
{
	u16 sid = PCI_DEVID(info->bus, info->devfn);
	struct intel_iommu *iommu = info->iommu;
	struct qi_desc desc[4] = {};
	unsigned int count = 3;

	qi_desc_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH, &desc[0]);
	desc[1].qw0 = QI_IWD_FENCE | QI_IWD_TYPE;
	if (!info->ats_enabled || !(iommu->gcmd & DMA_GCMD_TE))
		return qi_submit_sync(iommu, desc, 1, 0);

	qi_desc_dev_iotlb(sid, info->pfsid, info->ats_qdep, 0,
			  MAX_AGAW_PFN_WIDTH, &desc[2]);
	if (info->pasid_enabled &&
	    takes_global_invalidations(to_pci_dev(info->dev))) {
		qi_desc_dev_iotlb_pasid(sid, info->pfsid, 0, info->ats_qdep, 0,
					MAX_AGAW_PFN_WIDTH, &desc[3]);
		desc[3].qw1 |= QI_DEV_EIOTLB_GLOB;
		count++;
	}
	return intel_submit_dev_tlb(info, desc, 2, count, 0);
}

/* False if it has been fenced again. */
static bool reset_go_live(struct device_domain_info *info)
{
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;

	context = iommu_context_addr(iommu, info->bus, info->devfn, false);
	if (!context_go_live(info, context))
		return false;
	/* The unit may know the entry as it was without DTE. */
	if (context)
		iommu->flush.flush_context(iommu, context_domain_id(context),
					   PCI_DEVID(info->bus, info->devfn),
					   DMA_CCMD_MASK_NOBIT,
					   DMA_CCMD_DEVICE_INVL);
	return true;
}

/**
 * intel_reset_done() - &iommu_ops.reset_done of VT-d
 * @dev: the device, whose DMA is still off
 *
 * In legacy mode ATS goes off with each detach: then the function was perhaps fenced
 * before, and has no ATC now.
 *
 * Context: may sleep; group->mutex held.
 */
void intel_reset_done(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	info->in_reset = false;
	if (!info->ats_supported || iommu_alist_is_live(&info->fn))
		return;

	if (!reset_enable_ats(info)) {
		iommu_alist_resume(&info->fn);
		if (!reset_flush(info) && reset_go_live(info))
			return;
		rcu_read_lock();
		iommu_alist_fence(&intel_alist_ops, &info->fn);
		rcu_read_unlock();
	}
	dev_err(dev, "cannot use ATS until it is reset again\n");
}
