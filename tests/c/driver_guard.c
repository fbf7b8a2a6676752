/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may enter a side of a pair, whom a stop waits for, and what a sleeper leaves alone (docs/design.md 11). */
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "driver/eventfd.h"
#include "driver/ring/guard.h"
#include "driver/ring/vector.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256

struct holder { /* a thread that leaves a guard after a while */
    pthread_t thread;
    uint32_t *guard;
    uint32_t left;
};

static void *leaves(void *argument)
{
    struct holder *holder = argument;
    struct timespec while_ = {.tv_nsec = 30000000};

    nanosleep(&while_, NULL);
    __atomic_store_n(&holder->left, 1, __ATOMIC_SEQ_CST);
    guard_leave(holder->guard);
    return NULL;
}

static void hold(struct holder *holder, uint32_t *guard, enum guard_holder who)
{
    holder->guard = guard;
    holder->left = 0;
    __atomic_store_n(guard, (uint32_t)who, __ATOMIC_SEQ_CST);
    assert(pthread_create(&holder->thread, NULL, leaves, holder) == 0);
}

static struct queue_pair *sending;
static uint32_t holder_seen; /* of the send side, at its doorbell */

static int look_at_the_guard(struct vfio_regio *io, uint64_t offset, uint32_t value)
{
    if (sending)
        holder_seen = __atomic_load_n(&sending->tx_guard, __ATOMIC_SEQ_CST);
    return rig_write32(io, offset, value);
}

/* Who sends a frame aside is in the send side as the watchdog is: its user waits, and is not refused. */
static void test_a_frame_aside_comes_as_the_watchdog(void)
{
    struct rig rig;
    uint8_t frame[60] = {0};

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.tx_tail = NULL; /* trapped: each doorbell is a call */
    rig.regio.write32 = look_at_the_guard;
    rig_go(&rig);
    sending = rig.pair;
    assert(pair_send_aside(rig.pair, frame, sizeof(frame)) == 0);
    sending = NULL;
    assert(holder_seen == GUARD_WATCHDOG);
    rig_end(&rig);
}

/* The watchdog is in a side for a moment, so callers wait for it; a second caller is told. */
static void test_who_is_waited_for(void)
{
    struct rig rig;
    struct holder holder;
    uint64_t handle;
    struct columns columns = {.handles = &handle};
    uint32_t refused;

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(pair_alloc(rig.pair, &handle, 1) == 1);
    handle |= 60ull << 48;
    assert(guard_try(&rig.pair->tx_guard, GUARD_CALLER));
    assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == -EBUSY);
    guard_leave(&rig.pair->tx_guard);
    hold(&holder, &rig.pair->tx_guard, GUARD_WATCHDOG);
    assert(pair_send(rig.pair, &handle, NULL, NULL, 1, &refused) == 1 && holder.left);
    pthread_join(holder.thread, NULL);
    assert(guard_try(&rig.pair->rx_guard, GUARD_CALLER));
    assert(pair_recv(rig.pair, &columns, 1) == -EBUSY);
    guard_leave(&rig.pair->rx_guard);
    hold(&holder, &rig.pair->rx_guard, GUARD_WATCHDOG);
    assert(pair_recv(rig.pair, &columns, 1) == 0 && holder.left);
    pthread_join(holder.thread, NULL);
    rig_end(&rig);
}

/* Nobody is inside when a stop returns, whoever it was: the ring is drained next. */
static void test_stop_waits_for_all(void)
{
    for (int side = 0; side < 3; side++) {
        struct rig rig;
        struct holder holder;
        uint32_t *guard;

        rig_new(&rig, ENTRIES, BUFFERS);
        guard = side == 0   ? &rig.pair->rx_guard
                : side == 1 ? &rig.pair->tx_guard
                            : &rig.pair->cache_guard;
        hold(&holder, guard, GUARD_CALLER);
        pair_stop(rig.pair, -ESHUTDOWN);
        assert(holder.left);
        pthread_join(holder.thread, NULL);
        rig_end(&rig);
    }
}

/* A sleeper that wakes after a stop writes no register: the device may be in a reset, or gone
 * (docs/spec/reliability.md F31). */
static void test_wake_after_stop(void)
{
    struct rig rig;
    uint32_t writes;

    rig_new(&rig, ENTRIES, BUFFERS);
    assert(vector_sleep(rig.pair) == 0 && rig.reg[RIG_DYN_CTL / 4] == RIG_SLEEP_CTL);
    assert(vector_wake(rig.pair) == 0 && rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    assert(vector_sleep(rig.pair) == 0);
    pair_stop(rig.pair, -ESHUTDOWN);
    writes = rig.writes;
    assert(vector_wake(rig.pair) == 0 && rig.writes == writes);
    rig_end(&rig);
}

static bool event_there(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, 1, 0) == 1;
}

/* A poll that looks after the vector takes an event that nobody sleeps for, and leaves a sleeper its own. */
static void test_rearm_beside_a_sleeper(void)
{
    struct rig rig;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.event_fd = event;
    rig.config.rearm = 1;
    rig_go(&rig);
    assert(eventfd_write(event, 1) == 0);
    rig.reg[RIG_DYN_CTL / 4] = 0; /* an interrupt that fired is off */
    rig.pair->rearmed = 0;
    vector_rearm(rig.pair);
    assert(!event_there(event) && rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    assert(vector_sleep(rig.pair) == 0);
    assert(eventfd_write(event, 1) == 0);
    rig.pair->rearmed = 0;
    vector_rearm(rig.pair);
    assert(event_there(event) && rig.reg[RIG_DYN_CTL / 4] == RIG_SLEEP_CTL);
    assert(vector_wake(rig.pair) == 0);
    rig_end(&rig);
    close(event);
}

int main(void)
{
    test_who_is_waited_for();
    test_a_frame_aside_comes_as_the_watchdog();
    test_stop_waits_for_all();
    test_wake_after_stop();
    test_rearm_beside_a_sleeper();
    puts("driver_guard ok");
    return 0;
}
