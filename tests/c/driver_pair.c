/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue pair against a device played by hand. */
#include <pthread.h>

#include "driver/driver.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1024

static struct columns plain(uint64_t *handles)
{
    return (struct columns){.handles = handles};
}

static void test_receive(void)
{
    struct rig rig;
    uint64_t handles[256];
    struct columns columns = plain(handles);
    uint32_t sent = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(rig.rx_tail ==
           ENTRIES - 1); /* fully posted before ENABLE (docs/spec/reliability.md F40) */
    assert(rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    assert(pair_recv(rig.pair, &columns, 256) == 0);
    /* Many wraps, in bursts of changing size. */
    for (uint32_t round = 0; round < 500; round++) {
        uint32_t n = 1 + round * 7 % 40;
        int got;

        n = n < rig_rx_room(&rig) ? n : rig_rx_room(&rig);
        for (uint32_t i = 0; i < n; i++) {
            memset(rig_rx_buffer(&rig), (int)(sent + i), 60);
            rig_rx(&rig, 60 + (sent + i) % 100, RIG_EOP);
        }
        got = pair_recv(rig.pair, &columns, 256);
        assert(got == (int)n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t index = (uint32_t)handles[i];

            assert(handles[i] >> 48 == 60 + (sent + i) % 100);
            assert((handles[i] >> 32 & 0xffff) == POOL_HEADROOM);
            assert(rig.memory[(size_t)index * POOL_STRIDE + POOL_HEADROOM] == (uint8_t)(sent + i));
        }
        assert(pair_release(rig.pair, handles, n) == got);
        assert(pair_release(rig.pair, handles, n) == 0); /* twice: refused */
        sent += n;
        rig_conserved(&rig);
    }
    assert(rig.rq->packets == sent && rig.rq->polls == 501 && rig.rq->empty_polls == 1);
    assert(rig.rq->fragments == 0 && rig.rq->alloc_page_fail == 0);
    rig_end(&rig);
}

/* docs/spec/reliability.md F45 */
static void test_chains(void)
{
    struct rig rig;
    uint64_t handles[64], chain[64 * 4];
    uint8_t segments[64];
    struct columns columns = {.handles = handles, .chain = chain, .segments = segments};
    uint32_t refused;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig_go(&rig);
    assert(pair_recv(rig.pair, &(struct columns){.handles = handles}, 64) == -EINVAL);
    rig_rx(&rig, 60, RIG_EOP);
    for (int i = 0; i < 3; i++)
        rig_rx(&rig, 2048, 0);
    /* The end has not come: the chain waits, the packet before it does not. */
    assert(pair_recv(rig.pair, &columns, 64) == 1 && segments[0] == 1);
    pair_release_chains(rig.pair, handles, chain, segments, 1);
    rig_conserved(&rig);
    rig_rx(&rig, 100, RIG_EOP);
    rig_rx(&rig, 61, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 64) == 2);
    assert(segments[0] == 4 && segments[1] == 1 && chain[2] >> 48 == 100 && handles[1] >> 48 == 61);
    assert(rig.rq->fragments == 3 && rig.rq->packets == 3 &&
           rig.rq->bytes == 60 + 3 * 2048 + 100 + 61);
    /* Send what came, then get it back from the device. */
    assert(pair_send(rig.pair, handles, chain, segments, 2, &refused) == 2 && !refused);
    assert(rig.tx_tail == 5 && rig_tx(&rig, 100) == 2 && pair_clean(rig.pair) == 2);
    assert(rig.sq->bytes == 3 * 2048 + 100 + 61 && pair_in_flight(rig.pair) == 0);
    rig_conserved(&rig);
    /* An empty last segment ends the packet without adding to it. */
    rig_rx(&rig, 2048, 0);
    rig_rx(&rig, 0, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 64) == 1 && segments[0] == 1 && handles[0] >> 48 == 2048);
    assert(pair_release_chains(rig.pair, handles, chain, segments, 1) == 1);
    /* Five are allowed, six are not, and an endless chain is dropped as a whole. */
    for (int i = 0; i < 4; i++)
        rig_rx(&rig, 1000, 0);
    rig_rx(&rig, 1000, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 64) == 1 && segments[0] == 5);
    assert(pair_release_chains(rig.pair, handles, chain, segments, 1) == 5);
    for (int round = 0; round < 10; round++) {
        while (rig_rx_room(&rig))
            rig_rx(&rig, 1000, 0);
        assert(pair_recv(rig.pair, &columns, 64) == 0);
        rig_conserved(&rig);
    }
    assert(rig.rq->drop_chain == 1);
    rig_rx(&rig, 1000, RIG_EOP);
    rig_rx(&rig, 77, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 64) == 1 && handles[0] >> 48 == 77);
    pair_release(rig.pair, handles, 1);
    /* Longer than the longest frame. */
    for (int i = 0; i < 4; i++)
        rig_rx(&rig, 2048, 0);
    rig_rx(&rig, 2048, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 64) == 0 && rig.rq->drop_oversize == 1);
    /* A stop with half a chain gives its buffers back and counts the packet. */
    rig_rx(&rig, 1000, 0);
    rig_rx(&rig, 1000, 0);
    assert(pair_recv(rig.pair, &columns, 64) == 0);
    rig_rx(&rig, 60, 0); /* not seen before the stop */
    rig_rx(&rig, 60, RIG_EOP);
    rig_rx(&rig, 60, RIG_EOP);
    pair_stop(rig.pair, -ESHUTDOWN);
    assert(pair_recv(rig.pair, &columns, 64) == -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(rig.rq->drop_reset == 2);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
}

