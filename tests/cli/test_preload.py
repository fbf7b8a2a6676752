# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio preload` on the command line: exit statuses, and errors that say what mends them."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.preload import program
from iavfio.softvf.launch import SoftPf
from tests.sanitizer import no_preload

pytestmark = no_preload


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with iavfio.softvf() as pf:
        yield _path(pf)


def _path(pf: SoftPf) -> str:
    return pf.sockets[0].removeprefix("vfio-user:")


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "preload", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


def test_exit_status_and_output_are_the_programs(socket: str) -> None:
    done = cli(socket, "--", "sh", "-c", "ls /sys/bus/pci/devices; exit 7")
    assert (done.returncode, done.stdout) == (7, "0000:b0:00.0\n")
    assert done.stderr == f"0000:b0:00.0 8086:1889 {socket}\n"
    assert cli(socket, "--", "sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_options_of_the_program_are_not_looked_at(socket: str) -> None:
    assert cli(socket, "--", "echo", "--help", "--", "--trace").stdout == "--help -- --trace\n"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["SOCKET"], 2, "give it after --"),
        (["--", "ls"], 2, "Missing argument 'SOCKET"),
        (["/nowhere/vf0.sock", "--", "ls"], 2, "start a software VF with: iavfio softvf"),
        (["SOCKET", "--", "no-such-program"], 2, "there is no program no-such-program"),
        (["SOCKET", "SOCKET", "--", "ls"], 2, "a socket is given twice"),
        (["--iova-bits", "99", "SOCKET", "--", "ls"], 2, "it takes 32 to 57"),
    ],
)
def test_errors_are_short_and_name_the_remedy(
    socket: str, arguments: list[str], status: int, told: str
) -> None:
    done = cli(*[socket if argument == "SOCKET" else argument for argument in arguments])
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def _elf(path: Path, kind: int, machine: int = 62, bits: int = 2) -> str:
    """An ELF file of one program header."""
    identity = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    head = identity + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    path.write_bytes(head + struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 0, 0, 0))
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the files are for x86-64")
def test_programs_that_preload_nothing_are_refused(tmp_path: Path) -> None:
    program.check(_elf(tmp_path / "dynamic", kind=3))
    with pytest.raises(ConfigError, match="linked statically"):
        program.check(_elf(tmp_path / "static", kind=1))
    with pytest.raises(ConfigError, match="built for i386"):
        program.check(_elf(tmp_path / "narrow", kind=3, machine=3, bits=1))
    script = tmp_path / "script"
    script.write_text(f"#!{tmp_path}/static -x\n")
    with pytest.raises(ConfigError, match="linked statically"):
        program.check(str(script))


def test_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="not executable"):
        program.find(str(tmp_path / "data"))
    with pytest.raises(ConfigError, match="directory"):
        program.find(str(tmp_path))


COUNTING = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print("ready", flush=True)
count = 0
while signal.sigtimedwait({signal.SIGINT}, 4 if count else 30):
    count += 1
    print("came:", count, flush=True)
"""


def counting(socket: str) -> list[str]:
    program = [sys.executable, "-c", COUNTING]
    return [sys.executable, "-m", "iavfio.cli", "preload", socket, "--", *program]


def test_sigint_to_it_alone_is_passed_on(socket: str) -> None:
    with subprocess.Popen(
        counting(socket), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "came: 1\n"
        assert process.wait(30) == 0


def test_each_ctrl_c_at_a_terminal_comes_once(socket: str) -> None:
    """Two signals that wait together are one, so that a second one may hide: but not each time."""
    presses = 30
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, counting(socket))
    seen = b""
    try:
        while b"ready" not in seen:
            seen += os.read(terminal, 4096)
        for press in range(1, presses + 1):
            os.write(terminal, b"\x03")
            while f"came: {press}\r\n".encode() not in seen:
                seen += os.read(terminal, 4096)
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            while part := os.read(terminal, 4096):
                seen += part
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert seen.count(b"came: ") == presses
    assert os.waitstatus_to_exitcode(status) == 0


def test_program_is_born_with_the_signals_of_its_caller(socket: str) -> None:
    shown = cli(socket, "--", "grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status").stdout
    standard = (1 << 31) - 1  # the rest is libc's own
    assert [int(line.split()[1], 16) & standard for line in shown.splitlines()] == [0, 0]
