// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what the VT-d driver leaves behind when something fails
 *
 * Each operation is tried with the first allocation failing, then with the second, until
 * all that it needs succeed; and the same with commands that a unit refuses, and with
 * invalidations that the function does not answer. After each failure everything is as
 * it was before, and after all of them the operation works, and can be undone.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pci-ats.h>
#include <linux/uaccess.h>

#include "kunit-left.h"
#include "../iommu-kunit-nomem.h"

#define PASID	5
#define IOVA	0x10000
#define TRIES	32	/* more than any operation needs */

/* --- operations --- */

enum kind {
	SECOND_LEVEL,
	FIRST_LEVEL,
	NESTED,
	PROCESS,
	IDENTITY,
	LEGACY,
};

/*
 * An attach: of the RID if @pasid is 0; @before of them, of other functions behind the
 * same unit, have the domain already.
 */
struct errors_case {
	const char *name;
	enum kind kind;
	u32 pasid;
	unsigned int before;
	bool has_rid;	/* a PASID is attached while the RID is, and ATS is on */
	bool caching;	/* the unit caches what is not present */
};

static const struct errors_case errors_cases[] = {
	{ "second level", SECOND_LEVEL },
	{ "second level, joins", SECOND_LEVEL, .before = 1 },
	{ "second level, joins 2", SECOND_LEVEL, .before = 2 },
	{ "second level, caching mode", SECOND_LEVEL, .caching = true },
	{ "second level, joins, caching mode", SECOND_LEVEL, .before = 1, .caching = true },
	{ "second level, PASID", SECOND_LEVEL, .pasid = PASID },
	{ "second level, PASID beside RID", SECOND_LEVEL, .pasid = PASID, .has_rid = true },
	{ "second level, PASID joins", SECOND_LEVEL, .pasid = PASID, .before = 1 },
	{ "first level", FIRST_LEVEL },
	{ "first level, joins", FIRST_LEVEL, .before = 1 },
	{ "first level, PASID", FIRST_LEVEL, .pasid = PASID },
	{ "first level, PASID beside RID", FIRST_LEVEL, .pasid = PASID, .has_rid = true },
	{ "first level, PASID joins, caching mode", FIRST_LEVEL, .pasid = PASID, .before = 1,
		.caching = true },
	{ "nested", NESTED },
	{ "nested, joins", NESTED, .before = 1 },
	{ "nested, joins 2, caching mode", NESTED, .before = 2, .caching = true },
	{ "process", PROCESS, .pasid = PASID },
	{ "process, beside RID", PROCESS, .pasid = PASID, .has_rid = true },
	{ "process, joins", PROCESS, .pasid = PASID, .before = 1 },
	{ "identity", IDENTITY },
	{ "identity, PASID", IDENTITY, .pasid = PASID },
	{ "identity, PASID beside RID", IDENTITY, .pasid = PASID, .has_rid = true },
	{ "legacy", LEGACY },
	{ "legacy, joins", LEGACY, .before = 1 },
};

KUNIT_ARRAY_PARAM_DESC(errors, errors_cases, name);

static const struct errors_case exit_cases[] = {
	{ "alone", PROCESS, .pasid = PASID },
	{ "beside RID", PROCESS, .pasid = PASID, .has_rid = true },
	{ "of 2", PROCESS, .pasid = PASID, .before = 1 },
	{ "of 3", PROCESS, .pasid = PASID, .before = 2 },
};

KUNIT_ARRAY_PARAM_DESC(exits, exit_cases, name);

struct errors {
	const struct errors_case *c;
	struct kunit *test;
	struct vtd_machine *machine;
	struct vtd_unit *unit;
	struct vtd_fn *fn;
	struct iommu_domain *domain;	/* to be attached */
	struct iommu_domain *parent;
	struct mm_struct *mm;
	unsigned long addr;		/* of two pages of @mm, or in the page table */
	struct vtd_left none;		/* before anybody had @domain */
	struct vtd_left left;		/* before @fn had it */
};

