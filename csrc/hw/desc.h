/* SPDX-License-Identifier: BSD-3-Clause */
/* LAN queue descriptors (docs/spec/descriptors.md 1, 2, 5, 6, 7). All words little endian.
 * Bit positions are given as SHIFT and MASK (mask before the shift) so that cffi can read them. */
#ifndef IAVFIO_HW_DESC_H
#define IAVFIO_HW_DESC_H

#include <stdint.h>

struct tx_desc { /* data descriptor; a context descriptor is the same 16 bytes, see tx_ctx_desc */
    uint64_t addr;
    uint64_t qw1;
};

struct tx_ctx_desc {
    uint32_t tunneling;
    uint16_t l2tag2;
    uint16_t rsvd;
    uint64_t qw1;
};

struct rx_desc { /* read: addr, hdr_addr; write-back: qw0..qw3 in the same places */
    uint64_t qw0;
    uint64_t qw1;
    uint64_t qw2;
    uint64_t qw3;
};

/* Flexible write-back of E810 as named fields (docs/spec/descriptors.md 7). */
struct rx_flex_desc {
    uint8_t rxdid;
    uint8_t mirror_umbcast;
    uint16_t ptype_ff0;
    uint16_t pkt_len;
    uint16_t hdr_len_sph_ff1;
    uint16_t status0;
    uint16_t l2tag1;
    uint32_t meta01; /* RSS hash; flow id for RXDID 22, 23 */
    uint16_t status1;
    uint8_t ff2;
    uint8_t ts_low;
    uint16_t l2tag2_1st;
    uint16_t l2tag2_2nd;
    uint32_t meta23; /* flow id; RSS hash for RXDID 22, 23 */
    uint32_t ts_high;
};

/* Tx data qw1 (docs/spec/descriptors.md 1). */
enum tx_dtype { TX_DTYPE_DATA = 0x0, TX_DTYPE_CONTEXT = 0x1, TX_DTYPE_DONE = 0xf };
#define TXD_DTYPE_MASK 0xf
#define TXD_CMD_SHIFT 4
#define TXD_CMD_MASK 0xfff
#define TXD_MACLEN_SHIFT 16
#define TXD_MACLEN_MASK 0x7f
#define TXD_IPLEN_SHIFT 23
#define TXD_IPLEN_MASK 0x7f
#define TXD_L4LEN_SHIFT 30
#define TXD_L4LEN_MASK 0xf
#define TXD_BUF_SZ_SHIFT 34
#define TXD_BUF_SZ_MASK 0x3fff
#define TXD_L2TAG1_SHIFT 48
#define TXD_L2TAG1_MASK 0xffff
enum txd_cmd { /* value before the shift by TXD_CMD_SHIFT */
               TXD_CMD_EOP = 0x001,
               TXD_CMD_RS = 0x002,
               TXD_CMD_ICRC = 0x004,
               TXD_CMD_IL2TAG1 = 0x008,
               TXD_CMD_DUMMY = 0x010,
               TXD_CMD_IIPT_IPV6 = 0x020,
               TXD_CMD_IIPT_IPV4 = 0x040,
               TXD_CMD_IIPT_IPV4_CSUM = 0x060,
               TXD_CMD_IIPT_MASK = 0x060,
               TXD_CMD_L4T_TCP = 0x100,
               TXD_CMD_L4T_SCTP = 0x200,
               TXD_CMD_L4T_UDP = 0x300,
               TXD_CMD_L4T_MASK = 0x300,
               TXD_CMD_RE = 0x400
};

