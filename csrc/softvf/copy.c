/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/copy.h"

#include <string.h>

#include "softvf/plain.h"

/* Copies and sums fewer bytes than a vector has. */
static uint64_t copy_few(uint8_t *to, const uint8_t *from, uint32_t len)
{
    uint8_t bytes[32] = {0};

    memcpy(bytes, from, len);
    __asm__ volatile("" ::: "memory");
    memcpy(to, bytes, len);
    return sum_raw(bytes, len);
}

/* Both halves of each 64-bit lane are summed apart: no carry is lost in any frame. The barrier keeps the
 * one load of a vector one load. */
#define COPY(SIZE)                                                                                 \
    typedef uint64_t lanes __attribute__((vector_size(SIZE)));                                     \
    lanes low = {0}, high = {0};                                                                   \
    uint64_t sum = 0;                                                                              \
    uint32_t at = 0;                                                                               \
                                                                                                   \
    for (; at + SIZE <= summed; at += SIZE) {                                                      \
        lanes bytes;                                                                               \
                                                                                                   \
        memcpy(&bytes, from + at, SIZE);                                                           \
        __asm__ volatile("" ::: "memory");                                                         \
        memcpy(to + at, &bytes, SIZE);                                                             \
        low += bytes & 0xffffffff;                                                                 \
        high += bytes >> 32;                                                                       \
    }                                                                                              \
    for (uint32_t i = 0; i < SIZE / 8; i++)                                                        \
        sum += low[i] + high[i];                                                                   \
    if (at < summed)                                                                               \
        sum += copy_few(to + at, from + at, summed - at);                                          \
    memmove(to + summed, from + summed, len - summed);                                             \
    return sum

static uint64_t copy_16(uint8_t *to, const uint8_t *from, uint32_t len, uint32_t summed)
{
    COPY(16);
}

#if defined(__x86_64__)
#include "hw/x86.h"

__attribute__((target("avx2"))) static uint64_t copy_32(uint8_t *to, const uint8_t *from,
                                                        uint32_t len, uint32_t summed)
{
    COPY(32);
}

copy_function copy_choose(void)
{
    return x86_features().avx2 ? copy_32 : copy_16;
}
#else
copy_function copy_choose(void)
{
    return copy_16;
}
#endif
