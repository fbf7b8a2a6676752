/* SPDX-License-Identifier: BSD-3-Clause */
/* Handlers in a worker, with a device that the test plays by hand: every action and every nonsense
 * leads to one place, and every packet is counted once. */
#include <pthread.h>
#include <time.h>

#include "rig.h"

#define ENTRIES 128
#define BUFFERS 2048
#define WAIT_LIMIT 20000 /* half milliseconds */

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int tries = 0; !(condition); tries++) {                                               \
            assert(tries < WAIT_LIMIT);                                                            \
            usleep(500);                                                                           \
        }                                                                                          \
    } while (0)

struct tally { /* state of the handler below */
    uint64_t calls, packets;
    uint64_t bytes, frames; /* of the data shown, of the frames they belong to */
    uint64_t lanes; /* bit i: lane i was seen */
};

/* The first four bytes of a packet are its action; 0xdd in the fifth leaves it without one. */
static void obey(uint64_t n, uint8_t *const *data, const uint32_t *length,
                 const struct handler_columns *columns, uint32_t *action, void *state)
{
    struct tally *tally = state;

    assert(n && n <= 256);
    tally->calls++;
    __atomic_fetch_add(&tally->packets, n, __ATOMIC_RELAXED); /* the test looks at it meanwhile */
    for (uint64_t i = 0; i < n; i++) {
        assert(length[i] && columns->frame[i] >= length[i] && action[i] == 0xffffffff);
        assert((columns->segments[i] > 1) == (columns->frame[i] > length[i]));
        tally->bytes += length[i];
        tally->frames += columns->frame[i];
        tally->lanes |= 1ull << columns->lane[i];
        if (data[i][4] != 0xdd)
            memcpy(&action[i], data[i], 4);
    }
}

static void receive(struct rig *rig, uint32_t action, uint8_t mark, uint32_t length)
{
    uint8_t *data;

    WAIT_FOR(rig_rx_room(rig));
    data = rig_rx_buffer(rig);
    memset(data, mark, length);
    memcpy(data, &action, 4);
    /* Odd marks: with a hash (docs/spec/descriptors.md 6). */
    rig_rx(rig, length, RIG_EOP | (mark % 2 ? (uint64_t)RX_FLTSTAT_RSS_HASH << 12 : 0));
}

/* Completes as rig_tx does, beside a worker: `most` report requests at most. Returns the packets completed. */
static uint32_t complete(struct rig *rig, uint32_t most)
{
    uint32_t tail = __atomic_load_n(&rig->tx_tail, __ATOMIC_ACQUIRE);
    uint32_t done = 0;

    for (; rig->tx_head != tail && most; done++) {
        struct tx_desc *desc = &rig->tx[rig->tx_head];
        uint64_t qw1 = __atomic_load_n(&desc->qw1, __ATOMIC_RELAXED);

        assert((qw1 & 0xf) == 0 && (qw1 >> 4 & 1)); /* data, EOP */
        if (qw1 >> 4 & 2) {
            __atomic_store_n(&desc->qw1, qw1 | 0xf, __ATOMIC_RELEASE);
            most--;
        }
        rig->tx_head = (rig->tx_head + 1) % rig->config.tx_entries;
    }
    return done;
}

static struct worker_config config_of(struct rig *rig, struct tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    return (struct worker_config){
        .mode = WORKER_HANDLER,
        .pairs = 1,
        .pair = {rig->pair},
        .burst = 32,
        .cpu = -1,
        .handler = obey,
        .state = tally,
        .tx = 1,
    };
}

static struct worker *begin(const struct worker_config *config)
{
    int error = 1;
    struct worker *worker = worker_start(config, &error);

    assert(worker && !error);
    return worker;
}

static uint64_t seen(const struct worker *worker)
{
    const struct worker_counters *c = worker_counters(worker);

    return __atomic_load_n(&c->received, __ATOMIC_RELAXED);
}

static struct worker_counters end(struct worker *worker)
{
    struct worker_counters c;

    worker_stop(worker);
    c = *worker_counters(worker);
    worker_free(worker);
    assert(c.state == 3);
    assert(c.received ==
           c.dropped + c.passed + c.pass_full + c.invalid + c.failed + c.sent + c.refused);
    return c;
}

