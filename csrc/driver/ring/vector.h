/* SPDX-License-Identifier: BSD-3-Clause */
/* The interrupt vector of one or more queue pairs: armed while a thread sleeps on it, off while all of them
 * poll. A device has fewer vectors than queue pairs may be, so pairs share them (docs/spec/field-evidence.md 9).
 *
 * Two rules keep every wake-up (docs/spec/reliability.md F47). Whoever takes the event out of the eventfd
 * wakes the other sleepers of the vector, since the event may have been theirs. And whoever writes the
 * vector's register does so under the lock and leaves the vector armed while somebody sleeps on it. A pair
 * that is watched (pair/watch.h) counts as a sleeper whether or not a thread is in it. */
#ifndef IAVFIO_DRIVER_VECTOR_H
#define IAVFIO_DRIVER_VECTOR_H

#include <pthread.h>

#include "driver/ring/queue_pair.h"

struct vector {
    struct vfio_regio *regio;
    uint32_t dyn_ctl, poll_ctl, sleep_ctl; /* as in struct pair_config; dyn_ctl 0: no register */
    int event_fd; /* -1: none */
    pthread_mutex_t lock; /* over register writes and what follows */
    uint32_t sleepers;
    struct queue_pair *pairs; /* a list by their next_of_vector */
};

/* Makes the pair use the vector of config->companion, or else a vector of its own: 0, -EINVAL when the
 * companion's vector has another register or eventfd, or -ENOMEM. */
int vector_join(struct queue_pair *pair, const struct pair_config *config);
/* The pair no longer uses its vector; the last pair that leaves frees it. */
void vector_leave(struct queue_pair *pair);

/* Marks the pair as sleeping and arms the interrupt. The caller looks at the ring once more before it waits
 * (docs/design.md 3). 0 or -ENODEV; after either, the caller has to call vector_wake. */
int vector_sleep(struct queue_pair *pair);
/* The pair polls from now on: 0 or -ENODEV. */
int vector_wake(struct queue_pair *pair);
/* Takes the event out of the eventfd, if there is one, and wakes the vector's other sleepers. */
void vector_take_event(struct queue_pair *pair);
/* After an empty poll of a pair whose device has no WB_ON_ITR: arms the interrupt again when it has fired
 * (docs/spec/registers.md 5). */
void vector_rearm(struct queue_pair *pair);
/* Sets the register as its sleepers need it: 0 or -ENODEV. */
int vector_set(struct queue_pair *pair);
/* The pair's interrupt stays armed, as if a thread slept on it all the time, until vector_unwatch. */
void vector_watch(struct queue_pair *pair);
void vector_unwatch(struct queue_pair *pair);
/* Takes the event and what woke the pair, and arms the interrupt again; true when there was one of the two.
 * The caller looks at the ring once more then. For a pair that is watched. */
bool vector_quiet(struct queue_pair *pair);
/* Makes the device write back what it holds for the vector's queues. */
void vector_nudge(struct queue_pair *pair);

#endif
