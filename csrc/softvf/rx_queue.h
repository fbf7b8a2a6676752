/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of a receive queue. */
#ifndef IAVFIO_SOFTVF_RX_QUEUE_H
#define IAVFIO_SOFTVF_RX_QUEUE_H

#include "softvf/plane.h"

void rx_queue_forget_posted(struct rx_queue *q);
/* Finds q->ring again when the DMA windows changed; to be called before each use of it. */
void rx_queue_look_up(struct vf *vf, struct rx_queue *q);

#endif
