# SPDX-License-Identifier: BSD-3-Clause
"""Segments that other users wrote, with any content: they cost little and hide nobody's port."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iavfio._driver import ffi
from iavfio.errors import IavfioError
from iavfio.live import Follower, Watch
from iavfio.stats import PortSegment, SegmentReader, known_ports, listing, read
from iavfio.stats.layout import LARGEST, MOST_PAIRS, MOST_TEXT
from iavfio.stats.listing import snapshots
from iavfio.stats.patience import NAP, SECONDS
from iavfio.stats.runtime import UserDir, user_name

HEADER = "struct segment_header"


class FalseTime:
    """A clock that only sleeping moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept = 0.0
        began = time.monotonic()
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(time, "monotonic", lambda: began + self.slept)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds


def unfinished(name: str, pairs: int) -> PortSegment:
    """A living port whose every block is inside an update, and stays so."""
    segment = PortSegment.create(name, pairs)
    segment.set_pairs(pairs)
    for block in ("rq", "sq"):
        for i in range(pairs):
            address = getattr(segment, f"{block}_address")(i)
            ffi.cast(f"struct {block}_counters *", address).seq = 1
    return segment


@pytest.fixture
def draft(base: Path) -> Iterator[tuple[bytes, Path]]:
    """The bytes of a good segment, and a path where a damaged one may lie."""
    segment = PortSegment.create("good", 2, device="0000:3b:02.0", labels={"family": "e810"})
    segment.set_pairs(2)
    yield segment.path.read_bytes(), segment.path.with_name("bad.stats")
    segment.close()


def changed(raw: bytes, **fields: int) -> bytearray:
    out = bytearray(raw)
    header: Any = ffi.cast(f"{HEADER} *", ffi.from_buffer(out))
    for name, value in fields.items():
        setattr(header, name, value)
    return out


@pytest.mark.parametrize("pairs", [8, 64])
def test_unfinished_blocks_cost_one_deadline_however_many_they_are(
    base: Path, monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    segment = unfinished("p0", pairs)
    clock = FalseTime(monkeypatch)
    torn = read("p0").torn
    assert torn == tuple(f"{block}{i}" for block in ("rq", "sq") for i in range(pairs))
    assert clock.slept <= SECONDS + NAP
    segment.close()


def test_all_segments_of_a_look_share_the_deadline(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = [unfinished(f"p{i}", 4) for i in range(6)]
    watch = Watch()
    clock = FalseTime(monkeypatch)
    assert [len(each.torn) for each in snapshots()] == [8] * 6
    assert clock.slept <= SECONDS + NAP
    clock.slept = 0.0
    assert len(watch.step()) == 6
    assert clock.slept <= SECONDS + NAP
    for segment in segments:
        segment.close()


def test_writer_that_goes_on_within_the_deadline_is_not_torn(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = unfinished("p0", 1)
    rq: Any = ffi.cast("struct rq_counters *", segment.rq_address(0))
    clock = FalseTime(monkeypatch)

    def go_on(seconds: float) -> None:
        clock.slept += seconds
        if clock.slept > SECONDS / 2:
            rq.packets, rq.seq = 7, 2

    monkeypatch.setattr(time, "sleep", go_on)
    snapshot = read("p0")
    assert (snapshot.rq[0]["packets"], snapshot.torn) == (7, ("sq0",))
    segment.close()


@pytest.mark.parametrize(
    ("fields", "length", "words"),
    [
        ({"text_size": 1 << 39}, 1 << 40, "is longer than"),
        ({}, LARGEST + 1, "is longer than"),
        ({"text_size": MOST_TEXT + 1}, LARGEST, "more queues or text"),
        ({"capacity": MOST_PAIRS + 1}, LARGEST, "more queues or text"),
    ],
)
def test_what_no_port_needs_is_neither_mapped_nor_read(
    draft: tuple[bytes, Path], fields: dict[str, int], length: int, words: str
) -> None:
    raw, path = draft
    path.write_bytes(changed(raw, **fields))
    os.truncate(path, length)  # which takes no room: the rest is a hole
    with pytest.raises(IavfioError, match=words):
        read("bad")
    assert known_ports() == ["good"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {}, optional={"device": VALUES, "transport": VALUES, "labels": VALUES}
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 60_000, b"9" * 60_000, b'{"device": "\\ud800"}', b"NaN"]),
)
FIELDS = st.dictionaries(
    st.sampled_from([n for n, _ in ffi.typeof(HEADER).fields if n not in ("magic", "reserved")]),
    st.sampled_from([0, 1, 8, 63, 64, 4096, 1 << 31, (1 << 32) - 1]),
    max_size=3,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS, fields=FIELDS)
def test_any_content_is_read_or_refused(
    draft: tuple[bytes, Path], text: bytes, fields: dict[str, int]
) -> None:
    raw, path = draft
    end = changed(raw, text_offset=len(raw), text_size=len(text)) + text
    path.write_bytes(changed(bytes(end), **fields))
    try:
        snapshot = SegmentReader(path).snapshot()
    except IavfioError:
        return
    told = f"{snapshot.device}{snapshot.transport}{snapshot.labels}{snapshot.text()}"
    assert told.replace("\n", "").isprintable()
    json.loads(snapshot.to_json().encode())


def other_directory(base: Path, name: str) -> Path:
    """A directory of segments that readers look into beside that of this user."""
    path = base / name
    path.mkdir(mode=0o755)
    return path


@pytest.mark.parametrize("before", [True, False], ids=["looked at before", "looked at after"])
def test_a_damaged_file_hides_no_port_of_the_same_name(base: Path, before: bool) -> None:
    segment = PortSegment.create("p0", 1, mode=0o644)
    stranger = other_directory(base, "iavfio-!" if before else "iavfio-zz")
    (stranger / "p0.stats").write_bytes(b"IAVFSTAT" + bytes(500))
    assert read("p0").alive
    follower = Follower("p0")
    segment.close()
    again = PortSegment.create("p0", 1, mode=0o644)
    assert follower.step().events == ("restarted",)
    again.close()
    with pytest.raises(IavfioError, match="no readable stats segment"):
        read("p0")


def test_a_port_of_another_user_is_no_successor(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = PortSegment.create("p0", 1, mode=0o644)
    follower = Follower("p0")
    segment.close()
    asked: list[str] = []

    def find(port: str) -> SegmentReader:
        asked.append(port)
        return listing.find(port)

    monkeypatch.setattr("iavfio.live.follower.find", find)
    assert follower.step().events == ("gone",)
    assert asked == [f"{user_name(os.geteuid())}/p0"]


def test_a_user_with_very_many_files_costs_others_no_more_than_some(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_PORTS", 2)
    segments = [PortSegment.create(f"p{i}", 1) for i in range(4)]
    assert len(known_ports()) == 4  # its own, all of them
    monkeypatch.setattr(UserDir, "mine", property(lambda _: False))
    assert known_ports() == ["p0", "p1"]
    for segment in segments:
        segment.close()
