/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio/cdef.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define MPOL_BIND 2

/* Maps every page now, since a page fault on the hot path comes too late. The pages are allocated: writing
 * to one that the system has no memory for would be a SIGBUS. */
int memory_prefault(void *address, uint64_t size, uint64_t page_size)
{
    if (madvise(address, size, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    for (uint64_t at = 0; at < size; at += page_size) /* before Linux 5.14 */
        *((volatile char *)address + at) = 0;
    return 0;
}

int memory_bind_node(void *address, uint64_t size, int node)
{
    unsigned long mask[16] = {0};

    if (node < 0 || node >= 1024)
        return -EINVAL;
    mask[node / 64] = 1ul << (node % 64);
    return syscall(SYS_mbind, address, size, MPOL_BIND, mask, 1024ul, 0u) ? -errno : 0;
}

/* For a forked child: its views stay readable, and nothing it does reaches the parent's device. */
int memory_replace_with_zeros(void *address, uint64_t size)
{
    void *at =
        mmap(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    return at == address ? 0 : -errno;
}

/* Lays pages of a file over an existing mapping of `count` pages, in the order of `offsets`. */
int memory_arrange(void *address, int fd, const uint64_t *offsets, uint64_t count, uint64_t page)
{
    for (uint64_t i = 0; i < count; i++) {
        void *want = (char *)address + i * page;
        void *at = mmap(want, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
                        fd, (off_t)offsets[i]);

        if (at != want)
            return -errno;
    }
    return 0;
}

/* Pages of a file go back to the system; whoever maps them would find new ones. */
int memory_give_back(int fd, uint64_t offset, uint64_t size)
{
    int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    return fallocate(fd, how, (off_t)offset, (off_t)size) ? -errno : 0;
}
