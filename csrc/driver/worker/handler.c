/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst is received, described to the handler by pointers and lengths, and dealt out by its verdicts.
 * The handler never sees a handle, and its verdicts are numbers that are checked before use: whatever it
 * answers, every packet is sent, kept or dropped, and counted once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/worker/handler.h"
#include "driver/worker/pass_ring.h"

#define VERDICT_NONE 0xffffffff /* what a handler finds: no verdict */
#define REAP_EVERY 64 /* rounds */
#define TARGETS (VERDICT_ROUTE + WORKER_MAX_PAIRS)

_Static_assert(KEPT_CHAIN == CHAIN_ROW, "a chain fits its row");

struct outlet { /* where packets are sent */
    struct hold *hold;
    struct batch batch; /* what did not fit yet */
};

struct lane { /* one of the worker's pairs */
    struct batch *target[TARGETS]; /* of a verdict; NULL: kept, or not allowed */
    uint32_t verdicts; /* entries of target[] */
    struct outlet *outlet[TARGETS];
    struct kept *kept;
    struct columns into; /* what the driver fills */
    struct handler_columns shown; /* what the handler sees */
    uint32_t rss[BURST_MAX], mark[BURST_MAX], time[BURST_MAX];
    uint16_t ptype[BURST_MAX], vlan[BURST_MAX];
    uint8_t flags[BURST_MAX], csum[BURST_MAX];
    uint8_t single[BURST_MAX]; /* the segments column where nothing is chained */
    uint8_t number[BURST_MAX];
};

struct handling {
    LINE uint8_t *data[BURST_MAX];
    uint32_t length[BURST_MAX];
    uint32_t frame[BURST_MAX];
    uint32_t verdict[BURST_MAX];
    uint32_t kept[BURST_MAX]; /* numbers of the packets to keep */
    struct batch dropped;
    bool waiting; /* an outlet has packets that did not fit */
    uint32_t outlets;
    struct outlet *outlet;
    struct lane *lane;
};

/* ---- set-up ---- */

int handler_check(const struct worker_config *config)
{
    if (!config->handler || config->routes > WORKER_MAX_PAIRS)
        return -EINVAL;
    for (uint32_t i = 0; i < config->routes; i++)
        if (!config->route[i] || config->route[i]->pool != config->pair[0]->pool)
            return -EINVAL; /* a buffer goes back where it came from */
    for (uint32_t i = 0; i < config->pairs; i++)
        if (config->pair[i]->pool != config->pair[0]->pool ||
            (config->kept[i] && config->kept[i]->pool != config->pair[0]->pool))
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

static void lane_target(struct lane *lane, uint32_t verdict, struct outlet *outlet)
{
    lane->outlet[verdict] = outlet;
    lane->target[verdict] = &outlet->batch;
}

static void lane_setup(struct worker *worker, uint32_t number)
{
    const struct worker_config *config = &worker->config;
    struct handling *handling = worker->handling;
    struct lane *lane = &handling->lane[number];
    bool chained = worker->station[number].in->pair->scattered;

    lane->kept = config->kept[number];
    lane->verdicts = VERDICT_ROUTE + config->routes;
    lane->target[VERDICT_DROP] = &handling->dropped;
    if (config->back)
        lane_target(lane, VERDICT_BACK, outlet_of(handling, worker->station[number].in));
    for (uint32_t k = 0; k < config->routes; k++)
        lane_target(lane, VERDICT_ROUTE + k,
                    outlet_of(handling, worker_hold(worker, config->route[k])));
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
        if (config->kept[i])
            kept_start(config->kept[i]);
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

/* ---- sending ---- */

/* Whether any of the worker's pairs has chained packets: then every batch says how many segments. */
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
    traffic_release(outlet->hold, batch, batch->first, batch->count, chains(worker));
    outlet->batch.count = 0;
}

/* Posts a batch, the outlet's own or the received one; what does not fit becomes the outlet's. */
static uint32_t post(struct worker *worker, struct outlet *outlet, const struct batch *batch)
{
    struct pair *pair = outlet->hold->pair;
    uint64_t posted, bytes;
    uint32_t done, refused;

    if (unlikely(!outlet->hold->held)) { /* stopped or in a reset: the others shall go on */
        uint32_t n = batch->count;

        abandon(worker, outlet, batch);
        return n;
    }
    posted = pair->sq->posted;
    bytes = pair->sq->posted_bytes;
    done = send_post(pair, batch->handles + batch->first,
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
        pair_rearm(pair);
    return done;
}

static uint32_t post_all(struct worker *worker)
{
    struct handling *handling = worker->handling;
    uint32_t moved = 0;

    for (uint32_t i = 0; i < handling->outlets; i++)
        if (handling->outlet[i].batch.count)
            moved += post(worker, &handling->outlet[i], &handling->outlet[i].batch);
    return moved;
}

/* A route that gets no packets while others are busy must not look hung (libie-stats 6). */
static void reap_all(struct worker *worker)
{
    struct handling *handling = worker->handling;

    for (uint32_t i = 0; i < handling->outlets; i++) {
        struct hold *hold = handling->outlet[i].hold;

        if (hold->held && send_pending(hold->pair))
            send_clean(hold->pair, hold->owner);
    }
}

uint32_t handler_flush(struct worker *worker)
{
    struct handling *handling = worker->handling;

    if (!handling)
        return 0;
    if (unlikely(worker->total.loops % REAP_EVERY == REAP_EVERY - 1))
        reap_all(worker);
    if (likely(!handling->waiting))
        return 0;
    handling->waiting = false; /* post sets it again */
    return post_all(worker);
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
    for (uint32_t i = 0; i < handling->outlets; i++)
        if (handling->outlet[i].batch.count)
            abandon(worker, &handling->outlet[i], &handling->outlet[i].batch);
    for (uint32_t i = 0; i < worker->config.pairs; i++)
        if (handling->lane[i].kept)
            kept_end(handling->lane[i].kept);
}

/* ---- judging ---- */

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
        handling->verdict[i] = VERDICT_NONE;
        __builtin_prefetch(handling->data[i], 1);
    }
    for (uint32_t i = 0; chained && i < n; i++)
        handling->frame[i] = traffic_length(batch, i, true);
    for (uint32_t i = 0; i < n; i++)
        bytes += handling->frame[i];
    worker->total.received += n;
    worker->total.received_bytes += bytes;
}

