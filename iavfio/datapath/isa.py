# SPDX-License-Identifier: BSD-3-Clause
"""Code paths of the driver: the same work in different instruction sets."""

from __future__ import annotations

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.ranges import ISA

NUMBERS: dict[str, int] = {word: int(getattr(lib, f"ISA_{word.upper()}")) for word in ISA.words}


def usable() -> tuple[str, ...]:
    """The code paths that this CPU can run, "auto" first."""
    return tuple(word for word, number in NUMBERS.items() if lib.isa_usable(number))


def check_isa(name: str, value: object) -> str:
    """A code path that this CPU can run. Raises ConfigError."""
    word = ISA(name, value)
    if word not in usable():
        raise ConfigError(
            f"{name}={word!r} is not possible",
            f"this CPU cannot run it; it can run {', '.join(usable())}",
            "leave the choice to 'auto'",
        )
    return word
