# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user: a device behind a UNIX socket (docs/spec/vfio-user.md)."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Sequence

from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.bar import Bar
from iavfio.pyvfio.budget import one_call
from iavfio.pyvfio.connection import TIMEOUT_MS, Command, Connection
from iavfio.pyvfio.device import Device, DeviceInfo, IrqInfo, RegionInfo, accesses
from iavfio.pyvfio.errors import (
    DeviceLost,
    DmaError,
    ProtocolError,
    Unsupported,
    VfioError,
    system_error,
)
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.regions import (
    INFO,
    IRQ,
    IRQ_SET,
    REGION,
    SET_ACTION_TRIGGER,
    SET_DATA_EVENTFD,
    SET_DATA_NONE,
    decode_info,
    decode_irq,
    decode_region,
)
from iavfio.pyvfio.space import AddressSpace, IovaRange

MISPLACED = frozenset({errno.EINVAL, errno.EEXIST, errno.ERANGE})  # a window's own faults
DMA_MAP = struct.Struct("<IIQQQ")  # argsz, flags, offset, address, size
DMA_UNMAP = struct.Struct("<IIQQ")  # argsz, flags, address, size
OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # not the server's fault
BEYOND = (1 << 64) - 1  # the end of any file
ACCESS = struct.Struct("<QII")  # offset, region, count


