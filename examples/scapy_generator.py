# SPDX-License-Identifier: BSD-3-Clause
"""A traffic generator with templates from scapy, whose fields vary by columns.

    python examples/scapy_generator.py [DEVICE [PACKETS]]

Making a packet takes scapy longer than a burst takes the device: here scapy makes two, and their
copies get source ports by columns. It needs scapy: pip install iavfio[scapy]. Without a device the
wire of a private software PF is looped back, and what comes back is counted.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

import iavfio

BURST = 64


def templates(port: iavfio.Port) -> list[Any]:
    """What the traffic looks like; UDP checksums of 0 stay right whatever is written over."""
    mac = port.mac.hex(":")
    ends = Ether(src=mac, dst=mac)
    ip, udp = IP(src="198.18.0.1", dst="198.19.0.1"), UDP(dport=4789, chksum=0)
    return [ends / ip / udp / Raw(bytes(18)), ends / Dot1Q(vlan=100) / ip / udp / Raw(bytes(400))]


def generate(port: iavfio.Port, packets: int) -> tuple[int, int]:
    """Sends so many packets and counts what is received meanwhile: both numbers."""
    kinds = [bytes(packet) for packet in templates(port)]
    frames = [kinds[i % len(kinds)] for i in range(BURST)]
    sent = received = 0
    while sent < packets:
        with port.tx[0].build(frames[: packets - sent]) as burst:
            at = burst.layers().l4_offset.filled(0)
            sources = 1024 + (sent + np.arange(len(burst))) % 60000
            for offset in np.unique(at).tolist():  # one write for each kind of packet
                burst[at == offset].set_field(offset, 2, sources[at == offset])
            while burst.left:
                sent += port.tx[0].send(burst)
        received += take(port, 0.0)
    while received < sent and (more := take(port, 1.0)):
        received += more
    return sent, received


def take(port: iavfio.Port, seconds: float) -> int:
    """Receives one burst of each queue that has packets and counts those from 198.18.0.1."""
    count = 0
    for queue in port.rx.wait(seconds):
        with queue.recv() as burst:
            count += len(burst[burst.ip4_src == 0xC6120001])
    return count


def main(device: str, packets: int) -> None:
    with iavfio.open(device) as port:
        port.start(wait_link=5)
        sent, received = generate(port, packets)
        print(f"sent {sent} packets, {received} came back")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "softvf",
        int(sys.argv[2]) if len(sys.argv) > 2 else 5000,
    )
