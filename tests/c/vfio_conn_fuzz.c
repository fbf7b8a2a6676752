/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes and descriptors as the stream of a vfio-user server, cut at any place, with requests of the client begun,
 * looked after and given up in between: what a call says that it got was sent and fits its room, a connection that
 * failed stays failed, no descriptor stays open, and each call ends. Nothing runs beside it: the same input does the
 * same each time, but for deadlines. */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "vfio/vu_conn.h"

#define HANG 120 /* seconds for one input: only what never ends takes so long */
#define STEPS 64u
#define UNSENT 0xa5 /* no byte that the server sends */
#define SENT_FDS_MAX 20u /* more than a message may carry */
#define BAR_SIZE 0x1000u

struct rig {
    struct vu_conn *conn;
    struct bar_io *bar;
    int peer, probe[2]; /* of `probe` the writing end is what the server passes */
    int error; /* what the connection failed with */
    uint16_t next_id; /* as the client counts its requests */
    bool at_work;
    struct vu_call call;
    uint8_t *payload, *reply;
};

static uint16_t client_id(const struct rig *rig, uint32_t lead)
{
    return (uint16_t)(rig->next_id - 1 + lead);
}

/* What came of a call or an access. */
static void judge(struct rig *rig, int result)
{
    int broken = vu_conn_broken(rig->conn);

    assert(result <= 4095 && result >= -4095);
    if (rig->error)
        assert(broken == rig->error && result == broken);
    if (broken)
        assert(result == broken || result == -ECANCELED || result == -EINVAL);
    else
        assert(result >= 0 || result == -EAGAIN || result == -EINVAL || result == -EPROTO);
    rig->error = broken;
}

static void check_reply(const struct vu_call *call)
{
    assert(call->posted ? !call->size && !call->nfds : call->size <= call->capacity);
    for (uint32_t i = 0; i < call->size; i++)
        assert(((const uint8_t *)call->reply)[i] != UNSENT);
    assert(call->nfds <= VU_MAX_FDS);
    for (uint32_t i = 0; i < call->nfds; i++)
        assert(fcntl(call->fds[i], F_GETFD) == FD_CLOEXEC);
}

static void end_call(struct rig *rig)
{
    if (!rig->at_work)
        return;
    vu_call_end(rig->conn, &rig->call);
    rig->error = vu_conn_broken(rig->conn);
    free(rig->payload);
    free(rig->reply);
    rig->at_work = false;
}

/* A slice of no time is one step of a call. */
static void run_call(struct rig *rig, int slice_ms, uint32_t slices)
{
    int result = -EAGAIN;

    if (!rig->at_work)
        return;
    for (; slices && result == -EAGAIN; slices--)
        result = vu_call_run(rig->conn, &rig->call, slice_ms);
    if (rig->call.phase > 1 && result != -EINVAL && !rig->error)
        rig->next_id = (uint16_t)(rig->call.id + 1);
    if (result == -EAGAIN)
        return;
    judge(rig, result);
    if (result == 0)
        check_reply(&rig->call);
    end_call(rig);
}

static void begin_call(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1);
    uint32_t capacity = shape & 1 ? (uint32_t)number(from, 1) : 4;
    uint32_t size = (shape & 2 ? (uint32_t)number(from, 1) : 4) << (shape & 4 ? 13 : 0);

    end_call(rig);
    rig->payload = calloc(1, size + 1);
    rig->reply = malloc(capacity);
    assert(rig->payload && (rig->reply || !capacity));
    memset(rig->reply, UNSENT, capacity);
    rig->call = (struct vu_call){.command = (uint16_t)number(from, 1),
                                 .posted = shape & 8 ? 1 : 0,
                                 .payload = rig->payload,
                                 .payload_size = size,
                                 .send_fds = rig->probe,
                                 .send_nfds = shape & 16 ? 2 : 0,
                                 .reply = rig->reply,
                                 .capacity = capacity,
                                 .timeout_ms = shape & 32 ? 1 : 60000};
    rig->at_work = true;
    run_call(rig, 0, shape & 64 ? 1 : 3);
}

/* One register, in a few slices. */
static void reach_register(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1);
    struct bar_access access = {.offset = 4 * number(from, 1), .write = shape & 1};
    int result = -EAGAIN;

    end_call(rig);
    for (uint32_t i = 0; i < 6 && result == -EAGAIN; i++)
        result = bar_io_run(rig->bar, &access, 0);
    assert(result != 0 || access.write || access.call.size == 20);
    assert(result == 0 || result == -EAGAIN || access.write || access.value == UINT32_MAX);
    bar_io_end(rig->bar, &access);
    rig->error = vu_conn_broken(rig->conn);
    if (access.call.deadline && !rig->error)
        rig->next_id = (uint16_t)(access.call.id + 1);
}

/* The server sends what it likes, as much as goes into the socket, with descriptors. */
static void send_bytes(struct rig *rig, uint8_t *bytes, size_t size, uint32_t nfds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * SENT_FDS_MAX)];
    } control = {.bytes = {0}};
    struct iovec iov = {bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (rig->peer < 0 || !size)
        return;
    for (size_t i = 0; i < size; i++)
        bytes[i] = bytes[i] == UNSENT ? 0 : bytes[i];
    if (nfds) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        for (uint32_t i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &rig->probe[1], sizeof(int));
    }
    sent = sendmsg(rig->peer, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    assert(sent >= 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET ||
           errno == ETOOMANYREFS || errno == EMFILE);
}

