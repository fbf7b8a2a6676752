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
from pathlib import Path
from typing import Any

from iavfio import dialing
from iavfio.pyvfio import budget, forks
from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.bar import SLICE_MS
from iavfio.pyvfio.errors import (
    Busy,
    DeviceLost,
    NotFound,
    PermissionDenied,
    ProtocolError,
    UnknownDevice,
    VfioError,
    system_error,
    within_own_request,
)
from iavfio.pyvfio.log import log

TIMEOUT_MS = int(budget.SECONDS * 1e3)
FOREVER = 1e6  # seconds, more than any limit
CONTROL = "control.sock"  # where a software PF takes commands, beside its VFs' sockets
START = "start a software VF with: iavfio softvf --socket DIR"
PEER = struct.Struct("iII")  # SO_PEERCRED: pid, uid, gid
STATES = {  # of a server's main thread, as /proc tells it
    "R": "waits for a CPU: this host has more to run than it has CPUs for",
    "T": "is stopped",
    "t": "is stopped by a debugger",
    "Z": "has ended",
    "X": "has ended",
}


def hasten(on: bool = True) -> None:
    """From now on no request to any server waits longer than 50 ms: this process is to end.

    For whoever answers SIGINT and SIGTERM (docs/spec/reliability.md F66). False takes it back.
    """
    lib.vu_hasten(on)


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
        self._loss = ""
        self._limited = False  # whoever set a limit gives its calls more time than one of ours has
        sock = _connect(path)
        self._server, fd = _peer(sock)[0], sock.detach()
        self._conn = lib.vu_conn_new(fd)
        if self._conn == ffi.NULL:
            self._conn = None
            os.close(fd)
            raise VfioError(f"no memory for a connection to {path}", "", "free memory")
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
        """One request and its reply. Raises OSError with the server's errno, or DeviceLost.

        A reply that is not there in time ends the connection (docs/spec/reliability.md I3); while
        no limit is set the requests of one call share its time. After a request that a signal
        ended, others wait for half a second until the server is heard.
        """
        if self._conn is None:
            raise DeviceLost(f"{self.path}: the connection is closed")
        timeout = TIMEOUT_MS if self._limited else min(TIMEOUT_MS, max(1, int(budget.left() * 1e3)))
        room = ffi.new("uint8_t[]", max(capacity, 1))
        body, descriptors = ffi.from_buffer(payload), ffi.new("int[]", list(fds))
        call = ffi.new(
            "struct vu_call *",
            {
                "command": int(command),
                "payload": body,
                "payload_size": len(payload),
                "send_fds": descriptors,
                "send_nfds": len(fds),
                "reply": room,
                "capacity": capacity,
                "timeout_ms": timeout,
            },
        )
        try:
            while (result := lib.vu_call_run(self._conn, call, SLICE_MS)) == -errno.EAGAIN:
                # Signals are answered between two slices (docs/spec/reliability.md F66).
                if self._conn is None:
                    raise DeviceLost(f"{self.path}: the connection is closed")
            received = [call.fds[i] for i in range(call.nfds)] if want_fds and not result else []
            if received:
                call.nfds = 0  # they are the caller's from here on
        finally:
            if self._conn is not None:
                lib.vu_call_end(self._conn, call)
        if result > 0:
            raise OSError(result, os.strerror(result), self.path)
        if result < 0:
            failure = self._failure(command, -result)
            log.warning("%s", failure.what)
            raise failure
        return bytes(ffi.buffer(room, call.size)), received

    def _failure(self, command: Command, code: int) -> VfioError:
        """Returns the error, in words, that a transport's error number means."""
        if code == errno.ETIMEDOUT:
            lost = Command(lib.vu_conn_lost_command(self._conn))
            if lost is Command.VERSION and Path(self.path).name == CONTROL:
                return ProtocolError(
                    f"{self.path} does not speak vfio-user",
                    "it is the control socket of a software PF, not a VF's",
                    f"name a VF's socket, as in {Path(self.path).with_name('vf0.sock')}",
                    code,
                )
            waited = lib.vu_conn_lost_after(self._conn) / 1e3
            return DeviceLost(
                f"{self.path} does not answer",
                f"there was no reply to {lost.name} within {waited:.2g} s, so the connection was "
                f"given up; {_state(self._server)}",
                "see whether its server runs, is not stopped and has a CPU; then open it again. "
                + START,
                code,
            )
        if code == errno.EDEADLK:
            return within_own_request(self.path)
        if code == errno.EMFILE:
            full = OSError(code, os.strerror(code))
            return system_error(f"{self.path}: its files cannot be taken", full, "")
        if code == errno.EPROTO:
            return ProtocolError(
                f"{self.path} broke the vfio-user protocol",
                f"{command.name}: a reply is malformed or too long",
                "is it a vfio-user server? " + START,
                code,
            )
        return DeviceLost(
            f"{self.path} is gone",
            f"{command.name}: {os.strerror(code)}; its server ended the connection",
            START,
            code,
        )

    @property
    def loss(self) -> str:
        """Why this side gave the server up, in words; "" for one that ended, or that answers."""
        broken = 0 if self._conn is None else lib.vu_conn_broken(self._conn)
        if broken == -errno.EPROTO:
            return "its server broke the vfio-user protocol, so the connection was given up"
        if broken != -errno.ETIMEDOUT:
            return ""
        if not self._loss:  # as it was when somebody asked first
            self._loss = self._failure(Command.VERSION, errno.ETIMEDOUT).cause
        return self._loss

    def limit(self, seconds: float, slow: float) -> None:
        """No wait for a silent server, of any thread, ends later than so many seconds from now.

        math.inf lifts the limit. One that is reached ends the connection, as every deadline. From
        1 s on a slow server is spared that answers each request within a third of the limit, until
        `slow` seconds from now, no fewer than `seconds`.
        """
        if self._conn is None:
            return
        lifted = seconds > FOREVER
        self._limited = not lifted
        ends = (-1, -1) if lifted else (max(0, int(s * 1e3)) for s in (seconds, slow))
        lib.vu_conn_limit(self._conn, *ends)

    def close(self) -> None:
        """Hangs up; the server drops all DMA windows. Twice is harmless."""
        conn, self._conn = self._conn, None
        if conn is not None:
            lib.vu_conn_free(conn)

    def after_fork_in_child(self) -> None:
        """Hangs up in a forked child: only the parent may speak (docs/spec/reliability.md F64)."""
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
        dialing.connect(sock, path, budget.left())
    except TimeoutError as error:
        raise DeviceLost(
            f"{path} does not answer",
            "the server accepts no more connections: its backlog is full, and stayed so for as "
            "long as this call may take",
            "see whether its server runs, is not stopped and has a CPU, and end the clients that "
            "wait for it; then open it again",
            errno.ETIMEDOUT,
        ) from error
    except OSError as error:
        code = error.errno or 0
        if code in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(
                f"there is no socket {path}", "its server does not run", START, code
            ) from error
        if code == errno.ECONNREFUSED and not Path(path).is_socket():
            kind = "directory" if Path(path).is_dir() else "file"
            raise UnknownDevice(
                f"{path} is no socket",
                f"it is a {kind}",
                f"name the socket of a software VF, as in {Path(path) / 'vf0.sock'}"
                if kind == "directory"
                else START,
                code,
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
    try:
        _trust(sock, path)
    except VfioError:
        sock.close()
        raise
    return sock


def _trust(sock: socket.socket, path: str) -> None:
    """Raises PermissionDenied when somebody else serves the socket (docs/spec/reliability.md D5).

    Whoever serves it gets this process's DMA memory and can make each access wait. So it must be
    this user or root; for root too, since a user's server could be meant to catch root.
    """
    pid, uid = _peer(sock)
    if uid not in (os.geteuid(), 0):
        raise PermissionDenied(
            f"{path} is served by another user",
            f"process {pid} of uid {uid} listens there; this process has uid {os.geteuid()}",
            f"run both as the same user: sudo -u '#{uid}' ...",
            errno.EACCES,
        )


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Process and user of whoever serves the socket; process 0 is one of another PID namespace."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    pid, uid, _ = PEER.unpack(raw)
    return int(pid), int(uid)


def _state(server: int) -> str:
    """What the process of a server that does not answer is doing now."""
    try:
        letter = Path(f"/proc/{server}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return "its server has ended, or its process cannot be seen from here"
    return f"its server (process {server}) {STATES.get(letter, 'sleeps, and did not read it')}"
