# SPDX-License-Identifier: BSD-3-Clause
"""DMA_MAP and DMA_UNMAP (docs/spec/vfio-user.md 4, 6; docs/spec/reliability.md D1, D2, D3)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

import pytest

from iavfio.softvf.function.regions import DmaFault
from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf

MB = 1 << 20
TOP = 1 << 64


@pytest.fixture
def memory() -> Iterator[int]:
    """1 MiB of shared memory."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, MB)
    yield fd
    os.close(fd)


def dma_map(
    client: RawClient,
    fd: int | None,
    address: int,
    size: int = MB,
    offset: int = 0,
    flags: int = 3,
    argsz: int = 32,
) -> int:
    request = struct.pack("<IIQQQ", argsz, flags, offset, address, size)
    error, payload = client.ask(2, request, () if fd is None else (fd,))
    assert payload == b""
    return error


def unmap(client: RawClient, address: int, size: int, flags: int = 0) -> int:
    request = struct.pack("<IIQQ", 24, flags, address, size)
    error, payload = client.ask(3, request)
    assert payload == (b"" if error else request)
    return error


def test_windows_are_used_for_dma(served: ServedVf, client: RawClient, memory: int) -> None:
    assert dma_map(client, memory, 0x100000) == 0
    os.pwrite(memory, b"hello", 0x234)
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x100234, 5)
    client.write(7, 4, b"\4\0")
    assert served.vf.dma_read(0x100234, 5) == b"hello"
    served.vf.dma_write(0x100FFF, b"ab")
    assert os.pread(memory, 2, 0xFFF) == b"ab"
    client.write(7, 4, b"\0\0")
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x100234, 5)


# docs/spec/reliability.md D4
@pytest.mark.parametrize(
    ("address", "size", "offset"),
    [(0x5000, 100, 0), (0x5000, 0x1000, 0x801), (0x5800, 0x1000, 0), (0x5000, 0x1001, 0)],
)
def test_windows_are_of_whole_pages(
    served: ServedVf, client: RawClient, memory: int, address: int, size: int, offset: int
) -> None:
    """pgsizes, which the server's answer leaves out, is 4096 (docs/spec/vfio-user.md 2)."""
    assert dma_map(client, memory, address, size, offset) == errno.EINVAL
    assert any("whole pages of 4096 bytes" in each["text"] for each in served.log.entries())
    assert dma_map(client, memory, 0x5000, 0x1000, 0x1000) == 0


def test_accesses_over_adjacent_windows_are_split(
    served: ServedVf, client: RawClient, memory: int
) -> None:
    assert dma_map(client, memory, 0x10000, size=4096, offset=0x8000) == 0
    assert dma_map(client, memory, 0x11000, size=4096, offset=0x2000) == 0
    client.write(7, 4, b"\4\0")
    served.vf.dma_write(0x10FFE, b"abcd")
    assert (os.pread(memory, 2, 0x8FFE), os.pread(memory, 2, 0x2000)) == (b"ab", b"cd")
    with pytest.raises(DmaFault):
        served.vf.dma_write(0x11FFE, b"abcd")


def test_permissions_hold(served: ServedVf, client: RawClient, memory: int) -> None:
    assert dma_map(client, memory, 0x10000, flags=1) == 0
    client.write(7, 4, b"\4\0")
    assert served.vf.dma_read(0x10000, 1) == b"\0"
    with pytest.raises(DmaFault):
        served.vf.dma_write(0x10000, b"x")


# docs/spec/reliability.md D1
@pytest.mark.parametrize(
    ("address", "size", "offset", "flags", "argsz"),
    [
        (0x1000, 0, 0, 3, 32),
        (TOP - 0x1000, 0x2000, 0, 3, 32),
        (TOP - 1, TOP - 1, 0, 3, 32),
        (0x1000, MB + 1, 0, 3, 32),
        (0x1000, MB, 1, 3, 32),
        (0x1000, 0x1000, TOP - 0x1000, 3, 32),
        (0x1000, 0x1000, (1 << 63) - 0x1000, 3, 32),
        (0x1000, 0x1000, 0, 0x10, 32),
        (0x1000, 0x1000, 0, 8 | 3, 32),
        (0x1000, 0x1000, 0, 3, 31),
    ],
)
def test_impossible_windows_are_refused(
    client: RawClient, memory: int, address: int, size: int, offset: int, flags: int, argsz: int
) -> None:
    assert dma_map(client, memory, address, size, offset, flags, argsz) == errno.EINVAL
    assert unmap(client, 0, TOP - 1) == 0


# docs/spec/reliability.md D2
def test_fds_that_are_no_memory_are_refused(client: RawClient) -> None:
    read, write = os.pipe()
    assert dma_map(client, read, 0x1000) in (errno.ENODEV, errno.EACCES)
    os.close(read)
    os.close(write)


# docs/spec/reliability.md D3
def test_one_fd_at_most(client: RawClient, memory: int) -> None:
    request = struct.pack("<IIQQQ", 32, 3, 0, 0x1000, 0x1000)
    assert client.ask(2, request, (memory, memory))[0] == errno.EINVAL
    assert client.ask(2, request[:31], (memory,))[0] == errno.EINVAL


