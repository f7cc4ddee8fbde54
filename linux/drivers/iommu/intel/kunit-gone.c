// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what is told, and what is left, when functions and processes go
 *
 * A function that was pulled out is asked nothing, by nobody. What one PASID, RID or
 * process gives up, others keep. And the entries that all of it is about say what the
 * specification wants, bit by bit.
 */
#include <kunit/test.h>
#include <linux/kernel_pgtable.h>
#include <linux/mm.h>

#include "kunit-left.h"

#define PASID	5
#define OTHER	6
#define IOVA	0x10000

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid, u64 iova,
			  int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(test, ret, vtd_access(fn, pasid, iova, &pa));
}

static unsigned int atc_entries(struct vtd_fn *fn)
{
	unsigned int n, nr = 0;

	for (n = 0; n < KIOMMU_TLB; n++)
		nr += fn->pci.atc[n].valid;
	return nr;
}

/* Nobody had to wait for hardware to find out that a function does not answer. */
static void expect_no_time_out(struct kunit *test)
{
	struct vtd_machine *machine = test->priv;
	const struct vtd_cmd *cmd;
	struct vtd_unit *unit;

	for (unit = machine->unit; unit < machine->unit + machine->nr_units; unit++)
		for (cmd = unit->log; cmd < vtd_log_end(unit); cmd++)
			KUNIT_EXPECT_EQ(test, VTD_DONE, cmd->result);
}

/* --- functions that are gone --- */

#define FNS	3	/* the last of them behind a unit of its own */

struct gone_case {
	const char *name;
	unsigned int which;	/* bits of functions */
	bool off;		/* without power, not pulled out */
};

static const struct gone_case gone_cases[] = {
	{ "first", BIT(0) },
	{ "second", BIT(1) },
	{ "alone behind its unit", BIT(2) },
	{ "two", BIT(0) | BIT(1) },
	{ "two of two units", BIT(1) | BIT(2) },
	{ "all", GENMASK(2, 0) },
	{ "without power", BIT(1), true },
};

KUNIT_ARRAY_PARAM_DESC(gone, gone_cases, name);

static void gone_init(struct kunit *test)
{
	unsigned int n;

	vtd_machine(test, 2, NULL);
	for (n = 0; n < FNS; n++)
		vtd_add_fn(test, n / 2, KIOMMU_ATS | KIOMMU_PASID);
}

static void gone_remove(struct kunit *test)
{
	const struct gone_case *c = test->param_value;
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < FNS; n++) {
		fn = machine->fn[n];
		if (!(c->which & BIT(n)))
			continue;
		if (c->off) {
			fn->pci.pdev.no_power = true;
			fn->pci.gone = true;
		} else {
			kiommu_remove(&fn->pci);
		}
		fn->pci.asked = 0;
	}
	vtd_clear_log(machine);
}

/* Those that are there have nothing in their ATC; the others were not asked. */
static void expect_not_asked(struct kunit *test)
{
	const struct gone_case *c = test->param_value;
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < FNS; n++) {
		fn = machine->fn[n];
		if (c->which & BIT(n))
			KUNIT_EXPECT_EQ_MSG(test, 0, fn->pci.asked, "function %u", n);
		else
			KUNIT_EXPECT_EQ_MSG(test, 0, atc_entries(fn), "function %u", n);
		memset(fn->pci.atc, 0, sizeof(fn->pci.atc));
	}
	expect_no_time_out(test);
}

/* What is pulled out is released some day, which is not what this is about. */
static void gone_exit(struct kunit *test)
{
	struct vtd_machine *machine = test->priv;
	unsigned int n;

	for (n = 0; n < FNS; n++)
		machine->fn[n]->pci.pdev.no_power = false;
}

