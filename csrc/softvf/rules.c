/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules for RSS: which one a frame is hashed by, and what of it (docs/spec/pf-dialects.md 9). A VF without
 * rules never comes here. */
#include <string.h>

#include "softvf/rules.h"

enum {
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_ESP = 50,
    PROTO_AH = 51,
    PROTO_L2TPV3 = 115,
    PROTO_SCTP = 132
};
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_PPPOE = 0x8864 };
enum { PORT_GTPU = 2152, PORT_PFCP = 8805 };
enum { GTPU_G_PDU = 255, GTPU_PDU_SESSION = 0x85 };
enum {
    LAYER_3 = SOFTVF_HAS_IPV4 | SOFTVF_HAS_IPV6,
    LAYER_4 = SOFTVF_HAS_TCP | SOFTVF_HAS_UDP | SOFTVF_HAS_SCTP,
    ANY_GTPU = SOFTVF_HAS_GTPU | SOFTVF_HAS_GTPU_EH | SOFTVF_HAS_GTPU_DOWN | SOFTVF_HAS_GTPU_UP,
    BEHIND_IP = SOFTVF_HAS_L2TPV3 | SOFTVF_HAS_ESP | SOFTVF_HAS_AH | SOFTVF_HAS_PFCP
};

#define NOWHERE 0xffffffff

/* Where the fields of a frame are, NOWHERE for those that it lacks. */
struct flow {
    uint32_t has;
    uint32_t s_vlan, c_vlan, type, pppoe;
    uint32_t l3;
    uint8_t version;
    uint32_t l4; /* TCP, UDP or SCTP, the innermost */
    uint32_t id; /* of the tunnel that `has` names: TEID, session, SPI or SEID */
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

static void find_l4(struct flow *flow, const struct pkt_ip *ip)
{
    uint32_t kind = ip->fragment ? 0 : layer_4(ip->proto);

    flow->has &= ~(uint32_t)LAYER_4;
    flow->l4 = NOWHERE;
    if (kind && ip->l4_off + 4 <= ip->end) {
        flow->has |= kind;
        flow->l4 = ip->l4_off;
    }
}

/* A GTP-U header at `at`, and the ports of the packet inside (3GPP TS 29.281 5.1, 38.415 5.5). */
static void find_gtpu(const uint8_t *frame, uint32_t at, uint32_t end, struct flow *flow)
{
    uint32_t kind = SOFTVF_HAS_GTPU, next = at + 8;
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
            if (extension == GTPU_PDU_SESSION)
                kind = SOFTVF_HAS_GTPU_EH |
                       (frame[next + 1] >> 4 ? SOFTVF_HAS_GTPU_UP : SOFTVF_HAS_GTPU_DOWN);
            extension = frame[next + len - 1];
            next += len;
        }
    }
    flow->has |= kind;
    flow->id = at + 4;
    if (pkt_view_ip(frame, end, next, &inner))
        find_l4(flow, &inner);
}

static void find_tunnel(const uint8_t *frame, const struct pkt_ip *ip, struct flow *flow)
{
    uint32_t at = ip->l4_off, room = ip->end - at;

    if (ip->fragment)
        return;
    if (ip->proto == PROTO_L2TPV3 && room >= 4) {
        flow->has |= SOFTVF_HAS_L2TPV3;
        flow->id = at;
    } else if (ip->proto == PROTO_ESP && room >= 8) {
        flow->has |= SOFTVF_HAS_ESP;
        flow->id = at;
    } else if (ip->proto == PROTO_AH && room >= 12) {
        flow->has |= SOFTVF_HAS_AH;
        flow->id = at + 4;
    } else if (ip->proto == PROTO_UDP && room >= 16) {
        uint16_t port = get16(frame + at + 2);

        if (port == PORT_GTPU)
            find_gtpu(frame, at + 8, ip->end, flow);
        else if (port == PORT_PFCP && room >= 24 && frame[at + 8] & 1) { /* with a SEID */
            flow->has |= SOFTVF_HAS_PFCP;
            flow->id = at + 12;
        }
    }
}

static uint32_t find_tags(const uint8_t *frame, uint32_t len, struct flow *flow)
{
    uint32_t at = 12;

    while (at + 6 <= len && flow->s_vlan == NOWHERE) {
        uint16_t type = get16(frame + at);

        if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
            break;
        flow->has |= SOFTVF_HAS_VLAN;
        flow->s_vlan = flow->c_vlan; /* the tag before, if there was one, is the outer one */
        flow->c_vlan = at + 2;
        at += 4;
    }
    return at;
}

static void find(const uint8_t *frame, uint32_t len, bool comms, const struct pkt_info *info,
                 struct flow *flow)
{
    struct pkt_ip ip;
    uint32_t at;

