/* SPDX-License-Identifier: BSD-3-Clause */
/* An idle worker polls a little, yields a little, then sleeps on its queues' interrupts; they stay armed
 * from one sleep to the next, so that it writes no registers. Sleeps are bounded, for what wakes nobody:
 * counts that another thread deferred, and an interrupt that was lost. The bound grows while nothing comes: a
 * thousand wake-ups a second cost one percent of a core. */
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "driver/ring/vector.h"
#include "driver/ring/rx.h"
#include "driver/ring/tx_clean.h"
#include "driver/worker/idle.h"

#define ROUNDS_POLLING 64
#define ROUNDS_YIELDING 256
#define SLEEP_NS NS_PER_MS
#define SLEEP_MAX_NS (16 * NS_PER_MS)
#define SLEEP_PENDING_NS (4 * NS_PER_MS)

/* Arms the interrupts; false when something has come meanwhile. */
static bool arm(struct worker *worker)
{
    bool quiet = true;

    for (uint32_t i = 0; i < worker->holds; i++) {
        struct hold *hold = &worker->hold[i];

        if (!hold->held || !hold->receives || hold->pair->vector->event_fd < 0)
            continue;
        if (!hold->asleep) {
            hold->asleep = worker->asleep = true;
            vector_sleep(hold->pair);
        }
        quiet &= !rx_done(hold->pair);
    }
    return quiet;
}

/* Nanoseconds until the measured window closes, or `most` where that is later or never. */
static uint64_t until_window(const struct worker *worker, uint64_t most)
{
    uint64_t end = worker->total.start_ns + worker->config.window_ns;
    uint64_t now;

    if (!worker->config.window_ns || worker->window_closed)
        return most;
    now = clock_ns();
    return end > now ? (end - now < most ? end - now : most) : 1;
}

/* How long the next sleep may be. No event says that a pair runs again, that a pool has buffers for a ring of
 * which the device has none (it cannot interrupt), or that the time to drain is over: these are looked for. */
static uint64_t bound(struct worker *worker)
{
    uint64_t last = worker->slept_ns;

    for (uint32_t i = 0; i < worker->holds; i++) {
        const struct hold *hold = &worker->hold[i];

        if (hold->held && hold->receives && rx_starved(hold->pair))
            last = 0;
        /* Completed sends are counted soon after the traffic has come to its end. */
        if (hold->held && hold->sends && tx_pending(hold->pair))
            last = last < SLEEP_PENDING_NS / 2 ? last : SLEEP_PENDING_NS / 2;
    }
    if (worker->parked || worker->total.state == WORKER_DRAINING)
        last = 0;
    last = last ? 2 * last : SLEEP_NS;
    worker->slept_ns = last < SLEEP_MAX_NS ? last : SLEEP_MAX_NS;
    return until_window(worker, worker->slept_ns);
}

static void wait(struct worker *worker)
{
    struct pollfd fds[2 * HOLDS_MAX + 1] = {{.fd = worker->wake_fd, .events = POLLIN}};
    struct timespec limit = {.tv_nsec = (long)bound(worker)};
    uint64_t taken;
    nfds_t count = 1;

    for (uint32_t i = 0; i < worker->holds; i++) {
        const struct hold *hold = &worker->hold[i];

        if (!hold->held)
            continue;
        fds[count++] = (struct pollfd){.fd = hold->pair->wake_fd, .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = hold->asleep ? hold->pair->vector->event_fd : -1,
                                       .events = POLLIN};
    }
    if (ppoll(fds, count, &limit, NULL) <= 0)
        return;
    (void)!read(worker->wake_fd, &taken, sizeof(taken));
    /* Events first: taking one wakes the other sleepers of its vector, some of which may be this worker's. */
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].held && worker->hold[i].asleep)
            vector_take_event(worker->hold[i].pair);
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].held)
            (void)!read(worker->hold[i].pair->wake_fd, &taken, sizeof(taken));
    worker->slept_ns = 0;
    /* An interrupt that fired is off until it is armed again. */
    idle_end(worker);
}

void idle_end(struct worker *worker)
{
    if (!worker->asleep)
        return;
    worker->asleep = false;
    for (uint32_t i = 0; i < worker->holds; i++) {
        if (!worker->hold[i].asleep)
            continue;
        worker->hold[i].asleep = false;
        vector_wake(worker->hold[i].pair);
    }
}

void idle_round(struct worker *worker, bool may_sleep)
{
    if (worker->idle_rounds < ROUNDS_YIELDING)
        worker->idle_rounds++;
    if (worker->idle_rounds < ROUNDS_POLLING) {
        cpu_relax();
        return;
    }
    if (worker->idle_rounds < ROUNDS_YIELDING || (!worker->parked && !may_sleep)) {
        worker->slept_ns = 0;
        sched_yield();
        return;
    }
    if (arm(worker))
        wait(worker);
    else
        idle_end(worker);
}
