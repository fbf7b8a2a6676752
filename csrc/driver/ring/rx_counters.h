/* SPDX-License-Identifier: BSD-3-Clause */
/* How counts of the receive side and of buffers reach the stats segment. The receive block has one writer
 * at a time (docs/spec/libie-counters.md 2): the owner of the pair's cache. Any other thread adds to the
 * pair's deferred counts, which the cache's next owner merges into the block. */
#ifndef IAVFIO_DRIVER_RX_COUNTERS_H
#define IAVFIO_DRIVER_RX_COUNTERS_H

#include "driver/block.h"
#include "driver/ring/queue_pair.h"

struct rx_tally { /* counts of one receive call, on its stack */
    uint32_t packets;
    uint32_t fragments;
    uint64_t bytes;
    uint32_t polls, empty_polls;
    uint32_t drop_error, drop_oversize, drop_chain, drop_malformed, drop_reset;
    uint32_t alloc_page_fail;
    struct pool_tally pool;
};

/* Adds one call's tally: to the block when the caller owns the cache, else to the deferred counts. */
void rx_counters_add(struct queue_pair *pair, const struct rx_tally *tally, bool owner);
void rx_counters_add_pool(struct queue_pair *pair, const struct pool_tally *tally, bool owner);
/* Moves the deferred counts into the block; only the owner of the cache may call it. */
void rx_counters_merge(struct queue_pair *pair);
/* Does what rx_counters_merge does, for a caller that has the block open. */
void rx_counters_merge_open(struct queue_pair *pair);

/* Reads into *packets how many packets were counted up to now, deferred ones included. False while another
 * thread moves these into the block. For any thread. */
bool rx_counters_packets(const struct queue_pair *pair, uint64_t *packets);

static inline bool rx_counters_deferred(const struct queue_pair *pair)
{
    return __atomic_load_n(&pair->deferred.dirty, __ATOMIC_ACQUIRE);
}

/* Counts a poll that found packets, and the buffers that its refill took from the cache. Only for the
 * owner of the cache; true when deferred counts wait to be merged. */
static inline bool rx_counters_polled(struct queue_pair *pair, struct run run, uint32_t taken)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next = block_open(&rq->seq);

    block_add(&rq->polls, 1);
    block_add(&rq->packets, run.count);
    block_add(&rq->bytes, run.bytes);
    if (taken)
        block_add(&rq->pp_alloc_fast, taken);
    block_close(&rq->seq, next);
    return rx_counters_deferred(pair);
}

/* Counts a poll that found nothing. Only for the owner of the cache. */
static inline void rx_counters_idle(struct queue_pair *pair)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next = block_open(&rq->seq);

    block_add(&rq->polls, 1);
    block_add(&rq->empty_polls, 1);
    if (unlikely(rx_counters_deferred(pair)))
        rx_counters_merge_open(pair);
    block_close(&rq->seq, next);
}

#endif