static int errors_attach_fn(struct errors *e, struct vtd_fn *fn)
{
	return e->c->pasid ? vtd_set_pasid(fn, e->c->pasid, e->domain) :
			     vtd_attach(fn, e->domain);
}

static void errors_detach_fn(struct errors *e, struct vtd_fn *fn)
{
	if (e->c->pasid)
		vtd_remove_pasid(fn, e->c->pasid);
	else
		vtd_block(fn);
}

static struct iommu_domain *errors_domain(struct errors *e, struct vtd_fn *fn)
{
	struct kunit *test = e->test;

	switch (e->c->kind) {
	case FIRST_LEVEL:
		return vtd_paging(test, fn, VTD_FIRST_LEVEL);
	case NESTED:
		e->parent = vtd_paging(test, fn, VTD_PARENT);
		return vtd_nested(test, fn, e->parent);
	case PROCESS:
		e->mm = kiommu_mm(test);
		return vtd_sva(test, fn, e->mm);
	case IDENTITY:
		return intel_iommu_ops.identity_domain;
	default:
		return vtd_paging(test, fn, 0);
	}
}

/* The mock does not model translations of the other kinds. */
static bool errors_translates(struct errors *e)
{
	return e->c->kind != NESTED && e->c->kind != IDENTITY;
}

/* The others use the domain: all that can be cached of theirs is, in IOTLB and ATC. */
static void errors_warm_up(struct errors *e)
{
	struct vtd_fn *fn;
	unsigned int n;
	u64 pa;

	for (n = 0; n < e->c->before; n++) {
		fn = e->machine->fn[n];
		memset(fn->pci.atc, 0, sizeof(fn->pci.atc));
		vtd_access(fn, e->c->pasid, e->addr, &pa);
		vtd_access(fn, e->c->pasid, e->addr + PAGE_SIZE, &pa);
	}
}

static void errors_init(struct errors *e, struct kunit *test)
{
	struct vtd_caps caps = {
		.cap = VTD_CAP,
		.ecap = VTD_ECAP,
	};
	struct vtd_fn *fn;
	unsigned int n;

	memset(e, 0, sizeof(*e));
	e->c = test->param_value;
	e->test = test;
	if (e->c->kind == LEGACY)
		caps.ecap &= ~(VTD_ECAP_SMTS | VTD_ECAP_PASID);
	if (e->c->caching)
		caps.cap |= VTD_CAP_CM;
	e->machine = vtd_machine(test, 1, &caps);
	e->unit = e->machine->unit;
	for (n = 0; n < e->c->before; n++)
		vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	e->fn = fn;
	e->domain = errors_domain(e, fn);
	if (e->c->has_rid)
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, vtd_paging(test, fn, 0)));
	e->addr = IOVA;
	if (e->mm)
		e->addr = kiommu_mm_map(test, 2);
	else if (errors_translates(e))
		vtd_map(test, e->domain, IOVA, 2);
	vtd_left(e->machine, &e->none);
	for (n = 0; n < e->c->before; n++)
		KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(e, e->machine->fn[n]));
	errors_warm_up(e);
	vtd_left(e->machine, &e->left);
}

static void errors_exit(struct errors *e)
{
	if (e->mm)
		kiommu_mm_exit(e->mm);
}

static void errors_expect_access(struct errors *e, unsigned long addr, int ret,
				 const char *when, unsigned int nth)
{
	u64 pa;

	KUNIT_EXPECT_EQ_MSG(e->test, ret, vtd_access(e->fn, e->c->pasid, addr, &pa),
			    "%s, %u", when, nth);
	/* Where the memory of a process is, is the kernel's choice. */
	if (!ret && e->c->kind != PROCESS)
		KUNIT_EXPECT_EQ_MSG(e->test, e->c->kind == IDENTITY ? addr : VTD_PA(addr),
				    pa, "%s, %u", when, nth);
}

