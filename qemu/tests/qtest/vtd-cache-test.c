/*
 * QTest of VT-d's caches: an invalidation drops what it names, and nothing
 * else
 *
 * What is cached is found out entry by entry: one bit of what an entry was
 * made from is changed in memory, and VERIFY then finds one stale entry or
 * none. So a test sees the whole content of all caches after each command.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vtd-fixture.h"

/* A has PASIDs 1 and 2 in domain 1 and PASID 3 in domain 2; B has 1 in 2. */
#define B_DIR           (ROOT + 0x5000)
#define B_TABLE         (ROOT + 0x6000)
#define B_PAGING        4               /* PAGING() of B's PASID 1 */

/* Pages of A's PASID 1: a row, and one each of other tables */
#define ROW             20
#define VA_PT           (2 * MiB)       /* in the next page table */
#define VA_LARGE        (4 * MiB)       /* 2 MiB in one piece */
#define VA_PD           (1 * GiB)       /* in the next page directory */
#define IN_LARGE        (VA_LARGE + 5 * PAGE_4K)
#define PAGE_4K         0x1000ULL
#define SHARED          8               /* the page that all PASIDs have */
#define DATA            (32 * MiB)
#define LARGE           (34 * MiB)

#define BIT_PAGE(n)     BIT_ULL(n)
#define ROW_BITS        MAKE_64BIT_MASK(0, ROW)
#define BITS(first, n)  MAKE_64BIT_MASK(first, n)

/* What can be cached, by its bit */
enum {
    E_PT = ROW,                 /* after the pages of the row */
    E_PD,
    E_LARGE,
    E_A2,                       /* page SHARED of the other PASIDs */
    E_A3,
    E_B1,
    E_PE_A1,                    /* PASID entries */
    E_PE_A2,
    E_PE_A3,
    E_PE_B1,
    E_PE_A,                     /* of requests without PASID */
    E_PE_B,
    E_CE_A,                     /* context entries */
    E_CE_B,
    E_T,                        /* paging entries that refer to a table */
    E_A = E_T + 15,                      /* A's ATC: a page without PASID */
    E_END,
};

#define A1              (ROW_BITS | BIT_ULL(E_PT) | BIT_ULL(E_PD) | \
                         BIT_ULL(E_LARGE))
#define A2              BIT_ULL(E_A2)
#define A3              BIT_ULL(E_A3)
#define B1              BIT_ULL(E_B1)
#define PAGES           (A1 | A2 | A3 | B1)
/* On the way to a page of A's PASID 1, and to that of each of the others */
#define T_ROW           BITS(E_T, 3)
#define T_PT            (BITS(E_T, 2) | BIT_ULL(E_T + 3))
#define T_PD            (BIT_ULL(E_T) | BITS(E_T + 4, 2))
#define T_LARGE         BITS(E_T, 2)
#define T_A1            BITS(E_T, 6)
#define T_A2            BITS(E_T + 6, 3)
#define T_A3            BITS(E_T + 9, 3)
#define T_B1            BITS(E_T + 12, 3)
#define TABLES          BITS(E_T, 15)
#define PASID_ENTRIES   BITS(E_PE_A1, 6)
#define CONTEXTS        BITS(E_CE_A, 2)
#define UNIT_ENTRIES    (PAGES | TABLES | PASID_ENTRIES | CONTEXTS)
#define ATC_ENTRIES     (PAGES | BIT_ULL(E_A))

/* Each table has a copy, so that an entry which refers to it can change. */
#define TO_COPY         0x8000ULL
#define TABLES_SIZE     0x7000

static uint64_t table_entry(unsigned t)
{
    const uint64_t of_a1[] = {
        PAGING(1, VTD_PML4_LEVEL),
        PAGING(1, VTD_PDP_LEVEL),
        PAGING(1, VTD_PD_LEVEL),
        PAGING(1, VTD_PD_LEVEL) + 8,
        PAGING(1, VTD_PDP_LEVEL) + 8,
        PAGING(1, 6),
    };

    return t < ARRAY_SIZE(of_a1) ? of_a1[t] :
           PAGING(t / 3, VTD_PML4_LEVEL - t % 3);
}

/* What entry @e is made from, and whose cache can have it */
static uint64_t source_of(unsigned e, uint64_t *flip, int *dev)
{
    const uint64_t leaf = PAGING(1, VTD_PT_LEVEL);

    *dev = BIT_ULL(e) & (B1 | T_B1 | BIT_ULL(E_PE_B1) | BIT_ULL(E_PE_B) |
                         BIT_ULL(E_CE_B)) ? B : A;
    *flip = VTD_FL_P;
    switch (e) {
    case 0 ... ROW - 1:
        return leaf + e * 8;
    case E_PT:
        return PAGING(1, 5);
    case E_PD:
        return PAGING(1, 7);
    case E_LARGE:
        return PAGING(1, VTD_PD_LEVEL) + VA_LARGE / (2 * MiB) * 8;
    case E_A2:
        return PAGING(2, VTD_PT_LEVEL) + SHARED * 8;
    case E_A3:
        return PAGING(3, VTD_PT_LEVEL) + SHARED * 8;
    case E_B1:
        return PAGING(B_PAGING, VTD_PT_LEVEL) + SHARED * 8;
    case E_PE_A1 ... E_PE_A3:
        *flip = VTD_PASID_ENTRY_FPD;
        return PASID_TABLE + (e - E_PE_A1 + 1) * VTD_PASID_ENTRY_SIZE;
    case E_PE_B1:
        *flip = VTD_PASID_ENTRY_FPD;
        return B_TABLE + VTD_PASID_ENTRY_SIZE;
    case E_PE_A:
        *flip = VTD_PASID_ENTRY_FPD;
        return PASID_TABLE;
    case E_PE_B:
        *flip = VTD_PASID_ENTRY_FPD;
        return B_TABLE;
    case E_CE_A:
    case E_CE_B:
        *flip = VTD_SM_CONTEXT_ENTRY_PRE;
        return CONTEXT + SID(*dev) * VTD_CTX_ENTRY_SCALABLE_SIZE;
    case E_T ... E_A - 1:
        *flip = TO_COPY;
        return table_entry(e - E_T);
    case E_A:
        *flip = VTD_PASID_ENTRY_P;
        return PASID_TABLE;
    default:
        g_assert_not_reached();
    }
}

