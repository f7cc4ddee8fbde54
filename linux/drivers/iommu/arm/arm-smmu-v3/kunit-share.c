// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of domains that several SMMUs share
 *
 * One domain, one page table, and an ASID or VMID on each instance, which is that instance's
 * own. What is asserted of a walk are the commands of each instance, and that those of a
 * phase are there on all of them before the first is waited for.
 */
#include <kunit/test.h>
#include <linux/idr.h>
#include <linux/io-pgtable.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>

#include "kunit-mock.h"
#include "../../iommu-kunit-nomem.h"

#define PASID	5
#define IOVA	0x10000
#define TRIES	32	/* more than any operation needs */
#define L_NS	(200 * NSEC_PER_USEC)

#define SYNC	"sync\n"

/* How the instances of a machine differ, one after the other */
static const struct smmu_caps mixed[] = {
	{},
	{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV },
	{ .features = SMMU_FEATURES | ARM_SMMU_FEAT_E2H },
	{ .options = ARM_SMMU_OPT_CMDQ_FORCE_SYNC },
	{ .options = ARM_SMMU_OPT_MSIPOLL },
	{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_ATS },
	{ .features = (SMMU_FEATURES | ARM_SMMU_FEAT_E2H) & ~ARM_SMMU_FEAT_RANGE_INV,
	  .options = ARM_SMMU_OPT_MSIPOLL },
	{ .asid_bits = 8, .vmid_bits = 8 },
};

/**
 * struct share - a machine, and a domain that is attached behind all of its instances
 * @test: the test
 * @m: the machine
 * @nr: number of instances, with one function each
 * @fn: the functions
 * @rid: a domain of the RID of every second one, which has an id there already
 * @domain: the domain
 * @pasid: where, or IOMMU_NO_PASID
 */
struct share {
	struct kunit *test;
	struct smmu_machine *m;
	unsigned int nr;
	struct smmu_fn *fn[SMMU_UNITS];
	struct iommu_domain *rid;
	struct iommu_domain *domain;
	u32 pasid;
};

static void access_all(struct share *s, enum smmu_access is)
{
	unsigned int n;

	for (n = 0; n < s->nr; n++)
		KUNIT_EXPECT_EQ(s->test, is,
				smmu_access(s->fn[n], s->pasid, IOVA, 0, NULL));
}

static struct share *machine(struct kunit *test, unsigned int nr, const struct smmu_caps *caps,
			     u32 pasid)
{
	struct share *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->test = test;
	s->nr = nr;
	s->pasid = pasid;
	s->m = smmu_machine(test, nr, caps);
	for (n = 0; n < nr; n++)
		s->fn[n] = smmu_add_fn(test, n, KIOMMU_ATS | KIOMMU_PASID);
	return s;
}

static void attach(struct share *s, unsigned int n)
{
	if (s->pasid == IOMMU_NO_PASID) {
		KUNIT_ASSERT_EQ(s->test, 0, smmu_attach(s->fn[n], s->domain));
		return;
	}
	KUNIT_ASSERT_EQ(s->test, 0, n % 2 ? smmu_attach(s->fn[n], s->rid) :
				    smmu_identity(s->fn[n]));
	KUNIT_ASSERT_EQ(s->test, 0, smmu_set_pasid(s->fn[n], s->pasid, s->domain));
}

static void attach_all(struct share *s, struct iommu_domain *domain)
{
	unsigned int n;

	s->domain = domain;
	if (s->pasid != IOMMU_NO_PASID)
		s->rid = smmu_paging(s->test, s->fn[0], 0);
	for (n = 0; n < s->nr; n++)
		attach(s, n);
}

/* --- what is sent --- */

/* When the instances saw the last command of a kind first, and when the first of them was done */
static void expect_overlap(struct share *s, u8 op)
{
	u64 issued = 0, done = U64_MAX;
	const struct smmu_cmd *cmd;
	unsigned int n;

	for (n = 0; n < s->nr; n++) {
		for (cmd = s->m->unit[n].log; cmd < smmu_log_end(&s->m->unit[n]); cmd++) {
			if (cmd->op != op)
				continue;
			KUNIT_EXPECT_EQ(s->test, CMDQ_OP_CMD_SYNC, cmd[1].op);
			issued = max(issued, cmd[1].issued);
			done = min(done, cmd[1].done);
		}
	}
	KUNIT_EXPECT_NE(s->test, 0, issued);
	KUNIT_EXPECT_LT(s->test, issued, done);
}

