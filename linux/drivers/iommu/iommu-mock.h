/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMUs made of memory, for tests of who invalidates them. What is a model of
 * what, and what is left out, is at the top of iommu-mock.c.
 */
#ifndef __IOMMU_MOCK_H
#define __IOMMU_MOCK_H

#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/iommu-attach.h>
#include <linux/ktime.h>
#include <linux/spinlock.h>

#define IMOCK_PAGES	8	/* of each domain */
#define IMOCK_PASIDS	8	/* 0 means none */
#define IMOCK_TAGS	32	/* of each instance */
#define IMOCK_DOMAINS	2
#define IMOCK_IDS	4	/* of a function with several */
#define IMOCK_BATCH	64	/* commands in front of a sync, at most */
#define IMOCK_SLOTS	8	/* batches that an instance's queue holds, at most */
#define IMOCK_LOG	256

/* &iommu_alist_elm.info of an ATC for which imock_add() has no command */
#define IMOCK_QUIET	1

struct imock;
struct imock_walk;

/**
 * enum imock_what - what can be counted, logged, and hooked
 * @IMOCK_IOTLB: command, invalidate a range of pages of a tag; as a hook, before a
 *	batch of them without a sync is put into the queue
 * @IMOCK_ATC: command, invalidate a range of pages in a function's ATC
 * @IMOCK_SYNC: command, say that those before it are done; as a hook, before the
 *	batch that ends with it is put into the queue
 * @IMOCK_WAIT: somebody begins to wait for a sync
 * @IMOCK_CONTEXT: command, drop the copy of a function's context entry
 * @IMOCK_NR_WHAT: how many there are
 */
enum imock_what {
	IMOCK_IOTLB,
	IMOCK_ATC,
	IMOCK_SYNC,
	IMOCK_WAIT,
	IMOCK_CONTEXT,
	IMOCK_NR_WHAT,
};

/* What a hook is, and what it may do: see imock_walk_init(). */
typedef void imock_hook_t(struct imock_walk *mw, enum imock_what what,
			  unsigned int inst);

/**
 * enum imock_stop - where the fence of a function, and its end, can be stopped
 * @IMOCK_FENCE_BEGUN: nothing has been done
 * @IMOCK_FENCE_WRITTEN: the context entry blocks translated requests
 * @IMOCK_FENCE_BLOCKED: so does the instance
 * @IMOCK_FENCE_DRAINED: those of before have got to memory
 * @IMOCK_RESUME_BEGUN: it answers again, and no walk knows
 * @IMOCK_RESUME_ASKED: walks ask it
 * @IMOCK_RESUME_FLUSHED: its tags and its ATC are clean
 * @IMOCK_RESUME_LIVE: its translated requests get to memory
 */
enum imock_stop {
	IMOCK_FENCE_BEGUN,
	IMOCK_FENCE_WRITTEN,
	IMOCK_FENCE_BLOCKED,
	IMOCK_FENCE_DRAINED,
	IMOCK_RESUME_BEGUN,
	IMOCK_RESUME_ASKED,
	IMOCK_RESUME_FLUSHED,
	IMOCK_RESUME_LIVE,
};

struct imock_fn;

/* Called at each of them. Those of a fence must not sleep. */
typedef void imock_stop_t(struct imock_fn *fn, enum imock_stop stop);

/**
 * struct imock_driver - a way of using the hardware
 * @name: of the hardware that it resembles
 * @ops: what the core calls
 * @batch: commands that a walk collects before it submits them
 * @unordered: the queue lets ATC commands overtake IOTLB ones up to the sync
 * @by_page: commands are for one page each, as on SMMUv3 without range invalidation
 * @tag_per_fn: tags are given by the attachment, one per function. Otherwise,
 *	and without &iommu_alist_ops.tag_alloc, there is one per domain
 * @tag_pasid: IOTLB entries are told apart by PASID, too
 */
struct imock_driver {
	const char *name;
	struct iommu_alist_ops ops;
	unsigned int batch;
	bool unordered;
	bool by_page;
	bool tag_per_fn;
	bool tag_pasid;
};

enum imock_driver_id {
	IMOCK_VTD,		/* first level */
	IMOCK_VTD_SL,		/* second level */
	IMOCK_SMMU,
	IMOCK_AMD,
	IMOCK_NR_DRIVERS,
};

extern const struct imock_driver imock_drivers[IMOCK_NR_DRIVERS];

/* One that needs several batches for most elements */
extern const struct imock_driver imock_by_page;

/**
 * struct imock_domain - a domain and its page table
 * @list: where it is attached
 * @mock: the machine
 * @id: index in &imock.domain
 * @version: the page table: what each page translates to. Starts at 1. Written
 *	without a lock by the page's one writer, read by the hardware at any time
 * @freed: the memory behind older versions is not the domain's any more, of each page
 */
struct imock_domain {
	struct iommu_alist list;
	struct imock *mock;
	unsigned int id;
	u32 version[IMOCK_PAGES];
	u32 freed[IMOCK_PAGES];
};

