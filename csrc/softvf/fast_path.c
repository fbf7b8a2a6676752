/* SPDX-License-Identifier: BSD-3-Clause */
/* The fast path: bursts of plain frames from a send ring straight into receive rings. What a frame or
 * a VF's settings ask beyond that, the slow path does (tx.c, switch.c, rx.c), in turn with
 * the others, and the result of both is the same. The loops are apart so that the cache misses of all
 * frames of a burst overlap: descriptors, then the frames' beginnings, then the rest. */
#include "softvf/copy.h"
#include "softvf/plain.h"
#include "softvf/dma.h"
#include "softvf/fast_path.h"
#include "softvf/rx.h"
#include "softvf/rx_queue.h"
#include "softvf/switch.h"
#include "softvf/tx_queue.h"
#include "softvf/vectors.h"
#include "softvf/writeback.h"

struct item { /* one frame of a burst */
    const uint8_t *data; /* the client's */
    uint8_t *to; /* where its staged bytes are still to be copied */
    uint64_t qw1;
    uint32_t size; /* as posted */
};

/* Where frames to one MAC and one queue go now, and what has been counted on the way. */
struct route {
    bool open; /* the sender's settings let frames take the fast path */
    bool spoof_check;
    uint64_t own, mac; /* as they stand in a frame; ~0: none looked up yet */
    struct vf *to; /* NULL: the slow path */
    const struct rss_conf *rss;
    bool from_wire; /* they come back from the uplink */
    uint32_t queue;
    struct rx_queue *q; /* NULL: none looked at yet */
    uint32_t credit; /* frames that q takes before it must be looked at again ... */
    uint32_t room; /* ... and their longest */
    uint64_t frames, bytes; /* not yet in any statistics */
};

#define MAC_MASK 0xffffffffffffull

/* ---- descriptors ---- */

/* Asks for all lines of the descriptors at once: by itself the processor looks four lines ahead. */
static void ask_for(const struct tx_queue *q, uint32_t tail, uint32_t budget)
{
    uint32_t there = tail >= q->head ? tail - q->head : q->entries - q->head;

    for (uint32_t i = 0; i < there && i < budget; i += 64 / sizeof(struct tx_desc))
        __builtin_prefetch(&q->ring[q->head + i]);
}

/* Fetches descriptors of frames that ask for no offload, and asks for the first and the last line of each
 * frame. Returns how many. */
static uint32_t fetch(struct vf *vf, const struct tx_queue *q, uint32_t tail, uint32_t budget,
                      struct item *item)
{
    const uint64_t offload =
        (uint64_t)(TXD_CMD_IIPT_MASK | TXD_CMD_L4T_MASK | TXD_CMD_IL2TAG1 | TXD_CMD_DUMMY)
        << TXD_CMD_SHIFT;
    const uint64_t whole = (uint64_t)(TXD_CMD_EOP | TXD_CMD_ICRC) << TXD_CMD_SHIFT;
    const uint64_t want = offload | whole | TXD_DTYPE_MASK;
    const struct dma_window *window = NULL;
    uint32_t limit = tx_queue_limit(vf), at = q->head, n = 0;

    ask_for(q, tail, budget);
    for (; n < budget && at != tail; n++) {
        uint64_t qw1 = client_load(&q->ring[at].qw1);
        uint64_t iova = client_load(&q->ring[at].addr);
        uint32_t size = (uint32_t)(qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK);

        if ((qw1 & want) != whole || size < TX_MIN_FRAME || size > limit)
            break;
        if (!window || iova - window->iova >= window->size) {
            window = dma_window_at(vf, iova);
            if (!window || !window->address || !window->readable)
                break;
        }
        if (size > window->size - (iova - window->iova))
            break; /* it lies in several windows */
        item[n].data = window->address + (iova - window->iova);
        item[n].qw1 = qw1;
        item[n].size = size;
        item[n].to = NULL;
        __builtin_prefetch(item[n].data);
        __builtin_prefetch(item[n].data + size - 1);
        at = at + 1 == q->entries ? 0 : at + 1;
    }
    return n;
}

/* ---- where to ---- */

