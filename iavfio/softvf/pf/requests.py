# SPDX-License-Identifier: BSD-3-Clause
"""Requests of the administrator that every PF's driver takes in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from iavfio.errors import ConfigError
from iavfio.softvf.contract import VfHardware
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


def send(hardware: VfHardware, request: Request) -> dict[str, Any]:
    """Sends the VF a message that it did not ask for."""
    opcode = arguments.integer(request, "opcode", 0, 0xFFFF)
    retval = arguments.integer(request, "retval", -I32, I32 - 1, 0)
    hardware.send_to_vf(opcode, retval, arguments.hex_bytes(request, "payload"))
    return {}
