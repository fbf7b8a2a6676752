# SPDX-License-Identifier: BSD-3-Clause
"""The soak comes through a few rounds, and notices what it is there to notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import iavfio
from bench.soak import account, run
from bench.soak.__main__ import main
from bench.soak.load import Load
from bench.soak.way import Way
from iavfio.port.port import Port
from iavfio.qualify.usage import Usage
from tests.port.rig import until


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few frames and resets a round."""
    monkeypatch.setattr(run, "LOADED", 20_000)
    monkeypatch.setattr(run, "BESIDE", 1000)
    monkeypatch.setattr(run, "IN_A_ROW", 2)


@pytest.fixture
def rig() -> Iterator[run.Soak]:
    """A soak whose rounds the test runs."""
    with iavfio.softvf(vfs=4, options={"reset_ms": 2}) as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.configure(queues=1)
            port.start(wait_link=10)
        soak = run.Soak(pf, (a, b), 1)
        yield soak
        soak.close()


def test_a_short_soak_is_exact_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["soak", "--seconds", "1", "--report", str(path)])
    assert main() == 0
    report = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert report["wrong"] == []
    assert report["rounds"] == sum(report["happened"].values()) >= 1
    assert report["sent"] == report["received"] + report["lost_in_storms"]
    workers = report["workers"]
    assert workers["sent"] == workers["received"] + workers["lost_while_something_happened"]
    assert report["packets"] == report["received"] + workers["received"]
    assert report["packets"] >= report["rounds"] * (2 * run.PEACE + run.LOADED)
    assert report["resets"] == sum(report["outage_ms"].values())


def test_a_signal_ends_it_with_a_report_that_balances(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(soak: run.Soak) -> None:
        soak.ways[0].send(7)
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Soak, "round", interrupted)
    monkeypatch.setattr("sys.argv", ["soak", "--seconds", "9"])
    assert main() == 130
    report = json.loads(capsys.readouterr().out)
    assert report["interrupted"]
    assert report["wrong"] == []
    assert report["sent"] == 7


@pytest.mark.parametrize("kind", [0, 1, 2, 4, 5, 21, 31])
def test_each_kind_of_round_is_exact(kind: int, rig: run.Soak) -> None:
    """A driver killed twice, a storm, a pause; flaps and resets under a worker; a reset alone,
    and a send queue that stalls."""
    under_a_worker = [1, 0] if 4 <= kind < 20 else []
    rolled = iter([0, kind, *under_a_worker, 1, kind, *under_a_worker])
    rig.dice = cast(Any, Dice(rolled))
    for _ in range(2):
        rig.round()
    assert rig.account.wrong == []
    rig.account.balance()
    assert rig.account.wrong == []
    assert rig.account.rounds == sum(rig.account.happened.values()) == 2
    assert rig.violations() == []
    resets = {5: 4, 21: 2, 31: 2}.get(kind, 0)
    assert len(rig.account.stalls) == (2 if kind == 31 else 0)
    assert rig.account.resets == len(rig.account.outages) == resets


class Dice:
    """Says what a test wants; of a list always the first."""

    def __init__(self, rolled: Iterator[int]) -> None:
        self.rolled = rolled

    def randrange(self, _end: int) -> int:
        return next(self.rolled)

    @staticmethod
    def choice(of: list[Any] | tuple[Any, ...]) -> Any:
        return of[0]


def test_what_the_host_does_is_timed_until_the_port_tells(rig: run.Soak) -> None:
    rig.host(1, "reset")
    assert until(lambda: len(rig.account.detected) == 1)
    assert rig.account.detected[0] > 0
    assert until(lambda: len(rig.ports[1].resets) == 1)
    rig.ports[1].reset()
    assert len(rig.account.detected) == 1, "nobody had asked the host"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"corrupt": 1.0}, "a frame that nobody sent"),
        ({"duplicate": 1.0}, "came after"),
        ({"loss": 0.5}, "are missing after: nothing"),
    ],
)
def test_a_bad_wire_is_noticed(
    fault: dict[str, Any], words: str, rig: run.Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SETTLE", 1.0)
    a, b = rig.ports
    with iavfio.faults.wrap(b, sides="rx", seed=1, **fault) as bad:
        rig.peace(Way(a, cast(Port, bad), rig.account), "nothing")
        assert until(lambda: a.tx[0].clean() >= 0 and a.tx[0].in_flight == 0)
    assert words in "\n".join(rig.account.wrong)


def smaller(port: Port) -> None:
    """Takes the worker's rings away."""
    port.stop()
    port.configure(ring=512)
    port.start()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda rig: rig.ports[0].reset(), "came, at: a test"),
        (lambda rig: smaller(rig.ports[0]), "the worker ended"),
    ],
)
def test_a_loss_of_the_worker_is_noticed(
    fault: Callable[[run.Soak], None], words: str, rig: run.Soak
) -> None:
    """In peace nothing may be lost, and the worker may not end early."""
    with Load(rig.ports, rig.account, lossless=True) as load:
        assert load.reached(1000)
        fault(rig)
        load.settle("a test")
    assert words in "\n".join(rig.account.wrong)


def test_a_sum_that_does_not_balance_is_wrong() -> None:
    found = account.Account(sent=3, received=1, lost=1, loaded=5, loaded_received=5)
    found.balance()
    assert found.wrong == ["Python: 3 sent are not 1 received and 1 lost"]


def test_a_driver_that_cannot_follow_a_killed_one_is_noticed(
    rig: run.Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.kill()
    assert rig.victim is not None
    monkeypatch.setattr(rig.victim, "at_work", lambda: False)
    rig.kill()
    assert rig.account.wrong == ["a driver that follows a killed one does not work"]


def test_histogram_counts_each_outage_once() -> None:
    assert account.histogram([0.0005, 0.001, 0.0011, 0.3, 9.0]) == {
        "<= 1": 2,
        "<= 2": 1,
        "<= 500": 1,
        "> 5000": 1,
    }


def test_growth_of_the_software_pf_is_told_unless_it_passes(
    rig: run.Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.soak.load.SETTLE", 0.05)
    server = run.Server(rig.pf.pid)
    real = Usage.of(rig.pf.pid)
    assert real.fds > 20 and real.mappings > 20, "it is the PF that is looked at"
    looks = iter([replace(real, fds=real.fds + 20)])
    monkeypatch.setattr(Usage, "of", lambda _: next(looks, real))
    assert server.grown() == [], "a client that has just gone is no growth"
    monkeypatch.setattr(Usage, "of", lambda _: replace(real, fds=real.fds + 20))
    (told,) = server.grown()
    assert told.startswith("the software PF: open descriptors grew")
    assert server.told()["server_end"]["fds"] == real.fds + 20


def test_quantiles_are_values_that_occurred() -> None:
    times = [each / 1000 for each in range(101)]
    assert account.quantiles(times) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
    assert account.quantiles([0.25]) == dict.fromkeys(("p50", "p90", "p99", "max"), 250.0)
    assert account.quantiles([]) == {}
