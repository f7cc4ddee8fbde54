/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VT-d units and PCI functions made of memory, for tests of the driver. What is a
 * model of what, and what is left out, is at the top of kunit-mock.c.
 */
#ifndef __INTEL_KUNIT_MOCK_H
#define __INTEL_KUNIT_MOCK_H

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "iommu.h"
#include "pasid.h"
#include "../iommu-kunit-hw.h"
#include "../iommu-kunit-mock.h"

#define VTD_UNITS	8	/* of a machine, at most */
#define VTD_FNS		16	/* of a machine, at most */
#define VTD_LOG		512	/* commands that a unit's log holds */
#define VTD_PASIDS	16	/* attached, of a function */
#define VTD_CONTEXTS	32	/* context entries that a unit caches */
#define VTD_ENTRIES	64	/* PASID entries that a unit caches */
#define VTD_LATE	8	/* page requests on the way to a unit */
#define VTD_DOMAINS	16	/* of a machine, at most */
#define VTD_SEGMENT	0xfeed	/* see vtd_find_unit() */

/* What a unit can do if the test has no other wish: 256 domains, 4 levels, 2M, 1G */
#define VTD_CAP								\
	(2ULL | BIT_ULL(10) | 47ULL << 16 | 3ULL << 34 | BIT_ULL(39) |	\
	 18ULL << 48 | BIT_ULL(56) | BIT_ULL(60))
#define VTD_CAP_RWBF	BIT_ULL(4)
#define VTD_CAP_CM	BIT_ULL(7)
#define VTD_CAP_PSI	BIT_ULL(39)
#define VTD_CAP_MAMV	GENMASK_ULL(53, 48)
#define VTD_CAP_5LEVEL	(BIT_ULL(10) | BIT_ULL(11) | 56ULL << 16)
#define VTD_ECAP_C	BIT_ULL(0)
#define VTD_ECAP_QI	BIT_ULL(1)
#define VTD_ECAP_DT	BIT_ULL(2)
#define VTD_ECAP_SC	BIT_ULL(7)
#define VTD_ECAP_NEST	BIT_ULL(26)
#define VTD_ECAP_PRS	BIT_ULL(29)
#define VTD_ECAP_PASID	BIT_ULL(40)
#define VTD_ECAP_DIT	BIT_ULL(41)
#define VTD_ECAP_PDS	BIT_ULL(42)
#define VTD_ECAP_SMTS	BIT_ULL(43)
#define VTD_ECAP_SLADS	BIT_ULL(45)
#define VTD_ECAP_SLTS	BIT_ULL(46)
#define VTD_ECAP_FLTS	BIT_ULL(47)
#define VTD_ECAP_SMPWC	BIT_ULL(48)
#define VTD_ECAP							\
	(VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_DT | VTD_ECAP_SC |		\
	 VTD_ECAP_NEST | VTD_ECAP_PRS | 19ULL << 35 | VTD_ECAP_PASID |	\
	 VTD_ECAP_PDS | VTD_ECAP_SMTS | VTD_ECAP_SLADS |		\
	 VTD_ECAP_SLTS | VTD_ECAP_FLTS | VTD_ECAP_SMPWC)

struct vtd_fn;
struct vtd_machine;
struct vtd_unit;

/**
 * enum vtd_result - what became of a command
 * @VTD_DONE: it was executed
 * @VTD_LOST: a device-TLB invalidation that the function did not answer, or one
 *	behind it, up to the wait descriptor that finds out
 * @VTD_ABORTED: that wait descriptor
 */
enum vtd_result {
	VTD_DONE,
	VTD_LOST,
	VTD_ABORTED,
};

/**
 * struct vtd_cmd - a descriptor that left the queue, or is about to
 * @type: QI_..._TYPE
 * @gran: granularity, in the encoding of the descriptor
 * @am: address mask; a device-TLB invalidation of everything has %KIOMMU_ALL
 * @ih: invalidation hint: no more than leaf entries have changed
 * @fence: of a wait descriptor
 * @global: of a device-TLB invalidation: whatever its PASID
 * @status: a wait descriptor that writes its status
 * @did: domain ID
 * @sid: requester ID
 * @pfsid: requester ID of the physical function
 * @qdep: invalidations that the function can take at once
 * @pasid: PASID
 * @drain: a wait descriptor behind which page requests are in the ring
 * @addr: address, aligned to @am; of a page response, the group's index
 * @qw: the descriptor
 * @issued: when the tail register passed it, in terms of &kiommu.seq
 * @done: when it left the queue
 * @result: what became of it
 */
