# SPDX-License-Identifier: BSD-3-Clause
"""Scapy over a port: `sniff`, `sendp`, `sr` and answering machines (extra `iavfio[scapy]`).

A `VfSocket` of a started port is what scapy's functions take as `socket=` or `opened_socket=`.
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Any

from scapy.layers.l2 import Ether
from scapy.supersocket import SuperSocket

from iavfio.errors import DeviceError, StateError
from iavfio.port.port import Port

SEND_SECONDS = 1.0  # to wait for room in the send ring
MTU = 0xFFFF


class VfSocket(SuperSocket):
    """A started port as a socket of scapy's: frames from Ethernet on, of all receive queues.

    Closing it leaves the port open. One thread may send while another receives. `queue` is the
    send queue to use. A tag that the device stripped is not in the packet: scapy sees the frame
    as it lies in memory.
    """

    desc = "frames of an iavfio port"

    def __init__(self, port: Port, queue: int = 0) -> None:
        """Raises StateError when the port is not started, NoSuchQueue, OSError."""
        self.closed = True  # until it is open: scapy's __del__ closes it
        self._port = port
        self._tx = port.tx[queue]
        self._frames: deque[tuple[bytes, float]] = deque()  # received, and not yet asked for
        self._epoll = select.epoll()
        for each in port.rx:
            self._epoll.register(each.fileno(), select.EPOLLIN)
        self.promisc = port.settings.promiscuous
        self.iface = port.name
        self.closed = False

    def fileno(self) -> int:
        """A descriptor over all receive queues; `select` of this class knows better."""
        return self._epoll.fileno()

    def send(self, x: Any) -> int:
        """Sends one packet and returns its length in bytes.

        Raises ConfigError for a packet that cannot be sent, DeviceError when the send ring stays
        full for a second.
        """
        data = bytes(x)
        end = time.monotonic() + SEND_SECONDS
        with self._tx.build([data]) as burst:
            while not self._tx.send(burst):
                if time.monotonic() > end:
                    raise DeviceError(
                        f"{self._port.name}: the send ring stays full",
                        f"its link is {self._port.link}",
                        "look at port.why()",
                    )
                self._tx.clean()
        if hasattr(x, "sent_time"):
            x.sent_time = time.time()
        return len(data)

    def recv_raw(self, x: int = MTU) -> tuple[Any, bytes | None, float | None]:
        """The next packet as (Ether, at most `x` bytes, seconds since 1970), or Nones."""
        if not self.look():
            return None, None, None
        data, when = self._frames.popleft()
        return Ether, data[:x], when

    def look(self) -> bool:
        """Whether a packet is there; takes one burst out of each queue that has some."""
        if self.closed:
            raise StateError(f"this socket of {self._port.name} is closed")
        if not self._frames:
            for queue in self._port.rx:
                with queue.recv(32) as burst:
                    now = time.time()
                    for i in range(len(burst)):
                        whole = b"".join(bytes(part) for part in burst.segments_of(i))
                        self._frames.append((whole, now))
        return bool(self._frames)

    @staticmethod
    def select(sockets: Any, remain: float | None = None) -> list[Any]:
        """Returns the `sockets`, of this class or not, that have something within `remain` s."""
        end = None if remain is None else time.monotonic() + remain
        while True:
            ours = [each for each in sockets if isinstance(each, VfSocket) and each.look()]
            left = None if end is None else max(end - time.monotonic(), 0.0)
            found = select.select(sockets, [], [], 0.0 if ours else left)[0]
            ready = [each for each in found if not isinstance(each, VfSocket)] + ours
            if ready or (end is not None and time.monotonic() >= end):
                return ready

    def close(self) -> None:
        """Ends the use of the port's queues. Twice is harmless."""
        if not self.closed:
            self.closed = True
            self._epoll.close()
