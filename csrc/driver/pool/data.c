/* SPDX-License-Identifier: BSD-3-Clause */
/* Packet data of many handles at once: rows of bytes in, one field of every packet out or in. */
#include <errno.h>
#include <string.h>

#include "driver/pool/pool.h"

int pool_fill(struct pool *pool, uint64_t *handles, const void *data, uint64_t row_stride,
              const uint64_t *offsets, const uint32_t *lengths, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = (const uint8_t *)data + (offsets ? offsets[i] : i * row_stride);
        uint32_t index = handle_index(handles[i]);
        uint32_t offset = handle_offset(handles[i]);

        if (index >= pool->count || offset > pool->stride || lengths[i] > pool->stride - offset)
            return -EMSGSIZE - (int)i;
        memcpy(pool_data(pool, handles[i]), row, lengths[i]);
        handles[i] = handle_make(index, offset, lengths[i]);
    }
    return 0;
}

/* Values move through 64 bits, in the low bytes of the field's own width. */
static uint64_t swap_bytes(uint64_t value, uint32_t width)
{
    return __builtin_bswap64(value) >> (64 - 8 * width);
}

static bool field_fits(const struct pool *pool, uint64_t handle, uint32_t offset, uint32_t width)
{
    return pool_within(pool, handle) && handle_length(handle) >= width &&
           offset <= handle_length(handle) - width;
}

/* The width is a constant in each caller, so that loads and stores have that width. */
INLINE void gather(const struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                   const uint32_t width, bool big_endian, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;

        if (likely(field_fits(pool, handles[i], offset, width)))
            memcpy(&value, pool_data(pool, handles[i]) + offset, width);
        if (big_endian)
            value = swap_bytes(value, width);
        memcpy(out + (size_t)i * width, &value, width);
    }
}

INLINE void scatter(const struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                    const uint32_t width, bool big_endian, const uint8_t *in)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;

        if (!likely(field_fits(pool, handles[i], offset, width)))
            continue;
        memcpy(&value, in + (size_t)i * width, width);
        if (big_endian)
            value = swap_bytes(value, width);
        memcpy(pool_data(pool, handles[i]) + offset, &value, width);
    }
}

int pool_gather(const struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                uint32_t width, int big_endian, void *out)
{
    switch (width) {
    case 1:
        gather(pool, handles, n, offset, 1, false, out);
        return 0;
    case 2:
        gather(pool, handles, n, offset, 2, big_endian, out);
        return 0;
    case 4:
        gather(pool, handles, n, offset, 4, big_endian, out);
        return 0;
    case 8:
        gather(pool, handles, n, offset, 8, big_endian, out);
        return 0;
    default:
        return -EINVAL;
    }
}

int pool_scatter(struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                 uint32_t width, int big_endian, const void *values)
{
    switch (width) {
    case 1:
        scatter(pool, handles, n, offset, 1, false, values);
        return 0;
    case 2:
        scatter(pool, handles, n, offset, 2, big_endian, values);
        return 0;
    case 4:
        scatter(pool, handles, n, offset, 4, big_endian, values);
        return 0;
    case 8:
        scatter(pool, handles, n, offset, 8, big_endian, values);
        return 0;
    default:
        return -EINVAL;
    }
}
