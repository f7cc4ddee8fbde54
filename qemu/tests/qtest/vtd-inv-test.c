/*
 * QTest of VT-d's invalidation queue: commands that take time, come late on
 * purpose, or are never answered; and of what they are to keep out, requests
 * of a function that may not use ATS or PRI any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqos/fw_cfg.h"
#include "qobject/qdict.h"
#include "vtd-fixture.h"

static void test_at_once(void)
{
    Fix f;

    start(&f);
    put_config(&f);
    put_iotlb(&f);
    put_atc(&f, SID(A));
    put_atc(&f, SID(B));
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_true(over(&f, 0));
    g_assert_cmpint(head(&f), ==, 5);
    g_assert_cmpint(obeyed(&f, A), ==, 1);
    g_assert_cmpint(obeyed(&f, B), ==, 1);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_SYNC), ==, 1);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_LATE), ==, 0);
    g_assert_cmphex(fsts(&f), ==, 0);
    stop(&f);
}

/* The request arrives late. The queue goes on, waits behind it do not. */
static void test_late_atc(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_INJECT_ATC);
    put_wait(&f, 0, 0);
    put_atc(&f, SID(A));
    put_wait(&f, 1, 0);
    put_iotlb(&f);
    put_wait(&f, 2, 0);
    go(&f);
    g_assert_true(over(&f, 0));
    g_assert_cmpint(head(&f), ==, 5);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 1);
    qtest_clock_step(f.qts, LATE_NS - 1);
    g_assert_cmpint(obeyed(&f, A), ==, 0);
    g_assert_false(over(&f, 1) || over(&f, 2));
    qtest_clock_step(f.qts, 1);
    g_assert_cmpint(obeyed(&f, A), ==, 1);
    g_assert_true(over(&f, 1) && over(&f, 2));
    g_assert_cmphex(fsts(&f), ==, 0);
    stop(&f);
}

/* Two functions are late at the same time, not one after the other. */
static void test_late_together(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(A));
    go(&f);
    qtest_clock_step(f.qts, LATE_NS / 2);
    put_atc(&f, SID(B));
    put_wait(&f, 0, 0);
    go(&f);
    qtest_clock_step(f.qts, LATE_NS / 2);
    g_assert_cmpint(obeyed(&f, A), ==, 1);
    g_assert_false(over(&f, 0));
    qtest_clock_step(f.qts, LATE_NS / 2);
    g_assert_cmpint(obeyed(&f, B), ==, 1);
    g_assert_true(over(&f, 0));
    stop(&f);
}

/* Each of these stops the queue for its time. */
static void test_late_in_order(unsigned kind, void (*put_it)(Fix *f))
{
    Fix f;

    start(&f);
    be_late(&f, kind);
    put_it(&f);
    put_it(&f);
    put_atc(&f, SID(A));
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 0);
    qtest_clock_step(f.qts, LATE_NS - 1);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 0);
    qtest_clock_step(f.qts, 1);
    g_assert_cmpint(head(&f), ==, 1);
    g_assert_cmpint(obeyed(&f, A), ==, 0);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmpint(head(&f), ==, 5);
    g_assert_cmpint(obeyed(&f, A), ==, 1);
    g_assert_true(over(&f, 0) && over(&f, 1));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 2);
    stop(&f);
}

static void test_late_iotlb(void)
{
    test_late_in_order(SVADEV_INJECT_IOTLB, put_iotlb);
}

static void test_late_config(void)
{
    test_late_in_order(SVADEV_INJECT_CONFIG, put_config);
}

static void put_context_a(Fix *f)
{
    put_context(f, VTD_INV_DESC_CC_DEVICE, 0, SID(A));
}

static void test_late_context(void)
{
    test_late_in_order(SVADEV_INJECT_CONFIG, put_context_a);
}

static void test_late_sync(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_LATE_SYNC);
    put_atc(&f, SID(A));
    put_wait(&f, 0, 0);
    put_atc(&f, SID(A));
    go(&f);
    g_assert_cmpint(head(&f), ==, 3);
    g_assert_cmpint(obeyed(&f, A), ==, 2);
    qtest_clock_step(f.qts, LATE_NS - 1);
    g_assert_false(over(&f, 0));
    qtest_clock_step(f.qts, 1);
    g_assert_true(over(&f, 0));
    stop(&f);
}

/* Whoever writes LATE lets go what is held, and what comes is on time again. */
static void test_let_go(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(A));
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_false(over(&f, 0));
    dev_write(&f, B, SVADEV_LATE, 0);
    g_assert_true(over(&f, 0));

    be_late(&f, SVADEV_INJECT_IOTLB);
    put_iotlb(&f);
    put_iotlb(&f);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 2);
    be_late(&f, SVADEV_INJECT_IOTLB);           /* only what is held */
    g_assert_cmpint(head(&f), ==, 3);
    dev_write(&f, B, SVADEV_LATE, 0);
    g_assert_true(over(&f, 1));
    stop(&f);
}

static void test_fence(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(A));
    put_wait(&f, 0, VTD_INV_DESC_WAIT_FN);
    put_iotlb(&f);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 2);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmpint(head(&f), ==, 4);
    g_assert_true(over(&f, 0) && over(&f, 1));
    stop(&f);
}

/*
 * A is mute. Its time-out aborts the waits that have been fetched, others wait
 * in the queue until ITE is clear.
 */
static void test_timeout(void)
{
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_wait(&f, 0, 0);
    put_atc(&f, SID(A));
    put_wait(&f, 1, 0);
    put_wait(&f, 2, 0);
    go(&f);
    g_assert_true(over(&f, 0));
    g_assert_cmpint(head(&f), ==, 4);
    qtest_clock_step(f.qts, TIMEOUT_NS - 1);
    g_assert_cmphex(fsts(&f), ==, 0);
    qtest_clock_step(f.qts, 1);
    assert_timed_out(&f, SID(A));
    g_assert_cmpint(head(&f), ==, 4);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_TIMEOUT), ==, 1);

    put_atc(&f, SID(B));
    put_wait(&f, 3, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 4);
    g_assert_cmpint(obeyed(&f, B), ==, 0);
    clear_fsts(&f, VTD_FSTS_ITE);
    g_assert_cmphex(fsts(&f), ==, 0);
    g_assert_cmpint(head(&f), ==, 6);
    g_assert_cmpint(obeyed(&f, B), ==, 1);
    g_assert_true(over(&f, 3));
    g_assert_false(over(&f, 1) || over(&f, 2));

    /* once more, as software does, and A answers */
    put_atc(&f, SID(A));
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_true(over(&f, 1));
    g_assert_cmpint(obeyed(&f, A), ==, 1);
    g_assert_false(over(&f, 2));
    stop(&f);
}

