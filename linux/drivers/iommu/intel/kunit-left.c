// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a machine has in its tables, lists and caches
 *
 * After whatever went wrong, or has ended, that is what it was before.
 */
#include <linux/bitmap.h>
#include <linux/iommu-attach.h>
#include <linux/list.h>

#include "kunit-left.h"

#define PASIDS	BIT(PASID_PDE_SHIFT)	/* of one table; tests use the lowest */

static void left_of_tlb(const struct kiommu_tlb *cache, unsigned int *nr)
{
	const struct kiommu_tlb *tlb;

	for (tlb = cache; tlb < cache + KIOMMU_TLB; tlb++)
		*nr += tlb->valid;
}

/* The last domain ID is kept in an entry that is not present any more, and FPD by an exit. */
static bool left_is_odd(const struct pasid_entry *entry)
{
	unsigned int n;

	if (entry->val[0] & ~(u64)PASID_PTE_FPD || entry->val[1] & ~GENMASK_ULL(15, 0))
		return true;
	for (n = 2; n < ARRAY_SIZE(entry->val); n++)
		if (entry->val[n])
			return true;
	return false;
}

static void left_of_entries(struct vtd_fn *fn, struct vtd_left *left)
{
	struct pasid_entry *entry;
	u32 pasid;

	if (!fn->info.dev || !fn->info.pasid_table)
		return;
	for (pasid = 0; pasid < PASIDS; pasid++) {
		entry = vtd_entry(fn, pasid);
		if (entry && pasid_pte_is_present(entry))
			left->present++;
		else if (entry && left_is_odd(entry))
			left->odd++;
	}
}

static void left_of_context(struct vtd_fn *fn, struct vtd_left *left)
{
	u16 sid = pci_dev_id(&fn->pci.pdev);
	struct context_entry *context;

	context = iommu_context_addr(&fn->unit->iommu, PCI_BUS_NUM(sid), sid & 0xff,
				     false);
	left->contexts += context && context_present(context);
}

/**
 * vtd_next_cached_pasid() - PASID entries that a function has in its unit's cache, in turn
 * @fn: the function
 * @pc: the last one, NULL to begin with
 *
 * Those that are cached as not present are left out.
 *
 * Return: the next one, NULL if there is none.
 */
struct vtd_pasid_cache *vtd_next_cached_pasid(struct vtd_fn *fn,
					      const struct vtd_pasid_cache *pc)
{
	struct vtd_pasid_cache *cache = fn->unit->pasid_cache;
	unsigned int n = pc ? pc - cache + 1 : 0;

	for (; n < VTD_ENTRIES; n++)
		if (cache[n].valid && cache[n].sid == pci_dev_id(&fn->pci.pdev) &&
		    pasid_pte_is_present(&cache[n].entry))
			return &cache[n];
	return NULL;
}

/**
 * vtd_pasids_cached() - PASID entries of a function that its unit has cached
 * @fn: the function
 * @pasid: which of them
 *
 * Return: their number, 0 or 1.
 */
unsigned int vtd_pasids_cached(struct vtd_fn *fn, u32 pasid)
{
	const struct vtd_pasid_cache *pc;
	unsigned int nr = 0;

	vtd_for_each_cached_pasid(fn, pc)
		nr += pc->pasid == pasid;
	return nr;
}

static void left_of_fn(struct vtd_fn *fn, struct vtd_left *left)
{
	const struct vtd_pasid_cache *pc;

	left_of_entries(fn, left);
	left_of_context(fn, left);
	left_of_tlb(fn->pci.atc, &left->atc);
	vtd_for_each_cached_pasid(fn, pc)
		left->pasids++;
}

static void left_of_domain(struct dmar_domain *domain, struct vtd_left *left)
{
	left->attached += list_count_nodes(&domain->attachments);
	left->elms += list_count_nodes(&domain->attach.elms);
	if (domain->nested_parent)
		left->nested += list_count_nodes(&domain->nested);
}

/**
 * vtd_left() - count what there is
 * @machine: the machine; nothing is under way
 * @left: gets it
 */
void vtd_left(struct vtd_machine *machine, struct vtd_left *left)
{
	struct intel_iommu *iommu;
	unsigned int n;

	memset(left, 0, sizeof(*left));
	for (n = 0; n < machine->nr_units; n++) {
		iommu = &machine->unit[n].iommu;
		left->dids += bitmap_weight(iommu->domain_ids, cap_ndoms(iommu->cap)) -
			      NUM_RESERVED_DID;
		left_of_tlb(machine->unit[n].iotlb, &left->iotlb);
	}
	for (n = 0; n < machine->nr_fns; n++)
		left_of_fn(machine->fn[n], left);
	for (n = 0; n < machine->nr_domains; n++)
		left_of_domain(to_dmar_domain(machine->domain[n]), left);
}

/* In the order of struct vtd_left */
static const char *const left_names[] = {
	"domain IDs", "context entries", "PASID entries", "odd PASID entries",
	"attachments", "nested attachments", "elements", "cached PASID entries",
	"IOTLB entries", "ATC entries",
};

static_assert(sizeof(struct vtd_left) == ARRAY_SIZE(left_names) * sizeof(unsigned int));

/**
 * vtd_expect_left() - nothing has been added, and nothing is missing
 * @test: the test, after vtd_machine()
 * @expected: what vtd_left() said before
 * @when: after what, for the message
 * @nth: and after which of them
 */
void vtd_expect_left(struct kunit *test, const struct vtd_left *expected,
		     const char *when, unsigned int nth)
{
	const unsigned int *then = (const unsigned int *)expected, *now;
	struct vtd_left left;
	unsigned int n;

	vtd_left(test->priv, &left);
	now = (const unsigned int *)&left;
	for (n = 0; n < ARRAY_SIZE(left_names); n++)
		KUNIT_EXPECT_EQ_MSG(test, then[n], now[n], "%s: %s, %u",
				    left_names[n], when, nth);
}
