/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool alone, and its counters: bounds, marks, exactness, many threads. */
#include <pthread.h>

#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1000

static void test_set_up(void)
{
    uint8_t memory[8192];
    struct pool *pool;

    assert(!pool_new(NULL, 8192, 2176, 128));
    assert(!pool_new(memory, 100, 2176, 128)); /* not one buffer */
    assert(!pool_new(memory, 8192, 128, 128)); /* all headroom */
    assert(!pool_new(memory, 1 << 20, 70000, 128));
    pool = pool_new(memory, 8192, 2176, 128);
    assert(pool && pool_buffers(pool) == 3 && pool_idle(pool) == 3);
    pool_free(pool);
}

static void test_take_give(void)
{
    struct rig rig;
    uint64_t h[BUFFERS + 1];
    uint8_t seen[BUFFERS] = {0};

    rig_base(&rig, ENTRIES, BUFFERS);
    assert(pool_take(rig.pool, h, BUFFERS + 1, NULL) == BUFFERS);
    assert(pool_idle(rig.pool) == 0);
    for (int i = 0; i < BUFFERS; i++) {
        assert(h[i] >> 48 == 0 && (h[i] >> 32 & 0xffff) == POOL_HEADROOM);
        assert((uint32_t)h[i] < BUFFERS && !seen[(uint32_t)h[i]]++);
    }
    assert(pool_take(rig.pool, h + BUFFERS, 1, NULL) == 0);
    assert(pool_check(rig.pool, h, BUFFERS) == BUFFERS);
    h[BUFFERS] = BUFFERS;
    assert(pool_give(rig.pool, h + BUFFERS, 1, NULL) == 0); /* out of range */
    h[BUFFERS] = h[0];
    assert(pool_give(rig.pool, h, BUFFERS + 1, NULL) == BUFFERS); /* the last one twice */
    assert(pool_idle(rig.pool) == BUFFERS);
    assert(pool_give(rig.pool, h, BUFFERS, NULL) == 0 && pool_idle(rig.pool) == BUFFERS);
    pool_free(rig.pool);
    free(rig.memory);
    free(rig.rx);
    free(rig.tx);
    free(rig.rq);
    free(rig.sq);
}

static void test_bounds(void)
{
    uint8_t memory[4 * 2176];
    struct pool *pool = pool_new(memory, sizeof(memory), 2176, 128);
    uint64_t h[3] = {0 | 128ull << 32 | 2048ull << 48, 1 | 2176ull << 32 | 0ull << 48,
                     2 | 129ull << 32 | 2048ull << 48};

    assert(pool_check(pool, h, 3) == 2);
    h[2] = 4;
    assert(pool_check(pool, h, 3) == 2);
    h[2] = 3 | 0ull << 32 | 2176ull << 48;
    assert(pool_check(pool, h, 3) == 3);
    h[2] = 3 | 65535ull << 32 | 65535ull << 48;
    assert(pool_check(pool, h, 3) == 2);
    pool_free(pool);
}

static void test_fill(void)
{
    uint8_t memory[4 * 2176] = {0};
    struct pool *pool = pool_new(memory, sizeof(memory), 2176, 128);
    uint64_t h[2] = {0 | 128ull << 32, 3 | 100ull << 32};
    uint8_t rows[] = "abcdefghij";
    uint32_t lengths[2] = {3, 5};
    uint64_t offsets[2] = {1, 4};

    assert(pool_fill(pool, h, rows, 5, NULL, lengths, 2) == 0);
    assert(h[0] == (128ull << 32 | 3ull << 48) && h[1] == (3 | 100ull << 32 | 5ull << 48));
    assert(!memcmp(memory + 128, "abc", 3) && !memcmp(memory + 3 * 2176 + 100, "fghij", 5));
    assert(pool_fill(pool, h, rows, 0, offsets, lengths, 2) == 0);
    assert(!memcmp(memory + 128, "bcd", 3) && !memcmp(memory + 3 * 2176 + 100, "efghi", 5));
    lengths[1] = 2077;
    assert(pool_fill(pool, h, rows, 5, NULL, lengths, 2) == -EMSGSIZE - 1);
    h[0] = 4 | 128ull << 32;
    assert(pool_fill(pool, h, rows, 5, NULL, lengths, 2) == -EMSGSIZE);
    pool_free(pool);
}