static void test_refused_configs(void)
{
    struct rig rig, other;
    struct tally tally;
    struct worker_config config;
    int error = 0;

    rig_new(&rig, ENTRIES, BUFFERS);
    rig_new(&other, ENTRIES, BUFFERS);
    config = config_of(&rig, &tally);
    config.handler = NULL;
    assert(!worker_start(&config, &error) && error == -EINVAL);
    config = config_of(&rig, &tally);
    config.redirects = WORKER_MAX_PAIRS + 1;
    assert(!worker_start(&config, &error) && error == -EINVAL);
    config.redirects = 1;
    assert(!worker_start(&config, &error) && error == -EINVAL); /* no pair there */
    config.redirect[0] = other.pair; /* of another pool */
    assert(!worker_start(&config, &error) && error == -EINVAL);
    assert(!pass_ring_new(rig.pool, 0, &error) && error == -EINVAL);
    assert(!pass_ring_new(rig.pool, 24, &error) && error == -EINVAL);
    rig_end(&rig);
    rig_end(&other);
}

static void test_swap(void)
{
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, &tally);
    config.handler = handler_swap_macs;
    for (int i = 0; i < 40; i++) {
        memcpy(rig_rx_buffer(&rig), "AAAAAABBBBBB", 12);
        rig_rx(&rig, i == 7 ? 16 : 60, RIG_EOP); /* one cannot be sent */
    }
    worker = begin(&config);
    WAIT_FOR(__atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE) == 39);
    for (int i = 0; i < 39; i++)
        assert(!memcmp(rig.memory + (rig.tx[i].addr - RIG_IOVA), "BBBBBBAAAAAA", 12));
    c = end(worker);
    assert(c.received == 40 && c.sent == 39 && c.refused == 1 && c.sent_bytes == 39 * 60);
    rig_conserved(&rig);
    rig_end(&rig);
}

static void udp(struct rig *rig, uint16_t port, uint8_t protocol, uint32_t length)
{
    uint8_t *data = rig_rx_buffer(rig);

    memset(data, 0, 60);
    data[12] = 8;
    data[14] = 0x45;
    data[23] = protocol;
    data[36] = (uint8_t)(port >> 8);
    data[37] = (uint8_t)port;
    rig_rx(rig, length, RIG_EOP);
}

static void test_udp(void)
{
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    uint64_t state[2] = {53, 0};

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, &tally);
    config.handler = handler_drop_udp;
    config.state = state;
    udp(&rig, 53, 17, 60);
    udp(&rig, 53, 6, 60); /* TCP */
    udp(&rig, 54, 17, 60);
    udp(&rig, 53, 17, 41); /* too short to have a port */
    udp(&rig, 53, 17, 42);
    worker = begin(&config);
    WAIT_FOR(seen(worker) == 5);
    c = end(worker);
    assert(c.dropped == 2 && c.sent == 3 && state[0] == 53 && state[1] == 2);
    rig_conserved(&rig);
    rig_end(&rig);
}

static void test_verdicts(void)
{
    static const uint32_t nonsense[] = {ACTION_REDIRECT, ACTION_PASS, 77, 0x80000000, 0xffffffff};
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, &tally); /* no redirect, no pass ring */
    for (uint32_t i = 0; i < 60; i++)
        receive(&rig, i % 3 ? ACTION_TX : ACTION_DROP, 0, 60);
    for (uint32_t i = 0; i < 5; i++)
        receive(&rig, nonsense[i], 0, 60);
    receive(&rig, ACTION_TX, 0xdd, 60); /* no action */
    receive(&rig, ACTION_FAILED, 0, 60);
    worker = begin(&config);
    WAIT_FOR(seen(worker) == 67);
    c = end(worker);
    assert(c.dropped == 20 && c.sent == 40 && c.invalid == 6 && c.failed == 1);
    assert(tally.packets == 67 && tally.bytes == 67 * 60 && tally.frames == tally.bytes);
    assert(tally.lanes == 1 && c.received_bytes == tally.bytes);
    /* Without the send side, nothing is sent back, and the queue stays free for others. */
    config.tx = 0;
    receive(&rig, ACTION_TX, 0, 60);
    worker = begin(&config);
    WAIT_FOR(seen(worker) == 1);
    assert(pair_clean(rig.pair) >= 0);
    c = end(worker);
    assert(c.invalid == 1 && c.sent == 0);
    rig_conserved(&rig);
    rig_end(&rig);
}

