# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong for now: each condition is said with its remedy, once, until it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.port.shortages import say_shortages
from iavfio.port.status import PortStatus
from iavfio.port.vectors import VectorPlan
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, send_all, udp, until

FOREIGN = bytes.fromhex("020000000099")
HOST_TRUST = "ip link set PF vf N trust on"


def _nothing(pf: SoftPf, port: Port) -> None:
    pass


def _spoof(pf: SoftPf, port: Port) -> None:
    send_all(port, [udp(port.mac, FOREIGN)] * 20)
    port.tx[0].clean()


def _silence(pf: SoftPf, port: Port) -> None:
    pf.control("fault", vf=0, kind="retval", opcode=15, count=1, value=-5)


def _one_flow(pf: SoftPf, port: Port) -> None:
    send_all(port, [udp(port.mac, port.mac)] * 1200)
    collect(port.rx, 1200)


def _close(pf: SoftPf, port: Port) -> None:
    pf.control("send", vf=0, opcode=17, payload="03000000" + "00" * 12)


@dataclass(frozen=True)
class Case:
    """A cause, and what is said of it; `end` makes it end, where it does."""

    name: str
    said: str
    remedy: str
    cause: Callable[[SoftPf, Port], None] = _nothing
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    buffers: int = 16384
    end: Callable[[SoftPf, Port], None] | None = None


def _trust(pf: SoftPf, port: Port) -> None:
    pf.control("trust", vf=0, on=True)


CASES = (
    Case(
        "not trusted",
        "promiscuous mode is not in force, although the PF said yes",
        HOST_TRUST,
        settings={"promiscuous": True},
        end=_trust,
    ),
    Case(
        "not trusted",
        "all-multicast mode is not in force, although the PF said yes",
        HOST_TRUST,
        settings={"all_multicast": True},
        end=_trust,
    ),
    Case(
        "not trusted",
        "promiscuous mode is not in force",
        HOST_TRUST,
        lambda pf, port: port.set_promiscuous(True),
        end=lambda pf, port: port.set_promiscuous(False),
    ),
    Case(
        "trust taken away",
        "the host has taken the trust in this VF away",
        HOST_TRUST,
        lambda pf, port: (pf.control("trust", vf=0, on=False), None)[1],
        settings={"promiscuous": True},
        options={"trusted": True},
        end=_trust,
    ),
    Case("spoof check", "frames whose source is not the VF's own", "spoofchk off", _spoof),
    Case(
        "stale counters",
        "the PF's counters are not renewed: the PF refused GET_STATS",
        "",
        _silence,
        end=_nothing,
    ),
    Case(
        "no spread over queues",
        "all packets arrive in one queue although several run",
        "choose rss=",
        _one_flow,
        settings={"queues": 2},
    ),
    Case(
        "shared vectors",
        "6 queues share 4 interrupt vectors",
        "configure(queues=4)",
        settings={"queues": 6},
    ),
    Case(
        "buffers short",
        "buffers are short: 48 of the pool's 560 are left",
        "pool=iavfio.Pool(buffers=1120)",
        buffers=560,
        settings={"rx_ring": 512},
    ),
    Case("PF closes", "PF_DRIVER_CLOSE", "port.recover()", _close),
)


def told(port: Port, text: str) -> list[str]:
    return [note for note in port.notes if text in note]


@pytest.mark.parametrize("personality", ["e810", "x710"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.said[:12]}")
def test_a_condition_is_said_with_its_remedy_until_it_ends(
    case: Case, personality: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iavfio.port")
    queues = case.settings.get("queues", 1)
    if case.name == "shared vectors" and personality == "e810":
        pytest.skip("an E810's VF has a vector for each queue")
    with (
        iavfio.softvf(personality=personality, options=case.options) as pf,
        pf.open(pool=Pool(case.buffers)) as port,
    ):
        seen: list[tuple[str, str]] = []
        port.on_event.append(lambda event: seen.append((event.kind, event.text)))
        port.configure(**case.settings)
        port.start(wait_link=10)
        assert len(port.rx) == queues
        for _ in range(3):  # it may fall between two looks
            case.cause(pf, port)
            if until(lambda: bool(told(port, case.said)), 4):
                break
        (note,) = told(port, case.said)
        assert case.remedy in note
        assert until(lambda: ("note", note) in seen, 2) and seen.count(("note", note)) == 1
        one_line = "; ".join(line.strip() for line in note.splitlines())
        assert caplog.text.count(one_line) == 1
        assert (logging.WARNING, f"{port.name}: {one_line}") in [
            (record.levelno, record.getMessage()) for record in caplog.records
        ]
        if case.end is not None:
            case.end(pf, port)
            assert until(lambda: not told(port, case.said), 15), port.notes
            assert until(lambda: ("over", note) in seen, 2)
            assert f"no longer so: {one_line}" in caplog.text


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_trusted_vf_is_told_nothing_and_the_pf_keeps_no_probe(personality: str) -> None:
    with (
        iavfio.softvf(personality=personality, options={"trusted": True}) as pf,
        pf.open() as port,
    ):
        port.configure(promiscuous=True)
        before = pf.control("snapshot", vf=0)["snapshot"]["macs"]
        port.start(wait_link=10)
        after = pf.control("snapshot", vf=0)["snapshot"]
        assert set(after["macs"]) <= {*before, port.mac.hex(":")}
        assert port.notes == []


def test_the_two_ways_to_promiscuity_mean_the_same() -> None:
    found = []
    for way in range(2):
        with iavfio.softvf(options={"trusted": True}) as pf, pf.open() as port:
            if way == 0:
                port.configure(promiscuous=True)
                port.start(wait_link=10)
            else:
                port.start(wait_link=10)
                port.set_promiscuous(True)
            for on in (True, False):
                snapshot = pf.control("snapshot", vf=0)["snapshot"]
                found.append((snapshot["promisc"], port.settings, on))
                port.set_promiscuous(False)
    assert found[:2] == found[2:]
    assert found[0][0] != found[1][0]


def test_probes_and_a_foreign_frame_of_why_are_nobody_s_fault() -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=10)
        for _ in range(3):
            port.why()
        assert not until(lambda: bool(port.notes), 2.5), port.notes


def test_small_pages_are_told_for_a_card_only() -> None:
    pool = Pool(64, huge="never")
    pool.memory.fallback = "0 huge pages of 2 MiB are free, 1 are needed"
    for transport, expected in (("vfio-user", 0), ("cdev", 1), ("group", 1)):
        status = PortStatus("p")
        say_shortages(status, VectorPlan.make(1, 2, True), pool, transport)
        assert len([n for n in status.notes if "vm.nr_hugepages=1" in n]) == expected


def test_an_empty_pool_is_told() -> None:
    with iavfio.softvf() as pf, pf.open(pool=Pool(1024)) as port:
        port.configure(rx_ring=64)
        port.start(wait_link=10)
        held = []
        frames = [udp(port.mac, port.mac)] * 32
        while port.pool.idle >= 64:
            burst = port.tx[0].build(frames)
            held.append(burst)
        send_all(port, [])

        def exhausted() -> bool:
            while port.pool.idle:
                held.append(port.tx[0].build(frames[: min(32, port.pool.idle)]))
            return bool(told(port, "receive rings cannot be filled"))

        assert until(exhausted, 5), port.notes
        (note,) = told(port, "receive rings cannot be filled")
        assert "release bursts sooner" in note
        for burst in held:
            burst.release()
        assert until(lambda: not told(port, "receive rings cannot be filled"), 15), port.notes
