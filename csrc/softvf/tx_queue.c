/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/dma.h"
#include "softvf/report.h"
#include "softvf/tx_queue.h"

void tx_queue_stop(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                   const char *rule, const char *why)
{
    vf->tx[queue].stopped = true;
    vf->tx_enabled &= ~(1u << queue);
    vf->stats[TX_ERROR]++;
    report(plane, vf, SOFTVF_MDD, rule, "Tx queue %u descriptor %u: %s", queue, index, why);
}

void tx_queue_look_up(struct vf *vf, struct tx_queue *q)
{
    if (q->generation != vf->dma_generation) {
        q->ring = dma_find_ring(vf, q->iova, q->entries * 16ull);
        q->generation = vf->dma_generation;
    }
}

static void write_done(struct plane *plane, struct vf *vf, struct tx_queue *q, uint32_t index)
{
    uint64_t done = TX_DTYPE_DONE;

    if (q->ring) {
        client_publish(&q->ring[index].qw1, done);
        return;
    }
    client_release();
    if (dma_copy_at(vf, q->iova, index * 16ull + 8, &done, sizeof(done), true))
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/vfio-user.md 4",
               "Tx descriptor %u cannot be written back: its memory is not mapped for writing, or "
               "bus master is off",
               index);
}

void tx_queue_flush(struct plane *plane, struct vf *vf, struct tx_queue *q, bool force)
{
    tx_queue_look_up(vf, q);
    while (q->rs_head != q->rs_tail) {
        uint32_t count = q->rs[q->rs_head];
        uint32_t back = q->taken - count; /* 1 = the last one taken */

        if (!force && count / 4 == q->taken / 4)
            break;
        write_done(plane, vf, q, q->head >= back ? q->head - back : q->head + q->entries - back);
        q->rs_head = q->rs_head + 1 == RING_MAX ? 0 : q->rs_head + 1;
    }
}

uint32_t tx_queue_limit(const struct vf *vf)
{
    uint32_t limit = vf->config->c.max_frame;

    return (limit && limit < TX_MAX_FRAME ? limit : TX_MAX_FRAME) - ETHER_FCS;
}
