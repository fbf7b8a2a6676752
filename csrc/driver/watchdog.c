/* SPDX-License-Identifier: BSD-3-Clause */
/* The watchdog: one thread a device that sees resets, the loss of the device, requests and mail, has hung send
 * queues looked at and idle ones counted. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/pair/settle.h"
#include "driver/ring/queue_pair.h"
#include "driver/tx_hang.h"
#include "driver/watchdog.h"

#define WATCH_PAIRS 256 /* an E810 VF has no more queues (docs/spec/registers.md 2) */
/* under traffic a reset is found within 10 ms (docs/spec/reliability.md F21) */
#define PERIOD_US 4000
#define PERIOD_MIN_US 100
#define HANG_PERIOD_NS (2 * NS_PER_SECOND)

enum watched { FD_CONTROL, FD_GONE, FD_REQUEST, FD_MAILBOX, FD_COUNT };

struct watch {
    struct vfio_regio *regio;
    int fd[FD_COUNT];
    int event_fd; /* wakes watch_wait */
    uint64_t period_ns;
    pthread_t thread;
    pthread_mutex_t lock; /* of pairs */
    uint32_t pairs;
    struct queue_pair *pair[WATCH_PAIRS];
    struct settle_look look[WATCH_PAIRS];
    uint32_t round;
    uint32_t events;
    uint32_t armed;
    uint32_t ending;
    uint64_t reset_ns;
    uint32_t gone_reads; /* all-ones seen in a row */
    uint64_t hangs_checked;
};

static void eventfd_add(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one));
}

static void eventfd_take(int fd)
{
    uint64_t count;

    (void)!read(fd, &count, sizeof(count));
}

/* Adds events for watch_wait to return. */
static void notify(struct watch *watch, uint32_t events)
{
    __atomic_fetch_or(&watch->events, events, __ATOMIC_SEQ_CST);
    eventfd_add(watch->event_fd);
}

/* Queue pairs come first: nobody may post to a device that is in a reset, whether or not Python runs. */
static void halt_all(struct watch *watch, int why)
{
    pthread_mutex_lock(&watch->lock);
    for (uint32_t i = 0; i < watch->pairs; i++)
        pair_halt(watch->pair[i], why);
    pthread_mutex_unlock(&watch->lock);
}

static void lost(struct watch *watch)
{
    __atomic_store_n(&watch->armed, 0, __ATOMIC_SEQ_CST);
    halt_all(watch, -ENODEV);
    notify(watch, WATCH_LOST);
}

static void in_reset(struct watch *watch)
{
    __atomic_store_n(&watch->reset_ns, clock_ns(), __ATOMIC_SEQ_CST);
    __atomic_store_n(&watch->armed, 0, __ATOMIC_SEQ_CST);
    halt_all(watch, -ESHUTDOWN);
    notify(watch, WATCH_RESET);
}

static void check_registers(struct watch *watch)
{
    struct vfio_regio *io = watch->regio;
    uint32_t arqlen, rstat;

    if (!__atomic_load_n(&watch->armed, __ATOMIC_SEQ_CST)) {
        watch->gone_reads = 0;
        return;
    }
    arqlen = io->read32(io, REG_VF_ARQLEN1);
    rstat = io->read32(io, REG_VFGEN_RSTAT);
    /* When the watchdog was disarmed meanwhile, the values belong to a shutdown or recovery that the owner
     * knows of. */
    if (!__atomic_load_n(&watch->armed, __ATOMIC_SEQ_CST))
        return;
    if (arqlen == REG_GONE || rstat == REG_GONE) {
        /* All-ones seen once may be a function-level reset, which shows as a reset when reads come back; in
         * one register alone it may be the moment at which the device went. */
        if (++watch->gone_reads >= 2)
            lost(watch);
        return;
    }
    watch->gone_reads = 0;
    /* The PF writes either of the two ready states (docs/spec/registers.md 3); the others mean a reset. */
    if (arqlen == REG_IN_RESET || !(arqlen & AQLEN_ENABLE) ||
        ((rstat & RSTAT_MASK) != RSTAT_VFACTIVE && (rstat & RSTAT_MASK) != RSTAT_COMPLETED))
        in_reset(watch);
}

