/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>
#include <string.h>

#include "driver/ring/vector.h"
#include "driver/ring/rx.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx.h"
#include "driver/worker/latency.h"
#include "driver/worker/traffic.h"

#define SWAP_PREFETCH 4

/* ---- sending ---- */

uint32_t traffic_flush(struct worker *worker, struct lane *lane)
{
    struct batch *batch = &lane->pending;
    struct queue_pair *pair = lane->out->pair;
    bool chained = worker->chained || lane->in->pair->scattered;
    uint64_t posted = pair->sq->posted, bytes = pair->sq->posted_bytes;
    uint32_t done, refused;

    if (!batch->count || !lane->out->held)
        return 0;
    done = tx_post(pair, batch->handles + batch->first,
                   chained ? batch->chain + CHAIN_ROW * batch->first : NULL,
                   chained ? batch->segments + batch->first : NULL, batch->count, &refused,
                   lane->out->owner);
    batch->first += done;
    batch->count -= done;
    worker->total.refused += refused;
    worker->total.sent += pair->sq->posted - posted;
    worker->total.sent_bytes += pair->sq->posted_bytes - bytes;
    lane->sent += pair->sq->posted - posted;
    if (!done && pair->rearm)
        vector_rearm(pair);
    return done;
}

void traffic_abandon(struct worker *worker, struct lane *lane)
{
    struct batch *batch = &lane->pending;

    worker->total.refused += batch->count;
    batch_release(lane->out, batch, batch->first, batch->count,
                  worker->chained || lane->in->pair->scattered);
    batch->count = 0;
}

/* ---- receiving ---- */

static void drop(struct worker *worker, struct lane *lane, uint32_t n)
{
    bool chained = lane->in->pair->scattered;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += batch_length(&worker->received, i, chained);
    worker->total.received += n;
    worker->total.received_bytes += bytes;
    batch_release(lane->in, &worker->received, 0, n, chained);
}

/* Copies a chained frame into one piece, which the check of its pattern needs. */
static const uint8_t *linear(struct worker *worker, const struct pool *pool, uint32_t i)
{
    const struct batch *batch = &worker->received;
    uint32_t at = handle_length(batch->handles[i]);

    memcpy(worker->scratch, pool_data(pool, batch->handles[i]), at);
    for (uint32_t k = 1; k < batch->segments[i]; k++) {
        uint64_t part = batch->chain[CHAIN_ROW * i + k - 1];

        memcpy(worker->scratch + at, pool_data(pool, part), handle_length(part));
        at += handle_length(part);
    }
    return worker->scratch;
}

struct verify *traffic_table(const struct worker *worker)
{
    return worker->config.table ? worker->config.table : worker->own_table;
}

/* Checks received packets against the run's signature, and against their sequences when asked to. */
static void check(struct worker *worker, struct lane *lane, uint32_t n)
{
    const struct pool *pool = lane->in->pair->pool;
    bool chained = lane->in->pair->scattered;
    struct verify *table = traffic_table(worker);
    const struct batch *batch = &worker->received;
    const struct stamps *stamps = worker->config.stamps;
    const uint32_t headers = frame_headers(worker->config.ipv6);
    uint64_t found = stamps ? clock_ticks() : 0;
    uint64_t mine = 0, bytes = 0;
    uint32_t sender = 0, credit = 0;

    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(pool_data(pool, batch->handles[i]) + headers);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *data = pool_data(pool, batch->handles[i]);
        uint32_t length = handle_length(batch->handles[i]);
        uint64_t signature, identity;

        if (length < headers + FRAME_MARKS)
            continue;
        memcpy(&signature, data + headers, sizeof(signature));
        if (signature != worker->config.signature)
            continue;
        memcpy(&identity, data + headers + FRAME_IDENTITY, sizeof(identity));
        if (stamps)
            latency_record(stamps, worker->config.latency, identity, found, worker->ns_per_tick);
        if (chained && batch->segments[i] > 1)
            length = batch_length(batch, i, true);
        mine++;
        bytes += length;
        if (identity >> SENDER_SHIFT != sender) {
            if (table)
                verify_credit(table, sender, credit);
            sender = (uint32_t)(identity >> SENDER_SHIFT);
            credit = 0;
        }
        credit++;
        if (!worker->config.verify)
            continue;
        if (chained && batch->segments[i] > 1)
            data = linear(worker, pool, i);
        if (frame_intact(data, headers, length))
            verify_packet(table, identity, &worker->verify);
        else
            worker->verify.corrupted++;
    }
    worker->total.received += mine;
    worker->total.received_bytes += bytes;
    worker->total.foreign += n - mine;
    batch_release(lane->in, batch, 0, n, chained);
    /* The credit comes last: a sender that sees it may fill the buffers again. */
    if (table)
        verify_credit(table, sender, credit);
}

