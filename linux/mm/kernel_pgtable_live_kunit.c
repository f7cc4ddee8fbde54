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
#include <linux/device.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kasan.h>
#include <linux/kernel_pgtable.h>
#include <linux/kprobes.h>
#include <linux/memory.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/set_memory.h>
#include <linux/vmalloc.h>
#include <linux/cpufeature.h>

#define KPL_PROT	pgprot_noncached(PAGE_KERNEL)
#define KPL_FOREVER	(24 * 3600 * HZ)
#define KPL_PAGES	65536

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
	unsigned int bypassed;	/* pages that had not waited, before the test */
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
	kmm->bypassed = kernel_pgtable_bypassed();
	test->priv = kmm;
	return 0;
}

/* What the test did has freed at least @pages pages of tables, all by the queue. */
static void kpl_expect_freed(struct kunit *test, unsigned int pages)
{
	struct kpl_mm *kmm = test->priv;

	kernel_pgtable_flush();
	KUNIT_EXPECT_GE(test, kmm->calls, 1);
	KUNIT_EXPECT_GE(test, kmm->held, pages);
	KUNIT_EXPECT_EQ(test, kmm->bypassed, kernel_pgtable_bypassed());
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

#ifdef CONFIG_DEBUG_KERNEL_PGTABLE
/* A check that does not know tables finds nothing. */
static void tables_are_marked(struct kunit *test)
{
	unsigned long va = kpl_area(test, PUD_SIZE);
	struct page *page;
	pmd_t *pmd;

	kpl_map(test, va, PAGE_SIZE);
	pmd = pmd_offset(kpl_pud(va), va);
	KUNIT_ASSERT_FALSE(test, pmd_leaf(*pmd));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(pmd_page(*pmd)));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(virt_to_page(pmd)));
	vunmap_range(va, va + PAGE_SIZE);
	kpl_map(test, va, PMD_SIZE);
	vunmap_range(va, va + PMD_SIZE);
	kpl_expect_freed(test, 1);

	/* A page that is no table has no mark. */
	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_marked(page));
	__free_page(page);
}
#else
static void tables_are_marked(struct kunit *test)
{
	kunit_skip(test, "needs DEBUG_KERNEL_PGTABLE");
}
#endif

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

/* The tables that lead to an address, the last level first */
enum kpl_level {
	KPL_PTE,
	KPL_PMD,
	KPL_PUD,
	KPL_LEVELS,
};

/* %NULL where there is none */
static void kpl_walk(unsigned long va, struct page *table[KPL_LEVELS])
{
	pgd_t *pgd = pgd_offset_k(va);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	memset(table, 0, KPL_LEVELS * sizeof(*table));
	if (pgd_none(*pgd))
		return;
	p4d = p4d_offset(pgd, va);
	if (p4d_none(*p4d))
		return;
	table[KPL_PUD] = p4d_page(*p4d);
	pud = pud_offset(p4d, va);
	if (pud_none(*pud) || pud_leaf(*pud))
		return;
	table[KPL_PMD] = pud_page(*pud);
	pmd = pmd_offset(pud, va);
	if (pmd_none(*pmd) || pmd_leaf(*pmd))
		return;
	table[KPL_PTE] = pmd_page(*pmd);
}

/*
 * What leads to one address, of which some is about to be freed. @before is written
 * by the test, the others by the probes, in the thread of the test: how often a table
 * was given to kernel_pgtable_free(), whether it was linked then, and whether CPUs
 * had been flushed since it was not.
 */
struct kpl_place {
	const char *name;
	unsigned long va;
	struct page *before[KPL_LEVELS];
	unsigned int given[KPL_LEVELS];
	bool linked[KPL_LEVELS];
	bool flushed[KPL_LEVELS];
	bool late[KPL_LEVELS];
};

#define KPL_PLACES	3

struct kpl_probe {
	struct kprobe free, flush_range, flush_all;
	struct task_struct *task;
	unsigned int nr;		/* places */
	unsigned int given;		/* pages of any place or none */
	struct kpl_place place[KPL_PLACES];
};

static struct kpl_probe *kpl_probed;

/* A page is about to be given to kernel_pgtable_free(). */
static int kpl_given(struct kprobe *kp, struct pt_regs *regs)
{
	struct page *page = (void *)regs_get_kernel_argument(regs, 0);
	struct page *now[KPL_LEVELS];
	struct kpl_place *place;
	enum kpl_level level;

	if (current != kpl_probed->task)
		return 0;
	kpl_probed->given++;
	for (place = kpl_probed->place;
	     place < kpl_probed->place + kpl_probed->nr; place++) {
		kpl_walk(place->va, now);
		for (level = 0; level < KPL_LEVELS; level++) {
			if (page != place->before[level])
				continue;
			place->given[level]++;
			place->linked[level] = page == now[level];
			place->late[level] = !place->flushed[level];
		}
	}
	return 0;
}

