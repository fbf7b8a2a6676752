# SPDX-License-Identifier: BSD-3-Clause
"""A UDP echo server (RFC 862, port 7): datagrams go back to where they came from, without a copy.

    python examples/udp_echo.py [DEVICE]

Header fields are read and written as columns, so that Python's work is a burst's, not a packet's.
Without a device a second VF of a private software PF sends datagrams and prints what comes back.
"""

from __future__ import annotations

import struct
import sys

import iavfio

ECHO = 7
ETHERTYPE, PROTOCOL, TARGET_PORT = 12, 23, 36  # offsets in a frame
SWAPPED = (  # (offset, other offset, width): both ends of a datagram
    (0, 6, 4),  # MAC addresses, in two parts
    (4, 10, 2),
    (26, 30, 4),  # IPv4 addresses
    (34, 36, 2),  # ports
)


def echo(port: iavfio.Port) -> int:
    """Answers one burst of at most 256 packets; returns how many datagrams were sent back."""
    with port.rx[0].recv(max=256, timeout=0.1) as burst:
        wanted = burst[
            (burst.u16be(ETHERTYPE) == 0x0800)
            & (burst.u8(14) == 0x45)  # IPv4 without options
            & (burst.u8(PROTOCOL) == 17)
            & (burst.u8(0) & 1 == 0)  # to this port, not to a group
            & (burst.u16be(TARGET_PORT) == ECHO)
        ]
        for one, other, width in SWAPPED:
            here, there = wanted.field(one, width), wanted.field(other, width)
            wanted.set_field(one, width, there)
            wanted.set_field(other, width, here)
        return port.tx[0].send(wanted)  # both checksums stay right: sums do not know an order


def datagram(text: bytes, target: bytes, source: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram from 198.18.0.1 to the echo port of 198.18.0.2."""
    udp = struct.pack("!HHHH", 40000, ECHO, 8 + len(text), 0) + text
    addresses = bytes([198, 18, 0, 1, 198, 18, 0, 2])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = ~(total % 0xFFFF) & 0xFFFF
    ip = head[:10] + struct.pack("!H", total) + head[12:]
    return (target + source + bytes.fromhex("0800") + ip + udp).ljust(60, b"\0")


def main(device: str | None) -> None:
    if device is not None:
        with iavfio.open(device) as port:
            port.start(wait_link=5)
            while True:
                echo(port)
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as port, pf.open(1) as client:
        port.start(wait_link=5)
        client.start(wait_link=5)
        frames = [datagram(b"hello %d" % i, port.mac, client.mac) for i in range(3)]
        with client.tx[0].build(frames) as burst:
            client.tx[0].send(burst)
        answered = 0
        while answered < len(frames):
            answered += echo(port)
        with client.rx[0].recv(timeout=2.0) as burst:
            for frame in burst:
                print(bytes(frame[42:]).rstrip(b"\0").decode(), "came back")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
