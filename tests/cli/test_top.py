# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio top` in a terminal of its own, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from iavfio.stats import PortSegment
from tests.live.segments import add, running
from tests.port.rig import until

IAVFIO = [sys.executable, "-m", "iavfio.cli", "top"]
SECONDS = 60.0


@pytest.fixture
def segment() -> Iterator[PortSegment]:
    segment = running(f"top{os.getpid()}")
    yield segment
    segment.close()


class Terminal:
    """A pseudo-terminal with a program in it, and all that the program has written to it."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        no_color: str = "",
        command: Sequence[str] = IAVFIO,
        first: Callable[[], object] | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        unset = ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self.child = subprocess.Popen(
            [*command, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=inherited
            | {"TERM": "xterm-256color"}
            | ({"NO_COLOR": no_color} if no_color else {}),
            start_new_session=True,
            preexec_fn=first,
            pass_fds=keep,
        )
        self.text = ""

    def read_until(self, words: str) -> None:
        end = time.monotonic() + SECONDS
        while words not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                self.text += os.read(self._master, 1 << 16).decode("utf-8", "replace")

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def ended(self) -> int:
        """The exit status; what was written last is read, and the terminal is as it was."""
        self.read_until("in all: ")
        status = self.child.wait(timeout=SECONDS)
        while select.select([self._master], [], [], 0.2)[0]:
            self.text += os.read(self._master, 1 << 16).decode("utf-8", "replace")
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self._master)
        return status


SHELL = r"""
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
try:
    os.setpgid(child, child)
except PermissionError:
    pass # the child has done so itself and is another program by now
os.tcsetpgrp(0, child or os.getpid())
if not child:
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, sys.argv[1:])
os.write({0}, b"%d\n" % child)
os.write({0}, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Job(Terminal):
    """The same in the foreground of a shell: without somebody to say fg, Ctrl-Z stops nothing."""

    def __init__(self, *arguments: str) -> None:
        read, write = os.pipe()
        self.told = os.fdopen(read)

        super().__init__(
            *arguments,
            command=[sys.executable, "-c", SHELL.format(write), *IAVFIO],
            first=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            keep=[write],
        )
        os.close(write)
        self.pid = int(self.told.readline())

    def stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] == "T"


@pytest.mark.parametrize("key", [True, False], ids=["Ctrl-Z", "a signal"])
def test_ctrl_z_gives_the_terminal_back_and_fg_paints_the_view_anew(
    segment: PortSegment, key: bool
) -> None:
    job = Job(segment.name, "--interval", "0.1")
    for _ in range(2):
        job.read_until("nothing lost")
        assert job.mode() != job.before  # no echo, single keys
        if key:
            job.press(b"\x1a")
        else:
            os.kill(job.pid, signal.SIGTSTP)
        assert until(job.stopped, SECONDS)
        job.read_until("\x1b[?25h")  # the cursor
        assert job.text.count("\x1b[?1049h") == job.text.count("\x1b[?1049l") == 1
        assert job.mode() == job.before
        job.text = ""
        os.kill(job.pid, signal.SIGCONT)
        job.read_until("\x1b[?25l")
    job.read_until("nothing lost")
    job.press(b"q")
    assert job.ended() == 0  # of the shell
    assert int(job.told.read()) == 0
    assert "Traceback" not in job.text
    job.told.close()


def test_a_view_that_goes_on_after_sigstop_is_painted_anew(segment: PortSegment) -> None:
    """Nobody could give the terminal back, and who was there meanwhile may have changed it."""
    job = Job(segment.name, "--interval", "0.1")
    job.read_until("nothing lost")
    os.kill(job.pid, signal.SIGSTOP)
    assert until(job.stopped, SECONDS)
    termios.tcsetattr(job.slave, termios.TCSANOW, job.before)
    job.text = ""
    os.kill(job.pid, signal.SIGCONT)
    job.read_until("\x1b[?1049h")
    assert until(lambda: job.mode() != job.before, SECONDS)
    job.press(b"q")
    assert job.ended() == 0
    job.told.close()


def test_q_ends_it_with_a_summary_and_other_keys_do_not(segment: PortSegment) -> None:
    terminal = Terminal(segment.name, "--interval", "0.1")
    terminal.read_until("nothing lost")
    terminal.press(b"x")
    add(segment, "rq", 0, packets=5)
    terminal.press(b"\x1b[A")
    terminal.read_until("pps")
    time.sleep(0.3)
    terminal.press(b"q")
    assert terminal.ended() == 0
    assert "rx 5 packets" in terminal.text.rpartition("in all: ")[2]
    assert "\x1b[?1049h" in terminal.text and "\x1b[?1049l" in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(segment: PortSegment, number: signal.Signals) -> None:
    terminal = Terminal(segment.name, "--interval", "0.1", columns=40)
    terminal.read_until("nothing lost")
    terminal.child.send_signal(number)
    assert terminal.ended() == 128 + number
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_is_respected(segment: PortSegment, no_color: str) -> None:
    terminal = Terminal(segment.name, "--interval", "0.1", no_color=no_color)
    terminal.read_until("nothing lost")
    terminal.press(b"q")
    terminal.ended()
    assert ("\x1b[32m" in terminal.text) == (not no_color)


def test_where_there_is_no_terminal_one_plain_frame_is_printed(segment: PortSegment) -> None:
    done = subprocess.run(
        [*IAVFIO, segment.name, "--interval", "0.1"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        env=os.environ | {"COLUMNS": "60"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{segment.name}  running  link up 10.0 Gbit/s")
    assert "\x1b" not in done.stdout and max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["no-such-port"], 2, "no port named 'no-such-port'"),
        (["--interval", "0"], 2, "0.01 to 3600 seconds"),
        (["--interval", "x"], 2, "is not a number"),
        (["../../x"], 2, "no port name"),
    ],
)
def test_wrong_use(arguments: list[str], status: int, words: str) -> None:
    done = subprocess.run(
        [*IAVFIO, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr and "Traceback" not in done.stderr
