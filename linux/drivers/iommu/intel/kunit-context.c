// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of context entries: of functions, of their aliases, of another kernel
 *
 * The driver probes and releases these functions by itself. After each test the mock compares
 * all that is cached with what is in memory: see vtd_audit().
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/pci-ats.h>

#include "kunit-mock.h"
#include "../iommu-kunit-nomem.h"

#define PASID		5
#define IOVA		0x10000
#define HOLD_MS		300
#define ALIAS		0x41	/* in the context table of the function */
#define FAR_ALIAS	0x90	/* in scalable mode in the other one */
#define OLD_DID		77	/* of the kernel before */
#define FLAGS		(KIOMMU_ATS | KIOMMU_PASID | KIOMMU_PRI)

static const struct vtd_caps legacy = { .ecap = VTD_ECAP & ~VTD_ECAP_SMTS };
static const struct vtd_caps scalable = { .ecap = VTD_ECAP };

static struct vtd_fn *add_fn(struct kunit *test, unsigned int nr_aliases)
{
	struct vtd_fn *fn = vtd_add_unprobed_fn(test, 0, FLAGS);

	if (nr_aliases) {
		vtd_alias(test, fn, ALIAS, nr_aliases);
		vtd_alias(test, fn, FAR_ALIAS, nr_aliases);
	}
	return fn;
}

/* One unit, which the driver finds until release_all() */
static struct vtd_unit *find_unit(struct kunit *test, const struct vtd_caps *caps)
{
	struct vtd_unit *unit = vtd_machine(test, 1, caps)->unit;

	vtd_find_unit(unit, true);
	return unit;
}

static void release_all(struct vtd_unit *unit)
{
	struct vtd_machine *machine = unit->machine;
	unsigned int n;

	for (n = 0; n < machine->nr_fns; n++)
		if (machine->fn[n]->probed)
			vtd_release_fn(machine->fn[n]);
	vtd_find_unit(unit, false);
}

static struct vtd_fn *probed(struct kunit *test, const struct vtd_caps *caps,
			     unsigned int nr_aliases)
{
	struct vtd_fn *fn;

	find_unit(test, caps);
	fn = add_fn(test, nr_aliases);
	KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
	return fn;
}

static struct iommu_domain *attached(struct kunit *test, struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(test, fn, 0);

	vtd_map(test, domain, IOVA, 2);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	return domain;
}

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid, u64 iova,
			  u64 pa)
{
	u64 got;

	KUNIT_EXPECT_EQ(test, pa ? 0 : -EFAULT, vtd_access(fn, pasid, iova, &got));
	KUNIT_EXPECT_EQ(test, pa, got);
}

/* The function, and each alias, which never uses an ATC */
static void expect_all(struct kunit *test, struct vtd_fn *fn, unsigned int nr_aliases,
		       u64 iova, u64 pa)
{
	unsigned int n;
	u64 got;

	expect_access(test, fn, IOMMU_NO_PASID, iova, pa);
	for (n = 0; n < 2 * nr_aliases; n++) {
		KUNIT_EXPECT_EQ_MSG(test, pa ? 0 : -EFAULT,
				    vtd_access_as(fn, (n & 1 ? ALIAS : FAR_ALIAS) + n / 2,
						  iova, &got), "alias %u", n);
		KUNIT_EXPECT_EQ_MSG(test, pa, got, "alias %u", n);
	}
}

static u64 context_lo(struct vtd_fn *fn, u8 devfn)
{
	struct context_entry *context;

	context = iommu_context_addr(&fn->unit->iommu, fn->unit->bus.bus.number, devfn,
				     false);
	return context ? context->lo : 0;
}

static void expect_absent(struct kunit *test, struct vtd_fn *fn, u8 devfn,
			  unsigned int nr)
{
	while (nr--)
		KUNIT_EXPECT_EQ_MSG(test, 0, context_lo(fn, devfn + nr),
				    "context entry of %x", devfn + nr);
}

static void expect_complaints(struct kunit *test, unsigned int nr)
{
	struct vtd_machine *machine = test->priv;

	vtd_audit(machine);
	kiommu_expect_complaints(test, &machine->k, nr);
}

/* --- the audit itself --- */

