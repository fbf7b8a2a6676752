/* SPDX-License-Identifier: BSD-3-Clause */
/* How counters reach the stats segment. A block has one writer at a time (libie-stats 2): the receive
 * block belongs to whoever holds the pair's cache, the send block to whoever holds its send side.
 * Anybody else adds to the pair's side ledger, which the next holder of the cache merges. */
#ifndef IAVFIO_DRIVER_LEDGER_H
#define IAVFIO_DRIVER_LEDGER_H

#include "driver/pool/cache.h"
#include "driver/counters.h"

struct pair;

#define RQ_WORDS (sizeof(struct rq_counters) / sizeof(uint64_t))

struct ledger {
    uint64_t word[RQ_WORDS]; /* as struct rq_counters; added to with atomics */
    uint32_t dirty;
};

struct rx_tally { /* of one receive call, kept on its stack */
    uint32_t packets;
    uint32_t fragments;
    uint64_t bytes;
    uint32_t polls, empty_polls;
    uint32_t drop_error, drop_oversize, drop_chain, drop_malformed, drop_reset;
    uint32_t alloc_page_fail;
    struct pool_tally pool;
};

/* Adds one call's tally: under the sequence count when the caller holds the cache, else to the ledger. */
void ledger_receive(struct pair *pair, const struct rx_tally *tally, bool owner);
void ledger_pool(struct pair *pair, const struct pool_tally *tally, bool owner);
/* From any thread. */
void ledger_charge_pool(struct pair *pair, const struct pool_tally *tally);
/* By the holder of the cache. */
void ledger_merge(struct pair *pair);
/* As that into a block that is open. */
void ledger_merge_open(struct pair *pair);

static inline bool ledger_dirty(const struct ledger *ledger)
{
    return __atomic_load_n(&ledger->dirty, __ATOMIC_ACQUIRE);
}

/* One writer's update of a block: readers retry while seq is odd (counters.h). */
static inline uint64_t block_open(uint64_t *seq)
{
    /* Odd already when a predecessor died inside. */
    uint64_t odd = __atomic_load_n(seq, __ATOMIC_RELAXED) | 1;

    __atomic_store_n(seq, odd, __ATOMIC_RELAXED);
    /* No counter may become visible before the count is odd. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return odd + 1;
}

static inline void block_close(uint64_t *seq, uint64_t next)
{
    /* All counters must be visible before the count is even again. */
    __atomic_store_n(seq, next, __ATOMIC_RELEASE);
}

static inline void block_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

#endif
