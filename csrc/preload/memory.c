/* SPDX-License-Identifier: BSD-3-Clause */
/* The file behind a program's memory, which the software VF needs to reach it (docs/spec/vfio-user.md 4). */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "hw/page.h"
#include "preload/preload.h"
#include "preload/real.h"

#define MAX_MOVED 1024

/* One line of /proc/self/maps. */
struct vma {
    uint64_t start, end, offset;
    uint64_t inode;
    dev_t device;
    bool shared;
    bool readable, writable, executable;
    char name[256];
};

/* Memory without a file that was moved into one of ours; the fd lives until it is unmapped. */
static struct {
    uint64_t start, size;
    int fd;
} moved[MAX_MOVED];
static unsigned moved_count;
static pthread_mutex_t moved_lock = PTHREAD_MUTEX_INITIALIZER;

static int keep(uint64_t start, uint64_t size, int fd)
{
    int result = -ENOMEM;

    pthread_mutex_lock(&moved_lock);
    for (unsigned i = 0; i < MAX_MOVED; i++) {
        if (!moved[i].size) {
            moved[i].start = start;
            moved[i].size = size;
            moved[i].fd = fd;
            __atomic_fetch_add(&moved_count, 1, __ATOMIC_RELEASE);
            result = 0;
            break;
        }
    }
    pthread_mutex_unlock(&moved_lock);
    return result;
}

