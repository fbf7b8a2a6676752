/* SPDX-License-Identifier: BSD-3-Clause */
/* Version 1.1 of virtchnl: opcodes, status, capabilities, messages (docs/spec/virtchnl.md 2, 3, 4, 5, 6).
 * A variable-length message ends in a flexible array; its wire length is never sizeof
 * (docs/spec/virtchnl.md 5). */
#ifndef IAVFIO_HW_VIRTCHNL_H
#define IAVFIO_HW_VIRTCHNL_H

#include <stdint.h>

#define VC_VERSION_MAJOR 1
#define VC_VERSION_MINOR 1

enum vc_opcode {
    VC_OP_UNKNOWN = 0,
    VC_OP_VERSION = 1,
    VC_OP_RESET_VF = 2,
    VC_OP_GET_VF_RESOURCES = 3,
    VC_OP_CONFIG_TX_QUEUE = 4,
    VC_OP_CONFIG_RX_QUEUE = 5,
    VC_OP_CONFIG_VSI_QUEUES = 6,
    VC_OP_CONFIG_IRQ_MAP = 7,
    VC_OP_ENABLE_QUEUES = 8,
    VC_OP_DISABLE_QUEUES = 9,
    VC_OP_ADD_ETH_ADDR = 10,
    VC_OP_DEL_ETH_ADDR = 11,
    VC_OP_ADD_VLAN = 12,
    VC_OP_DEL_VLAN = 13,
    VC_OP_CONFIG_PROMISCUOUS_MODE = 14,
    VC_OP_GET_STATS = 15,
    VC_OP_EVENT = 17,
    VC_OP_CONFIG_RSS_HFUNC = 18,
    VC_OP_RDMA = 20,
    VC_OP_CONFIG_RDMA_IRQ_MAP = 21,
    VC_OP_RELEASE_RDMA_IRQ_MAP = 22,
    VC_OP_CONFIG_RSS_KEY = 23,
    VC_OP_CONFIG_RSS_LUT = 24,
    VC_OP_GET_RSS_HASHCFG_CAPS = 25,
    VC_OP_SET_RSS_HASHCFG = 26,
    VC_OP_ENABLE_VLAN_STRIPPING = 27,
    VC_OP_DISABLE_VLAN_STRIPPING = 28,
    VC_OP_REQUEST_QUEUES = 29,
    VC_OP_ENABLE_CHANNELS = 30,
    VC_OP_DISABLE_CHANNELS = 31,
    VC_OP_ADD_CLOUD_FILTER = 32,
    VC_OP_DEL_CLOUD_FILTER = 33,
    VC_OP_INLINE_IPSEC_CRYPTO = 34,
    VC_OP_GET_SUPPORTED_RXDIDS = 44,
    VC_OP_ADD_RSS_CFG = 45,
    VC_OP_DEL_RSS_CFG = 46,
    VC_OP_ADD_FDIR_FILTER = 47,
    VC_OP_DEL_FDIR_FILTER = 48,
    VC_OP_GET_MAX_RSS_QREGION = 50,
    VC_OP_GET_OFFLOAD_VLAN_V2_CAPS = 51,
    VC_OP_ADD_VLAN_V2 = 52,
    VC_OP_DEL_VLAN_V2 = 53,
    VC_OP_ENABLE_VLAN_STRIPPING_V2 = 54,
    VC_OP_DISABLE_VLAN_STRIPPING_V2 = 55,
    VC_OP_ENABLE_VLAN_INSERTION_V2 = 56,
    VC_OP_DISABLE_VLAN_INSERTION_V2 = 57,
    VC_OP_ENABLE_VLAN_FILTERING_V2 = 58,
    VC_OP_DISABLE_VLAN_FILTERING_V2 = 59,
    VC_OP_1588_PTP_GET_CAPS = 60,
    VC_OP_1588_PTP_GET_TIME = 61,
    VC_OP_GET_QOS_CAPS = 66,
    VC_OP_CONFIG_QUEUE_TC_MAP = 67,
    VC_OP_ENABLE_QUEUES_V2 = 107,
    VC_OP_DISABLE_QUEUES_V2 = 108,
    VC_OP_MAP_QUEUE_VECTOR = 111,
    VC_OP_CONFIG_QUEUE_BW = 112,
    VC_OP_CONFIG_QUANTA = 113,
    VC_OP_FLOW_SUBSCRIBE = 114,
    VC_OP_FLOW_UNSUBSCRIBE = 115
};

