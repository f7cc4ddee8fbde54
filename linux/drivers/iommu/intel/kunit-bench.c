// SPDX-License-Identifier: GPL-2.0-only
/*
 * Benchmarks of invalidations, on the driver as it is
 *
 * This file knows nothing about how the driver does it: it runs on a kernel without
 * attach lists as well, and whoever compares runs it on both. What it prints is
 *
 *	bench: <row>,<parameter>,<x>,driver,<lower quartile>,<median>,<upper quartile>
 *
 * in nanoseconds unless the row counts something, and for what is counted a line with
 * the way "limit", too: no driver can do with less.
 *
 * Commands are counted on the units of kunit-mock.c. Where time is measured, the
 * work of those would be most of it: their caches are flushed, and what they have
 * executed is logged. So bench_qi() takes their place, which does nothing but let time
 * pass. Other than vtd_qi() it begins with a submission at once, even if there is
 * another one before it, as hardware does that has sent out invalidations and is waiting for
 * functions to answer.
 */
#include <kunit/test.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mmu_notifier.h>
#include <linux/sort.h>

#include "kunit-mock.h"

#define BENCH_ROUNDS	31
#define BENCH_WARM_UP	5	/* rounds before these */
#define BENCH_ALL	(BENCH_ROUNDS + BENCH_WARM_UP)
#define BENCH_WINDOW_MS	20	/* of a round of threads */

#define FIRST_PASID	5
#define IOVA		0x10000
#define BATCH		16	/* commands that one wait is enough for */

static int bench_cmp(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* The rounds that count, of all */
static void bench_print(struct kunit *test, const char *row, unsigned int param,
			unsigned int x, u64 sample[BENCH_ALL])
{
	u64 *s = sample + BENCH_WARM_UP;

	sort(s, BENCH_ROUNDS, sizeof(*s), bench_cmp, NULL);
	kunit_info(test, "bench: %s,%u,%u,driver,%llu,%llu,%llu\n", row, param, x,
		   s[BENCH_ROUNDS / 4], s[BENCH_ROUNDS / 2],
		   s[BENCH_ROUNDS - 1 - BENCH_ROUNDS / 4]);
}

/* --- machines --- */

/*
 * Function n is behind unit n modulo their number. The old driver switches ATS on when
 * the RID is attached, so give all of them a domain that is not measured.
 */
static void bench_machine(struct kunit *test, unsigned int units,
			  unsigned int fns, unsigned int flags)
{
	struct vtd_machine *machine = vtd_machine(test, units, NULL);
	struct iommu_domain *other = NULL;
	struct vtd_fn *fn;
	unsigned int n;

	for (n = 0; n < fns; n++) {
		fn = vtd_add_fn(test, n % units, KIOMMU_PASID | flags);
		if (!other)
			other = vtd_paging(test, fn, 0);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, other));
		KUNIT_ASSERT_EQ(test, !!(flags & KIOMMU_ATS), kiommu_ats(&fn->pci));
	}
	vtd_clear_log(machine);
}

static void bench_attach_pasids(struct kunit *test, struct iommu_domain *domain,
				unsigned int pasids)
{
	struct vtd_machine *machine = test->priv;
	unsigned int n;
	u32 pasid;

	for (n = 0; n < machine->nr_fns; n++)
		for (pasid = FIRST_PASID; pasid < FIRST_PASID + pasids; pasid++)
			KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(machine->fn[n],
							       pasid, domain));
}

static struct mm_struct *bench_attach_mm(struct kunit *test)
{
	struct vtd_machine *machine = test->priv;
	struct mm_struct *mm = kiommu_mm(test);

	bench_attach_pasids(test, vtd_sva(test, machine->fn[0], mm), 1);
	return mm;
}

static void bench_flush(struct mm_struct *mm)
{
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, IOVA, IOVA + PAGE_SIZE);
}

/* --- commands --- */

enum commands_what {
	SVA,		/* one PASID of each function, one page changes */
	SVA_ALL,	/* the same, everything changes */
	SECOND_LEVEL,	/* PASIDS of each function, one page is unmapped */
	PARENT,		/* of a nested domain for each two functions, the same */
};

