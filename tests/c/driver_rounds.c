/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker does with chains that it drops, with an event that brings nothing, and with its last
 * packet. */
#include "rig.h"

#define ENTRIES 128
#define BUFFERS 1024
#define PATIENCE 100000 /* looks, of 100 us each */

static uint64_t received(const struct worker *worker)
{
    return __atomic_load_n(&worker_counters(worker)->received, __ATOMIC_RELAXED);
}

/* Every buffer of every chain comes back, whatever its length. */
static void test_dropped_chains(void)
{
    struct rig rig;
    struct worker *worker;
    struct worker_config config = {.mode = WORKER_RXDROP, .pairs = 1, .burst = 32, .cpu = -1};
    uint64_t packets = 0;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig_go(&rig);
    config.pair[0] = rig.pair;
    worker = worker_start(&config, &error);
    assert(worker && !error);
    for (uint32_t parts = 1; parts <= 4; parts++) {
        for (uint32_t i = 0; i < 10; i++, packets++)
            for (uint32_t k = 1; k <= parts; k++)
                rig_rx(&rig, k < parts ? 2048 : 60, k < parts ? 0 : RIG_EOP);
        for (int tries = 0; received(worker) != packets; tries++) {
            assert(tries < PATIENCE);
            usleep(100);
        }
    }
    worker_stop(worker);
    assert(worker_counters(worker)->received_bytes == 10 * (4 * 60 + (1 + 2 + 3) * 2048));
    worker_free(worker);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
}

static void wait_for_armed(struct rig *rig)
{
    for (int tries = 0; rig_read32(&rig->regio, RIG_DYN_CTL) != RIG_SLEEP_CTL; tries++) {
        assert(tries < PATIENCE);
        usleep(100);
    }
}

/* An interrupt that fired is off until it is armed again, also when there was no packet. */
static void test_event_for_nothing(void)
{
    struct rig rig;
    struct worker *worker;
    struct worker_config config = {.mode = WORKER_RXDROP, .pairs = 1, .burst = 32, .cpu = -1};
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rig_go(&rig);
    config.pair[0] = rig.pair;
    worker = worker_start(&config, &error);
    assert(worker && !error);
    for (int round = 0; round < 3; round++) {
        wait_for_armed(&rig);
        __atomic_store_n(&rig.reg[RIG_DYN_CTL / 4], 0, __ATOMIC_SEQ_CST); /* it fires */
        assert(eventfd_write(rig.config.event_fd, 1) == 0);
    }
    wait_for_armed(&rig);
    worker_stop(worker);
    assert(worker_counters(worker)->received == 0);
    worker_free(worker);
    close(rig.config.event_fd);
    rig_end(&rig);
}

/* The last packet that a worker sent is counted, and its buffer comes back, though nothing follows. */
static void test_last_packet(void)
{
    struct rig rig;
    struct worker *worker;
    struct worker_config config = {.mode = WORKER_FORWARD, .pairs = 1, .burst = 32, .cpu = -1};
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    config.pair[0] = rig.pair;
    worker = worker_start(&config, &error);
    assert(worker && !error);
    rig_rx(&rig, 60, RIG_EOP);
    for (int tries = 0; !__atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE); tries++) {
        assert(tries < PATIENCE);
        usleep(100);
    }
    assert(rig_tx(&rig, 1) == 1);
    for (int tries = 0; __atomic_load_n(&rig.sq->packets, __ATOMIC_RELAXED) != 1; tries++) {
        assert(tries < PATIENCE);
        usleep(100);
    }
    worker_stop(worker);
    assert(worker_counters(worker)->sent == 1 && pair_in_flight(rig.pair) == 0);
    worker_free(worker);
    rig_end(&rig);
}

int main(void)
{
    test_dropped_chains();
    test_event_for_nothing();
    test_last_packet();
    puts("driver_rounds ok");
    return 0;
}
