// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what is switched while a domain is attached: dirty tracking, and snooping
 *
 * Both are bits of PASID table entries that are present. So each entry has to change, of
 * RIDs, PASIDs and nested domains, and each unit and function has to forget what
 * it knows; if one of them cannot, all is as before.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/iommu.h>

#include "kunit-left.h"

#define PASID		5
#define IOVA		0x10000
#define SSADE		BIT_ULL(9)	/* of the first word */
#define PGSNP		BIT_ULL(24)	/* of the second */
#define PGTT		GENMASK_ULL(8, 6)
#define FL_ONLY		BIT_ULL(6)

static int set_dirty(struct iommu_domain *domain, bool enable)
{
	return domain->dirty_ops->set_dirty_tracking(domain, enable);
}

static bool is_dirty(struct vtd_fn *fn)
{
	return vtd_entry(fn, IOMMU_NO_PASID)->val[0] & SSADE;
}

static bool snoops(struct vtd_fn *fn, u32 pasid)
{
	return vtd_entry(fn, pasid)->val[1] & PGSNP;
}

/* What a unit has cached of an entry is what is in memory. */
static bool is_current(struct vtd_fn *fn, u32 pasid)
{
	const struct vtd_pasid_cache *pc;

	vtd_for_each_cached_pasid(fn, pc)
		if (pc->pasid == pasid &&
		    memcmp(&pc->entry, vtd_entry(fn, pasid), sizeof(pc->entry)))
			return false;
	return true;
}

/* The test, and not the driver, has changed them. */
static void forget_entries(struct vtd_fn *fn)
{
	struct vtd_pasid_cache *pc;

	vtd_for_each_cached_pasid(fn, pc)
		pc->valid = false;
}

/* --- dirty tracking: functions 0 and 3 have the parent, the others a nested domain --- */

#define FNS	6	/* behind two units in turn */

struct dirty {
	struct kunit *test;
	struct vtd_machine *machine;
	struct iommu_domain *parent;
	struct iommu_domain *nested;
	struct vtd_left left;	/* attached, and nothing cached */
};

static bool is_nested(unsigned int n)
{
	return n != 0 && n != 3;
}

static void dirty_init(struct dirty *d, struct kunit *test)
{
	struct vtd_fn *fn;
	unsigned int n;

	d->test = test;
	d->machine = vtd_machine(test, 2, NULL);
	for (n = 0; n < FNS; n++) {
		fn = vtd_add_fn(test, n % 2, KIOMMU_ATS | KIOMMU_PASID);
		if (n)
			continue;
		d->parent = vtd_paging(test, fn, VTD_PARENT | VTD_DIRTY);
		d->nested = vtd_nested(test, fn, d->parent);
	}
	vtd_map(test, d->parent, IOVA, 1);
	for (n = 0; n < FNS; n++)
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(d->machine->fn[n], is_nested(n) ?
						    d->nested : d->parent));
	vtd_left(d->machine, &d->left);
}

/* All that can be cached is. */
static void dirty_warm_up(struct dirty *d)
{
	unsigned int n;
	u64 pa;

	for (n = 0; n < FNS; n++)
		KUNIT_EXPECT_EQ(d->test, is_nested(n) ? -EOPNOTSUPP : 0,
				vtd_access(d->machine->fn[n], IOMMU_NO_PASID, IOVA, &pa));
}

static void expect_dirty(struct dirty *d, bool enabled, unsigned int but)
{
	unsigned int n;

	KUNIT_EXPECT_EQ(d->test, enabled, to_dmar_domain(d->parent)->dirty_tracking);
	for (n = 0; n < FNS; n++) {
		KUNIT_EXPECT_TRUE_MSG(d->test, is_current(d->machine->fn[n], IOMMU_NO_PASID),
				      "function %u", n);
		if (n != but)
			KUNIT_EXPECT_EQ_MSG(d->test, enabled, is_dirty(d->machine->fn[n]),
					    "function %u", n);
	}
}

static unsigned int commands(struct vtd_machine *machine)
{
	return machine->unit[0].nr_logged + machine->unit[1].nr_logged;
}

