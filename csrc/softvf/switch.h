/* SPDX-License-Identifier: BSD-3-Clause */
/* The switch between the VFs of the PF and its uplink. */
#ifndef IAVFIO_SOFTVF_SWITCH_H
#define IAVFIO_SOFTVF_SWITCH_H

#include "softvf/plane.h"

/* Takes a frame of a VF, now or after its delay. `frame` belongs to the plane. */
void switch_from_vf(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len);
/* Takes frames of VFs whose delay is over; returns how many. */
uint32_t switch_delayed(struct plane *plane);
/* Takes frames from the uplink; returns how many. */
uint32_t switch_from_wire(struct plane *plane);
/* Takes over a VF's configuration after it has changed. */
void switch_rebuild(struct plane *plane);
/* Returns a bitmap of the VFs that own a MAC address. */
uint64_t switch_owners(const struct plane *plane, uint64_t mac);

#endif
