/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame of every receive function, to be specialised by instruction set, descriptor format and
 * wanted metadata. A tight loop takes the run of good one-buffer packets; any other descriptor (part
 * of a chain, error, nonsense) leaves it and is judged alone. */
#ifndef IAVFIO_DRIVER_RECEIVE_H
#define IAVFIO_DRIVER_RECEIVE_H

#include <string.h>

#include "driver/metadata.h"

/* What a tight loop took; one register. A ring of the largest frames stays far below 4 GiB. */
struct run {
    uint32_t count;
    uint32_t bytes;
};

/* The tight loop: good packets from slot rx_next on into rows from `row` on, n at most and none beyond
 * the ring's end. Moves nothing of the pair. Rows beyond those it returns, up to n, may hold rubbish
 * afterwards. Never inlined: its constants must not burden a poll that finds nothing. */
typedef struct run (*run_fn)(struct pair *pair, const struct columns *c, uint32_t row, uint32_t n);

/* What a vector loop leaves over: packets from slot rx_next + first on. */
typedef struct run (*tail_fn)(struct pair *pair, uint32_t first, const struct columns *c,
                              uint32_t row, uint32_t n);

/* The common ends of a poll. Nothing there; */
uint32_t receive_idle(struct pair *pair, bool owner);
/* packets, and slots to be refilled; */
uint32_t receive_finish(struct pair *pair, struct run run, bool owner);
/* and, after a first run, the ring's end or a descriptor that is judged alone. */
uint32_t receive_rest(run_fn run, struct pair *pair, const struct columns *c, struct run first,
                      uint32_t max, bool owner, bool mark);

/* By format and metadata: [0] plain, [1] marking buffers as the application's. */
const receive_fn *scalar_receive(enum rx_format format, enum rx_metadata metadata);

#if defined(__x86_64__)
bool avx2_usable(void);
const receive_fn *avx2_receive(enum rx_format format, enum rx_metadata metadata);
void avx2_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
bool avx512_usable(void);
bool avx512_byte_tables(void);
const receive_fn *avx512_receive(enum rx_format format, enum rx_metadata metadata);
void avx512_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
#elif defined(__aarch64__)
const receive_fn *neon_receive(enum rx_format format, enum rx_metadata metadata);
void neon_receive_post(struct pair *pair, const uint32_t *index, uint32_t n);
#endif

INLINE bool status_good(const struct pair *pair, const struct written *w, const int format)
{
    if (format == FORMAT_LEGACY)
        return (w->qw1 & (RXL_DD | RXL_EOP | RXL_RXE | RXL_SPH)) == (RXL_DD | RXL_EOP);
    return ((w->qw1 & (RXF_DD | RXF_EOP | RXF_RXE)) == (RXF_DD | RXF_EOP)) &
           ((w->qw0 & (RXF_RXDID_MASK | RXF_SPH)) == pair->flex);
}