/* The server's mapping keeps the memory as long as it is mapped for DMA. */
void memory_unmapped(uint64_t address, uint64_t size)
{
    if (!__atomic_load_n(&moved_count, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&moved_lock);
    for (unsigned i = 0; i < MAX_MOVED; i++) {
        if (moved[i].size && moved[i].start >= address &&
            moved[i].start + moved[i].size <= address + size) {
            real_close(moved[i].fd);
            moved[i].size = 0;
            __atomic_fetch_sub(&moved_count, 1, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&moved_lock);
}

/* Copies what is there: a page that was never touched is left a hole, as it was. */
static int copy_pages(int fd, uint64_t start, uint64_t size, bool anonymous)
{
    enum { BATCH = 512 };
    uint64_t entry[BATCH];
    int map = anonymous ? real_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0) : -1;
    int result = 0;

    for (uint64_t at = 0; at < size && result == 0; at += BATCH * PAGE_BYTES) {
        uint64_t pages = (size - at) / PAGE_BYTES < BATCH ? (size - at) / PAGE_BYTES : BATCH;
        bool known = map >= 0 && syscall(SYS_pread64, map, entry, pages * 8,
                                         (start + at) / PAGE_BYTES * 8) == (ssize_t)(pages * 8);

        for (uint64_t i = 0; i < pages && result == 0; i++) {
            const void *page = (const void *)(uintptr_t)(start + at + i * PAGE_BYTES);

            if (known && !(entry[i] >> 62)) /* neither in memory nor swapped out */
                continue;
            if (syscall(SYS_pwrite64, fd, page, PAGE_BYTES, at + i * PAGE_BYTES) !=
                (long)PAGE_BYTES)
                result = -errno;
        }
    }
    if (map >= 0)
        real_close(map);
    return result;
}

/* Puts a memfd in the place of private memory, content and all. Its fd, or a negative errno. */
static int move(const struct vma *vma, uint64_t start, uint64_t size)
{
    int prot = (vma->readable ? PROT_READ : 0) | (vma->writable ? PROT_WRITE : 0) |
               (vma->executable ? PROT_EXEC : 0);
    void *place = (void *)(uintptr_t)start;
    int fd = (int)syscall(SYS_memfd_create, "iavfio-dma", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int result;

    if (fd < 0)
        return -errno;
    moving_begin(start, size);
    if (ftruncate(fd, (off_t)size) || mprotect(place, size, prot & ~PROT_WRITE)) {
        result = -errno;
    } else {
        result = copy_pages(fd, start, size, vma->inode == 0 && !vma->shared);
        /* The server may map the file, but not cut it: that would be the program's SIGBUS. */
        if (result == 0 &&
            syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
            result = -errno;
        if (result == 0 &&
            real_mmap(place, size, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            result = -errno;
        if (result)
            mprotect(place, size, prot);
    }
    moving_end();
    if (result == 0) {
        madvise(place, size, MADV_HUGEPAGE); /* best effort */
        keep(start, size, fd);
        return fd;
    }
    real_close(fd);
    return result;
}

static bool is_file(int fd, const struct vma *vma)
{
    struct stat facts;

    return syscall(SYS_fstat, fd, &facts) == 0 && facts.st_ino == vma->inode &&
           facts.st_dev == vma->device &&
           (syscall(SYS_fcntl, fd, F_GETFL, 0) & O_ACCMODE) == O_RDWR;
}

/* An fd of the file that `vma` maps: one that the program has open (by inode, since the kernel's own
 * links to it need privileges), else by name. */
static int find_fd(const struct vma *vma, bool *own)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    int found = -ENOENT;

    *own = false;
    while (directory && (entry = readdir(directory))) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && is_file(fd, vma)) {
            found = fd;
            break;
        }
    }
    if (directory)
        closedir(directory);
    if (found >= 0 || vma->name[0] != '/')
        return found;
    found = real_openat(AT_FDCWD, vma->name, O_RDWR | O_CLOEXEC, 0);
    if (found >= 0 && !is_file(found, vma)) {
        real_close(found);
        found = -1;
    }
    *own = found >= 0;
    return found >= 0 ? found : -ENOENT;
}

static bool parse(const char *line, struct vma *vma)
{
    char flags[8];
    unsigned long long start, end, offset, inode;
    unsigned major, minor;
    int name = 0;

    if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, flags, &offset, &major,
               &minor, &inode, &name) < 7)
        return false;
    *vma = (struct vma){.start = start, .end = end, .offset = offset, .inode = inode};
    vma->device = makedev(major, minor);
    vma->readable = flags[0] == 'r';
    vma->writable = flags[1] == 'w';
    vma->executable = flags[2] == 'x';
    vma->shared = flags[3] == 's';
    snprintf(vma->name, sizeof(vma->name), "%s", line + name);
    vma->name[strcspn(vma->name, "\n")] = '\0';
    return true;
}

static int piece_of(const struct vma *vma, uint64_t start, uint64_t size, bool writable,
                    struct piece *piece)
{
    bool nameless = strncmp(vma->name, "/dev/zero", 9) == 0; /* shared and anonymous */
    int fd;

    *piece = (struct piece){.size = size, .fd = -1};
    if (trap_covers(start, size)) {
        preload_say("DMA to %#llx, the registers of a device, is not supported",
                    (unsigned long long)start);
        return -EFAULT;
    }
    if (!vma->readable || (writable && !vma->writable))
        return -EFAULT;
    if (vma->shared && !nameless) {
        fd = find_fd(vma, &piece->own);
        if (fd < 0) {
            preload_say("memory at %#llx (%s) cannot be shared with the software VF: its file is "
                        "closed and has no name\n  let the program keep the file: with DPDK leave "
                        "out --legacy-mem or --huge-unlink, or use --in-memory",
                        (unsigned long long)start, vma->name);
            return -EFAULT;
        }
        piece->fd = fd;
        piece->offset = vma->offset + (start - vma->start);
        return 0;
    }
    piece->fd = move(vma, start, size);
    return piece->fd < 0 ? piece->fd : 0;
}

void memory_free(struct piece *pieces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (pieces[i].own)
            real_close(pieces[i].fd);
    free(pieces);
}

/* The text of /proc/self/maps, which the caller frees; 0 or a negative errno. */
static int read_maps(char **out)
{
    size_t room = 1 << 16;
    size_t used = 0;
    char *text = malloc(room);
    int fd = real_openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    int result = fd < 0 ? -errno : text ? 0 : -ENOMEM;

    while (result == 0) {
        ssize_t n = read(fd, text + used, room - used - 1);

        if (n < 0)
            result = -errno;
        if (n <= 0)
            break;
        used += (size_t)n;
        if (room - used < 8192) {
            char *grown = realloc(text, room *= 2);

            if (grown)
                text = grown;
            else
                result = -ENOMEM;
        }
    }
    if (fd >= 0)
        real_close(fd);
    if (result) {
        free(text);
        return result;
    }
    text[used] = '\0';
    *out = text;
    return 0;
}

int memory_pieces(uint64_t address, uint64_t size, bool writable, struct piece **pieces,
                  uint32_t *count)
{
    uint64_t at = address;
    uint64_t end = address + size;
    char *text = NULL;
    int result = read_maps(&text);

    *pieces = NULL;
    *count = 0;
    for (char *line = text; line && *line && at < end && result == 0;) {
        char *next = strchr(line, '\n');
        struct vma vma;
        struct piece *grown;
        uint64_t stop;

        if (next)
            *next++ = '\0';
        if (parse(line, &vma) && vma.end > at) {
            if (vma.start > at)
                break;
            stop = vma.end < end ? vma.end : end;
            grown = realloc(*pieces, (*count + 1) * sizeof(*grown));
            if (!grown) {
                result = -ENOMEM;
                break;
            }
            *pieces = grown;
            result = piece_of(&vma, at, stop - at, writable, &grown[*count]);
            if (result == 0)
                ++*count;
            at = stop;
        }
        line = next;
    }
    free(text);
    if (result == 0 && at < end)
        result = -EFAULT;
    if (result) {
        memory_free(*pieces, *count);
        *pieces = NULL;
        *count = 0;
    }
    return result;
}
