# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what a caller passes to pyvfio; `iavfio.arguments` has those of the other rooms."""

from __future__ import annotations

import operator
from collections.abc import Iterable
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


def raw(name: str, value: object) -> bytes:
    """Bytes, from anything that shows its memory. Raises BadArgument for anything else."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadArgument(
            f"{name} is not possible", f"{name} is bytes, not a {type(value).__name__}"
        )
    return bytes(value)


def descriptors(name: str, value: object) -> list[int | None]:
    """File descriptors, or None in the place of one. Raises BadArgument for anything else."""
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise BadArgument(
            f"{name} is not possible",
            f"{name} is a list of file descriptors, not a {type(value).__name__}",
        )
    return [None if fd is None else whole(name, fd, 0, (1 << 31) - 1) for fd in value]
