/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SMMUv3 instances made of memory, for tests of the driver. What is a model of what, and
 * what is left out, is at the top of kunit-mock.c.
 */
#ifndef __ARM_SMMU_V3_KUNIT_MOCK_H
#define __ARM_SMMU_V3_KUNIT_MOCK_H

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>

#include "arm-smmu-v3.h"
#include "../../iommu-kunit-hw.h"
#include "../../iommu-kunit-mock.h"

#define SMMU_UNITS	8	/* of a machine, at most */
#define SMMU_FNS	16	/* of a machine, at most */
#define SMMU_SIDS	4	/* of a function, at most */
#define SMMU_LOG	512	/* commands that an instance's log holds */
#define SMMU_TLB	128	/* entries of a TLB */
#define SMMU_STES	32	/* that an instance caches */
#define SMMU_CDS	96	/* that an instance caches, and level 1 descriptors */
#define SMMU_DOMAINS	16	/* of a machine, at most */
#define SMMU_QUEUE	8	/* log2 of the slots of a queue, if the test has no other wish */
#define SMMU_SLOTS	10	/* the same at most */
#define SMMU_OUTSTANDING 8	/* ATC invalidations that are not answered yet */
#define SMMU_MSIS	64	/* that are on their way */

/* What an instance can do if the test has no other wish */
#define SMMU_FEATURES							\
	(ARM_SMMU_FEAT_2_LVL_STRTAB | ARM_SMMU_FEAT_2_LVL_CDTAB |	\
	 ARM_SMMU_FEAT_TT_LE | ARM_SMMU_FEAT_ATS |			\
	 ARM_SMMU_FEAT_COHERENCY | ARM_SMMU_FEAT_TRANS_S1 |		\
	 ARM_SMMU_FEAT_TRANS_S2 | ARM_SMMU_FEAT_RANGE_INV |		\
	 ARM_SMMU_FEAT_SVA | ARM_SMMU_FEAT_ATTR_TYPES_OVR)

/* The driver's name is that of one range, the largest. */
#define SMMU_OP_CFGI_STE_RANGE	CMDQ_OP_CFGI_ALL

struct smmu_fn;
struct smmu_machine;
struct smmu_unit;

/**
 * enum smmu_access - what became of an access
 * @SMMU_OK: it got to memory
 * @SMMU_BAD_STE: the STE is not valid, or there is no table for it
 * @SMMU_ABORTED: the STE, or its S1DSS, terminates it
 * @SMMU_BAD_SSID: beyond the table of CDs, or without one
 * @SMMU_BAD_CD: the CD is not valid, or there is no table for it
 * @SMMU_TRANSLATION: there is no translation, or the CD disables all of them
 * @SMMU_ACCESS: the access flag is clear
 * @SMMU_PERMISSION: there is a translation, for others or for reading only
 * @SMMU_NO_ATS: the STE forbids translation requests, or what was translated
 */
enum smmu_access {
	SMMU_OK,
	SMMU_BAD_STE,
	SMMU_ABORTED,
	SMMU_BAD_SSID,
	SMMU_BAD_CD,
	SMMU_TRANSLATION,
	SMMU_ACCESS,
	SMMU_PERMISSION,
	SMMU_NO_ATS,
};

/**
 * struct smmu_cmd - a command that left the queue, or is about to
 * @op: CMDQ_OP_...
 * @qw: the command
 * @issued: when the instance saw it first, in terms of &kiommu.seq
 * @done: when it left the queue
 * @error: the queue stopped there, CMDQ_ERR_CERROR_..._IDX
 */
struct smmu_cmd {
	u8 op;
	u64 qw[CMDQ_ENT_DWORDS];
	u64 issued;
	u64 done;
	u8 error;
};

/**
 * struct smmu_table - a page table, and what its entries in a TLB are found by
 * @root: physical address, 0: none, addresses stay what they are
 * @tsz: as in TCR: 64 less the bits of an address
 * @start: level of the root
 * @s2: of the second stage
 * @el2: its ASID is of EL2-E2H
 * @ha: hardware sets access flags
 * @hd: hardware makes pages writable that have DBM
 * @no_walk: EPD0: there is what the TLB has, and nothing else
 * @vmid: VMID
 * @asid: ASID, of the first stage
 */
struct smmu_table {
	u64 root;
	u8 tsz;
	u8 start;
	bool s2;
	bool el2;
	bool ha;
	bool hd;
	bool no_walk;
	u16 vmid;
	u16 asid;
};

/**
 * struct smmu_tlb - what a TLB knows
 * @valid: there is something
 * @doomed: a command has named it, and no CMD_SYNC has completed since
 * @walk: this is where a table of the last level is, not a translation
 * @write: of a translation: for writing, too
 * @level: of the descriptor that it is from
 * @order: log2 of the number of pages
 * @table: the table
 * @page: number of the first page, of 4K
 * @pfn: what that translates to; of a @walk, where the table of the last level is
 */
