/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers do with packets: drop, judge, forward, generate. */
#include <string.h>

#include "driver/worker/worker.h"

#define SWAP_PREFETCH 4
/* A frame that left the device this long ago is not coming back. A busy host may keep a software device
 * or the receiving worker from its CPU for many milliseconds. */
#define STALL_NS (500 * NS_PER_MS)

/* ---- giving back ---- */

void traffic_release(struct hold *hold, const struct batch *batch, uint32_t first, uint32_t n,
                     bool chained)
{
    bool owner = hold->held && hold->owner;
    struct pair *pair = hold->pair;
    struct pool_tally tally = {0};
    uint32_t index[POOL_BULK];
    uint32_t count = 0;

    for (uint32_t i = first; i < first + n; i++) {
        if (count + CHAIN_MAX > POOL_BULK) {
            pair_put(pair, index, count, owner, &tally);
            count = 0;
        }
        index[count++] = handle_index(batch->handles[i]);
        for (uint32_t k = 1; chained && k < batch->segments[i]; k++)
            index[count++] = handle_index(batch->chain[CHAIN_ROW * i + k - 1]);
    }
    pair_put(pair, index, count, owner, &tally);
    ledger_pool(pair, &tally, owner);
}

uint32_t traffic_length(const struct batch *batch, uint32_t i, bool chained)
{
    uint32_t length = handle_length(batch->handles[i]);

    for (uint32_t k = 1; chained && k < batch->segments[i]; k++)
        length += handle_length(batch->chain[CHAIN_ROW * i + k - 1]);
    return length;
}

/* ---- sending ---- */

/* Posts what is pending; what does not fit stays. */
uint32_t traffic_flush(struct worker *worker, struct station *station)
{
    struct batch *batch = &station->pending;
    struct pair *pair = station->out->pair;
    bool chained = worker->chained || station->in->pair->scattered;
    uint64_t posted = pair->sq->posted, bytes = pair->sq->posted_bytes;
    uint32_t done, refused;

    if (!batch->count || !station->out->held)
        return 0;
    done = send_post(pair, batch->handles + batch->first,
                     chained ? batch->chain + CHAIN_ROW * batch->first : NULL,
                     chained ? batch->segments + batch->first : NULL, batch->count, &refused,
                     station->out->owner);
    batch->first += done;
    batch->count -= done;
    worker->total.refused += refused;
    worker->total.sent += pair->sq->posted - posted;
    worker->total.sent_bytes += pair->sq->posted_bytes - bytes;
    station->sent += pair->sq->posted - posted;
    if (!done && pair->rearm)
        pair_rearm(pair);
    return done;
}

void traffic_abandon(struct worker *worker, struct station *station)
{
    struct batch *batch = &station->pending;

    worker->total.refused += batch->count;
    traffic_release(station->out, batch, batch->first, batch->count,
                    worker->chained || station->in->pair->scattered);
    batch->count = 0;
}

/* ---- receiving ---- */

static void drop(struct worker *worker, struct station *station, uint32_t n)
{
    bool chained = station->in->pair->scattered;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += traffic_length(&worker->received, i, chained);
    worker->total.received += n;
    worker->total.received_bytes += bytes;
    traffic_release(station->in, &worker->received, 0, n, chained);
}

/* A chained frame in one piece, for the pattern's sake. */
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

static struct verify *table_of(const struct worker *worker)
{
    return worker->config.table ? worker->config.table : worker->own_table;
}

static void judge(struct worker *worker, struct station *station, uint32_t n)
{
    const struct pool *pool = station->in->pair->pool;
    bool chained = station->in->pair->scattered;
    struct verify *table = table_of(worker);
    const struct batch *batch = &worker->received;
    uint64_t mine = 0, bytes = 0;
    uint32_t sender = 0, credit = 0;

    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(pool_data(pool, batch->handles[i]) + FRAME_SIGNATURE);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *data = pool_data(pool, batch->handles[i]);
        uint32_t length = handle_length(batch->handles[i]);
        uint64_t signature, identity;

        if (length < FRAME_FILLER)
            continue;
        memcpy(&signature, data + FRAME_SIGNATURE, sizeof(signature));
        if (signature != worker->config.signature)
            continue;
        memcpy(&identity, data + FRAME_IDENTITY, sizeof(identity));
        if (chained && batch->segments[i] > 1)
            length = traffic_length(batch, i, true);
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
        if (frame_intact(data, length))
            verify_packet(table, identity, &worker->verify);
        else
            worker->verify.corrupted++;
    }
    worker->total.received += mine;
    worker->total.received_bytes += bytes;
    worker->total.foreign += n - mine;
    traffic_release(station->in, batch, 0, n, chained);
    /* Only now: a sender that sees the credit may fill the buffers again. */
    if (table)
        verify_credit(table, sender, credit);
}

static void swap_addresses(const struct pool *pool, const struct batch *batch)
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

/* Of packets just received: as counted, where this thread writes the counters. `before`: what they said. */
static uint64_t bytes_of(const struct station *station, const struct batch *batch, uint64_t before)
{
    const struct pair *pair = station->in->pair;
    uint64_t bytes = 0;

    if (likely(station->in->owner))
        return pair->rq->bytes - before;
    for (uint32_t i = 0; i < batch->count; i++)
        bytes += traffic_length(batch, i, pair->scattered);
    return bytes;
}

