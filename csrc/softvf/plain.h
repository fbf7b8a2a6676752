/* SPDX-License-Identifier: BSD-3-Clause */
/* What nearly all frames are: IPv4 without tag, options, fragments or tunnel, carrying TCP or UDP. The
 * general functions (parse.c, rss.c, checksum.c) use these too, so both ways say the same. */
#ifndef IAVFIO_SOFTVF_PLAIN_H
#define IAVFIO_SOFTVF_PLAIN_H

#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"

#define PLAIN_HEAD 54 /* all that the functions below look at, but for the L4 checksum */

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* One's complement sum, unfolded, in the machine's byte order: it may be taken in any width (RFC 1071). */
static inline uint64_t sum_raw(const uint8_t *data, uint32_t len)
{
    uint64_t low = 0, high = 0, word;
    uint16_t half;

    for (; len >= 8; len -= 8, data += 8) {
        word = load64(data);
        low += word & 0xffffffff;
        high += word >> 32;
    }
    if (len & 4) {
        low += load32(data);
        data += 4;
    }
    if (len & 2) {
        memcpy(&half, data, sizeof(half));
        low += half;
        data += 2;
    }
    if (len & 1) {
        const uint8_t last[2] = {*data, 0}; /* the first byte of a word */

        memcpy(&half, last, sizeof(half));
        low += half;
    }
    return low + high;
}

static inline bool tunnel_port(const struct pkt_tunnels *tunnels, uint16_t port)
{
    for (uint32_t i = 0; i < tunnels->count; i++)
        if (tunnels->entry[i].port == port)
            return true;
    return false;
}

/* The result is that of the full parser. `frame` has min(len, PLAIN_HEAD) bytes. */
static inline bool plain_parse(const uint8_t *frame, uint32_t len,
                               const struct pkt_tunnels *tunnels, struct pkt_info *info)
{
    uint32_t total, end;
    bool tcp;

    if (len < 42 || get16(frame + 12) != 0x0800 || frame[14] != 0x45 ||
        get16(frame + 20) & 0x3fff || frame[0] & 1)
        return false;
    tcp = frame[23] == 6;
    total = get16(frame + 16);
    end = 14 + total < len ? 14 + total : len;
    if (total < 28 || (tcp && (total < 40 || end < 54)))
        return false;
    if (!tcp && (frame[23] != 17 || tunnel_port(tunnels, get16(frame + 36))))
        return false;
    *info =
        (struct pkt_info){.ptype = (uint16_t)(PTYPE_IPV4 + (tcp ? PTYPE_KIND_TCP : PTYPE_KIND_UDP)),
                          .l3_off = 14,
                          .l4_off = 34,
                          .l4_len = (uint16_t)(end - 34),
                          .pctype = tcp ? PCTYPE_TCP4 : PCTYPE_UDP4,
                          .ip_version = 4,
                          .l4_proto = frame[23]};
    return true;
}

/* Whether a one's complement sum is 0xffff: the upper half of x + (x turned by 16) is x folded. */
static inline bool sum_good(uint64_t sum)
{
    uint32_t low = (uint32_t)sum, folded = low + (uint32_t)(sum >> 32);

    folded += folded < low;
    return (folded + (folded << 16 | folded >> 16)) >> 16 == 0xffff;
}

/* A header without options. */
static inline bool plain_ipv4_good(const uint8_t *ip)
{
    return sum_good((uint64_t)load32(ip) + load32(ip + 4) + load32(ip + 8) + load32(ip + 12) +
                    load32(ip + 16));
}

/* Sum of the pseudo header, in the machine's byte order. */
static inline uint64_t plain_pseudo(const uint8_t *frame, uint8_t proto, uint32_t l4_len)
{
    uint8_t rest[4] = {0, proto, (uint8_t)(l4_len >> 8), (uint8_t)l4_len};

    return (uint64_t)load32(frame + 26) + load32(frame + 30) + load32(rest);
}

/* Addresses and ports lie in one piece of 12 bytes. */
static inline uint32_t plain_hash(const struct rss_conf *conf, const uint8_t *frame)
{
    const uint8_t *in = frame + 26;
    uint32_t a = conf->table[0][in[0]] ^ conf->table[1][in[1]];
    uint32_t b = conf->table[2][in[2]] ^ conf->table[3][in[3]];
    uint32_t c = conf->table[4][in[4]] ^ conf->table[5][in[5]];
    uint32_t d = conf->table[6][in[6]] ^ conf->table[7][in[7]];
    uint32_t e = conf->table[8][in[8]] ^ conf->table[9][in[9]];
    uint32_t f = conf->table[10][in[10]] ^ conf->table[11][in[11]];

    return a ^ b ^ c ^ d ^ e ^ f;
}

#endif
