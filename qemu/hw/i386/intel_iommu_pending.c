/*
 * Intel VT-d: invalidation commands that take time
 *
 * What the unit does itself is over when it has been fetched. An Invalidation
 * Request is over when its function has answered, and a wait descriptor when
 * all requests ahead of it are. Until then they are pending here, and the
 * queue goes on, unless a wait is a fence.
 *
 * A request that is never answered times out: its wait descriptors are aborted
 * and nothing is fetched until software has cleared FSTS_REG.ITE.
 *
 * Commands of one kind come late if a test wants it (PCISVAOps.late): requests
 * reach their function late and waits complete late. Others are carried out in
 * order, so that a late one stops the queue.
 *
 * Re-entrancy: a command can end in a write to an address that the guest
 * chooses, such as the MSI of a function that gets a page response. Registers
 * are out of reach from there, because accesses to the unit do not nest, and
 * what gets here without one (the timer, PCISVAOps.late) keeps to the same
 * rule. So the list does not change behind the back of one that walks it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_sva.h"
#include "intel_iommu_internal.h"
#include "trace.h"

/**
 * struct VTDPendingInv - a command that has been fetched and is not over
 * @is_wait: a wait descriptor, @wait; else a request, the fields below
 * @sent: the function has it, and has not answered
 * @due: when to go on: complete the wait, send the request, or, if it is sent,
 *       give it up
 */
struct VTDPendingInv {
    QTAILQ_ENTRY(VTDPendingInv) next;
    int64_t due;
    bool is_wait;
    VTDInvDesc wait;
    bool sent;
    uint16_t sid;
    uint32_t pasid;
    hwaddr addr;
    bool s_bit;
};

/*
 * So many commands can be pending, then the queue stops. It bounds the memory
 * and the time that a guest can have for them; no queue of one page is longer.
 */
#define VTD_INV_PENDING_MAX     256

static int64_t vtd_inv_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static bool vtd_inv_is_fence(const VTDPendingInv *p)
{
    return p->is_wait && (p->wait.lo & VTD_INV_DESC_WAIT_FN);
}

static void vtd_inv_remove(IntelIOMMUState *s, VTDPendingInv *p)
{
    QTAILQ_REMOVE(&s->inv_pending, p, next);
    s->inv_pending_waits -= p->is_wait;
    s->inv_pending_requests -= !p->is_wait;
    s->inv_pending_fences -= vtd_inv_is_fence(p);
    g_free(p);
}

/*
 * After a run at @now: what was due by then and is still here waits for an
 * event, and not for the time.
 */
static void vtd_inv_arm(IntelIOMMUState *s, int64_t now)
{
    int64_t first = INT64_MAX;
    VTDPendingInv *p;

    QTAILQ_FOREACH(p, &s->inv_pending, next) {
        if (p->due > now) {
            first = MIN(first, p->due);
        }
    }
    if (s->inv_held_until > now) {
        first = MIN(first, s->inv_held_until);
    }
    if (first == INT64_MAX) {
        timer_del(s->inv_timer);
    } else {
        timer_mod(s->inv_timer, first);
    }
}

/* When a command of @kind is to be carried out that comes up now */
static int64_t vtd_inv_due(IntelIOMMUState *s, PCISVAInvKind kind)
{
    if (!s->late_ns || s->late_kind != kind) {
        return 0;
    }
    s->counters.late++;
    return vtd_inv_now() + s->late_ns;
}

static VTDPendingInv *vtd_inv_add(IntelIOMMUState *s,
                                  const VTDPendingInv *command)
{
    VTDPendingInv *p = g_memdup2(command, sizeof(*command));

    QTAILQ_INSERT_TAIL(&s->inv_pending, p, next);
    s->inv_pending_waits += p->is_wait;
    s->inv_pending_requests += !p->is_wait;
    s->inv_pending_fences += vtd_inv_is_fence(p);
    if (p->due) {
        timer_mod_anticipate(s->inv_timer, p->due);
    }
    return p;
}

/*
 * Returns whether the function has answered. One that is no part of pci_sva.h
 * gets its invalidations by an IOMMU notifier and needs no time for them.
 */
static bool vtd_inv_send(IntelIOMMUState *s, VTDPendingInv *p)
{
    PCIDevice *dev = vtd_find_function(s, p->sid);
    hwaddr addr = p->addr;
    uint64_t size = vtd_atc_range(&addr, p->s_bit);
    bool answered = (dev && !dev->sva_client) ||
                    pci_ats_invalidate(dev, p->pasid, addr, size);

    trace_vtd_ats_invalidate(p->sid, p->pasid, addr, size, answered);
    if (!answered) {
        p->sent = true;
        p->due = vtd_inv_now() + (int64_t)s->inv_timeout_us * SCALE_US;
        timer_mod_anticipate(s->inv_timer, p->due);
    }
    return answered;
}

/* Send an Invalidation Request; @pasid as PCISVAClientOps has it. */
void vtd_inv_request(IntelIOMMUState *s, uint16_t sid, uint32_t pasid,
                     hwaddr addr, bool s_bit)
{
    VTDPendingInv *p = vtd_inv_add(s, &(VTDPendingInv) {
        .due = vtd_inv_due(s, PCI_SVA_INV_ATC),
        .sid = sid,
        .pasid = pasid,
        .addr = addr,
        .s_bit = s_bit,
    });

    if (!p->due && vtd_inv_send(s, p)) {
        vtd_inv_remove(s, p);
    }
}

