# SPDX-License-Identifier: BSD-3-Clause
"""A small vfio-user server in a thread, for tests of the client (docs/spec/vfio-user.md)."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import json
import mmap
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from tests.pyvfio.fake_device import initial_config

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO = 1, 2, 3, 4, 5
IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, RESET = 7, 8, 9, 10, 11, 13
HEADER = struct.Struct("=HHIII")
BAR0_FD_OFFSET = 0x10000  # BAR0 does not begin where its file begins
AREAS = ((0, 0x1000), (0x2000, 0x1000))
Reply = tuple[bytes, list[int]]
NO_CAPABILITIES = b"{}\0"
CAPABILITIES = b'{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576}}\0'


class Refusal(Exception):
    """An error reply with this errno."""

    def __init__(self, code: int) -> None:
        self.code = code


class Peer:
    """One device behind a socket: BAR0 with two mapped pages, BAR3 without, config space.

    `override[command]` takes (payload, fds) and returns the reply, raises Refusal, or None for no
    answer at all. `raw[command]` gets the message id and returns the bytes to send instead.
    `seals` are those of the file behind BAR0.
    """

    def __init__(self, path: Path, seals: int = fcntl.F_SEAL_SHRINK) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.memory = os.memfd_create("peer-bar0", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(self.memory, BAR0_FD_OFFSET + 0x20000)
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, seals)
        self.bar0 = mmap.mmap(self.memory, BAR0_FD_OFFSET + 0x20000)
        self.trapped: dict[tuple[int, int], int] = {}
        self.config = initial_config(0x8086, 0x154C, 5)
        self.windows: dict[
            int, tuple[int, int, int, bytes]
        ] = {}  # size, flags, fd offset, first bytes
        self.events: dict[int, dict[int, int]] = {}
        self.resets = 0
        self.log: list[tuple[int, int, int]] = []  # command, flags, fds
        self.capabilities = CAPABILITIES
        self.override: dict[int, Callable[[bytes, list[int]], Reply | None]] = {}
        self.raw: dict[int, Callable[[int], bytes]] = {}
        self.fail_at: tuple[int, int] | None = None  # message from now, errno; 0 = hang up
        self.chatter = False  # ask for DMA in the middle of each command
        self.answers: list[tuple[int, int]] = []  # flags and errno of replies to our requests
        self.violations: list[str] = []
        self.connection: socket.socket | None = None
        self.idle = threading.Event()  # no client is there
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def hang_up(self) -> None:
        """The server dies."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hang_up()
        self.thread.join(5)
        self.bar0.close()
        os.close(self.memory)

    def fire(self, index: int, vector: int) -> bool:
        fd = self.events.get(index, {}).get(vector)
        if fd is None:
            return False
        os.eventfd_write(fd, 1)
        return True

    def register(self, offset: int) -> int:
        """A word of BAR0's mapped part."""
        return int(struct.unpack_from("=I", self.bar0, BAR0_FD_OFFSET + offset)[0])

    # ---- the connection

    def _accept(self) -> None:
        while True:
            try:
                self.connection, _ = self.listener.accept()
            except OSError:
                return
            self.idle.clear()
            with self.connection as connection, contextlib.suppress(OSError, EOFError):
                self._serve(connection)
            for vectors in self.events.values():
                for fd in vectors.values():
                    os.close(fd)
            self.events, self.windows = {}, {}
            self.idle.set()

    def _serve(self, connection: socket.socket) -> None:
        first = True
        while True:
            ident, command, _, flags, error, payload, fds = self._receive(connection)
            if flags & 15 == 1:
                self.answers.append((flags, error))
                continue
            if first and command != VERSION:
                self.violations.append(f"command {command} came before VERSION")
            first = False
            if flags & ~0x10 or error:
                self.violations.append(f"command {command} with flags {flags:#x} errno {error}")
            self.log.append((command, flags, len(fds)))
            if self.chatter and command != VERSION:
                body = struct.pack("=QQ", 0x1000, 64)
                connection.sendall(HEADER.pack(7777, DMA_READ, 32, 0, 0) + body)
            if command in self.raw:
                connection.sendall(self.raw[command](ident))
                continue
            try:
                self._maybe_fail()
                answer = self._dispatch(command, payload, fds)
            except (Refusal, EOFError) as refusal:
                for fd in fds:
                    os.close(fd)
                if isinstance(refusal, EOFError):
                    raise
                if not flags & 0x10:
                    connection.sendall(HEADER.pack(ident, command, 16, 0x21, refusal.code))
                continue
            if answer is None or flags & 0x10:
                continue
            data, send = answer
            message = HEADER.pack(ident, command, 16 + len(data), 1, 0) + data
            if send:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", send))]
                sent = connection.sendmsg([message], ancillary)
                message = message[sent:]
            connection.sendall(message)

    def _maybe_fail(self) -> None:
        if self.fail_at is not None:
            left, code = self.fail_at
            self.fail_at = (left - 1, code) if left else None
            if not left and not code:
                raise EOFError
            if not left:
                raise Refusal(code)

    def _receive(
        self, connection: socket.socket
    ) -> tuple[int, int, int, int, int, bytes, list[int]]:
        data, fds = b"", []
        wanted = 16
        while len(data) < wanted:
            part, ancillary, _, _ = connection.recvmsg(wanted - len(data), socket.CMSG_SPACE(64))
            if not part:
                raise EOFError
            data += part
            for _, _, raw in ancillary:
                fds += array.array("i", raw).tolist()
            if len(data) == 16:
                wanted = HEADER.unpack(data)[2]
        ident, command, size, flags, error = HEADER.unpack_from(data)
        return ident, command, size, flags, error, data[16:], fds

    def _dispatch(self, command: int, payload: bytes, fds: list[int]) -> Reply | None:
        if command in self.override:
            return self.override[command](payload, fds)
        handlers: dict[int, Callable[[bytes, list[int]], Reply]] = {
            VERSION: self._version,
            DMA_MAP: self._map,
            DMA_UNMAP: self._unmap,
            GET_INFO: lambda p, _: (struct.pack("=IIII", 16, 3, 9, 5), []),
            REGION_INFO: self._region,
            IRQ_INFO: self._irq,
            SET_IRQS: self._set_irqs,
            REGION_READ: self._read,
            REGION_WRITE: self._write,
            RESET: self._reset,
        }
        if command not in handlers:
            raise Refusal(errno.EINVAL)
        return handlers[command](payload, fds)

    def _version(self, payload: bytes, fds: list[int]) -> Reply:
        major, minor = struct.unpack_from("=HH", payload)
        text = payload[4:]
        if fds or major != 0 or (text and text[-1] != 0):
            self.violations.append(f"VERSION {payload!r}")
            raise Refusal(errno.EINVAL)
        if text:
            json.loads(text[:-1])
        return struct.pack("=HH", 0, min(minor, 2)) + self.capabilities, []

    def _map(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, flags, offset, address, size = struct.unpack("=IIQQQ", payload)
        if argsz != 32 or flags & ~3 or len(fds) != 1 or size % 4096 or not size:
            self.violations.append(f"DMA_MAP argsz {argsz} flags {flags:#x} fds {len(fds)}")
            raise Refusal(errno.EINVAL)
        if any(at < address + size and address < at + w[0] for at, w in self.windows.items()):
            raise Refusal(errno.EEXIST)
        with mmap.mmap(fds[0], size, prot=mmap.PROT_READ, offset=offset) as memory:
            self.windows[address] = (size, flags, offset, memory[:16])
        os.close(fds[0])
        return b"", []

    def _unmap(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, flags, address, size = struct.unpack("=IIQQ", payload)
        if argsz < 24 or flags & ~2:
            self.violations.append(f"DMA_UNMAP argsz {argsz} flags {flags:#x}")
            raise Refusal(errno.EINVAL)
        for at in [at for at, w in self.windows.items() if address <= at < address + size]:
            if at + self.windows[at][0] > address + size:
                raise Refusal(errno.EINVAL)
            del self.windows[at]
        return payload, []

    def _region(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, index = struct.unpack_from("=I4xI", payload)
        if len(payload) != 32 or argsz < 32 or index > 8:
            raise Refusal(errno.EINVAL)
        size = {0: 0x20000, 3: 0x4000, 7: 256}.get(index, 0)
        if index != 0:
            flags = 3 if size else 0
            return struct.pack("=IIIIQQ", 32, flags, index, 0, size, 0), []
        caps = struct.pack("=HHIII", 1, 1, 0, len(AREAS), 0)
        caps += b"".join(struct.pack("=QQ", *area) for area in AREAS)
        need = 32 + len(caps)
        fits = argsz >= need
        head = struct.pack("=IIIIQQ", need, 15, 0, 32 if fits else 0, size, BAR0_FD_OFFSET)
        return (head + caps, [self.memory]) if fits else (head, [])

    def _irq(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, _, index, _ = struct.unpack("=IIII", payload)
        if argsz < 16 or index > 4:
            raise Refusal(errno.EINVAL)
        return struct.pack("=IIII", 16, 1, index, (0, 0, 5, 1, 1)[index]), []

    def _set_irqs(self, payload: bytes, fds: list[int]) -> Reply:
        argsz, flags, index, start, count = struct.unpack_from("=IIIII", payload)
        limit = (0, 0, 5, 1, 1)[index] if index < 5 else 0
        assign, disable = flags == 0x24, flags == 0x21 and not count
        bad = len(payload) != 20 or argsz != 20 or start >= limit or start + count > limit
        if bad or not (assign or disable) or (fds and len(fds) != count) or (assign and not count):
            self.violations.append(f"SET_IRQS {flags:#x} {index} {start}+{count} fds {len(fds)}")
            raise Refusal(errno.EINVAL)
        now = self.events.setdefault(index, {})
        gone = list(now) if disable else [v for v in now if start <= v < start + count]
        for vector in gone:
            os.close(now.pop(vector))
        now.update(zip(range(start, start + count), fds, strict=False))
        return b"", []

    def _where(self, payload: bytes) -> tuple[int, int, int]:
        offset, region, count = struct.unpack_from("=QII", payload)
        size = {0: 0x20000, 3: 0x4000, 7: 256}.get(region, 0)
        if offset + count > size or (region != 7 and (count not in (1, 2, 4, 8) or offset % count)):
            self.violations.append(f"access of {count} bytes to region {region} at {offset:#x}")
            raise Refusal(errno.EINVAL)
        return region, offset, count

    def _read(self, payload: bytes, fds: list[int]) -> Reply:
        region, offset, count = self._where(payload)
        if region == 7:
            data = bytes(self.config[offset : offset + count])
        elif region == 0 and any(at <= offset < at + size for at, size in AREAS):
            data = self.bar0[BAR0_FD_OFFSET + offset : BAR0_FD_OFFSET + offset + count]
        else:
            data = self.trapped.get((region, offset), 0).to_bytes(8, "little")[:count]
        return payload + data, []

    def _write(self, payload: bytes, fds: list[int]) -> Reply:
        region, offset, count = self._where(payload)
        data = payload[16:]
        if len(data) != count:
            self.violations.append(f"REGION_WRITE of {count} carries {len(data)} bytes")
            raise Refusal(errno.EINVAL)
        if region == 7:
            self.config[offset : offset + count] = data
        elif region == 0 and any(at <= offset < at + size for at, size in AREAS):
            self.bar0[BAR0_FD_OFFSET + offset : BAR0_FD_OFFSET + offset + count] = data
        else:
            self.trapped[region, offset] = int.from_bytes(data, "little")
        return payload[:16], []

    def _reset(self, payload: bytes, fds: list[int]) -> Reply:
        self.resets += 1
        self.config[4] &= 0xFB
        return b"", []
