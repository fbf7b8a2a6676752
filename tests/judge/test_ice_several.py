# SPDX-License-Identifier: BSD-3-Clause
"""Three VFs of ice and of the software PF's e810, told the same by turns.

After each step the replies to the VF that spoke are compared, which VFs were sent anything, and
what serves the frames of all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iavfio.linuxpf.process import Reply
from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.examples import so_many
from tests.judge.ice_differences import Exchange, explain
from tests.judge.ice_messages import RESOURCES, add, delete, plain, request, tags, unicast, untag
from tests.judge.ice_pair import DIALECTS, Host, Ice, Say, Soft, Step, comparable, judge
from tests.judge.ice_programmed import unlike
from tests.judge.ice_queue_scenarios import RUNNING
from tests.judge.ice_random_steps import ANY_STEP
from tests.judge.ice_rule_scenarios import IPV4, TOEPLITZ_SYMMETRIC
from tests.judge.ice_rule_scenarios import add as add_rule
from tests.judge.ice_rule_scenarios import delete as delete_rule
from tests.judge.test_ice_random import EXAMPLES
from tests.softvf.pf.pf_rig import promisc, rig, vlans

VFS = 3
Turn = tuple[int, Step]  # of this VF
FLR = Host("flr")
SAME_MAC = Host("mac", bytes.fromhex("0200000000aa"))
# What gives a VF rules for RSS, or changes them: see test_a_rule_is_deleted_beside_a_neighbours.
RULES = (18, 26, 45, 46)


def _everyone(*steps: Step) -> list[Turn]:
    return [(vf, step) for step in steps for vf in range(VFS)]


def _modes(flags: int) -> Say:
    return Say(14, promisc(1, flags))


TURNS: dict[str, list[Turn]] = {
    "one address": _everyone(RESOURCES, add(unicast(1)), delete(unicast(1)), add(unicast(1)), FLR),
    "one address of the administrator's": _everyone(
        SAME_MAC, RESOURCES, add("02:00:00:00:00:aa"), FLR, RESOURCES
    ),
    "one VLAN": _everyone(
        *(RESOURCES, Say(51), tags((5, 0x8100)), untag((5, 0x8100)), tags((5, 0x8100)), FLR)
    ),
    "one plain VLAN": _everyone(plain(), Say(12, vlans(1, 5)), Say(13, vlans(1, 5)), FLR),
    "one port VLAN": _everyone(Host("vlan", 100), RESOURCES, _modes(3), Host("vlan", 0)),
    "promiscuity": _everyone(RESOURCES, _modes(3), _modes(1), _modes(0)),
    "the default VSI of a VF that is reset": [
        *_everyone(RESOURCES, _modes(1)),
        *((0, FLR), (0, RESOURCES), (1, _modes(0)), (2, _modes(1)), (0, _modes(1))),
    ],
    "all queues that there are": _everyone(
        *(RESOURCES, request(16), RESOURCES, request(1), RESOURCES, request(16))
    ),
    "queues of all": _everyone(RESOURCES, *RUNNING, FLR, RESOURCES, *RUNNING, Say(2)),
    "rates": _everyone(RESOURCES, Host("rate", 100), FLR, RESOURCES, Host("rate", 0)),
    "trust of one": [
        *_everyone(RESOURCES, _modes(3)),
        *((1, Host("trust", False)), (1, Host("trust", True)), (0, _modes(0))),
    ],
}


@pytest.fixture(scope="module", params=ICE_KERNELS)
def kernel(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The version of a kernel, and its judge."""
    return request.param, kernel_of("ice", request.param)


