# SPDX-License-Identifier: BSD-3-Clause
"""Where the lab's own files and the repository are."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
