# SPDX-License-Identifier: BSD-3-Clause
"""Packets that circulate: a driver forwards them, the software VF's wire brings them back.

The load is the same for every driver that sends the same number, none can be lost while they are
fewer than the receive ring takes, and the software VF's own counters say what moved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import iavfio
from iavfio.softvf import SoftPf

FRAME = 64  # bytes without FCS: testpmd's own
WARM = 0.05  # seconds before counting: caches, and the clock of a core that slept
REST = 0.02  # seconds after which nothing moves any more


def pin(pid: int, cpu: int) -> None:
    """All threads of a process onto one CPU."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cpu})


def two_cpus(text: str | None) -> tuple[int, int]:
    """The driver's and the software VF's CPU: of "0,1", or the first two that there are.

    Raises SystemExit when there is only one.
    """
    cpus = [int(n) for n in text.split(",")] if text else sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise SystemExit("two CPUs are needed: one for the driver, one for the software VF")
    return cpus[0], cpus[1]


def frames(count: int, mac: bytes) -> list[bytes]:
    """The frames that testpmd's tx_first sends: UDP over IPv4, to itself here."""
    head = bytearray.fromhex("4500 0032 0000 0000 4011 0000 c6120001 c6120002")
    total = sum(int.from_bytes(head[i : i + 2], "big") for i in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
    udp = bytes.fromhex("0009 0009 001e 0000")
    return [(mac + mac + b"\x08\x00" + head + udp).ljust(FRAME, b"\0")] * count


def refill(port: iavfio.Port, count: int) -> None:
    """Takes back what circulated, sends `count` packets. SystemExit when they do not fit."""
    rx, tx = port.rx[0], port.tx[0]
    time.sleep(REST)
    while True:
        with rx.recv(256) as rest:
            if not len(rest):
                break
    with tx.build(frames(count, port.mac)) as packets:
        if tx.send(packets) != count:
            raise SystemExit("the ring did not take the packets")


def watched(
    pf: SoftPf, vf: int, seconds: float, halt: Callable[[], None] = lambda: None
) -> tuple[float, int]:
    """Mpps that a VF sent while something runs, and what it discarded; `halt` then ends it."""
    time.sleep(WARM)
    before, start = _counted(pf, vf)
    time.sleep(seconds)
    after, end = _counted(pf, vf)
    halt()
    return (after[0] - before[0]) / (end - start) / 1e6, after[1] - before[1]


def _counted(pf: SoftPf, vf: int) -> tuple[tuple[int, int], float]:
    asked = time.monotonic()
    stats = pf.control("stats", vf=vf)["stats"]
    return (stats["tx_unicast"], stats["rx_discards"]), (asked + time.monotonic()) / 2
