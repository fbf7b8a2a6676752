/* SPDX-License-Identifier: BSD-3-Clause */
/* NEON: receives and sends four descriptors at once, with every check that the scalar loops make.
 *
 * The words of four descriptors are held as low and high halves, 32 bits a lane: no field but the legacy
 * packet type crosses a half. Lane masks are words of all ones.
 *
 * Vector loads promise no atomicity here, so the status words are taken by plain 64-bit loads; the other
 * words come after a barrier, when the device no longer writes them (docs/spec/registers.md 7). */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "driver/simd/isa.h"
#include "driver/simd/rx_loop.h"
#include "driver/simd/tx_loop.h"

#define LANES 4
#define HIGH(mask) ((uint32_t)((mask) >> 32))

struct words {
    uint32x4_t low[4], high[4];
};

/* Words that are loaded after this barrier are no older than the status words loaded before it. It has the
 * outer shareable form because the writer is a device. */
INLINE void status_before_rest(void)
{
    __asm__ volatile("dmb oshld" ::: "memory");
}

INLINE uint64x2_t status_two(const struct rx_desc *desc)
{
    return vcombine_u64(vcreate_u64(writeback_word(&desc[0].qw1)),
                        vcreate_u64(writeback_word(&desc[1].qw1)));
}

INLINE void halves(struct words *w, const int word, uint64x2_t first, uint64x2_t second)
{
    uint32x4_t a = vreinterpretq_u32_u64(first), b = vreinterpretq_u32_u64(second);

    w->low[word] = vuzp1q_u32(a, b);
    w->high[word] = vuzp2q_u32(a, b);
}

INLINE void status_load(struct words *w, const struct rx_desc *desc)
{
    halves(w, 1, status_two(desc), status_two(desc + 2));
    status_before_rest(); /* also before the packets are looked at */
}

INLINE void rest_load(struct words *w, const struct rx_desc *desc)
{
    uint64x2x4_t a = vld4q_u64(&desc[0].qw0), b = vld4q_u64(&desc[2].qw0);

    halves(w, 0, a.val[0], b.val[0]);
    halves(w, 2, a.val[2], b.val[2]);
    halves(w, 3, a.val[3], b.val[3]);
}

INLINE uint32x4_t all(uint32_t value)
{
    return vdupq_n_u32(value);
}

INLINE uint32x4_t equals(uint32x4_t word, uint32_t value)
{
    return vceqq_u32(word, all(value));
}

INLINE uint32x4_t masked(uint32x4_t word, uint32_t mask)
{
    return vandq_u32(word, all(mask));
}

INLINE uint32x4_t only(uint32x4_t mask, uint32x4_t value)
{
    return vandq_u32(mask, value);
}

/* A mask of the lanes in which one of the bits is set. */
INLINE uint32x4_t bits(uint32x4_t word, uint32_t mask)
{
    return vtstq_u32(word, all(mask));
}

/* How many lanes of a mask are set before the first that is not. */
INLINE uint32_t leading(uint32x4_t mask)
{
    uint64_t clear = ~vget_lane_u64(vreinterpret_u64_u16(vmovn_u32(mask)), 0);

    return clear ? (uint32_t)__builtin_ctzll(clear) / 16 : LANES;
}

INLINE bool none_set(uint32x4_t mask)
{
    return !vmaxvq_u32(mask);
}

INLINE uint32x4_t length_of(const struct words *w, const int format)
{
    return format == FORMAT_LEGACY
               ? masked(vshrq_n_u32(w->high[1], RXL_LEN_SHIFT - 32), RXL_LEN_MASK)
               : masked(w->high[0], RXF_LEN_MASK);
}

INLINE uint32x4_t lanes_good(const struct queue_pair *pair, const struct words *w, const int format)
{
    if (format == FORMAT_LEGACY)
        return vandq_u32(equals(masked(w->low[1], RXL_DD | RXL_EOP | RXL_RXE), RXL_DD | RXL_EOP),
                         equals(masked(w->high[1], HIGH(RXL_SPH)), 0));
    return vandq_u32(equals(masked(w->low[1], RXF_DD | RXF_EOP | RXF_RXE), RXF_DD | RXF_EOP),
                     vandq_u32(equals(masked(w->low[0], RXF_RXDID_MASK), pair->flex),
                               equals(masked(w->high[0], HIGH(RXF_SPH)), 0)));
}

INLINE void store_u32(uint32_t *to, uint32x4_t value)
{
    vst1q_u32(to, value);
}

