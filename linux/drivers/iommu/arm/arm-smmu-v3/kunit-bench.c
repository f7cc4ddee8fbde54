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
 * A domain is attached as the core and iommufd do it: where one does not fit an
 * instance, there is another one. How many of them there are is the driver's choice,
 * and part of what is measured.
 *
 * Commands are counted on the instances of kunit-mock.c. Where time is measured, the
 * work of those would be most of it. So bench_queue() takes their place, which does
 * nothing but let time pass: each CMD_SYNC is complete when the latency has passed since
 * it was submitted. Unlike smmu_queue() it does not add what is before it in the
 * queue.
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mmzone.h>
#include <linux/sched/mm.h>
#include <linux/sort.h>

#include "kunit-mock.h"

#define BENCH_ROUNDS	31
#define BENCH_WARM_UP	5	/* rounds before these */
#define BENCH_ALL	(BENCH_ROUNDS + BENCH_WARM_UP)
#define BENCH_WINDOW_MS	20	/* of a round of threads */

#define FIRST_PASID	5
#define IOVA		0x10000
#define VM_PAGES	4096	/* of a virtual machine, of 4K */
#define ATC_BATCH	64	/* ATC invalidations that one CMD_SYNC is enough for */

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

/* What is counted, and the limit */
static void bench_count(struct kunit *test, const char *what, const char *name,
			unsigned int param, unsigned int x, unsigned int n,
			unsigned int limit)
{
	kunit_info(test, "bench: smmu-%s-%s,%u,%u,driver,%u,%u,%u\n", what, name,
		   param, x, n, n, n);
	kunit_info(test, "bench: smmu-%s-%s,%u,%u,limit,%u,%u,%u\n", what, name,
		   param, x, limit, limit, limit);
	/* Who needs less has forgotten somebody. */
	KUNIT_EXPECT_GE(test, n, limit);
}

/* --- machines, and who shares what in them --- */

/**
 * struct bench - a process or a virtual machine, and its domains
 * @test: the test
 * @machine: the machine
 * @mm: the process's, NULL: a virtual machine's memory is mapped
 * @pasid: of the process, otherwise IOMMU_NO_PASID
 * @nr: number of domains, at most one for each function
 * @domain: the domains
 */
struct bench {
	struct kunit *test;
	struct smmu_machine *machine;
	struct mm_struct *mm;
	u32 pasid;
	unsigned int nr;
	struct iommu_domain *domain[SMMU_FNS];
};

/* Function n is behind instance n modulo their number. CMD_SYNCs are announced by events. */
static struct smmu_machine *bench_machine(struct kunit *test, unsigned int units,
					  unsigned int fns, unsigned int flags)
{
	struct smmu_caps caps[SMMU_UNITS];
	struct smmu_machine *machine;
	unsigned int n;

	for (n = 0; n < units; n++)
		caps[n] = (struct smmu_caps){
			.features = SMMU_FEATURES | ARM_SMMU_FEAT_SEV,
		};
	machine = smmu_machine(test, units, caps);
	for (n = 0; n < fns; n++)
		KUNIT_ASSERT_EQ(test, 0,
				smmu_identity(smmu_add_fn(test, n % units,
							  KIOMMU_PASID | flags)));
	return machine;
}

static int bench_try(struct bench *b, struct smmu_fn *fn, struct iommu_domain *domain)
{
	return b->mm ? smmu_set_pasid(fn, b->pasid, domain) : smmu_attach(fn, domain);
}

/* A domain that fits the instance of @fn: one that is there, or a new one */
static void bench_attach(struct bench *b, struct smmu_fn *fn)
{
	struct iommu_domain *domain;
	unsigned int n;
	int ret;

	for (n = 0; n < b->nr; n++) {
		ret = bench_try(b, fn, b->domain[n]);
		if (!ret)
			return;
		KUNIT_ASSERT_EQ(b->test, -EINVAL, ret);
	}
	domain = b->mm ? smmu_sva(b->test, fn, b->mm) : smmu_paging(b->test, fn, 0);
	KUNIT_ASSERT_EQ(b->test, 0, bench_try(b, fn, domain));
	b->domain[b->nr++] = domain;
}

static void bench_attach_all(struct bench *b, unsigned int flags)
{
	struct smmu_fn *fn;
	unsigned int n;

	for (n = 0; n < b->machine->nr_fns; n++) {
		fn = b->machine->fn[n];
		bench_attach(b, fn);
		KUNIT_ASSERT_EQ(b->test, !!(flags & KIOMMU_ATS), kiommu_ats(&fn->fn));
	}
	smmu_clear_log(b->machine);
}

