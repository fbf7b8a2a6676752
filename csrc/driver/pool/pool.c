/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "driver/pool/cache.h"
#include "driver/ring/queue_pair.h"
#include "driver/pool/pool.h"

#define PAGE 4096
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
    pool = aligned_alloc(64, (sizeof(*pool) + 63) & ~(size_t)63);
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof(*pool));
    pool->base = base;
    pool->bytes = bytes;
    pool->stride = stride;
    pool->headroom = headroom;
    pool->count = (uint32_t)count;
    pool->big = stride - headroom > PAGE;
    pool->held = calloc(count, sizeof(*pool->held));
    pool->store = calloc(count, sizeof(*pool->store));
    if (!pool->held || !pool->store) {
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
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
        idle += cache_count(pool->cache[i]);
    pool_unlock(pool);
    return idle;
}

int pool_attach(struct pool *pool, const struct cache *cache)
{
    int error = -ENOSPC;

    pool_lock(pool);
    if (pool->caches < POOL_CACHES_MAX) {
        pool->cache[pool->caches++] = cache;
        error = 0;
    }
    pool_unlock(pool);
    return error;
}

void pool_detach(struct pool *pool, const struct cache *cache)
{
    pool_lock(pool);
    for (uint32_t i = 0; i < pool->caches; i++) {
        if (pool->cache[i] == cache) {
            pool->cache[i] = pool->cache[--pool->caches];
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
        /* More than all of them can only be a buffer given back twice at once: never past the end. */
        if (likely(bulk <= pool->count - pool->stored)) {
            memcpy(pool->store + pool->stored, in, bulk * sizeof(*in));
            pool->stored += bulk;
        }
        pool_unlock(pool);
        in += bulk;
        n -= bulk;
    }
}

uint32_t pool_take(struct pool *pool, uint64_t *handles, uint32_t n, struct pair *charge)
{
    struct pool_tally tally = {0};
    uint32_t index[POOL_BULK];
    uint32_t done = 0;

    while (done < n) {
        uint32_t want = n - done < POOL_BULK ? n - done : POOL_BULK;
        uint32_t got = shared_take(pool, index, want, &tally);

        for (uint32_t i = 0; i < got; i++) {
            pool_hold(pool, index[i]);
            handles[done + i] = handle_make(index[i], pool->headroom, 0);
        }
        done += got;
        if (got < want)
            break;
    }
    if (charge)
        ledger_charge_pool(charge, &tally);
    return done;
}

uint32_t pool_give(struct pool *pool, const uint64_t *handles, uint32_t n, struct pair *charge)
{
    struct pool_tally tally = {0};
    uint32_t index[POOL_BULK];
    uint32_t held = 0, done = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = handle_index(handles[i]);

        if (at >= pool->count || !pool_claim_atomic(pool, at))
            continue;
        index[held++] = at;
        done++;
        if (held == POOL_BULK) {
            shared_give(pool, index, held, &tally);
            held = 0;
        }
    }
    shared_give(pool, index, held, &tally);
    if (charge)
        ledger_charge_pool(charge, &tally);
    return done;
}

uint32_t pool_check(const struct pool *pool, const uint64_t *handles, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!pool_within(pool, handles[i]))
            return i;
    return n;
}

int pool_fill(struct pool *pool, uint64_t *handles, const void *data, uint64_t row_stride,
              const uint64_t *offsets, const uint32_t *lengths, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = (const uint8_t *)data + (offsets ? offsets[i] : i * row_stride);
        uint32_t index = handle_index(handles[i]);
        uint32_t offset = handle_offset(handles[i]);

        if (index >= pool->count || offset > pool->stride || lengths[i] > pool->stride - offset)
            return -EMSGSIZE - (int)i;
        memcpy(pool_data(pool, handles[i]), row, lengths[i]);
        handles[i] = handle_make(index, offset, lengths[i]);
    }
    return 0;
}

/* Values move through 64 bits in the low bytes of the field's own width. */
static uint64_t swap_bytes(uint64_t value, uint32_t width)
{
    return __builtin_bswap64(value) >> (64 - 8 * width);
}

static bool field_fits(const struct pool *pool, uint64_t handle, uint32_t offset, uint32_t width)
{
    return pool_within(pool, handle) && handle_length(handle) >= width &&
           offset <= handle_length(handle) - width;
}

/* Loads and stores of a width that the compiler knows. */
static inline __attribute__((always_inline)) void gather(const struct pool *pool,
                                                         const uint64_t *handles, uint32_t n,
                                                         uint32_t offset, const uint32_t width,
                                                         bool big_endian, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;

        if (likely(field_fits(pool, handles[i], offset, width)))
            memcpy(&value, pool_data(pool, handles[i]) + offset, width);
        if (big_endian)
            value = swap_bytes(value, width);
        memcpy(out + (size_t)i * width, &value, width);
    }
}

static inline __attribute__((always_inline)) void scatter(const struct pool *pool,
                                                          const uint64_t *handles, uint32_t n,
                                                          uint32_t offset, const uint32_t width,
                                                          bool big_endian, const uint8_t *in)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;

        if (!likely(field_fits(pool, handles[i], offset, width)))
            continue;
        memcpy(&value, in + (size_t)i * width, width);
        if (big_endian)
            value = swap_bytes(value, width);
        memcpy(pool_data(pool, handles[i]) + offset, &value, width);
    }
}

int pool_gather(const struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                uint32_t width, int big_endian, void *out)
{
    switch (width) {
    case 1:
        gather(pool, handles, n, offset, 1, false, out);
        return 0;
    case 2:
        gather(pool, handles, n, offset, 2, big_endian, out);
        return 0;
    case 4:
        gather(pool, handles, n, offset, 4, big_endian, out);
        return 0;
    case 8:
        gather(pool, handles, n, offset, 8, big_endian, out);
        return 0;
    default:
        return -EINVAL;
    }
}

int pool_scatter(struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                 uint32_t width, int big_endian, const void *values)
{
    switch (width) {
    case 1:
        scatter(pool, handles, n, offset, 1, false, values);
        return 0;
    case 2:
        scatter(pool, handles, n, offset, 2, big_endian, values);
        return 0;
    case 4:
        scatter(pool, handles, n, offset, 4, big_endian, values);
        return 0;
    case 8:
        scatter(pool, handles, n, offset, 8, big_endian, values);
        return 0;
    default:
        return -EINVAL;
    }
}
