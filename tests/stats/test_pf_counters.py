# SPDX-License-Identifier: BSD-3-Clause
"""Counters of a PF that wraps, begins again and falls silent, as a port shows them.

See docs/spec/reliability.md F16.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceError, MailboxError
from iavfio.port.negotiation import Session
from iavfio.port.pf_counters import LAST_SAMPLE, PfCounters
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import works

PACKETS = 64  # that `works` sends and receives
GET_STATS = 15


def counters(port: Port) -> dict[str, int]:
    port.refresh_stats()
    return dict(port.stats.snapshot().pf)


def near(pf: SoftPf, bits: int) -> None:
    """The PF's registers stand some packets before their end."""
    pf.control("stats_base", vf=0, values=[(1 << bits) - PACKETS // 2] * 12)


# docs/spec/reliability.md F16
@pytest.mark.parametrize("card", ["x710", "x722"])
def test_counters_of_a_port_go_on_when_registers_wrap(card: str) -> None:
    with (
        iavfio.softvf(personality=card, options={"reset_ms": 1}) as pf,
        pf.open(0, pool=Pool(1024, huge="never")) as port,
    ):
        near(pf, 48)
        port.configure(queues=1)
        port.start(wait_link=5)
        before = counters(port)
        works(port)
        after = counters(port)
        for name in ("rx_unicast", "tx_unicast"):
            assert after[name] - before[name] == PACKETS
        assert after["tx_bytes"] - before["tx_bytes"] == PACKETS * 60
        assert after["rx_bytes"] - before["rx_bytes"] == PACKETS * 64


@pytest.mark.parametrize("asked_early", [False, True])
@pytest.mark.parametrize("card", ["e810", "x710"])
def test_what_another_user_left_is_not_counted(card: str, asked_early: bool) -> None:
    """ice counts on from one user of a VF to the next (docs/spec/pf-dialects.md 5)."""
    pool = Pool(1024, huge="never")
    with iavfio.softvf(personality=card, options={"reset_ms": 1}) as pf:
        for _ in range(2):
            with pf.open(0, pool=pool) as port:
                if asked_early:
                    assert set(counters(port).values()) == {0}
                port.start(wait_link=5)
                assert counters(port)["tx_unicast"] == 0
                works(port)
                assert counters(port)["tx_unicast"] == PACKETS
                port.reset()
                works(port)
                now = counters(port)
                assert (now["tx_unicast"], now["rx_unicast"]) == (2 * PACKETS, 2 * PACKETS)
                assert port.why() == []
                frame = port.mac + bytes.fromhex("02000000ffff0800") + bytes(46)
                with port.tx[0].build([frame] * 3) as burst:
                    port.tx[0].send(burst)
                assert [finding.name for finding in port.why()] == ["spoof check"]


# docs/spec/reliability.md F16
def test_counters_that_a_pf_drives_beyond_64_bits_stay_at_the_end() -> None:
    """Nothing on the wire gets there; a PF that says so must not stop the counting of the rest."""
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=Pool(1024, huge="never")) as port:
        port.configure(queues=1)
        port.start(wait_link=5)
        near(pf, 64)
        first = counters(port)["rx_unicast"]
        assert first >= (1 << 64) - PACKETS // 2
        works(port)
        for _ in range(2):
            assert counters(port)["rx_unicast"] == (1 << 64) - 1
        assert not [note for note in port.notes if "counters" in note]


# docs/spec/reliability.md F16
def test_counters_of_a_port_go_on_when_a_reset_zeroes_those_of_the_pf() -> None:
    with (
        iavfio.softvf(personality="x710", options={"reset_ms": 1}) as pf,
        pf.open(0, pool=Pool(1024, huge="never")) as port,
    ):
        port.configure(queues=1)
        port.start(wait_link=5)
        for rounds in range(1, 4):
            works(port)
            told = counters(port)
            assert (told["rx_unicast"], told["tx_unicast"]) == (rounds * PACKETS,) * 2
            port.reset()
            assert counters(port)["rx_unicast"] >= rounds * PACKETS


# docs/spec/reliability.md F16
def test_an_answer_that_does_not_come_leaves_the_last_one_and_its_age_grows() -> None:
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=Pool(1024, huge="never")) as port:
        port.configure(queues=1)
        port.start(wait_link=5)
        works(port)
        known = counters(port)
        pf.control("fault", vf=0, kind="drop", opcode=GET_STATS, count=1000)
        with pytest.raises(DeviceError):  # the watchdog may be asking at the moment: it goes first
            port.refresh_stats(within=3)
        snapshot = port.stats.snapshot()
        assert dict(snapshot.pf) == known
        assert snapshot.age is not None and snapshot.age >= 0.3


@pytest.mark.parametrize(
    ("suspect", "needs_reset", "was_reset", "asked"),
    [(0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)],
)
def test_who_would_not_answer_is_not_asked_before_a_reset(
    suspect: bool, needs_reset: bool, was_reset: bool, asked: int
) -> None:
    """Each such question takes its whole time, which the reset then waits for."""
    seen: list[Any] = []

    def ask(*question: Any) -> None:
        seen.append(question)
        raise MailboxError("no answer")

    client = SimpleNamespace(suspect=suspect, needs_reset=needs_reset, ask=ask)
    session = SimpleNamespace(client=client, was_reset=lambda: was_reset)
    nobody: Any = None
    counters = PfCounters(cast(Session, session), nobody, nobody)
    counters.last()
    assert len(seen) == asked
    assert all(seconds == LAST_SAMPLE for _, seconds in seen)