static bool unanimous(const uint32_t *verdict, uint32_t n)
{
    uint32_t differs = 0;

    for (uint32_t i = 1; i < n; i++)
        differs |= verdict[i] ^ verdict[0];
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

static void fill_row(struct kept_row *row, const struct worker *worker, const struct lane *lane,
                     uint32_t i)
{
    const struct batch *batch = &worker->received;
    struct pool *pool = worker->config.pair[0]->pool;

    *row = (struct kept_row){
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

static void keep(struct worker *worker, struct lane *lane, uint32_t n)
{
    struct handling *handling = worker->handling;
    uint32_t room = kept_room(lane->kept);
    uint32_t take = n < room ? n : room;

    for (uint32_t i = 0; i < take; i++)
        fill_row(kept_at(lane->kept, i), worker, lane, handling->kept[i]);
    if (take)
        kept_publish(lane->kept, take);
    worker->total.kept += take;
    worker->total.kept_full += n - take;
    for (uint32_t i = take; i < n; i++)
        add(&handling->dropped, &worker->received, handling->kept[i], chains(worker));
}

static struct batch *target_of(const struct lane *lane, uint32_t verdict)
{
    return likely(verdict < lane->verdicts) ? lane->target[verdict] : NULL;
}

static void deal(struct worker *worker, struct lane *lane, struct hold *in)
{
    struct handling *handling = worker->handling;
    const struct batch *batch = &worker->received;
    bool chained = chains(worker);
    uint32_t kept = 0, failed = 0, invalid = 0;

    handling->dropped.count = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct batch *target = target_of(lane, handling->verdict[i]);

        if (unlikely(!target)) {
            if (handling->verdict[i] == VERDICT_KEEP && lane->kept) {
                handling->kept[kept++] = i;
                continue;
            }
            failed += handling->verdict[i] == VERDICT_FAILED;
            invalid += handling->verdict[i] != VERDICT_FAILED;
            target = &handling->dropped;
        }
        add(target, batch, i, chained);
    }
    worker->total.failed += failed;
    worker->total.invalid += invalid;
    worker->total.dropped += handling->dropped.count - failed - invalid;
    if (kept)
        keep(worker, lane, kept);
    if (handling->dropped.count)
        traffic_release(in, &handling->dropped, 0, handling->dropped.count, chained);
    post_all(worker);
}

/* All packets to one target: nothing is sorted, nothing copied. False when it is not that simple. */
static bool deal_at_once(struct worker *worker, struct lane *lane, struct hold *in)
{
    const struct batch *batch = &worker->received;
    uint32_t verdict = worker->handling->verdict[0];

    if (!unanimous(worker->handling->verdict, batch->count) || verdict >= lane->verdicts)
        return false;
    if (verdict == VERDICT_DROP) {
        worker->total.dropped += batch->count;
        traffic_release(in, batch, 0, batch->count, chains(worker));
    } else if (lane->outlet[verdict]) {
        post(worker, lane->outlet[verdict], batch);
    } else {
        return false;
    }
    return true;
}

uint32_t handler_round(struct worker *worker, uint32_t number)
{
    struct handling *handling = worker->handling;
    struct lane *lane = &handling->lane[number];
    struct hold *in = worker->station[number].in;
    struct pair *pair = in->pair;
    uint32_t n;

    if (unlikely(handling->waiting))
        return 0;
    n = pair->receive.receive[0](pair, &lane->into, worker->config.burst, in->owner);
    if (!n) {
        quiet_look(pair, &in->quiet_since);
        return 0;
    }
    in->quiet_since = 0;
    if (chains(worker) && !pair->scattered)
        memset(worker->received.segments, 1, n);
    describe(worker, pair->pool, n, pair->scattered);
    worker->config.handler(n, handling->data, handling->length, &lane->shown, handling->verdict,
                           worker->config.state);
    worker->received.first = 0;
    worker->received.count = n;
    if (!deal_at_once(worker, lane, in))
        deal(worker, lane, in);
    return n;
}
