// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of functions that do not answer invalidations of their ATC, or are reset
 *
 * A function that is mute keeps what its ATC holds; what it gets with that tells whether
 * it is fenced. Whoever flushes has to get past it, the first time and after that, and its
 * neighbours must not notice. Each case runs with CMD_SYNCs that are polled for by CONS
 * and by the word that they write where that makes a difference.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "kunit-mock.h"

#define PASID	5
#define IOVA	0x10000
#define HOLD_MS	100
#define TIMEOUT_NS (2 * NSEC_PER_MSEC)

/**
 * struct fence - one instance, and two functions that a domain is attached to
 * @test: the test
 * @m: the machine
 * @unit: the instance
 * @fn: the function that is going to be mute, with three StreamIDs, one of them twice
 * @other: its neighbour
 * @domain: of both, at @pasid
 * @pasid: PASID, or IOMMU_NO_PASID
 * @thread: does something meanwhile
 */
struct fence {
	struct kunit *test;
	struct smmu_machine *m;
	struct smmu_unit *unit;
	struct smmu_fn *fn;
	struct smmu_fn *other;
	struct iommu_domain *domain;
	u32 pasid;
	struct kiommu_thread thread;
};

static struct arm_smmu_master *master_of(struct smmu_fn *fn)
{
	return dev_iommu_priv_get(smmu_dev(fn));
}

static u32 state(struct smmu_fn *fn)
{
	return READ_ONCE(master_of(fn)->fn.state);
}

static void attach(struct fence *f, struct smmu_fn *fn)
{
	if (f->pasid == IOMMU_NO_PASID) {
		KUNIT_ASSERT_EQ(f->test, 0, smmu_attach(fn, f->domain));
		return;
	}
	KUNIT_ASSERT_EQ(f->test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(f->test, 0, smmu_set_pasid(fn, f->pasid, f->domain));
}

static void access(struct fence *f, struct smmu_fn *fn, u64 iova, enum smmu_access is)
{
	KUNIT_EXPECT_EQ(f->test, is, smmu_access(fn, f->pasid, iova, 0, NULL));
}

/* Both have two pages in their ATCs. */
static struct fence *setup_with(struct kunit *test, u32 features, u32 options, u32 pasid,
				unsigned int flags)
{
	struct smmu_caps caps = { .features = features, .options = options };
	/* Beside its own */
	static const u32 sids[] = { 0x4080, 0x4081, 0x4080 };
	struct fence *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->test = test;
	f->pasid = pasid;
	f->m = smmu_machine(test, 1, &caps);
	f->unit = &f->m->unit[0];
	f->unit->atc_timeout = TIMEOUT_NS;
	f->fn = smmu_add_fn_like(test, 0, KIOMMU_ATS | KIOMMU_PASID, NULL, sids, 3);
	f->other = smmu_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	f->domain = smmu_paging(test, f->fn, flags);
	attach(f, f->fn);
	attach(f, f->other);
	smmu_map(test, f->domain, IOVA, 4);
	access(f, f->fn, IOVA, SMMU_OK);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	access(f, f->other, IOVA, SMMU_OK);
	access(f, f->other, IOVA + SZ_4K, SMMU_OK);
	smmu_clear_log(f->m);
	return f;
}

static struct fence *setup(struct kunit *test, u32 options, u32 pasid, unsigned int flags)
{
	return setup_with(test, 0, options, pasid, flags);
}

static bool has_eats(struct smmu_fn *fn, unsigned int n)
{
	struct arm_smmu_ste *ste =
		arm_smmu_get_step_for_sid(&fn->unit->smmu, fn->sid[n]);

	return le64_to_cpu(ste->data[1]) & STRTAB_STE_1_EATS;
}

static void expect_live(struct fence *f, struct smmu_fn *fn)
{
	unsigned int n;

	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_LIVE, state(fn));
	for (n = 0; n < fn->nr_sids; n++)
		KUNIT_EXPECT_TRUE(f->test, has_eats(fn, n));
}

