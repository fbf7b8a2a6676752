# SPDX-License-Identifier: BSD-3-Clause
"""One frame sent on purpose, to see by the PF's counters what becomes of it.

A VF is told little: a frame that the spoof check or a link that is down swallows completes in the
ring as any other. The PF's counters tell them apart, whichever card it is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iavfio.port.port import Port

MARK = 16  # random bytes by which a probe is known again
HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
COMPLETION = 1.0  # seconds in which a device takes a frame that it can send at all
COUNTING = 1.0  # seconds in which the PF counts it
ARRIVAL = 2.0  # seconds in which it comes back, where somebody sends it back
STEP = 0.005


@dataclass(frozen=True)
class Probe:
    """What became of a probe, by the port's ring and by the PF's counters.

    `completed`: the device took it; `counted`: the PF counted it as sent; `discarded`: the PF
    counted it as refused or failed; `arrived`: it was received by the port that was listened at,
    None when nobody listened.
    """

    completed: bool
    counted: bool
    discarded: bool
    arrived: bool | None = None


def probe_frame(dst: bytes, src: bytes, size: int = 60) -> bytes:
    """An IPv4 UDP frame of `size` bytes (without FCS) to the discard port, with a random mark."""
    payload = (secrets.token_bytes(MARK) + bytes(size))[: max(size - HEADERS, MARK)]
    udp = bytes.fromhex("c0000009") + (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    ip = bytearray(bytes.fromhex("450000000000000040110000c6120001c6130001"))
    ip[2:4] = (20 + len(udp) + len(payload)).to_bytes(2, "big")
    words = sum(int.from_bytes(ip[i : i + 2], "big") for i in range(0, 20, 2))
    words = (words & 0xFFFF) + (words >> 16)
    ip[10:12] = ((words + (words >> 16) & 0xFFFF) ^ 0xFFFF).to_bytes(2, "big")
    return dst + src + bytes.fromhex("0800") + bytes(ip) + udp + payload


def probe_send(
    port: Port, frame: bytes, listen: Port | None = None, mark: bytes | None = None
) -> Probe:
    """Sends `frame` on queue 0 of a running port and says what became of it.

    `listen`: a running port at which it should arrive; frames that it receives meanwhile are
    released. `mark`: bytes of the frame by which it is known there, None for one of `probe_frame`.
    Returns within a few seconds. Raises StateError when a queue is in use or not running, and what
    `refresh_stats` raises when the PF does not answer.
    """
    with port.control.housekeeping.conditions.suspended():
        return _probe_send(port, frame, listen, mark or frame[HEADERS : HEADERS + MARK])


def _probe_send(port: Port, frame: bytes, listen: Port | None, mark: bytes) -> Probe:
    before = _pf_counters(port)
    queue = port.tx[0]
    with queue.build([frame]) as burst:
        sent = queue.send(burst)
    if not sent:
        return Probe(False, False, False, None if listen is None else False)
    completed = within(COMPLETION, lambda: _drained(port))
    arrived = None if listen is None else within(ARRIVAL, lambda: _received(listen, mark))
    moved = (0, 0)

    def counted() -> bool:
        nonlocal moved
        now = _pf_counters(port)
        moved = now[0] - before[0], now[1] - before[1]
        return any(moved)

    within(COUNTING, counted)
    return Probe(completed, moved[0] > 0, moved[1] > 0, arrived)


def _pf_counters(port: Port) -> tuple[int, int]:
    """Packets that the PF counted as sent, and as refused or failed, up to now."""
    port.refresh_stats()
    pf = port.stats.snapshot().pf
    sent = pf["tx_unicast"] + pf["tx_multicast"] + pf["tx_broadcast"]
    return sent, pf["tx_discards"] + pf["tx_errors"]


def _drained(port: Port) -> bool:
    port.tx[0].clean()
    return port.tx[0].in_flight == 0


def _received(port: Port, mark: bytes) -> bool:
    for queue in port.rx:
        with queue.recv() as burst:
            if any(mark in b"".join(burst.segments_of(i)) for i in range(len(burst))):
                return True
    return False


def within(seconds: float, true: Callable[[], bool]) -> bool:
    """Whether something becomes true within `seconds`; looked at every 5 ms, at least once."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(STEP)
    return True