static void expect_sent(struct share *s, unsigned int tlbi, unsigned int atc, unsigned int syncs)
{
	unsigned int n;

	for (n = 0; n < s->nr; n++) {
		struct smmu_unit *unit = &s->m->unit[n];

		smmu_settle(unit);
		KUNIT_EXPECT_EQ(s->test, tlbi, smmu_count(unit, CMDQ_OP_TLBI_NH_VA) +
					       smmu_count(unit, CMDQ_OP_TLBI_S2_IPA));
		KUNIT_EXPECT_EQ(s->test, atc, smmu_count(unit, CMDQ_OP_ATC_INV));
		KUNIT_EXPECT_EQ(s->test, syncs, smmu_count(unit, CMDQ_OP_CMD_SYNC));
	}
}

static void all_take(struct share *s, u64 ns)
{
	unsigned int n;

	for (n = 0; n < s->nr; n++) {
		smmu_settle(&s->m->unit[n]);
		s->m->unit[n].latency = ns;
	}
}

/* One walk: both phases are on all instances before the first of each is waited for. */
static void do_walk(struct kunit *test, unsigned int nr, u32 pasid, unsigned int flags,
		    u32 options)
{
	struct smmu_caps caps[SMMU_UNITS];
	struct share *s;
	unsigned int n;

	for (n = 0; n < SMMU_UNITS; n++)
		caps[n] = (struct smmu_caps){ .options = options };
	s = machine(test, nr, caps, pasid);
	attach_all(s, smmu_paging(test, s->fn[0], flags));
	smmu_map(test, s->domain, IOVA, 2);
	access_all(s, SMMU_OK);
	all_take(s, L_NS);
	smmu_clear_log(s->m);
	smmu_unmap(test, s->domain, IOVA, 1);
	expect_sent(s, 1, 1, 2);
	expect_overlap(s, flags & SMMU_S2 ? CMDQ_OP_TLBI_S2_IPA : CMDQ_OP_TLBI_NH_VA);
	expect_overlap(s, CMDQ_OP_ATC_INV);
	all_take(s, 0);
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
	smmu_exit(test);
}

static void walk(struct kunit *test)
{
	unsigned int nr;

	for (nr = 1; nr <= SMMU_UNITS; nr++) {
		do_walk(test, nr, IOMMU_NO_PASID, 0, 0);
		do_walk(test, nr, PASID, 0, ARM_SMMU_OPT_MSIPOLL);
		do_walk(test, nr, IOMMU_NO_PASID, SMMU_S2, 0);
	}
}

/* A process: one domain, whatever ids it has where. */
static void process(struct kunit *test)
{
	struct share *s = machine(test, 2, NULL, PASID);
	struct mm_struct *mm = kiommu_mm(test);

	attach_all(s, smmu_sva(test, s->fn[0], mm));
	smmu_mm_page(test, IOVA);
	access_all(s, SMMU_OK);
	smmu_clear_log(s->m);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(IOVA, PAGE_SIZE));
	/* Its page, then its table */
	KUNIT_EXPECT_STREQ(test,
			   "nh_va asid=1 addr=10000 pages=2\n" SYNC
			   "atc sid=4000 ssid=5 addr=10000 pages=1\n" SYNC
			   "nh_va asid=1 addr=0 pages=512\n" SYNC
			   "atc sid=4000 ssid=5 addr=0 pages=512\n" SYNC,
			   smmu_stream(test, s->fn[0]->unit, 0));
	KUNIT_EXPECT_STREQ(test,
			   "nh_va asid=2 addr=10000 pages=2\n" SYNC
			   "atc sid=4100 ssid=5 addr=10000 pages=1\n" SYNC
			   "nh_va asid=2 addr=0 pages=512\n" SYNC
			   "atc sid=4100 ssid=5 addr=0 pages=512\n" SYNC,
			   smmu_stream(test, s->fn[1]->unit, 0));
	access_all(s, SMMU_TRANSLATION);
	smmu_clear_log(s->m);
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_STREQ(test,
			   "cfgi_cd sid=4100 ssid=5 leaf\n" SYNC "cfgi_cd sid=4100 ssid=5 leaf\n" SYNC
			   "nh_asid asid=2\n" SYNC "atc sid=4100 ssid=5 all\n" SYNC,
			   smmu_stream(test, s->fn[1]->unit, 0));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/* Each instance gets what it has, in one walk. */
