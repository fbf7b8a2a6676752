# SPDX-License-Identifier: BSD-3-Clause
"""A whole software PF served by a thread of the test's own process, so that tests can break it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from iavfio.softvf import personality as cards
from iavfio.softvf.control import Control, ControlServer
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.device import Vf
from iavfio.softvf.log import ViolationLog
from iavfio.softvf.loop import READ, Loop
from iavfio.softvf.pf import Pf
from iavfio.softvf.process import hear
from iavfio.softvf.server.listener import VfServer


@dataclass
class ServedPf:
    """VFs, their sockets and the control socket."""

    paths: list[Path]
    control_path: Path
    vfs: list[Vf]
    pf: Pf
    plane: DataPlane
    loop: Loop
    log: ViolationLog

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer of the control socket; {} when it hung up."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(os.fspath(self.control_path))
            line.sendall(json.dumps({"command": command} | arguments).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                part = line.recv(1 << 16)
                if not part:
                    return {}
                data += part
        return cast("dict[str, Any]", json.loads(data))


@contextmanager
def served_pf(
    directory: Path,
    vfs: int = 2,
    personality: str = "e810",
    uplink: str = "loopback",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ServedPf]:
    """Serves a PF until the end of the block; its resets take a millisecond. `clock`: its log's."""
    card = cards.named(personality, reset_ms=1)
    with ExitStack() as stack:
        plane = DataPlane(
            vfs, bar_size=card.bar0_size, uplink=uplink, flex=card.flex, e810_itr=card.e810_itr
        )
        stack.callback(plane.stop)
        loop, log = Loop(), ViolationLog(clock=clock)
        stack.callback(loop.close)
        functions = [Vf(i, card, plane, loop, log) for i in range(vfs)]
        pf = Pf(card, functions, plane, loop)
        servers = []
        for vf in functions:
            vf.attach(pf)
            servers.append(VfServer(vf, directory / f"vf{vf.index}.sock", loop))
        loop.watch(plane.event_fd, READ, lambda _: hear(plane, pf, log, servers))
        control = Control(servers, pf, plane, log, {}, loop.stop, loop.own)
        lines = ControlServer(directory / "control.sock", control, loop)
        read, write = os.pipe()
        stack.callback(os.close, read)
        stack.callback(os.close, write)
        loop.watch(read, READ, lambda _: loop.stop())
        plane.start()
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            paths = [server.path for server in servers]
            yield ServedPf(paths, lines.path, functions, pf, plane, loop, log)
        finally:
            os.write(write, b"x")
            thread.join(20)
            lines.close()
            for server in servers:
                server.close()
            assert not thread.is_alive()
