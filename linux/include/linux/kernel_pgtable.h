/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freeing pages of kernel page tables that devices may be walking. The rules
 * and the reasons are at the top of mm/kernel_pgtable.c.
 */
#ifndef _LINUX_KERNEL_PGTABLE_H
#define _LINUX_KERNEL_PGTABLE_H

#include <linux/bootmem_info.h>
#include <linux/kernel_pgtable_check.h>
#include <linux/mm.h>

struct kernel_pgtable_user;

/*
 * Pages that may wait for an invalidation before a freeing thread has to wait
 * with them. Each thread inside kernel_pgtable_free() can add one to it.
 */
#define KERNEL_PGTABLE_MAX_HELD		512

/*
 * How long a page waits for others to share its invalidation. Nobody waits for the
 * page, and how many wait is limited, so this is about the rate of invalidations
 * only: at most ten a second, for each mm and IOMMU.
 */
#define KERNEL_PGTABLE_DELAY_MS		100

#ifdef CONFIG_KERNEL_PGTABLE_DEFERRED_FREE
/*
 * The range that arch_invalidate_secondary_tlbs() notifiers are called with when
 * tables of the kernel are about to be freed: all that such tables can map, and no
 * address of a process. No change of an mm has it. A driver that is called with it
 * makes its IOMMU forget all paging-structure entries of the PASID, wherever they
 * lead. It need not ask devices: an ATC holds translations, never where a
 * table is, and of the kernel's half only if devices may make supervisor requests.
 * Drivers for other architectures than those that select this are never called with it.
 */
#define KERNEL_PGTABLE_START		TASK_SIZE_MAX
#define KERNEL_PGTABLE_END		ULONG_MAX

static inline bool kernel_pgtable_is_range(unsigned long start,
					   unsigned long end)
{
	return start == KERNEL_PGTABLE_START && end == KERNEL_PGTABLE_END;
}
#else
static inline bool kernel_pgtable_is_range(unsigned long start,
					   unsigned long end)
{
	return false;
}
#endif

/*
 * Give the page of a table back to where it came from. Tables built at boot
 * are reserved pages, some of them shared by several memory sections; those
 * carry a type in page->index and are freed by their last section.
 */
static inline void kernel_pgtable_release(struct page *page)
{
	kernel_pgtable_unmark(page);
	if (!PageReserved(page))
		__free_page(page);
	else if (page->index == SECTION_INFO || page->index == MIX_SECTION_INFO)
		put_page_bootmem(page);
	else
		free_reserved_page(page);
}

#ifdef CONFIG_KERNEL_PGTABLE_DEFERRED_FREE
struct kernel_pgtable_user *kernel_pgtable_register(struct mm_struct *mm);
void kernel_pgtable_unregister(struct kernel_pgtable_user *user);
void kernel_pgtable_free(struct page *page);
void kernel_pgtable_flush(void);
unsigned int kernel_pgtable_held(void);
bool kernel_pgtable_in_use(void);
void kernel_pgtable_not_forgotten(void);
void kernel_pgtable_keep(struct mm_struct *mm);
void kernel_pgtable_let_go(struct mm_struct *mm);
void kernel_pgtable_set_delay(unsigned long delay);
#else
static inline struct kernel_pgtable_user *
kernel_pgtable_register(struct mm_struct *mm)
{
	return NULL;
}

static inline void kernel_pgtable_unregister(struct kernel_pgtable_user *user)
{
}

static inline void kernel_pgtable_free(struct page *page)
{
	kernel_pgtable_release(page);
}

static inline void kernel_pgtable_flush(void)
{
}

static inline void kernel_pgtable_not_forgotten(void)
{
}

static inline void kernel_pgtable_keep(struct mm_struct *mm)
{
}
#endif /* CONFIG_KERNEL_PGTABLE_DEFERRED_FREE */

#endif /* _LINUX_KERNEL_PGTABLE_H */