/* IQER has room for one function: the other is reported after it. */
static void test_two_timeouts(void)
{
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 2);
    dev_write(&f, B, SVADEV_MUTE, 1);
    put_atc(&f, SID(B));
    put_atc(&f, SID(A));
    put_atc(&f, SID(A));
    put_wait(&f, 0, 0);
    go(&f);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    assert_timed_out(&f, SID(B));
    qtest_clock_step(f.qts, TIMEOUT_NS);
    assert_timed_out(&f, SID(B));
    clear_fsts(&f, VTD_FSTS_ITE);
    assert_timed_out(&f, SID(A));
    clear_fsts(&f, VTD_FSTS_ITE);
    g_assert_cmphex(fsts(&f), ==, 0);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmphex(fsts(&f), ==, 0);
    g_assert_false(over(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_TIMEOUT), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_NAMED), ==, 2);
    stop(&f);
}

/*
 * Both are mute for ever, and the unit does not say which of them it is that
 * has timed out.
 */
static void test_timeouts_of_nobody(void)
{
    Fix f;

    start_with(&f, UNIT_SVM TIMEOUT ",x-inv-timeout-sid=off");
    dev_write(&f, A, SVADEV_MUTE, SVADEV_MUTE_ALL);
    dev_write(&f, B, SVADEV_MUTE, SVADEV_MUTE_ALL);
    for (int i = 0; i < 3; i++) {
        put_atc(&f, SID(A));
        put_atc(&f, SID(B));
        put_wait(&f, 0, 0);
        go(&f);
        qtest_clock_step(f.qts, TIMEOUT_NS);
        assert_timed_out(&f, 0);
        clear_fsts(&f, VTD_FSTS_ITE);
        assert_timed_out(&f, 0);
        clear_fsts(&f, VTD_FSTS_ITE);
        g_assert_cmphex(fsts(&f), ==, 0);
        g_assert_false(over(&f, 0));
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_TIMEOUT), ==, 6);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_NAMED), ==, 0);
    g_assert_cmpint(obeyed(&f, A) + obeyed(&f, B), ==, 0);
    stop(&f);
}

/* What is under way when the time-out of another is reported arrives. */
static void test_late_in_timeout(void)
{
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    go(&f);
    qtest_clock_step(f.qts, TIMEOUT_NS - 1);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(B));
    put_wait(&f, 0, 0);
    go(&f);
    qtest_clock_step(f.qts, 1);
    assert_timed_out(&f, SID(A));
    g_assert_cmpint(obeyed(&f, B), ==, 0);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmpint(obeyed(&f, B), ==, 1);
    g_assert_false(over(&f, 0));
    stop(&f);
}

static void test_fence_in_timeout(void)
{
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    put_wait(&f, 0, VTD_INV_DESC_WAIT_FN);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 2);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmpint(head(&f), ==, 2);
    clear_fsts(&f, VTD_FSTS_ITE);
    g_assert_cmpint(head(&f), ==, 3);
    g_assert_false(over(&f, 0));
    g_assert_true(over(&f, 1));
    stop(&f);
}

/* Nobody answers for a function whose ATS is off, or that is not there. */
static void test_nobody_answers(void)
{
    static const uint16_t sids[] = { SID(B), SID_OF_NOBODY };
    Fix f;

    start(&f);
    set_ats(&f, B, false);
    for (int i = 0; i < ARRAY_SIZE(sids); i++) {
        put_atc(&f, sids[i]);
        put_wait(&f, i, 0);
        go(&f);
        qtest_clock_step(f.qts, TIMEOUT_NS);
        assert_timed_out(&f, sids[i]);
        clear_fsts(&f, VTD_FSTS_ITE);
        g_assert_false(over(&f, i));
    }
    stop(&f);
}

/* The fault event is sent once its mask is gone. */
static void test_event(void)
{
    const uint64_t fectl = Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_FECTL_REG;
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    go(&f);
    g_assert_cmphex(qtest_readl(f.qts, fectl), ==, VTD_FECTL_IM);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmphex(qtest_readl(f.qts, fectl), ==, VTD_FECTL_IM | VTD_FECTL_IP);
    clear_fsts(&f, VTD_FSTS_ITE);
    g_assert_cmphex(qtest_readl(f.qts, fectl), ==, VTD_FECTL_IM);
    stop(&f);
}

/* Nothing survives the queue, or a reset, of what had been fetched before. */
static void test_off(void)
{
    Fix f;

    start(&f);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    put_wait(&f, 0, 0);
    go(&f);
    set_queue(&f, false);
    start_queue(&f, 0);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmphex(fsts(&f), ==, 0);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_true(over(&f, 1));
    g_assert_false(over(&f, 0));

    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    go(&f);
    be_late(&f, SVADEV_INJECT_IOTLB);
    put_iotlb(&f);
    go(&f);
    qobject_unref(qtest_qmp(f.qts, "{ 'execute': 'system_reset' }"));
    qtest_qmp_eventwait(f.qts, "RESET");
    start_queue(&f, 0);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmphex(fsts(&f), ==, 0);
    put_iotlb(&f);
    put_wait(&f, 2, 0);
    go(&f);
    g_assert_true(over(&f, 2));
    map_devices(&f);
    stop(&f);
}

/* --- what is let in --- */

static void assert_no_fault(Fix *f)
{
    g_assert_cmphex(unit_read(f, DMAR_FRCD_REG_0_2) & VTD_FRCD_F, ==, 0);
}

