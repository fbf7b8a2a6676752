/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker's round at ring level, for bench/handlers.py: rings in plain memory, a device that this
 * program plays outside the timed region, and a handler given by its address. */
#include <stdio.h>

#include "driver/driver.h"

#define ENTRIES 512
#define BUFFERS 4096
#define IOVA 0x100000000ull
#define FRAME 60
#define PASSES 64 /* bursts of one turn: reaping and refilling come once in several */

struct bench {
    struct pool *pool;
    struct queue_pair *pair;
    struct worker *worker;
    struct rx_desc *rx;
    struct tx_desc *tx;
    uint8_t *memory;
    struct rq_counters *rq;
    struct sq_counters *sq;
    uint32_t burst, rx_head, tx_head, count;
    uint32_t regular; /* every fourth packet for the port, not one of four at random */
    uint64_t sent, swapped;
    uint32_t rx_tail LINE;
    uint32_t tx_tail;
};

/* A handler that calls a function for each packet: what a call costs. */
struct single {
    uint32_t (*function)(uint8_t *data, uint32_t length, void *state);
    void *state;
};

void bench_each(uint64_t n, uint8_t *const *data, const uint32_t *length,
                const struct handler_columns *columns, uint32_t *action, void *state);
void bench_drop_by_branch(uint64_t n, uint8_t *const *data, const uint32_t *length,
                          const struct handler_columns *columns, uint32_t *action, void *state);
struct bench *bench_new(handler_fn handler, void *state, uint32_t burst, uint32_t regular);
uint64_t bench_turn(struct bench *bench);
uint64_t bench_nothing(void);
void bench_free(struct bench *bench);
void bench_counts(const struct bench *bench, uint64_t out[5]);

void bench_each(uint64_t n, uint8_t *const *data, const uint32_t *length,
                const struct handler_columns *columns, uint32_t *action, void *state)
{
    const struct single *single = state;

    (void)columns;
    for (uint64_t i = 0; i < n; i++)
        action[i] = single->function(data[i], length[i], single->state);
}

/* handler_drop_udp as one writes it first: a branch on the port, and what it counts behind it. The
 * asm keeps the compiler from making arithmetic of it. */
void bench_drop_by_branch(uint64_t n, uint8_t *const *data, const uint32_t *length,
                          const struct handler_columns *columns, uint32_t *action, void *state)
{
    uint64_t *counted = state;

    (void)columns;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *at = data[i];

        action[i] = ACTION_TX;
        if (length[i] < 42 || at[12] != 8 || at[13] || at[14] != 0x45 || at[23] != 17 ||
            ((uint32_t)at[36] << 8 | at[37]) != counted[0])
            continue;
        __asm__ volatile("" ::: "memory");
        counted[1]++;
        action[i] = ACTION_DROP;
    }
}

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

/* handler NULL: WORKER_FORWARD with swapped addresses. `regular`: see write_packet. */
struct bench *bench_new(handler_fn handler, void *state, uint32_t burst, uint32_t regular)
{
    struct bench *bench = lines_alloc(sizeof(*bench));
    struct worker_config config = {
        .pairs = 1, .burst = burst, .macs = FORWARD_SWAP, .cpu = -1, .tx = 1};
    struct pair_config pair = {.rx_entries = ENTRIES, .tx_entries = ENTRIES, .event_fd = -1};
    int error = 0;

    bench->burst = burst;
    bench->regular = regular;
    bench->memory = lines_alloc((size_t)BUFFERS * POOL_STRIDE);
    bench->pool =
        pool_new(bench->memory, (uint64_t)BUFFERS * POOL_STRIDE, POOL_STRIDE, POOL_HEADROOM);
    pair.rx_ring = bench->rx = aligned_alloc(4096, ENTRIES * sizeof(*bench->rx));
    pair.tx_ring = bench->tx = aligned_alloc(4096, ENTRIES * sizeof(*bench->tx));
    pair.rq = bench->rq = lines_alloc(sizeof(*bench->rq));
    pair.sq = bench->sq = lines_alloc(sizeof(*bench->sq));
    pair.pool = bench->pool;
    pair.pool_iova = IOVA;
    pair.rx_tail = &bench->rx_tail;
    pair.tx_tail = &bench->tx_tail;
    pair.buffer_size = POOL_ROOM;
    pair.max_frame = 1518;
    bench->pair = pair_new(&pair, &error);
    if (!bench->pair || pair_arm(bench->pair) || pair_start(bench->pair))
        return NULL;
    config.mode = handler ? WORKER_HANDLER : WORKER_FORWARD;
    config.pair[0] = bench->pair;
    config.handler = handler;
    config.state = state;
    bench->worker = setup_worker(&config, &error);
    return bench->worker ? bench : NULL;
}

void bench_free(struct bench *bench)
{
    setup_undo(bench->worker);
    pair_free(bench->pair);
    pool_free(bench->pool);
    free(bench->memory);
    free(bench->rx);
    free(bench->tx);
    free(bench->rq);
    free(bench->sq);
    free(bench);
}

/* IPv4 UDP; one of four goes to port 53: in no order that a branch predictor could learn, or regularly. */
static void write_packet(struct bench *bench, uint8_t *data)
{
    static const uint8_t head[24] = {2, 0, 0,    0, 0, 1,  2, 0, 0, 0, 0,  2,
                                     8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17};

    memcpy(data, head, sizeof(head));
    data[36] = 0;
    bench->count = bench->regular ? bench->count + (1u << 30) : bench->count * 1103515245 + 12345;
    data[37] = bench->count >> 30 ? 54 : 53;
}

static void device(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->burst; i++) {
        struct rx_desc *desc = &bench->rx[bench->rx_head];

        write_packet(bench, bench->memory + (desc->qw0 - IOVA));
        desc->qw1 = RXL_DD | RXL_EOP | (uint64_t)FRAME << RXL_LEN_SHIFT;
        bench->rx_head = (bench->rx_head + 1) % ENTRIES;
    }
    while (bench->tx_head != bench->tx_tail) {
        struct tx_desc *desc = &bench->tx[bench->tx_head];

        bench->sent++;
        bench->swapped += bench->memory[desc->addr - IOVA + 5] == 2;
        if (desc->qw1 & (uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT)
            desc->qw1 |= TX_DTYPE_DONE;
        bench->tx_head = (bench->tx_head + 1) % ENTRIES;
    }
}

/* Ticks of PASSES bursts, 0 when one of them was not handled as a whole. */
uint64_t bench_turn(struct bench *bench)
{
    uint64_t sum = 0;

    for (uint32_t pass = 0; pass < PASSES; pass++) {
        uint64_t ticks;
        uint32_t moved;

        device(bench);
        ticks = begin();
        moved = thread_round(bench->worker);
        sum += end() - ticks;
        if (moved != bench->burst)
            return 0;
    }
    return sum;
}

/* What the timer itself takes, of PASSES bursts. */
uint64_t bench_nothing(void)
{
    uint64_t sum = 0;

    for (uint32_t pass = 0; pass < PASSES; pass++) {
        uint64_t ticks = begin();

        sum += end() - ticks;
    }
    return sum;
}

/* received, sent, dropped, packets that the device saw, of them with swapped addresses */
void bench_counts(const struct bench *bench, uint64_t out[5])
{
    out[0] = bench->worker->total.received;
    out[1] = bench->worker->total.sent;
    out[2] = bench->worker->total.dropped;
    out[3] = bench->sent;
    out[4] = bench->swapped;
}
