# SPDX-License-Identifier: BSD-3-Clause
"""The socket of one VF: one client at a time (docs/spec/vfio-user.md 1, 5)."""

from __future__ import annotations

import socket
from pathlib import Path

from iavfio.softvf.function.device import Vf
from iavfio.softvf.function.regions import Interrupt
from iavfio.softvf.loop import Loop
from iavfio.softvf.server import sockets
from iavfio.softvf.server.acceptor import Acceptor
from iavfio.softvf.server.closing import Closer
from iavfio.softvf.server.connection import CLOSES_WITHIN, Connection
from iavfio.softvf.server.session import Session
from iavfio.softvf.server.slowness import TOO_MANY, Slowness


class VfServer:
    """Serves one client of the VF after the other, until the VF is removed."""

    def __init__(self, vf: Vf, path: Path, loop: Loop) -> None:
        self.vf, self.path = vf, path
        self._loop = loop
        self._session: Session | None = None
        wired = sum(vf.msix.count(index) for index in Interrupt)
        self._closer = Closer(wired)  # of the clients that were served
        self._refusals = Closer()  # of those that were not
        self._slowness = Slowness(loop.now)
        vf.account.end = self._end_session
        vf.msix.discard = self._closer.close
        self._full_since: float | None = None
        self._acceptor = Acceptor(
            path, loop, self._take, self._refusals, self._short, self._closing
        )

    @property
    def connected(self) -> bool:
        """Whether there is a client."""
        return self._session is not None

    def _short(self, error: OSError) -> None:
        self.vf.violation(
            "docs/spec/reliability.md D3", f"a client waits: {error.strerror}", "note"
        )

    def _closing(self) -> bool:
        """Whether files of former clients are still being closed, and may soon be.

        Who comes back at once waits for that, and is refused only where it takes long.
        """
        if not self._closer.full:
            self._full_since = None
            return False
        now = self._loop.now()
        since = self._full_since if self._full_since is not None else now
        soon = now - since < CLOSES_WITHIN
        self._full_since = since if soon else None
        return soon

    def _take(self, sock: socket.socket) -> None:
        try:
            self._receive(sock)
        except Exception:
            self._refusals.hang_up(sock)  # it would wait for ever for who does not know of it
            raise

    def _receive(self, sock: socket.socket) -> None:
        """Begins a session with who has come, or refuses it."""
        if not sockets.peer_allowed(sock):
            self.vf.violation("docs/spec/reliability.md D5", "a client of another user is refused")
            self._refusals.hang_up(sock)
            return
        if self._slowness.refusing:
            self.vf.violation(
                "docs/spec/reliability.md D6",
                f"a client is refused: of one before it {TOO_MANY}",
            )
            self._refusals.hang_up(sock)
            return
        if self._closer.full:
            self.vf.violation(
                "docs/spec/reliability.md D3",
                "a client is refused: files of those before it still wait to be closed",
            )
            self._refusals.hang_up(sock)
            return
        # A client that has just hung up may be back before the server noticed its end.
        if self._session and self._session.connection.hung_up():
            self._session.connection.close("")
        if self._session:
            self.vf.violation("docs/spec/vfio-user.md 1", "a second client is refused", "note")
            self._refusals.hang_up(sock)
            return
        self._session = Session(
            self.vf,
            lambda session: Connection(
                sock,
                self._loop,
                session.on_message,
                self._closed,
                self.vf.account,
                self._closer,
                self._slowness,
            ),
        )

    def _end_session(self, why: str) -> None:
        """Hangs up, which ends all DMA and resets the VF."""
        if self._session:
            self._session.connection.close(why)

    def _closed(self, reason: str) -> None:
        self._session = None
        if reason:
            self.vf.violation(
                "docs/spec/vfio-user.md 1", f"the connection is closed: {reason}", "note"
            )
        self.vf.disconnected()

    def disconnect(self, why: str = "by the control socket") -> None:
        """Hangs up on the client."""
        self._end_session(why)

    def stall(self, seconds: float) -> bool:
        """Does not serve the client for a while; returns False when there is none."""
        if not self._session:
            return False
        connection = self._session.connection
        connection.pause(True)
        self._loop.call_later(seconds, lambda: connection.pause(False), self.vf.account)
        return True

    def request_release(self) -> bool:
        """Signals REQ, by which the host wants the VF back; returns False when nobody listens."""
        return self.vf.msix.fire(Interrupt.REQ)

    def report_error(self) -> bool:
        """Signals ERR, as after a PCI error; returns False when nobody listens."""
        return self.vf.msix.fire(Interrupt.ERR)

    def remove(self) -> None:
        """Removes the VF by surprise: it is gone, the client is cut off, the socket is removed."""
        self.vf.set_gone(True)
        self.close()

    def close(self) -> None:
        """Ends client and socket."""
        self._acceptor.close()
        if self._session:
            self._session.connection.close("")
        self._closer.end()
        self.vf.burial.end()
        self._refusals.end()
