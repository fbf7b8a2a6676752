/* SPDX-License-Identifier: BSD-3-Clause */
/* What control may do to the data plane, with the lock held (cdef.h). */
#include <errno.h>
#include <stdlib.h>

#include "softvf/bar.h"
#include "softvf/delay.h"
#include "softvf/dma.h"
#include "softvf/report.h"
#include "softvf/rx_queue.h"
#include "softvf/switch.h"
#include "softvf/tx_queue.h"
#include "softvf/vectors.h"
#include "softvf/writeback.h"

int plane_dma_map(struct plane *plane, uint32_t vf, int fd, uint64_t offset, uint64_t iova,
                  uint64_t size, int readable, int writable)
{
    return dma_add(&plane->vf[vf], fd, offset, iova, size, readable, writable);
}

int64_t plane_dma_unmap(struct plane *plane, uint32_t vf, uint64_t iova, uint64_t size,
                        int everything)
{
    return dma_remove(&plane->vf[vf], iova, size, everything);
}

int plane_dma_bury(struct plane *plane, uint32_t vf, struct softvf_grave *grave)
{
    return dma_bury(&plane->vf[vf], grave);
}

void plane_dma_buried(struct plane *plane, uint32_t vf, const struct softvf_grave *grave)
{
    dma_buried(&plane->vf[vf], grave);
}

void plane_unmap(const struct softvf_grave *grave)
{
    dma_unmap(grave);
}

void plane_forgive(struct plane *plane, uint32_t vf)
{
    plane->condemned &= ~(1ull << vf);
}

int plane_dma_read(struct plane *plane, uint32_t vf, uint64_t iova, void *data, uint64_t len)
{
    return dma_copy(&plane->vf[vf], iova, data, len, false);
}

int plane_dma_write(struct plane *plane, uint32_t vf, uint64_t iova, const void *data, uint64_t len)
{
    return dma_copy(&plane->vf[vf], iova, (void *)(uintptr_t)data, len, true);
}

void plane_set_bus_master(struct plane *plane, uint32_t vf, int on)
{
    plane->vf[vf].bus_master = on;
    plane->vf[vf].dma_generation++;
    plane->vf[vf].master_reported = false;
}

/* The PF stores base / 128 and buffer size / 128: lower bits are lost (docs/spec/descriptors.md 10). */
static uint64_t ring_base(struct plane *plane, struct vf *vf, const char *what, uint32_t queue,
                          uint64_t iova)
{
    if (iova % RING_BASE_ALIGN)
        report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 10",
               "%s queue %u: ring base %#llx is not 128-byte aligned: the PF stores it in "
               "units of 128 bytes",
               what, queue, (unsigned long long)iova);
    return iova & ~(uint64_t)(RING_BASE_ALIGN - 1);
}

int plane_configure_tx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries)
{
    struct vf *v = &plane->vf[vf];
    struct tx_queue *q;

    if (queue >= MAX_QUEUES || entries > RING_MAX)
        return -EINVAL;
    q = &v->tx[queue];
    if (q->enabled)
        return -EBUSY;
    *q = (struct tx_queue){.vector = q->vector, .stalled = q->stalled};
    q->configured = entries != 0;
    q->entries = entries;
    q->iova = ring_base(plane, v, "Tx", queue, iova);
    q->generation = v->dma_generation - 1;
    return 0;
}

