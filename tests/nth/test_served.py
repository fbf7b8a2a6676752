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
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.nth.library import built, needs_library

CALLS = {  # a function of libc: its error, and at least how many calls
    "socket": ("EMFILE", 3),
    "bind": ("EACCES", 3),
    "listen": ("EADDRINUSE", 3),
    "accept": ("EMFILE", 4),
    "eventfd": ("EMFILE", 1),
    "memfd_create": ("EMFILE", 2),
    "ftruncate": ("EFBIG", 2),
    "fcntl": ("EINVAL", 10),
    "mmap": ("ENOMEM", 6),
    "munmap": ("ENOMEM", 6),
    "open": ("EMFILE", 1),
    "fstat": ("EIO", 6),
    "mkdir": ("ENOSPC", 1),
    "pthread_create": ("EAGAIN", 1),
    "malloc": ("ENOMEM", 8),
    "realloc": ("ENOMEM", 4),
    "write": ("EIO", 1),
    "sendmsg": ("EPIPE", 100),
    "recvmsg": ("ECONNRESET", 100),
    "recv": ("ECONNRESET", 1),
    "epoll_create": ("EMFILE", 1),
    "epoll_ctl": ("ENOSPC", 8),
    "io_setup": ("EAGAIN", 1),
    "io_submit": ("EAGAIN", 4),
    "sigaction": ("EINVAL", 3),
}
# How Python itself tells that it could not wake its loop for a signal, which comes all the same.
WAKEUP = "Exception ignored when trying to write to the signal wakeup fd"
pytestmark = [needs_library, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By function what served.py printed."""
    place = tmp_path_factory.mktemp("nth")
    done = subprocess.run(
        [sys.executable, "-m", "tests.nth.served", *(f"{f}={e}" for f, (e, _) in CALLS.items())],
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
    return found


# docs/spec/reliability.md F68
@pytest.mark.parametrize("function", CALLS)
def test_a_call_costs_one_client_its_session_or_the_start_its_status(
    function: str, outcomes: dict[str, list[dict[str, Any]]]
) -> None:
    name, least = CALLS[function]
    *served, last = outcomes[function]
    assert last["calls"] >= least, last
    assert (last["started"], last["status"], last["words"]) == (True, 0, ""), last
    assert last["met"] == ["", "", "", ""], last
    for outcome in served:
        words: str = outcome["words"]
        assert os.WIFEXITED(outcome["waited"]), outcome
        assert "Traceback" not in words or words.startswith(WAKEUP), outcome
        if outcome["status"]:  # it did not start, or could not say that it had, or ended badly
            assert outcome["status"] == 1, outcome
            assert words.startswith("iavfio: "), outcome
            assert (
                os.strerror(getattr(errno, name)) in words
                or "no memory" in words
                or ("no thread is left" in words)
            ), outcome
            assert "uplink" not in words.splitlines()[0], outcome
        else:
            # Its client may have lost its session; all others, and those who come later, none.
            assert sum(map(bool, outcome["met"])) <= 1, outcome
            assert not any("Traceback" in met for met in outcome["met"]), outcome