/* Returns how many of the entries compared are stale. */
static uint64_t verify(Fix *f, int dev)
{
    dev_write(f, dev, SVADEV_VERIFY, SVADEV_PASID_ALL);
    return dev_read(f, dev, SVADEV_VERIFY_STALE);
}

/* Which of @which are cached, by the function that they belong to or a unit */
static uint64_t cached(Fix *f, uint64_t which)
{
    uint64_t found = 0;

    for (int i = A; i <= B; i++) {
        g_assert_cmpint(verify(f, i), ==, 0);
    }
    for (unsigned e = 0; e < E_END; e++) {
        uint64_t flip, addr, old, stale;
        int dev;

        if (!(which & BIT_ULL(e))) {
            continue;
        }
        addr = source_of(e, &flip, &dev);
        old = qtest_readq(f->qts, addr);
        qtest_writeq(f->qts, addr, old ^ flip);
        stale = verify(f, dev);
        g_assert_cmpint(stale, <=, 1);
        found |= stale << e;
        qtest_writeq(f->qts, addr, old);
    }
    return found;
}

/* --- the tables --- */

static void write_pte(Fix *f, uint64_t addr, uint64_t page)
{
    qtest_writeq(f->qts, addr, page | VTD_FL_P | VTD_FL_RW | VTD_FL_US |
                               VTD_FL_A | VTD_FL_D);
}

static void write_pasid_entry(Fix *f, uint64_t entry, uint16_t did,
                              uint64_t type, uint64_t paging)
{
    qtest_writeq(f->qts, entry + 8, did);
    qtest_writeq(f->qts, entry + 16, paging);
    qtest_writeq(f->qts, entry, VTD_PASID_ENTRY_P | type);
}

static void write_paging(Fix *f, unsigned n)
{
    for (int level = VTD_PML4_LEVEL; level > VTD_PT_LEVEL; level--) {
        write_pte(f, PAGING(n, level), PAGING(n, level - 1));
    }
    for (int i = 0; i < ROW; i++) {
        write_pte(f, PAGING(n, VTD_PT_LEVEL) + i * 8, DATA + i * PAGE_4K);
    }
}

static void copy_paging(Fix *f, unsigned n)
{
    g_autofree uint8_t *tables = g_malloc(TABLES_SIZE);

    qtest_memread(f->qts, PAGING(n, 1), tables, TABLES_SIZE);
    qtest_memwrite(f->qts, PAGING(n, 1) ^ TO_COPY, tables, TABLES_SIZE);
}

static void start_cache(Fix *f, const char *props)
{
    g_autofree char *unit = g_strconcat(UNIT_SVM TIMEOUT, props, NULL);

    start_with(f, unit);
    translate(f);
    for (int n = 1; n <= 3; n++) {
        write_pasid_entry(f, PASID_TABLE + n * VTD_PASID_ENTRY_SIZE,
                          n == 3 ? 2 : 1, VTD_SM_PASID_ENTRY_FLT,
                          PAGING(n, VTD_PML4_LEVEL));
        write_paging(f, n);
    }
    write_pte(f, PAGING(1, VTD_PD_LEVEL) + 8, PAGING(1, 5));
    write_pte(f, PAGING(1, 5), DATA);
    write_pte(f, PAGING(1, VTD_PDP_LEVEL) + 8, PAGING(1, 6));
    write_pte(f, PAGING(1, 6), PAGING(1, 7));
    write_pte(f, PAGING(1, 7), DATA);
    write_pte(f, PAGING(1, VTD_PD_LEVEL) + VA_LARGE / (2 * MiB) * 8,
              LARGE | VTD_PT_PAGE_SIZE_MASK);

    qtest_writeq(f->qts, B_DIR, B_TABLE | VTD_PASID_ENTRY_P);
    write_pasid_entry(f, B_TABLE, 2, VTD_SM_PASID_ENTRY_PT, 0);
    write_pasid_entry(f, B_TABLE + VTD_PASID_ENTRY_SIZE, 2,
                      VTD_SM_PASID_ENTRY_FLT,
                      PAGING(B_PAGING, VTD_PML4_LEVEL));
    write_paging(f, B_PAGING);
    for (int n = 1; n <= B_PAGING; n++) {
        copy_paging(f, n);
    }
    qtest_writeq(f->qts, CONTEXT + SID(B) * VTD_CTX_ENTRY_SCALABLE_SIZE,
                 B_DIR | CONTEXT_FLAGS);
    put_context(f, VTD_INV_DESC_CC_GLOBAL, 0, 0);
    go(f);
    for (int i = A; i <= B; i++) {
        for (int q = 0; q <= 3; q++) {
            use_queue(f, i, q, q ? q : SVADEV_PASID_NONE);
        }
    }
}

/* Queue q of a function is PASID q's, and queue 0 has none. */
static void touch(Fix *f, int dev, unsigned q, uint64_t addr, uint64_t len)
{
    q_write(f, dev, Q(q, SVADEV_Q_OP), SVADEV_OP_TOUCH);
    q_write(f, dev, Q(q, SVADEV_Q_FLAGS), 0);
    q_write(f, dev, Q(q, SVADEV_Q_SRC), addr);
    q_write(f, dev, Q(q, SVADEV_Q_LEN), len);
    q_write(f, dev, Q(q, SVADEV_Q_DOORBELL), 1);
    g_assert_cmpint(settle(f, dev, q), ==, SVADEV_STATE_DONE);
}

