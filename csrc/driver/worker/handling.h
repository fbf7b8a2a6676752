/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker of mode HANDLER has beside its lanes. */
#ifndef IAVFIO_DRIVER_HANDLING_H
#define IAVFIO_DRIVER_HANDLING_H

#include "driver/worker/pass_ring.h"
#include "driver/worker/worker.h"

#define TARGETS (ACTION_REDIRECT + WORKER_MAX_PAIRS)

struct outlet { /* a send queue that packets go to */
    struct hold *hold;
    struct batch batch; /* packets that did not fit yet */
};

struct handler_lane { /* of the lane with the same number */
    /* of an action; NULL: the packet is passed on, or it is not allowed */
    struct batch *target[TARGETS];
    uint32_t actions; /* entries of target[] */
    struct outlet *outlet[TARGETS];
    struct pass_ring *pass_ring;
    struct columns into; /* what the receive function fills */
    struct handler_columns shown; /* what the handler sees */
    uint32_t rss[BURST_MAX], mark[BURST_MAX], time[BURST_MAX];
    uint16_t ptype[BURST_MAX], vlan[BURST_MAX];
    uint8_t flags[BURST_MAX], csum[BURST_MAX];
    uint8_t single[BURST_MAX]; /* the segments column where nothing is chained */
    uint8_t number[BURST_MAX];
};

struct handling {
    LINE uint8_t *data[BURST_MAX];
    uint32_t length[BURST_MAX];
    uint32_t frame[BURST_MAX];
    uint32_t action[BURST_MAX];
    uint32_t passed[BURST_MAX]; /* numbers of the packets to pass on */
    struct batch dropped;
    bool waiting; /* an outlet has packets that did not fit */
    uint32_t outlets;
    struct outlet *outlet;
    struct handler_lane *lane;
};

#endif
