/* SPDX-License-Identifier: BSD-3-Clause */
/* The narrow table through which C reaches a device register that is not plain memory.
 * Self-contained: the only header that another room may include from this one. */
#ifndef IAVFIO_VFIO_REGIO_H
#define IAVFIO_VFIO_REGIO_H

#include <stdint.h>

struct vfio_regio {
    /* 32-bit read at a byte offset in the BAR; 0xffffffff when the device is lost. */
    uint32_t (*read32)(struct vfio_regio *io, uint64_t offset);
    /* 32-bit write; 0 or a negative errno. Writes of all callers reach the device in one order. */
    int (*write32)(struct vfio_regio *io, uint64_t offset, uint32_t value);
};

#endif
