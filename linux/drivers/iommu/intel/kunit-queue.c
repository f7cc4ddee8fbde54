// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the invalidation queue: of qi_submit(), qi_wait() and what is made
 * of them, while others use the queue, too
 *
 * Slots are numbered modulo 2^32. All tests start just before there are no more.
 *
 * The unit sees whoever waits for it. If it has executed all that it was given, and
 * there is somebody who waits all the same, for seconds, the queue is broken. The
 * slots are taken back by force then, so that the test fails instead of being stuck.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/prandom.h>

#include "kunit-mock.h"

#define BATCH		16	/* commands of the largest submission */
#define PASID		1
#define STUCK_NS	(2 * NSEC_PER_SEC)
#define STUCK_POLLS	1000
#define HOLD_MS		5
#define HOLD_LONG_MS	300	/* and an interrupt has to come */
#define TIMER_MS	2
#define LOAD_MS		300
#define THREADS		4
#define LAST_SLOTS	6	/* that are left before there are no more */

/* What one submission of the largest size takes, and how many of them fit */
#define BATCH_SLOTS	(BATCH + 1)
#define BATCHES		((QI_LENGTH - 1) / BATCH_SLOTS)

/**
 * struct queue - a queue under test
 * @test: the test
 * @unit: whose it is
 * @seen: &vtd_machine.seq when it was last polled, which is when something happened
 * @since: when it changed
 * @idle: polls since then
 * @polls: how often somebody waited
 * @polls_irqs_off: how often with interrupts off
 * @executed: commands, by domain ID
 * @bad_did: the command after the one for this domain ID will be refused, too
 * @work: an interrupt on the CPU that asks for it
 * @timer: another one, which comes while the unit is stopped
 * @start_timer: it is to be started as soon as that is so
 * @interrupts: how many
 * @irq_cpu: where the last was
 * @irq_held: the unit was stopped when the last began
 * @irq_batches: submissions that an interrupt makes
 * @irq_errors: of those, how many failed
 * @gone: a function that somebody else asks, each time that somebody waits,
 * @askers: as often as this
 */
struct queue {
	struct kunit *test;
	struct vtd_unit *unit;
	u64 seen;
	u64 since;
	atomic_t idle;
	atomic_t polls;
	atomic_t polls_irqs_off;
	atomic_t executed[16];
	unsigned int bad_did;
	struct irq_work work;
	struct hrtimer timer;
	bool start_timer;
	unsigned int interrupts;
	unsigned int irq_cpu;
	bool irq_held;
	unsigned int irq_batches;
	unsigned int irq_errors;
	struct vtd_fn *gone;
	unsigned int askers;
};

/* --- the watchdog --- */

static void queue_take_back(struct queue *q)
{
	struct q_inval *qi = q->unit->iommu.qi;

	kiommu_complain(q->unit->bus.k,
			"the unit has nothing to do, and is waited for");
	WRITE_ONCE(qi->tail, READ_ONCE(qi->head));
}

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
	/* It may be that the CPU of the one who drives it is away. */
	if (busy || seq != READ_ONCE(q->seen)) {
		WRITE_ONCE(q->seen, seq);
		WRITE_ONCE(q->since, now);
		atomic_set(&q->idle, 0);
		return;
	}
	/* Not only one who was away from his CPU for that long */
	if (atomic_inc_return(&q->idle) > STUCK_POLLS &&
	    now - READ_ONCE(q->since) > STUCK_NS) {
		WRITE_ONCE(q->since, now);
		queue_take_back(q);
	}
}

static struct qi_desc atc_desc(struct vtd_fn *fn)
{
	struct qi_desc desc;

	qi_desc_dev_iotlb(pci_dev_id(&fn->pci.pdev), 0, 16, 0, MAX_AGAW_PFN_WIDTH,
			  &desc);
	return desc;
}

static void queue_ask(struct queue *q)
{
	struct qi_desc desc;

	if (!q->askers)
		return;
	q->askers--;
	desc = atc_desc(q->gone);
	qi_submit(&q->unit->iommu, &desc, 1, 0);
}

