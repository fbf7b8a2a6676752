# SPDX-License-Identifier: BSD-3-Clause
"""Processes with a port, numbered frames, and what a mirror has taken."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from iavfio.capture import Mirror, MirrorCapture
from iavfio.port.port import Port
from tests.capture.files import blocks, options
from tests.port.rig import udp

CLI = [sys.executable, "-P", "-m", "iavfio.cli", "capture"]
OWNER = """
import sys, iavfio
pf = iavfio.softvf(vfs=1, uplink="none")
port = iavfio.open(pf.sockets[0], name=sys.argv[1])
port.start(wait_link=10)
print("up", flush=True)
frame = [port.mac + port.mac + bytes(48)]
while sys.argv[2] == "sends" or sys.stdin.readline():
    with port.tx[0].build(frame) as burst:
        port.tx[0].send(burst)
    with port.rx[0].recv(timeout=0.002):
        pass
port.close()
"""


class Owner:
    """Another process with a port that sends to itself: all the time, or once a line of stdin."""

    def __init__(self, name: str, how: str = "sends") -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", OWNER, name, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "up\n"

    @property
    def holds(self) -> bool:
        """Whether it has memory of a mirror, as a descriptor or a mapping."""
        home = Path(f"/proc/{self.child.pid}")
        links = [str(each.readlink()) for each in (home / "fd").iterdir() if each.is_symlink()]
        return any("iavfio-mirror" in each for each in [*links, (home / "maps").read_text()])

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()


def numbered(to: Port, by: Port, count: int, size: int = 18) -> list[bytes]:
    return [
        udp(to.mac, by.mac, sport=1000 + i, payload=bytes([i % 256]) * size) for i in range(count)
    ]


def sides(path: Path) -> list[tuple[int, int]]:
    """Direction (1: received, 2: sent) and queue of each frame."""
    found = []
    for kind, body in blocks(path):
        if kind == 6:
            (kept,) = struct.unpack_from("=I", body, 12)
            given = options(body, 20 + kept + -kept % 4)
            found.append((int.from_bytes(given[2], "little"), int.from_bytes(given[6], "little")))
    return found


def taken(mirror: Mirror, path: Path, **how: Any) -> Any:
    """What a mirror holds at this moment, in a file."""
    return MirrorCapture(mirror, str(path), **how).run(0)