static void gone_process_exits(struct kunit *test)
{
	struct vtd_machine *machine;
	struct iommu_domain *domain;
	struct vtd_left left, none;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned int n;

	gone_init(test);
	machine = test->priv;
	mm = kiommu_mm(test);
	domain = vtd_sva(test, machine->fn[0], mm);
	vtd_left(machine, &none);
	for (n = 0; n < FNS; n++)
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(machine->fn[n], PASID, domain));
	vtd_left(machine, &left);
	left.present = 0;
	addr = kiommu_mm_map(test, 1);
	for (n = 0; n < FNS; n++)
		expect_access(test, machine->fn[n], PASID, addr, 0);
	gone_remove(test);
	kiommu_mm_exit(mm);
	expect_not_asked(test);
	vtd_expect_left(test, &left, "after exit", 0);
	for (n = 0; n < FNS; n++)
		vtd_remove_pasid(machine->fn[n], PASID);
	expect_not_asked(test);
	vtd_expect_left(test, &none, "after detach", 0);
	gone_exit(test);
}

/* Both who is gone and who is not are detached, in both orders, by RID and by PASID. */
static void gone_is_detached(struct kunit *test)
{
	struct iommu_domain *second, *first;
	struct vtd_machine *machine;
	unsigned int n, round;
	struct vtd_left none;
	struct vtd_fn *fn;

	gone_init(test);
	machine = test->priv;
	second = vtd_paging(test, machine->fn[0], 0);
	first = vtd_paging(test, machine->fn[0], VTD_FIRST_LEVEL);
	vtd_map(test, second, IOVA, 1);
	vtd_map(test, first, IOVA, 1);
	vtd_left(machine, &none);
	for (round = 0; round < 2; round++) {
		for (n = 0; n < FNS; n++) {
			fn = machine->fn[n];
			fn->pci.gone = false;
			fn->pci.pdev.error_state = pci_channel_io_normal;
			fn->pci.pdev.current_state = PCI_D0;
			KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, second));
			KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, second));
			KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, OTHER, first));
			expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
			expect_access(test, fn, PASID, IOVA, 0);
			expect_access(test, fn, OTHER, IOVA, 0);
		}
		gone_remove(test);
		for (n = 0; n < FNS; n++) {
			fn = machine->fn[round ? FNS - 1 - n : n];
			vtd_remove_pasid(fn, PASID);
			vtd_block(fn);
			vtd_remove_pasid(fn, OTHER);
		}
		expect_not_asked(test);
		vtd_expect_left(test, &none, "after detach", round);
	}
	gone_exit(test);
}

static void gone_identity_is_detached(struct kunit *test)
{
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct vtd_machine *machine;
	struct vtd_left none;
	unsigned int n;
	u64 pa;

	gone_init(test);
	machine = test->priv;
	vtd_left(machine, &none);
	for (n = 0; n < FNS; n++) {
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[n], identity));
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(machine->fn[n], PASID, identity));
		KUNIT_EXPECT_EQ(test, 0, vtd_access(machine->fn[n], PASID, IOVA, &pa));
		KUNIT_EXPECT_EQ(test, IOVA, pa);
	}
	gone_remove(test);
	for (n = 0; n < FNS; n++) {
		vtd_remove_pasid(machine->fn[n], PASID);
		vtd_block(machine->fn[n]);
	}
	expect_not_asked(test);
	vtd_expect_left(test, &none, "after detach", 0);
	gone_exit(test);
}

/* --- tables of the kernel --- */

static void put_page_of_test(void *page)
{
	put_page(page);
}

/* Free a table of the kernel: is it free now? */
static bool table_is_freed(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_page_of_test, page));
	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	return page_count(page) == 1;
}

struct tables {
	struct vtd_machine *machine;
	struct kernel_pgtable_user *user;
	struct mm_struct *mm;
	unsigned long addr;
};

static void tables_unregister(void *arg)
{
	struct tables *t = arg;

	if (t->user)
		kernel_pgtable_unregister(t->user);
	t->user = NULL;
}

/* One process, two functions behind a unit each */
static struct tables *tables_init(struct kunit *test)
{
	struct tables *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct kernel_pgtable_user *user;
	struct iommu_domain *domain;
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->machine = vtd_machine(test, 2, NULL);
	vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	vtd_add_fn(test, 1, KIOMMU_ATS | KIOMMU_PASID);
	t->mm = kiommu_mm(test);
	domain = vtd_sva(test, t->machine->fn[0], t->mm);
	user = kernel_pgtable_register(t->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, user);
	t->user = user;
	vtd_at_exit(test, tables_unregister, t);
	t->addr = kiommu_mm_map(test, 1);
	for (n = 0; n < 2; n++) {
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(t->machine->fn[n], PASID, domain));
		expect_access(test, t->machine->fn[n], PASID, t->addr, 0);
	}
	return t;
}