/* Each cache holds what somebody has changed in memory without a word. */
static void audit_sees(struct kunit *test)
{
	struct vtd_fn *fn = probed(test, &scalable, 0);
	struct pasid_entry *entry, saved;
	struct context_entry *context;
	struct dma_pte *pte;

	attached(test, fn);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, VTD_PA(IOVA));
	expect_complaints(test, 0);

	context = iommu_context_addr(&fn->unit->iommu, fn->unit->bus.bus.number, 0, false);
	context->lo ^= CONTEXT_FPD;
	expect_complaints(test, 1);
	context->lo ^= CONTEXT_FPD;

	entry = vtd_entry(fn, IOMMU_NO_PASID);
	saved = *entry;
	pasid_set_domain_id(entry, 5);
	/* The cache of entries, the IOTLB and the ATC */
	expect_complaints(test, 3);
	*entry = saved;

	/* Of the first table */
	pte = phys_to_virt(vtd_root(fn, IOMMU_NO_PASID));
	pte->val ^= DMA_PTE_READ | DMA_PTE_WRITE;
	expect_complaints(test, 2);
	pte->val ^= DMA_PTE_READ | DMA_PTE_WRITE;
	expect_complaints(test, 0);
	release_all(fn->unit);
}

/* --- aliases --- */

static void use_aliases(struct kunit *test, const struct vtd_caps *caps)
{
	struct vtd_fn *fn = probed(test, caps, 2);
	struct iommu_domain *domain;
	unsigned int round;

	for (round = 0; round < 2; round++) {
		domain = attached(test, fn);
		expect_all(test, fn, 2, IOVA, VTD_PA(IOVA));
		vtd_unmap(domain, IOVA, 1);
		expect_all(test, fn, 2, IOVA, 0);
		expect_all(test, fn, 2, IOVA + SZ_4K, VTD_PA(IOVA + SZ_4K));
		vtd_block(fn);
		expect_all(test, fn, 2, IOVA + SZ_4K, 0);
		expect_complaints(test, 0);
		/* What is mapped directly is so under every ID. */
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
		expect_all(test, fn, 2, IOVA, IOVA);
		vtd_block(fn);
		expect_all(test, fn, 2, IOVA, 0);
		expect_complaints(test, 0);
	}
	release_all(fn->unit);
	expect_absent(test, fn, fn->pci.pdev.devfn, 1);
	expect_absent(test, fn, ALIAS, 2);
	expect_absent(test, fn, FAR_ALIAS, 2);
	expect_complaints(test, 0);
}

static void aliases_legacy(struct kunit *test)
{
	use_aliases(test, &legacy);
}

static void aliases_scalable(struct kunit *test)
{
	use_aliases(test, &scalable);
}

/* Replies to what an alias asks for would not get to who has the ATC. */
/* Who says that an address is translated, and is no function with ATS, is refused. */
static void others_have_no_ats(struct kunit *test)
{
	static const struct vtd_caps *const caps[] = { &legacy, &scalable };
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(caps); n++) {
		find_unit(test, caps[n]);
		fn = vtd_add_unprobed_fn(test, 0, FLAGS & ~KIOMMU_ATS);
		KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
		attached(test, fn);
		KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
		KUNIT_EXPECT_TRUE(test, context_lo(fn, 0) & CONTEXT_PRESENT);
		KUNIT_EXPECT_FALSE(test, context_lo(fn, 0) & BIT_ULL(2));
		release_all(fn->unit);
		vtd_exit(test);
	}
}

static void aliases_have_no_ats(struct kunit *test)
{
	static const struct vtd_caps *const caps[] = { &legacy, &scalable };
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(caps); n++) {
		fn = probed(test, caps[n], 1);
		attached(test, fn);
		KUNIT_EXPECT_TRUE(test, kiommu_ats(&fn->pci));
		/* DTE, or the translation type that allows the same */
		KUNIT_EXPECT_TRUE(test, context_lo(fn, 0) & BIT_ULL(2));
		KUNIT_EXPECT_FALSE(test, context_lo(fn, ALIAS) & BIT_ULL(2));
		KUNIT_EXPECT_FALSE(test, context_lo(fn, FAR_ALIAS) & BIT_ULL(2));
		release_all(fn->unit);
		vtd_exit(test);
	}
}

/* --- no memory --- */

static void expect_nothing(struct kunit *test, struct vtd_fn *fn)
{
	expect_absent(test, fn, fn->pci.pdev.devfn, 1);
	expect_absent(test, fn, ALIAS, 1);
	expect_absent(test, fn, FAR_ALIAS, 1);
	vtd_audit_released(fn);
	expect_complaints(test, 0);
}

