/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive side: a frame into the buffers of a ring, and its write-back (spec: descriptors 5-12). */
#include <string.h>

#include "softvf/plane.h"

static void mdd(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                const char *rule, const char *why)
{
    vf->rx[queue].stopped = true;
    vf->rx_enabled &= ~(1u << queue);
    report(plane, vf, SOFTVF_MDD, rule, "Rx queue %u descriptor %u: %s", queue, index, why);
}

/* Makes filled descriptors visible: all when forced or immediate, else whole groups (descriptors 11).
 * The word with DD goes last. */
void rx_flush(struct plane *plane, struct vf *vf, struct rx_queue *q, bool force)
{
    uint32_t count =
        q->head >= q->wb_next ? q->head - q->wb_next : q->head + q->entries - q->wb_next;

    if (!force) {
        uint32_t rest = q->head % plane->wb_group;

        count -= rest < count ? rest : count;
    }
    for (; count; count--) {
        uint32_t at = q->wb_next;
        const struct rx_shadow *from = &q->shadow[at];
        struct rx_desc *to =
            q->ring ? &q->ring[at] : (void *)dma_find(vf, q->iova + at * 32ull, 32, true);

        if (to) {
            to->qw0 = from->qw[0];
            to->qw2 = from->qw[2];
            to->qw3 = from->qw[3];
            /* DD last: the payload and all other words must be seen before it. */
            __atomic_store_n(&to->qw1, from->qw[1], __ATOMIC_RELEASE);
        }
        q->wb_next = at + 1 == q->entries ? 0 : at + 1;
    }
}

static uint32_t free_descriptors(struct vf *vf, uint32_t queue, struct rx_queue *q)
{
    q->tail = bar_load(vf, REG_QRX_TAIL1 + 4 * queue);
    return q->tail >= q->head ? q->tail - q->head : q->tail + q->entries - q->head;
}

static void write_back_legacy(struct rx_shadow *to, const struct pkt_info *info, uint32_t part,
                              bool last, uint32_t check, uint32_t hash, bool hashed, uint32_t strip,
                              uint16_t tci, bool loopback)
{
    uint64_t qw1 = RXL_DD | (uint64_t)part << RXL_LEN_SHIFT;

    memset(to, 0, sizeof(*to));
    if (last) {
        qw1 |= RXL_EOP | (uint64_t)(info->ptype & RXL_PTYPE_MASK) << RXL_PTYPE_SHIFT |
               (uint64_t)info->umbcast << RXL_UMBCAST_SHIFT;
        qw1 |= (check & PKT_L3L4P ? RXL_L3L4P : 0) | (check & PKT_IPE ? RXL_IPE : 0) |
               (check & PKT_L4E ? RXL_L4E : 0) | (check & PKT_EIPE ? RXL_EIPE : 0);
        qw1 |= (info->ipv6_ext ? RXL_IPV6EXADD : 0) | (loopback ? RXL_LPBK : 0);
        if (hashed) {
            qw1 |= (uint64_t)RX_FLTSTAT_RSS_HASH << RXL_FLTSTAT_SHIFT;
            to->qw[0] |= (uint64_t)hash << RXL_QW0_HASH_SHIFT;
        }
        if (strip == SOFTVF_STRIP_L2TAG1) {
            qw1 |= RXL_L2TAG1P;
            to->qw[0] |= (uint64_t)tci << RXL_QW0_L2TAG1_SHIFT;
        } else if (strip == SOFTVF_STRIP_L2TAG2_2) {
            to->qw[2] |= RXL_QW2_L2TAG2P | (uint64_t)tci << RXL_QW2_L2TAG2_2_SHIFT;
        }
    }
    to->qw[1] = qw1;
}

