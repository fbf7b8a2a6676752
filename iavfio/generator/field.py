# SPDX-License-Identifier: BSD-3-Clause
"""The values that a header field takes from frame to frame: one, a range, a list, random ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from iavfio.arguments import MOST_ITEMS, several, shown
from iavfio.errors import ConfigError

RANDOM = "random:"
STEP = re.compile(r"(.+)\+(\d{1,12})", re.ASCII)
FORMS = "write one value, a list (80,443), a range (1000-1999, or 1000-1999+10 for every tenth)"

Value = Callable[[str], int]


@dataclass(frozen=True)
class Span:
    """The numbers `first`, `first + step`, ... of which there are `count`."""

    first: int
    count: int = 1
    step: int = 1


@dataclass(frozen=True)
class Field:
    """The values of a field: its spans one behind the other, in order or drawn at random."""

    spans: tuple[Span, ...]
    random: bool = False

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(span.count for span in self.spans)

    @property
    def period(self) -> int:
        """After how many frames the values begin anew; 1 for random ones, which have none."""
        return 1 if self.random else self.count

    @property
    def single(self) -> bool:
        """Whether the field always has one value."""
        return self.count == 1

    @property
    def highest(self) -> int:
        """The largest of its values."""
        return max(span.first + (span.count - 1) * span.step for span in self.spans)

    def __getitem__(self, index: int) -> int:
        for span in self.spans:
            if index < span.count:
                return span.first + index * span.step
            index -= span.count
        raise IndexError("a field has no value of that number")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and any(
            0 <= (value - span.first) // span.step < span.count
            and not (value - span.first) % span.step
            for span in self.spans
        )

    def values(self, frames: int, seed: str) -> list[int]:
        """The value of each of so many frames. `seed` decides which random ones come."""
        if self.random:
            draw = random.Random(seed)  # the same on every machine
            return [self[draw.randrange(self.count)] for _ in range(frames)]
        all_values = [self[i] for i in range(min(self.count, frames))]
        whole, rest = divmod(frames, len(all_values))
        return all_values * whole + all_values[:rest]


def numbers(name: str, given: object, high: int) -> Field:
    """The field of numbers from 0 to `high` that a number, a text or a list says.

    Raises ConfigError.
    """

    def value(text: str) -> int:
        if re.fullmatch(r"\d{1,12}", text, re.ASCII) and int(text) <= high:
            return int(text)
        raise _wrong(name, text, f"{name} takes whole numbers from 0 to {high}", FORMS)

    return _field(name, given, value)


def addresses(name: str, given: object) -> tuple[Field, int]:
    """The field of IP addresses that a text or a list says, and their version, 4 or 6.

    Raises ConfigError.
    """
    versions: set[int] = set()
    advice = "write 10.0.0.1, 10.0.0.1-10.0.0.9, 10.0.0.0/24, a list of such, or random:10.0.0.0/8"

    def value(text: str) -> int:
        try:
            address = ip_address(text)
        except ValueError:
            raise _wrong(name, text, f"{name} takes IPv4 or IPv6 addresses", advice) from None
        versions.add(address.version)
        return int(address)

    def network(text: str) -> Span:
        try:
            net = ip_network(text)
        except ValueError as error:
            raise _wrong(name, text, str(error), advice) from None
        versions.add(net.version)
        return Span(int(net.network_address), net.num_addresses)

    field = _field(name, given, value, network)
    if len(versions) > 1:
        raise _wrong(name, given, "it mixes IPv4 and IPv6", "make a stream of each")
    return field, versions.pop()


def _field(
    name: str, given: object, value: Value, network: Callable[[str], Span] | None = None
) -> Field:
    if isinstance(given, bool):
        raise _wrong(name, given, "it is True or False", FORMS)
    drawn = False
    if isinstance(given, str):
        drawn = given.startswith(RANDOM)
        parts = given.removeprefix(RANDOM).split(",")
    elif isinstance(given, int) or hasattr(type(given), "exploded"):  # an ipaddress object
        parts = [str(given)]
    else:
        parts = [str(each) for each in several(name, given, "values")]
    if not parts or len(parts) > MOST_ITEMS:
        raise _wrong(name, given, f"a list has 1 to {MOST_ITEMS} items", FORMS)
    return Field(tuple(_span(name, part.strip(), value, network) for part in parts), drawn)


def _span(name: str, text: str, value: Value, network: Callable[[str], Span] | None) -> Span:
    if network is not None and "/" in text:
        return network(text)
    stepped = STEP.fullmatch(text)
    step = int(stepped[2]) if stepped else 1
    first, dash, last = (stepped[1] if stepped else text).partition("-")
    low = value(first)
    if not dash:
        if stepped:
            raise _wrong(name, text, "a step needs a range", FORMS)
        return Span(low)
    high = value(last)
    if high < low or not step:
        why = "its end is below its beginning" if high < low else "a step is 1 or more"
        raise _wrong(name, text, why, FORMS)
    return Span(low, (high - low) // step + 1, step)


def _wrong(name: str, given: object, why: str, advice: str) -> ConfigError:
    return ConfigError(f"{name}={shown(given)} is not possible", why, advice)


def matrix(values: Sequence[int], width: int) -> bytes:
    """The values in network order, `width` bytes each, one behind the other."""
    return b"".join(each.to_bytes(width, "big") for each in values)
