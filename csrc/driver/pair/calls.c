/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls of applications on a running queue pair. */
#include <errno.h>

#include "driver/pair/watch.h"
#include "driver/ring/buffers.h"
#include "driver/ring/guard.h"
#include "driver/ring/vector.h"
#include "driver/ring/rx.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx.h"
#include "driver/ring/tx_clean.h"

int pair_recv(struct queue_pair *pair, const struct columns *columns, uint32_t max)
{
    uint32_t got;
    bool owner;
    int error;

    if (unlikely(!columns->handles || (pair->scattered && (!columns->chain || !columns->segments))))
        return -EINVAL;
    error = guard_enter(pair, &pair->rx_guard);
    if (unlikely(error))
        return error;
    owner = guard_own_cache(pair);
    got = rx_burst_of(pair, true)(pair, columns, max, owner);
    guard_disown_cache(pair, owner);
    if (unlikely(!got && __atomic_load_n(&pair->tend_empty, __ATOMIC_RELAXED)))
        pair_tend(pair);
    guard_leave(&pair->rx_guard);
    return (int)got;
}

/* What pair_send does with more than the usual burst: it needs the cache. */
static __attribute__((noinline)) int send_more(struct queue_pair *pair, const uint64_t *handles,
                                               const uint64_t *chain, const uint8_t *segments,
                                               uint32_t n, uint32_t *refused)
{
    bool owner = guard_own_cache(pair);
    uint32_t done = tx_any(pair, handles, chain, segments, n, refused, owner, true);

    guard_disown_cache(pair, owner);
    if (unlikely(!done && pair->rearm))
        vector_rearm(pair);
    guard_leave(&pair->tx_guard);
    return (int)done;
}

/* Goes on after the good packets at the head of a burst, which are written already. */
static __attribute__((noinline)) int send_after(struct queue_pair *pair, const uint64_t *handles,
                                                uint32_t n, struct run run, uint32_t *refused)
{
    bool owner = guard_own_cache(pair);
    uint32_t done = tx_rest(pair, handles, NULL, NULL, n, run, refused, owner, true);

    guard_disown_cache(pair, owner);
    guard_leave(&pair->tx_guard);
    return (int)done;
}

int pair_send(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
              const uint8_t *segments, uint32_t n, uint32_t *refused)
{
    int error;

    *refused = 0;
    error = guard_enter(pair, &pair->tx_guard);
    if (unlikely(error))
        return error;
    if (likely(tx_usual(pair, segments, n))) {
        struct run run = tx_burst_of(pair, true)(pair, handles, n);

        if (likely(run.count == n)) {
            guard_leave(&pair->tx_guard);
            return (int)n;
        }
        return send_after(pair, handles, n, run, refused);
    }
    return send_more(pair, handles, chain, segments, n, refused);
}

int pair_clean(struct queue_pair *pair)
{
    uint32_t done;
    bool owner;
    int error = guard_enter(pair, &pair->tx_guard);

    if (unlikely(error))
        return error;
    owner = guard_own_cache(pair);
    done = tx_clean(pair, owner);
    guard_disown_cache(pair, owner);
    if (unlikely(!done && pair->rearm && tx_pending(pair)))
        vector_rearm(pair);
    guard_leave(&pair->tx_guard);
    return (int)done;
}

uint32_t pair_in_flight(struct queue_pair *pair)
{
    return tx_pending(pair);
}

int pair_waiting(struct queue_pair *pair)
{
    int error = guard_enter(pair, &pair->rx_guard);
    uint32_t packets;

    if (unlikely(error))
        return error;
    packets = rx_waiting(pair);
    guard_leave(&pair->rx_guard);
    return (int)packets;
}

int pair_alloc(struct queue_pair *pair, uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    bool owner = guard_own_cache(pair);
    uint32_t headroom = pair->headroom;
    uint8_t *held = pair->held;
    uint32_t spare[POOL_BULK];
    uint32_t done = 0;

    while (done < n) {
        uint32_t want = n - done < POOL_BULK ? n - done : POOL_BULK;
        uint32_t got = want;
        const uint32_t *index = buffers_get(pair, &got, owner, spare, &tally);

        for (uint32_t i = 0; i < got; i++) {
            mark_held(held, index[i]);
            handles[done + i] = handle_make(index[i], headroom, 0);
        }
        done += got;
        if (got < want)
            break;
    }
    rx_counters_add_pool(pair, &tally, owner);
    guard_disown_cache(pair, owner);
    return (int)done;
}
