/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF's windows into its client's memory (docs/spec/vfio-user.md 4; docs/spec/reliability.md D1, D2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "hw/page.h"
#include "softvf/dma.h"
#include "softvf/windows.h"

#define MAX_WINDOWS 65535u
/* Each client may have a part of the process's mappings (vm.max_map_count); the rest is the process's own. */
#define MOST_MAPPINGS 512u
#define LEAST_MAPPINGS 8u
#define OWN_MAPPINGS 8192u
#define SLICE_BYTES (8ull << 20) /* unmapped at once: some 0.2 ms when each page was touched */

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

/* The pages in which a file's memory is mapped and unmapped; 0 with errno. That of tmpfs may be in huge pages
 * (huge=always), which st_blksize tells then, but is mapped and unmapped by small ones. */
static uint64_t page_of(int fd)
{
    struct statfs system;

    if (fstatfs(fd, &system))
        return 0;
    return system.f_type == HUGETLBFS_MAGIC ? (uint64_t)system.f_bsize : PAGE_BYTES;
}

static int map_range(struct dma_table *table, struct dma_file *file, int fd, uint64_t page,
                     bool need_write)
{
    if (file->length > table->most_bytes)
        return -EFBIG;
    file->mapped = (file->length + page - 1) & ~(page - 1);
    if (file->mapped > table->most_bytes - table->mapped)
        return -EFBIG;
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
    page = page_of(fd);
    if (!page)
        return -errno;
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

bool dma_bury(struct vf *vf, struct softvf_grave *grave)
{
    struct dma_table *table = &vf->dma;

    for (uint32_t i = 0; i < table->files; i++) {
        struct dma_file *file = &table->file[i];

        if (file->refs || !file->base)
            continue;
        *grave =
            (struct softvf_grave){.base = file->base, .bytes = file->mapped, .page = file->page};
        file->base = NULL;
        return true;
    }
    return false;
}

void dma_buried(struct vf *vf, const struct softvf_grave *grave)
{
    vf->dma.mapped -= grave->bytes;
    vf->dma.mappings--;
}

/* Whoever maps anything in this process waits for a slice, as does a thread that touches a page for the first time
 * meanwhile. The memory itself, where this was its last mapping, is freed behind the last slice, with no lock held. */
void dma_unmap(const struct softvf_grave *grave)
{
    uint64_t slice = grave->page > SLICE_BYTES ? grave->page : SLICE_BYTES;
    uint8_t *base = grave->base;

    for (uint64_t left = grave->bytes, bytes; left; left -= bytes) {
        bytes = left < slice ? left : slice;
        munmap(base, bytes);
        base += bytes;
    }
}

/* ---- windows ---- */

/* What to do about windows in the way: 0 nothing is left there, 1 the request is already fulfilled, or
 * -EEXIST. A window without an fd is never used, so it neither hinders nor is missed: while a BIOS moves
 * BARs about, QEMU maps such windows over others (docs/spec/vfio-user.md 4). */
static int make_way(struct dma_table *table, const struct dma_window *fresh)
{
    struct place place = windows_find(table, fresh->iova);
    const struct dma_window *there;

    while ((there = windows_at(table, &place)) && there->iova <= window_last(fresh)) {
        if (!fresh->address)
            return 1;
        if (there->address) {
            bool identical = there->iova == fresh->iova && there->size == fresh->size &&
                             there->device == fresh->device && there->inode == fresh->inode &&
                             there->offset == fresh->offset && there->readable == fresh->readable &&
                             there->writable == fresh->writable;

            return identical ? 1 : -EEXIST;
        }
        windows_remove(table, place, (struct place){.leaf = place.leaf, .at = place.at + 1});
        place = windows_find(table, fresh->iova);
    }
    return 0;
}

int dma_add(struct vf *vf, int fd, uint64_t offset, uint64_t iova, uint64_t size, bool readable,
            bool writable)
{
    struct dma_table *table = &vf->dma;
    struct dma_window window = {
        .iova = iova, .size = size, .offset = offset, .readable = readable, .writable = writable};
    int result;

    if (size == 0 || iova + (size - 1) < iova)
        return -EINVAL;
    /* As an IOMMU does: in windows of a byte each, a packet would cost a search a byte. */
    if (fd >= 0 && (iova | size | offset) & (PAGE_BYTES - 1))
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
        result = windows_insert(table, windows_find(table, iova), &window);
    if (result) {
        release_window(table, &window);
        return result > 0 ? 0 : result;
    }
    vf->dma_generation++;
    return 0;
}

int64_t dma_remove(struct vf *vf, uint64_t iova, uint64_t size, bool all)
{
    struct dma_table *table = &vf->dma;
    struct place from = windows_find(table, all ? 0 : iova), to;
    uint64_t end = all ? UINT64_MAX : iova + (size - 1);
    const struct dma_window *window;
    int64_t bytes = 0;

    if (!all && (size == 0 || end < iova))
        return -EINVAL;
    for (to = from; (window = windows_at(table, &to)) && window->iova <= end; to.at++) {
        /* Splitting a window is an error, found before anything is changed. */
        if (!all && (window->iova < iova || window_last(window) > end))
            return -EINVAL;
    }
    for (to = from; (window = windows_at(table, &to)) && window->iova <= end; to.at++) {
        bytes += (int64_t)window->size;
        release_window(table, window);
    }
    windows_remove(table, from, to);
    vf->dma_generation++;
    return bytes;
}

const struct dma_window *dma_window_search(struct vf *vf, uint64_t iova)
{
    struct dma_table *table = &vf->dma;
    struct place place = windows_find(table, iova);
    struct dma_window *window = windows_at(table, &place);

    table->searches++;
    if (!window || window->iova > iova)
        return NULL;
    table->recent = window;
    return window;
}

void *dma_find_ring(struct vf *vf, uint64_t iova, uint64_t len)
{
    uint8_t *ring = dma_find(vf, iova, len, true);

    return ring && dma_find(vf, iova, len, false) ? ring : NULL;
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
