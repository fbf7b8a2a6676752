/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/dma.h"
#include "softvf/rx_queue.h"

void rx_queue_forget_posted(struct rx_queue *q)
{
    q->posted_at = q->posted_end = 0;
}

void rx_queue_look_up(struct vf *vf, struct rx_queue *q)
{
    if (q->generation != vf->dma_generation) {
        q->ring = dma_find_ring(vf, q->iova, q->entries * 32ull);
        q->generation = vf->dma_generation;
        rx_queue_forget_posted(q); /* they point into windows that may be gone */
    }
}
