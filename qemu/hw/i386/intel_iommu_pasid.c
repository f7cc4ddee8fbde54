/*
 * Intel VT-d: PASID cache
 *
 * It has present PASID table entries by requester and PASID. What is in it
 * counts, whatever the tables say, until software invalidates it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "intel_iommu_internal.h"

typedef struct VTDPASIDCacheInv {
    uint64_t granularity;
    uint16_t did;
    uint32_t pasid;
} VTDPASIDCacheInv;

static uint64_t vtd_pasid_cache_key(uint16_t sid, uint32_t pasid)
{
    return (uint64_t)sid << VTD_PASID_ID_SHIFT | pasid;
}

const VTDPASIDEntry *vtd_pasid_cache_find(IntelIOMMUState *s, uint16_t sid,
                                          uint32_t pasid)
{
    uint64_t key = vtd_pasid_cache_key(sid, pasid);
    VTDPASIDCacheEntry *entry = g_hash_table_lookup(s->pasid_cache, &key);

    return entry ? &entry->pe : NULL;
}

void vtd_pasid_cache_add(IntelIOMMUState *s, uint16_t sid, uint32_t pasid,
                         const VTDPASIDEntry *pe)
{
    VTDPASIDCacheEntry *entry = g_new(VTDPASIDCacheEntry, 1);

    entry->key = vtd_pasid_cache_key(sid, pasid);
    entry->pe = *pe;
    if (g_hash_table_size(s->pasid_cache) >= VTD_PASID_CACHE_MAX_SIZE &&
        !g_hash_table_contains(s->pasid_cache, &entry->key)) {
        s->counters.evicted += g_hash_table_size(s->pasid_cache);
        g_hash_table_remove_all(s->pasid_cache);
    }
    g_hash_table_replace(s->pasid_cache, &entry->key, entry);
}

static gboolean vtd_pasid_cache_match(gpointer key, gpointer value,
                                      gpointer user_data)
{
    const VTDPASIDCacheEntry *entry = value;
    const VTDPASIDCacheInv *inv = user_data;
    uint32_t pasid = entry->key & VTD_PASID_ID_MASK;

    if (inv->granularity == VTD_INV_DESC_PC_GLOBAL) {
        return true;
    }
    return inv->did == VTD_SM_PASID_ENTRY_DID(entry->pe.val[1]) &&
        (inv->granularity == VTD_INV_DESC_PC_DOMAIN || inv->pasid == pasid);
}

void vtd_pasid_cache_invalidate(IntelIOMMUState *s, uint64_t granularity,
                                uint16_t did, uint32_t pasid)
{
    VTDPASIDCacheInv inv = {
        .granularity = granularity,
        .did = did,
        .pasid = pasid,
    };

    QEMU_LOCK_GUARD(&s->iommu_lock);
    g_hash_table_foreach_remove(s->pasid_cache, vtd_pasid_cache_match, &inv);
}

void vtd_pasid_cache_init(IntelIOMMUState *s)
{
    s->pasid_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal,
                                           NULL, g_free);
}

void vtd_pasid_cache_reset(IntelIOMMUState *s)
{
    g_hash_table_remove_all(s->pasid_cache);
}
