/* SPDX-License-Identifier: BSD-3-Clause */
/* What the preload library makes of a server's reply to GET_REGION_INFO: right ones, a table of wrong ones, and
 * random ones. Each lies in memory of exactly its size, so that the address sanitizer sees a read behind it. */
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"

#define ROUNDS 300000
#define MMAP_CAPS 15u /* read, write, mmap, capabilities */

struct words {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
    uint16_t id, version;
    uint32_t next, areas, reserved;
    uint64_t area_offset, area_size;
};

static const struct words good = {80, MMAP_CAPS, 0, 32, 0x20000, 0, 1, 1, 0, 1, 0, 0x2000, 0x1000};

static int learn(const void *reply, uint32_t size, struct region *region)
{
    uint8_t *exact = malloc(size ? size : 1);
    int result;

    if (!exact)
        exit(1);
    memcpy(exact, reply, size);
    result = region_learn(region, exact, size, true);
    free(exact);
    return result;
}

static int sound(const struct region *region)
{
    if (region->areas > PRELOAD_MAX_AREAS || region->size > 1ull << PRELOAD_REGION_SHIFT ||
        region->fd_offset > (uint64_t)INT64_MAX - region->size)
        return 0;
    for (uint32_t i = 0; i < region->areas; i++)
        if (region->area[i].offset > region->size ||
            region->area[i].size > region->size - region->area[i].offset)
            return 0;
    return 1;
}

#define WITH(field, value)                                                                         \
    do {                                                                                           \
        struct words wrong = good;                                                                 \
        wrong.field = value;                                                                       \
        failed |= expect(&wrong, sizeof(wrong), -EPROTO, #field " = " #value);                     \
    } while (0)

static int expect(const struct words *reply, uint32_t size, int result, const char *what)
{
    struct region region = {.fd = -1};
    int got = learn(reply, size, &region);

    if (got == result && sound(&region) && (result == 0 || !region.areas))
        return 0;
    printf("%s: %d, not %d\n", what, got, result);
    return 1;
}

static uint64_t random_word(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Values at which sums wrap, and small ones that pass as offsets. */
static uint64_t nasty(uint64_t *state)
{
    static const uint64_t edges[] = {0,      1,       31,         32,         48,
                                     64,     80,      0xfffffff0, 0xfffffff8, 0xffffffff,
                                     0x1000, 0x20000, 1ull << 40, INT64_MAX,  UINT64_MAX};
    uint64_t word = random_word(state);

    if (word % 4 == 0)
        return random_word(state);
    return edges[word / 4 % (sizeof(edges) / sizeof(edges[0]))] + (word >> 40) % 3 - 1;
}

static int fuzz(void)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    uint32_t taken = 0;

    for (int round = 0; round < ROUNDS; round++) {
        uint32_t words[128];
        struct words head = good;
        struct region region = {.fd = -1};
        uint32_t size = (uint32_t)(random_word(&state) % (sizeof(words) + 1));

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            words[i] = (uint32_t)nasty(&state);
        switch (random_word(&state) % 6) { /* one thing at a time is wrong as well */
        case 0:
            head.cap_offset = (uint32_t)nasty(&state);
            break;
        case 1:
            head.next = (uint32_t)nasty(&state);
            break;
        case 2:
            head.areas = (uint32_t)nasty(&state);
            break;
        case 3:
            head.area_offset = nasty(&state);
            head.area_size = nasty(&state);
            break;
        case 4:
            head.size = nasty(&state);
            head.offset = nasty(&state);
            break;
        default:
            break;
        }
        if (random_word(&state) % 4)
            memcpy(words, &head, sizeof(head));
        taken += learn(words, size, &region) == 0;
        if (!sound(&region)) {
            printf("round %d: an area lies outside of its region\n", round);
            return 1;
        }
    }
    if (!taken || taken == ROUNDS) {
        printf("%u of %d replies were taken: the others test nothing\n", taken, ROUNDS);
        return 1;
    }
    return 0;
}

int main(void)
{
    int failed = 0;

    failed |= expect(&good, sizeof(good), 0, "a good reply");
    for (uint32_t size = 0; size < sizeof(good) - 16; size++)
        failed |= expect(&good, size, -EPROTO, "a reply that is cut short");
    WITH(cap_offset, 0xfffffff8);
    WITH(cap_offset, 0xfffffff0);
    WITH(cap_offset, 0xffffffff);
    WITH(cap_offset, 31);
    WITH(cap_offset, 1);
    WITH(cap_offset, 64);
    WITH(cap_offset, 72);
    WITH(cap_offset, 80);
    WITH(next, 32); /* a ring of capabilities */
    WITH(next, 0xfffffff8);
    WITH(next, 16);
    WITH(areas, 2);
    WITH(areas, 0x10000001); /* times 16 wraps */
    WITH(areas, 0xffffffff);
    WITH(area_offset, 0x20000);
    WITH(area_offset, 0xfffffffffffff000);
    WITH(area_offset, 0x800);
    WITH(area_size, 0x1e001);
    WITH(area_size, UINT64_MAX);
    WITH(size, UINT64_MAX);
    WITH(size, (1ull << 40) + 1);
    WITH(offset, UINT64_MAX - 4095);
    WITH(offset, (uint64_t)INT64_MAX - 0x1ffff);
    failed |= fuzz();
    printf("preload_region: %s\n", failed ? "failed" : "all passed");
    return failed;
}
