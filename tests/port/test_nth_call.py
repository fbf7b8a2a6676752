# SPDX-License-Identifier: BSD-3-Clause
"""Each call of libc in a port's life fails once: files, memory, threads, sockets, disk.

Of what the port itself does between open and close, in Python and in C; pyvfio alone, with each
errno, is in tests/pyvfio/test_system_calls.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

CALLS = {  # a function of libc: its error, and at least how many calls a life has
    "socket": ("EMFILE", 2),
    "bind": ("EACCES", 1),
    "listen": ("EOPNOTSUPP", 1),
    "connect": ("ECONNREFUSED", 1),
    "eventfd": ("EMFILE", 6),
    "memfd_create": ("EMFILE", 4),
    "ftruncate": ("EFBIG", 4),
    "posix_fallocate": ("ENOSPC", 5),
    "mmap": ("ENOMEM", 6),
    "fchmod": ("EPERM", 1),
    "open": ("EMFILE", 3),
    "pthread_create": ("EAGAIN", 2),
    "malloc": ("ENOMEM", 10),
}
# The port works all the same, and a warning says what does not: its door for other processes, its
# samples, or what it could not remove at its close.
TOLD = {"socket", "bind", "listen", "open", "malloc"}
# Lives that say nothing: what dead ports left is looked for, and removed another time.
REMOVED = "remove it: iavfio stats --clean"
QUIET = {"mmap": 1, "open": 5}
pytestmark = pytest.mark.skipif(
    "IAVFIO_SANITIZER" in os.environ or not shutil.which("cc"),
    reason="needs a compiler, and the first place among preloaded libraries",
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By function what nth_call.py printed; of "" what the software PF objects to."""
    place = tmp_path_factory.mktemp("nth")
    library = place / "nth_call.so"
    source = Path(__file__).parents[1] / "c" / "nth_call.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    rows = [f"{function}={name}" for function, (name, _) in CALLS.items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.port.nth_call", *rows],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": str(library), "IAVFIO_RUNTIME_DIR": str(place)},
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
def test_each_call_in_the_life_of_a_port_fails_once(
    function: str, outcomes: dict[str, list[dict[str, Any]]]
) -> None:
    """An error with reason and remedy, or a warning; nothing is left; the VF opens again."""
    name, least = CALLS[function]
    *lives, last = outcomes[function]
    assert len(lives) >= least
    assert (last["reached"], last["error"], last["surprise"]) == (False, "", "")
    reason = os.strerror(getattr(errno, name))
    quiet = 0
    for outcome in lives:
        assert "died" not in outcome, outcome
        assert (outcome["surprise"], outcome["again"]) == ("", ""), outcome
        assert not outcome["left"] or any(REMOVED in line for line in outcome["told"]), outcome
        if outcome["error"]:
            assert outcome["remedy"], outcome
        elif any(reason in line for line in outcome["told"]):
            assert function in TOLD, outcome
        else:
            quiet += 1
    assert quiet <= QUIET.get(function, 0), lives


def test_the_software_pf_has_nothing_to_object(
    outcomes: dict[str, list[dict[str, Any]]],
) -> None:
    assert outcomes[""] == [{"function": "", "violations": []}]
