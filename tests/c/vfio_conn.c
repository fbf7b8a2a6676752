/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user connection against a peer thread that misbehaves (docs/spec/vfio-user.md 1, 8). */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "vfio_scripts.h"

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

static struct vu_call question(const void *payload, void *reply)
{
    return (struct vu_call){.command = 4,
                            .payload = payload,
                            .payload_size = 4,
                            .reply = reply,
                            .capacity = 4,
                            .timeout_ms = 2000};
}

/* Whoever gives up a request, because a signal came, leaves the stream in step: the late reply is known by
 * its id. */
static void test_given_up_then_late_reply(script run)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, run);
    uint32_t value = 0, payload = 0x1234, dead = 0x5a5a5a5a;
    struct vu_call call = question(&payload, &dead);

    CHECK(vu_call_run(conn, &call, 5) == -EAGAIN);
    CHECK(vu_call_run(conn, &call, 5) == -EAGAIN);
    vu_call_end(conn, &call);
    CHECK(!vu_conn_broken(conn));
    dead = 0x5a5a5a5a; /* a part of it may have come */
    CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
    CHECK(value == 0x1234); /* its own answer, not the late one (0x1235) */
    CHECK(dead == 0x5a5a5a5a); /* nothing is written for a caller that went away */
    stop(&peer, conn);
}

/* A server that knows which id comes next begins its answer before the question: it has no room yet for what is in it,
 * and does not answer the one who asks then. */
static void test_answer_ahead_of_its_question(void)
{
    const struct vu_header ahead = {.id = 1, .command = 4, .size = 16 + 64, .flags = VU_FLAG_REPLY};
    const struct vu_header right = {.id = 1, .command = 4, .size = 16 + 4, .flags = VU_FLAG_REPLY};
    const char body[64] = {0};
    uint32_t value = 0, size = 0, payload = 0x1234, dead = 0;
    struct vu_call call = question(&payload, &dead);
    struct vu_conn *conn;
    int ends[2], left;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    conn = vu_conn_new(ends[0]);
    CHECK(conn);
    put(ends[1], &ahead, sizeof(ahead));
    put(ends[1], body, sizeof(body) / 2);
    do {
        CHECK(vu_call_run(conn, &call, 0) == -EAGAIN);
        CHECK(ioctl(ends[0], FIONREAD, &left) == 0);
    } while (left);
    vu_call_end(conn, &call);
    put(ends[1], body, sizeof(body) / 2);
    put(ends[1], &right, sizeof(right));
    put(ends[1], &payload, sizeof(payload));
    CHECK(ask(conn, &value, 4, &size, 2000) == 0);
    CHECK(size == 4 && value == payload);
    vu_conn_free(conn);
    close(ends[1]);
}

/* How many slices a request waits in vain, which may wait for a minute; ends it. */
static int slices_in_vain(struct vu_conn *conn)
{
    uint32_t value = 0, payload = 0x1234;
    struct vu_call call = question(&payload, &value);
    int slices = 0, result;

    call.timeout_ms = 60000;
    while ((result = vu_call_run(conn, &call, 10)) == -EAGAIN)
        slices++;
    vu_call_end(conn, &call);
    CHECK(result == -ETIMEDOUT);
    return slices;
}

/* Who cleans up behind a caller that gave up does not wait long for a server that stands still, and ends the
 * connection by that. */
static void test_given_up_and_silent(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, reads_nothing_at_all);
    uint32_t value = 0, payload = 0x1234;
    struct vu_call call = question(&payload, &value);

    CHECK(vu_call_run(conn, &call, 5) == -EAGAIN);
    vu_call_end(conn, &call);
    CHECK(slices_in_vain(conn) <= VU_GIVEN_UP_MS / 10 + 1);
    CHECK(slices_in_vain(conn) == 0);
    stop(&peer, conn);
}

static void test_hastened(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, reads_nothing_at_all);

    vu_hasten(1);
    CHECK(slices_in_vain(conn) <= VU_HASTE_MS / 10 + 1);
    vu_hasten(0);
    stop(&peer, conn);
}

