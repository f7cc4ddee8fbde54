// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of bugs and bottlenecks that the SMMUv3 driver has had
 *
 * Where somebody has to do something while somebody else is in the middle of an attach or
 * a detach, a thread does the one, and the queue stops, or ATS goes on; meanwhile the test
 * does the other.
 *
 * Not here: barriers, which no test sees, and page tables with LPA2, which this machine has
 * not.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/mm.h>

#include "kunit-mock.h"

#define PASID	5
#define IOVA	0x10000
#define HOLD_MS	100

static struct arm_smmu_master *master_of(struct smmu_fn *fn)
{
	return dev_iommu_priv_get(smmu_dev(fn));
}

/* One instance, one function */
static struct smmu_fn *one_fn(struct kunit *test, u32 features, u32 options,
			      unsigned int flags)
{
	struct smmu_caps caps = { .features = features, .options = options };

	smmu_machine(test, 1, &caps);
	return smmu_add_fn(test, 0, flags);
}

/* A paging domain that the RID is attached to, with some pages */
static struct iommu_domain *rid_of(struct kunit *test, struct smmu_fn *fn,
				   unsigned int pages)
{
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	smmu_map(test, domain, IOVA, pages);
	return domain;
}

/* --- domains without an id --- */

static void no_asid_left(struct kunit *test)
{
	struct smmu_caps caps = { .asid_bits = 1 };
	struct iommu_domain *first;
	struct smmu_fn *fn;

	smmu_machine(test, 1, &caps);
	fn = smmu_add_fn(test, 0, KIOMMU_PASID);
	first = smmu_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, first));
	smmu_clear_log(test->priv);
	KUNIT_EXPECT_EQ(test, -ENOSPC, smmu_set_pasid(fn, PASID + 1, smmu_paging(test, fn, 0)));
	KUNIT_EXPECT_STREQ(test, "", smmu_stream(test, fn->unit, 0));
	smmu_remove_pasid(fn, PASID);
	smmu_free(test, first);
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(fn, PASID + 1, smmu_paging(test, fn, 0)));
}

/* A domain can be tried again when an id is free. */
static void no_vmid_left(struct kunit *test)
{
	struct smmu_caps caps = { .vmid_bits = 1 };
	struct iommu_domain *first, *second;
	struct smmu_fn *fn;

	smmu_machine(test, 1, &caps);
	fn = smmu_add_fn(test, 0, 0);
	first = smmu_paging(test, fn, SMMU_S2);
	second = smmu_paging(test, fn, SMMU_S2);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, first));
	KUNIT_EXPECT_NE(test, 0, smmu_attach(fn, second));
	KUNIT_ASSERT_EQ(test, 0, smmu_block(fn));
	smmu_free(test, first);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, second));
}

/* --- a group whose second function cannot be attached --- */

static void group_is_unwound(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct smmu_fn *a = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct smmu_fn *b = smmu_add_fn_like(test, 0, KIOMMU_ATS | KIOMMU_PASID, a,
					     NULL, 0);
	struct iommu_domain *old = rid_of(test, a, 1);
	u64 pa;

	/* With PASIDs in use, the second stage is refused. */
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(b, PASID, smmu_paging(test, b, 0)));
	KUNIT_ASSERT_EQ(test, -EBUSY, smmu_attach(a, smmu_paging(test, a, SMMU_S2)));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(a, IOMMU_NO_PASID, IOVA, 0, &pa));
	smmu_clear_log(m);
	smmu_unmap(test, old, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 2, smmu_count(a->unit, CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
}

/*
 * The core frees a domain although no other could be attached in its place. Nothing
 * translates by its page table any more, nor is there anything left of it.
 */
static void do_freed_while_attached(struct kunit *test, unsigned int flags)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_ATS);
	struct iommu_domain *domain = smmu_paging(test, fn, flags);
	u64 pa;

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, IOMMU_NO_PASID, IOVA));
	smmu_free(test, domain);
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, IOMMU_NO_PASID, IOVA));
	KUNIT_EXPECT_EQ(test, flags & SMMU_S2 ? SMMU_ABORTED : SMMU_BAD_CD,
			smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(fn));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	smmu_exit(test);
}

