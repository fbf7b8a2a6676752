/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "softvf/report.h"
#include "softvf/rx.h"
#include "softvf/wire.h"

#define GUIDE "docs/guides/softvf.md"

/* What repeats is told at 1, 2, 4, 8 ... times: a wire may be busy for days. */
static bool worth_telling(uint64_t count)
{
    return !(count & (count - 1));
}

/* ---- how much ---- */

static bool is_up(const struct vf *vf)
{
    return vf->may_receive && vf->rx_enabled && vf->bus_master;
}

/* A capture begins once so many VFs are up; from then on it is a wire like any other. */
static bool has_started(struct plane *plane)
{
    struct uplink *uplink = plane->uplink;
    uint32_t wanted = uplink->start, up = 0;

    if (uplink->started || !uplink->patient)
        return true;
    if (wanted == UPLINK_START_COMMAND)
        return false;
    if (wanted == UPLINK_START_ALL || wanted > plane->vfs)
        wanted = plane->vfs;
    for (uint32_t i = 0; i < plane->vfs; i++)
        up += is_up(&plane->vf[i]);
    uplink->started = !wanted || (plane->link && up >= wanted);
    return uplink->started;
}

/* A capture without a pace is read while all VFs that are up have room, as if the sender knew. */
static uint32_t room_for_capture(struct plane *plane)
{
    uint32_t room = ~0u;

    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];
        uint32_t here = is_up(vf) ? rx_room(plane, vf) : ~0u;

        room = here < room ? here : room;
    }
    if (room == ~0u) /* nobody is up */
        return plane->uplink->start ? 0 : BURST;
    room /= RX_MAX_CHAIN; /* what the longest frame takes */
    return room < BURST ? room : BURST;
}

uint32_t wire_budget(struct plane *plane)
{
    if (!has_started(plane))
        return 0;
    return plane->uplink->patient && !plane->uplink->paced && plane->link ? room_for_capture(plane)
                                                                          : BURST;
}

/* ---- from the wire ---- */

/* What the uplink left out while it looked for the next frame. */
static void tell_left_out(struct plane *plane)
{
    const struct uplink *uplink = plane->uplink;
    struct softvf_wire_stats *wire = &plane->wire;

    if (uplink->too_long != wire->capture_too_long) {
        wire->capture_too_long = uplink->too_long;
        if (worth_telling(uplink->too_long))
            report(
                plane, NULL, SOFTVF_UPLINK, GUIDE,
                "%llu frames of the capture are longer than %u bytes, which no VF takes: left out",
                (unsigned long long)uplink->too_long, UPLINK_FRAME_MAX);
    }
    if (uplink->partial != wire->capture_partial) {
        wire->capture_partial = uplink->partial;
        if (worth_telling(uplink->partial))
            report(plane, NULL, SOFTVF_UPLINK, GUIDE,
                   "of %llu frames the capture holds only the beginning, which is played",
                   (unsigned long long)uplink->partial);
    }
    wire->capture_rounds = uplink->rounds;
    wire->capture_late_us = uplink->late_ns / 1000;
    if (uplink->ended && !wire->capture_ended) {
        wire->capture_ended = 1;
        wire->capture_damaged = uplink->damaged;
        if (uplink->damaged)
            report(plane, NULL, SOFTVF_UPLINK, GUIDE,
                   "the capture is cut or damaged behind %llu frames: what follows is left out",
                   (unsigned long long)wire->received);
        else if (uplink->rounds > 1)
            report(plane, NULL, SOFTVF_UPLINK, GUIDE,
                   "the capture is played %llu times: %llu frames",
                   (unsigned long long)uplink->rounds, (unsigned long long)wire->received);
        else
            report(plane, NULL, SOFTVF_UPLINK, GUIDE, "the capture is played: %llu frames",
                   (unsigned long long)wire->received);
    }
}

/* No shorter frame exists on a wire, but in files and TAPs. */
static void pad(struct plane *plane, struct view *view)
{
    memcpy(plane->segment, view->frame, view->len);
    memset(plane->segment + view->len, 0, ETHER_MIN_FRAME - view->len);
    view->frame = plane->segment;
    view->len = ETHER_MIN_FRAME;
}

