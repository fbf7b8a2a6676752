/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/ring/buffers.h"
#include "driver/ring/vector.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx_clean.h"
#include "driver/worker/generate.h"
#include "driver/worker/latency.h"
#include "driver/worker/traffic.h"

/* A frame that left the device this long ago is not coming back. On a busy host a software device or the
 * receiving worker may be without its CPU for many milliseconds. */
#define STALL_NS (500 * NS_PER_MS)
/* Between two looks this far apart the worker had no CPU: what came meanwhile lies unread in its ring. */
#define AWAY_NS (100 * NS_PER_MS)

int generate_setup(struct worker *worker, struct lane *lane, uint32_t number)
{
    const struct worker_config *config = &worker->config;
    size_t bytes = 0;
    uint8_t *at;

    for (uint32_t i = 0; i < config->sizes; i++)
        bytes += config->size[i];
    at = lane->frames = malloc(bytes);
    lane->sequence = calloc(config->flows, sizeof(*lane->sequence));
    if (!at || !lane->sequence)
        return -ENOMEM;
    for (uint32_t i = 0; i < config->sizes; i++) {
        struct frame *frame = &lane->frame[i];

        frame->length = config->size[i];
        frame->bytes = at;
        at += frame->length;
        frame->headers = frame_headers(config->ipv6);
        frame_compose(frame, config->dst[number], config->src[number], config->signature);
    }
    return 0;
}

/* How many packets the loop-back window leaves: what is under way fits the smallest receive ring, so that
 * a loss is a defect and not an overrun. */
static uint32_t window_room(struct worker *worker, struct lane *lane)
{
    uint64_t returned = verify_returned(traffic_table(worker), lane->sender), now;
    int64_t under_way = (int64_t)(lane->sent - returned - lane->written_off);

    if (under_way < 0) { /* written off too early */
        lane->written_off = lane->sent - returned;
        under_way = 0;
    }
    if (returned != lane->returned) {
        lane->returned = returned;
        lane->progress_ns = 0;
    }
    if (under_way < (int64_t)lane->window)
        return lane->window - (uint32_t)under_way;
    now = clock_ns();
    if (!lane->progress_ns || tx_pending(lane->out->pair) || now - lane->looked_ns > AWAY_NS) {
        lane->progress_ns = now;
    } else if (now - lane->progress_ns > STALL_NS) {
        lane->written_off += (uint64_t)under_way;
        lane->progress_ns = 0;
    }
    lane->looked_ns = now;
    return 0;
}

/* Each lane has an equal share of the worker's rate, and the lanes take turns. */
static uint32_t rate_room(const struct worker *worker, const struct lane *lane)
{
    double lanes = worker->config.pairs, due;

    if (worker->ticks_per_packet <= 0)
        return UINT32_MAX;
    due = (double)(clock_ticks() - worker->start_ticks) / worker->ticks_per_packet / lanes +
          (lanes - 1 - (double)(lane - worker->lane)) / lanes - (double)lane->generated;
    if (due < 1)
        return 0;
    return due < UINT32_MAX ? (uint32_t)due : UINT32_MAX;
}

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t allowance(struct worker *worker, struct lane *lane)
{
    const struct worker_config *config = &worker->config;
    struct queue_pair *pair = lane->out->pair;
    uint32_t parts = worker->chained ? CHAIN_MAX : 1;
    uint32_t n = config->burst;

    n = least(n, rate_room(worker, lane));
    if (n && config->mode == WORKER_LOOPBACK)
        n = least(n, window_room(worker, lane));
    if (n && pair->tx_free < n * parts + TX_RESERVE) {
        if (!tx_clean(pair, lane->out->owner) && pair->rearm)
            vector_rearm(pair);
        n = least(n, pair->tx_free / parts);
    }
    return n && worker->quota ? quota_take(worker->quota, n) : n;
}

/* Writes one frame over the buffers of index[]; the packet is row i of the batch. */
static void write_frame(struct worker *worker, const struct lane *lane, const struct frame *frame,
                        struct batch *batch, uint32_t i, const uint32_t *index, uint64_t identity)
{
    const struct pool *pool = lane->out->pair->pool;
    uint32_t room = pool->stride - pool->headroom;
    uint32_t parts = 0, at = 0;

    if (likely(frame->length <= room)) {
        batch->handles[i] = handle_make(index[0], pool->headroom, frame->length);
        batch->segments[i] = 1;
        frame_write(frame, pool_data(pool, batch->handles[i]), identity, worker->config.verify);
        return;
    }
    frame_write(frame, worker->scratch, identity, worker->config.verify);
    while (at < frame->length) {
        uint32_t length = least(room, frame->length - at);
        uint64_t handle = handle_make(index[parts], pool->headroom, length);

        memcpy(pool_data(pool, handle), worker->scratch + at, length);
        if (parts)
            batch->chain[CHAIN_ROW * i + parts - 1] = handle;
        else
            batch->handles[i] = handle;
        at += length;
        parts++;
    }
    batch->segments[i] = (uint8_t)parts;
}

static uint32_t parts_of(const struct pool *pool, const struct frame *frame)
{
    uint32_t room = pool->stride - pool->headroom;

    return (frame->length + room - 1) / room;
}

uint32_t generate_burst(struct worker *worker, struct lane *lane)
{
    const struct worker_config *config = &worker->config;
    struct batch *batch = &lane->pending;
    struct queue_pair *pair = lane->out->pair;
    bool owner = lane->out->owner;
    struct pool_tally tally = {0};
    uint32_t moved = traffic_flush(worker, lane);
    uint64_t made;
    uint32_t n, i;

    if (quota_used(worker->quota))
        worker->generating = false;
    if (batch->count || !worker->generating)
        return moved;
    n = allowance(worker, lane);
    made = config->stamps ? clock_ticks() : 0;
    for (i = 0; i < n; i++) {
        const struct frame *frame = &lane->frame[lane->size];
        uint32_t want = parts_of(pair->pool, frame);
        uint32_t spare[CHAIN_MAX];
        uint32_t got = want;
        uint64_t identity;
        const uint32_t *index = buffers_get(pair, &got, owner, spare, &tally);

        if (unlikely(got < want)) {
            buffers_put(pair, index, got, owner, &tally);
            worker->total.alloc_fail++;
            break;
        }
        identity = frame_identity(lane->sender, lane->flow, lane->sequence[lane->flow]++);
        if (config->stamps)
            latency_stamp(config->stamps, identity, made);
        write_frame(worker, lane, frame, batch, i, index, identity);
        lane->flow = lane->flow + 1 == config->flows ? 0 : lane->flow + 1;
        lane->size = lane->size + 1 == config->sizes ? 0 : lane->size + 1;
    }
    if (n)
        rx_counters_add_pool(pair, &tally, owner);
    if (n && worker->quota)
        quota_settle(worker->quota, n, i);
    if (!i)
        return moved;
    batch->first = 0;
    batch->count = i;
    lane->generated += i;
    if (quota_used(worker->quota))
        worker->generating = false;
    return moved + traffic_flush(worker, lane);
}
