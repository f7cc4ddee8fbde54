// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that are fenced, and may use ATS again
 *
 * That is after a reset, or when ATS goes on that has been off: then the ATC is empty.
 * A function in reset answers no invalidation. So it is fenced as one that does not answer
 * is: see arm-smmu-v3-fence.c. Its STEs and CDs stay, and domains go on to change: what they
 * change is flushed before the function may use ATS again, not when it changes. What
 * keeps that in order is at iommu_alist_resume().
 */
#include <linux/pci.h>
#include <linux/pci-ats.h>

#include "arm-smmu-v3.h"

/* Of whichever tags: it is rare that a function comes back. */
static noinline int arm_smmu_flush_tlb(struct arm_smmu_device *smmu)
{
	struct arm_smmu_cmdq_ent cmd = { .opcode = CMDQ_OP_TLBI_NSNH_ALL };
	struct arm_smmu_cmdq_batch cmds;

	arm_smmu_cmdq_batch_init(smmu, &cmds, &cmd);
	arm_smmu_cmdq_batch_add(smmu, &cmds, &cmd);
	if (smmu->features & ARM_SMMU_FEAT_E2H) {
		cmd.opcode = CMDQ_OP_TLBI_EL2_ALL;
		arm_smmu_cmdq_batch_add(smmu, &cmds, &cmd);
	}
	return arm_smmu_cmdq_batch_submit(smmu, &cmds);
}

/* False if it has been fenced again. */
static bool arm_smmu_go_live(struct arm_smmu_master *master)
{
	unsigned long flags;
	bool live;

	raw_spin_lock_irqsave(&master->smmu->ste_lock, flags);
	live = iommu_alist_go_live(&master->fn);
	if (live && master->ste_ats_enabled)
		arm_smmu_set_eats(master, FIELD_PREP(STRTAB_STE_1_EATS,
						     STRTAB_STE_1_EATS_TRANS));
	raw_spin_unlock_irqrestore(&master->smmu->ste_lock, flags);
	return live;
}

static int arm_smmu_do_fence(struct arm_smmu_master *master)
{
	int ret;

	rcu_read_lock();
	ret = iommu_alist_fence(&arm_smmu_alist_ops, &master->fn);
	rcu_read_unlock();
	return min(ret, 0);
}

/* ATS first, as the ATC answers then. EATS comes last, when nothing old is left. */
static int arm_smmu_come_back(struct arm_smmu_master *master, bool ats)
{
	struct pci_dev *pdev = to_pci_dev(master->dev);
	int ret = 0;

	iommu_alist_resume(&master->fn);
	if (ats) {
		ret = pci_enable_ats(pdev, __ffs(master->smmu->pgsize_bitmap));
		ret = ret ?: arm_smmu_flush_tlb(master->smmu);
		if (!ret)
			arm_smmu_inv_master(master, IOMMU_NO_PASID);
	}
	if (!ret && arm_smmu_go_live(master))
		ret = arm_smmu_sync_stes(master);
	else
		ret = ret ?: -EIO;
	if (!ret)
		return 0;
	arm_smmu_do_fence(master);
	if (pdev->ats_enabled)
		pci_disable_ats(pdev);
	return ret;
}

/**
 * arm_smmu_ats_on() - switch ATS of a function on
 * @master: the function, whose ATS is off, and whose STEs permit it unless it is fenced
 *
 * Its ATC is empty then, or is emptied. What domains have changed while it was fenced,
 * and have not told it, is flushed from the TLB before it may ask.
 *
 * Context: may sleep, for a grace period if it is fenced; group->mutex held.
 * Return: 0, or an error, and ATS is off: the PCI core's, that of the queue, or -EIO if the
 * function does not answer; then it is fenced.
 */
int arm_smmu_ats_on(struct arm_smmu_master *master)
{
	struct pci_dev *pdev = to_pci_dev(master->dev);
	int ret;

	/* arm_smmu_reset_done() does it. */
	if (master->in_reset)
		return 0;

	if (!iommu_alist_is_live(&master->fn)) {
		/* Of those who have asked it, some may be about to fence it. */
		iommu_alist_synchronize();
		return arm_smmu_come_back(master, true);
	}
	ret = pci_enable_ats(pdev, __ffs(master->smmu->pgsize_bitmap));
	if (ret)
		return ret;
	/* ATC invalidation of PASID 0 causes the entire ATC to be flushed. */
	arm_smmu_inv_master(master, IOMMU_NO_PASID);
	if (iommu_alist_is_live(&master->fn))
		return 0;
	pci_disable_ats(pdev);
	return -EIO;
}

/**
 * arm_smmu_reset_prepare() - &iommu_ops.reset_prepare of SMMUv3
 * @dev: the device
 *
 * Context: may sleep, for a grace period; group->mutex held. Not nested.
 * Return: 0.
 */
int arm_smmu_reset_prepare(struct device *dev)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);
	struct pci_dev *pdev = to_pci_dev(dev);
	int ret;

	if (!arm_smmu_ats_supported(master))
		return 0;

	ret = arm_smmu_do_fence(master);
	/*
	 * Of those who read that it is live, some may be about to ask it, and some to
	 * fence it. It may have been fenced long ago by others.
	 */
	iommu_alist_synchronize();
	/* The reset empties its ATC, which is all that can be done about it. */
	if (ret)
		dev_err(dev, "may use memory that was freed until it is reset: %d\n",
			ret);
	/* Nobody but arm_smmu_reset_done() is to switch it on again. */
	master->in_reset = true;
	if (pdev->ats_enabled)
		pci_disable_ats(pdev);
	return 0;
}

/**
 * arm_smmu_reset_done() - &iommu_ops.reset_done of SMMUv3
 * @dev: the device, whose DMA is still off
 *
 * Context: may sleep; group->mutex held.
 */
void arm_smmu_reset_done(struct device *dev)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);

	if (!master->in_reset)
		return;
	master->in_reset = false;
	/* The reset has switched both off. PASID comes first, as PCIe wants it. */
	if (!arm_smmu_master_is_gone(master)) {
		pci_restore_pasid_state(to_pci_dev(dev));
		if (!arm_smmu_come_back(master, master->ats_enabled))
			return;
	}
	dev_err(dev, "cannot use ATS until it is reset again\n");
}