struct smmu_tlb {
	bool valid;
	bool doomed;
	bool walk;
	bool write;
	u8 level;
	u8 order;
	struct smmu_table table;
	u64 page;
	u64 pfn;
};

/**
 * struct smmu_config - a structure that an instance has cached, valid or not
 * @valid: it has
 * @doomed: as in &smmu_tlb
 * @l1: a descriptor of level 1, of the CDs from @ssid on
 * @sid: StreamID
 * @ssid: SubstreamID, of a CD
 * @data: what it read
 */
struct smmu_config {
	bool valid;
	bool doomed;
	bool l1;
	u32 sid;
	u32 ssid;
	u64 data[STRTAB_STE_DWORDS];
};

/**
 * struct smmu_slot - what an instance knows about a slot of its queue
 * @qw: what was there when it saw it first
 * @ready: nothing happens to it before
 * @issued: see &smmu_cmd.issued
 * @seen: it has been at the head of the queue
 * @told: &smmu_unit.before was called for it
 * @bad: the queue stopped there: software may change it
 */
struct smmu_slot {
	u64 qw[CMDQ_ENT_DWORDS];
	u64 ready;
	u64 issued;
	bool seen;
	bool told;
	bool bad;
};

/* An ATC invalidation that the function has not answered yet */
struct smmu_atc_inv {
	struct smmu_fn *fn;
	u32 ssid;
	u64 page;
	unsigned int order;
};

/**
 * struct smmu_msi - an MSI on its way
 * @at: where it goes
 * @data: what is written there, after
 * @turns: calls of smmu_queue() by those who wait
 */
struct smmu_msi {
	u32 *at;
	u32 data;
	unsigned int turns;
};

/*
 * Called before a command leaves the queue, interrupts off, without the instance's lock. The
 * driver waits meanwhile, with its locks: that of the queue's slots, those of the domains,
 * and the group's. What needs them is for another CPU.
 */
typedef void smmu_before_t(struct smmu_unit *unit, const struct smmu_cmd *cmd);

/**
 * struct smmu_unit - an instance
 * @smmu: what the driver sees
 * @hw: how it gets there
 * @fwnode: by which the driver finds it for a function
 * @pdev: its platform device, which allocates tables and queues
 * @bus: the bus behind it
 * @machine: the machine
 * @index: in &smmu_machine.unit
 * @reg: the registers
 * @latency: nanoseconds that a CMD_SYNC takes, and
 * @cmd_latency: another command. One after the other. Set while the queue is empty
 * @atc_timeout: nanoseconds after which it finds out that a function does not answer
 * @before: see smmu_before_t. Set while the queue is empty, as is
 * @priv: for @before
 * @hold: see kiommu_hold()
 * @lock: protects what follows, and the ATCs of the functions behind the instance
 * @head: next slot to be executed, as the register has it
 * @tail: behind the last slot that it has seen
 * @busy_until: when the last of them is ready
 * @slot: by index
 * @turn: whose @before runs
 * @fail: which error, CMDQ_ERR_CERROR_..._IDX, at
 * @fail_nth: which command that is no CMD_SYNC, counted from now; 0: none
 * @refuse: opcode of which each command is an illegal one; 0: none
 * @msi_turns: how long MSIs are on their way, see &smmu_msi.turns
 * @lose_msis: that many of the next get lost
 * @nr_msis: number of those on their way, which are
 * @msi: these
 * @stopped: there was an error, and software has not acknowledged it
 * @lost: a function did not answer, and the next CMD_SYNC finds out
 * @answer_at: a CMD_SYNC waits until then, for
 * @nr_outstanding: that many ATC invalidations, of which not answered are
 * @outstanding: these
 * @ste: cached STEs
 * @cd: cached CDs and level 1 descriptors
 * @tlb: the TLB
 * @nr_logged: commands since smmu_clear_log(), of which the log holds the first
 * @count: of commands since then, by opcode
 * @log: the log
 */
