/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "driver/attributes.h"
#include "driver/lines.h"

void *lines_alloc(size_t bytes)
{
    size_t size = (bytes + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
    void *memory = aligned_alloc(LINE_BYTES, size);

    if (memory)
        memset(memory, 0, size);
    return memory;
}
