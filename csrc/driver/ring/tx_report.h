/* SPDX-License-Identifier: BSD-3-Clause */
/* Report-status requests: descriptors that the device writes back, each for a group of packets. */
#ifndef IAVFIO_DRIVER_TX_REPORT_H
#define IAVFIO_DRIVER_TX_REPORT_H

#include "driver/ring/queue_pair.h"

static inline rs_point rs_make(uint32_t end, struct run run)
{
    return end | (uint64_t)run.count << 16 | run.bytes << 32;
}

static inline uint32_t rs_end(rs_point point)
{
    return point & 0xffff;
}

static inline uint32_t rs_packets(rs_point point)
{
    return (uint32_t)point >> 16;
}

static inline uint32_t rs_bytes(rs_point point)
{
    return (uint32_t)(point >> 32);
}

/* Notes that descriptor `end`, the last one written, asks for a report on `group`. */
INLINE void tx_ask_report(struct queue_pair *pair, uint32_t end, struct run group)
{
    uint32_t tail = pair->rs_tail;

    pair->rs[tail] = rs_make(end, group);
    pair->rs_tail = tail + 1 == pair->tx_entries ? 0 : tail + 1;
    __atomic_store_n(&pair->in_flight, pair->in_flight + group.count, __ATOMIC_RELAXED);
}

#endif
