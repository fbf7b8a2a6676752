# SPDX-License-Identifier: BSD-3-Clause
"""What the PF's driver knows of a VF, as JSON-able values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iavfio.softvf.pf import flow_rules, hardware_faults, link
from iavfio.softvf.pf.vf import Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf


def faults(pf: Pf, vf: Vf) -> list[str]:
    """The faults that were asked for and are in force or wait, in words."""
    broken = [f"reset, {vf.broken_reset}"] * bool(vf.broken_reset)
    return pf.faults.texts(vf.index) + hardware_faults.texts(vf) + broken


def _queue_stats(pf: Pf, vf: Vf) -> dict[str, list[int]]:
    """Packets, bytes, drops of each configured queue since it was configured."""
    return {
        f"{'rx' if rx else 'tx'}{queue}": list(pf.plane.queue_stats(vf.index, queue, rx))
        for queue, offer in sorted(vf.queues.items())
        for rx in (True, False)
        if (offer.rx if rx else offer.tx)
    }


def snapshot(pf: Pf, vf: Vf) -> dict[str, Any]:
    """A VF's state as JSON-able values."""
    p = pf.personality
    return {
        "vf": vf.index,
        "personality": p.name,
        "state": vf.phase.value,
        "disabled": vf.disabled_why,
        "resets": vf.resets,
        "version": list(vf.version),
        "vsi_id": p.vsi_id(vf.index),
        "caps_asked": vf.asked,
        "caps": vf.caps,
        "num_queue_pairs": vf.num_queue_pairs,
        "queues": {
            "configured_rx": sorted(q for q, offer in vf.queues.items() if offer.rx),
            "configured_tx": sorted(q for q, offer in vf.queues.items() if offer.tx),
            "enabled_rx": [q for q in range(16) if (vf.rx_enabled & ~vf.rx_stopped) >> q & 1],
            "enabled_tx": [q for q in range(16) if vf.tx_enabled >> q & 1],
            "stats": _queue_stats(pf, vf),
            "vectors": {str(v): list(maps) for v, maps in sorted(vf.vector_maps.items())},
        },
        "default_mac": mac_text(vf.default_mac),
        "admin_mac": mac_text(vf.admin_mac) if vf.admin_mac else None,
        "primary_mac": mac_text(vf.primary_mac),
        "own_mac": mac_text(vf.own_mac),
        "macs": [mac_text(mac) for mac in vf.macs],
        "vlans": sorted(vf.vlans | {vid for _, vid in vf.tagged}),
        "vlan_strip": vf.strip,
        "vlan_insert": vf.insertion,
        "port_vlan": vf.port_vlan,
        "promisc": {"unicast": vf.promisc_unicast, "multicast": vf.promisc_multicast},
        "trusted": vf.trusted,
        "spoofchk": vf.spoof_check,
        "rate": vf.rate,
        "delay_us": vf.delay_us,
        "link": {"mode": vf.link_mode, "up": link.is_up(pf, vf), "speed": pf.link_speed},
        "rss": {
            "key": vf.rss_key.hex(),
            "lut": list(vf.rss_lut),
            "hashcfg": vf.hashcfg,
            "symmetric": vf.symmetric,
            "rules": [flow_rules.told(rule) for rule in vf.rules],
        },
        "faults": faults(pf, vf),
    }
