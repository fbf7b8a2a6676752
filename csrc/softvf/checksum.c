/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums: what the receive side verifies and the send side completes
 * (docs/spec/descriptors.md 1, 2, 8). */
#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"
#include "softvf/plain.h"

uint64_t checksum_add(const uint8_t *data, uint32_t len)
{
    uint16_t half = checksum_fold(sum_raw(data, len));

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    half = __builtin_bswap16(half);
#endif
    return half;
}

/* Reflected CRCs, four bits a step; `table` holds the 16 remainders of the polynomial. */
static uint32_t crc_nibbles(const uint32_t *table, const uint8_t *data, uint32_t len, uint32_t crc)
{
    for (uint32_t i = 0; i < len; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t crc32c(const uint8_t *data, uint32_t len, uint32_t crc)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                       0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                       0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

    return crc_nibbles(table, data, len, crc);
}

uint32_t crc32_ethernet(const uint8_t *data, uint32_t len)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

    return ~crc_nibbles(table, data, len, ~0u);
}

static uint64_t pseudo_header(const uint8_t *frame, uint32_t l3, uint8_t version, uint8_t proto,
                              uint32_t l4_len)
{
    uint64_t sum =
        version == 4 ? checksum_add(frame + l3 + 12, 8) : checksum_add(frame + l3 + 8, 32);

    return sum + proto + l4_len;
}

static bool ipv4_header_good(const uint8_t *frame, uint32_t l3)
{
    if (frame[l3] != 0x45)
        return checksum_fold(checksum_add(frame + l3, (frame[l3] & 15u) * 4)) == 0xffff;
    return plain_ipv4_good(frame + l3);
}

static bool l4_good(const uint8_t *frame, const struct pkt_info *info)
{
    const uint8_t *l4 = frame + info->l4_off;
    uint32_t len = info->l4_len;

    if (info->l4_proto ==
        132) { /* SCTP: CRC32c over the packet with the field zero, little endian */
        uint8_t zero[4] = {0};
        uint32_t crc = ~0u;
        uint32_t carried;

        crc = crc32c(l4, 8, crc);
        crc = crc32c(zero, 4, crc);
        crc = ~crc32c(l4 + 12, len - 12, crc);
        memcpy(&carried, l4 + 8, 4);
        return carried == crc;
    }
    if (info->l4_proto == 17) {
        uint32_t udp_len = get16(l4 + 4);

        if (get16(l4 + 6) == 0)
            return true; /* no checksum: no error (docs/spec/descriptors.md 8) */
        if (udp_len < 8 || udp_len > len)
            return false;
        len = udp_len;
    }
    return checksum_fold(pseudo_header(frame, info->l3_off, info->ip_version, info->l4_proto, len) +
                         checksum_add(l4, len)) == 0xffff;
}

uint32_t pkt_check(const uint8_t *frame, uint32_t len, const struct pkt_info *info)
{
    uint32_t found;

    (void)len;
    if (!info->ip_version)
        return 0;
    found = PKT_L3L4P;
    if (info->outer_l3_off && frame[info->outer_l3_off] >> 4 == 4 &&
        !ipv4_header_good(frame, info->outer_l3_off))
        found |= PKT_EIPE;
    if (info->ip_version == 4 && !ipv4_header_good(frame, info->l3_off))
        found |= PKT_IPE;
    if (info->l4_off && !info->fragment && !l4_good(frame, info))
        found |= PKT_L4E;
    if (info->outer_l4_off) {
        const uint8_t *udp = frame + info->outer_l4_off;
        uint32_t udp_len = get16(udp + 4);
        uint8_t version = frame[info->outer_l3_off] >> 4;

        if (get16(udp + 6) &&
            (udp_len < 8 || info->outer_l4_off + udp_len > len ||
             checksum_fold(pseudo_header(frame, info->outer_l3_off, version, 17, udp_len) +
                           checksum_add(udp, udp_len)) != 0xffff))
            found |= PKT_EUDPE;
    }
    return found;
}

/* Fills an IPv4 header checksum. */
static void fill_ipv4(uint8_t *ip, uint32_t header)
{
    put16(ip + 10, 0);
    put16(ip + 10, (uint16_t)~checksum_fold(checksum_add(ip, header)));
}

