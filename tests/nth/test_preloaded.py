# SPDX-License-Identifier: BSD-3-Clause
"""Each call of the preload library fails once: the program gets an errno, and goes on living.

Of what is called more than preloaded.MOST times that many calls fail, at a fixed stride.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.preload import prepare
from tests.nth.library import built, needs_library

# What a program gets whose connection ends: at its start, later, and while it closes its files.
LOST = frozenset({"EBUSY", "EIO", ""})
# A function of libc: its error, at least how many calls a life has, and what the program may get;
# "": nothing, since the library does without.
CALLS: dict[str, tuple[str, int, frozenset[str]]] = {
    "socket": ("EMFILE", 1, frozenset({"ENODEV"})),
    "connect": ("ECONNREFUSED", 1, frozenset({"ENODEV"})),
    "open": ("EMFILE", 5, frozenset({"EMFILE", ""})),
    "mmap": ("ENOMEM", 3, frozenset({"ENOMEM"})),
    "munmap": ("ENOMEM", 3, frozenset({""})),
    "memfd_create": ("EMFILE", 1, frozenset({"EMFILE"})),
    "ftruncate": ("EFBIG", 1, frozenset({"EFBIG"})),
    "fcntl": ("EINVAL", 3, frozenset({"EINVAL", ""})),
    "fstat": ("EIO", 5, frozenset({""})),
    "read": ("EIO", 5, frozenset({"EIO"})),
    "poll": ("ENOMEM", 3, frozenset({""})),
    "sendmsg": ("EPIPE", 10, LOST),
    "recvmsg": ("ECONNRESET", 10, LOST),
    "malloc": ("ENOMEM", 5, frozenset({"ENOMEM"})),
    "realloc": ("ENOMEM", 3, frozenset({"ENOMEM"})),
    "mprotect": ("ENOMEM", 1, frozenset({"ENOMEM"})),
    "madvise": ("EINVAL", 1, frozenset({""})),
    "pread": ("EIO", 1, frozenset({""})),
    "pwrite": ("ENOSPC", 1, frozenset({"ENOSPC"})),
}
STARTS = {  # each the first call
    "open": errno.EMFILE,
    "malloc": errno.ENOMEM,
    "read": errno.EIO,
    "sigaction": errno.EINVAL,
}
pytestmark = needs_library


def outcomes(function: str, place: Path) -> list[dict[str, Any]]:
    """What preloaded.py prints of a function, that in which nothing failed last."""
    library = built(place)
    with iavfio.softvf(vfs=1, uplink="none") as pf, prepare(pf.sockets) as preload:
        env = preload.environment()
        # Behind the preload library, whose own calls it sees, and the program's only by number.
        env["LD_PRELOAD"] += f":{library}"
        row = f"{function}={CALLS[function][0]}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.nth.preloaded", str(library), row],
            cwd=Path(__file__).parents[2],
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# docs/spec/reliability.md F68
@pytest.mark.parametrize("function", CALLS)
def test_a_call_that_fails_is_an_errno_of_the_program(function: str, tmp_path: Path) -> None:
    """Nothing ends it, no memory of its own is lost, nothing is left, and the same works then."""
    _, least, may = CALLS[function]
    *lives, last = outcomes(function, tmp_path)
    assert last["calls"] >= least, last
    assert (last["got"], last["surprise"]) == ("", ""), last
    reached = [outcome for outcome in lives if outcome.get("reached", True)]
    assert 2 * len(reached) >= len(lives), lives
    for outcome in lives:
        assert "died" not in outcome, (outcome, os.WTERMSIG(outcome["died"]))
        assert (outcome["surprise"], outcome["again"]) == ("", ""), outcome
        left = {"mappings"} if function == "munmap" else set()
        assert set(outcome["left"]) == (left if outcome["reached"] else set()), outcome
    got = {outcome["got"] for outcome in reached}
    assert got <= may and bool(got - {""}) == bool(may - {""}), lives


# docs/spec/reliability.md F68
@pytest.mark.parametrize("function", STARTS)
def test_a_start_that_fails_is_told_and_the_program_runs(function: str, tmp_path: Path) -> None:
    """It sees no software VF then."""
    report = tmp_path / "calls"
    with iavfio.softvf(vfs=1, uplink="none") as pf, prepare(pf.sockets) as preload:
        env = preload.environment()
        env["LD_PRELOAD"] += f":{built(tmp_path)}"
        env["NTH_CALL"] = f"{function}:0:{STARTS[function]}:libiavfio_preload"
        env["NTH_REPORT"] = str(report)
        done = subprocess.run(
            ["ls", "/sys/bus/pci/devices"], env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (0, 2), done  # 2: this host has no PCI at all
        assert "this process sees no software VF" in done.stderr
        assert preload.bdfs[0] not in done.stdout
    assert int(report.read_text()) >= 1
