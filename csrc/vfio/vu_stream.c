/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages and the descriptors that travel with them, in parts, as the socket gives and takes them. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vfio/vu_stream.h"

_Static_assert(sizeof(struct vu_header) == 16, "vfio-user header");

void vu_close_fds(const int *fds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        close(fds[i]);
}

void vu_stream_close(struct vu_stream *stream)
{
    vu_close_fds(stream->fds, stream->nfds);
    if (stream->fd >= 0)
        close(stream->fd);
}

ssize_t vu_stream_send(const struct vu_stream *stream, const struct vu_header *header,
                       const void *payload, uint32_t size, size_t sent, const int *fds,
                       uint32_t nfds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
    } control;
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
    n = sendmsg(stream->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Takes the fds that came with a part of a message; 0 or -errno. */
static int take_fds(struct vu_stream *stream, struct msghdr *msg)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        uint32_t count;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        count = (uint32_t)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (stream->nfds < VU_MAX_FDS)
                stream->fds[stream->nfds++] = fd;
            else
                close(fd);
        }
    }
    /* The kernel cut descriptors off: more came than a message may carry, or this process may open no
     * more files. */
    if (msg->msg_flags & MSG_CTRUNC)
        return stream->nfds == VU_MAX_FDS ? -EPROTO : -EMFILE;
    return 0;
}

ssize_t vu_stream_receive(struct vu_stream *stream)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
    } control;
    char bin[4096];
    struct iovec iov;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control)};
    ssize_t n;
    int result;

    if (stream->header_got < sizeof(stream->header)) {
        iov.iov_base = (char *)&stream->header + stream->header_got;
        iov.iov_len = sizeof(stream->header) - stream->header_got;
    } else if (stream->body) {
        iov.iov_base = stream->body + stream->body_got;
        iov.iov_len = stream->body_left;
    } else {
        iov.iov_base = bin;
        iov.iov_len = stream->body_left < sizeof(bin) ? stream->body_left : sizeof(bin);
    }
    n = recvmsg(stream->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n == 0 ? -ECONNRESET : -errno;
    result = take_fds(stream, &msg);
    if (result)
        return result;
    if (stream->header_got < sizeof(stream->header)) {
        stream->header_got += (uint32_t)n;
    } else {
        stream->body_got += (uint32_t)n;
        stream->body_left -= (uint32_t)n;
    }
    return n;
}

void vu_stream_forget(struct vu_stream *stream)
{
    vu_close_fds(stream->fds, stream->nfds);
    stream->nfds = stream->header_got = stream->body_got = stream->body_left = 0;
    stream->body = NULL;
}