NOKPROBE_SYMBOL(kpl_given);

/* The CPUs forget what is unlinked: whatever its address, INVLPG forgets all paths. */
static void kpl_flushed(void)
{
	struct page *now[KPL_LEVELS];
	struct kpl_place *place;
	enum kpl_level level;

	if (current != kpl_probed->task)
		return;
	for (place = kpl_probed->place;
	     place < kpl_probed->place + kpl_probed->nr; place++) {
		kpl_walk(place->va, now);
		for (level = 0; level < KPL_LEVELS; level++)
			if (place->before[level] != now[level])
				place->flushed[level] = true;
	}
}

NOKPROBE_SYMBOL(kpl_flushed);

static int kpl_flush_range(struct kprobe *kp, struct pt_regs *regs)
{
	unsigned long start = regs_get_kernel_argument(regs, 0);
	unsigned long end = regs_get_kernel_argument(regs, 1);

	if (start < end)
		kpl_flushed();
	return 0;
}

NOKPROBE_SYMBOL(kpl_flush_range);

static int kpl_flush_all(struct kprobe *kp, struct pt_regs *regs)
{
	kpl_flushed();
	return 0;
}

NOKPROBE_SYMBOL(kpl_flush_all);

static void kpl_unprobe(void *kp)
{
	unregister_kprobe(kp);
}

static void kpl_probe_add(struct kunit *test, struct kprobe *kp,
			  const char *symbol, kprobe_pre_handler_t handler)
{
	kp->symbol_name = symbol;
	kp->pre_handler = handler;
	KUNIT_ASSERT_EQ(test, 0, register_kprobe(kp));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kpl_unprobe, kp));
}

/* Ends with the test. */
static struct kpl_probe *kpl_probe(struct kunit *test)
{
	struct kpl_probe *probe;

	if (!IS_ENABLED(CONFIG_KPROBES))
		kunit_skip(test, "needs KPROBES");

	probe = kunit_kzalloc(test, sizeof(*probe), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, probe);
	kpl_probed = probe;
	kpl_probe_add(test, &probe->free, "kernel_pgtable_free", kpl_given);
	kpl_probe_add(test, &probe->flush_range, "flush_tlb_kernel_range",
		      kpl_flush_range);
	kpl_probe_add(test, &probe->flush_all, "flush_tlb_all", kpl_flush_all);
	return probe;
}

static void kpl_note_place(struct kpl_probe *probe, const char *name, void *va)
{
	struct kpl_place *place = &probe->place[probe->nr];

	place->name = name;
	place->va = (unsigned long)va;
	kpl_walk(place->va, place->before);
	probe->nr++;
}

/* From now on look at what this thread does to the places that have been noted. */
static void kpl_look(struct kpl_probe *probe)
{
	WRITE_ONCE(probe->task, current);
}

/* Whether a place before this one has the same table. */
static bool kpl_is_known(struct kpl_probe *probe, unsigned int place,
			 enum kpl_level level)
{
	unsigned int n;

	for (n = 0; n < place; n++)
		if (probe->place[n].before[level] ==
		    probe->place[place].before[level])
			return true;
	return false;
}

/*
 * Each table that is gone was unlinked, then the CPUs were flushed, and then it was
 * given to kernel_pgtable_free(), once. Returns how many are gone.
 */
static unsigned int kpl_expect_in_order(struct kunit *test,
					struct kpl_probe *probe, unsigned int n)
{
	struct kpl_place *place = &probe->place[n];
	struct page *now[KPL_LEVELS];
	unsigned int gone = 0, new = 0;
	enum kpl_level level;

	kpl_walk(place->va, now);
	for (level = 0; level < KPL_LEVELS; level++) {
		if (place->before[level] == now[level])
			continue;
		gone++;
		new += !kpl_is_known(probe, n, level);
		KUNIT_EXPECT_EQ_MSG(test, 1, place->given[level],
				    "%s: freed at once, or twice, level %d",
				    place->name, level);
		KUNIT_EXPECT_FALSE_MSG(test, place->linked[level],
				       "%s: freed before unlinked, level %d",
				       place->name, level);
		KUNIT_EXPECT_FALSE_MSG(test, place->late[level],
				       "%s: freed before CPUs are flushed, level %d",
				       place->name, level);
	}
	KUNIT_EXPECT_GE_MSG(test, gone, 1, "%s: all tables stay", place->name);
	kunit_info(test, "%s: %u tables\n", place->name, gone);
	return new;
}

