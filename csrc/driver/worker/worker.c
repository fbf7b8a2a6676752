/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that run queue pairs without Python. A worker takes the guards of its pairs once and keeps
 * them; when a pair is stopped (reset, pair_stop) it lets go of that pair within a round, and takes it
 * up again when it runs (design decision 11). */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/worker/handler.h"
#include "driver/worker/worker.h"

#define PUBLISH_EVERY 16 /* rounds */

static bool receives(uint32_t mode)
{
    return mode != WORKER_TXONLY;
}

static bool generates(uint32_t mode)
{
    return mode == WORKER_TXONLY || mode == WORKER_LOOPBACK;
}

/* ---- holds ---- */

static void let_go(struct hold *hold)
{
    if (!hold->held)
        return;
    if (hold->asleep)
        pair_wake(hold->pair);
    hold->asleep = false;
    pair_disown_cache(hold->pair, hold->owner);
    hold->owner = false;
    if (hold->sends)
        pair_leave(&hold->pair->tx_guard);
    if (hold->receives)
        pair_leave(&hold->pair->rx_guard);
    hold->held = false;
}

/* 0, -EBUSY, or why the pair does not run. */
static int take_up(struct hold *hold)
{
    struct pair *pair = hold->pair;
    int error = 0;

    if (hold->receives)
        error = pair_enter(pair, &pair->rx_guard);
    if (error)
        return error;
    if (hold->sends) {
        error = pair_enter(pair, &pair->tx_guard);
        if (error) {
            if (hold->receives)
                pair_leave(&pair->rx_guard);
            return error;
        }
    }
    hold->owner = pair_own_cache(pair);
    hold->held = true;
    return 0;
}

/* Follows the states of the pairs; false when a device is gone or a pair was closed. */
static bool follow(struct worker *worker)
{
    worker->parked = false;
    for (uint32_t i = 0; i < worker->holds; i++) {
        struct hold *hold = &worker->hold[i];
        int error;

        if (likely(hold->held && pair_state(hold->pair) == PAIR_RUNNING))
            continue;
        let_go(hold);
        error = take_up(hold);
        worker->parked |= error != 0;
        if (error == -ENODEV || error == PAIR_CLOSED) {
            worker->total.error = error == -ENODEV ? error : -ESHUTDOWN;
            return false;
        }
    }
    return true;
}

struct hold *worker_hold(struct worker *worker, struct pair *pair)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].pair == pair)
            return &worker->hold[i];
    worker->hold[worker->holds] = (struct hold){.pair = pair};
    return &worker->hold[worker->holds++];
}

/* ---- the thread ---- */

#define PUBLISH(field)                                                                             \
    __atomic_store_n(&worker->counters.field, worker->total.field, __ATOMIC_RELAXED)

static void publish(struct worker *worker)
{
    worker->total.lost = worker->verify.lost > 0 ? (uint64_t)worker->verify.lost : 0;
    worker->total.duplicated = worker->verify.duplicated;
    worker->total.reordered = worker->verify.reordered;
    worker->total.corrupted = worker->verify.corrupted;
    worker->total.tsc_total = clock_ticks() - worker->start_ticks;
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
    PUBLISH(kept);
    PUBLISH(kept_full);
    PUBLISH(invalid);
    PUBLISH(failed);
    __atomic_store_n(&worker->counters.state, worker->total.state, __ATOMIC_RELEASE);
}

uint32_t worker_round(struct worker *worker)
{
    uint32_t moved = handler_flush(worker);

    for (uint32_t i = 0; i < worker->config.pairs; i++) {
        struct station *station = &worker->station[i];

        if (unlikely(!station->in->held || !station->out->held))
            continue;
        if (worker->handling)
            moved += handler_round(worker, i);
        else if (receives(worker->config.mode))
            moved += traffic_receive(worker, station);
        if (generates(worker->config.mode))
            moved += traffic_generate(worker, station);
    }
    return moved;
}

/* Completions that nobody's next send will reap. */
static uint32_t reap(struct worker *worker)
{
    uint32_t reaped = 0;

    for (uint32_t i = 0; i < worker->holds; i++) {
        struct hold *hold = &worker->hold[i];

        if (!hold->held || !hold->sends || !send_pending(hold->pair))
            continue;
        reaped += send_clean(hold->pair, hold->owner);
        if (!reaped)
            quiet_look(hold->pair, &worker->quiet_since);
    }
    return reaped;
}

