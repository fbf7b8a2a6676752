# SPDX-License-Identifier: BSD-3-Clause
"""What a client may ask of a VF, message by message (docs/spec/vfio-user.md 2, 3, 4, 5)."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

from iavfio.softvf._device import lib
from iavfio.softvf.function.device import Vf
from iavfio.softvf.function.regions import AccessRefused, Region
from iavfio.softvf.server import messages as wire
from iavfio.softvf.server.connection import Connection
from iavfio.softvf.server.irqs import set_irqs
from iavfio.softvf.server.messages import Command, Message, RequestRefused, Wait
from iavfio.softvf.server.windows import Windows

DOORBELL_PAGES = (0x0000, 0x2000)  # QTX_TAIL; QRX_TAIL and VFINT_ITRN
MAX_TOLD = 1000  # violations of one client: one that errs all the time must not fill the log
CHECKED = 256  # writes of a REGION_WRITE_MULTI that are looked at in one step
PAGE = int(lib.PAGE_BYTES)
Answer = tuple[bytes, tuple[int, ...]]  # payload, fds
Steps = Generator[Wait | None, None, Answer]  # an answer that is not made at once


class Session:
    """One client's conversation, from VERSION to the end of the connection."""

    def __init__(self, vf: Vf, connection: Callable[[Session], Connection]) -> None:
        self._vf = vf
        self._negotiated = False
        self._write_multi = False
        self._max_data = wire.MAX_DATA
        self._told = 0
        self._windows = Windows(vf.index, vf.plane, vf.burial)
        self.connection = connection(self)

    def on_message(self, message: Message) -> Iterator[Wait | None]:
        """Answers one message; yields where others may be served before the rest of it, and what
        to wait for if it is not for the others' turns alone.

        Only what is meant as a refusal becomes an answer; anything else costs the client its
        session (docs/spec/reliability.md D6).
        """
        silent = bool(message.flags & wire.NO_REPLY)
        try:
            try:
                payload, fds = yield from self._answer(message)
            finally:
                message.close_fds()  # before the client can hear of it
        except RequestRefused as refused:
            self._tell(f"{_name(message.command)}: {refused}")
            if refused.fatal:
                self.connection.send(wire.error_reply(message, refused.code), last=True)
            elif not silent:
                self.connection.send(wire.error_reply(message, refused.code))
            return
        except AccessRefused as refused:
            self._tell(f"{_name(message.command)}: {refused}")
            if not silent:
                self.connection.send(wire.error_reply(message, errno.EINVAL))
            return
        if not silent:
            self.connection.send(wire.reply(message, payload), fds)

    def _tell(self, text: str) -> None:
        if self._told < MAX_TOLD:
            self._told += 1
            self._vf.violation("docs/spec/vfio-user.md 3", text)

    def _answer(self, message: Message) -> Steps:
        if message.flags & wire.TYPE_MASK != wire.TYPE_COMMAND or message.flags & wire.ERROR:
            # Nothing was asked of the client, so it has nothing to answer.
            raise RequestRefused(f"flags {message.flags:#x} are no command's", fatal=True)
        if not self._negotiated:
            return self._version(message)
        handler = self.handlers().get(message.command)
        if handler is None:
            raise RequestRefused(f"unknown command {message.command}")
        if message.truncated:
            raise RequestRefused("more file descriptors than can be taken")
        if message.fds and message.command not in (Command.DMA_MAP, Command.DEVICE_SET_IRQS):
            self._tell(f"{_name(message.command)}: {len(message.fds)} unexpected fds are closed")
        answer = handler(message)
        return (yield from answer) if isinstance(answer, Generator) else answer

    def handlers(self) -> dict[int, Callable[[Message], Answer | Steps]]:
        """What answers each command after VERSION."""
        return {
            Command.DMA_MAP: partial(self._change_windows, self._dma_map),
            Command.DMA_UNMAP: partial(self._change_windows, self._dma_unmap),
            Command.DEVICE_GET_INFO: self._info,
            Command.DEVICE_GET_REGION_INFO: self._region_info,
            Command.DEVICE_GET_REGION_IO_FDS: self._io_fds,
            Command.DEVICE_GET_IRQ_INFO: self._irq_info,
            Command.DEVICE_SET_IRQS: self._set_irqs,
            Command.REGION_READ: self._read,
            Command.REGION_WRITE: self._write,
            Command.REGION_WRITE_MULTI: self._write_many,
            Command.DEVICE_RESET: self._reset,
            Command.DEVICE_FEATURE: self._feature,
        }

    # ---- VERSION

    def _version(self, message: Message) -> Answer:
        if message.command != Command.VERSION:
            raise RequestRefused("VERSION must come first", fatal=True)
        if message.fds or message.truncated:
            raise RequestRefused("VERSION takes no fds", fatal=True)
        if len(message.payload) > wire.MAX_VERSION_TEXT:
            raise RequestRefused("VERSION is too long", fatal=True)
        try:
            major, minor = wire.fixed(wire.VERSION, message.payload)
            proposed = _proposal(message.payload[wire.VERSION.size :])
        except RequestRefused as refused:
            raise RequestRefused(str(refused), fatal=True) from None
        if major != 0:
            raise RequestRefused(f"vfio-user {major}.{minor}, not 0", errno.EINVAL, fatal=True)
        self._negotiated = True
        self._write_multi = proposed.get("write_multiple") is True
        self._max_data = min(wire.MAX_DATA, proposed.get("max_data_xfer_size", wire.MAX_DATA))
        room = len(message.payload) - wire.VERSION.size
        return wire.VERSION.pack(0, 0) + self._capabilities(proposed, room), ()

    def _capabilities(self, proposed: dict[str, Any], room: int) -> bytes:
        """A subset of what the client proposed, no longer than that (docs/spec/vfio-user.md 2)."""
        ours: dict[str, Any] = {}
        if "max_msg_fds" in proposed:
            ours["max_msg_fds"] = max(1, min(wire.MAX_FDS, proposed["max_msg_fds"]))
        if "max_data_xfer_size" in proposed:
            ours["max_data_xfer_size"] = self._max_data
        if self._write_multi:
            ours["write_multiple"] = True
        while True:
            answer = {"capabilities": ours} if ours else {}
            text = json.dumps(answer, separators=(",", ":")).encode() + b"\0"
            if len(text) <= room:
                return text
            if not ours:
                return b""
            if ours.popitem()[0] == "write_multiple":
                self._write_multi = False

    # ---- DMA

    def _change_windows(self, change: Callable[[Message], Answer], message: Message) -> Steps:
        yield from self._windows.bury()  # of a client before this one, whose share it is, too
        try:
            return change(message)
        finally:
            yield from self._windows.bury()

    def _dma_map(self, message: Message) -> Answer:
        argsz, flags, offset, address, size = wire.fixed(wire.DMA_MAP, message.payload)
        if argsz < wire.DMA_MAP.size or flags & ~0xF:
            raise RequestRefused(f"DMA_MAP: argsz {argsz}, flags {flags:#x}")
        if len(message.fds) > 1:
            raise RequestRefused(f"DMA_MAP with {len(message.fds)} fds")
        if flags & wire.DMA_FLAGS_FILE_IO:
            raise RequestRefused("DMA_MAP: memory that must be read and written by file I/O")
        if flags & wire.DMA_FLAGS_MMAP and not message.fds:
            raise RequestRefused("DMA_MAP: MMAP without an fd")
        self._windows.map(
            message.fds[0] if message.fds else None,
            offset,
            address,
            size,
            bool(flags & wire.DMA_FLAGS_READ),
            bool(flags & wire.DMA_FLAGS_WRITE),
        )
        return b"", ()

    def _dma_unmap(self, message: Message) -> Answer:
        _, flags, address, size = wire.with_argsz(wire.DMA_UNMAP, message.payload)
        if flags & ~wire.UNMAP_ALL:
            raise RequestRefused(f"DMA_UNMAP: flags {flags:#x}", errno.ENOTSUP)
        if flags & wire.UNMAP_ALL:
            if address or size:
                raise RequestRefused("DMA_UNMAP of all takes address 0 and size 0")
            self._windows.clear()
        else:
            self._windows.unmap(address, size)
        return message.payload[: wire.DMA_UNMAP.size], ()

    # ---- what there is

    def _info(self, message: Message) -> Answer:
        wire.with_argsz(wire.DEVICE_INFO, message.payload)
        flags = wire.INFO_RESET | wire.INFO_PCI
        size = wire.DEVICE_INFO.size
        return wire.DEVICE_INFO.pack(size, flags, wire.NUM_REGIONS, wire.NUM_IRQS), ()

    def _region_info(self, message: Message) -> Answer:
        argsz, _, index, *_ = wire.with_argsz(wire.REGION_INFO, message.payload)
        if index >= wire.NUM_REGIONS:
            raise RequestRefused(f"there is no region {index}")
        size = self._vf.region_size(index)
        flags = wire.REGION_READ | wire.REGION_WRITE if size else 0
        if index != Region.BAR0 or self._vf.trapped:
            return wire.REGION_INFO.pack(wire.REGION_INFO.size, flags, index, 0, size, 0), ()
        flags |= wire.REGION_MMAP | wire.REGION_CAPS
        areas = b"".join(wire.AREA.pack(page, PAGE) for page in DOORBELL_PAGES)
        capability = wire.CAP_SPARSE.pack(1, 1, 0, len(DOORBELL_PAGES), 0) + areas
        needed = wire.REGION_INFO.size + len(capability)
        if (
            argsz < needed
        ):  # the client asks again with more room, and gets capabilities and fd then
            short = flags & ~wire.REGION_CAPS
            return wire.REGION_INFO.pack(needed, short, index, 0, size, 0), ()
        head = wire.REGION_INFO.pack(needed, flags, index, wire.REGION_INFO.size, size, 0)
        return head + capability, (self._vf.plane.bar_fd(self._vf.index),)

    def _io_fds(self, message: Message) -> Answer:
        _, flags, index, count = wire.with_argsz(wire.IO_FDS, message.payload)
        if flags or count or index >= wire.NUM_REGIONS:
            raise RequestRefused(f"flags {flags:#x}, index {index}, count {count}")
        return wire.IO_FDS.pack(wire.IO_FDS.size, 0, index, 0), ()

    def _irq_info(self, message: Message) -> Answer:
        _, _, index, _ = wire.with_argsz(wire.IRQ_INFO, message.payload)
        if index >= wire.NUM_IRQS:
            raise RequestRefused(f"there is no interrupt index {index}")
        count = self._vf.msix.count(index)
        return wire.IRQ_INFO.pack(wire.IRQ_INFO.size, wire.IRQ_EVENTFD, index, count), ()

    def _set_irqs(self, message: Message) -> Answer:
        set_irqs(self._vf.msix, message.payload, message.fds)
        return b"", ()

    # ---- access

    def _read(self, message: Message) -> Answer:
        offset, region, count = wire.fixed(wire.ACCESS, message.payload)
        if len(message.payload) != wire.ACCESS.size or not 0 < count <= self._max_data:
            raise RequestRefused(f"a read of {count} bytes")
        data = self._vf.read(region, offset, count)
        return wire.ACCESS.pack(offset, region, count) + data, ()

    def _write(self, message: Message) -> Answer:
        offset, region, count = wire.fixed(wire.ACCESS, message.payload)
        data = message.payload[wire.ACCESS.size :]
        if count != len(data) or not 0 < count <= self._max_data:
            raise RequestRefused(f"a write of {count} bytes that carries {len(data)}")
        self._vf.write(region, offset, data)
        return wire.ACCESS.pack(offset, region, count), ()

    def _write_many(self, message: Message) -> Steps:
        (count,) = wire.fixed(wire.MULTI_COUNT, message.payload)
        body = message.payload[wire.MULTI_COUNT.size :]
        if not self._write_multi:
            raise RequestRefused("write_multiple was not negotiated")
        if count * wire.MULTI_ENTRY.size != len(body):
            raise RequestRefused(f"{count} writes in {len(body)} bytes")
        writes = wire.MULTI_ENTRY.iter_unpack
        for at, (_, _, size, _) in enumerate(writes(body)):
            if not 0 < size <= 8:
                raise RequestRefused("a write of other than 1 to 8 bytes")
            if at % CHECKED == CHECKED - 1:
                yield None
        for offset, region, size, data in writes(body):
            self._vf.write(region, offset, data[:size])
            yield None
        return wire.MULTI_COUNT.pack(count), ()

    def _reset(self, message: Message) -> Answer:
        if message.payload:
            raise RequestRefused("DEVICE_RESET has no payload")
        self._vf.flr()
        return b"", ()

    def _feature(self, message: Message) -> Answer:
        raise RequestRefused("no device feature is offered", errno.ENOTTY)


def _name(command: int) -> str:
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def _proposal(text: bytes) -> dict[str, Any]:
    """The capabilities that a client proposes; raises RequestRefused when they are malformed."""
    if not text:
        return {}
    if text[-1] != 0:
        raise RequestRefused("version data does not end with NUL")
    try:
        data = json.loads(text[:-1])
    except (ValueError, RecursionError):
        raise RequestRefused("version data is no JSON") from None
    capabilities = data.get("capabilities", {}) if isinstance(data, dict) else None
    if not isinstance(capabilities, dict):
        raise RequestRefused("version data is no object of capabilities")
    for key, low, high in (("max_msg_fds", 0, 1024), ("max_data_xfer_size", 1, 1 << 62)):
        value = capabilities.get(key, low)
        if type(value) is not int or not low <= value <= high:
            raise RequestRefused(f"{key} {value!r} is out of range")
    return capabilities
