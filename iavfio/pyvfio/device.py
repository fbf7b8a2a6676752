# SPDX-License-Identifier: BSD-3-Clause
"""The transport contract: what any PCI device over VFIO can do (docs/design.md 2)."""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from iavfio.pyvfio import forks
from iavfio.pyvfio.arguments import descriptors, raw, whole
from iavfio.pyvfio.bar import Bar
from iavfio.pyvfio.budget import one_call
from iavfio.pyvfio.errors import Closed, DeviceLost, Unsupported, VfioError, system_error
from iavfio.pyvfio.log import log
from iavfio.pyvfio.space import AddressSpace

CONFIG_REGION = 7
IRQ_MSIX, IRQ_ERR, IRQ_REQ = 2, 3, 4
CAP_MSIX = 0x11
FAR = 1 << 31  # beyond any number of vectors
MOST = (1 << 63) - 1  # bytes: beyond any region
INDICES = (1 << 32) - 1  # what the interfaces can name


@dataclass(frozen=True)
class DeviceInfo:
    """VFIO_DEVICE_GET_INFO."""

    resettable: bool
    num_regions: int
    num_irqs: int


@dataclass(frozen=True)
class Area:
    """A part of a region that may be mapped, in bytes from the region's start."""

    offset: int
    size: int


@dataclass(frozen=True)
class RegionInfo:
    """VFIO_DEVICE_GET_REGION_INFO; `areas` are the parts that may be mapped."""

    index: int
    size: int
    offset: int
    readable: bool
    writable: bool
    mappable: bool
    areas: tuple[Area, ...]


@dataclass(frozen=True)
class IrqInfo:
    """VFIO_DEVICE_GET_IRQ_INFO."""

    index: int
    count: int
    eventfd: bool
    maskable: bool
    automasked: bool
    noresize: bool


