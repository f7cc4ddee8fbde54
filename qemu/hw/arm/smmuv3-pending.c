/*
 * SMMUv3: commands that take time
 *
 * CMD_ATC_INV is over when its function has answered; the queue goes on, and
 * the next CMD_SYNC stops it until then. A function that does not answer makes
 * that CMD_SYNC fail (CERROR_ATC_INV_SYNC). Software clears the error, and the
 * CMD_SYNC is carried out again, for what is left (Arm IHI 0070, 3.9.1.4, 4.7).
 * What has been sent is told by the next CMD_SYNC, also if the queue has been
 * turned off and made anew between them: the specification does not say.
 *
 * Commands of one kind come late if a test wants it (PCISVAOps.late). Nothing
 * but CMD_SYNC orders commands: one that is late does not hold up the others,
 * which is how hardware can be, and how a missing CMD_SYNC shows.
 *
 * Re-entrancy: nothing that is done here writes to a guest's address except for
 * the MSI of a CMD_SYNC, which reaches RAM only. What gets here without an
 * access to a register (the timer, PCISVAOps.late) keeps accesses to the
 * registers out while it runs, as one to another of them does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/arm/smmuv3.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_sva.h"
#include "hw/registerfields.h"
#include "smmuv3-internal.h"
#include "trace.h"

/**
 * struct SMMUv3Pending - a command that has been consumed and is not over
 * @due: when to go on: carry it out, or, if it is sent, give it up
 * @sent: its function has it, and has not answered
 */
struct SMMUv3Pending {
    QTAILQ_ENTRY(SMMUv3Pending) next;
    int64_t due;
    bool sent;
    Cmd cmd;
};

/*
 * So many commands can be pending, then the queue stops. It bounds the memory
 * and the time that a guest can have for them.
 */
#define SMMUV3_PENDING_MAX      1024

static int64_t smmuv3_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void smmuv3_pend(SMMUv3State *s, const Cmd *cmd, int64_t due, bool sent)
{
    SMMUv3Pending *p = g_new0(SMMUv3Pending, 1);

    p->cmd = *cmd;
    p->due = due;
    p->sent = sent;
    QTAILQ_INSERT_TAIL(&s->pending, p, next);
    s->n_pending++;
    timer_mod_anticipate(s->pending_timer, due);
}

static void smmuv3_unpend(SMMUv3State *s, SMMUv3Pending *p)
{
    QTAILQ_REMOVE(&s->pending, p, next);
    s->n_pending--;
    g_free(p);
}

/* When a command comes up now is to be carried out; 0: at once */
static int64_t smmuv3_due(SMMUv3State *s, const Cmd *cmd)
{
    if (!s->late_ns ||
        !smmuv3_kind_matches(smmuv3_cmd_kind(cmd), s->late_kind)) {
        return 0;
    }
    s->counters.late++;
    return smmuv3_now() + s->late_ns;
}

/* --- CMD_ATC_INV --- */

/* NULL if it is none of this instance's */
PCIDevice *smmuv3_find_function(SMMUv3State *s, uint32_t sid)
{
    PCIBus *iommu_bus = NULL;
    PCIDevice *dev = sid >> 16 ? NULL :
        pci_find_device(s->smmu_state.primary_bus, PCI_BUS_NUM(sid),
                        SMMU_PCI_DEVFN(sid));

    if (dev) {
        pci_device_get_iommu_bus_devfn(dev, &iommu_bus, NULL, NULL);
    }
    return iommu_bus && iommu_bus->iommu_opaque == s ? dev : NULL;
}

/*
 * Returns whether it is over. A function whose ATS is off answers with
 * Unsupported Request, which is no error (3.9.1.5), or not at all, as a
 * property says. One that is none of hw/pci/pci_sva.h has no translations that
 * it keeps, and is taken to have answered.
 */
static bool smmuv3_atc_send(SMMUv3State *s, const Cmd *cmd)
{
    uint32_t sid = CMD_SID(cmd), pasid = PCI_NO_PASID;
    PCIDevice *dev = smmuv3_find_function(s, sid);
    hwaddr addr = CMD_ADDR(cmd);
    uint64_t size = PCI_ATS_ALL;
    bool answered;

    if (CMD_SSV(cmd)) {
        pasid = CMD_ATC_G(cmd) ? PCI_ALL_PASIDS : CMD_SSID(cmd);
    }
    if (CMD_ATC_SIZE(cmd) < CMD_ATC_SIZE_ALL) {
        size = 1ULL << (12 + CMD_ATC_SIZE(cmd));
        addr &= ~(size - 1);
    } else {
        addr = 0;
    }
    if (dev && !pcie_ats_enabled(dev)) {
        s->counters.atc_off++;
        answered = !s->ats_off_mute;
    } else {
        answered = (dev && !dev->sva_client) ||
                   pci_ats_invalidate(dev, pasid, addr, size);
    }
    trace_smmuv3_atc_inv(sid, pasid, addr, size, answered);
    return answered;
}

