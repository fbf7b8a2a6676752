/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame of every receive function, to be specialised by instruction set, descriptor format and
 * wanted metadata. A tight loop takes the run of good one-buffer packets; any other descriptor (part
 * of a chain, error, nonsense) leaves it and is judged alone. */
#ifndef IAVFIO_DRIVER_RECEIVE_H
#define IAVFIO_DRIVER_RECEIVE_H

#include <string.h>

#include "driver/ring/metadata.h"

/* The ends of a poll that are not the usual one. Nothing there; */
uint32_t receive_idle(struct pair *pair, bool owner);
/* packets, with a cache that another holds or that has too little for a refill; */
uint32_t receive_slowly(struct pair *pair, struct run run, bool owner);
/* packets that are counted, when others charged something to the pair. Returns `count`. */
uint32_t receive_merge(struct pair *pair, uint32_t count);
enum rest {
    REST_OWNER = 1,
    REST_MARK = 2
}; /* six arguments go in registers, so that tails are jumps */
/* and, after a first run, the ring's end or a descriptor that is judged alone. */
uint32_t receive_rest(struct pair *pair, const struct columns *c, struct run first, uint32_t max,
                      enum rest rest);

static inline enum rest rest_of(bool owner, bool mark)
{
    return (owner ? REST_OWNER : 0) | (mark ? REST_MARK : 0);
}

/* By format and metadata. */
const struct receive_paths *scalar_receive(enum rx_format format, enum rx_metadata metadata);
void scalar_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);

#if defined(__x86_64__)
bool avx2_usable(void);
const struct receive_paths *avx2_receive(enum rx_format format, enum rx_metadata metadata);
void avx2_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
bool avx512_usable(void);
bool avx512_byte_tables(void);
const struct receive_paths *avx512_receive(enum rx_format format, enum rx_metadata metadata);
void avx512_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
#elif defined(__aarch64__)
const struct receive_paths *neon_receive(enum rx_format format, enum rx_metadata metadata);
void neon_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
#endif

INLINE bool status_good(const struct pair *pair, const struct written *w, const int format)
{
    if (format == FORMAT_LEGACY)
        return (w->qw1 & (RXL_DD | RXL_EOP | RXL_RXE | RXL_SPH)) == (RXL_DD | RXL_EOP);
    return ((w->qw1 & (RXF_DD | RXF_EOP | RXF_RXE)) == (RXF_DD | RXF_EOP)) &
           ((w->qw0 & (RXF_RXDID_MASK | RXF_SPH)) == pair->flex);
}

/* Every column that this set can fill is there: the loop needs not ask. */
INLINE bool columns_full(const struct columns *c, const int metadata)
{
    if (metadata == METADATA_NONE)
        return true;
    if (!c->flags || !c->csum || !c->ptype || !c->rss)
        return false;
    return metadata == METADATA_BASIC || (c->vlan && c->mark && c->time);
}

