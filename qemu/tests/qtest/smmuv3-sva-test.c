/*
 * QTest of SMMUv3 with SubstreamIDs and ATS: what each command drops, and what
 * it does not; what is refused; commands that take time; and what VERIFY finds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "smmuv3-fixture.h"

/* --- the machine --- */

static void test_two_instances(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(dev_read(&f, A, SVADEV_UNIT), ==,
                    dev_read(&f, B, SVADEV_UNIT));
    g_assert_cmpint(dev_read(&f, A, SVADEV_UNIT), !=,
                    dev_read(&f, C, SVADEV_UNIT));
    run(&f, 0, tlbi_asid(1), 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_TAG), ==, 1);
    g_assert_cmpint(dev_read(&f, B, SVADEV_U_SYNC), ==, 1);
    g_assert_cmpint(dev_read(&f, C, SVADEV_U_IOTLB_TAG), ==, 0);
    g_assert_cmpint(dev_read(&f, C, SVADEV_U_SYNC), ==, 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_of(&f, B, 1), ==, 3);
    g_assert_cmpint(space_of(&f, C, 1), ==, 4);
    stop(&f);
}

/* iommu-map: buses 1 and 2, each with an instance of its own; and no ATS */
static void test_device_tree(void)
{
    const size_t size = 1 * MiB;
    g_autofree uint8_t *dtb = g_malloc(size);
    const char ats[] = "ats-supported";
    uint32_t map[4], phandle[2] = { };
    Fix f;

    start(&f);
    qtest_memread(f.qts, RAM, dtb, size);
    g_assert_cmphex((uint32_t)ldl_be_p(dtb), ==, 0xd00dfeed);
    for (size_t at = 0; at + sizeof(map) <= size; at += 4) {
        for (int i = 0; i < ARRAY_SIZE(map); i++) {
            map[i] = ldl_be_p(dtb + at + 4 * i);
        }
        for (int port = 0; port < 2; port++) {
            uint32_t rid = 0x100 << port;

            if (map[0] == rid && map[2] == rid && map[3] == 0x100) {
                g_assert_cmpint(phandle[port], ==, 0);
                phandle[port] = map[1];
            }
        }
    }
    g_assert_true(phandle[0] && phandle[1] && phandle[0] != phandle[1]);
    g_assert_nonnull(memmem(dtb, size, ats, sizeof(ats)));
    stop(&f);
}

/* --- SubstreamIDs --- */

static void set_two_levels(Fix *f, int dev, int fmt, uint32_t ssid, int space)
{
    unsigned split = fmt == 1 ? 6 : 10;

    set_ste(f, dev, STE_S1 | STE_CDMAX(16) | STE_FMT(fmt),
            STE_DSS(DSS_BYPASS));
    qtest_writeq(f->qts, L1CDS(dev) + (ssid >> split) * 8, L2CDS(dev, 1) | 1);
    write_cd(f, L2CDS(dev, 1) + (ssid & MAKE_64BIT_MASK(0, split)) * 64,
             cd_of(space), space);
}

static void test_formats(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(smmu_read(&f, 0, IDR1) >> 6 & 0x1f, ==, 16);
    set_two_levels(&f, A, 1, 0x1234, 5);
    set_two_levels(&f, B, 2, 0xfedc, 6);
    g_assert_cmpint(space_of(&f, A, 0x1234), ==, 5);
    g_assert_cmpint(space_of(&f, B, 0xfedc), ==, 6);
    g_assert_cmpint(space_of(&f, C, 1), ==, 4);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    stop(&f);
}

static void expect(Fix *f, int dev, uint32_t pasid, int type, int ssid)
{
    int got = -1;

    g_assert_cmpint(space_of(f, dev, pasid), ==, -1);
    g_assert_cmpint(event(f, UNIT(dev), &got), ==, type);
    g_assert_cmpint(got, ==, ssid);
    g_assert_cmpint(event(f, UNIT(dev), NULL), ==, -1);
}

static void test_bad_substreams(void)
{
    Fix f;

    start(&f);
    expect(&f, A, 64, EVT_BAD_SSID, 64);        /* beyond S1CDMax */
    expect(&f, A, 3, EVT_BAD_CD, 3);
    set_ste(&f, B, STE_S1, 0);                  /* one CD: no SubstreamIDs */
    expect(&f, B, 1, EVT_BAD_SSID, 1);
    set_ste(&f, C, STE_BYPASS, 0);
    expect(&f, C, 1, EVT_BAD_SSID, 1);
    set_ste(&f, A, STE_S1 | STE_CDMAX(17), 0);  /* beyond SSIDSIZE */
    run(&f, 0, cfgi_ste(A), 0);
    expect(&f, A, 1, EVT_BAD_STE, 1);
    set_two_levels(&f, A, 1, 64, 5);            /* level 1 is not valid */
    run(&f, 0, cfgi_ste(A), 0);
    expect(&f, A, 1, EVT_BAD_SSID, 1);
    stop(&f);
}

static void test_default_substream(void)
{
    Fix f;

    start(&f);
    qtest_memset(f.qts, PAGE(7), 7, 8);
    g_assert_cmpint(space_at(&f, A, SVADEV_PASID_NONE, PAGE(7)), ==, 7);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_TERMINATE));
    run(&f, 0, cfgi_ste(A), 0);
    expect(&f, A, SVADEV_PASID_NONE, EVT_DISABLED, -1);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_SSID0));
    set_cd(&f, A, 0, 5);
    run(&f, 0, cfgi_ste(A), 0);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 5);
    expect(&f, A, 0, EVT_DISABLED, 0);
    stop(&f);
}

/* Faults have the PASID of the request, and its absence. */
static void test_events(void)
{
    Fix f;

    start(&f);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_SSID0));
    set_cd(&f, A, 0, 5);
    set_pte(&f, 5, VA, 0);
    set_pte(&f, 2, VA, 0);
    expect(&f, A, 2, EVT_TRANSLATION, 2);
    expect(&f, A, SVADEV_PASID_NONE, EVT_TRANSLATION, -1);
    set_pte(&f, 2, VA, PAGE(2) | PTE_PAGE);
    expect(&f, A, 2, EVT_ACCESS, 2);
    set_pte(&f, 2, VA, PAGE(2) | PTE_PAGE | PTE_AF | PTE_RO);
    g_assert_cmpint(try_op(&f, A, 2, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_DMA);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_PERMISSION);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 4);
    stop(&f);
}

