/*
 * Address Translation Cache of svadev
 *
 * Under the BQL, as everything of the device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_SVADEV_ATC_H
#define HW_MISC_SVADEV_ATC_H

#include "exec/memory.h"
#include "hw/misc/svadev_regs.h"
#include "qemu/queue.h"

#define SVADEV_PAGE_MASK    (~(SVADEV_PAGE_SIZE - 1))

/* One 4 KiB piece of a translation. @pasid may be PCI_NO_PASID. */
typedef struct SVADevPage {
    uint32_t pasid;
    IOMMUAccessFlags perm;
    hwaddr va;
    hwaddr pa;
} SVADevPage;

/* Whose entries an invalidation covers */
typedef enum SVADevWhose {
    SVADEV_OF_ONE,              /* of @pasid, be it PCI_NO_PASID */
    SVADEV_OF_PASIDS,           /* of every PASID, not those without one */
    SVADEV_OF_ALL,
} SVADevWhose;

/* What an invalidation covers. @last is the last byte, so 2^64 needs no name */
typedef struct SVADevScope {
    SVADevWhose whose;
    uint32_t pasid;
    hwaddr first;
    hwaddr last;
} SVADevScope;

typedef struct SVADevATCEntry SVADevATCEntry;

typedef struct SVADevATC {
    GHashTable *entries;        /* a set that owns its entries */
    QTAILQ_HEAD(, SVADevATCEntry) age;  /* the same, oldest first */
    uint32_t capacity;
} SVADevATC;

static inline SVADevScope svadev_scope_pasid(uint32_t pasid)
{
    return (SVADevScope) { .pasid = pasid, .last = UINT64_MAX };
}

static inline SVADevScope svadev_scope_all(void)
{
    return (SVADevScope) { .whose = SVADEV_OF_ALL, .last = UINT64_MAX };
}

bool svadev_scope_covers(const SVADevScope *scope, uint32_t pasid, hwaddr va);

void svadev_atc_init(SVADevATC *atc, uint32_t capacity);
void svadev_atc_destroy(SVADevATC *atc);
uint32_t svadev_atc_used(const SVADevATC *atc);

/* Valid until the next insert or drop. */
const SVADevPage *svadev_atc_find(const SVADevATC *atc, uint32_t pasid,
                                  hwaddr va);
/*
 * Takes the place of an entry of the same page. Returns whether there was none
 * and the oldest one has had to go.
 */
bool svadev_atc_insert(SVADevATC *atc, const SVADevPage *page);
/* Returns how many entries it dropped. */
unsigned svadev_atc_drop(SVADevATC *atc, const SVADevScope *scope);

/* @fn must neither insert nor drop. */
void svadev_atc_foreach(const SVADevATC *atc,
                        void (*fn)(const SVADevPage *page, void *opaque),
                        void *opaque);

#endif
