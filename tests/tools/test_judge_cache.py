# SPDX-License-Identifier: BSD-3-Clause
"""Builds of judges outlive the change of a file: another checkout may need the older one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from iavfio.linuxpf.build import JUDGES, KEPT_SECONDS, prune


def test_only_what_nobody_has_used_lately_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path))
    ages = {"i40e-6.12-new": 0, "i40e-6.12-used": 5, "i40e-6.12-old": 400, "ice-6.12-old": 400}
    for name, days in ages.items():
        path = tmp_path / f"judge-{name}"
        path.touch()
        then = time.time() - days * 86400
        os.utime(path, (then, then))
    assert KEPT_SECONDS == 14 * 86400
    prune(next(judge for judge in JUDGES if judge.name == "i40e-6.12"))
    left = {path.name.removeprefix("judge-") for path in tmp_path.iterdir()}
    assert left == {"i40e-6.12-new", "i40e-6.12-used", "ice-6.12-old"}