static void freed_while_attached(struct kunit *test)
{
	do_freed_while_attached(test, 0);
	do_freed_while_attached(test, SMMU_S2);
}

/* --- ATS goes on --- */

struct ats_race {
	struct smmu_fn *fn;
	struct iommu_domain *domain;
	enum smmu_access access;
	bool cached;
	bool unmapped;
};

static int unmap_when_cached(void *arg)
{
	struct ats_race *race = arg;
	unsigned int ms = 2000;

	/* Unmap what has been cached */
	while (!smp_load_acquire(&race->cached) && ms--)
		usleep_range(1000, 2000);
	iommu_unmap(race->domain, IOVA, SZ_4K);
	/* Let the attachment go on after the flush */
	smp_store_release(&race->unmapped, true);
	return 0;
}

/* Called with interrupts off, in the config write */
static void cache_when_ats_goes_on(struct kiommu_fn *kfn, bool on)
{
	struct ats_race *race = kfn->priv;
	unsigned int ms = 2000;
	u64 pa;

	if (!on || race->cached)
		return;
	race->access = smmu_access(race->fn, IOMMU_NO_PASID, IOVA, 0, &pa);
	/* Let the other thread unmap what has been cached */
	smp_store_release(&race->cached, true);
	/* Go on after its flush */
	while (!smp_load_acquire(&race->unmapped) && ms--)
		mdelay(1);
}

static void unmap_while_ats_goes_on(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct smmu_fn *other = smmu_add_fn(test, 0, 0);
	struct smmu_fn *fn = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct ats_race race = { .fn = fn, .domain = rid_of(test, other, 2) };
	struct kiommu_thread thread;

	kiommu_two_cpus(test);
	fn->fn.priv = &race;
	fn->fn.ats_hook = cache_when_ats_goes_on;
	kiommu_start(test, &thread, unmap_when_cached, &race);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, race.domain));
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
	fn->fn.ats_hook = NULL;
	KUNIT_EXPECT_EQ(test, SMMU_OK, race.access);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
	/* What it caches from now on, it is told of. */
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA + SZ_4K, 0, NULL));
	smmu_unmap(test, race.domain, IOVA + SZ_4K, 1);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
}

/*
 * The smallest page of the SMMU is too small for ATS. That is a shorter way to an error than
 * a virtual function whose physical function has another granule.
 */
static void ats_cannot_go_on(struct kunit *test)
{
	static const u32 more[] = { 0x4080 };
	struct iommu_domain *domain;
	struct smmu_fn *fn;
	u64 pa;

	smmu_machine(test, 1, NULL);
	fn = smmu_add_fn_like(test, 0, KIOMMU_ATS, NULL, more, ARRAY_SIZE(more));
	domain = smmu_paging(test, fn, 0);
	fn->unit->smmu.pgsize_bitmap |= SZ_2K;
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	fn->unit->smmu.pgsize_bitmap &= ~SZ_2K;
	KUNIT_EXPECT_FALSE(test, master_of(fn)->ste_ats_enabled);
	smmu_map(test, domain, IOVA, 2);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	smmu_clear_log(test->priv);
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(fn->unit, CMDQ_OP_CMD_SYNC));
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(fn));
}

/* --- attaching --- */

/* Without tables of two levels there are 1,024 CDs, of whichever PASIDs a function can do. */
static void no_cd_left(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, SMMU_FEATURES & ~ARM_SMMU_FEAT_2_LVL_CDTAB, 0,
				    KIOMMU_PASID | SMMU_FN_MANY);
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_EXPECT_EQ(test, -EOVERFLOW, smmu_set_pasid(fn, 1024, domain));
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(fn, 1023, domain));
}

struct attach {
	struct smmu_fn *fn;
	struct iommu_domain *domain;
};

static int set_pasid(void *arg)
{
	struct attach *a = arg;

	return smmu_set_pasid(a->fn, PASID, a->domain);
}

