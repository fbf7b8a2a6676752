/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of a send queue, its completions and its end. */
#ifndef IAVFIO_SOFTVF_TX_QUEUE_H
#define IAVFIO_SOFTVF_TX_QUEUE_H

#include "softvf/plane.h"

/* Finds q->ring again when the DMA windows changed. */
void tx_queue_look_up(struct vf *vf, struct tx_queue *q);
/* Writes back the RS descriptors that may be seen by now: all when forced, else those whose whole cache line
 * (4 descriptors) is done (docs/spec/descriptors.md 11). Only DTYPE changes, and only where RS was set. */
void tx_queue_flush(struct plane *plane, struct vf *vf, struct tx_queue *q, bool force);
/* Stops the queue as malicious driver detection does: completions cease, tail writes are accepted. */
void tx_queue_stop(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                   const char *rule, const char *why);
/* The longest frame that the VF may send, without its FCS. */
uint32_t tx_queue_limit(const struct vf *vf);

/* Takes n descriptors off the ring; rs: the last of them asks for a report. */
static inline void tx_queue_take(struct tx_queue *q, uint32_t n, bool rs)
{
    q->head += n;
    if (q->head >= q->entries)
        q->head -= q->entries;
    q->taken += n;
    if (rs) {
        q->rs[q->rs_tail] = q->taken - 1;
        q->rs_tail = q->rs_tail + 1 == RING_MAX ? 0 : q->rs_tail + 1;
    }
}

#endif
