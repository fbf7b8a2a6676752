/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping on a queue's interrupt without a lost wake-up: arm, look at the ring once more, then wait
 * (docs/design.md 3, docs/spec/reliability.md F47). A cause that came while the vector was off fires when
 * the vector is armed, so nothing falls between the look and the wait. What pairs do that share a vector is
 * said in vector.h. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "driver/clock.h"
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

/* Waits once, `left` ns at most (UINT64_MAX: no limit): 0, -EINTR or -EIO. */
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
        return errno == EINTR ? -EINTR : -EIO;
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
        uint32_t got = pair->rx_paths.burst[1](pair, columns, max, owner);
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
