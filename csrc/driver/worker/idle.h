/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker does after a round that moved nothing. */
#ifndef IAVFIO_DRIVER_IDLE_H
#define IAVFIO_DRIVER_IDLE_H

#include "driver/worker/worker.h"

/* Polls, yields or sleeps, the longer nothing moved. `may_sleep`: no packet waits to be sent. */
void idle_round(struct worker *worker, bool may_sleep);
/* Turns all interrupts off that were armed for sleeping. */
void idle_end(struct worker *worker);

#endif
