/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a server's reply to GET_REGION_INFO, and as an instruction, to the preload library. */
#include "fuzz.h"

#include "preload/preload.h"

#define INSTRUCTION 16u /* bytes that the decoder may look at */

static void learn(const uint8_t *data, uint32_t size)
{
    struct region region = {.fd = -1};

    if (region_learn(&region, data, size, true))
        return;
    assert(region.areas <= PRELOAD_MAX_AREAS && region.size <= 1ull << PRELOAD_REGION_SHIFT);
    for (uint32_t i = 0; i < region.areas; i++)
        assert(region.area[i].offset <= region.size &&
               region.area[i].size <= region.size - region.area[i].offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1) {
        learn(data + 1, (uint32_t)size - 1);
    }
#if defined(__x86_64__)
    else {
        uint8_t code[INSTRUCTION] = {0};
        struct access access;

        memcpy(code, data + 1, size - 1 < INSTRUCTION ? size - 1 : INSTRUCTION);
        if (decode_access(code, &access))
            assert(access.length >= 2 && access.length <= 15 && access.bytes <= 8 &&
                   (access.load || access.store) && access.reg < 16);
    }
#endif
    return 0;
}

int main(int argc, char **argv)
{
    static const uint8_t region[] = {1, 80, 0, 0, 0, 15, 0, 0,  0, 0, 0, 0, 0, 32, 0, 0, 0,
                                     0, 0,  2, 0, 0, 0,  0, 0,  0, 0, 0, 0, 0, 0,  0, 0, 1,
                                     0, 1,  0, 0, 0, 0,  0, 1,  0, 0, 0, 0, 0, 0,  0, 0, 32,
                                     0, 0,  0, 0, 0, 0,  0, 16, 0, 0, 0, 0, 0, 0};
    static const uint8_t codes[][9] = {
        {0, 0x8b, 0x07},       {0, 0x48, 0x8b, 0x4c, 0x98, 8}, {0, 0xc7, 0x47, 4, 0x20, 0, 0, 0x80},
        {0, 0x0f, 0xb7, 0x07}, {0, 0x0f, 0x38, 0xf9, 0x07},    {0, 0x66, 0xc7, 0x07, 0x34, 0x12},
    };

    fuzz_keep(region, sizeof(region));
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        fuzz_keep(codes[i], sizeof(codes[i]));
    return fuzz_main(argc, argv);
}
