/*
 * QTest of SMMUv3 with SubstreamIDs and ATS: what each command drops, and what
 * it does not; what is refused; commands that take time; and what VERIFY finds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
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

/*
 * Buses 1 and 2 have an instance each; the machine's own one, if there is one,
 * has the rest, and comes after them.
 */
static void check_device_tree(const char *unit, const char *more, bool own,
                              bool ats)
{
    g_autofree uint8_t *dtb = NULL;
    uint32_t map[16], words[16];
    Fix f;

    start_machine(&f, unit, more);
    dtb = read_device_tree(f.qts);
    g_assert_cmpint(dt_words(dtb, "pcie@", "iommu-map", map, 16), ==,
                    own ? 12 : 8);
    for (int i = 0; i < 2; i++) {
        int nr = map[4 * i] == 0x200;
        g_autofree char *node = g_strdup_printf("smmuv3@%llx", SMMU(nr));

        g_assert_cmphex(map[4 * i], ==, 0x100 << nr);
        g_assert_cmphex(map[4 * i + 2], ==, 0x100 << nr);
        g_assert_cmphex(map[4 * i + 3], ==, 0x100);
        g_assert_cmpint(dt_words(dtb, node, "phandle", words, 1), ==, 1);
        g_assert_cmphex(words[0], ==, map[4 * i + 1]);
        g_assert_cmpint(dt_words(dtb, node, "#iommu-cells", words, 1), ==, 1);
        g_assert_cmpint(words[0], ==, 1);
        g_assert_cmpint(dt_words(dtb, node, "reg", words, 4), ==, 4);
        g_assert_cmphex(words[0], ==, 0);
        g_assert_cmphex(words[1], ==, SMMU(nr));
        g_assert_cmphex(words[2], ==, 0);
        g_assert_cmphex(words[3], ==, 0x20000);
        g_assert_cmpint(dt_words(dtb, node, "interrupts", words, 12), ==, 12);
        for (int irq = 0; irq < 4; irq++) {
            g_assert_cmpint(words[3 * irq], ==, 0);             /* SPI */
            g_assert_cmpint(words[3 * irq + 1], ==, 112 + 4 * nr + irq);
            g_assert_cmpint(words[3 * irq + 2], ==, 1);         /* edge */
        }
        g_assert_cmpint(dt_words(dtb, node, "dma-coherent", words, 0), ==, 0);
    }
    g_assert_cmphex(map[0], !=, map[4]);
    g_assert_cmphex(map[1], !=, map[5]);
    if (own) {
        g_assert_cmphex(map[8], ==, 0);
        g_assert_cmphex(map[9], !=, map[1]);
        g_assert_cmphex(map[9], !=, map[5]);
        g_assert_cmphex(map[11], ==, 0x10000);
    }
    g_assert_cmpint(dt_words(dtb, "pcie@", "ats-supported", words, 0), ==,
                    ats ? 0 : -1);
    stop(&f);
}

static void test_device_tree(void)
{
    check_device_tree(UNIT_SVA, "", false, true);
    check_device_tree("x-ssidsize=16", "", false, false);
    check_device_tree(UNIT_SVA, " -machine iommu=smmuv3", true, true);
}

/* One that has all other buses comes after those that have one each. */
static void test_device_tree_order(void)
{
    g_autofree uint8_t *dtb = NULL;
    GString *more = g_string_new(" -device arm-smmuv3,primary-bus=pcie.0");
    uint32_t map[4 * 7];
    Fix f;

    for (int port = 2; port < 6; port++) {
        g_string_append_printf(more, " -device pcie-root-port,id=rp%d,"
                               "chassis=%d,addr=%d -device arm-smmuv3,"
                               "primary-bus=rp%d",
                               port, port + 1, port + 1, port);
    }
    start_machine(&f, UNIT_SVA, more->str);
    g_string_free(more, true);
    dtb = read_device_tree(f.qts);
    g_assert_cmpint(dt_words(dtb, "pcie@", "iommu-map", map, ARRAY_SIZE(map)),
                    ==, ARRAY_SIZE(map));
    for (int i = 0; i < 6; i++) {
        g_assert_cmphex(map[4 * i], !=, 0);
        g_assert_cmphex(map[4 * i + 3], ==, 0x100);
    }
    g_assert_cmphex(map[24], ==, 0);
    g_assert_cmphex(map[27], ==, 0x700);
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

    /* without SubstreamIDs there is one CD, whatever the STE says */
    start_with(&f, "x-ats=on", "");
    set_ste(&f, A, STE_S1 | STE_CDMAX(6) | STE_FMT(1), 0);
    write_cd(&f, L1CDS(A), cd_of(5), 5);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 5);
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
    set_ste(&f, B, STE_S1 | STE_CDMAX(6), STE_S1STALLD);
    run(&f, 0, cfgi_ste(B), 0);
    expect(&f, B, 1, EVT_BAD_STE, 1);
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
    expect(&f, A, 0, EVT_DISABLED, -1);
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
    expect_fault(&f, A, EVT_PERMISSION, 2, EVENT_WRITE | CLASS_IN, VA, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 4);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT_REASON), ==, EVT_PERMISSION);
    g_assert_cmpint(space_at(&f, A, 2, VA2), ==, -1);
    expect_fault(&f, A, EVT_TRANSLATION, 2, EVENT_READ | CLASS_IN, VA2, 0);
    g_assert_cmpint(space_at(&f, A, SVADEV_PASID_NONE, VA2), ==, -1);
    expect_fault(&f, A, EVT_TRANSLATION, -1, EVENT_READ | CLASS_IN, VA2, 0);
    stop(&f);
}

/* A full queue loses events and says so. An abort is something else. */
static void test_event_overflow(void)
{
    const uint32_t full = 1 << CMDQ_BITS;
    Fix f;

    start(&f);
    for (uint32_t i = 0; i < full; i++) {
        g_assert_cmpint(space_of(&f, A, 3), ==, -1);
    }
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, full);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, full | EVTQ_OVERFLOW);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, full | EVTQ_OVERFLOW);
    g_assert_cmphex(smmu_read(&f, 0, GERROR), ==, 0);
    /* there is room again, not acknowledged, and then acknowledged */
    smmu_write(&f, 0, EVTQ_CONS, 1);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==,
                    (full + 1) | EVTQ_OVERFLOW);
    smmu_write(&f, 0, EVTQ_CONS, 1 | EVTQ_OVERFLOW);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, full + 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, full + 4);

    /* a queue in a register, and while that is not acknowledged none at all */
    smmu_write(&f, 0, CR0, CR0_CMDQEN | CR0_SMMUEN);
    smmu_writeq(&f, 0, EVTQ_BASE, f.ctl[C] | CMDQ_BITS);
    smmu_write(&f, 0, EVTQ_PROD, 0);
    smmu_write(&f, 0, EVTQ_CONS, 0);
    smmu_write(&f, 0, CR0, CR0_CMDQEN | CR0_SMMUEN | CR0_EVENTQEN);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, GERROR), ==, GERROR_EVTQ_ABT);
    smmu_writeq(&f, 0, EVTQ_BASE, EVTQ(0) | CMDQ_BITS);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, 0);
    acknowledge(&f, 0);
    space_of(&f, A, 3);
    g_assert_cmphex(smmu_read(&f, 0, EVTQ_PROD), ==, 1);
    stop(&f);
}

