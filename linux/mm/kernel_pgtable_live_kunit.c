// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests that make the kernel free page tables of its own
 *
 * Each test builds tables, and then has them replaced by a huge page or removed
 * with the memory that they map. An mm of the test's own stands for a process
 * with SVA. Real ones can be there as well: write to
 *
 *	/sys/kernel/debug/kunit/kernel_pgtable_live/run
 *
 * while a process is bound to a device, and its IOMMU has to see at least one
 * invalidation of the process's whole PASID per test that is not skipped.
 *
 * The addresses that are mapped are at the top of the physical address space,
 * uncached. Nothing reads or writes them.
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/kernel_pgtable.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include <linux/cpufeature.h>

#define KPL_PROT	pgprot_noncached(PAGE_KERNEL)

/*
 * The mm that stands for a process with SVA. @calls and @held are written by
 * the notifier and read by the test after kernel_pgtable_flush().
 */
struct kpl_mm {
	struct mmu_notifier mn;
	struct mm_struct *mm;
	struct kernel_pgtable_user *user;
	unsigned int calls;	/* invalidations */
	unsigned int held;	/* sum of the pages that were waiting for them */
};

static void kpl_invalidate(struct mmu_notifier *mn, struct mm_struct *mm,
			   unsigned long start, unsigned long end)
{
	struct kpl_mm *kmm = container_of(mn, struct kpl_mm, mn);

	kmm->calls++;
	kmm->held += kernel_pgtable_held();
}

static const struct mmu_notifier_ops kpl_ops = {
	.arch_invalidate_secondary_tlbs = kpl_invalidate,
};

static void kpl_exit(struct kunit *test)
{
	struct kpl_mm *kmm = test->priv;

	if (!kmm)
		return;
	kernel_pgtable_unregister(kmm->user);
	mmu_notifier_unregister(&kmm->mn, kmm->mm);
	mmput(kmm->mm);
}

static int kpl_init(struct kunit *test)
{
	struct kpl_mm *kmm = kunit_kzalloc(test, sizeof(*kmm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, kmm);
	kmm->mn.ops = &kpl_ops;
	kmm->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, kmm->mm);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&kmm->mn, kmm->mm));
	kmm->user = kernel_pgtable_register(kmm->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, kmm->user);
	test->priv = kmm;
	return 0;
}

/* What the test did has freed at least @pages pages of tables, after all. */
static void kpl_expect_freed(struct kunit *test, unsigned int pages)
{
	struct kpl_mm *kmm = test->priv;

	kernel_pgtable_flush();
	KUNIT_EXPECT_GE(test, kmm->calls, 1);
	KUNIT_EXPECT_GE(test, kmm->held, pages);
	kunit_info(test, "%u invalidations for %u or more pages\n",
		   kmm->calls, pages);
}

static phys_addr_t kpl_phys(void)
{
	return 1ULL << (boot_cpu_data.x86_phys_bits - 1);
}

static void kpl_free_area(void *area)
{
	free_vm_area(area);
}

/* Aligned to its size, if that is not beyond 1 GiB */
static unsigned long kpl_area(struct kunit *test, unsigned long size)
{
	struct vm_struct *area = get_vm_area(size, VM_IOREMAP);

	KUNIT_ASSERT_NOT_NULL(test, area);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kpl_free_area, area));
	return (unsigned long)area->addr;
}

static void kpl_map(struct kunit *test, unsigned long va, unsigned long size)
{
	KUNIT_EXPECT_EQ(test, 0,
			vmap_page_range(va, va + size, kpl_phys(), KPL_PROT));
}

/* Map @small at @va, unmap it, which leaves its tables, and map @huge there. */
static void kpl_replace(struct kunit *test, unsigned long va,
			unsigned long small, unsigned long huge)
{
	kpl_map(test, va, small);
	vunmap_range(va, va + small);
	kpl_map(test, va, huge);
}

static pud_t *kpl_pud(unsigned long va)
{
	return pud_offset(p4d_offset(pgd_offset_k(va), va), va);
}

static void huge_pmd_replaces_pte_table(struct kunit *test)
{
	unsigned long va = kpl_area(test, PMD_SIZE);

	if (!boot_cpu_has(X86_FEATURE_PSE))
		kunit_skip(test, "needs 2 MiB pages");

	kpl_replace(test, va, PAGE_SIZE, PMD_SIZE);
	KUNIT_EXPECT_TRUE(test, pmd_leaf(*pmd_offset(kpl_pud(va), va)));
	vunmap_range(va, va + PMD_SIZE);
	kpl_expect_freed(test, 1);
}

static void huge_pud_replaces_pmd_table(struct kunit *test)
{
	unsigned long va = kpl_area(test, PUD_SIZE);

	if (!boot_cpu_has(X86_FEATURE_GBPAGES))
		kunit_skip(test, "needs 1 GiB pages");

	kpl_replace(test, va, PAGE_SIZE, PUD_SIZE);
	KUNIT_EXPECT_TRUE(test, pud_leaf(*kpl_pud(va)));
	vunmap_range(va, va + PUD_SIZE);
	kpl_expect_freed(test, 2);
}

/* More tables than may wait */
static void many_tables_are_replaced(struct kunit *test)
{
	unsigned long n = KERNEL_PGTABLE_MAX_HELD + 128;
	unsigned long va = kpl_area(test, n * PMD_SIZE);
	unsigned long i;

	for (i = 0; i < n; i++)
		kpl_replace(test, va + i * PMD_SIZE, PAGE_SIZE, PMD_SIZE);
	vunmap_range(va, va + n * PMD_SIZE);
	kpl_expect_freed(test, n);
}

#ifdef CONFIG_ZONE_DEVICE
/* Tables of the direct map and of the memmap */
static void memory_is_removed(struct kunit *test)
{
	struct dev_pagemap pgmap = {
		.type = MEMORY_DEVICE_GENERIC,
		.range = {
			.start = kpl_phys(),
			.end = kpl_phys() + SZ_256M - 1,
		},
		.nr_range = 1,
	};
	struct kpl_mm *kmm = test->priv;
	void *addr;

	addr = memremap_pages(&pgmap, NUMA_NO_NODE);
	if (IS_ERR(addr))
		kunit_skip(test, "memory cannot be added: %ld", PTR_ERR(addr));

	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
	memunmap_pages(&pgmap);
	kpl_expect_freed(test, 1);
}
#else
static void memory_is_removed(struct kunit *test)
{
	kunit_skip(test, "needs ZONE_DEVICE");
}
#endif

static struct kunit_case kpl_cases[] = {
	KUNIT_CASE(huge_pmd_replaces_pte_table),
	KUNIT_CASE(huge_pud_replaces_pmd_table),
	KUNIT_CASE(many_tables_are_replaced),
	KUNIT_CASE(memory_is_removed),
	{}
};

static struct kunit_suite kpl_suite = {
	.name = "kernel_pgtable_live",
	.init = kpl_init,
	.exit = kpl_exit,
	.test_cases = kpl_cases,
};

kunit_test_suite(kpl_suite);

MODULE_DESCRIPTION("Tests that free kernel page tables");
MODULE_LICENSE("GPL");
