/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers of all modes but HANDLER do with a lane. Each function returns how many packets it moved. */
#ifndef IAVFIO_DRIVER_TRAFFIC_H
#define IAVFIO_DRIVER_TRAFFIC_H

#include "driver/worker/worker.h"

/* Receives a burst, then drops, checks or forwards it. */
uint32_t traffic_receive(struct worker *worker, struct lane *lane);
/* Posts what is pending; what does not fit stays pending. */
uint32_t traffic_flush(struct worker *worker, struct lane *lane);
/* Gives up what is pending. */
void traffic_abandon(struct worker *worker, struct lane *lane);
/* The sequences that this worker's packets are checked against; NULL without. */
struct verify *traffic_table(const struct worker *worker);

#endif
