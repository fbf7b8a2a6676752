/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive and send with AVX2: four descriptors at once, every check of the scalar loop kept. Order of
 * the loads: see receive_avx512.c. Lane masks are words of all ones. */
#if defined(__x86_64__)
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#include <immintrin.h>

#include "driver/receive.h"
#include "driver/send.h"

#define LANES 4
#define ALL_LANES 0xf

bool avx2_usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

struct words {
    __m256i qw0, qw1, qw2, qw3;
};

INLINE __m256i all(uint64_t value)
{
    return _mm256_set1_epi64x((long long)value);
}

/* Four descriptors turned into their four words; the compiler may not merge two calls. */
INLINE struct words words_load(const struct rx_desc *desc)
{
    __m256i d[LANES], even01, even23, odd01, odd23;

    __asm__ volatile("" ::: "memory");
    for (int i = 0; i < LANES; i++)
        d[i] = _mm256_loadu_si256((const __m256i *)(const void *)(desc + i));
    even01 = _mm256_unpacklo_epi64(d[0], d[1]);
    even23 = _mm256_unpacklo_epi64(d[2], d[3]);
    odd01 = _mm256_unpackhi_epi64(d[0], d[1]);
    odd23 = _mm256_unpackhi_epi64(d[2], d[3]);
    return (struct words){
        .qw0 = _mm256_permute2x128_si256(even01, even23, 0x20),
        .qw1 = _mm256_permute2x128_si256(odd01, odd23, 0x20),
        .qw2 = _mm256_permute2x128_si256(even01, even23, 0x31),
        .qw3 = _mm256_permute2x128_si256(odd01, odd23, 0x31),
    };
}

INLINE __m256i field(__m256i word, const int shift, const uint64_t mask)
{
    return _mm256_and_si256(_mm256_srli_epi64(word, shift), all(mask));
}

INLINE __m256i equals(__m256i word, uint64_t value)
{
    return _mm256_cmpeq_epi64(word, all(value));
}

/* Lanes in which the one bit is set. */
INLINE __m256i bit(__m256i word, uint64_t mask)
{
    return equals(_mm256_and_si256(word, all(mask)), mask);
}

INLINE uint32_t lanes_of(__m256i mask)
{
    return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(mask));
}

/* a <= value <= b, all below 2^63. */
INLINE __m256i within(__m256i value, uint64_t a, uint64_t b)
{
    return _mm256_andnot_si256(_mm256_cmpgt_epi64(all(a), value),
                               _mm256_cmpgt_epi64(all(b + 1), value));
}

INLINE __m256i lanes_good(const struct pair *pair, const struct words *w, const int format)
{
    __m256i good;

    if (format == FORMAT_LEGACY)
        return equals(_mm256_and_si256(w->qw1, all(RXL_DD | RXL_EOP | RXL_RXE | RXL_SPH)),
                      RXL_DD | RXL_EOP);
    good = equals(_mm256_and_si256(w->qw1, all(RXF_DD | RXF_EOP | RXF_RXE)), RXF_DD | RXF_EOP);
    return _mm256_and_si256(
        good, equals(_mm256_and_si256(w->qw0, all(RXF_RXDID_MASK | RXF_SPH)), pair->flex));
}