/* Nothing is left of a function that cannot be probed, nor of its aliases. */
static void probe_fails(struct kunit *test, const struct vtd_caps *caps,
			unsigned int kinds)
{
	struct vtd_unit *unit;
	unsigned int n;
	struct vtd_fn *fn;
	bool failed;
	int ret;

	nomem_start(test, kinds);
	unit = find_unit(test, caps);
	fn = add_fn(test, 1);
	for (n = 1; n < 32; n++) {
		nomem_nth(n);
		ret = vtd_probe(fn);
		failed = nomem_nth(0);
		if (!failed)
			break;
		if (!ret) {
			/* It can do without what is for debugging. */
			vtd_release_fn(fn);
			expect_nothing(test, fn);
			continue;
		}
		KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		KUNIT_EXPECT_NULL(test, device_rbtree_find(&unit->iommu, 0x4000));
		expect_nothing(test, fn);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	/* One at least was needed. */
	KUNIT_EXPECT_GT(test, n, 1);
	KUNIT_EXPECT_LT(test, n, 32);
	if (!ret) {
		attached(test, fn);
		expect_all(test, fn, 1, IOVA, VTD_PA(IOVA));
	}
	release_all(unit);
	expect_nothing(test, fn);
	vtd_exit(test);
}

static void probe_without_memory(struct kunit *test)
{
	probe_fails(test, &scalable, NOMEM_SLAB);
	probe_fails(test, &scalable, NOMEM_PAGE);
	probe_fails(test, &legacy, NOMEM_SLAB);
}

/* What was blocked is blocked, and what it was to be attached to is as it was. */
static void expect_blocked(struct kunit *test, struct vtd_fn *fn,
			   struct iommu_domain *domain)
{
	expect_all(test, fn, 1, IOVA, 0);
	expect_access(test, fn, PASID, IOVA, 0);
	vtd_audit(test->priv);
	vtd_clear_log(test->priv);
	vtd_flush_all(domain);
	KUNIT_EXPECT_STREQ(test, "", vtd_stream(test, fn->unit, VTD_WAITS));
	expect_complaints(test, 0);
}

static int attach(struct vtd_fn *fn, struct iommu_domain *domain, u32 pasid)
{
	return pasid == IOMMU_NO_PASID ? vtd_attach(fn, domain) :
					 vtd_set_pasid(fn, pasid, domain);
}

static void detach(struct vtd_fn *fn, u32 pasid)
{
	if (pasid == IOMMU_NO_PASID)
		vtd_block(fn);
	else
		vtd_remove_pasid(fn, pasid);
}

static void attach_fails(struct kunit *test, const struct vtd_caps *caps, u32 pasid,
			 unsigned int kinds)
{
	struct iommu_domain *domain;
	struct vtd_unit *unit;
	struct vtd_fn *fn;
	unsigned int n;
	bool failed;
	int ret;

	nomem_start(test, kinds);
	unit = find_unit(test, caps);
	fn = add_fn(test, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
	domain = vtd_paging(test, fn, 0);
	vtd_map(test, domain, IOVA, 2);
	for (n = 1; n < 16; n++) {
		nomem_nth(n);
		ret = attach(fn, domain, pasid);
		failed = nomem_nth(0);
		if (!failed)
			break;
		/* It can do without ATS, until it is attached again. */
		if (!ret)
			detach(fn, pasid);
		else	/* Where there is no PASID table the driver sees no PASID. */
			KUNIT_EXPECT_EQ(test, kinds == NOMEM_PAGE && caps == &scalable ?
					-ENODEV : -ENOMEM, ret);
		expect_blocked(test, fn, domain);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	/* One at least was needed. */
	KUNIT_EXPECT_GT(test, n, 1);
	KUNIT_EXPECT_LT(test, n, 16);
	expect_access(test, fn, pasid, IOVA, VTD_PA(IOVA));
	release_all(unit);
	vtd_exit(test);
}

static void attach_without_memory(struct kunit *test)
{
	/* The context table, and the table of a PASID that is the first of its range */
	attach_fails(test, &legacy, IOMMU_NO_PASID, NOMEM_PAGE);
	attach_fails(test, &scalable, IOMMU_NO_PASID, NOMEM_PAGE);
	attach_fails(test, &scalable, PASID + BIT(PASID_PDE_SHIFT), NOMEM_PAGE);
	attach_fails(test, &scalable, PASID, NOMEM_SLAB);
}

/* --- caching mode --- */

/* What was not there when the unit looked for it is found once it is there. */
static void absence_is_forgotten(struct kunit *test, u64 ecap)
{
	const struct vtd_caps caps = { .cap = VTD_CAP | VTD_CAP_CM, .ecap = ecap };
	struct vtd_fn *fn = probed(test, &caps, 1);
	struct iommu_domain *domain;
	u64 iova = IOVA + SZ_8K;

	expect_all(test, fn, 1, IOVA, 0);
	domain = attached(test, fn);
	expect_all(test, fn, 1, IOVA, VTD_PA(IOVA));
	expect_all(test, fn, 1, iova, 0);
	vtd_map(test, domain, iova, 1);
	/* Until the unit is told */
	expect_all(test, fn, 1, iova, 0);
	vtd_sync_map(domain, iova, 1);
	expect_all(test, fn, 1, iova, VTD_PA(iova));
	expect_complaints(test, 0);
	vtd_block(fn);
	expect_all(test, fn, 1, iova, 0);
	release_all(fn->unit);
}

static void absence_is_forgotten_legacy(struct kunit *test)
{
	absence_is_forgotten(test, legacy.ecap);
}

static void absence_is_forgotten_scalable(struct kunit *test)
{
	absence_is_forgotten(test, scalable.ecap);
}

/* --- release --- */

static void release(struct kunit *test, const struct vtd_caps *caps)
{
	struct vtd_fn *fn = probed(test, caps, 1);
	struct iommu_domain *domain = attached(test, fn);
	bool sm = caps == &scalable;
	u64 root;

	expect_all(test, fn, 1, IOVA, VTD_PA(IOVA));
	if (sm) {
		root = vtd_root(fn, IOMMU_NO_PASID);
		KUNIT_EXPECT_GT(test, vtd_cached(test->priv, root), 0);
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
		expect_access(test, fn, PASID, IOVA, VTD_PA(IOVA));
		KUNIT_EXPECT_PTR_EQ(test, &fn->pci.pdev.dev,
				    device_rbtree_find(&fn->unit->iommu, 0x4000));
	}
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&fn->pci));
	vtd_release_fn(fn);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
	KUNIT_EXPECT_FALSE(test, fn->pci.pdev.pasid_enabled);
	KUNIT_EXPECT_NULL(test, device_rbtree_find(&fn->unit->iommu, 0x4000));
	if (sm)
		KUNIT_EXPECT_EQ(test, 0, vtd_cached(test->priv, root));
	expect_nothing(test, fn);
	/* Nobody is told of what changes. */
	vtd_clear_log(test->priv);
	vtd_flush_all(domain);
	KUNIT_EXPECT_STREQ(test, "", vtd_stream(test, fn->unit, VTD_WAITS));
	/* It comes back, as what it was before. */
	KUNIT_EXPECT_EQ(test, 0, vtd_probe(fn));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	expect_all(test, fn, 1, IOVA, VTD_PA(IOVA));
	release_all(fn->unit);
}

static void release_legacy(struct kunit *test)
{
	release(test, &legacy);
}

static void release_scalable(struct kunit *test)
{
	release(test, &scalable);
}

/* A walk that has begun when it was attached */
struct walk {
	struct iommu_domain *domain;
	struct vtd_unit *late;		/* the unit that it waits for */
	struct kiommu_thread thread;
	bool ats_off, over;
};

static int walk_run(void *arg)
{
	struct walk *walk = arg;

	vtd_flush_all(walk->domain);
	return 0;
}

static void walk_ats(struct kiommu_fn *fn, bool on)
{
	struct walk *walk = fn->priv;

	if (on)
		return;
	walk->over = !kiommu_is_held(&walk->late->hold);
	walk->ats_off = true;
}

/*
 * The walk has sent its commands for the function, and waits for another unit. It may send
 * more, if the first were aborted; so ATS stays on until it is over.
 */
static void release_waits(struct kunit *test, const struct vtd_caps *one)
{
	struct vtd_caps caps[2] = { *one, *one };
	struct walk walk = {};
	struct vtd_fn *fn;

	kiommu_two_cpus(test);
	walk.late = &vtd_machine(test, 2, caps)->unit[1];
	vtd_find_unit(walk.late - 1, true);
	fn = add_fn(test, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
	walk.domain = attached(test, fn);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(vtd_add_fn(test, 1, KIOMMU_ATS), walk.domain));
	fn->pci.priv = &walk;
	fn->pci.ats_hook = walk_ats;
	kiommu_hold(&walk.late->hold, QI_IWD_TYPE, 1, HOLD_MS);
	kiommu_start(test, &walk.thread, walk_run, &walk);
	/* Not kiommu_wait_held(), from which on HOLD_MS count */
	while (!READ_ONCE(walk.late->hold.held) && !completion_done(&walk.thread.done))
		usleep_range(50, 100);
	/* In legacy mode that is where ATS goes off. */
	if (one == &scalable)
		vtd_block(fn);
	KUNIT_EXPECT_TRUE(test, kiommu_is_held(&walk.late->hold));
	vtd_release_fn(fn);
	KUNIT_EXPECT_TRUE(test, walk.ats_off);
	KUNIT_EXPECT_TRUE(test, walk.over);
	kiommu_join(&walk.thread);
	release_all(walk.late - 1);
}

static void release_waits_legacy(struct kunit *test)
{
	release_waits(test, &legacy);
}

static void release_waits_scalable(struct kunit *test)
{
	release_waits(test, &scalable);
}

/* --- pass-through --- */

/* What is cached of it has to go: the next domain maps the same addresses elsewhere. */
static void identity(struct kunit *test)
{
	static const struct vtd_caps *const caps[] = { &legacy, &scalable };
	struct iommu_domain *domain;
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(caps); n++) {
		fn = probed(test, caps[n], 1);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
		expect_all(test, fn, 1, IOVA, IOVA);
		domain = attached(test, fn);
		expect_all(test, fn, 1, IOVA, VTD_PA(IOVA));
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
		expect_all(test, fn, 1, IOVA, IOVA);
		/* It is not told any more, and need not be. */
		vtd_clear_log(test->priv);
		vtd_flush_all(domain);
		KUNIT_EXPECT_STREQ(test, "", vtd_stream(test, fn->unit, VTD_WAITS));
		release_all(fn->unit);
		vtd_exit(test);
	}
}