/* There is nothing of the attach, or it is undone. */
static void errors_expect_nothing(struct errors *e, const char *when,
				  unsigned int nth)
{
	errors_expect_access(e, e->addr, -EFAULT, when, nth);
	errors_warm_up(e);
	vtd_expect_left(e->test, &e->left, when, nth);
	KUNIT_EXPECT_EQ_MSG(e->test, e->c->has_rid, !!e->fn->info.domain,
			    "%s, %u", when, nth);
	KUNIT_EXPECT_EQ_MSG(e->test, e->c->has_rid, !!e->fn->info.domain_attached,
			    "%s, %u", when, nth);
}

static void errors_unmap(struct errors *e)
{
	if (e->mm)
		KUNIT_EXPECT_EQ(e->test, 0, vm_munmap(e->addr, PAGE_SIZE));
	else
		vtd_unmap(e->domain, e->addr, 1);
}

static void errors_map_again(struct errors *e)
{
	if (!e->mm) {
		vtd_map(e->test, e->domain, e->addr, 1);
		vtd_sync_map(e->domain, e->addr, 1);
		return;
	}
	KUNIT_EXPECT_EQ(e->test, e->addr,
			vm_mmap(NULL, e->addr, PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0));
	KUNIT_EXPECT_EQ(e->test, 0, put_user(1, (unsigned int __user *)e->addr));
}

/* The attach is there, and what is unmapped is forgotten. The second page stays. */
static void errors_expect_works(struct errors *e, const char *when, unsigned int nth)
{
	if (!errors_translates(e)) {
		errors_expect_access(e, e->addr, e->c->kind == NESTED ? -EOPNOTSUPP : 0,
				     when, nth);
		KUNIT_EXPECT_NE(e->test, 0, vtd_pasids_cached(e->fn, e->c->pasid));
		return;
	}
	errors_expect_access(e, e->addr, 0, when, nth);
	errors_expect_access(e, e->addr + PAGE_SIZE, 0, when, nth);
	errors_unmap(e);
	errors_expect_access(e, e->addr, -EFAULT, when, nth);
	errors_map_again(e);
	errors_expect_access(e, e->addr, 0, when, nth);
	errors_warm_up(e);
}

/*
 * If ATS could not be told to anyone, it stays off, for good: that is no error. For the next
 * try the function is as if it had not happened.
 */
static bool errors_lost_ats(struct errors *e)
{
	bool lost = e->fn->info.ats_refused;

	KUNIT_EXPECT_TRUE(e->test, !lost || !kiommu_ats(&e->fn->pci));
	e->fn->info.ats_refused = 0;
	return lost;
}

/* From the first attach to the release: give it away, for the next try to have it. */
static void errors_ats_off(struct errors *e)
{
	struct device_domain_info *info = &e->fn->info;

	if (e->c->has_rid || !info->ats_enabled)
		return;
	pci_disable_ats(&e->fn->pci.pdev);
	info->ats_enabled = 0;
	e->fn->pci.ats_off = 0;
}

static void errors_detach(struct errors *e, const char *when, unsigned int nth)
{
	errors_detach_fn(e, e->fn);
	errors_expect_nothing(e, when, nth);
	errors_ats_off(e);
}

/* --- attach --- */

