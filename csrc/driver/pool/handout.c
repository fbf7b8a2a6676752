/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers for any thread, past the queue pairs' caches. */
#include "driver/pool/cache.h"

uint32_t pool_take(struct pool *pool, uint64_t *handles, uint32_t n, struct pool_tally *tally)
{
    struct pool_tally unused = {0};
    uint32_t index[POOL_BULK];
    uint32_t done = 0;

    tally = tally ? tally : &unused;
    while (done < n) {
        uint32_t want = n - done < POOL_BULK ? n - done : POOL_BULK;
        uint32_t got = shared_take(pool, index, want, tally);

        for (uint32_t i = 0; i < got; i++) {
            pool_hold(pool, index[i]);
            handles[done + i] = handle_make(index[i], pool->headroom, 0);
        }
        done += got;
        if (got < want)
            break;
    }
    return done;
}

uint32_t pool_give(struct pool *pool, const uint64_t *handles, uint32_t n, struct pool_tally *tally)
{
    struct pool_tally unused = {0};
    uint32_t index[POOL_BULK];
    uint32_t held = 0, done = 0;

    tally = tally ? tally : &unused;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = handle_index(handles[i]);

        if (at >= pool->count || !pool_claim_atomic(pool, at))
            continue;
        index[held++] = at;
        done++;
        if (held == POOL_BULK) {
            shared_give(pool, index, held, tally);
            held = 0;
        }
    }
    shared_give(pool, index, held, tally);
    return done;
}

uint32_t pool_check(const struct pool *pool, const uint64_t *handles, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!pool_within(pool, handles[i]))
            return i;
    return n;
}