/* The CD is there, and the TLB full, when a page goes that nobody else uses. */
static void unmap_while_attached(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_PASID);
	struct attach a = { .fn = fn };
	struct kiommu_thread thread;

	kiommu_two_cpus(test);
	rid_of(test, fn, 1);
	a.domain = smmu_paging(test, fn, 0);
	smmu_map(test, a.domain, IOVA, 1);
	/* The second one is behind the store of CD.V. */
	kiommu_hold(&fn->unit->hold, CMDQ_OP_CFGI_CD, 2, HOLD_MS);
	kiommu_start(test, &thread, set_pasid, &a);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &fn->unit->hold));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, PASID, IOVA, 0, NULL));
	smmu_unmap(test, a.domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, smmu_access(fn, PASID, IOVA, 0, NULL));
}

/* --- detaching --- */

static int remove_pasid(void *fn)
{
	smmu_remove_pasid(fn, PASID);
	return 0;
}

/* The CD is cleared, and the SMMU has not got past @op yet, when the process exits. */
static void do_exit_while_unbound(struct kunit *test, u8 op)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct mm_struct *mm = kiommu_mm(test);
	struct kiommu_thread thread;
	struct arm_smmu_cd *cd;

	kiommu_two_cpus(test);
	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, smmu_sva(test, fn, mm)));
	cd = arm_smmu_get_cd_ptr(master_of(fn), PASID);
	kiommu_hold(&fn->unit->hold, op, 1, HOLD_MS);
	kiommu_start(test, &thread, remove_pasid, fn);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &fn->unit->hold));
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
	KUNIT_EXPECT_EQ(test, 0, le64_to_cpu(cd->data[0]));
	KUNIT_EXPECT_EQ(test, 0, master_of(fn)->cd_table.used_ssids);
	smmu_exit(test);
}

static void exit_while_unbound(struct kunit *test)
{
	do_exit_while_unbound(test, CMDQ_OP_CFGI_CD);
	do_exit_while_unbound(test, CMDQ_OP_ATC_INV);
}

/* A function does not answer for a while, and a PASID of another one gets a domain. */
static void bind_beside_unbind(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 2, NULL);
	struct smmu_fn *a = smmu_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct smmu_fn *b = smmu_add_fn(test, 1, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain;
	struct kiommu_thread thread;

	kiommu_two_cpus(test);
	rid_of(test, a, 1);
	rid_of(test, b, 1);
	domain = smmu_paging(test, b, 0);
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(a, PASID, smmu_sva(test, a, kiommu_mm(test))));
	kiommu_hold(&m->unit[0].hold, CMDQ_OP_ATC_INV, 1, 20 * HOLD_MS);
	kiommu_start(test, &thread, remove_pasid, a);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &m->unit[0].hold));
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(b, PASID, domain));
	KUNIT_EXPECT_TRUE(test, kiommu_is_held(&m->unit[0].hold));
	kiommu_let_go(&m->unit[0].hold);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
}

/* PASID 0 uses CD 0 until that is cleared: the ATC is flushed, and the old domain left, then. */
static void cd0_is_cleared_first(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_ATS | KIOMMU_PASID);

	rid_of(test, fn, 1);
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, smmu_paging(test, fn, 0)));
	smmu_clear_log(test->priv);
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(fn));
	KUNIT_EXPECT_STREQ(test,
			   "cfgi_ste sid=4000 leaf\nsync\n"
			   "prefetch sid=4000\n"
			   "cfgi_cd sid=4000 ssid=0 leaf\nsync\n"
			   "cfgi_cd sid=4000 ssid=0 leaf\nsync\n"
			   "nh_asid asid=1\nsync\n"
			   "atc sid=4000 all\nsync\n",
			   smmu_stream(test, fn->unit, 0));
}

/* --- ranges --- */

#define NO_RIL	(SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV)

