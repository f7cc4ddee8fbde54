/*
 * Address Translation Cache of svadev
 *
 * Nothing but an invalidation or a reset removes an entry, except that the
 * oldest one makes room for a new one, which is counted: an invalidation that
 * the OS forgot must stay visible.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_sva.h"
#include "svadev-atc.h"

struct SVADevATCEntry {
    SVADevPage page;
    QTAILQ_ENTRY(SVADevATCEntry) age;
};

static guint atc_hash(gconstpointer key)
{
    const SVADevATCEntry *e = key;
    uint64_t n = (e->page.va / SVADEV_PAGE_SIZE) ^
                 ((uint64_t)e->page.pasid << 32);

    return g_int64_hash(&n);
}

static gboolean atc_equal(gconstpointer a, gconstpointer b)
{
    const SVADevATCEntry *x = a, *y = b;

    return x->page.va == y->page.va && x->page.pasid == y->page.pasid;
}

static SVADevATCEntry *atc_lookup(const SVADevATC *atc, uint32_t pasid,
                                  hwaddr va)
{
    const SVADevATCEntry key = {
        .page.pasid = pasid,
        .page.va = va & SVADEV_PAGE_MASK,
    };

    return g_hash_table_lookup(atc->entries, &key);
}

static void atc_remove(SVADevATC *atc, SVADevATCEntry *e)
{
    QTAILQ_REMOVE(&atc->age, e, age);
    g_hash_table_remove(atc->entries, e);
}

static bool svadev_is_of(const SVADevScope *scope, uint32_t pasid)
{
    switch (scope->whose) {
    case SVADEV_OF_ONE:
        return pasid == scope->pasid;
    case SVADEV_OF_PASIDS:
        return pasid != PCI_NO_PASID;
    default:
        return true;
    }
}

bool svadev_scope_covers(const SVADevScope *scope, uint32_t pasid, hwaddr va)
{
    hwaddr page = va & SVADEV_PAGE_MASK;

    return svadev_is_of(scope, pasid) && page <= scope->last &&
        (page | ~SVADEV_PAGE_MASK) >= scope->first;
}

void svadev_atc_init(SVADevATC *atc, uint32_t capacity)
{
    atc->entries = g_hash_table_new_full(atc_hash, atc_equal, g_free, NULL);
    atc->capacity = capacity;
    QTAILQ_INIT(&atc->age);
}

void svadev_atc_destroy(SVADevATC *atc)
{
    g_hash_table_destroy(atc->entries);
    atc->entries = NULL;
}

uint32_t svadev_atc_used(const SVADevATC *atc)
{
    return g_hash_table_size(atc->entries);
}

const SVADevPage *svadev_atc_find(const SVADevATC *atc, uint32_t pasid,
                                  hwaddr va)
{
    const SVADevATCEntry *e = atc_lookup(atc, pasid, va);

    return e ? &e->page : NULL;
}

bool svadev_atc_insert(SVADevATC *atc, const SVADevPage *page)
{
    SVADevATCEntry *e = atc_lookup(atc, page->pasid, page->va);
    bool evict = !e && svadev_atc_used(atc) >= atc->capacity;

    if (evict) {
        e = QTAILQ_FIRST(&atc->age);
    }
    if (e) {
        atc_remove(atc, e);
    }
    e = g_new0(SVADevATCEntry, 1);
    e->page = *page;
    e->page.va &= SVADEV_PAGE_MASK;
    e->page.pa &= SVADEV_PAGE_MASK;
    g_hash_table_add(atc->entries, e);
    QTAILQ_INSERT_TAIL(&atc->age, e, age);
    return evict;
}

unsigned svadev_atc_drop(SVADevATC *atc, const SVADevScope *scope)
{
    SVADevATCEntry *e, *next;
    unsigned dropped = 0;

    QTAILQ_FOREACH_SAFE(e, &atc->age, age, next) {
        if (svadev_scope_covers(scope, e->page.pasid, e->page.va)) {
            atc_remove(atc, e);
            dropped++;
        }
    }
    return dropped;
}

void svadev_atc_foreach(const SVADevATC *atc,
                        void (*fn)(const SVADevPage *page, void *opaque),
                        void *opaque)
{
    SVADevATCEntry *e;

    QTAILQ_FOREACH(e, &atc->age, age) {
        fn(&e->page, opaque);
    }
}
