/*
 * QTest of SMMUv3 against a guest that means harm: it chooses where queues and
 * tables lie and what is in them, how many commands nobody answers, and how
 * many PASIDs it uses. Best run with --enable-asan.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "smmuv3-fixture.h"

#define ROUNDS_QUICK    400
#define ROUNDS_SLOW     20000

/* The instances go on to work when they have been set up anew. */
static void assert_works(Fix *f)
{
    for (int dev = A; dev <= C; dev++) {
        dev_write(f, dev, SVADEV_LATE, 0);
        dev_write(f, dev, SVADEV_MUTE, 0);
        dev_write(f, dev, SVADEV_INJECT, 0);
        dev_write(f, dev, SVADEV_CTRL, SVADEV_CTRL_RESET);
        set_ats(f, dev, false);
        memset(f->pasid[dev], 0, sizeof(f->pasid[dev]));
    }
    qtest_clock_step(f->qts, 2 * TIMEOUT_NS);
    set_structures(f);
    for (int unit = 0; unit < 2; unit++) {
        smmu_write(f, unit, CR0, 0);
        acknowledge(f, unit);
        smmu_write(f, unit, CMDQ_PROD, 0);
        smmu_write(f, unit, CMDQ_CONS, 0);
        smmu_write(f, unit, EVTQ_PROD, 0);
        smmu_write(f, unit, EVTQ_CONS, 0);
        f->tail[unit] = f->events[unit] = 0;
        start_queues(f, unit, CR0_SMMUEN);
        /* what has not been answered until now is told once */
        put(f, unit, CMD_SYNC, 0);
        go(f, unit);
        acknowledge(f, unit);
        forget(f, unit);
    }
    g_assert_cmpint(space_of(f, A, 1), ==, 1);
    g_assert_cmpint(space_of(f, B, 1), ==, 3);
    g_assert_cmpint(space_of(f, C, 1), ==, 4);
}

/* Commands that nobody answers, and no CMD_SYNC: the queue stops at some. */
static void test_unanswered(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < (1 << CMDQ_BITS) - 1; j++) {
            put(&f, 0, atc_inv(SID_OF_NOBODY, j), 0);
        }
        go(&f, 0);
    }
    g_assert_false(done(&f, 0));
    qtest_clock_step(f.qts, 16 * TIMEOUT_NS);
    assert_works(&f);
    stop(&f);
}

static void test_many_pasids(void)
{
    Fix f;

    start(&f);
    set_ste(&f, A, STE_S1 | STE_CDMAX(16), STE_EATS);
    run(&f, 0, cfgi_ste(A), 0);
    for (int pasid = 1; pasid < 3000; pasid++) {
        space_of(&f, A, pasid);
    }
    dev_write(&f, A, SVADEV_VERIFY, SVADEV_PASID_ALL);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), <=, 1100);
    assert_works(&f);
    stop(&f);
}

#define SMALL_TABLES    (RAM + 176 * MiB)
#define LARGE_GIB       5

/*
 * Blocks of 1 GiB that make one entry of 16 GiB, and have become pages of 4 KiB
 * since, which are the same: more than VERIFY looks at.
 */
static void test_large_entry(void)
{
    g_autofree uint64_t *ptes = g_new(uint64_t, 512 * 512);
    uint64_t checked;
    Fix f;

    start(&f);
    for (uint64_t gib = 0; gib < 16; gib++) {
        qtest_writeq(f.qts, PT(1, 1) + 8 * gib,
                     gib * GiB | PTE_BLOCK | PTE_AF | PTE_CONT);
    }
    g_assert_cmpint(space_at(&f, A, 1, PAGE(1)), ==, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    checked = dev_read(&f, A, SVADEV_VERIFY_CHECKED);
    for (uint64_t gib = 0; gib < LARGE_GIB; gib++) {
        uint64_t level2 = SMALL_TABLES + gib * 4 * MiB;
        uint64_t level3 = level2 + 64 * KiB;

        for (int i = 0; i < 512 * 512; i++) {
            ptes[i] = cpu_to_le64((gib * GiB + i * 4ULL * KiB) | PTE_PAGE |
                                  PTE_AF);
        }
        qtest_bufwrite(f.qts, level3, ptes, 2 * MiB);
        for (int i = 0; i < 512; i++) {
            qtest_writeq(f.qts, level2 + 8 * i, (level3 + 4096 * i) |
                                                PTE_TABLE);
        }
        qtest_writeq(f.qts, PT(1, 1) + 8 * gib, level2 | PTE_TABLE);
    }
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==, checked - 1);
    stop(&f);
}