struct vtd_cmd {
	u8 type;
	u8 gran;
	u8 am;
	bool ih;
	bool fence;
	bool global;
	bool status;
	u16 did;
	u16 sid;
	u16 pfsid;
	u8 qdep;
	u32 pasid;
	bool drain;
	u64 addr;
	u64 qw[4];
	u64 issued;
	u64 done;
	enum vtd_result result;
};

/* A cached PASID entry of a requester; in caching mode perhaps one that is not present */
struct vtd_pasid_cache {
	bool valid;
	u16 sid;
	u32 pasid;
	struct pasid_entry entry;
};

/* A cached context entry of a requester; in caching mode perhaps one that is not present */
struct vtd_context {
	bool valid;
	u16 sid;
	u64 lo;
	u64 hi;
};

/* A page request, as the ring has it */
struct vtd_request {
	u64 qw[4];
};

#define VTD_CC_PENDING	16

/**
 * struct vtd_slot - what a unit knows about a slot of its queue
 * @ready: nothing happens to it before
 * @issued: see &vtd_cmd.issued
 * @seen: it has been at the head of the queue
 * @told: &vtd_unit.before was called for it
 * @bad: there was an error in it, and these were the first two words
 */
struct vtd_slot {
	u64 ready;
	u64 issued;
	bool seen;
	bool told;
	bool bad;
	u64 bad_qw[2];
};

/* Called before a command leaves the queue, without locks, interrupts off */
typedef void vtd_before_t(struct vtd_unit *unit, const struct vtd_cmd *cmd);

/**
 * struct vtd_unit - a remapping unit
 * @iommu: what the driver sees
 * @hw: how it gets there
 * @machine: the machine
 * @index: in &vtd_machine.unit
 * @reg: the registers
 * @bus: the bus behind it, with the functions
 * @sysdata: of @bus
 * @drhd: see vtd_find_unit()
 * @found: the driver can find it
 * @latency: nanoseconds that a wait descriptor takes, and
 * @cmd_latency: another one. One after the other. Set while the queue is empty
 * @before: see vtd_before_t. Set while the queue is empty, as is
 * @priv: for @before
 * @lock: protects what follows, and the caches of the functions behind the unit.
 *	Taken inside &q_inval.q_lock.
 * @head: next slot to be executed
 * @tail: behind the last slot that was submitted
 * @busy_until: when the last of them is ready
 * @slot: by index
 * @turn: whose @before runs
 * @hold: where it is to stop
 * @fault: bits of the fault status register that have not been cleared
 * @fault_until: after that nobody will
 * @iqe: error in which command, counted from now: 1 is the next; 0: none. As
 * @ice: the same for completion errors
 * @refuse: type of which every command is refused; 0: none
 * @lost: a function did not answer, and the next wait descriptor finds out
 * @lost_sid: which
 * @nameless: it does not say which
 * @ahead: submissions behind that one that it has fetched, when it finds out, and drops
 * @behind: of those, how many are still to come
 * @nr_cc: context-cache invalidations that need not have taken effect yet, of
 * @cc: these
 * @context: the context cache
 * @pasid_cache: the PASID cache
 * @iotlb: the IOTLB
 * @prs: bits of the page request status register that have not been cleared
 * @nr_late: page requests that are on the way to the ring, of
 * @late: these
 * @nr_logged: commands since vtd_clear_log(), of which the log holds the first
 * @count: of commands since then, by type
 * @log: the log
 */
