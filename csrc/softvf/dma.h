/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF's windows into its client's memory (docs/spec/vfio-user.md 4, docs/spec/reliability.md D1, D2). */
#ifndef IAVFIO_SOFTVF_DMA_H
#define IAVFIO_SOFTVF_DMA_H

#include <errno.h>

#include "softvf/plane.h"

/* Bytes of mappings that each client may have: their page tables, 2 MiB a GiB, stay the process's until they are
 * unmapped, whatever the client takes out of its files. */
#define DMA_BYTES (64ull << 30)

/* How many mappings of files each of so many clients may have. */
uint32_t dma_share(uint32_t clients);
/* -EINVAL for what is not of whole pages, -ENODEV for a file that is no memory, -ENOSPC beyond the client's
 * share of windows or mappings, -EFBIG of bytes. */
int dma_add(struct vf *vf, int fd, uint64_t offset, uint64_t iova, uint64_t size, bool readable,
            bool writable);
int64_t dma_remove(struct vf *vf, uint64_t iova, uint64_t size, bool all);
/* Takes a mapping that no window uses out of the table: whether there was one. It counts until dma_buried. */
bool dma_bury(struct vf *vf, struct softvf_grave *grave);
void dma_buried(struct vf *vf, const struct softvf_grave *grave);
/* May take long, so not with the plane's lock held. */
void dma_unmap(const struct softvf_grave *grave);
const struct dma_window *dma_window_search(struct vf *vf, uint64_t iova);
/* Finds as dma_find does what can hold a ring: readable and writable, and aligned as its IOVA is. */
void *dma_find_ring(struct vf *vf, uint64_t iova, uint64_t len);
/* Copies from or to the client's memory, whatever number of windows it lies in: 0 or -EFAULT. */
int dma_copy(struct vf *vf, uint64_t iova, void *data, uint64_t len, bool write);

/* The same `offset` bytes behind a base that the client chose: the sum may not go beyond 2^64. */
static inline int dma_copy_at(struct vf *vf, uint64_t base, uint64_t offset, void *data,
                              uint64_t len, bool write)
{
    return base + offset < base ? -EFAULT : dma_copy(vf, base + offset, data, len, write);
}

/* The window that holds iova, while the function may access memory at all. */
static inline const struct dma_window *dma_window_at(struct vf *vf, uint64_t iova)
{
    const struct dma_window *window = vf->dma.recent;

    if (!vf->bus_master)
        return NULL;
    return window && iova - window->iova < window->size ? window : dma_window_search(vf, iova);
}

/* Address of [iova, +len) when one window holds all of it with that right, else NULL. */
static inline uint8_t *dma_find(struct vf *vf, uint64_t iova, uint64_t len, bool write)
{
    const struct dma_window *window = dma_window_at(vf, iova);
    uint64_t offset;

    if (!window || !window->address || (write ? !window->writable : !window->readable))
        return NULL;
    offset = iova - window->iova;
    return len <= window->size - offset ? window->address + offset : NULL;
}

#endif
