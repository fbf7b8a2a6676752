/* SPDX-License-Identifier: BSD-3-Clause */
/* Any frame of any driver, with any rules for RSS and for flows and any offloads: the software VF never reads behind
 * the frame or a rule's template, finds headers inside of it alone, and hashes, steers, checks, completes and cuts it
 * within bounds, the same each time. */
#include "fuzz.h"

#include "hw/desc.h"
#include "softvf/flows.h"
#include "softvf/packet.h"
#include "softvf/rules.h"

#define RULES 8u
#define FLOWS 7u

static void look_at(const uint8_t *frame, uint32_t len, const struct pkt_tunnels *tunnels,
                    struct pkt_info *info)
{
    pkt_parse(frame, len, tunnels, info);
    assert(info->l3_off < len && info->outer_l3_off <= info->l3_off);
    assert(!info->l4_off || (info->l4_off > info->l3_off && info->l4_off + info->l4_len <= len));
    assert(info->outer_l4_off <= info->l3_off || !info->l3_off);
    pkt_check(frame, len, info);
}

/* Hashes by the rules; with none of them by the packet class. */
static uint32_t hash(struct softvf_config *config, const struct rss_conf *rss, const uint8_t *frame,
                     uint32_t len, const struct pkt_info *info)
{
    bool valid = false, plain = false;
    uint32_t by_class = rss_hash(rss, frame, info, &plain), count = config->num_rules, value;

    config->num_rules = 0;
    value = rules_hash(config, rss, frame, len, info, &valid);
    assert(valid == plain && value == by_class);
    config->num_rules = count;
    value = rules_hash(config, rss, frame, len, info, &valid);
    assert(valid || !plain); /* a rule may hash what the classes do not, never the reverse */
    return value;
}

/* Takes the flows that the input has; their templates are copies of just their size. */
static void take_flows(struct reader *from, uint32_t count, struct softvf_flow *flows)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t headers = (uint32_t)number(from, 4), fields = (uint32_t)number(from, 4);
        uint32_t flags = (uint32_t)number(from, 1), len = (uint32_t)number(from, 2);
        uint8_t *template;

        len = len < from->left ? len : (uint32_t)from->left;
        template = malloc(len ? len : 1);
        assert(template);
        memcpy(template, from->data, len);
        from->data += len;
        from->left -= len;
        flows[i] = (struct softvf_flow){.headers = headers,
                                        .fields = fields,
                                        .frame = template,
                                        .frame_len = len,
                                        .action = flags & 3,
                                        .queue = i,
                                        .queues = 1u << (flags >> 2 & 3),
                                        .mark = i + 1};
    }
}

/* What the rules say of a frame; they are compiled each time. */
static uint32_t steer(const struct softvf_config *config, const struct pkt_tunnels *tunnels,
                      const uint8_t *frame, uint32_t len, const struct pkt_info *info)
{
    const struct flow_verdict *verdict;
    struct flow_table *table;
    uint32_t said = 0;

    if (flows_compile(config, tunnels, &table) || !table)
        return 0;
    assert(flows_patterns(table) && flows_patterns(table) <= config->num_flows);
    verdict = flows_match(table, frame, len, info);
    if (verdict) {
        const struct softvf_flow *flow = &config->flows[verdict->queue];

        assert(verdict->queue < config->num_flows && verdict->mark == flow->mark);
        assert((uint32_t)verdict->action == flow->action && verdict->mask < flow->queues);
        said = verdict->mark;
    }
    flows_free(table);
    return said;
}

/* A flow by itself, whose template is the frame: it is refused, or it fits, unless the frame ends before its IP
 * packet does or after it, which is mended in a template. */