static void expect_no_eats(struct fence *f)
{
	unsigned int n;

	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_FENCED, state(f->fn));
	for (n = 0; n < f->fn->nr_sids; n++)
		KUNIT_EXPECT_FALSE(f->test, has_eats(f->fn, n));
}

static void expect_fenced(struct fence *f)
{
	expect_no_eats(f);
	/* What its ATC still has is of no use to it, nor does it get anything new. */
	access(f, f->fn, IOVA + SZ_4K, SMMU_NO_ATS);
	access(f, f->fn, IOVA + 3 * SZ_4K, SMMU_NO_ATS);
}

static void expect_asked(struct fence *f, struct smmu_fn *fn, unsigned int nr)
{
	KUNIT_EXPECT_EQ(f->test, nr, fn->fn.asked);
	fn->fn.asked = 0;
}

/* The first unmap that it does not answer */
static void unmap_mute(struct fence *f)
{
	f->fn->fn.asked = 0;
	f->other->fn.asked = 0;
	kiommu_mute(&f->fn->fn, true);
	smmu_unmap(f->test, f->domain, IOVA, 1);
}

static void again(struct kunit *test, u32 options, u32 pasid, unsigned int flags)
{
	struct fence *f = setup(test, options, pasid, flags);

	unmap_mute(f);
	expect_fenced(f);
	access(f, f->fn, IOVA, SMMU_NO_ATS);
	/* Each StreamID in the batch, and one by itself, which was enough */
	expect_asked(f, f->fn, 4);
	expect_live(f, f->other);
	access(f, f->other, IOVA, SMMU_TRANSLATION);
	access(f, f->other, IOVA + SZ_4K, SMMU_OK);
	/* From now on nobody asks it, and nobody waits for it. */
	smmu_clear_log(f->m);
	f->other->fn.asked = 0;
	smmu_unmap(test, f->domain, IOVA + SZ_4K, 1);
	expect_asked(f, f->fn, 0);
	expect_asked(f, f->other, 1);
	KUNIT_EXPECT_EQ(test, 2, smmu_count(f->unit, CMDQ_OP_CMD_SYNC));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(f->unit, CMDQ_OP_CFGI_STE));
	access(f, f->other, IOVA + SZ_4K, SMMU_TRANSLATION);
	/* By way of the SMMU it gets what there is. */
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION,
			smmu_access(f->fn, pasid, IOVA, SMMU_UNTRANSLATED, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(f->fn, pasid, IOVA + 2 * SZ_4K,
						   SMMU_UNTRANSLATED, NULL));
	f->m->unaudited = true; /* Its ATC */
	smmu_exit(test);
}

static void mute(struct kunit *test)
{
	again(test, 0, IOMMU_NO_PASID, 0);
	again(test, ARM_SMMU_OPT_MSIPOLL, IOMMU_NO_PASID, 0);
}

static void mute_pasid(struct kunit *test)
{
	again(test, 0, PASID, 0);
	again(test, ARM_SMMU_OPT_MSIPOLL, PASID, 0);
}

static void mute_second_stage(struct kunit *test)
{
	again(test, 0, IOMMU_NO_PASID, SMMU_S2);
	again(test, ARM_SMMU_OPT_MSIPOLL, IOMMU_NO_PASID, SMMU_S2);
}

/* Asked again, it answers: also when ATS goes on, where no list asks. */
static void late_once(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	kiommu_drop(&f->fn->fn, 1);
	smmu_unmap(test, f->domain, IOVA, 1);
	expect_live(f, f->fn);
	expect_live(f, f->other);
	access(f, f->fn, IOVA, SMMU_TRANSLATION);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	kiommu_drop(&f->fn->fn, 1);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(f->fn, f->domain));
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
}

