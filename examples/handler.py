# SPDX-License-Identifier: BSD-3-Clause
"""A packet handler in Python, compiled by Numba, inside a C worker: it counts frames by size.

    python examples/handler.py [DEVICE [SECONDS]]

The handler runs for every packet, without Python's lock. It needs Numba: pip install iavfio[numba].
Without a device a second VF of a private software PF sends frames of four sizes.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import iavfio
from iavfio.handlers import DROP, run

LIMITS = (64, 128, 256, 512, 1024, 1518)  # the sizes of RFC 2819, with the FCS


@iavfio.handler
def sizes(data: Any, length: int, meta: Any, state: Any) -> int:
    """state[i] counts frames of up to LIMITS[i] bytes, the last entry the larger ones."""
    at = 0
    for limit in LIMITS:
        at += meta.frame + 4 > limit
    state[at] += 1
    return DROP


def show(state: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
    for limit, packets in zip((*LIMITS, "more"), state.tolist(), strict=True):
        print(f"up to {limit} bytes: {packets}")


def on_device(device: str, seconds: float) -> None:
    state = np.zeros(len(LIMITS) + 1, dtype=np.uint64)
    with iavfio.open(device) as port:
        port.start(wait_link=5)
        with run(sizes, port, state=state):
            time.sleep(seconds)
        show(state)


def on_software_vf() -> None:
    state = np.zeros(len(LIMITS) + 1, dtype=np.uint64)
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as port, pf.open(1) as client:
        port.start(wait_link=5)
        client.start(wait_link=5)
        head = port.mac + client.mac + bytes.fromhex("88b5")
        frames = [head + bytes(size - 4 - 14) for size in (64, 128, 500, 1518)] * 8
        with run(sizes, port, state=state) as worker:
            with client.tx[0].build(frames) as burst:
                client.tx[0].send(burst)
            end = time.monotonic() + 5
            while worker.counters.received < len(frames) and time.monotonic() < end:
                time.sleep(0.01)
        show(state)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        on_device(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    else:
        on_software_vf()
