/*
 * QTest of VT-d with x-svm against a hostile guest: it has the unit write to
 * registers, sends interrupts to them, fills the queue with commands that are
 * never over, uses one PASID after the other, and changes its tables all the
 * time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qemu/atomic.h"
#include "vtd-fixture.h"

#define PENDING_MAX     256             /* VTD_INV_PENDING_MAX */

#define MSI             0xfee00000U
#define MSI_REMAPPABLE  (1U << 4)

/* Vector 0 of @dev becomes a write of @data to @addr. */
static void set_msi(Fix *f, int dev, uint64_t addr, uint32_t data)
{
    QPCIDevice *d = f->dev[dev];
    uint64_t entry;

    if (!d->msix_enabled) {
        qpci_msix_enable(d);
    }
    entry = d->msix_table_off;
    qpci_io_writel(d, d->msix_table_bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR,
                   addr);
    qpci_io_writel(d, d->msix_table_bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR,
                   addr >> 32);
    qpci_io_writel(d, d->msix_table_bar, entry + PCI_MSIX_ENTRY_DATA, data);
    qpci_io_writel(d, d->msix_table_bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

/* --- writes of status to where no memory is --- */

static void put_wait_at(Fix *f, uint64_t addr, uint32_t data)
{
    put(f, VTD_INV_DESC_WAIT | VTD_INV_DESC_WAIT_SW | (uint64_t)data << 32,
        addr);
}

/* The wait is over only later, and then turns off the queue that it is in. */
static void test_status_queue_off(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_LATE_SYNC);
    put_wait_at(&f, reg_addr(DMAR_GCMD_REG), 0);
    go(&f);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmphex(unit_read(&f, DMAR_GCMD_REG) >> 32 & VTD_GSTS_QIES, ==,
                    VTD_GSTS_QIES);
    g_assert_cmphex(fsts(&f), ==, VTD_FSTS_IQE);
    stop(&f);
}

/* ... not by the clock, but because a device lets it go. */
static void test_status_let_go(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_LATE_SYNC);
    put_wait_at(&f, reg_addr(DMAR_GCMD_REG), 0);
    go(&f);
    dev_write(&f, B, SVADEV_LATE, 0);
    g_assert_cmphex(unit_read(&f, DMAR_GCMD_REG) >> 32 & VTD_GSTS_QIES, ==,
                    VTD_GSTS_QIES);
    g_assert_cmphex(fsts(&f), ==, VTD_FSTS_IQE);
    stop(&f);
}

/* ... and is the reason to look what else is over. */
static void test_status_fsts(void)
{
    Fix f;

    start(&f);
    be_late(&f, SVADEV_LATE_SYNC);
    put_wait_at(&f, reg_addr(DMAR_FSTS_REG), VTD_FSTS_IQE);
    put_wait(&f, 0, 0);
    go(&f);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmphex(fsts(&f), ==, VTD_FSTS_IQE);
    g_assert_true(over(&f, 0));
    stop(&f);
}

/* A device is written to, which calls the unit. */
static void test_status_device(void)
{
    Fix f;

    start(&f);
    put_wait_at(&f, f.ctl[B].addr + SVADEV_LATE, SVADEV_LATE_SYNC);
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_cmphex(dev_read(&f, B, SVADEV_LATE), ==, 0);
    g_assert_cmpint(head(&f), ==, 0);
    g_assert_cmphex(fsts(&f), ==, VTD_FSTS_IQE);
    stop(&f);
}

/* --- page requests, and interrupts that their responses cause --- */

/* A requests a page, and sends an interrupt when it does not get it. */
static void request_page(Fix *f)
{
    start_op(f, A, 1, SVADEV_OP_PAGE_REQ, SVADEV_FLAG_IRQ, VA);
}

static void put_failure(Fix *f)
{
    uint64_t prgi = qtest_readq(f->qts, PRQ + 8) >> 3 & 0x1ff;

    put(f, VTD_INV_DESC_PGRESP | 1 << 4 | 15 << 12 | SID(A) << 16 | 1ULL << 32,
        prgi << 3);
}

