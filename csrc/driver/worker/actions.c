/* SPDX-License-Identifier: BSD-3-Clause */
/* A handler's answers are numbers that are checked before use: whatever it answers, every packet is sent,
 * passed on or dropped, and counted once. */
#include <string.h>

#include "driver/ring/vector.h"
#include "driver/ring/tx.h"
#include "driver/ring/tx_clean.h"
#include "driver/worker/actions.h"

/* ---- sending ---- */

/* True when any of the worker's pairs has chained packets: then every batch says how many segments each
 * packet has. */
static bool chains(const struct worker *worker)
{
    return worker->chained;
}

static void keep_rest(struct worker *worker, struct outlet *outlet, const struct batch *batch,
                      uint32_t done)
{
    struct batch *rest = &outlet->batch;
    uint32_t left = batch->count - done;
    uint32_t from = batch->first + done;

    memmove(rest->handles, batch->handles + from, left * sizeof(*rest->handles));
    if (chains(worker)) {
        memmove(rest->segments, batch->segments + from, left);
        memmove(rest->chain, batch->chain + CHAIN_ROW * from,
                CHAIN_ROW * left * sizeof(*rest->chain));
    }
    rest->first = 0;
    rest->count = left;
}

static void abandon(struct worker *worker, struct outlet *outlet, const struct batch *batch)
{
    worker->total.refused += batch->count;
    batch_release(outlet->hold, batch, batch->first, batch->count, chains(worker));
    outlet->batch.count = 0;
}

/* Posts a batch, the outlet's own or the received one; what does not fit becomes the outlet's. */
static uint32_t post(struct worker *worker, struct outlet *outlet, const struct batch *batch)
{
    struct queue_pair *pair = outlet->hold->pair;
    uint64_t posted, bytes;
    uint32_t done, refused;

    if (unlikely(!outlet->hold->held)) { /* stopped or in a reset, which must not stop the others */
        uint32_t n = batch->count;

        abandon(worker, outlet, batch);
        return n;
    }
    posted = pair->sq->posted;
    bytes = pair->sq->posted_bytes;
    done = tx_post(pair, batch->handles + batch->first,
                   chains(worker) ? batch->chain + CHAIN_ROW * batch->first : NULL,
                   chains(worker) ? batch->segments + batch->first : NULL, batch->count, &refused,
                   outlet->hold->owner);
    worker->total.refused += refused;
    worker->total.sent += pair->sq->posted - posted;
    worker->total.sent_bytes += pair->sq->posted_bytes - bytes;
    if (likely(done == batch->count)) {
        outlet->batch.count = 0;
        return done;
    }
    keep_rest(worker, outlet, batch, done);
    worker->handling->waiting = true;
    if (!done && pair->rearm)
        vector_rearm(pair);
    return done;
}

uint32_t actions_flush(struct worker *worker)
{
    struct handling *handling = worker->handling;
    uint32_t moved = 0;

    for (uint32_t i = 0; i < handling->outlets; i++)
        if (handling->outlet[i].batch.count)
            moved += post(worker, &handling->outlet[i], &handling->outlet[i].batch);
    return moved;
}

void actions_reap(struct worker *worker)
{
    struct handling *handling = worker->handling;

    for (uint32_t i = 0; i < handling->outlets; i++) {
        struct hold *hold = handling->outlet[i].hold;

        if (hold->held && tx_pending(hold->pair))
            tx_clean(hold->pair, hold->owner);
    }
}

void actions_abandon(struct worker *worker)
{
    struct handling *handling = worker->handling;

    for (uint32_t i = 0; i < handling->outlets; i++)
        if (handling->outlet[i].batch.count)
            abandon(worker, &handling->outlet[i], &handling->outlet[i].batch);
}

/* ---- sorting ---- */

static bool unanimous(const uint32_t *action, uint32_t n)
{
    uint32_t differs = 0;

    for (uint32_t i = 1; i < n; i++)
        differs |= action[i] ^ action[0];
    return !differs;
}

