/* SPDX-License-Identifier: BSD-3-Clause */
/* How long packets are under way, from the making of their burst to the poll that finds them: senders leave the
 * time in a table, receivers look it up by the packet's identity, so that frames carry nothing more. */
#ifndef IAVFIO_DRIVER_LATENCY_H
#define IAVFIO_DRIVER_LATENCY_H

#include <stdint.h>

#include "driver/cdef.h"
#include "driver/worker/frame.h"

struct stamp {
    uint64_t identity; /* of the packet, plus 1; 0: none yet */
    uint64_t ticks;
};

struct stamps { /* of a run */
    uint32_t senders, flows;
    uint32_t depth; /* packets of a flow that may be under way, a power of two */
    struct stamp *stamp; /* senders * flows * depth */
};

static inline struct stamp *latency_slot(const struct stamps *stamps, uint64_t identity)
{
    uint64_t sender = identity >> SENDER_SHIFT;
    uint64_t flow = identity >> FLOW_SHIFT & (FLOWS_MAX - 1);

    if (sender >= stamps->senders || flow >= stamps->flows)
        return NULL;
    return &stamps->stamp[(sender * stamps->flows + flow) * stamps->depth +
                          (identity & (stamps->depth - 1))];
}

/* A packet was made at `ticks`. */
void latency_stamp(const struct stamps *stamps, uint64_t identity, uint64_t ticks);
/* A packet was received at `ticks`. One whose time was written over by a later one is counted as missed. */
void latency_record(const struct stamps *stamps, struct histogram *to, uint64_t identity,
                    uint64_t ticks, double ns_per_tick);

#endif
