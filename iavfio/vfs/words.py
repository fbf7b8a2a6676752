# SPDX-License-Identifier: BSD-3-Clause
"""The settings of a VF, a row each: the word, what it takes, and with which others it travels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from iavfio.arguments import unknown, vf_mac
from iavfio.errors import ConfigError
from iavfio.signatures import checked_call

Value = bool | int | str
NO_MAC = "00:00:00:00:00:00"  # as the kernel tells and takes "none set by the host"
LINKS = ("auto", "enable", "disable")  # in the order of the kernel's numbers
MOST_RATE = (1 << 32) - 1  # Mbit/s; the kernel's field has 32 bits


@dataclass(frozen=True)
class Word:
    """One setting. `group`: settings that the kernel takes in one attribute have the same.

    `values`: words that it takes, for a shell to offer; other values may go as well.
    """

    name: str
    takes: str  # for --help and errors
    read: Callable[[str], Value]  # raises ValueError
    group: str
    example: str
    values: tuple[str, ...] = ()


FLAG = ("on", "off")


def _flag(text: str) -> bool:
    if text not in FLAG:
        raise ValueError
    return text == "on"


def _mac(text: str) -> str:
    if text == "none":
        return NO_MAC
    try:
        return vf_mac("mac", text).hex(":")
    except ConfigError as wrong:
        raise ValueError(wrong.cause) from wrong


def _link(text: str) -> str:
    if text not in LINKS:
        raise ValueError
    return text


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text[:12]) <= high:
            raise ValueError
        return int(text)

    return read


ROWS = (
    Word("mac", "a unicast address, or none", _mac, "mac", "02:00:00:00:00:01", ("none",)),
    Word("vlan", "0 to 4094; 0 = no port VLAN", _whole(0, 4094), "vlan", "100"),
    Word("qos", "0 to 7, the priority in the port VLAN's tag", _whole(0, 7), "vlan", "3"),
    Word("trust", "on or off", _flag, "trust", "on", FLAG),
    Word("spoofchk", "on or off", _flag, "spoofchk", "off", FLAG),
    Word("link", "auto, enable or disable", _link, "link", "auto", LINKS),
    Word(
        "rate",
        "Mbit/s that the VF may send at most; 0 = no limit",
        _whole(0, MOST_RATE),
        "rate",
        "1000",
    ),
    Word(
        "min-rate",
        "Mbit/s that the VF may send at least; 0 = none kept for it",
        _whole(0, MOST_RATE),
        "rate",
        "100",
    ),
)
WORDS: Mapping[str, Word] = MappingProxyType({row.name: row for row in ROWS})


@checked_call
def parse(words: Sequence[str]) -> dict[str, Value]:
    """Settings from words as `trust on vlan 100`, in their order.

    Raises ConfigError for a word that is none, a value that it does not take, one without a value,
    or one that comes twice.
    """
    if not words:
        raise ConfigError(
            "no setting is named",
            f"settings are {', '.join(WORDS)}",
            "for example: iavfio vf PF set 0 trust on",
        )
    asked: dict[str, Value] = {}
    for at in range(0, len(words), 2):
        name = words[at]
        word = WORDS.get(name)
        if word is None:
            raise unknown("setting of a VF", name, WORDS)
        if name in asked:
            raise ConfigError(
                f"{name} is named twice", "each setting has one value", "give it once"
            )
        if at + 1 == len(words):
            raise ConfigError(
                f"{name} has no value", f"it takes {word.takes}", f"{name} {word.example}"
            )
        text = words[at + 1]
        try:
            asked[name] = word.read(text)
        except ValueError as wrong:
            raise ConfigError(
                f"{name} {text[:40]!r} is not possible",
                str(wrong) if str(wrong) and name == "mac" else f"it takes {word.takes}",
                f"for example: {name} {word.example}",
            ) from None
    return asked


def shown(name: str, value: Value | None) -> str:
    """A value as a user writes it."""
    if value is None:
        return "not told"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "mac" and value == NO_MAC:
        return "none"
    return str(value)
