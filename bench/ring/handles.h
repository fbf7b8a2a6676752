/* SPDX-License-Identifier: BSD-3-Clause */
/* The model that handles.c measures: rings, pool and handles, and what its scalar and vector forms share. */
#ifndef BENCH_RING_HANDLES_H
#define BENCH_RING_HANDLES_H

#include <string.h>

#include "harness.h"

#define INLINE static inline __attribute__((always_inline))
#define ENTRIES 512u
#define BURST 32u
#define BURSTS 8u /* in a timed region */
#define REGION (BURST * BURSTS)
#define BUFFERS 4096u
#define STRIDE 2176u
#define HEADROOM 128u
#define LIMIT 2048u
#define UNIT_SHIFT 6 /* the reciprocal works in cache lines */
#define RECIPROCAL_SHIFT 37
#define RECIPROCAL (((1ull << RECIPROCAL_SHIFT) + STRIDE / 64 - 1) / (STRIDE / 64))
#define POSITION 0xffffffffffffull
#define DONE 0xfull
#define COMMAND ((uint64_t)(TXD_CMD_ICRC | TXD_CMD_EOP) << TXD_CMD_SHIFT)
#define REPORT ((uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT)
#define SPH (1ull << 63)
#define STATUS (RXL_DD | RXL_EOP | RXL_RXE | SPH)
#define GOOD (RXL_DD | RXL_EOP)

_Static_assert(STRIDE % 64 == 0, "the reciprocal counts cache lines");
_Static_assert(RECIPROCAL < 1ull << 32, "the reciprocal is a 32-bit factor");
_Static_assert((RECIPROCAL * (STRIDE / 64) - (1ull << RECIPROCAL_SHIFT)) *
                       ((uint64_t)BUFFERS * STRIDE / 64) <
                   1ull << RECIPROCAL_SHIFT,
               "the reciprocal is exact in the pool");

enum form { INDEX, TRUSTING, CHECKED, FORMS };

/* Buffers by index in four bytes, or by their place in the pool in eight. */
union places {
    uint32_t index[BUFFERS];
    uint64_t place[BUFFERS];
};

struct
    /* known at run time only, as in the driver; loops hold a copy, which no store can change */
    terms {
    struct rx_desc *rx;
    struct tx_desc *tx;
    uint8_t *pool;
    uint64_t iova, pool_bytes;
    uint32_t count, stride, headroom, limit;
};

struct model {
    struct terms terms;
    uint32_t rx_next, rx_fill, tx_next, tx_clean, tx_backlog, idle;
    uint32_t sequence, refused;
    volatile uint32_t rx_tail, tx_tail;
    uint64_t handles[BURST] __attribute__((aligned(64)));
    uint16_t field[BURST] __attribute__((aligned(64)));
    union places rx_sw, tx_sw, store;
    uint64_t expected[REGION];
};

/* ---- one handle ---- */

/* What the store holds for a buffer. */
INLINE uint64_t place_of(const struct terms *t, uint32_t index, const enum form form)
{
    return (uint64_t)index * t->stride + (form == TRUSTING ? t->headroom : 0);
}

/* sw is what is known of its slot. */
INLINE uint64_t handle_of(const struct terms *t, const union places *sw, uint32_t slot,
                          uint32_t length, const enum form form)
{
    if (form == INDEX)
        return sw->index[slot] | (uint64_t)t->headroom << 32 | (uint64_t)length << 48;
    return (sw->place[slot] + (form == CHECKED ? t->headroom : 0)) | (uint64_t)length << 48;
}

INLINE uint64_t position_of(const struct terms *t, uint64_t handle, const enum form form)
{
    if (form == INDEX)
        return (uint64_t)(uint32_t)handle * t->stride + (uint16_t)(handle >> 32);
    return handle & POSITION;
}

/* Buffers of sent packets return; the store is a stack, moved by one copy. */
INLINE void clean(struct model *m, const enum form form)
{
    if (m->tx_backlog < 2 * BURST || (m->terms.tx[m->tx_clean + BURST - 1].qw1 & DONE) != DONE)
        return;
    if (form == INDEX)
        memcpy(m->store.index + m->idle, m->tx_sw.index + m->tx_clean, 4 * BURST);
    else
        memcpy(m->store.place + m->idle, m->tx_sw.place + m->tx_clean, 8 * BURST);
    m->idle += BURST;
    m->tx_clean = (m->tx_clean + BURST) % ENTRIES;
    m->tx_backlog -= BURST;
}

/* The steps between the loops of a forward. */
INLINE void after_receive(struct model *m, uint32_t got)
{
    m->rx_next = (m->rx_next + got) % ENTRIES;
    m->idle -= BURST; /* to be posted */
    m->refused += got != BURST;
}

INLINE void after_post(struct model *m, const enum form form)
{
    m->rx_fill = (m->rx_fill + BURST) % ENTRIES;
    m->rx_tail = m->rx_fill;
    clean(m, form);
}

INLINE void after_send(struct model *m, uint32_t sent)
{
    m->terms.tx[m->tx_next + BURST - 1].qw1 |= REPORT;
    m->tx_next = (m->tx_next + BURST) % ENTRIES;
    m->tx_backlog += BURST;
    m->tx_tail = m->tx_next;
    m->refused += sent != BURST;
}

/* Several bursts in one timed region: a time-stamp counter may move in steps of dozens. */
#define ACT(name, call)                                                                            \
    void name(struct instance *instance)                                                           \
    {                                                                                              \
        struct model *m = (struct model *)(void *)instance;                                        \
                                                                                                   \
        for (uint32_t i = 0; i < BURSTS; i++)                                                      \
            call;                                                                                  \
    }

void vector_index(struct instance *instance);
void vector_trusting(struct instance *instance);
void vector_checked(struct instance *instance);
void vector_field_index(struct instance *instance);
void vector_field_address(struct instance *instance);

#endif
