/* SPDX-License-Identifier: BSD-3-Clause */
/* Mirrors and who has them: words that a hostile peer writes stop nobody, nothing stays of a mirror that is gone, and
 * on and off are free of races while threads receive and send. */
#include <pthread.h>

#include "mirror_rig.h"

/* A reader that writes nonsense everywhere loses frames of its own; the writer goes on, and believes its own words. */
static void test_hostile_reader(void)
{
    struct rig rig;
    struct ring ring;
    uint8_t frame[500];
    uint64_t put = 0;
    unsigned int seed = 1;

    rig_new(&rig, ENTRIES, BUFFERS);
    ring_new(&ring, config_of(&rig), 0);
    mirror_attach(rig.pair, ring.mirror, NULL);
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t *words = (uint64_t *)(void *)ring.control;
        uint64_t place = (uint64_t)rand_r(&seed) % (sizeof(*ring.control) / 8);

        words[place] = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 60);
        if (i % 3 == 0)
            ring.control->tail = ring.control->head + (uint64_t)rand_r(&seed) % 3 - 1;
        make_frame(frame, sizeof(frame), i);
        receive(&rig, frame, 60 + i % 440, RIG_EOP);
        assert(take(&rig, 8) == 1);
        put++;
        assert(ring.control->frames == put);
        assert(ring.control->written + ring.control->lost == put);
    }
    mirror_detach(rig.pair);
    ring_end(&ring);
    rig_end(&rig);
}

/* A reader that says to have read what was not written yet makes no room by that. */
static void test_reader_ahead_of_the_writer(void)
{
    struct rig rig;
    struct ring ring;
    uint8_t frame[1000];
    int64_t at = 0, got;

    rig_new(&rig, ENTRIES, BUFFERS);
    ring_new(&ring, config_of(&rig), 0);
    mirror_attach(rig.pair, ring.mirror, NULL);
    for (uint32_t i = 0; i < 40; i++) {
        make_frame(frame, sizeof(frame), i);
        receive(&rig, frame, sizeof(frame), RIG_EOP);
        assert(take(&rig, 8) == 1);
        if (i >= 32) /* it is full */
            ring.control->tail = ring.control->head + 1024 * (i - 31);
    }
    assert(ring.control->written == 32 && ring.control->lost == 8);
    got = fill(&ring, buffer, sizeof(buffer));
    for (uint32_t i = 0; i < 32; i++) {
        make_frame(frame, sizeof(frame), i);
        expect(&ring, buffer, &at, frame, sizeof(frame), sizeof(frame));
    }
    assert(at == got);
    mirror_detach(rig.pair);
    ring_end(&ring);
    rig_end(&rig);
}

/* A writer that writes nonsense is told, and nothing is read outside of the ring or written outside of the buffer. */
static void test_hostile_writer(void)
{
    struct rig rig;
    unsigned int seed = 7;
    uint32_t told = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    for (uint32_t i = 0; i < 3000; i++) {
        struct ring ring;
        struct mirror_config config = config_of(&rig);
        struct mirror_record record = {
            .captured = (uint32_t)rand_r(&seed) >> (rand_r(&seed) % 31),
            .length = (uint32_t)rand_r(&seed) >> (rand_r(&seed) % 31),
        };
        uint64_t least;
        int64_t got;

        config.snaplen = i % 2 ? 65535 : 128;
        ring_new(&ring, config, 0);
        memcpy(ring.data, &record, sizeof(record));
        ring.control->head = ((uint64_t)rand_r(&seed) << 16) >> (rand_r(&seed) % 46);
        if (i % 4)
            ring.control->head &= ~15ull;
        least = mirror_reader_least(ring.reader);
        assert(least <= sizeof(buffer));
        got = mirror_reader_fill(ring.reader, buffer + sizeof(buffer) - least, least, 0, 0, 1);
        assert(got == -EBADMSG || (got >= 0 && (uint64_t)got <= least));
        told += got == -EBADMSG;
        ring_end(&ring);
    }
    assert(told > 300 && told < 3000);
    rig_end(&rig);
}

