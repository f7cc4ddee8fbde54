/*
 * PCI Express messages of Shared Virtual Addressing: what a function and the
 * IOMMU in front of it say to each other about PASIDs.
 *
 *   function -> IOMMU   memory request with PASID   pci_sva_address_space()
 *                       ... translated already      pci_ats_access()
 *                       Translation Request (ATS)   pci_ats_translate()
 *                       Page Request (PRI)          pci_pri_request()
 *   IOMMU -> function   Invalidation Request        pci_ats_invalidate()
 *                       PRG Response                pci_pri_respond()
 *
 * An IOMMU that stalls answers a memory request late: the function waits, and
 * is told how it ends.
 *
 *   function            a request that may stall    pci_stall_begin(), _end()
 *   IOMMU -> function   it is stalled               pci_stall()
 *                       it is over                  pci_stall_resume()
 *
 * The last part is no message of the specification: it lets a test device ask
 * the IOMMU in front of it what it has cached and counted, and makes it lose
 * an invalidation on purpose.
 *
 * All of it runs under the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_PCI_SVA_H
#define QEMU_PCI_SVA_H

#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h" /* PCI_NO_PASID */

/* How a Translation Request ends (PCIe 6.0, 10.2.3). */
typedef enum PCIATSStatus {
    /* Success; R=W=0 says "not mapped so" */
    PCI_ATS_OK,
    /* Unsupported Request: ATS or PASID is not enabled at the IOMMU */
    PCI_ATS_UR,
    /* Completer Abort: broken tables */
    PCI_ATS_CA,
} PCIATSStatus;

/**
 * struct PCIATSReply - a translation completion
 * @iova: first byte of the page that the completion speaks of
 * @addr: system physical address of that byte, where @perm is not IOMMU_NONE
 * @mask: size of the page in bytes, less one
 * @perm: accesses that the function may make with this translation; can be
 *        less than was asked for. IOMMU_NONE must not be cached.
 */
typedef struct PCIATSReply {
    hwaddr iova;
    hwaddr addr;
    hwaddr mask;
    IOMMUAccessFlags perm;
} PCIATSReply;

/* Response Code of a PRG Response message (PCIe 6.0, 10.4.2). */
typedef enum PCIPRIResponse {
    PCI_PRI_SUCCESS = 0,
    PCI_PRI_INVALID = 1,
    PCI_PRI_FAILURE = 15,
} PCIPRIResponse;

/**
 * struct PCIPageRequest - a Page Request message
 * @addr: page-aligned address
 * @pasid: the PASID, or PCI_NO_PASID
 * @prgi: page request group index, 9 bits; comes back in the response
 * @perm: access that the function wants
 * @last: last request of its group: the group gets a response
 */
typedef struct PCIPageRequest {
    hwaddr addr;
    uint32_t pasid;
    uint16_t prgi;
    IOMMUAccessFlags perm;
    bool last;
} PCIPageRequest;

/* How a memory request that was stalled ends. */
typedef enum PCIStallEnd {
    /* Nothing has come of it: the function makes it again */
    PCI_STALL_RETRY,
    /* A bus error */
    PCI_STALL_ABORT,
} PCIStallEnd;

/*
 * In place of the PASID of an Invalidation Request that has one and its Global
 * Invalidate bit set: the translations of all PASIDs (PCIe 6.0, 10.3.8)
 */
#define PCI_ALL_PASIDS          0xfffffffeU

/**
 * struct PCISVAClientOps - what a function does with the IOMMU's messages
 * @invalidate: drop the translations of [addr, addr + size - 1]; the last byte
 *              may be the last of the address space. @pasid is a PASID, or
 *              PCI_ALL_PASIDS, which spares those without one, or
 *              PCI_NO_PASID: the request has none. Whether it then reaches
 *              translations with a PASID is for the function to say.
 *              Returns whether a completion is sent; false is what a function
 *              does whose ATS is off, and becomes a time-out at the IOMMU.
 * @page_response: the answer to a group of page requests
 * @resume: the memory request with the number @id was stalled and is over. A
 *          function that has been reset since may not know it any more. It
 *          makes no request from in here. NULL: no request may be stalled.
 */
struct PCISVAClientOps {
    bool (*invalidate)(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                       uint64_t size);
    void (*page_response)(PCIDevice *dev, uint32_t pasid, uint16_t prgi,
                          PCIPRIResponse code);
    void (*resume)(PCIDevice *dev, uint64_t id, PCIStallEnd how);
};

/* Size of an invalidation of the whole address space (2^64 has no number). */
#define PCI_ATS_ALL             UINT64_MAX

/* Kinds of command that an IOMMU can be told to lose, or to be late with. */
typedef enum PCISVAInvKind {
    PCI_SVA_INV_NONE,
    PCI_SVA_INV_IOTLB,          /* of a tag: a range or all of it */
    PCI_SVA_INV_ATC,            /* sent to a function */
    PCI_SVA_INV_CONFIG,         /* PASID entry, CD, STE */
    PCI_SVA_INV_SYNC,           /* wait for those before it; never lost */
    PCI_SVA_INV_FUNCTION,       /* of CONFIG: the entry of a function (STE) */
    PCI_SVA_INV_PASID,          /* of CONFIG: the entry of a PASID (CD) */
    PCI_SVA_INV_KINDS,
} PCISVAInvKind;

