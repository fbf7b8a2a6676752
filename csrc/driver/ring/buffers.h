/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers of a queue pair: its cache for the thread that owns it, the pool's shared store for others. */
#ifndef IAVFIO_DRIVER_BUFFERS_H
#define IAVFIO_DRIVER_BUFFERS_H

#include "driver/ring/queue_pair.h"

/* Gives n buffers back. */
static inline void buffers_put(struct queue_pair *pair, const uint32_t *index, uint32_t n,
                               bool owner, struct pool_tally *tally)
{
    if (likely(owner))
        cache_give(&pair->cache, pair->pool, index, n, tally);
    else
        shared_give(pair->pool, index, n, tally);
}

/* Takes up to *n buffers, at most POOL_BULK, lowers *n when there are fewer, and returns where their
 * indexes lie: in the cache, or in spare[], which only a thread that does not own the cache needs. */
static inline const uint32_t *buffers_get(struct queue_pair *pair, uint32_t *n, bool owner,
                                          uint32_t *spare, struct pool_tally *tally)
{
    if (likely(owner))
        return cache_take(&pair->cache, pair->pool, n, tally);
    *n = shared_take(pair->pool, spare, *n, tally);
    return spare;
}

#endif
