# SPDX-License-Identifier: BSD-3-Clause
"""Requests of the administrator that every PF's driver takes in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from iavfio.errors import ConfigError
from iavfio.softvf.contract import VfHardware
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.personality import TUNNEL_LIMIT, TUNNELS, Tunnel
from iavfio.softvf.pf import arguments
from iavfio.softvf.pf.arguments import Request

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
    return command(pf, request)


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
