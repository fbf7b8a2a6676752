/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK's net_iavf as a backend. Its own set-up functions make the queues and choose the burst
 * functions, on an ethdev without a device: registers are plain memory, no virtchnl is spoken. What it
 * is told is what a VF with the wanted offloads would be told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ethdev_driver.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_vect.h>
#include <rte_version.h>

#include "iavf.h"
#include "iavf_rxtx.h"

#include "harness.h"

#define FRAME 60
#define BAR_BYTES 65536
#define CACHE 250 /* testpmd's */
/* the vector functions refill 32 slots a call: more a call and the ring runs dry */
#define CHUNK 32

/* The backend's variants. */
enum { PATH_SCALAR_FULL, PATH_SCALAR_BULK, PATH_SSE, PATH_AVX2, PATH_AVX512 };

struct theirs {
    struct instance head;
    struct rte_eth_dev *dev;
    struct iavf_adapter *adapter;
    struct rte_mempool *pool;
    eth_rx_burst_t receive;
    eth_tx_burst_t send;
    void *rxq, *txq;
    void *pool_memory;
    size_t pool_bytes;
    struct rte_mbuf *mbufs[BURST_MAX] __attribute__((aligned(64)));
};

static struct theirs *theirs_of(struct instance *instance)
{
    return (struct theirs *)(void *)instance;
}

const char *dpdk_version(void)
{
    return rte_version();
}

const char *dpdk_start(int cpu)
{
    char lcores[32];
    char *arguments[] = {
        "ring", "--no-huge", "--no-pci",      "--no-telemetry", "--no-shconf", "--iova-mode=va",
        "-m",   "512",       "--log-level=1", "--lcores",       lcores,
    };

    snprintf(lcores, sizeof(lcores), "0@%d", cpu);
    if (rte_eal_init((int)RTE_DIM(arguments), arguments) < 0)
        return "its environment layer does not start";
    return NULL;
}

/* ---- set-up ---- */

/* On the same kind of memory as our pool: what a card's huge pages would give both. The flag keeps the
 * mempool from padding every buffer to a page of its own, as it does when it knows of 4 KiB pages only. */
static void make_pool(struct theirs *theirs, const char *name, uint32_t count)
{
    uint32_t element = sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE};
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, count, element, CACHE, sizeof(private), 0, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

    if (!pool || rte_mempool_set_ops_byname(pool, "ring_mp_mc", NULL))
        die("dpdk: no mempool");
    rte_pktmbuf_pool_init(pool, &private);
    theirs->pool_bytes = (size_t)count * (element + 512);
    theirs->pool_memory = big_alloc(theirs->pool_bytes);
    if (rte_mempool_populate_iova(pool, theirs->pool_memory, IOVA_OF(theirs->pool_memory),
                                  theirs->pool_bytes, NULL, NULL) != (int)count)
        die("dpdk: the mempool does not fit its memory");
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    theirs->pool = pool;
}

/* Fills a ring as the driver's queue start does, without the message that starts the queue. */
static void fill(struct theirs *theirs)
{
    struct iavf_rx_queue *rxq = theirs->rxq;

    for (uint16_t i = 0; i < rxq->nb_rx_desc; i++) {
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(rxq->mp);

        if (!mbuf)
            die("dpdk: the pool ran dry");
        mbuf->port = rxq->port_id;
        rxq->rx_ring[i].read.pkt_addr = rte_mbuf_data_iova_default(mbuf);
        rxq->rx_ring[i].read.hdr_addr = 0;
        rxq->sw_ring[i] = mbuf;
    }
    *(volatile uint32_t *)(volatile void *)rxq->qrx_tail = rxq->nb_rx_desc - 1u;
}

static void choose(struct theirs *theirs, uint32_t path)
{
    static const uint16_t width[] = {
        [PATH_SCALAR_FULL] = RTE_VECT_SIMD_DISABLED,
        [PATH_SCALAR_BULK] = RTE_VECT_SIMD_DISABLED,
        [PATH_SSE] = RTE_VECT_SIMD_128,
        [PATH_AVX2] = RTE_VECT_SIMD_256,
        [PATH_AVX512] = RTE_VECT_SIMD_512,
    };

    if (rte_vect_set_max_simd_bitwidth(width[path]))
        die("dpdk: SIMD width is fixed");
    if (path == PATH_SCALAR_FULL)
        theirs->adapter->rx_bulk_alloc_allowed = false;
    iavf_set_rx_function(theirs->dev);
    iavf_set_tx_function(theirs->dev);
    theirs->receive = theirs->dev->rx_pkt_burst;
    theirs->send = theirs->dev->tx_pkt_burst;
}

static uint64_t offloads_of(enum metadata metadata)
{
    uint64_t offloads = 0;

    if (metadata >= META_SET_BASIC)
        offloads |= RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH;
    if (metadata >= META_SET_ALL)
        offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    return offloads;
}

