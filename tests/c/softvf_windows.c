/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of DMA windows against a plain bitmap, in which each slot holds a window of a page and a gap of a page
 * (docs/spec/reliability.md D1, D4). */
#include "hw/page.h"
#include "softvf/windows.h"

#include "softvf_rig.h"

#define SLOTS 8192u
#define STEPS 6000u

static bool model[SLOTS];
static uint64_t state = 88172645463325252ull;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % limit;
}

static uint64_t iova_of(uint32_t slot)
{
    return 2 * slot * PAGE_BYTES;
}

static void put(struct dma_table *table, uint32_t slot)
{
    struct dma_window window = {.iova = iova_of(slot), .size = PAGE_BYTES, .offset = slot};

    if (model[slot])
        return;
    CHECK(windows_insert(table, windows_find(table, window.iova), &window) == 0);
    model[slot] = true;
}

static void take(struct dma_table *table, uint32_t from, uint32_t to)
{
    windows_remove(table, windows_find(table, iova_of(from)), windows_find(table, iova_of(to)));
    for (uint32_t slot = from; slot < to; slot++)
        model[slot] = false;
}

/* An address in a window or in the gap behind it. */
static void look(struct dma_table *table, uint32_t slot, bool gap)
{
    uint64_t iova = iova_of(slot) + (gap ? PAGE_BYTES : below(PAGE_BYTES));
    struct place place = windows_find(table, iova);
    const struct dma_window *window = windows_at(table, &place);
    uint32_t next = gap ? slot + 1 : slot;

    while (next < SLOTS && !model[next])
        next++;
    CHECK(next == SLOTS ? !window : window && window->offset == next);
}

static void compare(struct dma_table *table)
{
    struct place place = {0};
    const struct dma_window *window;
    uint32_t slot = 0, count = 0;

    for (; (window = windows_at(table, &place)); place.at++, slot++, count++) {
        while (slot < SLOTS && !model[slot])
            slot++;
        CHECK(window->offset == slot && window->iova == iova_of(slot));
    }
    while (slot < SLOTS && !model[slot])
        slot++;
    CHECK(slot == SLOTS && count == table->count);
    /* Two leaves side by side are never so empty that one would do. */
    CHECK(table->leaves <= 2 + 4 * table->count / WINDOWS_LEAF);
}

int main(void)
{
    struct dma_table table = {0};

    compare(&table);
    take(&table, 0, SLOTS);
    for (uint32_t slot = 0; slot < SLOTS; slot++) /* as a guest begins */
        put(&table, slot);
    compare(&table);
    for (uint32_t slot = 0; slot < SLOTS; slot++) /* one is left in each leaf */
        if (slot % (WINDOWS_LEAF / 2))
            take(&table, slot, slot + 1);
    compare(&table);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t slot = below(SLOTS), many = below(8) ? 3 : 1000;

        if (below(4)) {
            for (uint32_t i = below(60); i && slot + i < SLOTS; i--)
                put(&table, slot + i);
        } else {
            uint32_t to = slot + below(many);

            take(&table, slot, to < SLOTS ? to : SLOTS);
        }
        look(&table, below(SLOTS), below(2));
        if (step % 16 == 0)
            compare(&table);
    }
    take(&table, 0, SLOTS);
    CHECK(table.count == 0 && table.leaves == 0);
    windows_free(&table);
    puts("windows: as the model");
    return 0;
}
