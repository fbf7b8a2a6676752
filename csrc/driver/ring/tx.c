/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending whatever a burst function does not take: chains, more than one burst, packets to refuse. */
#include "driver/ring/buffers.h"
#include "driver/ring/doorbell.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx.h"
#include "driver/ring/tx_clean.h"
#include "driver/ring/tx_counters.h"
#include "driver/ring/tx_report.h"

enum outcome { POSTED, REFUSED, FULL };

static void advance(struct queue_pair *pair, uint32_t slots)
{
    pair->tx_next += slots;
    if (pair->tx_next >= pair->tx_entries)
        pair->tx_next -= pair->tx_entries;
    pair->tx_free -= slots;
}

/* Asks for a report on the last descriptor written, which the device has not seen yet. */
static void close_group(struct queue_pair *pair, struct run *group, struct tx_tally *tally)
{
    uint32_t end = (pair->tx_next ? pair->tx_next : pair->tx_entries) - 1;

    if (!group->count)
        return;
    pair->tx_ring[end].qw1 |= TXD_RS;
    tx_ask_report(pair, end, *group);
    tally->posted += group->count;
    tally->posted_bytes += (uint32_t)group->bytes;
    *group = (struct run){0};
}

static void refund(struct queue_pair *pair, uint64_t handle, bool owner, bool checked,
                   struct pool_tally *tally)
{
    uint32_t index = handle_index(handle);

    if (index < pair->pool->count && (!checked || pool_claim(pair->pool, index)))
        buffers_put(pair, &index, 1, owner, tally);
}

/* The counter of the limit that a packet breaks; NULL when it breaks none. */
static uint32_t *limit_of(const struct queue_pair *pair, const uint64_t *part, uint32_t parts,
                          struct tx_tally *tally)
{
    uint32_t total = 0;

    for (uint32_t i = 0; i < parts; i++) {
        if (!pool_within(pair->pool, part[i]))
            return &tally->refused_handle;
        if (parts > 1 && !handle_length(part[i]))
            return &tally->refused_segments;
        total += handle_length(part[i]);
    }
    if (total < TX_MIN_FRAME)
        return &tally->refused_short;
    return total > pair->tx_max_frame ? &tally->refused_long : NULL;
}

/* Posts or refuses one packet that the tight loop does not take. */
static enum outcome post_one(struct queue_pair *pair, uint64_t first, const uint64_t *row,
                             uint32_t segments, struct run *group, bool owner, bool checked,
                             struct tx_tally *tally)
{
    uint64_t part[CHAIN_MAX] = {first};
    uint32_t parts = segments > 1 && row ? segments : 1;
    uint32_t claimed = 0;
    uint32_t *limit;

    parts = parts < CHAIN_MAX ? parts : CHAIN_MAX;
    for (uint32_t i = 1; i < parts; i++)
        part[i] = row[i - 1];
    if (parts != segments)
        limit = &tally->refused_segments;
    else
        limit = limit_of(pair, part, parts, tally);
    if (!limit && parts > pair->tx_free)
        return FULL;
    while (!limit && claimed < parts) {
        if (checked && !pool_claim(pair->pool, handle_index(part[claimed])))
            limit = &tally->refused_handle;
        else
            claimed++;
    }
    if (limit) {
        ++*limit;
        for (uint32_t i = 0; i < parts; i++)
            refund(pair, part[i], owner, checked && i >= claimed, &tally->pool);
        return REFUSED;
    }
    for (uint32_t i = 0; i < parts; i++) {
        tx_write_slot(pair, pair->tx_next, part[i],
                      i + 1 == parts ? TXD_COMMAND | TXD_EOP : TXD_COMMAND);
        group->bytes += handle_length(part[i]);
        advance(pair, 1);
    }
    group->count++;
    if (unlikely(__atomic_load_n(&pair->mirror.tx, __ATOMIC_ACQUIRE)))
        pair->mirror.tx_seen(pair, part, parts);
    return POSTED;
}

static uint32_t leading_singles(const uint8_t *segments, uint32_t n)
{
    uint32_t i = 0;

    while (i < n && segments[i] == 1)
        i++;
    return i;
}

/* Posts from packet `done` on, after a group that was written already. */
static uint32_t post(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                     const uint8_t *segments, uint32_t done, uint32_t n, struct run group,
                     uint32_t *refused, bool owner, struct tx_tally *tally, bool checked)
{
    while (done < n) {
        uint32_t room = pair->tx_entries - pair->tx_next;
        uint32_t want = n - done;
        uint32_t singles;
        struct run got;

        room = pair->tx_free < room ? pair->tx_free : room;
        want = want < room ? want : room;
        room = RS_SPACING - group.count;
        want = want < room ? want : room;
        singles = segments ? leading_singles(segments + done, want) : want;
        got = tx_post_of(pair, checked)(pair, handles + done, singles);
        advance(pair, got.count);
        group.count += got.count;
        group.bytes += got.bytes;
        done += got.count;
        if (unlikely(got.count < want || !want)) {
            enum outcome outcome =
                post_one(pair, handles[done], chain ? chain + (size_t)CHAIN_ROW * done : NULL,
                         segments ? segments[done] : 1, &group, owner, checked, tally);

            if (outcome == FULL)
                break;
            *refused += outcome == REFUSED;
            done++;
        }
        if (group.count >= RS_SPACING)
            close_group(pair, &group, tally);
    }
    close_group(pair, &group, tally);
    return done;
}

uint32_t tx_rest(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                 const uint8_t *segments, uint32_t n, struct run first, uint32_t *refused,
                 bool owner, bool checked)
{
    struct tx_tally tally = {0};
    uint32_t done;

    advance(pair, first.count);
    done = post(pair, handles, chain, segments, first.count, n, first, refused, owner, &tally,
                checked);
    if (tally.posted) {
        doorbell_ring(pair, pair->tx_tail, REG_QTX_TAIL1, pair->tx_next);
        tally.doorbells = 1;
    }
    tally.busy = done < n;
    if (!pair->stopped && (done < n || pair->tx_free < TX_RESERVE)) {
        pair->stopped = 1;
        tally.stops = 1;
    }
    if (likely(tally.posted | tally.busy | tally.stops | *refused))
        tx_counters_add(pair, &tally);
    if (tally.pool.cached | tally.pool.ring)
        rx_counters_add_pool(pair, &tally.pool, owner);
    return done;
}

uint32_t tx_any(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner, bool checked)
{
    struct run run = {0};

    *refused = 0;
    if (pair->tx_free < pair->tx_roomy || pair->tx_free < n + TX_RESERVE)
        tx_clean(pair, owner);
    if (likely(!segments && pair->tx_tail && n - 1 < RS_SPACING &&
               n <= pair->tx_entries - pair->tx_next && pair->tx_free >= n + TX_RESERVE)) {
        run = tx_burst_of(pair, checked)(pair, handles, n);
        if (likely(run.count == n))
            return n;
    }
    return tx_rest(pair, handles, chain, segments, n, run, refused, owner, checked);
}
