/* SPDX-License-Identifier: BSD-3-Clause */
/* Mirrors: what a pair receives and sends comes out of the rings byte by byte, and what finds no room is counted. */
#include "driver/capture/filter.h"
#include "mirror_rig.h"

/* EtherType 0x0800 is let through, all else is not. */
static const struct filter_step ipv4[] = {
    {0x28, 0, 0, 12},
    {0x15, 0, 1, 0x800},
    {0x06, 0, 0, 0xffffffff},
    {0x06, 0, 0, 0},
};

static void test_arguments(void)
{
    struct rig rig;
    struct mirror_config config;
    struct mirror_ring source = {.size = MIRROR_LEAST};
    uint8_t memory[8];
    int error = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    assert(!mirror_new(&config, &error) && error == -EINVAL); /* no memory */
    config.control = (struct mirror_control *)(void *)memory;
    config.data = memory;
    config.size = MIRROR_LEAST - MIRROR_ALIGN;
    assert(!mirror_new(&config, &error) && error == -EINVAL);
    config.size = MIRROR_LEAST + MIRROR_ALIGN;
    assert(!mirror_new(&config, &error) && error == -EINVAL);
    config.size = MIRROR_LEAST;
    config.filter = ipv4;
    config.steps = 2; /* no return at its end */
    assert(!mirror_new(&config, &error) && error == -EINVAL);
    assert(!mirror_reader_new(&source, 0, 64, &error) && error == -EINVAL);
    assert(!mirror_reader_new(&source, MIRROR_RINGS + 1, 64, &error) && error == -EINVAL);
    assert(!mirror_reader_new(&source, 1, 0, &error) && error == -EINVAL);
    source.size = 3;
    assert(!mirror_reader_new(&source, 1, 64, &error) && error == -EINVAL);
    rig_end(&rig);
}

/* Frames before, while and after it is attached: those in between are in the ring, whoever receives them. */
static void test_received(void)
{
    struct rig rig;
    struct ring ring;
    struct mirror_config config;
    uint8_t frame[256];
    int64_t at = 0, got;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.snaplen = 70;
    ring_new(&ring, config, 0);
    for (uint32_t i = 0; i < 12; i++) {
        if (i == 2)
            mirror_attach(rig.pair, ring.mirror, NULL);
        if (i == 8)
            mirror_detach(rig.pair);
        make_frame(frame, 60 + 10 * i, i);
        receive(&rig, frame, 60 + 10 * i, RIG_EOP);
        assert(take(&rig, 8) == 1 && take(&rig, 8) == 0);
    }
    got = fill(&ring, buffer, sizeof(buffer));
    for (uint32_t i = 2; i < 8; i++) {
        make_frame(frame, 60 + 10 * i, i);
        expect(&ring, buffer, &at, frame, 70, 60 + 10 * i);
    }
    assert(at == got && fill(&ring, buffer, sizeof(buffer)) == 0);
    assert(ring.control->frames == 6 && ring.control->written == 6 && ring.control->cut == 6);
    assert(ring.control->bytes == 80 + 90 + 100 + 110 + 120 + 130 && !ring.control->lost);
    assert(mirror_reader_frames(ring.reader, 0) == 6 && mirror_reader_frames(ring.reader, 1) == 0);
    ring_end(&ring);
    rig_end(&rig);
}

/* A frame in two buffers is one block; a tag that the device took out stands in it, also where the caller asks for no
 * tags. */
static void test_chains_and_tags(void)
{
    struct rig rig;
    struct ring ring;
    struct mirror_config config;
    uint8_t frame[3000], tagged[64];
    int64_t got, at = 0;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig.config.metadata = 0x3f;
    rig_go(&rig);
    config = config_of(&rig);
    config.tag_type = 0x88a8;
    ring_new(&ring, config, 0);
    mirror_attach(rig.pair, ring.mirror, NULL);
    make_frame(frame, sizeof(frame), 1);
    receive(&rig, frame, POOL_ROOM, 0);
    receive(&rig, frame + POOL_ROOM, sizeof(frame) - POOL_ROOM, RIG_EOP);
    memcpy(rig_rx_buffer(&rig), frame, 60);
    rig_rx_raw(&rig, 0x2064ull << 16, 3 | TAG_STRIPPED | 24ull << 30 | 60ull << 38, 0, 0);
    assert(take(&rig, 8) == 2);
    got = fill(&ring, buffer, sizeof(buffer));
    expect(&ring, buffer, &at, frame, sizeof(frame), sizeof(frame));
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x88\xa8\x20\x64", 4);
    memcpy(tagged + 16, frame + 12, 48);
    expect(&ring, buffer, &at, tagged, 64, 64);
    assert(at == got && ring.control->tagged == 1);
    assert(ring.control->bytes == sizeof(frame) + 64);
    mirror_detach(rig.pair);
    ring_end(&ring);
    rig_end(&rig);
}

