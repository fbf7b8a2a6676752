/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers of mode HANDLER: a C function chooses an action for each packet. */
#ifndef IAVFIO_DRIVER_HANDLER_H
#define IAVFIO_DRIVER_HANDLER_H

#include "driver/worker/worker.h"

/* Checks what HANDLER needs of the configuration: 0 or -EINVAL. */
int handler_check(const struct worker_config *config);
/* Sets handling up, after the lanes have their holds: 0 or -ENOMEM. handler_discard must follow in any
 * case. */
int handler_setup(struct worker *worker);
void handler_discard(struct worker *worker);
/* Sends what waits for room; returns how many packets moved. */
uint32_t handler_flush(struct worker *worker);
/* Receives a burst of one lane and lets the handler choose its actions, unless packets wait to be sent: what
 * has nowhere to go is not received. Returns how many packets moved. */
uint32_t handler_round(struct worker *worker, uint32_t lane);
bool handler_waiting(const struct worker *worker);
/* Gives up what waits, and wakes takers of passed packets, since no more will come. */
void handler_end(struct worker *worker);

#endif
