/* SPDX-License-Identifier: BSD-3-Clause */
/* Send queues that make no progress (docs/spec/libie-counters.md 6). */
#ifndef IAVFIO_DRIVER_TX_HANG_H
#define IAVFIO_DRIVER_TX_HANG_H

#include "driver/ring/queue_pair.h"

/* Looks at a send queue, at most every two seconds. True when work has been pending since the last look, none
 * of it was completed, and nobody is at work on the queue; then the hang is counted and the device is made to
 * write completions back. */
bool tx_hang_check(struct queue_pair *pair);

#endif
