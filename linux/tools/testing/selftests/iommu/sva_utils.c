// SPDX-License-Identifier: GPL-2.0-or-later
/* Helpers of the tests that drive svadev: see sva_utils.h. */
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "sva_utils.h"

/* --- finding the functions --- */

static int sva_pci_open(const struct sva_dev *d, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", d->pci, file);
	return open(path, O_RDWR | O_SYNC | O_CLOEXEC);
}

static char *sva_map_bar(struct sva_dev *d, int bar, size_t *size)
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
static unsigned int sva_pci_ext_cap(int fd, unsigned int id)
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

static bool sva_pci_enabled(int fd, unsigned int id, unsigned int reg,
			    uint16_t bit)
{
	unsigned int pos = sva_pci_ext_cap(fd, id);
	uint16_t ctrl;

	return pos && pread(fd, &ctrl, 2, pos + reg) == 2 && (ctrl & bit);
}

/* Is it on now, SVA_ATS or SVA_PRI? */
static bool sva_dev_has(const struct sva_dev *d, enum sva_mode what)
{
	int fd = sva_pci_open(d, "config");
	bool on;

	if (fd < 0)
		return false;
	on = what == SVA_ATS ? sva_pci_enabled(fd, 0x0f, 6, 0x8000) :
			       sva_pci_enabled(fd, 0x13, 4, 0x0001);
	close(fd);
	return on;
}

static const char *sva_dev_init(struct sva_dev *d)
{
	struct sva_queue q;
	bool bound;

	if (geteuid())
		return "needs root, for the registers of the function";
	/* SMMUv3's driver can turn it on with the first bind. */
	bound = SVA_SMMU && !sva_dev_has(d, SVA_ATS) && !sva_open(&q, d);
	d->ats = sva_dev_has(d, SVA_ATS);
	d->pri = sva_dev_has(d, SVA_PRI);
	if (bound)
		sva_close(&q);

	d->ctl = sva_map_bar(d, SVADEV_BAR_CONTROL, &d->size[0]);
	d->pages = sva_map_bar(d, SVADEV_BAR_QUEUES, &d->size[1]);
	if (!d->ctl || !d->pages)
		return "the registers of the function cannot be mapped";
	if (sva_read(d->ctl, SVADEV_ID) != SVADEV_ID_MAGIC)
		return "the function is of another version";
	d->nr_queues = sva_read(d->ctl, SVADEV_CAPS) & SVADEV_CAPS_QUEUES;
	d->unit = sva_read(d->ctl, SVADEV_UNIT);
	d->stalls = !d->ats && sva_read(d->ctl, SVADEV_U_STALL_MAX);
	return NULL;
}

static void sva_dev_address(struct sva_dev *d)
{
	char path[128], target[PATH_MAX] = "";

	snprintf(path, sizeof(path), "/sys/class/uacce/%s/device", d->name);
	if (readlink(path, target, sizeof(target) - 1) > 0)
		snprintf(d->pci, sizeof(d->pci), "%.31s", basename(target));
}

static int sva_dev_order(const void *a, const void *b)
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
const char *sva_find(struct sva *s)
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

unsigned int sva_units(const struct sva *s)
{
	unsigned int i, units = 0;

	for (i = 0; i < s->nr; i++)
		units += sva_first_of_unit(s, i);
	return units;
}

/* Units are numbered here from 0 on, in the order of the functions. */
unsigned int sva_unit_of(const struct sva *s, const struct sva_dev *d)
{
	unsigned int i, unit = 0;

	for (i = 1; i <= d - s->dev; i++)
		unit += sva_first_of_unit(s, i);
	return unit;
}

/* Functions behind that unit */
unsigned int sva_functions_of(const struct sva *s, unsigned int unit)
{
	unsigned int i, n = 0;

	for (i = 0; i < s->nr; i++)
		n += sva_unit_of(s, &s->dev[i]) == unit;
	return n;
}

/* Those of them whose translations it has to invalidate */
unsigned int sva_atcs_of(const struct sva *s, unsigned int unit)
{
	unsigned int i, n = 0;

	for (i = 0; i < s->nr; i++)
		n += sva_unit_of(s, &s->dev[i]) == unit && s->dev[i].ats;
	return n;
}

#define SVA_BATCH	16	/* commands, of VT-d */

/* Waits for one event at that unit: one, or one for each batch if it has many */
unsigned int sva_waits_of(const struct sva *s, unsigned int unit)
{
	unsigned int atcs = sva_atcs_of(s, unit);

	if (SVA_SMMU)
		return 1 + !!atcs;
	return (1 + atcs + SVA_BATCH - 1) / SVA_BATCH;
}

/* --- queues --- */

/*
 * Where the page of a queue can be, aligned: an IOMMU that is told of its end forgets
 * nothing else then. See sva_pages().
 */
static void *sva_room_for_queue(void)
{
	const size_t len = SVADEV_QPAGE_SIZE;
	char *p, *room;

	p = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	room = (char *)(((uintptr_t)p + len - 1) & -len);
	if (room > p)
		munmap(p, room - p);
	munmap(room + len, p + len - room);
	return room;
}