/* All entries change, nothing else of them does, and nothing of it stays cached. */
static void tracking_is_switched(struct kunit *test)
{
	struct pasid_entry before[FNS];
	unsigned int n, round;
	struct dirty d;

	dirty_init(&d, test);
	expect_dirty(&d, false, FNS);
	for (n = 0; n < FNS; n++)
		before[n] = *vtd_entry(d.machine->fn[n], IOMMU_NO_PASID);
	for (round = 0; round < 4; round++) {
		dirty_warm_up(&d);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, !(round % 2)));
		vtd_expect_left(test, &d.left, "switched", round);
		expect_dirty(&d, !(round % 2), FNS);
		for (n = 0; n < FNS; n++) {
			before[n].val[0] ^= SSADE;
			KUNIT_EXPECT_MEMEQ(test, &before[n],
					   vtd_entry(d.machine->fn[n], IOMMU_NO_PASID),
					   sizeof(before[n]));
		}
		vtd_clear_log(d.machine);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, !(round % 2)));
		KUNIT_EXPECT_EQ(test, 0, commands(d.machine));
	}
}

static void tracking_tells_all_caches(struct kunit *test)
{
	struct vtd_unit *unit = vtd_machine(test, 1, NULL)->unit;
	struct vtd_fn *fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_DIRTY);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_clear_log(test->priv);
	KUNIT_EXPECT_EQ(test, 0, set_dirty(domain, true));
	KUNIT_EXPECT_STREQ(test, "pc did=2 pasid=0\nwait\n"
			   "iotlb did=2\nwait\n"
			   "devtlb sid=4000 qdep=16 all\nwait\n",
			   vtd_stream(test, unit, VTD_WAITS));
}

/* An entry that cannot have it, as it is of another type. Returns what is to be undone. */
static u64 spoil(struct vtd_fn *fn)
{
	struct pasid_entry *entry = vtd_entry(fn, IOMMU_NO_PASID);
	u64 pgtt = entry->val[0] & PGTT;

	entry->val[0] = (entry->val[0] & ~PGTT) | FL_ONLY;
	return pgtt;
}

static void unspoil(struct vtd_fn *fn, u64 pgtt)
{
	struct pasid_entry *entry = vtd_entry(fn, IOMMU_NO_PASID);

	entry->val[0] = (entry->val[0] & ~PGTT) | pgtt;
}

/* Whichever of the entries it is that cannot be switched, on or off */
static void tracking_fails_half_way(struct kunit *test)
{
	struct dirty d;
	unsigned int n;
	u64 pgtt;

	dirty_init(&d, test);
	for (n = 0; n < FNS; n++) {
		dirty_warm_up(&d);
		pgtt = spoil(d.machine->fn[n]);
		forget_entries(d.machine->fn[n]);
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, set_dirty(d.parent, true));
		expect_dirty(&d, false, FNS);
		unspoil(d.machine->fn[n], pgtt);

		dirty_warm_up(&d);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, true));
		expect_dirty(&d, true, FNS);

		dirty_warm_up(&d);
		pgtt = spoil(d.machine->fn[n]);
		forget_entries(d.machine->fn[n]);
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, set_dirty(d.parent, false));
		expect_dirty(&d, true, FNS);
		unspoil(d.machine->fn[n], pgtt);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, false));
		expect_dirty(&d, false, FNS);
	}
}

/* One of the functions does not answer at first. */
static void tracking_is_unanswered(struct kunit *test)
{
	struct dirty d;
	unsigned int n;

	dirty_init(&d, test);
	for (n = 0; n < FNS; n++) {
		dirty_warm_up(&d);
		kiommu_drop(&d.machine->fn[n]->pci, 1);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, !(n % 2)));
		KUNIT_EXPECT_EQ(test, 0, d.machine->fn[n]->pci.drop);
		expect_dirty(&d, !(n % 2), FNS);
		vtd_expect_left(test, &d.left, "unanswered", n);
		KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&d.machine->fn[n]->info.fn));
	}
}

