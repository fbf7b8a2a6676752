/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue pair against a device played by hand. */
#include <pthread.h>

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
    assert(rig.rx_tail == ENTRIES - 1); /* fully posted before ENABLE (F40) */
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

static void test_receive_bounds(void)
{
    struct rig rig;
    uint64_t handles[256];
    struct columns columns = plain(handles);

    rig_new(&rig, ENTRIES, BUFFERS);
    /* A device that sets DD beyond its tail must not be followed: slot 63 is not its own. */
    for (uint32_t i = 0; i < ENTRIES; i++)
        rig_rx_raw(&rig, 0, 1 | RIG_EOP | 60ull << 38, 0, 0);
    assert(pair_recv(rig.pair, &columns, 256) == ENTRIES - 1);
    pair_release(rig.pair, handles, ENTRIES - 1);
    rig_conserved(&rig);
    rig_end(&rig);
}

static void test_malformed(void)
{
    struct rig rig;
    uint64_t handles[64];
    struct columns columns = plain(handles);

    rig_new(&rig, ENTRIES, BUFFERS);
    rig_rx(&rig, 0, RIG_EOP);                  /* no length */
    rig_rx(&rig, POOL_ROOM + 1, RIG_EOP);      /* beyond the buffer */
    rig_rx(&rig, 60, RIG_EOP | RIG_RXE);       /* MAC error */
    rig_rx(&rig, 60, RIG_EOP | 1ull << 63);    /* header split that nobody asked for */
    rig_rx(&rig, 60, 0);                       /* first of a chain on a queue without chains */
    rig_rx(&rig, 60, 0);                       /* its middle */
    rig_rx(&rig, 60, RIG_EOP);                 /* its end */
    rig_rx(&rig, POOL_ROOM, RIG_EOP);          /* good */
    rig_rx(&rig, 1, RIG_EOP);                  /* good */
    assert(pair_recv(rig.pair, &columns, 64) == 2);
    assert(handles[0] >> 48 == POOL_ROOM && handles[1] >> 48 == 1);
    assert(rig.rq->drop_malformed == 2 && rig.rq->drop_oversize == 1 && rig.rq->drop_error == 1);
    assert(rig.rq->drop_chain == 1 && rig.rq->fragments == 2);
    assert(rig.rq->packets == 2 && rig.rq->bytes == POOL_ROOM + 1);
    pair_release(rig.pair, handles, 2);
    rig_conserved(&rig);
    rig_end(&rig);
}

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
    assert(held == 99 && rig.rq->alloc_page_fail > 0 && rig_rx_room(&rig) == 0);
    /* One free buffer is enough to go on, without a new packet. */
    assert(pair_release(rig.pair, all, 1) == 1);
    assert(pair_recv(rig.pair, &columns, 256) == 0 && rig_rx_room(&rig) == 1);
    rig_rx(&rig, 60, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 256) == 1);
    pair_release(rig.pair, handles, 1);
    assert(pair_release(rig.pair, all + 1, 98) == 98);
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

static void test_send_guards(void)
{
    struct rig rig;
    uint64_t h[32], chain[32 * 4] = {0};
    uint8_t segments[32];
    uint32_t refused;
    struct sq_counters *sq;

    rig_new(&rig, ENTRIES, BUFFERS);
    sq = rig.sq;
    assert(pair_alloc(rig.pair, h, 32) == 32);
    memset(segments, 1, sizeof(segments));
    for (int i = 0; i < 32; i++)
        h[i] |= 60ull << 48;
    h[0] = (h[0] & 0xffffffffffffull) | 16ull << 48;   /* short */
    h[1] = (h[1] & 0xffffffffffffull) | 0ull << 48;    /* empty */
    h[2] = (h[2] & 0xffffffff) | 200ull << 32 | 2000ull << 48; /* past its buffer */
    h[3] = BUFFERS | 128ull << 32 | 60ull << 48;       /* no buffer of the pool */
    h[4] = 0xffffffffffffffffull;
    segments[5] = 0;
    segments[6] = 9;
    segments[7] = 3; /* with one empty segment */
    chain[4 * 7] = h[8];
    chain[4 * 7 + 1] = h[9] & 0xffffffffffffull;
    h[8] = h[10]; /* handed in twice: the second is refused */
    h[9] = h[10];
    assert(pair_send(rig.pair, h, chain, segments, 11, &refused) == 11);
    assert(refused == 10);
    assert(sq->refused_short == 2 && sq->refused_handle == 3 + 2 && sq->refused_segments == 3);
    assert(sq->posted == 1 && rig_tx(&rig, 10) == 1 && pair_clean(rig.pair) == 1);
    rig_conserved(&rig);
    /* Too long: five full buffers are more than any frame. */
    for (int i = 11; i < 16; i++)
        h[i] = (h[i] & 0xffffffffffffull) | 2048ull << 48;
    segments[11] = 5;
    memcpy(chain, h + 12, 32);
    assert(pair_send(rig.pair, h + 11, chain, segments + 11, 1, &refused) == 1 && refused == 1);
    assert(sq->refused_long == 1);
    assert(pair_release(rig.pair, h + 16, 16) == 16);
    /* All came back but the handle that was cut off at its pool's bounds, which is still ours. */
    assert(pair_release(rig.pair, h, 16) <= 2);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) >= BUFFERS - 2);
    rig_conserved(&rig);
    rig_end(&rig);
}

