// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the commands that the VT-d driver sends for one function
 *
 * The streams were recorded from the driver of 6.12, and read against it. What
 * they say of attaching and detaching leaves out the waits in between, which the
 * order in the queue makes unnecessary for hardware; what they say of
 * invalidations is complete. Where the attach list made something else of one, it
 * stands beside it.
 *
 * ATS used to come and go with the domain of the RID. So a function with ATS gets a
 * domain on its RID before anything is attached to its PASIDs, and what detaching
 * the RID of such a function sends is not here.
 *
 * The rest tests the hardware that these tests are made of.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>

#include "kunit-mock.h"
#include "perf.h"

#define PASID	5
#define IOVA	0x10000

static struct vtd_fn *one_fn(struct kunit *test)
{
	vtd_machine(test, 1, NULL);
	return vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
}

/* A new domain, to which the RID is attached */
static struct iommu_domain *attached(struct kunit *test, struct vtd_fn *fn,
				     unsigned int flags)
{
	struct iommu_domain *domain = vtd_paging(test, fn, flags);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	return domain;
}

/* --- streams --- */

enum stream_where {
	RID_SECOND_LEVEL,
	RID_FIRST_LEVEL,
	PASID_SECOND_LEVEL,
	PASID_FIRST_LEVEL,
	PASID_SVA,
	RID_NESTED,
	RID_PARENT,
};

enum stream_what {
	ATTACH,
	DETACH,
	UNMAP,
	UNMAP_LARGE,
	FLUSH_ALL,
	SYNC_MAP,
	EXIT,
	USER,
};

/* How the unit differs from the usual one */
#define ATS		BIT(0)	/* the function uses it */
#define CACHING		BIT(1)
#define NO_PSI		BIT(2)
#define SMALL_PSI	BIT(3)	/* up to 8 pages */
#define THROTTLE	BIT(4)

/**
 * struct stream - what is sent, when what is done
 * @name: of the case
 * @where: what is attached
 * @what: what is done to it
 * @how: ATS and so on
 * @iova: range
 * @pages: range
 * @cmds: what is sent
 * @listed: what is sent since the driver has attach lists, if that is not the same
 */
struct stream {
	const char *name;
	enum stream_where where;
	enum stream_what what;
	unsigned int how;
	u64 iova;
	unsigned int pages;
	const char *cmds;
	const char *listed;
};

