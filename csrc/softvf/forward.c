/* SPDX-License-Identifier: BSD-3-Clause */
/* The switch between the VFs of the PF and its uplink. */
#include <string.h>

#include "softvf/plane.h"

static uint32_t slot_of(uint64_t mac)
{
    return (uint32_t)((mac * 0x9e3779b97f4a7c15ull) >> 54) & (MAC_SLOTS - 1);
}

static uint64_t look_up(const struct plane *plane, uint64_t mac)
{
    for (uint32_t at = slot_of(mac), tries = 0; tries < MAC_SLOTS;
         tries++, at = (at + 1) & (MAC_SLOTS - 1)) {
        if (plane->macs[at].mac == mac)
            return plane->macs[at].vfs;
        if (plane->macs[at].mac == 0)
            return 0;
    }
    return 0;
}

static void add_mac(struct plane *plane, uint64_t mac, uint32_t vf)
{
    if (mac == 0)
        return;
    for (uint32_t at = slot_of(mac), tries = 0; tries < MAC_SLOTS - 1;
         tries++, at = (at + 1) & (MAC_SLOTS - 1)) {
        if (plane->macs[at].mac == mac || plane->macs[at].mac == 0) {
            plane->macs[at].mac = mac;
            plane->macs[at].vfs |= 1ull << vf;
            return;
        }
    }
}

void rebuild_switch(struct plane *plane)
{
    memset(plane->macs, 0, sizeof(plane->macs));
    plane->promiscuous = plane->all_multicast = plane->active = 0;
    for (uint32_t i = 0; i < plane->vfs; i++) {
        const struct softvf_config *c = &plane->vf[i].config->c;

        if (!c->active)
            continue;
        plane->active |= 1ull << i;
        if (c->promisc_unicast)
            plane->promiscuous |= 1ull << i;
        if (c->promisc_multicast)
            plane->all_multicast |= 1ull << i;
        add_mac(plane, mac48(c->primary), i);
        for (uint32_t m = 0; m < c->num_macs && m < MAX_MACS; m++)
            add_mac(plane, mac48(c->macs[m]), i);
    }
}

/* Whether a VF's VLAN rules let a frame in; a port VLAN's tag is taken off on the way (*frame, *len). */
static bool admitted(struct plane *plane, const struct vf *vf, const uint8_t **frame, uint32_t *len)
{
    const struct vf_config *config = vf->config;
    uint16_t tci = 0;
    uint16_t tpid;

    if (!config->c.vlan_filtering && !config->c.port_vlan)
        return true;
    tpid = vlan_outer(*frame, *len, &tci);
    if (config->c.port_vlan) {
        if (!tpid || (tci & 0xfff) != config->c.port_vlan)
            return false;
        memcpy(plane->tagged, *frame, 12);
        memcpy(plane->tagged + 12, *frame + 16, *len - 16);
        *frame = plane->tagged;
        *len -= 4;
        return true;
    }
    if (!tpid || (tci & 0xfff) == 0)
        return true;
    return config->vlan_bitmap[(tci & 0xfff) / 64] >> (tci & 63) & 1;
}

static void deliver(struct plane *plane, uint64_t targets, const uint8_t *frame, uint32_t len,
                    int from)
{
    for (; targets; targets &= targets - 1) {
        struct vf *vf = &plane->vf[__builtin_ctzll(targets)];
        const uint8_t *seen = frame;
        uint32_t seen_len = len;

        if (admitted(plane, vf, &seen, &seen_len))
            receive(plane, vf, seen, seen_len, from);
    }
}

static uint64_t members(const struct plane *plane, const uint8_t *frame, uint64_t mac)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (!(frame[0] & 1))
        return look_up(plane, mac) | plane->promiscuous;
    if (memcmp(frame, all, 6) == 0)
        return plane->active;
    return look_up(plane, mac) | plane->all_multicast;
}

static bool owns(const struct vf *vf, uint64_t mac)
{
    const struct softvf_config *c = &vf->config->c;

    if (mac == mac48(c->primary))
        return true;
    for (uint32_t m = 0; m < c->num_macs && m < MAX_MACS; m++)
        if (mac48(c->macs[m]) == mac)
            return true;
    return false;
}

