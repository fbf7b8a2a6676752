# SPDX-License-Identifier: BSD-3-Clause
"""Commands whose server stands still or goes, before they begin and later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.pyvfio.connection import TIMEOUT_MS
from iavfio.softvf.launch import SoftPf
from tests.capture.files import write_pcap
from tests.cli.test_signals import MODULE, SIGNALS, default_signals
from tests.port.rig import until


def queues(pf: SoftPf) -> dict[str, Any]:
    found: dict[str, Any] = pf.control("snapshot", vf=0)["snapshot"]["queues"]
    return found


MOMENTS: dict[str, Callable[[SoftPf], bool]] = {
    "negotiation": lambda pf: bool(pf.control("info")["vfs"][0]["connected"]),
    "start": lambda pf: bool(queues(pf)["configured_rx"]),
    "traffic": lambda pf: any(each[0] > 1000 for each in queues(pf)["stats"].values()),
}


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("reached", MOMENTS.values(), ids=MOMENTS)
def test_a_bench_beside_a_server_that_stands_still_ends(
    number: signal.Signals, reached: Callable[[SoftPf], bool]
) -> None:
    """No wait for the server goes on: each of them would last for five seconds."""
    with iavfio.softvf() as pf:
        child = subprocess.Popen(
            [*MODULE, "bench", pf.sockets[0], "--duration", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=default_signals,
        )
        assert until(lambda: reached(pf), 60)
        os.kill(pf.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            child.send_signal(number)
            out, error = child.communicate(timeout=60)
        finally:
            os.kill(pf.pid, signal.SIGCONT)
        assert time.monotonic() - began < TIMEOUT_MS / 2000  # one alone takes twice that
        assert child.returncode == 128 + number, error
        assert "Traceback" not in error
        if reached is MOMENTS["traffic"]:
            assert "sent " in out


BEFORE_IT_STARTS = {  # commands, and what each says when its server answers nothing from the first
    "bench": (["bench", "VF0", "--duration", "60"], "before its first packet: nothing of it was"),
    "gen": (["gen", "VF0", "--expect", "VF1"], "before its first packet: nothing was sent"),
    "capture": (["capture", "VF0", "-w", "/dev/null"], "nothing was written"),
    "replay": (["replay", "VF0", "FILE"], "before its first frame: nothing was sent"),
    "punt": (["punt", "VF0", "--tap", "iavfioheld"], "nothing was passed on"),
    "ndr": (["ndr", "VF0", "VF1"], "searches that were not finished are left out"),
    "qualify": (["qualify", "VF0"], "a signal ended it"),
    "info": (["info", "VF0"], ""),
    "why": (["why", "VF0"], ""),
    "journal": (["journal", "record", "DIRECTORY", "-o", "RECORD"], ""),
}


def has_a_socket(process: int) -> bool:
    """Whether a process is connected by now, to a server that has not taken the connection yet."""
    files = Path(f"/proc/{process}/fd").iterdir()
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return any(str(file.readlink()).startswith("socket:") for file in files)
    return False


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", BEFORE_IT_STARTS)
def test_a_server_that_stands_still_before_the_command_starts(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    if command == "punt" and os.geteuid():
        pytest.skip("makes a TAP: needs root")
    words, says = BEFORE_IT_STARTS[command]
    file = tmp_path / "a.pcap"
    write_pcap(file, [bytes(60)] * 4)
    with iavfio.softvf(vfs=2) as pf:
        places = {
            "VF0": pf.sockets[0],
            "VF1": pf.sockets[1],
            "DIRECTORY": str(Path(pf.sockets[0].removeprefix("vfio-user:")).parent),
            "FILE": str(file),
            "RECORD": str(tmp_path / "record.json"),
        }
        os.kill(pf.pid, signal.SIGSTOP)
        try:
            child = subprocess.Popen(
                [*MODULE, *(places.get(word, word) for word in words)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
                preexec_fn=default_signals,
            )
            assert until(lambda: has_a_socket(child.pid), 60)
            time.sleep(0.2)
            began = time.monotonic()
            child.send_signal(number)
            told, _ = child.communicate(timeout=60)
        finally:
            os.kill(pf.pid, signal.SIGCONT)
    assert time.monotonic() - began < TIMEOUT_MS / 2000  # a wait for the server takes twice that
    assert child.returncode == 128 + number, told
    assert "Traceback" not in told
    assert says in told


MOVING = {  # commands that run until a signal, and what each says when it begins
    "bench": (["bench", "VF0", "--duration", "60"], "64 byte frames"),
    "gen": (["gen", "VF0", "--stream", "rate=1kpps", "--duration", "60"], "from vf0"),
    "gen-expect": (
        ["gen", "VF0", "--expect", "VF1", "--stream", "rate=1kpps", "--duration", "60"],
        "from vf0",
    ),
    "capture": (["capture", "VF0", "-w", "/dev/null"], "capturing on"),
    "replay": (["replay", "VF0", "FILE", "--loop", "0", "--rate", "1kpps"], "sending"),
    "punt": (["punt", "VF0", "--tap", "iavfiostill"], "of port vf0"),
}


@contextlib.contextmanager
def moving(command: str, pf: SoftPf, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """The process of a command that moves packets by now, and the file to which it says so."""
    if command == "punt" and os.geteuid():
        pytest.skip("makes a TAP: needs root")
    words, says = MOVING[command]
    file, told = tmp_path / "a.pcap", tmp_path / "told"
    write_pcap(file, [bytes(60)] * 4)
    places = {"VF0": pf.sockets[0], "VF1": pf.sockets[1], "FILE": str(file)}
    with told.open("w") as out:
        child = subprocess.Popen(
            [*MODULE, *(places.get(word, word) for word in words)],
            stdout=out,
            stderr=out,
            preexec_fn=default_signals,
        )
    try:
        assert until(lambda: says in told.read_text() or child.poll() is not None, 60)
        time.sleep(0.5)
        assert child.poll() is None, told.read_text()
        yield child, told
    finally:
        child.kill()
        child.wait()


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", MOVING)
def test_a_signal_decides_the_status_whatever_becomes_of_the_server(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    with iavfio.softvf(vfs=2) as pf, moving(command, pf, tmp_path) as (child, told):
        os.kill(pf.pid, signal.SIGSTOP)
        try:
            child.send_signal(number)
            assert child.wait(60) == 128 + number, told.read_text()
        finally:
            os.kill(pf.pid, signal.SIGCONT)
    assert "Traceback" not in told.read_text()


@pytest.mark.parametrize("command", MOVING)
def test_a_server_that_goes_is_trouble(command: str, tmp_path: Path) -> None:
    with iavfio.softvf(vfs=2) as pf, moving(command, pf, tmp_path) as (child, told):
        os.kill(pf.pid, signal.SIGKILL)
        assert child.wait(60) == 1, told.read_text()
    assert "gone" in told.read_text() and "Traceback" not in told.read_text()
