/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "driver/lines.h"
#include "driver/worker/verify.h"

#define WINDOW 64

struct verify *verify_new(uint32_t senders, uint32_t flows)
{
    struct verify *table;

    if (!senders || senders > SENDERS_MAX || !flows || flows > FLOWS_MAX)
        return NULL;
    table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->senders = senders;
    table->flows = flows;
    table->sender = lines_alloc(senders * sizeof(*table->sender));
    table->flow = calloc((size_t)senders * flows, sizeof(*table->flow));
    if (!table->sender || !table->flow) {
        verify_free(table);
        return NULL;
    }
    return table;
}

void verify_free(struct verify *table)
{
    if (!table)
        return;
    free(table->flow);
    free(table->sender);
    free(table);
}

void verify_packet(struct verify *table, uint64_t identity, struct verify_tally *tally)
{
    uint32_t sender = (uint32_t)(identity >> SENDER_SHIFT);
    uint32_t flow = (uint32_t)(identity >> FLOW_SHIFT) & (FLOWS_MAX - 1);
    uint64_t sequence = identity & SEQUENCE_MASK;
    struct flow_state *state;
    uint64_t next, window, apart;

    if (sender >= table->senders || flow >= table->flows) {
        tally->corrupted++;
        return;
    }
    /* The state is read and written atomically, since a reset may move a flow to another worker. */
    state = &table->flow[(size_t)sender * table->flows + flow];
    next = __atomic_load_n(&state->next, __ATOMIC_RELAXED);
    window = __atomic_load_n(&state->window, __ATOMIC_RELAXED);
    if (likely(sequence >= next)) {
        apart = sequence - next;
        tally->lost += (int64_t)apart;
        window = apart + 1 < WINDOW ? window << (apart + 1) | 1 : 1;
        __atomic_store_n(&state->next, sequence + 1, __ATOMIC_RELAXED);
    } else {
        apart = next - 1 - sequence;
        if (apart >= WINDOW || (window >> apart & 1)) {
            tally->duplicated++;
            return;
        }
        window |= 1ull << apart;
        tally->reordered++;
        tally->lost--;
    }
    __atomic_store_n(&state->window, window, __ATOMIC_RELAXED);
}
