/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side. Every descriptor that reaches the ring satisfies the limits of descriptors 3: what
 * would raise an MDD event is refused here, counted by reason, and its buffers are given back. */
#include <errno.h>

#include "driver/send.h"

/* Reap when this many descriptors wait: late enough that the device has left their cache lines, early
 * enough that buffers come back warm. */
#define CLEAN_BACKLOG 64

enum outcome { POSTED, REFUSED, FULL };

/* Tallies of one call, kept on its stack; small, so that clearing them costs nothing. */
struct tx_tally {
    uint32_t posted, posted_bytes, doorbells;
    uint32_t busy, stops;
    uint32_t refused_short, refused_long, refused_segments, refused_handle;
    struct pool_tally pool;
};

struct reaped {
    uint64_t packets, bytes;
    uint32_t restarts;
    struct pool_tally pool;
};

struct group { /* packets since the last report-status request */
    uint32_t packets;
    uint32_t bytes;
};

/* What others noted for the holder of the send side, into an open block. */
static inline void add_others(struct pair *pair)
{
    struct sq_counters *sq = pair->sq;

    if (unlikely(__atomic_load_n(&pair->hangs_seen, __ATOMIC_RELAXED)))
        block_add(&sq->hangs, __atomic_exchange_n(&pair->hangs_seen, 0, __ATOMIC_RELAXED));
    if (unlikely(__atomic_load_n(&pair->given_up, __ATOMIC_RELAXED)))
        block_add(&sq->refused_full, __atomic_exchange_n(&pair->given_up, 0, __ATOMIC_RELAXED));
}

static void ledger_send(struct pair *pair, const struct tx_tally *tally)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    block_add(&sq->posted, tally->posted);
    block_add(&sq->posted_bytes, tally->posted_bytes);
    block_add(&sq->doorbells, tally->doorbells);
    if (unlikely(tally->busy | tally->stops)) {
        block_add(&sq->busy, tally->busy);
        block_add(&sq->stops, tally->stops);
    }
    if (unlikely(tally->refused_short | tally->refused_long | tally->refused_segments |
                 tally->refused_handle)) {
        block_add(&sq->refused_short, tally->refused_short);
        block_add(&sq->refused_long, tally->refused_long);
        block_add(&sq->refused_segments, tally->refused_segments);
        block_add(&sq->refused_handle, tally->refused_handle);
    }
    add_others(pair);
    block_close(&sq->seq, next);
}

static void ledger_reaped(struct pair *pair, const struct reaped *reaped, uint32_t lost)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    if (likely(reaped->packets)) {
        block_add(&sq->packets, reaped->packets);
        block_add(&sq->bytes, reaped->bytes);
        block_add(&sq->cleans, 1);
    }
    if (unlikely(reaped->restarts | lost)) {
        block_add(&sq->restarts, reaped->restarts);
        block_add(&sq->drop_reset, lost);
    }
    add_others(pair);
    block_close(&sq->seq, next);
}

/* As that for packets posted under one doorbell and nothing else. */
static void ledger_posted(struct pair *pair, struct group group)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    block_add(&sq->posted, group.packets);
    block_add(&sq->posted_bytes, group.bytes);
    block_add(&sq->doorbells, 1);
    add_others(pair);
    block_close(&sq->seq, next);
}

static void set_in_flight(struct pair *pair, uint32_t packets)
{
    __atomic_store_n(&pair->in_flight, packets, __ATOMIC_RELAXED);
}

/* Gives the buffers of n slots from tx_clean on back. */
static void return_slots(struct pair *pair, uint32_t n, bool owner, struct pool_tally *tally)
{
    uint32_t run = pair->tx_entries - pair->tx_clean;

    run = n < run ? n : run;
    pair_put(pair, pair->tx_sw + pair->tx_clean, run, owner, tally);
    if (n > run)
        pair_put(pair, pair->tx_sw, n - run, owner, tally);
    pair->tx_clean += n;
    if (pair->tx_clean >= pair->tx_entries)
        pair->tx_clean -= pair->tx_entries;
    pair->tx_free += n;
}