/* Stores the low 16 bits of the lanes. */
INLINE void store_u16(uint16_t *to, uint32x4_t value)
{
    vst1_u16(to, vmovn_u32(value));
}

/* Stores the low 8 bits of the lanes. */
INLINE void store_u8(uint8_t *to, uint32x4_t value)
{
    uint16x4_t narrowed = vmovn_u32(value);
    uint8x8_t bytes = vmovn_u16(vcombine_u16(narrowed, narrowed));
    uint32_t packed = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);

    if (to)
        memcpy(to, &packed, sizeof(packed));
}

/* Packets with an error bit are looked at one by one, from the copies held here. */
static __attribute__((noinline)) void csum_mixed(const struct queue_pair *pair,
                                                 const struct words *w, uint32x4_t lanes,
                                                 uint8_t *csum, int format)
{
    uint32_t low[4][LANES], high[4][LANES], mixed[LANES];

    for (int word = 0; word < 4; word++) {
        vst1q_u32(low[word], w->low[word]);
        vst1q_u32(high[word], w->high[word]);
    }
    vst1q_u32(mixed, lanes);
    for (uint32_t i = 0; i < LANES; i++) {
        struct writeback one = {
            low[0][i] | (uint64_t)high[0][i] << 32,
            low[1][i] | (uint64_t)high[1][i] << 32,
            low[2][i] | (uint64_t)high[2][i] << 32,
            low[3][i] | (uint64_t)high[3][i] << 32,
        };

        if (!mixed[i])
            continue;
        csum[i] =
            format == FORMAT_LEGACY
                ? writeback_csum(pair, &one, writeback_ptype(&one, FORMAT_LEGACY), FORMAT_LEGACY)
                : writeback_csum(pair, &one, writeback_ptype(&one, FORMAT_FLEX), FORMAT_FLEX);
    }
}

INLINE void columns_csum(const struct queue_pair *pair, const struct words *w, uint32x4_t ptype,
                         uint8_t *csum, const int format)
{
    const bool legacy = format == FORMAT_LEGACY;
    uint32x4_t checked = bits(w->low[1], legacy ? RXL_L3L4P : RXF_L3L4P);
    uint32x4_t mixed = only(checked, bits(w->low[1], legacy ? RXL_ERRORS : RXF_ERRORS));
    uint32x4_t known = only(vcltq_u32(ptype, all(PTYPES_CLASSED)), ptype);
    uint32x4_t good = all(pair->good_of[vgetq_lane_u32(known, 0)]);

    good = vsetq_lane_u32(pair->good_of[vgetq_lane_u32(known, 1)], good, 1);
    good = vsetq_lane_u32(pair->good_of[vgetq_lane_u32(known, 2)], good, 2);
    good = vsetq_lane_u32(pair->good_of[vgetq_lane_u32(known, 3)], good, 3);
    if (!legacy)
        good =
            vorrq_u32(good, only(bits(w->low[2], RXF_QW2_NAT), all(CSUM_GOOD << CSUM_UDP_SHIFT)));
    store_u8(csum, only(checked, good));
    if (unlikely(!none_set(mixed)))
        csum_mixed(pair, w, mixed, csum, format);
}

