/*
 * QTest of svadev
 *
 * /svadev/plain: with no IOMMU in front; requests without PASID only.
 * /svadev/mock: behind svadev-mock, whose page tables, invalidations and
 * responses are made here, one at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/misc/svadev_mock.h"
#include "hw/misc/svadev_regs.h"
#include "hw/pci/pci_regs.h"
#include "libqos/pci-pc.h"
#include "libqtest.h"
#include "qemu/units.h"

#define MOCK_SLOT       3
#define DEV_SLOT        4
#define DEV_DEVFN       QPCI_DEVFN(DEV_SLOT, 0)
#define ECAM            0xb0000000ULL

/* Configuration space of a function that has all its capabilities */
#define CFG_EXP         0x80
#define CFG_ATS         0x100
#define CFG_PASID       0x110
#define CFG_PRI         0x120

#define PAGE            4096ULL
#define BUF             (16 * MiB)      /* guest memory of the tests */
#define NO_PASID        UINT32_MAX      /* as the mock writes it */

typedef struct Fix {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *dev, *mock;
    QPCIBar ctl, pages, mmio;
    char *bios;
} Fix;

/* q35 does not start without a BIOS, which no vCPU will ever run. */
static char *make_bios(void)
{
    g_autofree char *zeroes = g_malloc0(64 * KiB);
    char *name;
    int fd = g_file_open_tmp("svadev-bios-XXXXXX", &name, NULL);

    g_assert(fd >= 0);
    g_assert(write(fd, zeroes, 64 * KiB) == 64 * KiB);
    close(fd);
    return name;
}

static uint32_t cfg_addr(unsigned reg)
{
    return ECAM + (DEV_DEVFN << 12) + reg;
}

static uint16_t cfg_readw(Fix *f, unsigned reg)
{
    return qtest_readw(f->qts, cfg_addr(reg));
}

static void cfg_writew(Fix *f, unsigned reg, uint16_t val)
{
    qtest_writew(f->qts, cfg_addr(reg), val);
}

static void cfg_writel(Fix *f, unsigned reg, uint32_t val)
{
    qtest_writel(f->qts, cfg_addr(reg), val);
}

static uint64_t ctl_read(Fix *f, unsigned reg)
{
    return qpci_io_readq(f->dev, f->ctl, reg);
}

static void ctl_write(Fix *f, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->dev, f->ctl, reg, val);
}

static uint64_t q_read(Fix *f, unsigned q, unsigned reg)
{
    return qpci_io_readq(f->dev, f->pages, q * SVADEV_QPAGE_SIZE + reg);
}

static void q_write(Fix *f, unsigned q, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->dev, f->pages, q * SVADEV_QPAGE_SIZE + reg, val);
}

static void start_with(Fix *f, bool mock, const char *props)
{
    QPCIDevice *mch;

    f->bios = make_bios();
    f->qts = qtest_initf("-M q35 -nodefaults -bios %s %s "
                         "-device svadev,addr=%d%s", f->bios,
                         mock ? "-device svadev-mock,addr=3" : "",
                         DEV_SLOT, props);
    f->bus = qpci_new_pc(f->qts, NULL);

    mch = qpci_device_find(f->bus, QPCI_DEVFN(0, 0));
    qpci_config_writel(mch, 0x60, ECAM | 1);
    g_free(mch);

    f->dev = qpci_device_find(f->bus, DEV_DEVFN);
    g_assert(f->dev);
    f->ctl = qpci_iomap(f->dev, SVADEV_BAR_CONTROL, NULL);
    f->pages = qpci_iomap(f->dev, SVADEV_BAR_QUEUES, NULL);
    qpci_device_enable(f->dev);
    f->mock = NULL;
    if (mock) {
        f->mock = qpci_device_find(f->bus, QPCI_DEVFN(MOCK_SLOT, 0));
        f->mmio = qpci_iomap(f->mock, 0, NULL);
        qpci_device_enable(f->mock);
        qpci_io_writeq(f->mock, f->mmio, SVADEV_MOCK_DEVFN, DEV_DEVFN);
    }
}

static void stop(Fix *f)
{
    /* it is still there, and says so */
    g_assert_cmphex(ctl_read(f, SVADEV_ID), ==, SVADEV_ID_MAGIC);
    g_free(f->mock);
    g_free(f->dev);
    qpci_free_pc(f->bus);
    qtest_quit(f->qts);
    unlink(f->bios);
    g_free(f->bios);
}

static void q_enable(Fix *f, unsigned q, uint32_t pasid)
{
    ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_PASID, pasid);
    ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 1);
    g_assert_cmpint(q_read(f, q, SVADEV_Q_STATE), ==, SVADEV_STATE_IDLE);
    g_assert_cmphex(q_read(f, q, SVADEV_Q_PASID), ==, pasid);
}

static void q_disable(Fix *f, unsigned q)
{
    ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
    g_assert_cmpint(q_read(f, q, SVADEV_Q_STATE), ==, SVADEV_STATE_DISABLED);
}

static bool q_busy(Fix *f, unsigned q)
{
    return ctl_read(f, SVADEV_QCTL(q) + SVADEV_QCTL_BUSY);
}

typedef struct Op {
    uint64_t op, src, dst, len, arg, flags;
} Op;

static void q_start(Fix *f, unsigned q, Op op)
{
    q_write(f, q, SVADEV_Q_OP, op.op);
    q_write(f, q, SVADEV_Q_FLAGS, op.flags);
    q_write(f, q, SVADEV_Q_SRC, op.src);
    q_write(f, q, SVADEV_Q_DST, op.dst);
    q_write(f, q, SVADEV_Q_LEN, op.len);
    q_write(f, q, SVADEV_Q_ARG, op.arg);
    q_write(f, q, SVADEV_Q_DOORBELL, 1);
}

/* Until the queue has nothing to do by itself. */
static uint64_t q_settle(Fix *f, unsigned q)
{
    uint64_t state;

    for (int i = 0; i < 20000; i++) {
        state = q_read(f, q, SVADEV_Q_STATE);
        if (state != SVADEV_STATE_RUN) {
            return state;
        }
        g_usleep(i < 100 ? 10 : 1000);
    }
    g_assert_not_reached();
}

static uint64_t q_run(Fix *f, unsigned q, Op op)
{
    q_start(f, q, op);
    return q_settle(f, q);
}

#define assert_done(f, q, op) \
    g_assert_cmpint(q_run(f, q, op), ==, SVADEV_STATE_DONE)

static void assert_error(Fix *f, unsigned q, uint64_t error)
{
    g_assert_cmpint(q_settle(f, q), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(f, q, SVADEV_Q_ERROR), ==, error);
}

static void assert_fault(Fix *f, unsigned q, uint64_t error, uint64_t fault)
{
    assert_error(f, q, error);
    g_assert_cmphex(q_read(f, q, SVADEV_Q_FAULT), ==, fault);
}

static uint8_t *pattern(size_t len, uint32_t seed)
{
    uint8_t *p = g_malloc(len);

    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = seed >> 24;
    }
    return p;
}

static uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;

    while (len--) {
        sum += *p++;
    }
    return sum;
}

static void assert_mem(Fix *f, uint64_t addr, const uint8_t *want, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    qtest_memread(f->qts, addr, got, len);
    g_assert(!memcmp(got, want, len));
}

/* --- no IOMMU --- */

static void test_identity(void)
{
    Fix f;

    start_with(&f, false, ",queues=5,pasid-bits=16,atc-entries=77");
    g_assert_cmphex(qpci_config_readw(f.dev, PCI_VENDOR_ID), ==, 0x1234);
    g_assert_cmphex(qpci_config_readw(f.dev, PCI_DEVICE_ID), ==, 0x5fa0);
    g_assert_cmphex(qpci_config_readw(f.dev, PCI_CLASS_DEVICE), ==, 0x1200);
    g_assert_cmphex(qpci_config_readb(f.dev, PCI_REVISION_ID), ==, 1);
    g_assert_cmphex(ctl_read(&f, SVADEV_CAPS), ==,
                    5 | 16 << 8 | SVADEV_CAPS_ATS | SVADEV_CAPS_PRI |
                    77ULL << 32);
    g_assert_cmphex(ctl_read(&f, SVADEV_CTRL), ==, 0);
    g_assert_cmphex(ctl_read(&f, SVADEV_STEP), ==, PAGE);
    g_assert_cmphex(ctl_read(&f, SVADEV_UNIT), ==, UINT64_MAX);
    g_assert_cmphex(cfg_readw(&f, CFG_ATS), ==, PCI_EXT_CAP_ID_ATS);
    g_assert_cmphex(cfg_readw(&f, CFG_PASID), ==, PCI_EXT_CAP_ID_PASID);
    g_assert_cmphex(cfg_readw(&f, CFG_PRI), ==, PCI_EXT_CAP_ID_PRI);
    stop(&f);

    start_with(&f, false, ",ats=off,pasid-bits=0,queues=32");
    g_assert_cmphex(ctl_read(&f, SVADEV_CAPS), ==, 32 | 1024ULL << 32);
    g_assert_cmphex(cfg_readw(&f, 0x100), ==, 0);
    stop(&f);

    start_with(&f, false, ",ats=off");
    g_assert_cmphex(cfg_readw(&f, 0x100), ==, PCI_EXT_CAP_ID_PASID);
    g_assert_cmphex(ctl_read(&f, SVADEV_CAPS), ==, 8 | 20 << 8 | 1024ULL << 32);
    stop(&f);
}

