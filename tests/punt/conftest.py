# SPDX-License-Identifier: BSD-3-Clause
"""Software PFs that the tests of this folder share: to start one costs more than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import iavfio
from iavfio.softvf.launch import SoftPf


@pytest.fixture(scope="session")
def pf() -> Iterator[SoftPf]:
    """Three VFs that reach each other only."""
    with iavfio.softvf(vfs=3, uplink="none") as made:
        yield made


@pytest.fixture(scope="session")
def busy() -> Iterator[SoftPf]:
    """A VF to which the wire sends UDP as fast as possible."""
    with iavfio.softvf(uplink="gen") as made:
        yield made
