/* SPDX-License-Identifier: BSD-3-Clause */
/* Cycles per packet of the driver alone: the bench plays the device outside the timed region, every
 * round is timed by a fenced rdtsc, works are interleaved, best and median are printed. Everything is
 * on: length, EOP and error checks, handle bounds, counters, guards where the work is an API call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/pair.h"

#define PASSES 64 /* bursts of one work in one turn */
#define TURNS 200
#define BUFFERS 4096
#define IOVA 0x100000000ull

struct bench {
    uint32_t burst;
    uint32_t flex;
    struct pool *pool;
    struct pair *pair;
    struct rx_desc *rx;
    struct tx_desc *tx;
    uint32_t rx_tail, tx_tail, rx_head, tx_head;
    struct rq_counters *rq;
    struct sq_counters *sq;
    struct columns columns;
    uint64_t handles[256];
    uint8_t flags[256], csum[256];
    uint16_t ptype[256], vlan[256];
    uint32_t rss[256], mark[256], time[256];
};

static inline uint64_t begin(void)
{
    uint64_t ticks;

    _mm_lfence();
    ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

static inline uint64_t end(void)
{
    uint32_t id;
    uint64_t ticks = __rdtscp(&id);

    _mm_lfence();
    return ticks;
}

static void die(const char *what)
{
    fprintf(stderr, "ring: %s\n", what);
    exit(1);
}

/* ---- the device ---- */

static void device_receive(struct bench *b, uint32_t n)
{
    uint32_t entries = b->pair->rx_entries;

    while (n--) {
        struct rx_desc *desc = &b->rx[b->rx_head];

        if (b->rx_head == b->rx_tail)
            die("receive ring ran dry");
        if (b->flex) {
            desc->qw0 = b->flex | 24u << 16 | 60ull << 32;
            desc->qw2 = 0;
            desc->qw3 = 0xffffffff;
            desc->qw1 = 0x1009ull << 0 | RXF_EOP | 0x12345678ull << 32;
        } else {
            desc->qw0 = 0x12345678ull << 32;
            desc->qw2 = 0;
            desc->qw3 = 0;
            desc->qw1 = RXL_DD | RXL_EOP | RXL_L3L4P | 3u << 12 | 24ull << 30 | 60ull << 38;
        }
        b->rx_head = b->rx_head + 1 == entries ? 0 : b->rx_head + 1;
    }
}

static void device_send(struct bench *b)
{
    uint32_t entries = b->pair->tx_entries;

    while (b->tx_head != b->tx_tail) {
        struct tx_desc *desc = &b->tx[b->tx_head];

        if (desc->qw1 & TXD_CMD_RS << TXD_CMD_SHIFT)
            desc->qw1 |= TX_DTYPE_DONE;
        b->tx_head = b->tx_head + 1 == entries ? 0 : b->tx_head + 1;
    }
}

/* ---- works: each returns the ticks of one burst ---- */

static uint64_t work_receive(struct bench *b)
{
    uint64_t t;
    int got;

    device_receive(b, b->burst);
    t = begin();
    got = pair_recv(b->pair, &b->columns, b->burst);
    t = end() - t;
    if (got != (int)b->burst)
        die("receive lost packets");
    pair_release(b->pair, b->handles, b->burst);
    return t;
}

static uint64_t work_receive_release(struct bench *b)
{
    uint64_t t;
    int got;

    device_receive(b, b->burst);
    t = begin();
    got = pair_recv(b->pair, &b->columns, b->burst);
    pair_release(b->pair, b->handles, b->burst);
    t = end() - t;
    if (got != (int)b->burst)
        die("receive lost packets");
    return t;
}

static void prepare(struct bench *b)
{
    if (pair_alloc(b->pair, b->handles, b->burst) != (int)b->burst)
        die("pool ran dry");
    for (uint32_t i = 0; i < b->burst; i++)
        b->handles[i] |= 60ull << HANDLE_LENGTH_SHIFT;
}

static uint64_t work_send(struct bench *b)
{
    uint32_t refused;
    uint64_t t;
    int sent;

    prepare(b);
    device_send(b);
    t = begin();
    sent = pair_send(b->pair, b->handles, NULL, NULL, b->burst, &refused);
    t = end() - t;
    if (sent != (int)b->burst || refused)
        die("send refused packets");
    return t;
}

static uint64_t work_forward(struct bench *b)
{
    uint32_t refused;
    uint64_t t;
    int got, sent;

    device_receive(b, b->burst);
    device_send(b);
    t = begin();
    got = pair_recv(b->pair, &b->columns, b->burst);
    sent = pair_send(b->pair, b->handles, NULL, NULL, (uint32_t)got, &refused);
    t = end() - t;
    if (sent != (int)b->burst || refused)
        die("forward lost packets");
    return t;
}

/* What a worker runs: the guards are taken once, nothing is marked as the application's. */
static uint64_t work_forward_worker(struct bench *b)
{
    uint32_t refused, got, sent;
    uint64_t t;

    device_receive(b, b->burst);
    device_send(b);
    t = begin();
    got = b->pair->receive[0](b->pair, &b->columns, b->burst, true);
    sent = send_post(b->pair, b->handles, NULL, NULL, got, &refused, true, false);
    t = end() - t;
    if (sent != b->burst || refused)
        die("forward lost packets");
    return t;
}

static uint64_t work_empty(struct bench *b)
{
    uint64_t t = begin();
    int got = pair_recv(b->pair, &b->columns, b->burst);

    t = end() - t;
    if (got)
        die("packets from nowhere");
    return t * b->burst; /* printed per call */
}

static uint64_t work_nothing(struct bench *b)
{
    uint64_t t = begin();

    (void)b;
    return end() - t;
}

static const struct work {
    const char *name;
    uint64_t (*run)(struct bench *b);
} works[] = {
    {"rx", work_receive},      {"rx+release", work_receive_release}, {"tx", work_send},
    {"forward", work_forward}, {"fwd worker", work_forward_worker},  {"empty poll", work_empty},
    {"timer", work_nothing},
};
#define WORKS (sizeof(works) / sizeof(works[0]))

static void *lines(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);

    if (!memory)
        die("out of memory");
    memset(memory, 0, (bytes + 4095) & ~(size_t)4095);
    return memory;
}

