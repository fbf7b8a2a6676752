/* SPDX-License-Identifier: BSD-3-Clause */
/* What every file of this room needs: settings, messages, the program's memory, signals. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "preload/preload.h"
#include "preload/real.h"

struct preload_settings preload = {.iova_bits = 48};
struct slot preload_slots[PRELOAD_MAX_SLOTS];
unsigned preload_slot_count;
pthread_mutex_t preload_lock = PTHREAD_MUTEX_INITIALIZER;

void preload_enter(sigset_t *saved)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, saved, 8);
}

void preload_leave(const sigset_t *saved)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, 8);
}

/* One write: lines of several threads do not mix, and it may be called from a signal handler. */
void preload_say(const char *format, ...)
{
    char line[1024] = "iavfio preload: ";
    size_t used = strlen(line);
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(line + used, sizeof(line) - used - 1, format, list);
    va_end(list);
    if (n < 0)
        return;
    used += (size_t)n < sizeof(line) - used - 1 ? (size_t)n : sizeof(line) - used - 2;
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

/* The program's pointers may be wrong: that is EFAULT, as it is from the kernel. */
static int copy(void *local, uintptr_t remote, size_t size, bool in)
{
    struct iovec here = {.iov_base = local, .iov_len = size};
    struct iovec there = {.iov_base = (void *)remote, .iov_len = size};
    ssize_t n = in ? process_vm_readv(getpid(), &here, 1, &there, 1, 0)
                   : process_vm_writev(getpid(), &here, 1, &there, 1, 0);

    if (n == (ssize_t)size)
        return 0;
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) { /* forbidden by a sandbox */
        if (in)
            memcpy(local, (const void *)remote, size);
        else
            memcpy((void *)remote, local, size);
        return 0;
    }
    return -EFAULT;
}

int preload_copy_in(void *to, const void *from, size_t size)
{
    return copy(to, (uintptr_t)from, size, true);
}

int preload_copy_out(void *to, const void *from, size_t size)
{
    return copy((void *)(uintptr_t)from, (uintptr_t)to, size, false);
}

bool preload_foreign(void)
{
    return (pid_t)syscall(SYS_getpid) != preload.owner;
}
