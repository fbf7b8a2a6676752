/* SPDX-License-Identifier: BSD-3-Clause */
/* A vfio-user peer in a thread, driven by a script, for harnesses of csrc/vfio. */
#ifndef IAVFIO_TESTS_VFIO_PEER_H
#define IAVFIO_TESTS_VFIO_PEER_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vfio/cdef.h"
#include "vfio/vu_conn.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef void (*script)(int fd);

struct peer {
    int fd;
    script run;
    pthread_t thread;
};

static inline void *peer_main(void *argument)
{
    struct peer *peer = argument;

    peer->run(peer->fd);
    close(peer->fd);
    return NULL;
}

static inline struct vu_conn *start(struct peer *peer, script run)
{
    int ends[2];
    struct vu_conn *conn;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    peer->fd = ends[1];
    peer->run = run;
    conn = vu_conn_new(ends[0]);
    CHECK(conn);
    CHECK(pthread_create(&peer->thread, NULL, peer_main, peer) == 0);
    return conn;
}

static inline void stop(struct peer *peer, struct vu_conn *conn)
{
    vu_conn_free(conn);
    CHECK(pthread_join(peer->thread, NULL) == 0);
}

static inline void nap(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static inline int get(int fd, void *to, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t n = read(fd, (char *)to + got, size - got);

        if (n <= 0)
            return -1;
        got += (size_t)n;
    }
    return 0;
}

static inline void put(int fd, const void *from, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = send(fd, (const char *)from + done, size - done, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static inline void put_slowly(int fd, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        put(fd, (const char *)from + i, 1);
        nap(1);
    }
}

/* One request: its header, and its payload in `body`. -1 at the end of the stream. */
static inline int take(int fd, struct vu_header *header, void *body, size_t room)
{
    if (get(fd, header, sizeof(*header)))
        return -1;
    CHECK(header->size >= sizeof(*header) && header->size - sizeof(*header) <= room);
    return get(fd, body, header->size - sizeof(*header));
}

static inline struct vu_header reply_to(const struct vu_header *request, size_t payload)
{
    struct vu_header reply = *request;

    reply.size = (uint32_t)(sizeof(reply) + payload);
    reply.flags = VU_FLAG_REPLY;
    reply.error = 0;
    return reply;
}

static inline int ask(struct vu_conn *conn, void *reply, uint32_t capacity, uint32_t *size,
                      int timeout)
{
    uint32_t question = 0x1234;

    return vu_request(conn, 4, &question, sizeof(question), NULL, 0, reply, capacity, size, NULL,
                      NULL, timeout);
}

/* ---- scripts of more than one harness */

#define SLOW_MS 100

static inline void answers_slowly(int fd)
{
    struct vu_header request;
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        nap(SLOW_MS);
        put(fd, &reply, sizeof(reply));
        put(fd, &body, sizeof(body));
    }
}

static inline void dies_in_the_header(int fd)
{
    struct vu_header request;
    uint32_t body;
    struct vu_header reply;

    CHECK(take(fd, &request, &body, sizeof(body)) == 0);
    reply = reply_to(&request, sizeof(body));
    put(fd, &reply, 7);
}

#endif