/* As a run_fn, from slot rx_next + first on. */
INLINE struct run scalar_run_at(struct pair *pair, uint32_t first, const struct columns *c,
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
        struct written w = {0};
        uint32_t length;

        w.qw1 = written_status(&desc[i]);
        if (format != FORMAT_LEGACY || metadata != METADATA_NONE)
            w.qw0 = written_word(&desc[i].qw0);
        length = written_length(&w, format);
        if (unlikely(!status_good(pair, &w, format) | (length - 1 >= limit)))
            break;
        if (metadata == METADATA_ALL || (metadata && format != FORMAT_LEGACY)) {
            w.qw2 = written_word(&desc[i].qw2);
            w.qw3 = written_word(&desc[i].qw3);
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

INLINE struct run scalar_run(struct pair *pair, const struct columns *c, uint32_t row, uint32_t n,
                             const int format, const int metadata, const int mark, const int full)
{
    (void)full;
    return scalar_run_at(pair, 0, c, row, n, format, metadata, mark);
}

/* Slots fill+first..fill+first+n-1 get the buffers of index[]. qw0 was destroyed by the write-back, and DD
 * lies in qw1 (descriptors 5). */
INLINE void scalar_post_at(struct pair *pair, uint32_t first, const uint32_t *index, uint32_t n)
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

INLINE void scalar_post(struct pair *pair, const uint32_t *index, uint32_t n)
{
    scalar_post_at(pair, 0, index, n);
}

/* The next slot belongs to the device and was written back. */
static inline bool receive_done(const struct pair *pair)
{
    return pair->rx_left && (written_status(pair->rx_ring + pair->rx_next) & RXL_DD);
}

/* Slots from rx_next on that a run may look at. */
static inline uint32_t receive_straight(const struct pair *pair, uint32_t max)
{
    uint32_t n = max < pair->rx_left ? max : pair->rx_left;
    uint32_t end = pair->rx_entries - pair->rx_next;

    return n < end ? n : end;
}

static inline void receive_step(struct pair *pair, uint32_t n)
{
    pair->rx_next += n;
    if (pair->rx_next == pair->rx_entries)
        pair->rx_next = 0;
    pair->rx_left -= n;
}

static inline void receive_singles(const struct columns *c, uint32_t row, uint32_t n)
{
    if (c->segments)
        memset(c->segments + row, 1, n);
}

/* A poll that may look at more than one packet at a time, and rings its doorbell by a store. */
INLINE bool receive_straightforward(const struct pair *pair)
{
    return !(pair->chained | pair->skipping) && pair->rx_tail;
}

/* The end of a poll that found packets. */
INLINE uint32_t receive_end(struct pair *pair, const struct columns *c, struct run got,
                            uint32_t max, enum rest rest, rx_post_fn post)
{
    const uint32_t entries = pair->rx_entries;
    uint32_t next = pair->rx_next + got.count;
    uint32_t left = pair->rx_left - got.count;
    uint32_t taken = 0;

    next = next == entries ? 0 : next;
    pair->rx_next = next;
    if (got.count < max && left && (written_status(pair->rx_ring + next) & RXL_DD)) {
        pair->rx_left = left;
        return receive_rest(pair, c, got, max, rest);
    }
    if (unlikely(!(rest & REST_OWNER))) {
        pair->rx_left = left;
        return receive_slowly(pair, got, false);
    }
    if (entries - 1 - left >= REFILL_BATCH) {
        uint32_t count = cache_count(&pair->cache);
        uint32_t fill = pair->rx_fill;

        /* One batch, which the cache has: nearly every refill. */
        if (unlikely(count < REFILL_BATCH || fill % REFILL_BATCH ||
                     entries - 1 - left >= 2 * REFILL_BATCH)) {
            pair->rx_left = left;
            return receive_slowly(pair, got, true);
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
    if (unlikely(ledger_poll(pair, got, taken)))
        return receive_merge(pair, got.count);
    return got.count;
}

#define RECEIVE_MARKED(isa, name, format, metadata, mark, lanes)                                   \
    static __attribute__((noinline)) struct run isa##_##name##_run(                                \
        struct pair *pair, const struct columns *c, uint32_t row, uint32_t n)                      \
    {                                                                                              \
        struct run run = isa##_run(pair, c, row, n, format, metadata, mark, 0), rest;              \
                                                                                                   \
        if (lanes == 1 || run.count < n - n % lanes || run.count == n)                             \
            return run;                                                                            \
        rest = scalar_run_at(pair, run.count, c, row + run.count, n - run.count, format, metadata, \
                             mark);                                                                \
        return run_sum(run, rest);                                                                 \
    }                                                                                              \
    /* Whatever the usual burst is not: by a jump, so that this one saves no registers for it. */  \
    static __attribute__((noinline)) uint32_t isa##_##name##_more(                                 \
        struct pair *pair, const struct columns *c, uint32_t max, bool owner)                      \
    {                                                                                              \
        struct run got = {0};                                                                      \
                                                                                                   \
        if (unlikely(!receive_straightforward(pair)))                                              \
            return receive_rest(pair, c, got, max, rest_of(owner, mark));                          \
        got = isa##_##name##_run(pair, c, 0, receive_straight(pair, max));                         \
        receive_singles(c, 0, got.count);                                                          \
        return receive_end(pair, c, got, max, rest_of(owner, mark), isa##_post);                   \
    }                                                                                              \
    static __attribute__((noinline)) uint32_t isa##_##name##_burst(                                \
        struct pair *pair, const struct columns *c, uint32_t max, bool owner)                      \
    {                                                                                              \
        uint32_t n = receive_straight(pair, max);                                                  \
        struct run got;                                                                            \
                                                                                                   \
        if (unlikely(n % lanes || c->segments || !receive_straightforward(pair) ||                 \
                     !columns_full(c, metadata)))                                                  \
            return isa##_##name##_more(pair, c, max, owner);                                       \
        got = isa##_run(pair, c, 0, n, format, metadata, mark, 1);                                 \
        return receive_end(pair, c, got, max, rest_of(owner, mark), isa##_post);                   \
    }                                                                                              \
    /* An empty poll is the most frequent call of all. */                                          \
    static uint32_t isa##_##name(struct pair *pair, const struct columns *c, uint32_t max,         \
                                 bool owner)                                                       \
    {                                                                                              \
        if (!receive_done(pair) || unlikely(!max))                                                 \
            return receive_idle(pair, owner);                                                      \
        return isa##_##name##_burst(pair, c, max, owner);                                          \
    }

#define RECEIVE_ONE(isa, name, format, metadata, lanes)                                            \
    RECEIVE_MARKED(isa, name, format, metadata, 0, lanes)                                          \
    RECEIVE_MARKED(isa, name##_mark, format, metadata, 1, lanes)

#define RECEIVE_PATHS(isa, name)                                                                   \
    {                                                                                              \
        {isa##_##name, isa##_##name##_mark},                                                       \
        {                                                                                          \
            isa##_##name##_run, isa##_##name##_mark_run                                            \
        }                                                                                          \
    }

/* All receive functions of an instruction set, and the getter for them. */
#define RECEIVE_ALL(isa, lanes)                                                                    \
    RECEIVE_ONE(isa, legacy_none, FORMAT_LEGACY, METADATA_NONE, lanes)                             \
    RECEIVE_ONE(isa, legacy_basic, FORMAT_LEGACY, METADATA_BASIC, lanes)                           \
    RECEIVE_ONE(isa, legacy_all, FORMAT_LEGACY, METADATA_ALL, lanes)                               \
    RECEIVE_ONE(isa, flex_none, FORMAT_FLEX, METADATA_NONE, lanes)                                 \
    RECEIVE_ONE(isa, flex_basic, FORMAT_FLEX, METADATA_BASIC, lanes)                               \
    RECEIVE_ONE(isa, flex_all, FORMAT_FLEX, METADATA_ALL, lanes)                                   \
    RECEIVE_ONE(isa, ovs_none, FORMAT_FLEX_OVS, METADATA_NONE, lanes)                              \
    RECEIVE_ONE(isa, ovs_basic, FORMAT_FLEX_OVS, METADATA_BASIC, lanes)                            \
    RECEIVE_ONE(isa, ovs_all, FORMAT_FLEX_OVS, METADATA_ALL, lanes)                                \
    void isa##_receive_post(struct pair *pair, const uint32_t *index, uint32_t n)                  \
    {                                                                                              \
        isa##_post(pair, index, n);                                                                \
    }                                                                                              \
    const struct receive_paths *isa##_receive(enum rx_format format, enum rx_metadata metadata)    \
    {                                                                                              \
        static const struct receive_paths table[3][3] = {                                          \
            {RECEIVE_PATHS(isa, legacy_none), RECEIVE_PATHS(isa, legacy_basic),                    \
             RECEIVE_PATHS(isa, legacy_all)},                                                      \
            {RECEIVE_PATHS(isa, flex_none), RECEIVE_PATHS(isa, flex_basic),                        \
             RECEIVE_PATHS(isa, flex_all)},                                                        \
            {RECEIVE_PATHS(isa, ovs_none), RECEIVE_PATHS(isa, ovs_basic),                          \
             RECEIVE_PATHS(isa, ovs_all)},                                                         \
        };                                                                                         \
        return &table[format][metadata];                                                           \
    }

#endif