void watch_check_hangs(struct watch *watch)
{
    bool hung = false;

    pthread_mutex_lock(&watch->lock);
    for (uint32_t i = 0; i < watch->pairs; i++)
        hung |= tx_hang_check(watch->pair[i]);
    pthread_mutex_unlock(&watch->lock);
    if (hung)
        notify(watch, WATCH_HANG);
}

static void check_fds(struct watch *watch, struct pollfd *fds)
{
    if (fds[FD_GONE].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) {
        fds[FD_GONE].fd = -1; /* the state stays, so polling it again would spin */
        lost(watch);
    }
    if (fds[FD_REQUEST].revents & POLLIN) {
        eventfd_take(fds[FD_REQUEST].fd);
        notify(watch, WATCH_REQUEST);
    }
    if (fds[FD_MAILBOX].revents & POLLIN) {
        eventfd_take(fds[FD_MAILBOX].fd);
        notify(watch, WATCH_MAILBOX);
    }
    for (int i = FD_REQUEST; i < FD_COUNT; i++)
        if (fds[i].revents & (POLLERR | POLLNVAL | POLLHUP))
            fds[i].fd = -1;
}

/* Has what is complete counted, and tells whether all queues sleep. */
static bool settle_all(struct watch *watch)
{
    bool asleep;

    pthread_mutex_lock(&watch->lock);
    asleep = watch->pairs > 0;
    for (uint32_t i = 0; i < watch->pairs; i++) {
        asleep &= __atomic_load_n(&watch->pair[i]->sleeping, __ATOMIC_RELAXED) != 0;
        settle_idle(watch->pair[i], &watch->look[i]);
    }
    pthread_mutex_unlock(&watch->lock);
    return asleep;
}

/* One round of all duties. Returns how long the next one may wait, in nanoseconds. While all queues sleep,
 * nothing is posted to a device that may be in a reset: half as many rounds will do, and a quarter as many
 * looks at the registers, of which each is two messages to a vfio-user server. */
static uint64_t look(struct watch *watch, uint64_t now)
{
    bool asleep = settle_all(watch);

    if (!asleep || ++watch->round % 2 == 0)
        check_registers(watch);
    if (now - watch->hangs_checked >= HANG_PERIOD_NS) {
        watch->hangs_checked = now;
        watch_check_hangs(watch);
    }
    return asleep ? 2 * watch->period_ns : watch->period_ns;
}

static void *run(void *argument)
{
    struct watch *watch = argument;
    struct pollfd fds[FD_COUNT];
    uint64_t next = clock_ns() + watch->period_ns;

    for (int i = 0; i < FD_COUNT; i++)
        fds[i] = (struct pollfd){.fd = watch->fd[i], .events = POLLIN};
    fds[FD_GONE].events = POLLRDHUP; /* only its end is of interest: the data are the transport's */
    while (!__atomic_load_n(&watch->ending, __ATOMIC_ACQUIRE)) {
        uint64_t now = clock_ns();
        uint64_t left = next > now ? next - now : 0;
        struct timespec limit = {.tv_sec = (time_t)(left / NS_PER_SECOND),
                                 .tv_nsec = (long)(left % NS_PER_SECOND)};

        if (ppoll(fds, FD_COUNT, &limit, NULL) > 0) {
            if (fds[FD_CONTROL].revents & POLLIN)
                eventfd_take(fds[FD_CONTROL].fd);
            check_fds(watch, fds);
        }
        now = clock_ns();
        if (now < next)
            continue;
        next = now + look(watch, now);
    }
    return NULL;
}

