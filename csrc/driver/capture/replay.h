/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames that lie in memory, sent by one queue pair when they are due. */
#ifndef IAVFIO_DRIVER_REPLAY_H
#define IAVFIO_DRIVER_REPLAY_H

#include <stdint.h>

struct queue_pair;
struct replay;

struct replay_config { /* what it points to is not copied */
    struct queue_pair *pair;
    const uint8_t *data;
    const uint64_t *offsets; /* of each frame in `data` */
    const uint32_t *lengths; /* each within what the pair sends */
    const uint64_t *due; /* ns after the beginning of a round, rising; NULL: as fast as possible */
    uint64_t frames; /* at least 1 */
    uint64_t rounds; /* how often all of them are sent, 0: until it is stopped */
    uint64_t round_ns; /* from the beginning of one round to that of the next, with `due` */
};

/* Written by the thread inside replay_run, read by anybody. */
struct replay_counts {
    uint64_t sent, bytes; /* handed to the device; bytes without FCS */
    uint64_t rounds; /* that were sent whole */
    uint64_t full; /* times that the ring took none, or the pool had no buffer */
    uint64_t late_ns; /* the most that a frame was sent after it was due */
};

/* NULL when there is no memory. */
struct replay *replay_new(const struct replay_config *config);
/* A reset of the VF made a new pair: the thread that calls replay_run says so between two calls. */
void replay_rebind(struct replay *replay, struct queue_pair *pair);
const struct replay_counts *replay_counts(const struct replay *replay);
/* Sends until everything is sent (returns 1), until `until_ns` (CLOCK_MONOTONIC, returns 0), or until the queue
 * cannot be sent on (what pair_send says). To be called again until it is done. */
int replay_run(struct replay *replay, uint64_t until_ns);
/* Gives back the buffers of frames that were not sent; no frame is sent after it. */
void replay_release(struct replay *replay);
/* After replay_release. */
void replay_free(struct replay *replay);

#endif