static void queue_qi(struct iommu_kunit_hw *hw, bool submitted)
{
	struct vtd_unit *unit = hw_to_vtd_unit(hw);
	struct queue *q = unit->priv;

	if (!submitted) {
		atomic_inc(&q->polls);
		if (irqs_disabled())
			atomic_inc(&q->polls_irqs_off);
	}
	vtd_qi(hw, submitted);
	if (!submitted) {
		queue_watch(q);
		queue_ask(q);
	}
}

/* --- submissions --- */

static void queue_fill(struct qi_desc *desc, unsigned int did,
		       unsigned int count)
{
	while (count--)
		qi_desc_piotlb(did, PASID, 0, -1, false, desc++);
}

static u64 queue_submit(struct queue *q, unsigned int did, unsigned int count)
{
	struct qi_desc desc[BATCH];

	queue_fill(desc, did, count);
	return qi_submit(&q->unit->iommu, desc, count, 0);
}

static int queue_wait(struct queue *q, u64 sync)
{
	return qi_wait(&q->unit->iommu, sync);
}

static int queue_sync(struct queue *q, unsigned int did, unsigned int count)
{
	return queue_wait(q, queue_submit(q, did, count));
}

/* Two commands, of which the second is for a function */
static u64 queue_submit_atc(struct queue *q, unsigned int did, struct vtd_fn *fn)
{
	struct qi_desc desc[2];

	queue_fill(desc, did, 1);
	desc[1] = atc_desc(fn);
	return qi_submit(&q->unit->iommu, desc, 2, 0);
}

static int queue_sync_atc(struct queue *q, unsigned int did, struct vtd_fn *fn)
{
	struct qi_desc desc[2];

	queue_fill(desc, did, 1);
	desc[1] = atc_desc(fn);
	return intel_submit_dev_tlb(&fn->info, desc, 1, 2, 0);
}

/* --- setup --- */

static void queue_before(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct queue *q = unit->priv;

	if (cmd->type != QI_EIOTLB_TYPE)
		return;
	atomic_inc(&q->executed[cmd->did]);
	if (q->bad_did && cmd->did == q->bad_did)
		vtd_queue_error(unit, 1);
}

static void queue_renumber(struct queue *q)
{
	struct q_inval *qi = q->unit->iommu.qi;

	KUNIT_ASSERT_EQ(q->test, qi->head, qi->tail);
	qi->head = (u32)-QI_LENGTH + qi->head % QI_LENGTH;
	qi->tail = qi->head;
	while ((u32)-qi->head > LAST_SLOTS)
		KUNIT_ASSERT_EQ(q->test, 0, queue_sync(q, 1, 1));
}

static struct queue *queue_setup(struct kunit *test, unsigned int fns)
{
	struct queue *q = kunit_kzalloc(test, sizeof(*q), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, q);
	q->test = test;
	q->unit = vtd_machine(test, 1, NULL)->unit;
	while (fns--)
		vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	q->unit->priv = q;
	q->unit->before = queue_before;
	q->unit->hw.run = queue_qi;
	/* All that is over is taken back by whoever needs it. */
	q->unit->iommu.qi->tail = q->unit->iommu.qi->head;
	queue_renumber(q);
	vtd_clear_log(test->priv);
	atomic_set(&q->polls, 0);
	atomic_set(&q->polls_irqs_off, 0);
	return q;
}

/* --- interrupts --- */

