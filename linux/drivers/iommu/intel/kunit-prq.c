// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of page requests: the ring, answers, and drains
 *
 * The unit has a ring, and mostly there is nobody who handles a request: each group is refused,
 * which is an answer, too. The thread that reports requests is called by the tests.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/pci-ats.h>
#include <linux/slab.h>

#include "kunit-mock.h"
#include "../iommu-pages.h"
#include "../iommu-priv.h"

#define PASID		5
#define OTHER_PASID	6
#define IOVA		0x10000
#define HOLD_MS		100
#define FLAGS		(KIOMMU_ATS | KIOMMU_PASID | KIOMMU_PRI)
#define REQUEST		sizeof(struct vtd_request)
#define ROOM		(PRQ_DEPTH - 1)	/* requests that the ring holds */
#define ONE(n)		(VTD_READ | VTD_LAST | VTD_GROUP(n))

/**
 * struct prq - what a test works with
 * @test: the test
 * @unit: the unit
 * @fn: functions that make page requests, of different groups
 * @domain: what is attached to each
 * @queue: whom they are reported to
 * @drains: wait descriptors that drain page requests, see fill_before()
 */
struct prq {
	struct kunit *test;
	struct vtd_unit *unit;
	struct vtd_fn *fn[2];
	struct iommu_domain *domain[2];
	struct iopf_queue *queue;
	unsigned int drains;
};

static void prq_add_fn(struct prq *p, unsigned int n)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn = vtd_add_fn(p->test, 0, FLAGS);

	p->fn[n] = fn;
	KUNIT_ASSERT_EQ(p->test, 0, kiommu_group_init(&fn->pci, NULL));
	domain = vtd_paging(p->test, fn, 0);
	p->domain[n] = domain;
	KUNIT_ASSERT_EQ(p->test, 0, vtd_attach(fn, domain));
	KUNIT_ASSERT_EQ(p->test, 0, vtd_set_pasid(fn, PASID, domain));
}

static int prq_feature(struct vtd_fn *fn, bool on)
{
	return on ? intel_iommu_ops.dev_enable_feat(&fn->pci.pdev.dev, IOMMU_DEV_FEAT_IOPF) :
		intel_iommu_ops.dev_disable_feat(&fn->pci.pdev.dev, IOMMU_DEV_FEAT_IOPF);
}

static int prq_pass(struct prq *p)
{
	return intel_iommu_prq_thread(0, &p->unit->iommu);
}

static u64 prq_reg(struct prq *p, unsigned int reg)
{
	return dmar_readq(p->unit->iommu.reg + reg);
}

/* How many requests of the ring have not been reported */
static unsigned int nr_in_ring(struct prq *p)
{
	return ((prq_reg(p, DMAR_PQT_REG) - prq_reg(p, DMAR_PQH_REG)) & PRQ_RING_MASK) /
		REQUEST;
}

/* What a handler has taken, until finish_kept() */
static struct iopf_group *kept;

static void end_kept(enum iommu_page_response_code code)
{
	if (!kept)
		return;
	iopf_group_response(kept, code);
	iopf_free_group(kept);
	kept = NULL;
}

static void prq_end_fn(struct prq *p, struct vtd_fn *fn)
{
	if (!fn)
		return;
	if (fn->info.pri_enabled)
		KUNIT_EXPECT_EQ(p->test, 0, prq_feature(fn, false));
	KUNIT_EXPECT_EQ(p->test, 0, fn->owed);
}

/*
 * With a failed assertion, there may be anything in the ring, and on the way: vtd_exit()
 * would wait for who reports it.
 */
static void prq_end(void *arg)
{
	struct prq *p = arg;
	struct intel_iommu *iommu = &p->unit->iommu;
	unsigned int n;

	p->unit->before = NULL;
	KUNIT_EXPECT_EQ(p->test, 0, p->unit->nr_late);
	p->unit->nr_late = 0;
	KUNIT_EXPECT_EQ(p->test, 0, nr_in_ring(p));
	KUNIT_EXPECT_NULL(p->test, kept);
	end_kept(IOMMU_PAGE_RESP_INVALID);
	if (p->queue)
		prq_pass(p);
	for (n = 0; n < ARRAY_SIZE(p->fn); n++)
		prq_end_fn(p, p->fn[n]);
	iommu->iopf_queue = NULL;
	iopf_queue_free(p->queue);
	if (iommu->prq)
		iommu_free_pages(iommu->prq, PRQ_ORDER);
	iommu->prq = NULL;
}

