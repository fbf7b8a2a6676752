/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes back without having been sent: buffers to the pool, refusals and late counts to the ledger. */
#include "driver/ring/queue_pair.h"

struct returns { /* buffers on their way back, in bulk */
    struct pair *pair;
    struct pool_tally tally;
    uint32_t index[POOL_BULK];
    uint32_t count;
    int done;
    bool owner;
};

static void returns_flush(struct returns *returns)
{
    pair_put(returns->pair, returns->index, returns->count, returns->owner, &returns->tally);
    returns->done += (int)returns->count;
    returns->count = 0;
}

static inline void returns_add(struct returns *returns, uint64_t handle)
{
    uint32_t index = handle_index(handle);

    if (unlikely(index >= returns->pair->buffers || !mark_claim(returns->pair->held, index)))
        return;
    returns->index[returns->count++] = index;
    if (returns->count == POOL_BULK)
        returns_flush(returns);
}

/* Indexes of the handles that the application held, which it holds no longer. */
static inline uint32_t claim_some(uint8_t *held, uint64_t buffers, const uint64_t *handles,
                                  uint32_t n, uint32_t *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = handle_index(handles[i]);

        if (likely(index < buffers && mark_claim(held, index)))
            out[count++] = index;
    }
    return count;
}

int pair_release(struct pair *pair, const uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    bool owner = pair_own_cache(pair);
    uint32_t spare[POOL_BULK];
    uint32_t returned = 0;

    for (uint32_t i = 0; i < n; i += POOL_BULK) {
        uint32_t some = n - i < POOL_BULK ? n - i : POOL_BULK;
        /* Straight into the cache where it has room. */
        uint32_t *top = owner ? cache_room(&pair->cache, some) : NULL;
        uint32_t count =
            claim_some(pair->held, pair->buffers, handles + i, some, top ? top : spare);

        if (likely(top != NULL))
            cache_grown(&pair->cache, count, &tally);
        else
            pair_put(pair, spare, count, owner, &tally);
        returned += count;
    }
    ledger_pool(pair, &tally, owner);
    pair_disown_cache(pair, owner);
    return (int)returned;
}

int pair_release_chains(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                        const uint8_t *segments, uint32_t n)
{
    struct returns returns;

    if (!chain || !segments)
        return pair_release(pair, handles, n);
    returns.pair = pair;
    returns.tally = (struct pool_tally){0};
    returns.count = 0;
    returns.done = 0;
    returns.owner = pair_own_cache(pair);
    for (uint32_t i = 0; i < n; i++) {
        returns_add(&returns, handles[i]);
        for (uint32_t k = 1; k < segments[i] && k < CHAIN_MAX; k++)
            returns_add(&returns, chain[(size_t)CHAIN_ROW * i + k - 1]);
    }
    returns_flush(&returns);
    ledger_pool(pair, &returns.tally, returns.owner);
    pair_disown_cache(pair, returns.owner);
    return returns.done;
}

void pair_refuse(struct pair *pair, uint32_t n)
{
    uint32_t guard = GUARD_FREE;
    uint64_t next;

    __atomic_fetch_add(&pair->given_up, n, __ATOMIC_RELAXED);
    /* Whoever holds the send side merges the count at the end of a call. */
    if (!__atomic_compare_exchange_n(&pair->tx_guard, &guard, GUARD_WATCH, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return;
    next = block_open(&pair->sq->seq);
    block_add(&pair->sq->refused_full, __atomic_exchange_n(&pair->given_up, 0, __ATOMIC_RELAXED));
    block_close(&pair->sq->seq, next);
    pair_leave(&pair->tx_guard);
}

void pair_settle(struct pair *pair)
{
    if (__atomic_load_n(&pair->given_up, __ATOMIC_RELAXED))
        pair_refuse(pair, 0);
    /* Whoever holds the cache merges the ledger at the end of its call. */
    if (pair_own_cache(pair)) {
        ledger_merge(pair);
        pair_disown_cache(pair, true);
    }
}
