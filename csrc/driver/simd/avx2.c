/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX2: receives eight descriptors at once (rx_words.h) and sends four packets at once (tx_fours.h). A lane
 * that is set is a word of all ones. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))),                \
                             apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif
#include <immintrin.h>

#include "driver/simd/isa.h"
#include "driver/simd/tx_fours.h"
#include "hw/x86.h"

typedef __m256i lanes;
#define EVERY_LANE _mm256_set1_epi32(-1)
#define NO_LANE _mm256_setzero_si256()

struct csum_table {
    char none; /* there is no table in registers: rows_look does it */
};

#include "driver/simd/rx_words.h"

#define avx2_run words_run

static bool usable(void)
{
    return x86_features().avx2;
}

INLINE lanes equal(lanes in, __m256i a, __m256i b)
{
    return _mm256_and_si256(in, _mm256_cmpeq_epi32(a, b));
}

INLINE lanes differ(lanes in, __m256i a, __m256i b)
{
    return _mm256_andnot_si256(_mm256_cmpeq_epi32(a, b), in);
}

INLINE lanes at_most(lanes in, __m256i a, __m256i b)
{
    return equal(in, _mm256_min_epu32(a, b), a);
}

INLINE lanes has(lanes in, __m256i word, __m256i bits)
{
    return _mm256_and_si256(
        in, _mm256_cmpgt_epi32(_mm256_and_si256(word, bits), _mm256_setzero_si256()));
}

INLINE lanes either(lanes a, lanes b)
{
    return _mm256_or_si256(a, b);
}

INLINE uint32_t lane_bits(lanes some)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(some));
}

INLINE __m256i only(lanes some, __m256i value)
{
    return _mm256_and_si256(some, value);
}

INLINE __m256i choose(lanes some, __m256i there, __m256i elsewhere)
{
    return _mm256_blendv_epi8(elsewhere, there, some);
}

INLINE __m256i with(lanes some, __m256i value, __m256i bits)
{
    return _mm256_or_si256(value, _mm256_and_si256(some, bits));
}

INLINE void store_handles(uint64_t *to, __m256i index, __m256i upper)
{
    __m256i even = _mm256_unpacklo_epi32(index, upper); /* 0, 1, 4, 5 */
    __m256i odd = _mm256_unpackhi_epi32(index, upper);

    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(to + 4), _mm256_permute2x128_si256(even, odd, 0x31));
}

INLINE void store_u16(uint16_t *to, __m256i value, lanes valid)
{
    __m256i packed = only(valid, value);

    packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(packed, packed), 0x08);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(packed));
}

INLINE void store_u8(uint8_t *to, __m256i value)
{
    const __m256i lowest = _mm256_set1_epi32(0x0c080400);
    __m256i packed = _mm256_shuffle_epi8(value, lowest);

    packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
    _mm_storel_epi64((__m128i *)(void *)to, _mm256_castsi256_si128(packed));
}

INLINE struct csum_table csum_table_load(const struct queue_pair *pair)
{
    (void)pair;
    return (struct csum_table){0};
}

INLINE __m256i csum_table_look(const struct queue_pair *pair, struct csum_table table,
                               __m256i ptype, lanes known)
{
    (void)table;
    return rows_look(pair, ptype, known);
}

INLINE void avx2_post(struct queue_pair *pair, const uint32_t *index, uint32_t n)
{
    struct rx_desc *desc = pair->rx_ring + pair->rx_fill;
    uint32_t *buffer = pair->rx_sw + pair->rx_fill;
    const __m256i base = all(pair->pool_iova + pair->headroom);
    const __m256i stride = all(pair->stride);
    const __m128i zero = _mm_setzero_si128();
    uint32_t i;

    for (i = 0; i + 4 <= n; i += 4) {
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

RX_ALL(avx2, LANES)

INLINE struct run avx2_tx_run(struct queue_pair *pair, const uint64_t *handles, uint32_t n,
                              const int checked)
{
    return tx_fours(pair, 0, handles, n, checked);
}

TX_ALL(avx2, TX_LANES)

const struct isa isa_avx2 = {
    .name = "avx2",
    .number = ISA_AVX2,
    .usable = usable,
    .rx = avx2_rx,
    .rx_post = avx2_rx_post,
    .tx = TX_PATHS(avx2),
};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
