/* SPDX-License-Identifier: BSD-3-Clause */
/* A write to an eventfd whose counter is full blocks unless O_NONBLOCK is set, and that flag belongs to the
 * open file, which the client shares and may change at any moment; a look before the write does not help
 * either, since the client may fill the counter in between, and RWF_NOWAIT is refused for such a write. So
 * nothing is written: a read of no bytes from /dev/null is submitted as asynchronous I/O whose end the kernel
 * signals on the eventfd (IOCB_FLAG_RESFD; io_submit(2)). It does so from contexts that cannot sleep: the
 * counter is added to as far as it goes, whatever the flags (docs/spec/reliability.md D6). */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "softvf/signal.h"

#define IN_FLIGHT 64 /* operations whose ends have not been taken */

int signal_open(struct signaller *signaller)
{
    signaller->context = 0;
    signaller->source = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (signaller->source < 0)
        return -errno;
    if (syscall(SYS_io_setup, IN_FLIGHT, &signaller->context)) {
        int error = errno;

        close(signaller->source);
        signaller->source = -1;
        return -error;
    }
    return 0;
}

void signal_close(struct signaller *signaller)
{
    if (signaller->source < 0)
        return;
    syscall(SYS_io_destroy, signaller->context);
    close(signaller->source);
    signaller->source = -1;
}

/* All operations have ended when they are submitted; their ends only take room. */
static void take_ends(struct signaller *signaller)
{
    struct io_event ends[IN_FLIGHT];
    struct timespec now = {0};

    syscall(SYS_io_getevents, signaller->context, 0, IN_FLIGHT, ends, &now);
}

void signal_send(struct signaller *signaller, int fd)
{
    struct iocb operation = {.aio_lio_opcode = IOCB_CMD_PREAD,
                             .aio_fildes = (uint32_t)signaller->source,
                             .aio_flags = IOCB_FLAG_RESFD,
                             .aio_resfd = (uint32_t)fd};
    struct iocb *list = &operation;

    if (syscall(SYS_io_submit, signaller->context, 1, &list) == 1 || errno != EAGAIN)
        return;
    take_ends(signaller);
    syscall(SYS_io_submit, signaller->context, 1, &list);
}
