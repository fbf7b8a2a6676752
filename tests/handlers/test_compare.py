# SPDX-License-Identifier: BSD-3-Clause
"""Signed against unsigned numbers in compiled handlers: as Python compares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

numba: Any = pytest.importorskip("numba")

NUMBERS = (0, 1, 53, 2**31, 2**53, 2**53 + 1, 2**63 - 1)
SIGNED = (*NUMBERS, -1, -53, -(2**31), -(2**53) - 1, -(2**63))
UNSIGNED = (*NUMBERS, 2**63, 2**64 - 1)


def functions() -> tuple[tuple[str, Callable[[Any, Any], bool]], ...]:
    return (
        ("==", lambda a, b: a == b),
        ("!=", lambda a, b: a != b),
        ("<", lambda a, b: a < b),
        ("<=", lambda a, b: a <= b),
        (">", lambda a, b: a > b),
        (">=", lambda a, b: a >= b),
    )


@pytest.mark.parametrize(("name", "function"), functions())
def test_compared_as_python_does(name: str, function: Callable[[Any, Any], bool]) -> None:
    from iavfio.handlers.compare import Compiler

    compiled = numba.njit(pipeline_class=Compiler)(function)
    for a in SIGNED:
        for b in UNSIGNED:
            assert compiled(np.int64(a), np.uint64(b)) == function(a, b), (a, name, b)
            assert compiled(np.uint64(b), np.int64(a)) == function(b, a), (b, name, a)
    assert compiled(np.int8(-1), np.uint64(2**64 - 1)) == function(-1, 2**64 - 1)
    assert compiled(np.uint32(7), np.int64(-7)) == function(7, -7)
    assert compiled(np.float64(0.5), np.uint64(1)) == function(0.5, 1)


def test_literals_are_signed_numbers() -> None:
    from iavfio.handlers.compare import Compiler

    def near(b: Any) -> bool:
        return bool(b > -1 and b != 9007199254740993 and 5 <= b <= 9007199254740992)

    compiled = numba.njit(pipeline_class=Compiler)(near)
    for b in (4, 5, 2**53, 2**53 + 1, 2**63, 2**64 - 1):
        assert compiled(np.uint64(b)) == near(b), b