/* Two levels: StreamID 0x100 and 0x101 are the first of level 1's second. */
static unsigned found(Fix *f, unsigned split, unsigned span)
{
    const uint64_t level2 = STRTAB(0) + 0x18000;
    unsigned mask = 0, bits = split == 8 ? 8 : 6;

    renew(f);
    qtest_memset(f->qts, STRTAB(0), 0, 0x20000);
    for (int dev = A; dev <= B; dev++) {
        uint64_t at = level2 + 64 * (SID(dev) & MAKE_64BIT_MASK(0, bits));

        qtest_writeq(f->qts, at + 8, STE_DSS(DSS_BYPASS));
        qtest_writeq(f->qts, at, STE_S1 | STE_CDMAX(6) | CDTAB(dev) | STE_V);
    }
    /* bits that the size leaves no meaning to are none of the address */
    qtest_writeq(f->qts, STRTAB(0) + 8 * (SID(A) >> bits),
                 level2 | span | (span == 9 ? 0x2000 : 0));
    smmu_write(f, 0, STRTAB_BASE_CFG, 1 << 16 | split << 6 | 10);
    mask |= space_of(f, A, 1) == 1 ? 1 : 0;
    mask |= space_of(f, B, 1) == 3 ? 2 : 0;
    for (int i = ctpop32(mask); i < 2; i++) {
        g_assert_cmpint(event(f, 0, NULL), ==, EVT_BAD_SID);
    }
    g_assert_cmpint(event(f, 0, NULL), ==, -1);
    return mask;
}

static void test_two_level_streams(void)
{
    Fix f;

    start(&f);
    smmu_write(&f, 0, CR2, CR2_RECINVSID);
    g_assert_cmphex(found(&f, 8, 9), ==, 3);
    g_assert_cmphex(found(&f, 8, 2), ==, 3);
    g_assert_cmphex(found(&f, 8, 1), ==, 1);
    g_assert_cmphex(found(&f, 8, 0), ==, 0);
    g_assert_cmphex(found(&f, 8, 10), ==, 0);
    g_assert_cmphex(found(&f, 6, 7), ==, 3);
    g_assert_cmphex(found(&f, 6, 8), ==, 0);
    /* reserved, which is 6 */
    g_assert_cmphex(found(&f, 9, 7), ==, 3);
    g_assert_cmphex(found(&f, 9, 8), ==, 0);
    /* where a table is not as large as it is aligned */
    g_assert_cmphex(found(&f, 8, 9), ==, 3);
    smmu_write(&f, 0, STRTAB_BASE_CFG, 1 << 16 | 8 << 6 | 16);
    smmu_writeq(&f, 0, STRTAB_BASE, STRTAB(0) | 0x400);
    run(&f, 0, CFGI_STE_RANGE, 31);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    renew(&f);
    smmu_write(&f, 0, STRTAB_BASE_CFG, 10);
    smmu_writeq(&f, 0, STRTAB_BASE, STRTAB(0) | 0x8000);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    smmu_write(&f, 0, STRTAB_BASE_CFG, 63);
    run(&f, 0, CFGI_STE_RANGE, 31);
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    stop(&f);
}

static void test_bad_streamid(void)
{
    Fix f;

    start(&f);
    smmu_write(&f, 0, STRTAB_BASE_CFG, 4);
    space_of(&f, A, 1);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    smmu_write(&f, 0, CR2, CR2_RECINVSID);
    space_of(&f, A, 1);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_BAD_SID);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_FAULT_REASON), ==, EVT_BAD_SID);
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

/* --- pages of 64 KiB: a table is for 512 MiB, a contiguous group for 2 MiB --- */

#define MEM64           (RAM + 64 * MiB)
#define TABLE64         (RAM + 80 * MiB)
#define PTE64           (PTE_PAGE | PTE_AF)

/* The caches are empty, and PASID 1 of A has tables of 64 KiB, with no page. */
static void set_space64(Fix *f)
{
    renew(f);
    qtest_writeq(f->qts, CDTAB(A) + 64 + 8, PT(6, 0));
    qtest_writeq(f->qts, CDTAB(A) + 64, cd_of(1) | CD_TG0_64K);
    qtest_writeq(f->qts, PT(6, 0), PT(7, 0) | PTE_TABLE);
    qtest_memset(f->qts, PT(7, 0), 0, 64 * 8);
}

/* The @n-th page, which has its number in each byte; 0: it is gone */
static void set_page64(Fix *f, unsigned n, uint64_t flags)
{
    uint64_t page = MEM64 + n * 64 * KiB;

    qtest_writeq(f->qts, PT(7, 0) + 8 * n, flags ? page | flags : 0);
    qtest_memset(f->qts, page, n, 64 * KiB);
}

static int page64_at(Fix *f, uint64_t addr)
{
    return space_at(f, A, 1, addr);
}

/* The page at VA is cached, and then gone: whether @lo, @hi drops it */
static unsigned page64_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    set_space64(f);
    set_page64(f, 1, PTE64);
    g_assert_cmpint(page64_at(f, VA), ==, 1);
    set_page64(f, 1, 0);
    g_assert_cmpint(page64_at(f, VA + 0xf000), ==, 1);
    run(f, 0, lo, hi);
    return page64_at(f, VA) < 0;
}

static void test_tlb_pages64(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(page64_dropped(&f, tlbi_va(1), VA + 0x5000), ==, 1);
    g_assert_cmpint(page64_dropped(&f, tlbi_va(1), VA + 0x10000), ==, 0);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 1, 0),
                                   VA | TG_64K | TTL(3)), ==, 1);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 2, 0), TG_64K), ==, 1);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 2, 0),
                                   (VA + 0x10000) | TG_64K), ==, 0);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 1, 0),
                                   TG_64K | TTL(2)), ==, 0);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 16, 0), VA | TG_4K), ==,
                    0);
    g_assert_cmpint(page64_dropped(&f, tlbi_range(1, 4, 0), VA | TG_16K), ==,
                    0);
    stop(&f);
}

/* 32 pages of a group, from 2 MiB on, make one entry, which any of them drops. */
static unsigned group64_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;
    uint64_t misses;

    set_space64(f);
    for (int n = 32; n < 64; n++) {
        set_page64(f, n, PTE64 | PTE_CONT);
    }
    misses = dev_read(f, A, SVADEV_U_IOTLB_MISS);
    g_assert_cmpint(page64_at(f, 0x251000), ==, 37);
    for (int n = 32; n < 64; n++) {
        set_page64(f, n, 0);
    }
    g_assert_cmpint(page64_at(f, 0x3f0000), ==, 63);
    g_assert_cmpint(dev_read(f, A, SVADEV_U_IOTLB_MISS), ==, misses + 1);
    run(f, 0, lo, hi);
    mask |= page64_at(f, 0x200000) < 0 ? 1 : 0;
    mask |= page64_at(f, 0x3f0000) < 0 ? 2 : 0;
    return mask;
}

static void test_contiguous64(void)
{
    Fix f;

    start(&f);
    g_assert_cmphex(group64_dropped(&f, tlbi_va(1), 0x271000), ==, 3);
    g_assert_cmphex(group64_dropped(&f, tlbi_va(1), 0x400000), ==, 0);
    g_assert_cmphex(group64_dropped(&f, tlbi_range(1, 5, 0),
                                    0x200000 | TG_64K), ==, 3);
    g_assert_cmphex(group64_dropped(&f, tlbi_range(1, 5, 0),
                                    0x200000 | TG_4K), ==, 0);
    stop(&f);

    start_with(&f, UNIT_SVA, ",x-cont-erratum=on");
    g_assert_cmphex(group64_dropped(&f, tlbi_range(1, 31, 0),
                                    0x200000 | TG_64K), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LEFT), ==, 1);
    g_assert_cmphex(group64_dropped(&f, tlbi_range(1, 32, 0),
                                    0x200000 | TG_64K), ==, 3);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LEFT), ==, 1);
    stop(&f);
}