static const char *const commands_name[] = {
	[SVA] = "sva",
	[SVA_ALL] = "sva-all",
	[SECOND_LEVEL] = "second-level",
	[PARENT] = "parent",
};

/**
 * struct commands - where a domain is attached
 * @what: how, and what happens
 * @units: number of units
 * @fns: number of functions, a multiple of it
 * @pasids: number of PASIDs of each function
 * @tags: that each unit knows the domain by
 *
 * Nested domains are without ATS: the driver of 6.12 switches it off for those.
 */
struct commands {
	enum commands_what what;
	unsigned int units;
	unsigned int fns;
	unsigned int pasids;
	unsigned int tags;
};

static const struct commands commands_cases[] = {
	{ SVA, 1, 1, 1, 1 },
	{ SVA, 1, 8, 1, 1 },
	{ SVA, 4, 8, 1, 1 },
	{ SVA, 8, 8, 1, 1 },
	{ SVA_ALL, 4, 8, 1, 1 },
	{ SECOND_LEVEL, 1, 1, 4, 1 },
	{ SECOND_LEVEL, 4, 4, 4, 1 },
	{ PARENT, 2, 4, 0, 2 },
};

static void commands_print(struct kunit *test, const struct commands *c,
			   const char *what, unsigned int n, unsigned int limit)
{
	const char *name = commands_name[c->what];
	unsigned int x = c->fns * (c->pasids ?: 1);

	kunit_info(test, "bench: vtd-%s-%s,%u,%u,driver,%u,%u,%u\n", what, name,
		   c->units, x, n, n, n);
	kunit_info(test, "bench: vtd-%s-%s,%u,%u,limit,%u,%u,%u\n", what, name,
		   c->units, x, limit, limit, limit);
	/* Who needs less has forgotten somebody. */
	KUNIT_EXPECT_GE(test, n, limit);
}

/* Each cache once, and a wait for 16 of them */
static void commands_report(struct kunit *test, const struct commands *c)
{
	struct vtd_machine *machine = test->priv;
	unsigned int each = c->tags + c->fns / c->units * c->pasids;
	unsigned int n, cmds = 0, waits = 0;

	for (n = 0; n < c->units; n++) {
		waits += vtd_count(&machine->unit[n], QI_IWD_TYPE);
		cmds += machine->unit[n].nr_logged;
	}
	commands_print(test, c, "commands", cmds - waits, c->units * each);
	commands_print(test, c, "waits", waits,
		       c->units * DIV_ROUND_UP(each, BATCH));
}

static void commands_sva(struct kunit *test, const struct commands *c)
{
	struct mm_struct *mm = bench_attach_mm(test);

	vtd_clear_log(test->priv);
	if (c->what == SVA_ALL)
		mmu_notifier_arch_invalidate_secondary_tlbs(mm, 0, ULONG_MAX);
	else
		bench_flush(mm);
	commands_report(test, c);
	kiommu_mm_exit(mm);
}

static void commands_unmap(struct kunit *test, const struct commands *c,
			   struct iommu_domain *domain)
{
	vtd_map(test, domain, IOVA, 1);
	vtd_clear_log(test->priv);
	vtd_unmap(domain, IOVA, 1);
	commands_report(test, c);
}

static void commands_second_level(struct kunit *test, const struct commands *c)
{
	struct vtd_machine *machine = test->priv;
	struct iommu_domain *domain = vtd_paging(test, machine->fn[0], 0);

	bench_attach_pasids(test, domain, c->pasids);
	commands_unmap(test, c, domain);
}

static void commands_parent(struct kunit *test, const struct commands *c)
{
	struct vtd_machine *machine = test->priv;
	struct iommu_domain *parent = vtd_paging(test, machine->fn[0], VTD_PARENT);
	struct iommu_domain *nested = NULL;
	unsigned int n;

	for (n = 0; n < c->fns; n++) {
		if (!(n % 2))
			nested = vtd_nested(test, machine->fn[n], parent);
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[n], nested));
	}
	commands_unmap(test, c, parent);
}

