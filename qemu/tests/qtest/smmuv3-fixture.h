/*
 * Fixture of the QTests of SMMUv3 with SubstreamIDs and ATS: two instances,
 * svadev A and B behind the first and C behind the second, and the test in the
 * place of the guest's kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SMMUV3_FIXTURE_H
#define SMMUV3_FIXTURE_H

#include "hw/misc/svadev_regs.h"
#include "hw/pci/pci_regs.h"
#include "libqtest.h"
#include "qemu/bitops.h"
#include "qemu/units.h"

#define A               0
#define B               1
#define C               2
#define DEVICES         3
#define SID(dev)        ((dev) == C ? 0x200 : 0x100 + (dev))
#define UNIT(dev)       ((dev) == C)
#define SID_OF_NOBODY   0x108

/* The machine */
#define RAM             0x40000000ULL
#define ECAM            0x3f000000ULL
#define PCI_MMIO        0x10000000ULL
#define PCI_WINDOW(port) (PCI_MMIO + 0x400000 * (port))
#define SMMU(unit)      (0x0c000000ULL + 0x20000 * (unit))
#define CFG_ATS_CTRL    0x106
#define ATS_ENABLE      0x8000
#define CFG_PASID_CTRL  0x116

/* Guest memory, of each unit */
#define MEM(unit)       (RAM + 32 * MiB + 16 * MiB * (unit))
#define CMDQ(unit)      MEM(unit)
#define EVTQ(unit)      (MEM(unit) + 0x10000)
#define STRTAB(unit)    (MEM(unit) + 0x20000)
#define MSI(unit)       (MEM(unit) + 0x40000)
/* ... of each function: a table of CDs, one of level 1, two leaves */
#define CDTAB(dev)      (MEM(UNIT(dev)) + 0x100000 + 0x80000 * (dev))
#define L1CDS(dev)      (CDTAB(dev) + 0x10000)
#define L2CDS(dev, n)   (CDTAB(dev) + 0x20000 + 0x10000 * (n))
/* ... of each address space: tables, and a page of its own at VA */
#define PT(space, lvl)  (RAM + 128 * MiB + 0x10000 * (space) + 0x1000 * (lvl))
#define PAGE(space)     (RAM + 160 * MiB + 0x1000 * (space))
#define SPACES          8
#define VA              0x10000ULL
#define VA2             0x11000ULL

/* Registers */
#define IDR0            0x0
#define IDR1            0x4
#define IDR3            0xc
#define IIDR            0x18
#define CR0             0x20
#define CR0_SMMUEN      0x1
#define CR0_EVENTQEN    0x4
#define CR0_CMDQEN      0x8
#define CR0_ATSCHK      0x10
#define CR2             0x2c
#define CR2_RECINVSID   0x2
#define GERROR          0x60
#define GERROR_EVTQ_ABT 0x4
#define GERRORN         0x64
#define STRTAB_BASE     0x80
#define STRTAB_BASE_CFG 0x88
#define CMDQ_BASE       0x90
#define CMDQ_PROD       0x98
#define CMDQ_CONS       0x9c
#define EVTQ_BASE       0xa0
#define EVTQ_PROD       0xa8
#define EVTQ_CONS       0xac
#define EVTQ_OVERFLOW   (1u << 31)
#define CMDQ_BITS       8

/* Structures */
#define STE_V           0x1ULL
#define STE_ABORT       (0ULL << 1)
#define STE_BYPASS      (4ULL << 1)
#define STE_S1          (5ULL << 1)
#define STE_S2          (6ULL << 1)
/* 39 bits of address in 4 KiB pages, from level 1 on; 40 bits come out */
#define STE_S2CFG(vmid) ((vmid) | (25ULL | 1 << 6 | 2 << 16 | 1 << 19 | \
                                   1 << 26) << 32)
