// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what a unit can do: which domains fit, and which ranges it can be told
 *
 * One condition at a time, at its limit and just beyond it.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/kernel_pgtable.h>
#include <linux/mmu_notifier.h>
#include <linux/prandom.h>

#include "kunit-left.h"

#define PASID	5
#define IOVA	0x10000

/* What units can do, beside what is usual */
#define CAP_LEVELS	GENMASK_ULL(12, 8)
#define CAP_WIDTH	GENMASK_ULL(21, 16)
#define CAP_LARGE	GENMASK_ULL(37, 34)
#define LEVELS(bits)	((VTD_CAP & ~CAP_LEVELS) | (u64)(bits) << 8)
#define THREE		BIT(1)
#define FOUR		BIT(2)
#define FIVE		BIT(3)
#define WIDTH(width)	((VTD_CAP & ~CAP_WIDTH) | ((width) - 1ULL) << 16)
#define LARGE(bits)	((VTD_CAP & ~CAP_LARGE) | (u64)(bits) << 34)
#define MAMV(max)	((VTD_CAP & ~VTD_CAP_MAMV) | (u64)(max) << 48)
#define SECOND_ONLY	(VTD_ECAP & ~VTD_ECAP_FLTS)

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid, u64 iova,
			  int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(test, ret, vtd_access(fn, pasid, iova, &pa));
	if (!ret)
		KUNIT_EXPECT_EQ(test, VTD_PA(iova) & GENMASK_ULL(51, 0), pa);
}

/* --- a domain that was made for a function behind unit 0, and a function behind unit 1 --- */

struct fits_case {
	const char *name;
	struct vtd_caps caps[2];
	unsigned int flags;
	bool snooped;
	bool refused;
};

static const struct fits_case fits_cases[] = {
	{ "same", {} },
	{ "same, first level", {}, VTD_FIRST_LEVEL },

	{ "narrower by one", { {}, { .cap = WIDTH(47) } }, .refused = true },
	{ "as narrow", { { .cap = WIDTH(47) }, { .cap = WIDTH(47) } } },
	{ "wider by one", { { .cap = WIDTH(47) }, {} } },
	{ "narrower by one, first level", { {}, { .cap = WIDTH(47) } }, VTD_FIRST_LEVEL,
		.refused = true },

	{ "3 levels for 4", { { .ecap = SECOND_ONLY },
		{ LEVELS(THREE), SECOND_ONLY } }, .refused = true },
	{ "4 levels for 3", { { LEVELS(THREE), SECOND_ONLY },
		{ .ecap = SECOND_ONLY } }, .refused = true },
	{ "3 or 4 levels for 3", { { LEVELS(THREE), SECOND_ONLY },
		{ LEVELS(THREE | FOUR), SECOND_ONLY } } },
	{ "3 or 4 levels for 4", { { .ecap = SECOND_ONLY },
		{ LEVELS(THREE | FOUR), SECOND_ONLY } } },
	{ "5 levels for 4", { { .ecap = SECOND_ONLY },
		{ (VTD_CAP & ~CAP_LEVELS) | (VTD_CAP_5LEVEL & ~BIT_ULL(10)), SECOND_ONLY } },
		.refused = true },
	{ "4 or 5 levels for 4", { { .ecap = SECOND_ONLY },
		{ VTD_CAP | VTD_CAP_5LEVEL, SECOND_ONLY } } },

	{ "not coherent", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC } }, .refused = true },
	{ "coherent, for one that need not be", { { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC }, {} } },
	{ "neither is coherent", { { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC },
		{ .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC } } },
	{ "not coherent, first level", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC } },
		VTD_FIRST_LEVEL, .refused = true },

	{ "caching mode", { {}, { .cap = VTD_CAP | VTD_CAP_CM } }, .refused = true },
	{ "caching mode of the other", { { .cap = VTD_CAP | VTD_CAP_CM }, {} } },
	{ "caching mode of both", { { .cap = VTD_CAP | VTD_CAP_CM },
		{ .cap = VTD_CAP | VTD_CAP_CM } } },
	{ "caching mode, first level", { {}, { .cap = VTD_CAP | VTD_CAP_CM } },
		VTD_FIRST_LEVEL },
	{ "write buffer", { {}, { .cap = VTD_CAP | VTD_CAP_RWBF } }, .refused = true },
	{ "write buffer of the other", { { .cap = VTD_CAP | VTD_CAP_RWBF }, {} } },
	{ "write buffer, first level", { {}, { .cap = VTD_CAP | VTD_CAP_RWBF } },
		VTD_FIRST_LEVEL, .refused = true },
	{ "write buffer, told because of caching mode", { { .cap = VTD_CAP | VTD_CAP_CM },
		{ .cap = VTD_CAP | VTD_CAP_RWBF } } },

	{ "2M only", { {}, { .cap = LARGE(1) } }, .refused = true },
	{ "2M only, as the other", { { .cap = LARGE(1) }, { .cap = LARGE(1) } } },
	{ "1G, too", { { .cap = LARGE(1) }, {} } },
	{ "no 2M", { { .cap = LARGE(1) }, { .cap = LARGE(0) } }, .refused = true },
	{ "no 2M, as the other", { { .cap = LARGE(0) }, { .cap = LARGE(0) } } },
	{ "2M, for none", { { .cap = LARGE(0) }, { .cap = LARGE(1) } } },
	{ "no 1G, first level", { {}, { .cap = VTD_CAP & ~BIT_ULL(56) } }, VTD_FIRST_LEVEL,
		.refused = true },
	{ "no 1G, first level of 2M", { { .cap = LARGE(1) },
		{ .cap = LARGE(1) & ~BIT_ULL(56) } }, VTD_FIRST_LEVEL },

	{ "cannot snoop", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SC } } },
	{ "cannot snoop, and has to", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SC } },
		.snooped = true, .refused = true },
	{ "cannot snoop, and has to, first level", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SC } },
		VTD_FIRST_LEVEL, .snooped = true, .refused = true },
	{ "snoops", {}, .snooped = true },

	{ "cannot track", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SLADS } } },
	{ "cannot track, and has to", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SLADS } },
		VTD_DIRTY, .refused = true },
	{ "tracks", {}, VTD_DIRTY },
};