static void all_kinds(struct kunit *test)
{
	static const char * const sent[ARRAY_SIZE(mixed)] = {
		"nh_va asid=1 addr=10000 pages=3 ttl=3 leaf\n" SYNC
		"atc sid=4000 ssid=5 addr=10000 pages=4\n" SYNC,
		"nh_va asid=2 addr=10000 leaf\nnh_va asid=2 addr=11000 leaf\n"
		"nh_va asid=2 addr=12000 leaf\n" SYNC
		"atc sid=4100 ssid=5 addr=10000 pages=4\n" SYNC,
		"el2_va asid=1 addr=10000 pages=3 ttl=3 leaf\n" SYNC
		"atc sid=4200 ssid=5 addr=10000 pages=4\n" SYNC,
		"nh_va asid=2 addr=10000 pages=3 ttl=3 leaf\n" SYNC
		"atc sid=4300 ssid=5 addr=10000 pages=4\n" SYNC,
		"nh_va asid=1 addr=10000 pages=3 ttl=3 leaf\n" SYNC
		"atc sid=4400 ssid=5 addr=10000 pages=4\n" SYNC,
		"nh_va asid=2 addr=10000 pages=3 ttl=3 leaf\n" SYNC,
		"el2_va asid=1 addr=10000 leaf\nel2_va asid=1 addr=11000 leaf\n"
		"el2_va asid=1 addr=12000 leaf\n" SYNC
		"atc sid=4600 ssid=5 addr=10000 pages=4\n" SYNC,
		"nh_va asid=2 addr=10000 pages=3 ttl=3 leaf\n" SYNC
		"atc sid=4700 ssid=5 addr=10000 pages=4\n" SYNC,
	};
	struct share *s = machine(test, ARRAY_SIZE(mixed), mixed, PASID);
	unsigned int n;

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, IOVA, 4);
	access_all(s, SMMU_OK);
	smmu_clear_log(s->m);
	smmu_unmap(test, s->domain, IOVA, 3);
	for (n = 0; n < s->nr; n++)
		KUNIT_EXPECT_STREQ(test, sent[n], smmu_stream(test, s->fn[n]->unit, 0));
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/*
 * Pages of 1 GiB, on instances with ranges and without: one command each; of less, more than a
 * batch holds, with one CMD_SYNC but where an erratum wants one behind each batch.
 */
static void more_than_a_batch(struct kunit *test)
{
	static const struct smmu_caps caps[] = {
		{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV },
		{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV,
		  .options = ARM_SMMU_OPT_CMDQ_FORCE_SYNC },
		{},
	};
	static const unsigned int tlbi[] = { 200, 200, 1 }, syncs[] = { 2, 5, 2 };
	struct share *s = machine(test, ARRAY_SIZE(caps), caps, IOMMU_NO_PASID);
	unsigned int n;

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, SZ_2M, 200);
	smmu_clear_log(s->m);
	smmu_unmap_size(test, s->domain, SZ_2M, SZ_4K, 200);
	for (n = 0; n < s->nr; n++) {
		struct smmu_unit *unit = s->fn[n]->unit;

		KUNIT_EXPECT_EQ(test, tlbi[n], smmu_count(unit, CMDQ_OP_TLBI_NH_VA));
		KUNIT_EXPECT_EQ(test, 1, smmu_count(unit, CMDQ_OP_ATC_INV));
		KUNIT_EXPECT_EQ(test, syncs[n], smmu_count(unit, CMDQ_OP_CMD_SYNC));
	}
	smmu_clear_log(s->m);
	arm_smmu_inv_range(to_smmu_domain(s->domain), SZ_1G, SZ_1G, SZ_4K, true);
	KUNIT_EXPECT_EQ(test, 1, smmu_count(s->fn[0]->unit, CMDQ_OP_TLBI_NH_ASID));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(s->fn[0]->unit, CMDQ_OP_TLBI_NH_VA));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(s->fn[2]->unit, CMDQ_OP_TLBI_NH_VA));
}

/*
 * An element that takes more batches than a walk has syncs under way at a time. The first
 * instance is late, and its wait must not be lost among theirs.
 */
