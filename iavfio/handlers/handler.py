# SPDX-License-Identifier: BSD-3-Clause
"""Handlers as objects: Python functions that Numba compiles, and C functions by their address."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from iavfio._driver import ffi, lib
from iavfio.arguments import wrong_type
from iavfio.errors import ConfigError

_BUILT_IN = ("swap_macs", "drop_udp")


class Handler(Protocol):
    """What `run` accepts: something that gives the address of a C function for a state."""

    def function(self, state: np.ndarray[Any, Any] | None) -> tuple[int, object]:
        """Address of the function, and what must live as long as it may be called."""


class CompiledHandler:
    """A Python function that Numba compiles at its first run with a state of some type and shape.

    Called from Python it runs as plain Python, which is how a handler is tested.
    """

    def __init__(self, python: Callable[..., int]) -> None:
        self.__wrapped__ = python
        self.__name__ = getattr(python, "__name__", "handler")
        self.__doc__ = python.__doc__
        self._done: dict[tuple[str, tuple[int, ...]], Any] = {}

    def __call__(self, data: Any, length: int, meta: Any, state: Any) -> int:
        return self.__wrapped__(data, length, meta, state)

    def function(self, state: np.ndarray[Any, Any] | None = None) -> tuple[int, object]:
        """Compiles now, if it is not compiled yet; takes a second or more. Raises ConfigError."""
        known = np.zeros(1, dtype=np.uint8) if state is None else state
        key = (repr(known.dtype.descr), known.shape)
        if key not in self._done:
            try:
                from iavfio.handlers.compile import compile_handler
            except ImportError as missing:
                raise ConfigError(
                    f"the handler {self.__name__!r} cannot be compiled",
                    f"Numba cannot be imported ({missing})",
                    "pip install numba, or use a C function: iavfio.handlers.from_address(...)",
                ) from missing
            self._done[key] = compile_handler(self.__wrapped__, known)
        compiled = self._done[key]
        return int(compiled.address), compiled

    def __repr__(self) -> str:
        return f"<handler {self.__name__}>"


class NativeHandler:
    """A C function; `alive` is what must live as long as it may be called."""

    def __init__(self, address: int, alive: object, name: str) -> None:
        self._address, self._alive, self._name = address, alive, name

    def function(self, state: np.ndarray[Any, Any] | None) -> tuple[int, object]:
        """The address as it was given."""
        return self._address, self._alive

    def __repr__(self) -> str:
        return f"<handler {self._name}>"


def handler(python: Callable[..., int]) -> CompiledHandler:
    """Makes a handler of `python(data, length, meta, state) -> action`, called for every packet.

    `data`: the packet's bytes, a writable uint8 array over the buffer itself (of a chained packet
    the first segment); `length`: how many; `meta`: a Meta; `state`: the array given to `run`, or
    one byte. Numba (`pip install numba`) is needed when it is run, not before. Raises ConfigError
    for what is no function.
    """
    if not callable(python):
        raise wrong_type("a handler", python, "a function", "as in @iavfio.handler")
    return CompiledHandler(python)


def from_address(function: Any, *, keep: object = None) -> Handler:
    """A C function of type `handler_fn` as a handler: an address, or a ctypes or cffi pointer.

    It runs without Python's lock and without any check of what it touches. `keep`: what must live
    as long, e.g. the library. Raises ConfigError for NULL and for what is not a function.
    """
    address = 0
    if isinstance(function, int):
        address = function
    elif isinstance(function, ffi.CData):
        address = int(ffi.cast("uintptr_t", function))
    elif hasattr(function, "argtypes") or isinstance(function, ctypes.c_void_p):  # ctypes
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
    if not 0 < address < 1 << 64:
        raise ConfigError(
            f"{function!r} is not a C function",
            "an address, or a pointer of ctypes or cffi, is needed",
        )
    return NativeHandler(address, (function, keep), f"at {address:#x}")


def builtin(name: str) -> Handler:
    """A handler of the driver's own: `swap_macs`, or `drop_udp` (state: uint64[2], port and hits).

    Raises ConfigError for another name.
    """
    if name not in _BUILT_IN:
        raise ConfigError(
            f"there is no handler {name!r} in the driver", "", f"choose of: {', '.join(_BUILT_IN)}"
        )
    pointer = ffi.addressof(lib, f"handler_{name}")
    return NativeHandler(int(ffi.cast("uintptr_t", pointer)), None, name)