/* docs/spec/reliability.md F42 */
static void test_starvation(void)
{
    struct rig rig;
    uint64_t handles[256], all[256];
    struct columns columns = plain(handles);
    uint32_t held = 0;

    rig_new(&rig, ENTRIES, 100);
    /* The application keeps everything it gets. */
    for (int round = 0; round < 20; round++) {
        int got;

        while (rig_rx_room(&rig))
            rig_rx(&rig, 60, RIG_EOP);
        got = pair_recv(rig.pair, &columns, 256);
        assert(got >= 0);
        memcpy(all + held, handles, (size_t)got * 8);
        held += (uint32_t)got;
        rig_conserved(&rig);
    }
    /* The ring took 64 buffers and 32 more; 4 of 100 are no multiple of what the device takes. */
    assert(held == 95 && rig.rq->alloc_page_fail > 0 && rig_rx_room(&rig) == 0);
    assert(pair_release(rig.pair, all, 3) == 3);
    assert(pair_recv(rig.pair, &columns, 256) == 0 && rig_rx_room(&rig) == 0);
    /* Eight free buffers are enough to go on, without a new packet. */
    assert(pair_release(rig.pair, all + 3, 1) == 1);
    assert(pair_recv(rig.pair, &columns, 256) == 0 && rig_rx_room(&rig) == 8);
    rig_rx(&rig, 60, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 256) == 1);
    pair_release(rig.pair, handles, 1);
    assert(pair_release(rig.pair, all + 4, 91) == 91);
    for (int round = 0; round < 100; round++) {
        int got;

        while (rig_rx_room(&rig))
            rig_rx(&rig, 60, RIG_EOP);
        got = pair_recv(rig.pair, &columns, 256);
        assert(got >= 0);
        pair_release(rig.pair, handles, (uint32_t)got);
    }
    rig_conserved(&rig);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) == 100);
    rig_end(&rig);
}

static void test_send(void)
{
    struct rig rig;
    uint64_t handles[64];
    uint32_t refused, total = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t n = 1 + round * 5 % 50;

        assert(pair_alloc(rig.pair, handles, n) == (int)n);
        for (uint32_t i = 0; i < n; i++)
            handles[i] |= (uint64_t)(60 + i) << 48;
        assert(pair_send(rig.pair, handles, NULL, NULL, n, &refused) == (int)n && !refused);
        assert(pair_in_flight(rig.pair) == n);
        assert(rig_tx(&rig, 1000) == n);
        assert(pair_clean(rig.pair) == (int)n);
        total += n;
        rig_conserved(&rig);
    }
    assert(rig.sq->packets == total && rig.sq->posted == total && rig.sq->doorbells == 300);
    assert(rig.sq->restarts <= rig.sq->stops && rig.sq->stops - rig.sq->restarts <= 1);
    rig_end(&rig);
}

