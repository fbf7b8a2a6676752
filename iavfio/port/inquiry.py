# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio why PORT` asks the process of a running port: what probes and notes say.

Counters tell other processes that packets are lost, and seldom why. The port's process says what it
has noted, and probes as `port.why()` does, for its user and root, who ask at the port's door
(iavfio/stats/door.py). Its threads go on using the queues meanwhile.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import msgspec

from iavfio.errors import IavfioError
from iavfio.foreign import plain
from iavfio.logs import on_one_line
from iavfio.port.facts import Facts, Probed
from iavfio.port.why import MOST_ADDRESSES, probe
from iavfio.stats import Snapshot, door
from iavfio.stats.listing import find

if TYPE_CHECKING:
    from iavfio.port.port import Port

VERSION = 1  # of question and answer
ANSWER = 20.0  # seconds; a reset may hold the port up, and probes that no counter shows
LONGEST = 1 << 17  # bytes of an answer
MAC = 6  # bytes
MOST_ITEMS = 256  # of a list of an answer, more than any has
LONGEST_NOTE = 1000  # characters
MOST_NOTES = 16  # that are told, the newest


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a port's process knows of it, but for the counters, and its notes.

    `discarded_now`: how many probes the PF has discarded for this answer.
    """

    version: int
    probed: Probed
    notes: tuple[str, ...]
    discarded_now: int

    def facts(self, counts: Snapshot, *, watched: bool) -> Facts:
        """The facts with these counters, read after the answer.

        `watched`: they are what moved since a moment before the question.
        """
        known = vars(self.probed)
        if watched:
            known = known | {"discarded_probes": self.discarded_now}
        return Facts(counts, **known)


def tell(port: Port, frames: bool) -> bytes:
    """The answer of the port's process; `frames`: whether probes may be sent."""
    conditions = port.control.housekeeping.conditions
    before = conditions.discarded_probes
    facts = probe(port, frames=frames)
    discarded = conditions.discarded_probes
    known = {field.name: getattr(facts, field.name) for field in fields(Probed)}
    told = Told(
        version=VERSION,
        probed=Probed(**(known | {"discarded_probes": discarded})),
        notes=tuple(port.notes)[-MOST_NOTES:],
        discarded_now=discarded - before,
    )
    return msgspec.json.encode(told)


def ask(name: str, *, frames: bool = True) -> Told:
    """What the process of a running port says; `frames`: whether it may send probes.

    Raises IavfioError when this user may not ask, or it gives no answer that this version knows.
    """
    segment = find(name)
    question = {"version": VERSION, "ask": "why", "frames": frames}
    try:
        with closing(door.connect(segment)) as connection:
            answer, _ = door.ask(connection, segment, question, seconds=ANSWER, longest=LONGEST)
        ended = plain(answer.get("ended", "")) if answer else "closed"
        told = None if ended else _told(answer)
    except IavfioError:  # a ConfigError is a ValueError, too
        raise
    except (ValueError, RecursionError):  # msgspec's errors are the former
        ended, told = "", None
    if ended:
        raise IavfioError(f"port {name!r} gives no answer", f"it was {ended}")
    if told is None or told.version != VERSION:
        raise IavfioError(
            f"port {name!r} gives no answer that can be read",
            f"{segment.process} runs another version of iavfio, or something else in its place",
            "use the version that it runs",
        )
    return told


def _told(answer: dict[str, Any]) -> Told:
    """What the process of a port, which may be anybody's, is believed to say.

    Raises ValueError for what is no answer.
    """
    told = msgspec.convert(_printable(answer), Told)
    probed = told.probed
    return msgspec.structs.replace(
        told,
        notes=told.notes[-MOST_NOTES:],
        discarded_now=max(told.discarded_now, 0),
        probed=replace(
            probed,
            stalled=None if probed.stalled is None else max(probed.stalled, 0.0),
            absent=tuple(mac for mac in probed.absent if len(mac) == MAC)[:MOST_ADDRESSES],
            extra_macs=tuple(mac for mac in probed.extra_macs if len(mac) == MAC),
        ),
    )


def _printable(value: object) -> object:
    """A JSON value with texts of one line that command no terminal, and lists of some length."""
    if isinstance(value, str):
        return plain(on_one_line(value), LONGEST_NOTE)
    if isinstance(value, list):
        return [_printable(each) for each in value[:MOST_ITEMS]]
    if isinstance(value, dict):
        return {key: _printable(each) for key, each in list(value.items())[:MOST_ITEMS]}
    return value