/* Who is attached while it is on has it from the beginning, and afterwards nobody has. */
static void tracking_comes_with_attach(struct kunit *test)
{
	unsigned int n, round;
	struct dirty d;

	dirty_init(&d, test);
	for (round = 0; round < 3; round++) {
		for (n = 0; n < FNS; n++)
			vtd_block(d.machine->fn[n]);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, !(round % 2)));
		for (n = 0; n < FNS; n++) {
			KUNIT_EXPECT_EQ(test, 0, vtd_attach(d.machine->fn[n], is_nested(n) ?
							    d.nested : d.parent));
			KUNIT_EXPECT_EQ(test, !(round % 2), is_dirty(d.machine->fn[n]));
		}
		expect_dirty(&d, !(round % 2), FNS);
	}
}

/* Those that left are not asked, and their entries stay as they are. */
static void tracking_without_detached(struct kunit *test)
{
	struct dirty d;
	unsigned int n;

	dirty_init(&d, test);
	for (n = 0; n < FNS; n++) {
		vtd_block(d.machine->fn[n]);
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, true));
		expect_dirty(&d, true, n);
		KUNIT_EXPECT_FALSE(test, is_dirty(d.machine->fn[n]));
		KUNIT_EXPECT_EQ(test, 0, set_dirty(d.parent, false));
		expect_dirty(&d, false, n);
		KUNIT_EXPECT_EQ(test, 0, vtd_attach(d.machine->fn[n], is_nested(n) ?
						    d.nested : d.parent));
	}
}

/* Of a domain that tracks, no PASID can be attached, as nobody would switch it. */
static void tracking_is_not_for_pasids(struct kunit *test)
{
	struct dirty d;

	dirty_init(&d, test);
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_set_pasid(d.machine->fn[0], PASID, d.parent));
	vtd_expect_left(test, &d.left, "refused", 0);
}

/* Requests come from the controller, whose entry is another domain's. */
static void tracking_of_drive(struct kunit *test)
{
#if IS_ENABLED(CONFIG_VMD)
	struct vtd_machine *machine = vtd_machine(test, 2, NULL);
	struct vtd_fn *real = vtd_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain;
	struct vtd_fn *drive;

	machine->unit[1].sysdata.vmd_dev = &real->pci.pdev;
	drive = vtd_add_fn(test, 1, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(real, vtd_paging(test, real, 0)));
	domain = vtd_paging(test, drive, VTD_DIRTY);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(drive, domain));
	KUNIT_EXPECT_EQ(test, 0, set_dirty(domain, true));
	KUNIT_EXPECT_FALSE(test, is_dirty(real));
	KUNIT_EXPECT_EQ(test, 0, set_dirty(domain, false));
#else
	kunit_skip(test, "without VMD there are no such functions");
#endif
}

/* --- which pages are dirty --- */

/* The entry of a page of a four-level table */
static u64 *find_pte(u64 root, u64 iova, unsigned int to_level)
{
	unsigned int level;
	u64 *pte = NULL;

	for (level = 4; level >= to_level; level--) {
		pte = (u64 *)phys_to_virt(root) +
			(iova >> VTD_PAGE_SHIFT >> (level - 1) * LEVEL_STRIDE & LEVEL_MASK);
		root = *pte & GENMASK_ULL(51, VTD_PAGE_SHIFT);
	}
	return pte;
}

static void make_dirty(struct vtd_fn *fn, u64 iova, unsigned int level)
{
	*find_pte(vtd_root(fn, IOMMU_NO_PASID), iova, level) |= DMA_SL_PTE_DIRTY;
}

static int read_dirty(struct iommu_domain *domain, u64 iova, size_t size,
		      unsigned long flags, struct iommu_iotlb_gather *gather)
{
	struct iommu_dirty_bitmap dirty;

	iommu_iotlb_gather_init(gather);
	iommu_dirty_bitmap_init(&dirty, NULL, gather);
	return domain->dirty_ops->read_and_clear_dirty(domain, iova, size, flags, &dirty);
}

