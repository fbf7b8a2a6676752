/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user connection and BAR access against a peer thread that misbehaves (spec: vfio-user 1, 8). */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vfio/cdef.h"
#include "vfio/regio.h"
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

static void *peer_main(void *argument)
{
    struct peer *peer = argument;

    peer->run(peer->fd);
    close(peer->fd);
    return NULL;
}

static struct vu_conn *start(struct peer *peer, script run)
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

static void stop(struct peer *peer, struct vu_conn *conn)
{
    vu_conn_free(conn);
    CHECK(pthread_join(peer->thread, NULL) == 0);
}

static void nap(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static int get(int fd, void *to, size_t size)
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

static void put(int fd, const void *from, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = send(fd, (const char *)from + done, size - done, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static void put_slowly(int fd, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        put(fd, (const char *)from + i, 1);
        nap(1);
    }
}

/* One request: its header, and its payload in `body`. -1 at the end of the stream. */
static int take(int fd, struct vu_header *header, void *body, size_t room)
{
    if (get(fd, header, sizeof(*header)))
        return -1;
    CHECK(header->size >= sizeof(*header) && header->size - sizeof(*header) <= room);
    return get(fd, body, header->size - sizeof(*header));
}

static struct vu_header reply_to(const struct vu_header *request, size_t payload)
{
    struct vu_header reply = *request;

    reply.size = (uint32_t)(sizeof(reply) + payload);
    reply.flags = VU_FLAG_REPLY;
    reply.error = 0;
    return reply;
}

static int ask(struct vu_conn *conn, void *reply, uint32_t capacity, uint32_t *size, int timeout)
{
    uint32_t question = 0x1234;

    return vu_request(conn, 4, &question, sizeof(question), NULL, 0, reply, capacity, size, NULL,
                      NULL, timeout);
}

/* ---- scripts of the peer */

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

static void dies_in_the_header(int fd)
{
    struct vu_header request;
    uint32_t body;
    struct vu_header reply;

    CHECK(take(fd, &request, &body, sizeof(body)) == 0);
    reply = reply_to(&request, sizeof(body));
    put(fd, &reply, 7);
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

/* Registers: what is written can be read back. Checks that posted writes are marked as such. */
static void serves_registers(int fd)
{
    static uint32_t words[1024];
    struct vu_header request;
    struct {
        struct vu_region_access access;
        uint32_t value;
    } body;
    uint16_t expected = 0;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply;
        uint64_t at = body.access.offset / 4;

        CHECK(request.id == expected++);
        CHECK(body.access.count == 4 && body.access.region == 2 && at < 1024);
        if (request.command == VU_REGION_WRITE) {
            CHECK(request.flags == VU_FLAG_NO_REPLY && request.size == 36);
            words[at] = body.value;
            continue;
        }
        CHECK(request.command == VU_REGION_READ && request.flags == 0 && request.size == 32);
        body.value = words[at];
        reply = reply_to(&request, 20);
        put(fd, &reply, sizeof(reply));
        put(fd, &body, 20);
    }
}

/* ---- cases */

static void test_partial(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_byte_by_byte);
    uint32_t value = 0, size = 0;

    CHECK(ask(conn, &value, 4, &size, 2000) == 0);
    CHECK(size == 4 && value == 0x1235);
    CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
    stop(&peer, conn);
}

static void test_foreign_requests(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, asks_in_between);
    uint32_t value = 0;

    for (int i = 0; i < 20; i++) {
        value = 0;
        CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
        CHECK(value == 0x1234);
    }
    CHECK(!vu_conn_broken(conn));
    stop(&peer, conn);
}

static void test_timeout_then_late_reply(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_late);
    uint32_t value = 0;

    CHECK(ask(conn, &value, 4, NULL, 10) == -ETIMEDOUT);
    CHECK(!vu_conn_broken(conn));
    CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
    CHECK(value == 0x1234); /* its own answer, not the late one (0x1235) */
    stop(&peer, conn);
}

static void expect_broken(script run, int expected, int timeout)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, run);
    uint32_t value = 0;

    CHECK(ask(conn, &value, 4, NULL, timeout) == expected);
    CHECK(vu_conn_broken(conn) == expected);
    CHECK(ask(conn, &value, 4, NULL, timeout) == expected); /* and stays so */
    CHECK(vu_post(conn, 10, &value, 4) == expected);
    stop(&peer, conn);
}

static void test_broken_streams(void)
{
    const uint32_t sizes[] = {0, 15, 1u << 24, UINT32_MAX};

    expect_broken(answers_wrong_command, -EPROTO, 2000);
    expect_broken(dies_in_the_payload, -ECONNRESET, 2000);
    expect_broken(dies_in_the_header, -ECONNRESET, 2000);
    expect_broken(stalls_in_the_payload, -ETIMEDOUT, 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bad_size = sizes[i];
        expect_broken(answers_bad_size, -EPROTO, 2000);
    }
}

