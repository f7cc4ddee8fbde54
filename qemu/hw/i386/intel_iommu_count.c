/*
 * Intel VT-d: counters, and invalidations that get lost on purpose
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_sva.h"
#include "intel_iommu_internal.h"
#include "trace.h"

/*
 * Range of a device-TLB invalidation: with the S bit, the number of ones from
 * bit 12 of the address up says how large it is.
 */
uint64_t vtd_atc_range(hwaddr *addr, bool s_bit)
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

PCISVAInvKind vtd_inv_kind(const VTDInvDesc *desc)
{
    switch (VTD_INV_DESC_TYPE(desc->lo)) {
    case VTD_INV_DESC_CC:
    case VTD_INV_DESC_PC:
        return PCI_SVA_INV_CONFIG;
    case VTD_INV_DESC_IOTLB:
    case VTD_INV_DESC_PIOTLB:
        return PCI_SVA_INV_IOTLB;
    case VTD_INV_DESC_DEVICE:
    case VTD_INV_DESC_DEV_PIOTLB:
        return PCI_SVA_INV_ATC;
    case VTD_INV_DESC_WAIT:
        return PCI_SVA_INV_SYNC;
    default:
        return PCI_SVA_INV_NONE;
    }
}

static void vtd_count_atc(PCISVACounters *c, hwaddr addr, bool s_bit)
{
    if (vtd_atc_range(&addr, s_bit) == PCI_ATS_ALL) {
        c->atc_all++;
    } else {
        c->atc_range++;
    }
}

static void vtd_count_inv_desc(PCISVACounters *c, const VTDInvDesc *desc)
{
    switch (VTD_INV_DESC_TYPE(desc->lo)) {
    case VTD_INV_DESC_CC:
    case VTD_INV_DESC_PC:
        c->config++;
        break;
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
        break;
    case VTD_INV_DESC_PIOTLB:
        if ((desc->lo & VTD_INV_DESC_PIOTLB_G) ==
            VTD_INV_DESC_PIOTLB_ALL_IN_PASID) {
            c->iotlb_tag++;
        } else {
            c->iotlb_range++;
        }
        break;
    case VTD_INV_DESC_DEVICE:
        vtd_count_atc(c, VTD_INV_DESC_DEVICE_IOTLB_ADDR(desc->hi),
                      VTD_INV_DESC_DEVICE_IOTLB_SIZE(desc->hi));
        break;
    case VTD_INV_DESC_DEV_PIOTLB:
        vtd_count_atc(c, VTD_INV_DESC_PASID_DEVICE_IOTLB_ADDR(desc->hi),
                      VTD_INV_DESC_PASID_DEVICE_IOTLB_SIZE(desc->hi));
        break;
    case VTD_INV_DESC_WAIT:
        c->sync++;
        break;
    }
}

/* Count a descriptor. Returns whether it is to be lost (PCISVAOps.drop). */
bool vtd_sva_count(IntelIOMMUState *s, const VTDInvDesc *desc)
{
    vtd_count_inv_desc(&s->counters, desc);
    if (!s->drop_nth || vtd_inv_kind(desc) != s->drop_kind || --s->drop_nth) {
        return false;
    }
    s->counters.dropped++;
    trace_vtd_inv_desc_dropped(desc->hi, desc->lo);
    return true;
}

void vtd_count_reset(IntelIOMMUState *s)
{
    memset(&s->counters, 0, sizeof(s->counters));
    s->drop_kind = PCI_SVA_INV_NONE;
    s->drop_nth = 0;
}