static void attach_without_memory(struct kunit *test)
{
	unsigned int n, failed = 0;
	struct errors e;
	bool hit;
	int ret;

	nomem_start(test, NOMEM_SLAB | NOMEM_PAGE);
	errors_init(&e, test);
	for (n = 1; n < TRIES; n++) {
		nomem_nth(n);
		ret = errors_attach_fn(&e, e.fn);
		hit = nomem_nth(0);
		if (!hit)
			break;
		failed++;
		if (!ret) {
			/* In legacy mode the next attach may have it. */
			KUNIT_EXPECT_TRUE(test, errors_lost_ats(&e) ||
					  (e.c->kind == LEGACY && !kiommu_ats(&e.fn->pci)));
			errors_expect_works(&e, "without ATS", n);
			errors_detach(&e, "without ATS", n);
			continue;
		}
		/* Where there is no PASID table the driver sees no PASID. */
		KUNIT_EXPECT_EQ(test, nomem_failed() == NOMEM_PAGE && e.c->kind != LEGACY ?
				-ENODEV : -ENOMEM, ret);
		KUNIT_EXPECT_FALSE(test, errors_lost_ats(&e));
		errors_expect_nothing(&e, "without memory", n);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_LT(test, n, TRIES);
	/* Its table is there already, and there is nothing else. */
	KUNIT_EXPECT_TRUE(test, failed || (e.c->kind == IDENTITY && e.c->has_rid));
	errors_expect_works(&e, "in the end", n);
	errors_detach(&e, "in the end", n);
	errors_exit(&e);
}

/* A function whose ATC cannot be told is fenced, until it is reset. */
static void errors_bring_back(struct errors *e)
{
	struct device *dev = &e->fn->pci.pdev.dev;

	if (iommu_alist_is_live(&e->fn->info.fn))
		return;
	KUNIT_EXPECT_EQ(e->test, 0, intel_iommu_ops.reset_prepare(dev));
	kiommu_reset(&e->fn->pci);
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_TRUE(e->test, iommu_alist_is_live(&e->fn->info.fn));
}

/* Commands that the unit refuses. An attach that succeeds nevertheless works. */
static void attach_refused(struct errors *e)
{
	struct kunit *test = e->test;
	unsigned int n;
	bool hit;
	int ret;

	for (n = 1; n < TRIES; n++) {
		vtd_queue_error(e->unit, n);
		ret = errors_attach_fn(e, e->fn);
		hit = !e->unit->iqe;
		vtd_queue_error(e->unit, 0);
		if (ret) {
			KUNIT_EXPECT_EQ_MSG(test, -EINVAL, ret, "refused, %u", n);
			KUNIT_EXPECT_TRUE(test, hit);
			KUNIT_EXPECT_FALSE(test, errors_lost_ats(e));
			errors_expect_nothing(e, "refused", n);
			continue;
		}
		KUNIT_EXPECT_TRUE(test, !errors_lost_ats(e) || hit);
		KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&e->fn->info.fn) || hit);
		if (iommu_alist_is_live(&e->fn->info.fn))
			errors_expect_works(e, "refused", n);
		errors_detach_fn(e, e->fn);
		errors_expect_nothing(e, "refused", n);
		errors_bring_back(e);
		errors_ats_off(e);
		if (!hit)
			break;
	}
	KUNIT_EXPECT_LT(test, n, TRIES);
}

/* It goes on with the first entry, but for a PASID that is not translated. */
static bool errors_uses_ats(struct errors *e)
{
	return e->c->has_rid || e->c->kind != IDENTITY || !e->c->pasid;
}

/* Invalidations that the function does not answer the first time: they are repeated. */
static void attach_unanswered(struct errors *e)
{
	struct kunit *test = e->test;
	unsigned int n;
	bool hit;

	for (n = 1; n < TRIES; n++) {
		kiommu_drop(&e->fn->pci, n);
		KUNIT_EXPECT_EQ(test, 0, errors_attach_fn(e, e->fn));
		hit = !e->fn->pci.drop;
		kiommu_drop(&e->fn->pci, 0);
		KUNIT_EXPECT_EQ(test, errors_uses_ats(e), kiommu_ats(&e->fn->pci));
		errors_expect_works(e, "unanswered", n);
		errors_detach(e, "unanswered", n);
		if (!hit)
			break;
	}
	KUNIT_EXPECT_LT(test, n, TRIES);
	KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&e->fn->info.fn));
}

static bool errors_needs_did(struct errors *e)
{
	return e->c->kind != PROCESS && e->c->kind != IDENTITY && !e->c->before;
}

