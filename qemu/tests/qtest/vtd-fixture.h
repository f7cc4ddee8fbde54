/*
 * Fixture of the QTests of VT-d with x-svm: two svadev, A and B, behind one
 * unit, and the test in the place of the guest's kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VTD_FIXTURE_H
#define VTD_FIXTURE_H

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

/* Guest memory: the queue, and what wait descriptors write */
#define QUEUE           (16 * MiB)
#define STATUS          (17 * MiB)

#define UNIT            "x-scalable-mode=on,device-iotlb=on"
#define UNIT_SVM        UNIT ",x-flts=on,x-pasid-mode=on,x-svm=on"
#define TIMEOUT_NS      5000000
#define TIMEOUT         ",x-inv-timeout-us=5000"
#define LATE_NS         1000

typedef struct Fix {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *dev[2];
    QPCIBar ctl[2];
    QPCIBar pages[2];
    unsigned len, tail;         /* of the queue, in descriptors */
    char *bios;
} Fix;

/* q35 does not start without a BIOS, which no vCPU will ever run. */
static inline char *make_bios(void)
{
    g_autofree char *zeroes = g_malloc0(64 * KiB);
    char *name;
    int fd = g_file_open_tmp("vtd-bios-XXXXXX", &name, NULL);

    g_assert(fd >= 0);
    g_assert(write(fd, zeroes, 64 * KiB) == 64 * KiB);
    close(fd);
    return name;
}

static inline uint64_t unit_read(Fix *f, unsigned reg)
{
    return qtest_readq(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + reg);
}

static inline void unit_writeq(Fix *f, unsigned reg, uint64_t val)
{
    qtest_writeq(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + reg, val);
}

static inline uint32_t fsts(Fix *f)
{
    return qtest_readl(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_FSTS_REG);
}

static inline void clear_fsts(Fix *f, uint32_t bits)
{
    qtest_writel(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_FSTS_REG, bits);
}

static inline unsigned head(Fix *f)
{
    return unit_read(f, DMAR_IQH_REG) >> VTD_IQH_QH_SHIFT_5;
}

static inline uint64_t dev_read(Fix *f, int dev, unsigned reg)
{
    return qpci_io_readq(f->dev[dev], f->ctl[dev], reg);
}

static inline void dev_write(Fix *f, int dev, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->dev[dev], f->ctl[dev], reg, val);
}

static inline void set_ats(Fix *f, int dev, bool on)
{
    qtest_writew(f->qts, ECAM + (SID(dev) << 12) + CFG_ATS_CTRL,
                 on ? ATS_ENABLE : 0);
}

static inline void set_queue(Fix *f, bool on)
{
    f->tail = 0;
    qtest_writel(f->qts, Q35_HOST_BRIDGE_IOMMU_ADDR + DMAR_GCMD_REG,
                 on ? VTD_GCMD_QIE : 0);
    g_assert_cmpint(!!(unit_read(f, DMAR_GCMD_REG) >> 32 & VTD_GSTS_QIES), ==,
                    on);
}

/* A queue of 2^@order pages */
static inline void start_queue(Fix *f, unsigned order)
{
    f->len = 128 << order;
    unit_writeq(f, DMAR_IQA_REG, QUEUE | VTD_IQA_DW_MASK | order);
    unit_writeq(f, DMAR_IQT_REG, 0);
    set_queue(f, true);
}

static inline void map_devices(Fix *f)
{
    for (int i = A; i <= B; i++) {
        f->ctl[i] = qpci_iomap(f->dev[i], SVADEV_BAR_CONTROL, NULL);
        f->pages[i] = qpci_iomap(f->dev[i], SVADEV_BAR_QUEUES, NULL);
        qpci_device_enable(f->dev[i]);
        set_ats(f, i, true);
    }
}

/* @unit: properties of the unit */
static inline void start_with(Fix *f, const char *unit)
{
    QPCIDevice *mch;

    f->bios = make_bios();
    f->qts = qtest_initf("-M q35 -nodefaults -bios %s -device intel-iommu,%s "
                         "-device svadev,addr=%d -device svadev,addr=%d",
                         f->bios, unit, SLOT(A), SLOT(B));
    f->bus = qpci_new_pc(f->qts, NULL);
    mch = qpci_device_find(f->bus, QPCI_DEVFN(0, 0));
    qpci_config_writel(mch, 0x60, ECAM | 1);
    g_free(mch);
    for (int i = A; i <= B; i++) {
        f->dev[i] = qpci_device_find(f->bus, QPCI_DEVFN(SLOT(i), 0));
        g_assert(f->dev[i]);
    }
    map_devices(f);
    start_queue(f, 0);
}

static inline void start(Fix *f)
{
    start_with(f, UNIT_SVM TIMEOUT);
}

static inline void stop(Fix *f)
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

static inline void put(Fix *f, uint64_t lo, uint64_t hi)
{
    uint64_t desc[4] = { cpu_to_le64(lo), cpu_to_le64(hi) };

    qtest_memwrite(f->qts, QUEUE + f->tail * sizeof(desc), desc, sizeof(desc));
    f->tail = (f->tail + 1) % f->len;
}

static inline void put_atc(Fix *f, uint16_t sid)
{
    put(f, VTD_INV_DESC_DEV_PIOTLB | sid << 16 | 1ULL << 32, 0x10000);
}

static inline void put_iotlb(Fix *f)
{
    put(f, VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_ALL_IN_PASID |
           1ULL << 32, 0);
}

static inline void put_config(Fix *f)
{
    put(f, VTD_INV_DESC_PC | VTD_INV_DESC_PC_GLOBAL, 0);
}

/* Slot @n of STATUS becomes 1 when the wait is over. */
static inline void put_wait(Fix *f, unsigned n, uint64_t flags)
{
    qtest_writel(f->qts, STATUS + 4 * n, 0);
    put(f, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW | flags | 1ULL << 32,
        STATUS + 4 * n);
}

static inline bool over(Fix *f, unsigned n)
{
    return qtest_readl(f->qts, STATUS + 4 * n);
}

static inline void go(Fix *f)
{
    unit_writeq(f, DMAR_IQT_REG, f->tail << VTD_IQH_QH_SHIFT_5);
}

static inline void be_late(Fix *f, unsigned kind)
{
    dev_write(f, A, SVADEV_LATE, kind | (uint64_t)LATE_NS << 32);
}

static inline uint64_t obeyed(Fix *f, int dev)
{
    return dev_read(f, dev, SVADEV_C_INV_RANGE);
}

static inline void assert_timed_out(Fix *f, uint16_t sid)
{
    g_assert_cmphex(fsts(f) & VTD_FSTS_ITE, ==, VTD_FSTS_ITE);
    g_assert_cmphex(unit_read(f, DMAR_IQER_REG), ==, VTD_IQER_ITESID(sid));
}

#endif
