/*
 * Intel VT-d: the unit's side of hw/pci/pci_sva.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_sva.h"
#include "intel_iommu_internal.h"
#include "trace.h"

/* Under this PASID stands the address space that serves all of them. */
#define VTD_ANY_PASID           0

/*
 * A function has one address space for requests with PASID, which is that of
 * the last PASID asked for. The guest chooses among 2^20, and what has been
 * made for one could never be freed. What it consists of depends on no PASID.
 */
static AddressSpace *vtd_sva_get_address_space(PCIBus *bus, void *opaque,
                                               int devfn, uint32_t pasid)
{
    VTDAddressSpace *as = vtd_find_add_as(opaque, bus, devfn, VTD_ANY_PASID);

    as->pasid = pasid;
    return &as->as;
}

static void vtd_sva_no_access(PCIATSReply *reply, hwaddr addr)
{
    reply->iova = addr & VTD_PAGE_MASK_4K;
    reply->addr = 0;
    reply->mask = VTD_PAGE_SIZE - 1;
    reply->perm = IOMMU_NONE;
}

/* How a Translation Request ends that ran into @fault */
static PCIATSStatus vtd_sva_status(int fault)
{
    switch (fault) {
    case VTD_FR_FS_PAGING_ENTRY_P:
    case VTD_FR_FS_PAGING_ENTRY_US:
    case VTD_FR_FS_NON_CANONICAL:
        return PCI_ATS_OK;
    case VTD_FR_ROOT_TABLE_INV:
    case VTD_FR_CONTEXT_TABLE_INV:
    case VTD_FR_PASID_DIR_ACCESS_ERR:
    case VTD_FR_PASID_TABLE_ACCESS_ERR:
    case VTD_FR_PASID_ENTRY_FSPTPTR_INV:
    case VTD_FR_FS_PAGING_ENTRY_INV:
    case VTD_FR_FS_PAGING_ENTRY_RSVD:
    case VTD_FR_FS_BIT_UPDATE_FAILED:
        return PCI_ATS_CA;
    default:
        return PCI_ATS_UR;
    }
}

static PCIATSStatus vtd_sva_translate(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t pasid, hwaddr addr,
                                      IOMMUAccessFlags perm,
                                      PCIATSReply *reply)
{
    IntelIOMMUState *s = opaque;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    unsigned flags = VTD_FS_ATS | (perm & IOMMU_WO ? VTD_FS_WRITE : 0);
    bool has_pasid = pasid != PCI_NO_PASID;
    PCIATSStatus status = PCI_ATS_OK;
    IOMMUTLBEntry entry;
    VTDContextEntry ce;
    VTDFSBinding b;
    int ret;

    vtd_sva_no_access(reply, addr);
    if (!s->dmar_enabled) {
        s->counters.refused_translations++;
        return PCI_ATS_UR;
    }
    if (!has_pasid && addr >= VTD_INTERRUPT_ADDR_FIRST &&
        addr <= VTD_INTERRUPT_ADDR_LAST) {
        return PCI_ATS_OK;      /* Interrupts are sent untranslated */
    }

    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = s->root_scalable ?
          vtd_fs_request(s, bus, devfn, pasid, addr, flags, &entry, &b) :
          vtd_fs_context(s, bus, devfn, pasid, flags, &ce, &b.fpd);
    if (!ret && !s->root_scalable) {
        status = PCI_ATS_UR;    /* No Device-TLB has second-stage addresses */
    } else if (!ret) {
        reply->iova = entry.iova;
        reply->addr = entry.translated_addr;
        reply->mask = entry.addr_mask;
        reply->perm = entry.perm;
    } else {
        status = vtd_sva_status(-ret);
        /*
         * "There is no such page" is an answer that the function can do
         * something about. What it cannot help is a fault.
         */
        if (status != PCI_ATS_OK) {
            vtd_report_fault(s, -ret, b.fpd, sid, addr, perm & IOMMU_WO,
                             has_pasid, has_pasid ? pasid : 0);
        }
    }
    s->counters.refused_translations += status == PCI_ATS_UR;
    trace_vtd_ats_translate(sid, pasid, addr, perm, status, reply->perm);
    return status;
}

/*
 * A request with translated address is checked against the context entry and
 * nothing else. It is Unsupported, and no fault, while DMA remapping is off.
 */
