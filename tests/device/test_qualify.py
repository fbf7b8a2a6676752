# SPDX-License-Identifier: BSD-3-Clause
"""The checks of `iavfio qualify` on the card; IAVFIO_SOAK: seconds of verified traffic."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from iavfio.qualify.checks import CHECKS
from iavfio.qualify.outcome import Check
from iavfio.qualify.run import qualify
from iavfio.qualify.vfs import Vfs


@pytest.fixture(scope="module")
def vfs(bdfs: list[str]) -> Iterator[Vfs]:
    found = Vfs(bdfs[:2], {})
    found.soak = float(os.environ.get("IAVFIO_SOAK", "60"))
    yield found
    found.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_passes(vfs: Vfs, check: Check) -> None:
    (outcome,) = qualify(vfs, [check])
    if outcome.status == "not run":
        pytest.skip(outcome.reason)
    assert outcome.status == "passed", f"{outcome.reason}\n{outcome.trace}"
    print(outcome.facts, outcome.figures)
