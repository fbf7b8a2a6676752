# SPDX-License-Identifier: BSD-3-Clause
"""Memory that clients hand over: what is taken, how much, and what its loss costs (D1, D2, D3)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from iavfio.softvf._device import lib
from tests.hostile.served_pf import ServedPf, served_pf
from tests.softvf.dataplane.plane_rig import IOVA, rig
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

PAGE = 4096
SHARE = 512  # files that one client may have mapped (docs/guides/softvf.md)


def dma_map(
    client: RawClient, fd: int, iova: int, size: int = PAGE, offset: int = 0, flags: int = 3
) -> int:
    return client.ask(2, struct.pack("<IIQQQ", 32, flags, offset, iova, size), (fd,))[0]


def unmap_all(client: RawClient) -> int:
    return client.ask(3, struct.pack("<IIQQ", 24, 2, 0, 0))[0]


def memfd(size: int = PAGE, flags: int = os.MFD_CLOEXEC) -> int:
    fd = os.memfd_create("hostile", flags)
    os.ftruncate(fd, size)
    return fd


def shared_memory(_: Path) -> int:
    name = f"/dev/shm/iavfio-test-{os.getpid()}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)  # noqa: PTH108 - a path of its own would only be made to be unlinked
    os.ftruncate(fd, PAGE)
    return fd


def on_disk(directory: Path) -> int:
    if b"tmpfs" in os.popen(f"stat -f -c %T {directory}").read().encode():
        pytest.skip("the test's directory is memory")
    fd = os.open(directory / "file", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, PAGE)
    return fd


def huge_tmpfs(directory: Path) -> int:
    """Of a tmpfs that takes huge pages: it tells their size where it is asked for its blocks'."""
    place = directory / "huge"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "huge=always,size=8m", "huge", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs of huge pages can be mounted here")
    try:
        fd = os.open(place / "file", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, PAGE)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    return fd


KINDS: list[tuple[str, Callable[[Path], int], int]] = [
    ("memfd", lambda _: memfd(), 0),
    ("sealed memfd", lambda _: memfd(flags=os.MFD_ALLOW_SEALING), 0),
    ("tmpfs", shared_memory, 0),
    ("tmpfs in huge pages", huge_tmpfs, 0),
    ("disk", on_disk, errno.ENODEV),
    ("pipe", lambda _: os.pipe()[0], errno.ENODEV),
    ("socket", lambda _: socket.socket(socket.AF_UNIX).detach(), errno.ENODEV),
    ("eventfd", lambda _: os.eventfd(0), errno.ENODEV),
    ("directory", lambda path: os.open(path, os.O_RDONLY), errno.ENODEV),
    ("proc", lambda _: os.open("/proc/version", os.O_RDONLY), errno.ENODEV),
    ("null", lambda _: os.open("/dev/null", os.O_RDWR), errno.ENODEV),
    ("zero", lambda _: os.open("/dev/zero", os.O_RDWR), errno.ENODEV),
]


# docs/spec/reliability.md D2
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
def test_only_memory_is_taken(kind: tuple[str, Callable[[Path], int], int], tmp_path: Path) -> None:
    _, make, expected = kind
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        fd = make(tmp_path)
        assert dma_map(client, fd, 0x10000) == expected
        assert client.read32(RSTAT) in (0, 2)
        assert unmap_all(client) == 0
        assert client.read32(RSTAT) in (0, 2)
        os.close(fd)
        client.close()


