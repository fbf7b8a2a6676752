/* SPDX-License-Identifier: BSD-3-Clause */
/* What readers in other processes rely on: counters of 64 bits, and a sequence count that is odd exactly while
 * its block is being written (docs/spec/libie-counters.md 2). */
#include "driver/block.h"
#include "driver/driver.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define EDGE (1ull << 32)

static void test_sequence_count(void)
{
    uint64_t seq = 4, next;

    next = block_open(&seq);
    assert(seq == 5);
    block_close(&seq, next);
    assert(seq == 6);
    /* A writer that died inside its update left the count odd: the next update ends that. */
    seq = 7;
    next = block_open(&seq);
    assert(seq == 7);
    block_close(&seq, next);
    assert(seq == 8);
}

/* Every counter that a receive and a send move goes past 2^32 without a step back. */
static void test_width(void)
{
    struct rig rig;
    uint64_t handles[8];
    struct columns columns = {.handles = handles};
    uint64_t seq;
    uint32_t refused;

    rig_new(&rig, ENTRIES, BUFFERS);
    rig.rq->packets = rig.rq->polls = EDGE - 2;
    rig.rq->pp_alloc_fast += EDGE - 100;
    rig.rq->bytes = rig.sq->bytes = rig.sq->posted_bytes = EDGE - 100;
    rig.sq->packets = rig.sq->posted = EDGE - 2;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 8; i++)
            rig_rx(&rig, 60, RIG_EOP);
        assert(pair_recv(rig.pair, &columns, 8) == 8);
        assert(pair_send(rig.pair, handles, NULL, NULL, 8, &refused) == 8 && !refused);
        assert(rig_tx(&rig, 100) == 8 && pair_clean(rig.pair) == 8);
    }
    assert(rig.rq->packets == EDGE + 62 && rig.rq->bytes == EDGE - 100 + 64 * 60);
    assert(rig.rq->polls == EDGE + 6 && rig.rq->pp_alloc_fast > EDGE);
    assert(rig.sq->packets == EDGE + 62 && rig.sq->bytes == EDGE - 100 + 64 * 60);
    assert(rig.sq->posted == EDGE + 62 && rig.sq->posted_bytes == EDGE - 100 + 64 * 60);
    rig.rq->pp_alloc_fast -= EDGE - 100; /* for the account of buffers */
    /* Nothing is being written now, and something was. */
    seq = rig.rq->seq;
    assert(seq % 2 == 0 && seq >= 16 && rig.sq->seq % 2 == 0 && rig.sq->seq >= 16);
    rig_end(&rig);
}

/* What one look for completions finds is more than 16 bits can say. */
static void test_bytes_of_one_look(void)
{
    struct rig rig;
    uint64_t handles[48];
    uint32_t refused;

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(pair_alloc(rig.pair, handles, 48) == 48);
    for (int i = 0; i < 48; i++)
        handles[i] |= 1500ull << 48;
    assert(pair_send(rig.pair, handles, NULL, NULL, 48, &refused) == 48 && !refused);
    assert(rig_tx(&rig, 100) == 48 && pair_clean(rig.pair) == 48);
    assert(rig.sq->bytes == 48 * 1500 && rig.sq->packets == 48);
    rig_end(&rig);
}

/* A writer of a whole block whose predecessor died inside its update: readers get what it writes, and none gets
 * half of it. */
static void test_writing_after_a_dead_writer(void)
{
    uint64_t block[4] = {7, 1, 1, 1}, out[4] = {0};
    const uint64_t values[4] = {0, 2, 3, 4};

    assert(counters_read(block, out, 4, 3) == -EAGAIN);
    counters_write(block, values, 4);
    assert(block[0] == 10 && counters_read(block, out, 4, 1) == 0);
    assert(out[0] == 10 && out[1] == 2 && out[2] == 3 && out[3] == 4);
    counters_write(block, values, 4);
    assert(block[0] == 12);
}

int main(void)
{
    test_sequence_count();
    test_writing_after_a_dead_writer();
    test_width();
    test_bytes_of_one_look();
    puts("driver_counters ok");
    return 0;
}
