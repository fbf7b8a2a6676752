/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers on a queue pair whose device loops every frame back (loop.h). */
#include <sys/mman.h>

#include "loop.h"

#define ENTRIES 128
#define BUFFERS 2048
#define SIGNATURE 0x1122334455667788ull

static struct worker_config config_of(struct rig *rig, uint32_t mode)
{
    return (struct worker_config){
        .mode = mode,
        .pairs = 1,
        .pair = {rig->pair},
        .burst = 32,
        .signature = SIGNATURE,
        .sizes = 1,
        .size = {60},
        .dst = {{2, 0, 0, 0, 0, 1}},
        .src = {{2, 0, 0, 0, 0, 1}},
        .flows = 5,
        .cpu = -1,
    };
}

static struct worker_counters finish(struct worker *worker)
{
    struct worker_counters counters;

    while (__atomic_load_n(&worker_counters(worker)->state, __ATOMIC_ACQUIRE) != 3)
        usleep(500);
    worker_stop(worker);
    counters = *worker_counters(worker);
    worker_free(worker);
    return counters;
}

/* A worker that sends `limit` packets and checks what comes back. */
static struct worker_counters loopback(struct rig *rig, enum fault fault, uint64_t limit,
                                       uint64_t *faults, uint32_t jumbo)
{
    static struct loop loop;
    struct worker_config config = config_of(rig, WORKER_LOOPBACK);
    struct worker *worker;
    struct worker_counters counters;
    int error;

    memset(&loop, 0, sizeof(loop));
    loop.fault = fault;
    loop.fault_at = 100;
    config.limit = limit;
    config.verify = 1;
    config.sizes = 4;
    memcpy(config.size, (uint16_t[]){60, 61, 1514, jumbo ? 9000 : 127}, 8);
    loop_start(&loop, rig);
    worker = worker_start(&config, &error);
    assert(worker && !error);
    while (__atomic_load_n(&worker_counters(worker)->sent, __ATOMIC_RELAXED) < limit)
        usleep(500);
    worker_finish(worker, 600, 20000);
    counters = finish(worker);
    *faults = loop.faults;
    loop_end(&loop);
    assert(counters.sent == limit && counters.alloc_fail == 0 && counters.refused == 0);
    assert(counters.foreign == 0 && counters.error == 0);
    return counters;
}

static void test_loopback(void)
{
    struct rig rig;
    struct worker_counters c;
    uint64_t faults;

    rig_new(&rig, ENTRIES, BUFFERS);
    c = loopback(&rig, FAULT_NONE, 20000, &faults, 0);
    assert(c.received == 20000 && c.received_bytes == 5000 * (60 + 61 + 1514 + 127));
    assert(c.sent_bytes == c.received_bytes);
    assert(!c.lost && !c.duplicated && !c.reordered && !c.corrupted);
    c = loopback(&rig, FAULT_LOSE, 5010, &faults, 0);
    assert(faults == 50 && c.received == 5010 - 50 && c.lost == 50 && !c.corrupted);
    c = loopback(&rig, FAULT_REPEAT, 5010, &faults, 0);
    assert(c.received == 5010 + 50 && c.duplicated == 50 && !c.lost && !c.reordered);
    c = loopback(&rig, FAULT_SPOIL, 5010, &faults, 0);
    assert(c.received == 5010 && c.corrupted == 50);
    rig_conserved(&rig);
    assert(rig.sq->posted == rig.sq->packets);
    rig_end(&rig);
}

static void test_reordered(void)
{
    struct rig rig;
    struct worker_counters c;
    uint64_t faults;
    static struct loop loop;
    struct worker_config config;
    struct worker *worker;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    /* With one flow, neighbours swap; with five, neighbours belong to different flows. */
    c = loopback(&rig, FAULT_SWAP, 5010, &faults, 0);
    assert(faults == 50 && c.received == 5010 && !c.reordered && !c.lost);
    config = config_of(&rig, WORKER_LOOPBACK);
    config.flows = 1;
    config.limit = 5010;
    config.verify = 1;
    memset(&loop, 0, sizeof(loop));
    loop.fault = FAULT_SWAP;
    loop.fault_at = 100;
    loop_start(&loop, &rig);
    worker = worker_start(&config, &error);
    assert(worker);
    while (__atomic_load_n(&worker_counters(worker)->sent, __ATOMIC_RELAXED) < 5010)
        usleep(500);
    worker_finish(worker, 600, 20000);
    c = finish(worker);
    loop_end(&loop);
    assert(c.received == 5010 && c.reordered == 50 && !c.lost && !c.duplicated && !c.corrupted);
    rig_end(&rig);
}