struct watch *watch_new(struct vfio_regio *regio, int gone_fd, int request_fd, int mailbox_fd,
                        uint32_t period_us, int *error)
{
    struct watch *watch;

    *error = -EINVAL;
    if (!regio)
        return NULL;
    *error = -ENOMEM;
    watch = calloc(1, sizeof(*watch));
    if (!watch)
        return NULL;
    period_us = period_us ? period_us : PERIOD_US;
    watch->regio = regio;
    watch->period_ns = (period_us > PERIOD_MIN_US ? period_us : PERIOD_MIN_US) * 1000ull;
    watch->hangs_checked = clock_ns();
    watch->fd[FD_CONTROL] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->fd[FD_GONE] = gone_fd;
    watch->fd[FD_REQUEST] = request_fd;
    watch->fd[FD_MAILBOX] = mailbox_fd;
    watch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&watch->lock, NULL);
    if (watch->fd[FD_CONTROL] < 0 || watch->event_fd < 0)
        *error = -errno;
    else
        *error = -pthread_create(&watch->thread, NULL, run, watch);
    if (*error) {
        if (watch->fd[FD_CONTROL] >= 0)
            close(watch->fd[FD_CONTROL]);
        if (watch->event_fd >= 0)
            close(watch->event_fd);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
        return NULL;
    }
    return watch;
}

int watch_add(struct watch *watch, struct queue_pair *pair)
{
    int error = -ENOSPC;

    pthread_mutex_lock(&watch->lock);
    if (watch->pairs < WATCH_PAIRS) {
        watch->look[watch->pairs] = (struct settle_look){0};
        watch->pair[watch->pairs++] = pair;
        error = 0;
    }
    pthread_mutex_unlock(&watch->lock);
    return error;
}

void watch_remove(struct watch *watch, struct queue_pair *pair)
{
    pthread_mutex_lock(&watch->lock);
    for (uint32_t i = 0; i < watch->pairs; i++) {
        if (watch->pair[i] == pair) {
            watch->pair[i] = watch->pair[--watch->pairs];
            watch->look[i] = watch->look[watch->pairs];
            break;
        }
    }
    pthread_mutex_unlock(&watch->lock);
}

void watch_arm(struct watch *watch, int on)
{
    if (on)
        __atomic_store_n(&watch->reset_ns, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&watch->armed, on != 0, __ATOMIC_SEQ_CST);
}

int watch_wait(struct watch *watch, int timeout_ms)
{
    uint64_t start = clock_ns();

    for (;;) {
        struct pollfd fd = {.fd = watch->event_fd, .events = POLLIN};
        int64_t left = timeout_ms - (int64_t)((clock_ns() - start) / NS_PER_MS);
        uint32_t events = __atomic_exchange_n(&watch->events, 0, __ATOMIC_SEQ_CST);

        /* A wake-up may be left over from events that an earlier call has returned. */
        if (events || (timeout_ms >= 0 && left < 0))
            return (int)events;
        if (poll(&fd, 1, timeout_ms < 0 ? -1 : (int)left) < 0)
            return -errno;
        if (fd.revents & POLLIN)
            eventfd_take(watch->event_fd);
        else if (left <= 0 && timeout_ms >= 0)
            return (int)__atomic_exchange_n(&watch->events, 0, __ATOMIC_SEQ_CST);
    }
}

uint64_t watch_reset_seen(const struct watch *watch)
{
    return __atomic_load_n(&watch->reset_ns, __ATOMIC_SEQ_CST);
}

void watch_stop(struct watch *watch)
{
    if (__atomic_exchange_n(&watch->ending, 1, __ATOMIC_ACQ_REL))
        return;
    eventfd_add(watch->fd[FD_CONTROL]);
    pthread_join(watch->thread, NULL);
    notify(watch, WATCH_ENDED);
}

void watch_free(struct watch *watch)
{
    if (!watch)
        return;
    watch_stop(watch);
    close(watch->fd[FD_CONTROL]);
    close(watch->event_fd);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
