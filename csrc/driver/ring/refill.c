/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver/ring/buffers.h"
#include "driver/ring/guard.h"
#include "driver/ring/refill.h"

_Static_assert(REFILL_BATCH % QRX_TAIL_STEP == 0, "a batch is all seen");

static void post(struct queue_pair *pair, const uint32_t *index, uint32_t n)
{
    pair->rx_post(pair, index, n);
    pair->rx_fill += n;
    if (pair->rx_fill == pair->rx_entries)
        pair->rx_fill = 0;
    pair->rx_left += n;
}

/* Posts less than a batch: multiples of QRX_TAIL_STEP only, since an E810 would not see the rest. */
static bool post_few(struct queue_pair *pair, const uint32_t *index, uint32_t n, bool owner,
                     struct rx_tally *tally)
{
    uint32_t rest = n % QRX_TAIL_STEP;
    uint32_t back[REFILL_BATCH]; /* index[] may lie in the cache, to which they go */

    if (n > rest)
        post(pair, index, n - rest);
    memcpy(back, index + n - rest, rest * sizeof(*back));
    buffers_put(pair, back, rest, owner, &tally->pool);
    return n > rest;
}

bool refill_ring(struct queue_pair *pair, bool owner, struct rx_tally *tally)
{
    uint32_t spare[REFILL_BATCH];
    bool moved = false;

    for (;;) {
        /* Batches end at a multiple of REFILL_BATCH, also after a short batch. */
        uint32_t want = REFILL_BATCH - pair->rx_fill % REFILL_BATCH;
        uint32_t n = want;
        const uint32_t *index;

        if (refill_missing(pair) < want)
            return moved;
        index = buffers_get(pair, &n, owner, spare, &tally->pool);
        if (unlikely(n < want)) {
            tally->alloc_page_fail++;
            return post_few(pair, index, n, owner, tally) || moved;
        }
        post(pair, index, n);
        moved = true;
    }
}

int refill_all(struct queue_pair *pair)
{
    struct rx_tally tally = {0};
    uint32_t spare[REFILL_BATCH];
    bool owner = guard_own_cache(pair);
    uint32_t done = 0;

    pair->rx_next = pair->rx_fill = pair->rx_left = 0;
    pair->chained = pair->chained_bytes = 0;
    pair->skipping = false;
    while (done < pair->rx_entries) {
        uint32_t n = REFILL_BATCH;
        const uint32_t *index = buffers_get(pair, &n, owner, spare, &tally.pool);

        if (n)
            post(pair, index, n);
        done += n;
        if (n < REFILL_BATCH)
            break;
    }
    if (done < pair->rx_entries) {
        buffers_put(pair, pair->rx_sw, done, owner, &tally.pool);
        pair->rx_left = 0;
        tally.alloc_page_fail = 1;
    } else {
        pair->rx_left--; /* the tail stands on the last slot */
        pair->rx_filled = true;
    }
    rx_counters_add(pair, &tally, owner);
    guard_disown_cache(pair, owner);
    return done < pair->rx_entries ? -ENOMEM : 0;
}