static struct prq *prq_setup(struct kunit *test)
{
	struct prq *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	struct intel_iommu *iommu;
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, p);
	p->test = test;
	p->unit = vtd_machine(test, 1, NULL)->unit;
	vtd_at_exit(test, prq_end, p);
	iommu = &p->unit->iommu;
	iommu->prq = iommu_alloc_pages_node(NUMA_NO_NODE, GFP_KERNEL, PRQ_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, iommu->prq);
	p->queue = iopf_queue_alloc();
	KUNIT_ASSERT_NOT_NULL(test, p->queue);
	iommu->iopf_queue = p->queue;
	for (n = 0; n < ARRAY_SIZE(p->fn); n++)
		prq_add_fn(p, n);
	return p;
}

static struct prq *prq_start(struct kunit *test)
{
	struct prq *p = prq_setup(test);
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(p->fn); n++)
		KUNIT_ASSERT_EQ(test, 0, prq_feature(p->fn[n], true));
	vtd_clear_log(test->priv);
	return p;
}

static void prq_request(struct prq *p, unsigned int n, u32 pasid, unsigned int flags)
{
	KUNIT_EXPECT_EQ(p->test, 0, vtd_request(p->fn[n], pasid, IOVA, flags));
}

static bool prq_overflow(struct prq *p)
{
	return readl(p->unit->iommu.reg + DMAR_PRS_REG) & DMA_PRS_PRO;
}

/* All that was in the ring is reported, and the interrupt is armed again. */
static void expect_empty(struct prq *p)
{
	KUNIT_EXPECT_EQ(p->test, prq_reg(p, DMAR_PQT_REG), prq_reg(p, DMAR_PQH_REG));
	KUNIT_EXPECT_EQ(p->test, 0, readl(p->unit->iommu.reg + DMAR_PRS_REG));
}

static void expect_stream(struct prq *p, const char *stream)
{
	KUNIT_EXPECT_STREQ(p->test, stream, vtd_stream(p->test, p->unit, 0));
	vtd_clear_log(p->test->priv);
}

/* The ring as it is after so many requests that are long over */
static void prq_move(struct prq *p, unsigned int nr)
{
	dmar_writeq(p->unit->iommu.reg + DMAR_PQH_REG, nr * REQUEST);
	dmar_writeq(p->unit->iommu.reg + DMAR_PQT_REG, nr * REQUEST);
}

/* Until there is no room; false if there was none */
static bool prq_fill(struct prq *p, unsigned int n)
{
	unsigned int nr = 0;

	while (prq_reg(p, DMAR_PQH_REG) !=
	       ((prq_reg(p, DMAR_PQT_REG) + REQUEST) & PRQ_RING_MASK)) {
		vtd_request(p->fn[n], PASID, IOVA, ONE(nr % 512));
		nr++;
	}
	return nr;
}

/* --- who may ask --- */

/* What the unit has cached of the context entry changes with it. */
static void pre_is_told(struct kunit *test)
{
	struct prq *p = prq_setup(test);
	unsigned int round;

	for (round = 0; round < 2; round++) {
		KUNIT_EXPECT_EQ(test, -EPERM, vtd_request(p->fn[0], PASID, IOVA, ONE(1)));
		KUNIT_EXPECT_EQ(test, 0, prq_feature(p->fn[0], true));
		KUNIT_EXPECT_EQ(test, -EBUSY, prq_feature(p->fn[0], true));
		KUNIT_EXPECT_EQ(test, -EPERM, vtd_request(p->fn[1], PASID, IOVA, ONE(1)));
		prq_request(p, 0, PASID, ONE(1));
		prq_pass(p);
		KUNIT_EXPECT_EQ(test, 0, prq_feature(p->fn[0], false));
		KUNIT_EXPECT_EQ(test, -EINVAL, prq_feature(p->fn[0], false));
		vtd_audit(test->priv);
	}
}

