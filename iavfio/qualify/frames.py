# SPDX-License-Identifier: BSD-3-Clause
"""Test frames that are known again among the traffic of others, and an oracle of their RSS hash."""

from __future__ import annotations

import secrets
import socket
import struct

HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
TOKEN = secrets.token_bytes(8)  # of this process: frames without it are somebody else's
LEAST = HEADERS + len(TOKEN) + 4  # the token and a number follow the headers
SOURCE, DESTINATION = "198.18.0.1", "198.19.0.1"  # addresses for benchmarks (RFC 2544)
PORT = 49152


def _sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def frame(dst: bytes, src: bytes, number: int, size: int = 60, sport: int = PORT) -> bytes:
    """A frame of `size` bytes (without FCS): IPv4 and UDP with right checksums, and `number`."""
    length = max(size, LEAST) - HEADERS
    body = (TOKEN + struct.pack(">I", number)).ljust(length, bytes([number & 0xFF]))
    addresses = socket.inet_aton(SOURCE) + socket.inet_aton(DESTINATION)
    udp = struct.pack(">HHH", sport, 9, 8 + length)
    check = _sum(addresses + struct.pack(">HH", 17, 8 + length) + udp + bytes(2) + body) or 0xFFFF
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + length, 0, 0, 64, 17, 0) + addresses
    ip = ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:]
    return dst + src + b"\x08\x00" + ip + udp + struct.pack(">H", check) + body


def number_of(data: bytes) -> int | None:
    """The number of a frame that this process made, None for any other."""
    at = HEADERS + len(TOKEN)
    if data[HEADERS:at] != TOKEN or len(data) < at + 4:
        return None
    return int(struct.unpack_from(">I", data, at)[0])


def toeplitz(key: bytes, sport: int) -> int:
    """The hash of frame(..., sport=sport) with an RSS key (Microsoft's definition of Toeplitz)."""
    ends = socket.inet_aton(SOURCE) + socket.inet_aton(DESTINATION)
    bits = int.from_bytes(ends + struct.pack(">HH", sport, 9), "big")
    window = int.from_bytes(key, "big")
    width, count = len(key) * 8, 12 * 8
    result = 0
    for i in range(count):
        if bits >> (count - 1 - i) & 1:
            result ^= window >> (width - 32 - i) & 0xFFFFFFFF
    return result