/* Fills four rows of the columns by the rules of metadata_fill. */
INLINE void columns_fill(const struct queue_pair *pair, const struct columns *c, uint32_t row,
                         const struct words *w, const int format, const int metadata,
                         const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    uint32x4_t fltstat = masked(vshrq_n_u32(w->low[1], RXL_FLTSTAT_SHIFT), RXL_FLTSTAT_MASK);
    uint32x4_t ptype, cast, hash, hashed, flags;

    if (legacy) {
        ptype = vorrq_u32(vshrq_n_u32(w->low[1], RXL_PTYPE_SHIFT),
                          vshlq_n_u32(w->high[1], 32 - RXL_PTYPE_SHIFT));
        ptype = masked(ptype, RXL_PTYPE_MASK);
        /* types that are not known are reported as unknown */
        ptype = only(vcltq_u32(ptype, all(PTYPE_COMMON)), ptype);
        cast = masked(vshrq_n_u32(w->low[1], RXL_UMBCAST_SHIFT), RXL_UMBCAST_MASK);
        hash = w->high[0];
        hashed = equals(fltstat, RX_FLTSTAT_RSS_HASH);
    } else {
        ptype = masked(vshrq_n_u32(w->low[0], RXF_PTYPE_SHIFT), RXF_PTYPE_MASK);
        cast = masked(vshrq_n_u32(w->low[0], RXF_UMBCAST_SHIFT), RX_MIRRORED);
        hash = format == FORMAT_FLEX_OVS ? w->low[3] : w->high[1];
        hashed = bits(w->low[1], RXF_RSS_VALID);
    }
    /* UMBCAST 1 and 2 shifted are the flags of multicast and broadcast; 3, mirrored, is neither. */
    flags = vbicq_u32(vshlq_n_u32(cast, 4), equals(cast, RX_MIRRORED));
    flags = vorrq_u32(flags, only(hashed, all(FLAG_RSS)));
    if (full || c->rss)
        store_u32(c->rss + row, only(hashed, hash));
    if (full || c->ptype)
        store_u16(c->ptype + row, ptype);
    if (full || c->csum)
        columns_csum(pair, w, ptype, c->csum + row, format);
    if (metadata == METADATA_ALL) {
        uint32x4_t tag, tagged, mark, marked, timed = all(0);

        if (pair->vlan_in_l2tag2) {
            tag = vshrq_n_u32(w->high[2], RXL_QW2_L2TAG2_2_SHIFT - 32);
            tagged = bits(w->low[2], legacy ? RXL_QW2_L2TAG2P : RXF_QW2_L2TAG2P);
        } else {
            tag = vshrq_n_u32(w->low[legacy ? 0 : 1], RXF_QW1_L2TAG1_SHIFT);
            tagged = bits(w->low[1], legacy ? RXL_L2TAG1P : RXF_L2TAG1P);
        }
        if (legacy) {
            uint32x4_t matched = equals(fltstat, RX_FLTSTAT_FD_ID);
            uint32x4_t flexible =
                only(bits(w->low[1], RXL_FLM), equals(masked(vshrq_n_u32(w->low[2], 4), 3), 1));

            mark = vbslq_u32(matched, w->high[0], w->high[3]);
            marked = vorrq_u32(matched, flexible);
        } else {
            uint32_t nobody = pair->flex == RXDID_FLEX_NIC_2 ? 0xffff : FLOW_NONE;

            mark = masked(format == FORMAT_FLEX_OVS ? w->high[1] : w->low[3], nobody);
            marked = pair->flex == RXDID_COMMS_IPSEC ? all(0) : vmvnq_u32(equals(mark, nobody));
        }
        if (format == FORMAT_FLEX && pair->flex < RXDID_COMMS_GENERIC)
            timed = bits(w->low[2], RXF_QW2_TS_VALID);
        flags = vorrq_u32(flags, only(tagged, all(FLAG_VLAN)));
        flags = vorrq_u32(flags, only(marked, all(FLAG_MARK)));
        flags = vorrq_u32(flags, only(timed, all(FLAG_TIME)));
        if (full || c->vlan)
            store_u16(c->vlan + row, only(tagged, tag));
        if (full || c->mark)
            store_u32(c->mark + row, only(marked, mark));
        if (full || c->time)
            store_u32(c->time + row, only(timed, w->high[3]));
    }
    if (full || c->flags)
        store_u8(c->flags + row, flags);
}

INLINE struct run neon_run(struct queue_pair *pair, const struct columns *columns, uint32_t row,
                           uint32_t n, const int format, const int metadata, const int mark,
                           const int full)
{
    const struct columns copy =
        *columns; /* the compiler must know that the stores below do not change it */
    const struct columns *c = &copy;
    uint8_t *held = pair->held;
    struct run run = {0};
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next;
    uint32_t limit = pair->rx_limit;
    const uint32x4_t headroom = all(pair->headroom << (HANDLE_OFFSET_SHIFT - 32));
    uint32x4_t sum = all(0); /* of the packets of a ring at most, so that no lane overflows */
    uint32_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        struct words w;
        uint32x4_t length, good;
        uint32x4x2_t handles;
        uint32_t count;

        status_load(&w, desc + i);
        if (format != FORMAT_LEGACY || metadata != METADATA_NONE)
            rest_load(&w, desc + i);
        length = length_of(&w, format);
        good = vandq_u32(lanes_good(pair, &w, format),
                         vcltq_u32(vsubq_u32(length, all(1)), all(limit)));
        count = leading(good);
        handles.val[0] = vld1q_u32(buffer + i);
        handles.val[1] = vorrq_u32(headroom, vshlq_n_u32(length, HANDLE_LENGTH_SHIFT - 32));
        vst2q_u32((uint32_t *)(void *)(c->handles + row + i), handles);
        if (metadata != METADATA_NONE)
            columns_fill(pair, c, row + i, &w, format, metadata, full);
        if (mark)
            for (uint32_t k = 0; k < count; k++)
                mark_held(held, buffer[i + k]);
        if (likely(count == LANES)) {
            sum = vaddq_u32(sum, length);
            continue;
        }
        run.bytes = vaddvq_u32(sum);
        for (uint32_t k = 0; k < count; k++)
            run.bytes += handle_length(c->handles[row + i + k]);
        run.count = i + count;
        return run;
    }
    run.bytes = vaddvq_u32(sum);
    run.count = i;
    return run;
}

