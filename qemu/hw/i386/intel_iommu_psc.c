/*
 * Intel VT-d: first-stage paging-structure caches
 *
 * They have entries that refer to another table, by domain, PASID and the
 * address range that such an entry is for. A walk begins with the table nearest
 * to the page that is known here, and looks at nothing above it. What is in
 * them counts, whatever the tables say, until software invalidates it; a table
 * that was freed too early is walked.
 *
 * All of it runs under iommu_lock. A unit without x-psc has none of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "intel_iommu_internal.h"

static guint vtd_psc_hash(gconstpointer key)
{
    const VTDPSCEntry *e = key;

    return e->va >> VTD_PAGE_SHIFT_4K ^ e->pasid << 8 ^ e->level << 28 ^
           e->did << 16;
}

static gboolean vtd_psc_equal(gconstpointer a, gconstpointer b)
{
    const VTDPSCEntry *x = a, *y = b;

    return x->va == y->va && x->pasid == y->pasid && x->did == y->did &&
           x->level == y->level;
}

/* What is known of the entry at @level on the way of @b to @va, or NULL */
const VTDPSCEntry *vtd_psc_get(IntelIOMMUState *s, const VTDFSBinding *b,
                               uint64_t va, unsigned level)
{
    const VTDPSCEntry key = {
        .va = va & vtd_pt_level_page_mask(level),
        .level = level,
        .did = b->did,
        .pasid = b->pasid,
    };

    return s->psc ? g_hash_table_lookup(s->psc, &key) : NULL;
}

/*
 * The table with which a walk of @b to @va, of @levels levels, begins. Returns
 * its level, or @levels, and leaves *@table and *@writable alone, if none is
 * known but that of the PASID entry.
 */
unsigned vtd_psc_find(IntelIOMMUState *s, const VTDFSBinding *b, uint64_t va,
                      unsigned levels, hwaddr *table, bool *writable)
{
    for (unsigned level = VTD_PD_LEVEL; level <= levels; level++) {
        const VTDPSCEntry *e = vtd_psc_get(s, b, va, level);

        if (e) {
            *table = e->table;
            *writable = e->writable;
            return level - 1;
        }
    }
    return levels;
}

/*
 * On the way of @b to @va, the entry at @level refers to @table; @writable:
 * neither it nor any above it forbids writing.
 */
void vtd_psc_add(IntelIOMMUState *s, const VTDFSBinding *b, uint64_t va,
                 unsigned level, hwaddr table, bool writable)
{
    VTDPSCEntry *e;

    if (!s->psc) {
        return;
    }
    e = g_new(VTDPSCEntry, 1);
    *e = (VTDPSCEntry) {
        .va = va & vtd_pt_level_page_mask(level),
        .level = level,
        .did = b->did,
        .pasid = b->pasid,
        .source_id = b->sid,
        .table = table,
        .writable = writable,
    };
    if (g_hash_table_size(s->psc) >= VTD_PSC_MAX_SIZE &&
        !g_hash_table_contains(s->psc, e)) {
        s->counters.evicted += g_hash_table_size(s->psc);
        g_hash_table_remove_all(s->psc);
    }
    g_hash_table_replace(s->psc, e, e);
}

static gboolean vtd_psc_match(gpointer key, gpointer value, gpointer user_data)
{
    const VTDPSCEntry *e = value;
    const VTDPSCInv *inv = user_data;
    uint64_t last = e->va | ~vtd_pt_level_page_mask(e->level);

    return e->did == inv->did && (inv->all || e->pasid == inv->pasid) &&
           e->va <= inv->last && last >= inv->first;
}

void vtd_psc_invalidate(IntelIOMMUState *s, const VTDPSCInv *inv)
{
    if (s->psc) {
        g_hash_table_foreach_remove(s->psc, vtd_psc_match, (gpointer)inv);
    }
}

void vtd_psc_init(IntelIOMMUState *s)
{
    if (s->use_psc == ON_OFF_AUTO_ON) {
        s->psc = g_hash_table_new_full(vtd_psc_hash, vtd_psc_equal, NULL,
                                       g_free);
    }
}

void vtd_psc_reset(IntelIOMMUState *s)
{
    if (s->psc) {
        g_hash_table_remove_all(s->psc);
    }
}
