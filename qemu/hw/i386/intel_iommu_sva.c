/*
 * Intel VT-d: what Shared Virtual Addressing needs besides translation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_sva.h"
#include "system/dma.h"
#include "intel_iommu_internal.h"
#include "trace.h"

/*
 * Range of a device-TLB invalidation: with the S bit, the number of ones from
 * bit 12 of the address up says how large it is.
 */
static uint64_t vtd_atc_range(hwaddr *addr, bool s_bit)
{
    unsigned ones = cto64(*addr >> VTD_PAGE_SHIFT);
    uint64_t size = VTD_PAGE_SIZE;

    if (s_bit && ones >= 63 - VTD_PAGE_SHIFT) {
        *addr = 0;
        return PCI_ATS_ALL;
    }
    if (s_bit) {
        size = (VTD_PAGE_SIZE * 2) << ones;
    }
    *addr &= ~(size - 1);
    return size;
}

static PCISVAInvKind vtd_count_atc(PCISVACounters *c, hwaddr addr, bool s_bit)
{
    if (vtd_atc_range(&addr, s_bit) == PCI_ATS_ALL) {
        c->atc_all++;
    } else {
        c->atc_range++;
    }
    return PCI_SVA_INV_ATC;
}

static PCISVAInvKind vtd_count_inv_desc(PCISVACounters *c,
                                        const VTDInvDesc *desc)
{
    switch (VTD_INV_DESC_TYPE(desc->lo)) {
    case VTD_INV_DESC_CC:
    case VTD_INV_DESC_PC:
        c->config++;
        return PCI_SVA_INV_CONFIG;
    case VTD_INV_DESC_IOTLB:
        switch (desc->lo & VTD_INV_DESC_IOTLB_G) {
        case VTD_INV_DESC_IOTLB_GLOBAL:
            c->iotlb_all++;
            break;
        case VTD_INV_DESC_IOTLB_DOMAIN:
            c->iotlb_tag++;
            break;
        default:
            c->iotlb_range++;
        }
        return PCI_SVA_INV_IOTLB;
    case VTD_INV_DESC_PIOTLB:
        if ((desc->lo & VTD_INV_DESC_PIOTLB_G) ==
            VTD_INV_DESC_PIOTLB_ALL_IN_PASID) {
            c->iotlb_tag++;
        } else {
            c->iotlb_range++;
        }
        return PCI_SVA_INV_IOTLB;
    case VTD_INV_DESC_DEVICE:
        return vtd_count_atc(c, VTD_INV_DESC_DEVICE_IOTLB_ADDR(desc->hi),
                             VTD_INV_DESC_DEVICE_IOTLB_SIZE(desc->hi));
    case VTD_INV_DESC_DEV_PIOTLB:
        return vtd_count_atc(c,
                             VTD_INV_DESC_PASID_DEVICE_IOTLB_ADDR(desc->hi),
                             VTD_INV_DESC_PASID_DEVICE_IOTLB_SIZE(desc->hi));
    case VTD_INV_DESC_WAIT:
        c->sync++;
        break;
    }
    return PCI_SVA_INV_NONE;
}

/* Count a descriptor. Returns whether it is to be lost (PCISVAOps.drop). */
bool vtd_sva_count(IntelIOMMUState *s, const VTDInvDesc *desc)
{
    PCISVAInvKind kind = vtd_count_inv_desc(&s->counters, desc);

    if (!s->drop_nth || kind != s->drop_kind || --s->drop_nth) {
        return false;
    }
    s->counters.dropped++;
    trace_vtd_inv_desc_dropped(desc->hi, desc->lo);
    return true;
}

/* The function that @sid names behind this unit, NULL if there is none */
static PCIDevice *vtd_find_function(IntelIOMMUState *s, uint16_t sid)
{
    PCIDevice *dev = pci_find_device(s->root_bus, VTD_SID_TO_BUS(sid),
                                     VTD_SID_TO_DEVFN(sid));
    PCIBus *iommu_bus;

    if (!dev) {
        return NULL;
    }
    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, NULL, NULL);
    return iommu_bus && iommu_bus->iommu_opaque == s ? dev : NULL;
}

static void vtd_prq_event(IntelIOMMUState *s, uint32_t status)
{
    uint32_t prs = vtd_get_long_raw(s, DMAR_PRS_REG);

    vtd_set_clear_mask_long(s, DMAR_PRS_REG, 0, status);
    if (prs & (VTD_PRS_PPR | VTD_PRS_PRO)) {
        return;                 /* Software has one event to look at already */
    }
    vtd_set_clear_mask_long(s, DMAR_PECTL_REG, 0, VTD_PECTL_IP);
    vtd_prq_control_write(s);
}