static void test_kept(void)
{
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    uint64_t handles[16];
    uint32_t rss[16], refused;
    uint8_t flags[16];
    struct columns columns = {.handles = handles, .rss = rss, .flags = flags};
    struct pass_ring *ring;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = META_RSS;
    rig_go(&rig);
    ring = pass_ring_new(rig.pool, 8, &error);
    assert(ring && !error && pass_ring_wait(&ring, 1, 0) == 0);
    config = config_of(&rig, &tally);
    config.pass_ring[0] = ring;
    config.tx = 0;
    for (uint32_t i = 0; i < 20; i++)
        receive(&rig, ACTION_PASS, (uint8_t)i, 60 + i);
    worker = begin(&config);
    WAIT_FOR(seen(worker) == 20);
    assert(pass_ring_wait(&ring, 1, -1) == 1 && pass_ring_count(ring) == 8);
    assert(pass_ring_recv(ring, &columns, 5) == 5);
    for (uint32_t i = 0; i < 5; i++) {
        const uint8_t *data = rig.memory + (size_t)(uint32_t)handles[i] * POOL_STRIDE;

        assert(handles[i] >> 48 == 60 + i && data[POOL_HEADROOM + 4] == i);
        assert(rss[i] == (i % 2 ? 0x11223344 : 0) && flags[i] == (i % 2 ? FLAG_RSS : 0));
    }
    /* They are the application's: sent, and given back once. */
    assert(pair_send(rig.pair, handles, NULL, NULL, 2, &refused) == 2 && !refused);
    assert(pair_release(rig.pair, handles, 5) == 3);
    assert(pass_ring_recv(ring, &columns, 16) == 3 && pass_ring_recv(ring, &columns, 16) == 0);
    assert(handles[0] >> 48 == 65 && pair_release(rig.pair, handles, 3) == 3);
    for (uint32_t i = 0; i < 6; i++)
        receive(&rig, ACTION_PASS, 0, 60);
    assert(pass_ring_wait(&ring, 1, 10000000000) == 1);
    WAIT_FOR(seen(worker) == 26);
    c = end(worker);
    assert(c.passed == 14 && c.pass_full == 12 && c.dropped == 0);
    assert(pass_ring_drop(ring, rig.pair) == 6);
    assert(pass_ring_wait(&ring, 1, -1) == 0); /* nobody will put anything in */
    rig_conserved(&rig);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) == BUFFERS); /* also of those for which the pass ring had no room */
    pass_ring_free(ring);
    rig_end(&rig);
}

struct taker {
    struct pass_ring *ring;
    struct rig *rig;
    uint32_t got;
};

static void *take(void *argument)
{
    struct taker *taker = argument;
    uint64_t handles[64];
    struct columns columns = {.handles = handles};

    while (pass_ring_wait(&taker->ring, 1, -1) > 0) {
        int n = pass_ring_recv(taker->ring, &columns, 64);

        assert(pair_release(taker->rig->pair, handles, (uint32_t)n) == n);
        taker->got += (uint32_t)n;
    }
    return NULL;
}

/* Everything at once: all actions, a taker in another thread, stops and starts, a ring that fills. */
static void test_all_at_once(void)
{
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    struct taker taker;
    pthread_t thread;
    uint32_t random = 1;
    uint64_t before;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    taker = (struct taker){pass_ring_new(rig.pool, 64, &error), &rig, 0};
    config = config_of(&rig, &tally);
    config.pass_ring[0] = taker.ring;
    config.redirects = 1;
    config.redirect[0] = rig.pair;
    worker = begin(&config);
    assert(!pthread_create(&thread, NULL, take, &taker));
    for (int cycle = 0; cycle < 20; cycle++) {
        before = seen(worker);
        for (uint32_t i = 0; i < 400; i++) {
            random = random * 1103515245 + 12345;
            receive(&rig, (random >> 16) % 6, 0, 60);
            if (i % 50 == 49)
                complete(&rig, 8);
        }
        WAIT_FOR((complete(&rig, 64), seen(worker) - before == 400));
        pair_stop(rig.pair, -ESHUTDOWN);
        pair_drain(rig.pair);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = rig.tx_tail = 0;
        assert(pair_start(rig.pair) == 0);
    }
    c = end(worker);
    pthread_join(thread, NULL);
    assert(c.received == 8000 && tally.packets == 8000 && c.invalid > 2000 && c.error == 0);
    assert(taker.got == c.passed && c.passed + c.pass_full > 1000 && c.sent > 2000);
    assert(rig.sq->posted == c.sent);
    pair_stop(rig.pair, -ESHUTDOWN);
    pair_drain(rig.pair);
    assert(pool_idle(rig.pool) == BUFFERS);
    rig_conserved(&rig);
    pass_ring_free(taker.ring);
    rig_end(&rig);
}

