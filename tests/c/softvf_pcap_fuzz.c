/* SPDX-License-Identifier: BSD-3-Clause */
/* Any file as the capture that comes from the wire, with any options: the frames are those that a second reader of the
 * same bytes finds, in each round, and so are the counts; no read goes behind a frame. What is sent meanwhile is a
 * capture as well. */
#include "fuzz.h"

#include "softvf/uplink.h"

#define HEADER 24u
#define RECORD 16u
#define RECORD_MAX (1u << 24) /* a longer one is none */
#define ETHERNET 1u
#define OPTIONS 3u
#define FRAMES 200u /* that are taken at most: a capture may be played for ever */

/* What a plain reading of the bytes says. */
struct walk {
    const uint8_t *data;
    size_t size, at;
    bool swapped, damaged;
    uint64_t too_long, partial, rounds, in_round;
};

static uint32_t word(const struct walk *walk, size_t at)
{
    uint32_t value;

    memcpy(&value, walk->data + at, sizeof(value));
    return walk->swapped ? __builtin_bswap32(value) : value;
}

static bool is_capture(struct walk *walk)
{
    uint32_t magic;

    if (walk->size < HEADER)
        return false;
    magic = word(walk, 0);
    walk->swapped = magic == 0xd4c3b2a1u || magic == 0x4d3cb2a1u;
    walk->at = HEADER;
    return (walk->swapped || magic == 0xa1b2c3d4u || magic == 0xa1b23c4du) &&
           (word(walk, 20) & 0xffff) == ETHERNET;
}

/* The next frame of this round; NULL at its end. */
static const uint8_t *walk_on(struct walk *walk, uint32_t *len)
{
    while (walk->size - walk->at >= RECORD) {
        uint32_t captured = word(walk, walk->at + 8), length = word(walk, walk->at + 12);
        const uint8_t *frame = walk->data + walk->at + RECORD;

        if (captured > RECORD_MAX || captured > walk->size - walk->at - RECORD)
            break;
        walk->at += RECORD + captured;
        if (captured > UPLINK_FRAME_MAX) {
            walk->too_long++;
            continue;
        }
        walk->partial += captured < length;
        walk->in_round++;
        *len = captured;
        return frame;
    }
    walk->damaged = walk->at != walk->size;
    walk->rounds += !walk->damaged;
    return NULL;
}

/* The next frame of all rounds; NULL where the uplink ends, which must have a reason. */
static const uint8_t *expected(struct walk *walk, const struct uplink *uplink, uint32_t *len)
{
    const uint8_t *frame;

    while (!(frame = walk_on(walk, len))) {
        if (uplink->ended && (walk->damaged || walk->rounds == uplink->rounds))
            return NULL;
        assert(!walk->damaged && walk->in_round && walk->rounds <= uplink->rounds);
        walk->at = HEADER;
        walk->in_round = 0;
    }
    return frame;
}

/* The next frame of the uplink, which waits for nothing: its time is made to have come. */
static const uint8_t *taken(struct uplink *uplink, uint32_t *len, uint64_t *due)
{
    const uint8_t *frame = uplink->ops->next(uplink, len);

    if (frame || uplink->ended)
        return frame;
    assert(uplink->paced && uplink->due >= *due);
    *due = uplink->due;
    uplink->due = 1;
    frame = uplink->ops->next(uplink, len);
    assert(frame);
    return frame;
}

/* Plays the capture, and sends each of its frames back: how many were sent. */
static uint32_t play(struct uplink *uplink, struct walk *walk, bool looped)
{
    uint64_t due = 0;
    uint32_t count = 0, len = 0, wanted = 0;

    for (; count < FRAMES; count++) {
        const uint8_t *frame = taken(uplink, &len, &due);
        const uint8_t *other = expected(walk, uplink, &wanted);

        assert(!frame == !other);
        if (!frame)
            break;
        assert(len == wanted && len <= UPLINK_FRAME_MAX && memcmp(frame, other, len) == 0);
        assert(uplink->ops->send(uplink, frame, len) == 0);
    }
    assert(uplink->ended || count == FRAMES);
    assert(looped || uplink->rounds <= 1);
    assert(uplink->too_long == walk->too_long && uplink->partial == walk->partial);
    assert(uplink->rounds == walk->rounds && uplink->damaged == walk->damaged);
    return count;
}