static void test_metadata(void)
{
    struct rig rig;
    uint64_t handles[8];
    uint8_t flags[8], csum[8], segments[8];
    uint16_t ptype[8], vlan[8];
    uint32_t rss[8], mark[8], when[8];
    struct columns columns = {.handles = handles, .segments = segments, .flags = flags, .csum = csum,
                              .ptype = ptype, .vlan = vlan, .rss = rss, .mark = mark, .time = when};

    /* Legacy: DD EOP L2TAG1P L3L4P multicast, FLTSTAT 3, PTYPE 24, LEN 60 (descriptors 6). */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig_go(&rig);
    rig_rx_raw(&rig, 0xdeadbeef00640000ull, 0x00000f060000320full, 0, 0);
    /* IPE: IP bad, L4 unknown. L4E on PTYPE 26: bad. */
    rig_rx_raw(&rig, 0, 0x00000f060040000bull, 0, 0);
    rig_rx_raw(&rig, 0, 0x00000f068080000bull, 0, 0);
    /* PTYPE 200: unknown. FLTSTAT 1: mark. No L3L4P. */
    rig_rx_raw(&rig, 7ull << 32, 0x00000f3200001003ull, 0, 0);
    assert(pair_recv(rig.pair, &columns, 8) == 4);
    assert(handles[0] >> 48 == 60 && rss[0] == 0xdeadbeef && vlan[0] == 100 && ptype[0] == 24);
    assert(csum[0] == (CSUM_GOOD | CSUM_GOOD << 2));
    assert(flags[0] == (FLAG_RSS | FLAG_VLAN | FLAG_MULTICAST));
    assert(csum[1] == CSUM_BAD && flags[1] == 0 && vlan[1] == 0 && rss[1] == 0);
    assert(ptype[2] == 26 && csum[2] == (CSUM_GOOD | CSUM_BAD << 2));
    assert(ptype[3] == 0 && csum[3] == 0 && mark[3] == 7 && flags[3] == FLAG_MARK);
    pair_release(rig.pair, handles, 4);
    rig_end(&rig);

    /* Flex RXDID 2 (descriptors 7): broadcast, PTYPE 92, hash, flow id 5, time; tag in second L2TAG2. */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig.config.flex = 2;
    rig.config.vlan_in_l2tag2 = 1;
    rig_go(&rig);
    rig_rx_raw(&rig, 0x0000003c005c8002ull, 0xcafef00d0000100bull, 0x00c8000001000800ull,
               0x1234567800000005ull);
    rig_rx_raw(&rig, 0x0000003c005c8001ull, 0xcafef00d0000100bull, 0, 0); /* another RXDID */
    /* Unmarked, EUDPE under NAT, tunnel PTYPE 22 + 36 + 3: outer v4, inner v4 UDP. */
    rig_rx_raw(&rig, 0x0000003c003d0002ull, 0x000000000000008bull, 0x10, 0xffffffffull);
    assert(pair_recv(rig.pair, &columns, 8) == 2);
    assert(rss[0] == 0xcafef00d && ptype[0] == 92 && vlan[0] == 200 && mark[0] == 5);
    assert(when[0] == 0x12345678 && csum[0] == CSUM_GOOD << 2);
    assert(flags[0] == (FLAG_RSS | FLAG_VLAN | FLAG_MARK | FLAG_TIME | FLAG_BROADCAST));
    assert(flags[1] == 0 && csum[1] == (CSUM_GOOD | CSUM_GOOD << 2 | CSUM_GOOD << 4 | CSUM_BAD << 6));
    assert(rig.rq->drop_malformed == 1);
    pair_release(rig.pair, handles, 2);
    rig_end(&rig);

    /* Flex RXDID 22: hash and flow id swapped. */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig.config.flex = 22;
    rig_go(&rig);
    rig_rx_raw(&rig, 0x0000003c00180016ull, 0x0000000900001003ull, 0, 0x00000000aabbccddull);
    assert(pair_recv(rig.pair, &columns, 8) == 1);
    assert(rss[0] == 0xaabbccdd && mark[0] == 9 && flags[0] == (FLAG_RSS | FLAG_MARK) && csum[0] == 0);
    pair_release(rig.pair, handles, 1);
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
        assert(pool_idle(rig.pool) == 512); /* exact (F48) */
        assert(pair_send(rig.pair, handles, NULL, NULL, 1, &refused) == -ESHUTDOWN);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = 0;
        rig.tx_tail = 0;
        assert(pair_start(rig.pair) == 0 && rig.rx_tail == ENTRIES - 1);
    }
    rig_conserved(&rig);
    assert(rig.sq->posted == rig.sq->packets + rig.sq->drop_reset);
    rig_end(&rig);
}

