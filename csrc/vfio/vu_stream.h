/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_VU_STREAM_H
#define IAVFIO_VFIO_VU_STREAM_H

/* One end of a vfio-user socket: what is sent, and the message that is being received (docs/spec/vfio-user.md 1).
 * Nothing here waits; whose a message is and what it means is its user's to know. */
#include <stdint.h>
#include <sys/types.h>

#include "hw/vfio_user.h"
#include "vfio/cdef.h"

struct vu_stream {
    int fd;
    struct vu_header header;
    uint32_t header_got;
    uint32_t body_left; /* its user sets it, with body_got and body, when the header is complete */
    uint32_t body_got;
    uint8_t *body; /* NULL: its bytes are thrown away */
    int fds[VU_MAX_FDS];
    uint32_t nfds;
};

void vu_close_fds(const int *fds, uint32_t n);

/* Closes the socket, and what came with a message that nobody took. */
void vu_stream_close(struct vu_stream *stream);

/* Sends what it can of a message of which `sent` bytes are out; returns bytes or -errno. */
ssize_t vu_stream_send(const struct vu_stream *stream, const struct vu_header *header,
                       const void *payload, uint32_t size, size_t sent, const int *fds,
                       uint32_t nfds);

/* Receives what is there of the present message, header first; bytes or -errno. */
ssize_t vu_stream_receive(struct vu_stream *stream);

/* The next message may begin; what came with this one and was not taken is given back. */
void vu_stream_forget(struct vu_stream *stream);

#endif