/* What one change of a page table costs */
static void commands(struct kunit *test)
{
	const struct commands *c;

	for (c = commands_cases;
	     c < commands_cases + ARRAY_SIZE(commands_cases); c++) {
		bench_machine(test, c->units, c->fns,
			      c->what == PARENT ? 0 : KIOMMU_ATS);
		switch (c->what) {
		case SVA:
		case SVA_ALL:
			commands_sva(test, c);
			break;
		case SECOND_LEVEL:
			commands_second_level(test, c);
			break;
		case PARENT:
			commands_parent(test, c);
			break;
		}
		vtd_exit(test);
	}
}

/* --- units that do nothing, and take their time --- */

/**
 * struct bench_irq - an interrupt that arrives when a unit is told something
 * @work: the interrupt
 * @at: when it came
 * @late: how long it had to wait, at most
 */
struct bench_irq {
	struct irq_work work;
	u64 at;
	u64 late;
};

static void bench_irq(struct irq_work *work)
{
	struct bench_irq *irq = container_of(work, struct bench_irq, work);

	irq->late = max(irq->late, ktime_get_mono_fast_ns() - irq->at);
}

/* To this CPU, unless one is on its way */
static void bench_irq_send(struct bench_irq *irq)
{
	if (irq_work_is_pending(&irq->work))
		return;
	irq->at = ktime_get_mono_fast_ns();
	irq_work_queue(&irq->work);
}

static void bench_qi_accept(struct vtd_unit *unit)
{
	struct intel_iommu *iommu = &unit->iommu;
	unsigned int tail = readl(iommu->reg + DMAR_IQT_REG) >> qi_shift(iommu);
	u64 ready = ktime_get_mono_fast_ns() + unit->latency;

	lockdep_assert_held(&unit->lock);

	for (; unit->tail != tail; unit->tail = (unit->tail + 1) % QI_LENGTH)
		WRITE_ONCE(unit->slot[unit->tail].ready, ready);
	if (unit->priv)
		bench_irq_send(unit->priv);
}

static bool bench_qi_is_ready(struct vtd_unit *unit)
{
	return ktime_get_mono_fast_ns() >=
		READ_ONCE(unit->slot[READ_ONCE(unit->head)].ready);
}

static void bench_qi_execute(struct vtd_unit *unit)
{
	struct intel_iommu *iommu = &unit->iommu;
	u64 *qw = iommu->qi->desc + (unit->head << qi_shift(iommu));

	lockdep_assert_held(&unit->lock);

	WRITE_ONCE(unit->head, (unit->head + 1) % QI_LENGTH);
	writel(unit->head << qi_shift(iommu), iommu->reg + DMAR_IQH_REG);
	if ((qw[0] & 0xf) != QI_IWD_TYPE)
		return;
	unit->count[QI_IWD_TYPE]++;
	/* As in vtd_complete(): whoever has waited may use the slots again. */
	smp_store_release((u32 *)phys_to_virt(qw[1]), qw[0] >> 32);
}

