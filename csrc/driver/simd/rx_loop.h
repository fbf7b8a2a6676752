/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame of every receive function, specialised by instruction set, descriptor format and wanted
 * metadata. A tight loop takes a run of good packets of one buffer each. It stops at any other descriptor
 * (part of a chain, error, nonsense), which rx_rest takes alone. */
#ifndef IAVFIO_DRIVER_RX_LOOP_H
#define IAVFIO_DRIVER_RX_LOOP_H

#include "driver/ring/doorbell.h"
#include "driver/ring/rx.h"
#include "driver/ring/rx_counters.h"

/* A whole packet in one buffer, received without error. */
INLINE bool status_good(const struct queue_pair *pair, const struct writeback *w, const int format)
{
    if (format == FORMAT_LEGACY)
        return (w->qw1 & (RXL_DD | RXL_EOP | RXL_RXE | RXL_SPH)) == (RXL_DD | RXL_EOP);
    return ((w->qw1 & (RXF_DD | RXF_EOP | RXF_RXE)) == (RXF_DD | RXF_EOP)) &
           ((w->qw0 & (RXF_RXDID_MASK | RXF_SPH)) == pair->flex);
}

/* True when every column that this set of metadata fills is there, so that the loop need not ask. */
INLINE bool columns_full(const struct columns *c, const int metadata)
{
    if (metadata == METADATA_NONE)
        return true;
    if (!c->flags || !c->csum || !c->ptype || !c->rss)
        return false;
    return metadata == METADATA_BASIC || (c->vlan && c->mark && c->time);
}

/* An rx_run_fn that begins at slot rx_next + first. */
INLINE struct run scalar_run_at(struct queue_pair *pair, uint32_t first, const struct columns *c,
                                uint32_t row, uint32_t n, const int format, const int metadata,
                                const int mark)
{
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next + first;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next + first;
    uint64_t *handles = c->handles + row;
    uint32_t limit = pair->rx_limit;
    uint64_t headroom = (uint64_t)pair->headroom << HANDLE_OFFSET_SHIFT;
    uint8_t *held = pair->held;
    uint32_t sum = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        struct writeback w = {0};
        uint32_t length;

        w.qw1 = writeback_status(&desc[i]);
        if (format != FORMAT_LEGACY || metadata != METADATA_NONE)
            w.qw0 = writeback_word(&desc[i].qw0);
        length = writeback_length(&w, format);
        if (unlikely(!status_good(pair, &w, format) | (length - 1 >= limit)))
            break;
        if (metadata == METADATA_ALL || (metadata && format != FORMAT_LEGACY)) {
            w.qw2 = writeback_word(&desc[i].qw2);
            w.qw3 = writeback_word(&desc[i].qw3);
        }
        handles[i] = buffer[i] | headroom | (uint64_t)length << HANDLE_LENGTH_SHIFT;
        if (mark)
            mark_held(held, buffer[i]);
        sum += length;
        metadata_fill(pair, c, row + i, &w, format, metadata);
    }
    return (struct run){i, sum};
}

/* A loop without lanes leaves nothing over. */
#define SCALAR_LANES 1

INLINE struct run scalar_run(struct queue_pair *pair, const struct columns *c, uint32_t row,
                             uint32_t n, const int format, const int metadata, const int mark,
                             const int full)
{
    (void)full;
    return scalar_run_at(pair, 0, c, row, n, format, metadata, mark);
}

/* Puts the buffers of index[] into n slots from rx_fill + first on. The write-back destroyed qw0, and DD lies
 * in qw1 (docs/spec/descriptors.md 5), so both are written. */
INLINE void scalar_post_at(struct queue_pair *pair, uint32_t first, const uint32_t *index,
                           uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill + first;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill + first;
    uint64_t base = pair->pool_iova + pair->headroom;
    uint64_t stride = pair->stride;

    for (uint32_t i = 0; i < n; i++) {
        buffer[i] = index[i];
        desc[i].qw0 = base + index[i] * stride;
        desc[i].qw1 = 0;
    }
}

INLINE void scalar_post(struct queue_pair *pair, const uint32_t *index, uint32_t n)
{
    scalar_post_at(pair, 0, index, n);
}

/* Ends a poll that found packets: steps over them, refills, counts. */
INLINE uint32_t rx_end(struct queue_pair *pair, const struct columns *c, struct run got,
                       uint32_t max, enum rx_flags flags, rx_post_fn post)
{
    const uint32_t entries = pair->rx_entries;
    uint32_t next = pair->rx_next + got.count;
    uint32_t left = pair->rx_left - got.count;
    uint32_t taken = 0;

    next = next == entries ? 0 : next;
    pair->rx_next = next;
    if (got.count < max && left && (writeback_status(pair->rx_ring + next) & RXL_DD)) {
        pair->rx_left = left;
        return rx_rest(pair, c, got, max, flags);
    }
    if (unlikely(!(flags & RX_OWNER))) {
        pair->rx_left = left;
        return rx_slowly(pair, got, false);
    }
    if (entries - 1 - left >= REFILL_BATCH) {
        uint32_t count = cache_count(&pair->cache);
        uint32_t fill = pair->rx_fill;

        /* Nearly every refill is one batch, which the cache has. */
        if (unlikely(count < REFILL_BATCH || fill % REFILL_BATCH ||
                     entries - 1 - left >= 2 * REFILL_BATCH)) {
            pair->rx_left = left;
            return rx_slowly(pair, got, true);
        }
        count -= REFILL_BATCH;
        cache_resize(&pair->cache, count);
        post(pair, pair->cache.index + count, REFILL_BATCH);
        left += REFILL_BATCH;
        fill += REFILL_BATCH;
        pair->rx_fill = fill == entries ? 0 : fill;
        doorbell_store(pair->rx_tail, fill - 1);
        taken = REFILL_BATCH;
    }
    pair->rx_left = left;
    if (unlikely(rx_counters_polled(pair, got, taken)))
        return rx_merge(pair, got.count);
    return got.count;
}

