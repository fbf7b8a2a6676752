/* SPDX-License-Identifier: BSD-3-Clause */
/* From one client's memory into another's, past the plane's own: each byte is read once. */
#ifndef IAVFIO_SOFTVF_COPY_H
#define IAVFIO_SOFTVF_COPY_H

#include <stdint.h>

#include "softvf/plane.h"

/* Copies len bytes and returns the one's complement sum of the first `summed` of them, unfolded, in the
 * machine's byte order. The ranges may overlap: a client may point them where it likes. */
static inline uint64_t copy_through(const struct plane *plane, uint8_t *to, const uint8_t *from,
                                    uint32_t len, uint32_t summed)
{
    return plane->copy(to, from, len, summed);
}

/* The fastest that this processor has. */
copy_function copy_choose(void);

#endif
