# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio gen` from the outside: streams in words and in files, records, signals, wrong use."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from iavfio.cli import run
from iavfio.generator.records import GenRecord
from iavfio.stats import read
from tests.capture.test_command import CLI, SIGNALS, default_signals
from tests.port.rig import until

TOML = """
[[stream]]
name = "web"
proto = "tcp"
dst_ip = ["198.19.0.1", "198.19.1.0/30"]
dport = [80, 443]
count = 200

[[stream]]
src_ip = "2001:db8::1"
size = "imix"
count = 100
"""


def gen(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*CLI, "gen", *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_streams_of_a_file_arrive(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    status, out, error = gen(
        "softvf", "--expect", "softvf", "--config", str(tmp_path / "a.toml"), "--json"
    )
    assert (status, error) == (0, "")
    record = msgspec.json.decode(out, type=GenRecord)
    assert [(s.name, s.sent, s.received) for s in record.streams] == [
        ("web", 200, 200), ("stream1", 100, 100)
    ]  # fmt: skip
    assert (record.on_wire, record.sound, record.ended_by) == (300, True, "done")


def test_the_summary_has_a_line_for_each_stream() -> None:
    status, out, error = gen(
        "softvf", "--count", "30", "--stream", "name=a size=100", "--stream", "name=b"
    )
    assert (status, out) == (0, "")
    assert "  a: 15 sent, 1440 bytes" in error and "  b: 15 sent, 900 bytes" in error
    assert "on the wire by the PF's count: 30" in error


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_it_with_the_summary(number: signal.Signals, tmp_path: Path) -> None:
    name = f"gen-{tmp_path.name}"[:60]
    child = subprocess.Popen(
        [*CLI, "gen", "softvf", "--json", "--name", name, "--stream", "rate=500pps"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default_signals,
    )  # fmt: skip
    try:
        assert until(lambda: sent(name) > 20, 90)
    finally:
        child.send_signal(number)
        out, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (128 + number, "")
    record = msgspec.json.decode(out, type=GenRecord)
    assert record.ended_by == "signal" and record.on_wire <= record.sent and record.sent > 10


def sent(name: str) -> int:
    try:
        return sum(sq["packets"] for sq in read(name).sq)
    except Exception:
        return 0


WRONG: list[tuple[list[str], str]] = [
    (["--stream", "dport"], "'dport' is no part of a stream"),
    (["--stream", "dprt=80"], "did you mean dport?"),
    (["--stream", "dport=80 dport=81"], "given twice"),
    (["--stream", "size=10"], "size=64"),
    (["--stream", "ttl=x"], "ttl"),
    (["--stream", "'"], "No closing quotation"),
    (["--count", "0"], "it takes 1 to"),
    (["--duration", "nan"], "out of range"),
    (["--config", "/nowhere.toml"], "does not exist"),
    (["--stream", "rate=1kpps", "--stream", "size=100"], "others have none"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=str)
def test_wrong_use(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["gen", "softvf", *arguments]) == 2
    assert words in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no stream"),
        ("[[stream", "is no TOML file"),
        ("[[steam]]", "did you mean stream?"),
        ("stream = 5", "has no stream"),
        ("stream = [5]", "stream 1: 5 is no stream"),
        ("[[stream]]\n[[stream]]\nttl = 0", "stream 2: ttl=0"),
        ("[[stream]]\ncolour = 1", "stream 1: there is no key of a stream 'colour'"),
        ("[[stream]]\nsize = 1.5", "size"),
    ],
)
def test_wrong_files(
    text: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    assert run(["gen", "softvf", "--config", str(path)]) == 2
    assert words in " ".join(capfd.readouterr().err.split())


def test_config_and_stream_together() -> None:
    status, _, error = gen("softvf", "--config", __file__, "--stream", "size=64")
    assert status == 2 and "use one of them" in error