static void touch_all(Fix *f)
{
    touch(f, A, 0, DATA, 1);
    touch(f, B, 0, DATA, 1);
    touch(f, A, 1, 0, ROW * PAGE_4K);
    touch(f, A, 1, VA_PT, 1);
    touch(f, A, 1, VA_PD, 1);
    touch(f, A, 1, IN_LARGE, 1);
    touch(f, A, 2, SHARED * PAGE_4K, 1);
    touch(f, A, 3, SHARED * PAGE_4K, 1);
    touch(f, B, 1, SHARED * PAGE_4K, 1);
}

/* What VERIFY has compared is of that cache. */
static void check_counts(Fix *f, int dev, uint64_t which)
{
    g_assert_cmpint(dev_read(f, dev, SVADEV_VERIFY_CHECKED), ==,
                    ctpop64(which));
    g_assert_cmpint(dev_read(f, dev, SVADEV_CACHED_ATC), ==, 0);
    g_assert_cmpint(dev_read(f, dev, SVADEV_CACHED_IOTLB), ==,
                    ctpop64(which & PAGES));
    g_assert_cmpint(dev_read(f, dev, SVADEV_CACHED_UPPER), ==,
                    ctpop64(which & TABLES));
    g_assert_cmpint(dev_read(f, dev, SVADEV_CACHED_CONFIG), ==,
                    ctpop64(which & (PASID_ENTRIES | CONTEXTS)));
}

static void command(Fix *f, uint64_t lo, uint64_t hi)
{
    put(f, lo, hi);
    go(f);
    g_assert_cmphex(fsts(f), ==, 0);
    g_assert_cmpint(head(f), ==, f->tail);
}

/* --- commands for the unit's own caches --- */

#define IOTLB(g, did)   (VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_##g | \
                         (did) << 16)
#define PIOTLB(g, did, pasid) \
    (VTD_INV_DESC_PIOTLB | VTD_INV_DESC_PIOTLB_##g | (did) << 16 | \
     (uint64_t)(pasid) << 32)
#define PC(g, did, pasid) \
    (VTD_INV_DESC_PC | VTD_INV_DESC_PC_##g | (did) << 16 | \
     (uint64_t)(pasid) << 32)
#define CC(g, did, sid, fm) \
    (VTD_INV_DESC_CC | VTD_INV_DESC_CC_##g | (did) << 16 | \
     (uint64_t)(sid) << 32 | (uint64_t)(fm) << 48)
#define RANGE(page, am) ((page) * PAGE_4K | (am))

typedef struct Command {
    uint64_t lo, hi;
    uint64_t drops;
} Command;

static void by_queue(Fix *f, const Command *c)
{
    command(f, c->lo, c->hi);
}