static void test_operations(void)
{
    const size_t len = 3 * PAGE + 123;
    g_autofree uint8_t *data = pattern(len, 1);
    g_autofree uint8_t *fill = g_malloc(len);
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 0, SVADEV_PASID_NONE);
    qtest_memwrite(f.qts, BUF + 77, data, len);
    memset(fill, 0x5a, len);

    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_NOP }));
    for (int bytes = 1; bytes <= PAGE; bytes = bytes * 7 + 2) {
        uint64_t to = BUF + 1 * MiB + bytes;

        ctl_write(&f, SVADEV_STEP, bytes);
        assert_done(&f, 0, ((Op) { .op = SVADEV_OP_COPY, .src = BUF + 77,
                                   .dst = to, .len = len }));
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, len);
        assert_mem(&f, to, data, len);
        assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = to,
                                   .len = len }));
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, sum_of(data, len));
        assert_done(&f, 0, ((Op) { .op = SVADEV_OP_FILL, .dst = to + 1,
                                   .len = len - 2, .arg = 0xf5a }));
        assert_mem(&f, to + 1, fill, len - 2);
        assert_mem(&f, to + len - 1, data + len - 1, 1);
    }

    qtest_writeq(f.qts, BUF + 8, 40);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_ADD64, .dst = BUF + 8,
                               .arg = -42 }));
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 40);
    g_assert_cmpint(qtest_readq(f.qts, BUF + 8), ==, -2);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, 8);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_FAULT), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_SUBMIT), ==,
                    q_read(&f, 0, SVADEV_Q_SEQ));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_BYTES), >, 4 * len);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_COUNTERS + SVADEV_C_BYTES -
                           SVADEV_COUNTERS), ==, ctl_read(&f, SVADEV_C_BYTES));
    q_write(&f, 0, SVADEV_Q_COUNTERS + SVADEV_C_BYTES - SVADEV_COUNTERS, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_BYTES), >, 4 * len);
    ctl_write(&f, SVADEV_CLEAR, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_BYTES), ==, 0);
    stop(&f);
}

/* COPY is forward, byte by byte, whatever the step */
static void test_overlap(void)
{
    static const int distance[] = { -5000, -4096, -1, 0, 1, 7, 4095, 4096,
                                    5000 };
    static const int step[] = { 1, 100, 4096 };
    const size_t len = 2 * PAGE + 50, room = 16 * KiB;
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 0, SVADEV_PASID_NONE);
    for (int i = 0; i < ARRAY_SIZE(distance); i++) {
        for (int j = 0; j < ARRAY_SIZE(step); j++) {
            g_autofree uint8_t *data = pattern(2 * room, i);
            size_t src = 6000, dst = src + distance[i];

            qtest_memwrite(f.qts, BUF, data, 2 * room);
            ctl_write(&f, SVADEV_STEP, step[j]);
            assert_done(&f, 0, ((Op) { .op = SVADEV_OP_COPY, .src = BUF + src,
                                       .dst = BUF + dst, .len = len }));
            for (size_t n = 0; n < len; n++) {
                data[dst + n] = data[src + n];
            }
            assert_mem(&f, BUF, data, 2 * room);
        }
    }
    stop(&f);
}

static void test_errors(void)
{
    static const struct {
        Op op;
        uint64_t error;
    } bad[] = {
        { { .op = 9 }, SVADEV_ERR_OP },
        { { .op = UINT64_MAX }, SVADEV_ERR_OP },
        { { .op = 1ULL << 32 }, SVADEV_ERR_OP },
        { { .op = SVADEV_OP_NOP, .flags = 8 }, SVADEV_ERR_OP },
        { { .op = SVADEV_OP_NOP, .flags = 1ULL << 63 }, SVADEV_ERR_OP },
        { { .op = SVADEV_OP_TOUCH, .flags = SVADEV_FLAG_HOLD, .len = 1 },
          SVADEV_ERR_OP },
        { { .op = SVADEV_OP_FILL, .dst = BUF }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_SUM, .src = BUF, .len = SVADEV_MAX_LEN + 1 },
          SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_SUM, .src = BUF, .len = UINT64_MAX },
          SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_SUM, .src = -PAGE, .len = PAGE + 1 },
          SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_FILL, .dst = -1, .len = 2 }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_COPY, .src = BUF, .dst = -1, .len = 2 },
          SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_COPY, .src = -1, .dst = BUF, .len = 2 },
          SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_TOUCH, .src = -1, .len = 2 }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_PAGE_REQ, .src = -1, .len = 2 }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_ADD64, .dst = BUF + 4 }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_SUM, .flags = SVADEV_FLAG_HOLD, .src = BUF,
            .len = 256 * PAGE + 1 }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_COPY, .flags = SVADEV_FLAG_HOLD, .src = BUF + 1,
            .dst = BUF, .len = 128 * PAGE }, SVADEV_ERR_LEN },
        { { .op = SVADEV_OP_TOUCH, .src = BUF, .len = 1 },
          SVADEV_ERR_NOT_MAPPED },
        { { .op = SVADEV_OP_PAGE_REQ, .src = BUF, .len = 1 },
          SVADEV_ERR_NOT_MAPPED },
        /* no RAM: the end of the address space, a hole, our own BARs */
        { { .op = SVADEV_OP_SUM, .src = -PAGE, .len = PAGE }, SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_SUM, .src = 3 * GiB, .len = 1 }, SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_FILL, .dst = 3 * GiB, .len = 1 }, SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_ADD64, .dst = 3 * GiB }, SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_FILL, .dst = 0xe0000000, .len = 256 * KiB,
            .arg = 0xff }, SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_ADD64, .dst = 0xe0000010, .arg = 1ULL << 63 },
          SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_FILL, .dst = 0xfee00000, .len = 4 },
          SVADEV_ERR_DMA },
        { { .op = SVADEV_OP_FILL, .dst = ECAM, .len = 4 }, SVADEV_ERR_DMA },
    };
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 0, SVADEV_PASID_NONE);
    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        q_start(&f, 0, bad[i].op);
        assert_error(&f, 0, bad[i].error);
        g_assert_cmpint(ctl_read(&f, SVADEV_C_FAULT), ==, i + 1);
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_SEQ), ==, i + 1);
        g_assert_false(q_busy(&f, 0));
    }
    /* the fault address, and how far it came: RAM ends at 128 MiB */
    q_start(&f, 0, (Op) { .op = SVADEV_OP_FILL, .dst = 128 * MiB - PAGE - 8,
                          .len = 3 * PAGE });
    assert_fault(&f, 0, SVADEV_ERR_DMA, 128 * MiB | SVADEV_FAULT_WRITE);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, PAGE + 8);

    /* a PASID where nothing knows PASIDs */
    q_enable(&f, 1, 5);
    q_start(&f, 1, (Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 });
    assert_fault(&f, 1, SVADEV_ERR_REFUSED, BUF);
    cfg_writew(&f, CFG_PASID + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
    q_start(&f, 1, (Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 });
    assert_error(&f, 1, SVADEV_ERR_REFUSED);
    cfg_writew(&f, CFG_ATS + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    q_start(&f, 1, (Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 });
    assert_error(&f, 1, SVADEV_ERR_REFUSED);
    ctl_write(&f, SVADEV_VERIFY, SVADEV_PASID_ALL);
    g_assert_cmpint(ctl_read(&f, SVADEV_VERIFY_CHECKED), ==, 0);

    /* no bus mastering */
    cfg_writew(&f, PCI_COMMAND, PCI_COMMAND_MEMORY);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = 1 });
    assert_fault(&f, 0, SVADEV_ERR_REFUSED, BUF | SVADEV_FAULT_WRITE);
    stop(&f);
}