/* What is dirty, as far as somebody asks for it: from the first such page to the last */
static void expect_read(struct kunit *test, struct iommu_domain *domain, u64 iova,
			size_t size, unsigned long flags, u64 start, u64 end)
{
	struct iommu_iotlb_gather gather;

	KUNIT_EXPECT_EQ(test, 0, read_dirty(domain, iova, size, flags, &gather));
	KUNIT_EXPECT_EQ(test, start, gather.start);
	KUNIT_EXPECT_EQ(test, end, gather.end);
}

static void expect_clean(struct kunit *test, struct iommu_domain *domain, u64 iova,
			 size_t size)
{
	expect_read(test, domain, iova, size, 0, ULONG_MAX, 0);
}

static void pages_are_read(struct kunit *test)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn;
	unsigned int n;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, 0);
	domain = vtd_paging(test, fn, VTD_DIRTY);
	vtd_map(test, domain, IOVA, 8);
	vtd_map_size(test, domain, SZ_2M, SZ_2M);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_ASSERT_EQ(test, 0, set_dirty(domain, true));
	expect_clean(test, domain, IOVA, 8 * SZ_4K);
	for (n = 0; n < 8; n++) {
		make_dirty(fn, IOVA + n * SZ_4K, 1);
		/* Neither what comes before it, nor what comes after it */
		expect_read(test, domain, IOVA, n ? n * SZ_4K : 1, IOMMU_DIRTY_NO_CLEAR,
			    n ? ULONG_MAX : IOVA, n ? 0 : IOVA + SZ_4K - 1);
		expect_clean(test, domain, IOVA + (n + 1) * SZ_4K, SZ_4K);
		/* As often as one likes, and then once */
		expect_read(test, domain, IOVA + n * SZ_4K, SZ_4K, IOMMU_DIRTY_NO_CLEAR,
			    IOVA + n * SZ_4K, IOVA + (n + 1) * SZ_4K - 1);
		expect_read(test, domain, IOVA, SZ_4M, 0,
			    IOVA + n * SZ_4K, IOVA + (n + 1) * SZ_4K - 1);
		expect_clean(test, domain, IOVA, SZ_4M);
	}
	make_dirty(fn, SZ_2M, 2);
	expect_clean(test, domain, 0, SZ_2M);
	expect_read(test, domain, 0, SZ_2M + SZ_4K, 0, SZ_2M, SZ_4M - 1);
	make_dirty(fn, IOVA + 2 * SZ_4K, 1);
	make_dirty(fn, IOVA + 5 * SZ_4K, 1);
	expect_read(test, domain, 0, SZ_1G, 0, IOVA + 2 * SZ_4K, IOVA + 6 * SZ_4K - 1);
}

/* Nobody reads a bitmap while it is off; to forget what is left of before is allowed. */
static void pages_are_read_when_off(struct kunit *test)
{
	struct iommu_dirty_bitmap dirty;
	struct iommu_iotlb_gather gather;
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, 0);
	domain = vtd_paging(test, fn, VTD_DIRTY);
	vtd_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	make_dirty(fn, IOVA, 1);
	iommu_iotlb_gather_init(&gather);
	iommu_dirty_bitmap_init(&dirty, (void *)&gather, &gather);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			domain->dirty_ops->read_and_clear_dirty(domain, IOVA, SZ_4K, 0, &dirty));
	expect_read(test, domain, IOVA, SZ_4K, 0, IOVA, IOVA + SZ_4K - 1);
	expect_clean(test, domain, IOVA, SZ_4K);
}

/* --- snooping --- */

static bool enforce(struct iommu_domain *domain)
{
	return domain->ops->enforce_cache_coherency(domain);
}

/* Behind unit 1 nothing can be snooped. */
static const struct vtd_caps no_sc[] = { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SC } };

static struct vtd_machine *snoop_machine(struct kunit *test, unsigned int fns)
{
	struct vtd_machine *machine = vtd_machine(test, 2, no_sc);

	while (fns--)
		vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	vtd_add_fn(test, 1, KIOMMU_ATS | KIOMMU_PASID);
	return machine;
}

static void attach_both(struct kunit *test, struct vtd_fn *fn,
			struct iommu_domain *domain)
{
	u64 pa;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, IOMMU_NO_PASID, IOVA, &pa));
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, PASID, IOVA, &pa));
}