# docs/spec/reliability.md D3
def test_a_client_has_a_share_of_the_mappings(tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        hostile, victim = RawClient(served.paths[0]), RawClient(served.paths[1])
        results = []
        for page in range(SHARE + 8):
            fd = memfd()
            results.append(dma_map(hostile, fd, page * PAGE))
            os.close(fd)
        assert results == [0] * SHARE + [errno.ENOSPC] * 8
        fd = memfd(16 * PAGE)
        for page in range(16):
            assert dma_map(victim, fd, page * PAGE, offset=page * PAGE) == 0
        assert unmap_all(hostile) == 0
        assert dma_map(hostile, fd, 0) == 0  # what was given back can be had again
        os.close(fd)
        hostile.close()
        victim.close()


def test_windows_of_one_file_share_a_mapping(tmp_path: Path) -> None:
    """A guest with a vIOMMU maps its memory page by page: that costs one mapping."""
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        fd = memfd(4 * SHARE * PAGE)
        for page in range(4 * SHARE):
            assert dma_map(client, fd, 2 * page * PAGE, offset=page * PAGE) == 0
        os.close(fd)
        client.close()


# docs/spec/reliability.md D3
def test_a_client_has_a_share_of_the_address_space(tmp_path: Path) -> None:
    with served_pf(tmp_path, vfs=2) as served:
        client = RawClient(served.paths[0])
        huge = memfd(1 << 45)
        assert dma_map(client, huge, 0, 1 << 45) == errno.EFBIG
        assert dma_map(client, huge, 0, 1 << 20) == 0  # a part of it alone
        assert dma_map(client, huge, 1 << 50, 64 << 30) == errno.EFBIG
        texts = [entry["text"] for entry in served.log.entries()]
        assert [text for text in texts if "64 GiB" in text and "memory_gib" in text]
        os.close(huge)
        client.close()


# docs/spec/reliability.md D3
@pytest.mark.parametrize("gib", [1, 64, 70])
def test_the_share_counts_all_files_of_a_client_and_is_given_back(gib: int) -> None:
    """Nothing is touched: a page table is made with the first access to its 2 MiB."""
    with rig(vfs=2, plane={"memory_gib": gib}) as r:
        most, fd, other = gib << 30, memfd(gib << 30), memfd()
        r.plane.dma_map(0, fd, 0, IOVA, most, True, True)
        with pytest.raises(OSError, match="File too large"):
            r.plane.dma_map(0, other, 0, 0, PAGE, True, True)
        r.plane.dma_map(1, other, 0, 0, PAGE, True, True)
        r.plane.dma_clear(0)
        graves = iter(lambda: r.plane.dma_bury(0), None)
        for grave in list(graves):
            with pytest.raises(OSError, match="File too large"):  # until it is unmapped
                r.plane.dma_map(0, other, 0, 0, PAGE, True, True)
            lib.plane_unmap(grave)
            r.plane.dma_buried(0, grave)
        r.plane.dma_map(0, other, 0, 0, PAGE, True, True)
        with pytest.raises(OSError, match="File too large"):
            r.plane.dma_map(0, fd, 0, IOVA, most, True, True)
        os.close(fd)
        os.close(other)


def test_windows_without_memory_are_few(tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        request = [struct.pack("<IIQQQ", 32, 3, 0, n << 12, PAGE) for n in range(1100)]
        results = [client.ask(2, each)[0] for each in request]
        assert results == [0] * 1024 + [errno.ENOSPC] * 76
        client.close()


def test_any_number_of_lost_pages_costs_one_mapping() -> None:
    """More pages than a process may have mappings, each second one touched after the end."""
    pages = 2 * 66_000
    with rig(vfs=2) as r:
        r.vfs[1].open()
        fd = memfd(pages * PAGE)
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, fd, 0, IOVA, pages * PAGE, True, True)
        before = len(Path("/proc/self/maps").read_text().splitlines())
        os.ftruncate(fd, 0)
        for page in range(0, pages, 2):
            assert r.plane.dma_read(0, IOVA + page * PAGE, 8) == bytes(8)
        after = len(Path("/proc/self/maps").read_text().splitlines())
        assert abs(after - before) < 16
        assert r.plane.condemned() == [0]
        assert r.plane.condemned() == []
        r.wait_event("violation", "truncated")
        r.vfs[1].exchange(bytes([2, 0, 0, 0, 0, 2] * 2) + bytes(48))
        os.close(fd)


def mapped() -> int:
    """Bytes of files of clients that are mapped here."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if "hostile" in line]
    ends = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
    return sum(last - first for first, last in ends)


# docs/spec/reliability.md D1
def test_memory_in_huge_pages_of_tmpfs_is_mapped_in_small_ones(tmp_path: Path) -> None:
    """What is unmapped with it would be anybody's."""
    fd = huge_tmpfs(tmp_path)
    assert os.fstat(fd).st_blksize > PAGE
    with rig(vfs=1) as r:
        r.plane.dma_map(0, fd, 0, IOVA, PAGE, True, True)
        r.plane.dma_clear(0)
        grave = r.plane.dma_bury(0)
        assert grave is not None and grave.bytes == PAGE
    os.close(fd)


@pytest.mark.parametrize("size", [PAGE, (8 << 20) - PAGE, 8 << 20, (8 << 20) + PAGE, 1 << 30])
def test_memory_is_given_back_whole(size: int) -> None:
    """It stays mapped until it is unmapped by who took it: under the lock of nobody."""
    with rig(vfs=2) as r:
        fd = memfd(size)
        r.plane.dma_map(0, fd, 0, IOVA, size, True, True)
        r.plane.dma_clear(0)
        grave = r.plane.dma_bury(0)
        assert r.plane.dma_bury(0) is None
        assert mapped() == size
        lib.plane_unmap(grave)
        assert mapped() == 0
        r.plane.dma_buried(0, grave)
        os.close(fd)


@pytest.mark.parametrize("way", ["one", "all", "end"])
def test_memory_is_given_back_with_its_window(way: str, tmp_path: Path) -> None:
    size = 256 << 20
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        fd = memfd(size)
        assert dma_map(client, fd, IOVA, size) == 0
        assert mapped() == size
        if way == "one":
            assert client.ask(3, struct.pack("<IIQQ", 24, 0, IOVA, size))[0] == 0
        elif way == "all":
            assert unmap_all(client) == 0
        else:
            client.close()
            deadline = time.monotonic() + 20
            while mapped() and time.monotonic() < deadline:
                time.sleep(0.01)
        assert mapped() == 0
        if way != "end":
            client.close()
        os.close(fd)


def test_the_next_client_is_not_blamed_for_memory_that_was_lost_before() -> None:
    with rig(vfs=2) as r:
        fd = memfd()
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, fd, 0, IOVA, PAGE, True, True)
        os.ftruncate(fd, 0)
        assert r.plane.dma_read(0, IOVA, 8) == bytes(8)
        r.plane.forgive(0)
        assert r.plane.condemned() == []
        os.close(fd)