static void many_batches(struct kunit *test)
{
	struct smmu_caps caps[3];
	struct iommu_domain *domain;
	struct smmu_machine *m;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(caps); n++)
		caps[n] = (struct smmu_caps){
			.features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV,
			.options = ARM_SMMU_OPT_CMDQ_FORCE_SYNC,
		};
	m = smmu_machine(test, ARRAY_SIZE(caps), caps);
	domain = smmu_paging(test, smmu_add_fn(test, 0, 0), 0);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(m->fn[0], domain));
	for (n = 1; n < ARRAY_SIZE(caps); n++)
		KUNIT_ASSERT_EQ(test, 0, smmu_attach(smmu_add_fn(test, n, 0), domain));
	smmu_map(test, domain, SZ_2M, 511);
	for (n = 0; n < ARRAY_SIZE(caps); n++)
		smmu_settle(&m->unit[n]);
	m->unit[0].latency = 10 * NSEC_PER_MSEC;
	smmu_clear_log(m);
	smmu_unmap_size(test, domain, SZ_2M, SZ_4K, 511);
	for (n = 0; n < ARRAY_SIZE(caps); n++) {
		KUNIT_EXPECT_EQ(test, 511, smmu_count(&m->unit[n], CMDQ_OP_TLBI_NH_VA));
		KUNIT_EXPECT_EQ(test, DIV_ROUND_UP(511, CMDQ_BATCH_ENTRIES - 1),
				smmu_count(&m->unit[n], CMDQ_OP_CMD_SYNC));
	}
	m->unit[0].latency = 0;
}

/* Queues of 128 slots on two instances, and walks that need more */
static void queues_are_full(struct kunit *test)
{
	static const struct smmu_caps caps[] = {
		{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV, .queue = 7 },
		{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV, .queue = 7,
		  .options = ARM_SMMU_OPT_MSIPOLL },
	};
	struct share *s = machine(test, ARRAY_SIZE(caps), caps, IOMMU_NO_PASID);
	unsigned int n;

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	all_take(s, L_NS);
	for (n = 0; n < 8; n++) {
		smmu_map(test, s->domain, SZ_2M, 400);
		access_all(s, SMMU_TRANSLATION);
		smmu_unmap_size(test, s->domain, SZ_2M, SZ_4K, 400);
		KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
	}
	all_take(s, 0);
}

/* --- which instances fit --- */

/**
 * struct fit - two instances that differ
 * @name: of the case
 * @first: features of the one that the page table is made for, 0: as usual
 * @second: and of the other
 * @flags: %SMMU_S2, %SMMU_DIRTY
 * @ias: input size of the second one, for S2, 0: as usual
 * @oas: output size of the second one
 * @sizes: pages of the second one
 * @table_ias: input size of the page table, 0: as it is
 * @ret: what attaching behind the second one says
 */
struct fit {
	const char *name;
	u32 first;
	u32 second;
	unsigned int flags;
	u8 ias;
	u8 oas;
	unsigned long sizes;
	u8 table_ias;
	int ret;
};

#define HTTU	(ARM_SMMU_FEAT_HA | ARM_SMMU_FEAT_HD)

static const struct fit fits[] = {
	{ "twins" },
	{ "twins_s2", .flags = SMMU_S2 },
	{ "no_ranges", .second = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV },
	{ "no_ats", .second = SMMU_FEATURES & ~ARM_SMMU_FEAT_ATS },
	{ "e2h", .second = SMMU_FEATURES | ARM_SMMU_FEAT_E2H },
	{ "no_first_stage", .second = SMMU_FEATURES & ~ARM_SMMU_FEAT_TRANS_S1, .ret = -EINVAL },
	{ "no_second_stage", .second = SMMU_FEATURES & ~ARM_SMMU_FEAT_TRANS_S2,
	  .flags = SMMU_S2, .ret = -EINVAL },
	{ "not_coherent", .second = SMMU_FEATURES & ~ARM_SMMU_FEAT_COHERENCY, .ret = -EINVAL },
	{ "first_not_coherent", .first = SMMU_FEATURES & ~ARM_SMMU_FEAT_COHERENCY,
	  .ret = -EINVAL },
	{ "small_addresses", .ias = 40, .oas = 40, .ret = -EINVAL },
	{ "small_addresses_s2", .ias = 40, .oas = 40, .flags = SMMU_S2, .ret = -EINVAL },
	{ "small_output_s2", .oas = 40, .flags = SMMU_S2, .ret = -EINVAL },
	{ "small_input_s2", .ias = 40, .flags = SMMU_S2, .ret = -EINVAL },
	{ "large_table", .table_ias = 52, .ret = -EINVAL },
	{ "large_table_fits", .second = SMMU_FEATURES | ARM_SMMU_FEAT_VAX, .table_ias = 52 },
	{ "large_addresses_s2", .ias = 52, .oas = 52, .flags = SMMU_S2 },
	{ "other_granule", .sizes = SZ_64K | SZ_512M, .ret = -EINVAL },
	{ "more_granules", .sizes = SZ_4K | SZ_2M | SZ_1G | SZ_64K | SZ_512M },
	{ "dirty", .first = SMMU_FEATURES | HTTU, .second = SMMU_FEATURES | HTTU, .flags = SMMU_DIRTY },
	{ "dirty_by_one", .first = SMMU_FEATURES | HTTU, .flags = SMMU_DIRTY, .ret = -EINVAL },
	{ "not_dirty", .first = SMMU_FEATURES | HTTU },
};