KUNIT_ARRAY_PARAM_DESC(fits, fits_cases, name);

/* What must not change because of a function that comes later */
struct shape {
	bool coherency, sync_map, snooping;
	int superpage, gaw, agaw;
	void *pgd;
	u64 end;
	unsigned long pgsizes;
};

static struct shape shape_of(struct iommu_domain *domain)
{
	struct dmar_domain *d = to_dmar_domain(domain);
	struct shape shape;

	memset(&shape, 0, sizeof(shape));
	shape.coherency = d->iommu_coherency;
	shape.sync_map = d->iotlb_sync_map;
	shape.snooping = d->force_snooping;
	shape.superpage = d->iommu_superpage;
	shape.gaw = d->gaw;
	shape.agaw = d->agaw;
	shape.pgd = d->pgd;
	shape.end = domain->geometry.aperture_end;
	shape.pgsizes = domain->pgsize_bitmap;
	return shape;
}

static void expect_attach(struct kunit *test, struct vtd_fn *fn, u32 pasid,
			  struct iommu_domain *domain, struct iommu_domain *table)
{
	const struct fits_case *c = test->param_value;
	struct shape before = shape_of(table), after;
	struct vtd_left left;
	int ret;

	vtd_left(test->priv, &left);
	ret = pasid ? vtd_set_pasid(fn, pasid, domain) : vtd_attach(fn, domain);
	KUNIT_EXPECT_EQ(test, c->refused ? -EINVAL : 0, ret);
	after = shape_of(table);
	KUNIT_EXPECT_MEMEQ(test, &before, &after, sizeof(before));
	if (!ret) {
		if (domain == table)
			expect_access(test, fn, pasid, IOVA, 0);
		if (pasid)
			vtd_remove_pasid(fn, pasid);
		else
			vtd_block(fn);
	}
	vtd_expect_left(test, &left, "refused, or detached", 0);
}

static void expect_attaches(struct kunit *test, struct vtd_fn *odd,
			    struct iommu_domain *domain)
{
	const struct fits_case *c = test->param_value;

	expect_attach(test, odd, IOMMU_NO_PASID, domain, domain);
	if (!(c->flags & VTD_DIRTY))
		expect_attach(test, odd, PASID, domain, domain);
}

