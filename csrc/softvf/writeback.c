/* SPDX-License-Identifier: BSD-3-Clause */
/* What a filled Rx descriptor says, and when the driver gets to see it (spec: descriptors 6, 7, 11). */
#include "softvf/plane.h"

static void write_back_legacy(struct rx_shadow *to, uint32_t part, const struct rx_facts *last)
{
    uint64_t qw0 = 0, qw2 = 0;
    uint64_t qw1 = RXL_DD | (uint64_t)part << RXL_LEN_SHIFT;

    if (last) {
        const struct pkt_info *info = last->info;
        uint32_t check = last->check;

        qw1 |= RXL_EOP | (uint64_t)(info->ptype & RXL_PTYPE_MASK) << RXL_PTYPE_SHIFT |
               (uint64_t)info->umbcast << RXL_UMBCAST_SHIFT;
        qw1 |= (check & PKT_L3L4P ? RXL_L3L4P : 0) | (check & PKT_IPE ? RXL_IPE : 0) |
               (check & PKT_L4E ? RXL_L4E : 0) | (check & PKT_EIPE ? RXL_EIPE : 0);
        qw1 |= (info->ipv6_ext ? RXL_IPV6EXADD : 0) | (last->loopback ? RXL_LPBK : 0);
        if (last->hashed) {
            qw1 |= (uint64_t)RX_FLTSTAT_RSS_HASH << RXL_FLTSTAT_SHIFT;
            qw0 |= (uint64_t)last->hash << RXL_QW0_HASH_SHIFT;
        }
        if (last->strip == SOFTVF_STRIP_L2TAG1) {
            qw1 |= RXL_L2TAG1P;
            qw0 |= (uint64_t)last->tci << RXL_QW0_L2TAG1_SHIFT;
        } else if (last->strip == SOFTVF_STRIP_L2TAG2_2) {
            qw2 |= RXL_QW2_L2TAG2P | (uint64_t)last->tci << RXL_QW2_L2TAG2_2_SHIFT;
        }
    }
    to->qw[0] = qw0;
    to->qw[1] = qw1;
    to->qw[2] = qw2;
    to->qw[3] = 0;
}

static void write_back_flex(struct rx_shadow *to, uint8_t rxdid, uint32_t part,
                            const struct rx_facts *last)
{
    bool swapped = rxdid == RXDID_COMMS_OVS_1 || rxdid == RXDID_COMMS_OVS_2; /* flow id first */
    uint64_t qw0 = rxdid | (uint64_t)part << RXF_LEN_SHIFT;
    uint64_t qw1 = RXF_DD, qw2 = 0, qw3 = 0;

    if (last) {
        const struct pkt_info *info = last->info;
        uint32_t check = last->check;
        uint64_t no_flow = 0xffffffff;

        qw0 |= (uint64_t)(info->ptype & RXF_PTYPE_MASK) << RXF_PTYPE_SHIFT |
               (uint64_t)info->umbcast << RXF_UMBCAST_SHIFT;
        qw1 |= RXF_EOP | (check & PKT_L3L4P ? RXF_L3L4P : 0) | (check & PKT_IPE ? RXF_IPE : 0) |
               (check & PKT_L4E ? RXF_L4E : 0) | (check & PKT_EIPE ? RXF_EIPE : 0) |
               (check & PKT_EUDPE ? RXF_EUDPE : 0);
        qw1 |= (info->ipv6_ext ? RXF_IPV6EXADD : 0) | (last->loopback ? RXF_LPBK : 0) |
               (last->hashed ? RXF_RSS_VALID : 0);
        qw1 |= (swapped ? no_flow : last->hash) << RXF_QW1_META01_SHIFT;
        qw2 = info->outer_l4_off ? RXF_QW2_NAT : 0;
        qw3 = swapped ? last->hash : no_flow;
        if (last->strip == SOFTVF_STRIP_L2TAG1)
            qw1 |= RXF_L2TAG1P | (uint64_t)last->tci << RXF_QW1_L2TAG1_SHIFT;
        else if (last->strip == SOFTVF_STRIP_L2TAG2_2)
            qw2 |= RXF_QW2_L2TAG2P | (uint64_t)last->tci << RXF_QW2_L2TAG2_2_SHIFT;
    }
    to->qw[0] = qw0;
    to->qw[1] = qw1;
    to->qw[2] = qw2;
    to->qw[3] = qw3;
}

void write_back(struct rx_queue *q, uint32_t index, uint32_t part, const struct rx_facts *last)
{
    if (q->rxdid == RXDID_LEGACY_32B)
        write_back_legacy(&q->shadow[index], part, last);
    else
        write_back_flex(&q->shadow[index], q->rxdid, part, last);
}

static void publish(struct rx_desc *to, const struct rx_shadow *from)
{
    client_store(&to->qw0, from->qw[0]);
    client_store(&to->qw2, from->qw[2]);
    client_store(&to->qw3, from->qw[3]);
    client_publish(&to->qw1, from->qw[1]);
}

/* The same for a ring that is mapped in pieces. */
static void publish_pieces(struct plane *plane, struct vf *vf, const struct rx_queue *q,
                           uint32_t index)
{
    const struct rx_shadow *from = &q->shadow[index];
    uint64_t iova = q->iova + index * 32ull;
    struct rx_shadow whole = *from;

    whole.qw[1] = 0;
    if (dma_copy(vf, iova, &whole, sizeof(whole), true) == 0) {
        client_release();
        whole.qw[1] = from->qw[1];
        if (dma_copy(vf, iova + 8, &whole.qw[1], 8, true) == 0)
            return;
    }
    report(plane, vf, SOFTVF_VIOLATION, "vfio-user 4",
           "Rx descriptor %u cannot be written back: its memory is not mapped for writing, or bus "
           "master is off",
           index);
}

/* Makes filled descriptors visible: all when forced, else whole groups (descriptors 11). */
void rx_flush(struct plane *plane, struct vf *vf, struct rx_queue *q, bool force)
{
    uint32_t count =
        q->head >= q->wb_next ? q->head - q->wb_next : q->head + q->entries - q->wb_next;

    if (!force) {
        uint32_t rest = q->head % plane->wb_group;

        count -= rest < count ? rest : count;
    }
    if (!count)
        return;
    rx_look_up_ring(vf, q);
    for (; count; count--) {
        uint32_t at = q->wb_next;

        if (q->ring)
            publish(&q->ring[at], &q->shadow[at]);
        else
            publish_pieces(plane, vf, q, at);
        q->wb_next = at + 1 == q->entries ? 0 : at + 1;
    }
}
