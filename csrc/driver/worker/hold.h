/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker's hold on a queue pair: guards that it takes once and keeps over many rounds
 * (docs/design.md 11). */
#ifndef IAVFIO_DRIVER_HOLD_H
#define IAVFIO_DRIVER_HOLD_H

#include <stdbool.h>

#include "driver/clock.h"
#include "driver/ring/vector.h"

struct hold {
    struct queue_pair *pair;
    bool receives, sends; /* which sides are wanted */
    bool held;
    bool owner; /* of the cache, which another worker may have */
    bool asleep; /* the pair's interrupt is armed */
    /* TSC of the first poll that found nothing; 0: the last one found packets */
    uint64_t quiet_since;
};

/* Takes the wanted guards: 0, -EBUSY, or why the pair does not run. */
int hold_take(struct hold *hold);
/* Gives them back, and ends the pair's sleep. */
void hold_release(struct hold *hold);

/* For a device that writes incomplete cache lines back only when an armed interrupt is due
 * (docs/spec/registers.md 5): arms the interrupt when nothing came for an ITR period. While traffic flows the
 * next packets complete the line, so a shorter wait would only cost register writes and wake-ups.
 * `since`: quiet_since of the hold or of the worker. */
static inline void hold_quiet(struct queue_pair *pair, uint64_t *since)
{
    uint64_t now;

    if (likely(!pair->rearm))
        return;
    now = clock_ticks();
    if (!*since)
        *since = now;
    else if (now - *since >= pair->rearm_ticks)
        vector_rearm(pair);
}

#endif