enum vc_status {
    VC_STATUS_SUCCESS = 0,
    VC_STATUS_ERR_PARAM = -5,
    VC_STATUS_ERR_NO_MEMORY = -18,
    VC_STATUS_ERR_OPCODE_MISMATCH = -38,
    VC_STATUS_ERR_CQP_COMPL_ERROR = -39,
    VC_STATUS_ERR_INVALID_VF_ID = -40,
    VC_STATUS_ERR_ADMIN_QUEUE_ERROR = -53,
    VC_STATUS_ERR_NOT_SUPPORTED = -64
};

/* Capability flags of GET_VF_RESOURCES (docs/spec/virtchnl.md 4). */
#define VC_CAP_L2 0x00000001
#define VC_CAP_RDMA 0x00000002
#define VC_CAP_RSS_AQ 0x00000008
#define VC_CAP_RSS_REG 0x00000010
#define VC_CAP_WB_ON_ITR 0x00000020
#define VC_CAP_REQ_QUEUES 0x00000040
#define VC_CAP_ADV_LINK_SPEED 0x00000080
#define VC_CAP_INLINE_IPSEC 0x00000100
#define VC_CAP_LARGE_NUM_QPAIRS 0x00000200
#define VC_CAP_CRC 0x00000400
#define VC_CAP_TC_U32 0x00000800
#define VC_CAP_QGRPS 0x00001000
#define VC_CAP_FLOW_STEER_TO_QGRP 0x00002000
#define VC_CAP_FSUB_PF 0x00004000
#define VC_CAP_VLAN_V2 0x00008000
#define VC_CAP_VLAN 0x00010000
#define VC_CAP_RX_POLLING 0x00020000
#define VC_CAP_RSS_PCTYPE_V2 0x00040000
#define VC_CAP_RSS_PF 0x00080000
#define VC_CAP_ENCAP 0x00100000
#define VC_CAP_ENCAP_CSUM 0x00200000
#define VC_CAP_RX_ENCAP_CSUM 0x00400000
#define VC_CAP_ADQ 0x00800000
#define VC_CAP_ADQ_V2 0x01000000
#define VC_CAP_USO 0x02000000
#define VC_CAP_RX_FLEX_DESC 0x04000000
#define VC_CAP_ADV_RSS_PF 0x08000000
#define VC_CAP_FDIR_PF 0x10000000
#define VC_CAP_QOS 0x20000000
#define VC_CAP_DCF 0x40000000
#define VC_CAP_PTP 0x80000000

struct vc_version_info {
    uint32_t major;
    uint32_t minor;
};

enum vc_vsi_type { VC_VSI_SRIOV = 6 };

struct vc_vsi_resource {
    uint16_t vsi_id;
    uint16_t num_queue_pairs;
    int32_t vsi_type;
    uint16_t qset_handle;
    uint8_t default_mac_addr[6];
};

struct vc_vf_resource {
    uint16_t num_vsis;
    uint16_t num_queue_pairs;
    uint16_t max_vectors;
    uint16_t max_mtu; /* a frame size; 0 = unknown */
    uint32_t vf_cap_flags;
    uint32_t rss_key_size;
    uint32_t rss_lut_size;
    struct vc_vsi_resource vsi_res[];
};

struct vc_txq_info {
    uint16_t vsi_id;
    uint16_t queue_id;
    uint16_t ring_len;
    uint16_t headwb_enabled;
    uint64_t dma_ring_addr;
    uint64_t dma_headwb_addr;
};

struct vc_rxq_info {
    uint16_t vsi_id;
    uint16_t queue_id;
    uint32_t ring_len;
    uint16_t hdr_size;
    uint16_t splithdr_enabled;
    uint32_t databuffer_size;
    uint32_t max_pkt_size;
    uint8_t crc_disable;
    uint8_t rxdid;
    uint8_t flags;
    uint8_t pad1;
    uint64_t dma_ring_addr;
    int32_t rx_split_pos;
    uint32_t pad2;
};

struct vc_queue_pair_info {
    struct vc_txq_info txq;
    struct vc_rxq_info rxq;
};

