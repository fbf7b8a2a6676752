# SPDX-License-Identifier: BSD-3-Clause
"""Software PFs in which one call of libc fails; a program with tests/c/nth_call.c preloaded.

    python -m tests.nth.served FUNCTION=ERRNO...

Each is a forked child, in which FUNCTION is counted from the start to the end. Its two clients live
in this process, where nothing fails. One line of JSON is printed for each software PF: how it
started and ended, and what its clients met with. The first counts the calls; of MOST or more of
them that many fail, at a fixed stride.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import iavfio
from iavfio.errors import IavfioError
from iavfio.softvf.__main__ import main as softvf
from tests.nth.lives import opened, places
from tests.port.rig import collect, send_all

MOST = 3


def serve(folder: Path, function: str, place: int, code: int) -> None:
    """The child: a software PF of two VFs; its report is a file."""
    nth = ctypes.CDLL(os.environ["LD_PRELOAD"])
    nth.nth_calls.restype = ctypes.c_long
    status = 70
    try:
        nth.nth_arm(function.encode(), ctypes.c_long(place), code)
        status = softvf(["--vfs", "2", "--socket", str(folder / "pf")])
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        reached = bool(nth.nth_disarm())
        report = {"status": status, "reached": reached, "calls": nth.nth_calls()}
        (folder / "report").write_text(json.dumps(report))
        os._exit(status)


def client(path: Path) -> str:
    """Moves packets through a VF; returns what went wrong, "" for nothing."""
    try:
        with opened(f"vfio-user:{path}") as port:
            port.configure(queues=1, ring=64)
            port.start(wait_link=5)
            frame = port.mac + port.mac + bytes.fromhex("88b5") + bytes(50)
            send_all(port, [frame] * 4)
            assert len(collect(port.rx, 4)) == 4
    except IavfioError as error:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return traceback.format_exc()
    return ""


def outcome(function: str, place: int, code: int) -> dict[str, Any]:
    """What became of one software PF and its clients."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read, write = os.pipe()
        number = os.fork()
        if number == 0:
            os.close(read)
            os.dup2(write, 1)
            words = os.open(folder / "words", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(words, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            serve(folder, function, place, code)
        os.close(write)
        met: list[str] = []
        with os.fdopen(read) as lines:
            started = any(line == "ready\n" for line in lines)
            if started:
                # The call that fails may be of the first client, the neighbour, or nobody; both
                # come again.
                vfs = [folder / "pf" / f"vf{vf}.sock" for vf in (0, 1)]
                met = [client(vf) for vf in [*vfs, *vfs]]
                os.kill(number, signal.SIGTERM)
            lines.read()
        _, waited = os.waitpid(number, 0)
        report = folder / "report"
        found: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
        words_said = (folder / "words").read_text()
    return {"place": place, "started": started, "met": met, "waited": waited} | {
        "words": words_said,
        **found,
    }


def main(rows: list[str]) -> None:
    """Prints the outcomes for each function, that in which nothing failed last."""
    with iavfio.softvf(vfs=1) as pf:
        client(Path(pf.directory) / "vf0.sock")  # what is imported late, is by now
    for function, _, name in (row.partition("=") for row in rows):
        code = getattr(errno, name)
        last = outcome(function, -1, code)
        for place in places(last["calls"], MOST):
            found = outcome(function, place, code)
            print(json.dumps({"function": function, **found}), flush=True)
        print(json.dumps({"function": function, **last}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
