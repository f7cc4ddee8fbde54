/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freeing pages of kernel page tables that devices may be walking. The rules
 * and the reasons are at the top of mm/kernel_pgtable.c.
 */
#ifndef _LINUX_KERNEL_PGTABLE_H
#define _LINUX_KERNEL_PGTABLE_H

#include <linux/bootmem_info.h>
#include <linux/mm.h>

struct kernel_pgtable_user;

/*
 * Pages that may wait for an invalidation before a freeing thread has to wait
 * with them. Each thread inside kernel_pgtable_free() can add one to it.
 */
#define KERNEL_PGTABLE_MAX_HELD		512

/*
 * Give the page of a table back to where it came from. Tables built at boot
 * are reserved pages, some of them shared by several memory sections; those
 * carry a type in page->index and are freed by their last section.
 */
static inline void kernel_pgtable_release(struct page *page)
{
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

static inline void kernel_pgtable_not_forgotten(void)
{
}

static inline void kernel_pgtable_keep(struct mm_struct *mm)
{
}
#endif /* CONFIG_KERNEL_PGTABLE_DEFERRED_FREE */

#endif /* _LINUX_KERNEL_PGTABLE_H */
