# SPDX-License-Identifier: BSD-3-Clause
"""What an argument may be: its type, range and unit, declared once and checked before it is used.

A check is called with the argument's name and value. It returns the value in the form that the
program works with, or raises ConfigError with the real reason. Settings of a port
(`iavfio.port.settings`) and options of the command line (`iavfio.cli.options`) share these checks.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from iavfio.errors import ConfigError, Remedy, WrongCall

if TYPE_CHECKING:
    from inspect import BoundArguments, Signature

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
MOST_ITEMS = 4096
MOST_TOLD = 20  # words in a message
Check = Callable[[str, Any], T]
WHOLE = re.compile(r"[+-]?[0-9]+")
REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf|nan")


def use(name: str, value: object) -> Remedy:
    """The advice to give an argument another value, for Python and for the command line."""
    return Remedy(f"use {name}={value!r}", f"use --{name.replace('_', '-')} {value}")


def whole(text: str) -> int:
    """The whole number that a text writes with the digits 0 to 9.

    Raises ValueError for all else, also for what `int` takes beside that: 1_000, blanks around it,
    digits of other scripts.
    """
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def real(text: str) -> float:
    """The number that a text writes with the digits 0 to 9, or inf or nan; as `whole` for others.

    Raises ValueError for all else.
    """
    if not REAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def without_effect(name: str, whose: str) -> ConfigError:
    """The error for an argument or option that changes nothing here; `whose`: what it is of."""
    return ConfigError(f"{name} is of {whose}", "", f"leave {name} out")


def check_keywords(call: Callable[..., Any], given: Iterable[str], known: Sequence[str]) -> None:
    """Raises ConfigError for a keyword that `call` has not."""
    for word in given:
        if word not in known:
            raise unknown(f"argument of {call.__qualname__.removesuffix('.__init__')}", word, known)


def check_call(
    call: Callable[..., Any], signature: Signature, args: Iterable[Any], keywords: Mapping[str, Any]
) -> BoundArguments:
    """The arguments by name, for a `call` that has this signature.

    Raises WrongCall for those that are missing, too many, or given twice.
    """
    try:
        return signature.bind(*args, **keywords)
    except TypeError as wrong:
        name = call.__qualname__.removesuffix(".__init__")
        bare = [
            each.replace(annotation=each.empty)
            for each in signature.parameters.values()
            if each.name not in ("self", "cls")
        ]
        form = signature.replace(parameters=bare, return_annotation=signature.empty)
        raise WrongCall(f"{name} was called wrongly", str(wrong), f"call {name}{form}") from None


def told_call(call: Callable[P, R]) -> Callable[P, R]:
    """A function that tells by WrongCall how it is called when it was called otherwise.

    It costs nothing where the call is right. For calls that are not in the path of packets.
    """

    @functools.wraps(call)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        try:
            return call(*args, **keywords)
        except TypeError:
            import inspect  # only for a message

            check_call(call, inspect.signature(call), args, keywords)
            raise

    return checked


def known_keywords(call: Callable[P, R]) -> Callable[P, R]:
    """A function whose unknown keywords raise ConfigError that names the nearest of those it has.

    Python's own TypeError names none. Other wrong calls are told as `told_call` tells them.
    """
    told = told_call(call)
    code = call.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = tuple(name for name in names if name not in ("self", "cls"))

    @functools.wraps(call)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        check_keywords(call, keywords, known)
        return told(*args, **keywords)

    return checked


def known_fields(kind: type[T]) -> type[T]:
    """A class whose unknown keywords raise ConfigError, as those of `known_keywords` do."""
    method = "__init__"
    setattr(kind, method, known_keywords(getattr(kind, method)))
    return kind


def shown(value: object) -> str:
    """A value as a message shows it: never longer than half a line."""
    try:
        text = repr(value)
    except Exception:  # an argument's own __repr__ must not hide the reason
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


def counted(number: int, noun: str) -> str:
    """A number of things in words: "1 queue pair", "2 queue pairs"; `noun` is the singular."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("ry") else f"{number} {noun}s"


