/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive side: a frame into the buffers of a ring (docs/spec/descriptors.md 5, 8, 9, 10, 12). */
#include "softvf/bar.h"
#include "softvf/dma.h"
#include "softvf/report.h"
#include "softvf/rx.h"
#include "softvf/rx_queue.h"
#include "softvf/rules.h"
#include "softvf/vectors.h"
#include "softvf/writeback.h"

/* Stops the queue as malicious driver detection does. */
static void mdd(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t index,
                const char *rule, const char *why)
{
    struct rx_queue *q = &vf->rx[queue];

    writeback_flush(plane, vf, q, true);
    q->stopped = true;
    vf->rx_enabled &= ~(1u << queue);
    vf->stats[RX_DISCARD]++;
    report(plane, vf, SOFTVF_MDD, rule, "Rx queue %u descriptor %u: %s", queue, index, why);
}

static uint32_t distance(const struct rx_queue *q, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + q->entries - from;
}

/* The tail as the device sees it, or as it was written when it lies outside the ring. */
static uint32_t load_tail(const struct plane *plane, const struct vf *vf, uint32_t queue)
{
    uint32_t tail = bar_load(vf, REG_QRX_TAIL1 + 4 * queue);

    return tail < vf->rx[queue].entries ? tail & ~(plane->card.rx_tail_step - 1) : tail;
}

static uint32_t free_descriptors(const struct plane *plane, struct vf *vf, uint32_t queue)
{
    struct rx_queue *q = &vf->rx[queue];

    q->tail = load_tail(plane, vf, queue);
    return q->tail < q->entries ? distance(q, q->head, q->tail) : 0;
}

uint32_t rx_room(const struct plane *plane, struct vf *vf)
{
    uint32_t room = ~0u;

    if (!vf->rx_enabled || !vf->may_receive || !vf->bus_master)
        return 0;
    for (uint32_t map = vf->rx_enabled; map; map &= map - 1) {
        uint32_t queue = (uint32_t)__builtin_ctz(map);
        uint32_t here = free_descriptors(plane, vf, queue);

        room = here < room ? here : room;
    }
    return room;
}

/* ---- posted descriptors, fetched in batches as the hardware does ---- */

/* Where a buffer lies in the window; NULL when it is not writable, or not in one piece. */
static inline uint8_t *buffer_in(const struct dma_window *window, uint64_t iova, uint32_t size)
{
    if (!window || !window->address || !window->writable ||
        size > window->size - (iova - window->iova))
        return NULL;
    return window->address + (iova - window->iova);
}

/* Adds what the driver posted up to the tail as it was last read; -1 when the queue stopped. All lines are
 * asked for, to be written, before the first is read: their way from the driver's cache overlaps. The
 * buffers' lines are not: nobody knows yet when they will be needed. */
static int fetch(struct plane *plane, struct vf *vf, uint32_t queue)
{
    struct rx_queue *q = &vf->rx[queue];
    const struct dma_window *window = NULL;
    uint32_t have = q->posted_end - q->posted_at, n = distance(q, q->head, q->tail);
    uint32_t at = q->head + have < q->entries ? q->head + have : q->head + have - q->entries;

    n = n > have ? n - have : 0; /* a tail that moves back takes nothing away */
    n = n < POSTED - have ? n : POSTED - have;
    for (uint32_t i = 0; q->ring && i < n; i++)
        prefetch_write(&q->ring[at + i < q->entries ? at + i : at + i - q->entries]);
    for (; n; n--) {
        struct rx_posted *posted = &q->posted[q->posted_end % POSTED];
        uint64_t words[2];

        if (q->ring) {
            words[0] = client_load(&q->ring[at].qw0);
            words[1] = client_load(&q->ring[at].qw1);
        } else if (dma_copy_at(vf, q->iova, at * 32ull, words, sizeof(words), false)) {
            if (q->posted_end == q->posted_at) {
                mdd(plane, vf, queue, at, "docs/spec/vfio-user.md 4",
                    "the descriptor lies outside the DMA windows: rings must be mapped for DMA");
                return -1;
            }
            break;
        }
        posted->iova = words[0];
        if (!window || words[0] - window->iova >= window->size)
            window = dma_window_at(vf, words[0]);
        posted->bad = words[1] & 1;
        posted->buffer = posted->bad ? NULL : buffer_in(window, words[0], q->buffer_size);
        at = at + 1 == q->entries ? 0 : at + 1;
        q->posted_end++;
    }
    return 0;
}