/* The low halves of the lanes. */
INLINE __m128i narrow(__m256i value)
{
    return _mm256_castsi256_si128(
        _mm256_permutevar8x32_epi32(value, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
}

INLINE void store_u32(uint32_t *to, __m256i value, __m256i valid)
{
    _mm_storeu_si128((__m128i *)(void *)to, narrow(_mm256_and_si256(value, valid)));
}

/* Values below 65536. */
INLINE void store_u16(uint16_t *to, __m256i value)
{
    __m128i narrowed = narrow(value);

    if (to)
        _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi32(narrowed, narrowed));
}

/* Values below 256. */
INLINE void store_u8(uint8_t *to, __m256i value)
{
    __m128i narrowed = narrow(value);
    int packed;

    narrowed = _mm_packus_epi32(narrowed, narrowed);
    packed = _mm_cvtsi128_si32(_mm_packus_epi16(narrowed, narrowed));
    if (to)
        memcpy(to, &packed, sizeof(packed));
}

/* Packets with a checksum bit set that needs judgement: one by one, from the copies held here. */
static __attribute__((noinline)) void csum_mixed(const struct pair *pair, const struct words *w,
                                                 uint32_t lanes, uint8_t *csum, int format)
{
    uint64_t qw[4][LANES];

    _mm256_storeu_si256((__m256i *)(void *)qw[0], w->qw0);
    _mm256_storeu_si256((__m256i *)(void *)qw[1], w->qw1);
    _mm256_storeu_si256((__m256i *)(void *)qw[2], w->qw2);
    _mm256_storeu_si256((__m256i *)(void *)qw[3], w->qw3);
    for (; lanes; lanes &= lanes - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(lanes);
        struct written one = {qw[0][i], qw[1][i], qw[2][i], qw[3][i]};

        csum[i] = format == FORMAT_LEGACY
                      ? written_csum(pair, &one, written_ptype(&one, FORMAT_LEGACY), FORMAT_LEGACY)
                      : written_csum(pair, &one, written_ptype(&one, FORMAT_FLEX), FORMAT_FLEX);
    }
}

INLINE void columns_csum(const struct pair *pair, const struct words *w, __m256i ptype,
                         uint8_t *csum, const int format)
{
    const bool legacy = format == FORMAT_LEGACY;
    __m256i checked = bit(w->qw1, legacy ? RXL_L3L4P : RXF_L3L4P);
    __m256i clean = equals(_mm256_and_si256(w->qw1, all(legacy ? RXL_ERRORS : RXF_ERRORS)), 0);
    uint32_t mixed = lanes_of(_mm256_andnot_si256(clean, checked));
    __m256i known = _mm256_cmpgt_epi64(all(PTYPES_CLASSED), ptype);
    __m256i good = _mm256_cvtepu32_epi64(_mm_i32gather_epi32(
        (const int *)(const void *)pair->good_of, narrow(_mm256_and_si256(ptype, known)), 1));

    good = _mm256_and_si256(good, all(0xff));
    if (!legacy)
        good = _mm256_or_si256(
            good, _mm256_and_si256(bit(w->qw2, RXF_QW2_NAT), all(CSUM_GOOD << VERDICT_UDP_SHIFT)));
    store_u8(csum, _mm256_and_si256(good, checked));
    if (unlikely(mixed)) {
        struct words copy = *w; /* only this one needs to lie in memory */

        csum_mixed(pair, &copy, mixed, csum, format);
    }
}

INLINE __m256i only(__m256i mask, __m256i value)
{
    return _mm256_and_si256(mask, value);
}

/* Four rows of the columns; the same rules as metadata_fill. */
INLINE void columns_fill(const struct pair *pair, const struct columns *c, uint32_t row,
                         const struct words *w, const int format, const int metadata,
                         const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    const __m256i none = _mm256_setzero_si256();
    __m256i ptype = legacy ? field(w->qw1, RXL_PTYPE_SHIFT, RXL_PTYPE_MASK)
                           : field(w->qw0, RXF_PTYPE_SHIFT, RXF_PTYPE_MASK);
    __m256i cast = legacy ? field(w->qw1, RXL_UMBCAST_SHIFT, RXL_UMBCAST_MASK)
                          : field(w->qw0, RXF_UMBCAST_SHIFT, RX_MIRRORED);
    __m256i fltstat = field(w->qw1, RXL_FLTSTAT_SHIFT, RXL_FLTSTAT_MASK);
    __m256i hashed = legacy ? equals(fltstat, RX_FLTSTAT_RSS_HASH) : bit(w->qw1, RXF_RSS_VALID);
    __m256i hash =
        format == FORMAT_FLEX_OVS ? w->qw3 : _mm256_srli_epi64(legacy ? w->qw0 : w->qw1, 32);
    __m256i flags;

    if (legacy) /* unknown types are reported as such */
        ptype = only(_mm256_cmpgt_epi64(all(PTYPE_COMMON), ptype), ptype);
    /* UMBCAST 1 and 2 shifted are the flags of multicast and broadcast; 3, mirrored, is neither. */
    flags = _mm256_andnot_si256(equals(cast, RX_MIRRORED), _mm256_slli_epi64(cast, 4));
    flags = _mm256_or_si256(flags, only(hashed, all(FLAG_RSS)));
    if (full || c->rss)
        store_u32(c->rss + row, hash, hashed);
    if (full || c->ptype)
        store_u16(c->ptype + row, ptype);
    if (full || c->csum)
        columns_csum(pair, w, ptype, c->csum + row, format);
    if (metadata == METADATA_ALL) {
        __m256i tagged, tag, marked, mark, timed = none;

        if (pair->vlan_in_l2tag2) {
            tag = _mm256_srli_epi64(w->qw2, RXL_QW2_L2TAG2_2_SHIFT);
            tagged = bit(w->qw2, legacy ? RXL_QW2_L2TAG2P : RXF_QW2_L2TAG2P);
        } else {
            tag = legacy ? field(w->qw0, RXL_QW0_L2TAG1_SHIFT, 0xffff)
                         : field(w->qw1, RXF_QW1_L2TAG1_SHIFT, 0xffff);
            tagged = bit(w->qw1, legacy ? RXL_L2TAG1P : RXF_L2TAG1P);
        }
        if (legacy) {
            __m256i matched = equals(fltstat, RX_FLTSTAT_FD_ID);
            __m256i flexible = only(bit(w->qw1, RXL_FLM), equals(field(w->qw2, 4, 3), 1));

            mark = _mm256_blendv_epi8(_mm256_srli_epi64(w->qw3, 32), _mm256_srli_epi64(w->qw0, 32),
                                      matched);
            marked = _mm256_or_si256(matched, flexible);
        } else {
            uint64_t nobody = pair->flex == RXDID_FLEX_NIC_2 ? 0xffff : FLOW_NONE;

            mark = format == FORMAT_FLEX_OVS ? _mm256_srli_epi64(w->qw1, 32) : w->qw3;
            mark = only(all(nobody), mark);
            marked = pair->flex == RXDID_COMMS_IPSEC
                         ? none
                         : _mm256_andnot_si256(equals(mark, nobody), all(UINT64_MAX));
        }
        if (format == FORMAT_FLEX && pair->flex < RXDID_COMMS_GENERIC)
            timed = bit(w->qw2, RXF_QW2_TS_VALID);
        flags = _mm256_or_si256(flags, only(tagged, all(FLAG_VLAN)));
        flags = _mm256_or_si256(flags, only(marked, all(FLAG_MARK)));
        flags = _mm256_or_si256(flags, only(timed, all(FLAG_TIME)));
        if (full || c->vlan)
            store_u16(c->vlan + row, only(tagged, tag));
        if (full || c->mark)
            store_u32(c->mark + row, mark, marked);
        if (full || c->time)
            store_u32(c->time + row, _mm256_srli_epi64(w->qw3, 32), timed);
    }
    if (full || c->flags)
        store_u8(c->flags + row, flags);
}

INLINE uint64_t total(__m256i sum)
{
    uint64_t lane[LANES];

    _mm256_storeu_si256((__m256i *)(void *)lane, sum);
    return lane[0] + lane[1] + lane[2] + lane[3];
}

INLINE struct run avx2_run(struct pair *pair, const struct columns *columns, uint32_t row,
                           uint32_t n, const int format, const int metadata, const int mark,
                           const int full)
{
    const struct columns copy = *columns; /* what is stored below may not change it */
    const struct columns *c = &copy;
    uint8_t *held = pair->held;
    struct run run = {0};
    const bool legacy = format == FORMAT_LEGACY;
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next;
    uint32_t limit = pair->rx_limit;
    const __m256i headroom = all((uint64_t)pair->headroom << HANDLE_OFFSET_SHIFT);
    __m256i sum = _mm256_setzero_si256();
    uint32_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        struct words w = words_load(desc + i);
        __m256i status = w.qw1, length, handles;
        uint32_t lanes, count;

        if (!legacy || metadata != METADATA_NONE) {
            w = words_load(desc + i);
            w.qw1 = status;
        }
        length = legacy ? field(w.qw1, RXL_LEN_SHIFT, RXL_LEN_MASK)
                        : field(w.qw0, RXF_LEN_SHIFT, RXF_LEN_MASK);
        lanes = lanes_of(_mm256_and_si256(lanes_good(pair, &w, format), within(length, 1, limit)));
        handles =
            _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(const void *)(buffer + i)));
        handles = _mm256_or_si256(_mm256_or_si256(handles, headroom),
                                  _mm256_slli_epi64(length, HANDLE_LENGTH_SHIFT));
        _mm256_storeu_si256((__m256i *)(void *)(c->handles + row + i), handles);
        if (metadata != METADATA_NONE)
            columns_fill(pair, c, row + i, &w, format, metadata, full);
        if (likely(lanes == ALL_LANES)) {
            sum = _mm256_add_epi64(sum, length);
            if (mark)
#pragma GCC unroll 4
                for (uint32_t k = 0; k < LANES; k++)
                    mark_held(held, buffer[i + k]);
            continue;
        }
        count = (uint32_t)__builtin_ctz(~lanes);
        run.bytes = (uint32_t)total(sum);
        for (uint32_t k = 0; k < count; k++) {
            run.bytes += handle_length(c->handles[row + i + k]);
            if (mark)
                mark_held(held, buffer[i + k]);
        }
        run.count = i + count;
        return run;
    }
    run.bytes = (uint32_t)total(sum);
    run.count = i;
    return run;
}

