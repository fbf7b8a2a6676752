# SPDX-License-Identifier: BSD-3-Clause
"""A two-port forwarder: what arrives on either port leaves by the other.

    python examples/forwarder.py [DEVICE DEVICE]

A C worker a direction moves the packets; Python only prints the counters. Without devices, two VFs
of a private software PF are forwarded between, and a third VF sends a few bursts through them.
"""

from __future__ import annotations

import contextlib
import sys
import time

import iavfio
from iavfio import Lane, Worker


def directions(a: iavfio.Port, b: iavfio.Port, towards: bytes) -> list[Lane]:
    """One lane a direction. Frames leave with the sending port's address, so that the PF's spoof
    check lets them pass, and go to `towards`."""
    return [
        Lane(a.rx[0], b.tx[0], dst=towards, src=b.mac),
        Lane(b.rx[0], a.tx[0], dst=towards, src=a.mac),
    ]


def start(port: iavfio.Port) -> None:
    port.configure(queues=1, ring=512)
    port.start(wait_link=5)


def on_devices(first: str, second: str) -> None:
    """Forwards until Ctrl-C; everything goes to the broadcast address."""
    with iavfio.open(first) as a, iavfio.open(second) as b:
        start(a)
        start(b)
        with Worker("forward", directions(a, b, b"\xff" * 6), macs="own") as worker:
            try:
                while not worker.ended:
                    time.sleep(1)
                    print(f"received {worker.counters.received}, sent {worker.counters.sent}")
            except KeyboardInterrupt:
                pass


def on_software_vf(bursts: int = 100) -> None:
    """The same, with a third VF that sends to the first and hears from the second."""
    with contextlib.ExitStack() as stack:
        pf = stack.enter_context(iavfio.softvf(vfs=3, uplink="none"))
        a, b, client = (stack.enter_context(pf.open(vf)) for vf in range(3))
        for port in (a, b, client):
            start(port)
        frame = a.mac + client.mac + bytes.fromhex("88b5") + bytes(46)
        worker = Worker("forward", directions(a, b, client.mac), macs="own")
        stack.enter_context(worker)
        back = 0
        for _ in range(bursts):
            with client.tx[0].build([frame] * 32) as burst:
                client.tx[0].send(burst)
            back += received(client, timeout=1.0)
        while back < 32 * bursts and (more := received(client, timeout=2.0)):
            back += more
        print(f"forwarded {worker.counters.sent} of {32 * bursts} frames, {back} came back")


def received(port: iavfio.Port, timeout: float) -> int:
    with port.rx[0].recv(max=256, timeout=timeout) as burst:
        return len(burst)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        on_devices(sys.argv[1], sys.argv[2])
    else:
        on_software_vf()