static void test_hold(void)
{
    const Op op = { .op = SVADEV_OP_FILL, .flags = SVADEV_FLAG_HOLD,
                    .dst = BUF, .len = 2 * PAGE, .arg = 1 };
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 2, SVADEV_PASID_NONE);
    qtest_writeb(f.qts, BUF, 0x77);
    g_assert_cmpint(q_run(&f, 2, op), ==, SVADEV_STATE_HELD);
    g_assert_true(q_busy(&f, 2));
    g_assert_cmphex(qtest_readb(f.qts, BUF), ==, 0x77);
    q_write(&f, 2, SVADEV_Q_DOORBELL, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_REJECT), ==, 1);
    /* the operands were taken by the doorbell */
    q_write(&f, 2, SVADEV_Q_ARG, 9);
    q_write(&f, 2, SVADEV_Q_RELEASE, 1);
    g_assert_cmpint(q_settle(&f, 2), ==, SVADEV_STATE_DONE);
    g_assert_cmphex(qtest_readb(f.qts, BUF + 2 * PAGE - 1), ==, 1);
    q_write(&f, 2, SVADEV_Q_RELEASE, 1);
    q_write(&f, 2, SVADEV_Q_ABORT, 1);
    g_assert_cmpint(q_read(&f, 2, SVADEV_Q_STATE), ==, SVADEV_STATE_DONE);

    g_assert_cmpint(q_run(&f, 2, op), ==, SVADEV_STATE_HELD);
    q_write(&f, 2, SVADEV_Q_ABORT, 1);
    assert_error(&f, 2, SVADEV_ERR_ABORTED);
    g_assert_false(q_busy(&f, 2));

    g_assert_cmpint(q_run(&f, 2, op), ==, SVADEV_STATE_HELD);
    q_disable(&f, 2);
    g_assert_cmpint(q_read(&f, 2, SVADEV_Q_ERROR), ==, SVADEV_ERR_ABORTED);
    g_assert_false(q_busy(&f, 2));
    q_write(&f, 2, SVADEV_Q_RELEASE, 1);
    g_assert_cmpint(q_read(&f, 2, SVADEV_Q_STATE), ==, SVADEV_STATE_DISABLED);
    stop(&f);
}

static void test_steps(void)
{
    const uint64_t delay = 1000;
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 0, SVADEV_PASID_NONE);
    q_enable(&f, 1, SVADEV_PASID_NONE);
    ctl_write(&f, SVADEV_STEP, delay << 32 | 16);
    g_assert_cmphex(ctl_read(&f, SVADEV_STEP), ==, delay << 32 | 16);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = 64 });
    q_start(&f, 1, (Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = 160 });
    for (int i = 0; i < 4; i++) {
        /* the first step waits for nothing but the bottom half */
        for (int n = 0; n < 1000 && q_read(&f, 1, SVADEV_Q_DONE) <= i * 16;
             n++) {
            g_usleep(100);
        }
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, (i + 1) * 16);
        g_assert_cmpint(q_read(&f, 1, SVADEV_Q_DONE), ==, (i + 1) * 16);
        qtest_clock_step(f.qts, delay);
    }
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_STATE), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(q_read(&f, 1, SVADEV_Q_STATE), ==, SVADEV_STATE_RUN);
    g_assert_true(q_busy(&f, 1));
    q_write(&f, 1, SVADEV_Q_ABORT, 1);
    assert_error(&f, 1, SVADEV_ERR_ABORTED);
    qtest_clock_step(f.qts, 100 * delay);
    g_assert_cmpint(q_read(&f, 1, SVADEV_Q_STATE), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(&f, 1, SVADEV_Q_SEQ), ==, 1);

    ctl_write(&f, SVADEV_STEP, 0);
    g_assert_cmphex(ctl_read(&f, SVADEV_STEP), ==, 1);
    ctl_write(&f, SVADEV_STEP, 5000);
    g_assert_cmphex(ctl_read(&f, SVADEV_STEP), ==, PAGE);
    stop(&f);
}

/* What one queue does shows in no other, and a disabled one keeps nothing. */
static void test_isolation(void)
{
    static const unsigned regs[] = {
        SVADEV_Q_OP, SVADEV_Q_FLAGS, SVADEV_Q_SRC, SVADEV_Q_DST, SVADEV_Q_LEN,
        SVADEV_Q_ARG, SVADEV_Q_ERROR, SVADEV_Q_DONE, SVADEV_Q_FAULT,
        SVADEV_Q_RESULT, SVADEV_Q_SEQ,
    };
    Fix f;

    start_with(&f, false, ",queues=5");
    q_enable(&f, 3, SVADEV_PASID_NONE);
    q_enable(&f, 2, SVADEV_PASID_NONE);
    g_assert_cmpint(q_run(&f, 2, (Op) { .op = SVADEV_OP_FILL, .dst = BUF,
                                        .flags = SVADEV_FLAG_HOLD, .len = 8 }),
                    ==, SVADEV_STATE_HELD);
    /* the registers, and the first bytes of what only keeps queues apart */
    for (unsigned reg = 0; reg < 2 * PAGE; reg += 8) {
        q_write(&f, 3, reg, 7);
        q_write(&f, 4, reg, 7);         /* disabled */
        q_write(&f, 7, reg, 7);         /* none */
        g_assert_cmpint(q_read(&f, 7, reg), ==, 0);
    }
    g_assert_cmpint(q_read(&f, 2, SVADEV_Q_STATE), ==, SVADEV_STATE_HELD);
    g_assert_cmpint(q_read(&f, 2, SVADEV_Q_OP), ==, SVADEV_OP_FILL);
    g_assert_cmphex(q_read(&f, 3, SVADEV_Q_PASID), ==, SVADEV_PASID_NONE);
    for (int i = 0; i < ARRAY_SIZE(regs); i++) {
        g_assert_cmphex(q_read(&f, 0, regs[i]), ==, 0);
        g_assert_cmphex(q_read(&f, 4, regs[i]), ==, 0);
    }
    g_assert_cmpint(ctl_read(&f, SVADEV_C_REJECT), ==, 1);

    /* the PASID is nobody's to change while the queue is on */
    ctl_write(&f, SVADEV_QCTL(3) + SVADEV_QCTL_PASID, 12);
    g_assert_cmphex(q_read(&f, 3, SVADEV_Q_PASID), ==, SVADEV_PASID_NONE);
    ctl_write(&f, SVADEV_QCTL(4) + SVADEV_QCTL_PASID, 0x100000);
    g_assert_cmphex(q_read(&f, 4, SVADEV_Q_PASID), ==, SVADEV_PASID_NONE);
    ctl_write(&f, SVADEV_QCTL(5) + SVADEV_QCTL_ENABLE, 1);
    g_assert_cmphex(ctl_read(&f, SVADEV_QCTL(5) + SVADEV_QCTL_ENABLE), ==, 0);

    /* nor does the next user see anything */
    q_disable(&f, 3);
    q_enable(&f, 3, 77);
    for (int i = 0; i < ARRAY_SIZE(regs); i++) {
        g_assert_cmphex(q_read(&f, 3, regs[i]), ==, 0);
    }
    stop(&f);
}

static void test_access_size(void)
{
    Fix f;

    start_with(&f, false, "");
    q_enable(&f, 0, SVADEV_PASID_NONE);
    q_write(&f, 0, SVADEV_Q_SRC, 0x1122334455667788);
    qpci_io_writel(f.dev, f.pages, SVADEV_Q_SRC, 0xaaaaaaaa);
    g_assert_cmphex(q_read(&f, 0, SVADEV_Q_SRC), ==, 0x11223344aaaaaaaa);
    qpci_io_writel(f.dev, f.pages, SVADEV_Q_SRC + 4, 0xbbbbbbbb);
    g_assert_cmphex(q_read(&f, 0, SVADEV_Q_SRC), ==, 0xbbbbbbbbaaaaaaaa);
    g_assert_cmphex(qpci_io_readl(f.dev, f.pages, SVADEV_Q_SRC + 4), ==,
                    0xbbbbbbbb);
    qpci_io_writeb(f.dev, f.pages, SVADEV_Q_SRC, 1);
    qpci_io_writew(f.dev, f.pages, SVADEV_Q_SRC, 1);
    qpci_io_writel(f.dev, f.pages, SVADEV_Q_SRC + 2, 1);
    qpci_io_writeq(f.dev, f.pages, SVADEV_Q_SRC + 4, 1);
    g_assert_cmphex(q_read(&f, 0, SVADEV_Q_SRC), ==, 0xbbbbbbbbaaaaaaaa);
    g_assert_cmphex(qpci_io_readb(f.dev, f.pages, SVADEV_Q_SRC), ==, 0);
    g_assert_cmphex(qpci_io_readq(f.dev, f.ctl, SVADEV_ID + 4), ==, 0);
    g_assert_cmphex(qpci_io_readl(f.dev, f.ctl, SVADEV_ID), ==,
                    (uint32_t)SVADEV_ID_MAGIC);
    /* a doorbell is its low half */
    qpci_io_writel(f.dev, f.pages, SVADEV_Q_DOORBELL + 4, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_SUBMIT), ==, 0);
    qpci_io_writel(f.dev, f.pages, SVADEV_Q_DOORBELL, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_SUBMIT), ==, 1);
    stop(&f);
}

static void test_interrupt(void)
{
    Fix f;

    start_with(&f, false, ",queues=32");
    /* vectors are masked: what is sent stays pending */
    qpci_msix_enable(f.dev);
    g_assert_cmpint(qpci_msix_table_size(f.dev), ==, 32);
    q_enable(&f, 30, SVADEV_PASID_NONE);
    assert_done(&f, 30, ((Op) { .op = SVADEV_OP_NOP }));
    g_assert_false(qpci_msix_pending(f.dev, 30));
    assert_done(&f, 30, ((Op) { .op = SVADEV_OP_NOP,
                                .flags = SVADEV_FLAG_IRQ }));
    g_assert_true(qpci_msix_pending(f.dev, 30));
    g_assert_false(qpci_msix_pending(f.dev, 29));
    q_enable(&f, 1, SVADEV_PASID_NONE);
    q_start(&f, 1, (Op) { .op = 100, .flags = SVADEV_FLAG_IRQ });
    assert_error(&f, 1, SVADEV_ERR_OP);
    g_assert_true(qpci_msix_pending(f.dev, 1));
    stop(&f);
}