static void fits_itself(const struct pkt_tunnels *tunnels, uint32_t comms, uint32_t headers,
                        uint32_t fields, const uint8_t *frame, uint32_t len,
                        const struct pkt_info *info)
{
    const struct softvf_flow flow = {.headers = headers & ~0xf00u, /* but GTP-U */
                                     .fields = fields,
                                     .frame = frame,
                                     .frame_len = len,
                                     .queues = 1};
    struct softvf_config config = {.flows = &flow, .num_flows = 1, .comms = comms & 1};
    uint32_t l3 = info->outer_l3_off ? info->outer_l3_off : info->l3_off;
    struct flow_table *table;
    struct pkt_ip ip = {0};

    if (l3 && (!pkt_view_ip(frame, len, l3, &ip) || ip.end != len))
        return;
    if (l3 &&
        get16(frame + l3 + (ip.version == 4 ? 2 : 4)) != len - l3 - (ip.version == 4 ? 0 : 40))
        return;
    if (!l3 && info->ptype == PTYPE_L2 && info->pctype == PCTYPE_L2_PAYLOAD)
        return; /* PPPoE may have an IP header, of any length */
    if (flows_compile(&config, tunnels, &table))
        return;
    assert(flows_match(table, frame, len, info));
    flows_free(table);
}

/* The segments hold the payload once, none is longer than header and MSS. */
static void cut(const uint8_t *frame, uint32_t len, uint64_t qw1, uint64_t ctx0, uint64_t ctx1)
{
    struct tso_iter iter;
    const char *why;
    uint32_t payload = 0, part, room;
    uint8_t *out;

    if (tso_begin(&iter, frame, len, qw1, ctx0, ctx1, &why))
        return;
    room = iter.header_len + iter.mss;
    out = malloc(room);
    assert(out);
    while ((part = tso_next(&iter, out, room))) {
        assert(part > iter.header_len && part <= room);
        payload += part - iter.header_len;
    }
    assert(payload == len - iter.header_len);
    free(out);
}

/* What is hashed: everything, nothing, half of a family of X722's classes, what no class stands for. */
static const uint64_t classes[] = {~0ull, 0, 1ull << 30 | 1ull << 35, 0x5555555555555555ull};
#define SHAPES 32u

