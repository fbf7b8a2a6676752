/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side of a queue pair: what every send function needs, whatever its instruction set. Every
 * descriptor that reaches the ring satisfies docs/spec/descriptors.md 3: what would raise an MDD event is
 * refused, counted by reason, and its buffers are given back. */
#ifndef IAVFIO_DRIVER_TX_H
#define IAVFIO_DRIVER_TX_H

#include "driver/ring/queue_pair.h"

#define TXD_COMMAND ((uint64_t)(TXD_CMD_ICRC) << TXD_CMD_SHIFT)
#define TXD_EOP ((uint64_t)(TXD_CMD_EOP) << TXD_CMD_SHIFT)
#define TXD_RS ((uint64_t)(TXD_CMD_RS) << TXD_CMD_SHIFT)

/* ---- calls; the caller holds the send side ---- */

/* Posts packets in order until one does not fit; returns how many of the n were consumed, and in *refused
 * how many of those were not sent. `checked`: the application must hold the buffers, and loses their
 * marks. */
uint32_t tx_any(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner, bool checked);
/* Goes on after the `first` packets that a burst function has written, whatever the others are. */
uint32_t tx_rest(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                 const uint8_t *segments, uint32_t n, struct run first, uint32_t *refused,
                 bool owner, bool checked);

/* True for a burst that fits in front of the ring's end while nothing has to be reaped. */
static inline bool tx_usual(const struct queue_pair *pair, const uint8_t *segments, uint32_t n)
{
    return !segments && n - 1 < RS_SPACING && n <= pair->tx_entries - pair->tx_next &&
           pair->tx_free >= pair->tx_roomy;
}

/* Posts unchecked packets as tx_any does, with the usual burst first. */
static inline uint32_t tx_post(struct queue_pair *pair, const uint64_t *handles,
                               const uint64_t *chain, const uint8_t *segments, uint32_t n,
                               uint32_t *refused, bool owner)
{
    *refused = 0;
    if (likely(tx_usual(pair, segments, n))) {
        struct run run = tx_burst_of(pair, false)(pair, handles, n);

        if (likely(run.count == n))
            return n;
        return tx_rest(pair, handles, chain, segments, n, run, refused, owner, false);
    }
    return tx_any(pair, handles, chain, segments, n, refused, owner, false);
}

/* ---- what send functions are made of ---- */

INLINE bool tx_acceptable(const struct queue_pair *pair, uint64_t handle)
{
    int index = handle_index(handle) < pair->buffers;
    int data = handle_offset(handle) + handle_length(handle) <= pair->stride;
    int length = handle_length(handle) - TX_MIN_FRAME <= pair->tx_max_frame - TX_MIN_FRAME;

    return index & data & length;
}

INLINE void tx_write_slot(struct queue_pair *pair, uint32_t slot, uint64_t handle, uint64_t command)
{
    struct tx_desc *desc = &pair->tx_ring[slot];

    pair->tx_sw[slot] = handle_index(handle);
    desc->addr =
        pair->pool_iova + (uint64_t)handle_index(handle) * pair->stride + handle_offset(handle);
    /* Rewrites what the device left here, so that an old "done" cannot be mistaken. */
    desc->qw1 = command | (uint64_t)handle_length(handle) << TXD_BUF_SZ_SHIFT;
}

#endif
