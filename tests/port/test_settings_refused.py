# SPDX-License-Identifier: BSD-3-Clause
"""Requests for settings that the PF refuses, loses or leaves unanswered: what is asked for next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import MailboxError, PfRefused
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.channel import Channel
from tests.port.expected import expected, held, snapshot
from tests.port.rig import healthy, until, works

FEW: dict[str, Any] = {"fields": ["ipv4-tcp", "ipv6-tcp"]}


@dataclass(frozen=True)
class Case:
    """A setting, the request by which it is made so, and whether a start may go without it."""

    settings: dict[str, Any]
    opcode: dict[str, int]  # card -> opcode
    fatal: bool = False

    @property
    def name(self) -> str:
        return "-".join([*self.settings, str(next(iter(self.opcode.values())))])


def both(opcode: int) -> dict[str, int]:
    return {"e810": opcode, "x710": opcode}


CASES = (
    Case({"rss": iavfio.Rss.make(key=bytes(range(52)))}, both(lib.VC_OP_CONFIG_RSS_KEY)),
    Case(
        {"rss": iavfio.Rss.make(key=bytes(range(52))), "queues": 2},
        both(lib.VC_OP_CONFIG_RSS_KEY),
        fatal=True,
    ),
    Case(
        {"rss": iavfio.Rss.make(lut=[1, 0]), "queues": 2},
        both(lib.VC_OP_CONFIG_RSS_LUT),
        fatal=True,
    ),
    Case({"rss": iavfio.Rss.make(symmetric=True)}, {"e810": lib.VC_OP_CONFIG_RSS_HFUNC}),
    Case({"rss": iavfio.Rss.make(**FEW)}, both(lib.VC_OP_SET_RSS_HASHCFG)),
    Case({"rss": iavfio.Rss.make(tunnels=["pppoe"])}, {"e810": lib.VC_OP_ADD_RSS_CFG}),
    Case(
        {"rss": iavfio.Rss.make(tunnels=["pppoe"]), "queues": 2},
        {"e810": lib.VC_OP_ADD_RSS_CFG},
        fatal=True,
    ),
    Case(
        {"metadata": {"vlan"}},
        {"e810": lib.VC_OP_ENABLE_VLAN_STRIPPING_V2, "x710": lib.VC_OP_ENABLE_VLAN_STRIPPING},
    ),
    Case({"promiscuous": True}, both(lib.VC_OP_CONFIG_PROMISCUOUS_MODE), fatal=True),
    Case({"all_multicast": True}, both(lib.VC_OP_CONFIG_PROMISCUOUS_MODE), fatal=True),
    Case({"extra_macs": ["02:00:00:00:03:00"]}, both(lib.VC_OP_ADD_ETH_ADDR), fatal=True),
)
PLAIN: dict[str, Any] = {"rss": iavfio.Rss(), "queues": 1, "metadata": {"rss"}, "extra_macs": []}
PLAIN |= {"promiscuous": False, "all_multicast": False}
TRIED = [(card, case) for case in CASES for card in case.opcode]


def ids(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PF has 0.1 s for an answer, instead of 2 s until it is asked whether it is there."""
    monkeypatch.setattr(Channel, "pace", 0.05)


@pytest.fixture(scope="module")
def cards() -> Iterator[dict[str, SoftPf]]:
    options: dict[str, Any] = {"reset_ms": 1, "trusted": True}
    with (
        iavfio.softvf(personality="e810", options=options) as e810,
        iavfio.softvf(personality="x710", options=options) as x710,
    ):
        yield {"e810": e810, "x710": x710}


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(4096, huge="never")


def asked(port: Port, since: int = 0) -> list[int]:
    """Opcodes of the requests but for the first `since`."""
    return [entry.opcode for entry in port.journal if entry.direction == "out"][since:]


# docs/spec/reliability.md F1
@pytest.mark.parametrize(("card", "case"), TRIED, ids=ids)
def test_a_request_that_got_lost_is_made_by_the_next_start(
    cards: dict[str, SoftPf], pool: Pool, card: str, case: Case
) -> None:
    pf = cards[card]
    with pf.open(0, pool=pool) as port:
        port.configure(**case.settings)
        pf.control("fault", vf=0, kind="lose", opcode=case.opcode[card])
        with pytest.raises(MailboxError):
            port.start()
        assert port.state == "stopped" and healthy(pool)
        since = len(asked(port))
        port.start()
        assert case.opcode[card] in asked(port, since)
        assert held(pf) == expected(port, pf)
        assert port.resets == []


