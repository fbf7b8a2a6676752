# SPDX-License-Identifier: BSD-3-Clause
"""The control socket: what an administrator of the host may do, as JSON lines.

One request object a line, one answer a line: `{"ok": true, ...}` or `{"ok": false, "error": ...}`.

    {"command": "ping"}
    {"command": "info"}                        VFs, sockets, personality, faults that were contained
    {"command": "log", "clear": true}          violations: entries, counts per rule; then forgets
    {"command": "stats", "vf": 0}              the VSI's counters, and what the PF knows of the VF
    {"command": "journal", "vf": 0, "clear": true}   mailbox messages, as its driver sees them
    {"command": "gone", "vf": 0, "on": true}   registers read all-ones, and nothing happens
    {"command": "remove", "vf": 0}             surprise removal: all-ones, hang up, socket away
    {"command": "disconnect", "vf": 0}         hangs up on the client
    {"command": "request", "vf": 0}            signals the REQ interrupt: give the VF back, please
    {"command": "error", "vf": 0}              signals the ERR interrupt, as after a PCI error
    {"command": "stall", "vf": 0, "seconds": 1}     its socket is not served for a while
    {"command": "irq", "vf": 0, "vector": 1, "count": 9}   spurious interrupts
    {"command": "mute", "vf": 0, "on": true}   interrupts are held back, as if masked
    {"command": "wire", "play": true}          the wire's counters; play: a capture begins now
    {"command": "stop"}                        ends the software VF

Everything else is policy and goes to the PF: link, trust, mac, spoofchk, vlan, reset, ... (see
iavfio.softvf.pf).

There may be 16 clients: one more takes the place of that which has been idle longest. Files are
never taken: a client that sends any is told so and hung up on.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from iavfio.errors import ConfigError
from iavfio.softvf.answer import Items, parts
from iavfio.softvf.containment import Account
from iavfio.softvf.dataplane import STAT_NAMES, DataPlane
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.regions import Interrupt
from iavfio.softvf.log import ViolationLog
from iavfio.softvf.loop import READ, WRITE, Loop
from iavfio.softvf.pf import arguments
from iavfio.softvf.server import sockets
from iavfio.softvf.server.acceptor import Acceptor
from iavfio.softvf.server.closing import Closer
from iavfio.softvf.server.listener import VfServer

MAX_LINE = 1 << 16
MAX_CLIENTS = 16
MAX_UNSENT = 1 << 20  # bytes of answers; beyond this nothing more is made for the client
FILES_REFUSED = b'{"ok": false, "error": "a request brings no files"}\n'
Done = dict[str, Any] | Generator[bytes, None, dict[str, Any]]  # at once, or in steps

# Of the commands that take more than a VF, or none.
ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("ping", "info", "stop"), ""),
        "log": "clear",
        "journal": "vf clear",
        "gone": "vf on",
        "stall": "vf seconds",
        "irq": "vf vector count",
        "mute": "vf on",
        "wire": "play",
    }
)
OF_A_VF = ("default_mac", "admin_mac", "primary_mac", "own_mac")  # of a PF's snapshot


class Administered(Protocol):
    """The PF's driver as its administrator sees it."""

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out a request of iavfio.softvf.pf.admin.

        Raises ConfigError, before anything is changed, when that cannot be.
        """

    def snapshot(self, vf: int) -> dict[str, Any]:
        """What the PF knows of a VF, as JSON-able values."""


class Control:
    """Executes requests."""

    def __init__(
        self,
        servers: Sequence[VfServer],
        pf: Administered,
        plane: DataPlane,
        log: ViolationLog,
        info: dict[str, Any],
        stop: Callable[[], None],
        own: Account,
    ) -> None:
        self.faults = 0  # exceptions that nobody expected, in commands
        self._process = own
        self._servers, self._pf, self._plane, self._log = servers, pf, plane, log
        self._info, self._stop = info, stop

    def answer(self, line: bytes) -> Iterator[bytes]:
        """The answer to one line, which may be anything: parts of a line, made one by one.

        An empty part is work that was done. A ConfigError is a refusal, and is said; what nobody
        expected is raised, and costs the client that asked its connection.
        """
        try:
            request = _parsed(line)
            done = self._carry_out(request)
            if isinstance(done, Generator):
                done = yield from done
        except ConfigError as error:
            yield from parts({"ok": False, "error": str(error)})
            return
        yield from parts({"ok": True} | done)

    def _carry_out(self, request: dict[str, Any]) -> Done:
        own = self.commands().get(request["command"])
        if own is None:
            return self._pf.control(request)
        arguments.only(request, ARGUMENTS.get(request["command"], "vf"))
        return own(request)

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Done]]:
        """What carries out each command that is no policy of the PF."""
        return {
            "ping": self._ping,
            "info": self._tell_info,
            "log": self._tell_log,
            "stats": self._stats,
            "journal": self._journal,
            "gone": self._gone,
            "remove": self._remove,
            "disconnect": self._disconnect,
            "request": self._request,
            "error": self._error,
            "stall": self._stall,
            "irq": self._irq,
            "mute": self._mute,
            "wire": self._wire,
            "stop": self._end,
        }

    def _server(self, request: dict[str, Any]) -> VfServer:
        vf = request.get("vf")
        if type(vf) is not int or not 0 <= vf < len(self._servers):
            raise ConfigError(f'"vf" must be 0 to {len(self._servers) - 1}, not {vf!r}')
        return self._servers[vf]

    def _ping(self, request: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _tell_info(self, request: dict[str, Any]) -> dict[str, Any]:
        vfs = [
            {
                "index": server.vf.index,
                "socket": f"vfio-user:{server.path}",
                "connected": server.connected,
                "gone": server.vf.gone,
                "resets": server.vf.resets,
                "faults": server.vf.account.faults,
            }
            for server in self._servers
        ]
        faults = {"control": self.faults, "process": self._process.faults}
        return self._info | {"vfs": vfs, "faults": faults}

    def _tell_log(self, request: dict[str, Any]) -> dict[str, Any]:
        entries, counts = self._log.entries(), self._log.counted()
        answer = {"entries": Items(entries), "counts": Items(counts), "total": self._log.sequence}
        if request.get("clear") is True:
            self._log.clear()
        return answer

    def _stats(self, request: dict[str, Any]) -> Generator[bytes, None, dict[str, Any]]:
        vf = self._server(request).vf.index
        values = self._plane.stats(vf)
        counters = dict(zip(STAT_NAMES, values, strict=True))
        strays = {mac.hex(":"): frames for mac, frames in self._plane.strays(vf).items()}
        for server in self._servers if strays else ():
            # What the PF knows as an address is somebody's, who is in a reset or not yet there.
            known = self._pf.snapshot(server.vf.index)
            for mac in (*(str(known.get(name)) for name in OF_A_VF), *known.get("macs", ())):
                strays.pop(mac, None)
            yield b""
        told = {"vf": vf, "stats": counters, "to_nobody": strays}
        return told | {"pf": self._pf.snapshot(vf)}

    def _journal(self, request: dict[str, Any]) -> dict[str, Any]:
        recorder = self._server(request).vf.recorder
        entries = recorder.entries()
        if request.get("clear") is True:
            recorder.clear()
        return {"entries": Items(entries)}

    def _gone(self, request: dict[str, Any]) -> dict[str, Any]:
        self._server(request).vf.set_gone(_flag(request))
        return {}

    def _remove(self, request: dict[str, Any]) -> dict[str, Any]:
        self._server(request).remove()
        return {}

    def _disconnect(self, request: dict[str, Any]) -> dict[str, Any]:
        self._server(request).disconnect()
        return {}

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"signalled": self._server(request).request_release()}

    def _error(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"signalled": self._server(request).report_error()}

    def _stall(self, request: dict[str, Any]) -> dict[str, Any]:
        seconds = request.get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
            raise ConfigError('"seconds" must be 0 to 3600')
        return {"stalled": self._server(request).stall(float(seconds))}

    def _irq(self, request: dict[str, Any]) -> Done:
        vector, count = request.get("vector", 0), request.get("count", 1)
        if type(vector) is not int or type(count) is not int or not 0 < count <= 10_000:
            raise ConfigError('"vector" must be an integer, "count" 1 to 10000')
        return self._fire(self._server(request).vf.msix, vector, count)

    @staticmethod
    def _fire(msix: Msix, vector: int, count: int) -> Generator[bytes, None, dict[str, Any]]:
        for _ in range(count):
            if not msix.fire(Interrupt.MSIX, vector):
                return {"signalled": False}
            yield b""  # others may have their turn
        return {"signalled": True}

    def _mute(self, request: dict[str, Any]) -> dict[str, Any]:
        self._server(request).vf.msix.mute(_flag(request))
        return {}

    def _wire(self, request: dict[str, Any]) -> dict[str, Any]:
        if _flag(request, "play", False):
            try:
                self._plane.play()
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
                raise ConfigError("only an uplink pcap: can be played") from error
        return {"wire": self._plane.wire()}

    def _end(self, request: dict[str, Any]) -> dict[str, Any]:
        self._stop()
        return {}


def _parsed(line: bytes) -> dict[str, Any]:
    """The request in a line; raises ConfigError when it is none."""
    try:
        request = json.loads(line)
    except RecursionError:
        raise ConfigError("the request is nested too deeply") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise ConfigError(f"the request is no JSON: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise ConfigError('a request is an object with "command"')
    return request


def _flag(request: dict[str, Any], key: str = "on", default: bool = True) -> bool:
    value = request.get(key, default)
    if type(value) is not bool:
        raise ConfigError(f'"{key}" must be true or false')
    return value


class ControlServer:
    """The control socket, and the lines of its clients."""

    def __init__(self, path: Path, control: Control, loop: Loop) -> None:
        self.path = path
        self._control, self._loop = control, loop
        self._clients: list[_Client] = []
        self._closer = Closer()
        self._acceptor = Acceptor(path, loop, self._take, self._closer)

    def _take(self, sock: socket.socket) -> None:
        if not sockets.peer_allowed(sock):
            self._closer.hang_up(sock)
            return
        if len(self._clients) >= MAX_CLIENTS:
            min(self._clients, key=lambda client: client.moved).close()
        self._clients.append(
            _Client(sock, self._control, self._loop, self._closer, self._clients.remove)
        )

    def close(self) -> None:
        """Hangs up on the clients and removes the socket."""
        self._acceptor.close()
        for client in list(self._clients):
            client.close()
        self._closer.end()


class _Client:
    """One client: its lines are carried out in order, one after the other, in turns.

    Of an answer no more is made than the client reads: a journal is longer than a socket holds.
    """

    def __init__(
        self,
        sock: socket.socket,
        control: Control,
        loop: Loop,
        closer: Closer,
        on_close: Callable[[_Client], None],
    ) -> None:
        self._sock, self._control, self._loop, self._on_close = sock, control, loop, on_close
        self._closer = closer
        self.moved = loop.now()  # when it last said, or was told, anything
        self._in = bytearray()
        self._out = bytearray()
        self._answer: Iterator[bytes] | None = None  # to the line in hand
        self._ended = False
        self._waiting = False  # for another turn
        self._account = Account("a client of the control socket", self._fail)
        sock.setblocking(False)
        loop.watch(sock.fileno(), READ, self._on_ready, self._account)

    def _fail(self, _: str) -> None:
        self._control.faults += 1
        self.close()

    @property
    def _busy(self) -> bool:
        """Whether there is an answer to make."""
        return self._answer is not None or b"\n" in self._in

    def _on_ready(self, events: int) -> None:
        if events & READ and not self._ended and not self._busy:
            self._receive()
        if not self._waiting:
            self._work()

    def _go_on(self) -> None:
        self._waiting = False
        self._work()

    def _receive(self) -> None:
        try:
            # A read without room for files drops them in the kernel, where their last close may
            # wait. A look shows whether there are any, and leaves them in the socket.
            data, _, flags, _ = self._sock.recvmsg(
                MAX_LINE, 0, socket.MSG_PEEK | socket.MSG_DONTWAIT
            )
            if flags & socket.MSG_CTRUNC:
                self._out += FILES_REFUSED
                self._ended = True
                return
            if data:
                self._sock.recv(len(data), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            self.close()
            return
        self.moved = self._loop.now()
        self._in += data
        # No client of ours sends a line that is longer.
        self._ended = not data or (len(self._in) > MAX_LINE and b"\n" not in self._in)

    def _work(self) -> None:
        """Answers for one turn, and sends what the client takes."""
        turn = self._loop.turn()
        while self._sock.fileno() >= 0 and self._busy and len(self._out) <= MAX_UNSENT:
            self._step()
            if turn.over():
                break
        if self._sock.fileno() >= 0:
            self._flush()

    def _step(self) -> None:
        self.moved = self._loop.now()
        if self._answer is None:
            line, _, self._in = self._in.partition(b"\n")
            self._answer = self._control.answer(bytes(line)) if line.strip() else None
            return
        part = next(self._answer, None)
        if part is None:
            self._answer = None
        else:
            self._out += part

    def _flush(self) -> None:
        try:
            if self._out:
                sent = self._sock.send(self._out, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
                del self._out[:sent]
                self.moved = self._loop.now()
        except BlockingIOError:
            pass
        except ConnectionError:
            self.close()
            return
        if self._ended and not self._out and not self._busy:
            self.close()
            return
        if self._busy and len(self._out) <= MAX_UNSENT and not self._waiting:
            self._waiting = True
            self._loop.call_later(0, self._go_on, self._account)
        reading = not self._ended and not self._busy
        events = (READ if reading else 0) | (WRITE if self._out else 0)
        if events:
            self._loop.watch(self._sock.fileno(), events, self._on_ready, self._account)
        else:
            self._loop.forget(self._sock.fileno())

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._closer.hang_up(self._sock)
            self._answer = None
            self._on_close(self)