/* As many CDs as there can be, all with one ASID, and VERIFY of a full TLB */
static void test_many_owners(void)
{
    gint64 begin;
    Fix f;

    start(&f);
    for (int i = 0; i < 256; i++) {
        set_pte(&f, 1, VA + i * 0x1000, PAGE(1) | PTE_PAGE | PTE_AF);
        g_assert_cmpint(space_at(&f, A, 1, VA + i * 0x1000), ==, 1);
    }
    for (int i = 0; i < 64; i++) {
        write_cd(&f, L2CDS(B, 1) + 64 * i, cd_of(1), 1);
    }
    for (int i = 0; i < 1 << 10; i++) {
        qtest_writeq(f.qts, L1CDS(B) + 8 * i, L2CDS(B, 1) | 1);
    }
    set_ste(&f, B, STE_S1 | STE_CDMAX(16) | STE_FMT(1), 0);
    begin = g_get_monotonic_time();
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 5 * G_USEC_PER_SEC);
    /* each with a table of its own, that says the same */
    for (int i = 0; i < 1 << 10; i++) {
        uint64_t table = RAM + 176 * MiB + 4096 * i;

        qtest_writeq(f.qts, table, PT(1, 2) | PTE_TABLE);
        qtest_writeq(f.qts, CDTAB(B) + 64 * i, cd_of(1));
        qtest_writeq(f.qts, CDTAB(B) + 64 * i + 8, table);
    }
    set_ste(&f, B, STE_S1 | STE_CDMAX(10), 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    /* of which so many are compared */
    qtest_writeq(f.qts, CDTAB(B) + 64 * 1023 + 8, PT(5, 1));
    g_assert_cmpint(stale(&f, A), ==, 0);
    qtest_writeq(f.qts, CDTAB(B) + 64 * 10 + 8, PT(5, 1));
    g_assert_cmpint(stale(&f, A), >=, 256);
    stop(&f);
}

/* Queues and tables in registers: of the devices, and of the SMMU itself */
static void test_in_registers(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 6; i++) {
        const uint64_t places[] = {
            f.ctl[A], f.ctl[A] + SVADEV_QCTL(0), f.pages[A], SMMU(0), SMMU(1),
            SMMU(0) + 0x10000
        };

        smmu_write(&f, 0, CR0, 0);
        smmu_writeq(&f, 0, EVTQ_BASE, places[i] | 2);
        smmu_write(&f, 0, EVTQ_PROD, 0);
        smmu_write(&f, 0, EVTQ_CONS, 0);
        smmu_write(&f, 0, CR0, CR0_CMDQEN | CR0_EVENTQEN | CR0_SMMUEN);
        for (int j = 0; j < 4; j++) {
            space_of(&f, A, 3);                 /* an event each */
        }
        smmu_writeq(&f, 0, STRTAB_BASE, places[i]);
        space_of(&f, A, 1);
        smmu_writeq(&f, 0, CMDQ_BASE, places[i] | 4);
        smmu_write(&f, 0, CMDQ_PROD, 9);
        acknowledge(&f, 0);
        g_assert_cmphex(dev_read(&f, A, SVADEV_ID), ==, SVADEV_ID_MAGIC);
    }
    assert_works(&f);
    stop(&f);
}

#define VIRT_SMMU       0x9050000ULL
#define EDU             (ECAM + (1 << 15))
#define EDU_DMA_DST     0x88
#define EDU_DMA_SRC     0x80
#define EDU_DMA_COUNT   0x90
#define EDU_DMA_CMD     0x98
#define EDU_BUFFER      0x40000
#define EDU_MACHINE     "-M virt,gic-version=3,highmem-ecam=off,iommu=smmuv3 " \
                        "-nodefaults -m 128M -device edu,addr=1 "