class UserSpace(AddressSpace):
    """The DMA windows of one vfio-user connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @property
    def ranges(self) -> tuple[IovaRange, ...]:
        return (IovaRange(0x1000, (1 << 48) - 1),)

    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None:
        if memory.fd < 0:
            raise DmaError(
                f"memory of {memory.size} bytes cannot be shown to a vfio-user server",
                "it was closed, or made for a device without an IOMMU",
                "use DmaMemory.allocate(), an ordinary pool",
                errno.EINVAL,
            )
        flags = readable | writable << 1
        message = DMA_MAP.pack(DMA_MAP.size, flags, 0, iova, memory.size)
        try:
            self._connection.request(Command.DMA_MAP, message, 0, [memory.fd])
        except OSError as error:
            misplaced = error.errno in MISPLACED
            raise DmaError(
                f"DMA window [{iova:#x}, +{memory.size:#x}) was refused",
                f"it overlaps another, or is misaligned ({error.strerror})"
                if misplaced
                else f"its server could not map it ({error.strerror})",
                "let map() choose the IOVA"
                if misplaced
                else "map fewer bytes, or free memory where the server runs",
                error.errno or 0,
            ) from error

    def _unmap(self, iova: int, size: int) -> None:
        message = DMA_UNMAP.pack(DMA_UNMAP.size, 0, iova, size)
        try:
            self._connection.request(Command.DMA_UNMAP, message, DMA_UNMAP.size)
        except OSError as error:
            raise DmaError(
                f"DMA window [{iova:#x}, +{size:#x}) cannot be withdrawn",
                str(error.strerror),
                "unmap whole windows, as they were mapped",
                error.errno or 0,
            ) from error
        except DeviceLost:
            pass  # the server dropped all windows when it went

    def shut(self) -> None:
        """The connection is about to close, and all windows with it."""
        self._shut()


class UserDevice(Device):
    """A PCI device behind a vfio-user socket."""

    transport = "vfio-user"

    @one_call
    def __init__(self, path: str) -> None:
        self.name = path
        self._connection = Connection(path)
        self.fd = self._connection.fd
        self.space = self._windows = UserSpace(self._connection)
        self._sizes: dict[int, int] = {}  # of regions: they never change
        super().__init__()
        try:
            reply, _ = self._ask(Command.DEVICE_GET_INFO, INFO.pack(INFO.size, 0, 0, 0), INFO.size)
            if len(reply) < INFO.size:
                raise ProtocolError(f"{path}: device info is cut short")
            if not INFO.unpack_from(reply)[1] & 2:
                raise Unsupported(f"{path} is no PCI device")
            self._info = decode_info(reply)
        except BaseException:
            self._connection.close()
            raise

    def _ask(
        self,
        command: Command,
        payload: bytes = b"",
        capacity: int = 0,
        fds: Sequence[int] = (),
        want_fds: bool = False,
    ) -> tuple[bytes, list[int]]:
        self._check()
        try:
            return self._connection.request(command, payload, capacity, fds, want_fds)
        except OSError as error:
            raise VfioError(
                f"{self.name} refused {command.name}",
                str(error.strerror),
                "see what its server says",
                error.errno or 0,
            ) from error

    def info(self) -> DeviceInfo:
        self._check()
        return self._info

    def limit(self, seconds: float, slow: float | None = None) -> None:
        self._connection.limit(seconds, 2 * seconds if slow is None else slow)

    @property
    def lost(self) -> bool:
        return self._connection.broken or super().lost

    @property
    def loss(self) -> str:
        return self._connection.loss

    def _region_info(self, index: int) -> RegionInfo:
        info, fd = self._region(index)
        if fd is not None:
            os.close(fd)
        return info

    def _region(self, index: int) -> tuple[RegionInfo, int | None]:
        capacity = 4096
        request = REGION.pack(capacity, 0, index, 0, 0, 0)
        reply, fds = self._ask(Command.DEVICE_GET_REGION_INFO, request, capacity, want_fds=True)
        try:
            if len(reply) < REGION.size:
                raise ProtocolError(f"{self.name}: region {index} info is cut short")
            info = decode_region(reply)
            if info.mappable and len(fds) != 1:
                raise ProtocolError(f"{self.name}: mappable region {index} came without its fd")
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        for fd in fds[1:]:
            os.close(fd)
        return info, fds[0] if fds else None

    def _irq_info(self, index: int) -> IrqInfo:
        request = IRQ.pack(IRQ.size, 0, index, 0)
        reply, _ = self._ask(Command.DEVICE_GET_IRQ_INFO, request, IRQ.size)
        if len(reply) < IRQ.size:
            raise ProtocolError(f"{self.name}: interrupt {index} info is cut short")
        return decode_irq(reply)

    def _read(self, region: int, offset: int, count: int) -> bytes:
        self._inside(region, offset, count)
        data = b""
        for at, size in accesses(region, offset, count, self._connection.max_data):
            request = ACCESS.pack(at, region, size)
            reply, _ = self._ask(Command.REGION_READ, request, ACCESS.size + size)
            if len(reply) != ACCESS.size + size:
                raise ProtocolError(f"{self.name}: a read of {size} bytes was answered short")
            data += reply[ACCESS.size :]
        return data

    def _write(self, region: int, offset: int, data: bytes) -> None:
        self._inside(region, offset, len(data))
        for at, size in accesses(region, offset, len(data), self._connection.max_data):
            part = data[at - offset : at - offset + size]
            self._ask(Command.REGION_WRITE, ACCESS.pack(at, region, size) + part, ACCESS.size)

    def _inside(self, region: int, offset: int, count: int) -> None:
        self._check()
        size = self._sizes.get(region)
        if size is None:
            size = self._sizes[region] = self.region(region).size
        if offset < 0 or count < 1 or offset + count > size:
            raise VfioError(
                f"{self.name}: [{offset:#x}, +{count}) is outside region {region}",
                f"it has {size} bytes",
                "stay inside",
                errno.EINVAL,
            )

    def _set_irqs(self, index: int, start: int, fds: Sequence[int | None]) -> None:
        # The protocol knows no hole, so each run of fds, or of none, is a message of its own
        # (docs/spec/vfio-user.md 4).
        at = 0
        while at < len(fds):
            end = at + 1
            while (
                end < len(fds)
                and (fds[end] is None) == (fds[at] is None)
                and end - at < self._connection.max_fds
            ):
                end += 1
            run = [fd for fd in fds[at:end] if fd is not None]
            flags = SET_DATA_EVENTFD | SET_ACTION_TRIGGER
            request = IRQ_SET.pack(IRQ_SET.size, flags, index, start + at, end - at)
            self._ask(Command.DEVICE_SET_IRQS, request, 0, run)
            at = end

    def _disable_irqs(self, index: int) -> None:
        if self.irq(index).count == 0:
            # Servers refuse "disable all" for an index without vectors (docs/spec/vfio-user.md 4).
            return
        flags = SET_DATA_NONE | SET_ACTION_TRIGGER
        self._ask(Command.DEVICE_SET_IRQS, IRQ_SET.pack(IRQ_SET.size, flags, index, 0, 0))

    def _reset(self) -> None:
        if not self._info.resettable:
            raise Unsupported(f"{self.name} cannot be reset", "its server offers no reset")
        self._ask(Command.DEVICE_RESET)

    def _open_bar(self, info: RegionInfo) -> Bar:
        current, fd = self._region(info.index)
        try:
            io = lib.bar_io_new_user(self._connection.raw, current.index, current.size, TIMEOUT_MS)
            bar = Bar(f"{self.name} BAR{current.index}", io, current.size)
            try:
                self._map_areas(bar, current, fd)
            except BaseException:
                bar.close()
                raise
        finally:
            if fd is not None:
                os.close(fd)
        return bar

    def _map_areas(self, bar: Bar, info: RegionInfo, fd: int | None) -> None:
        if fd is None or not info.areas:
            return
        end = info.offset + max(area.offset + area.size for area in info.areas)
        why = lib.bar_file_unfit(fd, min(end, BEYOND))
        if why != ffi.NULL:
            bar.by_message(ffi.string(why).decode())
            return
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if info.writable else 0)
        for area in info.areas:
            try:
                at = info.offset + area.offset
                memory = mmap.mmap(fd, area.size, mmap.MAP_SHARED, prot, offset=at)
            except (OSError, ValueError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno in OUR_LIMITS:
                    what = f"{self.name}: BAR{info.index} cannot be mapped"
                    raise system_error(what, error, "free memory") from error
                raise ProtocolError(
                    f"{self.name}: BAR{info.index} cannot be mapped at {area.offset:#x}",
                    f"its server's file does not hold what it promised ({error})",
                    "restart the server",
                ) from error
            bar.add_area(area.offset, memory)

    def _release(self) -> None:
        self._windows.shut()
        self._connection.close()
        self.fd = -1
