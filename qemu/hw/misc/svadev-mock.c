/*
 * svadev-mock, the IOMMU of svadev's qtest
 *
 * Its page tables are a hash table that the test fills through registers, its
 * commands are register writes. It stands in front of all of its bus, has no
 * IOTLB (an audit finds none stale), and passes on requests without ATS to the
 * address with the same number, for PASIDs below 8 only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/misc/svadev_mock.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_sva.h"
#include "migration/vmstate.h"
#include "qemu/module.h"
#include "qemu/units.h"

#define TYPE_SVADEV_MOCK "svadev-mock"
OBJECT_DECLARE_SIMPLE_TYPE(MockState, SVADEV_MOCK)

#define MOCK_PAGE       (4 * KiB)
#define MOCK_PASIDS     8
#define MOCK_MAPPINGS   4096            /* then MAP has no effect */
#define N_REGS          (SVADEV_MOCK_END / sizeof(uint64_t))

struct MockState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    uint64_t regs[N_REGS];
    GHashTable *pages;          /* mock_key() -> PA | PERM */
};

static uint64_t *reg(MockState *s, hwaddr addr)
{
    return &s->regs[addr / sizeof(uint64_t)];
}

/* VA's low 12 bits are free; PASIDs of the test are small, or none. */
static uint64_t *mock_key(uint32_t pasid, hwaddr va)
{
    uint64_t key = (va & ~(MOCK_PAGE - 1)) | (pasid & (MOCK_PAGE - 1));

    return g_memdup2(&key, sizeof(key));
}

static uint64_t mock_walk(MockState *s, uint32_t pasid, hwaddr va)
{
    g_autofree uint64_t *key = mock_key(pasid, va);
    uint64_t *entry = g_hash_table_lookup(s->pages, key);

    return entry ? *entry : 0;
}

static AddressSpace *mock_dma_as(PCIBus *bus, void *opaque, int devfn)
{
    return &address_space_memory;
}

static AddressSpace *mock_pasid_as(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid)
{
    return pasid < MOCK_PASIDS ? &address_space_memory : NULL;
}

static PCIATSStatus mock_probe(PCIBus *bus, void *opaque, int devfn,
                               uint32_t pasid, hwaddr addr, PCIATSReply *reply)
{
    MockState *s = opaque;
    uint64_t entry = mock_walk(s, pasid, addr);
    uint64_t size = *reg(s, SVADEV_MOCK_BIG) ? 2 * MiB : MOCK_PAGE;

    *reply = (PCIATSReply) {
        .iova = addr & ~(size - 1),
        .addr = entry & ~(size - 1),
        .mask = size - 1,
        .perm = entry & IOMMU_RW,
    };
    return PCI_ATS_OK;
}

static PCIATSStatus mock_translate(PCIBus *bus, void *opaque, int devfn,
                                   uint32_t pasid, hwaddr addr,
                                   IOMMUAccessFlags perm, PCIATSReply *reply)
{
    uint64_t refuse = *reg(opaque, SVADEV_MOCK_REFUSE);

    return refuse ? refuse : mock_probe(bus, opaque, devfn, pasid, addr, reply);
}

static bool mock_translated(PCIBus *bus, void *opaque, int devfn, hwaddr addr,
                            IOMMUAccessFlags perm)
{
    *reg(opaque, SVADEV_MOCK_ACC_ADDR) = addr;
    *reg(opaque, SVADEV_MOCK_ACC_PERM) = perm;
    return !(*reg(opaque, SVADEV_MOCK_REFUSE_ACC) & perm);
}

static bool mock_page_request(PCIBus *bus, void *opaque, int devfn,
                              const PCIPageRequest *req)
{
    MockState *s = opaque;

    (*reg(s, SVADEV_MOCK_REQUESTS))++;
    *reg(s, SVADEV_MOCK_REQ_ADDR) = req->addr;
    *reg(s, SVADEV_MOCK_REQ_PRGI) = req->prgi;
    *reg(s, SVADEV_MOCK_REQ_PASID) = req->pasid;
    *reg(s, SVADEV_MOCK_REQ_PERM) = req->perm;
    if (*reg(s, SVADEV_MOCK_ANSWER) == SVADEV_MOCK_AT_ONCE) {
        pci_pri_respond(pci_find_device(bus, pci_bus_num(bus), devfn),
                        req->pasid, req->prgi, *reg(s, SVADEV_MOCK_CODE));
    }
    return *reg(s, SVADEV_MOCK_ANSWER) != SVADEV_MOCK_DENY;
}

static void mock_audit(PCIBus *bus, void *opaque, int devfn, uint32_t pasid,
                       PCISVAAudit *audit)
{
}

