/*
 * svadev, a PCIe test function for Shared Virtual Addressing
 *
 * An endpoint with PASID, ATS, PRI and MSI-X that copies, fills, sums and adds
 * where a process tells it to, and that can say of every translation it holds
 * whether the page tables still agree. Its registers are those of
 * hw/misc/svadev_regs.h; nothing in it knows what IOMMU it stands behind.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "qemu/units.h"
#include "svadev.h"
#include "trace.h"

#define SVADEV_CLASS            0x1200  /* processing accelerator */
#define SVADEV_EXP_CAP          0x80
#define SVADEV_CONTROL_SIZE     (64 * KiB)
#define SVADEV_QCTL_SIZE        (SVADEV_QCTL(1) - SVADEV_QCTL(0))

QEMU_BUILD_BUG_ON(SVADEV_INJECT_IOTLB != (int)PCI_SVA_INV_IOTLB);
QEMU_BUILD_BUG_ON(SVADEV_INJECT_ATC != (int)PCI_SVA_INV_ATC);
QEMU_BUILD_BUG_ON(SVADEV_INJECT_CONFIG != (int)PCI_SVA_INV_CONFIG);
QEMU_BUILD_BUG_ON(SVADEV_LATE_SYNC != (int)PCI_SVA_INV_SYNC);
QEMU_BUILD_BUG_ON(SVADEV_INJECT_ALL != PCI_SVA_DROP_ALL);
QEMU_BUILD_BUG_ON(SVADEV_INJECT_FUNCTION != (int)PCI_SVA_INV_FUNCTION);
QEMU_BUILD_BUG_ON(SVADEV_INJECT_PASID != (int)PCI_SVA_INV_PASID);

/* --- what the IOMMU says --- */

static bool svadev_is_mute(SVADevState *s)
{
    if (!s->mute) {
        return false;
    }
    if (s->mute != SVADEV_MUTE_ALL) {
        s->mute--;
    }
    return true;
}

/*
 * An Invalidation Request with a PASID is for that one, or with its Global bit
 * set for every one. If it has none, it is for all that is cached, as drivers
 * of IOMMUs have it, or for what has none, either.
 */
static SVADevWhose svadev_whose(SVADevState *s, uint32_t pasid)
{
    switch (pasid) {
    case PCI_ALL_PASIDS:
        return SVADEV_OF_PASIDS;
    case PCI_NO_PASID:
        return s->strict_untagged ? SVADEV_OF_ONE : SVADEV_OF_ALL;
    default:
        return SVADEV_OF_ONE;
    }
}

static bool svadev_invalidate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                              uint64_t size)
{
    SVADevState *s = SVADEV(dev);
    SVADevScope scope = {
        .whose = svadev_whose(s, pasid),
        .pasid = pasid,
        .first = addr,
        .last = addr + (size - 1),
    };
    unsigned dropped;

    if (!pcie_ats_enabled(dev) || svadev_is_mute(s)) {
        trace_svadev_invalidate_lost(pasid, addr, size);
        return false;
    }
    if (size == PCI_ATS_ALL) {
        scope.first = 0;
    }
    if (size == PCI_ATS_ALL || scope.last < scope.first) {
        scope.last = UINT64_MAX;
    }
    if (pasid == PCI_NO_PASID) {
        svadev_count(s, INV_UNTAGGED, 1);
    } else if (pasid == PCI_ALL_PASIDS) {
        svadev_count(s, INV_GLOBAL, 1);
    } else if (size == PCI_ATS_ALL) {
        svadev_count(s, INV_PASID, 1);
    } else {
        svadev_count(s, INV_RANGE, 1);
    }
    dropped = svadev_atc_drop(&s->atc, &scope);
    for (unsigned i = 0; i < s->n_queues; i++) {
        svadev_queue_drop_held(&s->queues[i], &scope);
    }
    svadev_count(s, INV_ENTRIES, dropped);
    trace_svadev_invalidate(pasid, addr, size, dropped);
    return true;
}

/* Stopped says that no response will come any more; while PRI is on, 0. */
static void svadev_update_stopped(SVADevState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint8_t *status = dev->config + dev->exp.pri_cap + PCI_PRI_STATUS;

    if (!dev->exp.pri_cap) {
        return;
    }
    if (pcie_pri_enabled(dev) || s->requests) {
        pci_word_test_and_clear_mask(status, PCI_PRI_STATUS_STOPPED);
    } else {
        pci_word_test_and_set_mask(status, PCI_PRI_STATUS_STOPPED);
    }
}