/* No domain ID is left; then one, which is the last. */
static void attach_without_did(struct errors *e)
{
	struct kunit *test = e->test;
	struct intel_iommu *iommu;
	struct vtd_left before;
	bool needs;
	u32 did;

	iommu = &e->unit->iommu;
	needs = errors_needs_did(e);
	before = e->left;
	while (!iommu_get_did(iommu, &did))
		e->left.dids++;
	KUNIT_EXPECT_EQ(test, cap_ndoms(iommu->cap), did);
	KUNIT_EXPECT_EQ(test, cap_ndoms(iommu->cap) - NUM_RESERVED_DID, e->left.dids);
	KUNIT_EXPECT_EQ(test, needs ? -ENOSPC : 0, errors_attach_fn(e, e->fn));
	if (!needs)
		errors_detach_fn(e, e->fn);
	errors_expect_nothing(e, "without a domain ID", 0);

	did = cap_ndoms(iommu->cap) - 1;
	iommu_put_did(iommu, did);
	e->left.dids--;
	KUNIT_EXPECT_EQ(test, 0, errors_attach_fn(e, e->fn));
	KUNIT_EXPECT_EQ(test, needs, test_bit(did, iommu->domain_ids));
	errors_expect_works(e, "with the last one", 0);
	errors_detach(e, "with the last one", 0);

	for (did = NUM_RESERVED_DID + before.dids; did < cap_ndoms(iommu->cap) - 1; did++)
		iommu_put_did(iommu, did);
	e->left = before;
	errors_expect_nothing(e, "in the end", 0);
}

static void attach_fails(struct kunit *test)
{
	struct errors e;

	errors_init(&e, test);
	attach_refused(&e);
	attach_unanswered(&e);
	attach_without_did(&e);
	errors_exit(&e);
}

/* --- detach, exit --- */

/* Whatever is not answered at first, nothing is cached when the detach is over. */
static void detach_unanswered(struct errors *e)
{
	struct kunit *test = e->test;
	unsigned int n;
	bool hit;

	for (n = 1; n < TRIES; n++) {
		KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(e, e->fn));
		errors_expect_works(e, "before", n);
		kiommu_drop(&e->fn->pci, n);
		errors_detach_fn(e, e->fn);
		hit = !e->fn->pci.drop;
		kiommu_drop(&e->fn->pci, 0);
		errors_expect_nothing(e, "unanswered", n);
		errors_ats_off(e);
		if (!hit)
			break;
	}
	KUNIT_EXPECT_EQ(test, errors_uses_ats(e), n > 1);
	KUNIT_EXPECT_LT(test, n, TRIES);
}

/* Others go, in this order or the other: the domain ID stays as long as somebody has it. */
static void detach_others(struct errors *e, bool reverse)
{
	struct kunit *test = e->test;
	struct vtd_left before, left;
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < e->c->before; n++) {
		fn = e->machine->fn[reverse ? e->c->before - 1 - n : n];
		vtd_left(e->machine, &before);
		errors_detach_fn(e, fn);
		vtd_left(e->machine, &left);
		KUNIT_EXPECT_EQ(test, before.attached - 1, left.attached);
		KUNIT_EXPECT_EQ(test, before.dids, left.dids);
		KUNIT_EXPECT_EQ(test, 0, vtd_pasids_cached(fn, e->c->pasid));
		errors_expect_works(e, "another one is gone", n);
	}
}

static void detach_one_by_one(struct errors *e)
{
	struct kunit *test = e->test;
	unsigned int n, round;

	for (round = 0; round < 2; round++) {
		KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(e, e->fn));
		errors_expect_works(e, "before", round);
		detach_others(e, round);
		errors_detach_fn(e, e->fn);
		vtd_expect_left(test, &e->none, "all are gone", round);
		for (n = 0; n < e->c->before; n++)
			KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(e, e->machine->fn[n]));
	}
}