/* --- caches of the configuration --- */

/*
 * All four of the structures' users are cached. Then each gets another address
 * space, and after a command those that it names must show it: a bit each.
 */
#define A1      1
#define A2      2
#define B1      4
#define A_STE   8
#define B_STE   16

static unsigned changed(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;

    renew(f);
    g_assert_cmpint(space_of(f, A, 1), ==, 1);
    g_assert_cmpint(space_of(f, A, 2), ==, 2);
    g_assert_cmpint(space_of(f, B, 1), ==, 3);
    set_cd(f, A, 1, 5);
    set_cd(f, A, 2, 6);
    set_cd(f, B, 1, 7);
    set_ste(f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_TERMINATE));
    set_ste(f, B, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_TERMINATE));
    run(f, 0, lo, hi);
    mask |= space_of(f, A, 1) == 5 ? A1 : 0;
    mask |= space_of(f, A, 2) == 6 ? A2 : 0;
    mask |= space_of(f, B, 1) == 7 ? B1 : 0;
    mask |= space_at(f, A, SVADEV_PASID_NONE, PAGE(1)) < 0 ? A_STE : 0;
    mask |= space_at(f, B, SVADEV_PASID_NONE, PAGE(1)) < 0 ? B_STE : 0;
    return mask;
}

static void test_config_commands(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(changed(&f, CMD_SYNC, 0), ==, 0);
    g_assert_cmphex(changed(&f, TLBI_NSNH_ALL, 0), ==, 0);
    g_assert_cmphex(changed(&f, cfgi_cd(A, 1), LEAF), ==, A1);
    g_assert_cmphex(changed(&f, cfgi_cd(A, 2), 0), ==, A2);
    g_assert_cmphex(changed(&f, cfgi_cd(A, 3), 0), ==, 0);
    g_assert_cmphex(changed(&f, cfgi_cd(B, 1), LEAF), ==, B1);
    g_assert_cmphex(changed(&f, cfgi_cd(C, 1), LEAF), ==, 0);
    g_assert_cmphex(changed(&f, CFGI_CD_ALL | (uint64_t)SID(A) << 32, 0), ==,
                    A1 | A2);
    g_assert_cmphex(changed(&f, cfgi_ste(A), LEAF), ==, A1 | A2 | A_STE);
    g_assert_cmphex(changed(&f, cfgi_ste(B), LEAF), ==, B1 | B_STE);
    g_assert_cmphex(changed(&f, CFGI_STE_RANGE | (uint64_t)SID(A) << 32, 0), ==,
                    A1 | A2 | B1 | A_STE | B_STE);
    g_assert_cmphex(changed(&f, CFGI_STE_RANGE | (uint64_t)0x102 << 32, 0), ==,
                    0);
    g_assert_cmphex(changed(&f, CFGI_STE_RANGE, 31), ==,
                    A1 | A2 | B1 | A_STE | B_STE);
    stop(&f);
}

/* What is not valid is cached as well, each structure by itself. */
static void test_invalid_cached(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(space_of(&f, A, 3), ==, -1);
    set_cd(&f, A, 3, 5);
    g_assert_cmpint(space_of(&f, A, 3), ==, -1);
    run(&f, 0, cfgi_cd(A, 3), LEAF);
    g_assert_cmpint(space_of(&f, A, 3), ==, 5);

    set_ste(&f, B, 0, 0);
    g_assert_cmpint(space_of(&f, B, 1), ==, -1);
    set_ste(&f, B, STE_S1 | STE_CDMAX(6), 0);
    g_assert_cmpint(space_of(&f, B, 1), ==, -1);
    run(&f, 0, cfgi_cd(B, 1), 0);
    g_assert_cmpint(space_of(&f, B, 1), ==, -1);
    run(&f, 0, cfgi_ste(B), LEAF);
    g_assert_cmpint(space_of(&f, B, 1), ==, 3);

    set_two_levels(&f, C, 1, 64, 5);
    run(&f, 1, cfgi_ste(C), LEAF);
    g_assert_cmpint(space_of(&f, C, 128), ==, -1);
    qtest_writeq(f.qts, L1CDS(C) + 2 * 8, L2CDS(C, 1) | 1);
    run(&f, 1, cfgi_cd(C, 128), LEAF);
    g_assert_cmpint(space_of(&f, C, 128), ==, -1);
    run(&f, 1, cfgi_cd(C, 64), 0);              /* another descriptor's */
    g_assert_cmpint(space_of(&f, C, 128), ==, -1);
    run(&f, 1, cfgi_cd(C, 128), 0);
    g_assert_cmpint(space_of(&f, C, 128), ==, 5);
    stop(&f);
}

/* --- the TLB --- */

/*
 * Pages VA and VA2 of space 1, VA of 2 are cached, and then gone from the
 * tables: a bit for each that @lo, @hi has dropped.
 */
static unsigned dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;

    renew(f);
    set_pte(f, 1, VA2, PAGE(1) | PTE_PAGE | PTE_AF);
    g_assert_cmpint(space_of(f, A, 1), ==, 1);
    g_assert_cmpint(space_at(f, A, 1, VA2), ==, 1);
    g_assert_cmpint(space_of(f, A, 2), ==, 2);
    set_pte(f, 1, VA, 0);
    set_pte(f, 1, VA2, 0);
    set_pte(f, 2, VA, 0);
    run(f, 0, lo, hi);
    mask |= space_of(f, A, 1) < 0 ? 1 : 0;
    mask |= space_at(f, A, 1, VA2) < 0 ? 2 : 0;
    mask |= space_of(f, A, 2) < 0 ? 4 : 0;
    return mask;
}