bool wire_next(struct plane *plane, struct view *view)
{
    struct softvf_wire_stats *wire = &plane->wire;

    view->frame = plane->uplink->ops->next(plane->uplink, &view->len);
    if (!view->frame) {
        tell_left_out(plane);
        return false;
    }
    wire->received++;
    wire->received_bytes += view->len;
    tell_left_out(plane);
    if (!plane->link) {
        if (worth_telling(++wire->link_down))
            report(plane, NULL, SOFTVF_UPLINK, GUIDE,
                   "%llu frames came while the wire was down: lost",
                   (unsigned long long)wire->link_down);
        view->frame = NULL;
    } else if (view->len < ETHER_HEADER || view->len > UPLINK_FRAME_MAX) {
        if (worth_telling(++wire->bad_length))
            report(plane, NULL, SOFTVF_UPLINK, GUIDE,
                   "%llu frames from the wire are no frames: %u bytes; %u to %u may be",
                   (unsigned long long)wire->bad_length, view->len, ETHER_HEADER, UPLINK_FRAME_MAX);
        view->frame = NULL;
    } else if (view->len < ETHER_MIN_FRAME) {
        pad(plane, view);
    }
    return true;
}

void wire_unmatched(struct plane *plane, const uint8_t *frame)
{
    if (worth_telling(++plane->wire.unmatched))
        report(plane, NULL, SOFTVF_UPLINK, GUIDE,
               "%llu frames from the wire are for no VF: no address matches "
               "%02x:%02x:%02x:%02x:%02x:%02x and none takes what is left over",
               (unsigned long long)plane->wire.unmatched, frame[0], frame[1], frame[2], frame[3],
               frame[4], frame[5]);
}

void wire_delivered(struct plane *plane, enum rx_fate fate)
{
    struct softvf_wire_stats *wire = &plane->wire;
    struct {
        uint64_t *count;
        const char *why;
    } lost[] = {
        [RX_DELIVERED] = {NULL, NULL},
        [RX_NOT_RECEIVING] = {&wire->not_receiving, "their VF, or its queue, does not receive"},
        [RX_VLAN] = {&wire->vlan_filtered, "their VF's VLAN filters or port VLAN keep them out"},
        [RX_TOO_LONG] = {&wire->over_max_frame, "they are longer than the receive queue takes"},
        [RX_NO_ROOM] = {&wire->no_room, "the receive queue has no descriptors for them"},
        [RX_STOPPED] = {&wire->stopped, "malicious driver detection stopped the queue"},
        [RX_SPOILED] = {&wire->spoiled, "a fault that was asked for loses them"},
        [RX_DROPPED] = {&wire->dropped, "a rule of the flow director drops them"},
    };

    if (fate != RX_DELIVERED && worth_telling(++*lost[fate].count))
        report(plane, NULL, SOFTVF_UPLINK, GUIDE, "%llu frames from the wire are lost: %s",
               (unsigned long long)*lost[fate].count, lost[fate].why);
}

/* ---- onto the wire ---- */

void wire_send(struct plane *plane, struct vf *vf, const struct view *view)
{
    int result;

    plane->spent += WORK_WIRE;
    result = plane->uplink->ops->send(plane->uplink, view->frame, view->len);
    if (!result) {
        plane->wire.sent++;
        plane->wire.sent_bytes += view->len;
        return;
    }
    vf->stats[TX_ERROR]++;
    plane->wire.not_sent++;
    report(plane, vf, SOFTVF_UPLINK, GUIDE, "the uplink does not take frames: %s",
           strerror(-result));
}

/* ---- what control asks ---- */

void plane_wire_stats(struct plane *plane, struct softvf_wire_stats *stats)
{
    *stats = plane->wire;
    stats->capture_waits = plane->uplink->patient && !plane->uplink->started;
}

int plane_wire_play(struct plane *plane)
{
    if (!plane->uplink->patient)
        return -ENOTSUP;
    plane->uplink->started = true;
    return 0;
}
