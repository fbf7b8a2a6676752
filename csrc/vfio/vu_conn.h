/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_VU_CONN_H
#define IAVFIO_VFIO_VU_CONN_H

#include "vfio/cdef.h"

enum vu_command { VU_REGION_READ = 9, VU_REGION_WRITE = 10 };
#define VU_FLAG_REPLY 0x1u
#define VU_FLAG_TYPE 0xfu
#define VU_FLAG_NO_REPLY 0x10u
#define VU_FLAG_ERROR 0x20u
#define VU_MAX_FDS 16

struct vu_header { /* spec vfio-user 1, host byte order */
    uint16_t id;
    uint16_t command;
    uint32_t size;
    uint32_t flags;
    uint32_t error;
};

struct vu_region_access { /* spec vfio-user 4, REGION_READ and REGION_WRITE */
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};

#endif
