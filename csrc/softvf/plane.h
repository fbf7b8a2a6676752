/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's own structures. One thread moves packets; it holds `lock` for a round at a time and
 * lets control in between rounds, so nothing in here needs atomics but what the client's memory holds. */
#ifndef IAVFIO_SOFTVF_PLANE_H
#define IAVFIO_SOFTVF_PLANE_H

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/desc.h"
#include "hw/ethernet.h"
#include "hw/regs.h"
#include "softvf/cdef.h"
#include "softvf/client.h"
#include "softvf/flows.h"
#include "softvf/packet.h"
#include "softvf/uplink.h"

#define MAX_VFS 64
#define MAX_QUEUES 16
#define MAX_VECTORS 65
#define NO_VECTOR MAX_VECTORS /* of a queue that no vector serves */
#define MAX_MACS 64
#define MAC_SLOTS 8192 /* open addressing; a power of two well above what all VFs may hold */
#define MAX_FRAME_ROOM 16384
#define TSO_ROOM (256 * 1024 + 512)
#define BURST 32
#define ROUND 64 /* packets of one queue before it is another's turn */
#define POSTED 128 /* descriptors fetched ahead; a power of two */
#define FAST_PATH_BURST 64 /* plain frames in one go */
#define STAGE_ROOM 128
#define LIMITERS 32
#define WINDOWS_LEAF 128

/* What the plane does for one VF in a round, in units of about the time that a plain frame takes. What a VF
 * overdraws it pays back in the next rounds (docs/spec/reliability.md D4). */
#define QUANTUM 128
#define WORK_DELIVERY 4 /* a frame into a ring on the slow path */
#define WORK_SEGMENT 2 /* of a TSO packet */
#define WORK_WIRE 16 /* a frame to the uplink */
#define WORK_BYTES 1024 /* gathered, a unit */
#define WORK_SCAN 8 /* descriptors looked at, a unit */
#define WORK_PATTERNS 2 /* of the flow director, a unit */

/* A mapping of a client's file: of the whole file where that is possible, shared by its windows. */
struct dma_file {
    uint64_t device, inode, offset, length;
    uint64_t mapped; /* length in whole pages, of the size that the file has */
    uint64_t page;
    uint8_t *base; /* NULL: the slot is free */
    uint32_t refs; /* 0: no window uses the mapping, which waits for dma_bury() */
    bool writable, shared;
};

struct dma_window {
    uint64_t iova;
    uint64_t size;
    uint8_t *address; /* NULL: the client gave no fd; accepted, never used */
    uint64_t device, inode, offset;
    uint32_t file;
    bool readable, writable;
};

struct dma_table {
    struct dma_leaf **leaf; /* windows.c */
    uint64_t *last; /* address of each leaf */
    uint32_t leaves, capacity;
    uint32_t count; /* windows */
    const struct dma_window *recent; /* where the last search ended; NULL: nowhere */
    uint32_t searches; /* for windows, free running: the VF's work */
    struct dma_file *file;
    uint32_t files;
    uint32_t mappings, most_mappings; /* the client's share of the process's */
    uint64_t mapped, most_bytes;
};

struct tx_queue {
    bool configured, enabled, stopped;
    bool stalled; /* a fault: nothing is taken until the VF is reset */
    uint32_t entries, head;
    uint32_t taken; /* descriptors consumed since the queue was enabled, free running */
    uint64_t iova;
    struct tx_desc *ring; /* NULL: not (wholly) mapped */
    uint32_t generation; /* of the DMA table that `ring` was looked up in */
    /* fifo of RS descriptors that are not written back yet, as `taken` counts */
    uint32_t rs[RING_MAX];
    uint32_t rs_head, rs_tail;
    uint32_t scanned; /* so many descriptors from head on hold no end of a packet ... */
    uint32_t scanned_at; /* ... as long as `taken` is this */
    bool parked; /* it was reported that the packet at head lacks its EOP */
    uint32_t vector;
    uint64_t packets, bytes;
};

struct rx_shadow {
    uint64_t qw[4];
};