static bool may_send(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    const struct vf_config *config = vf->config;
    uint16_t tci = 0;
    uint16_t tpid;

    if (!config->c.active || !config->c.link_up || !plane->link) {
        vf->stats[TX_DISCARD]++;
        return false;
    }
    if (config->c.spoof_check && !owns(vf, mac48(frame + 6))) {
        vf->stats[TX_DISCARD]++;
        report(
            plane, vf, SOFTVF_VIOLATION, "descriptors 15",
            "source MAC %02x:%02x:%02x:%02x:%02x:%02x is not this VF's: dropped by the spoof check",
            frame[6], frame[7], frame[8], frame[9], frame[10], frame[11]);
        return false;
    }
    if (!config->c.vlan_filtering && !config->c.port_vlan)
        return true;
    tpid = vlan_outer(frame, len, &tci);
    if (!tpid)
        return true;
    if (config->c.port_vlan || !(config->vlan_bitmap[(tci & 0xfff) / 64] >> (tci & 63) & 1)) {
        vf->stats[TX_DISCARD]++;
        report(plane, vf, SOFTVF_VIOLATION, "descriptors 15",
               "a frame with VLAN %u is not allowed: dropped", tci & 0xfff);
        return false;
    }
    return true;
}

void forward_from_vf(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    uint64_t mac = mac48(frame);
    uint64_t self = 1ull << vf->index;
    uint64_t targets;
    uint8_t with_tag[MAX_FRAME_ROOM];

    if (len > MAX_FRAME_ROOM - 8 || !may_send(plane, vf, frame, len))
        return;
    vf->stats[TX_BYTES] += len;
    vf->stats[!(frame[0] & 1) ? TX_UCAST : mac == 0xffffffffffffull ? TX_BCAST : TX_MCAST]++;
    if (vf->config->c.port_vlan) {
        memcpy(with_tag, frame, len);
        vlan_insert(with_tag, &len, sizeof(with_tag), 0x8100, vf->config->c.port_vlan);
        frame = with_tag;
    }
    targets = members(plane, frame, mac);
    deliver(plane, targets & ~self, frame, len, (int)vf->index);
    /* A unicast frame that another VF owns stays in the switch. */
    if (!(frame[0] & 1) && look_up(plane, mac) & ~self)
        return;
    if (plane->loopback) {
        /* The wire brings the frame back; the other VFs have had theirs from the switch. */
        if (targets & self)
            deliver(plane, self, frame, len, -1);
    } else if (plane->uplink && plane->uplink->ops &&
               plane->uplink->ops->send(plane->uplink, frame, len)) {
        vf->stats[TX_ERROR]++;
    }
}

static uint32_t generate(struct plane *plane)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];
        uint32_t room = vf->config->c.active && vf->bus_master ? receive_room(vf) : 0;

        for (uint32_t n = room < BURST ? room : BURST; n; n--) {
            uint32_t len;
            const uint8_t *frame = plane->uplink->ops->next(plane->uplink, &len);

            if (!frame || len > sizeof(plane->segment))
                return done;
            memcpy(plane->segment, frame, len);
            memcpy(plane->segment, vf->config->c.primary, 6);
            receive(plane, vf, plane->segment, len, -1);
            done++;
        }
    }
    return done;
}

uint32_t forward_from_wire(struct plane *plane)
{
    uint32_t done = 0;

    if (!plane->uplink || !plane->uplink->ops || !plane->link || !plane->active)
        return 0;
    if (plane->uplink->greedy)
        return generate(plane);
    for (; done < BURST; done++) {
        uint32_t len;
        const uint8_t *frame = plane->uplink->ops->next(plane->uplink, &len);

        if (!frame)
            break;
        if (len >= 14 && len <= MAX_FRAME_ROOM - 8)
            deliver(plane, members(plane, frame, mac48(frame)) & plane->active, frame, len, -1);
    }
    return done;
}