static void write_back_flex(struct rx_shadow *to, uint8_t rxdid, const struct pkt_info *info,
                            uint32_t part, bool last, uint32_t check, uint32_t hash, bool hashed,
                            uint32_t strip, uint16_t tci, bool loopback)
{
    uint64_t qw1 = RXF_DD;
    bool swapped = rxdid == RXDID_COMMS_OVS_1 ||
                   rxdid == RXDID_COMMS_OVS_2; /* flow id first (descriptors 7) */

    memset(to, 0, sizeof(*to));
    to->qw[0] = rxdid | (uint64_t)part << RXF_LEN_SHIFT;
    if (last) {
        uint64_t no_flow = 0xffffffff;

        to->qw[0] |= (uint64_t)(info->ptype & RXF_PTYPE_MASK) << RXF_PTYPE_SHIFT |
                     (uint64_t)info->umbcast << RXF_UMBCAST_SHIFT;
        qw1 |= RXF_EOP | (check & PKT_L3L4P ? RXF_L3L4P : 0) | (check & PKT_IPE ? RXF_IPE : 0) |
               (check & PKT_L4E ? RXF_L4E : 0) | (check & PKT_EIPE ? RXF_EIPE : 0) |
               (check & PKT_EUDPE ? RXF_EUDPE : 0);
        qw1 |= (info->ipv6_ext ? RXF_IPV6EXADD : 0) | (loopback ? RXF_LPBK : 0) |
               (hashed ? RXF_RSS_VALID : 0);
        qw1 |= (uint64_t)(swapped ? no_flow : hash) << RXF_QW1_META01_SHIFT;
        to->qw[2] = info->outer_l4_off ? RXF_QW2_NAT : 0;
        to->qw[3] = swapped ? hash : no_flow;
        if (strip == SOFTVF_STRIP_L2TAG1) {
            qw1 |= RXF_L2TAG1P | (uint64_t)tci << RXF_QW1_L2TAG1_SHIFT;
        } else if (strip == SOFTVF_STRIP_L2TAG2_2) {
            to->qw[2] |= RXF_QW2_L2TAG2P | (uint64_t)tci << RXF_QW2_L2TAG2_2_SHIFT;
        }
    }
    to->qw[1] = qw1;
}

/* Copies the next `part` bytes of a frame whose tag may have been stripped (gap of 4 bytes at 12). */
static void copy_part(uint8_t *to, const uint8_t *frame, uint32_t at, uint32_t part, bool gap)
{
    if (gap && at < 12) {
        uint32_t front = 12 - at < part ? 12 - at : part;

        memcpy(to, frame + at, front);
        memcpy(to + front, frame + at + front + 4, part - front);
        return;
    }
    memcpy(to, frame + at + (gap ? 4 : 0), part);
}

static int fill(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                const uint8_t *frame, uint32_t at, uint32_t part, bool gap)
{
    struct rx_queue *q = &vf->rx[queue];
    struct rx_desc desc;
    uint8_t *to;

    if (q->ring) {
        desc.qw0 = q->ring[index].qw0;
        desc.qw1 = q->ring[index].qw1;
    } else if (dma_copy(vf, q->iova + index * 32ull, &desc, sizeof(desc), false)) {
        mdd(plane, vf, queue, index, "vfio-user 4", "the descriptor lies outside the DMA windows");
        return -1;
    }
    if (desc.qw1 & 1) {
        mdd(plane, vf, queue, index, "descriptors 5",
            "bit 0 of the header buffer address (DD) is set when posted");
        return -1;
    }
    to = dma_find(vf, desc.qw0, part, true);
    if (to) {
        copy_part(to, frame, at, part, gap);
        return 0;
    }
    copy_part(plane->tagged, frame, at, part, gap);
    if (dma_copy(vf, desc.qw0, plane->tagged, part, true)) {
        mdd(plane, vf, queue, index, "vfio-user 4", "the buffer lies outside the DMA windows");
        return -1;
    }
    return 0;
}

