/* SPDX-License-Identifier: BSD-3-Clause */
/* The form of a packet's handle, measured (docs/adr/0006): receive and send of the same burst, refill
 * and clean-up included, on rings in plain memory, and one header field of each packet. It is a model of
 * the hot path that differs in the handle alone; the device is played outside the timed region.
 *
 *   index    buffer index 31:0, offset in the buffer 47:32, length 63:48; the address is a product
 *   trusting byte in the pool 47:0, length 63:48; bounded by the pool, the data may cross two buffers
 *   checked  as trusting, but the buffer is found by a reciprocal: the same checks as index
 *
 * gcc -O3 -std=gnu11 -D_GNU_SOURCE -Icsrc -Ibench/ring bench/ring/{handles,step,memory}.c -pthread
 * Argument: rounds (default 300). */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "harness.h"

#define INLINE static inline __attribute__((always_inline))
#define ENTRIES 512u
#define BURST 32u
#define BURSTS 8u /* in a timed region */
#define REGION (BURST * BURSTS)
#define BUFFERS 4096u
#define STRIDE 2176u
#define HEADROOM 128u
#define LIMIT 2048u
#define UNIT_SHIFT 6 /* the reciprocal works in cache lines */
#define RECIPROCAL_SHIFT 37
#define RECIPROCAL (((1ull << RECIPROCAL_SHIFT) + STRIDE / 64 - 1) / (STRIDE / 64))
#define POSITION 0xffffffffffffull
#define DONE 0xfull
#define COMMAND ((uint64_t)(TXD_CMD_ICRC | TXD_CMD_EOP) << TXD_CMD_SHIFT)
#define REPORT ((uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT)
#define SPH (1ull << 63)
#define STATUS (RXL_DD | RXL_EOP | RXL_RXE | SPH)
#define GOOD (RXL_DD | RXL_EOP)

_Static_assert(STRIDE % 64 == 0, "the reciprocal counts cache lines");
_Static_assert(RECIPROCAL < 1ull << 32, "the reciprocal is a 32-bit factor");
_Static_assert((RECIPROCAL * (STRIDE / 64) - (1ull << RECIPROCAL_SHIFT)) *
                       ((uint64_t)BUFFERS * STRIDE / 64) <
                   1ull << RECIPROCAL_SHIFT,
               "the reciprocal is exact in the pool");

enum form { INDEX, TRUSTING, CHECKED, FORMS };

/* Buffers by index in four bytes, or by their place in the pool in eight. */
union places {
    uint32_t index[BUFFERS];
    uint64_t place[BUFFERS];
};

struct
    terms { /* known at run time only, as in the driver; loops hold a copy, which no store can change */
    struct rx_desc *rx;
    struct tx_desc *tx;
    uint8_t *pool;
    uint64_t iova, pool_bytes;
    uint32_t count, stride, headroom, limit;
};

struct model {
    struct terms terms;
    uint32_t rx_next, rx_fill, tx_next, tx_clean, tx_backlog, idle;
    uint32_t sequence, refused;
    volatile uint32_t rx_tail, tx_tail;
    uint64_t handles[BURST] __attribute__((aligned(64)));
    uint16_t field[BURST] __attribute__((aligned(64)));
    union places rx_sw, tx_sw, store;
    uint64_t expected[REGION];
};

/* ---- one handle ---- */

/* What the store holds for a buffer. */
INLINE uint64_t place_of(const struct terms *t, uint32_t index, const enum form form)
{
    return (uint64_t)index * t->stride + (form == TRUSTING ? t->headroom : 0);
}

/* sw is what is known of its slot. */
INLINE uint64_t handle_of(const struct terms *t, const union places *sw, uint32_t slot,
                          uint32_t length, const enum form form)
{
    if (form == INDEX)
        return sw->index[slot] | (uint64_t)t->headroom << 32 | (uint64_t)length << 48;
    return (sw->place[slot] + (form == CHECKED ? t->headroom : 0)) | (uint64_t)length << 48;
}

