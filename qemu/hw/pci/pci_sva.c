/*
 * PCI Express messages of Shared Virtual Addressing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_sva.h"
#include "hw/pci/pcie.h"

/* A function's way to its IOMMU. @ops is NULL where there is none. */
typedef struct SVARoute {
    const PCISVAOps *ops;
    void *opaque;
    PCIBus *bus;
    int devfn;
} SVARoute;

static SVARoute sva_route(PCIDevice *dev)
{
    SVARoute route = { };
    PCIBus *iommu_bus;

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, &route.bus, &route.devfn);
    if (iommu_bus) {
        route.ops = iommu_bus->iommu_ops->sva;
        route.opaque = iommu_bus->iommu_opaque;
    }
    return route;
}

void pcie_pasid_init(PCIDevice *dev, uint16_t offset, uint8_t bits)
{
    assert(bits >= 1 && bits <= 20);
    pcie_add_capability(dev, PCI_EXT_CAP_ID_PASID, 1, offset,
                        PCI_EXT_CAP_PASID_SIZEOF);
    dev->exp.pasid_cap = offset;
    pci_set_word(dev->config + offset + PCI_PASID_CAP,
                 bits << ctz32(PCI_PASID_CAP_WIDTH));
    pci_set_word(dev->wmask + offset + PCI_PASID_CTRL, PCI_PASID_CTRL_ENABLE);
}

void pcie_pri_init(PCIDevice *dev, uint16_t offset, uint32_t max_requests)
{
    pcie_add_capability(dev, PCI_EXT_CAP_ID_PRI, 1, offset,
                        PCI_EXT_CAP_PRI_SIZEOF);
    dev->exp.pri_cap = offset;
    pci_set_word(dev->config + offset + PCI_PRI_STATUS,
                 PCI_PRI_STATUS_STOPPED | PCI_PRI_STATUS_PASID);
    pci_set_long(dev->config + offset + PCI_PRI_MAX_REQ, max_requests);
    pci_set_word(dev->wmask + offset + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
    pci_set_word(dev->w1cmask + offset + PCI_PRI_STATUS,
                 PCI_PRI_STATUS_RF | PCI_PRI_STATUS_UPRGI);
    pci_set_long(dev->wmask + offset + PCI_PRI_ALLOC_REQ, UINT32_MAX);
}

bool pcie_pasid_enabled(const PCIDevice *dev)
{
    return dev->exp.pasid_cap &&
        pci_get_word(dev->config + dev->exp.pasid_cap + PCI_PASID_CTRL) &
        PCI_PASID_CTRL_ENABLE;
}

bool pcie_pri_enabled(const PCIDevice *dev)
{
    return dev->exp.pri_cap &&
        pci_get_word(dev->config + dev->exp.pri_cap + PCI_PRI_CTRL) &
        PCI_PRI_CTRL_ENABLE;
}

bool pcie_ats_enabled(const PCIDevice *dev)
{
    return dev->exp.ats_cap &&
        pci_get_word(dev->config + dev->exp.ats_cap + PCI_ATS_CTRL) &
        PCI_ATS_CTRL_ENABLE;
}

void pci_sva_set_client(PCIDevice *dev, const PCISVAClientOps *ops)
{
    dev->sva_client = ops;
}

AddressSpace *pci_sva_address_space(PCIDevice *dev, uint32_t pasid)
{
    SVARoute r = sva_route(dev);

    if (!r.ops) {
        return NULL;
    }
    return r.ops->get_address_space(r.bus, r.opaque, r.devfn, pasid);
}

PCIATSStatus pci_ats_translate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                               IOMMUAccessFlags perm, PCIATSReply *reply)
{
    SVARoute r = sva_route(dev);

    if (!r.ops) {
        return PCI_ATS_UR;
    }
    return r.ops->translate(r.bus, r.opaque, r.devfn, pasid, addr, perm, reply);
}

bool pci_ats_access(PCIDevice *dev, hwaddr addr, IOMMUAccessFlags perm)
{
    SVARoute r = sva_route(dev);

    return r.ops && r.ops->translated(r.bus, r.opaque, r.devfn, addr, perm);
}

bool pci_pri_request(PCIDevice *dev, const PCIPageRequest *req)
{
    SVARoute r = sva_route(dev);

    return r.ops && r.ops->page_request(r.bus, r.opaque, r.devfn, req);
}

bool pci_ats_invalidate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                        uint64_t size)
{
    return dev && dev->sva_client &&
        dev->sva_client->invalidate(dev, pasid, addr, size);
}

void pci_pri_respond(PCIDevice *dev, uint32_t pasid, uint16_t prgi,
                     PCIPRIResponse code)
{
    if (dev && dev->sva_client) {
        dev->sva_client->page_response(dev, pasid, prgi, code);
    }
}

void pci_stall_begin(PCIDevice *dev)
{
    dev->sva_may_stall = true;
}

uint64_t pci_stall_end(PCIDevice *dev)
{
    uint64_t id = dev->sva_stall;

    dev->sva_may_stall = false;
    dev->sva_stall = 0;
    return id;
}

bool pci_may_stall(const PCIDevice *dev)
{
    return dev && dev->sva_may_stall && !dev->sva_stall &&
        dev->sva_client && dev->sva_client->resume;
}

void pci_stall(PCIDevice *dev, uint64_t id)
{
    dev->sva_stall = id;
}

void pci_stall_resume(PCIDevice *dev, uint64_t id, PCIStallEnd how)
{
    if (dev && dev->sva_client && dev->sva_client->resume) {
        dev->sva_client->resume(dev, id, how);
    }
}

PCIATSStatus pci_sva_probe(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                           PCIATSReply *reply)
{
    SVARoute r = sva_route(dev);

    if (!r.ops) {
        return PCI_ATS_UR;
    }
    return r.ops->probe(r.bus, r.opaque, r.devfn, pasid, addr, reply);
}

void pci_sva_audit(PCIDevice *dev, uint32_t pasid, PCISVAAudit *audit)
{
    SVARoute r = sva_route(dev);

    if (r.ops) {
        r.ops->audit(r.bus, r.opaque, r.devfn, pasid, audit);
    }
}

void pci_sva_audit_note(PCISVAAudit *audit, PCISVACache cache, bool stale,
                        hwaddr addr, hwaddr mask, uint32_t pasid)
{
    audit->checked++;
    audit->cached[cache] += cache == PCI_SVA_CACHE_CONFIG ||
                            (addr >= audit->first &&
                             (addr | mask) <= audit->last);
    if (stale) {
        audit->stale++;
        audit->addr = addr;
        audit->pasid = pasid;
    }
}

bool pci_sva_counters(PCIDevice *dev, PCISVACounters *counters,
                      unsigned *unit)
{
    SVARoute r = sva_route(dev);

    if (r.ops) {
        r.ops->counters(r.bus, r.opaque, counters, unit);
    }
    return r.ops;
}

void pci_sva_drop(PCIDevice *dev, PCISVAInvKind kind, uint32_t nth)
{
    SVARoute r = sva_route(dev);

    if (r.ops) {
        r.ops->drop(r.bus, r.opaque, kind, nth);
    }
}

uint32_t pci_sva_drop_left(PCIDevice *dev)
{
    SVARoute r = sva_route(dev);

    return r.ops ? r.ops->drop_left(r.bus, r.opaque) : 0;
}

void pci_sva_late(PCIDevice *dev, PCISVAInvKind kind, uint32_t ns)
{
    SVARoute r = sva_route(dev);

    if (r.ops) {
        r.ops->late(r.bus, r.opaque, kind, ns);
    }
}
