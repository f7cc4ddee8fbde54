/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test stands in for the hardware of an IOMMU instance
 *
 * Queues and tables of an IOMMU are memory, and in a test its registers are, too. What is
 * missing there is somebody who consumes the queue: a driver calls iommu_kunit_hw_run()
 * where hardware has its turn. The driver is built in: nothing is exported to modules.
 */
#ifndef __IOMMU_KUNIT_HW_H
#define __IOMMU_KUNIT_HW_H

#include <linux/types.h>

struct iommu_device;

#ifdef CONFIG_IOMMU_KUNIT_HW
#include <linux/jump_label.h>
#include <linux/list.h>

/**
 * struct iommu_kunit_hw - what stands in for the hardware of an instance
 * @iommu: the instance
 * @run: called by iommu_kunit_hw_run(), with its @submitted. May be changed while nothing
 *	is under way
 * @link: in the list of all
 */
struct iommu_kunit_hw {
	struct iommu_device *iommu;
	void (*run)(struct iommu_kunit_hw *hw, bool submitted);
	struct list_head link;
};

DECLARE_STATIC_KEY_FALSE(iommu_kunit_hw_key);

void __iommu_kunit_hw_run(struct iommu_device *iommu, bool submitted);
void iommu_kunit_hw_add(struct iommu_kunit_hw *hw);
void iommu_kunit_hw_del(struct iommu_kunit_hw *hw);

/**
 * iommu_kunit_hw_run() - let what stands in for the hardware have its turn
 * @iommu: the instance
 * @submitted: the driver has told the hardware that there are new commands, or that it has
 *	cleared an error; otherwise it waits, for a completion or for room
 *
 * Does nothing for an instance that was not passed to iommu_kunit_hw_add(), and costs a
 * no-op of the CPU while none was.
 *
 * Context: any but NMI. When it has submitted, the driver may hold whichever locks; while it
 * waits, it holds none that another submitter needs.
 */
static inline void iommu_kunit_hw_run(struct iommu_device *iommu, bool submitted)
{
	if (static_branch_unlikely(&iommu_kunit_hw_key))
		__iommu_kunit_hw_run(iommu, submitted);
}
#else
static inline void iommu_kunit_hw_run(struct iommu_device *iommu, bool submitted) {}
#endif

#endif /* __IOMMU_KUNIT_HW_H */