static uint32_t clean(struct pair *pair, bool owner, struct reaped *reaped)
{
    uint32_t packets = 0;
    uint32_t end = 0;
    uint32_t slots;

    while (pair->rs_count) {
        const struct rs_point *point = &pair->rs[pair->rs_head];
        uint64_t qw1 = __atomic_load_n(&pair->tx_ring[point->end].qw1, __ATOMIC_ACQUIRE);

        /* Anything but "done" is a request that still waits, also when the device wrote nonsense. */
        if ((qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DONE)
            break;
        end = point->end;
        packets += point->packets;
        reaped->bytes += point->bytes;
        pair->rs_head = pair->rs_head + 1 == pair->tx_entries ? 0 : pair->rs_head + 1;
        pair->rs_count--;
    }
    if (!packets)
        return 0;
    slots = end + 1 + (end < pair->tx_clean ? pair->tx_entries : 0) - pair->tx_clean;
    return_slots(pair, slots, owner, &reaped->pool);
    set_in_flight(pair, pair->in_flight - packets);
    reaped->packets += packets;
    if (pair->stopped && pair->tx_free >= pair->tx_entries / 4) {
        pair->stopped = 0;
        reaped->restarts++;
    }
    return packets;
}

uint32_t scalar_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes)
{
    return scalar_send_at(pair, 0, handles, n, bytes, 0);
}

uint32_t scalar_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n,
                             uint32_t *bytes)
{
    return scalar_send_at(pair, 0, handles, n, bytes, 1);
}

static void advance(struct pair *pair, uint32_t slots)
{
    pair->tx_next += slots;
    if (pair->tx_next >= pair->tx_entries)
        pair->tx_next -= pair->tx_entries;
    pair->tx_free -= slots;
}

/* Notes that descriptor `end`, the last one written, asks for a report. */
static inline void ask_report(struct pair *pair, uint32_t end, struct group group)
{
    uint32_t tail = pair->rs_tail;

    pair->rs[tail] = (struct rs_point){end, group.packets, group.bytes};
    pair->rs_tail = tail + 1 == pair->tx_entries ? 0 : tail + 1;
    pair->rs_count++;
    set_in_flight(pair, pair->in_flight + group.packets);
}

/* Asks for the report on the last descriptor written; the device has not seen it yet. */
static void close_group(struct pair *pair, struct group *group, struct tx_tally *tally)
{
    uint32_t end = (pair->tx_next ? pair->tx_next : pair->tx_entries) - 1;

    if (!group->packets)
        return;
    pair->tx_ring[end].qw1 |= TXD_RS;
    ask_report(pair, end, *group);
    tally->posted += group->packets;
    tally->posted_bytes += group->bytes;
    *group = (struct group){0};
}

static void refund(struct pair *pair, uint64_t handle, bool owner, bool checked,
                   struct pool_tally *tally)
{
    uint32_t index = handle_index(handle);

    if (index < pair->pool->count && (!checked || pool_claim(pair->pool, index)))
        pair_put(pair, &index, 1, owner, tally);
}

/* Which limit a packet breaks; NULL when none. */
static uint32_t *limit_of(const struct pair *pair, const uint64_t *part, uint32_t parts,
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

/* One packet that the tight loop did not take: chain of up to five, or something to refuse. */
static enum outcome post_odd(struct pair *pair, uint64_t first, const uint64_t *row,
                             uint32_t segments, struct group *group, bool owner, bool checked,
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
        write_slot(pair, pair->tx_next, part[i],
                   i + 1 == parts ? TXD_COMMAND | TXD_EOP : TXD_COMMAND);
        group->bytes += handle_length(part[i]);
        advance(pair, 1);
    }
    group->packets++;
    return POSTED;
}

static uint32_t leading_singles(const uint8_t *segments, uint32_t n)
{
    uint32_t i = 0;

    while (i < n && segments[i] == 1)
        i++;
    return i;
}

/* From packet `done` on, after the group that was written already. */
static uint32_t post(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                     const uint8_t *segments, uint32_t done, uint32_t n, struct group group,
                     uint32_t *refused, bool owner, struct tx_tally *tally, bool checked)
{
    while (done < n) {
        uint32_t room = pair->tx_entries - pair->tx_next;
        uint32_t want = n - done;
        uint32_t got, singles;

        room = pair->tx_free < room ? pair->tx_free : room;
        want = want < room ? want : room;
        room = RS_SPACING - group.packets;
        want = want < room ? want : room;
        singles = segments ? leading_singles(segments + done, want) : want;
        got = pair->tx_post[checked](pair, handles + done, singles, &group.bytes);
        advance(pair, got);
        group.packets += got;
        done += got;
        if (unlikely(got < want || !want)) {
            enum outcome outcome =
                post_odd(pair, handles[done], chain ? chain + (size_t)CHAIN_ROW * done : NULL,
                         segments ? segments[done] : 1, &group, owner, checked, tally);

            if (outcome == FULL)
                break;
            *refused += outcome == REFUSED;
            done++;
        }
        if (group.packets >= RS_SPACING)
            close_group(pair, &group, tally);
    }
    close_group(pair, &group, tally);
    return done;
}