struct vtd_unit {
	struct intel_iommu iommu;
	struct iommu_kunit_hw hw;
	struct vtd_machine *machine;
	unsigned int index;
	void *reg;
	struct kiommu_bus bus;
	struct pci_sysdata sysdata;
	struct dmar_drhd_unit drhd;
	bool found;
	u64 latency;
	u64 cmd_latency;
	vtd_before_t *before;
	void *priv;
	raw_spinlock_t lock;
	unsigned int head;
	unsigned int tail;
	u64 busy_until;
	struct vtd_slot slot[QI_LENGTH];
	struct kiommu_turn turn;
	struct kiommu_hold hold;
	u32 fault;
	u64 fault_until;
	unsigned int iqe;
	unsigned int ice;
	u8 refuse;
	bool lost;
	u16 lost_sid;
	bool nameless;
	unsigned int ahead;
	unsigned int behind;
	unsigned int nr_cc;
	struct vtd_cmd cc[VTD_CC_PENDING];
	struct vtd_context context[VTD_CONTEXTS];
	struct vtd_pasid_cache pasid_cache[VTD_ENTRIES];
	struct kiommu_tlb iotlb[KIOMMU_TLB];
	u32 prs;
	unsigned int nr_late;
	struct vtd_request late[VTD_LATE];
	unsigned int nr_logged;
	unsigned int count[16];
	struct vtd_cmd log[VTD_LOG];
};

/**
 * struct vtd_fn - a PCI function
 * @pci: what is no different from that of another IOMMU
 * @info: the driver's part of it
 * @unit: the unit that it is behind
 * @in_flight: a write that has passed the unit as translated, and is not in memory.
 *	Protected by &vtd_unit.lock
 * @probed: the driver has probed it by itself
 * @owed: groups of page requests that are to be answered. As @in_flight
 * @rid_domain: what its RID is attached to; of the test's thread
 * @attached: what its PASIDs are attached to; of the test's thread
 */
struct vtd_fn {
	struct kiommu_fn pci;
	struct device_domain_info info;
	struct vtd_unit *unit;
	bool in_flight;
	bool probed;
	unsigned int owed;
	struct iommu_domain *rid_domain;
	struct {
		u32 pasid;
		struct iommu_domain *domain;
	} attached[VTD_PASIDS];
};

/**
 * struct vtd_machine - units, the functions behind them, and domains
 * @k: what they have in common with those of another IOMMU
 * @nr_units: number of units
 * @unit: the units, in order of address
 * @nr_fns: number of functions
 * @fn: the functions
 * @nr_domains: number of domains
 * @domain: domains to be freed in the end, in the order of their allocation
 * @unaudited: caches may be left with what is old, for the reason that the test gives
 */
struct vtd_machine {
	struct kiommu k;
	unsigned int nr_units;
	struct vtd_unit *unit;
	unsigned int nr_fns;
	struct vtd_fn *fn[VTD_FNS];
	unsigned int nr_domains;
	struct iommu_domain *domain[VTD_DOMAINS];
	bool unaudited;
};

/* Behind the last command that the log has */
static inline const struct vtd_cmd *vtd_log_end(const struct vtd_unit *unit)
{
	return unit->log + min(unit->nr_logged, VTD_LOG);
}

/* See kiommu_at_exit() */
static inline void vtd_at_exit(struct kunit *test, void (*fn)(void *arg), void *arg)
{
	struct vtd_machine *machine = test->priv;

	kiommu_at_exit(test, &machine->k, fn, arg);
}

static inline struct vtd_unit *hw_to_vtd_unit(struct iommu_kunit_hw *hw)
{
	return container_of(hw, struct vtd_unit, hw);
}

static inline struct vtd_fn *to_vtd_fn(struct device *dev)
{
	return container_of(to_kiommu_fn(dev), struct vtd_fn, pci);
}

/* --- kunit-mock.c: the hardware --- */

/* What a page request is like, beside what it asks for */
#define VTD_READ	BIT(0)
#define VTD_WRITE	BIT(1)
#define VTD_LAST	BIT(2)	/* of its group */
#define VTD_ON_THE_WAY	BIT(3)	/* gets to the ring when page requests are drained */
#define VTD_GROUP(n)	((n) << 4)

/* What vtd_stream() shows */
#define VTD_WAITS	BIT(0)	/* wait descriptors, too */

void vtd_qi(struct iommu_kunit_hw *hw, bool submitted);
void vtd_clear_log(struct vtd_machine *machine);
const char *vtd_stream(struct kunit *test, struct vtd_unit *unit,
		       unsigned int flags);
