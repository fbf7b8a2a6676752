# SPDX-License-Identifier: BSD-3-Clause
"""Where the port tests find their VFs: on a private software PF, or on one that is there.

With $IAVFIO_TEST_TARGETS (PCI addresses, comma separated) the same tests run on VFs that this
process reaches another way, as in a guest through the kernel's VFIO; $IAVFIO_TEST_CONTROL is then a
character device that leads to that software PF's control socket. What such a PF cannot be is
skipped with the reason.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

import iavfio
from iavfio.errors import ConfigError, DeviceLost
from iavfio.softvf.launch import CONTROL_SECONDS, SoftPf

REMOTE = "IAVFIO_TEST_TARGETS" in os.environ
Options = Mapping[str, bool | int | float | str]
AS_SERVED: Options = {"reset_ms": 2}  # options that a PF for these tests is started with
# What a test may change and the next one must not see.
UNDO: Mapping[str, dict[str, Any]] = {
    "trust": {"on": False},
    "mac": {"mac": "00:00:00:00:00:00"},
    "spoofchk": {"on": True},
}


def own_process(why: str) -> pytest.MarkDecorator:
    """Marks a test that needs a software PF of its own."""
    return pytest.mark.skipif(REMOTE, reason=why)


def software_pf(
    vfs: int = 1,
    personality: str | None = None,
    writeback: str = "hardware",
    options: Options | None = None,
) -> AbstractContextManager[SoftPf]:
    """A software PF with these settings, whose wire is looped back; skips where there is none.

    Without `personality` any will do: a private one is an E810.
    """
    if not REMOTE:
        settings: dict[str, Any] = {"writeback": writeback, "options": options}
        return iavfio.softvf(vfs=vfs, personality=personality or "e810", **settings)
    return DistantPf(vfs, personality, writeback, options or {})


class DistantPf(SoftPf):
    """The software PF on the other side of real PCI devices."""

    def __init__(self, vfs: int, personality: str | None, writeback: str, options: Options) -> None:
        self.sockets = os.environ["IAVFIO_TEST_TARGETS"].split(",")
        self.pid = 0
        self._undo: list[dict[str, Any]] = []
        self._line = os.open(os.environ["IAVFIO_TEST_CONTROL"], os.O_RDWR | os.O_CLOEXEC)
        try:
            told = self.control("info")
            for what, wanted, there in (
                ("personality", personality or told["personality"], told["personality"]),
                ("write-back mode", writeback, told["writeback"]),
            ):
                if wanted != there:
                    pytest.skip(f"the PF that is there has {what} {there}, not {wanted}")
            strange = {key for key in options if options[key] != AS_SERVED.get(key)}
            if strange:
                pytest.skip(f"the PF that is there was not started with {', '.join(strange)}")
            if vfs > len(self.sockets):
                pytest.skip(f"{vfs} VFs are needed, {len(self.sockets)} are there")
            self.control("log", clear=True)
        except BaseException:
            os.close(self._line)
            raise

    @property
    def running(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return False

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Asks the PF's control line as SoftPf.control does its socket."""
        request = json.dumps({"command": command} | arguments).encode() + b"\n"
        while request:
            request = request[os.write(self._line, request) :]
        received = bytearray()
        while not received.endswith(b"\n"):
            if not select.select([self._line], [], [], CONTROL_SECONDS)[0]:
                raise DeviceLost("the software PF does not answer")
            received += os.read(self._line, 1 << 16)
        answer: dict[str, Any] = json.loads(received)
        if not answer.pop("ok", False):
            raise ConfigError(f"{command}: {answer.get('error', 'refused')}")
        if command in UNDO:
            back = UNDO[command] | {"vf": arguments["vf"]}
            self._undo.append({"command": command} | back)
        elif command == "link":
            self._undo.append({"command": command, "state": "up"})
        return answer

    def close(self) -> None:
        undo, self._undo = self._undo, []
        for request in undo:
            self.control(**request)
        os.close(self._line)
