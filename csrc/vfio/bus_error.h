/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_BUS_ERROR_H
#define IAVFIO_VFIO_BUS_ERROR_H

#include <stdint.h>

#define BUS_ERROR_LOST                                                                             \
    2 /* a page is gone for good, unlike registers that read as ones for a while */

/* A device that is removed or has memory decode off answers a mapped BAR with SIGBUS
 * (docs/spec/vfio.md 9), and a file that another process cut short does the same. A guarded range gets a
 * page of ones in place of the one that failed, *lost becomes BUS_ERROR_LOST, and the process goes on.
 * With `kept`, the range as a whole becomes private memory instead. It begins as what `pages`, of
 * bus_error_pages, refers to, or, where that is -1, as a copy of `kept`, which has as many bytes.
 * Returns 0, or a negative errno. */
int bus_error_guard(void *address, uint64_t size, uint32_t *lost, const void *kept, int pages);

/* Takes hold of the pages of a shared mapping, so that what is written to them by then outlives a file that
 * is cut short. `size`: whole pages. Returns a descriptor that the caller closes, or a negative errno. */
int bus_error_pages(void *address, uint64_t size);
void bus_error_unguard(void *address);

#endif