/* Adds what went to route->q to the statistics, gives its vector a cause, and forgets the queue. */
static void settle(struct plane *plane, struct vf *vf, struct route *route)
{
    struct rx_queue *q = route->q;

    if (route->frames) {
        q->packets += route->frames;
        q->bytes += route->bytes;
        route->to->stats[RX_BYTES] +=
            route->bytes + route->frames * ETHER_FCS; /* docs/spec/field-evidence.md 3 */
        route->to->stats[RX_UCAST] += route->frames;
        vf->stats[TX_BYTES] += route->bytes;
        vf->stats[TX_UCAST] += route->frames;
        vector_cause(route->to, q->vector);
        plane->last_to = route->to;
        plane->last_queue = route->queue;
    }
    route->frames = route->bytes = 0;
    route->q = NULL;
    route->credit = 0;
}

/* Finds the VF that a unicast frame goes to when exactly one VF gets it, by the rules of switch_from_vf;
 * otherwise route->to stays NULL. */
static void find(struct plane *plane, struct vf *vf, uint64_t mac, struct route *route)
{
    uint64_t self = 1ull << vf->index;
    uint64_t owners = switch_owners(plane, mac), targets = owners | plane->promiscuous;
    uint64_t others = targets & ~self;
    struct vf *to = NULL;

    settle(plane, vf, route);
    route->to = NULL;
    if (mac >> 40 & 1 || !route->open)
        return;
    if (others && !(others & (others - 1)) && owners & ~self)
        to = &plane->vf[__builtin_ctzll(others)];
    else if (!others && plane->loopback && targets & self)
        to = vf;
    if (!to || !to->may_receive || !to->bus_master || to->needs_slow_path)
        return;
    route->to = to;
    route->rss = &to->config->rss;
    route->from_wire = to == vf;
}

/* Chooses a queue of route->to; false when the frame must take the slow path. */
static bool choose(struct plane *plane, struct vf *vf, struct route *route, uint32_t queue)
{
    struct vf *to = route->to;
    struct rx_queue *q;
    uint32_t posted, shadows, longest;

    settle(plane, vf, route);
    if (queue >= MAX_QUEUES || !(to->rx_enabled >> queue & 1))
        return false;
    q = &to->rx[queue];
    rx_queue_look_up(to, q);
    if (q->posted_at == q->posted_end)
        rx_fetch_ahead(plane, to, queue);
    posted = q->posted_end - q->posted_at;
    shadows = q->entries - q->wb_pending;
    route->queue = queue;
    route->q = q;
    route->credit = posted < shadows ? posted : shadows;
    longest = q->max_frame > ETHER_FCS ? q->max_frame - ETHER_FCS : 0;
    route->room = q->buffer_size < longest ? q->buffer_size : longest;
    return route->credit && !q->keep_crc; /* when false, the caller forgets the queue by settle() */
}

/* ---- one frame ---- */

/* Copies what lies behind the frame's staged beginning, and says whether its L4 checksum is good. Each of
 * the client's bytes is read once, so what was summed is what is delivered. */
static bool deliver(const struct plane *plane, uint8_t *to, const uint8_t *frame,
                    const struct item *item, uint32_t len, const struct pkt_info *info)
{
    uint32_t front = len < STAGE_ROOM ? len : STAGE_ROOM, rest = len - front;
    uint32_t l4_len = info->l4_len, near = 0, far = 0;
    bool known = false, good = false;
    uint64_t sum = 0;

    if (info->l4_proto == 17) {
        uint32_t udp_len = get16(frame + 38);

        good = get16(frame + 40) == 0; /* no checksum: no error (docs/spec/descriptors.md 8) */
        known = good || udp_len < 8 || udp_len > l4_len;
        l4_len = udp_len;
    }
    if (!known) {
        near = 34 + l4_len < front ? l4_len : front - 34;
        far = l4_len - near;
        sum = plain_pseudo(frame, info->l4_proto, l4_len) + sum_raw(frame + 34, near);
    }
    if (rest)
        sum += copy_through(plane, to + front, item->data + front, rest, far);
    return known ? good : sum_good(sum);
}

/* `info` is passed by value: if its address were taken, its fields would not stay in registers. */
static uint32_t symmetric(const struct rss_conf *rss, const uint8_t *frame, struct pkt_info info)
{
    bool valid;

    return rss_hash(rss, frame, &info, &valid);
}