/* Functions need not be asked, so those that do not answer keep nothing. */
static void tables_do_not_wait_for_functions(struct kunit *test)
{
	struct tables *t = tables_init(test);
	unsigned int n;

	for (n = 0; n < 2; n++) {
		kiommu_mute(&t->machine->fn[0]->pci, true);
		if (n)
			kiommu_remove(&t->machine->fn[1]->pci);
		t->machine->fn[0]->pci.asked = 0;
		t->machine->fn[1]->pci.asked = 0;
		vtd_clear_log(t->machine);
		KUNIT_EXPECT_TRUE(test, table_is_freed(test));
		KUNIT_EXPECT_EQ(test, 0, t->machine->fn[0]->pci.asked);
		KUNIT_EXPECT_EQ(test, 0, t->machine->fn[1]->pci.asked);
		KUNIT_EXPECT_EQ(test, 1, vtd_count(&t->machine->unit[0], QI_EIOTLB_TYPE));
		KUNIT_EXPECT_EQ(test, 1, vtd_count(&t->machine->unit[1], QI_EIOTLB_TYPE));
		KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&t->machine->fn[0]->info.fn));
	}
	/* Now it comes out. */
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(t->addr, PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, iommu_alist_is_live(&t->machine->fn[0]->info.fn));
	KUNIT_EXPECT_TRUE(test, table_is_freed(test));
	tables_unregister(t);
	kiommu_mm_exit(t->mm);
	KUNIT_EXPECT_TRUE(test, table_is_freed(test));
}

/* Either unit may be the one that keeps the page. */
static void each_unit_keeps_tables(struct kunit *test)
{
	struct tables *t = tables_init(test);
	unsigned int n;

	for (n = 0; n < 2; n++) {
		vtd_refuse(&t->machine->unit[n], QI_EIOTLB_TYPE);
		KUNIT_EXPECT_FALSE(test, table_is_freed(test));
		vtd_refuse(&t->machine->unit[n], 0);
		KUNIT_EXPECT_TRUE(test, table_is_freed(test));
		/* Refused once, and then repeated by itself */
		vtd_queue_error(&t->machine->unit[n], 1);
		table_is_freed(test);
		KUNIT_EXPECT_EQ(test, 0, t->machine->unit[n].iqe);
		KUNIT_EXPECT_TRUE(test, table_is_freed(test));
	}
	tables_unregister(t);
	kiommu_mm_exit(t->mm);
}

/* What was kept is kept for ever, unless a test of kernel page tables undoes it. */
static void let_go(struct mm_struct *mm)
{
#if IS_ENABLED(CONFIG_KERNEL_PGTABLE_KUNIT_TEST)
	kernel_pgtable_let_go(mm);
#endif
}

/*
 * The last invalidation of a process fails, when it exits or when it is unbound: nobody
 * repeats it. Its unit may be either.
 */
static void tables_are_kept(struct kunit *test)
{
	unsigned int n;

	if (!IS_ENABLED(CONFIG_KERNEL_PGTABLE_KUNIT_TEST))
		kunit_skip(test, "needs KERNEL_PGTABLE_KUNIT_TEST");
	for (n = 0; n < 4; n++) {
		struct tables *t = tables_init(test);

		KUNIT_EXPECT_TRUE(test, table_is_freed(test));
		vtd_refuse(&t->machine->unit[n % 2], QI_EIOTLB_TYPE);
		if (n < 2) {
			mmgrab(t->mm);
			kiommu_mm_exit(t->mm);
			vtd_refuse(&t->machine->unit[n % 2], 0);
			tables_unregister(t);
		} else {
			vtd_remove_pasid(t->machine->fn[n % 2], PASID);
			vtd_refuse(&t->machine->unit[n % 2], 0);
			vtd_remove_pasid(t->machine->fn[!(n % 2)], PASID);
			tables_unregister(t);
			mmgrab(t->mm);
			kiommu_mm_exit(t->mm);
		}
		KUNIT_EXPECT_FALSE_MSG(test, table_is_freed(test), "%u", n);
		let_go(t->mm);
		KUNIT_EXPECT_TRUE_MSG(test, table_is_freed(test), "%u", n);
		mmdrop(t->mm);
		vtd_exit(test);
	}
}

