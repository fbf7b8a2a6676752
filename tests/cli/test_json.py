# SPDX-License-Identifier: BSD-3-Clause
"""What commands print with --json has a schema, and a failure is an object as well."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import iavfio
from iavfio.bench.records import BenchRecord
from iavfio.cli import run
from iavfio.cli.failure import stream_for
from iavfio.cli.records import FailureRecord, InfoRecord, WhyRecord
from iavfio.cli.schema import RECORDS
from tests.port.rig import until

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", sorted(RECORDS))
def test_each_schema_can_be_printed(command: str, capsys: Capture) -> None:
    assert run(["schema", command]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)
    for _, module, name in RECORDS[command]:
        record = getattr(importlib.import_module(module), name)
        assert record.__struct_config__.tag in text


@pytest.mark.parametrize("command", ["bench", "info", "list", "qualify", "why"])
def test_every_command_that_prints_json_has_a_schema(command: str) -> None:
    assert command in RECORDS


def test_info_and_why_and_bench_print_what_their_schema_says(capsys: Capture) -> None:
    for arguments, record in (
        (["info", "softvf"], InfoRecord),
        (["why", "softvf"], WhyRecord),
        (["bench", "softvf", "--count", "100", "--latency"], BenchRecord),
        (["bench", "softvf", "--count", "100", "--repeat", "2", "--no-preflight"], BenchRecord),
    ):
        run([*arguments, "--json"])
        msgspec.json.decode(capsys.readouterr().out, type=record)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["bench", "softvf", "--duration", "nan"], 2, "out of range"),
        (["bench", "softvf", "--nosuch"], 2, "No such option"),
        (["bench"], 2, "iavfio bench softvf"),
        (["bench", "softvf", "--src", "02:00:00:00:00:09"], 1, ""),
        (["bench", "softvf", "--pool", "100"], 2, "too small"),
        (["info", "nosuch"], 2, "names no VF"),
        (["why", "nosuch"], 2, "names no VF"),
        (["stats", "no-such-port"], 2, "no port named"),
        (["stats", "--pool"], 2, "needs a PORT"),
        (["stats", "no-such-port", "--interval", "1"], 2, "no port named"),
        (["list", "extra"], 2, "unexpected extra argument"),
        (["doctor", "--fix"], 2, "add --yes or --dry-run"),
        (["ndr", "softvf", "--size", "x"], 2, "is no frame size"),
        (["qualify", "softvf", "--only", "nosuch"], 2, "nosuch"),
        (["bnch"], 2, "Did you mean"),
    ],
)
def test_a_failure_is_an_object(
    arguments: list[str],
    status: int,
    words: str,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IAVFIO_DEBUG", raising=False)
    assert run([*arguments, "--json"]) == status
    said = capsys.readouterr()
    told = msgspec.json.decode(said.out, type=FailureRecord)
    assert told.status == status
    assert words in told.error and told.error
    assert said.err


@pytest.mark.parametrize("command", ["gen", "capture", "replay"])
def test_a_record_that_tells_of_a_failure_is_the_only_object(command: str, tmp_path: Path) -> None:
    """The device dies while the command works."""
    file = tmp_path / "frames.pcapng"
    with iavfio.softvf(uplink="gen") as pf:
        (socket,) = pf.sockets
        if command == "replay":
            assert run(["capture", socket, "-w", str(file), "--count", "10"]) == 0
        words = {
            "gen": ["--stream", "rate=1kpps", "--duration", "100"],
            "capture": ["-w", str(file)],
            "replay": [str(file), "--rate", "100pps", "--loop", "0"],
        }[command]
        with subprocess.Popen(
            [sys.executable, "-m", "iavfio.cli", command, socket, *words, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            side = "rx0" if command == "capture" else "tx0"

            def moving() -> bool:
                stats = pf.control("snapshot", vf=0)["snapshot"]["queues"]["stats"]
                return bool(stats.get(side, [0])[0] > 10)

            assert until(moving, 60)
            os.kill(pf.pid, signal.SIGKILL)
            out, error = process.communicate(timeout=100)
    assert (process.returncode, "Traceback" in error) == (1, False), error
    assert json.loads(out)["error"]


def test_packets_on_stdout_stay_packets() -> None:
    assert stream_for(["capture", "softvf", "-w", "-", "--json"]) is sys.stderr
    assert stream_for(["capture", "softvf", "-w", "x", "--json"]) is sys.stdout
    assert stream_for(["preload", "s", "--", "list", "--json"]) is None
    assert stream_for(["list"]) is None
