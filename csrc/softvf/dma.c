/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF's windows into its client's memory (spec: vfio-user 4; reliability D1, D2). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "softvf/plane.h"

#define PAGE 4096ull
#define MAX_WINDOWS 65535u

/* First window whose end lies beyond iova. */
static uint32_t lower(const struct dma_table *table, uint64_t iova)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (table->window[mid].iova + (table->window[mid].size - 1) < iova)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int map_window(struct dma_window *window, int fd)
{
    struct stat info;
    uint64_t lead = window->offset % PAGE;
    int prot = (window->readable ? PROT_READ : 0) | (window->writable ? PROT_READ | PROT_WRITE : 0);

    if (fstat(fd, &info))
        return -errno;
    if (window->offset + window->size < window->offset)
        return -EINVAL;
    if (S_ISREG(info.st_mode) && window->offset + window->size > (uint64_t)info.st_size)
        return -EINVAL; /* the file ends before the window does */
    window->device = info.st_dev;
    window->inode = info.st_ino;
    window->length = window->size + lead;
    window->base = mmap(NULL, window->length, prot, MAP_SHARED, fd, (off_t)(window->offset - lead));
    if (window->base == MAP_FAILED) {
        window->base = NULL;
        return -errno;
    }
    window->address = window->base + lead;
    return 0;
}

int dma_add(struct plane *plane, struct vf *vf, int fd, uint64_t offset, uint64_t iova,
            uint64_t size, bool readable, bool writable)
{
    struct dma_table *table = &vf->dma;
    struct dma_window window = {
        .iova = iova, .size = size, .offset = offset, .readable = readable, .writable = writable};
    uint32_t at;
    int result;

    (void)plane;
    if (size == 0 || iova + (size - 1) < iova)
        return -EINVAL;
    if (table->count >= MAX_WINDOWS)
        return -ENOSPC;
    if (fd >= 0) {
        result = map_window(&window, fd);
        if (result)
            return result;
    }
    at = lower(table, iova);
    if (at < table->count && table->window[at].iova <= iova + (size - 1)) {
        const struct dma_window *there = &table->window[at];
        bool identical = there->iova == iova && there->size == size &&
                         there->device == window.device && there->inode == window.inode &&
                         there->offset == offset && there->readable == readable &&
                         there->writable == writable;

        if (window.base)
            munmap(window.base, window.length);
        return identical ? 0 : -EEXIST;
    }
    if (table->count == table->capacity) {
        uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
        struct dma_window *more = realloc(table->window, capacity * sizeof(*more));

        if (!more) {
            if (window.base)
                munmap(window.base, window.length);
            return -ENOMEM;
        }
        table->window = more;
        table->capacity = capacity;
    }
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
    uint32_t keep = 0;
    uint64_t end = iova + (size - 1);
    int64_t bytes = 0;

    if (!all && (size == 0 || end < iova))
        return -EINVAL;
    for (uint32_t i = 0; i < table->count && !all;
         i++) { /* splitting a window is an error, before any change */
        uint64_t first = table->window[i].iova, last = first + (table->window[i].size - 1);

        if (first <= end && last >= iova && (first < iova || last > end))
            return -EINVAL;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        struct dma_window *window = &table->window[i];

        if (all || (window->iova >= iova && window->iova + (window->size - 1) <= end)) {
            bytes += (int64_t)window->size;
            if (window->base)
                munmap(window->base, window->length);
        } else {
            table->window[keep++] = *window;
        }
    }
    table->count = keep;
    table->last = 0;
    vf->dma_generation++;
    return bytes;
}

uint8_t *dma_find(struct vf *vf, uint64_t iova, uint64_t len, bool write)
{
    struct dma_table *table = &vf->dma;
    struct dma_window *window;
    uint64_t offset;

    if (!vf->bus_master || table->count == 0)
        return NULL;
    window = &table->window[table->last];
    offset = iova - window->iova;
    if (iova < window->iova || offset >= window->size) {
        uint32_t at = lower(table, iova);

        if (at == table->count || table->window[at].iova > iova)
            return NULL;
        table->last = at;
        window = &table->window[at];
        offset = iova - window->iova;
    }
    if (len > window->size - offset || !window->address ||
        (write ? !window->writable : !window->readable))
        return NULL;
    return window->address + offset;
}

/* Copies over as many adjacent windows as it takes: a guest's vIOMMU maps page by page (lab 1). */
int dma_copy(struct vf *vf, uint64_t iova, void *data, uint64_t len, bool write)
{
    uint8_t *bytes = data;

    if (len && iova + (len - 1) < iova)
        return -EFAULT;
    while (len) {
        struct dma_table *table = &vf->dma;
        uint32_t at = lower(table, iova);
        const struct dma_window *window;
        uint64_t part;

        if (!vf->bus_master || at == table->count || table->window[at].iova > iova)
            return -EFAULT;
        window = &table->window[at];
        part = window->size - (iova - window->iova);
        if (part > len)
            part = len;
        if (!window->address || (write ? !window->writable : !window->readable))
            return -EFAULT;
        if (write)
            memcpy(window->address + (iova - window->iova), bytes, part);
        else
            memcpy(bytes, window->address + (iova - window->iova), part);
        iova += part;
        bytes += part;
        len -= part;
    }
    return 0;
}

/* A client may truncate its file under us. The page that is gone becomes a private zero page: the client
 * loses its own packets and nobody else's (D2). A signal handler cannot ask whose page it was; all
 * mappings of this process that can raise SIGBUS are clients'. */
static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    struct sigaction standard = {.sa_handler = SIG_DFL};

    (void)context;
    if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
        page)
        sigaction(signal, &standard, NULL);
}

int dma_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};

    return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}
