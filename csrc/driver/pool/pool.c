/* SPDX-License-Identifier: BSD-3-Clause */
/* Set-up of a pool, and its shared store. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "driver/clock.h"
#include "driver/lines.h"
#include "driver/pool/pool.h"
#include "hw/page.h"

#define SPINS_BEFORE_YIELD 512

static void pool_lock(struct pool *pool)
{
    uint32_t spins = 0;

    while (__atomic_exchange_n(&pool->lock, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&pool->lock, __ATOMIC_RELAXED)) {
            /* The holder may have lost its CPU. */
            if (++spins % SPINS_BEFORE_YIELD == 0)
                sched_yield();
            cpu_relax();
        }
    }
}

static void pool_unlock(struct pool *pool)
{
    __atomic_store_n(&pool->lock, 0, __ATOMIC_RELEASE);
}

struct pool *pool_new(void *base, uint64_t bytes, uint32_t stride, uint32_t headroom)
{
    uint64_t count = stride ? bytes / stride : 0;
    struct pool *pool;

    if (!base || !count || count > UINT32_MAX || headroom >= stride || stride > HANDLE_FIELD_MASK)
        return NULL;
    pool = lines_alloc(sizeof(*pool));
    if (!pool)
        return NULL;
    pool->users = 1;
    pool->base = base;
    pool->bytes = bytes;
    pool->stride = stride;
    pool->headroom = headroom;
    pool->count = (uint32_t)count;
    pool->big = stride - headroom > PAGE_BYTES;
    pool->held = calloc(count, sizeof(*pool->held));
    pool->store = calloc(count, sizeof(*pool->store));
    if (!pool->held || !pool->store) {
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void pool_use(struct pool *pool)
{
    __atomic_add_fetch(&pool->users, 1, __ATOMIC_RELAXED);
}

void pool_free(struct pool *pool)
{
    if (!pool || __atomic_sub_fetch(&pool->users, 1, __ATOMIC_ACQ_REL))
        return;
    free(pool->store);
    free(pool->held);
    free(pool);
}

uint32_t pool_buffers(const struct pool *pool)
{
    return pool->count;
}

uint32_t pool_idle(struct pool *pool)
{
    uint32_t idle;

    pool_lock(pool);
    idle = pool->stored + pool->count - pool->fresh;
    for (uint32_t i = 0; i < pool->caches; i++)
        idle += __atomic_load_n(pool->cached[i], __ATOMIC_RELAXED);
    pool_unlock(pool);
    return idle;
}

int pool_attach(struct pool *pool, const uint32_t *cached)
{
    int error = -ENOSPC;

    pool_lock(pool);
    if (pool->caches < POOL_CACHES_MAX) {
        pool->cached[pool->caches++] = cached;
        error = 0;
    }
    pool_unlock(pool);
    return error;
}

void pool_detach(struct pool *pool, const uint32_t *cached)
{
    pool_lock(pool);
    for (uint32_t i = 0; i < pool->caches; i++) {
        if (pool->cached[i] == cached) {
            pool->cached[i] = pool->cached[--pool->caches];
            break;
        }
    }
    pool_unlock(pool);
}

uint32_t pool_fetch(struct pool *pool, uint32_t *out, uint32_t n, enum pool_source *source)
{
    uint32_t got;

    pool_lock(pool);
    if (pool->stored) {
        got = n < pool->stored ? n : pool->stored;
        pool->stored -= got;
        memcpy(out, pool->store + pool->stored, got * sizeof(*out));
        *source = POOL_SHARED;
    } else {
        got = pool->count - pool->fresh;
        got = n < got ? n : got;
        for (uint32_t i = 0; i < got; i++)
            out[i] = pool->fresh + i;
        pool->fresh += got;
        *source = got ? POOL_FRESH : POOL_NONE;
    }
    pool_unlock(pool);
    return got;
}

void pool_store(struct pool *pool, const uint32_t *in, uint32_t n)
{
    while (n) {
        uint32_t bulk = n < POOL_BULK ? n : POOL_BULK;

        pool_lock(pool);
        /* More buffers than the pool has can only mean that one was given back twice in the same instant:
         * the store must not be written past its end. */
        if (likely(bulk <= pool->count - pool->stored)) {
            memcpy(pool->store + pool->stored, in, bulk * sizeof(*in));
            pool->stored += bulk;
        }
        pool_unlock(pool);
        in += bulk;
        n -= bulk;
    }
}
