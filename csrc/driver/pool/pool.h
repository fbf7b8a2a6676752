/* SPDX-License-Identifier: BSD-3-Clause */
/* The buffer pool from the inside: one region of equal buffers, a shared store of idle ones behind a
 * short lock, and marks that tell which buffers the application holds (design decision 4).
 * All bookkeeping lies outside the memory that a device may write (reliability S3). */
#ifndef IAVFIO_DRIVER_POOL_H
#define IAVFIO_DRIVER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/cdef.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define LINE __attribute__((aligned(64)))

#define POOL_BULK 64 /* indexes moved under one lock */
#define POOL_CACHES_MAX 512 /* queue pairs of all ports that share the pool */

struct cache; /* a pair's private store: cache.h */

struct pool {
    uint8_t *base;
    uint64_t bytes;
    uint32_t stride;
    uint32_t headroom;
    uint32_t count;
    bool big; /* a buffer spans pages: first hand-out counts as slow_ho (libie-stats 4) */

    /* One mark a buffer: 1 while the application holds it. Idle, posted and queued buffers are 0, so
     * only the edge to the application costs anything; workers never cross it. */
    uint8_t *held;

    LINE uint32_t lock;
    uint32_t stored; /* entries in store[] */
    uint32_t fresh; /* first buffer that was never handed out */
    uint32_t caches;
    uint32_t *store; /* the shared ring of the spec; the last one in is the first out: it is warm */
    const struct cache *cache[POOL_CACHES_MAX];
};

/* Where a batch came from. */
enum pool_source { POOL_NONE = 0, POOL_SHARED = 1, POOL_FRESH = 2 };

/* Up to n indexes into out[], all of one source: the store first, else never used buffers. */
uint32_t pool_fetch(struct pool *pool, uint32_t *out, uint32_t n, enum pool_source *source);
/* n indexes into the store, which has room for every buffer of the pool. */
void pool_store(struct pool *pool, const uint32_t *in, uint32_t n);
int pool_attach(struct pool *pool, const struct cache *cache);
void pool_detach(struct pool *pool, const struct cache *cache);

static inline uint32_t handle_index(uint64_t handle)
{
    return (uint32_t)(handle & HANDLE_INDEX_MASK);
}

static inline uint32_t handle_offset(uint64_t handle)
{
    return (uint32_t)(handle >> HANDLE_OFFSET_SHIFT) & HANDLE_FIELD_MASK;
}

static inline uint32_t handle_length(uint64_t handle)
{
    return (uint32_t)(handle >> HANDLE_LENGTH_SHIFT);
}

static inline uint64_t handle_make(uint32_t index, uint32_t offset, uint32_t length)
{
    return index | ((uint64_t)offset << HANDLE_OFFSET_SHIFT) |
           ((uint64_t)length << HANDLE_LENGTH_SHIFT);
}

static inline uint64_t pool_at(const struct pool *pool, uint64_t handle)
{
    return (uint64_t)handle_index(handle) * pool->stride + handle_offset(handle);
}

static inline uint8_t *pool_data(const struct pool *pool, uint64_t handle)
{
    return pool->base + pool_at(pool, handle);
}

/* Index inside the pool, data inside the buffer. */
static inline bool pool_within(const struct pool *pool, uint64_t handle)
{
    return (handle_index(handle) < pool->count) &
           (handle_offset(handle) + handle_length(handle) <= pool->stride);
}

/* Marks are bytes, which may alias anything: loops take the pool's pointer to them once. */
static inline void mark_held(uint8_t *held, uint32_t index)
{
    __atomic_store_n(&held[index], 1, __ATOMIC_RELAXED);
}

static inline void pool_hold(struct pool *pool, uint32_t index)
{
    mark_held(pool->held, index);
}

/* Takes the application's mark off: false when it was not there (given back twice, or forged). Two
 * threads that give the same buffer back in the same instant are beyond it; the atomic form is for
 * callers that any thread may be. */
static inline bool mark_claim(uint8_t *held, size_t index)
{
    if (unlikely(!held[index])) /* a plain load: compared in memory */
        return false;
    /* Hides that it is the same place, whose address would else be computed into a register. */
    __asm__("" : "+r"(index));
    __atomic_store_n(&held[index], 0, __ATOMIC_RELAXED);
    return true;
}

static inline bool pool_claim(struct pool *pool, uint32_t index)
{
    return mark_claim(pool->held, index);
}

/* All of n, whose indexes are in range, or none: false when a mark is missing or one is there twice.
 * One after the other, so that a handle that is there twice finds its mark gone. */
static inline __attribute__((always_inline)) bool
mark_claim_all(uint8_t *held, const uint64_t *handles, const uint32_t n)
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
