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
 * changed the page table has returned, while nobody else changes it. It says
 * something if what could have become stale was cached before, in each of the
 * caches: sva_warm_up() and sva_cache() see to that.
 *
 * With SVADEV_DROP="kind:n" in the environment (kind is iotlb, atc or config)
 * each IOMMU loses the n-th command of that kind that a SVA_CHANGE() causes.
 * The kernel is innocent then, and the tests have to fail all the same. Which of
 * them do, and why others cannot, is on a list of the series, tests/notice.toml.
 *
 * What is lost is lost for good. Memory that a function could still write to
 * must therefore not be freed before sva_teardown() has had the caches emptied.
 */
#ifndef __SELFTEST_IOMMU_SVA_UTILS_H
#define __SELFTEST_IOMMU_SVA_UTILS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#include <misc/uacce/svadev.h>
#include <misc/uacce/uacce.h>

#define SVA_MAX_DEVS	8

/*
 * A page of the running kernel; arm64 has those of 4, 16 and 64 KiB. A table of the last
 * level is one page, for as many as there are entries of 8 bytes in it.
 */
#define SVA_PAGE	((unsigned long)sysconf(_SC_PAGESIZE))
#define SVA_TABLE	(SVA_PAGE / 8 * SVA_PAGE)
/*
 * For one operation: emulation can be slow. Less than the harness gives a test,
 * so that the test says what it has waited for.
 */
#define SVA_TIMEOUT_S	10
#define SVA_LOAD_S	40	/* for many of them, in a TEST_F_TIMEOUT() */

/*
 * SMMUv3 is in front of the functions, else VT-d. SMMUv3's driver has no page
 * requests, and waits twice where ATS is on, before the ATCs and after. Where
 * an SMMUv3 can stall accesses, that is what SVA_PRI means for functions without ATS.
 */
#ifdef __aarch64__
#define SVA_SMMU	true
#else
#define SVA_SMMU	false
#endif

