/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks a driver packet by packet before it is timed: what is fast must be right first. */
#include "harness.h"

#define STALLED 1000 /* passes without a packet */

static void wrong(const struct instance *instance, enum work work, uint32_t i, const char *what)
{
    die("%s %s, %s, ring %u, burst %u, %s: packet %u: wrong %s", instance->backend->name,
        instance->backend->isa, work_names[work], instance->device.entries, instance->burst,
        metadata_names[instance->metadata], i, what);
}

static void check_received(const struct instance *instance, enum work work)
{
    for (uint32_t i = 0; i < instance->got; i++) {
        const struct written_packet *packet =
            &instance->device.receive_log[(instance->taken + i) % LOG];
        struct seen seen;

        instance->backend->look(instance, i, &seen);
        if (seen.address != packet->address)
            wrong(instance, work, i, "buffer");
        if (seen.length != packet->length)
            wrong(instance, work, i, "length");
        if (instance->metadata == META_SET_NONE)
            continue;
        if (seen.rss != packet->rss)
            wrong(instance, work, i, "RSS hash");
        if (!seen.udp)
            wrong(instance, work, i, "packet type");
        if (seen.good == packet->bad || seen.bad != packet->bad)
            wrong(instance, work, i, "checksum status");
        if (instance->metadata == META_SET_ALL && seen.vlan != packet->vlan)
            wrong(instance, work, i, "VLAN tag");
    }
}

static void check_sent(struct instance *instance, enum work work)
{
    struct device *device = &instance->device;
    uint32_t held = work == WORK_SEND || work == WORK_ALLOC_SEND ? instance->burst : instance->got;
    uint32_t first = device->transmitted;

    /* The device had finished all before: only a ring of few bursts may be too full. */
    if (instance->sent < held && 4 * instance->burst <= device->entries)
        wrong(instance, work, instance->sent, "number: it was not sent");
    device_send(device);
    if (device->transmitted - first != instance->sent)
        wrong(instance, work, instance->sent, "number of descriptors");
    for (uint32_t i = 0; i < instance->sent; i++) {
        const struct written_packet *packet = &device->transmit_log[(first + i) % LOG];
        struct seen seen;

        instance->backend->look(instance, i, &seen);
        if (packet->address != seen.address || packet->length != seen.length || packet->bad)
            wrong(instance, work, i, "descriptor");
    }
}

/* Over both rings twice, every packet of another length, hash, tag and checksum status. */
void verify(struct instance *instance)
{
    struct device *device = &instance->device;

    device->vary = true;
    for (enum work work = 0; work < WORK_EMPTY; work++) {
        uint32_t target = 2 * device->entries + 2 * instance->burst;
        uint32_t packets = 0, stalled = 0;

        if (!instance->backend->act[work])
            continue;
        while (packets < target) {
            uint32_t n;

            pass_before(instance, work, LOCATION_HOT);
            instance->backend->act[work](instance);
            if (work_receives(work))
                check_received(instance, work);
            if (work_sends(work))
                check_sent(instance, work);
            n = pass_after(instance, work);
            stalled = n ? 0 : stalled + 1;
            if (stalled == STALLED)
                wrong(instance, work, packets, "number: nothing moves");
            packets += n;
        }
        pass_drain(instance);
        if (instance->taken != device->received)
            wrong(instance, work, instance->taken, "number: packets are lost");
        if (!device_distinct(device))
            wrong(instance, work, packets, "buffer: posted twice");
    }
    device->vary = false;
}
