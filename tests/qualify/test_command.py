# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify` as a program: progress, the table at the end, signals, wrong use."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

import iavfio
from iavfio.cli import progress
from iavfio.cli import run as cli
from iavfio.qualify.bundle import Bundle
from iavfio.qualify.results import ResultsRecord
from iavfio.qualify.vfs import Vfs
from tests.port.rig import until

PROGRAM = [sys.executable, "-P", "-m", "iavfio.cli", "qualify"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_bundle_of_what_was_done(number: signal.Signals, tmp_path: Path) -> None:
    path, log = tmp_path / "b.tar", tmp_path / "log"
    only = "identity,negotiation,soak"
    with log.open("w") as err:
        child = subprocess.Popen(
            [*PROGRAM, "softvf", "softvf", "--only", only, "--soak", "600", "-o", str(path)],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
        assert until(lambda: "negotiation" in log.read_text() or child.poll() is not None, 60)
        child.send_signal(number)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 128 + number, log.read_text()
    assert "Traceback" not in log.read_text()
    assert "2 passed, 0 FAILED, 1 not run" in out
    ends = {
        outcome.check: (outcome.status, outcome.reason) for outcome in Bundle.read(path).outcomes
    }
    assert ends.pop("soak")[1].startswith("a signal ended ")  # it, or the run just before
    assert ends == {"identity": ("passed", ""), "negotiation": ("passed", "")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_soak_keeps_what_was_verified(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The default of 30 minutes; what had been moved and held by then is told and kept."""
    path, log = tmp_path / "b.tar", tmp_path / "log"
    code = (
        "import sys; from iavfio.cli import progress; progress.ELSEWHERE = 0.2; "
        "from iavfio.cli import main; main()"
    )
    words = ["qualify", "softvf", "softvf", "--only", "soak,link", "-o", str(path)]
    with log.open("w") as err:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code, *words],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
        assert until(lambda: "of 1800 s, " in log.read_text() or child.poll() is not None, 60)
        child.send_signal(number)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 128 + number, log.read_text()
    link, soak = Bundle.read(path).outcomes
    assert (link.status, soak.status) == ("passed", "not run")
    assert soak.figures["packets"] > 0 and soak.figures["end_fds"] > 0
    assert f"packets {soak.figures['packets']:g}" in out and "1 passed" in out
    with tarfile.open(path) as tar:
        assert {"qualify/journal-0.jsonl", "qualify/counters-1.json"} <= set(tar.getnames())


def test_the_table_is_on_stdout_and_progress_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["qualify", "softvf", "softvf", "--only", "identity,link"]
    assert cli([*arguments, "-o", str(tmp_path / "a.tar")]) == 0
    plain = capsys.readouterr()
    assert [line.split()[0] for line in plain.err.splitlines()] == ["identity", "link"]
    assert "link            passed" in plain.out
    assert plain.out.endswith(
        f"2 passed, 0 FAILED, 0 not run; the bundle is {tmp_path / 'a.tar'}\n"
    )
    assert cli([*arguments, "--json", "-o", str(tmp_path / "b.tar")]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=ResultsRecord)
    assert [one.check for one in found.checks] == ["identity", "link"]
    assert found.bundle == str(tmp_path / "b.tar")


def test_one_vf_named_twice_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with iavfio.softvf() as pf:
        assert cli(["qualify", pf.sockets[0], pf.sockets[0]]) == 2
    assert "is named twice" in capsys.readouterr().err


def test_a_long_step_gives_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "ELSEWHERE", 0.02)
    told = ""

    def seen() -> bool:
        nonlocal told
        told += capsys.readouterr().err
        return "soak: verified traffic" in told

    with progress.Progress() as steps:
        steps.begin("soak", "verified traffic")
        assert until(seen)
        steps.tell("of 60 s, 9 packets")
        assert until(lambda: seen() and "s of 60 s, 9 packets\n" in told)
        steps.begin("link", "the next one")
        told = ""
        assert until(lambda: not seen() and "link: the next one, 0 s\n" in told)
        steps.end("soak passed")
    told += capsys.readouterr().err
    assert told.endswith("soak passed\n")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_signal_while_the_vfs_are_closed_costs_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.tar"
    monkeypatch.setattr(Vfs, "close", interrupt)
    words = ["qualify", "softvf", "softvf", "--only", "identity,link", "-o", str(path)]
    assert cli(words) == 128 + signal.SIGINT
    assert "2 passed" in capsys.readouterr().out
    assert [outcome.status for outcome in Bundle.read(path).outcomes] == ["passed", "passed"]


def test_a_reader_of_the_progress_that_is_gone_costs_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `iavfio qualify ... 2>&1 | head -1`."""

    def gone(steps: progress.Progress, line: str) -> None:
        raise BrokenPipeError

    path = tmp_path / "b.tar"
    monkeypatch.setattr(progress.Progress, "end", gone)
    assert cli(["qualify", "softvf", "softvf", "--only", "identity,link", "-o", str(path)]) == 0
    identity, link = Bundle.read(path).outcomes
    assert (identity.status, link.status) == ("passed", "not run")
    assert link.reason == "the run ended early"


def test_a_signal_before_the_first_check_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.tar"
    monkeypatch.setattr("iavfio.cli.qualify.with_private_vfs", interrupt)
    assert cli(["qualify", "softvf", "softvf", "-o", str(path)]) == 128 + signal.SIGINT
    assert not path.exists() and "Traceback" not in capsys.readouterr().err
