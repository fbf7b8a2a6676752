/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst is received, described to the handler by pointers and lengths, and sorted by the actions that it
 * chose (actions.c). The handler never sees a handle. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/lines.h"
#include "driver/worker/actions.h"
#include "driver/worker/handler.h"

#define ACTION_NONE 0xffffffff /* what a handler finds: no action */
#define REAP_EVERY 64 /* rounds */

_Static_assert(PASS_RING_CHAIN == CHAIN_ROW, "a chain fits its row");

int handler_check(const struct worker_config *config)
{
    if (!config->handler || config->redirects > WORKER_MAX_PAIRS)
        return -EINVAL;
    for (uint32_t i = 0; i < config->redirects; i++)
        if (!config->redirect[i] || config->redirect[i]->pool != config->pair[0]->pool)
            return -EINVAL; /* a buffer goes back where it came from */
    for (uint32_t i = 0; i < config->pairs; i++)
        if (config->pair[i]->pool != config->pair[0]->pool ||
            (config->pass_ring[i] && config->pass_ring[i]->pool != config->pair[0]->pool))
            return -EINVAL;
    return 0;
}

static struct outlet *outlet_of(struct handling *handling, struct hold *hold)
{
    for (uint32_t i = 0; i < handling->outlets; i++)
        if (handling->outlet[i].hold == hold)
            return &handling->outlet[i];
    hold->sends = true;
    handling->outlet[handling->outlets].hold = hold;
    return &handling->outlet[handling->outlets++];
}

static void lane_target(struct handler_lane *lane, uint32_t action, struct outlet *outlet)
{
    lane->outlet[action] = outlet;
    lane->target[action] = &outlet->batch;
}

static void lane_setup(struct worker *worker, uint32_t number)
{
    const struct worker_config *config = &worker->config;
    struct handling *handling = worker->handling;
    struct handler_lane *lane = &handling->lane[number];
    bool chained = worker->lane[number].in->pair->scattered;

    lane->pass_ring = config->pass_ring[number];
    lane->actions = ACTION_REDIRECT + config->redirects;
    lane->target[ACTION_DROP] = &handling->dropped;
    if (config->tx)
        lane_target(lane, ACTION_TX, outlet_of(handling, worker->lane[number].in));
    for (uint32_t k = 0; k < config->redirects; k++)
        lane_target(lane, ACTION_REDIRECT + k,
                    outlet_of(handling, worker_hold(worker, config->redirect[k])));
    memset(lane->single, 1, sizeof(lane->single));
    memset(lane->number, (int)number, sizeof(lane->number));
    lane->into = (struct columns){
        .handles = worker->received.handles,
        .chain = chained ? worker->received.chain : NULL,
        .segments = chained ? worker->received.segments : NULL,
        .flags = lane->flags,
        .csum = lane->csum,
        .ptype = lane->ptype,
        .vlan = lane->vlan,
        .rss = lane->rss,
        .mark = lane->mark,
        .time = lane->time,
    };
    lane->shown = (struct handler_columns){
        .frame = handling->frame,
        .rss = lane->rss,
        .mark = lane->mark,
        .time = lane->time,
        .ptype = lane->ptype,
        .vlan = lane->vlan,
        .flags = lane->flags,
        .csum = lane->csum,
        .segments = chained ? worker->received.segments : lane->single,
        .lane = lane->number,
    };
}

int handler_setup(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    struct handling *handling = worker->handling = lines_alloc(sizeof(*handling));

    if (!handling)
        return -ENOMEM;
    handling->outlet = lines_alloc(HOLDS_MAX * sizeof(*handling->outlet));
    handling->lane = lines_alloc(config->pairs * sizeof(*handling->lane));
    if (!handling->outlet || !handling->lane)
        return -ENOMEM;
    for (uint32_t i = 0; i < config->pairs; i++) {
        worker->chained |= config->pair[i]->scattered;
        lane_setup(worker, i);
        if (config->pass_ring[i])
            pass_ring_start(config->pass_ring[i]);
    }
    return 0;
}

void handler_discard(struct worker *worker)
{
    if (!worker->handling)
        return;
    free(worker->handling->outlet);
    free(worker->handling->lane);
    free(worker->handling);
}

/* ---- rounds ---- */

uint32_t handler_flush(struct worker *worker)
{
    struct handling *handling = worker->handling;

    if (!handling)
        return 0;
    /* An outlet that gets no packets while others are busy must not look hung
     * (docs/spec/libie-counters.md 6). */
    if (unlikely(worker->total.loops % REAP_EVERY == REAP_EVERY - 1))
        actions_reap(worker);
    if (likely(!handling->waiting))
        return 0;
    handling->waiting = false; /* actions_flush sets it again when something still waits */
    return actions_flush(worker);
}

bool handler_waiting(const struct worker *worker)
{
    return worker->handling && worker->handling->waiting;
}

void handler_end(struct worker *worker)
{
    struct handling *handling = worker->handling;

    if (!handling)
        return;
    actions_abandon(worker);
    for (uint32_t i = 0; i < worker->config.pairs; i++)
        if (handling->lane[i].pass_ring)
            pass_ring_end(handling->lane[i].pass_ring);
}

static void describe(struct worker *worker, const struct pool *pool, uint32_t n, bool chained)
{
    struct handling *handling = worker->handling;
    const struct batch *batch = &worker->received;
    uint8_t *base = pool->base;
    uint64_t stride = pool->stride;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t handle = batch->handles[i];

        handling->data[i] = base + handle_index(handle) * stride + handle_offset(handle);
        handling->frame[i] = handling->length[i] = handle_length(handle);
        handling->action[i] = ACTION_NONE;
        __builtin_prefetch(handling->data[i], 1);
    }
    for (uint32_t i = 0; chained && i < n; i++)
        handling->frame[i] = batch_length(batch, i, true);
    for (uint32_t i = 0; i < n; i++)
        bytes += handling->frame[i];
    worker->total.received += n;
    worker->total.received_bytes += bytes;
}

uint32_t handler_round(struct worker *worker, uint32_t number)
{
    struct handling *handling = worker->handling;
    struct handler_lane *lane = &handling->lane[number];
    struct hold *in = worker->lane[number].in;
    struct queue_pair *pair = in->pair;
    uint32_t n;

    if (unlikely(handling->waiting))
        return 0;
    n = rx_burst_of(pair, false)(pair, &lane->into, worker->config.burst, in->owner);
    if (!n) {
        hold_quiet(pair, &in->quiet_since);
        return 0;
    }
    in->quiet_since = 0;
    if (worker->chained && !pair->scattered)
        memset(worker->received.segments, 1, n);
    describe(worker, pair->pool, n, pair->scattered);
    worker->config.handler(n, handling->data, handling->length, &lane->shown, handling->action,
                           worker->config.state);
    worker->received.first = 0;
    worker->received.count = n;
    actions_apply(worker, lane, in);
    return n;
}
