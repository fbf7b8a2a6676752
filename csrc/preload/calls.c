/* SPDX-License-Identifier: BSD-3-Clause */
/* The program's calls on descriptors: ours are served here, all others go on to the kernel. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "preload/preload.h"
#include "preload/real.h"

#define HOOK __attribute__((visibility("default")))

static int locked_ioctl(int fd, unsigned long request, void *arg)
{
    enum preload_kind kind;
    void *object = file_object(fd, &kind);

    switch (kind) {
    case KIND_CONTAINER:
        return container_ioctl(object, request, arg);
    case KIND_GROUP:
        return group_ioctl(object, request, arg);
    case KIND_DEVICE:
        return device_ioctl(object, request, arg);
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
    if (!file_is_ours(fd))
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
    enum preload_kind kind;
    void *object;

    pthread_mutex_lock(&preload_lock);
    object = file_object(fd, &kind);
    pthread_mutex_unlock(&preload_lock);
    return kind == KIND_DEVICE ? object : NULL;
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
        if (file_is_ours(fd))                                                                      \
            return transfer(fd, data, count, at, false);                                           \
        return syscall(SYS_pread64, fd, data, count, at);                                          \
    }                                                                                              \
    HOOK ssize_t writes(int fd, const void *data, size_t count, off64_t at)                        \
    {                                                                                              \
        if (file_is_ours(fd))                                                                      \
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

    if (!(flags & MAP_ANONYMOUS) && file_is_ours(fd)) {
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
