// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the command queue: of arm_smmu_cmdq_submit(), arm_smmu_cmdq_wait() and
 * what is made of them, while others use the queue, too
 *
 * Positions are numbers modulo 2^31. All tests start just before there are no more.
 *
 * An instance executes commands only while somebody polls it. So a test that has submitted
 * and not waited knows that nothing has been executed, and one that lets another list be
 * waited for knows that everything has been. If an instance has executed all that it was
 * given, and somebody waits all the same, for seconds, the queue is broken. The instance
 * says that it is off then, and the test fails instead of being stuck.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/prandom.h>

#include "kunit-mock.h"

#define SHIFT		7	/* log2 of the slots, the fewest that a queue may have */
#define SLOTS		BIT(SHIFT)
#define LIST		15	/* commands of the longest list */
#define LISTS		(SLOTS / (LIST + 1))	/* of which that many fit */
#define LAST		6	/* positions that are left before there are no more */
#define MINE		2	/* ASIDs, by which commands are counted: of the test */
#define OTHERS		3	/* of who else submits */
#define WHOSE		8	/* how many of them */
#define STUCK_NS	(2 * NSEC_PER_SEC)
#define STUCK_POLLS	1000
#define HOLD_MS		300
#define TIMER_MS	2
#define LOAD_MS		200
#define THREADS		3

/* A list of commands, and what to wait for */
struct list {
	u64 cmds[LIST * CMDQ_ENT_DWORDS];
	struct arm_smmu_cmdq_sync sync;
};

/**
 * struct queue - a queue under test
 * @test: the test
 * @unit: whose it is
 * @full: lists that fill it, and one more
 * @seen: &kiommu.seq when it was last polled, which is when something happened
 * @since: when it changed
 * @idle: polls since then
 * @polls: how often somebody waited
 * @polls_irqs_off: how often with interrupts off
 * @executed: commands, by ASID
 * @first_poll: when the first was, ns
 * @last_poll: when the last was
 * @wrong_prods: values of PROD with more bits than it has
 * @answer_to: a late function answers when this thread has polled
 * @answer_polls: that many times
 * @work: an interrupt on the CPU that asks for it
 * @timer: another one, which comes while the instance is stopped
 * @start_timer: it is to be started as soon as that is so
 * @interrupts: how many
 * @irq_cpu: where the last was
 * @irq_held: the instance was stopped when the last began
 * @irq_lists: lists that an interrupt submits and waits for
 * @irq_list: the list
 * @irq_errors: of those, how many failed
 */
struct queue {
	struct kunit *test;
	struct smmu_unit *unit;
	struct list full[LISTS + 1];
	u64 seen;
	u64 since;
	atomic_t idle;
	atomic_t polls;
	atomic_t polls_irqs_off;
	atomic_t executed[WHOSE];
	u64 first_poll;
	u64 last_poll;
	unsigned int wrong_prods;
	struct task_struct *answer_to;
	unsigned int answer_polls;
	struct irq_work work;
	struct hrtimer timer;
	bool start_timer;
	unsigned int interrupts;
	unsigned int irq_cpu;
	bool irq_held;
	unsigned int irq_lists;
	struct list irq_list;
	unsigned int irq_errors;
};

/* --- how it is found out that a CMD_SYNC is complete --- */

struct mode {
	const char *name;
	u32 features;
	u32 options;
};

static const struct mode modes[] = {
	{ "cons", 0, 0 },
	{ "sev", ARM_SMMU_FEAT_SEV, 0 },
	{ "msi", 0, ARM_SMMU_OPT_MSIPOLL },
};

KUNIT_ARRAY_PARAM_DESC(mode, modes, name);

/* --- the watchdog --- */

/* Everything that is submitted or executed changes @seq. */
static void queue_watch(struct queue *q)
{
	u64 seq = atomic64_read(&q->unit->machine->k.seq);
	u64 now = ktime_get_mono_fast_ns();
	bool held = kiommu_is_held(&q->unit->hold);
	bool busy = held || READ_ONCE(q->unit->head) != READ_ONCE(q->unit->tail) ||
		READ_ONCE(q->unit->turn.cpu) >= 0;

	if (held && q->start_timer) {
		q->start_timer = false;
		hrtimer_start(&q->timer, ms_to_ktime(TIMER_MS),
			      HRTIMER_MODE_REL_PINNED_HARD);
	}
	if (busy || seq != READ_ONCE(q->seen)) {
		WRITE_ONCE(q->seen, seq);
		WRITE_ONCE(q->since, now);
		atomic_set(&q->idle, 0);
		return;
	}
	if (atomic_inc_return(&q->idle) > STUCK_POLLS &&
	    now - READ_ONCE(q->since) > STUCK_NS) {
		kiommu_complain(&q->unit->machine->k,
				"the instance has nothing to do, and is waited for");
		smmu_turn(q->unit, false);
	}
}

/* What is late is answered now. */
static void queue_answer(struct queue *q)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&q->unit->lock, flags);
	q->unit->answer_at = 0;
	raw_spin_unlock_irqrestore(&q->unit->lock, flags);
}

static void queue_polled(struct queue *q)
{
	u64 now = ktime_get_mono_fast_ns();

	atomic_inc(&q->polls);
	if (irqs_disabled())
		atomic_inc(&q->polls_irqs_off);
	WRITE_ONCE(q->last_poll, now);
	if (!READ_ONCE(q->first_poll))
		WRITE_ONCE(q->first_poll, now);
	if (READ_ONCE(q->answer_to) == current && !--q->answer_polls)
		queue_answer(q);
}

static void queue_run(struct iommu_kunit_hw *hw, bool submitted)
{
	struct queue *q = hw_to_smmu_unit(hw)->priv;

	if (!submitted)
		queue_polled(q);
	smmu_queue(hw, submitted);
	if (!submitted)
		queue_watch(q);
}

/* --- lists --- */

