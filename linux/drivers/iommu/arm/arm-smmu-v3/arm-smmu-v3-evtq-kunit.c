// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit of the event queue: who waits for stalls that have not been reported, and
 * that those which nobody else knows of are answered
 *
 * The queues are memory. An event thread is stopped between taking an event from the
 * queue and reporting it by streams_mutex, which it wants for the latter.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/printk.h>

#include "arm-smmu-v3.h"

#define EVTQ_SHIFT	7
#define EVTQ_MASK	((2U << EVTQ_SHIFT) - 1)
#define EVTQ_OVFLG	BIT(31)
#define CMDQ_SHIFT	8
#define SID		0x1234

/* Nobody's interrupt: who drains the queue finds no thread to wake. */
#define NO_IRQ		INT_MAX

/* What takes longer than that never ends; and what has not ended by then waits. */
#define LONG		(20 * HZ)
#define SHORT		(HZ / 5)

/**
 * struct evtq_thread - a thread of a test
 * @fn: what it does
 * @test: that test
 * @done: it is done with it
 */
struct evtq_thread {
	void (*fn)(struct kunit *test);
	struct kunit *test;
	struct completion done;
};

/**
 * struct evtq - an SMMU without hardware
 * @smmu: the SMMU
 * @evts: entries of its event queue
 * @cmds: entries of its command queue
 * @valid_map: which of them are valid
 * @prod: PROD of the event queue
 * @cons: CONS of the event queue
 * @cmd_regs: PROD and CONS of the command queue: what is sent is consumed
 * @master: a device of the SMMU, of which @stream is the second stream
 * @stream: that stream
 * @iommu: what the core has of the device
 */
struct evtq {
	struct arm_smmu_device smmu;
	__le64 evts[EVTQ_ENT_DWORDS << EVTQ_SHIFT];
	__le64 cmds[CMDQ_ENT_DWORDS << CMDQ_SHIFT];
	atomic_long_t valid_map[BITS_TO_LONGS(1 << CMDQ_SHIFT)];
	u32 prod;
	u32 cons;
	u32 cmd_regs;
	struct arm_smmu_master master;
	struct arm_smmu_stream stream;
	struct dev_iommu iommu;
};

static int evtq_thread_fn(void *data)
{
	struct evtq_thread *t = data;

	t->fn(t->test);
	complete(&t->done);
	return 0;
}