/**
 * struct imock_xlate - a cached translation
 * @domain: whose it is, NULL: nothing is cached here
 * @version: what the page table said
 */
struct imock_xlate {
	const struct imock_domain *domain;
	u32 version;
};

/**
 * struct imock_entry - a PASID table entry
 * @domain: what it points to, NULL: not present
 * @old: what it pointed to, while imock_replace() is at it
 * @tag: IOTLB tag
 * @tag_pasid: PASID that the IOTLB uses besides, or 0
 */
struct imock_entry {
	const struct imock_domain *domain;
	const struct imock_domain *old;
	u32 tag;
	u32 tag_pasid;
};

/**
 * struct imock_fn - a function
 * @inst: the instance behind which it stands
 * @requester: its index in &imock.fn
 * @ats: it has an ATC. Set by imock_set_ats(); true at first
 * @dead: does not answer invalidations; protected by the instance's lock
 * @quiet: pretend that its ATC needs no commands. Set before it is attached
 * @entry: protected by the instance's lock
 * @atc: protected by the instance's lock
 * @posted: translation of a write that the instance has let pass, and that is not
 *	yet in memory; no domain: there is none. This and the next three are
 *	protected by the instance's lock
 * @posted_page: page of @posted
 * @copy: the instance has a copy of @context that lets them pass
 * @asked: ATC commands for it since imock_clear()
 * @context: the context entry lets translated requests pass; written under
 *	&imock_instance.context_lock
 * @fences: how often it was fenced since imock_clear()
 * @alist_fn: the core's part of that
 * @attached: the domain on each PASID. This and the next belong to the function's
 *	one driver thread
 * @attach: the core's part of it
 */
struct imock_fn {
	struct imock_instance *inst;
	u32 requester;
	bool ats;
	bool dead;
	bool quiet;
	struct imock_entry entry[IMOCK_PASIDS];
	struct imock_xlate atc[IMOCK_PASIDS][IMOCK_PAGES];
	struct imock_xlate posted;
	unsigned int posted_page;
	bool copy;
	unsigned int asked;
	bool context;
	atomic_t fences;
	struct iommu_alist_fn alist_fn;
	struct imock_domain *attached[IMOCK_PASIDS];
	struct iommu_alist_attach attach[IMOCK_PASIDS];
};

/**
 * struct imock_cmd - a command
 * @what: %IMOCK_IOTLB, %IMOCK_ATC or %IMOCK_CONTEXT
 * @first: page
 * @last: page
 * @id: tag or requester
 * @pasid: PASID
 */
struct imock_cmd {
	u8 what;
	u16 first;
	u16 last;
	u32 id;
	u32 pasid;
};

enum imock_state {
	IMOCK_FREE,
	IMOCK_QUEUED,
	IMOCK_DONE,
};

/**
 * struct imock_batch - commands in a queue, with a sync behind them or without
 * @state: a batch that is done is freed by whoever waits for it
 * @pushed: there is no sync, and it is free when it is done
 * @result: what it will tell him. If not 0, the commands have no effect
 * @ready: nothing of it happens before
 * @nr: number of commands
 * @next: to be executed
 * @cmd: the commands
 */
struct imock_batch {
	enum imock_state state;
	bool pushed;
	int result;
	ktime_t ready;
	unsigned int nr;
	unsigned int next;
	struct imock_cmd cmd[IMOCK_BATCH];
};

/**
 * struct imock_instance - an IOMMU
 * @iommu: as the core knows it
 * @mock: the machine
 * @index: in &imock.inst, which is in order of address, too
 * @lock: protects what follows, and entries and ATCs of the functions behind it
 * @queue: ring of batches
 * @head: the next to be executed
 * @tail: the next to be submitted
 * @abort: abort the sync that comes as this one from now, 1 is the next; 0: none
 * @broken: what every sync reports
 * @needs_sync: takes no batch without one. Set while nothing is under way
 * @aborts: syncs since imock_clear() that report anything but 0
 * @iotlb: by tag, PASID and page
 * @count: of what happened since imock_clear()
 * @tags: allocated tags; has its own lock
 * @taken: the same, for who frees one; atomic
 * @context_lock: held by who writes the context entry of a function behind it
 */
struct imock_instance {
	struct iommu_device iommu;
	struct imock *mock;
	unsigned int index;
	raw_spinlock_t lock;
	struct imock_batch queue[IMOCK_SLOTS];
	u32 head;
	u32 tail;
	unsigned int abort;
	int broken;
	bool needs_sync;
	unsigned int aborts;
	struct imock_xlate iotlb[IMOCK_TAGS][IMOCK_PASIDS][IMOCK_PAGES];
	unsigned int count[IMOCK_NR_WHAT];
	struct ida tags;
	DECLARE_BITMAP(taken, IMOCK_TAGS);
	raw_spinlock_t context_lock;
};

/**
 * struct imock_event - a line of the log
 * @what: what happened
 * @inst: at which instance
 */
