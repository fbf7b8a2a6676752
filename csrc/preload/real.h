/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls past our own hooks, without looking anything up in libc. */
#ifndef IAVFIO_PRELOAD_REAL_H
#define IAVFIO_PRELOAD_REAL_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline int real_openat(int at, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, at, path, flags, mode);
}

static inline int real_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static inline void *real_mmap(void *address, size_t length, int prot, int flags, int fd,
                              uint64_t offset)
{
    return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
}

static inline int real_munmap(void *address, size_t length)
{
    return (int)syscall(SYS_munmap, address, length);
}

#endif