static const struct stream streams[] = {
	/* RID, second level: the first domain of a unit has DID 2. */
	{
		"rid_sl_attach", RID_SECOND_LEVEL, ATTACH, 0, 0, 0,
		""
	}, {
		"rid_sl_attach_caching", RID_SECOND_LEVEL, ATTACH, CACHING, 0, 0,
		"pc did=2 pasid=0\n"
		"piotlb did=2 pasid=0\n"
	}, {
		"rid_sl_attach_ats", RID_SECOND_LEVEL, ATTACH, ATS, 0, 0,
		"",
		/* ATS goes on: no IOTLB entry of before, and an empty ATC */
		"iotlb did=2\n"
		"devtlb sid=4000 qdep=16 all\n"
	}, {
		"rid_sl_detach", RID_SECOND_LEVEL, DETACH, 0, 0, 0,
		"pc did=2 pasid=0\n"
		"iotlb did=2\n"
	}, {
		"rid_sl_unmap_1", RID_SECOND_LEVEL, UNMAP, 0, IOVA, 1,
		"iotlb did=2 addr=10000 am=0 ih\n"
		"wait\n"
	}, {
		"rid_sl_unmap_2", RID_SECOND_LEVEL, UNMAP, 0, IOVA, 2,
		"iotlb did=2 addr=10000 am=1 ih\n"
		"wait\n"
	}, {
		"rid_sl_unmap_3", RID_SECOND_LEVEL, UNMAP, 0, IOVA + SZ_4K, 3,
		"iotlb did=2 addr=10000 am=2 ih\n"
		"wait\n"
	}, {
		"rid_sl_unmap_3_across", RID_SECOND_LEVEL, UNMAP, 0,
		IOVA + 3 * SZ_4K, 3,
		"iotlb did=2 addr=10000 am=3 ih\n"
		"wait\n"
	}, {
		"rid_sl_unmap_512", RID_SECOND_LEVEL, UNMAP, 0, SZ_2M, 512,
		"iotlb did=2 addr=200000 am=9\n"
		"wait\n"
	}, {
		"rid_sl_unmap_2m", RID_SECOND_LEVEL, UNMAP_LARGE, 0, SZ_2M, 512,
		"iotlb did=2 addr=200000 am=9 ih\n"
		"wait\n"
	}, {
		"rid_sl_unmap_no_psi", RID_SECOND_LEVEL, UNMAP, NO_PSI, IOVA, 1,
		"iotlb did=2\n"
		"wait\n"
	}, {
		"rid_sl_unmap_beyond_mamv", RID_SECOND_LEVEL, UNMAP,
		ATS | SMALL_PSI, SZ_2M, 512,
		"iotlb did=2\n"
		"devtlb sid=4000 qdep=16 addr=200000 am=9\n"
		"wait\n"
	}, {
		"rid_sl_unmap_1_ats", RID_SECOND_LEVEL, UNMAP, ATS, IOVA, 1,
		"iotlb did=2 addr=10000 am=0 ih\n"
		"devtlb sid=4000 qdep=16 addr=10000 am=0\n"
		"wait\n"
	}, {
		"rid_sl_unmap_3_ats", RID_SECOND_LEVEL, UNMAP, ATS,
		IOVA + SZ_4K, 3,
		"iotlb did=2 addr=10000 am=2 ih\n"
		"devtlb sid=4000 qdep=16 addr=10000 am=2\n"
		"wait\n"
	}, {
		"rid_sl_unmap_512_ats_throttled", RID_SECOND_LEVEL, UNMAP,
		ATS | THROTTLE, SZ_2M, 512,
		"iotlb did=2 addr=200000 am=9\n"
		"devtlb sid=4000 qdep=16 pfsid=4000 addr=200000 am=9\n"
		"wait\n"
	}, {
		"rid_sl_flush_all", RID_SECOND_LEVEL, FLUSH_ALL, 0, 0, 0,
		"iotlb did=2\n"
		"wait\n"
	}, {
		"rid_sl_flush_all_ats", RID_SECOND_LEVEL, FLUSH_ALL, ATS, 0, 0,
		"iotlb did=2\n"
		"devtlb sid=4000 qdep=16 all\n"
		"wait\n"
	}, {
		"rid_sl_sync_map", RID_SECOND_LEVEL, SYNC_MAP, 0, IOVA, 1,
		""
	}, {
		"rid_sl_sync_map_caching", RID_SECOND_LEVEL, SYNC_MAP, CACHING,
		IOVA, 1,
		"iotlb did=2 addr=10000 am=0\n"
		"wait\n"
	}, {
		"rid_sl_sync_map_caching_ats", RID_SECOND_LEVEL, SYNC_MAP,
		CACHING | ATS, IOVA + SZ_4K, 3,
		"iotlb did=2 addr=10000 am=2\n"
		"wait\n"
	},

	/* RID, first level: tagged with PASID 0. */
	{
		"rid_fl_attach_caching", RID_FIRST_LEVEL, ATTACH, CACHING, 0, 0,
		"pc did=2 pasid=0\n"
		"piotlb did=2 pasid=0\n"
	}, {
		"rid_fl_detach", RID_FIRST_LEVEL, DETACH, 0, 0, 0,
		"pc did=2 pasid=0\n"
		"piotlb did=2 pasid=0\n"
	}, {
		"rid_fl_unmap_1", RID_FIRST_LEVEL, UNMAP, 0, IOVA, 1,
		"piotlb did=2 pasid=0 addr=10000 am=0 ih\n"
		"wait\n"
	}, {
		"rid_fl_unmap_3_across", RID_FIRST_LEVEL, UNMAP, 0,
		IOVA + 3 * SZ_4K, 3,
		"piotlb did=2 pasid=0 addr=10000 am=3 ih\n"
		"wait\n"
	}, {
		"rid_fl_unmap_512_ats", RID_FIRST_LEVEL, UNMAP, ATS, SZ_2M, 512,
		"piotlb did=2 pasid=0 addr=200000 am=9\n"
		"devtlb sid=4000 qdep=16 addr=200000 am=9\n"
		"wait\n"
	}, {
		"rid_fl_flush_all_ats", RID_FIRST_LEVEL, FLUSH_ALL, ATS, 0, 0,
		"piotlb did=2 pasid=0\n"
		"devtlb sid=4000 qdep=16 all\n"
		"wait\n"
	}, {
		"rid_fl_sync_map_caching", RID_FIRST_LEVEL, SYNC_MAP, CACHING,
		IOVA, 1,
		""
	},

	/* PASID, second level: DID 2 is that of the RID's domain. */
	{
		"pasid_sl_set", PASID_SECOND_LEVEL, ATTACH, 0, 0, 0,
		""
	}, {
		"pasid_sl_set_caching", PASID_SECOND_LEVEL, ATTACH, CACHING, 0, 0,
		"pc did=3 pasid=5\n"
		"piotlb did=3 pasid=5\n"
	}, {
		"pasid_sl_remove", PASID_SECOND_LEVEL, DETACH, 0, 0, 0,
		"pc did=3 pasid=5\n"
		"iotlb did=3\n"
	}, {
		"pasid_sl_remove_ats", PASID_SECOND_LEVEL, DETACH, ATS, 0, 0,
		"pc did=3 pasid=5\n"
		"iotlb did=3\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
	}, {
		"pasid_sl_unmap_1", PASID_SECOND_LEVEL, UNMAP, 0, IOVA, 1,
		"iotlb did=3 addr=10000 am=0 ih\n"
		"wait\n"
	}, {
		"pasid_sl_unmap_3_ats", PASID_SECOND_LEVEL, UNMAP, ATS,
		IOVA + SZ_4K, 3,
		"iotlb did=3 addr=10000 am=2 ih\n"
		"devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=2\n"
		"wait\n"
	}, {
		"pasid_sl_flush_all_ats", PASID_SECOND_LEVEL, FLUSH_ALL, ATS, 0, 0,
		"iotlb did=3\n"
		"devtlb sid=4000 qdep=16 all\n"
		"wait\n",
		/* Other PASIDs keep what they have in the ATC. */
		"iotlb did=3\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
		"wait\n"
	},

	/* PASID, first level */
	{
		"pasid_fl_set_ats", PASID_FIRST_LEVEL, ATTACH, ATS, 0, 0,
		""
	}, {
		"pasid_fl_remove", PASID_FIRST_LEVEL, DETACH, 0, 0, 0,
		"pc did=3 pasid=5\n"
		"piotlb did=3 pasid=5\n"
	}, {
		"pasid_fl_remove_ats", PASID_FIRST_LEVEL, DETACH, ATS, 0, 0,
		"pc did=3 pasid=5\n"
		"piotlb did=3 pasid=5\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
	}, {
		"pasid_fl_unmap_2", PASID_FIRST_LEVEL, UNMAP, 0, IOVA, 2,
		"piotlb did=3 pasid=5 addr=10000 am=1 ih\n"
		"wait\n"
	}, {
		"pasid_fl_unmap_512_ats_throttled", PASID_FIRST_LEVEL, UNMAP,
		ATS | THROTTLE, SZ_2M, 512,
		"piotlb did=3 pasid=5 addr=200000 am=9\n"
		"devtlb sid=4000 pasid=5 qdep=16 pfsid=4000 addr=200000 am=9\n"
		"wait\n"
	},

	/* PASID, SVA: all mms share DID 1. */
	{
		"sva_set", PASID_SVA, ATTACH, 0, 0, 0,
		""
	}, {
		"sva_set_caching_ats", PASID_SVA, ATTACH, CACHING | ATS, 0, 0,
		"pc did=1 pasid=5\n"
		"piotlb did=1 pasid=5\n"
	}, {
		"sva_remove", PASID_SVA, DETACH, 0, 0, 0,
		"pc did=1 pasid=5\n"
		"piotlb did=1 pasid=5\n"
	}, {
		"sva_remove_ats", PASID_SVA, DETACH, ATS, 0, 0,
		"pc did=1 pasid=5\n"
		"piotlb did=1 pasid=5\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
	}, {
		"sva_exit", PASID_SVA, EXIT, 0, 0, 0,
		"pc did=1 pasid=5\n"
		"piotlb did=1 pasid=5\n"
	}, {
		"sva_exit_ats", PASID_SVA, EXIT, ATS, 0, 0,
		"pc did=1 pasid=5\n"
		"piotlb did=1 pasid=5\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
	}, {
		"sva_unmap_1", PASID_SVA, UNMAP, 0, IOVA, 1,
		"piotlb did=1 pasid=5 addr=10000 am=0\n"
		"wait\n"
	}, {
		"sva_unmap_1_ats", PASID_SVA, UNMAP, ATS, IOVA, 1,
		"piotlb did=1 pasid=5 addr=10000 am=0\n"
		"devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=0\n"
		"wait\n"
	}, {
		"sva_unmap_3_across_ats", PASID_SVA, UNMAP, ATS,
		IOVA + 3 * SZ_4K, 3,
		"piotlb did=1 pasid=5 addr=10000 am=3\n"
		"devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=3\n"
		"wait\n"
	}, {
		"sva_unmap_512_ats", PASID_SVA, UNMAP, ATS, SZ_2M, 512,
		"piotlb did=1 pasid=5 addr=200000 am=9\n"
		"devtlb sid=4000 pasid=5 qdep=16 addr=200000 am=9\n"
		"wait\n"
	}, {
		"sva_flush_all", PASID_SVA, FLUSH_ALL, 0, 0, 0,
		"piotlb did=1 pasid=5\n"
		"wait\n"
	}, {
		"sva_flush_all_ats", PASID_SVA, FLUSH_ALL, ATS, 0, 0,
		"piotlb did=1 pasid=5\n"
		"devtlb sid=4000 qdep=16 all\n"
		"wait\n",
		"piotlb did=1 pasid=5\n"
		"devtlb sid=4000 pasid=5 qdep=16 all\n"
		"wait\n"
	},

	/* Nested: the parent has no DID of its own, as long as it is not attached. */
	{
		"nested_attach", RID_NESTED, ATTACH, 0, 0, 0,
		""
	}, {
		"nested_detach", RID_NESTED, DETACH, 0, 0, 0,
		"pc did=2 pasid=0\n"
		"iotlb did=2\n",
		/* It leaves two lists, the parent's first. */
		"pc did=2 pasid=0\n"
		"iotlb did=2\n"
		"piotlb did=2 pasid=0\n"
	}, {
		"nested_user_2", RID_NESTED, USER, 0, IOVA, 2,
		"piotlb did=2 pasid=0 addr=10000 am=1\n"
		"wait\n"
	}, {
		"parent_unmap_2", RID_PARENT, UNMAP, 0, IOVA, 2,
		"iotlb did=2 addr=10000 am=1 ih\n"
		"wait\n"
	}, {
		"parent_flush_all", RID_PARENT, FLUSH_ALL, 0, 0, 0,
		"iotlb did=2\n"
		"wait\n"
	},
};

