/* SPDX-License-Identifier: BSD-3-Clause */
/* Packet types and packet classes (docs/spec/descriptors.md 12, 13). */
#include <string.h>

#include "hw/desc.h"
#include "softvf/packet.h"
#include "softvf/plain.h"

enum {
    IPPROTO_HOPOPT_ = 0,
    IPPROTO_ICMP_ = 1,
    IPPROTO_IPIP_ = 4,
    IPPROTO_TCP_ = 6,
    IPPROTO_UDP_ = 17,
    IPPROTO_IPV6_ = 41,
    IPPROTO_ROUTING_ = 43,
    IPPROTO_FRAGMENT_ = 44,
    IPPROTO_GRE_ = 47,
    IPPROTO_ICMPV6_ = 58,
    IPPROTO_DSTOPTS_ = 60,
    IPPROTO_SCTP_ = 132
};
enum { MAX_TAGS = 2 };
enum {
    ETH_IPV4 = 0x0800,
    ETH_ARP = 0x0806,
    ETH_IPV6 = 0x86dd,
    ETH_LLDP = 0x88cc,
    ETH_EAPOL = 0x888e,
    ETH_1588 = 0x88f7,
    ETH_BRIDGED = 0x6558 /* transparent Ethernet bridging: an inner MAC header follows */
};

static bool view_ipv4(const uint8_t *frame, uint32_t len, uint32_t at, struct pkt_ip *ip)
{
    uint32_t header, total;

    if (at + 20 > len || frame[at] >> 4 != 4)
        return false;
    header = (frame[at] & 15u) * 4;
    total = get16(frame + at + 2);
    if (header < 20 || at + header > len || total < header)
        return false;
    ip->version = 4;
    ip->proto = frame[at + 9];
    ip->fragment = (get16(frame + at + 6) & 0x3fff) != 0;
    ip->ext = 0;
    ip->l4_off = at + header;
    ip->end = at + total < len ? at + total : len;
    return true;
}

static bool view_ipv6(const uint8_t *frame, uint32_t len, uint32_t at, struct pkt_ip *ip)
{
    uint32_t next;
    uint8_t proto;

    if (at + 40 > len || frame[at] >> 4 != 6)
        return false;
    ip->version = 6;
    ip->fragment = 0;
    ip->ext = 0;
    ip->end = at + 40 + get16(frame + at + 4);
    if (ip->end > len)
        ip->end = len;
    proto = frame[at + 6];
    next = at + 40;
    for (int headers = 0; headers < 8; headers++) { /* bounded: a chain may be hostile */
        if (proto != IPPROTO_HOPOPT_ && proto != IPPROTO_ROUTING_ && proto != IPPROTO_DSTOPTS_ &&
            proto != IPPROTO_FRAGMENT_)
            break;
        if (next + 8 > ip->end)
            break;
        if (proto == IPPROTO_FRAGMENT_) {
            ip->fragment = 1;
            proto = frame[next];
            next += 8;
            break;
        }
        if (proto != IPPROTO_HOPOPT_)
            ip->ext = 1;
        proto = frame[next];
        next += (frame[next + 1] + 1u) * 8;
        if (next > ip->end)
            break;
    }
    ip->proto = proto;
    ip->l4_off = next < ip->end ? next : ip->end;
    return true;
}

static uint16_t kind_of(const struct pkt_ip *ip, uint32_t room)
{
    if (ip->fragment)
        return PTYPE_KIND_FRAG;
    switch (ip->proto) {
    case IPPROTO_UDP_:
        return room >= 8 ? PTYPE_KIND_UDP : PTYPE_KIND_OTHER;
    case IPPROTO_TCP_:
        return room >= 20 ? PTYPE_KIND_TCP : PTYPE_KIND_OTHER;
    case IPPROTO_SCTP_:
        return room >= 12 ? PTYPE_KIND_SCTP : PTYPE_KIND_OTHER;
    case IPPROTO_ICMP_:
        return ip->version == 4 ? PTYPE_KIND_ICMP : PTYPE_KIND_OTHER;
    case IPPROTO_ICMPV6_:
        return ip->version == 6 ? PTYPE_KIND_ICMP : PTYPE_KIND_OTHER;
    default:
        return PTYPE_KIND_OTHER;
    }
}

