# SPDX-License-Identifier: BSD-3-Clause
"""The list of a port's callbacks: only what can be called gets into it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, SupportsIndex, TypeVar

from iavfio.arguments import shown, unfinished
from iavfio.errors import ConfigError

E = TypeVar("E")


def checked(callback: Any) -> Any:
    """Returns `callback`. Raises ConfigError for what cannot be called, or would not run then."""
    remedy = "port.on_event.append(function), where function(event) takes one PortEvent"
    if not callable(callback):
        raise ConfigError(
            f"{shown(callback)} is no callback for events", "it cannot be called", remedy
        )
    returns = unfinished(callback)
    if returns:
        raise ConfigError(
            f"{callback_name(callback)} is no callback for events",
            f"a call of it only returns {returns}, which nobody runs",
            remedy,
        )
    return callback


def callback_name(callback: Any) -> str:
    """What a user calls a callback: its name, and where it stands if that is known."""
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    code = getattr(callback, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def run(callback: Callable[[E], Any], event: E) -> None:
    """Calls it. Raises what it raises, and ConfigError where it returns what nobody runs."""
    result = callback(event)
    if result is not None and isinstance(result, Coroutine | Generator | AsyncGenerator):
        if not isinstance(result, AsyncGenerator):
            result.close()  # Python would warn that it was never awaited
        raise ConfigError(
            f"{callback_name(callback)} did not run",
            f"it returned the {type(result).__name__} {shown(result)}, which nobody runs",
            "port.on_event.append(function), where function(event) does the work itself",
        )


class Callbacks(list[Callable[[E], None]], Generic[E]):
    """A list of functions that take an event. Whatever puts one in raises ConfigError for others.

    What is refused leaves the list as it was.
    """

    def append(self, callback: Callable[[E], None], /) -> None:
        super().append(checked(callback))

    def insert(self, at: SupportsIndex, callback: Callable[[E], None], /) -> None:
        super().insert(at, checked(callback))

    def extend(self, callbacks: Iterable[Callable[[E], None]], /) -> None:
        super().extend(_all(callbacks))

    if not TYPE_CHECKING:  # its types are those of list, which mypy would refuse here

        def __iadd__(self, callbacks, /):
            self.extend(callbacks)
            return self

    def __setitem__(self, at: Any, value: Any, /) -> None:
        super().__setitem__(at, _all(value) if isinstance(at, slice) else checked(value))


def _all(callbacks: Any) -> list[Any]:
    """Returns a list of them. Raises ConfigError as `checked` does, and for a single function."""
    if not isinstance(callbacks, Iterable):
        raise ConfigError(
            f"{shown(callbacks)} is no list of callbacks",
            "several are put in at once here",
            "port.on_event.append(function) puts in one",
        )
    return [checked(callback) for callback in callbacks]