/* In place of a number in PCISVAOps.drop: each one; an IOMMU may not know it */
#define PCI_SVA_DROP_ALL        UINT32_MAX

/**
 * struct PCISVACounters - what an IOMMU instance has executed and refused
 *
 * The names are those of no vendor. A model counts a command once, when it
 * takes it from its queue, also when it is told to lose it. What it refuses is
 * counted whether or not the fault is recorded.
 */
typedef struct PCISVACounters {
    uint64_t iotlb_range;       /* IOTLB invalidations of an address range */
    uint64_t iotlb_tag;         /* ... of a whole tag (PASID, ASID, domain) */
    uint64_t iotlb_all;         /* ... of everything */
    uint64_t atc_range;         /* ATC invalidations of a range */
    uint64_t atc_all;           /* ... of a PASID's or a function's whole ATC */
    uint64_t config;            /* invalidations of a configuration cache */
    uint64_t sync;              /* waits (wait descriptor, CMD_SYNC) */
    uint64_t page_requests;     /* page requests put into the queue */
    uint64_t page_responses;    /* group responses sent */
    uint64_t faults;            /* faults recorded */
    uint64_t dropped;           /* invalidations lost on purpose */
    uint64_t iotlb_hits;
    uint64_t iotlb_misses;      /* walks */
    uint64_t late;              /* commands held back on purpose */
    uint64_t timeouts;          /* time-outs reported */
    uint64_t refused_accesses;  /* memory requests with translated address */
    uint64_t refused_translations; /* Translation Requests answered UR */
    uint64_t refused_page_requests; /* ... that the function may not send */
    uint64_t evicted;           /* cached entries that made room for others */
    uint64_t fault_reason;      /* of the last fault; 0: there was none */
    uint64_t timeouts_named;    /* time-outs that say whose they were */
    uint64_t atc_off;           /* requests to functions whose ATS is off */
    uint64_t queue_errors;      /* commands lost or changed in the queue, or
                                   whose effect is undefined */
    uint64_t entries_left;      /* cached entries that a range has named, and
                                   left by a fault of the IOMMU */
    uint64_t stalls;            /* requests stalled, as software is told */
    uint64_t resumes;           /* ... that software has answered */
    uint64_t stalls_ended;      /* ... that ended otherwise */
    uint64_t stall_errors;      /* answers to what was not stalled */
    uint64_t stall_max;         /* so many may be stalled; 0: none */
} PCISVACounters;

/* Caches of an IOMMU, by what their entries are made from */
typedef enum PCISVACache {
    PCI_SVA_CACHE_IOTLB,        /* the entry of a page */
    PCI_SVA_CACHE_UPPER,        /* an entry that refers to another table */
    PCI_SVA_CACHE_CONFIG,       /* context or PASID entry, STE, CD */
    PCI_SVA_CACHES,
} PCISVACache;

/**
 * struct PCISVAAudit - how cached entries compare with the tables
 * @first: first address of a range, set by the caller
 * @last: its last one
 * @checked: entries compared, whatever they are for
 * @cached: of these, in each cache, those for nothing but the range; of the
 *          configuration, which is for all addresses, all of them
 * @stale: entries that say another page than the tables do now, or permit more
 * @addr: first byte of the page of one stale entry, where there is one
 * @pasid: its PASID
 */
typedef struct PCISVAAudit {
    hwaddr first;
    hwaddr last;
    uint64_t checked;
    uint64_t cached[PCI_SVA_CACHES];
    uint64_t stale;
    hwaddr addr;
    uint32_t pasid;
} PCISVAAudit;

/**
 * struct PCISVAOps - an IOMMU model's side, hung into PCIIOMMUOps
 *
 * @bus and @devfn are the requester as the IOMMU sees it; @opaque is what
 * pci_setup_iommu() was given.
 *
 * @get_address_space: where memory requests with @pasid go (untranslated),
 *                     until the next call for the function
 * @translate: a Translation Request. @perm lacking IOMMU_WO sets No Write.
 *             Sets accessed and dirty bits as a walk does; records no fault
 *             for a page that is not there.
 * @translated: a memory request for @perm whose address, @addr, is translated
 *              already (AT = 10b) comes in. Returns whether it may go on. What
 *              the function is told of a refusal is Unsupported Request if it
 *              reads, and nothing if it writes.
 * @page_request: false when the request could not be taken (PRI not enabled
 *                for the function, queue full): the function is then answered
 *                by the IOMMU itself, or not at all, as its specification says
 * @probe: walk the tables now, with no cache and no side effect, not even on
 *         accessed bits
 * @audit: compare every entry of the IOMMU's own IOTLB, and of the caches of
 *         its configuration and of upper levels of the tables, that a request
 *         of this function with @pasid could hit (PCI_NO_PASID: all of the
 *         instance) with the tables; calls pci_sva_audit_note() for each
 * @counters: this instance's counters; @unit says which instance it is
 * @drop: lose the @nth (1 is the next) invalidation of @kind that this
 *        instance takes from its queue; 0 calls it off. One at a time.
 * @drop_left: how many invalidations of the kind are still to come before the
 *             one that is lost; 0 when none is to be lost
 * @late: from now on be late by @ns with every command of @kind (0: with none).
 *        Requests reach their function late, and a wait is over late; any other
 *        command holds up those behind it, or, where the architecture orders
 *        commands by waits alone, the next wait. Whatever is held back at the
 *        moment is carried out at once.
 */
