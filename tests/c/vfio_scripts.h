/* SPDX-License-Identifier: BSD-3-Clause */
/* What a peer does that misbehaves: a script each, for vfio_conn.c. */
#ifndef IAVFIO_TESTS_VFIO_SCRIPTS_H
#define IAVFIO_TESTS_VFIO_SCRIPTS_H

#include <poll.h>
#include "vfio_peer.h"

static void answers_byte_by_byte(int fd)
{
    struct vu_header request;
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        body++;
        put_slowly(fd, &reply, sizeof(reply));
        put_slowly(fd, &body, sizeof(body));
    }
}

static void asks_in_between(int fd)
{
    struct vu_header request, answer;
    uint32_t body;
    char garbage[5000] = {0};

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        /* The same id as the client's request, but a command of ours: ids belong to the sender. */
        struct vu_header dma = {.id = request.id, .command = 11, .size = 16 + 16, .flags = 0};
        struct vu_header quiet = {
            .id = 9, .command = 12, .size = 16 + sizeof(garbage), .flags = VU_FLAG_NO_REPLY};
        struct vu_header late = {
            .id = (uint16_t)(request.id - 1), .command = 4, .size = 16 + 8, .flags = VU_FLAG_REPLY};
        struct vu_header reply = reply_to(&request, sizeof(body));

        put(fd, &dma, sizeof(dma));
        put(fd, garbage, 16);
        put(fd, &quiet, sizeof(quiet));
        put(fd, garbage, sizeof(garbage));
        put(fd, &late, sizeof(late));
        put(fd, garbage, 8);
        CHECK(get(fd, &answer, sizeof(answer)) == 0);
        CHECK(answer.id == dma.id && answer.command == 11 && answer.size == 16);
        CHECK(answer.flags == (VU_FLAG_REPLY | VU_FLAG_ERROR) && answer.error != 0);
        put(fd, &reply, sizeof(reply));
        put(fd, &body, sizeof(body));
    }
}

static void answers_late(int fd)
{
    struct vu_header request;
    uint32_t body;
    int first = 1;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        if (first)
            nap(60);
        body += (uint32_t)first;
        first = 0;
        put(fd, &reply, sizeof(reply));
        put(fd, &body, sizeof(body));
    }
}

/* Half of the first reply's body comes in time. */
static void answers_half_late(int fd)
{
    struct vu_header request;
    uint32_t body;
    int first = 1;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        body += (uint32_t)first;
        put(fd, &reply, sizeof(reply));
        put(fd, &body, 2);
        if (first)
            nap(60);
        first = 0;
        put(fd, (char *)&body + 2, 2);
    }
}

static struct vu_header stray;

static void floods(int fd)
{
    static const char nothing[4096];
    struct vu_header request;
    uint32_t body;

    if (take(fd, &request, &body, sizeof(body)))
        return;
    for (;;) {
        size_t left = stray.size - sizeof(stray);

        if (send(fd, &stray, sizeof(stray), MSG_NOSIGNAL) < 0)
            return;
        while (left) {
            size_t part = left < sizeof(nothing) ? left : sizeof(nothing);
            ssize_t n = send(fd, nothing, part, MSG_NOSIGNAL);

            if (n < 0)
                return;
            left -= (size_t)n;
        }
    }
}

static void answers_wrong_command(int fd)
{
    struct vu_header request;
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, 0);

        reply.command = 5;
        put(fd, &reply, sizeof(reply));
    }
}

static void answers_too_much(int fd)
{
    struct vu_header request;
    uint32_t body[4] = {0};

    while (take(fd, &request, body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        put(fd, &reply, sizeof(reply));
        put(fd, body, sizeof(body));
    }
}

static uint32_t bad_size;

static void answers_bad_size(int fd)
{
    struct vu_header request;
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, 0);

        reply.size = bad_size;
        put(fd, &reply, sizeof(reply));
    }
}

static void dies_in_the_payload(int fd)
{
    struct vu_header request;
    uint32_t body;
    struct vu_header reply;

    CHECK(take(fd, &request, &body, sizeof(body)) == 0);
    reply = reply_to(&request, sizeof(body));
    put(fd, &reply, sizeof(reply));
    put(fd, &body, 2);
}

static void stalls_in_the_payload(int fd)
{
    struct vu_header request;
    uint32_t body;
    struct vu_header reply;
    char last;

    CHECK(take(fd, &request, &body, sizeof(body)) == 0);
    reply = reply_to(&request, sizeof(body));
    put(fd, &reply, sizeof(reply));
    put(fd, &body, 2);
    (void)get(fd, &last, 1); /* until the client hangs up */
}

static void never_reads(int fd)
{
    nap(150);
    (void)fd;
}

/* Until the other side has hung up. */
static void reads_nothing_at_all(int fd)
{
    struct pollfd end = {.fd = fd};

    while (!(end.revents & POLLHUP))
        poll(&end, 1, 1000);
}

static uint32_t read_unanswered; /* messages; their ids follow each other */

static void never_answers(int fd)
{
    struct vu_header request, before = {0};
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        CHECK(!read_unanswered || request.id == (uint16_t)(before.id + 1));
        before = request;
        __atomic_fetch_add(&read_unanswered, 1, __ATOMIC_SEQ_CST);
    }
}

static void wait_for_messages(uint32_t count)
{
    while (__atomic_load_n(&read_unanswered, __ATOMIC_SEQ_CST) < count)
        nap(1);
}

static uint32_t errors[3] = {ENOTTY, 0, 0x10000};

static void refuses(int fd)
{
    struct vu_header request;
    uint32_t body;

    for (int i = 0; take(fd, &request, &body, sizeof(body)) == 0; i++) {
        struct vu_header reply = reply_to(&request, 0);

        reply.flags |= VU_FLAG_ERROR;
        reply.error = errors[i % 3];
        put(fd, &reply, sizeof(reply));
    }
}

static unsigned sent_fds;

static void sends_fds(int fd)
{
    struct vu_header request;
    uint32_t body;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * 20)];
        } control = {.bytes = {0}};
        struct vu_header reply = reply_to(&request, 0);
        struct iovec iov = {.iov_base = &reply, .iov_len = sizeof(reply)};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * sent_fds)};
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        int event = eventfd(0, EFD_CLOEXEC);

        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * sent_fds);
        for (unsigned i = 0; i < sent_fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &event, sizeof(event));
        CHECK(sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(reply));
        close(event);
    }
}

#endif
