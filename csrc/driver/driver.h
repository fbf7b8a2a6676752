/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver for programs of this repository that need more than Python does: harnesses and benches. The
 * functions that Python calls are those of cdef.h. */
#ifndef IAVFIO_DRIVER_DRIVER_H
#define IAVFIO_DRIVER_DRIVER_H

#include "driver/cdef.h"
#include "driver/clock.h"
#include "driver/counters.h"
#include "driver/lines.h"
#include "driver/pool/pool.h"
#include "driver/ring/guard.h"
#include "driver/ring/metadata.h"
#include "driver/ring/queue_pair.h"
#include "driver/ring/rx_counters.h"
#include "driver/ring/tx.h"
#include "driver/ring/vector.h"
#include "driver/segment.h"
#include "driver/watchdog.h"
#include "driver/worker/handler.h"
#include "driver/worker/setup.h"
#include "driver/worker/thread.h"

#endif
