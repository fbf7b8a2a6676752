# SPDX-License-Identifier: BSD-3-Clause
"""`port.why()` names each cause that is set, and nothing on a healthy port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

import iavfio
from iavfio.datapath.burst import Burst
from iavfio.datapath.pool import Pool
from iavfio.port.causes import CHECKS
from iavfio.port.facts import Facts, StrayFormat
from iavfio.port.port import Port
from iavfio.port.probe import Probe
from iavfio.port.sampling import Sent
from iavfio.port.vlan_probe import tagged
from iavfio.port.why import findings, hints, probe
from iavfio.softvf.launch import SoftPf
from iavfio.stats import Snapshot
from tests.port.rig import collect, drained, send_all, udp, until
from tests.snapshots import idle

PERSONALITIES = ("e810", "x710")
FOREIGN = bytes.fromhex("020000000099")
OTHER = bytes(6)  # the other VF's address is filled in
BROADCAST = bytes.fromhex("ffffffffffff")
GROUP = bytes.fromhex("01005e000001")
ZERO = idle(2)


@pytest.fixture(scope="module", params=PERSONALITIES)
def shared(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, personality=request.param, uplink="loopback") as pf:
        yield pf


@pytest.fixture
def pf(shared: SoftPf) -> Iterator[SoftPf]:
    """A PF of which nothing is wrong before and after a test."""
    yield shared
    shared.control("gone", vf=0, on=False)
    shared.control("fault", vf=0, kind="clear")
    for command, value in (("trust", False), ("spoofchk", True)):
        shared.control(command, vf=0, on=value)
    shared.control("vlan", vf=0, vlan=0)
    shared.control("link", vf=0, state="auto")


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0) as port:
        yield port


def names(port: Port) -> list[str]:
    return [finding.name for finding in port.why()]


def run(port: Port, **settings: Any) -> None:
    """Starts the port and lets it receive something."""
    port.configure(**settings)
    port.start(wait_link=5)
    send_all(port, [udp(port.mac, port.mac)])
    assert len(collect(port.rx, 1)) == 1


def test_a_healthy_port_has_no_findings_and_is_left_as_it_was(pf: SoftPf, port: Port) -> None:
    run(port)
    before = pf.control("snapshot", vf=0)["snapshot"]
    assert port.why() == []
    after = pf.control("snapshot", vf=0)["snapshot"]
    for key in ("macs", "primary_mac", "promisc", "vlans", "resets", "state"):
        assert after[key] == before[key], key
    send_all(port, [udp(port.mac, port.mac)])
    assert len(collect(port.rx, 1)) == 1


# ---- the fault table: each cause is set alone, and named


def _stopped(pf: SoftPf, port: Port) -> None:
    run(port)
    port.stop()


def _link(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("link", vf=0, state="disable")
    assert until(lambda: not port.link.up)


def _silent(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("fault", vf=0, kind="drop", count=1000)


def _pf_closes(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("send", vf=0, opcode=17, payload="03000000" + "00" * 12)
    assert until(lambda: "PF closes" in port.control.status.conditions)


def _gone(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("gone", vf=0, on=True)
    assert until(lambda: port.state == "failed")


def _spoof(pf: SoftPf, port: Port) -> None:
    run(port)
    send_all(port, [udp(port.mac, FOREIGN)] * 10)
    assert until(lambda: drained(port))


def _tagged_with_port_vlan(pf: SoftPf, port: Port) -> None:
    """The spoof check is off: then it cannot be the cause."""
    pf.control("spoofchk", vf=0, on=False)
    pf.control("vlan", vf=0, vlan=100)
    assert until(lambda: port.state == "stopped" and bool(port.resets))
    run(port)
    send_all(port, [tagged(udp(port.mac, port.mac), 100)] * 10)
    assert until(lambda: drained(port))


def _tagged_from_the_own_address(pf: SoftPf, port: Port) -> None:
    """The spoof check is on, and a sample of what was sent shows that it is not the cause."""
    pf.control("vlan", vf=0, vlan=100)
    assert until(lambda: port.state == "stopped" and bool(port.resets))
    run(port)
    send_all(port, [tagged(udp(port.mac, port.mac), 100)] * 10)
    assert until(lambda: drained(port))


def _promiscuous(pf: SoftPf, port: Port) -> None:
    run(port)
    port.set_promiscuous(True)


def _all_multicast(pf: SoftPf, port: Port) -> None:
    run(port)
    port.set_promiscuous(False, all_multicast=True)


def _own_address(pf: SoftPf, port: Port) -> None:
    """The PF says yes to an address, and does nothing."""
    port.configure(mac="02:00:00:00:00:77")
    pf.control("fault", vf=0, kind="ignore", opcode=10, count=1)
    port.start(wait_link=5)


def _further_address(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("fault", vf=0, kind="ignore", opcode=10, count=1)
    port.set_extra_macs(["02:00:00:00:00:78"])


def _only_broadcast(pf: SoftPf, port: Port) -> None:
    port.start(wait_link=5)
    neighbour(pf, [udp(BROADCAST, OTHER), udp(bytes.fromhex("020000000079"), OTHER)])
    assert len(collect(port.rx, 1)) == 1


def _no_group(pf: SoftPf, port: Port) -> None:
    run(port)
    send_all(port, [udp(GROUP, port.mac)])
    assert until(lambda: drained(port))


def _mtu(pf: SoftPf, port: Port) -> None:
    run(port)
    neighbour(pf, [udp(port.mac, OTHER, payload=bytes(2000))] * 3, mtu=3000)


def _rss(pf: SoftPf, port: Port) -> None:
    run(port, queues=4)
    send_all(port, [udp(port.mac, port.mac)] * 400)
    assert len(collect(port.rx, 400)) == 400


def _ring(pf: SoftPf, port: Port) -> None:
    run(port, rx_ring=64)
    send_all(port, [udp(port.mac, port.mac)] * 200)
    assert until(lambda: drained(port))


def _pool(pf: SoftPf, port: Port) -> list[Burst]:
    run(port)
    frames = [udp(port.mac, port.mac)] * 32
    held = []
    while port.pool.idle:
        held.append(port.tx[0].build(frames[: port.pool.idle]))
    return held


def _hang(pf: SoftPf, port: Port) -> None:
    run(port)
    pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
    send_all(port, [udp(port.mac, port.mac)] * 3)


def _hung(pf: SoftPf, port: Port) -> None:
    """The watchdog has reset the VF for it, and it works again."""
    _hang(pf, port)
    assert until(lambda: bool(port.resets) and port.state == "running")
    assert port.wait_link(10).up


Fault = Callable[[SoftPf, Port], object]
FAULTS: list[tuple[Fault, str]] = [
    (_stopped, "not running"),
    (_link, "link down"),
    (_silent, "PF silent"),
    (_pf_closes, "PF closes"),
    (_gone, "device lost"),
    (_spoof, "spoof check"),
    (_tagged_with_port_vlan, "port VLAN"),
    (_tagged_from_the_own_address, "port VLAN"),
    (_promiscuous, "not trusted"),
    (_all_multicast, "not trusted"),
    (_own_address, "MAC filter"),
    (_further_address, "MAC filter"),
    (_only_broadcast, "MAC filter"),
    (_no_group, "multicast filter"),
    (_mtu, "frames beyond the MTU"),
    (_rss, "no spread over queues"),
    (_ring, "receive rings full"),
    (_pool, "pool empty"),
    (_hang, "send queue stands still"),
    (_hung, "send queue stands still"),
]


@pytest.mark.parametrize(("fault", "name"), FAULTS, ids=[f.__name__[1:] for f, _ in FAULTS])
def test_each_cause_is_named_alone_with_its_remedy(
    pf: SoftPf, port: Port, fault: Fault, name: str
) -> None:
    kept = fault(pf, port)
    (finding,) = port.why()
    assert finding.name == name
    assert finding.what and finding.evidence and finding.remedy
    assert ("since the reset it works" in finding.what) == (fault is _hung)
    del kept


def neighbour(pf: SoftPf, frames: Sequence[bytes], mtu: int = 1500) -> None:
    """The other VF sends these, from its own address."""
    with pf.open(1) as other:
        other.configure(mtu=mtu)
        other.start(wait_link=5)
        send_all(other, [frame[:6] + other.mac + frame[12:] for frame in frames])
        assert until(lambda: drained(other))


def test_a_vlan_filter_is_named_before_and_after_a_tagged_frame() -> None:
    with iavfio.softvf(vfs=1, personality="x710", options={"vlan_pruning": True}) as pf:
        pf.control("spoofchk", vf=0, on=True)
        with pf.open(0) as port:
            port.start(wait_link=5)
            (finding,) = port.why()
            assert finding.name == "VLAN filter" and "neither come in" in finding.what
            assert "vf-vlan-pruning off" in finding.remedy
            pf.control("trust", vf=0, on=True)  # i40e spares a VF that is trusted
            assert until(lambda: bool(port.resets) and port.state == "running")
            assert port.wait_link(10).up
            assert port.why() == []


@pytest.mark.parametrize("descriptors", ["auto", "legacy"])
def test_another_descriptor_format_is_named(descriptors: str) -> None:
    """A legacy queue knows a profile by what no legacy write-back has; packets are read by it."""
    options = {"rxdid_written": 22 if descriptors == "legacy" else 2}
    with iavfio.softvf(vfs=1, uplink="loopback", options=options) as pf, pf.open(0) as port:
        port.configure(descriptors=descriptors)
        port.start(wait_link=5)
        frames = [udp(port.mac, port.mac, sport=1000 + i) for i in range(20)]
        send_all(port, frames)
        assert collect(port.rx, 20) == frames
        (finding,) = port.why()
        asked = "1 (legacy)" if descriptors == "legacy" else "22"
        assert finding.name == "descriptor format"
        assert f"{options['rxdid_written']}, although {asked} was configured" in finding.what


def test_frames_that_were_sent_to_see_are_no_cause_later(pf: SoftPf, port: Port) -> None:
    run(port)
    for _ in range(3):
        assert port.why() == []


def test_a_trusted_vf_is_promiscuous_without_a_finding(pf: SoftPf, port: Port) -> None:
    pf.control("trust", vf=0, on=True)
    assert until(lambda: port.state == "stopped" and bool(port.resets))
    run(port, promiscuous=True, all_multicast=True)
    assert port.why() == []


def test_a_port_that_waits_for_neighbour_solicitations(pf: SoftPf, port: Port) -> None:
    port.start(wait_link=5)
    assert port.why() == []  # nothing shows that anything was meant to come
    (hint,) = hints(probe(port))
    low = port.mac.hex(":")[-8:]
    assert f"33:33:ff:{low}" in hint


def test_bursts_that_are_held_empty_the_pool() -> None:
    with iavfio.softvf(vfs=1, uplink="gen:size=64,flows=4") as pf:
        pool = Pool(buffers=1024)
        with pf.open(0, pool=pool) as port:
            port.configure(ring=256)
            port.start(wait_link=5)
            held = []
            end = time.monotonic() + 10
            while not starved(port) and time.monotonic() < end:
                held.append(port.rx[0].recv(timeout=0.01))
            found = names(port)
            for burst in held:
                burst.release()
    assert "pool empty" in found


def starved(port: Port) -> bool:
    """Whether a refill has found the pool empty."""
    port.settle()
    return port.stats.snapshot().rq[0]["alloc_page_fail"] > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing was received"),
        ({"trust": "untrusted"}, "02:00:00:00:00:01 and broadcast, and of multicast nothing"),
        ({"trust": "untrusted", "promiscuous": True}, "trust on lets the VF ask for more"),
        ({"trust": "trusted"}, "configure(promiscuous=True) lets in all"),
        ({"trust": "trusted", "all_multicast": True}, "every multicast group and broadcast"),
        ({"trust": "trusted", "extra_macs": (GROUP,)}, "02:00:00:00:00:01, 01:00:5e:00:00:01"),
    ],
)
def test_who_receives_nothing_is_told_what_the_filters_let_in(
    given: dict[str, Any], words: str
) -> None:
    (hint,) = hints(Facts(ZERO, **given))
    assert words in hint


# ---- the checks alone, on facts made by hand


def counted(**values: int) -> Snapshot:
    """A running port of two queues that counted these; rq and sq values in queue 0."""
    rq, sq, pf = dict(ZERO.rq[0]), dict(ZERO.sq[0]), dict(ZERO.pf)
    for name, value in values.items():
        block = pf if name in pf else rq if name in rq else sq
        block[name] = value
    return replace(ZERO, pf=pf, rq=(rq, ZERO.rq[1]), sq=(sq, ZERO.sq[1]))


def discarding(sent: Sent) -> Facts:
    """A PF that discards frames of other addresses and tagged ones, and has discarded some."""
    some = counted(tx_errors=5)
    return Facts(some, own=True, foreign=False, vlans="port VLAN", sent=sent)


TABLE: list[tuple[Facts, str]] = [
    (Facts(counted(), lost=True), "device lost"),
    (Facts(replace(ZERO, alive=False)), "not running"),
    (Facts(replace(ZERO, last_state="failed")), "not running"),
    (Facts(replace(ZERO, link_up=False)), "link down"),
    (Facts(replace(ZERO, age=60.0)), "PF silent"),
    (Facts(counted(), pf_error="no answer"), "PF silent"),
    (Facts(counted(tx_discards=5)), "discards on sending"),
    (Facts(counted(tx_errors=5), own=True), "discards on sending"),
    (Facts(counted(tx_errors=5), own=True, foreign=False), "spoof check"),
    (Facts(counted(), own=False, foreign=False), "PF discards"),
    (Facts(counted(), own=False, stuck=True), "send queue stands still"),
    (Facts(counted(), stalled=3.0), "send queue stands still"),
    (Facts(counted(), closing=True), "PF closes"),
    (Facts(counted(tx_errors=5), own=True, foreign=True, vlans="port VLAN"), "port VLAN"),
    (Facts(counted(tx_errors=5), own=True, foreign=True, vlans="filter"), "VLAN filter"),
    (Facts(counted(tx_errors=5), own=True, foreign=True, vlans="free"), "discards on sending"),
    (Facts(counted(), own=True, vlans="filter"), "VLAN filter"),
    (discarding(Sent(9, 5, 0, True)), "spoof check"),
    (discarding(Sent(9, 0, 5, True)), "port VLAN"),
    (discarding(Sent(9, 2, 5, False)), "port VLAN"),
    (discarding(Sent(9, 5, 2, False)), "spoof check"),
    (discarding(Sent(9, 0, 0, True)), "discards on sending"),
    (discarding(Sent(0, 0, 0, False)), "spoof check"),
    (Facts(counted(), own=False, own_refused=True), "MAC filter"),
    (Facts(counted(), own=True, absent=(FOREIGN,)), "MAC filter"),
    (Facts(counted(rx_broadcast=3)), "MAC filter"),
    (Facts(counted(tx_multicast=3)), "multicast filter"),
    (Facts(counted(drop_malformed=3), stray=StrayFormat(3, 22, False)), "descriptor format"),
    (Facts(counted(), trust="untrusted", promiscuous=True), "not trusted"),
    (Facts(counted(alloc_page_fail=3)), "pool empty"),
    (Facts(counted(rx_discards=9, alloc_page_fail=3)), "pool empty"),
    (Facts(counted(), pool_idle=0, pool_size=512), "pool empty"),
    (Facts(counted(rx_discards=9)), "receive rings full"),
    (
        Facts(counted(rx_discards=9, rx_unicast=9, rx_bytes=9 * 1000), max_frame=1522),
        "receive rings full",
    ),
    (
        Facts(counted(rx_discards=9, rx_unicast=9, rx_bytes=9 * 2000), max_frame=1522),
        "frames beyond the MTU",
    ),
    (Facts(counted(drop_oversize=1)), "frames beyond the MTU"),
    (Facts(counted(refused_long=1)), "frames beyond the MTU"),
    (Facts(counted(packets=256)), "no spread over queues"),
    (Facts(counted(refused_short=1)), "frames that no device may get"),
    (Facts(counted(drop_malformed=1)), "frames dropped by the driver"),
]


@pytest.mark.parametrize(("facts", "name"), TABLE)
def test_checks_name_one_cause_each(facts: Facts, name: str) -> None:
    assert [finding.name for finding in findings(facts)] == [name]


@pytest.mark.parametrize(
    "facts",
    [
        Facts(counted()),
        Facts(counted(), trust="untrusted"),
        Facts(counted(), trust="trusted", own=True, foreign=False, pool_idle=9, pool_size=9),
        Facts(counted(packets=3), trust="untrusted"),
        Facts(counted(tx_errors=5), own=True, foreign=False, discarded_probes=5),
        Facts(counted(), own=True, vlans="port VLAN"),
        Facts(counted(rx_broadcast=3), promiscuous=True, trust="trusted"),
        Facts(counted(tx_multicast=3), all_multicast=True, trust="trusted"),
        Facts(counted(), stalled=300.0),
    ],
)
def test_nothing_wrong_is_no_finding(facts: Facts) -> None:
    assert findings(facts) == []
    assert bool(hints(facts)) == (not facts.counts.rq[0]["packets"])


def test_every_check_has_a_row() -> None:
    """A check that no row brings to speak could as well be missing."""
    seen = {name for _, name in TABLE}
    told = {found.name for check in CHECKS for facts, _ in TABLE if (found := check(facts))}
    assert told <= seen
    for check in CHECKS:
        assert any(check(facts) for facts, _ in TABLE), check


def test_ordinary_counts_are_no_finding() -> None:
    busy = counted(packets=255, rx_unicast=255, tx_unicast=255, polls=9, doorbells=3)
    assert findings(Facts(busy, own=True, foreign=True, trust="trusted", pool_idle=9)) == []


def test_a_program_that_begins_to_send_between_two_probes(
    shared: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was alone and passed, the others were not: neither says why frames are dropped."""
    with shared.open(0) as port:
        port.start(wait_link=5)
        alone = iter([True])
        monkeypatch.setattr("iavfio.port.why.PATIENCE", 0.0)
        monkeypatch.setattr(
            "iavfio.port.why.probe_send",
            lambda *_: Probe(completed=True, counted=True, alone=next(alone, False)),
        )
        facts = probe(port)
        assert (facts.own, facts.foreign, facts.busy) == (True, None, True)
        facts = replace(facts, counts=counted(tx_discards=5))
        (found,) = findings(facts)
        assert "its program sends all the time" in found.evidence
