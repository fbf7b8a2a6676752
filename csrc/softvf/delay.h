/* SPDX-License-Identifier: BSD-3-Clause */
/* The delay that the host adds to a VF's frames on their way to the switch: copies of them wait for their time. Their
 * descriptors are done by then, so that no memory of the VF is needed any more. */
#ifndef IAVFIO_SOFTVF_DELAY_H
#define IAVFIO_SOFTVF_DELAY_H

#include "softvf/plane.h"

/* Gets the memory for a VF that is to have a delay; -ENOMEM. */
int delay_prepare(struct vf *vf);
/* Whether a frame of the VF must wait: also one without a delay, for those before it. */
static inline bool delay_holds(const struct vf *vf)
{
    return vf->config->c.delay_us || vf->delay.frames;
}

/* Whether so much is under way that the VF's queues wait. */
bool delay_is_full(const struct vf *vf);
/* Copies a frame, which goes on when its time has come and all before it have gone. */
void delay_hold(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len);
/* The VF's next frame, until delay_pass; NULL when none is due. */
const uint8_t *delay_due(struct vf *vf, uint64_t now_ns, uint32_t *len);
/* That frame has gone. */
void delay_pass(struct plane *plane, struct vf *vf, uint32_t len);
/* Forgets what is under way. */
void delay_forget(struct plane *plane, struct vf *vf);

#endif
