/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helpers of the tests that drive svadev, QEMU's test function for Shared
 * Virtual Addressing.
 *
 * A test uses every function that it finds, through the character devices of
 * the kernel's uacce framework. As root it looks behind them too: at BAR 0,
 * which holds the counters of each function and of the IOMMU in front of it,
 * and where VERIFY compares every cached translation with the page table.
 *
 * "No stale entry" is a promise about the time after a system call that
 * changed the page table has returned, while nobody else changes it.
 *
 * With SVADEV_DROP="kind:n" in the environment (kind is iotlb, atc or config)
 * each IOMMU loses the n-th command of that kind that a SVA_CHANGE() causes.
 * The kernel is innocent then, and the tests have to fail all the same:
 *
 *   iotlb:1	sva_map, sva_fork, sva_exit, sva_multi, sva_bind, sva_window
 *   atc:1	sva_map, sva_fork, sva_exit, sva_multi, sva_window, but for
 *		accesses that are not translated in advance
 *   config:1	sva_bind (dma_after_last_close)
 *
 * What is lost is lost for good. Memory that a function could still write to
 * must therefore not be freed before sva_teardown() has had the caches emptied.
 */
#ifndef __SELFTEST_IOMMU_SVA_UTILS_H
#define __SELFTEST_IOMMU_SVA_UTILS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#include <misc/uacce/svadev.h>
#include <misc/uacce/uacce.h>

#define SVA_MAX_DEVS	8
#define SVA_PAGE	4096UL
#define SVA_TIMEOUT_S	30	/* for one operation: emulation can be slow */

/* How the functions reach memory */
enum sva_mode {
	SVA_PRI,		/* ATS; a page that is not there is requested */
	SVA_ATS,		/* ATS; such a page is an error */
	SVA_UNTRANSLATED,	/* the IOMMU translates each access */
};

/**
 * struct sva_dev - one function
 * @name: of its character device in /dev
 * @pci: address of its PCI function
 * @ctl: BAR 0
 * @pages: BAR 2, for queues that root takes behind the driver's back
 * @size: bytes in @ctl and @pages
 * @nr_queues: that it has
 * @unit: number of the IOMMU in front of it
 * @ats: address translation services are on
 * @pri: page requests are on
 */
struct sva_dev {
	char name[32];
	char pci[32];
	char *ctl;
	char *pages;
	size_t size[2];
	unsigned int nr_queues;
	uint64_t unit;
	bool ats;
	bool pri;
};

/**
 * struct sva_queue - one queue
 * @dev: whose
 * @fd: open file, -1 for a queue taken by root
 * @id: number of the queue, only if taken by root
 * @page: its registers
 */
struct sva_queue {
	struct sva_dev *dev;
	int fd;
	unsigned int id;
	char *page;
};

/**
 * struct sva - all functions
 * @dev: sorted by IOMMU
 * @nr: number of them
 * @mode: how they reach memory, by the choice of the test
 * @q: one queue each, from sva_open_all() to sva_close_all()
 * @end: the end of these
 * @evicted: what sva_evicted() was when the test began
 */
struct sva {
	struct sva_dev dev[SVA_MAX_DEVS];
	unsigned int nr;
	enum sva_mode mode;
	struct sva_queue q[SVA_MAX_DEVS];
	struct sva_queue *end;
	uint64_t evicted;
};

/* Invalidation commands, summed over the IOMMUs in front of our functions */
struct sva_counts {
	uint64_t iotlb_range;
	uint64_t iotlb_tag;
	uint64_t iotlb_all;
	uint64_t atc_range;
	uint64_t atc_all;
	uint64_t config;
	uint64_t sync;
	uint64_t dropped;
	uint64_t late;
	uint64_t timeouts;
};

/* Registers: one access of 8 bytes each, in program order */
static inline uint64_t sva_read(const char *base, unsigned int reg)
{
	return __atomic_load_n((const uint64_t *)(base + reg), __ATOMIC_ACQUIRE);
}

static inline void sva_write(char *base, unsigned int reg, uint64_t v)
{
	__atomic_store_n((uint64_t *)(base + reg), v, __ATOMIC_RELEASE);
}

/* --- finding the functions --- */

static inline int sva_pci_open(const struct sva_dev *d, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", d->pci, file);
	return open(path, O_RDWR | O_SYNC | O_CLOEXEC);
}

