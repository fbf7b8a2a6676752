/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side: descriptors in, frames to the switch (spec: descriptors 1-4, 15). */
#include <string.h>

#include "softvf/plane.h"

/* Stops the queue as malicious driver detection does: completions cease, tail writes are accepted. */
static void mdd(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                const char *rule, const char *why)
{
    vf->tx[queue].stopped = true;
    vf->tx_enabled &= ~(1u << queue);
    vf->stats[TX_ERROR]++;
    report(plane, vf, SOFTVF_MDD, rule, "Tx queue %u descriptor %u: %s", queue, index, why);
}

/* Write-backs of RS descriptors that may be seen by now: all when forced or immediate, else those whose
 * whole cache line (4 descriptors) is done (descriptors 11). Only DTYPE changes, only where RS was set. */
void tx_flush(struct plane *plane, struct vf *vf, struct tx_queue *q, bool force)
{
    while (q->rs_head != q->rs_tail) {
        uint32_t index = q->rs[q->rs_head];
        struct tx_desc *desc;

        if (!force && index / 4 == q->head / 4)
            break;
        desc = q->ring ? &q->ring[index] : (void *)dma_find(vf, q->iova + index * 16ull, 16, true);
        /* Everything the client may reuse was read before it is told so. */
        if (desc)
            __atomic_store_n(&desc->qw1, (uint64_t)TX_DTYPE_DONE, __ATOMIC_RELEASE);
        q->rs_head = q->rs_head + 1 == RING_MAX ? 0 : q->rs_head + 1;
    }
    (void)plane;
}

static void look_up_ring(struct vf *vf, struct tx_queue *q)
{
    if (q->generation != vf->dma_generation) {
        q->ring = (void *)dma_find(vf, q->iova, q->entries * 16ull, true);
        q->generation = vf->dma_generation;
    }
}

static int fetch(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                 struct tx_desc *desc)
{
    struct tx_queue *q = &vf->tx[queue];

    if (q->ring) {
        *desc = q->ring[index]; /* copied once, then checked, then used */
        return 0;
    }
    if (dma_copy(vf, q->iova + index * 16ull, desc, sizeof(*desc), false)) {
        mdd(plane, vf, queue, index, "vfio-user 4", "the descriptor lies outside the DMA windows");
        return -1;
    }
    return 0;
}

struct packet {
    uint32_t first; /* index of its first descriptor */
    uint32_t next; /* index behind its last */
    uint32_t len;
    uint32_t buffers;
    uint64_t qw1; /* of the last data descriptor */
    uint64_t ctx0, ctx1;
    bool context, rs;
    bool complete;
};