static void queue_interrupt(struct queue *q)
{
	unsigned int n;

	q->interrupts++;
	q->irq_cpu = smp_processor_id();
	q->irq_held = kiommu_is_held(&q->unit->hold);
	for (n = 0; n < q->irq_batches; n++)
		q->irq_errors += queue_sync(q, 3, BATCH) != 0;
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

/* The unit stops, and is waited for; meanwhile there is an interrupt. */
static void interrupt_while_held(struct queue *q)
{
	hrtimer_init(&q->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	q->timer.function = queue_timer;
	q->start_timer = true;
	kiommu_hold(&q->unit->hold, QI_IWD_TYPE, 1, HOLD_LONG_MS);
	migrate_disable();
	KUNIT_EXPECT_EQ(q->test, 0, queue_sync(q, 2, BATCH));
	hrtimer_cancel(&q->timer);
	migrate_enable();
	KUNIT_EXPECT_EQ(q->test, 1, q->interrupts);
	KUNIT_EXPECT_TRUE(q->test, q->irq_held);
}

/*
 * A thread has @pending submissions that it has not waited for. On its CPU comes an
 * interrupt that needs many times the slots that are left.
 */
static void fill_from_interrupt(struct kunit *test, unsigned int pending)
{
	struct queue *q = queue_setup(test, 0);
	u64 sync[BATCHES];
	unsigned int n, cpu;

	q->irq_batches = 4 * BATCHES;
	q->work = IRQ_WORK_INIT_HARD(queue_irq_work);
	migrate_disable();
	cpu = smp_processor_id();
	for (n = 0; n < pending; n++)
		sync[n] = queue_submit(q, 2, BATCH);
	irq_work_queue(&q->work);
	irq_work_sync(&q->work);
	for (n = 0; n < pending; n++)
		KUNIT_EXPECT_EQ(test, 0, queue_wait(q, sync[n]));
	migrate_enable();
	KUNIT_EXPECT_EQ(test, cpu, q->irq_cpu);
	KUNIT_EXPECT_EQ(test, 1, q->interrupts);
	KUNIT_EXPECT_EQ(test, 0, q->irq_errors);
	KUNIT_EXPECT_EQ(test, pending * BATCH, atomic_read(&q->executed[2]));
	KUNIT_EXPECT_EQ(test, q->irq_batches * BATCH,
			atomic_read(&q->executed[3]));
}

static void interrupt_after_submission(struct kunit *test)
{
	fill_from_interrupt(test, 1);
}

static void interrupt_when_full(struct kunit *test)
{
	fill_from_interrupt(test, BATCHES);
}

/* As before, but the thread is in the midst of waiting */
static void interrupt_while_waiting(struct kunit *test)
{
	struct queue *q = queue_setup(test, 0);

	q->irq_batches = 4 * BATCHES;
	interrupt_while_held(q);
	KUNIT_EXPECT_EQ(test, 0, q->irq_errors);
	KUNIT_EXPECT_EQ(test, q->irq_batches * BATCH,
			atomic_read(&q->executed[3]));
}

/* --- interrupts stay as they are --- */

static void expect_polls(struct queue *q, bool irqs_off)
{
	int polls = atomic_xchg(&q->polls, 0);
	int off = atomic_xchg(&q->polls_irqs_off, 0);

	KUNIT_EXPECT_GT(q->test, polls, 0);
	KUNIT_EXPECT_EQ(q->test, irqs_off ? polls : 0, off);
}

static void wait_for_room(struct queue *q)
{
	u64 sync[BATCHES + 1];
	unsigned int n;

	kiommu_hold(&q->unit->hold, QI_IWD_TYPE, 1, HOLD_MS);
	for (n = 0; n < BATCHES; n++)
		sync[n] = queue_submit(q, 2, BATCH);
	KUNIT_EXPECT_EQ(q->test, 0, atomic_read(&q->polls));
	sync[n] = queue_submit(q, 2, BATCH);
	KUNIT_EXPECT_GT(q->test, atomic_read(&q->polls), 0);
	for (n = 0; n < ARRAY_SIZE(sync); n++)
		KUNIT_EXPECT_EQ(q->test, 0, queue_wait(q, sync[n]));
}

static void interrupts_are_on(struct kunit *test)
{
	struct queue *q = queue_setup(test, 1);
	struct vtd_machine *machine = test->priv;
	struct iommu_domain *domain = vtd_paging(test, machine->fn[0], 0);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(machine->fn[0], domain));
	interrupt_while_held(q);
	expect_polls(q, false);
	wait_for_room(q);
	expect_polls(q, false);
	vtd_flush_all(domain);
	expect_polls(q, false);
}

static void interrupts_stay_off(struct kunit *test)
{
	struct queue *q = queue_setup(test, 0);
	unsigned long flags;
	int ret;

	kiommu_hold(&q->unit->hold, QI_IWD_TYPE, 1, HOLD_MS);
	local_irq_save(flags);
	ret = queue_sync(q, 2, BATCH);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, 0, ret);
	expect_polls(q, true);
}

