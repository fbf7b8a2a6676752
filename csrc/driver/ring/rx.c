/* SPDX-License-Identifier: BSD-3-Clause */
/* What all receive functions share: descriptors that their tight loops do not take, chains, the ends of a
 * poll that are not the usual one. */
#include "driver/clock.h"
#include "driver/ring/buffers.h"
#include "driver/ring/doorbell.h"
#include "driver/ring/guard.h"
#include "driver/ring/refill.h"
#include "driver/ring/rx.h"

#define MERGE_LOOKS 1000000 /* much longer than another thread merges counts, unless it is dead */

enum rx_result { RX_NOT_DONE, RX_CONSUMED, RX_DELIVERED };

static void drop_chained(struct queue_pair *pair, bool owner, struct rx_tally *tally)
{
    for (uint32_t i = 0; i < pair->chained; i++) {
        uint32_t index = handle_index(pair->chain[i]);

        buffers_put(pair, &index, 1, owner, &tally->pool);
    }
    pair->chained = 0;
    pair->chained_bytes = 0;
}

static void use_format(struct queue_pair *pair, uint32_t flex)
{
    if (metadata_format(pair, flex)) {
        rx_use(pair);
        metadata_constants(pair);
    }
}

void rx_expect(struct queue_pair *pair)
{
    if (pair->flex != pair->flex_asked)
        use_format(pair, pair->flex_asked);
    for (int i = 0; i < MERGE_LOOKS && !rx_counters_packets(pair, &pair->packets_at_arm); i++)
        cpu_relax();
    __atomic_store_n(&pair->stray_rxdid, 0, __ATOMIC_RELAXED);
}

/* A write-back that can only be a legacy one: its first bytes, where a profile stands in all others, are
 * zero, and its length is one that a packet can have. */
static bool looks_legacy(const struct queue_pair *pair, const struct writeback *w)
{
    uint32_t length = writeback_length(w, FORMAT_LEGACY);

    return !(w->qw0 & 0xffff) && !(w->qw1 & RXL_SPH) && length && length <= pair->buffer_size;
}

/* The device writes another profile than the one that was asked for: that is remembered. When this is the
 * queue's first packet, and the layout is known, the device means it, and what comes is read like that from now
 * on (docs/spec/descriptors.md 7). */
static void meet_profile(struct queue_pair *pair, const struct writeback *w,
                         const struct rx_tally *tally)
{
    uint32_t came = (uint32_t)(w->qw0 & RXF_RXDID_MASK);
    uint64_t packets;

    __atomic_store_n(&pair->stray_rxdid, came + 1, __ATOMIC_RELAXED);
    if (tally->packets || pair->chained)
        return;
    if (!rx_counters_packets(pair, &packets) || packets != pair->packets_at_arm)
        return;
    if (came > RXDID_LEGACY_32B ? !(w->qw0 & RXF_SPH) : !came && looks_legacy(pair, w))
        use_format(pair, came);
}

/* Whether a write-back that cannot be a legacy one has a profile where legacy ones have zeros, or the number of
 * the rule that mirrored a packet. Only what is wrong as a legacy one is looked at: good ones cost nothing. */
static bool has_profile(const struct writeback *w)
{
    uint64_t umbcast = w->qw1 >> RXL_UMBCAST_SHIFT & RXL_UMBCAST_MASK;

    return umbcast != RX_MIRRORED && (w->qw0 & RXF_RXDID_MASK) > RXDID_LEGACY_32B;
}

/* Which counter says why this descriptor, or the chain that it belongs to, is no packet; NULL when nothing
 * is wrong with it. */
