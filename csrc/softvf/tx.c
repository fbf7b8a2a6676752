/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side: descriptors in, frames to the switch (docs/spec/descriptors.md 1, 2, 3, 4, 15). */
#include "softvf/bar.h"
#include "softvf/fast_path.h"
#include "softvf/report.h"
#include "softvf/shaper.h"
#include "softvf/switch.h"
#include "softvf/tx.h"
#include "softvf/tx_packet.h"
#include "softvf/tx_queue.h"
#include "softvf/vectors.h"

/* frame has room for the tags. Of two tags that of the data descriptor is the inner one. */
static void insert_tags(const struct vf *vf, const struct tx_packet *p, uint8_t *frame,
                        uint32_t *len, uint32_t room)
{
    bool tag1 = p->qw1 >> TXD_CMD_SHIFT & TXD_CMD_IL2TAG1;
    bool tag2 = p->context && (p->ctx1 >> TXC_CMD_SHIFT & TXC_CMD_IL2TAG2);
    uint16_t tpid = vf->config->c.insert_tpid;

    if (tag1)
        vlan_insert(frame, len, room, tag2 ? 0x8100 : tpid, (uint16_t)(p->qw1 >> TXD_L2TAG1_SHIFT));
    if (tag2)
        vlan_insert(frame, len, room, tpid, (uint16_t)(p->ctx0 >> 32));
}

static void send_out(struct plane *plane, struct vf *vf, struct tx_queue *q, uint8_t *frame,
                     uint32_t len)
{
    if (len < ETHER_MIN_FRAME) { /* the device pads (docs/spec/descriptors.md 3) */
        memset(frame + len, 0, ETHER_MIN_FRAME - len);
        len = ETHER_MIN_FRAME;
    }
    q->packets++;
    q->bytes += len;
    switch_from_vf(plane, vf, frame, len);
}

/* Sends segments while the VF has credit; false when some are left. */
static bool send_segments(struct plane *plane, struct vf *vf, struct tx_queue *q,
                          const struct tx_packet *p, struct tso_iter *iter)
{
    while (plane->spent < QUANTUM) {
        uint32_t len = tso_next(iter, plane->segment, sizeof(plane->segment) - 8);

        if (!len)
            return true;
        plane->spent += WORK_SEGMENT;
        insert_tags(vf, p, plane->segment, &len, sizeof(plane->segment));
        send_out(plane, vf, q, plane->segment, len);
    }
    return iter->offset >= iter->len - iter->header_len;
}

/* Keeps what is left of a packet: others will need plane->frame. */
static void put_off(struct plane *plane, struct vf *vf, uint32_t queue, const struct tx_packet *p,
                    const struct tso_iter *iter)
{
    struct unfinished *rest = &vf->unfinished;

    memcpy(rest->frame, plane->frame, p->len);
    rest->queue = queue;
    rest->packet = *p;
    rest->iter = *iter;
    rest->iter.frame = rest->frame;
    rest->active = true;
}

static const char *emit_segments(struct plane *plane, struct vf *vf, uint32_t queue,
                                 const struct tx_packet *p)
{
    struct tso_iter iter;
    const char *why = "";

    if (tso_begin(&iter, plane->frame, p->len, p->qw1, p->ctx0, p->ctx1, &why))
        return why;
    if (iter.header_len + iter.mss > tx_queue_limit(vf))
        return "header and MSS make a frame longer than the limit";
    if (!tx_packet_segments_fit(plane, p, iter.header_len, iter.mss))
        return "a segment has more than 8 buffers";
    if (!send_segments(plane, vf, &vf->tx[queue], p, &iter))
        put_off(plane, vf, queue, p, &iter);
    return NULL;
}

/* What is wrong with commands that the hardware carries out all the same, with a result that nobody wants;
 * NULL when nothing is. tx_offload has found the lengths to lie inside the frame. */
static const char *wrong_command(const uint8_t *frame, const struct tx_packet *p)
{
    uint32_t cmd = (uint32_t)(p->qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
    uint32_t l3 = (uint32_t)(p->qw1 >> TXD_MACLEN_SHIFT & TXD_MACLEN_MASK) * 2;
    uint32_t iplen = (uint32_t)(p->qw1 >> TXD_IPLEN_SHIFT & TXD_IPLEN_MASK) * 4;
    uint32_t l4len = (uint32_t)(p->qw1 >> TXD_L4LEN_SHIFT & TXD_L4LEN_MASK) * 4;
    bool v6 = (cmd & TXD_CMD_IIPT_MASK) == TXD_CMD_IIPT_IPV6;

    if (!(cmd & TXD_CMD_IIPT_MASK))
        return NULL;
    if (p->ctx0 & TXC_EIPT_MASK)
        l3 += (uint32_t)(p->ctx0 >> TXC_EIPLEN_SHIFT & TXC_EIPLEN_MASK) * 4 +
              (uint32_t)(p->ctx0 >> TXC_L4TUNLEN_SHIFT & TXC_L4TUNLEN_MASK) * 2;
    if (frame[l3] >> 4 != (v6 ? 6 : 4))
        return "IIPT is not the IP version behind MACLEN";
    if (v6 ? iplen < 40 : iplen != (frame[l3] & 15u) * 4)
        return "IPLEN is not the length of the IP header";
    switch (cmd & TXD_CMD_L4T_MASK) {
    case TXD_CMD_L4T_TCP:
        return l4len < 20 ? "L4LEN is too short for TCP" : NULL;
    case TXD_CMD_L4T_UDP:
        return l4len != 8 ? "L4LEN is not 8 for UDP" : NULL;
    case TXD_CMD_L4T_SCTP:
        return l4len != 12 ? "L4LEN is not 12 for SCTP" : NULL;
    default:
        return NULL;
    }
}

static const char *emit_frame(struct plane *plane, struct vf *vf, struct tx_queue *q,
                              struct tx_packet *p)
{
    uint32_t cmd = (uint32_t)(p->qw1 >> TXD_CMD_SHIFT & TXD_CMD_MASK);
    const char *why = "", *wrong;

    if (p->buffers > TX_MAX_BUFFERS)
        return "the frame has more than 8 buffers";
    if (p->len > tx_queue_limit(vf))
        return "the frame is longer than the limit";
    if ((cmd & (TXD_CMD_IIPT_MASK | TXD_CMD_L4T_MASK) || (p->ctx0 & TXC_EIPT_MASK)) &&
        tx_offload(plane->frame, p->len, p->qw1, p->ctx0, &why))
        return why;
    wrong = wrong_command(plane->frame, p);
    if (wrong)
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 1", "Tx descriptor %u: %s",
               p->first, wrong);
    insert_tags(vf, p, plane->frame, &p->len, TSO_ROOM);
    send_out(plane, vf, q, plane->frame, p->len);
    return NULL;
}

