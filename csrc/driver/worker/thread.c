/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that run queue pairs without Python. A worker keeps the guards of its queue pairs. When a pair is
 * stopped (reset, pair_stop), the worker releases it within a round, and takes it again when it runs
 * (docs/design.md 11). */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "driver/ring/rx_counters.h"
#include "driver/ring/tx_clean.h"
#include "driver/worker/generate.h"
#include "driver/worker/handler.h"
#include "driver/worker/idle.h"
#include "driver/worker/setup.h"
#include "driver/worker/thread.h"
#include "driver/worker/traffic.h"

#define PUBLISH_EVERY 16 /* rounds */

/* Follows the states of the queue pairs; false when a device is gone or a pair was closed. */
static bool follow(struct worker *worker)
{
    worker->parked = false;
    for (uint32_t i = 0; i < worker->holds; i++) {
        struct hold *hold = &worker->hold[i];
        int error;

        if (likely(hold->held && pair_state(hold->pair) == PAIR_RUNNING))
            continue;
        hold_release(hold);
        error = hold_take(hold);
        worker->parked |= error != 0;
        if (error == -ENODEV || error == PAIR_CLOSED) {
            worker->total.error = error == -ENODEV ? error : -ESHUTDOWN;
            return false;
        }
    }
    return true;
}

#define PUBLISH(field)                                                                             \
    __atomic_store_n(&worker->counters.field, worker->total.field, __ATOMIC_RELAXED)

static void gather(struct worker *worker)
{
    worker->total.lost = worker->verify.lost > 0 ? (uint64_t)worker->verify.lost : 0;
    worker->total.duplicated = worker->verify.duplicated;
    worker->total.reordered = worker->verify.reordered;
    worker->total.corrupted = worker->verify.corrupted;
    worker->total.tsc_total = clock_ticks() - worker->start_ticks;
}

static void publish(struct worker *worker)
{
    gather(worker);
    PUBLISH(loops);
    PUBLISH(empty_loops);
    PUBLISH(sent);
    PUBLISH(sent_bytes);
    PUBLISH(received);
    PUBLISH(received_bytes);
    PUBLISH(foreign);
    PUBLISH(lost);
    PUBLISH(duplicated);
    PUBLISH(reordered);
    PUBLISH(corrupted);
    PUBLISH(refused);
    PUBLISH(alloc_fail);
    PUBLISH(tsc_busy);
    PUBLISH(tsc_total);
    PUBLISH(start_ns);
    PUBLISH(stop_ns);
    PUBLISH(error);
    PUBLISH(dropped);
    PUBLISH(passed);
    PUBLISH(pass_full);
    PUBLISH(invalid);
    PUBLISH(failed);
    __atomic_store_n(&worker->counters.state, worker->total.state, __ATOMIC_RELEASE);
}

/* Ends the measured window: what is generated or counted later belongs to the draining. */
static void close_window(struct worker *worker)
{
    if (worker->window_closed)
        return;
    worker->generating = false;
    gather(worker);
    worker->window = worker->total;
    worker->window.stop_ns = clock_ns();
    __atomic_store_n(&worker->window_closed, 1, __ATOMIC_RELEASE);
}

/* Whether a lane has packets that are still to be sent. */
static bool lanes_pending(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->config.pairs; i++)
        if (worker->lane[i].pending.count)
            return true;
    return false;
}

/* Whether the window is over: its time has passed, or all packets were moved that it was to have. */
static void look_at_window(struct worker *worker)
{
    const struct worker_config *config = &worker->config;

    if (worker->window_closed)
        return;
    if ((quota_used(worker->quota) && !lanes_pending(worker)) ||
        (config->window_ns && clock_ns() - worker->total.start_ns >= config->window_ns))
        close_window(worker);
}

uint32_t thread_round(struct worker *worker)
{
    uint32_t moved = handler_flush(worker);

    for (uint32_t i = 0; i < worker->config.pairs; i++) {
        struct lane *lane = &worker->lane[i];

        if (unlikely(!lane->in->held || !lane->out->held))
            continue;
        if (worker->handling)
            moved += handler_round(worker, i);
        else if (worker_receives(worker->config.mode))
            moved += traffic_receive(worker, lane);
        if (worker_generates(worker->config.mode))
            moved += generate_burst(worker, lane);
    }
    return moved;
}

/* Reaps completions that nobody's next send will reap. */
static uint32_t reap(struct worker *worker)
{
    uint32_t reaped = 0;

    for (uint32_t i = 0; i < worker->holds; i++) {
        struct hold *hold = &worker->hold[i];

        if (!hold->held || !hold->sends || !tx_pending(hold->pair))
            continue;
        reaped += tx_clean(hold->pair, hold->owner);
        if (!reaped)
            hold_quiet(hold->pair, &worker->quiet_since);
    }
    return reaped;
}

/* Merges counts that other threads deferred on a pair whose cache is owned here. */
static void settle(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].held && worker->hold[i].owner)
            rx_counters_merge(worker->hold[i].pair);
}