int plane_configure_rx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries, uint32_t buffer_size, uint32_t max_frame, uint32_t rxdid,
                       int keep_crc)
{
    struct vf *v = &plane->vf[vf];
    struct rx_queue *q;
    struct rx_shadow *shadow;

    if (queue >= MAX_QUEUES || entries > RING_MAX || buffer_size > RX_DATABUFFER_MAX)
        return -EINVAL;
    if (entries && buffer_size < RX_DATABUFFER_MIN)
        return -EINVAL; /* not even one unit of 128 bytes */
    q = &v->rx[queue];
    if (q->enabled)
        return -EBUSY;
    shadow = calloc(entries ? entries : 1, sizeof(*shadow));
    if (!shadow)
        return -ENOMEM;
    free(q->shadow);
    *q = (struct rx_queue){.vector = q->vector, .shadow = shadow};
    q->configured = entries != 0;
    q->entries = entries;
    q->iova = ring_base(plane, v, "Rx", queue, iova);
    q->buffer_size = buffer_size & ~(RX_DATABUFFER_MIN - 1u);
    q->max_frame = max_frame;
    q->rxdid = plane->card.flex ? (uint8_t)(rxdid & RXF_RXDID_MASK) : RXDID_LEGACY_32B;
    q->keep_crc = keep_crc;
    q->generation = v->dma_generation - 1;
    return 0;
}

/* A queue starts at descriptor 0 whenever it is enabled: drivers that stop and start one queue rely on
 * it. Its Tx doorbell starts at 0 too: what was written while it was off is ignored
 * (docs/spec/descriptors.md 15). The Rx doorbell is written before the queue is enabled, so it counts. */
int plane_enable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx)
{
    struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES || !(rx ? v->rx[queue].configured : v->tx[queue].configured))
        return -EINVAL;
    if (rx && !v->rx[queue].enabled) {
        struct rx_queue *q = &v->rx[queue];

        q->enabled = true;
        q->head = q->tail = q->wb_next = q->wb_pending = 0;
        rx_queue_forget_posted(q);
        v->rx_enabled |= q->stopped ? 0 : 1u << queue;
    } else if (!rx && !v->tx[queue].enabled) {
        struct tx_queue *q = &v->tx[queue];

        q->enabled = true;
        q->head = q->taken = q->rs_head = q->rs_tail = 0;
        q->parked = false;
        q->scanned = q->scanned_at = 0;
        plane_bar_write32(plane, vf, REG_QTX_TAIL1 + 4 * queue, 0);
        v->tx_enabled |= q->stopped ? 0 : 1u << queue;
    }
    return 0;
}

int plane_disable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx)
{
    struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES)
        return -EINVAL;
    if (rx && v->rx[queue].enabled) {
        writeback_flush(plane, v, &v->rx[queue], true);
        rx_queue_forget_posted(&v->rx[queue]);
        v->rx[queue].enabled = false;
        v->rx_enabled &= ~(1u << queue);
        if (!plane->card.tails_stay)
            plane_bar_write32(plane, vf, REG_QRX_TAIL1 + 4 * queue, 0);
    } else if (!rx && v->tx[queue].enabled) {
        tx_queue_flush(plane, v, &v->tx[queue], true);
        if (v->unfinished.queue == queue)
            v->unfinished.active = false;
        v->tx[queue].enabled = false;
        v->tx_enabled &= ~(1u << queue);
        if (!plane->card.tails_stay)
            plane_bar_write32(plane, vf, REG_QTX_TAIL1 + 4 * queue, 0);
    }
    return 0;
}

int plane_stall_tx(struct plane *plane, uint32_t vf, uint32_t queue, int on)
{
    if (queue >= MAX_QUEUES)
        return -EINVAL;
    plane->vf[vf].tx[queue].stalled = on;
    return 0;
}

int plane_spoil(struct plane *plane, uint32_t vf, uint32_t kind, uint32_t every)
{
    if (kind >= SOFTVF_SPOIL_KINDS)
        return -EINVAL;
    plane->vf[vf].spoil = (struct spoil){.kind = (enum softvf_spoil)kind, .every = every};
    switch_rebuild(plane);
    return 0;
}

