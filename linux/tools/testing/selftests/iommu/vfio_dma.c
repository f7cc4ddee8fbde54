// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * svadev in the hands of a user: one address space for all functions, by iommufd and by
 * VFIO's type1 container, whichever IOMMU each of them is behind
 *
 * Needs the functions for itself: they are taken from their driver, and given back. IOMMUs
 * that can use one page table have to share it; with SVA_DIFFER=1 in the environment they
 * differ, and must not. Whether they do is told by the id of the page table, and by how often
 * a page is mapped. SVA_DIRTY has a digit for each function, in the order of their names: 1 if
 * its IOMMU can tell which pages are written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <misc/uacce/svadev.h>

#include "../kselftest_harness.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define MAX_FNS		8
#define NAME		64
#define IOVA		0x100000ULL
#define FAR(n)		((n) * 0x100000000ULL)
#define PAGE		4096
#define BAR_SIZE	(2 * PAGE)	/* of what is used of it */

struct fn {
	char name[NAME];
	int fd;
	uint32_t id;			/* of the device, iommufd only */
	uint32_t pt;			/* what it is attached to, iommufd only */
	volatile uint64_t *ctl, *queue;
};

FIXTURE(vfio_dma)
{
	struct fn fn[MAX_FNS];
	unsigned int nr;
	bool differ;
	int fd;				/* iommufd or the container */
	uint32_t ioas;
	char *page;
};

FIXTURE_VARIANT(vfio_dma)
{
	bool type1;
};

FIXTURE_VARIANT_ADD(vfio_dma, iommufd)
{
	.type1 = false,
};

FIXTURE_VARIANT_ADD(vfio_dma, type1)
{
	.type1 = true,
};

/* --- sysfs --- */

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool write_of(const struct fn *f, const char *what, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", f->name, what);
	return write_to(path, text);
}

static unsigned long hex_of(const char *name, const char *what)
{
	char path[512], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", name, what);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoul(text, NULL, 16);
}

/* With another driver: "vfio-pci", or "\n" for its own */
static bool give_to(const struct fn *f, const char *driver)
{
	if (!write_of(f, "driver_override", driver))
		return false;
	write_of(f, "driver/unbind", f->name);
	return write_to("/sys/bus/pci/drivers_probe", f->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fn *)a)->name, ((const struct fn *)b)->name);
}

static unsigned int find_fns(struct fn *fn)
{
	DIR *dir = opendir(PCI_DEVICES);
	struct dirent *d;
	unsigned int nr = 0;

	while (dir && nr < MAX_FNS && (d = readdir(dir))) {
		if (hex_of(d->d_name, "vendor") != SVADEV_VENDOR_ID ||
		    hex_of(d->d_name, "device") != SVADEV_DEVICE_ID)
			continue;
		snprintf(fn[nr].name, NAME, "%s", d->d_name);
		fn[nr++].fd = -1;
	}
	if (dir)
		closedir(dir);
	qsort(fn, nr, sizeof(*fn), by_name);
	return nr;
}

/* The name of the only entry of a directory that begins with @prefix */
static bool entry_of(const struct fn *f, const char *what, const char *prefix, char *name)
{
	char path[256];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", f->name, what);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)))
		if (!strncmp(d->d_name, prefix, strlen(prefix))) {
			snprintf(name, NAME, "%s", d->d_name);
			found = true;
		}
	if (dir)
		closedir(dir);
	return found;
}

/* --- functions --- */

/* Memory and bus mastering, and the two BARs */
static bool fn_switch_on(struct fn *f)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info ctl = {
		.argsz = sizeof(ctl), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct vfio_region_info queue = {
		.argsz = sizeof(queue), .index = VFIO_PCI_BAR2_REGION_INDEX,
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	if (ioctl(f->fd, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    ioctl(f->fd, VFIO_DEVICE_GET_REGION_INFO, &ctl) ||
	    ioctl(f->fd, VFIO_DEVICE_GET_REGION_INFO, &queue) ||
	    pwrite(f->fd, &command, sizeof(command), config.offset + PCI_COMMAND) !=
	    sizeof(command))
		return false;
	f->ctl = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, ctl.offset);
	f->queue = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, queue.offset);
	if (f->ctl == MAP_FAILED || f->queue == MAP_FAILED) {
		perror("mmap of a BAR");
		return false;
	}
	f->ctl[SVADEV_QCTL(0) / 8 + SVADEV_QCTL_PASID / 8] = SVADEV_PASID_NONE;
	f->ctl[SVADEV_QCTL(0) / 8 + SVADEV_QCTL_ENABLE / 8] = 1;
	return f->ctl[SVADEV_ID / 8] == SVADEV_ID_MAGIC;
}

