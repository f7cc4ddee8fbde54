/*
 * QTest of VT-d's invalidation queue: commands that take time, come late on
 * purpose, or are never answered. Two svadev, A and B, stand behind one unit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/i386/intel_iommu_internal.h"
#include "hw/misc/svadev_regs.h"
#include "libqos/pci-pc.h"
#include "libqtest.h"
#include "qemu/units.h"

#define A               0
#define B               1
#define SLOT(dev)       (4 + (dev))
#define SID(dev)        (SLOT(dev) << 3)
#define SID_OF_NOBODY   (9 << 3)
#define ECAM            0xb0000000ULL
#define CFG_ATS_CTRL    0x106
#define ATS_ENABLE      0x8000

#define QUEUE           (16 * MiB)      /* guest memory: 128 descriptors */
#define QUEUE_LEN       128
#define STATUS          (17 * MiB)      /* what wait descriptors write */
#define TIMEOUT_NS      5000000
#define LATE_NS         1000

typedef struct Fix {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *dev[2];
    QPCIBar ctl[2];
    unsigned tail;
    char *bios;
} Fix;

/* q35 does not start without a BIOS, which no vCPU will ever run. */
static char *make_bios(void)
{
    g_autofree char *zeroes = g_malloc0(64 * KiB);
    char *name;
    int fd = g_file_open_tmp("vtd-inv-bios-XXXXXX", &name, NULL);

    g_assert(fd >= 0);
    g_assert(write(fd, zeroes, 64 * KiB) == 64 * KiB);
    close(fd);
    return name;
}

static uint64_t unit_read(Fix *f, unsigned reg)
{
    return qtest_readq(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + reg);
}

static void unit_writeq(Fix *f, unsigned reg, uint64_t val)
{
    qtest_writeq(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + reg, val);
}

static uint32_t fsts(Fix *f)
{
    return qtest_readl(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_FSTS_REG);
}

static void clear_fsts(Fix *f, uint32_t bits)
{
    qtest_writel(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_FSTS_REG, bits);
}

static unsigned head(Fix *f)
{
    return unit_read(f, DMAR_IQH_REG) >> VTD_IQH_QH_SHIFT_5;
}

static uint64_t dev_read(Fix *f, int dev, unsigned reg)
{
    return qpci_io_readq(f->dev[dev], f->ctl[dev], reg);
}

static void dev_write(Fix *f, int dev, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->dev[dev], f->ctl[dev], reg, val);
}

static void set_ats(Fix *f, int dev, bool on)
{
    qtest_writew(f->qts, ECAM + (SID(dev) << 12) + CFG_ATS_CTRL,
                 on ? ATS_ENABLE : 0);
}

static void set_queue(Fix *f, bool on)
{
    f->tail = 0;
    qtest_writel(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_GCMD_REG,
                 on ? VTD_GCMD_QIE : 0);
    g_assert_cmpint(!!(unit_read(f, DMAR_GCMD_REG) >> 32 & VTD_GSTS_QIES), ==,
                    on);
}

static void start_queue(Fix *f)
{
    unit_writeq(f, DMAR_IQA_REG, QUEUE | VTD_IQA_DW_MASK);
    unit_writeq(f, DMAR_IQT_REG, 0);
    set_queue(f, true);
}

static void start(Fix *f)
{
    QPCIDevice *mch;

    f->bios = make_bios();
    f->qts = qtest_initf("-M q35 -nodefaults -bios %s "
                         "-device intel-iommu,x-scalable-mode=on,x-flts=on,"
                         "x-pasid-mode=on,device-iotlb=on,x-svm=on,"
                         "x-inv-timeout-us=%d "
                         "-device svadev,addr=%d -device svadev,addr=%d",
                         f->bios, TIMEOUT_NS / 1000, SLOT(A), SLOT(B));
    f->bus = qpci_new_pc(f->qts, NULL);
    mch = qpci_device_find(f->bus, QPCI_DEVFN(0, 0));
    qpci_config_writel(mch, 0x60, ECAM | 1);
    g_free(mch);
    for (int i = A; i <= B; i++) {
        f->dev[i] = qpci_device_find(f->bus, QPCI_DEVFN(SLOT(i), 0));
        g_assert(f->dev[i]);
        f->ctl[i] = qpci_iomap(f->dev[i], SVADEV_BAR_CONTROL, NULL);
        qpci_device_enable(f->dev[i]);
        set_ats(f, i, true);
    }
    start_queue(f);
}

static void stop(Fix *f)
{
    for (int i = A; i <= B; i++) {
        g_assert_cmphex(dev_read(f, i, SVADEV_ID), ==, SVADEV_ID_MAGIC);
        g_free(f->dev[i]);
    }
    qpci_free_pc(f->bus);
    qtest_quit(f->qts);
    unlink(f->bios);
    g_free(f->bios);
}

/* --- commands: put() fills the queue, go() tells the unit --- */

static void put(Fix *f, uint64_t lo, uint64_t hi)
{
    uint64_t desc[4] = { cpu_to_le64(lo), cpu_to_le64(hi) };

    qtest_memwrite(f->qts, QUEUE + f->tail * sizeof(desc), desc, sizeof(desc));
    f->tail = (f->tail + 1) % QUEUE_LEN;
}

static void put_atc(Fix *f, uint16_t sid)
{
    put(f, VTD_INV_DESC_DEV_PIOTLB | sid << 16 | 1ULL << 32, 0x10000);
}

static void put_iotlb(Fix *f)
{
    put(f, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_ALL_IN_PASID |
           1ULL << 32, 0);
}

static void put_config(Fix *f)
{
    put(f, VTD_INV_DESC_PC | VTD_INV_DESC_PC_GLOBAL, 0);
}

/* Slot @n of STATUS becomes 1 when the wait is over. */
static void put_wait(Fix *f, unsigned n, uint64_t flags)
{
    qtest_writel(f->qts, STATUS + 4 * n, 0);
    put(f, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW | flags | 1ULL << 32,
        STATUS + 4 * n);
}

static bool over(Fix *f, unsigned n)
{
    return qtest_readl(f->qts, STATUS + 4 * n);
}

static void go(Fix *f)
{
    unit_writeq(f, DMAR_IQT_REG, f->tail << VTD_IQH_QH_SHIFT_5);
}

static void be_late(Fix *f, unsigned kind)
{
    dev_write(f, A, SVADEV_LATE, kind | (uint64_t)LATE_NS << 32);
}

static uint64_t obeyed(Fix *f, int dev)
{
    return dev_read(f, dev, SVADEV_C_INV_RANGE);
}

static void assert_timed_out(Fix *f, uint16_t sid)
{
    g_assert_cmphex(fsts(f) & VTD_FSTS_ITE, ==, VTD_FSTS_ITE);
    g_assert_cmphex(unit_read(f, DMAR_IQER_REG), ==, VTD_IQER_ITESID(sid));
}

/* --- tests --- */

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
    start_queue(&f);
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
    start_queue(&f);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmphex(fsts(&f), ==, 0);
    put_iotlb(&f);
    put_wait(&f, 2, 0);
    go(&f);
    g_assert_true(over(&f, 2));
    for (int i = A; i <= B; i++) {
        qpci_device_enable(f.dev[i]);
        f.ctl[i] = qpci_iomap(f.dev[i], SVADEV_BAR_CONTROL, NULL);
    }
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
