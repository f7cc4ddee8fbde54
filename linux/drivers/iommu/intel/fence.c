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
#include "perf.h"

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

/**
 * intel_is_absent() - whether a function was removed, or has no power
 * @info: the function
 *
 * Then its ATC is empty when it comes back, if it does. That it answers no
 * configuration request does not say so: what has failed may be only that.
 *
 * Context: any.
 */
bool intel_is_absent(const struct device_domain_info *info)
{
	struct pci_dev *pdev = to_pci_dev(info->dev);

	return pci_dev_is_disconnected(pdev) || pci_dev_has_no_power(pdev);
}

/**
 * intel_gives_up() - whether to ask a function no more, after the unit has dropped it
 * @info: the function
 * @blame: see qi_blames()
 *
 * Context: any.
 */
bool intel_gives_up(struct device_domain_info *info, struct qi_blame *blame)
{
	return iommu_alist_is_fenced(&info->fn) || intel_is_absent(info) ||
		qi_blames(info->iommu, PCI_DEVID(info->bus, info->devfn), blame);
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
 * What the unit drops because of others is repeated. A function that does not answer, or
 * whose commands the unit refuses, is fenced; then, and if it was before, only the
 * others are submitted.
 *
 * Context: any.
 * Return: 0, or the error of the queue or of the fence.
 */
int intel_submit_dev_tlb(struct device_domain_info *info, struct qi_desc *desc,
			 unsigned int others, unsigned int count,
			 unsigned long options)
{
	struct intel_iommu *iommu = info->iommu;
	struct qi_blame blame = {};
	int ret = -EAGAIN, failed = 0;
	ktime_t start = 0;

	if (dmar_latency_enabled(iommu, DMAR_LATENCY_INV_DEVTLB))
		start = ktime_get();

	rcu_read_lock();
	while (ret == -EAGAIN && !iommu_alist_is_fenced(&info->fn)) {
		ret = qi_wait(iommu, qi_submit(iommu, desc, count, options));
		if (ret == -EAGAIN && intel_gives_up(info, &blame))
			break;
	}
	if (ret && others)
		failed = qi_submit_sync(iommu, desc, others, options);
	/* Unless it is one of the others that the unit refuses */
	if (ret && !(ret == -EINVAL && failed))
		ret = intel_is_absent(info) ? 0 :
			iommu_alist_give_up(&intel_alist_ops, &iommu->iommu,
					    &info->fn,
					    PCI_DEVID(info->bus, info->devfn));
	rcu_read_unlock();

	if (start)
		dmar_latency_update(iommu, DMAR_LATENCY_INV_DEVTLB,
				    ktime_to_ns(ktime_sub(ktime_get(), start)));
	return failed ?: ret;
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
	struct qi_desc desc[2];

	/* VT-d spec, Section 6.5.2.5: not while translation is off */
	if (!info->ats_enabled || !(info->iommu->gcmd & DMA_GCMD_TE) ||
	    intel_is_absent(info))
		return;

	dev_tlb_desc(info, pasid, &desc[0]);
	desc[1] = desc[0];
	intel_submit_dev_tlb(info, desc, 0, quirk_dev_tlb_copies(info), 0);
}
