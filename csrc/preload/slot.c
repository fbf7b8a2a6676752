/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user side of a slot: connection, facts about the device, DMA and register messages. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "preload/preload.h"
#include "preload/real.h"
#include "vfio/vu_conn.h"

#define TIMEOUT_MS 10000
#define CONNECT_TRIES 40 /* of 50 ms: a predecessor's reset may still run, or its backlog be full */

/* Turns the result of a message into a negative errno or 0, and reports once that the server is gone. */
static int settle(struct slot *slot, int result)
{
    if (result < 0 && slot->conn && vu_conn_broken(slot->conn) && !slot->lost_reported) {
        slot->lost_reported = 1;
        preload_say("%s: the software VF at %s is gone: %s\n"
                    "  its registers read as ones from now on; start it again, then this program",
                    slot->bdf, slot->socket, strerror(-result));
    }
    if (result > 0)
        return -result; /* the server's own errno */
    return result == -ECONNRESET || result == -EPIPE || result == -EPROTO ? -EIO : result;
}

int slot_request(struct slot *slot, uint16_t command, const void *payload, uint32_t size,
                 const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *got)
{
    int result = -ENODEV;

    pthread_rwlock_rdlock(&slot->lock);
    if (slot->conn)
        result = settle(slot, vu_request(slot->conn, command, payload, size, fds, nfds, reply,
                                         capacity, got, NULL, NULL, TIMEOUT_MS));
    pthread_rwlock_unlock(&slot->lock);
    return result;
}

static int open_socket(const struct slot *slot)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof(peer);
    /* One that blocks would wait without end where the server's backlog is full: so that is -EAGAIN. No request
     * of ours needs a socket that blocks. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (strlen(slot->socket) >= sizeof(address.sun_path)) {
        real_close(fd);
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, slot->socket);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
        int error = -errno;

        real_close(fd);
        return error;
    }
    /* Whoever serves the socket gets the program's DMA memory (docs/spec/reliability.md D5). */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        real_close(fd);
        return -EPERM;
    }
    return fd;
}

static int agree(struct slot *slot)
{
    struct {
        uint16_t major, minor;
        char json[92];
    } request = {.json = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}"};
    uint8_t reply[1024 + 4];
    uint32_t size = 0;
    int result =
        vu_request(slot->conn, VU_VERSION, &request, 4 + (uint32_t)strlen(request.json) + 1, NULL,
                   0, reply, sizeof(reply) - 1, &size, NULL, NULL, TIMEOUT_MS);

    if (result)
        return result > 0 ? -result : result;
    return version_learn(slot, reply, size);
}

/* Where the last area of a region ends in the server's file; region_learn has seen that it has an end. */
static uint64_t end_of_areas(const struct region *region)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < region->areas; i++) {
        const struct area *area = &region->area[i];
        uint64_t last = region->fd_offset + area->offset + area->size;

        end = last > end ? last : end;
    }
    return end;
}

static int learn_region(struct slot *slot, uint32_t index)
{
    struct region *region = &slot->region[index];
    struct vfio_region_info request = {.argsz = 512, .index = index};
    union {
        struct vfio_region_info info;
        uint8_t bytes[512];
    } reply;
    int fds[VU_MAX_FDS];
    uint32_t nfds = 0;
    uint32_t size = 0;
    const char *why;
    int result;

    memset(&reply, 0, sizeof(reply));
    result = vu_request(slot->conn, VU_DEVICE_GET_REGION_INFO, &request, sizeof(request), NULL, 0,
                        &reply, sizeof(reply), &size, fds, &nfds, TIMEOUT_MS);
    if (result)
        return result > 0 ? -result : result;
    result = region_learn(region, reply.bytes, size, nfds > 0);
    why = result == 0 && region->areas ? bar_file_unfit(fds[0], end_of_areas(region)) : NULL;
    if (why) {
        region->areas = 0;
        if (!slot->unsealed_reported++)
            preload_say(
                "%s: the server's file for BAR%u %s: each access is a message, which is slow\n"
                "  the server must give a memfd with F_SEAL_SHRINK",
                slot->bdf, index, why);
    }
    if (result == 0 && region->areas)
        region->fd = fds[0];
    for (uint32_t i = region->fd >= 0; i < nfds; i++)
        real_close(fds[i]);
    return result;
}

/* The BAR with the MSI-X table is the kernel's: programs must not map it. */
static void find_capabilities(struct slot *slot)
{
    uint8_t config[PRELOAD_CONFIG_BYTES] = {0};

    slot->msix_bar = -1;
    slot->pcie_cap = 0;
    if (slot_read(slot, PRELOAD_CONFIG, 0, config, sizeof(config)) == 0)
        config_learn(slot, config);
}

