/* SPDX-License-Identifier: BSD-3-Clause */
/* One packet of the send side, gathered from its descriptors (docs/spec/descriptors.md 1, 2, 3, 4, 15). */
#include "softvf/dma.h"
#include "softvf/report.h"
#include "softvf/tx_packet.h"
#include "softvf/tx_queue.h"

static int fetch(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                 struct tx_desc *desc)
{
    struct tx_queue *q = &vf->tx[queue];

    if (q->ring) {
        desc->addr = client_load(&q->ring[index].addr);
        desc->qw1 = client_load(&q->ring[index].qw1);
        return 0;
    }
    if (dma_copy_at(vf, q->iova, index * 16ull, desc, sizeof(*desc), false)) {
        tx_queue_stop(plane, vf, queue, index, "docs/spec/vfio-user.md 4",
                      "the descriptor lies outside the DMA windows: rings must be mapped for DMA");
        return -1;
    }
    return 0;
}

static int take_context(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                        const struct tx_desc *desc, struct tx_packet *p)
{
    if (p->context || p->buffers) {
        tx_queue_stop(plane, vf, queue, index, "docs/spec/descriptors.md 2",
                      p->context ? "two context descriptors in one packet: it has at most one"
                                 : "a context descriptor behind data: it is the packet's first");
        return -1;
    }
    p->context = true;
    p->ctx0 = desc->addr;
    p->ctx1 = desc->qw1;
    return 0;
}

static int take_data(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                     const struct tx_desc *desc, struct tx_packet *p)
{
    const uint64_t may_differ = (uint64_t)TXD_BUF_SZ_MASK << TXD_BUF_SZ_SHIFT |
                                (uint64_t)(TXD_CMD_EOP | TXD_CMD_RS) << TXD_CMD_SHIFT;
    uint32_t size = (uint32_t)(desc->qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);

    if (size == 0) {
        tx_queue_stop(plane, vf, queue, index, "docs/spec/descriptors.md 15",
                      "BUF_SZ is 0: every buffer has at least one byte");
        return -1;
    }
    if (p->len + size > TSO_ROOM) {
        tx_queue_stop(plane, vf, queue, index, "docs/spec/descriptors.md 3",
                      "the packet is longer than any TSO can be: TSO_LEN has 18 bits");
        return -1;
    }
    if (dma_copy(vf, desc->addr, plane->frame + p->len, size, false)) {
        tx_queue_stop(plane, vf, queue, index, "docs/spec/vfio-user.md 4",
                      "the buffer lies outside the DMA windows: it must be mapped for DMA before "
                      "it is posted");
        return -1;
    }
    if (p->buffers && (desc->qw1 ^ p->qw1) & ~may_differ)
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 1",
               "Tx queue %u descriptor %u: commands, header lengths and tag are not those of the "
               "packet's other descriptors, and must be",
               queue, index);
    p->len += size;
    plane->buffer_end[p->buffers++] = p->len;
    p->qw1 = desc->qw1;
    if (!(desc->qw1 >> TXD_CMD_SHIFT & TXD_CMD_ICRC))
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 1",
               "Tx queue %u descriptor %u: ICRC is not set: the device must always be asked for "
               "the FCS",
               queue, index);
    return 0;
}

static uint32_t posted(const struct tx_queue *q, uint32_t tail)
{
    return tail >= q->head ? tail - q->head : tail + q->entries - q->head;
}

/* Where the posted descriptors end without an EOP: the driver may still post the rest, but not when
 * the ring holds nothing else. */
static int park(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail)
{
    struct tx_queue *q = &vf->tx[queue];

    if (posted(q, tail) + 1 >= q->entries) {
        tx_queue_stop(plane, vf, queue, q->head, "docs/spec/descriptors.md 15",
                      "no EOP in the whole ring: every packet ends with one");
        return -1;
    }
    if (!q->parked)
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 4",
               "Tx queue %u descriptor %u: the packet is split over doorbells: a tail "
               "stands behind whole packets",
               queue, q->head);
    q->parked = true;
    return 0;
}

