/*
 * SMMUv3: the instance's side of hw/pci/pci_sva.h
 *
 * What is refused, and how the function is told, is that of Arm IHI 0070,
 * 3.9.1.2 and 3.9.1.3. Errors of the configuration are not recorded where ATS
 * runs into them (IDR0.ATSRECERR is 0).
 *
 * The audit leaves out what is combined of two stages, in the TLB, and the CDs
 * of streams that have both.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/arm/smmuv3.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_sva.h"
#include "hw/registerfields.h"
#include "smmuv3-internal.h"
#include "trace.h"

#define SMMUV3_SVA_PAGE         0x1000

/*
 * A function has one address space for requests with PASID, which is that of
 * the last PASID asked for. The guest chooses among 2^20, and what has been
 * made for one could never be freed. What it consists of depends on no PASID.
 */
static AddressSpace *smmuv3_sva_get_address_space(PCIBus *bus, void *opaque,
                                                  int devfn, uint32_t pasid)
{
    SMMUState *s = opaque;
    const PCIIOMMUOps *ops = s->primary_bus->iommu_ops;
    AddressSpace *as = ops->get_address_space(bus, opaque, devfn);
    SMMUDevice *sdev = container_of(as, SMMUDevice, as);

    if (!sdev->with_pasid) {
        g_autofree char *name = g_strdup_printf("%s-pasid", as->name);
        SMMUDevice *twin = g_new0(SMMUDevice, 1);

        twin->smmu = s;
        twin->bus = bus;
        twin->devfn = devfn;
        twin->ssv = true;
        memory_region_init_iommu(&twin->iommu, sizeof(twin->iommu),
                                 s->mrtypename, OBJECT(s), name, UINT64_MAX);
        address_space_init(&twin->as, MEMORY_REGION(&twin->iommu), name);
        sdev->with_pasid = twin;
    }
    sdev->with_pasid->ssid = pasid;
    return &sdev->with_pasid->as;
}

static SMMUv3Request smmuv3_sva_request(PCIBus *bus, int devfn, uint32_t pasid)
{
    bool ssv = pasid != PCI_NO_PASID;

    return (SMMUv3Request) {
        .sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn),
        .ssv = ssv,
        .ssid = ssv ? pasid : 0,
    };
}

static SMMUEventInfo smmuv3_sva_event(const SMMUv3Request *r)
{
    return (SMMUEventInfo) {
        .sid = r->sid,
        .ssv = r->ssv,
        .ssid = r->ssid,
        .inval_ste_allowed = true,
    };
}

static void smmuv3_sva_no_access(PCIATSReply *reply, hwaddr addr)
{
    reply->iova = addr & ~(hwaddr)(SMMUV3_SVA_PAGE - 1);
    reply->addr = 0;
    reply->mask = SMMUV3_SVA_PAGE - 1;
    reply->perm = IOMMU_NONE;
}

static void smmuv3_sva_identity(PCIATSReply *reply)
{
    reply->addr = reply->iova;
    reply->perm = IOMMU_RW;
}

static PCIATSStatus smmuv3_sva_lookup(SMMUv3State *s, SMMUTransCfg *cfg,
                                      hwaddr addr, IOMMUAccessFlags perm,
                                      PCIATSReply *reply)
{
    SMMUPTWEventInfo info = { };
    SMMUTLBEntry *e;

    e = smmu_translate(&s->smmu_state, cfg, addr,
                       perm & IOMMU_WO ? IOMMU_WO : IOMMU_RO, &info);
    if (!e && perm & IOMMU_WO && info.type == SMMU_PTW_ERR_PERMISSION) {
        /* What can be had of it is granted. */
        info = (SMMUPTWEventInfo) { };
        e = smmu_translate(&s->smmu_state, cfg, addr, IOMMU_RO, &info);
    }
    s->counters.iotlb_hits += cfg->iotlb_hits;
    s->counters.iotlb_misses += cfg->iotlb_misses;
    if (!e) {
        return info.type == SMMU_PTW_ERR_WALK_EABT ? PCI_ATS_CA : PCI_ATS_OK;
    }
    reply->iova = e->entry.iova;
    reply->addr = e->entry.translated_addr;
    reply->mask = e->entry.addr_mask;
    reply->perm = e->entry.perm & e->parent_perm & (perm | IOMMU_RO);
    return PCI_ATS_OK;
}

