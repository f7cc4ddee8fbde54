// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what one invalidation of a domain costs
 *
 * An event is one change of a page table. Each cache that may hold what has changed
 * has to be told, and none has to be told twice: one IOTLB command per tag of a
 * unit, one device-TLB command per function with ATS and PASID, and one wait per 16
 * of these. There is no way with less.
 *
 * What is expected is made from what the units' PASID tables say, not from what the
 * driver believes about them, and compared with what the units got, descriptor by
 * descriptor.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/kernel_pgtable.h>
#include <linux/mmu_notifier.h>

#include "kunit-mock.h"

#define SVA_PASID	5
#define DECOY_PASID	100
#define DIDS		256	/* of a unit */
#define BATCH		16	/* commands that one wait is enough for */

enum limit_what {
	SVA,		/* a process, on one PASID */
	FIRST_LEVEL,	/* on PASIDs */
	SECOND_LEVEL,	/* on PASIDs */
	RID,		/* second level */
	PARENT,		/* of one nested domain for each two functions */
};

enum limit_event {
	PAGE,		/* one */
	RANGE,		/* of 512 pages */
	ALL,
	MAP,		/* of a page where nothing was */
	TABLES,		/* of the kernel are about to be freed */
};

enum limit_ats {
	ATS_ON,
	ATS_OFF,
	ATS_MIXED,
};

/* Function n is behind unit n modulo their number. */
enum limit_order {
	ALTERNATE,	/* of the units */
	GROUPED,	/* by unit */
	BACKWARDS,
};

/* How units differ from the usual one */
#define CACHING		BIT(0)
#define BUFFER		BIT(1)
#define INCOHERENT	BIT(2)
#define NO_PSI		BIT(3)
#define SMALL_PSI	BIT(4)	/* up to 8 pages */
#define ODD_UNITS	BIT(5)	/* only those */

/**
 * struct limit - where a domain is attached, and what happens to it
 * @name: of the case
 * @what: is attached
 * @fns: number of functions
 * @units: number of units
 * @pasids: number of PASIDs of each function
 * @ats: of the functions
 * @event: what happens
 * @order: in which the functions are attached
 * @how: CACHING and so on
 */
struct limit {
	const char *name;
	enum limit_what what;
	unsigned int fns;
	unsigned int units;
	unsigned int pasids;
	enum limit_ats ats;
	enum limit_event event;
	enum limit_order order;
	unsigned int how;
};

