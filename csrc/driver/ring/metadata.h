/* SPDX-License-Identifier: BSD-3-Clause */
/* From a write-back descriptor to the columns of a burst. Formats and the wanted set are compile-time
 * constants in the receive loop, so that each receive function holds only what its queue asked for. */
#ifndef IAVFIO_DRIVER_METADATA_H
#define IAVFIO_DRIVER_METADATA_H

#include "driver/ring/queue_pair.h"

/* Which headers of a packet type carry a checksum (docs/spec/descriptors.md 13). */
enum ptype_class { CLASS_IP4 = 1, CLASS_L4 = 2, CLASS_OUTER4 = 4, CLASS_OUTER6 = 8 };

#define CSUM_IP_SHIFT 0
#define CSUM_L4_SHIFT 2
#define CSUM_OUTER_SHIFT 4
#define CSUM_UDP_SHIFT 6

#define RXL_ERRORS (RXL_IPE | RXL_L4E | RXL_EIPE | RXL_PPRS | RXL_IPV6EXADD)
#define RXF_ERRORS (RXF_IPE | RXF_L4E | RXF_EIPE | RXF_EUDPE | RXF_IPV6EXADD)
/* header split done, which no queue asks for; also programming status */
#define RXL_SPH (1ull << 63)
#define RXF_SPH (1ull << 59)
#define FLOW_NONE 0xffffffff

/* The four words that the device wrote back, each read from the ring once (docs/spec/reliability.md S1). */
struct writeback {
    uint64_t qw0, qw1, qw2, qw3;
};

/* The word with DD is read first, the others only after it (docs/spec/registers.md 7). */
INLINE uint64_t writeback_status(const struct rx_desc *desc)
{
    return __atomic_load_n(&desc->qw1, __ATOMIC_ACQUIRE);
}

