# SPDX-License-Identifier: BSD-3-Clause
"""The mailbox journal: every message in and out, decoded, bounded, printable, savable."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from iavfio.arguments import shown
from iavfio.errors import ConfigError, Remedy
from iavfio.foreign import flag, number, parsed, printable, whole
from iavfio.logs import logger, on_one_line
from iavfio.virtchnl.messages.describe import describe
from iavfio.virtchnl.messages.names import opcode_name

RECORD = "record one with: iavfio journal record DIR -o FILE"
END_OF_TIME = 1 << 33  # seconds since 1970, in the year 2242
MOST_PAYLOAD = 1 << 16  # bytes of a message
LONGEST_NOTE = 4000  # characters of one that is read
LARGEST = 128 << 20  # bytes of a file that is read
ARROWS = {"out": "->", "in": "<-", "note": "--"}

log = logger("virtchnl")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message, or a note of the driver's. `time` in seconds since the epoch.

    The raw bytes are kept, so that an entry can be decoded again and compared later.
    """

    time: float
    direction: Literal["out", "in", "note"]
    opcode: int = 0
    status: int = 0
    payload: bytes = b""
    note: str = ""
    adv_link_speed: bool = True

    @property
    def text(self) -> str:
        """The decoded line, without time and arrow."""
        note = printable(on_one_line(self.note))  # which may come from a file, from anybody
        if self.direction == "note":
            return note
        line = describe(self.direction, self.opcode, self.status, self.payload, self.adv_link_speed)
        return f"{line} [{note}]" if note else line

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        return f"{clock}.{int(self.time % 1 * 1e6):06d} {ARROWS[self.direction]} {self.text}"

    def to_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(
            {
                "time": self.time,
                "direction": self.direction,
                "opcode": self.opcode,
                "name": opcode_name(self.opcode) if self.direction != "note" else "",
                "status": self.status,
                "text": self.text,
                "note": self.note,
                "adv_link_speed": self.adv_link_speed,
                "hex": self.payload.hex(),
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Entry:
        """An entry from `to_json`; raises ConfigError, which says what is wrong, for all else."""
        try:
            item = parsed(line)
        except ValueError:
            raise _no_entry("it is no JSON") from None
        return cls.from_value(item)

    @classmethod
    def from_value(cls, item: object) -> Entry:
        """An entry from the JSON value of a line; raises ConfigError as `from_json` does."""
        if not isinstance(item, dict):
            raise _no_entry("it is no JSON object")
        read = {name: _field(item, name, kind, wanted) for name, kind, wanted in FIELDS}
        return cls(*read.values())


def _payload(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MOST_PAYLOAD:
        raise ValueError("no text")
    return bytes.fromhex(value)


def _note(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value[:LONGEST_NOTE]


FIELDS: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    ("time", lambda value: number(value, 0, END_OF_TIME), "seconds since 1970"),
    ("direction", lambda word: {way: way for way in ARROWS}[word], f"one of {', '.join(ARROWS)}"),
    ("opcode", lambda value: whole(value, 0, (1 << 32) - 1), "a whole number of 32 bits"),
    ("status", lambda value: whole(value, -(1 << 31), (1 << 32) - 1), "a whole number of 32 bits"),
    ("hex", _payload, f"at most {MOST_PAYLOAD} bytes in hexadecimal digits"),
    ("note", _note, "a text"),
    ("adv_link_speed", flag, "true or false"),
)
"""What an entry is read from, in the order of its fields: name, reader, what is expected."""


def _field(item: dict[str, Any], name: str, kind: Callable[[Any], Any], wanted: str) -> Any:
    if name not in item:
        raise _no_entry(f"its {name!r} is missing, {wanted}")
    try:
        return kind(item[name])
    except (ValueError, KeyError, TypeError):
        raise _no_entry(f"its {name!r} is {shown(item[name])}, not {wanted}") from None


def _no_entry(cause: str) -> ConfigError:
    return ConfigError("this is no mailbox journal", cause, Remedy("save one with save()", RECORD))


class Journal:
    """The last `capacity` entries. Adding is safe from any thread.

    What is added is logged as well, without payloads; `device` names whose mailbox it is.
    """

    def __init__(
        self,
        capacity: int = 512,
        clock: Callable[[], float] = time.time,
        device: str = "mailbox",
    ) -> None:
        self._device = device
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._clock = clock
        self.added = 0
        self.adv_link_speed = False  # how speeds in events are to be read; set after negotiation

    def sent(self, opcode: int, payload: bytes) -> None:
        """A message to the PF."""
        self._add(Entry(self._clock(), "out", opcode, 0, payload))
        if log.isEnabledFor(logging.DEBUG):
            name = opcode_name(opcode)
            log.debug("%s: sent %s, %d bytes", self._device, name, len(payload))

    def received(self, opcode: int, status: int, payload: bytes, note: str = "") -> None:
        """A message from the PF; `note` says what was done with it if it was no plain reply."""
        self._add(Entry(self._clock(), "in", opcode, status, payload, note, self.adv_link_speed))
        if log.isEnabledFor(logging.DEBUG):
            how = f"status {status}" + (f", {note}" if note else "")
            name = opcode_name(opcode)
            log.debug("%s: received %s, %d bytes, %s", self._device, name, len(payload), how)

    def note(self, text: str, level: int = logging.DEBUG) -> None:
        """Something that is no message: a timeout, a barrier, a reset."""
        self._add(Entry(self._clock(), "note", note=text))
        log.log(level, "%s: %s", self._device, on_one_line(text))

    def warn(self, text: str, more: int) -> None:
        """Logs what the entries tell already, and how many `more` like it were not logged.

        The caller sees to it that there is no flood (docs/spec/reliability.md F3).
        """
        told = f"{text} (and {more} more messages)" if more else text
        log.warning("%s: %s", self._device, told, extra={"sum_of": more})

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.added += 1

    @property
    def dropped(self) -> int:
        """Entries that made room for newer ones."""
        return self.added - len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self)

    def save(self, path: Path) -> None:
        """Writes JSON lines, one an entry. Raises OSError."""
        path.write_text("".join(f"{entry.to_json()}\n" for entry in self), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> tuple[Entry, ...]:
        """Entries of a file that `save` wrote. Raises OSError or ConfigError."""
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(
                f"{path} is no mailbox journal", f"it is longer than {LARGEST} bytes", RECORD
            )
        try:
            return parse(content.decode().split("\n"))
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is no mailbox journal", "it is not text", RECORD) from None
        except ConfigError as wrong:
            raise ConfigError(f"{path}: {wrong.what}", wrong.cause, wrong.remedy) from None


def parse(lines: Iterable[str]) -> tuple[Entry, ...]:
    """Entries from JSON lines; empty lines are skipped. Raises ConfigError, naming the line."""
    found = []
    for at, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(Entry.from_json(line))
            except ConfigError as wrong:
                wrong.advise(f"line {at} cannot be read: {wrong.cause}", wrong.remedy)
                raise
    return tuple(found)
