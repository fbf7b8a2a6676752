/* SPDX-License-Identifier: BSD-3-Clause */
/* The C watchdog: one thread a device that sees resets, the loss of the device, requests and mail, has hung send
 * queues looked at and idle ones counted. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/eventfd.h"
#include "driver/pair/settle.h"
#include "driver/ring/queue_pair.h"
#include "driver/tx_hang.h"
#include "driver/watchdog.h"

#define WATCHDOG_PAIRS 256 /* an E810 VF has no more queues (docs/spec/registers.md 2) */
/* under traffic a reset is found within 10 ms (docs/spec/reliability.md F21) */
#define PERIOD_US 4000
#define PERIOD_MIN_US 100
#define PERIOD_GONE_NS                                                                             \
    NS_PER_MS /* until all ones are looked at again (docs/spec/reliability.md F31) */
/* a stall shows at the third look after it began, so within 1.5 s (docs/spec/reliability.md F43) */
#define HANG_PERIOD_NS (500 * NS_PER_MS)
#define HANG_LOOKS 2

enum watched { FD_CONTROL, FD_GONE, FD_REQUEST, FD_MAILBOX, FD_COUNT };

struct watchdog {
    struct vfio_regio *regio;
    int fd[FD_COUNT];
    int event_fd; /* wakes watchdog_wait */
    int listen_fd; /* watchdog_wait looks at it as well; -1: none */
    int ended_fd; /* wakes who waits for the thread's end ... */
    int ended; /* ... which this tells: a write may fail */
    uint64_t period_ns;
    pthread_t thread;
    pthread_mutex_t lock; /* of pairs */
    uint32_t pairs;
    struct queue_pair *pair[WATCHDOG_PAIRS];
    struct settle_look look[WATCHDOG_PAIRS];
    uint32_t round;
    uint32_t events;
    uint32_t armed;
    uint32_t ending;
    bool stopped; /* the thread was joined */
    uint64_t reset_ns;
    uint32_t gone_reads; /* all-ones seen in a row */
    bool awaiting; /* traffic beyond `packets`; under the lock */
    uint64_t packets;
    uint64_t traffic_ns;
    uint64_t hangs_checked;
};

#define STOP_LOOK_MS 20

static void eventfd_add(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one));
}

/* Adds events for watchdog_wait to return. */
static void notify(struct watchdog *watchdog, uint32_t events)
{
    __atomic_fetch_or(&watchdog->events, events, __ATOMIC_SEQ_CST);
    eventfd_add(watchdog->event_fd);
}

/* Queue pairs come first: nobody may post to a device that is in a reset, whether or not Python runs. */
static void halt_all(struct watchdog *watchdog, int why)
{
    pthread_mutex_lock(&watchdog->lock);
    for (uint32_t i = 0; i < watchdog->pairs; i++)
        pair_halt(watchdog->pair[i], why);
    pthread_mutex_unlock(&watchdog->lock);
}

static void lost(struct watchdog *watchdog)
{
    __atomic_store_n(&watchdog->armed, 0, __ATOMIC_SEQ_CST);
    halt_all(watchdog, -ENODEV);
    notify(watchdog, WATCHDOG_LOST);
}

static void in_reset(struct watchdog *watchdog)
{
    __atomic_store_n(&watchdog->reset_ns, clock_ns(), __ATOMIC_SEQ_CST);
    __atomic_store_n(&watchdog->armed, 0, __ATOMIC_SEQ_CST);
    halt_all(watchdog, -ESHUTDOWN);
    notify(watchdog, WATCHDOG_RESET);
}

