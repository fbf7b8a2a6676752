/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets to a TAP and frames from it, over a pair of datagram sockets that stands in for the TAP: exact bytes, one
 * reason for each loss, no buffer lost. */
#include <fcntl.h>
#include <sys/socket.h>

#include "driver/capture/filter.h"
#include "driver/capture/selection.h"
#include "driver/punt/tap.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define ROWS 8u

/* EtherType 0x0800 behind one tag of VLAN 5 is let through, all else is not. */
static const struct filter_step tagged_ipv4[] = {
    {0x28, 0, 0, 12}, {0x15, 0, 4, 0x8100}, {0x20, 0, 0, 14}, {0x15, 0, 2, 0x50800},
    {0x06, 0, 0, 1},  {0x06, 0, 0, 0},      {0x06, 0, 0, 0},
};
/* Its last byte, at 4999, is 7. */
static const struct filter_step far[] = {
    {0x30, 0, 0, 4999}, {0x15, 0, 1, 7}, {0x06, 0, 0, 1}, {0x06, 0, 0, 0}};

struct burst { /* packets as a receive queue hands them out */
    struct columns columns;
    uint64_t handles[ROWS], chain[4 * ROWS];
    uint8_t segments[ROWS], flags[ROWS];
    uint16_t vlan[ROWS];
};