KUNIT_ARRAY_PARAM_DESC(stream, streams, name);

/**
 * struct stream_case - a case while it runs
 * @test: the test
 * @stream: what is to be sent
 * @unit: the unit
 * @fn: the function
 * @mm: the mm of %PASID_SVA, NULL after its exit
 * @domain: what is changed
 * @attached: what is attached
 */
struct stream_case {
	struct kunit *test;
	const struct stream *stream;
	struct vtd_unit *unit;
	struct vtd_fn *fn;
	struct mm_struct *mm;
	struct iommu_domain *domain;
	struct iommu_domain *attached;
};

static bool is_pasid(const struct stream_case *c)
{
	return c->stream->where == PASID_SECOND_LEVEL ||
		c->stream->where == PASID_FIRST_LEVEL ||
		c->stream->where == PASID_SVA;
}

static struct vtd_caps stream_caps(unsigned int how)
{
	struct vtd_caps caps = { .cap = VTD_CAP, .ecap = VTD_ECAP };

	if (how & CACHING)
		caps.cap |= VTD_CAP_CM;
	if (how & NO_PSI)
		caps.cap &= ~VTD_CAP_PSI;
	if (how & SMALL_PSI)
		caps.cap = (caps.cap & ~VTD_CAP_MAMV) | 3ULL << 48;
	if (how & THROTTLE)
		caps.ecap |= VTD_ECAP_DIT;
	return caps;
}

