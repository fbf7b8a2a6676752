/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted by a pair's next call, for pairs whose next call may never come. */
#ifndef IAVFIO_DRIVER_SETTLE_H
#define IAVFIO_DRIVER_SETTLE_H

#include "driver/ring/queue_pair.h"

struct settle_look { /* what the watchdog saw of a pair when it looked last */
    uint64_t posted, polls;
};

/* Settles (pair_settle) those sides of a pair that did next to nothing since the last look. A side that is at
 * work settles itself, and is left alone: it shares no cache line with the watchdog for it. */
void settle_idle(struct queue_pair *pair, struct settle_look *last);

#endif
