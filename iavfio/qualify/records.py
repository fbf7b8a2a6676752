# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of a VF for the bundle, over all the times that it was opened."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iavfio._driver import lib
from iavfio.bench.run import describe
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from iavfio.pyvfio.device import CONFIG_REGION

ENTRIES = 8192  # of mailbox journals; older ones make room
CONFIG_BYTES = 4096
MISSING = 64  # reasons that are kept
EXTENDED = 0x100  # where extended capabilities begin, each 16 bits of id, 4 of version, 12 of next
SERIAL_NUMBER, SERIAL_BYTES = 0x0003, 8  # Device Serial Number, which Intel makes from a MAC
CLEARED_BY_READING = {"REG_VFINT_ICR01"}
REGISTERS = {
    name: int(getattr(lib, name))
    for name in sorted(dir(lib))
    if name.startswith("REG_") and name not in CLEARED_BY_READING
}


@dataclass
class Record:
    """A VF's mailbox journals, and its state as it was at the last close.

    `addresses`: what is to be masked. `facts`: transport, family, notes, resets, and what could
    not be kept (`missing`).
    """

    target: str
    description: str = "never opened"
    facts: dict[str, Any] = field(default_factory=dict)
    addresses: list[bytes] = field(default_factory=list)
    journal: deque[str] = field(default_factory=lambda: deque(maxlen=ENTRIES))
    config: str = ""
    registers: str = ""
    counters: str = ""

    def keep(self, port: Port) -> None:
        """Takes what a port tells just before it is closed; a dead device tells less."""
        self.description = describe(port)
        self.addresses += [port.mac, port.session.resources.vsi.mac or b""]
        self.facts = {
            "transport": port.device.transport,
            "family": port.identity.family,
            "missing": self.facts.get("missing", []),
            "notes": [*self.facts.get("notes", ()), *port.notes],
            "resets": [
                *self.facts.get("resets", ()),
                *([reset.cause, reset.outage, reset.attempts] for reset in port.resets),
            ],
        }
        self.journal += [entry.to_json() for entry in port.journal]
        if port.state != "closed":
            self.config = _config(port)
            self.registers = json.dumps(_registers(port), indent=1)
        self.counters = port.stats.snapshot().to_json()

    def attempt(self, step: Callable[[], object]) -> None:
        """Does one step of keeping and closing; one that fails costs no other, nor the bundle."""
        try:
            step()
        except Exception as error:
            missing = self.facts.setdefault("missing", [])
            if len(missing) < MISSING:
                missing.append(f"{type(error).__name__}: {error}")

    @property
    def files(self) -> dict[str, str]:
        """Members of a bundle, by kind."""
        return {
            "journal.jsonl": "".join(f"{line}\n" for line in self.journal),
            "config.hex": self.config,
            "registers.json": self.registers,
            "counters.json": self.counters,
        }


def _config(port: Port) -> str:
    try:
        size = min(port.device.region(CONFIG_REGION).size, CONFIG_BYTES)
        data = without_serial(port.device.read(CONFIG_REGION, 0, size))
    except IavfioError as error:
        return f"not readable: {error}\n"
    lines = (f"{at:03x}: {data[at : at + 16].hex(' ')}\n" for at in range(0, len(data), 16))
    return "".join(lines)


def without_serial(config: bytes) -> bytes:
    """Config space with zeros for the device's serial number."""
    found = bytearray(config)
    at, seen = EXTENDED, set[int]()
    while EXTENDED <= at <= len(found) - 4 and at not in seen:
        seen.add(at)
        header = int.from_bytes(found[at : at + 4], "little")
        if header & 0xFFFF == SERIAL_NUMBER:
            end = min(at + 4 + SERIAL_BYTES, len(found))
            found[at + 4 : end] = bytes(end - at - 4)
        at = header >> 20 & 0xFFC
    return bytes(found)


def _registers(port: Port) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, offset in REGISTERS.items():
        try:
            values[name] = f"{port.session.bar.read32(offset):08x}"
        except IavfioError as error:  # the next one would not answer either
            values["error"] = str(error)
            break
    return values
