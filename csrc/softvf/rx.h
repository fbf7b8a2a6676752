/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive side: frames into rings. */
#ifndef IAVFIO_SOFTVF_RX_H
#define IAVFIO_SOFTVF_RX_H

#include "softvf/plane.h"

/* Receives a frame: into a queue of the VF, or counted as discarded. */
void rx_frame(struct plane *plane, struct vf *vf, struct view *view);
/* Descriptors that every enabled queue of the VF has at least. */
uint32_t rx_room(const struct plane *plane, struct vf *vf);
/* Reads posted descriptors before they are needed, and asks for their buffers' lines. */
void rx_fetch_ahead(struct plane *plane, struct vf *vf, uint32_t queue);

#endif
