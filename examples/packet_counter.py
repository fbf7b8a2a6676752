# SPDX-License-Identifier: BSD-3-Clause
"""Counts packets by columns, without a loop over packets: how many of each type, how many flows.

    python examples/packet_counter.py [DEVICE [SECONDS]]

Without a device the wire of a private software PF is a generator of 16 UDP flows.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter

import numpy as np

import iavfio


def count(port: iavfio.Port, seconds: float) -> tuple[Counter[int], set[int]]:
    """Packets by the device's packet type, and the RSS hashes that were seen."""
    types: Counter[int] = Counter()
    hashes: set[int] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for queue in port.rx:
            with queue.recv(max=256, timeout=0.01) as burst:
                found, times = np.unique(burst.ptype, return_counts=True)
                types.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
                hashes.update(np.unique(burst.rss).tolist())
    return types, hashes


def main(device: str | None, seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        if device is None:  # the generator's frames are for nobody: only a trusted VF gets them
            pf = iavfio.softvf(uplink="gen:flows=16", options={"trusted": True})
            device = stack.enter_context(pf).sockets[0]
        port = stack.enter_context(iavfio.open(device))
        port.configure(queues=2, metadata={"rss", "ptype"}, promiscuous=True)
        port.start(wait_link=5)
        types, hashes = count(port, seconds)
        for ptype, packets in types.most_common():
            print(f"packet type {ptype}: {packets} packets")
        print(f"{len(hashes)} flows by RSS hash, {sum(types.values())} packets in {seconds} s")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else None, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
    )