static struct evtq_thread *evtq_start(struct kunit *test,
				      void (*fn)(struct kunit *test))
{
	struct evtq_thread *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->fn = fn;
	t->test = test;
	init_completion(&t->done);
	task = kthread_run(evtq_thread_fn, t, "evtq-kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	return t;
}

static bool evtq_done_in(struct evtq_thread *t, unsigned long limit)
{
	return wait_for_completion_timeout(&t->done, limit);
}

static void evtq_drain(struct kunit *test)
{
	struct evtq *e = test->priv;

	arm_smmu_drain_evtq(&e->smmu);
}

static void evtq_interrupt(struct kunit *test)
{
	struct evtq *e = test->priv;

	arm_smmu_evtq_thread(0, &e->smmu);
}

/* A translation fault, stalled or not */
static void evtq_put(struct evtq *e, bool stall, u16 stag)
{
	__le64 *evt = e->evts + (e->prod & (EVTQ_MASK >> 1)) * EVTQ_ENT_DWORDS;

	evt[0] = cpu_to_le64(FIELD_PREP(EVTQ_0_ID, EVT_ID_TRANSLATION_FAULT) |
			     FIELD_PREP(EVTQ_0_SID, SID));
	evt[1] = cpu_to_le64((stall ? EVTQ_1_STALL : 0) |
			     FIELD_PREP(EVTQ_1_STAG, stag));
	/* As hardware does: who reads PROD, by readl(), finds the event. */
	smp_store_release(&e->prod, ((e->prod + 1) & EVTQ_MASK) |
				    (e->prod & EVTQ_OVFLG));
}

static bool evtq_full(struct evtq *e)
{
	return ((e->prod - READ_ONCE(e->cons)) & EVTQ_MASK) > EVTQ_MASK >> 1;
}

static bool evtq_wait_for(u32 *reg, u32 val)
{
	unsigned long end = jiffies + LONG;

	while (READ_ONCE(*reg) != val) {
		if (time_after(jiffies, end))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static int evtq_init(struct kunit *test)
{
	struct arm_smmu_queue *q;
	struct evtq *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, e);
	test->priv = e;
	e->smmu.dev = kunit_device_register(test, "evtq-kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(e->smmu.dev));
	mutex_init(&e->smmu.streams_mutex);
	e->smmu.streams = RB_ROOT;
	init_waitqueue_head(&e->smmu.evtq.reported_wait);
	e->smmu.evtq.thread_irq = NO_IRQ;

	q = &e->smmu.evtq.q;
	q->llq.max_n_shift = EVTQ_SHIFT;
	q->base = e->evts;
	q->ent_dwords = EVTQ_ENT_DWORDS;
	q->prod_reg = (u32 __force __iomem *)&e->prod;
	q->cons_reg = (u32 __force __iomem *)&e->cons;

	raw_spin_lock_init(&e->smmu.cmdq.err_lock);
	e->smmu.cmdq.valid_map = e->valid_map;
	q = &e->smmu.cmdq.q;
	q->llq.max_n_shift = CMDQ_SHIFT;
	q->base = e->cmds;
	q->ent_dwords = CMDQ_ENT_DWORDS;
	q->prod_reg = (u32 __force __iomem *)&e->cmd_regs;
	q->cons_reg = (u32 __force __iomem *)&e->cmd_regs;
	return 0;
}

/* Nobody waits for a queue that is empty, at whatever position. */
static void drain_empty(struct kunit *test)
{
	struct evtq *e = test->priv;
	unsigned int i;

	evtq_drain(test);
	for (i = 0; i < 5 << EVTQ_SHIFT; i++) {
		evtq_put(e, false, 0);
		evtq_interrupt(test);
		evtq_drain(test);
	}
	KUNIT_EXPECT_EQ(test, i, e->smmu.evtq.reported);
	KUNIT_EXPECT_EQ(test, e->prod, e->cons);
}

/* CONS has passed the event, and the thread has not reported it yet. */
static void drain_waits_for_report(struct kunit *test)
{
	struct evtq_thread *interrupt, *drain;
	struct evtq *e = test->priv;

	evtq_put(e, true, 1);
	mutex_lock(&e->smmu.streams_mutex);
	interrupt = evtq_start(test, evtq_interrupt);
	KUNIT_EXPECT_TRUE(test, evtq_wait_for(&e->cons, 1));
	drain = evtq_start(test, evtq_drain);
	KUNIT_EXPECT_FALSE(test, evtq_done_in(drain, SHORT));
	mutex_unlock(&e->smmu.streams_mutex);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(drain, LONG));
	KUNIT_EXPECT_TRUE(test, evtq_done_in(interrupt, LONG));
}

/* A full queue, all of which the thread has to come to: the interrupt is late. */
static void drain_waits_for_interrupt(struct kunit *test)
{
	struct evtq *e = test->priv;
	struct evtq_thread *drain;
	unsigned int i;

	/* not from the start, so that it wraps */
	for (i = 0; i < 5; i++)
		evtq_put(e, false, 0);
	evtq_interrupt(test);
	while (!evtq_full(e))
		evtq_put(e, false, 0);
	drain = evtq_start(test, evtq_drain);
	KUNIT_EXPECT_FALSE(test, evtq_done_in(drain, SHORT));
	evtq_interrupt(test);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(drain, LONG));
}

/* Events that come later are not waited for: the last one never gets reported. */
static void drain_is_bounded(struct kunit *test)
{
	struct evtq_thread *interrupt, *drain;
	struct evtq *e = test->priv;
	unsigned int i;

	for (i = 0; i < 3; i++)
		evtq_put(e, false, 0);
	drain = evtq_start(test, evtq_drain);
	KUNIT_EXPECT_FALSE(test, evtq_done_in(drain, SHORT));
	for (i = 0; i < 4; i++)
		evtq_put(e, false, 0);
	evtq_put(e, true, 1);
	mutex_lock(&e->smmu.streams_mutex);
	interrupt = evtq_start(test, evtq_interrupt);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(drain, LONG));
	KUNIT_EXPECT_FALSE(test, completion_done(&interrupt->done));
	mutex_unlock(&e->smmu.streams_mutex);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(interrupt, LONG));
}

/* The count goes through 0, in a queue that has been full once: OVFLG is set. */
static void drain_when_count_wraps(struct kunit *test)
{
	struct evtq *e = test->priv;
	struct evtq_thread *drain;
	u32 start = U32_MAX - 2;
	unsigned int i;

	e->prod = (start & EVTQ_MASK) | EVTQ_OVFLG;
	e->cons = e->prod;
	e->smmu.evtq.q.llq.prod = e->prod;
	e->smmu.evtq.q.llq.cons = e->cons;
	e->smmu.evtq.reported = start;
	evtq_drain(test);

	for (i = 0; i < 6; i++)
		evtq_put(e, false, 0);
	drain = evtq_start(test, evtq_drain);
	KUNIT_EXPECT_FALSE(test, evtq_done_in(drain, SHORT));
	evtq_interrupt(test);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(drain, LONG));
	KUNIT_EXPECT_EQ(test, start + 6, e->smmu.evtq.reported);
}

/* An SMMU whose interrupt could not be had: no event is ever reported. */
static void drain_without_thread(struct kunit *test)
{
	struct evtq *e = test->priv;
	struct evtq_thread *drain;

	e->smmu.evtq.thread_irq = 0;
	evtq_put(e, true, 1);
	drain = evtq_start(test, evtq_drain);
	KUNIT_EXPECT_TRUE(test, evtq_done_in(drain, LONG));
	/* in case it does wait */
	evtq_interrupt(test);
}