struct imock_event {
	enum imock_what what;
	unsigned int inst;
};

/**
 * struct imock - a machine
 * @driver: of all its instances
 * @nr_inst: number of instances
 * @nr_fns: number of functions; number n stands behind instance n % @nr_inst
 * @inst: the instances
 * @fn: the functions
 * @domain: domains to attach them to
 * @slots: batches that each queue holds, a power of two. This and the next five
 *	are set while nothing is under way
 * @latency: how long a batch takes
 * @tag_error: what &iommu_alist_ops.tag_alloc returns, if it is to fail
 * @fence_error: what &iommu_alist_ops.fence returns, if it is to fail
 * @stop: see &enum imock_stop
 * @hook: for the walks of imock_attach(), imock_detach() and imock_replace()
 * @priv: for whoever sets hooks
 * @lock: protects what follows
 * @nr_logged: events since imock_clear(), of which the log holds the first
 * @log: the log
 * @nr_complaints: things that must not happen, and did
 * @complaint: the first of them
 */
struct imock {
	const struct imock_driver *driver;
	unsigned int nr_inst;
	unsigned int nr_fns;
	struct imock_instance *inst;
	struct imock_fn *fn;
	struct imock_domain domain[IMOCK_DOMAINS];
	unsigned int slots;
	ktime_t latency;
	int tag_error;
	int fence_error;
	imock_stop_t *stop;
	imock_hook_t *hook;
	void *priv;
	raw_spinlock_t lock;
	unsigned int nr_logged;
	struct imock_event log[IMOCK_LOG];
	unsigned int nr_complaints;
	char complaint[128];
};

/**
 * struct imock_walk - the walk of a driver
 * @walk: the core's part
 * @mock: the machine
 * @hook: see imock_walk_init()
 * @first: page
 * @last: page
 * @pending: instances at which it has a sync under way
 * @syncs: that it has sent
 * @pushed: instance at which it has commands without a sync
 * @lost: instances that aborted some of these
 * @inst: to which the batch belongs
 * @nr: commands in the batch
 * @cmd: the batch
 */
struct imock_walk {
	struct iommu_alist_walk walk;
	struct imock *mock;
	imock_hook_t *hook;
	u16 first;
	u16 last;
	u64 pending;
	unsigned int syncs;
	struct imock_instance *pushed;
	u64 lost;
	struct imock_instance *inst;
	unsigned int nr;
	struct imock_cmd cmd[IMOCK_BATCH];
};

struct imock *imock_create(const struct imock_driver *driver,
			   unsigned int nr_inst, unsigned int nr_fns);
void imock_destroy(struct imock *mock);
void imock_clear(struct imock *mock);
unsigned int imock_count(struct imock *mock, enum imock_what what);
unsigned int imock_aborts(struct imock *mock);
bool imock_has_tags(struct imock *mock);

__printf(2, 3)
void imock_complain(struct imock *mock, const char *fmt, ...);
bool imock_is_good(struct imock *mock);

void imock_write(struct imock_domain *domain, unsigned int page, u32 version);
int imock_access(struct imock_fn *fn, u32 pasid, unsigned int page);
void imock_access_all(struct imock *mock);
unsigned int imock_stale(struct imock_domain *domain, unsigned int page,
			 u32 version);

void imock_walk_init(struct imock_walk *mw, struct imock *mock,
		     unsigned int kinds, unsigned int first, unsigned int last);
void imock_walk_end(struct imock_walk *mw);
int imock_flush(struct imock_domain *domain, unsigned int kinds,
		unsigned int first, unsigned int last);

struct iommu_alist_where imock_where(struct imock_fn *fn, u32 pasid,
				     struct imock_domain *domain);
int imock_attach(struct imock_fn *fn, u32 pasid, struct imock_domain *domain);
int imock_attach_ids(struct imock *mock, u32 pasid,
		     struct imock_domain *domain, const u32 *ids,
		     unsigned int *nr);
int imock_detach_ids(struct imock *mock, u32 pasid, const u32 *ids,
		     unsigned int nr);
int imock_enable_ats(struct imock_fn *fn, u32 pasid);
int imock_detach_kinds(struct imock_fn *fn, u32 pasid, unsigned int kinds);
int imock_detach(struct imock_fn *fn, u32 pasid);
int imock_replace(struct imock_fn *fn, u32 pasid, struct imock_domain *domain);

void imock_set_ats(struct imock_fn *fn, bool on);
void imock_set_dead(struct imock_fn *fn, bool dead);
bool imock_is_blocked(struct imock_fn *fn);
void imock_post(struct imock_fn *fn, u32 pasid, unsigned int page);
void imock_free_old(struct imock_domain *domain);
void imock_write_context(struct imock_fn *fn);
int imock_resume(struct imock_fn *fn);
void imock_abort(struct imock_instance *inst, unsigned int nth);
void imock_break(struct imock_instance *inst, int error);

#endif /* __IOMMU_MOCK_H */
