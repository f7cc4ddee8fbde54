// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of a queue that is full, and of one that loses what is in it
 *
 * A unit executes nothing while it is held. What it had when power goes is lost; whoever
 * waits for it after the resume has to find out.
 */
#include <kunit/test.h>
#include <linux/delay.h>

#include "kunit-left.h"
#include "../iommu-kunit-nomem.h"
#include "../iommu-pages.h"

#define IOVA		0x10000
#define HOLD_MS		20000	/* the test lets it go */
#define LOOK_MS		20
#define FIRST_DID	2
#define FULL		((QI_LENGTH - 1) / 2)	/* a command and a wait descriptor each */

static u64 submit(struct vtd_unit *unit, u16 did)
{
	struct qi_desc desc;

	qi_desc_iotlb(&unit->iommu, did, 0, 0, DMA_TLB_DSI_FLUSH, &desc);
	return qi_submit(&unit->iommu, &desc, 1, 0);
}

static unsigned int outstanding(struct vtd_unit *unit)
{
	struct q_inval *qi = unit->iommu.qi;

	return READ_ONCE(qi->head) - READ_ONCE(qi->tail);
}

/*
 * All but the one slot that stays free, and nobody waits. The last has no command; without
 * it, there are two, of which a command and its wait descriptor would use both.
 */
static unsigned int fill(struct kunit *test, struct vtd_unit *unit, u64 *sync, bool last)
{
	unsigned int n;

	kiommu_hold(&unit->hold, QI_IOTLB_TYPE, 1, HOLD_MS);
	for (n = 0; n < FULL; n++)
		sync[n] = submit(unit, FIRST_DID + n);
	KUNIT_ASSERT_EQ(test, QI_LENGTH - 2, outstanding(unit));
	if (!last)
		return n;
	sync[n] = qi_submit(&unit->iommu, NULL, 0, 0);
	KUNIT_ASSERT_EQ(test, QI_LENGTH - 1, outstanding(unit));
	return n + 1;
}

static int submit_and_wait(void *arg)
{
	struct vtd_unit *unit = arg;

	return qi_wait(&unit->iommu, submit(unit, FIRST_DID + FULL));
}

/* A ring with no free slot looks empty to the unit: let nobody wait for it for ever. */
static void give_up_if_overrun(struct vtd_unit *unit)
{
	struct q_inval *qi = unit->iommu.qi;

	if (outstanding(unit) >= QI_LENGTH)
		WRITE_ONCE(qi->tail, READ_ONCE(qi->head));
}

/* Whoever comes to a full queue waits until there is room, and overwrites nothing. */
static void full(struct kunit *test, const struct vtd_caps *caps)
{
	const struct vtd_cmd *cmd;
	struct kiommu_thread thread;
	struct vtd_unit *unit;
	unsigned int n, nr, round;
	u64 *sync;

	kiommu_two_cpus(test);
	unit = vtd_machine(test, 1, caps)->unit;
	sync = kunit_kcalloc(test, FULL + 1, sizeof(*sync), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sync);
	for (round = 0; round < 4; round++) {
		vtd_clear_log(test->priv);
		nr = fill(test, unit, sync, round & 1);
		kiommu_start(test, &thread, submit_and_wait, unit);
		KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &unit->hold));
		msleep(LOOK_MS);
		KUNIT_EXPECT_FALSE(test, completion_done(&thread.done));
		KUNIT_EXPECT_EQ(test, FULL + nr, outstanding(unit));
		KUNIT_EXPECT_EQ(test, 0, unit->nr_logged);
		give_up_if_overrun(unit);
		kiommu_let_go(&unit->hold);
		KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
		for (n = 0; n < nr; n++)
			KUNIT_EXPECT_EQ(test, 0, qi_wait(&unit->iommu, sync[n]));
		KUNIT_EXPECT_EQ(test, FULL + 1, vtd_count(unit, QI_IOTLB_TYPE));
		KUNIT_EXPECT_EQ(test, nr + 1, vtd_count(unit, QI_IWD_TYPE));
		n = 0;
		for (cmd = unit->log; cmd < vtd_log_end(unit); cmd++)
			if (cmd->type == QI_IOTLB_TYPE)
				KUNIT_EXPECT_EQ(test, FIRST_DID + n++, cmd->did);
	}
}

static void queue_is_full(struct kunit *test)
{
	full(test, NULL);
}

