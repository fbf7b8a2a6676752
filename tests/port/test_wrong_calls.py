# SPDX-License-Identifier: BSD-3-Clause
"""Guarded calls that lack arguments or have too many: how they are called is told."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

import iavfio
from iavfio.arguments import known_keywords, told_call
from iavfio.errors import ConfigError, WrongCall
from iavfio.signatures import checked_call

LAYERS = ("cli", "linuxpf", "preload")  # not public, or programs of their own
MANY = range(40)


def _nothing() -> None:
    """To see what the decorators make of a function."""


GUARDS = {decorator(_nothing).__code__ for decorator in (told_call, known_keywords, checked_call)}


def _guarded() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of the package that a decorator of ours guards, by its name."""
    for module in pkgutil.walk_packages(iavfio.__path__, "iavfio."):
        if module.name.split(".")[1] in LAYERS or module.name.endswith("__main__"):
            continue
        try:
            loaded = import_module(module.name)
        except ImportError:  # of an extra that is not installed
            continue
        owners = [loaded, *(each for each in vars(loaded).values() if inspect.isclass(each))]
        for owner in owners:
            if getattr(owner, "__module__", loaded.__name__) != loaded.__name__:
                continue
            for each in vars(owner).values():
                call = getattr(each, "__func__", each)
                code = getattr(call, "__code__", None)
                if code in GUARDS and call.__module__ == loaded.__name__:
                    yield f"{call.__module__}.{call.__qualname__}", call


CALLS = dict(_guarded())


def _own(call: Callable[..., Any]) -> list[object]:
    """What a method is called on; no body of a wrong call runs, so it may be anything."""
    first = next(iter(inspect.signature(call).parameters), "")
    return [object()] if first in ("self", "cls") else []


def test_the_guarded_calls_are_found() -> None:
    assert len(CALLS) > 40
    for name in ("opening.open_port", "softvf.launch.softvf", "port.port.Port.configure",
                 "port.port.Port.start", "port.rss.Rss.make", "datapath.pool.Pool.__init__",
                 "generator.read.read_streams"):  # fmt: skip
        assert f"iavfio.{name}" in CALLS


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_tells_how_it_is_called(name: str) -> None:
    """It is Python's TypeError all the same, and a ConfigError with a remedy."""
    call = CALLS[name]
    parameters = inspect.signature(call).parameters.values()
    wrong = []
    if not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        wrong.append([*_own(call), *MANY])
    needed = [
        each.name
        for each in parameters
        if each.default is each.empty
        and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        and each.name not in ("self", "cls")
    ]
    if needed:
        wrong.append(_own(call))
    assert wrong
    for given in wrong:
        with pytest.raises(WrongCall) as told:
            call(*given)
        assert isinstance(told.value, TypeError) and isinstance(told.value, ConfigError)
        short = call.__qualname__.removesuffix(".__init__")
        assert told.value.what == f"{short} was called wrongly"
        assert told.value.remedy.startswith(f"call {short}(")
        assert all(word in told.value.remedy for word in needed)
        assert told.value.cause in (
            "too many positional arguments",
            f"missing a required argument: {needed[0]!r}" if needed else "",
            f"missing a required keyword-only argument: {needed[0]!r}" if needed else "",
        )


def test_a_type_error_of_the_body_stays_what_it_is() -> None:
    @told_call
    def broken(text: Any) -> Any:
        return text + 1

    with pytest.raises(TypeError, match="concatenate") as told:
        broken("x")
    assert not isinstance(told.value, WrongCall)