static void evtq_expect_abort(struct kunit *test, u32 sid, u16 stag)
{
	struct evtq *e = test->priv;

	KUNIT_EXPECT_EQ(test, 1, e->cmd_regs);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(e->cmds[0]),
			FIELD_PREP(CMDQ_0_OP, CMDQ_OP_RESUME) |
			FIELD_PREP(CMDQ_RESUME_0_SID, sid) |
			FIELD_PREP(CMDQ_RESUME_0_RESP, CMDQ_RESUME_0_RESP_ABORT));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(e->cmds[1]),
			FIELD_PREP(CMDQ_RESUME_1_STAG, stag));
}

/* A stream that no device has: one CMD_RESUME, which aborts, and for stalls alone */
static void unknown_stall_is_answered(struct kunit *test)
{
	struct evtq *e = test->priv;

	evtq_put(e, false, 0);
	evtq_interrupt(test);
	KUNIT_EXPECT_EQ(test, 0, e->cmd_regs);

	evtq_put(e, true, 0xabc);
	evtq_interrupt(test);
	evtq_expect_abort(test, SID, 0xabc);
}

static void evtq_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *resp)
{
}

static const struct iommu_ops evtq_ops = {
	.page_response = evtq_page_response,
};

/* Let a device have @nr streams, of which the events are from one. */
static void evtq_add_device(struct evtq *e, unsigned int nr, bool probed)
{
	e->smmu.iommu.ops = &evtq_ops;
	e->iommu.iommu_dev = probed ? &e->smmu.iommu : NULL;
	e->master.smmu = &e->smmu;
	e->master.dev = e->smmu.dev;
	e->master.dev->iommu = &e->iommu;
	e->master.num_streams = nr;
	e->stream.id = SID;
	e->stream.master = &e->master;
	rb_link_node(&e->stream.node, NULL, &e->smmu.streams.rb_node);
	rb_insert_color(&e->stream.node, &e->smmu.streams);
}

/*
 * A device that has several streams: the core is not asked, as its answer would not
 * say which of them it is for.
 */
static void one_of_several_streams_is_answered(struct kunit *test)
{
	struct evtq *e = test->priv;

	evtq_add_device(e, 2, true);
	evtq_put(e, true, 0xdef);
	evtq_interrupt(test);
	e->master.dev->iommu = NULL;
	evtq_expect_abort(test, SID, 0xdef);
}

/* One whose stream is known already, and whose IOMMU is not: the core would look for it. */
static void stall_of_probed_is_answered(struct kunit *test)
{
	struct evtq *e = test->priv;

	evtq_add_device(e, 1, false);
	evtq_put(e, true, 0xfed);
	evtq_interrupt(test);
	e->master.dev->iommu = NULL;
	evtq_expect_abort(test, SID, 0xfed);
}

static unsigned int evtq_printed;

static void evtq_probe_console(void *ignored, const char *text, size_t len)
{
	evtq_printed += !!strnstr(text, "event 0x07 received", len);
}

/* What a fenced function tries is expected. There is one line of these in the log by itself. */
static void evtq_forbidden(struct kunit *test, u32 state)
{
	struct evtq *e = test->priv;

	e->master.fn.state = state;
	evtq_put(e, false, 0);
	e->evts[((e->prod - 1) & (EVTQ_MASK >> 1)) * EVTQ_ENT_DWORDS] =
		cpu_to_le64(FIELD_PREP(EVTQ_0_ID, EVT_ID_TRANSL_FORBIDDEN) |
			    FIELD_PREP(EVTQ_0_SID, SID));
	evtq_interrupt(test);
}

/* The first case, as the driver prints no more than ten events in five seconds */
static void fenced_is_not_printed(struct kunit *test)
{
	struct evtq *e = test->priv;

	evtq_add_device(e, 1, true);
	evtq_printed = 0;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(evtq_probe_console, NULL));
	evtq_forbidden(test, IOMMU_ALIST_LIVE);
	KUNIT_EXPECT_EQ(test, 1, evtq_printed);
	evtq_forbidden(test, IOMMU_ALIST_FENCED);
	KUNIT_EXPECT_EQ(test, 1, evtq_printed);
	unregister_trace_console(evtq_probe_console, NULL);
	tracepoint_synchronize_unregister();
	e->master.dev->iommu = NULL;
}

static struct kunit_case evtq_cases[] = {
	KUNIT_CASE(fenced_is_not_printed),
	KUNIT_CASE(drain_empty),
	KUNIT_CASE(drain_waits_for_report),
	KUNIT_CASE(drain_waits_for_interrupt),
	KUNIT_CASE(drain_is_bounded),
	KUNIT_CASE(drain_when_count_wraps),
	KUNIT_CASE(drain_without_thread),
	KUNIT_CASE(unknown_stall_is_answered),
	KUNIT_CASE(one_of_several_streams_is_answered),
	KUNIT_CASE(stall_of_probed_is_answered),
	{}
};

static struct kunit_suite evtq_suite = {
	.name = "arm_smmu_v3_evtq",
	.init = evtq_init,
	.test_cases = evtq_cases,
};

kunit_test_suite(evtq_suite);