/* --- the ring --- */

static void each_gets_an_answer(struct kunit *test)
{
	struct prq *p = prq_start(test);

	KUNIT_EXPECT_EQ(test, IRQ_NONE, prq_pass(p));
	expect_stream(p, "");
	prq_request(p, 0, PASID, ONE(1));
	/* Only the last of its group is answered. */
	prq_request(p, 1, PASID, VTD_WRITE | VTD_GROUP(2));
	prq_request(p, 1, PASID, ONE(2));
	prq_request(p, 0, OTHER_PASID, VTD_WRITE | VTD_LAST | VTD_GROUP(511));
	KUNIT_EXPECT_EQ(test, IRQ_HANDLED, prq_pass(p));
	expect_stream(p, "response sid=4000 pasid=5 group=1 code=1\n"
		      "response sid=4008 pasid=5 group=2 code=1\n"
		      "response sid=4000 pasid=6 group=511 code=1\n");
	expect_empty(p);
	KUNIT_EXPECT_EQ(test, 4 * REQUEST, prq_reg(p, DMAR_PQH_REG));
}

static void expect_response(struct kunit *test, const struct vtd_cmd *cmd, u32 group,
			    u64 code)
{
	KUNIT_EXPECT_EQ(test, QI_PGRP_RESP_TYPE | QI_PGRP_PASID_P(1) |
			QI_PGRP_RESP_CODE(code) | QI_PGRP_DID(0x4000) |
			QI_PGRP_PASID(PASID), cmd->qw[0]);
	KUNIT_EXPECT_EQ(test, QI_PGRP_IDX(group) | QI_PGRP_LPIG(1), cmd->qw[1]);
}

/* What a response says beside that: that it has a PASID, and is the last */
static void response_is_complete(struct kunit *test)
{
	struct prq *p = prq_start(test);
	const struct vtd_cmd *cmd = p->unit->log;

	prq_request(p, 0, PASID, ONE(3));
	prq_pass(p);
	KUNIT_ASSERT_EQ(test, 1, vtd_count(p->unit, QI_PGRP_RESP_TYPE));
	expect_response(test, cmd, 3, QI_RESP_INVALID);
}

static void ring_wraps(struct kunit *test)
{
	struct prq *p = prq_start(test);
	unsigned int n;

	prq_move(p, ROOM - 1);
	for (n = 0; n < 5; n++)
		prq_request(p, n & 1, PASID, ONE(n));
	KUNIT_EXPECT_EQ(test, 3 * REQUEST, prq_reg(p, DMAR_PQT_REG));
	prq_pass(p);
	expect_stream(p, "response sid=4000 pasid=5 group=0 code=1\n"
		      "response sid=4008 pasid=5 group=1 code=1\n"
		      "response sid=4000 pasid=5 group=2 code=1\n"
		      "response sid=4008 pasid=5 group=3 code=1\n"
		      "response sid=4000 pasid=5 group=4 code=1\n");
	expect_empty(p);
}

/* As many as there is room for, and from the middle */
static void ring_is_full(struct kunit *test)
{
	struct prq *p = prq_start(test);

	prq_move(p, 100);
	KUNIT_EXPECT_TRUE(test, prq_fill(p, 0));
	KUNIT_EXPECT_FALSE(test, prq_overflow(p));
	KUNIT_EXPECT_EQ(test, ROOM, p->fn[0]->owed);
	prq_pass(p);
	KUNIT_EXPECT_EQ(test, ROOM, vtd_count(p->unit, QI_PGRP_RESP_TYPE));
	expect_empty(p);
}

