/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "harness.h"

#define PTYPE_IPV4_UDP (PTYPE_IPV4 + PTYPE_KIND_UDP)
#define FLOW_NONE 0xffffffffull

static struct written_packet next_packet(struct device *device)
{
    uint32_t i = device->received++;
    struct written_packet packet = {.length = 60, .rss = 0x12345678};

    if (device->vary) {
        packet.length = 60 + i % 1400;
        packet.rss = i * 2654435761u | 1;
        packet.vlan = i % 3 == 1 ? (uint16_t)(i % 4000 + 1) : 0;
        packet.bad = i % 5 == 2;
    }
    return packet;
}

static void write_flex(struct rx_desc *desc, uint32_t rxdid, const struct written_packet *packet)
{
    uint64_t status = RXF_DD | RXF_EOP | RXF_L3L4P | RXF_RSS_VALID;

    status |= packet->bad ? RXF_L4E : 0;
    status |= packet->vlan ? RXF_L2TAG1P | (uint64_t)packet->vlan << RXF_QW1_L2TAG1_SHIFT : 0;
    desc->qw0 = rxdid | (uint64_t)PTYPE_IPV4_UDP << RXF_PTYPE_SHIFT |
                (uint64_t)packet->length << RXF_LEN_SHIFT;
    desc->qw2 = 0;
    /* RXDID 22, DPDK's own choice, keeps the flow where the others have the hash
     * (docs/spec/descriptors.md 7). */
    desc->qw3 = packet->rss;
    __atomic_store_n(&desc->qw1, status | FLOW_NONE << RXF_QW1_META01_SHIFT, __ATOMIC_RELEASE);
}

static void write_legacy(struct rx_desc *desc, const struct written_packet *packet)
{
    uint64_t status =
        RXL_DD | RXL_EOP | RXL_L3L4P | (uint64_t)RX_FLTSTAT_RSS_HASH << RXL_FLTSTAT_SHIFT |
        (uint64_t)PTYPE_IPV4_UDP << RXL_PTYPE_SHIFT | (uint64_t)packet->length << RXL_LEN_SHIFT;

    status |= packet->bad ? RXL_L4E : 0;
    status |= packet->vlan ? RXL_L2TAG1P : 0;
    desc->qw0 = (uint64_t)packet->rss << RXL_QW0_HASH_SHIFT | (uint64_t)packet->vlan
                                                                  << RXL_QW0_L2TAG1_SHIFT;
    desc->qw2 = 0;
    desc->qw3 = 0;
    __atomic_store_n(&desc->qw1, status, __ATOMIC_RELEASE);
}

uint32_t device_receive(struct device *device, uint32_t n)
{
    uint32_t tail = *device->rx_tail;
    uint32_t done = 0;

    while (done < n && device->rx_head != tail) {
        struct rx_desc *desc = &device->rx[device->rx_head];
        struct written_packet *log = &device->receive_log[device->received % LOG];
        struct written_packet packet = next_packet(device);

        packet.address = desc->qw0;
        if (device->vary) /* else it would push what is measured out of the caches */
            *log = packet;
        if (device->flex)
            write_flex(desc, device->flex, &packet);
        else
            write_legacy(desc, &packet);
        device->rx_head = device->rx_head + 1 == device->entries ? 0 : device->rx_head + 1;
        done++;
    }
    return done;
}

void device_send(struct device *device)
{
    uint32_t tail = *device->tx_tail;

    while (device->tx_head != tail) {
        struct tx_desc *desc = &device->tx[device->tx_head];

        if (device->vary) {
            struct written_packet *packet = &device->transmit_log[device->transmitted % LOG];

            packet->address = desc->addr;
            packet->length = desc->qw1 >> TXD_BUF_SZ_SHIFT & TXD_BUF_SZ_MASK;
            packet->bad = !(desc->qw1 & (uint64_t)TXD_CMD_EOP << TXD_CMD_SHIFT) ||
                          (desc->qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DATA;
        }
        device->transmitted++;
        if (desc->qw1 & (uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT)
            __atomic_store_n(&desc->qw1, desc->qw1 | TX_DTYPE_DONE, __ATOMIC_RELEASE);
        device->tx_head = device->tx_head + 1 == device->entries ? 0 : device->tx_head + 1;
    }
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

bool device_distinct(const struct device *device)
{
    static uint64_t address[RING_MAX];
    uint32_t count = 0;

    for (uint32_t i = device->rx_head; i != *device->rx_tail;
         i = i + 1 == device->entries ? 0 : i + 1)
        address[count++] = device->rx[i].qw0;
    qsort(address, count, sizeof(address[0]), ascending);
    for (uint32_t i = 1; i < count; i++)
        if (address[i] - address[i - 1] < 2048)
            return false;
    return true;
}
