# SPDX-License-Identifier: BSD-3-Clause
"""Tests on a real card: what a user with a VF runs first.

`IAVFIO_BDF=0000:3b:01.0 make test-device`, or two addresses with a comma between: VFs of one PF
reach each other through the card's switch, no cable is needed. Bind them first (`iavfio bind`).
Without IAVFIO_BDF everything here is skipped. The VFs are reset and carry test traffic: nobody
else may use them meanwhile.
"""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def bdfs() -> list[str]:
    """The VFs that the tests may use, one or two."""
    named = [bdf.strip() for bdf in os.environ.get("IAVFIO_BDF", "").split(",") if bdf.strip()]
    if not named:
        pytest.skip("needs a card: set IAVFIO_BDF to one or two VFs that are bound to vfio-pci")
    return named
