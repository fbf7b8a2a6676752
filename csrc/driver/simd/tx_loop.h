/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame of every send function, specialised by instruction set. */
#ifndef IAVFIO_DRIVER_TX_LOOP_H
#define IAVFIO_DRIVER_TX_LOOP_H

#include "driver/ring/doorbell.h"
#include "driver/ring/tx.h"
#include "driver/ring/tx_counters.h"
#include "driver/ring/tx_report.h"

/* Vector code subtracts this from the 32-bit halves of a handle before it compares them with
 * handle_limits. */
#define HANDLE_SHORTEST ((uint64_t)TX_MIN_FRAME << HANDLE_LENGTH_SHIFT)

/* Two limits in one word: that of the index in the lower half, and in the upper half, above any offset, that
 * of the length less the shortest one. */
INLINE uint64_t handle_limits(const struct queue_pair *pair)
{
    return (uint64_t)(pair->tx_max_frame - TX_MIN_FRAME) << HANDLE_LENGTH_SHIFT |
           (uint64_t)HANDLE_FIELD_MASK << HANDLE_OFFSET_SHIFT | (pair->buffers - 1);
}

/* A tx_post_fn that begins at slot tx_next + first. */
INLINE struct run scalar_tx_at(struct queue_pair *pair, uint32_t first, const uint64_t *handles,
                               uint32_t n, const int checked)
{
    uint32_t slot = pair->tx_next + first;
    struct run run = {0};

    for (; run.count < n; run.count++) {
        uint64_t handle = handles[run.count];

        if (unlikely(!tx_acceptable(pair, handle)))
            break;
        if (checked && unlikely(!mark_claim(pair->held, handle_index(handle))))
            break;
        tx_write_slot(pair, slot + run.count, handle, TXD_COMMAND | TXD_EOP);
        run.bytes += handle_length(handle);
    }
    return run;
}

/* Ends a burst whose descriptors are written: report-status request, tail, counters. */
INLINE struct run tx_burst_end(struct run run, struct queue_pair *pair, const uint64_t *handles)
{
    uint32_t end = pair->tx_next + run.count;
    uint32_t next = end == pair->tx_entries ? 0 : end;

    /* The word is written anew: to read part of what vector code wrote a moment ago is slow. */
    pair->tx_ring[end - 1].qw1 = TXD_COMMAND | TXD_EOP | TXD_RS |
                                 (uint64_t)handle_length(handles[run.count - 1])
                                     << TXD_BUF_SZ_SHIFT;
    pair->tx_next = next;
    pair->tx_free -= run.count;
    tx_ask_report(pair, end - 1, run);
    doorbell_store(pair->tx_tail, next);
    tx_counters_posted(pair, run);
    if (unlikely(__atomic_load_n(&pair->hangs_seen, __ATOMIC_RELAXED) |
                 __atomic_load_n(&pair->given_up, __ATOMIC_RELAXED)))
        return tx_counters_noted(pair, run);
    return run;
}

/* All send functions of an instruction set, made from its isa##_tx_run over whole blocks of lanes. They
 * end in jumps, so that the usual burst saves no registers for the rest; TX_PATHS lists them. */
#define TX_ALL(isa, lanes)                                                                         \
    TX_ONE(isa, plain, 0, lanes)                                                                   \
    TX_ONE(isa, checked, 1, lanes)

#define TX_ONE(isa, name, checked, lanes)                                                          \
    static __attribute__((noinline)) struct run isa##_post_##name(                                 \
        struct queue_pair *pair, const uint64_t *handles, uint32_t n)                              \
    {                                                                                              \
        struct run run = isa##_tx_run(pair, handles, n, checked);                                  \
        struct run rest;                                                                           \
                                                                                                   \
        if (lanes == 1 || run.count == n)                                                          \
            return run;                                                                            \
        /* The scalar loop also finds out what the vector loop stopped at. */                      \
        rest = scalar_tx_at(pair, run.count, handles + run.count, n - run.count, checked);         \
        return run_sum(run, rest);                                                                 \
    }                                                                                              \
    static __attribute__((noinline)) struct run isa##_burst_rest_##name(                           \
        struct queue_pair *pair, const uint64_t *handles, uint32_t n, struct run run)              \
    {                                                                                              \
        struct run rest =                                                                          \
            scalar_tx_at(pair, run.count, handles + run.count, n - run.count, checked);            \
                                                                                                   \
        run = run_sum(run, rest);                                                                  \
        return run.count < n ? run : tx_burst_end(run, pair, handles);                             \
    }                                                                                              \
    static struct run isa##_burst_##name(struct queue_pair *pair, const uint64_t *handles,         \
                                         uint32_t n)                                               \
    {                                                                                              \
        struct run run = isa##_tx_run(pair, handles, n, checked);                                  \
                                                                                                   \
        if (lanes > 1 && unlikely(run.count < n))                                                  \
            return isa##_burst_rest_##name(pair, handles, n, run);                                 \
        return run.count < n ? run : tx_burst_end(run, pair, handles);                             \
    }

#define TX_PATHS(isa)                                                                              \
    {                                                                                              \
        {isa##_post_plain, isa##_post_checked},                                                    \
        {                                                                                          \
            isa##_burst_plain, isa##_burst_checked                                                 \
        }                                                                                          \
    }

#endif
