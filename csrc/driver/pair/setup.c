/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/ring/metadata.h"
#include "driver/ring/queue_pair.h"

_Static_assert(sizeof(struct tx_desc) == 16, "send descriptor");
_Static_assert(sizeof(struct rx_desc) == 32, "receive descriptor");
_Static_assert(CHAIN_MAX == RX_MAX_CHAIN, "a chain fits its row");

#define SPINS_BEFORE_SLEEP 200
#define FRAME_LIMIT 16383 /* what a queue context can say (descriptors 10) */
#define REARM_NS 50000 /* least time between two re-arms: an ITR period of Linux' default */

/* ---- set-up ---- */

static bool flex_known(uint32_t flex)
{
    return !flex || flex == RXDID_FLEX_NIC || flex == RXDID_FLEX_NIC_2 ||
           (flex >= RXDID_COMMS_GENERIC && flex <= RXDID_COMMS_AUX_IP_OFFSET);
}

static bool entries_good(uint32_t entries)
{
    return entries >= RING_MIN && entries <= RING_MAX && entries % RING_MULTIPLE == 0;
}

static int config_check(const struct pair_config *config)
{
    const struct pool *pool = config->pool;

    if (!pool || !config->rx_ring || !config->tx_ring || !config->rq || !config->sq)
        return -EINVAL;
    if ((!config->rx_tail || !config->tx_tail || config->dyn_ctl) && !config->regio)
        return -EINVAL;
    if (!entries_good(config->rx_entries) || !entries_good(config->tx_entries))
        return -EINVAL;
    if (!config->buffer_size || config->buffer_size > pool->stride - pool->headroom)
        return -EINVAL;
    if (config->max_frame < TX_MIN_FRAME || config->max_frame > FRAME_LIMIT ||
        !flex_known(config->flex) || config->isa > ISA_NEON)
        return -EINVAL;
    return 0;
}

static void *lines_alloc(size_t bytes)
{
    size_t size = (bytes + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, size);

    if (memory)
        memset(memory, 0, size);
    return memory;
}

static void receive_setup(struct pair *pair, const struct pair_config *config)
{
    pair->rx_ring = config->rx_ring;
    pair->rx_entries = config->rx_entries;
    pair->rx_tail = config->rx_tail;
    pair->rq = config->rq;
    pair->buffer_size = config->buffer_size;
    pair->max_frame = config->max_frame;
    pair->rx_limit =
        config->buffer_size < config->max_frame ? config->buffer_size : config->max_frame;
    pair->scattered = config->scattered;
    pair->vlan_in_l2tag2 = config->vlan_in_l2tag2;
    pair->flex = config->flex == RXDID_LEGACY_32B ? 0 : config->flex;
    if (!pair->flex)
        pair->format = FORMAT_LEGACY;
    else if (pair->flex == RXDID_COMMS_OVS_1 || pair->flex == RXDID_COMMS_OVS_2)
        pair->format = FORMAT_FLEX_OVS;
    else
        pair->format = FORMAT_FLEX;
    metadata_classes(pair);
}

static void send_setup(struct pair *pair, const struct pair_config *config)
{
    pair->tx_ring = config->tx_ring;
    pair->tx_entries = config->tx_entries;
    pair->tx_free = config->tx_entries - 1; /* tail must not reach head (descriptors 3) */
    pair->tx_tail = config->tx_tail;
    pair->sq = config->sq;
    /* Without a mapped doorbell no burst is a usual one. */
    pair->tx_roomy = !config->tx_tail                          ? UINT32_MAX
                     : config->tx_entries >= 2 * CLEAN_BACKLOG ? config->tx_entries - CLEAN_BACKLOG
                                                               : RS_SPACING + TX_RESERVE;
    pair->tx_max_frame = config->max_frame < TX_MAX_FRAME ? config->max_frame : TX_MAX_FRAME;
}