static void check_registers(struct watchdog *watchdog)
{
    struct vfio_regio *io = watchdog->regio;
    uint32_t arqlen, rstat;

    if (!__atomic_load_n(&watchdog->armed, __ATOMIC_SEQ_CST)) {
        watchdog->gone_reads = 0;
        return;
    }
    arqlen = io->read32(io, REG_VF_ARQLEN1);
    rstat = io->read32(io, REG_VFGEN_RSTAT);
    /* When the watchdog was disarmed meanwhile, the values belong to a shutdown or recovery that the owner
     * knows of. */
    if (!__atomic_load_n(&watchdog->armed, __ATOMIC_SEQ_CST))
        return;
    if (arqlen == REG_GONE || rstat == REG_GONE) {
        /* All-ones seen once may be a function-level reset, which shows as a reset when reads come back; in
         * one register alone it may be the moment at which the device went. */
        if (++watchdog->gone_reads >= 2)
            lost(watchdog);
        return;
    }
    watchdog->gone_reads = 0;
    /* The PF writes either of the two ready states (docs/spec/registers.md 3); the others mean a reset. */
    if (arqlen == REG_IN_RESET || !(arqlen & AQLEN_ENABLE) ||
        ((rstat & RSTAT_MASK) != RSTAT_VFACTIVE && (rstat & RSTAT_MASK) != RSTAT_COMPLETED))
        in_reset(watchdog);
}

void watchdog_check_hangs(struct watchdog *watchdog)
{
    bool hung = false;

    pthread_mutex_lock(&watchdog->lock);
    for (uint32_t i = 0; i < watchdog->pairs; i++)
        hung |= tx_hang_check(watchdog->pair[i]) >= HANG_LOOKS;
    pthread_mutex_unlock(&watchdog->lock);
    if (hung)
        notify(watchdog, WATCHDOG_HANG);
}

int watchdog_hung(struct watchdog *watchdog)
{
    bool hung = false;

    pthread_mutex_lock(&watchdog->lock);
    for (uint32_t i = 0; i < watchdog->pairs; i++)
        hung |= pair_state(watchdog->pair[i]) == PAIR_RUNNING &&
                __atomic_load_n(&watchdog->pair[i]->hang_looks, __ATOMIC_RELAXED) >= HANG_LOOKS;
    pthread_mutex_unlock(&watchdog->lock);
    return hung;
}

static void check_fds(struct watchdog *watchdog, struct pollfd *fds)
{
    if (fds[FD_GONE].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) {
        fds[FD_GONE].fd = -1; /* the state stays, so polling it again would spin */
        lost(watchdog);
    }
    if (fds[FD_REQUEST].revents & POLLIN) {
        eventfd_take(fds[FD_REQUEST].fd);
        notify(watchdog, WATCHDOG_REQUEST);
    }
    if (fds[FD_MAILBOX].revents & POLLIN) {
        eventfd_take(fds[FD_MAILBOX].fd);
        notify(watchdog, WATCHDOG_MAILBOX);
    }
    for (int i = FD_REQUEST; i < FD_COUNT; i++)
        if (fds[i].revents & (POLLERR | POLLNVAL | POLLHUP))
            fds[i].fd = -1;
}

