/*
 * SMMUv3: the stall model
 *
 * A request that meets a fault of its translation, where CD.S is set, is not
 * answered. The event of the fault has a tag, and software says with CMD_RESUME,
 * by StreamID and tag, how the request ends: it is made again, or aborted. Until
 * then the tag is in use (Arm IHI 0070, 3.12.2, 4.7.1).
 *
 * The lowest free tag is the next one, so that one that was answered is in use
 * again at once: an answer too many mostly hits somebody else's stall, and that
 * one's own answer then hits nothing, which is counted.
 *
 * A stall that there is no tag for, or whose event there is no room for in the
 * queue, waits without an event. It is made again when there may be, as a
 * request that has just come in: its event is not lost, if the queue is in RAM.
 *
 * Only functions that take part in the stalls of hw/pci/pci_sva.h are stalled;
 * the requests of others are aborted, as 3.12 permits. PCIe as such forbids to
 * stall it (3.12.1): these stand for what is part of the chip.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmuv3.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_sva.h"
#include "hw/registerfields.h"
#include "smmuv3-internal.h"
#include "trace.h"

/**
 * struct SMMUv3Stall - a request that is stalled
 * @id: its number, which no other stall of the instance has had; 0: free
 * @sid: its StreamID
 */
struct SMMUv3Stall {
    uint64_t id;
    uint32_t sid;
};

static bool smmuv3_can_stall(SMMUEventType type)
{
    return type >= SMMU_EVT_F_TRANSLATION && type <= SMMU_EVT_F_PERMISSION;
}

static bool smmuv3_eventq_writable(SMMUv3State *s)
{
    return smmuv3_eventq_enabled(s) && !smmuv3_q_full(&s->eventq) &&
           !FIELD_EX32(s->gerror ^ s->gerrorn, GERROR, EVENTQ_ABT_ERR);
}

/* The lowest tag that is free; @max if there is none */
static unsigned smmuv3_free_tag(SMMUv3State *s)
{
    unsigned tag = 0;

    while (tag < s->stall_max && s->stalls[tag].id) {
        tag++;
    }
    return tag;
}

/*
 * The request of @sdev that is being translated has ended in @event. Returns
 * whether it is stalled; @event has been recorded then, or will be.
 */
bool smmuv3_stall(SMMUv3State *s, SMMUDevice *sdev, const SMMUTransCfg *cfg,
                  SMMUEventInfo *event)
{
    PCIDevice *dev = sdev->bus->devices[sdev->devfn];
    SMMUv3Stall stall = { .sid = event->sid };
    unsigned tag = smmuv3_free_tag(s);

    if (!cfg->stall || !smmuv3_can_stall(event->type) || !pci_may_stall(dev)) {
        return false;
    }
    stall.id = ++s->stall_id;
    if (tag < s->stall_max && smmuv3_eventq_writable(s)) {
        s->stalls[tag] = stall;
        s->counters.stalls++;
        event->u.f_walk_eabt.stall = true;
        event->u.f_walk_eabt.stag = tag;
        smmuv3_record_event(s, event);
    } else {
        g_array_append_val(s->stalls_waiting, stall);
    }
    trace_smmuv3_stall(stall.sid, tag, stall.id,
                       event->u.f_walk_eabt.stall);
    pci_stall(dev, stall.id);
    return true;
}

static void smmuv3_stall_over(SMMUv3State *s, const SMMUv3Stall *stall,
                              PCIStallEnd how)
{
    pci_stall_resume(smmuv3_find_function(s, stall->sid), stall->id, how);
}

static void smmuv3_end_stall(SMMUv3State *s, SMMUv3Stall *slot,
                             PCIStallEnd how)
{
    SMMUv3Stall stall = *slot;

    *slot = (SMMUv3Stall) { };
    smmuv3_stall_over(s, &stall, how);
}

/* Those without an event, of @sid or of all streams, end as @how says. */
static void smmuv3_end_waiting(SMMUv3State *s, int64_t sid, PCIStallEnd how)
{
    GArray *waiting = s->stalls_waiting;

    s->stalls_waiting = g_array_new(false, false, sizeof(SMMUv3Stall));
    for (guint i = 0; i < waiting->len; i++) {
        SMMUv3Stall *stall = &g_array_index(waiting, SMMUv3Stall, i);

        if (sid >= 0 && stall->sid != sid) {
            g_array_append_vals(s->stalls_waiting, stall, 1);
        } else {
            smmuv3_stall_over(s, stall, how);
        }
    }
    g_array_unref(waiting);
}

/* There may be a tag, or room in the queue of events, that there was not. */
void smmuv3_stalls_go_on(SMMUv3State *s)
{
    if (s->stalls_waiting->len && smmuv3_free_tag(s) < s->stall_max &&
        smmuv3_eventq_writable(s)) {
        smmuv3_end_waiting(s, -1, PCI_STALL_RETRY);
    }
}

/* CMD_RESUME. IDR0.TERM_MODEL is 1: what does not go on is aborted. */
void smmuv3_resume(SMMUv3State *s, const Cmd *cmd)
{
    uint32_t tag = CMD_RESUME_STAG(cmd), sid = CMD_SID(cmd);

    if (tag >= s->stall_max || !s->stalls[tag].id ||
        s->stalls[tag].sid != sid) {
        s->counters.stall_errors++;
        trace_smmuv3_resume_nothing(sid, tag);
        return;
    }
    s->counters.resumes++;
    trace_smmuv3_resume(sid, tag, CMD_RESUME_AC(cmd));
    smmuv3_end_stall(s, &s->stalls[tag], CMD_RESUME_AC(cmd) ?
                     PCI_STALL_RETRY : PCI_STALL_ABORT);
    smmuv3_stalls_go_on(s);
}

/* CMD_STALL_TERM of @sid; or of all, as there is no translation any more */
void smmuv3_stall_term(SMMUv3State *s, int64_t sid)
{
    for (unsigned tag = 0; tag < s->stall_max; tag++) {
        SMMUv3Stall *slot = &s->stalls[tag];

        if (slot->id && (sid < 0 || slot->sid == sid)) {
            s->counters.stalls_ended++;
            smmuv3_end_stall(s, slot, PCI_STALL_ABORT);
        }
    }
    smmuv3_end_waiting(s, sid, PCI_STALL_ABORT);
    smmuv3_stalls_go_on(s);
}

void smmuv3_stall_init(SMMUv3State *s)
{
    if (!s->stall) {
        s->stall_max = 0;
    }
    s->stalls = g_new0(SMMUv3Stall, s->stall_max);
    s->stalls_waiting = g_array_new(false, false, sizeof(SMMUv3Stall));
}