static const struct limit limits[] = {
	{ "sva_1x1", SVA, 1, 1, 1 },
	{ "sva_1x1_no_ats", SVA, 1, 1, 1, ATS_OFF },
	{ "sva_2x1", SVA, 2, 1, 1 },
	{ "sva_2x2", SVA, 2, 2, 1 },
	{ "sva_8x1", SVA, 8, 1, 1 },
	{ "sva_8x2", SVA, 8, 2, 1 },
	{ "sva_8x4", SVA, 8, 4, 1 },
	{ "sva_8x4_grouped", SVA, 8, 4, 1, .order = GROUPED },
	{ "sva_8x4_backwards", SVA, 8, 4, 1, .order = BACKWARDS },
	{ "sva_8x4_no_ats", SVA, 8, 4, 1, ATS_OFF },
	{ "sva_8x4_mixed", SVA, 8, 4, 1, ATS_MIXED },
	{ "sva_8x8", SVA, 8, 8, 1 },
	{ "sva_16x8", SVA, 16, 8, 1 },
	{ "sva_16x8_mixed_backwards", SVA, 16, 8, 1, ATS_MIXED,
	  .order = BACKWARDS },
	{ "sva_15x1_one_batch", SVA, 15, 1, 1 },
	{ "sva_16x1_two_batches", SVA, 16, 1, 1 },
	{ "sva_range_8x4", SVA, 8, 4, 1, ATS_ON, RANGE },
	{ "sva_range_small_psi", SVA, 6, 3, 1, ATS_ON, RANGE, .how = SMALL_PSI },
	{ "sva_range_small_psi_odd", SVA, 6, 3, 1, ATS_ON, RANGE,
	  .how = SMALL_PSI | ODD_UNITS },
	{ "sva_all_8x4", SVA, 8, 4, 1, ATS_MIXED, ALL },
	{ "sva_tables_1x1", SVA, 1, 1, 1, ATS_ON, TABLES },
	{ "sva_tables_8x4", SVA, 8, 4, 1, ATS_MIXED, TABLES },
	{ "sva_tables_16x1_one_batch", SVA, 16, 1, 1, ATS_ON, TABLES },
	{ "sva_tables_small_psi_odd", SVA, 6, 3, 1, ATS_ON, TABLES,
	  .how = SMALL_PSI | ODD_UNITS },
	{ "sva_caching", SVA, 4, 2, 1, .how = CACHING },
	{ "sva_buffer", SVA, 4, 2, 1, .how = BUFFER },
	{ "sva_incoherent", SVA, 4, 2, 1, .how = INCOHERENT },

	{ "fl_1x1_p1", FIRST_LEVEL, 1, 1, 1 },
	{ "fl_2x1_p8_two_batches", FIRST_LEVEL, 2, 1, 8 },
	{ "fl_4x2_p15_three_batches", FIRST_LEVEL, 4, 2, 15 },
	{ "fl_16x8_p8", FIRST_LEVEL, 16, 8, 8, ATS_MIXED },
	{ "fl_8x4_p4_no_ats", FIRST_LEVEL, 8, 4, 4, ATS_OFF },
	{ "fl_range", FIRST_LEVEL, 4, 2, 2, ATS_MIXED, RANGE },
	{ "fl_all", FIRST_LEVEL, 4, 2, 2, ATS_MIXED, ALL },
	{ "fl_map", FIRST_LEVEL, 4, 2, 2, ATS_ON, MAP },
	{ "fl_map_caching", FIRST_LEVEL, 4, 2, 2, ATS_ON, MAP, .how = CACHING },
	{ "fl_map_buffer", FIRST_LEVEL, 4, 2, 2, ATS_ON, MAP, .how = BUFFER },

	{ "sl_1x1_p1", SECOND_LEVEL, 1, 1, 1 },
	{ "sl_1x1_p15", SECOND_LEVEL, 1, 1, 15 },
	{ "sl_4x2_p15", SECOND_LEVEL, 4, 2, 15 },
	{ "sl_8x4_p15_no_ats", SECOND_LEVEL, 8, 4, 15, ATS_OFF },
	{ "sl_16x8_p8_mixed", SECOND_LEVEL, 16, 8, 8, ATS_MIXED },
	{ "sl_8x4_p4_grouped", SECOND_LEVEL, 8, 4, 4, .order = GROUPED },
	{ "sl_range", SECOND_LEVEL, 4, 2, 3, ATS_MIXED, RANGE },
	{ "sl_range_no_psi", SECOND_LEVEL, 4, 2, 3, ATS_ON, RANGE, .how = NO_PSI },
	{ "sl_range_small_psi_odd", SECOND_LEVEL, 4, 4, 3, ATS_ON, RANGE,
	  .how = SMALL_PSI | ODD_UNITS },
	{ "sl_all", SECOND_LEVEL, 4, 2, 3, ATS_MIXED, ALL },
	{ "sl_map", SECOND_LEVEL, 4, 2, 3, ATS_ON, MAP },
	{ "sl_map_caching", SECOND_LEVEL, 4, 2, 3, ATS_ON, MAP, .how = CACHING },
	{ "sl_map_caching_odd", SECOND_LEVEL, 8, 4, 3, ATS_ON, MAP,
	  .how = CACHING | ODD_UNITS },
	{ "sl_map_buffer", SECOND_LEVEL, 4, 2, 3, ATS_ON, MAP, .how = BUFFER },
	{ "sl_map_buffer_odd", SECOND_LEVEL, 4, 4, 3, ATS_ON, MAP,
	  .how = BUFFER | ODD_UNITS },
	{ "sl_incoherent", SECOND_LEVEL, 4, 2, 3, .how = INCOHERENT },

	{ "rid_1x1", RID, 1, 1, 1 },
	{ "rid_8x4_mixed", RID, 8, 4, 1, ATS_MIXED },
	{ "rid_16x1_two_batches", RID, 16, 1, 1 },
	{ "rid_no_psi_odd", RID, 4, 2, 1, ATS_ON, PAGE, .how = NO_PSI | ODD_UNITS },
	{ "rid_caching", RID, 4, 2, 1, .how = CACHING },
	{ "rid_all", RID, 8, 4, 1, ATS_ON, ALL, BACKWARDS },

	{ "parent_1x1", PARENT, 1, 1, 1 },
	{ "parent_4x1", PARENT, 4, 1, 1 },
	{ "parent_8x1_no_ats", PARENT, 8, 1, 1, ATS_OFF },
	{ "parent_8x2_mixed", PARENT, 8, 2, 1, ATS_MIXED },
	{ "parent_12x1_two_batches", PARENT, 12, 1, 1 },
	{ "parent_range_8x4", PARENT, 8, 4, 1, ATS_ON, RANGE, BACKWARDS },
	{ "parent_all_8x4", PARENT, 8, 4, 1, ATS_ON, ALL, GROUPED },
	{ "parent_map_caching", PARENT, 8, 4, 1, ATS_ON, MAP, .how = CACHING },
};

