/* SPDX-License-Identifier: BSD-3-Clause */
/* Our driver as a backend: whole calls of the pair, guards, checks, counters and marks included. "mirrored" is the same
 * while another process, which keeps up, mirrors both sides (docs/adr/0009). */
#include <stdlib.h>
#include <string.h>

#include "driver/capture/mirror.h"
#include "driver/driver.h"
#include "harness.h"

#define FRAME 60
#define COPIES (1u << 20) /* bytes of a mirror's ring */
#define TAG_TYPE 0x8100

struct ours {
    struct instance head;
    struct pool *pool;
    void *pool_memory, *rings;
    size_t pool_bytes, ring_bytes;
    struct queue_pair *pair;
    struct rq_counters *rq;
    struct sq_counters *sq;
    uint32_t rx_tail __attribute__((aligned(64)));
    uint32_t tx_tail;
    struct copies {
        struct mirror *mirror;
        struct mirror_control *control;
        void *data;
    } copies[2]; /* what is received, what is sent */
    struct columns columns;
    uint64_t handles[BURST_MAX] __attribute__((aligned(64)));
    uint8_t flags[BURST_MAX], csum[BURST_MAX];
    uint16_t ptype[BURST_MAX], vlan[BURST_MAX];
    uint32_t rss[BURST_MAX], mark[BURST_MAX], time[BURST_MAX];
};

static struct ours *ours_of(struct instance *instance)
{
    return (struct ours *)(void *)instance;
}

static void choose_columns(struct ours *ours, enum metadata metadata)
{
    ours->columns.handles = ours->handles;
    if (metadata == META_SET_NONE)
        return;
    ours->columns.flags = ours->flags;
    ours->columns.csum = ours->csum;
    ours->columns.ptype = ours->ptype;
    ours->columns.rss = ours->rss;
    if (metadata == META_SET_BASIC)
        return;
    ours->columns.vlan = ours->vlan;
    ours->columns.mark = ours->mark;
    ours->columns.time = ours->time;
}

/* ---- mirrored ---- */

static void mirror_both_sides(struct ours *ours, const struct setup *setup)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct copies *copies = &ours->copies[i];
        struct mirror_config config = {.size = COPIES, .snaplen = 65535, .max_frame = 1518};
        int error;

        copies->control = line_alloc(MIRROR_CONTROL);
        copies->data = big_alloc(COPIES);
        config.control = copies->control;
        config.data = copies->data;
        config.tag_type = i == 0 && setup->metadata == META_SET_ALL ? TAG_TYPE : 0;
        copies->mirror = mirror_new(&config, &error);
        if (!copies->mirror)
            die("no mirror");
    }
    mirror_attach(ours->pair, ours->copies[0].mirror, ours->copies[1].mirror);
}

static void read_copies(struct instance *instance)
{
    struct ours *ours = ours_of(instance);

    for (uint32_t i = 0; i < 2; i++)
        ours->copies[i].control->tail = ours->copies[i].control->head;
}

static void mirror_end(struct ours *ours)
{
    mirror_detach(ours->pair);
    for (uint32_t i = 0; i < 2; i++) {
        if (ours->copies[i].control->lost)
            die("the mirror lost frames: what was measured is not what it costs");
        mirror_free(ours->copies[i].mirror);
        free(ours->copies[i].control);
        big_free(ours->copies[i].data, COPIES);
    }
}

/* ---- opening and closing ---- */

static void ours_close(struct instance *instance)
{
    struct ours *ours = ours_of(instance);

    if (ours->copies[0].mirror)
        mirror_end(ours);
    pair_free(ours->pair);
    pool_free(ours->pool);
    big_free(ours->pool_memory, ours->pool_bytes);
    big_free(ours->rings, ours->ring_bytes);
    free(ours->rq);
    free(ours->sq);
    free(ours);
}

static struct instance *ours_open(const struct backend *backend, const struct setup *setup)
{
    static const uint32_t bits[] = {
        [META_SET_NONE] = 0,
        [META_SET_BASIC] = META_RSS | META_PTYPE | META_CSUM,
        [META_SET_ALL] = META_RSS | META_PTYPE | META_CSUM | META_VLAN | META_MARK | META_TIME,
    };
    struct ours *ours = line_alloc(sizeof(*ours));
    uint32_t buffers = 2 * setup->entries + 2048;
    struct pair_config config = {0};
    int error;

    ours->pool_bytes = (size_t)buffers * POOL_STRIDE;
    ours->pool_memory = big_alloc(ours->pool_bytes);
    ours->ring_bytes = (size_t)setup->entries * (sizeof(struct rx_desc) + sizeof(struct tx_desc));
    ours->rings = big_alloc(ours->ring_bytes);
    ours->rq = line_alloc(sizeof(*ours->rq));
    ours->sq = line_alloc(sizeof(*ours->sq));
    ours->pool = pool_new(ours->pool_memory, ours->pool_bytes, POOL_STRIDE, POOL_HEADROOM);
    if (!ours->pool)
        die("no pool");
    choose_columns(ours, setup->metadata);
    ours->head.backend = backend;
    ours->head.device = (struct device){
        .rx = ours->rings,
        .tx = (void *)((struct rx_desc *)ours->rings + setup->entries),
        .rx_tail = &ours->rx_tail,
        .tx_tail = &ours->tx_tail,
        .entries = setup->entries,
        .flex = setup->flex,
    };
    config.pool = ours->pool;
    config.pool_iova = IOVA_OF(ours->pool_memory);
    config.rx_ring = ours->head.device.rx;
    config.tx_ring = ours->head.device.tx;
    config.rx_tail = &ours->rx_tail;
    config.tx_tail = &ours->tx_tail;
    config.rq = ours->rq;
    config.sq = ours->sq;
    config.rx_entries = config.tx_entries = setup->entries;
    config.buffer_size = POOL_ROOM;
    config.max_frame = 1518;
    config.flex = setup->flex;
    config.metadata = bits[setup->metadata];
    config.isa = backend->variant;
    config.event_fd = -1;
    ours->pair = pair_new(&config, &error);
    if (!ours->pair) {
        ours_close(&ours->head);
        return NULL;
    }
    if (pair_arm(ours->pair) || pair_start(ours->pair))
        die("the pair does not start");
    if (backend->after)
        mirror_both_sides(ours, setup);
    return &ours->head;
}