static void test_tlb_commands(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(dropped(&f, CMD_SYNC, 0), ==, 0);
    g_assert_cmphex(dropped(&f, CFGI_STE_RANGE, 31), ==, 0);
    g_assert_cmphex(dropped(&f, tlbi_va(1), VA), ==, 1);
    g_assert_cmphex(dropped(&f, tlbi_va(1), VA2 | LEAF), ==, 2);
    g_assert_cmphex(dropped(&f, tlbi_va(2), VA), ==, 4);
    g_assert_cmphex(dropped(&f, tlbi_va(3), VA), ==, 0);
    g_assert_cmphex(dropped(&f, TLBI_NH_VAA, VA), ==, 5);
    g_assert_cmphex(dropped(&f, tlbi_asid(1), 0), ==, 3);
    g_assert_cmphex(dropped(&f, tlbi_asid(2), 0), ==, 4);
    g_assert_cmphex(dropped(&f, TLBI_NH_ALL, 0), ==, 7);
    g_assert_cmphex(dropped(&f, TLBI_NSNH_ALL, 0), ==, 7);
    stop(&f);
}

static void test_tlb_ranges(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 1, 0), VA | TG_4K | TTL(3)), ==,
                    1);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K), ==, 3);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 1, 1), VA | TG_4K), ==, 3);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 17, 0), TG_4K), ==, 1);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 16, 0), TG_4K), ==, 0);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K | TTL(3)), ==,
                    3);
    /* entries of another level, or of another granule */
    g_assert_cmphex(dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K | TTL(2)), ==,
                    0);
    g_assert_cmphex(dropped(&f, tlbi_range(1, 2, 0), VA | 3ULL << 10), ==, 0);
    stop(&f);
    /* without ranges the fields are nothing, and it is one page */
    start_with(&f, UNIT_SVA, ",x-ril=off");
    g_assert_cmphex(dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K), ==, 1);
    stop(&f);
}

/* A block of 2 MiB around VA, which is then gone: whether @lo, @hi drops it */
static unsigned block_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    renew(f);
    qtest_writeq(f->qts, PT(1, 2), (RAM + 64 * MiB) | PTE_BLOCK | PTE_AF);
    qtest_memset(f->qts, RAM + 64 * MiB + VA, 9, 8);
    g_assert_cmpint(space_of(f, A, 1), ==, 9);
    qtest_writeq(f->qts, PT(1, 2), 0);
    g_assert_cmpint(space_of(f, A, 1), ==, 9);
    run(f, 0, lo, hi);
    return space_of(f, A, 1) < 0;
}

static void test_tlb_blocks(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(block_dropped(&f, tlbi_va(1), VA), ==, 1);
    g_assert_cmpint(block_dropped(&f, tlbi_va(1), 0x1ff000), ==, 1);
    g_assert_cmpint(block_dropped(&f, tlbi_va(1), 0x200000), ==, 0);
    g_assert_cmpint(block_dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K), ==, 1);
    g_assert_cmpint(block_dropped(&f, tlbi_range(1, 1, 0), TG_4K | TTL(2)), ==,
                    1);
    g_assert_cmpint(block_dropped(&f, tlbi_range(1, 1, 0), TG_4K | TTL(1)), ==,
                    0);
    g_assert_cmpint(block_dropped(&f, tlbi_range(1, 1, 9), TG_4K | TTL(3)), ==,
                    0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    /* where a range begins that does not begin with a block is not known */
    g_assert_cmpint(block_dropped(&f, tlbi_range(1, 1, 9),
                                  VA | TG_4K | TTL(2)), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 1);
    stop(&f);
}

/* CERROR_ILL. The command becomes a CMD_SYNC, as Linux makes it one. */
static void refused(Fix *f, uint64_t lo, uint64_t hi)
{
    uint32_t at = f->tail[0];

    put(f, 0, lo, hi);
    go(f, 0);
    g_assert_true(in_error(f, 0));
    g_assert_cmpint(cerror(f, 0), ==, CERROR_ILL);
    g_assert_cmpint(cons(f, 0), ==, at);
    qtest_writeq(f->qts, slot_addr(0, at), CMD_SYNC);
    acknowledge(f, 0);
    g_assert_true(done(f, 0));
}

/* Ranges that mean nothing, or nothing certain */
static void test_tlb_reserved(void)
{
    Fix f;

    start(&f);
    refused(&f, tlbi_range(1, 1, 0), VA | TG_4K);
    refused(&f, tlbi_range(1, 1, 0), VA | TG_16K);
    refused(&f, tlbi_range(1, 1, 0), VA | TG_16K | TTL(1));
    refused(&f, tlbi_range(1, 1, 0), VA | TG_64K);
    run(&f, 0, tlbi_range(1, 2, 0), VA | TG_16K | TTL(1));
    run(&f, 0, tlbi_range(1, 1, 0), 0x40000000 | TG_4K | TTL(1));
    run(&f, 0, tlbi_range(1, 1, 0), 0x2000000 | TG_16K | TTL(2));
    run(&f, 0, tlbi_range(1, 1, 0), 0x20000000 | TG_64K | TTL(2));
    run(&f, 0, tlbi_range(1, 1, 0), 0x40000000000 | TG_64K | TTL(1));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    run(&f, 0, tlbi_range(1, 1, 0), 0x20000000 | TG_4K | TTL(1));
    run(&f, 0, tlbi_range(1, 1, 0), 0x100000 | TG_4K | TTL(2));
    run(&f, 0, tlbi_range(1, 2, 0), 0x2000 | TG_16K);
    run(&f, 0, tlbi_range(1, 2, 0), 0x2000 | TG_16K | TTL(1));
    run(&f, 0, tlbi_range(1, 1, 0), 0x1000000 | TG_16K | TTL(2));
    run(&f, 0, tlbi_range(1, 1, 0), 0x8000 | TG_64K | TTL(3));
    run(&f, 0, tlbi_range(1, 1, 0), 0x10000000 | TG_64K | TTL(2));
    run(&f, 0, tlbi_range(1, 1, 0), 0x20000000000 | TG_64K | TTL(1));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 8);
    stop(&f);
    /* without ranges the fields are nothing */
    start_with(&f, UNIT_SVA, ",x-ril=off");
    run(&f, 0, tlbi_range(1, 1, 0), VA | TG_4K);
    run(&f, 0, tlbi_range(1, 1, 0), VA | TG_4K | TTL(2));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    stop(&f);
}

