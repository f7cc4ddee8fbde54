/*
 * Intel VT-d: first-stage translation in scalable mode
 *
 * The tables are those of the CPU, shared with a process or not, and other
 * CPUs change them while they are walked here. Accessed and dirty bits are
 * therefore set by compare-and-exchange, and a walk that finds an entry
 * changed under it starts again, a limited number of times.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_bus.h"
#include "intel_iommu_internal.h"
#include "trace.h"

#define VTD_FS_MAX_LEVELS       5

/*
 * How often something is read that other CPUs change while it is read. An OS
 * changes it now and then. A guest that never stops gets a fault, for this runs
 * under the BQL.
 */
#define VTD_FS_MAX_TRIES        16

#define VTD_INTERRUPT_ADDR_OVERLAP(addr, mask) \
    ((addr) <= VTD_INTERRUPT_ADDR_LAST && \
     (addr) + (mask) >= VTD_INTERRUPT_ADDR_FIRST)

static bool vtd_fs_read(hwaddr addr, uint64_t *val)
{
    MemTxResult res;

    /* One load, not a copy of eight bytes: CPUs may be writing there. */
    *val = address_space_ldq_le(&address_space_memory, addr,
                                MEMTXATTRS_UNSPECIFIED, &res);
    return res == MEMTX_OK;
}

/* Whether the entry at @addr was @old and is now @new; -1 if it is no RAM. */
static int vtd_fs_cmpxchg(hwaddr addr, uint64_t old, uint64_t new)
{
    hwaddr len = sizeof(uint64_t), xlat;
    MemoryRegion *mr;
    uint64_t *host, cur;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, addr, &xlat, &len,
                                 true, MEMTXATTRS_UNSPECIFIED);
    if (len < sizeof(uint64_t) ||
        !memory_access_is_direct(mr, true, MEMTXATTRS_UNSPECIFIED)) {
        return -1;
    }
    host = address_space_map(&address_space_memory, addr, &len, true,
                             MEMTXATTRS_UNSPECIFIED);
    if (!host) {
        return -1;
    }
    old = cpu_to_le64(old);
    new = cpu_to_le64(new);
#ifdef CONFIG_ATOMIC64
    cur = qatomic_cmpxchg__nocheck(host, old, new);
#else
    /* Such a host runs its vCPUs one at a time. */
    cur = *host;
    if (cur == old) {
        *host = new;
    }
#endif
    address_space_unmap(&address_space_memory, host, len, true,
                        sizeof(uint64_t));
    return cur == old;
}

static bool vtd_fs_is_leaf(uint64_t pte, unsigned level)
{
    return level == VTD_PT_LEVEL ||
           (level <= VTD_PDP_LEVEL && (pte & VTD_PT_PAGE_SIZE_MASK));
}

static uint64_t vtd_fs_rsvd(IntelIOMMUState *s, uint64_t pte, unsigned level)
{
    uint64_t rsvd = ~(VTD_HAW_MASK(s->aw_bits) | VTD_FS_UPPER_IGNORED);

    if (level > VTD_PDP_LEVEL ||
        (level == VTD_PDP_LEVEL && !(s->cap & VTD_CAP_FS1GP))) {
        rsvd |= VTD_PT_PAGE_SIZE_MASK;
    }
    if (level > VTD_PT_LEVEL && vtd_fs_is_leaf(pte, level)) {
        /* Bit 12 of a large page is PAT. */
        rsvd |= ~vtd_pt_level_page_mask(level) & ~0x1fffULL;
    }
    return pte & rsvd;
}

static bool vtd_fs_canonical(uint64_t iova, unsigned levels)
{
    unsigned unused = 64 - (VTD_PAGE_SHIFT_4K + levels * VTD_LEVEL_BITS);

    return ((int64_t)(iova << unused) >> unused) == (int64_t)iova;
}

/* The entries that a walk goes by, of which the last one can be the leaf */
typedef struct VTDFSWalk {
    struct {
        hwaddr addr;
        uint64_t val;
        bool writable;          /* neither it nor any above it forbids it */
    } entry[VTD_FS_MAX_LEVELS];
    unsigned top;               /* level of the first one */
    unsigned n;                 /* how many there are */
} VTDFSWalk;

