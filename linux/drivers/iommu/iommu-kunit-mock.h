/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of an IOMMU's driver need beside the hardware of that IOMMU: PCI functions made of
 * memory, with ATCs, processes, threads, and what must not happen. What is a model of what, and
 * what is left out, is at the top of iommu-kunit-mock.c.
 *
 * The instances, their queues, tables and caches are of the mock of each driver.
 */
#ifndef __IOMMU_KUNIT_MOCK_H
#define __IOMMU_KUNIT_MOCK_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/seq_buf.h>
#include <linux/spinlock.h>

#define KIOMMU_FNS		16	/* of a bus, at most */
#define KIOMMU_TLB		64	/* entries of a cache */
#define KIOMMU_ENDS		4	/* see kiommu_at_exit() */
#define KIOMMU_LINE		80	/* of a text, at most */
#define KIOMMU_PAGE_SHIFT	12
#define KIOMMU_ALL		(64 - KIOMMU_PAGE_SHIFT)	/* order of everything */
#define KIOMMU_ANY_PASID	(~0U)
#define KIOMMU_AT_LAST_MS	20000	/* for what comes, on a machine that is busy */

/**
 * struct kiommu - what the instances and functions of a test have in common
 * @seq: counts what happens in all of them
 * @nr_ends: what kiommu_end() does, and
 * @end: with what
 * @lock: protects what follows. The innermost lock
 * @nr_complaints: things that must not happen, and did
 * @complaint: the first of them
 */
struct kiommu {
	atomic64_t seq;
	unsigned int nr_ends;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} end[KIOMMU_ENDS];
	raw_spinlock_t lock;
	unsigned int nr_complaints;
	char complaint[128];
};

void kiommu_init(struct kiommu *k);
u64 kiommu_seq(struct kiommu *k);
__printf(2, 3)
void kiommu_complain(struct kiommu *k, const char *fmt, ...);
void kiommu_expect_complaints(struct kunit *test, struct kiommu *k, unsigned int nr);
void kiommu_at_exit(struct kunit *test, struct kiommu *k, void (*fn)(void *arg),
		    void *arg);
void kiommu_end(struct kiommu *k);

/* --- caches of translations --- */

/**
 * struct kiommu_tlb - a cached translation, of an IOTLB or an ATC
 * @valid: there is one
 * @absent: that there is no translation
 * @type: how the table is to be walked. This and the next two are the instance's own
 * @level: levels of the page table
 * @tag: of an IOTLB entry, what it is found by: domain ID, ASID, VMID
 * @pasid: PASID, of an ATC entry and of an IOTLB entry that is tagged with one
 * @root: physical address of the page table
 * @page: number of the page
 * @pfn: what it translates to
 *
 * Pages have 4K. A cache is an array of %KIOMMU_TLB of these. Nothing is ever evicted.
 */
struct kiommu_tlb {
	bool valid;
	bool absent;
	u8 type;
	u8 level;
	u32 tag;
	u32 pasid;
	u64 root;
	u64 page;
	u64 pfn;
};

/* Whether what an entry says is not what the tables in memory say now */
typedef bool kiommu_is_old_t(const struct kiommu_tlb *tlb);

struct kiommu_tlb *kiommu_next_tlb(struct kiommu_tlb *cache,
				   const struct kiommu_tlb *tlb);

/* @tlb is each translation that @cache has. */
#define kiommu_for_each_tlb(cache, tlb)						\
	for ((tlb) = kiommu_next_tlb(cache, NULL); (tlb);			\
	     (tlb) = kiommu_next_tlb(cache, tlb))

bool kiommu_in_range(u64 page, u64 first, unsigned int order);
struct kiommu_tlb *kiommu_tlb_find(struct kiommu_tlb *cache,
				   const struct kiommu_tlb *key);
void kiommu_tlb_add(struct kiommu *k, struct kiommu_tlb *cache,
		    const struct kiommu_tlb *tlb);
unsigned int kiommu_tlb_count(struct kiommu_tlb *cache, u64 root, u64 iova,
			      u64 size, kiommu_is_old_t *is_old);

/* --- PCI functions --- */

struct kiommu_fn;