/* What was sent can be read, and is as many frames. */
static void read_back(int fd, uint32_t sent)
{
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *data = malloc((size_t)size);
    struct walk walk = {.data = data, .size = (size_t)size};
    uint32_t len;

    assert(data && pread(fd, data, (size_t)size, 0) == size && is_capture(&walk));
    for (; sent; sent--)
        assert(walk_on(&walk, &len));
    assert(!walk_on(&walk, &len) && !walk.damaged);
    free(data);
}

/* `name=` and any text, of which none becomes a path. */
static void add_option(struct reader *from, char *paths, size_t room, bool *looped)
{
    static const char *const names[] = {"start=", "loop=", "pace=", "pace=x"};
    uint32_t kind = (uint32_t)number(from, 1) % (sizeof(names) / sizeof(names[0]));
    uint32_t length = (uint32_t)number(from, 1) % 24;
    size_t at = strlen(paths);

    *looped |= kind == 1;
    at += (size_t)snprintf(paths + at, room - at, ",%s", names[kind]);
    for (; length; length--) {
        char each = (char)number(from, 1);

        paths[at++] = each == ',' ? '.' : each;
    }
    paths[at] = '\0';
}

static void refill(int fd, const void *data, size_t size)
{
    assert(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int in, out;
    struct reader from = {data, size};
    uint32_t shape = (uint32_t)number(&from, 1), options = shape % (OPTIONS + 1), sent;
    char paths[256], error[256];
    struct uplink *uplink;
    struct walk walk;
    bool looped = false, good;

    if (!in) {
        in = memfd_create("in", MFD_CLOEXEC);
        out = memfd_create("out", MFD_CLOEXEC);
        assert(in > 0 && out > 0);
    }
    snprintf(paths, sizeof(paths), "/proc/self/fd/%d,/proc/self/fd/%d", in, out);
    for (uint32_t i = 0; i < options; i++)
        add_option(&from, paths, sizeof(paths), &looped);
    refill(in, from.data, from.left);
    refill(out, "", 0);
    walk = (struct walk){.data = from.data, .size = from.left};
    good = is_capture(&walk);
    error[0] = '\0';
    uplink = uplink_open_pcap(paths, error, sizeof(error));
    assert(uplink ? good : error[0] && (!good || options));
    if (!uplink)
        return 0;
    assert(uplink->patient && !uplink->ended);
    sent = play(uplink, &walk, looped);
    uplink->ops->close(uplink);
    read_back(out, sent);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const seeds[] = {
        /* one frame, in microseconds */
        "00d4c3b2a1020004000000000000000000ffff000001000000010000000200000004000000040000000102030"
        "4",
        /* two frames of another byte order, in nanoseconds, the second one partial; in three rounds */
        "010101"
        "33"
        "a1b23c4d00020004000000000000000000ffff0000000001"
        "000000010000000200000004000000040102030400000003000000010000000200000004aabb",
        /* for ever, at a rate, and as it was captured */
        "020107666f7265766572"
        "0206"
        "31306b707073"
        "d4c3b2a1020004000000000000000000ffff000001000000"
        "0100000002000000040000000400000001020304",
        "0102086f726967696e616c"
        "4d3cb2a1020004000000000000000000ffff000001000000"
        "ffffffff02000000020000000200000001020000000002000000020000000200000003040000",
        "0103"
        "03302e35"
        "d4c3b2a1020004000000000000000000ffff000001000000"
        "01000000020000000200000002000000010209000000020000000200000002000000030405000000",
        "010003616c6c"
        "d4c3b2a1020004000000000000000000ffff000001000000"
        "01000000020000000000010000000000",
    };

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
        fuzz_keep_hex(seeds[i]);
    return fuzz_main(argc, argv);
}