static unsigned vtd_fs_walk_level(const VTDFSWalk *w, unsigned i)
{
    return w->top - i;
}

/*
 * Go down, all requests being of user privilege: a function cannot ask for more
 * (ECAP.SRS is 0). Returns 0 with the leaf as last entry, or the negative fault
 * reason; @w then has the entries that refer to another table.
 */
static int vtd_fs_descend(IntelIOMMUState *s, const VTDFSBinding *b,
                          uint64_t iova, unsigned flags, VTDFSWalk *w)
{
    unsigned levels = VTD_PE_GET_FL_LEVEL(&b->pe), level;
    bool writable = true;
    hwaddr table;

    w->n = 0;
    w->top = levels;
    table = b->pe.val[2] & VTD_SM_PASID_ENTRY_FLPTPTR &
            VTD_HAW_MASK(s->aw_bits);
    if (!(flags & (VTD_FS_PEEK | VTD_FS_FROM_TOP))) {
        w->top = vtd_psc_find(s, b, iova, levels, &table, &writable);
    }
    for (level = w->top; ; level--) {
        uint64_t *val = &w->entry[w->n].val;

        w->entry[w->n].addr = table + vtd_iova_level_offset(iova, level) * 8;
        if (!vtd_fs_read(w->entry[w->n].addr, val)) {
            return level == levels ? -VTD_FR_PASID_ENTRY_FSPTPTR_INV :
                                     -VTD_FR_FS_PAGING_ENTRY_INV;
        }
        if (!(*val & VTD_FL_P)) {
            return -VTD_FR_FS_PAGING_ENTRY_P;
        }
        if (vtd_fs_rsvd(s, *val, level)) {
            return -VTD_FR_FS_PAGING_ENTRY_RSVD;
        }
        if (!(*val & VTD_FL_US)) {
            return -VTD_FR_FS_PAGING_ENTRY_US;
        }
        writable = writable && (*val & VTD_FL_RW);
        w->entry[w->n++].writable = writable;
        if (vtd_fs_is_leaf(*val, level)) {
            return 0;
        }
        table = *val & VTD_PT_BASE_ADDR_MASK(s->aw_bits);
    }
}

/* Returns 0, the negative fault reason, or 1 if the walk is to start again. */
static int vtd_fs_set_accessed(VTDFSWalk *w, unsigned flags)
{
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t old = w->entry[i].val, new = old | VTD_FL_A;
        int ret;

        if (i == w->n - 1 && w->entry[i].writable && (flags & VTD_FS_WRITE)) {
            new |= VTD_FL_D;
        }
        if (new == old) {
            continue;
        }
        trace_vtd_fs_set_bits(w->entry[i].addr, old, new);
        ret = vtd_fs_cmpxchg(w->entry[i].addr, old, new);
        if (ret < 0) {
            return -VTD_FR_FS_BIT_UPDATE_FAILED;
        }
        if (!ret) {
            return 1;
        }
        w->entry[i].val = new;
    }
    return 0;
}

/* Only what has its accessed bit set is cached, wherever the walk has ended. */
static void vtd_fs_cache_tables(IntelIOMMUState *s, const VTDFSBinding *b,
                                uint64_t iova, const VTDFSWalk *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t val = w->entry[i].val;
        unsigned level = vtd_fs_walk_level(w, i);

        if (!(val & VTD_FL_A) || vtd_fs_is_leaf(val, level)) {
            return;
        }
        vtd_psc_add(s, b, iova, level, val & VTD_PT_BASE_ADDR_MASK(s->aw_bits),
                    w->entry[i].writable);
    }
}

/*
 * Go down as often as needed until all bits are set that have to be. Returns 0
 * or the negative fault reason.
 */