/* ATS is off for the stream: Unsupported Request, and mostly an event */
static bool smmuv3_sva_denies(const SMMUTransCfg *cfg, bool *event)
{
    *event = !cfg->aborted;
    return cfg->aborted || cfg->eats != STE_EATS_FULL;
}

/*
 * A CD, or the address of a table in it, that the second stage does not
 * translate is a page that is not there; an event without a type is such a
 * fault where none is to be recorded.
 */
static PCIATSStatus smmuv3_sva_config_failed(const SMMUEventInfo *event)
{
    return event->type == SMMU_EVT_NONE ||
           (event->type >= SMMU_EVT_F_TRANSLATION &&
            event->type <= SMMU_EVT_F_PERMISSION) ? PCI_ATS_OK : PCI_ATS_CA;
}

static PCIATSStatus smmuv3_sva_translate(PCIBus *bus, void *opaque, int devfn,
                                         uint32_t pasid, hwaddr addr,
                                         IOMMUAccessFlags perm,
                                         PCIATSReply *reply)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUv3Request r = smmuv3_sva_request(bus, devfn, pasid);
    SMMUEventInfo event = smmuv3_sva_event(&r);
    PCIATSStatus status = PCI_ATS_OK;
    bool denied = true, record = true;
    SMMUTransCfg cfg = { };

    smmuv3_sva_no_access(reply, addr);
    if (!FIELD_EX32(s->idr[0], IDR0, ATS)) {
        s->counters.refused_translations++;
        return PCI_ATS_UR;
    }
    WITH_QEMU_LOCK_GUARD(&s->mutex) {
        if (smmu_enabled(s)) {
            /* First that of the stream, then what depends on the PASID */
            denied = !smmuv3_decode_stream(s, &r, false, &cfg, &event) &&
                     smmuv3_sva_denies(&cfg, &record);
            if (!denied &&
                smmuv3_decode_config(s, &r, false, &cfg, &event)) {
                status = smmuv3_sva_config_failed(&event);
            } else if (!denied && cfg.bypassed) {
                smmuv3_sva_identity(reply);
            } else if (!denied) {
                status = smmuv3_sva_lookup(s, &cfg, addr, perm, reply);
            }
        }
    }
    if (denied) {
        status = PCI_ATS_UR;
        s->counters.refused_translations++;
        if (record) {
            event.type = SMMU_EVT_F_BAD_ATS_TREQ;
            event.u.f_bad_ats_treq.addr = addr;
            smmuv3_record_event(s, &event);
        }
    }
    trace_smmuv3_ats_translate(r.sid, pasid, addr, perm, status, reply->perm);
    return status;
}

/*
 * A request with translated address is checked only while CR0.ATSCHK is set,
 * and against the STE alone: its PASID, which it may have, does not count
 * (IDR3.PASIDTT is 0).
 */
static bool smmuv3_sva_translated(PCIBus *bus, void *opaque, int devfn,
                                  hwaddr addr, IOMMUAccessFlags perm)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUv3Request r = smmuv3_sva_request(bus, devfn, PCI_NO_PASID);
    SMMUEventInfo event = smmuv3_sva_event(&r);
    bool allowed = false, record = true;
    SMMUTransCfg cfg = { };

    if (smmu_enabled(s) && !FIELD_EX32(s->cr[0], CR0, ATSCHK)) {
        allowed = true;
    } else if (smmu_enabled(s)) {
        QEMU_LOCK_GUARD(&s->mutex);
        if (smmuv3_decode_stream(s, &r, false, &cfg, &event)) {
            record = false;
        } else if (!smmuv3_sva_denies(&cfg, &record)) {
            allowed = !cfg.stream_disabled;
            record = false;
        }
    }
    if (!allowed) {
        s->counters.refused_accesses++;
    }
    if (!allowed && record) {
        event.type = SMMU_EVT_F_TRANS_FORBIDDEN;
        event.u.f_transl_forbidden.addr = addr;
        event.u.f_transl_forbidden.rnw = !(perm & IOMMU_WO);
        smmuv3_record_event(s, &event);
    }
    trace_smmuv3_ats_access(r.sid, addr, perm, allowed);
    return allowed;
}

