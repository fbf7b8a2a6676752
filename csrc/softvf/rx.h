/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive side: frames into rings. */
#ifndef IAVFIO_SOFTVF_RX_H
#define IAVFIO_SOFTVF_RX_H

#include "softvf/plane.h"

/* What became of a frame at a VF. */
enum rx_fate {
    RX_DELIVERED,
    RX_NOT_RECEIVING, /* the VF, or the queue that RSS or a rule chose */
    RX_VLAN, /* its filters or its port VLAN do not let the frame in */
    RX_TOO_LONG, /* for the queue */
    RX_NO_ROOM, /* no descriptors */
    RX_STOPPED, /* by malicious driver detection, at this frame */
    RX_SPOILED, /* a fault that was asked for lost it */
    RX_DROPPED, /* by a rule of the flow director */
};

/* Receives a frame: into a queue of the VF, or counted as discarded. */
enum rx_fate rx_frame(struct plane *plane, struct vf *vf, struct view *view);
/* Descriptors that every enabled queue of the VF has at least. */
uint32_t rx_room(const struct plane *plane, struct vf *vf);
/* Reads posted descriptors before they are needed, and asks for their buffers' lines. */
void rx_fetch_ahead(struct plane *plane, struct vf *vf, uint32_t queue);

#endif