/* See &iommu_kunit_hw.run. Most calls of those who wait find that it is too early. */
static void bench_qi(struct iommu_kunit_hw *hw, bool submitted)
{
	struct vtd_unit *unit = hw_to_vtd_unit(hw);
	unsigned long flags;

	if (!submitted && !bench_qi_is_ready(unit))
		return;
	raw_spin_lock_irqsave(&unit->lock, flags);
	if (submitted)
		bench_qi_accept(unit);
	else
		while (unit->head != unit->tail && bench_qi_is_ready(unit))
			bench_qi_execute(unit);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* From now on it takes time, until slow_end(). Nothing is under way. */
static void slow_begin(struct kunit *test, unsigned int latency_us)
{
	struct vtd_machine *machine = test->priv;
	unsigned int n;

	vtd_clear_log(machine);
	for (n = 0; n < machine->nr_units; n++) {
		machine->unit[n].latency = latency_us * NSEC_PER_USEC;
		machine->unit[n].hw.run = bench_qi;
	}
}

/* So many flushes were one wait for each unit. */
static void slow_end(struct kunit *test, u64 flushes)
{
	struct vtd_machine *machine = test->priv;
	unsigned int n;

	for (n = 0; n < machine->nr_units; n++) {
		KUNIT_EXPECT_EQ(test, flushes,
				vtd_count(&machine->unit[n], QI_IWD_TYPE));
		machine->unit[n].latency = 0;
		machine->unit[n].priv = NULL;
		machine->unit[n].hw.run = vtd_qi;
	}
}

/* --- wall time --- */

static const unsigned int latency_us[] = { 20, 50, 100, 500 };
static const unsigned int nr_units[] = { 1, 2, 4, 8 };

static void flush_time(struct kunit *test, struct mm_struct *mm,
		       unsigned int latency)
{
	struct vtd_machine *machine = test->priv;
	u64 start, sample[BENCH_ALL];
	unsigned int round;

	slow_begin(test, latency);
	for (round = 0; round < BENCH_ALL; round++) {
		start = ktime_get_mono_fast_ns();
		bench_flush(mm);
		sample[round] = ktime_get_mono_fast_ns() - start;
		cond_resched();
	}
	slow_end(test, BENCH_ALL);
	bench_print(test, "vtd-flush", latency, machine->nr_units, sample);
}

/* The wall time of an invalidation against the number of units */
static void flush(struct kunit *test)
{
	struct mm_struct *mm;
	unsigned int n, l;

	for (n = 0; n < ARRAY_SIZE(nr_units); n++) {
		bench_machine(test, nr_units[n], nr_units[n], KIOMMU_ATS);
		mm = bench_attach_mm(test);
		for (l = 0; l < ARRAY_SIZE(latency_us); l++)
			flush_time(test, mm, latency_us[l]);
		kiommu_mm_exit(mm);
		vtd_exit(test);
	}
}

/* --- interrupts --- */

#define IRQ_LATENCY_US	100

/* The longest that one of the interrupts had to wait, of one invalidation */
static u64 irqs_late(struct kunit *test, struct mm_struct *mm,
		     struct bench_irq *irq)
{
	struct vtd_machine *machine = test->priv;
	u64 late = 0;
	unsigned int n;

	for (n = 0; n < machine->nr_units; n++)
		irq[n].late = 0;
	bench_flush(mm);
	for (n = 0; n < machine->nr_units; n++) {
		irq_work_sync(&irq[n].work);
		KUNIT_EXPECT_GT(test, irq[n].late, 0);
		late = max(late, irq[n].late);
	}
	return late;
}

static void irqs_time(struct kunit *test, struct mm_struct *mm,
		      struct bench_irq *irq)
{
	struct vtd_machine *machine = test->priv;
	u64 sample[BENCH_ALL];
	unsigned int round, n;

	slow_begin(test, IRQ_LATENCY_US);
	for (n = 0; n < machine->nr_units; n++) {
		irq[n].work = IRQ_WORK_INIT_HARD(bench_irq);
		machine->unit[n].priv = &irq[n];
	}
	for (round = 0; round < BENCH_ALL; round++)
		sample[round] = irqs_late(test, mm, irq);
	slow_end(test, BENCH_ALL);
	bench_print(test, "vtd-irqsoff", IRQ_LATENCY_US, machine->nr_units, sample);
}

/*
 * How long interrupts are off: one is sent at every submission, to the CPU that
 * submits. It comes when that one can take it.
 */
static void irqsoff(struct kunit *test)
{
	struct bench_irq irq[VTD_UNITS];
	struct mm_struct *mm;
	unsigned int n;

	for (n = 1; n <= VTD_UNITS; n *= VTD_UNITS) {
		bench_machine(test, n, n, KIOMMU_ATS);
		mm = bench_attach_mm(test);
		irqs_time(test, mm, irq);
		kiommu_mm_exit(mm);
		vtd_exit(test);
	}
}

/* --- two threads --- */

/* Some that begin at once */
struct bench_threads {
	struct mm_struct *mm;
	unsigned int nr;
	atomic_t ready;
	atomic64_t flushes;
	atomic64_t rate;	/* per 1000 seconds, of all */
};

static int bench_thread(void *arg)
{
	struct bench_threads *all = arg;
	u64 start, now, flushes = 0;

	atomic_inc(&all->ready);
	while (atomic_read(&all->ready) < all->nr)
		cond_resched();
	start = ktime_get_mono_fast_ns();
	do {
		bench_flush(all->mm);
		flushes++;
		now = ktime_get_mono_fast_ns();
	} while (now - start < BENCH_WINDOW_MS * NSEC_PER_MSEC);
	atomic64_add(flushes, &all->flushes);
	atomic64_add(div64_u64(flushes * NSEC_PER_SEC * 1000, now - start),
		     &all->rate);
	cond_resched();
	return 0;
}

/* The time of one, at the rate of all together. Adds to @flushes how many there were. */
static u64 bench_parallel(struct kunit *test, struct mm_struct *mm,
			  unsigned int nr, u64 *flushes)
{
	struct bench_threads all = { .mm = mm, .nr = nr };
	struct kiommu_thread thread;

	if (nr > 1)
		kiommu_start(test, &thread, bench_thread, &all);
	bench_thread(&all);
	if (nr > 1)
		kiommu_join(&thread);
	*flushes += atomic64_read(&all.flushes);
	return div64_u64(NSEC_PER_SEC * 1000, atomic64_read(&all.rate));
}

/* One thread, then two, with the same domain and two units */
static void two_threads(struct kunit *test)
{
	u64 sample[2][BENCH_ALL], flushes;
	unsigned int round, nr, l;
	struct mm_struct *mm;

	kiommu_two_cpus(test);
	bench_machine(test, 2, 2, KIOMMU_ATS);
	mm = bench_attach_mm(test);
	for (l = 0; l < ARRAY_SIZE(latency_us); l++) {
		flushes = 0;
		slow_begin(test, latency_us[l]);
		for (round = 0; round < BENCH_ALL; round++)
			for (nr = 1; nr <= 2; nr++)
				sample[nr - 1][round] =
					bench_parallel(test, mm, nr, &flushes);
		slow_end(test, flushes);
		for (nr = 1; nr <= 2; nr++)
			bench_print(test, "vtd-threads", latency_us[l], nr,
				    sample[nr - 1]);
	}
	kiommu_mm_exit(mm);
}

/* --- the stack --- */

#define STACK_LINE	64
#define STACK_AREA	(28 * STACK_LINE)	/* that a flush does not get beyond */
#define STACK_PAINT	0xa5

static noinline void stack_paint(void)
{
	u8 area[STACK_AREA] __aligned(STACK_LINE) __uninitialized;

	memset(area, STACK_PAINT, sizeof(area));
	barrier_data(area);
}

/* Lines of it that do not look as stack_paint() has left them */
static noinline unsigned int stack_written(void)
{
	u8 area[STACK_AREA] __aligned(STACK_LINE) __uninitialized;
	unsigned int n, lines = 0;

	barrier_data(area);
	for (n = 0; n < STACK_AREA; n += STACK_LINE)
		lines += !!memchr_inv(area + n, STACK_PAINT, STACK_LINE);
	return lines;
}

/* The batch of commands is there, and hardware that does nothing adds little to it. */
static void stack(struct kunit *test)
{
	u64 sample[BENCH_ALL];
	struct mm_struct *mm;
	unsigned long flags;
	unsigned int n;

	bench_machine(test, 1, 1, KIOMMU_ATS);
	mm = bench_attach_mm(test);
	slow_begin(test, 0);
	for (n = 0; n < BENCH_ALL; n++) {
		local_irq_save(flags);
		stack_paint();
		bench_flush(mm);
		sample[n] = stack_written();
		local_irq_restore(flags);
		KUNIT_EXPECT_LT(test, sample[n], STACK_AREA / STACK_LINE);
	}
	bench_print(test, "vtd-stack-lines", 0, 1, sample);
	slow_end(test, BENCH_ALL);
	kiommu_mm_exit(mm);
}

static struct kunit_case bench_cases[] = {
	KUNIT_CASE(commands),
	KUNIT_CASE(stack),
	KUNIT_CASE_SLOW(flush),
	KUNIT_CASE_SLOW(irqsoff),
	KUNIT_CASE_SLOW(two_threads),
	{}
};

static struct kunit_suite bench_suite = {
	.name = "intel_iommu_bench",
	.exit = vtd_exit,
	.test_cases = bench_cases,
};

kunit_test_suite(bench_suite);