/* A charge that another thread made to a pair whose cache is held here. */
static void settle(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].held && worker->hold[i].owner)
            ledger_merge(worker->hold[i].pair);
}

/* True when draining has come to its end. */
static bool drained(struct worker *worker, uint32_t drain_ms, uint32_t moved)
{
    uint64_t now = clock_ns();

    if (worker->total.state != WORKER_DRAINING || moved) {
        worker->total.state = WORKER_DRAINING;
        worker->generating = false;
        worker->moved_ns = now;
        return false;
    }
    return now - worker->moved_ns >= drain_ms * NS_PER_MS;
}

static void run_rounds(struct worker *worker)
{
    while (!__atomic_load_n(&worker->ending, __ATOMIC_ACQUIRE)) {
        uint32_t drain = __atomic_load_n(&worker->drain_ms, __ATOMIC_ACQUIRE);
        uint64_t before = clock_ticks();
        uint32_t moved, reaped = 0;

        if (unlikely(!follow(worker)))
            break;
        moved = worker_round(worker);
        worker->total.loops++;
        if (moved) {
            worker->idle_rounds = 0;
            worker->quiet_since = 0;
            idle_end(worker);
            worker->total.tsc_busy += clock_ticks() - before;
            if (worker->total.loops % PUBLISH_EVERY == 0)
                publish(worker);
        } else {
            worker->total.empty_loops++;
            reaped = reap(worker);
        }
        if (unlikely(drain) && drained(worker, drain - 1, moved + reaped))
            break;
        if (!moved && !reaped) {
            settle(worker);
            if (worker->idle_rounds == 0 || worker->total.empty_loops % PUBLISH_EVERY == 0)
                publish(worker);
            idle_round(worker);
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
    idle_end(worker);
    for (uint32_t i = 0; i < worker->config.pairs; i++)
        traffic_abandon(worker, &worker->station[i]);
    handler_end(worker);
    settle(worker);
    for (uint32_t i = 0; i < worker->holds; i++)
        let_go(&worker->hold[i]);
    worker->total.stop_ns = clock_ns();
    worker->total.state = WORKER_ENDED;
    publish(worker);
    return NULL;
}

/* ---- set-up ---- */

static int config_check(const struct worker_config *config)
{
    if (config->mode > WORKER_HANDLER || !config->pairs || config->pairs > WORKER_MAX_PAIRS ||
        !config->burst || config->burst > BURST_MAX || config->rate < 0)
        return -EINVAL;
    for (uint32_t i = 0; i < config->pairs; i++)
        if (!config->pair[i])
            return -EINVAL;
    if (config->mode == WORKER_HANDLER)
        return handler_check(config);
    if (!generates(config->mode))
        return 0;
    if (!config->sizes || config->sizes > WORKER_SIZES || !config->flows ||
        config->flows > FLOWS_MAX || config->sender_base + config->pairs > SENDERS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < config->sizes; i++)
        if (config->size[i] < FRAME_MIN || config->size[i] > TX_MAX_FRAME)
            return -EINVAL;
    if (config->table && (config->sender_base + config->pairs > config->table->senders ||
                          config->flows > config->table->flows))
        return -EINVAL;
    return 0;
}

static int compose_frames(struct worker *worker, struct station *station, uint32_t pair)
{
    const struct worker_config *config = &worker->config;
    size_t bytes = 0;
    uint8_t *at;

    for (uint32_t i = 0; i < config->sizes; i++)
        bytes += config->size[i];
    at = station->frames = malloc(bytes);
    station->sequence = calloc(config->flows, sizeof(*station->sequence));
    if (!at || !station->sequence)
        return -ENOMEM;
    for (uint32_t i = 0; i < config->sizes; i++) {
        struct frame *frame = &station->frame[i];

        frame->length = config->size[i];
        frame->bytes = at;
        at += frame->length;
        frame_compose(frame, config->dst[pair], config->src[pair], config->signature);
    }
    return 0;
}

/* The part of the smallest receive ring that belongs to each sender of the run. One batch may lie
 * between the ring and the pool, and the slot under the tail is not the device's. */
static uint32_t window_of(const struct worker *worker, uint32_t senders)
{
    uint32_t least = RING_MAX;
    uint32_t window;

    for (uint32_t i = 0; i < worker->config.pairs; i++) {
        uint32_t entries = worker->config.pair[i]->rx_entries;

        least = entries < least ? entries : least;
    }
    window = (least - REFILL_BATCH - 1) / (senders * (worker->chained ? CHAIN_MAX : 1));
    return window ? window : 1;
}

/* A frame must fit the longest chain of the pool's buffers. */
static int sizes_check(struct worker *worker, const struct pool *pool)
{
    uint32_t room = pool->stride - pool->headroom;

    for (uint32_t i = 0; i < worker->config.sizes; i++) {
        if (worker->config.size[i] > CHAIN_MAX * room)
            return -EINVAL;
        worker->chained |= worker->config.size[i] > room;
    }
    return 0;
}

static int stations_setup(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    uint32_t senders = config->table ? config->table->senders : config->pairs;
    int error = 0;

    for (uint32_t i = 0; i < config->pairs && !error; i++) {
        struct station *station = &worker->station[i];
        struct pair *out = config->out[i];

        if (config->mode != WORKER_FORWARD || !out)
            out = config->pair[i];
        if (out->pool != config->pair[i]->pool)
            return -EINVAL; /* a buffer goes back where it came from */
        if (generates(config->mode))
            error = sizes_check(worker, out->pool);
        station->in = worker_hold(worker, config->pair[i]);
        station->out = worker_hold(worker, out);
        station->in->receives |= receives(config->mode);
        station->out->sends |= generates(config->mode) || config->mode == WORKER_FORWARD;
        station->sender = config->sender_base + i;
        if (!error && generates(config->mode))
            error = compose_frames(worker, station, i);
    }
    for (uint32_t i = 0; i < config->pairs; i++)
        worker->station[i].window = window_of(worker, senders);
    if (config->mode == WORKER_HANDLER && !error)
        error = handler_setup(worker);
    return error;
}

static void worker_discard(struct worker *worker)
{
    for (uint32_t i = 0; worker->station && i < worker->config.pairs; i++) {
        free(worker->station[i].frames);
        free(worker->station[i].sequence);
    }
    handler_discard(worker);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    verify_free(worker->own_table);
    free(worker->station);
    free(worker->scratch);
    free(worker);
}

static int worker_setup(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    bool table = config->mode == WORKER_LOOPBACK || config->verify;
    int error;

    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->wake_fd < 0)
        return -errno;
    worker->station = lines_alloc(config->pairs * sizeof(*worker->station));
    worker->scratch = malloc(SCRATCH);
    if (!worker->station || !worker->scratch)
        return -ENOMEM;
    if (table && !config->table) {
        worker->own_table =
            verify_new(config->sender_base + config->pairs, config->flows ? config->flows : 1);
        if (!worker->own_table)
            return -ENOMEM;
    }
    if (config->rate > 0) {
        if (tsc_hz() <= 0)
            return -ENOTSUP;
        worker->ticks_per_packet = tsc_hz() / config->rate;
    }
    worker->generating = generates(config->mode);
    error = stations_setup(worker);
    /* Guards belong to no thread: a conflict is told here, not from inside. */
    for (uint32_t i = 0; i < worker->holds && !error; i++) {
        error = take_up(&worker->hold[i]);
        error = error == -ESHUTDOWN ? 0 : error; /* it may start later */
    }
    return error;
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

void worker_cancel(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        let_go(&worker->hold[i]);
    worker_discard(worker);
}

struct worker *worker_new(const struct worker_config *config, int *error)
{
    struct worker *worker;

    *error = config_check(config);
    if (*error)
        return NULL;
    *error = -ENOMEM;
    worker = lines_alloc(sizeof(*worker));
    if (!worker)
        return NULL;
    worker->config = *config;
    *error = worker_setup(worker);
    if (!*error)
        return worker;
    worker_cancel(worker);
    return NULL;
}

struct worker *worker_start(const struct worker_config *config, int *error)
{
    struct worker *worker = worker_new(config, error);

    if (worker)
        *error = spawn(worker);
    if (worker && *error) {
        worker_cancel(worker);
        worker = NULL;
    }
    return worker;
}

const struct worker_counters *worker_counters(const struct worker *worker)
{
    return &worker->counters;
}

static void nudge(struct worker *worker)
{
    uint64_t one = 1;

    (void)!write(worker->wake_fd, &one, sizeof(one));
}

void worker_finish(struct worker *worker, uint32_t drain_ms)
{
    __atomic_store_n(&worker->drain_ms, drain_ms < UINT32_MAX ? drain_ms + 1 : drain_ms,
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
    worker_discard(worker);
}
