/* SPDX-License-Identifier: BSD-3-Clause */
/* The send side: descriptors in, frames to the switch. */
#ifndef IAVFIO_SOFTVF_TX_H
#define IAVFIO_SOFTVF_TX_H

#include "softvf/plane.h"

/* Serves a send queue for a while; returns about how many packets it moved. */
uint32_t tx_serve(struct plane *plane, struct vf *vf, uint32_t queue);

#endif
