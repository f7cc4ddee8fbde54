/*
 * Device tree of the SMMUv3 that -device has put into the machine
 *
 * Each has a part of the PCI hierarchy, below its primary bus. The device tree
 * names that part by bus numbers, which the guest gives out: it is Linux's
 * way, depth first in the order of the ports, that is assumed here.
 *
 * Functions whose requests may be stalled have nodes of their own, which say so.
 * Linux finds them by their place, and the bridges above them as well.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <libfdt.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/arm/fdt.h"
#include "hw/arm/smmuv3.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_sva.h"
#include "system/device_tree.h"

#define SMMU_WINDOW_SIZE        0x20000

typedef struct SMMUv3FDT {
    void *fdt;
    const char *pcie_node;
    PCIBus *root;
    PlatformBusDevice *pbus;
    hwaddr base;                /* of the platform bus */
    int irq_start;
    GArray *map;                /* iommu-map, of IOMMUMapEntry */
    bool ats;
} SMMUv3FDT;

/* All big endian */
typedef struct IOMMUMapEntry {
    uint32_t rid;
    uint32_t phandle;
    uint32_t stream;
    uint32_t length;
} IOMMUMapEntry;

/* Numbers of a bus and of the last bus below it */
typedef struct BusRange {
    int first;
    int last;
} BusRange;

/* Number @bus and what is below it from *@next on; note where @wanted is. */
static void smmuv3_number_buses(PCIBus *bus, PCIBus *wanted, int *next,
                                BusRange *range)
{
    int first = (*next)++;

    for (int devfn = 0; devfn < ARRAY_SIZE(bus->devices); devfn++) {
        PCIDevice *dev = bus->devices[devfn];

        if (dev && IS_PCI_BRIDGE(dev)) {
            smmuv3_number_buses(pci_bridge_get_sec_bus(PCI_BRIDGE(dev)),
                                wanted, next, range);
        }
    }
    if (bus == wanted) {
        *range = (BusRange) { first, *next - 1 };
    }
}

static void smmuv3_add_map(SMMUv3FDT *f, const BusRange *range,
                           uint32_t phandle)
{
    uint32_t rid = PCI_BUILD_BDF(range->first, 0);
    IOMMUMapEntry entry = {
        .rid = cpu_to_be32(rid),
        .phandle = cpu_to_be32(phandle),
        .stream = cpu_to_be32(rid),
        .length = cpu_to_be32((range->last - range->first + 1) << 8),
    };

    g_array_append_val(f->map, entry);
}

/* The first match wins; and of two ranges that meet, one is inside the other. */
static int smmuv3_narrower_first(const void *a, const void *b)
{
    uint32_t first = be32_to_cpu(((const IOMMUMapEntry *)a)->length);
    uint32_t second = be32_to_cpu(((const IOMMUMapEntry *)b)->length);

    return first < second ? -1 : first > second;
}

static uint32_t smmuv3_add_node(SMMUv3FDT *f, SysBusDevice *dev)
{
    const char irq_names[] = "eventq\0priq\0cmdq-sync\0gerror";
    hwaddr base = f->base + platform_bus_get_mmio_addr(f->pbus, dev, 0);
    g_autofree char *node = g_strdup_printf("/smmuv3@%" PRIx64, base);
    uint32_t phandle = qemu_fdt_alloc_phandle(f->fdt);
    uint32_t irqs[4 * 3];

    for (int i = 0; i < 4; i++) {
        int irq = f->irq_start + platform_bus_get_irqn(f->pbus, dev, i);

        irqs[3 * i] = cpu_to_be32(GIC_FDT_IRQ_TYPE_SPI);
        irqs[3 * i + 1] = cpu_to_be32(irq);
        irqs[3 * i + 2] = cpu_to_be32(GIC_FDT_IRQ_FLAGS_EDGE_LO_HI);
    }
    qemu_fdt_add_subnode(f->fdt, node);
    qemu_fdt_setprop_string(f->fdt, node, "compatible", "arm,smmu-v3");
    qemu_fdt_setprop_sized_cells(f->fdt, node, "reg", 2, base,
                                 2, SMMU_WINDOW_SIZE);
    qemu_fdt_setprop(f->fdt, node, "interrupts", irqs, sizeof(irqs));
    qemu_fdt_setprop(f->fdt, node, "interrupt-names", irq_names,
                     sizeof(irq_names));
    qemu_fdt_setprop(f->fdt, node, "dma-coherent", NULL, 0);
    qemu_fdt_setprop_cell(f->fdt, node, "#iommu-cells", 1);
    qemu_fdt_setprop_cell(f->fdt, node, "phandle", phandle);
    return phandle;
}

