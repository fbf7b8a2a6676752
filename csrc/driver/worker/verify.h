/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run's receivers know of its senders: the sequence state of every (sender, flow), and how much
 * of each sender's traffic has come back. One flow lands on one queue, so each state has one writer;
 * what came back is read by the sender to bound what is under way. */
#ifndef IAVFIO_DRIVER_VERIFY_H
#define IAVFIO_DRIVER_VERIFY_H

#include <stdint.h>

#include "driver/cdef.h"
#include "driver/worker/frame.h"
#include "driver/pool/pool.h"

struct flow_state {
    uint64_t next; /* highest sequence number so far, plus one */
    uint64_t window; /* bit k: sequence next - 1 - k was received */
};

struct sender_state {
    LINE uint64_t returned;
};

struct verify {
    uint32_t senders, flows;
    struct sender_state *sender;
    struct flow_state *flow; /* senders * flows */
};

struct verify_tally {
    int64_t lost; /* may fall again: a late packet was counted as lost before */
    uint64_t duplicated, reordered, corrupted;
};

/* Checks the identity of one packet against its flow's sequence, and counts what it finds. */
void verify_packet(struct verify *table, uint64_t identity, struct verify_tally *tally);

static inline void verify_credit(struct verify *table, uint32_t sender, uint32_t packets)
{
    if (packets && sender < table->senders)
        __atomic_fetch_add(&table->sender[sender].returned, packets, __ATOMIC_RELAXED);
}

static inline uint64_t verify_returned(const struct verify *table, uint32_t sender)
{
    return __atomic_load_n(&table->sender[sender].returned, __ATOMIC_RELAXED);
}

#endif