static void svadev_page_response(PCIDevice *dev, uint32_t pasid, uint16_t prgi,
                                 PCIPRIResponse code)
{
    SVADevState *s = SVADEV(dev);
    uint8_t *status = dev->config + dev->exp.pri_cap + PCI_PRI_STATUS;
    SVADevQueue *q = NULL;

    if (!dev->exp.pri_cap) {
        return;
    }
    for (unsigned i = 0; i < s->n_queues && !q; i++) {
        const SVADevPageRequest *pr = &s->queues[i].pr;

        if (pr->outstanding && pr->prgi == prgi && pr->pasid == pasid) {
            q = &s->queues[i];
        }
    }
    trace_svadev_page_response(q ? (int)q->index : -1, pasid, prgi, code);
    if (!q) {
        pci_word_test_and_set_mask(status, PCI_PRI_STATUS_UPRGI);
        return;
    }
    if (code != PCI_PRI_SUCCESS && code != PCI_PRI_INVALID) {
        pci_word_test_and_set_mask(status, PCI_PRI_STATUS_RF);
    }
    svadev_count(s, PAGE_RESP, 1);
    svadev_queue_respond(q, code);
    svadev_kick_requests(s);
    svadev_update_stopped(s);
}

static void svadev_resume(PCIDevice *dev, uint64_t id, PCIStallEnd how)
{
    SVADevState *s = SVADEV(dev);
    SVADevQueue *q = NULL;

    for (unsigned i = 0; i < s->n_queues && !q; i++) {
        if (s->queues[i].stall.id == id) {
            q = &s->queues[i];
        }
    }
    trace_svadev_resumed(q ? (int)q->index : -1, id, how);
    if (q) {
        svadev_count(s, RESUME, 1);
        svadev_queue_resume(q, how);
    }
}

static const PCISVAClientOps svadev_client_ops = {
    .invalidate = svadev_invalidate,
    .page_response = svadev_page_response,
    .resume = svadev_resume,
};

/* --- VERIFY --- */

typedef struct VerifyState {
    SVADevState *s;
    bool any_pasid;
    uint32_t pasid;
    SVADevVerdict *v;
} VerifyState;

static void verify_found(SVADevVerdict *v, uint64_t n, uint64_t addr,
                         uint32_t pasid, uint64_t where)
{
    if (n && !v->stale) {
        v->addr = addr;
        v->where = where | (svadev_pasid_to_reg(pasid) & SVADEV_WHERE_PASID);
    }
    v->stale += n;
}

/* Stale: says another page than the tables do now, or permits more. */
static void verify_page(const SVADevPage *page, void *opaque)
{
    VerifyState *vs = opaque;
    PCIATSReply now = { };
    bool stale;

    if (!vs->any_pasid && page->pasid != vs->pasid) {
        return;
    }
    stale = pci_sva_probe(PCI_DEVICE(vs->s), page->pasid, page->va,
                          &now) != PCI_ATS_OK ||
        (page->perm & ~now.perm) ||
        ((now.addr & ~now.mask) | (page->va & now.mask)) != page->pa;
    if (stale) {
        trace_svadev_stale(page->pasid, page->va, page->pa, page->perm,
                           now.addr, now.perm);
    }
    vs->v->checked++;
    vs->v->cached_atc += page->va >= vs->s->cached_first &&
        (page->va | ~SVADEV_PAGE_MASK) <= vs->s->cached_last;
    verify_found(vs->v, stale, page->va, page->pasid, SVADEV_WHERE_ATC);
}

/* Pages of held operations, as far as the ATC does not hold them as well. */
static void verify_held(VerifyState *vs)
{
    for (unsigned i = 0; i < vs->s->n_queues; i++) {
        const SVADevQueue *q = &vs->s->queues[i];

        for (unsigned j = 0; j < q->n_held; j++) {
            const SVADevPage *page = &q->held[j].page;

            if (q->held[j].valid &&
                !svadev_atc_find(&vs->s->atc, page->pasid, page->va)) {
                verify_page(page, vs);
            }
        }
    }
}