/* And nothing else was. */
static void kpl_expect_all_in_order(struct kunit *test, struct kpl_probe *probe)
{
	unsigned int n, gone = 0;

	WRITE_ONCE(probe->task, NULL);
	for (n = 0; n < probe->nr; n++)
		gone += kpl_expect_in_order(test, probe, n);
	KUNIT_EXPECT_EQ(test, gone, probe->given);
	kpl_expect_freed(test, gone);
}

/* A mapping larger than a table: the first, the last and one between, and their parent */
static void tables_below_a_huge_pud_are_flushed_first(struct kunit *test)
{
	unsigned long va = kpl_area(test, PUD_SIZE);
	static const unsigned long at[] = { 0, 5 * PMD_SIZE, PUD_SIZE - PMD_SIZE };
	struct kpl_probe *probe;
	unsigned int n;

	if (!boot_cpu_has(X86_FEATURE_GBPAGES))
		kunit_skip(test, "needs 1 GiB pages");

	probe = kpl_probe(test);
	for (n = 0; n < ARRAY_SIZE(at); n++) {
		kpl_map(test, va + at[n], PAGE_SIZE);
		vunmap_range(va + at[n], va + at[n] + PAGE_SIZE);
		kpl_note_place(probe, "area", (void *)(va + at[n]));
	}
	kpl_look(probe);
	kpl_map(test, va, PUD_SIZE);
	KUNIT_EXPECT_TRUE(test, pud_leaf(*kpl_pud(va)));
	kpl_expect_all_in_order(test, probe);
	KUNIT_EXPECT_EQ(test, 4, probe->given);
	vunmap_range(va, va + PUD_SIZE);
}

static void table_below_a_huge_pmd_is_flushed_first(struct kunit *test)
{
	unsigned long va = kpl_area(test, 2 * PMD_SIZE);
	struct kpl_probe *probe;

	if (!boot_cpu_has(X86_FEATURE_PSE))
		kunit_skip(test, "needs 2 MiB pages");

	va = ALIGN(va, PMD_SIZE);
	probe = kpl_probe(test);
	kpl_map(test, va, PAGE_SIZE);
	vunmap_range(va, va + PAGE_SIZE);
	kpl_note_place(probe, "area", (void *)va);
	kpl_look(probe);
	kpl_map(test, va, PMD_SIZE);
	kpl_expect_all_in_order(test, probe);
	KUNIT_EXPECT_EQ(test, 1, probe->given);
	vunmap_range(va, va + PMD_SIZE);
}

#ifdef CONFIG_ZONE_DEVICE
/* Device memory of @size bytes at @offset, or skip the test */
static void kpl_add_memory(struct kunit *test, struct dev_pagemap *pgmap,
			   u64 offset, u64 size)
{
	void *addr;

	pgmap->type = MEMORY_DEVICE_GENERIC;
	pgmap->range.start = kpl_phys() + offset;
	pgmap->range.end = pgmap->range.start + size - 1;
	pgmap->nr_range = 1;
	addr = memremap_pages(pgmap, NUMA_NO_NODE);
	if (IS_ERR(addr))
		kunit_skip(test, "memory cannot be added: %ld", PTR_ERR(addr));
}

/* Tables of the direct map and of the memmap */
static void memory_is_removed(struct kunit *test)
{
	struct kpl_mm *kmm = test->priv;
	struct dev_pagemap pgmap = {};

	kpl_add_memory(test, &pgmap, 0, SZ_256M);
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
	memunmap_pages(&pgmap);
	kpl_expect_freed(test, 1);
}

/* The direct map, the memmap, and KASAN's shadow of the direct map */
static void kpl_note_memory(struct kpl_probe *probe, void *addr)
{
	kpl_note_place(probe, "direct map", addr);
	kpl_note_place(probe, "memmap", virt_to_page(addr));
#ifdef CONFIG_KASAN_GENERIC
	kpl_note_place(probe, "shadow", kasan_mem_to_shadow(addr));
#endif
}

/*
 * So small a range that the memmap and the shadow have tables of the last level.
 * It shares a section with nothing.
 */
static void tables_are_unlinked_first(struct kunit *test)
{
	struct dev_pagemap pgmap = {};
	struct kpl_probe *probe = kpl_probe(test);

	kpl_add_memory(test, &pgmap, SZ_2M, SZ_2M);
	kpl_note_memory(probe, __va(pgmap.range.start));
	kpl_look(probe);
	memunmap_pages(&pgmap);
	kpl_expect_all_in_order(test, probe);
}