static void detach(struct kunit *test)
{
	struct errors e;

	errors_init(&e, test);
	detach_unanswered(&e);
	detach_one_by_one(&e);
	errors_exit(&e);
}

/* Nobody is told, and the PCI core brings PASIDs back. */
static void reset_without_ats(struct errors *e)
{
	struct device *dev = &e->fn->pci.pdev.dev;
	struct kunit *test = e->test;

	KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(e, e->fn));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&e->fn->pci));
	vtd_clear_log(e->machine);
	KUNIT_EXPECT_EQ(test, 0, intel_iommu_ops.reset_prepare(dev));
	kiommu_reset(&e->fn->pci);
	errors_expect_access(e, e->addr, -EFAULT, "in reset", 0);
	e->fn->pci.no_pasids = false;
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_EQ(test, 0, e->unit->nr_logged);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&e->fn->pci));
	errors_expect_works(e, "after reset", 0);
	errors_detach(e, "after reset", 0);
}

/* A reset, after which the function does not answer at first */
static void reset_unanswered(struct kunit *test)
{
	struct device *dev;
	struct errors e;
	unsigned int n;
	bool hit;

	errors_init(&e, test);
	if (!errors_uses_ats(&e)) {
		reset_without_ats(&e);
		return;
	}
	dev = &e.fn->pci.pdev.dev;
	for (n = 1; n < TRIES; n++) {
		KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(&e, e.fn));
		errors_expect_works(&e, "before", n);
		KUNIT_EXPECT_EQ(test, 0, intel_iommu_ops.reset_prepare(dev));
		kiommu_reset(&e.fn->pci);
		kiommu_drop(&e.fn->pci, n);
		intel_iommu_ops.reset_done(dev);
		hit = !e.fn->pci.drop;
		kiommu_drop(&e.fn->pci, 0);
		KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&e.fn->info.fn));
		KUNIT_EXPECT_TRUE(test, kiommu_ats(&e.fn->pci));
		errors_expect_works(&e, "after reset", n);
		errors_detach_fn(&e, e.fn);
		errors_expect_nothing(&e, "after reset", n);
		errors_ats_off(&e);
		if (!hit)
			break;
	}
	KUNIT_EXPECT_GT(test, n, 1);
	KUNIT_EXPECT_LT(test, n, TRIES);
	errors_exit(&e);
}

static void expect_fault_disabled(struct errors *e, bool disabled)
{
	unsigned int n;

	for (n = 0; n < e->machine->nr_fns; n++)
		KUNIT_EXPECT_EQ(e->test, disabled,
				pasid_pte_is_fault_disabled(vtd_entry(e->machine->fn[n],
								      PASID)));
}

/* When caches are flushed, no function can fill them again. */
static void look_in_exit(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct errors *e = unit->priv;
	unsigned int n;
	u64 pa;

	if (cmd->type != QI_EIOTLB_TYPE)
		return;
	for (n = 0; n < e->machine->nr_fns; n++) {
		memset(e->machine->fn[n]->pci.atc, 0, sizeof(e->machine->fn[n]->pci.atc));
		if (!vtd_access(e->machine->fn[n], PASID, e->addr, &pa))
			kiommu_complain(&e->machine->k, "function %u has access", n);
	}
}

/* A process exits while it is attached: entries block, and say that faults are its own. */
static void exit_unanswered(struct kunit *test)
{
	struct vtd_left left;
	struct errors e;
	unsigned int n;

	errors_init(&e, test);
	KUNIT_ASSERT_EQ(test, 0, errors_attach_fn(&e, e.fn));
	errors_expect_works(&e, "before", 0);
	vtd_left(e.machine, &left);
	left.present -= e.c->before + 1;
	left.pasids -= e.c->before + 1;
	left.iotlb = 0;
	left.atc = 0;
	kiommu_drop(&e.fn->pci, 1);
	e.unit->priv = &e;
	e.unit->before = look_in_exit;
	kiommu_mm_exit(e.mm);
	e.unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 0, e.fn->pci.drop);
	errors_expect_access(&e, e.addr, -EFAULT, "after exit", 0);
	vtd_expect_left(test, &left, "after exit", 0);
	expect_fault_disabled(&e, true);

	errors_detach_fn(&e, e.fn);
	for (n = 0; n < e.c->before; n++)
		errors_detach_fn(&e, e.machine->fn[n]);
	vtd_expect_left(test, &e.none, "after detach", 0);
	expect_fault_disabled(&e, false);
}