/* 16 pages of a group make one entry, which any of them drops. */
static unsigned group_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;
    uint64_t misses;

    renew(f);
    misses = dev_read(f, A, SVADEV_U_IOTLB_MISS);
    for (int i = 0; i < 16; i++) {
        set_pte(f, 1, VA + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                        PTE_PAGE | PTE_AF | PTE_CONT);
        qtest_memset(f->qts, RAM + 176 * MiB + i * 0x1000, i + 1, 8);
    }
    g_assert_cmpint(space_at(f, A, 1, VA + 0x3000), ==, 4);
    for (int i = 0; i < 16; i++) {
        set_pte(f, 1, VA + i * 0x1000, 0);
    }
    g_assert_cmpint(space_at(f, A, 1, VA + 0xf000), ==, 16);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_IOTLB_MISS), ==, misses + 1);
    run(f, 0, lo, hi);
    mask |= space_at(f, A, 1, VA) < 0 ? 1 : 0;
    mask |= space_at(f, A, 1, VA + 0xf000) < 0 ? 2 : 0;
    return mask;
}

static void test_contiguous(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(group_dropped(&f, tlbi_va(1), VA + 0x5000), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_va(1), VA + 0x10000), ==, 0);
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 5, 0), VA | TG_4K), ==, 3);
    stop(&f);

    start_with(&f, UNIT_SVA, ",x-cont-erratum=on");
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 5, 0), VA | TG_4K), ==, 0);
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 16, 0), VA | TG_4K), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 17, 0), VA | TG_4K), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_va(1), VA), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_asid(1), 0), ==, 3);
    stop(&f);
}

/* One makes room for one, and is counted. */
static void test_evicted(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 300; i++) {
        set_pte(&f, 1, VA + i * 0x1000, PAGE(1) | PTE_PAGE | PTE_AF);
        g_assert_cmpint(space_at(&f, A, 1, VA + i * 0x1000), ==, 1);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 300 - 256);
    g_assert_cmpint(stale(&f, A), ==, 0);
    for (int i = 0; i < 300; i++) {
        set_pte(&f, 1, VA + i * 0x1000, 0);
    }
    g_assert_cmpint(stale(&f, A), ==, 256);
    stop(&f);
}

/* A page becomes writable. Nobody needs to tell. */
static void test_walks_again(void)
{
    Fix f;

    start(&f);
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF | PTE_RO);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_DMA);
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_NONE);
    stop(&f);
}

/* --- counters, and one that is lost --- */

static void test_counters(void)
{
    Fix f;

    start(&f);
    put(&f, 0, cfgi_ste(A), 0);
    put(&f, 0, cfgi_cd(A, 1), 0);
    put(&f, 0, tlbi_va(1), VA);
    put(&f, 0, tlbi_asid(1), 0);
    put(&f, 0, TLBI_NH_ALL, 0);
    put(&f, 0, atc_inv(SID(A), 1), VA);
    put(&f, 0, atc_inv(SID(A), 1), 52);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_CONFIG), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_RANGE), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_TAG), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_ALL), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_ATC_RANGE), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_ATC_ALL), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_SYNC), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_DROPPED), ==, 0);
    stop(&f);
}

/* Of CFGI_CD, CFGI_STE, TLBI and ATC_INV, those that a loss of @kind meets */
static unsigned lost(Fix *f, unsigned kind)
{
    const uint64_t cmds[] = {
        cfgi_cd(A, 1), cfgi_ste(A), tlbi_asid(1), atc_inv(SID(A), 1)
    };
    unsigned mask = 0;

    for (int i = 0; i < ARRAY_SIZE(cmds); i++) {
        uint64_t before = dev_read(f, A, SVADEV_U_DROPPED);

        lose_next(f, A, kind);
        run(f, 0, cmds[i], 0);
        if (dev_read(f, A, SVADEV_U_DROPPED) == before + 1) {
            mask |= 1 << i;
            g_assert_cmphex(dev_read(f, A, SVADEV_INJECT) >> 32, ==, 0);
        }
    }
    return mask;
}

static void test_loss(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(lost(&f, SVADEV_INJECT_PASID), ==, 1);
    g_assert_cmphex(lost(&f, SVADEV_INJECT_FUNCTION), ==, 2);
    g_assert_cmphex(lost(&f, SVADEV_INJECT_CONFIG), ==, 3);
    g_assert_cmphex(lost(&f, SVADEV_INJECT_IOTLB), ==, 4);
    g_assert_cmphex(lost(&f, SVADEV_INJECT_ATC), ==, 8);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_cd(&f, A, 1, 5);
    lose_next(&f, A, SVADEV_INJECT_PASID);
    run(&f, 0, cfgi_cd(A, 1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    run(&f, 0, cfgi_cd(A, 1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 5);

    /* each of a kind, as some are sent twice */
    set_cd(&f, A, 1, 6);
    dev_write(&f, A, SVADEV_INJECT, SVADEV_INJECT_PASID |
                                    (uint64_t)SVADEV_INJECT_ALL << 32);
    run(&f, 0, cfgi_cd(A, 1), 0);
    run(&f, 0, cfgi_cd(A, 1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 5);
    dev_write(&f, A, SVADEV_INJECT, 0);
    run(&f, 0, cfgi_cd(A, 1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 6);
    stop(&f);
}

/* --- ATS --- */

static void test_ats(void)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_XLATE), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_HIT), ==, 1);
    /* what the tables do not have is an answer, and no event */
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA2), ==,
                    SVADEV_ERR_NOT_MAPPED);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    /* a read-only page can be read by one that asks to write */
    set_pte(&f, 1, VA2, PAGE(1) | PTE_PAGE | PTE_AF | PTE_RO);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA2), ==,
                    SVADEV_ERR_NOT_MAPPED);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_FILL), ==, 2);
    /* S1DSS skips the first stage: an identity mapping */
    g_assert_cmpint(space_at(&f, A, SVADEV_PASID_NONE, PAGE(3)), ==, 3);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, 0);
    stop(&f);
}

static void expect_xlate(Fix *f, int dev, uint32_t pasid, uint64_t error,
                         int type)
{
    g_assert_cmpint(try_op(f, dev, pasid, SVADEV_OP_SUM, VA), ==, error);
    g_assert_cmpint(event(f, UNIT(dev), NULL), ==, type);
}