static void test_jumbo(void)
{
    struct rig rig;
    struct worker_counters c;
    uint64_t faults;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.scattered = 1;
    rig_go(&rig);
    c = loopback(&rig, FAULT_NONE, 4000, &faults, 1);
    assert(c.received == 4000 && c.received_bytes == 1000 * (60 + 61 + 1514 + 9000));
    assert(!c.lost && !c.duplicated && !c.reordered && !c.corrupted);
    assert(rig.rq->fragments == 1000 * 4);
    rig_conserved(&rig);
    rig_end(&rig);
}

/* The pair belongs to the worker; a stop takes it away within a round, a start gives it back. */
static void test_stop_start(void)
{
    struct rig rig;
    static struct loop loop;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker, *second;
    uint64_t handles[8], sent = 0;
    uint32_t refused;
    struct columns columns = {.handles = handles};
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, WORKER_LOOPBACK);
    memset(&loop, 0, sizeof(loop));
    loop_start(&loop, &rig);
    worker = worker_start(&config, &error);
    assert(worker);
    assert(pair_recv(rig.pair, &columns, 8) == -EBUSY);
    assert(pair_send(rig.pair, handles, NULL, NULL, 0, &refused) == -EBUSY);
    second = worker_start(&config, &error);
    assert(!second && error == -EBUSY);
    for (int cycle = 0; cycle < 30; cycle++) {
        while (__atomic_load_n(&worker_counters(worker)->sent, __ATOMIC_RELAXED) < sent + 500)
            usleep(200);
        /* Another thread may allocate and give back beside it. */
        assert(rig_take(&rig, handles, 8) == 8);
        assert(rig_give(&rig, handles, 8) == 8);
        pair_stop(rig.pair, -ESHUTDOWN);
        loop_end(&loop);
        pair_drain(rig.pair);
        /* A batch may wait in the worker for its turn. */
        assert(pool_idle(rig.pool) >= BUFFERS - 32);
        assert(pair_arm(rig.pair) == 0);
        rig.rx_head = rig.tx_head = rig.tx_tail = 0;
        memset(&loop, 0, sizeof(loop));
        assert(pair_start(rig.pair) == 0);
        loop_start(&loop, &rig);
        sent = __atomic_load_n(&worker_counters(worker)->sent, __ATOMIC_RELAXED);
    }
    worker_finish(worker, 600, 20000);
    c = finish(worker);
    loop_end(&loop);
    assert(c.sent == rig.sq->posted && rig.sq->posted == rig.sq->packets + rig.sq->drop_reset);
    assert(c.received == rig.rq->packets);
    rig_conserved(&rig);
    /* A lost device ends a worker with its errno. */
    config.limit = 1;
    worker = worker_start(&config, &error);
    assert(worker);
    pair_stop(rig.pair, -ENODEV);
    c = finish(worker);
    assert(c.error == -ENODEV && c.state == 3);
    rig_end(&rig);
}

static void test_forward(void)
{
    struct rig rig;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, WORKER_FORWARD);
    config.macs = FORWARD_SWAP;
    for (int i = 0; i < 90; i++) {
        memcpy(rig_rx_buffer(&rig), "AAAAAABBBBBB", 12);
        rig_rx(&rig, i == 7 ? 16 : 60, RIG_EOP); /* one cannot be sent */
    }
    worker = worker_start(&config, &error);
    assert(worker);
    while (__atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE) != 89)
        usleep(200);
    assert(!memcmp(rig.memory + (rig.tx[88].addr - RIG_IOVA), "BBBBBBAAAAAA", 12));
    /* The ring is full beyond this: the rest waits in the worker, and comes back at its end. */
    for (int i = 0; i < 60; i++) {
        rig_rx_buffer(&rig);
        rig_rx(&rig, 60, RIG_EOP);
    }
    while (__atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE) != ENTRIES - 1)
        usleep(200);
    usleep(2000);
    worker_stop(worker);
    c = *worker_counters(worker);
    worker_free(worker);
    /* How many it took before the ring was full depends on who was faster. */
    assert(c.received >= ENTRIES && c.received <= 90 + 60);
    assert(c.sent == ENTRIES - 1 && c.refused == c.received - c.sent);
    rig_conserved(&rig);
    rig_end(&rig);
}

/* A frame that is forwarded leaves from the worker's own address: to where it came from, or to a
 * destination that was asked for. */
static void test_forward_own(void)
{
    for (int named = 0; named < 2; named++) {
        struct rig rig;
        struct worker_config config;
        struct worker *worker;
        int error;

        rig_new(&rig, ENTRIES, BUFFERS);
        config = config_of(&rig, WORKER_FORWARD);
        config.macs = FORWARD_OWN;
        memcpy(config.src[0], "OOOOOO", 6);
        memcpy(config.dst[0], named ? "NNNNNN" : "\0\0\0\0\0\0", 6);
        memcpy(rig_rx_buffer(&rig), "AAAAAABBBBBBxy", 14);
        rig_rx(&rig, 60, RIG_EOP);
        worker = worker_start(&config, &error);
        assert(worker);
        while (__atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE) != 1)
            usleep(200);
        assert(!memcmp(rig.memory + (rig.tx[0].addr - RIG_IOVA),
                       named ? "NNNNNNOOOOOOxy" : "BBBBBBOOOOOOxy", 14));
        worker_free(worker);
        rig_conserved(&rig);
        rig_end(&rig);
    }
}

