/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of received packets from a worker to the application: one thread puts, one takes. */
#ifndef IAVFIO_DRIVER_KEPT_H
#define IAVFIO_DRIVER_KEPT_H

#include "driver/pool/pool.h"

#define KEPT_MAX (1u << 20)
#define KEPT_CHAIN 4 /* segments behind the first */

struct kept_row { /* a packet and its metadata: one cache line */
    uint64_t handle;
    uint32_t rss, mark, time;
    uint16_t ptype, vlan;
    uint8_t flags, csum, segments;
    uint64_t chain[KEPT_CHAIN];
};

struct kept {
    struct pool *pool;
    struct kept_row *row;
    uint32_t mask;
    int bell; /* eventfd: rung for a taker that waits */
    LINE uint32_t head; /* rows put, modulo 2^32 */
    LINE uint32_t tail; /* rows taken */
    LINE uint32_t waiting;
    uint32_t ended; /* the worker puts no more */
};

/* ---- for the worker, which alone puts rows ---- */

/* How many rows there is room for. */
static inline uint32_t kept_room(const struct kept *kept)
{
    return kept->mask + 1 - (kept->head - __atomic_load_n(&kept->tail, __ATOMIC_ACQUIRE));
}

/* Row i behind those that are put already, to be filled. */
static inline struct kept_row *kept_at(struct kept *kept, uint32_t i)
{
    return &kept->row[(kept->head + i) & kept->mask];
}

/* Puts the next n rows, which are filled, and wakes a taker. */
void kept_publish(struct kept *kept, uint32_t n);
/* A worker begins to put rows; it puts no more, which wakes a taker too. */
void kept_start(struct kept *kept);
void kept_end(struct kept *kept);

#endif