/* Nothing has failed: then nothing is kept. */
static void tables_are_not_kept(struct kunit *test)
{
	struct tables *t = tables_init(test);

	kiommu_mute(&t->machine->fn[0]->pci, true);
	kiommu_mm_exit(t->mm);
	tables_unregister(t);
	KUNIT_EXPECT_TRUE(test, table_is_freed(test));
}

/* --- domain IDs of which something is cached still --- */

static void did_stays(struct kunit *test, unsigned int flags, u8 type)
{
	struct vtd_machine *machine = vtd_machine(test, 1, NULL);
	struct vtd_fn *fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain, *parent = NULL;
	struct vtd_left none, left;

	if (flags & VTD_PARENT)
		parent = vtd_paging(test, fn, VTD_PARENT);
	domain = parent ? vtd_nested(test, fn, parent) : vtd_paging(test, fn, flags);
	vtd_left(machine, &none);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_block(fn);
	vtd_expect_left(test, &none, "detached", 0);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_refuse(machine->unit, type);
	vtd_block(fn);
	vtd_refuse(machine->unit, 0);
	vtd_left(machine, &left);
	KUNIT_EXPECT_EQ(test, 1, left.dids);
	KUNIT_EXPECT_EQ(test, 0, left.present);
	KUNIT_EXPECT_EQ(test, 0, left.attached);
	/* The domain has it again, and then nobody. */
	vtd_clear_log(machine);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(machine->unit, type));
	KUNIT_EXPECT_EQ(test, NUM_RESERVED_DID,
			pasid_get_domain_id(vtd_entry(fn, IOMMU_NO_PASID)));
	vtd_block(fn);
	vtd_expect_left(test, &none, "detached again", 0);
}

static void did_of_second_level_stays(struct kunit *test)
{
	did_stays(test, 0, QI_IOTLB_TYPE);
}

static void did_of_first_level_stays(struct kunit *test)
{
	did_stays(test, VTD_FIRST_LEVEL, QI_EIOTLB_TYPE);
}

static void did_of_parent_stays(struct kunit *test)
{
	did_stays(test, VTD_PARENT, QI_IOTLB_TYPE);
}

static void did_of_nested_stays(struct kunit *test)
{
	did_stays(test, VTD_PARENT, QI_EIOTLB_TYPE);
}

/* --- what PASID table entries say --- */

#define P	BIT_ULL(0)
#define AW(n)	((u64)(n) << 2)
#define PGTT(n)	((u64)(n) << 6)
#define PWSNP	BIT_ULL(23)
#define FLPM5	BIT_ULL(2)
#define SRE	BIT_ULL(0)
#define WPE	BIT_ULL(4)
#define EAFE	BIT_ULL(7)

static void expect_entry(struct kunit *test, struct vtd_fn *fn, u32 pasid, u64 w0, u64 w1,
			 u64 w2)
{
	const struct pasid_entry expected = { .val = { w0, w1, w2 } };

	KUNIT_EXPECT_MEMEQ(test, &expected, vtd_entry(fn, pasid), sizeof(expected));
}

static u64 phys(struct iommu_domain *domain)
{
	return virt_to_phys(to_dmar_domain(domain)->pgd);
}

