/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/lines.h"
#include "driver/worker/frame.h"
#include "driver/worker/generate.h"
#include "driver/worker/handler.h"
#include "driver/worker/setup.h"

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
    if (config->stamps && (config->mode != WORKER_LOOPBACK || !config->latency))
        return -EINVAL;
    if (!worker_generates(config->mode))
        return 0;
    if (!config->sizes || config->sizes > WORKER_SIZES || !config->flows ||
        config->flows > FLOWS_MAX || config->sender_base + config->pairs > SENDERS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < config->sizes; i++)
        if (config->size[i] < frame_least(config->ipv6) || config->size[i] > TX_MAX_FRAME)
            return -EINVAL;
    if (config->table && (config->sender_base + config->pairs > config->table->senders ||
                          config->flows > config->table->flows))
        return -EINVAL;
    return 0;
}

/* The part of the smallest receive ring that belongs to each sender of the run. One batch may lie between
 * the ring and the pool; the slot under the tail is not the device's, nor are the few in front of it for an
 * E810, which ignores the low bits of the tail. */
static uint32_t window_of(const struct worker *worker, uint32_t senders)
{
    uint32_t least = RING_MAX;
    uint32_t window;

    for (uint32_t i = 0; i < worker->config.pairs; i++) {
        uint32_t entries = worker->config.pair[i]->rx_entries;

        least = entries < least ? entries : least;
    }
    window = (least - REFILL_BATCH - QRX_TAIL_STEP) / (senders * (worker->chained ? CHAIN_MAX : 1));
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

static int lanes_setup(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    uint32_t senders = config->table ? config->table->senders : config->pairs;
    int error = 0;

    for (uint32_t i = 0; i < config->pairs && !error; i++) {
        struct lane *lane = &worker->lane[i];
        struct queue_pair *out = config->out[i];

        if (config->mode != WORKER_FORWARD || !out)
            out = config->pair[i];
        if (out->pool != config->pair[i]->pool)
            return -EINVAL; /* a buffer goes back where it came from */
        if (worker_generates(config->mode))
            error = sizes_check(worker, out->pool);
        lane->in = worker_hold(worker, config->pair[i]);
        lane->out = worker_hold(worker, out);
        lane->in->receives |= worker_receives(config->mode);
        lane->out->sends |= worker_generates(config->mode) || config->mode == WORKER_FORWARD;
        lane->sender = config->sender_base + i;
        if (!error && worker_generates(config->mode))
            error = generate_setup(worker, lane, i);
    }
    for (uint32_t i = 0; i < config->pairs; i++)
        worker->lane[i].window = config->open_loop ? UINT32_MAX : window_of(worker, senders);
    if (config->mode == WORKER_HANDLER && !error)
        error = handler_setup(worker);
    return error;
}

void setup_free(struct worker *worker)
{
    for (uint32_t i = 0; worker->lane && i < worker->config.pairs; i++) {
        free(worker->lane[i].frames);
        free(worker->lane[i].sequence);
    }
    handler_discard(worker);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    verify_free(worker->own_table);
    free(worker->lane);
    free(worker->scratch);
    free(worker);
}

static int fill_in(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    bool table = config->mode == WORKER_LOOPBACK || config->verify;
    int error;

    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->wake_fd < 0)
        return -errno;
    worker->lane = lines_alloc(config->pairs * sizeof(*worker->lane));
    worker->scratch = malloc(SCRATCH);
    if (!worker->lane || !worker->scratch)
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
    if (config->stamps) {
        if (tsc_hz() <= 0)
            return -ENOTSUP;
        worker->ns_per_tick = 1e9 / tsc_hz();
    }
    worker->own_quota.limit = config->limit;
    worker->quota = config->quota ? config->quota : config->limit ? &worker->own_quota : NULL;
    worker->generating = worker_generates(config->mode);
    error = lanes_setup(worker);
    /* Guards belong to no thread, so that a conflict can be reported here instead of by the thread. */
    for (uint32_t i = 0; i < worker->holds && !error; i++) {
        error = hold_take(&worker->hold[i]);
        error = error == -ESHUTDOWN ? 0 : error; /* it may start later */
    }
    return error;
}

void setup_undo(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        hold_release(&worker->hold[i]);
    setup_free(worker);
}

struct worker *setup_worker(const struct worker_config *config, int *error)
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
    *error = fill_in(worker);
    if (!*error)
        return worker;
    setup_undo(worker);
    return NULL;
}
