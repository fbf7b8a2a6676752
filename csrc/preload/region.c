/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server says of a region. Nothing of it is trusted: every length and offset is checked against the
 * reply, the region and the file's 63 bits before it is used (docs/spec/reliability.md S2). */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "hw/page.h"
#include "preload/preload.h"

#define FIXED ((uint32_t)sizeof(struct vfio_region_info))
#define SPARSE ((uint32_t)sizeof(struct vfio_region_info_cap_sparse_mmap))
#define AREA ((uint32_t)sizeof(struct vfio_region_sparse_mmap_area))
#define MAX_CAPABILITIES 16
#define FILE_END ((uint64_t)INT64_MAX)

/* Whether [at, at + bytes) lies in the reply. */
static bool inside(uint32_t size, uint64_t at, uint64_t bytes)
{
    return at <= size && bytes <= size - at;
}

/* An area that cannot be mapped as a part of the region is a reply that makes no sense. */
static int add_area(struct region *region, const uint8_t *from)
{
    struct vfio_region_sparse_mmap_area area;

    memcpy(&area, from, sizeof(area));
    if (area.offset > region->size || area.size > region->size - area.offset ||
        area.offset % PAGE_BYTES)
        return -EPROTO;
    if (area.size && region->areas < PRELOAD_MAX_AREAS)
        region->area[region->areas++] = (struct area){.offset = area.offset, .size = area.size};
    return 0;
}

static int take_sparse(struct region *region, const uint8_t *reply, uint32_t size, uint32_t at)
{
    struct vfio_region_info_cap_sparse_mmap sparse;
    int result = 0;

    if (!inside(size, at, SPARSE))
        return -EPROTO;
    memcpy(&sparse, reply + at, sizeof(sparse));
    if (!inside(size, (uint64_t)at + SPARSE, (uint64_t)sparse.nr_areas * AREA))
        return -EPROTO;
    region->areas = 0;
    for (uint32_t i = 0; i < sparse.nr_areas && result == 0; i++)
        result = add_area(region, reply + at + SPARSE + i * AREA);
    return result;
}

static int take_capabilities(struct region *region, const uint8_t *reply, uint32_t size,
                             uint32_t at)
{
    struct vfio_info_cap_header header;
    int result = 0;

    for (int n = 0; at && result == 0; n++, at = header.next) {
        if (at < FIXED || !inside(size, at, sizeof(header)) || n == MAX_CAPABILITIES)
            return -EPROTO;
        memcpy(&header, reply + at, sizeof(header));
        if (header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
            result = take_sparse(region, reply, size, at);
    }
    return result;
}

int region_learn(struct region *region, const uint8_t *reply, uint32_t size, bool has_file)
{
    struct vfio_region_info info;
    int result = 0;

    region->size = region->fd_offset = region->flags = region->areas = 0;
    if (size < FIXED)
        return -EPROTO;
    memcpy(&info, reply, FIXED);
    /* A program finds the region at a multiple of 2^PRELOAD_REGION_SHIFT of its device's fd. */
    if (info.size > 1ull << PRELOAD_REGION_SHIFT || info.offset > FILE_END - info.size)
        return -EPROTO;
    region->size = info.size;
    region->flags = info.flags;
    region->fd_offset = info.offset;
    if (!has_file || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP) || info.offset % PAGE_BYTES)
        return 0;
    region->area[0] = (struct area){.size = region->size};
    region->areas = 1;
    if (info.flags & VFIO_REGION_INFO_FLAG_CAPS)
        result = take_capabilities(region, reply, size, info.cap_offset);
    if (result)
        region->size = region->areas = 0;
    return result;
}
