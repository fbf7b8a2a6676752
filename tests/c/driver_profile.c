/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that writes another known layout than was configured: its packets are read as what they are, on
 * every instruction set and for every set of metadata; strangers in between are dropped. */
#include "rig.h"

#define ENTRIES 128
#define BUFFERS 512
#define PACKETS 40

struct seen {
    uint64_t handles[PACKETS];
    uint32_t rss[PACKETS], mark[PACKETS], when[PACKETS];
    uint16_t ptype[PACKETS], vlan[PACKETS];
    uint8_t csum[PACKETS], flags[PACKETS];
    uint32_t count;
};

static void write_back(struct rig *rig, uint32_t profile, uint32_t n)
{
    uint64_t hash = 0x9e3779b9u * (n + 1);

    rig_rx_buffer(rig);
    if (profile < 2)
        rig_rx_raw(rig, hash << 32 | 7u << 16,
                   3 | 3ull << 3 | 3ull << 12 | 24ull << 30 | (60ull + n) << 38, 0, 0);
    else
        rig_rx_raw(rig, profile | 24ull << 16 | (60ull + n) << 32, hash << 32 | 7u << 16 | 0x1003,
                   0, hash << 32 | (n + 5));
}

static bool begin(struct rig *rig, uint32_t isa, uint32_t asked, uint32_t metadata)
{
    int error;

    rig_base(rig, ENTRIES, BUFFERS);
    rig->config.flex = asked;
    rig->config.isa = isa;
    rig->config.metadata = metadata;
    rig->pair = pair_new(&rig->config, &error);
    if (!rig->pair) {
        assert(error == -ENOTSUP);
        pool_free(rig->pool);
        free(rig->memory);
        free(rig->rx);
        free(rig->tx);
        free(rig->rq);
        free(rig->sq);
        return false;
    }
    pair_free(rig->pair);
    rig_go(rig);
    return true;
}

static void receive(struct rig *rig, struct seen *seen, uint32_t metadata)
{
    struct columns columns = {.handles = seen->handles};

    if (metadata) {
        columns.rss = seen->rss;
        columns.ptype = seen->ptype;
        columns.csum = seen->csum;
        columns.flags = seen->flags;
    }
    if (metadata == 0x3f) {
        columns.vlan = seen->vlan;
        columns.mark = seen->mark;
        columns.time = seen->when;
    }
    seen->count = (uint32_t)pair_recv(rig->pair, &columns, PACKETS);
    /* The slow path, by which the first packet comes, sets flags of columns that nobody asked for. */
    for (uint32_t i = 0; i < PACKETS && metadata != 0x3f; i++)
        seen->flags[i] &= FLAG_RSS | FLAG_MULTICAST | FLAG_BROADCAST;
    pair_release(rig->pair, seen->handles, seen->count);
}

static struct seen run(uint32_t isa, uint32_t asked, uint32_t came, uint32_t metadata)
{
    struct seen seen = {0};
    struct rig rig;
    int taken;

    if (!begin(&rig, isa, asked, metadata))
        return seen;
    assert(pair_stray_rxdid(rig.pair, &taken) == 0 && !taken);
    for (uint32_t n = 0; n < PACKETS; n++)
        write_back(&rig, came, n);
    receive(&rig, &seen, metadata);
    assert(rig.rq->drop_malformed == 0 && seen.count == PACKETS);
    if (asked != came) {
        assert(pair_stray_rxdid(rig.pair, &taken) == (came > 1 ? came : 0) + 1 && taken);
        /* The ring is armed anew: what was asked for is expected again. */
        pair_stop(rig.pair, -ESHUTDOWN);
        pair_drain(rig.pair);
        assert(pair_arm(rig.pair) == 0 && pair_stray_rxdid(rig.pair, &taken) == 0 && !taken);
        rig.rx_head = rig.tx_head = rig.tx_tail = 0;
        assert(pair_start(rig.pair) == 0);
        write_back(&rig, asked, 0);
        write_back(&rig, came, 1);
        write_back(&rig, asked, 2);
        struct seen again = {0};
        receive(&rig, &again, metadata);
        assert(again.count == 2 &&
               rig.rq->drop_malformed == 1); /* a stranger after a good packet */
        assert(pair_stray_rxdid(rig.pair, &taken) != 0 && !taken);
    }
    rig_end(&rig);
    return seen;
}

/* Another thread, the watchdog say, has the cache: what is counted meanwhile waits to be merged, polls as well as
 * packets. Only packets say that a stranger is not the first. */
static void test_counts_that_wait(bool packet)
{
    struct seen seen = {0};
    struct rig rig;
    int taken;

    assert(begin(&rig, ISA_SCALAR, 22, 0));
    rig.pair->cache_guard = 1;
    if (packet)
        write_back(&rig, 22, 0);
    receive(&rig, &seen, 0);
    assert(seen.count == (packet ? 1 : 0) && rig.pair->deferred.dirty && !rig.rq->packets);
    for (uint32_t n = 0; n < PACKETS; n++)
        write_back(&rig, 2, n);
    receive(&rig, &seen, 0);
    assert(seen.count == (packet ? 0 : PACKETS));
    assert(pair_stray_rxdid(rig.pair, &taken) == 3 && taken == !packet);
    rig.pair->cache_guard = 0;
    rig_end(&rig);
}

static void test_unknown(void)
{
    struct seen seen = {0};
    struct rig rig;
    int taken;

    assert(begin(&rig, ISA_SCALAR, 22, 0));
    write_back(&rig, 3, 0); /* a layout that nobody knows */
    write_back(&rig, 63, 1);
    receive(&rig, &seen, 0);
    assert(seen.count == 0 && rig.rq->drop_malformed == 2);
    assert(pair_stray_rxdid(rig.pair, &taken) == 64 && !taken);
    rig_end(&rig);
}

int main(void)
{
    static const uint32_t profiles[] = {22, 2, 16, 6, 24, 0}, sets[] = {0, 7, 0x3f};

    for (uint32_t isa = ISA_SCALAR; isa <= ISA_NEON; isa++)
        for (uint32_t set = 0; set < 3; set++)
            for (uint32_t came = 0; came < 6; came++) {
                struct seen right = run(isa, profiles[came], profiles[came], sets[set]);

                for (uint32_t asked = 0; asked < 6; asked++) {
                    struct seen seen = run(isa, profiles[asked], profiles[came], sets[set]);

                    assert(!memcmp(&seen, &right, sizeof(seen)));
                }
            }
    test_counts_that_wait(false);
    test_counts_that_wait(true);
    test_unknown();
    puts("driver_profile ok");
    return 0;
}