/* PECTL_REG: send what was held back by the mask. */
void vtd_prq_control_write(IntelIOMMUState *s)
{
    uint32_t pectl = vtd_get_long_raw(s, DMAR_PECTL_REG);

    if ((pectl & VTD_PECTL_IP) && !(pectl & VTD_PECTL_IM)) {
        vtd_generate_interrupt(s, DMAR_PEADDR_REG, DMAR_PEDATA_REG);
        vtd_set_clear_mask_long(s, DMAR_PECTL_REG, VTD_PECTL_IP, 0);
    }
}

/* PRS_REG: an event that has been dealt with by polling is not pending. */
void vtd_prq_status_write(IntelIOMMUState *s)
{
    uint32_t prs = vtd_get_long_raw(s, DMAR_PRS_REG);

    if (!(prs & (VTD_PRS_PPR | VTD_PRS_PRO))) {
        vtd_set_clear_mask_long(s, DMAR_PECTL_REG, VTD_PECTL_IP, 0);
    }
}

/* Answer a request in place of software, while the function is sending it. */
static void vtd_prq_auto_respond(IntelIOMMUState *s, PCIBus *bus,
                                 uint8_t devfn, const PCIPageRequest *req,
                                 PCIPRIResponse code)
{
    if (!req->last) {
        return;                 /* A group is answered once */
    }
    trace_vtd_page_response_auto(req->pasid, req->prgi, code);
    s->counters.page_responses++;
    pci_pri_respond(bus->devices[devfn], req->pasid, req->prgi, code);
}

/* Returns whether software will see the request. */
bool vtd_prq_request(IntelIOMMUState *s, PCIBus *bus, uint8_t devfn,
                     const PCIPageRequest *req)
{
    bool has_pasid = req->pasid != PCI_NO_PASID;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    uint64_t pqa, mask, tail, desc[4] = { };
    VTDContextEntry ce;
    bool fpd;
    int ret;

    trace_vtd_page_request(sid, req->pasid, req->addr, req->prgi, req->perm,
                           req->last);
    if (!s->dmar_enabled || !s->root_scalable || !(s->ecap & VTD_ECAP_PRS)) {
        vtd_prq_auto_respond(s, bus, devfn, req, PCI_PRI_INVALID);
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&s->iommu_lock) {
        ret = vtd_fs_context(s, bus, devfn, req->pasid, 0, &ce, &fpd);
        if (!ret && !(ce.lo & VTD_SM_CONTEXT_ENTRY_PRE)) {
            ret = -VTD_FR_SM_PRE;
        }
        if (ret) {
            vtd_report_fault(s, -ret, fpd, sid, req->addr,
                             req->perm & IOMMU_WO, has_pasid,
                             has_pasid ? req->pasid : 0);
        }
    }
    if (ret) {
        vtd_prq_auto_respond(s, bus, devfn, req, PCI_PRI_INVALID);
        return false;
    }

    pqa = vtd_get_quad_raw(s, DMAR_PQA_REG);
    mask = VTD_PQ_OFFSET_MASK & (VTD_PQA_SIZE(pqa) - 1);
    tail = vtd_get_quad_raw(s, DMAR_PQT_REG) & mask;
    if ((vtd_get_long_raw(s, DMAR_PRS_REG) & VTD_PRS_PRO) ||
        ((tail + VTD_PAGE_REQ_SIZE) & mask) ==
        (vtd_get_quad_raw(s, DMAR_PQH_REG) & mask)) {
        /*
         * From the first one that finds the queue full until software has
         * cleared PRO, requests are lost, and the functions are told that
         * all is well: they will find out that it is not and ask again.
         */
        trace_vtd_page_request_overflow(sid, req->pasid, req->prgi);
        vtd_prq_event(s, VTD_PRS_PRO);
        vtd_prq_auto_respond(s, bus, devfn, req, PCI_PRI_SUCCESS);
        return false;
    }

    desc[0] = VTD_PAGE_REQ_TYPE | VTD_PAGE_REQ_RID(sid);
    if (has_pasid) {
        desc[0] |= VTD_PAGE_REQ_PASID_PRESENT | VTD_PAGE_REQ_PASID(req->pasid);
    }
    desc[1] = (req->addr & VTD_PAGE_REQ_ADDR_MASK) |
              VTD_PAGE_REQ_PRGI(req->prgi & 0x1ff) |
              (req->perm & IOMMU_RO ? VTD_PAGE_REQ_READ : 0) |
              (req->perm & IOMMU_WO ? VTD_PAGE_REQ_WRITE : 0) |
              (req->last ? VTD_PAGE_REQ_LPIG : 0);
    desc[0] = cpu_to_le64(desc[0]);
    desc[1] = cpu_to_le64(desc[1]);
    if (dma_memory_write(&address_space_memory,
                         (pqa & VTD_PQA_ADDR_MASK(s->aw_bits)) + tail,
                         desc, sizeof(desc), MEMTXATTRS_UNSPECIFIED)) {
        error_report_once("%s: no page request queue at 0x%" PRIx64,
                          __func__, pqa);
        vtd_prq_auto_respond(s, bus, devfn, req, PCI_PRI_FAILURE);
        return false;
    }
    vtd_set_quad_raw(s, DMAR_PQT_REG, (tail + VTD_PAGE_REQ_SIZE) & mask);
    s->counters.page_requests++;
    vtd_prq_event(s, VTD_PRS_PPR);
    return true;
}

