/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings of a mirror that another process has filled with anything, while its announcements come between the reads: the
 * reader stays inside of ring and buffer, and what it writes is whole blocks, as many as it counted. */
#include "fuzz.h"

#include "driver/capture/mirror.h"
#include "driver/capture/mirror_reader.h"

#define RINGS 3u
#define AROUND 52u /* bytes of a block besides the frame */
#define PACKET_BLOCK 6u
#define NONSENSE (-74) /* EBADMSG */

struct rings {
    struct mirror_control control[RINGS];
    uint8_t *data[RINGS];
    uint64_t announced[RINGS], read[RINGS]; /* bytes: the most so far */
    uint32_t count, snaplen;
    struct mirror_reader *reader;
};

static uint32_t word(const uint8_t *block, uint32_t place)
{
    uint32_t value;

    memcpy(&value, block + 4 * (size_t)place, sizeof(value));
    return value;
}

static uint64_t frames_of(const struct rings *rings)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < rings->count; i++)
        sum += mirror_reader_frames(rings->reader, i);
    return sum;
}

/* Whole blocks in the buffer, of records that were announced. */
static uint64_t whole_blocks(struct rings *rings, const uint8_t *buffer, uint64_t size)
{
    uint64_t blocks = 0;

    for (uint64_t at = 0; at < size; blocks++) {
        const uint8_t *block = buffer + at;
        uint32_t kept, total, queue;

        assert(size - at >= AROUND && word(block, 0) == PACKET_BLOCK);
        total = word(block, 1), kept = word(block, 5);
        assert(kept <= rings->snaplen && kept <= word(block, 6));
        assert(total == AROUND + ((kept + 3) & ~3u) && total <= size - at);
        assert(word(block, total / 4 - 1) == total);
        queue = word(block, total / 4 - 3);
        assert(queue < rings->count);
        rings->read[queue] +=
            sizeof(struct mirror_record) + ((kept + MIRROR_ALIGN - 1) & ~(MIRROR_ALIGN - 1u));
        assert(rings->read[queue] <= rings->announced[queue]);
        at += total;
    }
    return blocks;
}

/* The buffer has exactly its size, so that a byte behind it is seen. */
static void fill(struct rings *rings, uint32_t more, uint64_t limit)
{
    uint64_t size = mirror_reader_least(rings->reader) + more, before = frames_of(rings);
    uint8_t *buffer = malloc(size);
    int64_t got;

    assert(buffer);
    got = mirror_reader_fill(rings->reader, buffer, size, limit, 0, 1);
    assert(got == NONSENSE || (got >= 0 && (uint64_t)got <= size));
    assert(frames_of(rings) - before == whole_blocks(rings, buffer, got > 0 ? (uint64_t)got : 0));
    free(buffer);
}

/* A record where the reader will look, mostly one that could be; and its announcement. */
static void announce(struct rings *rings, struct reader *from)
{
    uint32_t ring = (uint32_t)number(from, 1) % rings->count, shape = (uint32_t)number(from, 1);
    struct mirror_control *control = &rings->control[ring];
    struct mirror_record record = {.time_ns = number(from, 1)};
    uint64_t at = control->head & (MIRROR_LEAST - MIRROR_ALIGN);

    record.captured = (uint32_t)number(from, shape & 1 ? 4 : 1);
    record.length = record.captured + (uint32_t)number(from, shape & 2 ? 4 : 0);
    memcpy(rings->data[ring] + at, &record, sizeof(record));
    if (shape & 4)
        control->head = number(from, 8);
    else
        control->head += sizeof(record) +
                         (((uint64_t)record.captured + MIRROR_ALIGN - 1) & ~(MIRROR_ALIGN - 1ull));
    if (control->head > rings->announced[ring])
        rings->announced[ring] = control->head;
    if (shape & 8)
        control->tail = number(from, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader from = {data, size};
    struct mirror_ring source[RINGS];
    struct rings rings = {.count = 1 + (uint32_t)number(&from, 1) % RINGS};
    int error;

    rings.snaplen = 1 + (uint32_t)number(&from, 2);
    for (uint32_t i = 0; i < rings.count; i++) {
        uint64_t start = number(&from, 1) << 7; /* zeroes below; most of the ring is announced */

        rings.data[i] = calloc(1, MIRROR_LEAST);
        assert(rings.data[i]);
        rings.control[i].head = rings.announced[i] = start;
        source[i] = (struct mirror_ring){&rings.control[i], rings.data[i], MIRROR_LEAST, i, i & 1};
    }
    rings.reader = mirror_reader_new(source, rings.count, rings.snaplen, &error);
    assert(rings.reader && !error);
    while (from.left) {
        uint32_t what = (uint32_t)number(&from, 1);

        if (what % 4)
            announce(&rings, &from);
        else
            fill(&rings, what << 4, what & 4 ? what : 0);
    }
    fill(&rings, 1 << 12, 0);
    mirror_reader_free(rings.reader);
    for (uint32_t i = 0; i < rings.count; i++)
        free(rings.data[i]);
    return 0;
}

int main(int argc, char **argv)
{
    /* One ring with three frames; three rings whose times cross; a ring that goes round; announced are less than a frame, and
     * more than the ring. */
    static const uint8_t one[] = {0, 0, 4, 0, 1, 0, 0, 5, 60, 1, 0, 0, 6, 61, 0, 1, 0, 0, 7, 9};
    static const uint8_t three[] = {2, 0,  1, 0, 0, 0, 1,  0, 0, 9, 60, 1, 1,  0,
                                    3, 60, 1, 2, 0, 6, 60, 0, 1, 0, 0,  9, 60, 4};
    static const uint8_t round[] = {0, 255, 255, 255, 0, 1, 0,    1,    5, 0xf0, 0x60, 0,
                                    0, 0,   1,   0,   1, 6, 0xf0, 0x60, 0, 0,    0};
    static const uint8_t less[] = {0, 0, 255, 0, 1, 0, 4, 1, 60, 32, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t lie[] = {0,   64,  0,   0,   1,   0,   4,   1,  60,
                                  255, 255, 255, 255, 255, 255, 255, 255};

    fuzz_keep(one, sizeof(one));
    fuzz_keep(three, sizeof(three));
    fuzz_keep(round, sizeof(round));
    fuzz_keep(less, sizeof(less));
    fuzz_keep(lie, sizeof(lie));
    return fuzz_main(argc, argv);
}
