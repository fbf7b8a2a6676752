/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/ring/buffers.h"
#include "driver/ring/rx_counters.h"
#include "driver/worker/batch.h"

void batch_release(struct hold *hold, const struct batch *batch, uint32_t first, uint32_t n,
                   bool chained)
{
    bool owner = hold->held && hold->owner;
    struct queue_pair *pair = hold->pair;
    struct pool_tally tally = {0};
    uint32_t index[POOL_BULK];
    uint32_t count = 0;

    for (uint32_t i = first; i < first + n; i++) {
        if (count + CHAIN_MAX > POOL_BULK) {
            buffers_put(pair, index, count, owner, &tally);
            count = 0;
        }
        index[count++] = handle_index(batch->handles[i]);
        for (uint32_t k = 1; chained && k < batch->segments[i]; k++)
            index[count++] = handle_index(batch->chain[CHAIN_ROW * i + k - 1]);
    }
    buffers_put(pair, index, count, owner, &tally);
    rx_counters_add_pool(pair, &tally, owner);
}

uint32_t batch_length(const struct batch *batch, uint32_t i, bool chained)
{
    uint32_t length = handle_length(batch->handles[i]);

    for (uint32_t k = 1; chained && k < batch->segments[i]; k++)
        length += handle_length(batch->chain[CHAIN_ROW * i + k - 1]);
    return length;
}
