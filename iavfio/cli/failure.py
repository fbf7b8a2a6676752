# SPDX-License-Identifier: BSD-3-Clause
"""What a program reads of a command with --json that failed: one object, which says why."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

SCHEMA = "iavfio.failure/1"
_told = threading.Event()


def told() -> None:
    """Says that the command has printed its own object, which tells of the error, too."""
    _told.set()


def stream_for(arguments: Sequence[str]) -> TextIO | None:
    """Where a failure is told as JSON: stdout, or stderr where packets go to stdout; None: nowhere.

    The arguments are looked at as words, since a wrong one leaves nothing else. What stands behind
    "--" is another program's.
    """
    _told.clear()
    words = list(arguments)
    words = words[: words.index("--")] if "--" in words else words
    if "--json" not in words:
        return None
    return sys.stderr if any(word in ("-", "-w-", "--write=-") for word in words) else sys.stdout


def tell(stream: TextIO | None, status: int, error: str, cause: str = "", remedy: str = "") -> None:
    """Prints the object in a line. A stream that takes nothing is told of elsewhere."""
    if stream is None or _told.is_set():
        return
    record = {"schema": SCHEMA, "status": status, "error": error, "cause": cause, "remedy": remedy}
    with contextlib.suppress(OSError, ValueError):
        print(json.dumps(record), file=stream)
