/* SPDX-License-Identifier: BSD-3-Clause */
/* The switch between the VFs of the PF and its uplink. */
#include "softvf/clock.h"
#include "softvf/delay.h"
#include "softvf/report.h"
#include "softvf/rx.h"
#include "softvf/switch.h"
#include "softvf/wire.h"

#define BROADCAST 0xffffffffffffull
#define PORT_VLAN_TPID 0x8100

static uint32_t slot_of(uint64_t mac)
{
    return (uint32_t)((mac * 0x9e3779b97f4a7c15ull) >> 51) & (MAC_SLOTS - 1);
}

uint64_t switch_owners(const struct plane *plane, uint64_t mac)
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

void switch_rebuild(struct plane *plane)
{
    memset(plane->macs, 0, sizeof(plane->macs));
    plane->promiscuous = plane->default_vsis = plane->all_multicast = plane->active = 0;
    for (uint32_t i = 0; i < plane->vfs; i++) {
        const struct softvf_config *c = &plane->vf[i].config->c;
        struct vf *vf = &plane->vf[i];

        vf->may_receive = c->active && c->link_up && !c->mdd_stopped;
        vf->may_send = vf->may_receive;
        vf->primary = mac48(c->primary);
        vf->vlan_rules = c->num_vlans || c->port_vlan;
        vf->sends_slowly = vf->vlan_rules || delay_holds(vf);
        vf->needs_slow_path = vf->vlan_rules || vf->spoil.every || c->num_rules ||
                              plane->vf[i].config->flows || plane->vf[i].config->rss.split;
        if (!c->active)
            continue;
        plane->active |= 1ull << i;
        if (c->promisc_unicast)
            plane->promiscuous |= 1ull << i;
        if (c->default_vsi)
            plane->default_vsis |= 1ull << i;
        if (c->promisc_multicast)
            plane->all_multicast |= 1ull << i;
        add_mac(plane, mac48(c->primary), i);
        for (uint32_t m = 0; m < c->num_macs && m < MAX_MACS; m++)
            add_mac(plane, mac48(c->macs[m]), i);
    }
}

/* Whether the VF has a filter for the tag, type and number. */
static bool has_vlan(const struct vf_config *config, uint16_t tpid, uint16_t tci)
{
    uint32_t type = tpid == 0x88a8 ? 1 : tpid == 0x9100 ? 2 : 0;

    return config->vlan_bitmap[type][(tci & 0xfff) / 64] >> (tci & 63) & 1;
}

/* Hands a frame to a VF if its VLAN rules let it in; a port VLAN's tag is taken off on the way. */
static enum rx_fate admit(struct plane *plane, struct vf *vf, struct view *view)
{
    const struct vf_config *config = vf->config;
    struct view bare = {.frame = plane->untagged, .len = view->len - 4, .from = view->from};
    uint16_t tci = 0;
    uint16_t tpid = vlan_outer(view->frame, view->len, &tci);

    if (config->c.port_vlan) {
        if (tpid != PORT_VLAN_TPID || (tci & 0xfff) != config->c.port_vlan)
            return RX_VLAN;
        memcpy(plane->untagged, view->frame, 12);
        memcpy(plane->untagged + 12, view->frame + 16, view->len - 16);
        return rx_frame(plane, vf, &bare);
    }
    /* Untagged and priority-tagged frames belong to no VLAN. */
    if (!config->c.vlan_pruning || !tpid || (tci & 0xfff) == 0 || has_vlan(config, tpid, tci))
        return rx_frame(plane, vf, view);
    return RX_VLAN;
}

/* RX_DELIVERED when one of the VFs got it, else what became of it at the last of them. */
static enum rx_fate deliver(struct plane *plane, uint64_t targets, struct view *view)
{
    enum rx_fate fate = RX_DELIVERED;
    bool delivered = false;

    for (; targets; targets &= targets - 1) {
        struct vf *vf = &plane->vf[__builtin_ctzll(targets)];

        fate = vf->vlan_rules ? admit(plane, vf, view) : rx_frame(plane, vf, view);
        delivered |= fate == RX_DELIVERED;
    }
    return delivered ? RX_DELIVERED : fate;
}

/* The VFs whose filters take a frame, wherever it comes from. */
static uint64_t members(const struct plane *plane, uint64_t mac, uint64_t owners)
{
    if (!(mac >> 40 & 1))
        return owners | plane->promiscuous;
    return mac == BROADCAST ? plane->active : owners | plane->all_multicast;
}

/* A default VSI takes what comes from the wire and matches no filter (docs/spec/pf-dialects.md 3). */
static uint64_t members_from_wire(const struct plane *plane, uint64_t matched)
{
    return matched ? matched : plane->default_vsis;
}

static bool spoofed(struct plane *plane, struct vf *vf, const uint8_t *frame)
{
    uint64_t mac = mac48(frame + 6);

    if (mac == vf->primary || switch_owners(plane, mac) >> vf->index & 1)
        return false;
    vf->stats[TX_ERROR]++;
    report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 15",
           "source MAC %02x:%02x:%02x:%02x:%02x:%02x is not this VF's: dropped by the spoof check",
           frame[6], frame[7], frame[8], frame[9], frame[10], frame[11]);
    return true;
}

