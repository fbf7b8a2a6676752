# SPDX-License-Identifier: BSD-3-Clause
"""A DNS filter: a compiled handler drops queries for one domain and sends all else on.

    python examples/dns_filter.py [DEVICE] DOMAIN

The handler runs in a C worker; case of letters does not matter. It needs Numba: pip install numba.
Without a device the second VF of a private software PF asks for four names.
"""

from __future__ import annotations

import struct
import sys
import time
from typing import Any

import numpy as np

import iavfio
from iavfio.handlers import DROP, TX, run, u8, u16be

QUESTION = 54  # the first byte of the name: Ethernet 14, IPv4 20, UDP 8, DNS 12
STATE = np.dtype([("hits", "u8"), ("size", "i8"), ("domain", "u1", 256)])


@iavfio.handler
def deny(data: Any, length: int, meta: Any, state: Any) -> int:
    """DROP for a query of the domain in state[0], or of a name in it."""
    udp = u16be(data, 12) == 0x0800 and u8(data, 14) == 0x45 and u8(data, 23) == 17
    if not udp or u16be(data, 36) != 53 or u16be(data, 20) & 0x3FFF:  # 0x3FFF: a fragment
        return TX
    at = QUESTION
    for _ in range(128):  # labels: a byte for the length, then the letters
        same = True
        for k in range(state[0].size):
            letter = u8(data, at + k)
            same &= letter + 32 * (65 <= letter <= 90) == state[0].domain[k]
        if same:
            state[0].hits += 1
            return DROP
        if not 0 < u8(data, at) < 64:
            return TX
        at += u8(data, at) + 1
    return TX


def wire_name(domain: str) -> bytes:
    """The name as DNS writes it: labels behind their lengths, the empty one last."""
    labels = domain.lower().strip(".").encode("idna").split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name: str, target: bytes, source: bytes) -> bytes:
    dns = struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + wire_name(name) + b"\0\x01\0\x01"
    udp = struct.pack("!HHHH", 40000, 53, 8 + len(dns), 0) + dns
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + bytes(8)
    return (target + source + b"\x08\0" + ip + udp).ljust(60, b"\0")


def main(device: str | None, domain: str) -> None:
    state, name = np.zeros(1, dtype=STATE), wire_name(domain)
    state["size"], state["domain"][0, : len(name)] = len(name), list(name)
    names = ("example.org", "ADS.example.com", "example.com", "notexample.com")
    if device is not None:
        with iavfio.open(device) as port:
            port.start(wait_link=5)
            run(deny, port, state=state).wait(1e6)
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as port, pf.open(1) as client:
        port.start(wait_link=5)
        client.start(wait_link=5)
        with run(deny, port, state=state) as worker:
            client.tx[0].send([query(each, port.mac, client.mac) for each in names])
            while worker.counters.received < len(names):
                time.sleep(0.001)
        print(f"{state['hits'][0]} of {len(names)} queries dropped, {worker.counters.sent} sent on")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 2 else None, ["example.com", *sys.argv[1:]][-1])