static inline char *sva_map_bar(struct sva_dev *d, int bar, size_t *size)
{
	char file[16];
	void *p;
	int fd;

	snprintf(file, sizeof(file), "resource%d", bar);
	fd = sva_pci_open(d, file);
	if (fd < 0)
		return NULL;
	*size = lseek(fd, 0, SEEK_END);
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* Offset of the extended capability @id in the configuration space, or 0 */
static inline unsigned int sva_pci_ext_cap(int fd, unsigned int id)
{
	unsigned int pos = 0x100, n;
	uint32_t header;

	for (n = 0; n < 64 && pos >= 0x100; n++) {
		if (pread(fd, &header, sizeof(header), pos) != sizeof(header))
			return 0;
		if ((header & 0xffff) == id)
			return pos;
		pos = header >> 20;
	}
	return 0;
}

static inline bool sva_pci_enabled(int fd, unsigned int id, unsigned int reg,
				   uint16_t bit)
{
	unsigned int pos = sva_pci_ext_cap(fd, id);
	uint16_t ctrl;

	return pos && pread(fd, &ctrl, 2, pos + reg) == 2 && (ctrl & bit);
}

static inline const char *sva_dev_init(struct sva_dev *d)
{
	int fd = sva_pci_open(d, "config");

	if (fd < 0)
		return "needs root, for the registers of the function";
	d->ats = sva_pci_enabled(fd, 0x0f, 6, 0x8000);
	d->pri = sva_pci_enabled(fd, 0x13, 4, 0x0001);
	close(fd);

	d->ctl = sva_map_bar(d, SVADEV_BAR_CONTROL, &d->size[0]);
	d->pages = sva_map_bar(d, SVADEV_BAR_QUEUES, &d->size[1]);
	if (!d->ctl || !d->pages)
		return "the registers of the function cannot be mapped";
	if (sva_read(d->ctl, SVADEV_ID) != SVADEV_ID_MAGIC)
		return "the function is of another version";
	d->nr_queues = sva_read(d->ctl, SVADEV_CAPS) & SVADEV_CAPS_QUEUES;
	d->unit = sva_read(d->ctl, SVADEV_UNIT);
	return NULL;
}

static inline void sva_dev_address(struct sva_dev *d)
{
	char path[128], target[PATH_MAX] = "";

	snprintf(path, sizeof(path), "/sys/class/uacce/%s/device", d->name);
	if (readlink(path, target, sizeof(target) - 1) > 0)
		snprintf(d->pci, sizeof(d->pci), "%.31s", basename(target));
}

static inline int sva_dev_order(const void *a, const void *b)
{
	const struct sva_dev *x = a, *y = b;

	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	return strcmp(x->pci, y->pci);
}

/*
 * All functions, those behind one IOMMU together. Returns NULL, or what is
 * missing.
 */
static inline const char *sva_find(struct sva *s)
{
	DIR *dir = opendir("/sys/class/uacce");
	const char *why = NULL;
	struct dirent *e;

	s->nr = 0;
	while (dir && !why && s->nr < SVA_MAX_DEVS && (e = readdir(dir))) {
		struct sva_dev *d = &s->dev[s->nr];

		if (strncmp(e->d_name, "svadev-", 7))
			continue;
		snprintf(d->name, sizeof(d->name), "%.31s", e->d_name);
		sva_dev_address(d);
		why = sva_dev_init(d);
		s->nr++;
	}
	if (dir)
		closedir(dir);
	if (why)
		return why;
	qsort(s->dev, s->nr, sizeof(s->dev[0]), sva_dev_order);
	return s->nr ? NULL : "no /dev/svadev-*";
}

/* First function behind its IOMMU: where to ask for what the IOMMU counts */
static inline bool sva_first_of_unit(const struct sva *s, unsigned int i)
{
	return !i || s->dev[i].unit != s->dev[i - 1].unit;
}

static inline unsigned int sva_units(const struct sva *s)
{
	unsigned int i, units = 0;

	for (i = 0; i < s->nr; i++)
		units += sva_first_of_unit(s, i);
	return units;
}

/* --- queues --- */

/* 0, or a negative errno as the kernel gave it. The queue runs. */
static inline int sva_open(struct sva_queue *q, struct sva_dev *d)
{
	char path[64];
	void *p;
	int err;

	*q = (struct sva_queue){ .dev = d };
	snprintf(path, sizeof(path), "/dev/%s", d->name);
	q->fd = open(path, O_RDWR | O_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	p = mmap(NULL, SVADEV_QPAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		 q->fd, UACCE_QFRT_MMIO * SVADEV_QPAGE_SIZE);
	if (p != MAP_FAILED && !ioctl(q->fd, UACCE_CMD_START_Q)) {
		q->page = p;
		return 0;
	}
	err = -errno;
	if (p != MAP_FAILED)
		munmap(p, SVADEV_QPAGE_SIZE);
	close(q->fd);
	return err;
}

static inline void sva_close(struct sva_queue *q)
{
	munmap(q->page, SVADEV_QPAGE_SIZE);
	close(q->fd);
}

/* For this mm, a queue at every function */
static inline bool sva_open_all(struct sva *s)
{
	int err = 0;

	for (s->end = s->q; s->end < s->q + s->nr; s->end++) {
		err = sva_open(s->end, &s->dev[s->end - s->q]);
		if (err)
			break;
	}
	return !err;
}

static inline void sva_close_all(struct sva *s)
{
	while (s->end > s->q)
		sva_close(--s->end);
}

static inline uint64_t sva_reg(struct sva_queue *q, unsigned int reg)
{
	return sva_read(q->page, reg);
}

/* A counter of the function or of its IOMMU, by its offset in BAR 0 */
static inline uint64_t sva_counter(struct sva_dev *d, unsigned int counter)
{
	return sva_read(d->ctl, counter);
}

/*
 * A queue with whatever PASID root wants, without the kernel: the way to ask
 * for DMA with a PASID that nobody is bound to any more. The driver gives out
 * the last queue last, so this one is free unless all are in use.
 */
static inline void sva_take(struct sva_queue *q, struct sva_dev *d, uint32_t pasid)
{
	unsigned int id = d->nr_queues - 1;

	*q = (struct sva_queue){ .dev = d, .fd = -1, .id = id };
	q->page = d->pages + id * SVADEV_QPAGE_SIZE;
	sva_write(d->ctl, SVADEV_QCTL(id) + SVADEV_QCTL_PASID, pasid);
	sva_write(d->ctl, SVADEV_QCTL(id) + SVADEV_QCTL_ENABLE, 1);
}

static inline void sva_give_back(struct sva_queue *q)
{
	char *ctl = q->dev->ctl + SVADEV_QCTL(q->id);
	unsigned int n;

	sva_write(ctl, SVADEV_QCTL_ENABLE, 0);
	for (n = 0; n < 100000 && sva_read(ctl, SVADEV_QCTL_BUSY); n++)
		usleep(100);
	sva_write(ctl, SVADEV_QCTL_PASID, SVADEV_PASID_NONE);
}

/* --- operations --- */

static inline double sva_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void sva_submit(struct sva_queue *q, uint64_t op, uint64_t flags,
			      const void *src, void *dst, uint64_t len,
			      uint64_t arg)
{
	sva_write(q->page, SVADEV_Q_OP, op);
	sva_write(q->page, SVADEV_Q_FLAGS, flags);
	sva_write(q->page, SVADEV_Q_SRC, (uintptr_t)src);
	sva_write(q->page, SVADEV_Q_DST, (uintptr_t)dst);
	sva_write(q->page, SVADEV_Q_LEN, len);
	sva_write(q->page, SVADEV_Q_ARG, arg);
	sva_write(q->page, SVADEV_Q_DOORBELL, 1);
}

/* Waits until the state is @state or the operation is over; -1: it was not. */
static inline int sva_wait_state(struct sva_queue *q, uint64_t state)
{
	double end = sva_now() + SVA_TIMEOUT_S;
	uint64_t now;

	do {
		now = sva_reg(q, SVADEV_Q_STATE);
		if (now == state)
			return 0;
		if (now == SVADEV_STATE_DONE || now == SVADEV_STATE_ERROR)
			return -1;
		usleep(20);
	} while (sva_now() < end);

	fprintf(stderr, "# %s: state %llu, wanted %llu\n", q->dev->name,
		(unsigned long long)now, (unsigned long long)state);
	return -1;
}

/* SVADEV_ERR_*, or -ETIMEDOUT */
static inline int sva_wait(struct sva_queue *q)
{
	if (!sva_wait_state(q, SVADEV_STATE_DONE))
		return SVADEV_ERR_NONE;
	if (sva_reg(q, SVADEV_Q_STATE) == SVADEV_STATE_ERROR)
		return sva_reg(q, SVADEV_Q_ERROR);
	return -ETIMEDOUT;
}

static inline int sva_do(struct sva_queue *q, uint64_t op, uint64_t flags,
			 const void *src, void *dst, uint64_t len, uint64_t arg)
{
	sva_submit(q, op, flags, src, dst, len, arg);
	return sva_wait(q);
}

static inline int sva_copy(struct sva_queue *q, void *dst, const void *src,
			   size_t len)
{
	return sva_do(q, SVADEV_OP_COPY, 0, src, dst, len, 0);
}

static inline int sva_fill(struct sva_queue *q, void *dst, int byte, size_t len)
{
	return sva_do(q, SVADEV_OP_FILL, 0, NULL, dst, len, byte);
}

/* The device's view of memory: *@sum of the bytes there */
static inline int sva_sum(struct sva_queue *q, const void *src, size_t len,
			  uint64_t *sum)
{
	int err = sva_do(q, SVADEV_OP_SUM, 0, src, NULL, len, 0);

	*sum = sva_reg(q, SVADEV_Q_RESULT);
	return err;
}

/* The same, where all of them are expected to be @byte */
static inline bool sva_sees(struct sva_queue *q, const void *p, int byte,
			    size_t len)
{
	uint64_t sum;
	int err = sva_sum(q, p, len, &sum);

	if (!err && sum == byte * len)
		return true;
	fprintf(stderr, "# %s at %p: error %d, sum %llu, wanted %llu\n",
		q->dev->name, p, err, (unsigned long long)sum,
		(unsigned long long)(byte * len));
	return false;
}

/* Every function writes all of it and reads it, so that it is in all caches. */
static inline bool sva_warm_up(struct sva *s, char *p, int byte, size_t len)
{
	struct sva_queue *q;

	for (q = s->q; q < s->end; q++)
		if (sva_fill(q, p, byte, len) || !sva_sees(q, p, byte, len))
			return false;
	return true;
}

/* Translates, and stops with the translations in hand until sva_release() */
static inline int sva_hold(struct sva_queue *q, uint64_t op, const void *src,
			   void *dst, uint64_t len, uint64_t arg)
{
	sva_submit(q, op, SVADEV_FLAG_HOLD, src, dst, len, arg);
	return sva_wait_state(q, SVADEV_STATE_HELD);
}

static inline int sva_release(struct sva_queue *q)
{
	sva_write(q->page, SVADEV_Q_RELEASE, 1);
	return sva_wait(q);
}

/* --- errors --- */

static inline const char *sva_error_string(int err)
{
	static const char * const text[] = {
		"no error", "no such operation", "bad length", "not mapped",
		"page refused", "page request failed", "refused by the IOMMU",
		"bus error", "aborted",
	};

	if (err < 0)
		return strerror(-err);
	return (size_t)err < ARRAY_SIZE(text) ? text[err] : "?";
}

/* Is @err how an access ends that the page table does not allow? */
static inline bool sva_is_fault(const struct sva *s, int err)
{
	static const int expected[] = {
		[SVA_PRI] = SVADEV_ERR_PRI_INVALID,
		[SVA_ATS] = SVADEV_ERR_NOT_MAPPED,
		[SVA_UNTRANSLATED] = SVADEV_ERR_DMA,
	};

	if (err == expected[s->mode])
		return true;
	fprintf(stderr, "# access ended with: %s\n", sva_error_string(err));
	return false;
}

/* The same for a PASID that is not, or no longer, bound. */
static inline bool sva_is_refused(int err)
{
	if (err == SVADEV_ERR_REFUSED || err == SVADEV_ERR_DMA ||
	    err == SVADEV_ERR_PRI_INVALID || err == SVADEV_ERR_PRI_FAILURE)
		return true;
	fprintf(stderr, "# access with a PASID that is not bound: %s\n",
		sva_error_string(err));
	return false;
}

static inline bool sva_faulted_at(struct sva_queue *q, const void *p)
{
	uint64_t fault = sva_reg(q, SVADEV_Q_FAULT) & ~SVADEV_FAULT_WRITE;

	if (fault / SVA_PAGE == (uintptr_t)p / SVA_PAGE)
		return true;
	fprintf(stderr, "# fault at %#llx, expected at %p\n",
		(unsigned long long)fault, p);
	return false;
}

/* --- what the IOMMUs did --- */

/* Cached entries that made room for others, without an invalidation */
static inline uint64_t sva_evicted(const struct sva *s)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		n += sva_read(s->dev[i].ctl, SVADEV_C_EVICTED);
		if (sva_first_of_unit(s, i))
			n += sva_read(s->dev[i].ctl, SVADEV_U_EVICTED);
	}
	return n;
}