static void fill(u64 *cmds, unsigned int whose, unsigned int n)
{
	for (; n--; cmds += CMDQ_ENT_DWORDS) {
		cmds[0] = CMDQ_OP_TLBI_NH_ASID | FIELD_PREP(CMDQ_TLBI_0_ASID, whose);
		cmds[1] = 0;
	}
}

static int submit(struct queue *q, struct list *l, unsigned int n)
{
	struct arm_smmu_device *smmu = &q->unit->smmu;

	return arm_smmu_cmdq_submit(smmu, &smmu->cmdq, l->cmds, n, &l->sync);
}

static int wait(struct queue *q, struct list *l)
{
	return arm_smmu_cmdq_wait(&q->unit->smmu, &l->sync, l->cmds);
}

static int submit_of(struct queue *q, struct list *l, unsigned int whose, unsigned int n)
{
	fill(l->cmds, whose, n);
	return submit(q, l, n);
}

static int sync_of(struct queue *q, struct list *l, unsigned int whose, unsigned int n)
{
	int ret = submit_of(q, l, whose, n);

	return ret ?: wait(q, l);
}

/* An ATC invalidation, and @more commands behind it */
static int submit_atc(struct queue *q, struct list *l, struct smmu_fn *fn, unsigned int more)
{
	l->cmds[0] = CMDQ_OP_ATC_INV | FIELD_PREP(CMDQ_ATC_0_SID, fn->sid[0]);
	l->cmds[1] = ATC_INV_SIZE_ALL;
	fill(l->cmds + CMDQ_ENT_DWORDS, OTHERS, more);
	return submit(q, l, 1 + more);
}

static int sync_atc(struct queue *q, struct list *l, struct smmu_fn *fn)
{
	int ret = submit_atc(q, l, fn, 0);

	return ret ?: wait(q, l);
}

/* Lists that fill an empty queue */
static void submit_full(struct queue *q)
{
	unsigned int n;

	for (n = 0; n < LISTS; n++)
		KUNIT_EXPECT_EQ(q->test, 0, submit_of(q, &q->full[n], MINE, LIST));
}

static void wait_full(struct queue *q)
{
	unsigned int n;

	for (n = 0; n < LISTS; n++)
		KUNIT_EXPECT_EQ(q->test, 0, wait(q, &q->full[n]));
	KUNIT_EXPECT_EQ(q->test, LISTS * LIST, atomic_read(&q->executed[MINE]));
}

/* Let the queue wrap @times times, and a little more: slots have other commands than before. */
static unsigned int go_round(struct queue *q, unsigned int times)
{
	struct list *l = &q->full[LISTS];
	unsigned int n, errors;

	errors = sync_of(q, l, OTHERS, 3) != 0;
	for (n = 0; n < times * LISTS; n++)
		errors += sync_of(q, l, OTHERS, LIST) != 0;
	return errors;
}

/* --- setup --- */

static void queue_before(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct queue *q = unit->priv;

	if (cmd->op == CMDQ_OP_TLBI_NH_ASID)
		atomic_inc(&q->executed[FIELD_GET(CMDQ_TLBI_0_ASID, cmd->qw[0])]);
}

/* All that was submitted is over: the next command gets @pos, but for what registers have. */
static void queue_renumber(struct queue *q, u32 pos)
{
	struct arm_smmu_cmdq *cmdq = &q->unit->smmu.cmdq;
	struct arm_smmu_ll_queue *llq = &cmdq->q.llq;
	u32 reg = readl(cmdq->q.prod_reg);

	smmu_settle(q->unit);
	KUNIT_ASSERT_EQ(q->test, reg, readl(cmdq->q.cons_reg));
	KUNIT_ASSERT_EQ(q->test, reg, cmdq_pos_to_reg(llq, llq->prod));
	llq->prod = (pos & ~((2U << llq->max_n_shift) - 1)) | reg;
	llq->cons = llq->prod;
	atomic_set(&cmdq->owner_prod, llq->prod);
}

static void queue_reset_counts(struct queue *q)
{
	unsigned int n;

	for (n = 0; n < WHOSE; n++)
		atomic_set(&q->executed[n], 0);
	atomic_set(&q->polls, 0);
	atomic_set(&q->polls_irqs_off, 0);
}

static struct queue *queue_of(struct kunit *test, struct smmu_unit *unit)
{
	struct queue *q = kunit_kzalloc(test, sizeof(*q), GFP_KERNEL);
	struct arm_smmu_ll_queue *llq = &unit->smmu.cmdq.q.llq;

	KUNIT_ASSERT_NOT_NULL(test, q);
	q->test = test;
	q->unit = unit;
	unit->priv = q;
	unit->before = queue_before;
	unit->hw.run = queue_run;
	queue_renumber(q, CMDQ_POS_MASK);
	while (cmdq_pos_ahead(0, llq->prod) > LAST)
		KUNIT_ASSERT_EQ(test, 0, sync_of(q, &q->full[0], MINE, 1));
	smmu_clear_log(test->priv);
	queue_reset_counts(q);
	return q;
}

static struct smmu_machine *queue_machine(struct kunit *test, unsigned int units)
{
	const struct mode *mode = test->param_value;
	struct smmu_caps caps[2];
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(caps); n++)
		caps[n] = (struct smmu_caps) {
			.features = SMMU_FEATURES | (mode ? mode->features : 0),
			.options = mode ? mode->options : 0,
			.queue = SHIFT,
		};
	return smmu_machine(test, units, caps);
}

static struct queue *queue_setup(struct kunit *test)
{
	return queue_of(test, queue_machine(test, 1)->unit);
}

/* With a function behind it that has ATS on */
static struct queue *queue_with_fn(struct kunit *test, struct smmu_fn **fn)
{
	struct smmu_machine *m = queue_machine(test, 1);

