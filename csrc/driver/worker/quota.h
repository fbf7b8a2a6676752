/* SPDX-License-Identifier: BSD-3-Clause */
/* How many packets the workers of a run may move in all: whoever takes a packet from the quota moves it, so
 * that the number is exact, however the packets spread over the queues. */
#ifndef IAVFIO_DRIVER_QUOTA_H
#define IAVFIO_DRIVER_QUOTA_H

#include <stdbool.h>

#include "driver/cdef.h"

/* Takes up to `want` packets; fewer, or none, when the quota is nearly used up. */
static inline uint32_t quota_take(struct worker_quota *quota, uint32_t want)
{
    uint64_t taken = __atomic_fetch_add(&quota->taken, want, __ATOMIC_RELAXED);
    uint64_t left = taken < quota->limit ? quota->limit - taken : 0;

    if (left >= want)
        return want;
    __atomic_fetch_sub(&quota->taken, want - left, __ATOMIC_RELAXED);
    return (uint32_t)left;
}

/* Gives back what was taken and not used: `moved` of the `took` packets were there. */
static inline void quota_settle(struct worker_quota *quota, uint32_t took, uint32_t moved)
{
    if (moved)
        __atomic_fetch_add(&quota->moved, moved, __ATOMIC_RELAXED);
    if (moved < took)
        __atomic_fetch_sub(&quota->taken, took - moved, __ATOMIC_RELAXED);
}

/* Whether all packets were moved, by whichever worker. Without a quota there is no end. */
static inline bool quota_used(const struct worker_quota *quota)
{
    return quota && __atomic_load_n(&quota->moved, __ATOMIC_RELAXED) >= quota->limit;
}

#endif