/* IDR0.PRI is 0. */
static bool smmuv3_sva_page_request(PCIBus *bus, void *opaque, int devfn,
                                    const PCIPageRequest *req)
{
    ARM_SMMUV3(opaque)->counters.refused_page_requests++;
    return false;
}

static bool smmuv3_sva_peek(SMMUv3State *s, SMMUTransCfg *cfg, hwaddr addr,
                            SMMUTLBEntry *leaf)
{
    SMMUPTWEventInfo info = { };

    cfg->peek = true;
    return !cfg->aborted && !cfg->bypassed && cfg->stage != SMMU_NESTED &&
           !smmu_ptw(&s->smmu_state, cfg, addr, IOMMU_RO, leaf, &info);
}

static PCIATSStatus smmuv3_sva_probe(PCIBus *bus, void *opaque, int devfn,
                                     uint32_t pasid, hwaddr addr,
                                     PCIATSReply *reply)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUv3Request r = smmuv3_sva_request(bus, devfn, pasid);
    SMMUEventInfo event = smmuv3_sva_event(&r);
    SMMUTLBEntry leaf = { };
    SMMUTransCfg cfg;

    smmuv3_sva_no_access(reply, addr);
    if (!smmu_enabled(s)) {
        return PCI_ATS_UR;
    }

    QEMU_LOCK_GUARD(&s->mutex);
    if (smmuv3_decode_config(s, &r, true, &cfg, &event)) {
        return PCI_ATS_CA;
    }
    if (cfg.aborted) {
        return PCI_ATS_UR;
    }
    if (cfg.bypassed) {
        smmuv3_sva_identity(reply);
    } else if (smmuv3_sva_peek(s, &cfg, addr, &leaf)) {
        reply->iova = leaf.entry.iova;
        reply->addr = leaf.entry.translated_addr;
        reply->mask = leaf.entry.addr_mask;
        reply->perm = leaf.entry.perm;
    }
    return PCI_ATS_OK;
}

/* --- audit --- */

typedef struct SMMUv3Audit {
    SMMUv3State *s;
    PCISVAAudit *audit;
    GHashTable *owners;         /* of each tag, GArray of SMMUTransCfg */
    bool all;                   /* entries of tags without an owner, too */
    unsigned walks;             /* that may still be made */
} SMMUv3Audit;

/*
 * A guest chooses how many CDs have an ASID. So many that differ are compared;
 * in a system that works there is one.
 */
#define SMMUV3_OWNERS_MAX       64

/*
 * Nor are there more walks in one audit: a large entry may have become small
 * pages since, and each of them is looked at. Entries for which there are none
 * left are left out.
 */
#define SMMUV3_WALKS_MAX        (1 << 20)

/* An ASID; or a VMID, of what the second stage translates alone */
static gpointer smmuv3_audit_tag(int asid, int vmid)
{
    return GINT_TO_POINTER(asid >= 0 ? asid : ~vmid);
}

static void smmuv3_audit_config(void *opaque, uint32_t ssid, bool stale)
{
    SMMUv3Audit *a = opaque;

    pci_sva_audit_note(a->audit, PCI_SVA_CACHE_CONFIG, stale, 0, 0, ssid);
}

static bool smmuv3_audit_same_tables(const SMMUTransCfg *a,
                                     const SMMUTransCfg *b)
{
    const SMMUS2Cfg *s2a = &a->s2cfg, *s2b = &b->s2cfg;
    bool same = a->stage == b->stage && a->oas == b->oas && a->tbi == b->tbi &&
                s2a->vmid == s2b->vmid && s2a->vttb == s2b->vttb &&
                s2a->tsz == s2b->tsz && s2a->sl0 == s2b->sl0 &&
                s2a->granule_sz == s2b->granule_sz &&
                s2a->eff_ps == s2b->eff_ps;

    for (int i = 0; i < ARRAY_SIZE(a->tt) && same; i++) {
        same = a->tt[i].disabled == b->tt[i].disabled &&
               a->tt[i].ttb == b->tt[i].ttb && a->tt[i].tsz == b->tt[i].tsz &&
               a->tt[i].granule_sz == b->tt[i].granule_sz &&
               a->tt[i].had == b->tt[i].had;
    }
    return same;
}