/* Of a group that the ring has the beginning of, the rest may have been lost. */
static struct iopf_fault *add_partial(struct prq *p, unsigned int n)
{
	struct iommu_fault_param *param;
	struct iopf_fault *fault = kzalloc(sizeof(*fault), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(p->test, fault);
	param = rcu_dereference_protected(p->fn[n]->pci.dev_iommu.fault_param, true);
	fault->fault.prm.grpid = 7;
	mutex_lock(&param->lock);
	list_add(&fault->list, &param->partial);
	mutex_unlock(&param->lock);
	return fault;
}

static bool has_partial(struct prq *p, unsigned int n)
{
	struct iommu_fault_param *param;

	param = rcu_dereference_protected(p->fn[n]->pci.dev_iommu.fault_param, true);
	return !list_empty(&param->partial);
}

static void overflow_is_cleared(struct kunit *test)
{
	struct prq *p = prq_start(test);

	prq_fill(p, 0);
	add_partial(p, 1);
	/* Without an overflow they wait for the others. */
	prq_pass(p);
	KUNIT_EXPECT_TRUE(test, has_partial(p, 1));

	prq_fill(p, 0);
	KUNIT_EXPECT_EQ(test, -ENOSPC, vtd_request(p->fn[1], PASID, IOVA, ONE(1)));
	KUNIT_EXPECT_TRUE(test, prq_overflow(p));
	KUNIT_EXPECT_EQ(test, ROOM, p->fn[0]->owed);
	KUNIT_EXPECT_EQ(test, 0, p->fn[1]->owed);
	prq_pass(p);
	KUNIT_EXPECT_FALSE(test, has_partial(p, 1));
	expect_empty(p);
	/* There is room again. */
	prq_request(p, 1, PASID, ONE(1));
	prq_pass(p);
	expect_empty(p);
}

static int pass_run(void *arg)
{
	return prq_pass(arg);
}

/* It shows until all that was lost the rest of their groups have been reported. */
static void overflow_in_a_pass(struct kunit *test)
{
	struct kiommu_thread pass;
	struct prq *p;

	kiommu_two_cpus(test);
	p = prq_start(test);
	prq_request(p, 0, PASID, ONE(1));
	/* A pass that has read the tail, and stops before it reports the first */
	kiommu_start_behind(test, &pass, &p->unit->iommu.iopf_lock, pass_run, p);
	prq_fill(p, 0);
	KUNIT_EXPECT_EQ(test, -ENOSPC, vtd_request(p->fn[1], PASID, IOVA, ONE(1)));
	kiommu_join_behind(&pass, &p->unit->iommu.iopf_lock);
	KUNIT_EXPECT_TRUE(test, prq_overflow(p));
	KUNIT_EXPECT_EQ(test, REQUEST, prq_reg(p, DMAR_PQH_REG));
	prq_pass(p);
	expect_empty(p);
}

/* --- what makes no sense --- */

#define RAW_PASID	(BIT_ULL(8) | (u64)PASID << 32)
#define RAW_EXEC	BIT_ULL(52)
#define RAW_PRIV	BIT_ULL(53)

static const struct raw_case {
	const char *name;
	u64 qw0;
	u64 qw1;
	u16 sid;
	bool answered;
} raw_cases[] = {
	{ "no PASID", 0, IOVA | VTD_READ | VTD_LAST, 0x4000, true },
	{ "not canonical", RAW_PASID, BIT_ULL(62) | VTD_READ | VTD_LAST, 0x4000, true },
	{ "privileged read", RAW_PASID | RAW_PRIV, IOVA | VTD_READ | VTD_LAST, 0x4000, true },
	{ "privileged write", RAW_PASID | RAW_PRIV, IOVA | VTD_WRITE | VTD_LAST, 0x4000, true },
	{ "execute", RAW_PASID | RAW_EXEC, IOVA | VTD_READ | VTD_LAST, 0x4000, true },
	{ "nobody's", RAW_PASID, IOVA | VTD_READ | VTD_LAST, 0x40f8, true },
	{ "nobody's, more to come", RAW_PASID, IOVA | VTD_READ, 0x40f8, false },
	{ "no PASID, more to come", 0, IOVA | VTD_READ, 0x4000, false },
	{ "stop marker", RAW_PASID, IOVA | VTD_LAST, 0x4000, false },
	{ "read and write", RAW_PASID, IOVA | VTD_READ | VTD_WRITE | VTD_LAST, 0x4000, true },
};

/* Before it and behind it is one that does. */
static void bad_requests(struct kunit *test)
{
	struct prq *p = prq_start(test);
	const struct raw_case *raw;
	struct vtd_request *req;
	char answer[64], stream[192];

	for (raw = raw_cases; raw < raw_cases + ARRAY_SIZE(raw_cases); raw++) {
		prq_request(p, 1, PASID, ONE(1));
		req = (void *)p->unit->iommu.prq + prq_reg(p, DMAR_PQT_REG);
		prq_request(p, 0, PASID, raw->answered && raw->sid == 0x4000 ?
			    ONE(9) : VTD_READ);
		req->qw[0] = 1 | raw->qw0 | (u64)raw->sid << 16;
		req->qw[1] = raw->qw1 | 9 << 3;
		prq_request(p, 1, PASID, ONE(2));
		prq_pass(p);
		if (raw->answered)
			scnprintf(answer, sizeof(answer),
				  "response sid=%x pasid=%u group=9 code=1\n",
				  raw->sid, raw->qw0 ? PASID : 0);
		else
			answer[0] = 0;
		scnprintf(stream, sizeof(stream), "%s%s%s",
			  "response sid=4008 pasid=5 group=1 code=1\n", answer,
			  "response sid=4008 pasid=5 group=2 code=1\n");
		KUNIT_EXPECT_STREQ_MSG(test, stream, vtd_stream(test, p->unit, 0), "%s",
				       raw->name);
		vtd_clear_log(test->priv);
		expect_empty(p);
	}
}

/* --- drains --- */

struct drain {
	struct prq *p;
	u32 pasid;
	struct iommu_attach_handle *handle;	/* of which groups may be handled */
	struct kiommu_thread thread;
};

/* The PASID is blocked before, the RID by what drains it. */
static int drain_run(void *arg)
{
	struct drain *drain = arg;
	struct vtd_fn *fn = drain->p->fn[0];

	if (drain->pasid == IOMMU_NO_PASID)
		vtd_block(fn);
	else if (drain->handle)
		iopf_drain(&fn->pci.pdev.dev, drain->pasid, drain->handle);
	else
		intel_iommu_ops.drain_dev_pasid(&fn->pci.pdev.dev, drain->pasid);
	return 0;
}

static void start_drain(struct drain *drain)
{
	kiommu_start(drain->p->test, &drain->thread, drain_run, drain);
}

/* Passes until it is over: there may be more of them on a slow machine. */
static void end_drain(struct drain *drain)
{
	unsigned int n;

	for (n = 0; n < 100 && !kiommu_done_in(&drain->thread, HOLD_MS); n++)
		prq_pass(drain->p);
	KUNIT_EXPECT_TRUE(drain->p->test, completion_done(&drain->thread.done));
	kiommu_join(&drain->thread);
}

/* Commands of a drain: the four in this order, and nothing between them */
static void expect_drains(struct prq *p, u32 pasid, u16 did, unsigned int nr)
{
	const struct vtd_cmd *cmd, *end;
	struct kunit *test = p->test;

	end = vtd_log_end(p->unit);
	for (cmd = p->unit->log; cmd < end; cmd++) {
		if (cmd->type != QI_IWD_TYPE || !cmd->drain)
			continue;
		nr--;
		/* No assertion: the thread of the drain uses the test's stack. */
		KUNIT_EXPECT_GE(test, cmd - p->unit->log, 3);
		if (cmd - p->unit->log < 3)
			continue;
		KUNIT_EXPECT_TRUE(test, cmd->status);
		KUNIT_EXPECT_TRUE(test, cmd[-3].fence);
		KUNIT_EXPECT_EQ(test, did, cmd[-2].did);
		KUNIT_EXPECT_EQ(test, pasid, cmd[-2].pasid);
		KUNIT_EXPECT_EQ(test, 0x4000, cmd[-1].sid);
		KUNIT_EXPECT_EQ(test, pasid, cmd[-1].pasid);
		KUNIT_EXPECT_EQ(test, KIOMMU_ALL, cmd[-1].am);
		KUNIT_EXPECT_EQ(test, pasid ? QI_EIOTLB_TYPE : QI_IOTLB_TYPE,
				cmd[-2].type);
		KUNIT_EXPECT_EQ(test, pasid ? QI_GRAN_NONG_PASID :
				DMA_TLB_IIRG(DMA_TLB_DSI_FLUSH), cmd[-2].gran);
		KUNIT_EXPECT_EQ(test, pasid ? QI_DEIOTLB_TYPE : QI_DIOTLB_TYPE,
				cmd[-1].type);
	}
	KUNIT_EXPECT_EQ(test, 0, nr);
}

static u16 drain_begin(struct drain *drain, struct kunit *test, u32 pasid)
{
	u16 did;

	kiommu_two_cpus(test);
	drain->p = prq_start(test);
	drain->pasid = pasid;
	drain->handle = NULL;
	did = pasid_get_domain_id(vtd_entry(drain->p->fn[0], pasid));
	if (pasid != IOMMU_NO_PASID)
		vtd_remove_pasid(drain->p->fn[0], pasid);
	vtd_clear_log(test->priv);
	return did;
}

static bool nothing_drained(struct prq *p)
{
	const struct vtd_cmd *cmd;

	for (cmd = p->unit->log; cmd < vtd_log_end(p->unit); cmd++)
		if (cmd->drain)
			return false;
	return true;
}

/* Others' requests are before it and behind it. */
static void drain_of_full_ring(struct kunit *test, u32 pasid)
{
	struct drain drain;
	u16 did = drain_begin(&drain, test, pasid);
	struct prq *p = drain.p;

	prq_move(p, ROOM - 1);
	prq_request(p, 1, PASID, ONE(1));
	prq_request(p, 0, pasid, ONE(2));
	prq_request(p, 1, PASID, ONE(3));
	start_drain(&drain);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain.thread, HOLD_MS));
	KUNIT_EXPECT_TRUE(test, nothing_drained(p));
	end_drain(&drain);
	KUNIT_EXPECT_EQ(test, 0, nr_in_ring(p));
	expect_drains(p, pasid, did, 1);
	KUNIT_EXPECT_EQ(test, 3, vtd_count(p->unit, QI_PGRP_RESP_TYPE));
}