KUNIT_ARRAY_PARAM_DESC(fit, fits, name);

/* What does not fit is attached as before: the core sees to that. */
static void fit(struct kunit *test)
{
	const struct fit *f = test->param_value;
	struct smmu_caps caps[] = { { .features = f->first }, { .features = f->second } };
	struct share *s = machine(test, 2, caps, IOMMU_NO_PASID);
	struct arm_smmu_device *second = &s->m->unit[1].smmu;
	struct iommu_domain *domain;

	second->ias = f->ias ?: second->ias;
	second->oas = f->oas ?: second->oas;
	second->pgsize_bitmap = f->sizes ?: second->pgsize_bitmap;
	domain = smmu_paging(test, s->fn[0], f->flags);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(s->fn[0], domain));
	if (f->table_ias)
		io_pgtable_ops_to_pgtable(to_smmu_domain(domain)->pgtbl_ops)->cfg.ias =
			f->table_ias;
	smmu_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, smmu_block(s->fn[1]));
	smmu_settle(s->fn[1]->unit);
	smmu_clear_log(s->m);
	KUNIT_EXPECT_EQ(test, f->ret, smmu_attach(s->fn[1], domain));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(s->fn[0], IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, f->ret ? SMMU_ABORTED : SMMU_OK,
			smmu_access(s->fn[1], IOMMU_NO_PASID, IOVA, 0, NULL));
	if (f->ret)
		KUNIT_EXPECT_STREQ(test, "prefetch sid=4100\n",
				   smmu_stream(test, s->fn[1]->unit, 0));
	smmu_unmap(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/* A process, whose page table no SMMU has made */
static void fit_process(struct kunit *test)
{
	static const struct smmu_caps caps[] = {
		{}, { .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_SVA },
	};
	struct share *s = machine(test, 2, caps, PASID);
	struct iommu_domain *domain = smmu_sva(test, s->fn[0], kiommu_mm(test));

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(s->fn[0]));
	KUNIT_ASSERT_EQ(test, 0, smmu_identity(s->fn[1]));
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[0], PASID, domain));
	KUNIT_EXPECT_EQ(test, -EINVAL, smmu_set_pasid(s->fn[1], PASID, domain));
}

/*
 * The first SMMU has the second stage only, and there is no memory for a page table: the
 * next one has the stage that was meant. So has one after a PASID was refused there.
 */
static void stage_of_who_failed(struct kunit *test)
{
	static const struct smmu_caps caps[] = {
		{ .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_TRANS_S1 }, {},
	};
	struct share *s = machine(test, 2, caps, IOMMU_NO_PASID);
	struct iommu_domain *first = smmu_paging(test, s->fn[0], SMMU_LATE);
	struct iommu_domain *second = smmu_paging(test, s->fn[0], SMMU_LATE);
	struct arm_smmu_device *smmu = &s->fn[0]->unit->smmu;
	unsigned long sizes = smmu->pgsize_bitmap;

	/* No format has such pages. */
	smmu->pgsize_bitmap = SZ_2K;
	KUNIT_EXPECT_EQ(test, -ENOMEM, smmu_attach(s->fn[0], first));
	smmu->pgsize_bitmap = sizes;
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(s->fn[1], first));
	KUNIT_EXPECT_EQ(test, ARM_SMMU_DOMAIN_S1, to_smmu_domain(first)->stage);
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(s->fn[0]));
	KUNIT_EXPECT_EQ(test, -EINVAL, smmu_set_pasid(s->fn[0], PASID, second));
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[1], PASID, second));
}

/* --- ids --- */