/* Tx context (docs/spec/descriptors.md 2): fields of `tunneling` and of qw1. */
#define TXC_EIPT_MASK 0x3
#define TXC_EIPLEN_SHIFT 2
#define TXC_EIPLEN_MASK 0x7f
#define TXC_L4TUNT_SHIFT 9
#define TXC_L4TUNT_MASK 0x3
#define TXC_EIP_NOINC 0x800
#define TXC_L4TUNLEN_SHIFT 12
#define TXC_L4TUNLEN_MASK 0x7f
#define TXC_L4T_CS 0x800000
#define TXC_CMD_SHIFT 4
#define TXC_CMD_MASK 0x7f
#define TXC_TSO_LEN_SHIFT 30
#define TXC_TSO_LEN_MASK 0x3ffff
#define TXC_MSS_SHIFT 50
#define TXC_MSS_MASK 0x3fff
enum txc_eipt { TXC_EIPT_NONE = 0, TXC_EIPT_IPV6 = 1, TXC_EIPT_IPV4 = 2, TXC_EIPT_IPV4_CSUM = 3 };
enum txc_l4tunt { TXC_L4TUNT_NONE = 0, TXC_L4TUNT_UDP = 1, TXC_L4TUNT_GRE = 2 };
enum txc_cmd {
    TXC_CMD_TSO = 0x01,
    TXC_CMD_TSYN = 0x02,
    TXC_CMD_IL2TAG2 = 0x04,
    TXC_CMD_IL2TAG2_IL2H = 0x08,
    TXC_CMD_SWITCH_UPLINK = 0x10,
    TXC_CMD_SWITCH_LOCAL = 0x20,
    TXC_CMD_SWITCH_VSI = 0x30
};

/* Tx limits (docs/spec/descriptors.md 3). */
#define TX_MAX_BUFFERS 8
#define TX_MAX_BUF_SZ 16383
#define TX_MIN_FRAME 17
#define TX_MAX_FRAME 9728
#define TX_MIN_MSS 64
#define TX_MAX_MSS 9668

/* Rx legacy write-back, 32 bytes (docs/spec/descriptors.md 6). */
#define RXL_QW0_L2TAG1_SHIFT 16
#define RXL_QW0_HASH_SHIFT 32
#define RXL_DD 0x1
#define RXL_EOP 0x2
#define RXL_L2TAG1P 0x4
#define RXL_L3L4P 0x8
#define RXL_CRCP 0x10
#define RXL_EXT_UDP_0 0x100
#define RXL_UMBCAST_SHIFT 9
#define RXL_UMBCAST_MASK 0x3
#define RXL_FLM 0x800
#define RXL_FLTSTAT_SHIFT 12
#define RXL_FLTSTAT_MASK 0x3
#define RXL_LPBK 0x4000
#define RXL_IPV6EXADD 0x8000
#define RXL_INT_UDP_0 0x40000
#define RXL_RXE 0x80000
#define RXL_HBO 0x200000
#define RXL_IPE 0x400000
#define RXL_L4E 0x800000
#define RXL_EIPE 0x1000000
#define RXL_OVERSIZE 0x2000000
#define RXL_PPRS 0x4000000
#define RXL_PTYPE_SHIFT 30
#define RXL_PTYPE_MASK 0xff
#define RXL_LEN_SHIFT 38
#define RXL_LEN_MASK 0x3fff
#define RXL_QW2_L2TAG2P 0x1
#define RXL_QW2_L2TAG2_1_SHIFT 32
#define RXL_QW2_L2TAG2_2_SHIFT 48
enum rx_umbcast { RX_UNICAST = 0, RX_MULTICAST = 1, RX_BROADCAST = 2, RX_MIRRORED = 3 };
enum rx_fltstat { RX_FLTSTAT_NONE = 0, RX_FLTSTAT_FD_ID = 1, RX_FLTSTAT_RSS_HASH = 3 };

/* Rx flexible write-back (docs/spec/descriptors.md 7): qw0 fields, then status0 = qw1 15:0, status1 = qw2
 * 15:0. */