/* A process that is bound to all functions of a machine */
static void bench_process(struct kunit *test, struct bench *b, unsigned int units,
			  unsigned int fns, unsigned int flags)
{
	*b = (struct bench){
		.test = test,
		.machine = bench_machine(test, units, fns, flags),
		.mm = kiommu_mm(test),
		.pasid = FIRST_PASID,
	};
	bench_attach_all(b, flags);
}

/* A virtual machine that has all functions */
static void bench_vm(struct kunit *test, struct bench *b, unsigned int units,
		     unsigned int fns, unsigned int flags)
{
	*b = (struct bench){
		.test = test,
		.machine = bench_machine(test, units, fns, flags),
		.pasid = IOMMU_NO_PASID,
	};
	bench_attach_all(b, flags);
}

static void bench_exit(struct bench *b)
{
	if (b->mm)
		kiommu_mm_exit(b->mm);
	smmu_exit(b->test);
}

static void bench_map(struct bench *b, unsigned int pages)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++)
		smmu_map(b->test, b->domain[n], IOVA, pages);
}

static void bench_unmap(struct bench *b, unsigned int pages)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++)
		smmu_unmap(b->test, b->domain[n], IOVA, pages);
}

/* One page is gone. */
static void bench_flush(struct bench *b)
{
	if (b->mm)
		smmu_event(b->mm, IOVA, 1);
	else
		bench_unmap(b, 1);
}

/* What is not measured comes before each flush. */
static void bench_ready(struct bench *b)
{
	if (!b->mm)
		bench_map(b, 1);
}

/* --- commands --- */

/**
 * struct commands - where a process or a virtual machine is attached
 * @name: of the row
 * @vm: a virtual machine
 * @units: number of instances
 * @fns: number of functions, a multiple of it
 * @flags: what they can do
 */
struct commands {
	const char *name;
	bool vm;
	unsigned int units;
	unsigned int fns;
	unsigned int flags;
};

static const struct commands commands_cases[] = {
	{ "sva", false, 1, 1, KIOMMU_ATS },
	{ "sva", false, 2, 2, KIOMMU_ATS },
	{ "sva", false, 4, 4, KIOMMU_ATS },
	{ "sva", false, 8, 8, KIOMMU_ATS },
	{ "sva", false, 1, 8, KIOMMU_ATS },
	{ "sva", false, 4, 16, KIOMMU_ATS },
	{ "sva-no-ats", false, 8, 8, 0 },
	{ "vm", true, 1, 1, KIOMMU_ATS },
	{ "vm", true, 4, 4, KIOMMU_ATS },
	{ "vm", true, 8, 8, KIOMMU_ATS },
};

/*
 * Each cache once. ATCs are told when the TLB has been flushed, so that each of both
 * takes a CMD_SYNC.
 */
static void commands_report(struct bench *b, const struct commands *c)
{
	unsigned int atcs = c->flags & KIOMMU_ATS ? c->fns / c->units : 0;
	unsigned int n, cmds = 0, syncs = 0;

	for (n = 0; n < c->units; n++) {
		syncs += smmu_count(&b->machine->unit[n], CMDQ_OP_CMD_SYNC);
		cmds += b->machine->unit[n].nr_logged;
	}
	bench_count(b->test, "commands", c->name, c->units, c->fns, cmds - syncs,
		    c->units * (1 + atcs));
	bench_count(b->test, "syncs", c->name, c->units, c->fns, syncs,
		    c->units * (1 + DIV_ROUND_UP(atcs, ATC_BATCH)));
}

/* What one page costs */
static void commands(struct kunit *test)
{
	const struct commands *c;
	struct bench b;

	for (c = commands_cases;
	     c < commands_cases + ARRAY_SIZE(commands_cases); c++) {
		if (c->vm)
			bench_vm(test, &b, c->units, c->fns, c->flags);
		else
			bench_process(test, &b, c->units, c->fns, c->flags);
		bench_ready(&b);
		smmu_clear_log(b.machine);
		bench_flush(&b);
		commands_report(&b, c);
		bench_exit(&b);
	}
}

/* --- callbacks --- */

static const unsigned int nr_units[] = { 1, 2, 4, 8 };

static const struct mmu_notifier_ops *callbacks_of;
static struct mmu_notifier_ops callbacks_ops;
static unsigned int callbacks_nr;

static void callbacks_count(struct mmu_notifier *mn, struct mm_struct *mm,
			    unsigned long start, unsigned long end)
{
	callbacks_nr++;
	callbacks_of->arch_invalidate_secondary_tlbs(mn, mm, start, end);
}

