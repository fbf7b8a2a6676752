/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups: each has one device, which one socket serves (docs/spec/vfio.md 2). */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "hw/vfio_user.h"
#include "preload/preload.h"

int group_open(struct slot *slot)
{
    int result;

    if (slot->group_fds || slot->device_fds) /* once only, as the kernel has it */
        return -EBUSY;
    result = slot_connect(slot);
    if (result)
        return result;
    slot->group_fds = 1;
    return 0;
}

/* A device keeps its group: the connection goes with the last fd of the two. */
static void release(struct slot *slot)
{
    if (slot->group_fds || slot->device_fds)
        return;
    if (slot->container)
        container_part(slot);
    slot_disconnect(slot);
}

void group_close(struct slot *slot)
{
    slot->group_fds = 0;
    release(slot);
}

static void release_device(void *object)
{
    struct slot *slot = object;

    slot->device_fds--;
    if (slot->device_fds == 0 && slot->conn) {
        for (uint32_t index = 0; index < PRELOAD_IRQ_INDEXES; index++) {
            struct vfio_irq_set off = {.argsz = sizeof(off),
                                       .flags =
                                           VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                       .index = index};

            device_set_irqs(slot, &off);
        }
        slot_request(slot, VU_DEVICE_RESET, NULL, 0, NULL, 0, NULL, 0, NULL);
    }
    release(slot);
}

static int set_container(struct slot *slot, void *arg)
{
    struct container *container;
    int fd;
    int result = preload_copy_in(&fd, arg, sizeof(fd));

    if (result)
        return result;
    if (slot->container)
        return -EINVAL;
    container = file_container(fd);
    return container ? container_join(container, slot) : -EBADF;
}

static int get_device(struct slot *slot, const char *arg)
{
    char name[sizeof(slot->bdf)] = "";
    int result;

    for (size_t i = 0; i < sizeof(name) - 1; i++) {
        result = preload_copy_in(&name[i], arg + i, 1);
        if (result)
            return result;
        if (!name[i])
            break;
    }
    if (!slot->container || !container_has_iommu(slot->container))
        return -EINVAL;
    if (strncmp(name, slot->bdf, strlen(slot->bdf)) != 0)
        return -ENODEV;
    if (arg[strlen(slot->bdf)] != '\0') /* a VF token, which only a PF of vfio-pci's takes */
        return -EINVAL;
    slot->device_fds++;
    result = file_new(KIND_DEVICE, slot, release_device);
    if (result < 0)
        slot->device_fds--;
    else if (slot->device_fds == 1) /* opening resets */
        slot_request(slot, VU_DEVICE_RESET, NULL, 0, NULL, 0, NULL, 0, NULL);
    return result;
}

int group_ioctl(struct slot *slot, unsigned long request, void *arg)
{
    struct vfio_group_status status;
    int result;

    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        result = preload_copy_in(&status, arg, sizeof(status));
        if (result)
            return result;
        if (status.argsz < sizeof(status))
            return -EINVAL;
        status.flags = VFIO_GROUP_FLAGS_VIABLE;
        status.flags |= slot->container ? (uint32_t)VFIO_GROUP_FLAGS_CONTAINER_SET : 0u;
        return preload_copy_out(arg, &status, sizeof(status));
    case VFIO_GROUP_SET_CONTAINER:
        return set_container(slot, arg);
    case VFIO_GROUP_UNSET_CONTAINER:
        if (!slot->container)
            return -EINVAL;
        if (slot->device_fds)
            return -EBUSY;
        container_part(slot);
        return 0;
    case VFIO_GROUP_GET_DEVICE_FD:
        return get_device(slot, arg);
    default:
        return -ENOTTY;
    }
}
