/* SPDX-License-Identifier: BSD-3-Clause */
/* A container that behaves as the kernel's type 1 IOMMU does (docs/spec/vfio.md 2, 4). */
#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hw/page.h"
#include "preload/preload.h"
#include "preload/real.h"

#define MSI_FIRST 0xfee00000ull /* never DMA on x86: interrupts are sent there */
#define MSI_LAST 0xfeefffffull
#define MAX_MAPPINGS 65535u

struct mapping {
    uint64_t iova;
    uint64_t size;
    uint64_t address;
    uint32_t flags;
};

struct container {
    unsigned holders; /* its fds, and groups that joined */
    unsigned groups;
    unsigned long iommu; /* 0: not set */
    uint32_t mappings;
    uint32_t room;
    struct mapping *mapping; /* by IOVA */
};

struct container *container_new(void)
{
    struct container *container = calloc(1, sizeof(*container));

    if (container)
        container->holders = 1;
    return container;
}

static void drop_mapping(struct container *container, uint32_t at)
{
    container->mappings--;
    memmove(&container->mapping[at], &container->mapping[at + 1],
            (container->mappings - at) * sizeof(container->mapping[0]));
}

void container_put(struct container *container)
{
    if (--container->holders)
        return;
    while (container->mappings)
        drop_mapping(container, container->mappings - 1);
    free(container->mapping);
    free(container);
}

bool container_has_iommu(const struct container *container)
{
    return container->iommu != 0;
}

static int map_for(struct slot *slot, const struct mapping *mapping, const struct piece *piece,
                   uint32_t pieces)
{
    uint64_t iova = mapping->iova;

    for (uint32_t i = 0; i < pieces; i++) {
        int result =
            slot_dma_map(slot, mapping->flags, iova, piece[i].size, piece[i].fd, piece[i].offset);

        if (result) {
            if (i)
                slot_dma_unmap(slot, mapping->iova, iova - mapping->iova);
            return result;
        }
        iova += piece[i].size;
    }
    return 0;
}

static int map_in(const struct container *container, const struct mapping *mapping,
                  const struct piece *piece, uint32_t pieces)
{
    for (unsigned i = 0; i < preload_slot_count; i++) {
        int result;

        if (preload_slots[i].container != container)
            continue;
        result = map_for(&preload_slots[i], mapping, piece, pieces);
        if (result) {
            while (i-- > 0)
                if (preload_slots[i].container == container)
                    slot_dma_unmap(&preload_slots[i], mapping->iova, mapping->size);
            return result;
        }
    }
    return 0;
}

/* Maps the files behind a mapping for one slot, or with NULL for all slots of the container. Files are
 * looked up anew each time rather than kept open: with one for each huge page a program is near its limit
 * already. */
static int map_files(const struct container *container, struct slot *slot,
                     const struct mapping *mapping)
{
    struct piece *piece;
    uint32_t pieces;
    int result = memory_pieces(mapping->address, mapping->size,
                               mapping->flags & VFIO_DMA_MAP_FLAG_WRITE, &piece, &pieces);

    if (result)
        return result;
    result =
        slot ? map_for(slot, mapping, piece, pieces) : map_in(container, mapping, piece, pieces);
    memory_free(piece, pieces);
    return result;
}

/* A group that joins gets all that is mapped already, but for memory that the program gave back since. */
int container_join(struct container *container, struct slot *slot)
{
    for (uint32_t i = 0; i < container->mappings; i++) {
        int result = map_files(container, slot, &container->mapping[i]);

        if (result && result != -EFAULT)
            return result;
    }
    slot->container = container;
    container->groups++;
    container->holders++;
    return 0;
}

/* When the last group leaves, the IOMMU and all mappings go. */
void container_part(struct slot *slot)
{
    struct container *container = slot->container;

    for (uint32_t i = 0; i < container->mappings; i++)
        slot_dma_unmap(slot, container->mapping[i].iova, container->mapping[i].size);
    slot->container = NULL;
    if (--container->groups == 0) {
        while (container->mappings)
            drop_mapping(container, container->mappings - 1);
        container->iommu = 0;
    }
    container_put(container);
}