/* The usual burst, one around the ring's end, one with packets that are refused, and a chain: what was sent is in the
 * ring, and nothing else. */
static void test_sent(void)
{
    struct rig rig;
    struct ring ring;
    uint64_t handles[32], chain[4 * 32] = {0};
    uint8_t frame[2 * POOL_ROOM], segments[32];
    uint32_t refused;
    int64_t got, at = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    ring_new(&ring, config_of(&rig), 1);
    for (uint32_t round = 0; round < 8; round++) {
        if (round == 1)
            mirror_attach(rig.pair, NULL, ring.mirror);
        if (round == 7)
            mirror_detach(rig.pair);
        for (uint32_t i = 0; i < 11; i++)
            handles[i] = filled(&rig, round == 3 && i % 4 == 2 ? 10 : 64 + i, 20 * round + i);
        assert(pair_send(rig.pair, handles, NULL, NULL, 11, &refused) == 11);
        assert(refused == (round == 3 ? 3u : 0u));
        rig_tx(&rig, 100);
        pair_clean(rig.pair);
    }
    mirror_attach(rig.pair, NULL, ring.mirror);
    for (uint32_t i = 0; i < 2; i++) {
        handles[i] = filled(&rig, 700, i);
        segments[i] = (uint8_t)(1 + i);
    }
    chain[4] = filled(&rig, 500, 77);
    assert(pair_send(rig.pair, handles, chain, segments, 2, &refused) == 2 && !refused);
    got = fill(&ring, buffer, sizeof(buffer));
    for (uint32_t round = 1; round < 7; round++) {
        for (uint32_t i = 0; i < 11; i++) {
            if (round == 3 && i % 4 == 2)
                continue;
            make_frame(frame, 64 + i, 20 * round + i);
            expect(&ring, buffer, &at, frame, 64 + i, 64 + i);
        }
    }
    make_frame(frame, 700, 0);
    expect(&ring, buffer, &at, frame, 700, 700);
    make_frame(frame, 700, 1);
    make_frame(frame + 700, 500, 77);
    expect(&ring, buffer, &at, frame, 1200, 1200);
    assert(at == got);
    assert(ring.control->frames == 6 * 11 - 3 + 2 && !ring.control->lost);
    mirror_detach(rig.pair);
    rig_tx(&rig, 100);
    ring_end(&ring);
    rig_end(&rig);
}

/* One that is wanted once ends with the first frame without room, on both sides; another one may follow. */
static void test_once(void)
{
    struct rig rig;
    struct ring in, out;
    struct mirror_config config;
    uint8_t frame[1000];
    uint64_t handle;
    uint32_t refused, room = MIRROR_LEAST / 1024; /* a record has 1016 bytes, and is padded */

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.once = 1;
    make_frame(frame, sizeof(frame), 0);
    for (uint32_t round = 0; round < 2; round++) {
        ring_new(&in, config, 0);
        ring_new(&out, config, 1);
        mirror_attach(rig.pair, in.mirror, out.mirror);
        for (uint32_t i = 0; i < room + 8; i++) {
            receive(&rig, frame, sizeof(frame), RIG_EOP);
            assert(take(&rig, 8) == 1);
            handle = filled(&rig, sizeof(frame), 0);
            assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == 1 && !refused);
            rig_tx(&rig, 100);
            pair_clean(rig.pair);
        }
        assert(in.control->written == room && in.control->frames == room + 1);
        assert(out.control->written == room && out.control->frames == room + 1);
        mirror_detach(rig.pair);
        ring_end(&in);
        ring_end(&out);
    }
    rig_end(&rig);
}

/* The same where a port sends chains only, which take another way. */
static void test_once_with_chains(void)
{
    struct rig rig;
    struct ring out;
    struct mirror_config config;
    uint64_t handle, chain[4] = {0};
    uint8_t segments = 2;
    uint32_t refused, room = MIRROR_LEAST / 1024;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.once = 1;
    ring_new(&out, config, 1);
    mirror_attach(rig.pair, NULL, out.mirror);
    for (uint32_t i = 0; i < room + 8; i++) {
        handle = filled(&rig, 500, 0);
        chain[0] = filled(&rig, 500, 77);
        assert(pair_send(rig.pair, &handle, chain, &segments, 1, &refused) == 1 && !refused);
        rig_tx(&rig, 100);
        pair_clean(rig.pair);
    }
    assert(out.control->written == room && out.control->frames == room + 1);
    mirror_detach(rig.pair);
    ring_end(&out);
    rig_end(&rig);
}

