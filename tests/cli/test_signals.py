# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and SIGTERM: 130 and 143 at any moment, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import iavfio
from tests.cli.streams import Pipe, wchan
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
    with Pipe() as out:
        out.fill()
        child = subprocess.Popen(
            [*MODULE, "softvf", "--socket", str(tmp_path / "pf")],
            stdout=out.write_end,
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
