/*
 * ARM SMMU: what an invalidation of a range drops from the TLB
 *
 * A command drops what it names, and nothing else: an operating system that
 * names too little must be seen. A range has a granule and may have the level
 * of its leaves, and entries of other granules or levels are none of it.
 *
 * A leaf of a contiguous group makes one entry for all of the group, as it may
 * in hardware.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmu-common.h"
#include "smmu-internal.h"

/* log2 of the descriptors of a contiguous group (Arm ARM, D8.7.1) */
int smmu_cont_bits(int level, int granule_sz)
{
    switch (granule_sz) {
    case 12:
        return level ? 4 : 0;
    case 14:
        return level == 3 ? 7 : level == 2 ? 5 : 0;
    case 16:
        return level >= 2 ? 5 : 0;
    default:
        return 0;
    }
}

uint8_t smmu_iotlb_key_level(const SMMUTLBEntry *e)
{
    bool cont = e->entry.addr_mask >> level_shift(e->level, e->granule);

    return e->level | (cont ? SMMU_TLB_CONT : 0);
}

/* Some entry makes room. All that go unasked cannot be found stale any more. */
void smmu_evict(SMMUState *s, GHashTable *cache)
{
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, cache);
    if (g_hash_table_iter_next(&iter, NULL, NULL)) {
        g_hash_table_iter_remove(&iter);
        s->evicted++;
    }
}

/* Entries of the second stage alone have IPAs, and no ASID. */
bool smmu_tlb_range_tagged(const SMMUTLBRange *r, const SMMUIOTLBKey *key)
{
    return r->ipa == (key->asid < 0) &&
           (r->asid < 0 || r->asid == key->asid) &&
           (r->vmid < 0 || r->vmid == key->vmid);
}

static bool smmu_tlb_range_names(const SMMUTLBRange *r,
                                 const SMMUIOTLBKey *key,
                                 const SMMUTLBEntry *e)
{
    hwaddr first = e->entry.iova, last = first + e->entry.addr_mask;

    if (!smmu_tlb_range_tagged(r, key)) {
        return false;
    }
    /* What is combined of two stages has the smaller one's granule. */
    if (!e->combined && ((r->granule && r->granule != e->granule) ||
                         (r->level && r->level != e->level))) {
        return false;
    }
    return first <= r->last && last >= r->first;
}

static bool smmu_tlb_range_leaves(const SMMUTLBRange *r,
                                  const SMMUIOTLBKey *key,
                                  const SMMUTLBEntry *e)
{
    hwaddr first = e->entry.iova, last = first + e->entry.addr_mask;
    bool whole = r->first <= first && last <= r->last;

    return r->cont_erratum && key->level & SMMU_TLB_CONT && !whole;
}

static gboolean smmu_tlb_range_drops(gpointer key, gpointer value,
                                     gpointer opaque)
{
    SMMUTLBRange *r = opaque;

    if (!smmu_tlb_range_names(r, key, value)) {
        return false;
    }
    if (smmu_tlb_range_leaves(r, key, value)) {
        r->left++;
        return false;
    }
    return true;
}

unsigned smmu_iotlb_inv_range(SMMUState *s, SMMUTLBRange *range)
{
    return g_hash_table_foreach_remove(s->iotlb, smmu_tlb_range_drops, range);
}