/**
 * struct kiommu_bus - the bus behind an instance
 * @bus: what the driver sees
 * @k: of the test
 * @lock: of the instance, protects the caches of the functions. Taken inside the locks
 *	of the driver's queue
 * @nr_fns: number of functions
 * @fn: the functions, in order of their numbers
 */
struct kiommu_bus {
	struct pci_bus bus;
	struct kiommu *k;
	raw_spinlock_t *lock;
	unsigned int nr_fns;
	struct kiommu_fn *fn[KIOMMU_FNS];
};

/* What a function can do */
#define KIOMMU_ATS	BIT(0)
#define KIOMMU_PASID	BIT(1)
#define KIOMMU_PRI	BIT(2)

#define KIOMMU_CFG_PCIE		0x40
#define KIOMMU_CFG_ATS		0x100
#define KIOMMU_CFG_PASID	0x120
#define KIOMMU_CFG_PRI		0x140
#define KIOMMU_CFG_SIZE		0x200

/**
 * struct kiommu_fn - a PCI function
 * @pdev: what the driver sees
 * @dev_iommu: the core's part of it
 * @bus: the bus that it is on
 * @free: called in the end, to free what it is part of
 * @cfg: configuration space
 * @gone: it does not answer any more, neither invalidations nor configuration
 *	requests. Set by kiommu_remove()
 * @mute: it does not answer invalidations, and is there. Set by kiommu_mute()
 * @drop: which invalidation, counted from now, it does not answer, 0: none.
 *	Protected by &kiommu_bus.lock, like
 * @asked: invalidations that the instance has sent to it
 * @no_pasids: it was reset, and its PASID capability not switched on since
 * @ats_hook: called when ATS is switched, after it was switched on and before it is
 *	switched off, in the context of whoever does it. Without PCI_LOCKLESS_CONFIG, as on
 *	arm64, it must not sleep: the PCI core's lock of all configuration space is held
 * @priv: for @ats_hook
 * @ats_on: when it was last switched on, in terms of &kiommu.seq
 * @ats_off: when it was last switched off
 * @atc: its ATC. Protected by &kiommu_bus.lock
 */
struct kiommu_fn {
	struct pci_dev pdev;
	struct dev_iommu dev_iommu;
	struct kiommu_bus *bus;
	void (*free)(struct kiommu_fn *fn);
	u8 cfg[KIOMMU_CFG_SIZE];
	bool gone;
	bool mute;
	unsigned int drop;
	unsigned int asked;
	bool no_pasids;
	void (*ats_hook)(struct kiommu_fn *fn, bool on);
	void *priv;
	u64 ats_on;
	u64 ats_off;
	struct kiommu_tlb atc[KIOMMU_TLB];
};

static inline struct kiommu_fn *to_kiommu_fn(struct device *dev)
{
	return container_of(to_pci_dev(dev), struct kiommu_fn, pdev);
}

static inline u16 kiommu_id(const struct kiommu_fn *fn)
{
	return PCI_DEVID(fn->bus->bus.number, fn->pdev.devfn);
}

void kiommu_bus_init(struct kiommu_bus *bus, struct kiommu *k, raw_spinlock_t *lock,
		     unsigned char number, void *sysdata);
int kiommu_fn_init(struct kiommu_fn *fn, struct kiommu_bus *bus, unsigned int flags,
		   void (*free)(struct kiommu_fn *fn));
void kiommu_fn_put(struct kiommu_fn *fn);
struct kiommu_fn *kiommu_find_fn(struct kiommu_bus *bus, u16 id);

int kiommu_group_init(struct kiommu_fn *fn, struct iommu_group *group);

bool kiommu_ats(struct kiommu_fn *fn);
void kiommu_reset(struct kiommu_fn *fn);
void kiommu_remove(struct kiommu_fn *fn);
void kiommu_mute(struct kiommu_fn *fn, bool mute);
void kiommu_drop(struct kiommu_fn *fn, unsigned int nth);
void kiommu_calm_down(struct kiommu_fn *fn);

bool kiommu_answers(struct kiommu_fn *fn);
struct kiommu_tlb *kiommu_atc_find(struct kiommu_fn *fn, u32 pasid, u64 page);
void kiommu_atc_add(struct kiommu_fn *fn, u32 pasid, const struct kiommu_tlb *tlb);
void kiommu_atc_drop(struct kiommu_fn *fn, u32 pasid, u64 page, unsigned int order);

