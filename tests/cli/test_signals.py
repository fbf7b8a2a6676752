# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and SIGTERM: 130 and 143 at any moment, and never a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.pyvfio.connection import TIMEOUT_MS
from iavfio.softvf.launch import SoftPf
from tests.capture.files import write_pcap
from tests.port.rig import until
from tests.sanitizer import no_start

LAUNCHER = Path(sys.executable).with_name("iavfio")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MODULE = [sys.executable, "-P", "-m", "iavfio.cli"]


def default_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def held_signals() -> None:
    default_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_held_back_is_answered_before_anything_is_done(
    number: signal.Signals,
) -> None:
    child = subprocess.Popen(
        [*MODULE, "bench", "softvf", "--duration", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=held_signals,
    )
    child.send_signal(number)
    out, error = child.communicate(timeout=60)
    assert (child.returncode, out, error) == (128 + number, "", "")


# docs/spec/reliability.md F66
@no_start
@pytest.mark.skipif(not LAUNCHER.exists(), reason="the package is not run from a checkout")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_moment_of_the_start_leaves_no_traceback(number: signal.Signals) -> None:
    for step in range(12):
        child = subprocess.Popen(
            [LAUNCHER, "bench", "softvf", "--duration", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=default_signals,
        )
        time.sleep(0.01 + 0.04 * step)
        child.send_signal(number)
        _, error = child.communicate(timeout=60)
        # On a busy host the first signals come before an instruction of ours has run.
        unborn = step < 3 and not error and child.returncode == -number
        assert unborn or child.returncode == 128 + number, error
        assert "Traceback" not in error
        assert "internal error" not in error
        assert "missing" not in error


STARTING = """
import os, signal
from iavfio.bench import preflight, run
from iavfio.cli import main

def at(module, name):
    def interrupted(*arguments, **named):
        os.kill(os.getpid(), signal.{number})
        return real(*arguments, **named)
    real = getattr(module, name)
    setattr(module, name, interrupted)

import iavfio.opening
at({place})
main(["bench", "softvf", "--count", "9", "--json"])
"""
PLACES = ['iavfio.opening, "open_port"', 'preflight, "preflight"', 'run, "_start"']


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_a_bench_that_is_ended_before_its_first_packet_says_so(
    place: str, number: signal.Signals
) -> None:
    program = STARTING.replace("{place}", place).replace("{number}", number.name)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=default_signals,
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert "before its first packet: nothing of it was measured" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["interrupted"]


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
def test_a_software_pf_prints_its_summary_and_says_which_signal_ended_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    directory = tmp_path / "s"
    child = subprocess.Popen(
        [*MODULE, "softvf", "--socket", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    assert until(lambda: (directory / "control.sock").exists(), 60)
    assert child.stdout is not None
    assert until(lambda: "ready" in child.stdout.readline(), 60)  # type: ignore[union-attr]
    child.send_signal(number)
    out, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (128 + number, "")
    assert "vf0: rx 0 packets" in out
    assert not directory.exists()


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


SWALLOWED = """
import os, signal, sys, time
from iavfio.cli import signals
from iavfio.cli.outcome import outcome

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})
        time.sleep(1)  # the exception comes up in here, where Python cannot pass it on

def work():
    with signals.raised():
        Swallows()
        time.sleep(60)

signals.end_at_once()
sys.exit(outcome(work))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_a_finalizer_swallows_comes_again(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.replace("{number}", number.name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=default_signals,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


INSIDE_EXEC = """
import os, signal
from iavfio.cli import main, schema

def interrupted(**_):
    exec("os.kill(os.getpid(), signal.{number})")

schema.command.callback = interrupted
main(["schema"])
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("how", [["-m", "inside"], ["inside.py"]], ids=["module", "script"])
def test_a_signal_inside_of_exec_decides_the_status(
    how: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    """As in the making of a dataclass: Python itself would end by SIGINT after that."""
    (tmp_path / "inside.py").write_text(INSIDE_EXEC.replace("{number}", number.name))
    root = str(Path(iavfio.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, env=os.environ | {"PYTHONPATH": root},
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=default_signals,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


AT_EXIT = """
import atexit, os, signal, sys
from iavfio.cli import signals
atexit.register(print, "closed")
print("unfinished", end=" ")
sys.stderr.write("line")
signals.end({status})
"""


@pytest.mark.parametrize("status", [0, 1, 130, 143])
def test_what_is_open_is_closed_at_any_end(status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT.replace("{status}", str(status))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (status, "unfinished closed\n", "line")


HASTENED = """
import os, signal
from iavfio.cli import signals
from iavfio.pyvfio import connection
from iavfio.softvf import launch
connection.hasten = launch.hasten = lambda: print("hastened")
signals.end_at_once()
with signals.raised():
    try:
        os.kill(os.getpid(), signal.{number})
    except KeyboardInterrupt as interrupt:
        print(signals.status(interrupt))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_hastens_what_waits_for_another_process(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HASTENED.replace("{number}", number.name)],
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=default_signals,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"hastened\nhastened\n{128 + number}\n", "")


def test_ignored_signals_stay_ignored() -> None:
    """A shell's background job must not end with the Ctrl-C that is meant for another."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    child = subprocess.Popen(
        [
            *MODULE,
            "bench",
            "softvf",
            "--duration",
            "0.5",
            "--rate",
            "1000",
            "--max-loss",
            "1",
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore,
    )
    for _ in range(5):
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error
    assert '"sound": true' in out


WITH_A_SUMMARY = [
    (["bench", "softvf", "--duration", "60"], "sent "),
    (["gen", "softvf", "--stream", "rate=1kpps", "--duration", "60"], "packets sent"),
    (["capture", "softvf", "-w", "/dev/null"], "captured"),
    (["punt", "softvf", "--tap", "iavfioagain"], "ended by"),
]


# docs/spec/reliability.md F66
@pytest.mark.parametrize("gap", [0.0, 0.03, 0.1, 0.2])
@pytest.mark.parametrize(
    ("command", "words"), WITH_A_SUMMARY, ids=[command[0] for command, _ in WITH_A_SUMMARY]
)
def test_a_signal_that_comes_twice_costs_no_summary(
    command: list[str], words: str, gap: float, tmp_path: Path
) -> None:
    """As `timeout` sends it: to the process and to its group."""
    if command[0] == "punt" and os.geteuid():
        pytest.skip("makes a TAP: needs root")
    told = tmp_path / "told"
    with told.open("w") as out:
        child = subprocess.Popen(
            [*MODULE, *command], stdout=out, stderr=out, preexec_fn=default_signals
        )
    try:
        assert until(lambda: "vf0" in told.read_text(), 60)  # what each says at its start
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        time.sleep(gap)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 143, told.read_text()
    finally:
        child.kill()
        child.wait()
    assert words in " ".join(told.read_text().split()), told.read_text()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_software_pf_whose_reader_reads_nothing_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    child = subprocess.Popen(
        [*MODULE, "softvf", "--socket", str(tmp_path / "pf")],
        stdout=write,
        stderr=subprocess.PIPE,
        preexec_fn=default_signals,
    )
    try:
        assert until((tmp_path / "pf/control.sock").exists, 60)
        time.sleep(1)
        assert until(lambda: wchan(child.pid) == "0" or "pipe" in wchan(child.pid), 60)
        child.send_signal(number)
        assert child.wait(30) == 128 + number
        assert child.stderr is not None and b"Traceback" not in child.stderr.read()
    finally:
        child.kill()
        child.communicate()
        os.close(read)
        os.close(write)


def wchan(pid: int) -> str:
    """Where in the kernel a process sleeps; "0" where that is a secret."""
    return Path(f"/proc/{pid}/wchan").read_text()