static const struct vtd_caps legacy = {
	.cap = VTD_CAP,
	.ecap = VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID),
};

static void queue_is_full_in_legacy_mode(struct kunit *test)
{
	full(test, &legacy);
}

/* Waited for in whichever order, each is told of its own. */
static void full_queue_is_waited_for_backwards(struct kunit *test)
{
	struct vtd_unit *unit = vtd_machine(test, 1, NULL)->unit;
	u64 *sync = kunit_kcalloc(test, FULL + 1, sizeof(*sync), GFP_KERNEL);
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, sync);
	fill(test, unit, sync, true);
	kiommu_let_go(&unit->hold);
	for (n = FULL + 1; n--;)
		KUNIT_EXPECT_EQ(test, 0, qi_wait(&unit->iommu, sync[n]));
	KUNIT_EXPECT_EQ(test, FULL, vtd_count(unit, QI_IOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, FULL + 1, vtd_count(unit, QI_IWD_TYPE));
}

/* --- registers: a thread does what a unit does when its command register is written --- */

#define STICKY	(DMA_GCMD_TE | DMA_GCMD_QIE)	/* in the status register, too */
#define KNOWN	(STICKY | DMA_GCMD_SRTP)

struct regs {
	struct kiommu_thread thread;
	struct vtd_unit *unit;
	u32 last;		/* what was in the register */
	bool stop;
	unsigned int qi_off;	/* how often the queue was switched off */
	unsigned int te_off;
	unsigned int root_set;
	bool te_when_root_set;
};

/* Whoever flushes a cache that has lost its power finds nothing in it afterwards. */
static void empty_caches(struct vtd_unit *unit)
{
	memset(unit->context, 0, sizeof(unit->context));
	memset(unit->pasid_cache, 0, sizeof(unit->pasid_cache));
	memset(unit->iotlb, 0, sizeof(unit->iotlb));
}

static void regs_set_root(struct regs *r, u32 gsts)
{
	unsigned long flags;

	r->te_when_root_set = gsts & DMA_GSTS_TES;
	r->root_set++;
	if (!cap_esrtps(r->unit->iommu.cap))
		return;
	raw_spin_lock_irqsave(&r->unit->lock, flags);
	empty_caches(r->unit);
	raw_spin_unlock_irqrestore(&r->unit->lock, flags);
}

/* The driver panics if a command is not acknowledged, so that of any other is, too. */
static u32 regs_unknown(struct regs *r, u32 gcmd)
{
	u32 unknown = gcmd & ~KNOWN;

	if (unknown)
		kiommu_complain(r->unit->bus.k, "global command %x", gcmd);
	return unknown & ~DMA_GCMD_WBF;
}

static void regs_step(struct regs *r)
{
	void *reg = r->unit->reg;
	u32 gcmd = readl(reg + DMAR_GCMD_REG), gsts = readl(reg + DMAR_GSTS_REG);
	unsigned long flags;

	if (gcmd == r->last)
		return;
	if (r->last & ~gcmd & DMA_GCMD_QIE) {
		raw_spin_lock_irqsave(&r->unit->lock, flags);
		r->unit->head = 0;
		r->unit->tail = 0;
		writel(0, reg + DMAR_IQH_REG);
		r->qi_off++;
		raw_spin_unlock_irqrestore(&r->unit->lock, flags);
	}
	r->te_off += !!(r->last & ~gcmd & DMA_GCMD_TE);
	if (gcmd & ~r->last & DMA_GCMD_SRTP) {
		regs_set_root(r, gsts);
		gsts |= DMA_GSTS_RTPS;
	}
	r->last = gcmd;
	writel((gsts & DMA_GSTS_RTPS) | (gcmd & STICKY) | regs_unknown(r, gcmd),
	       reg + DMAR_GSTS_REG);
}

static int regs_run(void *arg)
{
	struct regs *r = arg;

	while (!READ_ONCE(r->stop)) {
		regs_step(r);
		cpu_relax();
	}
	return 0;
}

static void regs_start(struct kunit *test, struct regs *r, struct vtd_unit *unit)
{
	memset(r, 0, sizeof(*r));
	r->unit = unit;
	r->last = readl(unit->reg + DMAR_GCMD_REG) & STICKY;
	kiommu_start(test, &r->thread, regs_run, r);
}

static void regs_stop(struct regs *r)
{
	WRITE_ONCE(r->stop, true);
	kiommu_join(&r->thread);
}

