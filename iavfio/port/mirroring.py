# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors of a port for other processes: who asks, who gets one, and when it ends.

A caller at the port's door (iavfio/stats/door.py) sends what it wants as one packet and gets the
rings' memory back. The mirror lasts as long as the connection: the kernel ends it with either
process. One caller at a time has a mirror (docs/adr/0009). Who asks why the port does not work
(iavfio/port/inquiry.py) gets one answer.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from iavfio.datapath.mirror import LEAST, MOST, MirrorRings, Wanted
from iavfio.datapath.pair import QueuePair
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.exhaustion import thread_shortage
from iavfio.foreign import a_list, an_object, flag, parsed, whole
from iavfio.logs import logger
from iavfio.stats import PortSegment, door
from iavfio.stats.door import Caller

VERSION = 1  # of what both processes say and of the rings
LONGEST = 1 << 17  # bytes of a request: a filter of 4096 steps in hexadecimal digits, and more
PATIENCE = 2.0  # seconds for a request to come
ANSWERED = 2.0  # seconds for an answer to be taken
MOST_CALLERS = 4  # at a time
LOOK = 0.5  # seconds between looks at the rings
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
BREATH = 0.05  # seconds until a caller is tried again for whom there was no descriptor
STALL = 30.0  # seconds in which frames wait and none is read: such a reader is let go

log = logger("port")


class Mirroring:
    """A port's door for mirrors, and the mirror that somebody has, if any.

    `facts`: what a caller is told of the port; `why`: the answer to who asks why it does not
    work, and whether frames may be sent for it.
    `door`: the listening socket, -1 where there is none. Any thread may call `renew` and `close`;
    the watchdog's thread calls `knocked`.
    """

    def __init__(self, name: str, facts: Callable[[], dict[str, str | int]]) -> None:
        self._name = name
        self._facts = facts
        self.why: Callable[[bool], bytes] | None = None
        self._segment: PortSegment | None = None
        self._listening: socket.socket | None = None
        self._lock = threading.Lock()  # of all that follows
        self._pairs: list[QueuePair] = []
        self._session: Session | None = None  # which has the mirror
        self._heard: set[Session] = set()
        self._closed = False

    def open(self, segment: PortSegment, pairs: Iterable[QueuePair]) -> None:
        """Listens beside the segment; a port that cannot works all the same."""
        self._name, self._segment = segment.name, segment
        self._pairs = list(pairs)
        try:
            self._listening = door.listen(segment.home, segment.name)
        except OSError as error:
            why = str(error)  # the error itself would keep the port, by its traceback
            log.warning(
                "%s: other processes can neither capture it nor ask why: %s", self._name, why
            )

    @property
    def caller(self) -> Caller | None:
        """Who has a mirror; None when nobody has."""
        session = self._session
        return None if session is None else session.caller

    @property
    def door(self) -> int:
        return -1 if self._listening is None else self._listening.fileno()

    def renew(self, pairs: Iterable[QueuePair]) -> None:
        """The port has other queue pairs from now on; a mirror goes on with these."""
        with self._lock:
            self._pairs = list(pairs)
            if self._session is not None and self._session.rings is not None:
                self._attach(self._session.rings)

    def _attach(self, rings: MirrorRings) -> None:
        for pair in self._pairs:
            pair.mirror(*rings.of(pair.index))

    def knocked(self) -> None:
        """Lets the next caller in, or tells it why not."""
        if self._listening is None:
            return
        try:
            connection, _ = self._listening.accept()
        except OSError as error:  # it has gone, or another one takes a while
            if error.errno in NO_ROOM:
                time.sleep(BREATH)  # the caller goes on knocking
            return
        caller = Caller.of(connection)
        with self._lock:
            refusal = self._refusal(caller)
            if refusal is None:
                session = Session(self, connection, caller)
                self._heard.add(session)
                try:
                    session.thread.start()
                except RuntimeError:  # Python's word for a thread that cannot start
                    self._heard.discard(session)
                    refusal = thread_shortage(f"port {self._name!r} cannot answer {caller}")
        if refusal is not None:
            _send(connection, door.refused(refusal))
            connection.close()

    def _refusal(self, caller: Caller) -> IavfioError | None:
        what = f"port {self._name!r} does not hear {caller}"
        if not caller.allowed:
            return IavfioError(what, "only its owner and root may see its frames and ask about it")
        if len(self._heard) >= MOST_CALLERS:
            return StateError(what, f"{MOST_CALLERS} others are heard", "try again in a moment")
        return StateError(what, "it is closed") if self._closed else None

    def begin(self, session: Session, wanted: Wanted) -> dict[str, object]:
        """Makes the rings and attaches them: what the caller is told with their descriptor.

        Raises IavfioError when this cannot be.
        """
        have = {pair.index for pair in self._pairs}
        queues = wanted.queues or tuple(sorted(have))
        if not have.issuperset(queues):
            raise ConfigError(
                f"port {self._name!r} has no queue {min(set(queues) - have)}",
                f"it has {len(have)}, numbered from 0",
                "name others, or none for all",
            )
        wanted = replace(wanted, queues=queues)
        with self._lock:
            if session not in self._heard:
                raise StateError(f"port {self._name!r} is closed")
            if self._session is not None:
                raise StateError(
                    f"port {self._name!r} is not mirrored for {session.caller}",
                    f"{self._session.caller} has a mirror of it",
                    "one at a time can: end that capture, or wait for its end",
                )
            session.rings = MirrorRings(wanted)
            self._session = session
            self._attach(session.rings)
        sides = [[queue, sent] for queue, sent in wanted.sides]
        log.info("%s is mirrored for %s", self._name, session.caller)
        return {"version": VERSION, "rings": sides, "ring": wanted.ring, **self._facts()}

    def reading(self, session: Session) -> tuple[int, ...]:
        """How far each ring is read (MirrorRings.reading); empty when the mirror has ended."""
        with self._lock:
            alive = self._session is session and session.rings is not None
            return session.rings.reading() if alive and session.rings is not None else ()

    def finish(self, session: Session, why: str) -> None:
        """Ends a mirror; after the return nothing of it is left. Twice is harmless."""
        with self._lock:
            if session not in self._heard:
                return
            self._heard.discard(session)
            mirrored = self._session is session
            if mirrored:
                self._session = None
                for pair in self._pairs:
                    pair.unmirror()
            if session.rings is not None:
                session.rings.close()
        if mirrored:
            log.info("%s is not mirrored any more: %s", self._name, why)
        session.leave(why)

    def close(self) -> None:
        """Ends the mirror and listens no more. Twice is harmless."""
        with self._lock:
            self._closed = True
            heard, listening, self._listening = list(self._heard), self._listening, None
        for session in heard:
            self.finish(session, "closed")
        if listening is not None and self._segment is not None:
            door.withdraw(self._segment.home, self._segment.name)
            listening.close()

    def disown(self) -> None:
        """Leaves door and mirror to the parent, in a forked child."""
        self._lock = threading.Lock()
        heard, listening = self._heard, self._listening
        self._heard, self._session, self._listening = set(), None, None
        if listening is not None:
            listening.close()
        for session in heard:
            session.connection.close()
            if session.rings is not None and session.rings.fd >= 0:
                os.close(session.rings.fd)
                session.rings.fd = -1


