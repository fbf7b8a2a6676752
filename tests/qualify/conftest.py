# SPDX-License-Identifier: BSD-3-Clause
"""A software PF with two VFs, and the VFs under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iavfio.qualify.vfs import Vfs
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from tests.qualify.rig import FAST


@pytest.fixture
def card() -> str:
    return "e810"


@pytest.fixture
def pf(card: str) -> Iterator[SoftPf]:
    with softvf(vfs=2, uplink="none", personality=card, options=FAST) as found:
        yield found


@pytest.fixture
def vfs(pf: SoftPf) -> Iterator[Vfs]:
    found = Vfs(pf.sockets, {})
    found.soak = 0.3
    yield found
    found.close()