/*
 * 0, or a negative errno as the kernel gave it. The queue runs. Its page is mapped at @at,
 * which is free and aligned, or NULL.
 */
int sva_open_at(struct sva_queue *q, struct sva_dev *d, void *at)
{
	const size_t len = SVADEV_QPAGE_SIZE;
	char path[64];
	void *p;
	int err;

	*q = (struct sva_queue){ .dev = d };
	snprintf(path, sizeof(path), "/dev/%s", d->name);
	q->fd = open(path, O_RDWR | O_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	at = at ?: sva_room_for_queue();
	p = !at ? MAP_FAILED : mmap(at, len, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_FIXED, q->fd,
				    UACCE_QFRT_MMIO * SVA_PAGE);
	if (p != MAP_FAILED && !ioctl(q->fd, UACCE_CMD_START_Q)) {
		q->page = p;
		return 0;
	}
	err = -errno;
	if (p != MAP_FAILED)
		munmap(p, len);
	close(q->fd);
	return err;
}

int sva_open(struct sva_queue *q, struct sva_dev *d)
{
	return sva_open_at(q, d, NULL);
}

void sva_close(struct sva_queue *q)
{
	munmap(q->page, SVADEV_QPAGE_SIZE);
	close(q->fd);
}

/* For this mm, a queue at every function */
bool sva_open_all(struct sva *s)
{
	int err = 0;

	for (s->end = s->q; s->end < s->q + s->nr; s->end++) {
		err = sva_open(s->end, &s->dev[s->end - s->q]);
		if (err)
			break;
	}
	return !err;
}

void sva_close_all(struct sva *s)
{
	while (s->end > s->q)
		sva_close(--s->end);
}

/* How many queues the kernel has to give, or -1 */
int sva_instances_left(const struct sva_dev *d)
{
	char path[128];
	int n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/uacce/%s/available_instances",
		 d->name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* The driver gives out the last queue last, so this one is free unless all are in use. */
static char *sva_last_queue(const struct sva_dev *d)
{
	return d->ctl + SVADEV_QCTL(d->nr_queues - 1);
}

/* Off, with nothing on the way, and for @pasid from now on; the PASID of one that is on stays. */
static bool sva_set_queue(char *ctl, uint32_t pasid)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	sva_write(ctl, SVADEV_QCTL_ENABLE, 0);
	while (sva_read(ctl, SVADEV_QCTL_BUSY)) {
		if (sva_now() > end)
			return false;
		usleep(100);
	}
	sva_write(ctl, SVADEV_QCTL_PASID, pasid);
	return sva_read(ctl, SVADEV_QCTL_PASID) == pasid;
}

/*
 * A queue with whatever PASID root wants, without the kernel: the way to ask
 * for DMA with a PASID that nobody is bound to any more.
 */
bool sva_take(struct sva_queue *q, struct sva_dev *d, uint32_t pasid)
{
	unsigned int id = d->nr_queues - 1;

	*q = (struct sva_queue){ .dev = d, .fd = -1, .id = id };
	q->page = d->pages + id * SVADEV_QPAGE_SIZE;
	if (sva_set_queue(sva_last_queue(d), pasid)) {
		sva_write(sva_last_queue(d), SVADEV_QCTL_ENABLE, 1);
		/*
		 * A CPU that sets no dirty bit takes a fault for the first write
		 * to a page, and flushes it: now, and not in a window of a test.
		 */
		sva_write(q->page, SVADEV_Q_ARG, 0);
		return sva_reg(q, SVADEV_Q_PASID) == pasid;
	}
	fprintf(stderr, "# %s: queue %u cannot have PASID %#x\n", d->name, id,
		pasid);
	return false;
}

void sva_give_back(struct sva_queue *q)
{
	sva_set_queue(sva_last_queue(q->dev), SVADEV_PASID_NONE);
}

/*
 * Nobody has one any more. That of a dead process goes with its memory, if it was mapped,
 * and that can be in the hands of a kernel thread for a while.
 */
bool sva_queues_come_back(const struct sva_dev *d, double seconds)
{
	double end = sva_now() + seconds;

	while (sva_instances_left(d) != d->nr_queues && sva_now() < end)
		usleep(1000);
	return sva_instances_left(d) == d->nr_queues;
}

/* What a test has left that ended early, so that it is of no other one */
static void sva_give_back_any(const struct sva_dev *d)
{
	if (sva_instances_left(d) > 0)
		sva_set_queue(sva_last_queue(d), SVADEV_PASID_NONE);
}

/* --- operations --- */

double sva_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void sva_submit(struct sva_queue *q, uint64_t op, uint64_t flags,
		const void *src, void *dst, uint64_t len, uint64_t arg)
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
int sva_wait_state(struct sva_queue *q, uint64_t state)
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
int sva_wait(struct sva_queue *q)
{
	if (!sva_wait_state(q, SVADEV_STATE_DONE))
		return SVADEV_ERR_NONE;
	if (sva_reg(q, SVADEV_Q_STATE) == SVADEV_STATE_ERROR)
		return sva_reg(q, SVADEV_Q_ERROR);
	return -ETIMEDOUT;
}

int sva_do(struct sva_queue *q, uint64_t op, uint64_t flags, const void *src,
	   void *dst, uint64_t len, uint64_t arg)
{
	sva_submit(q, op, flags, src, dst, len, arg);
	return sva_wait(q);
}

int sva_copy(struct sva_queue *q, void *dst, const void *src, size_t len)
{
	return sva_do(q, SVADEV_OP_COPY, 0, src, dst, len, 0);
}

int sva_fill(struct sva_queue *q, void *dst, int byte, size_t len)
{
	return sva_do(q, SVADEV_OP_FILL, 0, NULL, dst, len, byte);
}

/* The device's view of memory: *@sum of the bytes there */
int sva_sum(struct sva_queue *q, const void *src, size_t len, uint64_t *sum)
{
	int err = sva_do(q, SVADEV_OP_SUM, 0, src, NULL, len, 0);

	*sum = sva_reg(q, SVADEV_Q_RESULT);
	return err;
}

/* The same, where all of them are expected to be @byte */
bool sva_sees(struct sva_queue *q, const void *p, int byte, size_t len)
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

/* All of @p, of which @len bytes are used, is in the caches of these queues. */
static bool sva_cache_at(struct sva *s, struct sva_queue *begin,
			 struct sva_queue *end, char *p, int byte, size_t len)
{
	unsigned int tries;
	struct sva_queue *q;
	bool all = false;

	for (tries = 0; tries < SVA_TRIES && !all; tries++) {
		for (q = begin; q < end; q++) {
			if (tries)
				sva_do(q, SVADEV_OP_ATC_FLUSH, 0, NULL, NULL, 0, 0);
			if (sva_fill(q, p, byte, len) || !sva_sees(q, p, byte, len))
				return false;
		}
		all = true;
		for (q = begin; q < end; q++)
			all &= sva_is_cached(s, q->dev, sva_reg(q, SVADEV_Q_PASID),
					     p, len);
	}
	return all;
}

/*
 * Every function writes all of it and reads it, so that it is in all caches, which
 * is what is seen here.
 */
bool sva_warm_up(struct sva *s, char *p, int byte, size_t len)
{
	return sva_cache_at(s, s->q, s->end, p, byte, len);
}

/* The same with one queue, which can be root's */
bool sva_cache(struct sva *s, struct sva_queue *q, char *p, int byte, size_t len)
{
	return sva_cache_at(s, q, q + 1, p, byte, len);
}

/* Translates, and stops with the translations in hand until sva_release() */
int sva_hold(struct sva_queue *q, uint64_t op, const void *src, void *dst,
	     uint64_t len, uint64_t arg)
{
	sva_submit(q, op, SVADEV_FLAG_HOLD, src, dst, len, arg);
	return sva_wait_state(q, SVADEV_STATE_HELD);
}

int sva_release(struct sva_queue *q)
{
	sva_write(q->page, SVADEV_Q_RELEASE, 1);
	return sva_wait(q);
}

/* --- errors --- */

const char *sva_error_string(int err)
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

bool sva_is_error(int err, int expected)
{
	if (err == expected)
		return true;
	fprintf(stderr, "# access ended with: %s\n", sva_error_string(err));
	return false;
}

/* Is @err how an access ends that the page table does not allow? */
bool sva_is_fault(const struct sva *s, int err)
{
	static const int expected[] = {
		[SVA_PRI] = SVADEV_ERR_PRI_INVALID,
		[SVA_ATS] = SVADEV_ERR_NOT_MAPPED,
		[SVA_UNTRANSLATED] = SVADEV_ERR_DMA,
		[SVA_STALL] = SVADEV_ERR_DMA,
	};

	return sva_is_error(err, expected[s->mode]);
}

/* VT-d's: no entry in the PASID directory, none in the PASID table */
#define SVA_NO_DIRECTORY_ENTRY	0x51
#define SVA_NO_ENTRY		0x59
/* SMMUv3's: C_BAD_SUBSTREAMID, C_BAD_CD */
#define SVA_BAD_SUBSTREAMID	0x08
#define SVA_BAD_CD		0x0a

/* It is that of a PASID that has no entry. */
static bool sva_is_no_entry(enum sva_refusal why, uint64_t reason)
{
	if (SVA_SMMU)	/* no entry of the PASID, or no table that could have one */
		return reason == SVA_BAD_CD || reason == SVA_BAD_SUBSTREAMID;
	return reason == SVA_NO_ENTRY ||
	       (why == SVA_UNKNOWN && reason == SVA_NO_DIRECTORY_ENTRY);
}

/*
 * How such an access ends. SMMUv3's driver keeps the entry of a process that has
 * exited, with no page table; and a translation request that meets no entry is a
 * Completer Abort there.
 */
static int sva_refusal_error(const struct sva *s, enum sva_refusal why)
{
	if (sva_untranslated(s))
		return SVADEV_ERR_DMA;
	if (!SVA_SMMU)
		return SVADEV_ERR_REFUSED;
	return why == SVA_EXITED ? SVADEV_ERR_NOT_MAPPED : SVADEV_ERR_DMA;
}

/*
 * Are faults recorded? Not those of a process that is gone, nor SMMUv3's of ATS: it
 * records no error of a configuration that a translation request meets, unless it has
 * IDR0.ATSRECERR. So no reason is known there but the Completer Abort. Where ATS is on
 * only while something is bound, all requests are untranslated after it.
 */
static bool sva_is_recorded(const struct sva *s, const struct sva_dev *d,
			    enum sva_refusal why)
{
	return why != SVA_EXITED && !(SVA_SMMU && !sva_untranslated(s) &&
				      sva_dev_has(d, SVA_ATS));
}

/*
 * The end of SVA_IS_REFUSED(). The IOMMU has recorded one fault, or none, and it
 * knows the reason of the last one.
 */
bool sva_was_refused(const struct sva *s, struct sva_queue *q,
		     enum sva_refusal why, int err, uint64_t faults)
{
	uint64_t reason = sva_counter(q->dev, SVADEV_U_FAULT_REASON);
	uint64_t done = sva_reg(q, SVADEV_Q_DONE);
	bool ok;

	faults = sva_counter(q->dev, SVADEV_U_FAULT) - faults;
	ok = err == sva_refusal_error(s, why) && !done;
	if (sva_is_recorded(s, q->dev, why))
		ok = ok && faults == 1 && sva_is_no_entry(why, reason);
	else
		ok = ok && !faults;
	if (ok)
		return true;
	fprintf(stderr, "# %s: PASID %#llx is not bound: %s, %llu bytes, ",
		q->dev->name, (unsigned long long)sva_reg(q, SVADEV_Q_PASID),
		sva_error_string(err), (unsigned long long)done);
	fprintf(stderr, "%llu faults recorded, reason of the last %#llx\n",
		(unsigned long long)faults, (unsigned long long)reason);
	return false;
}

bool sva_faulted_at(struct sva_queue *q, const void *p)
{
	uint64_t fault = sva_reg(q, SVADEV_Q_FAULT) & ~SVADEV_FAULT_WRITE;

	if (fault / SVA_PAGE == (uintptr_t)p / SVA_PAGE)
		return true;
	fprintf(stderr, "# fault at %#llx, expected at %p\n",
		(unsigned long long)fault, p);
	return false;
}

/* --- what the IOMMUs did --- */

/* Entries of all PASIDs in the function and its IOMMU that are stale */
static uint64_t sva_verify(struct sva_dev *d)
{
	uint64_t stale;

	sva_write(d->ctl, SVADEV_VERIFY, SVADEV_PASID_ALL);
	stale = sva_read(d->ctl, SVADEV_VERIFY_STALE);
	if (stale)
		fprintf(stderr, "# %s: %llu of %llu stale, at %#llx in %#llx\n",
			d->name, (unsigned long long)stale,
			(unsigned long long)sva_read(d->ctl, SVADEV_VERIFY_CHECKED),
			(unsigned long long)sva_read(d->ctl, SVADEV_VERIFY_ADDR),
			(unsigned long long)sva_read(d->ctl, SVADEV_VERIFY_WHERE));
	return stale;
}

/*
 * What the caches have of @pasid, which can be SVADEV_PASID_ALL, and of these @len
 * bytes: entries that are for nothing else. Without @p: of all addresses.
 */
void sva_count_cached(struct sva_dev *d, uint64_t pasid, const void *p,
		      size_t len, struct sva_cached *c)
{
	sva_write(d->ctl, SVADEV_CACHED_FIRST, (uintptr_t)p);
	sva_write(d->ctl, SVADEV_CACHED_LAST, p ? (uintptr_t)p + len - 1 : ~0ULL);
	sva_write(d->ctl, SVADEV_VERIFY, pasid);
	c->atc = sva_read(d->ctl, SVADEV_CACHED_ATC);
	c->iotlb = sva_read(d->ctl, SVADEV_CACHED_IOTLB);
	c->tables = sva_read(d->ctl, SVADEV_CACHED_UPPER);
	c->config = sva_read(d->ctl, SVADEV_CACHED_CONFIG);
}

/* An entry for the function, one for the PASID, and SMMUv3's for a table of these */
#define SVA_CONFIG	(SVA_SMMU ? 3 : 2)

/*
 * Does each cache have all of these pages, once: that of the function, in pages of its
 * own, unless it leaves translating to its IOMMU, that of the IOMMU, and besides what
 * the IOMMU needs of its configuration?
 */
bool sva_is_cached(const struct sva *s, struct sva_dev *d, uint64_t pasid,
		   const void *p, size_t len)
{
	uint64_t pages = len / SVA_PAGE;
	uint64_t atc = sva_untranslated(s) ? 0 : len / SVADEV_PAGE_SIZE;
	struct sva_cached c;

	sva_count_cached(d, pasid, p, len, &c);
	if (c.atc == atc && c.iotlb == pages &&
	    (c.config == SVA_CONFIG || pasid == SVADEV_PASID_ALL))
		return true;
	fprintf(stderr, "# %s: of %llu pages, %llu in the ATC, %llu in the IOTLB;",
		d->name, (unsigned long long)pages, (unsigned long long)c.atc,
		(unsigned long long)c.iotlb);
	fprintf(stderr, " %llu of configuration\n", (unsigned long long)c.config);
	return false;
}

/* ... at every function, with the PASID of our queues */
bool sva_all_cached(struct sva *s, const void *p, size_t len)
{
	uint64_t pasid = sva_reg(s->q, SVADEV_Q_PASID);
	struct sva_queue *q;

	for (q = s->q; q < s->end; q++)
		if (!sva_is_cached(s, q->dev, pasid, p, len))
			return false;
	return true;
}

/* How many page tables does the IOMMU know that are for nothing but these bytes? */
uint64_t sva_tables_cached(struct sva_queue *q, const void *p, size_t len)
{
	struct sva_cached c;

	sva_count_cached(q->dev, sva_reg(q, SVADEV_Q_PASID), p, len, &c);
	return c.tables;
}

/* Cached entries that made room for others, without an invalidation */
uint64_t sva_evicted(const struct sva *s)
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

/* Accesses that the IOMMUs have stalled, and that are not over */
uint64_t sva_stalled(const struct sva *s)
{
	uint64_t over, n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (!sva_first_of_unit(s, i))
			continue;
		over = sva_read(s->dev[i].ctl, SVADEV_U_RESUME) +
		       sva_read(s->dev[i].ctl, SVADEV_U_STALL_ENDED);
		n += sva_read(s->dev[i].ctl, SVADEV_U_STALL) - over;
	}
	return n;
}