void rx_fetch_ahead(struct plane *plane, struct vf *vf, uint32_t queue)
{
    struct rx_queue *q = &vf->rx[queue];
    uint32_t have = q->posted_end - q->posted_at;

    if (have >= POSTED / 2 || !(vf->rx_enabled >> queue & 1))
        return;
    rx_queue_look_up(vf, q);
    if (!q->ring)
        return; /* a descriptor that cannot be read is found when it is needed, no sooner */
    if (distance(q, q->head, q->tail) < POSTED / 2) {
        uint32_t tail = load_tail(plane, vf, queue);

        q->tail = tail < q->entries
                      ? tail
                      : q->tail; /* a bad tail is reported when a descriptor is needed */
    }
    fetch(plane, vf, queue);
}

/* ---- a frame ---- */

/* Copies the next `part` bytes of a frame whose tag may have been stripped (gap of 4 bytes at 12). */
static void copy_part(uint8_t *to, const uint8_t *frame, uint32_t at, uint32_t part, bool gap)
{
    if (gap && at < 12) {
        uint32_t front = 12 - at < part ? 12 - at : part;

        memcpy(to, frame + at, front);
        memcpy(to + front, frame + at + front + 4, part - front);
        return;
    }
    copy_frame(to, frame + at + (gap ? 4 : 0), part);
}

static int fill(struct plane *plane, struct vf *vf, uint32_t queue, const uint8_t *frame,
                uint32_t at, uint32_t part, bool gap)
{
    struct rx_queue *q = &vf->rx[queue];
    const struct rx_posted *posted;

    if (q->posted_at == q->posted_end && fetch(plane, vf, queue))
        return -1;
    posted = &q->posted[q->posted_at++ % POSTED];
    if (posted->bad) {
        mdd(plane, vf, queue, q->head, "docs/spec/descriptors.md 5",
            "bit 0 of the header buffer address (DD) is set when posted: it would look finished");
        return -1;
    }
    if (posted->buffer) {
        copy_part(posted->buffer, frame, at, part, gap);
        return 0;
    }
    copy_part(plane->part, frame, at, part, gap);
    if (dma_copy(vf, posted->iova, plane->part, part, true)) {
        mdd(plane, vf, queue, q->head, "docs/spec/vfio-user.md 4",
            "the buffer lies outside the DMA windows: it must be mapped for DMA before it is "
            "posted");
        return -1;
    }
    return 0;
}

static uint16_t stripped_tag(const struct softvf_config *c, const struct view *view, uint16_t *tci)
{
    uint16_t tpid = vlan_outer(view->frame, view->len, tci);

    return tpid && (tpid == c->strip_tpids[0] || tpid == c->strip_tpids[1] ||
                    tpid == c->strip_tpids[2])
               ? c->strip
               : SOFTVF_STRIP_NONE;
}

static const uint8_t *append_fcs(struct plane *plane, const struct view *view)
{
    uint32_t fcs = crc32_ethernet(view->frame, view->len);

    memcpy(plane->with_fcs, view->frame, view->len);
    memcpy(plane->with_fcs + view->len, &fcs, ETHER_FCS);
    return plane->with_fcs;
}

