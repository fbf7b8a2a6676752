# SPDX-License-Identifier: BSD-3-Clause
"""Guest tests skip where the lab cannot be had; $IAVFIO_GUEST_REQUIRED makes that a failure."""

from __future__ import annotations

import os

import pytest

from iavfio.linuxpf.cache import Unavailable
from tests.guest.root import load_root


def pytest_configure(config: pytest.Config) -> None:
    """The marker of the longer set."""
    config.addinivalue_line("markers", "full: only in 'make test-guest-full'")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A guest boots and runs for longer than a unit test may."""
    for item in items:
        if "guest" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def lab() -> None:
    """Skips unless the guest root is built."""
    try:
        load_root()
    except Unavailable as error:
        if os.environ.get("IAVFIO_GUEST_REQUIRED"):
            pytest.fail(str(error))
        pytest.skip(str(error))