/* Answers for what was not stalled, or was answered before */
uint64_t sva_wrong_answers(const struct sva *s)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			n += sva_read(s->dev[i].ctl, SVADEV_U_STALL_ERROR);
	return n;
}

/*
 * No entry of any PASID, in any ATC or IOTLB, that the page table disowns, and none that
 * was evicted since the test began, which can have been stale. That there was one which
 * could have become stale is for the test to see, before. And no stall was answered twice.
 */
bool sva_clean(struct sva *s)
{
	uint64_t wrong = sva_wrong_answers(s) - s->wrong_answers;
	uint64_t evicted = sva_evicted(s) - s->evicted;
	bool clean = !evicted && !wrong;
	unsigned int i;

	if (wrong)
		fprintf(stderr, "# %llu answers to what was not stalled\n",
			(unsigned long long)wrong);

	if (evicted)
		fprintf(stderr, "# %llu entries evicted from caches too small for the test\n",
			(unsigned long long)evicted);

	for (i = 0; i < s->nr; i++)
		if (sva_verify(&s->dev[i]))
			clean = false;
	return clean;
}

static const struct {
	size_t field;
	unsigned int reg;
} sva_counters[] = {
	{ offsetof(struct sva_commands, iotlb_range), SVADEV_U_IOTLB_RANGE },
	{ offsetof(struct sva_commands, iotlb_tag), SVADEV_U_IOTLB_TAG },
	{ offsetof(struct sva_commands, iotlb_all), SVADEV_U_IOTLB_ALL },
	{ offsetof(struct sva_commands, atc_range), SVADEV_U_ATC_RANGE },
	{ offsetof(struct sva_commands, atc_all), SVADEV_U_ATC_ALL },
	{ offsetof(struct sva_commands, config), SVADEV_U_CONFIG },
	{ offsetof(struct sva_commands, sync), SVADEV_U_SYNC },
	{ offsetof(struct sva_commands, dropped), SVADEV_U_DROPPED },
	{ offsetof(struct sva_commands, late), SVADEV_U_LATE },
	{ offsetof(struct sva_commands, timeouts), SVADEV_U_TIMEOUT },
	{ offsetof(struct sva_commands, named), SVADEV_U_NAMED },
};