/* One instance has none left: the others go on, and it does when a domain is freed. */
static void ids_run_out(struct kunit *test)
{
	static const struct smmu_caps caps[] = { { .asid_bits = 1, .vmid_bits = 1 }, {} };
	struct share *s = machine(test, 2, caps, IOMMU_NO_PASID);
	unsigned int flags;

	for (flags = 0; flags <= SMMU_S2; flags += SMMU_S2) {
		struct iommu_domain *first = smmu_paging(test, s->fn[0], flags);
		struct iommu_domain *second = smmu_paging(test, s->fn[0], flags);
		struct smmu_fn *third = smmu_add_fn(test, 0, 0);

		KUNIT_ASSERT_EQ(test, 0, smmu_attach(s->fn[0], first));
		KUNIT_EXPECT_EQ(test, -ENOSPC, smmu_attach(third, second));
		KUNIT_EXPECT_EQ(test, 0, smmu_attach(s->fn[1], second));
		/* The first one may come back, and does so without a flush. */
		KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[0]));
		KUNIT_EXPECT_EQ(test, -ENOSPC, smmu_attach(third, second));
		smmu_clear_log(s->m);
		KUNIT_EXPECT_EQ(test, 0, smmu_attach(s->fn[0], first));
		KUNIT_EXPECT_EQ(test, 0, smmu_count(s->fn[0]->unit, CMDQ_OP_TLBI_NH_ASID) +
					 smmu_count(s->fn[0]->unit, CMDQ_OP_TLBI_S12_VMALL));
		KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[0]));
		smmu_free(test, first);
		KUNIT_EXPECT_EQ(test, 0, smmu_attach(third, second));
		KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[1]));
		KUNIT_EXPECT_EQ(test, 0, smmu_block(third));
		smmu_free(test, second);
	}
}

/* Somebody else has them, before anything is attached: all ids of so many bits but two */
static void reserve_all_but(struct kunit *test, struct ida *ids, unsigned int bits,
			    unsigned int a, unsigned int b)
{
	unsigned int id;

	for (id = 1; id < BIT(bits); id++)
		if (id != a && id != b)
			KUNIT_ASSERT_EQ(test, id, ida_alloc_range(ids, id, id, GFP_KERNEL));
}

static void put_mm(void *mm)
{
	mmput(mm);
}

static void process_ids_run_out(struct kunit *test)
{
	struct share *s = machine(test, 2, NULL, PASID);
	struct smmu_unit *unit = s->fn[0]->unit;
	struct iommu_domain *domain[3];
	struct mm_struct *mm;
	unsigned int n;

	reserve_all_but(test, &unit->smmu.asid_map, 16, 1000, BIT(16) - 1);
	for (n = 0; n < 2; n++)
		KUNIT_ASSERT_EQ(test, 0, smmu_identity(s->fn[n]));
	for (n = 0; n < ARRAY_SIZE(domain); n++) {
		mm = mm_alloc();
		KUNIT_ASSERT_NOT_NULL(test, mm);
		kiommu_at_exit(test, &s->m->k, put_mm, mm);
		domain[n] = smmu_sva(test, s->fn[0], mm);
	}
	for (n = 0; n < 2; n++)
		KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[0], PASID + n, domain[n]));
	KUNIT_EXPECT_EQ(test, 1000, smmu_id(unit, domain[0]));
	KUNIT_EXPECT_EQ(test, BIT(16) - 1, smmu_id(unit, domain[1]));
	/* It fits, so that nobody makes another domain, which would have no id either. */
	KUNIT_EXPECT_EQ(test, -ENOSPC, smmu_set_pasid(s->fn[0], PASID + 2, domain[2]));
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[1], PASID + 2, domain[2]));
	KUNIT_EXPECT_EQ(test, 1, smmu_id(s->fn[1]->unit, domain[2]));
	smmu_remove_pasid(s->fn[0], PASID);
	smmu_free(test, domain[0]);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[0], PASID + 2, domain[2]));
	KUNIT_EXPECT_EQ(test, 1000, smmu_id(unit, domain[2]));
}

/* The same with ASIDs of 8 bits, and domains that are mapped, at PASIDs of one function */
static void pasid_ids_run_out(struct kunit *test)
{
	static const struct smmu_caps caps[] = { { .asid_bits = 8 }, {} };
	struct share *s = machine(test, 2, caps, PASID);
	struct iommu_domain *domain[3];
	unsigned int n;

	reserve_all_but(test, &s->fn[0]->unit->smmu.asid_map, 8, 1, BIT(8) - 1);
	for (n = 0; n < 2; n++)
		KUNIT_ASSERT_EQ(test, 0, smmu_identity(s->fn[n]));
	for (n = 0; n < ARRAY_SIZE(domain); n++) {
		domain[n] = smmu_paging(test, s->fn[0], 0);
		KUNIT_EXPECT_EQ(test, n < 2 ? 0 : -ENOSPC,
				smmu_set_pasid(s->fn[0], PASID + n, domain[n]));
	}
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[1], PASID, domain[2]));
	smmu_map(test, domain[2], IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(s->fn[1], PASID, IOVA, 0, NULL));
	/* Detached, it keeps its id until it is freed. */
	smmu_remove_pasid(s->fn[0], PASID);
	KUNIT_EXPECT_EQ(test, -ENOSPC, smmu_set_pasid(s->fn[0], PASID, domain[2]));
	smmu_free(test, domain[0]);
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(s->fn[0], PASID, domain[2]));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(s->fn[0], PASID, IOVA, 0, NULL));
}

