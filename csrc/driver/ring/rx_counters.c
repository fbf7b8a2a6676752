/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "driver/ring/rx_counters.h"

#define RQ_WORDS (sizeof(struct rq_counters) / sizeof(uint64_t))

_Static_assert(sizeof(struct rq_counters) % sizeof(uint64_t) == 0, "counters are words");

static void defer(struct rx_deferred *deferred, size_t field, uint64_t n)
{
    if (n)
        __atomic_fetch_add(&deferred->word[field / sizeof(uint64_t)], n, __ATOMIC_RELAXED);
}

#define DEFER(deferred, field, n) defer(deferred, offsetof(struct rq_counters, field), n)

static void defer_pool(struct rx_deferred *deferred, const struct pool *pool,
                       const struct pool_tally *tally)
{
    DEFER(deferred, pp_alloc_fast, tally->fast);
    if (pool->big)
        DEFER(deferred, pp_alloc_slow_ho, tally->slow);
    else
        DEFER(deferred, pp_alloc_slow, tally->slow);
    DEFER(deferred, pp_alloc_empty, tally->empty);
    DEFER(deferred, pp_alloc_refill, tally->refill);
    DEFER(deferred, pp_recycle_cached, tally->cached);
    DEFER(deferred, pp_recycle_cache_full, tally->cache_full);
    DEFER(deferred, pp_recycle_ring, tally->ring);
    /* The amounts must be there when a merger sees the mark. */
    __atomic_store_n(&deferred->dirty, 1, __ATOMIC_RELEASE);
}

static void defer_receive(struct rx_deferred *deferred, const struct pool *pool,
                          const struct rx_tally *tally)
{
    DEFER(deferred, packets, tally->packets);
    DEFER(deferred, bytes, tally->bytes);
    DEFER(deferred, fragments, tally->fragments);
    DEFER(deferred, polls, tally->polls);
    DEFER(deferred, empty_polls, tally->empty_polls);
    DEFER(deferred, alloc_page_fail, tally->alloc_page_fail);
    DEFER(deferred, drop_error, tally->drop_error);
    DEFER(deferred, drop_oversize, tally->drop_oversize);
    DEFER(deferred, drop_chain, tally->drop_chain);
    DEFER(deferred, drop_malformed, tally->drop_malformed);
    DEFER(deferred, drop_reset, tally->drop_reset);
    defer_pool(deferred, pool, &tally->pool);
}

static void add_pool(struct rq_counters *rq, const struct pool *pool,
                     const struct pool_tally *tally)
{
    if (tally->fast)
        block_add(&rq->pp_alloc_fast, tally->fast);
    if (tally->cached)
        block_add(&rq->pp_recycle_cached, tally->cached);
    if (likely(!(tally->refill | tally->slow | tally->empty | tally->ring)))
        return;
    block_add(pool->big ? &rq->pp_alloc_slow_ho : &rq->pp_alloc_slow, tally->slow);
    block_add(&rq->pp_alloc_empty, tally->empty);
    block_add(&rq->pp_alloc_refill, tally->refill);
    block_add(&rq->pp_recycle_cache_full, tally->cache_full);
    block_add(&rq->pp_recycle_ring, tally->ring);
}

void rx_counters_merge_open(struct queue_pair *pair)
{
    uint64_t *word = (uint64_t *)pair->rq;

    __atomic_store_n(&pair->deferred.dirty, 0, __ATOMIC_RELAXED);
    /* An addition that comes after this exchange marks the counts as dirty again. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (size_t i = 1; i < RQ_WORDS; i++) {
        if (__atomic_load_n(&pair->deferred.word[i], __ATOMIC_RELAXED))
            block_add(&word[i], __atomic_exchange_n(&pair->deferred.word[i], 0, __ATOMIC_RELAXED));
    }
}

void rx_counters_add(struct queue_pair *pair, const struct rx_tally *tally, bool owner)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next;

    if (unlikely(!owner)) {
        defer_receive(&pair->deferred, pair->pool, tally);
        return;
    }
    next = block_open(&rq->seq);
    block_add(&rq->packets, tally->packets);
    block_add(&rq->bytes, tally->bytes);
    block_add(&rq->polls, tally->polls);
    add_pool(rq, pair->pool, &tally->pool);
    if (unlikely(tally->empty_polls | tally->fragments | tally->drop_error | tally->drop_oversize |
                 tally->drop_chain | tally->drop_malformed | tally->drop_reset |
                 tally->alloc_page_fail)) {
        block_add(&rq->empty_polls, tally->empty_polls);
        block_add(&rq->fragments, tally->fragments);
        block_add(&rq->drop_error, tally->drop_error);
        block_add(&rq->drop_oversize, tally->drop_oversize);
        block_add(&rq->drop_chain, tally->drop_chain);
        block_add(&rq->drop_malformed, tally->drop_malformed);
        block_add(&rq->drop_reset, tally->drop_reset);
        block_add(&rq->alloc_page_fail, tally->alloc_page_fail);
    }
    if (unlikely(rx_counters_deferred(pair)))
        rx_counters_merge_open(pair);
    block_close(&rq->seq, next);
}

bool rx_counters_packets(const struct queue_pair *pair, uint64_t *packets)
{
    const size_t word = offsetof(struct rq_counters, packets) / sizeof(uint64_t);
    uint64_t seq = __atomic_load_n(&pair->rq->seq, __ATOMIC_ACQUIRE);

    *packets = __atomic_load_n(&pair->rq->packets, __ATOMIC_RELAXED) +
               __atomic_load_n(&pair->deferred.word[word], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return !(seq & 1) && seq == __atomic_load_n(&pair->rq->seq, __ATOMIC_RELAXED);
}

void rx_counters_add_pool(struct queue_pair *pair, const struct pool_tally *tally, bool owner)
{
    uint64_t next;

    if (unlikely(!owner)) {
        defer_pool(&pair->deferred, pair->pool, tally);
        return;
    }
    next = block_open(&pair->rq->seq);
    add_pool(pair->rq, pair->pool, tally);
    if (unlikely(rx_counters_deferred(pair)))
        rx_counters_merge_open(pair);
    block_close(&pair->rq->seq, next);
}

void rx_counters_merge(struct queue_pair *pair)
{
    uint64_t next;

    if (!rx_counters_deferred(pair))
        return;
    next = block_open(&pair->rq->seq);
    rx_counters_merge_open(pair);
    block_close(&pair->rq->seq, next);
}
