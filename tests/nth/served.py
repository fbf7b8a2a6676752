# SPDX-License-Identifier: BSD-3-Clause
"""Software PFs in which one call of libc fails; a program with tests/c/nth_call.c preloaded.

    python -m tests.nth.served FUNCTION=ERRNO...

Each is a forked child, in which FUNCTION is counted from the start to the end. Its two clients live
in this process, where nothing fails. One line of JSON is printed for each software PF: how it
started and ended, and what its clients met with. The first counts the calls; of more than FEW of
them MOST fail, at a fixed stride.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import iavfio
from iavfio.errors import IavfioError
from iavfio.softvf.__main__ import main as softvf
from tests.nth.lives import functions, opened, places
from tests.port.rig import collect, send_all

MOST, FEW = 3, 12  # of FEW calls or less each fails
ENDING = 60  # seconds


def serve(folder: Path, function: str, place: int, code: int) -> None:
    """The child: a software PF of two VFs; its report is a file."""
    nth = ctypes.CDLL(os.environ["LD_PRELOAD"])
    nth.nth_calls.restype = nth.nth_held.restype = ctypes.c_long
    nth.nth_by.restype = ctypes.c_char_p
    status = 70
    with (folder / "stack").open("w+b") as stack:
        faulthandler.register(signal.SIGUSR2, stack, all_threads=False)
        nth.nth_watch()
        try:
            nth.nth_arm(function.encode(), ctypes.c_long(place), code)
            status = softvf(["--vfs", "2", "--socket", str(folder / "pf")])
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            reached = bool(nth.nth_disarm())
            gc.collect()
            report = {
                "status": status,
                "reached": reached,
                "calls": nth.nth_calls(),
                "by": [Path(nth.nth_by().decode()).name.split(".")[0], *functions(stack)],
                "allocations": nth.nth_held(),
            }
            (folder / "report").write_text(json.dumps(report))
            os._exit(status)


def held(process: int, usual: dict[str, Any] | None) -> dict[str, Any]:
    """What a software PF holds whose clients have gone: as soon as that is as usual, or the same in
    two looks one after the other where nothing is usual yet; what it is after 10 s, at last.
    """
    end, before = time.monotonic() + 10, usual
    while True:
        now = holds(Path(f"/proc/{process}"))
        if now == before or time.monotonic() > end:
            return now
        if usual is None:
            before = now
        time.sleep(0.1)


def holds(process: Path) -> dict[str, Any]:
    """The files that a process has open, by kind, and those that it maps."""
    maps = [line.split(maxsplit=5) for line in (process / "maps").read_text().splitlines()]
    files = []
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            files.append(str(link.readlink()))
    return {
        "files": sorted(re.sub(r"\[\d+\]|tmp/\w+", "", each) for each in files),
        "mappings": sorted(each[5] for each in maps if len(each) > 5 and "/memfd:" in each[5]),
    }


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


def outcome(
    function: str, place: int, code: int, usual: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What became of one software PF and its clients; `usual`: what it holds without a client."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read, write = os.pipe()
        gc.collect()  # a child has what its parent holds
        number = os.fork()
        if number == 0:
            os.close(read)
            os.dup2(write, 1)
            words = os.open(folder / "words", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(words, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            serve(folder, function, place, code)
        os.close(write)
        found: dict[str, Any] = {"place": place, "met": [], "held": {}}
        with os.fdopen(read) as lines:
            found["started"] = any(line == "ready\n" for line in lines)
            if found["started"]:
                # The call that fails may be of the first client, the neighbour, or nobody; both
                # come again.
                vfs = [folder / "pf" / f"vf{vf}.sock" for vf in (0, 1)]
                found["met"] = [client(vf) for vf in [*vfs, *vfs]]
                found["held"] = held(number, usual)
                os.kill(number, signal.SIGTERM)
            found["waited"] = ended(number)
        report = folder / "report"
        found |= json.loads(report.read_text()) if report.exists() else {}
        found["words"] = (folder / "words").read_text()
    return found


def ended(number: int) -> int:
    """The status of a child that ends; one that does not within ENDING seconds is killed."""
    end = time.monotonic() + ENDING
    while time.monotonic() < end:
        child, status = os.waitpid(number, os.WNOHANG)
        if child:
            return status
        time.sleep(0.02)
    os.kill(number, signal.SIGKILL)
    return os.waitpid(number, 0)[1]


def main(rows: list[str]) -> None:
    """Prints the outcomes for each function, that in which nothing failed last."""
    with iavfio.softvf(vfs=1) as pf:
        client(Path(pf.directory) / "vf0.sock")  # what is imported late, is by now
    for function, _, name in (row.partition("=") for row in rows):
        code = getattr(errno, name)
        last = outcome(function, -1, code)
        for place in places(last["calls"], FEW if last["calls"] <= FEW else MOST):
            found = outcome(function, place, code, last["held"])
            print(json.dumps({"function": function, **found}), flush=True)
        print(json.dumps({"function": function, **last}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
