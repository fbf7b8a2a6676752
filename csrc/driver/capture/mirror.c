/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer of a mirror. While it is attached, a pair's burst functions are the ones below, which call the plain
 * functions and copy what these moved; without a mirror none of this runs, and the plain functions have no branch
 * for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/capture/filter.h"
#include "driver/capture/mirror.h"
#include "driver/capture/whole.h"
#include "driver/clock.h"
#include "driver/ring/queue_pair.h"

#define BURST 256u /* packets that are received at a time, where columns of our own are needed */
#define SPINS_BEFORE_SLEEP 200u
#define PAUSE_NS 20000

_Static_assert(sizeof(struct mirror_record) == MIRROR_ALIGN, "a record's head is one unit");
_Static_assert(sizeof(struct mirror_control) <= MIRROR_CONTROL,
               "the control words have their page");

struct mirror {
    struct mirror_config config;
    struct mirror_control own; /* what is true of all words but tail */
    uint64_t tail; /* the last one that was believed */
    struct filter_step *filter;
    uint8_t flags[BURST];
    uint16_t vlan[BURST];
    uint8_t whole[]; /* a frame in one piece, with its tag */
};

struct mirror *mirror_new(const struct mirror_config *config, int *error)
{
    struct mirror *mirror;

    *error = -EINVAL;
    if (!config->control || !config->data || !config->snaplen || config->size < MIRROR_LEAST ||
        (config->size & (config->size - 1)))
        return NULL;
    if (config->filter && filter_check(config->filter, config->steps) >= 0)
        return NULL;
    *error = -ENOMEM;
    mirror = calloc(1, sizeof(*mirror) + config->max_frame + TAG_BYTES);
    if (!mirror)
        return NULL;
    mirror->config = *config;
    if (config->filter) {
        size_t bytes = config->steps * sizeof(*config->filter);

        mirror->filter = malloc(bytes);
        if (!mirror->filter) {
            free(mirror);
            return NULL;
        }
        memcpy(mirror->filter, config->filter, bytes);
    }
    *error = 0;
    return mirror;
}

void mirror_free(struct mirror *mirror)
{
    if (mirror)
        free(mirror->filter);
    free(mirror);
}

/* ---- the ring ---- */

static bool has_room(struct mirror *mirror, uint64_t need)
{
    uint64_t size = mirror->config.size, tail;

    if (likely(mirror->own.head + need - mirror->tail <= size))
        return true;
    tail = __atomic_load_n(&mirror->config.control->tail, __ATOMIC_ACQUIRE);
    if (mirror->own.head - tail > size)
        return false; /* no position that a reader can have */
    mirror->tail = tail;
    return mirror->own.head + need - tail <= size;
}

static void write_data(struct mirror *mirror, uint64_t at, const uint8_t *from, uint32_t length)
{
    uint64_t place = at & (mirror->config.size - 1), end = mirror->config.size - place;
    uint32_t first = length < end ? length : (uint32_t)end;

    memcpy(mirror->config.data + place, from, first);
    memcpy(mirror->config.data, from + first, length - first);
}

/* Copies packet i of the columns. */
static void put_frame(struct mirror *mirror, const struct pool *pool, const struct columns *c,
                      uint32_t i, uint32_t tag_type, uint64_t now)
{
    const struct mirror_config *config = &mirror->config;
    struct mirror_record record = {.time_ns = now};
    const uint8_t *frame;
    struct whole whole;
    uint64_t need;

    whole_of(&whole, pool, c, i, tag_type, config->max_frame);
    frame = whole_frame(&whole, mirror->whole);
    mirror->own.frames++;
    mirror->own.bytes += whole.length;
    if (mirror->filter && !filter_run(mirror->filter, frame, whole.length, whole.length))
        return;
    record.length = whole.length;
    record.captured = whole.length < config->snaplen ? whole.length : config->snaplen;
    need = sizeof(record) + ((record.captured + MIRROR_ALIGN - 1) & ~(MIRROR_ALIGN - 1u));
    if (unlikely(!has_room(mirror, need))) {
        mirror->own.lost++;
        return;
    }
    write_data(mirror, mirror->own.head, (const uint8_t *)&record, sizeof(record));
    write_data(mirror, mirror->own.head + sizeof(record), frame, record.captured);
    mirror->own.head += need;
    mirror->own.written++;
    mirror->own.cut += record.captured < record.length;
    mirror->own.tagged += whole.tagged;
}

