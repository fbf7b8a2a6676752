/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "softvf/windows.h"

struct dma_leaf {
    uint32_t count;
    struct dma_window window[WINDOWS_LEAF];
};

struct place windows_find(const struct dma_table *table, uint64_t iova)
{
    struct place place = {0};
    const struct dma_leaf *leaf;

    for (uint32_t high = table->leaves; place.leaf < high;) {
        uint32_t mid = (place.leaf + high) / 2;

        if (table->last[mid] < iova)
            place.leaf = mid + 1;
        else
            high = mid;
    }
    if (place.leaf == table->leaves)
        return place;
    leaf = table->leaf[place.leaf];
    for (uint32_t high = leaf->count; place.at < high;) {
        uint32_t mid = (place.at + high) / 2;

        if (window_last(&leaf->window[mid]) < iova)
            place.at = mid + 1;
        else
            high = mid;
    }
    return place;
}

struct dma_window *windows_at(const struct dma_table *table, struct place *place)
{
    if (place->leaf < table->leaves && place->at == table->leaf[place->leaf]->count)
        *place = (struct place){.leaf = place->leaf + 1};
    return place->leaf < table->leaves ? &table->leaf[place->leaf]->window[place->at] : NULL;
}

static void note_last(struct dma_table *table, uint32_t at)
{
    const struct dma_leaf *leaf = table->leaf[at];

    table->last[at] = window_last(&leaf->window[leaf->count - 1]);
}

static int grow(struct dma_table *table)
{
    uint32_t capacity = table->capacity ? table->capacity * 2 : 4;
    struct dma_leaf **leaf;
    uint64_t *last;

    if (table->leaves < table->capacity)
        return 0;
    leaf = realloc(table->leaf, capacity * sizeof(struct dma_leaf *));
    if (!leaf)
        return -ENOMEM;
    table->leaf = leaf;
    last = realloc(table->last, capacity * sizeof(*last));
    if (!last)
        return -ENOMEM;
    table->last = last;
    table->capacity = capacity;
    return 0;
}

/* An empty leaf in front of the one at `at`. */
static int add_leaf(struct dma_table *table, uint32_t at)
{
    struct dma_leaf *fresh;
    uint32_t behind = table->leaves - at;

    if (grow(table))
        return -ENOMEM;
    fresh = malloc(sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    fresh->count = 0;
    memmove(&table->leaf[at + 1], &table->leaf[at], behind * sizeof(struct dma_leaf *));
    memmove(&table->last[at + 1], &table->last[at], behind * sizeof(table->last[0]));
    table->leaf[at] = fresh;
    table->leaves++;
    return 0;
}

int windows_insert(struct dma_table *table, struct place place, const struct dma_window *window)
{
    struct dma_leaf *leaf;

    if (place.leaf == table->leaves && table->leaves) { /* behind all of them */
        place.leaf--;
        place.at = table->leaf[place.leaf]->count;
    }
    if (place.leaf == table->leaves && add_leaf(table, 0))
        return -ENOMEM;
    leaf = table->leaf[place.leaf];
    if (leaf->count == WINDOWS_LEAF) { /* the upper half into one of its own */
        struct dma_leaf *upper;
        uint32_t half = WINDOWS_LEAF / 2;

        if (add_leaf(table, place.leaf + 1))
            return -ENOMEM;
        upper = table->leaf[place.leaf + 1];
        memcpy(upper->window, &leaf->window[half], half * sizeof(*window));
        leaf->count = upper->count = half;
        note_last(table, place.leaf);
        note_last(table, place.leaf + 1);
        if (place.at > half) {
            place = (struct place){.leaf = place.leaf + 1, .at = place.at - half};
            leaf = upper;
        }
    }
    memmove(&leaf->window[place.at + 1], &leaf->window[place.at],
            (leaf->count - place.at) * sizeof(*window));
    leaf->window[place.at] = *window;
    leaf->count++;
    table->count++;
    note_last(table, place.leaf);
    table->recent = NULL;
    return 0;
}

/* Takes one leaf's windows into the one in front of it, where both are small: or a client would leave leaves of
 * one window each. */
static bool merge(struct dma_table *table, uint32_t at, const struct dma_leaf *leaf)
{
    struct dma_leaf *before = table->leaf[at];

    if (before->count + leaf->count > WINDOWS_LEAF / 2)
        return false;
    memcpy(&before->window[before->count], leaf->window, leaf->count * sizeof(leaf->window[0]));
    before->count += leaf->count;
    note_last(table, at);
    return true;
}

/* After windows of the leaves from `from` to in front of `to` were taken out. */
static void tidy(struct dma_table *table, uint32_t from, uint32_t to)
{
    uint32_t start = from ? from - 1 : 0, kept = start, behind;

    to = to < table->leaves ? to + 1 : table->leaves;
    for (uint32_t i = start; i < to; i++) {
        struct dma_leaf *leaf = table->leaf[i];

        if (!leaf->count || (kept > start && merge(table, kept - 1, leaf))) {
            free(leaf);
            continue;
        }
        table->leaf[kept] = leaf;
        note_last(table, kept++);
    }
    behind = table->leaves - to;
    memmove(&table->leaf[kept], &table->leaf[to], behind * sizeof(struct dma_leaf *));
    memmove(&table->last[kept], &table->last[to], behind * sizeof(table->last[0]));
    table->leaves -= to - kept;
}

void windows_remove(struct dma_table *table, struct place from, struct place to)
{
    uint32_t end = to.at ? to.leaf + 1 : to.leaf;

    table->recent = NULL;
    if (from.leaf > to.leaf || (from.leaf == to.leaf && from.at >= to.at))
        return;
    for (uint32_t i = from.leaf; i < end; i++) {
        struct dma_leaf *leaf = table->leaf[i];
        uint32_t first = i == from.leaf ? from.at : 0;
        uint32_t behind = i == to.leaf ? to.at : leaf->count;

        memmove(&leaf->window[first], &leaf->window[behind],
                (leaf->count - behind) * sizeof(leaf->window[0]));
        leaf->count -= behind - first;
        table->count -= behind - first;
    }
    tidy(table, from.leaf, end);
}

void windows_free(struct dma_table *table)
{
    for (uint32_t i = 0; i < table->leaves; i++)
        free(table->leaf[i]);
    free(table->leaf);
    free(table->last);
}
