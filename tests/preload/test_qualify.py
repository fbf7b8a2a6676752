# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify` under `iavfio preload`: the checks through the kernel's group and container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import iavfio
from iavfio.preload import prepare
from iavfio.qualify.bundle import Bundle
from iavfio.qualify.checks import NAMES

pytestmark = pytest.mark.skipif(
    "IAVFIO_SANITIZER" in os.environ, reason="the sanitizer's own preloaded library must come first"
)


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_every_check_passes_through_group_and_container(personality: str, tmp_path: Path) -> None:
    """The made-up sysfs can take no VF away from a program: that check says so."""
    path = tmp_path / "bundle.tar"
    with (
        iavfio.softvf(vfs=2, uplink="none", personality=personality) as pf,
        prepare(pf.sockets) as preload,
    ):
        command = [sys.executable, "-m", "iavfio.cli", "qualify", *preload.bdfs]
        done = subprocess.run(
            [*command, "--soak", "0.5", "-o", str(path)],
            env=preload.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = Bundle.read(path).outcomes
    assert tuple(outcome.check for outcome in outcomes) == NAMES
    unlike = {o.check: (o.status, o.reason) for o in outcomes if o.status != "passed"}
    assert list(unlike) == ["unbind"], unlike
    status, reason = unlike["unbind"]
    assert status == "not run" and "sudo iavfio qualify" in reason
