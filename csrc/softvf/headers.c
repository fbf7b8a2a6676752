/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a frame's headers and fields are, as rules know them. */
#include "softvf/headers.h"

enum {
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_ESP = 50,
    PROTO_AH = 51,
    PROTO_L2TPV3 = 115,
    PROTO_SCTP = 132
};
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_PPPOE = 0x8864 };
enum { PORT_GTPU = 2152, PORT_NAT_T = 4500, PORT_PFCP = 8805 };
enum { GTPU_G_PDU = 255, GTPU_PDU_SESSION = 0x85 };
enum {
    LAYER_3 = SOFTVF_HAS_IPV4 | SOFTVF_HAS_IPV6,
    LAYER_4 = SOFTVF_HAS_TCP | SOFTVF_HAS_UDP | SOFTVF_HAS_SCTP,
    ANY_GTPU = SOFTVF_HAS_GTPU | SOFTVF_HAS_GTPU_EH | SOFTVF_HAS_GTPU_DOWN | SOFTVF_HAS_GTPU_UP,
    BEHIND_IP = SOFTVF_HAS_L2TPV3 | SOFTVF_HAS_ESP | SOFTVF_HAS_AH | SOFTVF_HAS_PFCP |
                SOFTVF_HAS_PFCP_NODE | SOFTVF_HAS_NAT_T_ESP
};

static uint32_t layer_4(uint8_t proto)
{
    switch (proto) {
    case PROTO_TCP:
        return SOFTVF_HAS_TCP;
    case PROTO_UDP:
        return SOFTVF_HAS_UDP;
    case PROTO_SCTP:
        return SOFTVF_HAS_SCTP;
    default:
        return 0;
    }
}

static void find_l4(struct headers *found, const struct pkt_ip *ip)
{
    uint32_t kind = ip->fragment ? 0 : layer_4(ip->proto);

    found->has &= ~(uint32_t)LAYER_4;
    found->l4 = NOWHERE;
    if (kind && ip->l4_off + 4 <= ip->end) {
        found->has |= kind;
        found->l4 = ip->l4_off;
    }
}

/* A GTP-U header at `at`, and the ports of the packet inside (3GPP TS 29.281 5.1, 38.415 5.5). */
static void find_gtpu(const uint8_t *frame, uint32_t at, uint32_t end, struct headers *found)
{
    uint32_t kind = SOFTVF_HAS_GTPU, next = at + 8, qfi = NOWHERE;
    struct pkt_ip inner;
    uint8_t extension;

    if (at + 8 > end || frame[at] >> 5 != 1 || frame[at + 1] != GTPU_G_PDU)
        return;
    if (frame[at] & 7) { /* sequence number, N-PDU number and the next extension's type */
        if (at + 12 > end)
            return;
        next += 4;
        extension = frame[at] & 4 ? frame[at + 11] : 0;
        for (int i = 0; extension && i < 8; i++) {
            uint32_t len = next < end ? frame[next] * 4u : 0;

            if (!len || next + len > end)
                return;
            if (extension == GTPU_PDU_SESSION) {
                kind = SOFTVF_HAS_GTPU_EH |
                       (frame[next + 1] >> 4 ? SOFTVF_HAS_GTPU_UP : SOFTVF_HAS_GTPU_DOWN);
                qfi = next + 2;
            }
            extension = frame[next + len - 1];
            next += len;
        }
    }
    found->has |= kind;
    found->id = at + 4;
    found->qfi = qfi;
    if (pkt_view_ip(frame, end, next, &inner))
        find_l4(found, &inner);
}

/* What UDP carries: `at` is the UDP header. */
static void find_over_udp(const uint8_t *frame, uint32_t at, uint32_t end, struct headers *found)
{
    uint32_t room = end - at;

    switch (get16(frame + at + 2)) {
    case PORT_GTPU:
        find_gtpu(frame, at + 8, end, found);
        break;
    case PORT_PFCP:
        if (!(frame[at + 8] & 1)) {
            found->has |= SOFTVF_HAS_PFCP_NODE;
        } else if (room >= 24) { /* with a SEID */
            found->has |= SOFTVF_HAS_PFCP;
            found->id = at + 12;
        }
        break;
    case PORT_NAT_T:
        if (get32(frame + at + 8)) { /* zeros stand before what is not ESP (RFC 3948 2.2) */
            found->has |= SOFTVF_HAS_NAT_T_ESP;
            found->id = at + 8;
        }
        break;
    }
}