static uint64_t *sva_field(struct sva_commands *c, unsigned int i)
{
	return (uint64_t *)((char *)c + sva_counters[i].field);
}

/* *@c = now - *@c, with @all summed up */
static void sva_count_from(const struct sva *s, struct sva_counts *c)
{
	unsigned int i, n, unit;
	uint64_t *field;

	memset(&c->all, 0, sizeof(c->all));
	for (i = 0; i < s->nr; i++) {
		if (!sva_first_of_unit(s, i))
			continue;
		unit = sva_unit_of(s, &s->dev[i]);
		for (n = 0; n < ARRAY_SIZE(sva_counters); n++) {
			field = sva_field(&c->unit[unit], n);
			*field = sva_read(s->dev[i].ctl, sva_counters[n].reg) -
				 *field;
			*sva_field(&c->all, n) += *field;
		}
	}
}

void sva_count(const struct sva *s, struct sva_counts *c)
{
	memset(c, 0, sizeof(*c));
	sva_count_from(s, c);
}

/* *@c = what has been issued since @c was taken */
void sva_count_since(const struct sva *s, struct sva_counts *c)
{
	sva_count_from(s, c);
}

/* Invalidations without PASID, which take what all others have cached, too */
uint64_t sva_untagged(const struct sva *s)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		n += sva_read(s->dev[i].ctl, SVADEV_C_INV_UNTAGGED);
	return n;
}

