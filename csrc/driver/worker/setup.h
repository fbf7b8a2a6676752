/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker's memory, lanes and holds, without its thread. */
#ifndef IAVFIO_DRIVER_WORKER_SETUP_H
#define IAVFIO_DRIVER_WORKER_SETUP_H

#include "driver/worker/worker.h"

/* All of worker_start but the thread. NULL with a negative errno in *error. */
struct worker *setup_worker(const struct worker_config *config, int *error);
/* Releases the holds and frees a worker whose thread does not run. */
void setup_undo(struct worker *worker);
/* Frees a worker that has no holds. */
void setup_free(struct worker *worker);

#endif