# docs/spec/reliability.md D1
def test_overlaps(client: RawClient, memory: int) -> None:
    assert dma_map(client, memory, 0x100000) == 0
    assert dma_map(client, memory, 0x100000) == 0, "an identical repeat succeeds"
    assert dma_map(client, memory, 0x100000 - 0x1000, 0x2000) == errno.EEXIST
    assert dma_map(client, memory, 0x1FF000, 0x2000) == errno.EEXIST
    assert dma_map(client, memory, 0x100000, 0x1000) == errno.EEXIST
    assert dma_map(client, memory, 0x200000, 0x1000) == 0


def test_windows_without_fd_are_accepted_and_not_used(
    served: ServedVf, client: RawClient, memory: int
) -> None:
    assert dma_map(client, None, 0xFE000000, 0x2000, flags=1) == 0
    assert dma_map(client, None, 0xFE000000, 0x2000, flags=1) == 0
    assert dma_map(client, None, 0xFE001000, 0x4000) == 0, "overlaps of start-up"
    for address, size in ((0xFF000000, 0), (TOP - 0x1000, 0x1001), (2, TOP - 1)):
        assert dma_map(client, None, address, size) == errno.EINVAL
    client.write(7, 4, b"\4\0")
    with pytest.raises(DmaFault):
        served.vf.dma_read(0xFE000000, 4)
    assert dma_map(client, memory, 0xFE000000, 0x1000) == 0
    assert served.vf.dma_read(0xFE000000, 4) == bytes(4)
    assert unmap(client, 0xFE000000, 0x1000) == errno.EINVAL, "splits the hollow one"
    assert unmap(client, 0xFE000000, 0x10000) == 0


def test_unmap_is_by_range(served: ServedVf, client: RawClient, memory: int) -> None:
    for i in range(8):
        assert dma_map(client, memory, 0x10000 + i * 0x1000, 0x1000, offset=i * 0x1000) == 0
    assert unmap(client, 0x8000000, 0x1000) == 0, "an empty range succeeds"
    assert unmap(client, 0x10800, 0x1000) == errno.EINVAL, "no window is split"
    client.write(7, 4, b"\4\0")
    assert served.vf.dma_read(0x10000, 0x8000) == bytes(0x8000), "... nor changed"
    assert unmap(client, 0x10000, 0x4000) == 0
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x13000, 1)
    assert served.vf.dma_read(0x14000, 0x4000) == bytes(0x4000)
    assert unmap(client, 0, 1 << 63) == 0, "wildcards come in two halves"
    assert unmap(client, 1 << 63, 1 << 63) == 0
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x14000, 1)


def test_unmap_all(served: ServedVf, client: RawClient, memory: int) -> None:
    assert dma_map(client, memory, 0x10000) == 0
    assert unmap(client, 0x10000, 0, flags=2) == errno.EINVAL
    assert unmap(client, 0, 0, flags=2) == 0
    client.write(7, 4, b"\4\0")
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x10000, 1)


# docs/spec/reliability.md D1
@pytest.mark.parametrize(
    ("address", "size"), [(0x1000, 0), (TOP - 0x1000, 0x2000), (TOP - 1, TOP - 1)]
)
def test_impossible_ranges_are_refused(client: RawClient, address: int, size: int) -> None:
    assert unmap(client, address, size) == errno.EINVAL


def test_dirty_bitmaps_are_not_offered(client: RawClient) -> None:
    request = struct.pack("<IIQQQQ", 40, 1, 0, 4096, 4096, 8)
    assert client.ask(3, request) == (errno.ENOTSUP, b"")


def test_disconnect_drops_windows(served: ServedVf, client: RawClient, memory: int) -> None:
    assert dma_map(client, memory, 0x10000) == 0
    client.close()
    again = RawClient(served.path)
    again.write(7, 4, b"\4\0")
    with pytest.raises(DmaFault):
        served.vf.dma_read(0x10000, 1)
    assert dma_map(again, memory, 0x10000) == 0
    again.close()


# docs/spec/reliability.md D2
def test_a_truncated_file_costs_only_its_owner(
    served: ServedVf, client: RawClient, memory: int
) -> None:
    assert dma_map(client, memory, 0x10000) == 0
    client.write(7, 4, b"\4\0")
    os.ftruncate(memory, 0)
    assert served.vf.dma_read(0x10000, 16) == bytes(16)
    assert client.read32(0x8800) == 2


# docs/spec/reliability.md D3
def test_thousands_of_windows(served: ServedVf, client: RawClient, memory: int) -> None:
    """A guest's vIOMMU maps page by page (lab 1); batches need no replies but the last."""
    os.pwrite(memory, bytes(range(256)), 0)
    for i in range(2000):
        request = struct.pack("<IIQQQ", 32, 3, i % 256 * 0x1000, i * 0x1000, 0x1000)
        client.post(2, request, (memory,), flags=0x10)
    client.write(7, 4, b"\4\0")
    assert served.vf.dma_read(256 * 0x1000, 4) == b"\0\1\2\3"
    assert unmap(client, 0, 2000 * 0x1000) == 0
    with pytest.raises(DmaFault):
        served.vf.dma_read(0, 1)