int plane_publish(struct plane *plane, uint32_t vf, const struct softvf_config *config,
                  const uint64_t *vlans)
{
    struct vf_config *fresh = plane->vf[vf].config;
    struct flow_table *flows;
    int error;

    if (config->num_macs > MAX_MACS || config->lut_size > sizeof(config->rss_lut) ||
        config->num_rules > SOFTVF_RULES)
        return -EINVAL;
    if (config->delay_us && delay_prepare(&plane->vf[vf]))
        return -ENOMEM;
    error = flows_compile(config, &plane->tunnels, &flows);
    if (error)
        return error;
    flows_free(fresh->flows);
    fresh->flows = flows;
    if (fresh->c.rate != config->rate)
        plane->vf[vf].shaper = (struct shaper){0}; /* what was sent by another rate is paid */
    fresh->c = *config;
    fresh->c.flows = NULL; /* what it points to is the caller's */
    memcpy(fresh->vlan_bitmap, vlans, sizeof(fresh->vlan_bitmap));
    rss_prepare(&fresh->rss, config->rss_key, sizeof(config->rss_key), config->hashcfg,
                config->symmetric, config->x722_classes);
    switch_rebuild(plane);
    return 0;
}

int plane_check_flows(struct plane *plane, const struct softvf_config *config)
{
    struct flow_table *flows;
    int error = flows_compile(config, &plane->tunnels, &flows);

    flows_free(flows);
    return error;
}

void plane_set_link(struct plane *plane, int up)
{
    plane->link = up;
}

void plane_remove_tunnel(struct plane *plane, uint32_t port)
{
    struct pkt_tunnels *tunnels = &plane->tunnels;

    for (uint32_t i = 0; i < tunnels->count; i++)
        if (tunnels->entry[i].port == port)
            tunnels->entry[i] = tunnels->entry[--tunnels->count];
}

int plane_add_tunnel(struct plane *plane, uint32_t port, int geneve)
{
    struct pkt_tunnels *tunnels = &plane->tunnels;

    plane_remove_tunnel(plane, port);
    if (tunnels->count == TUNNEL_PORTS)
        return -ENOSPC;
    tunnels->entry[tunnels->count].port = (uint16_t)port;
    tunnels->entry[tunnels->count++].geneve = geneve;
    return 0;
}

void plane_stats(struct plane *plane, uint32_t vf, uint64_t *stats)
{
    memcpy(stats, plane->vf[vf].stats, sizeof(plane->vf[vf].stats));
}

void plane_clear_stats(struct plane *plane, uint32_t vf)
{
    memset(plane->vf[vf].stats, 0, sizeof(plane->vf[vf].stats));
}

void plane_strays(struct plane *plane, uint32_t vf, struct softvf_stray *strays)
{
    memcpy(strays, plane->vf[vf].stray, sizeof(plane->vf[vf].stray));
}

int plane_queue_stats(struct plane *plane, uint32_t vf, uint32_t queue, int rx, uint64_t *stats)
{
    const struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES)
        return -EINVAL;
    stats[0] = rx ? v->rx[queue].packets : v->tx[queue].packets;
    stats[1] = rx ? v->rx[queue].bytes : v->tx[queue].bytes;
    stats[2] = rx ? v->rx[queue].no_descriptor : 0;
    return 0;
}

static bool is_tail(uint32_t at)
{
    const uint32_t size = 4 * 256; /* of an E810; nothing else lies behind the 16 of the others */

    return at - REG_QTX_TAIL1 < size || at - REG_QRX_TAIL1 < size;
}

void plane_reset_vf(struct plane *plane, uint32_t vf)
{
    struct vf *v = &plane->vf[vf];

    v->tx_enabled = v->rx_enabled = 0;
    v->unfinished.active = false;
    v->credit = 0;
    delay_forget(plane, v);
    v->master_reported = false;
    for (uint32_t q = 0; q < MAX_QUEUES; q++) {
        free(v->rx[q].shadow);
        memset(&v->rx[q], 0, sizeof(v->rx[q]));
        memset(&v->tx[q], 0, sizeof(v->tx[q]));
    }
    vectors_reset(v);
    for (uint32_t at = 0; at < 0x3000; at += 4) /* doorbells; ITRN lies in the same page */
        if (!plane->card.tails_stay || !is_tail(at))
            plane_bar_write32(plane, vf, at, 0);
}
