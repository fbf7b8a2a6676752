# SPDX-License-Identifier: BSD-3-Clause
"""DMA, shared spaces, interrupts and BARs on the strict fake kernel (docs/spec/vfio.md 4-6, 9)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, kernel_device
from tests.pyvfio.fake_kernel import FakeKernel
from tests.pyvfio.rigs import BDF

OTHER = "0000:3b:02.1"
MODES = ("group", "cdev")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_device, "OPEN_PATIENCE_S", 0.01)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[FakeKernel]:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF)
    yield kernel
    assert kernel.left_over() == []


# ---- DMA


@pytest.fixture
def memory() -> Iterator[DmaMemory]:
    memory = DmaMemory.allocate(4 * 4096, huge="never")
    yield memory
    memory.close()


@pytest.fixture(params=MODES)
def device(kernel: FakeKernel, request: pytest.FixtureRequest) -> Iterator[pyvfio.Device]:
    with pyvfio.open(BDF, kernel=kernel, mode=request.param) as device:
        yield device


def test_ranges_have_the_interrupt_hole(device: pyvfio.Device) -> None:
    assert [(span.start, span.last) for span in device.space.ranges] == [
        (0, 0xFEDFFFFF),
        (0xFEF00000, 2**39 - 1),
    ]


@pytest.mark.parametrize("iova", [0xFEE00000, 0xFEDFF000, 2**39, 2**39 - 4096, 2**64 - 4096])
def test_outside_the_ranges(device: pyvfio.Device, memory: DmaMemory, iova: int) -> None:
    with pytest.raises(pyvfio.DmaError) as caught:
        device.space.map(memory, iova=iova)
    assert "let map() choose" in caught.value.remedy
    assert device.space.mappings == ()


def test_chosen_addresses_go_around_the_hole(kernel: FakeKernel, device: pyvfio.Device) -> None:
    big = DmaMemory.allocate(4096, huge="never")
    big.size = 0xFEE00000 - 0x2000  # nothing is pinned: the next mapping must fit elsewhere
    with pytest.raises(pyvfio.DmaError):
        device.space.map(big)
    big.size = 4096
    low = device.space.map(big)
    assert 0 < low < 0xFEE00000
    device.space.unmap(low, 4096)
    big.close()


def test_address_space_full(device: pyvfio.Device, memory: DmaMemory) -> None:
    memory.size = 2**39
    with pytest.raises(pyvfio.DmaError, match="no free IOVA"):
        device.space.map(memory)
    memory.size = 4 * 4096


# docs/spec/reliability.md F61
def test_memlock(kernel: FakeKernel, device: pyvfio.Device, memory: DmaMemory) -> None:
    kernel.accounting.limit = 6 * 4096
    iova = device.space.map(memory)
    more = DmaMemory.allocate(4 * 4096, huge="never")
    with pytest.raises(pyvfio.MemlockExceeded) as caught:
        device.space.map(more)
    error = caught.value
    assert (error.needed, error.allowed, error.errno) == (16384, 24576, errno.ENOMEM)
    assert "16384" in str(error) and "24576" in str(error)
    assert "LimitMEMLOCK" in error.remedy and "CAP_IPC_LOCK" in error.remedy
    kib = int(error.remedy.split("ulimit -l ")[1].split("'")[0])
    kernel.accounting.limit = kib * 1024  # what it advises must do
    second = device.space.map(more)
    assert kernel.accounting.locked == 8 * 4096
    device.space.unmap(iova, memory.size)
    device.space.unmap(second, more.size)
    assert kernel.accounting.locked == 0
    more.close()


def test_iommufd_counts_the_user(kernel: FakeKernel, memory: DmaMemory) -> None:
    kernel.accounting.limit, kernel.accounting.elsewhere = 65536, 60000
    with (
        pyvfio.open(BDF, kernel=kernel, mode="cdev") as device,
        pytest.raises(pyvfio.MemlockExceeded, match="this user's processes"),
    ):
        device.space.map(memory)


# docs/spec/reliability.md F60
def test_too_many_mappings(kernel: FakeKernel, memory: DmaMemory) -> None:
    kernel.dma_limit = 1
    other = DmaMemory.allocate(4096, huge="never")
    for mode in MODES:
        with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:  # type: ignore[arg-type]
            device.space.map(memory)
            with pytest.raises(pyvfio.DmaError, match="dma_entry_limit") as caught:
                device.space.map(other)
            assert caught.value.errno == errno.ENOSPC
    other.close()


def test_memory_that_went_away(device: pyvfio.Device) -> None:
    memory = DmaMemory.allocate(4096, huge="never")
    memory.close()
    with pytest.raises(pyvfio.DmaError, match="not there"):
        device.space.map(memory)


def test_closed_memory_is_given_back() -> None:
    memory = DmaMemory.allocate(4096, huge="never")
    address, view = memory.address, memory.buffer()
    view[:2] = b"ok"
    memory.close()
    assert bytes(view[:2]) == b"ok"  # as long as somebody looks at it
    view.release()
    spans = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    assert not [s for s in spans if s.startswith(f"{address:x}-") and "pyvfio-dma" in s]


def test_old_kernel_says_nothing_of_ranges(kernel: FakeKernel, memory: DmaMemory) -> None:
    kernel.info_caps = False
    with pyvfio.open(BDF, kernel=kernel, mode="group") as device:
        assert device.space.ranges[-1].last <= 2**39 - 1
        assert device.space.map(memory) > 0


@pytest.mark.parametrize("mode", MODES)
def test_more_ranges_than_expected(kernel: FakeKernel, mode: Any, memory: DmaMemory) -> None:
    kernel.holes = tuple((n << 20, (n << 20) + 0xFFF) for n in range(1, 80))
    with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:
        assert len(device.space.ranges) == 80
        assert device.space.ranges[1].start == 0x101000
        memory.size = 1 << 20  # too long for what is between two holes
        with pytest.raises(pyvfio.DmaError):
            device.space.map(memory, iova=0x101000)
        memory.size = 4 * 4096


# ---- shared address spaces


@pytest.mark.parametrize("mode", MODES)
def test_shared_space(kernel: FakeKernel, mode: Any, memory: DmaMemory) -> None:
    kernel.add(OTHER, group=18)
    first = pyvfio.open(BDF, kernel=kernel, mode=mode)
    second = pyvfio.open(OTHER, kernel=kernel, space=first.space)  # it follows the space
    assert second.transport == mode
    assert second.space is first.space
    iova = first.space.map(memory)
    assert kernel.accounting.locked == memory.size  # once
    first.close()
    assert [m.iova for m in second.space.mappings] == [iova]
    assert kernel.accounting.locked == memory.size
    second.space.unmap(iova, memory.size)
    second.close()
    with pytest.raises(pyvfio.Closed):
        pyvfio.open(BDF, kernel=kernel, space=first.space)


@pytest.mark.parametrize("mode", MODES)
def test_two_devices_of_one_group(kernel: FakeKernel, mode: Any, memory: DmaMemory) -> None:
    kernel.add(OTHER)
    with pyvfio.open(BDF, kernel=kernel, mode=mode) as first:
        with pyvfio.open(OTHER, kernel=kernel, mode=mode, space=first.space) as second:
            assert second.config.vendor == 0x8086
            assert second.fd != first.fd
            iova = first.space.map(memory)
        assert [mapping.iova for mapping in first.space.mappings] == [iova]  # they are first's, too
        first.space.unmap(iova, memory.size)
        assert first.config.vendor == 0x8086


def test_spaces_of_another_kind(kernel: FakeKernel) -> None:
    kernel.add(OTHER, group=18)
    for mode, other in (("group", "cdev"), ("cdev", "group")):
        with (
            pyvfio.open(BDF, kernel=kernel, mode=mode) as device,  # type: ignore[arg-type]
            pytest.raises(pyvfio.VfioError, match=f"mode='{other}'"),
        ):
            pyvfio.open(OTHER, kernel=kernel, mode=other, space=device.space)  # type: ignore[arg-type]


# ---- interrupts, BARs, reset


def test_fewer_vectors_than_asked(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].vectors_available = 2
    with pytest.raises(pyvfio.Unsupported, match="2 of 4") as caught:
        device.enable_msix(4)
    assert "use 2 vectors" in caught.value.remedy
    assert len(device.enable_msix(2)) == 2


def test_no_request_event(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].irqs[4] = 0
    assert device.request_event() is None


def test_no_reset(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].busy_resets = 10**6
    with pytest.raises(pyvfio.Busy, match="reset"):
        device.reset()
    kernel.devices[BDF].resettable = False
    with pytest.raises(pyvfio.Unsupported, match="reset"):
        device.reset()


def test_bar_that_may_not_be_mapped(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].unmappable.add(0)
    bar = device.map_bar(0)
    assert not bar.mapped(0)
    bar.write32(0x100, 0x1234)
    assert bar.read32(0x100) == 0x1234


def test_bar_without_sparse_areas_is_mapped_whole(
    kernel: FakeKernel, device: pyvfio.Device
) -> None:
    bar = device.map_bar(0)
    assert bar.mapped(0x1FFFC)
    bar.write32(0x1FFFC, 0x77)
    assert device.read(0, 0x1FFFC, 4) == b"\x77\0\0\0"


def test_kernel_that_refuses_a_mapping_after_all(kernel: FakeKernel, device: pyvfio.Device) -> None:
    device.region(0)
    kernel.devices[BDF].areas[0] = [(0, 0x1000), (0x2000, 0x1000)]
    refused = [0]

    def mmap(fd: int, length: int, offset: int, writable: bool) -> Any:
        refused[0] += 1
        raise OSError(errno.EINVAL, "no")

    kernel.mmap = mmap  # type: ignore[method-assign]
    bar = device.map_bar(0)
    assert refused[0] == 2 and not bar.mapped(0)
    bar.write32(0, 5)
    assert bar.read32(0) == 5


def test_failed_mappings_use_nothing_up(kernel: FakeKernel, device: pyvfio.Device) -> None:
    """The guard against bus errors has room for a limited number of ranges."""
    kernel.devices[BDF].areas[0] = [(0, 0x1000), (0x2000, 0x1000)]
    for _ in range(300):
        kernel.fail_at = (3, errno.ENOMEM)  # the region's two calls, one mapping, then this
        with pytest.raises(pyvfio.VfioError, match="cannot be mapped"):
            device.map_bar(0)
    assert kernel.fail_at is None
    assert device.map_bar(0).mapped(0x2000)


def test_more_areas_than_can_be_kept(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].areas[0] = [(n * 0x2000, 0x1000) for n in range(12)]
    bar = device.map_bar(0)
    for n in range(12):
        bar.write32(n * 0x2000 + 8, n)
    assert [bar.read32(n * 0x2000 + 8) for n in range(12)] == list(range(12))
    assert bar.mapped(0) and not bar.mapped(11 * 0x2000)
