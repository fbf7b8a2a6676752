/* SPDX-License-Identifier: BSD-3-Clause */
/* Toeplitz receive-side scaling (spec: descriptors 12), by table: one look-up a byte of input. */
#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"
#include "softvf/plain.h"

#define INPUT_MAX 36 /* two IPv6 addresses and two ports */

void rss_prepare(struct rss_conf *conf, const uint8_t *key, uint32_t key_len, uint64_t hashcfg,
                 bool symmetric)
{
    uint8_t padded[64] = {0};

    (void)symmetric; /* symmetry is a matter of the input: rss_hash orders it when bit 62 is set */
    memcpy(padded, key, key_len < sizeof(padded) ? key_len : sizeof(padded));
    conf->hashcfg = hashcfg & ~(1ull << 62);
    if (symmetric)
        conf->hashcfg |= 1ull << 62;
    for (uint32_t at = 0; at < 40; at++) {
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

static uint32_t toeplitz(const struct rss_conf *conf, const uint8_t *input, uint32_t len)
{
    uint32_t hash = 0;

    for (uint32_t i = 0; i < len; i++)
        hash ^= conf->table[i][input[i]];
    return hash;
}

uint32_t rss_hash(const struct rss_conf *conf, const uint8_t *frame, const struct pkt_info *info,
                  bool *valid)
{
    uint8_t input[INPUT_MAX];
    uint32_t addresses = info->ip_version == 4 ? 8 : 32;
    uint32_t len = addresses;
    bool ports;

    *valid = info->pctype < 62 && (conf->hashcfg >> info->pctype & 1) && info->ip_version;
    if (!*valid)
        return 0;
    ports = info->l4_off && !info->fragment;
    if (ports && info->ip_version == 4 && info->l4_off == info->l3_off + 20 &&
        !(conf->hashcfg >> 62 & 1))
        return plain_hash(conf, frame + info->l3_off - 14);
    memcpy(input, frame + info->l3_off + (info->ip_version == 4 ? 12 : 8), addresses);
    if (ports) {
        memcpy(input + len, frame + info->l4_off, 4);
        len += 4;
    }
    if (conf->hashcfg >> 62 & 1) { /* symmetric: both directions hash alike */
        uint8_t swap[16];
        uint32_t half = addresses / 2;

        if (memcmp(input, input + half, half) > 0) {
            memcpy(swap, input, half);
            memcpy(input, input + half, half);
            memcpy(input + half, swap, half);
        }
        if (ports && memcmp(input + addresses, input + addresses + 2, 2) > 0) {
            memcpy(swap, input + addresses, 2);
            memcpy(input + addresses, input + addresses + 2, 2);
            memcpy(input + addresses + 2, swap, 2);
        }
    }
    return toeplitz(conf, input, len);
}
