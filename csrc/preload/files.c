/* SPDX-License-Identifier: BSD-3-Clause */
/* File descriptors of containers, groups and devices, and the calls on them. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "preload/preload.h"
#include "preload/real.h"

#define HOOK __attribute__((visibility("default")))

/* Copies made by dup share what they lead to. */
struct file {
    enum preload_kind kind;
    unsigned fds;
    void *object;
};

static struct file *files[PRELOAD_MAX_FD];

static struct file *file_at(int fd)
{
    if (fd < 0 || fd >= PRELOAD_MAX_FD)
        return NULL;
    return __atomic_load_n(&files[fd], __ATOMIC_ACQUIRE);
}

/* Ours: not an ordinary file, nor a device of the process that we were forked from. */
static bool is_ours(int fd)
{
    return file_at(fd) && !preload_foreign();
}

enum preload_kind file_kind(int fd)
{
    const struct file *file = file_at(fd);

    return file ? file->kind : KIND_NONE;
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

/* A real descriptor with the manners of VFIO's own: always ready for poll, refused by epoll, no regular
 * file; what is not hooked does nothing. */
int file_new(enum preload_kind kind, void *object)
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
    *file = (struct file){.kind = kind, .fds = 1, .object = object};
    store(fd, file);
    return fd;
}

static int open_locked(const char *name)
{
    struct container *container;
    char *end;
    unsigned long number;
    int fd;

    if (strcmp(name, "vfio") == 0) {
        container = container_new();
        if (!container)
            return -ENOMEM;
        fd = file_new(KIND_CONTAINER, container);
        if (fd < 0)
            container_put(container);
        return fd;
    }
    number = strtoul(name, &end, 10);
    for (unsigned i = 0; i < preload_slot_count; i++) {
        int result;

        if (end == name || *end || preload_slots[i].group != number)
            continue;
        result = group_open(&preload_slots[i]);
        if (result)
            return result;
        fd = file_new(KIND_GROUP, &preload_slots[i]);
        if (fd < 0)
            group_close(&preload_slots[i]);
        return fd;
    }
    return -ENOENT;
}

/* Whether `path` is one of VFIO's; then *fd is a descriptor or a negative errno. */
int file_open(const char *path, int *fd)
{
    static const char directory[] = "/dev/vfio/";
    sigset_t saved;
    const char *name = path + sizeof(directory) - 1;

    if (strncmp(path, directory, sizeof(directory) - 1) != 0 || preload_foreign() || !*name ||
        strchr(name, '/'))
        return 0;
    preload_enter(&saved);
    pthread_mutex_lock(&preload_lock);
    *fd = open_locked(name);
    pthread_mutex_unlock(&preload_lock);
    preload_leave(&saved);
    if (preload.trace)
        preload_say("open %s = %d", path, *fd);
    return 1;
}

static void put(struct file *file)
{
    if (--file->fds)
        return;
    switch (file->kind) {
    case KIND_CONTAINER:
        container_put(file->object);
        break;
    case KIND_GROUP:
        group_close(file->object);
        break;
    case KIND_DEVICE:
        device_close(file->object);
        break;
    case KIND_NONE:
        break;
    }
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
    if (is_ours(fd))
        forget(fd);
    return real_close(fd);
}

