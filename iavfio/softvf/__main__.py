# SPDX-License-Identifier: BSD-3-Clause
"""`python -m iavfio.softvf`: the software VF as a process of its own, without the CLI's imports."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from iavfio.errors import IavfioError
from iavfio.outlet import Handler, Outlet
from iavfio.softvf.process import SOFTWARE, Settings, cannot_start, print_ready, run


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Runs a software VF and returns the exit status; --ready-fd is told how the start went."""
    parser = argparse.ArgumentParser(prog="python -m iavfio.softvf", description=__doc__)
    parser.add_argument("--vfs", type=int, default=1)
    parser.add_argument("--personality", default="e810")
    parser.add_argument("--socket", type=Path, metavar="DIR")
    parser.add_argument("--uplink", default="loopback")
    parser.add_argument("--writeback", choices=("hardware", "immediate"), default="hardware")
    parser.add_argument("--doorbells", choices=("shared", "trapped"), default="shared")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--pf", default=SOFTWARE)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--disposable", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    settings = Settings(
        vfs=given.vfs,
        personality=given.personality,
        directory=given.socket,
        uplink=given.uplink,
        writeback=given.writeback,
        doorbells=given.doorbells,
        options=tuple(given.option),
        verbose=given.verbose,
        pf=given.pf,
        disposable=given.disposable,
    )

    said: list[bool] = []

    def tell(message: dict[str, Any]) -> None:
        if not said:  # the parent listens once
            said.append(True)
            os.write(given.ready_fd, json.dumps(message).encode() + b"\n")
            os.close(given.ready_fd)

    try:
        for fd in (given.ready_fd, given.parent_fd):
            if fd is not None:
                os.set_inheritable(fd, False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)  # until `run` serves: what has been started ends, too
        logging.lastResort = Handler(Outlet(), logging.WARNING)  # of faults, while VFs wait
        if given.ready_fd is None:
            run(settings, print_ready, given.parent_fd, sys.stdout)
        else:
            run(settings, tell, given.parent_fd)
    except IavfioError as error:
        if given.ready_fd is None:
            print(f"iavfio: {error}", file=sys.stderr)
        else:
            kind = type(error).__name__
            tell({"error": [kind, error.what, error.cause, error.remedy]})
        return 1
    except OSError as error:
        reason = cannot_start(error)
        if given.ready_fd is None:
            with contextlib.suppress(OSError):
                print(f"iavfio: {reason}", file=sys.stderr)
        else:
            tell({"error": ["DeviceError", reason.what, reason.cause, reason.remedy]})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