class Session:
    """One caller's connection, and the thread that waits at it."""

    def __init__(self, of: Mirroring, connection: socket.socket, caller: Caller) -> None:
        self._of = of
        self.connection = connection
        self.caller = caller
        self.rings: MirrorRings | None = None
        self.thread = threading.Thread(target=self._run, name="iavfio-mirror", daemon=True)

    def leave(self, why: str) -> None:
        """Tells the caller and lets it go."""
        _send(self.connection, {"ended": why})
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        why = "the caller has gone"
        try:
            self.connection.settimeout(PATIENCE)
            raw = self.connection.recv(LONGEST)
            try:
                frames = asks_why(raw)
                if self._of.why is not None and frames is not None:
                    self.connection.settimeout(ANSWERED)
                    self.connection.send(self._of.why(frames), socket.MSG_NOSIGNAL)
                    return
                answer = self._of.begin(self, request(raw))
            except ValueError as error:
                wrong = ConfigError("a mirror cannot be had", f"the request is {error}")
                answer = door.refused(error if isinstance(error, ConfigError) else wrong)
            except IavfioError as error:
                answer = door.refused(error)
            fds = [] if self.rings is None else [self.rings.fd]
            socket.send_fds(self.connection, [json.dumps(answer).encode()], fds)
            if fds:
                why = self._wait()
        except (OSError, TimeoutError):
            pass  # it went away in the middle
        except Exception as error:
            log.exception("a caller could not be answered")
            why = f"{type(error).__name__}: {error}"
            _send(self.connection, door.refused(IavfioError("the port failed to answer", why)))
        finally:
            self._of.finish(self, why)
            self.connection.close()

    def _wait(self) -> str:
        """Waits until the caller asks for the end or goes, or reads nothing for too long."""
        self.connection.settimeout(LOOK)
        before, since = self._of.reading(self), time.monotonic()
        while before:
            try:
                return "asked" if self.connection.recv(16) else "the caller has gone"
            except TimeoutError:
                pass
            now = self._of.reading(self)
            if not any(a == b != -1 for a, b in zip(now, before, strict=False)):
                before, since = now, time.monotonic()
            elif time.monotonic() - since > STALL:
                return "stalled"
        return "closed"


def asks_why(raw: bytes) -> bool | None:
    """Whether frames may be sent, where a caller asks why the port does not work.

    Raises ValueError for what is no object.
    """
    asked = an_object(parsed(raw))
    if asked.get("version") != VERSION or asked.get("ask") != "why":
        return None
    return asked.get("frames") is True


def request(raw: bytes) -> Wanted:
    """What a caller wants. Raises ValueError for what cannot be."""
    asked = an_object(parsed(raw))
    if asked.get("version") != VERSION:
        raise ConfigError(
            "a mirror cannot be had", "the other process runs another version of iavfio"
        )
    ring = whole(asked.get("ring"), LEAST, MOST)
    if ring & (ring - 1):
        raise ValueError("of rings whose size is no power of two")
    steps = asked.get("steps")
    if not isinstance(steps, str):
        raise ValueError("without a filter's text")
    return Wanted(
        queues=tuple(sorted({whole(each, 0, 255) for each in a_list(asked.get("queues"), 256)})),
        rx=flag(asked.get("rx")),
        tx=flag(asked.get("tx")),
        snaplen=whole(asked.get("snaplen"), 1, 1 << 18),
        steps=bytes.fromhex(steps),
        ring=ring,
    )


def _send(connection: socket.socket, message: dict[str, object]) -> None:
    """Sends without waiting: a caller that does not listen misses it."""
    with suppress(OSError):
        connection.setblocking(False)
        connection.send(json.dumps(message).encode(), socket.MSG_NOSIGNAL)
