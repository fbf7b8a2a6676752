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
from iavfio.port.draining import await_count

if TYPE_CHECKING:
    from iavfio.port.port import Port

NOBODY = bytes.fromhex("02ffffffffff")  # a destination that no VF has
MARK = 16  # random bytes by which a probe is known again
ETHERNET, IPV4, IPV6, UDP = 14, 20, 40, 8  # bytes of headers
ETHERTYPES = {IPV4: bytes.fromhex("0800"), IPV6: bytes.fromhex("86dd")}
STANDING = 1.5  # seconds in which there is a moment with no frame under way
ENTERING = 0.1  # seconds in which a queue that somebody uses is entered
COMPLETION = 1.0  # seconds in which a device that sends at all completes another frame
COMPLETION_LIMIT = 3.0  # seconds until all before the probe must be done
COUNTING = 1.1  # seconds in which the PF counts a frame; a software PF may hold it back for one
ARRIVAL = 2.0  # seconds in which it comes back, where somebody sends it back
STEP = 0.005
COME_AND_GO = 4  # frames that are sent and counted while others never are


@dataclass(frozen=True)
class Probe:
    """What became of a probe, by the port's ring and by the PF's counters.

    `completed`: the device took it, and no reset did; `counted`: the PF counted it as sent;
    `discarded`: the PF counted it as refused or failed; `arrived`: it was received by the port that
    was listened at, None when nobody listened. `stuck`: the device completed nothing for a second.
    `alone`: no other frame was under way, so that what the PF counted was the probe.
    """

    completed: bool
    counted: bool = False
    discarded: bool = False
    arrived: bool | None = None
    stuck: bool = False
    alone: bool = True

    @property
    def passed(self) -> bool | None:
        """Whether the PF sent it; None where that cannot be told."""
        return self.counted if self.completed and self.alone else None


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

    Any thread may call it, beside those that use the queue; a frame of more than one buffer goes
    as its user's frames do. `listen`: a running port at which it should arrive, whose receive
    queues nobody else uses; frames that it receives meanwhile are released. `mark`: bytes of the
    frame by which it is known there, None for one of `probe_frame`. Returns within a few seconds.
    Raises StateError when a worker has the queue or it is not running, IavfioError when the pool is
    empty, and what `refresh_stats` raises when the PF does not answer.
    """
    with port.control.housekeeping.conditions.suspended():
        return _probe_send(port, frame, listen, mark or _mark_of(frame))


def _probe_send(port: Port, frame: bytes, listen: Port | None, mark: bytes) -> Probe:
    conditions = port.control.housekeeping.conditions
    before = _standing(port, conditions.uncounted)
    alone, resets = before is not None, len(port.resets)
    if before is None:
        before = Sending.of(port)
    else:
        conditions.uncounted = before.uncounted
    if not _sent(port, frame):
        nowhere = None if listen is None else False
        return Probe(False, arrived=nowhere, stuck=_stands(port), alone=False)
    done = _completes(port, _posted(port))
    arrived = None if listen is None else within(ARRIVAL, lambda: _received(listen, mark))
    now = before

    def counted() -> bool:
        nonlocal now
        now = Sending.of(port)
        return (now.sent, now.discarded) != (before.sent, before.discarded)

    within(COUNTING if done else 0, counted)
    conditions.discarded_probes += min(now.discarded - before.discarded, 1)
    reset = len(port.resets) != resets or port.state != "running"
    return Probe(
        done and not reset,
        now.sent > before.sent,
        now.discarded > before.discarded,
        arrived,
        stuck=not done and not reset and _stands(port),
        alone=alone and now.posted - before.posted == 1,
    )


@dataclass(frozen=True)
class Sending:
    """How far the frames of a port's send queues have come, after the PF was asked.

    `posted` to the device and `done` by it, or lost to resets; `sent` and `discarded` by the PF.
    """

    posted: int
    done: int
    sent: int
    discarded: int

    @classmethod
    def of(cls, port: Port) -> Sending:
        """Asks the PF. Raises as `refresh_stats` does."""
        port.settle()
        port.refresh_stats()
        counts = port.stats.snapshot()
        pf = counts.pf
        return cls(
            sum(queue["posted"] for queue in counts.sq),
            sum(queue["packets"] + queue["drop_reset"] for queue in counts.sq),
            pf["tx_unicast"] + pf["tx_multicast"] + pf["tx_broadcast"],
            pf["tx_discards"] + pf["tx_errors"],
        )

    @property
    def uncounted(self) -> int:
        """Frames that the device has done and the PF has not counted, or not yet."""
        return self.done - self.sent - self.discarded


def _standing(port: Port, uncounted: int) -> Sending | None:
    """Waits for a moment in which nothing is under way; None when there is none in a while.

    That is so when the PF has counted all that the device has done, but for the `uncounted` of
    before, as a reset leaves them; when nothing moves for as long as a frame may take to the PF's
    counters; or where fewer are never uncounted, although frames come and go.
    """
    end = time.monotonic() + STANDING
    last = least = None
    since = time.monotonic()
    while time.monotonic() < end:
        now = Sending.of(port)
        if now.posted == now.done:
            if now.uncounted == uncounted:
                return now
            if now == last and time.monotonic() - since > COUNTING:
                return now
            if least is None or now.uncounted < least.uncounted:
                least = now
            elif now.uncounted == least.uncounted and now.posted - least.posted >= COME_AND_GO:
                return now
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(STEP)
    return None


def _sent(port: Port, frame: bytes) -> bool:
    """Whether queue 0 took the frame. A user of the queue is at work on it for microseconds, and
    may leave no room in its ring.
    """
    if len(frame) > ROOM:
        return bool(port.tx[0].send([frame]))
    end = time.monotonic() + ENTERING
    while True:
        try:
            if port.tx[0].send_aside(frame):
                return True
        except StateError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return False
        time.sleep(STEP / 10)


def _posted(port: Port) -> int:
    """Packets that send queue 0 was given up to now."""
    return port.stats.snapshot().sq[0]["posted"]


def _done(port: Port) -> int:
    """Packets of send queue 0 that were given and are not under way any more."""
    port.settle()
    posted = _posted(port)
    return posted - port.tx[0].in_flight


def _completes(port: Port, packets: int) -> bool:
    """Whether queue 0 gets so far, while it gets any further within COMPLETION seconds."""
    done = await_count(
        lambda: _done(port),
        lambda done: done >= packets,
        still=COMPLETION,
        limit=COMPLETION_LIMIT,
        step=STEP,
    )
    return done >= packets


def _stands(port: Port) -> bool:
    """Whether packets of queue 0 are under way and the device completes none of them."""
    before = _done(port)
    under_way = port.tx[0].in_flight
    return bool(under_way) and not within(COMPLETION, lambda: _done(port) > before)


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