/* All there is to a send, after `first` packets that were written already. */
static __attribute__((noinline)) uint32_t post_any(struct pair *pair, const uint64_t *handles,
                                                   const uint64_t *chain, const uint8_t *segments,
                                                   uint32_t n, struct group first,
                                                   uint32_t *refused, bool owner, bool checked)
{
    struct tx_tally tally = {0};
    uint32_t done = post(pair, handles, chain, segments, first.packets, n, first, refused, owner,
                         &tally, checked);

    if (tally.posted) {
        doorbell(pair, pair->tx_tail, REG_QTX_TAIL1, pair->tx_next);
        tally.doorbells = 1;
    }
    tally.busy = done < n;
    if (!pair->stopped && (done < n || pair->tx_free < TX_RESERVE)) {
        pair->stopped = 1;
        tally.stops = 1;
    }
    if (likely(tally.posted | tally.busy | tally.stops | *refused))
        ledger_send(pair, &tally);
    if (tally.pool.cached | tally.pool.ring)
        ledger_pool(pair, &tally.pool, owner);
    return done;
}

uint32_t send_post(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                   const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner, bool checked)
{
    const uint32_t entries = pair->tx_entries;
    const uint32_t slot = pair->tx_next;
    struct group group = {0};
    uint32_t end;

    *refused = 0;
    if (entries - 1 - pair->tx_free >= CLEAN_BACKLOG || pair->tx_free < n + TX_RESERVE)
        send_clean(pair, owner);
    if (unlikely(segments || n - 1 >= RS_SPACING || n > entries - slot ||
                 pair->tx_free < n + TX_RESERVE))
        return post_any(pair, handles, chain, segments, n, group, refused, owner, checked);
    group.packets = pair->tx_post[checked](pair, handles, n, &group.bytes);
    if (unlikely(group.packets < n)) {
        advance(pair, group.packets);
        return post_any(pair, handles, chain, segments, n, group, refused, owner, checked);
    }
    end = slot + n;
    pair->tx_next = end == entries ? 0 : end;
    pair->tx_free -= n;
    /* Written anew: what vector code wrote a moment ago is slow to be read in part. */
    pair->tx_ring[end - 1].qw1 = TXD_COMMAND | TXD_EOP | TXD_RS |
                                 (uint64_t)handle_length(handles[n - 1]) << TXD_BUF_SZ_SHIFT;
    ask_report(pair, end - 1, group);
    doorbell(pair, pair->tx_tail, REG_QTX_TAIL1, pair->tx_next);
    ledger_posted(pair, group);
    return n;
}

uint32_t send_clean(struct pair *pair, bool owner)
{
    struct reaped reaped = {0};
    uint32_t packets = clean(pair, owner, &reaped);

    if (packets) {
        ledger_reaped(pair, &reaped, 0);
        ledger_pool(pair, &reaped.pool, owner);
    }
    return packets;
}

/* After the device has let go of the ring: what it reported is complete, the rest is lost. */
void send_drain(struct pair *pair)
{
    struct reaped reaped = {0};
    bool owner = pair_own_cache(pair);
    uint32_t lost;

    clean(pair, owner, &reaped);
    lost = pair->in_flight;
    return_slots(pair, pair->tx_entries - 1 - pair->tx_free, owner, &reaped.pool);
    if (pair->stopped) {
        pair->stopped = 0;
        reaped.restarts++;
    }
    pair->tx_next = pair->tx_clean = 0;
    pair->rs_head = pair->rs_tail = pair->rs_count = 0;
    set_in_flight(pair, 0);
    ledger_reaped(pair, &reaped, lost);
    ledger_pool(pair, &reaped.pool, owner);
    pair_disown_cache(pair, owner);
}
