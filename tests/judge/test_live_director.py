# SPDX-License-Identifier: BSD-3-Clause
"""ice's flow director on the live PF: what its filters do to packets, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH
from scapy.layers.l2 import Ether

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import PfRefused
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.capabilities import WANTED
from tests.judge.conftest import LIVE, live_pf
from tests.judge.fdir_messages import (
    AH as AH_HEADER,
)
from tests.judge.fdir_messages import (
    CONFLICT,
    DROP,
    ESP,
    ETH,
    EXISTS,
    GTPU,
    GTPU_EH,
    INVALID,
    IPV6,
    L2TPV3,
    MARK,
    NOT_THERE,
    PASS,
    PFCP,
    QUEUE,
    REGION,
    SUCCESS,
    UDP,
    Action,
    Header,
    Outcome,
    add,
    add_raw,
    delete,
    ipv4,
    ports,
    say,
)
from tests.judge.fdir_messages import TCP as TCP_HEADER
from tests.port.expected import snapshot
from tests.port.rig import send_all, udp, until
from tests.port.test_tunnels import OUT4, OUT6, esp, gtpu, l2tpv3, pfcp, session

QUEUES = 4
ANY = Header(ETH)
HOSTS = ipv4(0b11, "10.0.0.1", "10.0.0.2")  # those of tests.port.rig.udp
FLOW = [ANY, HOSTS, ports(UDP, 0b11, 1000, 2000)]
Arrival = tuple[int, int]  # queue and mark


@pytest.fixture(autouse=True)
def asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ports of these tests ask for the flow director, which iavfio has no use for."""
    monkeypatch.setattr("iavfio.port.negotiation.WANTED", WANTED | lib.VC_CAP_FDIR_PF)


@pytest.fixture(scope="module", params=[name for name in LIVE if name.startswith("linux-ice")])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    """A PF of each kernel, whose card has the comms package."""
    options: dict[str, Any] = {"reset_ms": 1, "ddp": "comms", "spoof_check": "off"}
    with iavfio.softvf(uplink="loopback", options=options, **live_pf(request.param)) as made:
        yield made


@pytest.fixture
def port(pf: SoftPf, asks: None) -> Iterator[Port]:
    with pf.open(0, pool=Pool(8192, huge="never")) as made:
        made.configure(queues=QUEUES, metadata=["mark"])
        made.start(wait_link=10)
        yield made
        assert pf.violations() == []


def arrivals(port: Port, *frames: bytes) -> list[Arrival]:
    """Where these frames arrive, one after the other; (-1, 0) where one does not.

    A frame that nothing fits comes behind each: when it is there, so is the one before.
    """
    return [_arrival(port, frame) for frame in frames]


def _arrival(port: Port, frame: bytes) -> Arrival:
    last = port.mac + port.mac + b"\x88\xb5" + bytes(46)
    send_all(port, [frame, last])
    got: list[Arrival] = []
    ended = False

    def over() -> bool:
        nonlocal ended
        for queue in port.rx:
            with queue.recv() as burst:
                for i in range(len(burst)):
                    if bytes(burst.bytes(i)) == last:
                        ended = True
                    else:
                        got.append((queue.index, int(burst.column("mark")[i])))
        return ended

    assert until(over)
    over()
    assert len(got) <= 1
    return got[0] if got else (-1, 0)


def made(port: Port, headers: list[Header], *actions: Action) -> int:
    """The number of a new filter."""
    outcome = say(port, add(headers, [*actions]))
    assert outcome.status == SUCCESS
    return outcome.flow


def remove(port: Port, flow: int) -> None:
    assert say(port, delete(flow)) == Outcome(SUCCESS)


def test_a_filter_decides_until_it_is_deleted(port: Port) -> None:
    mine, other = udp(port.mac, port.mac), udp(port.mac, port.mac, sport=1001)
    before = arrivals(port, mine, other)
    chosen = (before[0][0] + 1) % QUEUES
    for actions, wanted in (
        ([Action(QUEUE, chosen)], (chosen, 0)),
        ([Action(QUEUE, chosen), Action(MARK, 7)], (chosen, 7)),
        ([Action(PASS), Action(MARK, 0xFFFFFF)], (before[0][0], 0xFFFFFF)),
        ([Action(DROP)], (-1, 0)),
    ):
        flow = made(port, FLOW, *actions)
        assert arrivals(port, mine, other) == [wanted, before[1]]
        remove(port, flow)
        assert arrivals(port, mine, other) == before