static void test_routes(void)
{
    struct rig a, b;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    uint32_t sent = 0;

    rig_new(&a, ENTRIES, BUFFERS);
    rig_base(&b, 64, 64);
    b.config.pool = a.pool;
    rig_go(&b);
    config = config_of(&a, &tally);
    config.redirects = 1;
    config.redirect[0] = b.pair;
    worker = begin(&config);
    /* Ring b has room for 63; the rest waits, and nothing more is taken. */
    for (uint32_t i = 0; i < 100; i++)
        receive(&a, ACTION_REDIRECT, 0, 60);
    WAIT_FOR(__atomic_load_n(&b.tx_tail, __ATOMIC_ACQUIRE) == 63);
    usleep(2000);
    assert(__atomic_load_n(&tally.packets, __ATOMIC_RELAXED) < 100);
    WAIT_FOR((sent += complete(&b, 64)) == 100);
    /* A stopped one refuses; the others go on. */
    pair_stop(b.pair, -ESHUTDOWN);
    for (uint32_t i = 0; i < 10; i++)
        receive(&a, i % 2 ? ACTION_REDIRECT : ACTION_TX, 0, 60);
    WAIT_FOR(seen(worker) == 110 && __atomic_load_n(&a.tx_tail, __ATOMIC_ACQUIRE) == 5);
    c = end(worker);
    assert(c.sent == 105 && c.refused == 5);
    pair_drain(b.pair);
    pair_free(b.pair);
    b.pair = NULL;
    pair_stop(a.pair, -ESHUTDOWN);
    pair_drain(a.pair);
    assert(pool_idle(a.pool) == BUFFERS &&
           rig_given(&a) + rig_given(&b) == rig_returned(&a) + rig_returned(&b));
    pair_free(a.pair);
    pool_free(a.pool);
    b.config.pool = NULL;
    pool_free(b.pool);
    for (struct rig *rig = &a;; rig = &b) {
        free(rig->memory);
        free(rig->rx);
        free(rig->tx);
        free(rig->rq);
        free(rig->sq);
        if (rig == &b)
            break;
    }
}

static void chain(struct rig *rig, uint32_t action, uint32_t parts)
{
    for (uint32_t k = 0; k < parts; k++) {
        WAIT_FOR(rig_rx_room(rig));
        memset(rig_rx_buffer(rig), 0, 64);
        memcpy(rig_rx_buffer(rig), &action, 4);
        rig_rx(rig, k + 1 < parts ? POOL_ROOM : 100, k + 1 < parts ? 0 : RIG_EOP);
    }
}

static void test_chains(void)
{
    struct rig rig;
    struct tally tally;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    uint64_t handles[4], chains[16];
    uint8_t segments[4];
    struct columns columns = {.handles = handles, .chain = chains, .segments = segments};
    struct pass_ring *ring;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig_go(&rig);
    ring = pass_ring_new(rig.pool, 8, &error);
    config = config_of(&rig, &tally);
    config.pass_ring[0] = ring;
    chain(&rig, ACTION_TX, 3);
    chain(&rig, ACTION_PASS, 5);
    chain(&rig, ACTION_DROP, 2);
    chain(&rig, 99, 4);
    chain(&rig, ACTION_TX, 1);
    worker = begin(&config);
    WAIT_FOR(seen(worker) == 5 && __atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE) == 4);
    assert(pass_ring_recv(ring, &columns, 4) == 1 && segments[0] == 5 && chains[3] >> 48 == 100);
    pair_release_chains(rig.pair, handles, chains, segments, 1);
    c = end(worker);
    assert(c.sent == 2 && c.passed == 1 && c.dropped == 1 && c.invalid == 1);
    assert(tally.frames == 10 * POOL_ROOM + 5 * 100 && tally.bytes == 4 * POOL_ROOM + 100);
    assert(c.received_bytes == tally.frames && rig_tx(&rig, 8) == 2);
    rig_conserved(&rig);
    pass_ring_free(ring);
    rig_end(&rig);
}

int main(void)
{
    test_refused_configs();
    test_swap();
    test_udp();
    test_verdicts();
    test_kept();
    test_routes();
    test_chains();
    test_all_at_once();
    puts("driver_handler ok");
    return 0;
}
