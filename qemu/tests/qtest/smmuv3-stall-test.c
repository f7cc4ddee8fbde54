/*
 * QTest of SMMUv3's stall model: what stalls, how software ends it, and that
 * each stall is answered once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "smmuv3-fixture.h"

#define UNIT_STALL      UNIT_SVA ",x-stall=on"
#define EVT_STALL       (1u << 31)
#define IDR5            0x14
#define CFG_DEVCTL      0x88
#define DEVCTL_FLR      0x8000
#define NO_EVENT        -1

/* --- helpers --- */

/* PASID 1 of A and B stalls, in address spaces 1 and 3. */
static void start_stalling(Fix *f, const char *first)
{
    start_with(f, UNIT_STALL, first);
    write_cd(f, CDTAB(A) + 64, cd_of(1) | CD_S, 1);
    write_cd(f, CDTAB(B) + 64, cd_of(3) | CD_S, 3);
}

/* The next event is that of a stall of PASID 1; its tag, or NO_EVENT */
static int stall_event(Fix *f, int dev, int type, uint32_t flags, uint64_t addr)
{
    uint32_t words[8];

    next_event(f, UNIT(dev), words);
    if (!words[0]) {
        return NO_EVENT;
    }
    g_assert_cmphex(words[0], ==, type | CMD_SSV | 1 << 12);
    g_assert_cmphex(words[1], ==, SID(dev));
    g_assert_cmphex(words[2] & ~0xffffu, ==, EVT_STALL);
    g_assert_cmphex(words[3], ==, flags);
    g_assert_cmphex(words[4] | (uint64_t)words[5] << 32, ==, addr);
    return words[2] & 0xffff;
}

/* @how: RESUME_* */
static void resume(Fix *f, int dev, uint16_t tag, uint64_t how)
{
    run(f, UNIT(dev), CMD_RESUME | how | (uint64_t)SID(dev) << 32, tag);
}

/* The queue is stalled by the access to VA2, for the first time. */
static int stalled(Fix *f, int dev, unsigned q, unsigned op)
{
    int tag;

    submit(f, dev, q, op, VA2);
    g_assert_cmpint(settle(f, dev, q), ==, SVADEV_STATE_PAGE_REQ);
    tag = stall_event(f, dev, EVT_TRANSLATION, CLASS_IN |
                      (op == SVADEV_OP_SUM ? EVENT_READ : EVENT_WRITE), VA2);
    g_assert_cmpint(tag, >=, 0);
    return tag;
}

static void map_va2(Fix *f, int space)
{
    set_pte(f, space, VA2, PAGE(7) | PTE_PAGE | PTE_AF);
}

static void expect_end(Fix *f, int dev, unsigned q, uint64_t error)
{
    g_assert_cmpint(settle(f, dev, q), ==,
                    error ? SVADEV_STATE_ERROR : SVADEV_STATE_DONE);
    g_assert_cmpint(q_read(f, dev, Q(q, SVADEV_Q_ERROR)), ==, error);
}

static bool busy(Fix *f, int dev, unsigned q)
{
    return dev_read(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_BUSY);
}

static void expect_counts(Fix *f, unsigned stalls, unsigned resumes,
                          unsigned ended, unsigned errors)
{
    g_assert_cmpint(dev_read(f, A, SVADEV_U_STALL), ==, stalls);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_RESUME), ==, resumes);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_STALL_ENDED), ==, ended);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_STALL_ERROR), ==, errors);
}

/* A second and a third queue of A's PASID 1 */
static unsigned more_queues(Fix *f, unsigned n)
{
    unsigned q = QUEUES - 1 - n;

    dev_write(f, A, SVADEV_QCTL(q) + SVADEV_QCTL_PASID, 1);
    dev_write(f, A, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 1);
    return q;
}

/* --- how a stall ends --- */