/* The path of @dev's node, which is made with those of the bridges above. */
static char *smmuv3_pci_node(SMMUv3FDT *f, PCIDevice *dev)
{
    PCIBus *bus = pci_get_bus(dev);
    g_autofree char *parent = pci_bus_is_root(bus) ? g_strdup(f->pcie_node) :
                              smmuv3_pci_node(f, bus->parent_dev);
    char *node = g_strdup_printf("%s/pci@%x,%x", parent,
                                 PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn));

    if (fdt_path_offset(f->fdt, node) >= 0) {
        return node;
    }
    qemu_fdt_add_subnode(f->fdt, node);
    qemu_fdt_setprop_cells(f->fdt, node, "reg", dev->devfn << 8, 0, 0, 0, 0);
    if (IS_PCI_BRIDGE(dev)) {
        qemu_fdt_setprop_string(f->fdt, node, "device_type", "pci");
        qemu_fdt_setprop_cell(f->fdt, node, "#address-cells", 3);
        qemu_fdt_setprop_cell(f->fdt, node, "#size-cells", 2);
        qemu_fdt_setprop(f->fdt, node, "ranges", NULL, 0);
    }
    return node;
}

typedef struct SMMUv3Stalling {
    SMMUv3FDT *f;
    void *smmu;
} SMMUv3Stalling;

/* A Translation Request never stalls: with ATS there is nothing to be had. */
static void smmuv3_add_function(PCIBus *bus, PCIDevice *dev, void *opaque)
{
    SMMUv3Stalling *stalling = opaque;
    SMMUv3FDT *f = stalling->f;
    PCIBus *iommu_bus = NULL;
    g_autofree char *node = NULL;
    uint16_t pasid = dev->exp.pasid_cap;

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, NULL, NULL);
    if (!iommu_bus || iommu_bus->iommu_opaque != stalling->smmu ||
        !dev->sva_client || !dev->sva_client->resume || dev->exp.ats_cap) {
        return;
    }
    node = smmuv3_pci_node(f, dev);
    qemu_fdt_setprop(f->fdt, node, "dma-can-stall", NULL, 0);
    if (pasid) {
        pasid = pci_get_word(dev->config + pasid + PCI_PASID_CAP);
        qemu_fdt_setprop_cell(f->fdt, node, "pasid-num-bits",
                              pasid >> ctz32(PCI_PASID_CAP_WIDTH) & 0x1f);
    }
}

static void smmuv3_add_bus(PCIBus *bus, void *opaque)
{
    pci_for_each_device_under_bus(bus, smmuv3_add_function, opaque);
}

static void smmuv3_add(SysBusDevice *dev, void *opaque)
{
    SMMUv3FDT *f = opaque;
    BusRange range = { .first = -1 };
    PCIBus *primary;
    int next = 0;

    if (!object_dynamic_cast(OBJECT(dev), TYPE_ARM_SMMUV3)) {
        return;
    }
    primary = ARM_SMMU(dev)->primary_bus;
    smmuv3_number_buses(f->root, primary, &next, &range);
    if (range.first < 0) {
        error_report("primary-bus %s of " TYPE_ARM_SMMUV3
                     " is not below the machine's PCI host bridge",
                     BUS(primary)->name);
        exit(1);
    }
    smmuv3_add_map(f, &range, smmuv3_add_node(f, dev));
    f->ats |= object_property_get_bool(OBJECT(dev), "x-ats", NULL);
    if (object_property_get_bool(OBJECT(dev), "x-stall", NULL)) {
        SMMUv3Stalling stalling = { .f = f, .smmu = dev };

        pci_for_each_bus(primary, smmuv3_add_bus, &stalling);
    }
}

void smmuv3_add_fdt_nodes(void *fdt, const char *pcie_node, PCIBus *root,
                          PlatformBusDevice *pbus, hwaddr base, int irq_start)
{
    SMMUv3FDT f = {
        .fdt = fdt,
        .pcie_node = pcie_node,
        .root = root,
        .pbus = pbus,
        .base = base,
        .irq_start = irq_start,
        .map = g_array_new(false, false, sizeof(IOMMUMapEntry)),
    };
    Error *none = NULL;
    const void *others;
    int len = 0;

    foreach_dynamic_sysbus_device(smmuv3_add, &f);
    if (f.map->len) {
        g_array_sort(f.map, smmuv3_narrower_first);
        /* The machine's own SMMU has what is left. */
        others = qemu_fdt_getprop(fdt, pcie_node, "iommu-map", &len,
                                  &none);
        if (others) {
            g_array_append_vals(f.map, others, len / sizeof(IOMMUMapEntry));
        }
        error_free(none);
        qemu_fdt_setprop(fdt, pcie_node, "iommu-map", f.map->data,
                         f.map->len * sizeof(IOMMUMapEntry));
    }
    if (f.ats) {
        qemu_fdt_setprop(fdt, pcie_node, "ats-supported", NULL, 0);
    }
    g_array_free(f.map, true);
}