/* A gathered packet with its commands to the switch. */
static int emit(struct plane *plane, struct vf *vf, uint32_t queue, struct tx_packet *p)
{
    struct tx_queue *q = &vf->tx[queue];
    bool tso = p->context && (p->ctx1 >> TXC_CMD_SHIFT & TXC_CMD_TSO);
    const char *why;

    if (p->qw1 >> TXD_CMD_SHIFT & TXD_CMD_DUMMY)
        return 0; /* no packet is sent */
    if (p->len < TX_MIN_FRAME)
        why = "the frame is shorter than 17 bytes";
    else
        why = tso ? emit_segments(plane, vf, queue, p) : emit_frame(plane, vf, q, p);
    if (why)
        tx_queue_stop(plane, vf, queue, p->first,
                      p->len < TX_MIN_FRAME ? "docs/spec/descriptors.md 15"
                                            : "docs/spec/descriptors.md 3",
                      why);
    return why ? -1 : 0;
}

static bool ready(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail)
{
    if (tail >= vf->tx[queue].entries) {
        tx_queue_stop(plane, vf, queue, tail, "docs/spec/descriptors.md 15",
                      "the tail lies outside the ring: it is the index of a descriptor");
        return false;
    }
    if (!vf->bus_master) {
        if (!vf->master_reported)
            report(plane, vf, SOFTVF_VIOLATION, "docs/spec/vfio.md 5",
                   "Tx queue %u: doorbell without bus master: the device cannot read the ring",
                   queue);
        vf->master_reported = true;
        return false;
    }
    return true;
}

/* Goes on with a packet that was put off; false when some of it is left still. */
static bool go_on(struct plane *plane, struct vf *vf, struct tx_queue *q)
{
    struct unfinished *rest = &vf->unfinished;

    if (!send_segments(plane, vf, q, &rest->packet, &rest->iter))
        return false;
    rest->active = false;
    tx_queue_take(q, rest->packet.descriptors, rest->packet.rs);
    return true;
}

/* Serves packets that the fast path leaves, one; false when there is no more to do now. */
static bool serve_one(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail)
{
    struct tx_packet p;

    if (vf->unfinished.active) /* its frame waits; plain frames of other queues go on */
        return vf->unfinished.queue == queue && go_on(plane, vf, &vf->tx[queue]);
    if (tx_packet_gather(plane, vf, queue, tail, &p) || !p.complete || emit(plane, vf, queue, &p) ||
        vf->unfinished.active)
        return false;
    tx_queue_take(&vf->tx[queue], p.descriptors, p.rs);
    return true;
}

uint32_t tx_serve(struct plane *plane, struct vf *vf, uint32_t queue)
{
    struct tx_queue *q = &vf->tx[queue];
    uint32_t tail = bar_load(vf, REG_QTX_TAIL1 + 4 * queue);
    bool waits = vf->unfinished.active && vf->unfinished.queue == queue;
    uint32_t before = plane->spent, done = 0;

    if (q->stalled || (tail == q->head && !waits) || !ready(plane, vf, queue, tail))
        return 0;
    tx_queue_look_up(vf, q);
    while (done < ROUND && plane->spent < QUANTUM && (q->head != tail || waits) &&
           !shaper_waits(vf)) {
        uint32_t most = vf->config->c.rate ? 1 : ROUND - done; /* a rate counts frame by frame */
        uint64_t sent = shaper_sent(q);
        uint32_t searches = vf->dma.searches;
        uint32_t n = q->ring && !waits ? fast_path(plane, vf, q, tail, most) : 0;
        bool served = n || serve_one(plane, vf, queue, tail);

        waits = false;
        plane->spent += n + (vf->dma.searches - searches);
        shaper_charge(vf, shaper_sent(q) - sent);
        if (!served)
            break;
        done += n ? n : 1;
    }
    if (q->rs_head != q->rs_tail) {
        tx_queue_flush(plane, vf, q, plane->immediate || q->stopped);
        vector_cause(vf, q->vector);
    }
    return plane->spent - before;
}