INLINE uint64_t position_of(const struct terms *t, uint64_t handle, const enum form form)
{
    if (form == INDEX)
        return (uint64_t)(uint32_t)handle * t->stride + (uint16_t)(handle >> 32);
    return handle & POSITION;
}

/* ---- scalar ---- */

INLINE uint32_t scalar_receive(struct model *m, const enum form form)
{
    const struct terms t = m->terms;
    const uint32_t next = m->rx_next;
    uint64_t *handles = m->handles;
    uint32_t i;

    for (i = 0; i < BURST; i++) {
        uint64_t qw1 = __atomic_load_n(&t.rx[next + i].qw1, __ATOMIC_ACQUIRE);
        uint32_t length = (uint32_t)(qw1 >> RXL_LEN_SHIFT) & RXL_LEN_MASK;

        if (((qw1 & STATUS) != GOOD) | (length - 1 >= t.limit))
            break;
        handles[i] = handle_of(&t, &m->rx_sw, next + i, length, form);
    }
    return i;
}

INLINE void scalar_post(struct model *m, const enum form form)
{
    const struct terms t = m->terms;
    const uint32_t fill = m->rx_fill, from = m->idle;
    struct rx_desc *desc = t.rx + fill;

    for (uint32_t i = 0; i < BURST; i++) {
        if (form == INDEX) {
            uint32_t index = m->store.index[from + i];

            m->rx_sw.index[fill + i] = index;
            desc[i].qw0 = t.iova + t.headroom + (uint64_t)index * t.stride;
        } else {
            uint64_t place = m->store.place[from + i];

            m->rx_sw.place[fill + i] = place;
            desc[i].qw0 = t.iova + (form == CHECKED ? t.headroom : 0) + place;
        }
        desc[i].qw1 = 0;
    }
}

INLINE uint32_t scalar_send(struct model *m, const enum form form)
{
    const struct terms t = m->terms;
    const uint32_t next = m->tx_next;
    const uint64_t *handles = m->handles;
    struct tx_desc *desc = t.tx + next;
    uint32_t i;

    for (i = 0; i < BURST; i++) {
        uint64_t handle = handles[i], position = position_of(&t, handle, form);
        uint32_t length = (uint32_t)(handle >> 48);
        bool good = length - TX_MIN_FRAME <= TX_MAX_FRAME - TX_MIN_FRAME;

        if (form == INDEX) {
            good &= ((uint32_t)handle < t.count) & ((uint16_t)(handle >> 32) + length <= t.stride);
            m->tx_sw.index[next + i] = (uint32_t)handle;
        } else if (form == TRUSTING) {
            good &= position + length <= t.pool_bytes;
            m->tx_sw.place[next + i] = position;
        } else {
            uint64_t start = ((position >> UNIT_SHIFT) * RECIPROCAL >> RECIPROCAL_SHIFT) * t.stride;

            good &= (position < t.pool_bytes) & (position - start + length <= t.stride);
            m->tx_sw.place[next + i] = start;
        }
        if (__builtin_expect(!good, 0))
            break;
        desc[i].addr = t.iova + position;
        desc[i].qw1 = COMMAND | (uint64_t)length << TXD_BUF_SZ_SHIFT;
    }
    return i;
}

INLINE void scalar_field(struct model *m, const enum form form)
{
    const struct terms t = m->terms;
    const uint64_t *handles = m->handles;
    uint16_t *field = m->field;

    for (uint32_t i = 0; i < BURST; i++)
        memcpy(&field[i], t.pool + position_of(&t, handles[i], form) + 12, 2);
}

/* ---- AVX-512 ---- */

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt")

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

/* ---- the acts ---- */