static void drain_pasid(struct kunit *test)
{
	drain_of_full_ring(test, PASID);
}

static void drain_rid(struct kunit *test)
{
	drain_of_full_ring(test, IOMMU_NO_PASID);
}

/* What is pushed into the ring by the drain has to be reported before it is over. */
static void drain_looks_again(struct kunit *test, u32 pasid)
{
	struct drain drain;
	u16 did = drain_begin(&drain, test, pasid);
	struct prq *p = drain.p;
	unsigned int ms = KIOMMU_AT_LAST_MS;

	prq_request(p, 0, pasid, ONE(1) | VTD_ON_THE_WAY);
	KUNIT_EXPECT_EQ(test, 0, nr_in_ring(p));
	start_drain(&drain);
	while (ms-- && !READ_ONCE(*(u64 *)(p->unit->reg + DMAR_PQT_REG)))
		usleep_range(1000, 2000);
	KUNIT_EXPECT_EQ(test, 1, nr_in_ring(p));
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain.thread, HOLD_MS));
	end_drain(&drain);
	KUNIT_EXPECT_EQ(test, 0, nr_in_ring(p));
	KUNIT_EXPECT_EQ(test, 0, p->fn[0]->owed);
	expect_drains(p, pasid, did, 1);
}

static void drain_pasid_looks_again(struct kunit *test)
{
	drain_looks_again(test, PASID);
}

