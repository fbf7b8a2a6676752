/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a server's replies to VERSION, GET_INFO, GET_REGION_INFO and GET_IRQ_INFO, as its config space, and as
 * an instruction, to the preload library. Each lies in memory of exactly its size. */
#include "fuzz.h"

#include <errno.h>
#include <linux/vfio.h>

#include "hw/vfio_user.h"

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

static void agree(const uint8_t *data, uint32_t size)
{
    struct slot slot = {.max_fds = 0};
    uint8_t *reply = malloc(size + 1); /* as its declaration says */
    int result;

    assert(reply);
    memcpy(reply, data, size);
    result = version_learn(&slot, reply, size);
    assert(result == (size >= 4 && !data[0] && !data[1] ? 0 : -EPROTO));
    if (result == 0)
        assert(slot.max_fds >= 1 && slot.max_fds <= VU_MAX_FDS && slot.max_data >= 1 &&
               slot.max_data <= 1u << 16);
    free(reply);
}

static void learn_info(const uint8_t *data, uint32_t size)
{
    uint32_t flags = 0;

    assert(info_learn(&flags, data, size) == (size >= 16 ? 0 : -EIO));
    assert(!(flags & ~(uint32_t)(VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI)));
}

static void learn_irq(const uint8_t *data, uint32_t size)
{
    struct vfio_irq_info info = {0};
    int result = irq_learn(&info, 2, data, size);

    assert(result == (size >= sizeof(info) ? 0 : -EIO));
    if (result == 0)
        assert(info.argsz == sizeof(info) && info.index == 2 &&
               memcmp(&info.count, data + 12, sizeof(info.count)) == 0);
}

static void learn_config(const uint8_t *data, uint32_t size)
{
    uint8_t *config = calloc(1, PRELOAD_CONFIG_BYTES);
    struct slot slot = {.msix_bar = -1};

    assert(config);
    memcpy(config, data, size < PRELOAD_CONFIG_BYTES ? size : PRELOAD_CONFIG_BYTES);
    config_learn(&slot, config);
    assert(slot.msix_bar >= -1 && slot.msix_bar <= 7);
    assert(!slot.pcie_cap || (slot.pcie_cap >= 0x40 && slot.pcie_cap <= 0xf4 &&
                              config[slot.pcie_cap] == 0x10)); /* PCI_CAP_ID_EXP */
    free(config);
}

static void decode(const uint8_t *data, uint32_t size)
{
#if defined(__x86_64__)
    uint8_t code[INSTRUCTION] = {0};
    struct access access;

    memcpy(code, data, size < INSTRUCTION ? size : INSTRUCTION);
    if (decode_access(code, &access))
        assert(access.length >= 2 && access.length <= 15 && access.bytes <= 8 &&
               (access.load || access.store) && access.reg < 16);
#else
    (void)data, (void)size;
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, uint32_t) = {
        decode, learn, agree, learn_info, learn_irq, learn_config};

    if (!size)
        return 0;
    readers[data[0] % (sizeof(readers) / sizeof(readers[0]))](data + 1, (uint32_t)size - 1);
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

    static const char version[] = "\2\0\0\1\0{\"capabilities\":{\"max_msg_fds\":8,"
                                  "\"max_data_xfer_size\":4096}}";
    static const char *const others[] = {
        "0310000000030000000900000005000000", /* a device that can be reset */
        "041000000001000000020000000500000000", /* an interrupt with five vectors */
    };
    uint8_t config[1 + PRELOAD_CONFIG_BYTES] = {5, [1 + 0x34] = 0x40, [1 + 0x40] = 0x11, 0x50, 4, 0,
                                                3, [1 + 0x50] = 0x10};

    fuzz_keep(region, sizeof(region));
    fuzz_keep((const uint8_t *)version, sizeof(version) - 1);
    fuzz_keep(config, sizeof(config));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        fuzz_keep_hex(others[i]);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        fuzz_keep(codes[i], sizeof(codes[i]));
    return fuzz_main(argc, argv);
}
