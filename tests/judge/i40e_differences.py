# SPDX-License-Identifier: BSD-3-Clause
"""Where the software X710 answers otherwise than i40e of Linux, each time with the reason.

A row explains an exchange when its test says so. test_i40e_differential.py fails for a difference
without a row and for a row without a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.judge.i40e_pair import Exchange

KERNELS = ("6.1", "6.12")


@dataclass(frozen=True)
class Difference:
    """One reviewed difference: kernels, the kernel's function that answers, why ours differs."""

    name: str
    kernels: tuple[str, ...]
    function: str
    reason: str
    explains: Callable[[Exchange], bool]


DIFFERENCES: tuple[Difference, ...] = ()


def explain(exchange: Exchange) -> Difference | None:
    """The row for an exchange that is not equal; None when there is none."""
    rows = (row for row in DIFFERENCES if exchange.kernel in row.kernels)
    return next((row for row in rows if row.explains(exchange)), None)