/* The table of VA is another one: whether @lo, @hi makes a walk find it */
static bool table64_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    bool found;

    set_space64(f);
    set_page64(f, 1, PTE64);
    set_page64(f, 2, PTE64);
    g_assert_cmpint(page64_at(f, VA), ==, 1);
    qtest_writeq(f->qts, TABLE64 + 8, (MEM64 + 128 * KiB) | PTE64);
    qtest_writeq(f->qts, PT(6, 0), TABLE64 | PTE_TABLE);
    run(f, 0, tlbi_va(1), VA | LEAF);
    g_assert_cmpint(page64_at(f, VA), ==, 1);
    run(f, 0, lo, hi);
    run(f, 0, tlbi_va(1), VA | LEAF);
    found = page64_at(f, VA) == 2;
    g_assert_cmpint(stale(f, A), ==, found ? 0 : 2);
    g_assert_cmpint(dev_read(f, A, SVADEV_CACHED_UPPER), ==, 1);
    return found;
}

static void test_walk_cache64(void)
{
    Fix f;

    start(&f);
    g_assert_false(table64_dropped(&f, CMD_SYNC, 0));
    g_assert_true(table64_dropped(&f, tlbi_va(1), 0x1ffff000));
    g_assert_false(table64_dropped(&f, tlbi_va(1), 0x20000000));
    g_assert_true(table64_dropped(&f, tlbi_range(1, 2, 0),
                                  0x1fff0000 | TG_64K));
    g_assert_false(table64_dropped(&f, tlbi_range(1, 2, 0),
                                   0x20000000 | TG_64K));
    g_assert_false(table64_dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K));
    g_assert_false(table64_dropped(&f, tlbi_range(1, 2, 0),
                                   VA | TG_64K | LEAF));
    /* It is one, wherever in the 512 MiB a walk begins. */
    set_space64(&f);
    set_page64(&f, 1, PTE64);
    set_page64(&f, 37, PTE64);
    g_assert_cmpint(page64_at(&f, VA), ==, 1);
    g_assert_cmpint(page64_at(&f, 0x250000), ==, 37);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 1);
    stop(&f);
}

/* All of RAM, as one block at 0, which is then gone */
static unsigned block64_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    set_space64(f);
    qtest_writeq(f->qts, PT(6, 0), RAM | PTE_BLOCK | PTE_AF);
    g_assert_cmpint(page64_at(f, PAGE(1) - RAM), ==, 1);
    qtest_writeq(f->qts, PT(6, 0), 0);
    g_assert_cmpint(page64_at(f, PAGE(2) - RAM), ==, 2);
    run(f, 0, lo, hi);
    return page64_at(f, PAGE(1) - RAM) < 0;
}

static void test_tlb_blocks64(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(block64_dropped(&f, tlbi_va(1), 0x1ffff000), ==, 1);
    g_assert_cmpint(block64_dropped(&f, tlbi_va(1), 0x20000000), ==, 0);
    g_assert_cmpint(block64_dropped(&f, tlbi_range(1, 1, 0),
                                    TG_64K | TTL(2)), ==, 1);
    g_assert_cmpint(block64_dropped(&f, tlbi_range(1, 2, 0),
                                    TG_64K | TTL(3)), ==, 0);
    stop(&f);
}

/* One entry of the TLB, and one for each 4 KiB in the function */
static void test_ats_page64(void)
{
    Fix f;

    start(&f);
    set_space64(&f);
    set_ats(&f, A, true);
    set_page64(&f, 1, PTE64);
    set_page64(&f, 2, PTE64);
    for (uint64_t at = 0; at < 64 * KiB; at += 4 * KiB) {
        g_assert_cmpint(page64_at(&f, VA + at), ==, 1);
    }
    g_assert_cmpint(page64_at(&f, VA + 64 * KiB), ==, 2);
    dev_write(&f, A, SVADEV_CACHED_FIRST, VA);
    dev_write(&f, A, SVADEV_CACHED_LAST, VA + 64 * KiB - 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_IOTLB), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_ATC), ==, 16);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED), ==, 17);

    set_page64(&f, 1, 0);
    g_assert_cmpint(stale(&f, A), ==, 17);
    run(&f, 0, tlbi_range(1, 1, 0), VA | TG_64K | TTL(3));
    g_assert_cmpint(stale(&f, A), ==, 16);
    run(&f, 0, atc_inv(SID(A), 1), VA | 3);     /* half of it */
    g_assert_cmpint(stale(&f, A), ==, 8);
    run(&f, 0, atc_inv(SID(A), 1), VA | 4);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_ATC_USED), ==, 1);
    g_assert_cmpint(page64_at(&f, VA), ==, -1);
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

/* What an SMMU without EL2, EL3, stall and PRI does not have */
static void test_illegal(void)
{
    static const uint64_t cmds[] = {
        0x00, 0x07, 0x14, 0x18, 0x1a, 0x20, 0x21, 0x22, 0x23, 0x41, 0x44, 0x45,
        0x50, 0x80, CMD_SYNC | 3 << 12, 0x01 | CMD_SSEC, 0x02 | CMD_SSEC,
        CFGI_STE | CMD_SSEC, CFGI_STE_RANGE | CMD_SSEC, CFGI_CD | CMD_SSEC,
        CFGI_CD_ALL | CMD_SSEC, TLBI_S12_VMALL, TLBI_S2_IPA
    };
    Fix f;

    start(&f);
    for (int i = 0; i < ARRAY_SIZE(cmds); i++) {
        refused(&f, cmds[i], 0);
    }
    run(&f, 0, CMD_SYNC | 2 << 12, 0);
    /* nor are they late, or lost in place of another */
    be_late(&f, A, SVADEV_INJECT_IOTLB);
    lose_next(&f, A, SVADEV_INJECT_IOTLB);
    refused(&f, 0x22, VA);
    refused(&f, tlbi_range(1, 1, 0), VA | TG_4K);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_DROPPED), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_RANGE), ==, 0);
    stop(&f);

    start_with(&f, "stage=2,x-strict=on", "");
    refused(&f, TLBI_NH_ALL, 0);
    refused(&f, tlbi_asid(1), 0);
    refused(&f, tlbi_va(1), VA);
    refused(&f, TLBI_NH_VAA, VA);
    refused(&f, cfgi_cd(A, 1), 0);
    refused(&f, TLBI_S2_IPA, TG_4K);
    run(&f, 0, TLBI_S2_IPA, VA);
    stop(&f);
}

#define VIRT_SMMU       0x9050000ULL

/* A machine with none of the options: firmware sends such, and sees no error */
static void not_refused(const char *args, const uint64_t (*cmds)[2], int n)
{
    QTestState *qts = qtest_initf("-M virt,iommu=smmuv3 -nodefaults -m 256M "
                                  "%s", args);

    qtest_writeq(qts, VIRT_SMMU + CMDQ_BASE, CMDQ(0) | CMDQ_BITS);
    qtest_writel(qts, VIRT_SMMU + CR0, CR0_CMDQEN);
    for (int i = 0; i < n; i++) {
        qtest_writeq(qts, slot_addr(0, i), cmds[i][0]);
        qtest_writeq(qts, slot_addr(0, i) + 8, cmds[i][1]);
        qtest_writel(qts, VIRT_SMMU + CMDQ_PROD, i + 1);
        g_assert_cmphex(qtest_readl(qts, VIRT_SMMU + CMDQ_CONS), ==, i + 1);
        g_assert_cmphex(qtest_readl(qts, VIRT_SMMU + GERROR), ==, 0);
    }
    qtest_quit(qts);
}

/* Whether a command of which nothing is certain drops the page at VA */
static bool drops_page(Fix *f, uint64_t lo, uint64_t hi)
{
    set_pte(f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF);
    run(f, 0, TLBI_NSNH_ALL, 0);
    g_assert_cmpint(space_of(f, A, SVADEV_PASID_NONE), ==, 1);
    set_pte(f, 1, VA, PAGE(5) | PTE_PAGE | PTE_AF);
    run(f, 0, lo, hi);
    return space_of(f, A, SVADEV_PASID_NONE) == 5;
}

