/* SPDX-License-Identifier: BSD-3-Clause */
/* Any filter program over any frames that any device writes back, into the blocks of a pcapng file: a program that
 * passes the check ends and stays inside of its frame, and the blocks are whole, in their buffer and exact. */
#include "fuzz.h"

#include "driver/capture/capture.h"
#include "driver/capture/filter.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define STEPS 32
#define PACKET_BLOCK 6u
#define AROUND 32u /* bytes of a block besides the frame */

/* Every code that a filter may have; an input chooses by number, so that most programs have known steps. */
static const uint16_t codes[] = {
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x01, 0x81, 0xb1, 0x60, 0x61,
    0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54,
    0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x05, 0x15, 0x25,
    0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d, 0x06, 0x16, 0x07, 0x87,
};
#define CODES (sizeof(codes) / sizeof(codes[0]))

/* A program of exactly its size, so that a step behind its end is seen; NULL when the check refuses it. */
static struct filter_step *program(struct reader *from, uint32_t steps)
{
    struct filter_step *made = calloc(steps, sizeof(*made));
    int bad;

    assert(made);
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t code = (uint32_t)number(from, 1);

        made[i].code = code < CODES ? codes[code] : (uint16_t)number(from, 2);
        made[i].jt = (uint8_t)number(from, 1);
        made[i].jf = (uint8_t)number(from, 1);
        made[i].k = (uint32_t)number(from, code & 0x80 ? 4 : 1);
    }
    bad = filter_check(made, steps);
    assert(bad >= -1 && bad < (int)steps);
    if (bad < 0)
        return made;
    free(made);
    return NULL;
}

static void receive_one(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1), length = (uint32_t)number(from, 2);
    uint64_t qw0 = (uint64_t)number(from, 2) << 16, qw1 = 3 | 24ull << 30 | (uint64_t)length << 38;

    if (!rig_rx_room(rig))
        return;
    if (shape & 1)
        qw1 &= ~RIG_EOP;
    if (shape & 2)
        qw1 |= 4; /* with a tag that was taken out */
    if (shape & 4)
        qw1 |= number(from, 8) << 19;
    for (uint32_t i = 0; i < 24; i++)
        rig_rx_buffer(rig)[i] = (uint8_t)number(from, 1);
    rig_rx_raw(rig, qw0, qw1, number(from, 1), 0);
}

static uint32_t word(const uint8_t *block, uint32_t place)
{
    uint32_t value;

    memcpy(&value, block + 4 * (size_t)place, sizeof(value));
    return value;
}

/* Every block is whole, and they are as many as were counted. */
static void read_blocks(const struct capture_config *config, const uint8_t *buffer, uint64_t size,
                        uint64_t wanted)
{
    uint64_t at = 0, blocks = 0;

    while (at < size) {
        const uint8_t *block = buffer + at;
        uint32_t total, kept, length, padded;

        assert(size - at >= AROUND && word(block, 0) == PACKET_BLOCK);
        total = word(block, 1), kept = word(block, 5), length = word(block, 6);
        padded = (kept + 3) & ~3u;
        assert(total == AROUND + padded && total <= size - at);
        assert(word(block, total / 4 - 1) == total && word(block, 2) == 0);
        assert(kept == (length < config->snaplen ? length : config->snaplen));
        assert(length && length <= config->max_frame + 4);
        for (uint32_t i = kept; i < padded; i++)
            assert(!block[28 + i]);
        at += total;
        blocks++;
    }
    assert(blocks == wanted);
}

static void fill(struct capture *capture, const struct capture_config *config, uint32_t more)
{
    const struct capture_counts *counts = capture_counts(capture);
    struct capture_counts before = *counts;
    uint64_t size = capture_least(capture) + more;
    uint8_t *buffer = malloc(size);
    int64_t got;

    assert(buffer);
    got = capture_fill(capture, buffer, size, 0, 1);
    assert(got >= 0 && (uint64_t)got <= size);
    read_blocks(config, buffer, (uint64_t)got, counts->taken - before.taken);
    assert(counts->taken <= counts->received && counts->cut <= counts->taken);
    assert(counts->tagged <= counts->taken);
    assert(!config->limit || counts->taken <= config->limit);
    assert(config->filter || counts->taken == counts->received);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader from = {data, size};
    struct capture_config config = {.pairs = 1};
    struct capture *capture;
    struct rig rig;
    uint32_t shape = (uint32_t)number(&from, 1), steps = (uint32_t)number(&from, 1) % STEPS;
    struct filter_step *filter = steps ? program(&from, steps) : NULL;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = shape & 1;
    rig.config.metadata = shape >> 1 & 1 ? 0x3f : 0;
    rig.config.max_frame = shape >> 2 & 1 ? 9728 : 1518;
    if (shape >> 3 & 1)
        rig.config.isa = ISA_SCALAR;
    rig_go(&rig);
    config.pair[0] = rig.pair;
    config.filter = filter;
    config.snaplen = 1 + (uint32_t)number(&from, 2);
    config.tag_type = shape >> 4 & 1 ? 0x8100 : 0;
    config.limit = shape >> 5 & 1 ? number(&from, 1) : 0;
    config.max_frame = rig.config.max_frame;
    if (!rig.config.metadata)
        config.tag_type = 0;
    capture = capture_new(&config, &error);
    assert(capture && !error);
    while (from.left) {
        uint32_t what = (uint32_t)number(&from, 1);

        if (what % 4)
            receive_one(&rig, &from);
        else
            fill(capture, &config, what << 4);
    }
    fill(capture, &config, 1 << 12);
    capture_free(capture);
    free(filter);
    rig_end(&rig);
    return 0;
}

int main(int argc, char **argv)
{
    /* Everything; then IPv4 alone, then a walk by the length of its header, with a tag and chains. */
    static const uint8_t all[] = {0, 0, 0xff, 0xff, 1, 0, 60, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t ipv4[] = {2, 4,  1, 0, 0, 12, 37, 0,  1,    8,    45, 0, 0, 96, 45, 0,  0,
                                   0, 40, 0, 1, 0, 60, 0,  0,  0,    0,    0,  0, 0, 0,  0,  0,  0,
                                   0, 0,  0, 0, 0, 8,  0,  69, 0x45, 0x45, 0,  0, 0, 0,  1,  60, 0};
    static const uint8_t walk[] = {0x13, 5,  10, 0, 0,  14, 4, 0, 0,  16, 42, 1, 0,  80,
                                   45,   0,  0,  0, 46, 0,  0, 0, 64, 0,  1,  2, 70, 0,
                                   5,    64, 1,  2, 3,  4,  5, 6, 7,  8,  9,  8, 1,  1};

    fuzz_keep(all, sizeof(all));
    fuzz_keep(ipv4, sizeof(ipv4));
    fuzz_keep(walk, sizeof(walk));
    return fuzz_main(argc, argv);
}
