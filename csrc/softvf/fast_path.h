/* SPDX-License-Identifier: BSD-3-Clause */
/* The fast path between rings. */
#ifndef IAVFIO_SOFTVF_FAST_PATH_H
#define IAVFIO_SOFTVF_FAST_PATH_H

#include "softvf/plane.h"

/* Takes plain unicast frames of one buffer from a send ring to receive rings; returns how many, and stops
 * before anything else. */
uint32_t fast_path(struct plane *plane, struct vf *vf, struct tx_queue *q, uint32_t tail,
                   uint32_t budget);

#endif
