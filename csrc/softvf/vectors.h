/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupt vectors. */
#ifndef IAVFIO_SOFTVF_VECTORS_H
#define IAVFIO_SOFTVF_VECTORS_H

#include "softvf/plane.h"

/* Sends the signals that waited for one on its way, as far as they need not wait still. */
void vectors_resend(struct plane *plane, struct vf *vf);
/* Fires the vectors that are armed and have a cause. */
void vectors_run(struct plane *plane, struct vf *vf);
void vectors_reset(struct vf *vf);

static inline uint64_t vector_bit(uint32_t vector)
{
    return vector < 64 ? 1ull << vector : 0;
}

static inline bool vector_armed(const struct vector *v)
{
    return v->intena || v->wb_on_itr || v->software;
}

/* Gives a queue's vector a cause. This is called for each packet; most find the cause set, and then the
 * vector is busy already, or becomes so when it is armed. */
static inline void vector_cause(struct vf *vf, uint32_t vector)
{
    struct vector *v = &vf->vector[vector < MAX_VECTORS ? vector : 0];

    if (vector >= MAX_VECTORS || v->cause)
        return;
    v->cause = true;
    if (vector_armed(v))
        vf->vectors_busy |= vector_bit(vector);
}

#endif