static void test_retry(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    g_assert_cmphex(smmu_read(&f, 0, IDR0) >> 24 & 3, ==, 0);
    g_assert_cmpint(smmu_read(&f, 0, IDR5) >> 16, ==, 32);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_STALL_MAX), ==, 32);
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    g_assert_true(busy(&f, A, q));
    expect_counts(&f, 1, 0, 0, 0);
    /* Nothing happens by itself. */
    map_va2(&f, 1);
    g_assert_cmpint(settle(&f, A, q), ==, SVADEV_STATE_PAGE_REQ);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q, 0);
    g_assert_false(busy(&f, A, q));
    g_assert_cmphex(qtest_readq(f.qts, PAGE(7)), ==, 0);
    expect_counts(&f, 1, 1, 0, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_STALL), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_RESUME), ==, 1);
    g_assert_cmpint(event(&f, 0, NULL), ==, NO_EVENT);
    stop(&f);
}

/* IDR0.TERM_MODEL is 1: what is terminated is aborted, whatever Ab says. */
static void test_abort(void)
{
    static const uint64_t how[] = { RESUME_ABORT, 0 };
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    for (int i = 0; i < ARRAY_SIZE(how); i++) {
        g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
        map_va2(&f, 1);
        resume(&f, A, 0, how[i]);
        expect_end(&f, A, q, SVADEV_ERR_DMA);
        g_assert_cmphex(q_read(&f, A, Q(q, SVADEV_Q_FAULT)), ==,
                        VA2 | SVADEV_FAULT_WRITE);
        g_assert_cmpint(q_read(&f, A, Q(q, SVADEV_Q_DONE)), ==, 0);
        g_assert_cmpint(qtest_readb(f.qts, PAGE(7)), ==, 7);
        set_pte(&f, 1, VA2, 0);
        expect_counts(&f, i + 1, i + 1, 0, 0);
    }
    stop(&f);
}

/* The request is a new one then: another event, with the tag that is free. */
static void test_retry_faults(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_SUM), ==, 0);
    for (int i = 0; i < 20; i++) {
        resume(&f, A, 0, RESUME_RETRY);
        g_assert_cmpint(settle(&f, A, q), ==, SVADEV_STATE_PAGE_REQ);
        g_assert_cmpint(stall_event(&f, A, EVT_TRANSLATION,
                                    CLASS_IN | EVENT_READ, VA2), ==, 0);
    }
    map_va2(&f, 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q, 0);
    g_assert_cmpint(q_read(&f, A, Q(q, SVADEV_Q_RESULT)), ==, 7 * 8);
    expect_counts(&f, 21, 21, 0, 0);
    stop(&f);
}

/* What is retried goes by the tables and the configuration of now. */
static void test_retry_of_unbound(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    map_va2(&f, 1);
    write_cd(&f, CDTAB(A) + 64, 0, 1);
    run(&f, 0, cfgi_cd(A, 1), 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q, SVADEV_ERR_DMA);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_BAD_CD);
    g_assert_cmpint(qtest_readb(f.qts, PAGE(7)), ==, 7);
    stop(&f);
}

