/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device may not do, and what an application may not ask for: counted, dropped, nothing lost. */
#include "driver/ring/tx.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1024

static struct columns plain(uint64_t *handles)
{
    return (struct columns){.handles = handles};
}

/* docs/spec/reliability.md F45, S2 */
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

/* docs/spec/reliability.md F45, F46 */
static void test_malformed(void)
{
    struct rig rig;
    uint64_t handles[64];
    struct columns columns = plain(handles);

    rig_new(&rig, ENTRIES, BUFFERS);
    rig_rx(&rig, 0, RIG_EOP); /* no length */
    rig_rx(&rig, POOL_ROOM + 1, RIG_EOP); /* beyond the buffer */
    rig_rx(&rig, 60, RIG_EOP | RIG_RXE); /* MAC error */
    rig_rx(&rig, 60, RIG_EOP | 1ull << 63); /* header split that nobody asked for */
    rig_rx(&rig, 60, 0); /* first of a chain on a queue without chains */
    rig_rx(&rig, 60, 0); /* its middle */
    rig_rx(&rig, 60, RIG_EOP); /* its end */
    rig_rx(&rig, POOL_ROOM, RIG_EOP); /* good */
    rig_rx(&rig, 1, RIG_EOP); /* good */
    assert(pair_recv(rig.pair, &columns, 64) == 2);
    assert(handles[0] >> 48 == POOL_ROOM && handles[1] >> 48 == 1);
    assert(rig.rq->drop_malformed == 2 && rig.rq->drop_oversize == 1 && rig.rq->drop_error == 1);
    assert(rig.rq->drop_chain == 1 && rig.rq->fragments == 2);
    assert(rig.rq->packets == 2 && rig.rq->bytes == POOL_ROOM + 1);
    pair_release(rig.pair, handles, 2);
    rig_conserved(&rig);
    rig_end(&rig);
}

/* docs/spec/reliability.md F44 */
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
    h[0] = (h[0] & 0xffffffffffffull) | 16ull << 48; /* short */
    h[1] = (h[1] & 0xffffffffffffull) | 0ull << 48; /* empty */
    h[2] = (h[2] & 0xffffffff) | 200ull << 32 | 2000ull << 48; /* past its buffer */
    h[3] = BUFFERS | 128ull << 32 | 60ull << 48; /* no buffer of the pool */
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

/* What a worker sends is not checked for marks, but a handle that leads out of the pool or of its buffer never
 * reaches the ring: in any place of any burst, on each instruction set. */
static void test_unchecked_bounds(uint32_t isa)
{
    static const uint64_t bad[] = {
        BUFFERS | 128ull << 32 | 60ull << 48, /* the first that is no buffer */
        UINT32_MAX | 128ull << 32 | 60ull << 48,
        (uint64_t)(POOL_STRIDE - 59) << 32 | 60ull << 48, /* a byte beyond its buffer */
    };

    for (uint32_t n = 1; n <= 17; n++) {
        for (uint32_t at = 0; at < n; at++) {
            uint64_t handles[17], own;
            uint32_t refused;
            struct rig rig;
            int error;

            rig_base(&rig, ENTRIES, BUFFERS);
            rig.config.isa = isa;
            rig.pair = pair_new(&rig.config, &error);
            if (!rig.pair) {
                assert(error == -ENOTSUP);
                rig_end(&rig);
                return;
            }
            assert(pair_arm(rig.pair) == 0 && pair_start(rig.pair) == 0);
            assert(pair_alloc(rig.pair, handles, n) == (int)n);
            for (uint32_t i = 0; i < n; i++)
                handles[i] |= 60ull << 48;
            own = handles[at];
            handles[at] =
                bad[(n + at) % 3] | (bad[(n + at) % 3] & UINT32_MAX ? 0 : own & UINT32_MAX);
            assert(tx_any(rig.pair, handles, NULL, NULL, n, &refused, false, false) == n);
            assert(refused == 1 && rig.sq->refused_handle == 1 && rig.sq->posted == n - 1);
            assert(rig_tx(&rig, 100) == n - 1 && pair_clean(rig.pair) == (int)n - 1);
            rig_end(&rig);
        }
    }
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
    struct columns columns = {.handles = handles,
                              .chain = chain,
                              .segments = segments,
                              .flags = flags,
                              .csum = csum,
                              .ptype = ptype,
                              .vlan = vlan,
                              .rss = rss,
                              .mark = mark,
                              .time = when};
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
                qw1 =
                    flex ? (qw1 & ~0x400ull) | 2 : (qw1 & 0x0000003ffff7ffffull) | 2 | 60ull << 38;
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

int main(void)
{
    test_receive_bounds();
    test_malformed();
    test_send_guards();
    for (uint32_t isa = ISA_SCALAR; isa <= ISA_NEON; isa++)
        test_unchecked_bounds(isa);
    for (uint32_t scattered = 0; scattered < 2; scattered++) {
        test_random(0, scattered);
        test_random(2, scattered);
        test_random(22, scattered);
    }
    puts("driver_malformed ok");
    return 0;
}
