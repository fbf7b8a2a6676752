/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames from receive queues into blocks, and frames of a file onto a send queue: exact bytes, exact counts, no
 * buffer lost, and a stop or a new pair at any moment. */
#include <pthread.h>

#include "driver/capture/capture.h"
#include "driver/capture/filter.h"
#include "driver/capture/replay.h"
#include "driver/clock.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define AROUND 32u /* bytes of a block besides the frame */
#define TAG_STRIPPED 4ull
#define LONG (60 * NS_PER_SECOND)

/* EtherType 0x0800 is let through, all else is not. */
static const struct filter_step ipv4[] = {
    {0x28, 0, 0, 12},
    {0x15, 0, 1, 0x800},
    {0x06, 0, 0, 0xffffffff},
    {0x06, 0, 0, 0},
};

static void receive(struct rig *rig, const void *frame, uint32_t length, uint64_t bits)
{
    memcpy(rig_rx_buffer(rig), frame, length);
    rig_rx(rig, length, bits);
}

static void make_frame(uint8_t *frame, uint32_t length, uint8_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(seed + i);
}

static uint32_t word(const uint8_t *block, uint32_t place)
{
    uint32_t value;

    memcpy(&value, block + 4 * (size_t)place, sizeof(value));
    return value;
}

/* The block at *at has this frame, cut to `kept`; *at moves on. */
static void expect(const uint8_t *buffer, int64_t *at, const void *frame, uint32_t kept,
                   uint32_t length)
{
    const uint8_t *block = buffer + *at;
    uint32_t padded = (kept + 3) & ~3u, total = AROUND + padded;

    assert(word(block, 0) == 6 && word(block, 1) == total && word(block, 2) == 0);
    assert(word(block, 5) == kept && word(block, 6) == length);
    assert(!memcmp(block + 28, frame, kept));
    for (uint32_t i = kept; i < padded; i++)
        assert(!block[28 + i]);
    assert(word(block, total / 4 - 1) == total);
    *at += total;
}

static struct capture_config config_of(struct rig *rig)
{
    return (struct capture_config){
        .pairs = 1, .pair = {rig->pair}, .snaplen = 65535, .max_frame = rig->config.max_frame};
}

static struct capture *start(const struct capture_config *config)
{
    int error = 1;
    struct capture *capture = capture_new(config, &error);

    assert(capture && !error);
    return capture;
}

static void test_arguments(void)
{
    struct rig rig;
    struct capture_config config;
    int error = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.pairs = 0;
    assert(!capture_new(&config, &error) && error == -EINVAL);
    config.pairs = CAPTURE_PAIRS + 1;
    assert(!capture_new(&config, &error) && error == -EINVAL);
    config.pairs = 1;
    config.snaplen = 0;
    assert(!capture_new(&config, &error) && error == -EINVAL);
    rig_end(&rig);
}

static void test_blocks(void)
{
    struct rig rig;
    struct capture_config config;
    struct capture *capture;
    uint8_t buffer[1 << 16], frame[3][256];
    const uint32_t lengths[] = {60, 61, 202};
    int64_t got, at = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.snaplen = 70;
    capture = start(&config);
    assert(capture_fill(capture, buffer, sizeof(buffer), 0, 0) == 0);
    for (int i = 0; i < 3; i++) {
        make_frame(frame[i], lengths[i], (uint8_t)(50 * i + 1));
        receive(&rig, frame[i], lengths[i], RIG_EOP);
    }
    got = capture_fill(capture, buffer, sizeof(buffer), 0, 0);
    for (int i = 0; i < 3; i++)
        expect(buffer, &at, frame[i], lengths[i] < 70 ? lengths[i] : 70, lengths[i]);
    assert(at == got);
    assert(capture_counts(capture)->received == 3 && capture_counts(capture)->taken == 3);
    assert(capture_counts(capture)->bytes == 60 + 61 + 202 && capture_counts(capture)->cut == 1);
    capture_free(capture);
    rig_end(&rig);
}

/* A frame in two buffers is one block; a tag that the device took out stands in the block again. */
static void test_chains_and_tags(void)
{
    struct rig rig;
    struct capture_config config;
    struct capture *capture;
    uint8_t buffer[1 << 16], frame[3000], tagged[3004];
    int64_t got, at = 0;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig.config.metadata = 0x3f;
    rig_go(&rig);
    config = config_of(&rig);
    config.tag_type = 0x88a8;
    capture = start(&config);
    make_frame(frame, sizeof(frame), 1);
    receive(&rig, frame, POOL_ROOM, 0);
    receive(&rig, frame + POOL_ROOM, sizeof(frame) - POOL_ROOM, RIG_EOP);
    memcpy(rig_rx_buffer(&rig), frame, 60);
    rig_rx_raw(&rig, 0x2064ull << 16, 3 | TAG_STRIPPED | 24ull << 30 | 60ull << 38, 0, 0);
    got = capture_fill(capture, buffer, sizeof(buffer), 0, 0);
    expect(buffer, &at, frame, sizeof(frame), sizeof(frame));
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x88\xa8\x20\x64", 4);
    memcpy(tagged + 16, frame + 12, 48);
    expect(buffer, &at, tagged, 64, 64);
    assert(at == got && capture_counts(capture)->tagged == 1);
    assert(capture_counts(capture)->bytes == sizeof(frame) + 64);
    capture_free(capture);
    rig_end(&rig);
}

