/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet of the send side, gathered from its descriptors (docs/spec/descriptors.md 1, 2, 3, 4, 15). */
#ifndef IAVFIO_SOFTVF_TX_PACKET_H
#define IAVFIO_SOFTVF_TX_PACKET_H

#include "softvf/plane.h"

/* Gathers the packet at the queue's head into plane->frame; -1 when the queue was stopped for it. Looks for
 * the packet's end first, and at each descriptor once, however often the doorbell rings before it is there. */
int tx_packet_gather(struct plane *plane, struct vf *vf, uint32_t queue, uint32_t tail,
                     struct tx_packet *p);
/* Whether each segment of a TSO packet touches at most 8 buffers (docs/spec/descriptors.md 3). */
bool tx_packet_segments_fit(const struct plane *plane, const struct tx_packet *p, uint32_t header,
                            uint32_t mss);

#endif