struct smmu_unit {
	struct arm_smmu_device smmu;
	struct iommu_kunit_hw hw;
	struct fwnode_handle fwnode;
	struct platform_device *pdev;
	struct kiommu_bus bus;
	struct smmu_machine *machine;
	unsigned int index;
	void *reg;
	u64 latency;
	u64 cmd_latency;
	u64 atc_timeout;
	smmu_before_t *before;
	void *priv;
	struct kiommu_hold hold;
	raw_spinlock_t lock;
	u32 head;
	u32 tail;
	u64 busy_until;
	struct smmu_slot slot[1 << SMMU_SLOTS];
	struct kiommu_turn turn;
	u8 fail;
	unsigned int fail_nth;
	u8 refuse;
	unsigned int msi_turns;
	unsigned int lose_msis;
	unsigned int nr_msis;
	struct smmu_msi msi[SMMU_MSIS];
	bool stopped;
	bool lost;
	u64 answer_at;
	unsigned int nr_outstanding;
	struct smmu_atc_inv outstanding[SMMU_OUTSTANDING];
	struct smmu_config ste[SMMU_STES];
	struct smmu_config cd[SMMU_CDS];
	struct smmu_tlb tlb[SMMU_TLB];
	unsigned int nr_logged;
	unsigned int count[256];
	struct smmu_cmd log[SMMU_LOG];
};

/**
 * struct smmu_fn - a PCI function
 * @fn: the function, with its ATC
 * @unit: the instance that it is behind
 * @sid: its StreamIDs, the first one is its requester ID
 * @nr_sids: number of those, duplicates included
 * @late_ns: how long it takes to answer an ATC invalidation
 * @asked_off: invalidations that got to it while its ATS was off. Under &smmu_unit.lock
 * @fwspec: what firmware says
 * @probed: the driver has probed it
 * @grouped: it is in a group
 */
struct smmu_fn {
	struct kiommu_fn fn;
	struct smmu_unit *unit;
	u32 sid[SMMU_SIDS];
	unsigned int nr_sids;
	u64 late_ns;
	unsigned int asked_off;
	struct iommu_fwspec *fwspec;
	bool probed;
	bool grouped;
};

/**
 * struct smmu_attached - a PASID of a machine that is attached
 * @fn: the function, NULL: none
 * @ssid: the PASID
 * @domain: to what
 */
struct smmu_attached {
	struct smmu_fn *fn;
	u32 ssid;
	struct iommu_domain *domain;
};

#define SMMU_ATTACHED	32

/**
 * struct smmu_machine - instances, the functions behind them, and domains
 * @k: sequence numbers, complaints, what smmu_exit() does first
 * @nr_units: number of instances
 * @unit: the instances
 * @nr_fns: number of functions
 * @fn: the functions
 * @nr_owned: number of domains
 * @owned: the domains, in the order of their allocation, freed in the opposite one; NULL: is freed
 * @attached: PASIDs that are attached
 * @unaudited: caches may be left with what is old, for the reason that the test gives
 * @strict_ats: ATC invalidations while ATS is off are complained about
 */
struct smmu_machine {
	struct kiommu k;
	unsigned int nr_units;
	struct smmu_unit *unit;
	unsigned int nr_fns;
	struct smmu_fn *fn[SMMU_FNS];
	unsigned int nr_owned;
	struct iommu_domain *owned[SMMU_DOMAINS];
	struct smmu_attached attached[SMMU_ATTACHED];
	bool unaudited;
	bool strict_ats;
};

/* Behind the last command that the log has */
static inline const struct smmu_cmd *smmu_log_end(const struct smmu_unit *unit)
{
	return unit->log + min(unit->nr_logged, SMMU_LOG);
}

static inline struct smmu_unit *hw_to_smmu_unit(struct iommu_kunit_hw *hw)
{
	return container_of(hw, struct smmu_unit, hw);
}

static inline struct device *smmu_dev(struct smmu_fn *fn)
{
	return &fn->fn.pdev.dev;
}

/* --- kunit-mock.c: the hardware --- */

void smmu_queue(struct iommu_kunit_hw *hw, bool submitted);
void smmu_settle(struct smmu_unit *unit);
void smmu_calm(struct smmu_unit *unit);
void smmu_clear_log(struct smmu_machine *machine);
unsigned int smmu_count(struct smmu_unit *unit, u8 op);
void smmu_let_others(struct smmu_unit *unit);
void smmu_fail(struct smmu_unit *unit, u8 error, unsigned int nth);
void smmu_refuse(struct smmu_unit *unit, u8 op);
bool smmu_shows_error(struct smmu_unit *unit);

/* --- kunit-caches.c: what instances know --- */

bool smmu_cfgi(struct smmu_unit *unit, const struct smmu_cmd *cmd);
bool smmu_tlbi(struct smmu_unit *unit, const struct smmu_cmd *cmd);
void smmu_prefetch(struct smmu_unit *unit, u32 sid);
void smmu_drop_doomed(struct smmu_unit *unit);

#define SMMU_WRITE	BIT(0)
#define SMMU_UNTRANSLATED BIT(1)	/* although the function uses ATS */

enum smmu_access smmu_access(struct smmu_fn *fn, u32 ssid, u64 iova,
			     unsigned int flags, u64 *pa);
