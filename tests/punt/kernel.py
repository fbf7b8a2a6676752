# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces of the kernel, and echo requests as ping sends them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
# An IPv6 address works at once; and a kernel that sends nothing of its own accord.
QUIET = {"accept_dad": "0", "router_solicitations": "0"}
SILENT = {"disable_ipv6": "1"}
LIBC = ctypes.CDLL(None, use_errno=True)


def require() -> None:
    """Skips a test where no TAP can be made."""
    if os.geteuid():
        pytest.skip("needs root: a TAP and network namespaces (CAP_NET_ADMIN)")
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun: modprobe tun")


def ipv6(settings: dict[str, str]) -> None:
    """Settings of IPv6 for new interfaces of this thread's namespace."""
    for name, value in settings.items():
        with contextlib.suppress(OSError):  # a kernel without IPv6
            Path(f"/proc/sys/net/ipv6/conf/default/{name}").write_text(value)


class Namespace:
    """A thread in a network namespace of its own, without IPv6, or in that of a process; it calls
    what it is told. A context manager.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], list[Any]] | None]
        self._calls = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pid = pid
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self.run(lambda: True)

    def _serve(self) -> None:
        if self._pid is None:
            failed = LIBC.unshare(CLONE_NEWNET)
            ipv6(SILENT)
        else:
            fd = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY)
            failed = LIBC.setns(fd, CLONE_NEWNET)
            os.close(fd)
        while (call := self._calls.get()) is not None:
            work, result = call
            try:
                assert not failed, "no network namespace can be had"
                result.append(work())
            except BaseException as error:
                result += [None, error]
            self._done.put(None)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, called inside."""
        result: list[Any] = []
        self._calls.put((work, result))
        self._done.get(timeout=60)
        if len(result) > 1:
            raise result[1]
        value: T = result[0]
        return value

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)
        self._thread.join()


def echoes(address: str, count: int = 3, seconds: float = 10.0) -> int:
    """How many of `count` echo requests were answered; each is repeated until `seconds` are over.

    To be called inside of a namespace.
    """
    six = ":" in address
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    end, answered = time.monotonic() + seconds, 0
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(0.2)
        for number in range(count):
            while time.monotonic() < end:
                with contextlib.suppress(OSError):  # unreachable yet, or nothing came
                    raw.sendto(_request(128 if six else 8, number), (address, 0))
                    if _answered(raw, 129 if six else 0, number, 0 if six else 20):
                        answered += 1
                        break
    return answered


def _request(kind: int, number: int) -> bytes:
    body = struct.pack("!HH", 77, number) + b"x" * 56
    words = sum(struct.unpack("!30H", body)) + (kind << 8)
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    return struct.pack("!BBH", kind, 0, words ^ 0xFFFF) + body


def _answered(raw: socket.socket, kind: int, number: int, at: int) -> bool:
    """Raises TimeoutError when nothing comes."""
    while True:
        packet = raw.recv(2000)
        if packet[at] == kind and packet[at + 6 : at + 8] == number.to_bytes(2, "big"):
            return True


def packets(interface: str) -> socket.socket:
    """A raw socket on an interface of this thread's namespace; it does not block."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind((interface, 0))
    raw.setblocking(False)
    return raw
