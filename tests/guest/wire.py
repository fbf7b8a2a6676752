# SPDX-License-Identifier: BSD-3-Clause
"""What runs at the other end of a software PF's TAP: a capture, a server of iperf3."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from iavfio.linuxpf.cache import LabError
from tests.guest.softvf import TAP, SoftVf

START_S = 20.0
WIRE_MIN = 60  # shorter frames are padded to it
SNAP = 64  # bytes of each frame: addresses are enough
FILE_HEADER, RECORD = struct.Struct("<IHHiIII"), struct.Struct("<IIII")


@contextmanager
def iperf3_server(pf: SoftVf) -> Iterator[None]:
    """iperf3 -s beside the TAP, for any number of clients one after another."""
    server = _start(pf, ["iperf3", "-s"], subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait(5)


class Capture:
    """All frames on the TAP while it is open; a context manager. Needs root.

    `snap`: how many bytes of each are kept.
    """

    def __init__(self, pf: SoftVf, snap: int = SNAP) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="iavfio-capture-")
        self._log = Path(self._directory.name) / "log"
        self._file = Path(self._directory.name) / "pcap"
        # Without immediate mode the last second's frames stay in the kernel.
        words = ["tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-B", "16384"]
        words += ["-s", str(snap)]
        with self._log.open("wb") as log:
            self._tcpdump = _start(pf, [*words, "-i", TAP, "-w", str(self._file)], log.fileno())
        self._frames: list[tuple[bytes, int]] = []
        deadline = time.monotonic() + START_S
        while "listening on" not in self._log.read_text():
            if self._tcpdump.poll() is not None or time.monotonic() > deadline:
                self._end()
                raise LabError(f"tcpdump did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def frames(self, *, source: bytes = b"", destination: bytes = b"") -> list[int]:
        """Lengths of the frames with these addresses, without what padded an IPv4 packet."""
        return [
            _length(head, length)
            for head, length in self._frames
            if (not source or head[6:12] == source)
            and (not destination or head[0:6] == destination)
        ]

    def kept(self, source: bytes) -> list[bytes]:
        """The frames of an address, as far as they were kept."""
        return [head for head, _ in self._frames if head[6:12] == source]

    def _end(self) -> None:
        if self._tcpdump.poll() is None:
            self._tcpdump.terminate()
            self._tcpdump.wait(10)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        time.sleep(0.3)  # what the last packet's capture takes
        self._end()
        text = self._log.read_text()
        data = self._file.read_bytes()
        self._directory.cleanup()
        if not re.search(r"^0 packets dropped by kernel", text, re.M) and kind is None:
            raise LabError(f"the capture is not complete:\n{text}")
        self._frames = list(_records(data))


def _start(pf: SoftVf, words: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *pf.wire_command(words)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _length(head: bytes, length: int) -> int:
    if head[12:14] == b"\x08\x00" and length == WIRE_MIN:
        return 14 + int.from_bytes(head[16:18], "big")
    return length


def _records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """First bytes and original length of each frame of a pcap file."""
    at = FILE_HEADER.size
    while at + RECORD.size <= len(data):
        _, _, kept, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        yield data[at : at + kept], length
        at += kept