static void assert_failed(Fix *f)
{
    g_assert_cmpint(wait_op(f, A), ==, SVADEV_STATE_ERROR);
    g_assert_cmpint(q_read(f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_PRI_FAILURE);
}

/* The interrupt goes to a device that has the unit let go what is late. */
static void test_interrupt_let_go(void)
{
    Fix f;

    start(&f);
    translate(&f);
    set_msi(&f, A, f.ctl[B].addr + SVADEV_LATE, 0);
    request_page(&f);
    g_assert_cmpint(wait_op(&f, A), ==, SVADEV_STATE_PAGE_REQ);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(B));
    put_wait(&f, 0, 0);
    put_failure(&f);
    go(&f);
    assert_failed(&f);
    g_assert_cmpint(head(&f), ==, 3);
    g_assert_cmphex(fsts(&f), ==, 0);
    g_assert_true(over(&f, 0));
    stop(&f);
}

/* It goes to IQT, while the timer has the queue go on. */
static void test_interrupt_tail(void)
{
    Fix f;

    start(&f);
    translate(&f);
    set_msi(&f, A, reg_addr(DMAR_IQT_REG), 4 << VTD_IQH_QH_SHIFT_5);
    request_page(&f);
    g_assert_cmpint(wait_op(&f, A), ==, SVADEV_STATE_PAGE_REQ);
    be_late(&f, SVADEV_INJECT_ATC);
    put_atc(&f, SID(B));
    put_wait(&f, 0, VTD_INV_DESC_WAIT_FN);
    put_failure(&f);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_cmpint(head(&f), ==, 2);
    qtest_clock_step(f.qts, LATE_NS);
    assert_failed(&f);
    g_assert_cmpint(head(&f), ==, 4);
    g_assert_cmphex(fsts(&f), ==, 0);
    g_assert_true(over(&f, 0) && over(&f, 1));
    stop(&f);
}

/* One that is an interrupt arrives: remapping finds no entry for it. */
static void test_interrupt_arrives(void)
{
    const uint32_t on = VTD_GCMD_QIE | VTD_GCMD_TE;
    uint64_t fault;
    Fix f;

    start(&f);
    translate(&f);
    unit_writeq(&f, DMAR_IRTA_REG, IRTES);
    set_gcmd(&f, on | VTD_GCMD_SIRTP);
    set_gcmd(&f, on | VTD_GCMD_IRE);
    set_msi(&f, A, MSI | MSI_REMAPPABLE, 0);
    request_page(&f);
    g_assert_cmpint(wait_op(&f, A), ==, SVADEV_STATE_PAGE_REQ);
    put_failure(&f);
    go(&f);
    assert_failed(&f);
    fault = unit_read(&f, DMAR_FRCD_REG_0_2);
    g_assert_cmphex(fault, ==, VTD_FRCD_F | VTD_FRCD_FR(VTD_FR_IR_ENTRY_P) |
                               SID(A));
    stop(&f);
}

/* The page request queue lies on the unit's own registers. */
static void test_page_request_registers(void)
{
    Fix f;

    start(&f);
    translate(&f);
    unit_writeq(&f, DMAR_PQA_REG, Q35_HOST_BRIDGE_IOMMU_ADDR);
    unit_writeq(&f, DMAR_PQT_REG, 0x20);
    unit_writeq(&f, DMAR_PQH_REG, 0x20);
    request_page(&f);
    assert_failed(&f);
    g_assert_cmphex(unit_read(&f, DMAR_RTADDR_REG), ==, ROOT | VTD_RTADDR_SMT);
    g_assert_cmphex(unit_read(&f, DMAR_PQT_REG), ==, 0x20);
    stop(&f);
}

/* --- more than there is room for, longer than there is time for --- */

static void fill_queue(Fix *f, void (*put_it)(Fix *f))
{
    for (unsigned i = 1; i < f->len; i++) {
        put_it(f);
    }
    go(f);
}

static void put_atc_a(Fix *f)
{
    put_atc(f, SID(A));
}

static void put_wait_0(Fix *f)
{
    put_wait(f, 0, 0);
}

/* A queue of 1024 that an OS may fill; turning it off needs a wait. */
static void start_long_queue(Fix *f)
{
    put_wait(f, 0, 0);
    go(f);
    set_queue(f, false);
    start_queue(f, 3);
}

