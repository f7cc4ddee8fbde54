// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that do not answer invalidations of their ATC
 *
 * Such a function keeps what its ATC holds, and DMA with it passes the SMMU untranslated: it
 * gets to memory that has been given to others. So it is fenced: STE.EATS becomes 0, and
 * with CR0.ATSCHK the SMMU terminates what it translates itself (IHI 0070, 3.9.2). Without
 * EATS it may still access memory by way of the SMMU.
 *
 * The STE is written by whoever attaches the function, under the group's mutex, and loses
 * EATS in whichever context it turns out that the function does not answer. What
 * decides is &iommu_alist_fn.state; both store the word that EATS is in under
 * &arm_smmu_device.ste_lock, which is never held over a wait.
 *
 * All commands for ATCs are sent in rcu_read_lock(), and so are fences. Who brings a function
 * back can wait for all of them, therefore: see iommu_alist_fence().
 */
#include "arm-smmu-v3.h"

/**
 * arm_smmu_ste_mask() - what an STE may say of ATS
 * @master: the function
 * @val: the word that EATS is in
 *
 * Context: any; under &arm_smmu_device.ste_lock if it is to be stored.
 * Return: @val, without EATS if the function is fenced.
 */
__le64 arm_smmu_ste_mask(const struct arm_smmu_master *master, __le64 val)
{
	return iommu_alist_is_live(&master->fn) ? val :
		val & ~cpu_to_le64(STRTAB_STE_1_EATS);
}

/**
 * arm_smmu_ste_set_qword() - &arm_smmu_entry_writer_ops.set_qword of STEs
 * @writer: the writer
 * @entry: the STE
 * @target: what it is to be
 * @i: which word of it
 *
 * The function may have been fenced since @target was made. Whoever fences it has said so
 * before, and comes here after.
 *
 * Context: any.
 * Return: whether the word was another than @target has. If it is only to lose EATS, who
 * fences the function flushes it.
 */
bool arm_smmu_ste_set_qword(struct arm_smmu_entry_writer *writer, __le64 *entry,
			    const __le64 *target, unsigned int i)
{
	struct arm_smmu_master *master = writer->master;
	__le64 val = target[i];
	unsigned long flags;
	bool changed;

	raw_spin_lock_irqsave(&master->smmu->ste_lock, flags);
	if (i == STE_EATS_QWORD)
		val = arm_smmu_ste_mask(master, val);
	changed = entry[i] != val && entry[i] != target[i];
	if (entry[i] != val)
		WRITE_ONCE(entry[i], val);
	raw_spin_unlock_irqrestore(&master->smmu->ste_lock, flags);
	return changed;
}

/**
 * arm_smmu_set_eats() - change EATS in the STEs of all StreamIDs
 * @master: the function
 * @eats: STRTAB_STE_1_EATS, in place
 *
 * Context: any; &arm_smmu_device.ste_lock held. What the SMMU has cached of the STEs is
 * for arm_smmu_sync_stes() to drop, without the lock.
 */
void arm_smmu_set_eats(struct arm_smmu_master *master, u64 eats)
{
	__le64 *qword;
	unsigned int i;

	lockdep_assert_held(&master->smmu->ste_lock);

	for (i = 0; i < master->num_streams; i++) {
		qword = &arm_smmu_get_step_for_sid(master->smmu,
						   master->streams[i].id)
				->data[STE_EATS_QWORD];
		WRITE_ONCE(*qword, (*qword & ~cpu_to_le64(STRTAB_STE_1_EATS)) |
				   cpu_to_le64(eats));
	}
}

/**
 * arm_smmu_sync_stes() - have the SMMU read the STEs of all StreamIDs anew
 * @master: the function
 *
 * Context: any.
 * Return: 0, or the error of the queue.
 */
noinline int arm_smmu_sync_stes(struct arm_smmu_master *master)
{
	struct arm_smmu_cmdq_ent cmd = {
		.opcode = CMDQ_OP_CFGI_STE,
		.cfgi.leaf = true,
	};
	struct arm_smmu_cmdq_batch cmds;
	unsigned int i;

	arm_smmu_cmdq_batch_init(master->smmu, &cmds, &cmd);
	for (i = 0; i < master->num_streams; i++) {
		cmd.cfgi.sid = master->streams[i].id;
		arm_smmu_cmdq_batch_add(master->smmu, &cmds, &cmd);
	}
	return arm_smmu_cmdq_batch_submit(master->smmu, &cmds);
}

/**
 * arm_smmu_fence() - &iommu_alist_ops.fence of SMMUv3
 * @fn: the function
 *
 * Once the CMD_SYNC completes, translated transactions that got past the old STE have got
 * to memory (IHI 0070, 4.7.3), and later ones are terminated.
 *
 * Context: any.
 * Return: 0, or the error of the queue: then nothing keeps the function from memory.
 */
int arm_smmu_fence(struct iommu_alist_fn *fn)
{
	struct arm_smmu_master *master =
		container_of(fn, struct arm_smmu_master, fn);
	unsigned long flags;

	raw_spin_lock_irqsave(&master->smmu->ste_lock, flags);
	arm_smmu_set_eats(master, 0);
	raw_spin_unlock_irqrestore(&master->smmu->ste_lock, flags);
	return arm_smmu_sync_stes(master);
}