/* The fault that the unit has recorded, of a request for @addr, and no more */
static void take_fault(Fix *f, uint64_t fault, uint64_t addr)
{
    g_assert_cmphex(unit_read(f, DMAR_FRCD_REG_0_2), ==, fault | VTD_FRCD_F);
    g_assert_cmphex(dev_read(f, A, SVADEV_U_FAULT_REASON), ==,
                    fault >> 32 & 0xff);
    g_assert_cmphex(unit_read(f, DMAR_FRCD_REG_0_0), ==, addr);
    qtest_writel(f->qts, reg_addr(DMAR_FRCD_REG_0_3), VTD_FRCD_F >> 32);
    assert_no_fault(f);
}

/* A and B have VA of PASID 1 in their ATCs, and queue 0 for it. */
static void start_access(Fix *f)
{
    start(f);
    translate(f);
    for (int dev = A; dev <= B; dev++) {
        use_queue(f, dev, 0, 1);
        submit(f, dev, 0, SVADEV_OP_TOUCH, SVADEV_FLAG_WRITE, VA);
        g_assert_cmpint(settle(f, dev, 0), ==, SVADEV_STATE_DONE);
        g_assert_cmpint(dev_read(f, dev, SVADEV_C_ATC_USED), ==, 1);
    }
}

/* An access with the translation from the ATC */
static bool passes(Fix *f, int dev)
{
    uint64_t hits = dev_read(f, dev, SVADEV_C_ATC_HIT);
    uint64_t refused = dev_read(f, dev, SVADEV_U_REFUSED_ACCESS);
    uint64_t state;

    submit(f, dev, 0, SVADEV_OP_SUM, 0, VA);
    state = settle(f, dev, 0);
    g_assert_cmpint(dev_read(f, dev, SVADEV_C_ATC_HIT), ==, hits + 1);
    g_assert_cmpint(dev_read(f, dev, SVADEV_U_REFUSED_XLATE), ==, 0);
    if (state == SVADEV_STATE_DONE) {
        g_assert_cmpint(q_read(f, dev, SVADEV_Q_RESULT), ==, 8);
        g_assert_cmpint(dev_read(f, dev, SVADEV_U_REFUSED_ACCESS), ==, refused);
        return true;
    }
    g_assert_cmpint(state, ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(f, dev, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
    g_assert_cmpint(dev_read(f, dev, SVADEV_U_REFUSED_ACCESS), ==, refused + 1);
    return false;
}

/* Commands are over when the unit has been told. */
static void do_context(Fix *f, uint64_t granularity, uint16_t did,
                       uint16_t sid)
{
    put_context(f, granularity, did, sid);
    go(f);
}

/* What counts is the context cache, until a command for the entry. */
static void test_access_commands(void)
{
    const struct {
        uint64_t lo;
        bool seen;
    } commands[] = {
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE |
          (uint64_t)SID(A) << 32, true },
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE | 7 << 16 |
          (uint64_t)SID(A) << 32, true },       /* no domain in this mode */
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE | 1ULL << 48 |
          (uint64_t)(SID(A) | 4) << 32, true }, /* FM masks bit 2 */
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE |
          (uint64_t)(SID(A) | 4) << 32, false },
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE |
          (uint64_t)SID(B) << 32, false },
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_DOMAIN | 7 << 16, true },
        { VTD_INV_DESC_CC | VTD_INV_DESC_CC_GLOBAL, true },
        { VTD_INV_DESC_PC | VTD_INV_DESC_PC_GLOBAL, false },
        { VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, false },
    };
    Fix f;

    start_access(&f);
    for (int i = 0; i < ARRAY_SIZE(commands); i++) {
        write_context(&f, A, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
        g_assert_true(passes(&f, A));
        put(&f, commands[i].lo, 0);
        go(&f);
        g_assert_cmphex(fsts(&f), ==, 0);
        g_assert_cmpint(passes(&f, A), ==, !commands[i].seen);
        if (commands[i].seen) {
            take_fault(&f, VTD_FRCD_FR(VTD_FR_SM_DTE) | VTD_FRCD_T | SID(A),
                       PAGE(1));
        }
        g_assert_true(passes(&f, B));
        assert_no_fault(&f);
        write_context(&f, A, CONTEXT_FLAGS);
        do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
        g_assert_true(passes(&f, A));
    }
    stop(&f);
}

static uint64_t stale(Fix *f, uint32_t pasid)
{
    dev_write(f, A, SVADEV_VERIFY, pasid);
    g_assert_cmpint(dev_read(f, A, SVADEV_VERIFY_CHECKED), >, 0);
    return dev_read(f, A, SVADEV_VERIFY_STALE);
}

/* VERIFY sees that the command is missing, be it called for one PASID. */
static void test_access_verify(void)
{
    const struct {
        uint64_t flags;
        bool stale;
    } entries[] = {
        { CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE, true },
        { CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE, true },
        { CONTEXT_FLAGS | VTD_CONTEXT_ENTRY_FPD, false },
        { CONTEXT_FLAGS | 1 << 9, true },       /* wider directory */
    };
    Fix f;

    start_access(&f);
    g_assert_true(passes(&f, A) && passes(&f, B));
    for (int i = 0; i < ARRAY_SIZE(entries); i++) {
        g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, 0);
        g_assert_cmpint(stale(&f, 1), ==, 0);
        write_context(&f, B, entries[i].flags);
        g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, entries[i].stale);
        g_assert_cmphex(dev_read(&f, A, SVADEV_VERIFY_WHERE), ==,
                        entries[i].stale ? SVADEV_WHERE_IOTLB |
                                           SVADEV_PASID_NONE : 0);
        g_assert_cmpint(stale(&f, 1), ==, 0);
        write_context(&f, B, CONTEXT_FLAGS);
    }
    /* less is cached than there is */
    write_context(&f, A, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE);
    g_assert_cmpint(stale(&f, 1), ==, 1);
    do_context(&f, VTD_INV_DESC_CC_DEVICE, 0, SID(A));
    g_assert_true(passes(&f, A));
    g_assert_cmpint(stale(&f, 1), ==, 0);
    write_context(&f, A, CONTEXT_FLAGS);
    g_assert_cmpint(stale(&f, 1), ==, 0);
    stop(&f);
}