static bool vtd_sva_translated(PCIBus *bus, void *opaque, int devfn,
                               hwaddr addr, IOMMUAccessFlags perm)
{
    IntelIOMMUState *s = opaque;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    bool allowed = s->dmar_enabled, fpd;
    VTDContextEntry ce;
    int ret;

    QEMU_LOCK_GUARD(&s->iommu_lock);
    if (allowed) {
        ret = vtd_fs_context(s, bus, devfn, PCI_NO_PASID, VTD_FS_ATS, &ce,
                             &fpd);
        if (ret) {
            vtd_report_fault(s, -ret, fpd, sid, addr, perm & IOMMU_WO, false,
                             0);
            allowed = false;
        }
    }
    s->counters.refused_accesses += !allowed;
    trace_vtd_ats_access(sid, addr, perm, allowed);
    return allowed;
}

static bool vtd_sva_page_request(PCIBus *bus, void *opaque, int devfn,
                                 const PCIPageRequest *req)
{
    return vtd_prq_request(opaque, bus, devfn, req);
}

static PCIATSStatus vtd_sva_probe(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t pasid, hwaddr addr,
                                  PCIATSReply *reply)
{
    IntelIOMMUState *s = opaque;
    VTDFSBinding b;
    VTDFSLeaf leaf;
    int ret;

    vtd_sva_no_access(reply, addr);
    if (!s->dmar_enabled || !s->root_scalable) {
        return PCI_ATS_UR;
    }

    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = vtd_fs_bind(s, bus, devfn, pasid, VTD_FS_PEEK, &b);
    if (!ret && VTD_PE_GET_TYPE(&b.pe) == VTD_SM_PASID_ENTRY_PT) {
        reply->addr = reply->iova;
        reply->perm = IOMMU_RW;
        return PCI_ATS_OK;
    }
    if (!ret) {
        ret = vtd_fs_walk(s, &b, addr, VTD_FS_PEEK, &leaf);
    }
    if (ret) {
        return vtd_sva_status(-ret);
    }
    reply->iova = addr & ~leaf.mask;
    reply->addr = leaf.addr;
    reply->mask = leaf.mask;
    reply->perm = leaf.perm;
    return PCI_ATS_OK;
}

/* What the tables say now that a function is bound to; false: to nothing */
static bool vtd_audit_bind(IntelIOMMUState *s, PCIBus *bus, uint8_t devfn,
                           uint32_t pasid, VTDFSBinding *b)
{
    int ret;

    /* RID_PASID first: its entry counts also when PASIDE is clear. */
    ret = vtd_fs_bind(s, bus, devfn, PCI_NO_PASID, VTD_FS_PEEK, b);
    if (b->pasid != pasid) {
        ret = vtd_fs_bind(s, bus, devfn, pasid, VTD_FS_PEEK, b);
    }
    return !ret;
}

/* Compare an IOTLB entry with the tables of @b, which may be NULL. */
static void vtd_audit_iotlb(IntelIOMMUState *s, const VTDIOTLBEntry *e,
                            const VTDFSBinding *b, PCISVAAudit *audit)
{
    hwaddr iova = e->gfn << VTD_PAGE_SHIFT_4K;
    hwaddr addr = e->pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits) & e->mask;
    bool stale = true;
    VTDFSLeaf leaf;

    if (b && b->did == e->domain_id &&
        VTD_PE_GET_TYPE(&b->pe) == VTD_SM_PASID_ENTRY_FLT &&
        !vtd_fs_walk(s, b, iova, VTD_FS_PEEK, &leaf)) {
        /* A part of what is a larger page now is the same translation. */
        stale = ~e->mask > leaf.mask ||
                leaf.addr + (iova & leaf.mask) != addr ||
                (e->access_flags & ~leaf.perm);
    }
    pci_sva_audit_note(audit, PCI_SVA_CACHE_IOTLB, stale, iova, ~e->mask,
                       e->pasid);
}