def hangs_up(client: RawClient) -> bool:
    """Reads the replies that were on their way, then the end."""
    client.sock.settimeout(20)
    try:
        while client.sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


# docs/spec/reliability.md D2
def test_a_client_that_truncates_its_memory_loses_its_connection(tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        hostile, victim = RawClient(served.paths[0]), RawClient(served.paths[1])
        fd = memfd(16 * PAGE)
        assert dma_map(hostile, fd, IOVA, 16 * PAGE) == 0
        hostile.write(7, 4, b"\6\0")
        ring_in(served, hostile, fd)
        assert hangs_up(hostile)
        assert victim.read32(RSTAT) == 2
        again = RawClient(served.paths[0])
        assert again.read32(RSTAT) in (0, 2)
        assert served.control("info")["vfs"][0]["faults"] == 0
        for client in (hostile, victim, again):
            client.close()
        os.close(fd)


def ring_in(served: ServedPf, client: RawClient, fd: int) -> None:
    """Takes the memory away, then makes the device read its admin queue there."""
    os.ftruncate(fd, 0)
    for register, value in (
        (0x7C00, IOVA & 0xFFFFFFFF),
        (0x7800, IOVA >> 32),
        (0x6800, 0x80000020),
        (0x8400, 1),
    ):
        client.post(10, struct.pack("<QII", register, 0, 4) + value.to_bytes(4, "little"))