static void check_commands(const Command *commands, size_t n,
                           void (*run)(Fix *f, const Command *c))
{
    uint64_t left;
    Fix f;

    start_cache(&f, "");
    for (int i = A; i <= B; i++) {
        dev_write(&f, i, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    }
    for (size_t i = 0; i < n; i++) {
        /* What hits the IOTLB finds no tables. */
        command(&f, IOTLB(GLOBAL, 0), 0);
        touch_all(&f);
        g_assert_cmpint(verify(&f, A), ==, 0);
        check_counts(&f, A, UNIT_ENTRIES);
        g_assert_cmphex(cached(&f, UNIT_ENTRIES), ==, UNIT_ENTRIES);

        run(&f, &commands[i]);
        left = UNIT_ENTRIES & ~commands[i].drops;
        g_test_message("command %zu: 0x%" PRIx64 " 0x%" PRIx64, i,
                       commands[i].lo, commands[i].hi);
        g_assert_cmphex(cached(&f, UNIT_ENTRIES), ==, left);
        g_assert_cmpint(verify(&f, A), ==, 0);
        check_counts(&f, A, left);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    stop(&f);
}

static void check_unit(const Command *commands, size_t n)
{
    check_commands(commands, n, by_queue);
}

/* Invalidation Hint: what refers to tables has not changed. */
#define IH              BIT_ULL(6)

static void test_iotlb(void)
{
    const uint64_t domain1 = A1 | A2 | T_A1 | T_A2;
    const uint64_t domain2 = A3 | B1 | T_A3 | T_B1;
    const Command commands[] = {
        { IOTLB(GLOBAL, 0), 0, PAGES | TABLES },
        { IOTLB(DOMAIN, 1), 0, domain1 },
        { IOTLB(DOMAIN, 2), 0, domain2 },
        { IOTLB(DOMAIN, 3), 0, 0 },
        /* Ranges are those of the second stage. */
        { IOTLB(PAGE, 1), RANGE(SHARED, 0), domain1 },
        { IOTLB(PAGE, 2), RANGE(SHARED, 0), domain2 },
        { IOTLB(PAGE, 3), RANGE(SHARED, 0), 0 },
        { IOTLB(PAGE, 1), RANGE(SHARED, 0) | IH, A1 | A2 },
    };

    check_unit(commands, ARRAY_SIZE(commands));
}

static void test_piotlb(void)
{
    const Command commands[] = {
        { PIOTLB(ALL_IN_PASID, 1, 1), 0, A1 | T_A1 },
        { PIOTLB(ALL_IN_PASID, 1, 2), 0, A2 | T_A2 },
        { PIOTLB(ALL_IN_PASID, 2, 3), 0, A3 | T_A3 },
        { PIOTLB(ALL_IN_PASID, 2, 1), 0, B1 | T_B1 },
        { PIOTLB(ALL_IN_PASID, 2, 2), 0, 0 },
        { PIOTLB(ALL_IN_PASID, 1, 3), 0, 0 },
        { PIOTLB(ALL_IN_PASID, 3, 1), 0, 0 },
    };

    check_unit(commands, ARRAY_SIZE(commands));
}

#define PSI(did, pasid) PIOTLB(PSI_IN_PASID, did, pasid)
#define IN_GIB(n)       ((n) * (GiB / PAGE_4K))

static void test_piotlb_range(void)
{
    const uint64_t pt = BIT_ULL(E_PT), pd = BIT_ULL(E_PD);
    const uint64_t large = BIT_ULL(E_LARGE);
    const uint64_t gib0 = (A1 & ~pd) | T_ROW | T_PT;
    const uint64_t at_large = VA_LARGE / PAGE_4K;
    const Command commands[] = {
        /* whose */
        { PSI(1, 1), RANGE(8, 0), BITS(8, 1) | T_ROW },
        { PSI(1, 2), RANGE(8, 0), A2 | T_A2 },
        { PSI(2, 3), RANGE(8, 0), A3 | T_A3 },
        { PSI(2, 1), RANGE(8, 0), B1 | T_B1 },
        { PSI(2, 2), RANGE(8, 0), 0 },
        { PSI(1, 2), RANGE(7, 0), T_A2 },
        { PSI(1, 2), RANGE(9, 0), T_A2 },
        /* how much */
        { PSI(1, 1), RANGE(7, 0), BITS(7, 1) | T_ROW },
        { PSI(1, 1), RANGE(8, 1), BITS(8, 2) | T_ROW },
        { PSI(1, 1), RANGE(8, 2), BITS(8, 4) | T_ROW },
        { PSI(1, 1), RANGE(8, 3), BITS(8, 8) | T_ROW },
        { PSI(1, 1), RANGE(0, 4), BITS(0, 16) | T_ROW },
        { PSI(1, 1), RANGE(16, 4), BITS(16, 4) | T_ROW },
        { PSI(1, 1), RANGE(0, 9), ROW_BITS | T_ROW },
        { PSI(1, 1), RANGE(512, 9), pt | T_PT },
        { PSI(1, 1), RANGE(0, 10), ROW_BITS | pt | T_ROW | T_PT },
        { PSI(1, 1), RANGE(0, 11), gib0 },
        { PSI(1, 1), RANGE(0, 18), gib0 },
        { PSI(1, 1), RANGE(IN_GIB(1), 18), pd | T_PD },
        /* above MAMV, which is about the second stage */
        { PSI(1, 1), RANGE(0, 19), A1 | T_A1 },
        { PSI(1, 1), RANGE(IN_GIB(2), 19), BIT_ULL(E_T) },
        { PSI(1, 1), RANGE(IN_GIB(512), 27), 0 },
        { PSI(1, 1), RANGE(0, 52), A1 | T_A1 },
        /* a part of a large page */
        { PSI(1, 1), RANGE(at_large + 5, 0), large | T_LARGE },
        { PSI(1, 1), RANGE(at_large + 511, 0), large | T_LARGE },
        { PSI(1, 1), RANGE(at_large + 512, 0), T_LARGE },
        { PSI(1, 1), RANGE(at_large - 1, 0), T_PT },
        /* with the hint */
        { PSI(1, 1), RANGE(8, 0) | IH, BITS(8, 1) },
        { PSI(1, 1), RANGE(0, 52) | IH, A1 },
    };

    check_unit(commands, ARRAY_SIZE(commands));
}

/* --- the same by registers, which work while the queue is off --- */

#define CCMD(g, did, sid, fm) \
    (VTD_CCMD_ICC | VTD_CCMD_##g##_INVL | (did) | (sid) << 16 | \
     (uint64_t)(fm) << 32)
#define TLB(g, did)     (VTD_TLB_IVT | VTD_TLB_##g##_FLUSH | \
                         (uint64_t)(did) << 32)

/* What IOTLB_REG and CCMD_REG say has been done is what they were told to. */
static void write_command(Fix *f, unsigned reg, uint64_t val)
{
    const unsigned told = reg == DMAR_CCMD_REG ? 61 : 60;
    const unsigned done = reg == DMAR_CCMD_REG ? 59 : 57;

    put_wait(f, 0, 0);
    go(f);
    set_gcmd(f, VTD_GCMD_TE);
    unit_writeq(f, reg, val);
    val = unit_read(f, reg);
    g_assert_cmpint(val >> 63, ==, 0);
    g_assert_cmpint(val >> done & 3, ==, val >> told & 3);
    f->tail = 0;
    unit_writeq(f, DMAR_IQT_REG, 0);
    set_gcmd(f, VTD_GCMD_QIE | VTD_GCMD_TE);
}

/* @hi is for IVA_REG. */
static void by_iotlb_reg(Fix *f, const Command *c)
{
    unit_writeq(f, DMAR_IVA_REG, c->hi);
    write_command(f, DMAR_IOTLB_REG, c->lo);
}

static void test_iotlb_register(void)
{
    const uint64_t domain1 = A1 | A2 | T_A1 | T_A2;
    const uint64_t domain2 = A3 | B1 | T_A3 | T_B1;
    const Command commands[] = {
        { TLB(GLOBAL, 0), 0, PAGES | TABLES },
        { TLB(DSI, 1), 0, domain1 },
        { TLB(DSI, 2), 0, domain2 },
        { TLB(DSI, 3), 0, 0 },
        { TLB(PSI, 1), RANGE(SHARED, 0), domain1 },
        { TLB(PSI, 2), RANGE(SHARED, 0), domain2 },
        { TLB(PSI, 3), RANGE(SHARED, 0), 0 },
        { TLB(PSI, 1), RANGE(SHARED, 0) | IH, A1 | A2 },
    };

    check_commands(commands, ARRAY_SIZE(commands), by_iotlb_reg);
}

static void by_ccmd_reg(Fix *f, const Command *c)
{
    write_command(f, DMAR_CCMD_REG, c->lo);
}

static void test_context_register(void)
{
    const uint64_t a = BIT_ULL(E_CE_A), b = BIT_ULL(E_CE_B);
    const Command commands[] = {
        { CCMD(GLOBAL, 0, 0, 0), 0, a | b },
        { CCMD(DOMAIN, 1, 0, 0), 0, a | b },
        { CCMD(DEVICE, 0, SID(A), 0), 0, a },
        { CCMD(DEVICE, 7, SID(B), 0), 0, b },
        { CCMD(DEVICE, 0, SID(A) | 4, 0), 0, 0 },
        { CCMD(DEVICE, 0, SID(A) | 4, 1), 0, a },
        { CCMD(DEVICE, 0, SID(A) | 6, 2), 0, a },
        { CCMD(DEVICE, 0, SID(A) | 7, 3), 0, a },
        { CCMD(DEVICE, 0, SID_OF_NOBODY, 3), 0, 0 },
    };

    check_commands(commands, ARRAY_SIZE(commands), by_ccmd_reg);
}

/* --- VERIFY of a range --- */

static void count_range(Fix *f, uint64_t first, uint64_t len)
{
    dev_write(f, A, SVADEV_CACHED_FIRST, first);
    dev_write(f, A, SVADEV_CACHED_LAST, first + len - 1);
    g_assert_cmpint(verify(f, A), ==, 0);
}

/* Entries count that are for nothing else; those of configuration always do. */
static void test_verify_range(void)
{
    const struct {
        uint64_t first, len;
        unsigned atc, iotlb, upper;
    } ranges[] = {
        /* The row, and page SHARED of A2, A3 and, in the IOTLB, B1 */
        { 0, ROW * PAGE_4K, ROW + 2, ROW + 3, 0 },
        { 0, ROW * PAGE_4K - 1, ROW - 1 + 2, ROW - 1 + 3, 0 },
        { 1, ROW * PAGE_4K, ROW - 1 + 2, ROW - 1 + 3, 0 },
        { ROW * PAGE_4K, VA_PT - ROW * PAGE_4K, 0, 0, 0 },
        { VA_PT, PAGE_4K, 1, 1, 0 },
        { VA_PT, 2 * MiB, 1, 1, 1 },
        { IN_LARGE, PAGE_4K, 1, 0, 0 },
        { VA_LARGE, 2 * MiB, 1, 1, 0 },
        { VA_LARGE, 2 * MiB - 1, 1, 0, 0 },
        /*
         * Besides, VA_PT and VA_LARGE, and A's page without PASID; two page
         * tables and a directory, and one each of the three others
         */
        { 0, 1 * GiB, ROW + 2 + 3, ROW + 3 + 2, 3 + 3 * 2 },
        { 1 * GiB, 1 * GiB, 1, 1, 2 },
    };
    Fix f;

    start_cache(&f, "");
    touch_all(&f);
    for (int i = 0; i < ARRAY_SIZE(ranges); i++) {
        count_range(&f, ranges[i].first, ranges[i].len);
        g_test_message("range %d", i);
        g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_ATC), ==,
                        ranges[i].atc);
        g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_IOTLB), ==,
                        ranges[i].iotlb);
        g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==,
                        ranges[i].upper);
        g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_CONFIG), ==,
                        ctpop64(PASID_ENTRIES | CONTEXTS));
        g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==,
                        ctpop64(UNIT_ENTRIES) + ctpop64(ATC_ENTRIES & ~B1));
    }
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_RESET);
    g_assert_cmphex(dev_read(&f, A, SVADEV_CACHED_FIRST), ==, 0);
    g_assert_cmphex(dev_read(&f, A, SVADEV_CACHED_LAST), ==, UINT64_MAX);
    stop(&f);
}

