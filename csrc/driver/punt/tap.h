/* SPDX-License-Identifier: BSD-3-Clause */
/* Between a queue pair and a TAP interface of the kernel: packets that leave the fast path, and frames of the kernel
 * that join it. The TAP's descriptor does not block. */
#ifndef IAVFIO_DRIVER_TAP_H
#define IAVFIO_DRIVER_TAP_H

#include <stdint.h>

#define TAP_FRAMES_MAX 64 /* frames that one tap_fetch takes */

struct pool;
struct columns;
struct queue_pair;

/* packets = delivered + full + down + longer + refused */
struct tap_delivered {
    uint64_t packets; /* that were meant for the TAP */
    uint64_t delivered, bytes; /* that the kernel took, with tags */
    uint64_t tagged; /* of these: with a tag that was put back */
    uint64_t full; /* the kernel had no room */
    uint64_t down; /* the interface was down, or gone */
    uint64_t longer; /* than the MTU */
    uint64_t refused; /* for any other reason */
};

/* frames = sent + no_buffer + full + stopped + longer + refused */
struct tap_fetched {
    uint64_t frames; /* that came from the TAP */
    uint64_t sent, bytes; /* given to the device */
    uint64_t no_buffer; /* the pool was empty */
    uint64_t full; /* the send ring had no room */
    uint64_t stopped; /* the queue did not work */
    uint64_t longer; /* than the MTU */
    uint64_t refused; /* too short for the device */
};

/* Writes the packets at rows[0..n) of the columns to a TAP, as they were on the wire; their buffers stay the
 * caller's. `tag_type`: as for selection_mask. 0, or -EBADFD where the TAP is gone. */
int tap_deliver(int tap, const struct pool *pool, const struct columns *columns,
                const int64_t *rows, uint32_t n, uint32_t tag_type, uint32_t mtu,
                struct tap_delivered *counts);
/* Reads up to `most` frames from a TAP and sends them. Returns how many it has read, or -EBADFD where the TAP is
 * gone and nothing was read. */
int tap_fetch(int tap, struct queue_pair *pair, uint32_t max_frame, uint32_t most,
              struct tap_fetched *counts);

#endif
