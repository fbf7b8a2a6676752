# SPDX-License-Identifier: BSD-3-Clause
"""Logging: the rooms' loggers, floods that are summed up, and what the command line shows.

The library prints nothing of its own accord: a program that wants to see lines configures Python's
logging as usual. No line holds the payload of a message, a packet or a key.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from iavfio.arguments import nearest
from iavfio.errors import ConfigError
from iavfio.outlet import STDERR, Handler, Outlet

ROOT = "iavfio"
ROOMS = ("port", "virtchnl", "pyvfio", "softvf")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}
SAME_LINES = 10  # of one kind within FLOOD seconds; what is beyond them is summed up
FLOOD = 1.0
KINDS = 256  # of lines that are remembered at a time
FIGURES = re.compile(r"0x[0-9a-fA-F]+|[0-9]+")
TAKEN = 0.05  # seconds that a line waits for whoever reads stderr
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"


@dataclass
class _Kind:
    """Lines that are alike but for the figures in them, since `began`."""

    began: float
    passed: int = 0
    held: int = 0
    newest: logging.LogRecord | None = None


class FloodFilter(logging.Filter):
    """Lets SAME_LINES of a kind through within FLOOD seconds, then counts, and logs the sum.

    Lines are of one kind when logger, level, first argument (whose line it is) and text are the
    same, whatever numbers the text has. `settle` logs the sums whose time has come; each line that
    comes does so as well.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "sum_of"):
            return True
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        text = FIGURES.sub("#", record.getMessage())
        key = (record.name, record.levelno, str(first), text)
        self.settle()
        with self._lock:
            kind = self._kinds.setdefault(key, _Kind(self._clock()))
            if kind.passed < SAME_LINES:
                kind.passed += 1
                return True
            kind.held, kind.newest = kind.held + 1, record
            return False

    def settle(self, at_once: bool = False) -> None:
        """Logs how many lines were held back in floods that are over, or in all of them."""
        now, sums = self._clock(), []
        with self._lock:
            for key, kind in list(self._kinds.items()):
                if at_once or now - kind.began >= FLOOD or len(self._kinds) > KINDS:
                    del self._kinds[key]
                    sums.append((kind, now - kind.began))
        for kind, seconds in sums:
            if kind.newest is not None:
                self._log_sum(kind.newest, kind.held, seconds)

    @staticmethod
    def _log_sum(newest: logging.LogRecord, held: int, seconds: float) -> None:
        message = f"{newest.getMessage()} ({held} more such lines in {seconds:.1f} s)"
        summary = logging.makeLogRecord(
            newest.__dict__ | {"msg": message, "args": (), "sum_of": held}
        )
        logging.getLogger(newest.name).handle(summary)


_flood = FloodFilter()


def logger(room: str) -> logging.Logger:
    """The logger `iavfio.room`: silent unless somebody configures it, and floods are summed up."""
    log = logging.getLogger(f"{ROOT}.{room}")
    if _flood not in log.filters:
        log.addFilter(_flood)
    root = logging.getLogger(ROOT)
    if not root.handlers:
        root.addHandler(logging.NullHandler())  # else Python prints warnings on stderr
    return log


for _room in ROOMS:
    logger(_room)


def on_one_line(text: str) -> str:
    """A text of several lines, as an error has them, as one line of a log."""
    return "; ".join(line.strip() for line in text.splitlines())


def settle(at_once: bool = False) -> None:
    """Logs the sums of floods that are over; those of all floods where `at_once`."""
    _flood.settle(at_once)


# ---- what the command line shows


class _Stream(logging.StreamHandler[TextIO]):
    """Writes to what stands in for stderr. One that is closed costs lines, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def levels_of(text: str) -> dict[str, int]:
    """Logger names and their levels, from "debug" or "iavfio.virtchnl=debug,info".

    The name of a room alone will do: "virtchnl=debug". A level without a name is that of all
    others. Raises ConfigError.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, level = part.strip().rpartition("=")
        room = name.strip().removeprefix(f"{ROOT}.")
        if room == ROOT or not equals:
            room = ""
        if (equals and not name.strip()) or (room and room not in ROOMS):
            close = nearest(room, ROOMS)
            raise ConfigError(
                f"there is no logger {name.strip()!r}",
                f"there are {', '.join(f'{ROOT}.{room}' for room in ROOMS)}",
                f"did you mean {ROOT}.{close}?" if close else "",
            )
        word = level.strip()
        if word not in LEVELS:
            close = nearest(word, LEVELS)
            raise ConfigError(
                f"{level.strip()!r} is no level of logging",
                f"levels are {', '.join(LEVELS)}; write one, or as iavfio.virtchnl=debug,info",
                f"did you mean {close}?" if close else "",
            )
        full = f"{ROOT}.{room}" if room else ROOT
        if full in found:
            raise ConfigError(f"{text!r} names {full} twice", "each logger has one level")
        found[full] = LEVELS[word]
    return found


def show(text: str, seconds: float = TAKEN) -> None:
    """Prints log lines on stderr, of the levels that `text` names. Raises ConfigError.

    Whoever logs waits `seconds` at most for a reader of stderr that reads no more: what it does not
    take is dropped and counted (iavfio.outlet).
    """
    levels = levels_of(text)
    root = logging.getLogger(ROOT)
    for each in [each for each in root.handlers if isinstance(each, (_Stream, Handler))]:
        root.removeHandler(each)
    own = sys.stderr is sys.__stderr__
    handler = Handler(Outlet(STDERR, seconds)) if own else _Stream(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, "%H:%M:%S"))
    root.addHandler(handler)
    root.setLevel(levels.pop(ROOT, logging.WARNING))
    for room in ROOMS:
        name = f"{ROOT}.{room}"
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