/* An id that could not be flushed is not given out again, also when its domain is freed. */
static void dirty_id(struct kunit *test)
{
	struct share *s = machine(test, 2, NULL, IOMMU_NO_PASID);
	struct iommu_domain *next;
	u16 id;

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, IOVA, 1);
	access_all(s, SMMU_OK);
	id = smmu_id(s->fn[0]->unit, s->domain);
	smmu_refuse(s->fn[0]->unit, CMDQ_OP_TLBI_NH_ASID);
	KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[0]));
	smmu_refuse(s->fn[0]->unit, 0);
	KUNIT_EXPECT_EQ(test, id, smmu_id(s->fn[0]->unit, s->domain));
	KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[1]));
	s->m->unaudited = true;
	smmu_free(test, s->domain);
	next = smmu_paging(test, s->fn[0], 0);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(s->fn[0], next));
	KUNIT_EXPECT_NE(test, id, smmu_id(s->fn[0]->unit, next));
}

/* Where the id is still dirty, the next attachment flushes it. */
static void dirty_id_is_flushed(struct kunit *test)
{
	struct share *s = machine(test, 1, NULL, IOMMU_NO_PASID);

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, IOVA, 1);
	access_all(s, SMMU_OK);
	smmu_refuse(s->fn[0]->unit, CMDQ_OP_TLBI_NH_ASID);
	KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[0]));
	KUNIT_EXPECT_EQ(test, -EIO, smmu_attach(s->fn[0], s->domain));
	access_all(s, SMMU_ABORTED);
	smmu_refuse(s->fn[0]->unit, 0);
	/* Nobody is told. */
	smmu_unmap(test, s->domain, IOVA, 1);
	attach(s, 0);
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/* An id that is used again is dirty again: if it cannot be flushed, the next attachment does. */
static void used_again_is_dirty(struct kunit *test)
{
	struct share *s = machine(test, 1, NULL, IOMMU_NO_PASID);

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	KUNIT_ASSERT_EQ(test, 0, smmu_block(s->fn[0]));
	attach(s, 0);
	smmu_map(test, s->domain, IOVA, 1);
	access_all(s, SMMU_OK);
	smmu_refuse(s->fn[0]->unit, CMDQ_OP_TLBI_NH_ASID);
	KUNIT_EXPECT_EQ(test, 0, smmu_block(s->fn[0]));
	smmu_refuse(s->fn[0]->unit, 0);
	/* Nobody is told. */
	smmu_unmap(test, s->domain, IOVA, 1);
	attach(s, 0);
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/* The stages count for themselves. */
static void ids_of_stages(struct kunit *test)
{
	static const struct smmu_caps caps = { .asid_bits = 1, .vmid_bits = 1 };
	struct share *s = machine(test, 1, &caps, IOMMU_NO_PASID);
	struct iommu_domain *s1 = smmu_paging(test, s->fn[0], 0);
	struct iommu_domain *s2 = smmu_paging(test, s->fn[0], SMMU_S2);

	KUNIT_EXPECT_EQ(test, 0, smmu_attach(s->fn[0], s1));
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(smmu_add_fn(test, 0, 0), s2));
	KUNIT_EXPECT_EQ(test, 1, smmu_id(s->fn[0]->unit, s1));
	KUNIT_EXPECT_EQ(test, 1, smmu_id(s->fn[0]->unit, s2));
}

/*
 * What failed behind several instances is done again where it failed: that of the first is not
 * taken for what the last was sent.
 */
static void illegal_behind_one(struct kunit *test)
{
	struct share *s = machine(test, 2, NULL, IOMMU_NO_PASID);

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, IOVA, 2);
	access_all(s, SMMU_OK);
	smmu_fail(s->fn[0]->unit, CMDQ_ERR_CERROR_ILL_IDX, 1);
	smmu_clear_log(s->m);
	smmu_unmap(test, s->domain, IOVA, 1);
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(s->fn[1]->unit, CMDQ_OP_TLBI_NH_VA));
}

/* One of many, which has no CMD_SYNC right behind its batch */
static void illegal_among_many(struct kunit *test)
{
	static const struct smmu_caps caps = {
		.features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV,
	};
	struct share *s = machine(test, 1, &caps, IOMMU_NO_PASID);
	const u64 iova = SZ_2M + 9 * SZ_4K;

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, SZ_2M, 200);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(s->fn[0], s->pasid, iova, 0, NULL));
	smmu_fail(s->fn[0]->unit, CMDQ_ERR_CERROR_ILL_IDX, 10);
	smmu_unmap_size(test, s->domain, SZ_2M, SZ_4K, 200);
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, smmu_access(s->fn[0], s->pasid, iova, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
}

