/*
 * QTest of VT-d's invalidation queue: commands that take time, come late on
 * purpose, or are never answered.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/vtd-inv/at-once", test_at_once);
    qtest_add_func("/vtd-inv/late/atc", test_late_atc);
    qtest_add_func("/vtd-inv/late/together", test_late_together);
    qtest_add_func("/vtd-inv/late/iotlb", test_late_iotlb);
    qtest_add_func("/vtd-inv/late/config", test_late_config);
    qtest_add_func("/vtd-inv/late/sync", test_late_sync);
    qtest_add_func("/vtd-inv/late/let-go", test_let_go);
    qtest_add_func("/vtd-inv/fence", test_fence);
    qtest_add_func("/vtd-inv/timeout/one", test_timeout);
    qtest_add_func("/vtd-inv/timeout/two", test_two_timeouts);
    qtest_add_func("/vtd-inv/timeout/late", test_late_in_timeout);
    qtest_add_func("/vtd-inv/timeout/fence", test_fence_in_timeout);
    qtest_add_func("/vtd-inv/timeout/nobody", test_nobody_answers);
    qtest_add_func("/vtd-inv/timeout/event", test_event);
    qtest_add_func("/vtd-inv/off", test_off);
    return g_test_run();
}
