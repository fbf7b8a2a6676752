# SPDX-License-Identifier: BSD-3-Clause
"""One client's stream, cut into messages with their file descriptors (docs/spec/vfio-user.md 1, 8).

The socket never blocks, because each call asks for that itself. A message is read exactly (16
bytes, then the rest), because fds come with the first byte of a message and a longer read could not
tell whose they are. Replies wait in a buffer while the client does not read them; the client's
posted writes are taken meanwhile.

A client whose files wait to be closed is not read until they are, and is hung up on when that takes
too long.

A client is served for a turn; then the others are (docs/spec/reliability.md D4, D6). A message that
takes longer is answered in steps: its session yields where it may be interrupted, and where it
waits for what is done aside.
"""

from __future__ import annotations

import array
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator

from iavfio.softvf.containment import Account
from iavfio.softvf.loop import READ, WRITE, Loop
from iavfio.softvf.server import messages as wire
from iavfio.softvf.server.closing import ONE_MESSAGE, Closer
from iavfio.softvf.server.messages import HEADER, MAX_MESSAGE, Message, Wait
from iavfio.softvf.server.slowness import TOO_MANY, Slowness

STEPS_PER_TURN = 64  # after so many, or after the loop's turn, other clients are served
MAX_UNSENT = 4 << 20  # bytes of replies; beyond this nothing more is read from the client ...
MAX_REPLIES = 1024  # ... nor beyond so many, each of which is some objects of Python
CLOSES_WITHIN = 1.0  # seconds until a client whose closes wait is hung up on ...
LOOK_AT_CLOSES = 0.01  # ... and between two looks
ANCILLARY = socket.CMSG_SPACE(ONE_MESSAGE * 4)


class BrokenStream(Exception):
    """The stream cannot go on."""