int close_range(unsigned first, unsigned last, int flags);
HOOK int close_range(unsigned first, unsigned last, int flags)
{
    for (unsigned fd = first; flags == 0 && fd <= last && fd < PRELOAD_MAX_FD; fd++)
        if (is_ours((int)fd))
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
    if (is_ours(to)) /* dup2 over one of ours */
        forget(to);
    if (!is_ours(from))
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

static int locked_ioctl(int fd, unsigned long request, void *arg)
{
    struct file *file = file_at(fd);

    switch (file ? file->kind : KIND_NONE) {
    case KIND_CONTAINER:
        return container_ioctl(file->object, request, arg);
    case KIND_GROUP:
        return group_ioctl(file->object, request, arg);
    case KIND_DEVICE:
        return device_ioctl(file->object, request, arg);
    default:
        return -EBADF;
    }
}

HOOK int ioctl(int fd, unsigned long request, ...)
{
    sigset_t saved;
    va_list list;
    void *arg;
    int result;

    va_start(list, request);
    arg = va_arg(list, void *);
    va_end(list);
    if (!is_ours(fd))
        return (int)syscall(SYS_ioctl, fd, request, arg);
    preload_enter(&saved);
    pthread_mutex_lock(&preload_lock);
    result = locked_ioctl(fd, request, arg);
    pthread_mutex_unlock(&preload_lock);
    preload_leave(&saved);
    if (preload.trace)
        preload_say("ioctl %d %#lx = %d", fd, request, result);
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

/* The device behind fd, NULL: none. Slots live as long as the process. */
static struct slot *device_of(int fd)
{
    struct file *file;
    struct slot *slot = NULL;

    pthread_mutex_lock(&preload_lock);
    file = file_at(fd);
    if (file && file->kind == KIND_DEVICE)
        slot = file->object;
    pthread_mutex_unlock(&preload_lock);
    return slot;
}

static ssize_t transfer(int fd, void *data, size_t count, off64_t at, bool write)
{
    sigset_t saved;
    struct slot *slot;
    ssize_t result = -EBADF;

    preload_enter(&saved);
    slot = device_of(fd);
    if (slot && at < 0)
        result = -EINVAL;
    else if (slot)
        result = write ? device_write(slot, data, count, (uint64_t)at)
                       : device_read(slot, data, count, (uint64_t)at);
    preload_leave(&saved);
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

#define TRANSFER_HOOKS(reads, writes)                                                              \
    HOOK ssize_t reads(int fd, void *data, size_t count, off64_t at)                               \
    {                                                                                              \
        if (is_ours(fd))                                                                           \
            return transfer(fd, data, count, at, false);                                           \
        return syscall(SYS_pread64, fd, data, count, at);                                          \
    }                                                                                              \
    HOOK ssize_t writes(int fd, const void *data, size_t count, off64_t at)                        \
    {                                                                                              \
        if (is_ours(fd))                                                                           \
            return transfer(fd, (void *)(uintptr_t)data, count, at, true);                         \
        return syscall(SYS_pwrite64, fd, data, count, at);                                         \
    }
TRANSFER_HOOKS(pread, pwrite)
TRANSFER_HOOKS(pread64, pwrite64)

ssize_t __pread_chk(int fd, void *data, size_t count, off64_t at, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t count, off64_t at, size_t room);

HOOK ssize_t __pread_chk(int fd, void *data, size_t count, off64_t at, size_t room)
{
    return pread(fd, data, count < room ? count : room, at);
}

HOOK ssize_t __pread64_chk(int fd, void *data, size_t count, off64_t at, size_t room)
{
    return pread(fd, data, count < room ? count : room, at);
}

static void *map(void *address, size_t length, int prot, int flags, int fd, off64_t at)
{
    sigset_t saved;
    struct slot *slot;
    void *result = MAP_FAILED;

    if (!(flags & MAP_ANONYMOUS) && is_ours(fd)) {
        preload_enter(&saved);
        slot = device_of(fd);
        errno = ENODEV;
        if (slot)
            result = device_mmap(slot, address, length, prot, flags, (uint64_t)at);
        preload_leave(&saved);
        return result;
    }
    if (flags & MAP_FIXED && preload.ready && !preload_foreign()) {
        trap_remove((uint64_t)(uintptr_t)address, length);
        memory_unmapped((uint64_t)(uintptr_t)address, length);
    }
    return real_mmap(address, length, prot, flags, fd, (uint64_t)at);
}

HOOK void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t at)
{
    return map(address, length, prot, flags, fd, at);
}

HOOK void *mmap64(void *address, size_t length, int prot, int flags, int fd, off64_t at)
{
    return map(address, length, prot, flags, fd, at);
}

HOOK int munmap(void *address, size_t length)
{
    /* First: once it is unmapped, another thread may get the address. */
    if (preload.ready && !preload_foreign()) {
        trap_remove((uint64_t)(uintptr_t)address, length);
        memory_unmapped((uint64_t)(uintptr_t)address, length);
    }
    return real_munmap(address, length);
}