/*
 * Entries of any PASID, in any ATC and IOTLB, that the page table disowns. One
 * that was evicted since the test began counts, too: it can have been stale.
 */
static inline uint64_t sva_stale(struct sva *s)
{
	uint64_t stale = 0, n;
	unsigned int i;

	n = sva_evicted(s);
	if (n > s->evicted) {
		stale = n - s->evicted;
		fprintf(stderr, "# %llu entries evicted from caches too small for the test\n",
			(unsigned long long)stale);
	}

	for (i = 0; i < s->nr; i++) {
		char *ctl = s->dev[i].ctl;

		sva_write(ctl, SVADEV_VERIFY, SVADEV_PASID_ALL);
		n = sva_read(ctl, SVADEV_VERIFY_STALE);
		if (n)
			fprintf(stderr, "# %s: %llu stale, at %#llx in %#llx\n",
				s->dev[i].name, (unsigned long long)n,
				(unsigned long long)sva_read(ctl, SVADEV_VERIFY_ADDR),
				(unsigned long long)sva_read(ctl, SVADEV_VERIFY_WHERE));
		stale += n;
	}
	return stale;
}

#define ASSERT_CLEAN(s)	ASSERT_EQ(0, sva_stale(s))
#define EXPECT_CLEAN(s)	EXPECT_EQ(0, sva_stale(s))

