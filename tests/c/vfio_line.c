/* SPDX-License-Identifier: BSD-3-Clause */
/* Several callers of one vfio-user connection, who stand in line (docs/spec/vfio-user.md 1). */
#include "vfio_peer.h"

#define CALLERS 3
#define TURNS 100

/* Two callers, and the stream breaks under one of them: the other, who stands in line, gets an error. */
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

static uint32_t overtaken; /* most requests of others, while one stood in line */

/* The body says whose request it is. The first answer waits until the others have come. */
static void counts_turns(int fd)
{
    struct vu_header request;
    uint32_t body, turns[CALLERS] = {0}, since[CALLERS] = {0};

    overtaken = 0;
    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply = reply_to(&request, sizeof(body));

        CHECK(body < CALLERS);
        nap(overtaken ? 1 : 100);
        turns[body]++;
        since[body] = 0;
        for (uint32_t i = 0; i < CALLERS; i++)
            if (turns[i] < TURNS && ++since[i] > overtaken)
                overtaken = since[i];
        put(fd, &reply, sizeof(reply));
        put(fd, &body, sizeof(body));
    }
}

static void *takes_turns(void *argument)
{
    struct vu_conn *conn = ((void **)argument)[0];
    uint32_t value = 0, own = *(uint32_t *)((void **)argument)[1];

    for (int i = 0; i < TURNS; i++)
        CHECK(vu_request(conn, 4, &own, 4, NULL, 0, &value, 4, NULL, NULL, NULL, 5000) == 0);
    return NULL;
}

/* Whoever asks without a pause starves nobody: who stands in line has the next turn. */
static void test_turns(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, counts_turns);
    uint32_t numbers[CALLERS] = {0, 1, 2};
    void *arguments[CALLERS][2];
    pthread_t threads[CALLERS];

    for (int i = 0; i < CALLERS; i++) {
        arguments[i][0] = conn;
        arguments[i][1] = &numbers[i];
        CHECK(pthread_create(&threads[i], NULL, takes_turns, arguments[i]) == 0);
    }
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    stop(&peer, conn);
    CHECK(overtaken < TURNS / 4); /* not CALLERS: a thread may be late to come back */
}

static void *waits_in_line(void *argument)
{
    static int results[8];
    static int next;
    uint32_t value = 0;
    int *result = &results[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)];

    *result = ask(argument, &value, 4, NULL, 4 * SLOW_MS);
    return result;
}

/* A server that answers each request in time is not lost for who stands in line longer than that. */
static void test_a_line_is_no_silence(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_slowly);
    pthread_t threads[8];
    void *result;

    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, waits_in_line, conn) == 0);
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], &result) == 0);
        CHECK(*(int *)result == 0);
    }
    CHECK(!vu_conn_broken(conn));
    stop(&peer, conn);
}

/* A caller that is held up between two runs stands in nobody's way, and has its turn when it comes back. */
static void test_who_is_held_up_in_line_stands_in_no_way(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, answers_slowly);
    uint32_t values[2] = {0};
    struct vu_call first = {.command = 4, .reply = &values[0], .capacity = 4, .timeout_ms = 5000};
    struct vu_call held = {.command = 4, .reply = &values[1], .capacity = 4, .timeout_ms = 5000};
    uint32_t value = 0;
    int result;

    CHECK(vu_call_run(conn, &first, 0) == -EAGAIN);
    CHECK(vu_call_run(conn, &held, 0) == -EAGAIN); /* it waits for its turn, and then is not run */
    while ((result = vu_call_run(conn, &first, 1000)) == -EAGAIN)
        ;
    CHECK(result == 0);
    vu_call_end(conn, &first);
    for (int i = 0; i < 3; i++)
        CHECK(ask(conn, &value, 4, NULL, 5000) == 0);
    CHECK(!vu_conn_broken(conn));
    while ((result = vu_call_run(conn, &held, 1000)) == -EAGAIN)
        ;
    CHECK(result == 0);
    vu_call_end(conn, &held);
    CHECK(!vu_conn_broken(conn));
    stop(&peer, conn);
}

int main(void)
{
    test_break_under_another();
    test_turns();
    test_a_line_is_no_silence();
    test_who_is_held_up_in_line_stands_in_no_way();
    puts("vfio_line: all passed");
    return 0;
}