void smmu_cache_all(struct smmu_fn *fn, u32 ssid);
bool smmu_in_tlb(struct smmu_unit *unit, struct iommu_domain *domain, u64 iova);
bool smmu_in_atc(struct smmu_fn *fn, u32 ssid, u64 iova);
unsigned int smmu_cached(struct smmu_machine *machine);
unsigned int smmu_stale(struct smmu_machine *machine);
void smmu_audit(struct smmu_machine *machine);
void smmu_audit_released(struct smmu_fn *fn);
u64 smmu_root(struct iommu_domain *domain);
u16 smmu_id(struct smmu_unit *unit, struct iommu_domain *domain);

/* --- kunit-text.c: what was sent, to be read --- */

/* What smmu_stream() leaves out */
#define SMMU_NO_SYNCS	BIT(0)
#define SMMU_NO_CONFIG	BIT(1)	/* CFGI_... and PREFETCH_... */

const char *smmu_stream(struct kunit *test, struct smmu_unit *unit,
			unsigned int flags);

/* --- kunit-machine.c: what tests are made of --- */

/**
 * struct smmu_caps - what an instance can do; 0 is what is usual
 * @features: ARM_SMMU_FEAT_..., usual are %SMMU_FEATURES
 * @options: ARM_SMMU_OPT_...
 * @asid_bits: size of an ASID, usual are 16 bits
 * @vmid_bits: size of a VMID, usual are 16 bits
 * @ssid_bits: size of a SubstreamID, usual are 16 bits
 * @queue: log2 of the slots of its queue, usual are %SMMU_QUEUE
 */
struct smmu_caps {
	u32 features;
	u32 options;
	u8 asid_bits;
	u8 vmid_bits;
	u8 ssid_bits;
	u8 queue;
};

/* What a function can do, beside KIOMMU_ATS and KIOMMU_PASID */
#define SMMU_FN_MANY	BIT(8)	/* 16 bits of PASID: a table of CDs with two levels */
#define SMMU_FN_IDLE	BIT(9)	/* nothing is attached, the driver has not probed it */

/* What kind of domain */
#define SMMU_S2		BIT(0)
#define SMMU_DIRTY	BIT(1)	/* tracks what is written; the first stage only */
#define SMMU_LATE	BIT(2)	/* its page table is made when it is attached first, as with SMMU_S2 */

/* What its pages translate to */
#define SMMU_PA(iova)	((iova) + 0x100001000ULL)

void smmu_turn(struct smmu_unit *unit, bool on);
struct smmu_machine *smmu_machine(struct kunit *test, unsigned int nr_units,
				  const struct smmu_caps *caps);
void smmu_exit(struct kunit *test);
struct smmu_fn *smmu_add_fn(struct kunit *test, unsigned int unit,
			    unsigned int flags);
struct smmu_fn *smmu_add_fn_like(struct kunit *test, unsigned int unit,
				 unsigned int flags, struct smmu_fn *mate,
				 const u32 *sids, unsigned int nr_sids);
int smmu_probe(struct smmu_fn *fn);
void smmu_release(struct smmu_fn *fn);

struct iommu_domain *smmu_paging(struct kunit *test, struct smmu_fn *fn,
				 unsigned int flags);
struct iommu_domain *smmu_sva(struct kunit *test, struct smmu_fn *fn,
			      struct mm_struct *mm);
void smmu_free(struct kunit *test, struct iommu_domain *domain);

int smmu_attach(struct smmu_fn *fn, struct iommu_domain *domain);
int smmu_identity(struct smmu_fn *fn);
int smmu_block(struct smmu_fn *fn);
int smmu_set_pasid(struct smmu_fn *fn, u32 pasid, struct iommu_domain *domain);
void smmu_remove_pasid(struct smmu_fn *fn, u32 pasid);

void smmu_map(struct kunit *test, struct iommu_domain *domain, u64 iova,
	      unsigned int pages);
void smmu_map_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		   size_t pgsize, unsigned int nr);
void smmu_unmap(struct kunit *test, struct iommu_domain *domain, u64 iova,
		unsigned int pages);
void smmu_unmap_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		     size_t pgsize, unsigned int nr);
void smmu_event(struct mm_struct *mm, u64 iova, u64 pages);
void smmu_mm_page(struct kunit *test, u64 addr);
bool smmu_spin_done(struct kiommu_thread *thread, unsigned int ms);

/* That many entries are cached, and each is what memory says */
#define SMMU_EXPECT_CLEAN(test, nr)						\
do {										\
	struct kunit *__test = (test);						\
	struct smmu_machine *__machine = __test->priv;				\
										\
	KUNIT_EXPECT_EQ(__test, nr, smmu_cached(__machine));			\
	KUNIT_EXPECT_EQ(__test, 0, smmu_stale(__machine));			\
} while (0)

#endif /* __ARM_SMMU_V3_KUNIT_MOCK_H */