bool vtd_process_page_response_desc(IntelIOMMUState *s, VTDInvDesc *inv_desc)
{
    uint64_t mask[4] = { VTD_INV_DESC_PGRESP_RSVD_VAL0,
                         VTD_INV_DESC_PGRESP_RSVD_VAL1, 0, 0 };
    uint16_t sid = VTD_INV_DESC_PGRESP_RID(inv_desc->lo);
    uint16_t prgi = VTD_INV_DESC_PGRESP_PRGI(inv_desc->hi);
    unsigned code = VTD_INV_DESC_PGRESP_CODE(inv_desc->lo);
    uint32_t pasid = PCI_NO_PASID;

    if (!(s->ecap & VTD_ECAP_PRS)) {
        error_report_once("%s: page responses not supported", __func__);
        return false;
    }
    if (!vtd_inv_desc_reserved_check(s, inv_desc, mask, true, __func__,
                                     "page group response")) {
        return false;
    }
    if (VTD_INV_DESC_PGRESP_PP(inv_desc->lo)) {
        pasid = VTD_INV_DESC_PGRESP_PASID(inv_desc->lo);
    }
    trace_vtd_page_response(sid, pasid, prgi, code);
    s->counters.page_responses++;
    pci_pri_respond(vtd_find_function(s, sid), pasid, prgi, code);
    return true;
}

/*
 * Send an Invalidation Request; PCI_NO_PASID means all PASIDs, too.
 *
 * A function that does not complete it would make hardware time out and set
 * FSTS_REG.ITE. Here it counts as completed: there are functions that have
 * nothing to do with pci_sva.h and get theirs by an IOMMU notifier.
 */
void vtd_sva_invalidate(IntelIOMMUState *s, uint16_t sid, uint32_t pasid,
                        hwaddr addr, bool s_bit)
{
    uint64_t size = vtd_atc_range(&addr, s_bit);
    bool completed;

    completed = pci_ats_invalidate(vtd_find_function(s, sid), pasid, addr,
                                   size);
    trace_vtd_ats_invalidate(sid, pasid, addr, size, completed);
}

static AddressSpace *vtd_sva_get_address_space(PCIBus *bus, void *opaque,
                                               int devfn, uint32_t pasid)
{
    return &vtd_find_add_as(opaque, bus, devfn, pasid)->as;
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
    VTDFSBinding b;
    int ret;

    vtd_sva_no_access(reply, addr);
    if (!s->dmar_enabled || !s->root_scalable) {
        return PCI_ATS_UR;
    }
    if (!has_pasid && addr >= VTD_INTERRUPT_ADDR_FIRST &&
        addr <= VTD_INTERRUPT_ADDR_LAST) {
        return PCI_ATS_OK;      /* Interrupts are sent untranslated */
    }

    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = vtd_fs_request(s, bus, devfn, pasid, addr, flags, &entry, &b);
    if (!ret) {
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
    trace_vtd_ats_translate(sid, pasid, addr, perm, status, reply->perm);
    return status;
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
        ret = vtd_fs_walk(s, &b.pe, addr, VTD_FS_PEEK, &leaf);
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

static void vtd_audit_note(PCISVAAudit *audit, bool stale, hwaddr addr,
                           uint32_t pasid)
{
    audit->checked++;
    if (stale) {
        audit->stale++;
        audit->addr = addr;
        audit->pasid = pasid;
    }
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
        !vtd_fs_walk(s, &b->pe, iova, VTD_FS_PEEK, &leaf)) {
        /* A part of what is a larger page now is the same translation. */
        stale = ~e->mask > leaf.mask ||
                leaf.addr + (iova & leaf.mask) != addr ||
                (e->access_flags & ~leaf.perm);
    }
    vtd_audit_note(audit, stale, iova, e->pasid);
}

static void vtd_audit_pasid_entry(IntelIOMMUState *s, uint16_t sid,
                                  uint32_t pasid, const VTDPASIDEntry *pe,
                                  void *opaque)
{
    VTDAddressSpace *as = vtd_get_as_by_sid(s, sid);
    VTDFSBinding b;
    bool same;

    same = as && vtd_audit_bind(s, as->bus, as->devfn, pasid, &b) &&
           !memcmp(&b.pe, pe, sizeof(*pe));
    vtd_audit_note(opaque, !same, 0, pasid);
}

/* Some function behind this unit that is bound to the tag of @e */
static bool vtd_audit_find_owner(IntelIOMMUState *s, const VTDIOTLBEntry *e,
                                 VTDFSBinding *b)
{
    VTDAddressSpace *as = vtd_get_as_by_sid(s, e->source_id);
    GHashTableIter iter;

    if (as && vtd_audit_bind(s, as->bus, as->devfn, e->pasid, b) &&
        b->did == e->domain_id) {
        return true;
    }
    g_hash_table_iter_init(&iter, s->vtd_address_spaces);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&as)) {
        if (as->pasid == PCI_NO_PASID &&
            vtd_audit_bind(s, as->bus, as->devfn, e->pasid, b) &&
            b->did == e->domain_id) {
            return true;
        }
    }
    return false;
}