INLINE void avx2_post(struct pair *pair, const uint32_t *index, uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill;
    const __m256i base = all(pair->pool_iova + pair->headroom);
    const __m256i stride = all(pair->stride);
    const __m128i zero = _mm_setzero_si128();
    uint32_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m128i indexes = _mm_loadu_si128((const __m128i *)(const void *)(index + i));
        __m256i address =
            _mm256_add_epi64(_mm256_mul_epu32(_mm256_cvtepu32_epi64(indexes), stride), base);
        __m128i low = _mm256_castsi256_si128(address);
        __m128i high = _mm256_extracti128_si256(address, 1);

        _mm_storeu_si128((__m128i *)(void *)(buffer + i), indexes);
        _mm_storeu_si128((__m128i *)(void *)(desc + i), _mm_unpacklo_epi64(low, zero));
        _mm_storeu_si128((__m128i *)(void *)(desc + i + 1), _mm_unpackhi_epi64(low, zero));
        _mm_storeu_si128((__m128i *)(void *)(desc + i + 2), _mm_unpacklo_epi64(high, zero));
        _mm_storeu_si128((__m128i *)(void *)(desc + i + 3), _mm_unpackhi_epi64(high, zero));
    }
    scalar_post_at(pair, i, index + i, n - i);
}

