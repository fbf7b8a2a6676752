# SPDX-License-Identifier: BSD-3-Clause
"""Three VFs of i40e and of the software PF, told the same by turns.

After each step the replies to the VF that spoke are compared, which VFs were sent anything, and
what the PFs hold and have programmed for all three.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iavfio.linuxpf.process import JudgeProcess
from tests.judge.examples import so_many
from tests.judge.i40e_differences import Difference, explain, too_much
from tests.judge.i40e_pair import (
    DIALECTS,
    PAIRS,
    PF_VSI,
    Exchange,
    JudgeSide,
    SoftSide,
    Step,
    exchange,
)
from tests.judge.i40e_pair import VFS as ALL_VFS
from tests.judge.i40e_programmed import unlike
from tests.judge.i40e_random_steps import ANY_STEP, of
from tests.judge.i40e_scenarios import (
    ALL4,
    FLR,
    MAP4,
    add,
    add_vlan,
    configure,
    delete,
    enable,
    mac,
    modes,
    resources,
)
from tests.judge.test_i40e_random import EXAMPLES
from tests.softvf.pf.pf_rig import rig

VFS = 3
ENABLE_QUEUES, DISABLE_QUEUES = 8, 9
Judged = tuple[str, JudgeProcess]
Turn = tuple[int, Step]  # of this VF
SAME_MAC = bytes.fromhex("0200000000aa")


def _ask(pairs: int) -> Step:
    return Step(29, struct.pack("<H", pairs))


def _everyone(*steps: Step) -> list[Turn]:
    return [(vf, step) for step in steps for vf in range(VFS)]


TURNS: dict[str, list[Turn]] = {
    "one address": _everyone(resources(), add(mac(1)), delete(mac(1)), add(mac(1)), FLR),
    "one address of the administrator's": _everyone(
        Step(deed="mac", value=SAME_MAC), resources(), add(SAME_MAC.hex(":")), FLR, resources()
    ),
    "one VLAN": _everyone(resources(), add_vlan(5), FLR, resources(), add_vlan(5, 6)),
    "one port VLAN": _everyone(
        Step(deed="port_vlan", value=100), resources(), Step(deed="port_vlan", value=0)
    ),
    "promiscuity": _everyone(resources(), modes(3), modes(1), modes(0)),
    "all queues that there are": _everyone(
        *(resources(), _ask(16), resources(), _ask(1), resources(), _ask(16))
    ),
    "trust of one": [
        *_everyone(resources(), modes(3)),
        (1, Step(deed="trust", value=False)),
        (1, Step(deed="trust", value=True)),
        (0, modes(0)),
    ],
}


def _strays(step: Step) -> bool:
    """Whether it starts or stops queues of others, which the software PF does not play (a row)."""
    if step.opcode not in (ENABLE_QUEUES, DISABLE_QUEUES) or len(step.payload) < 12:
        return False
    rx, tx = struct.unpack_from("<4xII", step.payload)
    return bool((rx | tx) >> PAIRS) or step.payload[:2] == struct.pack("<H", PF_VSI)


def play(
    process: JudgeProcess, kernel: str, trusted: bool, turns: Sequence[Turn]
) -> tuple[int, Difference | None]:
    """Says the turns to both, up to a difference; how many were equal, and the row of the other."""
    first = JudgeSide(process)
    judges = [first, *(JudgeSide(process, vf, first.switch) for vf in range(1, VFS))]
    for judge in judges:
        judge.fresh(trusted)
    done: list[list[Exchange]] = [[] for _ in range(VFS)]
    dialect = DIALECTS.get(kernel, kernel)
    with rig("x710", vfs=ALL_VFS, mac="zero", trusted=trusted, pf_kernel=dialect) as made:
        softs = [SoftSide(made, vf) for vf in range(VFS)]
        for number, (vf, spoken) in enumerate(turns):
            step = of(vf, spoken)
            found = exchange(judges[vf], softs[vf], kernel, trusted, done[vf], step)
            where = f"turn {number}, VF {vf}, {step}"
            assert judges[vf].told == softs[vf].told, where
            others = {
                other: (
                    unlike(judges[other].held(), softs[other].held()),
                    unlike(judges[other].programmed(), softs[other].programmed()),
                )
                for other in sorted({*range(VFS)} - {vf})
            }
            found = replace(
                found, others={other: each for other, each in others.items() if any(each)}
            )
            if not found.equal:
                row = explain(found)
                assert row, f"{where}: {found}"
                assert not too_much(found), f"{where}: {too_much(found)}"
                return number, row
            done[vf].append(found)
    return len(turns), None


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", TURNS)
def test_turns(i40e: Judged, name: str, trusted: bool) -> None:
    kernel, process = i40e
    assert play(process, kernel, trusted, TURNS[name]) == (len(TURNS[name]), None)


@pytest.mark.parametrize("end", [FLR, Step(2), Step(deed="link", value="disable")], ids=str)
def test_a_row_of_the_next_vf(i40e: Judged, end: Step) -> None:
    """The neighbour of a software VF goes on where that of one of i40e does not."""
    kernel, process = i40e
    turns = [*_everyone(resources(), ALL4, MAP4, enable(15, 15)), (0, configure(0, 1, 2, 3, 0))]
    equal, row = play(process, kernel, False, [*turns, (0, end)])
    assert equal == len(turns)
    assert row is not None and row.name == "queues of the next VF"


@pytest.mark.timeout(900)
def test_random_turns(i40e: Judged) -> None:
    kernel, process = i40e
    equal = 0

    @so_many(EXAMPLES // 3)
    @given(
        trusted=st.booleans(),
        turns=st.lists(
            st.tuples(st.integers(0, VFS - 1), ANY_STEP.filter(lambda step: not _strays(step))),
            min_size=1,
            max_size=12,
        ),
    )
    def run(trusted: bool, turns: list[Turn]) -> None:
        nonlocal equal
        equal += play(process, kernel, trusted, [*_everyone(resources()), *turns])[0]

    run()
    print(f"\ni40e of {kernel}: {VFS} VFs by turns, {equal} steps equal")
    assert equal > EXAMPLES
