/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive and send with AVX-512: eight descriptors at once, every check of the scalar loop kept.
 *
 * What a device writes is read by vector loads whose 64-bit lanes are single accesses on x86; nothing
 * wider is relied on. The status word (qw1, with DD) is loaded first, the other words by a second load
 * after it, which x86 does not move before the first (registers 7). */
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
    __m512i part[4];
};

_Static_assert(PTYPES_CLASSED == sizeof(struct verdicts), "a byte for each type");

INLINE struct verdicts verdicts_load(const struct pair *pair)
{
    struct verdicts verdicts;

    for (int i = 0; i < 4; i++)
        verdicts.part[i] = _mm512_loadu_si512(pair->good_of + 64 * i);
    return verdicts;
}

struct block { /* eight descriptors as they lie in the ring, two in each */
    __m512i pair[4];
};

/* The loads of two blocks stay apart and in order: the compiler may not merge or move them. */
INLINE struct block block_load(const struct rx_desc *desc)
{
    struct block block;

    __asm__ volatile("" ::: "memory");
    for (int i = 0; i < 4; i++)
        block.pair[i] = _mm512_loadu_si512(desc + 2 * i);
    return block;
}

/* Word `word` of the eight descriptors. */
INLINE __m512i block_word(const struct block *block, const int word)
{
    const __m512i index =
        _mm512_setr_epi64(word, 4 + word, 8 + word, 12 + word, word, 4 + word, 8 + word, 12 + word);
    __m512i low = _mm512_permutex2var_epi64(block->pair[0], index, block->pair[1]);
    __m512i high = _mm512_permutex2var_epi64(block->pair[2], index, block->pair[3]);

    return _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
}

/* Words `word` and `word` + 2. */
INLINE void block_words(const struct block *block, const int word, __m512i *first, __m512i *second)
{
    const __m512i index = _mm512_setr_epi64(word, 4 + word, 8 + word, 12 + word, 2 + word, 6 + word,
                                            10 + word, 14 + word);
    __m512i low = _mm512_permutex2var_epi64(block->pair[0], index, block->pair[1]);
    __m512i high = _mm512_permutex2var_epi64(block->pair[2], index, block->pair[3]);

    *first = _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
    *second = _mm512_shuffle_i64x2(low, high, 0xee);
}

struct words {
    __m512i qw0, qw1, qw2, qw3;
};

INLINE __m512i field(__m512i word, const unsigned shift, const uint64_t mask)
{
    return _mm512_and_si512(_mm512_srli_epi64(word, shift), _mm512_set1_epi64((long long)mask));
}

INLINE __mmask8 bits(__m512i word, uint64_t mask)
{
    return _mm512_test_epi64_mask(word, _mm512_set1_epi64((long long)mask));
}

INLINE __mmask8 equals(__m512i word, uint64_t value)
{
    return _mm512_cmpeq_epi64_mask(word, _mm512_set1_epi64((long long)value));
}

INLINE __mmask8 lanes_good(__m512i flex, const struct words *w, const int format)
{
    __mmask8 good;

    if (format == FORMAT_LEGACY)
        return equals(_mm512_and_si512(w->qw1, _mm512_set1_epi64((long long)(RXL_DD | RXL_EOP |
                                                                             RXL_RXE | RXL_SPH))),
                      RXL_DD | RXL_EOP);
    good = equals(_mm512_and_si512(w->qw1, _mm512_set1_epi64(RXF_DD | RXF_EOP | RXF_RXE)),
                  RXF_DD | RXF_EOP);
    return good &
           _mm512_cmpeq_epi64_mask(
               _mm512_and_si512(w->qw0, _mm512_set1_epi64((long long)(RXF_RXDID_MASK | RXF_SPH))),
               flex);
}

INLINE void store_u32(uint32_t *to, __m512i value, __mmask8 valid)
{
    if (to)
        _mm256_storeu_si256((__m256i *)to, _mm512_maskz_cvtepi64_epi32(valid, value));
}