#define RXF_RXDID_MASK 0x3f
#define RXF_UMBCAST_SHIFT 14
#define RXF_PTYPE_SHIFT 16
#define RXF_PTYPE_MASK 0x3ff
#define RXF_LEN_SHIFT 32
#define RXF_LEN_MASK 0x3fff
#define RXF_DD 0x1
#define RXF_EOP 0x2
#define RXF_HBO 0x4
#define RXF_L3L4P 0x8
#define RXF_IPE 0x10
#define RXF_L4E 0x20
#define RXF_EIPE 0x40
#define RXF_EUDPE 0x80
#define RXF_LPBK 0x100
#define RXF_IPV6EXADD 0x200
#define RXF_RXE 0x400
#define RXF_CRCP 0x800
#define RXF_RSS_VALID 0x1000
#define RXF_L2TAG1P 0x2000
#define RXF_QW1_L2TAG1_SHIFT 16
#define RXF_QW1_META01_SHIFT 32
#define RXF_QW2_NAT 0x10
#define RXF_QW2_L2TAG2P 0x800
#define RXF_QW2_TS_VALID 0x1000000
#define RXF_QW2_L2TAG2_1_SHIFT 32
#define RXF_QW2_L2TAG2_2_SHIFT 48

enum rxdid {
    RXDID_LEGACY_16B = 0,
    RXDID_LEGACY_32B = 1,
    RXDID_FLEX_NIC = 2,
    RXDID_FLEX_NIC_2 = 6,
    RXDID_COMMS_GENERIC = 16,
    RXDID_COMMS_AUX_VLAN = 17,
    RXDID_COMMS_AUX_IPV4 = 18,
    RXDID_COMMS_AUX_IPV6 = 19,
    RXDID_COMMS_AUX_IPV6_FLOW = 20,
    RXDID_COMMS_AUX_TCP = 21,
    RXDID_COMMS_OVS_1 = 22,
    RXDID_COMMS_OVS_2 = 23,
    RXDID_COMMS_IPSEC = 24,
    RXDID_COMMS_AUX_IP_OFFSET = 25
};

/* Queue contexts (docs/spec/descriptors.md 10) and packet classes (docs/spec/descriptors.md 12, 13). */
#define RING_MIN 64
#define RING_MAX 8160
#define RING_MAX_X710 4096
#define RING_MULTIPLE 32
#define RING_BASE_ALIGN 128
#define RX_DATABUFFER_MIN 128
#define RX_DATABUFFER_MAX 16256
#define RX_MAX_PKT_MIN 64
#define RX_MAX_CHAIN 5
#define RX_MAX_FRAME 9728
#define RSS_KEY_SIZE 52
#define RSS_LUT_SIZE 64
enum rss_pctype {
    PCTYPE_UDP4_UNICAST = 29,
    PCTYPE_UDP4_MULTICAST = 30,
    PCTYPE_UDP4 = 31,
    PCTYPE_TCP4_SYN = 32,
    PCTYPE_TCP4 = 33,
    PCTYPE_SCTP4 = 34,
    PCTYPE_OTHER4 = 35,
    PCTYPE_FRAG4 = 36,
    PCTYPE_UDP6_UNICAST = 39,
    PCTYPE_UDP6_MULTICAST = 40,
    PCTYPE_UDP6 = 41,
    PCTYPE_TCP6_SYN = 42,
    PCTYPE_TCP6 = 43,
    PCTYPE_SCTP6 = 44,
    PCTYPE_OTHER6 = 45,
    PCTYPE_FRAG6 = 46,
    PCTYPE_L2_PAYLOAD = 63
};
enum ptype {
    PTYPE_UNKNOWN = 0,
    PTYPE_L2 = 1,
    PTYPE_TIMESYNC = 2,
    PTYPE_LLDP = 6,
    PTYPE_EAPOL = 10,
    PTYPE_ARP = 11,
    PTYPE_IPV4 = 22, /* + offset of enum ptype_kind */
    PTYPE_IPV6 = 88, /* + offset of enum ptype_kind */
    PTYPE_COMMON = 154 /* values below are common to the 8-bit and the 10-bit field */
};
enum ptype_kind {
    PTYPE_KIND_FRAG = 0,
    PTYPE_KIND_OTHER = 1,
    PTYPE_KIND_UDP = 2,
    PTYPE_KIND_TCP = 4,
    PTYPE_KIND_SCTP = 5,
    PTYPE_KIND_ICMP = 6
};

#endif