static void test_not_strict(void)
{
    static const uint64_t cmds[][2] = {
        { CFGI_STE_RANGE, 31 }, { TLBI_NSNH_ALL, 0 }, { 0x18, 0 }, { 0x1a, 0 },
        { 0x20, 0 }, { 0x21, 0 }, { 0x22, VA }, { 0x23, VA }, { 0x41, 0 },
        { 0x44, 0 }, { 0x45, 0 }, { ATC_INV, 0 }, { ATC_INV, 53 },
        { CMD_SYNC | 3 << 12, 0 }, { CFGI_CD, 0 }, { CFGI_CD_ALL, 0 },
        /* what is behind here is for one stage alone */
        { TLBI_NH_VA, VA | TG_4K }, { TLBI_NH_VAA, VA | TG_16K | TTL(1) },
        { TLBI_NH_VA, VA2 | TG_64K | TTL(3) }, { TLBI_NH_VA, ~0ULL },
    };
    static const uint64_t ipa[][2] = {
        { TLBI_S2_IPA, VA | TG_4K }, { TLBI_S2_IPA, VA2 | TG_64K | TTL(3) },
    };
    Fix f;

    not_refused("", cmds, ARRAY_SIZE(cmds));
    not_refused("-global arm-smmuv3.stage=nested", cmds, ARRAY_SIZE(cmds));
    not_refused("-global arm-smmuv3.stage=2", cmds, ARRAY_SIZE(cmds) - 4);
    not_refused("-global arm-smmuv3.stage=2", ipa, ARRAY_SIZE(ipa));

    start_with(&f, "stage=1", "");
    set_ste(&f, A, STE_S1, 0);
    set_cd(&f, A, 0, 1);
    g_assert_true(drops_page(&f, tlbi_range(1, 1, 0), VA | TG_4K));
    g_assert_true(drops_page(&f, tlbi_range(1, 1, 0), VA | TG_4K | TTL(2)));
    g_assert_true(drops_page(&f, tlbi_range(1, 2, 0), VA | TG_64K));
    g_assert_true(drops_page(&f, tlbi_range(1, 1, 0), 0xf000 | TG_16K));
    g_assert_false(drops_page(&f, tlbi_range(1, 2, 0), VA2 | TG_4K));
    g_assert_false(drops_page(&f, tlbi_range(2, 2, 0), VA | TG_4K));
    stop(&f);
    /* each of them is strict, or not, also if it is told */
    start_with(&f, "x-strict=on", ",x-strict=off,x-ats=on");
    set_ste(&f, A, STE_S1, 0);
    set_cd(&f, A, 0, 1);
    run(&f, 0, 0x20, 0);
    run(&f, 0, tlbi_range(1, 1, 0), VA | TG_4K);
    put(&f, 1, 0x20, 0);
    go(&f, 1);
    g_assert_cmpint(cerror(&f, 1), ==, CERROR_ILL);
    stop(&f);
    start_with(&f, "x-ats=on", "");
    refused(&f, 0x20, 0);
    refused(&f, tlbi_range(1, 1, 0), VA | TG_4K);
    stop(&f);
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

/* 16 pages of PASID 1: a contiguous group if @flags has PTE_CONT */
static void set_group(Fix *f, uint64_t va, uint64_t flags)
{
    for (int i = 0; i < 16; i++) {
        set_pte(f, 1, va + i * 0x1000, (RAM + 176 * MiB + i * 0x1000) |
                                       PTE_PAGE | PTE_AF | flags);
    }
}

/* 16 pages of a group make one entry, which any of them drops. */
static unsigned group_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    unsigned mask = 0;
    uint64_t misses;

    renew(f);
    misses = dev_read(f, A, SVADEV_U_IOTLB_MISS);
    set_group(f, VA, PTE_CONT);
    for (int i = 0; i < 16; i++) {
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
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LEFT), ==, 1);
    g_assert_cmphex(group_dropped(&f, tlbi_range(2, 5, 0), VA | TG_4K), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LEFT), ==, 1);
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 16, 0), VA | TG_4K), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_range(1, 17, 0), VA | TG_4K), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_va(1), VA), ==, 3);
    g_assert_cmphex(group_dropped(&f, tlbi_asid(1), 0), ==, 3);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LEFT), ==, 1);
    stop(&f);
}

/*
 * The table of VA in space 1 becomes that of space 5; the page goes. Whether
 * @lo, @hi makes a walk find the new table
 */
static bool table_dropped(Fix *f, uint64_t lo, uint64_t hi)
{
    int before, after;

    renew(f);
    g_assert_cmpint(space_of(f, A, 1), ==, 1);
    qtest_writeq(f->qts, PT(1, 2), PT(5, 3) | PTE_TABLE);
    run(f, 0, tlbi_va(1), VA | LEAF);
    before = space_of(f, A, 1);
    run(f, 0, lo, hi);
    run(f, 0, tlbi_va(1), VA | LEAF);
    after = space_of(f, A, 1);
    g_assert_cmpint(before, ==, 1);
    g_assert_true(after == 1 || after == 5);
    g_assert_cmpint(stale(f, A), ==, after == 1 ? 2 : 0);
    return after == 5;
}

static void test_walk_cache(void)
{
    Fix f;

    start(&f);
    g_assert_false(table_dropped(&f, CMD_SYNC, 0));
    g_assert_false(table_dropped(&f, CFGI_STE_RANGE, 31));
    g_assert_false(table_dropped(&f, tlbi_va(1), VA | LEAF));
    g_assert_true(table_dropped(&f, tlbi_va(1), VA));
    g_assert_true(table_dropped(&f, tlbi_va(1), 0x1ff000));
    g_assert_false(table_dropped(&f, tlbi_va(1), 0x200000));
    g_assert_false(table_dropped(&f, tlbi_va(2), VA));
    g_assert_true(table_dropped(&f, TLBI_NH_VAA, VA));
    g_assert_false(table_dropped(&f, TLBI_NH_VAA, VA | LEAF));
    g_assert_true(table_dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K));
    g_assert_false(table_dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K | LEAF));
    g_assert_true(table_dropped(&f, tlbi_range(1, 2, 0), VA | TG_4K | TTL(3)));
    g_assert_false(table_dropped(&f, tlbi_range(1, 2, 0), TG_4K | TTL(2)));
    g_assert_false(table_dropped(&f, tlbi_range(1, 2, 0), VA | TG_64K));
    g_assert_false(table_dropped(&f, tlbi_range(1, 2, 9), 0x200000 | TG_4K));
    /* ... a range that ends before it */
    renew(&f);
    qtest_writeq(f.qts, PT(1, 2) + 8, PT(5, 3) | PTE_TABLE);
    g_assert_cmpint(space_at(&f, A, 1, 0x200000 + VA), ==, 5);
    qtest_writeq(f.qts, PT(1, 2) + 8, PT(6, 3) | PTE_TABLE);
    run(&f, 0, tlbi_range(1, 2, 8), TG_4K);
    run(&f, 0, tlbi_va(1), (0x200000 + VA) | LEAF);
    g_assert_cmpint(space_at(&f, A, 1, 0x200000 + VA), ==, 5);
    g_assert_true(table_dropped(&f, tlbi_asid(1), 0));
    g_assert_false(table_dropped(&f, tlbi_asid(2), 0));
    g_assert_true(table_dropped(&f, TLBI_NH_ALL, 0));
    g_assert_true(table_dropped(&f, TLBI_NSNH_ALL, 0));

    /* VERIFY has it as an entry of an upper level, and as one of its PASID. */
    renew(&f);
    space_of(&f, A, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 1);
    run(&f, 0, tlbi_va(1), VA | LEAF);
    qtest_writeq(f.qts, PT(1, 2), 0);
    g_assert_cmpint(stale(&f, A), ==, 1);
    dev_write(&f, A, SVADEV_VERIFY, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_STALE), ==, 0);
    dev_write(&f, A, SVADEV_VERIFY, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_STALE), ==, 1);
    set_cd(&f, A, 1, 0);
    run(&f, 0, cfgi_cd(A, 1), LEAF);
    g_assert_cmpint(stale(&f, A), ==, 1);       /* nobody has the tag */

    /* What the way there forbids is asked for each time. */
    renew(&f);
    qtest_writeq(f.qts, PT(1, 2), PT(1, 3) | PTE_TABLE | PTE_APTABLE_RO);
    g_assert_cmpint(space_at(&f, A, 1, VA2), ==, -1);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_DMA);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    stale(&f, A);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 0);
    stop(&f);

    start_with(&f, UNIT_SVA, ",x-walk-cache=off");
    space_of(&f, A, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 0);
    qtest_writeq(f.qts, PT(1, 2), PT(5, 3) | PTE_TABLE);
    run(&f, 0, tlbi_va(1), VA | LEAF);
    g_assert_cmpint(space_of(&f, A, 1), ==, 5);
    stop(&f);
}

