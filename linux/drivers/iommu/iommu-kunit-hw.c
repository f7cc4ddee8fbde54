// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instances whose hardware is a test: see iommu-kunit-hw.h
 */
#include <linux/mutex.h>
#include <linux/rculist.h>

#include "iommu-kunit-hw.h"

DEFINE_STATIC_KEY_FALSE(iommu_kunit_hw_key);

static DEFINE_MUTEX(hw_lock);
/* Changed under hw_lock, read under RCU */
static LIST_HEAD(hw_list);

static struct iommu_kunit_hw *hw_find(struct iommu_device *iommu)
{
	struct iommu_kunit_hw *hw, *found = NULL;

	rcu_read_lock();
	list_for_each_entry_rcu(hw, &hw_list, link) {
		if (hw->iommu == iommu) {
			found = hw;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/*
 * A test may stop its hardware for long, and sleep where the driver may. So it is called
 * outside of RCU: it lives as long as its instance, which is in use here.
 */
void __iommu_kunit_hw_run(struct iommu_device *iommu, bool submitted)
{
	struct iommu_kunit_hw *hw = hw_find(iommu);

	if (hw)
		hw->run(hw, submitted);
}

/**
 * iommu_kunit_hw_add() - stand in for the hardware of an instance
 * @hw: with instance and callback, which nobody uses yet
 *
 * Context: may sleep.
 */
void iommu_kunit_hw_add(struct iommu_kunit_hw *hw)
{
	mutex_lock(&hw_lock);
	list_add_rcu(&hw->link, &hw_list);
	mutex_unlock(&hw_lock);
	static_branch_inc(&iommu_kunit_hw_key);
}

/**
 * iommu_kunit_hw_del() - the end of that
 * @hw: of an instance that nobody uses any more
 *
 * Context: may sleep, for a grace period: others walk the list.
 */
void iommu_kunit_hw_del(struct iommu_kunit_hw *hw)
{
	static_branch_dec(&iommu_kunit_hw_key);
	mutex_lock(&hw_lock);
	list_del_rcu(&hw->link);
	mutex_unlock(&hw_lock);
	/* Each test ends with this. */
	synchronize_rcu_expedited();
}
