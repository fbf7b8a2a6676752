/* SPDX-License-Identifier: BSD-3-Clause */
/* A write to an eventfd whose counter is full blocks unless O_NONBLOCK is set, and that flag belongs to the
 * open file, which the client shares and may change at any moment; a look before the write does not help
 * either, since the client may fill the counter in between, and RWF_NOWAIT is refused for such a write. So
 * nothing is written: a read of no bytes from /dev/null is submitted as asynchronous I/O whose end the kernel
 * signals on the eventfd (IOCB_FLAG_RESFD; io_submit(2)). It does so from contexts that cannot sleep: the
 * counter is added to as far as it goes, whatever the flags (docs/spec/reliability.md D6).
 *
 * The signal itself calls each waiter of the eventfd, and a client may let a hundred thousand entries of epolls
 * wait for one. It is timed, by the thread's own processor time, which a busy machine does not lengthen. While a
 * VF is known for slow ones a thread signals for it that has the least priority there is. (An asynchronous fsync,
 * whose end the kernel's threads signal, needs no thread, but those keep the processor of who submitted it.) */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "softvf/clock.h"
#include "softvf/signal.h"

#define IN_FLIGHT 64 /* operations whose ends have not been taken */
#define AWAY_EACH 4 /* signals of one VF, by the other thread: what is more is lost */
#define SLOW_NS 100000ull /* some 1000 waiters; one takes 2000 */
/* A slow signal counts two, and a quick one takes one back: a host that takes the processor from a virtual machine makes
 * some long, those who wait make long each one. */
#define TOO_OFTEN 8u
#define SLOW_FOR_NS 60000000000ull
/* As long as a slow signal took, before the VF's next one: a waiter is called with interrupts off. */
#define PAUSES 15u
#define LEAST_PRIORITY 19

int signal_open(struct signaller *signaller)
{
    int result;

    *signaller = (struct signaller){.source = open("/dev/null", O_RDONLY | O_CLOEXEC)};
    if (signaller->source >= 0 && !syscall(SYS_io_setup, IN_FLIGHT, &signaller->context))
        return 0;
    result = -errno;
    signal_close(signaller);
    return result;
}

void signal_close(struct signaller *signaller)
{
    if (signaller->running) {
        close(signaller->line[1]);
        pthread_join(signaller->thread, NULL);
        close(signaller->line[0]);
        syscall(SYS_io_destroy, signaller->away);
    }
    if (signaller->context)
        syscall(SYS_io_destroy, signaller->context);
    if (signaller->source >= 0)
        close(signaller->source);
    *signaller = (struct signaller){.source = -1};
}

/* All operations have ended when they are submitted; their ends only take room. */
static void take_ends(aio_context_t context)
{
    struct io_event ends[IN_FLIGHT];
    struct timespec now = {0};

    syscall(SYS_io_getevents, context, 0, IN_FLIGHT, ends, &now);
}

static void send_now(const struct signaller *signaller, aio_context_t context, int fd)
{
    struct iocb operation = {.aio_lio_opcode = IOCB_CMD_PREAD,
                             .aio_fildes = (uint32_t)signaller->source,
                             .aio_flags = IOCB_FLAG_RESFD,
                             .aio_resfd = (uint32_t)fd};
    struct iocb *list = &operation;

    if (syscall(SYS_io_submit, context, 1, &list) == 1 || errno != EAGAIN)
        return;
    take_ends(context);
    syscall(SYS_io_submit, context, 1, &list);
}

static bool is_slow(const struct signaller *signaller, uint32_t vf)
{
    return signaller->slow_until[vf] && clock_ns() < signaller->slow_until[vf];
}

bool signal_ready(struct signaller *signaller, uint32_t vf)
{
    return !is_slow(signaller, vf) ||
           (!__atomic_load_n(&signaller->away_of[vf], __ATOMIC_ACQUIRE) &&
            clock_ns() >= __atomic_load_n(&signaller->paused_until[vf], __ATOMIC_RELAXED));
}

/* A duplicate of an eventfd, on its way to the other thread, which closes it. */
struct away {
    uint32_t vf;
    int fd;
};

static void *run(void *argument)
{
    struct signaller *signaller = argument;
    struct away away;

    setpriority(PRIO_PROCESS, (id_t)gettid(), LEAST_PRIORITY);
    while (read(signaller->line[0], &away, sizeof(away)) == sizeof(away)) {
        uint64_t start = clock_thread_ns(), took;

        send_now(signaller, signaller->away, away.fd);
        close(away.fd);
        took = clock_thread_ns() - start;
        if (took >= SLOW_NS)
            __atomic_store_n(&signaller->paused_until[away.vf], clock_ns() + PAUSES * took,
                             __ATOMIC_RELAXED);
        __atomic_sub_fetch(&signaller->away_of[away.vf], 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* The other thread, and the context that it submits to, are made when they are needed for the first time: the end of
 * a context takes the kernel some 30 ms, which every end of a software VF would wait for. */
static bool begin(struct signaller *signaller)
{
    if (signaller->running)
        return true;
    if (syscall(SYS_io_setup, IN_FLIGHT, &signaller->away))
        return false;
    if (!pipe2(signaller->line, O_CLOEXEC)) {
        signaller->running = !pthread_create(&signaller->thread, NULL, run, signaller);
        if (signaller->running)
            return true;
        close(signaller->line[0]);
        close(signaller->line[1]);
    }
    syscall(SYS_io_destroy, signaller->away);
    signaller->away = 0;
    return false;
}

static void send_away(struct signaller *signaller, uint32_t vf, int fd)
{
    struct away away = {.vf = vf};

    /* All that is on its way fits into the pipe: nobody waits here. */
    if (__atomic_load_n(&signaller->away_of[vf], __ATOMIC_ACQUIRE) == AWAY_EACH ||
        clock_ns() < __atomic_load_n(&signaller->paused_until[vf], __ATOMIC_RELAXED))
        return;
    away.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (away.fd < 0)
        return;
    __atomic_add_fetch(&signaller->away_of[vf], 1, __ATOMIC_RELAXED);
    if (write(signaller->line[1], &away, sizeof(away)) != sizeof(away)) {
        close(away.fd);
        __atomic_sub_fetch(&signaller->away_of[vf], 1, __ATOMIC_RELAXED);
    }
}

uint64_t signal_send(struct signaller *signaller, uint32_t vf, int fd)
{
    uint64_t start, took;

    if (is_slow(signaller, vf) && begin(signaller)) {
        send_away(signaller, vf, fd);
        return 0;
    }
    start = clock_thread_ns();
    send_now(signaller, signaller->context, fd);
    took = clock_thread_ns() - start;
    if (took < SLOW_NS) {
        if (signaller->slow[vf])
            signaller->slow[vf]--;
        return 0;
    }
    signaller->slow[vf] += 2;
    if (signaller->slow[vf] < TOO_OFTEN)
        return 0;
    signaller->slow[vf] = 0;
    signaller->slow_until[vf] = clock_ns() + SLOW_FOR_NS;
    return took;
}