static void send_raw(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1), size = shape % 32;
    uint8_t bytes[32];

    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)number(from, 1);
    send_bytes(rig, bytes, size, shape & 0x80 ? (uint32_t)number(from, 1) % SENT_FDS_MAX : 0);
}

/* A message with a lie or two; the part of it that is sent may end before it does. */
static void send_message(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1);
    uint32_t size = shape & 1 ? (uint32_t)number(from, 2) % 5000 : 4;
    uint32_t lead = shape & 2 ? (uint32_t)number(from, 1) % 4 : 0;
    uint32_t cut = shape & 4 ? (uint32_t)number(from, 2) : UINT32_MAX;
    struct vu_header header = {.id = client_id(rig, lead),
                               .command = shape & 8 ? (uint16_t)number(from, 1) : rig->call.command,
                               .size = shape & 16 ? (uint32_t)number(from, 4)
                                                  : (uint32_t)sizeof(header) + size,
                               .flags = shape & 32 ? (uint32_t)number(from, 1) : VU_FLAG_REPLY,
                               .error = shape & 32 ? (uint32_t)number(from, 2) : 0};
    uint32_t nfds = shape & 64 ? (uint32_t)number(from, 1) % SENT_FDS_MAX : 0;
    uint8_t *bytes = calloc(1, sizeof(header) + size);

    assert(bytes);
    memcpy(bytes, &header, sizeof(header));
    cut = cut < sizeof(header) + size ? cut : (uint32_t)sizeof(header) + size;
    send_bytes(rig, bytes, cut, nfds);
    free(bytes);
}

static void hear(struct rig *rig)
{
    char bin[1 << 16];

    while (rig->peer >= 0 && recv(rig->peer, bin, sizeof(bin), MSG_DONTWAIT) > 0)
        ;
}

static void hang_up(struct rig *rig)
{
    if (rig->peer >= 0)
        close(rig->peer);
    rig->peer = -1;
}

/* No further file can be opened, or it can again. */
static void limit_files(bool on)
{
    static struct rlimit usual;
    struct rlimit limit;

    if (!usual.rlim_cur)
        assert(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    limit = usual;
    if (on)
        limit.rlim_cur = 3;
    assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void step(struct rig *rig, struct reader *from)
{
    switch (number(from, 1) % 12) {
    case 0:
    case 1:
        begin_call(rig, from);
        break;
    case 2:
        run_call(rig, 0, 1 + (uint32_t)number(from, 1) % 8);
        break;
    case 3:
        end_call(rig);
        break;
    case 4:
    case 5:
        send_message(rig, from);
        break;
    case 6:
        send_raw(rig, from);
        break;
    case 7:
        hear(rig);
        break;
    case 8:
        reach_register(rig, from);
        break;
    case 9:
        limit_files(number(from, 1) & 1);
        break;
    case 10:
        vu_conn_limit(rig->conn, number(from, 1) & 1 ? 1 : -1, 1);
        break;
    default:
        if (number(from, 1) % 4 == 0)
            hang_up(rig);
        else
            run_call(rig, 1, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader from = {data, size};
    struct rig rig = {.next_id = 0};
    struct pollfd left;
    int ends[2];

    alarm(HANG);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    assert(pipe2(rig.probe, O_CLOEXEC) == 0);
    rig.peer = ends[1];
    rig.conn = vu_conn_new(ends[0]);
    rig.bar = bar_io_new_user(rig.conn, 0, BAR_SIZE, 2000);
    assert(rig.conn && rig.bar);
    for (uint32_t i = 0; i < STEPS && from.left; i++)
        step(&rig, &from);
    limit_files(false);
    end_call(&rig);
    bar_io_free(rig.bar);
    vu_conn_free(rig.conn);
    assert(fcntl(ends[0], F_GETFD) < 0);
    hang_up(&rig);
    assert(close(rig.probe[1]) == 0);
    left = (struct pollfd){.fd = rig.probe[0], .events = POLLIN};
    assert(poll(&left, 1, 0) == 1 && left.revents == POLLHUP); /* nobody has what was passed */
    assert(close(rig.probe[0]) == 0);
    alarm(0);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const seeds[] = {
        "0000040400"
        "0203", /* a request and its answer */
        "000004"
        "03"
        "000004"
        "0402010400"
        "0203", /* the first one is given up */
        "0001100404"
        "4103000202"
        "0203", /* an answer that is longer than its room, with descriptors */
        "000004"
        "0402020203"
        "44050003"
        "0207", /* a stray message, then descriptors in vain */
        "000004"
        "060505000102030402"
        "0203", /* garbage, cut */
        "000004"
        "0b00"
        "0203", /* it hangs up */
        "0007ff0407"
        "020b01"
        "03", /* a message that does not fit into the socket, given up */
        "080002"
        "08000402", /* a register */
        "0901"
        "000004"
        "4440030201"
        "0203"
        "0900"
        "0203", /* no more files */
        "002004"
        "0b01"
        "0a01"
        "0b01"
        "02", /* deadlines */
        "000004"
        "0506020120"
        "000203"
        "03"
        "000004"
        "06040000"
        "0207", /* an answer ahead of its question */
    };

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
        fuzz_keep_hex(seeds[i]);
    return fuzz_main(argc, argv);
}
