/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>

#include "driver/counters.h"
#include "driver/segment.h"

/* Readers in other languages rely on these. */
_Static_assert(sizeof(struct segment_header) == 128, "segment header is two cache lines");
_Static_assert(sizeof(struct pf_counters) == 192, "PF block is whole cache lines");
_Static_assert(sizeof(struct rq_counters) == 256, "rq block is whole cache lines");
_Static_assert(sizeof(struct sq_counters) == 256, "sq block is whole cache lines");

int counters_read(const uint64_t *block, uint64_t *out, uint32_t words, uint32_t tries)
{
    for (uint32_t attempt = 0; attempt < tries; attempt++) {
        uint64_t before = __atomic_load_n(&block[0], __ATOMIC_ACQUIRE);

        if (before & 1)
            continue;
        for (uint32_t i = 1; i < words; i++)
            out[i] = __atomic_load_n(&block[i], __ATOMIC_RELAXED);
        /* The copies must be done before the count is looked at again. */
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&block[0], __ATOMIC_RELAXED) == before) {
            out[0] = before;
            return 0;
        }
    }
    return -EAGAIN;
}

uint32_t counters_read_blocks(const uint64_t *first, uint64_t stride, uint64_t *out, uint32_t words,
                              uint32_t count, uint32_t tries)
{
    for (uint32_t i = 0; i < count; i++)
        if (counters_read(first + stride / sizeof(*first) * i, out + (size_t)words * i, words,
                          tries))
            return i;
    return count;
}

void counters_write(uint64_t *block, const uint64_t *values, uint32_t words)
{
    uint64_t seq = __atomic_load_n(&block[0], __ATOMIC_RELAXED);

    /* A predecessor may have died inside its update: start from an even count. */
    seq += seq & 1;
    __atomic_store_n(&block[0], seq + 1, __ATOMIC_RELAXED);
    /* No counter may become visible before the count is odd. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (uint32_t i = 1; i < words; i++)
        __atomic_store_n(&block[i], values[i], __ATOMIC_RELAXED);
    /* All counters must be visible before the count is even again. */
    __atomic_store_n(&block[0], seq + 2, __ATOMIC_RELEASE);
}
