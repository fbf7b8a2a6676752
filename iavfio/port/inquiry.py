# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio why PORT` asks the process of a running port: what probes and notes say.

Counters tell other processes that packets are lost, and seldom why. The port's process says what it
has noted, and asks its PF whether it trusts the VF, for its user and root, who ask at the port's
door (iavfio/stats/door.py). It sends no frame as `port.why()` does: a thread that uses the queue at
that moment would be refused.
"""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from iavfio.errors import IavfioError
from iavfio.port.trust import Trust
from iavfio.port.why import Facts, probe
from iavfio.stats import Snapshot, door
from iavfio.stats.listing import find

if TYPE_CHECKING:
    from iavfio.port.port import Port

VERSION = 1  # of question and answer
QUESTION = {"version": VERSION, "ask": "why"}
ANSWER = 10.0  # seconds that the port's process has; a reset may hold it up
LONGEST = 1 << 17  # bytes of an answer
MOST_NOTES = 16  # that are told, the newest


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a port but for its counters (iavfio.port.why.Facts), and its notes."""

    version: int
    reason: str = ""
    closed: bool = False
    lost: bool = False
    own: bool | None = None
    foreign: bool | None = None
    stuck: bool = False
    trust: Trust = "unknown"
    promiscuous: bool = False
    all_multicast: bool = False
    extra_macs: tuple[bytes, ...] = ()
    pf_error: str = ""
    pool_idle: int | None = None
    pool_size: int | None = None
    rss: bool = True
    max_frame: int | None = None
    notes: tuple[str, ...] = ()

    def facts(self, counts: Snapshot) -> Facts:
        """The facts, with counters that the asking process has watched."""
        known = {name: getattr(self, name) for name in self.__struct_fields__}
        del known["version"], known["notes"]
        return Facts(counts, **known)


def tell(port: Port) -> bytes:
    """The answer of the port's process."""
    facts = probe(port, frames=False)
    known: dict[str, Any] = {name: getattr(facts, name, None) for name in Told.__struct_fields__}
    known |= {"version": VERSION, "notes": tuple(port.notes)[-MOST_NOTES:]}
    return msgspec.json.encode(Told(**known))


def ask(name: str) -> Told:
    """What the process of a running port says.

    Raises IavfioError when this user may not ask, or it gives no answer that this version knows.
    """
    segment = find(name)
    with closing(door.connect(segment)) as connection:
        connection.settimeout(ANSWER)
        try:
            connection.send(json.dumps(QUESTION).encode())
            raw = _received(connection)
        except TimeoutError as error:
            raise IavfioError(
                f"port {name!r} does not answer",
                f"{segment.process} was asked {ANSWER:g} s ago",
                "it may be stopped, or in a long reset",
            ) from error
        except OSError as error:
            raise IavfioError(f"port {name!r} cannot be asked", str(error.strerror)) from error
    try:
        told = msgspec.json.decode(raw, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    if told is None or told.version != VERSION:
        raise IavfioError(
            f"port {name!r} gives no answer that can be read",
            f"{segment.process} refused, or runs another version of iavfio",
            "ask once more, or use the version that it runs",
        )
    return told


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(LONGEST)
    except ConnectionResetError:  # it did not read all; what it said before comes now
        return connection.recv(LONGEST)