/* The same with an entry of the paging-structure caches */
static void vtd_audit_psc(IntelIOMMUState *s, const VTDPSCEntry *e,
                          const VTDFSBinding *b, PCISVAAudit *audit)
{
    bool stale = true, writable;
    hwaddr table;

    if (b && b->did == e->did &&
        VTD_PE_GET_TYPE(&b->pe) == VTD_SM_PASID_ENTRY_FLT &&
        vtd_fs_peek_table(s, b, e->va, e->level, &table, &writable)) {
        stale = table != e->table || (e->writable && !writable);
    }
    pci_sva_audit_note(audit, PCI_SVA_CACHE_UPPER, stale, e->va,
                       ~vtd_pt_level_page_mask(e->level), e->pasid);
}

static void vtd_audit_pasid_entry(IntelIOMMUState *s, uint16_t sid,
                                  uint32_t pasid, const VTDPASIDEntry *pe,
                                  PCISVAAudit *audit)
{
    VTDAddressSpace *as = vtd_get_as_by_sid(s, sid);
    VTDFSBinding b;
    bool same;

    same = as && vtd_audit_bind(s, as->bus, as->devfn, pasid, &b) &&
           !memcmp(&b.pe, pe, sizeof(*pe));
    pci_sva_audit_note(audit, PCI_SVA_CACHE_CONFIG, !same, 0, 0, pasid);
}

/* Bits of a context entry that the unit does not look at */
static VTDContextEntry vtd_audit_ignored(IntelIOMMUState *s,
                                         const VTDContextEntry *ce)
{
    VTDContextEntry ignored = { .lo = VTD_CONTEXT_ENTRY_FPD };

    if (!s->root_scalable) {
        ignored.hi = VTD_CONTEXT_ENTRY_AVAIL;
        if ((ce->lo & VTD_CONTEXT_ENTRY_TT) == VTD_CONTEXT_TT_PASS_THROUGH) {
            ignored.lo |= VTD_CONTEXT_ENTRY_SLPTPTR;
        }
    }
    return ignored;
}

/*
 * What is cached of the function's context entry. That it does not permit what
 * the table does by now is no fault, and FPD permits nothing. In legacy mode,
 * permission is not a matter of single bits.
 */
static void vtd_audit_context(IntelIOMMUState *s, VTDAddressSpace *as,
                              PCISVAAudit *audit)
{
    const uint64_t permits = !s->root_scalable ? 0 :
                             VTD_CONTEXT_ENTRY_P | VTD_SM_CONTEXT_ENTRY_DTE |
                             VTD_SM_CONTEXT_ENTRY_PASIDE |
                             VTD_SM_CONTEXT_ENTRY_PRE;
    const VTDContextCacheEntry *cc = &as->context_cache_entry;
    const VTDContextEntry *cached = &cc->context_entry;
    const VTDContextEntry ignored = vtd_audit_ignored(s, cached);
    VTDContextEntry ce;
    bool fpd, stale;

    if (as->pasid != PCI_NO_PASID ||
        cc->context_cache_gen != s->context_cache_gen) {
        return;
    }
    stale = vtd_fs_context(s, as->bus, as->devfn, PCI_NO_PASID, VTD_FS_PEEK,
                           &ce, &fpd) ||
            (cached->lo & ~ce.lo & permits) ||
            ((cached->lo ^ ce.lo) & ~(permits | ignored.lo)) ||
            ((cached->hi ^ ce.hi) & ~ignored.hi);
    pci_sva_audit_note(audit, PCI_SVA_CACHE_CONFIG, stale, 0, 0, PCI_NO_PASID);
}

/*
 * Some function behind this unit that is bound to @pasid in domain @did, @sid
 * if it is one; NULL if there is none
 */
static VTDFSBinding *vtd_audit_find_owner(IntelIOMMUState *s, uint16_t sid,
                                          uint32_t pasid, uint16_t did,
                                          VTDFSBinding *b)
{
    VTDAddressSpace *as = vtd_get_as_by_sid(s, sid);
    GHashTableIter iter;

    if (as && vtd_audit_bind(s, as->bus, as->devfn, pasid, b) &&
        b->did == did) {
        return b;
    }
    g_hash_table_iter_init(&iter, s->vtd_address_spaces);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&as)) {
        if (as->pasid == PCI_NO_PASID &&
            vtd_audit_bind(s, as->bus, as->devfn, pasid, b) &&
            b->did == did) {
            return b;
        }
    }
    return NULL;
}