	*fn = smmu_add_fn(test, 0, KIOMMU_ATS);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(*fn, smmu_paging(test, *fn, 0)));
	return queue_of(test, m->unit);
}

static void set_limit(void *us)
{
	arm_smmu_poll_timeout_us = (uintptr_t)us;
}

static void limit_ms(struct kunit *test, unsigned int ms)
{
	struct smmu_machine *m = test->priv;

	kiommu_at_exit(test, &m->k, set_limit,
		       (void *)(unsigned long)arm_smmu_poll_timeout_us);
	arm_smmu_poll_timeout_us = ms * USEC_PER_MSEC;
}

static s64 ms_since(ktime_t start)
{
	return ktime_ms_delta(ktime_get(), start);
}

/* --- positions --- */

#define MANY	BIT(20)

/* What is wrong with a position of which a register has the low bits */
static unsigned int position_errors(const struct arm_smmu_ll_queue *q, u32 pos)
{
	u32 size = 1U << q->max_n_shift, reg = cmdq_pos_to_reg(q, pos);
	u32 behind[] = { 0, 1, size - 1, size, 2 * size - 1 };
	unsigned int n, errors = reg != pos % (2 * size);

	for (n = 0; n < ARRAY_SIZE(behind); n++)
		errors += cmdq_pos_of_reg(q, cmdq_pos_ahead(pos, behind[n]),
					  reg | CMDQ_CONS_ERR) != pos;
	/* Next is what has not been passed, as is all that may be in the queue */
	errors += cmdq_has_passed(q, pos, pos);
	errors += cmdq_has_passed(q, pos, cmdq_pos_add(pos, size - 1));
	errors += !cmdq_has_passed(q, cmdq_pos_add(pos, 1), pos);
	errors += !cmdq_has_passed(q, cmdq_pos_add(pos, size), pos);
	errors += !cmdq_has_passed(q, cmdq_pos_add(pos, 1U << 30), pos);
	errors += !cmdq_has_passed(q, cmdq_pos_add(pos, CMDQ_POS_MASK - size), pos);
	return errors;
}

static unsigned int space_errors(struct arm_smmu_ll_queue *q, u32 pos)
{
	u32 size = 1U << q->max_n_shift;
	unsigned int errors;

	q->cons = pos;
	q->prod = pos;
	errors = !cmdq_has_space(q, size) + cmdq_has_space(q, size + 1);
	q->prod = cmdq_pos_add(pos, size - 1) | CMDQ_PROD_OWNED_FLAG;
	errors += !cmdq_has_space(q, 1) + cmdq_has_space(q, 2);
	q->prod = cmdq_pos_add(pos, size) | CMDQ_PROD_OWNED_FLAG;
	errors += cmdq_has_space(q, 1);
	return errors;
}

/* Across the last position, and for queues of all sizes */
static void positions(struct kunit *test)
{
	static const u32 shifts[] = { SHIFT, 8, 16, 19 };
	struct arm_smmu_ll_queue q;
	unsigned int n, i, errors;
	u32 pos;

	for (n = 0; n < ARRAY_SIZE(shifts); n++) {
		q.max_n_shift = shifts[n];
		pos = cmdq_pos_ahead(0, MANY / 2);
		errors = 0;
		for (i = 0; i < MANY; i++, pos = cmdq_pos_add(pos, 1))
			errors += position_errors(&q, pos) + space_errors(&q, pos);
		KUNIT_EXPECT_EQ(test, 0, errors);
		KUNIT_EXPECT_EQ(test, MANY / 2, pos);
	}
}

static void expect_regs(struct queue *q, u32 prod, u32 cons)
{
	KUNIT_EXPECT_EQ(q->test, prod, readl(q->unit->smmu.cmdq.q.prod_reg));
	KUNIT_EXPECT_EQ(q->test, cons, readl(q->unit->smmu.cmdq.q.cons_reg));
}

/* All that PROD says is consumed at once, and nothing of it executed. */
static void swallow(struct iommu_kunit_hw *hw, bool submitted)
{
	struct smmu_unit *unit = hw_to_smmu_unit(hw);
	u32 prod = readl(unit->smmu.cmdq.q.prod_reg);
	struct queue *q = unit->priv;
	unsigned long flags;

	q->wrong_prods += prod >= 2 * SLOTS;
	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->head = prod;
	unit->tail = prod;
	writel(prod, unit->smmu.cmdq.q.cons_reg);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* 2^20 entries, across the last position: registers get index and wrap bit, also of a reset */
static void many_entries(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	struct arm_smmu_ll_queue *llq = &q->unit->smmu.cmdq.q.llq;
	unsigned int n, errors = 0;
	u32 start, reg;

	queue_renumber(q, CMDQ_POS_MASK - MANY / 2);
	start = llq->prod;
	reg = start % (2 * SLOTS);
	q->unit->hw.run = swallow;
	for (n = 0; n < MANY / (LIST + 1); n++)
		errors += sync_of(q, &q->full[0], MINE, LIST) != 0;
	q->unit->hw.run = queue_run;
	KUNIT_EXPECT_EQ(test, 0, errors);
	KUNIT_EXPECT_EQ(test, 0, q->wrong_prods);
	KUNIT_EXPECT_EQ(test, MANY, cmdq_pos_ahead(llq->prod, start));
	KUNIT_EXPECT_LT(test, llq->prod, start);
	expect_regs(q, reg, reg);
	writel(~0, q->unit->smmu.cmdq.q.cons_reg);
	writel(~0, q->unit->smmu.cmdq.q.prod_reg);
	/* Not where index and wrap bit are all that there is */
	KUNIT_EXPECT_LT(test, 2 * SLOTS, llq->prod);
	arm_smmu_cmdq_write_regs(&q->unit->smmu);
	expect_regs(q, reg, reg);
	KUNIT_EXPECT_EQ(test, 0, sync_of(q, &q->full[0], MINE, LIST));
	KUNIT_EXPECT_EQ(test, LIST, atomic_read(&q->executed[MINE]));
}

/* --- what was submitted is waited for later --- */

/* It has been executed when it is waited for: nothing tells of it any more. */
static void done_before_wait(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	struct list *l = q->full;

	KUNIT_ASSERT_EQ(test, 0, submit_of(q, l, MINE, LIST));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->executed[MINE]));
	smmu_queue(&q->unit->hw, false);
	KUNIT_EXPECT_EQ(test, LIST, atomic_read(&q->executed[MINE]));
	KUNIT_EXPECT_EQ(test, 0, wait(q, l));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->polls));
}

