# SPDX-License-Identifier: BSD-3-Clause
"""Python handlers compiled by Numba into functions that a worker calls once a burst.

Only this module imports Numba, and it is imported when a handler is first compiled. The handler is
inlined into a loop over the burst, so a packet costs no call; arrays are bounds-checked, and an
error that the handler raises is the verdict of that one packet: the loop never needs Python's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import overload

from iavfio import fields
from iavfio._driver import lib
from iavfio.errors import ConfigError

# As handler_fn of csrc/driver/cdef.h.
SIGNATURE = types.void(
    types.uint64,
    types.CPointer(types.CPointer(types.uint8)),
    types.CPointer(types.uint32),
    types.CPointer(types.voidptr),
    types.CPointer(types.uint32),
    types.voidptr,
)
FAILED = np.uint32(lib.VERDICT_FAILED)
LIMIT: int = lib.VERDICT_FAILED

_lock = threading.Lock()  # Numba's compiler is used by one thread at a time anyway


def compile_handler(function: Callable[..., Any], state: np.ndarray[Any, Any]) -> Any:
    """The compiled loop for states of this dtype and shape: a Numba cfunc with an `address`.

    Raises ConfigError with Numba's reason, or when the verdict would not be a whole number.
    """
    name = getattr(function, "__name__", "handler")
    judge = numba.njit(boundscheck=True, nogil=True)(function)
    try:
        with _lock:
            compiled = numba.cfunc(SIGNATURE)(_loop(judge, state.dtype, state.shape))
    except NumbaError as error:
        raise ConfigError(
            f"the handler {name!r} cannot be compiled",
            _reason(error),
            "see docs/handlers.md for what a handler may use",
        ) from error
    for overloaded in judge.overloads.values():
        result = overloaded.signature.return_type
        if not isinstance(result, types.Integer | types.Boolean):
            raise ConfigError(
                f"the handler {name!r} returns {result}",
                "a verdict is a whole number",
                "return DROP, BACK, KEEP or ROUTE + k in every case",
            )
    return compiled


def _loop(judge: Any, dtype: Any, shape: tuple[int, ...]) -> Callable[..., None]:
    """The burst loop around one handler. Verdicts out of any range stay "none" (invalid)."""
    carray, meta = numba.carray, fields.Meta

    def loop(
        count: Any, data: Any, lengths: Any, columns: Any, verdicts: Any, memory: Any
    ) -> None:
        state = carray(memory, shape, dtype)
        # In the order of struct handler_columns.
        frame = carray(columns[0], count, np.uint32)
        rss = carray(columns[1], count, np.uint32)
        mark = carray(columns[2], count, np.uint32)
        time = carray(columns[3], count, np.uint32)
        ptype = carray(columns[4], count, np.uint16)
        vlan = carray(columns[5], count, np.uint16)
        flags = carray(columns[6], count, np.uint8)
        csum = carray(columns[7], count, np.uint8)
        segments = carray(columns[8], count, np.uint8)
        lane = carray(columns[9], count, np.uint8)
        for i in range(count):
            length = np.intp(lengths[i])
            about = meta(
                frame[i],
                rss[i],
                mark[i],
                time[i],
                ptype[i],
                vlan[i],
                flags[i],
                csum[i],
                segments[i],
                lane[i],
            )
            try:
                verdict = np.int64(judge(carray(data[i], length), length, about, state))
                if 0 <= verdict < LIMIT:
                    verdicts[i] = verdict
            except Exception:
                verdicts[i] = FAILED

    return loop


def _reason(error: NumbaError) -> str:
    """The lines of a compiler's message that speak of the handler itself."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("During:", "File ", "^", ">>>"))]
    return " ".join(told[1:4] or told)[:300]


def _outside(data: Any, offset: Any, width: int) -> Any:
    """Whether `width` bytes at `offset` leave the data."""


@overload(_outside, jit_options={"boundscheck": False})
def _outside_impl(data: Any, offset: Any, width: int) -> Any:
    return lambda data, offset, width: offset < 0 or offset + width > data.size