static void find_tunnel(const uint8_t *frame, const struct pkt_ip *ip, struct headers *found)
{
    uint32_t at = ip->l4_off, room = ip->end - at;

    if (ip->fragment)
        return;
    if (ip->proto == PROTO_L2TPV3 && room >= 4) {
        found->has |= SOFTVF_HAS_L2TPV3;
        found->id = at;
    } else if (ip->proto == PROTO_ESP && room >= 8) {
        found->has |= SOFTVF_HAS_ESP;
        found->id = at;
    } else if (ip->proto == PROTO_AH && room >= 12) {
        found->has |= SOFTVF_HAS_AH;
        found->id = at + 4;
    } else if (ip->proto == PROTO_UDP && room >= 16) {
        find_over_udp(frame, at, ip->end, found);
    }
}

static uint32_t find_tags(const uint8_t *frame, uint32_t len, struct headers *found)
{
    uint32_t at = 12;

    while (at + 6 <= len && found->s_vlan == NOWHERE) {
        uint16_t type = get16(frame + at);

        if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
            break;
        found->has |= SOFTVF_HAS_VLAN;
        found->s_vlan = found->c_vlan; /* the tag before, if there was one, is the outer one */
        found->c_vlan = at + 2;
        at += 4;
    }
    return at;
}

void headers_find(const uint8_t *frame, uint32_t len, bool comms, const struct pkt_info *info,
                  struct headers *found)
{
    struct pkt_ip ip;
    uint32_t at;

    *found = (struct headers){.s_vlan = NOWHERE,
                              .c_vlan = NOWHERE,
                              .type = NOWHERE,
                              .pppoe = NOWHERE,
                              .l3 = NOWHERE,
                              .l4 = NOWHERE,
                              .id = NOWHERE,
                              .qfi = NOWHERE};
    at = find_tags(frame, len, found);
    if (at + 2 > len)
        return;
    found->has |= SOFTVF_HAS_ETH | SOFTVF_HAS_NON_IP;
    found->type = at;
    at += 2;
    switch (get16(frame + at - 2)) {
    case TYPE_IPV4:
    case TYPE_IPV6:
        break;
    case TYPE_PPPOE:
        if (!comms || at + 8 > len || frame[at] != 0x11 || frame[at + 1])
            return;
        found->has |= SOFTVF_HAS_PPPOE;
        found->pppoe = at + 2;
        at += 8;
        if (get16(frame + at - 2) != 0x0021 && get16(frame + at - 2) != 0x0057)
            return; /* neither IPv4 nor IPv6 (RFC 1332, 5072) */
        break;
    default:
        return;
    }
    if (!pkt_view_ip(frame, len, at, &ip))
        return;
    if (at - 2 == found->type)
        found->has &= ~(uint32_t)SOFTVF_HAS_NON_IP;
    found->l3 = at;
    found->version = ip.version;
    found->has |= ip.version == 4 ? SOFTVF_HAS_IPV4 : SOFTVF_HAS_IPV6;
    find_l4(found, &ip);
    if (info->outer_l3_off) { /* a tunnel that the parser knows: the ports inside count */
        found->has =
            (found->has & ~(uint32_t)LAYER_4) | (info->l4_off ? layer_4(info->l4_proto) : 0);
        found->l4 = info->l4_off ? info->l4_off : NOWHERE;
    } else if (comms) {
        find_tunnel(frame, &ip, found);
    }
}

/* Of several headers of GTP-U the one decides that says most. */
static bool gtpu_fits(uint32_t wanted, uint32_t has)
{
    static const uint32_t most_first[] = {SOFTVF_HAS_GTPU_DOWN, SOFTVF_HAS_GTPU_UP,
                                          SOFTVF_HAS_GTPU_EH, SOFTVF_HAS_GTPU};

    for (uint32_t i = 0; i < 4; i++)
        if (wanted & most_first[i])
            return has & most_first[i];
    return true;
}

