# SPDX-License-Identifier: BSD-3-Clause
"""`port.why()` names each cause that is set, and nothing on a healthy port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.port.why import CHECKS, Facts, findings, hints, probe
from iavfio.softvf.launch import SoftPf
from iavfio.stats import Snapshot
from tests.port.rig import collect, send_all, udp, until
from tests.snapshots import idle

PERSONALITIES = ("e810", "x710")
FOREIGN = bytes.fromhex("020000000099")


@pytest.fixture(params=PERSONALITIES)
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=1, personality=request.param, uplink="loopback") as pf:
        yield pf


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


def _stopped(pf: SoftPf, port: Port) -> None:
    port.stop()


def _link(pf: SoftPf, port: Port) -> None:
    pf.control("link", vf=0, state="disable")
    assert until(lambda: not port.link.up)


def _silent(pf: SoftPf, port: Port) -> None:
    pf.control("fault", vf=0, kind="drop", count=1000)


def _spoof(pf: SoftPf, port: Port) -> None:
    send_all(port, [udp(port.mac, FOREIGN)] * 10)
    assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)


def _promiscuous(pf: SoftPf, port: Port) -> None:
    port.set_promiscuous(True)


def _all_multicast(pf: SoftPf, port: Port) -> None:
    port.set_promiscuous(False, all_multicast=True)


def _gone(pf: SoftPf, port: Port) -> None:
    pf.control("gone", vf=0, on=True)
    assert until(lambda: port.state == "failed")


FAULTS: list[tuple[Callable[[SoftPf, Port], None], str]] = [
    (_stopped, "not running"),
    (_link, "link down"),
    (_silent, "PF silent"),
    (_spoof, "spoof check"),
    (_promiscuous, "not trusted"),
    (_all_multicast, "not trusted"),
    (_gone, "device lost"),
]


@pytest.mark.parametrize(("fault", "name"), FAULTS, ids=[f.__name__[1:] for f, _ in FAULTS])
def test_each_cause_is_named_alone_with_its_remedy(
    pf: SoftPf, port: Port, fault: Callable[[SoftPf, Port], None], name: str
) -> None:
    run(port)
    fault(pf, port)
    (finding,) = port.why()
    assert finding.name == name
    assert finding.what and finding.evidence and finding.remedy


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


# ---- the checks alone, on facts made by hand


ZERO = idle(2)


def counted(**values: int) -> Snapshot:
    """A running port of two queues that counted these; rq and sq values in queue 0."""
    rq, sq, pf = dict(ZERO.rq[0]), dict(ZERO.sq[0]), dict(ZERO.pf)
    for name, value in values.items():
        block = pf if name in pf else rq if name in rq else sq
        block[name] = value
    return replace(ZERO, pf=pf, rq=(rq, ZERO.rq[1]), sq=(sq, ZERO.sq[1]))


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
    (Facts(counted(), trust="untrusted", promiscuous=True), "not trusted"),
    (Facts(counted(alloc_page_fail=3)), "pool empty"),
    (Facts(counted(rx_discards=9, alloc_page_fail=3)), "pool empty"),
    (Facts(counted(), pool_idle=0, pool_size=512), "pool empty"),
    (Facts(counted(rx_discards=9)), "receive rings full"),
    (Facts(counted(drop_oversize=1)), "frames beyond the MTU"),
    (Facts(counted(refused_long=1)), "frames beyond the MTU"),
    (Facts(counted(packets=5000)), "no spread over queues"),
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
    ],
)
def test_nothing_wrong_is_no_finding(facts: Facts) -> None:
    assert findings(facts) == []
    assert bool(hints(facts)) == (not facts.counts.rq[0]["packets"])


def test_every_check_has_a_row() -> None:
    """A check that no row brings to speak could as well be missing."""
    seen = {name for _, name in TABLE}
    told = {found.name for check in CHECKS for facts, _ in TABLE if (found := check(facts))}
    assert told <= seen and len(seen) >= len(CHECKS)


def test_ordinary_counts_are_no_finding() -> None:
    busy = counted(packets=400, rx_unicast=400, tx_unicast=400, polls=9, doorbells=3)
    assert findings(Facts(busy, own=True, foreign=True, trust="trusted", pool_idle=9)) == []
