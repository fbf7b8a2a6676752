# SPDX-License-Identifier: BSD-3-Clause
"""The library that is preloaded to make a call fail (tests/c/nth_call.c)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "c" / "nth_call.c"
needs_library = pytest.mark.skipif(
    "IAVFIO_SANITIZER" in os.environ or not shutil.which("cc"),
    reason="needs a compiler, and the first place among preloaded libraries",
)


def built(place: Path) -> Path:
    """Compiles it into a directory and returns where it is."""
    library = place / "nth_call.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library