/* Of one unit that snoops walks of page tables, and one that does not */
static void entries_say(struct kunit *test)
{
	const struct vtd_caps caps[] = {
		{}, { .ecap = VTD_ECAP & ~(VTD_ECAP_SMPWC | VTD_ECAP_SLADS) },
	};
	struct vtd_machine *machine = vtd_machine(test, 2, caps);
	struct iommu_domain *domain, *parent;
	struct vtd_fn *fn;
	unsigned int n;
	u64 w1;

	for (n = 0; n < 2; n++) {
		fn = vtd_add_fn(test, n, KIOMMU_ATS | KIOMMU_PASID);
		w1 = n ? 0 : PWSNP;
		domain = vtd_paging(test, fn, 0);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
		expect_entry(test, fn, IOMMU_NO_PASID, P | AW(2) | PGTT(2) | phys(domain),
			     2 | w1, 0);
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
		expect_entry(test, fn, PASID, P | AW(2) | PGTT(2) | phys(domain), 2 | w1, 0);

		domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, OTHER, domain));
		expect_entry(test, fn, OTHER, P | AW(2) | PGTT(1), 3 | w1, phys(domain));

		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, 7, intel_iommu_ops.identity_domain));
		expect_entry(test, fn, 7, P | AW(2) | PGTT(4), 1 | w1, 0);

		parent = vtd_paging(test, fn, VTD_PARENT);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, vtd_nested(test, fn, parent)));
		expect_entry(test, fn, IOMMU_NO_PASID, P | AW(2) | PGTT(3) | phys(parent),
			     4 | w1, SZ_1M);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
		expect_entry(test, fn, IOMMU_NO_PASID, P | AW(2) | PGTT(4), 1 | w1, 0);

		/* Nothing stays but the domain ID. */
		vtd_block(fn);
		expect_entry(test, fn, IOMMU_NO_PASID, 0, 1, 0);
		vtd_remove_pasid(fn, PASID);
		expect_entry(test, fn, PASID, 0, 2, 0);
		vtd_remove_pasid(fn, OTHER);
		expect_entry(test, fn, OTHER, 0, 3, 0);
		vtd_remove_pasid(fn, 7);
		expect_entry(test, fn, 7, 0, 1, 0);
	}
	KUNIT_EXPECT_EQ(test, 2, machine->nr_fns);
}

static void expect_context(struct kunit *test, struct vtd_fn *fn, u64 lo, u64 hi)
{
	struct context_entry *context;

	context = iommu_context_addr(&fn->unit->iommu, fn->info.bus, fn->info.devfn, false);
	KUNIT_ASSERT_NOT_NULL(test, context);
	KUNIT_EXPECT_EQ(test, lo, context->lo);
	KUNIT_EXPECT_EQ(test, hi, context->hi);
}

#define TT(type)	((u64)(type) << 2)
#define DID(did)	((u64)(did) << 8)

/* In legacy mode: only who can ask for translations may. */
static void contexts_say(struct kunit *test)
{
	const struct vtd_caps caps = {
		.ecap = VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID),
	};
	struct iommu_domain *domain;
	struct vtd_fn *fn;
	unsigned int n;

	vtd_machine(test, 1, &caps);
	for (n = 0; n < 2; n++) {
		fn = vtd_add_fn(test, 0, n ? KIOMMU_ATS : 0);
		domain = vtd_paging(test, fn, 0);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
		expect_context(test, fn, P | TT(n) | phys(domain), 2 | DID(2));
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
		expect_context(test, fn, P | TT(2), 2 | DID(1));
		vtd_block(fn);
		expect_context(test, fn, 0, 0);
	}
}

/* When the IOTLB is flushed, the function cannot fill it again. */
static void look_in_detach(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct vtd_fn *fn = unit->priv;
	u64 pa;

	if (cmd->type != QI_IOTLB_TYPE)
		return;
	memset(fn->pci.atc, 0, sizeof(fn->pci.atc));
	if (vtd_access(fn, IOMMU_NO_PASID, IOVA, &pa) != -EFAULT)
		kiommu_complain(unit->bus.k, "a function has access while it is detached");
}

static void context_is_cleared_first(struct kunit *test)
{
	const struct vtd_caps caps = {
		.ecap = VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID),
	};
	struct iommu_domain *domain;
	struct vtd_fn *fn;

	vtd_machine(test, 1, &caps);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	domain = vtd_paging(test, fn, 0);
	vtd_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	fn->unit->priv = fn;
	fn->unit->before = look_in_detach;
	vtd_block(fn);
	fn->unit->before = NULL;
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
}

/* A process's, until it exits and afterwards */
static void entry_of_process_says(struct kunit *test)
{
	u64 w2 = cpu_feature_enabled(X86_FEATURE_LA57) ? FLPM5 : 0;
	struct mm_struct *mm;
	struct vtd_fn *fn;

	vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	mm = kiommu_mm(test);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, vtd_sva(test, fn, mm)));
	expect_entry(test, fn, PASID, P | AW(2) | PGTT(1), 1 | PWSNP,
		     w2 | virt_to_phys(mm->pgd));
	kiommu_mm_exit(mm);
	expect_entry(test, fn, PASID, PASID_PTE_FPD, 1, 0);
	vtd_remove_pasid(fn, PASID);
	expect_entry(test, fn, PASID, 0, 1, 0);
}

