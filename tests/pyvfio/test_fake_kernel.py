# SPDX-License-Identifier: BSD-3-Clause
"""The fake kernel refuses what the real one refuses (docs/spec/vfio.md 2-6)."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iavfio.pyvfio import DmaMemory
from iavfio.pyvfio._vfio import ffi
from tests.pyvfio.fake_kernel import FakeKernel
from tests.pyvfio.rigs import BDF


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[FakeKernel]:
    kernel = FakeKernel(tmp_path)
    kernel.add(BDF)
    yield kernel
    for fd in list(kernel.files):
        kernel.close(fd)


@contextmanager
def fails(code: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == code, errno.errorcode[caught.value.errno or 0]


def pack(form: str, *values: int) -> bytearray:
    return bytearray(struct.pack("=" + form, *values))


def container(kernel: FakeKernel) -> tuple[int, int]:
    space = kernel.open("/dev/vfio/vfio", os.O_RDWR)
    group = kernel.open("/dev/vfio/17", os.O_RDWR)
    kernel.ioctl(group, 0x3B68, pack("i", space))
    kernel.ioctl(space, 0x3B66, 3)
    return space, group


def test_order_of_the_group_interface(kernel: FakeKernel) -> None:
    space = kernel.open("/dev/vfio/vfio", os.O_RDWR)
    with fails(errno.ENODEV):
        kernel.ioctl(space, 0x3B66, 3)
    with fails(errno.EINVAL):
        kernel.ioctl(space, 0x3B71, pack("IIQQQ", 32, 3, 0, 0, 4096))
    group = kernel.open("/dev/vfio/17", os.O_RDWR)
    with fails(errno.EBUSY):
        kernel.open("/dev/vfio/17", os.O_RDWR)
    with fails(errno.EINVAL):
        kernel.ioctl(group, 0x3B6A, bytearray(BDF.encode() + b"\0"))
    with fails(errno.EBADF):
        kernel.ioctl(group, 0x3B68, pack("i", 4000))
    with fails(errno.EBADFD):
        kernel.ioctl(group, 0x3B68, pack("i", group))
    kernel.ioctl(group, 0x3B68, pack("i", space))
    with fails(errno.EINVAL):
        kernel.ioctl(group, 0x3B68, pack("i", space))
    kernel.ioctl(space, 0x3B66, 3)
    with fails(errno.ENODEV):
        kernel.ioctl(group, 0x3B6A, bytearray(b"0000:3b:02.1\0"))
    device = kernel.ioctl(group, 0x3B6A, bytearray(BDF.encode() + b"\0"))
    with fails(errno.EBUSY):
        kernel.ioctl(group, 0x3B69)
    kernel.close(device)
    kernel.ioctl(group, 0x3B69)


def test_order_of_the_cdev_interface(kernel: FakeKernel) -> None:
    device = kernel.open("/dev/vfio/devices/vfio0", os.O_RDWR)
    iommu = kernel.open("/dev/iommu", os.O_RDWR)
    for request in (0x3B6B, 0x3B6C, 0x3B6D, 0x3B6E, 0x3B6F, 0x3B77):
        with fails(errno.EINVAL):
            kernel.ioctl(device, request, bytearray(64))
    with fails(errno.EINVAL):
        kernel.pread(device, 4, 7 << 40)
    with fails(errno.EINVAL):
        kernel.mmap(device, 4096, 0, True)
    with fails(errno.EINVAL):
        kernel.ioctl(device, 0x3B76, pack("IIiI", 16, 2, iommu, 0))
    kernel.ioctl(device, 0x3B76, pack("IIiI", 16, 0, iommu, 0))
    with fails(errno.EINVAL):
        kernel.ioctl(device, 0x3B76, pack("IIiI", 16, 0, iommu, 0))
    with fails(errno.EBUSY):
        kernel.open("/dev/vfio/17", os.O_RDWR)
    with fails(errno.E2BIG):
        kernel.ioctl(iommu, 0x3B81, pack("IIII", 16, 0, 0, 1))
    with fails(errno.EOPNOTSUPP):
        kernel.ioctl(iommu, 0x3B81, pack("III", 12, 1, 0))
    with fails(errno.ENOENT):
        kernel.ioctl(device, 0x3B77, pack("III", 12, 0, 99))
    made = pack("III", 12, 0, 0)
    kernel.ioctl(iommu, 0x3B81, made)
    number = struct.unpack_from("=I", made, 8)[0]
    query = pack("IIIIQQ", 32, number, 0, 0, 0, 0)
    with fails(errno.EMSGSIZE):
        kernel.ioctl(iommu, 0x3B84, query)
    assert struct.unpack_from("=I", query, 8)[0] == 1  # nothing is reserved before attach


def test_rules_of_mapping(kernel: FakeKernel) -> None:
    space, _ = container(kernel)
    memory = DmaMemory.allocate(8192, huge="never")
    readonly = mmap.mmap(-1, 4096, prot=mmap.PROT_READ)

    def map_dma(vaddr: int, iova: int, size: int, flags: int = 3) -> None:
        kernel.ioctl(space, 0x3B71, pack("IIQQQ", 32, flags, vaddr, iova, size))

    def unmap(iova: int, size: int, flags: int = 0) -> int:
        request = pack("IIQQ", 24, flags, iova, size)
        kernel.ioctl(space, 0x3B72, request)
        return int(struct.unpack_from("=Q", request, 16)[0])

    at = memory.address
    for vaddr, iova, size, flags in (
        (at + 8, 0x1000, 4096, 3),
        (at, 0x1008, 4096, 3),
        (at, 0x1000, 100, 3),
        (at, 0x1000, 0, 3),
        (at, 0x1000, 4096, 0),
        (at, 0x1000, 4096, 11),
        (at, 0xFEDFF000, 8192, 3),
        (at, 2**39 - 4096, 8192, 3),
    ):
        with fails(errno.EINVAL):
            map_dma(vaddr, iova, size, flags)
    with fails(errno.EFAULT):
        map_dma(0x1000, 0x1000, 4096)
    view = ffi.from_buffer(readonly)
    with fails(errno.EFAULT):
        map_dma(int(ffi.cast("uintptr_t", view)), 0x1000, 4096)
    map_dma(int(ffi.cast("uintptr_t", view)), 0x1000, 4096, 1)
    assert unmap(0x1000, 4096) == 4096
    ffi.release(view)
    map_dma(at, 0x1000, 8192)
    with fails(errno.EEXIST):
        map_dma(at, 0x1000, 8192)
    with fails(errno.EINVAL):
        unmap(0x2000, 4096)
    assert unmap(0x10000, 4096) == 0
    assert unmap(0, 0x10000) == 8192
    map_dma(at, 0x1000, 4096)
    assert unmap(0, 0, 2) == 4096
    kernel.accounting.limit = 4096
    with fails(errno.ENOMEM):
        map_dma(at, 0x1000, 8192)
    kernel.accounting.privileged = True
    map_dma(at, 0x1000, 8192)
    assert kernel.accounting.locked == 8192
    kernel.close(space)
    assert kernel.accounting.locked == 0
    assert any("1 mappings" in text for text in kernel.left_over())
    readonly.close()
    memory.close()


def test_capability_chain_needs_room(kernel: FakeKernel) -> None:
    space, _ = container(kernel)
    small = pack("IIQII", 24, 0, 0, 0, 0)
    kernel.ioctl(space, 0x3B70, small)
    needed, flags, pages, offset, _ = struct.unpack("=IIQII", small)
    assert needed > 24 and flags == 3 and not offset and pages & 4096
    large = bytearray(needed)
    struct.pack_into("=I", large, 0, needed)
    kernel.ioctl(space, 0x3B70, large)
    assert struct.unpack_from("=I", large, 16)[0] == 24
    with pytest.raises(AssertionError):
        kernel.ioctl(space, 0x3B70, pack("IIQ", 64, 0, 0))


def test_interrupt_rules(kernel: FakeKernel) -> None:
    _, group = container(kernel)
    device = kernel.ioctl(group, 0x3B6A, bytearray(BDF.encode() + b"\0"))
    event = os.eventfd(0)

    def set_irqs(flags: int, index: int, start: int, count: int, *fds: int) -> int:
        size = 20 + 4 * len(fds)
        request = pack(f"IIIII{len(fds)}i", size, flags, index, start, count, *fds)
        return kernel.ioctl(device, 0x3B6E, request)

    for arguments in (
        (0x24, 2, 0, 6, event, event, event, event, event, event),  # beyond the table
        (0x24, 2, 5, 1, event),
        (0x24, 2, 0, 2, event),  # argsz short
        (0x24, 2, 0, 1, device),  # no eventfd
        (0x25, 2, 0, 1, event),  # two kinds of data
        (0x34, 2, 0, 1, event),  # two actions
        (0x24, 0, 0, 1, event),  # no INTx
        (0x24, 5, 0, 1, event),
        (0x21, 2, 0, 0),  # nothing to disable
    ):
        with fails(errno.EINVAL):
            set_irqs(*arguments)
    assert set_irqs(0x24, 2, 0, 2, event, -1) == 0
    with fails(errno.EINVAL):  # NORESIZE
        set_irqs(0x24, 2, 2, 1, event)
    with fails(errno.ENOTTY):
        set_irqs(0x9, 2, 0, 1)
    assert set_irqs(0x21, 2, 0, 1) == 0  # loopback
    assert os.eventfd_read(event) == 1
    os.close(event)  # the kernel has its own hold
    assert kernel.devices[BDF].fire(2, 0)
    kernel.close(device)
    assert any("interrupt index 2" in text for text in kernel.left_over())


def test_device_still_mapped_is_noticed(kernel: FakeKernel) -> None:
    _, group = container(kernel)
    device = kernel.ioctl(group, 0x3B6A, bytearray(BDF.encode() + b"\0"))
    bar = kernel.mmap(device, 4096, 0, True)
    for offset, length in ((0x800, 4096), (0, 0x21000), (1 << 40, 4096), (7 << 40, 4096)):
        with fails(errno.EINVAL):
            kernel.mmap(device, length, offset, True)
    kernel.close(device)
    assert any("BAR is mapped" in text for text in kernel.left_over())
    bar.close()