def test_a_region_has_the_queues_that_rss_chooses_from(port: Port) -> None:
    flow = made(port, [ANY, HOSTS, ports(UDP, 0b10, dst=2000)], Action(REGION, 2, 1))
    flows = [udp(port.mac, port.mac, sport=1000 + i) for i in range(32)]
    queues = {queue for queue, _ in arrivals(port, *flows)}
    assert queues == {2, 3}
    remove(port, flow)
    assert {queue for queue, _ in arrivals(port, *flows)} == set(range(QUEUES))


def test_filters_of_one_kind_stand_side_by_side(port: Port) -> None:
    flows = {
        i: made(port, [ANY, HOSTS, ports(UDP, 0b11, 1000 + i, 2000)], Action(QUEUE, i % QUEUES))
        for i in range(16)
    }
    frames = [udp(port.mac, port.mac, sport=1000 + i) for i in flows]
    assert [queue for queue, _ in arrivals(port, *frames)] == [i % QUEUES for i in flows]
    for flow in flows.values():
        remove(port, flow)


def header(kind: int, content: bytes) -> Header:
    return Header(kind, 1, content)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


V6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=5, dport=6)
V6_ENDS = bytes([0x60]) + bytes(7) + bytes(V6)[8:40]
AUTHENTIC = OUT4 / AH(spi=300, seq=1, icv=bytes(12)) / TCP()
# Headers of a filter, and a frame of its without MAC addresses: EtherType, packet.
KINDS: dict[str, tuple[list[Header], int, Any]] = {
    "EtherType": ([Header(ETH, 4, bytes(12) + b"\x88\xf7")], 0x88F7, b"\x00" * 46),
    "IPv4": ([ANY, ipv4(0b01, "192.0.2.1")], 0x0800, OUT4 / TCP()),
    "IPv4 by protocol": ([ANY, ipv4(0x10, proto=47)], 0x0800, OUT4.__class__(proto=47)),
    "TCP over IPv6": (
        [ANY, Header(IPV6, 0b11, V6_ENDS), ports(TCP_HEADER, 0b11, 5, 6)],
        0x86DD,
        V6,
    ),
    "ESP": ([ANY, ipv4(0), header(ESP, number(256 + 9))], 0x0800, OUT4 / esp(9)),
    "AH": ([ANY, ipv4(0), header(AH_HEADER, bytes(4) + number(300))], 0x0800, AUTHENTIC),
    "L2TPv3": ([ANY, ipv4(0), header(L2TPV3, number(9))], 0x0800, l2tpv3(9)),
    "PFCP": ([ANY, ipv4(0), Header(UDP), header(PFCP, b"\x21")], 0x0800, OUT4 / pfcp(9)),
    "PFCP over IPv6": (
        [ANY, Header(IPV6), Header(UDP), header(PFCP, b"\x21")],
        0x86DD,
        OUT6 / pfcp(9),
    ),
    "GTP-U": (
        [ANY, ipv4(0), Header(UDP), header(GTPU, bytes(4) + number(10))],
        0x0800,
        OUT4 / gtpu(9),
    ),
    "GTP-U with a PDU session": (
        [
            ANY,
            ipv4(0),
            Header(UDP),
            header(GTPU, bytes(4) + number(10)),
            header(GTPU_EH, b"\0\x09"),
        ],
        0x0800,
        OUT4 / session(9),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_filter_finds_its_packets(port: Port, name: str) -> None:
    headers, kind, rest = KINDS[name]
    frame = bytes(Ether(dst=bytes(6), src=bytes(6), type=kind) / rest).ljust(60, b"\0")
    frame = port.mac + port.mac + frame[12:]
    plain = udp(port.mac, port.mac)
    before = arrivals(port, frame, plain)
    chosen = (before[0][0] + 1) % QUEUES
    flow = made(port, headers, Action(QUEUE, chosen), Action(MARK, 5))
    assert arrivals(port, frame, plain) == [(chosen, 5), before[1]]
    remove(port, flow)
    assert arrivals(port, frame, plain) == before


def test_what_ice_answers(pf: SoftPf, port: Port) -> None:
    to = [Action(QUEUE, 1)]
    flow = made(port, FLOW, *to)
    assert say(port, add(FLOW, to)).status == EXISTS
    assert say(port, add([ANY, HOSTS], to)).status == CONFLICT, "a kind that has this one's packets"
    assert say(port, add([ANY, HOSTS, ports(UDP, 0b01, 1000)], to)).status == CONFLICT
    assert say(port, add([ANY, HOSTS, ports(TCP_HEADER, 3, 1, 2)], to, only_ask=True)) == Outcome(0)
    assert say(port, delete(flow + 1)) == Outcome(NOT_THERE)
    remove(port, flow)
    assert say(port, delete(flow)) == Outcome(NOT_THERE)
    for wrong in (add(FLOW, to, vsi=9), delete(0, vsi=9)):
        with pytest.raises(PfRefused):
            say(port, wrong)
    for headers, actions in (
        (FLOW, []),
        (FLOW, [*to, *to]),
        (FLOW, [Action(MARK, 1)]),
        ([], to),
    ):
        if "6.1" in snapshot(pf)["pf"].split("-"):
            assert say(port, add(headers, actions)) == Outcome(INVALID)
        else:
            with pytest.raises(PfRefused):
                say(port, add(headers, actions))


@pytest.mark.parametrize("length", [1, 14, 64, 1020, 1021, 65535])
def test_a_pattern_of_raw_bytes_is_refused_and_costs_nobody_anything(
    pf: SoftPf, port: Port, length: int
) -> None:
    """The judge's package has no parse graph; the driver's way out of that would end it."""
    packet = bytes(12) + b"\x08\x00\x45" + bytes(60)
    message = add_raw(packet, [Action(QUEUE, 1)], length=length)
    if "6.1" in snapshot(pf)["pf"].split("-"):
        assert say(port, message) == Outcome(INVALID)
    else:
        with pytest.raises(PfRefused):
            say(port, message)
    remove(port, made(port, FLOW, Action(QUEUE, 1)))


def test_a_filter_that_the_data_plane_cannot_play_costs_no_other_one(
    pf: SoftPf, port: Port
) -> None:
    """ice takes a filter of GTP-U's own port, and its training packet is none of GTP-U then."""
    frame = udp(port.mac, port.mac)
    ((before, _),) = arrivals(port, frame)
    chosen = (before + 1) % QUEUES
    flow = made(port, FLOW, Action(QUEUE, chosen))
    here = arrivals(port, frame)
    assert here == [(chosen, 0)]
    strange = made(port, [ANY, ipv4(0), ports(UDP, 0b10, 0, 2152), Header(GTPU)], Action(QUEUE, 2))
    assert arrivals(port, frame) == here
    remove(port, strange)
    assert arrivals(port, frame) == here
    remove(port, flow)


def test_ice_asks_nothing_about_the_queue(port: Port) -> None:
    """A filter may name one that the VF has not: its packets are lost on the way."""
    flow = made(port, FLOW, Action(QUEUE, 200))
    assert arrivals(port, udp(port.mac, port.mac)) == [(-1, 0)]
    remove(port, flow)


def test_there_is_room_for_128(port: Port) -> None:
    flows = [
        made(port, [ANY, HOSTS, ports(UDP, 0b11, 1000 + i, 2000)], Action(QUEUE, 1))
        for i in range(128)
    ]
    one_more = [ANY, HOSTS, ports(UDP, 0b11, 999, 2000)]
    with pytest.raises(PfRefused):
        say(port, add(one_more, [Action(QUEUE, 1)]))
    remove(port, flows.pop())
    flows.append(made(port, one_more, Action(QUEUE, 1)))
    for flow in flows:
        remove(port, flow)


def test_a_reset_takes_the_filters_away(port: Port) -> None:
    frame = udp(port.mac, port.mac)
    before = arrivals(port, frame)
    chosen = (before[0][0] + 1) % QUEUES
    for _ in range(2):
        made(port, FLOW, Action(QUEUE, chosen))
        assert arrivals(port, frame) == [(chosen, 0)]
        port.reset()
        port.wait_link(10)
        assert arrivals(port, frame) == before
        with pytest.raises(AssertionError):
            remove(port, 0)


@pytest.mark.parametrize("name", [name for name in LIVE if name.startswith("linux-ice")])
def test_vfs_have_filters_of_their_own(name: str) -> None:
    options: dict[str, Any] = {"reset_ms": 1, "spoof_check": "off"}
    pool = Pool(8192, huge="never")
    with (
        iavfio.softvf(vfs=2, uplink="loopback", options=options, **live_pf(name)) as both,
        both.open(0, pool=pool) as one,
        both.open(1, pool=pool) as two,
    ):
        for each in (one, two):
            each.configure(queues=QUEUES, metadata=["mark"])
            each.start(wait_link=10)
        frames = {each: udp(each.mac, each.mac) for each in (one, two)}
        before = arrivals(two, frames[two])
        flow = made(one, FLOW, Action(PASS), Action(MARK, 3))
        made(two, FLOW, Action(DROP))
        assert arrivals(one, frames[one])[0][1] == 3
        assert arrivals(two, frames[two]) == [(-1, 0)]
        two.reset()
        two.wait_link(10)
        assert arrivals(two, frames[two]) == before
        assert arrivals(one, frames[one])[0][1] == 3
        remove(one, flow)
        assert arrivals(one, frames[one])[0][1] == 0
