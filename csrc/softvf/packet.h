/* SPDX-License-Identifier: BSD-3-Clause */
/* Pure functions over frames. Frames come from an untrusted driver: every length is checked, nothing
 * is allocated, and a frame that makes no sense is plain L2. */
#ifndef IAVFIO_SOFTVF_PACKET_H
#define IAVFIO_SOFTVF_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#define PKT_NO_PCTYPE 255

/* What the parser saw. Offsets are in bytes from the frame's start; l4_off 0 = no L4 header. For a
 * tunnel, outer_* describe the outer headers and l3_off, l4_off the inner ones. */
struct pkt_info {
    uint16_t ptype;
    uint16_t l3_off;
    uint16_t l4_off;
    uint16_t outer_l3_off; /* 0 = no tunnel */
    uint16_t outer_l4_off; /* UDP of a VXLAN or GENEVE tunnel, else 0 */
    uint16_t l4_len; /* bytes from l4_off to the end of the IP packet */
    uint8_t pctype; /* PKT_NO_PCTYPE when nothing is hashed */
    uint8_t umbcast;
    uint8_t ip_version; /* 0, 4, 6 of the innermost IP header */
    uint8_t l4_proto;
    uint8_t fragment;
    uint8_t ipv6_ext; /* routing or destination options header seen */
    uint8_t pad;
    uint8_t vlan_tags;
};

/* UDP ports that the host has registered: the parser knows a tunnel over UDP by nothing else
 * (docs/spec/descriptors.md 13). */
#define TUNNEL_PORTS 16
struct pkt_tunnels {
    uint32_t count;
    struct {
        uint16_t port;
        bool geneve; /* otherwise it is VXLAN's */
    } entry[TUNNEL_PORTS];
};

/* One IP header, seen from its first byte. */
struct pkt_ip {
    uint8_t version;
    uint8_t proto;
    uint8_t fragment;
    uint8_t ext;
    uint32_t l4_off;
    uint32_t end; /* of the IP packet, never beyond the frame */
};
/* False for what is no whole header. */
bool pkt_view_ip(const uint8_t *frame, uint32_t len, uint32_t at, struct pkt_ip *ip);

void pkt_parse(const uint8_t *frame, uint32_t len, const struct pkt_tunnels *tunnels,
               struct pkt_info *info);

/* Checksum findings, bits of the result of pkt_check. */
enum pkt_check_bit { PKT_L3L4P = 1, PKT_IPE = 2, PKT_L4E = 4, PKT_EIPE = 8, PKT_EUDPE = 16 };
uint32_t pkt_check(const uint8_t *frame, uint32_t len, const struct pkt_info *info);

/* Bit 62 of rss_conf.hashcfg, no packet class: rss_hash's plain way is not enough. */
#define RSS_SPECIAL (1ull << 62)

#define RSS_INPUT 48 /* bytes that a key of 52 bytes can hash */

struct rss_conf {
    uint64_t hashcfg; /* by the classes of pkt_info */
    uint64_t classes; /* when split: as the driver set them, by the classes of X722 */
    bool symmetric;
    bool split; /* some of what is one class in hashcfg is hashed, some is not */
    uint32_t table[RSS_INPUT]
                  [256]; /* Toeplitz contribution of each byte value at each input position */
};

void rss_prepare(struct rss_conf *conf, const uint8_t *key, uint32_t key_len, uint64_t hashcfg,
                 bool symmetric, bool x722);
/* Toeplitz hash of at most RSS_INPUT bytes. */
uint32_t rss_toeplitz(const struct rss_conf *conf, const uint8_t *input, uint32_t len);
/* Toeplitz hash of the frame's packet class; *valid = false when its class is not hashed. */
uint32_t rss_hash(const struct rss_conf *conf, const uint8_t *frame, const struct pkt_info *info,
                  bool *valid);

/* Completes checksums in place as a Tx data descriptor commands (docs/spec/descriptors.md 1, 2). ctx
 * words are 0 without a context descriptor. Returns 0, or -1 with a reason when the lengths lie outside
 * the frame. */
int tx_offload(uint8_t *frame, uint32_t len, uint64_t data_qw1, uint64_t ctx_qw0, const char **why);

/* Segmentation (docs/spec/descriptors.md 2, 3). */
struct tso_iter {
    const uint8_t *frame;
    uint32_t len;
    uint32_t header_len;
    uint32_t mss;
    uint32_t offset; /* payload bytes already sent */
    uint32_t index;
    uint32_t l3_off;
    uint32_t l4_off;
    uint32_t outer_l3_off;
    uint32_t outer_l4_off;
    uint64_t data_qw1;
    uint64_t ctx_qw0;
    uint8_t proto;
};
int tso_begin(struct tso_iter *iter, const uint8_t *frame, uint32_t len, uint64_t data_qw1,
              uint64_t ctx_qw0, uint64_t ctx_qw1, const char **why);
/* Next segment into out; returns its length, 0 at the end. cap must hold header and MSS. */
uint32_t tso_next(struct tso_iter *iter, uint8_t *out, uint32_t cap);

/* Puts a tag behind the MAC addresses; 0 or -1 when cap is too small. */
int vlan_insert(uint8_t *frame, uint32_t *len, uint32_t cap, uint16_t tpid, uint16_t tci);
/* TPID of the outermost tag, 0 without one; its TCI in *tci. */
uint16_t vlan_outer(const uint8_t *frame, uint32_t len, uint16_t *tci);

uint64_t checksum_add(const uint8_t *data, uint32_t len);
uint32_t crc32c(const uint8_t *data, uint32_t len, uint32_t crc);
/* The frame check sequence: its bytes go out lowest first. */
uint32_t crc32_ethernet(const uint8_t *data, uint32_t len);

static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

#endif
