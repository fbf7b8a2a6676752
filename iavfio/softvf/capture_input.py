# SPDX-License-Identifier: BSD-3-Clause
"""A capture for the wire that is packed by gzip, or is pcapng: made a classic pcap file first.

The data plane reads classic pcap as it goes. Other files, and pipes, are read once before it
starts, into an unnamed file in the folder for temporary files.
"""

from __future__ import annotations

import gzip
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from iavfio.errors import ConfigError

KIND = "pcap:"
OPTIONS = ("start=", "loop=", "pace=")  # all other parts name files
GZIP, SECTION = b"\x1f\x8b", b"\n\r\r\n"
CLASSIC = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d")
NANOSECONDS, ETHERNET, LONGEST_BLOCK = 0xA1B23C4D, 1, 1 << 25
INTERFACE, SIMPLE, ENHANCED = 1, 3, 6
Reader = gzip.GzipFile | BinaryIO


def _files(parts: Sequence[str]) -> list[int]:
    """Which parts of an uplink name files: the capture, then the output."""
    return [at for at, part in enumerate(parts) if not part.startswith(OPTIONS)]


def check_output(uplink: str) -> None:
    """Raises ConfigError where what leaves on the wire is to be recorded into a pipe.

    Whoever reads the pipe could make the data plane wait, and all VFs with it.
    """
    parts = uplink.removeprefix(KIND).split(",")
    for path in [parts[at] for at in _files(parts)[1:]]:
        if path and Path(path).is_fifo():
            raise ConfigError(
                f"cannot open the uplink {uplink!r}",
                f"{path} is a pipe, whose reader could make all VFs wait",
                "record into a file, or what a VF receives into the pipe: "
                f"iavfio capture VF -w {path}",
            )


@contextmanager
def classic(uplink: str) -> Iterator[str]:
    """The uplink with a classic capture in place of one that is none; others as they are.

    The name is good until the context is left. Raises ConfigError for a file that cannot be made
    one, and OSError where there is no room for it.
    """
    parts = uplink.removeprefix(KIND).split(",")
    at = next(iter(_files(parts)), None)
    if not uplink.startswith(KIND) or at is None or not parts[at]:
        yield uplink
        return
    name = parts[at]
    with ExitStack() as stack:
        pipe = False
        try:
            pipe = Path(name).is_fifo()
            path = stack.enter_context(_spooled(name)) if pipe else Path(name)
            with path.open("rb") as file:
                start = file.read(4)
        except OSError:
            if pipe:
                raise
            yield uplink  # the data plane says what is wrong with it
            return
        if start[:2] == GZIP or start == SECTION:
            path = stack.enter_context(_converted(name, path, start[:2] == GZIP))
        elif pipe and start not in CLASSIC:
            raise ConfigError(
                f"the capture {name} cannot be played",
                "what the pipe brought is no capture file",
                "write a capture into it, up to its end: pcap, pcapng, or either packed by gzip",
            )
        elif not pipe:
            yield uplink
            return
        parts[at] = str(path)
        yield KIND + ",".join(parts)


@contextmanager
def _spooled(name: str) -> Iterator[Path]:
    """What comes out of a pipe up to its end.

    The data plane must not wait for whoever writes to the pipe: all VFs would wait with it.
    """
    with suppress(OSError, AttributeError):  # a stderr that is closed or full stops nothing
        sys.stderr.write(
            f"iavfio: {name} is a pipe: it is read to its end before any VF is there\n"
        )
        sys.stderr.flush()
    with tempfile.TemporaryFile(prefix="iavfio-") as made:
        with Path(name).open("rb") as pipe:
            shutil.copyfileobj(pipe, made)
        made.flush()
        yield Path(f"/proc/self/fd/{made.fileno()}")


@contextmanager
def _converted(name: str, path: Path, packed: bool) -> Iterator[Path]:
    with tempfile.TemporaryFile(prefix="iavfio-") as made:
        with gzip.open(path) if packed else path.open("rb") as source:
            try:
                _convert(name, source, made)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise _damaged(name, f"its gzip data: {error}") from error
        made.flush()
        yield Path(f"/proc/self/fd/{made.fileno()}")