static int vtd_fs_walk_tables(IntelIOMMUState *s, const VTDFSBinding *b,
                              uint64_t iova, unsigned flags, VTDFSWalk *w)
{
    for (unsigned i = 0; i < VTD_FS_MAX_TRIES; i++) {
        int ret = vtd_fs_descend(s, b, iova, flags, w);

        if (!ret && !(flags & VTD_FS_PEEK)) {
            ret = vtd_fs_set_accessed(w, flags);
        }
        if (ret <= 0) {
            return ret;
        }
    }
    return -VTD_FR_FS_BIT_UPDATE_FAILED;
}

/* Whether @w, which begins at the top, goes by the tables that are cached */
static bool vtd_fs_agrees(IntelIOMMUState *s, const VTDFSBinding *b,
                          uint64_t iova, const VTDFSWalk *w)
{
    for (unsigned level = VTD_PD_LEVEL; level <= w->top; level++) {
        const VTDPSCEntry *e = vtd_psc_get(s, b, iova, level);
        unsigned i = w->top - level;

        if (e && (i >= w->n || vtd_fs_is_leaf(w->entry[i].val, level) ||
                  (w->entry[i].val & VTD_PT_BASE_ADDR_MASK(s->aw_bits)) !=
                  e->table)) {
            return false;
        }
    }
    return true;
}

/*
 * The cached entry at which @w began permits no writing. Software does not
 * invalidate where it has only added permissions: have a look at the tables. If
 * they are others by now, an invalidation is missing, and the cached entries
 * count as before.
 */
static void vtd_fs_walk_again(IntelIOMMUState *s, const VTDFSBinding *b,
                              uint64_t iova, unsigned flags, VTDFSWalk *w)
{
    VTDFSWalk again;

    flags |= VTD_FS_FROM_TOP;
    /* What does not agree gets no dirty bit. */
    if (!vtd_fs_walk_tables(s, b, iova, flags | VTD_FS_PEEK, &again) &&
        vtd_fs_agrees(s, b, iova, &again) &&
        !vtd_fs_walk_tables(s, b, iova, flags, &again) &&
        vtd_fs_agrees(s, b, iova, &again)) {
        *w = again;
    }
}

/*
 * Walk the first-stage tables of @b to @iova.
 *
 * Lack of write permission is no error: @leaf says what is permitted. Write
 * permission comes only with a dirty bit that is set, so that whoever caches
 * the result cannot write without it; it gets set when @flags has
 * VTD_FS_WRITE.
 *
 * Returns 0, or the negative fault reason.
 */
int vtd_fs_walk(IntelIOMMUState *s, const VTDFSBinding *b, uint64_t iova,
                unsigned flags, VTDFSLeaf *leaf)
{
    unsigned levels = VTD_PE_GET_FL_LEVEL(&b->pe);
    VTDFSWalk w;
    bool writable;
    int ret;

    assert(levels <= VTD_FS_MAX_LEVELS);
    if (!vtd_fs_canonical(iova, levels)) {
        return -VTD_FR_FS_NON_CANONICAL;
    }

    ret = vtd_fs_walk_tables(s, b, iova, flags, &w);
    if (!ret && (flags & VTD_FS_WRITE) && w.top < levels &&
        !w.entry[w.n - 1].writable) {
        vtd_fs_walk_again(s, b, iova, flags, &w);
    }
    if (!(flags & VTD_FS_PEEK)) {
        vtd_fs_cache_tables(s, b, iova, &w);
    }
    if (ret) {
        return ret;
    }

    leaf->pte = w.entry[w.n - 1].val;
    leaf->level = vtd_fs_walk_level(&w, w.n - 1);
    leaf->mask = ~vtd_pt_level_page_mask(leaf->level);
    leaf->addr = leaf->pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits) & ~leaf->mask;
    writable = w.entry[w.n - 1].writable;
    leaf->perm = writable && (leaf->pte & VTD_FL_D) ? IOMMU_RW : IOMMU_RO;
    return 0;
}

/*
 * Whether the tables of @b have, on the way to @iova, an entry at @level that
 * refers to *@table; *@writable as in vtd_psc_add()
 */
