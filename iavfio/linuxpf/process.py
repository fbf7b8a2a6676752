# SPDX-License-Identifier: BSD-3-Clause
"""A judge at work: the process of a User Mode Linux kernel with one PF driver in it.

Requests go to its fd 3 as what, vf, opcode, length and payload; answers come from its fd 4 as kind,
vf, opcode, status, length and payload, up to the frame that ends the answer.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.scratch import scratch

REQUEST = struct.Struct("<4I")
ANSWER = struct.Struct("<3IiI")
REQUEST_FD, ANSWER_FD = 3, 4
MEMORY = 256  # MiB
# Of a kernel's messages only an alarm goes to the log, so that no client's requests can fill it.
CONSOLE = ("con=none", "ssl=none", "con0=fd:0,fd:2", "stderr=1", "loglevel=3")
PANIC = "Kernel panic - not syncing: "
LOG = 3000  # bytes of its end that are told of one that does not start
LINES = 3  # of its end that are told of another one
LAST_WORDS = 1.0  # seconds
ENDING = 1.0  # seconds: one that hangs has nothing to lose, and whoever ends us waits two
STARTING = 60.0  # seconds, of a busy machine
# Seconds: a client gives a software VF that is silent five. The slowest answer, that to a reset of
# 64 VFs, took 0.7 s on a machine with four processes for each processor.
ANSWERING = 4.0
Reply = tuple[int, int, bytes]  # opcode, v_retval, payload


class What(IntEnum):
    """Requests: a VF's message, what the host's administrator does, looks at the registers."""

    MESSAGE = 1
    TRUST = 2
    MAC = 3
    FLR = 4
    READ = 5
    WRITE = 6
    PORT_VLAN = 7
    FLAG = 8
    END = 9
    LINK = 10
    SPOOFCHK = 11
    REFUSE = 12
    RESET_ALL = 13
    STATE = 14
    QUEUES = 15
    COUNT = 16
    WIRE = 17
    RESET = 18
    RATE = 19


class Kind(IntEnum):
    """Frames of an answer."""

    MESSAGE = 1
    COMMAND = 2
    END = 3
    REGISTER = 4
    STATE = 5
    RESET = 6
    RSTAT = 7
    QUEUES = 8


@dataclass(frozen=True)
class Frame:
    """One thing that a request brought about."""

    kind: int
    vf: int
    opcode: int
    status: int
    data: bytes


@dataclass
class Answer:
    """What one request brought about, in order, and the driver's return code."""

    result: int = 0
    frames: list[Frame] = field(default_factory=list)

    @property
    def messages(self) -> list[tuple[int, int, int, bytes]]:
        """What the PF sent: VF, opcode, v_retval, payload."""
        found = self._of(Kind.MESSAGE)
        return [(frame.vf, frame.opcode, frame.status, frame.data) for frame in found]

    @property
    def commands(self) -> list[tuple[int, bytes]]:
        """Commands that the firmware of the PF's admin queue took.

        Each is an opcode, and 16 bytes of parameters with the buffer.
        """
        return [(frame.opcode, frame.data) for frame in self._of(Kind.COMMAND) if not frame.status]

    @property
    def registers(self) -> list[int]:
        """Values of registers that were read."""
        return [frame.status & 0xFFFFFFFF for frame in self._of(Kind.REGISTER)]

    @property
    def state(self) -> bytes:
        """What the PF holds for the VF, as the driver's judge_*.c lays it out."""
        found = self._of(Kind.STATE)
        return found[-1].data if found else b""

    @property
    def queues(self) -> bytes:
        """What the card would read to serve the VF, as the driver's judge_*.c lays it out."""
        found = self._of(Kind.QUEUES)
        return found[-1].data if found else b""

    def _of(self, kind: Kind) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == kind]


