/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of received packets from a worker to the application: one thread puts, one takes. */
#ifndef IAVFIO_DRIVER_KEPT_H
#define IAVFIO_DRIVER_KEPT_H

#include "driver/pool/pool.h"

#define PASS_RING_MAX (1u << 20)
#define PASS_RING_CHAIN 4 /* segments behind the first */

struct pass_row { /* a packet and its metadata: one cache line */
    uint64_t handle;
    uint32_t rss, mark, time;
    uint16_t ptype, vlan;
    uint8_t flags, csum, segments;
    uint64_t chain[PASS_RING_CHAIN];
};

struct pass_ring {
    struct pool *pool;
    struct pass_row *row;
    uint32_t mask;
    int bell; /* eventfd: rung for a taker that waits */
    LINE uint32_t head; /* rows put, modulo 2^32 */
    LINE uint32_t tail; /* rows taken */
    LINE uint32_t waiting;
    uint32_t ended; /* the worker puts no more */
};

/* ---- for the worker, which alone puts rows ---- */

/* How many rows there is room for. */
static inline uint32_t pass_ring_room(const struct pass_ring *ring)
{
    return ring->mask + 1 - (ring->head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE));
}

/* Row i behind those that are put already, to be filled. */
static inline struct pass_row *pass_ring_at(struct pass_ring *ring, uint32_t i)
{
    return &ring->row[(ring->head + i) & ring->mask];
}

/* Puts the next n rows, which are filled, and wakes a taker. */
void pass_ring_publish(struct pass_ring *ring, uint32_t n);
/* A worker begins to put rows; it puts no more, which wakes a taker too. */
void pass_ring_start(struct pass_ring *ring);
void pass_ring_end(struct pass_ring *ring);

#endif
