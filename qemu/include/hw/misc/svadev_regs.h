/*
 * Registers of svadev, a PCIe test function for Shared Virtual Addressing
 *
 * Names and values are those of the kernel's include/uapi/misc/uacce/svadev.h.
 *
 * BAR 0, 64 KiB, is the control page: the OS's. BAR 2 holds one page of 64 KiB
 * per queue, which a process can map, with CPU pages of whatever size; a process
 * cannot choose the PASID of its queue. BAR 4 is the MSI-X table, one vector per
 * queue. Registers are 64 bits wide and little endian; accesses are aligned and
 * 4 or 8 bytes wide.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_SVADEV_REGS_H
#define HW_MISC_SVADEV_REGS_H

#define SVADEV_VENDOR_ID         0x1234
#define SVADEV_DEVICE_ID         0x5fa0

#define SVADEV_BAR_CONTROL       0
#define SVADEV_BAR_QUEUES        2
#define SVADEV_BAR_MSIX          4

#define SVADEV_PASID_NONE        0xfffff      /* request without PASID */
#define SVADEV_PASID_ALL         0xffffffff   /* VERIFY of every PASID */

/* The function's own: for an ATC entry, a page request, and a step at most */
#define SVADEV_PAGE_SIZE         0x1000ULL

/* --- BAR 0 --- */
#define SVADEV_ID                0x000        /* ro */
/* "svadev", version 2 */
#define  SVADEV_ID_MAGIC         0x0002766564617673ULL
#define SVADEV_CAPS              0x008        /* ro */
#define  SVADEV_CAPS_QUEUES      0x00000000000000ffULL
#define  SVADEV_CAPS_PASID_BITS  0x0000000000001f00ULL
#define  SVADEV_CAPS_ATS         0x0000000000010000ULL
#define  SVADEV_CAPS_PRI         0x0000000000020000ULL
#define  SVADEV_CAPS_ATC_SIZE    0xffffffff00000000ULL  /* ATC entries */
#define SVADEV_CTRL              0x010        /* rw, 0 after reset */
#define  SVADEV_CTRL_NO_ATS      0x1          /* untranslated requests only */
/* no page requests, no stalls: a page that is not there is an error */
#define  SVADEV_CTRL_NO_PRI      0x2
#define  SVADEV_CTRL_NO_CACHE    0x4  /* use a translation once, keep none */
#define  SVADEV_CTRL_RESET       0x8000000000000000ULL  /* wo, whole function */
#define SVADEV_STEP              0x018  /* rw: bytes a step, ns between steps */
#define  SVADEV_STEP_BYTES       0x00000000ffffffffULL  /* 1 to PAGE_SIZE */
#define  SVADEV_STEP_NS          0xffffffff00000000ULL
/* rw: lose an invalidation at the IOMMU */
#define SVADEV_INJECT            0x020
#define  SVADEV_INJECT_KIND      0x00000000000000ffULL
#define   SVADEV_INJECT_IOTLB    1
#define   SVADEV_INJECT_ATC      2
#define   SVADEV_INJECT_CONFIG   3
/* CONFIG of a function, of a PASID; where the IOMMU tells them apart */
#define   SVADEV_INJECT_FUNCTION 5
#define   SVADEV_INJECT_PASID    6
/* 1 is the next, 0 off */
#define  SVADEV_INJECT_NTH       0xffffffff00000000ULL
#define  SVADEV_INJECT_ALL       0xffffffff   /* NTH: each, until it is 0 */
#define SVADEV_VERIFY            0x028  /* wo: PASID, or SVADEV_PASID_ALL */
#define SVADEV_VERIFY_CHECKED    0x030        /* ro: entries compared */
#define SVADEV_VERIFY_STALE      0x038        /* ro: entries found stale */
#define SVADEV_VERIFY_ADDR       0x040        /* ro: address of one of them */
#define SVADEV_VERIFY_WHERE      0x048        /* ro: and where it was found */
#define  SVADEV_WHERE_PASID      0x00000000000fffffULL
#define  SVADEV_WHERE_ATC        0x0000000100000000ULL
#define  SVADEV_WHERE_IOTLB      0x0000000200000000ULL
#define SVADEV_CLEAR             0x050        /* wo: device counters to 0 */
/* ro: number of the IOMMU in front, ~0 none */
#define SVADEV_UNIT              0x058
/* rw: commands that come late at the IOMMU; a write lets go what is held */
#define SVADEV_LATE              0x060
/* as INJECT_KIND, or LATE_SYNC */
#define  SVADEV_LATE_KIND        0x00000000000000ffULL
#define   SVADEV_LATE_SYNC       4            /* waits */
#define  SVADEV_LATE_NS          0xffffffff00000000ULL /* by so much, 0 off */
/* rw: so many Invalidation Requests to come get no answer, and do nothing */
#define SVADEV_MUTE              0x068
#define  SVADEV_MUTE_ALL         0xffffffff   /* until it is written again */
/* rw: of VERIFY_CHECKED, count in what follows what is for this range; 0, ~0 */
#define SVADEV_CACHED_FIRST      0x070
#define SVADEV_CACHED_LAST       0x078
#define SVADEV_CACHED_ATC        0x080        /* ro: pages in the function */
#define SVADEV_CACHED_IOTLB      0x088        /* ro: pages in the IOMMU, */
/* ro: its entries that refer to another table of pages, */
#define SVADEV_CACHED_UPPER      0x090
/* ro: and those of its configuration, for which the range is no matter */
#define SVADEV_CACHED_CONFIG     0x098

