# SPDX-License-Identifier: BSD-3-Clause
"""A latency probe in asyncio: one task sends a stamped frame now and then, another one receives.

    python examples/latency_probe.py [FROM TO]

FROM and TO are two devices that see each other; without them two VFs of a private software PF are.
The time stamps are Python's, so that the figures are those of a program in Python: they tell a
trend and not what the wire does.
"""

from __future__ import annotations

import asyncio
import statistics
import struct
import sys
import time

import iavfio

PROBES, INTERVAL, PATIENCE = 100, 0.001, 5.0  # seconds
ETHERTYPE = bytes.fromhex("88b5")  # for local experiments (IEEE 802)
STAMP = struct.Struct("!4sIQ")  # a mark, the probe's number, nanoseconds


async def send(port: iavfio.Port, target: bytes) -> None:
    for number in range(PROBES):
        stamp = STAMP.pack(b"RTT?", number, time.monotonic_ns())
        frame = target + port.mac + ETHERTYPE + stamp
        port.tx[0].send([frame.ljust(60, b"\0")])
        await asyncio.sleep(INTERVAL)


async def receive(port: iavfio.Port, delays: dict[int, float]) -> None:
    """Notes each probe's delay in microseconds; cancelled when the time is over."""
    async for burst in port.rx[0]:
        now = time.monotonic_ns()
        with burst:
            for frame in burst[burst.eth_type == 0x88B5].indices:
                mark, number, sent = STAMP.unpack_from(burst.bytes(int(frame)), 14)
                if mark == b"RTT?":
                    delays[number] = (now - sent) / 1000
        if len(delays) == PROBES:
            return


async def probe(sender: iavfio.Port, receiver: iavfio.Port) -> None:
    delays: dict[int, float] = {}
    receiving = asyncio.create_task(receive(receiver, delays))
    await send(sender, receiver.mac)
    try:
        await asyncio.wait_for(receiving, PATIENCE)
    except TimeoutError:
        print("not all came")
    found = sorted(delays.values())
    print(f"{len(found)} of {PROBES} probes arrived")
    if len(found) > 1:
        worst = statistics.quantiles(found, n=100)[98]
        print(f"median {statistics.median(found):.1f} us, 99 % within {worst:.1f} us")


def main(devices: list[str]) -> None:
    if devices:
        with iavfio.open(devices[0]) as sender, iavfio.open(devices[1]) as receiver:
            run(sender, receiver)
    else:
        with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as one, pf.open(1) as other:
            run(one, other)


def run(sender: iavfio.Port, receiver: iavfio.Port) -> None:
    for port in (sender, receiver):
        port.start(wait_link=5)
    asyncio.run(probe(sender, receiver))


if __name__ == "__main__":
    main(sys.argv[1:3])