static void smmuv3_audit_owner(void *opaque, uint32_t ssid,
                               const SMMUTransCfg *cfg)
{
    SMMUv3Audit *a = opaque;
    gpointer tag = smmuv3_audit_tag(cfg->asid, cfg->s2cfg.vmid);
    GArray *owners = g_hash_table_lookup(a->owners, tag);

    if (!owners) {
        owners = g_array_new(false, false, sizeof(SMMUTransCfg));
        g_hash_table_insert(a->owners, tag, owners);
    }
    for (guint i = 0; i < owners->len; i++) {
        if (smmuv3_audit_same_tables(&g_array_index(owners, SMMUTransCfg, i),
                                     cfg)) {
            return;
        }
    }
    if (owners->len < SMMUV3_OWNERS_MAX) {
        g_array_append_vals(owners, cfg, 1);
    }
}

/* Whether all of the TLB's @entry is what the tables of @cfg say now */
static bool smmuv3_audit_agrees(SMMUv3Audit *a, SMMUTransCfg *cfg,
                                const SMMUIOTLBKey *k, const void *entry)
{
    const SMMUTLBEntry *e = entry;
    hwaddr last = e->entry.iova + e->entry.addr_mask;
    hwaddr at = e->entry.iova;
    SMMUTLBEntry leaf = { };

    while (a->walks && a->walks-- && smmuv3_sva_peek(a->s, cfg, at, &leaf)) {
        if (CACHED_ENTRY_TO_ADDR(&leaf, at) != CACHED_ENTRY_TO_ADDR(e, at) ||
            (e->entry.perm & e->parent_perm & ~leaf.entry.perm)) {
            return false;
        }
        if (last - at <= leaf.entry.addr_mask - (at - leaf.entry.iova)) {
            return true;
        }
        at = leaf.entry.iova + leaf.entry.addr_mask + 1;
    }
    return false;
}

/* Whether the table at *@entry is still that of the last level for @k */
static bool smmuv3_audit_walk_agrees(SMMUv3Audit *a, SMMUTransCfg *cfg,
                                     const SMMUIOTLBKey *k, const void *entry)
{
    SMMUTLBEntry leaf = { };

    cfg->last_table = UINT64_MAX;
    smmuv3_sva_peek(a->s, cfg, k->iova, &leaf);
    return cfg->last_table == *(const hwaddr *)entry;
}

/*
 * All that have the tag must agree: any of them can hit. Where there is none,
 * the next one to get the tag would.
 */
static void smmuv3_audit_tagged(SMMUv3Audit *a, PCISVACache cache,
                                const SMMUIOTLBKey *k, const void *entry,
                                hwaddr mask,
                                bool (*agrees)(SMMUv3Audit *a,
                                               SMMUTransCfg *cfg,
                                               const SMMUIOTLBKey *k,
                                               const void *entry))
{
    GArray *owners = g_hash_table_lookup(a->owners,
                                         smmuv3_audit_tag(k->asid, k->vmid));
    /* One of those that there was no room for may be an owner. */
    bool owned = owners && owners->len == SMMUV3_OWNERS_MAX, stale = false;

    for (guint i = 0; owners && i < owners->len && !stale; i++) {
        SMMUTransCfg *cfg = &g_array_index(owners, SMMUTransCfg, i);

        if (cfg->s2cfg.vmid == k->vmid) {
            owned = true;
            stale = !agrees(a, cfg, k, entry);
        }
    }
    if ((owned || a->all) && a->walks) {
        pci_sva_audit_note(a->audit, cache, stale || !owned, k->iova, mask,
                           PCI_NO_PASID);
    }
}

static void smmuv3_audit_tlb(gpointer key, gpointer value, gpointer opaque)
{
    const SMMUTLBEntry *e = value;

    if (!e->combined) {
        smmuv3_audit_tagged(opaque, PCI_SVA_CACHE_IOTLB, key, e,
                            e->entry.addr_mask, smmuv3_audit_agrees);
    }
}