static void identity_of_pasid(struct kunit *test)
{
	struct vtd_fn *fn = probed(test, &scalable, 0);
	struct iommu_domain *domain = attached(test, fn);

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID,
					       intel_iommu_ops.identity_domain));
	expect_access(test, fn, PASID, IOVA, IOVA);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, VTD_PA(IOVA));
	vtd_clear_log(test->priv);
	vtd_remove_pasid(fn, PASID);
	/* Each of them can be filled again from those that come before it. */
	KUNIT_EXPECT_STREQ(test, "pc did=1 pasid=5\n"
			   "piotlb did=1 pasid=5\n"
			   "devtlb sid=4000 pasid=5 qdep=16 all\n",
			   vtd_stream(test, fn->unit, 0));
	expect_access(test, fn, PASID, IOVA, 0);
	expect_complaints(test, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	expect_access(test, fn, PASID, IOVA, VTD_PA(IOVA));
	release_all(fn->unit);
}

/* --- the entries of a kernel before --- */

/* The table of a domain that is not attached, as the old kernel has left it */
static u64 old_table(struct kunit *test, struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(test, fn, 0);

	vtd_map(test, domain, IOVA, 1);
	return virt_to_phys(to_dmar_domain(domain)->pgd);
}

static struct context_entry *copied_entry(struct kunit *test, struct vtd_unit *unit,
					  u8 devfn)
{
	struct context_entry *context;

	context = iommu_context_addr(&unit->iommu, unit->bus.bus.number, devfn, true);
	KUNIT_ASSERT_NOT_NULL(test, context);
	set_context_copied(&unit->iommu, unit->bus.bus.number, devfn);
	return context;
}

