# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio why PORT` asks the process of a running port: what probes and notes say.

Counters tell other processes that packets are lost, and seldom why. The port's process says what it
has noted, and asks its PF whether it trusts the VF, for its user and root, who ask at the port's
door (iavfio/stats/door.py). It sends no frame as `port.why()` does: a thread that uses the queue at
that moment would be refused.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING

import msgspec

from iavfio.errors import IavfioError
from iavfio.port.facts import Facts, Probed
from iavfio.port.why import probe
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
    """What a port's process knows of it, but for the counters, and its notes."""

    version: int
    probed: Probed
    notes: tuple[str, ...]

    def facts(self, counts: Snapshot, *, watched: bool) -> Facts:
        """The facts with these counters: what they moved by while the asking process `watched`."""
        known = vars(self.probed)
        return Facts(counts, **(known | {"discarded_probes": 0} if watched else known))


def tell(port: Port) -> bytes:
    """The answer of the port's process."""
    facts = probe(port, frames=False)
    probed = Probed(**{field.name: getattr(facts, field.name) for field in fields(Probed)})
    told = Told(version=VERSION, probed=probed, notes=tuple(port.notes)[-MOST_NOTES:])
    return msgspec.json.encode(told)


def ask(name: str) -> Told:
    """What the process of a running port says.

    Raises IavfioError when this user may not ask, or it gives no answer that this version knows.
    """
    segment = find(name)
    with closing(door.connect(segment)) as connection:
        connection.settimeout(ANSWER)
        try:
            connection.send(json.dumps(QUESTION).encode())
            raw, _ = door.receive(connection, LONGEST)
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