/* Whether a descriptor ends the packet that it belongs to, rightly or not. */
static bool ends(const struct tx_desc *desc, bool first)
{
    uint64_t type = desc->qw1 & TXD_DTYPE_MASK;

    if (type == TX_DTYPE_CONTEXT)
        return !first;
    return type != TX_DTYPE_DATA || desc->qw1 >> TXD_CMD_SHIFT & TXD_CMD_EOP ||
           !(desc->qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);
}

enum search { FOUND, MISSING, LATER, STOPPED };

/* Looks for the end of the packet at head, from where the last search ended and as far as the VF's credit
 * goes. What was found to hold no end is not looked at again, whatever the client writes there or the tail
 * says: the descriptors are the device's. */
static enum search find_end(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t there = posted(q, tail), looked = 0;
    enum search found = MISSING;

    if (q->scanned_at != q->taken)
        q->scanned = 0;
    q->scanned_at = q->taken;
    for (; found == MISSING && q->scanned < there; looked++) {
        uint32_t at = q->head + q->scanned;
        struct tx_desc desc;

        if (looked / WORK_SCAN >= QUANTUM)
            found = LATER;
        else if (fetch(plane, vf, queue, at < q->entries ? at : at - q->entries, &desc))
            found = STOPPED;
        else if (ends(&desc, q->scanned == 0))
            found = FOUND;
        else
            q->scanned++;
    }
    plane->spent += looked / WORK_SCAN;
    return found;
}

int tx_packet_gather(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail,
                     struct tx_packet *p)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t at = q->head;

    memset(p, 0, sizeof(*p));
    p->first = at;
    switch (find_end(plane, vf, queue, tail)) {
    case FOUND:
        break;
    case MISSING:
        return park(plane, vf, queue, tail);
    case LATER:
        return 0;
    case STOPPED:
        return -1;
    }
    while (at != tail) {
        struct tx_desc desc;
        uint32_t index = at, type;

        if (fetch(plane, vf, queue, index, &desc))
            return -1;
        at = at + 1 == q->entries ? 0 : at + 1;
        p->descriptors++;
        type = (uint32_t)desc.qw1 & TXD_DTYPE_MASK;
        if (type == TX_DTYPE_CONTEXT) {
            if (take_context(plane, vf, queue, index, &desc, p))
                return -1;
            continue;
        }
        if (type != TX_DTYPE_DATA) {
            tx_queue_stop(plane, vf, queue, index, "docs/spec/descriptors.md 1",
                          "DTYPE is neither data nor context: a driver posts no other");
            return -1;
        }
        if (take_data(plane, vf, queue, index, &desc, p))
            return -1;
        if (desc.qw1 >> TXD_CMD_SHIFT & TXD_CMD_EOP) {
            p->rs = desc.qw1 >> TXD_CMD_SHIFT & TXD_CMD_RS;
            p->complete = true;
            q->parked = false;
            break;
        }
    }
    plane->spent += p->descriptors + p->len / WORK_BYTES;
    if (p->complete)
        return 0;
    q->scanned = p->descriptors; /* the client wrote meanwhile */
    return park(plane, vf, queue, tail);
}

bool tx_packet_segments_fit(const struct plane *plane, const struct tx_packet *p, uint32_t header,
                            uint32_t mss)
{
    uint32_t header_buffers = 1, first = 0;

    while (plane->buffer_end[header_buffers - 1] < header)
        header_buffers++;
    for (uint32_t from = header; from < p->len; from += mss) {
        uint32_t to = from + mss < p->len ? from + mss : p->len;
        uint32_t last, touched;

        while (plane->buffer_end[first] <= from)
            first++;
        for (last = first; plane->buffer_end[last] < to; last++)
            ;
        /* The buffer that holds the header's end may hold payload too: it counts once. */
        touched = last - first + 1 + header_buffers - (first < header_buffers ? 1 : 0);
        if (touched > TX_MAX_BUFFERS)
            return false;
    }
    return true;
}
