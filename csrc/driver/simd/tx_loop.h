/* SPDX-License-Identifier: BSD-3-Clause */
/* The tight loop of the send side, shared by all instruction sets. */
#ifndef IAVFIO_DRIVER_SEND_H
#define IAVFIO_DRIVER_SEND_H

#include "driver/ring/metadata.h"
#include "driver/ring/queue_pair.h"

#define TXD_COMMAND ((uint64_t)(TXD_CMD_ICRC) << TXD_CMD_SHIFT)
#define TXD_EOP ((uint64_t)(TXD_CMD_EOP) << TXD_CMD_SHIFT)
#define TXD_RS ((uint64_t)(TXD_CMD_RS) << TXD_CMD_SHIFT)

extern const struct send_paths scalar_send;
#if defined(__x86_64__)
extern const struct send_paths avx2_send;
extern const struct send_paths avx512_send;
#elif defined(__aarch64__)
extern const struct send_paths neon_send;
#endif

/* Counts what others noted for the holder of the send side; returns `run`. */
struct run send_note(struct pair *pair, struct run run);

INLINE bool acceptable(const struct pair *pair, uint64_t handle)
{
    return (handle_index(handle) < pair->buffers) &
           (handle_offset(handle) + handle_length(handle) <= pair->stride) &
           (handle_length(handle) - TX_MIN_FRAME <= pair->tx_max_frame - TX_MIN_FRAME);
}

/* What vector code subtracts from the 32-bit halves of a handle before it compares them with
 * handle_limits. */
#define HANDLE_SHORTEST ((uint64_t)TX_MIN_FRAME << HANDLE_LENGTH_SHIFT)

/* Two limits in one: that of the index below, and above, beside any offset, that of the length less the
 * shortest one. */
INLINE uint64_t handle_limits(const struct pair *pair)
{
    return (uint64_t)(pair->tx_max_frame - TX_MIN_FRAME) << HANDLE_LENGTH_SHIFT |
           (uint64_t)HANDLE_FIELD_MASK << HANDLE_OFFSET_SHIFT | (pair->buffers - 1);
}

INLINE void write_slot(struct pair *pair, uint32_t slot, uint64_t handle, uint64_t command)
{
    struct tx_desc *desc = &pair->tx_ring[slot];

    pair->tx_sw[slot] = handle_index(handle);
    desc->addr =
        pair->pool_iova + (uint64_t)handle_index(handle) * pair->stride + handle_offset(handle);
    /* Rewrites what the device left here, so that an old "done" cannot be mistaken. */
    desc->qw1 = command | (uint64_t)handle_length(handle) << TXD_BUF_SZ_SHIFT;
}

/* As a tx_post_fn, from slot tx_next + first on. */
INLINE struct run scalar_send_at(struct pair *pair, uint32_t first, const uint64_t *handles,
                                 uint32_t n, const int checked)
{
    uint32_t slot = pair->tx_next + first;
    struct run run = {0};

    for (; run.count < n; run.count++) {
        uint64_t handle = handles[run.count];

        if (unlikely(!acceptable(pair, handle)))
            break;
        if (checked && unlikely(!mark_claim(pair->held, handle_index(handle))))
            break;
        write_slot(pair, slot + run.count, handle, TXD_COMMAND | TXD_EOP);
        run.bytes += handle_length(handle);
    }
    return run;
}

/* Notes that descriptor `end`, the last one written, asks for a report. */
INLINE void ask_report(struct pair *pair, uint32_t end, struct run group)
{
    uint32_t tail = pair->rs_tail;

    pair->rs[tail] = rs_make(end, group);
    pair->rs_tail = tail + 1 == pair->tx_entries ? 0 : tail + 1;
    __atomic_store_n(&pair->in_flight, pair->in_flight + group.count, __ATOMIC_RELAXED);
}

/* Packets posted under one doorbell, and nothing else to tell. */
INLINE void ledger_posted(struct pair *pair, struct run run)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    block_add(&sq->posted, run.count);
    block_add(&sq->posted_bytes, run.bytes);
    block_add(&sq->doorbells, 1);
    block_close(&sq->seq, next);
}

/* The end of a burst whose descriptors were written: report, tail, counters. */
INLINE struct run send_burst(struct run run, struct pair *pair, const uint64_t *handles)
{
    uint32_t end = pair->tx_next + run.count;
    uint32_t next = end == pair->tx_entries ? 0 : end;

    /* Written anew: what vector code wrote a moment ago is slow to be read in part. */
    pair->tx_ring[end - 1].qw1 = TXD_COMMAND | TXD_EOP | TXD_RS |
                                 (uint64_t)handle_length(handles[run.count - 1])
                                     << TXD_BUF_SZ_SHIFT;
    pair->tx_next = next;
    pair->tx_free -= run.count;
    ask_report(pair, end - 1, run);
    doorbell_store(pair->tx_tail, next);
    ledger_posted(pair, run);
    if (unlikely(__atomic_load_n(&pair->hangs_seen, __ATOMIC_RELAXED) |
                 __atomic_load_n(&pair->given_up, __ATOMIC_RELAXED)))
        return send_note(pair, run);
    return run;
}

/* All send functions of an instruction set, made from its loop over whole blocks of lanes. Tail calls,
 * so that the usual burst saves no registers for the rest. */
#define SEND_ALL(isa, lanes)                                                                       \
    SEND_ONE(isa, plain, 0, lanes)                                                                 \
    SEND_ONE(isa, checked, 1, lanes)                                                               \
    const struct send_paths isa##_send = {                                                         \
        {isa##_post_plain, isa##_post_checked},                                                    \
        {isa##_burst_plain, isa##_burst_checked},                                                  \
    };

#define SEND_ONE(isa, name, checked, lanes)                                                        \
    static __attribute__((noinline)) struct run isa##_post_##name(                                 \
        struct pair *pair, const uint64_t *handles, uint32_t n)                                    \
    {                                                                                              \
        struct run run = isa##_send_run(pair, handles, n, checked);                                \
        struct run rest;                                                                           \
                                                                                                   \
        if (lanes == 1 || run.count == n)                                                          \
            return run;                                                                            \
        /* Also finds out what the vector loop stopped at. */                                      \
        rest = scalar_send_at(pair, run.count, handles + run.count, n - run.count, checked);       \
        return run_sum(run, rest);                                                                 \
    }                                                                                              \
    static __attribute__((noinline)) struct run isa##_burst_rest_##name(                           \
        struct pair *pair, const uint64_t *handles, uint32_t n, struct run run)                    \
    {                                                                                              \
        struct run rest =                                                                          \
            scalar_send_at(pair, run.count, handles + run.count, n - run.count, checked);          \
                                                                                                   \
        run = run_sum(run, rest);                                                                  \
        return run.count < n ? run : send_burst(run, pair, handles);                               \
    }                                                                                              \
    static struct run isa##_burst_##name(struct pair *pair, const uint64_t *handles, uint32_t n)   \
    {                                                                                              \
        struct run run = isa##_send_run(pair, handles, n, checked);                                \
                                                                                                   \
        if (lanes > 1 && unlikely(run.count < n))                                                  \
            return isa##_burst_rest_##name(pair, handles, n, run);                                 \
        return run.count < n ? run : send_burst(run, pair, handles);                               \
    }

#endif
