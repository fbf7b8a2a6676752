# SPDX-License-Identifier: BSD-3-Clause
"""What the PF's filters let in: addresses, groups, VLANs, promiscuous modes.

No counter of a VF shows a frame that they keep away. Evidence is what a PF that checks sources does
with frames from an address, and which kinds of frames are received while others are not.
"""

from __future__ import annotations

from iavfio.arguments import counted
from iavfio.port.facts import HOST, Facts, Finding

OPEN = f"{HOST} trust on, then configure(promiscuous=True), receives everything"


def untrusted(f: Facts) -> Finding | None:
    """Promiscuous modes that are not in force."""
    if f.trust != "untrusted" or not (f.promiscuous or f.all_multicast):
        return None
    mode = "promiscuous mode" if f.promiscuous else "all-multicast mode"
    return Finding(
        "not trusted",
        f"{mode} is not in force, although the PF said yes: the host does not trust this VF",
        "the PF refused one address more than an untrusted VF may have",
        f"{HOST} trust on (a software PF: "
        '{"command": "trust", "vf": N, "on": true}); or name the addresses in extra_macs',
    )


def own_address(f: Facts) -> Finding | None:
    """The PF does not know the address that the port takes for its own."""
    if f.own is not False or not f.own_refused or f.stuck or not f.counts.link_up:
        return None
    return Finding(
        "MAC filter",
        f"the PF does not have {f.counts.mac} among the VF's addresses: what is sent from it is "
        "discarded, and what is sent to it does not come in",
        "a probe from the port's own address was discarded by the spoof check",
        "port.reset() sets it anew; or take the PF's: configure(mac='auto'); or on the host: "
        f"ip link set PF vf N mac {f.counts.mac}",
    )


def further_addresses(f: Facts) -> Finding | None:
    """The PF does not know an address of `extra_macs`."""
    if not f.absent:
        return None
    macs = ", ".join(mac.hex(":") for mac in f.absent)
    return Finding(
        "MAC filter",
        f"the PF does not have {macs} among the VF's addresses, although extra_macs names it: what "
        "is sent to it does not come in",
        "a probe from it was discarded by the spoof check, one from the port's own address passed",
        "port.reset() sets the addresses anew",
    )


def vlans(f: Facts) -> Finding | None:
    """VLAN filters hold back tagged frames; a port VLAN does what the host asked for."""
    if f.vlans != "filter" or f.counts.pf["tx_errors"] > f.discarded_probes:
        return None  # then `discards` has told
    return Finding(
        "VLAN filter",
        "frames with a VLAN tag neither come in nor leave: the PF has VLAN filters for this VF, "
        "and none for them",
        "a tagged probe from the port's own address was discarded, an untagged one passed",
        f"{HOST} trust on (i40e filters for VFs that are not trusted), or "
        "ethtool --set-priv-flags PF vf-vlan-pruning off "
        '(a software PF: {"command": "trust", "vf": N, "on": true})',
    )


def no_unicast(f: Facts) -> Finding | None:
    """Others are heard, and nothing comes for the port itself."""
    pf = f.counts.pf
    others = pf["rx_broadcast"] + pf["rx_multicast"]
    if f.promiscuous or not others or pf["rx_unicast"]:
        return None
    have = ", ".join([f.counts.mac, *(mac.hex(":") for mac in f.extra_macs if not mac[0] & 1)])
    return Finding(
        "MAC filter",
        f"no unicast frame was for this VF: its filters let in those to {have} alone",
        f"rx_unicast says 0, and rx_broadcast and rx_multicast {counted(others, 'packet')}",
        f"send to {f.counts.mac}, name the address that is used in extra_macs, or {OPEN}",
    )


def no_multicast(f: Facts) -> Finding | None:
    """A port that takes part in multicast and is in no group."""
    pf = f.counts.pf
    joined = any(bool(mac[0] & 1) for mac in f.extra_macs)
    if f.promiscuous or f.all_multicast or joined or pf["rx_multicast"] or not pf["tx_multicast"]:
        return None
    return Finding(
        "multicast filter",
        "multicast does not come in: the port is in no group",
        f"rx_multicast says 0, and tx_multicast {counted(pf['tx_multicast'], 'packet')}; no group "
        "is in extra_macs, all_multicast is off",
        "name the groups: configure(extra_macs=['33:33:00:00:00:01']), or "
        f"{HOST} trust on and configure(all_multicast=True)",
    )
