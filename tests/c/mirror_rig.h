/* SPDX-License-Identifier: BSD-3-Clause */
/* What the harnesses of mirrors share: a mirror with its memory and its reader, and frames to be seen in it. */
#ifndef IAVFIO_TESTS_MIRROR_RIG_H
#define IAVFIO_TESTS_MIRROR_RIG_H

#include "driver/capture/mirror.h"
#include "driver/capture/mirror_reader.h"
#include "driver/clock.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 512
#define AROUND 52u /* bytes of a block besides the frame */
#define TAG_STRIPPED 4ull
#define INBOUND 1u
#define OUTBOUND 2u

struct ring { /* a mirror with its memory and its reader */
    struct mirror_control *control;
    uint8_t *data;
    struct mirror *mirror;
    struct mirror_reader *reader;
    uint32_t sent;
};

static inline struct mirror_config config_of(const struct rig *rig)
{
    return (struct mirror_config){
        .size = MIRROR_LEAST, .snaplen = 65535, .max_frame = rig->config.max_frame};
}

static inline void ring_new(struct ring *ring, struct mirror_config config, uint32_t sent)
{
    struct mirror_ring source;
    int error = 1;

    ring->sent = sent;
    ring->control = rig_lines(MIRROR_CONTROL);
    ring->data = rig_lines(config.size);
    config.control = ring->control;
    config.data = ring->data;
    ring->mirror = mirror_new(&config, &error);
    assert(ring->mirror && !error);
    source = (struct mirror_ring){ring->control, ring->data, config.size, 5, sent};
    ring->reader = mirror_reader_new(&source, 1, config.snaplen, &error);
    assert(ring->reader && !error);
}

static inline void ring_end(struct ring *ring)
{
    mirror_free(ring->mirror);
    mirror_reader_free(ring->reader);
    free(ring->control);
    free(ring->data);
}

static inline void make_frame(uint8_t *frame, uint32_t length, uint32_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(seed + i);
}

static inline void receive(struct rig *rig, const void *frame, uint32_t length, uint64_t bits)
{
    memcpy(rig_rx_buffer(rig), frame, length);
    rig_rx(rig, length, bits);
}

static inline uint32_t take(struct rig *rig, uint32_t most)
{
    uint64_t handles[ENTRIES], chain[4 * ENTRIES];
    uint8_t segments[ENTRIES];
    struct columns columns = {.handles = handles, .chain = chain, .segments = segments};
    int got = pair_recv(rig->pair, &columns, most);

    assert(got >= 0);
    pair_release_chains(rig->pair, handles, chain, segments, (uint32_t)got);
    return (uint32_t)got;
}

static inline uint32_t word(const uint8_t *block, uint32_t place)
{
    uint32_t value;

    memcpy(&value, block + 4 * (size_t)place, sizeof(value));
    return value;
}

/* The block at *at has this frame, cut to `kept`, with direction and queue; *at moves on. */
static inline void expect(const struct ring *ring, const uint8_t *buffer, int64_t *at,
                          const void *frame, uint32_t kept, uint32_t length)
{
    const uint8_t *block = buffer + *at, *end;
    uint32_t padded = (kept + 3) & ~3u, total = AROUND + padded;

    assert(word(block, 0) == 6 && word(block, 1) == total && word(block, 2) == 0);
    assert(word(block, 5) == kept && word(block, 6) == length);
    assert(!memcmp(block + 28, frame, kept));
    for (uint32_t i = kept; i < padded; i++)
        assert(!block[28 + i]);
    end = block + 28 + padded;
    assert(word(end, 0) == (2 | 4 << 16) && word(end, 1) == (ring->sent ? OUTBOUND : INBOUND));
    assert(word(end, 2) == (6 | 4 << 16) && word(end, 3) == 5 && word(end, 4) == 0);
    assert(word(end, 5) == total);
    *at += total;
}

static inline int64_t fill(struct ring *ring, uint8_t *buffer, uint64_t size)
{
    return mirror_reader_fill(ring->reader, buffer, size, 0, 0, 1);
}

static uint8_t buffer[1 << 20];

static inline uint64_t filled(struct rig *rig, uint32_t length, uint32_t seed)
{
    uint64_t handle;

    assert(pair_alloc(rig->pair, &handle, 1) == 1);
    make_frame(pool_data(rig->pool, handle), length, seed);
    return handle | (uint64_t)length << HANDLE_LENGTH_SHIFT;
}

#endif
