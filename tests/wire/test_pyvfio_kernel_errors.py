# SPDX-License-Identifier: BSD-3-Clause
"""Each refusal of the kernel becomes a typed error that names its remedy (spec: vfio 9)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, kernel_device
from tests.wire.fake_kernel import FakeKernel
from tests.wire.rigs import BDF

OTHER = "0000:3b:02.1"
PF = "0000:3b:00.0"
UUID = "12345678-9abc-def0-1122-334455667788"
RAW = bytes.fromhex(UUID.replace("-", ""))
Change = Callable[[FakeKernel], object]
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


def deny(path: str, code: int) -> Change:
    return lambda kernel: kernel.denied.update({path: code})


def change(**values: Any) -> Change:
    return lambda kernel: vars(kernel).update(values)


def change_group(**values: Any) -> Change:
    return lambda kernel: vars(kernel.groups[17]).update(values)


def change_device(**values: Any) -> Change:
    return lambda kernel: vars(kernel.devices[BDF]).update(values)


def neighbour(kernel: FakeKernel) -> None:
    kernel.add(OTHER, driver="iavf")


CONTAINER, GROUP, IOMMU = "/dev/vfio/vfio", "/dev/vfio/17", "/dev/iommu"
CDEV = "/dev/vfio/devices/vfio0"
ROWS: list[tuple[str, Change, type[pyvfio.VfioError], str, int]] = [
    # mode, what is wrong, error, what cause and remedy must say, errno
    ("group", lambda k: k.remove(CONTAINER), pyvfio.NotFound, "modprobe vfio", errno.ENOENT),
    ("group", deny(CONTAINER, errno.ENODEV), pyvfio.NotFound, "modprobe vfio", errno.ENODEV),
    ("group", deny(CONTAINER, errno.EACCES), pyvfio.PermissionDenied, "udev", errno.EACCES),
    ("group", lambda k: k.remove(GROUP), pyvfio.NotFound, f"iavfio bind {BDF}", errno.ENOENT),
    ("group", lambda k: k.remove(GROUP), pyvfio.NotFound, "intel_iommu=on", errno.ENOENT),
    ("group", deny(GROUP, errno.EACCES), pyvfio.PermissionDenied, "chown", errno.EACCES),
    ("group", deny(GROUP, errno.EPERM), pyvfio.PermissionDenied, "CAP_SYS_RAWIO", errno.EPERM),
    ("group", deny(GROUP, errno.ENODEV), pyvfio.NotFound, "iavfio bind", errno.ENODEV),
    ("group", deny(GROUP, errno.EIO), pyvfio.VfioError, GROUP, errno.EIO),
    (
        "group",
        change_group(used_elsewhere=True),
        pyvfio.Busy,
        f"fuser -v {GROUP}",
        errno.EBUSY,
    ),
    ("group", neighbour, pyvfio.GroupNotViable, f"{OTHER} by iavf", errno.EPERM),
    ("group", neighbour, pyvfio.GroupNotViable, f"iavfio bind {OTHER}", errno.EPERM),
    ("group", change_group(domain_busy=True), pyvfio.Busy, f"fuser -v {GROUP}", errno.EBUSY),
    ("group", change(api_version=1), pyvfio.Unsupported, "API version 1", 0),
    ("group", change(type1=False), pyvfio.NoIommu, "modprobe vfio_iommu_type1", 0),
    (
        "group",
        change(interrupt_remapping=False),
        pyvfio.NoIommu,
        "vfio_iommu_type1/parameters/allow_unsafe_interrupts",
        errno.EPERM,
    ),
    ("group", change_device(token=RAW), pyvfio.PermissionDenied, "vf_token=UUID", errno.EACCES),
    ("group", change_device(busy_resets=10**6), pyvfio.Busy, "try again", errno.EAGAIN),
    ("cdev", lambda k: k.remove(IOMMU), pyvfio.NotFound, "modprobe iommufd", errno.ENOENT),
    ("cdev", deny(IOMMU, errno.ENODEV), pyvfio.NotFound, "modprobe iommufd", errno.ENODEV),
    ("cdev", deny(IOMMU, errno.EACCES), pyvfio.PermissionDenied, "chown", errno.EACCES),
    ("cdev", lambda k: k.remove(CDEV), pyvfio.Unsupported, "mode='group'", 0),
    ("cdev", deny(CDEV, errno.EACCES), pyvfio.PermissionDenied, "udev", errno.EACCES),
    ("cdev", deny(CDEV, errno.EBUSY), pyvfio.Busy, f"fuser -v {CDEV}", errno.EBUSY),
    ("cdev", neighbour, pyvfio.GroupNotViable, f"iavfio bind {OTHER}", errno.EPERM),
    ("cdev", change_group(used_elsewhere=True), pyvfio.Busy, f"fuser -v {CDEV}", errno.EBUSY),
    (
        "cdev",
        change_device(opened_elsewhere=True),
        pyvfio.Busy,
        f"fuser -v {CDEV}",
        errno.EINVAL,
    ),
    ("cdev", change(coherent=False), pyvfio.Busy, "cache coherency", errno.EINVAL),
    ("cdev", change_device(token=RAW), pyvfio.PermissionDenied, "vf_token=UUID", errno.EACCES),
    ("cdev", change_device(busy_resets=10**6), pyvfio.VfioError, BDF, errno.EAGAIN),
    ("cdev", change(attach_error=errno.EINVAL), pyvfio.VfioError, "mode='group'", errno.EINVAL),
    (
        "cdev",
        change(interrupt_remapping=False),
        pyvfio.NoIommu,
        "iommufd/parameters/allow_unsafe_interrupts",
        errno.EPERM,
    ),
]


@pytest.mark.parametrize(("mode", "wrong", "kind", "told", "code"), ROWS)
def test_opening_fails_in_words(
    kernel: FakeKernel,
    mode: Any,
    wrong: Change,
    kind: type[pyvfio.VfioError],
    told: str,
    code: int,
) -> None:
    wrong(kernel)
    with pytest.raises(kind) as caught:
        pyvfio.open(BDF, kernel=kernel, mode=mode)
    error = caught.value
    assert told in str(error)
    assert error.errno == code
    assert error.cause and error.remedy
    assert len(str(error).splitlines()) <= 2


def test_not_viable_names_the_holders(kernel: FakeKernel) -> None:
    kernel.add(OTHER, driver="iavf")
    kernel.add(PF, driver="pcieport")  # harmless
    for mode in MODES:
        with pytest.raises(pyvfio.GroupNotViable) as caught:
            pyvfio.open(BDF, kernel=kernel, mode=mode)  # type: ignore[arg-type]
        assert caught.value.holders == {OTHER: "iavf"}


@pytest.mark.parametrize("driver", ["iavf", ""])
def test_not_bound(tmp_path: Path, driver: str) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF, driver=driver)
    with pytest.raises(pyvfio.NotBound, match=f"iavfio bind {BDF}") as caught:
        pyvfio.open(BDF, kernel=kernel)
    assert (driver or "no driver") in str(caught.value)
    assert kernel.left_over() == []


def test_no_such_device_and_no_such_address(kernel: FakeKernel) -> None:
    with pytest.raises(pyvfio.NotFound, match="iavfio list"):
        pyvfio.open("0000:00:1f.7", kernel=kernel)
    with pytest.raises(pyvfio.NotFound, match="names no device"):
        pyvfio.open("eth0", kernel=kernel)
    with pytest.raises(pyvfio.VfioError, match="no mode"):
        pyvfio.open(BDF, kernel=kernel, mode="best")  # type: ignore[arg-type]
    pyvfio.open("3B:02.0", kernel=kernel).close()


def test_no_group_means_no_iommu(kernel: FakeKernel, tmp_path: Path) -> None:
    (tmp_path / f"sys/devices/pci0000:3a/{BDF}/iommu_group").unlink()
    with pytest.raises(pyvfio.NoIommu, match="intel_iommu=on"):
        pyvfio.open(BDF, kernel=kernel, mode="group")


# ---- choice of transport


def test_auto_prefers_cdev(kernel: FakeKernel) -> None:
    with pyvfio.open(BDF, kernel=kernel) as device:
        assert device.transport == "cdev"
        assert device.numa_node == 1


@pytest.mark.parametrize(
    "why",
    [
        lambda k: k.remove(CDEV),
        lambda k: k.remove(IOMMU),
        deny(IOMMU, errno.EACCES),
        deny(CDEV, errno.EACCES),
        deny(IOMMU, errno.ENODEV),
    ],
)
def test_auto_falls_back_to_the_group(kernel: FakeKernel, why: Change) -> None:
    why(kernel)
    with pyvfio.open(BDF, kernel=kernel) as device:
        assert device.transport == "group"


def test_auto_reports_the_first_obstacle(kernel: FakeKernel) -> None:
    deny(CDEV, errno.EACCES)(kernel)
    deny(GROUP, errno.EACCES)(kernel)
    with pytest.raises(pyvfio.PermissionDenied, match=CDEV):
        pyvfio.open(BDF, kernel=kernel)


@pytest.mark.parametrize("mode", MODES)
def test_second_opener(kernel: FakeKernel, mode: Any) -> None:
    for second in MODES:
        with (
            pyvfio.open(BDF, kernel=kernel, mode=mode) as device,
            pytest.raises(pyvfio.Busy, match="fuser"),
        ):
            pyvfio.open(BDF, kernel=kernel, mode=second)  # type: ignore[arg-type]
        assert device.fd == -1


@pytest.mark.parametrize("mode", MODES)
def test_opening_waits_for_a_reset(
    kernel: FakeKernel, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_device, "OPEN_PATIENCE_S", 5)
    kernel.devices[BDF].busy_resets = 2
    with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:
        kernel.devices[BDF].busy_resets = 1
        device.reset()


# ---- tokens


@pytest.mark.parametrize("mode", MODES)
def test_tokens(kernel: FakeKernel, mode: Any) -> None:
    device = kernel.devices[BDF]
    device.token = RAW
    pyvfio.open(BDF, kernel=kernel, mode=mode, vf_token=UUID.upper()).close()
    with pytest.raises(pyvfio.PermissionDenied, match="wrong"):
        pyvfio.open(BDF, kernel=kernel, mode=mode, vf_token=UUID.replace("1", "2"))
    with pytest.raises(pyvfio.PermissionDenied, match="needs"):
        pyvfio.open(BDF, kernel=kernel, mode=mode)
    with pytest.raises(pyvfio.VfioError, match="UUID"):
        pyvfio.open(BDF, kernel=kernel, mode=mode, vf_token="secret")
    device.token = None
    with pytest.raises(pyvfio.VfioError, match="leave it out"):
        pyvfio.open(BDF, kernel=kernel, mode=mode, vf_token=UUID)


def test_cdev_without_tokens_in_the_kernel(kernel: FakeKernel) -> None:
    kernel.cdev_tokens = False
    kernel.devices[BDF].token = RAW
    with pytest.raises(pyvfio.VfioError, match="mode='group'"):
        pyvfio.open(BDF, kernel=kernel, mode="cdev", vf_token=UUID)


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
def test_two_devices_of_one_group(kernel: FakeKernel, mode: Any) -> None:
    kernel.add(OTHER)
    with (
        pyvfio.open(BDF, kernel=kernel, mode=mode) as first,
        pyvfio.open(OTHER, kernel=kernel, mode=mode, space=first.space) as second,
    ):
        assert second.config.vendor == 0x8086
        assert second.fd != first.fd


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


def test_more_areas_than_can_be_kept(kernel: FakeKernel, device: pyvfio.Device) -> None:
    kernel.devices[BDF].areas[0] = [(n * 0x2000, 0x1000) for n in range(12)]
    bar = device.map_bar(0)
    for n in range(12):
        bar.write32(n * 0x2000 + 8, n)
    assert [bar.read32(n * 0x2000 + 8) for n in range(12)] == list(range(12))
    assert bar.mapped(0) and not bar.mapped(11 * 0x2000)


# ---- without an IOMMU


def test_noiommu_is_refused_unless_asked_for(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF, noiommu=True, cdev=False)
    kernel.noiommu_allowed = True
    for mode in ("auto", "group", "noiommu"):
        with pytest.raises(pyvfio.VfioError, match="unsafe_noiommu=True"):
            pyvfio.open(BDF, kernel=kernel, mode=mode)
    kernel.raw_io = False
    with pytest.raises(pyvfio.PermissionDenied, match="CAP_SYS_RAWIO"):
        pyvfio.open(BDF, kernel=kernel, unsafe_noiommu=True)
    kernel.raw_io, kernel.noiommu_allowed = True, False
    with pytest.raises(pyvfio.NoIommu, match="enable_unsafe_noiommu_mode"):
        pyvfio.open(BDF, kernel=kernel, unsafe_noiommu=True)
    assert kernel.left_over() == []


def test_noiommu_with_an_iommu(kernel: FakeKernel) -> None:
    with pytest.raises(pyvfio.VfioError, match="has an IOMMU"):
        pyvfio.open(BDF, kernel=kernel, unsafe_noiommu=True)


def test_noiommu_maps_nothing(tmp_path: Path, memory: DmaMemory) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF, noiommu=True)
    kernel.noiommu_allowed = True
    with (
        pyvfio.open(BDF, kernel=kernel, unsafe_noiommu=True) as device,
        pytest.raises(pyvfio.Unsupported, match="physical"),
    ):
        device.space.map(memory)
    assert kernel.left_over() == []