/* Has what is complete counted, and tells whether all queues sleep. */
static bool settle_all(struct watchdog *watchdog)
{
    bool asleep;

    pthread_mutex_lock(&watchdog->lock);
    asleep = watchdog->pairs > 0;
    for (uint32_t i = 0; i < watchdog->pairs; i++) {
        asleep &= __atomic_load_n(&watchdog->pair[i]->sleeping, __ATOMIC_RELAXED) != 0;
        settle_idle(watchdog->pair[i], &watchdog->look[i]);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return asleep;
}

/* Looks whether traffic has begun. The counters' lines are shared with whoever counts only until then. */
static void check_traffic(struct watchdog *watchdog, uint64_t now)
{
    uint64_t packets = 0;
    bool begun = false;

    pthread_mutex_lock(&watchdog->lock);
    if (watchdog->awaiting) {
        for (uint32_t i = 0; i < watchdog->pairs; i++)
            packets += __atomic_load_n(&watchdog->pair[i]->rq->packets, __ATOMIC_RELAXED) +
                       __atomic_load_n(&watchdog->pair[i]->sq->packets, __ATOMIC_RELAXED);
        begun = packets > watchdog->packets;
        watchdog->awaiting = !begun;
    }
    pthread_mutex_unlock(&watchdog->lock);
    if (begun) {
        __atomic_store_n(&watchdog->traffic_ns, now, __ATOMIC_SEQ_CST);
        notify(watchdog, WATCHDOG_TRAFFIC);
    }
}

/* While all queues sleep, nothing is posted to a device that may be in a reset: half as many rounds will do, and
 * a quarter as many looks at the registers, of which each is two messages to a vfio-user server. A device that
 * seems to be gone is looked at again soon. */
uint64_t watchdog_look(struct watchdog *watchdog, uint64_t now)
{
    bool asleep = settle_all(watchdog);

    check_traffic(watchdog, now);
    if (!asleep || watchdog->gone_reads || ++watchdog->round % 2 == 0)
        check_registers(watchdog);
    if (now - watchdog->hangs_checked >= HANG_PERIOD_NS) {
        watchdog->hangs_checked = now;
        watchdog_check_hangs(watchdog);
    }
    if (watchdog->gone_reads)
        return PERIOD_GONE_NS < watchdog->period_ns ? PERIOD_GONE_NS : watchdog->period_ns;
    return asleep ? 2 * watchdog->period_ns : watchdog->period_ns;
}

static void *run(void *argument)
{
    struct watchdog *watchdog = argument;
    struct pollfd fds[FD_COUNT];
    uint64_t next = clock_ns() + watchdog->period_ns;

    for (int i = 0; i < FD_COUNT; i++)
        fds[i] = (struct pollfd){.fd = watchdog->fd[i], .events = POLLIN};
    fds[FD_GONE].events = POLLRDHUP; /* only its end is of interest: the data are the transport's */
    while (!__atomic_load_n(&watchdog->ending, __ATOMIC_ACQUIRE)) {
        uint64_t now = clock_ns();
        uint64_t left = next > now ? next - now : 0;
        struct timespec limit = {.tv_sec = (time_t)(left / NS_PER_SECOND),
                                 .tv_nsec = (long)(left % NS_PER_SECOND)};

        if (ppoll(fds, FD_COUNT, &limit, NULL) > 0) {
            if (fds[FD_CONTROL].revents & POLLIN)
                eventfd_take(fds[FD_CONTROL].fd);
            check_fds(watchdog, fds);
        }
        now = clock_ns();
        if (now < next)
            continue;
        next = now + watchdog_look(watchdog, now);
    }
    __atomic_store_n(&watchdog->ended, 1, __ATOMIC_RELEASE);
    eventfd_add(watchdog->ended_fd);
    return NULL;
}

/* Gives back what is there: its thread does not run. */
static void discard(struct watchdog *watchdog)
{
    int fds[] = {watchdog->fd[FD_CONTROL], watchdog->event_fd, watchdog->ended_fd};

    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}

struct watchdog *watchdog_new(struct vfio_regio *regio, int gone_fd, int request_fd, int mailbox_fd,
                              uint32_t period_us, int *error)
{
    struct watchdog *watchdog;

    *error = -EINVAL;
    if (!regio)
        return NULL;
    *error = -ENOMEM;
    watchdog = calloc(1, sizeof(*watchdog));
    if (!watchdog)
        return NULL;
    period_us = period_us ? period_us : PERIOD_US;
    watchdog->regio = regio;
    watchdog->period_ns = (period_us > PERIOD_MIN_US ? period_us : PERIOD_MIN_US) * 1000ull;
    watchdog->hangs_checked = clock_ns();
    watchdog->fd[FD_CONTROL] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watchdog->fd[FD_GONE] = gone_fd;
    watchdog->fd[FD_REQUEST] = request_fd;
    watchdog->fd[FD_MAILBOX] = mailbox_fd;
    watchdog->listen_fd = -1;
    watchdog->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watchdog->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&watchdog->lock, NULL);
    if (watchdog->fd[FD_CONTROL] < 0 || watchdog->event_fd < 0 || watchdog->ended_fd < 0)
        *error = -errno;
    else
        *error = -pthread_create(&watchdog->thread, NULL, run, watchdog);
    if (*error) {
        discard(watchdog);
        return NULL;
    }
    return watchdog;
}

