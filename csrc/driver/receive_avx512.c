/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive and send with AVX-512: eight descriptors at once, every check of the scalar loop kept.
 *
 * The status word (qw1, with DD) is read first; the other words by a second round of loads, which x86
 * does not move before the first. What a wide load may be trusted with, and what promises it:
 * docs/adr/0005. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt")
#include <immintrin.h>

#include "driver/receive.h"
#include "driver/send.h"

#define LANES 8
#define ALL_LANES 0xff

bool avx512_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("bmi2");
}

bool avx512_byte_tables(void)
{
    return __builtin_cpu_supports("avx512vbmi");
}

/* In byte 0 of each lane, that byte's entry in a table of 128. Written as assembly, so that the rest of
 * this file does without VBMI. */
INLINE __m512i byte_entry(__m512i at, __m512i low, __m512i high)
{
    __asm__("vpermi2b %2, %1, %0" : "+v"(at) : "v"(low), "v"(high));
    return at;
}

/* good_of in four registers, 64 types in each; not loaded where nothing asks for it. */
struct verdicts {
    __m512i a, b, c, d;
};

_Static_assert(PTYPES_CLASSED == sizeof(struct verdicts), "a byte for each type");

/* Eight descriptors as vectors of their 32-bit words: word 2k is the lower half of qw k. Half as wide as
 * lanes of 64 bits, and what is written to columns needs no narrowing. */
struct words {
    __m256i dw[8];
};

INLINE __m512i all64(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

/* Words a, b, c and d of four descriptors, four of each. */
INLINE __m512i four_words(const struct rx_desc *desc, const int a, const int b, const int c,
                          const int d)
{
    const __m512i index = _mm512_setr_epi32(a, 8 + a, 16 + a, 24 + a, b, 8 + b, 16 + b, 24 + b, c,
                                            8 + c, 16 + c, 24 + c, d, 8 + d, 16 + d, 24 + d);

    return _mm512_permutex2var_epi32(_mm512_loadu_si512(desc), index, _mm512_loadu_si512(desc + 2));
}

/* From the halves of two such vectors that hold words a and b. */
INLINE void two_words(__m256i low, __m256i high, __m256i *a, __m256i *b)
{
    *a = _mm256_inserti128_si256(low, _mm256_castsi256_si128(high), 1);
    *b = _mm256_permute2x128_si256(low, high, 0x31);
}

INLINE void load_two(const struct rx_desc *desc, struct words *w, const int a, const int b)
{
    two_words(_mm512_castsi512_si256(four_words(desc, a, b, a, b)),
              _mm512_castsi512_si256(four_words(desc + 4, a, b, a, b)), &w->dw[a], &w->dw[b]);
}

INLINE void load_four(const struct rx_desc *desc, struct words *w, const int a, const int b,
                      const int c, const int d)
{
    __m512i low = four_words(desc, a, b, c, d);
    __m512i high = four_words(desc + 4, a, b, c, d);

    two_words(_mm512_castsi512_si256(low), _mm512_castsi512_si256(high), &w->dw[a], &w->dw[b]);
    two_words(_mm512_extracti64x4_epi64(low, 1), _mm512_extracti64x4_epi64(high, 1), &w->dw[c],
              &w->dw[d]);
}

/* The status words, then whatever else is wanted. The two rounds of loads stay apart and in order: the
 * compiler may not merge or move them. */
INLINE void words_load(const struct rx_desc *desc, struct words *w, const int format,
                       const int metadata)
{
    __asm__ volatile("" ::: "memory");
    load_two(desc, w, 2, 3);
    __asm__ volatile("" ::: "memory");
    if (format == FORMAT_LEGACY && metadata == METADATA_NONE)
        return;
    if (metadata == METADATA_NONE) {
        load_two(desc, w, 0, 1);
    } else if (metadata == METADATA_BASIC && format == FORMAT_FLEX) {
        load_four(desc, w, 0, 1, 4, 5);
    } else {
        load_four(desc, w, 0, 1, 4, 5);
        load_two(desc, w, 6, 7);
    }
}

#define NUMBER(name) _mm256_set1_epi32((int)pair->numbers.name)

INLINE __mmask8 bits(__m256i word, __m256i mask)
{
    return _mm256_test_epi32_mask(word, mask);
}

/* A field of qw `word` that does not cross its middle. */
INLINE __m256i field(const struct words *w, const int word, const unsigned shift, __m256i mask)
{
    return _mm256_and_si256(_mm256_srli_epi32(w->dw[2 * word + (shift >= 32)], shift & 31), mask);
}

/* What every packet is asked: in registers, however many numbers the columns need. */
struct demands {
    __m256i status, status_good, id, flex, length, one, limit;
};

INLINE __m256i length_of(const struct words *w, const struct demands *d, const int format)
{
    return format == FORMAT_LEGACY ? field(w, 1, RXL_LEN_SHIFT, d->length)
                                   : field(w, 0, RXF_LEN_SHIFT, d->length);
}

INLINE __mmask8 lanes_good(const struct words *w, const struct demands *d, __m256i length,
                           const int format)
{
    __mmask8 good = _mm256_cmpeq_epi32_mask(_mm256_and_si256(w->dw[2], d->status), d->status_good);

    if (format != FORMAT_LEGACY)
        good = _mm256_mask_cmpeq_epi32_mask(good, _mm256_and_si256(w->dw[0], d->id), d->flex);
    return _mm256_mask_cmplt_epu32_mask(good, _mm256_sub_epi32(length, d->one), d->limit);
}

INLINE void store_u32(uint32_t *to, __m256i value, __mmask8 valid)
{
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_maskz_mov_epi32(valid, value));
}