void svadev_verify(SVADevState *s, uint32_t pasid, SVADevVerdict *v)
{
    VerifyState vs = {
        .s = s,
        .any_pasid = pasid > SVADEV_PASID_NONE,
        .pasid = svadev_pasid_from_reg(pasid),
        .v = v,
    };
    PCISVAAudit audit = {
        .first = s->cached_first,
        .last = s->cached_last,
    };

    *v = (SVADevVerdict) { };
    svadev_atc_foreach(&s->atc, verify_page, &vs);
    verify_held(&vs);
    /* PCI_NO_PASID asks for all of the instance, which is not meant by NONE */
    if (pasid != SVADEV_PASID_NONE) {
        pci_sva_audit(PCI_DEVICE(s), vs.any_pasid ? PCI_NO_PASID : pasid,
                      &audit);
        v->checked += audit.checked;
        memcpy(v->cached, audit.cached, sizeof(v->cached));
        verify_found(v, audit.stale, audit.addr, audit.pasid,
                     SVADEV_WHERE_IOTLB);
    }
    svadev_count(s, STALE, v->stale);
    trace_svadev_verify(pasid, v->checked, v->stale);
}

/* --- reset --- */

static void svadev_drop_all(SVADevState *s)
{
    SVADevScope all = svadev_scope_all();

    svadev_atc_drop(&s->atc, &all);
    for (unsigned i = 0; i < s->n_queues; i++) {
        svadev_queue_drop_held(&s->queues[i], &all);
    }
}

static void svadev_reset_queue(SVADevQueue *q)
{
    bool aborted = svadev_queue_active(q);

    svadev_queue_disable(q);
    q->pasid = SVADEV_PASID_NONE;
    q->error = aborted ? SVADEV_ERR_ABORTED : SVADEV_ERR_NONE;
    q->done = 0;
    q->fault = 0;
    q->result = 0;
    q->seq = 0;
}

/*
 * Everything but the configuration space, and but the page requests and stalled
 * accesses that the IOMMU has: it answers whatever the registers say.
 */
static void svadev_reset_function(SVADevState *s)
{
    for (unsigned i = 0; i < s->n_queues; i++) {
        svadev_reset_queue(&s->queues[i]);
    }
    svadev_drop_all(s);
    s->ctrl = 0;
    s->step_bytes = SVADEV_PAGE_SIZE;
    s->step_ns = 0;
    s->inject_kind = 0;
    s->late = 0;
    s->mute = 0;
    s->cached_first = 0;
    s->cached_last = UINT64_MAX;
    s->verdict = (SVADevVerdict) { };
    memset(s->counters, 0, sizeof(s->counters));
    trace_svadev_reset();
}

/* The IOMMU still has them, and nobody waits for their end. */
static void svadev_forget_stalls(SVADevState *s)
{
    for (unsigned i = 0; i < s->n_queues; i++) {
        s->queues[i].stall = (SVADevStall) { };
    }
}

static void svadev_forget_requests(SVADevState *s)
{
    for (unsigned i = 0; i < s->n_queues; i++) {
        svadev_queue_forget_request(&s->queues[i]);
    }
    svadev_kick_requests(s);
}

