# SPDX-License-Identifier: BSD-3-Clause
"""Each call of libc in a life of the driver fails once: files, memory, threads, sockets, disk.

Of what a port does between open and close, in Python and in C, of a capture and of a punt; pyvfio
alone, with each errno, is in tests/pyvfio/test_system_calls.py. Of what is called more than
lives.MOST times that many calls fail, at a fixed stride.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.nth.library import built, needs_library
from tests.nth.lives import MOST
from tests.punt import kernel


@dataclass(frozen=True)
class Call:
    """A function of libc: its error, and at least how many calls a life has.

    `reasons`: words that name the error where the kernel's own do not. `told`: the life may go on,
    and a warning says what does not work: a door for other processes, samples, what could not be
    removed at the close, the device of a lost connection. `quiet`: libraries and functions of
    iavfio in which the call may fail without a word, since nothing is lost, or it is tried again.
    """

    error: str
    least: int
    reasons: tuple[str, ...] = ()
    told: bool = False
    quiet: tuple[str, ...] = ()


RECLAIM = "reclaim"  # what dead ports left is looked for, and removed another time
START = "process_start"  # is for people, and may be unknown
WITHDRAW = "withdraw"  # a door's name goes with that of its segment at the latest
GONE = (" is gone", " hung up")
LIVES: dict[str, dict[str, Call]] = {
    "port": {
        "socket": Call("EMFILE", 2, told=True),
        "bind": Call("EACCES", 1, told=True),
        "listen": Call("EOPNOTSUPP", 1, told=True),
        "connect": Call("ECONNREFUSED", 1, ("nobody listens",)),
        "eventfd": Call("EMFILE", 6),
        "memfd_create": Call("EMFILE", 4),
        "ftruncate": Call("EFBIG", 4, ("RLIMIT_FSIZE",)),
        "posix_fallocate": Call("ENOSPC", 5),
        "mmap": Call("ENOMEM", 6, quiet=(RECLAIM,)),
        "fchmod": Call("EPERM", 1),
        "open": Call("EMFILE", 3, told=True, quiet=(RECLAIM, START)),
        "pthread_create": Call("EAGAIN", 2, ("no thread is left",)),
        "malloc": Call("ENOMEM", 10, ("no memory",), told=True),
        # Of eventfds: the sleeper looks again, also where nobody woke it.
        "read": Call("EIO", 3, quiet=("_driver", START)),
        "write": Call("EIO", 5, quiet=("_driver",)),
        "poll": Call("ENOMEM", 100, quiet=("_driver", "_vfio")),
        "ppoll": Call("ENOMEM", 10, quiet=("_driver",)),
        # Seals and locks; without seals the memory is not shown, without locks nothing is removed.
        "fcntl": Call("ENOLCK", 10, quiet=(RECLAIM, "is_alive")),
        "sendmsg": Call("EPIPE", 100, GONE, told=True, quiet=("close",)),
        "recvmsg": Call("ECONNRESET", 100, GONE, told=True, quiet=("close",)),
        "link": Call("ENOSPC", 1),
        # Python maps a file also where it cannot know its length.
        "fstat": Call("EOVERFLOW", 5, told=True, quiet=("mmap", RECLAIM, START)),
        "madvise": Call("ENOMEM", 4),
        "munmap": Call("ENOMEM", 10, quiet=("mmap", "_driver", "_vfio")),
    },
    "capture": {
        "open": Call("EMFILE", 1, told=True, quiet=(WITHDRAW,)),
        "write": Call("ENOSPC", 3, quiet=("_driver",)),
        "fstat": Call("EOVERFLOW", 1, told=True, quiet=(WITHDRAW,)),
        "pthread_create": Call("EAGAIN", 2, ("no thread is left",)),
        "malloc": Call("ENOMEM", 1),
    },
    "punt": {
        "open": Call("EMFILE", 3, told=True, quiet=(WITHDRAW,)),
        "socket": Call("EMFILE", 1),
        "ioctl": Call("EIO", 2),
        "epoll_create": Call("EMFILE", 1),
        "pthread_create": Call("EAGAIN", 2, ("no thread is left",)),
    },
}
REMOVED = "remove it: iavfio stats --clean"
pytestmark = [needs_library, pytest.mark.timeout(900)]


def outcomes(life: str, function: str, place: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What lives.py prints of a function, that in which nothing failed last; and what the software
    PF objects to."""
    if life == "punt":
        kernel.require()
    error = LIVES[life][function].error
    done = subprocess.run(
        [sys.executable, "-m", "tests.nth.lives", life, f"{function}={error}"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": str(built(place)), "IAVFIO_RUNTIME_DIR": str(place)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lives, objections = map(json.loads, done.stdout.splitlines())
    return lives, objections["violations"]


# docs/spec/reliability.md F68
@pytest.mark.parametrize(
    ("life", "function"), [(life, function) for life, calls in LIVES.items() for function in calls]
)
def test_each_call_fails_once(life: str, function: str, tmp_path: Path) -> None:
    """An error with its reason, or a warning; nothing is left, and the same step works then."""
    call = LIVES[life][function]
    (*lives, last), violations = outcomes(life, function, tmp_path)
    assert violations == []
    assert last["calls"] >= call.least, last
    assert (last["reached"], last["error"], last["surprise"]) == (False, "", ""), last
    assert len(lives) >= min(call.least, MOST // 2), lives
    assert 2 * sum(outcome.get("reached", True) for outcome in lives) >= len(lives), lives
    for outcome in lives:
        check_end(outcome)
        check_left(function, outcome)
        if outcome["reached"]:
            check_words(call, outcome)


def check_end(outcome: dict[str, Any]) -> None:
    """The process lives, the life went on behind its error, and the VF opens again."""
    assert "died" not in outcome, outcome
    assert (outcome["surprise"], outcome["again"]) == ("", ""), outcome


def check_left(function: str, outcome: dict[str, Any]) -> None:
    """No file, mapping, allocation or thread is left, and no segment but one that is named."""
    left = dict(outcome["left"])
    if function == "munmap" and "mappings" in left:
        before, after = left.pop("mappings")
        assert len(after) == len(before) + 1, outcome  # the one that could not be taken away
    if any(REMOVED in line for line in outcome["told"]):
        del left["segments"]
    assert left == {}, outcome


def check_words(call: Call, outcome: dict[str, Any]) -> None:
    """The real reason is named, or nothing is lost."""
    reasons = {os.strerror(getattr(errno, call.error)), *call.reasons}
    lines = outcome["told"] if call.told else []
    if outcome["error"] or any(reason in line for line in lines for reason in reasons):
        assert any(reason in line for line in [outcome["error"], *lines] for reason in reasons), (
            outcome
        )
    else:
        assert set(call.quiet) & set(outcome["by"]), outcome