static void stream_domains(struct stream_case *c)
{
	struct kunit *test = c->test;

	switch (c->stream->where) {
	case RID_SECOND_LEVEL:
	case PASID_SECOND_LEVEL:
		c->domain = vtd_paging(test, c->fn, 0);
		break;
	case RID_FIRST_LEVEL:
	case PASID_FIRST_LEVEL:
		c->domain = vtd_paging(test, c->fn, VTD_FIRST_LEVEL);
		break;
	case PASID_SVA:
		c->mm = kiommu_mm(test);
		c->domain = vtd_sva(test, c->fn, c->mm);
		break;
	case RID_NESTED:
	case RID_PARENT:
		c->domain = vtd_paging(test, c->fn, VTD_PARENT);
		c->attached = vtd_nested(test, c->fn, c->domain);
		return;
	}
	c->attached = c->domain;
}

static void stream_attach(struct stream_case *c)
{
	struct kunit *test = c->test;

	if (is_pasid(c))
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(c->fn, PASID, c->attached));
	else
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(c->fn, c->attached));
}

static void stream_detach(struct stream_case *c)
{
	if (is_pasid(c))
		vtd_remove_pasid(c->fn, PASID);
	else
		vtd_block(c->fn);
}

static void stream_exit_mm(struct stream_case *c)
{
	if (c->mm)
		kiommu_mm_exit(c->mm);
	c->mm = NULL;
}