/* From now on the process's calls of the driver are counted. Nobody changes its memory. */
static void callbacks_begin(struct bench *b)
{
	struct mmu_notifier *mn;
	unsigned int n;

	callbacks_nr = 0;
	for (n = 0; n < b->nr; n++) {
		mn = &to_smmu_domain(b->domain[n])->mmu_notifier;
		callbacks_of = mn->ops;
		callbacks_ops = *mn->ops;
		callbacks_ops.arch_invalidate_secondary_tlbs = callbacks_count;
	}
	for (n = 0; n < b->nr; n++)
		to_smmu_domain(b->domain[n])->mmu_notifier.ops = &callbacks_ops;
}

static void callbacks_end(struct bench *b)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++)
		to_smmu_domain(b->domain[n])->mmu_notifier.ops = callbacks_of;
}

/* How often an mm calls the driver when one page changes */
static void callbacks(struct kunit *test)
{
	struct bench b;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(nr_units); n++) {
		bench_process(test, &b, nr_units[n], nr_units[n], KIOMMU_ATS);
		callbacks_begin(&b);
		bench_flush(&b);
		callbacks_end(&b);
		bench_count(test, "callbacks", "sva", nr_units[n], nr_units[n],
			    callbacks_nr, 1);
		bench_exit(&b);
	}
}

/* --- page tables --- */

/* Of all IOMMUs, what CPUs have not yet told the node included */
static long tables_pages(void)
{
	long nr = global_node_page_state(NR_IOMMU_PAGES);
	int nid, cpu;

	for_each_online_node(nid)
		for_each_online_cpu(cpu)
			nr += per_cpu_ptr(NODE_DATA(nid)->per_cpu_nodestats,
					  cpu)->vm_node_stat_diff[NR_IOMMU_PAGES];
	return nr;
}

/* How often a virtual machine's memory is mapped, and the tables that this takes */
static void tables(struct kunit *test)
{
	/* One of each level above those of the last one */
	unsigned int limit = 3 + DIV_ROUND_UP(IOVA / SZ_4K + VM_PAGES, PTRS_PER_PTE);
	struct bench b;
	unsigned int n;
	long before;

	for (n = 0; n < ARRAY_SIZE(nr_units); n++) {
		before = tables_pages();
		bench_vm(test, &b, nr_units[n], nr_units[n], KIOMMU_ATS);
		bench_map(&b, VM_PAGES);
		bench_count(test, "maps", "vm", nr_units[n], nr_units[n], b.nr, 1);
		bench_count(test, "tables", "vm", nr_units[n], nr_units[n],
			    tables_pages() - before, limit);
		bench_exit(&b);
		KUNIT_EXPECT_EQ(test, before, tables_pages());
	}
}

/* --- instances that do nothing, and take their time --- */

/**
 * struct bench_irq - an interrupt that arrives when an instance is told something
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

static u32 bench_next(const struct smmu_unit *unit, u32 pos)
{
	return (pos + 1) & ((2U << unit->smmu.cmdq.q.llq.max_n_shift) - 1);
}

static struct smmu_slot *bench_slot(struct smmu_unit *unit, u32 pos)
{
	return &unit->slot[Q_IDX(&unit->smmu.cmdq.q.llq, pos)];
}

static void bench_accept(struct smmu_unit *unit)
{
	u32 prod = readl(unit->smmu.base + ARM_SMMU_CMDQ_PROD);
	u64 ready = ktime_get_mono_fast_ns() + unit->latency;

	lockdep_assert_held(&unit->lock);

	for (; unit->tail != prod; unit->tail = bench_next(unit, unit->tail))
		WRITE_ONCE(bench_slot(unit, unit->tail)->ready, ready);
	if (unit->priv)
		bench_irq_send(unit->priv);
}

static bool bench_is_ready(struct smmu_unit *unit)
{
	return ktime_get_mono_fast_ns() >=
		READ_ONCE(bench_slot(unit, READ_ONCE(unit->head))->ready);
}

/* Whoever has waited may use the slots again at once. */
static void bench_execute(struct smmu_unit *unit)
{
	const __le64 *ent;

	lockdep_assert_held(&unit->lock);

	while (unit->head != unit->tail && bench_is_ready(unit)) {
		ent = Q_ENT(&unit->smmu.cmdq.q, unit->head);
		unit->count[FIELD_GET(CMDQ_0_OP, le64_to_cpu(ent[0]))]++;
		WRITE_ONCE(unit->head, bench_next(unit, unit->head));
	}
	writel(unit->head, unit->smmu.base + ARM_SMMU_CMDQ_CONS);
}