/*
 * --- counters, 8 bytes each, ro, at these offsets in BAR 0 and, less
 * SVADEV_COUNTERS, from SVADEV_Q_COUNTERS on in every queue page ---
 */
#define SVADEV_COUNTERS          0x100
/* of this function */
#define SVADEV_C_XLATE           0x100        /* Translation Requests sent */
#define SVADEV_C_ATC_HIT         0x108
#define SVADEV_C_ATC_FILL        0x110
#define SVADEV_C_UNTRANSLATED    0x118        /* requests left to the IOMMU */
#define SVADEV_C_PAGE_REQ        0x120        /* Page Requests sent */
#define SVADEV_C_PAGE_RESP       0x128        /* group responses received */
/* Invalidation Requests with PASID, range */
#define SVADEV_C_INV_RANGE       0x130
/* ... with PASID, whole address space */
#define SVADEV_C_INV_PASID       0x138
#define SVADEV_C_INV_UNTAGGED    0x140        /* ... without PASID */
#define SVADEV_C_INV_ENTRIES     0x148  /* ATC entries that they dropped */
#define SVADEV_C_FAULT           0x150  /* operations that ended in an error */
#define SVADEV_C_STALE           0x158  /* stale entries all VERIFYs found */
#define SVADEV_C_SUBMIT          0x160        /* operations started */
#define SVADEV_C_REJECT          0x168        /* doorbells refused */
#define SVADEV_C_BYTES           0x170        /* bytes read or written by DMA */
#define SVADEV_C_ATC_USED        0x178        /* ATC entries held now */
/* Invalidation Requests with PASID, for all of them */
#define SVADEV_C_INV_GLOBAL      0x180
/* ATC entries that made room for others */
#define SVADEV_C_EVICTED         0x188
/* untranslated accesses that the IOMMU has stalled; its answers */
#define SVADEV_C_STALL           0x190
#define SVADEV_C_RESUME          0x198
#define SVADEV_C_END             0x1a0
/* of the IOMMU in front of it, since its reset */
#define SVADEV_U_IOTLB_RANGE     0x200
#define SVADEV_U_IOTLB_TAG       0x208
#define SVADEV_U_IOTLB_ALL       0x210
#define SVADEV_U_ATC_RANGE       0x218
#define SVADEV_U_ATC_ALL         0x220
#define SVADEV_U_CONFIG          0x228
#define SVADEV_U_SYNC            0x230
#define SVADEV_U_PAGE_REQ        0x238
#define SVADEV_U_PAGE_RESP       0x240
#define SVADEV_U_FAULT           0x248
#define SVADEV_U_DROPPED         0x250
#define SVADEV_U_IOTLB_HIT       0x258
#define SVADEV_U_IOTLB_MISS      0x260
#define SVADEV_U_LATE            0x268  /* commands held back on purpose */
#define SVADEV_U_TIMEOUT         0x270        /* time-outs reported */
/* refused requests, of all functions: with translated address, */
#define SVADEV_U_REFUSED_ACCESS  0x278
#define SVADEV_U_REFUSED_XLATE   0x280        /* Translation Requests, */
#define SVADEV_U_REFUSED_PAGE    0x288        /* Page Requests */
/* entries of its caches that made room for others */
#define SVADEV_U_EVICTED         0x290
/* no counter: reason of the last fault, in the IOMMU's own numbers; 0 none */
#define SVADEV_U_FAULT_REASON    0x298
/* of the time-outs, those that say which function it was */
#define SVADEV_U_NAMED           0x2a0
/* invalidations sent to functions whose ATS is off */
#define SVADEV_U_ATC_OFF         0x2a8
/* commands that were lost or changed in the queue */
#define SVADEV_U_QUEUE_ERROR     0x2b0
/* entries that a range has named, and left by a fault of the IOMMU */
#define SVADEV_U_LEFT            0x2b8
/* requests stalled; answered by software; ended otherwise */
#define SVADEV_U_STALL           0x2c0
#define SVADEV_U_RESUME          0x2c8
#define SVADEV_U_STALL_ENDED     0x2d0
/* answers to what is not stalled */
#define SVADEV_U_STALL_ERROR     0x2d8
/* no counter: so many can be stalled; 0: none */
#define SVADEV_U_STALL_MAX       0x2e0
#define SVADEV_COUNTERS_END      0x2e8