/* What does not fit the parent does not fit what is nested on it. */
static void parent_fits(struct kunit *test, struct vtd_fn *fn, struct vtd_fn *odd)
{
	const struct fits_case *c = test->param_value;
	struct iommu_domain *parent, *nested;

	if (c->flags & VTD_FIRST_LEVEL || !nested_supported(&fn->unit->iommu))
		return;
	parent = vtd_paging(test, fn, c->flags | VTD_PARENT);
	nested = vtd_nested(test, fn, parent);
	if (c->snooped)
		KUNIT_EXPECT_TRUE(test, parent->ops->enforce_cache_coherency(parent));
	vtd_map(test, parent, IOVA, 1);
	expect_attach(test, odd, IOMMU_NO_PASID, nested, parent);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	expect_attach(test, odd, IOMMU_NO_PASID, nested, parent);
}

/* Attached to nothing, then to a function behind unit 0 */
static void domain_fits(struct kunit *test)
{
	const struct fits_case *c = test->param_value;
	struct iommu_domain *domain;
	struct vtd_fn *fn, *odd;

	vtd_machine(test, 2, c->caps);
	fn = vtd_add_fn(test, 0, KIOMMU_PASID);
	odd = vtd_add_fn(test, 1, KIOMMU_PASID);
	domain = vtd_paging(test, fn, c->flags);
	if (c->snooped)
		KUNIT_EXPECT_TRUE(test, domain->ops->enforce_cache_coherency(domain));
	vtd_map(test, domain, IOVA, 1);
	expect_attaches(test, odd, domain);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_attaches(test, odd, domain);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	parent_fits(test, fn, odd);
}

/* --- a domain that is made for no function, and its first one --- */

static struct iommu_domain *domain_for_any(struct kunit *test)
{
	struct vtd_machine *machine = test->priv;
	struct iommu_domain *domain;

	KUNIT_ASSERT_LT(test, machine->nr_domains, VTD_DOMAINS);
	domain = intel_iommu_ops.domain_alloc(IOMMU_DOMAIN_UNMANAGED);
	KUNIT_ASSERT_NOT_NULL(test, domain);
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = &intel_iommu_ops;
	domain->ops = intel_iommu_ops.default_domain_ops;
	domain->pgsize_bitmap = intel_iommu_ops.pgsize_bitmap;
	to_dmar_domain(domain)->use_first_level = false;
	machine->domain[machine->nr_domains++] = domain;
	return domain;
}

static void expect_shape(struct kunit *test, struct iommu_domain *domain, int gaw, int agaw,
			 int superpage)
{
	struct shape shape = shape_of(domain);

	KUNIT_EXPECT_EQ(test, gaw, shape.gaw);
	KUNIT_EXPECT_EQ(test, agaw, shape.agaw);
	KUNIT_EXPECT_EQ(test, superpage, shape.superpage);
	KUNIT_EXPECT_EQ(test, BIT_ULL(gaw) - 1, shape.end);
	KUNIT_EXPECT_EQ(test, superpage >= 1, !!(shape.pgsizes & SZ_2M));
	KUNIT_EXPECT_EQ(test, superpage >= 2, !!(shape.pgsizes & SZ_1G));
	KUNIT_EXPECT_TRUE(test, shape.pgsizes & SZ_4K);
}

struct shape_case {
	const char *name;
	struct vtd_caps caps;
	int gaw, agaw, superpage;
	bool coherent, sync_map;
};

static const struct shape_case shape_cases[] = {
	{ "usual", {}, 48, 2, 2, true },
	{ "40 bits", { .cap = WIDTH(40) }, 40, 2, 2, true },
	{ "3 levels", { LEVELS(THREE), SECOND_ONLY }, 39, 1, 2, true },
	{ "3 levels, 36 bits", { (LEVELS(THREE) & ~CAP_WIDTH) | 35ULL << 16,
		SECOND_ONLY }, 36, 1, 2, true },
	{ "5 levels", { VTD_CAP | VTD_CAP_5LEVEL, SECOND_ONLY }, 57, 3, 2, true },
	{ "2M", { .cap = LARGE(1) }, 48, 2, 1, true },
	{ "small pages", { .cap = LARGE(0) }, 48, 2, 0, true },
	{ "not coherent", { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC }, 48, 2, 2 },
	{ "caching mode", { .cap = VTD_CAP | VTD_CAP_CM }, 48, 2, 2, true, true },
	{ "write buffer", { .cap = VTD_CAP | VTD_CAP_RWBF }, 48, 2, 2, true, true },
};

