# SPDX-License-Identifier: BSD-3-Clause
"""Counts packets and bytes of each flow by columns, and prints the flows, the busiest first.

    python examples/flow_counter.py [DEVICE [SECONDS]]

Without a device the wire of a private software PF is a generator of 4 UDP flows.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import iavfio


@dataclass
class Flow:
    name: str
    packets: int = 0
    octets: int = 0


def name(layers: Any, i: int) -> str:
    """Both ends of packet i in words."""
    source, target = (ipaddress.ip_address(int(ip[i])) for ip in (layers.ip4_src, layers.ip4_dst))
    return f"{source}:{layers.l4_src[i]} -> {target}:{layers.l4_dst[i]}"


def count(burst: iavfio.Burst, flows: dict[int, Flow]) -> None:
    """Adds a burst; Python's work is one step for each flow in it, not for each packet."""
    layers = burst.layers()
    chosen = np.flatnonzero(layers.is_ip4 & layers.has_ports)
    hashes, octets = burst.flow_hash.data[chosen], burst.lengths[chosen]
    numbers, first, members = np.unique(hashes, return_index=True, return_inverse=True)
    packets = np.bincount(members, minlength=len(numbers))
    total = np.bincount(members, weights=octets, minlength=len(numbers))
    for k, number in enumerate(numbers.tolist()):
        if number not in flows:
            flows[number] = Flow(name(layers, int(chosen[first[k]])))
        flows[number].packets += int(packets[k])
        flows[number].octets += int(total[k])


def main(device: str | None, seconds: float) -> None:
    flows: dict[int, Flow] = {}
    with contextlib.ExitStack() as stack:
        if device is None:  # the generator's frames are for nobody: only a trusted VF gets them
            pf = iavfio.softvf(uplink="gen:flows=4", options={"trusted": True})
            device = stack.enter_context(pf).sockets[0]
        port = stack.enter_context(iavfio.open(device))
        port.configure(queues=2, promiscuous=True)
        port.start(wait_link=5)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for queue in port.rx.wait(0.1):
                with queue.recv() as burst:
                    count(burst, flows)
    for flow in sorted(flows.values(), key=lambda flow: -flow.octets)[:20]:
        print(f"{flow.name}: {flow.packets} packets, {flow.octets} bytes")
    print(f"{len(flows)} flows in {seconds} s")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else None, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
    )
