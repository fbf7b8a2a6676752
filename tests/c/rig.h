/* SPDX-License-Identifier: BSD-3-Clause */
/* A test bench for one queue pair: memory, rings, counters, and a device that the test plays by hand. The
 * device's part follows the spec (docs/spec/descriptors.md 4, 5, 6, 7) and uses nothing of the driver but
 * layouts. */
#ifndef TESTS_C_RIG_H
#define TESTS_C_RIG_H

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/driver.h"
#include "hw/desc.h"
#include "hw/regs.h"
#include "vfio/regio.h"

#define RIG_IOVA 0x100000000ull
#define RIG_DYN_CTL (REG_VFINT_DYN_CTLN1 + 4)
#define RIG_POLL_CTL 0x40000040u
#define RIG_SLEEP_CTL 0x00000019u

struct rig {
    struct vfio_regio regio; /* first: the table is found by its address */
    uint32_t reg[VF_REG_SPACE / 4];
    uint32_t writes; /* register writes */
    int fire_fd; /* >= 0: an event that an arming write fires at once */
    struct pool *pool;
    uint8_t *memory;
    uint32_t buffers;
    struct rx_desc *rx;
    struct tx_desc *tx;
    uint32_t rx_tail, tx_tail;
    uint32_t rx_head, tx_head; /* the device's own */
    struct rq_counters *rq;
    struct sq_counters *sq;
    struct pair_config config;
    struct queue_pair *pair;
};

static inline uint32_t rig_read32(struct vfio_regio *io, uint64_t offset)
{
    struct rig *rig = (struct rig *)io;

    return __atomic_load_n(&rig->reg[offset / 4], __ATOMIC_SEQ_CST);
}

static inline int rig_write32(struct vfio_regio *io, uint64_t offset, uint32_t value)
{
    struct rig *rig = (struct rig *)io;
    uint64_t one = 1;

    __atomic_store_n(&rig->reg[offset / 4], value, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&rig->writes, 1, __ATOMIC_SEQ_CST);
    if (offset == RIG_DYN_CTL && value == RIG_SLEEP_CTL && rig->fire_fd >= 0)
        assert(write(rig->fire_fd, &one, sizeof(one)) == sizeof(one));
    return 0;
}

static inline void *rig_lines(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);

    assert(memory);
    memset(memory, 0, (bytes + 4095) & ~(size_t)4095);
    return memory;
}

static inline void rig_base(struct rig *rig, uint32_t entries, uint32_t buffers)
{
    memset(rig, 0, sizeof(*rig));
    rig->fire_fd = -1;
    rig->regio.read32 = rig_read32;
    rig->regio.write32 = rig_write32;
    rig->buffers = buffers;
    rig->memory = rig_lines((size_t)buffers * POOL_STRIDE);
    rig->pool = pool_new(rig->memory, (uint64_t)buffers * POOL_STRIDE, POOL_STRIDE, POOL_HEADROOM);
    assert(rig->pool && pool_buffers(rig->pool) == buffers);
    rig->rx = rig_lines(entries * sizeof(*rig->rx));
    rig->tx = rig_lines(entries * sizeof(*rig->tx));
    rig->rq = rig_lines(sizeof(*rig->rq));
    rig->sq = rig_lines(sizeof(*rig->sq));
    rig->config = (struct pair_config){
        .pool = rig->pool,
        .pool_iova = RIG_IOVA,
        .rx_ring = rig->rx,
        .tx_ring = rig->tx,
        .rx_tail = &rig->rx_tail,
        .tx_tail = &rig->tx_tail,
        .regio = &rig->regio,
        .rq = rig->rq,
        .sq = rig->sq,
        .rx_entries = entries,
        .tx_entries = entries,
        .buffer_size = POOL_ROOM,
        .max_frame = TX_MAX_FRAME,
        .dyn_ctl = RIG_DYN_CTL,
        .poll_ctl = RIG_POLL_CTL,
        .sleep_ctl = RIG_SLEEP_CTL,
        .event_fd = -1,
#if defined(__SANITIZE_THREAD__)
        /* Vector loads of what a device writes are no atomics to the sanitizer. */
        .isa = ISA_SCALAR,
#endif
    };
}

static inline void rig_go(struct rig *rig)
{
    int error = 1;

    rig->pair = pair_new(&rig->config, &error);
    assert(rig->pair && !error);
    rig->rx_head = rig->tx_head = 0;
    rig->rx_tail = rig->tx_tail = 0;
    assert(pair_arm(rig->pair) == 0);
    assert(pair_start(rig->pair) == 0);
}

static inline void rig_new(struct rig *rig, uint32_t entries, uint32_t buffers)
{
    rig_base(rig, entries, buffers);
    rig_go(rig);
}

static inline uint64_t rig_given(const struct rig *rig)
{
    const struct rq_counters *rq = rig->rq;

    return rq->pp_alloc_fast + rq->pp_alloc_refill + rq->pp_alloc_slow + rq->pp_alloc_slow_ho;
}