/* True when draining has come to its end: nothing came for a while and what was received is sent on, or its
 * time is over. */
static bool drained(struct worker *worker, uint32_t quiet_ms, uint32_t moved)
{
    uint64_t now = clock_ns();

    if (worker->total.state != WORKER_DRAINING) {
        worker->total.state = WORKER_DRAINING;
        worker->drain_end_ns =
            now + __atomic_load_n(&worker->limit_ms, __ATOMIC_RELAXED) * NS_PER_MS;
        worker->moved_ns = now;
        worker->generating = false;
        close_window(worker);
        return false;
    }
    if (now >= worker->drain_end_ns)
        return true;
    if (moved)
        worker->moved_ns = now;
    if (worker->config.mode == WORKER_FORWARD && lanes_pending(worker))
        return false;
    return now - worker->moved_ns >= quiet_ms * NS_PER_MS;
}

static bool nothing_pending(const struct worker *worker)
{
    return !worker->generating && !handler_waiting(worker) && !lanes_pending(worker);
}

static void run_rounds(struct worker *worker)
{
    while (!__atomic_load_n(&worker->ending, __ATOMIC_ACQUIRE)) {
        uint32_t quiet = __atomic_load_n(&worker->quiet_ms, __ATOMIC_ACQUIRE);
        uint64_t before = clock_ticks();
        uint32_t moved, reaped = 0;

        if (unlikely(!follow(worker)))
            break;
        moved = thread_round(worker);
        worker->total.loops++;
        if (moved) {
            worker->idle_rounds = 0;
            worker->quiet_since = 0;
            idle_end(worker);
            worker->total.tsc_busy += clock_ticks() - before;
            if (worker->total.loops % PUBLISH_EVERY == 0) {
                look_at_window(worker);
                publish(worker);
            }
        } else {
            worker->total.empty_loops++;
            reaped = reap(worker);
        }
        if (unlikely(quiet) && drained(worker, quiet - 1, moved + reaped))
            break;
        if (!moved && !reaped) {
            settle(worker);
            look_at_window(worker);
            if (worker->idle_rounds == 0 || worker->total.empty_loops % PUBLISH_EVERY == 0)
                publish(worker);
            idle_round(worker, nothing_pending(worker));
        }
    }
}

static void *run(void *argument)
{
    struct worker *worker = argument;

    worker->total.start_ns = clock_ns();
    worker->start_ticks = clock_ticks();
    worker->total.state = WORKER_RUNNING;
    publish(worker);
    run_rounds(worker);
    close_window(worker);
    idle_end(worker);
    for (uint32_t i = 0; i < worker->config.pairs; i++)
        traffic_abandon(worker, &worker->lane[i]);
    handler_end(worker);
    settle(worker);
    for (uint32_t i = 0; i < worker->holds; i++)
        hold_release(&worker->hold[i]);
    worker->total.stop_ns = clock_ns();
    worker->total.state = WORKER_ENDED;
    publish(worker);
    return NULL;
}

static int spawn(struct worker *worker)
{
    pthread_attr_t attributes;
    cpu_set_t cpus;
    int error = pthread_attr_init(&attributes);

    if (error)
        return -error;
    if (worker->config.cpu >= 0) {
        CPU_ZERO(&cpus);
        CPU_SET((unsigned)worker->config.cpu % CPU_SETSIZE, &cpus);
        error = pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
    }
    if (!error)
        error = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_attr_destroy(&attributes);
    return -error;
}

struct worker *worker_start(const struct worker_config *config, int *error)
{
    struct worker *worker = setup_worker(config, error);

    if (worker)
        *error = spawn(worker);
    if (worker && *error) {
        setup_undo(worker);
        worker = NULL;
    }
    return worker;
}

const struct worker_counters *worker_counters(const struct worker *worker)
{
    return &worker->counters;
}

const struct worker_counters *worker_window(const struct worker *worker)
{
    return __atomic_load_n(&worker->window_closed, __ATOMIC_ACQUIRE) ? &worker->window : NULL;
}

static void nudge(struct worker *worker)
{
    uint64_t one = 1;

    (void)!write(worker->wake_fd, &one, sizeof(one));
}

void worker_finish(struct worker *worker, uint32_t quiet_ms, uint32_t limit_ms)
{
    __atomic_store_n(&worker->limit_ms, limit_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&worker->quiet_ms, quiet_ms < UINT32_MAX ? quiet_ms + 1 : quiet_ms,
                     __ATOMIC_RELEASE);
    nudge(worker);
}

void worker_stop(struct worker *worker)
{
    if (!worker->thread)
        return;
    __atomic_store_n(&worker->ending, 1, __ATOMIC_RELEASE);
    nudge(worker);
    pthread_join(worker->thread, NULL);
    worker->thread = 0;
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    worker_stop(worker);
    setup_free(worker);
}