/* How the functions reach memory */
enum sva_mode {
	SVA_PRI,		/* ATS; a page that is not there is requested */
	SVA_ATS,		/* ATS; such a page is an error */
	SVA_UNTRANSLATED,	/* the IOMMU translates each access */
	SVA_STALL,		/* the same; where a page is not there, it stalls it */
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
 * @stalls: it has no ATS, and its accesses can be stalled
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
	bool stalls;
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
 * @wrong_answers: what sva_wrong_answers() was then
 */
struct sva {
	struct sva_dev dev[SVA_MAX_DEVS];
	unsigned int nr;
	enum sva_mode mode;
	struct sva_queue q[SVA_MAX_DEVS];
	struct sva_queue *end;
	uint64_t evicted;
	uint64_t wrong_answers;
};

/* Is a page that is not there asked for, or an error? */
static inline bool sva_pages_come(const struct sva *s)
{
	return s->mode == SVA_PRI || s->mode == SVA_STALL;
}

/* Do the functions leave it to the IOMMU to translate? */
static inline bool sva_untranslated(const struct sva *s)
{
	return s->mode == SVA_UNTRANSLATED || s->mode == SVA_STALL;
}

/* What IOMMUs have counted */
struct sva_commands {
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
	uint64_t named;
};

/**
 * struct sva_counts - what the IOMMUs in front of our functions have counted
 * @all: the sum
 * @unit: each of them, in the order of the functions
 */
struct sva_counts {
	struct sva_commands all;
	struct sva_commands unit[SVA_MAX_DEVS];
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

const char *sva_find(struct sva *s);
unsigned int sva_units(const struct sva *s);
unsigned int sva_unit_of(const struct sva *s, const struct sva_dev *d);
unsigned int sva_functions_of(const struct sva *s, unsigned int unit);
unsigned int sva_atcs_of(const struct sva *s, unsigned int unit);
unsigned int sva_waits_of(const struct sva *s, unsigned int unit);

/* First function behind its IOMMU: where to ask for what the IOMMU counts */
static inline bool sva_first_of_unit(const struct sva *s, unsigned int i)
{
	return !i || s->dev[i].unit != s->dev[i - 1].unit;
}

/* --- queues --- */

int sva_open(struct sva_queue *q, struct sva_dev *d);
int sva_open_at(struct sva_queue *q, struct sva_dev *d, void *at);
void sva_close(struct sva_queue *q);
bool sva_open_all(struct sva *s);
void sva_close_all(struct sva *s);
int sva_instances_left(const struct sva_dev *d);
bool sva_queues_come_back(const struct sva_dev *d, double seconds);
bool sva_take(struct sva_queue *q, struct sva_dev *d, uint32_t pasid);
void sva_give_back(struct sva_queue *q);

static inline uint64_t sva_reg(struct sva_queue *q, unsigned int reg)
{
	return sva_read(q->page, reg);
}

/* A counter of the function or of its IOMMU, by its offset in BAR 0 */
static inline uint64_t sva_counter(struct sva_dev *d, unsigned int counter)
{
	return sva_read(d->ctl, counter);
}

/* Pages that it has asked for: page requests, and stalled accesses */
static inline uint64_t sva_requests(struct sva_dev *d)
{
	return sva_counter(d, SVADEV_C_PAGE_REQ) +
	       sva_counter(d, SVADEV_C_STALL);
}

/* ... and what has come of it */
static inline uint64_t sva_answers(struct sva_dev *d)
{
	return sva_counter(d, SVADEV_C_PAGE_RESP) +
	       sva_counter(d, SVADEV_C_RESUME);
}

/* --- operations --- */

double sva_now(void);
void sva_submit(struct sva_queue *q, uint64_t op, uint64_t flags,
		const void *src, void *dst, uint64_t len, uint64_t arg);
int sva_wait_state(struct sva_queue *q, uint64_t state);
int sva_wait(struct sva_queue *q);
int sva_do(struct sva_queue *q, uint64_t op, uint64_t flags, const void *src,
	   void *dst, uint64_t len, uint64_t arg);
int sva_copy(struct sva_queue *q, void *dst, const void *src, size_t len);
int sva_fill(struct sva_queue *q, void *dst, int byte, size_t len);
int sva_sum(struct sva_queue *q, const void *src, size_t len, uint64_t *sum);
bool sva_sees(struct sva_queue *q, const void *p, int byte, size_t len);
bool sva_warm_up(struct sva *s, char *p, int byte, size_t len);
bool sva_cache(struct sva *s, struct sva_queue *q, char *p, int byte, size_t len);
int sva_hold(struct sva_queue *q, uint64_t op, const void *src, void *dst,
	     uint64_t len, uint64_t arg);
int sva_release(struct sva_queue *q);

/* --- errors --- */

/**
 * enum sva_refusal - why a PASID is refused
 * @SVA_UNBOUND: it was bound, and is not any more
 * @SVA_EXITED: so, because its process is gone. Nobody wants to hear of its faults.
 * @SVA_UNKNOWN: it was never bound, and may be far from all that were
 */
enum sva_refusal {
	SVA_UNBOUND,
	SVA_EXITED,
	SVA_UNKNOWN,
};

const char *sva_error_string(int err);
bool sva_is_error(int err, int expected);
bool sva_is_fault(const struct sva *s, int err);
bool sva_faulted_at(struct sva_queue *q, const void *p);
bool sva_was_refused(const struct sva *s, struct sva_queue *q,
		     enum sva_refusal why, int err, uint64_t faults);

/*
 * Is an access that @call makes through @q refused because of its PASID, with
 * nothing done? Not because of what the IOMMU finds in a page table: nobody has
 * to look at one.
 */
#define SVA_IS_REFUSED(s, q, why, call) ({				\
	struct sva_queue *__q = (q);					\
	uint64_t __faults = sva_counter(__q->dev, SVADEV_U_FAULT);	\
	int __err = (call);						\
									\
	sva_was_refused(s, __q, why, __err, __faults);			\
})

/* --- what the IOMMUs did --- */

/* The kernel may free page tables of its own, and flush IOTLBs, at any time. */
#define SVA_TRIES	4

/**
 * struct sva_cached - how much is cached
 * @atc: pages in the function
 * @iotlb: pages in its IOMMU
 * @tables: entries of the IOMMU that refer to a page table, or to what is above
 * @config: entries of the IOMMU for functions and PASIDs
 */
struct sva_cached {
	uint64_t atc;
	uint64_t iotlb;
	uint64_t tables;
	uint64_t config;
};

void sva_count_cached(struct sva_dev *d, uint64_t pasid, const void *p,
		      size_t len, struct sva_cached *c);
bool sva_is_cached(const struct sva *s, struct sva_dev *d, uint64_t pasid,
		   const void *p, size_t len);
bool sva_all_cached(struct sva *s, const void *p, size_t len);
uint64_t sva_tables_cached(struct sva_queue *q, const void *p, size_t len);
uint64_t sva_evicted(const struct sva *s);
uint64_t sva_stalled(const struct sva *s);
uint64_t sva_wrong_answers(const struct sva *s);
bool sva_clean(struct sva *s);
void sva_count(const struct sva *s, struct sva_counts *c);
void sva_count_since(const struct sva *s, struct sva_counts *c);
uint64_t sva_untagged(const struct sva *s);

