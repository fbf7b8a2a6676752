/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers in a VF's BAR0, which lie in memory that its client may map. */
#ifndef IAVFIO_SOFTVF_BAR_H
#define IAVFIO_SOFTVF_BAR_H

#include "softvf/plane.h"

static inline uint32_t bar_load(const struct vf *vf, uint64_t offset)
{
    /* The doorbell is read before the descriptors it announces. */
    return __atomic_load_n((const uint32_t *)(const void *)(vf->bar + offset), __ATOMIC_ACQUIRE);
}

#endif