static void test_filter(void)
{
    struct rig rig;
    struct ring ring;
    struct mirror_config config;
    struct filter_step steps[4];
    uint8_t frame[60] = {0};
    int64_t got, at = 0;

    memcpy(steps, ipv4, sizeof(steps));
    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.filter = steps;
    config.steps = 4;
    config.snaplen = 14;
    ring_new(&ring, config, 0);
    memset(steps, 0xff, sizeof(steps)); /* the mirror has its own copy */
    mirror_attach(rig.pair, ring.mirror, NULL);
    for (int i = 0; i < 20; i++) {
        frame[12] = i & 1 ? 8 : 0x86;
        receive(&rig, frame, 60, RIG_EOP);
    }
    assert(take(&rig, 32) == 20);
    got = fill(&ring, buffer, sizeof(buffer));
    frame[12] = 8;
    for (int i = 0; i < 10; i++)
        expect(&ring, buffer, &at, frame, 14, 60);
    assert(at == got && ring.control->frames == 20 && ring.control->written == 10 &&
           !ring.control->lost);
    mirror_detach(rig.pair);
    ring_end(&ring);
    rig_end(&rig);
}

/* Nothing is overwritten; what is lost is counted, and after the reader made room all goes on around the ring's end. */
static void test_losses(void)
{
    struct rig rig;
    struct ring ring;
    uint8_t frame[1000];
    uint64_t seen = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    ring_new(&ring, config_of(&rig), 0);
    mirror_attach(rig.pair, ring.mirror, NULL);
    for (uint32_t round = 0; round < 9; round++) {
        uint64_t before = ring.control->written;
        int64_t at = 0, got;

        for (uint32_t i = 0; i < 40; i++) {
            make_frame(frame, sizeof(frame), 40 * round + i);
            receive(&rig, frame, sizeof(frame), RIG_EOP);
            assert(take(&rig, 8) == 1);
        }
        assert(ring.control->written - before == 32); /* of 1024 bytes each */
        got = fill(&ring, buffer, sizeof(buffer));
        for (uint32_t i = 0; i < 32; i++) {
            make_frame(frame, sizeof(frame), 40 * round + i);
            expect(&ring, buffer, &at, frame, sizeof(frame), sizeof(frame));
        }
        assert(at == got);
        seen += 32;
    }
    assert(ring.control->lost == 9 * 8 && ring.control->frames == 9 * 40);
    assert(mirror_reader_frames(ring.reader, 0) == seen);
    /* Into a full ring fits exactly as much as the reader has taken since. */
    for (uint32_t i = 0; i < 32 + 3; i++) {
        if (i >= 32)
            assert(mirror_reader_fill(ring.reader, buffer, sizeof(buffer), ++seen, 0, 1) > 0);
        make_frame(frame, sizeof(frame), i);
        receive(&rig, frame, sizeof(frame), RIG_EOP);
        assert(take(&rig, 8) == 1 && ring.control->lost == 9 * 8);
    }
    mirror_detach(rig.pair);
    ring_end(&ring);
    rig_end(&rig);
}

/* A limit and a small buffer hold, and of two rings the earlier frame comes first. */
static void test_two_rings(void)
{
    struct rig rig;
    struct ring ring[2];
    struct mirror_ring source[2];
    struct mirror_reader *reader;
    uint8_t frame[60], *small;
    uint64_t handle, least;
    uint32_t refused;
    int64_t at = 0;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    for (uint32_t i = 0; i < 2; i++) {
        ring_new(&ring[i], config_of(&rig), i);
        source[i] = (struct mirror_ring){ring[i].control, ring[i].data, MIRROR_LEAST, 5, i};
    }
    reader = mirror_reader_new(source, 2, 60, &error);
    assert(reader && !error);
    mirror_attach(rig.pair, ring[0].mirror, ring[1].mirror);
    for (uint32_t i = 0; i < 8; i++) {
        if (i & 1) {
            handle = filled(&rig, 60, i);
            assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == 1);
        } else {
            make_frame(frame, 60, i);
            receive(&rig, frame, 60, RIG_EOP);
            assert(take(&rig, 8) == 1);
        }
    }
    least = mirror_reader_least(reader);
    small = malloc(least);
    assert(small && least >= AROUND + 60);
    for (uint32_t i = 0; i < 7; i++) {
        int64_t got = mirror_reader_fill(reader, small, least, 7, clock_ns() + NS_PER_SECOND, 0);

        at = 0;
        make_frame(frame, 60, i);
        expect(&ring[i & 1], small, &at, frame, 60, 60);
        assert(got == at);
    }
    assert(mirror_reader_fill(reader, small, least, 7, clock_ns() + NS_PER_SECOND, 0) == 0);
    assert(mirror_reader_frames(reader, 0) == 4 && mirror_reader_frames(reader, 1) == 3);
    mirror_reader_free(reader);
    free(small);
    mirror_detach(rig.pair);
    rig_tx(&rig, 100);
    for (uint32_t i = 0; i < 2; i++)
        ring_end(&ring[i]);
    rig_end(&rig);
}

int main(void)
{
    test_arguments();
    test_received();
    test_chains_and_tags();
    test_sent();
    test_filter();
    test_losses();
    test_once();
    test_once_with_chains();
    test_two_rings();
    puts("mirrors hold");
    return 0;
}