static bool ours_usable(const struct backend *backend)
{
    const struct setup probe = {.entries = 64, .burst = 1};
    struct instance *instance = ours_open(backend, &probe);

    if (instance)
        ours_close(instance);
    return instance;
}

static void ours_take(struct instance *instance)
{
    struct ours *ours = ours_of(instance);

    if (pair_alloc(ours->pair, ours->handles, instance->burst) != (int)instance->burst)
        die("the pool ran dry");
    for (uint32_t i = 0; i < instance->burst; i++)
        ours->handles[i] |= (uint64_t)FRAME << HANDLE_LENGTH_SHIFT;
}

static void ours_give(struct instance *instance, uint32_t from, uint32_t to)
{
    struct ours *ours = ours_of(instance);

    pair_release(ours->pair, ours->handles + from, to - from);
}

static void ours_look(const struct instance *instance, uint32_t i, struct seen *seen)
{
    const struct ours *ours = (const void *)instance;
    uint64_t handle = ours->handles[i];

    *seen = (struct seen){
        .address = IOVA_OF(pool_data(ours->pool, handle)),
        .length = handle_length(handle),
    };
    if (ours->columns.rss) {
        seen->rss = ours->flags[i] & FLAG_RSS ? ours->rss[i] : 0;
        seen->udp = ours->ptype[i] == PTYPE_IPV4 + PTYPE_KIND_UDP;
        seen->good = (ours->csum[i] >> 2 & 3) == CSUM_GOOD;
        seen->bad = (ours->csum[i] >> 2 & 3) == CSUM_BAD;
    }
    if (ours->columns.vlan)
        seen->vlan = ours->flags[i] & FLAG_VLAN ? ours->vlan[i] : 0;
}

/* ---- works ---- */

static inline void receive_burst(struct ours *ours)
{
    int got = pair_recv(ours->pair, &ours->columns, ours->head.ask);

    ours->head.got = got > 0 ? (uint32_t)got : 0;
}

static inline void send_burst(struct ours *ours, uint32_t n)
{
    uint32_t refused;
    int sent = pair_send(ours->pair, ours->handles, NULL, NULL, n, &refused);

    ours->head.sent = sent > 0 ? (uint32_t)sent - refused : 0;
}

static void act_receive(struct instance *instance)
{
    receive_burst(ours_of(instance));
}

static void act_receive_free(struct instance *instance)
{
    struct ours *ours = ours_of(instance);

    receive_burst(ours);
    pair_release(ours->pair, ours->handles, instance->got);
}

static void act_send(struct instance *instance)
{
    send_burst(ours_of(instance), instance->burst);
}

static void act_alloc_send(struct instance *instance)
{
    ours_take(instance);
    send_burst(ours_of(instance), instance->burst);
}

static void act_forward(struct instance *instance)
{
    struct ours *ours = ours_of(instance);

    receive_burst(ours);
    send_burst(ours, instance->got);
}

static void act_worker(struct instance *instance)
{
    struct ours *ours = ours_of(instance);
    uint32_t refused;

    instance->got = rx_burst_of(ours->pair, false)(ours->pair, &ours->columns, instance->ask, true);
    instance->sent = tx_post(ours->pair, ours->handles, NULL, NULL, instance->got, &refused, true);
}

static void act_nothing(struct instance *instance)
{
    instance->got = 0;
}

#define OURS(called, label, number, mirrored)                                                      \
    {                                                                                              \
        .name = called,                                                                            \
        .isa = label,                                                                              \
        .variant = number,                                                                         \
        .apart = mirrored,                                                                         \
        .after = mirrored ? read_copies : NULL,                                                    \
        .usable = ours_usable,                                                                     \
        .open = ours_open,                                                                         \
        .close = ours_close,                                                                       \
        .take = ours_take,                                                                         \
        .give = ours_give,                                                                         \
        .look = ours_look,                                                                         \
        .act =                                                                                     \
            {                                                                                      \
                [WORK_RECEIVE] = act_receive,                                                      \
                [WORK_RECEIVE_FREE] = act_receive_free,                                            \
                [WORK_SEND] = act_send,                                                            \
                [WORK_ALLOC_SEND] = act_alloc_send,                                                \
                [WORK_FORWARD] = act_forward,                                                      \
                [WORK_WORKER] = act_worker,                                                        \
                [WORK_EMPTY] = act_receive,                                                        \
                [WORK_NOTHING] = act_nothing,                                                      \
            },                                                                                     \
    }

const struct backend iavfio_backends[] = {
    OURS("iavfio", "scalar", ISA_SCALAR, false), OURS("iavfio", "avx2", ISA_AVX2, false),
    OURS("iavfio", "avx512", ISA_AVX512, false), OURS("mirrored", "scalar", ISA_SCALAR, true),
    OURS("mirrored", "avx2", ISA_AVX2, true),    OURS("mirrored", "avx512", ISA_AVX512, true),
};
const uint32_t iavfio_count = sizeof(iavfio_backends) / sizeof(iavfio_backends[0]);
