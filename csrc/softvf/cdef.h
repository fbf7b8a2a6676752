/* SPDX-License-Identifier: BSD-3-Clause */
/* What Python sees of the software VF's data plane. */
#ifndef IAVFIO_SOFTVF_CDEF_H
#define IAVFIO_SOFTVF_CDEF_H

#include <stdint.h>

struct plane;

#define SOFTVF_EVENTS 256
#define SOFTVF_TEXT 232

enum softvf_event_kind { SOFTVF_VIOLATION = 0, SOFTVF_MDD = 1, SOFTVF_UPLINK = 2, SOFTVF_NOTE = 3 };

#define SOFTVF_NO_VF 0xffffffff /* the event is of the wire */

struct softvf_event {
    uint32_t vf;
    uint32_t kind;
    uint32_t count; /* how many it stands for: a message that repeats is held back (report.c) */
    char rule[48]; /* the page of docs/spec and its section that have the rule */
    char text[SOFTVF_TEXT];
};

enum softvf_strip { SOFTVF_STRIP_NONE = 0, SOFTVF_STRIP_L2TAG1 = 1, SOFTVF_STRIP_L2TAG2_2 = 2 };

/* What the silicon does, and how much of it BAR0 shows. */
struct softvf_card {
    uint64_t bar_size;
    uint64_t dma_bytes; /* of its memory that each client may have mapped; 0: 64 GiB */
    uint32_t wb_group; /* so many receive descriptors are written back together; 0: 2 */
    uint32_t rx_tail_step; /* QRX_TAIL counts in multiples of it, a power of two; 0: 1 */
    uint8_t flex; /* flexible receive descriptors (docs/spec/descriptors.md 7) */
    uint8_t e810_itr; /* the layout of VFINT_ITRN (docs/spec/registers.md 5.3) */
    uint8_t wb_on_itr;
    uint8_t tails_stay; /* over a disabled queue and a VF's reset (docs/spec/registers.md 8) */
};

/* The wire, from the software VF's side; bytes without FCS. */
struct softvf_wire_stats {
    uint64_t received, received_bytes;
    uint64_t link_down; /* of those received: came while the wire was down, lost */
    uint64_t bad_length; /* shorter than an Ethernet header, or too long for the switch */
    uint64_t unmatched; /* for no VF */
    /* For VFs of which none got it; where these had several reasons, the last one's: */
    uint64_t not_receiving, vlan_filtered, over_max_frame, no_room;
    uint64_t stopped; /* malicious driver detection stopped the queue at this frame */
    uint64_t spoiled; /* a fault that was asked for lost it */
    uint64_t dropped; /* by a rule of the flow director */
    uint64_t sent, sent_bytes, not_sent;
    uint64_t capture_waits; /* 1: for its start */
    uint64_t capture_ended; /* 1: it was played to its end */
    uint64_t capture_damaged; /* 1: ... which is inside a record */
    uint64_t capture_too_long; /* frames that were left out */
    uint64_t capture_partial; /* frames that were captured in part, and played so */
    uint64_t capture_rounds; /* how many times it was played to its end */
    uint64_t
        capture_late_us; /* of a paced capture: how far its latest frame came behind its time */
};

/* A mapping that no window uses any more. */
struct softvf_grave {
    void *base;
    uint64_t bytes, page;
};

enum { SOFTVF_STRAYS = 4 };

/* Unicast frames that a VF sent to an address that nobody has, and that no wire took. */
struct softvf_stray {
    uint64_t mac; /* 48 bits */
    uint64_t frames; /* 0: this entry is free */
};

/* Headers of the packets that a rule is of (docs/spec/virtchnl.md 5, Flow rules). Rules for RSS have no use for
 * those behind SOFTVF_HAS_PFCP, and hash no field behind SOFTVF_OF_ETH_TYPE. */