/* --- what is cached against the tables --- */

/*
 * Writing becomes permitted on the way, and software need not say so. A table
 * that is another one now is a different matter, and gets no dirty bit.
 */
static void test_permitted(void)
{
    const uint64_t tables[] = {
        PAGING(1, VTD_PML4_LEVEL), PAGING(1, VTD_PDP_LEVEL),
        PAGING(1, VTD_PD_LEVEL),
    };
    const uint64_t copied = (PAGING(1, VTD_PT_LEVEL) ^ TO_COPY) + 8;
    Fix f;

    start_cache(&f, "");
    qtest_writeq(f.qts, copied, qtest_readq(f.qts, copied) & ~VTD_FL_D);
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE | SVADEV_CTRL_NO_PRI);
    for (int i = 0; i < ARRAY_SIZE(tables); i++) {
        uint64_t entry = qtest_readq(f.qts, tables[i]);

        command(&f, IOTLB(GLOBAL, 0), 0);
        qtest_writeq(f.qts, tables[i], entry & ~VTD_FL_RW);
        touch(&f, A, 1, 0, 1);
        submit(&f, A, 1, SVADEV_OP_FILL, 0, 0);
        g_assert_cmpint(settle(&f, A, 1), ==, SVADEV_STATE_ERROR);
        g_assert_cmpint(q_read(&f, A, Q(1, SVADEV_Q_ERROR)), ==,
                        SVADEV_ERR_NOT_MAPPED);
        g_assert_cmpint(verify(&f, A), ==, 0);

        qtest_writeq(f.qts, tables[i], entry ^ TO_COPY);
        submit(&f, A, 1, SVADEV_OP_FILL, 0, PAGE_4K);
        g_assert_cmpint(settle(&f, A, 1), ==, SVADEV_STATE_ERROR);
        g_assert_cmpint(verify(&f, A), !=, 0);
        g_assert_cmphex(qtest_readq(f.qts, copied) & VTD_FL_D, ==, 0);

        qtest_writeq(f.qts, tables[i], entry);
        for (int page = 0; page < 2; page++) {
            submit(&f, A, 1, SVADEV_OP_FILL, 0, page * PAGE_4K);
            g_assert_cmpint(settle(&f, A, 1), ==, SVADEV_STATE_DONE);
        }
        g_assert_cmpint(verify(&f, A), ==, 0);
    }
    stop(&f);
}