/* A caller that is held up between two slices, as by a long hold of Python's lock, misses no reply. */
static void test_time_between_slices_does_not_count(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_late);
    uint32_t value = 0, payload = 0x1234;
    struct vu_call call = question(&payload, &value);
    int result;

    call.timeout_ms = 150;
    CHECK(vu_call_run(conn, &call, 1) == -EAGAIN);
    nap(400); /* the answer is there by now, and the deadline would be over */
    while ((result = vu_call_run(conn, &call, 5)) == -EAGAIN)
        ;
    CHECK(result == 0 && value == 0x1235);
    CHECK(!vu_conn_broken(conn));
    vu_call_end(conn, &call);
    stop(&peer, conn);
}

/* A process that is stopped in its wait, as by Ctrl-Z, takes what came meanwhile. */
static void test_stopped_in_its_wait(void)
{
    struct vu_header request, reply;
    uint32_t body = 0;
    int ends[2], status;
    pid_t child;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    child = fork();
    CHECK(child >= 0);
    if (!child) {
        struct vu_conn *conn = vu_conn_new(ends[0]);
        uint32_t value = 0;

        CHECK(conn && ask(conn, &value, 4, NULL, 1000) == 0 && value == 0x1235);
        CHECK(!vu_conn_broken(conn));
        vu_conn_free(conn);
        _exit(0);
    }
    CHECK(take(ends[1], &request, &body, sizeof(body)) == 0);
    CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
    reply = reply_to(&request, sizeof(body));
    body++;
    put(ends[1], &reply, sizeof(reply));
    put(ends[1], &body, sizeof(body));
    nap(1500);
    CHECK(kill(child, SIGCONT) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(ends[0]);
    close(ends[1]);
}

/* As a signal handler that asks while its thread's request is under way: told at once, and nothing is lost. */
static void test_asked_within_its_own_request(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_late);
    uint32_t value = 0, inner = 0, payload = 0x1234;
    struct vu_call call = question(&payload, &value);
    int result;

    CHECK(vu_call_run(conn, &call, 0) == -EAGAIN);
    CHECK(vu_call_run(conn, &call, 1) == -EAGAIN);
    CHECK(ask(conn, &inner, 4, NULL, 60000) == -EDEADLK);
    CHECK(!vu_conn_broken(conn));
    while ((result = vu_call_run(conn, &call, 5)) == -EAGAIN)
        ;
    CHECK(result == 0 && value == 0x1235);
    vu_call_end(conn, &call);
    stop(&peer, conn);
}

static void test_missed_deadline_ends_it(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_late);
    uint32_t value = 0;

    CHECK(vu_conn_lost_command(conn) == 0);
    CHECK(ask(conn, &value, 4, NULL, 10) == -ETIMEDOUT);
    CHECK(vu_conn_broken(conn) == -ETIMEDOUT && vu_conn_lost_command(conn) == 4);
    nap(100); /* the answer is there by now, too late */
    CHECK(ask(conn, &value, 4, NULL, 2000) == -ETIMEDOUT);
    CHECK(vu_post(conn, 10, &value, 4, 2000) == -ETIMEDOUT && vu_conn_lost_command(conn) == 4);
    stop(&peer, conn);
}

/* Stray messages of any kind do not move the deadline. */
static void test_flood(void)
{
    static const struct vu_header strays[] = {
        {.id = 9, .command = 12, .size = 16, .flags = VU_FLAG_NO_REPLY},
        {.id = 9, .command = 11, .size = 16, .flags = 0}, /* wants an answer each time */
        {.id = 77, .command = 4, .size = 16, .flags = VU_FLAG_REPLY},
        {.id = 9, .command = 12, .size = 1u << 20, .flags = VU_FLAG_NO_REPLY},
    };

    for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++) {
        struct peer peer;
        struct vu_conn *conn;
        uint32_t value = 0;

        stray = strays[i];
        conn = start(&peer, floods);
        CHECK(ask(conn, &value, 4, NULL, 50) == -ETIMEDOUT);
        CHECK(vu_conn_broken(conn) == -ETIMEDOUT);
        stop(&peer, conn);
    }
}

