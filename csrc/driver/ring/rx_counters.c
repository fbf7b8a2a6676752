/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "driver/ring/rx_counters.h"
#include "driver/ring/queue_pair.h"

_Static_assert(sizeof(struct rq_counters) % sizeof(uint64_t) == 0, "counters are words");

static void charge(struct ledger *ledger, size_t field, uint64_t n)
{
    if (n)
        __atomic_fetch_add(&ledger->word[field / sizeof(uint64_t)], n, __ATOMIC_RELAXED);
}

#define CHARGE(ledger, field, n) charge(ledger, offsetof(struct rq_counters, field), n)

static void charge_pool(struct ledger *ledger, const struct pool *pool,
                        const struct pool_tally *tally)
{
    CHARGE(ledger, pp_alloc_fast, tally->fast);
    if (pool->big)
        CHARGE(ledger, pp_alloc_slow_ho, tally->slow);
    else
        CHARGE(ledger, pp_alloc_slow, tally->slow);
    CHARGE(ledger, pp_alloc_empty, tally->empty);
    CHARGE(ledger, pp_alloc_refill, tally->refill);
    CHARGE(ledger, pp_recycle_cached, tally->cached);
    CHARGE(ledger, pp_recycle_cache_full, tally->cache_full);
    CHARGE(ledger, pp_recycle_ring, tally->ring);
    /* The amounts must be there when a merger sees the mark. */
    __atomic_store_n(&ledger->dirty, 1, __ATOMIC_RELEASE);
}

void ledger_charge_pool(struct pair *pair, const struct pool_tally *tally)
{
    charge_pool(&pair->ledger, pair->pool, tally);
}

static void charge_receive(struct ledger *ledger, const struct pool *pool,
                           const struct rx_tally *tally)
{
    CHARGE(ledger, packets, tally->packets);
    CHARGE(ledger, bytes, tally->bytes);
    CHARGE(ledger, fragments, tally->fragments);
    CHARGE(ledger, polls, tally->polls);
    CHARGE(ledger, empty_polls, tally->empty_polls);
    CHARGE(ledger, alloc_page_fail, tally->alloc_page_fail);
    CHARGE(ledger, drop_error, tally->drop_error);
    CHARGE(ledger, drop_oversize, tally->drop_oversize);
    CHARGE(ledger, drop_chain, tally->drop_chain);
    CHARGE(ledger, drop_malformed, tally->drop_malformed);
    CHARGE(ledger, drop_reset, tally->drop_reset);
    charge_pool(ledger, pool, &tally->pool);
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

void ledger_merge_open(struct pair *pair)
{
    uint64_t *word = (uint64_t *)pair->rq;

    __atomic_store_n(&pair->ledger.dirty, 0, __ATOMIC_RELAXED);
    /* An addition after this one marks the ledger again. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (size_t i = 1; i < RQ_WORDS; i++) {
        if (__atomic_load_n(&pair->ledger.word[i], __ATOMIC_RELAXED))
            block_add(&word[i], __atomic_exchange_n(&pair->ledger.word[i], 0, __ATOMIC_RELAXED));
    }
}

void ledger_receive(struct pair *pair, const struct rx_tally *tally, bool owner)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next;

    if (unlikely(!owner)) {
        charge_receive(&pair->ledger, pair->pool, tally);
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
    if (unlikely(ledger_dirty(&pair->ledger)))
        ledger_merge_open(pair);
    block_close(&rq->seq, next);
}

void ledger_pool(struct pair *pair, const struct pool_tally *tally, bool owner)
{
    uint64_t next;

    if (unlikely(!owner)) {
        ledger_charge_pool(pair, tally);
        return;
    }
    next = block_open(&pair->rq->seq);
    add_pool(pair->rq, pair->pool, tally);
    if (unlikely(ledger_dirty(&pair->ledger)))
        ledger_merge_open(pair);
    block_close(&pair->rq->seq, next);
}

void ledger_merge(struct pair *pair)
{
    uint64_t next;

    if (!ledger_dirty(&pair->ledger))
        return;
    next = block_open(&pair->rq->seq);
    ledger_merge_open(pair);
    block_close(&pair->rq->seq, next);
}
