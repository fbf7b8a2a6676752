/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver/capture/capture.h"
#include "driver/capture/filter.h"
#include "driver/capture/whole.h"
#include "driver/clock.h"

#define BURST 256u
#define ENHANCED_PACKET 6u
#define SPINS 64u /* empty rounds before it sleeps */
#define NAP_NS 50000 /* between looks at several queues */
#define SLICE_NS (20 * NS_PER_MS) /* longest sleep on one interrupt */

struct
    packet_block { /* what stands before the frame; its whole length stands once more behind it */
    uint32_t type, total, interface, time_high, time_low, captured, length;
};

struct capture {
    struct capture_config config;
    struct capture_counts counts;
    struct columns columns;
    uint64_t handles[BURST], chain[BURST * CHAIN_ROW];
    uint8_t segments[BURST], flags[BURST];
    uint16_t vlan[BURST];
    uint8_t whole[]; /* a frame in one piece, with its tag */
};

struct sheet { /* the part of the buffer that is left */
    uint8_t *at;
    uint64_t left;
};

struct capture *capture_new(const struct capture_config *config, int *error)
{
    struct capture *capture = NULL;

    *error = -EINVAL;
    if (!config->pairs || config->pairs > CAPTURE_PAIRS || !config->snaplen)
        return NULL;
    *error = -ENOMEM;
    capture = calloc(1, sizeof(*capture) + config->max_frame + TAG_BYTES);
    if (!capture)
        return NULL;
    *error = 0;
    capture->config = *config;
    capture->columns = (struct columns){
        .handles = capture->handles,
        .chain = capture->chain,
        .segments = capture->segments,
        .flags = config->tag_type ? capture->flags : NULL,
        .vlan = config->tag_type ? capture->vlan : NULL,
    };
    return capture;
}

void capture_free(struct capture *capture)
{
    free(capture);
}

void capture_rebind(struct capture *capture, uint32_t number, struct queue_pair *pair)
{
    if (number < capture->config.pairs)
        capture->config.pair[number] = pair;
}

const struct capture_counts *capture_counts(const struct capture *capture)
{
    return &capture->counts;
}

static uint32_t padded(uint32_t length)
{
    return (length + 3) & ~3u;
}

/* What the longest frame takes. */
static uint64_t longest_block(const struct capture *capture)
{
    uint32_t frame = capture->config.max_frame + TAG_BYTES;
    uint32_t kept = frame < capture->config.snaplen ? frame : capture->config.snaplen;

    return sizeof(struct packet_block) + padded(kept) + sizeof(uint32_t);
}

uint64_t capture_least(const struct capture *capture)
{
    return longest_block(capture);
}

static void count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* ---- a frame ---- */

static void write_block(struct sheet *sheet, uint64_t now, const uint8_t *frame, uint32_t kept,
                        uint32_t length)
{
    struct packet_block block = {
        .type = ENHANCED_PACKET,
        .total = (uint32_t)(sizeof(block) + padded(kept) + sizeof(uint32_t)),
        .time_high = (uint32_t)(now >> 32),
        .time_low = (uint32_t)now,
        .captured = kept,
        .length = length,
    };
    uint8_t *data = sheet->at + sizeof(block);

    memcpy(sheet->at, &block, sizeof(block));
    memset(data + padded(kept) - 4 * (kept > 0), 0, kept ? 4 : 0);
    memcpy(data, frame, kept);
    memcpy(data + padded(kept), &block.total, sizeof(block.total));
    sheet->at += block.total;
    sheet->left -= block.total;
}

/* ---- a burst ---- */

static void write_burst(struct capture *capture, struct queue_pair *pair, uint32_t n,
                        struct sheet *sheet)
{
    const struct capture_config *config = &capture->config;
    const struct pool *pool = pair->pool;
    struct columns columns = capture->columns;
    struct capture_counts more = {.received = n};
    uint64_t now = wall_clock();

    if (!pair->scattered)
        columns.chain = NULL, columns.segments = NULL;
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(pool_data(pool, capture->handles[i]));
    for (uint32_t i = 0; i < n; i++) {
        struct whole whole;
        const uint8_t *frame;
        uint32_t length, kept;

        whole_of(&whole, pool, &columns, i, config->tag_type, config->max_frame);
        frame = whole_frame(&whole, capture->whole);
        length = whole.length;
        more.bytes += length;
        if (config->filter && !filter_run(config->filter, frame, length, length))
            continue;
        kept = length < config->snaplen ? length : config->snaplen;
        more.taken++;
        more.cut += kept < length;
        more.tagged += whole.tagged;
        write_block(sheet, now, frame, kept, length);
    }
    count(&capture->counts.received, more.received);
    count(&capture->counts.bytes, more.bytes);
    count(&capture->counts.taken, more.taken);
    count(&capture->counts.cut, more.cut);
    count(&capture->counts.tagged, more.tagged);
    pair_release_chains(pair, columns.handles, columns.chain, columns.segments, n);
}

/* ---- waiting ---- */

/* Sleeps a little, and no longer than `left`; with one queue on its interrupt. Returns frames, or a negative errno. */
static int doze(struct capture *capture, uint32_t max, uint64_t left)
{
    uint64_t slice = left < SLICE_NS ? left : SLICE_NS;
    struct timespec nap = {.tv_nsec = (long)(left < NAP_NS ? left : NAP_NS)};
    int got = 0;

    if (capture->config.pairs == 1)
        got = pair_recv_wait(capture->config.pair[0], &capture->columns, max, (int64_t)slice);
    else
        nanosleep(&nap, NULL);
    return got == -EINTR ? 0 : got;
}

/* How many frames may come now: as many as the buffer and the limit leave room for. */
static uint32_t room(const struct capture *capture, const struct sheet *sheet)
{
    uint64_t max = sheet->left / longest_block(capture), limit = capture->config.limit;

    if (limit && limit - capture->counts.taken < max)
        max = limit - capture->counts.taken;
    return max < BURST ? (uint32_t)max : BURST;
}

/* A look at each queue: how many frames came, or a negative errno. */
static int look(struct capture *capture, struct sheet *sheet)
{
    int found = 0;

    for (uint32_t i = 0; i < capture->config.pairs; i++) {
        uint32_t max = room(capture, sheet);
        int got;

        if (!max)
            break;
        got = pair_recv(capture->config.pair[i], &capture->columns, max);
        if (got < 0)
            return got;
        if (got)
            write_burst(capture, capture->config.pair[i], (uint32_t)got, sheet);
        found += got;
    }
    return found;
}

int64_t capture_fill(struct capture *capture, uint8_t *buffer, uint64_t size, uint64_t deadline_ns,
                     int prompt)
{
    struct sheet sheet = {.at = buffer, .left = size};
    uint32_t empty = 0, max;
    int got = 0;

    while ((max = room(capture, &sheet))) {
        uint64_t now;

        got = look(capture, &sheet);
        if (got < 0)
            break;
        if (got) {
            empty = 0;
            if (clock_ns() >= deadline_ns)
                break;
            continue;
        }
        if (prompt && sheet.at != buffer)
            break;
        now = clock_ns();
        if (now >= deadline_ns)
            break;
        if (++empty < SPINS) {
            cpu_relax();
            continue;
        }
        got = doze(capture, max, deadline_ns - now);
        if (got < 0)
            break;
        if (got)
            write_burst(capture, capture->config.pair[0], (uint32_t)got, &sheet);
    }
    return got < 0 && sheet.at == buffer ? got : sheet.at - buffer;
}