static void test_limit_requests(void)
{
    unsigned stops;
    Fix f;

    start(&f);
    start_long_queue(&f);
    dev_write(&f, A, SVADEV_MUTE, SVADEV_MUTE_ALL);
    fill_queue(&f, put_atc_a);
    for (stops = PENDING_MAX; stops < f.tail; stops += PENDING_MAX) {
        g_assert_cmpint(head(&f), ==, stops);
        go(&f);
        g_assert_cmpint(head(&f), ==, stops);
        qtest_clock_step(f.qts, TIMEOUT_NS);
        assert_timed_out(&f, SID(A));
        clear_fsts(&f, VTD_FSTS_ITE);
    }
    g_assert_cmpint(head(&f), ==, f.tail);
    qtest_clock_step(f.qts, TIMEOUT_NS);
    clear_fsts(&f, VTD_FSTS_ITE);
    dev_write(&f, A, SVADEV_MUTE, 0);
    put_atc_a(&f);
    put_wait(&f, 1, 0);
    go(&f);
    g_assert_true(over(&f, 1));
    stop(&f);
}

static void test_limit_waits(void)
{
    Fix f;

    start(&f);
    start_long_queue(&f);
    be_late(&f, SVADEV_LATE_SYNC);
    fill_queue(&f, put_wait_0);
    g_assert_cmpint(head(&f), ==, PENDING_MAX);
    qtest_clock_step(f.qts, LATE_NS);
    g_assert_cmpint(head(&f), ==, 2 * PENDING_MAX);
    dev_write(&f, B, SVADEV_LATE, 0);
    g_assert_cmpint(head(&f), ==, f.tail);
    g_assert_cmphex(fsts(&f), ==, 0);
    stop(&f);
}

/* Time-outs of hardware are longer than 32 bits of nanoseconds are. */
static void test_limit_timeout(void)
{
    const int64_t ns = 90 * 1000000000LL;
    Fix f;

    start_with(&f, UNIT_SVM ",x-inv-timeout-us=90000000");
    dev_write(&f, A, SVADEV_MUTE, 1);
    put_atc(&f, SID(A));
    go(&f);
    qtest_clock_step(f.qts, ns - 1);
    g_assert_cmphex(fsts(&f), ==, 0);
    qtest_clock_step(f.qts, 1);
    assert_timed_out(&f, SID(A));
    stop(&f);
}

static unsigned count_address_spaces(Fix *f)
{
    g_autofree char *tree = qtest_hmp(f->qts, "info mtree");
    unsigned n = 0;

    for (char *p = tree; (p = strstr(p, "address-space: vtd-root")); p++) {
        n++;
    }
    return n;
}

/* Nothing that stays is made for a PASID, be it bound or not. */
static void test_limit_pasids(void)
{
    unsigned before;
    Fix f;

    start(&f);
    for (int dev = A; dev <= B; dev++) {
        enable_pasid(&f, dev);
        dev_write(&f, dev, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    }
    before = count_address_spaces(&f);
    g_assert_cmpint(before, >, 0);
    for (uint32_t pasid = 0; pasid < 100; pasid++) {
        start_op(&f, pasid % 2, pasid, SVADEV_OP_SUM, 0, PAGE(0));
        wait_op(&f, pasid % 2);
    }
    g_assert_cmpint(dev_read(&f, A, SVADEV_C_UNTRANSLATED), ==, 50);
    g_assert_cmpint(count_address_spaces(&f), <=, before + 2);
    stop(&f);
}

/* The PASIDs of a function that take turns have their own pages each. */
static void test_pasids_take_turns(void)
{
    Fix f;

    start(&f);
    translate(&f);
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(sum(&f, 1, VA), ==, 8);
        g_assert_cmpint(sum(&f, 2, VA), ==, 16);
        g_assert_cmpint(sum(&f, SVADEV_PASID_NONE, PAGE(1)), ==, 8);
        g_assert_cmpint(sum(&f, 0, PAGE(2)), ==, 16);
        start_op(&f, A, 3, SVADEV_OP_SUM, 0, VA);
        g_assert_cmpint(wait_op(&f, A), ==, SVADEV_STATE_ERROR);
    }
    stop(&f);
}

