/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping on a queue's interrupt without a lost wake-up: arm, look at the ring once more, then wait
 * (docs/design.md 3, docs/spec/reliability.md F47). A cause that came while the vector was off fires when
 * the vector is armed, so nothing falls between the look and the wait. What pairs do that share a vector is
 * said in vector.h. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/pair/watch.h"
#include "driver/ring/guard.h"
#include "driver/ring/vector.h"
#include "driver/ring/rx.h"

/* A device that has no buffers cannot interrupt: so often the pool is looked at. */
#define STARVED_NS NS_PER_MS

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (long)(ns % NS_PER_SECOND)};
}

/* What comes of a poll that failed. A kernel without memory for it costs the caller nothing but that it
 * looks again after a moment, as beside a device without buffers: 0, or -EINTR. */
static int poll_again(int error)
{
    struct timespec pause = timespec_of(STARVED_NS);

    if (error == EINTR)
        return -EINTR;
    nanosleep(&pause, NULL);
    return 0;
}

/* Waits once, `left` ns at most (UINT64_MAX: no limit): 0 or -EINTR. */
static int wait_once(struct queue_pair *pair, uint64_t left)
{
    struct pollfd fds[2] = {{.fd = pair->vector->event_fd, .events = POLLIN},
                            {.fd = pair->wake_fd, .events = POLLIN}};
    struct timespec limit;
    uint64_t taken;
    int ready;

    if (rx_starved(pair) || pair->vector->event_fd < 0)
        left = left < STARVED_NS ? left : STARVED_NS;
    limit = timespec_of(left);
    ready = ppoll(fds, 2, left == UINT64_MAX ? NULL : &limit, NULL);
    if (ready < 0)
        return poll_again(errno);
    if (fds[0].revents & POLLIN)
        vector_take_event(pair);
    if (fds[1].revents & POLLIN)
        (void)!read(pair->wake_fd, &taken, sizeof(taken));
    return 0;
}

/* The caller has entered the receive side. */
static int receive_wait(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                        int64_t timeout_ns)
{
    uint64_t start = clock_ns();
    int32_t state;
    int error = 0, woken;

    for (;;) {
        bool owner = guard_own_cache(pair);
        uint32_t got = rx_burst_of(pair, true)(pair, columns, max, owner);
        uint64_t left = UINT64_MAX;

        guard_disown_cache(pair, owner);
        if (got || !timeout_ns)
            return (int)got;
        state = pair_state(pair);
        if (state != PAIR_RUNNING)
            return pair_why_stopped(state);
        if (error)
            return error;
        if (timeout_ns > 0) {
            uint64_t passed = clock_ns() - start;

            if (passed >= (uint64_t)timeout_ns)
                return 0;
            left = (uint64_t)timeout_ns - passed;
        }
        error = vector_sleep(pair);
        if (!error && !rx_done(pair) && pair_state(pair) == PAIR_RUNNING)
            error = wait_once(pair, left);
        woken = vector_wake(pair);
        error = error ? error : woken;
        if (pair_watched(pair))
            watch_look(pair); /* the event was taken, but maybe not all packets will be */
    }
}

int pair_recv_wait(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                   int64_t timeout_ns)
{
    int result;

    if (!columns->handles || (pair->scattered && (!columns->chain || !columns->segments)))
        return -EINVAL;
    result = guard_enter(pair, &pair->rx_guard);
    if (result)
        return result;
    result = receive_wait(pair, columns, max, timeout_ns);
    guard_leave(&pair->rx_guard);
    return result;
}

/* Whether a packet waits in one of the pairs: 1, 0, or why nobody may look. Posts buffers where a device has
 * none, since it cannot interrupt then. */
static int any_waits(struct queue_pair *const *pairs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int32_t state = pair_state(pairs[i]);

        if (state != PAIR_RUNNING)
            return pair_why_stopped(state);
        if (rx_waiting(pairs[i]))
            return 1;
        if (rx_starved(pairs[i])) {
            bool owner = guard_own_cache(pairs[i]);

            rx_idle(pairs[i], owner);
            guard_disown_cache(pairs[i], owner);
        }
    }
    return 0;
}

/* Waits once for one of the pairs, whose interrupts are armed: 0 or -EINTR. */
static int wait_for_any(struct queue_pair *const *pairs, uint32_t count, uint64_t left)
{
    struct pollfd fds[2 * WAIT_PAIRS];
    struct timespec limit;
    uint64_t taken;

    for (uint32_t i = 0; i < count; i++) {
        fds[2 * i] = (struct pollfd){.fd = pairs[i]->vector->event_fd, .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = pairs[i]->wake_fd, .events = POLLIN};
        if ((rx_starved(pairs[i]) || fds[2 * i].fd < 0) && left > STARVED_NS)
            left = STARVED_NS;
    }
    limit = timespec_of(left);
    if (ppoll(fds, 2 * count, left == UINT64_MAX ? NULL : &limit, NULL) < 0)
        return poll_again(errno);
    /* Events first: taking one wakes the other sleepers of its vector, some of which may be among these. */
    for (uint32_t i = 0; i < count; i++)
        if (fds[2 * i].revents & POLLIN)
            vector_take_event(pairs[i]);
    for (uint32_t i = 0; i < count; i++)
        (void)!read(pairs[i]->wake_fd, &taken, sizeof(taken));
    return 0;
}

/* Arms all, looks once more, and waits unless a packet came: as any_waits, or a negative errno. */
static int sleep_on_all(struct queue_pair *const *pairs, uint32_t count, uint64_t left)
{
    int found = 0, error = 0;

    for (uint32_t i = 0; i < count; i++) {
        int armed = vector_sleep(pairs[i]);

        error = error ? error : armed;
    }
    if (!error)
        found = any_waits(pairs, count);
    if (!error && !found)
        error = wait_for_any(pairs, count, left);
    for (uint32_t i = 0; i < count; i++) {
        int woken = vector_wake(pairs[i]);

        error = error ? error : woken;
        if (pair_watched(pairs[i]))
            watch_look(pairs[i]);
    }
    return error ? error : found;
}

int pair_wait_any(struct queue_pair *const *pairs, uint32_t count, int64_t timeout_ns)
{
    uint64_t start = clock_ns(), left = UINT64_MAX;
    uint32_t inside = 0;
    int result = count && count <= WAIT_PAIRS ? 0 : -EINVAL;

    while (!result && inside < count) {
        result = guard_enter(pairs[inside], &pairs[inside]->rx_guard);
        inside += !result;
    }
    if (!result)
        result = any_waits(pairs, count);
    while (!result && timeout_ns) {
        if (timeout_ns > 0) {
            uint64_t passed = clock_ns() - start;

            if (passed >= (uint64_t)timeout_ns)
                break;
            left = (uint64_t)timeout_ns - passed;
        }
        result = sleep_on_all(pairs, count, left);
        if (!result)
            result = any_waits(pairs, count);
    }
    while (inside)
        guard_leave(&pairs[--inside]->rx_guard);
    return result;
}