static void pages_are_limited(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, NO_RIL, 0, 0);
	struct iommu_domain *domain = rid_of(test, fn, 700);

	smmu_clear_log(test->priv);
	smmu_unmap(test, domain, IOVA, 100);
	KUNIT_EXPECT_EQ(test, 100, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_VA));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_ASID));
	smmu_clear_log(test->priv);
	smmu_unmap(test, domain, IOVA + 100 * SZ_4K, 600);
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_VA));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_ASID));
	/* A table that goes */
	smmu_map(test, domain, SZ_2M, 512);
	smmu_clear_log(test->priv);
	smmu_unmap(test, domain, SZ_2M, 512);
	KUNIT_EXPECT_GT(test, 512, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_VA));
}

static const struct smmu_cmd *last_of(struct smmu_unit *unit, u8 op)
{
	const struct smmu_cmd *cmd = smmu_log_end(unit);

	while (cmd-- != unit->log)
		if (cmd->op == op)
			return cmd;
	return NULL;
}

/* One command drops the ASID; the ATC keeps what is not of the range. */
static void atc_keeps_the_rest(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, NO_RIL, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct mm_struct *mm = kiommu_mm(test);
	const struct smmu_cmd *atc;

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, smmu_sva(test, fn, mm)));
	smmu_clear_log(test->priv);
	smmu_event(mm, SZ_1G, 1024);
	KUNIT_EXPECT_EQ(test, 1, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_ASID));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_TLBI_NH_VA));
	atc = last_of(fn->unit, CMDQ_OP_ATC_INV);
	KUNIT_ASSERT_NOT_NULL(test, atc);
	KUNIT_EXPECT_EQ(test, 10, FIELD_GET(CMDQ_ATC_1_SIZE, atc->qw[1]));
	KUNIT_EXPECT_EQ(test, SZ_1G, atc->qw[1] & CMDQ_ATC_1_ADDR_MASK);
	kiommu_mm_exit(mm);
}

/* Does one range cover an event? */
static void expect_one_range(struct kunit *test, struct smmu_unit *unit,
			     struct mm_struct *mm, u64 iova, u64 pages)
{
	const struct smmu_cmd *cmd;
	u64 nr;

	smmu_clear_log(test->priv);
	smmu_event(mm, iova, pages);
	KUNIT_EXPECT_EQ(test, 1, smmu_count(unit, CMDQ_OP_TLBI_NH_VA));
	cmd = last_of(unit, CMDQ_OP_TLBI_NH_VA);
	KUNIT_ASSERT_NOT_NULL(test, cmd);
	nr = (FIELD_GET(CMDQ_TLBI_0_NUM, cmd->qw[0]) + 1) <<
	     FIELD_GET(CMDQ_TLBI_0_SCALE, cmd->qw[0]);
	KUNIT_EXPECT_EQ(test, iova, cmd->qw[1] & CMDQ_TLBI_1_VA_MASK);
	KUNIT_EXPECT_LE(test, pages, nr);
	KUNIT_EXPECT_LE(test, nr, pages + max(pages / 16, 1ULL));
}

static void groups_are_not_cut(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, 0, ARM_SMMU_OPT_ONE_RANGE_TLBI,
				    KIOMMU_PASID);
	static const u64 more[] = { 257, 511, 512, 513, 1000, 4095, 262143, 1 << 20 };
	struct mm_struct *mm = kiommu_mm(test);
	unsigned int n;

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, smmu_sva(test, fn, mm)));
	for (n = 1; n <= 130; n++)
		expect_one_range(test, fn->unit, mm, SZ_1G + (n % 16) * SZ_4K, n);
	for (n = 0; n < ARRAY_SIZE(more); n++)
		expect_one_range(test, fn->unit, mm, SZ_1G + 5 * SZ_4K, more[n]);
	kiommu_mm_exit(mm);
}