static unsigned count_lines(const char *file)
{
    g_autofree char *text = NULL;
    unsigned n = 0;

    g_assert(g_file_get_contents(file, &text, NULL, NULL));
    for (char *p = text; (p = strchr(p, '\n')); p++) {
        n++;
    }
    return n;
}

/* ... which costs no change of the memory topology, whatever they are like. */
static void test_pasids_cost_nothing(void)
{
    const uint32_t pasids[] = { 1, 0, 3, 2, 0, SVADEV_PASID_NONE, 1 };
    g_autofree char *log = NULL, *unit = NULL;
    unsigned views;
    Fix f;

    close(g_file_open_tmp("vtd-views-XXXXXX", &log, NULL));
    unit = g_strdup_printf(UNIT_SVM " -D %s -trace flatview_new", log);
    start_with(&f, unit);
    translate(&f);
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    g_assert_cmpint(sum(&f, 1, VA), ==, 8);
    sum(&f, SVADEV_PASID_NONE, PAGE(1));
    views = count_lines(log);
    g_assert_cmpint(views, >, 0);
    for (int i = 0; i < 5 * ARRAY_SIZE(pasids); i++) {
        start_op(&f, A, pasids[i % ARRAY_SIZE(pasids)], SVADEV_OP_SUM, 0, VA);
        wait_op(&f, A);
    }
    g_assert_cmpint(count_lines(log), ==, views);
    stop(&f);
    unlink(log);
}

