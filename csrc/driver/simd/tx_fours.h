/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending four packets at once: what AVX2 sends, and the last packets of an AVX-512 burst. */
#ifndef IAVFIO_DRIVER_SEND_FOURS_H
#define IAVFIO_DRIVER_SEND_FOURS_H

#include "driver/simd/tx_loop.h"

#define TX_LANES 4

INLINE __m256i all(uint64_t value)
{
    return _mm256_set1_epi64x((long long)value);
}

/* Whether every 32-bit half of a is at most that of b, and every half of c at most that of d, unsigned. */
INLINE bool all_at_most(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i good = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_min_epu32(a, b), a),
                                    _mm256_cmpeq_epi32(_mm256_min_epu32(c, d), c));

    return _mm256_movemask_epi8(good) == -1;
}

INLINE uint64_t total_fours(__m256i sum)
{
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(two, _mm_shuffle_epi32(two, 0x4e)));
}

/* Writes packets, four at a time, from slot tx_next + first on. */
INLINE struct run tx_fours(struct queue_pair *pair, uint32_t first, const uint64_t *handles,
                           uint32_t n, const int checked)
{
    struct tx_desc *desc = pair->tx_ring + pair->tx_next + first;
    uint32_t *buffer = pair->tx_sw + pair->tx_next + first;
    const __m256i stride = all(pair->stride);
    const __m256i iova = all(pair->pool_iova);
    const __m256i shortest = all(HANDLE_SHORTEST);
    const __m256i limits = all(handle_limits(pair));
    __m256i sum = _mm256_setzero_si256();
    size_t i;

    for (i = 0; i + TX_LANES <= n; i += TX_LANES) {
        __m256i handle = _mm256_loadu_si256((const __m256i *)(const void *)(handles + i));
        __m256i offset = _mm256_and_si256(_mm256_srli_epi64(handle, HANDLE_OFFSET_SHIFT),
                                          all(HANDLE_FIELD_MASK));
        __m256i length = _mm256_srli_epi64(handle, HANDLE_LENGTH_SHIFT);
        __m256i address, qw1, even, odd;

        /* The scalar loop finds out which packet it is, or which mark is missing. */
        if (unlikely(!all_at_most(_mm256_sub_epi32(handle, shortest), limits,
                                  _mm256_add_epi64(offset, length), stride)) ||
            (checked && unlikely(!mark_claim_all(pair->held, handles + i, TX_LANES))))
            break;
        address = _mm256_add_epi64(_mm256_mul_epu32(handle, stride), offset);
        address = _mm256_add_epi64(address, iova);
        qw1 = _mm256_or_si256(_mm256_slli_epi64(length, TXD_BUF_SZ_SHIFT),
                              all(TXD_COMMAND | TXD_EOP));
        even = _mm256_unpacklo_epi64(address, qw1);
        odd = _mm256_unpackhi_epi64(address, qw1);
        _mm256_storeu_si256((__m256i *)(void *)(desc + i),
                            _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(desc + i + 2),
                            _mm256_permute2x128_si256(even, odd, 0x31));
        _mm_storeu_si128((__m128i *)(void *)(buffer + i),
                         _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(
                             handle, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6))));
        sum = _mm256_add_epi64(sum, length);
    }
    return (struct run){(uint32_t)i, total_fours(sum)};
}

#endif