static void test_oversize(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_too_much);
    uint32_t canary[5] = {0, 0, 0, 0, 0x5a5a5a5a};
    uint32_t size = 0;

    CHECK(ask(conn, canary, 16, &size, 2000) == 0 && size == 16);
    CHECK(ask(conn, canary, 15, NULL, 2000) == -EPROTO);
    CHECK(canary[4] == 0x5a5a5a5a);
    CHECK(vu_conn_broken(conn));
    stop(&peer, conn);
    conn = start(&peer, answers_too_much);
    CHECK(vu_request(conn, 4, NULL, 1u << 30, NULL, 0, NULL, 0, NULL, NULL, NULL, 10) == -EINVAL);
    CHECK(vu_post(conn, 4, NULL, UINT32_MAX) == -EINVAL);
    CHECK(vu_request(conn, 4, NULL, 0, NULL, 17, NULL, 0, NULL, NULL, NULL, 10) == -EINVAL);
    CHECK(!vu_conn_broken(conn));
    stop(&peer, conn);
}

static void test_error_replies(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, refuses);
    uint32_t value = 0, size = 77;

    CHECK(ask(conn, &value, 4, &size, 2000) == ENOTTY);
    CHECK(ask(conn, &value, 4, &size, 2000) == EIO); /* ERROR without a number is one still */
    CHECK(ask(conn, &value, 4, &size, 2000) == EIO); /* a number that is no errno as well */
    CHECK(!vu_conn_broken(conn));
    stop(&peer, conn);
}

static void test_full_socket(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, never_reads);
    const uint32_t size = 1u << 20;
    char *payload = calloc(1, size);

    CHECK(payload);
    CHECK(vu_request(conn, 10, payload, size, NULL, 0, NULL, 0, NULL, NULL, NULL, 20) ==
          -ETIMEDOUT);
    CHECK(vu_conn_broken(conn) == -ETIMEDOUT); /* half a message is out: no way back */
    free(payload);
    stop(&peer, conn);
}

static unsigned open_fds(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += dup2(fd, fd) == fd;
    return n;
}

static void test_fds(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, sends_fds);
    int fds[VU_MAX_FDS];
    uint32_t count = 99;
    unsigned before;

    sent_fds = 3;
    CHECK(vu_request(conn, 4, "1234", 4, NULL, 0, NULL, 0, NULL, NULL, NULL, 2000) == 0);
    nap(5);
    before = open_fds();
    CHECK(vu_request(conn, 4, "1234", 4, NULL, 0, NULL, 0, NULL, fds, &count, 2000) == 0);
    CHECK(count == 3);
    nap(5);
    CHECK(open_fds() == before + 3);
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    CHECK(vu_request(conn, 4, "1234", 4, NULL, 0, NULL, 0, NULL, NULL, NULL, 2000) == 0);
    nap(5);
    CHECK(open_fds() == before); /* nobody wanted them */
    sent_fds = 20;
    CHECK(vu_request(conn, 4, "1234", 4, NULL, 0, NULL, 0, NULL, fds, &count, 2000) == -EPROTO);
    nap(5);
    CHECK(open_fds() == before);
    stop(&peer, conn);
}

/* ---- registers, also by two threads at once */

struct user {
    struct bar_io *bar;
    uint32_t lane;
};

static void *user_main(void *argument)
{
    const struct user *user = argument;
    struct vfio_regio *io = bar_io_regio(user->bar);

    for (uint32_t i = 0; i < 400; i++) {
        uint64_t at = (user->lane * 256 + i % 256) * 4;

        CHECK(io->write32(io, at, i ^ user->lane << 16) == 0);
        CHECK(io->read32(io, at) == (i ^ user->lane << 16)); /* posted, yet in order */
    }
    return NULL;
}

static void test_registers(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, serves_registers);
    struct bar_io *bar = bar_io_new_user(conn, 2, 4096, 2000);
    pthread_t threads[2];
    struct user users[2];

    CHECK(bar);
    for (uint32_t i = 0; i < 2; i++) {
        users[i] = (struct user){.bar = bar, .lane = i};
        CHECK(pthread_create(&threads[i], NULL, user_main, &users[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(bar_io_read32(bar, 4096) == UINT32_MAX && bar_io_read32(bar, 2) == UINT32_MAX);
    CHECK(bar_io_read32(bar, UINT64_MAX - 3) == UINT32_MAX);
    CHECK(bar_io_write32(bar, 4096, 1) == -EINVAL && bar_io_write32(bar, 1, 1) == -EINVAL);
    CHECK(!bar_io_lost(bar));
    CHECK(bar_io_new_user(conn, 2, 3, 1) == NULL);
    bar_io_free(bar);
    stop(&peer, conn);
}

/* Two callers, and the stream breaks under one of them: the other, who waits for the lock, is told. */
static void *ask_main(void *argument)
{
    uint32_t value = 0;
    static int results[2];
    static int next;
    int *result = &results[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) & 1];

    *result = ask(argument, &value, 4, NULL, 2000);
    return result;
}

static void test_break_under_another(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, dies_in_the_header);
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, ask_main, conn) == 0);
    for (int i = 0; i < 2; i++) {
        void *result;

        CHECK(pthread_join(threads[i], &result) == 0);
        CHECK(*(int *)result == -ECONNRESET);
    }
    stop(&peer, conn);
}

