/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread of a worker. Harnesses run its rounds without one. */
#ifndef IAVFIO_DRIVER_THREAD_H
#define IAVFIO_DRIVER_THREAD_H

#include "driver/worker/worker.h"

/* One round over all lanes; returns how many packets moved. */
uint32_t thread_round(struct worker *worker);

#endif