static void flr(Fix *f)
{
    cfg_writew(f, CFG_EXP + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
}

static void assert_reset(Fix *f, bool aborted)
{
    g_assert_cmphex(ctl_read(f, SVADEV_CTRL), ==, 0);
    g_assert_cmphex(ctl_read(f, SVADEV_STEP), ==, PAGE);
    g_assert_cmpint(ctl_read(f, SVADEV_C_SUBMIT), ==, 0);
    g_assert_cmpint(ctl_read(f, SVADEV_C_ATC_USED), ==, 0);
    g_assert_cmpint(q_read(f, 0, SVADEV_Q_STATE), ==, SVADEV_STATE_DISABLED);
    g_assert_cmpint(q_read(f, 0, SVADEV_Q_SEQ), ==, 0);
    g_assert_cmpint(q_read(f, 0, SVADEV_Q_OP), ==, 0);
    g_assert_cmpint(q_read(f, 0, SVADEV_Q_ERROR), ==,
                    aborted ? SVADEV_ERR_ABORTED : 0);
    g_assert_cmphex(q_read(f, 0, SVADEV_Q_PASID), ==, SVADEV_PASID_NONE);
}

/* What an FLR takes away, but for the BAR addresses that the test keeps */
static void after_flr(Fix *f)
{
    qpci_config_writel(f->dev, PCI_BASE_ADDRESS_0, f->ctl.addr);
    qpci_config_writel(f->dev, PCI_BASE_ADDRESS_2, f->pages.addr);
    qpci_device_enable(f->dev);
}

static void test_reset(void)
{
    Fix f;

    start_with(&f, false, "");
    for (int i = 0; i < 2; i++) {
        ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_ATS | SVADEV_CTRL_NO_CACHE);
        ctl_write(&f, SVADEV_STEP, 1000ULL << 32 | 1);
        q_enable(&f, 0, SVADEV_PASID_NONE);
        q_start(&f, 0, (Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = PAGE });
        if (i) {
            flr(&f);
            after_flr(&f);
        } else {
            ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_RESET);
        }
        assert_reset(&f, true);
        qtest_clock_step(f.qts, 100000);
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, 0);
        q_enable(&f, 0, SVADEV_PASID_NONE);
        assert_done(&f, 0, ((Op) { .op = SVADEV_OP_NOP }));
        q_disable(&f, 0);
    }
    qtest_system_reset(f.qts);
    g_free(f.dev);
    f.dev = qpci_device_find(f.bus, DEV_DEVFN);
    after_flr(&f);
    assert_reset(&f, false);
    stop(&f);
}

/* --- every register, with values that somebody may not have thought of --- */

static uint64_t nasty(void)
{
    static const uint64_t values[] = {
        0, 1, 2, 3, 7, 8, 9, 0xff, 0xfff, PAGE, PAGE + 1, 0xffff, 0xffffe,
        0xfffff, 0x100000, 0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 32,
        (1ULL << 32) + 1, 1ULL << 47, 1ULL << 63, (1ULL << 63) - 1,
        UINT64_MAX, UINT64_MAX - 1, -PAGE, -PAGE - 1, BUF, BUF + 1, ECAM,
        0xe0000000, 0xfee00000, 0xfec00000, 128 * MiB, 128 * MiB - 1,
        5ULL << 32 | 16, 1ULL << 32 | 1,
    };

    if (g_test_rand_bit()) {
        return values[g_test_rand_int_range(0, ARRAY_SIZE(values))];
    }
    return g_test_rand_bit() ? g_test_rand_int_range(0, 12) :
        (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

static unsigned any_control(void)
{
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        return g_test_rand_int_range(0, 0x300);
    case 1:
        return g_test_rand_int_range(0, 0x10000);
    default:
        return SVADEV_QCTL(0) + g_test_rand_int_range(0, 9 * 0x20 / 8) * 8;
    }
}

static unsigned any_queue(void)
{
    unsigned page = g_test_rand_int_range(0, 8) * SVADEV_QPAGE_SIZE;

    return page + (g_test_rand_int_range(0, 8) ?
                   g_test_rand_int_range(0, 0x90 / 8) * 8 :
                   g_test_rand_int_range(0, SVADEV_QPAGE_SIZE));
}

static void poke(Fix *f, QPCIBar bar, unsigned reg)
{
    uint64_t val = nasty();

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        qpci_io_writeb(f->dev, bar, reg, val);
        break;
    case 1:
        qpci_io_writel(f->dev, bar, reg, val);
        break;
    case 2:
        qpci_io_readl(f->dev, bar, reg);
        break;
    case 3:
        qpci_io_readq(f->dev, bar, reg);
        break;
    default:
        qpci_io_writeq(f->dev, bar, reg, val);
    }
}

static void fuzz(Fix *f, int rounds, void (*also)(Fix *f))
{
    for (int i = 0; i < rounds; i++) {
        if (g_test_rand_int_range(0, 4)) {
            poke(f, f->pages, any_queue());
        } else {
            poke(f, f->ctl, any_control());
        }
        if (!g_test_rand_int_range(0, 16)) {
            qtest_clock_step(f->qts, g_test_rand_int_range(1, 1000000));
        }
        if (also && !g_test_rand_int_range(0, 4)) {
            also(f);
        }
        if (!g_test_rand_int_range(0, 32)) {
            unsigned q = g_test_rand_int_range(0, 8);

            ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
            ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_PASID,
                      g_test_rand_bit() ? SVADEV_PASID_NONE : 1);
            ctl_write(f, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 1);
        }
    }
    ctl_write(f, SVADEV_CTRL, SVADEV_CTRL_RESET);
    assert_reset(f, q_read(f, 0, SVADEV_Q_ERROR));
}

static void test_fuzz(void)
{
    Fix f;

    start_with(&f, false, ",queues=7");
    fuzz(&f, 20000, NULL);
    q_enable(&f, 0, SVADEV_PASID_NONE);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = 99 }));
    stop(&f);
}

/* --- behind the mock --- */

static void mock_set(Fix *f, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->mock, f->mmio, reg, val);
}

static uint64_t mock_get(Fix *f, unsigned reg)
{
    return qpci_io_readq(f->mock, f->mmio, reg);
}

static void map(Fix *f, uint32_t pasid, uint64_t va, uint64_t pa, int perm)
{
    mock_set(f, SVADEV_MOCK_PASID, pasid);
    mock_set(f, SVADEV_MOCK_VA, va);
    mock_set(f, SVADEV_MOCK_PA, pa);
    mock_set(f, SVADEV_MOCK_PERM, perm);
    mock_set(f, SVADEV_MOCK_CMD, SVADEV_MOCK_MAP);
}

static bool invalidate(Fix *f, uint32_t pasid, uint64_t va, uint64_t size)
{
    mock_set(f, SVADEV_MOCK_PASID, pasid);
    mock_set(f, SVADEV_MOCK_VA, va);
    mock_set(f, SVADEV_MOCK_SIZE, size);
    mock_set(f, SVADEV_MOCK_CMD, SVADEV_MOCK_INVALIDATE);
    return mock_get(f, SVADEV_MOCK_COMPLETED);
}

static void respond(Fix *f, uint32_t pasid, uint64_t prgi, int code)
{
    mock_set(f, SVADEV_MOCK_PASID, pasid);
    mock_set(f, SVADEV_MOCK_PRGI, prgi);
    mock_set(f, SVADEV_MOCK_CODE, code);
    mock_set(f, SVADEV_MOCK_CMD, SVADEV_MOCK_RESPOND);
}

static void respond_last(Fix *f, int code)
{
    respond(f, mock_get(f, SVADEV_MOCK_REQ_PASID),
            mock_get(f, SVADEV_MOCK_REQ_PRGI), code);
}

