# SPDX-License-Identifier: BSD-3-Clause
"""Captures a VF's frames into a pcapng file, and looks at the file with scapy.

    python examples/capture_pcapng.py [DEVICE FILE [SECONDS]]

C threads receive and write; tcpdump and Wireshark read the file too. Looking at it needs scapy: pip
install iavfio[scapy]. Without a device the wire of a private software PF is looped back, and the
program captures what it sent itself.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import PcapNgReader

import iavfio
from iavfio.capture import Capture, Captured


def capture(port: iavfio.Port, file: Path, frames: int, seconds: float) -> Captured:
    """Captures so many frames (0: any number), for so many seconds at most."""
    done = Capture(port, str(file), limit=frames).run(seconds)
    if done.error is not None:
        raise done.error
    return done


def show(file: Path, done: Captured, most: int = 5) -> None:
    """Prints the first packets of the file, and what is not in it."""
    with PcapNgReader(str(file)) as reader:
        for packet, _ in zip(reader, range(most), strict=False):
            print(packet.summary())
    print(f"{done.counts.taken} frames in {done.written} bytes, {done.dropped} dropped")


def traffic(port: iavfio.Port) -> list[Ether]:
    """Three frames to the port itself, one of them tagged."""
    mac = port.mac.hex(":")
    ends, ip = Ether(src=mac, dst=mac), IP(src="198.18.0.1", dst="198.18.0.2")
    udp = UDP(sport=40000, dport=9) / Raw(bytes(20))
    return [ends / ip / udp, ends / Dot1Q(vlan=7) / ip / udp, ends / ip / UDP(dport=10) / Raw(b"x")]


def main(device: str, name: str, seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = Path(name) if name else Path(folder) / "frames.pcapng"
        port = stack.enter_context(iavfio.open(device))
        port.configure(metadata={"vlan"})  # a tag that the device strips is put back
        port.start(wait_link=5)
        frames = port.tx[0].send(traffic(port)) if device == "softvf" else 0
        show(file, capture(port, file, frames, seconds))


if __name__ == "__main__":
    device, name, seconds = [*sys.argv[1:4], *("softvf", "", "10")[len(sys.argv[1:4]) :]]
    main(device, name, float(seconds))