static uint32_t *fault_of(const struct queue_pair *pair, const struct writeback *w, uint32_t length,
                          bool eop, struct rx_tally *tally)
{
    bool legacy = pair->format == FORMAT_LEGACY;
    bool rxe = legacy ? w->qw1 & RXL_RXE : w->qw1 & RXF_RXE;

    if (legacy ? !!(w->qw1 & RXL_SPH) : (w->qw0 & (RXF_RXDID_MASK | RXF_SPH)) != pair->flex)
        return &tally->drop_malformed;
    if (eop && rxe) /* valid with EOP only (docs/spec/descriptors.md 8) */
        return &tally->drop_error;
    if (length > pair->buffer_size)
        return &tally->drop_oversize;
    /* An empty last segment can be: the CRC was removed from a buffer of its own. */
    if (!length && !(eop && pair->chained))
        return &tally->drop_malformed;
    if (!eop && !pair->scattered)
        return &tally->drop_chain;
    if (pair->chained + (length != 0) > CHAIN_MAX || (!eop && pair->chained + 1 == CHAIN_MAX))
        return &tally->drop_chain;
    if (pair->chained_bytes + length > pair->max_frame)
        return &tally->drop_oversize;
    return NULL;
}

static void deliver(struct queue_pair *pair, const struct columns *c, uint32_t row,
                    const struct writeback *w, bool mark)
{
    c->handles[row] = pair->chain[0];
    for (uint32_t i = 1; i < pair->chained; i++)
        c->chain[(size_t)CHAIN_ROW * row + i - 1] = pair->chain[i];
    if (c->segments)
        c->segments[row] = (uint8_t)pair->chained;
    if (mark)
        for (uint32_t i = 0; i < pair->chained; i++)
            pool_hold(pair->pool, handle_index(pair->chain[i]));
    switch (pair->format) {
    case FORMAT_LEGACY:
        metadata_fill(pair, c, row, w, FORMAT_LEGACY, METADATA_ALL);
        break;
    case FORMAT_FLEX:
        metadata_fill(pair, c, row, w, FORMAT_FLEX, METADATA_ALL);
        break;
    case FORMAT_FLEX_OVS:
        metadata_fill(pair, c, row, w, FORMAT_FLEX_OVS, METADATA_ALL);
        break;
    }
    pair->chained = 0;
    pair->chained_bytes = 0;
}

/* Takes one descriptor that a tight loop does not take: part of a chain, an error, or nonsense. */
static enum rx_result take_one(struct queue_pair *pair, const struct columns *c, uint32_t row,
                               bool owner, bool mark, struct rx_tally *tally)
{
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    uint32_t index = pair->rx_sw[pair->rx_next];
    struct writeback w;
    uint32_t length, frame, *fault;
    bool eop;

    w.qw1 = writeback_status(desc);
    if (!(w.qw1 & RXL_DD))
        return RX_NOT_DONE;
    w.qw0 = writeback_word(&desc->qw0);
    w.qw2 = writeback_word(&desc->qw2);
    w.qw3 = writeback_word(&desc->qw3);
    rx_step(pair, 1);
    eop = w.qw1 & RXL_EOP;
    tally->fragments += !eop;
    if (pair->skipping) {
        pair->skipping = !eop;
        buffers_put(pair, &index, 1, owner, &tally->pool);
        return RX_CONSUMED;
    }
    if (pair->format != FORMAT_LEGACY && unlikely((w.qw0 & RXF_RXDID_MASK) != pair->flex))
        meet_profile(pair, &w, tally);
    length = writeback_length(&w, (int)pair->format);
    fault = fault_of(pair, &w, length, eop, tally);
    if (unlikely(fault && pair->format == FORMAT_LEGACY && has_profile(&w))) {
        meet_profile(pair, &w, tally);
        length = writeback_length(&w, (int)pair->format);
        fault = pair->format == FORMAT_LEGACY ? &tally->drop_malformed
                                              : fault_of(pair, &w, length, eop, tally);
    }
    if (fault) {
        ++*fault;
        buffers_put(pair, &index, 1, owner, &tally->pool);
        drop_chained(pair, owner, tally);
        pair->skipping = !eop;
        return RX_CONSUMED;
    }
    if (length)
        pair->chain[pair->chained++] = handle_make(index, pair->headroom, length);
    else
        buffers_put(pair, &index, 1, owner, &tally->pool);
    pair->chained_bytes += length;
    if (!eop)
        return RX_CONSUMED;
    frame = pair->chained_bytes;
    deliver(pair, c, row, &w, mark);
    tally->packets++;
    tally->bytes += frame;
    return RX_DELIVERED;
}