static void forward(struct worker *worker, struct station *station, uint32_t n, uint64_t before)
{
    struct batch *batch = &station->pending;

    batch->first = 0;
    batch->count = n;
    worker->total.received += n;
    worker->total.received_bytes += bytes_of(station, batch, before);
    if (worker->config.swap)
        swap_addresses(station->in->pair->pool, batch);
    traffic_flush(worker, station);
}

uint32_t traffic_receive(struct worker *worker, struct station *station)
{
    bool forwards = worker->config.mode == WORKER_FORWARD;
    struct batch *batch = forwards ? &station->pending : &worker->received;
    struct pair *pair = station->in->pair;
    struct columns columns = {.handles = batch->handles};
    uint32_t moved = 0, got;
    uint64_t before;

    if (forwards && batch->count) {
        /* Back-pressure: nothing is taken that has nowhere to go. */
        moved = traffic_flush(worker, station);
        if (batch->count)
            return moved;
    }
    if (pair->scattered) {
        columns.chain = batch->chain;
        columns.segments = batch->segments;
    }
    if (station->in->owner)
        ledger_merge(pair); /* not to be taken for bytes of this poll */
    before = pair->rq->bytes;
    got = pair->receive.receive[0](pair, &columns, worker->config.burst, station->in->owner);
    if (!got) {
        quiet_look(pair, &station->in->quiet_since);
        return moved;
    }
    station->in->quiet_since = 0;
    switch (worker->config.mode) {
    case WORKER_FORWARD:
        forward(worker, station, got, before);
        break;
    case WORKER_RXDROP:
        drop(worker, station, got);
        break;
    default:
        judge(worker, station, got);
        break;
    }
    return moved + got;
}

/* ---- generating ---- */

/* How many packets the loop-back window leaves: what is under way fits the smallest receive ring, so
 * that a loss is a defect and not an overrun. */
static uint32_t window_room(struct worker *worker, struct station *station)
{
    uint64_t returned = verify_returned(table_of(worker), station->sender);
    int64_t under_way = (int64_t)(station->sent - returned - station->written_off);

    if (under_way < 0) { /* written off too early */
        station->written_off = station->sent - returned;
        under_way = 0;
    }
    if (returned != station->returned) {
        station->returned = returned;
        station->progress_ns = 0;
    }
    if (under_way < (int64_t)station->window)
        return station->window - (uint32_t)under_way;
    if (!station->progress_ns || send_pending(station->out->pair)) {
        station->progress_ns = clock_ns();
    } else if (clock_ns() - station->progress_ns > STALL_NS) {
        station->written_off += (uint64_t)under_way;
        station->progress_ns = 0;
    }
    return 0;
}

static uint32_t rate_room(struct worker *worker)
{
    double due;

    if (worker->ticks_per_packet <= 0)
        return UINT32_MAX;
    due = (double)(clock_ticks() - worker->start_ticks) / worker->ticks_per_packet -
          (double)worker->generated;
    if (due < 1)
        return 0;
    return due < UINT32_MAX ? (uint32_t)due : UINT32_MAX;
}

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t allowance(struct worker *worker, struct station *station)
{
    const struct worker_config *config = &worker->config;
    struct pair *pair = station->out->pair;
    uint32_t parts = worker->chained ? CHAIN_MAX : 1;
    uint32_t n = config->burst;

    if (config->limit)
        n = least(n, config->limit - worker->generated);
    n = least(n, rate_room(worker));
    if (n && config->mode == WORKER_LOOPBACK)
        n = least(n, window_room(worker, station));
    if (n && pair->tx_free < n * parts + TX_RESERVE) {
        if (!send_clean(pair, station->out->owner) && pair->rearm)
            pair_rearm(pair);
        n = least(n, pair->tx_free / parts);
    }
    return n;
}

/* Writes one frame over the buffers of index[]; the packet is row i of the batch. */
static void write_frame(struct worker *worker, const struct station *station,
                        const struct frame *frame, struct batch *batch, uint32_t i,
                        const uint32_t *index, uint64_t identity)
{
    const struct pool *pool = station->out->pair->pool;
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

uint32_t traffic_generate(struct worker *worker, struct station *station)
{
    const struct worker_config *config = &worker->config;
    struct batch *batch = &station->pending;
    struct pair *pair = station->out->pair;
    bool owner = station->out->owner;
    struct pool_tally tally = {0};
    uint32_t moved = traffic_flush(worker, station);
    uint32_t n, i;

    if (batch->count || !worker->generating)
        return moved;
    n = allowance(worker, station);
    for (i = 0; i < n; i++) {
        const struct frame *frame = &station->frame[station->size];
        uint32_t want = parts_of(pair->pool, frame);
        uint32_t spare[CHAIN_MAX];
        uint32_t got = want;
        const uint32_t *index = pair_get(pair, &got, owner, spare, &tally);

        if (unlikely(got < want)) {
            pair_put(pair, index, got, owner, &tally);
            worker->total.alloc_fail++;
            break;
        }
        write_frame(
            worker, station, frame, batch, i, index,
            frame_identity(station->sender, station->flow, station->sequence[station->flow]++));
        station->flow = station->flow + 1 == config->flows ? 0 : station->flow + 1;
        station->size = station->size + 1 == config->sizes ? 0 : station->size + 1;
    }
    if (n)
        ledger_pool(pair, &tally, owner);
    if (!i)
        return moved;
    batch->first = 0;
    batch->count = i;
    worker->generated += i;
    if (config->limit && worker->generated >= config->limit)
        worker->generating = false;
    return moved + traffic_flush(worker, station);
}
