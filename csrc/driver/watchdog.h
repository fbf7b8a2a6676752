/* SPDX-License-Identifier: BSD-3-Clause */
/* The C watchdog from the inside, for tests with a clock of their own. */
#ifndef IAVFIO_DRIVER_WATCHDOG_H
#define IAVFIO_DRIVER_WATCHDOG_H

#include "driver/cdef.h"

/* One round of the Tx hang detection over all queue pairs (docs/spec/libie-counters.md 6). */
void watchdog_check_hangs(struct watchdog *watchdog);

/* One round of all duties at the time `now`. Returns in how many nanoseconds the next one is due. */
uint64_t watchdog_look(struct watchdog *watchdog, uint64_t now);

#endif