/* Answers to what is not stalled: counted, and of no effect */
static void test_wrong_answers(void)
{
    unsigned qa, qb;
    Fix f;

    start_stalling(&f, "");
    qa = use_queue(&f, A, 1);
    qb = use_queue(&f, B, 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_counts(&f, 0, 0, 0, 1);
    g_assert_cmpint(stalled(&f, A, qa, SVADEV_OP_FILL), ==, 0);
    g_assert_cmpint(stalled(&f, B, qb, SVADEV_OP_FILL), ==, 1);
    map_va2(&f, 1);
    map_va2(&f, 3);
    /* another stream's, and two that nobody has */
    resume(&f, B, 0, RESUME_ABORT);
    resume(&f, A, 1, RESUME_ABORT);
    resume(&f, A, 2, RESUME_ABORT);
    resume(&f, A, 0xffff, RESUME_ABORT);
    expect_counts(&f, 2, 0, 0, 5);
    g_assert_cmpint(settle(&f, A, qa), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(settle(&f, B, qb), ==, SVADEV_STATE_PAGE_REQ);
    resume(&f, B, 1, RESUME_RETRY);
    expect_end(&f, B, qb, 0);
    /* a second one */
    resume(&f, B, 1, RESUME_RETRY);
    expect_counts(&f, 2, 1, 0, 6);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, qa, 0);
    expect_counts(&f, 2, 2, 0, 6);
    stop(&f);
}

/*
 * A tag is in use again at once: an answer too many ends a stall that is not
 * meant, and that one's own is counted.
 */
static void test_tags_reused(void)
{
    unsigned q1, q2;
    Fix f;

    start_stalling(&f, "");
    q1 = use_queue(&f, A, 1);
    q2 = more_queues(&f, 1);
    g_assert_cmpint(stalled(&f, A, q1, SVADEV_OP_FILL), ==, 0);
    resume(&f, A, 0, RESUME_ABORT);
    expect_end(&f, A, q1, SVADEV_ERR_DMA);
    g_assert_cmpint(stalled(&f, A, q2, SVADEV_OP_FILL), ==, 0);
    resume(&f, A, 0, RESUME_ABORT);
    expect_end(&f, A, q2, SVADEV_ERR_DMA);
    expect_counts(&f, 2, 2, 0, 0);
    resume(&f, A, 0, RESUME_RETRY);
    expect_counts(&f, 2, 2, 0, 1);
    stop(&f);
}

/* --- each operation --- */

static void test_operations(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    /* The source is there; the step is made again when the destination is. */
    q_write(&f, A, Q(q, SVADEV_Q_OP), SVADEV_OP_COPY);
    q_write(&f, A, Q(q, SVADEV_Q_FLAGS), 0);
    q_write(&f, A, Q(q, SVADEV_Q_SRC), VA);
    q_write(&f, A, Q(q, SVADEV_Q_DST), VA2);
    q_write(&f, A, Q(q, SVADEV_Q_LEN), 8);
    q_write(&f, A, Q(q, SVADEV_Q_DOORBELL), 1);
    g_assert_cmpint(settle(&f, A, q), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(stall_event(&f, A, EVT_TRANSLATION, CLASS_IN | EVENT_WRITE,
                                VA2), ==, 0);
    qtest_memset(f.qts, PAGE(1), 9, 8);
    map_va2(&f, 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q, 0);
    g_assert_cmphex(qtest_readq(f.qts, PAGE(7)), ==, 0x0909090909090909);

    set_pte(&f, 1, VA2, 0);
    run(&f, 0, tlbi_asid(1), 0);
    q_write(&f, A, Q(q, SVADEV_Q_ARG), 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_ADD64), ==, 0);
    map_va2(&f, 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q, 0);
    g_assert_cmphex(q_read(&f, A, Q(q, SVADEV_Q_RESULT)), ==,
                    0x0909090909090909);
    g_assert_cmphex(qtest_readq(f.qts, PAGE(7)), ==, 0x090909090909090a);
    expect_counts(&f, 2, 2, 0, 0);
    stop(&f);
}

/* --- what stalls, and what does not --- */

static void expect_stall(Fix *f, unsigned q, int type, uint64_t addr)
{
    submit(f, A, q, SVADEV_OP_FILL, addr);
    g_assert_cmpint(settle(f, A, q), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(stall_event(f, A, type, CLASS_IN | EVENT_WRITE, addr), ==,
                    0);
    resume(f, A, 0, RESUME_ABORT);
    expect_end(f, A, q, SVADEV_ERR_DMA);
}

/* The four faults of a translation, CD.R or not */
static void test_faults(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    for (int i = 0; i < 2; i++) {
        expect_stall(&f, q, EVT_TRANSLATION, VA2);
        set_pte(&f, 1, VA2, PAGE(7) | PTE_PAGE);
        expect_stall(&f, q, EVT_ACCESS, VA2);
        set_pte(&f, 1, VA2, PAGE(7) | PTE_PAGE | PTE_AF | PTE_RO);
        expect_stall(&f, q, EVT_PERMISSION, VA2);
        set_pte(&f, 1, VA2, 1ULL << 41 | PTE_PAGE | PTE_AF);
        expect_stall(&f, q, EVT_ADDR_SIZE, VA2);
        set_pte(&f, 1, VA2, 0);
        write_cd(&f, CDTAB(A) + 64, (cd_of(1) | CD_S) & ~CD_R, 1);
        run(&f, 0, cfgi_cd(A, 1), 1);
    }
    expect_counts(&f, 8, 8, 0, 0);
    stop(&f);
}

static void expect_no_stall(Fix *f, int type)
{
    g_assert_cmpint(try_op(f, A, 1, SVADEV_OP_FILL, VA2), ==, SVADEV_ERR_DMA);
    g_assert_cmpint(event(f, 0, NULL), ==, type);
    g_assert_cmpint(event(f, 0, NULL), ==, NO_EVENT);
}

static void test_no_stall(void)
{
    Fix f;

    start_stalling(&f, "");
    /* What was stalled before is no matter. */
    g_assert_cmpint(stalled(&f, A, use_queue(&f, A, 1), SVADEV_OP_FILL), ==, 0);
    resume(&f, A, 0, RESUME_ABORT);
    expect_end(&f, A, use_queue(&f, A, 1), SVADEV_ERR_DMA);
    /* The function does not want to wait. */
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_PRI);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA2), ==, SVADEV_ERR_DMA);
    expect_fault(&f, A, EVT_TRANSLATION, 1, CLASS_IN | EVENT_WRITE, VA2, 0);
    dev_write(&f, A, SVADEV_CTRL, 0);
    /* CD.S is 0. */
    write_cd(&f, CDTAB(A) + 64, cd_of(1), 1);
    run(&f, 0, cfgi_cd(A, 1), 1);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA2), ==, SVADEV_ERR_DMA);
    expect_fault(&f, A, EVT_TRANSLATION, 1, CLASS_IN | EVENT_WRITE, VA2, 0);
    /* A CD that is none */
    write_cd(&f, CDTAB(A) + 64, 0, 1);
    run(&f, 0, cfgi_cd(A, 1), 1);
    expect_no_stall(&f, EVT_BAD_CD);
    /* STE.S1STALLD forbids CD.S, and permits CDs without. */
    write_cd(&f, CDTAB(A) + 64, cd_of(1) | CD_S, 1);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_BYPASS) | STE_S1STALLD);
    run(&f, 0, cfgi_ste(A), 1);
    expect_no_stall(&f, EVT_BAD_CD);
    write_cd(&f, CDTAB(A) + 64, cd_of(1), 1);
    run(&f, 0, cfgi_cd(A, 1), 1);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    expect_no_stall(&f, EVT_TRANSLATION);
    expect_counts(&f, 1, 1, 0, 0);
    stop(&f);
}