INLINE void store_u16(uint16_t *to, __m256i value, __mmask8 valid)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_maskz_cvtepi32_epi16(valid, value));
}

INLINE void store_u8(uint8_t *to, __m256i value)
{
    _mm_storel_epi64((__m128i *)(void *)to, _mm256_cvtepi32_epi8(value));
}

/* Packets with a checksum bit set that needs judgement: one by one, from the copies held here. */
static __attribute__((noinline)) void csum_mixed(const struct pair *pair, __m256i dw0, __m256i dw2,
                                                 __m256i dw3, __m256i dw4, uint32_t lanes,
                                                 uint8_t *csum, int format)
{
    uint32_t dw[4][LANES];

    _mm256_storeu_si256((__m256i *)(void *)dw[0], dw0);
    _mm256_storeu_si256((__m256i *)(void *)dw[1], dw2);
    _mm256_storeu_si256((__m256i *)(void *)dw[2], dw3);
    _mm256_storeu_si256((__m256i *)(void *)dw[3], dw4);
    for (; lanes; lanes &= lanes - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(lanes);
        struct written one = {dw[0][i], dw[1][i] | (uint64_t)dw[2][i] << 32, dw[3][i], 0};

        csum[i] = format == FORMAT_LEGACY
                      ? written_csum(pair, &one, written_ptype(&one, FORMAT_LEGACY), FORMAT_LEGACY)
                      : written_csum(pair, &one, written_ptype(&one, FORMAT_FLEX), FORMAT_FLEX);
    }
}

/* The verdicts of types below PTYPES_CLASSED when nothing is wrong, in byte 0; of others, rubbish. */
INLINE __m256i good_verdicts(const struct pair *pair, struct verdicts table, __m256i ptype,
                             __mmask8 known)
{
    if (likely(pair->byte_tables)) {
        __m512i at = _mm512_castsi256_si512(ptype);
        __m256i low = _mm512_castsi512_si256(byte_entry(at, table.a, table.b));
        __m256i high = _mm512_castsi512_si256(byte_entry(at, table.c, table.d));

        return _mm256_mask_mov_epi32(low, bits(ptype, NUMBER(upper_half)), high);
    }
    return _mm256_i32gather_epi32((const int *)(const void *)pair->good_of,
                                  _mm256_maskz_mov_epi32(known, ptype), 1);
}

