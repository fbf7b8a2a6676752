/* SPDX-License-Identifier: BSD-3-Clause */
/* A device: information, registers, reset (docs/spec/vfio.md 5). */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>

#include "hw/page.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "vfio/vu_conn.h"

static int get_info(struct slot *slot, void *arg)
{
    const uint32_t fixed = PRELOAD_INFO_BYTES;
    struct vfio_device_info info = {0};
    struct {
        uint32_t argsz, flags, regions, irqs;
    } request = {.argsz = sizeof(request)};
    uint8_t reply[PRELOAD_INFO_BYTES];
    uint32_t argsz, got = 0;
    int result = preload_copy_in(&argsz, arg, sizeof(argsz));

    if (result)
        return result;
    if (argsz < fixed)
        return -EINVAL;
    result = slot_request(slot, VU_DEVICE_GET_INFO, &request, sizeof(request), NULL, 0, reply,
                          sizeof(reply), &got);
    if (result == 0)
        result = info_learn(&info.flags, reply, got);
    if (result)
        return result;
    info.argsz = fixed;
    info.num_regions = PRELOAD_REGIONS;
    info.num_irqs = PRELOAD_IRQ_INDEXES;
    return preload_copy_out(arg, &info, fixed);
}

/* Every BAR but the MSI-X table's can be mapped, since the shim traps what the server does not map. */
static bool mappable(const struct slot *slot, uint32_t index)
{
    const struct region *region = &slot->region[index];

    if (preload.sparse || index > 5 || (int)index == slot->msix_bar || region->size < PAGE_BYTES)
        return region->areas > 0;
    return true;
}

static int get_region_info(struct slot *slot, void *arg)
{
    struct {
        struct vfio_region_info info;
        struct {
            struct vfio_info_cap_header header;
            uint32_t nr_areas;
            uint32_t reserved;
        } sparse; /* struct vfio_region_info_cap_sparse_mmap, whose end is open */
        struct vfio_region_sparse_mmap_area area[PRELOAD_MAX_AREAS];
    } reply = {0};
    uint32_t size = sizeof(reply.info);
    const struct region *region;
    uint32_t argsz;
    int result = preload_copy_in(&reply.info, arg, sizeof(reply.info));

    if (result)
        return result;
    argsz = reply.info.argsz;
    if (argsz < sizeof(reply.info) || reply.info.index >= PRELOAD_REGIONS)
        return -EINVAL;
    region = &slot->region[reply.info.index];
    reply.info.flags = region->flags & (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
    if (mappable(slot, reply.info.index))
        reply.info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
    reply.info.cap_offset = 0;
    reply.info.size = region->size;
    reply.info.offset = (uint64_t)reply.info.index << PRELOAD_REGION_SHIFT;
    if (preload.sparse && region->areas) {
        size =
            (uint32_t)(offsetof(__typeof__(reply), area) + region->areas * sizeof(reply.area[0]));
        reply.info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
        reply.sparse.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
        reply.sparse.header.version = 1;
        reply.sparse.nr_areas = region->areas;
        for (uint32_t i = 0; i < region->areas; i++) {
            reply.area[i].offset = region->area[i].offset;
            reply.area[i].size = region->area[i].size;
        }
        if (argsz >= size)
            reply.info.cap_offset = offsetof(__typeof__(reply), sparse);
    }
    reply.info.argsz = size;
    return preload_copy_out(arg, &reply, argsz >= size ? size : sizeof(reply.info));
}

/* Resets the device as the kernel does: the command register (Bus Master, decoding) is afterwards as it was
 * before (docs/spec/vfio.md 5). */
int device_reset(struct slot *slot)
{
    uint8_t command[2];
    int result = slot_read(slot, PRELOAD_CONFIG, PCI_COMMAND, command, sizeof(command));

    if (result == 0)
        result = slot_request(slot, VU_DEVICE_RESET, NULL, 0, NULL, 0, NULL, 0, NULL);
    if (result == 0)
        result = slot_write(slot, PRELOAD_CONFIG, PCI_COMMAND, command, sizeof(command), false);
    return result;
}

int device_ioctl(struct slot *slot, unsigned long request, void *arg)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return get_info(slot, arg);
    case VFIO_DEVICE_GET_REGION_INFO:
        return get_region_info(slot, arg);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return device_get_irq_info(slot, arg);
    case VFIO_DEVICE_SET_IRQS:
        return device_set_irqs(slot, arg);
    case VFIO_DEVICE_RESET:
        return device_reset(slot);
    default:
        return -ENOTTY;
    }
}