/* --- domains and page tables --- */

struct allocs {
	struct kunit *test;
	struct vtd_fn *fn;
	struct iommu_domain *parent;
	struct iommu_user_data data;
	struct mm_struct *mm;
};

static struct iommu_domain *alloc_domain(struct allocs *a, unsigned int what)
{
	struct device *dev = &a->fn->pci.pdev.dev;

	switch (what) {
	case 0:
		return intel_iommu_ops.domain_alloc(IOMMU_DOMAIN_UNMANAGED);
	case 1:
		return intel_iommu_ops.domain_alloc_user(dev, IOMMU_HWPT_ALLOC_NEST_PARENT |
							 IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
							 NULL, NULL);
	case 2:
		return intel_iommu_ops.domain_alloc_user(dev, 0, a->parent, &a->data);
	default:
		return intel_iommu_ops.domain_alloc_sva(dev, a->mm);
	}
}

static void free_domain(struct iommu_domain *domain, unsigned int what)
{
	if (what == 0) {
		domain->type = IOMMU_DOMAIN_UNMANAGED;
		domain->ops = intel_iommu_ops.default_domain_ops;
	}
	domain->ops->free(domain);
}

static void expect_alloc(struct allocs *a, unsigned int what)
{
	int users = atomic_read(&a->mm->mm_count);
	struct iommu_domain *domain;
	unsigned int n;
	bool hit;

	for (n = 1; n < TRIES; n++) {
		nomem_nth(n);
		domain = alloc_domain(a, what);
		hit = nomem_nth(0);
		if (!hit)
			break;
		KUNIT_ASSERT_TRUE(a->test, IS_ERR_OR_NULL(domain));
		if (what)
			KUNIT_EXPECT_EQ(a->test, -ENOMEM, PTR_ERR(domain));
		KUNIT_EXPECT_EQ(a->test, users, atomic_read(&a->mm->mm_count));
	}
	KUNIT_EXPECT_GT_MSG(a->test, n, 1, "%u", what);
	KUNIT_ASSERT_FALSE(a->test, IS_ERR_OR_NULL(domain));
	free_domain(domain, what);
}

static void alloc_without_memory(struct kunit *test)
{
	const struct iommu_hwpt_vtd_s1 s1 = {
		.pgtbl_addr = SZ_1M,
		.addr_width = ADDR_WIDTH_4LEVEL,
	};
	struct allocs a = { .test = test };
	struct vtd_left left;
	unsigned int n;

	nomem_start(test, NOMEM_SLAB | NOMEM_PAGE);
	vtd_machine(test, 1, NULL);
	a.fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	a.parent = vtd_paging(test, a.fn, VTD_PARENT);
	a.mm = kiommu_mm(test);
	a.data.type = IOMMU_HWPT_DATA_VTD_S1;
	a.data.uptr = (void __user *)kiommu_mm_map(test, 1);
	a.data.len = sizeof(s1);
	KUNIT_ASSERT_EQ(test, 0, copy_to_user(a.data.uptr, &s1, sizeof(s1)));
	vtd_left(test->priv, &left);
	for (n = 0; n < 4; n++)
		expect_alloc(&a, n);
	vtd_expect_left(test, &left, "allocated and freed", 0);
	kiommu_mm_exit(a.mm);
}

static unsigned int pages_mapped(struct iommu_domain *domain, u64 iova, unsigned int pages)
{
	unsigned int n, nr = 0;

	for (n = 0; n < pages; n++)
		nr += !!domain->ops->iova_to_phys(domain, iova + n * SZ_4K);
	return nr;
}