/* RX_DELIVERED when the ring has so many descriptors. */
static enum rx_fate claim(struct plane *plane, struct vf *vf, uint32_t queue, struct rx_queue *q,
                          uint32_t need)
{
    if (distance(q, q->head, q->tail) >= need)
        return RX_DELIVERED;
    q->tail = load_tail(plane, vf, queue);
    if (q->tail >= q->entries) {
        uint32_t tail = q->tail;

        q->tail = q->head;
        mdd(plane, vf, queue, tail, "docs/spec/descriptors.md 15",
            "the tail lies outside the ring: it is the index of a descriptor");
        return RX_STOPPED;
    }
    if (distance(q, q->head, q->tail) >= need)
        return RX_DELIVERED;
    vf->stats[RX_DISCARD]++;
    q->no_descriptor++;
    return RX_NO_ROOM;
}

static enum rx_fate into_queue(struct plane *plane, struct vf *vf, uint32_t queue,
                               struct view *view, struct rx_facts *facts)
{
    struct rx_queue *q = &vf->rx[queue];
    bool gap = facts->strip != SOFTVF_STRIP_NONE;
    uint32_t len = view->len - (gap ? 4 : 0) + (q->keep_crc ? ETHER_FCS : 0);
    uint32_t need = len <= q->buffer_size ? 1 : (len + q->buffer_size - 1) / q->buffer_size;
    const uint8_t *frame = view->frame;
    enum rx_fate fate;

    rx_queue_look_up(vf, q);
    /* The length on the wire counts: with the tag, also one that is stripped, and with the FCS, also one that
     * is not kept (docs/spec/descriptors.md 10). */
    if (view->len + ETHER_FCS > q->max_frame || need > RX_MAX_CHAIN) {
        vf->stats[RX_DISCARD]++;
        return RX_TOO_LONG;
    }
    fate = claim(plane, vf, queue, q, need);
    if (fate != RX_DELIVERED)
        return fate;
    if (q->wb_pending + need > q->entries) /* a tail that moves by itself must not overrun it */
        writeback_flush(plane, vf, q, true);
    if (!view->checked) {
        view->check = pkt_check(frame, view->len, &view->info);
        view->checked = true;
    }
    facts->check = view->check ^ (facts->wrong_check ? PKT_L4E : 0);
    if (q->keep_crc)
        frame = append_fcs(plane, view);
    for (uint32_t at = 0, i = 0; i < need; i++) {
        uint32_t part = len - at < q->buffer_size ? len - at : q->buffer_size;

        if (fill(plane, vf, queue, frame, at, part, gap))
            return RX_STOPPED;
        write_back(q, part, i + 1 == need ? facts : NULL);
        at += part;
    }
    q->packets++;
    q->bytes += len;
    vector_cause(vf, q->vector);
    return RX_DELIVERED;
}

/* What a fault does to this frame, SOFTVF_SPOIL_KINDS for nothing. */
static enum softvf_spoil spoil_of(struct vf *vf)
{
    if (!vf->spoil.every || ++vf->spoil.frames % vf->spoil.every)
        return SOFTVF_SPOIL_KINDS;
    return vf->spoil.kind;
}

/* The frame with its last byte changed: parsed and checked as it was, as memory that fails would have it. */
static struct view corrupted(struct plane *plane, const struct view *view)
{
    struct view other = *view;

    memcpy(plane->spoiled, view->frame, view->len);
    plane->spoiled[view->len - 1] ^= 0xff;
    other.frame = plane->spoiled;
    return other;
}

/* The frame without its tag, as if there had been none. */
static struct view untagged(struct plane *plane, const struct view *view)
{
    struct view other = {.frame = plane->spoiled, .len = view->len - 4, .from = view->from};

    memcpy(plane->spoiled, view->frame, 12);
    memcpy(plane->spoiled + 12, view->frame + 16, view->len - 16);
    return other;
}

/* Lets the first rule of the flow director that fits decide; false: it drops the frame. RSS has chosen a queue,
 * which stays where no rule fits, or one that only marks. */