static void caps_on(Fix *f, bool pri, uint32_t allocation)
{
    cfg_writew(f, CFG_PASID + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
    cfg_writel(f, CFG_PRI + PCI_PRI_ALLOC_REQ, allocation);
    cfg_writew(f, CFG_PRI + PCI_PRI_CTRL, pri ? PCI_PRI_CTRL_ENABLE : 0);
    cfg_writew(f, CFG_ATS + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
}

static void start_mock(Fix *f, bool pri, const char *props)
{
    start_with(f, true, props);
    caps_on(f, pri, 32);
}

#define VA      0x7f0012345000ULL

static uint64_t verify(Fix *f, uint32_t pasid)
{
    ctl_write(f, SVADEV_VERIFY, pasid);
    return ctl_read(f, SVADEV_VERIFY_STALE);
}

static const Op sum1 = { .op = SVADEV_OP_SUM, .src = VA, .len = 1 };
static const Op fill1 = { .op = SVADEV_OP_FILL, .dst = VA, .len = 1 };

static void test_ats(void)
{
    Fix f;

    start_mock(&f, false, "");
    g_assert_cmpint(ctl_read(&f, SVADEV_UNIT), ==, 7);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_IOTLB_RANGE), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_IOTLB_MISS), ==, 13);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_TIMEOUT), ==, 17);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_REFUSED_ACCESS), ==, 18);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_REFUSED_XLATE), ==, 19);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_REFUSED_PAGE), ==, 20);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_EVICTED), ==, 21);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_FAULT_REASON), ==, 22);
    g_assert_cmpint(ctl_read(&f, SVADEV_U_NAMED), ==, 23);
    qtest_writeb(f.qts, BUF, 1);
    qtest_writeb(f.qts, BUF + PAGE, 2);
    map(&f, 1, VA, BUF, 3);
    q_enable(&f, 0, 1);
    q_enable(&f, 1, 2);
    assert_done(&f, 0, sum1);
    assert_done(&f, 0, sum1);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_FILL), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_HIT), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_UNTRANSLATED), ==, 0);
    q_start(&f, 1, sum1);
    assert_fault(&f, 1, SVADEV_ERR_NOT_MAPPED, VA);

    /* a forgotten invalidation: the old page, and VERIFY says so */
    map(&f, 1, VA, BUF + PAGE, 3);
    assert_done(&f, 0, sum1);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 1);
    g_assert_cmpint(verify(&f, 2), ==, 0);
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_cmpint(verify(&f, SVADEV_PASID_ALL), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_VERIFY_CHECKED), ==, 1);
    g_assert_cmphex(ctl_read(&f, SVADEV_VERIFY_ADDR), ==, VA);
    g_assert_cmphex(ctl_read(&f, SVADEV_VERIFY_WHERE), ==,
                    SVADEV_WHERE_ATC | 1);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_VERIFY }));
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 1);
    assert_done(&f, 1, ((Op) { .op = SVADEV_OP_VERIFY }));
    g_assert_cmpint(q_read(&f, 1, SVADEV_Q_RESULT), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_STALE), ==, 3);

    /* of another PASID, the page before, the page after; then the right one */
    g_assert_true(invalidate(&f, 2, VA, PAGE));
    g_assert_true(invalidate(&f, 1, VA - PAGE, PAGE));
    g_assert_true(invalidate(&f, 1, VA + PAGE, UINT64_MAX - VA - PAGE));
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_true(invalidate(&f, 1, VA, PAGE));
    g_assert_cmpint(verify(&f, 1), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_RANGE), ==, 4);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_ENTRIES), ==, 1);
    assert_done(&f, 0, sum1);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 2);

    /* stale is also what permits more than the tables; less is not */
    map(&f, 1, VA, BUF + PAGE, 1);
    g_assert_cmpint(verify(&f, 1), ==, 1);
    map(&f, 1, VA, BUF + PAGE, 3);
    g_assert_cmpint(verify(&f, 1), ==, 0);

    /* permissions: what lacks W is not written through, and asked for again */
    map(&f, 1, VA, BUF, 1);
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_true(invalidate(&f, 1, 0, UINT64_MAX));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_PASID), ==, 1);
    assert_done(&f, 0, sum1);
    q_start(&f, 0, fill1);
    assert_fault(&f, 0, SVADEV_ERR_NOT_MAPPED, VA | SVADEV_FAULT_WRITE);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_ADD64, .dst = VA });
    assert_fault(&f, 0, SVADEV_ERR_NOT_MAPPED, VA | SVADEV_FAULT_WRITE);
    map(&f, 1, VA, BUF, 3);
    g_assert_cmpint(verify(&f, 1), ==, 0);
    assert_done(&f, 0, fill1);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_ADD64, .dst = VA }));

    /* nothing is cached of a page that is not there */
    map(&f, 1, VA, 0, 0);
    g_assert_true(invalidate(&f, 1, VA, PAGE));
    q_start(&f, 0, sum1);
    assert_fault(&f, 0, SVADEV_ERR_NOT_MAPPED, VA);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);

    /* 2 MiB: kept as the piece */
    mock_set(&f, SVADEV_MOCK_BIG, 1);
    map(&f, 1, VA, BUF + 2 * MiB, 3);
    qtest_writeb(f.qts, BUF + 2 * MiB + (VA & (2 * MiB - 1)), 9);
    assert_done(&f, 0, sum1);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 9);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 1);
    g_assert_cmpint(verify(&f, 1), ==, 0);
    mock_set(&f, SVADEV_MOCK_BIG, 0);

    /* TOUCH fills, ATC_FLUSH empties; neither touches the other PASID */
    for (int i = 0; i < 4; i++) {
        map(&f, 1, VA + i * PAGE, BUF + i * PAGE, 1);
        map(&f, 2, VA + i * PAGE, BUF + i * PAGE, 3);
    }
    for (int q = 0; q < 2; q++) {
        assert_done(&f, q, ((Op) { .op = SVADEV_OP_ATC_FLUSH }));
        assert_done(&f, q, ((Op) { .op = SVADEV_OP_TOUCH, .src = VA + 5,
                                   .len = 3 * PAGE, .arg = 1 }));
        g_assert_cmpint(q_read(&f, q, SVADEV_Q_RESULT), ==, 4);
    }
    q_start(&f, 0, (Op) { .op = SVADEV_OP_TOUCH, .src = VA, .len = 4,
                          .flags = SVADEV_FLAG_WRITE });
    assert_fault(&f, 0, SVADEV_ERR_NOT_MAPPED, VA | SVADEV_FAULT_WRITE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 8);
    assert_done(&f, 1, ((Op) { .op = SVADEV_OP_ATC_FLUSH }));
    g_assert_cmpint(q_read(&f, 1, SVADEV_Q_RESULT), ==, 4);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 4);

    /* what the IOMMU refuses, or cannot do */
    mock_set(&f, SVADEV_MOCK_REFUSE, 1);
    q_start(&f, 1, sum1);
    assert_fault(&f, 1, SVADEV_ERR_REFUSED, VA);
    mock_set(&f, SVADEV_MOCK_REFUSE, 2);
    q_start(&f, 1, sum1);
    assert_fault(&f, 1, SVADEV_ERR_DMA, VA);
    stop(&f);
}

#define ALL_PASIDS      (UINT32_MAX - 1)

/* The Global bit is neither one PASID nor the lack of one. */
static void test_global(const char *props)
{
    Fix f;

    start_mock(&f, false, props);
    for (uint32_t pasid = 1; pasid <= 2; pasid++) {
        map(&f, pasid, VA, BUF, 3);
        map(&f, pasid, VA + PAGE, BUF, 3);
        q_enable(&f, pasid, pasid);
        assert_done(&f, pasid, ((Op) { .op = SVADEV_OP_TOUCH, .src = VA,
                                       .len = 2 * PAGE }));
    }
    map(&f, NO_PASID, VA, BUF, 3);
    q_enable(&f, 0, SVADEV_PASID_NONE);
    assert_done(&f, 0, sum1);
    g_assert_true(invalidate(&f, ALL_PASIDS, VA, PAGE));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 3);
    g_assert_true(invalidate(&f, ALL_PASIDS, 0, UINT64_MAX));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_ENTRIES), ==, 4);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_GLOBAL), ==, 2);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_UNTAGGED), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_RANGE), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_PASID), ==, 0);
    /* what is left is that without PASID */
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_ATC_FLUSH }));
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 1);
    ctl_write(&f, SVADEV_CLEAR, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_GLOBAL), ==, 0);
    stop(&f);
}

static void test_global_all(void)
{
    test_global("");
}

static void test_global_strict(void)
{
    test_global(",strict-untagged=on");
}

static void test_untagged(bool strict)
{
    Fix f;

    start_mock(&f, false, strict ? ",strict-untagged=on" : "");
    map(&f, 1, VA, BUF, 3);
    map(&f, 1, VA + PAGE, BUF, 3);
    map(&f, NO_PASID, VA, BUF, 3);
    q_enable(&f, 0, 1);
    q_enable(&f, 1, SVADEV_PASID_NONE);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_TOUCH, .src = VA,
                               .len = 2 * PAGE }));
    assert_done(&f, 1, sum1);
    map(&f, NO_PASID, VA, BUF + PAGE, 3);
    g_assert_cmpint(verify(&f, SVADEV_PASID_NONE), ==, 1);
    g_assert_cmphex(ctl_read(&f, SVADEV_VERIFY_WHERE), ==,
                    SVADEV_WHERE_ATC | SVADEV_PASID_NONE);
    g_assert_true(invalidate(&f, NO_PASID, VA, PAGE));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_UNTAGGED), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, strict ? 2 : 1);
    g_assert_true(invalidate(&f, NO_PASID, 0, UINT64_MAX));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, strict ? 2 : 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_ENTRIES), ==, strict ? 1 : 3);
    stop(&f);
}

static void test_untagged_all(void)
{
    test_untagged(false);
}

static void test_untagged_strict(void)
{
    test_untagged(true);
}