KUNIT_ARRAY_PARAM_DESC(limit, limits, name);

/**
 * struct limit_case - a case while it runs
 * @test: the test
 * @limit: what is being done
 * @machine: with what
 * @mm: of %SVA
 * @domain: what is changed
 * @nested: on @domain, for %PARENT
 * @attached: the functions that are, by their number
 */
struct limit_case {
	struct kunit *test;
	const struct limit *limit;
	struct vtd_machine *machine;
	struct mm_struct *mm;
	struct iommu_domain *domain;
	struct iommu_domain *nested[VTD_FNS / 2];
	bool attached[VTD_FNS];
};

/* --- machines --- */

static bool is_first_level(const struct limit *b)
{
	return b->what == SVA || b->what == FIRST_LEVEL;
}

static bool is_rid(const struct limit *b)
{
	return b->what == RID || b->what == PARENT;
}

/* The PASIDs of a function are numbered from here on. */
static u32 first_pasid(const struct limit *b)
{
	return is_rid(b) ? IOMMU_NO_PASID : SVA_PASID;
}

static void limit_caps(const struct limit *b, struct vtd_caps *caps)
{
	unsigned int n;

	for (n = 0; n < b->units; n++) {
		caps[n] = (struct vtd_caps){ VTD_CAP, VTD_ECAP };
		if (b->how & ODD_UNITS && !(n % 2))
			continue;
		if (b->how & CACHING)
			caps[n].cap |= VTD_CAP_CM;
		if (b->how & BUFFER)
			caps[n].cap |= VTD_CAP_RWBF;
		if (b->how & INCOHERENT)
			caps[n].ecap &= ~VTD_ECAP_C;
		if (b->how & NO_PSI)
			caps[n].cap &= ~VTD_CAP_PSI;
		if (b->how & SMALL_PSI)
			caps[n].cap = (caps[n].cap & ~VTD_CAP_MAMV) | 3ULL << 48;
	}
}

static bool has_ats(const struct limit *b, unsigned int n)
{
	return b->ats == ATS_ON || (b->ats == ATS_MIXED && n % 3);
}

/* A domain is made for the units that have to be told more than the others. */
static struct vtd_fn *limit_made_for(const struct limit_case *c)
{
	return c->machine->fn[c->limit->how & ODD_UNITS ? 1 : 0];
}