_UNCHECKED = {"boundscheck": False}  # checked once, by _outside


@overload(fields.u8, jit_options=_UNCHECKED)
def _u8(data: Any, offset: Any) -> Any:
    def read(data: Any, offset: Any) -> Any:
        if _outside(data, offset, 1):
            return np.uint64(0)
        return np.uint64(data[offset])

    return read


@overload(fields.u16be, jit_options=_UNCHECKED)
def _u16be(data: Any, offset: Any) -> Any:
    def read(data: Any, offset: Any) -> Any:
        if _outside(data, offset, 2):
            return np.uint64(0)
        return np.uint64(data[offset] << 8 | data[offset + 1])

    return read


@overload(fields.u32be, jit_options=_UNCHECKED)
def _u32be(data: Any, offset: Any) -> Any:
    def read(data: Any, offset: Any) -> Any:
        if _outside(data, offset, 4):
            return np.uint64(0)
        return np.uint64(
            data[offset] << 24 | data[offset + 1] << 16 | data[offset + 2] << 8 | data[offset + 3]
        )

    return read


@overload(fields.u48be, jit_options=_UNCHECKED)
def _u48be(data: Any, offset: Any) -> Any:
    def read(data: Any, offset: Any) -> Any:
        if _outside(data, offset, 6):
            return np.uint64(0)
        high, low = fields.u32be(data, offset), fields.u16be(data, offset + 4)
        return high << np.uint64(16) | low

    return read


@overload(fields.u64be, jit_options=_UNCHECKED)
def _u64be(data: Any, offset: Any) -> Any:
    def read(data: Any, offset: Any) -> Any:
        if _outside(data, offset, 8):
            return np.uint64(0)
        high, low = fields.u32be(data, offset), fields.u32be(data, offset + 4)
        return high << np.uint64(32) | low

    return read


@overload(fields.set_u8, jit_options=_UNCHECKED)
def _set_u8(data: Any, offset: Any, value: Any) -> Any:
    def write(data: Any, offset: Any, value: Any) -> None:
        if not _outside(data, offset, 1):
            data[offset] = np.uint8(value)

    return write


@overload(fields.set_u16be, jit_options=_UNCHECKED)
def _set_u16be(data: Any, offset: Any, value: Any) -> Any:
    def write(data: Any, offset: Any, value: Any) -> None:
        if not _outside(data, offset, 2):
            bits = np.uint64(value)
            data[offset] = np.uint8(bits >> np.uint64(8))
            data[offset + 1] = np.uint8(bits)

    return write


@overload(fields.set_u32be, jit_options=_UNCHECKED)
def _set_u32be(data: Any, offset: Any, value: Any) -> Any:
    def write(data: Any, offset: Any, value: Any) -> None:
        if not _outside(data, offset, 4):
            bits = np.uint64(value)
            data[offset] = np.uint8(bits >> np.uint64(24))
            data[offset + 1] = np.uint8(bits >> np.uint64(16))
            data[offset + 2] = np.uint8(bits >> np.uint64(8))
            data[offset + 3] = np.uint8(bits)

    return write


@overload(fields.set_u48be, jit_options=_UNCHECKED)
def _set_u48be(data: Any, offset: Any, value: Any) -> Any:
    def write(data: Any, offset: Any, value: Any) -> None:
        if not _outside(data, offset, 6):
            bits = np.uint64(value)
            fields.set_u32be(data, offset, bits >> np.uint64(16))
            fields.set_u16be(data, offset + 4, bits)

    return write


@overload(fields.set_u64be, jit_options=_UNCHECKED)
def _set_u64be(data: Any, offset: Any, value: Any) -> Any:
    def write(data: Any, offset: Any, value: Any) -> None:
        if not _outside(data, offset, 8):
            bits = np.uint64(value)
            fields.set_u32be(data, offset, bits >> np.uint64(32))
            fields.set_u32be(data, offset + 4, bits)

    return write