static bool steer(struct plane *plane, const struct vf_config *config, const struct view *view,
                  struct rx_facts *facts, uint32_t *queue)
{
    const struct flow_verdict *verdict =
        flows_match(config->flows, view->frame, view->len, &view->info);

    plane->spent += flows_patterns(config->flows) / WORK_PATTERNS;
    if (!verdict)
        return true;
    facts->matched = true;
    facts->marked = verdict->marked;
    facts->mark = verdict->mark;
    if (verdict->action != SOFTVF_FLOW_PASS)
        *queue = verdict->queue + (facts->hash & verdict->mask);
    return verdict->action != SOFTVF_FLOW_DROP;
}

enum rx_fate rx_frame(struct plane *plane, struct vf *vf, struct view *view)
{
    const struct vf_config *config = vf->config;
    struct rx_facts facts = {.info = &view->info, .loopback = view->from >= 0};
    enum softvf_spoil spoil;
    enum rx_fate fate;
    struct view changed;
    uint32_t queue = 0;
    uint16_t tci;

    plane->spent += WORK_DELIVERY;
    if (!vf->may_receive || !vf->rx_enabled || !vf->bus_master) {
        vf->stats[RX_DISCARD]++;
        return RX_NOT_RECEIVING;
    }
    spoil = spoil_of(vf);
    if (spoil == SOFTVF_SPOIL_LOSE)
        return RX_SPOILED;
    if ((spoil == SOFTVF_SPOIL_TAG_LOST || spoil == SOFTVF_SPOIL_TAGGED_LOST) &&
        vlan_outer(view->frame, view->len, &tci)) {
        if (spoil == SOFTVF_SPOIL_TAGGED_LOST)
            return RX_SPOILED;
        changed = untagged(plane, view);
        view = &changed;
        facts.info = &view->info;
    }
    if (!view->parsed) {
        pkt_parse(view->frame, view->len, &plane->tunnels, &view->info);
        view->parsed = true;
    }
    /* The VSI counts what reaches it, also what is then discarded: net_iavf computes its received packets
     * as unicast + multicast + broadcast - discards. Bytes with FCS (docs/spec/field-evidence.md 3). */
    if (spoil != SOFTVF_SPOIL_UNCOUNTED) {
        vf->stats[RX_BYTES] += view->len + ETHER_FCS;
        vf->stats[RX_UCAST + view->info.umbcast]++;
    }
    if (config->c.num_rules)
        facts.hash = rules_hash(&config->c, &config->rss, view->frame, view->len, &view->info,
                                &facts.hashed);
    else
        facts.hash = rss_hash(&config->rss, view->frame, &view->info, &facts.hashed);
    if (facts.hashed && config->c.lut_size)
        queue = rss_queue(config, facts.hash);
    if (config->flows && !steer(plane, config, view, &facts, &queue)) {
        vf->stats[RX_DISCARD]++;
        return RX_DROPPED;
    }
    if (queue >= MAX_QUEUES || !(vf->rx_enabled >> queue & 1)) {
        vf->stats[RX_DISCARD]++;
        return RX_NOT_RECEIVING;
    }
    if (config->c.strip != SOFTVF_STRIP_NONE && spoil != SOFTVF_SPOIL_TAG_KEPT)
        facts.strip = stripped_tag(&config->c, view, &facts.tci);
    facts.tci ^= spoil == SOFTVF_SPOIL_TAG;
    facts.hash ^= spoil == SOFTVF_SPOIL_HASH;
    facts.wrong_check = spoil == SOFTVF_SPOIL_CHECKSUM;
    if (spoil == SOFTVF_SPOIL_CORRUPT) {
        changed = corrupted(plane, view);
        view = &changed;
    }
    fate = into_queue(plane, vf, queue, view, &facts);
    if (spoil == SOFTVF_SPOIL_TWICE)
        into_queue(plane, vf, queue, view, &facts);
    return fate;
}
