/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/lines.h"
#include "driver/worker/pass_ring.h"

_Static_assert(sizeof(struct kept_row) == 64, "one cache line a packet");

#define DROP_BULK 64

struct kept *kept_new(struct pool *pool, uint32_t capacity, int *error)
{
    struct kept *kept;

    *error = -EINVAL;
    if (!pool || !capacity || capacity > KEPT_MAX || (capacity & (capacity - 1)))
        return NULL;
    *error = -ENOMEM;
    kept = lines_alloc(sizeof(*kept));
    if (!kept)
        return NULL;
    kept->pool = pool;
    kept->mask = capacity - 1;
    kept->row = lines_alloc(capacity * sizeof(*kept->row));
    if (!kept->row) {
        free(kept);
        return NULL;
    }
    kept->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kept->bell < 0) {
        *error = -errno;
        free(kept->row);
        free(kept);
        return NULL;
    }
    *error = 0;
    return kept;
}

void kept_free(struct kept *kept)
{
    if (!kept)
        return;
    close(kept->bell);
    free(kept->row);
    free(kept);
}

uint32_t kept_count(const struct kept *kept)
{
    return __atomic_load_n(&kept->head, __ATOMIC_ACQUIRE) -
           __atomic_load_n(&kept->tail, __ATOMIC_RELAXED);
}

static void ring(struct kept *kept)
{
    uint64_t one = 1;

    (void)!write(kept->bell, &one, sizeof(one));
}

void kept_publish(struct kept *kept, uint32_t n)
{
    __atomic_store_n(&kept->head, kept->head + n, __ATOMIC_RELEASE);
    /* The taker marks itself as waiting and then looks at the head, the worker moves the head and then
     * looks at the mark: one of the two sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&kept->waiting, __ATOMIC_RELAXED))
        ring(kept);
}

void kept_start(struct kept *kept)
{
    __atomic_store_n(&kept->ended, 0, __ATOMIC_RELEASE);
}

void kept_end(struct kept *kept)
{
    __atomic_store_n(&kept->ended, 1, __ATOMIC_RELEASE);
    ring(kept);
}

/* ---- taking ---- */

static void copy_row(const struct columns *c, uint32_t i, const struct kept_row *row)
{
    c->handles[i] = row->handle;
    if (c->segments)
        c->segments[i] = row->segments;
    if (c->chain && row->segments > 1)
        memcpy(c->chain + (size_t)KEPT_CHAIN * i, row->chain, sizeof(row->chain));
    if (c->flags)
        c->flags[i] = row->flags;
    if (c->csum)
        c->csum[i] = row->csum;
    if (c->ptype)
        c->ptype[i] = row->ptype;
    if (c->vlan)
        c->vlan[i] = row->vlan;
    if (c->rss)
        c->rss[i] = row->rss;
    if (c->mark)
        c->mark[i] = row->mark;
    if (c->time)
        c->time[i] = row->time;
}

int kept_recv(struct kept *kept, const struct columns *columns, uint32_t max)
{
    uint32_t tail = kept->tail;
    uint32_t n = kept_count(kept);

    n = n < max ? n : max;
    for (uint32_t i = 0; i < n; i++)
        copy_row(columns, i, &kept->row[(tail + i) & kept->mask]);
    __atomic_store_n(&kept->tail, tail + n, __ATOMIC_RELEASE);
    return (int)n;
}

static bool worth_a_look(struct kept *const *rings, uint32_t count, bool *ended)
{
    bool any = false;

    for (uint32_t i = 0; i < count; i++) {
        *ended |= __atomic_load_n(&rings[i]->ended, __ATOMIC_ACQUIRE) != 0;
        any |= kept_count(rings[i]) != 0;
    }
    return any;
}

static void set_waiting(struct kept *const *rings, uint32_t count, uint32_t waiting)
{
    for (uint32_t i = 0; i < count; i++)
        __atomic_store_n(&rings[i]->waiting, waiting, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* it pairs with the fence in kept_publish */
}

static int sleep_on(struct kept *const *rings, uint32_t count, int64_t timeout_ns)
{
    struct timespec limit = {.tv_sec = (time_t)(timeout_ns / (int64_t)NS_PER_SECOND),
                             .tv_nsec = (long)(timeout_ns % (int64_t)NS_PER_SECOND)};
    struct pollfd fds[WORKER_MAX_PAIRS];
    uint64_t events;
    int ready;

    for (uint32_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = rings[i]->bell, .events = POLLIN};
    ready = ppoll(fds, count, timeout_ns < 0 ? NULL : &limit, NULL);
    if (ready < 0)
        return errno == EINTR ? -EINTR : -EIO;
    for (uint32_t i = 0; i < count && ready; i++)
        if (fds[i].revents & POLLIN)
            (void)!read(rings[i]->bell, &events, sizeof(events));
    return ready;
}

int kept_wait(struct kept *const *rings, uint32_t count, int64_t timeout_ns)
{
    uint64_t end = timeout_ns < 0 ? 0 : clock_ns() + (uint64_t)timeout_ns;
    bool ended = false;
    int result;

    if (count > WORKER_MAX_PAIRS)
        return -EINVAL;
    set_waiting(rings, count, 1);
    for (;;) {
        int64_t left = -1;

        result = worth_a_look(rings, count, &ended);
        if (result || ended)
            break;
        if (timeout_ns >= 0) {
            left = (int64_t)(end - clock_ns());
            if (left <= 0)
                break;
        }
        result = sleep_on(rings, count, left); /* an event that was left over only costs a round */
        if (result < 0)
            break;
    }
    set_waiting(rings, count, 0);
    return result;
}

/* ---- the end ---- */

uint32_t kept_drop(struct kept *kept, struct queue_pair *charge)
{
    uint64_t handles[DROP_BULK], chain[KEPT_CHAIN * DROP_BULK];
    uint8_t segments[DROP_BULK];
    struct columns columns = {.handles = handles, .chain = chain, .segments = segments};
    uint32_t dropped = 0;
    int n;

    while ((n = kept_recv(kept, &columns, DROP_BULK)) > 0) {
        pair_release_chains(charge, handles, chain, segments, (uint32_t)n);
        dropped += (uint32_t)n;
    }
    return dropped;
}
