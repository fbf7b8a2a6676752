/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire is a generator that sends as fast as the rings take: UDP over IPv4, one source port a flow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/ethernet.h"
#include "softvf/packet.h"
#include "softvf/uplink.h"

#define MAX_FLOWS 4096u

struct gen {
    struct uplink uplink; /* first */
    uint32_t len, flows, flow;
    uint64_t sequence;
    uint8_t frame[9728];
};

static const uint8_t *gen_next(struct uplink *uplink, uint32_t *len)
{
    struct gen *gen = (struct gen *)uplink;

    put16(gen->frame + 34, (uint16_t)(1024 + gen->flow));
    gen->flow = gen->flow + 1 == gen->flows ? 0 : gen->flow + 1;
    put32(gen->frame + 42, (uint32_t)(gen->sequence >> 32));
    put32(gen->frame + 46, (uint32_t)gen->sequence);
    gen->sequence++;
    *len = gen->len;
    return gen->frame;
}

static int gen_send(struct uplink *uplink, const uint8_t *frame, uint32_t len)
{
    (void)uplink;
    (void)frame;
    (void)len;
    return 0; /* a generator's other end takes everything */
}

static void gen_close(struct uplink *uplink)
{
    free(uplink);
}

static const struct uplink_ops gen_ops = {gen_next, gen_send, gen_close};

static void build(struct gen *gen)
{
    static const uint8_t source[6] = {0x02, 0x00, 0x00, 0x67, 0x65, 0x6e};
    uint8_t *ip = gen->frame + 14, *udp = gen->frame + 34;

    memcpy(gen->frame + 6, source, 6);
    put16(gen->frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint16_t)(gen->len - 14));
    ip[8] = 64;
    ip[9] = 17;
    put32(ip + 12, 0xc6120001); /* 198.18.0.0/15: benchmark addresses, RFC 2544 */
    put32(ip + 16, 0xc6130001);
    put16(ip + 10, (uint16_t)~checksum_fold(checksum_add(ip, 20)));
    put16(udp + 2, 9); /* discard */
    put16(udp + 4, (uint16_t)(gen->len - 34));
}

struct uplink *uplink_open_gen(const char *options, char *error, size_t size)
{
    uint32_t frame = 64, flows = 64;
    const char *at = options;
    struct gen *gen;

    while (*at) {
        int used = 0;

        if (sscanf(at, "size=%u%n", &frame, &used) != 1 &&
            sscanf(at, "flows=%u%n", &flows, &used) != 1)
            break;
        at += used;
        if (*at == ',')
            at++;
    }
    if (*at || frame < 64 || frame > 9728 || flows < 1 || flows > MAX_FLOWS) {
        snprintf(error, size, "generator options \"%s\": size=64..9728 (FCS included), flows=1..%u",
                 options, MAX_FLOWS);
        return NULL;
    }
    gen = calloc(1, sizeof(*gen));
    if (!gen) {
        snprintf(error, size, "no memory");
        return NULL;
    }
    gen->uplink.ops = &gen_ops;
    gen->uplink.greedy = true;
    gen->len = frame - ETHER_FCS;
    gen->flows = flows;
    build(gen);
    return &gen->uplink;
}
