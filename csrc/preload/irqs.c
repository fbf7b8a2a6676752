/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts of a device: the program's eventfds go to the software VF as they are (docs/spec/vfio.md 6). */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "hw/vfio_user.h"
#include "preload/preload.h"

static int irq_info(struct slot *slot, uint32_t index, struct vfio_irq_info *info)
{
    struct vfio_irq_info request = {.argsz = sizeof(request), .index = index};
    uint8_t reply[sizeof(*info)];
    uint32_t got = 0;
    int result = slot_request(slot, VU_DEVICE_GET_IRQ_INFO, &request, sizeof(request), NULL, 0,
                              reply, sizeof(reply), &got);

    return result ? result : irq_learn(info, index, reply, got);
}

int device_get_irq_info(struct slot *slot, void *arg)
{
    struct vfio_irq_info info;
    int result = preload_copy_in(&info, arg, sizeof(info));

    if (result)
        return result;
    if (info.argsz < sizeof(info) || info.index >= PRELOAD_IRQ_INDEXES)
        return -EINVAL;
    result = irq_info(slot, info.index, &info);
    return result ? result : preload_copy_out(arg, &info, sizeof(info));
}

static int send_irqs(struct slot *slot, const struct vfio_irq_set *set, uint32_t start,
                     uint32_t count, const uint8_t *bools, const int *fds, uint32_t nfds)
{
    struct {
        uint32_t argsz, flags, index, start, count;
        uint8_t bools[2048];
    } request = {.flags = set->flags, .index = set->index, .start = start, .count = count};
    uint32_t size = 20;

    if (bools) {
        memcpy(request.bools, bools, count);
        size += count;
    }
    request.argsz = size;
    return slot_request(slot, VU_DEVICE_SET_IRQS, &request, size, fds, nfds, NULL, 0, NULL);
}

/* A message has an eventfd for each of its vectors or for none: runs of -1 are messages of their own. */
static int send_eventfds(struct slot *slot, const struct vfio_irq_set *set, const int *fds)
{
    uint32_t at = 0;

    while (at < set->count) {
        bool given = fds[at] >= 0;
        uint32_t n = 1;
        int result;

        while (at + n < set->count && (fds[at + n] >= 0) == given && (!given || n < slot->max_fds))
            n++;
        result = send_irqs(slot, set, set->start + at, n, NULL, fds + at, given ? n : 0);
        if (result)
            return result;
        at += n;
    }
    return 0;
}

int device_set_irqs(struct slot *slot, void *arg)
{
    const uint32_t fixed = 20;
    union {
        struct vfio_irq_set set;
        uint8_t bytes[20 + 4 * 2048];
    } request;
    struct vfio_irq_info info = {0};
    uint32_t data;
    uint32_t action;
    uint32_t each;
    int result = preload_copy_in(&request, arg, fixed);

    if (result)
        return result;
    data = request.set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
    action = request.set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
    each = data == VFIO_IRQ_SET_DATA_EVENTFD ? 4 : data == VFIO_IRQ_SET_DATA_BOOL ? 1 : 0;
    if (request.set.argsz < fixed || request.set.index >= PRELOAD_IRQ_INDEXES || !data ||
        data & (data - 1) || !action || action & (action - 1) ||
        request.set.flags & ~(data | action))
        return -EINVAL;
    result = irq_info(slot, request.set.index, &info);
    if (result)
        return result;
    if (request.set.start >= info.count || request.set.count > info.count - request.set.start ||
        request.set.count > 2048 || request.set.argsz - fixed < request.set.count * each ||
        (!request.set.count && (data != VFIO_IRQ_SET_DATA_NONE || request.set.start)))
        return -EINVAL;
    if (action != VFIO_IRQ_SET_ACTION_TRIGGER) /* only INTx can be masked, and a VF has none */
        return -ENOTTY;
    result = preload_copy_in(request.bytes + fixed, (const uint8_t *)arg + fixed,
                             request.set.count * each);
    if (result)
        return result;
    if (data == VFIO_IRQ_SET_DATA_EVENTFD) {
        int fds[2048];

        memcpy(fds, request.bytes + fixed, request.set.count * sizeof(int));
        return send_eventfds(slot, &request.set, fds);
    }
    return send_irqs(slot, &request.set, request.set.start, request.set.count,
                     each ? request.bytes + fixed : NULL, NULL, 0);
}
