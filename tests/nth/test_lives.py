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
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.nth.library import built, needs_library
from tests.nth.lives import MOST
from tests.punt import kernel

MANY = 1000


@dataclass(frozen=True)
class Call:
    """A function of libc: its error, and at least how many calls a life has.

    `told`: the life may go on, and a warning says what does not work: a door for other processes,
    samples, what could not be removed at the close, the device of a lost connection. `quiet`: how
    many lives may say nothing, since nothing of them is lost, or it is tried again.
    """

    error: str
    least: int
    told: bool = False
    quiet: int = 0


LIVES: dict[str, dict[str, Call]] = {
    "port": {
        "socket": Call("EMFILE", 2, told=True),
        "bind": Call("EACCES", 1, told=True),
        "listen": Call("EOPNOTSUPP", 1, told=True),
        "connect": Call("ECONNREFUSED", 1),
        "eventfd": Call("EMFILE", 6),
        "memfd_create": Call("EMFILE", 4),
        "ftruncate": Call("EFBIG", 4),
        "posix_fallocate": Call("ENOSPC", 5),
        "mmap": Call("ENOMEM", 6, quiet=1),
        "fchmod": Call("EPERM", 1),
        # What dead ports left is looked for, and removed another time.
        "open": Call("EMFILE", 3, told=True, quiet=5),
        "pthread_create": Call("EAGAIN", 2),
        "malloc": Call("ENOMEM", 10, told=True),
        # Of eventfds: the sleeper looks again, also where nobody woke it.
        "read": Call("EIO", 3, quiet=MANY),
        "write": Call("EIO", 5, quiet=MANY),
        "poll": Call("ENOMEM", 100, quiet=MANY),
        "ppoll": Call("ENOMEM", 10, quiet=MANY),
        # Seals and locks; without seals the memory is not shown, without locks nothing is removed.
        "fcntl": Call("ENOLCK", 10, quiet=MANY),
        "sendmsg": Call("EPIPE", 100, told=True, quiet=2),
        "recvmsg": Call("ECONNRESET", 100, told=True, quiet=2),
        "link": Call("ENOSPC", 1),
        # Most are Python's own, which goes on without.
        "fstat": Call("EOVERFLOW", 5, told=True, quiet=MANY),
        "madvise": Call("ENOMEM", 4),
        "munmap": Call("ENOMEM", 10, quiet=MANY),
    },
    "capture": {
        "open": Call("EMFILE", 1, told=True, quiet=5),
        "write": Call("ENOSPC", 3, quiet=MANY),
        "fstat": Call("EOVERFLOW", 1, told=True, quiet=5),
        "pthread_create": Call("EAGAIN", 2),
        "malloc": Call("ENOMEM", 1),
    },
    "punt": {
        "open": Call("EMFILE", 3, told=True, quiet=5),
        "socket": Call("EMFILE", 1),
        "ioctl": Call("EIO", 2),
        "epoll_create": Call("EMFILE", 1),
        "pthread_create": Call("EAGAIN", 2),
    },
}
REMOVED = "remove it: iavfio stats --clean"
GONE = " is gone"
pytestmark = [needs_library, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=LIVES)
def life(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """A life's name, and by function what lives.py printed; "": what the software PF objects to."""
    name: str = request.param
    if name == "punt":
        kernel.require()
    place = tmp_path_factory.mktemp("nth")
    rows = [f"{function}={call.error}" for function, call in LIVES[name].items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.nth.lives", name, *rows],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": str(built(place)), "IAVFIO_RUNTIME_DIR": str(place)},
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = defaultdict[str, list[dict[str, Any]]](list)
    for line in done.stdout.splitlines():
        outcome = json.loads(line)
        found[outcome["function"]].append(outcome)
    return name, found


# docs/spec/reliability.md F68
def test_each_call_fails_once(life: tuple[str, dict[str, list[dict[str, Any]]]]) -> None:
    """An error with reason and remedy, or a warning; nothing is left; the VF opens again."""
    name, outcomes = life
    for function, call in LIVES[name].items():
        *lives, last = outcomes[function]
        assert last["calls"] >= call.least, last
        assert (last["reached"], last["error"], last["surprise"]) == (False, "", ""), last
        assert len(lives) >= min(call.least, MOST // 2), lives
        quiet = 0
        for outcome in lives:
            quiet += is_quiet(function, call, outcome)
        assert quiet <= call.quiet, lives


def is_quiet(function: str, call: Call, outcome: dict[str, Any]) -> bool:
    """Whether a life says nothing of the call that failed; asserts that what it says is clear."""
    assert "died" not in outcome, outcome
    assert (outcome["surprise"], outcome["again"]) == ("", ""), outcome
    assert not outcome["left"] or any(REMOVED in line for line in outcome["told"]), outcome
    reason = os.strerror(getattr(errno, call.error))
    if outcome["error"]:
        assert outcome["remedy"] or reason in outcome["error"] or GONE in outcome["error"], outcome
        return False
    if any(reason in line or GONE in line for line in outcome["told"]):
        assert call.told, outcome
        return False
    return True


def test_the_software_pf_has_nothing_to_object(
    life: tuple[str, dict[str, list[dict[str, Any]]]],
) -> None:
    assert life[1][""] == [{"function": "", "violations": []}]
