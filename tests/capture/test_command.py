# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio capture` from the outside: files, pipes, signals, words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iavfio.capture.records import CaptureRecord
from tests.capture.files import records, statistics
from tests.capture.pcap_oracle import library
from tests.port.rig import until

CLI = [sys.executable, "-P", "-m", "iavfio.cli"]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def default_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, "capture", *arguments], timeout=60, check=False,
        **{"capture_output": True, "text": True} | options,
    )  # fmt: skip


def test_a_capture_and_its_summary_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    done = run("softvf", "-w", str(path), "--count", "3000", "--json", "--name", "watched")
    assert (done.returncode, done.stderr) == (0, "")
    record = msgspec.json.decode(done.stdout, type=CaptureRecord)
    found = records(path)
    assert len(found) == record.captured == record.received == 3000
    assert {each.interface for each in found} == {"watched"} == {record.port}
    assert (record.files, record.ended_by, record.error) == ([str(path)], "count", None)
    assert record.written_bytes == path.stat().st_size
    assert statistics(path)["delivered"] == 3000
    assert record.received_bytes == 3000 * 60


def test_the_schema_describes_the_summary() -> None:
    done = subprocess.run(
        [*CLI, "schema", "capture"], text=True, timeout=60, check=True, capture_output=True
    )
    schema = json.loads(done.stdout)["$defs"]["CaptureRecord"]
    assert schema["properties"]["schema"] == {"enum": ["iavfio.capture.summary/1"]}
    assert "ended_by" in schema["required"]


def test_a_filter_is_compiled_and_told(tmp_path: Path) -> None:
    library()
    path = tmp_path / "a.pcapng"
    words = ["udp", "src", "port", "1030", "or", "src", "port", "1040"]
    done = run("softvf", "-w", str(path), "-c", "200", "-s", "40", "--json", *words)
    record = msgspec.json.decode(done.stdout, type=CaptureRecord)
    found = records(path)
    assert len(found) == record.captured == record.cut == 200
    assert {int.from_bytes(each.data[34:36], "big") for each in found} == {1030, 1040}
    assert {(len(each.data), each.length) for each in found} == {(40, 60)}
    assert record.received > 200 and record.filter == " ".join(words)


def test_standard_output_is_a_pcapng_stream_and_the_summary_goes_to_stderr(
    tmp_path: Path,
) -> None:
    done = run("softvf", "-w", "-", "-c", "77", text=False)
    assert done.returncode == 0
    path = tmp_path / "a.pcapng"
    path.write_bytes(done.stdout)  # type: ignore[arg-type]
    assert len(records(path)) == 77
    assert b"77 frames captured of 77 received" in done.stderr  # type: ignore[operator]
    as_json = run("softvf", "-w", "-", "-c", "7", "--json", text=False)
    record = msgspec.json.decode(as_json.stderr, type=CaptureRecord)
    assert (record.files, record.captured) == (["-"], 7)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("uplink", ["gen", "none"])
def test_a_signal_ends_it_with_a_whole_file_and_the_summary(
    tmp_path: Path, number: signal.Signals, uplink: str
) -> None:
    path = tmp_path / "a.pcapng"
    child = subprocess.Popen(
        [*CLI, "capture", "softvf", "-w", str(path), "--uplink", uplink, "--json",
         "--rotate", "1G"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default_signals,
    )  # fmt: skip
    first = tmp_path / "a_00001.pcapng"
    least = 200_000 if uplink == "gen" else 100
    try:
        assert until(lambda: first.exists() and first.stat().st_size > least, 60)
    finally:
        child.send_signal(number)
        out, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (128 + number, "")
    record = msgspec.json.decode(out, type=CaptureRecord)
    assert record.ended_by == "signal"
    assert len(records(first)) == record.captured == statistics(first)["delivered"]


def test_a_reader_that_has_gone_ends_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    child = subprocess.Popen(
        [*CLI, "capture", "softvf", "-w", "-", "--json"],
        stdout=write, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    assert os.read(read, 1000)[:4] == b"\n\r\r\n"
    os.close(read)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 0
    assert msgspec.json.decode(error, type=CaptureRecord).ended_by == "reader"


@pytest.mark.parametrize("into", ["-", "/dev/full"])
def test_a_full_disk_is_told(into: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("softvf", "-w", into, "-c", "9", capture_output=False, stdout=full,
                   stderr=subprocess.PIPE)  # fmt: skip
    assert done.returncode == 1
    assert "is not written whole: there is no room" in done.stderr
    assert "No space left on device (ENOSPC)" in done.stderr
    assert "Traceback" not in done.stderr


WRONG = {
    "no file": (["softvf"], "Missing option '-w'"),
    "no directory": (["softvf", "-w", "/nowhere/a.pcapng"], "there is no directory /nowhere"),
    "rotated output": (["softvf", "-w", "-", "--rotate", "1M"], "cannot be rotated"),
    "rotation": (["softvf", "-w", "/tmp/a", "--rotate", "5"], "no size or time"),
    "small files": (["softvf", "-w", "/tmp/a", "--rotate", "9K"], "100K or more"),
    "no such queue": (["softvf", "-w", "/tmp/a", "--queue", "2"], "--queue 2 does not exist"),
    "snaplen": (["softvf", "-w", "/tmp/a", "-s", "3"], "16 to 262144"),
    "no such VF": (["0000:ff:1f.7", "-w", "/tmp/a"], "there is no PCI device"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_wrong_use_says_what_is_right(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_help_has_an_example_and_the_exit_status() -> None:
    done = run("--help")
    text = " ".join(done.stdout.split())
    assert "Example: iavfio capture 0000:3b:02.0 -w web.pcapng" in text
    assert "130 Ctrl-C" in text