/* Refills when a batch of slots is empty, then counts. */
static void refill_and_count(struct queue_pair *pair, bool owner, struct rx_tally *tally)
{
    if (refill_missing(pair) >= REFILL_BATCH && refill_ring(pair, owner, tally))
        doorbell_rx(pair);
    rx_counters_add(pair, tally, owner);
}

uint32_t rx_idle(struct queue_pair *pair, bool owner)
{
    struct rx_tally tally;

    if (likely(owner && refill_missing(pair) < REFILL_BATCH)) {
        rx_counters_idle(pair);
        return 0;
    }
    tally = (struct rx_tally){.polls = 1, .empty_polls = 1};
    refill_and_count(pair, owner, &tally);
    return 0;
}

uint32_t rx_slowly(struct queue_pair *pair, struct run run, bool owner)
{
    struct rx_tally tally = {.packets = run.count, .bytes = run.bytes, .polls = 1};

    refill_and_count(pair, owner, &tally);
    return run.count;
}

uint32_t rx_merge(struct queue_pair *pair, uint32_t count)
{
    rx_counters_merge(pair);
    return count;
}

uint32_t rx_rest(struct queue_pair *pair, const struct columns *c, struct run first, uint32_t max,
                 enum rx_flags flags)
{
    bool owner = flags & RX_OWNER, mark = flags & RX_MARK;
    struct rx_tally tally = {.packets = first.count, .bytes = first.bytes, .polls = 1};
    uint32_t row = first.count;

    while (row < max && pair->rx_left) {
        uint32_t n = rx_straight(pair, max - row);

        if (!pair->chained && !pair->skipping) {
            struct run got = pair->rx_paths.run[mark](pair, c, row, n);

            rx_singles(c, row, got.count);
            rx_step(pair, got.count);
            row += got.count;
            tally.packets += got.count;
            tally.bytes += got.bytes;
            if (got.count == n)
                continue;
        }
        switch (take_one(pair, c, row, owner, mark, &tally)) {
        case RX_DELIVERED:
            row++;
            continue;
        case RX_CONSUMED:
            continue;
        case RX_NOT_DONE:
            break;
        }
        break;
    }
    tally.empty_polls = !row;
    refill_and_count(pair, owner, &tally);
    return row;
}

/* Packets that the device had finished in its slots; each ends with EOP. A packet that it had only begun
 * counts too. */
static uint32_t count_undelivered(struct queue_pair *pair)
{
    bool partial = pair->chained;
    uint32_t lost = 0;
    uint32_t slot = pair->rx_next;

    for (uint32_t i = 0; i < pair->rx_left; i++) {
        uint64_t status = writeback_status(pair->rx_ring + slot);

        if (!(status & RXL_DD))
            break;
        if (!(status & RXL_EOP)) {
            partial = !pair->skipping;
        } else {
            lost += !pair->skipping; /* a packet that is skipped was counted before */
            pair->skipping = false;
            partial = false;
        }
        slot = slot + 1 == pair->rx_entries ? 0 : slot + 1;
    }
    return lost + partial;
}

void rx_drain(struct queue_pair *pair)
{
    struct rx_tally tally = {0};
    bool owner;

    if (!pair->rx_filled)
        return;
    owner = guard_own_cache(pair);
    tally.drop_reset = count_undelivered(pair);
    /* The slot under the tail holds a buffer too, beside those that the device owned. */
    for (uint32_t i = 0; i < pair->rx_left + 1; i++) {
        buffers_put(pair, &pair->rx_sw[pair->rx_next], 1, owner, &tally.pool);
        pair->rx_next = pair->rx_next + 1 == pair->rx_entries ? 0 : pair->rx_next + 1;
    }
    drop_chained(pair, owner, &tally);
    pair->skipping = false;
    pair->rx_filled = false;
    pair->rx_left = 0;
    rx_counters_add(pair, &tally, owner);
    guard_disown_cache(pair, owner);
}
