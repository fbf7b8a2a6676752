/* SPDX-License-Identifier: BSD-3-Clause */
/* sysfs and /dev/vfio as the program sees them: parts of them are the made-up tree. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "preload/preload.h"
#include "preload/real.h"

#define HOOK __attribute__((visibility("default")))

/* A path is moved when it is one of these, or lies below one. */
static const char *const moved_trees[] = {
    "/sys/bus/pci",         "/sys/kernel/iommu_groups",     "/sys/module/vfio",
    "/sys/module/vfio_pci", "/sys/module/vfio_iommu_type1", "/dev/vfio",
    "/dev/iommu",
};

const char *path_moved(const char *path, char *room, size_t size)
{
    if (!preload.ready || !path || path[0] != '/')
        return path;
    for (size_t i = 0; i < sizeof(moved_trees) / sizeof(moved_trees[0]); i++) {
        size_t length = strlen(moved_trees[i]);

        if (strncmp(path, moved_trees[i], length) == 0 &&
            (path[length] == '/' || path[length] == '\0')) {
            if (snprintf(room, size, "%s%s", preload.root, path) >= (int)size)
                return path;
            return room;
        }
    }
    return path;
}

static int open_path(int at, const char *path, int flags, mode_t mode)
{
    char room[PATH_MAX];
    int fd;

    if (preload.ready && path && !(flags & O_PATH) && open_vfio(path, &fd)) {
        if (fd >= 0)
            return fd;
        errno = -fd;
        return -1;
    }
    return real_openat(at, path_moved(path, room, sizeof(room)), flags, mode);
}

/* Every spelling of open that libc has: `mode` is only there when the flags say so. */
#define OPEN_HOOKS(plain, at)                                                                      \
    HOOK int plain(const char *path, int flags, ...)                                               \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                      \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
        return open_path(AT_FDCWD, path, flags, mode);                                             \
    }                                                                                              \
    HOOK int at(int directory, const char *path, int flags, ...)                                   \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                      \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
        return open_path(directory, path, flags, mode);                                            \
    }
OPEN_HOOKS(open, openat)
OPEN_HOOKS(open64, openat64)

/* What a fortified program calls. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);

HOOK int __open_2(const char *path, int flags)
{
    return open_path(AT_FDCWD, path, flags, 0);
}

HOOK int __open64_2(const char *path, int flags)
{
    return open_path(AT_FDCWD, path, flags, 0);
}

HOOK int __openat_2(int at, const char *path, int flags)
{
    return open_path(at, path, flags, 0);
}

HOOK int __openat64_2(int at, const char *path, int flags)
{
    return open_path(at, path, flags, 0);
}

/* struct stat is the same for both spellings and for the kernel on 64-bit machines. */
#define STAT_HOOKS(plain, link, at, type)                                                          \
    HOOK int at(int directory, const char *restrict path, struct type *restrict facts, int flags)  \
    {                                                                                              \
        char room[PATH_MAX];                                                                       \
        return (int)syscall(SYS_newfstatat, directory, path_moved(path, room, sizeof(room)),       \
                            facts, flags);                                                         \
    }                                                                                              \
    HOOK int plain(const char *restrict path, struct type *restrict facts)                         \
    {                                                                                              \
        return at(AT_FDCWD, path, facts, 0);                                                       \
    }                                                                                              \
    HOOK int link(const char *restrict path, struct type *restrict facts)                          \
    {                                                                                              \
        return at(AT_FDCWD, path, facts, AT_SYMLINK_NOFOLLOW);                                     \
    }
STAT_HOOKS(stat, lstat, fstatat, stat)
STAT_HOOKS(stat64, lstat64, fstatat64, stat64)

HOOK int statx(int at, const char *restrict path, int flags, unsigned wanted,
               struct statx *restrict facts)
{
    char room[PATH_MAX];

    return (int)syscall(SYS_statx, at, path_moved(path, room, sizeof(room)), flags, wanted, facts);
}

HOOK int access(const char *path, int mode)
{
    char room[PATH_MAX];

    return (int)syscall(SYS_faccessat, AT_FDCWD, path_moved(path, room, sizeof(room)), mode);
}

HOOK ssize_t readlinkat(int at, const char *restrict path, char *restrict target, size_t size)
{
    char room[PATH_MAX];

    return syscall(SYS_readlinkat, at, path_moved(path, room, sizeof(room)), target, size);
}

HOOK ssize_t readlink(const char *restrict path, char *restrict target, size_t size)
{
    return readlinkat(AT_FDCWD, path, target, size);
}

/* ls asks for access control lists. */
HOOK ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
    char room[PATH_MAX];

    return syscall(SYS_getxattr, path_moved(path, room, sizeof(room)), name, value, size);
}

HOOK ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    char room[PATH_MAX];

    return syscall(SYS_lgetxattr, path_moved(path, room, sizeof(room)), name, value, size);
}

/* libc's own calls inside these are not hooked: they are called with the moved path. */
#define NEXT(type, name) ((type)(uintptr_t)dlsym(RTLD_NEXT, name))
typedef FILE *(*fopen_type)(const char *, const char *);
typedef DIR *(*opendir_type)(const char *);
typedef char *(*realpath_type)(const char *, char *);
typedef int (*scandir_type)(const char *, struct dirent ***, int (*)(const struct dirent *),
                            int (*)(const struct dirent **, const struct dirent **));

HOOK FILE *fopen(const char *restrict path, const char *restrict mode)
{
    char room[PATH_MAX];

    return NEXT(fopen_type, "fopen")(path_moved(path, room, sizeof(room)), mode);
}

HOOK FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    return fopen(path, mode);
}

HOOK DIR *opendir(const char *path)
{
    char room[PATH_MAX];

    return NEXT(opendir_type, "opendir")(path_moved(path, room, sizeof(room)));
}

HOOK int scandir(const char *restrict path, struct dirent ***restrict names,
                 int (*filter)(const struct dirent *),
                 int (*order)(const struct dirent **, const struct dirent **))
{
    char room[PATH_MAX];

    return NEXT(scandir_type, "scandir")(path_moved(path, room, sizeof(room)), names, filter,
                                         order);
}

HOOK char *realpath(const char *restrict path, char *restrict resolved)
{
    char room[PATH_MAX];

    return NEXT(realpath_type, "realpath")(path_moved(path, room, sizeof(room)), resolved);
}