/* Tables of both stages by VMID, and many descriptors of one table */
static void test_walk_cache_tags(void)
{
    const uint64_t vmid6 = 6ULL << 32, vmid7 = 7ULL << 32;
    const uint64_t cmds[] = { TLBI_NH_ALL, TLBI_S12_VMALL };
    Fix f;

    start_with(&f, "stage=nested," UNIT_SVA, "");
    qtest_writeq(f.qts, ste_addr(A) + 16, 7);
    for (int i = 0; i < ARRAY_SIZE(cmds); i++) {
        renew(&f);
        qtest_writeq(f.qts, PT(1, 2), PT(1, 3) | PTE_TABLE);
        g_assert_cmpint(space_of(&f, A, 1), ==, 1);
        qtest_writeq(f.qts, PT(1, 2), PT(5, 3) | PTE_TABLE);
        run(&f, 0, cmds[i] | vmid6, 0);
        run(&f, 0, TLBI_S2_IPA | vmid7, VA);
        run(&f, 0, tlbi_va(1) | vmid7, VA | LEAF);
        g_assert_cmpint(space_of(&f, A, 1), ==, 1);
        run(&f, 0, cmds[i] | vmid7, 0);
        g_assert_cmpint(space_of(&f, A, 1), ==, 5);
    }
    stop(&f);

    start_machine(&f, "stage=2,x-walk-cache=on", "");
    for (int space = 1; space <= 2; space++) {
        set_space(&f, space);
        set_pte(&f, space, VA, PAGE(space) | PTE_S2PAGE | PTE_AF);
    }
    qtest_writeq(f.qts, ste_addr(A) + 16, STE_S2CFG(7));
    qtest_writeq(f.qts, ste_addr(A) + 24, PT(1, 1));
    qtest_writeq(f.qts, ste_addr(A), STE_S2 | STE_V);
    start_queues(&f, 0, CR0_SMMUEN);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 1);
    qtest_writeq(f.qts, PT(1, 2), PT(2, 3) | PTE_TABLE);
    run(&f, 0, TLBI_S2_IPA | vmid6, VA);
    run(&f, 0, TLBI_S2_IPA | vmid7, VA | LEAF);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 1);
    g_assert_cmpint(stale(&f, A), ==, 2);
    run(&f, 0, TLBI_S2_IPA | vmid7, VA);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 2);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);

    start(&f);
    for (int i = 0; i < 16; i++) {
        qtest_writeq(f.qts, PT(1, 2) + 8 * i, PT(5, 3) | PTE_TABLE);
        g_assert_cmpint(space_at(&f, A, 1, VA + 0x200000 * i), ==, 5);
    }
    run(&f, 0, tlbi_range(1, 16, 9), TG_4K | LEAF);
    g_assert_cmpint(stale(&f, A), ==, 0);
    for (int i = 0; i < 16; i += 2) {
        qtest_writeq(f.qts, PT(1, 2) + 8 * i, 0);
    }
    g_assert_cmpint(stale(&f, A), ==, 8);
    stop(&f);
}

/* EPD0 ends walks. What is in the TLB goes on, of whatever size. */
static void test_walks_disabled(void)
{
    Fix f;

    start(&f);
    set_pte(&f, 1, VA2, PAGE(1) | PTE_PAGE | PTE_AF);
    qtest_writeq(f.qts, PT(1, 2) + 8, (RAM + 64 * MiB) | PTE_BLOCK | PTE_AF);
    qtest_memset(f.qts, RAM + 64 * MiB + 0x5000, 9, 8);
    set_group(&f, 0x20000, PTE_CONT);
    qtest_memset(f.qts, RAM + 176 * MiB, 8, 0x10000);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_at(&f, A, 1, 0x205000), ==, 9);
    g_assert_cmpint(space_at(&f, A, 1, 0x25000), ==, 8);
    qtest_writeq(f.qts, PT(1, 1) + 8, RAM | PTE_BLOCK | PTE_AF);
    g_assert_cmpint(space_at(&f, A, 1, PAGE(3)), ==, 3);
    write_cd(&f, CDTAB(A) + 64, (cd_of(1) & ~CD_T0SZ(63)) | CD_EPD0, 0);
    run(&f, 0, cfgi_cd(A, 1), LEAF);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_at(&f, A, 1, 0x206000), >=, 0);
    g_assert_cmpint(space_at(&f, A, 1, 0x2f000), ==, 8);
    g_assert_cmpint(space_at(&f, A, 1, PAGE(4)), ==, 4);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    g_assert_cmpint(space_at(&f, A, 1, VA2), ==, -1);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_TRANSLATION);
    g_assert_cmpint(stale(&f, A), ==, 5);       /* four, and a table */
    /* the next address space with the ASID is met, too */
    run(&f, 0, tlbi_asid(1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    write_cd(&f, CDTAB(B) + 64, cd_of(1), 6);
    g_assert_cmpint(space_of(&f, B, 1), ==, 6);
    g_assert_cmpint(space_of(&f, A, 1), ==, 6);
    stop(&f);
}

/* One makes room for one, and is counted. */
static void test_evicted(void)
{
    Fix f;

    start(&f);
    for (int i = 0; i < 256; i++) {
        set_pte(&f, 1, VA + i * 0x1000, PAGE(1) | PTE_PAGE | PTE_AF | PTE_RO);
        g_assert_cmpint(space_at(&f, A, 1, VA + i * 0x1000), ==, 1);
    }
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_NONE);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_EVICTED), ==, 0);
    renew(&f);
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