static void test_server_gone(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, dies_in_the_header);
    struct bar_io *bar = bar_io_new_user(conn, 2, 4096, 2000);
    uint32_t value;

    CHECK(ask(conn, &value, 4, NULL, 2000) == -ECONNRESET);
    CHECK(bar_io_read32(bar, 0) == UINT32_MAX);
    CHECK(bar_io_lost(bar));
    CHECK(bar_io_write32(bar, 0, 1) == -ENODEV);
    bar_io_free(bar);
    stop(&peer, conn);
}

static void test_abandon(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_late);
    uint32_t value;

    vu_conn_abandon(conn);
    CHECK(vu_conn_fd(conn) == -1);
    CHECK(ask(conn, &value, 4, NULL, 2000) == -ENODEV);
    stop(&peer, conn);
}

static void test_file(void)
{
    int fd = memfd_create("bar", MFD_CLOEXEC);
    struct bar_io *bar = bar_io_new_file(fd, 1ull << 40, 8192);
    uint32_t value = 0;

    CHECK(fd >= 0 && bar && ftruncate(fd, (1ll << 40) + 8192) == 0);
    CHECK(bar_io_write32(bar, 4100, 0xabcd) == 0);
    CHECK(pread(fd, &value, 4, (1ll << 40) + 4100) == 4 && value == 0xabcd);
    CHECK(bar_io_read32(bar, 4100) == 0xabcd);
    CHECK(ftruncate(fd, 1ll << 40) == 0);
    CHECK(bar_io_read32(bar, 4100) == UINT32_MAX); /* a short read is no value */
    bar_io_free(bar);
    close(fd);
    bar = bar_io_new_file(-1, 0, 4096);
    CHECK(bar_io_read32(bar, 0) == UINT32_MAX && bar_io_write32(bar, 0, 1) == -EBADF);
    bar_io_free(bar);
}

/* ---- a mapped BAR whose memory goes away */

static void test_bus_error(void)
{
    int fd = memfd_create("bar", MFD_CLOEXEC);
    struct bar_io *bar = bar_io_new_file(fd, 0, 8192);
    volatile uint32_t *words;
    void *at;

    CHECK(fd >= 0 && bar && ftruncate(fd, 8192) == 0);
    at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    CHECK(bar_io_add_area(bar, 0, 8192 + 4, at) == -EINVAL);
    CHECK(bar_io_add_area(bar, UINT64_MAX, 8, at) == -EINVAL);
    CHECK(bar_io_add_area(bar, 0, 8192, at) == 0);
    words = at;
    CHECK(bar_io_write32(bar, 0x1004, 7) == 0 && words[0x401] == 7);
    CHECK(ftruncate(fd, 4096) == 0);
    CHECK(bar_io_read32(bar, 0x1004) == UINT32_MAX);
    CHECK(bar_io_lost(bar));
    CHECK(bar_io_write32(bar, 0, 1) == -ENODEV); /* a lost device takes nothing more */
    CHECK(ftruncate(fd, 0) == 0);
    words[5] = 1; /* C code on the hot path does not look at `lost` before each doorbell */
    CHECK(words[6] == UINT32_MAX && words[5] == 1);
    bar_io_free(bar);
    munmap(at, 8192);
    close(fd);
}

static void test_areas_have_an_end(void)
{
    static char memory[9][4096];
    struct bar_io *bar = bar_io_new_file(-1, 0, 9 * 4096);

    for (uint64_t i = 0; i < 8; i++)
        CHECK(bar_io_add_area(bar, i * 4096, 4096, memory[i]) == 0);
    CHECK(bar_io_add_area(bar, 8 * 4096, 4096, memory[8]) == -ENOSPC);
    CHECK(bar_io_write32(bar, 4096, 3) == 0 && memory[1][0] == 3);
    bar_io_free(bar);
}

int main(void)
{
    test_partial();
    test_foreign_requests();
    test_timeout_then_late_reply();
    test_broken_streams();
    test_oversize();
    test_error_replies();
    test_full_socket();
    test_fds();
    test_registers();
    test_break_under_another();
    test_server_gone();
    test_abandon();
    test_file();
    test_bus_error();
    test_areas_have_an_end();
    puts("vfio_conn: all passed");
    return 0;
}
