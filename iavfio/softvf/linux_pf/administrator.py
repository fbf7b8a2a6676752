# SPDX-License-Identifier: BSD-3-Clause
"""What the host's administrator may do to VFs of Linux's PF: the requests of pf/admin.py.

What the PF's driver decides is asked of it, through the calls that `ip link` makes; what the card
does is done here. Commands that change how a software PF behaves are refused: this one is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.errors import ConfigError
from iavfio.linuxpf.process import What
from iavfio.softvf.linux_pf.ice.flows import told
from iavfio.softvf.pf import arguments, hardware_faults, requests
from iavfio.softvf.pf.arguments import Request
from iavfio.softvf.pf.resets import PF_RESETS
from iavfio.softvf.pf.vf import mac_text

if TYPE_CHECKING:
    from iavfio.softvf.linux_pf.card import Service
    from iavfio.softvf.linux_pf.driver import LinuxPf, LinuxVf

LINK_MODES = ("auto", "enable", "disable")  # in the order of the kernel's numbers
MOST_RATE = (1 << 31) - 1  # Mbit/s: as many as the driver's argument takes
Command = Callable[["LinuxPf", Request], dict[str, Any]]


def _vf(pf: LinuxPf, request: Request) -> LinuxVf:
    return pf.vfs[arguments.integer(request, "vf", 0, len(pf.vfs) - 1)]


def _ask(pf: LinuxPf, vf: LinuxVf, what: What, value: int = 0, payload: bytes = b"") -> None:
    """Asks the driver; ConfigError with its errno when it refuses."""
    result = pf.ask(what, vf.index, value, payload)
    if result:
        raise ConfigError(f"Linux's PF driver refused it with error {result}")


def _link(pf: LinuxPf, request: Request) -> dict[str, Any]:
    if "vf" in request:
        vf = _vf(pf, request)
        mode = arguments.word(request, "state", LINK_MODES)
        _ask(pf, vf, What.LINK, LINK_MODES.index(mode))
        vf.link_mode = mode
        return {"link_up": vf.up}
    if "state" not in request and "speed" not in request:
        raise ConfigError('"link" needs "vf" and "state", or "state" or "speed" of the wire')
    up, speed = pf.wire_up, pf.link_speed
    if "state" in request:
        up = arguments.word(request, "state", ("up", "down")) == "up"
    if "speed" in request:
        speeds = sorted(pf.card.link_speeds)
        speed = arguments.integer(request, "speed", speeds[0], speeds[-1])
        if speed not in speeds:
            raise ConfigError(f'"speed" must be one of {", ".join(map(str, speeds))}')
    pf.set_wire(up, speed)
    return {"link_up": pf.wire_up, "speed": pf.link_speed}


def _trust(pf: LinuxPf, request: Request) -> dict[str, Any]:
    _ask(pf, _vf(pf, request), What.TRUST, int(arguments.flag(request, "on")))
    return {}


def _mac(pf: LinuxPf, request: Request) -> dict[str, Any]:
    mac = arguments.parse_mac(request.get("mac"))
    _ask(pf, _vf(pf, request), What.MAC, payload=mac)
    return {}


def _vlan(pf: LinuxPf, request: Request) -> dict[str, Any]:
    vlan = arguments.integer(request, "vlan", 0, 4094)
    _ask(pf, _vf(pf, request), What.PORT_VLAN, vlan)
    return {}


def _spoofchk(pf: LinuxPf, request: Request) -> dict[str, Any]:
    _ask(pf, _vf(pf, request), What.SPOOFCHK, int(arguments.flag(request, "on")))
    return {}


def _rate(pf: LinuxPf, request: Request) -> dict[str, Any]:
    vf, mbps = _vf(pf, request), arguments.integer(request, "mbps", 0, MOST_RATE)
    _ask(pf, vf, What.RATE, mbps)
    assert vf.service is not None
    return {"in_force": vf.service.traffic.rate}


def _reset(pf: LinuxPf, request: Request) -> dict[str, Any]:
    vf, notify = _vf(pf, request), arguments.flag(request, "notify", True)
    latency = arguments.latency(request)
    _ask(pf, vf, What.RESET, int(notify))
    if vf.in_reset and latency is not None:
        vf.latency_ms = latency
    return {}


def _pf_reset(pf: LinuxPf, request: Request) -> dict[str, Any]:
    """The VFs see the same of each kind, but for the time that it takes."""
    kind = arguments.word(request, "kind", tuple(PF_RESETS))
    notify, latency = arguments.flag(request, "notify", True), arguments.latency(request)
    if latency is None:
        latency = pf.personality.reset_ms * PF_RESETS[kind]
    pf.resets.card(notify, latency)
    return {"latency_ms": latency}


def _fault(pf: LinuxPf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    kind = arguments.word(request, "kind", (*hardware_faults.FAULTS, "clear"))
    if kind == "clear":
        hardware_faults.clear(pf.plane, vf)
    else:
        hardware_faults.FAULTS[kind](pf.plane, vf, request)
    return {"waiting": hardware_faults.texts(vf)}


def _udp_tunnel(pf: LinuxPf, request: Request) -> dict[str, Any]:
    return requests.udp_tunnel(pf.plane, pf.tunnels, request)


def _send(pf: LinuxPf, request: Request) -> dict[str, Any]:
    return requests.send(_vf(pf, request).hardware, request)


def _snapshot(pf: LinuxPf, request: Request) -> dict[str, Any]:
    return {"snapshot": snapshot(pf, _vf(pf, request))}


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "link": _link,
        "trust": _trust,
        "mac": _mac,
        "vlan": _vlan,
        "spoofchk": _spoofchk,
        "rate": _rate,
        "reset": _reset,
        "pf_reset": _pf_reset,
        "fault": _fault,
        "udp_tunnel": _udp_tunnel,
        "send": _send,
        "snapshot": _snapshot,
    }
)


def control(pf: LinuxPf, request: Request) -> dict[str, Any]:
    """Carries out one request; raises ConfigError for what cannot be, and changes nothing then."""
    left_out = () if pf.card.limits_rate else ("rate",)
    commands = {name: command for name, command in COMMANDS.items() if name not in left_out}
    answer = requests.carry_out(
        commands,
        pf,
        request,
        " for Linux's own PF driver",
        f"this PF has {', '.join(commands)}; start without --pf for a software PF",
    )
    if pf.dead and request.get("command") != "snapshot":
        raise ConfigError("Linux's PF driver has ended", remedy="start the software VF again")
    return answer


def _state(vf: LinuxVf, service: Service) -> str:
    """Where the VF stands: "init" until it has been told its resources."""
    if not vf.ready:
        return "resetting"
    if service.disabled:
        return "disabled"
    return "active" if vf.caps else "init"


def _queue_stats(pf: LinuxPf, vf: LinuxVf) -> dict[str, list[int]]:
    """Packets, bytes, drops of each queue that runs, since it was configured."""
    running = [("rx", queue) for queue in sorted(vf.running_rx)]
    running += [("tx", queue) for queue in sorted(vf.running_tx)]
    return {
        f"{way}{queue}": list(pf.plane.queue_stats(vf.index, queue, way == "rx"))
        for way, queue in running
    }


def snapshot(pf: LinuxPf, vf: LinuxVf) -> dict[str, Any]:
    """A VF's state under the names of the software PF's snapshot, as far as the PF holds it."""
    service = vf.service
    assert service is not None  # was looked at when the PF was made
    traffic = service.traffic
    vectors = {
        str(number): [vector.rx_map, vector.tx_map]
        for number, vector in enumerate(service.vectors)
        if vector.rx_map or vector.tx_map
    }
    own_mac = mac_text(service.mac)
    return {
        "vf": vf.index,
        "personality": pf.personality.name,
        "pf": pf.name,
        "state": _state(vf, service),
        "disabled": "",
        "resets": vf.resets,
        "version": list(service.version),
        "vsi_id": pf.personality.vsi_id(vf.index),
        "caps": vf.caps,
        "num_queue_pairs": service.pairs,
        "queues": {
            "enabled_rx": sorted(service.rx),
            "enabled_tx": sorted(service.tx),
            "stats": _queue_stats(pf, vf),
            "vectors": vectors,
        },
        "default_mac": own_mac,
        "primary_mac": own_mac,
        "macs": [mac_text(mac) for mac in traffic.macs],
        "vlans": sorted(vid for _, vid in traffic.vlans if vid),
        "vlan_strip": traffic.strip,
        "port_vlan": traffic.port_vlan,
        "promisc": {
            "unicast": traffic.promisc_unicast or traffic.default_vsi,
            "multicast": traffic.promisc_multicast,
        },
        "trusted": traffic.trusted,
        "spoofchk": service.spoof_check,
        **({"rate": traffic.rate} if pf.card.limits_rate else {}),
        "link": {"mode": vf.link_mode, "up": vf.up, "speed": pf.link_speed},
        "rss": {
            "key": traffic.rss_key.hex(),
            "lut": list(traffic.rss_lut),
            "hashcfg": traffic.hashcfg,
            "symmetric": traffic.symmetric,
            "rules": [told(rule) for rule in traffic.rules],
        },
        "faults": hardware_faults.texts(vf),
    }
