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

/**
 * arm_smmu_unfence() - let a function use ATS again
 * @master: the function, whose ATS is off
 *
 * Its ATC is empty, or is emptied when ATS goes on. What domains have changed
 * meanwhile is flushed from the TLB before the function may ask.
 *
 * Context: may sleep, for a grace period; group->mutex held.
 * Return: 0, also if it was not fenced; otherwise an error, and it still is.
 */
int arm_smmu_unfence(struct arm_smmu_master *master)
{
	int ret;

	if (iommu_alist_is_live(&master->fn))
		return 0;

	/* Of those who have asked it, some may be about to fence it. */
	iommu_alist_synchronize();
	iommu_alist_resume(&master->fn);
	ret = arm_smmu_flush_tlb(master->smmu);
	if (!ret && arm_smmu_go_live(master))
		ret = arm_smmu_sync_stes(master);
	else
		ret = ret ?: -EIO;
	if (ret)
		arm_smmu_do_fence(master);
	return ret;
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

/* The reset has switched both off. PASID comes first, as PCIe wants it. */
static int arm_smmu_reset_enable_ats(struct arm_smmu_master *master)
{
	struct pci_dev *pdev = to_pci_dev(master->dev);
	int ret;

	if (arm_smmu_master_is_gone(master))
		return -ENODEV;
	ret = arm_smmu_unfence(master);
	if (ret || !master->ats_enabled)
		return ret;
	pci_restore_pasid_state(pdev);
	return pci_enable_ats(pdev, __ffs(master->smmu->pgsize_bitmap));
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
	if (!arm_smmu_reset_enable_ats(master))
		return;
	arm_smmu_do_fence(master);
	dev_err(dev, "cannot use ATS until it is reset again\n");
}
