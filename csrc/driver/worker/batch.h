/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets on their way through a worker, in order. */
#ifndef IAVFIO_DRIVER_BATCH_H
#define IAVFIO_DRIVER_BATCH_H

#include <stdbool.h>

#include "driver/ring/queue_pair.h"
#include "driver/worker/hold.h"

#define BURST_MAX 256

struct batch {
    uint32_t first, count;
    uint64_t handles[BURST_MAX];
    uint64_t chain[BURST_MAX * CHAIN_ROW];
    uint8_t segments[BURST_MAX];
};

/* Gives the buffers of n packets, from `first` on, back to the pool. `chained`: segments[] says how many
 * buffers each packet has; otherwise each has one. */
void batch_release(struct hold *hold, const struct batch *batch, uint32_t first, uint32_t n,
                   bool chained);
/* Bytes of packet i in all its segments. */
uint32_t batch_length(const struct batch *batch, uint32_t i, bool chained);

#endif