INLINE void store_u16(uint16_t *to, __m512i value, __mmask8 valid)
{
    if (to)
        _mm_storeu_si128((__m128i *)to, _mm512_maskz_cvtepi64_epi16(valid, value));
}

INLINE void store_u8(uint8_t *to, __m512i value)
{
    if (to)
        _mm_storel_epi64((__m128i *)to, _mm512_cvtepi64_epi8(value));
}

/* Packets with a checksum bit set that needs judgement: one by one, from the copies held here. */
static __attribute__((noinline)) void csum_mixed(const struct pair *pair, const struct words *w,
                                                 uint32_t lanes, uint8_t *csum, int format)
{
    uint64_t qw[4][LANES];

    _mm512_storeu_si512(qw[0], w->qw0);
    _mm512_storeu_si512(qw[1], w->qw1);
    _mm512_storeu_si512(qw[2], w->qw2);
    _mm512_storeu_si512(qw[3], w->qw3);
    for (; lanes; lanes &= lanes - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(lanes);
        struct written one = {qw[0][i], qw[1][i], qw[2][i], qw[3][i]};

        csum[i] = format == FORMAT_LEGACY
                      ? written_csum(pair, &one, written_ptype(&one, FORMAT_LEGACY), FORMAT_LEGACY)
                      : written_csum(pair, &one, written_ptype(&one, FORMAT_FLEX), FORMAT_FLEX);
    }
}

/* The verdicts of types below PTYPES_CLASSED when nothing is wrong; of others, rubbish. */
INLINE __m512i good_verdicts(const struct pair *pair, const struct verdicts *table, __m512i ptype,
                             __mmask8 known)
{
    __m256i index;

    if (likely(pair->byte_tables)) {
        __m512i low = byte_entry(ptype, table->part[0], table->part[1]);
        __m512i high = byte_entry(ptype, table->part[2], table->part[3]);

        return _mm512_mask_mov_epi64(low, bits(ptype, PTYPES_CLASSED / 2), high);
    }
    index = _mm512_maskz_cvtepi64_epi32(known, ptype);
    return _mm512_cvtepu32_epi64(
        _mm256_i32gather_epi32((const int *)(const void *)pair->good_of, index, 1));
}

INLINE void columns_csum(const struct pair *pair, const struct verdicts *table,
                         const struct words *w, __m512i ptype, uint8_t *csum, const int format)
{
    const bool legacy = format == FORMAT_LEGACY;
    __mmask8 checked = bits(w->qw1, legacy ? RXL_L3L4P : RXF_L3L4P);
    __mmask8 mixed = checked & bits(w->qw1, legacy ? RXL_ERRORS : RXF_ERRORS);
    __mmask8 known = _mm512_cmplt_epu64_mask(ptype, _mm512_set1_epi64(PTYPES_CLASSED));
    __m512i good = good_verdicts(pair, table, ptype, known);

    /* Types beyond the table have no verdict, as type 0. */
    good = _mm512_maskz_and_epi64(checked & known, good, _mm512_set1_epi64(0xff));
    if (!legacy)
        good = _mm512_mask_or_epi64(good, checked & bits(w->qw2, RXF_QW2_NAT), good,
                                    _mm512_set1_epi64(CSUM_GOOD << VERDICT_UDP_SHIFT));
    store_u8(csum, good);
    if (unlikely(mixed)) {
        struct words copy = *w; /* only this one needs to lie in memory */

        csum_mixed(pair, &copy, mixed, csum, format);
    }
}

