# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user client that knows nothing but bytes (docs/spec/vfio-user.md 1, 2, 3, 4)."""

from __future__ import annotations

import array
import os
import socket
import struct
from pathlib import Path

VERSION_TEXT = (
    b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":65535,'
    b'"pgsizes":4096,"write_multiple":true,"migration":{"pgsize":4096,'
    b'"max_bitmap_size":268435456}}}\0'
)


class RawClient:
    """Sends bytes and file descriptors, receives headers and payloads."""

    def __init__(self, path: Path, version: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(path))
        self.sock.settimeout(5)
        self.number = 0
        self.fds: list[int] = []
        if version:
            error, payload = self.ask(1, struct.pack("<HH", 0, 0) + VERSION_TEXT)
            assert error == 0
            self.version = payload

    def post(
        self,
        command: int,
        payload: bytes = b"",
        fds: tuple[int, ...] = (),
        flags: int = 0,
        size: int | None = None,
    ) -> int:
        """Sends one message; returns its id."""
        self.number = (self.number + 1) & 0xFFFF
        length = 16 + len(payload) if size is None else size
        data = struct.pack("<HHIII", self.number, command, length, flags, 0) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], rights)
        if sent < len(data):
            self.sock.sendall(data[sent:])
        return self.number

    def take(self, number: int, command: int) -> tuple[int, bytes]:
        """Receives one reply: errno and payload; its fds go to self.fds."""
        header = self._exactly(16)
        msg_id, got, size, flags, error = struct.unpack("<HHIII", header)
        assert (msg_id, got) == (number, command)
        assert flags & 0xF == 1
        assert bool(flags & 0x20) == bool(error)
        return error, self._exactly(size - 16)

    def ask(
        self, command: int, payload: bytes = b"", fds: tuple[int, ...] = (), flags: int = 0
    ) -> tuple[int, bytes]:
        """Sends and receives."""
        return self.take(self.post(command, payload, fds, flags), command)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part, ancillary, _, _ = self.sock.recvmsg(size - len(data), socket.CMSG_SPACE(64))
            for _, _, raw in ancillary:
                numbers = array.array("i")
                numbers.frombytes(raw)
                self.fds += numbers
            if not part:
                raise ConnectionResetError("the server hung up")
            data += part
        return data

    def hung_up(self) -> bool:
        """Waits for the server's end."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def read(self, region: int, offset: int, count: int) -> bytes:
        """REGION_READ."""
        error, payload = self.ask(9, struct.pack("<QII", offset, region, count))
        assert error == 0
        assert payload[:16] == struct.pack("<QII", offset, region, count)
        return payload[16:]

    def write(self, region: int, offset: int, data: bytes) -> None:
        """REGION_WRITE."""
        error, payload = self.ask(10, struct.pack("<QII", offset, region, len(data)) + data)
        assert (error, payload) == (0, struct.pack("<QII", offset, region, len(data)))

    def read32(self, offset: int) -> int:
        """A register of BAR0."""
        return int.from_bytes(self.read(0, offset, 4), "little")

    def write32(self, offset: int, value: int) -> None:
        """A register of BAR0."""
        self.write(0, offset, value.to_bytes(4, "little"))

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.sock.close()