static void test_ats_refused(void)
{
    Fix f;

    start(&f);
    for (int dev = A; dev <= C; dev++) {
        set_ats(&f, dev, true);
    }
    /* errors of the configuration: Completer Abort, and no event */
    expect_xlate(&f, A, 3, SVADEV_ERR_DMA, -1);
    expect_xlate(&f, A, 64, SVADEV_ERR_DMA, -1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, 0);
    /* ATS is off: Unsupported Request */
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), 0);
    run(&f, 0, cfgi_ste(A), 0);
    expect_xlate(&f, A, 1, SVADEV_ERR_REFUSED, EVT_BAD_TREQ);
    set_ste(&f, B, STE_BYPASS, STE_EATS);
    expect_xlate(&f, B, 1, SVADEV_ERR_REFUSED, EVT_BAD_TREQ);
    qtest_writeq(f.qts, ste_addr(C) + 8, STE_EATS);
    qtest_writeq(f.qts, ste_addr(C), STE_V | STE_ABORT);
    expect_xlate(&f, C, 1, SVADEV_ERR_REFUSED, -1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_XLATE), ==, 2);
    g_assert_cmpint(dev_read(&f, C, SVADEV_U_REFUSED_XLATE), ==, 1);
    smmu_write(&f, 1, CR0, CR0_CMDQEN | CR0_EVENTQEN);
    expect_xlate(&f, C, 1, SVADEV_ERR_REFUSED, EVT_BAD_TREQ);
    stop(&f);
}

/* Requests with translated addresses, out of the ATC, after EATS is off */
static void test_translated(void)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_BYPASS));
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    run(&f, 0, cfgi_ste(A), 0);
    smmu_write(&f, 0, CR0, CR0_CMDQEN | CR0_EVENTQEN | CR0_SMMUEN);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 0);
    smmu_write(&f, 0, CR0,
               CR0_CMDQEN | CR0_EVENTQEN | CR0_SMMUEN | CR0_ATSCHK);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA), ==,
                    SVADEV_ERR_REFUSED);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_REFUSED_ACCESS), ==, 1);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_FORBIDDEN);
    /* nor without a default substream: the PASID does not count here */
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_TERMINATE) | STE_EATS);
    run(&f, 0, cfgi_ste(A), 0);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA), ==,
                    SVADEV_ERR_REFUSED);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    stop(&f);
}

/* VA of PASIDs 1 and 2, VA2 of PASID 1: those that a command drops */
static unsigned atc_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;
    uint64_t xlate;

    renew(f);
    set_ats(f, A, true);
    set_pte(f, 1, VA2, PAGE(1) | PTE_PAGE | PTE_AF);
    space_of(f, A, 1);
    space_at(f, A, 1, VA2);
    space_of(f, A, 2);
    run(f, 0, lo, hi);
    for (int i = 0; i < 3; i++) {
        xlate = dev_read(f, A, SVADEV_C_XLATE);
        space_at(f, A, i == 2 ? 2 : 1, i == 1 ? VA2 : VA);
        if (dev_read(f, A, SVADEV_C_XLATE) != xlate) {
            mask |= 1 << i;
        }
    }
    return mask;
}

static void test_atc_commands(void)
{
    uint64_t untagged = ATC_INV | (uint64_t)SID(A) << 32;
    Fix f;

    start(&f);
    g_assert_cmphex(atc_dropped(&f, CMD_SYNC, 0), ==, 0);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 1), VA), ==, 1);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 1), VA2), ==, 2);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 1), VA2 | 1), ==, 3);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 1), 52), ==, 3);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 2), 52), ==, 4);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(B), 1), 52), ==, 0);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 9) | CMD_G, VA), ==, 5);
    g_assert_cmphex(atc_dropped(&f, atc_inv(SID(A), 9) | CMD_G, 52), ==, 7);
    g_assert_cmphex(atc_dropped(&f, untagged, 52), ==, 7);
    g_assert_cmphex(atc_dropped(&f, untagged | CMD_G, VA), ==, 5);
    stop(&f);
}

static void test_atc_illegal(void)
{
    Fix f;

    start(&f);
    put(&f, 0, atc_inv(SID(A), 1), 53);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_true(in_error(&f, 0));
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ILL);
    g_assert_cmpint(cons(&f, 0), ==, 0);
    /* what Linux does: the command becomes a CMD_SYNC */
    qtest_writeq(f.qts, slot_addr(0, 0), CMD_SYNC);
    acknowledge(&f, 0);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    /* ignored while the SMMU is off */
    smmu_write(&f, 0, CR0, CR0_CMDQEN);
    run(&f, 0, atc_inv(SID_OF_NOBODY, 1), 0);
    stop(&f);

    start_with(&f, "x-ssidsize=16", "");
    put(&f, 0, atc_inv(SID(A), 1), 0);
    go(&f, 0);
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ILL);
    stop(&f);
}

/* --- commands that take time --- */

static void test_ats_off(void)
{
    Fix f;

    start(&f);
    set_ats(&f, B, true);
    run(&f, 0, atc_inv(SID(A), 1), 0);
    run(&f, 0, atc_inv(SID(B), 1), 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_ATC_OFF), ==, 1);
    g_assert_cmpint(dev_read(&f, B, SVADEV_C_INV_RANGE), ==, 1);
    g_assert_false(in_error(&f, 0));
    stop(&f);

    start_with(&f, UNIT_SVA, ",x-ats-off=mute");
    put(&f, 0, atc_inv(SID(A), 1), 0);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_ATC_OFF), ==, 1);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_true(in_error(&f, 0));
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ATC);
    stop(&f);
}

/* The CMD_SYNC fails, stays where it is, and is repeated. */
static void test_timeout(void)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    set_ats(&f, B, true);
    dev_write(&f, A, SVADEV_MUTE, 1);
    put(&f, 0, atc_inv(SID(A), 1), 0);
    put(&f, 0, atc_inv(SID(B), 1), 0);
    put(&f, 0, tlbi_asid(1), 0);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, tlbi_asid(2), 0);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(dev_read(&f, B, SVADEV_C_INV_RANGE), ==, 1);
    qtest_clock_step(f.qts, TIMEOUT_NS - 1);
    g_assert_cmpint(cons(&f, 0), ==, 3);
    g_assert_false(in_error(&f, 0));
    qtest_clock_step(f.qts, 1);
    g_assert_true(in_error(&f, 0));
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ATC);
    g_assert_cmpint(cons(&f, 0), ==, 3);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_TIMEOUT), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_SYNC), ==, 0);
    acknowledge(&f, 0);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_SYNC), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_TAG), ==, 2);
    stop(&f);
}