/* Where a transfer at `at` of the fd begins, and how much of it the region has. */
static int locate(const struct slot *slot, uint64_t at, size_t *count, uint32_t *index,
                  uint64_t *offset)
{
    uint64_t number = at >> PRELOAD_REGION_SHIFT;

    if (number >= PRELOAD_REGIONS)
        return -EINVAL;
    *index = (uint32_t)number;
    *offset = at & ((1ull << PRELOAD_REGION_SHIFT) - 1);
    if (*offset >= slot->region[number].size)
        return -EINVAL;
    if (*count > slot->region[number].size - *offset)
        *count = slot->region[number].size - *offset;
    return 0;
}

/* One access of a BAR: as wide as alignment and length allow. */
static uint32_t width(uint32_t index, uint64_t offset, size_t left)
{
    if (index == PRELOAD_CONFIG)
        return left < 256 ? (uint32_t)left : 256;
    for (uint32_t bytes = 8; bytes > 1; bytes /= 2)
        if (offset % bytes == 0 && left >= bytes)
            return bytes;
    return 1;
}

ssize_t device_read(struct slot *slot, void *data, size_t count, uint64_t at)
{
    uint32_t index;
    uint64_t offset;
    int result = locate(slot, at, &count, &index, &offset);

    for (size_t done = 0; result == 0 && done < count;) {
        uint32_t n = width(index, offset + done, count - done);
        uint8_t part[256];

        result = slot_read(slot, index, offset + done, part, n);
        if (result == 0)
            result = preload_copy_out((uint8_t *)data + done, part, n);
        done += n;
    }
    return result ? result : (ssize_t)count;
}

/* Whether a write sets the reset bit of PCIe Device Control: the kernel runs that reset
 * (docs/spec/vfio.md 5). */
static bool asks_for_flr(const struct slot *slot, uint64_t offset, const uint8_t *data, uint32_t n)
{
    uint64_t high = (uint64_t)slot->pcie_cap + PCI_EXP_DEVCTL + 1; /* bits 15:8 */

    return slot->pcie_cap && offset <= high && high - offset < n && data[high - offset] & 0x80;
}

ssize_t device_write(struct slot *slot, const void *data, size_t count, uint64_t at)
{
    uint32_t index;
    uint64_t offset;
    int result = locate(slot, at, &count, &index, &offset);

    for (size_t done = 0; result == 0 && done < count;) {
        uint32_t n = width(index, offset + done, count - done);
        uint8_t part[256];

        result = preload_copy_in(part, (const uint8_t *)data + done, n);
        if (result == 0 && index == PRELOAD_CONFIG && asks_for_flr(slot, offset + done, part, n))
            result = device_reset(slot);
        else if (result == 0)
            result = slot_write(slot, index, offset + done, part, n, false);
        done += n;
    }
    return result ? result : (ssize_t)count;
}

/* The whole is reserved without access; the server's pages are laid over it, the rest faults. */
static int lay_areas(const struct slot *slot, uint32_t index, uint8_t *address, size_t length,
                     uint64_t offset, int prot)
{
    const struct region *region = &slot->region[index];

    for (uint32_t i = 0; i < region->areas && region->fd >= 0; i++) {
        uint64_t start = region->area[i].offset;
        uint64_t end = start + region->area[i].size;

        start = start > offset ? start : offset;
        end = end < offset + length ? end : offset + length;
        if (start >= end || start & (PAGE_BYTES - 1))
            continue;
        if (real_mmap(address + (start - offset), end - start, prot, MAP_SHARED | MAP_FIXED,
                      region->fd, region->fd_offset + start) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

void *device_mmap(struct slot *slot, void *address, size_t length, int prot, int flags, uint64_t at)
{
    uint32_t index;
    uint64_t offset;
    size_t inside = length;
    void *place;
    int result = locate(slot, at, &inside, &index, &offset);

    if (result || !mappable(slot, index) || !(flags & MAP_SHARED) || offset & (PAGE_BYTES - 1) ||
        inside + PAGE_BYTES - 1 < length) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    place = real_mmap(address, length, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                          (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)),
                      -1, 0);
    if (place == MAP_FAILED)
        return place;
    trap_remove((uint64_t)(uintptr_t)place, length);
    result = lay_areas(slot, index, place, length, offset, prot);
    if (result == 0)
        result = trap_add(slot, index, offset, place, length, prot);
    if (result) {
        real_munmap(place, length);
        errno = -result;
        return MAP_FAILED;
    }
    return place;
}