static uint8_t class_of(const struct pkt_ip *ip, uint16_t kind)
{
    uint8_t base = ip->version == 4 ? 0 : PCTYPE_UDP6 - PCTYPE_UDP4;

    switch (kind) {
    case PTYPE_KIND_FRAG:
        return (uint8_t)(PCTYPE_FRAG4 + base);
    case PTYPE_KIND_UDP:
        return (uint8_t)(PCTYPE_UDP4 + base);
    case PTYPE_KIND_TCP:
        return (uint8_t)(PCTYPE_TCP4 + base);
    case PTYPE_KIND_SCTP:
        return (uint8_t)(PCTYPE_SCTP4 + base);
    default:
        return (uint8_t)(PCTYPE_OTHER4 + base);
    }
}

static void settle(struct pkt_info *info, uint32_t l3, const struct pkt_ip *ip, uint16_t kind)
{
    info->l3_off = (uint16_t)l3;
    info->ip_version = ip->version;
    info->fragment = ip->fragment;
    info->ipv6_ext |= ip->ext;
    info->l4_proto = ip->proto;
    info->l4_off = kind == PTYPE_KIND_UDP || kind == PTYPE_KIND_TCP || kind == PTYPE_KIND_SCTP
                       ? (uint16_t)ip->l4_off
                       : 0;
    info->l4_len = (uint16_t)(ip->end - ip->l4_off);
    info->pctype = class_of(ip, kind);
}

bool pkt_view_ip(const uint8_t *frame, uint32_t len, uint32_t at, struct pkt_ip *ip)
{
    if (at >= len)
        return false;
    return frame[at] >> 4 == 4 ? view_ipv4(frame, len, at, ip) : view_ipv6(frame, len, at, ip);
}

static uint32_t udp_tunnel(const uint8_t *frame, uint32_t at, uint32_t room,
                           const struct pkt_tunnels *tunnels, uint16_t *inner)
{
    uint32_t options = (frame[at + 8] & 0x3fu) * 4, i = 0;

    while (i < tunnels->count && tunnels->entry[i].port != get16(frame + at + 2))
        i++;
    if (i == tunnels->count)
        return 0;
    if (!tunnels->entry[i].geneve) {
        *inner = ETH_BRIDGED;
        return at + 16;
    }
    *inner = get16(frame + at + 10);
    return 16 + options > room ? 0 : at + 16 + options;
}

/* Where a tunnel's inner frame or packet begins, 0 when this is no tunnel; *inner: its EtherType. */
static uint32_t tunnel(const uint8_t *frame, const struct pkt_ip *ip,
                       const struct pkt_tunnels *tunnels, uint16_t *inner)
{
    uint32_t at = ip->l4_off;
    uint32_t room = ip->end - at;

    if (ip->proto == IPPROTO_UDP_ && room >= 16)
        return udp_tunnel(frame, at, room, tunnels, inner);
    if (ip->proto == IPPROTO_GRE_ && room >= 4) {
        uint16_t flags = get16(frame + at);
        uint32_t header =
            4 + (flags & 0x8000 ? 4u : 0) + (flags & 0x2000 ? 4u : 0) + (flags & 0x1000 ? 4u : 0);

        *inner = get16(frame + at + 2);
        return flags & 7 || header > room ? 0 : at + header;
    }
    return 0;
}

static uint32_t skip_tags(const uint8_t *frame, uint32_t len, uint32_t at, uint16_t *type,
                          uint8_t *tags)
{
    while (*tags < MAX_TAGS && (*type == 0x8100 || *type == 0x88a8 || *type == 0x9100) &&
           at + 4 <= len) {
        *type = get16(frame + at + 2);
        at += 4;
        (*tags)++;
    }
    return at;
}

