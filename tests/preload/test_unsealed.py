# SPDX-License-Identifier: BSD-3-Clause
"""A file of the server's that can be cut short is not mapped (docs/spec/reliability.md F32)."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.preload import prepare
from tests.preload.test_preload import inside
from tests.pyvfio.vfio_user_peer import BAR0_FD_OFFSET, REGION_READ, REGION_WRITE, Peer, Reply
from tests.sanitizer import no_preload

pytestmark = no_preload
SIZE = BAR0_FD_OFFSET + 0x20000
BEHIND = 0x1000  # a register that the peer maps to nobody


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server that answers every read with 11, and cuts its file short when BEHIND is written."""
    with tempfile.TemporaryDirectory(prefix="iavfio-peer-") as folder:
        peer = Peer(Path(folder) / "vf.sock", seals=0)
        registers = {0: 11}

        def read(payload: bytes, fds: list[int]) -> Reply:
            offset, region, count = struct.unpack_from("=QII", payload)
            if region == 7:
                return payload + bytes(peer.config[offset : offset + count]), []
            return payload + registers.get(offset, 0).to_bytes(8, "little")[:count], []

        def write(payload: bytes, fds: list[int]) -> Reply:
            offset, region, count = struct.unpack_from("=QII", payload)
            if (region, offset) == (0, BEHIND):
                with contextlib.suppress(PermissionError):  # a seal forbids it
                    os.truncate(peer.memory, 0)
            elif region == 0:
                registers[offset] = int.from_bytes(payload[16 : 16 + count], "little")
            return payload[:16], []

        peer.override = {REGION_READ: read, REGION_WRITE: write}
        yield peer
        peer.close()


def give(peer: Peer, size: int, flags: int, seals: int) -> None:
    """Puts another file in the place of the one that the peer shares."""
    peer.bar0.close()
    os.close(peer.memory)
    peer.memory = os.memfd_create("peer-bar0", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.truncate(peer.memory, size)
    peer.bar0 = mmap.mmap(peer.memory, size)
    fcntl.fcntl(peer.memory, fcntl.F_ADD_SEALS, seals)


TRAPPED = {"page": "---p", "before": 11, "after": 11, "written": 7}


def test_program_outlives_a_file_that_is_cut_short(peer: Peer) -> None:
    """docs/spec/reliability.md F32"""
    with prepare([peer.path]) as preload:
        assert inside(preload, "mapped_page") == TRAPPED


def test_sealed_file_is_mapped(peer: Peer) -> None:
    give(peer, SIZE, 0, fcntl.F_SEAL_SHRINK)
    peer.bar0[BAR0_FD_OFFSET : BAR0_FD_OFFSET + 4] = struct.pack("<I", 5)
    with prepare([peer.path]) as preload:
        found = inside(preload, "mapped_page")
    assert found == {"page": "rw-s", "before": 5, "after": 5, "written": 7}
    assert peer.register(0) == 7


def test_sealed_file_that_is_too_short_is_not_mapped(peer: Peer) -> None:
    give(peer, BAR0_FD_OFFSET + 0x2000, 0, fcntl.F_SEAL_SHRINK)  # its second area ends at 0x3000
    with prepare([peer.path]) as preload:
        assert inside(preload, "mapped_page") == TRAPPED


def test_file_with_another_seal_is_not_mapped(peer: Peer) -> None:
    give(peer, SIZE, 0, fcntl.F_SEAL_GROW)
    with prepare([peer.path]) as preload:
        assert inside(preload, "mapped_page") == TRAPPED
