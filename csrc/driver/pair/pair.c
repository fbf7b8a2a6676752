/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue pair from pair_new to pair_free. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/lines.h"
#include "driver/ring/guard.h"
#include "driver/ring/metadata.h"
#include "driver/ring/vector.h"
#include "driver/simd/isa_table.h"

_Static_assert(sizeof(struct tx_desc) == 16, "send descriptor");
_Static_assert(sizeof(struct rx_desc) == 32, "receive descriptor");
_Static_assert(CHAIN_MAX == RX_MAX_CHAIN, "a chain fits its row");

#define FRAME_LIMIT 16383 /* the longest frame of a queue context (docs/spec/descriptors.md 10) */
#define REARM_NS 50000 /* least time between two re-arms: an ITR period of Linux' default */

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
        config->isa > ISA_NEON)
        return -EINVAL;
    return 0;
}

static int rx_setup(struct queue_pair *pair, const struct pair_config *config)
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
    if (!metadata_format(pair, config->flex))
        return -EINVAL;
    pair->flex_asked = pair->flex;
    metadata_classes(pair);
    return 0;
}

/* Picks the functions for this CPU, format and metadata: 0 or -ENOTSUP. */
static int isa_setup(struct queue_pair *pair, const struct pair_config *config)
{
    const struct isa *isa = isa_choose(config->isa);
    enum rx_metadata metadata = METADATA_ALL;

    if (!isa)
        return -ENOTSUP;
    if (!config->metadata)
        metadata = METADATA_NONE;
    else if (!(config->metadata & ~(uint32_t)(META_RSS | META_PTYPE | META_CSUM)))
        metadata = METADATA_BASIC;
    for (uint32_t format = FORMAT_LEGACY; format <= FORMAT_FLEX_OVS; format++)
        pair->paths_of[format] = isa->rx((enum rx_format)format, metadata);
    pair->rx_post = isa->rx_post;
    pair->tx_plain = isa->tx;
    rx_use(pair);
    tx_use(pair);
    pair->byte_tables = isa->byte_tables && isa->byte_tables();
    pair->isa_name = isa->name;
    return 0;
}

static void tx_setup(struct queue_pair *pair, const struct pair_config *config)
{
    pair->tx_ring = config->tx_ring;
    pair->tx_entries = config->tx_entries;
    pair->tx_free =
        config->tx_entries - 1; /* tail must not reach head (docs/spec/descriptors.md 3) */
    pair->tx_tail = config->tx_tail;
    pair->sq = config->sq;
    /* Without a mapped doorbell no burst is the usual one (tx_usual). */
    pair->tx_roomy = !config->tx_tail                          ? UINT32_MAX
                     : config->tx_entries >= 2 * CLEAN_BACKLOG ? config->tx_entries - CLEAN_BACKLOG
                                                               : RS_SPACING + TX_RESERVE;
    pair->tx_max_frame = config->max_frame < TX_MAX_FRAME ? config->max_frame : TX_MAX_FRAME;
}

static void registers_setup(struct queue_pair *pair, const struct pair_config *config)
{
    pair->regio = config->regio;
    pair->queue = config->queue;
    pair->rearm = pair->tend_empty = config->rearm && config->event_fd >= 0;
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

struct queue_pair *pair_new(const struct pair_config *config, int *error)
{
    struct queue_pair *pair;

    *error = config_check(config);
    if (*error)
        return NULL;
    *error = -ENOMEM;
    pair = lines_alloc(sizeof(*pair));
    if (!pair)
        return NULL;
    *error = rx_setup(pair, config);
    if (!*error)
        *error = isa_setup(pair, config);
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
    metadata_constants(pair);
    tx_setup(pair, config);
    registers_setup(pair, config);
    pair->rx_sw = lines_alloc(pair->rx_entries * sizeof(*pair->rx_sw));
    pair->tx_sw = lines_alloc(pair->tx_entries * sizeof(*pair->tx_sw));
    pair->rs = lines_alloc(pair->tx_entries * sizeof(*pair->rs));
    pair->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pair->wake_fd < 0)
        *error = -errno;
    else if (pair->rx_sw && pair->tx_sw && pair->rs)
        *error = vector_join(pair, config);
    if (!*error)
        *error = pool_attach(pair->pool, &pair->cache.count);
    if (*error) {
        vector_leave(pair);
        if (pair->wake_fd >= 0)
            close(pair->wake_fd);
        free(pair->rs);
        free(pair->tx_sw);
        free(pair->rx_sw);
        free(pair);
        return NULL;
    }
    pool_use(pair->pool);
    return pair;
}

void pair_close(struct queue_pair *pair)
{
    if (pair_state(pair) == PAIR_CLOSED)
        return;
    pair_stop(pair, -ESHUTDOWN);
    __atomic_store_n(&pair->state, PAIR_CLOSED, __ATOMIC_SEQ_CST);
    pair_drain(pair);
    /* The guards are never given back: a thread that comes late defers its counts and uses the pool's
     * shared store. Nobody holds a guard for long now that the pair is closed. */
    while (!guard_try(&pair->rx_guard, GUARD_CALLER))
        cpu_relax();
    while (!guard_try(&pair->tx_guard, GUARD_CALLER))
        cpu_relax();
    while (!guard_own_cache(pair))
        cpu_relax();
    pool_detach(pair->pool, &pair->cache.count);
    pool_store(pair->pool, pair->cache.index, cache_count(&pair->cache));
}

void pair_free(struct queue_pair *pair)
{
    if (!pair)
        return;
    pair_close(pair);
    if (pair->watched) {
        pair->unwanted = true;
        return;
    }
    pool_free(pair->pool);
    vector_leave(pair);
    close(pair->wake_fd);
    free(pair->rs);
    free(pair->tx_sw);
    free(pair->rx_sw);
    free(pair);
}

uint32_t pair_stray_rxdid(const struct queue_pair *pair, int *taken)
{
    *taken = pair->flex != pair->flex_asked;
    return __atomic_load_n(&pair->stray_rxdid, __ATOMIC_RELAXED);
}

const char *pair_isa_name(const struct queue_pair *pair)
{
    return pair->isa_name;
}
