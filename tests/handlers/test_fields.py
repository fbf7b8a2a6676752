# SPDX-License-Identifier: BSD-3-Clause
"""Fields of a packet, compiled: the same as in plain Python, at every offset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from iavfio import handlers
from iavfio.handlers import fields

numba = pytest.importorskip("numba")

SIZE = 11
OFFSETS = [-(2**40), -9, -8, -2, -1, *range(SIZE + 2), 2**40]


def reads(data: Any, at: int) -> tuple[int, int, int, int, int]:
    return (
        fields.u8(data, at),
        fields.u16be(data, at),
        fields.u32be(data, at),
        fields.u48be(data, at),
        fields.u64be(data, at),
    )


def writes(data: Any, at: int, value: int, width: int) -> None:
    if width == 1:
        fields.set_u8(data, at, value)
    elif width == 2:
        fields.set_u16be(data, at, value)
    elif width == 4:
        fields.set_u32be(data, at, value)
    elif width == 6:
        fields.set_u48be(data, at, value)
    else:
        fields.set_u64be(data, at, value)


@pytest.fixture(scope="module")
def compiled() -> tuple[Any, Any]:
    import iavfio.handlers.compile  # noqa: F401  registers the fields

    return numba.njit(reads), numba.njit(writes)


def packet(high: bool) -> Any:
    data = np.arange(SIZE, dtype=np.uint8)
    return data | np.uint8(0x80) if high else data


@pytest.mark.parametrize("high", [False, True])
def test_reads_are_those_of_plain_python(compiled: tuple[Any, Any], high: bool) -> None:
    data = packet(high)
    for at in OFFSETS:
        assert tuple(map(int, compiled[0](data, at))) == reads(data, at), at


def test_reads_have_the_bytes_of_the_packet(compiled: tuple[Any, Any]) -> None:
    for high in (False, True):
        data = packet(high)
        for at in range(SIZE):
            for got, width in zip(compiled[0](data, at), (1, 2, 4, 6, 8), strict=True):
                inside = at + width <= SIZE
                wanted = int.from_bytes(bytes(data[at : at + width]), "big") if inside else 0
                assert int(got) == wanted


@pytest.mark.parametrize("width", [1, 2, 4, 6, 8])
def test_writes_are_those_of_plain_python(compiled: tuple[Any, Any], width: int) -> None:
    for at in OFFSETS:
        for value in (0, 0x8091A2B3C4D5E6F7 - (1 << 64), 0x7091A2B3C4D5E6F7, -1):
            quick, plain = packet(False), packet(False)
            compiled[1](quick, at, value, width)
            writes(plain, at, value, width)
            assert quick.tolist() == plain.tolist(), (at, value)


def test_a_handler_is_compiled_for_each_type_of_state(monkeypatch: pytest.MonkeyPatch) -> None:
    from iavfio.handlers import compile as compiler

    done: list[tuple[Any, tuple[int, ...]]] = []

    def compile_handler(function: Any, state: Any) -> SimpleNamespace:
        done.append((state.dtype, state.shape))
        return SimpleNamespace(address=len(done))

    monkeypatch.setattr(compiler, "compile_handler", compile_handler)
    handler = handlers.handler(lambda data, length, meta, state: handlers.DROP)
    wide = np.zeros(1, dtype=[("name", "S8"), ("hits", "u8")])
    narrow = np.zeros(1, dtype=[("hits", "u4")])
    states = (wide, narrow, wide, narrow.repeat(2), narrow)
    assert [handler.function(state)[0] for state in states] == [1, 2, 1, 3, 2]
    assert done == [(wide.dtype, (1,)), (narrow.dtype, (1,)), (narrow.dtype, (2,))]