#define STE_FMT(n)      ((uint64_t)(n) << 4)
#define STE_CDMAX(n)    ((uint64_t)(n) << 59)
#define STE_DSS(n)      ((uint64_t)(n))
#define DSS_TERMINATE   0
#define DSS_BYPASS      1
#define DSS_SSID0       2
#define STE_S1STALLD    (1ULL << 27)
#define STE_EATS        (1ULL << 28)
#define CD_V            (1ULL << 31)
#define CD_EPD0         (1ULL << 14)
#define CD_EPD1         (1ULL << 30)
#define CD_TG0_64K      (1ULL << 6)
#define CD_T0SZ(n)      ((uint64_t)(n))
#define CD_IPS40        (2ULL << 32)
#define CD_AA64         (1ULL << 41)
#define CD_HD           (1ULL << 42)
#define CD_HA           (1ULL << 43)
#define CD_S            (1ULL << 44)
#define CD_R            (1ULL << 45)
#define CD_A            (1ULL << 46)
#define CD_ASID(n)      ((uint64_t)(n) << 48)
#define PTE_TABLE       3ULL
#define PTE_USER        (1ULL << 6)
#define PTE_APTABLE_NO_USER (1ULL << 61)
#define PTE_APTABLE_RO  (2ULL << 61)
#define PTE_S2PAGE      (3ULL | 3ULL << 6)
#define PTE_PAGE        (3ULL | 1ULL << 6)
#define PTE_BLOCK       (1ULL | 1ULL << 6)
#define PTE_AF          (1ULL << 10)
#define PTE_RO          (1ULL << 7)
#define PTE_DBM         (1ULL << 51)
#define PTE_CONT        (1ULL << 52)

/* Commands */
#define CFGI_STE        0x03
#define CFGI_STE_RANGE  0x04
#define CFGI_CD         0x05
#define CFGI_CD_ALL     0x06
#define TLBI_NH_ALL     0x10
#define TLBI_NH_ASID    0x11
#define TLBI_NH_VA      0x12
#define TLBI_NH_VAA     0x13
#define TLBI_S12_VMALL  0x28
#define TLBI_S2_IPA     0x2a
#define TLBI_NSNH_ALL   0x30
#define ATC_INV         0x40
#define CMD_RESUME      0x44
#define CMD_STALL_TERM  0x45
#define CMD_SYNC        0x46
#define CMD_G           (1ULL << 9)
#define CMD_SSEC        (1ULL << 10)
#define CMD_SSV         (1ULL << 11)
#define SYNC_IRQ        (1ULL << 12)
#define RESUME_RETRY    (1ULL << 12)
#define RESUME_ABORT    (1ULL << 13)
#define CERROR_ILL      1
#define CERROR_ABT      2
#define CERROR_ATC      3

/* Events */
#define EVT_BAD_SID     0x02
#define EVT_BAD_STE     0x04
#define EVT_BAD_TREQ    0x05
#define EVT_DISABLED    0x06
#define EVT_FORBIDDEN   0x07
#define EVT_BAD_SSID    0x08
#define EVT_BAD_CD      0x0a
#define EVT_TRANSLATION 0x10
#define EVT_ADDR_SIZE   0x11
#define EVT_ACCESS      0x12
#define EVT_PERMISSION  0x13

#define TIMEOUT_NS      5000000
#define LATE_NS         1000
#define UNIT_SVA        "x-ssidsize=16,x-ats=on,x-inv-timeout-us=5000"

#define QUEUES          8
#define Q(q, reg)       ((q) * SVADEV_QPAGE_SIZE + (reg))

typedef struct Fix {
    QTestState *qts;
    uint64_t ctl[DEVICES];
    uint64_t pages[DEVICES];
    uint32_t tail[2];           /* of the queues, with the wrap bit */
    uint32_t events[2];         /* read so far */
    uint32_t pasid[DEVICES][QUEUES];    /* plus 1, of the queues in use */
    unsigned next[DEVICES];             /* queue that is to be given up next */
} Fix;

