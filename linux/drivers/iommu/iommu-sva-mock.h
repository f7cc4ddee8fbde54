/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An IOMMU driver without hardware, for tests of Shared Virtual Addressing: see
 * iommu-sva-mock.c.
 */
#ifndef __IOMMU_SVA_MOCK_H
#define __IOMMU_SVA_MOCK_H

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/notifier.h>
#include <linux/xarray.h>

#define SVA_MOCK_INSTANCES	3
#define SVA_MOCK_DEVS		6
#define SVA_MOCK_PASID_BITS	10

/* For what happens at once: only a failure takes so long, however slow the machine. */
#define SVA_MOCK_TIMEOUT	(20 * HZ)

/* Instance 2 is of another kind: its domains do not fit the other two. */
#define SVA_MOCK_ODD		2

struct sva_mock_instance {
	struct iommu_device iommu;
	struct notifier_block nb;
	struct fwnode_handle *fwnode;
	bool odd;
};

struct sva_mock_dev {
	struct device dev;
	struct sva_mock_instance *instance;
	struct xarray domains;		/* by PASID; changed under group->mutex */
	struct completion *gate;	/* set_dev_pasid() waits for it */
	unsigned int latency_us;	/* of set_dev_pasid() and its opposite */
	unsigned int group;
	bool added;
	bool in_reset;			/* changed under group->mutex */
	atomic_t draining;		/* threads in drain_dev_pasid() */
	unsigned int removed;		/* calls of remove_dev_pasid(); likewise */
};

/* Everything of the running test. What has no lock is written by one thread. */
struct sva_mock {
	struct sva_mock_instance instance[SVA_MOCK_INSTANCES];
	struct sva_mock_dev dev[SVA_MOCK_DEVS];
	struct iommu_group *group[SVA_MOCK_DEVS];
	struct iopf_queue *queue;
	int set_error;			/* the next set_dev_pasid() fails */
	int reset_error;		/* reset_prepare() fails */
	bool no_domain;			/* the next allocation fails */
	/* In set_dev_pasid(), which then fails with what it returns */
	int (*in_set)(struct device *dev, ioasid_t pasid);
	atomic_t domains;		/* that exist for the core */
	atomic_t groups;		/* that have not been released */
	atomic_t allocated;		/* that ever did */
	atomic_t released;		/* calls of release() */
	atomic_t responses;
	enum iommu_page_response_code code;	/* of the last one */
	struct iommu_page_response response;	/* the last one */
	struct completion *drain_gate;	/* drain_dev_pasid() waits for it */
	atomic_t drains;		/* calls of it, that have begun */
	/* In drain_dev_pasid() */
	void (*in_drain)(struct device *dev);
	/* In release_device(), while the core still knows the device */
	void (*in_release)(struct device *dev);
	struct task_struct *releaser;	/* of the last mm that called release() */
	atomic_t attached;		/* calls of attach_dev() */
	atomic_t resets;		/* successful calls of reset_prepare() */
	atomic_t resets_done;
	atomic_t at_gate;		/* threads that have come to one */
	atomic_t wrong;			/* calls that no driver should see */
};

extern struct sva_mock sva_mock;

static inline struct sva_mock_dev *to_sva_mock_dev(struct device *dev)
{
	return container_of(dev, struct sva_mock_dev, dev);
}

void sva_mock_dev_del(struct sva_mock_dev *mdev);
int sva_mock_init(struct kunit *test);
void sva_mock_exit(struct kunit *test);

#endif /* __IOMMU_SVA_MOCK_H */
