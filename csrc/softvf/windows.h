/* SPDX-License-Identifier: BSD-3-Clause */
/* The windows of one client, sorted by IOVA, in leaves: to put one in or take one out moves the windows of its
 * leaf alone, however many there are (docs/spec/reliability.md D4). */
#ifndef IAVFIO_SOFTVF_WINDOWS_H
#define IAVFIO_SOFTVF_WINDOWS_H

#include "softvf/plane.h"

/* Where a window is, or where one would be put in front of. */
struct place {
    uint32_t leaf, at;
};

static inline uint64_t window_last(const struct dma_window *window)
{
    return window->iova + (window->size - 1);
}

/* The first window that does not end in front of iova. */
struct place windows_find(const struct dma_table *table, uint64_t iova);
/* The window at a place, NULL behind the last; a place behind its leaf's windows becomes the next one's first. */
struct dma_window *windows_at(const struct dma_table *table, struct place *place);
/* Puts one in where windows_find found the place for its IOVA: 0 or -ENOMEM. */
int windows_insert(struct dma_table *table, struct place place, const struct dma_window *window);
/* Takes out those from `from` to in front of `to`. */
void windows_remove(struct dma_table *table, struct place from, struct place to);
void windows_free(struct dma_table *table);

#endif
