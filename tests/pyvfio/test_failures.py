# SPDX-License-Identifier: BSD-3-Clause
"""Any system call may fail at any time: a typed error, and nothing left behind."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, kernel_device
from tests.pyvfio.fake_kernel import FakeKernel, open_fds
from tests.pyvfio.rigs import BDF
from tests.pyvfio.vfio_user_peer import Peer

CODES = (
    errno.EPERM,
    errno.EINVAL,
    errno.ENODEV,
    errno.EIO,
    errno.ENOMEM,
    errno.EBUSY,
    errno.EMFILE,
)


def host(root: Path, mode: str) -> FakeKernel:
    kernel = FakeKernel(root)
    kernel.noiommu_allowed = True
    kernel.set_free_huge_pages(1)
    device = kernel.add(BDF, noiommu=mode == "noiommu")
    device.areas[0] = [(0, 0x1000), (0x2000, 0x1000)]
    return kernel


def session(kernel: FakeKernel, mode: Any, memory: DmaMemory) -> None:
    with pyvfio.open(BDF, kernel=kernel, mode=mode, unsafe_noiommu=mode == "noiommu") as device:
        use(device, memory)


def use(device: pyvfio.Device, memory: DmaMemory) -> None:
    """What a driver does from first to last."""
    device.info()
    device.config.bus_master = True
    assert device.config.msix_count
    bar = device.map_bar(0)
    bar.write32(0x2000, 1)
    device.enable_msix(3)
    device.request_event()
    device.error_event()
    if device.transport == "noiommu":
        own = device.space.allocate(4096)
        device.space.unmap(device.space.map(own), own.size)
        own.close()
    else:
        iova = device.space.map(memory)
        device.space.map(memory, iova=0x40000000)
        device.space.unmap(iova, memory.size)
    device.reset()
    device.disable_msix()


# docs/spec/reliability.md F68
@pytest.mark.parametrize("mode", ["group", "cdev", "noiommu"])
@pytest.mark.parametrize("code", CODES)
def test_every_call_fails_once(
    tmp_path: Path, mode: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_device, "OPEN_PATIENCE_S", 0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    memory = DmaMemory.allocate(4096, huge="never")
    gc.collect()
    before = open_fds()
    failures = 0
    for at in range(200):
        kernel = host(tmp_path / str(at), mode)
        kernel.fail_at = (at, code)
        what = "nothing"
        try:
            session(kernel, mode, memory)
        except pyvfio.VfioError as error:
            failures += 1
            what = str(error)
            assert error.cause and error.remedy, what
            assert len(what.splitlines()) <= 2, what
        except BaseException as error:
            raise AssertionError(f"call {at} of {kernel.calls[-8:]}") from error
        if kernel.fail_at is not None:
            break
        gc.collect(0)
        assert kernel.files == {}, f"after call {at} failed ({what}): {kernel.calls[-8:]}"
        assert kernel.accounting.locked == 0
        assert all(device.open_count == 0 for device in kernel.devices.values())
        session(kernel, mode, memory)  # a second try works
        assert kernel.files == {}
        assert kernel.accounting.locked == 0
    else:
        raise AssertionError("the session never came to its end")
    assert what == "nothing" and kernel.left_over() == []
    assert failures >= (20 if code != errno.EBUSY else 10)
    gc.collect()
    assert open_fds() == before
    memory.close()


# docs/spec/reliability.md F68
@pytest.mark.parametrize("code", [0, errno.EINVAL, errno.ENOMEM])
def test_every_message_fails_once(tmp_path: Path, code: int) -> None:
    """Errno 0 means that the server dies there."""
    memory = DmaMemory.allocate(4096, huge="never")
    gc.collect()
    before = open_fds()
    failures = 0
    for at in range(200):
        peer = Peer(tmp_path / f"{at}.sock")
        peer.fail_at = (at, code)
        try:
            with pyvfio.open(f"vfio-user:{peer.path}") as device:
                use(device, memory)
        except pyvfio.VfioError as error:
            failures += 1
            assert error.cause and error.remedy, str(error)
            assert len(str(error).splitlines()) <= 2
        reached = peer.fail_at is None
        assert peer.idle.wait(5)
        assert peer.violations == []
        peer.close()
        if not reached:
            break
    else:
        raise AssertionError("the session never came to its end")
    assert failures >= 15
    gc.collect()
    assert open_fds() == before
    memory.close()


@pytest.mark.parametrize("mode", ["group", "cdev"])
def test_no_eventfds_left(tmp_path: Path, mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = host(tmp_path, mode)
    real = __import__("os").eventfd
    made: list[int] = []

    def eventfd(*args: int) -> int:
        if len(made) == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(real(*args))
        return made[-1]

    with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:
        before = open_fds()
        monkeypatch.setattr("os.eventfd", eventfd)
        with pytest.raises(pyvfio.VfioError, match="ulimit -n"):
            device.enable_msix(4)
        assert open_fds() == before
        monkeypatch.undo()
        assert len(device.enable_msix(4)) == 4
    assert kernel.left_over() == []


@pytest.mark.parametrize("mode", ["group", "cdev"])
def test_vectors_of_a_failed_call_are_taken_back(tmp_path: Path, mode: Any) -> None:
    """The kernel may have assigned some before it failed: the device raises none of them."""
    kernel = host(tmp_path, mode)
    real = kernel.ioctl

    def assigns_and_fails(fd: int, request: int, arg: int | bytearray = 0) -> int:
        kernel.ioctl = real  # type: ignore[method-assign]
        kernel.ioctl(fd, request, arg)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:
        assert device.irq(2).count == 5
        before = open_fds()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(device, "irq", lambda index, known=device.irq(2): known)
            kernel.ioctl = assigns_and_fails  # type: ignore[method-assign]
            with pytest.raises(pyvfio.VfioError, match="allocate"):
                device.enable_msix(3)
        assert not any(kernel.devices[BDF].fire(2, vector) for vector in range(5))
        assert open_fds() == before
        assert len(device.enable_msix(3)) == 3
    assert kernel.left_over() == []


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EIO])
@pytest.mark.parametrize("mode", ["group", "cdev"])
def test_what_the_kernel_says_of_a_removed_device(tmp_path: Path, mode: Any, code: int) -> None:
    """docs/spec/vfio.md 9: both numbers mean that the device is gone, whichever call meets them."""
    kernel = host(tmp_path, mode)
    calls: dict[str, Callable[[pyvfio.Device], object]] = {
        "pread": lambda device: device.read(0, 0x8000, 4),
        "pwrite": lambda device: device.write(0, 0x8000, bytes(4)),
        "ioctl": lambda device: device.irq(2),
    }
    with pyvfio.open(BDF, kernel=kernel, mode=mode) as device:
        device.region(0)
        for name, call in calls.items():

            def gone(*_: object) -> int:
                raise OSError(code, "gone")

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(device, "region", lambda index, known=device.region(0): known)
                patch.setattr(kernel, name, gone)
                with pytest.raises(pyvfio.DeviceLost) as caught:
                    call(device)
            assert caught.value.errno == code and BDF in caught.value.remedy
    assert kernel.left_over() == []


@pytest.mark.parametrize("mode", ["group", "cdev"])
def test_device_that_goes_while_open(tmp_path: Path, mode: Any) -> None:
    """Every call fails from now on: close() still gives everything back."""
    kernel = host(tmp_path, mode)
    memory = DmaMemory.allocate(4096, huge="never")
    device = pyvfio.open(BDF, kernel=kernel, mode=mode)
    device.enable_msix(2)
    device.request_event()
    device.space.map(memory)

    def gone(fd: int, request: int, arg: int | bytearray = 0) -> int:
        raise OSError(errno.ENODEV, "No such device")

    kernel.ioctl = gone  # type: ignore[method-assign]
    with pytest.raises(pyvfio.DeviceLost):
        device.irq(2)
    device.close()
    assert kernel.files == {} and kernel.accounting.locked == 0
    assert device.space.mappings == ()
    memory.close()
