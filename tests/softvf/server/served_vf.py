# SPDX-License-Identifier: BSD-3-Clause
"""A served VF whose PF only takes notes."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from iavfio.softvf import personality as cards
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.device import Vf
from iavfio.softvf.log import ViolationLog
from iavfio.softvf.loop import READ, Loop
from iavfio.softvf.server.listener import VfServer


@dataclass
class NotingPf:
    """Takes notes of what the VF's hardware tells its driver."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    vfs: list[Vf] = field(default_factory=list)

    def message(self, vf: int, opcode: int, payload: bytes) -> None:
        self.calls.append(("message", vf, opcode, payload))
        if opcode == 1:
            self.vfs[vf].send_to_vf(1, 0, struct.pack("<II", 1, 1))

    def queue_shutdown(self, vf: int) -> None:
        self.calls.append(("queue_shutdown", vf))

    def flr(self, vf: int) -> None:
        self.calls.append(("flr", vf))
        self.vfs[vf].set_rstat(2)

    def client_gone(self, vf: int) -> None:
        self.calls.append(("client_gone", vf))


@dataclass
class ServedVf:
    """One served VF."""

    path: Path
    vf: Vf
    plane: DataPlane
    pf: NotingPf
    log: ViolationLog

    def rules(self) -> list[str]:
        """Rules of the violations so far."""
        return [e["rule"] for e in self.log.entries() if e["kind"] == "violation"]


@contextmanager
def serving(
    path: Path, personality: str = "e810", trapped: bool = False, **options: int | str
) -> Iterator[ServedVf]:
    """Serves a VF of a personality in a thread of this process."""
    card = cards.named(personality, **options)
    plane = DataPlane(
        1, bar_size=card.bar0_size, uplink="none", flex=card.flex, e810_itr=card.e810_itr
    )
    loop, log = Loop(), ViolationLog()
    vf = Vf(0, card, plane, loop, log, trapped)
    pf = NotingPf(vfs=[vf])
    vf.attach(pf)
    vf.set_rstat(2)
    server = VfServer(vf, path, loop)
    plane.start()
    read, write = os.pipe()
    loop.watch(read, READ, lambda _: loop.stop())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield ServedVf(path, vf, plane, pf, log)
    finally:
        os.write(write, b"x")
        thread.join(10)
        assert not thread.is_alive()
        server.close()
        plane.stop()
        loop.close()
        os.close(read)
        os.close(write)
