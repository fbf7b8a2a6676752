/* SPDX-License-Identifier: BSD-3-Clause */
/* Each packet and each poll is in exactly one counter, also at the end of a ring, in the middle of a chain, and
 * when another thread owns the cache. */
#include "driver/ring/queue_pair.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1024

struct bench {
    struct rig rig;
    uint64_t handles[64], chain[64 * 4];
    uint8_t segments[64];
    struct columns columns;
};

static void begin(struct bench *bench)
{
    rig_base(&bench->rig, ENTRIES, BUFFERS);
    bench->rig.config.scattered = 1;
    rig_go(&bench->rig);
    bench->columns = (struct columns){
        .handles = bench->handles, .chain = bench->chain, .segments = bench->segments};
}

static uint32_t receive(struct bench *bench)
{
    int got = pair_recv(bench->rig.pair, &bench->columns, 64);

    assert(got >= 0);
    if (got)
        pair_release_chains(bench->rig.pair, bench->handles, bench->columns.chain,
                            bench->columns.segments, (uint32_t)got);
    return (uint32_t)got;
}

/* Stops, and says how many packets the stop cost. */
static uint64_t lost_by_stop(struct bench *bench)
{
    pair_stop(bench->rig.pair, -ESHUTDOWN);
    pair_drain(bench->rig.pair);
    assert(pool_idle(bench->rig.pool) == BUFFERS);
    return bench->rig.rq->drop_reset;
}

/* docs/spec/reliability.md F48: what the device had received when the ring was taken from it. */
static void test_stop(void)
{
    struct bench bench;

    begin(&bench); /* begun, never seen */
    rig_rx(&bench.rig, 2048, 0);
    rig_rx(&bench.rig, 2048, 0);
    assert(lost_by_stop(&bench) == 1);
    rig_end(&bench.rig);

    begin(&bench); /* begun, and its first buffers taken */
    rig_rx(&bench.rig, 2048, 0);
    assert(receive(&bench) == 0);
    assert(lost_by_stop(&bench) == 1);
    rig_end(&bench.rig);

    begin(&bench); /* two whole ones, and one begun */
    rig_rx(&bench.rig, 60, RIG_EOP);
    rig_rx(&bench.rig, 2048, 0);
    rig_rx(&bench.rig, 60, RIG_EOP);
    rig_rx(&bench.rig, 2048, 0);
    assert(lost_by_stop(&bench) == 3);
    rig_end(&bench.rig);

    begin(&bench); /* nothing */
    assert(lost_by_stop(&bench) == 0);
    rig_end(&bench.rig);
}

/* A packet that was counted as dropped while its end had not come is not lost to the stop as well. */
static void test_stop_in_a_dropped_packet(void)
{
    for (int rest = 0; rest < 2; rest++) {
        struct bench bench;

        begin(&bench);
        rig_rx(&bench.rig, 0, 0); /* nonsense, so the packet is dropped up to its end */
        assert(receive(&bench) == 0 && bench.rig.rq->drop_malformed == 1);
        rig_rx(&bench.rig, 100, 0);
        if (rest) {
            rig_rx(&bench.rig, 100, RIG_EOP);
            rig_rx(&bench.rig, 60, RIG_EOP);
        }
        assert(lost_by_stop(&bench) == (uint64_t)rest);
        assert(bench.rig.rq->drop_malformed == 1);
        rig_end(&bench.rig);
    }
}

/* The error bit is valid with EOP only (docs/spec/descriptors.md 8). */
static void test_error_bit(void)
{
    struct bench bench;

    begin(&bench);
    rig_rx(&bench.rig, 2048, RIG_RXE);
    rig_rx(&bench.rig, 60, RIG_EOP);
    assert(receive(&bench) == 1 && bench.rig.rq->drop_error == 0);
    assert(bench.rig.rq->bytes == 2048 + 60);
    rig_rx(&bench.rig, 2048, 0);
    rig_rx(&bench.rig, 60, RIG_EOP | RIG_RXE);
    assert(receive(&bench) == 0 && bench.rig.rq->drop_error == 1);
    assert(bench.rig.rq->packets == 1 && bench.rig.rq->bytes == 2048 + 60);
    rig_end(&bench.rig);
}

static void test_polls(void)
{
    struct bench bench;
    const struct rq_counters *rq;

    begin(&bench);
    rq = bench.rig.rq;
    assert(receive(&bench) == 0 && rq->polls == 1 && rq->empty_polls == 1);
    rig_rx(&bench.rig, 0, RIG_EOP); /* a descriptor, and no packet */
    assert(receive(&bench) == 0 && rq->polls == 2 && rq->empty_polls == 2);
    rig_rx(&bench.rig, 60, RIG_EOP);
    assert(receive(&bench) == 1 && rq->polls == 3 && rq->empty_polls == 2);
    rig_end(&bench.rig);
}