/* A unit has the paging-structure caches only if it is told to. */
static void test_no_tables(void)
{
    Fix f;

    start_cache(&f, ",x-psc=off");
    touch_all(&f);
    g_assert_cmpint(verify(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_IOTLB), ==, ctpop64(PAGES));
    command(&f, PSI(1, 1), RANGE(8, 0));
    command(&f, IOTLB(GLOBAL, 0), 0);
    g_assert_cmpint(verify(&f, A), ==, 0);
    stop(&f);
}

static uint64_t sum_of_page(Fix *f, unsigned page)
{
    submit(f, A, 1, SVADEV_OP_SUM, 0, page * PAGE_4K);
    g_assert_cmpint(settle(f, A, 1), ==, SVADEV_STATE_DONE);
    return q_read(f, A, Q(1, SVADEV_Q_RESULT));
}

/* A table that is not in use any more is walked, until software says so. */
static void test_old_table(void)
{
    const uint64_t pde = PAGING(1, VTD_PD_LEVEL);
    Fix f;

    start_cache(&f, "");
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    for (int i = 0; i < ROW; i++) {
        qtest_memset(f.qts, DATA + i * PAGE_4K, i, 8);
        write_pte(&f, (PAGING(1, VTD_PT_LEVEL) ^ TO_COPY) + i * 8,
                  DATA + (ROW - 1 - i) * PAGE_4K);
    }
    g_assert_cmpint(sum_of_page(&f, 0), ==, 0);
    qtest_writeq(f.qts, pde, qtest_readq(f.qts, pde) ^ TO_COPY);
    g_assert_cmpint(sum_of_page(&f, 1), ==, 8 * 1);
    command(&f, PSI(1, 1), RANGE(0, 4) | IH);
    g_assert_cmpint(sum_of_page(&f, 1), ==, 8 * 1);
    command(&f, PSI(1, 1), RANGE(1, 0));
    g_assert_cmpint(sum_of_page(&f, 1), ==, 8 * (ROW - 2));
    g_assert_cmpint(sum_of_page(&f, 2), ==, 8 * (ROW - 3));
    g_assert_cmpint(verify(&f, A), ==, 0);
    stop(&f);
}

static void test_pasid_cache(void)
{
    const Command commands[] = {
        { PC(GLOBAL, 0, 0), 0, PASID_ENTRIES },
        { PC(DOMAIN, 1, 0), 0,
          BIT_ULL(E_PE_A1) | BIT_ULL(E_PE_A2) | BIT_ULL(E_PE_A) },
        { PC(DOMAIN, 2, 0), 0,
          BIT_ULL(E_PE_A3) | BIT_ULL(E_PE_B1) | BIT_ULL(E_PE_B) },
        { PC(DOMAIN, 3, 0), 0, 0 },
        { PC(PASID, 1, 1), 0, BIT_ULL(E_PE_A1) },
        { PC(PASID, 1, 2), 0, BIT_ULL(E_PE_A2) },
        { PC(PASID, 2, 1), 0, BIT_ULL(E_PE_B1) },
        { PC(PASID, 2, 3), 0, BIT_ULL(E_PE_A3) },
        { PC(PASID, 1, 0), 0, BIT_ULL(E_PE_A) },
        { PC(PASID, 1, 3), 0, 0 },
        { PC(PASID, 2, 2), 0, 0 },
    };

    check_unit(commands, ARRAY_SIZE(commands));
}

/* In scalable mode, entries are of no domain: a command for one is for all. */
static void test_context_cache(void)
{
    const uint64_t a = BIT_ULL(E_CE_A), b = BIT_ULL(E_CE_B);
    const Command commands[] = {
        { CC(GLOBAL, 0, 0, 0), 0, a | b },
        { CC(DOMAIN, 1, 0, 0), 0, a | b },
        { CC(DEVICE, 0, SID(A), 0), 0, a },
        { CC(DEVICE, 7, SID(B), 0), 0, b },
        { CC(DEVICE, 0, SID(A) | 4, 0), 0, 0 },
        { CC(DEVICE, 0, SID(A) | 4, 1), 0, a },
        { CC(DEVICE, 0, SID(A) | 2, 1), 0, 0 },
        { CC(DEVICE, 0, SID(A) | 6, 2), 0, a },
        { CC(DEVICE, 0, SID(B) | 2, 2), 0, b },
        { CC(DEVICE, 0, SID(A) | 1, 2), 0, 0 },
        { CC(DEVICE, 0, SID(A) | 7, 3), 0, a },
        { CC(DEVICE, 0, SID_OF_NOBODY, 3), 0, 0 },
        { CC(DEVICE, 0, 1 << 8 | SID(A), 3), 0, 0 },    /* another bus */
    };

    check_unit(commands, ARRAY_SIZE(commands));
}

/* --- commands for the ATC of a function --- */

#define DEV_PIOTLB(sid, pasid) \
    (VTD_INV_DESC_DEV_PIOTLB | (sid) << 16 | (uint64_t)(pasid) << 32)
#define DEV_IOTLB(sid)  (VTD_INV_DESC_DEVICE | (uint64_t)(sid) << 32)
#define G               1ULL            /* Global, in the address */
#define PASID_S         BIT_ULL(11)     /* more than one page */
#define UNTAGGED_S      1ULL
#define WHOLE           0x7ffffffffffff000ULL

static void check_atc(const char *props, const Command *commands, size_t n)
{
    uint64_t left;
    Fix f;

    start_cache(&f, props);
    for (size_t i = 0; i < n; i++) {
        touch_all(&f);
        command(&f, commands[i].lo, commands[i].hi);
        /* Let them alone be what VERIFY finds. */
        command(&f, IOTLB(GLOBAL, 0), 0);
        command(&f, PC(GLOBAL, 0, 0), 0);
        left = ATC_ENTRIES & ~commands[i].drops;
        g_test_message("command %zu: 0x%" PRIx64 " 0x%" PRIx64, i,
                       commands[i].lo, commands[i].hi);
        g_assert_cmphex(cached(&f, ATC_ENTRIES), ==, left);
        /* B has one without PASID that is not asked for. */
        g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED) +
                        dev_read(&f, B, SVADEV_C_ATC_USED), ==,
                        ctpop64(left) + 1);
    }
    for (int dev = A; dev <= B; dev++) {
        g_assert_cmpint(dev_read(&f, dev, SVADEV_C_EVICTED), ==, 0);
    }
    stop(&f);
}