/* --- losing an invalidation on purpose --- */

/* For SVADEV_INJECT, or 0 */
uint64_t sva_drop(void)
{
	static const struct {
		const char *name;
		uint64_t kind;
	} kinds[] = {
		{ "iotlb:", SVADEV_INJECT_IOTLB },
		{ "atc:", SVADEV_INJECT_ATC },
		{ "config:", SVADEV_INJECT_CONFIG },
		{ "function:", SVADEV_INJECT_FUNCTION },
		{ "pasid:", SVADEV_INJECT_PASID },
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

/* Is it a command for configuration, of whatever kind? */
bool sva_drop_config(void)
{
	uint64_t kind = sva_drop() & SVADEV_INJECT_KIND;

	return kind == SVADEV_INJECT_CONFIG || kind == SVADEV_INJECT_FUNCTION ||
	       kind == SVADEV_INJECT_PASID;
}

static void sva_inject(const struct sva *s, uint64_t what)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			sva_write(s->dev[i].ctl, SVADEV_INJECT, what);
}

void sva_change_begin(const struct sva *s, struct sva_counts *c)
{
	sva_count(s, c);
	if (sva_drop())
		sva_inject(s, sva_drop());
}

void sva_change_end(const struct sva *s, struct sva_counts *c)
{
	sva_count_since(s, c);
	if (!sva_drop())
		return;
	sva_inject(s, 0);
	fprintf(stderr, "# lost on purpose: %llu commands\n",
		(unsigned long long)c->all.dropped);
}

/* --- IOMMUs that are late, and functions that do not answer --- */

/*
 * From now on the function's IOMMU takes @ns for a command of @kind,
 * SVADEV_INJECT_* or SVADEV_LATE_SYNC. What is late already is carried out at
 * once.
 */
void sva_late_at(struct sva_dev *d, uint64_t kind, uint64_t ns)
{
	sva_write(d->ctl, SVADEV_LATE, kind | ns << 32);
}

/* All of them */
void sva_late(struct sva *s, uint64_t kind, uint64_t ns)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			sva_late_at(&s->dev[i], kind, ns);
}