/* Eight rows of the columns; the same rules as metadata_fill. */
INLINE void columns_fill(const struct pair *pair, const struct verdicts *table,
                         const struct columns *c, size_t row, const struct words *w,
                         const int format, const int metadata)
{
    const bool legacy = format == FORMAT_LEGACY;
    __m512i ptype = legacy ? field(w->qw1, RXL_PTYPE_SHIFT, RXL_PTYPE_MASK)
                           : field(w->qw0, RXF_PTYPE_SHIFT, RXF_PTYPE_MASK);
    __m512i cast = legacy ? field(w->qw1, RXL_UMBCAST_SHIFT, RXL_UMBCAST_MASK)
                          : field(w->qw0, RXF_UMBCAST_SHIFT, RX_MIRRORED);
    __m512i fltstat = field(w->qw1, RXL_FLTSTAT_SHIFT, RXL_FLTSTAT_MASK);
    __mmask8 hashed = legacy ? equals(fltstat, RX_FLTSTAT_RSS_HASH) : bits(w->qw1, RXF_RSS_VALID);
    __m512i hash =
        format == FORMAT_FLEX_OVS ? w->qw3 : _mm512_srli_epi64(legacy ? w->qw0 : w->qw1, 32);
    __m512i flags;

    if (legacy) /* unknown types are reported as such */
        ptype = _mm512_maskz_mov_epi64(
            _mm512_cmplt_epu64_mask(ptype, _mm512_set1_epi64(PTYPE_COMMON)), ptype);
    /* UMBCAST 1 and 2 shifted are the flags of multicast and broadcast; 3, mirrored, is neither. */
    flags = _mm512_maskz_slli_epi64((__mmask8)~equals(cast, RX_MIRRORED), cast, 4);
    flags = _mm512_mask_or_epi64(flags, hashed, flags, _mm512_set1_epi64(FLAG_RSS));
    store_u32(c->rss ? c->rss + row : NULL, hash, hashed);
    store_u16(c->ptype ? c->ptype + row : NULL, ptype, ALL_LANES);
    if (c->csum)
        columns_csum(pair, table, w, ptype, c->csum + row, format);
    if (metadata == METADATA_ALL) {
        __mmask8 tagged, marked, timed;
        __m512i tag, mark;

        if (pair->vlan_in_l2tag2) {
            tag = _mm512_srli_epi64(w->qw2, RXL_QW2_L2TAG2_2_SHIFT);
            tagged = bits(w->qw2, legacy ? RXL_QW2_L2TAG2P : RXF_QW2_L2TAG2P);
        } else {
            tag = legacy ? field(w->qw0, RXL_QW0_L2TAG1_SHIFT, 0xffff)
                         : field(w->qw1, RXF_QW1_L2TAG1_SHIFT, 0xffff);
            tagged = bits(w->qw1, legacy ? RXL_L2TAG1P : RXF_L2TAG1P);
        }
        if (legacy) {
            __mmask8 matched = equals(fltstat, RX_FLTSTAT_FD_ID);
            __mmask8 flexible = bits(w->qw1, RXL_FLM) & equals(field(w->qw2, 4, 3), 1);

            mark = _mm512_mask_srli_epi64(_mm512_srli_epi64(w->qw3, 32), matched, w->qw0, 32);
            marked = matched | flexible;
        } else {
            uint64_t none = pair->flex == RXDID_FLEX_NIC_2 ? 0xffff : FLOW_NONE;

            mark = format == FORMAT_FLEX_OVS ? _mm512_srli_epi64(w->qw1, 32) : w->qw3;
            mark = _mm512_and_si512(mark, _mm512_set1_epi64((long long)none));
            marked = pair->flex == RXDID_COMMS_IPSEC ? 0 : (__mmask8)~equals(mark, none);
        }
        timed = format == FORMAT_FLEX && pair->flex < RXDID_COMMS_GENERIC
                    ? bits(w->qw2, RXF_QW2_TS_VALID)
                    : 0;
        flags = _mm512_mask_or_epi64(flags, tagged, flags, _mm512_set1_epi64(FLAG_VLAN));
        flags = _mm512_mask_or_epi64(flags, marked, flags, _mm512_set1_epi64(FLAG_MARK));
        flags = _mm512_mask_or_epi64(flags, timed, flags, _mm512_set1_epi64(FLAG_TIME));
        store_u16(c->vlan ? c->vlan + row : NULL, tag, tagged);
        store_u32(c->mark ? c->mark + row : NULL, mark, marked);
        store_u32(c->time ? c->time + row : NULL, _mm512_srli_epi64(w->qw3, 32), timed);
    }
    store_u8(c->flags ? c->flags + row : NULL, flags);
}

