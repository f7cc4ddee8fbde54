/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether pages of kernel page tables are freed by kernel_pgtable_free(); see
 * mm/kernel_pgtable_check.c.
 */
#ifndef _LINUX_KERNEL_PGTABLE_CHECK_H
#define _LINUX_KERNEL_PGTABLE_CHECK_H

#include <linux/mm_types.h>

struct page_ext_operations;

#ifdef CONFIG_DEBUG_KERNEL_PGTABLE
extern struct page_ext_operations kernel_pgtable_page_ext_ops;
void __kernel_pgtable_mark(unsigned long pfn);
void kernel_pgtable_unmark(struct page *page);
bool kernel_pgtable_is_marked(struct page *page);
unsigned int kernel_pgtable_bypassed(void);
void kernel_pgtable_report(unsigned long pfn);
void kernel_pgtable_check_free(struct page *page, unsigned int order);
#else
static inline void __kernel_pgtable_mark(unsigned long pfn)
{
}

static inline void kernel_pgtable_unmark(struct page *page)
{
}

static inline unsigned int kernel_pgtable_bypassed(void)
{
	return 0;
}

static inline void kernel_pgtable_check_free(struct page *page,
					     unsigned int order)
{
}
#endif /* CONFIG_DEBUG_KERNEL_PGTABLE */

/*
 * To be called by the architecture for a page that becomes a table of @mm, so that
 * CONFIG_DEBUG_KERNEL_PGTABLE sees if it is not freed by kernel_pgtable_free().
 */
static inline void kernel_pgtable_mark(struct mm_struct *mm, unsigned long pfn)
{
	if (IS_ENABLED(CONFIG_DEBUG_KERNEL_PGTABLE) && mm == &init_mm)
		__kernel_pgtable_mark(pfn);
}

#endif /* _LINUX_KERNEL_PGTABLE_CHECK_H */
