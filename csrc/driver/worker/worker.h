/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker from the inside: its lanes, one for each configured queue pair, and its holds on all queue pairs
 * that the lanes receive from or send to. */
#ifndef IAVFIO_DRIVER_WORKER_H
#define IAVFIO_DRIVER_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "driver/ring/queue_pair.h"
#include "driver/worker/batch.h"
#include "driver/worker/frame.h"
#include "driver/worker/hold.h"
#include "driver/worker/quota.h"
#include "driver/worker/verify.h"

#define HOLDS_MAX (2 * WORKER_MAX_PAIRS)
#define SCRATCH 16384 /* a chained frame in one piece */

enum worker_state { WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING, WORKER_ENDED };

struct lane {
    struct hold *in, *out;
    struct batch pending; /* packets that did not fit yet */
    /* generator */
    struct frame frame[WORKER_SIZES];
    uint8_t *frames; /* the memory behind them */
    uint64_t *sequence;
    uint32_t sender, flow, size;
    uint64_t generated, sent;
    /* loop-back window */
    uint32_t window;
    uint64_t returned, written_off;
    uint64_t progress_ns, looked_ns;
};

struct handling; /* handling.h */

struct worker {
    struct worker_config config;
    LINE struct worker_counters counters; /* published; `total` is the worker's own copy */
    struct worker_counters total;
    struct worker_counters window; /* `total` as it was when the measured window closed */
    uint32_t window_closed; /* set once `window` is complete */
    struct verify_tally verify;
    uint32_t holds;
    struct hold hold[HOLDS_MAX];
    struct lane *lane;
    struct handling *handling; /* HANDLER only */
    struct verify *own_table;
    struct worker_quota own_quota;
    struct worker_quota *quota; /* NULL: no end is set by a number */
    bool generating;
    bool parked; /* a queue pair is not held, because it is stopped or in a reset */
    bool asleep; /* some interrupt is armed */
    bool chained; /* some packets need more than one buffer */
    uint64_t start_ticks;
    double ticks_per_packet;
    double ns_per_tick; /* where latency is measured */
    uint32_t idle_rounds;
    uint64_t quiet_since; /* as in struct hold, but of all that the worker does */
    uint64_t slept_ns; /* bound of the last sleep; 0: something came since */
    uint64_t moved_ns; /* while draining: when something last came */
    uint64_t drain_end_ns; /* while draining: when it ends at the latest */
    struct batch received; /* of the round */
    uint8_t *scratch;
    pthread_t thread;
    int wake_fd;
    uint32_t ending; /* set from outside: 1 ends the worker now */
    uint32_t quiet_ms; /* set from outside: plus 1; 0: draining is not asked for */
    uint32_t limit_ms; /* set from outside, before quiet_ms: bound of draining */
};

/* The worker's hold on a queue pair, a new one when it has none. */
struct hold *worker_hold(struct worker *worker, struct queue_pair *pair);

static inline bool worker_receives(uint32_t mode)
{
    return mode != WORKER_TXONLY;
}

static inline bool worker_generates(uint32_t mode)
{
    return mode == WORKER_TXONLY || mode == WORKER_LOOPBACK;
}

#endif
