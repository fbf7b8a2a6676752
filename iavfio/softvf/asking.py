# SPDX-License-Identifier: BSD-3-Clause
"""One question to the control socket of a software PF that another process runs."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from iavfio.errors import ConfigError, IavfioError

SECONDS = 5.0  # in which an answer comes


def ask(directory: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """The answer to a command (iavfio.softvf.control) of the software PF that serves `directory`.

    Raises IavfioError when none answers there, ConfigError when it refuses the command.
    """
    path = directory / "control.sock"
    request = json.dumps({"command": command} | arguments).encode() + b"\n"
    try:
        answer = _exchange(path, request)
    except (OSError, ValueError) as error:
        raise IavfioError(
            f"no software VF answers at {path}",
            str(error),
            "name the directory that 'iavfio softvf --socket DIR' serves",
        ) from error
    if not answer.pop("ok", False):
        raise ConfigError("the software VF refused", str(answer.get("error", "")))
    return answer


def _exchange(path: Path, request: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.settimeout(SECONDS)
        line.connect(str(path))
        line.sendall(request)
        received = bytearray()
        while not received.endswith(b"\n"):
            data = line.recv(1 << 16)
            if not data:
                break
            received += data
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")
    return answer