/* Where the page of the tails may not be mapped they are written as registers, each queue its own. */
static void test_doorbells_by_register(void)
{
    struct rig rig;
    uint64_t handles[64];
    struct columns columns = plain(handles);
    uint32_t refused, before;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.rx_tail = rig.config.tx_tail = NULL;
    rig.config.queue = 3;
    rig_go(&rig);
    assert(rig.reg[REG_QRX_TAIL1 / 4 + 3] == ENTRIES - 1 && rig.reg[REG_QRX_TAIL1 / 4] == 0);
    for (uint32_t round = 1; round <= 20; round++) {
        assert(pair_alloc(rig.pair, handles, 5) == 5);
        for (uint32_t i = 0; i < 5; i++)
            handles[i] |= 60ull << 48;
        before = rig.reg[REG_QRX_TAIL1 / 4 + 3];
        assert(pair_send(rig.pair, handles, NULL, NULL, 5, &refused) == 5 && !refused);
        rig.tx_tail = rig.reg[REG_QTX_TAIL1 / 4 + 3];
        assert(rig.tx_tail == 5 * round % ENTRIES && rig.reg[REG_QTX_TAIL1 / 4] == 0);
        assert(rig.reg[REG_QRX_TAIL1 / 4 + 3] == before);
        assert(rig_tx(&rig, 8) == 5 && pair_clean(rig.pair) == 5);
        rig.rx_tail = before;
        for (uint32_t i = 0; i < 5; i++)
            rig_rx(&rig, 60, RIG_EOP);
        assert(pair_recv(rig.pair, &columns, 64) == 5);
        pair_release(rig.pair, handles, 5);
        assert(rig.reg[REG_QTX_TAIL1 / 4 + 3] == rig.tx_tail);
    }
    assert(rig.reg[REG_QRX_TAIL1 / 4 + 3] != ENTRIES - 1 && rig.rq->packets == 100);
    rig_end(&rig);
}

static void test_send_full(void)
{
    struct rig rig;
    uint64_t handles[128];
    uint32_t refused;

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(pair_alloc(rig.pair, handles, 100) == 100);
    for (uint32_t i = 0; i < 100; i++)
        handles[i] |= 60ull << 48;
    assert(pair_send(rig.pair, handles, NULL, NULL, 100, &refused) == ENTRIES - 1);
    assert(rig.sq->busy == 1 && rig.sq->stops == 1 && rig.sq->restarts == 0);
    assert(pair_send(rig.pair, handles + 63, NULL, NULL, 37, &refused) == 0);
    assert(rig.sq->busy == 2 && rig.sq->stops == 1);
    assert(pair_clean(rig.pair) == 0); /* nothing was reported */
    /* Bogus write-backs stay pending: any type but F, F where no report was asked for. */
    rig.tx[31].qw1 = 0xffffffffffffff0eull | 1;
    rig.tx[31].qw1 &= ~0xfull;
    rig.tx[31].qw1 |= 3;
    rig.tx[5].qw1 |= 0xf;
    assert(pair_clean(rig.pair) == 0);
    rig.tx[5].qw1 &= ~0xfull;
    rig.tx[31].qw1 = 60ull << 34 | (7ull << 4);
    assert(rig_tx(&rig, 1) == 32);
    assert(pair_clean(rig.pair) == 32 && rig.sq->restarts == 1);
    assert(pair_send(rig.pair, handles + 63, NULL, NULL, 37, &refused) == 32);
    /* Lost in a reset: the device reports one more group, the rest never. */
    assert(rig_tx(&rig, 1) == 31);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(rig.sq->packets == 63 && rig.sq->drop_reset == 32 && rig.sq->posted == 95);
    assert(pair_release(rig.pair, handles + 95, 5) == 5);
    assert(pair_release(rig.pair, handles, 95) == 0); /* these were the device's */
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
}

static void test_cycles(void)
{
    struct rig rig;
    uint64_t handles[64], out[64];
    struct columns columns = plain(handles);
    uint32_t refused;

    rig_new(&rig, ENTRIES, 512);
    for (int cycle = 0; cycle < 1000; cycle++) {
        for (int i = 0; i < cycle % 50; i++)
            rig_rx(&rig, 60, i % 7 ? RIG_EOP : 0);
        if (cycle % 3 == 0) {
            int got = pair_recv(rig.pair, &columns, 64);

            assert(got >= 0);
            if (got)
                assert(pair_send(rig.pair, handles, NULL, NULL, (uint32_t)got, &refused) == got);
        }
        assert(pair_alloc(rig.pair, out, 5) == 5);
        pair_release(rig.pair, out, 5);
        pair_stop(rig.pair, -ESHUTDOWN);
        assert(pair_arm(rig.pair) == -EBUSY); /* not drained */
        pair_drain(rig.pair);
        assert(pool_idle(rig.pool) == 512); /* exact (docs/spec/reliability.md F48) */
        assert(pair_send(rig.pair, handles, NULL, NULL, 1, &refused) == -ESHUTDOWN);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = 0;
        rig.tx_tail = 0;
        assert(rig.rx_tail ==
               ENTRIES - 1); /* before the queue is enabled (docs/spec/reliability.md F40) */
        assert(pair_start(rig.pair) == 0);
    }
    rig_conserved(&rig);
    assert(rig.sq->posted == rig.sq->packets + rig.sq->drop_reset);
    rig_end(&rig);
}