/* A PASID that passes through does not send interrupts (VT-d 3.14). */
static void test_pasid_interrupt(void)
{
    Fix f;

    start(&f);
    translate(&f);
    dev_write(&f, A, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
    start_op(&f, A, 0, SVADEV_OP_FILL, 0, MSI);
    g_assert_cmpint(wait_op(&f, A), ==, SVADEV_STATE_ERROR);
    g_assert_cmphex(unit_read(&f, DMAR_FRCD_REG_0_2), ==,
                    VTD_FRCD_F | VTD_FRCD_FR(VTD_FR_SM_INTERRUPT_ADDR) |
                    VTD_FRCD_PP(1) | SID(A));
    g_assert_cmphex(unit_read(&f, DMAR_FRCD_REG_0_0), ==, MSI);
    stop(&f);
}

/* --- tables that are never the same --- */

#define RAM_SIZE        (128 * MiB)

/* A vCPU that writes to the entry at @addr, each time something else */
typedef struct Writer {
    char *file;
    uint8_t *ram;
    uint64_t addr, val;
    bool stop;
    GThread *thread;
} Writer;

/* Bits 52 to 58 are nobody's, neither of a PASID nor of a paging entry. */
static void *write_all_the_time(void *arg)
{
    Writer *w = arg;
    uint64_t *entry = (uint64_t *)(w->ram + w->addr);

    for (uint64_t n = 0; !qatomic_read(&w->stop); n++) {
        qatomic_set(entry, cpu_to_le64(w->val | (n % 127 + 1) << 52));
    }
    qatomic_set(entry, cpu_to_le64(w->val));
    return NULL;
}

static bool start_shared(Fix *f, Writer *w)
{
    g_autofree char *unit = NULL;
    int fd;

    /* On one CPU nobody writes while a request is under way. */
    if (g_get_num_processors() < 2) {
        g_test_skip("needs 2 CPUs");
        return false;
    }
    fd = g_file_open_tmp("vtd-ram-XXXXXX", &w->file, NULL);
    g_assert(fd >= 0 && !ftruncate(fd, RAM_SIZE));
    w->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(w->ram != MAP_FAILED);
    close(fd);
    /* What is said between a read and a write takes longer than the writer does. */
    unit = g_strdup_printf(UNIT_SVM " -object memory-backend-file,id=ram,"
                           "size=128M,share=on,mem-path=%s "
                           "-machine memory-backend=ram "
                           "-D /dev/null -trace vtd_fs_set_bits", w->file);
    start_with(f, unit);
    translate(f);
    for (int dev = A; dev <= B; dev++) {
        dev_write(f, dev, SVADEV_CTRL, SVADEV_CTRL_NO_CACHE);
    }
    use_queue(f, A, 0, 1);
    return true;
}

static void start_writer(Fix *f, Writer *w, uint64_t addr)
{
    w->addr = addr;
    w->val = qtest_readq(f->qts, addr);
    w->stop = false;
    w->thread = g_thread_new("writer", write_all_the_time, w);
}

static void stop_writer(Writer *w)
{
    qatomic_set(&w->stop, true);
    g_thread_join(w->thread);
}

static void stop_shared(Fix *f, Writer *w)
{
    stop(f);
    munmap(w->ram, RAM_SIZE);
    unlink(w->file);
    g_free(w->file);
}

/* Caches are empty when A makes a request, which ends one way or the other. */
static uint64_t request(Fix *f)
{
    put(f, VTD_INV_DESC_IOTLB | VTD_INV_DESC_IOTLB_GLOBAL, 0);
    put_config(f);
    put_wait(f, 0, 0);
    go(f);
    g_assert_true(over(f, 0));
    submit(f, A, 0, SVADEV_OP_SUM, 0, VA);
    return settle(f, A, 0);
}

/*
 * Now and then the writer has no CPU, and the request finds what it wants. The
 * other times it is not tried for ever: it ends with that fault.
 */
static void expect_given_up(Fix *f, Writer *w, uint64_t addr, unsigned reason)
{
    unsigned tries = 0;

    start_writer(f, w, addr);
    while (request(f) != SVADEV_STATE_ERROR) {
        g_assert_cmpint(q_read(f, A, SVADEV_Q_STATE), ==, SVADEV_STATE_DONE);
        g_assert_cmpint(++tries, <, 100000);
    }
    g_assert_cmpint(q_read(f, A, SVADEV_Q_ERROR), ==, SVADEV_ERR_DMA);
    g_assert_cmphex(dev_read(f, A, SVADEV_U_FAULT_REASON), ==, reason);
    g_assert_cmphex(unit_read(f, DMAR_FRCD_REG_0_2) >> 32 & 0xff, ==, reason);
    stop_writer(w);
    qtest_writel(f->qts, reg_addr(DMAR_FRCD_REG_0_3), VTD_FRCD_F >> 32);
    g_assert_cmpint(request(f), ==, SVADEV_STATE_DONE);
}

static void test_restless_pasid_entry(void)
{
    Writer w;
    Fix f;

    if (!start_shared(&f, &w)) {
        return;
    }
    expect_given_up(&f, &w, PASID_TABLE + VTD_PASID_ENTRY_SIZE,
                    VTD_FR_PASID_TABLE_ACCESS_ERR);
    stop_shared(&f, &w);
}

/* The entry has no accessed bit, and never keeps the one that it gets. */
static void test_restless_page(void)
{
    const uint64_t entries[] = { pte_addr(1), PAGING(1, VTD_PML4_LEVEL) };
    Writer w;
    Fix f;

    if (!start_shared(&f, &w)) {
        return;
    }
    for (int i = 0; i < ARRAY_SIZE(entries); i++) {
        qtest_writeq(f.qts, entries[i],
                     qtest_readq(f.qts, entries[i]) & ~VTD_FL_A);
        expect_given_up(&f, &w, entries[i], VTD_FR_FS_BIT_UPDATE_FAILED);
    }
    stop_shared(&f, &w);
}

/* --- the rest of the machine --- */

/* Two registers in one access, where the manual has 32-bit ones */
static void test_wide_write(void)
{
    Fix f;

    start(&f);
    unit_writeq(&f, DMAR_PECTL_REG, 0x5aULL << 32 | VTD_PECTL_IM);
    g_assert_cmphex(unit_read(&f, DMAR_PECTL_REG), ==,
                    0x5aULL << 32 | VTD_PECTL_IM);
    stop(&f);
}

/* A unit that can be migrated has nothing pending. */
static void test_nothing_pends(void)
{
    Fix f;

    start_with(&f, UNIT);
    put_atc(&f, SID_OF_NOBODY);
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_true(over(&f, 0));
    qtest_clock_step(f.qts, NANOSECONDS_PER_SECOND);
    g_assert_cmphex(fsts(&f), ==, 0);
    stop(&f);
}

static void test_migration(void)
{
    char *bios = make_bios();
    QTestState *qts = qtest_initf("-M q35 -nodefaults -bios %s "
                                  "-device intel-iommu,%s", bios, UNIT_SVM);
    QDict *error, *rsp = qtest_qmp(qts, "{ 'execute': 'migrate', 'arguments':"
                                        " { 'uri': 'exec:cat >/dev/null' } }");

    error = qdict_get_qdict(rsp, "error");
    g_assert(error);
    g_assert(strstr(qdict_get_str(error, "desc"), "x-svm"));
    qobject_unref(rsp);
    qtest_quit(qts);
    unlink(bios);
    g_free(bios);
}

/* What QEMU says when it does not start with @unit */
static char *complaint(const char *unit)
{
    g_autofree char *bios = make_bios();
    const char *argv[] = {
        getenv("QTEST_QEMU_BINARY"), "-M", "q35", "-accel", "qtest", "-bios",
        bios, "-nodefaults", "-display", "none", "-only-migratable",
        "-device", unit, NULL
    };
    char *text = NULL;
    int status = 0;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL,
                          NULL, NULL, &text, &status, NULL));
    g_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    unlink(bios);
    return text;
}