/* --- load --- */

/* One of those who submit */
struct submitter {
	struct queue *q;
	unsigned int did;
	unsigned int submissions;
	unsigned int commands;
	unsigned int wrong;
};

/* Wait for all of one's submissions, and look whether they have been executed. */
static void finish(struct submitter *s, u64 *sync, unsigned int *nr)
{
	while (*nr)
		s->wrong += queue_wait(s->q, sync[--*nr]) != 0;
	s->wrong += atomic_read(&s->q->executed[s->did]) != s->commands;
}

static int submit_for_a_while(void *arg)
{
	unsigned long end = jiffies + msecs_to_jiffies(LOAD_MS);
	struct submitter *s = arg;
	struct rnd_state rnd;
	unsigned int count, nr = 0;
	u64 sync[3];

	prandom_seed_state(&rnd, s->did);
	do {
		count = 1 + prandom_u32_state(&rnd) % BATCH;
		s->commands += count;
		s->submissions++;
		sync[nr++] = queue_submit(s->q, s->did, count);
		if (prandom_u32_state(&rnd) % 2)
			cond_resched();
		if (nr == ARRAY_SIZE(sync) || prandom_u32_state(&rnd) % 2)
			finish(s, sync, &nr);
	} while (time_before(jiffies, end));
	finish(s, sync, &nr);
	return 0;
}

/* Whoever has waited finds all done that he submitted, and nothing done twice. */
static void several_cpus(struct kunit *test)
{
	unsigned int n, submissions = 0, commands = 0;
	struct submitter s[THREADS] = {};
	struct kiommu_thread thread[THREADS];
	struct queue *q;

	kiommu_two_cpus(test);
	q = queue_setup(test, 0);
	for (n = 0; n < THREADS; n++) {
		s[n].q = q;
		s[n].did = 2 + n;
	}
	for (n = 1; n < THREADS; n++)
		kiommu_start(test, &thread[n], submit_for_a_while, &s[n]);
	submit_for_a_while(&s[0]);
	for (n = 1; n < THREADS; n++)
		kiommu_join(&thread[n]);
	for (n = 0; n < THREADS; n++) {
		KUNIT_EXPECT_EQ(test, 0, s[n].wrong);
		submissions += s[n].submissions;
		commands += s[n].commands;
	}
	KUNIT_EXPECT_EQ(test, commands, vtd_count(q->unit, QI_EIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, submissions, vtd_count(q->unit, QI_IWD_TYPE));
	/* It went through all slots at least once after it ran out of numbers. */
	KUNIT_EXPECT_LT(test, q->unit->iommu.qi->head, S32_MAX);
	KUNIT_EXPECT_GT(test, q->unit->iommu.qi->head, QI_LENGTH);
}

/* --- a device does not answer --- */

/* Who had nothing lost may have to repeat it, and never the other way round. */
static void expect_none_lost(struct queue *q, unsigned int did, int ret)
{
	if (ret)
		KUNIT_EXPECT_EQ(q->test, -EAGAIN, ret);
	else
		KUNIT_EXPECT_EQ(q->test, 1, atomic_read(&q->executed[did]));
}

static void device_is_gone(struct kunit *test)
{
	struct queue *q = queue_setup(test, 2);
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *gone = machine->fn[0], *there = machine->fn[1];
	u64 sync[4];

	KUNIT_EXPECT_EQ(test, 0, queue_sync_atc(q, 2, gone));
	kiommu_remove(&gone->pci);
	sync[0] = queue_submit(q, 3, 1);
	sync[1] = queue_submit_atc(q, 4, gone);
	sync[2] = queue_submit(q, 5, 1);
	sync[3] = queue_submit_atc(q, 6, there);
	expect_none_lost(q, 6, queue_wait(q, sync[3]));
	KUNIT_EXPECT_EQ(test, -EAGAIN, queue_wait(q, sync[1]));
	expect_none_lost(q, 5, queue_wait(q, sync[2]));
	expect_none_lost(q, 3, queue_wait(q, sync[0]));
	KUNIT_EXPECT_STREQ(test, vtd_stream(test, q->unit, 0),
			   "piotlb did=2 pasid=1\n"
			   "devtlb sid=4000 qdep=16 all\n"
			   "piotlb did=3 pasid=1\n"
			   "piotlb did=4 pasid=1\n"
			   "devtlb sid=4000 qdep=16 all lost\n"
			   "piotlb did=5 pasid=1\n"
			   "piotlb did=6 pasid=1\n"
			   "devtlb sid=4008 qdep=16 all\n");

	/* It is over: who comes now has nothing to repeat. */
	KUNIT_EXPECT_EQ(test, 0, queue_sync(q, 7, BATCH));
	KUNIT_EXPECT_EQ(test, 0, queue_sync_atc(q, 8, gone));
	/* Its ATC went with it. */
	KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&gone->info.fn));
	KUNIT_EXPECT_EQ(test, 0, queue_sync_atc(q, 9, there));
	KUNIT_EXPECT_TRUE(test, iommu_alist_is_live(&there->info.fn));
}