#define RX_MARKED(isa, name, format, metadata, mark, lanes)                                        \
    static __attribute__((noinline)) struct run isa##_##name##_run(                                \
        struct queue_pair *pair, const struct columns *c, uint32_t row, uint32_t n)                \
    {                                                                                              \
        struct run run = isa##_run(pair, c, row, n, format, metadata, mark, 0), rest;              \
                                                                                                   \
        if (lanes == 1 || run.count < n - n % lanes || run.count == n)                             \
            return run;                                                                            \
        rest = scalar_run_at(pair, run.count, c, row + run.count, n - run.count, format, metadata, \
                             mark);                                                                \
        return run_sum(run, rest);                                                                 \
    }                                                                                              \
    /* Takes all but the usual burst, which jumps here and so saves no registers for it. */        \
    static __attribute__((noinline)) uint32_t isa##_##name##_more(                                 \
        struct queue_pair *pair, const struct columns *c, uint32_t max, bool owner)                \
    {                                                                                              \
        struct run got = {0};                                                                      \
                                                                                                   \
        if (unlikely(!rx_usual(pair)))                                                             \
            return rx_rest(pair, c, got, max, rx_flags_of(owner, mark));                           \
        got = isa##_##name##_run(pair, c, 0, rx_straight(pair, max));                              \
        rx_singles(c, 0, got.count);                                                               \
        return rx_end(pair, c, got, max, rx_flags_of(owner, mark), isa##_post);                    \
    }                                                                                              \
    static __attribute__((noinline)) uint32_t isa##_##name##_burst(                                \
        struct queue_pair *pair, const struct columns *c, uint32_t max, bool owner)                \
    {                                                                                              \
        uint32_t n = rx_straight(pair, max);                                                       \
        struct run got;                                                                            \
                                                                                                   \
        if (unlikely(n % lanes || c->segments || !rx_usual(pair) || !columns_full(c, metadata)))   \
            return isa##_##name##_more(pair, c, max, owner);                                       \
        got = isa##_run(pair, c, 0, n, format, metadata, mark, 1);                                 \
        return rx_end(pair, c, got, max, rx_flags_of(owner, mark), isa##_post);                    \
    }                                                                                              \
    /* An empty poll is the most frequent call of all. */                                          \
    static uint32_t isa##_##name(struct queue_pair *pair, const struct columns *c, uint32_t max,   \
                                 bool owner)                                                       \
    {                                                                                              \
        if (!rx_done(pair) || unlikely(!max))                                                      \
            return rx_idle(pair, owner);                                                           \
        return isa##_##name##_burst(pair, c, max, owner);                                          \
    }

#define RX_ONE(isa, name, format, metadata, lanes)                                                 \
    RX_MARKED(isa, name, format, metadata, 0, lanes)                                               \
    RX_MARKED(isa, name##_mark, format, metadata, 1, lanes)

#define RX_PATHS(isa, name)                                                                        \
    {                                                                                              \
        {isa##_##name, isa##_##name##_mark},                                                       \
        {                                                                                          \
            isa##_##name##_run, isa##_##name##_mark_run                                            \
        }                                                                                          \
    }

/* All receive functions of an instruction set, made from its isa##_run over whole blocks of lanes and its
 * isa##_post; isa##_rx finds those for a format and a set of metadata, isa##_rx_post fills slots. */
#define RX_ALL(isa, lanes)                                                                         \
    RX_ONE(isa, legacy_none, FORMAT_LEGACY, METADATA_NONE, lanes)                                  \
    RX_ONE(isa, legacy_basic, FORMAT_LEGACY, METADATA_BASIC, lanes)                                \
    RX_ONE(isa, legacy_all, FORMAT_LEGACY, METADATA_ALL, lanes)                                    \
    RX_ONE(isa, flex_none, FORMAT_FLEX, METADATA_NONE, lanes)                                      \
    RX_ONE(isa, flex_basic, FORMAT_FLEX, METADATA_BASIC, lanes)                                    \
    RX_ONE(isa, flex_all, FORMAT_FLEX, METADATA_ALL, lanes)                                        \
    RX_ONE(isa, ovs_none, FORMAT_FLEX_OVS, METADATA_NONE, lanes)                                   \
    RX_ONE(isa, ovs_basic, FORMAT_FLEX_OVS, METADATA_BASIC, lanes)                                 \
    RX_ONE(isa, ovs_all, FORMAT_FLEX_OVS, METADATA_ALL, lanes)                                     \
    static void isa##_rx_post(struct queue_pair *pair, const uint32_t *index, uint32_t n)          \
    {                                                                                              \
        isa##_post(pair, index, n);                                                                \
    }                                                                                              \
    static const struct rx_paths *isa##_rx(enum rx_format format, enum rx_metadata metadata)       \
    {                                                                                              \
        static const struct rx_paths table[3][3] = {                                               \
            {RX_PATHS(isa, legacy_none), RX_PATHS(isa, legacy_basic), RX_PATHS(isa, legacy_all)},  \
            {RX_PATHS(isa, flex_none), RX_PATHS(isa, flex_basic), RX_PATHS(isa, flex_all)},        \
            {RX_PATHS(isa, ovs_none), RX_PATHS(isa, ovs_basic), RX_PATHS(isa, ovs_all)},           \
        };                                                                                         \
        return &table[format][metadata];                                                           \
    }

#endif