static void look_up_ring(struct vf *vf, struct rx_queue *q)
{
    if (q->generation != vf->dma_generation) {
        q->ring = (void *)dma_find(vf, q->iova, q->entries * 32ull, true);
        q->generation = vf->dma_generation;
    }
}

uint32_t receive_room(struct vf *vf)
{
    uint32_t room = ~0u;

    if (!vf->rx_enabled)
        return 0;
    for (uint32_t map = vf->rx_enabled; map; map &= map - 1) {
        uint32_t queue = (uint32_t)__builtin_ctz(map);
        uint32_t here = free_descriptors(vf, queue, &vf->rx[queue]);

        room = here < room ? here : room;
    }
    return room;
}

void receive(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len, int from)
{
    const struct vf_config *config = vf->config;
    struct pkt_info info;
    struct rx_queue *q;
    uint32_t queue = 0, hash, need, check, strip = SOFTVF_STRIP_NONE, out_len = len;
    uint16_t tci = 0;
    bool hashed;

    if (!config->c.active || !vf->rx_enabled) {
        vf->stats[RX_DISCARD]++;
        return;
    }
    pkt_parse(frame, len, &info);
    hash = rss_hash(&config->rss, frame, &info, &hashed);
    if (hashed && config->c.lut_size)
        queue = config->c.rss_lut[hash % config->c.lut_size];
    q = queue < MAX_QUEUES ? &vf->rx[queue] : &vf->rx[0];
    if (!(vf->rx_enabled >> queue & 1)) {
        vf->stats[RX_DISCARD]++;
        return;
    }
    if (config->c.strip != SOFTVF_STRIP_NONE) {
        uint16_t tpid = vlan_outer(frame, len, &tci);

        if (tpid && (tpid == config->c.strip_tpids[0] || tpid == config->c.strip_tpids[1] ||
                     tpid == config->c.strip_tpids[2])) {
            strip = config->c.strip;
            out_len = len - 4;
        }
    }
    look_up_ring(vf, q);
    if (q->keep_crc)
        out_len += 4; /* the FCS is delivered too; its bytes are what lies behind the frame */
    need = out_len > q->buffer_size ? (out_len + q->buffer_size - 1) / q->buffer_size : 1;
    if (out_len > q->max_frame || need > RX_MAX_CHAIN) {
        vf->stats[RX_DISCARD]++;
        return;
    }
    if ((q->tail >= q->head ? q->tail - q->head : q->tail + q->entries - q->head) < need &&
        free_descriptors(vf, queue, q) < need) {
        vf->stats[RX_DISCARD]++;
        q->no_descriptor++;
        return;
    }
    if (q->tail >= q->entries) {
        mdd(plane, vf, queue, q->tail, "descriptors 15", "the tail lies outside the ring");
        return;
    }
    check = pkt_check(frame, len, &info);
    for (uint32_t at = 0, i = 0; i < need; i++) {
        uint32_t part = out_len - at < q->buffer_size ? out_len - at : q->buffer_size;
        uint32_t index = q->head;
        bool last = i + 1 == need;

        if (fill(plane, vf, queue, index, frame, at, part, strip != SOFTVF_STRIP_NONE))
            return;
        if (q->rxdid == RXDID_LEGACY_32B)
            write_back_legacy(&q->shadow[index], &info, part, last, check, hash, hashed, strip, tci,
                              from >= 0);
        else
            write_back_flex(&q->shadow[index], q->rxdid, &info, part, last, check, hash, hashed,
                            strip, tci, from >= 0);
        at += part;
        q->head = index + 1 == q->entries ? 0 : index + 1;
    }
    q->packets++;
    q->bytes += out_len;
    vf->stats[RX_BYTES] += len + 4; /* with FCS (field-evidence 3) */
    vf->stats[RX_UCAST + (info.umbcast == RX_UNICAST ? 0 : info.umbcast == RX_MULTICAST ? 1 : 2)]++;
    vector_cause(vf, q->vector);
}
