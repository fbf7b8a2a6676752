# SPDX-License-Identifier: BSD-3-Clause
"""A PF of Linux's without a server: its driver, the card, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from iavfio.softvf import linux_pf
from iavfio.softvf.linux_pf.driver import LinuxPf
from iavfio.softvf.personality import named
from tests.judge.conftest import live_pf
from tests.softvf.pf.pf_rig import Clock, Hardware, RecordingPlane


class Live:
    """One PF, its VFs' hardware and the clock."""

    def __init__(self, name: str, vfs: int, options: dict[str, Any], stack: ExitStack) -> None:
        personality = named(live_pf(name)["personality"], **options)
        self.plane = RecordingPlane(
            vfs,
            bar_size=personality.bar0_size,
            uplink="none",
            flex=personality.flex,
            e810_itr=personality.e810_itr,
            wb_group=personality.wb_group,
        )
        stack.callback(self.plane.stop)
        self.clock = Clock()
        self.hardware = [Hardware(index, self.plane) for index in range(vfs)]
        self.pf: LinuxPf = linux_pf.start(
            name, personality, self.hardware, self.plane, self.clock, stack
        )

    def say(self, vf: int, opcode: int, payload: bytes = b"") -> list[tuple[int, int, bytes]]:
        """Sends a message; everything that came back at once."""
        self.hardware[vf].take()
        self.pf.message(vf, opcode, payload)
        self.clock.advance(0)
        return self.hardware[vf].take()

    def control(self, command: str, **words: Any) -> dict[str, Any]:
        """What the administrator asks; ConfigError where it is refused."""
        return self.pf.control({"command": command, **words})


@contextmanager
def live(name: str, vfs: int = 1, **options: Any) -> Iterator[Live]:
    """A PF and its VFs; skips the test where its driver is not built."""
    with ExitStack() as stack:
        yield Live(name, vfs, options, stack)