/* Also what a Function Level Reset ends in. */
static void svadev_reset(DeviceState *d)
{
    PCIDevice *dev = PCI_DEVICE(d);
    SVADevState *s = SVADEV(d);

    svadev_reset_function(s);
    svadev_forget_requests(s);
    svadev_forget_stalls(s);
    if (dev->exp.ats_cap) {
        pci_set_word(dev->config + dev->exp.ats_cap + PCI_ATS_CTRL, 0);
    }
    if (dev->exp.pasid_cap) {
        pci_set_word(dev->config + dev->exp.pasid_cap + PCI_PASID_CTRL, 0);
    }
    if (dev->exp.pri_cap) {
        uint8_t *pri = dev->config + dev->exp.pri_cap;

        pci_set_word(pri + PCI_PRI_CTRL, 0);
        pci_set_word(pri + PCI_PRI_STATUS,
                     PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
        pci_set_long(pri + PCI_PRI_ALLOC_REQ, 0);
    }
}

/* --- counters --- */

static uint64_t svadev_unit_counter(SVADevState *s, hwaddr reg)
{
    PCISVACounters c = { };

    pci_sva_counters(PCI_DEVICE(s), &c, &(unsigned) { 0 });
    switch (reg) {
    case SVADEV_U_IOTLB_RANGE:
        return c.iotlb_range;
    case SVADEV_U_IOTLB_TAG:
        return c.iotlb_tag;
    case SVADEV_U_IOTLB_ALL:
        return c.iotlb_all;
    case SVADEV_U_ATC_RANGE:
        return c.atc_range;
    case SVADEV_U_ATC_ALL:
        return c.atc_all;
    case SVADEV_U_CONFIG:
        return c.config;
    case SVADEV_U_SYNC:
        return c.sync;
    case SVADEV_U_PAGE_REQ:
        return c.page_requests;
    case SVADEV_U_PAGE_RESP:
        return c.page_responses;
    case SVADEV_U_FAULT:
        return c.faults;
    case SVADEV_U_DROPPED:
        return c.dropped;
    case SVADEV_U_IOTLB_HIT:
        return c.iotlb_hits;
    case SVADEV_U_IOTLB_MISS:
        return c.iotlb_misses;
    case SVADEV_U_LATE:
        return c.late;
    case SVADEV_U_TIMEOUT:
        return c.timeouts;
    case SVADEV_U_REFUSED_ACCESS:
        return c.refused_accesses;
    case SVADEV_U_REFUSED_XLATE:
        return c.refused_translations;
    case SVADEV_U_REFUSED_PAGE:
        return c.refused_page_requests;
    case SVADEV_U_EVICTED:
        return c.evicted;
    case SVADEV_U_FAULT_REASON:
        return c.fault_reason;
    case SVADEV_U_NAMED:
        return c.timeouts_named;
    case SVADEV_U_ATC_OFF:
        return c.atc_off;
    case SVADEV_U_QUEUE_ERROR:
        return c.queue_errors;
    case SVADEV_U_LEFT:
        return c.entries_left;
    case SVADEV_U_STALL:
        return c.stalls;
    case SVADEV_U_RESUME:
        return c.resumes;
    case SVADEV_U_STALL_ENDED:
        return c.stalls_ended;
    case SVADEV_U_STALL_ERROR:
        return c.stall_errors;
    case SVADEV_U_STALL_MAX:
        return c.stall_max;
    default:
        return 0;
    }
}

static uint64_t svadev_read_counter(SVADevState *s, hwaddr reg)
{
    hwaddr n = (reg - SVADEV_COUNTERS) / sizeof(uint64_t);

    if (reg == SVADEV_C_ATC_USED) {
        return svadev_atc_used(&s->atc);
    }
    return n < SVADEV_N_COUNTERS ? s->counters[n] : svadev_unit_counter(s, reg);
}

/* --- control page, BAR 0 --- */

static uint64_t svadev_unit(SVADevState *s)
{
    PCISVACounters c;
    unsigned unit;

    return pci_sva_counters(PCI_DEVICE(s), &c, &unit) ? unit : UINT64_MAX;
}

static uint64_t svadev_caps(SVADevState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    return s->n_queues |
        (uint64_t)s->pasid_bits << ctz64(SVADEV_CAPS_PASID_BITS) |
        (dev->exp.ats_cap ? SVADEV_CAPS_ATS : 0) |
        (dev->exp.pri_cap ? SVADEV_CAPS_PRI : 0) |
        (uint64_t)s->atc_entries << ctz64(SVADEV_CAPS_ATC_SIZE);
}

static SVADevQueue *svadev_qctl(SVADevState *s, hwaddr reg, hwaddr *offset)
{
    hwaddr n = (reg - SVADEV_QCTL(0)) / SVADEV_QCTL_SIZE;

    *offset = (reg - SVADEV_QCTL(0)) % SVADEV_QCTL_SIZE;
    return reg >= SVADEV_QCTL(0) && n < s->n_queues ? &s->queues[n] : NULL;
}

static uint64_t svadev_read_qctl(SVADevState *s, hwaddr reg)
{
    SVADevQueue *q = svadev_qctl(s, reg, &reg);

    if (!q) {
        return 0;
    }
    switch (reg) {
    case SVADEV_QCTL_PASID:
        return q->pasid;
    case SVADEV_QCTL_ENABLE:
        return q->enabled;
    case SVADEV_QCTL_BUSY:
        return svadev_queue_busy(q);
    default:
        return 0;
    }
}

static uint64_t svadev_read_control(SVADevState *s, hwaddr reg)
{
    switch (reg) {
    case SVADEV_ID:
        return SVADEV_ID_MAGIC;
    case SVADEV_CAPS:
        return svadev_caps(s);
    case SVADEV_CTRL:
        return s->ctrl;
    case SVADEV_STEP:
        return s->step_bytes | (uint64_t)s->step_ns << ctz64(SVADEV_STEP_NS);
    case SVADEV_INJECT:
        return s->inject_kind | (uint64_t)pci_sva_drop_left(PCI_DEVICE(s)) <<
            ctz64(SVADEV_INJECT_NTH);
    case SVADEV_VERIFY_CHECKED:
        return s->verdict.checked;
    case SVADEV_VERIFY_STALE:
        return s->verdict.stale;
    case SVADEV_VERIFY_ADDR:
        return s->verdict.addr;
    case SVADEV_VERIFY_WHERE:
        return s->verdict.where;
    case SVADEV_UNIT:
        return svadev_unit(s);
    case SVADEV_LATE:
        return s->late;
    case SVADEV_MUTE:
        return s->mute;
    case SVADEV_CACHED_FIRST:
        return s->cached_first;
    case SVADEV_CACHED_LAST:
        return s->cached_last;
    case SVADEV_CACHED_ATC:
        return s->verdict.cached_atc;
    case SVADEV_CACHED_IOTLB:
        return s->verdict.cached[PCI_SVA_CACHE_IOTLB];
    case SVADEV_CACHED_UPPER:
        return s->verdict.cached[PCI_SVA_CACHE_UPPER];
    case SVADEV_CACHED_CONFIG:
        return s->verdict.cached[PCI_SVA_CACHE_CONFIG];
    case SVADEV_COUNTERS ... SVADEV_COUNTERS_END - 1:
        return svadev_read_counter(s, reg);
    default:
        return svadev_read_qctl(s, reg);
    }
}

static void svadev_write_ctrl(SVADevState *s, uint64_t val)
{
    const uint64_t rw = SVADEV_CTRL_NO_ATS | SVADEV_CTRL_NO_PRI |
                        SVADEV_CTRL_NO_CACHE;
    SVADevScope all = svadev_scope_all();

    if (val & SVADEV_CTRL_RESET) {
        svadev_reset_function(s);
        return;
    }
    s->ctrl = val & rw;
    if (s->ctrl & SVADEV_CTRL_NO_CACHE) {
        svadev_atc_drop(&s->atc, &all);
    }
}

static void svadev_write_inject(SVADevState *s, uint64_t val)
{
    uint8_t kind = val & SVADEV_INJECT_KIND;
    uint32_t nth = val >> ctz64(SVADEV_INJECT_NTH);

    if (kind >= PCI_SVA_INV_KINDS || kind == PCI_SVA_INV_SYNC) {
        return;
    }
    s->inject_kind = kind;
    pci_sva_drop(PCI_DEVICE(s), kind, kind == PCI_SVA_INV_NONE ? 0 : nth);
}

static void svadev_write_late(SVADevState *s, uint64_t val)
{
    uint8_t kind = val & SVADEV_LATE_KIND;
    uint32_t ns = val >> ctz64(SVADEV_LATE_NS);

    if (kind >= PCI_SVA_INV_KINDS) {
        return;
    }
    s->late = val & (SVADEV_LATE_KIND | SVADEV_LATE_NS);
    pci_sva_late(PCI_DEVICE(s), kind, kind == PCI_SVA_INV_NONE ? 0 : ns);
}

/*
 * The ATC keeps what it has of the PASID, also when this was the last queue
 * that used it: what the OS does not invalidate stays there to be found.
 */
static void svadev_enable_queue(SVADevQueue *q, bool on)
{
    if (on) {
        svadev_queue_enable(q);
    } else if (q->enabled) {
        svadev_queue_disable(q);
    }
}

static void svadev_write_qctl(SVADevState *s, hwaddr reg, uint64_t val)
{
    SVADevQueue *q = svadev_qctl(s, reg, &reg);

    if (!q) {
        return;
    }
    switch (reg) {
    case SVADEV_QCTL_PASID:
        if (!q->enabled && val <= SVADEV_PASID_NONE) {
            q->pasid = val;
        }
        break;
    case SVADEV_QCTL_ENABLE:
        svadev_enable_queue(q, val & 1);
        break;
    }
}

/* @low: the write reaches the low half, which is the one that triggers */
static void svadev_write_control(SVADevState *s, hwaddr reg, uint64_t val,
                                 bool low)
{
    switch (reg) {
    case SVADEV_CTRL:
        svadev_write_ctrl(s, val);
        break;
    case SVADEV_STEP:
        s->step_bytes = MIN(MAX(val & SVADEV_STEP_BYTES, 1), SVADEV_PAGE_SIZE);
        s->step_ns = val >> ctz64(SVADEV_STEP_NS);
        break;
    case SVADEV_INJECT:
        svadev_write_inject(s, val);
        break;
    case SVADEV_LATE:
        svadev_write_late(s, val);
        break;
    case SVADEV_MUTE:
        s->mute = MIN(val, SVADEV_MUTE_ALL);
        break;
    case SVADEV_CACHED_FIRST:
        s->cached_first = val;
        break;
    case SVADEV_CACHED_LAST:
        s->cached_last = val;
        break;
    case SVADEV_VERIFY:
        if (low) {
            svadev_verify(s, MIN(val, SVADEV_PASID_ALL), &s->verdict);
        }
        break;
    case SVADEV_CLEAR:
        if (low) {
            memset(s->counters, 0, sizeof(s->counters));
        }
        break;
    default:
        svadev_write_qctl(s, reg, val);
    }
}

/* --- queue pages, BAR 2 --- */

/* The BAR is a power of two and can have more pages than there are queues. */
static SVADevQueue *svadev_queue_of_page(SVADevState *s, hwaddr addr)
{
    hwaddr n = addr / SVADEV_QPAGE_SIZE;

    return n < s->n_queues ? &s->queues[n] : NULL;
}

static uint64_t *svadev_operand(SVADevQueue *q, hwaddr reg)
{
    switch (reg) {
    case SVADEV_Q_OP:
        return &q->regs.op;
    case SVADEV_Q_FLAGS:
        return &q->regs.flags;
    case SVADEV_Q_SRC:
        return &q->regs.src;
    case SVADEV_Q_DST:
        return &q->regs.dst;
    case SVADEV_Q_LEN:
        return &q->regs.len;
    case SVADEV_Q_ARG:
        return &q->regs.arg;
    default:
        return NULL;
    }
}

static uint64_t svadev_read_queue(SVADevState *s, hwaddr addr)
{
    hwaddr reg = addr % SVADEV_QPAGE_SIZE;
    SVADevQueue *q = svadev_queue_of_page(s, addr);
    uint64_t *operand;

    if (!q) {
        return 0;
    }
    operand = svadev_operand(q, reg);
    if (operand) {
        return *operand;
    }
    switch (reg) {
    case SVADEV_Q_STATE:
        return q->state;
    case SVADEV_Q_ERROR:
        return q->error;
    case SVADEV_Q_DONE:
        return q->done;
    case SVADEV_Q_FAULT:
        return q->fault;
    case SVADEV_Q_RESULT:
        return q->result;
    case SVADEV_Q_PASID:
        return q->pasid;
    case SVADEV_Q_SEQ:
        return q->seq;
    case SVADEV_Q_COUNTERS ...
         SVADEV_Q_COUNTERS + (SVADEV_COUNTERS_END - SVADEV_COUNTERS) - 1:
        return svadev_read_counter(s, reg - SVADEV_Q_COUNTERS +
                                   SVADEV_COUNTERS);
    default:
        return 0;
    }
}

static void svadev_write_queue(SVADevState *s, hwaddr addr, uint64_t val,
                               bool low)
{
    hwaddr reg = addr % SVADEV_QPAGE_SIZE;
    SVADevQueue *q = svadev_queue_of_page(s, addr);
    uint64_t *operand;

    if (!q) {
        return;
    }
    operand = svadev_operand(q, reg);
    if (operand) {
        /* a disabled queue keeps nothing for its next user */
        *operand = q->enabled ? val : 0;
        return;
    }
    if (!low) {
        return;
    }
    switch (reg) {
    case SVADEV_Q_DOORBELL:
        svadev_queue_doorbell(q);
        break;
    case SVADEV_Q_RELEASE:
        svadev_queue_release(q);
        break;
    case SVADEV_Q_ABORT:
        svadev_queue_abort(q);
        break;
    }
}

/* --- accesses of 4 and 8 bytes to registers of 8 --- */

typedef uint64_t ReadReg(SVADevState *s, hwaddr reg);
typedef void WriteReg(SVADevState *s, hwaddr reg, uint64_t val, bool low);

static bool mmio_ok(hwaddr addr, unsigned size)
{
    return (size == 4 || size == 8) && !(addr % size);
}

static uint64_t mmio_read(SVADevState *s, ReadReg *rd, hwaddr addr,
                          unsigned size)
{
    uint64_t val;

    if (!mmio_ok(addr, size)) {
        return 0;
    }
    val = rd(s, addr & ~7ULL);
    return size == 8 ? val : extract64(val, addr & 4 ? 32 : 0, 32);
}

static void mmio_write(SVADevState *s, ReadReg *rd, WriteReg *wr, hwaddr addr,
                       uint64_t val, unsigned size)
{
    if (!mmio_ok(addr, size)) {
        return;
    }
    if (size == 4) {
        /* reading has no side effects, and what is write-only reads as 0 */
        val = deposit64(rd(s, addr & ~7ULL), addr & 4 ? 32 : 0, 32, val);
    }
    wr(s, addr & ~7ULL, val, !(addr & 4));
}

static uint64_t svadev_control_read(void *opaque, hwaddr addr, unsigned size)
{
    return mmio_read(opaque, svadev_read_control, addr, size);
}

static void svadev_control_write(void *opaque, hwaddr addr, uint64_t val,
                                 unsigned size)
{
    mmio_write(opaque, svadev_read_control, svadev_write_control, addr, val,
               size);
}

static uint64_t svadev_pages_read(void *opaque, hwaddr addr, unsigned size)
{
    return mmio_read(opaque, svadev_read_queue, addr, size);
}

static void svadev_pages_write(void *opaque, hwaddr addr, uint64_t val,
                               unsigned size)
{
    mmio_write(opaque, svadev_read_queue, svadev_write_queue, addr, val, size);
}

/* Accesses that mmio_ok() refuses get as far as there: no bus error. */
#define SVADEV_ACCESS { \
        .min_access_size = 1, .max_access_size = 8, .unaligned = true, \
    }

