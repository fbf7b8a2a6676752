/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of the data plane in one process: memory it shares with the device, one VF's rings, and the
 * driver's side of them. The client's mappings are its own, so a race detector sees what each side owns. */
#ifndef IAVFIO_TESTS_SOFTVF_RIG_H
#define IAVFIO_TESTS_SOFTVF_RIG_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/desc.h"
#include "hw/regs.h"
#include "softvf/cdef.h"

#define RIG_IOVA 0x10000000ull
#define RIG_RX_RING 0x80000ull /* offsets in the shared memory; the Tx ring lies at 0 */
#define RIG_BUFFERS 0x200000ull
#define RIG_STRIDE 2176u
#define RIG_SIZE 0x1800000ull
#define RIG_MAX_FRAME 9728u

/* Unlike assert, stays in a release build. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const struct softvf_card rig_card = {
    .bar_size = 0x10000, .flex = 1, .e810_itr = 1, .wb_on_itr = 1};

struct rig {
    struct plane *plane;
    uint32_t vf, entries;
    int fd;
    uint8_t *memory, *bar;
    struct tx_desc *tx;
    struct rx_desc *rx;
    uint32_t tx_head, tx_tail, rx_head, rx_tail; /* the driver's own indices */
};

static const uint8_t rig_mac[6] = {0x02, 0, 0, 0, 0, 0x01};

static inline uint64_t rig_buffer(uint32_t index)
{
    return RIG_BUFFERS + (uint64_t)index * RIG_STRIDE;
}

static inline void rig_doorbell(struct rig *rig, uint32_t at, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)(rig->bar + at), value, __ATOMIC_RELEASE);
}

static inline void rig_config(struct softvf_config *config, uint32_t vf)
{
    memset(config, 0, sizeof(*config));
    memcpy(config->primary, rig_mac, 6);
    config->primary[5] = (uint8_t)(config->primary[5] + vf);
    config->active = config->link_up = config->spoof_check = 1;
    config->insert_tpid = config->strip_tpids[0] = 0x8100;
    config->num_queues = 1;
    config->max_frame = RIG_MAX_FRAME;
    config->lut_size = RSS_LUT_SIZE;
    config->hashcfg = 1ull << PCTYPE_UDP4 | 1ull << PCTYPE_TCP4 | 1ull << PCTYPE_OTHER4;
    for (uint32_t i = 0; i < RSS_KEY_SIZE; i++)
        config->rss_key[i] = (uint8_t)(i * 37 + 11);
}

/* Memory, BAR and DMA window of one VF of a plane. */
static inline void rig_attach(struct rig *rig, struct plane *plane, uint32_t vf)
{
    memset(rig, 0, sizeof(*rig));
    rig->plane = plane;
    rig->vf = vf;
    rig->fd = memfd_create("rig", MFD_CLOEXEC);
    CHECK(rig->fd >= 0 && ftruncate(rig->fd, RIG_SIZE) == 0);
    rig->memory = mmap(NULL, RIG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
    rig->bar = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, plane_bar_fd(plane, vf), 0);
    CHECK(rig->memory != MAP_FAILED && rig->bar != MAP_FAILED);
    rig->tx = (struct tx_desc *)(void *)rig->memory;
    rig->rx = (struct rx_desc *)(void *)(rig->memory + RIG_RX_RING);
    plane_lock(plane);
    plane_set_bus_master(plane, vf, 1);
    CHECK(plane_dma_map(plane, vf, rig->fd, 0, RIG_IOVA, RIG_SIZE, 1, 1) == 0);
    plane_unlock(plane);
}

static inline void rig_detach(struct rig *rig)
{
    munmap(rig->memory, RIG_SIZE);
    munmap(rig->bar, 0x10000);
    close(rig->fd);
}

/* Rings of `entries`, all but one Rx descriptor posted, both queues enabled. */
static inline void rig_open(struct rig *rig, uint32_t entries, uint32_t rxdid)
{
    struct softvf_config config;
    uint64_t vlans[3 * 64] = {0};

    rig->entries = entries;
    rig->tx_head = rig->tx_tail = rig->rx_head = 0;
    memset(rig->memory, 0, RIG_RX_RING + entries * sizeof(struct rx_desc));
    for (uint32_t i = 0; i < entries; i++)
        rig->rx[i].qw0 = RIG_IOVA + rig_buffer(entries + i);
    rig->rx_tail = entries - 1;
    rig_config(&config, rig->vf);
    plane_lock(rig->plane);
    CHECK(plane_publish(rig->plane, rig->vf, &config, vlans) == 0);
    CHECK(plane_configure_tx(rig->plane, rig->vf, 0, RIG_IOVA, entries) == 0);
    CHECK(plane_configure_rx(rig->plane, rig->vf, 0, RIG_IOVA + RIG_RX_RING, entries, 2048,
                             RIG_MAX_FRAME, rxdid, 0) == 0);
    plane_unlock(rig->plane);
    rig_doorbell(rig, REG_QRX_TAIL1, rig->rx_tail);
    plane_lock(rig->plane);
    CHECK(plane_enable_queue(rig->plane, rig->vf, 0, 1) == 0);
    CHECK(plane_enable_queue(rig->plane, rig->vf, 0, 0) == 0);
    plane_unlock(rig->plane);
}

static inline void rig_put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* An IPv4/UDP frame of `len` bytes (no FCS) from the VF to itself, checksums right (UDP: none). */
static inline void rig_frame(uint8_t *frame, uint32_t len, uint32_t vf, uint32_t number)
{
    uint32_t sum = 0;

    memset(frame, 0, len);
    memcpy(frame, rig_mac, 6);
    memcpy(frame + 6, rig_mac, 6);
    frame[5] = frame[11] = (uint8_t)(frame[5] + vf);
    rig_put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    rig_put16(frame + 16, len - 14);
    frame[22] = 64;
    frame[23] = 17;
    frame[26] = frame[30] = 10;
    frame[29] = 1;
    frame[33] = 2;
    for (uint32_t i = 14; i < 34; i += 2)
        sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    rig_put16(frame + 24, ~sum);
    rig_put16(frame + 34, 1024 + number % 61);
    rig_put16(frame + 36, 9);
    rig_put16(frame + 38, len - 34);
    memcpy(frame + 42, &number, 4);
}

static inline uint64_t rig_tx_qw1(uint32_t cmd, uint32_t len)
{
    return (uint64_t)TX_DTYPE_DATA | (uint64_t)cmd << TXD_CMD_SHIFT |
           (uint64_t)len << TXD_BUF_SZ_SHIFT;
}

static inline uint32_t rig_next(const struct rig *rig, uint32_t index)
{
    return index + 1 == rig->entries ? 0 : index + 1;
}

#endif