/* --- per queue control in BAR 0 --- */
#define SVADEV_QCTL(q)           (0x1000 + (q) * 0x20)
/* rw while disabled; PASID_NONE allowed */
#define SVADEV_QCTL_PASID        0x00
/* rw: 1 on; 0 stops and resets the queue */
#define SVADEV_QCTL_ENABLE       0x08
/* ro: DMA or a page request is outstanding */
#define SVADEV_QCTL_BUSY         0x10

/* --- queue page in BAR 2; the registers are in its first 4 KiB --- */
#define SVADEV_QPAGE_SIZE        0x10000
#define SVADEV_Q_OP              0x00         /* rw */
#define SVADEV_Q_FLAGS           0x08         /* rw */
#define  SVADEV_FLAG_WRITE       0x1          /* TOUCH, PAGE_REQ: for writing */
#define  SVADEV_FLAG_IRQ         0x2          /* MSI-X when done or in error */
/* translate first, stop, go on at RELEASE */
#define  SVADEV_FLAG_HOLD        0x4
#define SVADEV_Q_SRC             0x10         /* rw: virtual address */
#define SVADEV_Q_DST             0x18         /* rw: virtual address */
#define SVADEV_Q_LEN             0x20  /* rw: bytes, 1 to SVADEV_MAX_LEN */
#define SVADEV_Q_ARG             0x28  /* rw: FILL's byte, ADD64's addend */
#define SVADEV_Q_DOORBELL        0x30         /* wo: start */
#define SVADEV_Q_RELEASE         0x38  /* wo: let a held operation go on */
#define SVADEV_Q_ABORT           0x40  /* wo: end the operation with an error */
#define SVADEV_Q_STATE           0x48         /* ro */
#define  SVADEV_STATE_DISABLED   0
#define  SVADEV_STATE_IDLE       1
#define  SVADEV_STATE_RUN        2
/* waits for a group response, or for the end of a stall */
#define  SVADEV_STATE_PAGE_REQ   3
#define  SVADEV_STATE_HELD       4
#define  SVADEV_STATE_DONE       5
#define  SVADEV_STATE_ERROR      6
#define SVADEV_Q_ERROR           0x50         /* ro */
#define  SVADEV_ERR_NONE         0
#define  SVADEV_ERR_OP           1            /* no such operation or flag */
#define  SVADEV_ERR_LEN          2  /* length 0, too long, wraps, misaligned */
#define  SVADEV_ERR_NOT_MAPPED   3  /* no translation, and PRI is off */
#define  SVADEV_ERR_PRI_INVALID  4            /* the OS refused the page */
#define  SVADEV_ERR_PRI_FAILURE  5  /* PRI response failure, or no response */
#define  SVADEV_ERR_REFUSED      6  /* the IOMMU refused request or PASID */
#define  SVADEV_ERR_DMA          7  /* bus error, or faulted untranslated */
#define  SVADEV_ERR_ABORTED      8  /* ABORT, queue stopped, function reset */
#define SVADEV_Q_DONE            0x58  /* ro: bytes done before the end */
#define SVADEV_Q_FAULT           0x60         /* ro: address that ended it */
#define  SVADEV_FAULT_WRITE      0x1  /* low bits of FAULT: it was a write */
#define SVADEV_Q_RESULT          0x68  /* ro: SUM, old value, stale count */
#define SVADEV_Q_PASID           0x70         /* ro */
/* ro: operations finished on this queue */
#define SVADEV_Q_SEQ             0x78
/* ro mirror: + (counter - SVADEV_COUNTERS) */
#define SVADEV_Q_COUNTERS        0x800

#define SVADEV_MAX_LEN           (1ULL << 32)

/* Operations */
#define SVADEV_OP_NOP            0
#define SVADEV_OP_COPY           1            /* SRC to DST, LEN bytes */
#define SVADEV_OP_FILL           2  /* LEN bytes at DST with the byte ARG */
#define SVADEV_OP_SUM            3  /* RESULT = sum of LEN bytes at SRC */
/* atomic *(u64 *)DST += ARG; RESULT = old */
#define SVADEV_OP_ADD64          4
#define SVADEV_OP_TOUCH          5  /* translate LEN bytes at SRC, no access */
/* page request for each page, at any rate */
#define SVADEV_OP_PAGE_REQ       6
#define SVADEV_OP_ATC_FLUSH      7  /* drop the ATC's entries of this PASID */
#define SVADEV_OP_VERIFY         8  /* RESULT = stale entries of this PASID */

#endif