/*
 * For windows that stay open until sva_on_time(): let the kernel first do what it has
 * put off, as the flush for page tables of its own. It would wait in the window, on
 * whatever CPU.
 */
void sva_settle(void)
{
	usleep(250000);
}

void sva_on_time(struct sva *s)
{
	sva_late(s, 0, 0);
}

/* Waits until a command is late that was not when @before was read. */
bool sva_wait_late(struct sva_dev *d, uint64_t before)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	while (sva_counter(d, SVADEV_U_LATE) == before)
		if (sva_now() > end)
			return false;
	return true;
}

/* The function neither obeys nor answers the next @n invalidations. */
void sva_mute(struct sva_dev *d, uint64_t n)
{
	sva_write(d->ctl, SVADEV_MUTE, n);
}

/* --- functions that go and come --- */

bool sva_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(text);
	bool ok = fd >= 0 && write(fd, text, len) == len;

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * Free pages, those that CPUs keep for themselves included. Each CPU may be behind
 * with the count by some tens, unless it is exact, for which it has to answer.
 */
long sva_free_pages(bool exact)
{
	char line[128];
	long n, sum = 0;
	FILE *f;

	/* needs root */
	if (exact)
		sva_write_file("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/zoneinfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " nr_free_pages %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

/* A file of the PCI function */
bool sva_pci_write(const struct sva_dev *d, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", d->pci, file);
	return sva_write_file(path, text);
}

/* "bind" or "unbind" of our driver */
bool sva_driver_write(const struct sva_dev *d, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/svadev/%s", file);
	return sva_write_file(path, d->pci);
}

void sva_dev_unmap(struct sva_dev *d)
{
	munmap(d->ctl, d->size[0]);
	munmap(d->pages, d->size[1]);
}

/* svadev has been bound to it again: what is its name now? */
bool sva_find_again(struct sva_dev *d)
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
bool sva_remove_and_rescan(struct sva_dev *d)
{
	sva_dev_unmap(d);
	return sva_pci_write(d, "remove", "1") &&
	       sva_write_file("/sys/bus/pci/rescan", "1") && sva_find_again(d);
}

/* --- set up and clean up of a test --- */

/* What @mode wants and one of the functions lacks, or NULL */
const char *sva_lacks(const struct sva *s, enum sva_mode mode)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (s->dev[i].stalls && (mode == SVA_PRI || mode == SVA_STALL))
			continue;
		if (mode == SVA_STALL)
			return "no access is stalled";
		if (mode != SVA_UNTRANSLATED && !s->dev[i].ats)
			return "a function has no ATS";
		if (mode == SVA_PRI && !s->dev[i].pri)
			return "a function has no page requests";
	}
	return NULL;
}