static void test_nobody(void)
{
    Fix f;

    start(&f);
    put(&f, 0, atc_inv(SID_OF_NOBODY, 1), 0);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ATC);
    stop(&f);
}

/* Late: over before the CMD_SYNC behind it is, and not before others. */
static void test_late(unsigned kind, uint64_t cmd, unsigned counter)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    set_ats(&f, B, true);
    be_late(&f, A, kind);
    put(&f, 0, cmd, 0);
    put(&f, 0, kind == SVADEV_INJECT_IOTLB ? cfgi_cd(B, 1) : TLBI_NH_ALL, 0);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 2);
    g_assert_cmpint(dev_read(&f, A, counter), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 1);
    qtest_clock_step(f.qts, LATE_NS - 1);
    g_assert_cmpint(cons(&f, 0), ==, 2);
    qtest_clock_step(f.qts, 1);
    g_assert_true(done(&f, 0));
    stop(&f);
}

static void test_late_each(void)
{
    test_late(SVADEV_INJECT_IOTLB, tlbi_asid(1), SVADEV_U_IOTLB_TAG);
    test_late(SVADEV_INJECT_CONFIG, cfgi_cd(A, 1), SVADEV_U_CONFIG);
    test_late(SVADEV_INJECT_PASID, cfgi_cd(A, 1), SVADEV_U_CONFIG);
    test_late(SVADEV_INJECT_ATC, atc_inv(SID(A), 1), SVADEV_U_ATC_RANGE);
}

/*
 * The TLB is invalidated late and the ATC at once, with no CMD_SYNC between
 * them: the ATC is filled from the old entry, for good.
 */
static void test_no_sync_between(bool sync)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    be_late(&f, A, SVADEV_INJECT_IOTLB);
    set_pte(&f, 1, VA, PAGE(5) | PTE_PAGE | PTE_AF);
    put(&f, 0, tlbi_va(1), VA);
    if (sync) {
        put(&f, 0, CMD_SYNC, 0);
    }
    put(&f, 0, atc_inv(SID(A), 1), VA);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(stale(&f, A), ==, !sync);
    g_assert_cmpint(space_of(&f, A, 1), ==, sync ? 5 : 1);
    stop(&f);
}

static void test_late_order(void)
{
    test_no_sync_between(true);
    test_no_sync_between(false);
}

static void test_late_sync(void)
{
    Fix f;

    start(&f);
    be_late(&f, A, SVADEV_LATE_SYNC);
    put(&f, 0, tlbi_asid(1), 0);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, tlbi_asid(1), 0);
    go(&f, 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    qtest_clock_step(f.qts, LATE_NS - 1);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    qtest_clock_step(f.qts, 1);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_SYNC), ==, 1);
    /* whoever writes LATE lets go what is held */
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_false(done(&f, 0));
    dev_write(&f, B, SVADEV_LATE, 0);
    g_assert_true(done(&f, 0));
    stop(&f);
}

/* --- VERIFY --- */

static void test_verify_tlb(void)
{
    Fix f;

    start(&f);
    space_of(&f, A, 1);
    space_of(&f, A, 2);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==, 5);
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF | PTE_RO);
    g_assert_cmpint(stale(&f, A), ==, 1);
    g_assert_cmphex(dev_read(&f, A, SVADEV_VERIFY_ADDR), ==, VA);
    dev_write(&f, A, SVADEV_VERIFY, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_STALE), ==, 0);
    dev_write(&f, A, SVADEV_VERIFY, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_STALE), ==, 1);
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE);     /* old, and still the page */
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_pte(&f, 1, VA, 0);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, tlbi_va(1), VA);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

static void test_verify_config(void)
{
    Fix f;

    start(&f);
    space_of(&f, A, 1);
    set_cd(&f, A, 1, 5);
    g_assert_cmpint(stale(&f, A), ==, 2);       /* the CD; nobody has ASID 1 */
    run(&f, 0, cfgi_cd(A, 1), LEAF);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, tlbi_asid(1), 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_ste(&f, A, STE_S1 | STE_CDMAX(6), STE_DSS(DSS_SSID0));
    g_assert_cmpint(stale(&f, B), ==, 1);
    run(&f, 0, cfgi_ste(A), LEAF);
    g_assert_cmpint(stale(&f, B), ==, 0);
    /* not valid, and cached: another one than what is there now */
    g_assert_cmpint(space_of(&f, A, 3), ==, -1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_cd(&f, A, 3, 6);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, cfgi_cd(A, 3), LEAF);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

/* The second stage has VMIDs. */
static void test_verify_second_stage(void)
{
    const uint64_t vmid5 = 5ULL << 32, vmid6 = 6ULL << 32;
    Fix f;

    start_machine(&f, "stage=2", "");
    qtest_memset(f.qts, PAGE(3), 3, 8);
    for (int space = 1; space <= 2; space++) {
        int dev = space == 1 ? A : B;

        set_space(&f, space);
        set_pte(&f, space, VA, PAGE(space) | PTE_S2PAGE | PTE_AF);
        qtest_writeq(f.qts, ste_addr(dev) + 16, STE_S2CFG(4 + space));
        qtest_writeq(f.qts, ste_addr(dev) + 24, PT(space, 1));
        qtest_writeq(f.qts, ste_addr(dev), STE_S2 | STE_V);
    }
    start_queues(&f, 0, CR0_SMMUEN);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 1);
    g_assert_cmpint(space_of(&f, B, SVADEV_PASID_NONE), ==, 2);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_pte(&f, 1, VA, 0);
    set_pte(&f, 2, VA, PAGE(3) | PTE_S2PAGE | PTE_AF);
    g_assert_cmpint(stale(&f, A), ==, 2);
    run(&f, 0, TLBI_S2_IPA | vmid5, VA);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, TLBI_S2_IPA | vmid6, VA2);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, TLBI_S12_VMALL | vmid6, 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, -1);
    g_assert_cmpint(space_of(&f, B, SVADEV_PASID_NONE), ==, 3);
    stop(&f);
}

