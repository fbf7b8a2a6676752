# SPDX-License-Identifier: BSD-3-Clause
"""The E810's PF as ice of Linux 6.1 answers (docs/spec/pf-dialects.md 2, 5).

Each answer is the judge's: `make test-judge JUDGE=ice-6.1`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.softvf.pf.pf_rig import (
    LINUX_CAPS,
    Rig,
    config_queues,
    pair,
    rig,
    rss_key,
    select,
    setting,
)

CRC, RX_FLEX_DESC, RSS_PF = 1 << 10, 1 << 26, 1 << 19
LEGACY = 1
Call = tuple[object, ...]


@pytest.fixture
def pf() -> Iterator[Rig]:
    with rig("e810", pf_kernel="6.1") as made:
        made.say(1, struct.pack("<II", 1, 1))
        yield made


def resources(pf: Rig) -> bytes:
    """Asks for everything; the reply."""
    status, reply = pf.ask(3, struct.pack("<I", LINUX_CAPS))
    assert status == 0
    return reply


def contexts(pf: Rig, *queues: bytes) -> list[Call]:
    """CONFIG_VSI_QUEUES; what the data plane was told of rings: queue, address, entries."""
    pf.plane.calls.clear()
    assert pf.status(6, config_queues(1, *queues)) == 0
    named = {"configure_tx", "configure_rx"}
    return [(call[0], *call[2:5]) for call in pf.plane.calls if call[0] in named]


def at(queue: int, ring: int) -> bytes:
    """A pair whose rings are at `ring` (Tx) and `ring` + 64K (Rx)."""
    return pair(1, queue, tx_ring=ring, rx_ring=ring + 0x10000)


def test_flexible_descriptors_and_the_crc_are_not_granted(pf: Rig) -> None:
    (caps,) = struct.unpack_from("<I", resources(pf), 8)
    assert not caps & (CRC | RX_FLEX_DESC)
    assert caps & RSS_PF


def test_messages_that_it_does_not_know_and_that_it_does_not_serve(pf: Rig) -> None:
    for opcode in (25, 26):
        assert pf.status(opcode, bytes(8 if opcode == 26 else 0)) == -64  # not unlocked
    resources(pf)
    assert pf.status(23, rss_key(1, bytes(52))) == 0
    assert pf.status(25) == -64
    assert pf.status(26, bytes(8)) == -64
    assert pf.status(26, bytes(7)) == -5  # its length is looked at first
    assert pf.status(18, struct.pack("<HHI", 1, 2, 0)) == -5
    assert pf.status(44) == -5
    before = pf.config.hashcfg
    pf.hardware[0].log.clear()
    assert pf.status(26, bytes(8)) == -64
    assert pf.violations == []  # RSS_PF was granted: a VF cannot know
    assert pf.config.hashcfg == before


def test_the_descriptor_format_and_crc_disable_are_padding(pf: Rig) -> None:
    resources(pf)
    pf.plane.calls.clear()
    assert pf.status(54, setting(1, inner=1)) == -5  # before GET_OFFLOAD_VLAN_V2_CAPS
    assert pf.status(6, config_queues(1, pair(1, 0, rxdid=22, crc=1))) == 0
    ((*_, rxdid, keep_crc),) = (call for call in pf.plane.calls if call[0] == "configure_rx")
    assert (rxdid, keep_crc) == (LEGACY, False)


def test_queues_in_order_have_their_own_rings(pf: Rig) -> None:
    resources(pf)
    assert contexts(pf, at(0, 0x100000), at(1, 0x200000)) == [
        ("configure_tx", 0, 0x100000, 512),
        ("configure_rx", 0, 0x110000, 512),
        ("configure_tx", 1, 0x200000, 512),
        ("configure_rx", 1, 0x210000, 512),
    ]
    assert pf.violations == []


def test_queues_in_another_order_get_each_others_rings(pf: Rig) -> None:
    """Queue 1 comes first: nothing was said at place 1 yet, so it has no ring at all."""
    resources(pf)
    assert contexts(pf, at(1, 0x100000), at(0, 0x200000)) == [
        ("configure_tx", 1, 0, 0),
        ("configure_tx", 0, 0x100000, 512),
        ("configure_rx", 0, 0x110000, 512),
    ]
    assert any("Tx queue 1 at place 0" in text for text in pf.violations)
    assert contexts(pf, at(1, 0x300000)) == [  # what was said at place 1 of the first message
        ("configure_tx", 1, 0x200000, 512),
        ("configure_rx", 1, 0x210000, 512),
    ]


def test_a_ring_is_kept_although_its_queue_is_refused_for_the_rest(pf: Rig) -> None:
    resources(pf)
    wrong = pair(1, 0, tx_ring=0x300000, rx_ring=0x310000, frame=1)
    assert pf.status(6, config_queues(1, at(0, 0x100000), at(1, 0x200000), at(2, 0x400000))) == 0
    assert pf.status(6, config_queues(1, at(0, 0x100000), wrong)) == -5
    assert contexts(pf, at(1, 0x500000)) == [
        ("configure_tx", 1, 0x300000, 512),
        ("configure_rx", 1, 0x310000, 512),
    ]


def test_a_reset_forgets_the_rings_that_were_said(pf: Rig) -> None:
    resources(pf)
    contexts(pf, at(0, 0x100000), at(1, 0x200000))
    pf.pf.flr(0)
    pf.clock.advance(1000)
    resources(pf)
    assert contexts(pf, at(1, 0x300000)) == [("configure_tx", 1, 0, 0)]


def test_counters_begin_anew_after_a_reset(pf: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later kernels count on."""
    now = [1000] * 12
    monkeypatch.setattr(pf.plane, "stats", lambda vf: tuple(now))
    resources(pf)
    assert pf.ask(15, select(1, 0, 0)) == (0, bytes(96))
    now[0] += 5
    assert pf.ask(15, select(1, 0, 0)) == (0, struct.pack("<12Q", 5, *[0] * 11))
    pf.pf.flr(0)
    pf.clock.advance(1000)
    resources(pf)
    assert pf.ask(15, select(1, 0, 0)) == (0, bytes(96))