@pytest.mark.parametrize(("card", "case"), TRIED, ids=ids)
def test_what_was_refused_is_asked_for_by_the_next_start(
    cards: dict[str, SoftPf], pool: Pool, card: str, case: Case
) -> None:
    pf = cards[card]
    with pf.open(0, pool=pool) as port:
        port.configure(**case.settings)
        wanted = port.settings
        pf.control("fault", vf=0, kind="retval", opcode=case.opcode[card], value=-5)
        if case.fatal:
            with pytest.raises(PfRefused, match=r"with -5 .*: it was sent .*; possible reasons: "):
                port.start()
            assert port.state == "stopped" and healthy(pool)
        else:
            port.start()
            assert port.state == "running"
            told = [note for note in port.notes if "with -5 (" in note]
            assert told and all(
                re.search("possible reasons: |all that the PF tells", n) for n in told
            )
            port.stop()
        assert port.settings == wanted
        since = len(asked(port))
        port.start()
        assert case.opcode[card] in asked(port, since)
        assert held(pf) == expected(port, pf)


# docs/spec/reliability.md F26
@pytest.mark.parametrize(("card", "case"), TRIED, ids=ids)
def test_after_a_reset_a_refusal_is_a_note_and_traffic_goes_on(
    cards: dict[str, SoftPf], pool: Pool, card: str, case: Case
) -> None:
    pf = cards[card]
    with pf.open(0, pool=pool) as port:
        port.configure(**case.settings)
        port.start()
        wanted = port.settings
        assert port.notes == []
        pf.control("fault", vf=0, kind="retval", opcode=case.opcode[card], value=-5)
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and port.state == "running"), port.notes
        assert port.resets[0].attempts == 1
        assert len(port.notes) == 1 and "-5" in port.notes[0]
        assert port.settings == wanted
        port.wait_link(10)
        works(port)
        port.reset()
        assert held(pf) == expected(port, pf)
        assert port.notes == []


@pytest.mark.parametrize(("card", "case"), TRIED, ids=ids)
def test_the_note_of_a_refusal_ends_with_the_wish(
    cards: dict[str, SoftPf], pool: Pool, card: str, case: Case
) -> None:
    pf = cards[card]
    with pf.open(0, pool=pool) as port:
        port.configure(**case.settings)
        port.start()
        pf.control("fault", vf=0, kind="retval", opcode=case.opcode[card], value=-5)
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and port.state == "running"), port.notes
        (note,) = port.notes
        ended = []
        port.on_event.append(
            lambda event: ended.append(event.text) if event.kind == "over" else None
        )
        port.stop()
        assert port.notes == [note]
        port.configure(**PLAIN)
        port.start()
        assert port.notes == [] and ended == [note]


