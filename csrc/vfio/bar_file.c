/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that a vfio-user server gives for a BAR. By raw system calls: the library that `iavfio preload` puts
 * in front of libc has its own fcntl and fstat. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vfio/cdef.h"

/* Whoever touches a page while its file is punched waits until all of it is: some 10 ms for so much. A VF's BARs
 * take less than a MiB (docs/spec/registers.md 2). */
#define MOST_BYTES (64ll << 20)

/* Only memory knows seals, and to ask for them calls no code of the file system, which might wait as well: so that
 * question comes first. */
const char *bar_file_unfit(int fd, uint64_t end)
{
    long seals = syscall(SYS_fcntl, fd, F_GET_SEALS, 0);
    struct statfs system;
    struct stat facts;

    if (seals < 0)
        return "is no memory, so that an access may wait for a disk or for the server";
    if (!(seals & F_SEAL_SHRINK))
        return "may be cut short";
    if (syscall(SYS_fstat, fd, &facts) || syscall(SYS_fstatfs, fd, &system))
        return "cannot be looked at";
    if (system.f_type == HUGETLBFS_MAGIC)
        return "lies in huge pages, which may be taken away";
    if (facts.st_size > MOST_BYTES)
        return "is too large, so that an access may wait while the server punches holes into it";
    if (end > (uint64_t)facts.st_size)
        return "is too short";
    return NULL;
}
