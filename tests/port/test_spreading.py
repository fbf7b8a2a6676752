# SPDX-License-Identifier: BSD-3-Clause
"""Kinds of traffic that are kept in one queue are told by name, from one window or many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import iavfio
from iavfio.capture.mirror import Mirror
from iavfio.datapath.sample import Frames
from iavfio.port.causes.spreading import spread, uneven
from iavfio.port.facts import Facts
from iavfio.port.kinds import Kind, kinds_of
from iavfio.port.port import Port
from tests.port.rig import collect, send_all, udp, until
from tests.snapshots import idle

MAC = bytes.fromhex("020000000001")
FLOWS = 256
Make = Callable[[bytes, int], bytes]


def _ether(kind: str, mac: bytes, i: int) -> bytes:
    return mac + mac + bytes.fromhex(kind) + i.to_bytes(4, "big") + bytes(50)


def _ip(
    mac: bytes, i: int, *, protocol: int = 17, fragment: bool = False, many: bool = True
) -> bytes:
    """IPv4 from one of many addresses, or from one; the checksum is nobody's business."""
    plain = bytearray(udp(mac, mac, payload=i.to_bytes(4, "big") + bytes(40)))
    plain[20] |= 0x20 if fragment else 0
    plain[23] = protocol
    plain[28:30] = i.to_bytes(2, "big") if many else bytes(2)
    return bytes(plain)


def _tunnel(port: int) -> Make:
    return lambda mac, i: udp(mac, mac, port, port, i.to_bytes(4, "big") + bytes(60))


def _tags(mac: bytes, i: int) -> bytes:
    plain = udp(mac, mac, sport=1024 + i)
    return plain[:12] + bytes.fromhex("810001008100010081000100") + plain[12:]


KEPT: dict[str, Make] = {
    "ARP": lambda mac, i: _ether("0806", mac, i),
    "MPLS": lambda mac, i: _ether("8847", mac, i),
    "PPPoE": lambda mac, i: _ether("8864", mac, i),
    "EtherType 0x1234": lambda mac, i: _ether("1234", mac, i),
    "VXLAN": _tunnel(4789),
    "GENEVE": _tunnel(6081),
    "GTP-U": _tunnel(2152),
    "GRE": lambda mac, i: _ip(mac, i, protocol=47, many=False),
    "ESP": lambda mac, i: _ip(mac, i, protocol=50, many=False),
    "L2TPv3": lambda mac, i: _ip(mac, i, protocol=115, many=False),
    "UDP over IPv4 behind 3 VLAN tags": _tags,
}
SPREAD: dict[str, Make] = {
    "UDP over IPv4": lambda mac, i: udp(mac, mac, sport=1024 + i),
    "ICMP over IPv4": lambda mac, i: _ip(mac, i, protocol=1),
    "IPv4 fragments": lambda mac, i: _ip(mac, i, fragment=True),
}


def frames_of(*parts: bytes) -> Frames:
    lengths = [len(part) for part in parts]
    starts = np.cumsum([0, *lengths[:-1]])
    flat = np.frombuffer(b"".join(parts), np.uint8)
    return Frames(flat, starts.astype(np.intp), np.array(lengths, np.intp))


@pytest.mark.parametrize("name", [*KEPT, *SPREAD])
def test_kinds_are_known_by_their_headers(name: str) -> None:
    make = (KEPT | SPREAD)[name]
    (kind,) = kinds_of({2: frames_of(*(make(MAC, i) for i in range(8)))})
    assert (kind.name, kind.packets, kind.queue, kind.most) == (name, 8, 2, 8)


def test_frames_that_are_cut_anywhere_are_of_some_kind() -> None:
    whole = [make(MAC, 1) for make in (KEPT | SPREAD).values()]
    parts = [frame[:n] for frame in whole for n in range(1, 60)]
    assert sum(kind.packets for kind in kinds_of({0: frames_of(*parts)})) == len(parts)
    assert kinds_of({}) == () and kinds_of({0: frames_of()}) == ()


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_mix_is_told_kind_by_kind(personality: str) -> None:
    with (
        iavfio.softvf(personality=personality, uplink="loopback") as pf,
        pf.open(pool=iavfio.Pool(16384)) as port,
    ):
        pf.control("spoofchk", vf=0, on=False)
        port.configure(queues=4, ring=2048)
        port.start(wait_link=10)
        for make in (*SPREAD.values(), *KEPT.values()):
            send_all(port, [make(port.mac, i) for i in range(FLOWS)])
            assert len(collect(port.rx, FLOWS)) == FLOWS
            port.control.sampling.look(again=True)  # or a kind may pass while a sample is full
        assert until(lambda: any("kept in one queue" in note for note in port.notes), 0.5)
        (finding,) = port.why()
        assert finding.name == "no spread over queues"
        names = finding.what.partition(": ")[2].split(", ")
        assert sorted(names) == sorted(KEPT)
        assert "udp_tunnel" in finding.remedy and "REDIRECT" in finding.remedy
        assert until(lambda: any(finding.what in note for note in port.notes), 5), port.notes