#define MARK            0x5a5a0d0eU

static void migrate_to(QTestState *qts, const char *file)
{
    const char *status;
    QDict *reply;
    bool ended;

    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", file);
    do {
        g_usleep(10000);
        reply = qtest_qmp_assert_success_ref(qts,
                                             "{ 'execute': 'query-migrate' }");
        status = qdict_get_try_str(reply, "status");
        ended = !g_strcmp0(status, "completed");
        g_assert_cmpstr(status, !=, "failed");
        qobject_unref(reply);
    } while (!ended);
}

/* SPLIT is 0 in what another QEMU has sent, which is reserved. */
static void test_migrated_split(void)
{
    g_autofree char *dir = g_dir_make_tmp("smmuv3-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/state", dir);
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    g_autofree char *data = NULL;
    /* features, sid_size, sid_split, CR0, CR1 */
    const char sent[] = "\0\0\0\x01\0\x08\0\0\0\x0d\x5a\x5a\x0d\x0e";
    gsize size, found = 0;
    QTestState *qts;

    qts = qtest_init(EDU_MACHINE);
    qtest_writel(qts, VIRT_SMMU + 0x28, MARK);
    qtest_writel(qts, VIRT_SMMU + STRTAB_BASE_CFG, 1 << 16 | 8 << 6 | 10);
    qtest_writel(qts, VIRT_SMMU + CR0, CR0_CMDQEN | CR0_EVENTQEN |
                                       CR0_SMMUEN);
    migrate_to(qts, uri);
    qtest_quit(qts);

    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    for (gsize i = 0; i + sizeof(sent) < size; i++) {
        if (!memcmp(data + i, sent, sizeof(sent) - 1)) {
            data[i + 5] = 0;
            found++;
        }
    }
    g_assert_cmpint(found, ==, 1);
    g_assert_true(g_file_set_contents(path, data, size, NULL));

    qts = qtest_initf(EDU_MACHINE "-incoming %s", uri);
    for (int i = 0; i < 1000 && qtest_readl(qts, VIRT_SMMU + 0x28) != MARK;
         i++) {
        g_usleep(10000);
    }
    g_assert_cmphex(qtest_readl(qts, VIRT_SMMU + 0x28), ==, MARK);
    qtest_writel(qts, EDU + PCI_BASE_ADDRESS_0, PCI_MMIO);
    qtest_writew(qts, EDU + PCI_COMMAND, PCI_COMMAND_MEMORY |
                                         PCI_COMMAND_MASTER);
    qtest_writeq(qts, PCI_MMIO + EDU_DMA_SRC, EDU_BUFFER);
    qtest_writeq(qts, PCI_MMIO + EDU_DMA_DST, VA);
    qtest_writeq(qts, PCI_MMIO + EDU_DMA_COUNT, 8);
    qtest_writeq(qts, PCI_MMIO + EDU_DMA_CMD, 3);
    qtest_clock_step(qts, 200 * 1000 * 1000);
    g_assert_cmphex(qtest_readl(qts, VIRT_SMMU + 0x28), ==, MARK);
    g_assert_cmphex(qtest_readq(qts, PCI_MMIO + EDU_DMA_CMD) & 1, ==, 0);
    qtest_quit(qts);
    unlink(path);
    rmdir(dir);
}

/* What ran into assertions */
static void test_reserved(void)
{
    Fix f;

    start_with(&f, "stage=nested," UNIT_SVA, "");
    write_cd(&f, CDTAB(A) + 64, cd_of(1) | 7ULL << 32, 1);
    space_of(&f, A, 1);
    qtest_writeq(f.qts, ste_addr(B), STE_V | 6ULL << 1);
    qtest_writeq(f.qts, ste_addr(C), STE_V | 7ULL << 1);
    g_assert_cmpint(space_of(&f, B, SVADEV_PASID_NONE), ==, -1);
    g_assert_cmpint(space_of(&f, C, 1), ==, -1);
    stop(&f);
}

