# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify` on VFs whose PF nobody here wrote: Linux's own i40e or ice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import iavfio
from iavfio.qualify.bundle import Bundle
from iavfio.qualify.checks import NAMES
from tests.judge.conftest import LIVE, live_pf

MEASURED = "throughput,latency,interrupts"  # and told as figures, of a PF that has another's CPU


@pytest.mark.parametrize("name", LIVE)
def test_every_check_passes_on_a_pf_of_linux(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    with iavfio.softvf(vfs=2, uplink="none", **live_pf(name)) as pf:
        command = [sys.executable, "-m", "iavfio.cli", "qualify", *pf.sockets, "-o", str(path)]
        done = subprocess.run(
            [*command, "--soak", "0.5", "--skip", MEASURED],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {outcome.check: outcome.status for outcome in Bundle.read(path).outcomes}
    assert set(found) == set(NAMES) - set(MEASURED.split(","))
    unlike = {check for check, status in found.items() if status != "passed"}
    assert unlike == {"host", "unbind"}  # they need a VF of this host's kernel