static void drain_rid_looks_again(struct kunit *test)
{
	drain_looks_again(test, IOMMU_NO_PASID);
}

/* Somebody fills the ring just before the first drain gets there. */
static void fill_before(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct prq *p = unit->priv;

	if (cmd->drain && !p->drains++)
		prq_fill(p, 1);
}

/* What was lost may have been anything, so that the drain is repeated. */
static void drain_after_overflow(struct kunit *test, u32 pasid)
{
	struct drain drain;
	u16 did = drain_begin(&drain, test, pasid);
	struct prq *p = drain.p;
	unsigned int ms = KIOMMU_AT_LAST_MS;

	p->unit->priv = p;
	p->unit->before = fill_before;
	prq_request(p, 0, pasid, ONE(1) | VTD_ON_THE_WAY);
	start_drain(&drain);
	while (ms-- && !prq_overflow(p))
		usleep_range(1000, 2000);
	KUNIT_EXPECT_TRUE(test, prq_overflow(p));
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain.thread, HOLD_MS));
	expect_drains(p, pasid, did, 1);
	end_drain(&drain);
	expect_empty(p);
	/* The log is full. */
	KUNIT_EXPECT_EQ(test, 2, p->drains);
}

static void drain_pasid_after_overflow(struct kunit *test)
{
	drain_after_overflow(test, PASID);
}