/* One page of it had other permissions once: the direct map has a table of 4 KiB pages. */
static void memory_of_small_pages_is_removed(struct kunit *test)
{
	struct dev_pagemap pgmap = {};
	struct kpl_probe *probe = kpl_probe(test);
	struct page *table;
	unsigned long va;

	kpl_add_memory(test, &pgmap, SZ_2M, SZ_2M);
	va = (unsigned long)__va(pgmap.range.start);
	KUNIT_EXPECT_EQ(test, 0, set_memory_ro(va, 1));
	KUNIT_EXPECT_EQ(test, 0, set_memory_rw(va, 1));
	kpl_note_memory(probe, (void *)va);
	table = probe->place[0].before[KPL_PTE];
	KUNIT_EXPECT_NOT_NULL(test, table);
#ifdef CONFIG_DEBUG_KERNEL_PGTABLE
	if (table)
		KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(table));
#endif
	kpl_look(probe);
	memunmap_pages(&pgmap);
	kpl_expect_all_in_order(test, probe);
	KUNIT_EXPECT_EQ(test, 1, probe->place[0].given[KPL_PTE]);
	KUNIT_EXPECT_EQ(test, 1, probe->place[0].given[KPL_PMD]);
}
#else
static void memory_is_removed(struct kunit *test)
{
	kunit_skip(test, "needs ZONE_DEVICE");
}

static void tables_are_unlinked_first(struct kunit *test)
{
	kunit_skip(test, "needs ZONE_DEVICE");
}

static void memory_of_small_pages_is_removed(struct kunit *test)
{
	kunit_skip(test, "needs ZONE_DEVICE");
}
#endif

#ifdef CONFIG_MEMORY_HOTREMOVE
static void kpl_put_page(void *page)
{
	put_page(page);
}

static void kpl_put_block(void *block)
{
	put_device(&((struct memory_block *)block)->dev);
}

static void kpl_delay_as_usual(void *unused)
{
	kernel_pgtable_set_delay(msecs_to_jiffies(KERNEL_PGTABLE_DELAY_MS));
}

static int kpl_count_ram(unsigned long pfn, unsigned long nr, void *sum)
{
	*(unsigned long *)sum += nr;
	return 0;
}

/* Of one zone, and without holes: one that can be tried to take offline */
static bool kpl_is_complete(const struct memory_block *block)
{
	unsigned long start = section_nr_to_pfn(block->start_section_nr);
	unsigned long nr = memory_block_size_bytes() >> PAGE_SHIFT;
	unsigned long ram = 0;

	walk_system_ram_range(start, nr, &ram, kpl_count_ram);
	return block->zone && ram == nr;
}

static struct memory_block *kpl_block(struct page *page)
{
	unsigned long nr = pfn_to_section_nr(page_to_pfn(page));
	struct memory_block *block = find_memory_block(nr);

	if (block && kpl_is_complete(block))
		return block;
	if (block)
		kpl_put_block(block);
	return NULL;
}

/* A page of such a block, with two references: the test's, and one to give away */
static struct page *kpl_page(struct kunit *test, struct memory_block **block)
{
	struct page *page = NULL, *other, *next;
	LIST_HEAD(others);
	unsigned int n;

	*block = NULL;
	for (n = 0; n < KPL_PAGES && !*block; n++) {
		page = alloc_page(GFP_KERNEL);
		if (!page)
			break;
		*block = kpl_block(page);
		if (!*block)
			list_add(&page->lru, &others);
	}
	if (*block)
		get_page(page);
	else
		page = NULL;
	list_for_each_entry_safe(other, next, &others, lru) {
		list_del(&other->lru);
		__free_page(other);
	}
	return page;
}

/*
 * The block stays, as the test keeps a page of it; but the table that was freed is
 * not what stands in the way.
 */
static void offline_does_not_wait(struct kunit *test)
{
	struct memory_block *block;
	struct page *page = kpl_page(test, &block);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kpl_put_block, block));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kpl_put_page, page));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   kpl_delay_as_usual,
							   NULL));
	kernel_pgtable_set_delay(KPL_FOREVER);
	kernel_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, 2, page_count(page));

	lock_device_hotplug();
	KUNIT_EXPECT_EQ(test, -EBUSY, device_offline(&block->dev));
	unlock_device_hotplug();
	KUNIT_EXPECT_EQ(test, 1, page_count(page));
}
#else
static void offline_does_not_wait(struct kunit *test)
{
	kunit_skip(test, "needs MEMORY_HOTREMOVE");
}
#endif

static struct kunit_case kpl_cases[] = {
	KUNIT_CASE(huge_pmd_replaces_pte_table),
	KUNIT_CASE(huge_pud_replaces_pmd_table),
	KUNIT_CASE(many_tables_are_replaced),
	KUNIT_CASE(memory_is_removed),
	KUNIT_CASE(tables_are_marked),
	KUNIT_CASE(offline_does_not_wait),
	KUNIT_CASE(tables_are_unlinked_first),
	KUNIT_CASE(memory_of_small_pages_is_removed),
	KUNIT_CASE(tables_below_a_huge_pud_are_flushed_first),
	KUNIT_CASE(table_below_a_huge_pmd_is_flushed_first),
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
