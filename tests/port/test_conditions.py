# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong for now: each condition is said with its remedy, once, until it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pair import QueuePair
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


def _take_tags(pf: SoftPf, port: Port) -> None:
    port.stop()
    port.configure(metadata=["vlan"])
    port.start(wait_link=10)


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
    *(
        Case(
            "trust taken away",
            "the host has taken the trust in this VF away",
            HOST_TRUST,
            lambda pf, port: (pf.control("trust", vf=0, on=False), None)[1],
            settings={"promiscuous": True},
            options={"trusted": True},
            end=end,
        )
        for end in (_trust, lambda pf, port: port.set_promiscuous(False))
    ),
    Case(
        "discards on sending",
        "the PF discards frames that this VF sends; it does not say why: possibly",
        "spoofchk off",
        _spoof,
    ),
    Case(
        "VLAN tags lost",
        "VLAN tags that the PF strips are lost",
        "configure(metadata=['vlan'])",
        options={"strip_refused": True},
        end=_take_tags,
    ),
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
        "answers REDIRECT by its own hash",
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


# docs/spec/reliability.md F62
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


@pytest.mark.parametrize(
    ("personality", "options", "port_vlan"),
    [("e810", {}, 0), ("x710", {}, 0), ("e810", {}, 100), ("e810", {"double_vlan": True}, 0)],
)
def test_a_pf_that_strips_no_tags_unasked_is_told_of_nothing(
    personality: str, options: dict[str, Any], port_vlan: int
) -> None:
    """A port VLAN's own tag is not the VF's, and nothing of it is lost."""
    with iavfio.softvf(personality=personality, options=options) as pf:
        pf.control("vlan", vf=0, vlan=port_vlan)
        with pf.open() as port:
            port.start(wait_link=10)
            assert "VLAN tags lost" not in port.control.status.conditions, port.notes


def test_lost_tags_name_no_cause_twice() -> None:
    with iavfio.softvf(options={"strip_refused": True}) as pf, pf.open() as port:
        for _ in range(2):
            port.start(wait_link=10)
            assert len([note for note in port.notes if "VLAN" in note]) == 1, port.notes
            port.stop()


@pytest.mark.parametrize(("descriptors", "in_force"), [("legacy", "1 (legacy)"), ("auto", "22")])
def test_another_descriptor_format_is_compared_with_the_one_in_force(
    monkeypatch: pytest.MonkeyPatch, descriptors: str, in_force: str
) -> None:
    monkeypatch.setattr(QueuePair, "stray_format", lambda pair: (4, True))
    with iavfio.softvf(personality="e810") as pf, pf.open() as port:
        port.configure(descriptors=descriptors)
        port.start(wait_link=10)
        port.refresh_stats()
        (note,) = told(port, "receive descriptors")
        assert f"format (RXDID) 4, although {in_force} was configured" in note


def _fewer_queues(port: Port) -> None:
    """Four queues receive something, and then one queue is all there is."""
    port.configure(queues=4)
    port.start(wait_link=10)
    frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(256)]
    send_all(port, frames)
    assert len(collect(port.rx, 256)) == 256
    port.stop()
    port.configure(queues=1)
    port.start(wait_link=10)


def test_queues_of_another_time_are_not_missed_in_the_spread() -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        _fewer_queues(port)
        before = port.stats.snapshot().rq
        for _ in range(5):  # no more at once than the ring holds
            send_all(port, [udp(port.mac, port.mac)] * 256)
            assert len(collect(port.rx, 256)) == 256
        port.refresh_stats()
        after = port.stats.snapshot().rq
        assert after[0]["packets"] - before[0]["packets"] == 1280
        assert after[1:] == before[1:] and any(queue["packets"] for queue in after[1:])
        assert not told(port, "all packets arrive in one queue"), port.notes
        assert not [finding for finding in port.why() if finding.name == "no spread over queues"]


def test_the_first_packet_after_a_reset_is_seen_with_fewer_queues_than_once() -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        _fewer_queues(port)
        record = port.reset()
        assert port.wait_link(10).up
        send_all(port, [udp(port.mac, port.mac)])
        assert len(collect(port.rx, 1)) == 1
        assert until(lambda: record.first_packet is not None), record


def test_a_foreign_source_is_named_when_a_probe_has_shown_it() -> None:
    """Counters alone name no cause; a frame that was sent on purpose does."""
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=10)
        _spoof(pf, port)
        assert until(lambda: bool(told(port, "possibly their source")), 5), port.notes
        assert [finding.name for finding in port.why()][:1] == ["spoof check"]
