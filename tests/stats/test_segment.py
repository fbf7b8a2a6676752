# SPDX-License-Identifier: BSD-3-Clause
"""The stats segment and its dumps (docs/spec/libie-counters.md 1, 2, 5)."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.stats import PortSegment, PortStats, read

SEED_GLOBAL = """rx_bytes rx_unicast rx_multicast rx_broadcast rx_discards rx_unknown_protocol
tx_bytes tx_unicast tx_multicast tx_broadcast tx_discards tx_errors""".split()
SEED_RQ = ["packets", "bytes", "fragments", "alloc_page_fail", "build_skb_fail"]
SEED_POOL = """pp_alloc_fast pp_alloc_slow pp_alloc_slow_ho pp_alloc_empty pp_alloc_refill
pp_alloc_waive pp_recycle_cached pp_recycle_cache_full pp_recycle_ring pp_recycle_ring_full
pp_recycle_released_ref""".split()
SEED_SQ = ["packets", "bytes", "busy", "stops", "restarts", "linearized"]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(tmp_path))
    return tmp_path / f"iavfio-{os.geteuid()}"


@pytest.fixture
def segment() -> Iterator[PortSegment]:
    segment = PortSegment.create("p0", 4, device="0000:3b:02.0", transport="cdev")
    segment.set_pairs(2)
    yield segment
    segment.close()


def rq(segment: PortSegment, index: int) -> Any:
    return ffi.cast("struct rq_counters *", segment.rq_address(index))


def sq(segment: PortSegment, index: int) -> Any:
    return ffi.cast("struct sq_counters *", segment.sq_address(index))


def expected(pairs: int, pool: bool = False) -> list[str]:
    names = list(SEED_GLOBAL)
    for i in range(pairs):
        names += [f"rq{i}_{n}" for n in SEED_RQ + (SEED_POOL if pool else [])]
        names += [f"sq{i}_{n}" for n in SEED_SQ]
    return names


@pytest.mark.parametrize("pool", [False, True])
def test_names_and_order_are_the_seed_series(segment: PortSegment, pool: bool) -> None:
    assert list(read("p0").counters(pool=pool)) == expected(2, pool)


def test_default_dump_is_ethtool_text(segment: PortSegment) -> None:
    segment.set_global(range(100, 112))
    rq(segment, 1).packets = 7
    lines = [line for line in str(read("p0")).splitlines() if not line.startswith("#")]
    assert lines[:2] == ["NIC statistics:", "     rx_bytes: 100"]
    assert "     rq1_packets: 7" in lines
    assert len(lines) == 1 + 12 + 2 * (5 + 6)


def test_kernel_names_are_mainline_packets_and_bytes_tx_first(segment: PortSegment) -> None:
    names = list(read("p0").counters(names="kernel"))[12:]
    assert names[:4] == ["tx-0.packets", "tx-0.bytes", "rx-0.packets", "rx-0.bytes"]
    assert len(names) == 8


def test_own_counters_are_shown_only_on_request(segment: PortSegment) -> None:
    sq(segment, 0).refused_long = 3
    snapshot = read("p0")
    assert "sq0_refused_long" not in snapshot.counters()
    assert snapshot.counters(own=True)["sq0_refused_long"] == 3


def test_unknown_naming_is_refused(segment: PortSegment) -> None:
    with pytest.raises(ConfigError, match="libie or kernel"):
        read("p0").counters(names="bsd")  # type: ignore[arg-type]


def test_json_tells_age_of_the_pf_sample_and_state(segment: PortSegment) -> None:
    assert json.loads(read("p0").to_json())["pf_sample_age_s"] is None
    segment.set_global(range(12))
    segment.set_state("running")
    told = json.loads(read("p0").to_json())
    assert told["pf_sample_age_s"] >= 0
    assert told["state"] == "running"


def test_pairs_shown_never_shrink(segment: PortSegment) -> None:
    segment.set_pairs(4)
    segment.set_pairs(1)
    assert len(read("p0").rq) == 4


def test_segment_describes_itself_for_readers_in_other_languages(
    segment: PortSegment, runtime: Path
) -> None:
    rq(segment, 1).fragments = 77
    raw = (runtime / "p0.stats").read_bytes()
    header: Any = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
    text = json.loads(raw[header.text_offset : header.text_offset + header.text_size])
    field = next(f for f in text["blocks"]["rq"] if f["name"] == "fragments")
    at = header.rq_offset + header.rq_stride + field["offset"]
    assert int.from_bytes(raw[at : at + 8], "little") == 77
    assert field["unit"] == "descriptors"


def test_second_owner_of_a_name_is_refused_and_first_undisturbed(segment: PortSegment) -> None:
    with pytest.raises(StateError, match="already open"):
        PortSegment.create("p0", 1)
    assert len(read("p0").rq) == 2


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 65, ".hidden"])
def test_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        PortSegment.create(name, 1)


def test_damaged_segment_is_an_error_not_a_crash(segment: PortSegment, runtime: Path) -> None:
    damaged = runtime / "bad.stats"
    whole = (runtime / "p0.stats").read_bytes()
    for field, value in [
        ("rq_offset", 1 << 40),
        ("rq_offset", (1 << 64) - 64),
        ("sq_offset", 7),
        ("rq_stride", 0),
        ("sq_stride", 1 << 60),
        ("pf_offset", len(whole) - 8),
        ("capacity", 1 << 30),
        ("text_offset", 1 << 63),
        ("text_size", len(whole)),
    ]:
        raw = bytearray(whole)
        view: Any = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
        setattr(view, field, value)
        damaged.write_bytes(raw)
        with pytest.raises(IavfioError, match="outside the file"):
            read("bad")
    raw = bytearray(whole)
    view = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
    raw[view.text_offset] = 0xFF
    damaged.write_bytes(raw)
    with pytest.raises(IavfioError, match="description is damaged"):
        read("bad")
    damaged.write_bytes(b"IAVF")
    with pytest.raises(IavfioError, match="too short"):
        read("bad")


def test_block_left_odd_by_a_dead_writer_is_named_torn(segment: PortSegment) -> None:
    rq(segment, 1).seq = 5
    assert read("p0").torn == ("rq1",)


def test_arrays_hold_what_a_snapshot_holds(segment: PortSegment) -> None:
    arrays = PortStats(segment).arrays()
    for i in range(2):
        rq(segment, i).packets, rq(segment, i).empty_polls = 10 + i, 20 + i
        sq(segment, i).bytes, sq(segment, i).refused_full = 30 + i, 40 + i
    assert arrays.rq["packets"].tolist() == [0, 0]
    assert arrays.read() == ()
    snapshot = read("p0")
    for block, records in (("rq", arrays.rq), ("sq", arrays.sq)):
        assert len(records) == arrays.pairs == 2
        for i, queue in enumerate(getattr(snapshot, block)):
            assert records.dtype.names == tuple(queue)
            assert {name: int(records[name][i]) for name in queue} == queue
    assert arrays.rq["packets"].tolist() == [10, 11]
    assert arrays.sq["refused_full"].tolist() == [40, 41]


def test_arrays_go_on_behind_a_torn_record(segment: PortSegment) -> None:
    arrays = PortStats(segment).arrays()
    rq(segment, 0).seq, rq(segment, 0).packets = 5, 7
    rq(segment, 1).packets, sq(segment, 1).packets = 8, 9
    assert arrays.read() == ("rq0",)
    assert arrays.rq["packets"].tolist() == [7, 8]
    assert arrays.sq["packets"].tolist() == [0, 9]


def test_copy_is_consistent_while_a_writer_runs(segment: PortSegment) -> None:
    block = ffi.cast("uint64_t *", segment.rq_address(0))
    words = ffi.sizeof("struct rq_counters") // 8
    stop = threading.Event()

    def write() -> None:
        values = ffi.new("uint64_t[]", words)
        n = 0
        while not stop.is_set():
            n += 1
            for i in range(words):
                values[i] = n
            lib.counters_write(block, values, words)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stats = PortStats(segment)
        arrays = stats.arrays()
        for _ in range(300):
            snapshot = stats.snapshot()
            assert snapshot.torn == ()
            assert len(set(snapshot.rq[0].values())) == 1
            assert arrays.read() == ()
            assert len(set(arrays.rq[0].tolist())) == 1
    finally:
        stop.set()
        writer.join()


def test_forked_child_does_not_withdraw_its_parents_segment(segment: PortSegment) -> None:
    pid = os.fork()
    if pid == 0:
        segment.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert read("p0").alive