/* A PASID table with an entry of the RID's */
static u64 old_pasid_table(struct kunit *test, u64 root, unsigned int agaw)
{
	struct pasid_dir_entry *dir = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct pasid_entry *entry = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dir);
	KUNIT_ASSERT_NOT_NULL(test, entry);
	dir->val = virt_to_phys(entry) | PASID_PTE_PRESENT;
	pasid_set_domain_id(entry, OLD_DID);
	pasid_set_slptr(entry, root);
	pasid_set_address_width(entry, agaw);
	pasid_set_translation_type(entry, PASID_ENTRY_PGTT_SL_ONLY);
	pasid_set_present(entry);
	return virt_to_phys(dir);
}

/* What was flushed is in the caches again, if it is still in the tables. */
static void dma_goes_on(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	u64 pa;

	vtd_access(unit->priv, IOMMU_NO_PASID, IOVA, &pa);
}

/*
 * DMA of the kernel before goes on by its tables, which the unit has cached, until the
 * function is attached to something. Nothing of them is left then.
 */
static void copied(struct kunit *test, const struct vtd_caps *caps, bool pass_through)
{
	struct iommu_domain *domain = intel_iommu_ops.identity_domain;
	struct vtd_unit *unit = find_unit(test, caps);
	struct vtd_fn *fn = add_fn(test, 0);
	struct context_entry *context = copied_entry(test, unit, fn->pci.pdev.devfn);
	bool sm = caps == &scalable;
	u64 root;

	unit->iommu.flags |= VTD_FLAG_TRANS_PRE_ENABLED;
	KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
	root = old_table(test, fn);
	if (sm) {
		context->lo = old_pasid_table(test, root, unit->iommu.agaw);
		context->hi = 0;
	} else {
		context_set_address_root(context, root);
		context_set_domain_id(context, OLD_DID);
		context_set_address_width(context, unit->iommu.agaw);
	}
	context->lo |= CONTEXT_PRESENT;
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, VTD_PA(IOVA));
	KUNIT_EXPECT_EQ(test, 1, vtd_cached(test->priv, root));
	KUNIT_EXPECT_TRUE(test, intel_iommu_ops.is_attach_deferred(&fn->pci.pdev.dev));

	if (!pass_through)
		domain = vtd_paging(test, fn, 0);
	unit->priv = fn;
	unit->before = dma_goes_on;
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(test->priv, root));
	KUNIT_EXPECT_FALSE(test, context_copied(&unit->iommu, unit->bus.bus.number, 0));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, pass_through ? IOVA : 0);
	expect_complaints(test, 0);
	release_all(unit);
	expect_absent(test, fn, fn->pci.pdev.devfn, 1);
	vtd_exit(test);
}

