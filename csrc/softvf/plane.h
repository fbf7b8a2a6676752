/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's own structures. One thread moves packets; it holds `lock` for a round at a time and
 * lets control in between rounds, so nothing in here needs atomics but what the client's memory holds. */
#ifndef IAVFIO_SOFTVF_PLANE_H
#define IAVFIO_SOFTVF_PLANE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/desc.h"
#include "hw/regs.h"
#include "softvf/cdef.h"
#include "softvf/packet.h"
#include "softvf/uplink.h"

#define MAX_VFS 64
#define MAX_QUEUES 16
#define MAX_VECTORS 65
#define MAX_MACS 64
#define MAC_SLOTS 1024 /* open addressing; a power of two well above what VFs may hold */
#define MAX_FRAME_ROOM 16384
#define TSO_ROOM (256 * 1024 + 512)
#define BURST 32

struct dma_window {
    uint64_t iova;
    uint64_t size;
    uint8_t *address; /* NULL: the client gave no fd; accepted, never used */
    uint8_t *base; /* of the mapping that `address` lies in */
    uint64_t length; /* of that mapping */
    uint64_t device, inode, offset;
    bool readable, writable;
};

struct dma_table {
    struct dma_window *window; /* sorted by iova */
    uint32_t count, capacity, last;
};

struct tx_queue {
    bool configured, enabled, stopped;
    uint32_t entries, head;
    uint64_t iova;
    struct tx_desc *ring; /* NULL: not (wholly) mapped */
    uint32_t generation; /* of the DMA table that `ring` was looked up in */
    uint16_t rs[RING_MAX]; /* fifo of RS descriptors whose write-back is not visible yet */
    uint32_t rs_head, rs_tail;
    uint32_t vector, itr;
    uint64_t packets, bytes;
    bool doorbell_told;
};

struct rx_shadow {
    uint64_t qw[4];
};

struct rx_queue {
    bool configured, enabled, stopped;
    uint32_t entries, head, tail;
    uint64_t iova;
    struct rx_desc *ring;
    uint32_t generation;
    uint32_t buffer_size, max_frame;
    uint8_t rxdid;
    bool keep_crc;
    uint32_t wb_next; /* first filled descriptor that is not visible yet */
    struct rx_shadow *shadow; /* what will be written there */
    uint32_t vector, itr;
    uint64_t packets, bytes, no_descriptor;
};

struct vector {
    bool intena, wb_on_itr;
    bool cause; /* something to tell since the last interrupt */
    bool software; /* a software interrupt is pending */
    bool pending; /* MSI-X pending: wanted to fire, but no eventfd or masked */
    bool masked;
    int eventfd;
    uint32_t interval[3]; /* ns */
    uint32_t itrn_seen[3];
    uint64_t fired_ns;
    uint32_t rx_map, tx_map, rx_itr, tx_itr;
};

struct vf_config {
    struct softvf_config c;
    struct rss_conf rss;
    uint64_t vlan_bitmap[64];
};

struct vf {
    uint32_t index;
    uint8_t *bar;
    uint64_t bar_size;
    int bar_fd;
    bool bus_master, msix, rx_polling, link;
    bool master_told;
    struct dma_table dma;
    uint32_t dma_generation;
    struct tx_queue tx[MAX_QUEUES];
    struct rx_queue rx[MAX_QUEUES];
    uint32_t tx_enabled; /* bitmaps: what the thread looks at */
    uint32_t rx_enabled;
    struct vector vector[MAX_VECTORS];
    uint64_t vectors_busy; /* bitmap of vectors with a cause */
    struct vf_config *config;
    uint64_t stats[12];
};

struct mac_slot {
    uint64_t mac; /* 48 bits, 0 = free */
    uint64_t vfs; /* bitmap */
};

struct plane {
    pthread_mutex_t lock;
    uint32_t waiters;
    pthread_t thread;
    bool running, stop;
    uint32_t vfs;
    struct vf *vf;
    struct uplink *uplink;
    bool loopback;
    bool immediate, flex, e810_itr, link;
    uint32_t wb_group;
    uint64_t promiscuous; /* bitmaps of active VFs */
    uint64_t all_multicast;
    uint64_t active;
    struct mac_slot macs[MAC_SLOTS];
    int event_fd;
    struct softvf_event events[SOFTVF_EVENTS];
    uint32_t event_head, event_tail, events_lost;
    uint64_t now_ns;
    uint8_t frame[TSO_ROOM]; /* gathered packet */
    uint8_t segment[MAX_FRAME_ROOM];
    uint8_t tagged[MAX_FRAME_ROOM];
};

enum stat_index {
    RX_BYTES,
    RX_UCAST,
    RX_MCAST,
    RX_BCAST,
    RX_DISCARD,
    RX_UNKNOWN,
    TX_BYTES,
    TX_UCAST,
    TX_MCAST,
    TX_BCAST,
    TX_DISCARD,
    TX_ERROR
};

/* dma.c */
int dma_add(struct plane *plane, struct vf *vf, int fd, uint64_t offset, uint64_t iova,
            uint64_t size, bool readable, bool writable);
int64_t dma_remove(struct vf *vf, uint64_t iova, uint64_t size, bool all);
/* Address of [iova, +len) when one window holds all of it with that right, else NULL. */
uint8_t *dma_find(struct vf *vf, uint64_t iova, uint64_t len, bool write);
int dma_copy(struct vf *vf, uint64_t iova, void *data, uint64_t len, bool write);
int dma_guard_install(void);

/* transmit.c, receive.c, forward.c, vectors.c */
uint32_t transmit(struct plane *plane, struct vf *vf, uint32_t queue);
void tx_flush(struct plane *plane, struct vf *vf, struct tx_queue *q, bool force);
/* from: index of the sending VF, -1 = the wire. */
void receive(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len, int from);
uint32_t receive_room(struct vf *vf);
void rx_flush(struct plane *plane, struct vf *vf, struct rx_queue *q, bool force);
void forward_from_vf(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len);
uint32_t forward_from_wire(struct plane *plane);
void rebuild_switch(struct plane *plane);
void vector_cause(struct vf *vf, uint32_t vector);
void vectors_run(struct plane *plane, struct vf *vf);
void vector_try_fire(struct plane *plane, struct vf *vf, uint32_t vector);

/* plane.c */
void report(struct plane *plane, const struct vf *vf, uint32_t kind, const char *rule,
            const char *format, ...) __attribute__((format(printf, 5, 6)));

static inline uint32_t bar_load(const struct vf *vf, uint64_t offset)
{
    /* The doorbell is read before the descriptors it announces. */
    return __atomic_load_n((const uint32_t *)(const void *)(vf->bar + offset), __ATOMIC_ACQUIRE);
}

static inline uint64_t mac48(const uint8_t *mac)
{
    return (uint64_t)get32(mac) << 16 | get16(mac + 4);
}

#endif
