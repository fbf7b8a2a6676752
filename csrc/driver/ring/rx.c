/* SPDX-License-Identifier: BSD-3-Clause */
/* What all receive functions share: the descriptor that a tight loop does not like, chains, refill. */
#include <errno.h>
#include <string.h>

#include "driver/simd/rx_loop.h"
#include "driver/simd/tx_loop.h"

enum rx_verdict { VERDICT_NONE, VERDICT_CONSUMED, VERDICT_DELIVERED };

static void drop_chained(struct pair *pair, bool owner, struct rx_tally *tally)
{
    for (uint32_t i = 0; i < pair->chained; i++) {
        uint32_t index = handle_index(pair->chain[i]);

        pair_put(pair, &index, 1, owner, &tally->pool);
    }
    pair->chained = 0;
    pair->chained_bytes = 0;
}

/* Why this descriptor, or the chain that it belongs to, is no packet; NULL when nothing is wrong. */
static uint32_t *fault_of(const struct pair *pair, const struct written *w, uint32_t length,
                          bool eop, struct rx_tally *tally)
{
    bool legacy = pair->format == FORMAT_LEGACY;
    bool rxe = legacy ? w->qw1 & RXL_RXE : w->qw1 & RXF_RXE;

    if (legacy ? !!(w->qw1 & RXL_SPH) : (w->qw0 & (RXF_RXDID_MASK | RXF_SPH)) != pair->flex)
        return &tally->drop_malformed;
    if (eop && rxe) /* valid with EOP only (descriptors 8) */
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

static void deliver(struct pair *pair, const struct columns *c, uint32_t row,
                    const struct written *w, bool mark)
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

/* One descriptor that the tight loop did not like. */
static enum rx_verdict receive_odd(struct pair *pair, const struct columns *c, uint32_t row,
                                   bool owner, bool mark, struct rx_tally *tally)
{
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    uint32_t index = pair->rx_sw[pair->rx_next];
    struct written w;
    uint32_t length, frame, *fault;
    bool eop;

    w.qw1 = written_status(desc);
    if (!(w.qw1 & RXL_DD))
        return VERDICT_NONE;
    w.qw0 = written_word(&desc->qw0);
    w.qw2 = written_word(&desc->qw2);
    w.qw3 = written_word(&desc->qw3);
    receive_step(pair, 1);
    eop = w.qw1 & RXL_EOP;
    tally->fragments += !eop;
    if (pair->skipping) {
        pair->skipping = !eop;
        pair_put(pair, &index, 1, owner, &tally->pool);
        return VERDICT_CONSUMED;
    }
    length = written_length(&w, pair->format);
    fault = fault_of(pair, &w, length, eop, tally);
    if (fault) {
        ++*fault;
        pair_put(pair, &index, 1, owner, &tally->pool);
        drop_chained(pair, owner, tally);
        pair->skipping = !eop;
        return VERDICT_CONSUMED;
    }
    if (length)
        pair->chain[pair->chained++] = handle_make(index, pair->headroom, length);
    else
        pair_put(pair, &index, 1, owner, &tally->pool);
    pair->chained_bytes += length;
    if (!eop)
        return VERDICT_CONSUMED;
    frame = pair->chained_bytes;
    deliver(pair, c, row, &w, mark);
    tally->packets++;
    tally->bytes += frame;
    return VERDICT_DELIVERED;
}

static void post(struct pair *pair, const uint32_t *index, uint32_t n)
{
    pair->rx_post(pair, index, n);
    pair->rx_fill += n;
    if (pair->rx_fill == pair->rx_entries)
        pair->rx_fill = 0;
    pair->rx_left += n;
}

/* Refills when a batch of slots is empty, then counts. */
static void refill_and_count(struct pair *pair, bool owner, struct rx_tally *tally)
{
    if (receive_missing(pair) >= REFILL_BATCH && receive_refill(pair, owner, tally))
        receive_doorbell(pair);
    ledger_receive(pair, tally, owner);
}

uint32_t receive_idle(struct pair *pair, bool owner)
{
    struct rx_tally tally;

    if (likely(owner && receive_missing(pair) < REFILL_BATCH)) {
        ledger_idle(pair);
        return 0;
    }
    tally = (struct rx_tally){.polls = 1, .empty_polls = 1};
    refill_and_count(pair, owner, &tally);
    return 0;
}

uint32_t receive_slowly(struct pair *pair, struct run run, bool owner)
{
    struct rx_tally tally = {.packets = run.count, .bytes = run.bytes, .polls = 1};

    refill_and_count(pair, owner, &tally);
    return run.count;
}

uint32_t receive_merge(struct pair *pair, uint32_t count)
{
    ledger_merge(pair);
    return count;
}

uint32_t receive_rest(struct pair *pair, const struct columns *c, struct run first, uint32_t max,
                      enum rest rest)
{
    bool owner = rest & REST_OWNER, mark = rest & REST_MARK;
    struct rx_tally tally = {.packets = first.count, .bytes = first.bytes, .polls = 1};
    uint32_t row = first.count;

    while (row < max && pair->rx_left) {
        uint32_t n = receive_straight(pair, max - row);

        if (!pair->chained && !pair->skipping) {
            struct run got = pair->receive.run[mark](pair, c, row, n);

            receive_singles(c, row, got.count);
            receive_step(pair, got.count);
            row += got.count;
            tally.packets += got.count;
            tally.bytes += got.bytes;
            if (got.count == n)
                continue;
        }
        switch (receive_odd(pair, c, row, owner, mark, &tally)) {
        case VERDICT_DELIVERED:
            row++;
            continue;
        case VERDICT_CONSUMED:
            continue;
        case VERDICT_NONE:
            break;
        }
        break;
    }
    tally.empty_polls = !row;
    refill_and_count(pair, owner, &tally);
    return row;
}

static bool chosen(uint32_t wanted, uint32_t isa, bool able)
{
    return able && (wanted == ISA_AUTO || wanted == isa);
}

int receive_choose(struct pair *pair, const struct pair_config *config)
{
    enum rx_metadata metadata = METADATA_ALL;
    const struct receive_paths *paths = NULL;

    if (!config->metadata)
        metadata = METADATA_NONE;
    else if (!(config->metadata & ~(uint32_t)(META_RSS | META_PTYPE | META_CSUM)))
        metadata = METADATA_BASIC;
    pair->rx_post = scalar_receive_post;
    pair->send = scalar_send;
#if defined(__x86_64__)
    if (chosen(config->isa, ISA_AVX512, avx512_usable())) {
        paths = avx512_receive(pair->format, metadata);
        pair->byte_tables = avx512_byte_tables();
        pair->rx_post = avx512_receive_post;
        pair->send = avx512_send;
        pair->isa_name = "avx512";
    }
    if (!paths && chosen(config->isa, ISA_AVX2, avx2_usable())) {
        paths = avx2_receive(pair->format, metadata);
        pair->rx_post = avx2_receive_post;
        pair->send = avx2_send;
        pair->isa_name = "avx2";
    }
#elif defined(__aarch64__)
    if (chosen(config->isa, ISA_NEON, true)) {
        paths = neon_receive(pair->format, metadata);
        pair->rx_post = neon_receive_post;
        pair->send = neon_send;
        pair->isa_name = "neon";
    }
#endif
    if (!paths && chosen(config->isa, ISA_SCALAR, true)) {
        paths = scalar_receive(pair->format, metadata);
        pair->isa_name = "scalar";
    }
    if (!paths)
        return -ENOTSUP;
    pair->receive = *paths;
    return 0;
}

bool receive_ready(const struct pair *pair)
{
    return receive_done(pair);
}

bool receive_refill(struct pair *pair, bool owner, struct rx_tally *tally)
{
    uint32_t spare[REFILL_BATCH];
    bool moved = false;

    for (;;) {
        /* Batches end on a multiple of the batch, also after a short one. */
        uint32_t want = REFILL_BATCH - pair->rx_fill % REFILL_BATCH;
        uint32_t n = want;
        const uint32_t *index;

        if (receive_missing(pair) < want)
            return moved;
        index = pair_get(pair, &n, owner, spare, &tally->pool);
        if (n) {
            post(pair, index, n);
            moved = true;
        }
        if (unlikely(n < want)) {
            tally->alloc_page_fail++;
            return moved;
        }
    }
}

int receive_fill(struct pair *pair)
{
    struct rx_tally tally = {0};
    uint32_t spare[REFILL_BATCH];
    bool owner = pair_own_cache(pair);
    uint32_t done = 0;

    pair->rx_next = pair->rx_fill = pair->rx_left = 0;
    pair->chained = pair->chained_bytes = 0;
    pair->skipping = false;
    while (done < pair->rx_entries) {
        uint32_t n = REFILL_BATCH;
        const uint32_t *index = pair_get(pair, &n, owner, spare, &tally.pool);

        if (n)
            post(pair, index, n);
        done += n;
        if (n < REFILL_BATCH)
            break;
    }
    if (done < pair->rx_entries) {
        pair_put(pair, pair->rx_sw, done, owner, &tally.pool);
        pair->rx_left = 0;
        tally.alloc_page_fail = 1;
    } else {
        pair->rx_left--; /* the tail stands on the last one */
        pair->rx_filled = true;
    }
    ledger_receive(pair, &tally, owner);
    pair_disown_cache(pair, owner);
    return done < pair->rx_entries ? -ENOMEM : 0;
}

/* Packets that the device had finished in the slots it owned: each ends with EOP. */
static uint32_t count_undelivered(struct pair *pair)
{
    bool partial = pair->chained;
    uint32_t lost = 0;
    uint32_t slot = pair->rx_next;

    for (uint32_t i = 0; i < pair->rx_left; i++) {
        uint64_t status = written_status(pair->rx_ring + slot);

        if (!(status & RXL_DD))
            break;
        if (!(status & RXL_EOP)) {
            partial = !pair->skipping;
        } else {
            lost += !pair->skipping; /* a skipped one has been counted */
            pair->skipping = false;
            partial = false;
        }
        slot = slot + 1 == pair->rx_entries ? 0 : slot + 1;
    }
    return lost + partial;
}

/* After the device has let go of the ring: what it had received counts as lost, every buffer returns. */
void receive_drain(struct pair *pair)
{
    struct rx_tally tally = {0};
    bool owner;

    if (!pair->rx_filled)
        return;
    owner = pair_own_cache(pair);
    tally.drop_reset = count_undelivered(pair);
    /* One more than the device owned: the slot under the tail. */
    for (uint32_t i = 0; i < pair->rx_left + 1; i++) {
        pair_put(pair, &pair->rx_sw[pair->rx_next], 1, owner, &tally.pool);
        pair->rx_next = pair->rx_next + 1 == pair->rx_entries ? 0 : pair->rx_next + 1;
    }
    drop_chained(pair, owner, &tally);
    pair->skipping = false;
    pair->rx_filled = false;
    pair->rx_left = 0;
    ledger_receive(pair, &tally, owner);
    pair_disown_cache(pair, owner);
}