/* Buffers of sent packets return; the store is a stack, moved by one copy. */
INLINE void clean(struct model *m, const enum form form)
{
    if (m->tx_backlog < 2 * BURST || (m->terms.tx[m->tx_clean + BURST - 1].qw1 & DONE) != DONE)
        return;
    if (form == INDEX)
        memcpy(m->store.index + m->idle, m->tx_sw.index + m->tx_clean, 4 * BURST);
    else
        memcpy(m->store.place + m->idle, m->tx_sw.place + m->tx_clean, 8 * BURST);
    m->idle += BURST;
    m->tx_clean = (m->tx_clean + BURST) % ENTRIES;
    m->tx_backlog -= BURST;
}

INLINE void forward(struct model *m, const enum form form, const bool vector)
{
    uint32_t got = vector ? vector_receive(m, form) : scalar_receive(m, form);
    uint32_t sent;

    m->rx_next = (m->rx_next + got) % ENTRIES;
    m->idle -= BURST;
    if (vector)
        vector_post(m, form);
    else
        scalar_post(m, form);
    m->rx_fill = (m->rx_fill + BURST) % ENTRIES;
    m->rx_tail = m->rx_fill;
    clean(m, form);
    sent = vector ? vector_send(m, form) : scalar_send(m, form);
    m->terms.tx[m->tx_next + BURST - 1].qw1 |= REPORT;
    m->tx_next = (m->tx_next + BURST) % ENTRIES;
    m->tx_backlog += BURST;
    m->tx_tail = m->tx_next;
    m->refused += got != BURST || sent != BURST;
}

/* Several bursts in one timed region: a time-stamp counter may move in steps of dozens. */
#define ACT(name, call)                                                                            \
    static __attribute__((noinline)) void name(struct instance *instance)                          \
    {                                                                                              \
        struct model *m = (struct model *)(void *)instance;                                        \
                                                                                                   \
        for (uint32_t i = 0; i < BURSTS; i++)                                                      \
            call;                                                                                  \
    }
ACT(index_scalar, forward(m, INDEX, false))
ACT(trusting_scalar, forward(m, TRUSTING, false))
ACT(checked_scalar, forward(m, CHECKED, false))
ACT(index_vector, forward(m, INDEX, true))
ACT(trusting_vector, forward(m, TRUSTING, true))
ACT(checked_vector, forward(m, CHECKED, true))
ACT(index_field_scalar, scalar_field(m, INDEX))
ACT(address_field_scalar, scalar_field(m, TRUSTING))
ACT(index_field_vector, vector_field(m, INDEX))
ACT(address_field_vector, vector_field(m, TRUSTING))

static __attribute__((noinline)) void nothing(struct instance *m)
{
    __asm__ volatile("" ::"r"(m) : "memory");
}
#pragma GCC pop_options

