/* SPDX-License-Identifier: BSD-3-Clause */
/* What the watchdog counts of queues that nobody calls, and of counts that other threads left for them. */
#include <time.h>

#include "driver/watchdog.h"
#include "watchdog_rig.h"

#define FAR_US 100000000 /* the thread does nothing of itself while a test lasts */

static void post(struct rig *rig, uint64_t *h, uint32_t n)
{
    uint32_t refused;

    assert(pair_alloc(rig->pair, h, n) == (int)n);
    for (uint32_t i = 0; i < n; i++)
        h[i] |= 60ull << 48;
    assert(pair_send(rig->pair, h, NULL, NULL, n, &refused) == (int)n && !refused);
}

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Waits for a counter of the watchdog's doing; five seconds are for a machine that is busy. */
static bool reaches(const uint64_t *counter, uint64_t value)
{
    struct timespec nap = {.tv_nsec = 100000};

    for (int i = 0; i < 50000 && load(counter) != value; i++)
        nanosleep(&nap, NULL);
    return load(counter) == value;
}

/* What is complete is counted though nobody sends, cleans or stops any more, and only what is complete. */
static void test_idle_sends_are_counted(void)
{
    static const uint32_t bursts[] = {1, 20, 31, 32, 33, 50};
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t h[64], packets = 0;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    for (size_t i = 0; i < sizeof(bursts) / sizeof(*bursts); i++) {
        post(&rig, h, bursts[i]);
        assert(watchdog_wait(watchdog, 5) == 0);
        assert(load(&rig.sq->packets) == packets && load(&rig.sq->bytes) == 60 * packets);
        rig_tx(&rig, 100);
        packets += bursts[i];
        assert(reaches(&rig.sq->packets, packets));
        assert(load(&rig.sq->bytes) == 60 * packets && pair_in_flight(rig.pair) == 0);
    }
    assert(rig.sq->hangs == 0);
    /* The watchdog does not reap while somebody is at work, nor a pair that was taken off. */
    post(&rig, h, 10);
    __atomic_store_n(&rig.pair->tx_guard, 1, __ATOMIC_SEQ_CST);
    rig_tx(&rig, 100);
    assert(watchdog_wait(watchdog, 10) == 0 && load(&rig.sq->packets) == packets);
    watchdog_remove(watchdog, rig.pair);
    __atomic_store_n(&rig.pair->tx_guard, 0, __ATOMIC_SEQ_CST);
    assert(watchdog_wait(watchdog, 10) == 0 && load(&rig.sq->packets) == packets);
    watchdog_add(watchdog, rig.pair);
    assert(reaches(&rig.sq->packets, packets + 10));
    watchdog_free(watchdog);
    rig_end(&rig);
}

/* A receiver that sleeps makes rounds rarer, not the count of what others send meanwhile. */
static void test_idle_sends_are_counted_beside_a_sleeper(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t h[64];
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    __atomic_store_n(&rig.pair->sleeping, 1, __ATOMIC_SEQ_CST);
    alive(&rig);
    watchdog_arm(watchdog, 1);
    post(&rig, h, 40);
    rig_tx(&rig, 100);
    assert(reaches(&rig.sq->packets, 40));
    set(&rig, REG_VFGEN_RSTAT, 0); /* and a reset is seen all the same */
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_RESET);
    watchdog_free(watchdog);
    rig_end(&rig);
}

/* Counts that other threads left for the pair's next call. */
static void test_deferred_counts_are_merged(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t h[8];
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    assert(pair_alloc(rig.pair, h, 8) == 8);
    __atomic_store_n(&rig.pair->cache_guard, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&rig.pair->tx_guard, 1, __ATOMIC_SEQ_CST);
    assert(pair_release(rig.pair, h, 8) ==
           8); /* into the shared store, by one who does not own the cache */
    pair_refuse(rig.pair, 3);
    assert(watchdog_wait(watchdog, 5) == 0);
    assert(load(&rig.rq->pp_recycle_ring) == 0 && load(&rig.sq->refused_full) == 0);
    __atomic_store_n(&rig.pair->cache_guard, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&rig.pair->tx_guard, 0, __ATOMIC_SEQ_CST);
    assert(reaches(&rig.rq->pp_recycle_ring, 8) && reaches(&rig.sq->refused_full, 3));
    watchdog_free(watchdog);
    rig_end(&rig);
}

/* The watchdog looks every 100 us while bursts are sent, completed, stopped and started: nothing is counted
 * twice, and every buffer comes back. */
static void test_settling_beside_a_sender(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t h[64], sent = 0;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, 100, &error);
    watchdog_add(watchdog, rig.pair);
    for (uint32_t round = 0; round < 3000; round++) {
        uint32_t n = 1 + round % 25;

        post(&rig, h, n);
        sent += n;
        rig_tx(&rig, 100);
        if (round % 3 == 0)
            pair_clean(rig.pair);
        if (round % 500 == 499) {
            struct timespec nap = {.tv_nsec = 300000};

            nanosleep(&nap, NULL);
            watchdog_remove(watchdog, rig.pair);
            restart(&rig);
            watchdog_add(watchdog, rig.pair);
        }
    }
    assert(reaches(&rig.sq->packets, sent));
    assert(load(&rig.sq->posted) == sent && load(&rig.sq->drop_reset) == 0);
    watchdog_free(watchdog);
    rig_end(&rig);
}

/* A pair that takes the place of one that was taken off is idle since its own last look, not since the other's. */
static void test_what_was_seen_goes_with_its_pair(void)
{
    struct rig gone, rig;
    struct watchdog *watchdog;
    uint64_t h[64], now = clock_ns();
    int error;

    rig_new(&gone, ENTRIES, BUFFERS);
    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, FAR_US, &error);
    assert(watchdog && !watchdog_add(watchdog, gone.pair) && !watchdog_add(watchdog, rig.pair));
    post(&rig, h, 40);
    watchdog_look(watchdog, now);
    rig_tx(&rig, 100);
    watchdog_remove(watchdog, gone.pair);
    watchdog_look(watchdog, now);
    assert(load(&rig.sq->packets) == 40 && pair_in_flight(rig.pair) == 0);
    watchdog_free(watchdog);
    rig_end(&gone);
    rig_end(&rig);
}

int main(void)
{
    test_idle_sends_are_counted();
    test_what_was_seen_goes_with_its_pair();
    test_idle_sends_are_counted_beside_a_sleeper();
    test_deferred_counts_are_merged();
    test_settling_beside_a_sender();
    puts("driver_settling ok");
    return 0;
}
