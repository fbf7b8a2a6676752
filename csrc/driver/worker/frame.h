/* SPDX-License-Identifier: BSD-3-Clause */
/* The frames that workers generate and check: Ethernet, IPv4 or IPv6, UDP with valid checksums, and behind
 * these headers
 *   +0 signature of the run (u64)   +8 identity (u64: sender 8, flow 16, sequence 40 bits)
 *   +16 filler; with verify a pattern that follows from the identity and the length. */
#ifndef IAVFIO_DRIVER_FRAME_H
#define IAVFIO_DRIVER_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "hw/ethernet.h"

#define FRAME_MIN ETHER_MIN_FRAME /* the device pads shorter frames: the pattern would not hold */
#define FRAME_IPV4_HEADER 20
#define FRAME_IPV6_HEADER 40
#define FRAME_UDP_HEADER 8
#define FRAME_IDENTITY 8 /* behind the headers */
#define FRAME_MARKS 16 /* bytes of signature and identity */
#define FRAME_PORT_BASE 49152 /* flows are source ports from here on, wrapping at 65536 */

#define SENDERS_MAX 256
#define FLOWS_MAX 65536
#define SENDER_SHIFT 56
#define FLOW_SHIFT 40
#define SEQUENCE_MASK 0xffffffffffull

struct frame { /* a frame with identity 0 and source port 0, to be copied and completed */
    uint32_t length;
    uint32_t headers; /* bytes of Ethernet, IP and UDP */
    uint32_t sum; /* of the UDP checksum over all of it */
    uint8_t *bytes;
};

static inline uint32_t frame_headers(bool ipv6)
{
    return ETHER_HEADER + (ipv6 ? FRAME_IPV6_HEADER : FRAME_IPV4_HEADER) + FRAME_UDP_HEADER;
}

/* Bytes of the shortest frame. */
static inline uint32_t frame_least(bool ipv6)
{
    uint32_t least = frame_headers(ipv6) + FRAME_MARKS;

    return least > FRAME_MIN ? least : FRAME_MIN;
}

static inline uint64_t frame_identity(uint32_t sender, uint32_t flow, uint64_t sequence)
{
    return (uint64_t)sender << SENDER_SHIFT | (uint64_t)flow << FLOW_SHIFT |
           (sequence & SEQUENCE_MASK);
}

/* Fills frame->bytes[frame->length] in: IPv4 or IPv6 by the length of its headers. */
void frame_compose(struct frame *frame, const uint8_t *dst, const uint8_t *src, uint64_t signature);
/* Writes the frame with this identity to `to`. */
void frame_write(const struct frame *frame, uint8_t *to, uint64_t identity, bool pattern);
/* Whether the filler is the one that belongs to the frame's identity and length. */
bool frame_intact(const uint8_t *bytes, uint32_t headers, uint32_t length);

#endif