static const struct row {
    const char *form, *work, *isa;
    enum form of;
    bool forwards;
    act_fn act;
} rows[] = {
    {"-", "nothing", "-", INDEX, false, nothing},
    {"index", "forward", "scalar", INDEX, true, index_scalar},
    {"trusting", "forward", "scalar", TRUSTING, true, trusting_scalar},
    {"checked", "forward", "scalar", CHECKED, true, checked_scalar},
    {"index", "forward", "avx512", INDEX, true, index_vector},
    {"trusting", "forward", "avx512", TRUSTING, true, trusting_vector},
    {"checked", "forward", "avx512", CHECKED, true, checked_vector},
    {"index", "field", "scalar", INDEX, false, index_field_scalar},
    {"address", "field", "scalar", TRUSTING, false, address_field_scalar},
    {"index", "field", "avx512", INDEX, false, index_field_vector},
    {"address", "field", "avx512", TRUSTING, false, address_field_vector},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- the device and the rounds ---- */

static void put_idle(struct model *m, uint32_t index, enum form form)
{
    if (form == INDEX)
        m->store.index[m->idle++] = index;
    else
        m->store.place[m->idle++] = place_of(&m->terms, index, form);
}

static struct model *model_new(enum form form)
{
    struct model *m = big_alloc(sizeof(*m));

    m->terms.rx = big_alloc(ENTRIES * sizeof(*m->terms.rx));
    m->terms.tx = big_alloc(ENTRIES * sizeof(*m->terms.tx));
    m->terms.pool = big_alloc((size_t)BUFFERS * STRIDE);
    m->terms.iova = 0x100000000;
    m->terms.count = BUFFERS;
    m->terms.stride = STRIDE;
    m->terms.headroom = HEADROOM;
    m->terms.limit = LIMIT;
    m->terms.pool_bytes = (uint64_t)BUFFERS * STRIDE;
    for (uint32_t i = 0; i < 2 * ENTRIES; i++)
        put_idle(m, i * 7 % BUFFERS, form);
    for (; m->rx_fill < ENTRIES - BURST; m->rx_fill += BURST) {
        m->idle -= BURST;
        switch (form) {
        case INDEX:
            scalar_post(m, INDEX);
            break;
        case TRUSTING:
            scalar_post(m, TRUSTING);
            break;
        default:
            scalar_post(m, CHECKED);
        }
    }
    return m;
}

static void device_write(struct model *m)
{
    for (uint32_t i = 0; i < REGION; i++) {
        struct rx_desc *desc = &m->terms.rx[(m->rx_next + i) % ENTRIES];

        m->expected[i] = desc->qw0;
        desc->qw0 = 0;
        desc->qw1 = GOOD | (uint64_t)(60 + (m->sequence + i) % 64) << RXL_LEN_SHIFT;
    }
}

/* What was sent is what was received; reports are written. */
static void device_take(struct model *m)
{
    for (uint32_t i = 0; i < REGION; i++) {
        struct tx_desc *desc = &m->terms.tx[(m->tx_next + ENTRIES - REGION + i) % ENTRIES];

        if (desc->addr != m->expected[i] ||
            (desc->qw1 >> TXD_BUF_SZ_SHIFT & 0x3fff) != 60 + (m->sequence + i) % 64)
            die("packet %u: sent from %llx, received at %llx", i, (unsigned long long)desc->addr,
                (unsigned long long)m->expected[i]);
        if (desc->qw1 & REPORT)
            desc->qw1 |= DONE;
    }
    m->sequence += REGION;
    if (m->refused)
        die("a good packet was refused");
}

static uint64_t timed(const struct row *row, struct model *m)
{
    uint64_t start, stop;
    unsigned cpu;

    _mm_lfence();
    start = __rdtsc();
    _mm_lfence();
    row->act((struct instance *)(void *)m);
    stop = __rdtscp(&cpu);
    _mm_lfence();
    return stop - start;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 300;
    uint64_t best[ROWS], steps[ROWS] = {0};
    struct model *models[ROWS];
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");

    for (size_t r = 0; r < ROWS; r++) {
        best[r] = UINT64_MAX;
        models[r] = model_new(rows[r].of);
    }
    for (uint32_t round = 0; round < rounds; round++)
        for (size_t r = 0; r < ROWS; r++)
            for (uint32_t call = 0; call < 64; call++) {
                uint64_t took;

                if (!wide && !strcmp(rows[r].isa, "avx512"))
                    break;
                if (rows[r].forwards)
                    device_write(models[r]);
                if (round == 1 && call == 0)
                    steps[r] = step_count(rows[r].act, (struct instance *)(void *)models[r]);
                else if ((took = timed(&rows[r], models[r])) < best[r] && round)
                    best[r] = took;
                if (rows[r].forwards)
                    device_take(models[r]);
            }
    printf("ring %u, burst %u, best of %u calls each, interleaved\n", ENTRIES, BURST, 64 * rounds);
    puts("work     isa     form      cycles/packet  instructions/packet");
    for (size_t r = 1; r < ROWS; r++)
        if (best[r] != UINT64_MAX)
            printf("%-8s %-7s %-9s %13.2f  %19.2f\n", rows[r].work, rows[r].isa, rows[r].form,
                   (double)(best[r] - best[0]) / REGION, (double)(steps[r] - steps[0]) / REGION);
    return 0;
}
