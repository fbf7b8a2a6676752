# SPDX-License-Identifier: BSD-3-Clause
"""Each call of libc in a software PF's life fails once: its start, or one client's session.

Of what is called more than served.MOST times that many calls fail, at a fixed stride.
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


@dataclass(frozen=True)
class Call:
    """A function of libc: its error, and at least how many calls there are.

    `reasons`: words that name the error of a start where the kernel's own do not. `quiet`:
    libraries, and functions of the software PF, in which the call may fail so that no client
    notices: nothing is lost, or it is tried again. `vital`: nothing starts without any of them.
    """

    error: str
    least: int
    reasons: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    vital: bool = False


CALLS = {
    "socket": Call("EMFILE", 3),
    "bind": Call("EACCES", 3),
    "listen": Call("EADDRINUSE", 3),
    "accept": Call("EMFILE", 4, quiet=("_accept", "stop_listening")),  # the client waits
    "eventfd": Call("EMFILE", 1),
    "memfd_create": Call("EMFILE", 2),
    "ftruncate": Call("EFBIG", 2),
    "fcntl": Call("EINVAL", 10, quiet=("is_memory",)),
    "mmap": Call("ENOMEM", 6, quiet=("dma_map",)),  # a window alone is mapped then
    "munmap": Call("ENOMEM", 6, quiet=("_device", "mmap", "libpython3")),
    "open": Call("EMFILE", 1),
    "fstat": Call("EIO", 6),
    "mkdir": Call("ENOSPC", 1),
    "pthread_create": Call("EAGAIN", 1, ("no thread is left",), quiet=("do",)),
    "malloc": Call("ENOMEM", 8, ("no memory",)),
    "realloc": Call("ENOMEM", 4),
    "write": Call("EIO", 1, quiet=("_on_signal", "_device", "_summarise")),
    "sendmsg": Call("EPIPE", 100),
    "recvmsg": Call("ECONNRESET", 100, quiet=("_fill",)),  # of a client that has said all
    "recv": Call("ECONNRESET", 1, quiet=("_end",)),
    "epoll_create": Call("EMFILE", 1),
    "epoll_ctl": Call("ENOSPC", 8, quiet=("forget",)),
    "io_setup": Call("EAGAIN", 1),
    # The driver looks at its queues again, also without an interrupt.
    "io_submit": Call("EAGAIN", 4, quiet=("_device",)),
    "sigaction": Call("EINVAL", 3, vital=True),
}
# How Python itself tells that it could not wake its loop for a signal, which comes all the same.
WAKEUP = "Exception ignored when trying to write to the signal wakeup fd"
pytestmark = [needs_library, pytest.mark.timeout(900)]


def outcomes(function: str, place: Path) -> list[dict[str, Any]]:
    """What served.py prints of a function, that in which nothing failed last."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.nth.served", f"{function}={CALLS[function].error}"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": str(built(place)), "IAVFIO_RUNTIME_DIR": str(place)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# docs/spec/reliability.md F68
@pytest.mark.parametrize("function", CALLS)
def test_a_call_costs_one_client_its_session_or_the_start_its_status(
    function: str, tmp_path: Path
) -> None:
    """What a client held is given back, and it is told why; nobody else notices anything."""
    call = CALLS[function]
    *served, last = outcomes(function, tmp_path)
    assert last["calls"] >= call.least, last
    assert (last["started"], last["status"], last["words"]) == (True, 0, ""), last
    assert (last["met"], last["allocations"]) == (["", "", "", ""], 0), last
    assert any(outcome["reached"] for outcome in served), served
    for outcome in served:
        words: str = outcome["words"]
        assert os.WIFEXITED(outcome["waited"]), outcome
        assert "Traceback" not in words or words.startswith(WAKEUP), outcome
        assert outcome["allocations"] == 0, outcome
        assert outcome["status"] or not call.vital, outcome
        if outcome["status"]:  # it did not start, or could not say that it had, or ended badly
            check_refusal(call, outcome)
            continue
        check_held(function, outcome, last)
        # Its client may have lost its session; all others, and those who come later, none.
        met = [words for words in outcome["met"] if words]
        assert len(met) <= 1, outcome
        assert not any("Traceback" in words for words in met), outcome
        quiet = set(call.quiet) & set(outcome["by"]) or words.startswith(WAKEUP)
        assert met or not outcome["reached"] or quiet, outcome


def check_refusal(call: Call, outcome: dict[str, Any]) -> None:
    """It did not start, or could not say that it had: what could not be done is named, and why."""
    words: str = outcome["words"]
    assert outcome["status"] == 1, outcome
    assert words.startswith("iavfio: "), outcome
    reasons = (os.strerror(getattr(errno, call.error)), *call.reasons)
    assert any(reason in words for reason in reasons), outcome
    assert "uplink" not in words.splitlines()[0] and "[Errno" not in words, outcome


def check_held(function: str, outcome: dict[str, Any], last: dict[str, Any]) -> None:
    """No file and no mapping of a client is left, but one that could not be taken away."""
    held, usual = outcome["held"], last["held"]
    assert held["files"] == usual["files"], outcome
    more = 1 if function == "munmap" and outcome["reached"] else 0
    assert len(usual["mappings"]) <= len(held["mappings"]) <= len(usual["mappings"]) + more, outcome
