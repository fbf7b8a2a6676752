# SPDX-License-Identifier: BSD-3-Clause
"""DMA without an IOMMU: physically contiguous memory, physical addresses (docs/spec/vfio.md 8)."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, physical
from tests.pyvfio.fake_kernel import FakeKernel
from tests.pyvfio.fake_physical import HUGE
from tests.pyvfio.vfio_user_peer import Peer

BDF = "0000:3b:02.0"


class Host(FakeKernel):
    """A host without an IOMMU that remembers the file behind the last allocation."""

    kept = -1

    def huge_file(self, size: int) -> int:
        fd = super().huge_file(size)
        self.forget()
        self.kept = os.dup(fd)
        return fd

    def forget(self) -> None:
        if self.kept >= 0:
            os.close(self.kept)
            self.kept = -1


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Host]:
    kernel = Host(tmp_path)
    kernel.add(BDF, noiommu=True)
    kernel.noiommu_allowed = True
    kernel.set_free_huge_pages(8)
    yield kernel
    kernel.forget()
    assert kernel.left_over() == []


def opened(kernel: FakeKernel) -> pyvfio.Device:
    return pyvfio.open(BDF, kernel=kernel, mode="noiommu", unsafe_noiommu=True)


def test_the_iova_is_the_physical_address(kernel: Host) -> None:
    kernel.physical.pages = [21, 20]
    with opened(kernel) as device:
        assert device.space.physical
        memory = device.space.allocate(4096)
        assert (memory.size, memory.page_size) == (HUGE, HUGE)
        assert device.space.map(memory) == 21 * HUGE
        other = device.space.allocate(1)
        assert device.space.map(other) == 20 * HUGE
        assert [m.iova for m in device.space.mappings] == [20 * HUGE, 21 * HUGE]
        device.space.unmap(21 * HUGE, memory.size)
        assert device.space.map(memory, iova=21 * HUGE) == 21 * HUGE
        with pytest.raises(pyvfio.DmaError, match="let map"):
            device.space.map(other, iova=21 * HUGE)
        with pytest.raises(pyvfio.DmaError, match="mapped already"):
            device.space.map(other)
    assert not [call for call in kernel.calls if call[-1] in ("0x3b70", "0x3b71", "0x3b72")]


def test_huge_pages_are_mapped_in_physical_order(kernel: Host) -> None:
    """Frame by frame, byte by byte: address + n is IOVA + n."""
    kernel.physical.pages = [9, 7, 8]
    with opened(kernel) as device:
        memory = device.space.allocate(3 * HUGE)
        iova = device.space.map(memory)
        assert iova == 7 * HUGE
        for n in range(0, memory.size, HUGE // 2):
            assert kernel.frames(memory.address + n, 1, 1) == [(iova + n) // 4096]
        view = memory.buffer()
        for page in range(3):
            view[page * HUGE] = page + 1
        # The file shows the order in which the kernel gave them.
        assert [os.pread(kernel.kept, 1, page * HUGE)[0] for page in range(3)] == [3, 1, 2]


def test_more_are_taken_until_a_run_is_long_enough_and_the_rest_goes_back(kernel: Host) -> None:
    kernel.physical.pages = [10, 12, 50, *(32, 99, 31, 60, 30, 61)]
    memory = physical.allocate(kernel, 3 * HUGE)
    assert physical.address(kernel, memory) == 30 * HUGE
    sizes = [call[1] for call in kernel.calls if call[0] == "huge_file"]
    assert sizes == [3 * HUGE, 6 * HUGE]
    memory.close()


def test_the_shortest_run_that_will_do_is_used(kernel: Host) -> None:
    kernel.physical.pages = [1, 90, *(2, 4, 6, 8), *(10, 12, 11, 52, 53, 40, 70, 80)]
    memory = physical.allocate(kernel, 2 * HUGE)
    assert physical.address(kernel, memory) == 52 * HUGE
    memory.close()


def test_pages_that_are_not_used_are_given_back(kernel: Host) -> None:
    kernel.physical.pages = [1, 90, *(11, 200, 10, 300)]
    memory = physical.allocate(kernel, 2 * HUGE)
    assert os.fstat(kernel.kept).st_size == 4 * HUGE
    assert os.fstat(kernel.kept).st_blocks * 512 == 2 * HUGE
    assert physical.address(kernel, memory) == 10 * HUGE
    assert not any(memory.buffer()[:: HUGE // 4])


def test_no_run_that_is_long_enough(kernel: Host) -> None:
    kernel.physical.pages = [*range(2, 100, 2)]
    with pytest.raises(pyvfio.VfioError, match=r"(?s)longest run among 8 .*hugepages=64") as caught:
        physical.allocate(kernel, 2 * HUGE)
    assert caught.value.errno == errno.ENOMEM


def test_too_few_huge_pages(kernel: Host) -> None:
    with pytest.raises(pyvfio.VfioError, match=r"8 huge pages .* 9 are needed\n.*hugepages="):
        physical.allocate(kernel, 8 * HUGE + 1)
    kernel.remove("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
    with pytest.raises(pyvfio.VfioError, match="0 huge pages"):
        physical.allocate(kernel, 1)


def test_somebody_else_takes_the_pages(kernel: Host) -> None:
    kernel.fail_at = (1, errno.ENOMEM)
    with pytest.raises(pyvfio.VfioError, match="could not be had"):
        physical.allocate(kernel, HUGE)


def test_hidden_physical_addresses_name_the_capability(kernel: Host) -> None:
    kernel.frames_shown = False
    with pytest.raises(pyvfio.PermissionDenied, match="CAP_SYS_ADMIN"):
        physical.allocate(kernel, 1)


def test_memory_of_another_kind_is_refused(kernel: Host) -> None:
    small = DmaMemory.allocate(4096, huge="never")
    with opened(kernel) as device:
        with pytest.raises(pyvfio.DmaError, match=r"may move it\n.*allocate\(\)"):
            device.space.map(small)
        assert device.space.mappings == ()
    small.close()


def test_huge_pages_that_are_no_neighbours_are_refused(kernel: Host) -> None:
    kernel.physical.pages = [5, 7]
    fd = kernel.huge_file(2 * HUGE)
    apart = DmaMemory(mmap.mmap(fd, 2 * HUGE, mmap.MAP_SHARED), fd, HUGE, "")
    with opened(kernel) as device, pytest.raises(pyvfio.DmaError, match="not neighbours"):
        device.space.map(apart)
    apart.close()


def test_a_vfio_user_server_cannot_be_shown_such_memory(kernel: Host, tmp_path: Path) -> None:
    memory = physical.allocate(kernel, 1)
    peer = Peer(tmp_path / "d.sock")
    with (
        pyvfio.open(f"vfio-user:{peer.path}") as device,
        pytest.raises(pyvfio.DmaError, match="vfio-user server"),
    ):
        device.space.map(memory)
    peer.close()


def test_a_forked_child_reads_zeros(kernel: Host) -> None:
    kernel.physical.pages = [4, 3]
    memory = physical.allocate(kernel, 2 * HUGE)
    view = memory.buffer()
    view[0] = view[HUGE] = 7
    pid = os.fork()
    if pid == 0:
        code = view[0] + view[HUGE]
        view[0] = 1
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert view[0] == view[HUGE] == 7