/* Index of the first mapping that ends above iova. */
static uint32_t find(const struct container *container, uint64_t iova)
{
    uint32_t low = 0;
    uint32_t high = container->mappings;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct mapping *mapping = &container->mapping[middle];

        if (mapping->iova + mapping->size <= iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool in_ranges(uint64_t iova, uint64_t size)
{
    uint64_t last = iova + size - 1;

    return last < 1ull << preload.iova_bits && (last < MSI_FIRST || iova > MSI_LAST);
}

static int insert(struct container *container, uint32_t at, const struct mapping *mapping)
{
    if (container->mappings == container->room) {
        uint32_t room = container->room ? 2 * container->room : 64;
        struct mapping *grown = realloc(container->mapping, room * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        container->mapping = grown;
        container->room = room;
    }
    memmove(&container->mapping[at + 1], &container->mapping[at],
            (container->mappings - at) * sizeof(container->mapping[0]));
    container->mapping[at] = *mapping;
    container->mappings++;
    return 0;
}

static int map_dma(struct container *container, void *arg)
{
    const uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct vfio_iommu_type1_dma_map map;
    struct mapping mapping;
    uint32_t at;
    int result = preload_copy_in(&map, arg, sizeof(map));

    if (result)
        return result;
    if (map.argsz < sizeof(map) || map.flags & ~known || !(map.flags & known) || !map.size ||
        (map.vaddr | map.iova | map.size) & (PAGE_BYTES - 1) ||
        map.iova + map.size - 1 < map.iova || map.vaddr + map.size - 1 < map.vaddr)
        return -EINVAL;
    at = find(container, map.iova);
    if (at < container->mappings && container->mapping[at].iova < map.iova + map.size)
        return -EEXIST;
    if (container->mappings >= MAX_MAPPINGS)
        return -ENOSPC;
    if (!in_ranges(map.iova, map.size))
        return -EINVAL;
    mapping = (struct mapping){
        .iova = map.iova, .size = map.size, .address = map.vaddr, .flags = map.flags};
    result = insert(container, at, &mapping);
    if (result)
        return result;
    result = map_files(container, NULL, &mapping);
    if (result)
        drop_mapping(container, at);
    return result;
}

static int unmap_dma(struct container *container, void *arg)
{
    struct vfio_iommu_type1_dma_unmap unmap;
    size_t size = offsetof(struct vfio_iommu_type1_dma_unmap, size) + sizeof(unmap.size);
    bool all;
    uint64_t end;
    uint64_t done = 0;
    uint32_t at;
    int result = preload_copy_in(&unmap, arg, size);

    if (result)
        return result;
    all = unmap.flags == VFIO_DMA_UNMAP_FLAG_ALL;
    if (unmap.argsz < size || (unmap.flags && !all) || (all && (unmap.iova || unmap.size)) ||
        (!all && (!unmap.size || (unmap.iova | unmap.size) & (PAGE_BYTES - 1) ||
                  unmap.iova + unmap.size - 1 < unmap.iova)))
        return -EINVAL;
    end = all ? UINT64_MAX : unmap.iova + unmap.size;
    at = find(container, unmap.iova);
    if (!all && container->iommu == VFIO_TYPE1v2_IOMMU) { /* must not split a mapping */
        uint32_t last = find(container, end - 1);

        if ((at < container->mappings && container->mapping[at].iova < unmap.iova) ||
            (last < container->mappings && container->mapping[last].iova < end &&
             container->mapping[last].iova + container->mapping[last].size > end))
            return -EINVAL;
    }
    if (at < container->mappings && container->mapping[at].iova < unmap.iova)
        at++; /* the older type 1: a mapping goes whole when its start is inside */
    while (at < container->mappings && container->mapping[at].iova < end) {
        const struct mapping *mapping = &container->mapping[at];

        for (unsigned i = 0; i < preload_slot_count; i++)
            if (preload_slots[i].container == container)
                slot_dma_unmap(&preload_slots[i], mapping->iova, mapping->size);
        done += mapping->size;
        drop_mapping(container, at);
    }
    unmap.size = done;
    return preload_copy_out(arg, &unmap, size);
}

/* Fixed part, then the capabilities IOVA_RANGE (two ranges) and DMA_AVAIL. */
static int get_info(const struct container *container, void *arg)
{
    struct {
        struct vfio_iommu_type1_info info;
        struct vfio_info_cap_header ranges_header;
        uint32_t ranges;
        uint32_t reserved;
        uint64_t range[4];
        struct vfio_info_cap_header avail_header;
        uint32_t avail;
        uint32_t pad;
    } reply;
    const uint32_t fixed = 24;
    uint32_t argsz;
    int result = preload_copy_in(&argsz, arg, sizeof(argsz));

    if (result)
        return result;
    if (argsz < 16)
        return -EINVAL;
    memset(&reply, 0, sizeof(reply));
    reply.info.argsz = sizeof(reply);
    reply.info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    reply.info.iova_pgsizes = PAGE_BYTES | 2ull << 20 | 1ull << 30;
    reply.ranges_header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
    reply.ranges_header.version = 1;
    reply.ranges_header.next = offsetof(__typeof__(reply), avail_header);
    reply.ranges = 2;
    reply.range[1] = MSI_FIRST - 1;
    reply.range[2] = MSI_LAST + 1;
    reply.range[3] = (1ull << preload.iova_bits) - 1;
    reply.avail_header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
    reply.avail_header.version = 1;
    reply.avail = MAX_MAPPINGS - container->mappings;
    if (argsz >= sizeof(reply)) {
        reply.info.cap_offset = offsetof(__typeof__(reply), ranges_header);
        return preload_copy_out(arg, &reply, sizeof(reply));
    }
    return preload_copy_out(arg, &reply, argsz < fixed ? argsz : fixed);
}

int container_ioctl(struct container *container, unsigned long request, void *arg)
{
    unsigned long value = (unsigned long)(uintptr_t)arg;

    switch (request) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return value == VFIO_TYPE1_IOMMU || value == VFIO_TYPE1v2_IOMMU ||
               (value == VFIO_UNMAP_ALL && container->iommu) ||
               (value == VFIO_DMA_CC_IOMMU && container->iommu);
    case VFIO_SET_IOMMU:
        if (!container->groups || container->iommu)
            return -EINVAL;
        if (value != VFIO_TYPE1_IOMMU && value != VFIO_TYPE1v2_IOMMU)
            return -ENODEV;
        container->iommu = value;
        return 0;
    default:
        break;
    }
    if (!container->iommu)
        return -EINVAL;
    switch (request) {
    case VFIO_IOMMU_GET_INFO:
        return get_info(container, arg);
    case VFIO_IOMMU_MAP_DMA:
        return map_dma(container, arg);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(container, arg);
    default:
        return -ENOTTY;
    }
}