/* Whatever tests set is as they want it, and nothing is left of others. */
void sva_set_mode(struct sva *s, enum sva_mode mode)
{
	static const uint64_t ctrl[] = {
		[SVA_PRI] = 0,
		[SVA_ATS] = SVADEV_CTRL_NO_PRI,
		[SVA_UNTRANSLATED] = SVADEV_CTRL_NO_ATS | SVADEV_CTRL_NO_PRI,
		[SVA_STALL] = SVADEV_CTRL_NO_ATS,
	};
	unsigned int i;

	if (mode == SVA_PRI && s->dev[0].stalls)
		mode = SVA_STALL;
	s->mode = mode;
	for (i = 0; i < s->nr; i++) {
		sva_give_back_any(&s->dev[i]);
		sva_write(s->dev[i].ctl, SVADEV_STEP, SVADEV_PAGE_SIZE);
		sva_write(s->dev[i].ctl, SVADEV_CTRL, ctrl[mode]);
		sva_mute(&s->dev[i], 0);
	}
	sva_inject(s, 0);
	sva_on_time(s);
}

/* Can this process be bound? NULL, or what the kernel says. */
static const char *sva_cannot_open(struct sva *s)
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
const char *sva_setup(struct sva *s, enum sva_mode mode)
{
	const char *why = sva_find(s);

	if (!why)
		why = sva_lacks(s, mode);
	if (!why) {
		sva_set_mode(s, mode);
		why = sva_cannot_open(s);
		s->evicted = sva_evicted(s);
		s->wrong_answers = sva_wrong_answers(s);
	}
	return why;
}

/* Binds and unbinds, which flushes whatever is cached for the PASID. */
static void sva_flush_pasid(struct sva *s)
{
	sva_open_all(s);
	sva_close_all(s);
}

/*
 * After something was lost on purpose: a PASID that is ours, and one of a
 * process that is dead, which is the next to be given out.
 */
static void sva_heal(struct sva *s)
{
	pid_t pid;

	sva_flush_pasid(s);
	usleep(200000);
	pid = sva_fork();
	if (!pid) {
		sva_flush_pasid(s);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Leaves the functions as a reset does. Our queues are closed. */
void sva_teardown(struct sva *s)
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
 * Aligned, with nothing around: an IOMMU invalidates aligned powers of two, or a
 * page more than it was asked for, and what it forgets for a neighbour would hide
 * what it was not told to forget.
 */
char *sva_pages(unsigned int n, int byte)
{
	size_t room = 64 * SVA_PAGE;
	char *p;

	while (room < n * SVA_PAGE)
		room *= 2;
	p = mmap(NULL, 2 * room + SVA_PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + SVA_PAGE + room - 1) & -room);
	if (mprotect(p, n * SVA_PAGE, PROT_READ | PROT_WRITE))
		return NULL;
	madvise(p, n * SVA_PAGE, MADV_NOHUGEPAGE);
	memset(p, byte, n * SVA_PAGE);
	return p;
}

/* Are all @len bytes at @p equal to @byte, in the eyes of the CPU? */
bool sva_all(const char *p, int byte, size_t len)
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

/*
 * Not munmap: others may map something, perhaps at this very address. What is written
 * then goes to no page, or to a new one.
 */
bool sva_dontneed_is_seen(struct sva *s, struct sva_queue *q, char *p)
{
	int err;

	memset(p, 2, SVA_PAGE);
	if (sva_fill(q, p, 3, SVA_PAGE) || !sva_all(p, 3, SVA_PAGE) ||
	    SVA_CHANGE(s, madvise(p, SVA_PAGE, MADV_DONTNEED)))
		return false;
	err = sva_fill(q, p, 4, SVA_PAGE);
	if (sva_pages_come(s))
		return !err && sva_all(p, 4, SVA_PAGE);
	return sva_is_fault(s, err);
}

/* --- others: processes and threads --- */

/* A child that does not outlive its parent, in which an ASSERT_*() can fail */
pid_t sva_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(127);
	return pid;
}

/*
 * Parent and child take turns: each says when it is done and waits for the
 * other. A peer that has died ends the wait. Returns 0 in the child.
 */
pid_t sva_child_new(struct sva_child *c)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	c->pid = sva_fork();
	c->fd = fd[!c->pid];
	close(fd[!!c->pid]);
	return c->pid;
}

bool sva_say(int fd)
{
	return write(fd, "x", 1) == 1;
}

bool sva_hear(int fd)
{
	char c;

	return read(fd, &c, 1) == 1;
}

