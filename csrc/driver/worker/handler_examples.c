/* SPDX-License-Identifier: BSD-3-Clause */
/* Handlers in C: examples of the interface, which compiled Python handlers are compared with. */
#include <string.h>

#include "driver/pool/pool.h"

void handler_swap_macs(uint64_t n, uint8_t *const *data, const uint32_t *length,
                       const struct handler_columns *columns, uint32_t *action, void *state)
{
    (void)columns;
    (void)state;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t dst[6], src[6];

        action[i] = ACTION_TX;
        if (unlikely(length[i] < 12))
            continue;
        memcpy(dst, data[i], 6);
        memcpy(src, data[i] + 6, 6);
        memcpy(data[i], src, 6);
        memcpy(data[i] + 6, dst, 6);
    }
}

void handler_drop_udp(uint64_t n, uint8_t *const *data, const uint32_t *length,
                      const struct handler_columns *columns, uint32_t *action, void *state)
{
    uint64_t *counted = state;
    uint64_t wanted = counted[0], hits = 0;

    (void)columns;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *at = data[i];
        uint32_t hit;

        action[i] = ACTION_TX;
        if (length[i] < 42 || at[12] != 8 || at[13] || at[14] != 0x45 || at[23] != 17)
            continue;
        /* There is no branch on the port, since traffic gives a branch predictor nothing to learn. */
        hit = ((uint32_t)at[36] << 8 | at[37]) == wanted;
        action[i] = hit ? ACTION_DROP : ACTION_TX;
        hits += hit;
    }
    __atomic_store_n(&counted[1], counted[1] + hits, __ATOMIC_RELAXED);
}