INLINE void columns_csum(const struct pair *pair, struct verdicts table, const struct words *w,
                         __m256i ptype, uint8_t *csum, const int format)
{
    __mmask8 checked = bits(w->dw[2], NUMBER(checked));
    __mmask8 mixed = _mm256_mask_test_epi32_mask(checked, w->dw[2], NUMBER(errors));
    __mmask8 known = _mm256_mask_cmplt_epu32_mask(checked, ptype, NUMBER(classed));
    /* Types beyond the table have no verdict, as type 0. */
    __m256i good =
        _mm256_maskz_and_epi32(known, good_verdicts(pair, table, ptype, known), NUMBER(byte));

    if (format != FORMAT_LEGACY)
        good =
            _mm256_mask_or_epi32(good, _mm256_mask_test_epi32_mask(checked, w->dw[4], NUMBER(nat)),
                                 good, NUMBER(nat_good));
    store_u8(csum, good);
    if (unlikely(mixed))
        csum_mixed(pair, w->dw[0], w->dw[2], w->dw[3], w->dw[4], mixed, csum, format);
}

INLINE __m256i ptypes(const struct pair *pair, const struct words *w, const int format)
{
    __m256i ptype;

    if (format != FORMAT_LEGACY)
        return field(w, 0, RXF_PTYPE_SHIFT, NUMBER(ptype));
    /* Crosses the middle of its word. Unknown types are reported as such. */
    ptype = _mm256_or_si256(_mm256_srli_epi32(w->dw[2], RXL_PTYPE_SHIFT),
                            _mm256_slli_epi32(w->dw[3], 32 - RXL_PTYPE_SHIFT));
    ptype = _mm256_and_si256(ptype, NUMBER(ptype));
    return _mm256_maskz_mov_epi32(_mm256_cmplt_epu32_mask(ptype, NUMBER(ptype_end)), ptype);
}

/* Tags, marks and times of eight rows; adds to the flags. */
INLINE __m256i columns_rare(const struct pair *pair, const struct columns *c, size_t row,
                            const struct words *w, __m256i flags, const int format, const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    __mmask8 tagged, marked, timed = 0;
    __m256i tag, mark;

    if (pair->vlan_in_l2tag2) {
        tag = field(w, 2, RXL_QW2_L2TAG2_2_SHIFT, NUMBER(half));
        tagged = bits(w->dw[4], NUMBER(tag2));
    } else {
        tag = legacy ? field(w, 0, RXL_QW0_L2TAG1_SHIFT, NUMBER(half))
                     : field(w, 1, RXF_QW1_L2TAG1_SHIFT, NUMBER(half));
        tagged = bits(w->dw[2], NUMBER(tag1));
    }
    if (legacy) {
        __mmask8 matched = _mm256_cmpeq_epi32_mask(field(w, 1, RXL_FLTSTAT_SHIFT, NUMBER(fltstat)),
                                                   NUMBER(fltstat_id));
        __mmask8 flexible = _mm256_mask_cmpeq_epi32_mask(
            bits(w->dw[2], NUMBER(flexible)), field(w, 2, 4, NUMBER(fltstat)), NUMBER(flexible_id));

        mark = _mm256_mask_mov_epi32(w->dw[7], matched, w->dw[1]);
        marked = matched | flexible;
    } else {
        mark = _mm256_and_si256(w->dw[format == FORMAT_FLEX_OVS ? 3 : 6], NUMBER(mark));
        marked = _mm256_cmpneq_epi32_mask(mark, NUMBER(no_mark));
    }
    if (full || c->vlan)
        store_u16(c->vlan + row, tag, tagged);
    if (full || c->mark)
        store_u32(c->mark + row, mark, marked);
    flags = _mm256_mask_or_epi32(flags, tagged, flags, NUMBER(flag_vlan));
    flags = _mm256_mask_or_epi32(flags, marked, flags, NUMBER(flag_mark));
    if (format == FORMAT_FLEX) {
        timed = bits(w->dw[4], NUMBER(time));
        flags = _mm256_mask_or_epi32(flags, timed, flags, NUMBER(flag_time));
    }
    if (full || c->time)
        store_u32(c->time + row, w->dw[7], timed);
    return flags;
}

