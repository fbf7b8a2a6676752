# SPDX-License-Identifier: BSD-3-Clause
"""A program that forwards and serves its own counters to Prometheus, as `iavfio exporter` does.

    python examples/exporter.py [DEVICE [SECONDS]]

The counters lie in a segment that the exporter reads, so that forwarding pays nothing for them. It
needs prometheus_client: pip install iavfio[metrics]. Without a device it is a private software VF
whose wire is looped back, and the program scrapes itself once.
"""

from __future__ import annotations

import sys
import time
import urllib.request

import iavfio
from iavfio.metrics.server import registry, serving


def bounce(port: iavfio.Port, seconds: float) -> None:
    """Sends back what comes, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with port.rx[0].recv(timeout=0.1) as burst:
            port.tx[0].send(burst)


def scrape(address: str) -> None:
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    print(f"{len(lines)} lines of metrics, among them:")
    for line in lines:
        if "packets" in line and not line.startswith("#") and not line.endswith(" 0.0"):
            print(line)


def main(device: str | None, seconds: float) -> None:
    with iavfio.open(device or "softvf") as port:
        port.start(wait_link=5)
        with serving("127.0.0.1", 0, registry()) as address:
            print(f"metrics of {port.name}: {address}")
            if device is None:
                port.tx[0].send([port.mac + port.mac + bytes.fromhex("88b5") + bytes(46)] * 8)
            bounce(port, seconds)
            if device is None:
                scrape(address)


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else None, float(sys.argv[2]) if len(sys.argv) > 2 else 0.3
    )
