/* SPDX-License-Identifier: BSD-3-Clause */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt")
#include <immintrin.h>

#include "handles.h"

INLINE __m512i every(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

INLINE __m512i status_eight(const struct rx_desc *desc)
{
    const __m512i odd = _mm512_setr_epi64(1, 5, 9, 13, 1, 5, 9, 13);
    __m512i low =
        _mm512_permutex2var_epi64(_mm512_loadu_si512(desc), odd, _mm512_loadu_si512(desc + 2));
    __m512i high =
        _mm512_permutex2var_epi64(_mm512_loadu_si512(desc + 4), odd, _mm512_loadu_si512(desc + 6));

    return _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
}

INLINE uint32_t vector_receive(struct model *m, const enum form form)
{
    const struct terms t = m->terms;

    for (uint32_t i = 0; i < BURST; i += 8) {
        uint32_t slot = m->rx_next + i;
        __m512i qw1 = status_eight(t.rx + slot), place;
        __m512i length =
            _mm512_and_si512(_mm512_srli_epi64(qw1, RXL_LEN_SHIFT), every(RXL_LEN_MASK));
        __mmask8 good = _mm512_cmpeq_epi64_mask(_mm512_and_si512(qw1, every(STATUS)), every(GOOD)) &
                        _mm512_cmplt_epu64_mask(_mm512_sub_epi64(length, every(1)), every(t.limit));

        if (form == INDEX) {
            place =
                _mm512_cvtepu32_epi64(_mm256_loadu_si256((const void *)(m->rx_sw.index + slot)));
            place = _mm512_or_si512(place, every((uint64_t)t.headroom << 32));
        } else {
            place = _mm512_loadu_si512(m->rx_sw.place + slot);
            if (form == CHECKED)
                place = _mm512_add_epi64(place, every(t.headroom));
        }
        _mm512_storeu_si512(m->handles + i, _mm512_or_si512(place, _mm512_slli_epi64(length, 48)));
        if (good != 0xff)
            return i + (uint32_t)__builtin_ctz(~(uint32_t)good);
    }
    return BURST;
}

INLINE void vector_post(struct model *m, const enum form form)
{
    const struct terms t = m->terms;

    for (uint32_t i = 0; i < BURST; i += 8) {
        uint32_t slot = m->rx_fill + i, from = m->idle + i;
        __m512i address;

        if (form == INDEX) {
            __m256i index = _mm256_loadu_si256((const void *)(m->store.index + from));

            _mm256_storeu_si256((void *)(m->rx_sw.index + slot), index);
            address =
                _mm512_add_epi64(_mm512_mul_epu32(_mm512_cvtepu32_epi64(index), every(t.stride)),
                                 every(t.iova + t.headroom));
        } else {
            __m512i place = _mm512_loadu_si512(m->store.place + from);

            _mm512_storeu_si512(m->rx_sw.place + slot, place);
            address = _mm512_add_epi64(place, every(t.iova + (form == CHECKED ? t.headroom : 0)));
        }
        for (uint32_t k = 0; k < 4; k++)
            _mm512_storeu_si512(t.rx + slot + 2 * k,
                                _mm512_maskz_permutexvar_epi64(
                                    0x11, every(2 * k) + (__m512i){0, 0, 0, 0, 1}, address));
    }
}

INLINE uint32_t vector_send(struct model *m, const enum form form)
{
    const struct terms t = m->terms;
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);

    for (uint32_t i = 0; i < BURST; i += 8) {
        uint32_t slot = m->tx_next + i;
        __m512i handle = _mm512_loadu_si512(m->handles + i);
        __m512i length = _mm512_srli_epi64(handle, 48), position, qw1;
        __mmask8 good = _mm512_cmple_epu64_mask(_mm512_sub_epi64(length, every(TX_MIN_FRAME)),
                                                every(TX_MAX_FRAME - TX_MIN_FRAME));

        if (form == INDEX) {
            __m512i index = _mm512_and_si512(handle, every(0xffffffff));
            __m512i offset = _mm512_and_si512(_mm512_srli_epi64(handle, 32), every(0xffff));

            good &= _mm512_cmplt_epu64_mask(index, every(t.count)) &
                    _mm512_cmple_epu64_mask(_mm512_add_epi64(offset, length), every(t.stride));
            position = _mm512_add_epi64(_mm512_mul_epu32(index, every(t.stride)), offset);
            _mm256_storeu_si256((void *)(m->tx_sw.index + slot), _mm512_cvtepi64_epi32(index));
        } else {
            __m512i start;

            position = _mm512_and_si512(handle, every(POSITION));
            start = position;
            if (form == TRUSTING) {
                good &= _mm512_cmple_epu64_mask(_mm512_add_epi64(position, length),
                                                every(t.pool_bytes));
            } else {
                start =
                    _mm512_mul_epu32(_mm512_srli_epi64(position, UNIT_SHIFT), every(RECIPROCAL));
                start =
                    _mm512_mul_epu32(_mm512_srli_epi64(start, RECIPROCAL_SHIFT), every(t.stride));
                good &= _mm512_cmplt_epu64_mask(position, every(t.pool_bytes)) &
                        _mm512_cmple_epu64_mask(
                            _mm512_add_epi64(_mm512_sub_epi64(position, start), length),
                            every(t.stride));
            }
            _mm512_storeu_si512(m->tx_sw.place + slot, start);
        }
        if (__builtin_expect(good != 0xff, 0))
            return i;
        position = _mm512_add_epi64(position, every(t.iova));
        qw1 = _mm512_or_si512(_mm512_slli_epi64(length, TXD_BUF_SZ_SHIFT), every(COMMAND));
        _mm512_storeu_si512(t.tx + slot, _mm512_permutex2var_epi64(position, first, qw1));
        _mm512_storeu_si512(t.tx + slot + 4, _mm512_permutex2var_epi64(position, second, qw1));
    }
    return BURST;
}

INLINE void vector_field(struct model *m, const enum form form)
{
    const struct terms t = m->terms;

    for (uint32_t i = 0; i < BURST; i += 8) {
        __m512i handle = _mm512_loadu_si512(m->handles + i);
        __m512i position = _mm512_and_si512(handle, every(POSITION));

        if (form == INDEX)
            position =
                _mm512_add_epi64(_mm512_mul_epu32(handle, every(t.stride)),
                                 _mm512_and_si512(_mm512_srli_epi64(handle, 32), every(0xffff)));
        _mm_storeu_si128((void *)(m->field + i),
                         _mm512_cvtepi64_epi16(_mm512_cvtepu32_epi64(
                             _mm512_i64gather_epi32(position, t.pool + 12, 1))));
    }
}

INLINE void forward(struct model *m, const enum form form)
{
    after_receive(m, vector_receive(m, form));
    vector_post(m, form);
    after_post(m, form);
    after_send(m, vector_send(m, form));
}

ACT(vector_index, forward(m, INDEX))
ACT(vector_trusting, forward(m, TRUSTING))
ACT(vector_checked, forward(m, CHECKED))
ACT(vector_field_index, vector_field(m, INDEX))
ACT(vector_field_address, vector_field(m, TRUSTING))
