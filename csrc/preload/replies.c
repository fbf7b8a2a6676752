/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server says of itself, of its interrupts and of its config space. A reply that is cut short, or of another
 * protocol, is none; numbers that make no sense are replaced by those that every server must take. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hw/vfio_user.h"
#include "preload/preload.h"

#define VERSION_WORDS 4u /* bytes of major and minor, before the JSON */
#define MOST_CAPABILITIES 48

/* A number of the reply's capabilities; all that we need of them are two numbers. */
static uint32_t number(const char *json, const char *key, uint32_t standard)
{
    const char *at = strstr(json, key);
    unsigned long value;

    at = at ? strchr(at + strlen(key), ':') : NULL;
    value = at ? strtoul(at + 1, NULL, 10) : 0;
    return value && value < UINT32_MAX ? (uint32_t)value : standard;
}

static uint32_t at_most(uint32_t value, uint32_t limit)
{
    return value < limit ? value : limit;
}

int version_learn(struct slot *slot, uint8_t *reply, uint32_t size)
{
    const char *json = (const char *)reply + VERSION_WORDS;

    if (size < VERSION_WORDS || reply[0] || reply[1])
        return -EPROTO;
    reply[size] = '\0';
    slot->max_fds = at_most(number(json, "\"max_msg_fds\"", 1), VU_MAX_FDS);
    slot->max_data = at_most(number(json, "\"max_data_xfer_size\"", 1u << 20), 1u << 16);
    return 0;
}

int info_learn(uint32_t *flags, const uint8_t *reply, uint32_t size)
{
    if (size < PRELOAD_INFO_BYTES)
        return -EIO; /* cut short */
    memcpy(flags, reply + offsetof(struct vfio_device_info, flags), sizeof(*flags));
    *flags &= VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
    return 0;
}

int irq_learn(struct vfio_irq_info *info, uint32_t index, const uint8_t *reply, uint32_t size)
{
    if (size < sizeof(*info))
        return -EIO; /* cut short */
    memcpy(info, reply, sizeof(*info));
    info->argsz = sizeof(*info);
    info->index = index;
    return 0;
}

void config_learn(struct slot *slot, const uint8_t config[PRELOAD_CONFIG_BYTES])
{
    unsigned at = config[PCI_CAPABILITY_LIST] & 0xfc;

    for (int guard = 0; at >= 0x40 && at <= 0xf4 && guard < MOST_CAPABILITIES; guard++) {
        if (config[at] == PCI_CAP_ID_MSIX)
            slot->msix_bar = config[at + PCI_MSIX_TABLE] & PCI_MSIX_TABLE_BIR;
        else if (config[at] == PCI_CAP_ID_EXP)
            slot->pcie_cap = at;
        at = config[at + 1] & 0xfc;
    }
}