/* A Translation Request does not stall, nor is there an event. */
static void test_ats_does_not_stall(void)
{
    Fix f;

    start_stalling(&f, "");
    set_ats(&f, A, true);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA2), ==,
                    SVADEV_ERR_NOT_MAPPED);
    g_assert_cmpint(event(&f, 0, NULL), ==, NO_EVENT);
    expect_counts(&f, 0, 0, 0, 0);
    stop(&f);
}

/* Without x-stall there is no stall model, and all of it is refused. */
static void test_without(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(smmu_read(&f, 0, IDR0) >> 24 & 3, ==, 1);
    g_assert_cmphex(smmu_read(&f, 0, IDR5) >> 16, ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_STALL_MAX), ==, 0);
    write_cd(&f, CDTAB(A) + 64, cd_of(1) | CD_S, 1);
    expect_no_stall(&f, EVT_BAD_CD);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_BYPASS) | STE_S1STALLD);
    run(&f, 0, cfgi_ste(A), 1);
    expect_no_stall(&f, EVT_BAD_STE);
    for (int i = 0; i < 2; i++) {
        put(&f, 0, i ? CMD_STALL_TERM : CMD_RESUME, 0);
        go(&f, 0);
        g_assert_true(in_error(&f, 0));
        g_assert_cmpint(cerror(&f, 0), ==, CERROR_ILL);
        qtest_writeq(f.qts, slot_addr(0, cons(&f, 0)), CMD_SYNC);
        acknowledge(&f, 0);
        g_assert_true(done(&f, 0));
    }
    stop(&f);
}

/* --- limits --- */