/* What is measured ends with the window, whatever the draining brings; a window that nothing closes
 * ends with the worker. */
static void test_window(void)
{
    const uint64_t asked = 30000000;
    static struct loop loop;
    struct rig rig;
    struct worker_config config;
    struct worker_counters window, total;
    struct worker *worker;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, WORKER_LOOPBACK);
    config.window_ns = asked;
    memset(&loop, 0, sizeof(loop));
    loop_start(&loop, &rig);
    worker = worker_start(&config, &error);
    assert(worker && !worker_window(worker));
    while (!worker_window(worker))
        usleep(200);
    window = *worker_window(worker);
    assert(window.stop_ns - window.start_ns >= asked && window.sent);
    worker_finish(worker, 600, 20000);
    total = finish(worker);
    assert(total.sent == window.sent && total.received == total.sent);
    assert(window.received <= total.received && window.stop_ns < total.stop_ns);
    rig_conserved(&rig);

    /* Frames that never stop coming do not keep the worker beyond its bound. */
    config = config_of(&rig, WORKER_RXDROP);
    worker = worker_start(&config, &error);
    assert(worker);
    worker_finish(worker, 1000000, 20);
    total = finish(worker);
    assert(total.state == 3);

    config.limit = 1;
    worker = worker_start(&config, &error);
    assert(worker && !worker_window(worker));
    worker_stop(worker);
    assert(worker_window(worker) &&
           worker_window(worker)->stop_ns <= worker_counters(worker)->stop_ns);
    worker_free(worker);
    loop_end(&loop);
    rig_end(&rig);
}

static void test_idle(void)
{
    struct rig rig;
    struct worker_config config;
    struct worker_counters c;
    struct worker *worker;
    uint64_t one = 1;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    config = config_of(&rig, WORKER_RXDROP);
    worker = worker_start(&config, &error);
    assert(worker);
    while (rig_read32(&rig.regio, RIG_DYN_CTL) != RIG_SLEEP_CTL)
        usleep(200);
    /* Asleep: armed once, not again and again. */
    error = (int)__atomic_load_n(&rig.writes, __ATOMIC_SEQ_CST);
    usleep(20000);
    assert((int)__atomic_load_n(&rig.writes, __ATOMIC_SEQ_CST) == error);
    rig_rx(&rig, 60, RIG_EOP);
    assert(write(rig.config.event_fd, &one, 8) == 8);
    while (__atomic_load_n(&rig.rq->packets, __ATOMIC_RELAXED) != 1)
        usleep(200);
    worker_stop(worker);
    c = *worker_counters(worker);
    worker_free(worker);
    assert(c.received == 1 && c.received_bytes == 60 && c.state == 3);
    assert(rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    close(rig.config.event_fd);
    rig_end(&rig);
}

/* The quota is shared by all workers of a run: one that finds nothing must not write to it. Here a write would
 * end the process. */
static void test_empty_polls_write_no_quota(void)
{
    struct rig rig;
    struct worker_config config;
    struct worker *worker;
    struct worker_quota *quota =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct worker_counters c;
    int error;

    assert(quota != MAP_FAILED);
    quota->limit = 1;
    rig_new(&rig, ENTRIES, BUFFERS);
    config = config_of(&rig, WORKER_RXDROP);
    config.quota = quota;
    assert(!mprotect(quota, 4096, PROT_READ));
    worker = worker_start(&config, &error);
    assert(worker);
    while (__atomic_load_n(&rig.rq->empty_polls, __ATOMIC_RELAXED) < 100)
        usleep(200);
    assert(!mprotect(quota, 4096, PROT_READ | PROT_WRITE));
    rig_rx(&rig, 60, RIG_EOP);
    rig_rx(&rig, 60, RIG_EOP);
    while (__atomic_load_n(&quota->moved, __ATOMIC_RELAXED) != 1)
        usleep(200);
    worker_stop(worker);
    c = *worker_counters(worker);
    worker_free(worker);
    assert(c.received == 1 && quota->taken == 1); /* the second one stays for others */
    rig_end(&rig);
    munmap(quota, 4096);
}

int main(void)
{
    test_forward();
    test_empty_polls_write_no_quota();
    test_forward_own();
    test_window();
    test_idle();
    test_loopback();
    test_reordered();
    test_jumbo();
    test_stop_start();
    puts("driver_worker ok");
    return 0;
}
