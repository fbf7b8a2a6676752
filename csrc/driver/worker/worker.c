/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/worker/worker.h"

struct hold *worker_hold(struct worker *worker, struct queue_pair *pair)
{
    for (uint32_t i = 0; i < worker->holds; i++)
        if (worker->hold[i].pair == pair)
            return &worker->hold[i];
    worker->hold[worker->holds] = (struct hold){.pair = pair};
    return &worker->hold[worker->holds++];
}