/* --- no memory --- */

static int attach_second(struct share *s)
{
	return s->pasid == IOMMU_NO_PASID ? smmu_attach(s->fn[1], s->domain) :
		smmu_set_pasid(s->fn[1], s->pasid, s->domain);
}

/* Whichever allocation fails: the other instance goes on, and nothing is left on this one. */
static void do_no_memory(struct kunit *test, u32 pasid, unsigned int flags)
{
	struct share *s = machine(test, 2, NULL, pasid);
	unsigned int n, failed = 0;
	bool hit;
	int ret;

	nomem_start(test, NOMEM_SLAB);
	s->domain = smmu_paging(test, s->fn[0], flags);
	attach(s, 0);
	smmu_map(test, s->domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, smmu_block(s->fn[1]));
	for (n = 1; n < TRIES; n++) {
		nomem_nth(n);
		ret = attach_second(s);
		hit = nomem_nth(0);
		if (!hit)
			break;
		failed++;
		KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		KUNIT_EXPECT_EQ(test, 0, smmu_id(s->fn[1]->unit, s->domain));
		KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(s->fn[0], pasid, IOVA, 0, NULL));
		KUNIT_EXPECT_NE(test, SMMU_OK, smmu_access(s->fn[1], pasid, IOVA, 0, NULL));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GE(test, failed, 3);
	access_all(s, SMMU_OK);
	smmu_unmap(test, s->domain, IOVA, 1);
	access_all(s, SMMU_TRANSLATION);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(s->m));
	smmu_exit(test);
}

static void no_memory(struct kunit *test)
{
	do_no_memory(test, IOMMU_NO_PASID, 0);
	do_no_memory(test, IOMMU_NO_PASID, SMMU_S2);
	do_no_memory(test, PASID, 0);
}

/* --- functions that do not answer --- */

/* Of two instances, the one that reports it has its function fenced; the other does not notice. */
static void one_is_mute(struct kunit *test)
{
	struct share *s = machine(test, 3, NULL, IOMMU_NO_PASID);
	struct arm_smmu_master *master = dev_iommu_priv_get(smmu_dev(s->fn[1]));

	attach_all(s, smmu_paging(test, s->fn[0], 0));
	smmu_map(test, s->domain, IOVA, 2);
	access_all(s, SMMU_OK);
	s->fn[1]->unit->atc_timeout = 2 * NSEC_PER_MSEC;
	kiommu_mute(&s->fn[1]->fn, true);
	smmu_clear_log(s->m);
	smmu_unmap(test, s->domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, master->fn.state);
	KUNIT_EXPECT_EQ(test, 1, smmu_count(s->fn[0]->unit, CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, 2, smmu_count(s->fn[1]->unit, CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(s->fn[2]->unit, CMDQ_OP_ATC_INV));
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION,
			smmu_access(s->fn[0], IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_NO_ATS, smmu_access(s->fn[1], IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION,
			smmu_access(s->fn[2], IOMMU_NO_PASID, IOVA, 0, NULL));
	s->m->unaudited = true;
}

static struct kunit_case smmu_share_cases[] = {
	KUNIT_CASE(walk),
	KUNIT_CASE(process),
	KUNIT_CASE(all_kinds),
	KUNIT_CASE(more_than_a_batch),
	KUNIT_CASE(many_batches),
	KUNIT_CASE(queues_are_full),
	KUNIT_CASE_PARAM(fit, fit_gen_params),
	KUNIT_CASE(fit_process),
	KUNIT_CASE(stage_of_who_failed),
	KUNIT_CASE(ids_run_out),
	KUNIT_CASE(process_ids_run_out),
	KUNIT_CASE(pasid_ids_run_out),
	KUNIT_CASE(ids_of_stages),
	KUNIT_CASE(dirty_id),
	KUNIT_CASE(dirty_id_is_flushed),
	KUNIT_CASE(used_again_is_dirty),
	KUNIT_CASE(illegal_behind_one),
	KUNIT_CASE(illegal_among_many),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(one_is_mute),
	{}
};

static struct kunit_suite smmu_share_suite = {
	.name = "arm_smmu_share",
	.exit = smmu_exit,
	.test_cases = smmu_share_cases,
};

kunit_test_suite(smmu_share_suite);