static void copied_legacy(struct kunit *test)
{
	copied(test, &legacy, false);
	copied(test, &legacy, true);
}

static void copied_scalable(struct kunit *test)
{
	copied(test, &scalable, false);
	copied(test, &scalable, true);
}

/* Whoever releases a function that was never attached leaves the old entry alone. */
static void copied_stays(struct kunit *test)
{
	struct vtd_unit *unit = find_unit(test, &scalable);
	struct vtd_fn *fn = add_fn(test, 0);
	struct context_entry *context = copied_entry(test, unit, fn->pci.pdev.devfn);
	u64 table;

	KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn));
	table = old_pasid_table(test, old_table(test, fn), unit->iommu.agaw);
	context->lo = table | CONTEXT_PRESENT;
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, VTD_PA(IOVA));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			vtd_set_pasid(fn, PASID, vtd_paging(test, fn, 0)));
	vtd_release_fn(fn);
	KUNIT_EXPECT_EQ(test, table | CONTEXT_PRESENT, context->lo);
	clear_context_copied(&unit->iommu, unit->bus.bus.number, fn->pci.pdev.devfn);
	context->lo = 0;
	((struct vtd_machine *)test->priv)->unaudited = true;	/* the test has zapped it */
	release_all(unit);
}

static struct kunit_case context_cases[] = {
	KUNIT_CASE(audit_sees),
	KUNIT_CASE(aliases_legacy),
	KUNIT_CASE(aliases_scalable),
	KUNIT_CASE(aliases_have_no_ats),
	KUNIT_CASE(others_have_no_ats),
	KUNIT_CASE(probe_without_memory),
	KUNIT_CASE(attach_without_memory),
	KUNIT_CASE(absence_is_forgotten_legacy),
	KUNIT_CASE(absence_is_forgotten_scalable),
	KUNIT_CASE(release_legacy),
	KUNIT_CASE(release_scalable),
	KUNIT_CASE(release_waits_legacy),
	KUNIT_CASE(release_waits_scalable),
	KUNIT_CASE(identity),
	KUNIT_CASE(identity_of_pasid),
	KUNIT_CASE(copied_legacy),
	KUNIT_CASE(copied_scalable),
	KUNIT_CASE(copied_stays),
	{}
};

static struct kunit_suite context_suite = {
	.name = "intel_iommu_context",
	.exit = vtd_exit,
	.test_cases = context_cases,
};

kunit_test_suite(context_suite);
