# SPDX-License-Identifier: BSD-3-Clause
"""DMA windows (docs/spec/vfio-user.md 4; docs/spec/reliability.md D1, D2)."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.softvf.dataplane.plane_rig import IOVA, SIZE, TX_RING, mac, rig, wait_for

FRAME = mac(1) + mac(1) + b"\x88\xb5" + bytes(range(200))
PAGE = 4096


# docs/spec/reliability.md D1
def test_ranges_that_cannot_be() -> None:
    with rig() as r:
        fd = r.vfs[0].fd
        bad = [
            (0, IOVA, 0),
            (0, 2**64 - PAGE, 2 * PAGE),
            (SIZE - PAGE, IOVA, 2 * PAGE),
            (2**64 - PAGE, IOVA, 2 * PAGE),
            (SIZE, IOVA, PAGE),
        ]
        for offset, iova, size in bad:
            with pytest.raises(OSError, match="Invalid argument"):
                r.plane.dma_map(0, fd, offset, iova, size, True, True)
        r.plane.dma_map(0, fd, SIZE - PAGE, 2**64 - PAGE, PAGE, True, True)
        r.plane.set_bus_master(0, True)
        r.plane.dma_write(0, 2**64 - 4, b"last")
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_read(0, 2**64 - 4, 5)


# docs/spec/reliability.md D1
def test_overlap_and_identical_repeat() -> None:
    with rig() as r:
        fd = r.vfs[0].fd
        r.plane.dma_map(0, fd, 0, IOVA, 4 * PAGE, True, True)
        r.plane.dma_map(0, fd, 0, IOVA, 4 * PAGE, True, True)
        for offset, iova, size, writable in (
            (PAGE, IOVA + PAGE, PAGE, True),
            (0, IOVA - PAGE, 2 * PAGE, True),
            (PAGE, IOVA, 4 * PAGE, True),
            (0, IOVA, 4 * PAGE, False),
            (0, IOVA, 8 * PAGE, True),
        ):
            with pytest.raises(OSError, match="File exists"):
                r.plane.dma_map(0, fd, offset, iova, size, True, writable)
        assert r.plane.dma_unmap(0, IOVA, 4 * PAGE) == 4 * PAGE
        assert r.plane.dma_unmap(0, IOVA, 4 * PAGE) == 0, "an empty range is success"


def test_windows_without_fd_hinder_nobody() -> None:
    with rig() as r:
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, None, 0, IOVA, 4 * PAGE, True, True)
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_read(0, IOVA, 4)
        r.plane.dma_map(0, vf.fd, 0, IOVA + PAGE, PAGE, True, True)
        r.plane.dma_map(0, None, 0, IOVA, 8 * PAGE, True, True)
        r.plane.dma_write(0, IOVA + PAGE, b"used")
        assert vf.memory[:4] == b"used"


def test_unmap_by_range_never_splits() -> None:
    with rig() as r:
        fd = r.vfs[0].fd
        for page in range(8):
            r.plane.dma_map(0, fd, page * PAGE, IOVA + page * PAGE, PAGE, True, True)
        r.plane.dma_map(0, fd, 0, IOVA + 8 * PAGE, 4 * PAGE, True, True)
        for iova, size in ((IOVA, 9 * PAGE), (IOVA + 1, PAGE - 2), (IOVA + PAGE, PAGE + 1)):
            with pytest.raises(OSError, match="Invalid argument"):
                r.plane.dma_unmap(0, iova, size)
        assert r.plane.dma_unmap(0, IOVA + 2 * PAGE, 3 * PAGE) == 3 * PAGE
        r.plane.set_bus_master(0, True)
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_read(0, IOVA + 2 * PAGE - 1, 2)
        assert r.plane.dma_unmap(0, 0, 2**63) == 9 * PAGE, "a wildcard over everything"
        r.plane.dma_clear(0)


def test_rights_of_a_window() -> None:
    with rig() as r:
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, vf.fd, 0, IOVA, PAGE, True, False)
        r.plane.dma_map(0, vf.fd, PAGE, IOVA + PAGE, PAGE, False, True)
        vf.memory[0:4] = b"read"
        assert r.plane.dma_read(0, IOVA, 4) == b"read"
        r.plane.dma_write(0, IOVA + PAGE, b"write")
        for call in (
            lambda: r.plane.dma_write(0, IOVA, b"x"),
            lambda: r.plane.dma_read(0, IOVA + PAGE, 1),
            lambda: r.plane.dma_write(0, IOVA + PAGE - 1, b"xx"),
        ):
            with pytest.raises(OSError, match="Bad address"):
                call()
        r.plane.set_bus_master(0, False)
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_read(0, IOVA, 4)


def test_file_opened_for_reading_only() -> None:
    with rig() as r:
        vf = r.vfs[0]
        fd = os.open(f"/proc/self/fd/{vf.fd}", os.O_RDONLY)
        try:
            with pytest.raises(PermissionError):
                r.plane.dma_map(0, fd, 0, IOVA, PAGE, True, True)
            r.plane.dma_map(0, fd, 0, IOVA, PAGE, True, False)
        finally:
            os.close(fd)
        r.plane.set_bus_master(0, True)
        vf.memory[7:9] = b"ok"
        assert r.plane.dma_read(0, IOVA + 7, 2) == b"ok"
        # The same file, now with the right to write: not by the mapping that has none.
        r.plane.dma_map(0, vf.fd, PAGE, IOVA + PAGE, PAGE, True, True)
        r.plane.dma_write(0, IOVA + PAGE, b"written")
        assert vf.memory[PAGE : PAGE + 7] == b"written"


@pytest.mark.parametrize("rxdid", [1, 22])
def test_traffic_over_scattered_pages(rxdid: int) -> None:
    """As a guest's vIOMMU maps: a window a page, in another order than in the file; rings, buffers
    and frames cross them."""
    with rig(rxdid=rxdid, ring=512) as r:
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        pages = SIZE // PAGE
        shuffled = [(page * 37) % pages for page in range(pages)]
        assert sorted(shuffled) == list(range(pages))
        backing = os.memfd_create("scattered")
        os.ftruncate(backing, SIZE)
        with mmap.mmap(backing, SIZE) as other:
            for page, at in enumerate(shuffled):
                r.plane.dma_map(0, backing, at * PAGE, IOVA + page * PAGE, PAGE, True, True)
            vf.publish()
            vf.start()

            def mirror(into_device: bool) -> None:
                for page, at in enumerate(shuffled):
                    near, far = page * PAGE, at * PAGE
                    if into_device:
                        other[far : far + PAGE] = vf.memory[near : near + PAGE]
                    else:
                        vf.memory[near : near + PAGE] = other[far : far + PAGE]

            vf.free += PAGE - 100
            sent = FRAME[:14] + bytes(1986)
            descriptors = [vf.frame(sent), vf.frame(FRAME)]
            vf.post(descriptors, doorbell=False)
            mirror(into_device=True)
            vf.doorbell(0, 2)
            far = shuffled[(TX_RING + 16) // PAGE] * PAGE + 24
            wait_for(lambda: other[far] & 15 == 15, "written back")
            mirror(into_device=False)
            assert [vf.take().data, vf.take().data] == [sent, FRAME]
        os.close(backing)
        assert r.plane.events() == []


# docs/spec/reliability.md D1, D4
@pytest.mark.parametrize(
    ("offset", "iova", "size"),
    [(1, 0, PAGE), (PAGE // 2, 0, PAGE), (0, 1, PAGE), (0, 2048, PAGE), (0, 0, 1), (0, 0, 4097)],
)
def test_windows_are_of_whole_pages(offset: int, iova: int, size: int) -> None:
    """As an IOMMU's: in windows of a byte each, a packet would cost the device a search a byte."""
    with rig() as r:
        fd = r.vfs[0].fd
        with pytest.raises(OSError, match="Invalid argument"):
            r.plane.dma_map(0, fd, offset, IOVA + iova, size, True, True)
        assert r.plane.dma_unmap(0, 0, 2**63) == 0, "nothing is left of it"


