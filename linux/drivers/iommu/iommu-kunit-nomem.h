/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One allocation of one thread fails, for tests of what happens then
 *
 * failslab and fail_page_alloc can do that with current->fail_nth, but leave allocations
 * alone that may sleep unless user space asks for them. This one fails no others.
 */
#ifndef __IOMMU_KUNIT_NOMEM_H
#define __IOMMU_KUNIT_NOMEM_H

#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/error-injection.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/sched.h>

/* Which allocations are counted */
#define NOMEM_SLAB	BIT(0)	/* objects whose allocation may sleep; kmemleak's may, too */
#define NOMEM_PAGE	BIT(1)	/* pages that are cleared, as tables are; a slab's is not */
#define NOMEM_ATOMIC	BIT(2)	/* objects whose allocation may not sleep; interrupts', too */

#define NOMEM_NEEDS	"needs FUNCTION_ERROR_INJECTION, and FAILSLAB or FAIL_PAGE_ALLOC"

#if IS_ENABLED(CONFIG_FUNCTION_ERROR_INJECTION) &&	\
	IS_ENABLED(CONFIG_HAVE_FUNCTION_ARG_ACCESS_API)

static struct {
	struct kprobe slab, page;	/* with a symbol while they are registered */
	struct task_struct *task;
	unsigned int kinds;
	unsigned int nth;
	unsigned int failed;
} nomem;

static int nomem_now(struct pt_regs *regs, unsigned int kind, unsigned long ret)
{
	if (current != nomem.task || !(nomem.kinds & kind))
		return 0;
	if (!nomem.nth || --nomem.nth)
		return 0;
	nomem.failed = kind;
	regs_set_return_value(regs, ret);
	override_function_with_return(regs);
	return 1;
}

NOKPROBE_SYMBOL(nomem_now);

static int nomem_slab(struct kprobe *kp, struct pt_regs *regs)
{
	gfp_t gfp = (__force gfp_t)regs_get_kernel_argument(regs, 1);

	return nomem_now(regs, gfp & __GFP_DIRECT_RECLAIM ? NOMEM_SLAB : NOMEM_ATOMIC,
			 -ENOMEM);
}

NOKPROBE_SYMBOL(nomem_slab);

static int nomem_page(struct kprobe *kp, struct pt_regs *regs)
{
	gfp_t gfp = (__force gfp_t)regs_get_kernel_argument(regs, 0);

	return gfp & __GFP_ZERO ? nomem_now(regs, NOMEM_PAGE, true) : 0;
}

NOKPROBE_SYMBOL(nomem_page);

/* An optimised probe could not override the function. */
static void nomem_post(struct kprobe *kp, struct pt_regs *regs,
		       unsigned long flags)
{
}

static void nomem_unregister(void *arg)
{
	struct kprobe *kp = arg;

	unregister_kprobe(kp);
	kp->symbol_name = NULL;
}

/* 0, or it cannot be done here */
static int nomem_register(struct kunit *test, struct kprobe *kp, const char *symbol,
			  kprobe_pre_handler_t handler)
{
	int ret;

	if (kp->symbol_name)
		return 0;
	*kp = (struct kprobe) {
		.symbol_name = symbol,
		.pre_handler = handler,
		.post_handler = nomem_post,
	};
	ret = register_kprobe(kp);
	if (!ret)
		return kunit_add_action_or_reset(test, nomem_unregister, kp);
	kp->symbol_name = NULL;
	return ret;
}

/*
 * Prepare to let allocations of this thread fail, which are of these kinds, until the end of
 * the test. Where that cannot be done the test is skipped: call it before there is
 * anything to be cleaned up. Again to change the kinds.
 */
static void nomem_start(struct kunit *test, unsigned int kinds)
{
	nomem.nth = 0;
	nomem.task = current;
	nomem.kinds = kinds;
	if (kinds & (NOMEM_SLAB | NOMEM_ATOMIC) &&
	    nomem_register(test, &nomem.slab, "should_failslab", nomem_slab))
		kunit_skip(test, NOMEM_NEEDS);
	if (kinds & NOMEM_PAGE &&
	    nomem_register(test, &nomem.page, "should_fail_alloc_page", nomem_page))
		kunit_skip(test, NOMEM_NEEDS);
}

/*
 * The allocation that comes as number @nth from now fails, 0: none. True: the
 * one that was to fail before has done so.
 */
static bool nomem_nth(unsigned int nth)
{
	swap(nomem.nth, nth);
	return !nth;
}

/* Of which kind the last one was that failed */
static inline unsigned int nomem_failed(void)
{
	return nomem.failed;
}

#else

static void nomem_start(struct kunit *test, unsigned int kinds)
{
	kunit_skip(test, NOMEM_NEEDS);
}

static bool nomem_nth(unsigned int nth)
{
	return false;
}

static inline unsigned int nomem_failed(void)
{
	return 0;
}

#endif

#endif /* __IOMMU_KUNIT_NOMEM_H */
