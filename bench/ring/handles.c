/* SPDX-License-Identifier: BSD-3-Clause */
/* The form of a packet's handle, measured (docs/adr/0006): receive and send of the same burst, refill
 * and clean-up included, on rings in plain memory, and one header field of each packet. It is a model of
 * the hot path that differs in the handle alone; the device is played outside the timed region.
 *
 *   index    buffer index 31:0, offset in the buffer 47:32, length 63:48; the address is a product
 *   trusting byte in the pool 47:0, length 63:48; bounded by the pool, the data may cross two buffers
 *   checked  as trusting, but the buffer is found by a reciprocal: the same checks as index
 *
 * gcc -O3 -std=gnu11 -D_GNU_SOURCE -fno-strict-aliasing -Icsrc -Ibench/ring -pthread \
 *     bench/ring/{handles,handles_avx512,step,memory}.c
 * Argument: rounds (default 300). */
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "handles.h"

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

INLINE void forward(struct model *m, const enum form form)
{
    after_receive(m, scalar_receive(m, form));
    scalar_post(m, form);
    after_post(m, form);
    after_send(m, scalar_send(m, form));
}

static ACT(scalar_index, forward(m, INDEX)) static ACT(
    scalar_trusting,
    forward(
        m,
        TRUSTING)) static ACT(scalar_checked,
                              forward(
                                  m,
                                  CHECKED)) static ACT(scalar_field_index,
                                                       scalar_field(
                                                           m,
                                                           INDEX)) static ACT(scalar_field_address,
                                                                              scalar_field(
                                                                                  m, TRUSTING))

    static void nothing(struct instance *m)
{
    __asm__ volatile("" ::"r"(m) : "memory");
}

static const struct row {
    const char *form, *work, *isa;
    enum form of;
    bool forwards;
    act_fn act;
} rows[] = {
    {"-", "nothing", "-", INDEX, false, nothing},
    {"index", "forward", "scalar", INDEX, true, scalar_index},
    {"trusting", "forward", "scalar", TRUSTING, true, scalar_trusting},
    {"checked", "forward", "scalar", CHECKED, true, scalar_checked},
    {"index", "forward", "avx512", INDEX, true, vector_index},
    {"trusting", "forward", "avx512", TRUSTING, true, vector_trusting},
    {"checked", "forward", "avx512", CHECKED, true, vector_checked},
    {"index", "field", "scalar", INDEX, false, scalar_field_index},
    {"address", "field", "scalar", TRUSTING, false, scalar_field_address},
    {"index", "field", "avx512", INDEX, false, vector_field_index},
    {"address", "field", "avx512", TRUSTING, false, vector_field_address},
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