INLINE struct run avx512_run(struct pair *pair, const struct columns *columns, uint32_t row,
                             uint32_t n, tail_fn tail, const int format, const int metadata,
                             const int mark)
{
    const struct columns copy = *columns; /* what is stored below may not change it */
    const struct columns *c = &copy;
    uint8_t *held = pair->held;
    struct run run = {0};
    const bool legacy = format == FORMAT_LEGACY;
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next;
    uint32_t limit = pair->buffer_size < pair->max_frame ? pair->buffer_size : pair->max_frame;
    const __m512i headroom =
        _mm512_set1_epi64((long long)((uint64_t)pair->headroom << HANDLE_OFFSET_SHIFT));
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i limits = _mm512_set1_epi64(limit);
    const __m512i flex = _mm512_set1_epi64(pair->flex);
    uint64_t *to = c->handles + row;
    __m512i sum = _mm512_setzero_si512();
    struct verdicts table;
    size_t i;

    if (metadata != METADATA_NONE)
        table = verdicts_load(pair);
    for (i = 0; i + LANES <= n; i += LANES) {
        struct block block = block_load(desc + i);
        struct words w = {.qw1 = block_word(&block, 1)};
        __m512i again;
        __m512i length, handles;
        __mmask8 good;

        if (!legacy || metadata != METADATA_NONE) {
            block = block_load(desc + i);
            block_words(&block, 0, &w.qw0, &w.qw2);
            block_words(&block, 1, &again, &w.qw3);
        }
        length = legacy ? field(w.qw1, RXL_LEN_SHIFT, RXL_LEN_MASK)
                        : field(w.qw0, RXF_LEN_SHIFT, RXF_LEN_MASK);
        good = lanes_good(flex, &w, format) &
               _mm512_cmplt_epu64_mask(_mm512_sub_epi64(length, one), limits);
        handles = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)(buffer + i)));
        handles = _mm512_or_si512(_mm512_or_si512(handles, headroom),
                                  _mm512_slli_epi64(length, HANDLE_LENGTH_SHIFT));
        _mm512_storeu_si512(to + i, handles);
        if (metadata != METADATA_NONE)
            columns_fill(pair, &table, c, row + i, &w, format, metadata);
        if (unlikely(good != ALL_LANES)) {
            uint32_t count = (uint32_t)__builtin_ctz(~(uint32_t)good);

            if (mark)
                for (uint32_t k = 0; k < count; k++)
                    mark_held(held, buffer[i + k]);
            sum = _mm512_mask_add_epi64(sum, (__mmask8)((1u << count) - 1), sum, length);
            run.count = (uint32_t)i + count;
            run.bytes = (uint32_t)_mm512_reduce_add_epi64(sum);
            return run;
        }
        if (mark)
#pragma GCC unroll 8
            for (uint32_t k = 0; k < LANES; k++)
                mark_held(held, buffer[i + k]);
        sum = _mm512_add_epi64(sum, length);
    }
    run.bytes = (uint32_t)_mm512_reduce_add_epi64(sum);
    run.count = (uint32_t)i;
    return run_end(run, pair, columns, row, n, tail);
}

RECEIVE_ALL(avx512)

/* Whole descriptors are written, also the words that the device does not read: full lines. */
void avx512_receive_post(struct pair *pair, const uint32_t *index, uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill;
    const __m512i base = _mm512_set1_epi64((long long)(pair->pool_iova + pair->headroom));
    const __m512i stride = _mm512_set1_epi64(pair->stride);
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m256i indexes = _mm256_loadu_si256((const __m256i *)(index + i));
        __m512i address =
            _mm512_add_epi64(_mm512_mul_epu32(_mm512_cvtepu32_epi64(indexes), stride), base);

        _mm256_storeu_si256((__m256i *)(buffer + i), indexes);
        for (int k = 0; k < 4; k++)
            _mm512_storeu_si512(
                desc + i + 2 * k,
                _mm512_maskz_permutexvar_epi64(
                    0x11, _mm512_set1_epi64(2 * k) + (__m512i){0, 0, 0, 0, 1}, address));
    }
    for (; i < n; i++) {
        buffer[i] = index[i];
        desc[i].qw0 = pair->pool_iova + pair->headroom + (uint64_t)index[i] * pair->stride;
        desc[i].qw1 = 0;
    }
}