int watchdog_add(struct watchdog *watchdog, struct queue_pair *pair)
{
    int error = -ENOSPC;

    pthread_mutex_lock(&watchdog->lock);
    if (watchdog->pairs < WATCHDOG_PAIRS) {
        watchdog->look[watchdog->pairs] = (struct settle_look){0};
        watchdog->pair[watchdog->pairs++] = pair;
        error = 0;
    }
    pthread_mutex_unlock(&watchdog->lock);
    return error;
}

void watchdog_remove(struct watchdog *watchdog, struct queue_pair *pair)
{
    pthread_mutex_lock(&watchdog->lock);
    for (uint32_t i = 0; i < watchdog->pairs; i++) {
        if (watchdog->pair[i] == pair) {
            watchdog->pair[i] = watchdog->pair[--watchdog->pairs];
            watchdog->look[i] = watchdog->look[watchdog->pairs];
            break;
        }
    }
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_arm(struct watchdog *watchdog, int on)
{
    if (on)
        __atomic_store_n(&watchdog->reset_ns, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&watchdog->armed, on != 0, __ATOMIC_SEQ_CST);
}

int watchdog_wait(struct watchdog *watchdog, int timeout_ms)
{
    uint64_t start = clock_ns();

    for (;;) {
        struct pollfd fds[2] = {{.fd = watchdog->event_fd, .events = POLLIN},
                                {.fd = watchdog->listen_fd, .events = POLLIN}};
        int64_t left = timeout_ms - (int64_t)((clock_ns() - start) / NS_PER_MS);
        uint32_t events = __atomic_exchange_n(&watchdog->events, 0, __ATOMIC_SEQ_CST);

        /* A wake-up may be left over from events that an earlier call has returned. */
        if (events || (timeout_ms >= 0 && left < 0))
            return (int)events;
        if (poll(fds, 2, timeout_ms < 0 ? -1 : (int)left) < 0)
            return -errno;
        if (fds[0].revents & POLLIN)
            eventfd_take(watchdog->event_fd);
        if (fds[1].revents & POLLIN)
            return WATCHDOG_KNOCK |
                   (int)__atomic_exchange_n(&watchdog->events, 0, __ATOMIC_SEQ_CST);
        if (fds[0].revents & POLLIN)
            continue;
        if (left <= 0 && timeout_ms >= 0)
            return (int)__atomic_exchange_n(&watchdog->events, 0, __ATOMIC_SEQ_CST);
    }
}

uint64_t watchdog_reset_seen(const struct watchdog *watchdog)
{
    return __atomic_load_n(&watchdog->reset_ns, __ATOMIC_SEQ_CST);
}

void watchdog_listen(struct watchdog *watchdog, int fd)
{
    watchdog->listen_fd = fd;
}

void watchdog_await_traffic(struct watchdog *watchdog, uint64_t packets)
{
    pthread_mutex_lock(&watchdog->lock);
    watchdog->awaiting = true;
    watchdog->packets = packets;
    __atomic_store_n(&watchdog->traffic_ns, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&watchdog->lock);
}

uint64_t watchdog_traffic_seen(const struct watchdog *watchdog)
{
    return __atomic_load_n(&watchdog->traffic_ns, __ATOMIC_SEQ_CST);
}

int watchdog_stop(struct watchdog *watchdog, int slice_ms)
{
    struct pollfd ended = {.fd = watchdog->ended_fd, .events = POLLIN};
    int look = slice_ms < 0 || slice_ms > STOP_LOOK_MS ? STOP_LOOK_MS : slice_ms;

    if (watchdog->stopped)
        return 0;
    __atomic_store_n(&watchdog->ending, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&watchdog->ended, __ATOMIC_ACQUIRE)) {
        eventfd_add(watchdog->fd[FD_CONTROL]); /* each time: one write may fail */
        if (poll(&ended, 1, look) < 1 && slice_ms >= 0)
            return -EAGAIN;
    }
    pthread_join(watchdog->thread, NULL);
    watchdog->stopped = true;
    notify(watchdog, WATCHDOG_ENDED);
    return 0;
}

void watchdog_free(struct watchdog *watchdog)
{
    if (!watchdog)
        return;
    watchdog_stop(watchdog, -1);
    discard(watchdog);
}
