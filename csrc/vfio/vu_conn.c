/* SPDX-License-Identifier: BSD-3-Clause */
/* One vfio-user connection: requests are serialised, replies matched by id, foreign requests refused. A
 * deadline that was missed ends the connection, whatever the server sends meanwhile, unless the caller did not
 * run; a caller that goes away in the middle of its request does not end it, since the late reply is known by
 * its id. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vfio/vu_conn.h"
#include "vfio/vu_line.h"
#include "vfio/vu_stream.h"

#define VU_MAX_ERRNO 4095u
#define VU_MAX_MESSAGE (sizeof(struct vu_header) + VU_MAX_DATA + 32u)
#define LOOK_MS 20 /* longest sleep between two looks at what limits a wait */
#define VU_SHORT 64u /* payload of a register's write, which goes out whole or not at all */

_Static_assert(sizeof(struct vu_region_access) == 16, "vfio-user region access");
_Static_assert(sizeof(((struct vu_call *)0)->fds) == VU_MAX_FDS * sizeof(int), "fds of a call");

struct vu_conn {
    int broken; /* a negative errno once the stream cannot be trusted any more */
    uint16_t lost_command; /* whose deadline was missed, 0: none was */
    uint16_t next_id;
    int64_t limit; /* no wait lasts beyond it, in ms of CLOCK_MONOTONIC */
    int64_t grace; /* that each request may wait nevertheless, in ms */
    int64_t last; /* beyond which no request has that grace, in ms of CLOCK_MONOTONIC */
    int64_t lost_after; /* how long the one whose deadline was missed had waited, in ms */
    int64_t given_up; /* when a caller last went away in its wait; 0: the server was heard since */
    int64_t heard; /* when the server last sent a message, in ms of CLOCK_MONOTONIC */
    struct vu_line line; /* of calls: who asks without pause starves nobody */
    struct vu_stream stream; /* the first call's */
    /* What it receives answers the call at work, which had asked before the header was complete. */
    bool awaited;
};

struct vu_conn *vu_conn_new(int fd)
{
    struct vu_conn *conn = calloc(1, sizeof(*conn));

    if (conn) {
        conn->stream.fd = fd;
        conn->limit = INT64_MAX;
        vu_line_begin(&conn->line);
    }
    return conn;
}

void vu_conn_free(struct vu_conn *conn)
{
    if (!conn)
        return;
    vu_stream_close(&conn->stream);
    vu_line_end(&conn->line);
    free(conn);
}

int vu_conn_fd(const struct vu_conn *conn)
{
    return conn->stream.fd;
}

int vu_conn_broken(const struct vu_conn *conn)
{
    return __atomic_load_n(&conn->broken, __ATOMIC_RELAXED);
}

uint16_t vu_conn_lost_command(const struct vu_conn *conn)
{
    return __atomic_load_n(&conn->lost_command, __ATOMIC_RELAXED);
}

/* For a forked child: the parent's socket must not be used, whoever stood in line at the fork; nor
 * kept open, or the server would not see the parent go. */