/* Somebody who closes limits all waits, also those of other threads that are under way. */
static void *asks_for_long(void *argument)
{
    uint32_t value;

    CHECK(ask(argument, &value, 4, NULL, 60000) == -ETIMEDOUT);
    return NULL;
}

static void test_limit(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, never_reads);
    uint32_t value = 0;
    pthread_t other;

    CHECK(pthread_create(&other, NULL, asks_for_long, conn) == 0);
    nap(20);
    vu_conn_limit(conn, 30, 30);
    CHECK(ask(conn, &value, 4, NULL, 60000) == -ETIMEDOUT);
    CHECK(pthread_join(other, NULL) == 0);
    stop(&peer, conn);
    conn = start(&peer, answers_late);
    vu_conn_limit(conn, 1, 1);
    nap(5);
    vu_conn_limit(conn, 3000,
                  6000); /* for 2 s; from then on each request has a second of its own */
    nap(2005);
    CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
    vu_conn_limit(conn, -1, -1);
    CHECK(ask(conn, &value, 4, NULL, 2000) == 0);
    stop(&peer, conn);
}

/* A server that answers each request within a third of the limit is given up at last: the grace of one request
 * after the other has an end. As each answer takes SLOW_MS or longer, their number tells that it had. */
static void test_limit_of_a_slow_server(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_slowly);
    uint32_t value = 0;
    int result = 0;

    vu_conn_limit(conn, 1200, 1800);
    for (int i = 0; i <= 1800 / SLOW_MS && result == 0; i++)
        result = ask(conn, &value, 4, NULL, 60000);
    CHECK(result == -ETIMEDOUT);
    CHECK(vu_conn_broken(conn) == -ETIMEDOUT);
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
    CHECK(vu_post(conn, 10, &value, 4, 2000) == expected);
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
    CHECK(vu_post(conn, 4, NULL, UINT32_MAX, 10) == -EINVAL);
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

/* Whoever gives up in the middle of its message ends the connection: the server would take the next message
 * for the rest of this one. Who has sent nothing yet, or all of it, does not. */
static void test_given_up_half_sent(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, reads_nothing_at_all);
    const uint32_t size = 1u << 20;
    char *payload = calloc(1, size);
    struct vu_call call = {
        .command = 10, .payload = payload, .payload_size = size, .timeout_ms = 20000};
    uint32_t value;

    CHECK(payload);
    CHECK(vu_call_run(conn, &call, 5) == -EAGAIN);
    CHECK(call.sent && call.sent < size);
    vu_call_end(conn, &call);
    CHECK(vu_conn_broken(conn) == -ECANCELED);
    CHECK(ask(conn, &value, 4, NULL, 2000) == -ECANCELED);
    free(payload);
    stop(&peer, conn);
}

/* Whoever writes a register does not stand behind a request that the server leaves unanswered, and its
 * messages come whole and in their order. */
static void test_posted_passes_who_waits(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, never_answers);
    uint32_t payload = 0;
    pthread_t asking;

    CHECK(!pthread_create(&asking, NULL, asks_for_long, conn));
    wait_for_messages(1);
    for (uint32_t i = 1; i <= 20; i++) {
        CHECK(vu_post(conn, 10, &payload, sizeof(payload), 60000) == 0);
        wait_for_messages(1 + i);
    }
    CHECK(!vu_conn_broken(conn));
    vu_conn_limit(conn, 0, 0);
    CHECK(!pthread_join(asking, NULL));
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

int main(void)
{
    test_partial();
    test_foreign_requests();
    test_given_up_then_late_reply(answers_late);
    test_given_up_then_late_reply(answers_half_late);
    test_answer_ahead_of_its_question();
    test_given_up_and_silent();
    test_hastened();
    test_time_between_slices_does_not_count();
    test_stopped_in_its_wait();
    test_asked_within_its_own_request();
    test_missed_deadline_ends_it();
    test_flood();
    test_limit();
    test_limit_of_a_slow_server();
    test_broken_streams();
    test_oversize();
    test_error_replies();
    test_full_socket();
    test_given_up_half_sent();
    test_posted_passes_who_waits();
    test_fds();
    test_abandon();
    puts("vfio_conn: all passed");
    return 0;
}
