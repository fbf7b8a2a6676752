/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive side of a queue pair: what every receive function needs, whatever its instruction set. */
#ifndef IAVFIO_DRIVER_RX_H
#define IAVFIO_DRIVER_RX_H

#include <string.h>

#include "driver/ring/metadata.h"
#include "driver/ring/queue_pair.h"

/* ---- ends of a poll that are not the usual one; they return how many packets the poll found ---- */

/* The ring holds no packet. */
uint32_t rx_idle(struct queue_pair *pair, bool owner);
/* The ring holds packets, but another thread owns the cache, or the cache has too little for a refill. */
uint32_t rx_slowly(struct queue_pair *pair, struct run run, bool owner);
/* The packets are counted, and others left deferred counts to be merged. */
uint32_t rx_merge(struct queue_pair *pair, uint32_t count);

/* What rx_rest has to know; both in one argument, since six arguments travel in registers and calls with
 * so few can be jumps. */
enum rx_flags { RX_OWNER = 1, RX_MARK = 2 };
/* The first run stopped at the ring's end, or at a descriptor that the tight loop does not take. */
uint32_t rx_rest(struct queue_pair *pair, const struct columns *c, struct run first, uint32_t max,
                 enum rx_flags flags);

static inline enum rx_flags rx_flags_of(bool owner, bool mark)
{
    return (owner ? RX_OWNER : 0) | (mark ? RX_MARK : 0);
}

/* The ring is armed: write-backs are expected in the format that was configured. */
void rx_expect(struct queue_pair *pair);
/* After the device has let go of the ring: what it had received counts as lost, every buffer returns. */
void rx_drain(struct queue_pair *pair);

/* ---- the ring ---- */

/* The next slot belongs to the device, and the device has written it back. */
static inline bool rx_done(const struct queue_pair *pair)
{
    return pair->rx_left && (writeback_status(pair->rx_ring + pair->rx_next) & RXL_DD);
}

/* Packets that the device has written back whole and nobody has received. Both formats have DD and EOP at one
 * place. */
static inline uint32_t rx_waiting(const struct queue_pair *pair)
{
    uint32_t slot = pair->rx_next, packets = 0;

    for (uint32_t i = 0; i < pair->rx_left; i++) {
        uint64_t status = writeback_status(pair->rx_ring + slot);

        if (!(status & RXL_DD))
            break;
        packets += (status & RXL_EOP) != 0;
        slot = slot + 1 == pair->rx_entries ? 0 : slot + 1;
    }
    return packets;
}

/* The device has no descriptor of the ring left. The last few of those that were posted may not count: an
 * E810 ignores the low bits of the tail (docs/spec/registers.md 4). */
static inline bool rx_starved(const struct queue_pair *pair)
{
    return pair->rx_left <= (rx_tail_slot(pair) & (QRX_TAIL_STEP - 1));
}

/* Slots from rx_next on that a run may look at: at most max, none beyond the ring's end. */
static inline uint32_t rx_straight(const struct queue_pair *pair, uint32_t max)
{
    uint32_t n = max < pair->rx_left ? max : pair->rx_left;
    uint32_t end = pair->rx_entries - pair->rx_next;

    return n < end ? n : end;
}

static inline void rx_step(struct queue_pair *pair, uint32_t n)
{
    pair->rx_next += n;
    if (pair->rx_next == pair->rx_entries)
        pair->rx_next = 0;
    pair->rx_left -= n;
}

/* n rows of one segment each. */
static inline void rx_singles(const struct columns *c, uint32_t row, uint32_t n)
{
    if (c->segments)
        memset(c->segments + row, 1, n);
}

/* True when a poll may look at more than one packet at a time, and ring its doorbell by a store. */
INLINE bool rx_usual(const struct queue_pair *pair)
{
    return !(pair->chained | pair->skipping) && pair->rx_tail;
}

#endif