/* The same of a function that is alone, so that its name is known at once */
static void late_alone(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct smmu_fn *fn = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, NULL));
	fn->unit->atc_timeout = TIMEOUT_NS;
	kiommu_drop(&fn->fn, 1);
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(fn));
	KUNIT_EXPECT_TRUE(test, has_eats(fn, 0));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
}

static void limit_us(void *us)
{
	arm_smmu_poll_timeout_us = (unsigned long)us;
}

static int unmap_other(void *arg)
{
	struct fence *f = arg;

	smmu_unmap(f->test, f->domain, IOVA + SZ_4K, 1);
	return 0;
}

/*
 * It takes longer than the driver's limit, which is no reason: the SMMU has not said that it
 * does not answer. Meanwhile nobody's flush on this SMMU returns, whose commands come later.
 */
static void late(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct iommu_domain *domain = smmu_paging(test, f->other, 0);
	ktime_t start;

	kiommu_two_cpus(test);
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(f->other, PASID, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(f->other, PASID, IOVA, 0, NULL));
	kiommu_at_exit(test, &f->m->k, limit_us,
		       (void *)(unsigned long)arm_smmu_poll_timeout_us);
	arm_smmu_poll_timeout_us = 20000;
	f->fn->late_ns = 300 * NSEC_PER_MSEC;
	smmu_clear_log(f->m);
	start = ktime_get();
	kiommu_start(test, &f->thread, unmap_other, f);
	while (!smmu_count(f->unit, CMDQ_OP_ATC_INV) && ktime_ms_delta(ktime_get(), start) < 200)
		cpu_relax();
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_GE(test, ktime_ms_delta(ktime_get(), start), 250);
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, smmu_access(f->other, PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&f->thread));
	f->fn->late_ns = 0;
	expect_live(f, f->fn);
	expect_live(f, f->other);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
}

/* A process exits, and is unbound; the next one is refused. */
static void mute_when_mm_exits(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct mm_struct *mm = kiommu_mm(test);
	unsigned long addr = kiommu_mm_map(test, 1);

	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(f->fn, PASID, smmu_sva(test, f->fn, mm)));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(f->fn, PASID, addr, 0, NULL));
	kiommu_mute(&f->fn->fn, true);
	kiommu_mm_exit(mm);
	expect_fenced(f);
	KUNIT_EXPECT_EQ(test, SMMU_NO_ATS, smmu_access(f->fn, PASID, addr, 0, NULL));
	f->fn->fn.asked = 0;
	smmu_remove_pasid(f->fn, PASID);
	expect_asked(f, f->fn, 0);
	KUNIT_EXPECT_EQ(test, -EIO, smmu_set_pasid(f->fn, PASID, smmu_paging(test, f->fn, 0)));
	f->m->unaudited = true;
}

/* A read of its configuration fails, for whichever reason: it may have power. */
static void unreadable(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct pci_dev *pdev = &f->fn->fn.pdev;
	pci_power_t before = pdev->current_state;

	pdev->current_state = PCI_D3cold;
	smmu_unmap(test, f->domain, IOVA, 1);
	access(f, f->fn, IOVA, SMMU_TRANSLATION);
	kiommu_mute(&f->fn->fn, true);
	smmu_unmap(test, f->domain, IOVA + SZ_4K, 1);
	expect_fenced(f);
	pdev->current_state = before;
	f->m->unaudited = true; /* Its ATC */
}

/* Without power it answers nothing, and has nothing cached: nobody asks, and it is not fenced. */
static void no_power(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct pci_dev *pdev = &f->fn->fn.pdev;

	kiommu_mute(&f->fn->fn, true);
	f->fn->fn.asked = 0;
	pdev->no_power = true;
	smmu_unmap(test, f->domain, IOVA, 1);
	expect_asked(f, f->fn, 0);
	expect_live(f, f->fn);
	access(f, f->other, IOVA, SMMU_TRANSLATION);
	pdev->no_power = false;
	f->m->unaudited = true; /* Its ATC, which is not empty here */
}