/* Software that does not want to hear of it sets FPD; it is counted. */
static void test_access_fpd(void)
{
    Fix f;

    start_access(&f);
    write_context(&f, A, (CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE) |
                         VTD_CONTEXT_ENTRY_FPD);
    do_context(&f, VTD_INV_DESC_CC_DEVICE, 0, SID(A));
    g_assert_false(passes(&f, A));
    assert_no_fault(&f);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 0);

    /* FPD does not let it in, and without an entry nothing does. */
    write_context(&f, A, 0);
    do_context(&f, VTD_INV_DESC_CC_DEVICE, 0, SID(A));
    g_assert_false(passes(&f, A));
    take_fault(&f, VTD_FRCD_FR(VTD_FR_CONTEXT_ENTRY_P) | VTD_FRCD_T | SID(A),
               PAGE(1));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 2);
    stop(&f);
}

/* Without DMA remapping there is no ATS either, and nothing to record. */
static void test_access_te(void)
{
    Fix f;

    start_access(&f);
    set_gcmd(&f, VTD_GCMD_QIE);
    g_assert_false(passes(&f, A));
    g_assert_false(passes(&f, B));
    assert_no_fault(&f);
    submit(&f, A, 0, SVADEV_OP_TOUCH, 0, VA + 0x1000);
    g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, 1);
    submit(&f, A, 0, SVADEV_OP_PAGE_REQ, 0, VA);
    g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_PAGE), ==, 1);
    assert_no_fault(&f);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 0);
    stop(&f);
}

/* Every kind of access is asked for, and a write says so in the fault. */
static void test_access_kinds(void)
{
    static const struct {
        unsigned op;
        bool write;
    } kinds[] = {
        { SVADEV_OP_SUM, false }, { SVADEV_OP_COPY, false },
        { SVADEV_OP_FILL, true }, { SVADEV_OP_ADD64, true },
    };
    Fix f;

    start_access(&f);
    write_context(&f, A, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    q_write(&f, A, SVADEV_Q_ARG, 0x55);
    for (int i = 0; i < ARRAY_SIZE(kinds); i++) {
        submit(&f, A, 0, kinds[i].op, 0, VA);
        g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
        g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
        g_assert_cmphex(q_read(&f, A, SVADEV_Q_FAULT), ==, VA | kinds[i].write);
        take_fault(&f, VTD_FRCD_FR(VTD_FR_SM_DTE) | SID(A) |
                       (kinds[i].write ? 0 : VTD_FRCD_T), PAGE(1));
    }
    g_assert_cmphex(qtest_readq(f.qts, PAGE(1)), ==, 0x0101010101010101ULL);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_REFUSED_ACCESS), ==, 4);
    stop(&f);
}

/* A Translation Request needs DTE, a page request PRE. */
static void test_requests(void)
{
    Fix f;

    start_access(&f);
    write_context(&f, A, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE);
    write_context(&f, B, CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE);
    do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    for (int fpd = 0; fpd < 2; fpd++) {
        submit(&f, A, 0, SVADEV_OP_TOUCH, 0, VA + 0x1000);
        g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
        g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
        g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, fpd + 1);
        if (fpd) {
            assert_no_fault(&f);
        } else {
            take_fault(&f, VTD_FRCD_FR(VTD_FR_SM_DTE) | VTD_FRCD_T | SID(A) |
                           VTD_FRCD_PP(1) | VTD_FRCD_PV(1), VA + 0x1000);
        }
        submit(&f, B, 0, SVADEV_OP_PAGE_REQ, SVADEV_FLAG_WRITE, VA);
        g_assert_cmpint(settle(&f, B, 0), ==, SVADEV_STATE_ERROR);
        g_assert_cmpint(q_read(&f, B, SVADEV_Q_ERROR), ==,
                        SVADEV_ERR_PRI_INVALID);
        g_assert_cmpint(dev_read(&f, B, SVADEV_U_REFUSED_PAGE), ==, fpd + 1);
        if (fpd) {
            assert_no_fault(&f);
        } else {
            take_fault(&f, VTD_FRCD_FR(VTD_FR_SM_PRE) | SID(B) |
                           VTD_FRCD_PP(1) | VTD_FRCD_PV(1), VA);
        }
        write_context(&f, A, (CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_DTE) |
                             VTD_CONTEXT_ENTRY_FPD);
        write_context(&f, B, (CONTEXT_FLAGS & ~VTD_SM_CONTEXT_ENTRY_PRE) |
                             VTD_CONTEXT_ENTRY_FPD);
        do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 0);
    stop(&f);
}

/* --- the same in legacy mode --- */

#define LEGACY_ROOT     (ROOT + 0x5000)
#define LEGACY_CONTEXT  (ROOT + 0x6000)
#define LEGACY_TABLE    (ROOT + 0x7000)
#define LEGACY_DID      5

static void write_legacy(Fix *f, int dev, uint64_t type)
{
    uint64_t entry = LEGACY_CONTEXT + SID(dev) * VTD_CTX_ENTRY_LEGACY_SIZE;

    qtest_writeq(f->qts, entry + 8, LEGACY_DID << 8 | 2);
    qtest_writeq(f->qts, entry, LEGACY_TABLE | type | VTD_CONTEXT_ENTRY_P);
}

static void start_legacy(Fix *f)
{
    start_access(f);
    qtest_writeq(f->qts, LEGACY_ROOT, LEGACY_CONTEXT | VTD_ROOT_ENTRY_P);
    write_legacy(f, A, VTD_CONTEXT_TT_DEV_IOTLB);
    write_legacy(f, B, VTD_CONTEXT_TT_DEV_IOTLB);
    unit_writeq(f, DMAR_RTADDR_REG, LEGACY_ROOT);
    set_gcmd(f, VTD_GCMD_QIE | VTD_GCMD_TE | VTD_GCMD_SRTP);
}

