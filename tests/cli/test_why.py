# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio why`: on a device that is opened for it, and on a running port of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import iavfio
from tests.port.rig import send_all, udp, until


def why(*arguments: str) -> tuple[int, str, str]:
    told = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "why", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in told.stderr
    return told.returncode, told.stdout, told.stderr


def test_a_device_is_opened_and_probed() -> None:
    with iavfio.softvf(vfs=1) as pf:
        pf.control("link", vf=0, state="disable")
        status, out, _ = why(pf.sockets[0])
    assert status == 1
    assert out.startswith("link down: ") and "state auto" in out


def test_a_running_port_is_watched_and_not_disturbed() -> None:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, bytes.fromhex("020000000099"))] * 10)
        assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
        port.refresh_stats()
        sent = port.stats.snapshot().sq[0]["posted"]
        status, out, _ = why(name, "--interval", "0", "--json")
        assert port.stats.snapshot().sq[0]["posted"] == sent
    assert status == 1
    told = json.loads(out)
    assert [finding["name"] for finding in told["findings"]] == ["discards on sending"]
    assert set(told["findings"][0]) == {"name", "what", "evidence", "remedy"}


def test_nothing_found_is_said_and_is_status_0() -> None:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        status, out, _ = why(name, "--interval", "0.1")
    assert status == 0 and "nothing was found" in out


def test_a_port_that_does_not_exist() -> None:
    status, _, error = why("no-such-port")
    assert status in (1, 2) and "no-such-port" in error
