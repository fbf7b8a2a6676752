/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "driver/clock.h"
#include "driver/ring/guard.h"

int guard_enter_slow(struct queue_pair *pair, uint32_t *guard)
{
    int32_t state = pair_state(pair);
    uint32_t holder;

    if (unlikely(state != PAIR_RUNNING))
        return pair_why_stopped(state);
    for (;;) {
        holder = GUARD_FREE;
        if (likely(__atomic_compare_exchange_n(guard, &holder, GUARD_CALLER, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)))
            break;
        if (holder == GUARD_CALLER) {
            state = pair_state(pair); /* stopped or closed since the look above */
            return state == PAIR_RUNNING ? -EBUSY : pair_why_stopped(state);
        }
        cpu_relax(); /* the watchdog leaves in a moment */
    }
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    state = __atomic_load_n(&pair->state, __ATOMIC_SEQ_CST);
    if (unlikely(state != PAIR_RUNNING)) {
        guard_leave(guard);
        return pair_why_stopped(state);
    }
    return 0;
}