/* One that did not answer once, and is there, is asked again. */
static void device_is_late(struct kunit *test)
{
	struct queue *q = queue_setup(test, 2);
	struct vtd_machine *machine = test->priv;

	kiommu_drop(&machine->fn[0]->pci, 1);
	KUNIT_EXPECT_EQ(test, 0, queue_sync_atc(q, 2, machine->fn[0]));
	KUNIT_EXPECT_STREQ(test, vtd_stream(test, q->unit, VTD_WAITS),
			   "piotlb did=2 pasid=1\n"
			   "devtlb sid=4000 qdep=16 all lost\n"
			   "wait aborted\n"
			   "piotlb did=2 pasid=1\n"
			   "devtlb sid=4000 qdep=16 all\n"
			   "wait\n");
}

/* It did not answer: what is in the same submission behind it is lost, too. */
static void others_lost_with_it(struct kunit *test)
{
	struct queue *q = queue_setup(test, 2);
	struct vtd_machine *machine = test->priv;
	struct qi_desc desc[2] = {
		atc_desc(machine->fn[0]), atc_desc(machine->fn[1])
	};
	u64 sync;

	kiommu_drop(&machine->fn[0]->pci, 1);
	sync = qi_submit(&q->unit->iommu, desc, 2, 0);
	KUNIT_EXPECT_EQ(test, -EAGAIN, queue_wait(q, sync));
}

#define ROUNDS	8	/* each of which writes to the log */

/* Someone who has to do with the queue, and nothing with the device that is gone */
struct bystander {
	struct queue *q;
	struct vtd_fn *fn;
	bool stop;
	unsigned int rounds;
	unsigned int wrong;
};

static int stand_by(void *arg)
{
	struct bystander *b = arg;

	while (!READ_ONCE(b->stop)) {
		b->wrong += queue_sync_atc(b->q, 3, b->fn) != 0;
		WRITE_ONCE(b->rounds, b->rounds + 1);
		cond_resched();
	}
	return 0;
}

