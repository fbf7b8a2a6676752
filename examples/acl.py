# SPDX-License-Identifier: BSD-3-Clause
"""An access list in a handler: the first rule that matches a packet says what becomes of it.

    python examples/acl.py [DEVICE]

The worker's CPU judges: iavfio programs no flow rules of the card (ADD_FDIR_FILTER). Python may
change rules and read counts meanwhile. It needs Numba. Without a device a software PF's VF sends.
"""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import iavfio
from iavfio.handlers import DROP, PASS, run, u8, u16be, u32be

FIELDS = {"network": "u4", "mask": "u4", "proto": "u1", "port": "u2", "action": "u4", "hits": "u8"}


@iavfio.handler
def acl(data: Any, length: int, meta: Any, state: Any) -> int:
    """What the first rule that matches says; DROP without one, and for what is no IPv4."""
    if u16be(data, 12) != 0x0800 or u8(data, 14) >> 4 != 4:
        return DROP
    source, proto, l4 = u32be(data, 26), u8(data, 23), 14 + (u8(data, 14) & 15) * 4
    port = u16be(data, l4 + 2) if proto in (6, 17) and not u16be(data, 20) & 0x3FFF else 0
    for i in range(len(state)):
        right = state[i].proto in (0, proto) and state[i].port in (0, port)
        if right and source & state[i].mask == state[i].network:
            state[i].hits += 1
            return int(state[i].action)
    return DROP


def rule(network: str, proto: int, port: int, action: int) -> tuple[int, ...]:
    """A record of the list; protocol and port 0 stand for any."""
    net = ipaddress.IPv4Network(network)
    return int(net.network_address), int(net.netmask), proto, port, action, 0


def packet(ends: bytes, source: str, proto: int, port: int) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 46, 1, 0, 64, proto, 0)
    head += ipaddress.ip_address(source).packed + bytes([198, 18, 0, 2])
    return ends + b"\x08\0" + head + struct.pack("!HH", 40000, port) + bytes(22)


def guard(port: iavfio.Port, packets: int, send: Callable[[], object]) -> None:
    first, second = rule("198.18.1.0/24", 0, 0, DROP), rule("198.18.0.0/16", 17, 53, PASS)
    table = np.array([first, second], dtype=list(FIELDS.items()))
    with run(acl, port, state=table, pass_ring=1024) as worker:
        send()
        while worker.counters.received < packets or worker.passed.waiting:
            with worker.passed.recv(timeout=0.1) as burst:
                for source in burst.ip4_src.compressed().tolist():
                    print("passed from", ipaddress.ip_address(source))
    print("hits:", *table["hits"].tolist(), "dropped:", worker.counters.dropped)


def main(device: str) -> None:
    if device:
        with iavfio.open(device) as port:
            port.start(wait_link=5)
            guard(port, 1 << 60, lambda: None)
    cases = [("198.18.2.9", 17, 53), ("198.18.1.9", 17, 53), ("198.18.2.9", 6, 53)]
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as port, pf.open(1) as client:
        port.start(wait_link=5)
        client.start(wait_link=5)
        frames = [packet(port.mac + client.mac, *case) for case in cases]
        guard(port, len(cases), lambda: client.tx[0].send(frames))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