class Connection:
    """Calls `on_message` for each message and `on_close` once, with the reason in words.

    What `on_message` returns is advanced step by step, on the client's `account`; the next message
    is read when there is no step left.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        on_message: Callable[[Message], Iterator[Wait | None]],
        on_close: Callable[[str], None],
        account: Account,
        closer: Closer,
        slowness: Slowness | None = None,
    ) -> None:
        self._sock, self._loop, self._account, self._closer = sock, loop, account, closer
        self._on_message, self._on_close = on_message, on_close
        self._slowness = slowness or Slowness(loop.now)
        self._chunks: list[bytes] = []
        self._have = 0
        self._header: tuple[int, ...] | None = None
        self._fds: list[int] = []
        self._truncated = False
        self._steps: Iterator[Wait | None] | None = None  # of the message in hand
        self._waits = False  # for what its last step said
        self._resuming = False
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._unsent_bytes = 0
        self._last = False
        self._paused = False
        self._held_since: float | None = None  # since when closes of its files are waited for
        self.closed = False
        sock.setblocking(False)
        self._events = READ
        loop.watch(sock.fileno(), READ, self._on_ready, account)

    # ---- in

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and not self._resuming:
            self._serve()

    def _resume(self) -> None:
        self._resuming = False
        self._serve()

    def _serve(self) -> None:
        """Serves the client for one turn."""
        turn = self._loop.turn()
        for _ in range(STEPS_PER_TURN):
            if self.closed or self._last or self._quiet or self._too_much_unread:
                return
            if self._closer.full:
                self._hold()
                return
            if self._steps is None:
                try:
                    if not self._read_one():
                        return
                except BrokenStream as reason:
                    self.close(str(reason))
                    return
            else:
                self._advance(self._steps)
            if turn.over():
                break
        # What was read needs no word of the kernel to go on.
        if self._steps is not None and not self.closed and not self._quiet and not self._resuming:
            self._resuming = True
            self._loop.call_later(0, self._resume, self._account)

    def _advance(self, steps: Iterator[Wait | None]) -> None:
        """Takes the next step of the message in hand."""
        step = next(steps, self)
        if step is self:
            self._steps = None
        elif callable(step):
            self._waits = True
            self._watch()
            step(self._come)

    def _come(self) -> None:
        """What was waited for has come."""
        self._waits = False
        if not self.closed:
            self._go_on()

    def _read_one(self) -> bool:
        """Reads one message and takes its first step; returns False when it is not all there."""
        if self._header is None:
            raw = self._fill(HEADER.size)
            if raw is None:
                return False
            self._header = HEADER.unpack(raw)
            if not HEADER.size <= self._header[2] <= MAX_MESSAGE:
                raise BrokenStream(f"a message of {self._header[2]} bytes")
            if self._closer.full:  # each read may bring as many files as the kernel passes at once
                return False
        msg_id, command, size, flags, _ = self._header
        payload = self._fill(size - HEADER.size)
        if payload is None:
            return False
        message = Message(
            msg_id, command, flags, payload, self._fds, self._truncated, self._closer.close
        )
        self._header, self._fds, self._truncated = None, [], False
        self._steps = self._on_message(message)
        self._advance(self._steps)
        return True

    def _fill(self, size: int) -> bytes | None:
        """The next `size` bytes, or None when they are not all there.

        It reads once: a client that sends byte by byte, or a file with each of them, waits for its
        next turn with the rest.
        """
        if self._have < size:
            began = self._slowness.begin()
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    size - self._have, ANCILLARY, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return None
            except ConnectionError as error:
                raise BrokenStream(f"{error.strerror}") from error
            self._collect(ancillary)
            if flags & socket.MSG_CTRUNC:
                self._truncated = True
            if self._slowness.too_slow(began):
                raise BrokenStream(TOO_MANY)
            if not data:
                inside = self._have or self._header is not None
                raise BrokenStream("ended inside a message" if inside else "")
            self._chunks.append(data)
            self._have += len(data)
        if self._have < size:
            return None
        out = b"".join(self._chunks)
        self._chunks, self._have = [], 0
        return out

    def _collect(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                continue
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            room = wire.MAX_FDS - len(self._fds)
            self._fds += numbers[:room]
            if len(numbers) > room:
                self._closer.close_unknown(list(numbers[room:]))
                self._truncated = True

    @property
    def _quiet(self) -> bool:
        return self._paused or self._waits or self._held_since is not None

    @property
    def unread(self) -> int:
        """How many replies wait for the client."""
        return len(self._unsent)

    @property
    def _too_much_unread(self) -> bool:
        return self._unsent_bytes > MAX_UNSENT or len(self._unsent) > MAX_REPLIES

    def _hold(self) -> None:
        """Reads nothing more until the client's files are closed."""
        self._held_since = self._loop.now()
        self._watch()
        self._loop.call_later(LOOK_AT_CLOSES, self._look_at_closes, self._account)

    def _look_at_closes(self) -> None:
        if self.closed or self._held_since is None:
            return
        if not self._closer.full:
            self._held_since = None
            self._go_on()
        elif self._loop.now() - self._held_since >= CLOSES_WITHIN:
            self.close("too many of its files wait to be closed")
        else:
            self._loop.call_later(LOOK_AT_CLOSES, self._look_at_closes, self._account)

    def _go_on(self) -> None:
        self._watch()
        if self._steps is not None and not self._quiet and not self._resuming:
            self._resuming = True
            self._loop.call_later(0, self._resume, self._account)

    def hung_up(self) -> bool:
        """Whether the client has closed its end; something that it sent may still be unread."""
        poller = select.poll()
        poller.register(self._sock, 0)
        return any(events & select.POLLHUP for _, events in poller.poll(0))

    # ---- out

    def send(self, data: bytes, fds: tuple[int, ...] = (), last: bool = False) -> None:
        """Sends, or keeps for later what the socket does not take now.

        The fds must stay open until they are sent. With `last` the connection closes when
        everything is out.
        """
        if self.closed:
            return
        self._unsent.append((memoryview(data), fds))
        self._unsent_bytes += len(data)
        self._last = self._last or last
        self._flush()

    def _flush(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            began = self._slowness.begin()
            try:
                sent = self._sock.sendmsg([data], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionError as error:
                self.close(f"{error.strerror}")
                return
            if self._slowness.too_slow(began):
                self.close(TOO_MANY)
                return
            self._unsent_bytes -= sent
            if sent < len(data):
                self._unsent[0] = (data[sent:], ())
            else:
                self._unsent.popleft()
        if self._last and not self._unsent:
            self.close("refused")
            return
        self._watch()

    def _watch(self) -> None:
        reading = not self._last and not self._too_much_unread
        events = (READ if reading else 0) | (WRITE if self._unsent else 0)
        events = 0 if self._quiet else events
        if events == self._events:
            return
        self._events = events
        if events:
            self._loop.watch(self._sock.fileno(), events, self._on_ready, self._account)
        else:
            self._loop.forget(self._sock.fileno())

    def pause(self, on: bool) -> None:
        """Neither reads nor writes while paused."""
        if not self.closed:
            self._paused = on
            self._go_on()

    def close(self, reason: str) -> None:
        """Hangs up."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self._sock.fileno())
        self._closer.hang_up(self._sock)
        for fd in self._fds:
            self._closer.close(fd)
        self._fds = []
        self._steps = None
        self._unsent.clear()
        self._on_close(reason)
