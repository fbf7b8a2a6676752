/* SPDX-License-Identifier: BSD-3-Clause */
/* File descriptors of containers, groups and devices. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/real.h"

#define HOOK __attribute__((visibility("default")))

/* Copies made by dup share what they lead to. */
struct file {
    enum preload_kind kind;
    unsigned fds;
    void *object;
    void (*release)(void *object); /* when the last fd is closed */
};

static struct file *files[PRELOAD_MAX_FD];

static struct file *file_at(int fd)
{
    if (fd < 0 || fd >= PRELOAD_MAX_FD)
        return NULL;
    return __atomic_load_n(&files[fd], __ATOMIC_ACQUIRE);
}

/* Ours: not an ordinary file, nor a device of the process that we were forked from. */
bool file_is_ours(int fd)
{
    return file_at(fd) && !preload_foreign();
}

/* What fd leads to; called with preload_lock held. */
void *file_object(int fd, enum preload_kind *kind)
{
    struct file *file = file_at(fd);

    *kind = file ? file->kind : KIND_NONE;
    return file ? file->object : NULL;
}

struct container *file_container(int fd)
{
    struct file *file = file_at(fd);

    return file && file->kind == KIND_CONTAINER ? file->object : NULL;
}

static void store(int fd, struct file *file)
{
    __atomic_store_n(&files[fd], file, __ATOMIC_RELEASE);
}

/* Makes a real descriptor with the properties of VFIO's own: it is always ready for poll, epoll refuses
 * it, it is no regular file, and calls that are not hooked do nothing. */
int file_new(enum preload_kind kind, void *object, void (*release)(void *object))
{
    struct file *file = calloc(1, sizeof(*file));
    int fd;

    if (!file)
        return -ENOMEM;
    fd = real_openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || fd >= PRELOAD_MAX_FD) {
        int error = fd < 0 ? -errno : -EMFILE;

        if (fd >= 0)
            real_close(fd);
        free(file);
        return error;
    }
    *file = (struct file){.kind = kind, .fds = 1, .object = object, .release = release};
    store(fd, file);
    return fd;
}

/* In a forked child: what it inherited leads nowhere, what it opens is its own. */
void files_forget_all(void)
{
    memset(files, 0, sizeof(files));
}

static void put(struct file *file)
{
    if (--file->fds)
        return;
    file->release(file->object);
    free(file);
}

static void forget(int fd)
{
    sigset_t saved;
    struct file *file;

    preload_enter(&saved);
    pthread_mutex_lock(&preload_lock);
    file = file_at(fd);
    if (file) {
        store(fd, NULL);
        put(file);
    }
    pthread_mutex_unlock(&preload_lock);
    preload_leave(&saved);
    if (preload.trace)
        preload_say("close %d", fd);
}

HOOK int close(int fd)
{
    if (file_is_ours(fd))
        forget(fd);
    return real_close(fd);
}

int close_range(unsigned first, unsigned last, int flags);
HOOK int close_range(unsigned first, unsigned last, int flags)
{
    for (unsigned fd = first; flags == 0 && fd <= last && fd < PRELOAD_MAX_FD; fd++)
        if (file_is_ours((int)fd))
            forget((int)fd);
    return (int)syscall(SYS_close_range, first, last, flags);
}

/* What `from` leads to, `to` leads to as well. */
static int share(int from, int to)
{
    sigset_t saved;
    struct file *file;

    if (to < 0 || from == to)
        return to;
    if (file_is_ours(to)) /* dup2 over one of ours */
        forget(to);
    if (!file_is_ours(from))
        return to;
    if (to >= PRELOAD_MAX_FD) {
        real_close(to);
        errno = EMFILE;
        return -1;
    }
    preload_enter(&saved);
    pthread_mutex_lock(&preload_lock);
    file = file_at(from);
    if (file) {
        file->fds++;
        store(to, file);
    }
    pthread_mutex_unlock(&preload_lock);
    preload_leave(&saved);
    return to;
}

HOOK int dup(int fd)
{
    return share(fd, (int)syscall(SYS_dup, fd));
}

HOOK int dup3(int from, int to, int flags)
{
    return share(from, (int)syscall(SYS_dup3, from, to, flags));
}

HOOK int dup2(int from, int to)
{
    if (from == to) /* which dup3 refuses */
        return (int)syscall(SYS_fcntl, from, F_GETFD) < 0 ? -1 : to;
    return dup3(from, to, 0);
}

#define FCNTL_HOOK(name)                                                                           \
    HOOK int name(int fd, int command, ...)                                                        \
    {                                                                                              \
        va_list list;                                                                              \
        long argument;                                                                             \
        int result;                                                                                \
        va_start(list, command);                                                                   \
        argument = va_arg(list, long);                                                             \
        va_end(list);                                                                              \
        result = (int)syscall(SYS_fcntl, fd, command, argument);                                   \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? share(fd, result) : result;      \
    }
FCNTL_HOOK(fcntl)
FCNTL_HOOK(fcntl64)
