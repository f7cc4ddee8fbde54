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
#include "hw/pci/pci_regs.h"
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
#define CFG_PASID_CTRL  0x116
#define CFG_PRI_CTRL    0x124
#define CFG_PRI_ALLOC   0x12c

/* Guest memory: the queue, and what wait descriptors write */
#define QUEUE           (16 * MiB)
#define STATUS          (17 * MiB)

/* Guest memory: tables, the page request queue, a page of each PASID */
#define ROOT            (18 * MiB)
#define CONTEXT         (ROOT + 0x1000)
#define PASID_DIR       (ROOT + 0x2000)
#define PASID_TABLE     (ROOT + 0x3000)
#define IRTES           (ROOT + 0x4000)
#define PAGING(pasid, level) \
    (ROOT + 0x10000 * (pasid) + 0x1000 * (level))
#define PRQ             (19 * MiB)
#define PAGE(pasid)     (20 * MiB + 0x1000 * (pasid))
#define VA              0x10000ULL      /* of PAGE, in the PASID's tables */
#define PASIDS          2               /* 1 and 2 have tables */

#define UNIT            "x-scalable-mode=on,device-iotlb=on"
#define UNIT_SVM        UNIT ",x-flts=on,x-pasid-mode=on,x-svm=on"
#define TIMEOUT_NS      5000000
#define TIMEOUT         ",x-inv-timeout-us=5000"
#define LATE_NS         1000

#define Q(q, reg)       ((q) * SVADEV_QPAGE_SIZE + (reg))

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

/* @sid is that of a device-selective command. */
static inline void put_context(Fix *f, uint64_t granularity, uint16_t did,
                               uint16_t sid)
{
    put(f, VTD_INV_DESC_CC | granularity | did << 16 | (uint64_t)sid << 32, 0);
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

static inline uint64_t reg_addr(unsigned reg)
{
    return Q35_HOST_BRIDGE_IOMMU_ADDR + reg;
}

static inline void set_gcmd(Fix *f, uint32_t val)
{
    qtest_writel(f->qts, reg_addr(DMAR_GCMD_REG), val);
}

/* @reg: Q(queue, register) */
static inline uint64_t q_read(Fix *f, int dev, unsigned reg)
{
    return qpci_io_readq(f->dev[dev], f->pages[dev], reg);
}

static inline void q_write(Fix *f, int dev, unsigned reg, uint64_t val)
{
    qpci_io_writeq(f->dev[dev], f->pages[dev], reg, val);
}

/* --- the function: PASIDs, page requests, operations --- */

static inline void config_write(Fix *f, int dev, unsigned reg, uint32_t val)
{
    qtest_writel(f->qts, ECAM + (SID(dev) << 12) + reg, val);
}

static inline void enable_pasid(Fix *f, int dev)
{
    qtest_writew(f->qts, ECAM + (SID(dev) << 12) + CFG_PASID_CTRL,
                 PCI_PASID_CTRL_ENABLE);
}

static inline void enable_pri(Fix *f, int dev)
{
    config_write(f, dev, CFG_PRI_ALLOC, 8);
    config_write(f, dev, CFG_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
}

static inline void use_queue(Fix *f, int dev, unsigned q, uint32_t pasid)
{
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_PASID, pasid);
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 1);
}

/* An operation on the eight bytes at @addr */
static inline void submit(Fix *f, int dev, unsigned q, unsigned op,
                          unsigned flags, uint64_t addr)
{
    q_write(f, dev, Q(q, SVADEV_Q_OP), op);
    q_write(f, dev, Q(q, SVADEV_Q_FLAGS), flags);
    q_write(f, dev, Q(q, SVADEV_Q_SRC), addr);
    q_write(f, dev, Q(q, SVADEV_Q_DST), addr);
    q_write(f, dev, Q(q, SVADEV_Q_LEN), 8);
    q_write(f, dev, Q(q, SVADEV_Q_DOORBELL), 1);
}

