# SPDX-License-Identifier: BSD-3-Clause
"""The arguments of an administrator's request; each reader raises ConfigError for a wrong value."""

from __future__ import annotations

import string
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from iavfio.errors import ConfigError

Request = Mapping[str, Any]
MESSAGE_LIMIT = 4096
# What `ip link` can ask of a card's PF, and these cannot do.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "qos": "the switch gives the tags of a port VLAN no priority",
        "proto": "a port VLAN has tags of type 802.1Q",
        "min_tx_rate": "the scheduler keeps limits and no guarantees",
    }
)


def only(request: Request, *forms: str) -> None:
    """Raises ConfigError for a request whose arguments no form has, names divided by spaces.

    A form need not be complete. Nobody shall believe that an argument did what it was never read
    for.
    """
    named = request.keys() - {"command"}
    if any(named <= {*form.split()} for form in forms):
        return
    known = {name for form in forms for name in form.split()}
    strange = sorted(str(name) for name in named - known)
    whose = f"the command {request.get('command')!r}"
    if not strange:
        apart = " or ".join(f"({form.replace(' ', ', ')})" for form in forms)
        raise ConfigError(f"{whose} takes {apart}, not arguments of both")
    raise ConfigError(
        f"{whose} has no argument {', '.join(map(repr, strange))}",
        next((REASONS[name] for name in strange if name in REASONS), ""),
        f"it takes {', '.join(sorted(known)) or 'none'}",
    )


def integer(request: Request, key: str, low: int, high: int, default: int | None = None) -> int:
    """An integer from `low` to `high`."""
    value = request.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f'"{key}" must be an integer from {low} to {high}, not {value!r}')
    return value


def flag(request: Request, key: str, default: bool | None = None) -> bool:
    """True or false."""
    value = request.get(key, default)
    if type(value) is not bool:
        raise ConfigError(f'"{key}" must be true or false, not {value!r}')
    return value


def word(request: Request, key: str, words: tuple[str, ...]) -> str:
    """Returns the request's value of `key`, one of `words`. Raises ConfigError for another."""
    value = request.get(key)
    if value not in words:
        raise ConfigError(f'"{key}" must be one of {", ".join(words)}, not {value!r}')
    return str(value)


def latency(request: Request) -> float | None:
    """ "latency_ms" in milliseconds, None when the request has none."""
    value = request.get("latency_ms")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 60_000:
        raise ConfigError(f'"latency_ms" must be a number from 0 to 60000, not {value!r}')
    return float(value)


def hex_bytes(request: Request, key: str) -> bytes:
    """Bytes written as pairs of hex digits, at most those of one message."""
    value = request.get(key, "")
    if not isinstance(value, str) or len(value) % 2 or set(value) - set(string.hexdigits):
        raise ConfigError(f'"{key}" must be pairs of hex digits, not {value!r}')
    if len(value) > 2 * MESSAGE_LIMIT:
        raise ConfigError(f'"{key}" is longer than {MESSAGE_LIMIT} bytes')
    return bytes.fromhex(value)


def parse_mac(text: object) -> bytes:
    """The six bytes of a unicast address, or zeros."""
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 6 or any(len(p) != 2 or set(p) - set(string.hexdigits) for p in parts):
        raise ConfigError(f'"mac" must look like 02:00:00:00:00:01, not {text!r}')
    mac = bytes.fromhex("".join(parts))
    if mac[0] & 1:
        raise ConfigError(f"{text} is a multicast address, a VF needs a unicast one")
    return mac
