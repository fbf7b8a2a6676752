/* SPDX-License-Identifier: BSD-3-Clause */
/* When the driver gets to see filled Rx descriptors (docs/spec/descriptors.md 11). */
#include "softvf/dma.h"
#include "softvf/report.h"
#include "softvf/rx_queue.h"
#include "softvf/writeback.h"

static void publish(struct rx_desc *to, const struct rx_shadow *from)
{
    client_store(&to->qw0, from->qw[0]);
    client_store(&to->qw2, from->qw[2]);
    client_store(&to->qw3, from->qw[3]);
    client_publish(&to->qw1, from->qw[1]);
}

/* The same for a ring that is mapped in pieces. */
static void publish_pieces(struct plane *plane, struct vf *vf, const struct rx_queue *q,
                           uint32_t index, const struct rx_shadow *from)
{
    uint64_t at = index * 32ull;
    struct rx_shadow whole = *from;

    whole.qw[1] = 0;
    if (dma_copy_at(vf, q->iova, at, &whole, sizeof(whole), true) == 0) {
        client_release();
        whole.qw[1] = from->qw[1];
        if (dma_copy_at(vf, q->iova, at + 8, &whole.qw[1], 8, true) == 0)
            return;
    }
    report(plane, vf, SOFTVF_VIOLATION, "docs/spec/vfio-user.md 4",
           "Rx descriptor %u cannot be written back: its memory is not mapped for writing, or bus "
           "master is off",
           index);
}

void writeback_flush(struct plane *plane, struct vf *vf, struct rx_queue *q, bool force)
{
    uint32_t count = q->wb_pending, at = q->wb_next;

    if (!force) {
        uint32_t rest = q->head % plane->card.wb_group;

        count -= rest < count ? rest : count;
    }
    if (!count)
        return;
    rx_queue_look_up(vf, q);
    for (uint32_t i = 0; q->ring && i < count;
         i++) /* a polling driver reads ahead of what it got */
        prefetch_write(&q->ring[at + i < q->entries ? at + i : at + i - q->entries]);
    for (uint32_t i = 0; i < count; i++) {
        if (q->ring)
            publish(&q->ring[at], &q->shadow[i]);
        else
            publish_pieces(plane, vf, q, at, &q->shadow[i]);
        at = at + 1 == q->entries ? 0 : at + 1;
    }
    q->wb_next = at;
    q->wb_pending -= count;
    memmove(q->shadow, q->shadow + count, q->wb_pending * sizeof(*q->shadow));
}
