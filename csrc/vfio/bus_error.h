/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_BUS_ERROR_H
#define IAVFIO_VFIO_BUS_ERROR_H

#include <stdint.h>

#define BUS_ERROR_LOST                                                                             \
    2 /* a page is gone for good, unlike registers that read as ones for a while */

/* A device that is removed or has memory decode off answers a mapped BAR with SIGBUS
 * (docs/spec/vfio.md 9), and a file that another process cut short does the same. A guarded range gets a
 * page of ones in place of the one that failed, *lost becomes BUS_ERROR_LOST, and the process goes on.
 * Returns 0, or a negative errno. */
int bus_error_guard(void *address, uint64_t size, uint32_t *lost);
void bus_error_unguard(void *address);

#endif