static const MemoryRegionOps svadev_control_ops = {
    .read = svadev_control_read,
    .write = svadev_control_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = SVADEV_ACCESS,
    .impl = SVADEV_ACCESS,
};

static const MemoryRegionOps svadev_pages_ops = {
    .read = svadev_pages_read,
    .write = svadev_pages_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = SVADEV_ACCESS,
    .impl = SVADEV_ACCESS,
};

/* --- configuration space --- */

/* Reset, with Enable clear: outstanding requests are forgotten. */
static bool svadev_resets_pri(PCIDevice *dev, uint32_t addr, uint32_t val,
                              int len)
{
    uint32_t ctrl = dev->exp.pri_cap + PCI_PRI_CTRL;

    return dev->exp.pri_cap && range_covers_byte(addr, len, ctrl) &&
        (val >> (ctrl - addr) * 8) & PCI_PRI_CTRL_RESET &&
        !pcie_pri_enabled(dev);
}

static void svadev_config_write(PCIDevice *dev, uint32_t addr, uint32_t val,
                                int len)
{
    SVADevState *s = SVADEV(dev);

    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
    if (!pcie_ats_enabled(dev)) {
        svadev_drop_all(s);
    }
    if (svadev_resets_pri(dev, addr, val, len)) {
        svadev_forget_requests(s);
    }
    svadev_kick_requests(s);
    svadev_update_stopped(s);
}

