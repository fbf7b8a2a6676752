/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers whose packets a handler judges: a C function of the caller's, or of ours. */
#ifndef IAVFIO_DRIVER_HANDLER_H
#define IAVFIO_DRIVER_HANDLER_H

#include "driver/worker/worker.h"

/* 0 or -EINVAL. */
int handler_check(const struct worker_config *config);
/* After the stations have their holds. handler_discard follows in any case. */
int handler_setup(struct worker *worker);
void handler_discard(struct worker *worker);
/* Sends what waits for room; returns how many packets moved. */
uint32_t handler_flush(struct worker *worker);
/* One burst of one pair, unless something waits: nothing is taken that has nowhere to go. */
uint32_t handler_round(struct worker *worker, uint32_t lane);
bool handler_waiting(const struct worker *worker);
/* Gives up what waits, and tells who waits for kept packets that no more will come. */
void handler_end(struct worker *worker);

#endif