static __attribute__((noinline)) uint32_t tail_plain(struct pair *pair, uint32_t first,
                                                     const uint64_t *handles, uint32_t n,
                                                     uint32_t *bytes)
{
    return scalar_send_at(pair, first, handles, n, bytes, 0);
}

static __attribute__((noinline)) uint32_t tail_checked(struct pair *pair, uint32_t first,
                                                       const uint64_t *handles, uint32_t n,
                                                       uint32_t *bytes)
{
    return scalar_send_at(pair, first, handles, n, bytes, 1);
}

INLINE uint32_t send_lanes(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes,
                           const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next;
    uint32_t *buffer = pair->tx_sw + pair->tx_next;
    const __m512i stride = _mm512_set1_epi64(pair->stride);
    const __m512i buffers = _mm512_set1_epi64(pair->buffers);
    const __m512i shortest = _mm512_set1_epi64(TX_MIN_FRAME);
    const __m512i span = _mm512_set1_epi64(pair->tx_max_frame - TX_MIN_FRAME);
    const __m512i iova = _mm512_set1_epi64((long long)pair->pool_iova);
    const __m512i command = _mm512_set1_epi64((long long)(TXD_COMMAND | TXD_EOP));
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i sum = _mm512_setzero_si512();
    uint8_t *held = pair->held;
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m512i handle = _mm512_loadu_si512(handles + i);
        __m512i index = _mm512_and_si512(handle, _mm512_set1_epi64(HANDLE_INDEX_MASK));
        __m512i offset = field(handle, HANDLE_OFFSET_SHIFT, HANDLE_FIELD_MASK);
        __m512i length = _mm512_srli_epi64(handle, HANDLE_LENGTH_SHIFT);
        __mmask8 good = _mm512_cmplt_epu64_mask(index, buffers) &
                        _mm512_cmple_epu64_mask(_mm512_add_epi64(offset, length), stride) &
                        _mm512_cmple_epu64_mask(_mm512_sub_epi64(length, shortest), span);
        __m512i address, qw1;

        /* The scalar loop finds which one it is, or which mark is missing. */
        if (unlikely(good != ALL_LANES) ||
            (checked && unlikely(!mark_claim_all(held, handles + i, LANES))))
            break;
        address = _mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epu32(index, stride), offset), iova);
        qw1 = _mm512_or_si512(_mm512_slli_epi64(length, TXD_BUF_SZ_SHIFT), command);
        _mm512_storeu_si512(desc + i, _mm512_permutex2var_epi64(address, first, qw1));
        _mm512_storeu_si512(desc + i + 4, _mm512_permutex2var_epi64(address, second, qw1));
        _mm256_storeu_si256((__m256i *)(buffer + i), _mm512_cvtepi64_epi32(index));
        sum = _mm512_add_epi64(sum, length);
    }
    *bytes += (uint32_t)_mm512_reduce_add_epi64(sum);
    if (likely(i == n))
        return n;
    return (uint32_t)i + (checked ? tail_checked : tail_plain)(pair, (uint32_t)i, handles + i,
                                                               n - (uint32_t)i, bytes);
}

uint32_t avx512_send(struct pair *pair, const uint64_t *handles, uint32_t n, uint32_t *bytes)
{
    return send_lanes(pair, handles, n, bytes, 0);
}

uint32_t avx512_send_checked(struct pair *pair, const uint64_t *handles, uint32_t n,
                             uint32_t *bytes)
{
    return send_lanes(pair, handles, n, bytes, 1);
}
#endif