static void make_device(struct theirs *theirs, const char *name, const struct setup *setup)
{
    struct rte_eth_dev *dev = rte_eth_dev_allocate(name);
    struct iavf_adapter *adapter = rte_zmalloc(NULL, sizeof(*adapter), 64);

    if (!dev || !adapter)
        die("dpdk: no ethdev");
    dev->data->dev_private = adapter;
    dev->data->nb_rx_queues = dev->data->nb_tx_queues = 1;
    dev->data->rx_queues = rte_zmalloc(NULL, sizeof(void *), 0);
    dev->data->tx_queues = rte_zmalloc(NULL, sizeof(void *), 0);
    dev->data->dev_conf.rxmode.offloads = offloads_of(setup->metadata);
    dev->data->dev_conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
    adapter->hw.hw_addr = rte_zmalloc(NULL, BAR_BYTES, 4096);
    adapter->dev_data = dev->data;
    adapter->vf.eth_dev = dev;
    adapter->vf.vf_res = rte_zmalloc(NULL, sizeof(*adapter->vf.vf_res), 0);
    if (!adapter->hw.hw_addr || !adapter->vf.vf_res)
        die("dpdk: out of memory");
    if (setup->flex)
        adapter->vf.vf_res->vf_cap_flags = VIRTCHNL_VF_OFFLOAD_RX_FLEX_DESC;
    adapter->vf.supported_rxdid = 1ull << IAVF_RXDID_COMMS_OVS_1;
    adapter->vf.vsi.adapter = adapter;
    adapter->rx_bulk_alloc_allowed = adapter->rx_vec_allowed = adapter->tx_vec_allowed = true;
    iavf_set_default_ptype_table(dev);
    theirs->dev = dev;
    theirs->adapter = adapter;
}

static struct instance *theirs_open(const struct backend *backend, const struct setup *setup)
{
    static uint32_t count;
    struct theirs *theirs = line_alloc(sizeof(*theirs));
    const struct rte_eth_rxconf rxconf = {0};
    const struct rte_eth_txconf txconf = {0};
    uint16_t entries = (uint16_t)setup->entries;
    struct iavf_rx_queue *rxq;
    struct iavf_tx_queue *txq;
    char name[16];

    snprintf(name, sizeof(name), "r%u", count++);
    make_pool(theirs, name, 2 * setup->entries + 2048);
    make_device(theirs, name, setup);
    if (iavf_dev_rx_queue_setup(theirs->dev, 0, entries, 0, &rxconf, theirs->pool) ||
        iavf_dev_tx_queue_setup(theirs->dev, 0, entries, 0, &txconf))
        die("dpdk: no queues of %u entries", setup->entries);
    rxq = theirs->rxq = theirs->dev->data->rx_queues[0];
    txq = theirs->txq = theirs->dev->data->tx_queues[0];
    fill(theirs);
    choose(theirs, backend->variant);
    theirs->head.backend = backend;
    theirs->head.device = (struct device){
        .rx = (void *)(uintptr_t)rxq->rx_ring,
        .tx = (void *)(uintptr_t)txq->tx_ring,
        .rx_tail = (volatile uint32_t *)(volatile void *)rxq->qrx_tail,
        .tx_tail = (volatile uint32_t *)(volatile void *)txq->qtx_tail,
        .entries = setup->entries,
        .flex = setup->flex,
    };
    return &theirs->head;
}

static void theirs_close(struct instance *instance)
{
    struct theirs *theirs = theirs_of(instance);
    struct iavf_adapter *adapter = theirs->adapter;
    const struct rte_memzone *rx = ((struct iavf_rx_queue *)theirs->rxq)->mz;
    const struct rte_memzone *tx = ((struct iavf_tx_queue *)theirs->txq)->mz;

    /* Its buffers go with their memory: nothing is taken out of the rings first. */
    rte_memzone_free(rx);
    rte_memzone_free(tx);
    rte_free(((struct iavf_rx_queue *)theirs->rxq)->sw_ring);
    rte_free(((struct iavf_tx_queue *)theirs->txq)->sw_ring);
    rte_free(theirs->rxq);
    rte_free(theirs->txq);
    rte_free(adapter->vf.vf_res);
    rte_free(adapter->hw.hw_addr);
    theirs->dev->data->mac_addrs = NULL;
    rte_eth_dev_release_port(theirs->dev); /* frees the adapter and the arrays of queues */
    rte_mempool_free(theirs->pool);
    big_free(theirs->pool_memory, theirs->pool_bytes);
    free(theirs);
}