/* Its slot, and all others, have been used again, an odd and an even number of times. */
static void slot_used_again(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	unsigned int times;

	for (times = 1; times <= 4; times++) {
		queue_reset_counts(q);
		KUNIT_ASSERT_EQ(test, 0, submit_of(q, q->full, MINE, LIST));
		KUNIT_EXPECT_EQ(test, 0, go_round(q, times));
		KUNIT_EXPECT_EQ(test, LIST, atomic_read(&q->executed[MINE]));
		atomic_set(&q->polls, 0);
		KUNIT_EXPECT_EQ(test, 0, wait(q, q->full));
		KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->polls));
	}
}

struct rounds {
	struct queue *q;
	unsigned int errors;
};

static int go_round_often(void *arg)
{
	struct rounds *r = arg;

	r->errors = go_round(r->q, 4);
	return 0;
}

static void do_two_pending(struct kunit *test, bool last_first)
{
	struct smmu_machine *m = queue_machine(test, 2);
	struct queue *a = queue_of(test, &m->unit[0]), *b = queue_of(test, &m->unit[1]);
	struct rounds ra = { .q = a }, rb = { .q = b };
	struct kiommu_thread ta, tb;

	smmu_clear_log(m);
	KUNIT_ASSERT_EQ(test, 0, submit_of(a, a->full, MINE, LIST));
	KUNIT_ASSERT_EQ(test, 0, submit_of(b, b->full, MINE, LIST));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&a->polls) + atomic_read(&b->polls));
	/* Others need neither queue less because of that */
	kiommu_start(test, &ta, go_round_often, &ra);
	kiommu_start(test, &tb, go_round_often, &rb);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&ta));
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&tb));
	KUNIT_EXPECT_EQ(test, 0, ra.errors + rb.errors);
	/* And again */
	KUNIT_ASSERT_EQ(test, 0, submit_of(a, a->full + 1, MINE, LIST));
	KUNIT_ASSERT_EQ(test, 0, submit_of(b, b->full + 1, MINE, LIST));
	if (last_first)
		KUNIT_EXPECT_EQ(test, 0, wait(b, b->full + 1));
	KUNIT_EXPECT_EQ(test, 0, wait(a, a->full));
	KUNIT_EXPECT_EQ(test, 0, wait(b, b->full));
	KUNIT_EXPECT_EQ(test, 0, wait(a, a->full + 1));
	if (!last_first)
		KUNIT_EXPECT_EQ(test, 0, wait(b, b->full + 1));
	KUNIT_EXPECT_EQ(test, 2 * LIST, atomic_read(&a->executed[MINE]));
	KUNIT_EXPECT_EQ(test, 2 * LIST, atomic_read(&b->executed[MINE]));
	/* Both were submitted before one of them was waited for */
	KUNIT_EXPECT_LT(test, m->unit[1].log[LIST].issued, m->unit[0].log[0].done);
	smmu_exit(test);
}

static void two_pending(struct kunit *test)
{
	kiommu_two_cpus(test);
	do_two_pending(test, false);
	do_two_pending(test, true);
}

/* --- interrupts --- */

static void queue_interrupt(struct queue *q)
{
	unsigned int n;

	q->interrupts++;
	q->irq_cpu = smp_processor_id();
	q->irq_held = kiommu_is_held(&q->unit->hold);
	for (n = 0; n < q->irq_lists; n++)
		q->irq_errors += sync_of(q, &q->irq_list, OTHERS, LIST) != 0;
}

static void queue_irq_work(struct irq_work *work)
{
	queue_interrupt(container_of(work, struct queue, work));
}

static enum hrtimer_restart queue_timer(struct hrtimer *timer)
{
	queue_interrupt(container_of(timer, struct queue, timer));
	return HRTIMER_NORESTART;
}

/*
 * A thread has lists that it has not waited for. On its CPU comes an interrupt that needs
 * many times the slots that are left.
 */
static void fill_from_interrupt(struct queue *q)
{
	unsigned int cpu;

	q->irq_lists = 4 * LISTS;
	q->work = IRQ_WORK_INIT_HARD(queue_irq_work);
	cpu = smp_processor_id();
	irq_work_queue(&q->work);
	irq_work_sync(&q->work);
	KUNIT_EXPECT_EQ(q->test, cpu, q->irq_cpu);
	KUNIT_EXPECT_EQ(q->test, 1, q->interrupts);
	KUNIT_EXPECT_EQ(q->test, 0, q->irq_errors);
	KUNIT_EXPECT_EQ(q->test, q->irq_lists * LIST, atomic_read(&q->executed[OTHERS]));
}

static void interrupt_after_submission(struct kunit *test)
{
	struct queue *q = queue_setup(test);

	migrate_disable();
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, q->full, MINE, LIST));
	fill_from_interrupt(q);
	KUNIT_EXPECT_EQ(test, 0, wait(q, q->full));
	migrate_enable();
	KUNIT_EXPECT_EQ(test, LIST, atomic_read(&q->executed[MINE]));
}

static void interrupt_when_full(struct kunit *test)
{
	struct queue *q = queue_setup(test);

	migrate_disable();
	submit_full(q);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->polls));
	fill_from_interrupt(q);
	wait_full(q);
	migrate_enable();
}