/*
 * First-stage IOTLB entries, the paging-structure caches, the PASID cache and
 * the context cache, which in legacy mode is all there is of them. For the unit
 * as a whole, an entry whose tag nobody uses any more is stale: the next one to
 * get the tag would find it.
 */
static void vtd_sva_audit(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                          PCISVAAudit *audit)
{
    IntelIOMMUState *s = opaque;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    const VTDPASIDEntry *cached;
    VTDPASIDCacheEntry *p;
    VTDAddressSpace *as;
    VTDIOTLBEntry *e;
    GHashTableIter iter;
    VTDFSBinding b;
    VTDPSCEntry *t;
    uint16_t did;
    bool bound;

    if (!s->dmar_enabled) {
        return;
    }

    QEMU_LOCK_GUARD(&s->iommu_lock);
    if (pasid == PCI_NO_PASID) {
        g_hash_table_iter_init(&iter, s->vtd_address_spaces);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&as)) {
            vtd_audit_context(s, as, audit);
        }
        if (!s->root_scalable) {
            return;
        }
        g_hash_table_iter_init(&iter, s->pasid_cache);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&p)) {
            vtd_audit_pasid_entry(s, p->key >> VTD_PASID_ID_SHIFT,
                                  p->key & VTD_PASID_ID_MASK, &p->pe, audit);
        }
        g_hash_table_iter_init(&iter, s->iotlb);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&e)) {
            if (e->pgtt == VTD_SM_PASID_ENTRY_FLT) {
                vtd_audit_iotlb(s, e,
                                vtd_audit_find_owner(s, e->source_id, e->pasid,
                                                     e->domain_id, &b),
                                audit);
            }
        }
        if (!s->psc) {
            return;
        }
        g_hash_table_iter_init(&iter, s->psc);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&t)) {
            vtd_audit_psc(s, t, vtd_audit_find_owner(s, t->source_id, t->pasid,
                                                     t->did, &b), audit);
        }
        return;
    }

    as = vtd_get_as_by_sid(s, sid);
    if (as) {
        vtd_audit_context(s, as, audit);
    }
    if (!s->root_scalable) {
        return;
    }
    bound = vtd_audit_bind(s, bus, devfn, pasid, &b);
    cached = vtd_pasid_cache_find(s, sid, pasid);
    if (cached) {
        vtd_audit_pasid_entry(s, sid, pasid, cached, audit);
    } else if (!bound) {
        return;                 /* No request gets as far as the IOTLB */
    }
    did = VTD_SM_PASID_ENTRY_DID((cached ? cached : &b.pe)->val[1]);
    g_hash_table_iter_init(&iter, s->iotlb);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&e)) {
        if (e->pgtt == VTD_SM_PASID_ENTRY_FLT && e->pasid == pasid &&
            e->domain_id == did) {
            vtd_audit_iotlb(s, e, bound ? &b : NULL, audit);
        }
    }
    if (!s->psc) {
        return;
    }
    g_hash_table_iter_init(&iter, s->psc);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&t)) {
        if (t->pasid == pasid && t->did == did) {
            vtd_audit_psc(s, t, bound ? &b : NULL, audit);
        }
    }
}

static void vtd_sva_counters(PCIBus *bus, void *opaque,
                             PCISVACounters *counters, unsigned *unit)
{
    IntelIOMMUState *s = opaque;

    *counters = s->counters;
    *unit = s->unit;
}

static void vtd_sva_drop(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                         uint32_t nth)
{
    IntelIOMMUState *s = opaque;

    s->drop_kind = kind;
    s->drop_nth = nth;
}

static uint32_t vtd_sva_drop_left(PCIBus *bus, void *opaque)
{
    IntelIOMMUState *s = opaque;

    return s->drop_nth;
}

static void vtd_sva_late(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                         uint32_t ns)
{
    vtd_inv_late(opaque, kind, ns);
}

const PCISVAOps vtd_sva_ops = {
    .get_address_space = vtd_sva_get_address_space,
    .translate = vtd_sva_translate,
    .translated = vtd_sva_translated,
    .page_request = vtd_sva_page_request,
    .probe = vtd_sva_probe,
    .audit = vtd_sva_audit,
    .counters = vtd_sva_counters,
    .drop = vtd_sva_drop,
    .drop_left = vtd_sva_drop_left,
    .late = vtd_sva_late,
};
