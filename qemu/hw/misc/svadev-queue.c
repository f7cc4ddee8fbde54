/*
 * Queues of svadev: operations, DMA, Translation and Page Requests
 *
 * Everything that touches memory runs in the bottom half of a queue, under
 * the BQL and for one page at most. An IOMMU executes its invalidation
 * commands under the BQL as well. So when a command is complete, no access
 * with the translation that it took away is under way; a thread of our own
 * would lose that.
 *
 * DMA reaches RAM only. Nothing that a step calls can therefore come back
 * into this device, but for pci_pri_request(), which may answer at once, and
 * the interrupt, which a guest can send to the registers of the IOMMU: it
 * comes last.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "qemu/main-loop.h"
#include "svadev.h"
#include "trace.h"

/* prgi: queue in the low bits, above it what tells its requests apart */
#define PRGI_QUEUE_BITS     5
#define PRGI_MASK           0x1ff

QEMU_BUILD_BUG_ON(SVADEV_MAX_QUEUES > 1 << PRGI_QUEUE_BITS);

static const MemTxAttrs ram_only = { .memory = 1 };

/* Where an access goes. */
typedef struct Target {
    AddressSpace *as;
    hwaddr addr;
    hwaddr va;
    bool translated;
    SVADevPage page;            /* if @translated */
} Target;

typedef struct OpInfo {
    void (*step)(SVADevQueue *q);
    bool src;                   /* [SRC, SRC + LEN) is read or translated */
    bool dst;                   /* [DST, DST + LEN) is written */
    bool hold;
} OpInfo;

static const OpInfo *op_info(const SVADevQueue *q);

/* --- beginning, going on, ending --- */

static void queue_run(SVADevQueue *q, bool delay)
{
    q->state = SVADEV_STATE_RUN;
    if (delay && q->dev->step_ns) {
        timer_mod(q->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                            q->dev->step_ns);
    } else {
        qemu_bh_schedule(q->bh);
    }
}

static void queue_end(SVADevQueue *q, uint64_t error, uint64_t fault)
{
    SVADevState *s = q->dev;

    timer_del(q->timer);
    qemu_bh_cancel(q->bh);
    q->pr.wants_credit = false;
    q->stall.aborted = false;
    q->n_held = 0;
    q->state = error ? SVADEV_STATE_ERROR : SVADEV_STATE_DONE;
    q->error = error;
    q->fault = fault;
    q->seq++;
    if (error) {
        svadev_count(s, FAULT, 1);
    }
    trace_svadev_op_end(q->index, q->cur.op, error, q->done, fault, q->result);
    /* last: the registers say by now what the interrupt is about */
    if (q->cur.flags & SVADEV_FLAG_IRQ) {
        msix_notify(PCI_DEVICE(s), q->index);
    }
}

static void queue_fault(SVADevQueue *q, uint64_t error, hwaddr va, bool write)
{
    queue_end(q, error, (va & ~SVADEV_FAULT_WRITE) |
                        (write ? SVADEV_FAULT_WRITE : 0));
}

static void queue_progress(SVADevQueue *q, uint64_t bytes)
{
    q->done += bytes;
    q->retries = 0;
    if (q->done == q->cur.len) {
        queue_end(q, SVADEV_ERR_NONE, 0);
    } else {
        queue_run(q, true);
    }
}

/* --- Page Requests --- */

static bool pri_on(SVADevState *s)
{
    return pcie_pri_enabled(PCI_DEVICE(s)) && !(s->ctrl & SVADEV_CTRL_NO_PRI);
}

static uint32_t pri_allocation(SVADevState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    return pci_get_long(dev->config + dev->exp.pri_cap + PCI_PRI_ALLOC_REQ);
}