static void lose_power(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct smmu_fn *fn = unit->priv;

	if (cmd->op == CMDQ_OP_ATC_INV && fn->fn.asked)
		WRITE_ONCE(fn->fn.pdev.no_power, true);
}

/* It loses power while it is asked again: then it has nothing cached, and is not fenced. */
static void no_power_any_more(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct smmu_fn *fn = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	smmu_map(test, domain, IOVA, 1);
	fn->unit->atc_timeout = TIMEOUT_NS;
	smmu_settle(fn->unit);
	kiommu_mute(&fn->fn, true);
	fn->fn.asked = 0;
	fn->unit->priv = fn;
	fn->unit->before = lose_power;
	smmu_unmap(test, domain, IOVA, 1);
	fn->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 2, fn->fn.asked);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(fn));
	KUNIT_EXPECT_TRUE(test, has_eats(fn, 0));
	kiommu_mute(&fn->fn, false);
	fn->fn.pdev.no_power = false;
	m->unaudited = true; /* Its ATC, which is not empty here */
}

/* --- beside who writes the STE --- */

static int block_rid(void *arg)
{
	struct fence *f = arg;

	return smmu_block(f->fn);
}

static int attach_rid(void *arg)
{
	struct fence *f = arg;

	return smmu_attach(f->fn, f->domain);
}

/*
 * It is found to be mute while its STE is being written, at the @nth CFGI_STE of that: whatever
 * is written after that, EATS stays 0.
 */
static bool fenced_at(struct kunit *test, int (*run)(void *arg), unsigned int nth)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct iommu_domain *pasid = smmu_paging(test, f->fn, 0);
	bool held;

	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(f->fn, PASID, pasid));
	smmu_map(test, pasid, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(f->fn, PASID, IOVA, 0, NULL));
	if (run == attach_rid)
		KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	kiommu_hold(&f->unit->hold, CMDQ_OP_CFGI_STE, nth, HOLD_MS);
	kiommu_start(test, &f->thread, run, f);
	held = kiommu_wait_held(&f->thread, &f->unit->hold);
	if (held) {
		rcu_read_lock();
		/* Its CFGI_STE comes behind the one that is held. */
		KUNIT_EXPECT_EQ(test, 1, iommu_alist_fence(&arm_smmu_alist_ops,
							   &master_of(f->fn)->fn));
		rcu_read_unlock();
	}
	kiommu_let_go(&f->unit->hold);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&f->thread));
	if (held) {
		KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
		KUNIT_EXPECT_FALSE(test, has_eats(f->fn, 0));
		KUNIT_EXPECT_EQ(test, SMMU_NO_ATS, smmu_access(f->fn, PASID, IOVA, 0, NULL));
	}
	smmu_settle(f->unit);
	f->m->unaudited = true;
	smmu_exit(test);
	return held;
}

static void ste_is_written(struct kunit *test)
{
	unsigned int nth = 0;

	kiommu_two_cpus(test);
	while (fenced_at(test, block_rid, nth + 1))
		nth++;
	KUNIT_EXPECT_GE(test, nth, 1);
	for (nth = 0; fenced_at(test, attach_rid, nth + 1); nth++)
		;
	KUNIT_EXPECT_GE(test, nth, 1);
}

/* --- back to life --- */

/* ATS goes off when nothing translates any more, and its ATC is empty when it goes on. */
static void attached_anew(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	unmap_mute(f);
	expect_fenced(f);
	f->fn->fn.asked = 0;
	f->fn->asked_off = 0;
	KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->fn));
	expect_asked(f, f->fn, 0);
	KUNIT_EXPECT_EQ(test, 0, f->fn->asked_off);
	kiommu_mute(&f->fn->fn, false);
	smmu_unmap(test, f->domain, IOVA + SZ_4K, 1);
	smmu_clear_log(f->m);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(f->fn, f->domain));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(f->unit, CMDQ_OP_TLBI_NSNH_ALL));
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
	access(f, f->fn, IOVA + SZ_4K, SMMU_TRANSLATION);
	access(f, f->fn, IOVA + 2 * SZ_4K, SMMU_OK);
	f->fn->fn.asked = 0;
	smmu_unmap(test, f->domain, IOVA + 2 * SZ_4K, 1);
	expect_asked(f, f->fn, 3);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
}

