/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers share with others: the quota of a run, and the ring on which packets pass to Python. */
#include <pthread.h>
#include <time.h>

#include "driver/worker/pass_ring.h"
#include "driver/worker/quota.h"
#include "rig.h"

#define BUFFERS 64
#define CAPACITY 8
#define PATIENCE_S 10 /* a taker that is woken needs no time of its own */

/* What is not to be had goes back, so that others can take it. */
static void test_quota(void)
{
    struct worker_quota quota = {.limit = 10};

    assert(quota_take(&quota, 8) == 8 && quota_take(&quota, 8) == 2);
    assert(quota.taken == 10 && quota_take(&quota, 8) == 0 && quota.taken == 10);
    quota_settle(&quota, 8, 5); /* five of them were there */
    assert(quota.taken == 7 && quota.moved == 5 && !quota_used(&quota));
    quota_settle(&quota, 2, 0);
    assert(quota.taken == 5 && quota.moved == 5);
    assert(quota_take(&quota, 5) == 5 && quota_take(&quota, 1) == 0);
    quota_settle(&quota, 5, 5);
    assert(quota.moved == 10 && quota_used(&quota));
    assert(!quota_used(NULL)); /* without one there is no end */
}

struct taker {
    struct pass_ring *ring;
    pthread_t thread;
    int result;
};

static void *waits(void *argument)
{
    struct taker *taker = argument;

    taker->result = pass_ring_wait(&taker->ring, 1, -1);
    return NULL;
}

/* Starts a taker that has nothing to take, and returns when it says that it waits. */
static void begin(struct taker *taker, struct pass_ring *ring)
{
    struct timespec nap = {.tv_nsec = 2000000};

    taker->ring = ring;
    assert(pthread_create(&taker->thread, NULL, waits, taker) == 0);
    while (!__atomic_load_n(&ring->waiting, __ATOMIC_SEQ_CST))
        nanosleep(&nap, NULL);
    nanosleep(&nap, NULL); /* most often it sleeps by now */
}

/* A taker that is not woken would wait for ever. */
static int woken(struct taker *taker)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    assert(pthread_timedjoin_np(taker->thread, NULL, &until) == 0);
    return taker->result;
}

static void test_taker_is_woken(void)
{
    uint8_t *memory = rig_lines((size_t)BUFFERS * POOL_STRIDE);
    struct pool *pool =
        pool_new(memory, (uint64_t)BUFFERS * POOL_STRIDE, POOL_STRIDE, POOL_HEADROOM);
    struct taker taker;
    struct pass_ring *ring;
    uint64_t handles[CAPACITY];
    struct columns columns = {.handles = handles};
    int error;

    ring = pass_ring_new(pool, CAPACITY, &error);
    assert(ring && !error);
    for (uint32_t round = 0; round < 5; round++) {
        begin(&taker, ring);
        for (uint32_t i = 0; i < 3; i++)
            *pass_ring_at(ring, i) = (struct pass_row){.handle = 100 * round + i, .segments = 1};
        pass_ring_publish(ring, 3);
        assert(woken(&taker) > 0 && !ring->waiting);
        assert(pass_ring_count(ring) == 3 && pass_ring_recv(ring, &columns, CAPACITY) == 3);
        for (uint32_t i = 0; i < 3; i++)
            assert(handles[i] == 100 * round + i);
        assert(pass_ring_count(ring) == 0);
    }
    /* The end wakes as well, and is told at once from then on. */
    begin(&taker, ring);
    pass_ring_end(ring);
    assert(woken(&taker) == 0);
    assert(pass_ring_wait(&ring, 1, -1) == 0);
    pass_ring_free(ring);
    pool_free(pool);
    free(memory);
}

int main(void)
{
    test_quota();
    test_taker_is_woken();
    puts("driver_pass ok");
    return 0;
}
