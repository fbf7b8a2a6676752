# SPDX-License-Identifier: BSD-3-Clause
"""What unlocks each message, how long it is waited for, and what is asked of a PF, spelled out.

A row that has lost its gate sends what the PF did not grant, and every test of the row itself still
passes: the values stand here once more, from docs/spec/virtchnl.md 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from iavfio._driver import lib
from iavfio.errors import MailboxTimeout
from iavfio.virtchnl.capabilities import (
    CAPABILITIES,
    ESSENTIAL,
    WANTED,
    CapabilityReport,
    cap_names,
)
from iavfio.virtchnl.client import VirtchnlClient
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.queues import DISABLE_QUEUES, ENABLE_QUEUES
from iavfio.virtchnl.messages.registry import MESSAGES
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.virtchnl.fake_mailbox import (
    VERSION_1_1,
    Bench,
    Reply,
    link_event,
    polite,
    resources,
    stats_of,
)

# Name -> bit of the capability word, None where none is needed.
GATES: dict[str, int | None] = {
    "VERSION": None,
    "RESET_VF": None,
    "GET_VF_RESOURCES": None,
    "CONFIG_VSI_QUEUES": None,
    "CONFIG_IRQ_MAP": None,
    "ENABLE_QUEUES": None,
    "DISABLE_QUEUES": None,
    "GET_STATS": None,
    "EVENT": None,
    "ADD_ETH_ADDR": 0,
    "DEL_ETH_ADDR": 0,
    "CONFIG_PROMISCUOUS_MODE": 0,
    "REQUEST_QUEUES": 6,
    "ADD_VLAN": 16,
    "DEL_VLAN": 16,
    "ENABLE_VLAN_STRIPPING": 16,
    "DISABLE_VLAN_STRIPPING": 16,
    "GET_OFFLOAD_VLAN_V2_CAPS": 15,
    "ADD_VLAN_V2": 15,
    "DEL_VLAN_V2": 15,
    "ENABLE_VLAN_STRIPPING_V2": 15,
    "DISABLE_VLAN_STRIPPING_V2": 15,
    "ENABLE_VLAN_INSERTION_V2": 15,
    "DISABLE_VLAN_INSERTION_V2": 15,
    "CONFIG_RSS_KEY": 19,
    "CONFIG_RSS_LUT": 19,
    "CONFIG_RSS_HFUNC": 19,
    "GET_RSS_HASHCFG_CAPS": 19,
    "SET_RSS_HASHCFG": 19,
    "ADD_RSS_CFG": 27,
    "DEL_RSS_CFG": 27,
    "GET_SUPPORTED_RXDIDS": 26,
}
ROWS = {row.name: row for row in MESSAGES.values()}
FREE = ("VERSION", "RESET_VF", "GET_VF_RESOURCES", "EVENT")  # of the negotiation, or the PF's own
SHORT = ("GET_STATS", "DISABLE_QUEUES")  # seconds that others wait for


def test_every_message_has_the_gate_of_the_specification() -> None:
    found = {name: row.gate.bit_length() - 1 if row.gate else None for name, row in ROWS.items()}
    assert found == GATES


def test_only_the_negotiation_goes_before_it() -> None:
    assert {name for name, row in ROWS.items() if row.negotiates} == set(FREE)


def test_what_others_wait_for_is_waited_for_shortly() -> None:
    assert {name for name, row in ROWS.items() if row.deadline == 2.0} == set(SHORT)
    assert {row.deadline for name, row in ROWS.items() if name not in SHORT} == {10.0}


def test_what_is_asked_of_a_pf() -> None:
    """USO among it: i40e takes the default address from a VF that does not ask for that."""
    bits = {cap.name: cap.bit.bit_length() - 1 for cap in CAPABILITIES}
    assert {name for name in bits if WANTED >> bits[name] & 1} == {
        *("L2", "WB_ON_ITR", "REQ_QUEUES", "ADV_LINK_SPEED", "VLAN_V2", "VLAN"),
        *("RSS_PF", "RX_FLEX_DESC", "ADV_RSS_PF", "USO"),
    }
    assert sum(1 << bit for bit in (0, 5, 6, 7, 15, 16, 19, 25, 26, 27)) == WANTED
    assert ESSENTIAL == 1 << 0 | 1 << 16


def test_a_report_tells_asked_granted_and_denied_apart() -> None:
    report = CapabilityReport(1 << 0 | 1 << 19, 1 << 0 | 1 << 7)
    assert [cap.name for cap in report.granted_list] == ["L2", "ADV_LINK_SPEED"]
    assert [cap.name for cap in report.denied] == ["RSS_PF"]
    assert [cap.name for cap in report.unasked] == ["ADV_LINK_SPEED"]
    assert [cap.name for cap in report.asked_list] == ["L2", "RSS_PF"]
    lines = str(report).splitlines()
    assert lines[1].split()[:2] == ["granted", "L2"] and "asked" not in lines[1]
    assert "ADV_LINK_SPEED" in lines[2] and lines[2].endswith("(not asked for)")
    assert lines[3].split()[:2] == ["denied", "RSS_PF"]
    assert (report.has(lib.VC_CAP_L2), report.has(lib.VC_CAP_RSS_PF)) == (True, False)
    assert cap_names(1 << 0 | 1 << 19) == "L2 RSS_PF"


# ---- link speed in its two units


SPEEDS: dict[int, int] = {  # bit -> Mb/s, where ADV_LINK_SPEED was not granted
    1 << 0: 2500,
    1 << 1: 100,
    1 << 2: 1000,
    1 << 3: 10_000,
    1 << 4: 40_000,
    1 << 5: 20_000,
    1 << 6: 25_000,
    1 << 7: 5000,
}


@pytest.mark.parametrize(("word", "mbps"), SPEEDS.items())
def test_without_adv_link_speed_a_speed_is_a_bit(word: int, mbps: int) -> None:
    assert decode_event(link_event(word), False).speed == mbps
    assert decode_event(link_event(word), True).speed == word


@pytest.mark.parametrize(
    ("word", "advanced", "mbps"),
    [
        (25_000, False, None),  # no bit at all
        (3, False, None),  # two bits are no speed
        (0, False, None),
        (0, True, None),
        (200_000, True, 200_000),
        (1_000_001, True, None),
        (0xFFFFFFFF, True, None),
    ],
)
def test_a_word_that_is_no_speed_leaves_it_unknown(
    word: int, advanced: bool, mbps: int | None
) -> None:
    event = decode_event(link_event(word), advanced)
    assert (event.link_up, event.speed) == (True, mbps)


@pytest.mark.parametrize(("caps", "mbps"), [(0x060980E1, 40), (0x06098061, 20_000)])
def test_the_unit_of_a_speed_is_what_the_pf_has_granted(caps: int, mbps: int) -> None:
    """Bit 7 of the grant: a word of 32 is 32 Mb/s with it, and 20 Gb/s without."""
    bench = Bench().negotiated(caps)
    word = 40 if caps >> 7 & 1 else 1 << 5
    bench.pf.send(Reply(17, payload=link_event(word)))
    bench.client.service()
    assert [event.speed for event in bench.events] == [mbps]


def test_a_later_negotiation_changes_the_unit_of_speeds() -> None:
    """After a reset the PF may grant less: what comes then is read in the other unit."""
    bench = Bench().negotiated(0x060980E1)
    bench.pf.reset()
    bench.client.restart()
    bench.negotiated(0x06098061)
    bench.pf.send(Reply(17, payload=link_event(1 << 6)))
    bench.client.service()
    assert [event.speed for event in bench.events] == [25_000]


# ---- one deadline


@dataclass
class Slow:
    """A PF that answers `opcode` after so many seconds, and everything else at once."""

    opcode: int
    seconds: float

    def __call__(self, opcode: int, payload: bytes) -> list[Reply]:
        if opcode == self.opcode:
            return [Reply(opcode, payload=stats_of(1), delay=self.seconds)]
        return polite()(opcode, payload) or []


def test_no_request_outlasts_the_operation_that_it_is_part_of() -> None:
    bench = Bench().negotiated()
    client = bench.client
    bench.pf.handler = lambda opcode, payload: []
    client.deadline = client.deadline.part(0.5)
    began = bench.clock.now
    with pytest.raises(MailboxTimeout):
        client.ask(ENABLE_QUEUES(1, 1))
    with pytest.raises(MailboxTimeout):
        client.ask(GET_STATS())
    assert bench.clock.now - began <= 0.52
    sent = len(bench.pf.requests)
    with pytest.raises(MailboxTimeout, match="no time is left"):
        client.ask(DISABLE_QUEUES(1, 1))
    assert len(bench.pf.requests) == sent


def test_a_barrier_leaves_half_of_the_time_to_the_request() -> None:
    """A PF that answers the barrier just in time must have time for what is asked then."""
    bench = Bench().negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.5)
    began = bench.clock.now
    with pytest.raises(MailboxTimeout, match="not even VERSION"):
        bench.client.ask(GET_STATS(), deadline=1.0)
    assert 0.5 <= bench.clock.now - began <= 0.51


def test_a_request_that_waits_gives_way_only_when_the_pf_is_late() -> None:
    """What a slow PF is about to answer is worth a wait; what a fast one does not answer is not."""
    bench = Bench().negotiated()
    bench.client.give_way = lambda: True
    bench.pf.handler = lambda opcode, payload: []
    began = bench.clock.now
    with pytest.raises(MailboxTimeout, match="given up for another request"):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - began < 0.1
    slow = Bench().negotiated()
    slow.pf.handler = Slow(GET_STATS.number, 0.5)
    slow.client.ask(GET_STATS())  # the PF is known to be slow
    slow.client.give_way = lambda: True
    assert slow.client.ask(GET_STATS()).rx_bytes == 1
    assert slow.client.counters.timeouts == 0


def test_patience_follows_what_the_pf_took_and_forgets_it_slowly() -> None:
    bench = Bench().negotiated()
    assert bench.client.patience < 0.01
    bench.pf.handler = Slow(GET_STATS.number, 1.0)
    bench.client.ask(GET_STATS())
    assert 2.0 <= bench.client.patience <= 2.1
    bench.pf.handler = Slow(GET_STATS.number, 0.0)
    patience = [bench.client.patience]
    for _ in range(20):
        bench.client.ask(GET_STATS())
        patience.append(bench.client.patience)
    assert patience == sorted(patience, reverse=True)
    assert 1.4 < patience[1] < 1.6 and patience[-1] < 0.02


def test_a_pf_of_version_1_0_is_not_asked_in_the_words_of_1_1() -> None:
    def old(opcode: int, payload: bytes) -> list[Reply]:
        if opcode == 1:
            return [Reply(1, payload=(1).to_bytes(4, "little") + bytes(4))]
        return [Reply(3, payload=resources())]

    bench = Bench(old)
    bench.client.version()
    bench.client.resources()
    assert bench.pf.requests == [(1, VERSION_1_1), (3, b"")]


def test_a_journal_reads_speeds_as_negotiated() -> None:
    assert isinstance(Bench().client, VirtchnlClient)
    for granted, text in ((True, "32 Mb/s"), (False, "20000 Mb/s")):
        journal = Journal()
        journal.adv_link_speed = granted
        journal.received(17, 0, link_event(32))
        (entry,) = list(journal)
        assert text in entry.text
