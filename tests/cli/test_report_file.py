# SPDX-License-Identifier: BSD-3-Clause
"""Files that a command writes at its end, and pipes in their place that nobody may read."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.cli import patience
from iavfio.cli.report_file import ReportFile
from iavfio.errors import ConfigError
from iavfio.softvf.launch import SoftPf
from tests.cli.streams import PAGE
from tests.port.rig import until

MODULE = [sys.executable, "-P", "-m", "iavfio.cli"]
LARGE = "x" * (64 * PAGE)  # more than a pipe holds


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def reader(fifo: Path) -> Iterator[int]:
    """Has the pipe open, and reads nothing of its own accord."""
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def everything(fd: int) -> str:
    """What is written until nobody has the pipe open for writing."""
    os.set_blocking(fd, True)
    parts = []
    while part := os.read(fd, PAGE):
        parts.append(part.decode())
    return "".join(parts)


def test_a_file_keeps_what_it_has_until_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before, and longer")
    file = ReportFile(str(path), "--csv")
    assert file.regular and path.read_text() == "before, and longer"
    assert file.write(lambda: "after")
    assert path.read_text() == "after"


def test_a_pipe_stays_open_until_all_is_written(fifo: Path, reader: int) -> None:
    file = ReportFile(str(fifo), "--csv")
    with pytest.raises(BlockingIOError):  # it is open, and not at its end
        os.read(reader, 1)
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(everything(reader)))
    os.set_blocking(reader, True)
    thread.start()
    assert file.write(lambda: LARGE)
    thread.join()
    assert told == [LARGE]


def test_a_reader_that_is_gone_is_told(fifo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = ReportFile(str(fifo), "--csv")
    os.close(fd)
    assert not file.write(lambda: "text")
    assert f"{fifo} is not written whole: Broken pipe" in capsys.readouterr().err


class Clock:
    """Time that passes by looks that last as long as they may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._poll = select.poll
        monkeypatch.setattr(select, "poll", lambda: self)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self._inner = self._poll()
        self.looks = 0

    def register(self, fd: int, events: int) -> None:
        self._inner.register(fd, events)

    def poll(self, milliseconds: float) -> object:
        ready = self._inner.poll(0)
        self.looks += not ready
        self.now += 0 if ready else milliseconds / 1e3
        if self.looks > 20:
            raise KeyboardInterrupt
        return ready


# docs/spec/reliability.md F66
def test_after_a_signal_a_reader_that_takes_nothing_is_given_up(
    fifo: Path, reader: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ReportFile(str(fifo), "--csv")
    clock = Clock(monkeypatch)
    assert not file.write(lambda: LARGE, hurried=True)
    assert clock.now - 100.0 <= 2 * patience.SECONDS
    assert "is not written whole: its reader takes nothing" in capsys.readouterr().err


def test_without_a_signal_a_reader_that_takes_nothing_is_waited_for_with_a_word(
    fifo: Path, reader: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ReportFile(str(fifo), "--csv")
    Clock(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        file.write(lambda: LARGE)
    waits, ended, _ = capsys.readouterr().err.splitlines()
    assert waits == f"iavfio: {fifo}: waiting for its reader, which takes nothing"
    assert ended.startswith(f"iavfio: {fifo} is not written whole: a signal came")


@pytest.mark.parametrize("what", ["directory", "socket", "nowhere"])
def test_what_cannot_be_written_is_refused_before_anything_is_done(
    what: str, tmp_path: Path
) -> None:
    path = tmp_path / "there"
    if what == "directory":
        path.mkdir()
    elif what == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path = path / "file"
    with pytest.raises(ConfigError, match=r"there.* cannot be written: .*\n  choose another --csv"):
        ReportFile(str(path), "--csv")


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf() as made:
        yield made


BENCH = ["--duration", "0.1", "--rate", "1000"]
COMMANDS = {
    "bench": ["bench", "VF", *BENCH, "--latency", "--hgrm", "FIFO"],
    "ndr-csv": ["ndr", "VF", "--size", "64", "--duration", "0.1", "--max-rate", "1000",
                "--trials", "1", "--csv", "FIFO"],
    "ndr-html": ["ndr", "VF", "--size", "64", "--duration", "0.1", "--max-rate", "1000",
                 "--trials", "1", "--html", "FIFO"],
    "journal": ["journal", "record", "PF", "-o", "FIFO"],
    "qualify": ["qualify", "run", "VF", "--only", "identity", "-o", "FIFO"],
}  # fmt: skip


def begun(command: str, pf: SoftPf, fifo: Path) -> subprocess.Popen[str]:
    def default_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    places = {"VF": pf.sockets[0], "PF": str(pf.directory), "FIFO": str(fifo)}
    words = [places.get(word, word) for word in COMMANDS[command]]
    return subprocess.Popen(
        [*MODULE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=default_signals,
    )  # fmt: skip


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_without_a_reader_is_waited_for_until_a_signal(
    command: str, number: signal.Signals, pf: SoftPf, fifo: Path
) -> None:
    with begun(command, pf, fifo) as child:
        assert child.stderr is not None
        try:
            told = child.stderr.readline()
            assert told == f"iavfio: {fifo} is a pipe: waiting for its reader\n"
            child.send_signal(number)
            assert child.wait(60) == 128 + number
            assert "Traceback" not in child.stderr.read()
        finally:
            child.kill()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_of_a_pipe_gets_all_of_it(command: str, pf: SoftPf, fifo: Path) -> None:
    with begun(command, pf, fifo) as child:
        try:
            copied = fifo.with_name("copy")
            with fifo.open("rb") as pipe:
                copied.write_bytes(pipe.read())
            out, error = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0, out + error
    assert fifo.is_fifo()
    if command == "qualify":
        with tarfile.open(copied) as tar:
            assert "qualify/qualify.json" in tar.getnames()
    else:
        assert copied.read_text()


def test_a_bundle_replaces_no_device(pf: SoftPf, tmp_path: Path) -> None:
    place = tmp_path / "null"
    place.symlink_to(os.devnull)
    with begun("qualify", pf, place) as child:
        out, error = child.communicate(timeout=60)
    assert child.returncode == 0, out + error
    assert Path(os.devnull).is_char_device() and place.is_symlink()
    assert not until(place.with_name("null.part").exists, 0)
