/*
 * Registers of svadev-mock, the IOMMU of svadev's qtest
 *
 * BAR 0, 4 KiB, registers of 64 bits. A command uses the operands before it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_SVADEV_MOCK_H
#define HW_MISC_SVADEV_MOCK_H

#define SVADEV_MOCK_VENDOR_ID   0x1234
#define SVADEV_MOCK_DEVICE_ID   0x5fa1

#define SVADEV_MOCK_DEVFN       0x00    /* function that commands speak to */
#define SVADEV_MOCK_PASID       0x08    /* UINT32_MAX: none, less 1: all */
#define SVADEV_MOCK_VA          0x10
#define SVADEV_MOCK_PA          0x18
#define SVADEV_MOCK_PERM        0x20    /* bit 0 read, 1 write; 0 unmaps */
#define SVADEV_MOCK_SIZE        0x28    /* UINT64_MAX: all */
#define SVADEV_MOCK_PRGI        0x30
#define SVADEV_MOCK_CODE        0x38
#define SVADEV_MOCK_CMD         0x40
#define  SVADEV_MOCK_MAP        1       /* 4 KiB, with no invalidation */
#define  SVADEV_MOCK_INVALIDATE 2
#define  SVADEV_MOCK_RESPOND    3
#define SVADEV_MOCK_COMPLETED   0x48    /* ro: whether INVALIDATE was */
#define SVADEV_MOCK_ANSWER      0x50    /* how it takes page requests */
#define  SVADEV_MOCK_KEEP       0       /* answered by RESPOND */
#define  SVADEV_MOCK_AT_ONCE    1       /* CODE, from within the request */
#define  SVADEV_MOCK_DENY       2       /* not taken, never answered */
#define SVADEV_MOCK_REFUSE      0x58    /* PCIATSStatus of translations */
#define SVADEV_MOCK_REQUESTS    0x60    /* ro: page requests seen */
#define SVADEV_MOCK_REQ_ADDR    0x68    /* ro: the last one */
#define SVADEV_MOCK_REQ_PRGI    0x70
#define SVADEV_MOCK_REQ_PASID   0x78
#define SVADEV_MOCK_REQ_PERM    0x80
#define SVADEV_MOCK_BIG         0x88    /* rw: says that pages are 2 MiB */
#define SVADEV_MOCK_DROP_KIND   0x90    /* ro: what INJECT asked for */
#define SVADEV_MOCK_DROP_NTH    0x98
#define SVADEV_MOCK_LATE_KIND   0xa0    /* ro: what LATE asked for */
#define SVADEV_MOCK_LATE_NS     0xa8
#define SVADEV_MOCK_REFUSE_ACC  0xb0    /* rw: IOMMUAccessFlags refused */
#define SVADEV_MOCK_ACC_ADDR    0xb8    /* ro: the last access */
#define SVADEV_MOCK_ACC_PERM    0xc0
#define SVADEV_MOCK_END         0xc8

#endif