static void svadev_add_caps(SVADevState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint16_t offset = PCI_CONFIG_SPACE_SIZE;

    if (s->ats) {
        pcie_ats_init(dev, offset, true);
        offset += 0x10;
    }
    if (s->pasid_bits) {
        pcie_pasid_init(dev, offset, s->pasid_bits);
        offset += 0x10;
    }
    if (s->ats && s->pri) {
        pcie_pri_init(dev, offset, s->n_queues);
    }
}

/* --- the device --- */

static bool svadev_check_properties(SVADevState *s, Error **errp)
{
    if (!pci_bus_is_express(pci_get_bus(PCI_DEVICE(s)))) {
        error_setg(errp, "svadev needs a PCI Express bus");
    } else if (s->n_queues < 1 || s->n_queues > SVADEV_MAX_QUEUES) {
        error_setg(errp, "queues must be between 1 and %d", SVADEV_MAX_QUEUES);
    } else if (s->pasid_bits > 20) {
        error_setg(errp, "pasid-bits must be between 0 and 20");
    } else if (s->atc_entries < 1 || s->atc_entries > SVADEV_MAX_ATC_ENTRIES) {
        error_setg(errp, "atc-entries must be between 1 and %d",
                   SVADEV_MAX_ATC_ENTRIES);
    } else {
        return true;
    }
    return false;
}