static inline void sva_count(const struct sva *s, struct sva_counts *c)
{
	unsigned int i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < s->nr; i++) {
		char *ctl = s->dev[i].ctl;

		if (!sva_first_of_unit(s, i))
			continue;
		c->iotlb_range += sva_read(ctl, SVADEV_U_IOTLB_RANGE);
		c->iotlb_tag += sva_read(ctl, SVADEV_U_IOTLB_TAG);
		c->iotlb_all += sva_read(ctl, SVADEV_U_IOTLB_ALL);
		c->atc_range += sva_read(ctl, SVADEV_U_ATC_RANGE);
		c->atc_all += sva_read(ctl, SVADEV_U_ATC_ALL);
		c->config += sva_read(ctl, SVADEV_U_CONFIG);
		c->sync += sva_read(ctl, SVADEV_U_SYNC);
		c->dropped += sva_read(ctl, SVADEV_U_DROPPED);
		c->late += sva_read(ctl, SVADEV_U_LATE);
		c->timeouts += sva_read(ctl, SVADEV_U_TIMEOUT);
	}
}

/* *@c = what has been issued since @c was taken */
static inline void sva_count_since(const struct sva *s, struct sva_counts *c)
{
	struct sva_counts now;

	sva_count(s, &now);
	c->iotlb_range = now.iotlb_range - c->iotlb_range;
	c->iotlb_tag = now.iotlb_tag - c->iotlb_tag;
	c->iotlb_all = now.iotlb_all - c->iotlb_all;
	c->atc_range = now.atc_range - c->atc_range;
	c->atc_all = now.atc_all - c->atc_all;
	c->config = now.config - c->config;
	c->sync = now.sync - c->sync;
	c->dropped = now.dropped - c->dropped;
	c->late = now.late - c->late;
	c->timeouts = now.timeouts - c->timeouts;
}

