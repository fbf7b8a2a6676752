/* SPDX-License-Identifier: BSD-3-Clause */
/* The tight loop of the send side, shared by all instruction sets. */
#ifndef IAVFIO_DRIVER_SEND_H
#define IAVFIO_DRIVER_SEND_H

#include "driver/metadata.h"
#include "driver/pair.h"

#define TXD_COMMAND ((uint64_t)(TXD_CMD_ICRC) << TXD_CMD_SHIFT)
#define TXD_EOP ((uint64_t)(TXD_CMD_EOP) << TXD_CMD_SHIFT)
#define TXD_RS ((uint64_t)(TXD_CMD_RS) << TXD_CMD_SHIFT)

uint32_t scalar_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
uint32_t scalar_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n,
                             uint32_t *bytes);
#if defined(__x86_64__)
uint32_t avx2_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
uint32_t avx2_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
uint32_t avx512_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
uint32_t avx512_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n,
                             uint32_t *bytes);
#elif defined(__aarch64__)
uint32_t neon_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
uint32_t neon_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes);
#endif

INLINE bool acceptable(const struct pair *pair, uint64_t handle)
{
    return (handle_index(handle) < pair->buffers) &
           (handle_offset(handle) + handle_length(handle) <= pair->stride) &
           (handle_length(handle) - TX_MIN_FRAME <= pair->tx_max_frame - TX_MIN_FRAME);
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
INLINE uint32_t scalar_send_at(struct pair *pair, uint32_t first, const uint64_t *handles,
                               uint32_t n, uint32_t *bytes, const int checked)
{
    uint32_t slot = pair->tx_next + first;
    uint32_t sum = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint64_t handle = handles[i];

        if (unlikely(!acceptable(pair, handle)))
            break;
        if (checked && unlikely(!mark_claim(pair->held, handle_index(handle))))
            break;
        write_slot(pair, slot + i, handle, TXD_COMMAND | TXD_EOP);
        sum += handle_length(handle);
    }
    *bytes += sum;
    return i;
}

#endif