/* Operations run in a bottom half. */
static inline uint64_t settle(Fix *f, int dev, unsigned q)
{
    uint64_t state = SVADEV_STATE_RUN;

    for (int i = 0; i < 1000 && state == SVADEV_STATE_RUN; i++) {
        state = q_read(f, dev, Q(q, SVADEV_Q_STATE));
    }
    return state;
}

/* The same with queue 0, turned on anew for @pasid */
static inline void start_op(Fix *f, int dev, uint32_t pasid, unsigned op,
                            unsigned flags, uint64_t addr)
{
    use_queue(f, dev, 0, pasid);
    submit(f, dev, 0, op, flags, addr);
}

static inline uint64_t wait_op(Fix *f, int dev)
{
    return settle(f, dev, 0);
}

static inline uint64_t sum(Fix *f, uint32_t pasid, uint64_t addr)
{
    start_op(f, A, pasid, SVADEV_OP_SUM, 0, addr);
    g_assert_cmpint(wait_op(f, A), ==, SVADEV_STATE_DONE);
    return q_read(f, A, SVADEV_Q_RESULT);
}

/* --- the tables: requests without PASID pass, PASIDs 1 and 2 have VA --- */

#define CONTEXT_FLAGS \
    (VTD_CONTEXT_ENTRY_P | VTD_SM_CONTEXT_ENTRY_DTE | \
     VTD_SM_CONTEXT_ENTRY_PASIDE | VTD_SM_CONTEXT_ENTRY_PRE)

static inline void write_context(Fix *f, int dev, uint64_t flags)
{
    qtest_writeq(f->qts, CONTEXT + SID(dev) * VTD_CTX_ENTRY_SCALABLE_SIZE,
                 PASID_DIR | flags);
}

static inline uint64_t pte_addr(uint32_t pasid)
{
    return PAGING(pasid, VTD_PT_LEVEL) + (VA >> 12) * 8;
}

static inline void write_pasid(Fix *f, uint32_t pasid)
{
    const uint64_t flags = VTD_FL_P | VTD_FL_RW | VTD_FL_US;
    uint64_t entry = PASID_TABLE + pasid * VTD_PASID_ENTRY_SIZE;

    qtest_writeq(f->qts, entry + 8, 1);
    qtest_writeq(f->qts, entry + 16, PAGING(pasid, VTD_PML4_LEVEL));
    qtest_writeq(f->qts, entry, VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_FLT);
    for (int level = VTD_PML4_LEVEL; level > VTD_PT_LEVEL; level--) {
        qtest_writeq(f->qts, PAGING(pasid, level),
                     PAGING(pasid, level - 1) | flags);
    }
    qtest_writeq(f->qts, pte_addr(pasid), PAGE(pasid) | flags);
    qtest_memset(f->qts, PAGE(pasid), pasid, 8);
}

static inline void translate(Fix *f)
{
    qtest_memset(f->qts, ROOT, 0, PRQ - ROOT);
    qtest_writeq(f->qts, ROOT, CONTEXT | VTD_ROOT_ENTRY_P);
    qtest_writeq(f->qts, PASID_DIR, PASID_TABLE | VTD_PASID_ENTRY_P);
    qtest_writeq(f->qts, PASID_TABLE + 8, 1);
    qtest_writeq(f->qts, PASID_TABLE,
                 VTD_PASID_ENTRY_P | VTD_SM_PASID_ENTRY_PT);
    for (int dev = A; dev <= B; dev++) {
        write_context(f, dev, CONTEXT_FLAGS);
        enable_pasid(f, dev);
        enable_pri(f, dev);
    }
    for (int pasid = 1; pasid <= PASIDS; pasid++) {
        write_pasid(f, pasid);
    }
    unit_writeq(f, DMAR_RTADDR_REG, ROOT | VTD_RTADDR_SMT);
    unit_writeq(f, DMAR_PQA_REG, PRQ);
    set_gcmd(f, VTD_GCMD_QIE | VTD_GCMD_SRTP);
    set_gcmd(f, VTD_GCMD_QIE | VTD_GCMD_TE);
}

#endif
