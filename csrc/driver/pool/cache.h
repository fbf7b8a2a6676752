/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue pair's private store of idle buffers, and the page-pool counters that it moves
 * (libie-stats 3, 4): every buffer handed out counts in exactly one of fast, refill, slow, slow_ho,
 * every buffer taken back in one of cached, ring. */
#ifndef IAVFIO_DRIVER_CACHE_H
#define IAVFIO_DRIVER_CACHE_H

#include <string.h>

#include "driver/pool/pool.h"

#define CACHE_MAX 512

struct pool_tally { /* of one call, kept on its stack */
    uint32_t fast, slow, empty, refill, cached, cache_full, ring;
};

struct cache {
    uint32_t count;
    uint32_t capacity;
    uint32_t index[CACHE_MAX];
};

static inline uint32_t cache_count(const struct cache *cache)
{
    return __atomic_load_n(&cache->count, __ATOMIC_RELAXED);
}

/* pool_idle looks at the count from other threads. */
static inline void cache_resize(struct cache *cache, uint32_t count)
{
    __atomic_store_n(&cache->count, count, __ATOMIC_RELAXED);
}

/* Brings up to POOL_BULK more into the cache. False when the pool has nothing left. */
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
    /* One buffer of the batch is charged here, the rest as fast when they are taken. */
    tally->fast--;
    return true;
}

/* The n indexes at the top of the cache, which stay readable until the next call; *n is lowered when
 * the pool cannot give that many. n is at most POOL_BULK. */
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

/* Where up to n indexes may be written before cache_grown; NULL without room for them. */
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

/* The same two for a caller that does not own the cache: straight to the shared store. */
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

static inline void shared_give(struct pool *pool, const uint32_t *in, uint32_t n,
                               struct pool_tally *tally)
{
    pool_store(pool, in, n);
    tally->ring += n;
}

#endif