/* A first-level domain: in each entry, of those who come later as well */
static void first_level_snoops(struct kunit *test)
{
	struct vtd_machine *machine = snoop_machine(test, 3);
	struct iommu_domain *domain;
	struct vtd_left left;
	unsigned int n;

	domain = vtd_paging(test, machine->fn[0], VTD_FIRST_LEVEL);
	vtd_map(test, domain, IOVA, 1);
	attach_both(test, machine->fn[0], domain);
	attach_both(test, machine->fn[1], domain);
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->force_snooping);
	for (n = 0; n < 2; n++) {
		KUNIT_EXPECT_FALSE(test, snoops(machine->fn[n], IOMMU_NO_PASID));
		KUNIT_EXPECT_FALSE(test, snoops(machine->fn[n], PASID));
	}
	vtd_left(machine, &left);
	left.pasids = 0;
	left.iotlb = 0;
	left.atc = 0;
	KUNIT_EXPECT_TRUE(test, enforce(domain));
	vtd_expect_left(test, &left, "enforced", 0);
	attach_both(test, machine->fn[2], domain);
	for (n = 0; n < 3; n++) {
		KUNIT_EXPECT_TRUE(test, snoops(machine->fn[n], IOMMU_NO_PASID));
		KUNIT_EXPECT_TRUE(test, snoops(machine->fn[n], PASID));
	}
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->set_pte_snp);

	vtd_clear_log(machine);
	KUNIT_EXPECT_TRUE(test, enforce(domain));
	KUNIT_EXPECT_EQ(test, 0, commands(machine));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(machine->fn[3], domain));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_set_pasid(machine->fn[3], PASID, domain));
}

static void snooping_tells_all_caches(struct kunit *test)
{
	struct vtd_machine *machine = snoop_machine(test, 1);
	struct iommu_domain *domain = vtd_paging(test, machine->fn[0], VTD_FIRST_LEVEL);

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(machine->fn[0], PASID, domain));
	vtd_clear_log(machine);
	KUNIT_EXPECT_TRUE(test, enforce(domain));
	KUNIT_EXPECT_STREQ(test, "pc did=2 pasid=5\nwait\n"
			   "piotlb did=2 pasid=5\nwait\n"
			   "devtlb sid=4000 pasid=5 qdep=16 all\nwait\n",
			   vtd_stream(test, machine->unit, VTD_WAITS));
}

/* One of them cannot, whether it came first or last: nothing changes for the others. */
static void one_cannot_snoop(struct kunit *test, unsigned int flags)
{
	struct vtd_machine *machine = snoop_machine(test, 2);
	struct vtd_fn *odd = machine->fn[2];
	struct iommu_domain *domain;
	unsigned int round;

	for (round = 0; round < 2; round++) {
		domain = vtd_paging(test, odd, flags);
		if (round)
			KUNIT_ASSERT_EQ(test, 0, vtd_attach(odd, domain));
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[0], domain));
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(machine->fn[1], PASID, domain));
		if (!round)
			KUNIT_ASSERT_EQ(test, 0, vtd_attach(odd, domain));
		vtd_clear_log(machine);
		KUNIT_EXPECT_FALSE(test, enforce(domain));
		KUNIT_EXPECT_EQ(test, 0, commands(machine));
		KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->set_pte_snp);
		KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->force_snooping);
		KUNIT_EXPECT_FALSE(test, snoops(machine->fn[0], IOMMU_NO_PASID));
		KUNIT_EXPECT_FALSE(test, snoops(machine->fn[1], PASID));
		KUNIT_EXPECT_FALSE(test, snoops(odd, IOMMU_NO_PASID));
		vtd_block(odd);
		KUNIT_EXPECT_TRUE(test, enforce(domain));
		KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(odd, domain));
		vtd_remove_pasid(machine->fn[1], PASID);
	}
}

static void one_cannot_snoop_first_level(struct kunit *test)
{
	one_cannot_snoop(test, VTD_FIRST_LEVEL);
}

static void one_cannot_snoop_second_level(struct kunit *test)
{
	one_cannot_snoop(test, 0);
}