/* A domain of somebody else, so that DIDs differ between units */
static void limit_decoys(struct limit_case *c)
{
	struct iommu_domain *decoy = vtd_paging(c->test, limit_made_for(c), 0);
	unsigned int n;

	for (n = 1; n < min(c->limit->units, c->limit->fns); n += 2)
		KUNIT_ASSERT_EQ(c->test, 0, vtd_set_pasid(c->machine->fn[n],
							  DECOY_PASID, decoy));
}

static void limit_domains(struct limit_case *c)
{
	const struct limit *b = c->limit;
	struct vtd_fn *fn = limit_made_for(c);
	unsigned int n;

	switch (b->what) {
	case SVA:
		c->mm = kiommu_mm(c->test);
		c->domain = vtd_sva(c->test, fn, c->mm);
		break;
	case FIRST_LEVEL:
		c->domain = vtd_paging(c->test, fn, VTD_FIRST_LEVEL);
		break;
	case SECOND_LEVEL:
	case RID:
		c->domain = vtd_paging(c->test, fn, 0);
		break;
	case PARENT:
		c->domain = vtd_paging(c->test, fn, VTD_PARENT);
		for (n = 0; n < b->fns; n += 2)
			c->nested[n / 2] = vtd_nested(c->test, fn, c->domain);
		break;
	}
}

static void limit_attach(struct limit_case *c, unsigned int n)
{
	const struct limit *b = c->limit;
	struct vtd_fn *fn = c->machine->fn[n];
	struct kunit *test = c->test;
	u32 pasid;

	if (is_rid(b))
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, b->what == PARENT ?
						    c->nested[n / 2] : c->domain));
	else
		for (pasid = 0; pasid < b->pasids; pasid++)
			KUNIT_ASSERT_EQ(test, 0,
					vtd_set_pasid(fn, first_pasid(b) + pasid,
						      c->domain));
	c->attached[n] = true;
}

static void limit_detach(struct limit_case *c, unsigned int n)
{
	const struct limit *b = c->limit;
	struct vtd_fn *fn = c->machine->fn[n];
	u32 pasid;

	if (!c->attached[n])
		return;
	if (is_rid(b))
		vtd_block(fn);
	else
		for (pasid = 0; pasid < b->pasids; pasid++)
			vtd_remove_pasid(fn, first_pasid(b) + pasid);
	c->attached[n] = false;
}

static void limit_attach_all(struct limit_case *c)
{
	const struct limit *b = c->limit;
	unsigned int unit, n;

	switch (b->order) {
	case ALTERNATE:
		for (n = 0; n < b->fns; n++)
			limit_attach(c, n);
		break;
	case GROUPED:
		for (unit = 0; unit < b->units; unit++)
			for (n = unit; n < b->fns; n += b->units)
				limit_attach(c, n);
		break;
	case BACKWARDS:
		for (n = b->fns; n; n--)
			limit_attach(c, n - 1);
		break;
	}
}

static void limit_setup(struct limit_case *c)
{
	const struct limit *b = c->limit;
	struct vtd_caps caps[VTD_UNITS];
	unsigned int n;

	limit_caps(b, caps);
	c->machine = vtd_machine(c->test, b->units, caps);
	for (n = 0; n < b->fns; n++)
		vtd_add_fn(c->test, n % b->units, KIOMMU_PASID |
			   (has_ats(b, n) ? KIOMMU_ATS : 0));
	limit_decoys(c);
	limit_domains(c);
	limit_attach_all(c);
}

/* --- events --- */

static u64 limit_iova(const struct limit *b)
{
	return b->event == RANGE ? SZ_2M : 0x10000;
}

static unsigned int limit_am(const struct limit *b)
{
	return b->event == RANGE ? 9 : 0;
}

static void limit_event_mm(struct limit_case *c)
{
	u64 iova = limit_iova(c->limit);
	u64 end = iova + (PAGE_SIZE << limit_am(c->limit));

	if (c->limit->event == TABLES)
		mmu_notifier_arch_invalidate_secondary_tlbs(c->mm,
							    KERNEL_PGTABLE_START,
							    KERNEL_PGTABLE_END);
	else if (c->limit->event == ALL)
		mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, 0, ULONG_MAX);
	else
		mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, iova, end);
}

