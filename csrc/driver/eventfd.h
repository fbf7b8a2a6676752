/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds that a vfio-user server has as well. It may clear O_NONBLOCK at any time, or empty one between our
 * poll and our read: no read of ours may depend on either. */
#ifndef IAVFIO_DRIVER_EVENTFD_H
#define IAVFIO_DRIVER_EVENTFD_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

/* Empties it; whether something was in it. Never blocks, whatever the flags of the file are. */
static inline bool eventfd_take(int fd)
{
    uint64_t count;
    struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};
    ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) { /* before Linux 5.8 */
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        n = poll(&ready, 1, 0) == 1 ? read(fd, &count, sizeof(count)) : -1;
    }
    return n == (ssize_t)sizeof(count);
}

#endif
