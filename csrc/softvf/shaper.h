/* SPDX-License-Identifier: BSD-3-Clause */
/* The rate that the host gives a VF (`ip link set PF vf N max_tx_rate`): its queues wait, and lose nothing. */
#ifndef IAVFIO_SOFTVF_SHAPER_H
#define IAVFIO_SOFTVF_SHAPER_H

#include "softvf/plane.h"

/* Gives the VF what its rate brought since the last call; whether it may send now. */
bool shaper_open(struct vf *vf, uint64_t now_ns);
/* Whether the VF has sent all that its rate allows. */
bool shaper_waits(const struct vf *vf);
/* What the queue has sent since it was configured, in bits of frames with FCS. */
uint64_t shaper_sent(const struct tx_queue *queue);
/* Takes what was sent off what the VF may send. */
void shaper_charge(struct vf *vf, uint64_t bits);

#endif
