/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <time.h>

#include "vfio/vu_line.h"

void vu_line_begin(struct vu_line *line)
{
    pthread_condattr_t clock;

    pthread_mutex_init(&line->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC); /* one that is set back prolongs no wait */
    pthread_cond_init(&line->turn, &clock);
    pthread_condattr_destroy(&clock);
    line->head = line->tail = NULL;
}

void vu_line_end(struct vu_line *line)
{
    pthread_cond_destroy(&line->turn);
    pthread_mutex_destroy(&line->lock);
}

int vu_line_join(struct vu_line *line, struct vu_call *call)
{
    const struct vu_call *head;
    int result = 1;

    call->caller = (uint64_t)pthread_self();
    call->next = NULL;
    pthread_mutex_lock(&line->lock);
    head = line->head;
    if (head && head->caller == call->caller && head->phase != CALL_WAITS) {
        result = -EDEADLK;
    } else {
        call->phase = CALL_WAITS;
        if (line->tail)
            line->tail->next = call;
        else
            line->head = call;
        line->tail = call;
    }
    pthread_mutex_unlock(&line->lock);
    return result;
}

/* With the lock: takes a call out of the line, in which `before` stands before it, or nobody. */
static void take_out(struct vu_line *line, struct vu_call *before, const struct vu_call *call)
{
    if (before)
        before->next = call->next;
    else
        line->head = call->next;
    if (line->tail == call)
        line->tail = before;
}

void vu_line_leave(struct vu_line *line, struct vu_call *call)
{
    struct vu_call *before = NULL, *at;

    pthread_mutex_lock(&line->lock);
    for (at = line->head; at && at != call; at = at->next)
        before = at;
    if (at)
        take_out(line, before, call);
    pthread_cond_broadcast(&line->turn);
    pthread_mutex_unlock(&line->lock);
}

void vu_line_set_away(struct vu_line *line, struct vu_call *call, bool away)
{
    pthread_mutex_lock(&line->lock);
    call->away = away;
    if (away)
        pthread_cond_broadcast(&line->turn);
    pthread_mutex_unlock(&line->lock);
}

/* With the lock: whether all before it in line are away. It is the first then. */
static bool goes_first(struct vu_line *line, struct vu_call *call)
{
    struct vu_call *before = NULL;

    for (struct vu_call *at = line->head; at != call; before = at, at = at->next)
        if (!at || !at->away)
            return false;
    if (!before)
        return true;
    take_out(line, before, call);
    call->next = line->head;
    line->head = call;
    return true;
}

/* Only the first one's phase is another than CALL_WAITS, and its thread changes it without the lock. */
static bool is_quiet(const struct vu_call *call)
{
    return call->away || __atomic_load_n(&call->phase, __ATOMIC_ACQUIRE) == CALL_LISTENS;
}

bool vu_line_halt(struct vu_line *line, const struct vu_call *call)
{
    const struct vu_call *at;

    pthread_mutex_lock(&line->lock);
    for (at = line->head; at && at != call && is_quiet(at); at = at->next)
        ;
    if (at == call)
        return true;
    pthread_mutex_unlock(&line->lock);
    return false;
}

void vu_line_go_on(struct vu_line *line)
{
    pthread_mutex_unlock(&line->lock);
}

bool vu_line_wait(struct vu_line *line, struct vu_call *call, int ms)
{
    struct timespec until;
    bool first;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&line->lock);
    while (!(first = goes_first(line, call)) &&
           !pthread_cond_timedwait(&line->turn, &line->lock, &until))
        ;
    pthread_mutex_unlock(&line->lock);
    return first;
}