static void sockets(int *ends)
{
    int room = 1 << 20;

    assert(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
    for (int i = 0; i < 2; i++)
        assert(!setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
}

static void fill(uint8_t *data, uint32_t length, uint8_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        data[i] = (uint8_t)(seed + i);
}

/* Puts a packet of these bytes into row i, in as many buffers as it needs. */
static void put(struct rig *rig, struct burst *burst, uint32_t i, const uint8_t *data,
                uint32_t length)
{
    burst->columns = (struct columns){.handles = burst->handles,
                                      .chain = burst->chain,
                                      .segments = burst->segments,
                                      .flags = burst->flags,
                                      .vlan = burst->vlan};
    burst->segments[i] = 0;
    burst->flags[i] = 0;
    while (length) {
        uint32_t part = length < POOL_ROOM ? length : POOL_ROOM;
        uint64_t handle;

        assert(pair_alloc(rig->pair, &handle, 1) == 1);
        handle |= (uint64_t)part << HANDLE_LENGTH_SHIFT;
        memcpy(pool_data(rig->pool, handle), data, part);
        if (burst->segments[i])
            burst->chain[4 * i + burst->segments[i] - 1] = handle;
        else
            burst->handles[i] = handle;
        burst->segments[i]++;
        data += part;
        length -= part;
    }
}

static void give_back(struct rig *rig, struct burst *burst, uint32_t n)
{
    pair_release_chains(rig->pair, burst->handles, burst->chain, burst->segments, n);
}

static void strip(struct burst *burst, uint32_t i, uint16_t tag)
{
    burst->flags[i] = FLAG_VLAN;
    burst->vlan[i] = tag;
}

static void test_mask(void)
{
    struct rig rig;
    struct burst burst;
    uint8_t frame[5000] = {0}, mask[ROWS];

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(filter_check(tagged_ipv4, 7) == -1 && filter_check(far, 4) == -1);
    frame[12] = 8;
    put(&rig, &burst, 0, frame, 60);
    put(&rig, &burst, 1, frame, 60);
    strip(&burst, 1, 5);
    put(&rig, &burst, 2, frame, 60);
    strip(&burst, 2, 6);
    frame[4999] = 7;
    put(&rig, &burst, 3, frame, 5000);
    put(&rig, &burst, 4, frame, 8); /* too short for a tag: none is put into it */
    strip(&burst, 4, 5);
    assert(selection_mask(tagged_ipv4, rig.pool, &burst.columns, 5, 0x8100, mask) == 1);
    assert(!memcmp(mask, "\0\1\0\0\0", 5));
    assert(selection_mask(tagged_ipv4, rig.pool, &burst.columns, 5, 0, mask) == 0);
    assert(selection_mask(far, rig.pool, &burst.columns, 5, 0, mask) == 1 && mask[3] == 1);
    burst.columns.segments = NULL; /* as of a queue without chains */
    assert(selection_mask(far, rig.pool, &burst.columns, 5, 0, mask) == 0);
    burst.columns.segments = burst.segments;
    burst.chain[4 * 3] |= HANDLE_INDEX_MASK; /* outside of the pool: looked at by nobody */
    assert(selection_mask(far, rig.pool, &burst.columns, 5, 0, mask) == 0);
    burst.chain[4 * 3] = burst.handles[3]; /* given back once */
    give_back(&rig, &burst, 5);
    pair_free(rig.pair); /* the buffer whose handle was overwritten is lost with the rig */
    pool_free(rig.pool);
    free(rig.memory);
    free(rig.rx);
    free(rig.tx);
    free(rig.rq);
    free(rig.sq);
}

static void expect(int fd, const uint8_t *data, uint32_t length)
{
    uint8_t got[16384];

    assert(read(fd, got, sizeof(got)) == (ssize_t)length);
    assert(!memcmp(got, data, length));
}

static void expect_nothing(int fd)
{
    uint8_t got[1];

    assert(read(fd, got, sizeof(got)) < 0 && errno == EAGAIN);
}

static void test_deliver(void)
{
    struct rig rig;
    struct burst burst;
    struct tap_delivered counts = {0};
    uint8_t frame[5000], tagged[5004];
    const int64_t rows[] = {3, 0, 1};
    int ends[2];

    sockets(ends);
    rig_new(&rig, ENTRIES, BUFFERS);
    fill(frame, sizeof(frame), 1);
    put(&rig, &burst, 0, frame, 60);
    put(&rig, &burst, 1, frame, 5000);
    strip(&burst, 1, 0x6005);
    put(&rig, &burst, 2, frame, 70); /* of no row */
    put(&rig, &burst, 3, frame, 4987);
    assert(!tap_deliver(ends[0], rig.pool, &burst.columns, rows, 3, 0x8100, 4986, &counts));
    expect(ends[1], frame, 4987);
    expect(ends[1], frame, 60);
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x81\x00\x60\x05", 4);
    memcpy(tagged + 16, frame + 12, 4988);
    expect(ends[1], tagged, 5004);
    expect_nothing(ends[1]);
    assert(counts.packets == 3 && counts.delivered == 3 && counts.tagged == 1);
    assert(counts.bytes == 4987 + 60 + 5004);
    give_back(&rig, &burst, 4);
    rig_end(&rig);
    close(ends[0]);
    close(ends[1]);
}

/* An MTU counts what stands behind the header and its tags, wherever those are. */
static void test_too_long(void)
{
    struct rig rig;
    struct burst burst;
    struct tap_delivered counts = {0};
    uint8_t frame[1600] = {0};
    const int64_t rows[] = {0, 1, 2, 3, 4};
    int ends[2];

    sockets(ends);
    rig_new(&rig, ENTRIES, BUFFERS);
    put(&rig, &burst, 0, frame, 1514);
    put(&rig, &burst, 1, frame, 1515);
    put(&rig, &burst, 2, frame, 1514);
    strip(&burst, 2, 5);
    memcpy(frame + 12, "\x88\xa8\x00\x05\x81\x00", 6);
    put(&rig, &burst, 3, frame, 1522);
    put(&rig, &burst, 4, frame, 1523);
    assert(!tap_deliver(ends[0], rig.pool, &burst.columns, rows, 5, 0x8100, 1500, &counts));
    assert(counts.packets == 5 && counts.delivered == 3 && counts.longer == 2);
    give_back(&rig, &burst, 5);
    rig_end(&rig);
    close(ends[0]);
    close(ends[1]);
}

/* Each packet that the kernel does not take has one reason. */
static void test_refused(void)
{
    struct rig rig;
    struct burst burst;
    struct tap_delivered counts = {0};
    uint8_t frame[60] = {0};
    const int64_t rows[] = {0};
    int ends[2], tries = 0;

    sockets(ends);
    rig_new(&rig, ENTRIES, BUFFERS);
    put(&rig, &burst, 0, frame, 60);
    while (!counts.full && tries++ < 100000)
        assert(!tap_deliver(ends[0], rig.pool, &burst.columns, rows, 1, 0, 1500, &counts));
    assert(counts.full == 1 && counts.packets == counts.delivered + 1);
    close(ends[1]);
    assert(!tap_deliver(ends[0], rig.pool, &burst.columns, rows, 1, 0, 1500, &counts));
    assert(counts.refused == 1 && counts.packets == counts.delivered + 2);
    give_back(&rig, &burst, 1);
    rig_end(&rig);
    close(ends[0]);
}

/* The device sends what was posted: it finds these frames one behind the other. */
static void send_all(struct rig *rig, const uint8_t *const *frames, const uint32_t *lengths,
                     uint32_t n)
{
    uint32_t done = 0, at = 0;

    while (rig->tx_head != rig->tx_tail) {
        const struct tx_desc *desc = &rig->tx[rig->tx_head];
        uint32_t size = desc->qw1 >> 34 & 0x3fff;

        assert(done < n && at + size <= lengths[done]);
        assert(!memcmp(rig->memory + (desc->addr - RIG_IOVA), frames[done] + at, size));
        at += size;
        if (desc->qw1 >> 4 & 1) {
            assert(at == lengths[done]);
            at = 0;
            done++;
        }
        rig->tx_head = (rig->tx_head + 1) % ENTRIES;
    }
    assert(done == n && !at);
}

static void test_fetch(void)
{
    struct rig rig;
    struct tap_fetched counts = {0};
    uint8_t data[6000];
    const uint32_t lengths[] = {60, 2049, 5000, 17, 2048};
    const uint8_t *frames[5];
    int ends[2];

    sockets(ends);
    rig_new(&rig, ENTRIES, BUFFERS);
    fill(data, sizeof(data), 9);
    assert(tap_fetch(ends[0], rig.pair, 5000, 64, &counts) == 0);
    for (uint32_t i = 0; i < 5; i++) {
        frames[i] = data + i;
        assert(write(ends[1], frames[i], lengths[i]) == (ssize_t)lengths[i]);
        assert(write(ends[1], data, i % 2 ? 16 : 5001) > 0); /* too short, too long */
    }
    assert(tap_fetch(ends[0], rig.pair, 5000, 4, &counts) == 4);
    assert(tap_fetch(ends[0], rig.pair, 5000, 64, &counts) == 6);
    send_all(&rig, frames, lengths, 5);
    assert(counts.frames == 10 && counts.sent == 5 && counts.longer == 3 && counts.refused == 2);
    assert(counts.bytes == 60 + 2049 + 5000 + 17 + 2048);
    rig_end(&rig);
    close(ends[0]);
    close(ends[1]);
}

/* What cannot be sent is read, counted under its reason, and its buffers go back. */
static void test_not_sent(void)
{
    struct rig rig;
    struct tap_fetched counts = {0};
    uint64_t taken[BUFFERS];
    uint8_t frame[60] = {0};
    uint32_t idle, got;
    int ends[2];

    sockets(ends);
    rig_new(&rig, ENTRIES, BUFFERS);
    for (int tries = 0; !counts.full && tries < 100; tries++) {
        assert(write(ends[1], frame, 60) == 60);
        assert(tap_fetch(ends[0], rig.pair, 1522, 64, &counts) == 1);
    }
    assert(counts.full == 1 && counts.frames == counts.sent + 1);
    idle = pool_idle(rig.pool);
    pair_stop(rig.pair, -ESHUTDOWN);
    assert(write(ends[1], frame, 60) == 60 && write(ends[1], frame, 60) == 60);
    assert(tap_fetch(ends[0], rig.pair, 1522, 64, &counts) == 2);
    assert(counts.stopped == 2 && pool_idle(rig.pool) == idle);
    got = rig_take(&rig, taken, BUFFERS);
    got += (uint32_t)pair_alloc(rig.pair, taken + got, BUFFERS - got);
    assert(!pool_idle(rig.pool));
    assert(write(ends[1], frame, 60) == 60);
    assert(tap_fetch(ends[0], rig.pair, 1522, 64, &counts) == 1);
    assert(counts.no_buffer == 1 && counts.frames == counts.sent + 4);
    rig_give(&rig, taken, got);
    rig_end(&rig);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    test_mask();
    test_deliver();
    test_too_long();
    test_refused();
    test_fetch();
    test_not_sent();
    puts("punt: ok");
    return 0;
}