static struct bench *bench_new(uint32_t entries, uint32_t burst, uint32_t flex, uint32_t metadata,
                               uint32_t isa)
{
    struct bench *b = lines(sizeof(*b));
    uint8_t *memory = lines((size_t)BUFFERS * POOL_STRIDE);
    int error;

    b->burst = burst;
    b->flex = flex;
    b->pool = pool_new(memory, (uint64_t)BUFFERS * POOL_STRIDE, POOL_STRIDE, POOL_HEADROOM);
    b->rx = lines(entries * sizeof(*b->rx));
    b->tx = lines(entries * sizeof(*b->tx));
    b->rq = lines(sizeof(*b->rq));
    b->sq = lines(sizeof(*b->sq));
    b->columns.handles = b->handles;
    if (metadata) {
        b->columns.flags = b->flags;
        b->columns.csum = b->csum;
        b->columns.ptype = b->ptype;
        b->columns.rss = b->rss;
    }
    if (metadata & ~7u) {
        b->columns.vlan = b->vlan;
        b->columns.mark = b->mark;
        b->columns.time = b->time;
    }
    b->pair = pair_new(&(struct pair_config){.pool = b->pool,
                                             .pool_iova = IOVA,
                                             .rx_ring = b->rx,
                                             .tx_ring = b->tx,
                                             .rx_tail = &b->rx_tail,
                                             .tx_tail = &b->tx_tail,
                                             .rq = b->rq,
                                             .sq = b->sq,
                                             .rx_entries = entries,
                                             .tx_entries = entries,
                                             .buffer_size = POOL_ROOM,
                                             .max_frame = 1518,
                                             .flex = flex,
                                             .metadata = metadata,
                                             .isa = isa,
                                             .event_fd = -1},
                       &error);
    if (!b->pair || pair_arm(b->pair) || pair_start(b->pair))
        die("no pair");
    return b;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void measure(struct bench *b, const char *title)
{
    static uint64_t ticks[WORKS][TURNS];
    double timer;

    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (uint32_t w = 0; w < WORKS; w++) {
            uint64_t sum = 0;

            /* The sum, not the least: reaping and refilling come once in several bursts. */
            for (uint32_t pass = 0; pass < PASSES; pass++)
                sum += works[w].run(b);
            ticks[w][turn] = sum;
        }
    }
    for (uint32_t w = 0; w < WORKS; w++)
        qsort(ticks[w], TURNS, sizeof(ticks[w][0]), ascending);
    timer = (double)ticks[WORKS - 1][0];
    printf("%-34s", title);
    for (uint32_t w = 0; w < WORKS - 1; w++) {
        double scale = w == WORKS - 2 ? b->burst : 1; /* the timer is in every one of them */

        printf("  %s %.1f/%.1f", works[w].name,
               ((double)ticks[w][0] - timer * scale) / b->burst / PASSES,
               ((double)ticks[w][TURNS / 2] - timer * scale) / b->burst / PASSES);
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    uint32_t entries = argc > 1 ? (uint32_t)atoi(argv[1]) : 512;
    uint32_t burst = argc > 2 ? (uint32_t)atoi(argv[2]) : 32;
    uint32_t isa = argc > 3 ? (uint32_t)atoi(argv[3]) : ISA_AUTO;
    static const uint32_t metadata[] = {0, 7, 63};
    static const char *const names[] = {"none", "basic", "all"};

    if (burst > 256 || !burst)
        die("burst 1..256");
    printf("ring %u, burst %u, TSC cycles a packet (empty poll: a call), best/median of %d turns\n",
           entries, burst, TURNS);
    for (uint32_t flex = 0; flex <= 22; flex += 22) {
        for (uint32_t i = 0; i < 3; i++) {
            struct bench *b = bench_new(entries, burst, flex, metadata[i], isa);
            char title[64];

            snprintf(title, sizeof(title), "%s %s %s", pair_isa_name(b->pair),
                     flex ? "flex22" : "legacy", names[i]);
            measure(b, title);
        }
    }
    return 0;
}
