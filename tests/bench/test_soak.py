# SPDX-License-Identifier: BSD-3-Clause
"""The soak comes through a few rounds, and notices what it is there to notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

import iavfio
from bench import soak
from iavfio.port.port import Port
from tests.port.rig import until


def test_a_short_soak_is_exact_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["soak", "--seconds", "1", "--report", str(path)])
    assert soak.main() == 0
    report = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert report["wrong"] == []
    assert report["rounds"] == sum(report["happened"].values()) >= 1
    assert report["sent"] == report["received"] + report["lost_in_storms"]
    assert report["received"] >= report["rounds"] * 2 * soak.PEACE


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"corrupt": 1.0}, "a frame that nobody sent"),
        ({"duplicate": 1.0}, "came after"),
        ({"loss": 0.5}, "are missing after: nothing"),
    ],
)
def test_a_bad_wire_is_noticed(
    fault: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "SETTLE", 1.0)
    with iavfio.softvf(vfs=2) as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.configure(queues=1)
            port.start(wait_link=10)
        with iavfio.faults.wrap(b, sides="rx", seed=1, **fault) as bad:
            run = soak.Soak(pf, (a, b), 1)
            run.peace(soak.Way(a, cast(Port, bad), run.account), "nothing")
            assert until(lambda: a.tx[0].clean() >= 0 and a.tx[0].in_flight == 0)
    assert words in "\n".join(run.account.wrong)


def test_histogram_counts_each_outage_once() -> None:
    assert soak.histogram([0.0005, 0.001, 0.0011, 0.3, 9.0]) == {
        "<= 1": 2,
        "<= 2": 1,
        "<= 500": 1,
        "> 5000": 1,
    }