/* Over the end of one table, and over that of the table above */
static void map_without_memory(struct kunit *test)
{
	const u64 iova = SZ_1G - 8 * SZ_4K;
	struct iommu_domain *domain;
	unsigned int n, done = 0;
	size_t mapped;
	bool hit;
	int ret;

	nomem_start(test, NOMEM_SLAB | NOMEM_PAGE);
	vtd_machine(test, 1, NULL);
	domain = vtd_paging(test, vtd_add_fn(test, 0, 0), 0);
	for (n = 1; n < TRIES; n++) {
		mapped = 0;
		nomem_nth(n);
		ret = domain->ops->map_pages(domain, iova, VTD_PA(iova), SZ_4K, 16,
					     IOMMU_READ | IOMMU_WRITE, GFP_KERNEL, &mapped);
		hit = nomem_nth(0);
		KUNIT_EXPECT_EQ(test, mapped / SZ_4K, pages_mapped(domain, iova, 16));
		KUNIT_EXPECT_EQ(test, mapped / SZ_4K,
				pages_mapped(domain, iova, mapped / SZ_4K));
		done += ret && mapped;
		if (mapped)
			vtd_unmap(domain, iova, mapped / SZ_4K);
		KUNIT_EXPECT_EQ(test, 0, pages_mapped(domain, iova, 16));
		if (!hit)
			break;
		KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		/* The tables that are there would be used by the next try. */
		domain = vtd_paging(test, ((struct vtd_machine *)test->priv)->fn[0], 0);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 16 * SZ_4K, mapped);
	KUNIT_EXPECT_GT(test, n, 4);
	KUNIT_EXPECT_GT(test, done, 1);
}

/*
 * Whoever has failed to map a range maps it again, to something else. What is left of the
 * first time would be in the way, about which the driver warns.
 */
static void map_again(struct kunit *test)
{
	const u64 iova = SZ_1G - 8 * SZ_4K, size = 16 * SZ_4K;
	struct iommu_domain *domain;
	unsigned int n, p;
	struct vtd_fn *fn;
	int ret;

	nomem_start(test, NOMEM_PAGE);
	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, 0);
	for (n = 1, ret = -ENOMEM; n < TRIES && ret; n++) {
		domain = vtd_paging(test, fn, 0);
		nomem_nth(n);
		/* Not as large pages would be aligned: all of it is one call of the driver. */
		ret = iommu_map(domain, iova, VTD_PA(iova) + SZ_4K, size, IOMMU_READ,
				GFP_KERNEL);
		if (!nomem_nth(0))
			break;
		KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		KUNIT_EXPECT_EQ(test, 0, pages_mapped(domain, iova, 16));
		KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, iova, SZ_2G, size, IOMMU_READ,
						   GFP_KERNEL));
		for (p = 0; p < 16; p++)
			KUNIT_EXPECT_EQ(test, SZ_2G + p * SZ_4K,
					iommu_iova_to_phys(domain, iova + p * SZ_4K));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 4);
}

static struct kunit_case errors_test_cases[] = {
	KUNIT_CASE_PARAM(attach_without_memory, errors_gen_params),
	KUNIT_CASE_PARAM(attach_fails, errors_gen_params),
	KUNIT_CASE_PARAM(detach, errors_gen_params),
	KUNIT_CASE_PARAM(reset_unanswered, errors_gen_params),
	KUNIT_CASE_PARAM(exit_unanswered, exits_gen_params),
	KUNIT_CASE(alloc_without_memory),
	KUNIT_CASE(map_without_memory),
	KUNIT_CASE(map_again),
	{}
};

static struct kunit_suite errors_suite = {
	.name = "intel_iommu_errors",
	.exit = vtd_exit,
	.test_cases = errors_test_cases,
};

kunit_test_suite(errors_suite);