/*
 * First-stage IOTLB entries and the PASID cache. For the unit as a whole, an
 * entry whose tag nobody uses any more is stale: the next one to get the tag
 * would find it.
 */
static void vtd_sva_audit(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                          PCISVAAudit *audit)
{
    IntelIOMMUState *s = opaque;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    const VTDPASIDEntry *cached;
    VTDIOTLBEntry *e;
    GHashTableIter iter;
    VTDFSBinding b;
    uint16_t did;
    bool bound;

    if (!s->dmar_enabled || !s->root_scalable) {
        return;
    }

    QEMU_LOCK_GUARD(&s->iommu_lock);
    g_hash_table_iter_init(&iter, s->iotlb);
    if (pasid == PCI_NO_PASID) {
        vtd_pasid_cache_foreach(s, vtd_audit_pasid_entry, audit);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&e)) {
            if (e->pgtt == VTD_SM_PASID_ENTRY_FLT) {
                bound = vtd_audit_find_owner(s, e, &b);
                vtd_audit_iotlb(s, e, bound ? &b : NULL, audit);
            }
        }
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
    while (g_hash_table_iter_next(&iter, NULL, (void **)&e)) {
        if (e->pgtt == VTD_SM_PASID_ENTRY_FLT && e->pasid == pasid &&
            e->domain_id == did) {
            vtd_audit_iotlb(s, e, bound ? &b : NULL, audit);
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

const PCISVAOps vtd_sva_ops = {
    .get_address_space = vtd_sva_get_address_space,
    .translate = vtd_sva_translate,
    .page_request = vtd_sva_page_request,
    .probe = vtd_sva_probe,
    .audit = vtd_sva_audit,
    .counters = vtd_sva_counters,
    .drop = vtd_sva_drop,
    .drop_left = vtd_sva_drop_left,
};

void vtd_sva_reset(IntelIOMMUState *s)
{
    memset(&s->counters, 0, sizeof(s->counters));
    s->drop_kind = PCI_SVA_INV_NONE;
    s->drop_nth = 0;

    if (s->ecap & VTD_ECAP_PRS) {
        vtd_define_quad(s, DMAR_PQH_REG, 0, VTD_PQ_OFFSET_MASK, 0);
        vtd_define_quad(s, DMAR_PQT_REG, 0, VTD_PQ_OFFSET_MASK, 0);
        vtd_define_quad(s, DMAR_PQA_REG, 0, 0xfffffffffffff007ULL, 0);
        vtd_define_long(s, DMAR_PRS_REG, 0, 0, VTD_PRS_PPR | VTD_PRS_PRO);
        vtd_define_long(s, DMAR_PECTL_REG, VTD_PECTL_IM, VTD_PECTL_IM, 0);
        vtd_define_long(s, DMAR_PEDATA_REG, 0, 0xffffffffUL, 0);
        vtd_define_long(s, DMAR_PEADDR_REG, 0, 0xfffffffcUL, 0);
        /* RsvdZ without extended interrupt mode, like the other events' */
        vtd_define_long(s, DMAR_PEUADDR_REG, 0, 0, 0);
    }
}
