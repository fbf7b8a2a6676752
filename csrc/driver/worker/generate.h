/* SPDX-License-Identifier: BSD-3-Clause */
/* Generated traffic: a lane's frames, as many as limit, rate and loop-back window allow. */
#ifndef IAVFIO_DRIVER_GENERATE_H
#define IAVFIO_DRIVER_GENERATE_H

#include "driver/worker/worker.h"

/* Composes the lane's frames; `number`: index of its pair in the configuration. 0 or -ENOMEM. */
int generate_setup(struct worker *worker, struct lane *lane, uint32_t number);
/* Generates and sends a burst; returns how many packets moved. */
uint32_t generate_burst(struct worker *worker, struct lane *lane);

#endif