#define ASSERT_CLEAN(s)	ASSERT_TRUE(sva_clean(s))
#define EXPECT_CLEAN(s)	EXPECT_TRUE(sva_clean(s))

/* --- losing an invalidation on purpose --- */

uint64_t sva_drop(void);
bool sva_drop_config(void);
void sva_change_begin(const struct sva *s, struct sva_counts *c);
void sva_change_end(const struct sva *s, struct sva_counts *c);

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

#define SVA_MS		1000000ULL	/* in ns */
/*
 * Until sva_on_time(), but for no longer than 4.29 s for each command: it is
 * nanoseconds in 32 bits.
 */
#define SVA_HELD	0xffffffffULL

void sva_late_at(struct sva_dev *d, uint64_t kind, uint64_t ns);
void sva_late(struct sva *s, uint64_t kind, uint64_t ns);
void sva_settle(void);
void sva_on_time(struct sva *s);
bool sva_wait_late(struct sva_dev *d, uint64_t before);
void sva_mute(struct sva_dev *d, uint64_t n);

/* --- functions that go and come --- */

bool sva_write_file(const char *path, const char *text);
long sva_free_pages(bool exact);
bool sva_pci_write(const struct sva_dev *d, const char *file, const char *text);
bool sva_driver_write(const struct sva_dev *d, const char *file);
void sva_dev_unmap(struct sva_dev *d);
bool sva_find_again(struct sva_dev *d);
bool sva_remove_and_rescan(struct sva_dev *d);

/* --- set up and clean up of a test --- */

const char *sva_lacks(const struct sva *s, enum sva_mode mode);
void sva_set_mode(struct sva *s, enum sva_mode mode);
const char *sva_setup(struct sva *s, enum sva_mode mode);
void sva_teardown(struct sva *s);

/* --- memory --- */

char *sva_pages(unsigned int n, int byte);
bool sva_all(const char *p, int byte, size_t len);
bool sva_dontneed_is_seen(struct sva *s, struct sva_queue *q, char *p);

/* --- others: processes and threads --- */

/**
 * struct sva_child - a process that takes turns with its parent
 * @pid: of it
 * @fd: our end, in the child that of the child
 */
struct sva_child {
	pid_t pid;
	int fd;
};

pid_t sva_fork(void);
pid_t sva_child_new(struct sva_child *c);
bool sva_say(int fd);
bool sva_hear(int fd);
int sva_exit_code(pid_t pid);
bool sva_lives(pid_t pid);
bool sva_stay_on(unsigned int cpu);
bool sva_too_few_cpus(long wanted);

/*
 * Threads outlive an ASSERT_*() that fails, and what is on the stack of the test
 * does not: all of this belongs into the fixture, whose teardown ends them. To
 * end what does not run is no error there.
 */

/**
 * struct sva_thread - a thread
 * @thread: it
 * @runs: it was started and not ended
 */
struct sva_thread {
	pthread_t thread;
	bool runs;
};

#define SVA_ANY_CPU	-1

bool sva_thread_start(struct sva_thread *t, int cpu, void *(*fn)(void *),
		      void *arg);
bool sva_thread_end(struct sva_thread *t);

/**
 * struct sva_unmapper - a thread that drops a page, or unmaps
 * @s: SVADEV_DROP applies there
 * @p: the page, or what is unmapped
 * @len: how much that is; 0: the page is dropped
 * @with: another one, which is to begin at the same time, or NULL
 * @ret: of the system call, once it is over
 * @go: by sva_unmap_go(), it may
 * @at_start: it waits for @with
 * @begun: it is about to
 * @over: it has
 */
struct sva_unmapper {
	struct sva *s;
	char *p;
	size_t len;
	struct sva_unmapper *with;
	int ret;
	bool go;
	bool at_start;
	bool begun;
	bool over;
	struct sva_thread thread;
};

bool sva_unmap_prepare(struct sva_unmapper *u, struct sva *s, char *p, int cpu);
void sva_unmap_go(struct sva_unmapper *u);
bool sva_unmap_over(struct sva_unmapper *u);
bool sva_unmap_waits(struct sva_unmapper *u);
bool sva_unmap_end(struct sva_unmapper *u);

/**
 * struct sva_binder - a thread that binds a function and unbinds it
 * @dev: the function
 * @stop: by sva_binder_end()
 * @rounds: so far
 * @err: of sva_open(), which ends it
 */
struct sva_binder {
	struct sva_dev *dev;
	bool stop;
	unsigned int rounds;
	int err;
	struct sva_thread thread;
};

bool sva_binder_start(struct sva_binder *b, struct sva_dev *d);
bool sva_binder_end(struct sva_binder *b);

#endif
