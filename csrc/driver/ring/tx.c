/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side. Every descriptor that reaches the ring satisfies the limits of descriptors 3: what
 * would raise an MDD event is refused here, counted by reason, and its buffers are given back. */
#include <errno.h>

#include "driver/simd/tx_loop.h"

enum outcome { POSTED, REFUSED, FULL };

/* Tallies of one call, kept on its stack; small, so that clearing them costs nothing. */
struct tx_tally {
    uint32_t posted, posted_bytes, doorbells;
    uint32_t busy, stops;
    uint32_t refused_short, refused_long, refused_segments, refused_handle;
    struct pool_tally pool;
};

struct reaped {
    uint32_t packets, bytes; /* of a ring at most */
    uint32_t restarts;
    struct pool_tally pool;
};

/* What others noted for the holder of the send side, into an open block. */
static void add_others(struct pair *pair)
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

static void set_in_flight(struct pair *pair, uint32_t packets)
{
    __atomic_store_n(&pair->in_flight, packets, __ATOMIC_RELAXED);
}

/* Gives the buffers of n slots from tx_clean on back. */
static void return_slots(struct pair *pair, uint32_t n, bool owner, struct pool_tally *tally)
{
    uint32_t from = pair->tx_clean;
    uint32_t run = pair->tx_entries - from;

    pair->tx_free += n;
    if (likely(n < run)) {
        pair->tx_clean = from + n;
        pair_put(pair, pair->tx_sw + from, n, owner, tally);
        return;
    }
    pair->tx_clean = n - run;
    pair_put(pair, pair->tx_sw + from, run, owner, tally);
    if (n > run)
        pair_put(pair, pair->tx_sw, n - run, owner, tally);
}

static uint32_t clean(struct pair *pair, bool owner, struct reaped *reaped)
{
    const struct tx_desc *ring = pair->tx_ring;
    const uint32_t entries = pair->tx_entries;
    const uint32_t tail = pair->rs_tail;
    uint32_t head = pair->rs_head;
    uint32_t packets = 0, bytes = 0, end = 0;

    while (head != tail) {
        rs_point point = pair->rs[head];
        uint64_t qw1 = __atomic_load_n(&ring[rs_end(point)].qw1, __ATOMIC_ACQUIRE);

        /* Anything but "done" is a request that still waits, also when the device wrote nonsense. */
        if ((qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DONE)
            break;
        end = rs_end(point);
        packets += rs_packets(point);
        bytes += rs_bytes(point);
        head = head + 1 == entries ? 0 : head + 1;
    }
    if (!packets)
        return 0;
    pair->rs_head = head;
    reaped->packets = packets;
    reaped->bytes = bytes;
    return_slots(pair, end + 1 + (end < pair->tx_clean ? entries : 0) - pair->tx_clean, owner,
                 &reaped->pool);
    set_in_flight(pair, pair->in_flight - packets);
    if (unlikely(pair->stopped && pair->tx_free >= entries / 4)) {
        pair->stopped = 0;
        reaped->restarts++;
    }
    return packets;
}

INLINE struct run scalar_send_run(struct pair *pair, const uint64_t *handles, uint32_t n,
                                  const int checked)
{
    return scalar_send_at(pair, 0, handles, n, checked);
}

SEND_ALL(scalar, 1)

static void advance(struct pair *pair, uint32_t slots)
{
    pair->tx_next += slots;
    if (pair->tx_next >= pair->tx_entries)
        pair->tx_next -= pair->tx_entries;
    pair->tx_free -= slots;
}

/* Asks for the report on the last descriptor written; the device has not seen it yet. */
static void close_group(struct pair *pair, struct run *group, struct tx_tally *tally)
{
    uint32_t end = (pair->tx_next ? pair->tx_next : pair->tx_entries) - 1;

    if (!group->count)
        return;
    pair->tx_ring[end].qw1 |= TXD_RS;
    ask_report(pair, end, *group);
    tally->posted += group->count;
    tally->posted_bytes += (uint32_t)group->bytes;
    *group = (struct run){0};
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
        write_slot(pair, pair->tx_next, part[i],
                   i + 1 == parts ? TXD_COMMAND | TXD_EOP : TXD_COMMAND);
        group->bytes += handle_length(part[i]);
        advance(pair, 1);
    }
    group->count++;
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
        got = pair->send.post[checked](pair, handles + done, singles);
        advance(pair, got.count);
        group.count += got.count;
        group.bytes += got.bytes;
        done += got.count;
        if (unlikely(got.count < want || !want)) {
            enum outcome outcome =
                post_odd(pair, handles[done], chain ? chain + (size_t)CHAIN_ROW * done : NULL,
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

struct run send_note(struct pair *pair, struct run run)
{
    uint64_t next = block_open(&pair->sq->seq);

    add_others(pair);
    block_close(&pair->sq->seq, next);
    return run;
}

uint32_t send_rest(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                   const uint8_t *segments, uint32_t n, struct run first, uint32_t *refused,
                   bool owner, bool checked)
{
    struct tx_tally tally = {0};
    uint32_t done;

    advance(pair, first.count);
    done = post(pair, handles, chain, segments, first.count, n, first, refused, owner, &tally,
                checked);
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

uint32_t send_any(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                  const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner, bool checked)
{
    struct run run = {0};

    *refused = 0;
    if (pair->tx_free < pair->tx_roomy || pair->tx_free < n + TX_RESERVE)
        send_clean(pair, owner);
    if (likely(!segments && pair->tx_tail && n - 1 < RS_SPACING &&
               n <= pair->tx_entries - pair->tx_next && pair->tx_free >= n + TX_RESERVE)) {
        run = pair->send.burst[checked](pair, handles, n);
        if (likely(run.count == n))
            return n;
    }
    return send_rest(pair, handles, chain, segments, n, run, refused, owner, checked);
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
    pair->rs_head = pair->rs_tail = 0;
    set_in_flight(pair, 0);
    ledger_reaped(pair, &reaped, lost);
    ledger_pool(pair, &reaped.pool, owner);
    pair_disown_cache(pair, owner);
}
