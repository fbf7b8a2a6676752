/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupt vectors: enable, auto-mask, moderation, and the write-back that goes with them
 * (docs/spec/registers.md 5, docs/spec/descriptors.md 11). */
#include <unistd.h>

#include "softvf/bar.h"
#include "softvf/clock.h"
#include "softvf/report.h"
#include "softvf/signal.h"
#include "softvf/tx_queue.h"
#include "softvf/vectors.h"
#include "softvf/writeback.h"

static bool asking(const struct vector *v)
{
    return v->cause || v->event || v->software;
}

static uint32_t interval_of(const struct vector *v, uint32_t itr)
{
    return itr < 3 ? v->interval[itr] : 0; /* 3: no moderation */
}

/* Where VFINT_ITRN of a queue vector lies; E810 lays the registers out differently
 * (docs/spec/registers.md 5.3). */
static uint32_t itrn_offset(const struct plane *plane, uint32_t index, uint32_t itr)
{
    return REG_VFINT_ITRN1 +
           (plane->card.e810_itr ? 4 * itr + 12 * (index - 1) : 64 * itr + 4 * (index - 1));
}

/* VFINT_ITRN lies in a page that the client may map: a change shows only by looking, and what was set
 * through DYN_CTL must show there. Vector 0 has its register elsewhere. */
static void look_at_itrn(const struct plane *plane, struct vf *vf, uint32_t index)
{
    struct vector *v = &vf->vector[index];

    for (uint32_t itr = 0; itr < 3 && index; itr++) {
        uint32_t value = bar_load(vf, itrn_offset(plane, index, itr)) & 0xfff;

        if (value != v->itrn_seen[itr]) {
            v->itrn_seen[itr] = value;
            v->interval[itr] = value * ITR_UNIT_NS;
        }
    }
}

static void set_interval(struct plane *plane, uint32_t vf, uint32_t index, uint32_t itr,
                         uint32_t units)
{
    struct vector *v = &plane->vf[vf].vector[index];

    v->interval[itr] = units * ITR_UNIT_NS;
    if (index) {
        v->itrn_seen[itr] = units;
        plane_bar_write32(plane, vf, itrn_offset(plane, index, itr), units);
    }
}

static void flush_queues(struct plane *plane, struct vf *vf, const struct vector *v)
{
    for (uint32_t map = v->rx_map & vf->rx_enabled; map; map &= map - 1)
        writeback_flush(plane, vf, &vf->rx[__builtin_ctz(map)], true);
    for (uint32_t map = v->tx_map & vf->tx_enabled; map; map &= map - 1)
        tx_queue_flush(plane, vf, &vf->tx[__builtin_ctz(map)], true);
}

static void send(struct plane *plane, struct vf *vf, int fd)
{
    uint64_t took = signal_send(&plane->signaller, vf->index, fd);

    if (took)
        report(plane, vf, SOFTVF_NOTE, "docs/spec/reliability.md D6",
               "to signal an eventfd took %llu us: many wait for it, as entries of epolls do; "
               "interrupts of this VF are late for a minute, so that others need not wait",
               (unsigned long long)took / 1000);
}

static void signal_vector(struct plane *plane, struct vf *vf, struct vector *v)
{
    if (v->eventfd < 0 || v->masked || !vf->msix) {
        v->pending = true; /* the MSI-X pending bit: fires when the vector is unmasked */
        return;
    }
    v->pending = !signal_ready(&plane->signaller, vf->index);
    if (v->pending)
        vf->signals_wait = true;
    else
        send(plane, vf, v->eventfd);
}

void vectors_resend(struct plane *plane, struct vf *vf)
{
    if (!signal_ready(&plane->signaller, vf->index))
        return;
    vf->signals_wait = false;
    for (uint32_t i = 0; i < MAX_VECTORS; i++)
        if (vf->vector[i].pending)
            signal_vector(plane, vf, &vf->vector[i]);
}

