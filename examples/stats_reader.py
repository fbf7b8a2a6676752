# SPDX-License-Identifier: BSD-3-Clause
"""Reads a running port's counters from another process, without disturbing its traffic.

    python examples/stats_reader.py [PORT [SECONDS]]

PORT is a name that `iavfio stats` lists. The reader maps the port's segment read-only: it takes no
lock and opens no device. Without a name, the program opens a port on a private software VF, sends
to itself, and starts a second process that reads.
"""

from __future__ import annotations

import subprocess
import sys
import time

import iavfio
from iavfio import stats


def watch(name: str, seconds: float) -> None:
    """Prints packets a second of every queue, twice."""
    before = stats.read(name)
    for _ in range(2):
        time.sleep(seconds)
        now = stats.read(name)
        part = now.since(before)
        for queue, (rq, sq) in enumerate(zip(part.rq, part.sq, strict=True)):
            received, sent = rq["packets"] / seconds, sq["packets"] / seconds
            print(f"{name} queue {queue}: {received:.0f} received, {sent:.0f} sent a second")
        before = now


def with_a_port(seconds: float = 0.3) -> None:
    """A port with traffic here, its reader in a process of its own."""
    with iavfio.open("softvf") as port:
        port.start(wait_link=5)
        reader = subprocess.Popen([sys.executable, __file__, port.name, str(seconds)])
        frame = port.mac + port.mac + bytes.fromhex("88b5") + bytes(46)
        while reader.poll() is None:
            with port.tx[0].build([frame] * 32) as burst:
                port.tx[0].send(burst)
            with port.rx[0].recv(max=256, timeout=0.01):
                pass
        print(f"the reader ended with status {reader.returncode}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        watch(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
    else:
        with_a_port()