/* With no tag left a request waits without an event, and gets the next tag. */
static void test_tags_used_up(void)
{
    unsigned q[3];
    Fix f;

    start_stalling(&f, ",x-stall-max=2");
    g_assert_cmpint(smmu_read(&f, 0, IDR5) >> 16, ==, 2);
    q[0] = use_queue(&f, A, 1);
    q[1] = more_queues(&f, 1);
    q[2] = use_queue(&f, B, 1);
    g_assert_cmpint(stalled(&f, A, q[0], SVADEV_OP_FILL), ==, 0);
    g_assert_cmpint(stalled(&f, A, q[1], SVADEV_OP_FILL), ==, 1);
    submit(&f, B, q[2], SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, B, q[2]), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(event(&f, 0, NULL), ==, NO_EVENT);
    expect_counts(&f, 2, 0, 0, 0);
    resume(&f, A, 1, RESUME_ABORT);
    expect_end(&f, A, q[1], SVADEV_ERR_DMA);
    g_assert_cmpint(settle(&f, B, q[2]), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(stall_event(&f, B, EVT_TRANSLATION, CLASS_IN | EVENT_WRITE,
                                VA2), ==, 1);
    /* One that can go on by then needs neither. */
    submit(&f, A, q[1], SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, A, q[1]), ==, SVADEV_STATE_PAGE_REQ);
    map_va2(&f, 1);
    resume(&f, A, 0, RESUME_RETRY);
    expect_end(&f, A, q[0], 0);
    expect_end(&f, A, q[1], 0);
    resume(&f, B, 1, RESUME_ABORT);
    expect_end(&f, B, q[2], SVADEV_ERR_DMA);
    g_assert_cmpint(event(&f, 0, NULL), ==, NO_EVENT);
    expect_counts(&f, 3, 3, 0, 0);
    stop(&f);
}

/* The event of a stall waits for room in the queue: there is no overflow. */
static void test_full_queue(void)
{
    unsigned qa, qb;
    uint32_t words[8];
    Fix f;

    start_stalling(&f, "");
    smmu_writeq(&f, 0, EVTQ_BASE, EVTQ(0));     /* of one event */
    qa = use_queue(&f, A, 1);
    qb = use_queue(&f, B, 1);
    submit(&f, A, qa, SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, A, qa), ==, SVADEV_STATE_PAGE_REQ);
    submit(&f, B, qb, SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, B, qb), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 1, 0, 0, 0);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, 1);
    g_assert_cmphex(qtest_readl(f.qts, EVTQ(0) + 4), ==, SID(A));
    smmu_write(&f, 0, EVTQ_CONS, 1);
    g_assert_cmpint(settle(&f, B, qb), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 2, 0, 0, 0);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, 0);
    g_assert_cmphex(qtest_readl(f.qts, EVTQ(0) + 4), ==, SID(B));
    g_assert_cmphex(qtest_readl(f.qts, EVTQ(0) + 8), ==, EVT_STALL | 1);
    resume(&f, B, 1, RESUME_ABORT);
    resume(&f, A, 0, RESUME_ABORT);
    expect_end(&f, A, qa, SVADEV_ERR_DMA);
    expect_end(&f, B, qb, SVADEV_ERR_DMA);
    /* nor does it get lost while the queue is off */
    smmu_write(&f, 0, EVTQ_CONS, 0);
    smmu_write(&f, 0, CR0, CR0_SMMUEN | CR0_CMDQEN);
    submit(&f, A, qa, SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, A, qa), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 2, 2, 0, 0);
    smmu_write(&f, 0, CR0, CR0_SMMUEN | CR0_CMDQEN | CR0_EVENTQEN);
    g_assert_cmpint(settle(&f, A, qa), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 3, 2, 0, 0);
    f.events[0] = 0;
    next_event(&f, 0, words);
    g_assert_cmphex(words[2], ==, EVT_STALL);
    stop(&f);
}

/* --- ends that are no answers --- */

