# SPDX-License-Identifier: BSD-3-Clause
"""Requests of the administrator that every PF's driver takes in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

from iavfio.errors import ConfigError
from iavfio.softvf.contract import VfHardware
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.personality import TUNNEL_LIMIT, TUNNELS, Tunnel
from iavfio.softvf.pf import arguments
from iavfio.softvf.pf.arguments import Request
from iavfio.softvf.pf.faults import KINDS

FAULTY_ANSWER = "vf kind opcode count value"
# The arguments of each command, of each kind of fault: forms, of which a request has one.
FORMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "link": ("vf state", "state speed"),
        "trust": ("vf on",),
        "mac": ("vf mac",),
        "vlan": ("vf vlan",),
        "spoofchk": ("vf on",),
        "rate": ("vf mbps",),
        "delay": ("vf us",),
        "reset": ("vf notify latency_ms",),
        "pf_reset": ("kind notify latency_ms",),
        "pf_driver": ("state",),
        "udp_tunnel": ("kind port on",),
        "send": ("vf opcode retval payload",),
        "stats_base": ("vf values",),
        "snapshot": ("vf",),
    }
)
FAULT_FORMS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(KINDS, FAULTY_ANSWER),
        "tx_stall": "vf kind queue on",
        "aq_error": "vf kind queue error",
        "spoil": "vf kind how every",
        "reset": "vf kind how",
        "clear": "vf kind",
    }
)

P = TypeVar("P")  # the PF's driver
I32 = 1 << 31


def carry_out(
    commands: Mapping[str, Callable[[P, Request], dict[str, Any]]],
    pf: P,
    request: Request,
    whose: str = "",
    remedy: str = "",
) -> dict[str, Any]:
    """Carries out one request; raises ConfigError for what cannot be, and changes nothing then.

    `whose` and `remedy` end the error for a command that is not among `commands`.
    """
    name = request.get("command")
    command = commands.get(name) if isinstance(name, str) else None
    if command is None:
        raise ConfigError(f"there is no command {name!r}{whose}", remedy=remedy)
    _look_at_names(str(name), request)
    return command(pf, request)


def _look_at_names(name: str, request: Request) -> None:
    """Raises ConfigError for an argument that the command does not read.

    One of a kind of fault that there is not is the command's own to refuse.
    """
    if name != "fault":
        arguments.only(request, *FORMS[name])
        return
    kind = request.get("kind")
    if isinstance(kind, str) and kind in FAULT_FORMS:
        arguments.only(request, FAULT_FORMS[kind])


def udp_tunnel(plane: DataPlane, tunnels: dict[int, Tunnel], request: Request) -> dict[str, Any]:
    """The host registers a tunnel's UDP port, or takes it back; `tunnels` holds those that are."""
    kind = cast("Tunnel", arguments.word(request, "kind", TUNNELS))
    port, on = arguments.integer(request, "port", 1, 0xFFFF), arguments.flag(request, "on", True)
    if on and port not in tunnels and len(tunnels) >= TUNNEL_LIMIT:
        raise ConfigError(f"the card has room for {TUNNEL_LIMIT} tunnels", remedy='"on": false')
    if on:
        plane.add_tunnel(kind, port)
        tunnels[port] = kind
    else:
        plane.remove_tunnel(port)
        tunnels.pop(port, None)
    return {"tunnels": {str(port): kind for port, kind in sorted(tunnels.items())}}


def send(hardware: VfHardware, request: Request) -> dict[str, Any]:
    """Sends the VF a message that it did not ask for."""
    opcode = arguments.integer(request, "opcode", 0, 0xFFFF)
    retval = arguments.integer(request, "retval", -I32, I32 - 1, 0)
    hardware.send_to_vf(opcode, retval, arguments.hex_bytes(request, "payload"))
    return {}