/* Invalidations without PASID, which take what all others have cached, too */
static inline uint64_t sva_untagged(const struct sva *s)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		n += sva_read(s->dev[i].ctl, SVADEV_C_INV_UNTAGGED);
	return n;
}

/* --- losing an invalidation on purpose --- */

/* For SVADEV_INJECT, or 0 */
static inline uint64_t sva_drop(void)
{
	static const struct {
		const char *name;
		uint64_t kind;
	} kinds[] = {
		{ "iotlb:", SVADEV_INJECT_IOTLB },
		{ "atc:", SVADEV_INJECT_ATC },
		{ "config:", SVADEV_INJECT_CONFIG },
	};
	const char *env = getenv("SVADEV_DROP");
	size_t i, len;

	for (i = 0; env && i < ARRAY_SIZE(kinds); i++) {
		len = strlen(kinds[i].name);
		if (!strncmp(env, kinds[i].name, len))
			return kinds[i].kind | strtoull(env + len, NULL, 0) << 32;
	}
	return 0;
}

static inline void sva_inject(const struct sva *s, uint64_t what)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			sva_write(s->dev[i].ctl, SVADEV_INJECT, what);
}

static inline void sva_change_begin(const struct sva *s, struct sva_counts *c)
{
	sva_count(s, c);
	if (sva_drop())
		sva_inject(s, sva_drop());
}