/* An access that the IOMMU does not let in is not made. */
static void test_access(void)
{
    static const struct {
        Op op;
        int perm;
        uint64_t fault;
    } accesses[] = {
        { { .op = SVADEV_OP_SUM, .src = VA + 8, .len = 8 }, 1, VA + 8 },
        { { .op = SVADEV_OP_FILL, .dst = VA + 8, .len = 8, .arg = 7 }, 2,
          (VA + 8) | SVADEV_FAULT_WRITE },
        { { .op = SVADEV_OP_COPY, .src = VA, .dst = VA + 8, .len = 8 }, 1, VA },
        { { .op = SVADEV_OP_COPY, .src = VA, .dst = VA + 8, .len = 8 }, 2,
          (VA + 8) | SVADEV_FAULT_WRITE },
        { { .op = SVADEV_OP_ADD64, .dst = VA + 8, .arg = 7 }, 3,
          (VA + 8) | SVADEV_FAULT_WRITE },
    };
    uint64_t faults = 0;
    Op op;
    Fix f;

    start_mock(&f, false, "");
    map(&f, 1, VA, BUF, 3);
    q_enable(&f, 0, 1);
    for (int i = 0; i < ARRAY_SIZE(accesses); i++) {
        qtest_writeq(f.qts, BUF, 0x0101010101010101ULL);
        qtest_writeq(f.qts, BUF + 8, 2);
        mock_set(&f, SVADEV_MOCK_REFUSE_ACC, accesses[i].perm);
        q_start(&f, 0, accesses[i].op);
        assert_fault(&f, 0, SVADEV_ERR_REFUSED, accesses[i].fault);
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, 0);
        g_assert_cmphex(mock_get(&f, SVADEV_MOCK_ACC_ADDR), ==,
                        BUF + (accesses[i].fault & 8));
        g_assert_cmphex(mock_get(&f, SVADEV_MOCK_ACC_PERM), ==,
                        accesses[i].perm);
        g_assert_cmphex(qtest_readq(f.qts, BUF + 8), ==, 2);
        g_assert_cmpint(ctl_read(&f, SVADEV_C_FAULT), ==, ++faults);
        mock_set(&f, SVADEV_MOCK_REFUSE_ACC, 0);
        assert_done(&f, 0, accesses[i].op);
    }

    /* to translate is none, and a held one is made when it is let go */
    mock_set(&f, SVADEV_MOCK_REFUSE_ACC, 3);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_TOUCH, .src = VA, .len = 1 }));
    op = fill1;
    op.flags = SVADEV_FLAG_HOLD;
    op.arg = 9;
    g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_HELD);
    mock_set(&f, SVADEV_MOCK_REFUSE_ACC, 0);
    q_write(&f, 0, SVADEV_Q_RELEASE, 1);
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(qtest_readb(f.qts, BUF), ==, 9);
    op.arg = 10;
    g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_HELD);
    mock_set(&f, SVADEV_MOCK_REFUSE_ACC, 2);
    q_write(&f, 0, SVADEV_Q_RELEASE, 1);
    assert_fault(&f, 0, SVADEV_ERR_REFUSED, VA | SVADEV_FAULT_WRITE);
    g_assert_cmpint(qtest_readb(f.qts, BUF), ==, 9);

    /* untranslated requests have nothing to do with it */
    mock_set(&f, SVADEV_MOCK_REFUSE_ACC, 3);
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_FILL, .dst = BUF, .len = 1 }));
    stop(&f);
}

static void test_modes(void)
{
    Fix f;

    start_mock(&f, false, ",atc-entries=3,pasid-bits=4");
    for (int i = 0; i < 8; i++) {
        map(&f, 1, BUF + i * PAGE, BUF + i * PAGE, 3);
    }
    q_enable(&f, 0, 1);

    /* the cache is bounded; the oldest entry goes */
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_FILL, .dst = BUF,
                               .len = 8 * PAGE, .arg = 1 }));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 3);
    ctl_write(&f, SVADEV_CLEAR, 1);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_TOUCH, .src = BUF + 5 * PAGE,
                               .len = 3 * PAGE }));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_HIT), ==, 3);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_FILL, .flags = SVADEV_FLAG_HOLD,
                          .dst = BUF, .len = 4 * PAGE });
    assert_error(&f, 0, SVADEV_ERR_LEN);

    /* NO_CACHE empties it and keeps it empty */
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = BUF,
                               .len = 8 * PAGE }));
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_RESULT), ==, 8 * PAGE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 8);

    /* NO_ATS leaves it to the IOMMU, and keeps what is cached */
    ctl_write(&f, SVADEV_CTRL, 0);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 }));
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_ADD64, .dst = BUF }));
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 8 }));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_UNTRANSLATED), ==, 2);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 1);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_TOUCH, .src = BUF, .len = 1 });
    assert_error(&f, 0, SVADEV_ERR_NOT_MAPPED);
    g_assert_true(invalidate(&f, 1, BUF, 1));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);
    ctl_write(&f, SVADEV_CTRL, 0);

    /* ATS off in the configuration space: empty, and no completions */
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 }));
    cfg_writew(&f, CFG_ATS + PCI_ATS_CTRL, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);
    g_assert_false(invalidate(&f, 1, BUF, PAGE));
    assert_done(&f, 0, ((Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 }));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_UNTRANSLATED), ==, 3);
    cfg_writew(&f, CFG_ATS + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);

    /* a PASID too wide, or not enabled */
    q_enable(&f, 1, 16);
    q_start(&f, 1, (Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 });
    assert_error(&f, 1, SVADEV_ERR_REFUSED);
    cfg_writew(&f, CFG_PASID + PCI_PASID_CTRL, 0);
    q_start(&f, 0, (Op) { .op = SVADEV_OP_SUM, .src = BUF, .len = 1 });
    assert_error(&f, 0, SVADEV_ERR_REFUSED);
    stop(&f);
}

/* A PASID's entries stay when its last queue goes, and leave with a reset. */
static void test_last_queue(void)
{
    Fix f;

    start_mock(&f, false, "");
    map(&f, 1, VA, BUF, 3);
    map(&f, 2, VA, BUF, 3);
    for (int q = 0; q < 3; q++) {
        q_enable(&f, q, q == 2 ? 2 : 1);
        assert_done(&f, q, sum1);
    }
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 2);
    q_disable(&f, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 2);
    q_disable(&f, 1);
    q_disable(&f, 2);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 2);
    g_assert_cmpint(verify(&f, SVADEV_PASID_ALL), ==, 0);
    map(&f, 1, VA, 0, 0);
    g_assert_cmpint(verify(&f, SVADEV_PASID_ALL), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_VERIFY_CHECKED), ==, 2);
    flr(&f);
    after_flr(&f);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);
    g_assert_cmphex(cfg_readw(&f, CFG_ATS + PCI_ATS_CTRL), ==, 0);
    g_assert_cmphex(cfg_readw(&f, CFG_PASID + PCI_PASID_CTRL), ==, 0);
    stop(&f);
}

static void test_hold_ats(void)
{
    const Op copy = { .op = SVADEV_OP_COPY, .flags = SVADEV_FLAG_HOLD,
                      .src = VA + 100, .dst = VA + 8 * PAGE, .len = 2 * PAGE };
    g_autofree uint8_t *data = pattern(3 * PAGE, 3);
    Fix f;

    start_mock(&f, false, "");
    qtest_memwrite(f.qts, BUF, data, 3 * PAGE);
    for (int i = 0; i < 3; i++) {
        map(&f, 1, VA + i * PAGE, BUF + i * PAGE, 1);
    }
    for (int i = 8; i < 10; i++) {
        map(&f, 1, VA + i * PAGE, BUF + i * PAGE, 3);
    }
    q_enable(&f, 0, 1);

    g_assert_cmpint(q_run(&f, 0, copy), ==, SVADEV_STATE_HELD);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 5);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_BYTES), ==, 0);
    q_write(&f, 0, SVADEV_Q_RELEASE, 1);
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 5);
    assert_mem(&f, BUF + 8 * PAGE, data + 100, 2 * PAGE);

    /* remembered in the operation, also when the cache has lost it */
    g_assert_cmpint(q_run(&f, 0, copy), ==, SVADEV_STATE_HELD);
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    map(&f, 1, VA + 9 * PAGE, BUF + 12 * PAGE, 3);
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_cmphex(ctl_read(&f, SVADEV_VERIFY_ADDR), ==, VA + 9 * PAGE);
    g_assert_cmpint(ctl_read(&f, SVADEV_VERIFY_CHECKED), ==, 5);
    g_assert_cmpint(ctl_read(&f, SVADEV_CACHED_ATC), ==, 5);
    g_assert_cmpint(ctl_read(&f, SVADEV_CACHED_IOTLB), ==, 0);
    ctl_write(&f, SVADEV_CACHED_FIRST, VA + 1);
    ctl_write(&f, SVADEV_CACHED_LAST, VA + 10 * PAGE - 1);
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_CACHED_ATC), ==, 4);
    ctl_write(&f, SVADEV_CACHED_LAST, VA + 10 * PAGE - 2);
    /* what is stale counts wherever it is */
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_CACHED_ATC), ==, 3);
    g_assert_cmpint(ctl_read(&f, SVADEV_VERIFY_CHECKED), ==, 5);
    g_assert_cmpint(verify(&f, 2), ==, 0);
    g_assert_cmpint(ctl_read(&f, SVADEV_CACHED_ATC), ==, 0);
    /* an invalidation of another PASID leaves it, its own one takes it */
    g_assert_true(invalidate(&f, 2, 0, UINT64_MAX));
    g_assert_cmpint(verify(&f, 1), ==, 1);
    g_assert_true(invalidate(&f, 1, VA + 9 * PAGE, PAGE));
    g_assert_cmpint(verify(&f, 1), ==, 0);
    qtest_writeb(f.qts, BUF + 9 * PAGE, ~data[100 + PAGE]);
    q_write(&f, 0, SVADEV_Q_RELEASE, 1);
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_DONE);
    assert_mem(&f, BUF + 12 * PAGE, data + 100 + PAGE, PAGE);
    g_assert_cmphex(qtest_readb(f.qts, BUF + 9 * PAGE), ==,
                    (uint8_t)~data[100 + PAGE]);
    ctl_write(&f, SVADEV_CTRL, 0);

    /* and can fault then */
    g_assert_cmpint(q_run(&f, 0, copy), ==, SVADEV_STATE_HELD);
    map(&f, 1, VA + 9 * PAGE, 0, 0);
    g_assert_true(invalidate(&f, NO_PASID, 0, UINT64_MAX));
    q_write(&f, 0, SVADEV_Q_RELEASE, 1);
    assert_fault(&f, 0, SVADEV_ERR_NOT_MAPPED,
                 (VA + 9 * PAGE) | SVADEV_FAULT_WRITE);
    g_assert_cmpint(q_read(&f, 0, SVADEV_Q_DONE), ==, PAGE);
    stop(&f);
}

