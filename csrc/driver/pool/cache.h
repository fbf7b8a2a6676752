/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue pair's private store of idle buffers. Its owner needs no lock; everybody else uses the pool's
 * shared store by shared_take and shared_give. All of them count into the tally that they are given. */
#ifndef IAVFIO_DRIVER_CACHE_H
#define IAVFIO_DRIVER_CACHE_H

#include <string.h>

#include "driver/pool/pool.h"

#define CACHE_MAX 512

struct cache {
    uint32_t count;
    uint32_t capacity;
    uint32_t index[CACHE_MAX];
};

static inline uint32_t cache_count(const struct cache *cache)
{
    return __atomic_load_n(&cache->count, __ATOMIC_RELAXED);
}

/* The count is stored atomically, because pool_idle reads it from other threads. */
static inline void cache_resize(struct cache *cache, uint32_t count)
{
    __atomic_store_n(&cache->count, count, __ATOMIC_RELAXED);
}

/* Brings up to POOL_BULK more buffers into the cache; false when the pool has none left. */
static inline bool cache_fetch(struct cache *cache, struct pool *pool, struct pool_tally *tally)
{
    uint32_t count = cache_count(cache);
    uint32_t room = cache->capacity - count;
    enum pool_source source;
    uint32_t got =
        pool_fetch(pool, cache->index + count, room < POOL_BULK ? room : POOL_BULK, &source);

    tally->empty += source != POOL_SHARED;
    if (!got)
        return false;
    cache_resize(cache, count + got);
    tally->refill += source == POOL_SHARED;
    tally->slow += source == POOL_FRESH;
    /* One buffer of the batch counts as refill or slow, the others as fast when they are taken. */
    tally->fast--;
    return true;
}

/* Takes n indexes, at most POOL_BULK, off the top of the cache and returns where they lie: they stay
 * readable until the cache is used again. *n is lowered when the pool cannot give that many. */
static inline const uint32_t *cache_take(struct cache *cache, struct pool *pool, uint32_t *n,
                                         struct pool_tally *tally)
{
    uint32_t count = cache_count(cache);

    while (unlikely(count < *n)) {
        if (!cache_fetch(cache, pool, tally)) {
            *n = count;
            break;
        }
        count = cache_count(cache);
    }
    tally->fast += *n;
    cache_resize(cache, count - *n);
    return cache->index + count - *n;
}

/* Gives n indexes to the cache, and those that it has no room for to the pool's store. */
static inline void cache_give(struct cache *cache, struct pool *pool, const uint32_t *in,
                              uint32_t n, struct pool_tally *tally)
{
    uint32_t count = cache_count(cache);
    uint32_t room = cache->capacity - count;
    uint32_t keep = n < room ? n : room;

    memcpy(cache->index + count, in, keep * sizeof(*in));
    cache_resize(cache, count + keep);
    tally->cached += keep;
    if (unlikely(keep < n)) {
        pool_store(pool, in + keep, n - keep);
        tally->cache_full += n - keep;
        tally->ring += n - keep;
    }
}

/* Where the owner may write up to n indexes before it calls cache_grown; NULL without room for n. */
static inline uint32_t *cache_room(struct cache *cache, uint32_t n)
{
    uint32_t count = cache_count(cache);

    return n <= cache->capacity - count ? cache->index + count : NULL;
}

static inline void cache_grown(struct cache *cache, uint32_t n, struct pool_tally *tally)
{
    cache_resize(cache, cache_count(cache) + n);
    tally->cached += n;
}

/* Takes as cache_take does, for a thread that does not own the cache: up to n indexes from the shared store to
 * out[]. Returns how many. */
static inline uint32_t shared_take(struct pool *pool, uint32_t *out, uint32_t n,
                                   struct pool_tally *tally)
{
    uint32_t done = 0;

    while (done < n) {
        uint32_t want = n - done < POOL_BULK ? n - done : POOL_BULK;
        enum pool_source source;
        uint32_t got = pool_fetch(pool, out + done, want, &source);

        tally->empty += source != POOL_SHARED;
        if (!got)
            break;
        tally->refill += source == POOL_SHARED;
        tally->slow += source == POOL_FRESH;
        tally->fast += got - 1;
        done += got;
    }
    return done;
}

/* Gives back as cache_give does, for a thread that does not own the cache. */
static inline void shared_give(struct pool *pool, const uint32_t *in, uint32_t n,
                               struct pool_tally *tally)
{
    pool_store(pool, in, n);
    tally->ring += n;
}

#endif