int slot_connect(struct slot *slot)
{
    int fd = -1;
    int result = 0;

    slot_disconnect(slot);
    for (int i = 0; i < CONNECT_TRIES; i++) {
        fd = open_socket(slot);
        if (fd != -EAGAIN && fd != -EBUSY)
            break;
        usleep(50000);
    }
    if (fd == -EPERM) {
        if (!slot->refused_reported++)
            preload_say("%s: %s is served by another user, who would get this program's memory\n"
                        "  run both as the same user",
                        slot->bdf, slot->socket);
        return -EACCES;
    }
    if (fd < 0) {
        if (!slot->refused_reported++)
            preload_say("%s: no software VF at %s: %s\n  start it with: iavfio softvf", slot->bdf,
                        slot->socket,
                        fd == -EAGAIN
                            ? "the server accepts no more connections: its backlog is full"
                            : strerror(-fd));
        return fd == -EACCES ? -EACCES : -ENODEV;
    }
    pthread_rwlock_wrlock(&slot->lock);
    slot->lost_reported = 0;
    slot->conn = vu_conn_new(fd);
    if (!slot->conn)
        real_close(fd);
    pthread_rwlock_unlock(&slot->lock);
    if (!slot->conn)
        return -ENOMEM;
    result = agree(slot);
    for (uint32_t i = 0; i < PRELOAD_REGIONS && result == 0; i++)
        result = learn_region(slot, i);
    if (result) {
        if (!slot->refused_reported++) /* programs try again */
            preload_say("%s: the server at %s does not speak vfio-user with us: %s\n"
                        "  it may have another client: a software VF serves one at a time",
                        slot->bdf, slot->socket, strerror(-result));
        slot_disconnect(slot);
        return result == -ECONNRESET || result == -EPIPE ? -EBUSY : -EIO;
    }
    slot->refused_reported = 0;
    find_capabilities(slot);
    return 0;
}

/* The server drops all mappings and interrupts of a client that leaves. */
void slot_disconnect(struct slot *slot)
{
    pthread_rwlock_wrlock(&slot->lock);
    vu_conn_free(slot->conn);
    slot->conn = NULL;
    for (int i = 0; i < PRELOAD_REGIONS; i++) {
        if (slot->region[i].fd >= 0)
            real_close(slot->region[i].fd);
        slot->region[i].fd = -1;
    }
    pthread_rwlock_unlock(&slot->lock);
}

int slot_dma_map(struct slot *slot, uint32_t flags, uint64_t iova, uint64_t size, int fd,
                 uint64_t offset)
{
    struct {
        uint32_t argsz, flags;
        uint64_t offset, iova, size;
    } request = {
        .argsz = sizeof(request), .flags = flags, .offset = offset, .iova = iova, .size = size};

    return slot_request(slot, VU_DMA_MAP, &request, sizeof(request), &fd, 1, NULL, 0, NULL);
}

int slot_dma_unmap(struct slot *slot, uint64_t iova, uint64_t size)
{
    struct {
        uint32_t argsz, flags;
        uint64_t iova, size;
    } request = {.argsz = sizeof(request), .iova = iova, .size = size}, reply;

    return slot_request(slot, VU_DMA_UNMAP, &request, sizeof(request), NULL, 0, &reply,
                        sizeof(reply), NULL);
}

int slot_read(struct slot *slot, uint32_t region, uint64_t offset, void *data, uint32_t count)
{
    struct vu_region_access request = {.offset = offset, .region = region, .count = count};
    struct {
        struct vu_region_access access;
        uint8_t data[256]; /* small: traps come on the program's stacks */
    } reply;
    uint32_t size = 0;
    int result;

    if (count > sizeof(reply.data))
        return -EINVAL;
    result = slot_request(slot, VU_REGION_READ, &request, sizeof(request), NULL, 0, &reply,
                          (uint32_t)sizeof(request) + count, &size);
    if (result == 0 && size != sizeof(request) + count)
        result = -EIO;
    if (result == 0)
        memcpy(data, reply.data, count);
    return result;
}

int slot_write(struct slot *slot, uint32_t region, uint64_t offset, const void *data,
               uint32_t count, bool posted)
{
    struct {
        struct vu_region_access access;
        uint8_t data[256];
    } request = {.access = {.offset = offset, .region = region, .count = count}};
    struct vu_region_access reply;
    uint32_t size = (uint32_t)sizeof(request.access) + count;
    int result = -ENODEV;

    if (count > sizeof(request.data))
        return -EINVAL;
    memcpy(request.data, data, count);
    if (!posted)
        return slot_request(slot, VU_REGION_WRITE, &request, size, NULL, 0, &reply, sizeof(reply),
                            NULL);
    pthread_rwlock_rdlock(&slot->lock);
    if (slot->conn)
        result = settle(slot, vu_post(slot->conn, VU_REGION_WRITE, &request, size, TIMEOUT_MS));
    pthread_rwlock_unlock(&slot->lock);
    return result;
}
