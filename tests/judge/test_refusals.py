# SPDX-License-Identifier: BSD-3-Clause
"""Firmware that refuses: each command that a message needs fails once.

ice's refuses with each of four codes, i40e's with one. The PF must go on: after an FLR the whole
conversation succeeds. What the VF is told is a table (docs/spec/pf-dialects.md 8), as are the
refusals that Linux's ice does not survive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.process import JudgeProcess
from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.refusals import (
    CODES,
    VERSION,
    Message,
    Refusal,
    Speaker,
    i40e_whole,
    ice_plain,
    ice_whole,
)

PARAM, FAILED = -5, -53  # of ice
ADD_RULE, UPDATE_RULE, REMOVE_RULE = 0x2A0, 0x2A1, 0x2A2
ADD_VSI, UPDATE_VSI, ADD_NODES, GET_NODE = 0x210, 0x211, 0x401, 0x404
# What ice tells, by message: the status for any command but those that are named.
ICE: dict[int, tuple[int | None, dict[int, int]]] = {
    2: (None, {}),  # a reset is never answered
    3: (0, {}),  # stripping stays as it is
    6: (PARAM, {}),
    9: (PARAM, {}),
    10: (FAILED, {}),
    11: (FAILED, {}),
    12: (PARAM, {}),
    13: (PARAM, {UPDATE_VSI: 0}),
    14: (FAILED, {UPDATE_VSI: PARAM}),
    18: (FAILED, {}),
    23: (FAILED, {}),
    24: (FAILED, {}),
    26: (0, {}),
    27: (PARAM, {}),
    28: (PARAM, {}),
    **{opcode: (PARAM, {}) for opcode in (52, 53, 54, 55, 56, 57)},
}
# The second VLAN whose rule cannot be removed, and the reset after one that failed, lead to a null
# pointer in ice_add_vlan_internal and in ice_vsi_is_rx_queue_active: the host's kernel is gone.
# 6.1 makes the VSI anew in a reset, later kernels change it.
RESET_VSI = {"6.1": ADD_VSI}
LACKS = {"6.1": {18, 26, 44}}  # messages that it does not serve
# i40e tells a VF success whatever became of its addresses and VLANs.
I40E: dict[int, int | None] = {2: None, 10: 0, 11: -5, 12: 0, 13: 0, 14: -5, 26: 0, 27: 0, 28: 0}


Said = Callable[[], tuple[Message, ...]]


@dataclass(frozen=True)
class Ice:
    """The judge of a kernel."""

    kernel: str
    path: Path

    @property
    def fatal(self) -> set[tuple[int, int]]:
        """Messages and commands whose refusal it does not survive."""
        of_reset = (RESET_VSI.get(self.kernel, UPDATE_VSI), ADD_NODES, GET_NODE)
        return {(13, REMOVE_RULE), (53, REMOVE_RULE), *((2, command) for command in of_reset)}

    def served(self, said: Said) -> tuple[Message, ...]:
        """A conversation without what it does not serve."""
        return tuple(each for each in said() if each[0] not in LACKS.get(self.kernel, ()))


@pytest.fixture(scope="module", params=ICE_KERNELS)
def ice(request: pytest.FixtureRequest) -> Ice:
    return Ice(request.param, kernel_of("ice", request.param))


def _go_on(vf: Speaker, conversation: tuple[Message, ...], what: Refusal) -> None:
    vf.fresh()
    told = vf.say_all(conversation)
    assert not any(told), f"after {what} a new VF is told {told}"


@pytest.mark.parametrize("said", [ice_whole, ice_plain])
def test_ice_goes_on_and_tells_the_vf(ice: Ice, said: Said) -> None:
    conversation = ice.served(said)
    with JudgeProcess(ice.path) as process:
        vf = Speaker(process)
        found = [
            each
            for each in vf.refusals(conversation)
            if (each.message, each.command) not in ice.fatal
        ]
        assert {each.message for each in found} <= ICE.keys()
        for what in found:
            usual, special = ICE[what.message]
            for name, code in CODES.items():
                told = vf.refused(conversation, what, code)
                assert told == special.get(what.command, usual), f"{what}, {name}"
            _go_on(vf, conversation, what)


def test_what_ice_does_not_survive(ice: Ice) -> None:
    """A row here that is survived one day is a bug that Linux has mended."""
    survived = []
    for conversation in (ice.served(ice_whole), ice.served(ice_plain)):
        with JudgeProcess(ice.path) as process:
            known = list(Speaker(process).refusals(conversation))
        for what in known:
            if (what.message, what.command) not in ice.fatal:
                continue
            with JudgeProcess(ice.path) as process:
                vf = Speaker(process)
                try:
                    for code in CODES.values():
                        vf.refused(conversation, what, code)
                        vf.fresh()
                    survived.append(what)
                except LabError as error:
                    assert "it died: " in str(error), what
    assert not survived


def test_i40e_goes_on_and_tells_the_vf(i40e: tuple[str, JudgeProcess]) -> None:
    """Its judge refuses with ENOSPC alone."""
    kernel, process = i40e
    vf, conversation = Speaker(process), i40e_whole()
    found = list(vf.refusals(conversation))
    assert {each.message for each in found} <= I40E.keys()
    for what in found:
        told = vf.refused(conversation, what, 0)
        assert told == I40E[what.message], f"i40e of {kernel}, {what}"
        _go_on(vf, conversation, what)
    vf.fresh()
    assert vf.say_all([VERSION]) == [0]