static void svadev_realize(PCIDevice *dev, Error **errp)
{
    SVADevState *s = SVADEV(dev);

    if (!svadev_check_properties(s, errp) ||
        msix_init_exclusive_bar(dev, s->n_queues, SVADEV_BAR_MSIX, errp)) {
        return;
    }
    for (unsigned i = 0; i < s->n_queues; i++) {
        msix_vector_use(dev, i);
        svadev_queue_init(s, i);
    }
    svadev_atc_init(&s->atc, s->atc_entries);

    /* cannot fail: the offset is fixed and free */
    pcie_endpoint_cap_init(dev, SVADEV_EXP_CAP);
    pcie_cap_flr_init(dev);
    svadev_add_caps(s);
    pci_sva_set_client(dev, &svadev_client_ops);

    memory_region_init_io(&s->control, OBJECT(s), &svadev_control_ops, s,
                          "svadev-control", SVADEV_CONTROL_SIZE);
    pci_register_bar(dev, SVADEV_BAR_CONTROL, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->control);
    memory_region_init_io(&s->queue_pages, OBJECT(s), &svadev_pages_ops, s,
                          "svadev-queues",
                          pow2ceil(s->n_queues) * SVADEV_QPAGE_SIZE);
    pci_register_bar(dev, SVADEV_BAR_QUEUES, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->queue_pages);
}