static void stream_unmap(struct stream_case *c)
{
	const struct stream *s = c->stream;
	u64 end = s->iova + s->pages * PAGE_SIZE;

	if (c->mm) {
		mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, s->iova, end);
		return;
	}
	/* Not at once: that could be a large page. */
	vtd_map(c->test, c->domain, s->iova, 1);
	if (s->pages > 1)
		vtd_map(c->test, c->domain, s->iova + SZ_4K, s->pages - 1);
	vtd_unmap(c->domain, s->iova, s->pages);
}

static void stream_flush_all(struct stream_case *c)
{
	if (c->mm)
		mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, 0, ULONG_MAX);
	else
		vtd_flush_all(c->domain);
}

static void stream_user(struct stream_case *c)
{
	const struct stream *s = c->stream;
	u32 processed;
	int ret;

	ret = vtd_invalidate_user(c->test, c->attached, s->iova, s->pages,
				  &processed);
	KUNIT_EXPECT_EQ(c->test, 0, ret);
	KUNIT_EXPECT_EQ(c->test, 1, processed);
}

static void stream_do(struct stream_case *c)
{
	const struct stream *s = c->stream;

	switch (s->what) {
	case ATTACH:
		stream_attach(c);
		break;
	case DETACH:
		stream_detach(c);
		break;
	case UNMAP:
		stream_unmap(c);
		break;
	case UNMAP_LARGE:
		vtd_map_size(c->test, c->domain, s->iova, s->pages * SZ_4K);
		vtd_unmap(c->domain, s->iova, s->pages);
		break;
	case FLUSH_ALL:
		stream_flush_all(c);
		break;
	case SYNC_MAP:
		vtd_map(c->test, c->domain, s->iova, s->pages);
		vtd_sync_map(c->domain, s->iova, s->pages);
		break;
	case EXIT:
		stream_exit_mm(c);
		break;
	case USER:
		stream_user(c);
		break;
	}
}

static bool is_invalidation(const struct stream *s)
{
	return s->what != ATTACH && s->what != DETACH && s->what != EXIT;
}

static void stream_setup(struct stream_case *c)
{
	struct vtd_caps caps = stream_caps(c->stream->how);
	struct kunit *test = c->test;
	struct vtd_machine *machine = vtd_machine(test, 1, &caps);

	c->unit = machine->unit;
	c->fn = vtd_add_fn(test, 0, KIOMMU_PASID |
			   (c->stream->how & ATS ? KIOMMU_ATS : 0));
	if (is_pasid(c))
		attached(test, c->fn, 0);
	stream_domains(c);
	if (c->stream->what != ATTACH)
		stream_attach(c);
	vtd_clear_log(machine);
}

