# SPDX-License-Identifier: BSD-3-Clause
"""The life of a port in which one call of libc fails; a program with tests/c/nth_call.c preloaded.

    nth_call.py FUNCTION=ERRNO...

Prints one line of JSON for each call of FUNCTION in a port's life: the outcome of the life in which
that one fails, and at last of one in which none did. Each life is a forked child's.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import iavfio
from iavfio.errors import IavfioError


def life(vf: str) -> None:
    """Opens, configures, starts, moves packets, asks the PF, resets, stops and closes."""
    with iavfio.open(vf, pool=iavfio.Pool(buffers=1024, huge="never")) as port:
        port.configure(queues=2, ring=64)
        port.start(wait_link=5)
        frame = port.mac + port.mac + bytes.fromhex("88b5") + bytes(50)
        with port.tx[0].build([frame] * 4) as burst:
            port.tx[0].send(burst)
        arrived, end = 0, time.monotonic() + 20
        while arrived < 4 and time.monotonic() < end:
            for queue in port.rx:
                with queue.recv(timeout=0.05) as burst:
                    arrived += len(burst)
        assert arrived == 4, arrived
        port.refresh_stats()
        str(port.stats)
        port.reset()
        port.stop()


def held() -> dict[str, Any]:
    """What a life must leave as it found it."""
    gc.collect()
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return {
        "files": sorted(str(link.readlink()) for link in links),
        "threads": threading.active_count(),
        "segments": sorted(
            str(path) for path in Path(os.environ["IAVFIO_RUNTIME_DIR"]).rglob("*.*")
        ),
    }


class Told(logging.Handler):
    """Keeps the warnings that iavfio logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def child(vf: str, function: str, place: int, code: int) -> dict[str, Any]:
    """The outcome of a life in which the call fails that `place` others come before."""
    nth = ctypes.CDLL(os.environ["LD_PRELOAD"])
    told = Told()
    logging.getLogger("iavfio").addHandler(told)
    before = held()
    result = dict.fromkeys(("error", "remedy", "surprise", "again"), "")
    nth.nth_arm(function.encode(), ctypes.c_long(place), code)
    try:
        life(vf)
    except IavfioError as error:
        result["error"], result["remedy"] = str(error), error.remedy
    except BaseException:
        result["surprise"] = traceback.format_exc()
    reached = bool(nth.nth_disarm())
    after = held()
    left = {key: value for key, value in after.items() if value != before[key]}
    if reached:
        try:
            iavfio.open(vf).close()
        except BaseException:
            result["again"] = traceback.format_exc()
    return {"place": place, "reached": reached, "left": left, "told": told.lines, **result}


def outcome(vf: str, function: str, place: int, code: int) -> dict[str, Any]:
    """The same, in a child of its own."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(read)
        with os.fdopen(write, "w") as out:
            out.write(json.dumps(child(vf, function, place, code)))
            out.flush()
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        line = lines.read()
    _, status = os.waitpid(number, 0)
    return json.loads(line) if line else {"reached": True, "died": status}


def main(rows: list[str]) -> None:
    """Prints the outcomes of each function until a life has no call of it left to fail."""
    with iavfio.softvf(vfs=1) as pf:
        vf = f"vfio-user:{pf.directory}/vf0.sock"
        life(vf)  # what is imported late, is by now
        for function, _, name in (row.partition("=") for row in rows):
            for place in range(1000):
                found = outcome(vf, function, place, getattr(errno, name))
                print(json.dumps({"function": function, **found}), flush=True)
                if not found["reached"]:
                    break
        violations = [str(each) for each in pf.violations()]
        print(json.dumps({"function": "", "violations": violations}))


if __name__ == "__main__":
    main(sys.argv[1:])