/* Translation type 01b lets it in, and an entry is of its domain. */
static void test_access_legacy(void)
{
    const struct {
        uint64_t granularity;
        uint16_t did;
        int dev;
        bool seen;
    } commands[] = {
        { VTD_INV_DESC_CC_DEVICE, LEGACY_DID, A, true },
        { VTD_INV_DESC_CC_DEVICE, LEGACY_DID + 1, A, false },
        { VTD_INV_DESC_CC_DEVICE, LEGACY_DID, B, false },
        { VTD_INV_DESC_CC_DOMAIN, LEGACY_DID, B, true },
        { VTD_INV_DESC_CC_DOMAIN, LEGACY_DID + 1, A, false },
        { VTD_INV_DESC_CC_GLOBAL, LEGACY_DID + 1, B, true },
    };
    uint64_t atc;
    Fix f;

    start_legacy(&f);
    /* No PASID has a translation now. */
    atc = dev_read(&f, A, SVADEV_C_ATC_USED);
    g_assert_cmpint(atc, >, 0);
    for (int i = 0; i < ARRAY_SIZE(commands); i++) {
        g_assert_true(passes(&f, A));
        write_legacy(&f, A, i % 2 ? VTD_CONTEXT_TT_PASS_THROUGH :
                                    VTD_CONTEXT_TT_MULTI_LEVEL);
        g_assert_true(passes(&f, A));
        g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, atc + 1);
        do_context(&f, commands[i].granularity, commands[i].did,
                   SID(commands[i].dev));
        g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==,
                        atc + !commands[i].seen);
        g_assert_cmpint(passes(&f, A), ==, !commands[i].seen);
        if (commands[i].seen) {
            take_fault(&f, VTD_FRCD_FR(VTD_FR_CONTEXT_ENTRY_TT) | VTD_FRCD_T |
                           SID(A), PAGE(1));
        }
        assert_no_fault(&f);
        write_legacy(&f, A, VTD_CONTEXT_TT_DEV_IOTLB);
        do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    }
    stop(&f);
}

/* Bits that hardware does not look at can change without a command. */
static void test_legacy_ignored(void)
{
    const uint64_t entry = LEGACY_CONTEXT + SID(A) * VTD_CTX_ENTRY_LEGACY_SIZE;
    uint64_t atc;
    Fix f;

    start_legacy(&f);
    atc = dev_read(&f, A, SVADEV_C_ATC_USED);
    g_assert_true(passes(&f, A));
    g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, atc);
    for (int bit = 0; bit < 32; bit++) {
        uint64_t old = qtest_readq(f.qts, entry + 8);
        bool ignored = VTD_CONTEXT_ENTRY_AVAIL >> bit & 1;

        qtest_writeq(f.qts, entry + 8, old ^ 1ULL << bit);
        g_test_message("bit %d", 64 + bit);
        g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, atc + !ignored);
        qtest_writeq(f.qts, entry + 8, old);
    }
    qtest_writeq(f.qts, entry, qtest_readq(f.qts, entry) ^ 0x1000);
    g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==, atc + 1);
    stop(&f);
}

/* The function mask counts in legacy mode, too. */
static void test_legacy_mask(void)
{
    const struct {
        uint16_t sid;
        unsigned fm;
        bool seen;
    } commands[] = {
        { SID(A) | 4, 0, false }, { SID(A) | 4, 1, true },
        { SID(A) | 2, 1, false }, { SID(A) | 6, 2, true },
        { SID(A) | 1, 2, false }, { SID(A) | 7, 3, true },
        { SID(B), 3, false },
    };
    uint64_t atc;
    Fix f;

    start_legacy(&f);
    atc = dev_read(&f, A, SVADEV_C_ATC_USED);
    for (int i = 0; i < ARRAY_SIZE(commands); i++) {
        for (int other = 1; other >= 0; other--) {
            g_assert_true(passes(&f, A));
            write_legacy(&f, A, VTD_CONTEXT_TT_MULTI_LEVEL);
            put(&f, VTD_INV_DESC_CC | VTD_INV_DESC_CC_DEVICE |
                    (LEGACY_DID + other) << 16 |
                    (uint64_t)commands[i].sid << 32 |
                    (uint64_t)commands[i].fm << 48, 0);
            go(&f);
            g_assert_cmphex(fsts(&f), ==, 0);
            g_assert_cmpint(stale(&f, SVADEV_PASID_ALL), ==,
                            atc + (other || !commands[i].seen));
            write_legacy(&f, A, VTD_CONTEXT_TT_DEV_IOTLB);
            do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
        }
    }
    stop(&f);
}

/* The registers know the domain, too. */
static void test_access_legacy_register(void)
{
    Fix f;

    start_legacy(&f);
    g_assert_true(passes(&f, A));
    write_legacy(&f, A, VTD_CONTEXT_TT_MULTI_LEVEL);
    put_wait(&f, 0, 0);
    go(&f);
    qtest_writel(f.qts, reg_addr(DMAR_GCMD_REG), VTD_GCMD_TE);
    unit_writeq(&f, DMAR_CCMD_REG, VTD_CCMD_ICC | VTD_CCMD_DOMAIN_INVL |
                                   (LEGACY_DID + 1));
    g_assert_cmphex(unit_read(&f, DMAR_CCMD_REG) & VTD_CCMD_CAIG_MASK, ==,
                    VTD_CCMD_DOMAIN_INVL_A);
    g_assert_true(passes(&f, A));
    unit_writeq(&f, DMAR_CCMD_REG, VTD_CCMD_ICC | VTD_CCMD_DEVICE_INVL |
                                   SID(A) << 16 | (LEGACY_DID + 1));
    g_assert_true(passes(&f, A));
    unit_writeq(&f, DMAR_CCMD_REG, VTD_CCMD_ICC | VTD_CCMD_DEVICE_INVL |
                                   SID(A) << 16 | LEGACY_DID);
    g_assert_false(passes(&f, A));
    stop(&f);
}

/* Neither PASIDs nor page requests are of legacy mode. */
static void test_requests_legacy(void)
{
    Fix f;

    start_legacy(&f);
    submit(&f, A, 0, SVADEV_OP_TOUCH, 0, VA + 0x1000);
    g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
    take_fault(&f, VTD_FRCD_FR(VTD_FR_LEGACY_PASID) | VTD_FRCD_T | SID(A) |
                   VTD_FRCD_PP(1) | VTD_FRCD_PV(1), VA + 0x1000);
    submit(&f, A, 0, SVADEV_OP_PAGE_REQ, 0, VA);
    g_assert_cmpint(settle(&f, A, 0), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_PRI_INVALID);
    take_fault(&f, VTD_FRCD_FR(VTD_FR_LEGACY_PAGE_REQ) | VTD_FRCD_T | SID(A) |
                   VTD_FRCD_PP(1) | VTD_FRCD_PV(1), VA);

    use_queue(&f, A, 1, SVADEV_PASID_NONE);
    write_legacy(&f, A, VTD_CONTEXT_TT_MULTI_LEVEL);
    do_context(&f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    submit(&f, A, 1, SVADEV_OP_TOUCH, 0, VA);
    g_assert_cmpint(settle(&f, A, 1), ==, SVADEV_STATE_ERROR);
    take_fault(&f, VTD_FRCD_FR(VTD_FR_CONTEXT_ENTRY_TT) | VTD_FRCD_T | SID(A),
               VA);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_PAGE), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 0);
    stop(&f);
}

