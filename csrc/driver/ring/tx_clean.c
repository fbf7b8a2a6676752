/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions of the send ring: reaping them, and the end of a ring that the device has let go of. */
#include "driver/ring/buffers.h"
#include "driver/ring/guard.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx_clean.h"
#include "driver/ring/tx_counters.h"
#include "driver/ring/tx_report.h"

static void set_in_flight(struct queue_pair *pair, uint32_t packets)
{
    __atomic_store_n(&pair->in_flight, packets, __ATOMIC_RELAXED);
}

/* Gives the buffers of n slots back, from tx_clean on. */
static void return_slots(struct queue_pair *pair, uint32_t n, bool owner, struct pool_tally *tally)
{
    uint32_t from = pair->tx_clean;
    uint32_t run = pair->tx_entries - from;

    pair->tx_free += n;
    if (likely(n < run)) {
        pair->tx_clean = from + n;
        buffers_put(pair, pair->tx_sw + from, n, owner, tally);
        return;
    }
    pair->tx_clean = n - run;
    buffers_put(pair, pair->tx_sw + from, run, owner, tally);
    if (n > run)
        buffers_put(pair, pair->tx_sw, n - run, owner, tally);
}

static uint32_t reap(struct queue_pair *pair, bool owner, struct tx_reaped *reaped)
{
    const struct tx_desc *ring = pair->tx_ring;
    const uint32_t entries = pair->tx_entries;
    const uint32_t tail = pair->rs_tail;
    uint32_t head = pair->rs_head;
    uint32_t packets = 0, bytes = 0, end = 0;

    while (head != tail) {
        rs_point point = pair->rs[head];
        uint64_t qw1 = __atomic_load_n(&ring[rs_end(point)].qw1, __ATOMIC_ACQUIRE);

        /* A descriptor that says anything but "done" still waits, also when the device wrote nonsense. */
        if ((qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DONE)
            break;
        end = rs_end(point);
        packets += rs_packets(point);
        bytes += rs_bytes(point);
        head = head + 1 == entries ? 0 : head + 1;
    }
    if (!packets)
        return 0;
    pair->rs_head = head;
    reaped->packets = packets;
    reaped->bytes = bytes;
    return_slots(pair, end + 1 + (end < pair->tx_clean ? entries : 0) - pair->tx_clean, owner,
                 &reaped->pool);
    set_in_flight(pair, pair->in_flight - packets);
    if (unlikely(pair->stopped && pair->tx_free >= entries / 4)) {
        pair->stopped = 0;
        reaped->restarts++;
    }
    return packets;
}

uint32_t tx_clean(struct queue_pair *pair, bool owner)
{
    struct tx_reaped reaped = {0};
    uint32_t packets = reap(pair, owner, &reaped);

    if (packets) {
        tx_counters_reaped(pair, &reaped, 0);
        rx_counters_add_pool(pair, &reaped.pool, owner);
    }
    return packets;
}

void tx_drain(struct queue_pair *pair)
{
    struct tx_reaped reaped = {0};
    bool owner = guard_own_cache(pair);
    uint32_t lost;

    reap(pair, owner, &reaped);
    lost = pair->in_flight;
    return_slots(pair, pair->tx_entries - 1 - pair->tx_free, owner, &reaped.pool);
    if (pair->stopped) {
        pair->stopped = 0;
        reaped.restarts++;
    }
    pair->tx_next = pair->tx_clean = 0;
    pair->rs_head = pair->rs_tail = 0;
    set_in_flight(pair, 0);
    tx_counters_reaped(pair, &reaped, lost);
    rx_counters_add_pool(pair, &reaped.pool, owner);
    guard_disown_cache(pair, owner);
}