static bool moderated(const struct plane *plane, const struct vector *v)
{
    uint32_t rx = v->rx_map ? interval_of(v, v->rx_itr) : ~0u;
    uint32_t tx = v->tx_map ? interval_of(v, v->tx_itr) : ~0u;
    uint32_t wait = rx < tx ? rx : tx;

    /* The mailbox is not moderated: its messages are rare and somebody waits for them. */
    if (v->software || (v->event && v->intena) || wait == ~0u)
        return false;
    return plane->now_ns - v->fired_ns < wait;
}

static void try_fire(struct plane *plane, struct vf *vf, uint32_t index)
{
    struct vector *v = &vf->vector[index];

    if (!asking(v) || !vector_armed(v))
        return; /* a cause stays, and fires when the vector is enabled */
    look_at_itrn(plane, vf, index);
    if (moderated(plane, v))
        return;
    v->fired_ns = plane->now_ns;
    flush_queues(plane, vf, v);
    if (v->intena) {
        v->cause = v->event = v->software = false;
        /* Auto-mask, but for vector 0 of a VF that was granted RX_POLLING (docs/spec/virtchnl.md 4). */
        if (!(index == 0 && vf->rx_polling))
            v->intena = false;
        signal_vector(plane, vf, v);
    } else if (v->wb_on_itr) {
        v->cause = v->software = false; /* the write-back tells the driver */
    } else {
        v->software = false; /* the write-back was forced; the interrupt itself stays pending */
        v->cause = true;
    }
}

void vectors_run(struct plane *plane, struct vf *vf)
{
    for (uint64_t busy = vf->vectors_busy; busy; busy &= busy - 1) {
        uint32_t index = (uint32_t)__builtin_ctzll(busy);
        const struct vector *v = &vf->vector[index];

        try_fire(plane, vf, index);
        if (!asking(v) || !vector_armed(v))
            vf->vectors_busy &= ~vector_bit(index);
    }
}

void vectors_reset(struct vf *vf)
{
    vf->vectors_busy = 0;
    for (uint32_t i = 0; i < MAX_VECTORS; i++) {
        struct vector *v = &vf->vector[i];

        /* eventfds and mask bits belong to PCI, not to the function's own state
         * (docs/spec/vfio-user.md 5). */
        *v = (struct vector){.eventfd = v->eventfd, .masked = v->masked};
    }
    for (uint32_t q = 0; q < MAX_QUEUES; q++)
        vf->rx[q].vector = vf->tx[q].vector = NO_VECTOR;
}

/* ---- what control does, called with the lock held ---- */

static struct vector *vector_of(struct plane *plane, uint32_t vf, uint32_t vector)
{
    return vf < plane->vfs && vector < MAX_VECTORS ? &plane->vf[vf].vector[vector] : NULL;
}

static void try_fire_now(struct plane *plane, struct vf *vf, uint32_t vector)
{
    const struct vector *v = &vf->vector[vector];

    plane->now_ns = clock_ns();
    try_fire(plane, vf, vector);
    if (asking(v) && vector_armed(v))
        vf->vectors_busy |= vector_bit(vector);
}

/* CLEARPBA drops a message that could not be sent; a cause that came while INTENA was 0 stays and fires
 * with INTENA (docs/design.md 3). */
void plane_write_dyn_ctl(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t value)
{
    struct vector *v = vector_of(plane, vf, vector);
    uint32_t itr = (value & DYN_CTL_ITR_INDX_MASK) >> DYN_CTL_ITR_INDX_SHIFT;

    if (!v)
        return;
    if (value & DYN_CTL_CLEARPBA)
        v->pending = false;
    if (itr < 3)
        set_interval(plane, vf, vector, itr,
                     (value & DYN_CTL_INTERVAL_MASK) >> DYN_CTL_INTERVAL_SHIFT);
    if (!(value & DYN_CTL_INTENA_MSK))
        v->intena = value & DYN_CTL_INTENA;
    v->wb_on_itr = plane->card.wb_on_itr && value & DYN_CTL_WB_ON_ITR;
    if (value & DYN_CTL_SWINT_TRIG)
        v->software = true;
    try_fire_now(plane, &plane->vf[vf], vector);
}