static void test_stall_term(void)
{
    unsigned q[3];
    Fix f;

    start_stalling(&f, ",x-stall-max=2");
    q[0] = use_queue(&f, A, 1);
    q[1] = use_queue(&f, B, 1);
    q[2] = more_queues(&f, 1);
    g_assert_cmpint(stalled(&f, A, q[0], SVADEV_OP_FILL), ==, 0);
    g_assert_cmpint(stalled(&f, B, q[1], SVADEV_OP_FILL), ==, 1);
    /* One without an event ends as well. */
    submit(&f, A, q[2], SVADEV_OP_FILL, VA2);
    g_assert_cmpint(settle(&f, A, q[2]), ==, SVADEV_STATE_PAGE_REQ);
    run(&f, 0, CMD_STALL_TERM | (uint64_t)SID(A) << 32, 0);
    expect_end(&f, A, q[0], SVADEV_ERR_DMA);
    expect_end(&f, A, q[2], SVADEV_ERR_DMA);
    g_assert_cmpint(settle(&f, B, q[1]), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 2, 0, 1, 0);
    /* It has no answer any more. */
    resume(&f, A, 0, RESUME_ABORT);
    expect_counts(&f, 2, 0, 1, 1);
    resume(&f, B, 1, RESUME_ABORT);
    expect_end(&f, B, q[1], SVADEV_ERR_DMA);
    expect_counts(&f, 2, 1, 1, 1);
    stop(&f);
}

/* Translation is turned off, and the machine is reset. */
static void test_off(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    smmu_write(&f, 0, CR0, CR0_CMDQEN | CR0_EVENTQEN);
    expect_end(&f, A, q, SVADEV_ERR_DMA);
    expect_counts(&f, 1, 0, 1, 0);
    smmu_write(&f, 0, CR0, CR0_SMMUEN | CR0_CMDQEN | CR0_EVENTQEN);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    qtest_system_reset(f.qts);
    start_functions(&f);
    expect_counts(&f, 0, 0, 0, 0);
    g_assert_false(busy(&f, A, q));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_STALL_MAX), ==, 32);
    stop(&f);
}

/*
 * The queue is turned off, or the function is reset by its register: the access
 * stays on the way, and is not made when it may be.
 */
static void test_queue_off(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    for (int i = 0; i < 2; i++) {
        q = use_queue(&f, A, 1);
        g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
        if (i) {
            dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_RESET);
        } else {
            dev_write(&f, A, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
        }
        f.pasid[A][q] = 0;
        g_assert_cmpint(q_read(&f, A, Q(q, SVADEV_Q_STATE)), ==,
                        SVADEV_STATE_DISABLED);
        g_assert_cmpint(q_read(&f, A, Q(q, SVADEV_Q_ERROR)), ==,
                        SVADEV_ERR_ABORTED);
        g_assert_true(busy(&f, A, q));
        map_va2(&f, 1);
        resume(&f, A, 0, RESUME_RETRY);
        g_assert_false(busy(&f, A, q));
        g_assert_cmpint(qtest_readb(f.qts, PAGE(7)), ==, 7);
        set_pte(&f, 1, VA2, 0);
    }
    expect_counts(&f, 2, 2, 0, 0);
    stop(&f);
}

/* An operation that is aborted leaves its access behind, too. */
static void test_op_aborted(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    q_write(&f, A, Q(q, SVADEV_Q_ABORT), 1);
    expect_end(&f, A, q, SVADEV_ERR_ABORTED);
    /* Until it is over the queue takes nothing. */
    submit(&f, A, q, SVADEV_OP_FILL, VA);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_REJECT), ==, 1);
    resume(&f, A, 0, RESUME_ABORT);
    expect_end(&f, A, q, SVADEV_ERR_ABORTED);
    submit(&f, A, q, SVADEV_OP_FILL, VA);
    expect_end(&f, A, q, 0);
    stop(&f);
}

/*
 * FLR: the function forgets what the instance still has. The answer to it does
 * not reach the stall of its next life.
 */
static void test_flr(void)
{
    unsigned q;
    Fix f;

    start_stalling(&f, "");
    q = use_queue(&f, A, 1);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 0);
    qtest_writew(f.qts, cfg(A, CFG_DEVCTL), DEVCTL_FLR);
    start_device(&f, A);
    g_assert_false(busy(&f, A, q));
    expect_counts(&f, 1, 0, 0, 0);
    f.pasid[A][q] = 0;
    f.next[A] = q;
    g_assert_cmpint(use_queue(&f, A, 1), ==, q);
    g_assert_cmpint(stalled(&f, A, q, SVADEV_OP_FILL), ==, 1);
    resume(&f, A, 0, RESUME_ABORT);
    g_assert_cmpint(settle(&f, A, q), ==, SVADEV_STATE_PAGE_REQ);
    expect_counts(&f, 2, 1, 0, 0);
    map_va2(&f, 1);
    resume(&f, A, 1, RESUME_RETRY);
    expect_end(&f, A, q, 0);
    expect_counts(&f, 2, 2, 0, 0);
    stop(&f);
}