static void smmuv3_audit_walk(gpointer key, gpointer value, gpointer opaque)
{
    const SMMUIOTLBKey *k = key;

    smmuv3_audit_tagged(opaque, PCI_SVA_CACHE_UPPER, k, value,
                        smmu_walk_last(k) - k->iova, smmuv3_audit_walk_agrees);
}

static void smmuv3_audit_function(PCIBus *bus, PCIDevice *dev, void *opaque)
{
    SMMUv3Audit *a = opaque;
    PCIBus *iommu_bus, *alias;
    int devfn;

    pci_device_get_iommu_bus_devfn(dev, &iommu_bus, &alias, &devfn);
    if (iommu_bus && iommu_bus->iommu_opaque == a->s) {
        smmuv3_config_foreach_cd(a->s,
                                 PCI_BUILD_BDF(pci_bus_num(alias), devfn),
                                 smmuv3_audit_owner, a);
    }
}

static void smmuv3_audit_bus(PCIBus *bus, void *opaque)
{
    pci_for_each_device_under_bus(bus, smmuv3_audit_function, opaque);
}

static void smmuv3_sva_audit(PCIBus *bus, void *opaque, int devfn,
                             uint32_t pasid, PCISVAAudit *audit)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUv3Request r = smmuv3_sva_request(bus, devfn, pasid);
    SMMUEventInfo event = smmuv3_sva_event(&r);
    SMMUv3Audit a = {
        .s = s,
        .audit = audit,
        .all = pasid == PCI_NO_PASID,
        .walks = SMMUV3_WALKS_MAX,
    };
    SMMUTransCfg cfg;

    if (!smmu_enabled(s)) {
        return;
    }

    QEMU_LOCK_GUARD(&s->mutex);
    a.owners = g_hash_table_new_full(NULL, NULL, NULL,
                                     (GDestroyNotify)g_array_unref);
    if (!a.all) {
        smmuv3_config_audit(s, &r, smmuv3_audit_config, &a);
        if (!smmuv3_decode_config(s, &r, true, &cfg, &event) &&
            cfg.stage == SMMU_STAGE_1) {
            smmuv3_audit_owner(&a, pasid, &cfg);
        }
    } else {
        smmuv3_config_audit(s, NULL, smmuv3_audit_config, &a);
        pci_for_each_bus(s->smmu_state.primary_bus, smmuv3_audit_bus, &a);
    }
    g_hash_table_foreach(s->smmu_state.iotlb, smmuv3_audit_tlb, &a);
    g_hash_table_foreach(s->smmu_state.walks, smmuv3_audit_walk, &a);
    if (!a.walks) {
        trace_smmuv3_audit_unfinished(r.sid);
    }
    g_hash_table_destroy(a.owners);
}

/* --- counters, faults to order --- */

static void smmuv3_sva_counters(PCIBus *bus, void *opaque,
                                PCISVACounters *counters, unsigned *unit)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    *counters = s->counters;
    counters->evicted = s->smmu_state.evicted;
    *unit = s->unit;
}

static void smmuv3_sva_drop(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                            uint32_t nth)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    s->drop_kind = kind;
    s->drop_nth = nth;
}

static uint32_t smmuv3_sva_drop_left(PCIBus *bus, void *opaque)
{
    return ARM_SMMUV3(opaque)->drop_nth;
}

static void smmuv3_sva_late(PCIBus *bus, void *opaque, PCISVAInvKind kind,
                            uint32_t ns)
{
    smmuv3_late(ARM_SMMUV3(opaque), kind, ns);
}

const PCISVAOps smmuv3_sva_ops = {
    .get_address_space = smmuv3_sva_get_address_space,
    .translate = smmuv3_sva_translate,
    .translated = smmuv3_sva_translated,
    .page_request = smmuv3_sva_page_request,
    .probe = smmuv3_sva_probe,
    .audit = smmuv3_sva_audit,
    .counters = smmuv3_sva_counters,
    .drop = smmuv3_sva_drop,
    .drop_left = smmuv3_sva_drop_left,
    .late = smmuv3_sva_late,
};