static void queue_request_page(SVADevQueue *q, hwaddr va, IOMMUAccessFlags perm)
{
    SVADevState *s = q->dev;
    bool write = perm & IOMMU_WO;
    PCIPageRequest req;

    if (!pri_on(s)) {
        queue_fault(q, SVADEV_ERR_NOT_MAPPED, va, write);
        return;
    }
    if (q->retries == SVADEV_MAX_RETRIES || !pri_allocation(s)) {
        queue_fault(q, SVADEV_ERR_PRI_FAILURE, va, write);
        return;
    }
    q->state = SVADEV_STATE_PAGE_REQ;
    q->pr.wants_credit = s->requests >= pri_allocation(s);
    if (q->pr.wants_credit) {
        return;
    }

    q->retries++;
    q->pr.outstanding = true;
    q->pr.write = write;
    q->pr.addr = va;
    q->pr.pasid = svadev_pasid_from_reg(q->pasid);
    q->pr.prgi = (q->pr.generation++ << PRGI_QUEUE_BITS | q->index) & PRGI_MASK;
    s->requests++;
    svadev_count(s, PAGE_REQ, 1);
    req = (PCIPageRequest) {
        .addr = va & SVADEV_PAGE_MASK,
        .pasid = q->pr.pasid,
        .prgi = q->pr.prgi,
        .perm = perm,
        .last = true,
    };
    trace_svadev_page_request(q->index, q->pasid, req.addr, req.prgi, perm);
    if (!pci_pri_request(PCI_DEVICE(s), &req) && q->pr.outstanding) {
        /* neither taken nor answered at once: never answered */
        svadev_queue_forget_request(q);
    }
}

void svadev_queue_forget_request(SVADevQueue *q)
{
    if (!q->pr.outstanding) {
        return;
    }
    q->pr.outstanding = false;
    q->dev->requests--;
    if (q->state == SVADEV_STATE_PAGE_REQ) {
        queue_fault(q, SVADEV_ERR_PRI_FAILURE, q->pr.addr, q->pr.write);
    }
}

static uint64_t to_page_end(hwaddr va)
{
    return SVADEV_PAGE_SIZE - (va & ~SVADEV_PAGE_MASK);
}

void svadev_queue_respond(SVADevQueue *q, PCIPRIResponse code)
{
    q->pr.outstanding = false;
    q->dev->requests--;
    if (q->state != SVADEV_STATE_PAGE_REQ) {
        return;             /* too late, its operation is over */
    }
    if (code != PCI_PRI_SUCCESS) {
        queue_fault(q, code == PCI_PRI_INVALID ? SVADEV_ERR_PRI_INVALID :
                    SVADEV_ERR_PRI_FAILURE, q->pr.addr, q->pr.write);
    } else if (q->cur.op == SVADEV_OP_PAGE_REQ) {
        q->result++;
        queue_progress(q, MIN(to_page_end(q->pr.addr), q->cur.len - q->done));
    } else {
        queue_run(q, false);
    }
}

/* From inside a command of the IOMMU: what comes of it is left to the queue. */
void svadev_queue_resume(SVADevQueue *q, PCIStallEnd how)
{
    q->stall.id = 0;
    if (q->state == SVADEV_STATE_PAGE_REQ) {
        q->stall.aborted = how == PCI_STALL_ABORT;
        queue_run(q, false);
    }
}

void svadev_kick_requests(SVADevState *s)
{
    for (unsigned i = 0; i < s->n_queues; i++) {
        SVADevQueue *q = &s->queues[i];

        if (q->pr.wants_credit) {
            q->pr.wants_credit = false;
            queue_run(q, false);
        }
    }
}

/* --- translation --- */

static bool ats_on(SVADevState *s)
{
    return pcie_ats_enabled(PCI_DEVICE(s)) && !(s->ctrl & SVADEV_CTRL_NO_ATS);
}