bool headers_fit(const struct headers *found, uint32_t wanted)
{
    const uint32_t needed = SOFTVF_HAS_ETH | LAYER_3 | LAYER_4 | BEHIND_IP | SOFTVF_HAS_NON_IP;

    if (wanted & needed & ~found->has || !gtpu_fits(wanted & ANY_GTPU, found->has))
        return false;
    /* To IP, PPPoE is another kind of frame; to rules for frames that are no IP it is one of theirs. */
    return wanted & SOFTVF_HAS_NON_IP || !((wanted ^ found->has) & SOFTVF_HAS_PPPOE);
}

bool headers_promised(const struct headers *found, uint32_t wanted)
{
    struct headers any = *found;

    if (found->has & ANY_GTPU)
        any.has |= ANY_GTPU;
    return headers_fit(&any, wanted);
}

static uint32_t behind(uint32_t at, uint32_t bytes)
{
    return at == NOWHERE ? NOWHERE : at + bytes;
}

static uint32_t id_of(const struct headers *found, uint32_t kinds)
{
    return found->has & kinds ? found->id : NOWHERE;
}

struct place headers_place(const struct headers *found, uint32_t field)
{
    bool v6 = found->version == 6;

    switch (field) {
    case SOFTVF_OF_IP_SRC:
        return (struct place){behind(found->l3, v6 ? 8 : 12), v6 ? 16 : 4, 0};
    case SOFTVF_OF_IP_DST:
        return (struct place){behind(found->l3, v6 ? 24 : 16), v6 ? 16 : 4, 0};
    case SOFTVF_OF_SRC_PORT:
        return (struct place){found->l4, 2, 0};
    case SOFTVF_OF_DST_PORT:
        return (struct place){behind(found->l4, 2), 2, 0};
    case SOFTVF_OF_IP_PROTO:
        return (struct place){behind(found->l3, v6 ? 6 : 9), 1, 0};
    case SOFTVF_OF_GTPU_TEID:
        return (struct place){id_of(found, ANY_GTPU), 4, 0};
    case SOFTVF_OF_L2TPV3_SESSION:
        return (struct place){id_of(found, SOFTVF_HAS_L2TPV3), 4, 0};
    case SOFTVF_OF_ESP_SPI:
        return (struct place){id_of(found, SOFTVF_HAS_ESP | SOFTVF_HAS_NAT_T_ESP), 4, 0};
    case SOFTVF_OF_AH_SPI:
        return (struct place){id_of(found, SOFTVF_HAS_AH), 4, 0};
    case SOFTVF_OF_PFCP_SEID:
        return (struct place){id_of(found, SOFTVF_HAS_PFCP), 8, 0};
    case SOFTVF_OF_PPPOE_SESSION:
        return (struct place){found->pppoe, 2, 0};
    case SOFTVF_OF_S_VLAN:
        return (struct place){found->s_vlan, 2, 0};
    case SOFTVF_OF_C_VLAN:
        return (struct place){found->c_vlan, 2, 0};
    case SOFTVF_OF_ETH_SRC:
        return (struct place){6, 6, 0};
    case SOFTVF_OF_ETH_DST:
        return (struct place){0, 6, 0};
    case SOFTVF_OF_ETH_TYPE:
        return (struct place){found->type, 2, 0};
    case SOFTVF_OF_IP_DSCP: /* without ECN in IPv4, the whole class in IPv6 */
        return v6 ? (struct place){found->l3, 2, 0x0ff0}
                  : (struct place){behind(found->l3, 1), 1, 0xfc};
    case SOFTVF_OF_IP_TTL:
        return (struct place){behind(found->l3, v6 ? 7 : 8), 1, 0};
    case SOFTVF_OF_GTPU_QFI:
        return (struct place){found->qfi, 1, 0x3f};
    default:
        return (struct place){NOWHERE, 0, 0};
    }
}