enum softvf_rule_header {
    SOFTVF_HAS_ETH = 0x1,
    SOFTVF_HAS_VLAN = 0x2,
    SOFTVF_HAS_IPV4 = 0x4,
    SOFTVF_HAS_IPV6 = 0x8,
    SOFTVF_HAS_TCP = 0x10,
    SOFTVF_HAS_UDP = 0x20,
    SOFTVF_HAS_SCTP = 0x40,
    SOFTVF_HAS_PPPOE = 0x80,
    SOFTVF_HAS_GTPU = 0x100, /* without an extension header that says uplink or downlink */
    SOFTVF_HAS_GTPU_EH = 0x200,
    SOFTVF_HAS_GTPU_DOWN = 0x400,
    SOFTVF_HAS_GTPU_UP = 0x800,
    SOFTVF_HAS_L2TPV3 = 0x1000,
    SOFTVF_HAS_ESP = 0x2000,
    SOFTVF_HAS_AH = 0x4000,
    SOFTVF_HAS_PFCP = 0x8000, /* of a session: with a SEID */
    SOFTVF_HAS_PFCP_NODE = 0x10000,
    SOFTVF_HAS_NAT_T_ESP = 0x20000, /* ESP in UDP */
    SOFTVF_HAS_NON_IP = 0x40000 /* neither IPv4 nor IPv6 follows the EtherType */
};

/* What it hashes or compares of them, in the order in which that goes into the hash. */
enum softvf_rule_field {
    SOFTVF_OF_IP_SRC = 0x1,
    SOFTVF_OF_IP_DST = 0x2,
    SOFTVF_OF_SRC_PORT = 0x4,
    SOFTVF_OF_DST_PORT = 0x8,
    SOFTVF_OF_IP_PROTO = 0x10,
    SOFTVF_OF_GTPU_TEID = 0x20,
    SOFTVF_OF_L2TPV3_SESSION = 0x40,
    SOFTVF_OF_ESP_SPI = 0x80,
    SOFTVF_OF_AH_SPI = 0x100,
    SOFTVF_OF_PFCP_SEID = 0x200,
    SOFTVF_OF_PPPOE_SESSION = 0x400,
    SOFTVF_OF_S_VLAN = 0x800,
    SOFTVF_OF_C_VLAN = 0x1000,
    SOFTVF_OF_ETH_SRC = 0x2000,
    SOFTVF_OF_ETH_DST = 0x4000,
    SOFTVF_OF_ETH_TYPE = 0x8000,
    SOFTVF_OF_IP_DSCP = 0x10000, /* IPv6: the whole traffic class */
    SOFTVF_OF_IP_TTL = 0x20000, /* IPv6: the hop limit */
    SOFTVF_OF_GTPU_QFI = 0x40000
};

struct softvf_rule {
    uint32_t headers;
    uint32_t fields;
    uint32_t symmetric;
};

#define SOFTVF_RULES 64

enum softvf_flow_action {
    SOFTVF_FLOW_QUEUE,
    SOFTVF_FLOW_QUEUES, /* one of a region, by the RSS hash */
    SOFTVF_FLOW_DROP,
    SOFTVF_FLOW_PASS /* as RSS decides */
};

#define SOFTVF_FLOWS 512 /* of a VF ... */
#define SOFTVF_FLOW_PATTERNS 64 /* ... with so many different pairs of headers and fields */
#define SOFTVF_FLOW_FRAME 1024 /* bytes of a template: a PF's training packet has 562 */

/* A rule of the flow director: frames with these headers whose fields are the template's (docs/spec/descriptors.md 14). */
struct softvf_flow {
    uint32_t headers, fields;
    const uint8_t *frame; /* the template, as the VF receives it; its IP lengths do not count */
    uint32_t frame_len;
    uint32_t action;
    uint32_t queue, queues; /* queues: a power of two */
    uint32_t mark, marked; /* marked: the receive descriptor shows `mark` */
};