/* VLAN rules for sending: with a port VLAN no tag of the VF's own; the spoof check covers VLANs too. */
static bool vlan_denied(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    const struct vf_config *config = vf->config;
    uint16_t tci = 0;
    uint16_t tpid = vlan_outer(frame, len, &tci);

    if (!tpid)
        return false;
    if (!config->c.port_vlan && (!config->c.spoof_check || !config->c.vlan_checking ||
                                 (tci & 0xfff) == 0 || has_vlan(config, tpid, tci)))
        return false;
    vf->stats[TX_ERROR]++;
    report(plane, vf, SOFTVF_VIOLATION, "docs/spec/descriptors.md 15",
           "a frame with VLAN %u of type %#06x is not allowed: dropped", tci & 0xfff, tpid);
    return true;
}

/* A unicast frame that ends here. Where there are more addresses than entries, the one with the fewest frames
 * is forgotten: an administrator asks for what a program sends all the time. */
static void stray(struct vf *vf, uint64_t mac)
{
    struct softvf_stray *fewest = &vf->stray[0];

    if (mac >> 40 & 1)
        return;
    for (uint32_t i = 0; i < SOFTVF_STRAYS; i++) {
        if (vf->stray[i].frames && vf->stray[i].mac == mac) {
            vf->stray[i].frames++;
            return;
        }
        if (vf->stray[i].frames < fewest->frames)
            fewest = &vf->stray[i];
    }
    *fewest = (struct softvf_stray){.mac = mac, .frames = 1};
}

/* The frame comes back: the others have had theirs from the switch. */
static void loop_back(struct plane *plane, struct vf *vf, uint64_t targets, struct view *view)
{
    uint64_t self = 1ull << vf->index;
    uint64_t back = targets ? targets & self : members_from_wire(plane, 0) & plane->active;

    if (!targets && !back) {
        wire_unmatched(plane, view->frame);
        stray(vf, mac48(view->frame));
    }
    deliver(plane, back, view);
}

static void forward(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    struct view view = {.frame = frame, .len = len, .from = (int)vf->index};
    uint64_t mac = mac48(frame);
    uint64_t self = 1ull << vf->index;
    uint64_t owners, targets;

    if (!vf->may_send || !plane->link) {
        vf->stats[TX_ERROR]++;
        return;
    }
    if (vf->config->c.spoof_check && spoofed(plane, vf, frame))
        return;
    if (vf->vlan_rules && vlan_denied(plane, vf, frame, len))
        return;
    vf->stats[TX_BYTES] += len;
    vf->stats[!(frame[0] & 1) ? TX_UCAST : mac == BROADCAST ? TX_BCAST : TX_MCAST]++;
    if (vf->config->c.port_vlan) {
        memcpy(plane->tagged, frame, len);
        vlan_insert(plane->tagged, &view.len, sizeof(plane->tagged), PORT_VLAN_TPID,
                    vf->config->c.port_vlan);
        view.frame = plane->tagged;
    }
    owners = switch_owners(plane, mac);
    targets = members(plane, mac, owners);
    deliver(plane, targets & ~self, &view);
    /* A unicast frame that another VF owns stays in the switch. */
    if (!(frame[0] & 1) && owners & ~self)
        return;
    view.from = -1;
    if (plane->loopback)
        loop_back(plane, vf, targets, &view);
    else if (plane->uplink->ops)
        wire_send(plane, vf, &view);
    else if (!(targets & ~self))
        stray(vf, mac);
}

void switch_from_vf(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    if (delay_holds(vf))
        delay_hold(plane, vf, frame, len);
    else
        forward(plane, vf, frame, len);
}

/* What this costs the VF pays back by what it may send next. */
static uint32_t let_go(struct plane *plane, struct vf *vf, uint64_t now_ns)
{
    const uint8_t *frame;
    uint32_t len, done = 0;

    plane->spent = 0;
    while (plane->spent < QUANTUM && (frame = delay_due(vf, now_ns, &len))) {
        forward(plane, vf, frame, len);
        delay_pass(plane, vf, len);
        plane->spent++;
        done++;
    }
    vf->credit -= (int32_t)plane->spent;
    return done;
}

uint32_t switch_delayed(struct plane *plane)
{
    uint64_t now_ns = clock_ns();
    uint32_t done = 0;

    for (uint64_t map = plane->delayed; map; map &= map - 1)
        done += let_go(plane, &plane->vf[__builtin_ctzll(map)], now_ns);
    return done;
}

static uint32_t generate(struct plane *plane)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];
        uint32_t room = rx_room(plane, vf);

        for (uint32_t n = room < BURST ? room : BURST; n; n--) {
            struct view view = {.frame = plane->segment, .from = -1};
            const uint8_t *frame = plane->uplink->ops->next(plane->uplink, &view.len);

            if (!frame || view.len > sizeof(plane->segment))
                return done;
            memcpy(plane->segment, frame, view.len);
            memcpy(plane->segment, vf->config->c.primary, 6);
            rx_frame(plane, vf, &view);
            done++;
        }
    }
    return done;
}

uint32_t switch_from_wire(struct plane *plane)
{
    uint32_t done = 0, most;

    if (!plane->uplink->ops)
        return 0;
    if (plane->uplink->greedy)
        return plane->link && plane->active ? generate(plane) : 0;
    for (most = wire_budget(plane); done < most; done++) {
        struct view view = {.from = -1};
        uint64_t mac, targets;

        if (!wire_next(plane, &view))
            break;
        if (!view.frame)
            continue;
        mac = mac48(view.frame);
        targets = members_from_wire(plane, members(plane, mac, switch_owners(plane, mac)));
        targets &= plane->active;
        if (!targets)
            wire_unmatched(plane, view.frame);
        wire_delivered(plane, deliver(plane, targets, &view));
    }
    return done;
}
