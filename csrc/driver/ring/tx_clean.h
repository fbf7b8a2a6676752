/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions of the send ring. The caller holds the send side. */
#ifndef IAVFIO_DRIVER_TX_CLEAN_H
#define IAVFIO_DRIVER_TX_CLEAN_H

#include "driver/ring/queue_pair.h"

/* Reaps completions; returns how many packets these were. */
uint32_t tx_clean(struct queue_pair *pair, bool owner);
/* After the device has let go of the ring: what it reported is complete, the rest is lost. */
void tx_drain(struct queue_pair *pair);

static inline uint32_t tx_pending(const struct queue_pair *pair)
{
    return __atomic_load_n(&pair->in_flight, __ATOMIC_RELAXED);
}

#endif
