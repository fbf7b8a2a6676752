/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>

#include "preload/preload.h"

static uint64_t moving_start, moving_size; /* start 0: nothing is being moved */

void moving_begin(uint64_t start, uint64_t size)
{
    __atomic_store_n(&moving_size, size, __ATOMIC_RELAXED);
    __atomic_store_n(&moving_start, start, __ATOMIC_RELEASE);
}

void moving_end(void)
{
    __atomic_store_n(&moving_start, 0, __ATOMIC_RELEASE);
}

bool moving_wait(uint64_t address)
{
    uint64_t start = __atomic_load_n(&moving_start, __ATOMIC_ACQUIRE);

    if (!start || address < start ||
        address - start >= __atomic_load_n(&moving_size, __ATOMIC_RELAXED))
        return false;
    while (__atomic_load_n(&moving_start, __ATOMIC_ACQUIRE) == start)
        sched_yield();
    return true;
}
