/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF's windows into its client's memory (docs/spec/vfio-user.md 4; docs/spec/reliability.md D1, D2). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "hw/page.h"
#include "softvf/dma.h"

#define MAX_WINDOWS 65535u
/* Each client may have a part of the process's mappings (vm.max_map_count); the rest is the process's own. */
#define MOST_MAPPINGS 512u
#define LEAST_MAPPINGS 8u
#define OWN_MAPPINGS 8192u
#define BURIED_BYTES (64ull << 20) /* at once: some ms when each page was touched */
#define MOST_BYTES (1ull << 40) /* of one client: 64 of them leave half of the address space */

static uint64_t last_of(const struct dma_window *window)
{
    return window->iova + (window->size - 1);
}

/* First window whose end lies beyond iova. */
static uint32_t lower(const struct dma_table *table, uint64_t iova)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (last_of(&table->window[mid]) < iova)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- files: mapped once each, whatever number of windows lie in them ---- */

static bool serves(const struct dma_file *file, const struct dma_window *window)
{
    return file->refs && file->shared && file->device == window->device &&
           file->inode == window->inode && window->offset + window->size <= file->length &&
           (file->writable || !window->writable);
}

uint32_t dma_share(uint32_t clients)
{
    uint32_t all = 65530, share;
    FILE *limit = fopen("/proc/sys/vm/max_map_count", "re");

    if (limit) {
        if (fscanf(limit, "%u", &all) != 1)
            all = 65530;
        fclose(limit);
    }
    share = all > OWN_MAPPINGS ? (all - OWN_MAPPINGS) / clients : 0;
    share = share < MOST_MAPPINGS ? share : MOST_MAPPINGS;
    return share > LEAST_MAPPINGS ? share : LEAST_MAPPINGS;
}

/* Memory is what tmpfs (so memfd too) or hugetlbfs holds: any other file may make whoever touches it wait
 * for a disk, a network or, with FUSE, for the client itself. Only these two know seals, and to ask for
 * them calls no code of the file system, which might wait as well. */
static bool is_memory(int fd)
{
    return fcntl(fd, F_GET_SEALS) >= 0;
}

static int map_range(struct dma_table *table, struct dma_file *file, int fd, uint64_t page,
                     bool need_write)
{
    if (file->length > MOST_BYTES)
        return -ENOSPC;
    file->mapped = (file->length + page - 1) & ~(page - 1);
    if (file->mapped > MOST_BYTES - table->mapped)
        return -ENOSPC;
    /* A window that only the device reads may lie in a file that was opened for reading. */
    file->writable = true;
    file->base =
        mmap(NULL, file->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)file->offset);
    if (file->base == MAP_FAILED && !need_write) {
        file->writable = false;
        file->base = mmap(NULL, file->length, PROT_READ, MAP_SHARED, fd, (off_t)file->offset);
    }
    return file->base == MAP_FAILED ? -errno : 0;
}

static struct dma_file *free_slot(struct dma_table *table)
{
    struct dma_file *more;

    for (uint32_t i = 0; i < table->files; i++)
        if (!table->file[i].base)
            return &table->file[i];
    more = realloc(table->file, (table->files + 1) * sizeof(*more));
    if (!more)
        return NULL;
    table->file = more;
    return &table->file[table->files++];
}

static int map_window(struct dma_table *table, struct dma_window *window, int fd)
{
    struct dma_file file = {.refs = 1};
    struct dma_file *slot;
    struct stat info;
    uint64_t page;
    int result;

    if (!is_memory(fd))
        return -ENODEV;
    if (fstat(fd, &info))
        return -errno;
    page = (uint64_t)info.st_blksize; /* of hugetlbfs that is the huge page */
    if (page < PAGE_BYTES || page & (page - 1))
        page = PAGE_BYTES;
    if (window->offset + window->size < window->offset)
        return -EINVAL;
    window->device = info.st_dev;
    window->inode = info.st_ino;
    if (window->offset + window->size > (uint64_t)info.st_size)
        return -EINVAL; /* the file ends before the window does */
    for (uint32_t i = 0; i < table->files; i++) {
        if (serves(&table->file[i], window)) {
            table->file[i].refs++;
            window->file = i;
            window->address = table->file[i].base + window->offset;
            return 0;
        }
    }
    if (table->mappings >= table->most_mappings)
        return -ENOSPC;
    file.device = window->device;
    file.inode = window->inode;
    file.shared = true;
    file.page = page;
    file.length = (uint64_t)info.st_size;
    result = map_range(table, &file, fd, page, window->writable);
    if (result) { /* not as a whole: this window alone */
        file.shared = false;
        file.offset = window->offset & ~(page - 1);
        file.length = window->size + (window->offset - file.offset);
        result = map_range(table, &file, fd, page, window->writable);
        if (result)
            return result;
    }
    slot = free_slot(table);
    if (!slot) {
        munmap(file.base, file.mapped);
        return -ENOMEM;
    }
    table->mappings++;
    table->mapped += file.mapped;
    *slot = file;
    window->file = (uint32_t)(slot - table->file);
    window->address = file.base + (window->offset - file.offset);
    return 0;
}

/* The window uses its file no longer. The file stays mapped until dma_bury. */
static void release_window(struct dma_table *table, const struct dma_window *window)
{
    struct dma_file *file;

    if (!window->address)
        return;
    file = &table->file[window->file];
    file->refs--;
}

