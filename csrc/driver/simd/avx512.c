/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-512: receives eight descriptors at once (rx_words.h) and sends eight packets at once. A lane that
 * is set is a bit of a mask. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt"))),           \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt")
#endif
#include <immintrin.h>

#include "driver/simd/isa.h"
#include "driver/simd/tx_fours.h"
#include "hw/x86.h"

typedef __mmask8 lanes;
#define EVERY_LANE 0xff
#define NO_LANE 0

/* good_of[] in four registers of 64 types each, which are not loaded where nothing asks for them. To look
 * types up in memory would make a burst of 32 with metadata a twelfth longer. */
struct csum_table {
    __m512i a, b, c, d;
};

_Static_assert(PTYPES_CLASSED == sizeof(struct csum_table), "a byte for each type");

#include "driver/simd/rx_words.h"

#define avx512_run words_run

static bool usable(void)
{
    return x86_features().avx512;
}

static bool byte_tables(void)
{
    return x86_features().vbmi;
}

INLINE __m512i all64(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

INLINE lanes equal(lanes in, __m256i a, __m256i b)
{
    return _mm256_mask_cmpeq_epi32_mask(in, a, b);
}

INLINE lanes differ(lanes in, __m256i a, __m256i b)
{
    return _mm256_mask_cmpneq_epi32_mask(in, a, b);
}

INLINE lanes at_most(lanes in, __m256i a, __m256i b)
{
    return _mm256_mask_cmple_epu32_mask(in, a, b);
}

INLINE lanes has(lanes in, __m256i word, __m256i bits)
{
    return _mm256_mask_test_epi32_mask(in, word, bits);
}

INLINE lanes either(lanes a, lanes b)
{
    return a | b;
}

INLINE uint32_t lane_bits(lanes some)
{
    return some;
}

INLINE __m256i only(lanes some, __m256i value)
{
    return _mm256_maskz_mov_epi32(some, value);
}

INLINE __m256i choose(lanes some, __m256i there, __m256i elsewhere)
{
    return _mm256_mask_mov_epi32(elsewhere, some, there);
}

INLINE __m256i with(lanes some, __m256i value, __m256i bits)
{
    return _mm256_mask_or_epi32(value, some, value, bits);
}

INLINE void store_handles(uint64_t *to, __m256i index, __m256i upper)
{
    const __m512i interleaved =
        _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);

    _mm512_storeu_si512(to, _mm512_permutex2var_epi32(_mm512_castsi256_si512(index), interleaved,
                                                      _mm512_castsi256_si512(upper)));
}

INLINE void store_u16(uint16_t *to, __m256i value, lanes valid)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_maskz_cvtepi32_epi16(valid, value));
}

INLINE void store_u8(uint8_t *to, __m256i value)
{
    _mm_storel_epi64((__m128i *)(void *)to, _mm256_cvtepi32_epi8(value));
}

INLINE struct csum_table csum_table_load(const struct queue_pair *pair)
{
    return (struct csum_table){
        _mm512_loadu_si512(pair->good_of), _mm512_loadu_si512(pair->good_of + 64),
        _mm512_loadu_si512(pair->good_of + 128), _mm512_loadu_si512(pair->good_of + 192)};
}

/* Replaces byte 0 of each lane by that byte's entry in a table of 128. It is written as assembly so that the
 * rest of this file does without VBMI. */
INLINE __m512i byte_entry(__m512i at, __m512i low, __m512i high)
{
    __asm__("vpermi2b %2, %1, %0" : "+v"(at) : "v"(low), "v"(high));
    return at;
}

INLINE __m256i csum_table_look(const struct queue_pair *pair, struct csum_table table,
                               __m256i ptype, lanes known)
{
    if (likely(pair->byte_tables)) {
        __m512i at = _mm512_castsi256_si512(ptype);
        __m256i low = _mm512_castsi512_si256(byte_entry(at, table.a, table.b));
        __m256i high = _mm512_castsi512_si256(byte_entry(at, table.c, table.d));

        return choose(has(EVERY_LANE, ptype, CONSTANT(upper_half)), high, low);
    }
    return rows_look(pair, ptype, known);
}

/* Writes whole descriptors, also the words that the device does not read, since that fills cache lines. */
INLINE void avx512_post(struct queue_pair *pair, const uint32_t *index, uint32_t n)
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

RX_ALL(avx512, LANES)

INLINE uint64_t total_eights(__m512i sum)
{
    return total_fours(
        _mm256_add_epi64(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1)));
}

INLINE struct run avx512_tx_run(struct queue_pair *pair, const uint64_t *handles, uint32_t n,
                                const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next;
    uint32_t *buffer = pair->tx_sw + pair->tx_next;
    const __m512i stride = all64(pair->stride);
    const __m512i iova = all64(pair->pool_iova);
    const __m512i shortest = all64(HANDLE_SHORTEST);
    const __m512i limits = all64(handle_limits(pair));
    const __m512i command = all64(TXD_COMMAND | TXD_EOP);
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i sum = _mm512_setzero_si512();
    uint8_t *held = pair->held;
    struct run run;
    size_t i;

    if (n < LANES)
        return tx_fours(pair, 0, handles, n, checked);
    for (i = 0; i + LANES <= n; i += LANES, desc += LANES) {
        __m512i handle = _mm512_loadu_si512(handles + i);
        __m512i offset = _mm512_and_si512(_mm512_srli_epi64(handle, HANDLE_OFFSET_SHIFT),
                                          all64(HANDLE_FIELD_MASK));
        __m512i length = _mm512_srli_epi64(handle, HANDLE_LENGTH_SHIFT);
        __mmask16 good = _mm512_cmple_epu32_mask(_mm512_sub_epi32(handle, shortest), limits);
        __m512i address, qw1;

        good = _mm512_mask_cmple_epu32_mask(good, _mm512_add_epi64(offset, length), stride);
        /* The scalar loop finds out which packet it is, or which mark is missing. */
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
    run = (struct run){(uint32_t)i, total_eights(sum)};
    return i == n
               ? run
               : run_sum(run, tx_fours(pair, (uint32_t)i, handles + i, n - (uint32_t)i, checked));
}

TX_ALL(avx512, TX_LANES)

const struct isa isa_avx512 = {
    .name = "avx512",
    .number = ISA_AVX512,
    .usable = usable,
    .byte_tables = byte_tables,
    .rx = avx512_rx,
    .rx_post = avx512_rx_post,
    .tx = TX_PATHS(avx512),
};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