/*
 * ATS goes on, and it does not answer: it works without, as far as the SMMU translates, until it
 * is attached anew.
 */
static void mute_when_ats_goes_on(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct iommu_domain *pasid = smmu_paging(test, f->fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	kiommu_mute(&f->fn->fn, true);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(f->fn, f->domain));
	expect_no_eats(f);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->fn));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(f->fn, IOMMU_NO_PASID, IOVA,
						   SMMU_UNTRANSLATED, NULL));
	/* While it is attached, nobody tries again. */
	f->fn->fn.asked = 0;
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(f->fn, PASID, pasid));
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(f->fn, f->domain));
	expect_asked(f, f->fn, 0);
	smmu_remove_pasid(f->fn, PASID);
	KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	kiommu_mute(&f->fn->fn, false);
	attach(f, f->fn);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
	access(f, f->fn, IOVA, SMMU_OK);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
}

static void reset_prepare(struct fence *f)
{
	KUNIT_ASSERT_EQ(f->test, 0, arm_smmu_ops.reset_prepare(smmu_dev(f->fn)));
	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(f->test, f->fn->fn.pdev.ats_enabled);
	kiommu_reset(&f->fn->fn);
	/* It answers nothing. */
	kiommu_mute(&f->fn->fn, true);
	f->fn->fn.asked = 0;
}

static void reset_done(struct fence *f)
{
	expect_asked(f, f->fn, 0);
	kiommu_mute(&f->fn->fn, false);
	arm_smmu_ops.reset_done(smmu_dev(f->fn));
}

/* What is unmapped meanwhile, and that it has not been told, is gone when it may ask again. */
static void do_reset(struct kunit *test, u32 features, const char *tlbi)
{
	struct fence *f = setup_with(test, features, 0, IOMMU_NO_PASID, 0);
	const char *cmds;

	reset_prepare(f);
	smmu_unmap(test, f->domain, IOVA, 1);
	smmu_clear_log(f->m);
	reset_done(f);
	KUNIT_EXPECT_FALSE(test, f->fn->fn.no_pasids);
	cmds = smmu_stream(test, f->unit, 0);
	KUNIT_EXPECT_TRUE(test, str_has_prefix(cmds, tlbi));
	KUNIT_EXPECT_STREQ(test, "sync\n"
			   "atc sid=4000 all\natc sid=4080 all\natc sid=4081 all\n"
			   "atc sid=4080 all\nsync\ncfgi_ste sid=4000 leaf\n"
			   "cfgi_ste sid=4080 leaf\ncfgi_ste sid=4081 leaf\n"
			   "cfgi_ste sid=4080 leaf\nsync\n",
			   cmds + strlen(tlbi));
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
	access(f, f->fn, IOVA, SMMU_TRANSLATION);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	f->fn->fn.asked = 0;
	smmu_unmap(test, f->domain, IOVA + SZ_4K, 1);
	expect_asked(f, f->fn, 3);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
	smmu_exit(test);
}

static void reset(struct kunit *test)
{
	do_reset(test, SMMU_FEATURES, "nsnh_all\n");
	do_reset(test, SMMU_FEATURES | ARM_SMMU_FEAT_E2H, "nsnh_all\nel2_all\n");
}

/* It was fenced before. */
static void reset_of_fenced(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	unmap_mute(f);
	expect_fenced(f);
	reset_prepare(f);
	reset_done(f);
	expect_live(f, f->fn);
	access(f, f->fn, IOVA, SMMU_TRANSLATION);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
}

