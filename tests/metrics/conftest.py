# SPDX-License-Identifier: BSD-3-Clause
"""Ports of a test have a place apart."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(tmp_path))
    return tmp_path
