/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for one of several pairs, and descriptors for select and epoll: no packet is overlooked, and nobody
 * keeps a guard or an armed interrupt afterwards (docs/spec/reliability.md F47). */
#include <pthread.h>
#include <sys/epoll.h>

#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define PAIRS 3
#define FOREVER (-1)

struct rigs {
    struct rig rig[PAIRS];
    struct queue_pair *pair[PAIRS];
    bool shared; /* the last two have one vector */
};

static struct rig *owner(struct rigs *rigs, uint32_t i)
{
    return &rigs->rig[rigs->shared && i == PAIRS - 1 ? i - 1 : i];
}

static void setup(struct rigs *rigs, bool shared)
{
    rigs->shared = shared;
    for (uint32_t i = 0; i < PAIRS; i++) {
        struct rig *rig = &rigs->rig[i];

        rig_base(rig, ENTRIES, BUFFERS);
        if (owner(rigs, i) != rig) {
            rig->config.companion = owner(rigs, i)->pair;
            rig->config.event_fd = owner(rigs, i)->config.event_fd;
        } else {
            rig->config.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            assert(rig->config.event_fd >= 0);
        }
        rig_go(rig);
        rigs->pair[i] = rig->pair;
    }
}

static void teardown(struct rigs *rigs)
{
    for (uint32_t i = PAIRS; i--;) {
        if (owner(rigs, i) == &rigs->rig[i])
            close(rigs->rig[i].config.event_fd);
        rig_end(&rigs->rig[i]);
    }
}

static void interrupt(struct rigs *rigs, uint32_t i)
{
    uint64_t one = 1;

    assert(write(rigs->rig[i].config.event_fd, &one, sizeof(one)) == sizeof(one));
}

static uint32_t vector_of(struct rigs *rigs, uint32_t i)
{
    return rig_read32(&owner(rigs, i)->regio, RIG_DYN_CTL);
}

static int take(struct queue_pair *pair, uint32_t max)
{
    uint64_t handles[32];
    struct columns columns = {.handles = handles};
    int got = pair_recv(pair, &columns, max);

    if (got > 0)
        assert(pair_release(pair, handles, (uint32_t)got) == got);
    return got;
}

/* ---- one of several ---- */

struct sleeper {
    struct rigs *rigs;
    int result;
};

static void *sleep_on_all(void *argument)
{
    struct sleeper *sleeper = argument;

    sleeper->result = pair_wait_any(sleeper->rigs->pair, PAIRS, FOREVER);
    return NULL;
}

static void wait_asleep(struct rigs *rigs)
{
    for (uint32_t i = 0; i < PAIRS; i++)
        while (vector_of(rigs, i) != RIG_SLEEP_CTL)
            usleep(100);
}

static void check_polling(struct rigs *rigs)
{
    for (uint32_t i = 0; i < PAIRS; i++)
        assert(vector_of(rigs, i) == RIG_POLL_CTL);
}

static void test_arguments(void)
{
    struct queue_pair *many[WAIT_PAIRS + 1];
    struct rigs rigs;

    setup(&rigs, false);
    for (uint32_t i = 0; i <= WAIT_PAIRS; i++)
        many[i] = rigs.pair[0];
    assert(pair_wait_any(rigs.pair, 0, 0) == -EINVAL);
    assert(pair_wait_any(many, WAIT_PAIRS + 1, 0) == -EINVAL);
    assert(pair_wait_any(many, 2, 0) == -EBUSY); /* one pair twice: the second finds the first */
    assert(pair_wait_any(rigs.pair, PAIRS, 0) == 0);
    assert(pair_wait_any(rigs.pair, PAIRS, 2000000) == 0); /* a timeout is no error */
    check_polling(&rigs);
    for (uint32_t i = 0; i < PAIRS; i++) {
        rig_rx(&rigs.rig[i], 60, RIG_EOP);
        assert(pair_wait_any(rigs.pair, PAIRS, FOREVER) == 1);
        assert(take(rigs.pair[i], 32) == 1); /* it took nothing, and left every guard */
    }
    pair_stop(rigs.pair[1], -ENODEV);
    assert(pair_wait_any(rigs.pair, PAIRS, FOREVER) == -ENODEV);
    assert(take(rigs.pair[0], 32) == 0 && take(rigs.pair[2], 32) == 0);
    teardown(&rigs);
}

