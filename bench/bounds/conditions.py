# SPDX-License-Identifier: BSD-3-Clause
"""The conditions under which calls are measured, and the software PF that they are made on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import iavfio
from bench.bounds.page import CONDITIONS
from bench.bounds.relay import Manner, Relay
from iavfio.softvf.launch import SoftPf
from tests.port.rig import freeze

OPTIONS = {"reset_ms": 1, "num_queue_pairs": 4}
ALL = 1_000_000  # messages: more than a port ever sends
SILENT, STOPPED, SLOW = CONDITIONS


@dataclass(frozen=True)
class Condition:
    """What is wrong from the moment on at which a call begins; one way of a column of the page."""

    column: str
    name: str
    loses: bool = False  # the PF gets no message
    hangs: bool = False  # resets do not finish
    freezes: bool = False  # the server's process is stopped
    relay: Manner | None = None


def late(seconds: float, *, posted: bool = False, loses: bool = False) -> Condition:
    """A server that takes so long for each request."""
    name = f"each request takes {seconds:g} s"
    if posted:
        name += ", posted ones too"
    if loses:
        name += " and the PF is silent"
    return Condition(SLOW, name, loses=loses, relay=Manner(seconds, posted))


def stops_after(answers: int, *, posted: bool = False) -> Condition:
    """A server that stops itself in the middle of a call."""
    name = f"it stops after {answers} answers"
    return Condition(STOPPED, name, relay=Manner(posted=posted, answers=answers))


SILENT_PF = Condition(SILENT, "it gets no message", loses=True)
HANGING_PF = Condition(SILENT, "it gets no message, resets hang", loses=True, hangs=True)
FROZEN = Condition(STOPPED, "it is stopped", freezes=True)


class Rig:
    """A software PF with one VF under a condition, which `begin` brings about."""

    def __init__(self, condition: Condition, told: Callable[[], object] = lambda: None) -> None:
        self.condition = condition
        self._told = told
        self._stack = ExitStack()
        self._pf: SoftPf | None = None
        self._relay: Relay | None = None
        self.target = ""

    def serve(self, *, trapped: bool = False) -> None:
        """Starts the software PF; `trapped`: each doorbell is a message."""
        pf = self._stack.enter_context(
            iavfio.softvf(doorbells="trapped" if trapped else "shared", options=OPTIONS)
        )
        self._pf, self.target = pf, pf.sockets[0]
        if self.condition.relay is not None:
            server = Path(pf.sockets[0].removeprefix("vfio-user:"))
            self._relay = Relay(server, server.with_name("relay.sock"))
            self._stack.callback(self._relay.close)
            self.target = f"vfio-user:{self._relay.path}"

    def begin(self) -> None:
        """From now on the condition is in force."""
        condition, pf = self.condition, self._pf
        assert pf is not None
        self._told()
        if condition.hangs:
            pf.control("fault", vf=0, kind="reset", how="hang")
        if condition.loses:
            pf.control("fault", vf=0, kind="lose", count=ALL)
        if condition.relay is not None and self._relay is not None:
            self._relay.behave(condition.relay)
        if condition.freezes:
            freeze(pf)

    def close(self) -> None:
        """Ends the processes."""
        self._stack.close()