/* See &iommu_kunit_hw.run. Most calls of those who wait find that it is too early. */
static void bench_queue(struct iommu_kunit_hw *hw, bool submitted)
{
	struct smmu_unit *unit = hw_to_smmu_unit(hw);
	unsigned long flags;

	if (!submitted && !bench_is_ready(unit))
		return;
	raw_spin_lock_irqsave(&unit->lock, flags);
	if (submitted)
		bench_accept(unit);
	else
		bench_execute(unit);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* From now on it takes time, until slow_end(). Nothing is under way. */
static void slow_begin(struct bench *b, unsigned int latency_us)
{
	struct smmu_unit *unit;
	unsigned int n;

	smmu_clear_log(b->machine);
	for (n = 0; n < b->machine->nr_units; n++) {
		unit = &b->machine->unit[n];
		unit->latency = latency_us * NSEC_PER_USEC;
		unit->hw.run = bench_queue;
	}
}

/* So many flushes were two CMD_SYNCs on each instance. */
static void slow_end(struct bench *b, u64 flushes)
{
	struct smmu_unit *unit;
	unsigned int n;

	for (n = 0; n < b->machine->nr_units; n++) {
		unit = &b->machine->unit[n];
		KUNIT_EXPECT_EQ(b->test, unit->head, unit->tail);
		KUNIT_EXPECT_EQ(b->test, 2 * flushes, unit->count[CMDQ_OP_CMD_SYNC]);
		unit->latency = 0;
		unit->priv = NULL;
		unit->hw.run = smmu_queue;
	}
}

/* --- wall time --- */

/* Without latency it is all software, that of the test's hardware included. */
static const unsigned int flush_us[] = { 0, 20, 50, 100, 500 };

static void flush_time(struct bench *b, const char *row, unsigned int latency)
{
	u64 start, sample[BENCH_ALL];
	unsigned int round;

	slow_begin(b, latency);
	for (round = 0; round < BENCH_ALL; round++) {
		bench_ready(b);
		start = ktime_get_mono_fast_ns();
		bench_flush(b);
		sample[round] = ktime_get_mono_fast_ns() - start;
		cond_resched();
	}
	slow_end(b, BENCH_ALL);
	bench_print(b->test, row, latency, b->machine->nr_units, sample);
}

/* The wall time of one page of a process against the number of instances */
static void flush(struct kunit *test)
{
	struct bench b;
	unsigned int n, l;

	for (n = 0; n < ARRAY_SIZE(nr_units); n++) {
		bench_process(test, &b, nr_units[n], nr_units[n], KIOMMU_ATS);
		for (l = 0; l < ARRAY_SIZE(flush_us); l++)
			flush_time(&b, "smmu-wall-sva", flush_us[l]);
		bench_exit(&b);
	}
}

/* The same of a virtual machine: one page is unmapped from all functions. */
static void unmap(struct kunit *test)
{
	struct bench b;
	unsigned int n, l;

	for (n = 0; n < ARRAY_SIZE(nr_units); n++) {
		bench_vm(test, &b, nr_units[n], nr_units[n], KIOMMU_ATS);
		for (l = 0; l < ARRAY_SIZE(flush_us); l++)
			flush_time(&b, "smmu-wall-vm", flush_us[l]);
		bench_exit(&b);
	}
}

/* --- interrupts --- */

#define IRQ_LATENCY_US	100

/* The longest that one of the interrupts had to wait, of one flush */
static u64 irqs_late(struct bench *b, struct bench_irq *irq)
{
	u64 late = 0;
	unsigned int n;

	for (n = 0; n < b->machine->nr_units; n++)
		irq[n].late = 0;
	bench_flush(b);
	for (n = 0; n < b->machine->nr_units; n++) {
		irq_work_sync(&irq[n].work);
		KUNIT_EXPECT_GT(b->test, irq[n].late, 0);
		late = max(late, irq[n].late);
	}
	return late;
}

static void irqs_time(struct bench *b, struct bench_irq *irq)
{
	u64 sample[BENCH_ALL];
	unsigned int round, n;

	slow_begin(b, IRQ_LATENCY_US);
	for (n = 0; n < b->machine->nr_units; n++) {
		irq[n].work = IRQ_WORK_INIT_HARD(bench_irq);
		b->machine->unit[n].priv = &irq[n];
	}
	for (round = 0; round < BENCH_ALL; round++)
		sample[round] = irqs_late(b, irq);
	slow_end(b, BENCH_ALL);
	bench_print(b->test, "smmu-irqsoff", IRQ_LATENCY_US, b->machine->nr_units, sample);
}

/*
 * How long interrupts are off: one is sent at every submission, to the CPU that
 * submits. It comes when that one can take it.
 */
static void irqsoff(struct kunit *test)
{
	struct bench_irq irq[SMMU_UNITS];
	struct bench b;
	unsigned int n;

	for (n = 1; n <= SMMU_UNITS; n *= SMMU_UNITS) {
		bench_process(test, &b, n, n, KIOMMU_ATS);
		irqs_time(&b, irq);
		bench_exit(&b);
	}
}

/* --- two threads --- */

#define THREADS	2

static const unsigned int threads_us[] = { 20, 50, 100, 500 };

/* Some that begin at once, each with a process of its own */
struct bench_threads {
	struct mm_struct *mm[THREADS];
	unsigned int nr;
	atomic_t ready;
	atomic64_t flushes;
	atomic64_t rate;	/* per 1000 seconds, of all */
};

static int bench_thread(void *arg)
{
	struct bench_threads *all = arg;
	struct mm_struct *mm = all->mm[atomic_inc_return(&all->ready) - 1];
	u64 start, now, flushes = 0;

	while (atomic_read(&all->ready) < all->nr)
		cond_resched();
	start = ktime_get_mono_fast_ns();
	do {
		smmu_event(mm, IOVA, 1);
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
static u64 bench_parallel(struct kunit *test, struct mm_struct *const mm[THREADS],
			  unsigned int nr, u64 *flushes)
{
	struct bench_threads all = { .mm = { mm[0], mm[1] }, .nr = nr };
	struct kiommu_thread thread;

	if (nr > 1)
		kiommu_start(test, &thread, bench_thread, &all);
	bench_thread(&all);
	if (nr > 1)
		kiommu_join(&thread);
	*flushes += atomic64_read(&all.flushes);
	return div64_u64(NSEC_PER_SEC * 1000, atomic64_read(&all.rate));
}

static void threads_time(struct bench *b, struct mm_struct *const mm[THREADS],
			 unsigned int latency)
{
	u64 sample[THREADS][BENCH_ALL], flushes = 0;
	unsigned int round, nr;

	slow_begin(b, latency);
	for (round = 0; round < BENCH_ALL; round++)
		for (nr = 1; nr <= THREADS; nr++)
			sample[nr - 1][round] = bench_parallel(b->test, mm, nr, &flushes);
	slow_end(b, flushes);
	for (nr = 1; nr <= THREADS; nr++)
		bench_print(b->test, "smmu-threads", latency, nr, sample[nr - 1]);
}

/* Another process, which is bound to another function behind the first instance */
static struct mm_struct *threads_mm(struct bench *b)
{
	struct mm_struct *mm = mm_alloc();
	struct smmu_fn *fn;

	KUNIT_ASSERT_NOT_NULL(b->test, mm);
	fn = smmu_add_fn(b->test, 0, KIOMMU_PASID | KIOMMU_ATS);
	KUNIT_ASSERT_EQ(b->test, 0, smmu_identity(fn));
	KUNIT_ASSERT_EQ(b->test, 0,
			smmu_set_pasid(fn, b->pasid + 1, smmu_sva(b->test, fn, mm)));
	return mm;
}

/* One thread, then two, with a process and a function each, behind one instance */
static void two_threads(struct kunit *test)
{
	struct mm_struct *mm[THREADS];
	struct bench b;
	unsigned int l;

	kiommu_two_cpus(test);
	bench_process(test, &b, 1, 1, KIOMMU_ATS);
	mm[0] = b.mm;
	mm[1] = threads_mm(&b);
	for (l = 0; l < ARRAY_SIZE(threads_us); l++)
		threads_time(&b, mm, threads_us[l]);
	mmput(mm[1]);
	bench_exit(&b);
}

static struct kunit_case bench_cases[] = {
	KUNIT_CASE(commands),
	KUNIT_CASE(callbacks),
	KUNIT_CASE(tables),
	KUNIT_CASE_SLOW(flush),
	KUNIT_CASE_SLOW(unmap),
	KUNIT_CASE_SLOW(irqsoff),
	KUNIT_CASE_SLOW(two_threads),
	{}
};

static struct kunit_suite bench_suite = {
	.name = "arm_smmu_bench",
	.exit = smmu_exit,
	.test_cases = bench_cases,
};

kunit_test_suite(bench_suite);