/* What the PF decided for one VF; published whole. */
struct softvf_config {
    uint8_t macs[64][6];
    uint32_t num_macs;
    uint8_t primary[6];
    uint8_t promisc_unicast; /* gets all unicast frames */
    uint8_t default_vsi; /* gets what comes from the wire and is for nobody */
    uint8_t promisc_multicast, trusted, spoof_check;
    uint8_t active, link_up, mdd_stopped, symmetric, strip;
    uint8_t vlan_pruning; /* VLAN filters hold frames back that are received */
    uint8_t vlan_checking; /* and those that are sent, while the spoof check is on */
    /* hashcfg has classes of its own for unicast, multicast and SYN (docs/spec/descriptors.md 12.1) */
    uint8_t x722_classes;
    uint16_t port_vlan;
    uint16_t num_vlans; /* VLAN filters; without one every tag passes */
    uint16_t strip_tpids[3];
    uint16_t insert_tpid;
    uint32_t num_queues;
    uint32_t max_frame;
    uint32_t delay_us; /* that its frames take to the switch, besides what they take anyway */
    uint32_t rate; /* Mbit/s that the VF may send, of frames with FCS; 0: as fast as it can */
    uint32_t lut_size;
    uint64_t hashcfg;
    uint8_t rss_key[64];
    uint8_t rss_lut[512];
    uint32_t num_rules; /* the first that fits decides; without one hashcfg does */
    struct softvf_rule rules[SOFTVF_RULES];
    uint8_t comms; /* the parser knows GTP-U, PPPoE, L2TPv3, ESP, AH and PFCP: the comms package */
    uint32_t num_flows; /* the first that fits decides */
    const struct softvf_flow *flows; /* read while it is published, not kept */
};

/* Everything below but new, start, stop, free is called between lock and unlock: the data thread then
 * stands between two rounds, so what was configured, unmapped or disabled is so when unlock returns. */
void plane_lock(struct plane *plane);
void plane_unlock(struct plane *plane);

struct plane *plane_new(uint32_t vfs, const struct softvf_card *card, const char *uplink,
                        int immediate, char *error, uint32_t error_size);
int plane_start(struct plane *plane);
void plane_stop(struct plane *plane);
void plane_free(struct plane *plane);
int plane_event_fd(const struct plane *plane);
int plane_next_event(struct plane *plane, struct softvf_event *event);
uint32_t plane_events_lost(struct plane *plane);
/* Bitmap of the VFs that truncated memory which they had mapped, since the last call: their clients must go. */
uint64_t plane_condemned(struct plane *plane);
uint64_t plane_violations(struct plane *plane, uint32_t vf);

int plane_bar_fd(const struct plane *plane, uint32_t vf);
uint32_t plane_bar_read32(struct plane *plane, uint32_t vf, uint64_t offset);
void plane_bar_write32(struct plane *plane, uint32_t vf, uint64_t offset, uint32_t value);

int plane_dma_map(struct plane *plane, uint32_t vf, int fd, uint64_t offset, uint64_t iova,
                  uint64_t size, int readable, int writable);
int64_t plane_dma_unmap(struct plane *plane, uint32_t vf, uint64_t iova, uint64_t size,
                        int everything);
/* Takes one mapping that no window uses any more out of the tables: 1, or 0 where there is none. It stays the
 * client's share until plane_dma_buried. */
int plane_dma_bury(struct plane *plane, uint32_t vf, struct softvf_grave *grave);
void plane_dma_buried(struct plane *plane, uint32_t vf, const struct softvf_grave *grave);
/* Of any thread, without the lock; the plane may be gone. It takes long where many pages were touched, or where
 * nobody else holds the memory. */
void plane_unmap(const struct softvf_grave *grave);
/* What a client of before has lost is nothing to the next one. */
void plane_forgive(struct plane *plane, uint32_t vf);
int plane_dma_read(struct plane *plane, uint32_t vf, uint64_t iova, void *data, uint64_t len);
int plane_dma_write(struct plane *plane, uint32_t vf, uint64_t iova, const void *data,
                    uint64_t len);
void plane_set_bus_master(struct plane *plane, uint32_t vf, int on);

int plane_configure_tx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries);
int plane_configure_rx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries, uint32_t buffer_size, uint32_t max_frame, uint32_t rxdid,
                       int keep_crc);