static void add(struct batch *to, const struct batch *from, uint32_t i, bool chained)
{
    uint32_t at = to->count++;

    to->handles[at] = from->handles[i];
    if (chained) {
        to->segments[at] = from->segments[i];
        memcpy(to->chain + CHAIN_ROW * at, from->chain + CHAIN_ROW * i,
               CHAIN_ROW * sizeof(*to->chain));
    }
}

static void fill_row(struct pass_row *row, const struct worker *worker,
                     const struct handler_lane *lane, uint32_t i)
{
    const struct batch *batch = &worker->received;
    struct pool *pool = worker->config.pair[0]->pool;

    *row = (struct pass_row){
        .handle = batch->handles[i],
        .rss = lane->rss[i],
        .mark = lane->mark[i],
        .time = lane->time[i],
        .ptype = lane->ptype[i],
        .vlan = lane->vlan[i],
        .flags = lane->flags[i],
        .csum = lane->csum[i],
        .segments = lane->into.segments ? batch->segments[i] : 1,
    };
    pool_hold(pool, handle_index(row->handle));
    for (uint32_t k = 1; k < row->segments; k++) {
        row->chain[k - 1] = batch->chain[CHAIN_ROW * i + k - 1];
        pool_hold(pool, handle_index(row->chain[k - 1]));
    }
}

static void pass(struct worker *worker, struct handler_lane *lane, uint32_t n)
{
    struct handling *handling = worker->handling;
    uint32_t room = pass_ring_room(lane->pass_ring);
    uint32_t take = n < room ? n : room;

    for (uint32_t i = 0; i < take; i++)
        fill_row(pass_ring_at(lane->pass_ring, i), worker, lane, handling->passed[i]);
    if (take)
        pass_ring_publish(lane->pass_ring, take);
    worker->total.passed += take;
    worker->total.pass_full += n - take;
    for (uint32_t i = take; i < n; i++)
        add(&handling->dropped, &worker->received, handling->passed[i], chains(worker));
}

static struct batch *target_of(const struct handler_lane *lane, uint32_t action)
{
    return likely(action < lane->actions) ? lane->target[action] : NULL;
}

static void deal(struct worker *worker, struct handler_lane *lane, struct hold *in)
{
    struct handling *handling = worker->handling;
    const struct batch *batch = &worker->received;
    bool chained = chains(worker);
    uint32_t passed = 0, failed = 0, invalid = 0;

    handling->dropped.count = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct batch *target = target_of(lane, handling->action[i]);

        if (unlikely(!target)) {
            if (handling->action[i] == ACTION_PASS && lane->pass_ring) {
                handling->passed[passed++] = i;
                continue;
            }
            failed += handling->action[i] == ACTION_FAILED;
            invalid += handling->action[i] != ACTION_FAILED;
            target = &handling->dropped;
        }
        add(target, batch, i, chained);
    }
    worker->total.failed += failed;
    worker->total.invalid += invalid;
    worker->total.dropped += handling->dropped.count - failed - invalid;
    if (passed)
        pass(worker, lane, passed);
    if (handling->dropped.count)
        batch_release(in, &handling->dropped, 0, handling->dropped.count, chained);
    actions_flush(worker);
}

/* Applies one action to all packets without sorting or copying; false when their actions differ, or when the
 * action is not that simple. */
static bool deal_at_once(struct worker *worker, struct handler_lane *lane, struct hold *in)
{
    const struct batch *batch = &worker->received;
    uint32_t action = worker->handling->action[0];

    if (!unanimous(worker->handling->action, batch->count) || action >= lane->actions)
        return false;
    if (action == ACTION_DROP) {
        worker->total.dropped += batch->count;
        batch_release(in, batch, 0, batch->count, chains(worker));
    } else if (lane->outlet[action]) {
        post(worker, lane->outlet[action], batch);
    } else {
        return false;
    }
    return true;
}

void actions_apply(struct worker *worker, struct handler_lane *lane, struct hold *in)
{
    if (!deal_at_once(worker, lane, in))
        deal(worker, lane, in);
}
