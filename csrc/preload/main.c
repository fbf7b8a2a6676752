/* SPDX-License-Identifier: BSD-3-Clause */
/* Start: what `iavfio preload` prepared is read from the directory in IAVFIO_PRELOAD. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "preload/preload.h"
#include "preload/real.h"
#include "vfio/vu_conn.h"

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

/* A forked child starts anew, so that a daemon may open its devices. It must not keep the parent's sockets
 * open, or the software VF would not see the parent go. Locks may have been held at the fork. */
static void in_child(void)
{
    preload.owner = getpid();
    pthread_mutex_init(&preload_lock, NULL);
    files_forget_all();
    trap_orphan();
    for (unsigned i = 0; i < preload_slot_count; i++) {
        struct slot *slot = &preload_slots[i];

        if (slot->conn)
            vu_conn_abandon(slot->conn);
        slot->conn = NULL; /* left behind: its lock may never be free again */
        slot->container = NULL;
        slot->group_fds = slot->device_fds = 0;
        pthread_rwlock_init(&slot->lock, NULL);
        for (int r = 0; r < PRELOAD_REGIONS; r++) {
            if (slot->region[r].fd >= 0)
                real_close(slot->region[r].fd);
            slot->region[r].fd = -1;
        }
    }
}

static char *read_devices(void)
{
    char path[sizeof(preload.root) + 16];
    size_t room = (sizeof(struct slot) + 16) * PRELOAD_MAX_SLOTS;
    char *text = malloc(room);
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof(path), "%s/devices", preload.root);
    fd = real_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        n = text ? read(fd, text, room - 1) : -1;
        real_close(fd);
    }
    if (n < 0) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

static void add_slot(const char *line)
{
    struct slot *slot = &preload_slots[preload_slot_count];

    if (preload_slot_count == PRELOAD_MAX_SLOTS ||
        sscanf(line, "%u %15s %127[^\n]", &slot->group, slot->bdf, slot->socket) != 3)
        return;
    pthread_rwlock_init(&slot->lock, NULL);
    for (int i = 0; i < PRELOAD_REGIONS; i++)
        slot->region[i].fd = -1;
    preload_slot_count++;
}

__attribute__((constructor)) static void start(void)
{
    const char *root = getenv("IAVFIO_PRELOAD");
    const char *bits = getenv("IAVFIO_PRELOAD_IOVA_BITS");
    char *text;

    if (!root || root[0] != '/' || strlen(root) >= sizeof(preload.root))
        return;
    strcpy(preload.root, root);
    text = read_devices();
    if (!text) {
        preload_say("%s/devices cannot be read: this process sees no software VF", root);
        return;
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        add_slot(line);
    free(text);
    if (bits && atoi(bits) >= 32 && atoi(bits) <= 57)
        preload.iova_bits = (unsigned)atoi(bits);
    preload.sparse = getenv("IAVFIO_PRELOAD_SPARSE") != NULL;
    preload.trace = getenv("IAVFIO_PRELOAD_TRACE") != NULL;
    preload.owner = getpid();
    pthread_atfork(NULL, NULL, in_child);
    trap_start();
    preload.ready = true;
}
