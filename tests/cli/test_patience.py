# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and SIGTERM end each command whose output nobody takes any more."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.cli.group import SUMMARIES
from iavfio.softvf.launch import SoftPf
from iavfio.stats.runtime import own_dir
from tests.capture.files import write_pcap
from tests.cli.streams import Pipe, answers, writes
from tests.port.rig import until

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BUILT_IN = sys.builtin_module_names  # which cost nothing
MODULE = [sys.executable, "-P", "-m", "iavfio.cli"]
GEN = ["--stream", "rate=1kpps", "--duration", "60"]
# What runs until a signal, with a word that it says once it does.
RUNNING = {
    "bench": (["bench", "VF0", "--duration", "60"], "64 byte frames"),
    "capture": (["capture", "VF0", "-w", "-"], "capturing on"),
    "capture-file": (["capture", "VF0", "-w", "OUT"], "capturing on"),
    "capture-port": (["capture", "held", "-w", "-"], "mirroring"),
    "exporter": (["exporter", "--listen", "127.0.0.1:0"], "serving metrics"),
    "gen": (["gen", "VF0", *GEN], "from vf0"),
    "gen-json": (["gen", "VF0", "--expect", "VF1", *GEN, "--json"], ""),
    "ndr": (["ndr", "VF0", "--size", "64,128", "--duration", "0.2"], "64 bytes, "),
    "preload": (["preload", "SOCKET", "--", "sleep", "60"], "0000:b0:00.0"),
    "punt": (["punt", "VF0", "--tap", "iavfiofull"], "of port vf0"),
    "qualify": (["qualify", "run", "VF0", "VF1", "-o", "OUT"], "identity"),
    "replay": (["replay", "VF0", "FILE", "--loop", "0", "--rate", "1kpps"], "sending"),
    "softvf": (["softvf", "--socket", "NEW"], "ready"),
    "stats": (["stats", "--interval", "0.05"], "held"),
    "telemetry": (["telemetry", "--dir", "NEW"], "serving DPDK"),
    "top": (["top", "--interval", "60"], ""),
    "why": (["why", "held", "--interval", "60"], ""),
}
# What ends by itself, and stands still because nobody takes its words.
BRIEF = {
    "completion": ["completion", "bash"],
    "doctor": ["doctor"],
    "info": ["info", "VF0"],
    "journal": ["journal", "record", "PF", "-o", "OUT"],
    "list": ["list", "--json"],
    "schema": ["schema", "stats"],
    "stats-once": ["stats", "held"],
    "why-once": ["why", "VF0"],
}
# Their words are errors where there is no card, no plan and no report, told as those of others are.
ALIKE = {"bind", "fleet", "report", "unbind", "vf"}


def test_no_command_is_left_out() -> None:
    assert {words[0] for words, _ in RUNNING.values()} | {
        words[0] for words in BRIEF.values()
    } | ALIKE == set(SUMMARIES)


def default_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    """A software PF with two VFs that are free, and one whose port runs here."""
    with iavfio.softvf(vfs=3) as soft, soft.open(2, name="held") as port:
        port.start()
        yield soft