static inline bool deliver_plain(struct plane *plane, struct vf *vf, struct route *route,
                                 const uint8_t *frame, struct item *item, uint32_t len)
{
    struct pkt_info info;
    struct rx_facts facts = {.info = &info};
    const struct rx_posted *posted;
    uint64_t mac = load64(frame) & MAC_MASK;
    uint32_t queue = 0;

    if (mac != route->mac) {
        find(plane, vf, mac48(frame), route);
        route->mac = mac;
    }
    if (!route->to || !plain_parse(frame, len, &plane->tunnels, &info) ||
        (route->spoof_check && (load64(frame + 6) & MAC_MASK) != route->own))
        return false;
    facts.hashed = route->rss->hashcfg >> info.pctype & 1;
    if (facts.hashed) {
        facts.hash = route->rss->hashcfg & RSS_SPECIAL ? symmetric(route->rss, frame, info)
                                                       : plain_hash(route->rss, frame);
        if (route->to->config->c.lut_size)
            queue = rss_queue(route->to->config, facts.hash);
    }
    if ((!route->credit || queue != route->queue) && !choose(plane, vf, route, queue))
        return false;
    posted = &route->q->posted[route->q->posted_at % POSTED];
    if (!posted->buffer || len > route->room)
        return false;
    facts.loopback = !route->from_wire;
    facts.check = PKT_L3L4P | (plain_ipv4_good(frame + 14) ? 0 : PKT_IPE) |
                  (deliver(plane, posted->buffer, frame, item, len, &info) ? 0 : PKT_L4E);
    item->to = posted->buffer;
    route->q->posted_at++;
    write_back(route->q, len, &facts);
    route->credit--;
    route->frames++;
    route->bytes += len;
    return true;
}

/* ---- a burst ---- */

static void stage(struct plane *plane, const struct item *item, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        client_copy(plane->stage[i], item[i].data,
                    item[i].size < STAGE_ROOM ? item[i].size : STAGE_ROOM);
}

/* Where a driver looked at a buffer, the line is still its too, and each write must wait for it to let go.
 * Writes that stand close together wait together: so all copies of a burst are made in one loop, and all
 * lines are asked for before (docs/guides/softvf.md, "What bounds its speed"). */
static void copy_staged(struct plane *plane, struct item *item, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (item[i].to)
            prefetch_write(item[i].to);
    for (uint32_t i = from; i < to; i++) {
        uint32_t len = item[i].size < ETHER_MIN_FRAME ? ETHER_MIN_FRAME : item[i].size;

        if (item[i].to)
            copy_frame(item[i].to, plane->stage[i], len < STAGE_ROOM ? len : STAGE_ROOM);
    }
}

uint32_t fast_path(struct plane *plane, struct vf *vf, struct tx_queue *q, uint32_t tail,
                   uint32_t budget)
{
    struct item item[FAST_PATH_BURST];
    struct route route = {.mac = ~0ull, .spoof_check = vf->config->c.spoof_check};
    uint64_t bytes = 0, report_status = 0;
    uint32_t n, copied = 0;

    route.open = vf->may_send && plane->link && !vf->sends_slowly;
    route.own = __builtin_bswap64(vf->primary) >> 16;
    if (plane->last_to)
        rx_fetch_ahead(plane, plane->last_to, plane->last_queue);
    n = fetch(vf, q, tail, budget < FAST_PATH_BURST ? budget : FAST_PATH_BURST, item);
    stage(plane, item, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = plane->stage[i];
        uint32_t len = item[i].size;

        if (len < ETHER_MIN_FRAME) { /* the device pads (docs/spec/descriptors.md 3) */
            memset(frame + len, 0, ETHER_MIN_FRAME - len);
            len = ETHER_MIN_FRAME;
        }
        bytes += len;
        if (!deliver_plain(plane, vf, &route, frame, &item[i], len)) {
            if (len > STAGE_ROOM) {
                frame = plane->frame;
                client_copy(frame, item[i].data, len);
            }
            /* The slow path may change all that is known here, and publish what was written. */
            settle(plane, vf, &route);
            copy_staged(plane, item, copied, i);
            copied = i;
            switch_from_vf(plane, vf, frame, len);
        }
        report_status |= (item[i].qw1 >> TXD_CMD_SHIFT & TXD_CMD_RS) / TXD_CMD_RS << i;
    }
    copy_staged(plane, item, copied, n);
    settle(plane, vf, &route);
    q->packets += n;
    q->bytes += bytes;
    for (uint32_t done = 0; done < n;) {
        uint32_t part = report_status ? (uint32_t)__builtin_ctzll(report_status) + 1 : n;

        tx_queue_take(q, part - done, report_status);
        report_status &= report_status - 1;
        done = part;
    }
    return n;
}