/* Pages and tables that are for privileged accesses alone */
static void test_privileged(void)
{
    Fix f;

    start(&f);
    set_pte(&f, 1, VA, PAGE(1) | (PTE_PAGE & ~PTE_USER) | PTE_AF);
    expect(&f, A, 1, EVT_PERMISSION, 1);
    qtest_writeq(f.qts, PT(2, 1), PT(2, 2) | PTE_TABLE | PTE_APTABLE_NO_USER);
    expect(&f, A, 2, EVT_PERMISSION, 2);
    set_pte(&f, 1, VA, PAGE(1) | PTE_PAGE | PTE_AF);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_pte(&f, 1, VA, PAGE(1) | (PTE_PAGE & ~PTE_USER) | PTE_AF);
    g_assert_cmpint(stale(&f, A), ==, 1);
    run(&f, 0, tlbi_asid(1), 0);
    set_ats(&f, A, true);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA), ==,
                    SVADEV_ERR_NOT_MAPPED);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    set_ats(&f, A, false);
    /* a table that forbids to write, seen by a read before */
    qtest_writeq(f.qts, PT(3, 2), PT(3, 3) | PTE_TABLE | PTE_APTABLE_RO);
    g_assert_cmpint(space_of(&f, B, 1), ==, 3);
    g_assert_cmpint(try_op(&f, B, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_DMA);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_PERMISSION);
    stop(&f);

    /* without SubstreamIDs, as ever */
    start_with(&f, "x-ats=on", "");
    set_ste(&f, A, STE_S1, 0);
    set_cd(&f, A, 0, 1);
    set_pte(&f, 1, VA, PAGE(1) | (PTE_PAGE & ~PTE_USER) | PTE_AF);
    g_assert_cmpint(space_of(&f, A, SVADEV_PASID_NONE), ==, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(dev_read(&f, A, SVADEV_CACHED_UPPER), ==, 0);
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
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_MISS), ==, 2);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_NONE);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_MISS), ==, 3);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_HIT), ==, 0);
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

/* Functions of another instance, although the machine's own is above them */
static void test_function_of_another(void)
{
    const uint64_t own = 0x09050000;
    Fix f;

    start_machine(&f, UNIT_SVA, " -machine iommu=smmuv3 "
                                "-global arm-smmuv3.x-ats=on");
    set_ats(&f, A, true);
    qtest_writeq(f.qts, own + CMDQ_BASE, CMDQ(0) | CMDQ_BITS);
    qtest_writel(f.qts, own + CR0, CR0_CMDQEN | CR0_SMMUEN);
    put(&f, 0, atc_inv(SID(A), 1), 0);
    put(&f, 0, CMD_SYNC, 0);
    qtest_writel(f.qts, own + CMDQ_PROD, 2);
    g_assert_cmphex(qtest_readl(f.qts, own + CMDQ_CONS), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_RANGE), ==, 0);
    qtest_clock_step(f.qts, 2 * TIMEOUT_NS);
    g_assert_cmphex(qtest_readl(f.qts, own + CMDQ_CONS), ==,
                    1 | CERROR_ATC << 24);
    stop(&f);
}

/*
 * Late: what PASID 1 of A reads changes when the command is carried out, and
 * what that of B reads by the next, which is not late. The CMD_SYNC waits.
 */
static void test_late(unsigned kind, uint64_t cmd, unsigned counter)
{
    bool iotlb = kind == SVADEV_INJECT_IOTLB, atc = kind == SVADEV_INJECT_ATC;
    uint32_t at;
    Fix f;

    start(&f);
    set_ats(&f, A, atc);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_of(&f, B, 1), ==, 3);
    if (iotlb || atc) {
        set_pte(&f, 1, VA, PAGE(5) | PTE_PAGE | PTE_AF);
    } else {
        set_cd(&f, A, 1, 5);
    }
    if (iotlb) {
        set_cd(&f, B, 1, 6);
    } else {
        set_pte(&f, 3, VA, PAGE(6) | PTE_PAGE | PTE_AF);
    }
    run(&f, 0, atc ? tlbi_va(1) : CMD_SYNC, VA);
    at = f.tail[0];
    be_late(&f, A, kind);
    put(&f, 0, cmd, iotlb || atc ? VA : 0);
    put(&f, 0, iotlb ? cfgi_cd(B, 1) : tlbi_va(3), iotlb ? 0 : VA);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    g_assert_cmpint(cons(&f, 0), ==, at + 2);
    g_assert_cmpint(dev_read(&f, A, counter), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 1);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(space_of(&f, B, 1), ==, 6);
    qtest_clock_step(f.qts, LATE_NS - 1);
    g_assert_cmpint(cons(&f, 0), ==, at + 2);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_RANGE), ==, 0);
    qtest_clock_step(f.qts, 1);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(space_of(&f, A, 1), ==, 5);
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_INV_RANGE), ==, atc);
    stop(&f);
}

/* Later than any driver waits, with the queue stopped behind it */
static void test_very_late(void)
{
    Fix f;

    start(&f);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_pte(&f, 1, VA, 0);
    dev_write(&f, A, SVADEV_LATE, SVADEV_INJECT_IOTLB | 4000000000ULL << 32);
    put(&f, 0, tlbi_va(1), VA);
    put(&f, 0, CMD_SYNC, 0);
    put(&f, 0, cfgi_cd(A, 1), 0);
    go(&f, 0);
    qtest_clock_step(f.qts, 3999999999);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_false(in_error(&f, 0));
    qtest_clock_step(f.qts, 1);
    g_assert_true(done(&f, 0));
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    stop(&f);
}

/* The queue is made anew while a CMD_SYNC waits: the next waits by itself. */
static void test_queue_anew(void)
{
    Fix f;

    start(&f);
    be_late(&f, A, SVADEV_LATE_SYNC);
    put(&f, 0, CMD_SYNC, 0);
    go(&f, 0);
    qtest_clock_step(f.qts, LATE_NS / 2);
    g_assert_cmpint(cons(&f, 0), ==, 0);
    smmu_write(&f, 0, CR0, 0);
    qtest_clock_step(f.qts, LATE_NS / 4);
    start_queues(&f, 0, CR0_SMMUEN);
    qtest_clock_step(f.qts, LATE_NS / 2);
    g_assert_cmpint(cons(&f, 0), ==, 0);
    qtest_clock_step(f.qts, LATE_NS / 2);
    g_assert_cmpint(cons(&f, 0), ==, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_LATE), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_QUEUE_ERROR), ==, 0);
    stop(&f);
}

/* A reset forgets what is late, unanswered, or lost. */
static void test_reset(void)
{
    Fix f;

    start(&f);
    put(&f, 0, atc_inv(SID_OF_NOBODY, 1), 0);
    go(&f, 0);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    put(&f, 0, atc_inv(SID_OF_NOBODY, 1), 0);
    go(&f, 0);
    be_late(&f, C, SVADEV_INJECT_IOTLB);
    put(&f, 1, tlbi_asid(1), 0);
    put(&f, 1, CMD_SYNC, 0);
    go(&f, 1);
    lose_next(&f, A, SVADEV_INJECT_IOTLB);
    qtest_system_reset(f.qts);
    memset(f.tail, 0, sizeof(f.tail));
    for (int unit = 0; unit < 2; unit++) {
        start_queues(&f, unit, CR0_SMMUEN);
        run(&f, unit, tlbi_asid(1), 0);
        qtest_clock_step(f.qts, 2 * TIMEOUT_NS);
        run(&f, unit, CMD_SYNC, 0);
        g_assert_false(in_error(&f, unit));
    }
    start_functions(&f);
    for (int dev = A; dev <= C; dev++) {
        g_assert_cmpint(dev_read(&f, dev, SVADEV_U_IOTLB_TAG), ==, 1);
        g_assert_cmpint(dev_read(&f, dev, SVADEV_U_LATE), ==, 0);
        g_assert_cmpint(dev_read(&f, dev, SVADEV_U_DROPPED), ==, 0);
        g_assert_cmpint(dev_read(&f, dev, SVADEV_U_TIMEOUT), ==, 0);
    }
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
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_CHECKED), ==, 7);
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
    g_assert_cmpint(stale(&f, A), ==, 3);       /* the CD; nobody has ASID 1 */
    run(&f, 0, cfgi_cd(A, 1), LEAF);
    g_assert_cmpint(stale(&f, A), ==, 2);
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
        qtest_writeq(f.qts, ste_addr(dev) + 8, STE_S1STALLD);   /* ignored */
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
    expect_fault(&f, A, EVT_TRANSLATION, -1, EVENT_READ | EVENT_S2 | CLASS_IN,
                 VA, VA);
    g_assert_cmpint(space_of(&f, B, SVADEV_PASID_NONE), ==, 3);
    stop(&f);
}