static void mock_counters(PCIBus *bus, void *opaque, PCISVACounters *counters,
                          unsigned *unit)
{
    *counters = (PCISVACounters) {
        .iotlb_range = 1,
        .page_requests = *reg(opaque, SVADEV_MOCK_REQUESTS),
        .iotlb_misses = 13,
        .timeouts = 17,
        .refused_accesses = 18,
        .refused_translations = 19,
        .refused_page_requests = 20,
        .evicted = 21,
        .fault_reason = 22,
        .timeouts_named = 23,
    };
    *unit = 7;
}

static void mock_drop(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                      uint32_t nth)
{
    *reg(opaque, SVADEV_MOCK_DROP_KIND) = kind;
    *reg(opaque, SVADEV_MOCK_DROP_NTH) = nth;
}

static uint32_t mock_drop_left(PCIBus *bus, void *opaque)
{
    return *reg(opaque, SVADEV_MOCK_DROP_NTH);
}

static void mock_late(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                      uint32_t ns)
{
    *reg(opaque, SVADEV_MOCK_LATE_KIND) = kind;
    *reg(opaque, SVADEV_MOCK_LATE_NS) = ns;
}

static const PCISVAOps mock_sva_ops = {
    .get_address_space = mock_pasid_as,
    .translate = mock_translate,
    .translated = mock_translated,
    .page_request = mock_page_request,
    .probe = mock_probe,
    .audit = mock_audit,
    .counters = mock_counters,
    .drop = mock_drop,
    .drop_left = mock_drop_left,
    .late = mock_late,
};

static const PCIIOMMUOps mock_iommu_ops = {
    .get_address_space = mock_dma_as,
    .sva = &mock_sva_ops,
};

static void mock_command(MockState *s, uint64_t cmd)
{
    PCIBus *bus = pci_get_bus(PCI_DEVICE(s));
    PCIDevice *dev = pci_find_device(bus, pci_bus_num(bus),
                                     *reg(s, SVADEV_MOCK_DEVFN));
    uint32_t pasid = *reg(s, SVADEV_MOCK_PASID);
    hwaddr va = *reg(s, SVADEV_MOCK_VA);
    uint64_t entry = *reg(s, SVADEV_MOCK_PA) | *reg(s, SVADEV_MOCK_PERM);

    switch (cmd) {
    case SVADEV_MOCK_MAP:
        if (g_hash_table_size(s->pages) < MOCK_MAPPINGS) {
            g_hash_table_replace(s->pages, mock_key(pasid, va),
                                 g_memdup2(&entry, sizeof(entry)));
        }
        break;
    case SVADEV_MOCK_INVALIDATE:
        *reg(s, SVADEV_MOCK_COMPLETED) =
            pci_ats_invalidate(dev, pasid, va, *reg(s, SVADEV_MOCK_SIZE));
        break;
    case SVADEV_MOCK_RESPOND:
        pci_pri_respond(dev, pasid, *reg(s, SVADEV_MOCK_PRGI),
                        *reg(s, SVADEV_MOCK_CODE));
        break;
    }
}

static uint64_t mock_read(void *opaque, hwaddr addr, unsigned size)
{
    return addr < SVADEV_MOCK_END ? *reg(opaque, addr) : 0;
}

static void mock_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    if (addr == SVADEV_MOCK_CMD) {
        mock_command(opaque, val);
    } else if (addr < SVADEV_MOCK_END) {
        *reg(opaque, addr) = val;
    }
}

static const MemoryRegionOps mock_ops = {
    .read = mock_read,
    .write = mock_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 8, .max_access_size = 8 },
    .impl = { .min_access_size = 8, .max_access_size = 8 },
};

static void mock_realize(PCIDevice *dev, Error **errp)
{
    MockState *s = SVADEV_MOCK(dev);

    s->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                     g_free);
    memory_region_init_io(&s->mmio, OBJECT(s), &mock_ops, s, "svadev-mock",
                          MOCK_PAGE);
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
    pci_setup_iommu(pci_get_bus(dev), &mock_iommu_ops, s);
}

static const VMStateDescription mock_vmstate = {
    .name = TYPE_SVADEV_MOCK,
    .unmigratable = true,
};

static void mock_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);

    k->realize = mock_realize;
    k->vendor_id = SVADEV_MOCK_VENDOR_ID;
    k->device_id = SVADEV_MOCK_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "IOMMU of svadev's qtest";
    dc->vmsd = &mock_vmstate;
    /* nothing takes an IOMMU away from a bus that has devices */
    dc->hotpluggable = false;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo mock_types[] = {
    {
        .name = TYPE_SVADEV_MOCK,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(MockState),
        .class_init = mock_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(mock_types)