static inline uint64_t rig_returned(const struct rig *rig)
{
    const struct rq_counters *rq = rig->rq;

    return rq->pp_recycle_cached + rq->pp_recycle_ring + rq->pp_recycle_ring_full +
           rq->pp_recycle_released_ref;
}

/* Another thread's calls go past the caches; what they count is deferred on the queue pair. */
static inline uint32_t rig_take(struct rig *rig, uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    uint32_t got = pool_take(rig->pool, handles, n, &tally);

    rx_counters_add_pool(rig->pair, &tally, false);
    return got;
}

static inline uint32_t rig_give(struct rig *rig, const uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    uint32_t got = pool_give(rig->pool, handles, n, &tally);

    rx_counters_add_pool(rig->pair, &tally, false);
    return got;
}

/* Conservation of docs/spec/libie-counters.md 4: handed out = taken back + outstanding. */
static inline void rig_conserved(struct rig *rig)
{
    if (rig->pair)
        pair_settle(rig->pair);
    assert(rig_given(rig) - rig_returned(rig) == rig->buffers - pool_idle(rig->pool));
}

static inline void rig_end(struct rig *rig)
{
    pair_free(rig->pair);
    rig->pair = NULL;
    rig_conserved(rig);
    pool_free(rig->pool);
    free(rig->memory);
    free(rig->rx);
    free(rig->tx);
    free(rig->rq);
    free(rig->sq);
}

/* ---- the device ---- */

static inline uint32_t rig_rx_room(const struct rig *rig)
{
    uint32_t tail = __atomic_load_n(&rig->rx_tail, __ATOMIC_ACQUIRE);

    return (tail + rig->config.rx_entries - rig->rx_head) % rig->config.rx_entries;
}

/* Where the buffer of the next receive descriptor lies; checks what the driver posted. */
static inline uint8_t *rig_rx_buffer(struct rig *rig)
{
    struct rx_desc *desc = &rig->rx[rig->rx_head];
    uint64_t at = desc->qw0 - RIG_IOVA;

    assert(rig_rx_room(rig) && desc->qw1 == 0);
    assert(at % POOL_STRIDE == POOL_HEADROOM && at / POOL_STRIDE < rig->buffers);
    return rig->memory + at;
}

/* Any four words; qw1, with DD, last. */
static inline void rig_rx_raw(struct rig *rig, uint64_t qw0, uint64_t qw1, uint64_t qw2,
                              uint64_t qw3)
{
    struct rx_desc *desc = &rig->rx[rig->rx_head];

    __atomic_store_n(&desc->qw0, qw0, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->qw2, qw2, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->qw3, qw3, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->qw1, qw1, __ATOMIC_RELEASE);
    rig->rx_head = (rig->rx_head + 1) % rig->config.rx_entries;
}

/* A legacy write-back: PTYPE 24 (IPv4 UDP), bits over DD as given. */
static inline void rig_rx(struct rig *rig, uint32_t length, uint64_t bits)
{
    rig_rx_buffer(rig);
    rig_rx_raw(rig, 0x11223344ull << 32, 1 | bits | 24ull << 30 | (uint64_t)length << 38, 0, 0);
}

#define RIG_EOP 2ull
#define RIG_RXE (1ull << 19)

/* Completes send descriptors up to the tail, `most` report requests at most; checks each. Returns the
 * packets seen. */
static inline uint32_t rig_tx(struct rig *rig, uint32_t most)
{
    uint32_t packets = 0, length = 0, buffers = 0;

    while (rig->tx_head != rig->tx_tail && most) {
        struct tx_desc *desc = &rig->tx[rig->tx_head];
        uint64_t qw1 = desc->qw1;
        uint32_t size = (uint32_t)(qw1 >> 34) & 0x3fff;
        uint64_t at = desc->addr - RIG_IOVA;

        assert((qw1 & 0xf) == 0 && (qw1 >> 4 & 4)); /* data, ICRC */
        assert((qw1 >> 48) == 0 && size >= 1);
        assert(at / POOL_STRIDE < rig->buffers && at % POOL_STRIDE + size <= POOL_STRIDE);
        length += size;
        assert(++buffers <= 8);
        if (qw1 >> 4 & 1) {
            assert(length >= 17 && length <= 9728);
            length = buffers = 0;
            packets++;
        } else {
            assert(!(qw1 >> 4 & 2)); /* RS only with EOP */
        }
        if (qw1 >> 4 & 2) {
            __atomic_store_n(&desc->qw1, qw1 | 0xf, __ATOMIC_RELEASE);
            most--;
        }
        rig->tx_head = (rig->tx_head + 1) % rig->config.tx_entries;
    }
    assert(!buffers); /* no packet is split over two doorbells */
    return packets;
}

#endif