bool vtd_fs_peek_table(IntelIOMMUState *s, const VTDFSBinding *b,
                       uint64_t iova, unsigned level, hwaddr *table,
                       bool *writable)
{
    unsigned levels = VTD_PE_GET_FL_LEVEL(&b->pe), i = levels - level;
    VTDFSWalk w;

    vtd_fs_descend(s, b, iova, VTD_FS_PEEK, &w);
    if (level > levels || i >= w.n || vtd_fs_is_leaf(w.entry[i].val, level)) {
        return false;
    }
    *table = w.entry[i].val & VTD_PT_BASE_ADDR_MASK(s->aw_bits);
    *writable = w.entry[i].writable;
    return true;
}

/*
 * Hardware reads a PASID table entry at once. Software sets Present last, so
 * that what is read after it is valid, and clears it first: if the first part
 * still is as it was, nothing has been cleared in between.
 *
 * Cleared, and set again to the same: software may do so only after it has had
 * the PASID cache invalidated, and the queue cannot run meanwhile, as this runs
 * under the BQL.
 *
 * Returns false if the entry cannot be read, or does not stand still.
 */
static bool vtd_fs_read_pe_at(hwaddr addr, VTDPASIDEntry *pe)
{
    uint64_t again;

    for (unsigned tries = 0; tries < VTD_FS_MAX_TRIES; tries++) {
        for (unsigned i = 0; i < ARRAY_SIZE(pe->val); i++) {
            if (!vtd_fs_read(addr + i * 8, &pe->val[i])) {
                return false;
            }
            smp_rmb();
        }
        if (!vtd_fs_read(addr, &again)) {
            return false;
        }
        if (again == pe->val[0]) {
            return true;
        }
    }
    return false;
}

/*
 * Read the PASID table entry of @pasid. *@fpd becomes true where faults are
 * not to be reported; that counts for an entry that is not present, too.
 */
int vtd_fs_read_pe(IntelIOMMUState *s, const VTDContextEntry *ce,
                   uint32_t pasid, VTDPASIDEntry *pe, bool *fpd)
{
    uint64_t dir;
    hwaddr addr;

    addr = (ce->val[0] & VTD_PASID_DIR_BASE_ADDR_MASK) +
           VTD_PASID_DIR_INDEX(pasid) * VTD_PASID_DIR_ENTRY_SIZE;
    if (!vtd_fs_read(addr, &dir)) {
        return -VTD_FR_PASID_DIR_ACCESS_ERR;
    }
    *fpd = *fpd || (dir & VTD_PASID_DIR_FPD);
    if (!(dir & VTD_PASID_ENTRY_P)) {
        return -VTD_FR_PASID_DIR_ENTRY_P;
    }

    addr = (dir & VTD_PASID_TABLE_BASE_ADDR_MASK) +
           VTD_PASID_TABLE_INDEX(pasid) * VTD_PASID_ENTRY_SIZE;
    if (!vtd_fs_read_pe_at(addr, pe)) {
        return -VTD_FR_PASID_TABLE_ACCESS_ERR;
    }
    *fpd = *fpd || (pe->val[0] & VTD_PASID_ENTRY_FPD);
    if (!(pe->val[0] & VTD_PASID_ENTRY_P)) {
        return -VTD_FR_PASID_ENTRY_P;
    }

    switch (VTD_PE_GET_TYPE(pe)) {
    case VTD_SM_PASID_ENTRY_FLT:
        if (VTD_PE_GET_FL_LEVEL(pe) == VTD_PML4_LEVEL) {
            return 0;
        }
        break;
    case VTD_SM_PASID_ENTRY_PT:
        if (s->ecap & VTD_ECAP_PT) {
            return 0;
        }
        break;
    }
    return -VTD_FR_PASID_TABLE_ENTRY_INV;
}

/*
 * Translate @addr for a function. Takes an entry of the IOTLB if it permits
 * what is asked for, and walks the tables otherwise: software does not
 * invalidate where it has only added permissions.
 *
 * Lack of permission is no error here, @entry->perm tells.
 */