/* The instance stops, and is waited for; meanwhile there is an interrupt. */
static void interrupt_while_held(struct queue *q)
{
	hrtimer_init(&q->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	q->timer.function = queue_timer;
	q->start_timer = true;
	kiommu_hold(&q->unit->hold, CMDQ_OP_CMD_SYNC, 1, HOLD_MS);
	migrate_disable();
	KUNIT_EXPECT_EQ(q->test, 0, sync_of(q, q->full, MINE, LIST));
	hrtimer_cancel(&q->timer);
	migrate_enable();
	KUNIT_EXPECT_EQ(q->test, 1, q->interrupts);
	KUNIT_EXPECT_TRUE(q->test, q->irq_held);
}

/* As before, but the thread is in the midst of waiting */
static void interrupt_while_waiting(struct kunit *test)
{
	struct queue *q = queue_setup(test);

	q->irq_lists = 4 * LISTS;
	interrupt_while_held(q);
	KUNIT_EXPECT_EQ(test, 0, q->irq_errors);
	KUNIT_EXPECT_EQ(test, q->irq_lists * LIST, atomic_read(&q->executed[OTHERS]));
}

static void expect_polls(struct queue *q, bool irqs_off)
{
	int polls = atomic_xchg(&q->polls, 0);
	int off = atomic_xchg(&q->polls_irqs_off, 0);

	KUNIT_EXPECT_GT(q->test, polls, 0);
	KUNIT_EXPECT_EQ(q->test, irqs_off ? polls : 0, off);
}

/* Whoever waits, for completion or for room, leaves interrupts on, also in a flush. */
static void interrupts_are_on(struct kunit *test)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	interrupt_while_held(q);
	expect_polls(q, false);
	queue_reset_counts(q);
	submit_full(q);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->polls));
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[LISTS], OTHERS, LIST));
	expect_polls(q, false);
	wait_full(q);
	KUNIT_EXPECT_EQ(test, 0, wait(q, &q->full[LISTS]));
	atomic_set(&q->polls, 0);
	q->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, domain));
	expect_polls(q, false);
}

static void interrupts_stay_off(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	unsigned long flags;
	int ret;

	kiommu_hold(&q->unit->hold, CMDQ_OP_CMD_SYNC, 1, 5);
	local_irq_save(flags);
	ret = sync_of(q, q->full, MINE, LIST);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, 0, ret);
	expect_polls(q, true);
}

/* --- MSIs --- */

#define MSI_TURNS	150	/* of those who wait */
#define LIMIT_MS	20

/* After a CMD_SYNC, @n commands without another one */
static unsigned int submit_unsynced(struct queue *q, unsigned int n)
{
	struct arm_smmu_device *smmu = &q->unit->smmu;
	unsigned int errors = 0;
	u64 cmd[CMDQ_ENT_DWORDS];

	fill(cmd, OTHERS, 1);
	while (n--)
		errors += arm_smmu_cmdq_submit(smmu, &smmu->cmdq, cmd, 1, NULL) != 0;
	return errors;
}

/*
 * CONS has passed a CMD_SYNC whose MSI is on its way. Its slot is not used before, but those
 * before it are: that is what others need if there is a CMD_SYNC among them.
 */
static void msi_on_its_way(struct kunit *test)
{
	struct queue *q = queue_setup(test);

	q->unit->msi_turns = MSI_TURNS;
	submit_full(q);
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[LISTS], OTHERS, LIST));
	KUNIT_EXPECT_LT(test, atomic_read(&q->polls), MSI_TURNS);
	wait_full(q);
	KUNIT_EXPECT_EQ(test, 0, wait(q, &q->full[LISTS]));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 3));
	/* The slots up to its own */
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, q->full, MINE, LIST));
	smmu_queue(&q->unit->hw, false);
	KUNIT_EXPECT_EQ(test, 0, submit_unsynced(q, SLOTS - 1));
	KUNIT_EXPECT_TRUE(test, q->unit->nr_msis);
	atomic_set(&q->polls, 0);
	KUNIT_EXPECT_EQ(test, 0, submit_unsynced(q, 1));
	KUNIT_EXPECT_FALSE(test, q->unit->nr_msis);
	KUNIT_EXPECT_GT(test, atomic_read(&q->polls), MSI_TURNS / 2);
	KUNIT_EXPECT_EQ(test, 0, wait(q, q->full));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 1));
}

/*
 * An MSI that does not come is waited for up to the limit; CONS tells then. Who needs its slot
 * waits as long if no CMD_SYNC comes after it, and not at all if one does.
 */
static void msi_is_lost(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	ktime_t start = ktime_get();

	limit_ms(test, LIMIT_MS);
	q->unit->lose_msis = 1;
	KUNIT_EXPECT_EQ(test, 0, sync_of(q, q->full, MINE, LIST));
	KUNIT_EXPECT_GE(test, ms_since(start), LIMIT_MS);
	KUNIT_EXPECT_EQ(test, LIST, atomic_read(&q->executed[MINE]));
	start = ktime_get();
	KUNIT_EXPECT_EQ(test, 0, submit_unsynced(q, SLOTS));
	KUNIT_EXPECT_GE(test, ms_since(start), LIMIT_MS);
	q->unit->lose_msis = 1;
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, q->full, MINE, LIST));
	atomic_set(&q->polls, 0);
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 3));
	KUNIT_EXPECT_LT(test, atomic_read(&q->polls), 2 * (3 * LISTS + 1));
	atomic_set(&q->polls, 0);
	KUNIT_EXPECT_EQ(test, 0, wait(q, q->full));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->polls));
}

/* --- errors --- */

/* A function does not answer, others find out, and use the slot again. */
static void failed_and_found_by_others(struct kunit *test)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	struct list *l = q->full;

	kiommu_mute(&fn->fn, true);
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[0], MINE, 1));
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &l[1], fn, 2));
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[2], MINE, 1));
	KUNIT_EXPECT_EQ(test, 0, sync_of(q, &l[3], MINE, 1));
	KUNIT_EXPECT_FALSE(test, smmu_shows_error(q->unit));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 3));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[0]));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[2]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&q->executed[MINE]));
}

