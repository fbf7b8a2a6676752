# SPDX-License-Identifier: BSD-3-Clause
"""What the benches make of their measurements: texts read, pages filled. Nothing is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import circulation, record, testpmd

STOPPED = """
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 9600           RX-dropped: 0             RX-total: 9600
  TX-packets: 9600           TX-dropped: 0             TX-total: 9600
  RX-bursts : 1000 [70% of 0 pkts + 30% of 32 pkts]
  TX-bursts : 301 [0% of 0 pkts + 99% of 32 pkts + 1% of other]
  CPU cycles/packet=47.25 (total cycles=453600 / total io packets=9600) at 2600 MHz Clock
testpmd> """


def test_page_keeps_what_lies_outside_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    record.fill(page, "a", "new")
    assert page.read_text() == "before\n<!-- a -->\nnew\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="has no '<!-- b -->'"):
        record.fill(page, "b", "new")


def test_every_block_that_a_bench_fills_is_in_the_page() -> None:
    blocks = {
        "performance": ("ring", "loopback", "testpmd", "bursts", "startup"),
        "handlers": ("handlers",),
    }
    for page, name in ((page, f"{n}-results") for page, names in blocks.items() for n in names):
        text = (record.ROOT / "docs" / "guides" / f"{page}.md").read_text(encoding="utf-8")
        assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- /{name} -->") == 1


def test_a_table_has_a_cell_for_each_column() -> None:
    assert record.table("a|b", [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert record.spread([3.0, 1.0, 2.0], 1) == "3.0 / 2.0 / 1.0"


def test_empty_polls_of_testpmd_are_those_that_sent_nothing() -> None:
    assert testpmd.polls_of(STOPPED) == (9600, 1000, 699, 47.25)
    with pytest.raises(testpmd.TestpmdFailed, match="no statistics"):
        testpmd.polls_of("Packet forwarding not started")


def test_frames_are_those_that_testpmd_sends() -> None:
    mac = bytes.fromhex("021af0890000")
    first, *rest = circulation.frames(3, mac)
    assert rest == [first, first]
    assert first[:14] == mac + mac + b"\x08\x00"
    head = first[14:34]
    total = sum(int.from_bytes(head[i : i + 2], "big") for i in range(0, 20, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # a right header sums to all ones
    assert int.from_bytes(head[2:4], "big") == 50
    assert int.from_bytes(first[38:40], "big") == 30
    assert len(first) == 64