/* --- a page request queue that is full --- */

#define PRQ_SLOTS       (4096 / VTD_PAGE_REQ_SIZE)
#define PRQ_REG(slot)   ((slot) * VTD_PAGE_REQ_SIZE)

/* A requests the page that PASID 1 does not have; the answer is @state. */
static void request(Fix *f, unsigned op, uint64_t state)
{
    submit(f, A, 0, op, 0, VA + 0x1000);
    g_assert_cmpint(settle(f, A, 0), ==, state);
}

/* Software answers what is in @slot, without taking it from the queue. */
static void respond(Fix *f, unsigned slot)
{
    uint64_t lo = qtest_readq(f->qts, PRQ + PRQ_REG(slot));
    uint64_t hi = qtest_readq(f->qts, PRQ + PRQ_REG(slot) + 8);

    g_assert_cmphex(lo, ==, VTD_PAGE_REQ_TYPE | VTD_PAGE_REQ_PASID_PRESENT |
                            VTD_PAGE_REQ_RID(SID(A)) | VTD_PAGE_REQ_PASID(1));
    g_assert_cmphex(hi & VTD_PAGE_REQ_ADDR_MASK, ==, VA + 0x1000);
    put(f, VTD_INV_DESC_PGRESP | 1 << 4 | SID(A) << 16 | 1ULL << 32,
        hi & VTD_PAGE_REQ_PRGI(0x1ff));
    go(f);
    g_assert_cmpint(settle(f, A, 0), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(q_read(f, A, SVADEV_Q_RESULT), ==, 1);
}

static unsigned prq_tail(Fix *f)
{
    return unit_read(f, DMAR_PQT_REG) / VTD_PAGE_REQ_SIZE;
}

static uint32_t prs(Fix *f)
{
    return qtest_readl(f->qts, reg_addr(DMAR_PRS_REG));
}

static bool prq_event_pends(Fix *f)
{
    return qtest_readl(f->qts, reg_addr(DMAR_PECTL_REG)) & VTD_PECTL_IP;
}

/* One more request is lost, and its function is told that all is well. */
static void assert_lost(Fix *f)
{
    uint64_t queued = dev_read(f, A, SVADEV_U_PAGE_REQ);
    uint64_t answered = dev_read(f, A, SVADEV_U_PAGE_RESP);
    unsigned tail = prq_tail(f);

    request(f, SVADEV_OP_PAGE_REQ, SVADEV_STATE_DONE);
    g_assert_cmpint(q_read(f, A, SVADEV_Q_RESULT), ==, 1);
    g_assert_cmphex(prs(f) & VTD_PRS_PRO, ==, VTD_PRS_PRO);
    g_assert_cmpint(prq_tail(f), ==, tail);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_PAGE_REQ), ==, queued);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_PAGE_RESP), ==, answered + 1);
}

static void test_prq_overflow(void)
{
    Fix f;

    start(&f);
    translate(&f);
    use_queue(&f, A, 0, 1);
    for (unsigned i = 0; i < PRQ_SLOTS - 1; i++) {
        request(&f, SVADEV_OP_PAGE_REQ, SVADEV_STATE_PAGE_REQ);
        g_assert_cmpint(prq_tail(&f), ==, i + 1);
        respond(&f, i);
    }
    g_assert_cmphex(prs(&f), ==, VTD_PRS_PPR);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_PAGE_REQ), ==, PRQ_SLOTS - 1);

    /* The next one is an event of its own once software has seen the others. */
    qtest_writel(f.qts, reg_addr(DMAR_PRS_REG), VTD_PRS_PPR);
    g_assert_false(prq_event_pends(&f));
    assert_lost(&f);
    g_assert_cmphex(prs(&f), ==, VTD_PRS_PRO);
    g_assert_true(prq_event_pends(&f));

    /* An access asks again, until it has asked often enough. */
    request(&f, SVADEV_OP_SUM, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_PRI_FAILURE);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_PAGE_REQ), ==, PRQ_SLOTS - 1);
    g_assert_cmpint(prq_tail(&f), ==, PRQ_SLOTS - 1);

    /* Room alone does not help, */
    unit_writeq(&f, DMAR_PQH_REG, PRQ_REG(PRQ_SLOTS - 1));
    assert_lost(&f);
    /* and neither does clearing PRO without making room, */
    unit_writeq(&f, DMAR_PQH_REG, 0);
    qtest_writel(f.qts, reg_addr(DMAR_PRS_REG), VTD_PRS_PRO);
    g_assert_cmphex(prs(&f), ==, 0);
    assert_lost(&f);
    /* but both. The slot at the end is used, and the next is the first. */
    unit_writeq(&f, DMAR_PQH_REG, PRQ_REG(PRQ_SLOTS - 1));
    qtest_writel(f.qts, reg_addr(DMAR_PRS_REG), VTD_PRS_PRO);
    g_assert_false(prq_event_pends(&f));
    for (unsigned i = 0; i < 2; i++) {
        request(&f, SVADEV_OP_PAGE_REQ, SVADEV_STATE_PAGE_REQ);
        g_assert_cmpint(prq_tail(&f), ==, i);
        respond(&f, (PRQ_SLOTS - 1 + i) % PRQ_SLOTS);
    }
    g_assert_cmphex(prs(&f), ==, VTD_PRS_PPR);
    g_assert_true(prq_event_pends(&f));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_PAGE_REQ), ==, PRQ_SLOTS + 1);
    stop(&f);
}

/* --- functions that come while the machine runs --- */