/* Whether @desc, a valid wait descriptor, is not over yet */
bool vtd_inv_wait_pends(IntelIOMMUState *s, const VTDInvDesc *desc)
{
    int64_t due = vtd_inv_due(s, PCI_SVA_INV_SYNC);

    if (!due && !s->inv_pending_requests) {
        return false;
    }
    vtd_inv_add(s, &(VTDPendingInv) {
        .due = due,
        .is_wait = true,
        .wait = *desc,
    });
    return true;
}

/*
 * Whether @desc is to stay at the head of the queue. It does so once, and is
 * fetched again when its time has come.
 */
bool vtd_inv_hold(IntelIOMMUState *s, const VTDInvDesc *desc)
{
    PCISVAInvKind kind = vtd_inv_kind(desc);

    if (s->inv_held_until) {
        s->inv_held_until = 0;
        return false;
    }
    if (kind != PCI_SVA_INV_IOTLB && kind != PCI_SVA_INV_CONFIG) {
        return false;
    }
    s->inv_held_until = vtd_inv_due(s, kind);
    if (s->inv_held_until) {
        timer_mod_anticipate(s->inv_timer, s->inv_held_until);
    }
    return s->inv_held_until;
}

/* Whether no descriptor may be fetched for now */
bool vtd_inv_stopped(IntelIOMMUState *s)
{
    return vtd_get_long_raw(s, DMAR_FSTS_REG) & VTD_FSTS_ITE ||
           s->inv_held_until > vtd_inv_now() || s->inv_pending_fences ||
           s->inv_pending_requests + s->inv_pending_waits >=
           VTD_INV_PENDING_MAX;
}

/*
 * One function at a time: IQER_REG has room for one. Others whose time is up
 * are reported when software has cleared ITE.
 */
static void vtd_inv_time_out(IntelIOMMUState *s, uint16_t sid, int64_t now)
{
    VTDPendingInv *p, *next;

    QTAILQ_FOREACH_SAFE(p, &s->inv_pending, next, next) {
        if (p->is_wait || (p->sent && p->sid == sid && p->due <= now)) {
            vtd_inv_remove(s, p);
        }
    }
    trace_vtd_inv_timeout(sid);
    s->counters.timeouts++;
    vtd_report_inv_timeout(s, sid);
}

/* One request. Returns whether it is over. */
static bool vtd_inv_run_request(IntelIOMMUState *s, VTDPendingInv *p,
                                int64_t now)
{
    if (p->sent || p->due > now || !vtd_inv_send(s, p)) {
        return false;
    }
    vtd_inv_remove(s, p);
    return true;
}

static void vtd_inv_run_wait(IntelIOMMUState *s, VTDPendingInv *p)
{
    VTDInvDesc wait = p->wait;

    vtd_inv_remove(s, p);
    if (!vtd_complete_wait_desc(s, &wait)) {
        vtd_handle_inv_queue_error(s);
    }
}

/*
 * Go on with all that can go on. One look at the clock: what becomes due
 * meanwhile is the timer's.
 */
void vtd_inv_run(IntelIOMMUState *s)
{
    VTDPendingInv *p, *next, *late = NULL;
    int64_t now = vtd_inv_now();
    bool ahead = false;         /* a request that is not over */

    QTAILQ_FOREACH_SAFE(p, &s->inv_pending, next, next) {
        if (!p->is_wait) {
            if (!vtd_inv_run_request(s, p, now)) {
                ahead = true;
                late = late || !p->sent || p->due > now ? late : p;
            }
        } else if (!ahead && p->due <= now) {
            vtd_inv_run_wait(s, p);
        }
    }
    if (late && !(vtd_get_long_raw(s, DMAR_FSTS_REG) & VTD_FSTS_ITE)) {
        vtd_inv_time_out(s, late->sid, now);
    }
    vtd_inv_arm(s, now);
    vtd_inv_resume(s);
}

/*
 * Run, and refuse accesses to the registers meanwhile. From inside a command
 * that is being carried out, be it by an access to a register or by this, the
 * run is left to the timer.
 */
static void vtd_inv_run_guarded(IntelIOMMUState *s)
{
    MemReentrancyGuard *guard = &DEVICE(s)->mem_reentrancy_guard;

    if (guard->engaged_in_io) {
        timer_mod(s->inv_timer, vtd_inv_now());
        return;
    }
    guard->engaged_in_io = true;
    vtd_inv_run(s);
    guard->engaged_in_io = false;
}

static void vtd_inv_timer(void *opaque)
{
    vtd_inv_run_guarded(opaque);
}

/* PCISVAOps.late. Releases what has been late until now. */
void vtd_inv_late(IntelIOMMUState *s, PCISVAInvKind kind, uint32_t ns)
{
    VTDPendingInv *p;

    s->late_kind = kind;
    s->late_ns = ns;
    QTAILQ_FOREACH(p, &s->inv_pending, next) {
        if (!p->sent) {
            p->due = 0;
        }
    }
    /* In the past: what stands at the head has had its time. */
    s->inv_held_until = s->inv_held_until ? -1 : 0;
    vtd_inv_run_guarded(s);
}

/* The queue is off. */
void vtd_inv_forget(IntelIOMMUState *s)
{
    while (!QTAILQ_EMPTY(&s->inv_pending)) {
        vtd_inv_remove(s, QTAILQ_FIRST(&s->inv_pending));
    }
    s->inv_held_until = 0;
    timer_del(s->inv_timer);
}

void vtd_inv_reset(IntelIOMMUState *s)
{
    vtd_inv_forget(s);
    s->late_kind = PCI_SVA_INV_NONE;
    s->late_ns = 0;
}

void vtd_inv_init(IntelIOMMUState *s)
{
    QTAILQ_INIT(&s->inv_pending);
    s->inv_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, vtd_inv_timer, s);
}