/* --- queues that stop --- */

/**
 * struct kiommu_hold - where a queue is to stop
 * @lock: of the instance, protects what follows
 * @type: type of the command to stop at, 0: none
 * @nth: which one of them, counted from now
 * @ms: for how long, from when the test has noticed; 0: it has
 * @held: it has stopped
 * @until: until then, at most
 */
struct kiommu_hold {
	raw_spinlock_t *lock;
	unsigned int type;
	unsigned int nth;
	unsigned int ms;
	bool held;
	u64 until;
};

void kiommu_hold(struct kiommu_hold *hold, unsigned int type, unsigned int nth,
		 unsigned int ms);
bool kiommu_is_held(struct kiommu_hold *hold);
void kiommu_let_go(struct kiommu_hold *hold);
void kiommu_hold_see(struct kiommu_hold *hold, unsigned int type);
bool kiommu_hold_stops(struct kiommu_hold *hold);

/* --- queues that ask the test before they go on --- */

/**
 * struct kiommu_turn - whose turn it is, while a callback of the test runs without the
 *	lock of its queue
 * @cpu: the CPU that is in it, or -1. Protected by that lock
 */
struct kiommu_turn {
	int cpu;
};

bool kiommu_turn_is_others(const struct kiommu_turn *turn);
int kiommu_turn_begin(struct kiommu_turn *turn);
void kiommu_turn_end(struct kiommu_turn *turn, int before);
void kiommu_turn_give_up(struct kiommu_turn *turn);

/* --- processes --- */

struct mm_struct *kiommu_mm(struct kunit *test);
void kiommu_mm_exit(struct mm_struct *mm);
unsigned long kiommu_mm_map(struct kunit *test, unsigned int pages);

/* --- threads --- */

/* A thread of a test, on a CPU that the test does not use */
struct kiommu_thread {
	int (*run)(void *arg);
	void *arg;
	int ret;
	struct completion done;
};

void kiommu_two_cpus(struct kunit *test);
void kiommu_start(struct kunit *test, struct kiommu_thread *thread,
		  int (*run)(void *arg), void *arg);
void kiommu_start_behind(struct kunit *test, struct kiommu_thread *thread,
			 struct mutex *lock, int (*run)(void *arg), void *arg);
bool kiommu_wait_held(struct kiommu_thread *thread, struct kiommu_hold *hold);
bool kiommu_done_in(struct kiommu_thread *thread, unsigned int ms);
bool kiommu_spin_done(struct kiommu_thread *thread, unsigned int ms);
int kiommu_join(struct kiommu_thread *thread);
int kiommu_join_behind(struct kiommu_thread *thread, struct mutex *lock);

#define KIOMMU_ATTACHERS	2

/* One of the threads of &struct kiommu_attachers */
struct kiommu_attacher {
	struct kiommu_attachers *all;
	struct kiommu_thread thread;
	unsigned int first;
	unsigned int attached;
	unsigned int failed;
};

/**
 * struct kiommu_attachers - threads that attach and detach functions at random, for a while
 * @from: first function, each thread has every other one
 * @nr: how many functions, which nothing is attached to
 * @attach: attach function @n, and return 0
 * @detach: detach it
 * @access: let functions access memory
 * @arg: argument of these
 */
struct kiommu_attachers {
	unsigned int from;
	unsigned int nr;
	int (*attach)(void *arg, unsigned int n);
	void (*detach)(void *arg, unsigned int n);
	void (*access)(void *arg);
	void *arg;
	/* private: */
	unsigned long start;
	bool stop;
	unsigned int running;
	struct kiommu_attacher each[KIOMMU_ATTACHERS];
};

void kiommu_start_attaching(struct kunit *test, struct kiommu *k, struct kiommu_attachers *a);
bool kiommu_goes_on(const struct kiommu_attachers *a);
void kiommu_stop_attaching(struct kunit *test, struct kiommu_attachers *a);

/* --- texts --- */

void kiommu_text(struct kunit *test, struct seq_buf *text, unsigned int lines);
const char *kiommu_text_end(struct kunit *test, struct seq_buf *text);

#endif /* __IOMMU_KUNIT_MOCK_H */
