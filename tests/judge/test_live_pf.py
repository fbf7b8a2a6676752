# SPDX-License-Identifier: BSD-3-Clause
"""iavfio on VFs whose PF is Linux's own i40e or ice: what it programs is what traffic meets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio import ConfigError
from iavfio.datapath.pool import Pool
from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.judge.conftest import LIVE, live_pf
from tests.port.expected import expected, held, snapshot
from tests.port.rig import collect, until

FAST: dict[str, Any] = {"reset_ms": 1, "notice_lead_ms": 0}


@pytest.fixture(scope="module", params=LIVE)
def name(request: pytest.FixtureRequest) -> str:
    """A PF whose driver is built."""
    live_pf(request.param)
    return str(request.param)


@pytest.fixture
def pf(name: str) -> Iterator[SoftPf]:
    """A PF with two VFs, driven by Linux. That of ice gives promiscuous VFs all frames."""
    options = FAST | ({"true_promisc": True} if "ice" in name else {})
    with iavfio.softvf(vfs=2, uplink="none", options=options, **live_pf(name)) as made:
        yield made


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


def send(port: Port, frames: list[bytes]) -> None:
    with port.tx[0].build(frames) as burst:
        assert port.tx[0].send(burst) == len(frames)


def received(port: Port, count: int) -> list[bytes]:
    """What arrives: one packet more than expected is waited for, but not for long."""
    return collect(port.rx, count) + collect(port.rx, 1, 0.1)


def frame(to: bytes, source: bytes, text: bytes = b"") -> bytes:
    return to + source + b"\x88\xb5" + text.ljust(50, b"\0")


def test_frames_arrive_and_linux_counts_them(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.start(wait_link=10)
        frames = [frame(b.mac, a.mac, bytes([n])) for n in range(40)]
        for part in range(0, 40, 8):
            send(a, frames[part : part + 8])
            assert received(b, 8) == frames[part : part + 8]
        a.refresh_stats()
        b.refresh_stats()
        assert a.stats.snapshot().pf["tx_unicast"] == 40
        assert b.stats.snapshot().pf["rx_unicast"] == 40
        assert b.stats.snapshot().pf["rx_bytes"] >= 40 * 64


def test_every_setting_is_what_linux_programs(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=True)
    with pf.open(0, pool=pool) as port:
        for change in (
            {"queues": 4, "rss": iavfio.Rss.make(key=bytes(range(52)), lut=[3, 2, 1, 0])},
            {"extra_macs": ["02:00:00:00:00:71", "01:00:5e:00:00:01"]},
            {"promiscuous": True},
            {"promiscuous": False, "all_multicast": True},
            {"mac": "02:00:00:00:00:51", "extra_macs": ()},
            {"metadata": ["rss", "vlan"]},
            {"metadata": ["rss"], "queues": 1, "rss": iavfio.Rss.make(), "all_multicast": False},
        ):
            port.configure(**change)
            port.start(wait_link=10)
            assert held(pf) == expected(port, pf), change
            port.reset()
            assert held(pf) == expected(port, pf), change
            port.stop()
            assert snapshot(pf)["queues"]["enabled_rx"] == []


def test_filters_let_in_what_linux_programmed(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=1, on=True)
    pf.control("spoofchk", vf=0, on=False)
    stranger, group = bytes.fromhex("020000000099"), bytes.fromhex("01005e000007")
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.start(wait_link=10)
        strange, multicast = frame(stranger, a.mac, b"u"), frame(group, a.mac, b"m")
        own = frame(b.mac, a.mac, b"o")
        send(a, [strange, multicast, own])
        assert received(b, 1) == [own]
        b.set_promiscuous(True)
        send(a, [strange, multicast, own])
        assert received(b, 3) == [strange, multicast, own]
        b.set_promiscuous(False, all_multicast=True)
        send(a, [strange, multicast, own])
        assert received(b, 2) == [multicast, own]
        b.set_promiscuous(False, all_multicast=False)
        send(a, [strange, multicast, own])
        assert received(b, 1) == [own]


def test_the_spoof_check_is_that_of_the_vsi(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.start(wait_link=10)
        foreign, own = frame(b.mac, bytes.fromhex("020000000098")), frame(b.mac, a.mac)
        send(a, [foreign, own])
        assert received(b, 1) == [own]
        pf.control("spoofchk", vf=0, on=False)
        send(a, [foreign, own])
        assert received(b, 2) == [foreign, own]


@pytest.mark.parametrize("kind", ["own", "flr", "reset", "pf_reset", "trust", "mac", "vlan"])
def test_a_port_survives_resets_that_linux_makes(
    name: str, pf: SoftPf, pool: Pool, kind: str
) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.configure(queues=2)
            port.start(wait_link=10)
        resets = len(a.resets)
        match kind:
            case "own":
                a.reset()
            case "flr":
                b.close()  # which ends with one
                b = pf.open(1, pool=pool)
                b.start(wait_link=10)
            case "reset" | "pf_reset":
                pf.control(kind, **({"vf": 0} if kind == "reset" else {"kind": "pfr"}))
            case "trust":
                pf.control("trust", vf=0, on=True)
                if name.endswith(NEWEST):  # which resets a VF only when it takes from it
                    a.set_promiscuous(True)
                    pf.control("trust", vf=0, on=False)
            case "mac":
                pf.control("mac", vf=0, mac="02:00:00:00:00:33")
            case "vlan":
                pf.control("vlan", vf=0, vlan=7)
                pf.control("vlan", vf=1, vlan=7)
        if kind != "flr":
            assert until(lambda: len(a.resets) > resets)
        for port in (a, b):
            port.wait_running(20)
            assert until(lambda port=port: port.link.up)  # type: ignore[misc]
        if kind == "mac":
            assert until(lambda: a.mac == bytes.fromhex("020000000033"))
        b.refresh_stats()  # whatever the reset did to the neighbour is looked at, too
        send(a, [frame(b.mac, a.mac, b"after")])
        assert received(b, 1) == [frame(b.mac, a.mac, b"after")]
        b.close()


def test_the_link_is_what_linux_says(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        pf.control("link", state="down")
        assert until(lambda: not port.link.up)
        pf.control("link", state="up", speed=25000)
        assert until(lambda: port.link.up and port.link.mbps == 25000)


def test_the_capabilities_told_are_those_granted(pf: SoftPf, pool: Pool) -> None:
    """i40e itself keeps what the VF asked for."""
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        report = port.capabilities
        assert snapshot(pf)["caps"] == report.granted
        assert report.granted != report.asked


def test_what_only_a_software_pf_has_is_refused_with_the_reason(pf: SoftPf, name: str) -> None:
    with pytest.raises(ConfigError, match="start without --pf"):
        pf.control("stats_base", vf=0, values=[0] * 12)
    with pytest.raises(ConfigError, match=r"choose --personality (x710|e810)"):
        iavfio.softvf(personality="x722", pf=name)
    with pytest.raises(ConfigError, match="option notify is of the software PF"):
        iavfio.softvf(options={"notify": False}, **live_pf(name))
    with pytest.raises(ConfigError, match="there is no PF 'linux-igb'"):
        iavfio.softvf(personality="x710", pf="linux-igb")


def test_the_command(name: str, tmp_path: Path) -> None:
    """It starts what is built: apt, which may know another version or none, is not asked."""
    words = ["softvf", "--pf", name, "--socket", str(tmp_path / "s")]
    command = [sys.executable, "-m", "iavfio.cli", *words]
    asked = tmp_path / "asked"
    for apt in ("apt-cache", "apt-get"):
        (tmp_path / apt).write_text(f"#!/bin/sh\necho $0 >> {asked}\n")
        (tmp_path / apt).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout
        for line in child.stdout:
            if line == "ready\n":
                break
        with iavfio.open(f"vfio-user:{tmp_path}/s/vf0.sock") as port:
            port.start(wait_link=10)
            assert port.link.up
        child.terminate()
        assert child.wait(20) == 143
    assert not asked.exists()


def judge_of(pf: SoftPf) -> int:
    """The process that Linux's driver is."""
    children = Path(f"/proc/{pf.pid}/task/{pf.pid}/children").read_text()
    (judge,) = map(int, children.split())
    return judge