/* Without ranges, nothing covers a group. */
static void groups_need_ranges(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct arm_smmu_device *smmu = &m->unit[0].smmu;

	KUNIT_ASSERT_TRUE(test, arm_smmu_sva_supported(smmu));
	smmu->options |= ARM_SMMU_OPT_ONE_RANGE_TLBI;
	KUNIT_EXPECT_TRUE(test, arm_smmu_sva_supported(smmu));
	smmu->features &= ~ARM_SMMU_FEAT_RANGE_INV;
	KUNIT_EXPECT_FALSE(test, arm_smmu_sva_supported(smmu));
}

/* --- access flags and dirty state --- */

static void expect_httu(struct kunit *test, u32 httu, u64 bits)
{
	struct smmu_fn *fn = one_fn(test, SMMU_FEATURES | httu, 0, KIOMMU_PASID);
	struct mm_struct *mm = kiommu_mm(test);
	u64 cd;

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, smmu_sva(test, fn, mm)));
	cd = le64_to_cpu(arm_smmu_get_cd_ptr(master_of(fn), PASID)->data[0]);
	KUNIT_EXPECT_EQ(test, bits, cd & (CTXDESC_CD_0_TCR_HA | CTXDESC_CD_0_TCR_HD));
	kiommu_mm_exit(mm);
	smmu_exit(test);
}

static void hardware_updates_tables(struct kunit *test)
{
	expect_httu(test, 0, 0);
	expect_httu(test, ARM_SMMU_FEAT_HA, CTXDESC_CD_0_TCR_HA);
	expect_httu(test, ARM_SMMU_FEAT_HA | ARM_SMMU_FEAT_HD,
		    CTXDESC_CD_0_TCR_HA | CTXDESC_CD_0_TCR_HD);
}

/* Which part of a range was written since it was asked last: from where, and how much */
static void expect_dirty(struct kunit *test, struct iommu_domain *domain, u64 iova, u64 size,
			 u64 start, u64 bytes)
{
	struct iommu_dirty_bitmap dirty;
	struct iommu_iotlb_gather gather;

	iommu_dirty_bitmap_init(&dirty, NULL, &gather);
	KUNIT_EXPECT_EQ(test, 0, domain->dirty_ops->read_and_clear_dirty(domain, iova, size, 0,
									 &dirty));
	if (bytes)
		KUNIT_EXPECT_EQ(test, start, gather.start);
	KUNIT_EXPECT_EQ(test, bytes ? start + bytes - 1 : 0, gather.end);
	iommu_iotlb_sync(domain, &gather);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
}

static void write_to(struct kunit *test, struct smmu_fn *fn, u64 iova)
{
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, iova, SMMU_WRITE, NULL));
}

/* What was written, and made clean, is dirty when it is written again: of whichever size. */
static void dirty_again(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, SMMU_FEATURES | ARM_SMMU_FEAT_HA | ARM_SMMU_FEAT_HD, 0,
				    KIOMMU_ATS);
	struct iommu_domain *domain = smmu_paging(test, fn, SMMU_DIRTY);
	unsigned int n;

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
	smmu_map(test, domain, SZ_2M, 2);
	smmu_map_size(test, domain, SZ_4M, SZ_2M, 1);
	/* New ones are dirty. */
	expect_dirty(test, domain, SZ_2M, 2 * SZ_4K, SZ_2M, 2 * SZ_4K);
	expect_dirty(test, domain, SZ_4M, SZ_2M, SZ_4M, SZ_2M);
	for (n = 0; n < 3; n++) {
		expect_dirty(test, domain, SZ_2M, 2 * SZ_4K, 0, 0);
		write_to(test, fn, SZ_2M + SZ_4K);
		expect_dirty(test, domain, SZ_2M, 2 * SZ_4K, SZ_2M + SZ_4K, SZ_4K);
		expect_dirty(test, domain, SZ_4M, SZ_2M, 0, 0);
		write_to(test, fn, SZ_4M + n * SZ_4K);
		expect_dirty(test, domain, SZ_4M, SZ_2M, SZ_4M, SZ_2M);
	}
	/* Nothing is sent where nothing has changed. */
	smmu_clear_log(test->priv);
	expect_dirty(test, domain, SZ_2M, 2 * SZ_4K, 0, 0);
	KUNIT_EXPECT_STREQ(test, "", smmu_stream(test, fn->unit, 0));
}

