// SPDX-License-Identifier: GPL-2.0-only
/*
 * Find pages of kernel page tables that are freed past kernel_pgtable_free()
 *
 * A page is marked when the architecture installs it as a table of init_mm, and
 * the mark goes when kernel_pgtable_release() gives the page back. A page that
 * gets to the buddy allocator with its mark on has not waited for devices.
 * That is reported if any mm is registered at that moment. Without one nothing
 * can be wrong, and the mark just goes.
 *
 * The mark is in page_ext: some of these pages have a page type already, which
 * their destructor takes off before they wait, and others have none. Tables from
 * before page_ext is up are not marked, and not found.
 */
#include <kunit/static_stub.h>
#include <linux/atomic.h>
#include <linux/kernel_pgtable.h>
#include <linux/mm.h>
#include <linux/page_ext.h>

static bool ready __read_mostly;
static atomic_t bypassed;

static bool __init need_kernel_pgtable_check(void)
{
	return true;
}

static void __init init_kernel_pgtable_check(void)
{
	ready = true;
}

struct page_ext_operations kernel_pgtable_page_ext_ops __initdata = {
	.need = need_kernel_pgtable_check,
	.init = init_kernel_pgtable_check,
	.need_shared_flags = true,
};

void __kernel_pgtable_mark(unsigned long pfn)
{
	struct page_ext *ext;

	if (!ready)
		return;
	ext = page_ext_get(pfn_to_page(pfn));
	if (!ext)
		return;
	set_bit(PAGE_EXT_KERNEL_PGTABLE, &ext->flags);
	page_ext_put(ext);
}

void kernel_pgtable_unmark(struct page *page)
{
	struct page_ext *ext = page_ext_get(page);

	if (!ext)
		return;
	clear_bit(PAGE_EXT_KERNEL_PGTABLE, &ext->flags);
	page_ext_put(ext);
}

/**
 * kernel_pgtable_is_marked() - whether a page is a table of init_mm, for tests
 * @page: the page
 *
 * Context: any.
 */
bool kernel_pgtable_is_marked(struct page *page)
{
	struct page_ext *ext = page_ext_get(page);
	bool marked;

	if (!ext)
		return false;
	marked = test_bit(PAGE_EXT_KERNEL_PGTABLE, &ext->flags);
	page_ext_put(ext);
	return marked;
}

/**
 * kernel_pgtable_bypassed() - pages that were found since boot
 *
 * Context: any.
 */
unsigned int kernel_pgtable_bypassed(void)
{
	return atomic_read(&bypassed);
}

/* Called for each page that is found; tests take its place. */
void kernel_pgtable_report(unsigned long pfn)
{
	KUNIT_STATIC_STUB_REDIRECT(kernel_pgtable_report, pfn);
	atomic_inc(&bypassed);
	WARN_ONCE(1, "page %#lx of a kernel page table is freed while devices may walk it\n",
		  pfn);
}

static void kernel_pgtable_check_marked(struct page_ext *ext, unsigned long pfn)
{
	clear_bit(PAGE_EXT_KERNEL_PGTABLE, &ext->flags);
	if (kernel_pgtable_in_use())
		kernel_pgtable_report(pfn);
}

/**
 * kernel_pgtable_check_free() - pages are about to be free
 * @page: the first of them
 * @order: how many
 *
 * Called by the page allocator, for all pages.
 *
 * Context: any.
 */
void kernel_pgtable_check_free(struct page *page, unsigned int order)
{
	struct page_ext *ext = page_ext_get(page);
	unsigned long i;

	for (i = 0; ext && i < 1UL << order; i++) {
		/* A gigantic page has its page_ext in several sections. */
		if (i && !((page_to_pfn(page) + i) % PAGES_PER_SECTION)) {
			page_ext_put(ext);
			ext = page_ext_get(page + i);
		} else if (i) {
			ext = page_ext_next(ext);
		}
		if (ext && unlikely(test_bit(PAGE_EXT_KERNEL_PGTABLE, &ext->flags)))
			kernel_pgtable_check_marked(ext, page_to_pfn(page) + i);
	}
	page_ext_put(ext);
}