static bool theirs_usable(const struct backend *backend)
{
    switch (backend->variant) {
    case PATH_AVX2:
        return rte_cpu_get_flag_enabled(RTE_CPUFLAG_AVX2) == 1;
    case PATH_AVX512:
        return rte_cpu_get_flag_enabled(RTE_CPUFLAG_AVX512F) == 1 &&
               rte_cpu_get_flag_enabled(RTE_CPUFLAG_AVX512BW) == 1;
    default:
        return true;
    }
}

static void theirs_take(struct instance *instance)
{
    struct theirs *theirs = theirs_of(instance);

    if (rte_pktmbuf_alloc_bulk(theirs->pool, theirs->mbufs, instance->burst))
        die("dpdk: the pool ran dry");
    for (uint32_t i = 0; i < instance->burst; i++)
        theirs->mbufs[i]->data_len = (uint16_t)(theirs->mbufs[i]->pkt_len = FRAME);
}

static void theirs_give(struct instance *instance, uint32_t from, uint32_t to)
{
    rte_pktmbuf_free_bulk(theirs_of(instance)->mbufs + from, to - from);
}

static void theirs_look(const struct instance *instance, uint32_t i, struct seen *seen)
{
    const struct rte_mbuf *mbuf = ((const struct theirs *)(const void *)instance)->mbufs[i];
    uint64_t flags = mbuf->ol_flags;

    *seen = (struct seen){
        .address = rte_mbuf_iova_get(mbuf) + mbuf->data_off,
        .length = mbuf->data_len,
        .rss = flags & RTE_MBUF_F_RX_RSS_HASH ? mbuf->hash.rss : 0,
        .udp = RTE_ETH_IS_IPV4_HDR(mbuf->packet_type) &&
               (mbuf->packet_type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_UDP,
        .vlan = flags & RTE_MBUF_F_RX_VLAN_STRIPPED ? mbuf->vlan_tci : 0,
        .good = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD,
        .bad = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD,
    };
}

/* ---- works ---- */

static void receive_chunks(struct theirs *theirs)
{
    uint32_t got = 0;
    uint32_t n;

    do {
        n = theirs->receive(theirs->rxq, theirs->mbufs + got, CHUNK);
        got += n;
    } while (n == CHUNK && got < theirs->head.ask);
    theirs->head.got = got;
}

static inline void receive_burst(struct theirs *theirs)
{
    if (theirs->head.ask > CHUNK)
        receive_chunks(theirs);
    else
        theirs->head.got = theirs->receive(theirs->rxq, theirs->mbufs, (uint16_t)theirs->head.ask);
}

static inline void send_burst(struct theirs *theirs, uint32_t n)
{
    theirs->head.sent = theirs->send(theirs->txq, theirs->mbufs, (uint16_t)n);
}

static void act_receive(struct instance *instance)
{
    receive_burst(theirs_of(instance));
}

static void act_receive_free(struct instance *instance)
{
    struct theirs *theirs = theirs_of(instance);

    receive_burst(theirs);
    rte_pktmbuf_free_bulk(theirs->mbufs, instance->got);
}

static void act_send(struct instance *instance)
{
    send_burst(theirs_of(instance), instance->burst);
}

static void act_alloc_send(struct instance *instance)
{
    theirs_take(instance);
    send_burst(theirs_of(instance), instance->burst);
}

static void act_forward(struct instance *instance)
{
    struct theirs *theirs = theirs_of(instance);

    receive_burst(theirs);
    send_burst(theirs, instance->got);
}

static void act_nothing(struct instance *instance)
{
    instance->got = 0;
}

#define THEIRS(label, number)                                                                      \
    {                                                                                              \
        .name = "dpdk",                                                                            \
        .isa = label,                                                                              \
        .variant = number,                                                                         \
        .usable = theirs_usable,                                                                   \
        .open = theirs_open,                                                                       \
        .close = theirs_close,                                                                     \
        .take = theirs_take,                                                                       \
        .give = theirs_give,                                                                       \
        .look = theirs_look,                                                                       \
        .act =                                                                                     \
            {                                                                                      \
                [WORK_RECEIVE] = act_receive,                                                      \
                [WORK_RECEIVE_FREE] = act_receive_free,                                            \
                [WORK_SEND] = act_send,                                                            \
                [WORK_ALLOC_SEND] = act_alloc_send,                                                \
                [WORK_FORWARD] = act_forward,                                                      \
                [WORK_EMPTY] = act_receive,                                                        \
                [WORK_NOTHING] = act_nothing,                                                      \
            },                                                                                     \
    }

const struct backend dpdk_backends[] = {
    THEIRS("scalar full", PATH_SCALAR_FULL),
    THEIRS("scalar", PATH_SCALAR_BULK),
    THEIRS("sse", PATH_SSE),
    THEIRS("avx2", PATH_AVX2),
    THEIRS("avx512", PATH_AVX512),
};
const uint32_t dpdk_count = sizeof(dpdk_backends) / sizeof(dpdk_backends[0]);