static void stream(struct kunit *test)
{
	struct stream_case c = { .test = test, .stream = test->param_value };
	unsigned int flags = is_invalidation(c.stream) ? VTD_WAITS : 0;
	const char *sent;

	stream_setup(&c);
	stream_do(&c);
	sent = vtd_stream(test, c.unit, flags);
	if (!c.stream->listed || strcmp(c.stream->listed, sent))
		KUNIT_EXPECT_STREQ(test, c.stream->cmds, sent);
	KUNIT_EXPECT_EQ(test, !!(c.stream->how & ATS), kiommu_ats(&c.fn->pci));
	stream_exit_mm(&c);
}

/* --- the hardware --- */

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid,
			  u64 iova, int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(test, ret, vtd_access(fn, pasid, iova, &pa));
	KUNIT_EXPECT_EQ(test, ret ? 0 : VTD_PA(iova), pa);
}

/* Both caches keep what is not flushed, and nothing but that. */
static void caches(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	u64 root = vtd_root(fn, IOMMU_NO_PASID);
	struct iommu_iotlb_gather gather;

	vtd_map(test, domain, IOVA, 4);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_4K, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_16K, -EFAULT);
	KUNIT_EXPECT_EQ(test, 4, vtd_cached(test->priv, root));
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_16K));

	iommu_iotlb_gather_init(&gather);
	domain->ops->unmap_pages(domain, IOVA, SZ_4K, 1, &gather);
	KUNIT_EXPECT_EQ(test, 2, vtd_stale(test->priv, root, IOVA, SZ_16K));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	domain->ops->iotlb_sync(domain, &gather);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_16K));
	KUNIT_EXPECT_EQ(test, 2, vtd_cached(test->priv, root));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	vtd_block(fn);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(test->priv, root));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_4K, -EFAULT);
}

/* Tables of each level and page size, by RID and by PASID */
static void walks(struct kunit *test)
{
	static const size_t size[] = { SZ_4K, SZ_2M, SZ_1G };
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *sl = attached(test, fn, 0);
	struct iommu_domain *fl = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	unsigned int n;
	u64 iova;

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, fl));
	for (n = 0; n < ARRAY_SIZE(size); n++) {
		iova = (n + 1) * (u64)SZ_1G;
		vtd_map_size(test, sl, iova, size[n]);
		vtd_map_size(test, fl, iova + SZ_4G, size[n]);
		expect_access(test, fn, IOMMU_NO_PASID, iova, 0);
		expect_access(test, fn, IOMMU_NO_PASID, iova + size[n] - 8, 0);
		expect_access(test, fn, PASID, iova + SZ_4G + size[n] - 8, 0);
		expect_access(test, fn, PASID, iova, -EFAULT);
		expect_access(test, fn, IOMMU_NO_PASID, iova + SZ_4G, -EFAULT);
	}
}

/* Second-level translations have no PASID, first-level ones have. */
static void tags(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *sl = attached(test, fn, 0);
	struct iommu_domain *fl = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	u64 root;

	vtd_map(test, sl, IOVA, 1);
	vtd_map(test, fl, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, 1, sl));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, 2, fl));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, 3, fl));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, fn, 1, IOVA, 0);
	root = vtd_root(fn, 1);
	KUNIT_EXPECT_EQ(test, 1 + 2, vtd_cached(test->priv, root));
	expect_access(test, fn, 2, IOVA, 0);
	expect_access(test, fn, 3, IOVA, 0);
	root = vtd_root(fn, 2);
	KUNIT_EXPECT_EQ(test, 2 + 2, vtd_cached(test->priv, root));
}