/* Whether QMP's device_add of a svadev on bus @bus succeeds */
static bool plug(QTestState *qts, const char *bus, const char *id)
{
    QDict *answer = qtest_qmp(qts, "{'execute': 'device_add', 'arguments': "
                              "{'driver': 'svadev', 'bus': %s, 'id': %s}}",
                              bus, id);
    bool good = qdict_haskey(answer, "return");

    if (!good) {
        const char *desc = qdict_get_str(qdict_get_qdict(answer, "error"),
                                         "desc");

        g_test_message("%s: %s", id, desc);
        g_assert_nonnull(strstr(desc, "no function at 00.0 of the primary-bus "
                                      "of intel-iommu 1"));
    }
    qobject_unref(answer);
    return good;
}

/* The guest switches off the slot behind the root port in @slot. */
static void unplug(QTestState *qts, unsigned slot)
{
    QPCIBus *bus = qpci_new_pc(qts, NULL);
    QPCIDevice *port = qpci_device_find(bus, QPCI_DEVFN(slot, 0));
    uint8_t cap;

    g_assert_nonnull(port);
    cap = qpci_find_capability(port, PCI_CAP_ID_EXP, 0);
    qpci_config_writew(port, cap + PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PWR_IND_ON);
    qpci_config_writew(port, cap + PCI_EXP_SLTCTL,
                       PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF);
    g_free(port);
    qpci_free_pc(bus);
}

/* What a firmware does at boot */
static void read_tables(QTestState *qts)
{
    uint8_t begin[4];
    QFWCFG *fw_cfg = pc_fw_cfg_init(qts);

    g_assert_cmpint(qfw_cfg_get_file(fw_cfg, "etc/acpi/tables", begin,
                                     sizeof(begin)), >, 0);
    pc_fw_cfg_uninit(fw_cfg);
}

/*
 * Behind a further unit there is room only for what the guest has been told
 * about; unit 0 has all else. What is there before the firmware reads the
 * tables is among what they tell, at each boot.
 */
static void test_plug(void)
{
    g_autofree char *bios = make_bios();
    QTestState *qts;

    qts = qtest_initf("-M q35 -nodefaults -bios %s -device intel-iommu,%s "
                      "-global "
                      "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "
                      "-device pcie-root-port,id=rp0,chassis=1,addr=1 "
                      "-device pcie-root-port,id=rp1,chassis=2,addr=2 "
                      "-device pcie-root-port,id=rp2,chassis=3,addr=3 "
                      "-device intel-iommu," UNIT_SVM ",primary-bus=rp1 "
                      "-device intel-iommu," UNIT_SVM ",primary-bus=rp2 "
                      "-device svadev,bus=rp2", bios, UNIT_SVM);
    read_tables(qts);
    g_assert_true(plug(qts, "rp0", "there"));
    g_assert_false(plug(qts, "rp1", "here"));
    g_assert_false(plug(qts, "rp1", "here"));
    unplug(qts, 3);
    g_assert_true(plug(qts, "rp2", "back"));
    qobject_unref(qtest_qmp(qts, "{ 'execute': 'system_reset' }"));
    qtest_qmp_eventwait(qts, "RESET");
    g_assert_true(plug(qts, "rp1", "early"));
    read_tables(qts);
    unplug(qts, 2);
    g_assert_true(plug(qts, "rp1", "again"));
    qtest_quit(qts);
    unlink(bios);
}

/* --- a function that is mute for ever, and is kept out --- */

#define FENCE_LATE_NS   200000000

static void hold(Fix *f, unsigned q, uint8_t byte)
{
    use_queue(f, A, q, 1);
    q_write(f, A, Q(q, SVADEV_Q_ARG), byte);
    submit(f, A, q, SVADEV_OP_FILL, SVADEV_FLAG_HOLD, VA);
    g_assert_cmpint(settle(f, A, q), ==, SVADEV_STATE_HELD);
}

static uint64_t release(Fix *f, unsigned q)
{
    q_write(f, A, Q(q, SVADEV_Q_RELEASE), 1);
    return settle(f, A, q);
}

/*
 * A holds two writes and is mute when its page is taken away. What a driver
 * does about it is late.
 */
static void start_fence(Fix *f)
{
    start(f);
    translate(f);
    hold(f, 0, 0xaa);
    hold(f, 1, 0xbb);
    dev_write(f, A, SVADEV_MUTE, SVADEV_MUTE_ALL);
    qtest_writeq(f->qts, pte_addr(1), 0);
    put_iotlb(f);
    put_atc(f, SID(A));
    put_wait(f, 0, 0);
    go(f);
    qtest_clock_step(f->qts, TIMEOUT_NS);
    assert_timed_out(f, SID(A));
    clear_fsts(f, VTD_FSTS_ITE);
    g_assert_false(over(f, 0));

    write_context(f, A, (CONTEXT_FLAGS | VTD_CONTEXT_ENTRY_FPD) &
                        ~(VTD_SM_CONTEXT_ENTRY_DTE | VTD_SM_CONTEXT_ENTRY_PRE));
    dev_write(f, B, SVADEV_LATE, SVADEV_INJECT_CONFIG |
                                 (uint64_t)FENCE_LATE_NS << 32);
    put_context_a(f);
    put_iotlb(f);
    put_wait(f, 1, 0);
}

/* What it still holds gets through until the unit knows, and not after. */
static void test_fence_held(void)
{
    Fix f;

    start_fence(&f);
    go(&f);
    qtest_clock_step(f.qts, FENCE_LATE_NS - 1);
    g_assert_false(over(&f, 1));
    g_assert_cmpint(release(&f, 1), ==, SVADEV_STATE_DONE);
    g_assert_cmphex(qtest_readq(f.qts, PAGE(1)), ==, 0xbbbbbbbbbbbbbbbbULL);

    qtest_clock_step(f.qts, 1);
    g_assert_true(over(&f, 1));
    g_assert_cmpint(release(&f, 0), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_REFUSED);
    g_assert_cmpint(q_read(&f, A, SVADEV_Q_DONE), ==, 0);
    g_assert_cmphex(qtest_readq(f.qts, PAGE(1)), ==, 0xbbbbbbbbbbbbbbbbULL);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 1);

    /* Commands for others cost no time-out. */
    put_atc(&f, SID(B));
    put_wait(&f, 2, 0);
    go(&f);
    g_assert_true(over(&f, 2));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_TIMEOUT), ==, 1);
    stop(&f);
}