static void limit_event(struct limit_case *c)
{
	const struct limit *b = c->limit;
	u64 iova = limit_iova(b);

	if (b->what == SVA) {
		limit_event_mm(c);
		return;
	}
	if (b->event == ALL) {
		vtd_flush_all(c->domain);
		return;
	}
	vtd_map(c->test, c->domain, iova, 1);
	if (b->event == MAP) {
		vtd_sync_map(c->domain, iova, 1);
		iova += SZ_4K;
	}
	/* Not at once: that could be a large page. */
	if (b->event == RANGE)
		vtd_map(c->test, c->domain, iova + SZ_4K, 511);
	if (b->event != MAP)
		vtd_unmap(c->domain, iova, 1 << limit_am(b));
}

/* --- what is expected --- */

/**
 * struct expected - of a unit
 * @limit: what is being done
 * @unit: the unit
 * @text: as vtd_stream() writes it
 * @n: length of it
 * @tags: IOTLB commands in it
 * @atcs: device-TLB commands in it
 */
struct expected {
	const struct limit *limit;
	struct vtd_unit *unit;
	char text[8192];
	size_t n;
	unsigned int tags;
	unsigned int atcs;
};

static __printf(2, 3) void expect_text(struct expected *e, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	e->n += vscnprintf(e->text + e->n, sizeof(e->text) - e->n, fmt, args);
	va_end(args);
}

static void expect_range(struct expected *e)
{
	/* Nothing but leaf entries changed, which the mm does not say. */
	bool ih = e->limit->event == PAGE && e->limit->what != SVA;

	expect_text(e, " addr=%llx am=%u", limit_iova(e->limit),
		    limit_am(e->limit));
	/* The last is a tag if there is no ATC yet. */
	expect_text(e, "%s", ih && !e->atcs ? " ih" : "");
}

static void expect_end(struct expected *e)
{
	expect_text(e, "\n");
	if (!((e->tags + e->atcs) % BATCH))
		expect_text(e, "wait\n");
}

static void expect_tag(struct expected *e, unsigned int did, u32 pasid)
{
	const struct limit *b = e->limit;
	u64 cap = e->unit->iommu.cap;

	e->tags++;
	if (is_first_level(b))
		expect_text(e, "piotlb did=%u pasid=%u", did, pasid);
	else
		expect_text(e, "iotlb did=%u", did);
	/* What units say about ranges is about second-level translations. */
	if (b->event != ALL && b->event != TABLES &&
	    (is_first_level(b) || (limit_am(b) <= cap_max_amask_val(cap) &&
				   cap_pgsel_inv(cap))))
		expect_range(e);
	expect_end(e);
}

static void expect_atc(struct expected *e, struct vtd_fn *fn, u32 pasid)
{
	const struct limit *b = e->limit;

	e->atcs++;
	expect_text(e, "devtlb sid=%x", pci_dev_id(&fn->pci.pdev));
	if (pasid != IOMMU_NO_PASID)
		expect_text(e, " pasid=%u", pasid);
	expect_text(e, " qdep=16");
	/* Nobody knows which nested translations come from where. */
	if (b->event == ALL || b->what == PARENT)
		expect_text(e, " all");
	else
		expect_range(e);
	expect_end(e);
}

static bool is_there(const struct limit_case *c, const struct expected *e,
		     unsigned int n)
{
	return c->attached[n] && c->machine->fn[n]->unit == e->unit;
}

/* One for each DID, of first-level translations one for each PASID */
static void expect_tags(struct limit_case *c, struct expected *e)
{
	const struct limit *b = c->limit;
	DECLARE_BITMAP(dids, DIDS) = {};
	struct pasid_entry *entry;
	unsigned int n, did;
	u32 pasid;

	for (n = 0; n < b->fns; n++) {
		if (!is_there(c, e, n))
			continue;
		entry = vtd_entry(c->machine->fn[n], first_pasid(b));
		KUNIT_ASSERT_TRUE(c->test, pasid_pte_is_present(entry));
		/* SRE is clear, which lets TABLES pass over ATCs */
		KUNIT_EXPECT_FALSE(c->test, entry->val[2] & BIT_ULL(0));
		set_bit(pasid_get_domain_id(entry), dids);
	}
	for_each_set_bit(did, dids, DIDS)
		for (pasid = 0; pasid < (is_first_level(b) ? b->pasids : 1);
		     pasid++)
			expect_tag(e, did, first_pasid(b) + pasid);
}

