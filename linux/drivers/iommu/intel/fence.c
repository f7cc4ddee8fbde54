// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that do not answer invalidations of their ATC
 *
 * Such a function keeps what its ATC holds, and DMA with it passes the unit unchecked: it
 * gets to memory that has been given to others. So it is fenced: the unit is told to
 * let none of its translated requests pass. After that nobody asks it any more, since
 * each time it does not answer the unit drops everybody's commands.
 *
 * All commands for ATCs are sent in rcu_read_lock(), by walks of attach lists (cache.c)
 * and by those of this file; so are fences. Who brings a function back can wait for all
 * of them, therefore: see iommu_alist_fence().
 */
#include <linux/pci.h>

#include "iommu.h"
#include "pasid.h"

/**
 * intel_fence() - &iommu_alist_ops.fence of VT-d
 * @fn: the function
 *
 * Without DTE, and in legacy mode without the translation type that allows them, the unit
 * blocks translated requests: VT-d spec, Section 4.2.3 and 9.3. Those that had passed get
 * to memory before an IOTLB invalidation completes that is behind the one of the
 * context cache: Section 6.5.2.3. PRE goes with DTE, and faults are not reported: the
 * function goes on.
 *
 * Context: any.
 * Return: 0, or the error of the queue: then nothing keeps the function from memory.
 */
int intel_fence(struct iommu_alist_fn *fn)
{
	struct device_domain_info *info =
		container_of(fn, struct device_domain_info, fn);
	struct intel_iommu *iommu = info->iommu;
	struct qi_desc desc[3] = {};
	struct context_entry *context;
	u16 did = 0;

	/* If it is not there yet, who fills it looks at the state. */
	context = iommu_context_addr(iommu, info->bus, info->devfn, false);
	if (context) {
		context_write(iommu, context, fn, 0, 0);
		/* Ignored in scalable mode */
		did = context_domain_id(context);
	}
	qi_desc_context(did, PCI_DEVID(info->bus, info->devfn),
			DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL, &desc[0]);
	desc[1].qw0 = QI_IWD_FENCE | QI_IWD_TYPE;
	qi_desc_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH, &desc[2]);
	return qi_submit_sync(iommu, desc, ARRAY_SIZE(desc), 0);
}

/* Everything of a PASID; without one, of requests that have none */
static void dev_tlb_desc(const struct device_domain_info *info, u32 pasid,
			 struct qi_desc *desc)
{
	u16 sid = PCI_DEVID(info->bus, info->devfn);

	if (pasid == IOMMU_NO_PASID)
		qi_desc_dev_iotlb(sid, info->pfsid, info->ats_qdep, 0,
				  MAX_AGAW_PFN_WIDTH, desc);
	else
		qi_desc_dev_iotlb_pasid(sid, info->pfsid, pasid, info->ats_qdep, 0,
					MAX_AGAW_PFN_WIDTH, desc);
}

/**
 * intel_submit_dev_tlb() - submit commands, the last of which are for a function's ATC
 * @info: the function
 * @desc: the commands
 * @others: how many are not for the ATC, and come first
 * @count: how many there are
 * @options: see qi_submit()
 *
 * What the unit drops because of others is repeated. A function that does not answer
 * is fenced; then, and if it was before, only the others are submitted.
 *
 * Context: any.
 * Return: 0, or the error of the queue or of the fence.
 */
int intel_submit_dev_tlb(struct device_domain_info *info, struct qi_desc *desc,
			 unsigned int others, unsigned int count,
			 unsigned long options)
{
	u16 sid = PCI_DEVID(info->bus, info->devfn);
	struct intel_iommu *iommu = info->iommu;
	struct qi_blame blame = {};
	int ret = -EAGAIN;

	rcu_read_lock();
	while (ret == -EAGAIN && !iommu_alist_is_fenced(&info->fn)) {
		ret = qi_wait(iommu, qi_submit(iommu, desc, count, options));
		if (ret == -EAGAIN && qi_blames(iommu, sid, &blame))
			break;
	}
	if (ret == -EAGAIN) {
		ret = iommu_alist_give_up(&intel_alist_ops, &iommu->iommu,
					  &info->fn, sid);
		if (others)
			ret = qi_submit_sync(iommu, desc, others, options) ?: ret;
	}
	rcu_read_unlock();
	return ret;
}

/**
 * intel_fence_if_gone() - fence a function that was removed from its slot
 * @info: the function
 *
 * It would not answer, and take the time that it takes to find out.
 *
 * Context: any.
 */
void intel_fence_if_gone(struct device_domain_info *info)
{
	if (!info->ats_enabled || iommu_alist_is_fenced(&info->fn) ||
	    pci_device_is_present(to_pci_dev(info->dev)))
		return;

	rcu_read_lock();
	iommu_alist_fence(&intel_alist_ops, &info->fn);
	rcu_read_unlock();
}

/**
 * intel_flush_dev_tlb() - invalidate what a function's ATC holds of a PASID
 * @info: the function
 * @pasid: the PASID, or IOMMU_NO_PASID for requests without one
 *
 * Context: any.
 */
void intel_flush_dev_tlb(struct device_domain_info *info, u32 pasid)
{
	/* Of a quirk: it may answer before its own posted writes, and has to be asked again. */
	unsigned int copies = info->dtlb_extra_inval ? 2 : 1;
	struct qi_desc desc[2];

	/* VT-d spec, Section 6.5.2.5: not while translation is off */
	if (!info->ats_enabled || !(info->iommu->gcmd & DMA_GCMD_TE))
		return;

	intel_fence_if_gone(info);
	dev_tlb_desc(info, pasid, &desc[0]);
	desc[1] = desc[0];
	intel_submit_dev_tlb(info, desc, 0, copies, 0);
}