/* Eight rows of the columns; the same rules as metadata_fill. */
INLINE void columns_fill(const struct pair *pair, struct verdicts table, const struct columns *c,
                         size_t row, const struct words *w, const int format, const int metadata,
                         const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    __m256i ptype = ptypes(pair, w, format);
    __m256i cast = legacy ? field(w, 1, RXL_UMBCAST_SHIFT, NUMBER(mirrored))
                          : field(w, 0, RXF_UMBCAST_SHIFT, NUMBER(mirrored));
    __mmask8 hashed = legacy
                          ? _mm256_cmpeq_epi32_mask(field(w, 1, RXL_FLTSTAT_SHIFT, NUMBER(fltstat)),
                                                    NUMBER(fltstat_hash))
                          : bits(w->dw[2], NUMBER(hashed));
    __m256i flags;

    /* UMBCAST 1 and 2 shifted are the flags of multicast and broadcast; 3, mirrored, is neither. */
    flags = _mm256_maskz_slli_epi32(_mm256_cmpneq_epi32_mask(cast, NUMBER(mirrored)), cast, 4);
    flags = _mm256_mask_or_epi32(flags, hashed, flags, NUMBER(flag_rss));
    if (full || c->rss)
        store_u32(c->rss + row, w->dw[legacy ? 1 : format == FORMAT_FLEX_OVS ? 6 : 3], hashed);
    if (full || c->ptype)
        store_u16(c->ptype + row, ptype, ALL_LANES);
    if (full || c->csum)
        columns_csum(pair, table, w, ptype, c->csum + row, format);
    if (metadata == METADATA_ALL)
        flags = columns_rare(pair, c, row, w, flags, format, full);
    if (full || c->flags)
        store_u8(c->flags + row, flags);
}

/* Of values below 2^32 in total. */
INLINE uint32_t total(__m256i sum)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(four);
}

INLINE struct run avx512_run(struct pair *pair, const struct columns *columns, uint32_t row,
                             uint32_t n, const int format, const int metadata, const int mark,
                             const int full)
{
    const struct columns copy = *columns; /* what is stored below may not change it */
    const struct columns *c = &copy;
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next;
    const struct demands d = {NUMBER(status), NUMBER(status_good), NUMBER(id),   NUMBER(flex),
                              NUMBER(length), NUMBER(one),         NUMBER(limit)};
    const __m256i headroom = NUMBER(headroom);
    const __m512i interleaved =
        _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    uint64_t *to = c->handles + row;
    uint8_t *held = pair->held;
    __m256i sum = _mm256_setzero_si256();
    struct verdicts table;
    size_t i;

    if (metadata != METADATA_NONE) {
        table.a = _mm512_loadu_si512(pair->good_of);
        table.b = _mm512_loadu_si512(pair->good_of + 64);
        table.c = _mm512_loadu_si512(pair->good_of + 128);
        table.d = _mm512_loadu_si512(pair->good_of + 192);
    }
    for (i = 0; i + LANES <= n; i += LANES, desc += LANES) {
        struct words w = {0};
        __m256i length, index, upper;
        __mmask8 good;

        words_load(desc, &w, format, metadata);
        length = length_of(&w, &d, format);
        good = lanes_good(&w, &d, length, format);
        index = _mm256_loadu_si256((const __m256i *)(const void *)(buffer + i));
        upper = _mm256_or_si256(_mm256_slli_epi32(length, HANDLE_LENGTH_SHIFT - 32), headroom);
        _mm512_storeu_si512(to + i,
                            _mm512_permutex2var_epi32(_mm512_castsi256_si512(index), interleaved,
                                                      _mm512_castsi256_si512(upper)));
        if (metadata != METADATA_NONE)
            columns_fill(pair, table, c, row + i, &w, format, metadata, full);
        if (unlikely(good != ALL_LANES)) {
            uint32_t count = (uint32_t)__builtin_ctz(~(uint32_t)good);

            if (mark)
                for (uint32_t k = 0; k < count; k++)
                    mark_held(held, buffer[i + k]);
            sum = _mm256_mask_add_epi32(sum, (__mmask8)((1u << count) - 1), sum, length);
            i += count;
            break;
        }
        if (mark)
#pragma GCC unroll 8
            for (uint32_t k = 0; k < LANES; k++)
                mark_held(held, buffer[i + k]);
        sum = _mm256_add_epi32(sum, length);
    }
    return (struct run){(uint32_t)i, total(sum)};
}