#define ECAP_SRS	BIT_ULL(31)
#define ECAP_EAFS	BIT_ULL(34)

struct user_case {
	const char *name;
	u64 cap, ecap;	/* of the unit, too, or not */
	u32 width;
	u64 flags;
	u64 w2;		/* with the address of the table */
	int ret;
};

static const struct user_case user_cases[] = {
	{ "4 levels", 0, 0, 4, 0, 0 },
	{ "5 levels", 0, 0, 5, 0, FLPM5 },
	{ "5 levels, not there", BIT_ULL(60), 0, 5, 0, 0, -EINVAL },
	{ "3 levels", 0, 0, 3, 0, 0, -EINVAL },
	{ "6 levels", 0, 0, 6, 0, 0, -EINVAL },
	{ "SRE", 0, ECAP_SRS, 4, IOMMU_VTD_S1_SRE, SRE },
	{ "SRE, not there", 0, 0, 4, IOMMU_VTD_S1_SRE, 0, -EINVAL },
	{ "SRE and WPE", 0, ECAP_SRS, 4, IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE, SRE | WPE },
	{ "WPE means nothing alone", 0, ECAP_SRS, 4, IOMMU_VTD_S1_WPE, 0 },
	{ "EAFE", 0, ECAP_EAFS, 4, IOMMU_VTD_S1_EAFE, EAFE },
	{ "EAFE, not there", 0, ECAP_SRS, 4, IOMMU_VTD_S1_EAFE, 0, -EINVAL },
	{ "all", 0, ECAP_SRS | ECAP_EAFS, 5,
		IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE | IOMMU_VTD_S1_EAFE,
		SRE | WPE | EAFE | FLPM5 },
};

KUNIT_ARRAY_PARAM_DESC(user, user_cases, name);

static void entry_of_user_says(struct kunit *test)
{
	const struct user_case *c = test->param_value;
	const struct vtd_caps caps = { VTD_CAP & ~c->cap, VTD_ECAP | c->ecap };
	const struct iommu_hwpt_vtd_s1 s1 = {
		.pgtbl_addr = SZ_2M,
		.addr_width = c->width == 4 ? ADDR_WIDTH_4LEVEL :
			      c->width == 5 ? ADDR_WIDTH_5LEVEL : c->width * 9 + 12,
		.flags = c->flags,
	};
	struct iommu_domain *parent, *nested;
	struct vtd_left left;
	struct vtd_fn *fn;

	vtd_machine(test, 1, &caps);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	parent = vtd_paging(test, fn, VTD_PARENT);
	nested = vtd_nested_alloc(test, fn, parent, &s1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, nested);
	vtd_left(test->priv, &left);
	KUNIT_EXPECT_EQ(test, c->ret, vtd_attach(fn, nested));
	if (c->ret)
		vtd_expect_left(test, &left, "refused", 0);
	else
		expect_entry(test, fn, IOMMU_NO_PASID, P | AW(2) | PGTT(3) | phys(parent),
			     2 | PWSNP, c->w2 | SZ_2M);
}

/* --- entries that others have --- */

/* An entry that is present is not written over, by no kind of domain. */
static void pasid_is_taken(struct kunit *test)
{
	struct iommu_domain *domains[4], *domain;
	struct vtd_machine *machine;
	struct pasid_entry before;
	unsigned int n, m;
	struct vtd_left left;
	struct mm_struct *mm;
	struct vtd_fn *fn;

	machine = vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	mm = kiommu_mm(test);
	domains[0] = vtd_paging(test, fn, 0);
	domains[1] = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	domains[2] = vtd_sva(test, fn, mm);
	domains[3] = intel_iommu_ops.identity_domain;
	for (n = 0; n < 4; n++) {
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domains[n]));
		before = *vtd_entry(fn, PASID);
		vtd_left(machine, &left);
		for (m = 0; m < 4; m++) {
			domain = domains[m];
			if (m == n && n < 3)
				continue;
			KUNIT_EXPECT_EQ_MSG(test, -EBUSY,
					    domain->ops->set_dev_pasid(domain, &fn->pci.pdev.dev,
								       PASID, NULL),
					    "%u by %u", n, m);
			KUNIT_EXPECT_MEMEQ(test, &before, vtd_entry(fn, PASID), sizeof(before));
			vtd_expect_left(test, &left, "refused", n * 4 + m);
		}
		vtd_remove_pasid(fn, PASID);
	}
	kiommu_mm_exit(mm);
}

