# SPDX-License-Identifier: BSD-3-Clause
"""The counters' file is cut short under a running port (docs/spec/reliability.md F32)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio._driver import ffi
from iavfio.errors import IavfioError
from iavfio.stats import PortSegment, PortStats, SegmentReader, known_ports
from iavfio.stats.layout import HEADER, PAGE
from tests.stats.others import in_child

CUTS = [0, 8, 100, HEADER + 8, PAGE, 2 * PAGE]


@pytest.fixture
def segment(base: Path) -> Iterator[PortSegment]:
    segment = PortSegment.create("p0", 16, device="0000:3b:02.0", transport="cdev")
    segment.set_pairs(16)
    segment.set_state("running")
    yield segment
    segment.close()


def rq(segment: PortSegment, index: int) -> Any:
    return ffi.cast("struct rq_counters *", segment.rq_address(index))


def sq(segment: PortSegment, index: int) -> Any:
    return ffi.cast("struct sq_counters *", segment.sq_address(index))


@pytest.mark.parametrize("left", [0, PAGE])
def test_no_count_is_lost(segment: PortSegment, left: int) -> None:
    stats = PortStats(segment)
    receiving, sending = [rq(segment, i) for i in range(16)], [sq(segment, i) for i in range(16)]
    for i in range(16):
        receiving[i].packets, sending[i].packets = 100 + i, 200 + i
    os.truncate(segment.path, left)
    sending[15].packets += 1  # C's hot path does the same
    for i in range(16):
        receiving[i].packets += 1
    now = stats.snapshot()
    assert [queue["packets"] for queue in now.rq] == [101 + i for i in range(16)]
    assert [queue["packets"] for queue in now.sq] == [200 + i for i in range(15)] + [216]
    assert (now.last_state, now.alive, now.device) == ("running", True, "0000:3b:02.0")
    assert [int(n) for n in stats.arrays().rq["packets"]] == [101 + i for i in range(16)]


@pytest.mark.parametrize("left", CUTS)
def test_others_find_no_segment_also_when_it_is_made_longer(
    segment: PortSegment, left: int
) -> None:
    """Zeros would be taken for counters (docs/spec/reliability.md F32)."""
    size = segment.path.stat().st_size
    assert not segment.hidden
    os.truncate(segment.path, left)
    with pytest.raises(IavfioError, match="close that port and open it again"):
        SegmentReader(segment.path)
    assert segment.hidden
    os.truncate(segment.path, size)
    assert segment.hidden
    with pytest.raises(IavfioError, match="no readable stats segment"):
        SegmentReader(segment.path)
    assert known_ports() == []


@pytest.mark.parametrize("left", CUTS)
def test_segment_works_on_in_its_process(segment: PortSegment, left: int) -> None:
    stats = PortStats(segment)
    os.truncate(segment.path, left)
    assert segment.hidden
    segment.set_global(range(12))
    segment.set_link(True, 25000, bytes(6))
    sq(segment, 15).bytes = 7
    now = stats.snapshot()
    assert (len(now.rq), now.sq[15]["bytes"]) == (16, 7)
    assert (now.last_state, now.link_up, list(now.pf.values())) == ("running", True, [*range(12)])


def test_reader_that_has_it_mapped_is_told(segment: PortSegment) -> None:
    reader = SegmentReader(segment.path)
    reader.snapshot()
    os.truncate(segment.path, 0)
    with pytest.raises(IavfioError, match="cut short while it was read"):
        reader.snapshot()


def test_forked_child_takes_nothing_from_its_parent(segment: PortSegment) -> None:
    counters = rq(segment, 3)
    counters.packets = 5

    def look() -> None:
        os.truncate(segment.path, 0)
        assert counters.packets == 5

    assert in_child(look) == 0
    counters.packets += 1
    assert counters.packets == 6


TRAFFIC = """
import json, os, sys
import iavfio
from tests.port.rig import collect, drained, send_all, udp, until
with iavfio.softvf() as pf, iavfio.open(pf.sockets[0], name="cut") as port:
    port.configure(queues=2, ring=256)
    port.start(wait_link=5)
    total = 0
    for left in (None, int(sys.argv[1]), 0):
        if left is not None:
            os.truncate(port.segment.path, left)
        frames = [udp(port.mac, port.mac, payload=bytes([i % 251]) * 30) for i in range(100)]
        send_all(port, frames)
        same = sorted(collect(port.rx, len(frames))) == sorted(frames)
        until(lambda: drained(port))
        total += len(frames)
        now = port.stats.snapshot()
        counted = [sum(q["packets"] for q in now.rq), sum(q["packets"] for q in now.sq)]
        assert same and counted == [total, total], (same, counted)
    noted = until(lambda: any("was cut short" in note for note in port.notes))
    print(json.dumps([noted, sum("was cut short" in note for note in port.notes)]))
"""


@pytest.mark.parametrize("left", [0, PAGE])
def test_port_goes_on_with_exact_counters_and_says_so_once(base: Path, left: int) -> None:
    """docs/spec/reliability.md F32"""
    done = subprocess.run(
        [sys.executable, "-c", TRAFFIC, str(left)],
        cwd=Path(iavfio.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True, 1]