static void publish(struct mirror *mirror)
{
    struct mirror_control *shared = mirror->config.control;
    const struct mirror_control *own = &mirror->own;

    __atomic_store_n(&shared->frames, own->frames, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->bytes, own->bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->written, own->written, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->lost, own->lost, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->cut, own->cut, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->tagged, own->tagged, __ATOMIC_RELAXED);
    /* The records and counts must be there before the reader sees them announced. */
    __atomic_store_n(&shared->head, own->head, __ATOMIC_RELEASE);
}

/* ---- in and out of a burst ---- */

/* The mirror, which stays until `leave`; NULL when there is none any more. mirror_detach takes it away, then looks
 * whether somebody is inside: one of the two sees the other. */
static struct mirror *enter(struct mirror *const *of, uint32_t *inside)
{
    __atomic_store_n(inside, 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(of, __ATOMIC_SEQ_CST);
}

static void leave(uint32_t *inside)
{
    __atomic_store_n(inside, 0, __ATOMIC_RELEASE);
}

/* A mirror that is full and wanted once: nobody copies any more, unless another one has taken its place. */
static void end_if_full(struct mirror **of, struct mirror *mirror)
{
    struct mirror *mine = mirror;

    if (mirror->config.once && mirror->own.lost)
        __atomic_compare_exchange_n(of, &mine, NULL, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void wait_outside(const uint32_t *inside)
{
    struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (uint32_t spins = 0; __atomic_load_n(inside, __ATOMIC_SEQ_CST); spins++) {
        if (spins < SPINS_BEFORE_SLEEP)
            cpu_relax();
        else
            nanosleep(&pause, NULL);
    }
}

/* ---- receiving ---- */

static void put_received(struct mirror *mirror, const struct queue_pair *pair, struct columns *c,
                         uint32_t n)
{
    const struct pool *pool = pair->pool;
    uint64_t now = wall_clock();

    if (!pair->scattered)
        c->chain = NULL, c->segments = NULL;
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(pool_data(pool, c->handles[i]));
    for (uint32_t i = 0; i < n; i++)
        put_frame(mirror, pool, c, i, mirror->config.tag_type, now);
    publish(mirror);
}

static uint32_t receive(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                        bool owner, bool mark)
{
    struct mirror *mirror = enter(&pair->mirror.rx, &pair->mirror.rx_inside);
    rx_burst_fn plain = pair->paths_of[pair->format]->burst[mark];
    struct columns c = *columns;
    uint32_t got;

    if (unlikely(!mirror)) {
        leave(&pair->mirror.rx_inside);
        rx_use(pair);
        return plain(pair, columns, max, owner);
    }
    if (mirror->config.tag_type && !(c.flags && c.vlan)) {
        max = max < BURST ? max : BURST;
        memset(mirror->flags, 0, max); /* a queue without metadata fills none in */
        c.flags = c.flags ? c.flags : mirror->flags;
        c.vlan = c.vlan ? c.vlan : mirror->vlan;
    }
    got = plain(pair, &c, max, owner);
    if (got) {
        put_received(mirror, pair, &c, got);
        end_if_full(&pair->mirror.rx, mirror);
    }
    leave(&pair->mirror.rx_inside);
    return got;
}

static uint32_t receive_plain(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                              bool owner)
{
    return receive(pair, columns, max, owner, false);
}

static uint32_t receive_marked(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                               bool owner)
{
    return receive(pair, columns, max, owner, true);
}

/* ---- sending: the buffers of posted packets stay as they are until the side's holder reaps them ---- */

/* `post`: the plain function that writes the descriptors. */
static struct run send(struct queue_pair *pair, const uint64_t *handles, uint32_t n,
                       tx_post_fn post)
{
    struct mirror *mirror = enter(&pair->mirror.tx, &pair->mirror.tx_inside);
    uint64_t now;
    struct run run;

    if (unlikely(!mirror)) {
        leave(&pair->mirror.tx_inside);
        tx_use(pair);
        return post(pair, handles, n);
    }
    now = wall_clock(); /* before the device may send: an answer comes later */
    run = post(pair, handles, n);
    if (run.count) {
        struct columns c = {.handles = (uint64_t *)(uintptr_t)handles};

        for (uint32_t i = 0; i < run.count; i++)
            put_frame(mirror, pair->pool, &c, i, 0, now);
        publish(mirror);
        end_if_full(&pair->mirror.tx, mirror);
    }
    leave(&pair->mirror.tx_inside);
    return run;
}

#define SEND(name, kind, checked)                                                                  \
    static struct run name(struct queue_pair *pair, const uint64_t *handles, uint32_t n)           \
    {                                                                                              \
        return send(pair, handles, n, pair->tx_plain.kind[checked]);                               \
    }

SEND(post_plain, post, 0)
SEND(post_checked, post, 1)
SEND(burst_plain, burst, 0)
SEND(burst_checked, burst, 1)

static void send_seen(struct queue_pair *pair, const uint64_t *part, uint32_t segments)
{
    struct mirror *mirror = enter(&pair->mirror.tx, &pair->mirror.tx_inside);
    uint64_t row[CHAIN_MAX] = {0};
    uint8_t count = (uint8_t)segments;
    struct columns c = {.handles = row, .chain = row + 1, .segments = &count};

    if (mirror) {
        memcpy(row, part, segments * sizeof(*row));
        put_frame(mirror, pair->pool, &c, 0, 0, wall_clock());
        publish(mirror);
        end_if_full(&pair->mirror.tx, mirror);
    }
    leave(&pair->mirror.tx_inside);
}

/* ---- on and off ---- */

void mirror_attach(struct queue_pair *pair, struct mirror *rx, struct mirror *tx)
{
    struct mirror_hook *hook = &pair->mirror;

    if (!hook->tx_seen) { /* the first mirror of this pair: nobody looks at them yet */
        hook->rx_burst[0] = receive_plain;
        hook->rx_burst[1] = receive_marked;
        hook->tx_paths = (struct tx_paths){
            .post = {post_plain, post_checked},
            .burst = {burst_plain, burst_checked},
        };
        hook->tx_seen = send_seen;
    }
    /* Each mirror is stored before its functions (rx_use says why). */
    if (rx) {
        __atomic_store_n(&hook->rx, rx, __ATOMIC_SEQ_CST);
        for (int i = 0; i < 2; i++)
            __atomic_store_n(&pair->rx_paths.burst[i], hook->rx_burst[i], __ATOMIC_SEQ_CST);
    }
    if (tx) {
        __atomic_store_n(&hook->tx, tx, __ATOMIC_SEQ_CST);
        for (int i = 0; i < 2; i++) {
            __atomic_store_n(&pair->tx_paths.burst[i], hook->tx_paths.burst[i], __ATOMIC_SEQ_CST);
            __atomic_store_n(&pair->tx_paths.post[i], hook->tx_paths.post[i], __ATOMIC_SEQ_CST);
        }
    }
}

/* The functions stay: whoever calls one next finds no mirror and puts the plain ones back, since only the side's
 * holder knows which they are at that moment. */
void mirror_detach(struct queue_pair *pair)
{
    __atomic_store_n(&pair->mirror.rx, NULL, __ATOMIC_SEQ_CST);
    __atomic_store_n(&pair->mirror.tx, NULL, __ATOMIC_SEQ_CST);
    wait_outside(&pair->mirror.rx_inside);
    wait_outside(&pair->mirror.tx_inside);
}
