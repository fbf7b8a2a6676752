# SPDX-License-Identifier: BSD-3-Clause
"""Other addresses for the frames of a file: MAC, IPv4 and IPv6, with the checksums that change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.arguments import unknown, vf_mac
from iavfio.capture.packet_file import Frames
from iavfio.errors import ConfigError
from iavfio.signatures import checked_call

Network = IPv4Network | IPv6Network
Index = NDArray[np.int64]
WAYS = {"ip": ("src", "dst"), "ip-src": ("src",), "ip-dst": ("dst",)}
MACS = {"src-mac": 6, "dst-mac": 0}  # where they stand in a frame
KEYS = (*MACS, *WAYS)
TAGS = (0x8100, 0x88A8, 0x9100)
TCP, UDP, ICMP6 = 6, 17, 58
EXAMPLE = "as in src-mac=own, dst-mac=02:00:00:00:00:01, or ip=10.0.0.0/24,192.0.2.0/24"


@dataclass(frozen=True)
class Rule:
    """One rule: a MAC address (None: as it is in the file), or a network that replaces another.

    `own` stands for the address of the port that sends.
    """

    key: str
    mac: bytes | None = None
    own: bool = False
    old: Network | None = None
    new: Network | None = None


@checked_call
def parse_rule(text: str) -> Rule:
    """The rule in words. Raises ConfigError."""
    key, sign, value = text.partition("=")
    if key not in KEYS or not sign:
        raise (
            unknown("rewriting", key, KEYS)
            if sign
            else ConfigError(f"{text!r} is no rule", "a rule is KEY=VALUE", EXAMPLE)
        )
    if key in MACS:
        if value in ("own", "keep"):
            return Rule(key, own=value == "own")
        return Rule(key, mac=vf_mac(key, value) if key == "src-mac" else _any_mac(value))
    old, comma, new = value.partition(",")
    try:
        networks = ip_network(old), ip_network(new)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no rule", str(error), EXAMPLE) from None
    if not comma or networks[0].version != networks[1].version:
        raise ConfigError(f"{text!r} is no rule", "both networks are of one family", EXAMPLE)
    if networks[0].prefixlen != networks[1].prefixlen:
        raise ConfigError(
            f"{text!r} is no rule", "both networks are of one size", "give them one prefix length"
        )
    return Rule(key, old=networks[0], new=networks[1])


def _any_mac(value: str) -> bytes:
    digits = value.replace(":", "").replace("-", "")
    if len(digits) != 12 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise ConfigError(f"{value!r} is no MAC address", "an address has six bytes", EXAMPLE)
    return bytes.fromhex(digits)


def rewrite(frames: Frames, rules: Sequence[Rule], own: bytes) -> int:
    """Applies the rules in order, in place; `own` is the port's address.

    Returns how many IPv6 frames a rule of addresses left as they are, because extension headers
    stand before what has the checksum.
    """
    left = 0
    for rule in rules:
        if rule.old is not None and rule.new is not None:
            left += _rewrite_network(frames, rule.old, rule.new, WAYS[rule.key])
        elif rule.own or rule.mac is not None:
            mac = own if rule.own or rule.mac is None else rule.mac
            long = _at(frames)[frames.lengths >= 12] + MACS[rule.key]
            _put(frames.data, long, np.broadcast_to(np.frombuffer(mac, np.uint8), (len(long), 6)))
    return left


def _at(frames: Frames) -> Index:
    return frames.offsets.astype(np.int64)


def _get(data: NDArray[np.uint8], at: Index, width: int) -> NDArray[np.uint8]:
    """`width` bytes at each place, a row each."""
    rows: NDArray[np.uint8] = data[at[:, None] + np.arange(width)]
    return rows


def _put(data: NDArray[np.uint8], at: Index, rows: NDArray[Any]) -> None:
    data[at[:, None] + np.arange(rows.shape[1])] = rows


def _word(data: NDArray[np.uint8], at: Index) -> Index:
    return data[at].astype(np.int64) << 8 | data[at + 1]


def _network_headers(frames: Frames, kind: int, length: int) -> tuple[Index, Index]:
    """Where headers of an EtherType begin that have `length` bytes, and where their frames end."""
    at = _at(frames)
    end = at + frames.lengths
    at = at + 12
    for _ in range(2):
        inside = at + 6 <= end
        tagged = np.zeros(len(at), dtype=bool)
        tagged[inside] = np.isin(_word(frames.data, at[inside]), TAGS)
        at = at + 4 * tagged
    inside = at + 2 + length <= end
    at, end = at[inside], end[inside]
    chosen = _word(frames.data, at) == kind
    return at[chosen] + 2, end[chosen]


def _rewrite_network(frames: Frames, old: Network, new: Network, ways: Sequence[str]) -> int:
    four = old.version == 4
    data = frames.data
    at, end = _network_headers(frames, 0x0800 if four else 0x86DD, 20 if four else 40)
    protocol = data[at + (9 if four else 6)].astype(np.int64)
    left = np.zeros(len(at), dtype=bool)
    if not four:
        left = np.isin(protocol, (0, 43, 44, 51, 60))  # extension headers
    places = {"src": 12, "dst": 16} if four else {"src": 8, "dst": 24}
    width = 4 if four else 16
    unchanged = 0
    for way in ways:
        where = at + places[way]
        rows = _get(data, where, width)
        mask = np.frombuffer(old.netmask.packed, np.uint8)
        hit = ((rows & mask) == np.frombuffer(old.network_address.packed, np.uint8)).all(axis=1)
        unchanged += int(np.count_nonzero(hit & left))
        hit &= ~left
        fresh = rows[hit] & ~mask | np.frombuffer(new.network_address.packed, np.uint8)
        _put(data, where[hit], fresh)
        change = _words(fresh) - _words(rows[hit])
        if four:
            _adjust(data, at[hit] + 10, change)
        _adjust_transport(data, at[hit], end[hit], protocol[hit], change, four)
    return unchanged


def _words(rows: NDArray[Any]) -> Index:
    """The sum of each row's 16-bit words."""
    wide = rows.astype(np.int64)
    total: Index = (wide[:, 0::2] << 8 | wide[:, 1::2]).sum(axis=1)
    return total


