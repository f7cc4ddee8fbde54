/*
 * svadev, a PCIe test function for Shared Virtual Addressing: state
 *
 * svadev.c        the PCI function: registers, configuration, what the IOMMU
 *                 says to it
 * svadev-queue.c  the queues: operations, DMA, Translation and Page Requests
 * svadev-atc.c    the Address Translation Cache
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_SVADEV_H
#define HW_MISC_SVADEV_H

#include "hw/misc/svadev_regs.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_sva.h"
#include "qemu/timer.h"
#include "svadev-atc.h"

#define TYPE_SVADEV "svadev"
OBJECT_DECLARE_SIMPLE_TYPE(SVADevState, SVADEV)

#define SVADEV_MAX_QUEUES       32
#define SVADEV_MAX_ATC_ENTRIES  65536
#define SVADEV_MAX_HELD         256
/* Page requests for one step of an operation, before it gives up. */
#define SVADEV_MAX_RETRIES      16

/* The place of ATC_USED, which is none, stays empty. */
#define SVADEV_N_COUNTERS \
    ((SVADEV_C_END - SVADEV_COUNTERS) / sizeof(uint64_t))
#define SVADEV_COUNTER(name) \
    ((SVADEV_C_##name - SVADEV_COUNTERS) / sizeof(uint64_t))
#define svadev_count(s, name, n) ((s)->counters[SVADEV_COUNTER(name)] += (n))

/* The operands, as the guest writes them and as a doorbell takes them. */
typedef struct SVADevOperands {
    uint64_t op;
    uint64_t flags;
    uint64_t src;
    uint64_t dst;
    uint64_t len;
    uint64_t arg;
} SVADevOperands;

typedef enum SVADevPhase {
    SVADEV_PHASE_CHECK,         /* operands not looked at yet */
    SVADEV_PHASE_HOLD,          /* HOLD: translates all of its pages */
    SVADEV_PHASE_ACCESS,
} SVADevPhase;

/* A page that a held operation has translated. */
typedef struct SVADevHeld {
    SVADevPage page;
    bool valid;                 /* no invalidation has covered it since */
} SVADevHeld;

/*
 * A Page Request belongs to the wire, not to the operation that sent it: the
 * operation may be aborted, its queue stopped, and the response still comes.
 */
typedef struct SVADevPageRequest {
    bool outstanding;
    bool wants_credit;          /* not sent: PRI's allocation is used up */
    bool write;
    uint16_t prgi;
    uint8_t generation;         /* of the next request */
    uint32_t pasid;
    hwaddr addr;
} SVADevPageRequest;

/* So does a request that the IOMMU has stalled. */
typedef struct SVADevStall {
    uint64_t id;                /* 0: there is none */
    bool aborted;               /* it is over, and the operation is not yet */
    bool write;
    hwaddr va;
} SVADevStall;

typedef struct SVADevQueue {
    SVADevState *dev;
    unsigned index;
    QEMUBH *bh;
    QEMUTimer *timer;           /* schedules @bh */

    bool enabled;
    uint32_t pasid;             /* as in QCTL_PASID: may be PASID_NONE */
    SVADevOperands regs;

    /* the operation; @cur, @phase, @held only while it is active */
    SVADevOperands cur;
    SVADevPhase phase;
    unsigned retries;           /* page requests since the last progress */
    unsigned n_held;
    SVADevHeld held[SVADEV_MAX_HELD];
    SVADevPageRequest pr;
    SVADevStall stall;

    uint64_t state;
    uint64_t error;
    uint64_t done;
    uint64_t fault;
    uint64_t result;
    uint64_t seq;
} SVADevQueue;

typedef struct SVADevVerdict {
    uint64_t checked;
    uint64_t cached_atc;        /* in the range that was asked for */
    uint64_t cached[PCI_SVA_CACHES];
    uint64_t stale;
    uint64_t addr;
    uint64_t where;
} SVADevVerdict;

struct SVADevState {
    PCIDevice parent_obj;

    MemoryRegion control;
    MemoryRegion queue_pages;

    /* properties */
    uint32_t n_queues;
    uint32_t atc_entries;
    uint8_t pasid_bits;
    bool ats;
    bool pri;
    bool strict_untagged;

    uint64_t ctrl;
    uint32_t step_bytes;
    uint32_t step_ns;
    uint8_t inject_kind;
    uint64_t late;              /* as it was written here last */
    uint32_t mute;
    uint64_t cached_first;      /* range that is counted apart */
    uint64_t cached_last;
    SVADevVerdict verdict;
    uint64_t counters[SVADEV_N_COUNTERS];

    SVADevATC atc;
    uint32_t requests;          /* page requests outstanding, of all queues */
    SVADevQueue queues[SVADEV_MAX_QUEUES];
};

/* The PASID as hw/pci/pci_sva.h writes it, and back. */
static inline uint32_t svadev_pasid_from_reg(uint32_t reg)
{
    return reg == SVADEV_PASID_NONE ? PCI_NO_PASID : reg;
}

static inline uint32_t svadev_pasid_to_reg(uint32_t pasid)
{
    return pasid == PCI_NO_PASID ? SVADEV_PASID_NONE : pasid;
}

/* Active: neither over nor never begun. */
static inline bool svadev_queue_active(const SVADevQueue *q)
{
    return q->state == SVADEV_STATE_RUN || q->state == SVADEV_STATE_PAGE_REQ ||
        q->state == SVADEV_STATE_HELD;
}

static inline bool svadev_queue_busy(const SVADevQueue *q)
{
    return svadev_queue_active(q) || q->pr.outstanding || q->stall.id;
}

/* svadev-queue.c */
void svadev_queue_init(SVADevState *s, unsigned index);
void svadev_queue_exit(SVADevQueue *q);
void svadev_queue_enable(SVADevQueue *q);
/* Ends its operation; a page request or a stall stays outstanding. */
void svadev_queue_disable(SVADevQueue *q);
void svadev_queue_doorbell(SVADevQueue *q);
void svadev_queue_release(SVADevQueue *q);
void svadev_queue_abort(SVADevQueue *q);
void svadev_queue_drop_held(SVADevQueue *q, const SVADevScope *scope);
void svadev_queue_respond(SVADevQueue *q, PCIPRIResponse code);
void svadev_queue_resume(SVADevQueue *q, PCIStallEnd how);
/* Its page request will get no response, or none that counts. */
void svadev_queue_forget_request(SVADevQueue *q);
/* Tries again to send what waits for PRI's allocation. */
void svadev_kick_requests(SVADevState *s);

/* svadev.c */
/* @pasid as the registers write it, or SVADEV_PASID_ALL. */
void svadev_verify(SVADevState *s, uint32_t pasid, SVADevVerdict *v);

#endif