static inline void sva_change_end(const struct sva *s, struct sva_counts *c)
{
	sva_count_since(s, c);
	if (!sva_drop())
		return;
	sva_inject(s, 0);
	fprintf(stderr, "# lost on purpose: %llu commands\n",
		(unsigned long long)c->dropped);
}

/*
 * A change of the page table, under the eyes of SVADEV_DROP. *@counts = the
 * commands that it caused.
 */
#define SVA_COUNTED(s, counts, call) ({					\
	struct sva_counts *__counts = (counts);				\
	const struct sva *__s = (s);					\
									\
	sva_change_begin(__s, __counts);				\
	__auto_type __ret = (call);					\
	sva_change_end(__s, __counts);					\
	__ret;								\
})

#define SVA_CHANGE(s, call) ({						\
	struct sva_counts __ignored;					\
									\
	SVA_COUNTED(s, &__ignored, call);				\
})

/* --- IOMMUs that are late, and functions that do not answer --- */

#define SVA_MS	1000000ULL	/* in ns */

/*
 * From now on the function's IOMMU takes @ns for a command of @kind,
 * SVADEV_INJECT_* or SVADEV_LATE_SYNC. What is late already is carried out at
 * once.
 */
static inline void sva_late_at(struct sva_dev *d, uint64_t kind, uint64_t ns)
{
	sva_write(d->ctl, SVADEV_LATE, kind | ns << 32);
}

/* All of them */
static inline void sva_late(struct sva *s, uint64_t kind, uint64_t ns)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			sva_late_at(&s->dev[i], kind, ns);
}

static inline void sva_on_time(struct sva *s)
{
	sva_late(s, 0, 0);
}

/* Waits until a command is late that was not when @before was read. */
static inline bool sva_wait_late(struct sva_dev *d, uint64_t before)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	while (sva_counter(d, SVADEV_U_LATE) == before)
		if (sva_now() > end)
			return false;
	return true;
}

/* The function neither obeys nor answers the next @n invalidations. */
static inline void sva_mute(struct sva_dev *d, uint64_t n)
{
	sva_write(d->ctl, SVADEV_MUTE, n);
}

/* --- functions that go and come --- */

static inline bool sva_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(text);
	bool ok = fd >= 0 && write(fd, text, len) == len;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* A file of the PCI function */
static inline bool sva_pci_write(const struct sva_dev *d, const char *file,
				 const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", d->pci, file);
	return sva_write_file(path, text);
}

static inline void sva_dev_unmap(struct sva_dev *d)
{
	munmap(d->ctl, d->size[0]);
	munmap(d->pages, d->size[1]);
}

/* svadev has been bound to it again: what is its name now? */
static inline bool sva_find_again(struct sva_dev *d)
{
	double end = sva_now() + SVA_TIMEOUT_S;
	struct dirent *e = NULL;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/uacce", d->pci);
	while (!(dir = opendir(path)))
		if (sva_now() > end)
			return false;
	do
		e = readdir(dir);
	while (e && e->d_name[0] == '.');
	if (e)
		snprintf(d->name, sizeof(d->name), "%.31s", e->d_name);
	closedir(dir);
	return e && !sva_dev_init(d);
}