    *flow = (struct flow){.has = SOFTVF_HAS_ETH,
                          .s_vlan = NOWHERE,
                          .c_vlan = NOWHERE,
                          .type = NOWHERE,
                          .pppoe = NOWHERE,
                          .l3 = NOWHERE,
                          .l4 = NOWHERE,
                          .id = NOWHERE};
    at = find_tags(frame, len, flow);
    if (at + 2 > len)
        return;
    flow->type = at;
    at += 2;
    switch (get16(frame + at - 2)) {
    case TYPE_IPV4:
    case TYPE_IPV6:
        break;
    case TYPE_PPPOE:
        if (!comms || at + 8 > len || frame[at] != 0x11 || frame[at + 1])
            return;
        flow->has |= SOFTVF_HAS_PPPOE;
        flow->pppoe = at + 2;
        at += 8;
        if (get16(frame + at - 2) != 0x0021 && get16(frame + at - 2) != 0x0057)
            return; /* neither IPv4 nor IPv6 (RFC 1332, 5072) */
        break;
    default:
        return;
    }
    if (!pkt_view_ip(frame, len, at, &ip))
        return;
    flow->l3 = at;
    flow->version = ip.version;
    flow->has |= ip.version == 4 ? SOFTVF_HAS_IPV4 : SOFTVF_HAS_IPV6;
    find_l4(flow, &ip);
    if (info->outer_l3_off) { /* a tunnel that the parser knows: the ports inside count */
        flow->has = (flow->has & ~(uint32_t)LAYER_4) | (info->l4_off ? layer_4(info->l4_proto) : 0);
        flow->l4 = info->l4_off ? info->l4_off : NOWHERE;
    } else if (comms) {
        find_tunnel(frame, &ip, flow);
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

static bool fits(const struct softvf_rule *rule, const struct flow *flow)
{
    const uint32_t needed = LAYER_3 | LAYER_4 | BEHIND_IP;

    return !(rule->headers & needed & ~flow->has) &&
           !((rule->headers ^ flow->has) & SOFTVF_HAS_PPPOE) &&
           gtpu_fits(rule->headers & ANY_GTPU, flow->has);
}

/* Bytes that are hashed; what a frame of `room` bytes lacks is hashed as zeros, and what is too much for the
 * key is left out. */
struct input {
    uint8_t bytes[RSS_INPUT];
    uint32_t len, room;
};

static void take(struct input *input, const uint8_t *frame, uint32_t at, uint32_t size)
{
    if (input->len + size > RSS_INPUT)
        return;
    if (at <= input->room && size <= input->room - at)
        memcpy(input->bytes + input->len, frame + at, size);
    else
        memset(input->bytes + input->len, 0, size);
    input->len += size;
}

static uint32_t behind(uint32_t at, uint32_t bytes)
{
    return at == NOWHERE ? NOWHERE : at + bytes;
}

/* The first field of two if bit 0 of `which` is set, the second if bit 1 is; for a symmetric rule the lower
 * of both comes first, so that both directions hash alike. */
static void take_pair(struct input *input, const uint8_t *frame, uint32_t first, uint32_t size,
                      uint32_t which, bool symmetric)
{
    uint32_t second = behind(first, size);

    if (which == 3 && symmetric && first != NOWHERE &&
        memcmp(frame + first, frame + second, size) > 0) {
        second = first;
        first = first + size;
    }
    if (which & 1)
        take(input, frame, first, size);
    if (which & 2)
        take(input, frame, second, size);
}

static uint32_t hash_of(const struct rss_conf *rss, const struct softvf_rule *rule,
                        const struct flow *flow, const uint8_t *frame, uint32_t len)
{
    bool v6 = flow->version == 6, symmetric = rule->symmetric && rss->symmetric;
    const struct {
        uint32_t field, at, size;
    } rest[] = {
        {SOFTVF_OF_IP_PROTO, behind(flow->l3, v6 ? 6 : 9), 1},
        {SOFTVF_OF_GTPU_TEID, flow->id, 4},
        {SOFTVF_OF_L2TPV3_SESSION, flow->id, 4},
        {SOFTVF_OF_ESP_SPI, flow->id, 4},
        {SOFTVF_OF_AH_SPI, flow->id, 4},
        {SOFTVF_OF_PFCP_SEID, flow->id, 8},
        {SOFTVF_OF_PPPOE_SESSION, flow->pppoe, 2},
        {SOFTVF_OF_S_VLAN, flow->s_vlan, 2},
        {SOFTVF_OF_C_VLAN, flow->c_vlan, 2},
        {SOFTVF_OF_ETH_SRC, 6, 6},
        {SOFTVF_OF_ETH_DST, 0, 6},
        {SOFTVF_OF_ETH_TYPE, flow->type, 2},
    };
    struct input input = {.room = len};

    take_pair(&input, frame, behind(flow->l3, v6 ? 8 : 12), v6 ? 16 : 4, rule->fields & 3,
              symmetric);
    take_pair(&input, frame, flow->l4, 2, rule->fields >> 2 & 3, symmetric);
    for (uint32_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        if (rule->fields & rest[i].field)
            take(&input, frame, rest[i].at, rest[i].size);
    return rss_toeplitz(rss, input.bytes, input.len);
}

uint32_t rules_hash(const struct softvf_config *config, const struct rss_conf *rss,
                    const uint8_t *frame, uint32_t len, const struct pkt_info *info, bool *valid)
{
    struct flow flow;

    find(frame, len, config->comms, info, &flow);
    for (uint32_t i = 0; i < config->num_rules; i++)
        if (fits(&config->rules[i], &flow)) {
            *valid = true;
            return hash_of(rss, &config->rules[i], &flow, frame, len);
        }
    return rss_hash(rss, frame, info, valid);
}
