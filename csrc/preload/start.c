/* SPDX-License-Identifier: BSD-3-Clause */
/* Start: what `iavfio preload` prepared is read from the directory in IAVFIO_PRELOAD. */
#undef _FILE_OFFSET_BITS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/real.h"
#include "vfio/vu_conn.h"

/* A forked child starts anew, so that a daemon may open its devices. It must not keep the parent's sockets
 * open, or the software VF would not see the parent go. Locks may have been held at the fork. */
static void in_child(void)
{
    preload.owner = getpid();
    pthread_mutex_init(&preload_lock, NULL);
    files_forget_all();
    trap_orphan();
    for (unsigned i = 0; i < preload_slot_count; i++) {
        struct slot *slot = &preload_slots[i];

        if (slot->conn)
            vu_conn_abandon(slot->conn);
        slot->conn = NULL; /* left behind: its lock may never be free again */
        slot->container = NULL;
        slot->group_fds = slot->device_fds = 0;
        pthread_rwlock_init(&slot->lock, NULL);
        for (int r = 0; r < PRELOAD_REGIONS; r++) {
            if (slot->region[r].fd >= 0)
                real_close(slot->region[r].fd);
            slot->region[r].fd = -1;
        }
    }
}

static char *read_devices(void)
{
    char path[sizeof(preload.root) + 16];
    size_t room = (sizeof(struct slot) + 16) * PRELOAD_MAX_SLOTS;
    char *text = malloc(room);
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof(path), "%s/devices", preload.root);
    fd = real_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        n = text ? read(fd, text, room - 1) : -1;
        real_close(fd);
    }
    if (n < 0) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

static void add_slot(const char *line)
{
    struct slot *slot = &preload_slots[preload_slot_count];

    if (preload_slot_count == PRELOAD_MAX_SLOTS ||
        sscanf(line, "%u %15s %127[^\n]", &slot->group, slot->bdf, slot->socket) != 3)
        return;
    pthread_rwlock_init(&slot->lock, NULL);
    for (int i = 0; i < PRELOAD_REGIONS; i++)
        slot->region[i].fd = -1;
    preload_slot_count++;
}

__attribute__((constructor)) static void start(void)
{
    const char *root = getenv("IAVFIO_PRELOAD");
    const char *bits = getenv("IAVFIO_PRELOAD_IOVA_BITS");
    char *text;
    int result;

    if (!root || root[0] != '/' || strlen(root) >= sizeof(preload.root))
        return;
    strcpy(preload.root, root);
    text = read_devices();
    if (!text) {
        preload_say("%s/devices cannot be read: this process sees no software VF", root);
        return;
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        add_slot(line);
    free(text);
    if (bits && atoi(bits) >= 32 && atoi(bits) <= 57)
        preload.iova_bits = (unsigned)atoi(bits);
    preload.sparse = getenv("IAVFIO_PRELOAD_SPARSE") != NULL;
    preload.trace = getenv("IAVFIO_PRELOAD_TRACE") != NULL;
    preload.owner = getpid();
    pthread_atfork(NULL, NULL, in_child);
    result = trap_start();
    if (result) {
        preload_say(
            "accesses to registers cannot be trapped (%s): this process sees no software VF",
            strerror(-result));
        return;
    }
    preload.ready = true;
}