static void swap_macs(const struct pool *pool, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        uint8_t *data = pool_data(pool, batch->handles[i]);
        uint8_t dst[6], src[6];

        if (i + SWAP_PREFETCH < batch->count)
            __builtin_prefetch(pool_data(pool, batch->handles[i + SWAP_PREFETCH]), 1);
        if (handle_length(batch->handles[i]) < 12)
            continue;
        memcpy(dst, data, 6);
        memcpy(src, data + 6, 6);
        memcpy(data, src, 6);
        memcpy(data + 6, dst, 6);
    }
}

static const uint8_t no_mac[6];

/* The frame leaves from the sending port's own address, as testpmd's `mac` mode does it. */
static void own_macs(const struct pool *pool, const struct batch *batch, const uint8_t dst[6],
                     const uint8_t src[6])
{
    bool answer = memcmp(dst, no_mac, sizeof(no_mac)) == 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        uint8_t *data = pool_data(pool, batch->handles[i]);

        if (i + SWAP_PREFETCH < batch->count)
            __builtin_prefetch(pool_data(pool, batch->handles[i + SWAP_PREFETCH]), 1);
        if (handle_length(batch->handles[i]) < 12)
            continue;
        memcpy(data, answer ? data + 6 : dst, 6);
        memcpy(data + 6, src, 6);
    }
}

static void set_macs(const struct worker *worker, const struct lane *lane)
{
    const struct worker_config *config = &worker->config;
    const struct pool *pool = lane->in->pair->pool;
    ptrdiff_t i = lane - worker->lane;

    if (config->macs == FORWARD_SWAP)
        swap_macs(pool, &lane->pending);
    else if (config->macs == FORWARD_OWN)
        own_macs(pool, &lane->pending, config->dst[i], config->src[i]);
}

/* Bytes of packets just received, from the receive block where this thread is its writer. `before`: what
 * the block said before the poll. */
static uint64_t bytes_of(const struct lane *lane, const struct batch *batch, uint64_t before)
{
    const struct queue_pair *pair = lane->in->pair;
    uint64_t bytes = 0;

    if (likely(lane->in->owner))
        return pair->rq->bytes - before;
    for (uint32_t i = 0; i < batch->count; i++)
        bytes += batch_length(batch, i, pair->scattered);
    return bytes;
}

static void forward(struct worker *worker, struct lane *lane, uint32_t n, uint64_t before)
{
    struct batch *batch = &lane->pending;

    batch->first = 0;
    batch->count = n;
    worker->total.received += n;
    worker->total.received_bytes += bytes_of(lane, batch, before);
    set_macs(worker, lane);
    traffic_flush(worker, lane);
}

uint32_t traffic_receive(struct worker *worker, struct lane *lane)
{
    bool forwards = worker->config.mode == WORKER_FORWARD;
    struct batch *batch = forwards ? &lane->pending : &worker->received;
    struct queue_pair *pair = lane->in->pair;
    struct columns columns = {.handles = batch->handles};
    struct worker_quota *quota = worker_generates(worker->config.mode) ? NULL : worker->quota;
    bool ends = worker->total.state == WORKER_DRAINING;
    uint32_t moved = 0, most = worker->config.burst, got;
    uint64_t before;

    if (forwards && (batch->count || ends)) {
        /* Back-pressure: packets that have nowhere to go are not received, nor is anything when the worker ends:
         * what it has received is sent on first. */
        moved = traffic_flush(worker, lane);
        if (batch->count || ends)
            return moved;
    }
    if (unlikely(quota)) {
        if (rx_done(pair)) {
            most = quota_take(quota, most);
            if (!most)
                return moved;
        } else {
            most = 0; /* the quota is shared: an empty poll must not write to it */
        }
    }
    if (pair->scattered) {
        columns.chain = batch->chain;
        columns.segments = batch->segments;
    }
    if (lane->in->owner)
        rx_counters_merge(pair); /* deferred bytes must not be taken for this poll's */
    before = pair->rq->bytes;
    got = rx_burst_of(pair, false)(pair, &columns, most, lane->in->owner);
    if (unlikely(quota))
        quota_settle(quota, most, got);
    if (!got) {
        hold_quiet(pair, &lane->in->quiet_since);
        return moved;
    }
    lane->in->quiet_since = 0;
    switch (worker->config.mode) {
    case WORKER_FORWARD:
        forward(worker, lane, got, before);
        break;
    case WORKER_RXDROP:
        drop(worker, lane, got);
        break;
    default:
        check(worker, lane, got);
        break;
    }
    return moved + got;
}