/* Each pair wakes the sleeper, and so does a stop of any. Meanwhile no other thread may receive. */
static void test_each_pair_wakes(bool shared)
{
    struct rigs rigs;
    struct sleeper sleeper = {.rigs = &rigs};
    pthread_t thread;

    setup(&rigs, shared);
    for (uint32_t i = 0; i < PAIRS; i++) {
        pthread_create(&thread, NULL, sleep_on_all, &sleeper);
        wait_asleep(&rigs);
        for (uint32_t k = 0; k < PAIRS; k++)
            assert(take(rigs.pair[k], 32) == -EBUSY);
        interrupt(&rigs, i); /* a spurious one ends nothing */
        rig_rx(&rigs.rig[i], 60, RIG_EOP);
        interrupt(&rigs, i);
        pthread_join(thread, NULL);
        assert(sleeper.result == 1);
        check_polling(&rigs);
        assert(take(rigs.pair[i], 32) == 1);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        pthread_create(&thread, NULL, sleep_on_all, &sleeper);
        wait_asleep(&rigs);
        pair_stop(rigs.pair[i], -ESHUTDOWN);
        pthread_join(thread, NULL);
        assert(sleeper.result == -ESHUTDOWN);
        pair_drain(rigs.pair[i]);
        assert(pair_arm(rigs.pair[i]) == 0);
        rigs.rig[i].rx_head = rigs.rig[i].tx_head = rigs.rig[i].tx_tail = 0;
        assert(pair_start(rigs.pair[i]) == 0);
    }
    teardown(&rigs);
}

/* A packet may come at any point of going to sleep. */
static void test_no_lost_wakeup(bool shared)
{
    struct rigs rigs;
    struct sleeper sleeper = {.rigs = &rigs};
    pthread_t thread;

    setup(&rigs, shared);
    for (uint32_t round = 0; round < 150; round++) {
        uint32_t i = round % PAIRS;

        pthread_create(&thread, NULL, sleep_on_all, &sleeper);
        for (uint32_t spin = 0; spin < round * 100; spin++)
            __asm__ volatile("");
        rig_rx(&rigs.rig[i], 60, RIG_EOP);
        interrupt(&rigs, i);
        pthread_join(thread, NULL);
        assert(sleeper.result == 1 && take(rigs.pair[i], 32) == 1);
    }
    check_polling(&rigs);
    teardown(&rigs);
}

/* A pair whose device has no buffers cannot interrupt: buffers that come back reach the device all the same. */
static void test_starved(void)
{
    struct rigs rigs;
    struct sleeper sleeper = {.rigs = &rigs};
    uint64_t all[BUFFERS];
    struct columns columns = {.handles = all};
    uint32_t held = 0;
    pthread_t thread;
    struct rig *rig = &rigs.rig[1];

    setup(&rigs, false);
    held = rig_take(rig, all, BUFFERS);
    while (rig_rx_room(rig)) {
        columns.handles = all + held;
        rig_rx(rig, 60, RIG_EOP);
        assert(pair_recv(rig->pair, &columns, 1) == 1);
        held++;
    }
    pthread_create(&thread, NULL, sleep_on_all, &sleeper);
    wait_asleep(&rigs);
    assert(rig_give(rig, all, held) == held);
    while (!rig_rx_room(rig))
        usleep(100);
    rig_rx_raw(rig, 0, 3 | 60ull << 38, 0, 0);
    interrupt(&rigs, 1);
    pthread_join(thread, NULL);
    assert(sleeper.result == 1 && take(rig->pair, 32) == 1);
    teardown(&rigs);
}

/* ---- a descriptor ---- */

static bool readable(int epoll_fd)
{
    struct epoll_event event;

    return epoll_wait(epoll_fd, &event, 1, 0) == 1;
}

static void test_descriptor(bool shared)
{
    struct rigs rigs;
    uint32_t last = PAIRS - 1;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    assert(epoll_fd >= 0);
    setup(&rigs, shared);
    rig_rx(&rigs.rig[last], 60, RIG_EOP);
    assert(pair_watch(rigs.pair[last], epoll_fd) == 0);
    assert(pair_watch(rigs.pair[last], epoll_fd) == 0); /* twice is as once */
    assert(readable(epoll_fd)); /* it had come before */
    assert(take(rigs.pair[last], 32) == 1 && readable(epoll_fd)); /* nobody has seen the end yet */
    assert(take(rigs.pair[last], 32) == 0 && !readable(epoll_fd));
    assert(vector_of(&rigs, last) == RIG_SLEEP_CTL);
    for (int round = 0; round < 20; round++) {
        rig_rx(&rigs.rig[last], 60, RIG_EOP);
        rig_rx(&rigs.rig[last], 60, RIG_EOP);
        interrupt(&rigs, last);
        assert(readable(epoll_fd));
        assert(take(rigs.pair[last], 1) == 1 && readable(epoll_fd)); /* one more waits */
        assert(take(rigs.pair[last], 1) == 1);
        assert(take(rigs.pair[last], 1) == 0 && !readable(epoll_fd));
    }
    interrupt(&rigs, last); /* for nothing */
    assert(readable(epoll_fd));
    assert(take(rigs.pair[last], 32) == 0 && !readable(epoll_fd));
    /* A wait inside of it takes the event; the descriptor stays right. */
    rig_rx(&rigs.rig[last], 60, RIG_EOP);
    interrupt(&rigs, last);
    assert(pair_wait_any(rigs.pair, PAIRS, FOREVER) == 1 && readable(epoll_fd));
    assert(vector_of(&rigs, last) == RIG_SLEEP_CTL); /* it is watched still */
    assert(take(rigs.pair[last], 32) == 1);
    assert(take(rigs.pair[last], 32) == 0 && !readable(epoll_fd));
    pair_stop(rigs.pair[last], -ENODEV);
    assert(readable(epoll_fd)); /* who waits learns of it */
    pair_unwatch(rigs.pair[last], epoll_fd);
    assert(!readable(epoll_fd));
    close(epoll_fd);
    teardown(&rigs);
}