/* The real thing: a process's own page table, and what munmap() does to it */
static void process(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *domain = vtd_sva(test, fn, mm);
	unsigned long addr = kiommu_mm_map(test, 2);
	u64 pa, root;

	attached(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	root = vtd_root(fn, PASID);
	KUNIT_EXPECT_EQ(test, __pa(mm->pgd), root);
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, PASID, addr + PAGE_SIZE, &pa));
	KUNIT_EXPECT_EQ(test, 1, *(unsigned int *)phys_to_virt(pa));
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, PASID, addr, &pa));

	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, 0, TASK_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, vtd_access(fn, PASID, addr, &pa));
	KUNIT_EXPECT_EQ(test, 0, vtd_access(fn, PASID, addr + PAGE_SIZE, &pa));
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(test->priv, root));
	KUNIT_EXPECT_EQ(test, -EFAULT, vtd_access(fn, PASID, addr + PAGE_SIZE, &pa));
}

/* A function that does not answer once is asked again. */
static void invalidation_is_lost(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	u64 root = vtd_root(fn, IOMMU_NO_PASID);

	vtd_map(test, domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	vtd_clear_log(test->priv);
	kiommu_drop(&fn->pci, 1);
	vtd_unmap(domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_4K));
	KUNIT_EXPECT_NOT_NULL(test,
			      strstr(vtd_stream(test, fn->unit, VTD_WAITS),
				     "devtlb sid=4000 qdep=16 addr=10000 am=0 lost\n"
				     "wait aborted\n"));
}

/* A command that the unit does not understand costs that command, no more. */
static void queue_error(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	u64 root = vtd_root(fn, IOMMU_NO_PASID);

	vtd_map(test, domain, IOVA, 2);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_4K, 0);
	vtd_queue_error(fn->unit, 1);
	vtd_unmap(domain, IOVA, 1);
	vtd_unmap(domain, IOVA + SZ_4K, 1);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA + SZ_4K,
					   SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, readl(fn->unit->iommu.reg + DMAR_FSTS_REG));
}

#define CLEARED_MS	5000

/* The unit is held until the error that it shows has been cleared, or never is. */
static void until_cleared(struct iommu_kunit_hw *hw, bool submitted)
{
	struct vtd_unit *unit = hw_to_vtd_unit(hw);
	bool *shown = unit->priv;

	if (*shown && kiommu_is_held(&unit->hold) && !vtd_shows_fault(unit))
		kiommu_let_go(&unit->hold);
	vtd_qi(hw, submitted);
	if (vtd_shows_fault(unit))
		*shown = true;
}

static void completion_error(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	u64 root = vtd_root(fn, IOMMU_NO_PASID);
	bool shown = false;

	vtd_map(test, domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	/* The wait descriptor is behind the command with the error. */
	kiommu_hold(&fn->unit->hold, QI_IWD_TYPE, 1, CLEARED_MS);
	fn->unit->priv = &shown;
	fn->unit->hw.run = until_cleared;
	vtd_completion_error(fn->unit, 1);
	vtd_unmap(domain, IOVA, 1);
	fn->unit->hw.run = vtd_qi;
	KUNIT_EXPECT_TRUE(test, shown);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, readl(fn->unit->iommu.reg + DMAR_FSTS_REG));
}

/* A wait descriptor takes as long as it was told, and nobody is let go before. */
static void latency(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	ktime_t start;

	vtd_clear_log(test->priv);
	fn->unit->latency = 3 * NSEC_PER_MSEC;
	fn->unit->cmd_latency = NSEC_PER_MSEC;
	start = ktime_get();
	vtd_flush_all(domain);
	KUNIT_EXPECT_GE(test, ktime_us_delta(ktime_get(), start), 5000);
	KUNIT_EXPECT_LT(test, fn->unit->log[0].issued,
			fn->unit->log[2].issued);
	KUNIT_EXPECT_LT(test, fn->unit->log[2].issued,
			fn->unit->log[0].done);
}