static void test_refuse(void)
{
    struct rig rig;
    uint32_t refused;
    uint64_t handle;

    rig_new(&rig, ENTRIES, BUFFERS);
    pair_refuse(rig.pair, 5);
    assert(rig.sq->refused_full == 5);
    rig.pair->tx_guard = GUARD_CALLER; /* another thread sends */
    pair_refuse(rig.pair, 2);
    assert(rig.sq->refused_full == 5);
    rig.pair->tx_guard = GUARD_FREE;
    assert(pair_alloc(rig.pair, &handle, 1) == 1);
    handle |= 60ull << 48;
    assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == 1);
    assert(rig.sq->refused_full == 7);
    rig_end(&rig);
}

struct late {
    struct rig *rig;
    uint64_t held[3];
    uint32_t closed; /* calls that found it so */
};

/* A thread that knows nothing of the close. */
static void *late_caller(void *argument)
{
    struct late *late = argument;
    uint64_t handles[32];
    struct columns columns = plain(handles);
    struct queue_pair *pair = late->rig->pair;

    while (late->closed < 1000) {
        uint32_t refused;
        uint64_t handle;
        int got = pair_recv(pair, &columns, 32);

        assert(got >= 0 || got == -EBADF || got == -ESHUTDOWN);
        late->closed += got == -EBADF;
        if (got > 0)
            pair_release(pair, handles, (uint32_t)got);
        if (pair_alloc(pair, &handle, 1) == 1)
            pair_release(pair, &handle, 1);
        pair_send(pair, handles, NULL, NULL, 0, &refused);
        pair_refuse(pair, 1);
        pair_settle(pair);
    }
    return NULL;
}

static void test_close(void)
{
    for (int round = 0; round < 20; round++) {
        struct rig rig;
        struct late late = {.rig = &rig};
        uint64_t counted;
        pthread_t thread;

        rig_new(&rig, ENTRIES, BUFFERS);
        assert(pair_alloc(rig.pair, late.held, 3) == 3);
        pthread_create(&thread, NULL, late_caller, &late);
        for (int i = 0; i < 20; i++)
            rig_rx(&rig, 60, RIG_EOP);
        pair_close(rig.pair);
        counted = rig.rq->pp_recycle_ring + rig.sq->refused_full;
        pair_close(rig.pair);
        pair_stop(rig.pair, -ENODEV); /* waits for nobody */
        assert(pair_release(rig.pair, late.held, 3) == 3);
        pthread_join(thread, NULL);
        assert(pool_idle(rig.pool) == BUFFERS);
        /* Neither counters nor registers are touched any more. */
        assert(rig.rq->pp_recycle_ring + rig.sq->refused_full == counted);
        /* What came late is in no counter then, and rig_end wants books that are complete. */
        rig.rq->pp_recycle_ring += rig_given(&rig) - rig_returned(&rig);
        rig_end(&rig);
    }
}

static void test_config(void)
{
    struct rig rig;
    int error = 0;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.rx_entries = 100;
    assert(!pair_new(&rig.config, &error) && error == -EINVAL);
    rig.config.rx_entries = 8192;
    assert(!pair_new(&rig.config, &error) && error == -EINVAL);
    rig.config.rx_entries = ENTRIES;
    rig.config.buffer_size = POOL_ROOM + 1;
    assert(!pair_new(&rig.config, &error) && error == -EINVAL);
    rig.config.buffer_size = POOL_ROOM;
    rig.config.flex = 3;
    assert(!pair_new(&rig.config, &error) && error == -EINVAL);
    rig.config.flex = 0;
    rig.config.rx_entries = 2048; /* more than the pool has */
    rig.config.rx_ring = realloc(rig.rx, 2048 * 32);
    rig.rx = rig.config.rx_ring;
    rig.pair = pair_new(&rig.config, &error);
    assert(rig.pair && !error && pair_arm(rig.pair) == -ENOMEM);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
}

int main(void)
{
    test_config();
    test_receive();
    test_chains();
    test_starvation();
    test_send();
    test_doorbells_by_register();
    test_send_full();
    test_cycles();
    test_refuse();
    test_close();
    puts("driver_pair ok");
    return 0;
}
