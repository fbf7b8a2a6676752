# SPDX-License-Identifier: BSD-3-Clause
"""The order and the terms of a bring-up, and what a PF may refuse without stopping it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import PfRefused
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.channel import Channel
from tests.port.expected import expected, held, snapshot
from tests.port.rig import healthy, until, works

FAST = {"reset_ms": 1}


@pytest.fixture(params=["e810", "x710"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(personality=request.param, options=FAST) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


def sent(port: Port) -> list[int]:
    """Opcodes of the requests so far."""
    return [entry.opcode for entry in port.journal if entry.direction == "out"]


def test_pf_counters_are_asked_for_before_any_packet_can_come(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        for again in (port.start, port.reset):
            before = len(sent(port))
            again()
            requests = sent(port)[before:]
            enabled = requests.index(lib.VC_OP_ENABLE_QUEUES)
            assert lib.VC_OP_GET_STATS in requests[:enabled]


def test_nothing_is_sent_twice_that_the_pf_holds_already(pf: SoftPf, pool: Pool) -> None:
    settings = {"extra_macs": ["02:00:00:00:02:00"], "promiscuous": True}
    with pf.open(0, pool=pool) as port:
        port.configure(**settings)  # type: ignore[arg-type]
        port.start()
        port.stop()
        before = len(sent(port))
        port.start()
        asked = [opcode for opcode in sent(port)[before:] if opcode != lib.VC_OP_GET_STATS]
        assert asked == [
            lib.VC_OP_CONFIG_VSI_QUEUES,
            lib.VC_OP_CONFIG_IRQ_MAP,
            lib.VC_OP_ENABLE_QUEUES,
        ]
        assert held(pf) == expected(port, pf)


def test_legacy_descriptors_have_number_1_for_a_pf_with_flexible_ones(pool: Pool) -> None:
    with iavfio.softvf(options=FAST) as pf, pf.open(0, pool=pool) as port:
        port.control.session.rxdids = frozenset({1})  # a PF that offers no other
        port.configure(metadata={"rss", "ptype"})
        port.start(wait_link=5)
        assert port.session.rxdid == 0 and port.session.rxdid_asked(0) == 1
        works(port)
        assert pf.violations() == []


def test_format_stays_0_without_the_grant(pool: Pool) -> None:
    with (
        iavfio.softvf(personality="x710", options=FAST) as pf,
        pf.open(0, pool=pool) as port,
    ):
        assert (port.session.rxdid, port.session.rxdid_asked(0)) == (0, 0)


@pytest.mark.parametrize("opcode", [lib.VC_OP_CONFIG_RSS_KEY, lib.VC_OP_CONFIG_RSS_LUT])
def test_refused_rss_is_noted_with_one_queue_and_fails_several(
    pf: SoftPf, pool: Pool, opcode: int
) -> None:
    with pf.open(0, pool=pool) as port:
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5)
        port.start(wait_link=5)
        assert any("RSS" in note and "not in force" in note for note in port.notes)
        works(port)
        port.stop()
        port.start()  # asked again, and granted
        assert held(pf) == expected(port, pf)
        port.stop()
        port.configure(queues=2)
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and port.state == "stopped")
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5)
        with pytest.raises(PfRefused):
            port.start()
        assert port.state == "stopped"
        port.start()
        assert held(pf) == expected(port, pf)


def test_refused_own_address_is_told_and_traffic_goes_on(pool: Pool) -> None:
    with (
        iavfio.softvf(personality="x710", options=FAST | {"mac": "zero"}) as pf,
        pf.open(0, pool=pool) as port,
    ):
        pf.control("fault", vf=0, kind="retval", opcode=lib.VC_OP_ADD_ETH_ADDR, value=-1, count=2)
        port.start(wait_link=5)
        assert any(port.mac.hex(":") in note and "not in force" in note for note in port.notes)
        assert port.state == "running"
        port.stop()
        port.start(wait_link=5)
        assert port.mac.hex(":") in snapshot(pf)["macs"]
        works(port)


def test_unanswered_addresses_are_put_right_by_the_next_start(pf: SoftPf, pool: Pool) -> None:
    """A PF may have acted on a request whose reply was lost."""
    with pf.open(0, pool=pool) as port:
        port.configure(extra_macs=["02:00:00:00:02:00", "02:00:00:00:02:01"])
        pf.control("fault", vf=0, kind="lose", opcode=lib.VC_OP_ADD_ETH_ADDR)
        with pytest.raises(iavfio.MailboxError):
            port.start()
        port.configure(extra_macs=["02:00:00:00:02:02"])
        port.start()
        assert held(pf) == expected(port, pf)


# ---- a PF that is slow


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the time: a PF that answers after 250 ms stands for one of 2.5 s."""
    monkeypatch.setattr(Channel, "pace", 0.1)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
def test_pf_that_answers_late_is_waited_for_and_not_reset(pool: Pool, personality: str) -> None:
    options = {"reset_ms": 1, "answer_ms": 250}
    with (
        iavfio.softvf(personality=personality, options=options) as pf,
        pf.open(0, pool=pool) as port,
    ):
        assert snapshot(pf)["resets"] == 0
        port.start(wait_link=10)
        works(port)
        assert port.resets == []
        assert snapshot(pf)["resets"] == 0
    assert healthy(pool)


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_pf_that_refuses_for_a_while_is_waited_for_and_not_reset(
    pool: Pool, personality: str
) -> None:
    options = {"reset_ms": 1, "resources_error_ms": 800}
    with iavfio.softvf(personality=personality, options=options) as pf:
        pf.control("reset", vf=0)
        time.sleep(0.05)
        before = snapshot(pf)["resets"]
        with pf.open(0, pool=pool) as port:
            assert snapshot(pf)["resets"] == before
            port.start(wait_link=5)
            works(port)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_many_vfs_that_open_at_once_do_not_reset_each_other(pool: Pool, personality: str) -> None:
    options = {"reset_ms": 100, "answer_ms": 20}
    vfs = 12
    with iavfio.softvf(vfs=vfs, personality=personality, options=options) as pf:
        with ThreadPoolExecutor(vfs) as threads:
            ports = list(threads.map(lambda vf: pf.open(vf, pool=pool), range(vfs)))
        assert [port.state for port in ports] == ["stopped"] * vfs
        assert [snapshot(pf, vf)["resets"] for vf in range(vfs)] == [0] * vfs
        for port in ports:
            port.close()
