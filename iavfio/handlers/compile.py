# SPDX-License-Identifier: BSD-3-Clause
"""Python handlers compiled by Numba into functions that a worker calls once a burst.

Only this module imports Numba, and it is imported when a handler is first compiled. The handler is
inlined into a loop over the burst, so a packet costs no call; arrays are bounds-checked, and an
error that the handler raises concerns that one packet only: the loop never needs Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from iavfio.errors import ConfigError
from iavfio.handlers import actions, fields
from iavfio.handlers.compare import Compiler

# Optional, so that type checkers may not know it.
numba: Any = import_module("numba")
types: Any = numba.types
overload: Any = import_module("numba.extending").overload

# The signature of handler_fn in csrc/driver/cdef.h.
SIGNATURE = types.void(
    types.uint64,
    types.CPointer(types.CPointer(types.uint8)),
    types.CPointer(types.uint32),
    types.CPointer(types.voidptr),
    types.CPointer(types.uint32),
    types.voidptr,
)
FAILED = np.uint32(actions.FAILED)
LIMIT: int = actions.FAILED


def compile_handler(function: Callable[..., Any], state: np.ndarray[Any, Any]) -> Any:
    """The compiled loop for states of this dtype and shape: a Numba cfunc with an `address`.

    Raises ConfigError with Numba's reason, or when the action would not be a whole number.
    """
    name = getattr(function, "__name__", "handler")
    inlined = numba.njit(
        boundscheck=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=Compiler
    )(function)
    try:
        compiled = numba.cfunc(SIGNATURE)(_loop(inlined, state.dtype, state.shape))
    except Exception as error:  # of any kind: the compiler has no one base for all
        raise ConfigError(
            f"the handler {name!r} cannot be compiled",
            _reason(error),
            "see docs/guides/handlers.md for what a handler may use",
        ) from error
    for overloaded in inlined.overloads.values():
        result = overloaded.signature.return_type
        if not isinstance(result, types.Integer | types.Boolean):
            raise ConfigError(
                f"the handler {name!r} returns {result}",
                "an action is a whole number",
                "return DROP, TX, PASS or REDIRECT + k in every case",
            )
    return compiled


def _loop(handler: Any, dtype: Any, shape: tuple[int, ...]) -> Callable[..., None]:
    """The burst loop around one handler. A number that cannot be an action leaves none, so that C
    counts the packet as invalid."""
    carray, meta = numba.carray, fields.Meta

    def loop(count: Any, data: Any, lengths: Any, columns: Any, out: Any, memory: Any) -> None:
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
                action = np.int64(handler(carray(data[i], length), length, about, state))
                if 0 <= action < LIMIT:
                    out[i] = action
            except Exception:
                out[i] = FAILED

    return loop


def _reason(error: Exception) -> str:
    """The lines of a compiler's message that speak of the handler itself."""
    lines = [line.strip() for line in str(error).splitlines()]
    noise = ("During:", "File ", "^", ">>>", "<source", "Failed in nopython")
    about = [line for line in lines if line and not line.startswith(noise)]
    return " ".join(about[:3])[:300]


# ---- the fields, compiled. Numba pairs functions by names and annotations.

# Fields are signed where 64 bits hold them so: in Numba unsigned minus signed is a float.
_UNCHECKED = {"boundscheck": False}  # each field checks its bounds once, by _inside


@numba.njit(boundscheck=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[untyped-decorator,unused-ignore]
def _inside(data: Any, offset: Any, width: Any) -> Any:
    return offset >= 0 and offset + width <= data.size


def _u8(data: Any, offset: Any) -> Any:
    if not _inside(data, offset, 1):
        return np.int64(0)
    return np.int64(data[offset])


def _u16be(data: Any, offset: Any) -> Any:
    if not _inside(data, offset, 2):
        return np.int64(0)
    return np.int64(data[offset] << 8 | data[offset + 1])


def _u32be(data: Any, offset: Any) -> Any:
    if not _inside(data, offset, 4):
        return np.int64(0)
    high = data[offset] << 24 | data[offset + 1] << 16
    return np.int64(high | data[offset + 2] << 8 | data[offset + 3])


def _u48be(data: Any, offset: Any) -> Any:
    if not _inside(data, offset, 6):
        return np.int64(0)
    return fields.u32be(data, offset) << 16 | fields.u16be(data, offset + 4)


def _u64be(data: Any, offset: Any) -> Any:
    if not _inside(data, offset, 8):
        return np.uint64(0)
    return np.uint64(fields.u32be(data, offset) << 32 | fields.u32be(data, offset + 4))


def _set_u8(data: Any, offset: Any, value: Any) -> None:
    if _inside(data, offset, 1):
        data[offset] = np.uint8(value)


def _set_u16be(data: Any, offset: Any, value: Any) -> None:
    if _inside(data, offset, 2):
        bits: Any = np.uint64(value)
        data[offset] = np.uint8(bits >> np.uint64(8))
        data[offset + 1] = np.uint8(bits)


def _set_u32be(data: Any, offset: Any, value: Any) -> None:
    if _inside(data, offset, 4):
        bits: Any = np.uint64(value)
        data[offset] = np.uint8(bits >> np.uint64(24))
        data[offset + 1] = np.uint8(bits >> np.uint64(16))
        data[offset + 2] = np.uint8(bits >> np.uint64(8))
        data[offset + 3] = np.uint8(bits)


def _set_u48be(data: Any, offset: Any, value: Any) -> None:
    if _inside(data, offset, 6):
        bits: Any = np.uint64(value)
        fields.set_u32be(data, offset, bits >> np.uint64(16))
        fields.set_u16be(data, offset + 4, bits)


def _set_u64be(data: Any, offset: Any, value: Any) -> None:
    if _inside(data, offset, 8):
        bits: Any = np.uint64(value)
        fields.set_u32be(data, offset, bits >> np.uint64(32))
        fields.set_u32be(data, offset + 4, bits)


def _reads(body: Callable[..., Any]) -> Callable[..., Any]:
    def choose(data: Any, offset: Any) -> Any:
        return body

    return choose


def _writes(body: Callable[..., Any]) -> Callable[..., Any]:
    def choose(data: Any, offset: Any, value: Any) -> Any:
        return body

    return choose


def _register() -> None:
    for read in (_u8, _u16be, _u32be, _u48be, _u64be):
        overload(getattr(fields, read.__name__[1:]), jit_options=_UNCHECKED)(_reads(read))
    for write in (_set_u8, _set_u16be, _set_u32be, _set_u48be, _set_u64be):
        overload(getattr(fields, write.__name__[1:]), jit_options=_UNCHECKED)(_writes(write))


_register()
