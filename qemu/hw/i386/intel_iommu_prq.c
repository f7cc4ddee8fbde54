/*
 * Intel VT-d: page request queue and page group responses
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

/* Returns 0, or the negative fault reason; *@fpd is valid in any case. */
static int vtd_prq_may_send(IntelIOMMUState *s, PCIBus *bus, uint8_t devfn,
                            uint32_t pasid, bool *fpd)
{
    VTDContextEntry ce;
    int ret;

    *fpd = false;
    if (!s->root_scalable) {
        return -VTD_FR_LEGACY_PAGE_REQ;
    }
    ret = vtd_fs_context(s, bus, devfn, pasid, 0, &ce, fpd);
    if (!ret && !(ce.lo & VTD_SM_CONTEXT_ENTRY_PRE)) {
        ret = -VTD_FR_SM_PRE;
    }
    return ret;
}

/* Returns whether software will see the request. */
bool vtd_prq_request(IntelIOMMUState *s, PCIBus *bus, uint8_t devfn,
                     const PCIPageRequest *req)
{
    bool has_pasid = req->pasid != PCI_NO_PASID;
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    uint64_t pqa, mask, tail, desc[4] = { };
    bool fpd;
    int ret;

    trace_vtd_page_request(sid, req->pasid, req->addr, req->prgi, req->perm,
                           req->last);
    if (!s->dmar_enabled || !(s->ecap & VTD_ECAP_PRS)) {
        s->counters.refused_page_requests++;
        vtd_prq_auto_respond(s, bus, devfn, req, PCI_PRI_INVALID);
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&s->iommu_lock) {
        ret = vtd_prq_may_send(s, bus, devfn, req->pasid, &fpd);
        if (ret) {
            vtd_report_fault(s, -ret, fpd, sid, req->addr,
                             req->perm & IOMMU_WO, has_pasid,
                             has_pasid ? req->pasid : 0);
        }
    }
    if (ret) {
        s->counters.refused_page_requests++;
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
                         desc, sizeof(desc), VTD_RAM_ONLY)) {
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

void vtd_prq_reset(IntelIOMMUState *s)
{
    if (!(s->ecap & VTD_ECAP_PRS)) {
        return;
    }
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