/* --- anything, in any order --- */

typedef struct Random {
    Fix f;
    GRand *rand;
} Random;

static uint64_t any(Random *r)
{
    return (uint64_t)g_rand_int(r->rand) << 32 | g_rand_int(r->rand);
}

static unsigned below(Random *r, unsigned n)
{
    return g_rand_int_range(r->rand, 0, n);
}

/* An address that something may be at */
static uint64_t any_place(Random *r)
{
    switch (below(r, 6)) {
    case 0:
        return any(r);
    case 1:
        return r->f.ctl[below(r, DEVICES)] + below(r, 0x1000);
    case 2:
        return r->f.pages[below(r, DEVICES)] + below(r, 0x1000);
    case 3:
        return SMMU(below(r, 2)) + below(r, 0x100);
    case 4:
        return CDTAB(below(r, DEVICES)) + below(r, 0x40) * 64;
    default:
        return PT(below(r, SPACES), below(r, 4)) + below(r, 0x200) * 8;
    }
}

static void random_register(Random *r)
{
    static const unsigned regs[] = {
        CR0, GERRORN, STRTAB_BASE, STRTAB_BASE_CFG, CMDQ_BASE, CMDQ_PROD,
        CMDQ_CONS, EVTQ_BASE, EVTQ_PROD, EVTQ_CONS, 0x44, 0x50
    };
    unsigned reg = below(r, 4) ? regs[below(r, ARRAY_SIZE(regs))] :
                                 below(r, 0x40) * 4;
    int unit = below(r, 2);

    reg |= below(r, 4) ? 0 : 0x10000;           /* the other page is the same */
    switch (below(r, 4)) {
    case 0:
        smmu_write(&r->f, unit, reg, any(r));
        break;
    case 1:
        smmu_write(&r->f, unit, reg, below(r, 0x40));
        break;
    case 2:
        /* the size of a queue is what a round takes */
        smmu_writeq(&r->f, unit, reg & ~7, (any_place(r) & ~0x1fULL) |
                                           below(r, 10));
        break;
    default:
        smmu_read(&r->f, unit, reg);
    }
}

static uint64_t any_command(Random *r)
{
    static const uint8_t ops[] = {
        1, 2, CFGI_STE, CFGI_STE_RANGE, CFGI_CD, CFGI_CD_ALL, TLBI_NH_ALL,
        TLBI_NH_ASID, TLBI_NH_VA, TLBI_NH_VAA, 0x20, 0x22, 0x28, 0x2a,
        TLBI_NSNH_ALL, ATC_INV, 0x41, 0x44, 0x45, CMD_SYNC
    };

    if (!below(r, 10)) {
        return any(r);
    }
    return ops[below(r, ARRAY_SIZE(ops))] | (any(r) & 0xfffff800) |
           (uint64_t)SID(below(r, DEVICES)) << 32 | (uint64_t)below(r, 8) << 48;
}

static void random_commands(Random *r)
{
    int unit = below(r, 2), n = below(r, 20);

    for (int i = 0; i < n; i++) {
        put(&r->f, unit, any_command(r), below(r, 2) ? any(r) :
                                         VA | below(r, 0x1000));
    }
    go(&r->f, unit);
    if (in_error(&r->f, unit) && below(r, 2)) {
        qtest_writeq(r->f.qts, slot_addr(unit, cons(&r->f, unit)), CMD_SYNC);
        acknowledge(&r->f, unit);
    }
}

