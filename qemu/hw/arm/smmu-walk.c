/*
 * ARM SMMU: a walk cache
 *
 * A walk may begin at a table that an earlier one has met (Arm IHI 0070,
 * 3.21.1). Kept are the addresses of the last level's tables, which are what
 * an operating system frees: if it invalidates the pages alone (Leaf), walks
 * go on in a page that is somebody else's by then. Tables above it are read
 * anew each time, and so are those of the first stage where there are two; nor
 * are tables kept below one with APTable set.
 *
 * Keys are those of the TLB, so that a tag drops both. The level is that of the
 * descriptor, 2.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmu-common.h"
#include "smmu-internal.h"

#define SMMU_WALKS_MAX          256
#define WALK_LEVEL              2

static SMMUIOTLBKey smmu_walk_key(const SMMUTransCfg *cfg, hwaddr iova,
                                  int granule)
{
    return smmu_get_iotlb_key(cfg->asid, cfg->s2cfg.vmid,
                              iova & level_page_mask(WALK_LEVEL, granule),
                              (granule - 10) / 2, WALK_LEVEL);
}

/* The last byte that the table of @key is for */
hwaddr smmu_walk_last(const SMMUIOTLBKey *key)
{
    return key->iova | ~level_page_mask(WALK_LEVEL, key->tg * 2 + 10);
}

/* Whether the table of the last level for @iova is known: *@table */
bool smmu_walk_find(SMMUState *s, const SMMUTransCfg *cfg, hwaddr iova,
                    int granule, dma_addr_t *table)
{
    SMMUIOTLBKey key = smmu_walk_key(cfg, iova, granule);
    hwaddr *known;

    if (!s->walk_cache || cfg->peek) {
        return false;
    }
    known = g_hash_table_lookup(s->walks, &key);
    if (known) {
        *table = *known;
    }
    return known;
}

/* A walk has met @table, by a descriptor of @level. */
void smmu_walk_met(SMMUState *s, SMMUTransCfg *cfg, hwaddr iova, int granule,
                   int level, dma_addr_t table)
{
    SMMUIOTLBKey key = smmu_walk_key(cfg, iova, granule);

    if (level != WALK_LEVEL) {
        return;
    }
    cfg->last_table = table;
    if (s->walk_cache && !cfg->peek) {
        if (g_hash_table_size(s->walks) >= SMMU_WALKS_MAX) {
            smmu_evict(s, s->walks);
        }
        g_hash_table_insert(s->walks, g_memdup2(&key, sizeof(key)),
                            g_memdup2(&table, sizeof(table)));
    }
}

static gboolean smmu_walk_range_drops(gpointer key, gpointer value,
                                      gpointer opaque)
{
    const SMMUIOTLBKey *k = key;
    const SMMUTLBRange *r = opaque;

    return smmu_tlb_range_tagged(r, k) &&
           (!r->granule || r->granule == k->tg * 2 + 10) &&
           (!r->level || r->level > WALK_LEVEL) &&
           k->iova <= r->last && smmu_walk_last(k) >= r->first;
}

void smmu_walk_inv_range(SMMUState *s, const SMMUTLBRange *range)
{
    if (!range->leaf) {
        g_hash_table_foreach_remove(s->walks, smmu_walk_range_drops,
                                    (gpointer)range);
    }
}