/* --- functions that do not answer, or late --- */

static void set_limit(void *us)
{
	arm_smmu_poll_timeout_us = (uintptr_t)us;
}

static void limit_us(struct kunit *test, unsigned long us)
{
	struct smmu_machine *m = test->priv;

	kiommu_at_exit(test, &m->k, set_limit,
		       (void *)(unsigned long)arm_smmu_poll_timeout_us);
	arm_smmu_poll_timeout_us = us;
}

static s64 ms_since(ktime_t start)
{
	return ktime_ms_delta(ktime_get(), start);
}

static int invalidate_page(struct smmu_fn *fn)
{
	struct arm_smmu_device *smmu = &fn->unit->smmu;
	struct arm_smmu_cmdq_batch cmds;
	struct arm_smmu_cmdq_ent cmd;

	arm_smmu_atc_inv_to_cmd(IOMMU_NO_PASID, IOVA, SZ_4K, &cmd);
	cmd.atc.sid = fn->sid[0];
	arm_smmu_cmdq_batch_init(smmu, &cmds, &cmd);
	arm_smmu_cmdq_batch_add(smmu, &cmds, &cmd);
	return arm_smmu_cmdq_batch_submit(smmu, &cmds);
}

/* Nobody calls the interrupt handler, as where it is pending on the CPU that waits. */
static void do_unanswered(struct kunit *test, u32 options, unsigned long limit,
			  unsigned int timeout_ms)
{
	struct smmu_fn *fn = one_fn(test, 0, options, KIOMMU_ATS);
	struct smmu_machine *m = test->priv;
	ktime_t start = ktime_get();
	unsigned int n;

	rid_of(test, fn, 1);
	limit_us(test, limit);
	fn->unit->atc_timeout = timeout_ms * NSEC_PER_MSEC;
	kiommu_mute(&fn->fn, true);
	KUNIT_EXPECT_EQ(test, -EIO, invalidate_page(fn));
	KUNIT_EXPECT_GE(test, ms_since(start), timeout_ms);
	KUNIT_EXPECT_LT(test, ms_since(start), 1500);
	KUNIT_EXPECT_FALSE(test, smmu_shows_error(fn->unit));
	/* Its interrupt comes when all is over */
	KUNIT_EXPECT_EQ(test, IRQ_HANDLED,
			arm_smmu_gerror_handler(0, &fn->unit->smmu));
	KUNIT_EXPECT_EQ(test, IRQ_NONE,
			arm_smmu_gerror_handler(0, &fn->unit->smmu));
	kiommu_mute(&fn->fn, false);
	/* Once around the queue: the slot is as good as others */
	for (n = 0; n < 1 << SMMU_QUEUE; n++)
		KUNIT_ASSERT_EQ(test, 0, invalidate_page(fn));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
	smmu_exit(test);
}

static void unanswered(struct kunit *test)
{
	do_unanswered(test, 0, 2000000, 2);
	do_unanswered(test, ARM_SMMU_OPT_MSIPOLL, 2000000, 2);
}

/* The instance finds out when the driver's limit is over. */
static void unanswered_for_long(struct kunit *test)
{
	do_unanswered(test, 0, 20000, 200);
	do_unanswered(test, ARM_SMMU_OPT_MSIPOLL, 20000, 200);
}

/* Of a domain with more streams than a batch has commands, each batch is waited for. */
static void many_streams(struct kunit *test)
{
	struct smmu_machine *m = smmu_machine(test, 1, NULL);
	struct iommu_domain *domain = NULL;
	unsigned int n, pasid;
	struct smmu_fn *fn;

	for (n = 0; n < 4; n++) {
		u32 sids[] = { 0x5000 + n, 0x5010 + n, 0x5020 + n };

		fn = smmu_add_fn_like(test, 0, KIOMMU_ATS | KIOMMU_PASID, NULL, sids, 3);
		if (!domain)
			domain = smmu_paging(test, fn, 0);
		KUNIT_ASSERT_EQ(test, 0, smmu_identity(fn));
		for (pasid = 1; pasid <= 5; pasid++)
			KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, pasid, domain));
	}
	smmu_clear_log(m);
	smmu_map(test, domain, IOVA, 1);
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 80, smmu_count(&m->unit[0], CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, 3, smmu_count(&m->unit[0], CMDQ_OP_CMD_SYNC));
	KUNIT_EXPECT_EQ(test, CMDQ_OP_CMD_SYNC, m->unit[0].log[2 + CMDQ_BATCH_ENTRIES].op);
}

