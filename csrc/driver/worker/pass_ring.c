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

_Static_assert(sizeof(struct pass_row) == 64, "one cache line a packet");

#define DROP_BULK 64

struct pass_ring *pass_ring_new(struct pool *pool, uint32_t capacity, int *error)
{
    struct pass_ring *ring;

    *error = -EINVAL;
    if (!pool || !capacity || capacity > PASS_RING_MAX || (capacity & (capacity - 1)))
        return NULL;
    *error = -ENOMEM;
    ring = lines_alloc(sizeof(*ring));
    if (!ring)
        return NULL;
    ring->pool = pool;
    ring->mask = capacity - 1;
    ring->row = lines_alloc(capacity * sizeof(*ring->row));
    if (!ring->row) {
        free(ring);
        return NULL;
    }
    ring->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->bell < 0) {
        *error = -errno;
        free(ring->row);
        free(ring);
        return NULL;
    }
    *error = 0;
    return ring;
}

void pass_ring_free(struct pass_ring *ring)
{
    if (!ring)
        return;
    close(ring->bell);
    free(ring->row);
    free(ring);
}

uint32_t pass_ring_count(const struct pass_ring *ring)
{
    return __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) -
           __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
}

static void wake_taker(struct pass_ring *ring)
{
    uint64_t one = 1;

    (void)!write(ring->bell, &one, sizeof(one));
}

void pass_ring_publish(struct pass_ring *ring, uint32_t n)
{
    __atomic_store_n(&ring->head, ring->head + n, __ATOMIC_RELEASE);
    /* The taker marks itself as waiting and then looks at the head, the worker moves the head and then
     * looks at the mark: one of the two sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->waiting, __ATOMIC_RELAXED))
        wake_taker(ring);
}

void pass_ring_start(struct pass_ring *ring)
{
    __atomic_store_n(&ring->ended, 0, __ATOMIC_RELEASE);
}

void pass_ring_end(struct pass_ring *ring)
{
    __atomic_store_n(&ring->ended, 1, __ATOMIC_RELEASE);
    wake_taker(ring);
}

/* ---- taking ---- */

static void copy_row(const struct columns *c, uint32_t i, const struct pass_row *row)
{
    c->handles[i] = row->handle;
    if (c->segments)
        c->segments[i] = row->segments;
    if (c->chain && row->segments > 1)
        memcpy(c->chain + (size_t)PASS_RING_CHAIN * i, row->chain, sizeof(row->chain));
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

int pass_ring_recv(struct pass_ring *ring, const struct columns *columns, uint32_t max)
{
    uint32_t tail = ring->tail;
    uint32_t n = pass_ring_count(ring);

    n = n < max ? n : max;
    for (uint32_t i = 0; i < n; i++)
        copy_row(columns, i, &ring->row[(tail + i) & ring->mask]);
    __atomic_store_n(&ring->tail, tail + n, __ATOMIC_RELEASE);
    return (int)n;
}

static bool worth_a_look(struct pass_ring *const *rings, uint32_t count, bool *ended)
{
    bool any = false;

    for (uint32_t i = 0; i < count; i++) {
        *ended |= __atomic_load_n(&rings[i]->ended, __ATOMIC_ACQUIRE) != 0;
        any |= pass_ring_count(rings[i]) != 0;
    }
    return any;
}

static void set_waiting(struct pass_ring *const *rings, uint32_t count, uint32_t waiting)
{
    for (uint32_t i = 0; i < count; i++)
        __atomic_store_n(&rings[i]->waiting, waiting, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* it pairs with the fence in pass_ring_publish */
}

static int sleep_on(struct pass_ring *const *rings, uint32_t count, int64_t timeout_ns)
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

int pass_ring_wait(struct pass_ring *const *rings, uint32_t count, int64_t timeout_ns)
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

uint32_t pass_ring_drop(struct pass_ring *ring, struct queue_pair *pair)
{
    uint64_t handles[DROP_BULK], chain[PASS_RING_CHAIN * DROP_BULK];
    uint8_t segments[DROP_BULK];
    struct columns columns = {.handles = handles, .chain = chain, .segments = segments};
    uint32_t dropped = 0;
    int n;

    while ((n = pass_ring_recv(ring, &columns, DROP_BULK)) > 0) {
        pair_release_chains(pair, handles, chain, segments, (uint32_t)n);
        dropped += (uint32_t)n;
    }
    return dropped;
}
