# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be tested under a sanitizer (`make asan`)."""

from __future__ import annotations

import os

import pytest

SANITIZER = "IAVFIO_SANITIZER" in os.environ

no_preload = pytest.mark.skipif(
    SANITIZER, reason="the sanitizer's own preloaded library must come first"
)
no_address_space = pytest.mark.skipif(
    SANITIZER, reason="the sanitizer reserves terabytes of address space for itself"
)
no_race = pytest.mark.skipif(
    SANITIZER, reason="hundreds of processes that start under the sanitizer take minutes"
)
no_start = pytest.mark.skipif(
    SANITIZER, reason="the sanitizer's start comes before the launcher holds signals back"
)
