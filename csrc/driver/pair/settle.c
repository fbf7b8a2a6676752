/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/cdef.h"
#include "driver/pair/settle.h"
#include "driver/ring/guard.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx_clean.h"
#include "driver/ring/tx_counters.h"
#include "driver/ring/vector.h"

/* Reaps completions and counts what others noted, unless somebody is at work on the send side. */
static void settle_tx(struct queue_pair *pair)
{
    uint32_t reaped = 0;

    if (!guard_try(&pair->tx_guard, GUARD_WATCHDOG))
        return; /* its holder does both */
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    if (__atomic_load_n(&pair->state, __ATOMIC_SEQ_CST) == PAIR_RUNNING && tx_pending(pair)) {
        bool owner = guard_own_cache(pair);

        reaped = tx_clean(pair, owner);
        guard_disown_cache(pair, owner);
        if (!reaped && pair->rearm)
            vector_rearm(pair);
    }
    if (!reaped && tx_counters_any_noted(pair)) {
        uint64_t next = block_open(&pair->sq->seq);

        tx_counters_add_noted(pair);
        block_close(&pair->sq->seq, next);
    }
    guard_leave(&pair->tx_guard);
}

/* Whoever owns the cache merges the deferred counts at the end of its call. */
static void settle_rx(struct queue_pair *pair)
{
    if (!guard_own_cache(pair))
        return;
    rx_counters_merge(pair);
    guard_disown_cache(pair, true);
}

void pair_settle(struct queue_pair *pair)
{
    if (tx_pending(pair) || tx_counters_any_noted(pair))
        settle_tx(pair);
    if (rx_counters_deferred(pair))
        settle_rx(pair);
}

void settle_idle(struct queue_pair *pair, struct settle_look *last)
{
    uint64_t posted = __atomic_load_n(&pair->sq->posted, __ATOMIC_RELAXED);
    uint64_t polls = __atomic_load_n(&pair->rq->polls, __ATOMIC_RELAXED);

    /* A sender of a burst a second would otherwise leave its last ones uncounted for ever. */
    if (posted - last->posted < RS_SPACING && (tx_pending(pair) || tx_counters_any_noted(pair)))
        settle_tx(pair);
    if (polls == last->polls && rx_counters_deferred(pair))
        settle_rx(pair);
    last->posted = posted;
    last->polls = polls;
}
