# SPDX-License-Identifier: BSD-3-Clause
"""The live view at several widths: nothing is cut that matters, and nothing is too long."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from iavfio.live import PortRates, rates
from iavfio.live.rates import Totals
from iavfio.live.view import View, bar
from tests.live.test_rates import interval

BUSY: dict[str, Any] = {"polls": 100, "empty_polls": 60}
TRAFFIC = interval(
    {
        0: BUSY | {"packets": 20_000_000, "bytes": 1_200_000_000, "drop_error": 4000},
        1: BUSY | {"packets": 5_000_000, "bytes": 300_000_000},
    },
    {0: {"packets": 10, "bytes": 600}},
    events=("reset", "link down"),
    resets=1,
)


def shown(*ports: PortRates, width: int, encoding: str = "utf-8") -> list[str]:
    view = View(1.0)
    if ports:
        totals = Totals()
        for each in ports:
            totals.add(each)
        total = totals.total()
        assert total is not None
        view.update(ports, [total])
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=out, width=width, highlight=False).print(view)
    out.seek(0)
    return [line.rstrip() for line in out.read().splitlines()]


def test_80_columns_have_everything() -> None:
    lines = shown(rates(TRAFFIC), width=80)
    assert lines[0] == "p0  running  link up 10.0 Gbit/s  0000:3b:02.0"
    assert lines[1].split("|")[0].split() == ["rx", "12.5", "Mpps", "6.40", "Gbit/s", "84.0%"]
    assert lines[1].split("|")[1].startswith("█" * 26)
    assert lines[2].split()[:3] == ["tx", "5", "pps"]
    assert lines[3].strip() == "lost: rq_drop_error 2.00 kpps, 4000 in all"
    assert lines[4].strip() == "imbalance 1.60, resets 1"
    assert lines[5].split() == ["q", "rx", "tx", "a", "poll", "empty"]
    full, quarter = lines[6].split(), lines[7].split()
    assert full[0] == "0" and full[2:4] == ["10.0", "Mpps"]
    assert full[-2:] == ["500000.0", "60.0%"]
    assert len(quarter[1]) * 4 in range(len(full[1]) - 4, len(full[1]) + 5)
    assert [line.split()[1:] for line in lines[-2:]] == [["p0", "reset"], ["p0", "link", "down"]]


def test_40_columns_have_what_matters() -> None:
    lines = shown(rates(TRAFFIC), width=40)
    assert lines[0].startswith("p0  running  link up 10.0 Gbit/s")
    assert lines[1].split() == ["rx", "12.5", "Mpps", "6.40", "Gbit/s", "84.0%"]
    assert "lost: rq_drop_error 2.00 kpps" in lines[3]
    assert lines[6].split()[0] == "0" and "10.0 Mpps" in lines[6] and lines[6].endswith("60.0%")
    assert lines[-2].split()[1:] == ["p0", "reset"]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(20, 200),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_longer_than_the_terminal(
    width: int, one: int, other: int, encoding: str
) -> None:
    each = interval({0: BUSY | {"packets": one, "bytes": one * 60}, 1: {"packets": other}})
    lines = shown(rates(each), width=width, encoding=encoding)
    assert max(map(len, lines)) <= width
    assert encoding == "utf-8" or "#" in "".join(lines) or one + other == 0


def test_before_the_first_interval_and_without_ports_it_says_so() -> None:
    assert shown(width=80) == ["counting for 1 s ..."]
    view = View(1.0)
    view.update([], [])
    out = io.StringIO()
    Console(file=out, width=80).print(view)
    assert out.getvalue() == "no port is running\n"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "    "),
        (1e-9, "▏   "),
        (0.25, "█   "),
        (0.375, "█▌  "),
        (1.0, "████"),
        (7.0, "████"),
        (-1.0, "    "),
    ],
)
def test_bars(part: float, text: str) -> None:
    assert bar(part, 4) == text
    assert set(bar(part, 4, ascii_only=True)) <= {"#", " "}
    assert len(bar(part, 4, ascii_only=True)) == 4
