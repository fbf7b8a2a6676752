# SPDX-License-Identifier: BSD-3-Clause
"""Files and words that users and other processes give: segments, records, options."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from functools import cache
from pathlib import Path

from iavfio import arguments, ranges
from iavfio.errors import ConfigError, IavfioError
from iavfio.host.errors import BadRecord
from iavfio.host.records import Records
from iavfio.pyvfio import regions
from iavfio.pyvfio.errors import ProtocolError
from iavfio.softvf.personality import OPTIONS, parse_option
from iavfio.stats.reader import SegmentReader
from tests.fuzz.target import Target, Words


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="iavfio-fuzz-")


def folder() -> Path:
    """Where inputs that must be files lie: $TMPDIR, gone with the process."""
    return Path(_temporary().name)


def written(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


def segment(data: bytes) -> None:
    try:
        reader = SegmentReader(written("port.stats", data))
        snapshot = reader.snapshot()
        assert str(snapshot) and json.loads(json.dumps(snapshot.as_dict()))
        reader.arrays()
    except IavfioError as error:
        assert error.what


@cache
def segment_seeds() -> list[bytes]:
    from iavfio.stats import PortSegment

    before = os.environ.get("IAVFIO_RUNTIME_DIR")
    os.environ["IAVFIO_RUNTIME_DIR"] = str(folder())
    try:
        with contextlib.closing(PortSegment.create("seed", 1, device="d")) as made:
            return [made.path.read_bytes()[:4096], made.path.read_bytes()]
    finally:
        if before is None:
            del os.environ["IAVFIO_RUNTIME_DIR"]
        else:
            os.environ["IAVFIO_RUNTIME_DIR"] = before


def records(data: bytes) -> None:
    store = Records(folder(), "boot")
    store.path.write_bytes(data)
    try:
        store.load()
    except BadRecord as error:
        assert error.what


def records_seeds() -> list[bytes]:
    return [b'{"version":1,"records":{}}', b"{}", b"[", b"\xff"]


def words(data: bytes) -> None:
    """Options of a software PF, addresses, and every number that a user may give."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(ConfigError):
        name, _ = parse_option(text)
        assert name in OPTIONS
    for check in (arguments.vf_mac, arguments.received_mac):
        for value in (text, data):
            with contextlib.suppress(ConfigError):
                assert len(check("mac", value)) == 6
    number: object = text
    with contextlib.suppress(ValueError, RecursionError):
        number = json.loads(text)
    for each in vars(ranges).values():
        if isinstance(each, arguments.Range | arguments.Amount):
            with contextlib.suppress(ConfigError):
                found = each("value", number)
                assert each.low <= found <= each.high


def words_seeds() -> list[bytes]:
    values = ("on", "off", "0", "1", "-1", "1e300", "64", "02:00:00:00:00:01", "NaN", "true", "")
    return [f"{name}={value}".encode() for name in OPTIONS for value in values[:6]] + [
        value.encode() for value in values
    ]


def structures(data: bytes) -> None:
    """Replies of the kernel or a server to pyvfio: regions with their capabilities, interrupts."""
    taken = Words(data)
    kind, body = taken.number(1) % 3, taken.rest()
    decode, least = (
        (regions.decode_region, regions.REGION.size),
        (regions.decode_info, regions.INFO.size),
        (regions.decode_irq, regions.IRQ.size),
    )[kind]
    try:
        found = decode(body.ljust(least, b"\0"))
    except ProtocolError as error:
        assert str(error)
        return
    for area in getattr(found, "areas", ()):
        assert area.offset + area.size <= found.size and area.offset % 4096 == 0  # type: ignore[union-attr]


def structures_seeds() -> list[bytes]:
    region = struct.pack("<IIIIQQ", 80, 15, 0, 32, 0x20000, 0)
    sparse = struct.pack("<HHIIIQQ", 1, 1, 0, 1, 0, 0x2000, 0x1000)
    loop = struct.pack("<HHIIIQQ", 7, 1, 32, 1, 0, 0x2000, 0x1000)
    return [b"\0" + region + sparse, b"\0" + region + loop, b"\1" + bytes(16), b"\2" + bytes(16)]


TARGETS = (
    Target(
        "segment",
        segment,
        segment_seeds,
        "any file to the reader of other processes' counters",
        "an exception that is no IavfioError, a crash",
    ),
    Target(
        "records",
        records,
        records_seeds,
        "any file to the reader of what `iavfio bind` recorded",
        "an exception other than BadRecord",
    ),
    Target(
        "words",
        words,
        words_seeds,
        "any text as option of a software PF, as address, and as each number of a user",
        "an exception other than ConfigError, a number outside of its range",
    ),
    Target(
        "structures",
        structures,
        structures_seeds,
        "any reply of the kernel or a vfio-user server to GET_INFO, REGION_INFO and IRQ_INFO",
        "an exception other than ProtocolError, a mappable area outside of its region",
    ),
)