/* What it was attached to is left while it is being reset, which switches ATS off as well. */
static void detached_in_reset(struct kunit *test)
{
	struct fence *f = setup(test, 0, PASID, 0);

	reset_prepare(f);
	smmu_remove_pasid(f->fn, PASID);
	reset_done(f);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->fn));
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(f->fn));
	KUNIT_EXPECT_FALSE(test, has_eats(f->fn, 0));
	attach(f, f->fn);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
	access(f, f->fn, IOVA, SMMU_OK);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
}

/* ATS would go on while it is being reset. */
static void attached_in_reset(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_block(f->fn));
	reset_prepare(f);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(f->fn, f->domain));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->fn));
	smmu_unmap(test, f->domain, IOVA, 1);
	reset_done(f);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->fn));
	expect_live(f, f->fn);
	access(f, f->fn, IOVA, SMMU_TRANSLATION);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(f->m));
}

/* The reset was of no use; another one is. */
static void expect_not_back(struct fence *f)
{
	expect_no_eats(f);
	KUNIT_EXPECT_FALSE(f->test, kiommu_ats(&f->fn->fn));
	KUNIT_EXPECT_FALSE(f->test, f->fn->fn.pdev.ats_enabled);
	kiommu_mute(&f->fn->fn, false);
	reset_prepare(f);
	reset_done(f);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(f->test, kiommu_ats(&f->fn->fn));
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	KUNIT_EXPECT_EQ(f->test, 0, smmu_stale(f->m));
}

static void mute_when_reset_is_done(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	reset_prepare(f);
	arm_smmu_ops.reset_done(smmu_dev(f->fn));
	expect_not_back(f);
}

static void no_ats_when_reset_is_done(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);
	struct arm_smmu_device *smmu = &f->unit->smmu;

	reset_prepare(f);
	/* See ats_cannot_go_on() in kunit-fixes.c. */
	smmu->pgsize_bitmap |= SZ_2K;
	reset_done(f);
	smmu->pgsize_bitmap &= ~SZ_2K;
	expect_not_back(f);
}

static void removed_in_reset(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	reset_prepare(f);
	kiommu_remove(&f->fn->fn);
	reset_done(f);
	expect_asked(f, f->fn, 0);
	expect_no_eats(f);
}

/* It is mute after that, too. */
static void mute_after_reset(struct kunit *test)
{
	struct fence *f = setup(test, 0, IOMMU_NO_PASID, 0);

	reset_prepare(f);
	reset_done(f);
	expect_live(f, f->fn);
	access(f, f->fn, IOVA + SZ_4K, SMMU_OK);
	unmap_mute(f);
	expect_fenced(f);
	f->m->unaudited = true;
}

static struct kunit_case smmu_fence_cases[] = {
	KUNIT_CASE(mute),
	KUNIT_CASE(mute_pasid),
	KUNIT_CASE(mute_second_stage),
	KUNIT_CASE(late_once),
	KUNIT_CASE(late_alone),
	KUNIT_CASE(late),
	KUNIT_CASE(mute_when_mm_exits),
	KUNIT_CASE(unreadable),
	KUNIT_CASE(no_power),
	KUNIT_CASE(no_power_any_more),
	KUNIT_CASE(ste_is_written),
	KUNIT_CASE(attached_anew),
	KUNIT_CASE(mute_when_ats_goes_on),
	KUNIT_CASE(reset),
	KUNIT_CASE(reset_of_fenced),
	KUNIT_CASE(detached_in_reset),
	KUNIT_CASE(attached_in_reset),
	KUNIT_CASE(mute_when_reset_is_done),
	KUNIT_CASE(no_ats_when_reset_is_done),
	KUNIT_CASE(removed_in_reset),
	KUNIT_CASE(mute_after_reset),
	{}
};

static struct kunit_suite smmu_fence_suite = {
	.name = "arm_smmu_fence",
	.exit = smmu_exit,
	.test_cases = smmu_fence_cases,
};

kunit_test_suite(smmu_fence_suite);
