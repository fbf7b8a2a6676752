/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "driver/pair/watch.h"
#include "driver/ring/guard.h"
#include "driver/ring/rx.h"
#include "driver/ring/vector.h"

static void make_readable(struct queue_pair *pair)
{
    uint64_t one = 1;

    (void)!write(pair->wake_fd, &one, sizeof(one));
}

void watch_look(struct queue_pair *pair)
{
    if (rx_done(pair) || rx_starved(pair) || pair_state(pair) != PAIR_RUNNING)
        make_readable(pair);
}

void pair_tend(struct queue_pair *pair)
{
    if (!pair_watched(pair))
        vector_rearm(pair);
    else if (vector_quiet(pair))
        watch_look(pair);
}

/* 0 or a negative errno; a descriptor that is there already is fine. */
static int add(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) && errno != EEXIST ? -errno : 0;
}

int pair_watch(struct queue_pair *pair, int epoll_fd)
{
    int error = pair->vector->event_fd < 0 ? -ENOTSUP : add(epoll_fd, pair->wake_fd);

    if (!error)
        error = add(epoll_fd, pair->vector->event_fd);
    if (error)
        return error;
    vector_watch(pair);
    if (guard_enter(pair, &pair->rx_guard)) {
        make_readable(pair); /* stopped, or another thread is inside, who may have looked before */
        return 0;
    }
    watch_look(pair);
    guard_leave(&pair->rx_guard);
    return 0;
}

void pair_unwatch(struct queue_pair *pair, int epoll_fd)
{
    vector_unwatch(pair);
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, pair->wake_fd, NULL);
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, pair->vector->event_fd, NULL);
    if (pair->unwanted)
        pair_free(pair);
}
