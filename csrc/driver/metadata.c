/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/metadata.h"

_Static_assert(FLAG_MULTICAST *RX_MULTICAST == FLAG_MULTICAST, "flags follow UMBCAST");
_Static_assert(FLAG_MULTICAST *RX_BROADCAST == FLAG_BROADCAST, "flags follow UMBCAST");

#define KINDS 7          /* frag, other, UDP, reserved, TCP, SCTP, ICMP */
#define IP_IN_IP_END 21  /* offsets below are plain IP, then IP in IP (descriptors 13) */
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
    if (offset < KINDS) /* not a tunnel: its one IP header is the inner one */
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

void metadata_classes(struct pair *pair)
{
    for (uint32_t ptype = 0; ptype < PTYPES_CLASSED; ptype++) {
        uint32_t class = class_of(ptype);

        pair->class_of[ptype] = (uint8_t)class;
        pair->good_of[ptype] =
            (uint8_t)((class & CLASS_IP4 ? CSUM_GOOD << VERDICT_IP_SHIFT : 0) |
                      (class & CLASS_L4 ? CSUM_GOOD << VERDICT_L4_SHIFT : 0) |
                      (class & CLASS_OUTER4 ? CSUM_GOOD << VERDICT_OUTER_SHIFT : 0));
    }
}