class Pfs:
    """Both PFs, and what their three VFs have said."""

    def __init__(self, first: Ice, double_vlan: bool) -> None:
        self._double_vlan = double_vlan
        rest = (Ice(first.process, first.kernel, double_vlan, vf, first.switch) for vf in (1, 2))
        self._judges = [first, *rest]
        self._kernel = first.kernel

    def play(self, trusted: bool, turns: Sequence[Turn]) -> int:
        """Says the turns to both, up to a difference that a row explains; how many were equal."""
        for each in self._judges:
            each.begin(trusted)
        before: list[list[tuple[Step, list[Reply]]]] = [[] for _ in range(VFS)]
        options = {"double_vlan": self._double_vlan, **DIALECTS[self._kernel]}
        with rig("e810", vfs=VFS, trusted=trusted, **options) as made:
            softs = [Soft(made, vf) for vf in range(VFS)]
            for number, (vf, step) in enumerate(turns):
                real = comparable(self._kernel, self._judges[vf].do(step))
                soft = softs[vf].do(step)
                where = f"turn {number}, VF {vf}, {step}"
                assert self._judges[vf].told == softs[vf].told, where
                served = [
                    unlike(each.programmed(), ours.programmed())
                    for each, ours in zip(self._judges, softs, strict=True)
                ]
                for other in {*range(VFS)} - {vf}:
                    assert not served[other], f"{where}: VF {other} is served {served[other]}"
                if real != soft or served[vf]:
                    exchange = Exchange(self._kernel, before[vf], step, real, soft, served[vf])
                    assert explain(exchange), f"{where}: {exchange}"
                    return number
                before[vf].append((step, real))
        return len(turns)


DOUBLE = pytest.mark.parametrize("double_vlan", [False, True], ids=["single", "double"])


@DOUBLE
def test_turns(kernel: tuple[str, Path], double_vlan: bool) -> None:
    with judge(*kernel, double_vlan) as first:
        pfs = Pfs(first, double_vlan)
        for trusted in (False, True):
            for name, turns in TURNS.items():
                assert pfs.play(trusted, turns) == len(turns), name


@DOUBLE
@pytest.mark.timeout(900)
def test_random_turns(kernel: tuple[str, Path], double_vlan: bool) -> None:
    equal = 0
    steps = ANY_STEP.filter(lambda step: not (isinstance(step, Say) and step.opcode in RULES))
    with judge(*kernel, double_vlan) as first:
        pfs = Pfs(first, double_vlan)

        @so_many(EXAMPLES // 2)
        @given(
            trusted=st.booleans(),
            turns=st.lists(st.tuples(st.integers(0, VFS - 1), steps), min_size=4, max_size=25),
        )
        def run(trusted: bool, turns: list[Turn]) -> None:
            nonlocal equal
            equal += pfs.play(trusted, [*_everyone(RESOURCES), *turns])

        run()
    print(f"\nice-{kernel[0]}: {VFS} VFs by turns, {equal} steps equal")
    assert equal > EXAMPLES


def test_a_rule_is_deleted_beside_a_neighbours(kernel: tuple[str, Path]) -> None:
    """ice finds a neighbour's profile of the other symmetry, and leaves the VF its rule.

    docs/spec/pf-dialects.md 9. On the software PF each VF deletes its own.
    """
    rule, theirs = add_rule((IPV4, 3)), add_rule((IPV4, 3), algorithm=TOEPLITZ_SYMMETRIC)
    gone = delete_rule((IPV4, 3))
    with judge(*kernel) as first:
        neighbour = Ice(first.process, first.kernel, False, 1, first.switch)
        for each in (first, neighbour):
            each.begin(trusted=False)
            each.do(RESOURCES)
        assert first.do(rule) == [(45, 0, b"")]
        assert neighbour.do(theirs) == [(45, 0, b"")]
        assert first.do(gone) == [(46, 0, b"")]
        left = len(first.programmed().rules)
    assert left == (0 if kernel[0] == "6.1" else 1)
    with rig("e810", vfs=2, **DIALECTS[kernel[0]]) as made:
        ours, other = Soft(made), Soft(made, 1)
        for soft, said in ((ours, RESOURCES), (other, RESOURCES), (ours, rule), (other, theirs)):
            soft.do(said)
        assert ours.do(gone) == [(46, 0, b"")]
        assert ours.programmed().rules == ()
        assert len(other.programmed().rules) == 1
