# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio why`: on a device that is opened for it, and on a running port of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import iavfio
from iavfio.capture.mirror import Mirror
from iavfio.errors import IavfioError
from iavfio.port import inquiry
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
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


@pytest.fixture
def running() -> Iterator[tuple[SoftPf, Port, str]]:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.configure(promiscuous=True)
        port.start(wait_link=5)
        yield pf, port, name


def test_the_process_of_a_port_is_asked_for_what_counters_do_not_tell(
    running: tuple[SoftPf, Port, str],
) -> None:
    pf, port, name = running
    port.control.status.note("something to know")
    sent = port.stats.snapshot().sq[0]["posted"]
    status, out, _ = why(name, "--interval", "0", "--json")
    told = json.loads(out)
    assert (status, [each["name"] for each in told["findings"]]) == (1, ["not trusted"])
    assert any("noted by the port: something to know" in hint for hint in told["hints"])
    assert port.stats.snapshot().sq[0]["posted"] == sent
    pf.control("trust", vf=0, on=True)  # which resets the VF
    assert until(lambda: len(port.resets) == 1 and port.state == "running")
    status, out, _ = why(name, "--interval", "0")
    assert status == 0 and "to know: noted by the port: " in out


def test_a_port_that_has_a_mirror_is_asked_as_well(running: tuple[SoftPf, Port, str]) -> None:
    mirror = Mirror(running[2])
    told = inquiry.ask(running[2])
    probed = told.probed
    assert probed.trust == "untrusted" and probed.promiscuous and probed.max_frame == 1522
    assert running[1].control.mirroring.caller is not None
    mirror.end()
    assert until(lambda: running[1].control.mirroring.caller is None)


def test_what_is_asked_in_vain_is_told(
    running: tuple[SoftPf, Port, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port, name = running
    port.control.mirroring.why = lambda: b'{"version": 2}'
    with pytest.raises(IavfioError, match="no answer that can be read"):
        inquiry.ask(name)
    port.control.mirroring.why = lambda: b"\xff"
    with pytest.raises(IavfioError, match="no answer that can be read"):
        inquiry.ask(name)
    monkeypatch.setattr(inquiry, "ANSWER", 0.05)
    port.control.mirroring.why = lambda: time.sleep(0.3) or b""  # type: ignore[func-returns-value]
    with pytest.raises(IavfioError, match="does not answer"):
        inquiry.ask(name)
    status, out, _ = why(name, "--interval", "0")
    assert status == 0 and "its process was not asked: " in out
