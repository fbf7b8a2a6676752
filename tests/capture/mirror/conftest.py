# SPDX-License-Identifier: BSD-3-Clause
"""Two VFs of one software PF; the port of the first is mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import iavfio
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, uplink="none") as made:
        yield made


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with iavfio.open(pf.sockets[0], name="mirrored") as opened:
        opened.start(wait_link=10)
        yield opened


@pytest.fixture
def peer(pf: SoftPf) -> Iterator[Port]:
    with iavfio.open(pf.sockets[1], name="peer") as opened:
        opened.start(wait_link=10)
        yield opened
