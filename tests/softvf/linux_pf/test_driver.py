# SPDX-License-Identifier: BSD-3-Clause
"""What a PF of Linux's notes of what the data plane cannot do; no judge is needed for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import pytest

from iavfio.linuxpf.process import Answer, JudgeProcess, What
from iavfio.softvf._device import lib
from iavfio.softvf.dataplane import FlowAction, FlowRule, VfConfig
from iavfio.softvf.linux_pf.card import Request, Service
from iavfio.softvf.linux_pf.driver import MOST_MACS, LinuxPf
from iavfio.softvf.linux_pf.queues import RxQueue
from iavfio.softvf.log import PER_SECOND, ViolationLog
from tests.softvf.pf.pf_rig import Clock, Hardware, Rig, rig

QUIET = Service(
    pairs=1,
    link_up=True,
    spoof_check=True,
    disabled=False,
    version=(1, 1),
    mac=bytes(6),
    rx={},
    tx={},
    vectors=(),
    traffic=VfConfig(),
)
IMPOSSIBLE = FlowRule(1 << 4, 1 << 2, bytes(64), FlowAction.DROP)  # a template without TCP


class Process:
    """A PF's driver that never does anything."""

    start = Answer()

    def request(self, what: What, vf: int = 0, opcode: int = 0, payload: bytes = b"") -> Answer:
        return Answer()


class Card:
    """One that serves as it is told to."""

    limits_rate = False
    link_speeds: Mapping[int, int] = MappingProxyType({})

    def __init__(self) -> None:
        self.now = QUIET

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        return set()

    def flow_name(self, flow: FlowRule) -> str:
        return f"to queue {flow.queue}"

    def service(self, vf: int, request: Request) -> Service | None:
        return self.now


class Made:
    """A PF, its card, and VF 0."""

    def __init__(self, spare: Rig) -> None:
        self.plane, self.card = spare.plane, Card()
        self.hardware = Hardware(0, self.plane)
        process = cast("JudgeProcess", Process())
        self.pf = LinuxPf(
            spare.personality, [self.hardware], self.plane, Clock(), process, self.card, "linux-ice"
        )

    def serve(self, **changes: object) -> VfConfig:
        """The card serves so from now on; what the data plane does then."""
        self.card.now = replace(self.card.now, **changes)  # type: ignore[arg-type]
        self.pf.ask(What.MESSAGE)
        return self.plane.config[0]

    @property
    def notes(self) -> list[str]:
        return self.hardware.of_kind("note")


@pytest.fixture
def made() -> Iterator[Made]:
    with rig("e810") as spare:
        yield Made(spare)


def test_what_is_left_out_is_said_once_while_it_is_so(made: Made) -> None:
    for left_out in (("a",), ("a",), ("a", "b"), ("b",), (), ("a",)):
        made.serve(left_out=left_out)
    assert made.notes == ["a", "b", "a"]


def test_a_flow_that_the_data_plane_does_not_take_costs_no_other_one(made: Made) -> None:
    possible = replace(IMPOSSIBLE, headers=0, fields=0x8000)
    other = replace(possible, queue=possible.queue + 1)
    told = f"the data plane does not take the flow to queue {IMPOSSIBLE.queue}: Invalid argument"
    wanted = VfConfig(promisc_multicast=True)
    for flows, taken in (
        ((IMPOSSIBLE,), ()),
        ((possible, IMPOSSIBLE), (possible,)),
        ((possible, IMPOSSIBLE, other), (possible, other)),
        ((IMPOSSIBLE, other), (other,)),
    ):
        for _ in range(2):
            done = made.serve(traffic=replace(wanted, flows=flows))
            assert done.flows == taken and done.promisc_multicast
            assert made.notes == [told]
    assert made.serve(traffic=replace(wanted, flows=(other,))).flows == (other,)
    assert made.notes == [told]
    assert made.serve(traffic=replace(wanted, flows=(IMPOSSIBLE,))).flows == ()
    assert made.notes == [told] * 2  # anew


def test_flows_beyond_the_room_for_them_are_left_out(made: Made) -> None:
    many = tuple(
        replace(IMPOSSIBLE, headers=0, fields=0x8000, frame=bytes(12) + n.to_bytes(2, "big") * 30)
        for n in range(0x800, 0x800 + lib.SOFTVF_FLOWS + 2)
    )
    assert made.serve(traffic=VfConfig(flows=many)).flows == many[:-2]
    assert len(made.notes) == 2 and all("No space" in note for note in made.notes)
    fewer = many[2:]
    assert made.serve(traffic=VfConfig(flows=fewer)).flows == fewer


def test_addresses_beyond_the_room_for_them_are_left_out_and_told(made: Made) -> None:
    many = tuple(bytes((2, 0, 0, 0, 0, number)) for number in range(MOST_MACS + 2))
    for count, notes in ((1, 1), (1, 1), (2, 2), (1, 2), (0, 2), (1, 3)):
        wanted = many[: MOST_MACS + count]
        assert made.serve(traffic=VfConfig(macs=wanted)).macs == wanted[:MOST_MACS]
        assert len(made.notes) == notes, count
    assert made.notes[-1].startswith(f"{MOST_MACS + 1} addresses: ")


MACS = tuple(bytes((2, 0, 0, 0, 0, number)) for number in range(MOST_MACS + 1))
UNCONFIGURED = RxQueue(ring=0, entries=0, buffer_size=2048, max_frame=1522, rxdid=1, keep_crc=False)
STORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what a VF does in turns
    "what is left out": ({"left_out": ("a",)}, {"left_out": ()}),
    "flow": ({"traffic": VfConfig(flows=(IMPOSSIBLE,))}, {"traffic": VfConfig()}),
    "addresses": ({"traffic": VfConfig(macs=MACS)}, {"traffic": VfConfig()}),
    "queue": ({"rx": {0: UNCONFIGURED}}, {"rx": {}}),
    "ring": ({"rx": {0: replace(UNCONFIGURED, entries=64, buffer_size=0)}}, {"rx": {}}),
}


# docs/spec/reliability.md P4, D6
@pytest.mark.parametrize("name", STORMS)
def test_a_vf_that_asks_in_turns_does_not_fill_the_log(
    made: Made, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what cannot be played, and for it no more."""
    log, times = ViolationLog(clock=lambda: 0.0), PER_SECOND + 20
    monkeypatch.setattr(
        made.hardware,
        "violation",
        lambda rule, text, kind="violation": log.add(0, kind, rule, text),
    )
    for _ in range(times):
        for changes in STORMS[name]:
            made.serve(**changes)
    assert list(log.counts.values()) == [times]
    assert len(list(log.entries())) == PER_SECOND
