/*
 * ARM SMMU: access flag and dirty state, updated in memory
 *
 * CPUs change the tables at the same time, so that an update is one
 * compare-and-exchange, and the walk starts anew where it fails.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "hw/arm/smmu-common.h"
#include "smmu-internal.h"

#define PTE_AF_BIT              (1ULL << 10)
#define PTE_RO_BIT              (1ULL << 7)

/* Whether the entry at @addr was @old and is now @new; -1 if it is no RAM. */
static int smmu_cmpxchg(hwaddr addr, uint64_t old, uint64_t new)
{
    const MemTxAttrs ram_only = { .memory = 1 };
    hwaddr len = sizeof(old), offset;
    uint64_t *host, found;
    MemoryRegion *mr;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, addr, &offset, &len,
                                 true, ram_only);
    if (len < sizeof(old) || !memory_access_is_direct(mr, true, ram_only)) {
        return -1;
    }
    host = address_space_map(&address_space_memory, addr, &len, true,
                             ram_only);
    if (!host) {
        return -1;
    }
    old = cpu_to_le64(old);
#ifdef CONFIG_ATOMIC64
    found = qatomic_cmpxchg__nocheck(host, old, cpu_to_le64(new));
#else
    /* Such a host runs its vCPUs one at a time. */
    found = *host;
    if (found == old) {
        *host = cpu_to_le64(new);
    }
#endif
    address_space_unmap(&address_space_memory, host, len, true, sizeof(old));
    return found == old;
}

/*
 * Bring *@pte, the leaf at @addr, to what an access with @perm makes of it
 * (CD.HA, CD.HD). Returns as smmu_cmpxchg().
 */
int smmu_httu_update(const SMMUTransCfg *cfg, hwaddr addr,
                     IOMMUAccessFlags perm, uint64_t *pte)
{
    uint64_t new = *pte;
    int ret;

    if (!cfg->ha || cfg->peek) {
        return 1;
    }
    new |= PTE_AF_BIT;
    if (cfg->hd && perm & IOMMU_WO && PTE_DBM(new)) {
        new &= ~PTE_RO_BIT;
    }
    if (new == *pte) {
        return 1;
    }
    ret = smmu_cmpxchg(addr, *pte, new);
    if (ret == 1) {
        *pte = new;
    }
    return ret;
}