/* A child's verdict, or -1 if it has none */
int sva_exit_code(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* It does, and can still be waited for. */
bool sva_lives(pid_t pid)
{
	siginfo_t info = { 0 };

	return !waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

/*
 * A thread that waits for an IOMMU may have its CPU for itself: a kernel that does
 * not preempt leaves none of it to others.
 */
bool sva_stay_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

/* Not so many CPUs; or there are, and the caller stays on the first of them. */
bool sva_too_few_cpus(long wanted)
{
	return sysconf(_SC_NPROCESSORS_ONLN) < wanted || !sva_stay_on(0);
}

/* On that CPU, if there is one, or on any */
bool sva_thread_start(struct sva_thread *t, int cpu, void *(*fn)(void *),
		      void *arg)
{
	pthread_attr_t attr;
	cpu_set_t set;

	if (t->runs || pthread_attr_init(&attr))
		return false;
	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET(cpu, &set);
	if (cpu < 0 || !pthread_attr_setaffinity_np(&attr, sizeof(set), &set))
		t->runs = !pthread_create(&t->thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return t->runs;
}

/* Waits for its end. False if there is none to wait for */
bool sva_thread_end(struct sva_thread *t)
{
	bool ran = t->runs;

	t->runs = false;
	return ran && !pthread_join(t->thread, NULL);
}

static void *sva_unmapper(void *arg)
{
	struct sva_unmapper *u = arg;

	while (!__atomic_load_n(&u->go, __ATOMIC_ACQUIRE))
		usleep(50);
	__atomic_store_n(&u->at_start, true, __ATOMIC_RELEASE);
	while (u->with && !__atomic_load_n(&u->with->at_start, __ATOMIC_ACQUIRE))
		;
	__atomic_store_n(&u->begun, true, __ATOMIC_RELEASE);
	u->ret = SVA_CHANGE(u->s, u->len ? munmap(u->p, u->len) :
				  madvise(u->p, SVA_PAGE, MADV_DONTNEED));
	__atomic_store_n(&u->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * Before anybody holds mmap_lock for long: a thread needs a stack. @with and @len
 * can be set until it may go.
 */
bool sva_unmap_prepare(struct sva_unmapper *u, struct sva *s, char *p, int cpu)
{
	if (u->thread.runs)
		return false;
	*u = (struct sva_unmapper){ .s = s, .p = p, .ret = -1 };
	return sva_thread_start(&u->thread, cpu, sva_unmapper, u);
}

void sva_unmap_go(struct sva_unmapper *u)
{
	__atomic_store_n(&u->go, true, __ATOMIC_RELEASE);
}

bool sva_unmap_over(struct sva_unmapper *u)
{
	return __atomic_load_n(&u->over, __ATOMIC_ACQUIRE);
}

/* CPU time that it has had, as the kernel counts it */
static double sva_cpu_time(struct sva_unmapper *u)
{
	struct timespec ts = { 0 };
	clockid_t clock;

	if (!pthread_getcpuclockid(u->thread.thread, &clock))
		clock_gettime(clock, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

#define SVA_WAITS_CPU_S	0.05	/* enough for a system call that waits for nobody */
#define SVA_WAITS_S	1.0	/* if it sleeps; two of them are shorter than SVA_HELD */

/*
 * It has begun, and has not come back though it has had CPU time enough for that, or
 * sleeps. Wait first until the IOMMU has its command, if that is what it waits for.
 */
bool sva_unmap_waits(struct sva_unmapper *u)
{
	double end = sva_now() + SVA_TIMEOUT_S, enough;

	while (!__atomic_load_n(&u->begun, __ATOMIC_ACQUIRE) && sva_now() < end)
		usleep(100);
	if (!u->begun)
		return false;
	enough = sva_cpu_time(u) + SVA_WAITS_CPU_S;
	end = sva_now() + SVA_WAITS_S;
	while (!sva_unmap_over(u) && sva_cpu_time(u) < enough && sva_now() < end)
		usleep(1000);
	return !sva_unmap_over(u);
}

/* Lets it go, and waits for its end. Has it dropped the page? */
bool sva_unmap_end(struct sva_unmapper *u)
{
	sva_unmap_go(u);
	if (u->with) {
		sva_unmap_go(u->with);
		if (!u->with->thread.runs)
			__atomic_store_n(&u->with->at_start, true,
					 __ATOMIC_RELEASE);
	}
	return sva_thread_end(&u->thread) && !u->ret;
}

static void *sva_binder(void *arg)
{
	struct sva_binder *b = arg;
	struct sva_queue q;

	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		b->err = sva_open(&q, b->dev);
		if (b->err)
			break;
		sva_close(&q);
		__atomic_fetch_add(&b->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

bool sva_binder_start(struct sva_binder *b, struct sva_dev *d)
{
	if (b->thread.runs)
		return false;
	*b = (struct sva_binder){ .dev = d };
	return sva_thread_start(&b->thread, SVA_ANY_CPU, sva_binder, b);
}

/* Has it been round, and never failed? */
bool sva_binder_end(struct sva_binder *b)
{
	__atomic_store_n(&b->stop, true, __ATOMIC_RELAXED);
	return sva_thread_end(&b->thread) && !b->err && b->rounds;
}