static uint16_t pri_status(Fix *f)
{
    return cfg_readw(f, CFG_PRI + PCI_PRI_STATUS) & ~PCI_PRI_STATUS_PASID;
}

static void test_pri(void)
{
    uint64_t prgi;
    Fix f;

    start_with(&f, true, "");
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_STOPPED);
    caps_on(&f, true, 32);
    g_assert_cmphex(pri_status(&f), ==, 0);
    q_enable(&f, 3, 2);

    /* asked for, mapped, done */
    q_start(&f, 3, (Op) { .op = SVADEV_OP_FILL, .dst = VA + 5, .len = 1 });
    g_assert_cmpint(q_settle(&f, 3), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_REQUESTS), ==, 1);
    g_assert_cmphex(mock_get(&f, SVADEV_MOCK_REQ_ADDR), ==, VA);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_REQ_PASID), ==, 2);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_REQ_PERM), ==, 2);
    prgi = mock_get(&f, SVADEV_MOCK_REQ_PRGI);
    g_assert_cmpint(prgi, <, 512);
    map(&f, 2, VA, BUF, 3);
    respond_last(&f, 0);
    g_assert_cmpint(q_settle(&f, 3), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_REQ), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_RESP), ==, 1);
    g_assert_cmphex(pri_status(&f), ==, 0);

    /* answered twice, or to nobody */
    respond_last(&f, 0);
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_UPRGI);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_RESP), ==, 1);
    cfg_writew(&f, CFG_PRI + PCI_PRI_STATUS, PCI_PRI_STATUS_UPRGI);
    g_assert_cmphex(pri_status(&f), ==, 0);

    /* refused */
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    g_assert_cmpint(q_settle(&f, 3), ==, SVADEV_STATE_PAGE_REQ);
    respond(&f, 1, mock_get(&f, SVADEV_MOCK_REQ_PRGI), 0);  /* wrong PASID */
    respond(&f, 2, prgi, 0);                                /* an old one */
    g_assert_cmpint(q_settle(&f, 3), ==, SVADEV_STATE_PAGE_REQ);
    respond_last(&f, 1);
    assert_fault(&f, 3, SVADEV_ERR_PRI_INVALID, VA + PAGE);
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_UPRGI);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    g_assert_cmpint(q_settle(&f, 3), ==, SVADEV_STATE_PAGE_REQ);
    respond_last(&f, 15);
    assert_fault(&f, 3, SVADEV_ERR_PRI_FAILURE, VA + PAGE);
    g_assert_cmphex(pri_status(&f), ==,
                    PCI_PRI_STATUS_UPRGI | PCI_PRI_STATUS_RF);
    cfg_writew(&f, CFG_PRI + PCI_PRI_STATUS, 3);

    /* success, but nothing is there: it gives up */
    mock_set(&f, SVADEV_MOCK_ANSWER, SVADEV_MOCK_AT_ONCE);
    mock_set(&f, SVADEV_MOCK_CODE, 0);
    ctl_write(&f, SVADEV_CLEAR, 1);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    assert_fault(&f, 3, SVADEV_ERR_PRI_FAILURE, VA + PAGE);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_REQ), ==, 16);
    mock_set(&f, SVADEV_MOCK_CODE, 1);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    assert_error(&f, 3, SVADEV_ERR_PRI_INVALID);
    mock_set(&f, SVADEV_MOCK_ANSWER, SVADEV_MOCK_DENY);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    assert_error(&f, 3, SVADEV_ERR_PRI_FAILURE);
    g_assert_false(q_busy(&f, 3));

    /* PAGE_REQ asks for pages that are there, too */
    mock_set(&f, SVADEV_MOCK_ANSWER, SVADEV_MOCK_AT_ONCE);
    mock_set(&f, SVADEV_MOCK_CODE, 0);
    ctl_write(&f, SVADEV_CLEAR, 1);
    assert_done(&f, 3, ((Op) { .op = SVADEV_OP_PAGE_REQ, .src = VA + 1,
                               .len = 3 * PAGE }));
    g_assert_cmpint(q_read(&f, 3, SVADEV_Q_RESULT), ==, 4);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_REQ), ==, 4);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_XLATE), ==, 0);
    mock_set(&f, SVADEV_MOCK_CODE, 1);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_PAGE_REQ, .src = VA, .len = 1,
                          .flags = SVADEV_FLAG_WRITE });
    assert_fault(&f, 3, SVADEV_ERR_PRI_INVALID, VA | SVADEV_FAULT_WRITE);

    /* PRI not to be used */
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_NO_PRI);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_SUM, .src = VA + PAGE, .len = 1 });
    assert_error(&f, 3, SVADEV_ERR_NOT_MAPPED);
    q_start(&f, 3, (Op) { .op = SVADEV_OP_PAGE_REQ, .src = VA, .len = 1 });
    assert_error(&f, 3, SVADEV_ERR_NOT_MAPPED);
    stop(&f);
}

/* The response outlives the operation. */
static void test_pri_late(void)
{
    const Op op = { .op = SVADEV_OP_SUM, .src = VA, .len = 1 };
    uint64_t seq;
    Fix f;

    start_mock(&f, true, "");
    q_enable(&f, 0, 1);
    for (int how = 0; how < 3; how++) {
        ctl_write(&f, SVADEV_CLEAR, 1);
        g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_PAGE_REQ);
        if (how == 0) {
            q_write(&f, 0, SVADEV_Q_ABORT, 1);
            assert_error(&f, 0, SVADEV_ERR_ABORTED);
        } else if (how == 1) {
            q_disable(&f, 0);
            g_assert_cmpint(q_read(&f, 0, SVADEV_Q_ERROR), ==,
                            SVADEV_ERR_ABORTED);
            q_enable(&f, 0, 2);
        } else {
            ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_RESET);
            assert_reset(&f, true);
            q_enable(&f, 0, 1);
        }
        g_assert_true(q_busy(&f, 0));
        q_start(&f, 0, op);
        g_assert_cmpint(ctl_read(&f, SVADEV_C_REJECT), ==, 1);
        cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, 0);
        g_assert_cmphex(pri_status(&f), ==, 0);
        seq = q_read(&f, 0, SVADEV_Q_SEQ);
        respond_last(&f, 0);
        g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_STOPPED);
        /* and wakes nothing */
        g_assert_cmpint(q_settle(&f, 0), ==,
                        how ? SVADEV_STATE_IDLE : SVADEV_STATE_ERROR);
        g_assert_cmpint(q_read(&f, 0, SVADEV_Q_SEQ), ==, seq);
        g_assert_false(q_busy(&f, 0));
        g_assert_cmpint(ctl_read(&f, SVADEV_C_PAGE_RESP), ==, 1);
        cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
        g_assert_cmphex(pri_status(&f), ==, 0);
    }

    /* PRI's own reset forgets it, with PRI off only */
    q_disable(&f, 0);
    q_enable(&f, 0, 1);
    g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_PAGE_REQ);
    cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL,
               PCI_PRI_CTRL_RESET | PCI_PRI_CTRL_ENABLE);
    g_assert_true(q_busy(&f, 0));
    cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    assert_error(&f, 0, SVADEV_ERR_PRI_FAILURE);
    g_assert_false(q_busy(&f, 0));
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_STOPPED);
    cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);

    /* so does an FLR; what comes then is unexpected, even for a new request */
    g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_PAGE_REQ);
    flr(&f);
    after_flr(&f);
    g_assert_false(q_busy(&f, 0));
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_STOPPED);
    caps_on(&f, true, 32);
    q_enable(&f, 0, 1);
    {
        uint64_t old = mock_get(&f, SVADEV_MOCK_REQ_PRGI);

        g_assert_cmpint(q_run(&f, 0, op), ==, SVADEV_STATE_PAGE_REQ);
        respond(&f, 1, old, 0);
    }
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmphex(pri_status(&f), ==, PCI_PRI_STATUS_UPRGI);
    map(&f, 1, VA, BUF, 3);
    respond_last(&f, 0);
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_DONE);
    stop(&f);
}

