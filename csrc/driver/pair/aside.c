/* SPDX-License-Identifier: BSD-3-Clause */
/* A frame of somebody who is not the queue's user. */
#include <errno.h>

#include "driver/ring/guard.h"
#include "driver/ring/tx.h"
#include "driver/ring/vector.h"

/* Posts one held packet as the watchdog enters a queue: a user who comes meanwhile waits a moment. *consumed: its
 * buffer is not the caller's any more. */
static int post_one(struct queue_pair *pair, uint64_t handle, uint32_t *consumed)
{
    uint32_t refused = 0;
    int32_t state;

    if (!guard_try(&pair->tx_guard, GUARD_WATCHDOG))
        return -EBUSY;
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    state = __atomic_load_n(&pair->state, __ATOMIC_SEQ_CST);
    if (state == PAIR_RUNNING) {
        bool owner = guard_own_cache(pair);

        *consumed = tx_any(pair, &handle, NULL, NULL, 1, &refused, owner, true);
        guard_disown_cache(pair, owner);
        if (pair->rearm)
            vector_rearm(pair);
    }
    guard_leave(&pair->tx_guard);
    if (state != PAIR_RUNNING)
        return pair_why_stopped(state);
    if (!*consumed)
        return -EAGAIN;
    return refused ? -EMSGSIZE : 0;
}

int pair_send_aside(struct queue_pair *pair, const void *frame, uint32_t length)
{
    uint32_t consumed = 0;
    uint64_t handle;
    int error;

    if (!pair_alloc(pair, &handle, 1))
        return -ENOBUFS;
    error = pool_fill(pair->pool, &handle, frame, 0, NULL, &length, 1);
    if (!error)
        error = post_one(pair, handle, &consumed);
    if (error && !consumed)
        pool_give(pair->pool, &handle, 1, NULL);
    return error;
}
