/* SPDX-License-Identifier: BSD-3-Clause */
/* A descriptor for select, epoll and asyncio: an epoll instance of the caller's over the eventfd of the pair's
 * vector and the pair's own. It is readable from the moment at which packets may wait, or the pair was stopped,
 * until a pair_recv has found the ring empty (docs/spec/reliability.md F47). */
#ifndef IAVFIO_DRIVER_WATCH_H
#define IAVFIO_DRIVER_WATCH_H

#include "driver/ring/queue_pair.h"

/* What follows an empty poll of a pair with tend_empty. The caller has entered the receive side. */
void pair_tend(struct queue_pair *pair);
/* Keeps the descriptor of a watched pair readable when a packet lies in the ring, or when the device has no
 * buffers, without which it cannot interrupt. The caller has entered the receive side. */
void watch_look(struct queue_pair *pair);

#endif