/* docs/spec/libie-counters.md 2: who does not own the cache leaves its counts to the next who does. */
static void test_deferred(void)
{
    struct bench bench;
    struct rq_counters *rq;

    begin(&bench);
    rq = bench.rig.rq;
    __atomic_store_n(&bench.rig.pair->cache_guard, 1, __ATOMIC_SEQ_CST);
    rig_rx(&bench.rig, 60, RIG_EOP);
    rig_rx(&bench.rig, 2048, 0);
    rig_rx(&bench.rig, 70, RIG_EOP);
    rig_rx(&bench.rig, 0, RIG_EOP);
    rig_rx(&bench.rig, 60, RIG_EOP | RIG_RXE);
    rig_rx(&bench.rig, 3000, RIG_EOP);
    for (int i = 0; i < 6; i++)
        rig_rx(&bench.rig, 100, i < 5 ? 0 : RIG_EOP);
    assert(receive(&bench) == 2 && receive(&bench) == 0);
    assert(!rq->packets && !rq->polls && !rq->drop_error && rq->seq % 2 == 0);
    __atomic_store_n(&bench.rig.pair->cache_guard, 0, __ATOMIC_SEQ_CST);
    pair_settle(bench.rig.pair);
    assert(rq->packets == 2 && rq->bytes == 60 + 2048 + 70 && rq->fragments == 1 + 5);
    assert(rq->polls == 2 && rq->empty_polls == 1);
    assert(rq->drop_malformed == 1 && rq->drop_error == 1 && rq->drop_oversize == 1);
    assert(rq->drop_chain == 1 && rq->drop_reset == 0);
    pair_settle(bench.rig.pair); /* once */
    assert(rq->packets == 2 && rq->polls == 2);
    rig_end(&bench.rig);
}

/* `busy` counts sends that found the ring full, and nothing else. */
static void test_busy(void)
{
    struct bench bench;
    uint64_t *h = bench.handles;
    uint32_t refused;

    begin(&bench);
    assert(pair_alloc(bench.rig.pair, h, 4) == 4);
    for (int i = 0; i < 4; i++)
        h[i] |= (i % 2 ? 60ull : 3ull) << 48;
    assert(pair_send(bench.rig.pair, h, NULL, NULL, 4, &refused) == 4 && refused == 2);
    assert(bench.rig.sq->refused_short == 2 && bench.rig.sq->posted == 2);
    assert(bench.rig.sq->busy == 0 && bench.rig.sq->stops == 0);
    assert(rig_tx(&bench.rig, 8) == 2 && pair_clean(bench.rig.pair) == 2);
    rig_end(&bench.rig);
}

/* No byte of an old run is shown to the device, or taken for new (docs/spec/reliability.md S5). */
static void test_rings_begin_clean(void)
{
    struct bench bench;

    rig_base(&bench.rig, ENTRIES, BUFFERS);
    bench.rig.config.isa = ISA_SCALAR; /* vector code posts whole descriptors */
    rig_go(&bench.rig);
    bench.columns = (struct columns){.handles = bench.handles};
    for (int i = 0; i < ENTRIES - 1; i++)
        rig_rx_raw(&bench.rig, ~0ull, 1 | RIG_EOP | 60ull << 38, ~0ull, ~0ull);
    for (int i = 0; i < ENTRIES; i++)
        bench.rig.tx[i] = (struct tx_desc){.addr = ~0ull, .qw1 = ~0ull};
    assert(lost_by_stop(&bench) == ENTRIES - 1);
    bench.rig.rx_head = 0;
    assert(pair_arm(bench.rig.pair) == 0 && pair_start(bench.rig.pair) == 0);
    for (int i = 0; i < ENTRIES; i++) {
        const struct rx_desc *desc = &bench.rig.rx[i];

        assert((desc->qw0 - RIG_IOVA) % POOL_STRIDE == POOL_HEADROOM && !desc->qw1 && !desc->qw2 &&
               !desc->qw3);
        assert(!bench.rig.tx[i].addr && !bench.rig.tx[i].qw1);
    }
    assert(receive(&bench) == 0);
    rig_end(&bench.rig);
}

/* Each slot leads to a buffer of its own, and says nothing else, however the ring is refilled. */
static void test_posted(uint32_t isa)
{
    struct rig rig;
    uint64_t handles[64];
    struct columns columns = {.handles = handles};
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.isa = isa;
    rig.pair = pair_new(&rig.config, &error);
    assert(rig.pair || error == -ENOTSUP);
    if (rig.pair)
        assert(pair_arm(rig.pair) == 0 && pair_start(rig.pair) == 0);
    for (uint32_t round = 0; rig.pair && round < 40; round++) {
        uint8_t used[BUFFERS] = {0};
        uint32_t n = 1 + round * 7 % 40;

        for (uint32_t at = rig.rx_head; at != rig.rx_tail; at = (at + 1) % ENTRIES) {
            uint64_t from = rig.rx[at].qw0 - RIG_IOVA;

            assert(from % POOL_STRIDE == POOL_HEADROOM && from / POOL_STRIDE < BUFFERS);
            assert(!used[from / POOL_STRIDE]++ && rig.rx[at].qw1 == 0);
        }
        n = n < rig_rx_room(&rig) ? n : rig_rx_room(&rig);
        for (uint32_t i = 0; i < n; i++) {
            memcpy(rig_rx_buffer(&rig), &i, sizeof(i));
            rig_rx(&rig, 60, RIG_EOP);
        }
        assert(pair_recv(rig.pair, &columns, 64) == (int)n);
        for (uint32_t i = 0; i < n; i++)
            assert(!memcmp(rig.memory + (handles[i] & UINT32_MAX) * POOL_STRIDE + POOL_HEADROOM, &i,
                           sizeof(i)));
        pair_release(rig.pair, handles, n);
    }
    rig_end(&rig);
}

int main(void)
{
    test_stop();
    test_stop_in_a_dropped_packet();
    test_error_bit();
    test_polls();
    test_deferred();
    test_busy();
    test_rings_begin_clean();
    for (uint32_t isa = ISA_SCALAR; isa <= ISA_NEON; isa++)
        test_posted(isa);
    puts("driver_account ok");
    return 0;
}
