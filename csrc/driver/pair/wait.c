/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping on a queue's interrupt, without a lost wake-up: arm, look at the ring once more, then wait
 * (design decision 3, reliability F47). A cause that came while the vector was off fires when it is
 * armed, so nothing falls between the look and the wait. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "driver/ring/queue_pair.h"
#include "hw/regs.h"

#define STARVED_NS                                                                                 \
    NS_PER_MS /* a ring without buffers cannot interrupt: look at the pool so often */

int pair_sleep(struct pair *pair)
{
    __atomic_store_n(&pair->sleeping, 1, __ATOMIC_SEQ_CST);
    if (!pair->dyn_ctl)
        return 0;
    if (pair->regio->write32(pair->regio, pair->dyn_ctl, pair->sleep_ctl) < 0)
        return -ENODEV;
    /* Register writes are posted: until this read returns, the device may still write back without an
     * interrupt, after the look at the ring and before the sleep (registers 7). */
    pair->regio->read32(pair->regio, REG_VFGEN_RSTAT);
    return 0;
}

int pair_wake(struct pair *pair)
{
    __atomic_store_n(&pair->sleeping, 0, __ATOMIC_SEQ_CST);
    /* A stopped pair's vector is not ours to set: its device may be in a reset or gone (F31). */
    if (!pair->dyn_ctl || pair_state(pair) != PAIR_RUNNING)
        return 0;
    return pair->regio->write32(pair->regio, pair->dyn_ctl, pair->poll_ctl) < 0 ? -ENODEV : 0;
}

bool pair_drain_event(struct pair *pair)
{
    uint64_t events;

    return read(pair->event_fd, &events, sizeof(events)) == (ssize_t)sizeof(events);
}

void pair_rearm(struct pair *pair)
{
    uint64_t now = clock_ticks();
    uint64_t one = 1;

    /* Receive and send side may both come here; a re-arm too many does no harm. */
    if (now - __atomic_load_n(&pair->rearmed, __ATOMIC_RELAXED) < pair->rearm_ticks)
        return;
    if (__atomic_load_n(&pair->sleeping, __ATOMIC_SEQ_CST))
        return; /* the sleeper needs the event */
    __atomic_store_n(&pair->rearmed, now, __ATOMIC_RELAXED);
    if (!pair_drain_event(pair))
        return;
    pair->regio->write32(pair->regio, pair->dyn_ctl, pair->poll_ctl);
    /* Somebody who went to sleep meanwhile may have been meant. */
    if (__atomic_load_n(&pair->sleeping, __ATOMIC_SEQ_CST))
        (void)!write(pair->wake_fd, &one, sizeof(one));
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (long)(ns % NS_PER_SECOND)};
}

/* One wait, `left` ns at most (UINT64_MAX: no limit). 0, or -EINTR. */
static int wait_once(struct pair *pair, uint64_t left)
{
    struct pollfd fds[2] = {{.fd = pair->event_fd, .events = POLLIN},
                            {.fd = pair->wake_fd, .events = POLLIN}};
    struct timespec limit;
    uint64_t taken;
    int ready;

    if (!pair->rx_left || pair->event_fd < 0)
        left = left < STARVED_NS ? left : STARVED_NS;
    limit = timespec_of(left);
    ready = ppoll(fds, 2, left == UINT64_MAX ? NULL : &limit, NULL);
    if (ready < 0)
        return errno == EINTR ? -EINTR : -EIO;
    if (fds[0].revents & POLLIN)
        pair_drain_event(pair);
    if (fds[1].revents & POLLIN)
        (void)!read(pair->wake_fd, &taken, sizeof(taken));
    return 0;
}

/* The receive side is entered. */
static int receive_wait(struct pair *pair, const struct columns *columns, uint32_t max,
                        int64_t timeout_ns)
{
    uint64_t start = clock_ns();
    int32_t state;
    int error = 0, woken;

    for (;;) {
        bool owner = pair_own_cache(pair);
        uint32_t got = pair->receive.receive[1](pair, columns, max, owner);
        uint64_t left = UINT64_MAX;

        pair_disown_cache(pair, owner);
        if (got || !timeout_ns)
            return (int)got;
        state = pair_state(pair);
        if (state != PAIR_RUNNING)
            return state < 0 ? state : -ESHUTDOWN;
        if (error)
            return error;
        if (timeout_ns > 0) {
            uint64_t passed = clock_ns() - start;

            if (passed >= (uint64_t)timeout_ns)
                return 0;
            left = (uint64_t)timeout_ns - passed;
        }
        error = pair_sleep(pair);
        if (!error && !receive_ready(pair) && pair_state(pair) == PAIR_RUNNING)
            error = wait_once(pair, left);
        woken = pair_wake(pair);
        error = error ? error : woken;
    }
}

int pair_recv_wait(struct pair *pair, const struct columns *columns, uint32_t max,
                   int64_t timeout_ns)
{
    int result;

    if (!columns->handles || (pair->scattered && (!columns->chain || !columns->segments)))
        return -EINVAL;
    result = pair_enter(pair, &pair->rx_guard);
    if (result)
        return result;
    result = receive_wait(pair, columns, max, timeout_ns);
    pair_leave(&pair->rx_guard);
    return result;
}
