/* SPDX-License-Identifier: BSD-3-Clause */
/* One vfio-user connection: requests are serialised, replies matched by id, foreign requests refused. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "vfio/vu_conn.h"

#define VU_MAX_ERRNO 4095u
#define VU_MAX_MESSAGE (sizeof(struct vu_header) + VU_MAX_DATA + 32u)

_Static_assert(sizeof(struct vu_header) == 16, "vfio-user header");
_Static_assert(sizeof(struct vu_region_access) == 16, "vfio-user region access");

struct vu_conn {
    int fd;
    int broken; /* a negative errno once the stream cannot be trusted any more */
    uint16_t next_id;
    pthread_mutex_t lock;
};

struct vu_conn *vu_conn_new(int fd)
{
    struct vu_conn *conn = calloc(1, sizeof(*conn));

    if (conn) {
        conn->fd = fd;
        pthread_mutex_init(&conn->lock, NULL);
    }
    return conn;
}

void vu_conn_free(struct vu_conn *conn)
{
    if (!conn)
        return;
    if (conn->fd >= 0)
        close(conn->fd);
    pthread_mutex_destroy(&conn->lock);
    free(conn);
}

int vu_conn_fd(const struct vu_conn *conn)
{
    return conn->fd;
}

int vu_conn_broken(const struct vu_conn *conn)
{
    return __atomic_load_n(&conn->broken, __ATOMIC_RELAXED);
}

/* For a forked child: the parent's socket must not be used, whoever held the lock at the fork; nor
 * kept open, or the server would not see the parent go. */
void vu_conn_abandon(struct vu_conn *conn)
{
    __atomic_store_n(&conn->broken, -ENODEV, __ATOMIC_RELAXED);
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

static int fail(struct vu_conn *conn, int error)
{
    __atomic_store_n(&conn->broken, error, __ATOMIC_RELAXED);
    return error;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits for `events`: 0, -ETIMEDOUT, or -errno. */
static int wait_for(const struct vu_conn *conn, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd pfd = {.fd = conn->fd, .events = events};
        int64_t left = deadline - now_ms();
        int n;

        if (left < 0)
            return -ETIMEDOUT;
        n = poll(&pfd, 1, (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static int send_all(struct vu_conn *conn, const struct vu_header *header, const void *payload,
                    uint32_t size, const int *fds, uint32_t nfds, int64_t deadline)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
    } control;
    size_t total = sizeof(*header) + size;
    size_t sent = 0;

    while (sent < total) {
        struct iovec iov[2];
        struct msghdr msg = {.msg_iov = iov};
        size_t skip = sent > sizeof(*header) ? sent - sizeof(*header) : 0;
        ssize_t n;

        if (sent < sizeof(*header)) {
            iov[0].iov_base = (char *)(uintptr_t)header + sent;
            iov[0].iov_len = sizeof(*header) - sent;
            msg.msg_iovlen = 1;
        }
        if (size > skip) {
            iov[msg.msg_iovlen].iov_base = (char *)(uintptr_t)payload + skip;
            iov[msg.msg_iovlen].iov_len = size - skip;
            msg.msg_iovlen++;
        }
        if (sent == 0 && nfds) { /* fds travel with the first byte (docs/spec/vfio-user.md 1) */
            struct cmsghdr *cmsg;

            memset(&control, 0, sizeof(control));
            msg.msg_control = control.bytes;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
            cmsg = CMSG_FIRSTHDR(&msg);
            cmsg->cmsg_level = SOL_SOCKET;
            cmsg->cmsg_type = SCM_RIGHTS;
            cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
            memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * nfds);
        }
        n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            int error = errno;

            if (error == EINTR)
                continue;
            if (error == EAGAIN) {
                int waited = wait_for(conn, POLLOUT, deadline);

                if (waited == 0)
                    continue;
                return fail(conn, waited);
            }
            return fail(conn, -error);
        }
        sent += (size_t)n;
    }
    return 0;
}

static void close_fds(const int *fds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        close(fds[i]);
}

/* Receives exactly `size` bytes; fds of any part are collected in fds (capacity VU_MAX_FDS). */
static int receive(struct vu_conn *conn, void *buffer, size_t size, int *fds, uint32_t *nfds,
                   int64_t deadline)
{
    size_t got = 0;

    while (got < size) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
        } control;
        struct iovec iov = {.iov_base = (char *)buffer + got, .iov_len = size - got};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n == 0)
            return fail(conn, -ECONNRESET);
        if (n < 0) {
            int error = errno;
            int waited;

            if (error == EINTR)
                continue;
            if (error != EAGAIN)
                return fail(conn, -error);
            waited = wait_for(conn, POLLIN, deadline);
            if (waited == -ETIMEDOUT && got == 0)
                return waited; /* between messages: the stream is still in step */
            if (waited)
                return fail(conn, waited);
            continue;
        }
        for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
            uint32_t count;

            if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
                continue;
            count = (uint32_t)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            for (uint32_t i = 0; i < count; i++) {
                int fd;

                memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
                if (*nfds < VU_MAX_FDS)
                    fds[(*nfds)++] = fd;
                else
                    close(fd);
            }
        }
        /* The kernel cut descriptors off: more came than a message may carry, or this process may open no
         * more files. */
        if (msg.msg_flags & MSG_CTRUNC)
            return fail(conn, *nfds == VU_MAX_FDS ? -EPROTO : -EMFILE);
        got += (size_t)n;
    }
    return 0;
}