KUNIT_ARRAY_PARAM_DESC(shape, shape_cases, name);

/* One page is mapped that the unit cannot translate. */
static void expect_too_wide(struct kunit *test, struct vtd_fn *fn, int gaw)
{
	struct iommu_domain *domain = domain_for_any(test);
	struct shape before, after;

	vtd_map(test, domain, BIT_ULL(gaw), 1);
	before = shape_of(domain);
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(fn, domain));
	after = shape_of(domain);
	KUNIT_EXPECT_MEMEQ(test, &before, &after, sizeof(before));
	vtd_unmap(domain, BIT_ULL(gaw), 1);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
}

/* What was mapped before stays, and the last page that fits as well. */
static void domain_is_shaped(struct kunit *test)
{
	const struct shape_case *c = test->param_value;
	u64 last = BIT_ULL(c->gaw) - SZ_4K;
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, &c->caps);
	fn = vtd_add_fn(test, 0, 0);
	domain = domain_for_any(test);
	vtd_map(test, domain, IOVA, 1);
	vtd_map(test, domain, last, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	expect_shape(test, domain, c->gaw, c->agaw, c->superpage);
	KUNIT_EXPECT_EQ(test, c->coherent, shape_of(domain).coherency);
	KUNIT_EXPECT_EQ(test, c->sync_map, shape_of(domain).sync_map);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, fn, IOMMU_NO_PASID, last, 0);
	vtd_unmap(domain, last, 1);
	expect_access(test, fn, IOMMU_NO_PASID, last, -EFAULT);
	vtd_unmap(domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	KUNIT_EXPECT_EQ(test, -EFAULT, domain->ops->map_pages(domain, last + SZ_4K, SZ_1G,
							      SZ_4K, 1, IOMMU_READ,
							      GFP_KERNEL, NULL));
	if (c->gaw < 57)
		expect_too_wide(test, fn, c->gaw);
}

/* Attached behind unit 0, then to nothing, and then behind unit 1 */
static int shaped_twice(struct kunit *test, const struct vtd_caps *caps, bool map)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn[2];
	int ret;

	vtd_machine(test, 2, caps);
	fn[0] = vtd_add_fn(test, 0, 0);
	fn[1] = vtd_add_fn(test, 1, 0);
	domain = domain_for_any(test);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn[0], domain));
	if (map)
		vtd_map(test, domain, IOVA, 1);
	vtd_block(fn[0]);
	ret = vtd_attach(fn[1], domain);
	if (!ret && map)
		expect_access(test, fn[1], IOMMU_NO_PASID, IOVA, 0);
	if (ret)
		KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn[0], domain));
	return ret;
}

struct twice_case {
	const char *name;
	struct vtd_caps caps[2];
	bool map;
	bool refused;
};

static const struct twice_case twice_cases[] = {
	{ "same", {}, true },
	{ "no longer coherent", { {}, { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC } }, false, true },
	{ "coherent at last", { { .ecap = VTD_ECAP & ~VTD_ECAP_SMPWC }, {} }, true },
	{ "4 levels after 3", { { LEVELS(THREE), SECOND_ONLY }, { .ecap = SECOND_ONLY } },
		false, true },
	{ "3 or 4 levels after 3", { { LEVELS(THREE), SECOND_ONLY },
		{ LEVELS(THREE | FOUR), SECOND_ONLY } }, true },
	{ "3 levels after 4", { { .ecap = SECOND_ONLY }, { LEVELS(THREE), SECOND_ONLY } }, true },
	{ "2M after 1G, mapped", { {}, { .cap = LARGE(1) } }, true, true },
	{ "2M after 1G, not mapped", { {}, { .cap = LARGE(1) } } },
	{ "1G after 2M, mapped", { { .cap = LARGE(1) }, {} }, true },
	{ "1G after 1G, mapped", { {}, { .cap = WIDTH(40) } }, true },
	{ "caching mode after none", { {}, { .cap = VTD_CAP | VTD_CAP_CM } }, true },
};

KUNIT_ARRAY_PARAM_DESC(twice, twice_cases, name);

