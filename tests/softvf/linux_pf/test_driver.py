# SPDX-License-Identifier: BSD-3-Clause
"""What a PF of Linux's notes of what the data plane cannot do; no judge is needed for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.driver import MOST_MACS
from iavfio.softvf.linux_pf.queues import RxQueue
from iavfio.softvf.log import PER_SECOND, ViolationLog
from iavfio.softvf.vf_config import FlowAction, FlowRule, VfConfig
from tests.softvf.linux_pf.live_rig import Made
from tests.softvf.pf.pf_rig import rig

IMPOSSIBLE = FlowRule(1 << 4, 1 << 2, bytes(64), FlowAction.DROP)  # a template without TCP


LOST = "the PF is gone: it died: why"


@pytest.fixture
def made() -> Iterator[Made]:
    with rig("e810") as spare:
        yield Made(spare)


@pytest.mark.parametrize("spoken", [True, False])
def test_a_driver_that_has_died_is_told_once_and_leaves_its_vfs(
    made: Made, caplog: pytest.LogCaptureFixture, spoken: bool
) -> None:
    """As an unloaded driver does: registers read all ones (docs/spec/reliability.md F35)."""
    made.process.alive = False
    if spoken:
        made.pf.message(0, 1, bytes(8))
    made.pf.ended()
    made.pf.ended()
    assert made.notes == [LOST] and made.hardware.gone
    assert [record.getMessage() for record in caplog.records] == [f"linux-ice: {LOST}"]


def test_no_command_says_that_a_dead_driver_has_done_it(made: Made) -> None:
    trust = {"command": "trust", "vf": 0, "on": True}
    assert made.pf.control(trust) == {}
    made.process.alive = False
    for _ in range(2):  # the first hears it die
        with pytest.raises(ConfigError, match="Linux's PF driver has ended"):
            made.pf.control(trust)
    assert made.pf.control({"command": "snapshot", "vf": 0})["snapshot"]["vf"] == 0


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
