/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping, waking and stopping with more than one thread. */
#include <pthread.h>
#include <sys/resource.h>

#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1024

static struct columns plain(uint64_t *handles)
{
    return (struct columns){.handles = handles};
}

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

/* A poll that fails costs the queue nothing: the sleeper looks again (docs/spec/reliability.md F68). Here it
 * fails because it names more files than the process may have open. */
static void test_failed_poll(void)
{
    struct rig rig;
    struct rlimit limit, none;
    uint64_t handles[32];
    struct columns columns = plain(handles);

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    assert(!getrlimit(RLIMIT_NOFILE, &limit));
    none = (struct rlimit){.rlim_cur = 1, .rlim_max = limit.rlim_max};
    assert(!setrlimit(RLIMIT_NOFILE, &none));
    assert(pair_recv_wait(rig.pair, &columns, 32, 2000000) == 0);
    assert(pair_wait_any(&rig.pair, 1, 2000000) == 0);
    assert(!setrlimit(RLIMIT_NOFILE, &limit));
    rig_rx(&rig, 60, RIG_EOP);
    assert(pair_recv_wait(rig.pair, &columns, 32, -1) == 1);
    pair_release(rig.pair, handles, 1);
    close(rig.config.event_fd);
    rig_end(&rig);
}

/* A packet may come at any point of going to sleep: it is always delivered (docs/spec/reliability.md F47). */
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

/* What an E810 has of the ring: it ignores the low three bits of the tail (docs/spec/registers.md 4). */
static uint32_t e810_room(struct rig *rig)
{
    uint32_t tail = __atomic_load_n(&rig->rx_tail, __ATOMIC_ACQUIRE) & ~7u;

    return (tail + ENTRIES - rig->rx_head) % ENTRIES;
}

/* The pool runs dry until an E810 has no descriptor, though the tail is ahead of its head. A receiver that sleeps
 * then gets buffers that another thread gives back. */
static void test_starved_e810(uint32_t left)
{
    struct rig rig;
    struct sleeper sleeper = {.rig = &rig, .timeout_ns = -1};
    uint64_t handles[32], all[BUFFERS], one = 1;
    struct columns columns = plain(handles);
    uint32_t held = 0;
    pthread_t thread;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = eventfd(0, EFD_CLOEXEC);
    rig_go(&rig);
    held = rig_take(&rig, all, BUFFERS);
    assert(rig_give(&rig, all + held - left, left) == left);
    held -= left;
    while (e810_room(&rig)) { /* the application keeps what it gets */
        rig_rx(&rig, 60, RIG_EOP);
        assert(pair_recv(rig.pair, &columns, 1) == 1);
        all[held++] = handles[0];
    }
    assert(rig.rq->alloc_page_fail);
    pthread_create(&thread, NULL, sleep_in_recv, &sleeper);
    wait_asleep(&rig);
    assert(rig_give(&rig, all, held) == held);
    while (!e810_room(&rig))
        usleep(100);
    rig_rx(&rig, 60, RIG_EOP);
    assert(write(rig.config.event_fd, &one, 8) == 8);
    pthread_join(thread, NULL);
    assert(sleeper.result == 1);
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
            assert(rig_give(&rig, handles, 4) == 4);
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

int main(void)
{
    test_wait();
    test_failed_poll();
    test_no_lost_wakeup();
    for (uint32_t left = 0; left < 40; left++)
        test_starved_e810(left);
    test_stop_race();
    puts("driver_wait ok");
    return 0;
}