/* A mapping keeps it open, and its driver cannot be changed. */
static void fn_close(struct fn *f)
{
	if (f->ctl && f->ctl != MAP_FAILED)
		munmap((void *)f->ctl, BAR_SIZE);
	if (f->queue && f->queue != MAP_FAILED)
		munmap((void *)f->queue, PAGE);
	f->ctl = NULL;
	f->queue = NULL;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Fill 8 bytes. Returns SVADEV_ERR_... */
static uint64_t fill(struct fn *f, uint64_t iova, uint8_t byte)
{
	f->queue[SVADEV_Q_OP / 8] = SVADEV_OP_FILL;
	f->queue[SVADEV_Q_FLAGS / 8] = 0;
	f->queue[SVADEV_Q_DST / 8] = iova;
	f->queue[SVADEV_Q_LEN / 8] = 8;
	f->queue[SVADEV_Q_ARG / 8] = byte;
	f->queue[SVADEV_Q_DOORBELL / 8] = 1;
	while (f->queue[SVADEV_Q_STATE / 8] != SVADEV_STATE_DONE &&
	       f->queue[SVADEV_Q_STATE / 8] != SVADEV_STATE_ERROR)
		usleep(10);
	return f->queue[SVADEV_Q_ERROR / 8];
}

/* Old translations, of all PASIDs and of none */
static uint64_t stale(struct fn *f)
{
	f->ctl[SVADEV_VERIFY / 8] = SVADEV_PASID_ALL;
	return f->ctl[SVADEV_VERIFY_STALE / 8];
}

static uint64_t counter(struct fn *f, unsigned int what)
{
	return f->ctl[what / 8];
}

/* --- attaching --- */

static bool open_cdev(struct fn *f, int iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
	char name[NAME], path[2 * NAME];

	if (!entry_of(f, "vfio-dev", "vfio", name))
		return false;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	f->fd = open(path, O_RDWR);
	if (f->fd < 0 || ioctl(f->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind)) {
		perror(path);
		return false;
	}
	f->id = bind.out_devid;
	return true;
}

static bool attach_iommufd(struct fn *f, int iommufd, uint32_t ioas)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = ioas };

	if (!open_cdev(f, iommufd))
		return false;
	if (ioctl(f->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach)) {
		perror("attach");
		return false;
	}
	f->pt = attach.pt_id;
	return true;
}

static bool attach_type1(struct fn *f, int container, bool first)
{
	char link[256], path[2 * NAME], target[256];
	ssize_t len;
	int group;

	snprintf(link, sizeof(link), PCI_DEVICES "%s/iommu_group", f->name);
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	group = open(path, O_RDWR);
	if (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    (first && ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)))
		return false;
	f->fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, f->name);
	close(group);
	return f->fd >= 0;
}

static bool attach(FIXTURE_DATA(vfio_dma) *self, bool type1, unsigned int n)
{
	struct fn *f = &self->fn[n];

	return (type1 ? attach_type1(f, self->fd, !n) :
		attach_iommufd(f, self->fd, self->ioas)) && fn_switch_on(f);
}

static int map(FIXTURE_DATA(vfio_dma) *self, bool type1, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map old = {
		.argsz = sizeof(old),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)self->page, .iova = iova, .size = PAGE,
	};
	struct iommu_ioas_map new = {
		.size = sizeof(new),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = self->ioas,
		.user_va = (uintptr_t)self->page, .length = PAGE, .iova = iova,
	};

	return type1 ? ioctl(self->fd, VFIO_IOMMU_MAP_DMA, &old) :
		ioctl(self->fd, IOMMU_IOAS_MAP, &new);
}

static int unmap(FIXTURE_DATA(vfio_dma) *self, bool type1, uint64_t iova)
{
	struct vfio_iommu_type1_dma_unmap old = {
		.argsz = sizeof(old), .iova = iova, .size = PAGE,
	};
	struct iommu_ioas_unmap new = {
		.size = sizeof(new), .ioas_id = self->ioas, .iova = iova, .length = PAGE,
	};

	return type1 ? ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &old) :
		ioctl(self->fd, IOMMU_IOAS_UNMAP, &new);
}