/* The unit has consumed the queue, as far as one can tell who is about to switch it off. */
static void pretend_idle(struct vtd_unit *unit)
{
	writel(readl(unit->reg + DMAR_IQT_REG), unit->reg + DMAR_IQH_REG);
}

static void expect_queue_regs(struct kunit *test, struct vtd_unit *unit)
{
	u64 base = virt_to_phys(unit->iommu.qi->desc);

	/* Scalable mode: 256 bits each, so that as many take two pages */
	if (sm_supported(&unit->iommu))
		base |= BIT_ULL(11) | 1;
	KUNIT_EXPECT_EQ(test, base, readq(unit->reg + DMAR_IQA_REG));
	KUNIT_EXPECT_TRUE(test, readl(unit->reg + DMAR_GSTS_REG) & DMA_GSTS_QIES);
}

/* Nobody is left to wait for what was lost, and nobody takes it for done. */
static void queue_is_lost(struct kunit *test, const struct vtd_caps *caps)
{
	struct vtd_unit *unit;
	unsigned int n, round;
	struct regs r;
	u64 *sync;

	kiommu_two_cpus(test);
	unit = vtd_machine(test, 1, caps)->unit;
	sync = kunit_kcalloc(test, FULL + 1, sizeof(*sync), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sync);
	expect_queue_regs(test, unit);
	for (round = 0; round < 2; round++) {
		fill(test, unit, sync, true);
		pretend_idle(unit);
		writeq(0, unit->reg + DMAR_IQA_REG);
		regs_start(test, &r, unit);
		KUNIT_EXPECT_EQ(test, 0, dmar_reenable_qi(&unit->iommu));
		regs_stop(&r);
		KUNIT_EXPECT_EQ(test, 1, r.qi_off);
		KUNIT_EXPECT_EQ(test, 0, r.te_off);
		kiommu_let_go(&unit->hold);
		expect_queue_regs(test, unit);
		KUNIT_EXPECT_EQ(test, 0, readl(unit->reg + DMAR_IQT_REG));
		KUNIT_EXPECT_EQ(test, 0, outstanding(unit));
		vtd_clear_log(test->priv);
		for (n = 0; n <= FULL; n++)
			KUNIT_EXPECT_EQ(test, -EAGAIN, qi_wait(&unit->iommu, sync[n]));
		KUNIT_EXPECT_EQ(test, 0, unit->nr_logged);
		/* As often as there are slots, and more */
		for (n = 0; n < QI_LENGTH; n++) {
			sync[0] = submit(unit, FIRST_DID + n % FULL);
			KUNIT_EXPECT_EQ(test, 0, qi_wait(&unit->iommu, sync[0]));
		}
		KUNIT_EXPECT_EQ(test, QI_LENGTH, vtd_count(unit, QI_IOTLB_TYPE));
	}
}

static void queue_is_lost_in_scalable_mode(struct kunit *test)
{
	queue_is_lost(test, NULL);
}

static void queue_is_lost_in_legacy_mode(struct kunit *test)
{
	queue_is_lost(test, &legacy);
}

static void queue_that_never_was(struct kunit *test)
{
	struct vtd_unit *unit = vtd_machine(test, 1, NULL)->unit;
	struct q_inval *qi = unit->iommu.qi;

	KUNIT_EXPECT_EQ(test, 0, dmar_enable_qi(&unit->iommu));
	KUNIT_EXPECT_PTR_EQ(test, qi, unit->iommu.qi);
	unit->iommu.qi = NULL;
	KUNIT_EXPECT_EQ(test, -ENOENT, dmar_reenable_qi(&unit->iommu));
	unit->iommu.qi = qi;
	unit->iommu.ecap &= ~VTD_ECAP_QI;
	KUNIT_EXPECT_EQ(test, -ENOENT, dmar_reenable_qi(&unit->iommu));
	KUNIT_EXPECT_EQ(test, -ENOENT, dmar_enable_qi(&unit->iommu));
	unit->iommu.ecap |= VTD_ECAP_QI;
}

#define ATTEMPTS	256	/* more than a CPU keeps to itself of what it has counted */

/*
 * Whether an allocation was refused. Those of interrupts would be counted, too: they are
 * threads of their own only with PREEMPT_RT.
 */
static bool enable_without(struct intel_iommu *iommu, unsigned int nth, int *ret)
{
	unsigned long flags;
	bool failed;

	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		local_irq_save(flags);
	nomem_nth(nth);
	*ret = dmar_enable_qi(iommu);
	failed = nomem_nth(0);
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		local_irq_restore(flags);
	return failed;
}

