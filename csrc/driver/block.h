/* SPDX-License-Identifier: BSD-3-Clause */
/* How the one writer of a counter block updates it (counters.h). The block's first word is a sequence
 * count: it is odd while an update runs, and readers in other processes try again until they have seen
 * the same even count before and after their copy. */
#ifndef IAVFIO_DRIVER_BLOCK_H
#define IAVFIO_DRIVER_BLOCK_H

#include <stdint.h>

/* Opens the block for an update; returns the count that block_close must store. */
static inline uint64_t block_open(uint64_t *seq)
{
    /* The count is odd already when an earlier writer died inside its update. */
    uint64_t odd = __atomic_load_n(seq, __ATOMIC_RELAXED) | 1;

    __atomic_store_n(seq, odd, __ATOMIC_RELAXED);
    /* No counter may become visible before the count is odd. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return odd + 1;
}

static inline void block_close(uint64_t *seq, uint64_t next)
{
    /* All counters must be visible before the count is even again. */
    __atomic_store_n(seq, next, __ATOMIC_RELEASE);
}

static inline void block_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

#endif