def test_what_arrives_after_hours_is_sampled_when_somebody_asks() -> None:
    with iavfio.softvf(uplink="loopback") as pf, pf.open() as port:
        port.configure(queues=2, ring=2048)
        port.start(wait_link=10)
        for _ in range(30):  # more than the samples have room for
            _loop(port, SPREAD["UDP over IPv4"])
        assert port.why() == []
        for _ in range(4):
            _loop(port, KEPT["ARP"])
        port.why()  # it samples from now on
        for _ in range(4):
            _loop(port, KEPT["ARP"])
            _loop(port, SPREAD["UDP over IPv4"])
        (finding,) = port.why()
        assert "ARP" in finding.what


def _loop(port: Port, make: Make) -> None:
    send_all(port, [make(port.mac, i) for i in range(FLOWS)])
    assert len(collect(port.rx, FLOWS)) == FLOWS


def test_a_capture_takes_the_place_of_a_sample() -> None:
    with iavfio.softvf(uplink="loopback") as pf, pf.open(name="spreading") as port:
        port.configure(queues=2)
        port.start(wait_link=10)
        _loop(port, SPREAD["UDP over IPv4"])
        mirror = Mirror("spreading")
        assert port.why() == []
        _loop(port, SPREAD["UDP over IPv4"])
        mirror.end()
        assert until(lambda: port.control.mirroring.caller is None)
        assert port.why() == []
        _loop(port, SPREAD["UDP over IPv4"])


def facts(*packets: int, **known: Any) -> Facts:
    zero = idle(len(packets))
    rq = tuple(dict(queue, packets=n) for queue, n in zip(zero.rq, packets, strict=True))
    return Facts(replace(zero, rq=rq), **known)


ARP = Kind("ARP", 100, 0, 100)
UDP = Kind("UDP over IPv4", 900, 0, 300, 64, 20, "ipv4-udp")
ONE = Kind("UDP over IPv4", 900, 0, 900, 1, 900, "ipv4-udp")
FEW = Kind("UDP over IPv4", 500, 0, 500, 5, 100, "ipv4-udp")
GRE = Kind("GRE", 256, 0, 32, 1, 256, "ipv4-other", carrier=True)  # the card hashes what is inside
TUNNELS = Kind("ESP", 512, 0, 300, 9, 256, "ipv4-other", carrier=True)  # each in one queue
HELD = Kind("UDP over IPv4", 900, 0, 900, 64, 20, "ipv4-udp")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (facts(256, 0), "all packets"),
        (facts(970, 30), "almost all packets"),
        (facts(256, 0, rss=False), "all packets"),
        (facts(256, 0, rss_table_queues=1), "the table that was set names one queue"),
        (facts(400, 600, kinds=(UDP, ARP), sampled=1000), "ARP"),
        (facts(400, 600, kinds=(TUNNELS,), sampled=1000), "RSS hashes the outer header"),
        (facts(900, 600, kinds=(HELD,), sampled=1000), "although its flows differ"),
        (facts(900, 600, kinds=(HELD,), sampled=1000, rss_left_out=("ipv4-udp",)), "leaves out"),
    ],
)
def test_what_is_told(given: Facts, word: str) -> None:
    assert word in str(spread(given))


@pytest.mark.parametrize(
    "given",
    [
        facts(255, 0),
        facts(5000),
        facts(960, 40),
        facts(900, 600, kinds=(UDP,), sampled=1000),
        facts(900, 600, kinds=(ONE,), sampled=1000),  # a large flow is no fault
        facts(900, 600, kinds=(UDP, ARP), sampled=100_000),  # too rare
        facts(900, 600, kinds=(GRE,), sampled=1000),
        facts(
            *(900, 600),
            kinds=(TUNNELS,),
            sampled=1000,
            rss_rules=True,
            rss_tunnels=frozenset(["esp"]),
        ),
        # Five flows are in one of the table's two queues by accident.
        facts(600, 900, kinds=(FEW,), sampled=1000, rss_table_queues=2),
    ],
)
def test_what_is_not_told(given: Facts) -> None:
    assert spread(given) is None


def test_shares_that_chance_gives_are_not_uneven() -> None:
    random = np.random.default_rng(1)
    for queues in (2, 4, 16):
        for total in (256, 10_000):
            shares = random.multinomial(total, [1 / queues] * queues)
            assert not uneven(list(map(int, shares)))
    assert uneven([400, 100, 100, 100]) and not uneven([255, 0]) and not uneven([9999])