bool dma_bury(struct vf *vf, void **base, uint64_t *bytes)
{
    struct dma_table *table = &vf->dma;

    *bytes = 0;
    for (uint32_t i = 0; i < table->files; i++) {
        struct dma_file *file = &table->file[i];
        uint64_t most;

        if (file->refs || !file->base)
            continue;
        if (*bytes)
            return true;
        most = file->page > BURIED_BYTES ? file->page : BURIED_BYTES;
        *base = file->base;
        *bytes = file->mapped < most ? file->mapped : most;
        file->mapped -= *bytes;
        table->mapped -= *bytes;
        if (file->mapped) {
            file->base += *bytes;
            return true;
        }
        file->base = NULL;
        table->mappings--;
    }
    return false;
}

/* ---- windows ---- */

static void drop(struct dma_table *table, uint32_t at)
{
    release_window(table, &table->window[at]);
    for (table->count--; at < table->count; at++)
        table->window[at] = table->window[at + 1];
}

/* What to do about windows in the way: 0 nothing is left there, 1 the request is already fulfilled, or
 * -EEXIST. A window without an fd is never used, so it neither hinders nor is missed: while a BIOS moves
 * BARs about, QEMU maps such windows over others (docs/spec/vfio-user.md 4). */
static int make_way(struct dma_table *table, const struct dma_window *fresh)
{
    uint32_t at = lower(table, fresh->iova);

    while (at < table->count && table->window[at].iova <= last_of(fresh)) {
        const struct dma_window *there = &table->window[at];

        if (!fresh->address)
            return 1;
        if (there->address) {
            bool identical = there->iova == fresh->iova && there->size == fresh->size &&
                             there->device == fresh->device && there->inode == fresh->inode &&
                             there->offset == fresh->offset && there->readable == fresh->readable &&
                             there->writable == fresh->writable;

            return identical ? 1 : -EEXIST;
        }
        drop(table, at);
    }
    return 0;
}

static int grow(struct dma_table *table)
{
    uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
    struct dma_window *more;

    if (table->count < table->capacity)
        return 0;
    more = realloc(table->window, capacity * sizeof(*more));
    if (!more)
        return -ENOMEM;
    table->window = more;
    table->capacity = capacity;
    return 0;
}

int dma_add(struct vf *vf, int fd, uint64_t offset, uint64_t iova, uint64_t size, bool readable,
            bool writable)
{
    struct dma_table *table = &vf->dma;
    struct dma_window window = {
        .iova = iova, .size = size, .offset = offset, .readable = readable, .writable = writable};
    uint32_t at;
    int result;

    if (size == 0 || iova + (size - 1) < iova)
        return -EINVAL;
    if (table->count >= MAX_WINDOWS)
        return -ENOSPC;
    if (fd >= 0) {
        result = map_window(table, &window, fd);
        if (result)
            return result;
    }
    result = make_way(table, &window);
    if (result == 0)
        result = grow(table);
    if (result) {
        release_window(table, &window);
        return result > 0 ? 0 : result;
    }
    at = lower(table, iova);
    memmove(&table->window[at + 1], &table->window[at], (table->count - at) * sizeof(window));
    table->window[at] = window;
    table->count++;
    table->last = 0;
    vf->dma_generation++;
    return 0;
}

int64_t dma_remove(struct vf *vf, uint64_t iova, uint64_t size, bool all)
{
    struct dma_table *table = &vf->dma;
    uint32_t from = all ? 0 : lower(table, iova), to = from;
    uint64_t end = all ? UINT64_MAX : iova + (size - 1);
    int64_t bytes = 0;

    if (!all && (size == 0 || end < iova))
        return -EINVAL;
    for (; to < table->count && table->window[to].iova <= end; to++) {
        /* Splitting a window is an error, found before anything is changed. */
        if (!all && (table->window[to].iova < iova || last_of(&table->window[to]) > end))
            return -EINVAL;
    }
    for (uint32_t i = from; i < to; i++) {
        bytes += (int64_t)table->window[i].size;
        release_window(table, &table->window[i]);
    }
    if (from < to) /* a table that never held a window has no memory */
        memmove(&table->window[from], &table->window[to],
                (table->count - to) * sizeof(*table->window));
    table->count -= to - from;
    table->last = 0;
    vf->dma_generation++;
    return bytes;
}

const struct dma_window *dma_window_search(struct vf *vf, uint64_t iova)
{
    struct dma_table *table = &vf->dma;
    uint32_t at = lower(table, iova);

    if (at == table->count || table->window[at].iova > iova)
        return NULL;
    table->last = at;
    return &table->window[at];
}

void *dma_find_ring(struct vf *vf, uint64_t iova, uint64_t len, uint32_t align)
{
    uint8_t *ring = dma_find(vf, iova, len, true);

    /* IOVA and file offset of a window need not be aligned alike. */
    return ring && dma_find(vf, iova, len, false) && (uintptr_t)ring % align == 0 ? ring : NULL;
}

/* Copies over as many adjacent windows as it takes: a guest's vIOMMU maps page by page
 * (docs/guides/guest-lab.md). */
int dma_copy(struct vf *vf, uint64_t iova, void *data, uint64_t len, bool write)
{
    uint8_t *bytes = data;

    if (len && iova + (len - 1) < iova)
        return -EFAULT;
    while (len) {
        const struct dma_window *window = dma_window_at(vf, iova);
        uint64_t offset, part;

        if (!window || !window->address || (write ? !window->writable : !window->readable))
            return -EFAULT;
        offset = iova - window->iova;
        part = window->size - offset < len ? window->size - offset : len;
        if (write)
            client_copy(window->address + offset, bytes, part);
        else
            client_copy(bytes, window->address + offset, part);
        iova += part;
        bytes += part;
        len -= part;
    }
    return 0;
}