/* Only who asks it hears that it is gone. */
static void gone_for_who_asks(struct kunit *test)
{
	struct bystander b = {};
	struct kiommu_thread thread;
	struct vtd_fn *gone;
	unsigned int n;

	kiommu_two_cpus(test);
	b.q = queue_setup(test, 2);
	gone = ((struct vtd_machine *)test->priv)->fn[0];
	b.fn = ((struct vtd_machine *)test->priv)->fn[1];
	kiommu_remove(&gone->pci);
	kiommu_start(test, &thread, stand_by, &b);
	for (n = 0; n < ROUNDS; n++)
		KUNIT_EXPECT_EQ(test, 0, queue_sync_atc(b.q, 2, gone));
	/* It may not have had a CPU yet. */
	for (n = 0; n < 5000 && !READ_ONCE(b.rounds); n++)
		usleep_range(1000, 2000);
	WRITE_ONCE(b.stop, true);
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, b.wrong);
	KUNIT_EXPECT_GT(test, b.rounds, 0);
	KUNIT_EXPECT_GE(test, atomic_read(&b.q->executed[3]), b.rounds);
}

#define ASKERS	16

/* However often it is: a flush of who has nothing to do with it does not fail. */
static void gone_for_others(struct kunit *test)
{
	struct queue *q = queue_setup(test, 2);
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *there = machine->fn[1];
	struct iommu_domain *domain = vtd_paging(test, there, 0);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(there, domain));
	q->gone = machine->fn[0];
	kiommu_remove(&q->gone->pci);
	q->askers = ASKERS;
	queue_ask(q);
	KUNIT_EXPECT_EQ(test, 0, cache_flush_all(to_dmar_domain(domain)));
	KUNIT_EXPECT_LT(test, q->askers, ASKERS / 2);
	q->askers = 0;
}

/* --- a command is refused --- */

/* It is replaced, and none of the others pays for it, whoever gets to know first. */
static void refuse_in_the_middle(struct kunit *test, bool last_first)
{
	struct queue *q = queue_setup(test, 0);
	struct qi_desc desc[3];
	u64 sync[3];

	queue_fill(&desc[0], 2, 1);
	queue_fill(&desc[1], 3, 1);
	queue_fill(&desc[2], 4, 1);
	vtd_queue_error(q->unit, 3);
	sync[0] = queue_submit(q, 1, 1);
	sync[1] = qi_submit(&q->unit->iommu, desc, 3, 0);
	sync[2] = queue_submit(q, 5, 1);
	if (last_first)
		KUNIT_EXPECT_EQ(test, 0, queue_wait(q, sync[2]));
	KUNIT_EXPECT_EQ(test, -EINVAL, queue_wait(q, sync[1]));
	KUNIT_EXPECT_EQ(test, 0, queue_wait(q, sync[0]));
	if (!last_first)
		KUNIT_EXPECT_EQ(test, 0, queue_wait(q, sync[2]));
	KUNIT_EXPECT_STREQ(test, vtd_stream(test, q->unit, VTD_WAITS),
			   "piotlb did=1 pasid=1\n"
			   "wait\n"
			   "piotlb did=2 pasid=1\n"
			   "wait fence\n"
			   "piotlb did=4 pasid=1\n"
			   "wait\n"
			   "piotlb did=5 pasid=1\n"
			   "wait\n");
	KUNIT_EXPECT_EQ(test, 0, queue_sync(q, 6, BATCH));
}

static void refused_in_the_middle(struct kunit *test)
{
	refuse_in_the_middle(test, false);
}

static void refused_and_found_by_others(struct kunit *test)
{
	refuse_in_the_middle(test, true);
}

/* Two are refused before one of their submitters has looked: none may miss it. */
static void two_refused(struct kunit *test)
{
	struct queue *q = queue_setup(test, 0);
	u64 sync[3];
	int ret;

	q->bad_did = 2;
	vtd_queue_error(q->unit, 1);
	sync[0] = queue_submit(q, 2, 1);
	sync[1] = queue_submit(q, 3, 1);
	sync[2] = queue_submit(q, 4, 1);
	ret = queue_wait(q, sync[2]);
	KUNIT_EXPECT_TRUE(test, !ret || ret == -EAGAIN);
	KUNIT_EXPECT_EQ(test, 2, vtd_count(q->unit, QI_IWD_TYPE) - 3);
	ret = queue_wait(q, sync[0]);
	KUNIT_EXPECT_TRUE(test, ret == -EINVAL || ret == -EAGAIN);
	ret = queue_wait(q, sync[1]);
	KUNIT_EXPECT_TRUE(test, ret == -EINVAL || ret == -EAGAIN);
	q->bad_did = 0;
	KUNIT_EXPECT_EQ(test, 0, queue_sync(q, 5, BATCH));
}

