# SPDX-License-Identifier: BSD-3-Clause
"""Where the segments of a test lie."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A base as /dev/shm is: sticky, and open to all users of the host.

    It does not lie in tmp_path: each start of pytest closes the folder above it to other users.
    """
    with tempfile.TemporaryDirectory(prefix="iavfio-base-") as name:
        path = Path(name)
        path.chmod(0o1777)
        monkeypatch.setenv("IAVFIO_RUNTIME_DIR", name)
        yield path