/* The blocker is the last that can fail: what failed before has left none. */
static void test_migration_last(void)
{
    g_autofree char *bus = complaint("intel-iommu," UNIT_SVM
                                     ",primary-bus=pcie.0");
    g_autofree char *migration = complaint("intel-iommu," UNIT_SVM);

    g_assert(strstr(bus, "first intel-iommu takes no primary-bus"));
    g_assert(!strstr(bus, "migrat"));
    g_assert(strstr(migration, "x-svm"));
}

/* --- anything, in any order --- */

static uint64_t any_addr(Fix *f)
{
    const uint64_t addrs[] = {
        STATUS, MSI, MSI | MSI_REMAPPABLE, reg_addr(DMAR_IQT_REG),
        reg_addr(DMAR_FSTS_REG), reg_addr(DMAR_GCMD_REG),
        f->ctl[A].addr + SVADEV_LATE, f->ctl[B].addr + SVADEV_LATE,
        f->ctl[B].addr + SVADEV_VERIFY, f->pages[A].addr + SVADEV_Q_DOORBELL,
        f->pages[B].addr + SVADEV_Q_ABORT, 1ULL << 40,
    };

    return addrs[g_test_rand_int_range(0, ARRAY_SIZE(addrs))];
}

static void put_anything(Fix *f)
{
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        put_wait_at(f, any_addr(f), g_test_rand_int());
        break;
    case 1:
        put_wait(f, 0, VTD_INV_DESC_WAIT_FN | VTD_INV_DESC_WAIT_IF);
        break;
    case 2:
        put_atc(f, SID(g_test_rand_int_range(A, B + 2)));
        break;
    case 3:
        put_iotlb(f);
        break;
    case 4:
        put_config(f);
        break;
    case 5:
    case 6:
        put_failure(f);
        break;
    default:
        put_wait(f, 1, 0);
    }
}

static void set_anything(Fix *f)
{
    int dev = g_test_rand_int_range(A, B + 1);

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        dev_write(f, dev, SVADEV_MUTE, g_test_rand_int_range(0, 3));
        break;
    case 1:
        be_late(f, g_test_rand_int_range(0, 5));
        break;
    case 2:
        set_ats(f, dev, g_test_rand_bit());
        break;
    case 3:
        set_msi(f, dev, any_addr(f), g_test_rand_int());
        break;
    case 4:
        unit_writeq(f, DMAR_PQA_REG, g_test_rand_bit() ? PRQ :
                                     any_addr(f) & ~0xfffULL);
        break;
    case 5:
        dev_write(f, dev, SVADEV_CTRL, g_test_rand_int_range(0, 8));
        break;
    case 6:
        dev_write(f, dev, SVADEV_VERIFY, SVADEV_PASID_ALL);
        break;
    default:
        enable_pri(f, dev);
    }
}