/* What one gives up, the others keep, also in the caches. */
static void others_stay(struct kunit *test)
{
	struct iommu_domain *rid, *first, *process, *domain;
	struct vtd_fn *fn, *neighbour;
	struct vtd_machine *machine;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned int n;

	machine = vtd_machine(test, 1, NULL);
	fn = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	neighbour = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	mm = kiommu_mm(test);
	rid = vtd_paging(test, fn, 0);
	first = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	domain = vtd_paging(test, neighbour, 0);
	process = vtd_sva(test, fn, mm);
	addr = kiommu_mm_map(test, 1);
	vtd_map(test, rid, IOVA, 1);
	vtd_map(test, first, IOVA, 1);
	vtd_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(neighbour, PASID, domain));
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, rid));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, first));
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, OTHER, process));
	for (n = 0; n < 3; n++) {
		expect_access(test, neighbour, PASID, IOVA, 0);
		expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
		expect_access(test, fn, PASID, IOVA, 0);
		expect_access(test, fn, OTHER, addr, 0);
		vtd_clear_log(machine);
		if (n == 0)
			vtd_remove_pasid(fn, OTHER);
		else if (n == 1)
			vtd_remove_pasid(fn, PASID);
		else
			vtd_block(fn);
		KUNIT_EXPECT_EQ(test, 1, vtd_count(machine->unit, QI_PC_TYPE));
		KUNIT_EXPECT_EQ(test, n != 2, vtd_pasids_cached(fn, IOMMU_NO_PASID));
		KUNIT_EXPECT_EQ(test, n != 1, vtd_pasids_cached(fn, PASID));
		KUNIT_EXPECT_EQ(test, n != 0, vtd_pasids_cached(fn, OTHER));
		KUNIT_EXPECT_EQ(test, 1, vtd_pasids_cached(neighbour, PASID));
		KUNIT_EXPECT_EQ(test, 1, atc_entries(neighbour));
		/* Without PASID, the command reaches all that the function has. */
		KUNIT_EXPECT_EQ(test, n == 2 ? 0 : 2, atc_entries(fn));
		if (n == 0)
			KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, OTHER, process));
		else if (n == 1)
			KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, first));
	}
	kiommu_mm_exit(mm);
}

static struct kunit_case gone_test_cases[] = {
	KUNIT_CASE_PARAM(gone_process_exits, gone_gen_params),
	KUNIT_CASE_PARAM(gone_is_detached, gone_gen_params),
	KUNIT_CASE_PARAM(gone_identity_is_detached, gone_gen_params),
	KUNIT_CASE(tables_do_not_wait_for_functions),
	KUNIT_CASE(each_unit_keeps_tables),
	KUNIT_CASE(tables_are_kept),
	KUNIT_CASE(tables_are_not_kept),
	KUNIT_CASE(did_of_second_level_stays),
	KUNIT_CASE(did_of_first_level_stays),
	KUNIT_CASE(did_of_parent_stays),
	KUNIT_CASE(did_of_nested_stays),
	KUNIT_CASE(entries_say),
	KUNIT_CASE(contexts_say),
	KUNIT_CASE(context_is_cleared_first),
	KUNIT_CASE(entry_of_process_says),
	KUNIT_CASE_PARAM(entry_of_user_says, user_gen_params),
	KUNIT_CASE(pasid_is_taken),
	KUNIT_CASE(others_stay),
	{}
};

static struct kunit_suite gone_suite = {
	.name = "intel_iommu_gone",
	.exit = vtd_exit,
	.test_cases = gone_test_cases,
};

kunit_test_suite(gone_suite);