static void random_structure(Random *r)
{
    int dev = below(r, DEVICES);

    switch (below(r, 6)) {
    case 0:
        for (int i = 0; i < 8; i++) {
            qtest_writeq(r->f.qts, ste_addr(dev) + 8 * i, any(r));
        }
        break;
    case 1:
        set_ste(&r->f, dev, (uint64_t)below(r, 8) << 1 |
                            STE_FMT(below(r, 4)) | STE_CDMAX(below(r, 18)),
                below(r, 4) | (uint64_t)below(r, 4) << 28);
        break;
    case 2:
        set_cd(&r->f, dev, below(r, 64), below(r, SPACES));
        break;
    case 3:
        write_cd(&r->f, CDTAB(dev) + 64 * below(r, 8),
                 cd_of(below(r, SPACES)) ^ 1ULL << below(r, 64),
                 below(r, SPACES));
        break;
    case 4:
        qtest_writeq(r->f.qts, L1CDS(dev) + 8 * below(r, 8),
                     (below(r, 2) ? any_place(r) : L2CDS(dev, 1)) | 1);
        break;
    default:
        qtest_writeq(r->f.qts, PT(below(r, SPACES), 1 + below(r, 3)) +
                               8 * below(r, 0x20),
                     (below(r, 2) ? any_place(r) & ~0xfffULL :
                                    PAGE(below(r, SPACES))) |
                     (any(r) & 0x00780000000004c3ULL));
    }
}

static void random_device(Random *r)
{
    int dev = below(r, DEVICES);
    uint32_t pasid = below(r, 4) ? below(r, 4) : below(r, 0x100000);

    switch (below(r, 8)) {
    case 0:
        set_ats(&r->f, dev, below(r, 2));
        break;
    case 1:
        dev_write(&r->f, dev, SVADEV_LATE, below(r, 7) |
                                           (uint64_t)below(r, 5000) << 32);
        break;
    case 2:
        dev_write(&r->f, dev, SVADEV_MUTE, below(r, 3));
        break;
    case 3:
        dev_write(&r->f, dev, SVADEV_INJECT, below(r, 7) |
                                             (uint64_t)below(r, 3) << 32);
        break;
    case 4:
        dev_write(&r->f, dev, SVADEV_VERIFY, below(r, 2) ? SVADEV_PASID_ALL :
                                             pasid);
        break;
    default:
        try_op(&r->f, dev, below(r, 3) ? pasid : SVADEV_PASID_NONE,
               1 + below(r, 8), below(r, 2) ? VA : any_place(r));
    }
}

static void test_random(const void *opaque)
{
    const char *seed = g_getenv("SMMUV3_SEED");
    Random r = {
        .rand = g_rand_new_with_seed(seed ? atoi(seed) : 1),
    };
    unsigned rounds = g_test_slow() ? ROUNDS_SLOW : ROUNDS_QUICK;

    start_with(&r.f, opaque, ",x-msi=on,x-cont-erratum=on,x-cmdqs=9");
    for (unsigned i = 0; i < rounds; i++) {
        if (!below(&r, 200)) {
            qtest_system_reset(r.f.qts);
            memset(r.f.pasid, 0, sizeof(r.f.pasid));
            start_functions(&r.f);
        }
        switch (below(&r, 16)) {
        case 0:
            random_register(&r);
            break;
        case 1:
            qtest_clock_step(r.f.qts, below(&r, 2 * TIMEOUT_NS));
            break;
        case 2 ... 5:
            random_structure(&r);
            break;
        case 6 ... 9:
            random_commands(&r);
            break;
        case 10:
            start_queues(&r.f, below(&r, 2), CR0_SMMUEN | CR0_ATSCHK);
            break;
        default:
            random_device(&r);
        }
    }
    assert_works(&r.f);
    stop(&r.f);
    g_rand_free(r.rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/smmuv3-hostile/unanswered", test_unanswered);
    qtest_add_func("/smmuv3-hostile/many-pasids", test_many_pasids);
    qtest_add_func("/smmuv3-hostile/many-owners", test_many_owners);
    qtest_add_func("/smmuv3-hostile/large-entry", test_large_entry);
    qtest_add_func("/smmuv3-hostile/migrated-split", test_migrated_split);
    qtest_add_func("/smmuv3-hostile/in-registers", test_in_registers);
    qtest_add_func("/smmuv3-hostile/reserved", test_reserved);
    qtest_add_data_func("/smmuv3-hostile/random", "x-httu=on," UNIT_SVA,
                        test_random);
    qtest_add_data_func("/smmuv3-hostile/random-nested",
                        "stage=nested," UNIT_SVA, test_random);
    return g_test_run();
}
