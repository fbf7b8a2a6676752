# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify` as a program: over sockets, and over VFIO calls that preload answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iavfio.softvf import softvf
from tests.sanitizer import no_preload

QUICK = ["--soak", "0.5", "--skip", "throughput,latency,interrupts", "--json"]
SECONDS = 120


def ends(words: list[str], cwd: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert Path(cwd, results["bundle"]).exists()
    return {check["check"]: check["status"] for check in results["checks"]}


@pytest.mark.parametrize("card", ["e810", "x710"])
def test_a_private_software_pf(card: str, tmp_path: Path) -> None:
    found = ends(["qualify", "softvf", "softvf", "--personality", card, *QUICK], tmp_path)
    assert {name for name, end in found.items() if end != "passed"} == {"host", "unbind"}


@no_preload
def test_under_preload_the_host_is_looked_at_too(tmp_path: Path) -> None:
    with softvf(vfs=2, uplink="none") as pf:
        words = ["preload", *pf.sockets, "--", sys.executable, "-m", "iavfio.cli"]
        words += ["qualify", "0000:b0:00.0", "0000:b0:01.0", *QUICK]
        found = ends(words, tmp_path)
    assert {name for name, end in found.items() if end != "passed"} == {"unbind"}
