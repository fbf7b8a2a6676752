/* SPDX-License-Identifier: BSD-3-Clause */
/* No vector instructions: for any processor, and what the others are compared with. */
#include "driver/simd/isa.h"
#include "driver/simd/rx_loop.h"
#include "driver/simd/tx_loop.h"

static bool usable(void)
{
    return true;
}

RX_ALL(scalar, SCALAR_LANES)

INLINE struct run scalar_tx_run(struct queue_pair *pair, const uint64_t *handles, uint32_t n,
                                const int checked)
{
    return scalar_tx_at(pair, 0, handles, n, checked);
}

TX_ALL(scalar, 1)

const struct isa isa_scalar = {
    .name = "scalar",
    .number = ISA_SCALAR,
    .usable = usable,
    .rx = scalar_rx,
    .rx_post = scalar_rx_post,
    .tx = TX_PATHS(scalar),
};