uint32_t plane_read_dyn_ctl(struct plane *plane, uint32_t vf, uint32_t vector)
{
    const struct vector *v = vector_of(plane, vf, vector);

    if (!v)
        return 0;
    return (v->intena ? DYN_CTL_INTENA : 0) | (v->wb_on_itr ? DYN_CTL_WB_ON_ITR : 0);
}

void plane_write_itr(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t itr,
                     uint32_t interval)
{
    if (vector_of(plane, vf, vector) && itr < 3)
        set_interval(plane, vf, vector, itr, interval & 0xfff);
}

uint32_t plane_read_itr(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t itr)
{
    const struct vector *v = vector_of(plane, vf, vector);

    if (!v || itr >= 3)
        return 0;
    look_at_itrn(plane, &plane->vf[vf], vector);
    return v->interval[itr] / ITR_UNIT_NS;
}

int plane_map_vector(struct plane *plane, uint32_t vf, uint32_t vector, uint32_t rx_map,
                     uint32_t tx_map, uint32_t rx_itr, uint32_t tx_itr)
{
    struct vector *v = vector_of(plane, vf, vector);

    if (!v)
        return -1;
    for (uint32_t q = 0; q < MAX_QUEUES; q++) {
        struct rx_queue *rx = &plane->vf[vf].rx[q];
        struct tx_queue *tx = &plane->vf[vf].tx[q];

        if (rx_map >> q & 1)
            rx->vector = vector;
        else if (rx->vector == vector)
            rx->vector = NO_VECTOR;
        if (tx_map >> q & 1)
            tx->vector = vector;
        else if (tx->vector == vector)
            tx->vector = NO_VECTOR;
    }
    v->rx_map = rx_map;
    v->tx_map = tx_map;
    v->rx_itr = rx_itr;
    v->tx_itr = tx_itr;
    return 0;
}

int plane_set_eventfd(struct plane *plane, uint32_t vf, uint32_t vector, int fd)
{
    struct vector *v = vector_of(plane, vf, vector);

    if (!v)
        return -1;
    if (v->eventfd >= 0)
        close(v->eventfd);
    v->eventfd = fd >= 0 ? dup(fd) : -1;
    if (v->eventfd >= 0 && v->pending)
        signal_vector(plane, &plane->vf[vf], v);
    return 0;
}

void plane_mask_vector(struct plane *plane, uint32_t vf, uint32_t vector, int masked)
{
    struct vector *v = vector_of(plane, vf, vector);

    if (!v)
        return;
    v->masked = masked;
    if (!masked && v->pending)
        signal_vector(plane, &plane->vf[vf], v);
}

void plane_set_msix(struct plane *plane, uint32_t vf, int enabled)
{
    plane->vf[vf].msix = enabled;
    for (uint32_t i = 0; enabled && i < MAX_VECTORS; i++)
        if (plane->vf[vf].vector[i].pending)
            signal_vector(plane, &plane->vf[vf], &plane->vf[vf].vector[i]);
}

uint64_t plane_pending(struct plane *plane, uint32_t vf)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < 64; i++)
        bits |= plane->vf[vf].vector[i].pending ? 1ull << i : 0;
    return bits;
}

void plane_raise(struct plane *plane, uint32_t vf, uint32_t vector)
{
    struct vector *v = vector_of(plane, vf, vector);

    if (!v)
        return;
    v->event = true;
    try_fire_now(plane, &plane->vf[vf], vector);
}

void plane_signal(struct plane *plane, uint32_t vf, int fd)
{
    send(plane, &plane->vf[vf], fd);
}

void plane_set_rx_polling(struct plane *plane, uint32_t vf, int on)
{
    plane->vf[vf].rx_polling = on;
}
