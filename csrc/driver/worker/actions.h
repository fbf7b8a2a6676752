/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of packets by the actions that a handler chose. */
#ifndef IAVFIO_DRIVER_ACTIONS_H
#define IAVFIO_DRIVER_ACTIONS_H

#include "driver/worker/handling.h"

/* Sends, passes on or drops all packets of worker->received. */
void actions_apply(struct worker *worker, struct handler_lane *lane, struct hold *in);
/* Sends what waits at the outlets; returns how many packets moved. */
uint32_t actions_flush(struct worker *worker);
/* Reaps the completions of all outlets. */
void actions_reap(struct worker *worker);
/* Gives up what waits at the outlets. */
void actions_abandon(struct worker *worker);

#endif
