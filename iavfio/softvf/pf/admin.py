# SPDX-License-Identifier: BSD-3-Clause
"""What the host's administrator may do to VFs, as JSON-able requests.

{"command": "link", "vf": 0, "state": "auto" | "enable" | "disable"}
{"command": "link", "state": "up" | "down", "speed": 25000}    the wire; each part optional
{"command": "trust", "vf": 0, "on": true}                      resets the VF (see _trust)
{"command": "mac", "vf": 0, "mac": "02:00:00:00:00:01"}        resets the VF; zero = unset
{"command": "vlan", "vf": 0, "vlan": 100}                      port VLAN, 0 = none; resets
{"command": "spoofchk", "vf": 0, "on": false}
{"command": "rate", "vf": 0, "mbps": 1000}                     what it may send; 0 = no limit
{"command": "delay", "vf": 0, "us": 250}                       what it sends takes longer; 0 = none
{"command": "reset", "vf": 0, "notify": true, "latency_ms": 100}
{"command": "pf_reset", "kind": "pfr" | "corer" | "globr" | "empr", "notify": true}
{"command": "pf_driver", "state": "close" | "unload" | "load"}   close: says PF_DRIVER_CLOSE only
{"command": "fault", "vf": 0, "kind": "drop", "opcode": 6, "count": 1, "value": 0}
{"command": "fault", "vf": 0, "kind": "tx_stall", "queue": 0, "on": true}      until a reset
{"command": "fault", "vf": 0, "kind": "aq_error", "queue": "atq" | "arq", "error": "vfe" | "ovfl" |
    "crit"}
{"command": "fault", "vf": 0, "kind": "spoil", "how": "lose" | "corrupt" | "twice" | "hash" |
    "checksum" | "uncounted" | "tag" | "tag_kept" | "tag_lost" | "tagged_lost", "every": 7}
    frames that the VF receives; the last four are of frames with a VLAN tag
{"command": "fault", "vf": 0, "kind": "reset", "how": "hang" | "mute" | "msix" | "counters" | "dma"}
    its resets go wrong from the next one on
{"command": "fault", "vf": 0, "kind": "clear"}
{"command": "udp_tunnel", "kind": "vxlan" | "geneve", "port": 4789, "on": true}    of the host
{"command": "send", "vf": 0, "opcode": 17, "retval": 0, "payload": "0100..."}   unsolicited
{"command": "stats_base", "vf": 0, "values": [12 integers]}    added to what GET_STATS says
{"command": "snapshot", "vf": 0}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.errors import ConfigError
from iavfio.softvf._device import lib
from iavfio.softvf.personality import DELAY_LIMIT, LINK_SPEEDS, NO_TRUST
from iavfio.softvf.pf import (
    arguments,
    broken_resets,
    hardware_faults,
    ice_vlans,
    link,
    queues,
    rate,
    requests,
)
from iavfio.softvf.pf.arguments import Request
from iavfio.softvf.pf.faults import KINDS, NEEDS_VALUE, Fault
from iavfio.softvf.pf.ice_addresses import LLDP
from iavfio.softvf.pf.resets import PF_RESETS
from iavfio.softvf.pf.snapshot import faults, snapshot
from iavfio.softvf.pf.vf import ZERO_MAC, Phase, Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

Command = Callable[["Pf", Request], dict[str, Any]]
U64 = (1 << 64) - 1
MOST_RATE = (1 << 32) - 1  # Mbit/s: as many as the kernel's field takes


def _vf(pf: Pf, request: Request) -> Vf:
    return pf.vfs[arguments.integer(request, "vf", 0, len(pf.vfs) - 1)]


def _change(pf: Pf, vf: Vf, cause: str) -> dict[str, Any]:
    """What the PFs do after each change of MAC, trust or port VLAN."""
    pf.publish(vf)
    if vf.phase is not Phase.GONE:
        pf.resets.start(vf, cause, notify=pf.personality.notify)
    return {}


def _link(pf: Pf, request: Request) -> dict[str, Any]:
    if "vf" in request:
        vf = _vf(pf, request)
        state = arguments.word(request, "state", link.MODES)
        if pf.personality.spares_resets and not pf.personality.is_ice and state == vf.link_mode:
            return {"link_up": link.is_up(pf, vf)}
        vf.link_mode = state
        if not pf.personality.is_ice:  # docs/spec/pf-dialects.md 5
            if vf.link_mode == "disable":
                queues.stop_in_use(pf, vf)
            else:
                _change(pf, vf, "the administrator sets the link")
        link.changed(pf, vf)
        return {"link_up": link.is_up(pf, vf)}
    if "state" not in request and "speed" not in request:
        raise ConfigError('"link" needs "vf" and "state", or "state" or "speed" of the wire')
    speed = arguments.integer(request, "speed", LINK_SPEEDS[0], LINK_SPEEDS[-1], pf.link_speed)
    if speed not in LINK_SPEEDS:
        raise ConfigError(f'"speed" must be one of {", ".join(map(str, LINK_SPEEDS))}')
    if "state" in request:
        pf.wire_up = arguments.word(request, "state", ("up", "down")) == "up"
        pf.plane.set_link(pf.wire_up)
    pf.link_speed = speed
    for vf in pf.vfs:
        link.changed(pf, vf)
    return {"link_up": pf.wire_up, "speed": pf.link_speed}


def _trust(pf: Pf, request: Request) -> dict[str, Any]:
    vf, on = _vf(pf, request), arguments.flag(request, "on")
    if not pf.personality.trust_exists:
        raise ConfigError(*NO_TRUST)
    if vf.trusted == on:
        return {}
    vf.trusted = on
    if pf.personality.spares_resets and (on or not _has_more(pf, vf)):
        pf.publish(vf)
        return {}
    return _change(pf, vf, f"the administrator set trust {'on' if on else 'off'}")


def _has_more(pf: Pf, vf: Vf) -> bool:
    """Whether a VF has what only a trusted one may, as far as later drivers look."""
    hears_lldp = pf.personality.is_ice and not LLDP.isdisjoint(vf.macs)
    return vf.promisc_unicast or vf.promisc_multicast or hears_lldp


def _mac(pf: Pf, request: Request) -> dict[str, Any]:
    vf, mac = _vf(pf, request), arguments.parse_mac(request.get("mac"))
    if pf.personality.is_ice and mac == vf.own_mac == vf.device_mac:
        return {}  # ice finds nothing to do
    vf.admin_mac = None if mac == ZERO_MAC else mac
    vf.own_mac = mac
    return _change(pf, vf, f"the administrator set MAC {mac_text(mac)}")


def _vlan(pf: Pf, request: Request) -> dict[str, Any]:
    vf, vlan = _vf(pf, request), arguments.integer(request, "vlan", 0, 4094)
    if vf.port_vlan == vlan:
        return {}
    vf.port_vlan = vlan
    return _change(pf, vf, f"the administrator set port VLAN {vlan}")


def _spoofchk(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    vf.spoof_check = arguments.flag(request, "on")
    if pf.personality.is_ice:
        ice_vlans.changed(vf)
    pf.publish(vf)
    return {}


def _rate(pf: Pf, request: Request) -> dict[str, Any]:
    """No reset follows. Both PFs refuse what is above the speed of the link."""
    most = pf.link_speed
    vf, mbps = _vf(pf, request), arguments.integer(request, "mbps", 0, MOST_RATE)
    if mbps > most:
        raise ConfigError(
            f"a rate of {mbps} Mbit/s is above the link's speed",
            remedy=f'"mbps": {most}, or 0 for no limit',
        )
    vf.rate = mbps
    pf.publish(vf)
    return {"in_force": rate.in_force(pf.personality, mbps)}


def _delay(pf: Pf, request: Request) -> dict[str, Any]:
    """No reset follows. Frames that are under way keep their time."""
    vf = _vf(pf, request)
    vf.delay_us = arguments.integer(request, "us", 0, DELAY_LIMIT)
    pf.publish(vf)
    return {}


def _reset(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    notify = arguments.flag(request, "notify", pf.personality.notify)
    if vf.phase is Phase.GONE:
        raise ConfigError("the PF's driver is unloaded", remedy='{"command": "pf_driver", ...}')
    pf.resets.start(vf, "the administrator's", notify=notify, latency_ms=arguments.latency(request))
    return {}


def _pf_reset(pf: Pf, request: Request) -> dict[str, Any]:
    kind = arguments.word(request, "kind", tuple(PF_RESETS))
    notify = arguments.flag(request, "notify", pf.personality.notify)
    latency = arguments.latency(request)
    if latency is None:
        latency = pf.personality.reset_ms * PF_RESETS[kind]
    for vf in pf.vfs:
        if vf.phase is not Phase.GONE:
            pf.resets.start(vf, kind.upper(), notify=notify, latency_ms=latency)
    return {"latency_ms": latency}


def _pf_driver(pf: Pf, request: Request) -> dict[str, Any]:
    state = arguments.word(request, "state", ("close", "unload", "load"))
    unload = state == "unload"
    for vf in pf.vfs:
        if state == "close":
            if vf.phase is not Phase.GONE:
                vf.hardware.send_to_vf(lib.VC_OP_EVENT, 0, link.driver_close())
        elif unload and vf.phase is not Phase.GONE:
            pf.resets.stop(vf)
            vf.enter(Phase.GONE)
            pf.drop_inbox(vf)
            pf.publish(vf)
            vf.hardware.set_gone(True)
        elif not unload and vf.phase is Phase.GONE:
            vf.hardware.set_gone(False)
            pf.resets.start(vf, "the PF's driver was loaded")
    return {}


def _broken_reset(pf: Pf, vf: Vf, request: Request) -> dict[str, Any]:
    how = arguments.word(request, "how", tuple(broken_resets.HOW))
    broken_resets.clear(pf, vf)
    vf.broken_reset = how
    return {"waiting": faults(pf, vf)}


def _udp_tunnel(pf: Pf, request: Request) -> dict[str, Any]:
    return requests.udp_tunnel(pf.plane, pf.tunnels, request)


def _fault(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    kind = arguments.word(request, "kind", (*KINDS, *hardware_faults.FAULTS, "reset", "clear"))
    if kind in hardware_faults.FAULTS:
        hardware_faults.FAULTS[kind](pf.plane, vf, request)
        return {"waiting": faults(pf, vf)}
    if kind == "reset":
        return _broken_reset(pf, vf, request)
    if kind == "clear":
        pf.faults.clear(vf.index)
        hardware_faults.clear(pf.plane, vf)
        broken_resets.clear(pf, vf)
        return {}
    any_opcode = request.get("opcode") is None
    opcode = None if any_opcode else arguments.integer(request, "opcode", 1, 0xFFFF)
    value = arguments.integer(
        request, "value", -(1 << 31), (1 << 31) - 1, None if kind in NEEDS_VALUE else 0
    )
    if kind != "retval" and not 0 <= value <= 0xFFFF:
        raise ConfigError(f'"value" of {kind} must be from 0 to 65535, not {value}')
    count = arguments.integer(request, "count", 1, 1_000_000, 1)
    pf.faults.add(Fault(kind, vf.index, opcode, count, value))
    return {"waiting": faults(pf, vf)}


def _send(pf: Pf, request: Request) -> dict[str, Any]:
    return requests.send(_vf(pf, request).hardware, request)


def _stats_base(pf: Pf, request: Request) -> dict[str, Any]:
    vf, values = _vf(pf, request), request.get("values")
    if (
        not isinstance(values, list)
        or len(values) != 12
        or any(type(value) is not int or not 0 <= value <= U64 for value in values)
    ):
        raise ConfigError('"values" must be 12 unsigned 64-bit integers')
    vf.stats_base = tuple(values)
    return {}


def _snapshot(pf: Pf, request: Request) -> dict[str, Any]:
    return {"snapshot": snapshot(pf, _vf(pf, request))}


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "link": _link,
        "trust": _trust,
        "mac": _mac,
        "vlan": _vlan,
        "spoofchk": _spoofchk,
        "rate": _rate,
        "delay": _delay,
        "reset": _reset,
        "pf_reset": _pf_reset,
        "pf_driver": _pf_driver,
        "fault": _fault,
        "udp_tunnel": _udp_tunnel,
        "send": _send,
        "stats_base": _stats_base,
        "snapshot": _snapshot,
    }
)


def control(pf: Pf, request: Request) -> dict[str, Any]:
    """Carries out one request; raises ConfigError for what cannot be, and changes nothing then."""
    return requests.carry_out(COMMANDS, pf, request, remedy=f"PF: {', '.join(COMMANDS)}")