void smmuv3_atc_inv(SMMUv3State *s, const Cmd *cmd)
{
    if (smmu_enabled(s) && !smmuv3_atc_send(s, cmd)) {
        smmuv3_pend(s, cmd, smmuv3_now() +
                            (int64_t)s->inv_timeout_us * SCALE_US, true);
    }
}

/* --- the queue --- */

/* Whether a command that is about to be carried out comes later */
bool smmuv3_cmd_is_late(SMMUv3State *s, const Cmd *cmd)
{
    int64_t due = CMD_TYPE(cmd) == SMMU_CMD_SYNC ? 0 : smmuv3_due(s, cmd);

    if (due) {
        smmuv3_pend(s, cmd, due, false);
    }
    return due;
}

/* Whether the queue stands for now, with @cmd at its head */
bool smmuv3_queue_waits(SMMUv3State *s, const Cmd *cmd)
{
    if (CMD_TYPE(cmd) != SMMU_CMD_SYNC) {
        return s->n_pending >= SMMUV3_PENDING_MAX;
    }
    if (!s->sync_due) {
        s->sync_due = smmuv3_due(s, cmd) ?: -1;
        if (s->sync_due > 0) {
            timer_mod_anticipate(s->pending_timer, s->sync_due);
        }
    }
    return !s->atc_failed && (s->n_pending || s->sync_due > smmuv3_now());
}

/* The queue is another one; a CMD_SYNC that was at its head is gone. */
void smmuv3_sync_forget(SMMUv3State *s)
{
    s->sync_due = 0;
}

/* The CMD_SYNC at the head ends now. Returns whether all before it is done. */
bool smmuv3_sync_ends(SMMUv3State *s)
{
    bool failed = s->atc_failed;

    s->sync_due = 0;
    s->atc_failed = false;
    s->counters.timeouts += failed;
    return !failed;
}

/* --- going on --- */

static void smmuv3_pending_arm(SMMUv3State *s)
{
    int64_t first = s->sync_due > 0 ? s->sync_due : INT64_MAX;
    SMMUv3Pending *p;

    QTAILQ_FOREACH(p, &s->pending, next) {
        first = MIN(first, p->due);
    }
    if (first == INT64_MAX) {
        timer_del(s->pending_timer);
    } else {
        timer_mod(s->pending_timer, first);
    }
}

static void smmuv3_pending_run(SMMUv3State *s)
{
    int64_t now = smmuv3_now();
    SMMUv3Pending *p, *next;

    QTAILQ_FOREACH_SAFE(p, &s->pending, next, next) {
        if (p->due > now) {
            continue;
        }
        if (p->sent) {
            trace_smmuv3_atc_timeout(CMD_SID(&p->cmd));
            s->atc_failed = true;
        } else {
            smmuv3_cmd_execute(s, &p->cmd);
        }
        smmuv3_unpend(s, p);
    }
    if (s->sync_due > 0 && s->sync_due <= now) {
        s->sync_due = -1;
    }
    smmuv3_cmdq_consume(s);
    smmuv3_pending_arm(s);
}

/*
 * From inside a command that is being carried out, be it by an access to a
 * register or by this, the run is left to the timer.
 */
static void smmuv3_pending_run_guarded(SMMUv3State *s)
{
    MemReentrancyGuard *guard = &DEVICE(s)->mem_reentrancy_guard;

    if (guard->engaged_in_io) {
        timer_mod(s->pending_timer, smmuv3_now());
        return;
    }
    guard->engaged_in_io = true;
    smmuv3_pending_run(s);
    guard->engaged_in_io = false;
}

static void smmuv3_pending_timer(void *opaque)
{
    smmuv3_pending_run_guarded(opaque);
}

/* PCISVAOps.late. Releases what has been late until now. */
void smmuv3_late(SMMUv3State *s, PCISVAInvKind kind, uint32_t ns)
{
    SMMUv3Pending *p;

    s->late_kind = kind;
    s->late_ns = ns;
    QTAILQ_FOREACH(p, &s->pending, next) {
        if (!p->sent) {
            p->due = 0;
        }
    }
    if (s->sync_due > 0) {
        s->sync_due = -1;
    }
    smmuv3_pending_run_guarded(s);
}

void smmuv3_pending_reset(SMMUv3State *s)
{
    while (!QTAILQ_EMPTY(&s->pending)) {
        smmuv3_unpend(s, QTAILQ_FIRST(&s->pending));
    }
    timer_del(s->pending_timer);
    s->sync_due = 0;
    s->atc_failed = false;
    s->late_kind = PCI_SVA_INV_NONE;
    s->late_ns = 0;
}

void smmuv3_pending_init(SMMUv3State *s)
{
    QTAILQ_INIT(&s->pending);
    s->pending_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, smmuv3_pending_timer,
                                    s);
}