static void test_fields(void)
{
    uint8_t memory[2 * 2176] = {0};
    struct pool *pool = pool_new(memory, sizeof(memory), 2176, 128);
    uint64_t h[3] = {0 | 128ull << 32 | 10ull << 48, 1 | 128ull << 32 | 4ull << 48, 9};
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    uint8_t u8[3];
    uint16_t u16[3];
    uint32_t u32[3];
    uint64_t u64[3];

    memcpy(memory + 128, bytes, 10);
    memcpy(memory + 2176 + 128, bytes, 10);
    assert(!pool_gather(pool, h, 3, 1, 1, 1, u8) && u8[0] == 2 && u8[1] == 2 && u8[2] == 0);
    assert(!pool_gather(pool, h, 3, 2, 2, 1, u16) && u16[0] == 0x0304 && u16[1] == 0x0304);
    assert(u16[2] == 0);
    assert(!pool_gather(pool, h, 3, 3, 2, 1, u16) && u16[0] == 0x0405 && u16[1] == 0);
    assert(!pool_gather(pool, h, 3, 6, 4, 1, u32) && u32[0] == 0x0708090a && u32[1] == 0);
    assert(!pool_gather(pool, h, 3, 6, 4, 0, u32) && u32[0] == 0x0a090807);
    assert(!pool_gather(pool, h, 3, 2, 8, 1, u64) && u64[0] == 0x030405060708090aull);
    assert(!pool_gather(pool, h, 3, 3, 8, 1, u64) && u64[0] == 0);
    assert(!pool_gather(pool, h, 3, UINT32_MAX, 8, 1, u64) && u64[0] == 0);
    assert(pool_gather(pool, h, 3, 0, 3, 1, u64) == -EINVAL);
    u16[0] = 0xaabb;
    u16[1] = 0xccdd;
    assert(!pool_scatter(pool, h, 3, 4, 2, 1, u16));
    assert(memory[132] == 0xaa && memory[133] == 0xbb && memory[2176 + 132] == 5);
    u32[0] = 0x11223344;
    assert(!pool_scatter(pool, h, 1, 0, 4, 0, u32) && memory[128] == 0x44 && memory[131] == 0x11);
    pool_free(pool);
}

/* Whoever made the pool may be done with it first: the pair gives back what it holds all the same. */
static void test_outlives_its_maker(void)
{
    struct rig rig;

    rig_new(&rig, ENTRIES, BUFFERS);
    pool_free(rig.pool);
    assert(pool_idle(rig.pool) < BUFFERS);
    pair_free(rig.pair);
    free(rig.memory);
    free(rig.rx);
    free(rig.tx);
    free(rig.rq);
    free(rig.sq);
}

/* Counters follow docs/spec/libie-counters.md 3, 4, buffer by buffer. */
static void test_counters(void)
{
    struct rig rig;
    uint64_t h[BUFFERS];
    struct rq_counters *rq;

    rig_new(&rig, ENTRIES, BUFFERS);
    rq = rig.rq;
    /* 64 for the ring: one trip to the slow path of 64, so 63 came from the cache. */
    assert(rq->pp_alloc_slow == 1 && rq->pp_alloc_fast == 63 && rq->pp_alloc_empty == 1);
    assert(rq->pp_alloc_slow_ho == 0 && rq->pp_alloc_refill == 0 && rq->pp_alloc_waive == 0);
    assert(pair_alloc(rig.pair, h, 100) == 100);
    assert(rq->pp_alloc_slow == 3 && rq->pp_alloc_fast == 161);
    /* Given back: the cache has 28 left from the carving, and keeps what fits. */
    assert(pair_release(rig.pair, h, 100) == 100);
    assert(rq->pp_recycle_cached == 125 - 28 && rq->pp_recycle_ring == 3 &&
           rq->pp_recycle_cache_full == 3);
    /* All of the cache, then the shared store: a refill. */
    assert(pair_alloc(rig.pair, h, 126) == 126);
    assert(rq->pp_alloc_refill == 1);
    rig_conserved(&rig);
    /* Another thread's calls go past the cache and are charged to the pair they act for. */
    assert(rig_take(&rig, h + 126, 10) == 10);
    assert(rig_give(&rig, h, 136) == 136);
    pair_settle(rig.pair);
    assert(rq->pp_recycle_ring == 3 + 136);
    rig_conserved(&rig);
    /* Everything there is; then nothing. */
    assert(pair_alloc(rig.pair, h, BUFFERS) == BUFFERS - ENTRIES);
    assert(pair_alloc(rig.pair, h, 1) == 0);
    rig_conserved(&rig);
    rig_end(&rig);
}

struct user {
    struct rig *rig;
    uint32_t rounds;
};

static void *use(void *argument)
{
    struct user *user = argument;
    struct rig *rig = user->rig;
    uint64_t h[80];

    for (uint32_t i = 0; i < user->rounds; i++) {
        uint32_t n = 1 + i * 13 % 80;
        uint32_t got = i % 2 ? rig_take(rig, h, n) : (uint32_t)pair_alloc(rig->pair, h, n);

        /* Whoever holds a buffer is alone with it. */
        for (uint32_t k = 0; k < got; k++)
            rig->memory[(size_t)(uint32_t)h[k] * POOL_STRIDE] = (uint8_t)i;
        if (i % 3)
            assert(rig_give(rig, h, got) == got);
        else
            assert(pair_release(rig->pair, h, got) == (int)got);
    }
    return NULL;
}

static void test_threads(void)
{
    struct rig rig;
    struct user user = {.rig = &rig, .rounds = 5000};
    pthread_t thread[3];

    rig_new(&rig, ENTRIES, BUFFERS);
    for (int i = 0; i < 3; i++)
        assert(!pthread_create(&thread[i], NULL, use, &user));
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    rig_conserved(&rig);
    assert(pool_idle(rig.pool) == BUFFERS - ENTRIES);
    rig_end(&rig);
}

int main(void)
{
    test_set_up();
    test_take_give();
    test_bounds();
    test_fill();
    test_fields();
    test_outlives_its_maker();
    test_counters();
    test_threads();
    puts("driver_pool ok");
    return 0;
}