/* A second-level domain: in what is mapped. What is mapped already would not have it. */
static void second_level_snoops(struct kunit *test)
{
	struct vtd_machine *machine = snoop_machine(test, 1);
	struct iommu_domain *domain = vtd_paging(test, machine->fn[0], 0);
	struct vtd_fn *fn = machine->fn[0];

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_clear_log(machine);
	KUNIT_EXPECT_TRUE(test, enforce(domain));
	KUNIT_EXPECT_EQ(test, 0, commands(machine));
	KUNIT_EXPECT_FALSE(test, snoops(fn, IOMMU_NO_PASID));
	vtd_map(test, domain, IOVA, 1);
	vtd_map_size(test, domain, SZ_2M, SZ_2M);
	KUNIT_EXPECT_TRUE(test, *find_pte(vtd_root(fn, 0), IOVA, 1) & DMA_PTE_SNP);
	KUNIT_EXPECT_TRUE(test, *find_pte(vtd_root(fn, 0), SZ_2M, 2) & DMA_PTE_SNP);

	domain = vtd_paging(test, fn, 0);
	vtd_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_FALSE(test, enforce(domain));
	vtd_map(test, domain, IOVA + SZ_4K, 1);
	KUNIT_EXPECT_FALSE(test, *find_pte(vtd_root(fn, 0), IOVA, 1) & DMA_PTE_SNP);
	KUNIT_EXPECT_FALSE(test, *find_pte(vtd_root(fn, 0), IOVA + SZ_4K, 1) & DMA_PTE_SNP);
	vtd_unmap(domain, IOVA, 2);
	KUNIT_EXPECT_FALSE(test, enforce(domain));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(machine->fn[1], domain));
}

/* The parent's translations are snooped, and so are the nested domain's. */
static void nested_snoops(struct kunit *test)
{
	struct vtd_machine *machine = snoop_machine(test, 2);
	struct iommu_domain *parent = vtd_paging(test, machine->fn[0], VTD_PARENT);
	struct iommu_domain *nested = vtd_nested(test, machine->fn[0], parent);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[0], nested));
	KUNIT_EXPECT_FALSE(test, snoops(machine->fn[0], IOMMU_NO_PASID));
	/* Nor would it be later: also if its unit could do it */
	KUNIT_EXPECT_FALSE(test, enforce(parent));
	vtd_block(machine->fn[0]);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[2], nested));
	KUNIT_EXPECT_FALSE(test, enforce(parent));
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[0], nested));
	KUNIT_EXPECT_FALSE(test, enforce(parent));
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(parent)->set_pte_snp);
	vtd_block(machine->fn[2]);
	vtd_block(machine->fn[0]);
	KUNIT_EXPECT_TRUE(test, enforce(parent));
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[1], nested));
	KUNIT_EXPECT_TRUE(test, snoops(machine->fn[1], IOMMU_NO_PASID));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(machine->fn[2], nested));
}

static struct kunit_case dirty_cases[] = {
	KUNIT_CASE(tracking_is_switched),
	KUNIT_CASE(tracking_tells_all_caches),
	KUNIT_CASE(tracking_fails_half_way),
	KUNIT_CASE(tracking_is_unanswered),
	KUNIT_CASE(tracking_comes_with_attach),
	KUNIT_CASE(tracking_without_detached),
	KUNIT_CASE(tracking_is_not_for_pasids),
	KUNIT_CASE(tracking_of_drive),
	KUNIT_CASE(pages_are_read),
	KUNIT_CASE(pages_are_read_when_off),
	KUNIT_CASE(first_level_snoops),
	KUNIT_CASE(snooping_tells_all_caches),
	KUNIT_CASE(one_cannot_snoop_first_level),
	KUNIT_CASE(one_cannot_snoop_second_level),
	KUNIT_CASE(second_level_snoops),
	KUNIT_CASE(nested_snoops),
	{}
};

static struct kunit_suite dirty_suite = {
	.name = "intel_iommu_dirty",
	.exit = vtd_exit,
	.test_cases = dirty_cases,
};

kunit_test_suite(dirty_suite);
