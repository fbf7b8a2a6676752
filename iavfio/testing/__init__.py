# SPDX-License-Identifier: BSD-3-Clause
"""Tests of packet programs on the software VF: fixtures for pytest, and what tests always need.

The fixtures `softvf` and `vf_pair` come with the package (see iavfio.testing.plugin); these
functions serve any test runner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from iavfio.arguments import Instance
from iavfio.signatures import checked_call

if TYPE_CHECKING:
    from iavfio.datapath.queues import RxQueue
    from iavfio.port.port import Port
    from iavfio.softvf.launch import SoftPf

__all__ = ["SECONDS", "VfPair", "receive", "start_pair", "until"]

SECONDS = 10.0  # to wait for something that comes at once on a machine that is not busy


class VfPair(NamedTuple):
    """Two started ports on one switch: what one sends to the other's MAC arrives there."""

    first: Port
    second: Port


def start_pair(pf: SoftPf, **settings: Any) -> VfPair:
    """Opens and starts VFs 0 and 1 of a software PF, with these settings of `configure`.

    Returns when both links are up. The caller closes the ports. Raises as these calls do.
    """
    from iavfio.softvf import launch  # only now: receive() and until() serve any port

    Instance(launch.SoftPf, "iavfio.softvf(vfs=2)")("pf", pf)
    ports: list[Port] = []
    try:
        for vf in range(2):
            ports.append(pf.open(vf))
            if settings:
                ports[vf].configure(**settings)
            ports[vf].start(wait_link=SECONDS)
    except BaseException:
        for port in ports:
            port.close()
        raise
    return VfPair(*ports)


@checked_call
def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether `condition()` came true within `seconds`; looks every few milliseconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def receive(
    source: Port | RxQueue | Iterable[RxQueue], count: int, seconds: float = SECONDS
) -> list[bytes]:
    """Copies of the next `count` frames, in each queue's order; fewer when time is over.

    `source`: a port (all its queues), a queue, or some queues. Raises as `recv` does.
    """
    rx: Any = getattr(source, "rx", source)
    queues: list[RxQueue] = [rx] if hasattr(rx, "recv") else list(rx)
    frames: list[bytes] = []

    def enough() -> bool:
        for queue in queues:
            with queue.recv(max(min(count - len(frames), 256), 1)) as burst:
                for i in range(len(burst)):
                    frames.append(b"".join(bytes(part) for part in burst.segments_of(i)))
            if len(frames) >= count:
                return True
        return False

    if count > 0:
        until(enough, seconds)
    return frames