/* An ASID that two CDs have must mean the same in both: a page and a table. */
static void test_verify_owners(void)
{
    Fix f;

    start(&f);
    space_of(&f, A, 1);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1), 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1), 5);
    g_assert_cmpint(stale(&f, A), ==, 2);
    write_cd(&f, CDTAB(B) + 7 * 64, cd_of(1) | CD_EPD0, 1);
    g_assert_cmpint(stale(&f, A), ==, 2);
    set_cd(&f, B, 7, 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

/* With a second stage, an ASID is somebody's only together with the VMID. */
static void test_verify_vmids(void)
{
    Fix f;

    start_with(&f, "stage=nested," UNIT_SVA, "");
    qtest_writeq(f.qts, ste_addr(A) + 16, 7);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    qtest_writeq(f.qts, ste_addr(A) + 16, 0);
    run(&f, 0, cfgi_ste(A), 0);
    g_assert_cmpint(stale(&f, A), ==, 2);
    dev_write(&f, A, SVADEV_VERIFY, 1);
    g_assert_cmpint(dev_read(&f, A, SVADEV_VERIFY_STALE), ==, 0);
    run(&f, 0, tlbi_asid(1), 0);                /* of VMID 0 */
    g_assert_cmpint(stale(&f, A), ==, 2);
    run(&f, 0, tlbi_asid(1) | 7ULL << 32, 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    stop(&f);
}

/*
 * Two stages: the first one's tables and the CD are at addresses of the second,
 * which is space 2. Nothing of it is there where it says.
 */
static void set_nested(Fix *f, int dev, unsigned vmid)
{
    const uint64_t cds = 0x50000, tables = 0x60000, page = 0x70000;

    set_pte(f, 2, cds, CDTAB(dev) | PTE_S2PAGE | PTE_AF);
    for (int level = 1; level <= 3; level++) {
        set_pte(f, 2, tables + 0x1000 * level, PT(1, level) | PTE_S2PAGE |
                                               PTE_AF);
    }
    set_pte(f, 2, page, PAGE(1) | PTE_S2PAGE | PTE_AF);
    qtest_writeq(f->qts, PT(1, 1), (tables + 0x2000) | PTE_TABLE);
    qtest_writeq(f->qts, PT(1, 2), (tables + 0x3000) | PTE_TABLE);
    set_pte(f, 1, VA, page | PTE_PAGE | PTE_AF);
    qtest_writeq(f->qts, CDTAB(dev) + 64 + 8, tables + 0x1000);
    qtest_writeq(f->qts, ste_addr(dev) + 16, STE_S2CFG(vmid));
    qtest_writeq(f->qts, ste_addr(dev) + 24, PT(2, 1));
    qtest_writeq(f->qts, ste_addr(dev), STE_S1 | STE_S2 | STE_CDMAX(6) | cds |
                                        STE_V);
}

/* What is combined of two stages is not compared, and nothing else is wrong. */
static void test_verify_nested(void)
{
    Fix f;

    start_with(&f, "stage=nested," UNIT_SVA, "");
    set_nested(&f, A, 7);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    g_assert_cmpint(stale(&f, A), ==, 0);
    set_pte(&f, 2, 0x70000, 0);
    g_assert_cmpint(stale(&f, A), ==, 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    /* a table of the second stage stays, also for the page's address */
    set_pte(&f, 2, 0x70000, PAGE(1) | PTE_S2PAGE | PTE_AF);
    set_pte(&f, 2, 0x71000, PAGE(1) | PTE_S2PAGE | PTE_AF);
    set_pte(&f, 1, VA2, 0x71000 | PTE_PAGE | PTE_AF);
    qtest_writeq(f.qts, PT(2, 2), 0);
    run(&f, 0, TLBI_S2_IPA | 7ULL << 32, 0x71000 | LEAF);
    g_assert_cmpint(space_at(&f, A, 1, VA2), ==, 1);
    run(&f, 0, TLBI_S2_IPA | 7ULL << 32, 0x71000);
    run(&f, 0, tlbi_va(1) | 7ULL << 32, VA2);
    g_assert_cmpint(space_at(&f, A, 1, VA2), ==, -1);
    g_assert_cmpint(event(&f, 0, NULL), ==, EVT_TRANSLATION);
    qtest_writeq(f.qts, PT(2, 2), PT(2, 3) | PTE_TABLE);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    set_pte(&f, 2, 0x70000, 0);
    /* the second stage's command spares it, and those that name it do not */
    run(&f, 0, TLBI_S2_IPA | 7ULL << 32, 0x70000);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    run(&f, 0, tlbi_va(1) | 6ULL << 32, VA);
    run(&f, 0, tlbi_asid(1) | 6ULL << 32, 0);
    run(&f, 0, TLBI_NH_ALL | 6ULL << 32, 0);
    run(&f, 0, TLBI_NH_VAA | 6ULL << 32, VA);
    run(&f, 0, TLBI_S12_VMALL | 6ULL << 32, 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, 1);
    run(&f, 0, tlbi_va(1) | 7ULL << 32, VA);
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    expect_fault(&f, A, EVT_TRANSLATION, 1, EVENT_READ | EVENT_S2 | CLASS_IN,
                 VA, 0x70000);
    /* the way to the page's table, and to the CD, is not there */
    set_pte(&f, 2, 0x63000, 0);
    run(&f, 0, TLBI_S12_VMALL | 7ULL << 32, 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    expect_fault(&f, A, EVT_TRANSLATION, 1, EVENT_READ | EVENT_S2 | CLASS_TT,
                 VA, 0x63000);
    set_pte(&f, 2, 0x50000, 0);
    run(&f, 0, TLBI_S12_VMALL | 7ULL << 32, 0);
    run(&f, 0, cfgi_cd(A, 1), 0);
    g_assert_cmpint(space_of(&f, A, 1), ==, -1);
    expect_fault(&f, A, EVT_TRANSLATION, 1, EVENT_READ | EVENT_S2 | CLASS_CD,
                 VA, 0x50040);
    /* to a function with ATS this is a page that is not there */
    qtest_writeq(f.qts, ste_addr(A) + 8, STE_EATS);
    run(&f, 0, cfgi_ste(A), 0);
    set_ats(&f, A, true);
    g_assert_cmpint(try_op(&f, A, 1, SVADEV_OP_SUM, VA), ==,
                    SVADEV_ERR_NOT_MAPPED);
    g_assert_cmpint(event(&f, 0, NULL), ==, -1);
    stop(&f);
}

/* A group is split or made: the same translation, until a page of it is not. */
static void test_verify_contiguous(void)
{
    Fix f;

    start(&f);
    set_group(&f, VA, PTE_CONT);
    try_op(&f, A, 1, SVADEV_OP_SUM, VA);
    set_group(&f, VA, 0);
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
    set_group(&f, VA, PTE_CONT);
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
    set_group(&f, VA, PTE_CONT | PTE_RO | PTE_DBM);
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
                                 "x-ssidsize=20,x-ril=off,"
                                 "x-iidr=0x4871043b");
    g_assert_cmphex(smmu_read(&f, 0, IIDR), ==, 0x4871043b);
    g_assert_cmphex(smmu_read(&f, 1, IIDR), ==, 0);
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
    qtest_system_reset(f.qts);
    g_assert_cmphex(smmu_read(&f, 0, IIDR), ==, 0x4871043b);
    qtest_quit(f.qts);
}

/* What an instance says to properties that it cannot have */
static void refuse(const char *property, const char *why)
{
    g_autofree char *device =
        g_strdup_printf("arm-smmuv3,primary-bus=rp0,%s", property);
    char *argv[] = {
        (char *)"timeout", (char *)"60", (char *)g_getenv("QTEST_QEMU_BINARY"),
        (char *)"-M", (char *)"virt,gic-version=3", (char *)"-nodefaults",
        (char *)"-display", (char *)"none", (char *)"-S",
        (char *)"-device", (char *)"pcie-root-port,id=rp0,chassis=1",
        (char *)"-device", device, NULL
    };
    g_autofree char *err = NULL;
    int status;

    g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                               NULL, NULL, &err, &status, NULL));
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_nonnull(strstr(err, why));
}

static void test_refused_properties(void)
{
    refuse("x-httu=on,stage=nested", "x-httu");
    refuse("x-httu=on,stage=2", "x-httu");
    refuse("x-cmdqs=20", "x-cmdqs");
    refuse("x-ssidsize=21", "x-ssidsize");
    refuse("x-ats-off=on", "x-ats-off");
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

#define BEYOND_IPS      (1ULL << 41)

static void not_dirty(Fix *f, uint64_t pte, int type)
{
    set_pte(f, 1, VA, pte);
    run(f, 0, tlbi_asid(1), 0);
    g_assert_cmpint(try_op(f, A, 1, SVADEV_OP_FILL, VA), ==, SVADEV_ERR_DMA);
    g_assert_cmpint(event(f, 0, NULL), ==, type);
    g_assert_cmphex(qtest_readq(f->qts, pte_addr(1, VA)), ==, pte);
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
    /* a write that is refused for another reason makes nothing dirty */
    set_ats(&f, A, false);
    f.events[0] = smmu_read(&f, 0, EVTQ_PROD);
    not_dirty(&f, (clean | PTE_AF) & ~PTE_USER, EVT_PERMISSION);
    not_dirty(&f, clean | PTE_AF | BEYOND_IPS, EVT_ADDR_SIZE);
    stop(&f);

    start(&f);
    write_cd(&f, CDTAB(A) + 64, cd, 1);
    expect(&f, A, 1, EVT_BAD_CD, 1);
    stop(&f);
}

/* The size that software asks for is cut to what there is. */
static void test_small_queue(void)
{
    Fix f;

    start_with(&f, UNIT_SVA, ",x-cmdqs=3");
    put(&f, 0, tlbi_asid(1), 0);
    for (int i = 1; i < 8; i++) {
        put(&f, 0, CMD_SYNC, 0);
    }
    put(&f, 0, TLBI_NH_ALL, 0);
    smmu_write(&f, 0, CMDQ_PROD, 8);
    g_assert_cmpint(cons(&f, 0), ==, 8);
    smmu_write(&f, 0, CMDQ_PROD, 9);
    g_assert_cmpint(cons(&f, 0), ==, 9);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_TAG), ==, 2);
    g_assert_cmpint(dev_read(&f, A, SVADEV_U_IOTLB_ALL), ==, 0);
    stop(&f);
}