/* Bus addresses of two buffers. */
INLINE uint64x2_t address_of(uint64_t base, uint32x2_t index, uint32_t stride)
{
    return vmlal_u32(vdupq_n_u64(base), index, vdup_n_u32(stride));
}

INLINE void neon_post(struct queue_pair *pair, const uint32_t *index, uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill;
    uint64_t base = pair->pool_iova + pair->headroom;
    const uint64x2_t zero = vdupq_n_u64(0);
    uint32_t i;

    for (i = 0; i + 2 <= n; i += 2) {
        uint32x2_t two = vld1_u32(index + i);
        uint64x2_t address = address_of(base, two, (uint32_t)pair->stride);

        vst1_u32(buffer + i, two);
        vst1q_u64(&desc[i].qw0, vzip1q_u64(address, zero));
        vst1q_u64(&desc[i + 1].qw0, vzip2q_u64(address, zero));
    }
    scalar_post_at(pair, i, index + i, n - i);
}

static bool usable(void)
{
    return true; /* every 64-bit ARM processor has it */
}

RX_ALL(neon, LANES)

INLINE void write_two(struct queue_pair *pair, struct tx_desc *desc, uint32x2_t index,
                      uint32x2_t offset, uint32x2_t length)
{
    uint64x2x2_t two;

    two.val[0] = vaddw_u32(address_of(pair->pool_iova, index, (uint32_t)pair->stride), offset);
    two.val[1] = vorrq_u64(vshlq_n_u64(vmovl_u32(length), TXD_BUF_SZ_SHIFT),
                           vdupq_n_u64(TXD_COMMAND | TXD_EOP));
    vst2q_u64((uint64_t *)(void *)desc, two);
}

INLINE struct run neon_tx_run(struct queue_pair *pair, const uint64_t *handles, uint32_t n,
                              const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next;
    uint32_t *buffer = pair->tx_sw + pair->tx_next;
    const uint32_t span = pair->tx_max_frame - TX_MIN_FRAME;
    uint32x4_t sum = all(0);
    uint32_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        uint32x4x2_t handle = vld2q_u32((const uint32_t *)(const void *)(handles + i));
        uint32x4_t index = handle.val[0];
        uint32x4_t offset = masked(handle.val[1], HANDLE_FIELD_MASK);
        uint32x4_t length = vshrq_n_u32(handle.val[1], HANDLE_LENGTH_SHIFT - 32);
        uint32x4_t good = vcltq_u32(index, all((uint32_t)pair->buffers));

        good = only(good, vcleq_u32(vaddq_u32(offset, length), all((uint32_t)pair->stride)));
        good = only(good, vcleq_u32(vsubq_u32(length, all(TX_MIN_FRAME)), all(span)));
        /* The scalar loop finds out which packet it is, or which mark is missing. */
        if (unlikely(leading(good) != LANES) ||
            (checked && unlikely(!mark_claim_all(pair->held, handles + i, LANES))))
            break;
        write_two(pair, desc + i, vget_low_u32(index), vget_low_u32(offset), vget_low_u32(length));
        write_two(pair, desc + i + 2, vget_high_u32(index), vget_high_u32(offset),
                  vget_high_u32(length));
        vst1q_u32(buffer + i, index);
        sum = vaddq_u32(sum, length);
    }
    return (struct run){(uint32_t)i, vaddvq_u32(sum)};
}

TX_ALL(neon, LANES)

const struct isa isa_neon = {
    .name = "neon",
    .number = ISA_NEON,
    .usable = usable,
    .rx = neon_rx,
    .rx_post = neon_rx_post,
    .tx = TX_PATHS(neon),
};
#endif