/* No more requests at a time than the OS has allocated */
static void test_pri_allocation(void)
{
    const Op op = { .op = SVADEV_OP_SUM, .src = VA, .len = 1 };
    Fix f;

    start_with(&f, true, "");
    caps_on(&f, true, 0);
    for (int q = 0; q < 4; q++) {
        q_enable(&f, q, 1 + q);
    }
    q_start(&f, 0, op);
    assert_error(&f, 0, SVADEV_ERR_PRI_FAILURE);
    cfg_writel(&f, CFG_PRI + PCI_PRI_ALLOC_REQ, 1);
    for (int q = 0; q < 4; q++) {
        g_assert_cmpint(q_run(&f, q, op), ==, SVADEV_STATE_PAGE_REQ);
        map(&f, 1 + q, VA, BUF, 3);
    }
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_REQUESTS), ==, 1);
    q_write(&f, 2, SVADEV_Q_ABORT, 1);
    assert_error(&f, 2, SVADEV_ERR_ABORTED);
    g_assert_false(q_busy(&f, 2));
    q_disable(&f, 3);
    g_assert_false(q_busy(&f, 3));
    map(&f, 2, VA, 0, 0);
    respond_last(&f, 0);
    g_assert_cmpint(q_settle(&f, 0), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(q_settle(&f, 1), ==, SVADEV_STATE_PAGE_REQ);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_REQUESTS), ==, 2);
    map(&f, 2, VA, BUF, 3);
    respond_last(&f, 0);
    g_assert_cmpint(q_settle(&f, 1), ==, SVADEV_STATE_DONE);
    stop(&f);
}

static void test_inject(void)
{
    Fix f;

    start_mock(&f, false, "");
    ctl_write(&f, SVADEV_INJECT, 3ULL << 32 | SVADEV_INJECT_ATC);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_KIND), ==, 2);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_NTH), ==, 3);
    g_assert_cmphex(ctl_read(&f, SVADEV_INJECT), ==, 3ULL << 32 | 2);
    ctl_write(&f, SVADEV_INJECT, 9ULL << 32 | 4);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_NTH), ==, 3);
    ctl_write(&f, SVADEV_INJECT, 0);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_NTH), ==, 0);
    qpci_io_writel(f.dev, f.ctl, SVADEV_INJECT, SVADEV_INJECT_IOTLB);
    qpci_io_writel(f.dev, f.ctl, SVADEV_INJECT + 4, 1);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_KIND), ==, 1);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_DROP_NTH), ==, 1);
    stop(&f);
}

static void test_late(void)
{
    Fix f;

    start_mock(&f, false, "");
    ctl_write(&f, SVADEV_LATE, 3000ULL << 32 | 0xabcd00 | SVADEV_LATE_SYNC);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_LATE_KIND), ==, 4);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_LATE_NS), ==, 3000);
    g_assert_cmphex(ctl_read(&f, SVADEV_LATE), ==, 3000ULL << 32 | 4);
    ctl_write(&f, SVADEV_LATE, 9ULL << 32 | 7);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_LATE_NS), ==, 3000);
    ctl_write(&f, SVADEV_LATE, 7ULL << 32);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_LATE_KIND), ==, 0);
    g_assert_cmpint(mock_get(&f, SVADEV_MOCK_LATE_NS), ==, 0);
    stop(&f);
}

/* What is not answered is not obeyed either; a reset is an end to it. */
static void test_mute(void)
{
    Fix f;

    start_mock(&f, false, "");
    map(&f, 1, VA, BUF, 3);
    q_enable(&f, 0, 1);
    assert_done(&f, 0, sum1);
    ctl_write(&f, SVADEV_MUTE, 2);
    g_assert_false(invalidate(&f, 1, VA, PAGE));
    g_assert_cmpint(ctl_read(&f, SVADEV_MUTE), ==, 1);
    g_assert_false(invalidate(&f, NO_PASID, 0, UINT64_MAX));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 1);
    g_assert_cmpint(ctl_read(&f, SVADEV_C_INV_RANGE), ==, 0);
    g_assert_true(invalidate(&f, 1, VA, PAGE));
    g_assert_cmpint(ctl_read(&f, SVADEV_C_ATC_USED), ==, 0);

    ctl_write(&f, SVADEV_MUTE, UINT64_MAX);
    g_assert_cmphex(ctl_read(&f, SVADEV_MUTE), ==, SVADEV_MUTE_ALL);
    for (int i = 0; i < 3; i++) {
        g_assert_false(invalidate(&f, 1, VA, PAGE));
    }
    g_assert_cmphex(ctl_read(&f, SVADEV_MUTE), ==, SVADEV_MUTE_ALL);
    ctl_write(&f, SVADEV_CTRL, SVADEV_CTRL_RESET);
    g_assert_cmphex(ctl_read(&f, SVADEV_MUTE), ==, 0);
    g_assert_true(invalidate(&f, 1, VA, PAGE));
    stop(&f);
}

static void fuzz_mock(Fix *f)
{
    uint32_t pasid = g_test_rand_bit() ? 1 : NO_PASID;

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        map(f, pasid, nasty(), BUF + (nasty() & 0xfff000),
            g_test_rand_int_range(0, 4));
        break;
    case 1:
        invalidate(f, pasid, nasty(), nasty());
        break;
    case 2:
        respond(f, pasid, nasty() & 0x1ff, nasty() & 15);
        break;
    case 3:
        respond_last(f, nasty() & 1);
        break;
    case 4:
        mock_set(f, SVADEV_MOCK_ANSWER, g_test_rand_int_range(0, 3));
        break;
    case 5:
        mock_set(f, SVADEV_MOCK_REFUSE, g_test_rand_int_range(0, 12) / 10);
        mock_set(f, SVADEV_MOCK_BIG, g_test_rand_bit());
        break;
    case 6:
        caps_on(f, g_test_rand_bit(), g_test_rand_int_range(0, 4));
        break;
    case 7:
        cfg_writew(f, CFG_PRI + PCI_PRI_CTRL, nasty() & 3);
        cfg_writew(f, CFG_ATS + PCI_ATS_CTRL, nasty());
        break;
    }
}

static void test_fuzz_mock(void)
{
    Fix f;

    start_mock(&f, true, ",atc-entries=5");
    fuzz(&f, 20000, fuzz_mock);
    /* no request is left behind: PRI's reset ends them all */
    cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, 0);
    cfg_writew(&f, CFG_PRI + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET);
    for (int q = 0; q < 8; q++) {
        g_assert_false(q_busy(&f, q));
    }
    g_assert_cmphex(pri_status(&f) & PCI_PRI_STATUS_STOPPED, ==,
                    PCI_PRI_STATUS_STOPPED);
    stop(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/svadev/plain/identity", test_identity);
    qtest_add_func("/svadev/plain/operations", test_operations);
    qtest_add_func("/svadev/plain/overlap", test_overlap);
    qtest_add_func("/svadev/plain/errors", test_errors);
    qtest_add_func("/svadev/plain/hold", test_hold);
    qtest_add_func("/svadev/plain/steps", test_steps);
    qtest_add_func("/svadev/plain/isolation", test_isolation);
    qtest_add_func("/svadev/plain/access-size", test_access_size);
    qtest_add_func("/svadev/plain/interrupt", test_interrupt);
    qtest_add_func("/svadev/plain/reset", test_reset);
    qtest_add_func("/svadev/plain/fuzz", test_fuzz);
    qtest_add_func("/svadev/mock/ats", test_ats);
    qtest_add_func("/svadev/mock/untagged", test_untagged_all);
    qtest_add_func("/svadev/mock/untagged-strict", test_untagged_strict);
    qtest_add_func("/svadev/mock/global", test_global_all);
    qtest_add_func("/svadev/mock/global-strict", test_global_strict);
    qtest_add_func("/svadev/mock/access", test_access);
    qtest_add_func("/svadev/mock/modes", test_modes);
    qtest_add_func("/svadev/mock/last-queue", test_last_queue);
    qtest_add_func("/svadev/mock/hold", test_hold_ats);
    qtest_add_func("/svadev/mock/pri", test_pri);
    qtest_add_func("/svadev/mock/pri-late", test_pri_late);
    qtest_add_func("/svadev/mock/pri-allocation", test_pri_allocation);
    qtest_add_func("/svadev/mock/inject", test_inject);
    qtest_add_func("/svadev/mock/late", test_late);
    qtest_add_func("/svadev/mock/mute", test_mute);
    qtest_add_func("/svadev/mock/fuzz", test_fuzz_mock);

    return g_test_run();
}