/* After its end the first burst of each side puts the functions back that were there before. */
static void test_nothing_stays_of_it(void)
{
    struct rig rig;
    struct ring ring[2];
    rx_burst_fn received;
    tx_post_fn sent;
    uint8_t frame[64] = {0};
    uint64_t handle;
    uint32_t refused;

    rig_new(&rig, ENTRIES, BUFFERS);
    received = rig.pair->rx_paths.burst[0];
    sent = rig.pair->tx_paths.burst[0];
    for (uint32_t i = 0; i < 2; i++)
        ring_new(&ring[i], config_of(&rig), i);
    mirror_attach(rig.pair, ring[0].mirror, ring[1].mirror);
    assert(rig.pair->rx_paths.burst[0] != received && rig.pair->tx_paths.burst[0] != sent);
    mirror_detach(rig.pair);
    receive(&rig, frame, sizeof(frame), RIG_EOP);
    assert(take(&rig, 8) == 1);
    handle = filled(&rig, 64, 0);
    assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == 1);
    assert(rig.pair->rx_paths.burst[0] == received && rig.pair->tx_paths.burst[0] == sent);
    for (uint32_t i = 0; i < 2; i++)
        ring_end(&ring[i]);
    rig_end(&rig);
}

/* ---- threads ---- */

#define TURNS 300

struct shared {
    struct rig rig;
    uint32_t stop;
    uint64_t received, sent;
};

static void *traffic(void *argument)
{
    struct shared *shared = argument;
    struct rig *rig = &shared->rig;
    uint8_t frame[64];
    uint32_t seed = 0, refused;

    while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
        uint64_t handle = filled(rig, 64, seed);
        int done;

        make_frame(frame, sizeof(frame), seed++);
        receive(rig, frame, sizeof(frame), RIG_EOP);
        assert(take(rig, 8) == 1);
        done = pair_send(rig->pair, &handle, NULL, NULL, 1, &refused);
        assert(done == 1 && !refused);
        rig_tx(rig, 100);
        pair_clean(rig->pair);
        __atomic_fetch_add(&shared->received, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Every frame in the ring is whole: it holds a run of rising bytes. */
static uint64_t check_blocks(const uint8_t *at, int64_t bytes)
{
    uint64_t frames = 0;

    assert(bytes >= 0);
    for (const uint8_t *end = at + bytes; at < end; at += word(at, 1), frames++) {
        assert(word(at, 5) == 64 && word(at, 6) == 64);
        for (uint32_t i = 1; i < 64; i++)
            assert(at[28 + i] == (uint8_t)(at[28] + i));
    }
    return frames;
}

/* A mirror is made, attached, read, detached and freed again and again under running traffic. */
static void test_on_and_off(void)
{
    static struct shared shared;
    pthread_t thread;
    uint64_t frames = 0;

    rig_new(&shared.rig, ENTRIES, BUFFERS);
    assert(!pthread_create(&thread, NULL, traffic, &shared));
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        struct ring ring[2];
        uint64_t began;
        int64_t got;

        for (uint32_t i = 0; i < 2; i++)
            ring_new(&ring[i], config_of(&shared.rig), i);
        mirror_attach(shared.rig.pair, turn % 3 == 1 ? NULL : ring[0].mirror,
                      turn % 3 == 2 ? NULL : ring[1].mirror);
        began = __atomic_load_n(&shared.received, __ATOMIC_RELAXED);
        while (__atomic_load_n(&shared.received, __ATOMIC_RELAXED) < began + turn % 7)
            frames += check_blocks(buffer, fill(&ring[turn % 2], buffer, sizeof(buffer)));
        mirror_detach(shared.rig.pair);
        for (uint32_t i = 0; i < 2; i++) {
            while ((got = fill(&ring[i], buffer, sizeof(buffer))) > 0)
                frames += check_blocks(buffer, got);
            assert(mirror_reader_frames(ring[i].reader, 0) == ring[i].control->written);
            assert(ring[i].control->frames == ring[i].control->written + ring[i].control->lost);
            ring_end(&ring[i]);
        }
    }
    __atomic_store_n(&shared.stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert(frames > TURNS / 3);
    rig_end(&shared.rig);
}

int main(void)
{
    test_hostile_reader();
    test_reader_ahead_of_the_writer();
    test_hostile_writer();
    test_nothing_stays_of_it();
    test_on_and_off();
    puts("mirrors and their peers hold");
    return 0;
}
