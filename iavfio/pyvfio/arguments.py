# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what a caller passes to pyvfio; `iavfio.arguments` has those of the other rooms."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from iavfio.pyvfio.errors import BadArgument


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises BadArgument for anything else."""
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass  # an array has the method without being a number
    if number is None:
        raise BadArgument(
            f"{name}={value!r} is not possible",
            f"{name} is a whole number, not a {type(value).__name__}",
        )
    if not low <= number <= high:
        raise BadArgument(f"{name}={number} is not possible", f"it can be {low} to {high}")
    return number
