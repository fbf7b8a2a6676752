/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/bar.h"

int plane_bar_fd(const struct plane *plane, uint32_t vf)
{
    return plane->vf[vf].bar_fd;
}

uint32_t plane_bar_read32(struct plane *plane, uint32_t vf, uint64_t offset)
{
    return offset + 4 <= plane->vf[vf].bar_size ? bar_load(&plane->vf[vf], offset) : 0;
}

void plane_bar_write32(struct plane *plane, uint32_t vf, uint64_t offset, uint32_t value)
{
    if (offset + 4 <= plane->vf[vf].bar_size)
        __atomic_store_n((uint32_t *)(void *)(plane->vf[vf].bar + offset), value, __ATOMIC_RELEASE);
}