/* As a run_fn, from slot rx_next + first on. */
INLINE struct run scalar_run_at(struct pair *pair, uint32_t first, const struct columns *c,
                                uint32_t row, uint32_t n, const int format, const int metadata,
                                const int mark)
{
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next + first;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next + first;
    uint64_t *handles = c->handles + row;
    uint32_t limit = pair->buffer_size < pair->max_frame ? pair->buffer_size : pair->max_frame;
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

INLINE struct run scalar_run(struct pair *pair, const struct columns *c, uint32_t row, uint32_t n,
                             tail_fn tail, const int format, const int metadata, const int mark)
{
    (void)format, (void)metadata, (void)mark;
    return tail(pair, 0, c, row, n);
}

/* The end of a vector loop: what it took, and the tail. */
INLINE struct run run_end(struct run run, struct pair *pair, const struct columns *c, uint32_t row,
                          uint32_t n, tail_fn tail)
{
    struct run rest;

    if (run.count == n)
        return run;
    rest = tail(pair, run.count, c, row + run.count, n - run.count);
    return (struct run){run.count + rest.count, run.bytes + rest.bytes};
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

/* A straight run, which is nearly every poll; the rest is out of line. */
INLINE uint32_t receive_burst(run_fn run, struct pair *pair, const struct columns *c, uint32_t max,
                              bool owner, const int mark)
{
    struct run got = {0};

    if (unlikely(pair->chained || pair->skipping))
        return receive_rest(run, pair, c, got, max, owner, mark);
    got = run(pair, c, 0, receive_straight(pair, max));
    receive_singles(c, 0, got.count);
    receive_step(pair, got.count);
    if (unlikely(got.count < max && receive_done(pair)))
        return receive_rest(run, pair, c, got, max, owner, mark);
    if (unlikely(!owner) || receive_missing(pair) >= REFILL_BATCH)
        return receive_finish(pair, got, owner);
    ledger_poll(pair, got.count, got.bytes, 0);
    return got.count;
}

#define RECEIVE_MARKED(isa, name, format, metadata, mark)                                          \
    static __attribute__((noinline)) struct run isa##_##name##_tail(                               \
        struct pair *pair, uint32_t first, const struct columns *c, uint32_t row, uint32_t n)      \
    {                                                                                              \
        return scalar_run_at(pair, first, c, row, n, format, metadata, mark);                      \
    }                                                                                              \
    static __attribute__((noinline)) struct run isa##_##name##_run(                                \
        struct pair *pair, const struct columns *c, uint32_t row, uint32_t n)                      \
    {                                                                                              \
        return isa##_run(pair, c, row, n, isa##_##name##_tail, format, metadata, mark);            \
    }                                                                                              \
    static __attribute__((noinline)) uint32_t isa##_##name##_burst(                                \
        struct pair *pair, const struct columns *c, uint32_t max, bool owner)                      \
    {                                                                                              \
        return receive_burst(isa##_##name##_run, pair, c, max, owner, mark);                       \
    }                                                                                              \
    /* An empty poll is the most frequent call of all. */                                          \
    static uint32_t isa##_##name(struct pair *pair, const struct columns *c, uint32_t max,         \
                                 bool owner)                                                       \
    {                                                                                              \
        if (!receive_done(pair) || unlikely(!max))                                                 \
            return receive_idle(pair, owner);                                                      \
        return isa##_##name##_burst(pair, c, max, owner);                                          \
    }

#define RECEIVE_ONE(isa, name, format, metadata)                                                   \
    RECEIVE_MARKED(isa, name, format, metadata, 0)                                                 \
    RECEIVE_MARKED(isa, name##_mark, format, metadata, 1)

#define RECEIVE_PAIR(isa, name) {isa##_##name, isa##_##name##_mark}

/* All receive functions of an instruction set, and the getter for them. */
#define RECEIVE_ALL(isa)                                                                           \
    RECEIVE_ONE(isa, legacy_none, FORMAT_LEGACY, METADATA_NONE)                                    \
    RECEIVE_ONE(isa, legacy_basic, FORMAT_LEGACY, METADATA_BASIC)                                  \
    RECEIVE_ONE(isa, legacy_all, FORMAT_LEGACY, METADATA_ALL)                                      \
    RECEIVE_ONE(isa, flex_none, FORMAT_FLEX, METADATA_NONE)                                        \
    RECEIVE_ONE(isa, flex_basic, FORMAT_FLEX, METADATA_BASIC)                                      \
    RECEIVE_ONE(isa, flex_all, FORMAT_FLEX, METADATA_ALL)                                          \
    RECEIVE_ONE(isa, ovs_none, FORMAT_FLEX_OVS, METADATA_NONE)                                     \
    RECEIVE_ONE(isa, ovs_basic, FORMAT_FLEX_OVS, METADATA_BASIC)                                   \
    RECEIVE_ONE(isa, ovs_all, FORMAT_FLEX_OVS, METADATA_ALL)                                       \
    const receive_fn *isa##_receive(enum rx_format format, enum rx_metadata metadata)              \
    {                                                                                              \
        static const receive_fn table[3][3][2] = {                                                 \
            {RECEIVE_PAIR(isa, legacy_none), RECEIVE_PAIR(isa, legacy_basic),                      \
             RECEIVE_PAIR(isa, legacy_all)},                                                       \
            {RECEIVE_PAIR(isa, flex_none), RECEIVE_PAIR(isa, flex_basic),                          \
             RECEIVE_PAIR(isa, flex_all)},                                                         \
            {RECEIVE_PAIR(isa, ovs_none), RECEIVE_PAIR(isa, ovs_basic),                            \
             RECEIVE_PAIR(isa, ovs_all)},                                                          \
        };                                                                                         \
        return table[format][metadata];                                                            \
    }

#endif
