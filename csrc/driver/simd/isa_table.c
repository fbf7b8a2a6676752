/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "driver/simd/isa_table.h"

static const struct isa *const best_first[] = {
#if defined(__x86_64__)
    &isa_avx512,
    &isa_avx2,
#elif defined(__aarch64__)
    &isa_neon,
#endif
    &isa_scalar,
};

const struct isa *isa_choose(uint32_t wanted)
{
    for (size_t i = 0; i < sizeof(best_first) / sizeof(best_first[0]); i++) {
        const struct isa *isa = best_first[i];

        if ((wanted == ISA_AUTO || wanted == (uint32_t)isa->number) && isa->usable())
            return isa;
    }
    return NULL;
}

int isa_usable(uint32_t number)
{
    return isa_choose(number) != NULL;
}