static void domain_is_shaped_twice(struct kunit *test)
{
	const struct twice_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->refused ? -EINVAL : 0, shaped_twice(test, c->caps, c->map));
}

/* --- addresses at the end --- */

static int map_at(struct iommu_domain *domain, u64 iova, size_t pgsize, unsigned int nr)
{
	return domain->ops->map_pages(domain, iova, VTD_PA(0), pgsize, nr,
				      IOMMU_READ | IOMMU_WRITE, GFP_KERNEL, NULL);
}

static void last_page_is_mapped(struct kunit *test)
{
	const u64 last = BIT_ULL(48) - SZ_4K;
	struct iommu_iotlb_gather gather;
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	domain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_EQ(test, BIT_ULL(48) - 1, domain->geometry.aperture_end);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_NE(test, 0, map_at(domain, last + SZ_4K, SZ_4K, 1));
	KUNIT_EXPECT_NE(test, 0, map_at(domain, last, SZ_4K, 2));
	KUNIT_EXPECT_EQ(test, 0, map_at(domain, last, SZ_4K, 1));
	KUNIT_EXPECT_EQ(test, VTD_PA(0) + 5, domain->ops->iova_to_phys(domain, last + 5));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, last - 1));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, last + SZ_4K));
	vtd_clear_log(test->priv);
	vtd_unmap(domain, last, 1);
	KUNIT_EXPECT_STREQ(test, "iotlb did=2 addr=fffffffff000 am=0 ih\n"
			   "devtlb sid=4000 qdep=16 addr=fffffffff000 am=0\n",
			   vtd_stream(test, fn->unit, 0));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, last));
	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test, 0, domain->ops->unmap_pages(domain, last + SZ_4K, SZ_4K, 1,
							  &gather));
	KUNIT_EXPECT_EQ(test, 0, gather.end);
}

/* Sizes and alignments that there are not; what there is, goes into entries of its size. */
static void pages_have_sizes(struct kunit *test)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, 0);
	domain = vtd_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_at(domain, 0, SZ_8K, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_at(domain, SZ_4K, SZ_2M, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_at(domain, SZ_2M, SZ_1G, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_at(domain, 1, SZ_4K, 1));
	KUNIT_EXPECT_EQ(test, 0, map_at(domain, SZ_1G, SZ_1G, 1));
	KUNIT_EXPECT_EQ(test, VTD_PA(SZ_2M + 7),
			domain->ops->iova_to_phys(domain, SZ_1G + SZ_2M + 7));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, 2UL * SZ_1G));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, SZ_1G - 1));
	/* Whoever unmaps a part unmaps all of it, and all of it is invalidated. */
	vtd_clear_log(test->priv);
	vtd_unmap(domain, SZ_1G, 1);
	KUNIT_EXPECT_STREQ(test, "iotlb did=2 addr=40000000 am=18 ih\n",
			   vtd_stream(test, fn->unit, 0));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, 2UL * SZ_1G - 1));
	/* Neither readable nor writable */
	KUNIT_EXPECT_EQ(test, -EINVAL, domain->ops->map_pages(domain, 0, VTD_PA(0), SZ_4K, 1, 0,
							      GFP_KERNEL, NULL));
}

/* A parent's pages can be written: there are units that take others for that, too. */
static void parent_is_writable(struct kunit *test)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, 0);
	domain = vtd_paging(test, fn, VTD_PARENT);
	KUNIT_EXPECT_EQ(test, -EINVAL, domain->ops->map_pages(domain, IOVA, VTD_PA(0), SZ_4K, 1,
							      IOMMU_READ, GFP_KERNEL, NULL));
	KUNIT_EXPECT_EQ(test, 0, domain->ops->iova_to_phys(domain, IOVA));
	KUNIT_EXPECT_EQ(test, 0, map_at(domain, IOVA, SZ_4K, 1));
	domain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_EQ(test, 0, domain->ops->map_pages(domain, IOVA, VTD_PA(0), SZ_4K, 1,
							IOMMU_READ, GFP_KERNEL, NULL));
}

/* --- ranges --- */

struct range_case {
	const char *name;
	struct vtd_caps caps;
	int max;	/* mask of a second-level range, -1: there are none */
};

