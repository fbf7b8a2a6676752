/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "driver/lines.h"
#include "driver/worker/latency.h"

#define UNDER_WAY 65536 /* packets of a sender that may be */
#define LEAST_DEPTH 16u
#define SUB_BITS HISTOGRAM_SUB_BITS

struct stamps *stamps_new(uint32_t senders, uint32_t flows)
{
    struct stamps *stamps;

    if (!senders || senders > SENDERS_MAX || !flows || flows > FLOWS_MAX)
        return NULL;
    stamps = calloc(1, sizeof(*stamps));
    if (!stamps)
        return NULL;
    stamps->senders = senders;
    stamps->flows = flows;
    stamps->depth = LEAST_DEPTH;
    while ((uint64_t)stamps->depth * 2 * flows <= UNDER_WAY)
        stamps->depth *= 2;
    stamps->stamp = lines_alloc((size_t)senders * flows * stamps->depth * sizeof(*stamps->stamp));
    if (!stamps->stamp) {
        stamps_free(stamps);
        return NULL;
    }
    return stamps;
}

void stamps_free(struct stamps *stamps)
{
    if (!stamps)
        return;
    free(stamps->stamp);
    free(stamps);
}

uint32_t histogram_index(uint64_t ns)
{
    uint32_t shift, index;

    if (ns < 2u << SUB_BITS)
        return (uint32_t)ns;
    shift = 63 - (uint32_t)__builtin_clzll(ns) - SUB_BITS;
    index = (shift << SUB_BITS) + (uint32_t)(ns >> shift);
    return index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1;
}

void latency_stamp(const struct stamps *stamps, uint64_t identity, uint64_t ticks)
{
    struct stamp *slot = latency_slot(stamps, identity);

    if (!slot)
        return;
    /* A receiver that sees either identity sees a time that is not the other packet's. */
    __atomic_store_n(&slot->identity, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->ticks, ticks, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->identity, identity + 1, __ATOMIC_RELEASE);
}

static void add(struct histogram *to, uint64_t ns)
{
    to->bucket[histogram_index(ns)]++;
    to->count++;
    to->sum_ns += ns;
    if (!to->least_ns || ns < to->least_ns)
        to->least_ns = ns;
    if (ns > to->most_ns)
        to->most_ns = ns;
}

void latency_record(const struct stamps *stamps, struct histogram *to, uint64_t identity,
                    uint64_t ticks, double ns_per_tick)
{
    struct stamp *slot = latency_slot(stamps, identity);
    uint64_t made, found;

    if (!slot)
        return;
    found = __atomic_load_n(&slot->identity, __ATOMIC_ACQUIRE);
    made = __atomic_load_n(&slot->ticks, __ATOMIC_ACQUIRE);
    if (found != identity + 1 || __atomic_load_n(&slot->identity, __ATOMIC_RELAXED) != found) {
        to->missed++;
        return;
    }
    /* Clocks of two CPUs may differ by some ticks. */
    add(to, ticks > made ? (uint64_t)((double)(ticks - made) * ns_per_tick) : 0);
}