static void drain_rid_after_overflow(struct kunit *test)
{
	drain_after_overflow(test, IOMMU_NO_PASID);
}

/* Who makes no page requests, and a PASID that the core knows to be the RID's */
static void nothing_to_drain(struct kunit *test)
{
	struct drain drain;
	struct prq *p;

	drain_begin(&drain, test, PASID);
	p = drain.p;
	prq_request(p, 1, PASID, ONE(1));
	intel_iommu_ops.drain_dev_pasid(&p->fn[0]->pci.pdev.dev, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, 0, prq_feature(p->fn[0], false));
	vtd_clear_log(test->priv);
	intel_iommu_ops.drain_dev_pasid(&p->fn[0]->pci.pdev.dev, PASID);
	expect_stream(p, "");
	vtd_block(p->fn[0]);
	KUNIT_EXPECT_TRUE(test, nothing_drained(p));
	/* All that it has made is reported, and the unit is not asked. */
	prq_pass(p);
}

/* Before a reset everything is reported, and nothing is sent. */
static void drain_before_reset(struct kunit *test)
{
	struct drain drain;
	struct prq *p;

	drain_begin(&drain, test, PASID);
	p = drain.p;
	drain.pasid = IOMMU_PASID_INVALID;
	prq_request(p, 0, PASID, ONE(1));
	start_drain(&drain);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain.thread, HOLD_MS));
	prq_pass(p);
	kiommu_join(&drain.thread);
	KUNIT_EXPECT_TRUE(test, nothing_drained(p));
	KUNIT_EXPECT_EQ(test, 0, nr_in_ring(p));
}

/* --- somebody handles requests --- */

static int keep(struct iopf_group *group)
{
	kept = group;
	return 0;
}

static void finish_kept(struct kunit *test, enum iommu_page_response_code code)
{
	KUNIT_EXPECT_NOT_NULL(test, kept);
	end_kept(code);
}

/* In the group that there is, there is no device: the core tells the driver nothing. */
static void find_handler(struct prq *p, struct iommu_attach_handle *handle)
{
	struct iommu_domain *domain = p->domain[0];

	domain->iopf_handler = keep;
	domain->owner = &intel_iommu_ops;
	p->fn[0]->pci.dev_iommu.max_pasids = 1 << PASID_PDE_SHIFT;
	KUNIT_ASSERT_EQ(p->test, 0, iommu_attach_device_pasid(domain, &p->fn[0]->pci.pdev.dev,
							      PASID, handle));
}

static void handled_group_gets_its_answer(struct kunit *test)
{
	static struct iommu_attach_handle handle;
	struct prq *p = prq_start(test);

	find_handler(p, &handle);
	prq_request(p, 0, PASID, VTD_READ | VTD_GROUP(6));
	prq_request(p, 0, PASID, ONE(6));
	prq_pass(p);
	expect_empty(p);
	expect_stream(p, "");
	KUNIT_EXPECT_EQ(test, 1, p->fn[0]->owed);
	finish_kept(test, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(p->unit, QI_PGRP_RESP_TYPE));
	expect_response(test, p->unit->log, 6, QI_RESP_SUCCESS);
	iommu_detach_device_pasid(p->domain[0], &p->fn[0]->pci.pdev.dev, PASID);
}

