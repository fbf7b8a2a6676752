# SPDX-License-Identifier: BSD-3-Clause
"""Every program of examples/ runs on the software VF and shows its work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60
SHOWS = {  # what each prints when it did its work
    "acl": "passed from 198.18.2.9\nhits: 1 1 dropped: 2\n",
    "capture_pcapng": "Dot1Q",
    "dns_filter": "2 of 4 queries dropped, 2 sent on",
    "exporter": 'iavfio_rx_queue_packets_total{port="softvf",queue="0"',
    "flow_counter": "4 flows in 0.5 s",
    "forwarder": "forwarded 3200 of 3200 frames, 3200 came back",
    "handler": "up to 64 bytes: 8\nup to 128 bytes: 8\nup to 256 bytes: 0\nup to 512 bytes: 8\n",
    "journal": "<- ENABLE_QUEUES ok",
    "latency_probe": "100 of 100 probes arrived\nmedian",
    "packet_counter": "16 flows by RSS hash",
    "pyvfio_alone": "8086:1889 over vfio-user",
    "scapy_generator": "sent 5000 packets, ",
    "stats_reader": "the reader ended with status 0",
    "udp_echo": "hello 0 came back\nhello 1 came back\nhello 2 came back\n",
}
NEEDS = {
    "acl": "numba",
    "capture_pcapng": "scapy",
    "dns_filter": "numba",
    "exporter": "prometheus_client",
    "handler": "numba",
    "scapy_generator": "scapy",
}


def test_each_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_it_runs_and_shows_its_work(name: str) -> None:
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: pip install {needed}")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=EXAMPLES.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SHOWS[name] in done.stdout
    if name == "scapy_generator":  # it sends as fast as it can: a slow receiver may lose some
        assert int(done.stdout.split()[3]) > 4000
    assert done.stderr == ""


def test_each_example_is_on_the_site() -> None:
    page = (EXAMPLES.parent / "docs" / "guides" / "examples.md").read_text(encoding="utf-8")
    shown = re.findall(r"literalinclude} \.\./\.\./examples/(\w+)\.py", page)
    assert sorted(shown) == sorted(SHOWS)


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_it_fits_a_page(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80
