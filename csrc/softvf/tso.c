/* SPDX-License-Identifier: BSD-3-Clause */
/* Segmentation offload for TCP and UDP, also inside a tunnel (docs/spec/descriptors.md 2, 3), and VLAN
 * tags. */
#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

int tso_begin(struct tso_iter *iter, const uint8_t *frame, uint32_t len, uint64_t qw1,
              uint64_t ctx0, uint64_t ctx1, const char **why)
{
    uint32_t cmd = (uint32_t)(qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
    uint32_t l3 = (uint32_t)(qw1 >> TXD_MACLEN_SHIFT & TXD_MACLEN_MASK) * 2;
    uint32_t l4_len = (uint32_t)(qw1 >> TXD_L4LEN_SHIFT & TXD_L4LEN_MASK) * 4;
    uint32_t tso_len = (uint32_t)(ctx1 >> TXC_TSO_LEN_SHIFT & TXC_TSO_LEN_MASK);

    memset(iter, 0, sizeof(*iter));
    iter->frame = frame;
    iter->len = len;
    iter->data_qw1 = qw1;
    iter->ctx_qw0 = ctx0;
    iter->mss = (uint32_t)(ctx1 >> TXC_MSS_SHIFT & TXC_MSS_MASK);
    if ((ctx0 & TXC_EIPT_MASK) != TXC_EIPT_NONE) {
        iter->outer_l3_off = l3;
        l3 += (uint32_t)(ctx0 >> TXC_EIPLEN_SHIFT & TXC_EIPLEN_MASK) * 4;
        if ((ctx0 >> TXC_L4TUNT_SHIFT & TXC_L4TUNT_MASK) == TXC_L4TUNT_UDP)
            iter->outer_l4_off = l3;
        l3 += (uint32_t)(ctx0 >> TXC_L4TUNLEN_SHIFT & TXC_L4TUNLEN_MASK) * 2;
    }
    iter->l3_off = l3;
    iter->l4_off = l3 + (uint32_t)(qw1 >> TXD_IPLEN_SHIFT & TXD_IPLEN_MASK) * 4;
    iter->header_len = iter->l4_off + l4_len;
    iter->proto = (cmd & TXD_CMD_L4T_MASK) == TXD_CMD_L4T_TCP ? 6 : 17;
    if ((cmd & TXD_CMD_L4T_MASK) != TXD_CMD_L4T_TCP &&
        (cmd & TXD_CMD_L4T_MASK) != TXD_CMD_L4T_UDP) {
        *why = "TSO needs L4T TCP or UDP";
        return -1;
    }
    if (!(cmd & TXD_CMD_IIPT_MASK) || (frame[l3 < len ? l3 : 0] >> 4 == 4 &&
                                       (cmd & TXD_CMD_IIPT_MASK) != TXD_CMD_IIPT_IPV4_CSUM)) {
        *why = "TSO over IPv4 needs IIPT 3, over IPv6 IIPT 1";
        return -1;
    }
    if (iter->mss < TX_MIN_MSS || iter->mss > TX_MAX_FRAME) {
        *why = "MSS is out of bounds";
        return -1;
    }
    if (l3 < 14 || iter->l4_off < l3 + 20 || l4_len < (iter->proto == 6 ? 20u : 8u) ||
        iter->header_len >= len) {
        *why = "the header lengths lie outside the frame";
        return -1;
    }
    if (tso_len != len - iter->header_len) {
        *why = "TSO_LEN is not the payload's length";
        return -1;
    }
    return 0;
}

/* IP and UDP lengths and the IPv4 id of a segment, for one header of it. */
static void segment_ip(uint8_t *out, uint32_t l3, uint32_t len, uint32_t index, bool increment)
{
    if (out[l3] >> 4 == 4) {
        put16(out + l3 + 2, (uint16_t)(len - l3));
        if (increment)
            put16(out + l3 + 4, (uint16_t)(get16(out + l3 + 4) + index));
    } else {
        put16(out + l3 + 4, (uint16_t)(len - l3 - 40));
    }
}

uint32_t tso_next(struct tso_iter *iter, uint8_t *out, uint32_t cap)
{
    uint32_t payload = iter->len - iter->header_len;
    uint32_t part, len, l4_len, field;
    uint64_t ctx = iter->ctx_qw0;
    uint8_t *l4 = out + iter->l4_off;
    const char *why;

    if (iter->offset >= payload)
        return 0;
    part = payload - iter->offset < iter->mss ? payload - iter->offset : iter->mss;
    len = iter->header_len + part;
    if (len > cap)
        return 0;
    memcpy(out, iter->frame, iter->header_len);
    memcpy(out + iter->header_len, iter->frame + iter->header_len + iter->offset, part);
    if (iter->outer_l3_off) {
        segment_ip(out, iter->outer_l3_off, len, iter->index, !(ctx & TXC_EIP_NOINC));
        if (iter->outer_l4_off)
            put16(out + iter->outer_l4_off + 4, (uint16_t)(len - iter->outer_l4_off));
    }
    segment_ip(out, iter->l3_off, len, iter->index, true);
    l4_len = len - iter->l4_off;
    if (iter->proto == 6) {
        put32(l4 + 4, get32(l4 + 4) + iter->offset);
        if (iter->offset + part < payload)
            l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
        if (iter->index)
            l4[13] &= (uint8_t)~TCP_CWR;
        field = 16;
    } else {
        put16(l4 + 4, (uint16_t)l4_len);
        field = 6;
    }
    /* The field holds the pseudo-header sum without the length: add this segment's. */
    put16(l4 + field, checksum_fold((uint64_t)get16(l4 + field) + l4_len));
    if (ctx & TXC_L4T_CS && iter->outer_l4_off) {
        uint8_t *udp = out + iter->outer_l4_off;

        put16(udp + 6, checksum_fold((uint64_t)get16(udp + 6) + len - iter->outer_l4_off));
    }
    tx_offload(out, len, iter->data_qw1, ctx, &why);
    iter->offset += part;
    iter->index++;
    return len;
}

int vlan_insert(uint8_t *frame, uint32_t *len, uint32_t cap, uint16_t tpid, uint16_t tci)
{
    if (*len < 12 || *len + 4 > cap)
        return -1;
    memmove(frame + 16, frame + 12, *len - 12);
    put16(frame + 12, tpid);
    put16(frame + 14, tci);
    *len += 4;
    return 0;
}

uint16_t vlan_outer(const uint8_t *frame, uint32_t len, uint16_t *tci)
{
    uint16_t tpid;

    if (len < 18)
        return 0;
    tpid = get16(frame + 12);
    if (tpid != 0x8100 && tpid != 0x88a8 && tpid != 0x9100)
        return 0;
    *tci = get16(frame + 14);
    return tpid;
}