/* --- machine --- */

static inline uint64_t cfg(int dev, unsigned reg)
{
    return ECAM + ((uint64_t)SID(dev) << 12) + reg;
}

static inline uint32_t smmu_read(Fix *f, int unit, unsigned reg)
{
    return qtest_readl(f->qts, SMMU(unit) + reg);
}

static inline void smmu_write(Fix *f, int unit, unsigned reg, uint32_t val)
{
    qtest_writel(f->qts, SMMU(unit) + reg, val);
}

static inline void smmu_writeq(Fix *f, int unit, unsigned reg, uint64_t val)
{
    qtest_writeq(f->qts, SMMU(unit) + reg, val);
}

static inline uint64_t dev_read(Fix *f, int dev, unsigned reg)
{
    return qtest_readq(f->qts, f->ctl[dev] + reg);
}

static inline void dev_write(Fix *f, int dev, unsigned reg, uint64_t val)
{
    qtest_writeq(f->qts, f->ctl[dev] + reg, val);
}

static inline uint64_t q_read(Fix *f, int dev, unsigned reg)
{
    return qtest_readq(f->qts, f->pages[dev] + reg);
}

static inline void q_write(Fix *f, int dev, unsigned reg, uint64_t val)
{
    qtest_writeq(f->qts, f->pages[dev] + reg, val);
}

static inline void set_ats(Fix *f, int dev, bool on)
{
    qtest_writew(f->qts, cfg(dev, CFG_ATS_CTRL), on ? ATS_ENABLE : 0);
}

