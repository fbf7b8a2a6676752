# SPDX-License-Identifier: BSD-3-Clause
"""Which files of a vfio-user server are mapped: memory whose pages stay (F32).

Any other may be cut short, or make whoever touches it wait for its file system: that of FUSE is a
process which may be the server.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iavfio import pyvfio
from tests.pyvfio.vfio_user_peer import AREAS, BAR0_FD_OFFSET, REGION_INFO, Peer

SIZE = 0x20000
END = BAR0_FD_OFFSET + AREAS[-1][0] + AREAS[-1][1]  # of what is mapped
HUGE = 2 << 20
MFD_HUGE_2MB = 21 << 26


def memory(size: int, seals: int, flags: int = 0) -> int:
    fd = os.memfd_create("bar", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def on_disk(folder: Path) -> int:
    path = folder / "bar"
    path.write_bytes(bytes(END))
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def in_shm(folder: Path) -> int:
    """As servers make it that know no memfd: its seals cannot be set."""
    name = Path("/dev/shm") / f"iavfio-{os.getpid()}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    name.unlink()
    os.truncate(fd, END)
    return fd


UNFIT: dict[str, tuple[Callable[[Path], int], str]] = {
    "a file on a disk": (on_disk, "is no memory, so that an access may wait"),
    "a device": (lambda _: os.open("/dev/zero", os.O_RDWR), "is no memory"),
    "shared memory with a name": (in_shm, "may be cut short"),
    "memory without seals": (lambda _: memory(END, 0), "may be cut short"),
    "memory that cannot grow": (lambda _: memory(END, fcntl.F_SEAL_GROW), "may be cut short"),
    "memory that is too short": (lambda _: memory(END - 1, fcntl.F_SEAL_SHRINK), "is too short"),
    "memory that is too large": (
        lambda _: memory((64 << 20) + 1, fcntl.F_SEAL_SHRINK),
        "is too large, so that an access may wait",
    ),
    "huge pages": (
        lambda _: memory(HUGE, fcntl.F_SEAL_SHRINK, os.MFD_HUGETLB | MFD_HUGE_2MB),
        "lies in huge pages, which may be taken away",
    ),
}


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "d.sock")
    yield peer
    peer.close()


def gives(peer: Peer, fd: int, offset: int = BAR0_FD_OFFSET) -> None:
    """The peer gives this file for BAR0, whose words it goes on to have where they were."""
    areas = b"".join(struct.pack("=QQ", *area) for area in AREAS)
    caps = struct.pack("=HHIII", 1, 1, 0, len(AREAS), 0) + areas
    head = struct.pack("=IIIIQQ", 32 + len(caps), 15, 0, 32, SIZE, offset)
    peer.override[REGION_INFO] = lambda _, __: (head + caps, [fd])


# docs/spec/reliability.md F32
@pytest.mark.parametrize(("make", "why"), UNFIT.values(), ids=UNFIT.keys())
def test_a_file_that_may_not_last_is_not_mapped(
    make: Callable[[Path], int],
    why: str,
    peer: Peer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fd = make(tmp_path)
    gives(peer, fd)
    try:
        with (
            caplog.at_level(logging.WARNING, "iavfio.pyvfio"),
            pyvfio.open(f"vfio-user:{peer.path}") as device,
        ):
            bar = device.map_bar(0)
            assert bar.unmapped.startswith(why)
            assert [bar.mapped(at) for at, _ in AREAS] == [False] * len(AREAS)
            bar.write32(AREAS[1][0], 0x12345678)
            assert bar.read32(AREAS[1][0]) == 0x12345678  # a message after the other
            assert peer.register(AREAS[1][0]) == 0x12345678
        told = "\n".join(record.getMessage() for record in caplog.records)
        slow = "each access is a message, which is slow"
        assert told == f"{peer.path} BAR0: its server's file {bar.unmapped}: {slow}"
    finally:
        os.close(fd)


@pytest.mark.parametrize("offset", [1 << 20, 1 << 63, (1 << 64) - 0x3000, (1 << 64) - 0x1000])
def test_an_offset_beyond_the_file(offset: int, peer: Peer) -> None:
    gives(peer, peer.memory, offset)
    with pyvfio.open(f"vfio-user:{peer.path}") as device:
        assert device.map_bar(0).unmapped == "is too short"


# docs/spec/reliability.md F32
def test_memory_that_stays_is_mapped(peer: Peer) -> None:
    fd = memory(END, fcntl.F_SEAL_SHRINK)
    gives(peer, fd)
    with pyvfio.open(f"vfio-user:{peer.path}") as device, mmap.mmap(fd, END) as theirs:
        bar = device.map_bar(0)
        assert bar.unmapped == ""
        assert all(bar.mapped(at) for at, _ in AREAS)
        bar.write32(AREAS[1][0], 7)
        assert theirs[BAR0_FD_OFFSET + AREAS[1][0]] == 7
        assert peer.register(AREAS[1][0]) == 0  # no message told it
        with pytest.raises(PermissionError):
            os.truncate(fd, 0)
    os.close(fd)
