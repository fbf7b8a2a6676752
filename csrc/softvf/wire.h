/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire between the switch and the uplink: what comes from it, what goes onto it, and counters of both. */
#ifndef IAVFIO_SOFTVF_WIRE_H
#define IAVFIO_SOFTVF_WIRE_H

#include "softvf/plane.h"
#include "softvf/rx.h"

/* How many frames the switch may ask for now. */
uint32_t wire_budget(struct plane *plane);
/* Asks for one; false when the uplink has none now. view->frame is NULL when the frame was lost on the way:
 * it has been counted. */
bool wire_next(struct plane *plane, struct view *view);
/* Counts a frame from the wire that no VF takes. */
void wire_unmatched(struct plane *plane, const uint8_t *frame);
/* Counts, by the reason, a frame from the wire that no VF got for whom it was. */
void wire_delivered(struct plane *plane, enum rx_fate fate);
/* Sends a frame of a VF; there must be a wire. */
void wire_send(struct plane *plane, struct vf *vf, const struct view *view);

#endif
