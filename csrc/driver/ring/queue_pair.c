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

/* Whoever attaches a mirror stores it, then its functions. Here the plain functions are stored, then it is looked
 * for: the last store is the mirror's in either order. */
void rx_use(struct queue_pair *pair)
{
    const struct rx_paths *plain = pair->paths_of[pair->format];

    for (int i = 0; i < 2; i++) {
        pair->rx_paths.run[i] = plain->run[i];
        __atomic_store_n(&pair->rx_paths.burst[i], plain->burst[i], __ATOMIC_SEQ_CST);
    }
    if (__atomic_load_n(&pair->mirror.rx, __ATOMIC_SEQ_CST))
        for (int i = 0; i < 2; i++)
            __atomic_store_n(&pair->rx_paths.burst[i], pair->mirror.rx_burst[i], __ATOMIC_SEQ_CST);
}

static void use_tx_paths(struct queue_pair *pair, const struct tx_paths *paths)
{
    for (int i = 0; i < 2; i++) {
        __atomic_store_n(&pair->tx_paths.burst[i], paths->burst[i], __ATOMIC_SEQ_CST);
        __atomic_store_n(&pair->tx_paths.post[i], paths->post[i], __ATOMIC_SEQ_CST);
    }
}

void tx_use(struct queue_pair *pair)
{
    use_tx_paths(pair, &pair->tx_plain);
    if (__atomic_load_n(&pair->mirror.tx, __ATOMIC_SEQ_CST))
        use_tx_paths(pair, &pair->mirror.tx_paths);
}