/* A posted descriptor, read once. */
struct rx_posted {
    uint64_t iova;
    uint8_t *buffer; /* NULL: bad, or not in one window */
    bool bad; /* bit 0 of the header address was set */
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
    uint32_t wb_pending; /* how many are not */
    struct rx_shadow *shadow; /* what will be written there, room for a whole ring */
    struct rx_posted posted[POSTED];
    uint32_t posted_at, posted_end; /* free running */
    uint32_t vector;
    uint64_t packets, bytes, no_descriptor;
};

struct vector {
    bool intena, wb_on_itr;
    bool cause; /* a queue moved packets since the last interrupt */
    bool event; /* so has the mailbox: a write-back does not settle it */
    bool software; /* a software interrupt is pending */
    bool pending; /* MSI-X pending: wanted to fire, but no eventfd or masked */
    bool masked;
    int eventfd;
    uint32_t interval[3]; /* ns */
    uint32_t itrn_seen[3];
    uint64_t fired_ns;
    uint32_t rx_map, tx_map, rx_itr, tx_itr;
};

struct tx_packet {
    uint32_t first; /* index of its first descriptor */
    uint32_t descriptors;
    uint32_t len;
    uint32_t buffers;
    uint64_t qw1; /* of the last data descriptor */
    uint64_t ctx0, ctx1;
    bool context, rs;
    bool complete;
};

/* A TSO packet whose segments are not all sent: the rest waits for the VF's next turn. */
struct unfinished {
    bool active;
    uint32_t queue;
    struct tx_packet packet;
    struct tso_iter iter;
    uint8_t *frame; /* TSO_ROOM bytes */
};

struct vf_config {
    struct softvf_config c;
    struct rss_conf rss;
    uint64_t vlan_bitmap[3][64]; /* of the types 8100, 88a8, 9100 */
    struct flow_table *flows; /* NULL: none */
};

/* How often one kind of message came from a VF: identified by its format. */
struct limiter {
    const char *format;
    uint64_t since_ns;
    uint32_t reported;
    uint32_t held_back;
};

/* A fault of the device: every so many-th frame that a VF receives is spoiled. */
struct spoil {
    enum softvf_spoil kind;
    uint32_t every, frames; /* every = 0: none */
};

/* What a VF with a rate may send at the moment, in bits: time fills it, frames empty it (shaper.c). */
struct shaper {
    int64_t bits; /* negative: overdrawn */
    uint64_t filled_ns;
    bool backlog; /* frames wait: the time in which the thread was away counts, too */
};

/* Frames of a VF with a delay that are under way (delay.c). */
struct delay_line {
    uint8_t *memory; /* NULL: the VF never had a delay */
    uint32_t head, tail;
    uint32_t bytes; /* between them, with what is left out at the memory's end */
    uint32_t frames;
    uint64_t due_ns; /* the last one's time */
};

struct vf {
    uint32_t index;
    uint8_t *bar;
    uint64_t bar_size;
    int bar_fd;
    bool bus_master, msix, rx_polling;
    bool signals_wait; /* some vectors are pending only because a signal was on its way */
    bool master_reported;
    bool may_send, may_receive; /* active, link up, not stopped: from config */
    bool vlan_rules;
    bool needs_slow_path; /* frames to it need more than fast_path.c looks at ... */
    bool sends_slowly; /* ... and so do frames of it */
    uint64_t primary;
    struct spoil spoil;
    struct dma_table dma;
    uint32_t dma_generation;
    struct tx_queue tx[MAX_QUEUES];
    struct rx_queue rx[MAX_QUEUES];
    uint32_t tx_enabled; /* bitmaps: what the thread looks at */
    uint32_t rx_enabled;
    int32_t credit; /* of work; negative: overdrawn */
    uint32_t next_queue; /* which send queue comes first */
    struct unfinished unfinished;
    struct shaper shaper;
    struct delay_line delay;
    struct vector vector[MAX_VECTORS];
    uint64_t vectors_busy; /* bitmap of vectors that have a cause and are armed */
    struct vf_config *config;
    struct limiter limiter[LIMITERS];
    uint64_t violations;
    uint64_t stats[12];
    struct softvf_stray stray[SOFTVF_STRAYS]; /* what it sent and nobody got */
};

