# SPDX-License-Identifier: BSD-3-Clause
"""Lives in which one call of libc fails; a program with tests/c/nth_call.c preloaded.

    python -m tests.nth.lives LIFE FUNCTION=ERRNO...

A first life counts the calls of FUNCTION; then one line of JSON is printed for each life in which
one of them fails: its outcome. A step that fails for it is taken once more, in the same port. Where
there are more than MOST calls, that many are taken at a fixed stride. Each life is a child's.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import json
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeVar

import iavfio
from iavfio.capture.capture import Capture
from iavfio.errors import DeviceLost, IavfioError
from iavfio.port.port import Port
from iavfio.punt.punt import Punt

MOST = 10
ATTEMPTS = 3  # at a life in which the call comes that is to fail
MEMORY = ("/memfd:", os.environ.get("IAVFIO_RUNTIME_DIR", "/memfd:"))  # files that a port maps
Arm = Callable[[], None]
T = TypeVar("T")


class Steps:
    """The steps of a life. One that raises an error is taken again: nothing may be left of it."""

    def __init__(self) -> None:
        self.error = ""  # the first one, in words: what it would hold beside them is to go

    def take(self, step: Callable[[], T], again: Callable[[], T] | None = None) -> T:
        """What a step gives, at the second time where a call failed in the first.

        `again` is what its user does then, if it is something else. A device that is gone stays so.
        """
        try:
            return step()
        except DeviceLost:
            raise
        except IavfioError as error:
            if self.error:
                raise
            self.error = str(error)
        return (again or step)()


def opened(vf: str) -> Port:
    """A port that is not started."""
    return iavfio.open(vf, pool=iavfio.Pool(buffers=1024, huge="never"))


def sent(port: Port, count: int = 4) -> None:
    """Sends packets that come back."""
    frame = port.mac + port.mac + bytes.fromhex("88b5") + bytes(50)
    with port.tx[0].build([frame] * count) as burst:
        port.tx[0].send(burst)


def port_life(vf: str, arm: Arm, steps: Steps) -> None:
    """Opens, configures, starts, moves packets, asks the PF, resets, stops and closes."""
    arm()
    with steps.take(lambda: opened(vf)) as port:
        steps.take(lambda: port.configure(queues=2, ring=64))
        steps.take(lambda: port.start(wait_link=5))
        sent(port)
        arrived, end = 0, time.monotonic() + 20
        while arrived < 4 and time.monotonic() < end:
            for queue in port.rx:
                with queue.recv(timeout=0.05) as burst:
                    arrived += len(burst)
        assert arrived == 4, arrived
        steps.take(port.refresh_stats)
        str(port.stats)
        steps.take(port.reset, port.recover)
        steps.take(port.stop)


def capture_life(vf: str, arm: Arm, steps: Steps) -> None:
    """Captures four packets into a file of its own."""
    path = Path(tempfile.gettempdir()) / f"nth-{os.getpid()}.pcapng"

    def captured() -> None:
        sent(port)
        done = Capture(port, str(path), limit=4).run(duration=20)
        if done.error is not None:
            raise done.error
        assert done.ended_by == "count", done

    with ExitStack() as stack:
        port = stack.enter_context(opened(vf))
        stack.callback(path.unlink, missing_ok=True)
        port.configure(queues=1, ring=64)
        port.start(wait_link=5)
        arm()
        steps.take(captured)


def punt_life(vf: str, arm: Arm, steps: Steps) -> None:
    """Hands a port's packets to the kernel for a moment."""

    def punted() -> None:
        with Punt(port, f"nth{os.getpid()}") as punt:
            sent(port)
            done = punt.run(duration=0.1)
        if done.error is not None:
            raise done.error

    with opened(vf) as port:
        port.configure(queues=1, ring=64)
        port.start(wait_link=5)
        arm()
        steps.take(punted)


LIVES: dict[str, Callable[[str, Arm, Steps], None]] = {
    "port": port_life,
    "capture": capture_life,
    "punt": punt_life,
}


