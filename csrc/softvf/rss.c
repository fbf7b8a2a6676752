/* SPDX-License-Identifier: BSD-3-Clause */
/* Toeplitz receive-side scaling (docs/spec/descriptors.md 12), by table: one look-up a byte of input. */
#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"
#include "softvf/plain.h"

#define INPUT_MAX 36 /* two IPv6 addresses and two ports */
#define CLASS(name) (1ull << PCTYPE_##name)

/* Classes of X722 that are one class of the other cards (docs/spec/descriptors.md 12.1). */
struct family {
    uint8_t common;
    uint64_t members;
};
static const struct family families[] = {
    {PCTYPE_UDP4, CLASS(UDP4_UNICAST) | CLASS(UDP4_MULTICAST) | CLASS(UDP4)},
    {PCTYPE_TCP4, CLASS(TCP4_SYN) | CLASS(TCP4)},
    {PCTYPE_UDP6, CLASS(UDP6_UNICAST) | CLASS(UDP6_MULTICAST) | CLASS(UDP6)},
    {PCTYPE_TCP6, CLASS(TCP6_SYN) | CLASS(TCP6)},
};

/* Most drivers hash a whole family or nothing of it: only otherwise must frames be looked at closely. */
static void prepare_families(struct rss_conf *conf)
{
    conf->classes = conf->hashcfg;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        uint64_t hashed = conf->classes & families[i].members;

        if (hashed)
            conf->hashcfg |= 1ull << families[i].common;
        if (hashed && hashed != families[i].members)
            conf->split = true;
    }
}

void rss_prepare(struct rss_conf *conf, const uint8_t *key, uint32_t key_len, uint64_t hashcfg,
                 bool symmetric, bool x722)
{
    uint8_t padded[64] = {0};

    memcpy(padded, key, key_len < sizeof(padded) ? key_len : sizeof(padded));
    conf->hashcfg = hashcfg & ~RSS_SPECIAL;
    conf->symmetric = symmetric;
    conf->split = false;
    if (x722)
        prepare_families(conf);
    if (conf->symmetric || conf->split)
        conf->hashcfg |= RSS_SPECIAL;
    for (uint32_t at = 0; at < RSS_INPUT; at++) {
        uint32_t window[8];

        for (uint32_t bit = 0; bit < 8; bit++) {
            uint64_t bytes = 0;

            for (uint32_t i = 0; i < 5; i++)
                bytes = bytes << 8 | padded[at + i];
            window[bit] = (uint32_t)(bytes >> (8 - bit));
        }
        for (uint32_t value = 0; value < 256; value++) {
            uint32_t hash = 0;

            for (uint32_t bit = 0; bit < 8; bit++)
                if (value & (0x80u >> bit))
                    hash ^= window[bit];
            conf->table[at][value] = hash;
        }
    }
}

uint32_t rss_toeplitz(const struct rss_conf *conf, const uint8_t *input, uint32_t len)
{
    uint32_t hash = 0;

    for (uint32_t i = 0; i < len; i++)
        hash ^= conf->table[i][input[i]];
    return hash;
}

/* Addresses, then ports; returns the length. */
static uint32_t collect(uint8_t *input, const uint8_t *frame, const struct pkt_info *info,
                        bool ports)
{
    uint32_t addresses = info->ip_version == 4 ? 8 : 32;

    memcpy(input, frame + info->l3_off + (info->ip_version == 4 ? 12 : 8), addresses);
    if (!ports)
        return addresses;
    memcpy(input + addresses, frame + info->l4_off, 4);
    return addresses + 4;
}

/* The class as X722 sees it. Public sources name the classes, and tell that the flows of a VF which knows
 * only the common ones do not spread. That a packet is multicast by its IP destination, and that the
 * broadcast address is neither, is how this device reads the names. */
static uint8_t x722_class(const uint8_t *frame, const struct pkt_info *info)
{
    const uint8_t *to = frame + info->l3_off + (info->ip_version == 4 ? 16 : 24);

    switch (info->pctype) {
    case PCTYPE_UDP4:
        if (get32(to) == 0xffffffff)
            return PCTYPE_UDP4;
        return to[0] >> 4 == 0xe ? PCTYPE_UDP4_MULTICAST : PCTYPE_UDP4_UNICAST;
    case PCTYPE_UDP6:
        return to[0] == 0xff ? PCTYPE_UDP6_MULTICAST : PCTYPE_UDP6_UNICAST;
    case PCTYPE_TCP4:
    case PCTYPE_TCP6:
        if ((frame[info->l4_off + 13] & 0x12) != 0x02) /* SYN without ACK */
            return info->pctype;
        return info->pctype == PCTYPE_TCP4 ? PCTYPE_TCP4_SYN : PCTYPE_TCP6_SYN;
    default:
        return info->pctype;
    }
}

static void swap_if_greater(uint8_t *first, uint8_t *second, uint32_t len)
{
    uint8_t held[16];

    if (memcmp(first, second, len) <= 0)
        return;
    memcpy(held, first, len);
    memcpy(first, second, len);
    memcpy(second, held, len);
}

static uint32_t hash_special(const struct rss_conf *conf, const uint8_t *frame,
                             const struct pkt_info *info, bool ports, bool *valid)
{
    uint32_t half = info->ip_version == 4 ? 4 : 16;
    uint8_t input[INPUT_MAX];
    uint32_t len;

    *valid = !conf->split || conf->classes >> x722_class(frame, info) & 1;
    if (!*valid)
        return 0;
    len = collect(input, frame, info, ports);
    if (conf->symmetric) { /* both directions hash alike */
        swap_if_greater(input, input + half, half);
        if (ports)
            swap_if_greater(input + 2 * half, input + 2 * half + 2, 2);
    }
    return rss_toeplitz(conf, input, len);
}

uint32_t rss_hash(const struct rss_conf *conf, const uint8_t *frame, const struct pkt_info *info,
                  bool *valid)
{
    uint8_t input[INPUT_MAX];
    bool ports;

    *valid = info->pctype < 62 && (conf->hashcfg >> info->pctype & 1) && info->ip_version;
    if (!*valid)
        return 0;
    ports = info->l4_off && !info->fragment;
    if (conf->hashcfg & RSS_SPECIAL)
        return hash_special(conf, frame, info, ports, valid);
    if (ports && info->ip_version == 4 && info->l4_off == info->l3_off + 20)
        return plain_hash(conf, frame + info->l3_off - 14);
    return rss_toeplitz(conf, input, collect(input, frame, info, ports));
}