/* Of several that fail, each is told, and nobody else, in whichever order they look. */
static void do_several_fail(struct kunit *test, bool last_first)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	unsigned int n, i;

	kiommu_mute(&fn->fn, true);
	for (n = 0; n < LISTS; n++)
		KUNIT_ASSERT_EQ(test, 0, n % 2 ? submit_atc(q, &q->full[n], fn, n) :
					     submit_of(q, &q->full[n], MINE, n));
	for (n = 0; n < LISTS; n++) {
		i = last_first ? LISTS - 1 - n : n;
		KUNIT_EXPECT_EQ(test, i % 2 ? -EIO : 0, wait(q, &q->full[i]));
	}
	smmu_exit(test);
}

static void several_fail(struct kunit *test)
{
	do_several_fail(test, false);
	do_several_fail(test, true);
}

/* Lists that are waited for, until the CMD_SYNC of the next one would be at @pos */
static unsigned int go_up_to(struct queue *q, u32 pos)
{
	struct arm_smmu_ll_queue *llq = &q->unit->smmu.cmdq.q.llq;
	unsigned int n, errors = 0;

	for (n = 0; n < SLOTS && cmdq_pos_add(llq->prod, 1) != pos; n++)
		errors += sync_of(q, &q->full[LISTS], OTHERS, 1);
	return errors + (n == SLOTS);
}

/*
 * However many fail, in the same slots too, before somebody looks: who has failed is told, and
 * who has not is not, unless there are more than are recorded.
 */
static void many_fail(struct kunit *test)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	struct list *l = q->full;
	unsigned int n, errors = 0;

	kiommu_mute(&fn->fn, true);
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[0], MINE, LIST));
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &l[1], fn, 0));
	/* One lap later, in the slots of the first two, and nobody looks */
	KUNIT_EXPECT_EQ(test, 0, go_up_to(q, cmdq_pos_add(l[0].sync.prod, SLOTS)));
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &l[2], fn, 0));
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &l[3], fn, 0));
	KUNIT_EXPECT_EQ(test, cmdq_pos_add(l[0].sync.prod, SLOTS), l[2].sync.prod);
	KUNIT_EXPECT_EQ(test, cmdq_pos_add(l[1].sync.prod, SLOTS), l[3].sync.prod);
	for (n = 4; n < CMDQ_NR_FAILED; n++)
		errors += sync_atc(q, &l[4], fn) != -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, sync_atc(q, &l[4], fn));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[0]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[2]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[3]));
	/* Now that of the second is no longer known. */
	KUNIT_EXPECT_EQ(test, -EIO, sync_atc(q, &l[4], fn));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[0]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[2]));
	/* Once around the queue: the slots are as good as others */
	kiommu_mute(&fn->fn, false);
	for (n = 0; n < SLOTS; n++)
		errors += sync_atc(q, &l[5], fn) != 0;
	KUNIT_EXPECT_EQ(test, 0, errors);
}

/* A command is replaced by a CMD_SYNC, which is told what is for the list. */
static void replaced_one_fails(struct kunit *test)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	struct list *l = q->full;

	kiommu_mute(&fn->fn, true);
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[0], MINE, 1));
	smmu_refuse(q->unit, CMDQ_OP_TLBI_NSNH_ALL);
	submit_atc(q, &l[1], fn, 0);
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	fill(l[1].cmds, MINE, 3);
	l[1].cmds[0] = CMDQ_OP_ATC_INV | FIELD_PREP(CMDQ_ATC_0_SID, fn->sid[0]);
	l[1].cmds[1] = ATC_INV_SIZE_ALL;
	l[1].cmds[2] = CMDQ_OP_TLBI_NSNH_ALL;
	KUNIT_ASSERT_EQ(test, 0, submit(q, &l[1], 3));
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[2], MINE, 1));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[2]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[0]));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&q->executed[MINE]));
}

/* An illegal command is skipped, and who sent it is told; the others are executed. */
static void illegal_is_skipped(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	struct list *l = q->full;

	smmu_refuse(q->unit, CMDQ_OP_TLBI_NSNH_ALL);
	KUNIT_ASSERT_EQ(test, 0, submit_of(q, &l[0], MINE, 1));
	fill(l[1].cmds, MINE, 3);
	l[1].cmds[CMDQ_ENT_DWORDS] = CMDQ_OP_TLBI_NSNH_ALL;
	KUNIT_ASSERT_EQ(test, 0, submit(q, &l[1], 3));
	KUNIT_EXPECT_EQ(test, 0, sync_of(q, &l[2], MINE, 1));
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&q->executed[MINE]));
	KUNIT_EXPECT_EQ(test, -EIO, wait(q, &l[1]));
	KUNIT_EXPECT_EQ(test, 0, wait(q, &l[0]));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 2));
}

/* A kernel that has crashed left the queue at an error: it is not that of the first command. */
static void error_from_before(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	void __iomem *base = q->unit->smmu.base;

	writel(readl(base + ARM_SMMU_GERROR) ^ GERROR_CMDQ_ERR, base + ARM_SMMU_GERROR);
	KUNIT_EXPECT_TRUE(test, smmu_shows_error(q->unit));
	arm_smmu_cmdq_write_regs(&q->unit->smmu);
	KUNIT_EXPECT_FALSE(test, smmu_shows_error(q->unit));
	KUNIT_EXPECT_EQ(test, 0, sync_of(q, &q->full[0], MINE, 1));
}