static void expect_atcs(struct limit_case *c, struct expected *e)
{
	const struct limit *b = c->limit;
	unsigned int n;
	u32 pasid;

	for (n = 0; n < b->fns; n++)
		for (pasid = 0; is_there(c, e, n) && has_ats(b, n) &&
		     pasid < b->pasids; pasid++)
			expect_atc(e, c->machine->fn[n], first_pasid(b) + pasid);
}

/* Of what is new, only those who cache what is not present have to be told. */
static bool is_told(const struct limit_case *c, const struct vtd_unit *unit)
{
	return c->limit->event != MAP || (cap_caching_mode(unit->iommu.cap) &&
					  !is_first_level(c->limit));
}

static void expect(struct limit_case *c, struct expected *e)
{
	e->n = 0;
	e->tags = 0;
	e->atcs = 0;
	e->text[0] = '\0';
	if (is_told(c, e->unit))
		expect_tags(c, e);
	/* What is not present is in no ATC, nor is what leads to a table. */
	if (c->limit->event != MAP && c->limit->event != TABLES)
		expect_atcs(c, e);
	if ((e->tags + e->atcs) % BATCH)
		expect_text(e, "wait\n");
}

static void check_stream(struct limit_case *c, struct vtd_unit *unit)
{
	struct kunit *test = c->test;
	struct expected *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->limit = c->limit;
	e->unit = unit;
	expect(c, e);
	KUNIT_EXPECT_STREQ(test, e->text, vtd_stream(test, unit, VTD_WAITS));
	KUNIT_EXPECT_EQ(test, e->tags, vtd_count(unit, QI_IOTLB_TYPE) +
				       vtd_count(unit, QI_EIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, e->atcs, vtd_count(unit, QI_DIOTLB_TYPE) +
				       vtd_count(unit, QI_DEIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, DIV_ROUND_UP(e->tags + e->atcs, BATCH),
			vtd_count(unit, QI_IWD_TYPE));
	kunit_kfree(test, e);
}

/* Each submission was waited for, before there was another one. */
static void check_one_under_way(struct kunit *test, const struct vtd_unit *unit)
{
	const struct vtd_cmd *cmd;

	for (cmd = unit->log + 1; cmd < vtd_log_end(unit); cmd++)
		if (cmd[-1].type == QI_IWD_TYPE)
			KUNIT_EXPECT_GT(test, cmd->issued, cmd[-1].done);
}

/*
 * Units execute what somebody waits for. So none had executed its last batch when the
 * last unit got its own.
 */
static void check_all_issued(struct limit_case *c)
{
	struct vtd_machine *machine = c->machine;
	const struct vtd_unit *unit;
	unsigned int n;
	u64 issued = 0;

	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		if (unit->nr_logged)
			issued = max(issued, unit->log[unit->nr_logged - 1].issued);
	}
	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		if (unit->nr_logged)
			KUNIT_EXPECT_GT(c->test,
					unit->log[unit->nr_logged - 1].done,
					issued);
	}
}

/* Those who are attached and have a write buffer, and no others */
static void check_buffers(struct limit_case *c)
{
	bool is_expected[VTD_UNITS] = {};
	struct vtd_unit *unit;
	unsigned int n;
	u32 gcmd;

	for (n = 0; n < c->limit->fns; n++)
		if (c->attached[n])
			is_expected[n % c->limit->units] = true;
	for (n = 0; n < c->machine->nr_units; n++) {
		unit = &c->machine->unit[n];
		gcmd = readl(unit->iommu.reg + DMAR_GCMD_REG);
		KUNIT_EXPECT_EQ(c->test, is_expected[n] &&
				cap_rwbf(unit->iommu.cap) && !is_told(c, unit),
				!!(gcmd & DMA_GCMD_WBF));
	}
}