def _damaged(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"the capture {name} cannot be played: it is cut or damaged",
        why,
        f"save what is good of it: editcap {name} OUT",
    )


def _convert(name: str, source: Reader, out: IO[bytes]) -> None:
    start = source.read(4)
    if start in CLASSIC:
        out.write(start)
        shutil.copyfileobj(source, out)
    elif start == SECTION:
        out.write(struct.pack("=IHHIIII", NANOSECONDS, 2, 4, 0, 0, 1 << 18, ETHERNET))
        for time, length, data in _frames(name, source):
            out.write(struct.pack("=IIII", *divmod(time, 1_000_000_000), len(data), length) + data)
    else:
        raise ConfigError(
            f"the capture {name} cannot be played", "what is packed in it is no capture file"
        )


def _frames(name: str, source: Reader) -> Iterator[tuple[int, int, bytes]]:
    """Time in ns, length on the wire and bytes of each frame; of the first block 4 bytes are read.

    Frames of interfaces that are no Ethernet are refused: they cannot be on this wire.
    """
    order, number = "<", 0
    interfaces: list[tuple[int, int, int]] = []
    head = SECTION + source.read(4)
    while head:
        number += 1
        where = f"at block {number}"
        if len(head) < 8:
            raise _damaged(name, f"{where} the file ends inside its header")
        rest = b""
        if head[:4] == SECTION:
            rest = source.read(4)
            order = "<" if rest == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, total = struct.unpack(f"{order}II", head)
        if not 12 <= total <= LONGEST_BLOCK or total % 4:
            raise _damaged(name, f"{where} a length of {total} bytes, which no block has")
        body = rest + source.read(total - 8 - len(rest))
        if len(body) < total - 8:
            raise _damaged(name, f"{where} the file ends inside it")
        if struct.unpack(f"{order}I", body[-4:])[0] != total:
            raise _damaged(name, f"{where} the length at its end is not that at its beginning")
        try:
            if kind == INTERFACE:
                interfaces.append(_interface(name, order, body[:-4]))
            elif kind in (ENHANCED, SIMPLE):
                yield _frame(order, kind == SIMPLE, body[:-4], interfaces)
        except (struct.error, IndexError) as error:
            raise _damaged(name, f"{where} what it says of itself is not so") from error
        head = source.read(8)


def _interface(name: str, order: str, body: bytes) -> tuple[int, int, int]:
    """Returns an interface's snaplen, ticks a second, and offset of times in seconds."""
    link, _, snaplen = struct.unpack_from(f"{order}HHI", body)
    if link != ETHERNET:
        raise ConfigError(
            f"the capture {name} cannot be played",
            f"it has an interface of link type {link}, not Ethernet",
        )
    ticks, offset, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(f"{order}HH", body, at)
        if not code:
            break
        if code == 9:
            power = body[at + 4]
            ticks = 1 << (power & 0x7F) if power & 0x80 else 10**power
        elif code == 14:
            (offset,) = struct.unpack_from(f"{order}q", body, at + 4)
        at += 4 + length + -length % 4
    return snaplen, ticks, offset


def _frame(
    order: str, simple: bool, body: bytes, interfaces: list[tuple[int, int, int]]
) -> tuple[int, int, bytes]:
    if simple:
        (length,) = struct.unpack_from(f"{order}I", body)
        kept = min(length, len(body) - 4, interfaces[0][0] or length)
        return 0, length, body[4 : 4 + kept]
    number, high, low, captured, length = struct.unpack_from(f"{order}IIIII", body)
    _, ticks, offset = interfaces[number]
    if captured > len(body) - 20:
        raise IndexError
    time = offset * 1_000_000_000 + (high << 32 | low) * 1_000_000_000 // ticks
    if not 0 <= time < 1_000_000_000 << 32:
        time = 0  # the wire needs none, and a classic file can hold no such time
    return time, length, body[20 : 20 + captured]