static void vector_setup(struct pair *pair, const struct pair_config *config)
{
    pair->regio = config->regio;
    pair->queue = config->queue;
    pair->dyn_ctl = config->dyn_ctl;
    pair->poll_ctl = config->poll_ctl;
    pair->sleep_ctl = config->sleep_ctl;
    pair->rearm = config->rearm && config->event_fd >= 0;
    pair->event_fd = config->event_fd;
    /* An event may be taken by a sleeper or by a re-arm: neither may block on the other's. */
    if (pair->event_fd >= 0)
        fcntl(pair->event_fd, F_SETFL, fcntl(pair->event_fd, F_GETFL) | O_NONBLOCK);
    if (pair->rearm)
        pair->rearm_ticks = (uint64_t)(tsc_hz() * REARM_NS / 1e9);
}

/* Small pools must not disappear in the caches of many pairs. */
static uint32_t cache_capacity(const struct pool *pool)
{
    uint32_t share = pool->count / 8;

    share = share < CACHE_MAX ? share : CACHE_MAX;
    return share > POOL_BULK ? share : POOL_BULK;
}

struct pair *pair_new(const struct pair_config *config, int *error)
{
    struct pair *pair;

    *error = config_check(config);
    if (*error)
        return NULL;
    *error = -ENOMEM;
    pair = lines_alloc(sizeof(*pair));
    if (!pair)
        return NULL;
    receive_setup(pair, config);
    *error = receive_choose(pair, config);
    if (*error) {
        free(pair);
        return NULL;
    }
    *error = -ENOMEM;
    pair->pool = config->pool;
    pair->pool_iova = config->pool_iova;
    pair->stride = config->pool->stride;
    pair->headroom = config->pool->headroom;
    pair->held = config->pool->held;
    pair->buffers = config->pool->count;
    pair->cache.capacity = cache_capacity(config->pool);
    pair->hang_packets = UINT64_MAX;
    metadata_numbers(pair);
    send_setup(pair, config);
    vector_setup(pair, config);
    pair->rx_sw = lines_alloc(pair->rx_entries * sizeof(*pair->rx_sw));
    pair->tx_sw = lines_alloc(pair->tx_entries * sizeof(*pair->tx_sw));
    pair->rs = lines_alloc(pair->tx_entries * sizeof(*pair->rs));
    pair->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pair->wake_fd < 0)
        *error = -errno;
    else if (pair->rx_sw && pair->tx_sw && pair->rs)
        *error = pool_attach(pair->pool, &pair->cache);
    if (*error) {
        if (pair->wake_fd >= 0)
            close(pair->wake_fd);
        free(pair->rs);
        free(pair->tx_sw);
        free(pair->rx_sw);
        free(pair);
        return NULL;
    }
    return pair;
}

