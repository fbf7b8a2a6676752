/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory on whole cache lines. */
#ifndef IAVFIO_DRIVER_LINES_H
#define IAVFIO_DRIVER_LINES_H

#include <stddef.h>

/* Zeroed memory that begins and ends with a cache line; NULL when there is none. free() takes it back. */
void *lines_alloc(size_t bytes);

#endif
