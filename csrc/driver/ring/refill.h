/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers into the receive ring. */
#ifndef IAVFIO_DRIVER_REFILL_H
#define IAVFIO_DRIVER_REFILL_H

#include "driver/ring/rx_counters.h"

/* Slots that hold no buffer and are not the device's. */
static inline uint32_t refill_missing(const struct queue_pair *pair)
{
    return pair->rx_entries - 1 - pair->rx_left;
}

/* Fills the missing slots in batches, as far as buffers last; true when the tail moved. */
bool refill_ring(struct queue_pair *pair, bool owner, struct rx_tally *tally);
/* Fills every slot of an empty ring: 0, or -ENOMEM, after which the ring is empty as before. */
int refill_all(struct queue_pair *pair);

#endif
