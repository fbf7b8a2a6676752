# SPDX-License-Identifier: BSD-3-Clause
"""A judge at work: the process of a User Mode Linux kernel with one PF driver in it.

Requests go to its fd 3 as what, vf, opcode, length and payload; answers come from its fd 4 as kind,
vf, opcode, status, length and payload, up to the frame that ends the answer.
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from tests.guest.cache import LabError

REQUEST = struct.Struct("<4I")
ANSWER = struct.Struct("<3IiI")
REQUEST_FD, ANSWER_FD = 3, 4
MEMORY = "256M"
ENDING = 20.0  # seconds
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


class Kind(IntEnum):
    """Frames of an answer."""

    MESSAGE = 1
    COMMAND = 2
    END = 3
    REGISTER = 4
    STATE = 5


@dataclass
class Answer:
    """What one request brought about."""

    result: int = 0
    messages: list[tuple[int, int, int, bytes]] = field(default_factory=list)  # with the VF first
    commands: list[tuple[int, bytes]] = field(default_factory=list)  # of the admin queue
    registers: list[int] = field(default_factory=list)
    state: bytes = b""  # what the PF holds for the VF, as the driver's judge_*.c lays it out


class JudgeProcess:
    """A running judge; a context manager."""

    def __init__(self, kernel: Path, *arguments: str) -> None:
        request_read, self._requests = os.pipe()
        answer_read, answer_write = os.pipe()
        self._answers = os.fdopen(answer_read, "rb")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.said = 0
        # The shell puts the pipes at the numbers that the kernel in the process expects.
        line = f'exec "$0" "$@" {REQUEST_FD}<&{request_read} {ANSWER_FD}>&{answer_write}'
        options = [f"mem={MEMORY}", "con=null", "stderr=1", "panic=1", "time-travel=inf-cpu"]
        self._child = subprocess.Popen(
            ["bash", "-c", line, str(kernel), *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(request_read, answer_write),
        )
        os.close(request_read)
        os.close(answer_write)
        self._until_end()  # it says that it is ready

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
        """One request with everything that it brought about. Raises LabError for a dead judge."""
        os.write(self._requests, REQUEST.pack(what, vf, opcode, len(payload)) + payload)
        return self._until_end()

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
            os.write(self._requests, REQUEST.pack(What.END, 0, 0, 0))
            try:
                self._child.wait(ENDING)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        os.close(self._requests)
        self._answers.close()
        self._log.close()

    def _read(self, count: int) -> bytes:
        data = self._answers.read(count)
        if len(data) < count:
            self._log.seek(0)
            text = self._log.read().decode(errors="replace")
            raise LabError(f"the judge died; the end of its log:\n{text[-3000:]}")
        return data

    def _until_end(self) -> Answer:
        answer = Answer()
        while True:
            kind, vf, opcode, status, length = ANSWER.unpack(self._read(ANSWER.size))
            data = self._read(length)
            if kind == Kind.MESSAGE:
                answer.messages.append((vf, opcode, status, data))
            elif kind == Kind.COMMAND:
                answer.commands.append((opcode, data))
            elif kind == Kind.REGISTER:
                answer.registers.append(status & 0xFFFFFFFF)
            elif kind == Kind.STATE:
                answer.state = data
            else:
                answer.result = status
                return answer