/* Whoever needs room finds out that the queue stands; the interrupt does not come. */
static void room_behind_an_error(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	unsigned int n;

	smmu_refuse(q->unit, CMDQ_OP_TLBI_NSNH_ALL);
	fill(q->full[0].cmds, MINE, LIST);
	q->full[0].cmds[0] = CMDQ_OP_TLBI_NSNH_ALL;
	KUNIT_ASSERT_EQ(test, 0, submit(q, &q->full[0], LIST));
	for (n = 1; n <= LISTS; n++)
		KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[n], MINE, LIST));
	for (n = 0; n <= LISTS; n++)
		KUNIT_EXPECT_EQ(test, n ? 0 : -EIO, wait(q, &q->full[n]));
	KUNIT_EXPECT_EQ(test, (LISTS + 1) * LIST - 1, atomic_read(&q->executed[MINE]));
}

#define FOR_EVER_NS	(5 * NSEC_PER_SEC)	/* a queue that is broken is not for ever */

/* Nothing is consumed. */
static void say_nothing(struct iommu_kunit_hw *hw, bool submitted)
{
}

static int wait_for_late(void *arg)
{
	struct queue *q = arg;

	return wait(q, &q->full[0]);
}

/* Until somebody who waits has done so for longer than the limit: the other way, then */
static void until_limit_is_over(struct queue *q)
{
	while (READ_ONCE(q->last_poll) - READ_ONCE(q->first_poll) <
	       2 * LIMIT_MS * NSEC_PER_MSEC)
		usleep_range(1000, 2000);
}

/*
 * The limit is over, and a CMD_SYNC is still waited for. Its slot, and those behind it, are
 * in use; who needs room waits for the hardware.
 */
static void late_keeps_its_slot(struct kunit *test)
{
	const struct smmu_cmd *late, *next;
	struct kiommu_thread thread;
	struct smmu_fn *fn;
	struct queue *q;
	unsigned int n;

	kiommu_two_cpus(test);
	q = queue_with_fn(test, &fn);
	limit_ms(test, LIMIT_MS);
	fn->late_ns = FOR_EVER_NS;
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &q->full[0], fn, LIST - 1));
	kiommu_start(test, &thread, wait_for_late, q);
	until_limit_is_over(q);
	for (n = 1; n < LISTS; n++)
		KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[n], MINE, LIST));
	q->answer_polls = 20;
	WRITE_ONCE(q->answer_to, current);
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[LISTS], MINE, LIST));
	KUNIT_EXPECT_EQ(test, 0, q->answer_polls);
	WRITE_ONCE(q->answer_to, NULL);
	KUNIT_EXPECT_EQ(test, 0, kiommu_join(&thread));
	for (n = 1; n <= LISTS; n++)
		KUNIT_EXPECT_EQ(test, 0, wait(q, &q->full[n]));
	late = &q->unit->log[LIST];
	next = &q->unit->log[LISTS * (LIST + 1)];
	KUNIT_EXPECT_EQ(test, CMDQ_OP_CMD_SYNC, late->op);
	KUNIT_EXPECT_LT(test, late->done, next->issued);
}

/* What CONS says counts for nothing if it cannot be: the SMMU was reset, or is not there. */
static void cons_is_wrong(struct kunit *test)
{
	struct queue *q = queue_setup(test);
	void __iomem *reg = q->unit->smmu.cmdq.q.cons_reg;
	struct arm_smmu_ll_queue *llq = &q->unit->smmu.cmdq.q.llq;
	u32 wrong, cons, n;

	limit_ms(test, LIMIT_MS);
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 1));
	KUNIT_EXPECT_EQ(test, 0, submit_of(q, q->full, MINE, LIST));
	cons = readl(reg);
	smmu_turn(q->unit, false);
	q->unit->hw.run = say_nothing;
	for (n = 0; n < 4; n++) {
		wrong = cmdq_pos_to_reg(llq, cmdq_pos_add(llq->prod, n * (LIST + 2)));
		writel(n ? wrong : ~0, reg);
		KUNIT_EXPECT_EQ(test, -ETIMEDOUT, wait(q, q->full));
		KUNIT_EXPECT_NE(test, 0, submit_unsynced(q, SLOTS));
		KUNIT_EXPECT_GE(test, SLOTS, cmdq_pos_ahead(llq->prod, llq->cons));
	}
	writel(cons, reg);
	smmu_turn(q->unit, true);
	q->unit->hw.run = queue_run;
	KUNIT_EXPECT_EQ(test, 0, wait(q, q->full));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 1));
}

/* Nobody waits for an instance that is off, neither for completion nor for room. */
static void off(struct kunit *test)
{
	struct smmu_fn *fn;
	struct queue *q = queue_with_fn(test, &fn);
	unsigned int n;

	limit_ms(test, LIMIT_MS);
	fn->late_ns = FOR_EVER_NS;
	KUNIT_ASSERT_EQ(test, 0, submit_atc(q, &q->full[0], fn, LIST - 1));
	smmu_turn(q->unit, false);
	for (n = 1; n < LISTS; n++)
		KUNIT_EXPECT_EQ(test, 0, submit_of(q, &q->full[n], MINE, LIST));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_of(q, &q->full[LISTS], MINE, LIST));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, wait(q, &q->full[0]));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, wait(q, &q->full[2]));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&q->executed[MINE]));
	queue_answer(q);
	smmu_turn(q->unit, true);
	KUNIT_EXPECT_EQ(test, 0, wait(q, &q->full[LISTS - 1]));
	KUNIT_EXPECT_EQ(test, (LISTS - 1) * LIST, atomic_read(&q->executed[MINE]));
	KUNIT_EXPECT_EQ(test, 0, go_round(q, 1));
}

/* --- load --- */

/* One of those who submit */
struct submitter {
	struct queue *q;
	unsigned int whose;
	struct list list[3];
	unsigned int lists;
	unsigned int commands;
	unsigned int wrong;
};

/* Wait for all of one's lists, and look whether they have been executed. */
static void finish(struct submitter *s, unsigned int *nr)
{
	while (*nr)
		s->wrong += wait(s->q, &s->list[--*nr]) != 0;
	s->wrong += atomic_read(&s->q->executed[s->whose]) != s->commands;
}