/* Nothing stays of a queue for which there is no memory, each time that it is tried. */
static void queue_without_memory(struct kunit *test)
{
	struct intel_iommu *iommu;
	unsigned int n, round;
	struct q_inval *qi;
	unsigned long nr;
	int ret;

	nomem_start(test, NOMEM_ATOMIC | NOMEM_PAGE);
	iommu = &vtd_machine(test, 1, NULL)->unit->iommu;
	qi = iommu->qi;
	iommu->qi = NULL;
	for (n = 1, ret = -ENOMEM; n < 16 && ret; n++) {
		nr = global_node_page_state(NR_IOMMU_PAGES);
		for (round = 0; round < ATTEMPTS; round++) {
			if (!enable_without(iommu, n, &ret))
				break;
			KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
			KUNIT_EXPECT_NULL(test, iommu->qi);
		}
		if (round == ATTEMPTS)
			KUNIT_EXPECT_LT(test, global_node_page_state(NR_IOMMU_PAGES),
					nr + ATTEMPTS / 2);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	/* The queue, its descriptors, and what is known of each of them */
	KUNIT_EXPECT_GT(test, n, 4);
	if (iommu->qi) {
		iommu_free_pages(iommu->qi->desc, qi_order(iommu));
		kfree(iommu->qi->desc_status);
		kfree(iommu->qi);
	}
	iommu->qi = qi;
}

/* --- the system sleeps --- */

static const unsigned int fault_regs[] = {
	DMAR_FECTL_REG, DMAR_FEDATA_REG, DMAR_FEADDR_REG, DMAR_FEUADDR_REG,
};

static u64 fault_reg(unsigned int n)
{
	return 0x11110000 * (n + 1) + n;
}

/* What a unit has in its caches when it gets power again is anything. */
static void poison_caches(struct vtd_unit *unit)
{
	u16 sid = PCI_DEVID(unit->bus.bus.number, 0);
	unsigned int n;

	empty_caches(unit);
	for (n = 0; n < 2; n++) {
		unit->context[n] = (struct vtd_context){
			.valid = true, .sid = sid + n, .lo = CONTEXT_PRESENT, .hi = ~0ULL,
		};
		unit->pasid_cache[n] = (struct vtd_pasid_cache){
			.valid = sm_supported(&unit->iommu), .sid = sid, .pasid = n,
			.entry.val = { ~0ULL, ~0ULL },
		};
		unit->iotlb[n] = (struct kiommu_tlb){
			.valid = true, .type = PASID_ENTRY_PGTT_SL_ONLY, .tag = 2 + n,
			.page = IOVA >> VTD_PAGE_SHIFT,
		};
	}
}

static unsigned int nr_cached(struct vtd_unit *unit)
{
	unsigned int n, nr = 0;

	for (n = 0; n < VTD_CONTEXTS; n++)
		nr += unit->context[n].valid;
	for (n = 0; n < VTD_ENTRIES; n++)
		nr += unit->pasid_cache[n].valid;
	for (n = 0; n < KIOMMU_TLB; n++)
		nr += unit->iotlb[n].valid;
	return nr;
}

/* Without power there is nothing left in registers, and nobody knows what is in caches. */
static void lose_power(struct vtd_unit *unit)
{
	u64 cap = readq(unit->reg + DMAR_CAP_REG);

	memset(unit->reg, 0, PAGE_SIZE);
	writeq(cap, unit->reg + DMAR_CAP_REG);
	unit->head = 0;
	unit->tail = 0;
	poison_caches(unit);
}

static void expect_regs(struct kunit *test, struct vtd_unit *unit)
{
	u64 root = virt_to_phys(unit->iommu.root_entry);
	unsigned int n;

	if (sm_supported(&unit->iommu))
		root |= DMA_RTADDR_SMT;
	KUNIT_EXPECT_EQ(test, root, readq(unit->reg + DMAR_RTADDR_REG));
	KUNIT_EXPECT_TRUE(test, readl(unit->reg + DMAR_GSTS_REG) & DMA_GSTS_TES);
	for (n = 0; n < ARRAY_SIZE(fault_regs); n++)
		KUNIT_EXPECT_EQ(test, fault_reg(n), readl(unit->reg + fault_regs[n]));
	expect_queue_regs(test, unit);
}

static void sleep_and_wake_up(struct kunit *test, const struct vtd_caps *caps,
			      const char *flushes)
{
	struct iommu_domain *domain;
	struct vtd_unit *unit;
	unsigned int n;
	struct vtd_fn *fn;
	struct regs r;
	u64 pa;

	kiommu_two_cpus(test);
	unit = vtd_machine(test, 1, caps)->unit;
	fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	domain = vtd_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_map(test, domain, IOVA, 2);
	for (n = 0; n < ARRAY_SIZE(fault_regs); n++)
		writel(fault_reg(n), unit->reg + fault_regs[n]);
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, IOMMU_NO_PASID, IOVA, &pa));
	unit->iommu.drhd = &unit->drhd;

	vtd_clear_log(test->priv);
	regs_start(test, &r, unit);
	intel_iommu_suspend_unit(&unit->iommu);
	regs_stop(&r);
	KUNIT_EXPECT_EQ(test, 1, r.te_off);
	KUNIT_EXPECT_FALSE(test, readl(unit->reg + DMAR_GSTS_REG) & DMA_GSTS_TES);
	KUNIT_EXPECT_STREQ(test, "cc gran=1 did=0 sid=0\niotlb all\n",
			   vtd_stream(test, unit, 0));
	/* While translation is off, no function is to be asked. */
	vtd_clear_log(test->priv);
	vtd_unmap(domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_IOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 0, vtd_count(unit, QI_DIOTLB_TYPE));
	intel_flush_dev_tlb(&fn->info, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, 0, vtd_count(unit, QI_DIOTLB_TYPE));
	memset(fn->pci.atc, 0, sizeof(fn->pci.atc));

	vtd_clear_log(test->priv);
	lose_power(unit);
	regs_start(test, &r, unit);
	KUNIT_EXPECT_EQ(test, 0, dmar_reenable_qi(&unit->iommu));
	intel_iommu_resume_unit(&unit->iommu);
	regs_stop(&r);
	KUNIT_EXPECT_EQ(test, 1, r.root_set);
	KUNIT_EXPECT_FALSE(test, r.te_when_root_set);
	KUNIT_EXPECT_STREQ(test, flushes, vtd_stream(test, unit, 0));
	expect_regs(test, unit);
	KUNIT_EXPECT_EQ(test, 0, nr_cached(unit));

	KUNIT_EXPECT_EQ(test, -EFAULT, vtd_access(fn, IOMMU_NO_PASID, IOVA, &pa));
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, IOMMU_NO_PASID, IOVA + SZ_4K, &pa));
	vtd_clear_log(test->priv);
	vtd_unmap(domain, IOVA + SZ_4K, 1);
	KUNIT_EXPECT_EQ(test, -EFAULT, vtd_access(fn, IOMMU_NO_PASID, IOVA + SZ_4K, &pa));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_DIOTLB_TYPE));
}

