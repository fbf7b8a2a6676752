/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening /dev/vfio/vfio and the groups beside it. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"

static void release_container(void *container)
{
    container_put(container);
}

static void release_group(void *slot)
{
    group_close(slot);
}

static int open_locked(const char *name)
{
    struct container *container;
    char *end;
    unsigned long number;
    int fd;

    if (strcmp(name, "vfio") == 0) {
        container = container_new();
        if (!container)
            return -ENOMEM;
        fd = file_new(KIND_CONTAINER, container, release_container);
        if (fd < 0)
            container_put(container);
        return fd;
    }
    number = strtoul(name, &end, 10);
    for (unsigned i = 0; i < preload_slot_count; i++) {
        int result;

        if (end == name || *end || preload_slots[i].group != number)
            continue;
        result = group_open(&preload_slots[i]);
        if (result)
            return result;
        fd = file_new(KIND_GROUP, &preload_slots[i], release_group);
        if (fd < 0)
            group_close(&preload_slots[i]);
        return fd;
    }
    return -ENOENT;
}

/* Whether `path` is one of VFIO's; then *fd is a descriptor or a negative errno. */
int open_vfio(const char *path, int *fd)
{
    static const char directory[] = "/dev/vfio/";
    sigset_t saved;
    const char *name = path + sizeof(directory) - 1;

    if (strncmp(path, directory, sizeof(directory) - 1) != 0 || preload_foreign() || !*name ||
        strchr(name, '/'))
        return 0;
    preload_enter(&saved);
    pthread_mutex_lock(&preload_lock);
    *fd = open_locked(name);
    pthread_mutex_unlock(&preload_lock);
    preload_leave(&saved);
    if (preload.trace)
        preload_say("open %s = %d", path, *fd);
    return 1;
}
