/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One allocation of one thread fails, for tests of what happens then
 *
 * failslab can do that with current->fail_nth, but leaves allocations alone that
 * may sleep unless user space asks for them. This one fails no others.
 */
#ifndef __IOMMU_KUNIT_NOMEM_H
#define __IOMMU_KUNIT_NOMEM_H

#include <linux/error-injection.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/sched.h>

#if IS_ENABLED(CONFIG_FAILSLAB) &&					\
	IS_ENABLED(CONFIG_FUNCTION_ERROR_INJECTION) &&			\
	IS_ENABLED(CONFIG_HAVE_FUNCTION_ARG_ACCESS_API)

static struct {
	struct kprobe kp;
	struct task_struct *task;
	unsigned int nth;
} nomem;

static int nomem_pre(struct kprobe *kp, struct pt_regs *regs)
{
	gfp_t gfp = (__force gfp_t)regs_get_kernel_argument(regs, 1);

	if (current != nomem.task || !(gfp & __GFP_DIRECT_RECLAIM))
		return 0;
	if (!nomem.nth || --nomem.nth)
		return 0;
	regs_set_return_value(regs, -ENOMEM);
	override_function_with_return(regs);
	return 1;
}

NOKPROBE_SYMBOL(nomem_pre);

/* An optimised probe could not override the function. */
static void nomem_post(struct kprobe *kp, struct pt_regs *regs,
		       unsigned long flags)
{
}

/* Prepare to let allocations of this thread fail. 0, or it cannot be done here. */
static int nomem_start(void)
{
	nomem.kp = (struct kprobe) {
		.symbol_name = "should_failslab",
		.pre_handler = nomem_pre,
		.post_handler = nomem_post,
	};
	nomem.task = current;
	return register_kprobe(&nomem.kp);
}

static void nomem_stop(void)
{
	unregister_kprobe(&nomem.kp);
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

#else

static int nomem_start(void)
{
	return -EOPNOTSUPP;
}

static void nomem_stop(void) { }

static bool nomem_nth(unsigned int nth)
{
	return false;
}

#endif

#define NOMEM_NEEDS	"needs FAILSLAB and FUNCTION_ERROR_INJECTION"

#endif /* __IOMMU_KUNIT_NOMEM_H */
