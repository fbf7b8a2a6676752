/* SPDX-License-Identifier: BSD-3-Clause */
/* Arming, starting, stopping and draining a queue pair. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/ring/doorbell.h"
#include "driver/ring/guard.h"
#include "driver/ring/refill.h"
#include "driver/ring/rx.h"
#include "driver/ring/tx_clean.h"
#include "driver/ring/vector.h"

#define SPINS_BEFORE_SLEEP 200

int pair_arm(struct queue_pair *pair)
{
    uint64_t stale;
    int error;

    if (pair_state(pair) == PAIR_CLOSED)
        return -EBADF;
    if (pair_state(pair) == PAIR_RUNNING || pair->rx_filled)
        return -EBUSY;
    /* No stale write-back may be taken for a new one, nor old bytes shown to the device
     * (docs/spec/reliability.md S5). */
    memset(pair->rx_ring, 0, pair->rx_entries * sizeof(*pair->rx_ring));
    memset(pair->tx_ring, 0, pair->tx_entries * sizeof(*pair->tx_ring));
    (void)!read(pair->wake_fd, &stale, sizeof(stale));
    rx_expect(pair);
    error = refill_all(pair);
    if (error)
        return error;
    __atomic_store_n(&pair->hang_packets, UINT64_MAX, __ATOMIC_RELAXED);
    __atomic_store_n(&pair->hang_looks, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pair->state, PAIR_ARMED, __ATOMIC_SEQ_CST);
    doorbell_rx(pair);
    return 0;
}

int pair_start(struct queue_pair *pair)
{
    int32_t armed = PAIR_ARMED;

    if (vector_set(pair))
        return -ENODEV;
    /* A reset that the watchdog saw in between wins. */
    if (!__atomic_compare_exchange_n(&pair->state, &armed, PAIR_RUNNING, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return armed == PAIR_RUNNING ? 0 : pair_why_stopped(armed);
    return 0;
}

static void wait_free(const struct queue_pair *pair, const uint32_t *guard)
{
    struct timespec pause = {.tv_nsec = 20000};

    for (uint32_t spins = 0; __atomic_load_n(guard, __ATOMIC_SEQ_CST) != GUARD_FREE; spins++) {
        if (pair_state(pair) == PAIR_CLOSED)
            return; /* the guards of a closed pair stay taken */
        if (spins < SPINS_BEFORE_SLEEP)
            cpu_relax();
        else
            nanosleep(&pause, NULL);
    }
}

void pair_stop(struct queue_pair *pair, int why)
{
    pair_halt(pair, why);
    wait_free(pair, &pair->rx_guard);
    wait_free(pair, &pair->tx_guard);
    wait_free(pair, &pair->cache_guard);
}

void pair_drain(struct queue_pair *pair)
{
    rx_drain(pair);
    tx_drain(pair);
    pair_settle(pair);
}
