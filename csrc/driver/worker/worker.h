/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker from the inside: stations (one a configured pair), and the holds on the pairs they touch. */
#ifndef IAVFIO_DRIVER_WORKER_H
#define IAVFIO_DRIVER_WORKER_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver/worker/frame.h"
#include "driver/ring/queue_pair.h"
#include "driver/worker/verify.h"

#define BURST_MAX 256
#define HOLDS_MAX (2 * WORKER_MAX_PAIRS)
#define SCRATCH 16384 /* a chained frame in one piece */

enum worker_state { WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING, WORKER_ENDED };

struct hold { /* guards of one pair, kept over many rounds */
    struct pair *pair;
    bool receives, sends;
    bool held;
    bool owner; /* of the cache: another worker may have it */
    bool asleep; /* its interrupt is armed */
    uint64_t
        quiet_since; /* TSC of the first look that found nothing received, 0 = the last one did */
};

struct batch { /* packets on their way to a send queue, in order */
    uint32_t first, count;
    uint64_t handles[BURST_MAX];
    uint64_t chain[BURST_MAX * CHAIN_ROW];
    uint8_t segments[BURST_MAX];
};

struct station {
    struct hold *in, *out;
    struct batch pending; /* what did not fit yet */
    /* generator */
    struct frame frame[WORKER_SIZES];
    uint8_t *frames; /* the memory behind them */
    uint64_t *sequence;
    uint32_t sender, flow, size;
    uint64_t sent;
    /* loop-back window */
    uint32_t window;
    uint64_t returned, written_off;
    uint64_t progress_ns;
};

struct handling; /* handler.c */

struct worker {
    struct worker_config config;
    LINE struct worker_counters counters; /* published; `total` is the worker's own copy */
    struct worker_counters total;
    struct verify_tally verify;
    uint32_t holds;
    struct hold hold[HOLDS_MAX];
    struct station *station;
    struct handling *handling; /* HANDLER only */
    struct verify *own_table;
    bool generating;
    bool parked; /* a pair is not held: it is stopped or in a reset */
    bool asleep; /* some interrupt is armed */
    bool chained; /* sizes need more than one buffer */
    uint64_t generated;
    uint64_t start_ticks;
    double ticks_per_packet;
    uint32_t idle_rounds;
    uint64_t quiet_since; /* as of a hold, of all that it does */
    uint64_t slept_ns; /* bound of the last sleep, 0 = something came since */
    uint64_t moved_ns; /* while draining: when something last came */
    struct batch received; /* of the round */
    uint8_t *scratch;
    pthread_t thread;
    int wake_fd;
    uint32_t ending; /* from outside: 1 end now */
    uint32_t drain_ms; /* from outside: plus 1; 0 = not asked for */
};

/* Zeroed memory on whole cache lines, for free(). */
static inline void *lines_alloc(size_t bytes)
{
    size_t size = (bytes + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, size);

    if (memory)
        memset(memory, 0, size);
    return memory;
}

/* Nothing came from a device that writes incomplete lines back only when an armed interrupt is due
 * (registers 5). While traffic flows the next packets complete the line. To arm the vector is a register
 * write, and the event another thread's wake-up: that waits for a quiet ITR period. */
static inline void quiet_look(struct pair *pair, uint64_t *since)
{
    uint64_t now;

    if (likely(!pair->rearm))
        return;
    now = clock_ticks();
    if (!*since)
        *since = now;
    else if (now - *since >= pair->rearm_ticks)
        pair_rearm(pair);
}

/* traffic.c: one station's part of a round; each returns how many packets it moved. */
uint32_t traffic_receive(struct worker *worker, struct station *station);
uint32_t traffic_generate(struct worker *worker, struct station *station);
uint32_t traffic_flush(struct worker *worker, struct station *station);
void traffic_abandon(struct worker *worker, struct station *station);
/* Gives n packets of a batch, from `first` on, back to the pool. */
void traffic_release(struct hold *hold, const struct batch *batch, uint32_t first, uint32_t n,
                     bool chained);
uint32_t traffic_length(const struct batch *batch, uint32_t i, bool chained);

/* worker.c: all of worker_start but the thread, one of its rounds, and the end of such a worker. */
struct worker *worker_new(const struct worker_config *config, int *error);
uint32_t worker_round(struct worker *worker);
void worker_cancel(struct worker *worker);
struct hold *worker_hold(struct worker *worker, struct pair *pair);

/* idle.c: what a worker does after a round that moved nothing. */
void idle_round(struct worker *worker);
void idle_end(struct worker *worker);

#endif