/* A queue where there is no memory */
static void test_no_queue(void)
{
    Fix f;

    start(&f);
    smmu_write(&f, 0, CR0, CR0_EVENTQEN);
    smmu_writeq(&f, 0, CMDQ_BASE, (RAM + 512 * MiB) | CMDQ_BITS);
    smmu_write(&f, 0, CR0, CR0_CMDQEN);
    smmu_write(&f, 0, CMDQ_PROD, 1);
    g_assert_true(in_error(&f, 0));
    g_assert_cmpint(cerror(&f, 0), ==, CERROR_ABT);
    g_assert_cmpint(cons(&f, 0), ==, 0);
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
    qtest_add_func("/smmuv3/device-tree-order", test_device_tree_order);
    qtest_add_func("/smmuv3/substream/formats", test_formats);
    qtest_add_func("/smmuv3/substream/bad", test_bad_substreams);
    qtest_add_func("/smmuv3/substream/default", test_default_substream);
    qtest_add_func("/smmuv3/substream/events", test_events);
    qtest_add_func("/smmuv3/events/overflow", test_event_overflow);
    qtest_add_func("/smmuv3/events/bad-streamid", test_bad_streamid);
    qtest_add_func("/smmuv3/two-level-streams", test_two_level_streams);
    qtest_add_func("/smmuv3/config/commands", test_config_commands);
    qtest_add_func("/smmuv3/config/invalid", test_invalid_cached);
    qtest_add_func("/smmuv3/tlb/commands", test_tlb_commands);
    qtest_add_func("/smmuv3/tlb/ranges", test_tlb_ranges);
    qtest_add_func("/smmuv3/tlb/blocks", test_tlb_blocks);
    qtest_add_func("/smmuv3/tlb/pages64", test_tlb_pages64);
    qtest_add_func("/smmuv3/tlb/contiguous64", test_contiguous64);
    qtest_add_func("/smmuv3/tlb/walk-cache64", test_walk_cache64);
    qtest_add_func("/smmuv3/tlb/blocks64", test_tlb_blocks64);
    qtest_add_func("/smmuv3/ats/page64", test_ats_page64);
    qtest_add_func("/smmuv3/tlb/reserved", test_tlb_reserved);
    qtest_add_func("/smmuv3/illegal", test_illegal);
    qtest_add_func("/smmuv3/not-strict", test_not_strict);
    qtest_add_func("/smmuv3/tlb/contiguous", test_contiguous);
    qtest_add_func("/smmuv3/tlb/walk-cache", test_walk_cache);
    qtest_add_func("/smmuv3/tlb/walk-cache-tags", test_walk_cache_tags);
    qtest_add_func("/smmuv3/tlb/walks-disabled", test_walks_disabled);
    qtest_add_func("/smmuv3/tlb/evicted", test_evicted);
    qtest_add_func("/smmuv3/tlb/walks-again", test_walks_again);
    qtest_add_func("/smmuv3/tlb/privileged", test_privileged);
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
    qtest_add_func("/smmuv3/time/another", test_function_of_another);
    qtest_add_func("/smmuv3/time/late", test_late_each);
    qtest_add_func("/smmuv3/time/very-late", test_very_late);
    qtest_add_func("/smmuv3/time/queue-anew", test_queue_anew);
    qtest_add_func("/smmuv3/time/reset", test_reset);
    qtest_add_func("/smmuv3/time/late-order", test_late_order);
    qtest_add_func("/smmuv3/time/late-sync", test_late_sync);
    qtest_add_func("/smmuv3/verify/tlb", test_verify_tlb);
    qtest_add_func("/smmuv3/verify/config", test_verify_config);
    qtest_add_func("/smmuv3/verify/second-stage", test_verify_second_stage);
    qtest_add_func("/smmuv3/verify/owners", test_verify_owners);
    qtest_add_func("/smmuv3/verify/vmids", test_verify_vmids);
    qtest_add_func("/smmuv3/verify/nested", test_verify_nested);
    qtest_add_func("/smmuv3/verify/contiguous", test_verify_contiguous);
    qtest_add_func("/smmuv3/verify/page-of-group", test_verify_page_of_group);
    qtest_add_func("/smmuv3/verify/dirty-group", test_verify_dirty_group);
    qtest_add_func("/smmuv3/verify/atc", test_verify_atc);
    qtest_add_func("/smmuv3/properties", test_properties);
    qtest_add_func("/smmuv3/refused-properties", test_refused_properties);
    qtest_add_func("/smmuv3/msi", test_msi);
    qtest_add_func("/smmuv3/httu", test_httu);
    qtest_add_func("/smmuv3/small-queue", test_small_queue);
    qtest_add_func("/smmuv3/no-queue", test_no_queue);
    qtest_add_func("/smmuv3/queue-errors", test_queue_errors);
    qtest_add_func("/smmuv3/queue-after-error", test_queue_after_error);
    return g_test_run();
}