static void event_is_limited(struct limit_case *c)
{
	struct vtd_machine *machine = c->machine;
	unsigned int n;

	vtd_clear_log(machine);
	for (n = 0; n < machine->nr_units; n++)
		writel(0, machine->unit[n].iommu.reg + DMAR_GCMD_REG);
	limit_event(c);
	for (n = 0; n < machine->nr_units; n++) {
		check_stream(c, &machine->unit[n]);
		check_one_under_way(c->test, &machine->unit[n]);
	}
	check_all_issued(c);
	check_buffers(c);
	if (c->limit->event == MAP)
		vtd_unmap(c->domain, limit_iova(c->limit), 1);
}

/* All functions, then every other one, the others again, and none */
static void limit(struct kunit *test)
{
	struct limit_case c = { .test = test, .limit = test->param_value };
	unsigned int n;

	limit_setup(&c);
	event_is_limited(&c);
	for (n = 1; n < c.limit->fns; n += 2)
		limit_detach(&c, n);
	event_is_limited(&c);
	for (n = 1; n < c.limit->fns; n += 2)
		limit_attach(&c, n);
	for (n = 0; n < c.limit->fns; n += 2)
		limit_detach(&c, n);
	event_is_limited(&c);
	for (n = 1; n < c.limit->fns; n += 2)
		limit_detach(&c, n);
	event_is_limited(&c);
	if (c.mm)
		kiommu_mm_exit(c.mm);
}

/* A function in legacy mode is detached: each cache is told once, too. */
static void legacy_detach(struct kunit *test)
{
	const struct vtd_caps legacy = {
		.cap = VTD_CAP,
		.ecap = VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID),
	};
	struct vtd_unit *unit;
	struct vtd_fn *fn;

	unit = vtd_machine(test, 1, &legacy)->unit;
	fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, vtd_paging(test, fn, 0)));
	vtd_clear_log(test->priv);
	vtd_block(fn);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_CC_TYPE));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_IOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_DIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 2, vtd_count(unit, QI_IWD_TYPE));
}

static void put_page_of_test(void *page)
{
	put_page(page);
}

/* Of a page of a kernel table that was freed, the test's is the only reference. */
static unsigned int free_table(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, put_page_of_test, page));
	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	return page_count(page);
}

static void end_user(void *user)
{
	kernel_pgtable_unregister(user);
}

/* A unit that could not be told may walk the table still. */
static void tables_not_forgotten(struct kunit *test)
{
	struct kernel_pgtable_user *user;
	struct vtd_unit *unit;
	struct mm_struct *mm;
	struct vtd_fn *fn;

	unit = vtd_machine(test, 1, NULL)->unit;
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	mm = kiommu_mm(test);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, SVA_PASID, vtd_sva(test, fn, mm)));
	user = kernel_pgtable_register(mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, user);
	vtd_at_exit(test, end_user, user);

	vtd_clear_log(test->priv);
	KUNIT_EXPECT_EQ(test, 1, free_table(test));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(unit, QI_EIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 0, vtd_count(unit, QI_DEIOTLB_TYPE));
	vtd_refuse(unit, QI_EIOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, 2, free_table(test));
	vtd_refuse(unit, 0);
	KUNIT_EXPECT_EQ(test, 1, free_table(test));
	kiommu_mm_exit(mm);
}

static struct kunit_case limit_cases[] = {
	KUNIT_CASE_PARAM(limit, limit_gen_params),
	KUNIT_CASE(tables_not_forgotten),
	KUNIT_CASE(legacy_detach),
	{}
};

static struct kunit_suite limit_suite = {
	.name = "intel_iommu_limit",
	.exit = vtd_exit,
	.test_cases = limit_cases,
};

kunit_test_suite(limit_suite);