struct PCISVAOps {
    AddressSpace *(*get_address_space)(PCIBus *bus, void *opaque, int devfn,
                                       uint32_t pasid);
    PCIATSStatus (*translate)(PCIBus *bus, void *opaque, int devfn,
                              uint32_t pasid, hwaddr addr,
                              IOMMUAccessFlags perm, PCIATSReply *reply);
    bool (*translated)(PCIBus *bus, void *opaque, int devfn, hwaddr addr,
                       IOMMUAccessFlags perm);
    bool (*page_request)(PCIBus *bus, void *opaque, int devfn,
                         const PCIPageRequest *req);
    PCIATSStatus (*probe)(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                          hwaddr addr, PCIATSReply *reply);
    void (*audit)(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                  PCISVAAudit *audit);
    void (*counters)(PCIBus *bus, void *opaque, PCISVACounters *counters,
                     unsigned *unit);
    void (*drop)(PCIBus *bus, void *opaque, PCISVAInvKind kind, uint32_t nth);
    uint32_t (*drop_left)(PCIBus *bus, void *opaque);
    void (*late)(PCIBus *bus, void *opaque, PCISVAInvKind kind, uint32_t ns);
};

/* PASID Extended Capability (PCIe 6.0, 7.8.9): @bits of PASID, 1 to 20. */
void pcie_pasid_init(PCIDevice *dev, uint16_t offset, uint8_t bits);
bool pcie_pasid_enabled(const PCIDevice *dev);
/*
 * Page Request Extended Capability (PCIe 6.0, 10.5.2): up to @max_requests
 * outstanding; responses carry the PASID of the request.
 */
void pcie_pri_init(PCIDevice *dev, uint16_t offset, uint32_t max_requests);
bool pcie_pri_enabled(const PCIDevice *dev);
bool pcie_ats_enabled(const PCIDevice *dev);

/* A function takes part in these messages from here on (realize). */
void pci_sva_set_client(PCIDevice *dev, const PCISVAClientOps *ops);

/*
 * NULL where the function stands behind no IOMMU that knows PASIDs. To be used
 * at once: the next call for this function may make it that of another PASID.
 */
AddressSpace *pci_sva_address_space(PCIDevice *dev, uint32_t pasid);
PCIATSStatus pci_ats_translate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                               IOMMUAccessFlags perm, PCIATSReply *reply);
/*
 * Whether a memory request with the translated address @addr may pass; to be
 * asked for each, when it leaves the function.
 */
bool pci_ats_access(PCIDevice *dev, hwaddr addr, IOMMUAccessFlags perm);
bool pci_pri_request(PCIDevice *dev, const PCIPageRequest *req);

/*
 * Of the untranslated requests that a function makes from pci_stall_begin() to
 * pci_stall_end(), the first that the IOMMU stalls fails with nothing done, and
 * pci_stall_end() returns its number; 0: none was. The number is not used for
 * another stall, and resume() comes once for it, after pci_stall_end().
 */
void pci_stall_begin(PCIDevice *dev);
uint64_t pci_stall_end(PCIDevice *dev);

/* For the IOMMU: may the request that @dev, or NULL, is making be stalled? */
bool pci_may_stall(const PCIDevice *dev);
/* It is, under the number @id, which is not 0. */
void pci_stall(PCIDevice *dev, uint64_t id);
/* For the IOMMU; @dev may be NULL. */
void pci_stall_resume(PCIDevice *dev, uint64_t id, PCIStallEnd how);

/* For the IOMMU; @dev may be NULL (no such function): not completed. */
bool pci_ats_invalidate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                        uint64_t size);
void pci_pri_respond(PCIDevice *dev, uint32_t pasid, uint16_t prgi,
                     PCIPRIResponse code);
/* An entry of @cache was compared, which is for [@addr, @addr + @mask]. */
void pci_sva_audit_note(PCISVAAudit *audit, PCISVACache cache, bool stale,
                        hwaddr addr, hwaddr mask, uint32_t pasid);

PCIATSStatus pci_sva_probe(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                           PCIATSReply *reply);
void pci_sva_audit(PCIDevice *dev, uint32_t pasid, PCISVAAudit *audit);
/* False where there is no such IOMMU. */
bool pci_sva_counters(PCIDevice *dev, PCISVACounters *counters,
                      unsigned *unit);
void pci_sva_drop(PCIDevice *dev, PCISVAInvKind kind, uint32_t nth);
uint32_t pci_sva_drop_left(PCIDevice *dev);
void pci_sva_late(PCIDevice *dev, PCISVAInvKind kind, uint32_t ns);

#endif