/* The place of the first response to a group, and how many there are */
static unsigned int find_response(struct prq *p, u32 group, unsigned int *nr)
{
	unsigned int n, first = 0;

	*nr = 0;
	for (n = 0; n < min(p->unit->nr_logged, VTD_LOG); n++)
		if (p->unit->log[n].type == QI_PGRP_RESP_TYPE &&
		    p->unit->log[n].addr == group && !(*nr)++)
			first = n;
	return first;
}

/*
 * Whoever has a group goes on to handle it while its PASID is drained: the answer is sent
 * before, and another one not at all. What is in the ring is refused in between.
 */
static void kept_group_is_answered_first(struct kunit *test)
{
	static struct iommu_attach_handle handle;
	unsigned int first, second, nr, ms = KIOMMU_AT_LAST_MS;
	struct drain drain = { .pasid = PASID };
	struct prq *p;
	u16 did;

	kiommu_two_cpus(test);
	p = prq_start(test);
	drain.p = p;
	drain.handle = &handle;
	find_handler(p, &handle);
	did = pasid_get_domain_id(vtd_entry(p->fn[0], PASID));
	prq_request(p, 0, PASID, ONE(4));
	prq_pass(p);
	expect_stream(p, "");
	prq_request(p, 0, PASID, ONE(5));
	vtd_remove_pasid(p->fn[0], PASID);
	iommu_detach_device_pasid(p->domain[0], &p->fn[0]->pci.pdev.dev, PASID);
	vtd_clear_log(test->priv);
	start_drain(&drain);
	while (ms-- && READ_ONCE(p->fn[0]->owed) == 2)
		usleep_range(1000, 2000);
	KUNIT_EXPECT_EQ(test, 1, p->fn[0]->owed);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain.thread, HOLD_MS));
	KUNIT_EXPECT_TRUE(test, nothing_drained(p));
	KUNIT_EXPECT_EQ(test, 1, nr_in_ring(p));
	end_drain(&drain);
	KUNIT_EXPECT_EQ(test, 0, nr_in_ring(p));
	KUNIT_EXPECT_EQ(test, 0, p->fn[0]->owed);
	first = find_response(p, 4, &nr);
	KUNIT_EXPECT_EQ(test, 1, nr);
	expect_response(test, &p->unit->log[first], 4, QI_RESP_INVALID);
	second = find_response(p, 5, &nr);
	KUNIT_EXPECT_EQ(test, 1, nr);
	expect_response(test, &p->unit->log[second], 5, QI_RESP_INVALID);
	KUNIT_EXPECT_LT(test, first, second);
	for (nr = 0; nr < second; nr++)
		KUNIT_EXPECT_FALSE(test, p->unit->log[nr].drain);
	expect_drains(p, PASID, did, 1);

	vtd_clear_log(test->priv);
	finish_kept(test, IOMMU_PAGE_RESP_SUCCESS);
	expect_stream(p, "");
}

static struct kunit_case prq_cases[] = {
	KUNIT_CASE(pre_is_told),
	KUNIT_CASE(each_gets_an_answer),
	KUNIT_CASE(response_is_complete),
	KUNIT_CASE(ring_wraps),
	KUNIT_CASE(ring_is_full),
	KUNIT_CASE(overflow_is_cleared),
	KUNIT_CASE(overflow_in_a_pass),
	KUNIT_CASE(bad_requests),
	KUNIT_CASE(drain_pasid),
	KUNIT_CASE(drain_rid),
	KUNIT_CASE(drain_pasid_looks_again),
	KUNIT_CASE(drain_rid_looks_again),
	KUNIT_CASE(drain_pasid_after_overflow),
	KUNIT_CASE(drain_rid_after_overflow),
	KUNIT_CASE(nothing_to_drain),
	KUNIT_CASE(drain_before_reset),
	KUNIT_CASE(handled_group_gets_its_answer),
	KUNIT_CASE(kept_group_is_answered_first),
	{}
};

static struct kunit_suite prq_suite = {
	.name = "intel_iommu_prq",
	.exit = vtd_exit,
	.test_cases = prq_cases,
};

kunit_test_suite(prq_suite);