INLINE uint64_t writeback_word(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

INLINE uint32_t writeback_length(const struct writeback *w, const int format)
{
    return format == FORMAT_LEGACY ? (uint32_t)(w->qw1 >> RXL_LEN_SHIFT) & RXL_LEN_MASK
                                   : (uint32_t)(w->qw0 >> RXF_LEN_SHIFT) & RXF_LEN_MASK;
}

/* In the 8-bit field a type that the table of docs/spec/descriptors.md 13 does not know counts as unknown;
 * the 10-bit field has further values of its own, which are reported as they are. */
INLINE uint32_t writeback_ptype(const struct writeback *w, const int format)
{
    uint32_t ptype;

    if (format != FORMAT_LEGACY)
        return (uint32_t)(w->qw0 >> RXF_PTYPE_SHIFT) & RXF_PTYPE_MASK;
    ptype = (uint32_t)(w->qw1 >> RXL_PTYPE_SHIFT) & RXL_PTYPE_MASK;
    return ptype < PTYPE_COMMON ? ptype : PTYPE_UNKNOWN;
}

/* One header's two bits of the csum column become `status`. */
static inline uint32_t csum_set(uint32_t column, const int shift, uint32_t status)
{
    return (column & ~(3u << shift)) | status << shift;
}

/* The csum column when a bit is set that may spoil the good one (docs/spec/descriptors.md 8). IPE names
 * the inner IP header and EIPE the outer one. A bit whose header carries no checksum, or is not there,
 * can only mean the one IPv4 header that is: a tunnel whose payload is no IP has an outer header alone.
 * */
static inline uint8_t csum_with_errors(uint32_t class, bool ipe, bool l4e, bool eipe, bool eudpe,
                                       bool pprs, bool exadd, uint8_t good)
{
    bool outer6_ext = exadd && (class & CLASS_OUTER6);
    bool inner_bad = (class & CLASS_IP4) && (ipe || (eipe && !(class & CLASS_OUTER4)));
    bool outer_bad = (class & CLASS_OUTER4) && (eipe || (ipe && !(class & CLASS_IP4)));
    uint32_t column = good;

    if (inner_bad)
        column = csum_set(column, CSUM_IP_SHIFT, CSUM_BAD);
    if (outer_bad)
        column = csum_set(column, CSUM_OUTER_SHIFT, CSUM_BAD);
    /* A checksum is bad only by an explicit error; one that the device did not look at is unknown. */
    if ((class & CLASS_L4) && (l4e || ipe || inner_bad || outer_bad || pprs || outer6_ext))
        column = csum_set(column, CSUM_L4_SHIFT, l4e && !outer6_ext ? CSUM_BAD : CSUM_UNKNOWN);
    if (eudpe)
        column = csum_set(column, CSUM_UDP_SHIFT, CSUM_BAD);
    return (uint8_t)column;
}

INLINE uint8_t writeback_csum(const struct queue_pair *pair, const struct writeback *w,
                              uint32_t ptype, const int format)
{
    uint32_t known = ptype < PTYPES_CLASSED ? ptype : PTYPE_UNKNOWN;
    uint32_t class = pair->class_of[known];
    uint8_t good = pair->good_of[known];

    if (format == FORMAT_LEGACY) {
        if (!(w->qw1 & RXL_L3L4P))
            return 0;
        if (likely(!(w->qw1 & RXL_ERRORS)))
            return good;
        return csum_with_errors(class, w->qw1 & RXL_IPE, w->qw1 & RXL_L4E, w->qw1 & RXL_EIPE, false,
                                w->qw1 & RXL_PPRS, w->qw1 & RXL_IPV6EXADD, good);
    }
    if (!(w->qw1 & RXF_L3L4P))
        return 0;
    if (w->qw2 & RXF_QW2_NAT) /* a UDP tunnel: the outer checksum was looked at */
        good |= CSUM_GOOD << CSUM_UDP_SHIFT;
    if (likely(!(w->qw1 & RXF_ERRORS)))
        return good;
    return csum_with_errors(class, w->qw1 & RXF_IPE, w->qw1 & RXF_L4E, w->qw1 & RXF_EIPE,
                            (w->qw1 & RXF_EUDPE) && (w->qw2 & RXF_QW2_NAT), false,
                            w->qw1 & RXF_IPV6EXADD, good);
}

/* True, and the tag in *tag, when a tag was stripped (docs/spec/descriptors.md 9). */
INLINE bool writeback_vlan(const struct queue_pair *pair, const struct writeback *w,
                           const int format, uint16_t *tag)
{
    if (pair->vlan_in_l2tag2) {
        *tag = (uint16_t)(w->qw2 >> RXL_QW2_L2TAG2_2_SHIFT);
        return format == FORMAT_LEGACY ? w->qw2 & RXL_QW2_L2TAG2P : w->qw2 & RXF_QW2_L2TAG2P;
    }
    if (format == FORMAT_LEGACY) {
        *tag = (uint16_t)(w->qw0 >> RXL_QW0_L2TAG1_SHIFT);
        return w->qw1 & RXL_L2TAG1P;
    }
    *tag = (uint16_t)(w->qw1 >> RXF_QW1_L2TAG1_SHIFT);
    return w->qw1 & RXF_L2TAG1P;
}

/* True, and the mark in *mark, when a flow director rule marked the packet
 * (docs/spec/descriptors.md 6, 7, 14). */
INLINE bool writeback_mark(const struct queue_pair *pair, const struct writeback *w,
                           const int format, uint32_t *mark)
{
    if (format == FORMAT_LEGACY) {
        if (((w->qw1 >> RXL_FLTSTAT_SHIFT) & RXL_FLTSTAT_MASK) == RX_FLTSTAT_FD_ID)
            *mark = (uint32_t)(w->qw0 >> RXL_QW0_HASH_SHIFT);
        else if ((w->qw1 & RXL_FLM) && ((w->qw2 >> 4) & 3) == 1)
            *mark = (uint32_t)(w->qw3 >> 32);
        else
            return false;
        return true;
    }
    *mark =
        format == FORMAT_FLEX_OVS ? (uint32_t)(w->qw1 >> RXF_QW1_META01_SHIFT) : (uint32_t)w->qw3;
    if (pair->flex == RXDID_FLEX_NIC_2) /* the upper half is the source VSI */
        *mark &= 0xffff;
    return pair->flex == RXDID_FLEX_NIC_2 ? *mark != 0xffff
                                          : *mark != FLOW_NONE && pair->flex != RXDID_COMMS_IPSEC;
}

INLINE bool writeback_rss(const struct writeback *w, const int format, uint32_t *rss)
{
    switch (format) {
    case FORMAT_LEGACY:
        *rss = (uint32_t)(w->qw0 >> RXL_QW0_HASH_SHIFT);
        return ((w->qw1 >> RXL_FLTSTAT_SHIFT) & RXL_FLTSTAT_MASK) == RX_FLTSTAT_RSS_HASH;
    case FORMAT_FLEX:
        *rss = (uint32_t)(w->qw1 >> RXF_QW1_META01_SHIFT);
        return w->qw1 & RXF_RSS_VALID;
    default:
        *rss = (uint32_t)w->qw3;
        return w->qw1 & RXF_RSS_VALID;
    }
}

/* Fills row i of the columns that exist. Columns that the queue was not set up for are left as they are. */
INLINE void metadata_fill(const struct queue_pair *pair, const struct columns *c, uint32_t i,
                          const struct writeback *w, const int format, const int metadata)
{
    uint32_t ptype, umbcast, rss, mark, flags;
    uint16_t tag;

    if (metadata == METADATA_NONE)
        return;
    ptype = writeback_ptype(w, format);
    umbcast = format == FORMAT_LEGACY ? (uint32_t)(w->qw1 >> RXL_UMBCAST_SHIFT) & RXL_UMBCAST_MASK
                                      : (uint32_t)(w->qw0 >> RXF_UMBCAST_SHIFT) & 3;
    /* 1 multicast, 2 broadcast; 3, mirrored, is neither. */
    flags = (umbcast == RX_MIRRORED ? 0 : umbcast) * FLAG_MULTICAST;
    if (writeback_rss(w, format, &rss))
        flags |= FLAG_RSS;
    else
        rss = 0;
    if (c->rss)
        c->rss[i] = rss;
    if (c->ptype)
        c->ptype[i] = (uint16_t)ptype;
    if (c->csum)
        c->csum[i] = writeback_csum(pair, w, ptype, format);
    if (metadata == METADATA_ALL) {
        bool stripped = writeback_vlan(pair, w, format, &tag);
        bool marked = writeback_mark(pair, w, format, &mark);
        /* The comms profiles keep aux words where the NIC profile has the time. */
        bool timed = format == FORMAT_FLEX && pair->flex < RXDID_COMMS_GENERIC &&
                     (w->qw2 & RXF_QW2_TS_VALID);

        flags |= (stripped ? FLAG_VLAN : 0) | (marked ? FLAG_MARK : 0) | (timed ? FLAG_TIME : 0);
        if (c->vlan)
            c->vlan[i] = stripped ? tag : 0;
        if (c->mark)
            c->mark[i] = marked ? mark : 0;
        if (c->time)
            c->time[i] = timed ? (uint32_t)(w->qw3 >> 32) : 0;
    }
    if (c->flags)
        c->flags[i] = (uint8_t)flags;
}

/* Fills class_of[] and good_of[]. */
void metadata_classes(struct queue_pair *pair);
/* Sets profile and format of write-backs; returns false and changes nothing for a profile (0: legacy) that
 * is not known. */
bool metadata_format(struct queue_pair *pair, uint32_t flex);
/* Fills `constants`, once format, profile, limits and headroom are set. */
void metadata_constants(struct queue_pair *pair);

#endif