static void svadev_exit(PCIDevice *dev)
{
    SVADevState *s = SVADEV(dev);

    for (unsigned i = 0; i < s->n_queues; i++) {
        svadev_queue_exit(&s->queues[i]);
    }
    svadev_atc_destroy(&s->atc);
    pcie_cap_exit(dev);
    msix_uninit_exclusive_bar(dev);
}

static const Property svadev_properties[] = {
    DEFINE_PROP_BOOL("ats", SVADevState, ats, true),
    DEFINE_PROP_BOOL("pri", SVADevState, pri, true),
    DEFINE_PROP_UINT8("pasid-bits", SVADevState, pasid_bits, 20),
    DEFINE_PROP_UINT32("queues", SVADevState, n_queues, 8),
    DEFINE_PROP_UINT32("atc-entries", SVADevState, atc_entries, 1024),
    DEFINE_PROP_BOOL("strict-untagged", SVADevState, strict_untagged, false),
};

static const VMStateDescription svadev_vmstate = {
    .name = TYPE_SVADEV,
    .unmigratable = true,
};

static void svadev_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);

    k->realize = svadev_realize;
    k->exit = svadev_exit;
    k->config_write = svadev_config_write;
    k->vendor_id = SVADEV_VENDOR_ID;
    k->device_id = SVADEV_DEVICE_ID;
    k->revision = 1;
    k->class_id = SVADEV_CLASS;
    dc->desc = "PCIe test function for Shared Virtual Addressing";
    dc->vmsd = &svadev_vmstate;
    device_class_set_legacy_reset(dc, svadev_reset);
    device_class_set_props(dc, svadev_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo svadev_types[] = {
    {
        .name = TYPE_SVADEV,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(SVADevState),
        .class_init = svadev_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(svadev_types)
