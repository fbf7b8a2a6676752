/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/ring/tx_counters.h"

struct run tx_counters_noted(struct queue_pair *pair, struct run run)
{
    uint64_t next = block_open(&pair->sq->seq);

    tx_counters_add_noted(pair);
    block_close(&pair->sq->seq, next);
    return run;
}