/* As when Python collects a pair before the one who watches it. */
static void test_freed_before_its_watcher(bool shared)
{
    struct rigs rigs;
    struct queue_pair *pair;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    setup(&rigs, shared);
    pair = rigs.pair[PAIRS - 1];
    assert(epoll_fd >= 0 && pair_watch(pair, epoll_fd) == 0);
    teardown(&rigs);
    assert(readable(epoll_fd)); /* who waits still learns of it */
    pair_unwatch(pair, epoll_fd);
    assert(!readable(epoll_fd));
    close(epoll_fd);
}

static void test_descriptor_without_an_interrupt(void)
{
    struct rig rig;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    rig_new(&rig, ENTRIES, BUFFERS); /* its event_fd is -1 */
    assert(epoll_fd >= 0 && pair_watch(rig.pair, epoll_fd) == -ENOTSUP);
    assert(!readable(epoll_fd));
    close(epoll_fd);
    rig_end(&rig);
}

#define FRAMES 3000u

struct watcher {
    struct rigs *rigs;
    int epoll_fd;
    uint32_t received;
};

/* As an event loop does: sleep until it is readable, then receive until nothing is there. */
static void *event_loop(void *argument)
{
    struct watcher *watcher = argument;
    struct epoll_event event;

    while (watcher->received < FRAMES) {
        int got;

        assert(epoll_wait(watcher->epoll_fd, &event, 1, -1) == 1 || errno == EINTR);
        while ((got = take(watcher->rigs->pair[1], 8)) > 0)
            watcher->received += (uint32_t)got;
        assert(got == 0);
    }
    return NULL;
}

/* The device interrupts whenever the vector is armed, as a real one; a loop that sleeps on the descriptor gets
 * every packet. Another thread watches and unwatches a pair of the same vector meanwhile. */
static void test_event_loop(bool shared)
{
    struct rigs rigs;
    struct watcher watcher = {.rigs = &rigs, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    int other = epoll_create1(EPOLL_CLOEXEC);
    pthread_t thread;

    assert(watcher.epoll_fd >= 0 && other >= 0);
    setup(&rigs, shared);
    assert(pair_watch(rigs.pair[1], watcher.epoll_fd) == 0);
    pthread_create(&thread, NULL, event_loop, &watcher);
    for (uint32_t sent = 0; sent < FRAMES;) {
        uint32_t n = rig_rx_room(&rigs.rig[1]);

        for (n = n < 1 + sent % 5 ? n : 1 + sent % 5; n && sent < FRAMES; n--, sent++)
            rig_rx_raw(&rigs.rig[1], 0, 3 | 60ull << 38, 0, 0);
        interrupt(&rigs, 1);
        if (sent % 7 == 0) {
            assert(pair_watch(rigs.pair[2], other) == 0);
            pair_unwatch(rigs.pair[2], other);
        }
    }
    pthread_join(thread, NULL);
    assert(watcher.received == FRAMES);
    pair_unwatch(rigs.pair[1], watcher.epoll_fd);
    check_polling(&rigs);
    close(watcher.epoll_fd);
    close(other);
    teardown(&rigs);
}

int main(void)
{
    test_arguments();
    test_starved();
    test_descriptor_without_an_interrupt();
    for (int shared = 0; shared < 2; shared++) {
        test_each_pair_wakes(shared);
        test_no_lost_wakeup(shared);
        test_descriptor(shared);
        test_freed_before_its_watcher(shared);
        test_event_loop(shared);
    }
    puts("driver_watch ok");
    return 0;
}
