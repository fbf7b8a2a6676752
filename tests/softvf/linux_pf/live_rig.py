# SPDX-License-Identifier: BSD-3-Clause
"""A PF of Linux's without a judge: a driver's process and a card that do as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import cast

from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.process import Answer, JudgeProcess, What
from iavfio.softvf.linux_pf.card import Request, Service
from iavfio.softvf.linux_pf.driver import LinuxPf
from iavfio.softvf.vf_config import FlowRule, VfConfig
from tests.softvf.pf.pf_rig import Clock, Hardware, Rig

QUIET = Service(
    pairs=1,
    link_up=True,
    spoof_check=True,
    disabled=False,
    version=(1, 1),
    mac=bytes(6),
    rx={},
    tx={},
    vectors=(),
    traffic=VfConfig(),
)


class Process:
    """A PF's driver that never does anything, and may die."""

    start = Answer()
    end_fd = -1

    def __init__(self) -> None:
        self.alive = True

    def request(self, what: What, vf: int = 0, opcode: int = 0, payload: bytes = b"") -> Answer:
        if not self.alive:
            raise self.died()
        return Answer()

    def died(self) -> LabError:
        return LabError("it died: why")


class Card:
    """One that serves as it is told to."""

    limits_rate = False
    link_speeds: Mapping[int, int] = MappingProxyType({10000: 8})

    def __init__(self) -> None:
        self.now = QUIET

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        return set()

    def reached(self, vf: int, opcode: int, payload: bytes) -> set[int]:
        return set()

    def flow_name(self, flow: FlowRule) -> str:
        return f"to queue {flow.queue}"

    def service(self, vf: int, request: Request) -> Service | None:
        return self.now


class Made:
    """A PF, its card, and VF 0."""

    def __init__(self, spare: Rig, process: Process | None = None) -> None:
        self.plane, self.card, self.clock = spare.plane, Card(), Clock()
        self.hardware = Hardware(0, self.plane)
        self.process = process or Process()
        self.pf = LinuxPf(
            spare.personality,
            [self.hardware],
            self.plane,
            self.clock,
            cast("JudgeProcess", self.process),
            self.card,
            "linux-ice",
        )

    def serve(self, **changes: object) -> VfConfig:
        """The card serves so from now on; what the data plane does then."""
        self.card.now = replace(self.card.now, **changes)  # type: ignore[arg-type]
        self.pf.ask(What.MESSAGE)
        return self.plane.config[0]

    @property
    def notes(self) -> list[str]:
        return self.hardware.of_kind("note")