/* Made once each: the tables of a key take longer than all the rest. */
static const struct rss_conf *prepared(uint32_t shape)
{
    static struct rss_conf made[SHAPES];
    static bool ready[SHAPES];
    uint8_t key[64];

    if (!ready[shape]) {
        for (uint32_t i = 0; i < sizeof(key); i++)
            key[i] = (uint8_t)(37 * i + 11);
        rss_prepare(&made[shape], key, sizeof(key), classes[shape >> 3], shape & 2, shape & 4);
        ready[shape] = true;
    }
    return &made[shape];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader from = {data, size};
    struct softvf_config *config = calloc(1, sizeof(*config));
    struct pkt_tunnels tunnels = {.count = 2,
                                  .entry = {{.port = 4789}, {.port = 6081, .geneve = true}}};
    struct pkt_info info;
    uint8_t *frame;
    uint32_t shape = (uint32_t)number(&from, 1), len, value;
    struct softvf_flow flows[FLOWS];
    uint64_t qw1 = number(&from, 8), ctx0 = number(&from, 8), ctx1 = number(&from, 8);
    const struct rss_conf *rss = prepared(shape % SHAPES);
    const char *why;

    assert(config);
    config->comms = shape & 1;
    config->num_rules = (uint32_t)number(&from, 1) % (RULES + 1);
    for (uint32_t i = 0; i < config->num_rules; i++)
        config->rules[i] = (struct softvf_rule){.headers = (uint32_t)number(&from, 4),
                                                .fields = (uint32_t)number(&from, 4),
                                                .symmetric = (uint32_t)number(&from, 1) & 1};
    config->num_flows = shape / SHAPES;
    config->flows = flows;
    take_flows(&from, config->num_flows, flows);
    len = (uint32_t)from.left;
    frame = malloc(len ? len : 1);
    assert(frame);
    memcpy(frame, from.data, len);
    if (len >= TX_MIN_FRAME) {
        look_at(frame, len, &tunnels, &info);
        value = hash(config, rss, frame, len, &info);
        assert(value == hash(config, rss, frame, len, &info));
        value = steer(config, &tunnels, frame, len, &info);
        assert(value == steer(config, &tunnels, frame, len, &info));
        if (config->num_flows)
            fits_itself(&tunnels, config->comms, flows[0].headers, flows[0].fields, frame, len,
                        &info);
        cut(frame, len, qw1, ctx0, ctx1);
        tx_offload(frame, len, qw1, ctx0, &why);
        look_at(frame, len, &tunnels, &info);
    }
    for (uint32_t i = 0; i < config->num_flows; i++)
        free((void *)(uintptr_t)flows[i].frame);
    free(frame);
    free(config);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const seeds[] = {
        /* UDP */
        "0300000000000000000000000000000000000000000000000001240000000f00000001020000000001020000"
        "00000208004500002400010000401166c60a0000010a0000020001000200105a336162636465666768",
        /* GTP-U with a PDU session */
        "0100000000000000000000000000000000000000000000000002040800002300000000040100002f00000001"
        "02000000000102000000000208004500004900010000401166a10a0000010a000002086808680035af1034ff"
        "00250000000500000085011009004500001d00010000401166cd0a0000010a00000200030004000973d278",
        /* PPPoE with IPv6 */
        "0100000000000000000000000000000000000000000000000001980000000f04000001020000000001020000"
        "000002886411000005003e005760000000001406400000000000000000000000000000000100000000000000"
        "000000000000000002000100020000000000000000500220008fdd0000",
        /* AH behind two tags */
        "0100000000000000000000000000000000000000000000000001084000000319000000020000000001020000"
        "00000288a800028100000386dd60000000002c33400000000000000000000000000000000100000000000000"
        "0000000000000000020000000000000007000000010000000000000000000000007979797979797979797979"
        "797979797979797979",
        /* TCP in VXLAN, to be cut */
        "00101687420100000017f20000000000001100000023000001000200000000010200000000020800450000e6"
        "00010000401166040a0000010a000002000912b500d2cd2c0c00000300000700020000000001020000000002"
        "0800450000b400010000400666410a0000010a00000200010002000000000000000050022000fdd300007a7a"
        "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a"
        "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a"
        "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a"
        "7a7a7a7a7a7a",
        /* IPv6 with extensions */
        "040000000000000000000000000000000000000000000000000002000000000102000000000286dd60000000"
        "00212b4000000000000000000000000000000001000000000000000000000000000000022c00000000000000"
        "1100000100000000003500350011c899717171717171717171",
        /* SCTP in GRE */
        "1400000000000000000000000000000000000000000000000001440000000f00000001020000000001020000"
        "00000208004500003800010000402f66940a0000010a000002000008004500002000010000408466570a0000"
        "010a0000020001000200000000fd988051",
        /* UDP, and flows of its ports and its address */
        "4300000000000000000000000000000000000000000000000000240000000f00000000320002000000000102"
        "000000000108004500002400010000401166c60a0000010a0000020001000200105a33616263646566676804"
        "0000000100030005320002000000000102000000000108004500002400010000401166c60a0000010a000002"
        "0001000200105a33616263646566676802000000000102000000000108004500002400010000401166c60a00"
        "00010a0000020001000200105a336162636465666768",
        /* ESP, and a flow of its SPI that drops */
        "2100000000000000000000000000000000000000000000000000082000008000000001460002000000000102"
        "000000000186dd60000000001032400000000000000000000000000000000100000000000000000000000000"
        "0000021122334400000000000000000000000002000000000102000000000186dd6000000000103240000000"
        "0000000000000000000000000100000000000000000000000000000002112233440000000000000000000000"
        "00",
        /* GTP-U with a PDU session, and a flow of its TEID and QFI */
        "2100000000000000000000000000000000000000000000000000040300002000040002570002000000000102"
        "000000000208004500004900010000401166a10a0000010a000002086808680035af1034ff00250000000500"
        "000085011009004500001d00010000401166cd0a0000010a00000200030004000973d2780200000000010200"
        "0000000208004500004900010000401166a10a0000010a000002086808680035af1034ff0025000000050000"
        "0085011009004500001d00010000401166cd0a0000010a00000200030004000973d278",
    };

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
        fuzz_keep_hex(seeds[i]);
    return fuzz_main(argc, argv);
}