/* The driver left the (uninverted) pseudo-header sum in the field: sum everything and invert. */
static void fill_l4(uint8_t *l4, uint32_t len, uint32_t field)
{
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(l4, len));

    put16(l4 + field, sum == 0 && field == 6 ? 0xffff : sum);
}

/* Outer headers of a tunnel; moves *at from the outer to the inner IP header. */
static int outer_offload(uint8_t *frame, uint32_t len, uint64_t ctx, uint32_t *at, const char **why)
{
    uint32_t eipt = (uint32_t)ctx & TXC_EIPT_MASK;
    uint32_t eiplen = (uint32_t)(ctx >> TXC_EIPLEN_SHIFT & TXC_EIPLEN_MASK) * 4;
    uint32_t tunlen = (uint32_t)(ctx >> TXC_L4TUNLEN_SHIFT & TXC_L4TUNLEN_MASK) * 2;
    uint32_t type = (uint32_t)(ctx >> TXC_L4TUNT_SHIFT & TXC_L4TUNT_MASK);
    uint32_t l4 = *at + eiplen;

    if (eipt == TXC_EIPT_NONE)
        return 0;
    if (eiplen < 20 || l4 + tunlen > len) {
        *why = "EIPLEN or L4TUNLEN lies outside the frame";
        return -1;
    }
    if (eipt == TXC_EIPT_IPV4_CSUM)
        fill_ipv4(frame + *at, eiplen);
    if (ctx & TXC_L4T_CS && type == TXC_L4TUNT_UDP && l4 + 8 <= len)
        fill_l4(frame + l4, len - l4, 6);
    *at = l4 + tunlen;
    return 0;
}

int tx_offload(uint8_t *frame, uint32_t len, uint64_t qw1, uint64_t ctx, const char **why)
{
    uint32_t cmd = (uint32_t)(qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
    uint32_t l3 = (uint32_t)(qw1 >> TXD_MACLEN_SHIFT & TXD_MACLEN_MASK) * 2;
    uint32_t iplen = (uint32_t)(qw1 >> TXD_IPLEN_SHIFT & TXD_IPLEN_MASK) * 4;
    uint32_t outer = l3;
    uint32_t l4;

    if ((ctx & TXC_EIPT_MASK) != TXC_EIPT_NONE) {
        uint32_t eiplen = (uint32_t)(ctx >> TXC_EIPLEN_SHIFT & TXC_EIPLEN_MASK) * 4;

        l3 += eiplen + (uint32_t)(ctx >> TXC_L4TUNLEN_SHIFT & TXC_L4TUNLEN_MASK) * 2;
    }
    if (cmd & TXD_CMD_IIPT_MASK) {
        if (l3 < 14 || iplen < 20 || l3 + iplen > len) {
            *why = "MACLEN or IPLEN lies outside the frame";
            return -1;
        }
        if ((cmd & TXD_CMD_IIPT_MASK) == TXD_CMD_IIPT_IPV4_CSUM)
            fill_ipv4(frame + l3, iplen);
    } else if (cmd & TXD_CMD_L4T_MASK) {
        *why = "L4T without IIPT: the device cannot find the L4 header";
        return -1;
    }
    l4 = l3 + iplen;
    switch (cmd & TXD_CMD_L4T_MASK) {
    case TXD_CMD_L4T_TCP:
    case TXD_CMD_L4T_UDP: {
        uint32_t field = (cmd & TXD_CMD_L4T_MASK) == TXD_CMD_L4T_TCP ? 16 : 6;

        if (l4 + field + 2 > len) {
            *why = "the L4 header lies outside the frame";
            return -1;
        }
        fill_l4(frame + l4, len - l4, field);
        break;
    }
    case TXD_CMD_L4T_SCTP: {
        uint32_t crc;

        if (l4 + 12 > len) {
            *why = "the SCTP header lies outside the frame";
            return -1;
        }
        memset(frame + l4 + 8, 0, 4);
        crc = ~crc32c(frame + l4, len - l4, ~0u);
        memcpy(frame + l4 + 8, &crc, 4);
        break;
    }
    default:
        break;
    }
    return outer_offload(frame, len, ctx, &outer, why);
}