static uint64_t random_word(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Whatever the device writes: no crash, no lost buffer, every delivered segment inside its buffer. */
static void test_random(uint32_t flex, uint32_t scattered)
{
    struct rig rig;
    uint64_t handles[64], chain[64 * 4];
    uint8_t segments[64], flags[64], csum[64];
    uint16_t ptype[64], vlan[64];
    uint32_t rss[64], mark[64], when[64];
    struct columns columns = {.handles = handles, .chain = chain, .segments = segments,
                              .flags = flags, .csum = csum, .ptype = ptype, .vlan = vlan,
                              .rss = rss, .mark = mark, .time = when};
    uint64_t packets = 0;

    rig_base(&rig, ENTRIES + 32, BUFFERS);
    rig.config.metadata = 0x3f;
    rig.config.flex = flex;
    rig.config.scattered = scattered;
    rig_go(&rig);
    for (int round = 0; round < 4000; round++) {
        uint32_t n = (uint32_t)random_word() % 40;
        int got;

        while (n-- && rig_rx_room(&rig)) {
            uint64_t qw0 = random_word();
            uint64_t qw1 = random_word() | 1;

            if (n % 2) { /* half of them nearly good */
                qw0 = flex ? (qw0 & 0xc0fff03f00000000ull) >> 0 | 60ull << 32 | flex : qw0;
                qw1 = flex ? (qw1 & ~0x400ull) | 2
                           : (qw1 & 0x0000003ffff7ffffull) | 2 | 60ull << 38;
            }
            rig_rx_raw(&rig, qw0, qw1, random_word(), random_word());
        }
        got = pair_recv(rig.pair, &columns, 64);
        assert(got >= 0);
        for (int i = 0; i < got; i++) {
            assert(segments[i] >= 1 && segments[i] <= (scattered ? 5 : 1));
            assert(handles[i] >> 48 >= 1 && handles[i] >> 48 <= POOL_ROOM && ptype[i] < 1024);
            for (int k = 1; k < segments[i]; k++)
                assert(chain[4 * i + k - 1] >> 48 >= 1 && chain[4 * i + k - 1] >> 48 <= POOL_ROOM);
        }
        packets += (uint64_t)got;
        pair_release_chains(rig.pair, handles, chain, segments, (uint32_t)got);
        if (round % 64 == 0)
            rig_conserved(&rig);
    }
    assert(packets > 1000 && packets == rig.rq->packets);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
}

/* ---- threads ---- */

struct sleeper {
    struct rig *rig;
    int64_t timeout_ns;
    int result;
};

static void *sleep_in_recv(void *argument)
{
    struct sleeper *sleeper = argument;
    uint64_t handles[32];
    struct columns columns = plain(handles);

    sleeper->result = pair_recv_wait(sleeper->rig->pair, &columns, 32, sleeper->timeout_ns);
    if (sleeper->result > 0)
        pair_release(sleeper->rig->pair, handles, (uint32_t)sleeper->result);
    return NULL;
}

static void wait_asleep(struct rig *rig)
{
    while (rig_read32(&rig->regio, RIG_DYN_CTL) != RIG_SLEEP_CTL)
        usleep(100);
    usleep(1000);
}

static void test_wait(void)
{
    struct rig rig;
    struct sleeper sleeper = {.rig = &rig, .timeout_ns = -1};
    uint64_t handles[32], one = 1;
    struct columns columns = plain(handles);
    pthread_t thread;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    assert(pair_recv_wait(rig.pair, &columns, 32, 2000000) == 0); /* a timeout is no error */
    assert(rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    /* Wakes for a packet; a second caller is turned away meanwhile. */
    pthread_create(&thread, NULL, sleep_in_recv, &sleeper);
    wait_asleep(&rig);
    assert(pair_recv(rig.pair, &columns, 32) == -EBUSY);
    rig_rx(&rig, 60, RIG_EOP);
    assert(write(rig.config.event_fd, &one, 8) == 8);
    pthread_join(thread, NULL);
    assert(sleeper.result == 1 && rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    /* A spurious interrupt does not end the wait, a stop does. */
    pthread_create(&thread, NULL, sleep_in_recv, &sleeper);
    wait_asleep(&rig);
    assert(write(rig.config.event_fd, &one, 8) == 8);
    usleep(2000);
    wait_asleep(&rig);
    pair_stop(rig.pair, -ENODEV);
    pthread_join(thread, NULL);
    assert(sleeper.result == -ENODEV);
    assert(pair_recv(rig.pair, &columns, 32) == -ENODEV);
    close(rig.config.event_fd);
    rig_end(&rig);
}

/* A packet may come at any point of going to sleep: it is always delivered (F47). */
static void test_no_lost_wakeup(void)
{
    struct rig rig;
    uint64_t handles[32], one = 1;
    struct columns columns = plain(handles);
    pthread_t thread;
    struct sleeper sleeper = {.rig = &rig, .timeout_ns = -1};

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    for (int round = 0; round < 300; round++) {
        pthread_create(&thread, NULL, sleep_in_recv, &sleeper);
        for (int spin = 0; spin < round * 50; spin++)
            __asm__ volatile("");
        rig_rx(&rig, 60, RIG_EOP);
        /* The vector is on only after arming; a cause before that fires with the arming write. */
        if (rig_read32(&rig.regio, RIG_DYN_CTL) == RIG_SLEEP_CTL)
            assert(write(rig.config.event_fd, &one, 8) == 8);
        else
            usleep(10), assert(write(rig.config.event_fd, &one, 8) == 8);
        pthread_join(thread, NULL);
        assert(sleeper.result == 1);
    }
    assert(pair_recv(rig.pair, &columns, 32) == 0);
    close(rig.config.event_fd);
    rig_end(&rig);
}

struct race {
    struct rig *rig;
    uint32_t stop;
    uint64_t received;
};

static void *receive_forever(void *argument)
{
    struct race *race = argument;
    uint64_t handles[32];
    struct columns columns = plain(handles);

    while (!__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE)) {
        int got = pair_recv(race->rig->pair, &columns, 32);

        if (got > 0) {
            race->received += (uint64_t)got;
            assert(pair_release(race->rig->pair, handles, (uint32_t)got) == got);
        }
    }
    return NULL;
}

/* Stop, drain and start while another thread receives and this one sends, allocates and settles. */
static void test_stop_race(void)
{
    struct rig rig;
    struct race race = {.rig = &rig};
    pthread_t thread;
    uint64_t handles[8];
    uint32_t refused, given = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    pthread_create(&thread, NULL, receive_forever, &race);
    for (int cycle = 0; cycle < 300; cycle++) {
        for (int i = 0; i < 20; i++) {
            uint32_t n = rig_rx_room(&rig) < 8 ? rig_rx_room(&rig) : 8;

            given += n;
            while (n--)
                rig_rx_raw(&rig, 0, 3 | 60ull << 38, 0, 0);
            assert(pair_alloc(rig.pair, handles, 8) == 8);
            for (int k = 0; k < 8; k++)
                handles[k] |= 60ull << 48;
            assert(pool_give(rig.pool, handles, 4, rig.pair) == 4);
            assert(pair_send(rig.pair, handles + 4, NULL, NULL, 4, &refused) == 4 && !refused);
            rig_tx(&rig, 100);
            pair_settle(rig.pair);
        }
        pair_stop(rig.pair, -ESHUTDOWN);
        pair_drain(rig.pair);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = rig.tx_tail = 0;
        assert(pair_start(rig.pair) == 0);
    }
    __atomic_store_n(&race.stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(race.received == rig.rq->packets && given == rig.rq->packets + rig.rq->drop_reset);
    assert(rig.sq->posted == 300 * 20 * 4);
    assert(rig.sq->posted == rig.sq->packets + rig.sq->drop_reset);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_end(&rig);
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
    test_receive_bounds();
    test_malformed();
    test_chains();
    test_starvation();
    test_send();
    test_send_full();
    test_send_guards();
    test_metadata();
    test_cycles();
    for (uint32_t scattered = 0; scattered < 2; scattered++) {
        test_random(0, scattered);
        test_random(2, scattered);
        test_random(22, scattered);
    }
    test_wait();
    test_no_lost_wakeup();
    test_stop_race();
    puts("driver_pair ok");
    return 0;
}