static void test_atc(void)
{
    const uint64_t pt = BIT_ULL(E_PT), pd = BIT_ULL(E_PD);
    const Command commands[] = {
        /* whose */
        { DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S, A1 },
        { DEV_PIOTLB(SID(A), 2), WHOLE | PASID_S, A2 },
        { DEV_PIOTLB(SID(A), 4), WHOLE | PASID_S, 0 },
        { DEV_PIOTLB(SID(B), 1), WHOLE | PASID_S, B1 },
        { DEV_PIOTLB(SID(B), 2), WHOLE | PASID_S, 0 },
        { DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S | G, A1 | A2 | A3 },
        { DEV_PIOTLB(SID(A), 1), RANGE(8, 0) | G, BITS(8, 1) | A2 | A3 },
        /* how much */
        { DEV_PIOTLB(SID(A), 1), RANGE(8, 0), BITS(8, 1) },
        { DEV_PIOTLB(SID(A), 1), RANGE(7, 0), BITS(7, 1) },
        { DEV_PIOTLB(SID(A), 2), RANGE(7, 0), 0 },
        { DEV_PIOTLB(SID(A), 1), RANGE(8, 0) | PASID_S, BITS(8, 2) },
        { DEV_PIOTLB(SID(A), 1), RANGE(8 | 1, 0) | PASID_S, BITS(8, 4) },
        { DEV_PIOTLB(SID(A), 1), RANGE(8 | 3, 0) | PASID_S, BITS(8, 8) },
        { DEV_PIOTLB(SID(A), 1), RANGE(7, 0) | PASID_S, BITS(0, 16) },
        { DEV_PIOTLB(SID(A), 1), RANGE(16 | 7, 0) | PASID_S, BITS(16, 4) },
        { DEV_PIOTLB(SID(A), 1), RANGE(255, 0) | PASID_S, ROW_BITS },
        { DEV_PIOTLB(SID(A), 1), RANGE(512 | 255, 0) | PASID_S, pt },
        { DEV_PIOTLB(SID(A), 1), RANGE(0x1ffff, 0) | PASID_S, A1 & ~pd },
        { DEV_PIOTLB(SID(A), 1), RANGE(0x3ffff, 0) | PASID_S, A1 },
    };

    check_atc("", commands, ARRAY_SIZE(commands));
}

static void test_atc_untagged(void)
{
    const uint64_t shared = BITS(SHARED, 1) | A2 | A3;
    const Command commands[] = {
        { DEV_IOTLB(SID(A)), WHOLE | UNTAGGED_S, ATC_ENTRIES & ~B1 },
        { DEV_IOTLB(SID(A)), RANGE(8, 0), shared },
        { DEV_IOTLB(SID(A)), RANGE(8, 0) | UNTAGGED_S, shared | BITS(9, 1) },
        { DEV_IOTLB(SID(A)), RANGE(DATA / PAGE_4K, 0), BIT_ULL(E_A) },
        { DEV_IOTLB(SID(B)), RANGE(8, 0), B1 },
    };

    check_atc("", commands, ARRAY_SIZE(commands));
}

static void test_atc_untagged_strict(void)
{
    const Command commands[] = {
        { DEV_IOTLB(SID(A)), WHOLE | UNTAGGED_S, BIT_ULL(E_A) },
        { DEV_IOTLB(SID(A)), RANGE(8, 0), 0 },
        { DEV_IOTLB(SID(A)), RANGE(DATA / PAGE_4K, 0), BIT_ULL(E_A) },
        { DEV_IOTLB(SID(B)), RANGE(8, 0), 0 },
        { DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S, A1 },
        { DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S | G, A1 | A2 | A3 },
    };

    check_atc(" -global svadev.strict-untagged=on", commands,
              ARRAY_SIZE(commands));
}

/* The ATC keeps the entries of a PASID that no queue uses any more. */
static void test_atc_kept(void)
{
    Fix f;

    start_cache(&f, "");
    touch(&f, A, 1, 0, ROW * PAGE_4K);
    touch(&f, A, 2, SHARED * PAGE_4K, 1);
    for (int q = 0; q <= 3; q++) {
        dev_write(&f, A, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE, 0);
    }
    command(&f, IOTLB(GLOBAL, 0), 0);
    command(&f, PC(GLOBAL, 0, 0), 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED), ==, ROW + 1);

    /* The process has exited, and its PASID is anything but flushed. */
    qtest_writeq(f.qts, PASID_TABLE + VTD_PASID_ENTRY_SIZE, 0);
    g_assert_cmpint(verify(&f, A), ==, ROW);
    g_assert_cmphex(dev_read(&f, A, SVADEV_VERIFY_WHERE), ==,
                    SVADEV_WHERE_ATC | 1);
    command(&f, DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S);
    g_assert_cmpint(verify(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED), ==, 1);
    stop(&f);
}

/* --- a cache that is full --- */