def nearest(word: object, known: Iterable[str]) -> str:
    """The known word that `word` was most likely meant to be, "" when none is near."""
    import difflib  # only for a message

    close = difflib.get_close_matches(str(word).lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def unknown(what: str, word: object, known: Iterable[str]) -> ConfigError:
    """The error for a word that is none of `known`: names the nearest, and them, or the first few
    of a long list.
    """
    words = list(known)
    close = nearest(word, words)
    told = words if len(words) <= MOST_TOLD else words[: MOST_TOLD // 2]
    more = f" and {len(words) - len(told)} more" if len(told) < len(words) else ""
    return ConfigError(
        f"there is no {what} {shown(word)}",
        f"known are {', '.join(told)}{more}" if words else "none are known",
        f"did you mean {close}?" if close else "",
    )


def wrong_type(name: str, value: object, wanted: str, remedy: str = "") -> ConfigError:
    """The error for a value of another type; `wanted` continues "name is ..."."""
    kind = "None" if value is None else f"the {type(value).__name__} {shown(value)}"
    return ConfigError(
        f"{name}={shown(value)} is not possible", f"{name} is {wanted}, not {kind}", remedy
    )


def typed(name: str, value: object, kind: Any, wanted: str) -> Any:
    """`value` converted to `kind` by msgspec's strict rules: no text as number, no bool as int."""
    if type(value) is kind:
        return value
    import msgspec  # only now: it takes a while to import, and most values never come here

    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
        raise wrong_type(name, value, wanted) from None


@dataclass(frozen=True)
class Range:
    """A whole number from `low` to `high`, in multiples of `step`.

    `unit` names what it counts and is empty where it only numbers something.

    `limit` says whose limit `high` is, as the end of a sentence.
    """

    low: int
    high: int
    unit: str
    step: int = 1
    limit: str = ""

    def __str__(self) -> str:
        step = f", in multiples of {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{self.unit and ' '}{self.unit}{step}"

    def __call__(self, name: str, value: Any) -> int:
        if not isinstance(value, bool) and hasattr(type(value), "__index__"):
            with contextlib.suppress(TypeError):  # an array has the method without being a number
                value = operator.index(value)  # NumPy's integers
        number: int = typed(name, value, int, f"a whole number{self.unit and ' of '}{self.unit}")
        if self.low <= number <= self.high and number % self.step == 0:
            return number
        whose = f" ({self.limit})" if self.limit and number > self.high else ""
        raise ConfigError(
            f"{name}={shown(number)} is not possible",
            f"{name} can be {self}{whose}",
            use(name, self.nearest(number)),
        )

    def nearest(self, value: int) -> int:
        """The value in range that is next to `value`; of two multiples the larger one."""
        up = -(-value // self.step) * self.step
        return min(max(up, self.low), self.high - self.high % self.step)


@dataclass(frozen=True)
class Amount:
    """A real number from `low` to `high` of `unit`. Not a number is never in range.

    `above` leaves `low` itself out. `endless` is the value that stands for no limit, where one
    does.
    """

    low: float
    high: float
    unit: str
    above: bool = False
    endless: float | None = None

    def __str__(self) -> str:
        return f"{'more than ' if self.above else ''}{self.low:g} to {self.high:g} {self.unit}"

    def __call__(self, name: str, value: Any) -> float:
        if not isinstance(value, bool | int | float) and hasattr(type(value), "__float__"):
            try:
                value = float(value)  # NumPy's numbers
            except (ArithmeticError, ValueError, TypeError):
                raise wrong_type(name, value, f"a number of {self.unit}") from None
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(min(max(value, -(10**300)), 10**300))  # beyond them float() overflows
        number: float = typed(name, value, float, f"a number of {self.unit}")
        if math.isnan(number):
            raise ConfigError(
                f"{name} is not a number", f"{name} can be {self}", self._instead(name, number)
            )
        if not self.low <= number <= self.high or (self.above and number == self.low):
            raise ConfigError(
                f"{name}={number:g} is not possible",
                f"{name} can be {self}",
                self._instead(name, number),
            )
        return number

    def _instead(self, name: str, number: float) -> str:
        """The advice to give another value, "" where none is near."""
        if self.endless is not None:
            instead = use(name, self.endless)
            end = " for no limit"
            return Remedy(f"{instead}{end}", f"{instead.command}{end}")
        if number > self.high:
            return use(name, self.high)
        return use(name, self.low) if number < self.low and not self.above else ""


@dataclass(frozen=True)
class Flag:
    """True or False, and nothing that merely counts as one."""

    def __call__(self, name: str, value: Any) -> bool:
        if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
            value = bool(value)
        result: bool = typed(name, value, bool, "True or False")
        return result


@dataclass(frozen=True)
class Choice:
    """One of `words`; `what` names it in messages."""

    what: str
    words: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        word: str = typed(name, value, str, f"one of the words {', '.join(self.words)}")
        if word not in self.words:
            raise unknown(self.what, word, self.words)
        return word


@dataclass(frozen=True)
class Names:
    """Some of `words`, as one word or any collection of them; `what` names one in messages."""

    what: str
    words: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> frozenset[str]:
        given = [value] if isinstance(value, str) else several(name, value, f"names of {self.what}")
        for word in given:
            if not isinstance(word, str) or word not in self.words:
                raise unknown(self.what, word, self.words)
        return frozenset(given)


@dataclass(frozen=True)
class Instance(Generic[T]):
    """An object of one class; `example` shows how one is made."""

    kind: type[T]
    example: str

    def __call__(self, name: str, value: Any) -> T:
        if not isinstance(value, self.kind):
            raise wrong_type(
                name, value, f"an object of {self.kind.__name__}", f"as in {self.example}"
            )
        return value


def unfinished(call: Any) -> str:
    """What a function would return instead of running, as "a coroutine"; "" for a plain function.

    Seen through functools.partial, and in the `__call__` of an object.
    """
    import inspect  # only for callbacks, which are given once

    while isinstance(call, functools.partial):
        call = call.func
    forms = [call] if inspect.isroutine(call) else [call, type(call).__call__]
    for form in forms:
        if inspect.iscoroutinefunction(form):
            return "a coroutine"
        if inspect.isasyncgenfunction(form):
            return "an asynchronous generator"
        if inspect.isgeneratorfunction(form):
            return "a generator"
    return ""


@dataclass(frozen=True)
class Function:
    """Something to call, which runs to its end then; `example` shows a use."""

    example: str

    def __call__(self, name: str, value: Any) -> Any:
        if not callable(value):
            raise wrong_type(name, value, "a function", f"as in {self.example}")
        returns = unfinished(value)
        if returns:
            raise ConfigError(
                f"{name}={shown(value)} is not possible",
                f"a call of it only returns {returns}, which nobody runs",
                f"give a plain function, as in {self.example}",
            )
        return value


@dataclass(frozen=True)
class Text:
    """A text that is not empty; `what` says of what, `example` shows one."""

    what: str
    example: str

    def __call__(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type(name, value, self.what, f"as in {self.example}")
        if not value:
            raise ConfigError(f"{name} is empty", f"{name} is {self.what}", f"as in {self.example}")
        if "\0" in value:
            raise ConfigError(f"{name}={shown(value)} is not possible", "it holds a zero byte")
        return value


def several(name: str, value: Any, wanted: str) -> list[Any]:
    """The items of a collection.

    A text or a mapping is refused: it was meant as something else.
    """
    if isinstance(value, str | bytes | bytearray | Mapping):
        raise wrong_type(name, value, f"a list of {wanted}")
    try:
        found = iter(value)
    except TypeError:  # an array without a dimension, too
        raise wrong_type(name, value, f"a list of {wanted}") from None
    items = list(islice(found, MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        raise ConfigError(f"{name} has too many items", f"it can have {MOST_ITEMS} {wanted}")
    return items


def vf_mac(name: str, value: Any) -> bytes:
    """A unicast MAC address, from "02:00:00:00:00:01" or six bytes."""
    raw = _mac(name, value)
    if raw[0] & 1:
        raise ConfigError(
            f"{name}={raw.hex(':')} is not possible",
            "it is a group address, and a port's own address is a unicast one",
            "clear the lowest bit of the first byte",
        )
    return raw


def received_mac(name: str, value: Any) -> bytes:
    """A unicast or multicast MAC address, from text or six bytes."""
    raw = _mac(name, value)
    if raw == b"\xff" * 6:
        raise ConfigError(
            f"{name} cannot hold the broadcast address",
            "a port receives broadcast without being told",
            "leave it out",
        )
    return raw


def received_macs(name: str, value: Any) -> tuple[bytes, ...]:
    """A collection of MAC addresses, each once, in order."""
    items = several(name, value, "MAC addresses")
    return tuple(dict.fromkeys(received_mac(name, item) for item in items))


def _mac(name: str, value: Any) -> bytes:
    raw = b""
    if isinstance(value, bytes | bytearray):
        raw = bytes(value)
    elif isinstance(value, str):
        digits = value.replace(":", "").replace("-", "")
        if len(digits) == 12 and all(c in "0123456789abcdefABCDEF" for c in digits):
            raw = bytes.fromhex(digits)
    else:
        raise wrong_type(
            name, value, "a MAC address", "write it as '02:00:00:00:00:01', or give six bytes"
        )
    if len(raw) != 6:
        raise ConfigError(
            f"{name}={shown(value)} is no MAC address",
            "an address has six bytes",
            "write it as 02:00:00:00:00:01",
        )
    if not any(raw):
        raise ConfigError(f"{name} is no MAC address", "all six bytes are zero")
    return raw
