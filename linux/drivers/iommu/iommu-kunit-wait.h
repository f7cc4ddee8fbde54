/* SPDX-License-Identifier: GPL-2.0-only */
/* What tests wait for, which is not how long something takes */
#ifndef __IOMMU_KUNIT_WAIT_H
#define __IOMMU_KUNIT_WAIT_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>

/*
 * Whether a thread sleeps until it gets a mutex. The owner has to sleep meanwhile, too: while
 * it runs, others spin.
 */
static inline bool kunit_mutex_has_waiters(struct mutex *lock)
{
#ifdef CONFIG_PREEMPT_RT
	return !RB_EMPTY_ROOT(&lock->rtmutex.waiters.rb_root);
#else
	return !list_empty_careful(&lock->wait_list);
#endif
}

#endif /* __IOMMU_KUNIT_WAIT_H */