struct mac_slot {
    uint64_t mac; /* 48 bits, 0 = free */
    uint64_t vfs; /* bitmap */
};

/* Signals eventfds and never blocks at one; signal.c says how. */
struct signaller {
    aio_context_t context, away; /* of who calls, and of the other thread */
    int source; /* -1: closed */
    uint64_t slow_until[MAX_VFS]; /* 0: signals of that VF never took long */
    uint32_t slow[MAX_VFS]; /* how often of late */
    uint32_t away_of[MAX_VFS]; /* how many the other thread has to send */
    uint64_t paused_until[MAX_VFS];
    bool running;
    int line[2]; /* a pipe to it */
    pthread_t thread;
};

typedef uint64_t (*copy_function)(uint8_t *to, const uint8_t *from, uint32_t len, uint32_t summed);

struct plane {
    pthread_mutex_t lock;
    copy_function copy;
    uint32_t waiters;
    pthread_t thread;
    bool running, stop;
    uint32_t vfs;
    struct vf *vf;
    struct uplink *uplink;
    bool loopback;
    struct softvf_card card;
    bool immediate, link;
    struct pkt_tunnels tunnels;
    struct softvf_wire_stats wire;
    struct limiter limiter[LIMITERS]; /* of reports that are of no VF */
    uint64_t promiscuous; /* bitmaps of active VFs */
    uint64_t default_vsis;
    uint64_t all_multicast;
    uint64_t active;
    uint64_t delayed; /* bitmap of VFs that have frames under way */
    struct mac_slot macs[MAC_SLOTS];
    int event_fd;
    struct softvf_event events[SOFTVF_EVENTS];
    uint32_t event_head, event_tail, events_lost;
    struct signaller signaller;
    uint64_t condemned; /* bitmap of VFs whose clients took memory away that they had mapped */
    uint32_t spent; /* work of the turn in hand */
    uint64_t now_ns;
    struct vf *last_to; /* where the last frames of a burst went, and the queue: more may follow */
    uint32_t last_queue;
    uint8_t stage[FAST_PATH_BURST]
                 [STAGE_ROOM]; /* their beginnings, copied before any is looked at */
    uint32_t buffer_end[RING_MAX]; /* of the gathered packet: where each buffer's bytes end */
    uint8_t frame[TSO_ROOM]; /* gathered packet */
    uint8_t segment[MAX_FRAME_ROOM]; /* of a TSO packet */
    uint8_t tagged[MAX_FRAME_ROOM]; /* with the port VLAN, as it leaves */
    uint8_t untagged[MAX_FRAME_ROOM]; /* without it, as it arrives */
    uint8_t with_fcs[MAX_FRAME_ROOM];
    uint8_t spoiled[MAX_FRAME_ROOM]; /* a frame that a fault has changed */
    uint8_t part[MAX_FRAME_ROOM]; /* of a frame whose buffer lies in several windows */
};

/* A frame on its way; parsed at most once, however many VFs get it. */
struct view {
    const uint8_t *frame;
    uint32_t len;
    int from; /* index of the sending VF, -1 = the wire */
    bool parsed, checked;
    uint32_t check;
    struct pkt_info info;
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
    TX_DISCARD, /* stays 0: Linux's PFs count none for a VF (docs/spec/pf-dialects.md 5) */
    TX_ERROR
};

struct rx_facts { /* what the last descriptor of a frame says */
    const struct pkt_info *info;
    uint32_t check, hash, strip;
    uint16_t tci;
    bool hashed, loopback;
    bool wrong_check; /* by a fault */
    bool matched, marked; /* a rule of the flow director fits; its mark is to be shown */
    uint32_t mark;
};

/* LUT sizes are powers of two on the cards; another one costs a division. */
static inline uint32_t rss_queue(const struct vf_config *config, uint32_t hash)
{
    uint32_t size = config->c.lut_size;

    return config->c.rss_lut[(size & (size - 1)) ? hash % size : hash & (size - 1)];
}

static inline uint64_t mac48(const uint8_t *mac)
{
    return (uint64_t)get32(mac) << 16 | get16(mac + 4);
}

#endif
