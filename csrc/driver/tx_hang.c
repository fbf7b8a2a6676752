/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/block.h"
#include "driver/ring/guard.h"
#include "driver/ring/tx_clean.h"
#include "driver/ring/vector.h"
#include "driver/tx_hang.h"

#define PACKETS_MASK 0x7fffffff /* so that NOTHING_PENDING is no packet count */
#define NOTHING_PENDING UINT64_MAX

uint32_t tx_hang_check(struct queue_pair *pair)
{
    uint64_t packets = __atomic_load_n(&pair->sq->packets, __ATOMIC_RELAXED) & PACKETS_MASK;
    uint64_t before = __atomic_load_n(&pair->hang_packets, __ATOMIC_RELAXED);
    bool found = !__atomic_load_n(&pair->hang_looks, __ATOMIC_RELAXED); /* a stall counts once */
    bool hung = true;

    if (pair_state(pair) != PAIR_RUNNING)
        return 0;
    if (packets != before) {
        __atomic_store_n(&pair->hang_packets, tx_pending(pair) ? packets : NOTHING_PENDING,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&pair->hang_looks, 0, __ATOMIC_RELAXED);
        return 0;
    }
    /* Perhaps nobody has reaped, so the watchdog does so first. */
    if (guard_try(&pair->tx_guard, GUARD_WATCHDOG)) {
        bool owner = guard_own_cache(pair);

        if (__atomic_load_n(&pair->state, __ATOMIC_SEQ_CST) != PAIR_RUNNING ||
            tx_clean(pair, owner) || !tx_pending(pair)) {
            hung = false;
        } else if (found) {
            uint64_t next = block_open(&pair->sq->seq);

            block_add(&pair->sq->hangs, 1);
            block_close(&pair->sq->seq, next);
        }
        guard_disown_cache(pair, owner);
        guard_leave(&pair->tx_guard);
    } else if (found) {
        __atomic_fetch_add(&pair->hangs_seen, 1, __ATOMIC_RELAXED);
    }
    if (!hung) {
        __atomic_store_n(&pair->hang_looks, 0, __ATOMIC_RELAXED);
        return 0;
    }
    vector_nudge(pair);
    return __atomic_add_fetch(&pair->hang_looks, 1, __ATOMIC_RELAXED);
}