/* Both of one submission: its submitter is told at once, and asks for neither again. */
static void two_refused_of_one(struct kunit *test)
{
	struct queue *q = queue_setup(test, 0);
	struct qi_desc desc[2];

	q->bad_did = 2;
	vtd_queue_error(q->unit, 1);
	queue_fill(&desc[0], 2, 1);
	queue_fill(&desc[1], 3, 1);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			qi_submit_sync(&q->unit->iommu, desc, 2, 0));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&q->executed[2]));
	KUNIT_EXPECT_EQ(test, 3, vtd_count(q->unit, QI_IWD_TYPE));
	q->bad_did = 0;
	KUNIT_EXPECT_EQ(test, 0, queue_sync(q, 5, BATCH));
}

/* Where it would succeed, there would be nothing left of the unit. */
static int unplug(struct vtd_unit *unit)
{
	struct dmar_drhd_unit drhd = { .iommu = &unit->iommu };
	int enabled = intel_iommu_enabled;
	int ret;

	if (bitmap_weight(unit->iommu.domain_ids, cap_ndoms(unit->iommu.cap)) <=
	    NUM_RESERVED_DID)
		return 0;
	intel_iommu_enabled = 1;
	ret = dmar_iommu_hotplug(&drhd, false);
	if (ret)
		ret = dmar_iommu_hotplug(&drhd, true) ?: ret;
	intel_iommu_enabled = enabled;
	return ret;
}

/*
 * The IOTLB may have kept what a nested domain's parent has put there, under the domain's
 * ID: nobody else gets the ID, and the domain's next attachment flushes it.
 */
static void refused_for_parent(struct kunit *test)
{
	struct queue *q = queue_setup(test, 1);
	struct vtd_fn *fn = ((struct vtd_machine *)test->priv)->fn[0];
	struct iommu_domain *parent = vtd_paging(test, fn, VTD_PARENT);
	struct iommu_domain *nested = vtd_nested(test, fn, parent);
	struct intel_iommu *iommu = &q->unit->iommu;
	u32 did;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	did = fn->info.rid.attach.tag->id;
	vtd_refuse(q->unit, QI_IOTLB_TYPE);
	vtd_block(fn);
	vtd_refuse(q->unit, 0);
	KUNIT_EXPECT_TRUE(test, test_bit(did, iommu->domain_ids));
	KUNIT_EXPECT_EQ(test, -EBUSY, unplug(q->unit));
	vtd_clear_log(test->priv);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	KUNIT_EXPECT_EQ(test, did, fn->info.rid.attach.tag->id);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(q->unit, QI_IOTLB_TYPE));
	vtd_block(fn);
	KUNIT_EXPECT_FALSE(test, test_bit(did, iommu->domain_ids));
}

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(interrupt_after_submission),
	KUNIT_CASE(interrupt_when_full),
	KUNIT_CASE(interrupt_while_waiting),
	KUNIT_CASE(interrupts_are_on),
	KUNIT_CASE(interrupts_stay_off),
	KUNIT_CASE(several_cpus),
	KUNIT_CASE(device_is_gone),
	KUNIT_CASE(device_is_late),
	KUNIT_CASE(others_lost_with_it),
	KUNIT_CASE(gone_for_who_asks),
	KUNIT_CASE(gone_for_others),
	KUNIT_CASE(refused_in_the_middle),
	KUNIT_CASE(refused_and_found_by_others),
	KUNIT_CASE(two_refused),
	KUNIT_CASE(two_refused_of_one),
	KUNIT_CASE(refused_for_parent),
	{}
};

static struct kunit_suite queue_suite = {
	.name = "intel_iommu_queue",
	.exit = vtd_exit,
	.test_cases = queue_cases,
};

kunit_test_suite(queue_suite);