/* What has stopped the queue is mended as a driver would do it. */
static void go_on(Fix *f)
{
    uint64_t wait[4] = { cpu_to_le64(VTD_INV_DESC_WAIT) };

    if (fsts(f) & VTD_FSTS_IQE) {
        qtest_memwrite(f->qts, QUEUE + head(f) * sizeof(wait), wait,
                       sizeof(wait));
    }
    go(f);
    clear_fsts(f, VTD_FSTS_IQE | VTD_FSTS_ITE);
    clear_fsts(f, VTD_FSTS_PFO);
    set_gcmd(f, VTD_GCMD_QIE | VTD_GCMD_TE);
}

static void do_anything(Fix *f)
{
    static const unsigned ops[] = {
        SVADEV_OP_SUM, SVADEV_OP_TOUCH, SVADEV_OP_PAGE_REQ,
        SVADEV_OP_PAGE_REQ, SVADEV_OP_VERIFY,
    };

    switch (g_test_rand_int_range(0, 6)) {
    case 0:
        set_anything(f);
        break;
    case 1:
    case 2:
        put_anything(f);
        break;
    case 3:
        start_op(f, g_test_rand_int_range(A, B + 1),
                 g_test_rand_int_range(0, 4),
                 ops[g_test_rand_int_range(0, ARRAY_SIZE(ops))],
                 SVADEV_FLAG_IRQ, VA);
        break;
    case 4:
        qtest_clock_step(f->qts, g_test_rand_int_range(1, TIMEOUT_NS));
        break;
    default:
        go_on(f);
    }
}

/* The unit is still there, and a reset makes it as good as new. */
static void test_anything(void)
{
    Fix f;

    start(&f);
    translate(&f);
    for (int i = 0; i < 4000; i++) {
        do_anything(&f);
    }
    qobject_unref(qtest_qmp(f.qts, "{ 'execute': 'system_reset' }"));
    qtest_qmp_eventwait(f.qts, "RESET");
    map_devices(&f);
    start_queue(&f, 0);
    put_iotlb(&f);
    put_wait(&f, 0, 0);
    go(&f);
    g_assert_true(over(&f, 0));
    stop(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/vtd-hostile/status/queue-off", test_status_queue_off);
    qtest_add_func("/vtd-hostile/status/let-go", test_status_let_go);
    qtest_add_func("/vtd-hostile/status/fsts", test_status_fsts);
    qtest_add_func("/vtd-hostile/status/device", test_status_device);
    qtest_add_func("/vtd-hostile/interrupt/let-go", test_interrupt_let_go);
    qtest_add_func("/vtd-hostile/interrupt/tail", test_interrupt_tail);
    qtest_add_func("/vtd-hostile/interrupt/arrives", test_interrupt_arrives);
    qtest_add_func("/vtd-hostile/page-request/registers",
                   test_page_request_registers);
    qtest_add_func("/vtd-hostile/limit/requests", test_limit_requests);
    qtest_add_func("/vtd-hostile/limit/waits", test_limit_waits);
    qtest_add_func("/vtd-hostile/limit/timeout", test_limit_timeout);
    qtest_add_func("/vtd-hostile/limit/pasids", test_limit_pasids);
    qtest_add_func("/vtd-hostile/pasids", test_pasids_take_turns);
    qtest_add_func("/vtd-hostile/pasids-cost-nothing",
                   test_pasids_cost_nothing);
    qtest_add_func("/vtd-hostile/pasid-interrupt", test_pasid_interrupt);
    qtest_add_func("/vtd-hostile/restless/pasid-entry",
                   test_restless_pasid_entry);
    qtest_add_func("/vtd-hostile/restless/page", test_restless_page);
    qtest_add_func("/vtd-hostile/wide-write", test_wide_write);
    qtest_add_func("/vtd-hostile/nothing-pends", test_nothing_pends);
    qtest_add_func("/vtd-hostile/migration", test_migration);
    qtest_add_func("/vtd-hostile/migration-last", test_migration_last);
    qtest_add_func("/vtd-hostile/anything", test_anything);
    return g_test_run();
}