FIXTURE_SETUP(vfio_dma)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	const char *differ = getenv("SVA_DIFFER");
	unsigned int n;

	self->differ = differ && *differ == '1';
	self->nr = find_fns(self->fn);
	if (self->nr < 2)
		SKIP(return, "needs two functions");
	self->fd = open(variant->type1 ? "/dev/vfio/vfio" : "/dev/iommu", O_RDWR);
	if (self->fd < 0)
		SKIP(return, "no %s in this kernel", variant->type1 ? "type1" : "iommufd");
	if (!variant->type1) {
		ASSERT_EQ(0, ioctl(self->fd, IOMMU_IOAS_ALLOC, &alloc));
		self->ioas = alloc.out_ioas_id;
	}
	self->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	for (n = 0; n < self->nr; n++)
		ASSERT_TRUE(give_to(&self->fn[n], "vfio-pci"));
}

FIXTURE_TEARDOWN(vfio_dma)
{
	unsigned int n;

	for (n = 0; n < self->nr; n++) {
		fn_close(&self->fn[n]);
		EXPECT_TRUE(give_to(&self->fn[n], "\n"));
	}
	if (self->fd >= 0)
		close(self->fd);
}

#define TRACING		"/sys/kernel/tracing/"

/* How many page tables a page is mapped in, -1 if the kernel does not tell */
static int maps_of(FIXTURE_DATA(vfio_dma) *self, bool type1, uint64_t iova)
{
	char line[512];
	int n = 0;
	FILE *f;

	if (!write_to(TRACING "trace", "\n") ||
	    !write_to(TRACING "events/iommu/map/enable", "1") || map(self, type1, iova))
		return -1;
	write_to(TRACING "events/iommu/map/enable", "0");
	f = fopen(TRACING "trace", "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, " map: ");
	fclose(f);
	return n;
}

/* One page table, however many IOMMUs there are: each page is mapped once. */
TEST_F(vfio_dma, one_page_table)
{
	unsigned int n;

	ASSERT_TRUE(attach(self, variant->type1, 0));
	EXPECT_EQ(1, maps_of(self, variant->type1, FAR(1)));
	for (n = 1; n < self->nr; n++) {
		ASSERT_TRUE(attach(self, variant->type1, n));
		EXPECT_EQ(!variant->type1 && self->differ,
			  self->fn[0].pt != self->fn[n].pt);
	}
	EXPECT_EQ(self->differ ? 2 : 1, maps_of(self, variant->type1, FAR(2)));
	for (n = 0; n < self->nr; n++) {
		EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], FAR(1), n + 1));
		EXPECT_EQ(n + 1, self->page[0]);
		EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], FAR(2), n + 101));
		EXPECT_EQ(n + 101, self->page[7]);
	}
}

/* After an unmap each of them faults, and nothing is written. */
TEST_F(vfio_dma, unmap)
{
	unsigned int n, round;

	for (n = 0; n < self->nr; n++)
		ASSERT_TRUE(attach(self, variant->type1, n));
	for (round = 0; round < 8; round++) {
		ASSERT_EQ(0, map(self, variant->type1, IOVA));
		for (n = 0; n < self->nr; n++) {
			EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA, n + 1));
			EXPECT_EQ(n + 1, self->page[0]);
		}
		ASSERT_EQ(0, unmap(self, variant->type1, IOVA));
		memset(self->page, 0, PAGE);
		for (n = 0; n < self->nr; n++) {
			EXPECT_EQ(0, stale(&self->fn[n]));
			EXPECT_NE(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA, n + 1));
			EXPECT_EQ(0, self->page[0]);
		}
	}
}