/* --- device tree --- */

/* The function that has no ATS, behind the instance that stalls, has a node. */
static void test_device_tree(void)
{
    const char *a = "pcie@10000000/pci@1,0/pci@0,0";
    const char *b = "pcie@10000000/pci@1,0/pci@0,1";
    const char *c = "pcie@10000000/pci@2,0/pci@0,0";
    g_autofree uint8_t *dtb = NULL;
    uint32_t words[5];
    QTestState *qts;

    qts = qtest_init(
        "-M virt,gic-version=3,highmem-ecam=off -nodefaults -m 256M "
        "-device pcie-root-port,id=rp0,chassis=1,addr=1 "
        "-device pcie-root-port,id=rp1,chassis=2,addr=2 "
        "-device arm-smmuv3,primary-bus=rp0," UNIT_STALL " "
        "-device arm-smmuv3,primary-bus=rp1," UNIT_SVA " "
        "-device svadev,bus=rp0,addr=0.0,multifunction=on "
        "-device svadev,bus=rp0,addr=0.1,ats=off,pasid-bits=7 "
        "-device svadev,bus=rp1,ats=off");
    dtb = read_device_tree(qts);
    g_assert_cmpint(dt_words(dtb, a, "reg", words, 5), ==, -1);
    g_assert_cmpint(dt_words(dtb, c, "reg", words, 5), ==, -1);
    g_assert_cmpint(dt_words(dtb, b, "dma-can-stall", words, 5), ==, 0);
    g_assert_cmpint(dt_words(dtb, b, "pasid-num-bits", words, 1), ==, 1);
    g_assert_cmpint(words[0], ==, 7);
    g_assert_cmpint(dt_words(dtb, b, "reg", words, 5), ==, 5);
    g_assert_cmphex(words[0], ==, 1 << 8);
    g_assert_cmpint(dt_words(dtb, "pcie@10000000/pci@1,0", "reg", words, 5),
                    ==, 5);
    g_assert_cmphex(words[0], ==, 1 << 11);
    g_assert_cmpint(dt_words(dtb, "pcie@10000000/pci@2,0", "reg", words, 5),
                    ==, -1);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/smmuv3-stall/retry", test_retry);
    qtest_add_func("/smmuv3-stall/abort", test_abort);
    qtest_add_func("/smmuv3-stall/retry-faults", test_retry_faults);
    qtest_add_func("/smmuv3-stall/retry-of-unbound", test_retry_of_unbound);
    qtest_add_func("/smmuv3-stall/wrong-answers", test_wrong_answers);
    qtest_add_func("/smmuv3-stall/tags-reused", test_tags_reused);
    qtest_add_func("/smmuv3-stall/operations", test_operations);
    qtest_add_func("/smmuv3-stall/faults", test_faults);
    qtest_add_func("/smmuv3-stall/no-stall", test_no_stall);
    qtest_add_func("/smmuv3-stall/ats", test_ats_does_not_stall);
    qtest_add_func("/smmuv3-stall/without", test_without);
    qtest_add_func("/smmuv3-stall/tags-used-up", test_tags_used_up);
    qtest_add_func("/smmuv3-stall/full-queue", test_full_queue);
    qtest_add_func("/smmuv3-stall/stall-term", test_stall_term);
    qtest_add_func("/smmuv3-stall/off", test_off);
    qtest_add_func("/smmuv3-stall/queue-off", test_queue_off);
    qtest_add_func("/smmuv3-stall/op-aborted", test_op_aborted);
    qtest_add_func("/smmuv3-stall/flr", test_flr);
    qtest_add_func("/smmuv3-stall/device-tree", test_device_tree);
    return g_test_run();
}
