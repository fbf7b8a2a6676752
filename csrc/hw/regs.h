/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR0 registers and bit fields of an Intel adaptive VF (docs/spec/registers.md 2, 3, 4, 5, 6).
 * Layouts only: C includes this file, cffi reads it, so enums and literal constants, nothing else. */
#ifndef IAVFIO_HW_REGS_H
#define IAVFIO_HW_REGS_H

enum vf_pci_id {
    PCI_VENDOR_INTEL = 0x8086,
    PCI_DEVICE_E810_VF = 0x1889,
    PCI_DEVICE_X710_VF = 0x154c,
    PCI_DEVICE_X722_VF = 0x37cd,
    PCI_DEVICE_X710_VF_HV = 0x1571,
    PCI_DEVICE_X722_A0_VF = 0x374d
};

/* Offsets in BAR0. The order is irregular on purpose: never derive one from another
 * (docs/spec/registers.md 2). */
enum vf_reg {
    REG_QTX_TAIL1 = 0x0000, /* + 4 * queue */
    REG_QRX_TAIL1 = 0x2000, /* + 4 * queue */
    REG_VFINT_ITRN1 =
        0x2800, /* stride differs by device: docs/spec/registers.md 5.3; use DYN_CTL instead */
    REG_VFINT_DYN_CTLN1 = 0x3800, /* + 4 * (vector - 1) */
    REG_VFINT_ICR01 = 0x4800,
    REG_VFINT_ITR01 = 0x4c00, /* + 4 * itr */
    REG_VFINT_ICR0_ENA1 = 0x5000,
    REG_VFINT_STAT_CTL01 = 0x5400,
    REG_VFINT_DYN_CTL01 = 0x5c00,
    REG_VF_ARQBAH1 = 0x6000,
    REG_VF_ATQH1 = 0x6400,
    REG_VF_ATQLEN1 = 0x6800,
    REG_VF_ARQBAL1 = 0x6c00,
    REG_VF_ARQT1 = 0x7000,
    REG_VF_ARQH1 = 0x7400,
    REG_VF_ATQBAH1 = 0x7800,
    REG_VF_ATQBAL1 = 0x7c00,
    REG_VF_ARQLEN1 = 0x8000,
    REG_VF_ATQT1 = 0x8400,
    REG_VFGEN_RSTAT = 0x8800,
    REG_VFQF_HENA = 0xc400, /* + 4 * i, i 0..1, X710 and X722 only */
    REG_VFQF_HKEY = 0xcc00, /* + 4 * i, i 0..12 */
    REG_VFQF_HLUT = 0xd000, /* + 4 * i, i 0..15 */
    VF_REG_SPACE = 0x10000 /* every register a VF driver needs lies below */
};

#define QRX_TAIL_STEP 8 /* an E810 ignores the lower bits of QRX_TAIL (docs/spec/registers.md 4) */

/* VFGEN_RSTAT, bits 1:0 (docs/spec/registers.md 3). */
enum vf_rstat { RSTAT_INPROGRESS = 0, RSTAT_COMPLETED = 1, RSTAT_VFACTIVE = 2, RSTAT_MASK = 3 };

/* VF_ATQLEN1 and VF_ARQLEN1. */
#define AQLEN_LEN_MASK 0x3ff
#define AQLEN_VFE 0x10000000
#define AQLEN_OVFL 0x20000000
#define AQLEN_CRIT 0x40000000
#define AQLEN_ENABLE 0x80000000
#define AQ_INDEX_MASK 0x3ff

/* VFINT_DYN_CTL01 (vector 0) and VFINT_DYN_CTLN1 (vectors 1..) (docs/spec/registers.md 5.1). */
#define DYN_CTL_INTENA 0x00000001
#define DYN_CTL_CLEARPBA 0x00000002
#define DYN_CTL_SWINT_TRIG 0x00000004
#define DYN_CTL_ITR_INDX_SHIFT 3
#define DYN_CTL_ITR_INDX_MASK 0x00000018
#define DYN_CTL_ITR_NONE 0x00000018
#define DYN_CTL_INTERVAL_SHIFT 5
#define DYN_CTL_INTERVAL_MASK 0x0001ffe0
#define DYN_CTL_SW_ITR_INDX_ENA 0x01000000
#define DYN_CTL_SW_ITR_INDX_SHIFT 25
#define DYN_CTL_SW_ITR_INDX_MASK 0x06000000
#define DYN_CTL_WB_ON_ITR 0x40000000
#define DYN_CTL_INTENA_MSK 0x80000000
#define ITR_UNIT_NS 2000
#define ITR_INTERVAL_MAX 0xff0

/* VFINT_ICR01 and VFINT_ICR0_ENA1 (docs/spec/registers.md 5.2). */
#define ICR0_INTEVENT 0x00000001
#define ICR0_QUEUE_0 0x00000002
#define ICR0_LINK_STAT_CHANGE 0x02000000
#define ICR0_ADMINQ 0x40000000
#define ICR0_SWINT 0x80000000

/* What a read returns when the function does not answer (docs/spec/registers.md 2). */
#define REG_GONE 0xffffffff
#define REG_IN_RESET 0xdeadbeef

#define QUEUE_TAIL_MASK 0x1fff

/* MSI-X table and pending bits in BAR3; the capability in config space is what counts
 * (docs/spec/registers.md 1). */
#define MSIX_ENTRY_SIZE 16
#define MSIX_TABLE_BAR 3
#define MSIX_PBA_OFFSET 0x2000
#define MSIX_VCTRL_MASKED 1

#endif