/* An answer that comes after the driver's limit is waited for. */
static void do_late(struct kunit *test, u32 options)
{
	struct smmu_fn *fn = one_fn(test, 0, options, KIOMMU_ATS);
	struct iommu_domain *domain = rid_of(test, fn, 1);
	struct smmu_machine *m = test->priv;
	ktime_t start;
	u64 pa;

	limit_us(test, 20000);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	fn->late_ns = 200 * NSEC_PER_MSEC;
	start = ktime_get();
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_GE(test, ms_since(start), 200);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(m));
	fn->late_ns = 0;
	smmu_exit(test);
}

static void late(struct kunit *test)
{
	do_late(test, 0);
	do_late(test, ARM_SMMU_OPT_MSIPOLL);
}

/* A function that was pulled out is not asked, by whoever flushes. */
static void removed_is_not_asked(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_ATS);
	struct iommu_domain *domain = rid_of(test, fn, 1);

	smmu_clear_log(test->priv);
	arm_smmu_inv_all(to_smmu_domain(domain));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(fn->unit, CMDQ_OP_ATC_INV));
	kiommu_remove(&fn->fn);
	smmu_clear_log(test->priv);
	arm_smmu_inv_all(to_smmu_domain(domain));
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(fn));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_ATC_INV));
}

/* An instance that is off is not waited for. */
static void not_waited_for_when_off(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, 0, 0, KIOMMU_ATS);
	ktime_t start = ktime_get();

	rid_of(test, fn, 1);
	limit_us(test, 20000);
	smmu_turn(fn->unit, false);
	fn->late_ns = 300 * NSEC_PER_MSEC;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, invalidate_page(fn));
	KUNIT_EXPECT_LT(test, ms_since(start), 250);
	fn->late_ns = 0;
	smmu_turn(fn->unit, true);
	KUNIT_EXPECT_EQ(test, 0, invalidate_page(fn));
}

static struct kunit_case smmu_fixes_cases[] = {
	KUNIT_CASE(no_asid_left),
	KUNIT_CASE(no_vmid_left),
	KUNIT_CASE(group_is_unwound),
	KUNIT_CASE(freed_while_attached),
	KUNIT_CASE(unmap_while_ats_goes_on),
	KUNIT_CASE(ats_cannot_go_on),
	KUNIT_CASE(no_cd_left),
	KUNIT_CASE(unmap_while_attached),
	KUNIT_CASE(exit_while_unbound),
	KUNIT_CASE(bind_beside_unbind),
	KUNIT_CASE(cd0_is_cleared_first),
	KUNIT_CASE(pages_are_limited),
	KUNIT_CASE(atc_keeps_the_rest),
	KUNIT_CASE(groups_are_not_cut),
	KUNIT_CASE(groups_need_ranges),
	KUNIT_CASE(hardware_updates_tables),
	KUNIT_CASE(dirty_again),
	KUNIT_CASE(unanswered),
	KUNIT_CASE(unanswered_for_long),
	KUNIT_CASE(many_streams),
	KUNIT_CASE(late),
	KUNIT_CASE(removed_is_not_asked),
	KUNIT_CASE(not_waited_for_when_off),
	{}
};

static struct kunit_suite smmu_fixes_suite = {
	.name = "arm_smmu_fixes",
	.exit = smmu_exit,
	.test_cases = smmu_fixes_cases,
};

kunit_test_suite(smmu_fixes_suite);
