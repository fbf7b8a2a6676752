# SPDX-License-Identifier: BSD-3-Clause
"""What a card does not do for a VF, the software VF does not do either: seen through the driver.

The habits of the PFs are those of docs/spec/pf-dialects.md 3, 4, 5.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.port.port import Port
from tests.port.rig import Options, collect, send_all, udp, until, works
from tests.softvf.dataplane.test_wire import pcap

STRANGER = bytes.fromhex("020000aabbcc")


def received(port: Port, frames: list[bytes]) -> list[bytes]:
    """Which of these frames arrived, after one that certainly does."""
    last = udp(b"\xff" * 6, port.mac, sport=999)
    got: list[bytes] = []
    while last[12:] not in [frame[12:] for frame in got]:
        more = collect(port.rx, 1)
        assert more, "the last frame never came"
        got += more
    return [frame for frame in got if frame in frames]


@pytest.mark.parametrize(
    ("personality", "options", "between_others"),
    [
        ("e810", {"trusted": True}, False),
        ("e810", {"trusted": True, "true_promisc": True}, True),
        ("x710", {"trusted": True}, True),
        ("x722", {"trusted": True}, True),
        ("e810", {}, None),
        ("x710", {}, None),
    ],
)
def test_what_a_promiscuous_vf_sees(
    personality: str, options: Options, between_others: bool | None
) -> None:
    """None: the VF is not trusted, which both PFs take for success and do nothing about."""
    with iavfio.softvf(vfs=3, personality=personality, options=options) as pf:
        a, b, listener = (pf.open(i) for i in range(3))
        listener.configure(promiscuous=True)
        for port in (a, b, listener):
            port.start(wait_link=5)
        between = udp(b.mac, a.mac, sport=1)
        unmatched = udp(STRANGER, a.mac, sport=2)
        own = udp(listener.mac, a.mac, sport=3)
        last = udp(b"\xff" * 6, a.mac, sport=999)
        send_all(a, [between, unmatched, own, last])
        got = received(listener, [between, unmatched, own])
        wanted = [own] if between_others is None else [unmatched, own]
        assert sorted(got) == sorted(wanted + [between] * bool(between_others))
        assert collect(b.rx, 1)[0] == between, "the owner has it in any case"
        for port in (a, b, listener):
            port.close()


# docs/spec/reliability.md F43
@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
def test_a_stalled_send_queue_is_found_and_costs_one_reset(personality: str) -> None:
    with iavfio.softvf(personality=personality) as pf:
        with pf.open(0) as port:
            port.start(wait_link=5)
            works(port)
            told = pf.control("fault", vf=0, kind="tx_stall", queue=0)
            assert told["waiting"] == ["tx_stall, queue 0"]
            frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(20)]
            with port.tx[0].build(frames) as burst:
                assert port.tx[0].send(burst) == 20
            assert until(lambda: len(port.resets) == 1, 30)
            assert until(lambda: str(port.state) == "running")
            works(port)
            counters = port.stats.snapshot().sq[0]
            assert counters["drop_reset"] == 20 and counters["hangs"] == 1
            assert len(port.resets) == 1
            assert pf.control("snapshot", vf=0)["snapshot"]["faults"] == []
        assert pf.violations() == []


# docs/spec/reliability.md F11
@pytest.mark.parametrize("personality", ["e810", "x710"])
@pytest.mark.parametrize("queue", ["atq", "arq"])
@pytest.mark.parametrize("error", ["vfe", "ovfl", "crit"])
def test_a_port_survives_error_bits_of_its_mailbox(
    personality: str, queue: str, error: str
) -> None:
    with iavfio.softvf(personality=personality) as pf, pf.open(0) as port:
        port.start(wait_link=5)
        works(port)
        pf.control("fault", vf=0, kind="aq_error", queue=queue, error=error)

        def answers() -> bool:
            try:
                port.refresh_stats()
            except iavfio.IavfioError:
                return False
            return True

        assert until(answers, 30)
        works(port)


def test_the_wire_is_counted_and_told(tmp_path: Path) -> None:
    frames = [udp(STRANGER, STRANGER, sport=1)] * 3 + [udp(b"\xff" * 6, STRANGER, sport=2)]
    cut = pcap(frames) + struct.pack("<IIII", 1, 2, 60, 60) + bytes(10)
    (tmp_path / "in").write_bytes(cut)
    with iavfio.softvf(uplink=f"pcap:{tmp_path}/in,start=command") as pf:
        with pf.open(0) as port:
            port.start(wait_link=5)
            assert pf.control("wire")["wire"]["capture_waits"] == 1
            assert pf.control("wire", play=True)["wire"]["capture_waits"] == 0
            assert collect(port.rx, 1) == frames[3:]
            assert until(lambda: pf.control("wire")["wire"]["capture_ended"] == 1)
            wire = pf.control("wire")["wire"]
        assert (wire["received"], wire["unmatched"], wire["capture_damaged"]) == (4, 3, 1)
        told = [(v.vf, v.kind, v.text) for v in pf.violations(notes=True) if v.vf < 0]
        assert {(vf, kind) for vf, kind, _ in told} == {(-1, "note")}
        assert any("cut or damaged behind 4 frames" in text for _, _, text in told)
        assert any("2 frames from the wire are for no VF" in text for _, _, text in told)
        assert pf.violations() == []


def test_only_a_capture_can_be_played() -> None:
    with iavfio.softvf() as pf, pytest.raises(ConfigError, match="only an uplink pcap:"):
        pf.control("wire", play=True)


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_tunnels_are_those_of_the_host(personality: str) -> None:
    """A VXLAN packet is plain UDP until the host has a tunnel on its port."""
    inner = udp(STRANGER, STRANGER, sport=7)
    options = {"udp_tunnel": "vxlan:8472"}
    with iavfio.softvf(personality=personality, options=options) as pf, pf.open(0) as port:
        port.configure(metadata=("ptype",))
        port.start(wait_link=5)

        def ptype(dport: int) -> int:
            packet = udp(port.mac, port.mac, dport=dport, payload=b"\x08" + bytes(7) + inner)
            send_all(port, [packet])
            with port.rx[0].recv(timeout=10) as burst:
                assert len(burst) == 1
                return int(burst.ptype[0])

        assert (ptype(4789), ptype(8472)) == (24, 22 + 39)
        pf.control("udp_tunnel", kind="vxlan", port=4789)
        assert ptype(4789) == 22 + 39
        pf.control("udp_tunnel", kind="vxlan", port=8472, on=False)
        assert ptype(8472) == 24