/* Sets the type of a tunnelled packet: `base` is the outer family, rows of docs/spec/descriptors.md 13. */
static void parse_tunnel(const uint8_t *frame, uint32_t end, uint32_t at, uint16_t type,
                         uint16_t base, struct pkt_info *info)
{
    uint16_t row = 21; /* tunnel, payload unknown */
    struct pkt_ip ip;
    uint16_t kind;

    if (type == ETH_BRIDGED) {
        uint8_t tags = 0;

        row = 36;
        type = 0;
        if (at + 14 <= end) {
            type = get16(frame + at + 12);
            at = skip_tags(frame, end, at + 14, &type, &tags);
        }
        if (tags)
            row = 51;
    }
    info->ptype = (uint16_t)(base + row);
    if ((type != ETH_IPV4 && type != ETH_IPV6) || !pkt_view_ip(frame, end, at, &ip))
        return;
    kind = kind_of(&ip, ip.end - ip.l4_off);
    info->ptype = (uint16_t)(base + row + (ip.version == 4 ? 1 : 8) + kind);
    info->outer_l3_off = info->l3_off;
    if (info->l4_proto == IPPROTO_UDP_)
        info->outer_l4_off = info->l4_off;
    settle(info, at, &ip, kind);
}

void pkt_parse(const uint8_t *frame, uint32_t len, const struct pkt_tunnels *tunnels,
               struct pkt_info *info)
{
    struct pkt_ip ip;
    uint32_t at = 14;
    uint32_t inner;
    uint16_t type, kind, base;

    if (plain_parse(frame, len, tunnels, info))
        return;
    memset(info, 0, sizeof(*info));
    info->pctype = PKT_NO_PCTYPE;
    if (len < 14)
        return;
    if (frame[0] & 1) {
        static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

        info->umbcast = memcmp(frame, all, 6) ? RX_MULTICAST : RX_BROADCAST;
    }
    type = get16(frame + 12);
    at = skip_tags(frame, len, at, &type, &info->vlan_tags);
    info->ptype = PTYPE_L2;
    info->pctype = PCTYPE_L2_PAYLOAD;
    if (type == ETH_IPV4) {
        if (!view_ipv4(frame, len, at, &ip))
            return;
        base = PTYPE_IPV4;
    } else if (type == ETH_IPV6) {
        if (!view_ipv6(frame, len, at, &ip))
            return;
        base = PTYPE_IPV6;
    } else {
        if (type == ETH_ARP)
            info->ptype = PTYPE_ARP;
        else if (type == ETH_LLDP)
            info->ptype = PTYPE_LLDP;
        else if (type == ETH_EAPOL)
            info->ptype = PTYPE_EAPOL;
        else if (type == ETH_1588)
            info->ptype = PTYPE_TIMESYNC;
        return;
    }
    kind = kind_of(&ip, ip.end - ip.l4_off);
    info->ptype = (uint16_t)(base + kind);
    settle(info, at, &ip, kind);
    if (ip.fragment)
        return;
    if (ip.proto == IPPROTO_IPIP_ || ip.proto == IPPROTO_IPV6_) {
        struct pkt_ip nested;

        if (!pkt_view_ip(frame, ip.end, ip.l4_off, &nested) ||
            nested.version != (ip.proto == IPPROTO_IPIP_ ? 4 : 6))
            return;
        kind = kind_of(&nested, nested.end - nested.l4_off);
        info->ptype = (uint16_t)(base + (nested.version == 4 ? 7 : 14) + kind);
        info->outer_l3_off = info->l3_off;
        settle(info, ip.l4_off, &nested, kind);
        return;
    }
    inner = tunnel(frame, &ip, tunnels, &type);
    if (inner)
        parse_tunnel(frame, ip.end, inner, type, base, info);
}
