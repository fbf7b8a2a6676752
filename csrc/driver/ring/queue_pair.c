/* SPDX-License-Identifier: BSD-3-Clause */
#include <unistd.h>

#include "driver/ring/queue_pair.h"

static void wake(struct queue_pair *pair)
{
    uint64_t one = 1;

    (void)!write(pair->wake_fd, &one, sizeof(one));
}

void pair_halt(struct queue_pair *pair, int why)
{
    int32_t state = pair_state(pair);

    /* A lost device stays lost, and a closed pair stays closed. */
    while (state != -ENODEV && state != PAIR_CLOSED &&
           !__atomic_compare_exchange_n(&pair->state, &state, why < 0 ? why : -ESHUTDOWN, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    wake(pair);
}
