/* SPDX-License-Identifier: BSD-3-Clause */
/* The three guards of a queue pair (docs/design.md 11): of its receive side, of its send side and of its
 * cache. One thread at a time holds each. Nobody waits for the guard of a side: a second caller gets
 * -EBUSY. A thread that finds the cache held works on the pool's shared store instead. */
#ifndef IAVFIO_DRIVER_GUARD_H
#define IAVFIO_DRIVER_GUARD_H

#include "driver/ring/queue_pair.h"

enum guard_holder { GUARD_FREE = 0, GUARD_CALLER = 1, GUARD_WATCHDOG = 2 };

/* What guard_enter does when its first look or its first try fails: 0, -EBUSY, or why the pair is stopped. */
int guard_enter_slow(struct queue_pair *pair, uint32_t *guard);

/* Takes the guard of a side, for a pair that runs: 0, -EBUSY, or why the pair is stopped. */
static inline int guard_enter(struct queue_pair *pair, uint32_t *guard)
{
    uint32_t holder = GUARD_FREE;

    if (unlikely(__atomic_load_n(&pair->state, __ATOMIC_ACQUIRE) != PAIR_RUNNING ||
                 !__atomic_compare_exchange_n(guard, &holder, GUARD_CALLER, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_RELAXED)))
        return guard_enter_slow(pair, guard);
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    if (unlikely(__atomic_load_n(&pair->state, __ATOMIC_SEQ_CST) != PAIR_RUNNING)) {
        __atomic_store_n(guard, GUARD_FREE, __ATOMIC_RELEASE);
        return guard_enter_slow(pair, guard);
    }
    return 0;
}

static inline void guard_leave(uint32_t *guard)
{
    __atomic_store_n(guard, GUARD_FREE, __ATOMIC_RELEASE);
}

/* Takes the guard for good or not at all, whatever the pair's state; false when another thread has it. */
static inline bool guard_try(uint32_t *guard, enum guard_holder holder)
{
    uint32_t free = GUARD_FREE;

    return __atomic_compare_exchange_n(guard, &free, holder, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* True when the caller owns the cache from now on. */
static inline bool guard_own_cache(struct queue_pair *pair)
{
    return !__atomic_load_n(&pair->cache_guard, __ATOMIC_RELAXED) &&
           !__atomic_exchange_n(&pair->cache_guard, 1, __ATOMIC_ACQUIRE);
}

/* `owner`: what guard_own_cache returned. */
static inline void guard_disown_cache(struct queue_pair *pair, bool owner)
{
    if (owner)
        __atomic_store_n(&pair->cache_guard, 0, __ATOMIC_RELEASE);
}

#endif