/* That the command for the context cache is missed is seen. */
static void test_fence_lost(void)
{
    Fix f;

    start_fence(&f);
    dev_write(&f, B, SVADEV_INJECT, SVADEV_INJECT_CONFIG | 1ULL << 32);
    go(&f);
    qtest_clock_step(f.qts, FENCE_LATE_NS);
    g_assert_true(over(&f, 1));
    g_assert_cmpint(release(&f, 0), ==, SVADEV_STATE_DONE);
    g_assert_cmphex(qtest_readq(f.qts, PAGE(1)), ==, 0xaaaaaaaaaaaaaaaaULL);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_DROPPED), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 0);
    stop(&f);
}

/* --- whose translations a device-TLB invalidation is about --- */

#define ATC_ALL         0x7ffffffffffff000ULL

static void fill_atc(Fix *f)
{
    const uint32_t pasids[] = { 1, 2, SVADEV_PASID_NONE };

    for (int q = 0; q < ARRAY_SIZE(pasids); q++) {
        use_queue(f, A, q, pasids[q]);
        submit(f, A, q, SVADEV_OP_TOUCH, 0,
               pasids[q] == SVADEV_PASID_NONE ? PAGE(0) : VA);
        g_assert_cmpint(settle(f, A, q), ==, SVADEV_STATE_DONE);
    }
    g_assert_cmpint(dev_read(f, A, SVADEV_C_ATC_USED), ==, 3);
}

/* Entries of PASID 1, of PASID 2, of none: a sum of 1, 2, 4 */
static unsigned left_in_atc(Fix *f)
{
    const uint32_t pasids[] = { 1, 2, SVADEV_PASID_NONE };
    unsigned left = 0;

    for (int i = 0; i < ARRAY_SIZE(pasids); i++) {
        uint64_t used = dev_read(f, A, SVADEV_C_ATC_USED);

        submit(f, A, i, SVADEV_OP_ATC_FLUSH, 0, 0);
        g_assert_cmpint(settle(f, A, i), ==, SVADEV_STATE_DONE);
        left |= (used - dev_read(f, A, SVADEV_C_ATC_USED)) << i;
    }
    return left;
}

static void test_atc_meanings(const char *unit, unsigned untagged)
{
    Fix f;

    start_with(&f, unit);
    translate(&f);
    fill_atc(&f);
    put(&f, VTD_INV_DESC_DEV_PIOTLB | SID(A) << 16 | 1ULL << 32,
        ATC_ALL | 0x800);
    go(&f);
    g_assert_cmpint(left_in_atc(&f), ==, 2 | 4);

    fill_atc(&f);
    put(&f, VTD_INV_DESC_DEV_PIOTLB | SID(A) << 16 | 1ULL << 32,
        ATC_ALL | 0x800 | 1);
    go(&f);
    g_assert_cmpint(left_in_atc(&f), ==, 4);

    fill_atc(&f);
    put(&f, VTD_INV_DESC_DEVICE | (uint64_t)SID(A) << 32, ATC_ALL | 1);
    go(&f);
    g_assert_cmpint(left_in_atc(&f), ==, untagged);

    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_PASID), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_GLOBAL), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_UNTAGGED), ==, 1);
    g_assert_cmphex(fsts(&f), ==, 0);
    stop(&f);
}

static void test_atc(void)
{
    test_atc_meanings(UNIT_SVM TIMEOUT, 0);
}

static void test_atc_strict(void)
{
    test_atc_meanings(UNIT_SVM TIMEOUT " -global svadev.strict-untagged=on",
                      1 | 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/vtd-inv/at-once", test_at_once);
    qtest_add_func("/vtd-inv/late/atc", test_late_atc);
    qtest_add_func("/vtd-inv/late/together", test_late_together);
    qtest_add_func("/vtd-inv/late/iotlb", test_late_iotlb);
    qtest_add_func("/vtd-inv/late/config", test_late_config);
    qtest_add_func("/vtd-inv/late/context", test_late_context);
    qtest_add_func("/vtd-inv/late/sync", test_late_sync);
    qtest_add_func("/vtd-inv/late/let-go", test_let_go);
    qtest_add_func("/vtd-inv/wait-fence", test_fence);
    qtest_add_func("/vtd-inv/timeout/one", test_timeout);
    qtest_add_func("/vtd-inv/timeout/two", test_two_timeouts);
    qtest_add_func("/vtd-inv/timeout/of-nobody", test_timeouts_of_nobody);
    qtest_add_func("/vtd-inv/timeout/late", test_late_in_timeout);
    qtest_add_func("/vtd-inv/timeout/fence", test_fence_in_timeout);
    qtest_add_func("/vtd-inv/timeout/nobody", test_nobody_answers);
    qtest_add_func("/vtd-inv/timeout/event", test_event);
    qtest_add_func("/vtd-inv/off", test_off);
    qtest_add_func("/vtd-inv/access/commands", test_access_commands);
    qtest_add_func("/vtd-inv/access/verify", test_access_verify);
    qtest_add_func("/vtd-inv/access/fpd", test_access_fpd);
    qtest_add_func("/vtd-inv/access/te", test_access_te);
    qtest_add_func("/vtd-inv/access/kinds", test_access_kinds);
    qtest_add_func("/vtd-inv/access/legacy", test_access_legacy);
    qtest_add_func("/vtd-inv/access/legacy-register",
                   test_access_legacy_register);
    qtest_add_func("/vtd-inv/requests", test_requests);
    qtest_add_func("/vtd-inv/requests-legacy", test_requests_legacy);
    qtest_add_func("/vtd-inv/page-request-overflow", test_prq_overflow);
    qtest_add_func("/vtd-inv/legacy/ignored", test_legacy_ignored);
    qtest_add_func("/vtd-inv/legacy/mask", test_legacy_mask);
    qtest_add_func("/vtd-inv/plug", test_plug);
    qtest_add_func("/vtd-inv/fence/held", test_fence_held);
    qtest_add_func("/vtd-inv/fence/lost", test_fence_lost);
    qtest_add_func("/vtd-inv/atc/default", test_atc);
    qtest_add_func("/vtd-inv/atc/strict", test_atc_strict);
    return g_test_run();
}
