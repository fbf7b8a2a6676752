# SPDX-License-Identifier: BSD-3-Clause
"""Questions to the control socket of a software PF that another process runs.

Whatever answers there, perhaps another user's program: it costs no more than a time and a size that
were set before, and what it says is still unknown (iavfio.foreign).
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from iavfio import dialing
from iavfio.errors import ConfigError, IavfioError
from iavfio.foreign import an_object, parsed, printable

SECONDS = 5.0  # in which an answer comes
MOST_BYTES = 64 << 20  # of an answer: a journal of 4096 of the longest messages has 34 MB
LONGEST_REFUSAL = 1000  # characters


class Questions:
    """Several questions that share one time, from now on, and have a bound for each answer."""

    def __init__(self, seconds: float = SECONDS, most: int = MOST_BYTES) -> None:
        self._end, self._most = time.monotonic() + seconds, most

    def ask(self, directory: Path, command: str, **arguments: Any) -> dict[str, Any]:
        """Asks a software PF one thing, as the function `ask` does."""
        path = directory / "control.sock"
        request = json.dumps({"command": command} | arguments).encode() + b"\n"
        try:
            answer = exchange(path, request, self._end - time.monotonic(), self._most)
        except TimeoutError as error:
            raise IavfioError(
                f"no software VF answers at {path}",
                error.strerror or "it has not answered in time",
                "see whether its process is stopped, or has no CPU: ss -xlp names it",
            ) from error
        except (OSError, ValueError) as error:
            raise IavfioError(
                f"no software VF answers at {path}",
                getattr(error, "strerror", None) or str(error),
                "name the directory that 'iavfio softvf --socket DIR' serves",
            ) from error
        if answer.pop("ok", False) is not True:
            said = str(answer.get("error", ""))[:LONGEST_REFUSAL]
            raise ConfigError("the software VF refused", printable(said))
        return answer


def ask(directory: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """The answer to a command (iavfio.softvf.control) of the software PF that serves `directory`.

    Raises IavfioError when none answers there, ConfigError when it refuses the command.
    """
    return Questions().ask(directory, command, **arguments)


def exchange(path: Path, request: bytes, seconds: float, most: int = MOST_BYTES) -> dict[str, Any]:
    """Sends a line to a control socket and returns the object that comes back, of any content.

    `seconds` is for all of it, `most` bytes may come. Raises OSError, and ValueError for an answer
    that is longer, or no JSON object.
    """
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        dialing.connect(line, str(path), end - time.monotonic())
        _wait_until(end, line)
        line.sendall(request)
        received = bytearray()
        while not received.endswith(b"\n"):
            _wait_until(end, line)
            data = line.recv(1 << 16)
            if not data:
                raise ConnectionResetError("it hung up")
            received += data
            if len(received) > most:
                raise ValueError(f"its answer is longer than {most} bytes")
    try:
        return an_object(parsed(received))
    except ValueError as error:
        raise ValueError(f"its answer is {error}") from None


def _wait_until(end: float, line: socket.socket) -> None:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("it has not answered in time")
    line.settimeout(left)