/* The commands for one page, at each IOMMU: one for the TLB, one for each ATC, their waits */
TEST_F(vfio_dma, unmap_costs)
{
	uint64_t tlb[MAX_FNS], atc[MAX_FNS];
	unsigned int n;

	for (n = 0; n < self->nr; n++)
		ASSERT_TRUE(attach(self, variant->type1, n));
	/* So that no table is freed with the page */
	ASSERT_EQ(0, map(self, variant->type1, IOVA + PAGE));
	ASSERT_EQ(0, map(self, variant->type1, IOVA));
	for (n = 0; n < self->nr; n++) {
		EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA, 1));
		tlb[n] = counter(&self->fn[n], SVADEV_U_IOTLB_RANGE) +
			 counter(&self->fn[n], SVADEV_U_IOTLB_TAG);
		atc[n] = counter(&self->fn[n], SVADEV_C_INV_UNTAGGED);
	}
	ASSERT_EQ(0, unmap(self, variant->type1, IOVA));
	for (n = 0; n < self->nr; n++) {
		EXPECT_EQ(tlb[n] + 1, counter(&self->fn[n], SVADEV_U_IOTLB_RANGE) +
				      counter(&self->fn[n], SVADEV_U_IOTLB_TAG));
		EXPECT_EQ(atc[n] + 1, counter(&self->fn[n], SVADEV_C_INV_UNTAGGED));
		EXPECT_EQ(0, stale(&self->fn[n]));
	}
}

/* --- dirty pages --- */

static bool can_track(unsigned int n)
{
	const char *digits = getenv("SVA_DIRTY");

	return digits && n < strlen(digits) && digits[n] == '1';
}

/* A page table that tracks them. Returns an errno. */
static int alloc_tracking(FIXTURE_DATA(vfio_dma) *self, unsigned int n, uint32_t *pt)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = self->fn[n].id, .pt_id = self->ioas,
	};

	if (ioctl(self->fd, IOMMU_HWPT_ALLOC, &alloc))
		return errno;
	*pt = alloc.out_hwpt_id;
	return 0;
}

static int attach_to(struct fn *f, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = pt };

	return ioctl(f->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? errno : 0;
}

/* Which of two pages were written since it was called last, as bits; or -1 */
static int dirty(FIXTURE_DATA(vfio_dma) *self, uint32_t pt)
{
	uint64_t bits = 0;
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = pt, .iova = IOVA, .length = 2 * PAGE,
		.page_size = PAGE, .data = (uintptr_t)&bits,
	};

	return ioctl(self->fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get) ? -1 : (int)(bits & 3);
}

/*
 * A page table that tracks writes is not for an IOMMU that cannot, whose function keeps what it
 * has; and it tells of the writes behind all others, again after it was asked.
 */
TEST_F(vfio_dma, dirty)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	unsigned int n, round;

	if (variant->type1)
		SKIP(return, "type1 does not ask the IOMMU");
	for (n = 0; n < self->nr; n++) {
		ASSERT_TRUE(attach(self, false, n));
		if (!can_track(n))
			EXPECT_EQ(EOPNOTSUPP, alloc_tracking(self, n, &set.hwpt_id));
	}
	if (!can_track(0))
		return;
	ASSERT_EQ(0, alloc_tracking(self, 0, &set.hwpt_id));
	for (n = 0; n < self->nr; n++)
		EXPECT_EQ(can_track(n) ? 0 : EINVAL, attach_to(&self->fn[n], set.hwpt_id));
	ASSERT_EQ(0, map(self, false, IOVA));
	ASSERT_EQ(0, map(self, false, IOVA + PAGE));
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	EXPECT_EQ(0, dirty(self, set.hwpt_id));
	for (round = 0; round < 3; round++)
		for (n = 0; n < self->nr; n++) {
			EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA + n % 2 * PAGE, n + 1));
			EXPECT_EQ(n + 1, self->page[0]);
			EXPECT_EQ(can_track(n) ? 1 << n % 2 : 0, dirty(self, set.hwpt_id));
			EXPECT_EQ(0, dirty(self, set.hwpt_id));
		}
}

/* Whoever holds the page table dies while a function may still work. */
TEST_F(vfio_dma, closed_while_mapped)
{
	unsigned int n;

	for (n = 0; n < self->nr; n++)
		ASSERT_TRUE(attach(self, variant->type1, n));
	ASSERT_EQ(0, map(self, variant->type1, IOVA));
	for (n = 0; n < self->nr; n++)
		EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA, 1));
	fn_close(&self->fn[0]);
	for (n = 1; n < self->nr; n++) {
		EXPECT_EQ(SVADEV_ERR_NONE, fill(&self->fn[n], IOVA, n + 1));
		EXPECT_EQ(n + 1, self->page[0]);
		EXPECT_EQ(0, stale(&self->fn[n]));
	}
}

TEST_HARNESS_MAIN
