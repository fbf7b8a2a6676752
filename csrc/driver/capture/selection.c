/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/capture/selection.h"

#include "driver/capture/filter.h"
#include "driver/capture/whole.h"

/* Whether every segment lies inside the pool: the columns may have been written by somebody else. */
static bool within(const struct pool *pool, const struct columns *columns, uint32_t i)
{
    bool good = pool_within(pool, columns->handles[i]);

    for (uint32_t k = 1; columns->segments && k < columns->segments[i] && k < CHAIN_MAX; k++)
        good &= pool_within(pool, columns->chain[CHAIN_ROW * (uint64_t)i + k - 1]);
    return good;
}

uint32_t selection_mask(const struct filter_step *program, const struct pool *pool,
                        const struct columns *columns, uint32_t n, uint32_t tag_type, uint8_t *mask)
{
    uint8_t room[RX_MAX_FRAME + TAG_BYTES];
    uint32_t found = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct whole whole;

        mask[i] = 0;
        if (unlikely(!within(pool, columns, i)))
            continue;
        whole_of(&whole, pool, columns, i, tag_type, RX_MAX_FRAME);
        mask[i] = filter_run(program, whole_frame(&whole, room), whole.length, whole.length) != 0;
        found += mask[i];
    }
    return found;
}