/* Whole descriptors are written, also the words that the device does not read: full lines. */
INLINE void avx512_post(struct pair *pair, const uint32_t *index, uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill;
    const __m512i base = all64(pair->pool_iova + pair->headroom);
    const __m512i stride = all64(pair->stride);
    size_t i;

#pragma GCC unroll 4
    for (i = 0; i + LANES <= n; i += LANES) {
        __m256i indexes = _mm256_loadu_si256((const __m256i *)(index + i));
        __m512i address =
            _mm512_add_epi64(_mm512_mul_epu32(_mm512_cvtepu32_epi64(indexes), stride), base);

        _mm256_storeu_si256((__m256i *)(buffer + i), indexes);
        for (int k = 0; k < 4; k++)
            _mm512_storeu_si512(
                desc + i + 2 * k,
                _mm512_maskz_permutexvar_epi64(
                    0x11, all64(2 * (unsigned)k) + (__m512i){0, 0, 0, 0, 1}, address));
    }
    scalar_post_at(pair, (uint32_t)i, index + i, n - (uint32_t)i);
}

RECEIVE_ALL(avx512, LANES)

INLINE uint64_t total64(__m512i sum)
{
    __m256i four = _mm256_add_epi64(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));

    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(two, _mm_shuffle_epi32(two, 0x4e)));
}

/* A handle's upper half, as it lies in a lane: length, then offset. */
#define LENGTH(length) ((uint64_t)(length) << HANDLE_LENGTH_SHIFT)
#define ANY_OFFSET ((uint64_t)HANDLE_FIELD_MASK << HANDLE_OFFSET_SHIFT)

INLINE struct run avx512_send_run(struct pair *pair, const uint64_t *handles, uint32_t n,
                                  const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next;
    uint32_t *buffer = pair->tx_sw + pair->tx_next;
    const __m512i stride = all64(pair->stride);
    const __m512i iova = all64(pair->pool_iova);
    const __m512i shortest = all64(LENGTH(TX_MIN_FRAME));
    /* Two limits in one comparison of 32-bit halves: the index, and the length above the shortest. */
    const __m512i limits =
        all64(LENGTH(pair->tx_max_frame - TX_MIN_FRAME) | ANY_OFFSET | (pair->buffers - 1));
    const __m512i command = all64(TXD_COMMAND | TXD_EOP);
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i sum = _mm512_setzero_si512();
    uint8_t *held = pair->held;
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES, desc += LANES) {
        __m512i handle = _mm512_loadu_si512(handles + i);
        __m512i offset = _mm512_and_si512(_mm512_srli_epi64(handle, HANDLE_OFFSET_SHIFT),
                                          all64(HANDLE_FIELD_MASK));
        __m512i length = _mm512_srli_epi64(handle, HANDLE_LENGTH_SHIFT);
        __mmask16 good = _mm512_cmple_epu32_mask(_mm512_sub_epi32(handle, shortest), limits);
        __m512i address, qw1;

        good = _mm512_mask_cmple_epu32_mask(good, _mm512_add_epi64(offset, length), stride);
        /* The scalar loop finds which one it is, or which mark is missing. */
        if (unlikely(!_kortestc_mask16_u8(good, good)) ||
            (checked && unlikely(!mark_claim_all(held, handles + i, LANES))))
            break;
        address =
            _mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epu32(handle, stride), offset), iova);
        qw1 = _mm512_or_si512(_mm512_slli_epi64(length, TXD_BUF_SZ_SHIFT), command);
        _mm512_storeu_si512(desc, _mm512_permutex2var_epi64(address, first, qw1));
        _mm512_storeu_si512(desc + 4, _mm512_permutex2var_epi64(address, second, qw1));
        _mm256_storeu_si256((__m256i *)(buffer + i), _mm512_cvtepi64_epi32(handle));
        sum = _mm512_add_epi64(sum, length);
    }
    return (struct run){(uint32_t)i, total64(sum)};
}

SEND_ALL(avx512, LANES)
#endif