static void test_evict_atc(void)
{
    Fix f;

    start_cache(&f, " -global svadev.atc-entries=16");
    touch(&f, A, 1, 0, 16 * PAGE_4K);
    touch(&f, A, 1, 0, 16 * PAGE_4K);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_EVICTED), ==, 0);
    touch(&f, A, 1, 16 * PAGE_4K, 4 * PAGE_4K);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_EVICTED), ==, 4);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED), ==, 16);
    g_assert_cmpint(q_read(&f, A, Q(0, SVADEV_Q_COUNTERS) + SVADEV_C_EVICTED -
                                  SVADEV_COUNTERS), ==, 4);

    /* What is dropped because of a command is not. */
    command(&f, DEV_PIOTLB(SID(A), 1), WHOLE | PASID_S);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_EVICTED), ==, 4);
    g_assert_cmpint(dev_read(&f, B, SVADEV_C_EVICTED), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    dev_write(&f, A, SVADEV_CLEAR, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_EVICTED), ==, 0);
    stop(&f);
}

static void test_evict_iotlb(void)
{
    const unsigned n = VTD_IOTLB_MAX_SIZE;
    Fix f;

    start_cache(&f, "");
    for (int dev = A; dev <= B; dev++) {
        dev_write(&f, dev, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    }
    for (unsigned i = 0; i < n; i += 512) {
        write_pte(&f, PAGING(1, VTD_PD_LEVEL) + i / 512 * 8, PAGING(1, 5));
    }
    for (unsigned i = 0; i < 512; i++) {
        write_pte(&f, PAGING(1, 5) + i * 8, DATA);
    }
    qtest_writeq(f.qts, PAGING(1, 5), DATA | VTD_FL_P | VTD_FL_RW | VTD_FL_US |
                                      VTD_FL_A);
    for (unsigned i = 0; i < n; i += 256) {
        touch(&f, A, 1, i * PAGE_4K, 256 * PAGE_4K);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    /* One that is there is written anew. */
    submit(&f, A, 1, SVADEV_OP_FILL, 0, 0);
    g_assert_cmpint(settle(&f, A, 1), ==, SVADEV_STATE_DONE);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    touch(&f, B, 1, 0, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, n);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_EVICTED), ==, n);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_EVICTED), ==, 0);

    command(&f, IOTLB(GLOBAL, 0), 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, n);
    stop(&f);
}

/* All directories are one, and so are all tables. */
static void test_evict_tables(void)
{
    const unsigned n = VTD_PSC_MAX_SIZE;
    Fix f;

    start_cache(&f, "");
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    for (unsigned i = 0; i < 512; i++) {
        write_pte(&f, PAGING(1, VTD_PD_LEVEL) + i * 8, PAGING(1, VTD_PT_LEVEL));
    }
    for (unsigned i = 0; i < n / 512; i++) {
        write_pte(&f, PAGING(1, VTD_PDP_LEVEL) + i * 8,
                  PAGING(1, VTD_PD_LEVEL));
    }
    /* One entry of level 4, and n / 512 of level 3 */
    for (unsigned i = 0; i < n - n / 512 - 1; i++) {
        touch(&f, A, 1, i * 2 * MiB, 1);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    touch(&f, A, 1, (n - 1) * 2 * MiB, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, n);
    stop(&f);
}

/* Every directory entry has the one table: PASID 64 n + 1 passes through. */
#define MANY_DIR        (24 * MiB)
#define MANY_BITS       4               /* PDTS: 17 bits of PASID */

static void test_evict_pasid_cache(void)
{
    const unsigned n = VTD_PASID_CACHE_MAX_SIZE / 2;
    Fix f;

    start_cache(&f, "");
    write_pasid_entry(&f, PASID_TABLE + VTD_PASID_ENTRY_SIZE, 1,
                      VTD_SM_PASID_ENTRY_PT, 0);
    for (unsigned i = 0; i < n; i++) {
        qtest_writeq(f.qts, MANY_DIR + i * 8, PASID_TABLE | VTD_PASID_ENTRY_P);
    }
    for (int dev = A; dev <= B; dev++) {
        qtest_writeq(f.qts, CONTEXT + SID(dev) * VTD_CTX_ENTRY_SCALABLE_SIZE,
                     MANY_DIR | CONTEXT_FLAGS | MANY_BITS << 9);
        dev_write(&f, dev, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    }
    command(&f, CC(GLOBAL, 0, 0, 0), 0);
    for (unsigned i = 0; i < 2 * n; i++) {
        use_queue(&f, i / n, 1, 64 * (i % n) + 1);
        touch(&f, i / n, 1, DATA, 1);
    }
    g_assert_cmpint(verify(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==, 2 * n + 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    touch(&f, A, 0, DATA, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 2 * n);
    g_assert_cmpint(verify(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==, 1 + 2);
    stop(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/vtd-cache/iotlb", test_iotlb);
    qtest_add_func("/vtd-cache/piotlb", test_piotlb);
    qtest_add_func("/vtd-cache/piotlb-range", test_piotlb_range);
    qtest_add_func("/vtd-cache/iotlb-register", test_iotlb_register);
    qtest_add_func("/vtd-cache/context-register", test_context_register);
    qtest_add_func("/vtd-cache/verify-range", test_verify_range);
    qtest_add_func("/vtd-cache/permitted", test_permitted);
    qtest_add_func("/vtd-cache/no-tables", test_no_tables);
    qtest_add_func("/vtd-cache/old-table", test_old_table);
    qtest_add_func("/vtd-cache/pasid-cache", test_pasid_cache);
    qtest_add_func("/vtd-cache/context-cache", test_context_cache);
    qtest_add_func("/vtd-cache/atc/tagged", test_atc);
    qtest_add_func("/vtd-cache/atc/untagged", test_atc_untagged);
    qtest_add_func("/vtd-cache/atc/untagged-strict", test_atc_untagged_strict);
    qtest_add_func("/vtd-cache/atc/kept", test_atc_kept);
    qtest_add_func("/vtd-cache/evict/atc", test_evict_atc);
    qtest_add_func("/vtd-cache/evict/iotlb", test_evict_iotlb);
    qtest_add_func("/vtd-cache/evict/tables", test_evict_tables);
    qtest_add_func("/vtd-cache/evict/pasid-cache", test_evict_pasid_cache);
    return g_test_run();
}
