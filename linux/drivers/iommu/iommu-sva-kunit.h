/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the KUnit suites of Shared Virtual Addressing have in common beyond the
 * machine of iommu-sva-mock.c
 */
#ifndef __IOMMU_SVA_KUNIT_H
#define __IOMMU_SVA_KUNIT_H

#include <kunit/test.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/sched/mm.h>

#include "iommu-sva-mock.h"

/* Devices by what matters about them */
#define DEV		(&sva_mock.dev[2].dev)
#define SAME_INSTANCE	(&sva_mock.dev[3].dev)
#define OTHER_INSTANCE	(&sva_mock.dev[0].dev)
#define ODD		(&sva_mock.dev[4].dev)
#define ODD_TOO		(&sva_mock.dev[5].dev)
#define GROUP_FIRST	(&sva_mock.dev[0].dev)
#define GROUP_SECOND	(&sva_mock.dev[1].dev)

/* Until somebody else has done what he is about to do */
#define EVENTUALLY(condition)						\
({									\
	unsigned long end = jiffies + SVA_MOCK_TIMEOUT;			\
									\
	while (!(condition) && time_before(jiffies, end))		\
		msleep(20);						\
	condition;							\
})

static inline void mm_put(void *mm)
{
	mmput(mm);
}

/* An mm as of a process that lives until the end of the test. */
static inline struct mm_struct *test_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, mm_put, mm));
	return mm;
}

static inline void cred_put(void *cred)
{
	put_cred(cred);
}

/* Of a user of the test's own */
static inline struct cred *test_cred(struct kunit *test, unsigned int uid)
{
	struct cred *cred = prepare_creds();

	KUNIT_ASSERT_NOT_NULL(test, cred);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, cred_put, cred));
	cred->uid = KUIDT_INIT(uid);
	cred->euid = KUIDT_INIT(uid);
	return cred;
}

static inline struct iommu_sva *bind(struct kunit *test, struct device *dev,
				     struct mm_struct *mm)
{
	struct iommu_sva *handle = iommu_sva_bind_device(dev, mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, handle);
	return handle;
}

static inline struct iommu_domain *bound(struct device *dev, struct mm_struct *mm)
{
	return xa_load(&to_sva_mock_dev(dev)->domains, mm_get_enqcmd_pasid(mm));
}

#endif /* __IOMMU_SVA_KUNIT_H */