def held(nth: ctypes.CDLL) -> dict[str, Any]:
    """What a life must leave as it found it."""
    gc.collect()
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line.split(maxsplit=5)[5] for line in maps if "/" in line and ".so" not in line]
    return {
        "files": sorted(str(link.readlink()) for link in links),
        "mappings": sorted(path for path in mapped if path.startswith(MEMORY)),
        "allocations": nth.nth_held(),
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


def functions(stack: IO[bytes]) -> list[str]:
    """The functions of iavfio in a stack that faulthandler wrote, innermost first."""
    stack.seek(0)
    return re.findall(r'/iavfio/.*" *, line \d+ in (\S+)', stack.read().decode())


def child(
    life: str, vf: str, function: str, place: int, code: int, stack: IO[bytes]
) -> dict[str, Any]:
    """The outcome of a life in which the call fails that `place` others come before; -1: none.

    `stack` gets that of Python where the call fails.
    """
    nth = ctypes.CDLL(os.environ["LD_PRELOAD"])
    nth.nth_calls.restype = nth.nth_held.restype = ctypes.c_long
    nth.nth_by.restype = ctypes.c_char_p
    told = Told()
    logging.getLogger("iavfio").addHandler(told)
    faulthandler.register(signal.SIGUSR2, stack, all_threads=False)
    nth.nth_watch()
    before = held(nth)
    steps, surprise, again = Steps(), "", ""
    try:
        LIVES[life](vf, lambda: nth.nth_arm(function.encode(), ctypes.c_long(place), code), steps)
    except DeviceLost as error:
        steps.error = steps.error or str(error)
    except BaseException:
        surprise = traceback.format_exc()
    reached, calls = bool(nth.nth_disarm()), nth.nth_calls()
    after = held(nth)
    left = {key: (before[key], value) for key, value in after.items() if value != before[key]}
    if reached:
        try:
            iavfio.open(vf).close()
        except BaseException:
            again = traceback.format_exc()
    return {
        "place": place,
        "reached": reached,
        "calls": calls,
        "by": [Path(nth.nth_by().decode()).name.split(".")[0], *functions(stack)],
        "left": left,
        "told": told.lines,
        "error": steps.error,
        "surprise": surprise,
        "again": again,
    }


def outcome(life: str, vf: str, function: str, place: int, code: int) -> dict[str, Any]:
    """The same, in a child of its own."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(read)
        with os.fdopen(write, "w") as out, tempfile.TemporaryFile() as stack:
            out.write(json.dumps(child(life, vf, function, place, code, stack)))
            out.flush()
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        line = lines.read()
    _, status = os.waitpid(number, 0)
    return json.loads(line) if line else {"place": place, "died": status}


def hit(life: str, vf: str, function: str, place: int, code: int) -> dict[str, Any]:
    """The same, of one in which the call came that was to fail: not each has as many of them."""
    for _ in range(ATTEMPTS):
        found = outcome(life, vf, function, place, code)
        if found.get("reached") or "died" in found:
            break
    return found


def places(calls: int, most: int = MOST) -> Iterator[int]:
    """All places, or `most` at a fixed stride."""
    yield from range(0, calls, max(1, -(-calls // most)))


def main(life: str, rows: list[str]) -> None:
    """Prints the outcomes for each function, and what the software PF objects to."""
    with iavfio.softvf(vfs=1) as pf:
        vf = f"vfio-user:{pf.directory}/vf0.sock"
        LIVES[life](vf, lambda: None, Steps())  # what is imported late, is by now
        for function, _, name in (row.partition("=") for row in rows):
            code = getattr(errno, name)
            last = outcome(life, vf, function, -1, code)
            for place in places(last["calls"]):
                found = hit(life, vf, function, place, code)
                print(json.dumps({"function": function, **found}), flush=True)
            print(json.dumps({"function": function, **last}), flush=True)
        violations = [str(each) for each in pf.violations()]
        print(json.dumps({"function": "", "violations": violations}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
