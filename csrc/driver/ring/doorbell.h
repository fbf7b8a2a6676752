/* SPDX-License-Identifier: BSD-3-Clause */
/* Doorbells: the tail registers of the rings. */
#ifndef IAVFIO_DRIVER_DOORBELL_H
#define IAVFIO_DRIVER_DOORBELL_H

#include "driver/ring/queue_pair.h"

/* Everything written to the ring must be visible before the device sees the new tail. Rings are ordinary
 * memory and the doorbell is memory or uncached MMIO, so x86 needs no instruction: it does not reorder
 * stores with later stores, and a release store keeps the compiler from doing so. Arm needs a barrier that
 * covers the device. */
static inline void doorbell_store(volatile uint32_t *tail, uint32_t value)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#endif
    __atomic_store_n(tail, value, __ATOMIC_RELEASE);
}

/* `tail` is the mapped doorbell; without one (NULL) the register at `offset` is written. */
static inline void doorbell_ring(struct queue_pair *pair, volatile uint32_t *tail, uint32_t offset,
                                 uint32_t value)
{
    if (likely(tail != NULL)) {
        doorbell_store(tail, value);
    } else {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        pair->regio->write32(pair->regio, offset + 4 * pair->queue, value);
    }
}

static inline void doorbell_rx(struct queue_pair *pair)
{
    doorbell_ring(pair, pair->rx_tail, REG_QRX_TAIL1, rx_tail_slot(pair));
}

#endif