RECEIVE_ALL(avx2, LANES)

INLINE struct run avx2_send_run(struct pair *pair, const uint64_t *handles, uint32_t n,
                                const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next;
    uint32_t *buffer = pair->tx_sw + pair->tx_next;
    __m256i sum = _mm256_setzero_si256();
    uint32_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m256i handle = _mm256_loadu_si256((const __m256i *)(const void *)(handles + i));
        __m256i index = only(all(HANDLE_INDEX_MASK), handle);
        __m256i offset = field(handle, HANDLE_OFFSET_SHIFT, HANDLE_FIELD_MASK);
        __m256i length = _mm256_srli_epi64(handle, HANDLE_LENGTH_SHIFT);
        __m256i good = only(_mm256_cmpgt_epi64(all(pair->buffers), index),
                            within(length, TX_MIN_FRAME, pair->tx_max_frame));
        __m256i address, qw1, even, odd;

        good = only(good,
                    _mm256_cmpgt_epi64(all(pair->stride + 1ull), _mm256_add_epi64(offset, length)));
        /* The scalar loop finds which one it is, or which mark is missing. */
        if (unlikely(lanes_of(good) != ALL_LANES) ||
            (checked && unlikely(!mark_claim_all(pair->held, handles + i, LANES))))
            break;
        address = _mm256_add_epi64(_mm256_mul_epu32(index, all(pair->stride)), offset);
        address = _mm256_add_epi64(address, all(pair->pool_iova));
        qw1 = _mm256_or_si256(_mm256_slli_epi64(length, TXD_BUF_SZ_SHIFT),
                              all(TXD_COMMAND | TXD_EOP));
        even = _mm256_unpacklo_epi64(address, qw1);
        odd = _mm256_unpackhi_epi64(address, qw1);
        _mm256_storeu_si256((__m256i *)(void *)(desc + i),
                            _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(desc + i + 2),
                            _mm256_permute2x128_si256(even, odd, 0x31));
        _mm_storeu_si128((__m128i *)(void *)(buffer + i), narrow(index));
        sum = _mm256_add_epi64(sum, length);
    }
    return (struct run){(uint32_t)i, (uint32_t)total(sum)};
}

SEND_ALL(avx2, LANES)
#endif
