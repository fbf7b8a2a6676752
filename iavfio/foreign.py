# SPDX-License-Identifier: BSD-3-Clause
"""What others wrote, in a file, a segment or an answer: checked before anything else is done to it.

Each check returns the value in the form that the program works with, and raises ValueError in words
that continue "it is ..." for all else. Nothing is converted: the text "12" is no number, and true
is none either.
"""

from __future__ import annotations

import json
from typing import Any

LONGEST_TEXT = 200  # characters of a name or label
MOST = (1 << 64) - 1  # of a counter


def parsed(data: bytes | bytearray | str) -> Any:
    """The JSON value in a text. NaN and Infinity are no JSON; numbers may still be very large."""
    try:
        return json.loads(data, parse_constant=no_constant)
    except (ValueError, RecursionError):  # not UTF-8 either, or a number of thousands of digits
        raise ValueError("no JSON") from None


def no_constant(word: str) -> None:
    """What json.loads calls for NaN and Infinity, which it takes otherwise; raises ValueError."""
    raise ValueError(f"{word} is no JSON")


def an_object(value: object) -> dict[str, Any]:
    """A JSON object, whose values are still unknown."""
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def a_list(value: object, most: int) -> list[Any]:
    """A list of at most `most` items, which are still unknown."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"no list of at most {most} items")
    return value


def plain(value: object, longest: int = LONGEST_TEXT) -> str:
    """A text cut to `longest`, safe to print: "?" stands for what could command a terminal."""
    if not isinstance(value, str):
        raise ValueError("no text")
    return printable(value[:longest])


def printable(text: str) -> str:
    """The text with "?" for what is no printable character: escapes, controls, surrogates."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def printable_all(value: Any) -> Any:
    """A JSON value whose texts and keys are safe to print; their line ends and tabs stay."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in value)
    if isinstance(value, dict):
        return {printable_all(key): printable_all(each) for key, each in value.items()}
    return [printable_all(each) for each in value] if isinstance(value, list) else value


def whole(value: object, low: int = 0, high: int = MOST) -> int:
    """A whole number within a range."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"no whole number from {low} to {high}")
    return value


def number(value: object, low: float, high: float) -> float:
    """A finite number within a range, `high` left out."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high:
        return float(value)  # NaN is in no range
    raise ValueError(f"no number from {low:g} to {high:g}")


def flag(value: object) -> bool:
    """True or False."""
    if type(value) is not bool:
        raise ValueError("neither true nor false")
    return value
