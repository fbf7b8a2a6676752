# SPDX-License-Identifier: BSD-3-Clause
"""Each refusal of the kernel becomes a typed error that names its remedy (docs/spec/vfio.md 9)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, kernel_device
from tests.pyvfio.fake_kernel import FakeKernel
from tests.pyvfio.rigs import BDF

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


# docs/spec/reliability.md F65
@pytest.mark.parametrize("mode", MODES)
def test_second_opener(kernel: FakeKernel, mode: Any) -> None:
    for second in MODES:
        with (
            pyvfio.open(BDF, kernel=kernel, mode=mode) as device,
            pytest.raises(pyvfio.Busy, match="fuser"),
        ):
            pyvfio.open(BDF, kernel=kernel, mode=second)  # type: ignore[arg-type]
        assert device.fd == -1


# docs/spec/reliability.md F63
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
    with pytest.raises(pyvfio.VfioError, match="leave vf_token out"):
        pyvfio.open(BDF, kernel=kernel, mode=mode, vf_token=UUID)


def test_cdev_without_tokens_in_the_kernel(kernel: FakeKernel) -> None:
    kernel.cdev_tokens = False
    kernel.devices[BDF].token = RAW
    with pytest.raises(pyvfio.VfioError, match="mode='group'"):
        pyvfio.open(BDF, kernel=kernel, mode="cdev", vf_token=UUID)


# ---- without an IOMMU


@pytest.fixture
def memory() -> Iterator[DmaMemory]:
    memory = DmaMemory.allocate(4 * 4096, huge="never")
    yield memory
    memory.close()


# docs/spec/reliability.md P3
@pytest.mark.parametrize("cdev", [False, True])  # Linux 7.3 has noiommu character devices too
def test_noiommu_is_refused_unless_asked_for(tmp_path: Path, cdev: bool) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF, noiommu=True, cdev=cdev)
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