/* The filter chooses, the limit ends, and a buffer for one block holds one; nothing is received that has no room. */
static void test_filter_limit_and_room(void)
{
    struct rig rig;
    struct capture_config config;
    struct capture *capture;
    uint8_t *buffer, frame[60] = {0};
    uint64_t least;

    assert(filter_check(ipv4, 4) == -1);
    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig);
    config.filter = ipv4;
    config.limit = 5;
    config.max_frame = 1518;
    capture = start(&config);
    least = capture_least(capture);
    buffer = malloc(least);
    assert(buffer);
    for (int i = 0; i < 20; i++) {
        frame[12] = i & 1 ? 8 : 0x86;
        receive(&rig, frame, 60, RIG_EOP);
    }
    for (int i = 0; i < 5; i++) {
        int64_t at = 0, got = capture_fill(capture, buffer, least, 0, 0);

        if (!got) /* the deadline is over after each look: this one met a refused frame */
            got = capture_fill(capture, buffer, least, 0, 0);
        frame[12] = 8;
        expect(buffer, &at, frame, 60, 60);
        assert(at == got);
    }
    assert(capture_fill(capture, buffer, least, clock_ns() + LONG, 0) == 0);
    assert(capture_counts(capture)->taken == 5 && capture_counts(capture)->received == 10);
    capture_free(capture);
    free(buffer);
    rig_end(&rig);
}

struct reader {
    struct capture *capture;
    struct rig *rig;
    uint32_t stop;
};

/* Looks at the counts beside a capture that runs, and ends it in the end by a stop of the pair. */
static void *look_and_stop(void *argument)
{
    struct reader *reader = argument;
    const struct capture_counts *counts = capture_counts(reader->capture);

    while (__atomic_load_n(&counts->taken, __ATOMIC_RELAXED) < 8) {
        assert(__atomic_load_n(&counts->taken, __ATOMIC_RELAXED) <= 8);
        usleep(100);
    }
    pair_stop(reader->rig->pair, -ESHUTDOWN);
    return NULL;
}

/* A stop ends a capture that sleeps: what was written comes first, then the reason; a new pair goes on. */
static void test_stop_and_rebind(void)
{
    struct rig rig, next;
    struct capture_config config;
    struct capture *capture;
    struct reader reader;
    uint8_t buffer[1 << 16], frame[64] = {0};
    int64_t got = 0, at = 0;
    pthread_t thread;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    config = config_of(&rig);
    capture = start(&config);
    for (int i = 0; i < 8; i++)
        receive(&rig, frame, 64, RIG_EOP);
    reader = (struct reader){.capture = capture, .rig = &rig};
    pthread_create(&thread, NULL, look_and_stop, &reader);
    got = capture_fill(capture, buffer, sizeof(buffer), clock_ns() + LONG, 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 8; i++)
        expect(buffer, &at, frame, 64, 64);
    assert(at == got);
    assert(capture_fill(capture, buffer, sizeof(buffer), clock_ns() + LONG, 0) == -ESHUTDOWN);
    rig_new(&next, ENTRIES, BUFFERS);
    capture_rebind(capture, 1, NULL); /* there is no such pair: nothing changes */
    capture_rebind(capture, 0, next.pair);
    receive(&next, frame, 64, RIG_EOP);
    assert(capture_fill(capture, buffer, sizeof(buffer), clock_ns() + LONG, 1) == 64 + AROUND);
    capture_free(capture);
    close(rig.config.event_fd);
    rig_end(&rig);
    rig_end(&next);
}

/* All queues of a port into one buffer. */
static void test_several_pairs(void)
{
    struct rig rig[3];
    struct capture_config config = {.pairs = 3, .snaplen = 64, .max_frame = TX_MAX_FRAME};
    struct capture *capture;
    uint8_t buffer[1 << 16], frame[64] = {0};
    int64_t at = 0;

    for (int i = 0; i < 3; i++) {
        rig_new(&rig[i], ENTRIES, BUFFERS);
        config.pair[i] = rig[i].pair;
    }
    capture = start(&config);
    for (int i = 0; i < 3; i++) {
        frame[0] = (uint8_t)i;
        receive(&rig[i], frame, 64, RIG_EOP);
    }
    assert(capture_fill(capture, buffer, sizeof(buffer), clock_ns() + LONG, 1) == 3 * (64 + 32));
    for (int i = 0; i < 3; i++) {
        frame[0] = (uint8_t)i;
        expect(buffer, &at, frame, 64, 64);
    }
    capture_free(capture);
    for (int i = 0; i < 3; i++)
        rig_end(&rig[i]);
}