static const struct range_case range_cases[] = {
	{ "no ranges", { .cap = VTD_CAP & ~VTD_CAP_PSI }, -1 },
	{ "MAMV 0", { .cap = MAMV(0) }, 0 },
	{ "MAMV 1", { .cap = MAMV(1) }, 1 },
	{ "MAMV 9", { .cap = MAMV(9) }, 9 },
	{ "MAMV 18", {}, 18 },
	{ "MAMV 48", { .cap = MAMV(48) }, 48 },
};

KUNIT_ARRAY_PARAM_DESC(range, range_cases, name);

struct ranges {
	struct kunit *test;
	struct vtd_fn *fn;
	struct iommu_domain *second;
	struct iommu_domain *first;
};

/* The smallest naturally aligned block that has both */
static unsigned int mask_of(u64 start, u64 end)
{
	unsigned int mask = 0;

	while (start >> VTD_PAGE_SHIFT >> mask != end >> VTD_PAGE_SHIFT >> mask)
		mask++;
	return mask;
}

static void expect_range(struct ranges *r, const struct vtd_cmd *cmd, u8 gran, u64 start,
			 u64 end, bool ih)
{
	unsigned int mask = mask_of(start, end);

	KUNIT_EXPECT_EQ(r->test, gran, cmd->gran);
	KUNIT_EXPECT_EQ_MSG(r->test, mask, cmd->am, "%llx-%llx", start, end);
	KUNIT_EXPECT_EQ(r->test, ih, cmd->ih);
	if (mask < KIOMMU_ALL)
		KUNIT_EXPECT_EQ(r->test, start & ~((VTD_PAGE_SIZE << mask) - 1), cmd->addr);
}

static void flush_range(struct ranges *r, struct iommu_domain *domain, u64 start, u64 end,
			bool ih, unsigned int commands)
{
	vtd_clear_log(r->test->priv);
	KUNIT_EXPECT_EQ(r->test, 0, cache_flush_range(to_dmar_domain(domain), start, end, ih));
	KUNIT_ASSERT_EQ(r->test, commands + 1, r->fn->unit->nr_logged);
}

static void one_range(struct ranges *r, u64 start, u64 end, bool ih)
{
	const struct range_case *c = r->test->param_value;
	const struct vtd_cmd *log = r->fn->unit->log;
	int mask = mask_of(start, end);

	flush_range(r, r->second, start, end, ih, 2);
	KUNIT_EXPECT_EQ(r->test, QI_IOTLB_TYPE, log[0].type);
	if (mask <= c->max)
		expect_range(r, &log[0], DMA_TLB_IIRG(DMA_TLB_PSI_FLUSH), start, end, ih);
	else
		KUNIT_EXPECT_EQ(r->test, DMA_TLB_IIRG(DMA_TLB_DSI_FLUSH), log[0].gran);
	KUNIT_EXPECT_EQ(r->test, QI_DIOTLB_TYPE, log[1].type);
	expect_range(r, &log[1], 0, start, end, false);

	flush_range(r, r->first, start, end, ih, 2);
	KUNIT_EXPECT_EQ(r->test, QI_EIOTLB_TYPE, log[0].type);
	if (mask < KIOMMU_ALL)
		expect_range(r, &log[0], QI_GRAN_PSI_PASID, start, end, ih);
	else
		KUNIT_EXPECT_EQ(r->test, QI_GRAN_NONG_PASID, log[0].gran);
	KUNIT_EXPECT_EQ(r->test, QI_DEIOTLB_TYPE, log[1].type);
	expect_range(r, &log[1], 0, start, end, false);
}

static void range_init(struct ranges *r, struct kunit *test)
{
	const struct range_case *c = test->param_value;

	r->test = test;
	vtd_machine(test, 1, &c->caps);
	r->fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	r->second = vtd_paging(test, r->fn, 0);
	r->first = vtd_paging(test, r->fn, VTD_FIRST_LEVEL);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(r->fn, r->second));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(r->fn, PASID, r->first));
}

static void random_ranges(struct ranges *r)
{
	struct rnd_state rnd;
	u64 start, size;
	unsigned int n;

	prandom_seed_state(&rnd, 15);
	for (n = 0; n < 300; n++) {
		start = (u64)prandom_u32_state(&rnd) << (prandom_u32_state(&rnd) % 24);
		size = 1 + ((u64)prandom_u32_state(&rnd) >> (prandom_u32_state(&rnd) % 32)
			    << (prandom_u32_state(&rnd) % 16));
		one_range(r, start, start + size - 1, n & 1);
	}
}