int vtd_fs_request(IntelIOMMUState *s, PCIBus *bus, uint8_t devfn,
                   uint32_t pasid, hwaddr addr, unsigned flags,
                   IOMMUTLBEntry *entry, VTDFSBinding *b)
{
    uint16_t sid = PCI_BUILD_BDF(pci_bus_num(bus), devfn);
    VTDIOTLBEntry *iotlb;
    VTDFSLeaf leaf;
    int ret;

    ret = vtd_fs_bind(s, bus, devfn, pasid, flags, b);
    if (ret) {
        return ret;
    }

    if (VTD_PE_GET_TYPE(&b->pe) == VTD_SM_PASID_ENTRY_PT) {
        trace_vtd_translate_pt(sid, addr);
        if (pasid == PCI_NO_PASID) {
            vtd_pt_enable_fast_path(s, sid);
        } else if (VTD_INTERRUPT_ADDR_OVERLAP(addr, 0)) {
            return -VTD_FR_SM_INTERRUPT_ADDR;
        }
        leaf.mask = ~VTD_PAGE_MASK_4K;
        leaf.addr = addr & VTD_PAGE_MASK_4K;
        leaf.perm = IOMMU_RW;
        goto out;
    }

    iotlb = vtd_lookup_iotlb(s, b->did, b->pasid, addr);
    if (iotlb && (!(flags & VTD_FS_WRITE) ||
                  (iotlb->access_flags & IOMMU_WO))) {
        trace_vtd_iotlb_page_hit(sid, addr, iotlb->pte, b->did);
        leaf.mask = ~iotlb->mask;
        leaf.addr = iotlb->pte & VTD_PT_BASE_ADDR_MASK(s->aw_bits) &
                    ~leaf.mask;
        leaf.perm = iotlb->access_flags;
        s->counters.iotlb_hits++;
        goto out;
    }

    s->counters.iotlb_misses++;
    ret = vtd_fs_walk(s, b, addr, flags, &leaf);
    if (ret) {
        return ret;
    }
    if (VTD_INTERRUPT_ADDR_OVERLAP(leaf.addr, leaf.mask)) {
        error_report_once("%s: page of 0x%" PRIx64 " is in interrupt range "
                          "(pasid 0x%" PRIx32 ")", __func__, addr, b->pasid);
        return -VTD_FR_SM_INTERRUPT_ADDR;
    }
    /*
     * First-stage entries are tagged with domain and PASID, and serve all
     * functions that are bound to the same.
     */
    iotlb = vtd_update_iotlb(s, b->did, b->did, addr, leaf.pte, leaf.perm,
                             leaf.level, b->pasid, VTD_SM_PASID_ENTRY_FLT);
    iotlb->source_id = sid;

out:
    entry->iova = addr & ~leaf.mask;
    entry->translated_addr = leaf.addr;
    entry->addr_mask = leaf.mask;
    entry->perm = leaf.perm;
    return 0;
}

/* An untranslated request in scalable mode with first-stage translation */
bool vtd_fs_translate(VTDAddressSpace *as, hwaddr addr, bool is_write,
                      IOMMUTLBEntry *entry)
{
    IntelIOMMUState *s = as->iommu_state;
    bool has_pasid = as->pasid != PCI_NO_PASID;
    VTDFSBinding b;
    int ret;

    QEMU_LOCK_GUARD(&s->iommu_lock);
    ret = vtd_fs_request(s, as->bus, as->devfn, as->pasid, addr,
                         is_write ? VTD_FS_WRITE : 0, entry, &b);
    if (!ret && is_write && !(entry->perm & IOMMU_WO)) {
        ret = -VTD_FR_SM_WRITE;
    }
    if (ret) {
        vtd_report_fault(s, -ret, b.fpd,
                         PCI_BUILD_BDF(pci_bus_num(as->bus), as->devfn),
                         addr, is_write, has_pasid, has_pasid ? as->pasid : 0);
        entry->iova = 0;
        entry->translated_addr = 0;
        entry->addr_mask = 0;
        entry->perm = IOMMU_NONE;
    }
    return !ret;
}