class JudgeProcess:
    """A running judge; a context manager.

    What it writes to files lies in a directory that is removed when it has started, or has failed
    to. So nothing is left of one that is killed. Raises LabError when it does not start.
    """

    def __init__(self, kernel: Path, *arguments: str) -> None:
        self._started = False
        with scratch(MEMORY) as directory:
            self._spawn(kernel, directory, arguments)
            try:
                self.start = self._until_end(STARTING)  # what its PF did until it was ready
            except BaseException:
                self._kill()
                self.close()
                raise
        self._started = True

    def _spawn(self, kernel: Path, directory: Path, arguments: Sequence[str]) -> None:
        request_read, self._requests = os.pipe()
        answer_read, answer_write = os.pipe()
        self._answers, self._unread = answer_read, b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.said = 0
        # The shell puts the pipes at the numbers that the kernel in the process expects.
        line = f'exec "$0" "$@" {REQUEST_FD}<&{request_read} {ANSWER_FD}>&{answer_write}'
        options = [f"mem={MEMORY}M", f"uml_dir={directory}/", *CONSOLE, "panic=1"]
        self._child = subprocess.Popen(
            ["bash", "-c", line, str(kernel), *options, "time-travel=inf-cpu", *arguments],
            env={**os.environ, "TMPDIR": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(request_read, answer_write),
            start_new_session=True,  # the terminal's Ctrl-C is its user's to handle
        )
        os.close(request_read)
        os.close(answer_write)
        self.end_fd = os.pidfd_open(self._child.pid)  # readable when the process has ended

    @property
    def pid(self) -> int:
        """Of the process, which has a group of its own."""
        return self._child.pid

    def __enter__(self) -> JudgeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def request(self, what: What, vf: int = 0, opcode: int = 0, payload: bytes = b"") -> Answer:
        """One request with everything that it brought about.

        Raises LabError for a judge that has died; one that does not answer in time is killed.
        """
        try:
            os.write(self._requests, REQUEST.pack(what, vf, opcode, len(payload)) + payload)
        except BrokenPipeError as error:
            raise self.died() from error
        return self._until_end(ANSWERING)

    def say(self, opcode: int, payload: bytes = b"", vf: int = 0) -> list[Reply]:
        """A VF's message; what the PF sends to that VF."""
        self.said += 1
        return self.replies(self.request(What.MESSAGE, vf, opcode, payload), vf)

    def host(self, what: What, value: int = 0, payload: bytes = b"", vf: int = 0) -> list[Reply]:
        """A deed of the administrator's; what the PF sends to that VF."""
        return self.replies(self.request(what, vf, value, payload), vf)

    @staticmethod
    def replies(answer: Answer, vf: int) -> list[Reply]:
        """The messages of an answer to one VF."""
        return [(op, status, data) for to, op, status, data in answer.messages if to == vf]

    def close(self) -> None:
        """Ends the process."""
        if self._child.poll() is None:
            try:
                os.write(self._requests, REQUEST.pack(What.END, 0, 0, 0))
                self._child.wait(ENDING)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._kill()
        os.close(self._requests)
        os.close(self._answers)
        os.close(self.end_fd)
        self._log.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def log(self) -> str:
        """The end of what the process and its kernel have said."""
        at = max(0, os.fstat(self._log.fileno()).st_size - LOG)
        return os.pread(self._log.fileno(), LOG, at).decode(errors="replace")

    def died(self) -> LabError:
        """The error of one that has ended without being asked to, with the end of its log."""
        with suppress(subprocess.TimeoutExpired):  # its pipes may be closed before they are written
            self._child.wait(LAST_WORDS)
        panics = [line.partition(PANIC)[2] for line in self.log().splitlines() if PANIC in line]
        return self._failed(": ".join(["it died", *panics[:1]]))

    def _failed(self, why: str) -> LabError:
        what, log = f"the judge does not answer: {why}", self.log()
        if self._started:
            return LabError(f"{what}; its log ends with: {' | '.join(log.splitlines()[-LINES:])}")
        return LabError(f"{what}; the end of its log:\n{log}")

    def _read(self, count: int, deadline: float) -> bytes:
        while len(self._unread) < count:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                self._kill()  # nobody would ask it any more
                raise self._failed("its time was over, and it was killed")
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise self.died()
            self._unread += data
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _until_end(self, seconds: float) -> Answer:
        answer, deadline = Answer(), time.monotonic() + seconds
        while True:
            head = self._read(ANSWER.size, deadline)
            kind, vf, opcode, status, length = ANSWER.unpack(head)
            data = self._read(length, deadline)
            if kind == Kind.END:
                answer.result = status
                return answer
            answer.frames.append(Frame(kind, vf, opcode, status, data))