/* Back again as it was at boot. Only with one CPU: see sva_window.c. */
static inline bool sva_remove_and_rescan(struct sva_dev *d)
{
	sva_dev_unmap(d);
	return sva_pci_write(d, "remove", "1") &&
	       sva_write_file("/sys/bus/pci/rescan", "1") && sva_find_again(d);
}

/* --- set up and clean up of a test --- */

/* What @mode wants and one of the functions lacks, or NULL */
static inline const char *sva_lacks(const struct sva *s, enum sva_mode mode)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (mode != SVA_UNTRANSLATED && !s->dev[i].ats)
			return "a function has no ATS";
		if (mode == SVA_PRI && !s->dev[i].pri)
			return "a function has no page requests";
	}
	return NULL;
}

static inline void sva_set_mode(struct sva *s, enum sva_mode mode)
{
	static const uint64_t ctrl[] = {
		[SVA_PRI] = 0,
		[SVA_ATS] = SVADEV_CTRL_NO_PRI,
		[SVA_UNTRANSLATED] = SVADEV_CTRL_NO_ATS | SVADEV_CTRL_NO_PRI,
	};
	unsigned int i;

	s->mode = mode;
	for (i = 0; i < s->nr; i++) {
		sva_write(s->dev[i].ctl, SVADEV_STEP, SVA_PAGE);
		sva_write(s->dev[i].ctl, SVADEV_CTRL, ctrl[mode]);
		sva_mute(&s->dev[i], 0);
	}
	sva_inject(s, 0);
	sva_on_time(s);
}

/* Can this process be bound? NULL, or what the kernel says. */
static inline const char *sva_refusal(struct sva *s)
{
	static char text[80];
	struct sva_queue q;
	unsigned int i;
	int err;

	for (i = 0; i < s->nr; i++) {
		err = sva_open(&q, &s->dev[i]);
		if (err) {
			snprintf(text, sizeof(text), "open of %s: %s",
				 s->dev[i].name, strerror(-err));
			return text;
		}
		sva_close(&q);
	}
	return NULL;
}

/* NULL, or why the test cannot run here */
static inline const char *sva_setup(struct sva *s, enum sva_mode mode)
{
	const char *why = sva_find(s);

	if (!why)
		why = sva_lacks(s, mode);
	if (!why) {
		sva_set_mode(s, mode);
		why = sva_refusal(s);
		s->evicted = sva_evicted(s);
	}
	return why;
}

/* Binds and unbinds, which flushes whatever is cached for the PASID. */
static inline void sva_flush_pasid(struct sva *s)
{
	sva_open_all(s);
	sva_close_all(s);
}

/*
 * After something was lost on purpose: a PASID that is ours, and one of a
 * process that is dead, which is the next to be given out.
 */
static inline void sva_heal(struct sva *s)
{
	pid_t pid;

	sva_flush_pasid(s);
	usleep(200000);
	pid = fork();
	if (!pid) {
		sva_flush_pasid(s);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Leaves the functions as a reset does. Our queues are closed. */
static inline void sva_teardown(struct sva *s)
{
	unsigned int i;

	sva_set_mode(s, SVA_PRI);
	if (sva_drop())
		sva_heal(s);
	for (i = 0; i < s->nr; i++)
		sva_dev_unmap(&s->dev[i]);
}

/* --- memory --- */

/*
 * @n pages, each touched so that it is there for a function without PRI.
 * Aligned, with nothing around: an IOMMU invalidates aligned powers of two, and
 * what it forgets for a neighbour would hide what it was not told to forget.
 */
static inline char *sva_pages(unsigned int n, int byte)
{
	size_t room = 64 * SVA_PAGE;
	char *p;

	while (room < n * SVA_PAGE)
		room *= 2;
	p = mmap(NULL, 2 * room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + room - 1) & -room);
	if (mprotect(p, n * SVA_PAGE, PROT_READ | PROT_WRITE))
		return NULL;
	madvise(p, n * SVA_PAGE, MADV_NOHUGEPAGE);
	memset(p, byte, n * SVA_PAGE);
	return p;
}

/* Are all @len bytes at @p equal to @byte, in the eyes of the CPU? */
static inline bool sva_all(const char *p, int byte, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] == (char)byte)
			continue;
		fprintf(stderr, "# byte %zu is %#x, expected %#x\n", i,
			(unsigned char)p[i], (unsigned char)byte);
		return false;
	}
	return true;
}

#endif