static inline void start_bridge(Fix *f, int port)
{
    uint64_t bridge = ECAM + ((port + 1) << 15);
    uint32_t first = PCI_WINDOW(port) >> 16;
    uint32_t last = (PCI_WINDOW(port + 1) - 1) >> 16 & 0xfff0;

    qtest_writel(f->qts, bridge + PCI_PRIMARY_BUS,
                 (port + 1) << 8 | (port + 1) << 16);
    qtest_writel(f->qts, bridge + PCI_MEMORY_BASE, last << 16 | first);
    qtest_writew(f->qts, bridge + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline void start_device(Fix *f, int dev)
{
    uint64_t window = PCI_WINDOW(UNIT(dev)) + 0x200000 * (dev == B);

    g_assert_cmphex(qtest_readl(f->qts, cfg(dev, PCI_VENDOR_ID)), ==,
                    SVADEV_DEVICE_ID << 16 | SVADEV_VENDOR_ID);
    f->ctl[dev] = window;
    f->pages[dev] = window + 0x100000;
    qtest_writel(f->qts, cfg(dev, PCI_BASE_ADDRESS_0), window);
    qtest_writel(f->qts, cfg(dev, PCI_BASE_ADDRESS_2), window + 0x100000);
    qtest_writel(f->qts, cfg(dev, PCI_BASE_ADDRESS_4), window + 0x10000);
    qtest_writew(f->qts, cfg(dev, PCI_COMMAND),
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    qtest_writew(f->qts, cfg(dev, CFG_PASID_CTRL), PCI_PASID_CTRL_ENABLE);
    g_assert_cmphex(dev_read(f, dev, SVADEV_ID), ==, SVADEV_ID_MAGIC);
}

static inline void start_queues(Fix *f, int unit, uint32_t cr0)
{
    smmu_writeq(f, unit, CMDQ_BASE, CMDQ(unit) | CMDQ_BITS);
    smmu_writeq(f, unit, EVTQ_BASE, EVTQ(unit) | CMDQ_BITS);
    smmu_writeq(f, unit, STRTAB_BASE, STRTAB(unit));
    smmu_write(f, unit, STRTAB_BASE_CFG, 10);
    smmu_write(f, unit, CR0, CR0_CMDQEN | CR0_EVENTQEN | cr0);
}

static inline void start_functions(Fix *f)
{
    for (int port = 0; port < 2; port++) {
        start_bridge(f, port);
    }
    for (int dev = A; dev <= C; dev++) {
        start_device(f, dev);
    }
}

/* @unit: properties of both instances, and more of the first */
static inline void start_machine(Fix *f, const char *unit, const char *first)
{
    memset(f, 0, sizeof(*f));
    f->qts = qtest_initf(
        "-M virt,gic-version=3,highmem-ecam=off -nodefaults -m 256M "
        "-device pcie-root-port,id=rp0,chassis=1,addr=1 "
        "-device pcie-root-port,id=rp1,chassis=2,addr=2 "
        "-device arm-smmuv3,primary-bus=rp0,%s%s "
        "-device arm-smmuv3,primary-bus=rp1,%s "
        "-device svadev,bus=rp0,addr=0.0,multifunction=on "
        "-device svadev,bus=rp0,addr=0.1 -device svadev,bus=rp1",
        unit, first, unit);
    start_functions(f);
}

static inline void stop(Fix *f)
{
    for (int dev = A; dev <= C; dev++) {
        g_assert_cmphex(dev_read(f, dev, SVADEV_ID), ==, SVADEV_ID_MAGIC);
    }
    qtest_quit(f->qts);
}

/* --- the machine's device tree --- */

static inline uint8_t *read_device_tree(QTestState *qts)
{
    const size_t size = 1 * MiB;
    uint8_t *dtb = g_malloc(size);

    qtest_memread(qts, RAM, dtb, size);
    g_assert_cmphex((uint32_t)ldl_be_p(dtb), ==, 0xd00dfeed);
    return dtb;
}

/* A name that ends with '@' is that of any unit address. */
static inline bool dt_is_named(const uint8_t *node, const char *name)
{
    return g_str_has_suffix(name, "@") ?
        g_str_has_prefix((const char *)node, name) :
        !strcmp((const char *)node, name);
}

/* Words of @prop of the node at @path, "a/b/c" from the root; -1: none */
static inline int dt_words(const uint8_t *dtb, const char *path,
                           const char *prop, uint32_t *words, int max)
{
    const uint8_t *at = dtb + ldl_be_p(dtb + 8);
    const char *strings = (const char *)dtb + ldl_be_p(dtb + 12);
    g_auto(GStrv) want = g_strsplit(path, "/", -1);
    int wanted = g_strv_length(want), depth = 0, met = 0;

    for (;;) {
        uint32_t token = ldl_be_p(at), len;

        at += 4;
        switch (token) {
        case 1:         /* a node begins; the root is at depth 1 */
            if (++depth == met + 2 && met < wanted &&
                dt_is_named(at, want[met])) {
                met++;
            }
            at += ROUND_UP(strlen((const char *)at) + 1, 4);
            break;
        case 2:         /* a node ends */
            if (depth-- == met + 1 && met) {
                met--;
            }
            break;
        case 3:         /* a property */
            len = ldl_be_p(at);
            if (met == wanted && depth == met + 1 &&
                !strcmp(strings + ldl_be_p(at + 4), prop)) {
                for (int i = 0; i < MIN(len / 4, max); i++) {
                    words[i] = ldl_be_p(at + 8 + 4 * i);
                }
                return len / 4;
            }
            at += 8 + ROUND_UP(len, 4);
            break;
        default:
            return -1;
        }
    }
}

/* --- structures --- */

static inline uint64_t ste_addr(int dev)
{
    return STRTAB(UNIT(dev)) + SID(dev) * 64;
}

/* @w0: Config, S1Fmt, S1CDMax; @w1: S1DSS, EATS */
static inline void set_ste(Fix *f, int dev, uint64_t w0, uint64_t w1)
{
    uint64_t ptr = (w0 & STE_FMT(3)) ? L1CDS(dev) : CDTAB(dev);

    qtest_writeq(f->qts, ste_addr(dev) + 8, w1);
    qtest_writeq(f->qts, ste_addr(dev), w0 ? w0 | ptr | STE_V : 0);
}

static inline uint64_t cd_of(uint16_t asid)
{
    return CD_V | CD_T0SZ(25) | CD_EPD1 | CD_IPS40 | CD_AA64 | CD_R | CD_A |
           CD_ASID(asid);
}

static inline void write_cd(Fix *f, uint64_t addr, uint64_t w0, int space)
{
    qtest_writeq(f->qts, addr + 8, PT(space, 1));
    qtest_writeq(f->qts, addr, w0);
}

/* A linear table's CD: address space @space, whose ASID is its number */
static inline void set_cd(Fix *f, int dev, uint32_t ssid, int space)
{
    write_cd(f, CDTAB(dev) + ssid * 64, space ? cd_of(space) : 0, space);
}

static inline uint64_t pte_addr(int space, uint64_t va)
{
    return PT(space, 3) + (va >> 12) * 8;
}

static inline void set_pte(Fix *f, int space, uint64_t va, uint64_t pte)
{
    qtest_writeq(f->qts, pte_addr(space, va), pte);
}

static inline void set_space(Fix *f, int space)
{
    qtest_writeq(f->qts, PT(space, 1), PT(space, 2) | PTE_TABLE);
    qtest_writeq(f->qts, PT(space, 2), PT(space, 3) | PTE_TABLE);
    set_pte(f, space, VA, PAGE(space) | PTE_PAGE | PTE_AF);
    qtest_memset(f->qts, PAGE(space), space, 8);
}

/*
 * Linear tables of 64 CDs: PASIDs 1 and 2 of A have address spaces 1 and 2,
 * PASID 1 of B and C has 3 and 4, and requests without PASID pass.
 */
static inline void set_structures(Fix *f)
{
    for (int space = 1; space < SPACES; space++) {
        set_space(f, space);
    }
    for (int dev = A; dev <= C; dev++) {
        set_ste(f, dev, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_BYPASS) | STE_EATS);
        set_cd(f, dev, 1, dev == A ? 1 : dev == B ? 3 : 4);
    }
    set_cd(f, A, 2, 2);
}

static inline void start_with(Fix *f, const char *unit, const char *first)
{
    start_machine(f, unit, first);
    set_structures(f);
    for (int unit_nr = 0; unit_nr < 2; unit_nr++) {
        start_queues(f, unit_nr, CR0_SMMUEN | CR0_ATSCHK);
    }
}

static inline void start(Fix *f)
{
    start_with(f, UNIT_SVA, "");
}

/* --- commands: put() fills the queue, go() tells the unit --- */

static inline uint64_t slot_addr(int unit, uint32_t slot)
{
    return CMDQ(unit) + 16 * (slot & MAKE_64BIT_MASK(0, CMDQ_BITS));
}

static inline void put(Fix *f, int unit, uint64_t lo, uint64_t hi)
{
    uint64_t cmd[2] = { cpu_to_le64(lo), cpu_to_le64(hi) };

    qtest_memwrite(f->qts, slot_addr(unit, f->tail[unit]), cmd, sizeof(cmd));
    f->tail[unit] = (f->tail[unit] + 1) & MAKE_64BIT_MASK(0, CMDQ_BITS + 1);
}

static inline void go(Fix *f, int unit)
{
    smmu_write(f, unit, CMDQ_PROD, f->tail[unit]);
}

static inline uint32_t cons(Fix *f, int unit)
{
    return smmu_read(f, unit, CMDQ_CONS) & MAKE_64BIT_MASK(0, CMDQ_BITS + 1);
}

static inline uint32_t cerror(Fix *f, int unit)
{
    return smmu_read(f, unit, CMDQ_CONS) >> 24;
}

static inline bool in_error(Fix *f, int unit)
{
    return (smmu_read(f, unit, GERROR) ^ smmu_read(f, unit, GERRORN)) & 1;
}

static inline void acknowledge(Fix *f, int unit)
{
    smmu_write(f, unit, GERRORN, smmu_read(f, unit, GERROR));
}

static inline bool done(Fix *f, int unit)
{
    return cons(f, unit) == f->tail[unit];
}

static inline void run(Fix *f, int unit, uint64_t lo, uint64_t hi)
{
    put(f, unit, lo, hi);
    put(f, unit, CMD_SYNC, 0);
    go(f, unit);
    g_assert_true(done(f, unit));
}

static inline uint64_t cfgi_cd(int dev, uint32_t ssid)
{
    return CFGI_CD | (uint64_t)ssid << 12 | (uint64_t)SID(dev) << 32;
}

static inline uint64_t cfgi_ste(int dev)
{
    return CFGI_STE | (uint64_t)SID(dev) << 32;
}

static inline uint64_t tlbi_asid(uint16_t asid)
{
    return TLBI_NH_ASID | (uint64_t)asid << 48;
}

static inline uint64_t tlbi_va(uint16_t asid)
{
    return TLBI_NH_VA | (uint64_t)asid << 48;
}

/* Of @num * 2^@scale pages */
static inline uint64_t tlbi_range(uint16_t asid, unsigned num, unsigned scale)
{
    return tlbi_va(asid) | (uint64_t)(num - 1) << 12 | (uint64_t)scale << 20;
}

#define TG_4K           (1ULL << 10)
#define TG_16K          (2ULL << 10)
#define TG_64K          (3ULL << 10)
#define TTL(level)      ((uint64_t)(level) << 8)
#define LEAF            1ULL

static inline uint64_t atc_inv(uint16_t sid, uint32_t pasid)
{
    return ATC_INV | CMD_SSV | (uint64_t)pasid << 12 | (uint64_t)sid << 32;
}

/* Everything, so that a test starts from memory alone */
static inline void forget(Fix *f, int unit)
{
    put(f, unit, CFGI_STE_RANGE, 31);
    run(f, unit, TLBI_NSNH_ALL, 0);
}

/* Again as at the start, with the first unit's caches empty */
static inline void renew(Fix *f)
{
    for (int dev = A; dev <= B; dev++) {
        set_ats(f, dev, false);
    }
    for (int space = 1; space < SPACES; space++) {
        qtest_memset(f->qts, PT(space, 3), 0, 0x1000);
    }
    set_structures(f);
    forget(f, 0);
    f->events[0] = smmu_read(f, 0, EVTQ_PROD);
    smmu_write(f, 0, EVTQ_CONS, f->events[0]);
}

/* The next event, as it is in memory; all 0 if there is none */
static inline void next_event(Fix *f, int unit, uint32_t words[8])
{
    uint32_t slot = f->events[unit];
    uint64_t addr = EVTQ(unit) +
                    32 * (slot & MAKE_64BIT_MASK(0, CMDQ_BITS));

    memset(words, 0, 8 * sizeof(*words));
    if (smmu_read(f, unit, EVTQ_PROD) != slot) {
        for (int i = 0; i < 8; i++) {
            words[i] = qtest_readl(f->qts, addr + 4 * i);
        }
        f->events[unit] = (slot + 1) & MAKE_64BIT_MASK(0, CMDQ_BITS + 1);
        smmu_write(f, unit, EVTQ_CONS, f->events[unit]);
    }
}

/* The next event: its type; -1 if there is none. @ssid: its PASID, or -1 */
static inline int event(Fix *f, int unit, int *ssid)
{
    uint32_t words[8];

    next_event(f, unit, words);
    switch (words[0] & 0xff) {
    case 0:
        return -1;
    case EVT_DISABLED:                  /* has none */
        g_assert_cmphex(words[0], ==, EVT_DISABLED);
        break;
    case EVT_BAD_SSID:                  /* has always one, and no SSV */
        g_assert_cmphex(words[0] & 0xf00, ==, 0);
        words[0] |= CMD_SSV;
        break;
    }
    if (ssid) {
        *ssid = words[0] & CMD_SSV ? words[0] >> 12 : -1;
    }
    return words[0] & 0xff;
}

#define EVENT_WRITE     0
#define EVENT_READ      (1 << 3)
#define EVENT_S2        (1 << 7)
#define CLASS_CD        (0 << 8)
#define CLASS_TT        (1 << 8)
#define CLASS_IN        (2 << 8)

/* The next one is a fault, all of it. @addr2: the IPA, where it has one */
static inline void expect_fault(Fix *f, int dev, int type, int pasid,
                                uint32_t flags, uint64_t addr, uint64_t addr2)
{
    uint32_t words[8];

    next_event(f, UNIT(dev), words);
    g_assert_cmphex(words[0], ==,
                    type | (pasid < 0 ? 0 : CMD_SSV | pasid << 12));
    g_assert_cmphex(words[1], ==, SID(dev));
    g_assert_cmphex(words[2], ==, 0);
    g_assert_cmphex(words[3], ==, flags);
    g_assert_cmphex(words[4] | (uint64_t)words[5] << 32, ==, addr);
    g_assert_cmphex(words[6] | (uint64_t)words[7] << 32, ==, addr2);
}

/* --- operations --- */

/* A queue of @pasid; as long as it is on, the ATC keeps what it has of it. */
static inline unsigned use_queue(Fix *f, int dev, uint32_t pasid)
{
    unsigned q;

    for (q = 0; q < QUEUES; q++) {
        if (f->pasid[dev][q] == pasid + 1) {
            return q;
        }
    }
    q = f->next[dev]++ % QUEUES;
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_PASID, pasid);
    dev_write(f, dev, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 1);
    f->pasid[dev][q] = pasid + 1;
    return q;
}

static inline void submit(Fix *f, int dev, unsigned q, unsigned op,
                          uint64_t addr)
{
    q_write(f, dev, Q(q, SVADEV_Q_OP), op);
    q_write(f, dev, Q(q, SVADEV_Q_FLAGS), 0);
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

/* One operation of @pasid; its error */
static inline uint64_t try_op(Fix *f, int dev, uint32_t pasid, unsigned op,
                              uint64_t addr)
{
    unsigned q = use_queue(f, dev, pasid);

    submit(f, dev, q, op, addr);
    settle(f, dev, q);
    return q_read(f, dev, Q(q, SVADEV_Q_ERROR));
}

/*
 * What PASID @pasid of @dev reads at @addr: the number of an address space,
 * whose page has it in each byte; -1 is an error.
 */
static inline int space_at(Fix *f, int dev, uint32_t pasid, uint64_t addr)
{
    if (try_op(f, dev, pasid, SVADEV_OP_SUM, addr)) {
        return -1;
    }
    return q_read(f, dev, Q(use_queue(f, dev, pasid), SVADEV_Q_RESULT)) / 8;
}

static inline int space_of(Fix *f, int dev, uint32_t pasid)
{
    return space_at(f, dev, pasid, VA);
}

/* Translations that VERIFY finds stale, of all PASIDs */
static inline uint64_t stale(Fix *f, int dev)
{
    dev_write(f, dev, SVADEV_VERIFY, SVADEV_PASID_ALL);
    return dev_read(f, dev, SVADEV_VERIFY_STALE);
}

static inline void be_late(Fix *f, int dev, unsigned kind)
{
    dev_write(f, dev, SVADEV_LATE, kind | (uint64_t)LATE_NS << 32);
}

static inline void lose_next(Fix *f, int dev, unsigned kind)
{
    dev_write(f, dev, SVADEV_INJECT, kind | 1ULL << 32);
}

#endif
