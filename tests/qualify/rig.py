# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of checks share: one check run alone, and faults of the receiving VF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iavfio.qualify.checks import CHECKS
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.run import qualify
from iavfio.qualify.vfs import Vfs
from iavfio.softvf.launch import SoftPf

CARDS = ("e810", "x710")
FAST: dict[str, Any] = {"reset_ms": 1, "notice_lead_ms": 0}


def run(vfs: Vfs, name: str) -> Outcome:
    (outcome,) = qualify(vfs, [check for check in CHECKS if check.name == name])
    assert not outcome.trace, outcome.trace
    return outcome


def spoil(how: str, every: int = 5) -> Callable[[SoftPf], object]:
    return lambda pf: pf.control("fault", vf=1, kind="spoil", how=how, every=every)