@contextlib.contextmanager
def begun(
    words: list[str],
    pf: SoftPf,
    tmp_path: Path,
    out: int,
    error: int,
    program: Sequence[str] = MODULE,
) -> Iterator[Any]:
    """The process of a command."""
    if words[0] == "punt" and os.geteuid():
        pytest.skip("makes a TAP: needs root")
    file = tmp_path / "a.pcap"
    write_pcap(file, [bytes(60)] * 4)
    socket = pf.sockets[0].removeprefix("vfio-user:")
    places = {"VF0": pf.sockets[0], "VF1": pf.sockets[1], "FILE": str(file), "SOCKET": socket,
              "NEW": str(tmp_path / "new"), "OUT": str(tmp_path / "out"),
              "PF": str(Path(socket).parent)}  # fmt: skip
    child = subprocess.Popen(
        [*program, *(places.get(word, word) for word in words)],
        stdin=subprocess.DEVNULL, stdout=out, stderr=error, preexec_fn=default_signals,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def free(pf: SoftPf) -> bool:
    """Whether nobody has the VFs open, and no counters are left of who had."""
    vfs = pf.control("info")["vfs"]
    return not any(vf["connected"] for vf in vfs[:2]) and len(list(own_dir().segments())) == 1


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", RUNNING)
def test_a_command_whose_reader_reads_no_more_ends(
    command: str, number: signal.Signals, pf: SoftPf, tmp_path: Path
) -> None:
    words, says = RUNNING[command]
    with Pipe() as out, Pipe() as error:
        with begun(words, pf, tmp_path, out.write_end, error.write_end) as child:

            def ready() -> bool:
                assert child.poll() is None, error.take() + out.take()
                said = says in out.take(0.01) or says in error.take(0.01)
                return said and answers(child.pid, signal.SIGALRM)

            assert until(ready, 60)
            out.fill()
            error.fill()
            child.send_signal(number)
            assert child.wait(60) == 128 + number
        told = out.take() + error.take()
    assert "Traceback" not in told and "Exception ignored" not in told
    assert until(lambda: free(pf), 60)


# docs/spec/reliability.md F66
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", BRIEF)
def test_a_signal_inside_of_a_write_ends_it(
    command: str, number: signal.Signals, pf: SoftPf, tmp_path: Path
) -> None:
    with Pipe() as out, Pipe() as error:
        out.fill()
        error.fill()
        words = BRIEF[command]
        with begun(words, pf, tmp_path, out.write_end, error.write_end) as child:
            assert until(lambda: answers(child.pid, signal.SIGALRM) and writes(child.pid), 60)
            assert child.poll() is None
            child.send_signal(number)
            assert child.wait(60) == 128 + number
        told = out.take() + error.take()
    assert "Traceback" not in told and "Exception ignored" not in told
    assert until(lambda: free(pf), 60)


OTHERWISE = ("preload", "softvf")  # they hear of signals in ways of their own
LATE = """
import atexit, os, sys
from pathlib import Path
from iavfio.cli import main, signals

late = []

def heard():
    if not late:
        late.append("heard")
        sys.addaudithook(hook)

def hook(event, arguments):
    if event == "subprocess.Popen" or event == "import" and arguments[0] not in sys.modules:
        late.append(f"{event} {arguments[0]}")

signals.HURRIED = (*signals.HURRIED, ("__main__", "heard"))
atexit.register(lambda: Path(os.environ["LATE"]).write_text(chr(10).join(late)))
main(sys.argv[1:])
"""


# docs/spec/reliability.md F66
@pytest.mark.parametrize("command", [name for name in RUNNING if name not in OTHERWISE])
def test_nothing_is_imported_or_started_after_a_signal(
    command: str, pf: SoftPf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary that needs either comes late on a busy host."""
    words, says = RUNNING[command]
    told = tmp_path / "late"
    monkeypatch.setenv("LATE", str(told))
    (tmp_path / "late.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", str(Path(iavfio.__file__).parents[1]))
    program = [sys.executable, str(tmp_path / "late.py")]
    with (
        Pipe() as out,
        Pipe() as error,
        begun(words, pf, tmp_path, out.write_end, error.write_end, program) as child,
    ):
        assert until(lambda: says in out.take(0.01) or says in error.take(0.01), 60)
        assert until(lambda: answers(child.pid, signal.SIGALRM), 60)
        time.sleep(0.5)  # it works by now, and has something to tell
        child.send_signal(signal.SIGINT)

        def ended() -> bool:
            out.take()
            error.take()
            return child.poll() is not None

        assert until(ended, 60)
    found = [each for each in told.read_text().splitlines() if each.split()[-1] not in BUILT_IN]
    assert found == ["heard"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_terminal_that_stands_still_is_not_waited_for(
    number: signal.Signals, pf: SoftPf, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    try:
        with begun(["stats", "--interval", "0.05"], pf, tmp_path, slave, slave) as child:
            os.read(master, 1)
            os.write(master, b"\x13")  # Ctrl-S
            assert until(lambda: writes(child.pid), 60)
            child.send_signal(number)
            assert child.wait(60) == 128 + number
    finally:
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_capture_that_nobody_reads_any_more_says_that_it_is_not_whole(
    number: signal.Signals, pf: SoftPf, tmp_path: Path
) -> None:
    with Pipe() as out, Pipe() as error:
        words = ["capture", "softvf", "-w", "-"]
        with begun(words, pf, tmp_path, out.write_end, error.write_end) as child:
            assert until(lambda: "iavfio" in out.take(0.01), 60)  # the header of the file
            out.fill()
            child.send_signal(number)
            assert child.wait(60) == 128 + number
        told = " ".join(error.take().split())
    assert "not all that was captured is written: whatever reads" in told
    assert "frames captured of" in told


OF_A_THREAD = """
import os, signal, sys, threading, time
from iavfio.cli import signals
from iavfio.cli.outcome import outcome
from iavfio.cli.printing import note

def work():
    with signals.raised():
        threading.Thread(target=note, args=("of a thread",), daemon=True).start()
        time.sleep(0.2)  # it is inside the write by now, and has the stream's lock
        threading.Timer(0.2, os.kill, (os.getpid(), signal.{number})).start()
        note("of the main thread")
        time.sleep(60)

signals.end_at_once()
signals.end(outcome(work))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_thread_inside_of_a_write_holds_nobody_up(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # streams would have no lock
    with Pipe() as error:
        error.fill()
        done = subprocess.run(
            [sys.executable, "-c", OF_A_THREAD.replace("{number}", number.name)],
            stderr=error.write_end, timeout=60, check=False, preexec_fn=default_signals,
        )  # fmt: skip
    assert done.returncode == 128 + number


WAITING = """
import os, signal, time
from iavfio.cli import signals
signals.end_at_once()
with signals.raised():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(0.2)  # a thread that has not begun takes no signal at all
    os.kill(os.getpid(), signal.SIGTERM)  # comes while nobody waits yet
    time.sleep(0.2)  # whoever may take it has taken it
    print(signal.sigwait([signal.SIGTERM]))
"""


def test_a_signal_that_the_main_thread_waits_for_is_its_own() -> None:
    """The thread that looks after the streams must not take what `iavfio preload` passes on."""
    done = subprocess.run(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{int(signal.SIGTERM)}\n")
