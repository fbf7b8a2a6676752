# SPDX-License-Identifier: BSD-3-Clause
"""The driver's column of marks, from a rule of the flow director to the application."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import iavfio
from iavfio.softvf._device import lib
from iavfio.virtchnl.capabilities import WANTED
from tests.port.rig import send_all, udp
from tests.softvf.dataplane.steering_server import MARK

PORTS = [2000, 2001, 2002] * 30


@contextmanager
def steering(directory: Path) -> Iterator[str]:
    """Where a VF is that is steered."""
    command = [sys.executable, "-m", "tests.softvf.dataplane.steering_server"]
    server = subprocess.Popen(
        [*command, "--socket", str(directory)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert any(line == "ready\n" for line in server.stdout)
        yield f"vfio-user:{directory}/vf0.sock"
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)


@pytest.mark.parametrize("isa", ["auto", "scalar"])
@pytest.mark.parametrize("descriptors", ["auto", "legacy"])
def test_a_mark_reaches_the_application(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: str,
    isa: str,
) -> None:
    monkeypatch.setattr("iavfio.port.negotiation.WANTED", WANTED | lib.VC_CAP_FDIR_PF)
    with (
        steering(tmp_path_factory.mktemp("d") / "new") as target,
        iavfio.open(target) as port,
    ):
        port.configure(queues=2, metadata=["mark", "rss"], descriptors=descriptors, isa=isa)
        port.start(wait_link=10)
        send_all(port, [udp(port.mac, port.mac, 1000 + i, to) for i, to in enumerate(PORTS)])
        seen: list[tuple[int, int, int, int]] = []
        end = time.monotonic() + 60
        while len(seen) < len(PORTS):
            assert time.monotonic() < end, f"{len(seen)} frames came"
            for number, queue in enumerate(port.rx):
                with queue.recv(timeout=0.01) as burst:
                    seen += [
                        (int.from_bytes(bytes(burst.bytes(i))[36:38]), number, int(mark), int(rss))
                        for i, (mark, rss) in enumerate(
                            zip(burst.column("mark"), burst.column("rss"), strict=True)
                        )
                    ]
        marks = {2000: 0, 2001: MARK, 2002: 0}
        assert all(mark == marks[to] and rss for to, _, mark, rss in seen)
        assert {number for to, number, *_ in seen if to == 2001} == {1}
        assert {number for to, number, *_ in seen if to != 2001} == {0, 1}