/* Gathers the packet at q->head into plane->frame. complete = false: EOP has not been posted yet. */
static int gather(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail,
                  struct packet *p)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t at = q->head;

    memset(p, 0, sizeof(*p));
    p->first = at;
    while (at != tail) {
        struct tx_desc desc;
        uint32_t index = at, cmd, size;

        if (fetch(plane, vf, queue, index, &desc))
            return -1;
        at = at + 1 == q->entries ? 0 : at + 1;
        if ((desc.qw1 & TXD_DTYPE_MASK) == TX_DTYPE_CONTEXT) {
            if (p->context || p->buffers) {
                mdd(plane, vf, queue, index, "descriptors 2",
                    p->context ? "two context descriptors in one packet"
                               : "a context descriptor behind data");
                return -1;
            }
            p->context = true;
            p->ctx0 = desc.addr;
            p->ctx1 = desc.qw1;
            continue;
        }
        if ((desc.qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DATA) {
            mdd(plane, vf, queue, index, "descriptors 1", "DTYPE is neither data nor context");
            return -1;
        }
        cmd = (uint32_t)(desc.qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
        size = (uint32_t)(desc.qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);
        if (size == 0) {
            mdd(plane, vf, queue, index, "descriptors 15", "BUF_SZ is 0");
            return -1;
        }
        if (p->len + size > TSO_ROOM) {
            mdd(plane, vf, queue, index, "descriptors 3",
                "the packet is longer than any TSO can be");
            return -1;
        }
        if (dma_copy(vf, desc.addr, plane->frame + p->len, size, false)) {
            mdd(plane, vf, queue, index, "vfio-user 4", "the buffer lies outside the DMA windows");
            return -1;
        }
        p->len += size;
        p->buffers++;
        p->qw1 = desc.qw1;
        if (!(cmd & TXD_CMD_ICRC))
            report(plane, vf, SOFTVF_VIOLATION, "descriptors 1",
                   "Tx queue %u descriptor %u: ICRC is not set", queue, index);
        if (cmd & TXD_CMD_EOP) {
            p->rs = cmd & TXD_CMD_RS;
            p->next = at;
            p->complete = true;
            return 0;
        }
    }
    return 0;
}

static uint32_t limit_of(const struct vf *vf)
{
    return vf->config->c.max_frame ? vf->config->c.max_frame : TX_MAX_FRAME;
}

/* A gathered packet with its commands to the switch. */
static int emit(struct plane *plane, struct vf *vf, uint32_t queue, struct packet *p)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t cmd = (uint32_t)(p->qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
    bool tso = p->context && (p->ctx1 >> TXC_CMD_SHIFT & TXC_CMD_TSO);
    bool tag2 = p->context && (p->ctx1 >> TXC_CMD_SHIFT & TXC_CMD_IL2TAG2);
    uint16_t tci = tag2 ? (uint16_t)(p->ctx0 >> 32) : (uint16_t)(p->qw1 >> TXD_L2TAG1_SHIFT);
    const char *why = "";
    uint8_t *frame = plane->frame;

    if (p->len < TX_MIN_FRAME) {
        mdd(plane, vf, queue, p->first, "descriptors 15", "the frame is shorter than 17 bytes");
        return -1;
    }
    if (!tso && p->buffers > TX_MAX_BUFFERS) {
        mdd(plane, vf, queue, p->first, "descriptors 3", "the frame has more than 8 buffers");
        return -1;
    }
    if (!tso && p->len > limit_of(vf)) {
        mdd(plane, vf, queue, p->first, "descriptors 3", "the frame is longer than the limit");
        return -1;
    }
    if (tso) {
        struct tso_iter iter;
        uint32_t len;

        if (tso_begin(&iter, frame, p->len, p->qw1, p->ctx0, p->ctx1, &why)) {
            mdd(plane, vf, queue, p->first, "descriptors 3", why);
            return -1;
        }
        if (iter.header_len + iter.mss > limit_of(vf)) {
            mdd(plane, vf, queue, p->first, "descriptors 3",
                "header and MSS make a frame longer than the limit");
            return -1;
        }
        while ((len = tso_next(&iter, plane->segment, sizeof(plane->segment) - 8))) {
            if (cmd & TXD_CMD_IL2TAG1 || tag2)
                vlan_insert(plane->segment, &len, sizeof(plane->segment), vf->config->c.insert_tpid,
                            tci);
            q->packets++;
            q->bytes += len;
            forward_from_vf(plane, vf, plane->segment, len);
        }
        return 0;
    }
    if ((cmd & (TXD_CMD_IIPT_MASK | TXD_CMD_L4T_MASK) || (p->ctx0 & TXC_EIPT_MASK)) &&
        tx_offload(frame, p->len, p->qw1, p->ctx0, &why)) {
        mdd(plane, vf, queue, p->first, "descriptors 1", why);
        return -1;
    }
    if (cmd & TXD_CMD_IL2TAG1 || tag2)
        vlan_insert(frame, &p->len, TSO_ROOM, vf->config->c.insert_tpid, tci);
    q->packets++;
    q->bytes += p->len;
    forward_from_vf(plane, vf, frame, p->len);
    return 0;
}

static void push_rs(struct tx_queue *q, uint32_t index)
{
    q->rs[q->rs_tail] = (uint16_t)index;
    q->rs_tail = q->rs_tail + 1 == RING_MAX ? 0 : q->rs_tail + 1;
}

/* Plain frames of one buffer, no offload: what a generator or forwarder sends. Returns packets taken;
 * stops before anything else. Descriptors are fetched in a batch, payloads prefetched. */
static uint32_t transmit_plain(struct plane *plane, struct vf *vf, struct tx_queue *q,
                               uint32_t tail, uint32_t budget)
{
    const uint64_t offload =
        (uint64_t)(TXD_CMD_IIPT_MASK | TXD_CMD_L4T_MASK | TXD_CMD_IL2TAG1 | TXD_CMD_DUMMY)
        << TXD_CMD_SHIFT;
    const uint64_t whole = (uint64_t)(TXD_CMD_EOP | TXD_CMD_ICRC) << TXD_CMD_SHIFT;
    const uint64_t want = offload | whole | TXD_DTYPE_MASK;
    struct tx_desc desc[BURST];
    const uint8_t *data[BURST];
    uint32_t limit = limit_of(vf);
    uint32_t n = 0, at = q->head;

    for (; n < budget && n < BURST && at != tail; n++) {
        uint32_t size;

        desc[n] = q->ring[at];
        size = (uint32_t)(desc[n].qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);
        if ((desc[n].qw1 & want) != whole || size < TX_MIN_FRAME || size > limit)
            break;
        data[n] = dma_find(vf, desc[n].addr, size, false);
        if (!data[n])
            break;
        __builtin_prefetch(data[n]);
        at = at + 1 == q->entries ? 0 : at + 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size = (uint32_t)(desc[i].qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);

        q->packets++;
        q->bytes += size;
        forward_from_vf(plane, vf, data[i], size);
        if (desc[i].qw1 & (uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT)
            push_rs(q, q->head);
        q->head = q->head + 1 == q->entries ? 0 : q->head + 1;
    }
    return n;
}

uint32_t transmit(struct plane *plane, struct vf *vf, uint32_t queue)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t tail = bar_load(vf, REG_QTX_TAIL1 + 4 * queue);
    uint32_t done = 0;

    if (tail == q->head)
        return 0;
    if (tail >= q->entries) {
        mdd(plane, vf, queue, tail, "descriptors 15", "the tail lies outside the ring");
        return 0;
    }
    if (!vf->bus_master) {
        if (!vf->master_told)
            report(plane, vf, SOFTVF_VIOLATION, "vfio 5",
                   "Tx queue %u: doorbell without bus master", queue);
        vf->master_told = true;
        return 0;
    }
    look_up_ring(vf, q);
    while (done < 2 * BURST && q->head != tail) {
        struct packet p;
        uint32_t n = q->ring ? transmit_plain(plane, vf, q, tail, 2 * BURST - done) : 0;

        done += n;
        if (n || q->head == tail)
            continue;
        if (gather(plane, vf, queue, tail, &p))
            break;
        if (!p.complete)
            break; /* a packet split over doorbells: wait for the rest (descriptors 4) */
        if (emit(plane, vf, queue, &p))
            break;
        if (p.rs)
            push_rs(q, p.next == 0 ? q->entries - 1 : p.next - 1);
        q->head = p.next;
        done++;
    }
    if (done) {
        tx_flush(plane, vf, q, plane->immediate);
        if (!(vf->tx_enabled >> queue & 1))
            return done;
        vector_cause(vf, q->vector);
    }
    return done;
}