def test_unmap_under_traffic_ends_all_access() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(FRAME)
        r.plane.dma_unmap(0, IOVA, SIZE)
        vf.send(FRAME)
        before = bytes(vf.memory[:])
        r.wait_event("mdd", "outside the DMA windows")
        assert bytes(vf.memory[:]) == before


# docs/spec/reliability.md D2
def test_truncated_file_hurts_nobody_else() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open()
        a.send(mac(2) + FRAME[6:])
        assert b.take().data[6:] == FRAME[6:]
        os.ftruncate(a.fd, 0)
        a.doorbell(0, 9)
        r.wait_event("violation", "truncated")
        b.send(mac(2) + mac(2) + FRAME[12:])
        assert b.take().data[12:] == FRAME[12:]
        assert r.plane.dma_read(0, IOVA + 5 * PAGE, 4) == bytes(4)
        os.ftruncate(a.fd, SIZE)


def test_thousands_of_windows() -> None:
    with rig() as r:
        fd = r.vfs[0].fd
        r.plane.set_bus_master(0, True)
        for page in range(SIZE // PAGE):
            r.plane.dma_map(0, fd, page * PAGE, IOVA + 2 * page * PAGE, PAGE, True, True)
        r.plane.dma_write(0, IOVA + 2000 * PAGE, b"here")
        assert r.vfs[0].memory[1000 * PAGE : 1000 * PAGE + 4] == b"here"
        maps = [line for line in open("/proc/self/maps") if "plane-rig" in line]  # noqa: SIM115, PTH123
        assert len(maps) <= 3, "each file is mapped once"
        assert r.plane.dma_unmap(0, 0, 0, everything=True) == SIZE


TWO_FILES = """
import os, sys
from tests.softvf.dataplane.plane_rig import IOVA, rig

paths = [sys.argv[1] + "/file", sys.argv[2] + "/file"]
for path, text in zip(paths, (b"one", b"two")):
    with open(path, "wb") as file:
        file.write(text.ljust(4096))
fds = [os.open(path, os.O_RDWR) for path in paths]
files = [os.fstat(fd) for fd in fds]
assert files[0].st_ino == files[1].st_ino and files[0].st_dev != files[1].st_dev, files
with rig() as r:
    r.plane.set_bus_master(0, True)
    for at, fd in enumerate(fds):
        r.plane.dma_map(0, fd, 0, IOVA + 4096 * at, 4096, True, True)
    print([bytes(r.plane.dma_read(0, IOVA + 4096 * at, 3)).decode() for at in (0, 1)])
"""


def test_files_with_one_number_in_two_file_systems(tmp_path: Path) -> None:
    """Each tmpfs counts its files from one."""
    first, second = tmp_path / "first", tmp_path / "second"
    for each in (first, second):
        each.mkdir()
    mounts = "mount -t tmpfs one $0 && mount -t tmpfs two $1"
    space = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*space, mounts, first, second], capture_output=True).returncode:
        pytest.skip("no file system can be mounted in a namespace of one's own")
    told = subprocess.run(
        [*space, f'{mounts} && exec "$2" -c "$3" $0 $1', first, second, sys.executable, TWO_FILES],
        capture_output=True,
        text=True,
    )
    assert told.stdout == "['one', 'two']\n", told.stderr
