# SPDX-License-Identifier: BSD-3-Clause
"""Scapy's own functions over ports of the software VF."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.sendrecv import AsyncSniffer, sendp, sniff

import iavfio
from iavfio.scapy import VfSocket
from iavfio.testing import VfPair, start_pair

DEADLINE = 20


@pytest.fixture(scope="module")
def pair() -> Iterator[VfPair]:
    with iavfio.softvf(vfs=2, uplink="none") as pf:
        ports = start_pair(pf, queues=2)
        yield ports
        for port in ports:
            port.close()


@pytest.fixture
def wires(pair: VfPair) -> Iterator[tuple[VfSocket, VfSocket]]:
    with VfSocket(pair.first) as one, VfSocket(pair.second) as other:
        while one.look() or other.look():
            one.recv()
            other.recv()
        yield one, other


def to(pair: VfPair, *, back: bool = False) -> Ether:
    here, there = (pair.second, pair.first) if back else (pair.first, pair.second)
    return Ether(src=here.mac.hex(":"), dst=there.mac.hex(":"))


def test_sniff_sees_what_was_sent(pair: VfPair, wires: Any) -> None:
    head = to(pair) / IP(dst="198.18.0.2")
    sent = [head / UDP(sport=size, dport=9) / Raw(b"x" * size) for size in (25, 900)]
    for packet in sent:
        assert wires[0].send(packet) == len(packet)
    seen = sniff(opened_socket=wires[1], count=2, timeout=DEADLINE)
    assert sorted(map(bytes, seen)) == sorted(bytes(packet) for packet in sent)
    assert all(packet.time > 1e9 for packet in seen)


def test_sniff_ends_in_time(wires: Any) -> None:
    assert len(sniff(opened_socket=wires[1], timeout=0.05)) == 0


def test_sniff_over_two_sockets(pair: VfPair, wires: Any) -> None:
    wires[0].send(to(pair) / ARP())
    wires[1].send(to(pair, back=True) / ARP())
    seen = sniff(opened_socket=list(wires), count=2, timeout=DEADLINE)
    assert {packet.src for packet in seen} == {pair.first.mac.hex(":"), pair.second.mac.hex(":")}


def test_an_asynchronous_sniffer_can_be_stopped(pair: VfPair, wires: Any) -> None:
    came = threading.Event()
    sniffer = AsyncSniffer(opened_socket=wires[1], prn=lambda packet: came.set())
    sniffer.start()
    wires[0].send(to(pair) / ARP())
    assert came.wait(DEADLINE)
    seen = sniffer.stop()
    assert seen is not None and len(seen) == 1


def test_srp_finds_its_answer(pair: VfPair, wires: Any) -> None:
    """The other end answers pings, and no other packet is taken for an answer."""
    asked = to(pair) / IP(src="198.18.0.1", dst="198.18.0.2") / ICMP(id=7, seq=3) / Raw(b"ping")

    def answer() -> None:
        ping = sniff(opened_socket=wires[1], count=1, timeout=DEADLINE)[0]
        ip = IP(src=ping[IP].dst, dst=ping[IP].src)
        reply = to(pair, back=True) / ip / ICMP(type=0, id=7, seq=3) / Raw(b"ping")
        wires[1].send(to(pair, back=True) / ARP())
        wires[1].send(reply)

    thread = threading.Thread(target=answer)
    thread.start()
    answered, silent = wires[0].sr(asked, timeout=DEADLINE, verbose=False)
    thread.join()
    assert len(answered) == 1 and not silent
    assert answered[0][1][ICMP].type == 0 and answered[0][1][Raw].load.startswith(b"ping")


def test_sr1_without_an_answer(pair: VfPair, wires: Any) -> None:
    asked = to(pair) / IP(dst="198.18.0.9") / ICMP()
    assert wires[0].sr1(asked, timeout=0.1, verbose=False) is None


def test_sendp_takes_the_socket(pair: VfPair, wires: Any) -> None:
    sendp([to(pair) / ARP()] * 3, socket=wires[0], verbose=False)
    assert len(sniff(opened_socket=wires[1], count=3, timeout=DEADLINE)) == 3


def test_tags_stay(pair: VfPair, wires: Any) -> None:
    wires[0].send(to(pair) / Dot1Q(vlan=5) / IP() / UDP())
    (seen,) = sniff(opened_socket=wires[1], count=1, timeout=DEADLINE)
    assert UDP in seen


def test_closing_leaves_the_port_open(pair: VfPair) -> None:
    wire = VfSocket(pair.first)
    wire.close()
    wire.close()
    assert wire.closed and pair.first.state == "running"
    with pytest.raises(iavfio.StateError, match="is closed"):
        wire.recv()
    with VfSocket(pair.first) as again:
        again.send(to(pair) / ARP())


def test_what_cannot_be_sent_says_why(pair: VfPair, wires: Any) -> None:
    with pytest.raises(iavfio.ConfigError, match="has 1522 bytes"):
        wires[0].send(to(pair) / Raw(bytes(2000)))
    with pytest.raises(iavfio.StateError, match="is not running"), iavfio.open("softvf") as port:
        VfSocket(port)
