/* SPDX-License-Identifier: BSD-3-Clause */
/* Send queues that make no progress (docs/spec/libie-counters.md 6). */
#ifndef IAVFIO_DRIVER_TX_HANG_H
#define IAVFIO_DRIVER_TX_HANG_H

#include "driver/ring/queue_pair.h"

/* Looks at a send queue. Returns in how many looks in a row work has been pending and none of it was completed;
 * at each such look the hang is counted and the device is made to write completions back. Two mean that this
 * did not help. */
uint32_t tx_hang_check(struct queue_pair *pair);

#endif
