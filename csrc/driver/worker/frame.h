/* SPDX-License-Identifier: BSD-3-Clause */
/* The frames that workers generate and check: Ethernet, IPv4, UDP with valid checksums, then
 *   +42 signature of the run (u64)   +50 identity (u64: sender 8, flow 16, sequence 40 bits)
 *   +58 filler; with verify a pattern that follows from the identity and the length. */
#ifndef IAVFIO_DRIVER_FRAME_H
#define IAVFIO_DRIVER_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "hw/ethernet.h"

#define FRAME_MIN ETHER_MIN_FRAME /* the device pads shorter frames: the pattern would not hold */
#define FRAME_SOURCE_PORT 34
#define FRAME_UDP_CSUM 40
#define FRAME_SIGNATURE 42
#define FRAME_IDENTITY 50
#define FRAME_FILLER 58
#define FRAME_PORT_BASE 49152 /* flows are source ports from here on, wrapping at 65536 */

#define SENDERS_MAX 256
#define FLOWS_MAX 65536
#define SENDER_SHIFT 56
#define FLOW_SHIFT 40
#define SEQUENCE_MASK 0xffffffffffull

struct frame { /* a frame with identity 0 and source port 0, to be copied and completed */
    uint32_t length;
    uint32_t sum; /* of the UDP checksum over all of it */
    uint8_t *bytes;
};

static inline uint64_t frame_identity(uint32_t sender, uint32_t flow, uint64_t sequence)
{
    return (uint64_t)sender << SENDER_SHIFT | (uint64_t)flow << FLOW_SHIFT |
           (sequence & SEQUENCE_MASK);
}

/* Fills frame->bytes[frame->length] in. */
void frame_compose(struct frame *frame, const uint8_t *dst, const uint8_t *src, uint64_t signature);
/* Writes the frame with this identity to `to`. */
void frame_write(const struct frame *frame, uint8_t *to, uint64_t identity, bool pattern);
/* Whether the filler is the one that belongs to the frame's identity and length. */
bool frame_intact(const uint8_t *bytes, uint32_t length);

#endif