void vu_conn_abandon(struct vu_conn *conn)
{
    __atomic_store_n(&conn->broken, -ENODEV, __ATOMIC_RELAXED);
    if (conn->stream.fd >= 0)
        close(conn->stream.fd);
    conn->stream.fd = -1;
    vu_line_begin(&conn->line);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The last request may begin just before the limit, and its grace is within left_ms as well. */
void vu_conn_limit(struct vu_conn *conn, int left_ms, int slow_ms)
{
    int grace = left_ms < VU_GRACE_FROM_MS ? 0 : left_ms / 3;
    int64_t now = now_ms();
    int64_t limit = left_ms < 0 ? INT64_MAX : now + left_ms - grace;

    __atomic_store_n(&conn->grace, grace, __ATOMIC_RELAXED);
    __atomic_store_n(&conn->last, now + slow_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&conn->limit, limit, __ATOMIC_RELAXED);
}

int64_t vu_conn_lost_after(const struct vu_conn *conn)
{
    return __atomic_load_n(&conn->lost_after, __ATOMIC_RELAXED);
}

static int64_t hastened; /* when this process was told to end, 0: it was not */

void vu_hasten(int on)
{
    __atomic_store_n(&hastened, on ? now_ms() : 0, __ATOMIC_RELAXED);
}

static int fail(struct vu_conn *conn, int error)
{
    __atomic_store_n(&conn->broken, error, __ATOMIC_RELAXED);
    return error;
}

static int missed(struct vu_conn *conn, const struct vu_call *call)
{
    int64_t began = call->deadline - call->timeout_ms;

    __atomic_store_n(&conn->lost_after, now_ms() - began, __ATOMIC_RELAXED);
    __atomic_store_n(&conn->lost_command, call->command, __ATOMIC_RELAXED);
    return fail(conn, -ETIMEDOUT);
}

/* When a wait ends that began at `began` and may last `patience` after `since`; for ever if that is 0. */
static int64_t impatient(int64_t since, int64_t began, int64_t patience)
{
    return since ? (began > since ? began : since) + patience : INT64_MAX;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t deadline_of(const struct vu_conn *conn, const struct vu_call *call)
{
    int64_t began = call->deadline - call->timeout_ms;
    int64_t limit = __atomic_load_n(&conn->limit, __ATOMIC_RELAXED);
    int64_t given_up = __atomic_load_n(&conn->given_up, __ATOMIC_RELAXED);
    int64_t told = __atomic_load_n(&hastened, __ATOMIC_RELAXED);
    int64_t grace = __atomic_load_n(&conn->grace, __ATOMIC_RELAXED);
    int64_t deadline = call->deadline;

    /* Who stands in line waits for a server that answers others: it is slow, and not silent. */
    if (call->phase == CALL_WAITS)
        deadline =
            most(deadline, __atomic_load_n(&conn->heard, __ATOMIC_RELAXED) + call->timeout_ms);
    if (grace && began + grace > limit)
        limit = least(began + grace, __atomic_load_n(&conn->last, __ATOMIC_RELAXED));
    limit = least(limit, impatient(given_up, began, VU_GIVEN_UP_MS));
    limit = least(limit, impatient(told, began, VU_HASTE_MS));
    return most(least(deadline, limit), call->patient);
}

/* Sleeps until the socket is ready for `events` or it is time to look at the clock. A poll that fails, for
 * which the kernel had no memory, says nothing of the server: the socket is looked at again after a moment. */
static void sleep_for(const struct vu_conn *conn, short events, int64_t end)
{
    struct pollfd pfd = {.fd = conn->stream.fd, .events = events};
    int64_t left = end - now_ms();

    left = left < 0 ? 0 : left < LOOK_MS ? left : LOOK_MS;
    if (poll(&pfd, 1, (int)left) < 0 && errno != EINTR)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void forget(struct vu_conn *conn)
{
    vu_stream_forget(&conn->stream);
    conn->awaited = false;
}

static bool answers(const struct vu_conn *conn, const struct vu_call *call)
{
    return (conn->stream.header.flags & VU_FLAG_TYPE) == VU_FLAG_REPLY &&
           conn->stream.header.id == call->id;
}

/* A header is complete: where its body goes. 0 or -EPROTO. */
static int begin_body(struct vu_conn *conn, const struct vu_call *call)
{
    const struct vu_header *header = &conn->stream.header;

    if (header->size < sizeof(*header) || header->size > VU_MAX_MESSAGE)
        return -EPROTO;
    conn->stream.body_left = header->size - (uint32_t)sizeof(*header);
    conn->stream.body_got = 0;
    conn->stream.body = NULL;
    conn->awaited = answers(conn, call);
    if (!conn->awaited)
        return 0; /* theirs, or the late reply to a request that was given up */
    if (header->command != call->command)
        return -EPROTO;
    if (header->flags & VU_FLAG_ERROR)
        return 0;
    if (conn->stream.body_left > call->capacity)
        return -EPROTO;
    conn->stream.body = call->reply;
    return 0;
}

/* A request of the server (DMA_READ, DMA_WRITE): all our memory has fds, so none is served. A server that
 * does not read what it asked for goes without. */
static int refuse(const struct vu_conn *conn)
{
    struct vu_header reply = {.id = conn->stream.header.id,
                              .command = conn->stream.header.command,
                              .size = sizeof(reply),
                              .flags = VU_FLAG_REPLY | VU_FLAG_ERROR,
                              .error = ENOTSUP};
    ssize_t n;

    if (conn->stream.header.flags & (VU_FLAG_TYPE | VU_FLAG_NO_REPLY))
        return 0;
    n = vu_stream_send(&conn->stream, &reply, NULL, 0, 0, NULL, 0);
    return n == sizeof(reply) || n == -EAGAIN || n == -EINTR ? 0 : n < 0 ? (int)n : -EPROTO;
}

/* A message is complete. Returns 1 when it was not ours, else what the call comes to. Whose it is was decided with its
 * header: an answer that began before its question has no place for its body. */
static int end_message(struct vu_conn *conn, struct vu_call *call)
{
    uint32_t error = conn->stream.header.flags & VU_FLAG_ERROR ? conn->stream.header.error : 0;
    int result;

    __atomic_store_n(&conn->given_up, 0, __ATOMIC_RELAXED); /* the server is at work again */
    __atomic_store_n(&conn->heard, now_ms(), __ATOMIC_RELAXED);
    if (!conn->awaited) {
        result = refuse(conn);
        forget(conn);
        return result ? fail(conn, result) : 1;
    }
    if (conn->stream.header.flags & VU_FLAG_ERROR) {
        forget(conn);
        return error && error <= VU_MAX_ERRNO ? (int)error : EIO;
    }
    call->size = conn->stream.body_got;
    call->nfds = conn->stream.nfds;
    memcpy(call->fds, conn->stream.fds, conn->stream.nfds * sizeof(int));
    conn->stream.nfds = 0; /* they are the call's now */
    forget(conn);
    return 0;
}

/* One step of receiving: 1 for progress, -EAGAIN when nothing is there, else what the call comes to. */
static int listen_step(struct vu_conn *conn, struct vu_call *call)
{
    bool had_header = conn->stream.header_got == sizeof(conn->stream.header);
    ssize_t n = vu_stream_receive(&conn->stream);
    int result;

    if (n < 0)
        return n == -EAGAIN || n == -EINTR ? -EAGAIN : fail(conn, (int)n);
    if (conn->stream.header_got < sizeof(conn->stream.header))
        return 1;
    if (!had_header) {
        result = begin_body(conn, call);
        if (result)
            return fail(conn, result);
    }
    return conn->stream.body_left ? 1 : end_message(conn, call);
}

/* Sends more of the call's message: 1 while there is some left, 0 when all is out, else why nothing went. */
static int send_some(struct vu_conn *conn, struct vu_call *call)
{
    struct vu_header header = {.id = call->id,
                               .command = call->command,
                               .size = (uint32_t)sizeof(header) + call->payload_size,
                               .flags = call->posted ? VU_FLAG_NO_REPLY : 0};
    ssize_t n = vu_stream_send(&conn->stream, &header, call->payload, call->payload_size,
                               call->sent, call->send_fds, call->send_nfds);

    if (n < 0)
        return n == -EAGAIN || n == -EINTR ? -EAGAIN : fail(conn, (int)n);
    call->sent += (uint32_t)n;
    return call->sent < header.size;
}

/* Others look at it while the call is the first in line. */
static void set_phase(struct vu_call *call, enum phase phase)
{
    __atomic_store_n(&call->phase, phase, __ATOMIC_RELEASE);
}

static int send_step(struct vu_conn *conn, struct vu_call *call)
{
    int result = send_some(conn, call);

    if (result)
        return result;
    set_phase(call, CALL_LISTENS);
    return call->posted ? 0 : 1;
}

/* A short message without a reply needs no turn while those before it wait for theirs. C code that writes a register
 * hears no signal: it must not stand behind a request that the server leaves unanswered. */
static int pass(struct vu_conn *conn, struct vu_call *call)
{
    int result;

    if (!vu_line_halt(&conn->line, call))
        return -EAGAIN;
    call->id = conn->next_id++;
    result = send_some(conn, call);
    if (result == 1) /* a part of it is out, which no Unix socket does to so few bytes */
        result = fail(conn, -EPROTO);
    vu_line_go_on(&conn->line);
    return result;
}

/* The call has the stream, unless that is broken: also by whoever was first while we waited. An abandoned
 * connection is not even waited for: after a fork the first in line may not exist. */
static int turn_step(struct vu_conn *conn, struct vu_call *call)
{
    int passed = call->posted && call->payload_size <= VU_SHORT ? pass(conn, call) : -EAGAIN;

    if (passed != -EAGAIN)
        return passed;
    if (!vu_line_wait(&conn->line, call, LOOK_MS))
        return -EAGAIN;
    set_phase(call, CALL_SENDS);
    if (vu_conn_broken(conn))
        return vu_conn_broken(conn);
    call->id = conn->next_id++;
    /* The time starts when the socket is ours: a slow request of another caller must not use it up. */
    call->deadline = now_ms() + call->timeout_ms;
    return 1;
}

/* One step, without a sleep but for the turn: 1 for progress, -EAGAIN to wait, else the result. */
static int step(struct vu_conn *conn, struct vu_call *call)
{
    int result = vu_conn_broken(conn);

    if (result)
        return result;
    switch (call->phase) {
    case CALL_NEW:
        if (call->send_nfds > VU_MAX_FDS ||
            call->payload_size > VU_MAX_MESSAGE - sizeof(struct vu_header))
            return -EINVAL;
        call->deadline = now_ms() + call->timeout_ms;
        return vu_line_join(&conn->line, call);
    case CALL_WAITS:
        return turn_step(conn, call);
    case CALL_SENDS:
        return send_step(conn, call);
    default:
        return listen_step(conn, call);
    }
}

/* No look at the clock is much later than LOOK_MS after the one before, unless this thread did not run. Where its
 * deadline passed meanwhile, what came is taken, however late it is; once, so that no bound is prolonged for long. */
static int64_t look(const struct vu_conn *conn, struct vu_call *call)
{
    int64_t now = now_ms();

    if (now - call->looked > VU_AWAKE_MS && !call->patient &&
        call->looked < deadline_of(conn, call))
        call->patient = now + VU_AWAKE_MS;
    call->looked = now;
    return now;
}

int vu_call_run(struct vu_conn *conn, struct vu_call *call, int slice_ms)
{
    int64_t slice_end;
    int result;

    call->looked = now_ms();
    slice_end = slice_ms < 0 ? INT64_MAX : call->looked + slice_ms;
    if (call->left)
        call->deadline += now_ms() - call->left;
    call->left = 0;
    if (call->away)
        vu_line_set_away(&conn->line, call, false);
    for (;;) {
        int64_t now;

        result = step(conn, call);
        if (result != 1 && result != -EAGAIN)
            break;
        now = look(conn, call);
        if (call->phase != CALL_NEW && now >= deadline_of(conn, call)) {
            result = missed(conn, call);
            break;
        }
        if (now >= slice_end) { /* also behind a server that floods: signals want their turn */
            call->left = now;
            if (call->phase == CALL_WAITS)
                vu_line_set_away(&conn->line, call, true);
            return -EAGAIN;
        }
        if (result == -EAGAIN && (call->phase == CALL_SENDS || call->phase == CALL_LISTENS)) {
            int64_t end = deadline_of(conn, call);

            sleep_for(conn, call->phase == CALL_SENDS ? POLLOUT : POLLIN,
                      end < slice_end ? end : slice_end);
        }
    }
    return result;
}

void vu_call_end(struct vu_conn *conn, struct vu_call *call)
{
    if (call->left) /* not over: what cleans up behind this caller has little patience, too */
        __atomic_store_n(&conn->given_up, call->left, __ATOMIC_RELAXED);
    if (call->phase == CALL_SENDS || call->phase == CALL_LISTENS) {
        if (call->phase == CALL_SENDS && call->sent && !vu_conn_broken(conn))
            fail(conn, -ECANCELED); /* half a message is out: no way back */
        conn->awaited = false; /* what is left of a reply, nobody waits for any more */
        conn->stream.body = NULL;
        if (vu_conn_broken(conn))
            forget(conn);
    }
    if (call->phase == CALL_WAITS || call->phase == CALL_SENDS || call->phase == CALL_LISTENS)
        vu_line_leave(&conn->line, call);
    call->phase = CALL_OVER;
    vu_close_fds(call->fds, call->nfds);
    call->nfds = 0;
}
