# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a check, a port or the host raises: the other checks run, and the bundle is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.cli import run as cli
from iavfio.errors import ConfigError, IavfioError
from iavfio.port.port import Port
from iavfio.qualify import bundle as bundles
from iavfio.qualify import checks
from iavfio.qualify.bundle import Bundle, make
from iavfio.qualify.outcome import Check, Failed, NotRun, Outcome, Seen
from iavfio.qualify.records import MISSING, Record
from iavfio.qualify.run import qualify
from iavfio.qualify.vfs import Vfs
from iavfio.softvf import softvf

OWN = (
    ZeroDivisionError("by zero"),
    OSError(24, "Too many open files"),
    MemoryError(),
    RecursionError("too deep"),
    KeyError("rx_unicast"),
    SystemExit(3),
    StopIteration(),
)
ENDS: list[tuple[BaseException, str, str]] = [
    (NotRun("no cable"), "not run", "no cable"),
    (Failed("40 frames lost"), "failed", "40 frames lost"),
    (ConfigError("no such ring", "", "another"), "failed", "no such ring"),
    (IavfioError("gone", "", ""), "failed", "gone"),
    *((error, "failed", repr(error)) for error in OWN),
]


def raising(error: BaseException) -> Check:
    def run(vfs: Vfs, seen: Seen) -> None:
        seen.figures["half_way_us"] = 7.0
        raise error

    return Check("raising", "nothing", run, traffic=False)


def after(vfs: Vfs, seen: Seen) -> None:
    seen.facts["ran"] = True


@pytest.mark.parametrize(("error", "status", "words"), ENDS, ids=lambda value: str(value)[:12])
def test_an_exception_is_the_end_of_its_check_alone(
    error: BaseException, status: str, words: str
) -> None:
    first, second = qualify(
        Vfs(["0000:fe:1f.7"], {}), [raising(error), Check("x", "", after, False)]
    )
    assert (first.status, second.status, second.facts) == (status, "passed", {"ran": True})
    assert words in first.reason and first.figures == {"half_way_us": 7.0}
    assert bool(first.trace) == (error in OWN)


def test_a_signal_passes_through_after_what_was_seen() -> None:
    run = qualify(Vfs(["0000:fe:1f.7"], {}), [raising(KeyboardInterrupt())])
    outcome = next(run)
    assert outcome.status == "not run" and outcome.figures == {"half_way_us": 7.0}
    assert outcome.reason.startswith("a signal ended it after 0.")
    with pytest.raises(KeyboardInterrupt):
        next(run)


@pytest.fixture
def vfs() -> Iterator[Vfs]:
    with softvf(vfs=2, uplink="none") as pf:
        found = Vfs(pf.sockets, {})
        yield found
        found.close()


@pytest.mark.parametrize("error", [*OWN[:5], IavfioError("the device is gone", "", "")])
def test_what_cannot_be_kept_of_one_vf_is_named_and_both_are_closed(
    vfs: Vfs, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(record: Record, port: Port) -> None:
        raise error

    ports = list(vfs.ports)
    monkeypatch.setattr(Record, "keep", refuse)
    vfs.close()
    assert [port.state for port in ports] == ["closed", "closed"]
    made = make(vfs.targets, [Outcome("rss", "passed")], vfs.records, 1.0)
    for target in vfs.targets:
        (missing,) = made.results["devices"][target]["missing"]
        assert missing == f"{type(error).__name__}: {error}"


def test_a_port_that_cannot_be_closed_does_not_keep_the_other_open(
    vfs: Vfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = vfs.ports
    monkeypatch.setattr(first, "close", lambda: 1 / 0, raising=False)
    vfs.close()
    monkeypatch.undo()
    assert second.state == "closed"
    assert vfs.records[0].facts["missing"] == ["ZeroDivisionError: division by zero"]
    assert vfs.records[1].facts["missing"] == []
    first.close()


def test_reasons_do_not_pile_up_and_outlive_what_is_kept_later(vfs: Vfs) -> None:
    record = vfs.records[0]
    for _ in range(MISSING + 9):
        record.attempt(lambda: 1 / 0)
    record.keep(vfs.ports[0])
    assert len(record.facts["missing"]) == MISSING and record.facts["family"] == "E810"


def test_the_bundle_is_written_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check with a defect, a record that cannot be kept, and a host that tells nothing."""

    def fail(*arguments: object) -> None:
        raise LookupError("no such thing")

    table = (raising(ValueError("of the check")), Check("link", "", after, traffic=False))
    monkeypatch.setattr(checks, "CHECKS", table)
    monkeypatch.setattr(Record, "keep", fail)
    monkeypatch.setattr(bundles, "host_facts", fail)
    monkeypatch.setattr(bundles, "provenance", fail)
    path = tmp_path / "b.tar"
    assert cli(["qualify", "softvf", "softvf", "-o", str(path)]) == 1
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err and "1 passed, 1 FAILED" in told.out
    read = Bundle.read(path)
    assert [outcome.status for outcome in read.outcomes] == ["failed", "passed"]
    assert "ValueError('of the check')" in read.outcomes[0].reason
    assert "in run" in read.outcomes[0].trace
    assert read.results["host"] == {"missing": "LookupError: no such thing"}