struct vc_vsi_queue_config_info {
    uint16_t vsi_id;
    uint16_t num_queue_pairs;
    uint32_t pad;
    struct vc_queue_pair_info qpair[];
};

struct vc_vector_map {
    uint16_t vsi_id;
    uint16_t vector_id;
    uint16_t rxq_map;
    uint16_t txq_map;
    uint16_t rxitr_idx;
    uint16_t txitr_idx;
};

struct vc_irq_map_info {
    uint16_t num_vectors;
    struct vc_vector_map vecmap[];
};

struct vc_queue_select {
    uint16_t vsi_id;
    uint16_t pad;
    uint32_t rx_queues;
    uint32_t tx_queues;
};

enum vc_ether_addr_type {
    VC_ETHER_ADDR_LEGACY = 0,
    VC_ETHER_ADDR_PRIMARY = 1,
    VC_ETHER_ADDR_EXTRA = 2
};

struct vc_ether_addr {
    uint8_t addr[6];
    uint8_t type;
    uint8_t pad;
};

struct vc_ether_addr_list {
    uint16_t vsi_id;
    uint16_t num_elements;
    struct vc_ether_addr list[];
};

struct vc_vlan_filter_list {
    uint16_t vsi_id;
    uint16_t num_elements;
    uint16_t vlan_id[];
};

enum vc_promisc_flag { VC_PROMISC_UNICAST = 1, VC_PROMISC_MULTICAST = 2 };

struct vc_promisc_info {
    uint16_t vsi_id;
    uint16_t flags;
};

struct vc_eth_stats {
    uint64_t rx_bytes;
    uint64_t rx_unicast;
    uint64_t rx_multicast;
    uint64_t rx_broadcast;
    uint64_t rx_discards;
    uint64_t rx_unknown_protocol;
    uint64_t tx_bytes;
    uint64_t tx_unicast;
    uint64_t tx_multicast;
    uint64_t tx_broadcast;
    uint64_t tx_discards;
    uint64_t tx_errors;
};

struct vc_rss_key {
    uint16_t vsi_id;
    uint16_t key_len;
    uint8_t key[];
};

struct vc_rss_lut {
    uint16_t vsi_id;
    uint16_t lut_entries;
    uint8_t lut[];
};

enum vc_rss_algorithm {
    VC_RSS_TOEPLITZ = 0,
    VC_RSS_XOR = 1,
    VC_RSS_TOEPLITZ_SYMMETRIC = 2,
    VC_RSS_XOR_SYMMETRIC = 3
};

struct vc_rss_hfunc {
    uint16_t vsi_id;
    uint16_t rss_algorithm;
    uint32_t reserved;
};

struct vc_rss_hashcfg {
    uint64_t hashcfg;
};

/* A rule for the RSS of packets by their headers: ADD_RSS_CFG, DEL_RSS_CFG (docs/spec/virtchnl.md 5, Flow
 * rules). */
enum vc_proto {
    VC_PROTO_NONE = 0,
    VC_PROTO_ETH = 1,
    VC_PROTO_S_VLAN = 2,
    VC_PROTO_C_VLAN = 3,
    VC_PROTO_IPV4 = 4,
    VC_PROTO_IPV6 = 5,
    VC_PROTO_TCP = 6,
    VC_PROTO_UDP = 7,
    VC_PROTO_SCTP = 8,
    VC_PROTO_GTPU_IP = 9,
    VC_PROTO_GTPU_EH = 10,
    VC_PROTO_GTPU_EH_DOWN = 11,
    VC_PROTO_GTPU_EH_UP = 12,
    VC_PROTO_PPPOE = 13,
    VC_PROTO_L2TPV3 = 14,
    VC_PROTO_ESP = 15,
    VC_PROTO_AH = 16,
    VC_PROTO_PFCP = 17
};

struct vc_proto_hdr {
    int32_t type;
    uint32_t field_selector;
    uint8_t buffer[64];
};

struct vc_proto_hdrs {
    uint8_t tunnel_level;
    uint8_t pad[3];
    uint32_t count;
    struct vc_proto_hdr proto_hdr[32];
};

struct vc_rss_cfg {
    struct vc_proto_hdrs proto_hdrs;
    int32_t rss_algorithm;
    uint8_t reserved[128];
};

struct vc_vf_res_request {
    uint16_t num_queue_pairs;
};