static bool may_request(SVADevQueue *q)
{
    PCIDevice *dev = PCI_DEVICE(q->dev);

    if (!(pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return false;
    }
    return q->pasid == SVADEV_PASID_NONE ||
        (pcie_pasid_enabled(dev) && !(q->pasid >> q->dev->pasid_bits));
}

static bool permits(const SVADevPage *page, IOMMUAccessFlags perm)
{
    return (page->perm & perm) == perm;
}

static bool held_find(const SVADevQueue *q, hwaddr va, IOMMUAccessFlags perm,
                      SVADevPage *page)
{
    for (unsigned i = 0; i < q->n_held; i++) {
        const SVADevHeld *h = &q->held[i];

        if (h->valid && h->page.va == (va & SVADEV_PAGE_MASK) &&
            permits(&h->page, perm)) {
            *page = h->page;
            return true;
        }
    }
    return false;
}

static bool atc_find(SVADevQueue *q, hwaddr va, IOMMUAccessFlags perm,
                     SVADevPage *page)
{
    const SVADevPage *found =
        svadev_atc_find(&q->dev->atc, svadev_pasid_from_reg(q->pasid), va);

    if (!found || !permits(found, perm)) {
        return false;
    }
    svadev_count(q->dev, ATC_HIT, 1);
    *page = *found;
    return true;
}

/*
 * Ask the IOMMU, and keep what it says even where it is not enough. Returns
 * false if @page is no translation for this access: the operation has then
 * ended, or waits for a page request.
 */
static bool ats_request(SVADevQueue *q, hwaddr va, IOMMUAccessFlags perm,
                        SVADevPage *page)
{
    SVADevState *s = q->dev;
    uint32_t pasid = svadev_pasid_from_reg(q->pasid);
    PCIATSReply reply = { };
    PCIATSStatus status;

    svadev_count(s, XLATE, 1);
    status = pci_ats_translate(PCI_DEVICE(s), pasid, va & SVADEV_PAGE_MASK,
                               perm, &reply);
    if (status == PCI_ATS_OK && reply.perm != IOMMU_NONE &&
        (reply.mask & ~SVADEV_PAGE_MASK) != ~SVADEV_PAGE_MASK) {
        status = PCI_ATS_CA;    /* a page smaller than the function's */
    }
    trace_svadev_translate(q->index, q->pasid, va, perm, status, reply.addr,
                           reply.mask, reply.perm);
    if (status != PCI_ATS_OK) {
        queue_fault(q, status == PCI_ATS_UR ? SVADEV_ERR_REFUSED :
                    SVADEV_ERR_DMA, va, perm & IOMMU_WO);
        return false;
    }
    *page = (SVADevPage) {
        .pasid = pasid,
        .perm = reply.perm,
        .va = va & SVADEV_PAGE_MASK,
        .pa = (reply.addr & ~reply.mask) |
              (va & SVADEV_PAGE_MASK & reply.mask),
    };
    if (page->perm != IOMMU_NONE && !(s->ctrl & SVADEV_CTRL_NO_CACHE)) {
        svadev_count(s, EVICTED, svadev_atc_insert(&s->atc, page));
        svadev_count(s, ATC_FILL, 1);
    }
    if (!permits(page, perm)) {
        queue_request_page(q, va, perm);
        return false;
    }
    return true;
}

/*
 * Where does an access to @va go, up to the end of its page? False as for
 * ats_request(). The caller uses @t at once, and not after it has let go of
 * the BQL.
 */
static bool queue_translate(SVADevQueue *q, hwaddr va, IOMMUAccessFlags perm,
                            Target *t)
{
    SVADevState *s = q->dev;
    PCIDevice *dev = PCI_DEVICE(s);

    if (!may_request(q)) {
        queue_fault(q, SVADEV_ERR_REFUSED, va, perm & IOMMU_WO);
        return false;
    }
    t->va = va;
    t->translated = ats_on(s);
    if (!t->translated) {
        t->as = q->pasid == SVADEV_PASID_NONE ? pci_get_address_space(dev) :
            pci_sva_address_space(dev, q->pasid);
        t->addr = va;
        if (!t->as) {
            queue_fault(q, SVADEV_ERR_REFUSED, va, perm & IOMMU_WO);
        }
        return t->as;
    }
    if (!held_find(q, va, perm, &t->page) &&
        !atc_find(q, va, perm, &t->page) &&
        !ats_request(q, va, perm, &t->page)) {
        return false;
    }
    t->as = &address_space_memory;
    t->addr = t->page.pa | (va & ~SVADEV_PAGE_MASK);
    return true;
}

/* --- access --- */

/*
 * The request leaves the function. What is translated already goes past the
 * caches of the IOMMU, and it is here that the IOMMU can still refuse it.
 */
static bool queue_send(SVADevQueue *q, const Target *t, IOMMUAccessFlags perm)
{
    if (!t->translated) {
        svadev_count(q->dev, UNTRANSLATED, 1);
    } else if (!pci_ats_access(PCI_DEVICE(q->dev), t->addr, perm)) {
        queue_fault(q, SVADEV_ERR_REFUSED, t->va, perm & IOMMU_WO);
        return false;
    }
    return true;
}

/*
 * What is left to the IOMMU to translate, it may stall: the queue then waits,
 * and makes the whole step again, of which nothing has been written.
 */
static void queue_may_stall(SVADevQueue *q, const Target *t)
{
    if (!t->translated && !(q->dev->ctrl & SVADEV_CTRL_NO_PRI)) {
        pci_stall_begin(PCI_DEVICE(q->dev));
    }
}

/* The end of an access that has come to nothing: it was stalled, or it failed. */
static void queue_failed(SVADevQueue *q, const Target *t, uint64_t stall,
                         bool write)
{
    if (!stall) {
        queue_fault(q, SVADEV_ERR_DMA, t->va, write);
        return;
    }
    q->state = SVADEV_STATE_PAGE_REQ;
    q->stall = (SVADevStall) { .id = stall, .write = write, .va = t->va };
    svadev_count(q->dev, STALL, 1);
    trace_svadev_stalled(q->index, q->pasid, t->va, write, stall);
}

static bool queue_rw(SVADevQueue *q, const Target *t, void *buf, size_t len,
                     bool write)
{
    MemTxResult r;
    uint64_t stall;

    if (!queue_send(q, t, write ? IOMMU_WO : IOMMU_RO)) {
        return false;
    }
    queue_may_stall(q, t);
    r = address_space_rw(t->as, t->addr, ram_only, buf, len, write);
    stall = pci_stall_end(PCI_DEVICE(q->dev));
    if (r != MEMTX_OK) {
        queue_failed(q, t, stall, write);
        return false;
    }
    svadev_count(q->dev, BYTES, len);
    return true;
}

/* *t += @addend, atomic also against the vCPUs; false if it is no RAM. */
static bool fetch_add64(const Target *t, uint64_t addend, uint64_t *old)
{
    hwaddr len = sizeof(*old), offset;
    uint64_t *p, was, now;
    MemoryRegion *mr;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(t->as, t->addr, &offset, &len, true, ram_only);
    if (len < sizeof(*old) || !memory_access_is_direct(mr, true, ram_only)) {
        return false;   /* address_space_map() would hand out a bounce buffer */
    }
    p = address_space_map(t->as, t->addr, &len, true, ram_only);
    if (!p) {
        return false;
    }
    now = qatomic_read__nocheck(p);
    do {
        was = now;
        now = qatomic_cmpxchg__nocheck(p, was,
                                       cpu_to_le64(le64_to_cpu(was) + addend));
    } while (now != was);
    *old = le64_to_cpu(was);
    address_space_unmap(t->as, p, len, true, len);
    return true;
}

/* Bytes of the next step, of [@base, @base + LEN). */
static uint64_t chunk(const SVADevQueue *q, hwaddr base)
{
    uint64_t n = MIN(to_page_end(base + q->done), q->cur.len - q->done);

    return MIN(n, q->dev->step_bytes);
}

static void step_copy(SVADevQueue *q)
{
    uint64_t n = MIN(chunk(q, q->cur.src), chunk(q, q->cur.dst));
    uint64_t ahead = q->cur.dst - q->cur.src;
    uint8_t buf[SVADEV_PAGE_SIZE];
    Target from, to;

    if (!queue_translate(q, q->cur.src + q->done, IOMMU_RO, &from) ||
        !queue_translate(q, q->cur.dst + q->done, IOMMU_WO, &to)) {
        return;
    }
    if (!queue_rw(q, &from, buf, n, false)) {
        return;
    }
    /*
     * As byte after byte would: where DST is less than a step ahead of SRC,
     * bytes are read back that the same step has written.
     */
    for (uint64_t i = ahead; ahead && i < n; i++) {
        buf[i] = buf[i - ahead];
    }
    if (queue_rw(q, &to, buf, n, true)) {
        queue_progress(q, n);
    }
}

static void step_fill(SVADevQueue *q)
{
    uint64_t n = chunk(q, q->cur.dst);
    uint8_t buf[SVADEV_PAGE_SIZE];
    Target to;

    if (!queue_translate(q, q->cur.dst + q->done, IOMMU_WO, &to)) {
        return;
    }
    memset(buf, q->cur.arg, n);
    if (queue_rw(q, &to, buf, n, true)) {
        queue_progress(q, n);
    }
}

static void step_sum(SVADevQueue *q)
{
    uint64_t n = chunk(q, q->cur.src);
    uint8_t buf[SVADEV_PAGE_SIZE];
    Target from;

    if (!queue_translate(q, q->cur.src + q->done, IOMMU_RO, &from) ||
        !queue_rw(q, &from, buf, n, false)) {
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        q->result += buf[i];
    }
    queue_progress(q, n);
}

static void step_add64(SVADevQueue *q)
{
    uint64_t stall;
    Target to;
    bool done;

    if (!queue_translate(q, q->cur.dst, IOMMU_RW, &to)) {
        return;
    }
    if (!queue_send(q, &to, IOMMU_RW)) {
        return;
    }
    queue_may_stall(q, &to);
    done = fetch_add64(&to, q->cur.arg, &q->result);
    stall = pci_stall_end(PCI_DEVICE(q->dev));
    if (!done) {
        queue_failed(q, &to, stall, true);
        return;
    }
    svadev_count(q->dev, BYTES, sizeof(uint64_t));
    queue_progress(q, sizeof(uint64_t));
}

static IOMMUAccessFlags wanted_perm(const SVADevQueue *q)
{
    return q->cur.flags & SVADEV_FLAG_WRITE ? IOMMU_WO : IOMMU_RO;
}

static void step_touch(SVADevQueue *q)
{
    hwaddr va = q->cur.src + q->done;
    Target t;

    if (!ats_on(q->dev)) {
        queue_fault(q, SVADEV_ERR_NOT_MAPPED, va,
                    q->cur.flags & SVADEV_FLAG_WRITE);
        return;
    }
    if (queue_translate(q, va, wanted_perm(q), &t)) {
        q->result++;
        queue_progress(q, MIN(to_page_end(va), q->cur.len - q->done));
    }
}

static void step_page_req(SVADevQueue *q)
{
    hwaddr va = q->cur.src + q->done;

    if (!may_request(q)) {
        queue_fault(q, SVADEV_ERR_REFUSED, va,
                    q->cur.flags & SVADEV_FLAG_WRITE);
        return;
    }
    queue_request_page(q, va, wanted_perm(q));
}

static void step_nop(SVADevQueue *q)
{
    queue_end(q, SVADEV_ERR_NONE, 0);
}

static void step_atc_flush(SVADevQueue *q)
{
    SVADevScope scope = svadev_scope_pasid(svadev_pasid_from_reg(q->pasid));

    q->result = svadev_atc_drop(&q->dev->atc, &scope);
    queue_end(q, SVADEV_ERR_NONE, 0);
}

static void step_verify(SVADevQueue *q)
{
    SVADevVerdict v;

    svadev_verify(q->dev, q->pasid, &v);
    q->result = v.stale;
    queue_end(q, SVADEV_ERR_NONE, v.addr);
}

static const OpInfo ops[] = {
    [SVADEV_OP_NOP] = { step_nop },
    [SVADEV_OP_COPY] = { step_copy, .src = true, .dst = true, .hold = true },
    [SVADEV_OP_FILL] = { step_fill, .dst = true, .hold = true },
    [SVADEV_OP_SUM] = { step_sum, .src = true, .hold = true },
    [SVADEV_OP_ADD64] = { step_add64, .dst = true, .hold = true },
    [SVADEV_OP_TOUCH] = { step_touch, .src = true },
    [SVADEV_OP_PAGE_REQ] = { step_page_req, .src = true },
    [SVADEV_OP_ATC_FLUSH] = { step_atc_flush },
    [SVADEV_OP_VERIFY] = { step_verify },
};

static const OpInfo *op_info(const SVADevQueue *q)
{
    return q->cur.op < ARRAY_SIZE(ops) ? &ops[q->cur.op] : NULL;
}

/* --- HOLD --- */

static uint64_t pages_in(hwaddr base, uint64_t len)
{
    return ((base & ~SVADEV_PAGE_MASK) + len + SVADEV_PAGE_SIZE - 1) /
        SVADEV_PAGE_SIZE;
}

static uint64_t held_src_pages(const SVADevQueue *q)
{
    return op_info(q)->src ? pages_in(q->cur.src, q->cur.len) : 0;
}

static uint64_t held_pages(const SVADevQueue *q)
{
    return held_src_pages(q) +
        (op_info(q)->dst ? pages_in(q->cur.dst, q->cur.len) : 0);
}

/* First byte of the @n-th page of [@base, @base + LEN) */
static hwaddr nth_page(hwaddr base, uint64_t n)
{
    return n ? (base & SVADEV_PAGE_MASK) + n * SVADEV_PAGE_SIZE : base;
}

static void step_hold(SVADevQueue *q)
{
    uint64_t n_src = held_src_pages(q);
    IOMMUAccessFlags perm = IOMMU_RO;
    Target t;
    hwaddr va;

    if (q->n_held == held_pages(q) || !ats_on(q->dev)) {
        q->phase = SVADEV_PHASE_ACCESS;
        q->state = SVADEV_STATE_HELD;
        return;
    }
    if (q->n_held < n_src) {
        va = nth_page(q->cur.src, q->n_held);
    } else {
        va = nth_page(q->cur.dst, q->n_held - n_src);
        perm = q->cur.op == SVADEV_OP_ADD64 ? IOMMU_RW : IOMMU_WO;
    }
    if (queue_translate(q, va, perm, &t)) {
        q->held[q->n_held++] = (SVADevHeld) { .page = t.page, .valid = true };
        q->retries = 0;
        queue_run(q, true);
    }
}

void svadev_queue_drop_held(SVADevQueue *q, const SVADevScope *scope)
{
    for (unsigned i = 0; i < q->n_held; i++) {
        SVADevHeld *h = &q->held[i];

        if (svadev_scope_covers(scope, h->page.pasid, h->page.va)) {
            h->valid = false;
        }
    }
}

/* --- the bottom half --- */

static bool wraps(hwaddr base, uint64_t len)
{
    return base + (len - 1) < base;
}

static uint64_t operands_error(SVADevQueue *q)
{
    const uint64_t flags =
        SVADEV_FLAG_WRITE | SVADEV_FLAG_IRQ | SVADEV_FLAG_HOLD;
    const OpInfo *info = op_info(q);

    if (!info || q->cur.flags & ~flags ||
        (q->cur.flags & SVADEV_FLAG_HOLD && !info->hold)) {
        return SVADEV_ERR_OP;
    }
    if (q->cur.op == SVADEV_OP_ADD64) {
        q->cur.len = sizeof(uint64_t);
        if (q->cur.dst % sizeof(uint64_t)) {
            return SVADEV_ERR_LEN;
        }
    }
    if (!info->src && !info->dst) {
        return SVADEV_ERR_NONE;
    }
    if (!q->cur.len || q->cur.len > SVADEV_MAX_LEN ||
        (info->src && wraps(q->cur.src, q->cur.len)) ||
        (info->dst && wraps(q->cur.dst, q->cur.len))) {
        return SVADEV_ERR_LEN;
    }
    if (q->cur.flags & SVADEV_FLAG_HOLD &&
        held_pages(q) > MIN(SVADEV_MAX_HELD, q->dev->atc_entries)) {
        return SVADEV_ERR_LEN;
    }
    return SVADEV_ERR_NONE;
}

static void queue_step(void *opaque)
{
    SVADevQueue *q = opaque;

    if (q->state != SVADEV_STATE_RUN) {
        return;
    }
    if (q->stall.aborted) {
        queue_fault(q, SVADEV_ERR_DMA, q->stall.va, q->stall.write);
        return;
    }
    if (q->phase == SVADEV_PHASE_CHECK) {
        uint64_t error = operands_error(q);

        if (error) {
            queue_end(q, error, 0);
            return;
        }
        q->phase = q->cur.flags & SVADEV_FLAG_HOLD ? SVADEV_PHASE_HOLD :
                                                     SVADEV_PHASE_ACCESS;
    }
    if (q->phase == SVADEV_PHASE_HOLD) {
        step_hold(q);
    } else {
        op_info(q)->step(q);
    }
}

static void queue_timer(void *opaque)
{
    SVADevQueue *q = opaque;

    qemu_bh_schedule(q->bh);
}

/* --- what the registers do --- */

void svadev_queue_doorbell(SVADevQueue *q)
{
    if (!q->enabled || svadev_queue_busy(q)) {
        svadev_count(q->dev, REJECT, 1);
        return;
    }
    svadev_count(q->dev, SUBMIT, 1);
    q->cur = q->regs;
    q->phase = SVADEV_PHASE_CHECK;
    q->retries = 0;
    q->error = 0;
    q->done = 0;
    q->fault = 0;
    q->result = 0;
    trace_svadev_op_start(q->index, q->pasid, q->cur.op, q->cur.flags,
                          q->cur.src, q->cur.dst, q->cur.len, q->cur.arg);
    queue_run(q, false);
}

void svadev_queue_release(SVADevQueue *q)
{
    if (q->state == SVADEV_STATE_HELD) {
        queue_run(q, false);
    }
}

void svadev_queue_abort(SVADevQueue *q)
{
    if (svadev_queue_active(q)) {
        queue_end(q, SVADEV_ERR_ABORTED, 0);
    }
}

void svadev_queue_enable(SVADevQueue *q)
{
    if (q->enabled) {
        return;
    }
    /* what the last user has left; until now it could still be read */
    q->error = 0;
    q->done = 0;
    q->fault = 0;
    q->result = 0;
    q->seq = 0;
    q->enabled = true;
    q->state = SVADEV_STATE_IDLE;
}

void svadev_queue_disable(SVADevQueue *q)
{
    if (!q->enabled) {
        return;
    }
    q->cur.flags = 0;           /* nobody waits for its interrupt */
    svadev_queue_abort(q);
    q->enabled = false;
    q->state = SVADEV_STATE_DISABLED;
    q->regs = (SVADevOperands) { };
}

void svadev_queue_init(SVADevState *s, unsigned index)
{
    SVADevQueue *q = &s->queues[index];

    q->dev = s;
    q->index = index;
    q->pasid = SVADEV_PASID_NONE;
    q->bh = qemu_bh_new_guarded(queue_step, q,
                                &DEVICE(s)->mem_reentrancy_guard);
    q->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, queue_timer, q);
}

void svadev_queue_exit(SVADevQueue *q)
{
    timer_free(q->timer);
    qemu_bh_delete(q->bh);
}
