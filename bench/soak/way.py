# SPDX-License-Identifier: BSD-3-Clause
"""Frames with numbers from one port to another, made and checked one by one."""

from __future__ import annotations

import iavfio
from bench.soak.account import Account
from iavfio.errors import IavfioError

ETHERTYPE = bytes.fromhex("88b5")  # for experiments
ADDRESSES = 12  # bytes at the front of a frame


class Way:
    """From one port to the other; frames are numbered, and carry what follows from the number."""

    def __init__(self, source: iavfio.Port, sink: iavfio.Port, account: Account) -> None:
        self.source, self.sink, self.account = source, sink, account
        self.next = 0
        self.last = -1  # the highest number that came

    def send(self, count: int) -> int:
        """Sends up to `count` frames, fewer in a reset; returns how many the device took."""
        head = self.sink.mac + self.source.mac + ETHERTYPE
        frames = [head + content(n) for n in range(self.next, self.next + count)]
        try:
            with self.source.tx[0].build(frames) as burst:
                taken = self.source.tx[0].send(burst)
        except IavfioError:  # stopped by what happens to the port
            return 0
        self.next += taken
        self.account.sent += taken
        return taken

    def receive(self, timeout: float | None = None) -> int:
        """Takes and checks what has come; returns how many, without a neighbour's broadcasts."""
        try:
            with self.sink.rx[0].recv(timeout=timeout) as burst:
                frames = [bytes(packet) for packet in burst]
        except IavfioError:
            return 0
        mine = [frame for frame in frames if not frame[0] & 1]
        for frame in mine:
            self.check(frame)
        return len(mine)

    def check(self, frame: bytes) -> None:
        """Notes as wrong what was not sent, or came twice or out of order."""
        body = frame[ADDRESSES + len(ETHERTYPE) :]
        number = int.from_bytes(body[:8], "big")
        if number >= self.next or body != content(number):
            self.account.wrong.append(f"a frame that nobody sent: {frame[:32].hex()}")
        elif number <= self.last:
            self.account.wrong.append(f"frame {number} came after {self.last}")
        else:
            self.account.lost += number - self.last - 1
            self.account.received += 1
            self.last = number

    def settle(self) -> None:
        """Counts as lost what was sent and has not come."""
        self.account.lost += self.next - 1 - self.last
        self.last = self.next - 1


def content(number: int) -> bytes:
    """46 to 1000 bytes that belong to this number."""
    return number.to_bytes(8, "big") + bytes([number * 7 % 251]) * (38 + number * 37 % 954)
