/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/ring/guard.h"
#include "driver/worker/hold.h"

void hold_release(struct hold *hold)
{
    if (!hold->held)
        return;
    if (hold->asleep)
        vector_wake(hold->pair);
    hold->asleep = false;
    guard_disown_cache(hold->pair, hold->owner);
    hold->owner = false;
    if (hold->sends)
        guard_leave(&hold->pair->tx_guard);
    if (hold->receives)
        guard_leave(&hold->pair->rx_guard);
    hold->held = false;
}

int hold_take(struct hold *hold)
{
    struct queue_pair *pair = hold->pair;
    int error = 0;

    if (hold->receives)
        error = guard_enter(pair, &pair->rx_guard);
    if (error)
        return error;
    if (hold->sends) {
        error = guard_enter(pair, &pair->tx_guard);
        if (error) {
            if (hold->receives)
                guard_leave(&pair->rx_guard);
            return error;
        }
    }
    hold->owner = guard_own_cache(pair);
    hold->held = true;
    return 0;
}