/* Each size, aligned, one page less and more, and over each boundary */
static void ranges(struct kunit *test)
{
	unsigned int n;
	struct ranges r;
	u64 size;

	range_init(&r, test);
	for (n = 0; n < 48 - VTD_PAGE_SHIFT; n++) {
		size = VTD_PAGE_SIZE << n;
		one_range(&r, 0, size - 1, n & 1);
		one_range(&r, size, 2 * size - 1, false);
		one_range(&r, size, 2 * size - 2, true);
		one_range(&r, size + 1, 2 * size - 1, false);
		one_range(&r, size - VTD_PAGE_SIZE, size + VTD_PAGE_SIZE - 1, false);
		one_range(&r, size - 1, size, false);
		one_range(&r, size, 3 * size - 1, true);
		if (n)
			one_range(&r, size, 2 * size - VTD_PAGE_SIZE - 1, false);
	}
	one_range(&r, BIT_ULL(63) - VTD_PAGE_SIZE, BIT_ULL(63) - 1, false);
	one_range(&r, BIT_ULL(63), ULONG_MAX, false);
	one_range(&r, 0, BIT_ULL(63) - 1, true);
	one_range(&r, BIT_ULL(63) - VTD_PAGE_SIZE, BIT_ULL(63) + VTD_PAGE_SIZE - 1, false);
	one_range(&r, ULONG_MAX - VTD_PAGE_SIZE + 1, ULONG_MAX, false);
	random_ranges(&r);
}

/* What a process's mm says: ends are exclusive there, and two ranges mean something else. */
static void ranges_of_process(struct kunit *test)
{
	struct mm_struct *mm;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	mm = kiommu_mm(test);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, vtd_sva(test, fn, mm)));

#define EXPECT_TOLD(start, end, stream)	do {					\
	vtd_clear_log(test->priv);						\
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, start, end);		\
	KUNIT_EXPECT_STREQ(test, stream, vtd_stream(test, fn->unit, 0));		\
} while (0)
	EXPECT_TOLD(0, SZ_4K, "piotlb did=1 pasid=5 addr=0 am=0\n"
		    "devtlb sid=4000 pasid=5 qdep=16 addr=0 am=0\n");
	EXPECT_TOLD(SZ_2M, SZ_4M, "piotlb did=1 pasid=5 addr=200000 am=9\n"
		    "devtlb sid=4000 pasid=5 qdep=16 addr=200000 am=9\n");
	EXPECT_TOLD(SZ_2M, SZ_4M + SZ_4K, "piotlb did=1 pasid=5 addr=0 am=11\n"
		    "devtlb sid=4000 pasid=5 qdep=16 addr=0 am=11\n");
	EXPECT_TOLD(0, ULONG_MAX, "piotlb did=1 pasid=5\n"
		    "devtlb sid=4000 pasid=5 qdep=16 all\n");
	EXPECT_TOLD(0, TASK_SIZE_MAX, "piotlb did=1 pasid=5 addr=0 am=35\n"
		    "devtlb sid=4000 pasid=5 qdep=16 addr=0 am=35\n");
	EXPECT_TOLD(KERNEL_PGTABLE_START, KERNEL_PGTABLE_END, "piotlb did=1 pasid=5\n");
#undef EXPECT_TOLD
	kiommu_mm_exit(mm);
}

static struct kunit_case fits_test_cases[] = {
	KUNIT_CASE_PARAM(domain_fits, fits_gen_params),
	KUNIT_CASE_PARAM(domain_is_shaped, shape_gen_params),
	KUNIT_CASE_PARAM(domain_is_shaped_twice, twice_gen_params),
	KUNIT_CASE(last_page_is_mapped),
	KUNIT_CASE(pages_have_sizes),
	KUNIT_CASE(parent_is_writable),
	KUNIT_CASE_PARAM(ranges, range_gen_params),
	KUNIT_CASE(ranges_of_process),
	{}
};

static struct kunit_suite fits_suite = {
	.name = "intel_iommu_fits",
	.exit = vtd_exit,
	.test_cases = fits_test_cases,
};

kunit_test_suite(fits_suite);
