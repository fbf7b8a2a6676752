# SPDX-License-Identifier: BSD-3-Clause
"""Resets of a VF whose PF is Linux's, each in another's waiting time; no judge is needed."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator

import pytest

from iavfio.errors import ConfigError
from iavfio.linuxpf.process import Answer, Frame, Kind, What
from iavfio.softvf._device import lib
from tests.softvf.linux_pf.live_rig import Made, Process
from tests.softvf.pf.pf_rig import EVENT, RESET_IMPENDING, rig

LEAD, RESET = 100, 60  # milliseconds
VERSION = struct.pack("<II", 1, 1)
NOTICE = Frame(Kind.MESSAGE, 0, EVENT, 0, RESET_IMPENDING)
HARDWARE = Frame(Kind.RESET, 0, 0, 0, b"")
DONE = [Frame(Kind.RSTAT, 0, 0, state, b"") for state in (1, 2)]


class Driver(Process):
    """One that resets VF 0 as Linux's do: wholly, before it answers."""

    def request(self, what: What, vf: int = 0, opcode: int = 0, payload: bytes = b"") -> Answer:
        if what is What.RESET:
            return Answer(0, [*([NOTICE] if opcode else []), HARDWARE, *DONE])
        if what is What.RESET_ALL:
            return Answer(0, [NOTICE] if opcode else DONE)
        if what is What.FLR:
            return Answer(0, DONE)
        if what is What.MESSAGE and opcode == lib.VC_OP_RESET_VF:
            return Answer(0, [HARDWARE, *DONE])
        if what is What.MESSAGE:
            return Answer(0, [Frame(Kind.MESSAGE, 0, opcode, 0, payload)])
        return super().request(what, vf, opcode, payload)


@pytest.fixture
def made() -> Iterator[Made]:
    with rig("e810", notice_lead_ms=LEAD, reset_ms=RESET) as spare:
        yield Made(spare, Driver())


def administrator(made: Made) -> None:
    made.pf.control({"command": "reset", "vf": 0})


def at_once(made: Made) -> None:
    made.pf.control({"command": "reset", "vf": 0, "notify": False, "latency_ms": 0})


def card(made: Made) -> None:
    made.pf.control({"command": "pf_reset", "kind": "pfr", "latency_ms": 2 * RESET})


def own(made: Made) -> None:
    made.pf.message(0, lib.VC_OP_RESET_VF, b"")


def flr(made: Made) -> None:
    made.hardware.begin_reset()
    made.pf.flr(0)


def gone(made: Made) -> None:
    made.plane.reset_vf(0)
    made.pf.client_gone(0)
    flr(made)


EACH = (administrator, at_once, card, own, flr, gone)
PAUSES = (0, LEAD / 2, LEAD + RESET / 2)


def serves(made: Made) -> bool:
    """Whether the VF is told VFACTIVE last, and its messages are answered."""
    made.hardware.take()
    made.pf.message(0, lib.VC_OP_VERSION, VERSION)
    vf, told = made.pf.vfs[0], (lib.VC_OP_VERSION, 0, VERSION)
    return made.hardware.rstat[-1] == 2 and vf.ready and made.hardware.take() == [told]


@pytest.mark.parametrize("first", EACH)
@pytest.mark.parametrize("second", EACH)
def test_a_vf_comes_back_from_resets_in_each_others_time(
    made: Made, first: Callable[[Made], None], second: Callable[[Made], None]
) -> None:
    for third, before, after in itertools.product(EACH, PAUSES, PAUSES):
        first(made)
        made.clock.advance(before)
        second(made)
        made.clock.advance(after)
        third(made)
        assert made.clock.waiting <= 2  # one timer of the VF's, one of the card's
        made.clock.advance(LEAD + 2 * RESET)
        assert made.clock.waiting == 0
        assert serves(made), (third, before, after)


def test_only_a_reset_that_was_announced_waits(made: Made) -> None:
    for reset, lead in ((own, 0), (at_once, 0), (administrator, LEAD), (card, LEAD)):
        begun = made.hardware.begun
        reset(made)
        assert made.hardware.begun == begun  # the event in hand is over first
        if lead:
            made.clock.advance(lead - 1)
            assert made.hardware.begun == begun
        made.clock.advance(bool(lead))
        assert made.hardware.begun == begun + 1
        made.clock.advance(1000)


def test_one_reset_does_for_all_that_were_asked_for_before_its_end(made: Made) -> None:
    for _ in range(3):
        administrator(made)
    made.clock.advance(LEAD + RESET / 2)
    for _ in range(3):
        administrator(made)
    made.clock.advance(RESET)
    assert made.hardware.begun == 1 and made.hardware.rstat == [2, 0, 1, 2]
    assert made.clock.waiting == 0
    for _ in range(3):
        card(made)
    made.clock.advance(1000)
    assert made.hardware.begun == 2 and serves(made)


def test_an_flr_in_a_reset_keeps_the_time_that_was_asked_for(made: Made) -> None:
    made.pf.control({"command": "reset", "vf": 0, "latency_ms": 500})
    made.clock.advance(LEAD + 10)
    flr(made)
    made.clock.advance(499)
    assert not made.pf.vfs[0].ready
    made.clock.advance(1)
    assert serves(made)
    flr(made)
    made.clock.advance(RESET)
    assert serves(made)


def test_a_message_in_a_reset_is_lost(made: Made) -> None:
    """The driver's half has been done: what it did for a VF would outlive the card's half."""
    administrator(made)
    made.hardware.take()
    made.pf.message(0, lib.VC_OP_VERSION, VERSION)  # nobody has begun: no fault of the VF's
    made.clock.advance(LEAD)
    assert made.hardware.of_kind("violation") == []
    made.pf.message(0, lib.VC_OP_VERSION, VERSION)
    assert made.hardware.of_kind("violation") == ["VERSION (1) while the VF is in reset"]
    made.clock.advance(RESET)
    assert made.hardware.take() == [] and serves(made)


@pytest.mark.parametrize("kind", [None, "bogus", "flr"])
def test_a_card_has_no_reset_of_another_kind(made: Made, kind: str | None) -> None:
    words = {} if kind is None else {"kind": kind}
    with pytest.raises(ConfigError, match="one of pfr, corer, globr, empr"):
        made.pf.control({"command": "pf_reset", **words})
    made.clock.advance(1000)
    assert made.hardware.begun == 0
    for kind_, times in (("pfr", 10), ("empr", 80)):
        answer = made.pf.control({"command": "pf_reset", "kind": kind_})
        assert answer == {"latency_ms": times * RESET}