/* An ASID that two CDs have must mean the same in both. */
static void test_verify_owners(void)
{
    Fix f;

    start(&f);
    space_of(&f, A, 1);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1), 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1), 5);
    g_assert_cmpint(stale(&f, A), ==, 1);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1) | CD_EPD0, 1);
    g_assert_cmpint(stale(&f, A), ==, 1);
    set_cd(&f, B, 7, 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

/* A group is split or made: the same translation, until a page of it is not. */
static void test_verify_contiguous(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 16; i++) {
        set_pte(&f, 1, VA + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                        PTE_PAGE | PTE_AF | PTE_CONT);
    }
    try_op(&f, A, 1, SVADEV_OP_SUM, VA);
    for (int i = 0; i < 16; i++) {
        set_pte(&f, 1, VA + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                        PTE_PAGE | PTE_AF);
    }
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_pte(&f, 1, VA + 0xf000, 0);
    g_assert_cmpint(stale(&f, A), ==, 1);
    stop(&f);
}

/* The other pages of a group do not answer for one. */
static void test_verify_page_of_group(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 16; i++) {
        set_pte(&f, 1, VA + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                        PTE_PAGE | PTE_AF | PTE_CONT);
    }
    try_op(&f, A, 1, SVADEV_OP_SUM, VA);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_pte(&f, 1, VA + 0x7000, 0);
    g_assert_cmpint(stale(&f, A), ==, 1);
    set_pte(&f, 1, VA + 0x7000, (RAM + 176 * MiB + 0x7000) | PTE_PAGE |
                                PTE_AF | PTE_CONT | PTE_RO);
    g_assert_cmpint(stale(&f, A), ==, 1);
    stop(&f);
}

/* One page of a group becomes dirty: nothing is stale. */
static void test_verify_dirty_group(void)
{
    Fix f;

    start_with(&f, UNIT_SVA, ",x-httu=on");
    write_cd(&f, CDTAB(A) + 64, cd_of(1) | CD_HA | CD_HD, 1);
    for (int i = 0; i < 16; i++) {
        set_pte(&f, 1, VA + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                        PTE_PAGE | PTE_AF | PTE_CONT |
                                        PTE_RO | PTE_DBM);
    }
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA + 0x5000), ==,
                    SVADEV_ERR_NONE);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_ats(&f, A, true);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA + 0x6000), ==,
                    SVADEV_ERR_NONE);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA), ==, SVADEV_ERR_NONE);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

static void test_verify_atc(void)
{
    Fix f;

    start(&f);
    set_ats(&f, A, true);
    space_of(&f, A, 1);
    set_pte(&f, 1, VA, 0);
    g_assert_cmpint(stale(&f, A), ==, 2);
    run(&f, 0, tlbi_va(1), VA);
    g_assert_cmpint(stale(&f, A), ==, 1);
    lose_next(&f, A, SVADEV_INJECT_ATC);
    run(&f, 0, atc_inv(SID(A), 1), VA);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, atc_inv(SID(A), 1), VA);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

/* --- properties --- */

static void test_properties(void)
{
    Fix f;

    start_machine(&f, "stage=1", ",x-msi=on,x-httu=on,x-cmdqs=5,x-ats=on,"
                                 "x-ssidsize=20,x-ril=off");
    g_assert_cmphex(smmu_read(&f, 0, IDR0) & (1 << 13 | 3 << 6 | 1 << 10 |
                                              1 << 19), ==,
                    1 << 13 | 2 << 6 | 1 << 10 | 1 << 19);
    g_assert_cmphex(smmu_read(&f, 1, IDR0) & (1 << 13 | 3 << 6 | 1 << 10 |
                                              1 << 19), ==, 0);
    g_assert_cmpint(smmu_read(&f, 0, IDR1) >> 21 & 0x1f, ==, 5);
    g_assert_cmpint(smmu_read(&f, 0, IDR1) >> 6 & 0x1f, ==, 20);
    g_assert_cmpint(smmu_read(&f, 1, IDR1) >> 21 & 0x1f, ==, 19);
    g_assert_cmpint(smmu_read(&f, 0, IDR3) >> 10 & 1, ==, 0);
    g_assert_cmpint(smmu_read(&f, 1, IDR3) >> 10 & 1, ==, 1);
    stop(&f);
}

/* The MSI goes to the command itself, as with Linux, and when it is due. */
static void test_msi(void)
{
    Fix f;

    start_with(&f, UNIT_SVA, ",x-msi=on");
    be_late(&f, A, SVADEV_LATE_SYNC);
    put(&f, 0, CMD_SYNC | SYNC_IRQ, slot_addr(0, 0));
    go(&f, 0);
    g_assert_cmphex(qtest_readl(f.qts, slot_addr(0, 0)), !=, 0);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmphex(qtest_readl(f.qts, slot_addr(0, 0)), ==, 0);
    dev_write(&f, A, SVADEV_LATE, 0);
    run(&f, 0, CMD_SYNC | SYNC_IRQ | 0x1234567ULL << 32, MSI(0));
    g_assert_cmphex(qtest_readl(f.qts, MSI(0)), ==, 0x1234567);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    /* a register is no place for it */
    run(&f, 0, CMD_SYNC | SYNC_IRQ, f.ctl[A] + SVADEV_LATE);
    g_assert_cmphex(smmu_read(&f, 0, GERROR) & 0x10, ==, 0x10);
    stop(&f);
}