/* Reads and forgets the rest of a message that nobody waits for. */
static int discard(struct vu_conn *conn, uint32_t size, int64_t deadline)
{
    char bin[4096];
    int fds[VU_MAX_FDS] = {0};
    uint32_t nfds = 0;
    int result = 0;

    while (size && result == 0) {
        uint32_t part = size < sizeof(bin) ? size : (uint32_t)sizeof(bin);

        result = receive(conn, bin, part, fds, &nfds, deadline);
        size -= part;
    }
    close_fds(fds, nfds);
    return result == -ETIMEDOUT ? fail(conn, result) : result;
}

/* A request of the server (DMA_READ, DMA_WRITE): all our memory has fds, so none is served. */
static int refuse(struct vu_conn *conn, const struct vu_header *foreign, int64_t deadline)
{
    struct vu_header reply = {.id = foreign->id,
                              .command = foreign->command,
                              .size = sizeof(reply),
                              .flags = VU_FLAG_REPLY | VU_FLAG_ERROR,
                              .error = ENOTSUP};

    if (foreign->flags & VU_FLAG_NO_REPLY)
        return 0;
    return send_all(conn, &reply, NULL, 0, NULL, 0, deadline);
}

static int await_reply(struct vu_conn *conn, uint16_t id, uint16_t command, void *reply,
                       uint32_t capacity, uint32_t *reply_size, int *fds, uint32_t *nfds,
                       int64_t deadline)
{
    for (;;) {
        struct vu_header header;
        uint32_t rest;
        int result;

        *nfds = 0;
        result = receive(conn, &header, sizeof(header), fds, nfds, deadline);
        if (result)
            return result;
        if (header.size < sizeof(header) || header.size > VU_MAX_MESSAGE)
            return fail(conn, -EPROTO);
        rest = header.size - (uint32_t)sizeof(header);
        if ((header.flags & VU_FLAG_TYPE) != VU_FLAG_REPLY || header.id != id) {
            /* Theirs, or the late reply to a request that timed out. */
            close_fds(fds, *nfds);
            *nfds = 0;
            result = discard(conn, rest, deadline);
            if (result == 0 && (header.flags & VU_FLAG_TYPE) == 0)
                result = refuse(conn, &header, deadline);
            if (result)
                return result;
            continue;
        }
        if (header.command != command)
            return fail(conn, -EPROTO);
        if (header.flags & VU_FLAG_ERROR) {
            result = discard(conn, rest, deadline);
            if (result)
                return result;
            return header.error && header.error <= VU_MAX_ERRNO ? (int)header.error : EIO;
        }
        if (rest > capacity)
            return fail(conn, -EPROTO);
        result = receive(conn, reply, rest, fds, nfds, deadline);
        *reply_size = rest;
        return result == -ETIMEDOUT ? fail(conn, result) : result;
    }
}

/* Takes the lock, unless the stream is broken: also by whoever had the lock while we waited for it.
 * An abandoned connection is not even waited for: after a fork the lock may have no owner to free it. */
static int enter(struct vu_conn *conn)
{
    int result = vu_conn_broken(conn);

    if (result)
        return result;
    pthread_mutex_lock(&conn->lock);
    result = vu_conn_broken(conn);
    if (result)
        pthread_mutex_unlock(&conn->lock);
    return result;
}

int vu_request(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
               const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *reply_size,
               int *reply_fds, uint32_t *reply_nfds, int timeout_ms)
{
    struct vu_header header = {.command = command, .size = (uint32_t)sizeof(header) + size};
    int received[VU_MAX_FDS];
    uint32_t n = 0;
    uint32_t unused;
    int64_t deadline;
    int result;

    if (nfds > VU_MAX_FDS || size > VU_MAX_MESSAGE - sizeof(header))
        return -EINVAL;
    result = enter(conn);
    if (result)
        return result;
    /* The time starts when the socket is ours: a slow request of another caller must not use it up. */
    deadline = now_ms() + timeout_ms;
    header.id = conn->next_id++;
    result = send_all(conn, &header, payload, size, fds, nfds, deadline);
    if (result == 0)
        result = await_reply(conn, header.id, command, reply, capacity,
                             reply_size ? reply_size : &unused, received, &n, deadline);
    pthread_mutex_unlock(&conn->lock);
    if (result == 0 && reply_fds) {
        memcpy(reply_fds, received, n * sizeof(int));
        *reply_nfds = n;
    } else {
        close_fds(received, n);
    }
    return result;
}

int vu_post(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size)
{
    struct vu_header header = {
        .command = command, .size = (uint32_t)sizeof(header) + size, .flags = VU_FLAG_NO_REPLY};
    int result;

    if (size > VU_MAX_MESSAGE - sizeof(header))
        return -EINVAL;
    result = enter(conn);
    if (result)
        return result;
    header.id = conn->next_id++;
    result = send_all(conn, &header, payload, size, NULL, 0, now_ms() + 5000);
    pthread_mutex_unlock(&conn->lock);
    return result;
}
