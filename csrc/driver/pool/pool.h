/* SPDX-License-Identifier: BSD-3-Clause */
/* The buffer pool from the inside: one region of equal buffers, a shared store of idle buffers behind a
 * short lock, and a mark for each buffer that the application holds (docs/design.md 4). Nothing of this
 * lies in the memory that a device may write (docs/spec/reliability.md S3). */
#ifndef IAVFIO_DRIVER_POOL_H
#define IAVFIO_DRIVER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/attributes.h"
#include "driver/cdef.h"
#include "driver/pool/handle.h"

#define POOL_BULK 64 /* indexes that move under one lock */
#define POOL_CACHES_MAX 512 /* queue pairs of all ports that share the pool */

struct pool {
    uint8_t *base;
    uint64_t bytes;
    uint32_t stride;
    uint32_t headroom;
    uint32_t count;
    /* a buffer spans pages: its first hand-out counts as slow_ho (docs/spec/libie-counters.md 4) */
    bool big;

    /* One mark a buffer: 1 while the application holds it. Buffers that are idle, posted or queued are
     * not marked, so only their way to the application and back costs anything; what workers do with
     * buffers touches no mark. */
    uint8_t *held;

    /* Pairs and callers of pool_new: they may be freed in any order, as Python's collector does. */
    uint32_t users;

    LINE uint32_t lock;
    uint32_t stored; /* entries in store[] */
    uint32_t fresh; /* first buffer that was never handed out */
    uint32_t caches;
    /* libie's "shared ring"; the last one in is the first one out, since it is warm */
    uint32_t *store;
    const uint32_t *cached[POOL_CACHES_MAX]; /* how many each queue pair's cache holds */
};

/* Where a batch came from. */
enum pool_source { POOL_NONE = 0, POOL_SHARED = 1, POOL_FRESH = 2 };

/* Counts of one call, on its stack. The caller adds them to wherever it counts; the pool itself knows no
 * statistics. Every buffer handed out counts once as fast, refill or slow, every buffer taken back once
 * as cached or ring (docs/spec/libie-counters.md 3, 4). */
struct pool_tally {
    uint32_t fast, slow, empty, refill, cached, cache_full, ring;
};

/* Writes up to n indexes, all of one source, to out[]: from the store, or else buffers that were never
 * used. Returns how many. */
uint32_t pool_fetch(struct pool *pool, uint32_t *out, uint32_t n, enum pool_source *source);
/* Puts n indexes into the store, which has room for every buffer of the pool. */
void pool_store(struct pool *pool, const uint32_t *in, uint32_t n);
/* The pool lives until pool_free is called once more. */
void pool_use(struct pool *pool);
/* pool_idle adds *cached, which a cache's owner keeps, from pool_attach to pool_detach. 0, or -ENOSPC. */
int pool_attach(struct pool *pool, const uint32_t *cached);
void pool_detach(struct pool *pool, const uint32_t *cached);

static inline uint64_t pool_at(const struct pool *pool, uint64_t handle)
{
    return (uint64_t)handle_index(handle) * pool->stride + handle_offset(handle);
}

static inline uint8_t *pool_data(const struct pool *pool, uint64_t handle)
{
    return pool->base + pool_at(pool, handle);
}

/* Index inside the pool, data inside the buffer; asked together, for one branch. */
static inline bool pool_within(const struct pool *pool, uint64_t handle)
{
    int index = handle_index(handle) < pool->count;
    int data = handle_offset(handle) + handle_length(handle) <= pool->stride;

    return index & data;
}

/* ---- marks of what the application holds ---- */

/* Marks are bytes, which may alias anything: loops load the pool's pointer to them once. */
static inline void mark_held(uint8_t *held, uint32_t index)
{
    __atomic_store_n(&held[index], 1, __ATOMIC_RELAXED);
}

static inline void pool_hold(struct pool *pool, uint32_t index)
{
    mark_held(pool->held, index);
}

/* Takes the application's mark off; false when it was not there, because the handle was forged or given
 * back before. Two threads that give the same buffer back in the same instant are not told apart: callers
 * that any thread may be use pool_claim_atomic. */
static inline bool mark_claim(uint8_t *held, size_t index)
{
    if (unlikely(!held[index])) /* a plain load, so that the compiler compares in memory */
        return false;
    /* The compiler must not see that this is the same place, or it computes the address into a register. */
    __asm__("" : "+r"(index));
    __atomic_store_n(&held[index], 0, __ATOMIC_RELAXED);
    return true;
}

static inline bool pool_claim(struct pool *pool, uint32_t index)
{
    return mark_claim(pool->held, index);
}

/* Takes the marks of all n handles off, or none: false when a mark is missing or a handle is there twice.
 * The indexes must be in range. Marks go one after the other, so that the second of two equal handles
 * finds its mark gone. */
INLINE bool mark_claim_all(uint8_t *held, const uint64_t *handles, const uint32_t n)
{
    uint32_t i = 0;

#pragma GCC unroll 8
    for (; i < n; i++)
        if (unlikely(!mark_claim(held, handle_index(handles[i]))))
            goto missing;
    return true;
missing:
    while (i--)
        mark_held(held, handle_index(handles[i]));
    return false;
}

static inline bool pool_claim_atomic(struct pool *pool, uint32_t index)
{
    return __atomic_exchange_n(&pool->held[index], 0, __ATOMIC_ACQ_REL) != 0;
}

#endif