static void test_httu(void)
{
    uint64_t cd = cd_of(1) | CD_HA | CD_HD;
    uint64_t clean = PAGE(1) | PTE_PAGE | PTE_RO | PTE_DBM;
    Fix f;

    start_with(&f, UNIT_SVA, ",x-httu=on");
    write_cd(&f, CDTAB(A) + 64, cd, 1);
    set_pte(&f, 1, VA, clean);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA)), ==, clean | PTE_AF);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_NONE);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA)), ==,
                    (clean | PTE_AF) & ~PTE_RO);
    /* without DBM it is read-only, and stays so */
    set_pte(&f, 1, VA2, PAGE(1) | PTE_PAGE | PTE_RO);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA2), ==, SVADEV_ERR_DMA);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA2)) & PTE_RO, ==, PTE_RO);
    /* VERIFY leaves no trace, and a page that is clean again must be told */
    set_pte(&f, 1, VA, clean);
    g_assert_cmpint(stale(&f, A), ==, 1);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA)), ==, clean);
    /* a Translation Request that asks to write makes it dirty, too */
    run(&f, 0, tlbi_asid(1), 0);
    set_ats(&f, A, true);
    g_assert_cmpint(space_of(&f, A, 1), ==, 0);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA)), ==, clean | PTE_AF);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_NONE);
    g_assert_cmphex(qtest_readq(f.qts, pte_addr(1, VA)) & PTE_RO, ==, 0);
    stop(&f);

    start(&f);
    write_cd(&f, CDTAB(A) + 64, cd, 1);
    expect(&f, A, 1, EVT_BAD_CD, 1);
    stop(&f);
}

/* --- what software does to the queue --- */

static void test_queue_errors(void)
{
    Fix f;

    start(&f);
    be_late(&f, A, SVADEV_LATE_SYNC);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, tlbi_asid(1), 0);
    put(&f, 0, tlbi_asid(2), 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 0);
    qtest_writeq(f.qts, slot_addr(0, 2), tlbi_asid(3));
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 1);

    /* a queue that is full is no error; one command more is, and a lost one */
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    for (int i = 1; i < 1 << CMDQ_BITS; i++) {
        put(&f, 0, tlbi_asid(1), 0);
    }
    go(&f, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 1);
    put(&f, 0, tlbi_asid(2), 0);
    go(&f, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 3);
    stop(&f);

    /* the first slot of all, and PROD that goes back */
    start(&f);
    be_late(&f, A, SVADEV_LATE_SYNC);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, tlbi_asid(1), 0);
    go(&f, 0);
    smmu_write(&f, 0, CMDQ_PROD, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 1);
    qtest_writeq(f.qts, slot_addr(0, 0), tlbi_asid(1));
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 2);
    stop(&f);
}

/* While there is an error, software may do as it likes with what is there. */
static void test_queue_after_error(void)
{
    Fix f;

    start(&f);
    put(&f, 0, 0xff, 0);
    put(&f, 0, tlbi_asid(1), 0);
    put(&f, 0, tlbi_asid(2), 0);
    go(&f, 0);
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ILL);
    qtest_writeq(f.qts, slot_addr(0, 0), CMD_SYNC);
    qtest_writeq(f.qts, slot_addr(0, 1), tlbi_asid(3));
    f.tail[0] = 2;
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, 0);
    acknowledge(&f, 0);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_TAG), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    /* but it may not go beyond CONS */
    put(&f, 0, 0xff, 0);
    go(&f, 0);
    smmu_write(&f, 0, CMDQ_PROD, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 1);
    stop(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/smmuv3/two-instances", test_two_instances);
    qtest_add_func("/smmuv3/device-tree", test_device_tree);
    qtest_add_func("/smmuv3/substream/formats", test_formats);
    qtest_add_func("/smmuv3/substream/bad", test_bad_substreams);
    qtest_add_func("/smmuv3/substream/default", test_default_substream);
    qtest_add_func("/smmuv3/substream/events", test_events);
    qtest_add_func("/smmuv3/config/commands", test_config_commands);
    qtest_add_func("/smmuv3/config/invalid", test_invalid_cached);
    qtest_add_func("/smmuv3/tlb/commands", test_tlb_commands);
    qtest_add_func("/smmuv3/tlb/ranges", test_tlb_ranges);
    qtest_add_func("/smmuv3/tlb/blocks", test_tlb_blocks);
    qtest_add_func("/smmuv3/tlb/reserved", test_tlb_reserved);
    qtest_add_func("/smmuv3/tlb/contiguous", test_contiguous);
    qtest_add_func("/smmuv3/tlb/evicted", test_evicted);
    qtest_add_func("/smmuv3/tlb/walks-again", test_walks_again);
    qtest_add_func("/smmuv3/counters", test_counters);
    qtest_add_func("/smmuv3/loss", test_loss);
    qtest_add_func("/smmuv3/ats/translate", test_ats);
    qtest_add_func("/smmuv3/ats/refused", test_ats_refused);
    qtest_add_func("/smmuv3/ats/translated", test_translated);
    qtest_add_func("/smmuv3/ats/commands", test_atc_commands);
    qtest_add_func("/smmuv3/ats/illegal", test_atc_illegal);
    qtest_add_func("/smmuv3/ats/off", test_ats_off);
    qtest_add_func("/smmuv3/time/timeout", test_timeout);
    qtest_add_func("/smmuv3/time/nobody", test_nobody);
    qtest_add_func("/smmuv3/time/late", test_late_each);
    qtest_add_func("/smmuv3/time/late-order", test_late_order);
    qtest_add_func("/smmuv3/time/late-sync", test_late_sync);
    qtest_add_func("/smmuv3/verify/tlb", test_verify_tlb);
    qtest_add_func("/smmuv3/verify/config", test_verify_config);
    qtest_add_func("/smmuv3/verify/second-stage", test_verify_second_stage);
    qtest_add_func("/smmuv3/verify/owners", test_verify_owners);
    qtest_add_func("/smmuv3/verify/contiguous", test_verify_contiguous);
    qtest_add_func("/smmuv3/verify/page-of-group", test_verify_page_of_group);
    qtest_add_func("/smmuv3/verify/dirty-group", test_verify_dirty_group);
    qtest_add_func("/smmuv3/verify/atc", test_verify_atc);
    qtest_add_func("/smmuv3/properties", test_properties);
    qtest_add_func("/smmuv3/msi", test_msi);
    qtest_add_func("/smmuv3/httu", test_httu);
    qtest_add_func("/smmuv3/queue-errors", test_queue_errors);
    qtest_add_func("/smmuv3/queue-after-error", test_queue_after_error);
    return g_test_run();
}