# docs/spec/reliability.md F35
@pytest.mark.parametrize("spoken", [True, False])
def test_a_pf_that_dies_takes_its_vfs_away_and_nothing_else(
    pf: SoftPf, pool: Pool, spoken: bool
) -> None:
    """Also where no VF says anything to it."""
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        os.kill(judge_of(pf), signal.SIGKILL)
        if spoken:
            with pytest.raises(iavfio.IavfioError):
                port.refresh_stats(within=2)
        assert until(lambda: len(pf.violations(notes=True)) >= 2)
        told = [entry for entry in pf.violations(notes=True) if "the PF is gone" in entry.text]
        assert [entry.vf for entry in told] == [0, 1]
        assert "its log ends with: " in told[0].text and "\n" not in told[0].text
        assert until(lambda: port.state == "failed")
        with pytest.raises(ConfigError, match="Linux's PF driver has ended"):
            pf.control("trust", vf=0, on=True)
        assert pf.control("ping") == {}


def test_a_pf_that_hangs_is_given_up_and_ended(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        judge = judge_of(pf)
        os.kill(judge, signal.SIGSTOP)
        with pytest.raises(iavfio.IavfioError):
            port.refresh_stats(within=2)
        assert until(lambda: "it was killed" in str(pf.violations(notes=True)), 60)
        assert not Path(f"/proc/{judge}").exists()
        assert until(lambda: port.state == "failed")
        assert pf.control("ping") == {}