static void scalable_mode_wakes_up(struct kunit *test)
{
	sleep_and_wake_up(test, NULL, "cc gran=1 did=0 sid=0\npc all\niotlb all\n");
}

static void legacy_mode_wakes_up(struct kunit *test)
{
	sleep_and_wake_up(test, &legacy, "cc gran=1 did=0 sid=0\niotlb all\n");
}

/* Setting the root table is enough. */
static void unit_wakes_up_without_flushes(struct kunit *test)
{
	const struct vtd_caps caps = { .cap = VTD_CAP | BIT_ULL(63) };

	sleep_and_wake_up(test, &caps, "");
}

static struct kunit_case power_cases[] = {
	KUNIT_CASE(queue_is_full),
	KUNIT_CASE(queue_is_full_in_legacy_mode),
	KUNIT_CASE(full_queue_is_waited_for_backwards),
	KUNIT_CASE(queue_is_lost_in_scalable_mode),
	KUNIT_CASE(queue_is_lost_in_legacy_mode),
	KUNIT_CASE(queue_that_never_was),
	KUNIT_CASE(queue_without_memory),
	KUNIT_CASE(scalable_mode_wakes_up),
	KUNIT_CASE(legacy_mode_wakes_up),
	KUNIT_CASE(unit_wakes_up_without_flushes),
	{}
};

static struct kunit_suite power_suite = {
	.name = "intel_iommu_power",
	.exit = vtd_exit,
	.test_cases = power_cases,
};

kunit_test_suite(power_suite);
