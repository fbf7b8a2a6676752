# SPDX-License-Identifier: BSD-3-Clause
"""A port is followed through resets, ends and successors: what is counted is never negative."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio._driver import ffi
from iavfio.errors import ConfigError, IavfioError
from iavfio.live import Follower, Watch
from iavfio.live.rates import as_json
from iavfio.live.text import line, total_line
from iavfio.stats import RX, TX, PortSegment
from tests.live.segments import add, running
from tests.stats.others import in_child

DYING = """
import sys
from iavfio.stats import PortSegment
from tests.live.segments import add, running
segment = running(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    add(segment, "rq", 0, packets=int(line))
    print("counted", flush=True)
"""


def process(name: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", DYING, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def count(child: subprocess.Popen[str], packets: int) -> None:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(f"{packets}\n")
    assert child.stdout.readline() == "counted\n"


def test_only_what_was_counted_since_the_last_step_is_told() -> None:
    segment = running("p0")
    add(segment, "rq", 0, packets=100, bytes=6000)
    follower = Follower("p0")
    assert follower.step().counted.rq[0]["packets"] == 0
    add(segment, "rq", 1, packets=7, bytes=420)
    add(segment, "sq", 0, packets=3)
    counted = follower.step().counted
    assert [queue["packets"] for queue in counted.rq] == [0, 7]
    assert [queue["packets"] for queue in counted.sq] == [3, 0]
    assert follower.step().counted.rq[1]["packets"] == 0
    segment.close()


def test_a_reset_is_told_once_even_when_it_is_over_already() -> None:
    segment = running("p0")
    follower = Follower("p0")
    segment.set_state("resetting")
    segment.set_link(False, 0, bytes(6))
    segment.set_link(True, 10_000, bytes(6))
    segment.set_state("running")
    step = follower.step()
    assert (step.counted.resets, step.counted.link_changes) == (1, 2)
    assert step.events == ("reset", "link flapped")
    assert follower.step().events == ()
    segment.set_state("resetting")
    segment.set_state("resetting")  # said twice, and one reset all the same
    segment.set_state("running")
    segment.set_state("resetting")
    segment.set_link(False, 0, bytes(6))
    assert follower.step().events == ("2 resets", "link down")
    segment.close()


def test_an_end_in_order_is_told_and_what_was_counted_until_then() -> None:
    segment = running("p0")
    follower = Follower("p0")
    add(segment, "rq", 0, packets=9)
    segment.close()
    step = follower.step()
    assert (step.gone, step.events, step.now.state) == (True, ("gone",), "dead")
    assert step.counted.rq[0]["packets"] == 9
    again = follower.step()
    assert (again.gone, again.events, again.counted.rq[0]["packets"]) == (True, (), 0)


def test_a_process_that_is_killed_is_gone_with_its_last_counts() -> None:
    child = process("p0")
    follower = Follower("p0")
    count(child, 5)
    child.kill()
    child.communicate()
    step = follower.step()
    assert (step.events, step.counted.rq[0]["packets"]) == (("gone",), 5)


@pytest.mark.parametrize("looked_between", [False, True])
def test_a_successor_counts_from_0_and_both_lives_are_added_up(looked_between: bool) -> None:
    first = process("p0")
    count(first, 1000)
    follower = Follower("p0")
    count(first, 5)
    first.kill()
    first.communicate()
    packets = follower.step().counted.rq[0]["packets"] if looked_between else 0
    second = process("p0")
    count(second, 7)
    step = follower.step()
    packets += step.counted.rq[0]["packets"]
    assert (packets, step.events, step.gone) == (12, ("restarted",), False)
    count(second, 1)
    assert follower.step().counted.rq[0]["packets"] == 1
    second.kill()
    second.communicate()


def test_a_successor_with_other_queues_is_counted_in_full() -> None:
    old = running("p0", pairs=1)
    follower = Follower("p0")
    add(old, "rq", 0, packets=1)
    old.close()
    new = running("p0", pairs=3)
    add(new, "sq", 2, packets=4)
    counted = follower.step().counted
    assert [queue["packets"] for queue in counted.rq] == [1, 0, 0]
    assert [queue["packets"] for queue in counted.sq] == [0, 0, 4]
    new.close()


def test_the_first_answer_of_the_pf_is_no_rate() -> None:
    """Its counters may be older than the port."""
    segment = running("p0")
    follower = Follower("p0")
    segment.set_global([1000] * 12)
    assert set(follower.step().counted.pf.values()) == {0}
    segment.set_global([1003] * 12)
    assert set(follower.step().counted.pf.values()) == {3}
    segment.close()
    new = running("p0")
    new.set_global([10**9] * 12)
    assert set(follower.step().counted.pf.values()) == {0}
    new.close()


STEPS = st.lists(st.sampled_from(["count", "reset", "restart", "end", "look"]), max_size=25)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_nothing_is_negative_and_nothing_is_lost(steps: list[str]) -> None:
    """Of each life at least one look is taken; more lives than looks cannot be seen."""
    name = f"p{os.getpid()}"
    segment: PortSegment | None = running(name)
    follower = Follower(name)
    told, sent = 0, 0

    def look() -> int:
        counted = follower.step().counted
        queues = (*counted.rq, *counted.sq)
        assert min(value for queue in queues for value in queue.values()) >= 0
        assert counted.resets >= 0 and counted.link_changes >= 0
        return counted.rq[0]["packets"]

    for step in steps:
        if step == "look":
            told += look()
        elif step == "restart":
            if segment is not None:
                segment.close()
            segment = running(name)
            told += look()
        elif segment is None:
            continue
        elif step == "count":
            add(segment, "rq", 0, packets=10)
            sent += 10
        elif step == "reset":
            segment.set_state("resetting")
            segment.set_state("running")
        else:
            segment.close()
            segment = None
    told += look()
    if segment is not None:
        segment.close()
    assert told == sent


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [("../../x", ConfigError, "no port name"), ("nobody", IavfioError, "no port named 'nobody'")],
)
def test_what_cannot_be_followed(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Follower(name)


def test_a_dead_port_is_not_followed() -> None:
    assert in_child(lambda: running("d0")) == 0
    with pytest.raises(IavfioError, match="'d0' is not running") as raised:
        Follower("d0")
    assert raised.value.remedy == "see its last counts: iavfio stats d0"


def test_all_ports_are_watched_those_that_come_and_those_that_go() -> None:
    first = running("a")
    watch = Watch()
    second = running("b")
    assert [each.port for each in watch.step()] == ["a"]  # b is seen from now on
    add(second, "rq", 0, packets=4)
    first.close()
    found = {each.port: each for each in watch.step()}
    assert found["a"].events == ["gone"] and found["b"].rx.packets == 4
    assert [each.port for each in watch.step()] == ["b"]
    assert {total.port: total.rx.packets for total in watch.totals()} == {"a": 0, "b": 4}
    second.close()


def test_what_a_port_that_comes_back_counted_before_it_was_found_is_told() -> None:
    first, second = running("a"), running("b")
    watch = Watch()
    first.close()
    assert {each.port: each.events for each in watch.step()} == {"a": ["gone"], "b": []}
    again = running("a")
    add(again, "rq", 1, packets=5, bytes=300)
    add(again, "sq", 0, packets=2)
    again.set_global(range(100, 112))
    assert [each.port for each in watch.step()] == ["b"]  # a is found behind it
    add(again, "rq", 0, packets=1)
    found = {each.port: each for each in watch.step()}
    assert (found["a"].rx.packets, found["a"].tx.packets) == (6, 2)
    assert found["a"].drops == {}  # the PF's counters began before the port
    assert watch.step()[1].rx.packets == 0
    again.close()
    second.close()


def test_totals_of_ports_that_ended_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iavfio.live.watch.MOST_TOTALS", 3)
    watch, stays = Watch(), running("stays")
    for number in range(6):
        segment = running(f"p{number}")
        watch.step()
        segment.close()
        watch.step()
    assert [each.port for each in watch.totals()] == ["stays", "p4", "p5"]
    stays.close()


@settings(max_examples=25, deadline=None)
@given(now=st.integers(0, (1 << 64) - 1), later=st.integers(0, (1 << 64) - 1))
def test_counters_of_a_writer_that_lies_are_neither_negative_nor_no_json(
    now: int, later: int
) -> None:
    segment = running("p0")
    watch = Watch(["p0"])
    for value in (now, later):
        for queue in range(2):
            for block in ("rq", "sq"):
                write(segment, block, queue, value)
        segment.set_global([value] * 12)
        each = watch.step()[0]
        told = json.loads(as_json(each))
        figures = [told["rx"]["packets"], told["tx"]["bytes"], *told["drops"].values()]
        assert all(figure >= 0 for figure in figures)
        line(each)
    assert each.rx.packets == 2 * max(later - now, 0)
    for total in watch.totals():
        as_json(total)
        total_line(total)
    segment.close()


def write(segment: PortSegment, block: str, queue: int, value: int) -> None:
    """Sets all counters of a queue to one value."""
    names = [each.name for each in (RX if block == "rq" else TX)]
    address = getattr(segment, f"{block}_address")(queue)
    counters: Any = ffi.cast(f"struct {block}_counters *", address)
    for name in names:
        setattr(counters, name, value)
