# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the vfio-user tests: served VFs and clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf, serving


class Serve(Protocol):
    """Serves a VF until the test ends."""

    def __call__(
        self, personality: str = "e810", trapped: bool = False, **options: int | str
    ) -> ServedVf: ...


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serves VFs of any personality."""
    with ExitStack() as stack:

        def start(
            personality: str = "e810", trapped: bool = False, **options: int | str
        ) -> ServedVf:
            path = tmp_path_factory.mktemp("s") / "vf0.sock"
            return stack.enter_context(serving(path, personality, trapped, **options))

        yield start


@pytest.fixture
def served(serve: Serve) -> ServedVf:
    """An E810 VF."""
    return serve()


@pytest.fixture
def client(served: ServedVf) -> Iterator[RawClient]:
    """A negotiated client of it."""
    raw = RawClient(served.path)
    yield raw
    raw.close()
