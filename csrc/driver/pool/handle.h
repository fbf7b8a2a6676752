/* SPDX-License-Identifier: BSD-3-Clause */
/* A handle is a packet or a segment of one, in 64 bits: index of the buffer, offset of the data in the
 * buffer, length of the data. */
#ifndef IAVFIO_DRIVER_HANDLE_H
#define IAVFIO_DRIVER_HANDLE_H

#include <stdint.h>

#include "driver/cdef.h"

static inline uint32_t handle_index(uint64_t handle)
{
    return (uint32_t)(handle & HANDLE_INDEX_MASK);
}

static inline uint32_t handle_offset(uint64_t handle)
{
    return (uint32_t)(handle >> HANDLE_OFFSET_SHIFT) & HANDLE_FIELD_MASK;
}

static inline uint32_t handle_length(uint64_t handle)
{
    return (uint32_t)(handle >> HANDLE_LENGTH_SHIFT);
}

static inline uint64_t handle_make(uint32_t index, uint32_t offset, uint32_t length)
{
    return index | ((uint64_t)offset << HANDLE_OFFSET_SHIFT) |
           ((uint64_t)length << HANDLE_LENGTH_SHIFT);
}

#endif
