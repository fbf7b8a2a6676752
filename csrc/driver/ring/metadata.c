/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/ring/metadata.h"

_Static_assert(FLAG_MULTICAST *(int)RX_MULTICAST == FLAG_MULTICAST, "flags follow UMBCAST");
_Static_assert(FLAG_MULTICAST *(int)RX_BROADCAST == FLAG_BROADCAST, "flags follow UMBCAST");

#define KINDS 7          /* frag, other, UDP, reserved, TCP, SCTP, ICMP */
/* offsets below are plain IP, then IP in IP (docs/spec/descriptors.md 13) */
#define IP_IN_IP_END 21
#define TUNNEL_STRIDE 15

static bool kind_has_l4(uint32_t kind)
{
    return kind == PTYPE_KIND_UDP || kind == PTYPE_KIND_TCP || kind == PTYPE_KIND_SCTP;
}

static uint32_t class_of(uint32_t ptype)
{
    bool outer4 = ptype >= PTYPE_IPV4 && ptype < PTYPE_IPV6;
    uint32_t outer = outer4 ? CLASS_OUTER4 : CLASS_OUTER6;
    uint32_t offset, kind, inner4;

    if (ptype < PTYPE_IPV4 || ptype >= PTYPE_COMMON)
        return 0;
    offset = ptype - (outer4 ? PTYPE_IPV4 : PTYPE_IPV6);
    if (offset < KINDS) /* no tunnel: its only IP header counts as the inner one */
        return (outer4 ? CLASS_IP4 : CLASS_OUTER6) | (kind_has_l4(offset) ? CLASS_L4 : 0);
    if (offset < IP_IN_IP_END) {
        kind = (offset - KINDS) % KINDS;
        inner4 = offset < 2 * KINDS;
    } else {
        uint32_t rest = (offset - IP_IN_IP_END) % TUNNEL_STRIDE;

        if (!rest) /* the tunnel's payload is unknown */
            return outer;
        kind = (rest - 1) % KINDS;
        inner4 = rest <= KINDS;
    }
    return outer | (inner4 ? CLASS_IP4 : 0) | (kind_has_l4(kind) ? CLASS_L4 : 0);
}

void metadata_classes(struct queue_pair *pair)
{
    for (uint32_t ptype = 0; ptype < PTYPES_CLASSED; ptype++) {
        uint32_t class = class_of(ptype);

        pair->class_of[ptype] = (uint8_t)class;
        pair->good_of[ptype] =
            (uint8_t)((class & CLASS_IP4 ? CSUM_GOOD << CSUM_IP_SHIFT : 0) |
                      (class & CLASS_L4 ? CSUM_GOOD << CSUM_L4_SHIFT : 0) |
                      (class & CLASS_OUTER4 ? CSUM_GOOD << CSUM_OUTER_SHIFT : 0));
    }
}

static void legacy_constants(struct rx_constants *to)
{
    to->status = RXL_DD | RXL_EOP | RXL_RXE;
    to->status_good = RXL_DD | RXL_EOP;
    to->length = RXL_LEN_MASK | (uint32_t)(RXL_SPH >> RXL_LEN_SHIFT);
    to->ptype = RXL_PTYPE_MASK;
    to->last_ptype = PTYPE_COMMON - 1;
    to->fltstat = RXL_FLTSTAT_MASK;
    to->fltstat_hash = RX_FLTSTAT_RSS_HASH;
    to->fltstat_id = RX_FLTSTAT_FD_ID;
    to->flexible = RXL_FLM;
    to->flexible_id = 1;
    to->checked = RXL_L3L4P;
    to->errors = RXL_ERRORS;
    to->tag1 = RXL_L2TAG1P;
    to->tag2 = RXL_QW2_L2TAG2P;
}

static void flex_constants(struct rx_constants *to, uint32_t flex, bool ovs)
{
    to->status = RXF_DD | RXF_EOP | RXF_RXE;
    to->status_good = RXF_DD | RXF_EOP;
    to->id = RXF_RXDID_MASK;
    to->flex = flex;
    to->length = RXF_LEN_MASK | (uint32_t)(RXF_SPH >> RXF_LEN_SHIFT);
    to->ptype = RXF_PTYPE_MASK;
    to->hashed = RXF_RSS_VALID;
    to->checked = RXF_L3L4P;
    to->errors = RXF_ERRORS;
    to->nat = RXF_QW2_NAT;
    to->nat_good = CSUM_GOOD << CSUM_UDP_SHIFT;
    to->tag1 = RXF_L2TAG1P;
    to->tag2 = RXF_QW2_L2TAG2P;
    /* A value that equals no_mark after masking is no mark, as in writeback_mark. */
    if (flex != RXDID_COMMS_IPSEC)
        to->mark = to->no_mark = flex == RXDID_FLEX_NIC_2 ? 0xffff : FLOW_NONE;
    if (!ovs && flex < RXDID_COMMS_GENERIC)
        to->time = RXF_QW2_TS_VALID;
}

static bool flex_known(uint32_t flex)
{
    return !flex || flex == RXDID_FLEX_NIC || flex == RXDID_FLEX_NIC_2 ||
           (flex >= RXDID_COMMS_GENERIC && flex <= RXDID_COMMS_AUX_IP_OFFSET);
}

bool metadata_format(struct queue_pair *pair, uint32_t flex)
{
    flex = flex == RXDID_LEGACY_32B ? 0 : flex;
    if (!flex_known(flex))
        return false;
    pair->flex = flex;
    if (!flex)
        pair->format = FORMAT_LEGACY;
    else if (flex == RXDID_COMMS_OVS_1 || flex == RXDID_COMMS_OVS_2)
        pair->format = FORMAT_FLEX_OVS;
    else
        pair->format = FORMAT_FLEX;
    return true;
}

void metadata_constants(struct queue_pair *pair)
{
    struct rx_constants *to = &pair->constants;

    *to = (struct rx_constants){
        .one = 1,
        .most = pair->rx_limit - 1,
        .headroom = pair->headroom,
        .mirrored = RX_MIRRORED,
        .last_classed = PTYPES_CLASSED - 1,
        .upper_half = PTYPES_CLASSED / 2,
        .byte = 0xff,
        .half = 0xffff,
        .flag_rss = FLAG_RSS,
        .flag_vlan = FLAG_VLAN,
        .flag_mark = FLAG_MARK,
        .flag_time = FLAG_TIME,
    };
    if (pair->format == FORMAT_LEGACY)
        legacy_constants(to);
    else
        flex_constants(to, pair->flex, pair->format == FORMAT_FLEX_OVS);
}
