/* SPDX-License-Identifier: BSD-3-Clause */
/* Which packets of a burst a filter lets through. */
#ifndef IAVFIO_DRIVER_SELECTION_H
#define IAVFIO_DRIVER_SELECTION_H

#include <stdint.h>

struct pool;
struct columns;
struct filter_step;

/* Runs a checked program over n received packets, as their frames were on the wire: mask[i] becomes 1 for those that
 * it lets through, else 0. Returns how many these are. `tag_type`: the EtherType of tags that the device strips, 0:
 * the columns have no tags. */
uint32_t selection_mask(const struct filter_step *program, const struct pool *pool,
                        const struct columns *columns, uint32_t n, uint32_t tag_type,
                        uint8_t *mask);

#endif
