/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user: the numbers of its commands, and the layouts that every message has
 * (docs/spec/vfio-user.md 1, 3, 4). All words are in host byte order. */
#ifndef IAVFIO_HW_VFIO_USER_H
#define IAVFIO_HW_VFIO_USER_H

#include <stdint.h>

enum vu_command {
    VU_VERSION = 1,
    VU_DMA_MAP = 2,
    VU_DMA_UNMAP = 3,
    VU_DEVICE_GET_INFO = 4,
    VU_DEVICE_GET_REGION_INFO = 5,
    VU_DEVICE_GET_REGION_IO_FDS = 6,
    VU_DEVICE_GET_IRQ_INFO = 7,
    VU_DEVICE_SET_IRQS = 8,
    VU_REGION_READ = 9,
    VU_REGION_WRITE = 10,
    VU_DMA_READ = 11,
    VU_DMA_WRITE = 12,
    VU_DEVICE_RESET = 13,
    VU_REGION_WRITE_MULTI = 15,
    VU_DEVICE_FEATURE = 16,
    VU_MIG_DATA_READ = 17,
    VU_MIG_DATA_WRITE = 18
};

#define VU_FLAG_REPLY 0x1
#define VU_FLAG_TYPE 0xf
#define VU_FLAG_NO_REPLY 0x10
#define VU_FLAG_ERROR 0x20

#define VU_MAX_FDS 16 /* file descriptors with one message */
#define VU_MAX_DATA 0x100000 /* bytes that one message carries */

struct vu_header {
    uint16_t id;
    uint16_t command;
    uint32_t size; /* of the whole message, this header included */
    uint32_t flags;
    uint32_t error;
};

struct vu_region_access { /* REGION_READ and REGION_WRITE; the data follow */
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};

#endif
