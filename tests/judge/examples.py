# SPDX-License-Identifier: BSD-3-Clause
"""How many random sequences a judge hears. They are the same in each run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def wanted(usual: int) -> int:
    """So many as $IAVFIO_JUDGE_EXAMPLES says, else as usual."""
    return int(os.environ.get("IAVFIO_JUDGE_EXAMPLES", usual))


def so_many(examples: int) -> settings:
    """The settings of a test that makes so many, however long each takes."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
