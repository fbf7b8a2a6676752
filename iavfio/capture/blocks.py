# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of a pcapng file that a capture writes besides its frames.

The format is that of the IETF draft "PCAP Now Generic (pcapng) Capture File Format". Numbers are in
this host's byte order, as the frames' blocks are that C writes; readers see by the section header
which one that is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

SECTION, INTERFACE, STATISTICS = 0x0A0D0D0A, 1, 5  # types of blocks
ORDER_MAGIC = 0x1A2B3C4D
ETHERNET = 1  # the link type
NANOSECONDS = 9  # if_tsresol: a time is so many powers of ten below a second
LONGEST_TEXT = 0xFFFF - 3  # bytes of an option's value

# Codes of options; 1, a comment, may stand in any block.
COMMENT = 1
SECTION_HARDWARE, SECTION_OS, SECTION_APPLICATION = 2, 3, 4
IF_NAME, IF_DESCRIPTION, IF_MAC, IF_SPEED, IF_RESOLUTION, IF_FILTER = 2, 3, 6, 8, 9, 11
STAT_START, STAT_END, STAT_RECEIVED, STAT_DROPPED, STAT_ACCEPTED, STAT_OS_DROPPED = range(2, 8)
STAT_DELIVERED = 8

Option = tuple[int, bytes]


@dataclass(frozen=True)
class Interface:
    """What a file says of the interface that its frames come from.

    `speed`: bits a second, 0 = not known. `filter`: the expression, empty = none. `comments`: lines
    for the reader of the file.
    """

    name: str
    description: str
    mac: bytes
    speed: int
    snaplen: int
    filter: str = ""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistics:
    """What was counted since the capture began, up to `end`; times in ns since 1970.

    `received`: frames that came to the interface; `dropped`: those of them that no buffer had room
    for, or that a reset took; `accepted`: those that the filter let through; `delivered`: those
    that were written.
    """

    start: int
    end: int
    received: int
    dropped: int
    accepted: int
    delivered: int
    comment: str = ""


def section(application: str, system: str, comments: Iterable[str] = ()) -> bytes:
    """A section header block: a file begins with one. Its section's length is left open."""
    options = [(COMMENT, _text(comment)) for comment in comments]
    options += [(SECTION_OS, _text(system)), (SECTION_APPLICATION, _text(application))]
    return _block(SECTION, struct.pack("=IHHq", ORDER_MAGIC, 1, 0, -1), options)


def interface(of: Interface) -> bytes:
    """An interface description block; times of its frames are in nanoseconds."""
    options = [(COMMENT, _text(comment)) for comment in of.comments]
    options += [(IF_NAME, _text(of.name)), (IF_DESCRIPTION, _text(of.description))]
    options.append((IF_MAC, of.mac))
    if of.speed:
        options.append((IF_SPEED, struct.pack("=Q", of.speed)))
    options.append((IF_RESOLUTION, bytes([NANOSECONDS])))
    if of.filter:
        options.append((IF_FILTER, b"\0" + _text(of.filter)[: LONGEST_TEXT - 1]))
    return _block(INTERFACE, struct.pack("=HHI", ETHERNET, 0, of.snaplen), options)


def statistics(of: Statistics) -> bytes:
    """An interface statistics block of interface 0."""
    options = [
        (STAT_START, _time(of.start)),
        (STAT_END, _time(of.end)),
        (STAT_RECEIVED, struct.pack("=Q", of.received)),
        (STAT_DROPPED, struct.pack("=Q", of.dropped)),
        (STAT_ACCEPTED, struct.pack("=Q", of.accepted)),
        (STAT_OS_DROPPED, struct.pack("=Q", 0)),
        (STAT_DELIVERED, struct.pack("=Q", of.delivered)),
    ]
    if of.comment:
        options.insert(0, (COMMENT, _text(of.comment)))
    return _block(STATISTICS, struct.pack("=I", 0) + _time(of.end), options)


def _block(kind: int, body: bytes, options: Iterable[Option]) -> bytes:
    parts = [body]
    parts += [struct.pack("=HH", code, len(value)) + _padded(value) for code, value in options]
    parts.append(bytes(4))  # the end of options
    content = b"".join(parts)
    total = struct.pack("=I", len(content) + 12)
    return struct.pack("=I", kind) + total + content + total


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _text(text: str) -> bytes:
    return text.encode(errors="replace")[:LONGEST_TEXT]


def _time(nanoseconds: int) -> bytes:
    return struct.pack("=II", nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)