def _adjust_transport(
    data: NDArray[np.uint8], at: Index, end: Index, protocol: Index, change: Index, four: bool
) -> None:
    """The checksums behind the header that cover its addresses; fragments have none."""
    if four:
        behind = at + 4 * (data[at].astype(np.int64) & 0xF)
        first = (_word(data, at + 6) & 0x1FFF) == 0
    else:
        behind, first = at + 40, np.ones(len(at), dtype=bool)
    for kind, place in ((TCP, 16), (UDP, 6), (ICMP6, 2)):
        if kind == ICMP6 and four:
            continue
        chosen = first & (protocol == kind) & (behind + place + 2 <= end)
        where = behind[chosen] + place
        some = change[chosen]
        if kind == UDP:  # 0: the sender made none
            used = _word(data, where) != 0
            where, some = where[used], some[used]
        _adjust(data, where, some, never_zero=kind == UDP)


def _adjust(data: NDArray[np.uint8], at: Index, change: Index, *, never_zero: bool = False) -> None:
    """RFC 1624, equation 3: the new sum from the old one and the words that changed."""
    total = (~_word(data, at) & 0xFFFF) + change
    total = total % 0xFFFF  # ones' complement: carries are added at the low end
    total[total == 0] = 0xFFFF  # 0 has two forms, and a header's sum is never the other one
    fresh = ~total & 0xFFFF
    if never_zero:
        fresh[fresh == 0] = 0xFFFF
    _put(data, at, np.stack((fresh >> 8, fresh & 0xFF), axis=1).astype(np.uint8))