/* ---- replay ---- */

#define FILE_FRAMES 5u

struct file {
    uint8_t data[16384];
    uint64_t offsets[FILE_FRAMES], due[FILE_FRAMES];
    uint32_t lengths[FILE_FRAMES];
};

static struct replay_config file_of(struct file *file, struct rig *rig)
{
    const uint32_t lengths[FILE_FRAMES] = {60, 61, 5000, 17, 2049};
    uint64_t at = 0;

    for (uint32_t i = 0; i < FILE_FRAMES; i++) {
        file->offsets[i] = at;
        file->lengths[i] = lengths[i];
        file->due[i] = 0;
        make_frame(file->data + at, lengths[i], (uint8_t)(17 * i));
        at += lengths[i];
    }
    return (struct replay_config){.pair = rig->pair,
                                  .data = file->data,
                                  .offsets = file->offsets,
                                  .lengths = file->lengths,
                                  .frames = FILE_FRAMES,
                                  .rounds = 1};
}

/* The device sends what was posted, and finds the frames of the file from number *next on. */
static void send_all(struct rig *rig, const struct file *file, uint64_t *next)
{
    uint32_t head = rig->tx_head, length = 0;

    while (head != rig->tx_tail) {
        const struct tx_desc *desc = &rig->tx[head];
        uint32_t frame = (uint32_t)(*next % FILE_FRAMES), size = desc->qw1 >> 34 & 0x3fff;

        assert(length + size <= file->lengths[frame]);
        assert(!memcmp(rig->memory + (desc->addr - RIG_IOVA),
                       file->data + file->offsets[frame] + length, size));
        length += size;
        if (desc->qw1 >> 4 & 1) {
            assert(length == file->lengths[frame]);
            length = 0;
            ++*next;
        }
        head = (head + 1) % ENTRIES;
    }
    assert(!length);
    rig_tx(rig, ENTRIES);
}

/* Each frame once a round, in order, in as many buffers as it needs, while the ring is full again and again. */
static void test_replay(uint32_t buffers, bool timed)
{
    struct rig rig;
    struct file file;
    struct replay_config config;
    struct replay *replay;
    const struct replay_counts *counts;
    uint64_t next = 0;

    rig_new(&rig, ENTRIES, buffers);
    config = file_of(&file, &rig);
    config.rounds = 40;
    if (timed) {
        config.due = file.due;
        config.round_ns = 1000;
    }
    replay = replay_new(&config);
    assert(replay);
    counts = replay_counts(replay);
    while (!replay_run(replay, clock_ns() + NS_PER_MS))
        send_all(&rig, &file, &next);
    send_all(&rig, &file, &next);
    assert(next == 40 * FILE_FRAMES && counts->sent == next && counts->rounds == 40);
    assert(counts->bytes == 40ull * (60 + 61 + 5000 + 17 + 2049));
    assert(replay_run(replay, clock_ns() + LONG) == 1); /* it is over */
    replay_release(replay);
    replay_free(replay);
    rig_end(&rig);
}

/* A stop leaves frames in buffers that no device has taken: they go back to the pool, or are sent after a start. */
static void test_replay_stopped(bool again)
{
    struct rig rig;
    struct file file;
    struct replay_config config;
    struct replay *replay;
    uint64_t next = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = file_of(&file, &rig);
    config.rounds = again ? 1 : 0; /* for ever */
    replay = replay_new(&config);
    assert(replay);
    if (!again) {
        assert(replay_run(replay, clock_ns() + 20 * NS_PER_MS) == 0);
        send_all(&rig, &file, &next);
    }
    pair_stop(rig.pair, -ENODEV);
    for (int i = 0; i < 2; i++) /* each time, and nothing is lost */
        assert(replay_run(replay, clock_ns() + LONG) == -ENODEV);
    assert(pool_idle(rig.pool) < BUFFERS);
    if (again) {
        pair_drain(rig.pair);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = rig.tx_tail = 0;
        assert(pair_start(rig.pair) == 0);
        replay_rebind(replay, rig.pair);
        assert(replay_run(replay, clock_ns() + LONG) == 1);
        send_all(&rig, &file, &next);
        assert(next == FILE_FRAMES && replay_counts(replay)->sent == FILE_FRAMES);
    }
    replay_release(replay);
    replay_free(replay);
    rig_end(&rig);
}

int main(void)
{
    test_arguments();
    test_blocks();
    test_chains_and_tags();
    test_filter_limit_and_room();
    test_stop_and_rebind();
    test_several_pairs();
    test_replay(BUFFERS, false);
    test_replay(BUFFERS, true);
    test_replay(ENTRIES + 16, false); /* hardly a buffer is left */
    test_replay_stopped(false);
    test_replay_stopped(true);
    puts("driver_capture ok");
    return 0;
}
