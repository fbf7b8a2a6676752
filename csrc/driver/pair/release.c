/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes back without having been sent: buffers, packets that their owner gave up, deferred counts. */
#include "driver/ring/buffers.h"
#include "driver/ring/guard.h"
#include "driver/ring/rx_counters.h"

struct returns { /* buffers on their way back, in bulk */
    struct queue_pair *pair;
    struct pool_tally tally;
    uint32_t index[POOL_BULK];
    uint32_t count;
    int done;
    bool owner;
};

static void returns_flush(struct returns *returns)
{
    buffers_put(returns->pair, returns->index, returns->count, returns->owner, &returns->tally);
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

/* Takes the marks of n handles off and writes the indexes of those that were marked to out[]; returns how
 * many these are. */
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

int pair_release(struct queue_pair *pair, const uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    bool owner = guard_own_cache(pair);
    uint32_t spare[POOL_BULK];
    uint32_t returned = 0;

    for (uint32_t i = 0; i < n; i += POOL_BULK) {
        uint32_t some = n - i < POOL_BULK ? n - i : POOL_BULK;
        /* The indexes go straight into the cache where it has room for them. */
        uint32_t *top = owner ? cache_room(&pair->cache, some) : NULL;
        uint32_t count =
            claim_some(pair->held, pair->buffers, handles + i, some, top ? top : spare);

        if (likely(top != NULL))
            cache_grown(&pair->cache, count, &tally);
        else
            buffers_put(pair, spare, count, owner, &tally);
        returned += count;
    }
    rx_counters_add_pool(pair, &tally, owner);
    guard_disown_cache(pair, owner);
    return (int)returned;
}

int pair_release_chains(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                        const uint8_t *segments, uint32_t n)
{
    struct returns returns;

    if (!chain || !segments)
        return pair_release(pair, handles, n);
    returns.pair = pair;
    returns.tally = (struct pool_tally){0};
    returns.count = 0;
    returns.done = 0;
    returns.owner = guard_own_cache(pair);
    for (uint32_t i = 0; i < n; i++) {
        returns_add(&returns, handles[i]);
        for (uint32_t k = 1; k < segments[i] && k < CHAIN_MAX; k++)
            returns_add(&returns, chain[(size_t)CHAIN_ROW * i + k - 1]);
    }
    returns_flush(&returns);
    rx_counters_add_pool(pair, &returns.tally, returns.owner);
    guard_disown_cache(pair, returns.owner);
    return returns.done;
}

void pair_refuse(struct queue_pair *pair, uint32_t n)
{
    __atomic_fetch_add(&pair->given_up, n, __ATOMIC_RELAXED);
    pair_settle(pair);
}
