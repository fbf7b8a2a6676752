/* SPDX-License-Identifier: BSD-3-Clause */
/* The watchdog from the inside, for tests that cannot wait two seconds. */
#ifndef IAVFIO_DRIVER_WATCHDOG_H
#define IAVFIO_DRIVER_WATCHDOG_H

#include "driver/cdef.h"

/* One round of the Tx hang detection over all queue pairs (docs/spec/libie-counters.md 6). */
void watchdog_check_hangs(struct watchdog *watchdog);

#endif
