/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "driver/worker/frame.h"
#include "hw/ethernet.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define IP_PROTOCOL_UDP 17
#define UDP_PORT 9 /* discard */
#define HOPS 64
#define ODD_64 0x9e3779b97f4a7c15ull

static void put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* One's complement sum of 16-bit words as they lie in memory: the sum's byte order is memory's, so no
 * word needs swapping (RFC 1071). */
static uint64_t sum_bytes(const uint8_t *bytes, uint32_t length)
{
    uint64_t sum = 0;

    for (; length >= 4; length -= 4, bytes += 4) {
        uint32_t word;

        memcpy(&word, bytes, sizeof(word));
        sum += word;
    }
    if (length) {
        uint32_t word = 0;

        memcpy(&word, bytes, length);
        sum += word;
    }
    return sum;
}

static uint32_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

static void put_sum(uint8_t *to, uint64_t sum)
{
    uint16_t checksum = (uint16_t)~fold(sum);

    memcpy(to, &checksum, sizeof(checksum));
}

static uint64_t filler_seed(uint64_t identity, uint32_t length)
{
    return (identity ^ (uint64_t)length << 32) * ODD_64;
}

/* Returns the sum of the addresses, which is part of the UDP checksum. */
static uint64_t compose_ipv4(uint8_t *ip, uint32_t udp_length)
{
    ip[0] = 0x45;
    put16(ip + 2, FRAME_IPV4_HEADER + udp_length);
    ip[8] = HOPS;
    ip[9] = IP_PROTOCOL_UDP;
    /* 198.18.0.0/15 is set aside for benchmarks (RFC 2544). */
    memcpy(ip + 12, (const uint8_t[]){198, 18, 0, 1, 198, 19, 0, 1}, 8);
    put_sum(ip + 10, sum_bytes(ip, FRAME_IPV4_HEADER));
    return sum_bytes(ip + 12, 8);
}

/* The same; 2001:2::/48 is set aside for benchmarks (RFC 5180, 8): 2001:2::1 and 2001:2:0:8000::1. */
static uint64_t compose_ipv6(uint8_t *ip, uint32_t udp_length)
{
    static const uint8_t network[4] = {0x20, 0x01, 0x00, 0x02};
    uint8_t *src = ip + 8, *dst = ip + 24;

    ip[0] = 0x60;
    put16(ip + 4, udp_length);
    ip[6] = IP_PROTOCOL_UDP;
    ip[7] = HOPS;
    memcpy(src, network, sizeof(network));
    memcpy(dst, network, sizeof(network));
    dst[6] = 0x80;
    src[15] = dst[15] = 1;
    return sum_bytes(src, 32);
}

void frame_compose(struct frame *frame, const uint8_t *dst, const uint8_t *src, uint64_t signature)
{
    bool ipv6 = frame->headers == frame_headers(true);
    uint8_t *ip = frame->bytes + ETHER_HEADER;
    uint8_t *udp = frame->bytes + frame->headers - FRAME_UDP_HEADER;
    uint32_t udp_length = frame->length - frame->headers + FRAME_UDP_HEADER;
    uint8_t pseudo[4] = {0, IP_PROTOCOL_UDP};
    uint64_t sum;

    memset(frame->bytes, 0, frame->length);
    memcpy(frame->bytes, dst, 6);
    memcpy(frame->bytes + 6, src, 6);
    put16(frame->bytes + 12, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
    sum = ipv6 ? compose_ipv6(ip, udp_length) : compose_ipv4(ip, udp_length);
    put16(udp + 2, UDP_PORT);
    put16(udp + 4, udp_length);
    memcpy(frame->bytes + frame->headers, &signature, sizeof(signature));
    put16(pseudo + 2, udp_length);
    frame->sum = fold(sum + sum_bytes(pseudo, sizeof(pseudo)) + sum_bytes(udp, udp_length));
}

/* Writes the filler; returns its sum. */
static uint64_t fill(uint8_t *to, uint32_t length, uint64_t word)
{
    uint64_t sum = 0;

    for (; length >= 8; length -= 8, to += 8, word += ODD_64) {
        memcpy(to, &word, sizeof(word));
        sum += (word & 0xffffffff) + (word >> 32);
    }
    memcpy(to, &word, length);
    return sum + sum_bytes(to, length);
}

void frame_write(const struct frame *frame, uint8_t *to, uint64_t identity, bool pattern)
{
    uint32_t flow = (uint32_t)(identity >> FLOW_SHIFT) & (FLOWS_MAX - 1);
    uint64_t sum = frame->sum + (identity & 0xffffffff) + (identity >> 32);
    uint8_t *udp = to + frame->headers - FRAME_UDP_HEADER;
    uint8_t port[2];
    uint16_t word, checksum;

    put16(port, FRAME_PORT_BASE + flow);
    memcpy(&word, port, sizeof(word));
    sum += word;
    if (pattern) {
        uint32_t filler = frame->headers + FRAME_MARKS;

        memcpy(to, frame->bytes, filler);
        sum += fill(to + filler, frame->length - filler, filler_seed(identity, frame->length));
    } else {
        memcpy(to, frame->bytes, frame->length);
    }
    memcpy(udp, port, sizeof(port));
    memcpy(to + frame->headers + FRAME_IDENTITY, &identity, sizeof(identity));
    checksum = (uint16_t)~fold(sum);
    if (!checksum) /* 0 means "none" (RFC 768) */
        checksum = 0xffff;
    memcpy(udp + 6, &checksum, sizeof(checksum));
}

bool frame_intact(const uint8_t *bytes, uint32_t headers, uint32_t length)
{
    const uint8_t *filler = bytes + headers + FRAME_MARKS;
    uint64_t identity, word, wrong = 0;
    uint32_t left = length - headers - FRAME_MARKS;

    memcpy(&identity, bytes + headers + FRAME_IDENTITY, sizeof(identity));
    word = filler_seed(identity, length);
    for (; left >= 8; left -= 8, filler += 8, word += ODD_64) {
        uint64_t found;

        memcpy(&found, filler, sizeof(found));
        wrong |= found ^ word;
    }
    return !wrong && !memcmp(filler, &word, left);
}
