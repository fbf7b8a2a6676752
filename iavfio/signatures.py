# SPDX-License-Identifier: BSD-3-Clause
"""Calls that hold their arguments to their annotations, for what is not in the path of packets.

Python itself would tell a wrong type where it is used first, deep inside, by an AttributeError
that names neither the argument nor what it should have been.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from iavfio.arguments import MOST_ITEMS, check_call, check_keywords, wrong_type

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_WORDS: dict[Any, str] = {
    None: "None",
    type(None): "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    bytes: "bytes",
    Callable: "a function",
}


def checked_call(call: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses arguments of a type that its annotations do not name.

    It raises ConfigError that names the argument, what it is and what was given; for an unknown
    keyword the nearest that there is; WrongCall for arguments that are missing or too many. An
    annotation that cannot be looked up allows everything.
    """
    signature = inspect.signature(call)
    names = [name for name in signature.parameters if name not in ("self", "cls")]

    @functools.cache
    def hints() -> dict[str, Any]:
        return {name: _looked_up(call, name) for name in names}

    @functools.wraps(call)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        check_keywords(call, keywords, names)
        for name, value in check_call(call, signature, args, keywords).arguments.items():
            if name in names and not _fits(value, hint := hints()[name]):
                raise wrong_type(name, value, _words(hint))
        return call(*args, **keywords)

    return checked


def checked_class(kind: type[T]) -> type[T]:
    """A class whose objects are made by a `checked_call`."""
    method = "__init__"
    setattr(kind, method, checked_call(getattr(kind, method)))
    return kind


def _looked_up(call: Callable[..., Any], name: str) -> Any:
    written = call.__annotations__.get(name, Any)
    if not isinstance(written, str):
        return written
    try:
        # The text is the source of iavfio's own annotation.
        return eval(written, call.__globals__)
    except Exception:  # a name that only type checkers import
        return Any


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:  # which word it is, the call itself tells
        return isinstance(value, tuple({type(word) for word in inner}))
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if hint is bytes:
        return isinstance(value, bytes | bytearray | memoryview)
    if hint is Callable or origin is Callable:
        return callable(value)
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    try:
        if not isinstance(value, kind):
            return False
    except TypeError:  # a protocol that cannot be asked for
        return True
    return not inner or _items_fit(value, inner)


def _items_fit(value: Any, inner: tuple[Any, ...]) -> bool:
    """Whether what is in a collection fits; a text is no collection of texts."""
    if isinstance(value, str | bytes | bytearray):
        return False
    if isinstance(value, Mapping):
        return all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if isinstance(value, Sequence) and len(value) <= MOST_ITEMS:
        each = inner if isinstance(value, tuple) and len(inner) == len(value) else inner[:1]
        return all(_fits(item, each[min(i, len(each) - 1)]) for i, item in enumerate(value))
    return True


def _words(hint: Any) -> str:
    """What an argument is, as it follows "is"."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(one) for one in inner)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, inner))}"
    word = _WORDS.get(origin or hint)
    if word is not None:
        return word
    name = getattr(origin or hint, "__name__", str(hint))
    if origin is not None and issubclass(origin, Iterable) and inner:
        return f"a {name} of {getattr(inner[0], '__name__', str(inner[0]))}"
    return f"an object of {name}"