unsigned int vtd_count(struct vtd_unit *unit, u8 type);

int vtd_access(struct vtd_fn *fn, u32 pasid, u64 iova, u64 *pa);
int vtd_access_as(struct vtd_fn *fn, u8 devfn, u64 iova, u64 *pa);
int vtd_post(struct vtd_fn *fn, u32 pasid, u64 iova);
bool vtd_in_flight(struct vtd_fn *fn);
struct pasid_entry *vtd_entry(struct vtd_fn *fn, u32 pasid);
u64 vtd_root(struct vtd_fn *fn, u32 pasid);
unsigned int vtd_stale(struct vtd_machine *machine, u64 root, u64 iova,
		       u64 size);
unsigned int vtd_cached(struct vtd_machine *machine, u64 root);
void vtd_audit(struct vtd_machine *machine);
void vtd_audit_released(struct vtd_fn *fn);

int vtd_request(struct vtd_fn *fn, u32 pasid, u64 iova, unsigned int flags);

void vtd_let_others(struct vtd_unit *unit);
void vtd_name_nobody(struct vtd_unit *unit, unsigned int ahead);
void vtd_queue_error(struct vtd_unit *unit, unsigned int nth);
bool vtd_shows_fault(struct vtd_unit *unit);
void vtd_refuse(struct vtd_unit *unit, u8 type);
void vtd_completion_error(struct vtd_unit *unit, unsigned int nth);

/* --- kunit-machine.c: what tests are made of --- */

/* What a unit can do; 0: %VTD_CAP and %VTD_ECAP */
struct vtd_caps {
	u64 cap;
	u64 ecap;
};

/* What kind of domain */
#define VTD_FIRST_LEVEL	BIT(0)
#define VTD_PARENT	BIT(1)	/* of nested domains */
#define VTD_DIRTY	BIT(2)	/* tracking */

struct vtd_machine *vtd_machine(struct kunit *test, unsigned int nr_units,
				const struct vtd_caps *caps);
void vtd_exit(struct kunit *test);
struct vtd_fn *vtd_add_fn(struct kunit *test, unsigned int unit,
			  unsigned int flags);
struct vtd_fn *vtd_add_unprobed_fn(struct kunit *test, unsigned int unit,
				   unsigned int flags);
void vtd_alias(struct kunit *test, struct vtd_fn *fn, u8 devfn, unsigned int nr);
int vtd_probe(struct vtd_fn *fn);
void vtd_find_unit(struct vtd_unit *unit, bool find);
void vtd_release_fn(struct vtd_fn *fn);

struct iommu_domain *vtd_paging(struct kunit *test, struct vtd_fn *fn,
				unsigned int flags);
struct iommu_domain *vtd_sva(struct kunit *test, struct vtd_fn *fn,
			     struct mm_struct *mm);
struct iommu_domain *
vtd_nested_alloc(struct kunit *test, struct vtd_fn *fn,
		 struct iommu_domain *parent, const struct iommu_hwpt_vtd_s1 *s1);
struct iommu_domain *vtd_nested(struct kunit *test, struct vtd_fn *fn,
				struct iommu_domain *parent);
int vtd_invalidate_user(struct kunit *test, struct iommu_domain *domain,
			u64 addr, u64 npages, u32 *processed);

int vtd_attach(struct vtd_fn *fn, struct iommu_domain *domain);
void vtd_block(struct vtd_fn *fn);
int vtd_set_pasid(struct vtd_fn *fn, u32 pasid, struct iommu_domain *domain);
void vtd_remove_pasid(struct vtd_fn *fn, u32 pasid);

#define VTD_PA(iova)	(SZ_1G + (u64)(iova))	/* to what vtd_map() maps it */

void vtd_map(struct kunit *test, struct iommu_domain *domain, u64 iova,
	     unsigned int pages);
void vtd_map_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		  size_t pgsize);
void vtd_sync_map(struct iommu_domain *domain, u64 iova, unsigned int pages);
void vtd_unmap(struct iommu_domain *domain, u64 iova, unsigned int pages);
void vtd_flush_all(struct iommu_domain *domain);

#endif /* __INTEL_KUNIT_MOCK_H */
