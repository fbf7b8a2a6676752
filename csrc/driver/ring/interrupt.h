/* SPDX-License-Identifier: BSD-3-Clause */
/* The interrupt of a queue pair's vector: armed to sleep, off to poll. */
#ifndef IAVFIO_DRIVER_INTERRUPT_H
#define IAVFIO_DRIVER_INTERRUPT_H

#include "driver/ring/queue_pair.h"

/* Marks the pair as sleeping and arms the interrupt. The caller looks at the ring once more before it waits
 * (docs/design.md 3). 0 or -ENODEV. */
int interrupt_sleep(struct queue_pair *pair);
/* Goes back to polling: 0 or -ENODEV. */
int interrupt_wake(struct queue_pair *pair);
/* After an empty poll of a pair whose device has no WB_ON_ITR: arms the interrupt again when it has fired
 * (docs/spec/registers.md 5). */
void interrupt_rearm(struct queue_pair *pair);
/* Takes the event out of event_fd; true when there was one. */
bool interrupt_take_event(struct queue_pair *pair);

#endif