int plane_enable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx);
int plane_disable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx);

/* A fault: the queue takes nothing any more, whatever its tail says, until it is let go or the VF is reset. */
int plane_stall_tx(struct plane *plane, uint32_t vf, uint32_t queue, int on);

/* Faults of reception. LOSE: nobody counts the frame; UNCOUNTED: the PF does not count what arrives. Of
 * frames with a VLAN tag alone: TAG tells another number of a stripped one, TAG_KEPT does not strip,
 * TAG_LOST takes the tag off and tells nobody, TAGGED_LOST loses the frame. */
enum softvf_spoil {
    SOFTVF_SPOIL_LOSE,
    SOFTVF_SPOIL_CORRUPT,
    SOFTVF_SPOIL_TWICE,
    SOFTVF_SPOIL_HASH,
    SOFTVF_SPOIL_CHECKSUM,
    SOFTVF_SPOIL_UNCOUNTED,
    SOFTVF_SPOIL_TAG,
    SOFTVF_SPOIL_TAG_KEPT,
    SOFTVF_SPOIL_TAG_LOST,
    SOFTVF_SPOIL_TAGGED_LOST,
    SOFTVF_SPOIL_KINDS
};
/* A fault: every so many-th frame to the VF is spoiled; every = 0 ends it. */
int plane_spoil(struct plane *plane, uint32_t vf, uint32_t kind, uint32_t every);

int plane_map_vector(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t rx_map,
                     uint32_t tx_map, uint32_t rx_itr, uint32_t tx_itr);
int plane_set_eventfd(struct plane *plane, uint32_t vf, uint32_t vector, int fd);
void plane_set_msix(struct plane *plane, uint32_t vf, int enabled);
void plane_mask_vector(struct plane *plane, uint32_t vf, uint32_t vector, int masked);
uint64_t plane_pending(struct plane *plane, uint32_t vf);
void plane_write_dyn_ctl(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t value);
uint32_t plane_read_dyn_ctl(struct plane *plane, uint32_t vf, uint32_t vector);
void plane_write_itr(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t itr,
                     uint32_t interval);
uint32_t plane_read_itr(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t itr);
void plane_raise(struct plane *plane, uint32_t vf, uint32_t vector);
/* Signals an eventfd of a VF's client, and never waits for the client. */
void plane_signal(struct plane *plane, uint32_t vf, int fd);
void plane_set_rx_polling(struct plane *plane, uint32_t vf, int on);

/* vlans[64 * type + n]: bitmap of the filters of types 8100, 88a8, 9100. -EINVAL also for a flow whose template
 * lacks what the flow is of, -ENOSPC for more flows or patterns than there is room for: nothing changes then. */
int plane_publish(struct plane *plane, uint32_t vf, const struct softvf_config *config,
                  const uint64_t *vlans);
/* What plane_publish would say of the flows; changes nothing. */
int plane_check_flows(struct plane *plane, const struct softvf_config *config);
void plane_set_link(struct plane *plane, int up);
/* Registers the UDP port of a tunnel, as the host does when it makes one; -ENOSPC when there are too many. */
int plane_add_tunnel(struct plane *plane, uint32_t port, int geneve);
void plane_remove_tunnel(struct plane *plane, uint32_t port);
void plane_wire_stats(struct plane *plane, struct softvf_wire_stats *stats);
/* Lets a capture begin that waits for it; -ENOTSUP for other uplinks. */
int plane_wire_play(struct plane *plane);
void plane_stats(struct plane *plane, uint32_t vf, uint64_t *stats);
void plane_clear_stats(struct plane *plane, uint32_t vf);
/* The SOFTVF_STRAYS addresses with the most frames; they outlive resets. */
void plane_strays(struct plane *plane, uint32_t vf, struct softvf_stray *strays);
int plane_queue_stats(struct plane *plane, uint32_t vf, uint32_t queue, int rx, uint64_t *stats);
void plane_reset_vf(struct plane *plane, uint32_t vf);

#endif