def test_an_address_that_the_pf_keeps_is_told_until_it_forgets(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    mac = "02:00:00:00:03:01"
    for pf in cards.values():
        with pf.open(0, pool=pool) as port:
            port.configure(extra_macs=[mac])
            port.start()
            pf.control("fault", vf=0, kind="retval", opcode=lib.VC_OP_DEL_ETH_ADDR, value=-5)
            port.set_extra_macs(())
            (note,) = port.notes
            assert note.startswith(f"addresses could not be withdrawn: {mac}: ")
            port.set_extra_macs(["02:00:00:00:03:02"])
            assert port.notes == [note]
            port.reset()
            assert port.notes == []


def test_hash_fields_that_a_refusal_may_have_cost_are_asked_for_again(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    """i40e has none after a refusal, also not those of before (docs/spec/virtchnl.md 9)."""
    pf = cards["x710"]
    before, other = iavfio.Rss.make(**FEW), iavfio.Rss.make(fields=["ipv4-udp"])
    with pf.open(0, pool=pool) as port:
        port.configure(rss=before)
        port.start()
        port.stop()
        port.configure(rss=other)
        pf.control("fault", vf=0, kind="retval", opcode=lib.VC_OP_SET_RSS_HASHCFG, value=-5)
        port.start()
        port.stop()
        port.configure(rss=before)
        port.start()
        assert held(pf) == expected(port, pf)


def test_promiscuous_mode_leaves_the_wish_for_multicast_as_it_was(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    for pf in cards.values():
        with pf.open(0, pool=pool) as port:
            port.configure(all_multicast=True)
            port.start()
            port.set_promiscuous(True)
            assert snapshot(pf)["promisc"] == {"unicast": True, "multicast": True}
            port.set_promiscuous(False)
            assert port.settings.all_multicast
            assert snapshot(pf)["promisc"] == {"unicast": False, "multicast": True}
            port.set_promiscuous(False, all_multicast=False)
            assert snapshot(pf)["promisc"] == {"unicast": False, "multicast": False}


def test_a_mode_that_was_refused_while_running_does_not_come_with_the_next_reset(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    for pf in cards.values():
        with pf.open(0, pool=pool) as port:
            port.start()
            before = port.settings
            opcode = lib.VC_OP_CONFIG_PROMISCUOUS_MODE
            pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5)
            with pytest.raises(PfRefused):
                port.set_promiscuous(True, all_multicast=True)
            assert port.settings == before
            port.reset()
            assert snapshot(pf)["promisc"] == {"unicast": False, "multicast": False}


def test_the_old_own_address_goes_when_the_pf_has_taken_the_new_one(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    """A PF that refuses the new address would leave the VF without any."""
    for pf in cards.values():
        with pf.open(0, pool=pool) as port:
            port.configure(mac="02:00:00:00:01:00")
            port.start()
            port.stop()
            port.configure(mac="02:00:00:00:01:01")
            since = len(asked(port))
            port.start()
            changes = [
                opcode
                for opcode in asked(port, since)
                if opcode in (lib.VC_OP_ADD_ETH_ADDR, lib.VC_OP_DEL_ETH_ADDR)
            ]
            assert changes[0] == lib.VC_OP_ADD_ETH_ADDR
            (added,) = [
                entry.payload
                for entry in list(port.journal)
                if entry.direction == "out"
                and entry.opcode == lib.VC_OP_ADD_ETH_ADDR
                and bytes.fromhex("020000000101") in entry.payload
            ]
            assert added[4:11] == bytes.fromhex("02000000010101")  # the last byte: the VF's own
            assert snapshot(pf)["macs"] == ["02:00:00:00:01:01"]


def test_addresses_that_the_pf_took_without_an_answer_are_withdrawn(
    cards: dict[str, SoftPf], pool: Pool
) -> None:
    """The PF has carried the request out: what is not wanted any more must go all the same."""
    for pf in cards.values():
        with pf.open(0, pool=pool) as port:
            port.configure(extra_macs=["02:00:00:00:02:00", "02:00:00:00:02:01"])
            pf.control("fault", vf=0, kind="drop", opcode=lib.VC_OP_ADD_ETH_ADDR, count=2)
            with pytest.raises(MailboxError):
                port.start()
            pf.control("fault", vf=0, kind="clear")
            port.configure(extra_macs=["02:00:00:00:02:02"])
            port.start()
            assert held(pf) == expected(port, pf)


def test_an_address_that_the_host_sets_is_taken_over_and_nothing_is_asked_for(
    pool: Pool,
) -> None:
    """What the PF tells after a reset is in force already; the old one would be refused."""
    for card in ("e810", "x710"):
        options: dict[str, Any] = {"reset_ms": 1}
        with iavfio.softvf(personality=card, options=options) as pf, pf.open(0, pool=pool) as port:
            port.start()
            since = len(asked(port))
            pf.control("mac", vf=0, mac="02:00:00:00:00:99")
            assert until(lambda p=port: len(p.resets) == 1 and p.state == "running")  # type: ignore[misc]
            assert port.mac.hex(":") == "02:00:00:00:00:99"
            assert lib.VC_OP_ADD_ETH_ADDR not in asked(port, since)
            assert port.notes == ["the PF changed the MAC address to 02:00:00:00:00:99"]