/* What debugfs has of it is that of the flushes which were made meanwhile. */
static void latency_is_sampled(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct intel_iommu *iommu = &fn->unit->iommu;
	struct iommu_domain *domain = attached(test, fn, 0);
	struct latency_statistic *all, s;
	unsigned int n;

	if (dmar_latency_enable(iommu, DMAR_LATENCY_INV_IOTLB))
		kunit_skip(test, "needs CONFIG_DMAR_PERF");
	for (n = 0; n < 3; n++) {
		vtd_flush_all(domain);
		msleep(20);
	}
	all = iommu->perf_statistic;
	s = all[DMAR_LATENCY_INV_IOTLB];
	dmar_latency_disable(iommu, DMAR_LATENCY_INV_IOTLB);
	kfree(all);
	iommu->perf_statistic = NULL;
	KUNIT_EXPECT_EQ(test, 3, s.samples);
	KUNIT_EXPECT_LT(test, 0, s.counter[COUNTS_MIN]);
	KUNIT_EXPECT_LE(test, s.counter[COUNTS_MIN], s.counter[COUNTS_MAX]);
	KUNIT_EXPECT_LE(test, s.counter[COUNTS_MAX], s.counter[COUNTS_SUM]);
	KUNIT_EXPECT_LT(test, s.counter[COUNTS_SUM], (u64)NSEC_PER_SEC);
}

#define MANY	300	/* unmaps: more descriptors than a queue holds */

/* One of two threads that change and access pages of their own */
struct unmapper {
	struct kunit *test;
	struct vtd_fn *fn;
	struct iommu_domain *domain;
	u64 iova;
	unsigned int wrong;
};

static int unmap_many(void *arg)
{
	struct unmapper *u = arg;
	u64 pa, root = vtd_root(u->fn, IOMMU_NO_PASID);
	unsigned int n;

	for (n = 0; n < MANY; n++) {
		vtd_map(u->test, u->domain, u->iova, 1);
		u->wrong += vtd_access(u->fn, IOMMU_NO_PASID, u->iova, &pa) != 0;
		vtd_unmap(u->domain, u->iova, 1);
		u->wrong += vtd_stale(u->test->priv, root, u->iova, SZ_4K);
	}
	return 0;
}

/* Several units, two threads, and more descriptors than a queue holds */
static void two_threads(struct kunit *test)
{
	struct vtd_machine *machine;
	struct iommu_domain *domain;
	struct unmapper u[2] = {};
	struct kiommu_thread thread;
	unsigned int n;

	kiommu_two_cpus(test);
	machine = vtd_machine(test, 3, NULL);
	for (n = 0; n < 4; n++)
		vtd_add_fn(test, n % 3, KIOMMU_ATS);
	domain = attached(test, machine->fn[0], 0);
	for (n = 1; n < 4; n++)
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[n], domain));
	for (n = 0; n < 2; n++) {
		u[n].test = test;
		u[n].fn = machine->fn[n];
		u[n].domain = domain;
		u[n].iova = IOVA + n * SZ_4K;
	}
	kiommu_start(test, &thread, unmap_many, &u[1]);
	unmap_many(&u[0]);
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, u[0].wrong);
	KUNIT_EXPECT_EQ(test, 0, u[1].wrong);
}

/* ATS of a function shows in its configuration space, and takes its ATC along. */
static void ats(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test);
	struct iommu_domain *domain = attached(test, fn, 0);
	u64 root = vtd_root(fn, IOMMU_NO_PASID);

	vtd_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&fn->pci));
	KUNIT_EXPECT_GT(test, fn->pci.ats_on, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	KUNIT_EXPECT_EQ(test, 2, vtd_cached(test->priv, root));
	KUNIT_EXPECT_TRUE(test, pci_device_is_present(&fn->pci.pdev));
	vtd_release_fn(fn);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
	KUNIT_EXPECT_GT(test, fn->pci.ats_off, fn->pci.ats_on);
	kiommu_remove(&fn->pci);
	KUNIT_EXPECT_FALSE(test, pci_device_is_present(&fn->pci.pdev));
}

static struct kunit_case base_cases[] = {
	KUNIT_CASE_PARAM(stream, stream_gen_params),
	KUNIT_CASE(caches),
	KUNIT_CASE(walks),
	KUNIT_CASE(tags),
	KUNIT_CASE(process),
	KUNIT_CASE(invalidation_is_lost),
	KUNIT_CASE(queue_error),
	KUNIT_CASE(completion_error),
	KUNIT_CASE(latency),
	KUNIT_CASE(latency_is_sampled),
	KUNIT_CASE(two_threads),
	KUNIT_CASE(ats),
	{}
};

static struct kunit_suite base_suite = {
	.name = "intel_iommu_base",
	.exit = vtd_exit,
	.test_cases = base_cases,
};

kunit_test_suite(base_suite);
