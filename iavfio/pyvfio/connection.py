# SPDX-License-Identifier: BSD-3-Clause
"""One negotiated vfio-user connection (docs/spec/vfio-user.md 1-3)."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from iavfio.pyvfio import forks
from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.errors import (
    Busy,
    DeviceLost,
    NotFound,
    PermissionDenied,
    ProtocolError,
    UnknownDevice,
    VfioError,
    system_error,
)

TIMEOUT_MS = 5000
START = "start a software VF with: iavfio softvf --socket DIR"


class Command(IntEnum):
    """Message commands (docs/spec/vfio-user.md 3)."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DEVICE_RESET = 13


class Connection:
    """One negotiated connection. C keeps socket, lock and message ids (docs/design.md 3)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.max_fds = 1
        self.max_data = 1 << 20
        fd = _connect(path).detach()
        self._conn = lib.vu_conn_new(fd)
        if self._conn == ffi.NULL:
            self._conn = None
            os.close(fd)
            raise VfioError(f"no memory for a connection to {path}")
        forks.track(self)
        try:
            self._negotiate()
        except BaseException:
            self.close()
            raise

    @property
    def raw(self) -> Any:
        """The C connection."""
        return self._conn

    @property
    def fd(self) -> int:
        """The socket."""
        return int(lib.vu_conn_fd(self._conn))

    @property
    def broken(self) -> bool:
        """Whether the peer is gone or the stream is out of step."""
        return self._conn is None or bool(lib.vu_conn_broken(self._conn))

    def _negotiate(self) -> None:
        wanted = {
            "capabilities": {
                "max_msg_fds": 16,
                "max_data_xfer_size": 1 << 20,
                "max_dma_maps": 65535,
                "pgsizes": 4096,
                "write_multiple": False,
            }
        }
        text = json.dumps(wanted, separators=(",", ":")).encode() + b"\0"
        try:
            reply, _ = self.request(Command.VERSION, struct.pack("<HH", 0, 0) + text, 4096)
        except OSError as error:
            raise ProtocolError(
                f"{self.path} refused vfio-user 0.0",
                str(error.strerror),
                "is it a vfio-user server? " + START,
                error.errno or 0,
            ) from error
        except DeviceLost as gone:
            if gone.errno == errno.ETIMEDOUT:
                raise
            raise Busy(
                f"{self.path} hung up at the first message",
                "the server takes one client at a time, or it refused this user",
                "close the other client, or run as the user who runs the server",
                gone.errno,
            ) from gone
        major, _minor = struct.unpack_from("<HH", reply) if len(reply) >= 4 else (-1, 0)
        if major != 0:
            raise ProtocolError(
                f"{self.path} speaks vfio-user {major}, not 0", "another server", START
            )
        try:
            offered = json.loads(reply[4:].rstrip(b"\0") or b"{}").get("capabilities", {})
            self.max_fds = min(16, int(offered.get("max_msg_fds", 1)))
            self.max_data = min(1 << 20, int(offered.get("max_data_xfer_size", 1 << 20)))
            if self.max_fds < 1 or self.max_data < 8:
                raise ValueError("a limit is too small to work with")
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolError(
                f"{self.path} sent malformed version data",
                str(error),
                "is it a vfio-user server? " + START,
            ) from error

    def request(
        self,
        command: Command,
        payload: bytes = b"",
        capacity: int = 0,
        fds: Sequence[int] = (),
        want_fds: bool = False,
    ) -> tuple[bytes, list[int]]:
        """One request and its reply. Raises OSError with the server's errno, or DeviceLost."""
        if self._conn is None:
            raise DeviceLost(f"{self.path}: the connection is closed")
        reply = ffi.new("uint8_t[]", max(capacity, 1))
        size = ffi.new("uint32_t *")
        got = ffi.new("int[]", 16)
        count = ffi.new("uint32_t *")
        result = lib.vu_request(
            self._conn,
            int(command),
            payload,
            len(payload),
            list(fds),
            len(fds),
            reply,
            capacity,
            size,
            got if want_fds else ffi.NULL,
            count if want_fds else ffi.NULL,
            TIMEOUT_MS,
        )
        if result > 0:
            raise OSError(result, os.strerror(result), self.path)
        if result == -errno.ETIMEDOUT:
            raise DeviceLost(
                f"{self.path} does not answer {command.name}",
                f"no reply within {TIMEOUT_MS // 1000} s",
                "is it a vfio-user server, and is it running? " + START,
                errno.ETIMEDOUT,
            )
        if result == -errno.EMFILE:
            full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            raise system_error(f"{self.path}: its files cannot be taken", full, "")
        if result == -errno.EPROTO:
            raise ProtocolError(
                f"{self.path} broke the vfio-user protocol",
                f"{command.name}: a reply is malformed or too long",
                "is it a vfio-user server? " + START,
                errno.EPROTO,
            )
        if result < 0:
            raise DeviceLost(
                f"{self.path} is gone",
                f"{command.name}: {os.strerror(-result)}; the server ended",
                START,
                -result,
            )
        return bytes(ffi.buffer(reply, size[0])), [got[i] for i in range(count[0])]

    def close(self) -> None:
        """Hangs up; the server drops all DMA windows."""
        if self._conn is not None:
            lib.vu_conn_free(self._conn)
            self._conn = None

    def after_fork_in_child(self) -> None:
        """Only the parent may speak (docs/spec/reliability.md F64)."""
        if self._conn is not None:
            lib.vu_conn_abandon(self._conn)


def _connect(path: str) -> socket.socket:
    if "\0" in path:
        raise UnknownDevice(f"{path!r} is no path of a socket", "it holds a zero byte")
    if not path:
        raise UnknownDevice(
            "the path of the socket is empty", "", "write vfio-user:/path/of/socket"
        )
    if len(os.fsencode(path)) > 107:
        raise UnknownDevice(
            f"a socket path of {len(os.fsencode(path))} bytes is too long",
            "UNIX sockets allow 107",
            "use a shorter directory, or a relative path",
        )
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise system_error(f"no socket to reach {path}", error, "free memory") from error
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        code = error.errno or 0
        if code in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(
                f"there is no socket {path}", "its server does not run", START, code
            ) from error
        if code == errno.ECONNREFUSED:
            raise NotFound(
                f"nobody listens on {path}", "its server has ended", START, code
            ) from error
        if code in (errno.EACCES, errno.EPERM):
            raise PermissionDenied(
                f"{path} may not be opened by this user",
                "a software VF serves only the user who runs it, and root",
                "run as that user",
                code,
            ) from error
        raise VfioError(f"{path} cannot be opened", str(error.strerror), START, code) from error
    return sock
