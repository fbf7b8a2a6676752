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

from iavfio.datapath.pool import ROOM
from iavfio.errors import StateError

if TYPE_CHECKING:
    from iavfio.port.port import Port

NOBODY = bytes.fromhex("02ffffffffff")  # a destination that no VF has
MARK = 16  # random bytes by which a probe is known again
ETHERNET, IPV4, IPV6, UDP = 14, 20, 40, 8  # bytes of headers
ETHERTYPES = {IPV4: bytes.fromhex("0800"), IPV6: bytes.fromhex("86dd")}
ENTERING = 0.1  # seconds in which a queue that somebody uses is entered
COMPLETION = 1.0  # seconds in which a device takes a frame that it can send at all
COUNTING = 1.0  # seconds in which the PF counts it
ARRIVAL = 2.0  # seconds in which it comes back, where somebody sends it back
STEP = 0.005


@dataclass(frozen=True)
class Probe:
    """What became of a probe, by the port's ring and by the PF's counters.

    `completed`: the device took it, and no reset did; `counted`: the PF counted it as sent;
    `discarded`: the PF counted it as refused or failed; `arrived`: it was received by the port that
    was listened at, None when nobody listened; `alone`: nobody sent meanwhile, so that what the PF
    counted was the probe.
    """

    completed: bool
    counted: bool
    discarded: bool
    arrived: bool | None = None
    alone: bool = True


def probe_frame(dst: bytes, src: bytes, size: int = 60, *, ipv6: bool = False) -> bytes:
    """A UDP frame of `size` bytes (without FCS) to the discard port, with a random mark.

    Its addresses are of the benchmark networks of RFC 2544, or with `ipv6` of RFC 5180.
    """
    header = IPV6 if ipv6 else IPV4
    room = max(size - ETHERNET - header - UDP, MARK)
    payload = (secrets.token_bytes(MARK) + bytes(room))[:room]
    length = (UDP + room).to_bytes(2, "big")
    udp = bytes.fromhex("c0000009") + length
    if ipv6:
        addresses = bytes.fromhex(f"20010002{'0' * 23}120010002000080{'0' * 17}1")
        check = internet_checksum(addresses + length + b"\0\x11" + udp + payload) or 0xFFFF
        ip = bytes.fromhex("60000000") + length + bytes.fromhex("1140") + addresses
    else:
        check = 0  # there is none, which IPv6 does not allow
        start = (
            b"\x45\0" + (IPV4 + UDP + room).to_bytes(2, "big") + bytes.fromhex("0000000040110000")
        )
        start += bytes.fromhex("c6120001c6130001")
        ip = start[:10] + internet_checksum(start).to_bytes(2, "big") + start[12:]
    return dst + src + ETHERTYPES[header] + ip + udp + check.to_bytes(2, "big") + payload


def internet_checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071); a last odd byte is the upper half of a word."""
    padded = octets + bytes(len(octets) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _mark_of(frame: bytes) -> bytes:
    """The random bytes of a frame of `probe_frame`."""
    header = IPV6 if frame[12:14] == ETHERTYPES[IPV6] else IPV4
    at = ETHERNET + header + UDP
    return frame[at : at + MARK]


def probe_send(
    port: Port, frame: bytes, listen: Port | None = None, mark: bytes | None = None
) -> Probe:
    """Sends `frame` on queue 0 of a running port and says what became of it.

    Any thread may call it, beside those that use the queue. `listen`: a running port at which it
    should arrive, whose receive queues nobody else uses; frames that it receives meanwhile are
    released. `mark`: bytes of the frame by which it is known there, None for one of `probe_frame`.
    Returns within a few seconds. Raises StateError when a worker has the queue or it is not
    running, and what `refresh_stats` raises when the PF does not answer.
    """
    with port.control.housekeeping.conditions.suspended():
        return _probe_send(port, frame, listen, mark or _mark_of(frame))


def _probe_send(port: Port, frame: bytes, listen: Port | None, mark: bytes) -> Probe:
    posted, before, resets = _posted(port), _pf_counters(port), _losses(port)
    if not _sent(port, frame):
        return Probe(False, False, False, None if listen is None else False)
    up_to = _posted(port)[0]
    completed = within(COMPLETION, lambda: _completed(port) >= up_to)
    arrived = None if listen is None else within(ARRIVAL, lambda: _received(listen, mark))
    moved = (0, 0)

    def counted() -> bool:
        nonlocal moved
        now = _pf_counters(port)
        moved = now[0] - before[0], now[1] - before[1]
        return any(moved)

    within(COUNTING if completed else 0, counted)
    completed = completed and _losses(port) == resets  # a reset empties the ring as well
    port.control.housekeeping.conditions.discarded_probes += min(moved[1], 1)
    alone = sum(_posted(port)) - sum(posted) == 1
    return Probe(completed, moved[0] > 0, moved[1] > 0, arrived, alone)


def _sent(port: Port, frame: bytes) -> bool:
    """Whether queue 0 took the frame. A user of the queue is at work on it for microseconds.

    A frame of several buffers goes the queue's usual way, which one thread at a time may.
    """
    if len(frame) > ROOM:
        return bool(port.tx[0].send([frame]))
    end = time.monotonic() + ENTERING
    while True:
        try:
            return port.tx[0].send_aside(frame)
        except StateError:
            if time.monotonic() > end:
                raise
        time.sleep(STEP / 10)


def _pf_counters(port: Port) -> tuple[int, int]:
    """Packets that the PF counted as sent, and as refused or failed, up to now."""
    port.refresh_stats()
    pf = port.stats.snapshot().pf
    sent = pf["tx_unicast"] + pf["tx_multicast"] + pf["tx_broadcast"]
    return sent, pf["tx_discards"] + pf["tx_errors"]


def _losses(port: Port) -> tuple[int, int]:
    """Resets of the port, and packets that the first send queue lost to them."""
    port.settle()
    counts = port.stats.snapshot()
    return len(port.resets), counts.sq[0]["drop_reset"]


def _posted(port: Port) -> list[int]:
    """Packets that each send queue was given up to now."""
    return [queue["posted"] for queue in port.stats.snapshot().sq]


def _completed(port: Port) -> int:
    """Packets of send queue 0 that were given and are not under way any more."""
    port.settle()
    posted = _posted(port)[0]
    return posted - port.tx[0].in_flight


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