static int submit_for_a_while(void *arg)
{
	unsigned long end = jiffies + msecs_to_jiffies(LOAD_MS);
	struct submitter *s = arg;
	struct rnd_state rnd;
	unsigned int count, nr = 0;

	prandom_seed_state(&rnd, s->whose);
	do {
		count = prandom_u32_state(&rnd) % (LIST + 1);
		s->commands += count;
		s->lists++;
		s->wrong += submit_of(s->q, &s->list[nr++], s->whose, count) != 0;
		if (prandom_u32_state(&rnd) % 2)
			cond_resched();
		if (nr == ARRAY_SIZE(s->list) || prandom_u32_state(&rnd) % 2)
			finish(s, &nr);
	} while (time_before(jiffies, end));
	finish(s, &nr);
	return 0;
}

/* Comes again and again, on a CPU that others submit on */
static enum hrtimer_restart queue_tick(struct hrtimer *timer)
{
	queue_interrupt(container_of(timer, struct queue, timer));
	hrtimer_forward_now(timer, ms_to_ktime(TIMER_MS));
	return HRTIMER_RESTART;
}

static void start_ticks(struct queue *q)
{
	q->irq_lists = 2;
	hrtimer_init(&q->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	q->timer.function = queue_tick;
	hrtimer_start(&q->timer, ms_to_ktime(TIMER_MS), HRTIMER_MODE_REL_HARD);
}

static void expect_load(struct queue *q, struct submitter *s)
{
	unsigned int n, lists, commands;

	lists = q->interrupts * q->irq_lists;
	commands = lists * LIST;
	for (n = 0; n < THREADS; n++) {
		KUNIT_EXPECT_EQ(q->test, 0, s[n].wrong);
		lists += s[n].lists;
		commands += s[n].commands;
	}
	KUNIT_EXPECT_EQ(q->test, 0, q->irq_errors);
	KUNIT_EXPECT_EQ(q->test, commands, smmu_count(q->unit, CMDQ_OP_TLBI_NH_ASID));
	KUNIT_EXPECT_EQ(q->test, lists, smmu_count(q->unit, CMDQ_OP_CMD_SYNC));
	/* It went through all slots at least once after it ran out of numbers. */
	KUNIT_EXPECT_LT(q->test, q->unit->smmu.cmdq.q.llq.prod, CMDQ_POS_MASK / 2);
	KUNIT_EXPECT_GT(q->test, q->unit->smmu.cmdq.q.llq.prod, SLOTS);
}

/* Whoever has waited finds all done that he submitted, and nothing done twice. */
static void several_cpus(struct kunit *test)
{
	struct kiommu_thread thread[THREADS];
	struct submitter *s;
	struct queue *q;
	unsigned int n;

	kiommu_two_cpus(test);
	q = queue_setup(test);
	s = kunit_kcalloc(test, THREADS, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	q->unit->msi_turns = 3;
	for (n = 0; n < THREADS; n++) {
		s[n].q = q;
		s[n].whose = OTHERS + 1 + n;
	}
	start_ticks(q);
	for (n = 1; n < THREADS; n++)
		kiommu_start(test, &thread[n], submit_for_a_while, &s[n]);
	submit_for_a_while(&s[0]);
	for (n = 1; n < THREADS; n++)
		kiommu_join(&thread[n]);
	hrtimer_cancel(&q->timer);
	expect_load(q, s);
}

static const struct mode *msi_only(const void *prev, char *desc)
{
	if (prev)
		return NULL;
	strscpy(desc, modes[2].name, KUNIT_PARAM_DESC_SIZE);
	return &modes[2];
}

static const void *msi_gen_params(const void *prev, char *desc)
{
	return msi_only(prev, desc);
}

static struct kunit_case smmu_queue_cases[] = {
	KUNIT_CASE(positions),
	KUNIT_CASE(many_entries),
	KUNIT_CASE_PARAM(done_before_wait, mode_gen_params),
	KUNIT_CASE_PARAM(slot_used_again, mode_gen_params),
	KUNIT_CASE_PARAM(two_pending, mode_gen_params),
	KUNIT_CASE_PARAM(interrupt_after_submission, mode_gen_params),
	KUNIT_CASE_PARAM(interrupt_when_full, mode_gen_params),
	KUNIT_CASE_PARAM(interrupt_while_waiting, mode_gen_params),
	KUNIT_CASE_PARAM(interrupts_are_on, mode_gen_params),
	KUNIT_CASE_PARAM(interrupts_stay_off, mode_gen_params),
	KUNIT_CASE_PARAM(msi_on_its_way, msi_gen_params),
	KUNIT_CASE_PARAM(msi_is_lost, msi_gen_params),
	KUNIT_CASE_PARAM(failed_and_found_by_others, mode_gen_params),
	KUNIT_CASE_PARAM(several_fail, mode_gen_params),
	KUNIT_CASE_PARAM(many_fail, mode_gen_params),
	KUNIT_CASE_PARAM(replaced_one_fails, mode_gen_params),
	KUNIT_CASE_PARAM(illegal_is_skipped, mode_gen_params),
	KUNIT_CASE(error_from_before),
	KUNIT_CASE_PARAM(room_behind_an_error, mode_gen_params),
	KUNIT_CASE_PARAM(late_keeps_its_slot, mode_gen_params),
	KUNIT_CASE_PARAM(cons_is_wrong, mode_gen_params),
	KUNIT_CASE_PARAM(off, mode_gen_params),
	KUNIT_CASE_PARAM(several_cpus, mode_gen_params),
	{}
};

static struct kunit_suite smmu_queue_suite = {
	.name = "arm_smmu_queue",
	.exit = smmu_exit,
	.test_cases = smmu_queue_cases,
};

kunit_test_suite(smmu_queue_suite);
