# SPDX-License-Identifier: BSD-3-Clause
"""What the host's administrator may do to VFs, as JSON-able requests.

{"command": "link", "vf": 0, "state": "auto" | "enable" | "disable"}
{"command": "link", "state": "up" | "down", "speed": 25000}    the wire; each part optional
{"command": "trust", "vf": 0, "on": true}                      resets the VF
{"command": "mac", "vf": 0, "mac": "02:00:00:00:00:01"}        resets the VF; zero = unset
{"command": "vlan", "vf": 0, "vlan": 100}                      port VLAN, 0 = none; resets
{"command": "spoofchk", "vf": 0, "on": false}
{"command": "reset", "vf": 0, "notify": true, "latency_ms": 100}
{"command": "pf_reset", "kind": "pfr" | "corer" | "globr" | "empr", "notify": true}
{"command": "pf_driver", "state": "unload" | "load"}
{"command": "fault", "vf": 0, "kind": "drop", "opcode": 6, "count": 1, "value": 0}
{"command": "fault", "vf": 0, "kind": "clear"}
{"command": "send", "vf": 0, "opcode": 17, "retval": 0, "payload": "0100..."}   unsolicited
{"command": "stats_base", "vf": 0, "values": [12 integers]}    added to what GET_STATS says
{"command": "snapshot", "vf": 0}
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.errors import ConfigError
from iavfio.softvf.personality import LINK_SPEEDS
from iavfio.softvf.pf import link
from iavfio.softvf.pf.faults import KINDS, NEEDS_VALUE, Fault
from iavfio.softvf.pf.resets import PF_RESETS
from iavfio.softvf.pf.vf import ZERO_MAC, Phase, Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

Request = Mapping[str, Any]
Command = Callable[["Pf", Request], dict[str, Any]]
U64 = (1 << 64) - 1
MESSAGE_LIMIT = 4096


def _integer(request: Request, key: str, low: int, high: int, default: int | None = None) -> int:
    value = request.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f'"{key}" must be an integer from {low} to {high}, not {value!r}')
    return value


def _flag(request: Request, key: str, default: bool | None = None) -> bool:
    value = request.get(key, default)
    if type(value) is not bool:
        raise ConfigError(f'"{key}" must be true or false, not {value!r}')
    return value


def _word(request: Request, key: str, words: tuple[str, ...]) -> str:
    value = request.get(key)
    if value not in words:
        raise ConfigError(f'"{key}" must be one of {", ".join(words)}, not {value!r}')
    return str(value)


def _latency(request: Request) -> float | None:
    value = request.get("latency_ms")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 60_000:
        raise ConfigError(f'"latency_ms" must be a number from 0 to 60000, not {value!r}')
    return float(value)


def _hex(request: Request, key: str) -> bytes:
    value = request.get(key, "")
    if not isinstance(value, str) or len(value) % 2 or set(value) - set(string.hexdigits):
        raise ConfigError(f'"{key}" must be pairs of hex digits, not {value!r}')
    if len(value) > 2 * MESSAGE_LIMIT:
        raise ConfigError(f'"{key}" is longer than {MESSAGE_LIMIT} bytes')
    return bytes.fromhex(value)


def parse_mac(text: object) -> bytes:
    """A unicast MAC or all zero; raises ConfigError."""
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 6 or any(len(p) != 2 or set(p) - set(string.hexdigits) for p in parts):
        raise ConfigError(f'"mac" must look like 02:00:00:00:00:01, not {text!r}')
    mac = bytes.fromhex("".join(parts))
    if mac[0] & 1:
        raise ConfigError(f"{text} is a multicast address, a VF needs a unicast one")
    return mac


def _vf(pf: Pf, request: Request) -> Vf:
    return pf.vfs[_integer(request, "vf", 0, len(pf.vfs) - 1)]


def _change(pf: Pf, vf: Vf, cause: str) -> dict[str, Any]:
    """What the PFs do after each change of MAC, trust or port VLAN."""
    pf.publish(vf)
    if vf.phase is not Phase.GONE:
        pf.resets.start(vf, cause, notify=pf.personality.notify)
    return {}


def _link(pf: Pf, request: Request) -> dict[str, Any]:
    if "vf" in request:
        vf = _vf(pf, request)
        vf.link_mode = _word(request, "state", link.MODES)
        link.changed(pf, vf)
        return {"link_up": link.is_up(pf, vf)}
    if "state" not in request and "speed" not in request:
        raise ConfigError('"link" needs "vf" and "state", or "state" or "speed" of the wire')
    speed = _integer(request, "speed", LINK_SPEEDS[0], LINK_SPEEDS[-1], pf.link_speed)
    if speed not in LINK_SPEEDS:
        raise ConfigError(f'"speed" must be one of {", ".join(map(str, LINK_SPEEDS))}')
    if "state" in request:
        pf.wire_up = _word(request, "state", ("up", "down")) == "up"
        pf.plane.set_link(pf.wire_up)
    pf.link_speed = speed
    for vf in pf.vfs:
        link.changed(pf, vf)
    return {"link_up": pf.wire_up, "speed": pf.link_speed}


def _trust(pf: Pf, request: Request) -> dict[str, Any]:
    vf, on = _vf(pf, request), _flag(request, "on")
    if vf.trusted == on:
        return {}
    vf.trusted = on
    return _change(pf, vf, f"the administrator set trust {'on' if on else 'off'}")


def _mac(pf: Pf, request: Request) -> dict[str, Any]:
    vf, mac = _vf(pf, request), parse_mac(request.get("mac"))
    vf.admin_mac = None if mac == ZERO_MAC else mac
    vf.own_mac = mac
    return _change(pf, vf, f"the administrator set MAC {mac_text(mac)}")


def _vlan(pf: Pf, request: Request) -> dict[str, Any]:
    vf, vlan = _vf(pf, request), _integer(request, "vlan", 0, 4094)
    if vf.port_vlan == vlan:
        return {}
    vf.port_vlan = vlan
    return _change(pf, vf, f"the administrator set port VLAN {vlan}")


def _spoofchk(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    vf.spoof_check = _flag(request, "on")
    pf.publish(vf)
    return {}


def _reset(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    notify = _flag(request, "notify", pf.personality.notify)
    if vf.phase is Phase.GONE:
        raise ConfigError("the PF's driver is unloaded", remedy='{"command": "pf_driver", ...}')
    pf.resets.start(vf, "the administrator's", notify=notify, latency_ms=_latency(request))
    return {}


def _pf_reset(pf: Pf, request: Request) -> dict[str, Any]:
    kind = _word(request, "kind", tuple(PF_RESETS))
    notify = _flag(request, "notify", pf.personality.notify)
    latency = _latency(request)
    if latency is None:
        latency = pf.personality.reset_ms * PF_RESETS[kind]
    for vf in pf.vfs:
        if vf.phase is not Phase.GONE:
            pf.resets.start(vf, kind.upper(), notify=notify, latency_ms=latency)
    return {"latency_ms": latency}


def _pf_driver(pf: Pf, request: Request) -> dict[str, Any]:
    unload = _word(request, "state", ("unload", "load")) == "unload"
    for vf in pf.vfs:
        if unload and vf.phase is not Phase.GONE:
            pf.resets.stop(vf)
            vf.enter(Phase.GONE)
            pf.drop_inbox(vf)
            pf.publish(vf)
            vf.hardware.set_gone(True)
        elif not unload and vf.phase is Phase.GONE:
            vf.hardware.set_gone(False)
            pf.resets.start(vf, "the PF's driver was loaded")
    return {}


def _fault(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    kind = _word(request, "kind", (*KINDS, "clear"))
    if kind == "clear":
        pf.faults.clear(vf.index)
        return {}
    opcode = _integer(request, "opcode", 1, 0xFFFF) if request.get("opcode") is not None else None
    value = _integer(
        request, "value", -(1 << 31), (1 << 31) - 1, None if kind in NEEDS_VALUE else 0
    )
    if kind != "retval" and not 0 <= value <= 0xFFFF:
        raise ConfigError(f'"value" of {kind} must be from 0 to 65535, not {value}')
    count = _integer(request, "count", 1, 1_000_000, 1)
    pf.faults.add(Fault(kind, vf.index, opcode, count, value))
    return {"waiting": pf.faults.texts(vf.index)}


def _send(pf: Pf, request: Request) -> dict[str, Any]:
    vf = _vf(pf, request)
    opcode = _integer(request, "opcode", 0, 0xFFFF)
    retval = _integer(request, "retval", -(1 << 31), (1 << 31) - 1, 0)
    vf.hardware.send_to_vf(opcode, retval, _hex(request, "payload"))
    return {}


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
        "reset": _reset,
        "pf_reset": _pf_reset,
        "pf_driver": _pf_driver,
        "fault": _fault,
        "send": _send,
        "stats_base": _stats_base,
        "snapshot": _snapshot,
    }
)


def control(pf: Pf, request: Request) -> dict[str, Any]:
    """Carries out one request; raises ConfigError for what cannot be, and changes nothing then."""
    name = request.get("command")
    command = COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        raise ConfigError(f"there is no command {name!r}", remedy=f"PF: {', '.join(COMMANDS)}")
    return command(pf, request)


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
            "enabled_rx": [q for q in range(16) if vf.rx_enabled >> q & 1],
            "enabled_tx": [q for q in range(16) if vf.tx_enabled >> q & 1],
            "stats": _queue_stats(pf, vf),
            "vectors": {str(v): list(maps) for v, maps in sorted(vf.vector_maps.items())},
        },
        "default_mac": mac_text(vf.default_mac),
        "admin_mac": mac_text(vf.admin_mac) if vf.admin_mac else None,
        "primary_mac": mac_text(vf.primary_mac),
        "macs": [mac_text(mac) for mac in vf.macs],
        "vlans": sorted(vf.vlans | {vid for _, vid in vf.tagged}),
        "vlan_strip": vf.strip,
        "vlan_insert": vf.insertion,
        "port_vlan": vf.port_vlan,
        "promisc": {"unicast": vf.promisc_unicast, "multicast": vf.promisc_multicast},
        "trusted": vf.trusted,
        "spoofchk": vf.spoof_check,
        "link": {"mode": vf.link_mode, "up": link.is_up(pf, vf), "speed": pf.link_speed},
        "rss": {
            "key": vf.rss_key.hex(),
            "lut": list(vf.rss_lut),
            "hashcfg": vf.hashcfg,
            "symmetric": vf.symmetric,
        },
        "faults": pf.faults.texts(vf.index),
    }