enum vc_event_code {
    VC_EVENT_LINK_CHANGE = 1,
    VC_EVENT_RESET_IMPENDING = 2,
    VC_EVENT_PF_DRIVER_CLOSE = 3
};
enum vc_event_severity { VC_SEVERITY_INFO = 0, VC_SEVERITY_CERTAIN_DOOM = 255 };

/* link_speed: Mb/s with ADV_LINK_SPEED, else one bit of enum vc_link_speed (docs/spec/virtchnl.md 6). */
enum vc_link_speed {
    VC_LINK_2_5GB = 0x01,
    VC_LINK_100MB = 0x02,
    VC_LINK_1GB = 0x04,
    VC_LINK_10GB = 0x08,
    VC_LINK_40GB = 0x10,
    VC_LINK_20GB = 0x20,
    VC_LINK_25GB = 0x40,
    VC_LINK_5GB = 0x80
};

struct vc_pf_event {
    int32_t event;
    uint32_t link_speed;
    uint8_t link_status;
    uint8_t pad[3];
    int32_t severity;
};

struct vc_supported_rxdids {
    uint64_t supported_rxdids;
};

/* VLAN V2 (docs/spec/virtchnl.md 5). */
#define VC_VLAN_ETHERTYPE_8100 0x00000001
#define VC_VLAN_ETHERTYPE_88A8 0x00000002
#define VC_VLAN_ETHERTYPE_9100 0x00000004
#define VC_VLAN_TAG_L2TAG1 0x00000100
#define VC_VLAN_TAG_L2TAG2 0x00000200
#define VC_VLAN_TAG_L2TAG2_2 0x00000400
#define VC_VLAN_PRIO 0x01000000
#define VC_VLAN_FILTER_MASK 0x10000000
#define VC_VLAN_ETHERTYPE_AND 0x20000000
#define VC_VLAN_ETHERTYPE_XOR 0x40000000
#define VC_VLAN_TOGGLE 0x80000000

struct vc_vlan_supported_caps {
    uint32_t outer;
    uint32_t inner;
};

struct vc_vlan_filtering_caps {
    struct vc_vlan_supported_caps filtering_support;
    uint32_t ethertype_init;
    uint16_t max_filters;
    uint8_t pad[2];
};

struct vc_vlan_offload_caps {
    struct vc_vlan_supported_caps stripping_support;
    struct vc_vlan_supported_caps insertion_support;
    uint32_t ethertype_init;
    uint8_t ethertype_match;
    uint8_t pad[3];
};

struct vc_vlan_caps {
    struct vc_vlan_filtering_caps filtering;
    struct vc_vlan_offload_caps offloads;
};

struct vc_vlan {
    uint16_t tci;
    uint16_t tci_mask;
    uint16_t tpid;
    uint8_t pad[2];
};

struct vc_vlan_filter {
    struct vc_vlan inner;
    struct vc_vlan outer;
    uint8_t pad[16];
};

struct vc_vlan_filter_list_v2 {
    uint16_t vport_id;
    uint16_t num_elements;
    uint8_t pad[4];
    struct vc_vlan_filter filters[];
};

struct vc_vlan_setting {
    uint32_t outer_ethertype_setting;
    uint32_t inner_ethertype_setting;
    uint16_t vport_id;
    uint8_t pad[6];
};

/* Queue and vector messages of LARGE_NUM_QPAIRS, QoS, PTP: what a PF must at least parse. */
struct vc_queue_chunk {
    int32_t type;
    uint16_t start_queue_id;
    uint16_t num_queues;
};

struct vc_ptp_caps {
    uint32_t caps;
    uint8_t rsvd[44];
};

struct vc_phc_time {
    uint64_t time;
    uint8_t rsvd[8];
};

struct vc_shaper_bw {
    uint32_t committed;
    uint32_t peak;
};

struct vc_queue_bw {
    uint16_t queue_id;
    uint8_t tc;
    uint8_t pad;
    struct vc_shaper_bw shaper;
};

struct vc_queues_bw_cfg {
    uint16_t vsi_id;
    uint16_t num_queues;
    struct vc_queue_bw cfg[];
};

struct vc_quanta_cfg {
    uint16_t quanta_size;
    uint16_t pad;
    struct vc_queue_chunk queue_select;
};

#endif
