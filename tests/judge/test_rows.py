# SPDX-License-Identifier: BSD-3-Clause
"""Rows of differences explain what they name and nothing beside it; no judge is needed.

Each exchange is one in which a software PF would be wrong in the place where a row excuses it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.queues import TxQueue
from iavfio.softvf.vf_config import HashRule
from tests.judge import i40e_differences, i40e_scenarios, ice_differences
from tests.judge.i40e_pair import Exchange as I40eExchange
from tests.judge.i40e_pair import Step as I40eStep
from tests.judge.ice_differences import Exchange as IceExchange
from tests.judge.ice_messages import RESOURCES, V, add, tags, unicast
from tests.judge.ice_pair import Host, Say, Step
from tests.judge.ice_rule_scenarios import IPV4, TCP, function
from tests.judge.ice_rule_scenarios import add as add_rule
from tests.softvf.pf.pf_rig import irq_map, promisc, select

Replies = list[tuple[int, int, bytes]]
OK, LOST = 0, -53


def _ice(
    step: Step,
    real: Replies,
    soft: Replies,
    effects: Mapping[str, tuple[Any, Any]] | None = None,
    before: tuple[Step, ...] = (),
    kernel: str = "6.12",
) -> IceExchange:
    said = [(each, [(each.opcode, OK, b"")] if isinstance(each, Say) else []) for each in before]
    return IceExchange(kernel, said, step, real, soft, dict(effects or {}))


def _mapped(rx_itr: int, queues: int = 3) -> Say:
    return Say(7, irq_map((V, 1, queues, queues, rx_itr, rx_itr)))


def _promiscuity(flags: int) -> Say:
    return Say(14, promisc(V, flags))


IPV4_RULE, ARP_RULE = HashRule(4, 3, False), HashRule(1, 1 << 15, False)
TCP_CLASS = HashRule(
    lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_TCP,
    lib.SOFTVF_OF_IP_SRC | lib.SOFTVF_OF_IP_DST | lib.SOFTVF_OF_SRC_PORT | lib.SOFTVF_OF_DST_PORT,
    False,
)
TCP_BIT, UDP_BIT = 33, 31


def _classes(
    real: tuple[HashRule, ...],
    soft: tuple[HashRule, ...],
    early: frozenset[int] = frozenset({TCP_BIT}),
    step: Step | None = None,
) -> IceExchange:
    """ice has these rules, and `early` of the classes among them; the software PF has those."""
    step = step or function(0)
    said = [(step.opcode, OK, b"")] if isinstance(step, Say) else []
    both = frozenset({TCP_BIT, UDP_BIT})
    return _ice(step, said, said, {"rules": (real, soft), "classes": (both - early, both)})


RULE = add_rule((IPV4, 3), (TCP, 3))
WRONG_ON_ICE: Mapping[str, IceExchange] = {
    "one address is refused as if the switch were full": _ice(
        add(unicast(1)), [(10, OK, b"")], [(10, LOST, b"")]
    ),
    "addresses of a full switch are lost": _ice(
        add(*map(unicast, range(70))),
        [(10, OK, b"")],
        [(10, LOST, b"")],
        {"macs": (frozenset({b"a"}), frozenset({b"b"}))},
    ),
    "a queue that was never configured is refused": _ice(
        Say(8, select(V, 1, 1)), [(8, OK, b"")], [(8, -5, b"")], {"rx": ({0: 1}, {})}
    ),
    "no answer to a filter of the flow director": _ice(
        Say(47, bytes(2616)), [(47, OK, bytes(2616))], []
    ),
    "a filter of the flow director loses addresses": _ice(
        Say(47, bytes(2616)),
        [(47, -64, b"")],
        [(47, -64, b"")],
        {"macs": (frozenset({b"a"}), frozenset())},
    ),
    "an ITR that no map gave": _ice(
        _mapped(1),
        [(7, OK, b"")],
        [(7, OK, b"")],
        {"rx_causes": ({0: (1, 1)}, {0: (1, 0)})},
        (RESOURCES,),
    ),
    "an ITR of a queue that the last map names": _ice(
        _mapped(2),
        [(7, OK, b"")],
        [(7, OK, b"")],
        {"rx_causes": ({0: (1, 2)}, {0: (1, 1)})},
        (RESOURCES, _mapped(1)),
    ),
    "promiscuity that is switched on and is not": _ice(
        _promiscuity(3),
        [(14, OK, b"")],
        [(14, OK, b"")],
        {"unicast": (True, False)},
        (RESOURCES, tags((5, 0x8100))),
    ),
    "a rule that the change of the function loses": _classes((IPV4_RULE, ARP_RULE), (ARP_RULE,)),
    "rules in another order": _classes((TCP_CLASS, IPV4_RULE, ARP_RULE), (ARP_RULE, IPV4_RULE)),
    "a rule of no class before the rules": _classes((ARP_RULE, IPV4_RULE), (IPV4_RULE,)),
    "a class behind all rules": _classes((IPV4_RULE, TCP_CLASS), (IPV4_RULE,)),
    "a class that is lost beside the early one": _classes(
        (TCP_CLASS, IPV4_RULE), (IPV4_RULE,), frozenset({TCP_BIT, UDP_BIT})
    ),
    "an early class that stays in its place as well": _classes(
        (TCP_CLASS, IPV4_RULE), (IPV4_RULE,), frozenset()
    ),
    "a rule that comes behind a class": _classes(
        (TCP_CLASS, IPV4_RULE), (IPV4_RULE,), step=add_rule((IPV4, 3))
    ),
    "a rule is refused": _ice(
        RULE, [(45, OK, b"")], [(45, -5, b"")], {"symmetric": (True, False)}, kernel=NEWEST
    ),
    "a rule loses addresses": _ice(
        RULE,
        [(45, OK, b"")],
        [(45, OK, b"")],
        {"symmetric": (True, False), "macs": (frozenset({b"a"}), frozenset())},
        kernel=NEWEST,
    ),
}


@pytest.mark.parametrize("name", WRONG_ON_ICE)
def test_no_row_of_ice_excuses(name: str) -> None:
    assert ice_differences.explain(WRONG_ON_ICE[name]) is None


def test_what_rows_of_ice_are_for() -> None:
    """The same places with the difference that the rows name."""
    full = _ice(
        add(*map(unicast, range(70))),
        [(10, OK, b"")],
        [(10, LOST, b"")],
        {"macs": (frozenset({b"a", b"b"}), frozenset({b"b"}))},
    )
    left_out = _ice(
        _mapped(2, queues=2),
        [(7, OK, b"")],
        [(7, OK, b"")],
        {"rx_causes": ({0: (1, 1), 1: (1, 2)}, {0: (1, 2), 1: (1, 2)})},
        (RESOURCES, _mapped(1)),
    )
    stays = _ice(
        _promiscuity(2),
        [(14, OK, b"")],
        [(14, OK, b"")],
        {"unicast": (True, False)},
        (RESOURCES, _promiscuity(3), tags((5, 0x8100))),
    )
    early = [
        _classes((TCP_CLASS, IPV4_RULE, ARP_RULE), (IPV4_RULE, ARP_RULE)),
        _classes((IPV4_RULE, TCP_CLASS, ARP_RULE), (IPV4_RULE, ARP_RULE), step=Host("flr")),
    ]
    rows = [ice_differences.explain(each) for each in (full, left_out, stays, *early)]
    names = ["a full switch", "an ITR of its own", "promiscuity of a VLAN"]
    names += ["classes before rules"] * len(early)
    assert [row.name if row else None for row in rows] == names


def _i40e(
    step: I40eStep,
    real: Replies,
    soft: Replies,
    unlike: Mapping[str, tuple[Any, Any]] | None = None,
    programmed: Mapping[str, tuple[Any, Any]] | None = None,
    before: tuple[I40eStep, ...] = (),
    refused: frozenset[int] = frozenset(),
) -> I40eExchange:
    none: frozenset[int] = frozenset()
    said = (step, real, soft)
    return I40eExchange(
        "6.12", True, before, refused, none, *said, dict(unlike or {}), dict(programmed or {})
    )


_MAPS = (
    i40e_scenarios.mapped((i40e_scenarios.V, 1, 1, 1, 0, 0)),
    i40e_scenarios.mapped((i40e_scenarios.V, 2, 1, 1, 0, 0)),
)


def _channels(lost: Mapping[str, tuple[Any, Any]]) -> I40eExchange:
    """Channels are made on i40e; what the PFs hold then is unlike in this as well."""
    made, refused = [(17, OK, struct.pack("<I", 2))], [(30, -22, b"")]
    return _i40e(i40e_scenarios.channels(2, 2), made, refused, {"pairs": (16, 4), **lost})


WRONG_ON_I40E: Mapping[str, I40eExchange] = {
    "promiscuity that is switched on and is not": _i40e(
        i40e_scenarios.modes(3),
        [(14, OK, b"")],
        [(14, OK, b"")],
        programmed={"unicast": (True, False)},
        before=(i40e_scenarios.resources(), i40e_scenarios.add_vlan(5)),
    ),
    "a map that is passed over": _i40e(
        i40e_scenarios.mapped((i40e_scenarios.V, 3, 14, 14, 1, 2)),
        [(7, OK, b"")],
        [(7, OK, b"")],
        programmed={"rx_causes": ({1: (3, 1)}, {})},
        before=_MAPS,
    ),
    "queues of a list that nothing cut": _i40e(
        i40e_scenarios.mapped((i40e_scenarios.V, 3, 14, 14, 1, 2)),
        [(7, OK, b"")],
        [(7, OK, b"")],
        programmed={"rx_causes": ({}, {1: (3, 1)})},
        before=_MAPS,
    ),
    "channels that keep an address": _channels({"macs": (frozenset({b"a"}), frozenset())}),
    "channels that keep two addresses": _channels(
        {"macs": (frozenset({b"a", b"b"}), frozenset({b"a", b"b", b"c"}))}
    ),
    "channels that bring an address": _channels({"macs": (frozenset({b"a"}), frozenset({b"b"}))}),
    "channels that leave a queue running": _channels({"rx_enabled": (1, 1)}),
    "channels that leave promiscuity": _channels({"unicast": (True, False)}),
    "channels that are refused with another status": _i40e(
        i40e_scenarios.channels(2, 2),
        [(17, OK, struct.pack("<I", 2))],
        [(30, -1, b"")],
        {"pairs": (16, 4)},
    ),
    "queues that stood before the refused one": _i40e(
        i40e_scenarios.enable(1, 1),
        [(8, OK, b"")],
        [(8, OK, b"")],
        programmed={"tx": ({0: TxQueue(0x10000, 512)}, {})},
        before=(i40e_scenarios.configure(0, 4),),
        refused=frozenset({0}),
    ),
    "the queues of a next VF that configured no more than it has": replace(
        _i40e(i40e_scenarios.FLR, [], [], before=(i40e_scenarios.ALL4,)),
        others={1: ({"rx_enabled": (14, 15)}, {})},
    ),
    "the addresses of a next VF": replace(
        _i40e(i40e_scenarios.FLR, [], [], before=(i40e_scenarios.configure(0, 1, 2, 3, 0),)),
        others={1: ({"macs": (frozenset(), frozenset({b"a"}))}, {})},
    ),
    "another VSI is refused that i40e takes": _i40e(
        i40e_scenarios.add("02:00:00:00:00:01", vsi=11), [(10, OK, b"")], [(10, -22, b"")]
    ),
}


@pytest.mark.parametrize("name", WRONG_ON_I40E)
def test_no_row_of_i40e_excuses(name: str) -> None:
    assert i40e_differences.explain(WRONG_ON_I40E[name]) is None


def test_what_rows_of_i40e_are_for() -> None:
    cut = _i40e(
        i40e_scenarios.mapped((i40e_scenarios.V, 2, 1, 0, 0, 0)),
        [(7, OK, b"")],
        [(7, OK, b"")],
        programmed={"rx_causes": ({0: (2, 0)}, {0: (2, 0), 1: (1, 0)})},
        before=(i40e_scenarios.mapped((i40e_scenarios.V, 1, 3, 3, 0, 0)),),
    )
    own = _channels({"macs": (frozenset({b"a"}), frozenset({b"a", b"b"}))})
    others = replace(_channels({"rx_enabled": (4, 0x71)}), before=(i40e_scenarios.enable(0x71, 0),))
    rows = [i40e_differences.explain(each) for each in (cut, own, others)]
    names = ["a list that is cut", "channels", "channels"]
    assert [row.name if row else None for row in rows] == names
