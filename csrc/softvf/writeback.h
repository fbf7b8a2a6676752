/* SPDX-License-Identifier: BSD-3-Clause */
/* What a filled Rx descriptor says (docs/spec/descriptors.md 6, 7). Inline: where a frame's facts are
 * known, so are most of its bits. */
#ifndef IAVFIO_SOFTVF_WRITEBACK_H
#define IAVFIO_SOFTVF_WRITEBACK_H

#include "softvf/plane.h"

#define FLEXBH_FD_ID 0x10 /* in qw2: the upper half of qw3 is the mark */
#define NO_FLOW 0xffffffffu

/* What stands in the flow id of a format, NO_FLOW where none fits. */
static inline uint32_t flow_id(uint8_t rxdid, const struct rx_facts *last)
{
    if (!last->marked || rxdid == RXDID_COMMS_IPSEC) /* whose word is the SAID */
        return NO_FLOW;
    return rxdid == RXDID_FLEX_NIC_2 ? last->mark | 0xffff0000
                                     : last->mark; /* with the source VSI */
}

static inline void write_back_legacy(struct rx_shadow *to, uint32_t part,
                                     const struct rx_facts *last)
{
    uint64_t qw0 = 0, qw2 = 0, qw3 = 0;
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
        qw1 |= last->matched ? RXL_FLM : 0;
        if (last->marked) { /* FLTSTAT is left to the hash (docs/spec/descriptors.md 14) */
            qw2 |= FLEXBH_FD_ID;
            qw3 = (uint64_t)last->mark << 32;
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
    to->qw[3] = qw3;
}

static inline void write_back_flex(struct rx_shadow *to, uint8_t rxdid, uint32_t part,
                                   const struct rx_facts *last)
{
    bool swapped = rxdid == RXDID_COMMS_OVS_1 || rxdid == RXDID_COMMS_OVS_2; /* flow id first */
    uint64_t qw0 = rxdid | (uint64_t)part << RXF_LEN_SHIFT;
    uint64_t qw1 = RXF_DD, qw2 = 0, qw3 = 0;

    if (last) {
        const struct pkt_info *info = last->info;
        uint32_t check = last->check;
        uint64_t flow = flow_id(rxdid, last);

        qw0 |= (uint64_t)(info->ptype & RXF_PTYPE_MASK) << RXF_PTYPE_SHIFT |
               (uint64_t)info->umbcast << RXF_UMBCAST_SHIFT;
        qw1 |= RXF_EOP | (check & PKT_L3L4P ? RXF_L3L4P : 0) | (check & PKT_IPE ? RXF_IPE : 0) |
               (check & PKT_L4E ? RXF_L4E : 0) | (check & PKT_EIPE ? RXF_EIPE : 0) |
               (check & PKT_EUDPE ? RXF_EUDPE : 0);
        qw1 |= (info->ipv6_ext ? RXF_IPV6EXADD : 0) | (last->loopback ? RXF_LPBK : 0) |
               (last->hashed ? RXF_RSS_VALID : 0);
        qw1 |= (swapped ? flow : last->hash) << RXF_QW1_META01_SHIFT;
        qw2 = info->outer_l4_off ? RXF_QW2_NAT : 0;
        qw3 = swapped ? last->hash : flow;
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

/* Makes filled descriptors visible: all when forced, else whole groups (docs/spec/descriptors.md 11). */
void writeback_flush(struct plane *plane, struct vf *vf, struct rx_queue *q, bool force);

/* The queue's next descriptor is filled; rx_flush lets the driver see it. */
static inline void write_back(struct rx_queue *q, uint32_t part, const struct rx_facts *last)
{
    struct rx_shadow *to = &q->shadow[q->wb_pending++];

    if (q->rxdid == RXDID_LEGACY_32B)
        write_back_legacy(to, part, last);
    else
        write_back_flex(to, q->rxdid, part, last);
    q->head = q->head + 1 == q->entries ? 0 : q->head + 1;
}

#endif
