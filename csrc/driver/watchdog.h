/* SPDX-License-Identifier: BSD-3-Clause */
/* The housekeeping thread from the inside, for tests that cannot wait two seconds. */
#ifndef IAVFIO_DRIVER_WATCH_H
#define IAVFIO_DRIVER_WATCH_H

#include "driver/cdef.h"

/* One round of the Tx hang detection over all pairs (libie-stats 6). */
void watch_check_hangs(struct watch *watch);

#endif