class ConfigSpace:
    """PCI configuration space of a device, little endian."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def read8(self, offset: int) -> int:
        """One byte."""
        return self._device.read(CONFIG_REGION, offset, 1)[0]

    def read16(self, offset: int) -> int:
        """Two bytes."""
        return int.from_bytes(self._device.read(CONFIG_REGION, offset, 2), "little")

    def read32(self, offset: int) -> int:
        """Four bytes."""
        return int.from_bytes(self._device.read(CONFIG_REGION, offset, 4), "little")

    def write16(self, offset: int, value: int) -> None:
        """Two bytes."""
        self._device.write(CONFIG_REGION, offset, struct.pack("<H", value))

    def write32(self, offset: int, value: int) -> None:
        """Four bytes."""
        self._device.write(CONFIG_REGION, offset, struct.pack("<I", value))

    @property
    def vendor(self) -> int:
        """Vendor id; the kernel supplies it for VFs (docs/spec/vfio.md 5)."""
        return self.read16(0)

    @property
    def device(self) -> int:
        """Device id."""
        return self.read16(2)

    @property
    def revision(self) -> int:
        """Revision id."""
        return self.read8(8)

    @property
    def class_code(self) -> int:
        """Class, subclass and interface, 24 bits."""
        return self.read32(8) >> 8

    @property
    def bus_master(self) -> bool:
        """Command bit 2: without it no DMA happens. Cleared by the kernel at open."""
        return bool(self.read16(4) & 4)

    @bus_master.setter
    @one_call
    def bus_master(self, on: bool) -> None:
        command = self.read16(4)
        self.write16(4, command | 4 if on else command & ~4)

    @one_call
    def capability(self, wanted: int) -> int | None:
        """Offset of a capability, None without it. A list that loops ends after 48 entries."""
        if not self.read16(6) & 0x10:
            return None
        at = self.read8(0x34) & 0xFC
        for _ in range(48):
            if at < 0x40:
                return None
            found, following = self._device.read(CONFIG_REGION, at, 2)
            if found == wanted:
                return at
            at = following & 0xFC
        return None

    @property
    @one_call
    def msix_count(self) -> int:
        """Size of the MSI-X table, 0 without one."""
        at = self.capability(CAP_MSIX)
        return 0 if at is None else (self.read16(at + 2) & 0x7FF) + 1


class Device(ABC):
    """A PCI device. A context manager; close() gives back everything and may be called twice.

    Attributes: `name` (PCI address or socket path), `transport` ("cdev", "group", "noiommu" or
    "vfio-user"), `space`, `fd` (for poll: hang-up means the device is gone), `numa_node`.
    """

    name: str
    transport: str
    space: AddressSpace
    fd: int
    numa_node: int | None = None

    def __init__(self) -> None:
        self.config = ConfigSpace(self)
        self._bars: dict[int, Bar] = {}
        self._vectors: list[int] = []
        self._events: dict[int, int] = {}
        self._closed = ""
        self._given_back = False
        forks.track(self)

    @abstractmethod
    def info(self) -> DeviceInfo:
        """Flags and counts."""

    @one_call
    def region(self, index: int) -> RegionInfo:
        """One region: 0..5 BARs, 6 ROM, 7 config space. An absent one has size 0."""
        return self._region_info(whole("index", index, 0, INDICES))

    @one_call
    def irq(self, index: int) -> IrqInfo:
        """One interrupt index: 2 MSI-X, 3 ERR, 4 REQ."""
        return self._irq_info(whole("index", index, 0, INDICES))

    @one_call
    def read(self, region: int, offset: int, count: int) -> bytes:
        """Reads from a region; but for config space, each aligned 4 bytes are one access."""
        region = whole("region", region, 0, INDICES)
        offset, count = whole("offset", offset, -FAR, MOST), whole("count", count, -FAR, MOST)
        return self._read(region, offset, count)

    @one_call
    def write(self, region: int, offset: int, data: bytes) -> None:
        """Writes to a region."""
        region = whole("region", region, 0, INDICES)
        self._write(region, whole("offset", offset, -FAR, MOST), raw("data", data))

    @one_call
    def set_irqs(self, index: int, start: int, fds: Sequence[int | None]) -> None:
        """Assigns eventfds to vectors start.. of an index; None leaves a vector without one."""
        index, start = whole("index", index, 0, INDICES), whole("start", start, 0, FAR)
        self._set_irqs(index, start, descriptors("fds", fds))

    @one_call
    def disable_irqs(self, index: int) -> None:
        """Disables a whole interrupt index."""
        self._disable_irqs(whole("index", index, 0, INDICES))

    @abstractmethod
    def _region_info(self, index: int) -> RegionInfo: ...

    @abstractmethod
    def _irq_info(self, index: int) -> IrqInfo: ...

    @abstractmethod
    def _read(self, region: int, offset: int, count: int) -> bytes: ...

    @abstractmethod
    def _write(self, region: int, offset: int, data: bytes) -> None: ...

    @abstractmethod
    def _set_irqs(self, index: int, start: int, fds: Sequence[int | None]) -> None: ...

    @abstractmethod
    def _disable_irqs(self, index: int) -> None: ...

    @one_call
    def reset(self) -> None:
        """Function level reset. Raises Unsupported, Busy or DeviceLost."""
        log.info("%s: function-level reset", self.name)
        self._reset()

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def limit(self, seconds: float, slow: float | None = None) -> None:
        """No access waits longer than so many seconds from now; math.inf lifts the limit.

        It matters where another process plays the device: one that is silent until then is lost.
        From 1 s on one that is slow, and answers each access within a third of that, is lost only
        after `slow` seconds, None: twice as many.
        """

    @abstractmethod
    def _open_bar(self, info: RegionInfo) -> Bar: ...

    @abstractmethod
    def _release(self) -> None: ...

    @one_call
    def map_bar(self, index: int) -> Bar:
        """A BAR, mapped where it may be; the same object for the same index."""
        self._check()
        index = whole("index", index, 0, 5)
        if index not in self._bars:
            info = self.region(index)
            if info.size < 4:
                raise Unsupported(f"{self.name} has no BAR{index}", "its size is 0")
            self._bars[index] = self._open_bar(info)
        return self._bars[index]

    @one_call
    def enable_msix(self, count: int) -> list[int]:
        """New eventfds for vectors 0..count-1; they belong to the device and close with it."""
        self._check()
        count = whole("count", count, -FAR, FAR)
        available = self.irq(IRQ_MSIX).count
        if not 0 < count <= available:
            raise Unsupported(
                f"{self.name} cannot give {count} MSI-X vectors",
                f"it has {available}",
                "share vectors between queues, or poll",
            )
        self.disable_msix()
        fds: list[int] = []
        try:
            for _ in range(count):
                fds.append(self._eventfd())
            self.set_irqs(IRQ_MSIX, 0, fds)
        except BaseException:
            try:
                self.disable_irqs(IRQ_MSIX)  # some may have been assigned
            except VfioError:
                pass
            _close_all(fds)
            raise
        self._vectors = fds
        log.debug("%s: %d MSI-X vectors", self.name, count)
        return list(fds)

    @one_call
    def disable_msix(self) -> None:
        """Takes the vectors back and closes their eventfds."""
        if self._vectors:
            self.disable_irqs(IRQ_MSIX)
            _close_all(self._vectors)

    def request_event(self) -> int | None:
        """Eventfd of REQ: the host wants the device back. None when the device has none."""
        return self._event(IRQ_REQ)

    def error_event(self) -> int | None:
        """Eventfd of ERR: an error that the device cannot recover from. None without one."""
        return self._event(IRQ_ERR)

    @one_call
    def _event(self, index: int) -> int | None:
        self._check()
        if index not in self._events:
            if self.irq(index).count < 1:
                return None
            fd = self._eventfd()
            try:
                self.set_irqs(index, 0, [fd])
            except BaseException:
                os.close(fd)
                raise
            self._events[index] = fd
        return self._events[index]

    def _eventfd(self) -> int:
        try:
            return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as error:
            what = f"{self.name}: no eventfd for an interrupt"
            raise system_error(what, error, "free memory") from error

    @one_call
    def close(self) -> None:
        """Switches interrupts off, unmaps BARs, gives device and address space back.

        The order is that of docs/spec/vfio.md 2. Twice is harmless; a call that a signal ended is
        made again for what it has left.
        """
        if self._given_back:
            return
        if not self._closed and not self.lost:
            for index in ([IRQ_MSIX] if self._vectors else []) + list(self._events):
                try:
                    self.disable_irqs(index)
                except VfioError:
                    pass  # what is gone needs no disabling; closing disables the rest
        self._closed = "it was closed"
        _close_all(self._vectors)
        for index in list(self._events):
            fd = self._events[index]
            del self._events[index]
            os.close(fd)
        for bar in self._bars.values():
            bar.close()
        self._bars = {}
        self._release()
        self._given_back = True
        log.info("%s: closed", self.name)

    @property
    def lost(self) -> bool:
        """Whether the device is known to be gone."""
        return any(bar.lost for bar in self._bars.values())

    @property
    def loss(self) -> str:
        """Why the device is lost, where more is known than that it is gone; else empty."""
        return ""

    def gone(self) -> DeviceLost:
        """The error for a device that is lost, with the reason as far as one is known."""
        if self.loss:
            remedy = "see whether its server runs and speaks vfio-user; then open it again"
            return DeviceLost(f"{self.name} was given up", self.loss, remedy)
        return DeviceLost(
            f"{self.name} is gone",
            "its registers read all ones: it was unplugged, the host took it back, or the software "
            "VF ended",
            "open it again when it is back",
        )

    def _check(self) -> None:
        if self._closed:
            raise Closed(f"{self.name} cannot be used", self._closed, "open the device again")

    def after_fork_in_child(self) -> None:
        """A child must not touch its parent's device (docs/spec/reliability.md F64)."""
        self._closed = self._closed or "it belongs to the process that forked this one"
        self._given_back = True

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def accesses(
    region: int, offset: int, count: int, limit: int = 1 << 20
) -> Iterator[tuple[int, int]]:
    """Yields (offset, bytes) of each access.

    Registers want theirs whole and aligned (docs/spec/vfio.md 5).
    """
    end = offset + count
    while offset < end:
        if region == CONFIG_REGION:
            size = min(limit, end - offset)
        else:
            size = next(n for n in (4, 2, 1) if offset % n == 0 and offset + n <= end)
        yield offset, size
        offset += size


def _close_all(fds: list[int]) -> None:
    """Closes and empties. No signal is answered between `del` and close(): each goes once."""
    while fds:
        fd = fds[-1]
        del fds[-1]
        os.close(fd)