static bool guard_take(uint32_t *guard)
{
    uint32_t holder = GUARD_FREE;

    return __atomic_compare_exchange_n(guard, &holder, GUARD_CALLER, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

void pair_close(struct pair *pair)
{
    if (pair_state(pair) == PAIR_CLOSED)
        return;
    pair_stop(pair, -ESHUTDOWN);
    __atomic_store_n(&pair->state, PAIR_CLOSED, __ATOMIC_SEQ_CST);
    pair_drain(pair);
    /* The guards are never given back: whoever comes late counts in the ledger and uses the pool's
     * shared store. Nobody holds one for long now that the state is what it is. */
    while (!guard_take(&pair->rx_guard))
        cpu_relax();
    while (!guard_take(&pair->tx_guard))
        cpu_relax();
    while (!pair_own_cache(pair))
        cpu_relax();
    pool_detach(pair->pool, &pair->cache);
    pool_store(pair->pool, pair->cache.index, cache_count(&pair->cache));
}

void pair_free(struct pair *pair)
{
    if (!pair)
        return;
    pair_close(pair);
    close(pair->wake_fd);
    free(pair->rs);
    free(pair->tx_sw);
    free(pair->rx_sw);
    free(pair);
}

const char *pair_isa_name(const struct pair *pair)
{
    return pair->isa_name;
}

/* ---- lifecycle ---- */

int pair_arm(struct pair *pair)
{
    uint64_t stale;
    int error;

    if (pair_state(pair) == PAIR_CLOSED)
        return -EBADF;
    if (pair_state(pair) == PAIR_RUNNING || pair->rx_filled)
        return -EBUSY;
    /* No stale write-back may be taken for a new one, nor old bytes shown to the device (S5). */
    memset(pair->rx_ring, 0, pair->rx_entries * sizeof(*pair->rx_ring));
    memset(pair->tx_ring, 0, pair->tx_entries * sizeof(*pair->tx_ring));
    (void)!read(pair->wake_fd, &stale, sizeof(stale));
    error = receive_fill(pair);
    if (error)
        return error;
    __atomic_store_n(&pair->hang_packets, UINT64_MAX, __ATOMIC_RELAXED);
    __atomic_store_n(&pair->state, PAIR_ARMED, __ATOMIC_SEQ_CST);
    receive_doorbell(pair);
    return 0;
}

static int why_not(int32_t state)
{
    return state < 0 ? state : -ESHUTDOWN;
}

int pair_start(struct pair *pair)
{
    int32_t armed = PAIR_ARMED;

    if (pair->dyn_ctl && pair->regio->write32(pair->regio, pair->dyn_ctl, pair->poll_ctl) < 0)
        return -ENODEV;
    /* A reset that the watch thread saw in between wins. */
    if (!__atomic_compare_exchange_n(&pair->state, &armed, PAIR_RUNNING, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return armed == PAIR_RUNNING ? 0 : why_not(armed);
    return 0;
}

static void wake(struct pair *pair)
{
    uint64_t one = 1;

    (void)!write(pair->wake_fd, &one, sizeof(one));
}

void pair_halt(struct pair *pair, int why)
{
    int32_t state = pair_state(pair);

    /* A lost device stays lost, a closed pair closed. */
    while (state != -ENODEV && state != PAIR_CLOSED &&
           !__atomic_compare_exchange_n(&pair->state, &state, why < 0 ? why : -ESHUTDOWN, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    wake(pair);
}

static void wait_free(const struct pair *pair, const uint32_t *guard)
{
    struct timespec pause = {.tv_nsec = 20000};

    for (uint32_t spins = 0; __atomic_load_n(guard, __ATOMIC_SEQ_CST) != GUARD_FREE; spins++) {
        if (pair_state(pair) == PAIR_CLOSED)
            return; /* its guards stay taken */
        if (spins < SPINS_BEFORE_SLEEP)
            cpu_relax();
        else
            nanosleep(&pause, NULL);
    }
}

void pair_stop(struct pair *pair, int why)
{
    pair_halt(pair, why);
    wait_free(pair, &pair->rx_guard);
    wait_free(pair, &pair->tx_guard);
    wait_free(pair, &pair->cache_guard);
}

void pair_drain(struct pair *pair)
{
    receive_drain(pair);
    send_drain(pair);
    pair_settle(pair);
}

int pair_enter_slow(struct pair *pair, uint32_t *guard)
{
    int32_t state = pair_state(pair);
    uint32_t holder;

    if (unlikely(state != PAIR_RUNNING))
        return why_not(state);
    for (;;) {
        holder = GUARD_FREE;
        if (likely(__atomic_compare_exchange_n(guard, &holder, GUARD_CALLER, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)))
            break;
        if (holder == GUARD_CALLER) {
            state = pair_state(pair); /* stopped or closed since the look above */
            return state == PAIR_RUNNING ? -EBUSY : why_not(state);
        }
        cpu_relax(); /* the watch thread is gone in a moment */
    }
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    state = __atomic_load_n(&pair->state, __ATOMIC_SEQ_CST);
    if (unlikely(state != PAIR_RUNNING)) {
        pair_leave(guard);
        return why_not(state);
    }
    return 0;
}

/* ---- calls ---- */

int pair_recv(struct pair *pair, const struct columns *columns, uint32_t max)
{
    uint32_t got;
    bool owner;
    int error;

    if (unlikely(!columns->handles || (pair->scattered && (!columns->chain || !columns->segments))))
        return -EINVAL;
    error = pair_enter(pair, &pair->rx_guard);
    if (unlikely(error))
        return error;
    owner = pair_own_cache(pair);
    got = pair->receive.receive[1](pair, columns, max, owner);
    pair_disown_cache(pair, owner);
    if (unlikely(!got && pair->rearm))
        pair_rearm(pair);
    pair_leave(&pair->rx_guard);
    return (int)got;
}

/* What pair_send does when it is more than a burst: it needs the cache. */
static __attribute__((noinline)) int send_more(struct pair *pair, const uint64_t *handles,
                                               const uint64_t *chain, const uint8_t *segments,
                                               uint32_t n, uint32_t *refused)
{
    bool owner = pair_own_cache(pair);
    uint32_t done = send_any(pair, handles, chain, segments, n, refused, owner, true);

    pair_disown_cache(pair, owner);
    if (unlikely(!done && pair->rearm))
        pair_rearm(pair);
    pair_leave(&pair->tx_guard);
    return (int)done;
}

/* After the good packets at the head of a burst that were written already. */
static __attribute__((noinline)) int send_after(struct pair *pair, const uint64_t *handles,
                                                uint32_t n, struct run run, uint32_t *refused)
{
    bool owner = pair_own_cache(pair);
    uint32_t done = send_rest(pair, handles, NULL, NULL, n, run, refused, owner, true);

    pair_disown_cache(pair, owner);
    pair_leave(&pair->tx_guard);
    return (int)done;
}

int pair_send(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
              const uint8_t *segments, uint32_t n, uint32_t *refused)
{
    int error;

    *refused = 0;
    error = pair_enter(pair, &pair->tx_guard);
    if (unlikely(error))
        return error;
    if (likely(send_usual(pair, segments, n))) {
        struct run run = pair->send.burst[1](pair, handles, n);

        if (likely(run.count == n)) {
            pair_leave(&pair->tx_guard);
            return (int)n;
        }
        return send_after(pair, handles, n, run, refused);
    }
    return send_more(pair, handles, chain, segments, n, refused);
}

int pair_clean(struct pair *pair)
{
    uint32_t done;
    bool owner;
    int error = pair_enter(pair, &pair->tx_guard);

    if (unlikely(error))
        return error;
    owner = pair_own_cache(pair);
    done = send_clean(pair, owner);
    pair_disown_cache(pair, owner);
    if (unlikely(!done && pair->rearm && send_pending(pair)))
        pair_rearm(pair);
    pair_leave(&pair->tx_guard);
    return (int)done;
}

uint32_t pair_in_flight(struct pair *pair)
{
    return send_pending(pair);
}

int pair_alloc(struct pair *pair, uint64_t *handles, uint32_t n)
{
    struct pool_tally tally = {0};
    bool owner = pair_own_cache(pair);
    uint32_t headroom = pair->headroom;
    uint8_t *held = pair->held;
    uint32_t spare[POOL_BULK];
    uint32_t done = 0;

    while (done < n) {
        uint32_t want = n - done < POOL_BULK ? n - done : POOL_BULK;
        uint32_t got = want;
        const uint32_t *index = pair_get(pair, &got, owner, spare, &tally);

        for (uint32_t i = 0; i < got; i++) {
            mark_held(held, index[i]);
            handles[done + i] = handle_make(index[i], headroom, 0);
        }
        done += got;
        if (got < want)
            break;
    }
    ledger_pool(pair, &tally, owner);
    pair_disown_cache(pair, owner);
    return (int)done;
}
